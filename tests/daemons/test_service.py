"""What every daemon is: activated, watched, idle by exiting, kept alive by a reason."""

import os
import random
import signal
import socket
import threading
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import (
    AbstractAsyncContextManager,
    ExitStack,
    aclosing,
    asynccontextmanager,
    closing,
    nullcontext,
)
from itertools import cycle
from pathlib import Path

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from piker import paths, service
from piker.clock import EARLIEST_NS
from piker.core.description import describe
from piker.errors import Refused, Unreachable
from piker.interfaces import Call, Interface
from piker.interfaces.clock import CLOCK, Ticks
from piker.interfaces.data import (
    DATA,
    Bars,
    BarsReply,
    DescribeMarket,
    MarketReply,
    Search,
    SearchReply,
    Watch,
    WatchReply,
)
from piker.interfaces.introspection import (
    INTROSPECTION,
    GetInfo,
    GetInterfaceDescription,
    Info,
    InterfaceDescription,
    MethodNotFound,
)
from piker.interfaces.service import (
    SERVICE,
    BrokenConfiguration,
    BrokenProvider,
    Health,
    HealthReply,
    UnknownProvider,
    WrongClock,
)
from piker.notify import Manager as OurManager
from piker.service import Doors, Part, Report, Service
from piker.sharedbars import BarReader
from piker.transport import listen
from piker.varlink import Conversation, Server, open_client
from tests.fakes.manager import TELLING_IMPORTS, Manager, a_daemon
from tests.fakes.parrot import (
    PARROT,
    Brood,
    Chatter,
    Hatched,
    Parrot,
    Said,
    Say,
    Word,
    content,
    memfds,
)
from tests.fakes.peer import Peer, call

ASKED = (
    Watch(markets=("a",)),
    Bars(market="a", period_s=1),
    Search(pattern="a"),
    DescribeMarket(name="a"),
)


async def fault_of(path: str, interface: Interface, asked: Call) -> object:
    async with open_client(path, interface, "daemon") as client:
        replies = client.replies(asked, WatchReply)
        with pytest.raises(Refused) as refused:
            await anext(replies)
    return refused.value.fault


def exists(path: str) -> bool:
    return Path(path).exists()


async def answers(path: str) -> str:
    """Who it is that answers."""
    async with open_client(path, INTROSPECTION, "daemon") as client:
        return (await client.call(GetInfo(), Info)).product


# --- by hand


async def test_by_hand_it_says_where_it_listens_and_cleans_up() -> None:
    async with a_daemon("datad", "replay") as daemon:
        assert f"INFO datad@replay listens on unix:{daemon.path}\n" in daemon.stderr()
        async with daemon.client(DATA) as client:
            reply = await client.call(DescribeMarket(name="eurusd"), MarketReply)
        assert reply.market.fqme == "eurusd.spot.replay"
        assert await daemon.end() == 0
        assert not exists(daemon.path)


async def test_by_hand_a_daemon_with_doors_says_where_each_is_and_cleans_up() -> None:
    files = [str(paths.socket_path("emsd", door)) for door in paths.DOORS["emsd"]]
    async with a_daemon("emsd") as daemon:
        said = daemon.stderr()
        assert [f"INFO emsd listens on unix:{file}\n" in said for file in files] == [True, True]
        assert [await answers(file) for file in files] == ["emsd", "emsd"]
        assert await daemon.end() == 0
    assert [file for file in files if exists(file)] == []


async def test_a_second_one_by_hand_is_refused_with_a_line() -> None:
    async with a_daemon("samplerd") as first:
        async with a_daemon("samplerd", ready=False, manager=first.manager) as second:
            assert await second.ended() == 1
            assert second.stderr().count("\n") == 1
            assert "ERROR samplerd is served here already" in second.stderr()
        assert await answers(first.path) == "samplerd"


async def test_the_socket_of_one_that_was_killed_is_replaced() -> None:
    async with a_daemon("samplerd") as daemon:
        assert await daemon.end(signal.SIGKILL) == -signal.SIGKILL
        assert exists(daemon.path)
    async with a_daemon("samplerd") as daemon:
        assert await answers(daemon.path) == "samplerd"


async def test_a_socket_path_that_is_too_long_is_refused_with_a_line(home: Path) -> None:
    instance = "x" * 120
    async with a_daemon("datad", instance, ready=False) as daemon:
        assert await daemon.ended() == 1
        assert daemon.stderr().count("\n") == 1
        assert "bytes, expected at most 107" in daemon.stderr()


