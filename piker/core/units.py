"""What a socket, a service or a target unit says, and what follows from how a process ended."""

import math
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from signal import Signals
from typing import Literal

from piker.core.unitfile import (
    BadUnit,
    Entry,
    Settings,
    Specifiers,
    boolean,
    octal,
    parse,
    seconds,
    split_command,
    split_words,
    unescape,
    whole,
)

LONGEST_BACKOFF_S = 5.0
STEADY_S = 10.0
"""A run that was up for so long ends a row of failures."""
CLEAN_SIGNALS = {Signals.SIGHUP, Signals.SIGINT, Signals.SIGTERM, Signals.SIGPIPE}
"""Deaths that count as success, but of a oneshot at work: systemd.service(5),
SuccessExitStatus=."""


@dataclass(frozen=True)
class Name:
    """A unit's name in its parts: PREFIX@INSTANCE.KIND, or PREFIX.KIND."""

    full: str
    prefix: str
    instance: str | None
    kind: str

    @classmethod
    def of(cls, text: str) -> "Name | None":
        """None if pikerd runs no unit of such a name."""
        match = re.fullmatch(r"([\w:.-]+)(?:@([\w:.-]+))?\.(socket|service|target)", text, re.ASCII)
        return cls(text, match[1], match[2], match[3]) if match else None

    @property
    def file(self) -> str:
        """The name of its file: for an instance, the template's."""
        return self.full if self.instance is None else f"{self.prefix}@.{self.kind}"


@dataclass(frozen=True, kw_only=True)
class Head:
    """What every unit says: who it is, and names of units it depends on."""

    name: str
    description: str
    requires: tuple[str, ...]
    wants: tuple[str, ...]
    after: tuple[str, ...]
    before: tuple[str, ...]
    part_of: tuple[str, ...]


@dataclass(frozen=True)
class TargetUnit:
    """A name for several units together."""

    head: Head


@dataclass(frozen=True, kw_only=True)
class SocketUnit:
    """Where to listen for a service that a connection starts: of the same name, or another."""

    head: Head
    service: str
    path: str
    fd_name: str
    socket_mode: int
    directory_mode: int
    backlog: int
    remove_on_stop: bool
    prepare: tuple[tuple[str, ...], ...]
    trigger_interval_s: float
    trigger_burst: int


@dataclass(frozen=True, kw_only=True)
class ServiceUnit:
    """A process and how to keep it. Credentials and environment are (name, value).

    It is up when it says so (notify), when it runs (simple), or when it has ended well (oneshot).
    `sockets` are those that it may inherit: of its own name, and others.
    """

    head: Head
    command: tuple[str, ...]
    type: str
    sockets: tuple[str, ...]
    environment: tuple[tuple[str, str], ...]
    environment_files: tuple[str, ...]
    load_credentials: tuple[tuple[str, str], ...]
    set_credentials: tuple[tuple[str, str], ...]
    restart: str
    restart_s: float
    force_restart: frozenset[int]
    success: frozenset[int]
    start_timeout_s: float
    stop_timeout_s: float
    fd_store_max: int
    state_directories: tuple[str, ...]
    state_mode: int
    runtime_directories: tuple[str, ...]


AnyUnit = TargetUnit | SocketUnit | ServiceUnit


def build(name: Name, files: Iterable[tuple[str, str]], specifiers: Specifiers) -> AnyUnit:
    """The unit that these files describe, (path, text), its own first. Raises BadUnit."""
    entries = [entry for file, text in files for entry in parse(text, file)]
    settings = Settings(entries, specifiers)
    head = _head(name, settings)
    if name.kind == "socket":
        return _socket(head, settings)
    if name.kind == "service":
        return _service(head, settings)
    return TargetUnit(head)


