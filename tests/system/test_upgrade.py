"""What outlives an upgrade, a boot, and the restart of each daemon: orders, bars, clients."""

import itertools
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from deb import Package, next_version
from machine import USER, Machine, wait_until

from piker.sharedbars import BarReader
from tests.system import clients
from tests.system.asking import SOCKETS
from tests.system.trading import (
    DARK,
    LIVE,
    MARKET,
    OF_SYSTEM,
    OIDS,
    RESTING,
    asking,
    await_state,
    life_of,
    open_system_venue,
    open_venue,
    submit,
)

pytestmark = pytest.mark.system

DAEMONS = (
    *("datad@replay", "datad@sim", "samplerd"),
    *("emsd", "paperboi@replay", "brokerd@sim"),
)
ORDERS = {OIDS[1]: "open", OIDS[2]: "held", OIDS[4]: "open"}
"""One that rests on paper, a dark one, one that rests at the simulated venue: how they stand."""

ASKED = ("emsd/view", "emsd/trade", "datad/replay")


def open_for_all(machine: Machine, also: str) -> None:
    """Have the system run the suite; its user may watch and trade, and see what brokers hold."""
    open_system_venue(machine, also)
    machine.systemctl("enable", "piker-resume")
    machine.run(["usermod", "--append", "--groups=piker-view,piker-trade,piker-emsd", USER])


@dataclass(frozen=True, kw_only=True)
class Manager:
    """Whose systemd runs the suite: how it is set up and asked, and where it listens."""

    set_up: Callable[[Machine, str], None]
    systemctl: Callable[..., str]
    show: Callable[[Machine, str, str], str]
    sockets: str
    command: Sequence[str]


MANAGERS = {
    "user": Manager(
        set_up=open_venue,
        systemctl=Machine.systemctl_user,
        show=Machine.show,
        sockets=SOCKETS,
        command=["piker"],
    ),
    "system": Manager(
        set_up=open_for_all,
        systemctl=Machine.systemctl,
        show=Machine.show_system,
        sockets=OF_SYSTEM,
        command=["piker", "--system"],
    ),
}


class Desk:
    """A machine with a feed that runs, orders that rest, and clients that follow and ask."""

    def __init__(self, machine: Machine, manager: Manager) -> None:
        self.machine = machine
        self.manager = manager
        manager.set_up(machine, f'[datad]\nkeep = ["{MARKET}"]\n')
        self.systemctl("start", "datad@replay")
        for order in (RESTING, DARK, LIVE):
            answer = submit(machine, order, manager.sockets)
            assert "error" not in answer, answer
        self.await_orders()
        self.book = self.look()

    def systemctl(self, *arguments: str) -> None:
        """Tell the manager."""
        self.manager.systemctl(self.machine, *arguments)

    def show(self, unit: str, name: str) -> str:
        """One property of a unit."""
        return self.manager.show(self.machine, unit, name)

    def await_orders(self) -> None:
        """Wait until each order stands as it should, which needs all accounts to be ready."""
        for oid, state in ORDERS.items():
            await_state(self.machine, oid, state, self.manager.sockets)

    def look(self) -> Any:
        """Each order as emsd has it, and what the venues hold."""
        lives = [life_of(self.machine, oid, self.manager.sockets) for oid in ORDERS]
        return {
            "emsd": [{name: life[name] for name in ("order", "state", "filled")} for life in lives],
            "paper": self._held_by("paperboi", "replay"),
            "venue": self._held_by("brokerd", "sim"),
        }

    def _held_by(self, daemon: str, provider: str) -> list[tuple[str, str]]:
        with asking(self.machine, daemon, provider, self.manager.sockets) as talk:
            reply = talk.ask("piker.Broker.Snapshot", {"since_ns": 0})
        return [(each["oid"], each["venue_id"]) for each in reply["parameters"]["orders"]]

    def start_clients(self) -> None:
        """One that asks, over a new connection each time; one that follows the orders."""
        follow = [*self.manager.command, "orders", "--follow", "--json"]
        clients.start(self.machine, "follower", *follow)
        wait_until(lambda: len(self.followed()) >= len(ORDERS), "a client that follows")
        clients.start_asker(self.machine, self._asked)

    @property
    def _asked(self) -> list[str]:
        return [f"{self.manager.sockets}/{each}.sock" for each in ASKED]

    def followed(self) -> list[Any]:
        """What the client that follows was told."""
        return clients.written(self.machine, "follower")

    def failures(self) -> list[Any]:
        """The calls that were not answered."""
        return clients.failures(self.machine)

    def longest_wait_s(self) -> float:
        """The longest time from one answer of a daemon to its next."""
        asked = clients.written(self.machine, "asker")
        times: list[list[float]] = [
            [at for path, at, _ in asked if path == each] for each in self._asked
        ]
        return max(after - before for each in times for before, after in itertools.pairwise(each))

    def inodes(self) -> str:
        """Which sockets the daemons listen on: a path that was bound anew has another one."""
        find = ["find", self.manager.sockets, "-type", "s", "-printf", "%i %p\n"]
        return "".join(sorted(self.machine.run(find).stdout.splitlines(keepends=True)))

    def pids(self) -> dict[str, str]:
        """The process of each daemon."""
        return {unit: self.show(unit, "MainPID") for unit in DAEMONS}


@pytest.fixture
def manager() -> str:
    """Whose systemd runs the suite, where a test doesn't say."""
    return "user"


