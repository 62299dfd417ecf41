"""Logging: to the journal with fields, where systemd connects us to it; else readable on stderr.

Daemons log with the standard library's `logging`; `fields` names what an entry is about:

    logger.warning("…", extra=fields(market=fqme, message_id=MARKET_STALE))

Protocol: systemd.io, "Native Journal Protocol".
"""

import logging
import os
import socket
import struct
import sys
from typing import Any

JOURNAL_SOCKET = "/run/systemd/journal/socket"
MAX_MESSAGE = 48 * 1024
"""Bytes of one entry's text; more is cut, so that an entry always fits one datagram."""

# Message ids: made by `systemd-id128 new`, for `journalctl MESSAGE_ID=…`.
FEED_LOST = "fd541015a7584d38b30c901d5d99dd1a"
FEED_BACK = "9a0e76744e694e3c908738aaafd8d1a0"
MARKET_STALE = "90182a92e8754aa6b09e7ddd893e57c0"
MARKET_LIVE = "34b251eb6cca43d3822efecd2b07154e"
CANT_WORK = "a5ac66c21d844015ba1a481a2c10d129"
KEPT_ALIVE = "52ef42eee6f04a54946d77a9856ac5c9"
ORDER_HELD = "affc4b9f29764ddd911fac21fc38fc97"
ORDER_UNKNOWN = "3ab8a7196838404baff765f9b480fe0e"
ORDER_TRIGGERED = "9441c747b3dd49cd8b46e807e767cff3"
ALERT = "dfa0e0dfc4c447d1ab82705bb1072f87"
FILL = "abf9ac596d734dd0a19b4926b45bbab2"
LATE_FILL = "be5995abf52049c688fd42d11d91f20d"
DOUBLED = "b9e798930bc3482686c3cead31a4be72"
HALTED = "2007fe5f3acd4e0b9aecf9494a004c57"
RESUMED = "f40a918004494dd59023b2bbf0cf7011"
ACCOUNT_UNREACHABLE = "7467f70eeed4454cb4cac59f5ed7011f"
ACCOUNT_READY = "b1718689efa4431ea4c00cd008e85c85"
UNEXPLAINED_POSITION = "b74ac6b6b69c425ebcb2a5b1a7b94eeb"
LANE_REFUSED = "157e0bd060d04dedb4c99fec11bfe749"
DISK_FULL = "6c19987ebc2b41258e7de3722bf3700e"

_PRIORITY = {"CRITICAL": 2, "ERROR": 3, "WARNING": 4, "INFO": 6, "DEBUG": 7}


def fields(
    *,
    message_id: str | None = None,
    market: str | None = None,
    provider: str | None = None,
    oid: str | None = None,
    account: str | None = None,
) -> dict[str, Any]:
    """What a log entry is about, for `extra`; becomes PIKER_… fields and MESSAGE_ID."""
    named = {
        "MESSAGE_ID": message_id,
        "PIKER_MARKET": market,
        "PIKER_PROVIDER": provider,
        "PIKER_OID": oid,
        "PIKER_ACCOUNT": account,
    }
    return {"fields": {name: value for name, value in named.items() if value is not None}}


def set_up(daemon: str, provider: str | None) -> None:
    """Send this process's log to where it is read."""
    always = fields(provider=provider)["fields"]
    handler: logging.Handler = logging.StreamHandler()
    handler.setFormatter(Lines(f"%(asctime)s {daemon} %(levelname)s %(message)s"))
    if _stderr_is_the_journal():
        handler = JournalHandler(JOURNAL_SOCKET, {"SYSLOG_IDENTIFIER": daemon, **always})
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
    # Nobody reads these of an entry, and they cost: docs.python.org/3/howto/logging.html,
    # "Optimization".
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False


class Lines(logging.Formatter):
    """Lines for a person; the order that an entry is about is named, if its text doesn't."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 logging's name
        """The line, without a traceback."""
        line = super().formatMessage(record)
        oid: str = getattr(record, "fields", {}).get("PIKER_OID", "")
        return line if not oid or oid in line else f"{line} [{oid}]"


def _stderr_is_the_journal() -> bool:
    """systemd names the device and inode of what it connected: systemd.exec(5), JOURNAL_STREAM."""
    try:
        stat = os.fstat(sys.stderr.fileno())
    except (OSError, ValueError):
        return False
    return os.environ.get("JOURNAL_STREAM") == f"{stat.st_dev}:{stat.st_ino}"


class JournalHandler(logging.Handler):
    """Writes entries to the journal's socket. Never waits: what does not fit is counted."""

    def __init__(self, path: str, always: dict[str, str]) -> None:
        super().__init__()
        self.setFormatter(logging.Formatter())  # else basicConfig gives it one with level and name
        self._path = path
        self._always = always
        self._lost = 0
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.setblocking(False)

    def emit(self, record: logging.LogRecord) -> None:
        """Write one entry."""
        entry = {
            "MESSAGE": self._text(record),
            "PRIORITY": str(_PRIORITY.get(record.levelname, 6)),
            "CODE_FILE": record.pathname,
            "CODE_LINE": str(record.lineno),
            "CODE_FUNC": record.funcName or "",
            **self._always,
            **getattr(record, "fields", {}),
        }
        try:
            self._socket.sendto(encode_entry(entry), self._path)
            self._lost = 0
        except OSError:
            self._lost += 1

    def _text(self, record: logging.LogRecord) -> str:
        text = self.format(record)
        lost = f" ({self._lost} entries before this were lost)" if self._lost else ""
        return text.encode(errors="replace")[:MAX_MESSAGE].decode(errors="ignore") + lost

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()
        super().close()


def encode_entry(entry: dict[str, str]) -> bytes:
    """One journal entry; every value with its length, so that it may hold line ends."""
    return b"".join(
        name.encode() + b"\n" + struct.pack("<Q", len(value)) + value + b"\n"
        for name, value in ((name, text.encode(errors="replace")) for name, text in entry.items())
    )