def _head(name: Name, settings: Settings) -> Head:
    return Head(
        name=name.full,
        description=settings.one("Unit", "Description", settings.text, name.full),
        requires=settings.words("Unit", "Requires"),
        wants=settings.words("Unit", "Wants"),
        after=settings.words("Unit", "After"),
        before=settings.words("Unit", "Before"),
        part_of=settings.words("Unit", "PartOf"),
    )


def _socket(head: Head, settings: Settings) -> SocketUnit:
    path = _only(head, settings, "Socket", "ListenStream")
    return SocketUnit(
        head=head,
        service=settings.one("Socket", "Service", _a_service(settings), _beside(head, "service")),
        path=_absolute(settings.text(path), path),
        fd_name=settings.one("Socket", "FileDescriptorName", settings.text, head.name),
        socket_mode=settings.one("Socket", "SocketMode", octal, 0o666),
        directory_mode=settings.one("Socket", "DirectoryMode", octal, 0o755),
        backlog=settings.one("Socket", "Backlog", whole, 4096),
        remove_on_stop=settings.one("Socket", "RemoveOnStop", boolean, False),
        prepare=tuple(
            split_command(settings, entry) for entry in settings.all("Socket", "ExecStartPre")
        ),
        trigger_interval_s=settings.one("Socket", "TriggerLimitIntervalSec", seconds, 2.0),
        trigger_burst=settings.one("Socket", "TriggerLimitBurst", whole, 20),
    )


def _service(head: Head, settings: Settings) -> ServiceUnit:
    settings.one("Service", "NotifyAccess", _expect("main"), "")
    kind = settings.one("Service", "Type", _expect("notify", "simple", "oneshot"), "simple")
    others = settings.words("Service", "Sockets")
    # systemd.service(5), Sockets=: wants them, too
    head = replace(head, wants=(*head.wants, *others))
    return ServiceUnit(
        head=head,
        command=split_command(settings, _only(head, settings, "Service", "ExecStart")),
        type=kind,
        sockets=(_beside(head, "socket"), *others),
        environment=_environment(settings),
        environment_files=settings.words("Service", "EnvironmentFile"),
        load_credentials=tuple(
            (name, _absolute(value, entry))
            for name, value, entry in _credentials(settings, "LoadCredential")
        ),
        set_credentials=tuple(
            (name, unescape(value, entry))
            for name, value, entry in _credentials(settings, "SetCredential")
        ),
        restart=settings.one("Service", "Restart", _expect("no", "on-failure", "always"), "no"),
        restart_s=settings.one("Service", "RestartSec", seconds, 0.1),
        force_restart=_statuses(settings, "RestartForceExitStatus"),
        success=_statuses(settings, "SuccessExitStatus"),
        # systemd.service(5), TimeoutStartSec=: what a oneshot does may take its time
        start_timeout_s=settings.one(
            "Service", "TimeoutStartSec", seconds, math.inf if kind == "oneshot" else 90.0
        ),
        stop_timeout_s=settings.one("Service", "TimeoutStopSec", seconds, 90.0),
        fd_store_max=settings.one("Service", "FileDescriptorStoreMax", whole, 0),
        state_directories=settings.words("Service", "StateDirectory"),
        state_mode=settings.one("Service", "StateDirectoryMode", octal, 0o755),
        runtime_directories=settings.words("Service", "RuntimeDirectory"),
    )


def _beside(head: Head, kind: str) -> str:
    """The unit of the same name and another kind."""
    return f"{head.name.rpartition('.')[0]}.{kind}"


def _only(head: Head, settings: Settings, section: str, name: str) -> Entry:
    entries = settings.all(section, name)
    if len(entries) == 1:
        return entries[0]
    where = f"{entries[1].file}:{entries[1].line}" if entries else head.name
    raise BadUnit(f"{where}: expected one {name}=, were {len(entries)}")


def _expect(*values: str) -> Callable[[Entry], str]:
    def read(entry: Entry) -> str:
        if entry.value not in values:
            raise entry.refuse(" or ".join(values))
        return entry.value

    return read


