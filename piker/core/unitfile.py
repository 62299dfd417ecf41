"""systemd's unit file syntax, as much of it as `units/` uses; the rest is refused by name.

Sources: systemd.syntax(7), systemd.unit(5) "Specifiers", systemd.service(5) "Command lines",
systemd.time(7).
"""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal, TypeVar

Treatment = Literal["honoured", "ignored"]
V = TypeVar("V")


def _table(honoured: str, ignored: str = "") -> dict[str, Treatment]:
    table: dict[str, Treatment] = dict.fromkeys(honoured.split(), "honoured")
    return table | dict.fromkeys(ignored.split(), "ignored")


_SANDBOX = """
    CapabilityBoundingSet LockPersonality MemoryDenyWriteExecute NoNewPrivileges PrivateDevices
    PrivateIPC PrivateMounts PrivateNetwork PrivateTmp PrivateUsers ProtectClock
    ProtectControlGroups ProtectHome ProtectHostname ProtectKernelModules ProtectKernelTunables
    ProtectSystem RestrictAddressFamilies RestrictNamespaces RestrictRealtime RestrictSUIDSGID
    SystemCallArchitectures SystemCallErrorNumber SystemCallFilter
    BindPaths BindReadOnlyPaths InaccessiblePaths ReadOnlyPaths ReadWritePaths TemporaryFileSystem
"""
_LIMITS = """
    LimitCORE LimitNOFILE MemoryHigh MemoryMax TasksMax CPUQuota CPUWeight Nice OOMScoreAdjust
    LogRateLimitIntervalSec LogRateLimitBurst UMask
"""

TABLE: dict[str, dict[str, Treatment]] = {
    "Unit": _table(
        "Description Requires Wants After Before PartOf",
        # pikerd has no start limit: its back-off grows instead
        "Documentation StartLimitIntervalSec",
    ),
    "Socket": _table(
        "ListenStream FileDescriptorName Service SocketMode DirectoryMode RemoveOnStop Backlog "
        "ExecStartPre TriggerLimitIntervalSec TriggerLimitBurst"
    ),
    "Service": _table(
        "Type NotifyAccess ExecStart Sockets Environment EnvironmentFile LoadCredential "
        "SetCredential Restart RestartSec RestartForceExitStatus SuccessExitStatus TimeoutStartSec "
        "TimeoutStopSec FileDescriptorStoreMax StateDirectory StateDirectoryMode "
        "RuntimeDirectory",
        # what systemd fails at by itself, which pikerd does not do
        "RestartPreventExitStatus Slice WatchdogSec" + _SANDBOX + _LIMITS,
    ),
    "Slice": _table("", _LIMITS),
    # what `systemctl enable` does; pikerd starts what it was told to
    "Install": _table("", "WantedBy Also DefaultInstance"),
}
"""What pikerd does with a directive. One that isn't here is refused: a unit that means more than
pikerd can do must not half work."""


class BadUnit(ValueError):
    """A unit file says what pikerd doesn't know; the text names file and line."""


@dataclass(frozen=True)
class Entry:
    """One assignment, and where it stands."""

    section: str
    name: str
    value: str
    file: str
    line: int

    def refuse(self, expected: str) -> BadUnit:
        """The error for a value that doesn't fit."""
        return BadUnit(
            f"{self.file}:{self.line}: {self.name}=: expected {expected}, was {self.value!r}"
        )


def parse(text: str, file: str) -> list[Entry]:
    """The assignments of one file, in order, all of them in the table. Raises BadUnit."""
    section = ""
    entries = []
    for number, line in _logical_lines(text):
        if line.startswith("[") and line.endswith("]"):
            section = line[1:-1]
            continue
        name, equals, value = (part.strip() for part in line.partition("="))
        if not equals:
            raise BadUnit(f"{file}:{number}: expected NAME=VALUE, was {line!r}")
        if name not in TABLE.get(section, {}):
            raise BadUnit(f"{file}:{number}: {name}= in [{section}] is not known to pikerd")
        entries.append(Entry(section, name, value, file, number))
    return entries


def _logical_lines(text: str) -> Iterable[tuple[int, str]]:
    """Numbered lines; a backslash at the end continues, comments and blank lines left out."""
    begun: tuple[int, str] | None = None
    for number, line in enumerate(text.split("\n"), 1):
        stripped = line.strip()
        if stripped.startswith(("#", ";")) or not (stripped or begun):
            continue
        start, so_far = begun or (number, "")
        if stripped.endswith("\\"):
            begun = start, f"{so_far}{stripped[:-1]} "
            continue
        begun = None
        yield start, so_far + stripped
    if begun:
        yield begun[0], begun[1].rstrip()