@pytest.mark.parametrize("typed", [(), ("--help",)])
async def test_without_a_provider_its_usage_is_told(typed: tuple[str, ...]) -> None:
    async with a_daemon("datad", *typed, ready=False) as daemon:
        assert await daemon.ended() == 2
        assert daemon.stderr() == "usage: python -m piker.datad PROVIDER\n"


# --- started by a manager


async def test_it_serves_every_socket_that_it_inherits(home: Path) -> None:
    one, other = str(home / "one.sock"), str(home / "other.sock")
    with listen(one) as first, listen(other) as second:
        fds = {"view": first.fileno(), "trade": second.fileno()}
        async with a_daemon("samplerd", fds=fds) as daemon:
            assert [await answers(path) for path in (one, other)] == ["samplerd", "samplerd"]
            assert not exists(daemon.path)


async def test_in_a_pid_namespace_its_number_is_another_one(home: Path) -> None:
    path = str(home / "a.sock")
    environment = {"LISTEN_PID": "1", "SYSTEMD_EXEC_PID": "1"}
    with listen(path) as listener:
        fds = {"a": listener.fileno()}
        async with a_daemon("samplerd", fds=fds, environment=environment):
            assert await answers(path) == "samplerd"


async def test_sockets_that_are_meant_for_another_process_are_left_alone(home: Path) -> None:
    with listen(str(home / "a.sock")) as listener:
        fds, environment = {"a": listener.fileno()}, {"LISTEN_PID": "1"}
        async with a_daemon("samplerd", fds=fds, environment=environment) as daemon:
            assert await answers(daemon.path) == "samplerd"


async def test_the_manager_is_told_of_every_step() -> None:
    async with a_daemon("datad", "replay") as daemon:
        async with daemon.client(DATA) as client:
            replies = client.replies(Watch(markets=("eurusd",)), WatchReply)
            await anext(replies)
            await daemon.manager.hear("STATUS=replay: connected · 1 live · 1 watcher")
            await replies.aclose()
        daemon.process.terminate()
        await daemon.manager.hear("STOPPING=1")
        said = daemon.manager.said()
    assert said.index("READY=1") < said.index("STOPPING=1")
    assert said[0] == "STATUS=replay: not connected · no market · 0 watchers"


async def test_the_watchdog_is_fed_while_nothing_happens() -> None:
    environment = {"WATCHDOG_USEC": "400000", "WATCHDOG_PID": "its own"}
    async with a_daemon("datad", "replay", environment=environment) as daemon:
        for _ in range(3):
            await daemon.manager.hear("WATCHDOG=1")


async def test_bars_are_kept_by_the_manager_over_a_crash() -> None:
    async with a_daemon("datad", "replay") as daemon:
        async with daemon.client(DATA) as client:
            replies = client.replies(Bars(market="eurusd", period_s=1), BarsReply)
            _, (fd,) = await anext(replies)
            stored = await daemon.manager.hear("FDSTORE=1")
            with closing(BarReader(fd)) as reader:
                await some_bars(daemon.path)
                assert await daemon.end(signal.SIGKILL) == -signal.SIGKILL
                kept = reader.bars(10)
            await replies.aclose()
        assert stored.lines == ("FDSTORE=1", "FDNAME=bars-1-eurusd.spot.replay-1")
        with listen(str(paths.socket_path("datad", "replay"))) as listener:
            fds = {
                "datad": listener.fileno(),
                stored.lines[1].removeprefix("FDNAME="): stored.fds[0],
            }
            async with a_daemon("datad", "replay", fds=fds, manager=daemon.manager) as again:
                generation, bars = await first_bars(again.path)
    assert generation == 2
    assert bars[: len(kept) - 1] == kept[:-1]
    assert len(kept) >= 2


