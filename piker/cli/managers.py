"""Asks whoever runs the suite for its units: pikerd, or a systemd manager."""

from contextlib import suppress

import trio
from msgspec import Struct

from piker.cli import desk, lines, systemd
from piker.cli.systemd import Told
from piker.client import open_daemon
from piker.errors import Refused, Unreachable
from piker.interfaces.service import SERVICE, Health, HealthReply
from piker.interfaces.supervisor import SUPERVISOR, Unit, Units, UnitsReply
from piker.paths import ANSWERING, manager, socket_path

HEALTH_TIMEOUT_S = 2.0


class Status(Struct, frozen=True, kw_only=True):
    """A unit as `piker status` shows it. Numbers and times, UTC ns, are null where unknown."""

    unit: str
    active: str
    sub: str
    pid: int | None
    memory_bytes: int | None
    status: str
    conversations: int | None
    restarts: int | None
    since_ns: int | None
    """Since when it is active, or isn't."""
    failure: str
    """Its last one, if it failed or was restarted."""
    manager: str
    """Who was asked: pikerd, or the systemd manager of the user or the system."""


def ask() -> list[Status]:
    """All units by name; none where nothing runs. Raises Unreachable."""
    return trio.run(_ask)


def notes_of_emsd() -> list[str]:
    """What it says of a halt and of accounts that aren't ready."""
    return trio.run(_notes_of_emsd)


async def _notes_of_emsd() -> list[str]:
    try:
        return lines.notes(await desk.accounts(), ())
    except (Refused, Unreachable) as error:
        return [str(error)]


async def _ask() -> list[Status]:
    if manager() == "system":
        return [await _status(each, "system") for each in systemd.units()]
    try:
        async with open_daemon("pikerd", None, SUPERVISOR) as client:
            units = (await client.call(Units(), UnitsReply)).units
    except Unreachable:
        return [await _status(each, "user") for each in _without_pikerd()]
    return [await _status(_as_told(each), "pikerd") for each in units]


def _without_pikerd() -> tuple[Told, ...]:
    """Sockets are what starts daemons: where none is, and nobody to ask, nothing runs."""
    try:
        return systemd.units()
    except Unreachable:
        if any(socket_path("pikerd").parent.parent.glob("*/*.sock")):
            raise
        return ()


def _as_told(unit: Unit) -> Told:
    """What pikerd says of a unit; it keeps no times, and logs why one failed."""
    return Told(
        unit=unit.unit,
        active=unit.active,
        sub=unit.sub,
        pid=unit.pid,
        memory_bytes=unit.memory_bytes,
        status=unit.status,
        restarts=unit.restarts if unit.unit.endswith(".service") else None,
    )


async def _status(told: Told, manager: str) -> Status:
    return Status(
        unit=told.unit,
        active=told.active,
        sub=told.sub,
        pid=told.pid,
        memory_bytes=told.memory_bytes,
        status=told.status,
        conversations=await _conversations(told),
        restarts=told.restarts,
        since_ns=told.since_ns,
        failure=told.failure,
        manager=manager,
    )


async def _conversations(unit: Told) -> int | None:
    """Asked of the daemon itself, if it runs: asking must not start one."""
    if unit.active != "active" or not unit.unit.endswith(".service"):
        return None
    daemon, _, instance = unit.unit.removesuffix(".service").partition("@")
    if daemon not in ANSWERING:
        return None
    with suppress(Unreachable, Refused):
        async with open_daemon(daemon, instance or None, SERVICE) as client:
            health = await client.call(Health(), HealthReply, HEALTH_TIMEOUT_S)
        return next(each.value for each in health.counters if each.name == "conversations")
    return None