@dataclass(frozen=True)
class Specifiers:
    """What `%i %t %h %S %E` stand for in one unit."""

    instance: str
    runtime: str
    home: str
    state: str
    config: str

    def expand(self, text: str, entry: Entry) -> str:
        """The text with specifiers put in. Raises BadUnit for others."""
        known = {
            "i": self.instance,
            "t": self.runtime,
            "h": self.home,
            "S": self.state,
            "E": self.config,
            "%": "%",
        }

        def value(match: re.Match[str]) -> str:
            if match[1] not in known:
                raise entry.refuse("one of the specifiers %i %t %h %S %E %%")
            return known[match[1]]

        return re.sub(r"%(.?)", value, text)


class Settings:
    """A unit's assignments, file and drop-ins merged: later ones add, an empty one resets."""

    def __init__(self, entries: Iterable[Entry], specifiers: Specifiers) -> None:
        self._specifiers = specifiers
        self._entries: dict[tuple[str, str], list[Entry]] = {}
        for entry in entries:
            kept = self._entries.setdefault((entry.section, entry.name), [])
            if entry.value:
                kept.append(entry)
            else:
                kept.clear()

    def all(self, section: str, name: str) -> list[Entry]:
        """Every assignment of a list."""
        return self._entries.get((section, name), [])

    def one(self, section: str, name: str, read: Callable[[Entry], V], default: V) -> V:
        """The last assignment, as `read` understands it."""
        entries = self.all(section, name)
        return read(entries[-1]) if entries else default

    def text(self, entry: Entry) -> str:
        """The value, specifiers expanded."""
        return self._specifiers.expand(entry.value, entry)

    def words(self, section: str, name: str) -> tuple[str, ...]:
        """The words of all assignments of a list: unquoted, specifiers expanded."""
        return tuple(word for entry in self.all(section, name) for word in self.split(entry))

    def split(self, entry: Entry) -> list[str]:
        """One value's words: first split, then expanded, as systemd does."""
        return [self._specifiers.expand(word, entry) for word in split_words(entry)]


_ESCAPES = dict(zip("abfnrtvs\\\"'", "\a\b\f\n\r\t\v \\\"'", strict=True))
_WORD = re.compile(
    r"""(?:"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'|(?:[^\s"'\\]|\\.)+)(?=\s|$)|(?P<bad>\S+)"""
)


def split_words(entry: Entry) -> list[str]:
    """Words, each bare or quoted as a whole, with C's escapes."""
    words = []
    for match in _WORD.finditer(entry.value):
        if match["bad"]:
            raise entry.refuse("quotes around whole words")
        word = match[0]
        words.append(unescape(word[1:-1] if word[0] in "\"'" else word, entry))
    return words


def unescape(text: str, entry: Entry) -> str:
    """Text with C's escapes replaced."""

    def value(match: re.Match[str]) -> str:
        if match[1] not in _ESCAPES:
            raise entry.refuse("an escape of one character, as \\n or \\\\")
        return _ESCAPES[match[1]]

    return re.sub(r"\\(.?)", value, text)


def split_command(settings: Settings, entry: Entry) -> tuple[str, ...]:
    """A command's words. Prefixes, variables and `;` are not in our units, and refused."""
    words = settings.split(entry)
    if not words[0].startswith("/"):
        raise entry.refuse("an absolute path without a prefix")
    if ";" in words or any("$" in word for word in words):
        raise entry.refuse("one command without variables")
    return tuple(words)


def boolean(entry: Entry) -> bool:
    """yes or no, in systemd's spellings."""
    if entry.value.lower() in ("yes", "true", "on", "1"):
        return True
    if entry.value.lower() in ("no", "false", "off", "0"):
        return False
    raise entry.refuse("yes or no")


def whole(entry: Entry) -> int:
    """A whole number, 0 or more."""
    if not re.fullmatch(r"[0-9]+", entry.value):
        raise entry.refuse("a whole number")
    return int(entry.value)


def octal(entry: Entry) -> int:
    """An access mode."""
    if not re.fullmatch(r"[0-7]{3,4}", entry.value):
        raise entry.refuse("an octal mode, as 0600")
    return int(entry.value, 8)


_SECONDS = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "sec": 1.0, "min": 60.0, "h": 3600.0, "": 1.0}


def seconds(entry: Entry) -> float:
    """A time span, as "250ms", "5min", "1min 30s" or "30" (s)."""
    if not re.fullmatch(r"(\d+(\.\d+)?\s*(us|ms|sec|s|min|h|)\s*)+", entry.value):
        raise entry.refuse("a time span, as 250ms or 1min 30s")
    parts = re.findall(r"(\d+(?:\.\d+)?)\s*(us|ms|sec|s|min|h|)", entry.value)
    return sum(float(number) * _SECONDS[unit] for number, unit in parts)