async def some_bars(path: str) -> None:
    """Wait until ticks have come in three different seconds."""
    seconds: set[int] = set()
    async with open_client(path, DATA, "datad@replay") as client:
        replies = client.replies(Watch(markets=("eurusd",)), WatchReply)
        while len(seconds) < 3:
            reply, _ = await anext(replies)
            ticks = [tick for quote in reply.quotes for tick in quote.ticks]
            seconds |= {tick.time_ns // 10**9 for tick in ticks}
        await replies.aclose()


async def first_bars(path: str) -> tuple[int, list[object]]:
    """The generation and the bars that are there at first."""
    async with open_client(path, DATA, "datad@replay") as client:
        replies = client.replies(Bars(market="eurusd", period_s=1), BarsReply)
        async with aclosing(replies):
            reply, (fd,) = await anext(replies)
            with closing(BarReader(fd)) as reader:
                return reply.generation, list(reader.bars(10))


# --- its end


async def test_told_to_end_it_exits_75_if_its_bars_are_read() -> None:
    async with a_daemon("datad", "replay") as daemon, daemon.client(DATA) as client:
        replies = client.replies(Bars(market="eurusd", period_s=1), BarsReply)
        async with aclosing(replies):
            _, (fd,) = await anext(replies)
            os.close(fd)
            assert await daemon.end() == service.EXIT_KEEP == 75
            with pytest.raises(Unreachable, match="it hung up"):
                await anext(replies)
        assert "has a reason to live: 1 readers of bars" in daemon.stderr()


async def test_told_to_end_it_exits_75_if_a_market_is_kept(home: Path) -> None:
    (home / "etc" / "piker.toml").write_text("[datad]\nkeep = ['eurusd.spot.replay', 'a.ib']")
    async with a_daemon("datad", "replay") as daemon:
        assert await daemon.end() == 75
        assert "the configuration keeps eurusd.spot.replay;" in daemon.stderr()


async def test_told_to_end_from_a_terminal_it_just_ends(home: Path) -> None:
    (home / "etc" / "piker.toml").write_text("[datad]\nkeep = ['eurusd.spot.replay']")
    async with a_daemon("datad", "replay") as daemon:
        assert await daemon.end(signal.SIGINT) == 0


# --- what an upgrade replaces under it


async def test_a_datad_has_imported_all_that_it_will_need_when_it_is_ready() -> None:
    async with a_daemon("datad", "replay", environment=TELLING_IMPORTS) as daemon:
        before = daemon.imported()
        async with daemon.client(DATA) as client:
            await client.call(Search(pattern="eursud"), SearchReply)
            asked = client.replies(Watch(markets=("eurusd.spot.replay",)), WatchReply)
            async with aclosing(asked) as replies:
                async for reply, _ in replies:
                    if reply.quotes:
                        break
        assert before
        assert daemon.imported() == before


# --- what can't work


@pytest.mark.parametrize("asked", ASKED, ids=lambda each: type(each).__name__)
async def test_every_call_of_an_unknown_provider_is_answered_so(asked: Call) -> None:
    async with a_daemon("datad", "nonsense") as daemon:
        fault = await fault_of(daemon.path, DATA, asked)
        assert fault == UnknownProvider(provider="nonsense", known=("ib", "replay", "sim"))
        assert await daemon.end() == 0


async def test_what_cannot_work_says_so_in_its_health_and_status() -> None:
    async with a_daemon("datad", "nonsense") as daemon, daemon.client(SERVICE) as client:
        health = await client.call(Health(), HealthReply)
    expected = "No such provider is installed (provider: nonsense, known: ib, replay, sim)"
    assert (health.state, health.status) == ("failed", expected)
    assert f"STATUS={expected}" in daemon.manager.said()
    assert "ERROR can't work: No such provider" in daemon.stderr()


@pytest.mark.parametrize(
    ("daemon", "interface", "asked"),
    [(("datad", "replay"), DATA, ASKED[0]), (("samplerd",), CLOCK, Ticks(periods_s=(1,)))],
)
async def test_a_broken_configuration_is_answered_by_name(
    home: Path, daemon: tuple[str, ...], interface: Interface, asked: Call
) -> None:
    file = home / "etc" / "piker.toml"
    file.write_text("[datad]\nkeeps = 1")
    async with a_daemon(*daemon) as running:
        fault = await fault_of(running.path, interface, asked)
    problem = "Object contains unknown field `keeps`"
    broken = BrokenConfiguration(file=str(file), line=2, key="datad.keeps", problem=problem)
    assert fault == broken


async def test_a_mistake_in_the_providers_table_is_answered_by_name(home: Path) -> None:
    file = home / "etc" / "piker.toml"
    file.write_text("[providers.replay]\nspeed = 'fast'")
    async with a_daemon("datad", "replay") as daemon:
        fault = await fault_of(daemon.path, DATA, ASKED[0])
    problem = "Expected `float`, got `str`"
    assert fault == BrokenConfiguration(
        file=str(file), line=2, key="providers.replay.speed", problem=problem
    )


UNSET = """
import os, time
told = time.time_ns
time.time_ns = lambda: 1_000_000_000 if os.path.exists({file!r}) else told()
"""


async def test_a_clock_that_is_not_set_is_answered_by_name_until_it_is(home: Path) -> None:
    unset = home / "unset"
    unset.touch()
    (home / "sitecustomize.py").write_text(UNSET.format(file=str(unset)))
    async with a_daemon("samplerd", environment={"PYTHONPATH": str(home)}) as daemon:
        fault = await fault_of(daemon.path, CLOCK, Ticks(periods_s=(1,)))
        assert fault == WrongClock(now_ns=1_000_000_000, earliest_ns=EARLIEST_NS)
        unset.unlink()
        assert await daemon.ended() == service.EXIT_KEEP


async def test_a_value_that_makes_no_sense_to_its_provider_is_answered_by_line(home: Path) -> None:
    file = home / "etc" / "piker.toml"
    file.write_text("\n\n[providers.replay]\nspeed = -1")
    async with a_daemon("datad", "replay") as daemon:
        fault = await fault_of(daemon.path, DATA, ASKED[0])
    assert isinstance(fault, BrokenConfiguration)
    assert (fault.file, fault.line, fault.key) == (str(file), 4, "providers.replay.speed")


# --- providers of others


def install(home: Path, source: str) -> Mapping[str, str]:
    """A third party's package `party` with a provider of that name; gives what finds it."""
    (home / "party").mkdir()
    (home / "party" / "__init__.py").write_text(source)
    info = home / "party-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: party\nVersion: 1\n")
    (info / "entry_points.txt").write_text("[piker.brokers]\nparty = party\n")
    return {"PYTHONPATH": str(home)}


