"""Asks whoever runs the suite for its units: pikerd, or the systemd user manager."""

from contextlib import suppress

import trio
from msgspec import Struct

from piker.cli import desk, lines
from piker.client import open_daemon
from piker.errors import Refused, Unreachable
from piker.interfaces.service import SERVICE, Health, HealthReply
from piker.interfaces.supervisor import SUPERVISOR, Unit, Units, UnitsReply
from piker.paths import socket_path

PATTERNS = [b"datad@*", b"emsd*", b"brokerd@*", b"paperboi@*", b"samplerd*", b"piker*"]
HEALTH_TIMEOUT_S = 2.0


class Status(Struct, frozen=True, kw_only=True):
    """A unit as `piker status` shows it. memory_bytes and pid are null where unknown."""

    unit: str
    active: str
    sub: str
    pid: int | None
    memory_bytes: int | None
    status: str
    conversations: int | None


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
    try:
        async with open_daemon("pikerd", None, SUPERVISOR) as client:
            units = (await client.call(Units(), UnitsReply)).units
    except Unreachable:
        units = _without_pikerd()
    return [await _with_conversations(unit) for unit in units]


def _without_pikerd() -> tuple[Unit, ...]:
    """Sockets are what starts daemons: where none is, and nobody to ask, nothing runs."""
    try:
        return ask_systemd()
    except Unreachable:
        if any(socket_path("pikerd").parent.parent.glob("*/*.sock")):
            raise
        return ()


def ask_systemd() -> tuple[Unit, ...]:
    """The suite's units of the user manager. Raises Unreachable, also without pystemd."""
    try:
        from pystemd.dbusexc import DBusBaseError
        from pystemd.dbuslib import DBus
        from pystemd.systemd1 import Manager
    except ImportError as error:
        missing = "no pikerd runs, and to ask systemd pystemd is missing: install piker[systemd]"
        raise Unreachable(missing) from error
    try:
        with DBus(user_mode=True) as bus, Manager(bus=bus) as manager:
            listed = manager.Manager.ListUnitsByPatterns([], PATTERNS)
            return tuple(sorted((_unit(bus, each) for each in listed), key=lambda unit: unit.unit))
    except (OSError, DBusBaseError) as error:
        reason = str(error).partition("\n")[0]  # pystemd's may go on with a joke
        silent = "no pikerd runs, and no systemd user manager answers"
        raise Unreachable(f"{silent}: {reason}") from error


def _unit(bus: object, listed: tuple[bytes, ...]) -> Unit:
    name, description, _, active, sub = (each.decode() for each in listed[:5])
    if not name.endswith(".service"):
        return Unit(unit=name, description=description, active=active, sub=sub)
    from pystemd.systemd1 import Unit as SystemdUnit

    with SystemdUnit(name.encode(), bus=bus) as unit:
        service = unit.Service
        return Unit(
            unit=name,
            description=description,
            active=active,
            sub=sub,
            pid=service.MainPID or None,
            memory_bytes=_known(service.MemoryCurrent),
            status=service.StatusText.decode(),
            restarts=service.NRestarts,
        )


def _known(number: int) -> int | None:
    """systemd says 2**64 - 1 for what it does not know."""
    return number if number < 2**63 else None


async def _with_conversations(unit: Unit) -> Status:
    return Status(
        unit=unit.unit,
        active=unit.active,
        sub=unit.sub,
        pid=unit.pid,
        memory_bytes=unit.memory_bytes,
        status=unit.status,
        conversations=await _conversations(unit),
    )


async def _conversations(unit: Unit) -> int | None:
    """Asked of the daemon itself, if it runs: asking must not start one."""
    if unit.active != "active" or not unit.unit.endswith(".service"):
        return None
    daemon, _, instance = unit.unit.removesuffix(".service").partition("@")
    with suppress(Unreachable, Refused):
        async with open_daemon(daemon, instance or None, SERVICE) as client:
            health = await client.call(Health(), HealthReply, HEALTH_TIMEOUT_S)
        return next(each.value for each in health.counters if each.name == "conversations")
    return None
