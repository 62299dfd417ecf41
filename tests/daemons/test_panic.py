"""Panic: all is halted, and everything at a provider cancelled, whatever has become of emsd."""

import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager
from decimal import Decimal
from functools import partial
from pathlib import Path

import pytest
import trio
from msgspec import structs

from piker import panic, paths
from piker.errors import Refused
from piker.interfaces.broker import (
    BROKER,
    Amend,
    Cancel,
    CancelAll,
    CancelAllReply,
    Done,
    NotConnected,
    Open,
    OpenOrder,
    Place,
    Snapshot,
    SnapshotReply,
)
from piker.store import halt
from piker.transport import listen
from piker.varlink import Server, Stream

virtual = pytest.mark.usefixtures("virtual_time")

HOUSE = "house"
"""A provider that isn't installed: nobody can say that it has no order control."""
ORDER = OpenOrder(
    oid="0190",
    venue_id="7",
    account="house.main",
    market="eurusd.spot.house",
    side="buy",
    size=Decimal(5),
    filled=Decimal(2),
    limit=Decimal("1.2"),
)
STILL_OPEN = (
    "still open: house.main: buy 5 eurusd.spot.house at 1.2, filled 2 (0190; the venue's id is 7)"
)


class Broker:
    """Order control with a book of open orders; not connected until `up_at`, a virtual time."""

    def __init__(self, *orders: OpenOrder) -> None:
        self.orders = list(orders)
        self.asked: list[CancelAll] = []
        self.deaf = False
        self.up_at = 0.0

    async def cancel_all(self, call: CancelAll) -> CancelAllReply:
        self._connected()
        self.asked.append(call)
        ids = tuple(order.venue_id for order in self.orders)
        self.orders = self.orders if self.deaf else []
        return CancelAllReply(venue_ids=ids)

    async def snapshot(self, call: Snapshot) -> SnapshotReply:
        self._connected()
        return SnapshotReply(
            asked_ns=call.since_ns,
            orders=tuple(self.orders),
            ended=(),
            executions=(),
            holdings=(),
        )

    def _connected(self) -> None:
        if trio.current_time() < self.up_at:
            raise Refused(NotConnected(reason="logging in"))

    async def open(self, call: Open, stream: Stream) -> None:
        raise NotImplementedError

    async def place(self, call: Place) -> Done:
        raise NotImplementedError

    async def amend(self, call: Amend) -> Done:
        raise NotImplementedError

    async def cancel(self, call: Cancel) -> Done:
        raise NotImplementedError


@asynccontextmanager
async def brokers(provider: str, **by_daemon: Broker) -> AsyncIterator[None]:
    """Daemons that listen where brokerd and paperboi of a provider do."""
    with ExitStack() as stack:
        async with trio.open_nursery() as nursery:
            for daemon, broker in by_daemon.items():
                listener = stack.enter_context(listen(str(paths.socket_path(daemon, provider))))
                nursery.start_soon(Server(daemon, {BROKER: broker}).serve, [listener])
            yield
            nursery.cancel_scope.cancel()


def latched() -> halt.Latch | None:
    return halt.read(paths.state_of("emsd"))


@virtual
async def test_everything_is_cancelled_at_both_daemons_and_all_is_halted(
    capsys: pytest.CaptureFixture[str],
) -> None:
    live, paper = Broker(ORDER), Broker(ORDER, structs.replace(ORDER, oid="", venue_id="8"))
    async with brokers(HOUSE, brokerd=live, paperboi=paper):
        assert await panic.run(HOUSE) == 0
    assert (live.orders, paper.orders) == ([], [])
    assert set(live.asked) == {CancelAll(scope="all", account=None)}
    latch = latched()
    assert latch is not None
    assert latch.reason == "panic at house"
    assert "nothing is open at house" in capsys.readouterr().out


@virtual
async def test_an_order_that_stays_open_is_listed_and_the_end_is_no_good_one(
    capsys: pytest.CaptureFixture[str],
) -> None:
    live = Broker(ORDER)
    live.deaf = True
    async with brokers(HOUSE, brokerd=live, paperboi=Broker()):
        assert await panic.run(HOUSE) == 1
    assert len(live.asked) > 10
    assert trio.current_time() <= panic.PATIENCE_S + 2 * panic.ROUND_S
    assert capsys.readouterr().out == f"brokerd@house: {STILL_OPEN}\n" * 2


@virtual
async def test_an_order_that_was_on_its_way_at_the_halt_is_cancelled_too() -> None:
    live = Broker()
    async with brokers(HOUSE, brokerd=live, paperboi=Broker()), trio.open_nursery() as nursery:
        nursery.start_soon(arrives_after, 5.0, live)
        assert await panic.run(HOUSE) == 0
    assert live.orders == []


async def arrives_after(pause_s: float, broker: Broker) -> None:
    await trio.sleep(pause_s)
    assert latched()
    broker.orders.append(ORDER)


@virtual
async def test_a_daemon_that_has_just_come_up_is_asked_until_it_is_connected() -> None:
    live = Broker(ORDER)
    live.up_at = 20.0
    async with brokers(HOUSE, brokerd=live, paperboi=Broker()):
        assert await panic.run(HOUSE) == 0
    assert live.orders == []
    assert trio.current_time() < 25


@virtual
async def test_what_can_not_be_asked_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    live = Broker()
    live.up_at = 1000.0
    async with brokers(HOUSE, brokerd=live):
        assert await panic.run(HOUSE) == 1
    said = capsys.readouterr().out
    assert "brokerd@house: what is open is not known: " in said
    assert "logging in" in said
    assert "paperboi@house: what is open is not known: paperboi@house does not listen" in said


@virtual
async def test_where_a_provider_has_no_order_control_paperboi_alone_is_asked() -> None:
    paper = Broker(ORDER)
    async with brokers("replay", paperboi=paper):
        assert await panic.run("replay") == 0
    assert paper.orders == []


@virtual
async def test_who_halted_first_and_why_is_kept() -> None:
    before = halt.Latch(reason="a strange fill", since_ns=7)
    halt.set(paths.state_of("emsd"), before)
    async with brokers("replay", paperboi=Broker()):
        assert await panic.run("replay") == 0
    assert latched() == before


@virtual
async def test_where_nothing_can_be_halted_everything_is_cancelled_all_the_same(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", "/proc/none")
    paper = Broker(ORDER)
    async with brokers("replay", paperboi=paper):
        assert await panic.run("replay") == 1
    assert paper.orders == []
    assert "emsd could not be halted: " in capsys.readouterr().out


async def test_the_command_halts_and_lists_what_it_could_not_cancel(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broker = Broker(ORDER)
    async with brokers("replay", paperboi=broker):
        done = await command("replay")
    assert (done.returncode, broker.orders) == (0, [])
    assert done.stdout.decode().startswith("nothing is open at replay")
    assert "WARNING halted: panic at replay" in done.stderr.decode()
    assert latched()


async def command(*arguments: str) -> "subprocess.CompletedProcess[bytes]":
    """`python -m piker.panic`, to its end."""
    run = partial(trio.run_process, check=False, capture_stdout=True, capture_stderr=True)
    with trio.fail_after(60):
        return await run([sys.executable, "-m", "piker.panic", *arguments])


@pytest.mark.parametrize("arguments", [(), ("a", "b"), ("--help",)])
async def test_without_a_provider_its_usage_is_told_and_nothing_halted(
    arguments: tuple[str, ...],
) -> None:
    done = await command(*arguments)
    assert (done.returncode, done.stderr) == (2, b"usage: python -m piker.panic PROVIDER\n")
    assert latched() is None