def _a_service(settings: Settings) -> Callable[[Entry], str]:
    def read(entry: Entry) -> str:
        name = Name.of(settings.text(entry))
        if name is None or name.kind != "service":
            raise entry.refuse("the name of a service")
        return name.full

    return read


def _absolute(path: str, entry: Entry) -> str:
    if not path.startswith("/"):
        raise entry.refuse("an absolute path")
    return path


def _statuses(settings: Settings, name: str) -> frozenset[int]:
    """Exit statuses, as numbers."""
    found = set()
    for entry in settings.all("Service", name):
        for word in split_words(entry):
            if not re.fullmatch(r"[0-9]{1,3}", word):
                raise entry.refuse("exit statuses as numbers")
            found.add(int(word))
    return frozenset(found)


def _environment(settings: Settings) -> tuple[tuple[str, str], ...]:
    pairs = []
    for entry in settings.all("Service", "Environment"):
        for word in settings.split(entry):
            name, equals, value = word.partition("=")
            if not equals:
                raise entry.refuse("NAME=VALUE")
            pairs.append((name, value))
    return tuple(pairs)


def _credentials(settings: Settings, directive: str) -> Iterator[tuple[str, str, Entry]]:
    for entry in settings.all("Service", directive):
        name, colon, value = settings.text(entry).partition(":")
        if not (colon and re.fullmatch(r"[\w-][\w.-]*", name)):
            raise entry.refuse("NAME:VALUE")
        yield name, value, entry


def parse_environment(text: str, file: str) -> list[tuple[str, str]]:
    """The variables of an EnvironmentFile=: NAME=VALUE lines, comments, quotes around values."""
    pairs = []
    for number, line in enumerate(map(str.strip, text.splitlines()), 1):
        if not line or line.startswith(("#", ";")):
            continue
        name, equals, value = line.partition("=")
        if not equals:
            raise BadUnit(f"{file}:{number}: expected NAME=VALUE, was {line!r}")
        quoted = len(value) > 1 and value[0] == value[-1] and value[0] in "\"'"
        pairs.append((name.strip(), value[1:-1] if quoted else value))
    return pairs


@dataclass(frozen=True)
class Ended:
    """How a process ended: by an exit code, by a signal, or before it began, for a reason."""

    code: int | None = None
    signal: int | None = None
    reason: str = ""

    def __str__(self) -> str:
        if self.signal is not None:
            return f"killed by {Signals(self.signal).name}"
        return self.reason or f"exit code {self.code}"


Verdict = Literal["restart", "inactive", "failed"]


def judge(unit: ServiceUnit, ended: Ended, *, stopping: bool) -> Verdict:
    """What becomes of a service whose process has ended: systemd.service(5), Restart=."""
    clean = ended.code == 0 or ended.code in unit.success
    interrupted = unit.type == "oneshot" and not stopping
    clean = clean or (ended.signal in CLEAN_SIGNALS and not interrupted)
    wanted = unit.restart == "always" or (unit.restart == "on-failure" and not clean)
    if not stopping and (wanted or ended.code in unit.force_restart):
        return "restart"
    return "inactive" if clean else "failed"


def backoff_s(restart_s: float, failures: int) -> float:
    """How long to wait before a restart after so many failures in a row: it doubles."""
    return min(restart_s * 2.0 ** min(failures, 20), max(restart_s, LONGEST_BACKOFF_S))


class TriggerLimit:
    """At most `burst` activations in an interval: systemd.socket(5), TriggerLimitBurst=."""

    def __init__(self, interval_s: float, burst: int) -> None:
        self._interval_s = interval_s
        self._burst = burst
        self._begun_s = float("-inf")
        self._count = 0

    def allows(self, now_s: float) -> bool:
        """Count one more, unless that is too many."""
        if not (self._interval_s and self._burst):
            return True
        if now_s - self._begun_s >= self._interval_s:
            self._begun_s, self._count = now_s, 0
        self._count += 1
        return self._count <= self._burst
