"""What a person says of somebody else's file, and what is found in it: without reading it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal, NamedTuple, Self, cast, get_args
from zoneinfo import ZoneInfo

import msgspec
from msgspec import Struct

Field = Literal[
    "date", "time", "open", "high", "low", "close", "volume", "trades", "derived", "partial"
]
Stamps = Literal["start", "end"]
Unit = Literal["s", "ms", "us", "ns"]
FIELDS: Final = get_args(Field)


class BadFile(Exception):
    """A file that isn't what is expected as a whole; the text says why, for people."""


class Bad(NamedTuple):
    """A row that can't be true."""

    where: str
    """ "line 17" of a CSV file, "row 16" of a Parquet file, which count from 1."""
    why: str


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What a person says of a file."""

    period_s: int
    columns: Mapping[Field, str] = field(default_factory=dict)
    header: bool = True
    """Whether the first line of a CSV file names its columns; else they are 1, 2, 3…"""
    zone: ZoneInfo | None = None
    unit: Unit | None = None
    written: str | None = None
    """How times are written, in the words of strptime(3)."""
    stamps: Stamps = "start"

    def encoded(self) -> str:
        """As another process is told."""
        return msgspec.json.encode(self, enc_hook=str).decode()

    @classmethod
    def decoded(cls, text: str) -> Self:
        """What `encoded` gave."""
        return msgspec.json.decode(text, type=cls, dec_hook=_zone)


class Piece(NamedTuple):
    """Rows that are handed in together."""

    rows: int
    from_ns: int
    to_ns: int
    """When the first row of the next piece begins, or the last row ends, UTC ns."""


class Found(Struct, frozen=True, kw_only=True):
    """What is in a file; or why it can't be read, for people."""

    problem: str = ""
    pieces: tuple[Piece, ...] = ()
    """All good rows, in order of time."""
    read: int = 0
    """All rows that there are, the bad ones too."""
    bad: tuple[Bad, ...] = ()
    """The first of them."""
    counts: Mapping[str, int] = {}
    """How many are bad, by what is wrong with them, in words."""
    guessed: tuple[str, ...] = ()
    """What the file doesn't say, for people."""

    @property
    def good(self) -> int:
        """How many rows are."""
        return sum(each.rows for each in self.pieces)


def columns(text: str) -> dict[Field, str]:
    """What "time=time_utc,open=o" says. Raises ValueError."""
    chosen: dict[Field, str] = {}
    for each in text.split(","):
        name, equals, column = (part.strip() for part in each.partition("="))
        if name not in FIELDS or not equals or not column:
            raise ValueError(f"expected FIELD=COLUMN, of {', '.join(FIELDS)}, was {each!r}")
        if name in chosen:
            raise ValueError(f"expected {name} once, was {text!r}")
        if column in chosen.values():
            raise ValueError(f"expected {column} for one field alone, was {text!r}")
        chosen[cast("Field", name)] = column
    return chosen


def _zone(kind: type, name: str) -> Any:
    return ZoneInfo(name)
