"""This very machine, as tests/system have one, and the suite of one of its managers."""

import grp
import os
import socket
from collections.abc import Mapping, Sequence
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import machine
from machine import USER, Machine

from tests.system.attacking import OF_A_USER, Desk
from tests.system.dialogue import Dialogue

PATIENCE_S = 300
"""Everything takes some ten times as long as on a processor that isn't emulated."""

DOORS = {
    "samplerd": "samplerd/samplerd",
    "datad@replay": "datad/replay",
    "emsd": "emsd/view",
    "paperboi@replay": "paperboi/replay",
    "brokerd@sim": "brokerd/sim",
}
"""Each daemon, and where it answers."""

DARK = {
    "account": "paper.replay",
    "market": "eurusd.spot.replay",
    "side": "buy",
    "size": "1000",
    "kind": "dark",
    "limit": None,
    "trigger": "1.00000",
    "when": "below",
}
"""An order that waits for a price that doesn't come."""


class Here(Machine):
    """There is no other machine to enter: PID 1 is its own."""

    def __init__(self) -> None:
        super().__init__([])
        self._leader = 1
        machine.TIMEOUT_S = PATIENCE_S

    def run(
        self,
        argv: Sequence[str],
        *,
        user: str | None = None,
        text: str = "",
        check: bool = True,
        timeout_s: float = PATIENCE_S,
    ) -> CompletedProcess[str]:
        """As of any machine, but with more patience."""
        return super().run(argv, user=user, text=text, check=check, timeout_s=timeout_s)


def ask(desk: Desk, door: str, method: str, parameters: Mapping[str, object]) -> Any:
    """What a daemon answers to root."""
    connection = socket.socket(socket.AF_UNIX)
    connection.settimeout(PATIENCE_S)
    connection.connect(f"{desk.manager.runtime}/piker/{door}.sock")
    with Dialogue(connection) as talk:
        return talk.ask(method, parameters)


def health(desk: Desk, unit: str) -> str:
    """The state of a daemon, or how it refused to say it."""
    reply = ask(desk, DOORS[unit], "piker.Service.Health", {})
    return str(reply["parameters"].get("state", reply))


def start(desk: Desk) -> None:
    """Have all daemons run."""
    desk.systemctl("start", *DOORS)


def pid(desk: Desk, unit: str) -> str:
    """The number of a daemon's process."""
    return desk.show(f"{unit}.service", "MainPID")


def cgroup(desk: Desk, unit: str) -> Path:
    """Where the kernel counts what a unit uses."""
    return Path("/sys/fs/cgroup" + desk.show(unit, "ControlGroup"))


def journal(desk: Desk, unit: str) -> list[Mapping[str, object]]:
    """What a unit's manager and its processes wrote."""
    if desk.manager is OF_A_USER:
        return desk.machine.journal_user(unit)
    return desk.machine.journal_system(unit)


def oid(number: int) -> str:
    """An order's name."""
    return f"01900000-0000-7000-8000-{number + 100:012x}"


def arm(desk: Desk, number: int) -> None:
    """Give emsd a dark order; it is on disk when this is done."""
    order = {**DARK, "oid": oid(number)}
    answer = ask(desk, "emsd/trade", "piker.Orders.Submit", {"order": order})
    assert "error" not in answer, answer


def state_of(desk: Desk, number: int) -> str:
    """How such an order stands."""
    reply = ask(desk, "emsd/view", "piker.Orders.Timeline", {"oid": oid(number)})
    return str(reply["parameters"]["life"]["state"])


def who(user: str) -> list[str]:
    """What runs a command as a user who is in every group of the suite."""
    groups = [each.gr_name for each in grp.getgrall() if each.gr_name.startswith("piker-")]
    return ["setpriv", f"--reuid={user}", f"--regid={user}", f"--groups={','.join(groups)}"]


def peer_of(desk: Desk) -> str:
    """Somebody who may connect to the daemons."""
    return USER if desk.manager is OF_A_USER else "piker-emsd"


def name_of_pid_1() -> str:
    """The user namespace that all others are in."""
    return os.readlink("/proc/1/ns/user")
