"""Asks a systemd manager of what it runs of the suite: the user's, or the machine's.

Every question waits for its answer: nothing else is done meanwhile.
"""

import json
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from piker.core.failures import DUMPED, EXITED, KILLED, why
from piker.errors import Unreachable
from piker.paths import manager

SYSTEMD, MANAGER = b"org.freedesktop.systemd1", b"/org/freedesktop/systemd1"
PATTERNS = [
    *(b"datad@*", b"emsd*", b"brokerd@*", b"paperboi@*", b"samplerd*"),
    *(b"iblane@*", b"ibgw@*", b"piker*"),
]
ANSWER_S = 5
"""A manager that is silent for longer isn't there; a journal, too."""
PROCESS_EXITED = "98e322203f7a4ed290d09fe03c09fe15"
"""The message id of a main process's bad end: sd-messages.h, SD_MESSAGE_UNIT_PROCESS_EXIT."""
_CODES = {"exited": EXITED, "killed": KILLED, "dumped": DUMPED}


class Told(Struct, frozen=True, kw_only=True):
    """What a manager says of a unit. Numbers and times, UTC ns, are None where unknown."""

    unit: str
    active: str
    sub: str
    pid: int | None = None
    memory_bytes: int | None = None
    status: str = ""
    restarts: int | None = None
    since_ns: int | None = None
    failure: str = ""
    """Its last one in words, if it failed or was restarted."""
    needs_reload: bool = False
    """Its files are others than the manager has read."""


class _Thing:
    """An object of a manager's, and its properties, asked for one by one.

    pystemd's own objects read their whole description first, which takes a hundred times as long.
    """

    def __init__(self, bus: Any, path: bytes) -> None:
        self._bus = bus
        self._path = path

    def get(self, interface: str, name: str, kind: bytes) -> Any:
        """A property of this D-Bus type; text as such."""
        whole = f"org.freedesktop.systemd1.{interface}".encode()
        value = self._bus.get_property(SYSTEMD, self._path, whole, name.encode(), kind)
        return value.decode() if isinstance(value, bytes) else value


def units() -> tuple[Told, ...]:
    """Those of the suite, by name. Raises Unreachable, also without pystemd."""
    with _manager() as bus:
        return tuple(
            sorted((_told(bus, each) for each in _listed(bus)), key=lambda told: told.unit)
        )


def version() -> str:
    """The manager's, as in "252.39-1~deb12u2". Raises as `units`."""
    with _manager() as bus:
        return str(_Thing(bus, MANAGER).get("Manager", "Version", b"s"))


@contextmanager
def _manager() -> Iterator[Any]:
    """A connection to its bus. Raises Unreachable."""
    try:
        from pystemd.dbusexc import DBusBaseError
        from pystemd.dbuslib import DBus
    except ImportError as error:
        missing = "to ask systemd pystemd is missing: install piker[systemd]"
        raise Unreachable(f"{_without_pikerd()}{missing}") from error
    os.environ.setdefault("SYSTEMD_BUS_TIMEOUT", str(ANSWER_S))  # sd-bus reads it; else it is 25 s
    try:
        with DBus(user_mode=manager() == "user") as bus:
            yield bus
    except (OSError, DBusBaseError) as error:
        reason = str(error).partition("\n")[0]  # pystemd's may go on with a joke
        silent = f"no systemd {manager()} manager answers"
        raise Unreachable(f"{_without_pikerd()}{silent}: {reason}") from error


def _without_pikerd() -> str:
    """It is asked first, where it may run."""
    return "no pikerd runs, and " if manager() == "user" else ""


def _listed(bus: Any) -> list[tuple[bytes, ...]]:
    from pystemd.dbuslib import apply_signature

    words = apply_signature(b"asas", [[], PATTERNS])
    interface = b"org.freedesktop.systemd1.Manager"
    listed = bus.call_method(SYSTEMD, MANAGER, interface, b"ListUnitsByPatterns", words)
    return list(listed.body)


def _told(bus: Any, listed: tuple[bytes, ...]) -> Told:
    name, _, _, active, sub, _, path = (each.decode() for each in listed[:7])
    thing = _Thing(bus, path.encode())
    told = Told(
        unit=name,
        active=active,
        sub=sub,
        since_ns=_since_ns(thing, active),
        needs_reload=thing.get("Unit", "NeedDaemonReload", b"b"),
    )
    kind = name.rpartition(".")[2]
    if kind == "service":
        return _service(thing, told)
    if kind == "socket" and active == "failed":
        return replace(told, failure=why(thing.get("Socket", "Result", b"s")))
    return told


def _service(service: _Thing, told: Told) -> Told:
    result, said = (service.get("Service", each, b"s") for each in ("Result", "StatusText"))
    code, status = (service.get("Service", f"ExecMain{each}", b"i") for each in ("Code", "Status"))
    restarts = service.get("Service", "NRestarts", b"u")
    failure = why(result, code, status, said)
    if not failure and restarts:
        failure = last_failure(told.unit)
    return replace(
        told,
        pid=service.get("Service", "MainPID", b"u") or None,
        memory_bytes=_known(service.get("Service", "MemoryCurrent", b"t")),
        status=said,
        restarts=restarts,
        failure=failure,
    )


def _since_ns(unit: _Thing, active: str) -> int | None:
    """Since when it is active, or isn't; None: it never was."""
    stopped = active in ("inactive", "failed")
    name = "InactiveEnterTimestamp" if stopped else "ActiveEnterTimestamp"
    return int(unit.get("Unit", name, b"t")) * 1000 or None


def last_failure(unit: str) -> str:
    """How a service that runs again ended before, from the journal; nothing if that isn't known."""
    of = ["--user", f"USER_UNIT={unit}"] if manager() == "user" else [f"UNIT={unit}"]
    command = ["journalctl", "--quiet", "--output=json", "--lines=1", *of]
    with suppress(OSError, ValueError, KeyError, subprocess.TimeoutExpired):
        done = subprocess.run(  # noqa: S603 each word is ours
            [*command, f"MESSAGE_ID={PROCESS_EXITED}"], capture_output=True, timeout=ANSWER_S
        )
        entry = json.loads(done.stdout)
        return why("exit-code", _CODES[entry["EXIT_CODE"]], int(entry["EXIT_STATUS"]))
    return ""


def _known(number: int) -> int | None:
    """systemd says 2**64 - 1 for what it does not know."""
    return number if number < 2**63 else None
