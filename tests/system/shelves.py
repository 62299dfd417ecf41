"""A datad on a machine that keeps a market's bars, and what it has of them."""

from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Self

from machine import USER, Machine, wait_until
from msgspec import json, structs

from piker.interfaces.store import GapsReply, Stretch
from piker.quotes import Bar
from piker.sharedbars import BarReader
from tests.fakes.simvenue import MARKET
from tests.system.attacking import OF_A_USER, OF_THE_SYSTEM, Desk, Manager

UNIT = "datad@sim"
PLACES = {"bookworm": f"/home/{USER}/.config", "trixie": f"/home/{USER}/.local/state"}
"""Where a user's services have their state; on systemd 252 where configuration is."""
PLACE_OF_SYSTEM = "/var/lib/piker/datad"


@dataclass(frozen=True)
class Shelf(Desk):
    """datad@sim keeps the seconds and minutes of a market, and runs."""

    release: str

    @classmethod
    def on(cls, machine: Machine, manager: Manager, release: str) -> Self:
        """Set one up."""
        shelf = cls(machine, manager, release)
        if manager is OF_THE_SYSTEM:
            machine.run(["usermod", "--append", "--groups=piker-view", USER])
        configuration = f"{manager.configuration}/piker/piker.toml"
        shelf.keep(configuration, f'[datad]\nkeep = ["{MARKET}"]\n', mode="644")
        shelf.systemctl("start", UNIT)
        return shelf

    @property
    def history(self) -> str:
        """Where the provider's history is."""
        of_user = self.manager is OF_A_USER
        place = f"{PLACES[self.release]}/piker-datad" if of_user else PLACE_OF_SYSTEM
        return f"{place}/history/sim"

    def piker(self, *arguments: str, status: int = 0) -> str:
        """What a person reads who is at this machine."""
        command = ["piker", f"--{self.manager.name}", *arguments]
        done = self.machine.run(command, user=USER, check=False)
        assert done.returncode == status, (done.returncode, done.stdout, done.stderr)
        return done.stdout + done.stderr

    def await_seconds(self, count: int = 3) -> list[Bar]:
        """Final seconds in shared memory, when there are so many."""
        return self._await_bars(lambda bars: len(bars) >= count)

    def await_bars_of(self, before: Sequence[Bar]) -> list[Bar]:
        """Final seconds in shared memory, when those of before are among them, as they were."""
        return self._await_bars(lambda bars: [bar for bar in bars if bar in before] == [*before])

    def _await_bars(self, wanted: Callable[[list[Bar]], bool]) -> list[Bar]:
        looks: list[list[Bar]] = []

        def there() -> bool:
            looks.append(self._look())
            return wanted(looks[-1])

        wait_until(there, "bars in shared memory")
        return looks[-1]

    def _look(self) -> list[Bar]:
        """As one who reads from now on is first told."""
        with self.asking("datad", "sim") as talk:
            talk.say("piker.Data.Bars", {"market": MARKET, "period_s": 1}, more=True)
            reply = talk.hear()
            with closing(BarReader(talk.fds[reply["parameters"]["fd"]])) as reader:
                final = reader.final
                return reader.bars(100_000)[:final]

    def kept(self) -> list[Bar]:
        """The market's seconds on disk and in memory, also those of which a part was missed.

        That it was is told of what is kept, and not of what is first seen in shared memory.
        """
        with self.asking("datad", "sim") as talk:
            talk.say("piker.Store.Table", {"market": MARKET, "period_s": 1}, more=True)
            reply = talk.hear()
            with closing(BarReader(talk.fds[reply["parameters"]["fd"]])) as reader:
                return [structs.replace(bar, partial=False) for bar in reader.bars(100_000)]

    def await_gaps(self, count: int) -> Sequence[Stretch]:
        """What is missing of them, when that is so many stretches."""
        gaps: list[Sequence[Stretch]] = []

        def there() -> bool:
            told = self.piker("history", "gaps", MARKET, "--period", "1s", "--json")
            gaps.append(json.decode(told, type=GapsReply).gaps)
            return len(gaps[-1]) == count

        wait_until(there, f"{count} gaps")
        return gaps[-1]

    def pid(self) -> str:
        """Its process."""
        return self.show(UNIT, "MainPID")

    def kill(self) -> None:
        """Kill it, and wait until it is there again."""
        before = self.pid()
        self.systemctl("kill", "--signal=KILL", UNIT)
        wait_until(lambda: self.pid() not in ("0", before), f"{UNIT}, once more")

    def files(self) -> list[str]:
        """The files of the history."""
        return self.machine.run(["find", self.history, "-type", "f"]).stdout.splitlines()

    def permissions(self) -> set[str]:
        """Whose directories and files of the history are, and who else may do what."""
        find = ["find", self.history, "-printf", "%y %u %m\n"]
        return set(self.machine.run(find).stdout.splitlines())

    def sees(self, unit: str, path: str) -> bool:
        """Whether a service has this among its files, whoever may read it."""
        self.systemctl("start", unit)
        enter = ["nsenter", "--mount", f"--target={self.show(unit, 'MainPID')}"]
        return self.machine.run([*enter, "test", "-e", path], check=False).returncode == 0

    def may_read(self, name: str, path: str) -> bool:
        """Whether a user of the machine may, with all groups of theirs."""
        become = ["setpriv", f"--reuid={name}", f"--regid={name}", "--init-groups"]
        return self.machine.run([*become, "test", "-r", path], check=False).returncode == 0