PARTY = """
from contextlib import asynccontextmanager
from tests.fakes.venue import EURUSD
from piker import brokers

@asynccontextmanager
async def open_venue(settings):
    yield None

async def get_mkt_info(venue, name):
    return EURUSD

async def stream_quotes(venue, wanted, batches):
    raise ZeroDivisionError("a bug of the party's")

names = ("open_venue", "get_mkt_info", "stream_quotes")
PROVIDER = brokers.Provider(
    name="party", doc="A party.", endpoints={"datad": {name: f"party:{name}" for name in names}}
)
"""


def findable(environment: Mapping[str, str]) -> dict[str, str]:
    root = str(Path(__file__).parents[2])
    return {"PYTHONPATH": f"{environment['PYTHONPATH']}:{root}"}


async def test_a_provider_of_a_third_party_is_found_by_its_entry_point(home: Path) -> None:
    environment = findable(install(home, PARTY))
    running = a_daemon("datad", "party", environment=environment)
    async with running as daemon, daemon.client(DATA) as client:
        reply = await client.call(DescribeMarket(name="any"), MarketReply)
    assert reply.market.fqme == "eurusd.spot.fake"


async def test_a_bug_of_a_provider_ends_the_process_with_its_traceback(home: Path) -> None:
    environment = findable(install(home, PARTY))
    async with a_daemon("datad", "party", environment=environment) as daemon:
        async with daemon.client(DATA) as client:
            with pytest.raises(Unreachable):
                async for _ in client.replies(Watch(markets=("any",)), WatchReply):
                    pass
        assert await daemon.ended() == 1
        assert "ZeroDivisionError: a bug of the party's" in daemon.stderr()


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("import nothing_of_that_name", "ModuleNotFoundError: No module named"),
        ("PROVIDER = 7", "expected PROVIDER to be a Provider, was int"),
        (
            PARTY.replace('"party:', '"party.x:').replace("party:", "party.x:"),
            "open_venue (party.x:",
        ),
        (PARTY.replace(', "stream_quotes"', ""), "it lacks stream_quotes"),
    ],
)
async def test_a_provider_that_is_broken_is_named(home: Path, source: str, reason: str) -> None:
    environment = findable(install(home, source))
    async with a_daemon("datad", "party", environment=environment) as daemon:
        fault = await fault_of(daemon.path, DATA, ASKED[0])
    assert isinstance(fault, BrokenProvider)
    assert reason in fault.reason


# --- in the test's own process, on a virtual clock

WINDOW = Interface(PARROT.name, "Is heard.", PARROT.methods[3:4])
"""A door of its own: the parrot, but only to listen to."""
ONE_DOOR = {"bird": (PARROT,)}
TWO_DOORS = {"window": (WINDOW,), "cage": (PARROT,)}