@pytest.fixture
def desk(machine: Machine, manager: str) -> Desk:
    """A desk at work."""
    return Desk(machine, MANAGERS[manager])


@pytest.fixture
def bars(desk: Desk) -> Iterator[Callable[[], BarReader]]:
    """Gives the market's bars, as datad has them now."""
    with ExitStack() as stack:

        def read() -> BarReader:
            talk = stack.enter_context(
                asking(desk.machine, "datad", "replay", desk.manager.sockets)
            )
            talk.say("piker.Data.Bars", {"market": MARKET, "period_s": 1}, more=True)
            reply = talk.hear()
            return stack.enter_context(closing(BarReader(talk.fds[reply["parameters"]["fd"]])))

        yield read


def holes(reader: BarReader) -> list[float]:
    """How long each hole in the coverage is, s."""
    covered = reader.coverage()
    return [(after[0] - before[1]) / 1e9 for before, after in itertools.pairwise(covered)]


def rows_in_holes(reader: BarReader) -> list[int]:
    """Bars that begin where nothing was seen."""
    covered = reader.coverage()
    gaps = [(before[1], after[0]) for before, after in itertools.pairwise(covered)]
    times = [bar.time_ns for bar in reader.bars(100_000)]
    return [at for at in times for start, end in gaps if start <= at and at + 10**9 <= end]


def await_back(desk: Desk, before: dict[str, str]) -> None:
    """Wait until each of these daemons runs in another process, and all accounts are ready."""

    def back() -> bool:
        return all(
            now not in ("0", before.get(unit))
            for unit, now in desk.pids().items()
            if unit in before
        )

    wait_until(back, "all daemons, in new processes")
    desk.await_orders()


@pytest.mark.parametrize("manager", MANAGERS)
def test_an_upgrade_loses_no_order_no_call_and_no_bar_that_was_seen(
    desk: Desk,
    bars: Callable[[], BarReader],
    package: Package,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    before = bars()
    wait_until(lambda: before.final >= 2, "two final bars")
    desk.start_clients()
    final = before.final  # asked first: a bar that is final by then is whole in what is read then
    kept, pids = before.bars(1000)[:final], desk.pids()
    desk.machine.install(next_version(package.fast, tmp_path))
    await_back(desk, pids)
    assert desk.look() == desk.book
    after = bars()
    wait_until(lambda: after.final > before.final, "a bar more")
    assert after.bars(100_000)[: len(kept)] == kept
    assert len(holes(after)) == 1
    assert rows_in_holes(after) == []
    told = [each["seq"] for each in desk.followed() if each["event"]]
    assert told == sorted(set(told))
    assert desk.failures() == []
    gap_s = desk.longest_wait_s()
    with capsys.disabled():
        print(f"\nupgrade: longest wait {gap_s:.2f} s, hole in the bars {sum(holes(after)):.2f} s")


def fail_unpacking(root: Path) -> None:
    """The next version brings a file that is another package's."""
    (root / "usr/bin/env").write_text("")


def fail_at_last(root: Path) -> None:
    """The next version's installation ends when all is replaced and nothing was restarted."""
    script = root / "DEBIAN/postinst"
    script.write_text(script.read_text().replace("set -e\n", "exit 1\n", 1))


@pytest.mark.parametrize("fault", [fail_unpacking, fail_at_last])
def test_an_upgrade_that_fails_half_way_leaves_all_at_work_and_the_next_one_succeeds(
    desk: Desk, package: Package, tmp_path: Path, fault: Callable[[Path], None]
) -> None:
    desk.start_clients()
    pids = desk.pids()
    with pytest.raises(AssertionError, match=r"trying to overwrite|exit status 1"):
        desk.machine.install(next_version(package.fast, tmp_path, fault))
    assert desk.pids() == pids
    assert desk.look() == desk.book
    desk.machine.install(next_version(package.fast, tmp_path))
    await_back(desk, pids)
    assert desk.look() == desk.book
    assert desk.failures() == []


def test_the_same_version_again_and_the_one_before_restart_all_and_lose_no_order_and_no_call(
    desk: Desk, package: Package, tmp_path: Path
) -> None:
    desk.start_clients()
    sockets = desk.inodes()
    following = next_version(package.fast, tmp_path)
    for each in (package.fast, following, package.fast):
        pids = desk.pids()
        desk.machine.install(each)
        await_back(desk, pids)
    assert desk.look() == desk.book
    assert desk.inodes() == sockets
    assert desk.failures() == []


@pytest.mark.parametrize("unit", DAEMONS)
def test_the_restart_of_one_daemon_loses_no_order_and_no_call(desk: Desk, unit: str) -> None:
    desk.start_clients()
    pids = desk.pids()
    desk.systemctl("restart", unit)
    await_back(desk, {unit: pids[unit]})
    assert desk.look() == desk.book
    assert desk.failures() == []
    told = [each["seq"] for each in desk.followed() if each["event"]]
    assert told == sorted(set(told))


@pytest.mark.parametrize(
    ("manager", "clean"),
    [("user", True), ("user", False), ("system", False)],
    ids=["user's, reboot", "user's, power cut", "system's, power cut"],
)
def test_a_boot_brings_back_every_order_and_whoever_looks_after_it(desk: Desk, clean: bool) -> None:
    desk.machine.reboot(clean=clean)
    wait_until(lambda: desk.show("emsd", "ActiveState") == "active", "emsd, by resume")
    desk.await_orders()
    assert desk.look() == desk.book
