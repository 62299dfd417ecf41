"""Frames, fields and numbers of the TWS text protocol, as the server's side reads and writes them.

A message is a length of 4 bytes, big-endian, and that many bytes of fields, each ended by a NUL.
The client's first four bytes alone are unframed: ``API\\0``, then a frame ``v157..176``.
"""

import re
from collections.abc import Iterator
from decimal import Decimal

from msgspec import Struct

Message = tuple[str, ...]
"""The fields of one message, its number first."""

GREETING = b"API\0"
HEAD = 4
LONGEST = 0xFFFFFF
"""What the official client takes for the longest message."""
UNSET_DOUBLE = "1.7976931348623157E308"
UNSET_INTEGER = "2147483647"


class NotTheProtocol(Exception):
    """What came isn't a message: says what was expected, and what it was."""


class Versions(Struct, frozen=True, kw_only=True):
    """The protocol versions that a client offers, both included."""

    lowest: int
    highest: int


def frame(*fields: object) -> bytes:
    """The bytes of one message.

    >>> frame(9, 1, 42)
    b'\\x00\\x00\\x00\\x079\\x001\\x0042\\x00'
    """
    payload = b"".join(_encoded(text(field)) + b"\0" for field in fields)
    return len(payload).to_bytes(HEAD, "big") + payload


def text(value: object) -> str:
    """A value as the gateway prints it: 1 and 0 for bool, "" for None, no exponent."""
    match value:
        case bool():
            return "1" if value else "0"
        case None:
            return ""
        case Decimal():
            return _plain(value)
        case float():
            return _plain(Decimal(repr(value)))
    return str(value)


def _plain(value: Decimal) -> str:
    printed = format(value, "f")
    return printed.rstrip("0").rstrip(".") if "." in printed else printed


def _encoded(field: str) -> bytes:
    """ASCII with ``\\uXXXX`` for the rest, as gateways do since version 153."""
    return field.encode("ascii", "backslashreplace")


class Frames:
    """Cuts what comes in into messages; keeps the beginning of the next one."""

    def __init__(self) -> None:
        self._pending = bytearray()
        self._greeted = False

    def feed(self, chunk: bytes) -> Iterator[Message]:
        """The messages that are whole now. NotTheProtocol ends the connection."""
        self._pending += chunk
        if not self._greeted and len(self._pending) >= len(GREETING):
            self._greet()
        while self._greeted and (payload := self._cut()) is not None:
            yield tuple(_decoded(payload).removesuffix("\0").split("\0"))

    def _greet(self) -> None:
        if not self._pending.startswith(GREETING):
            raise NotTheProtocol(f"expected {GREETING!r}, was {bytes(self._pending[:20])!r}")
        del self._pending[: len(GREETING)]
        self._greeted = True

    def _cut(self) -> bytes | None:
        if len(self._pending) < HEAD:
            return None
        length = int.from_bytes(self._pending[:HEAD], "big")
        if not 0 < length <= LONGEST:
            raise NotTheProtocol(f"expected a length of 1 to {LONGEST}, was {length}")
        if len(self._pending) < HEAD + length:
            return None
        payload = bytes(self._pending[HEAD : HEAD + length])
        del self._pending[: HEAD + length]
        return payload


def _decoded(payload: bytes) -> str:
    try:
        return payload.decode("utf-8")
    except UnicodeDecodeError as error:
        raise NotTheProtocol(f"expected UTF-8, was {payload[:80]!r}") from error


def read_versions(message: Message) -> Versions:
    """What the client's first frame offers, which may have connect options behind it."""
    found = re.match(r"v(\d+)\.\.(\d+)( |$)", message[0])
    if len(message) != 1 or not found:
        raise NotTheProtocol(f"expected v100..176 or the like, was {message}")
    return Versions(lowest=int(found[1]), highest=int(found[2]))


class Cursor:
    """Reads the fields of a request in their order."""

    def __init__(self, message: Message) -> None:
        self._fields = message
        self._next = 0

    def take(self, name: str) -> str:
        """The next field. NotTheProtocol names the one that is missing."""
        if self._next == len(self._fields):
            raise NotTheProtocol(f"expected a field {name} after {self._fields}")
        self._next += 1
        return self._fields[self._next - 1]

    def end(self) -> None:
        """NotTheProtocol, if there are fields more."""
        if rest := self._fields[self._next :]:
            raise NotTheProtocol(f"expected {self._next} fields, was {len(rest)} more: {rest}")