class Bird:
    """A daemon that serves a parrot and has a part that the watchdog waits for."""

    def __init__(self, service: Service) -> None:
        self.parrot = Parrot()
        self.handlers: Mapping[Interface, object] = {PARROT: self.parrot, WINDOW: self.parrot}
        self.reason = ""
        self.stuck = False
        self._part: Part = service.part("wings", self._probe)

    def report(self) -> Report:
        return Report(f"{len(self.parrot.said)} said")

    def reason_to_live(self) -> str:
        return self.reason

    async def run(self) -> None:
        await trio.sleep_forever()

    def _probe(self) -> None:
        if not self.stuck:
            self._part.beat()


class Flight:
    """A bird's service in the test's own process."""

    def __init__(self, manager: OurManager, idle_exit_s: float, doors: Doors = ONE_DOOR) -> None:
        self.service = Service("bird", None, manager)
        self.service.idle_exit_s = idle_exit_s
        self.bird = Bird(self.service)
        self.doors = doors
        self.path = str(paths.socket_path("bird"))
        self.status: int | None = None
        self.ended = trio.Event()

    async def run(self) -> None:
        self.status = await service._run(self.service, self._open, self.doors)
        self.ended.set()

    @asynccontextmanager
    async def _open(self, service: Service) -> AsyncIterator[Bird]:
        yield self.bird


@asynccontextmanager
async def a_flight(idle_exit_s: float = 300.0, doors: Doors = ONE_DOOR) -> AsyncIterator[Flight]:
    """A flight that has begun; it ends with the context."""
    with closing(OurManager()) as manager:
        manager.listeners = {door: [listen(at(door))] for door in doors}
        async with trio.open_nursery() as nursery:
            flight = Flight(manager, idle_exit_s, doors)
            nursery.start_soon(flight.run)
            await wait_all_tasks_blocked()
            yield flight
            nursery.cancel_scope.cancel()


def at(door: str) -> str:
    """Where one of the bird's doors is."""
    return str(paths.socket_path("bird", door))


def terminate() -> None:
    os.kill(os.getpid(), signal.SIGTERM)


virtual = pytest.mark.usefixtures("virtual_time")


@virtual
async def test_nobody_having_asked_for_a_while_it_ends() -> None:
    async with a_flight() as flight:
        await flight.ended.wait()
        assert (flight.status, trio.current_time()) == (0, 300)


@virtual
async def test_to_be_asked_how_it_is_does_not_keep_it_alive() -> None:
    async with a_flight() as flight, open_client(flight.path, SERVICE, "bird") as watches:
        replies = watches.replies(Health(), HealthReply)
        await anext(replies)
        for _ in range(2):
            await trio.sleep(140)
            async with open_client(flight.path, INTROSPECTION, "bird") as client:
                await client.call(GetInfo(), Info)
        await flight.ended.wait()
        assert trio.current_time() == 300
        await replies.aclose()


@virtual
async def test_a_command_starts_the_wait_anew() -> None:
    async with a_flight() as flight:
        await trio.sleep(200)
        async with open_client(flight.path, PARROT, "bird") as client:
            await client.call(Say(text="hm"), Said)
        await flight.ended.wait()
        assert trio.current_time() == 500


@virtual
async def test_an_open_stream_keeps_it_alive() -> None:
    async with a_flight() as flight:
        async with open_client(flight.path, PARROT, "bird") as client:
            replies = client.replies(Chatter(words=1), Word)
            await anext(replies)
            await trio.sleep(1000)
            assert not flight.ended.is_set()
            await replies.aclose()
        await flight.ended.wait()
        assert 1300 <= trio.current_time() <= 1600


@virtual
async def test_a_reason_to_live_keeps_it_alive() -> None:
    async with a_flight() as flight:
        flight.bird.reason = "an egg"
        await trio.sleep(1000)
        assert not flight.ended.is_set()
        flight.bird.reason = ""
        await flight.ended.wait()
        assert flight.status == 0


@virtual
async def test_a_connection_that_asks_nothing_is_closed_and_keeps_it_no_longer() -> None:
    async with a_flight() as flight:
        with socket.socket(socket.AF_UNIX) as silent:
            silent.connect(flight.path)
            await flight.ended.wait()
        assert 360 <= trio.current_time() <= 660


@virtual
async def test_told_to_end_it_answers_what_had_been_asked() -> None:
    async with a_flight() as flight:
        with trio.fail_after(60):
            peers = [await a_peer(flight.path) for _ in range(30)]
            await wait_all_tasks_blocked()
            for peer in peers:
                await peer.write(call("example.Parrot.Say", text="asked"))
            terminate()
            for peer in peers:
                assert await peer.read_to_the_end() == [{"parameters": {"text": "asked"}}]
                await peer.hang_up()
        await flight.ended.wait()
        assert flight.status == 0


