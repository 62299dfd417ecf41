"""What outlives an upgrade, a boot, and the restart of each daemon: orders, bars, clients."""

import itertools
import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import pytest
from deb import Package, next_version
from machine import USER, Machine, wait_until

from piker.sharedbars import BarReader
from tests.system.asking import SOCKETS
from tests.system.trading import (
    DARK,
    LIVE,
    MARKET,
    OIDS,
    RESTING,
    asking,
    await_state,
    life_of,
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

# Asks again and again, over a new connection each time, and writes down what became of it.
ASKER = """
import json, socket, sys, time
out = open(sys.argv[1], "w", buffering=1)
call = b'{"method": "piker.Service.Health", "parameters": {}}\\0'
while True:
    for path in sys.argv[2:]:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(60)
            reply = b""
            try:
                connection.connect(path)
                connection.sendall(call)
                while not reply.endswith(b"\\0"):
                    reply += connection.recv(65536) or sys.exit(f"{path} hung up")
                problem = json.loads(reply[:-1]).get("error", "")
            except OSError as error:
                problem = str(error)
        print(json.dumps([path, time.monotonic(), problem]), file=out)
    time.sleep(0.02)
"""
ASKED = [f"{SOCKETS}/{each}.sock" for each in ("emsd/view", "emsd/trade", "datad/replay")]
HOME = f"/home/{USER}"


class Desk:
    """A machine with a feed that runs, orders that rest, and clients that follow and ask."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        open_venue(machine, also=f'[datad]\nkeep = ["{MARKET}"]\n')
        machine.systemctl_user("start", "datad@replay")
        for order in (RESTING, DARK, LIVE):
            answer = submit(machine, order)
            assert "error" not in answer, answer
        for oid, state in ORDERS.items():
            await_state(machine, oid, state)
        self.book = self.look()

    def look(self) -> Any:
        """Each order as emsd has it, and what the venues hold."""
        machine = self.machine
        lives = [life_of(machine, oid) for oid in ORDERS]
        return {
            "emsd": [{name: life[name] for name in ("order", "state", "filled")} for life in lives],
            "paper": self._held_by("paperboi", "replay"),
            "venue": self._held_by("brokerd", "sim"),
        }

    def _held_by(self, daemon: str, provider: str) -> list[tuple[str, str]]:
        with asking(self.machine, daemon, provider) as talk:
            reply = talk.ask("piker.Broker.Snapshot", {"since_ns": 0})
        return [(each["oid"], each["venue_id"]) for each in reply["parameters"]["orders"]]

    def start_clients(self) -> None:
        """One that asks, over a new connection each time; one that follows the orders."""
        self._run("asker", "python3", "-c", ASKER, f"{HOME}/asked", *ASKED)
        self._run("follower", "sh", "-c", f"exec piker orders --follow --json >{HOME}/followed")
        wait_until(lambda: len(self.read("followed")) >= len(ORDERS), "a client that follows")
        wait_until(lambda: len(self.read("asked")) > len(ASKED), "a client that asks")

    def _run(self, name: str, *command: str) -> None:
        run = ["systemd-run", "--user", "--quiet", f"--unit={name}", "--setenv=PATH=/usr/bin:/bin"]
        self.machine.run([*run, *command], user=USER)

    def read(self, name: str) -> list[Any]:
        """The lines that a client has written."""
        text = self.machine.run(["cat", f"{HOME}/{name}"]).stdout
        return [json.loads(line) for line in text.splitlines() if line.endswith(("]", "}"))]

    def failures(self) -> list[Any]:
        """The calls that were not answered."""
        return [each for each in self.read("asked") if each[2]]

    def longest_wait_s(self) -> float:
        """The longest time from one answer of a daemon to its next."""
        asked = self.read("asked")
        times: list[list[float]] = [[at for path, at, _ in asked if path == each] for each in ASKED]
        return max(after - before for each in times for before, after in itertools.pairwise(each))

    def pids(self) -> dict[str, str]:
        """The process of each daemon."""
        return {unit: self.machine.show(unit, "MainPID") for unit in DAEMONS}


@pytest.fixture
def desk(machine: Machine) -> Desk:
    """A desk at work."""
    return Desk(machine)


@pytest.fixture
def bars(desk: Desk) -> Iterator[Callable[[], BarReader]]:
    """Gives the market's bars, as datad has them now."""
    with ExitStack() as stack:

        def read() -> BarReader:
            talk = stack.enter_context(asking(desk.machine, "datad", "replay"))
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
    for oid, state in ORDERS.items():
        await_state(desk.machine, oid, state)


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
    kept, pids = before.bars(1000)[: before.final], desk.pids()
    desk.machine.install(next_version(package.fast, tmp_path))
    await_back(desk, pids)
    assert desk.look() == desk.book
    after = bars()
    wait_until(lambda: after.final > before.final, "a bar more")
    assert after.bars(100_000)[: len(kept)] == kept
    assert len(holes(after)) == 1
    assert rows_in_holes(after) == []
    told = [each["seq"] for each in desk.read("followed") if each["event"]]
    assert told == sorted(set(told))
    assert desk.failures() == []
    gap_s = desk.longest_wait_s()
    with capsys.disabled():
        print(f"\nupgrade: longest wait {gap_s:.2f} s, hole in the bars {sum(holes(after)):.2f} s")


@pytest.mark.parametrize("unit", DAEMONS)
def test_the_restart_of_one_daemon_loses_no_order_and_no_call(desk: Desk, unit: str) -> None:
    desk.start_clients()
    pids = desk.pids()
    desk.machine.systemctl_user("restart", unit)
    await_back(desk, {unit: pids[unit]})
    assert desk.look() == desk.book
    assert desk.failures() == []
    told = [each["seq"] for each in desk.read("followed") if each["event"]]
    assert told == sorted(set(told))


@pytest.mark.parametrize("clean", [True, False], ids=["reboot", "power cut"])
def test_a_boot_brings_back_every_order_and_whoever_looks_after_it(desk: Desk, clean: bool) -> None:
    desk.machine.reboot(clean=clean)
    wait_until(lambda: desk.machine.show("emsd", "ActiveState") == "active", "emsd, by resume")
    for oid, state in ORDERS.items():
        await_state(desk.machine, oid, state)
    assert desk.look() == desk.book
