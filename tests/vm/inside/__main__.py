"""Finds out all that there is to know in three boots, and writes it to a serial port.

    python -m tests.vm.inside /dev/ttyS1

The first boot ends as it should, the second as if the power were cut, the third by switching off.
"""

import json
import os
import platform
import sys
import termios
import time
import traceback
import tty
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

from machine import UID, USER

from tests.system.attacking import OF_A_USER, OF_THE_SYSTEM, Desk
from tests.vm.inside import facts, here

BOOTS = Path("/var/lib/boots")
SETTINGS = "idle_exit_s = 86400\n"
"""Nothing ends by itself while others are looked at."""
AT_WORK = (
    facts.daemons,
    facts.limits,
    facts.oom_scores,
    facts.exposure,
    facts.surroundings,
    facts.doctor,
    facts.over_its_limit,
    facts.out_of_memory,
    facts.sandboxes,
    facts.failed,
)


class Report:
    """Where facts are written to, each as soon as it is known."""

    def __init__(self, path: str) -> None:
        self._port = os.open(path, os.O_WRONLY | os.O_NOCTTY)
        tty.setraw(self._port)

    def tell(self, fact: str, of: str, find: Callable[[], object]) -> None:
        """Find something out and write it, or how that failed."""
        began = time.monotonic()
        found: Mapping[str, object]
        try:
            found = {"value": find()}
        except Exception:  # noqa: BLE001 - whatever it is, the other facts are wanted all the same
            found = {"error": traceback.format_exc()}
        took = {"fact": fact, "of": of, "seconds": round(time.monotonic() - began, 1)}
        os.write(self._port, json.dumps({**took, **found}).encode() + b"\n")
        termios.tcdrain(self._port)
        print(took, flush=True)


def main() -> None:
    """Do what is to be done in this boot."""
    report, machine = Report(sys.argv[1]), here.Here()
    desks = [Desk(machine, manager) for manager in (OF_A_USER, OF_THE_SYSTEM)]
    machine.systemctl("start", f"user@{UID}")
    (_look, _lose_power, _be_attacked)[_count_boots() - 1](report, desks)


def _count_boots() -> int:
    """This one, too."""
    with BOOTS.open("a+") as file:
        file.write("boot\n")
        file.flush()
        os.fsync(file.fileno())
    return len(BOOTS.read_text().split())


def _look(report: Report, desks: list[Desk]) -> None:
    machine = desks[0].machine
    report.tell("versions", "machine", _versions)
    machine.systemctl("enable", "--now", "piker-resume", "emsd.socket", "emsd-trade.socket")
    for desk in desks:
        desk.keep(
            f"{desk.manager.configuration}/piker/piker.toml", SETTINGS, mode="644", owner="root"
        )
        for find in AT_WORK:
            report.tell(find.__name__, desk.manager.name, partial(find, desk))
    machine.systemctl("reboot")


def _versions() -> Mapping[str, str]:
    return {"kernel": platform.release(), "systemd": _first_line("systemctl", "--version")}


def _first_line(*command: str) -> str:
    return here.Here().run(command).stdout.splitlines()[0]


def _lose_power(report: Report, desks: list[Desk]) -> None:
    for desk in desks:
        report.tell("after_a_reboot", desk.manager.name, partial(facts.orders_again, desk, 1))
    for desk in desks:
        report.tell("armed", desk.manager.name, partial(here.arm, desk, 1))
    Path("/proc/sysrq-trigger").write_text("b")


def _be_attacked(report: Report, desks: list[Desk]) -> None:
    machine = desks[0].machine
    for desk in desks:
        report.tell("after_a_power_cut", desk.manager.name, partial(facts.orders_again, desk, 2))
    for desk in desks:
        report.tell("attacks", desk.manager.name, partial(facts.attacks, desk))
        machine.run(["usermod", "--append", "--groups", "piker-view,piker-trade", USER])
    report.tell("end", "machine", lambda: "off")
    machine.systemctl("poweroff")


if __name__ == "__main__":
    main()