async def a_peer(path: str) -> Peer:
    sock = socket.socket(socket.AF_UNIX)
    sock.connect(path)
    return Peer(sock)


@virtual
async def test_told_to_end_it_lets_a_command_come_to_its_end() -> None:
    async with a_flight() as flight, open_client(flight.path, PARROT, "bird") as client:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(client.call, Brood(egg=1), Hatched)
            await flight.bird.parrot.broods.wait()
            terminate()
            await trio.sleep(3)
            assert not flight.ended.is_set()
            flight.bird.parrot.warm.set()
        await flight.ended.wait()
        assert trio.current_time() < 4


@virtual
async def test_who_never_reads_does_not_hold_up_its_end() -> None:
    async with a_flight() as flight:
        peer = await a_peer(flight.path)
        await peer.write(call("example.Parrot.Say", text="x" * 1000, times=10_000))
        await wait_all_tasks_blocked()
        terminate()
        await flight.ended.wait()
        assert trio.current_time() <= 6
        await peer.hang_up()


@virtual
@pytest.mark.parametrize(("reason", "status"), [("", 0), ("an egg", 75)])
async def test_its_exit_status_says_whether_it_wants_to_come_back(reason: str, status: int) -> None:
    async with a_flight() as flight:
        flight.bird.reason = reason
        terminate()
        await flight.ended.wait()
        assert flight.status == status


@virtual
async def test_to_be_told_twice_changes_nothing() -> None:
    async with a_flight() as flight, open_client(flight.path, PARROT, "bird") as client:
        flight.bird.reason = "an egg"
        async with trio.open_nursery() as nursery:
            nursery.start_soon(client.call, Brood(egg=1), Hatched)
            await flight.bird.parrot.broods.wait()
            terminate()
            await trio.sleep(1)
            terminate()
            flight.bird.parrot.warm.set()
        await flight.ended.wait()
        assert flight.status == 75


@virtual
async def test_health_is_told_again_at_every_change() -> None:
    async with a_flight() as flight, open_client(flight.path, SERVICE, "bird") as client:
        replies = client.replies(Health(), HealthReply)
        first, _ = await anext(replies)
        flight.bird.parrot.said.append("hm")
        flight.service.changed()
        second, _ = await anext(replies)
        await replies.aclose()
    assert (first.state, first.status, second.status) == ("running", "0 said", "1 said")
    counters = {each.name: each.value for each in second.counters}
    assert counters["conversations"] == 0


@virtual
async def test_its_status_is_told_at_most_five_times_a_second(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with a_manager(home, monkeypatch) as manager, a_flight() as flight:
        await manager.hear("READY=1")
        for _ in range(200):
            flight.bird.parrot.said.append("hm")
            flight.service.changed()
            await trio.sleep(0.01)
        await manager.hear("STATUS=200 said")
        told = [line for line in manager.said() if line.startswith("STATUS=")]
    assert len(told) <= 1 + 2 * 5 + 2


@virtual
async def test_the_watchdog_is_not_fed_while_a_part_is_stuck(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WATCHDOG_USEC", "8000000")
    async with a_manager(home, monkeypatch) as manager, a_flight() as flight:
        await manager.hear("WATCHDOG=1")
        await manager.hear("WATCHDOG=1")
        flight.bird.stuck = True
        await trio.sleep(8)
        heard = len(manager.heard)
        with pytest.raises(trio.TooSlowError):
            await hear_all(manager)
        assert len(manager.heard) - heard <= 2
        flight.bird.stuck = False
        await manager.hear("WATCHDOG=1")


async def hear_all(manager: Manager) -> None:
    while True:
        await manager.hear("WATCHDOG=1")


@virtual
async def test_a_watchdog_of_another_process_is_left_alone(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WATCHDOG_USEC", "8000000")
    monkeypatch.setenv("WATCHDOG_PID", "1")
    async with a_manager(home, monkeypatch) as manager, a_flight():
        with pytest.raises(trio.TooSlowError):
            await manager.hear("WATCHDOG=1")


async def test_a_descriptor_is_stored_and_forgotten_by_its_name(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with a_manager(home, monkeypatch) as manager:
        with closing(OurManager()) as ours, memfds(["kept"]) as (fd,):
            ours.store("bars-1-a", fd)
            ours.forget("bars-1-a")
        stored = await manager.hear("FDSTORE=1")
        forgotten = await manager.hear("FDSTOREREMOVE=1")
        assert [content(os.dup(fd)) for fd in stored.fds] == ["kept"]
    assert stored.lines == ("FDSTORE=1", "FDNAME=bars-1-a")
    assert forgotten == (("FDSTOREREMOVE=1", "FDNAME=bars-1-a"), ())


async def test_without_a_manager_nothing_is_said_or_stored() -> None:
    with closing(OurManager()) as ours:
        ours.notify("READY=1")
        ours.say("fine")
        ours.store("a", 0)
        assert (ours.listeners, ours.stored, ours.watchdog_s) == ({}, {}, None)


@asynccontextmanager
async def a_manager(home: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Manager]:
    """A manager of the test's own process."""
    with closing(Manager(home / "notify")) as manager:
        await manager.open()
        monkeypatch.setenv("NOTIFY_SOCKET", str(manager.path))
        yield manager


# --- several doors


async def described(door: str) -> str:
    """What the parrot's interface is to who comes by this door."""
    async with open_client(at(door), INTROSPECTION, "bird") as client:
        asked = GetInterfaceDescription(interface=PARROT.name)
        return (await client.call(asked, InterfaceDescription)).description


@virtual
async def test_each_door_describes_exactly_what_it_serves() -> None:
    async with a_flight(doors=TWO_DOORS):
        by_door = {door: await described(door) for door in TWO_DOORS}
    assert by_door == {"window": describe(WINDOW), "cage": describe(PARROT)}
    assert by_door["window"] != by_door["cage"]


@virtual
async def test_what_only_another_door_serves_is_not_there() -> None:
    async with a_flight(doors=TWO_DOORS) as flight:
        async with open_client(at("window"), PARROT, "bird") as client:
            with pytest.raises(Refused) as refused:
                await client.call(Say(text="hm"), Said)
        async with open_client(at("cage"), PARROT, "bird") as client:
            await client.call(Say(text="hello"), Said)
        said = flight.bird.parrot.said
    assert refused.value.fault == MethodNotFound(method="example.Parrot.Say")
    assert said == ["hello"]


@virtual
async def test_every_door_says_how_it_is() -> None:
    async with a_flight(doors=TWO_DOORS):
        for door in TWO_DOORS:
            async with open_client(at(door), SERVICE, "bird") as client:
                assert (await client.call(Health(), HealthReply)).status == "0 said"


@virtual
@pytest.mark.parametrize("door", TWO_DOORS)
async def test_a_conversation_at_any_door_keeps_it_alive(door: str) -> None:
    async with a_flight(doors=TWO_DOORS) as flight:
        async with open_client(at(door), WINDOW, "bird") as client:
            replies = client.replies(Chatter(words=1), Word)
            await anext(replies)
            await trio.sleep(1000)
            assert not flight.ended.is_set()
            await replies.aclose()
        await flight.ended.wait()
        assert flight.status == 0


@virtual
async def test_told_to_end_it_ends_streams_and_answers_commands_at_all_doors() -> None:
    async with a_flight(doors=TWO_DOORS) as flight:
        window, cage = await a_peer(at("window")), await a_peer(at("cage"))
        await window.write(call("example.Parrot.Chatter", more=True, words=1))
        await wait_all_tasks_blocked()
        await cage.write(call("example.Parrot.Say", text="asked"))
        terminate()
        assert await cage.read_to_the_end() == [{"parameters": {"text": "asked"}}]
        assert len(await window.read_to_the_end()) == 1
        await flight.ended.wait()
        await window.hang_up()
        await cage.hang_up()


@virtual
async def test_the_watchdog_is_fed_when_all_doors_answer(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WATCHDOG_USEC", "8000000")
    async with a_manager(home, monkeypatch) as manager, a_flight(doors=TWO_DOORS) as flight:
        await manager.hear("WATCHDOG=1")
        assert flight.bird.parrot.said == []


async def by_hand(opened: AbstractAsyncContextManager[Bird]) -> None:
    """A daemon with two doors that nobody listened for; it ends when it is told to."""
    with closing(OurManager()) as manager:
        await service._run(Service("bird", None, manager), lambda _: opened, TWO_DOORS)


@virtual
async def test_by_hand_it_listens_at_each_door_and_cleans_up() -> None:
    bird = Bird(Service("bird", None, OurManager()))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(by_hand, nullcontext(bird))
        await wait_all_tasks_blocked()
        assert [await answers(at(door)) for door in TWO_DOORS] == ["bird", "bird"]
        terminate()
    assert [door for door in TWO_DOORS if exists(at(door))] == []


@virtual
async def test_by_hand_a_door_that_is_taken_leaves_none_behind() -> None:
    bird = Bird(Service("bird", None, OurManager()))
    with listen(at("cage")):
        await by_hand(nullcontext(bird))
    assert [door for door in TWO_DOORS if exists(at(door))] == ["cage"]


class ClosedCage(AbstractAsyncContextManager[Bird]):
    async def __aenter__(self) -> Bird:
        raise Refused(UnknownProvider(provider="bird", known=()))

    async def __aexit__(self, *_: object) -> None:
        """Was never entered."""


@virtual
@pytest.mark.parametrize(("door", "interface"), [("window", WINDOW), ("cage", PARROT)])
async def test_what_cannot_work_answers_so_at_all_doors(door: str, interface: Interface) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(by_hand, ClosedCage())
        await wait_all_tasks_blocked()
        fault = await fault_of(at(door), interface, Chatter(words=1))
        terminate()
    assert fault == UnknownProvider(provider="bird", known=())


async def test_a_socket_that_is_no_door_is_refused_with_a_line(
    home: Path, caplog: pytest.LogCaptureFixture
) -> None:
    bird = Bird(Service("bird", None, OurManager()))
    with closing(OurManager()) as manager, listen(str(home / "a.sock")) as stray:
        manager.listeners["chimney"] = [stray]
        bird_of = Service("bird", None, manager)
        assert await service._run(bird_of, lambda _: nullcontext(bird), TWO_DOORS) == 1
    expected = "bird can't listen: expected sockets named window, cage, was also given chimney"
    assert caplog.messages == [expected]


# --- no connection is lost to an idle exit

CLIENTS, CALLS = 2, 300
IDLE_EXIT_S = 0.002


@pytest.mark.parametrize("doors", [{"a": (PARROT,)}, {"a": (PARROT,), "b": (PARROT,)}], ids=len)
async def test_no_connection_is_lost_while_it_ends_and_is_started_again(
    home: Path, doors: Doors
) -> None:
    with ExitStack() as stack:
        listeners = {
            door: stack.enter_context(listen(str(home / f"{door}.sock"))) for door in doors
        }
        async with trio.open_nursery() as daemons:
            starts: list[int] = []
            daemons.start_soon(starts_again, doors, listeners, starts)
            async with trio.open_nursery() as clients:
                for seed, (door, _) in zip(range(CLIENTS), cycle(doors.items())):
                    path = str(home / f"{door}.sock")
                    clients.start_soon(trio.to_thread.run_sync, calls, path, seed)
            daemons.cancel_scope.cancel()
    assert len(starts) > 1


async def starts_again(
    doors: Doors, listeners: Mapping[str, socket.socket], starts: list[int]
) -> None:
    """Start it whenever somebody connects, as a socket unit does."""
    while True:
        await a_caller(listeners.values())
        with closing(OurManager()) as manager:
            manager.listeners = {door: [each.dup()] for door, each in listeners.items()}
            flight = Flight(manager, IDLE_EXIT_S, doors)
            starts.append(len(starts))
            await flight.run()


async def a_caller(listeners: Iterable[socket.socket]) -> None:
    """Wait until somebody has connected to any."""
    async with trio.open_nursery() as nursery:

        async def wait(listener: socket.socket) -> None:
            await trio.lowlevel.wait_readable(listener)
            nursery.cancel_scope.cancel()

        for listener in listeners:
            nursery.start_soon(wait, listener)


def calls(path: str, seed: int) -> None:
    """Call again and again, each over a connection of its own, after pauses near the idle exit."""
    pauses = random.Random(seed)
    for _ in range(CALLS):
        with socket.socket(socket.AF_UNIX) as sock:
            sock.settimeout(10)
            sock.connect(path)
            sock.sendall(call("example.Parrot.Say", text="hm"))
            assert sock.recv(1000) == b'{"parameters":{"text":"hm"}}\0'
        threading.Event().wait(pauses.uniform(0, 2.5 * IDLE_EXIT_S))


@virtual
async def test_a_question_whose_answer_nobody_reads_does_not_make_it_spin(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rests: list[bool] = []
    rest = Server.rest

    async def counted(server: Server) -> bool:
        rests.append(True)
        return await rest(server)

    monkeypatch.setattr(Server, "rest", counted)
    monkeypatch.setattr(Conversation, "asked", True)  # as if what it asks were never read
    async with (
        a_flight(idle_exit_s=10) as flight,
        open_client(flight.path, SERVICE, "bird") as client,
    ):
        await client.call(Health(), HealthReply)
        await trio.sleep(100)
    assert 1 <= len(rests) <= 10
