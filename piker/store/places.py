"""Where history lies below its directory: what a market, a period and a month are called there.

    PROVIDER/FQME/PERIOD/YYYY-MM.parquet

Names are quoted as in a URL (RFC 3986, 2.1), so that each is one directory's, and no other's.
"""

import re
from datetime import UTC, datetime, timedelta
from typing import Final, NamedTuple

from piker.core.bars import NS
from piker.core.spans import Pair, up

_PLAIN: Final = frozenset(b"abcdefghijklmnopqrstuvwxyz0123456789._+~=@,-")
_UNITS: Final = {"d": 86_400, "h": 3600, "m": 60, "s": 1}
_PERIOD: Final = re.compile(r"([1-9]\d{0,8})([dhms])", re.ASCII)
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MONTH: Final = re.compile(r"(\d{4})-(\d\d)\.parquet", re.ASCII)


ASKED: Final = "asked.json"
"""When a provider was asked about the past, beside its markets: piker/turns.py writes it."""
TICKS: Final = "ticks"
"""The directory of a market's ticks, beside its periods (tickfiles.py)."""


class Series(NamedTuple):
    """The bars of one market of one period."""

    fqme: str
    period_s: int


class Month(NamedTuple):
    """A calendar month, UTC."""

    year: int
    month: int

    @property
    def file(self) -> str:
        """The name of its file."""
        return f"{self.year:04}-{self.month:02}.parquet"

    @property
    def following(self) -> "Month":
        """The month after it."""
        return Month(self.year + self.month // 12, self.month % 12 + 1)

    def stretch(self, period_ns: int) -> Pair:
        """The whole periods that begin in it; the last may end in the next."""
        return up(_begin_ns(self), period_ns), up(_begin_ns(self.following), period_ns)


def quoted(name: str) -> str:
    """A directory's name for any name: nothing but `[a-z0-9._+~=@,-]` stays as it is."""
    plain = "".join(chr(b) if b in _PLAIN else f"%{b:02X}" for b in name.encode())
    return f"%2E{plain[1:]}" if plain.startswith(".") else plain


def unquoted(directory: str) -> str | None:
    """The name that a directory is called by; None: it is none of ours."""
    try:
        name = re.sub(r"%([0-9A-F]{2})", lambda m: chr(int(m[1], 16)), directory)
        name = name.encode("latin-1").decode()
    except UnicodeError:
        return None
    return name if name and quoted(name) == directory else None


def period_name(period_s: int) -> str:
    """In the largest unit that divides it: 300 is `5m`."""
    unit, seconds = next((u, s) for u, s in _UNITS.items() if period_s % s == 0)
    return f"{period_s // seconds}{unit}"


def period_of(name: str) -> int | None:
    """The seconds of a period's name; None: it is none, or isn't in its largest unit."""
    found = _PERIOD.fullmatch(name)
    if found is None:
        return None
    period_s = int(found[1]) * _UNITS[found[2]]
    return period_s if period_name(period_s) == name else None


def month_of(time_ns: int) -> Month:
    """The month that an instant is in."""
    when = datetime.fromtimestamp(time_ns // NS, UTC)
    return Month(when.year, when.month)


def month_named(file: str) -> Month | None:
    """The month that a file is called by; None: it is none of ours."""
    found = _MONTH.fullmatch(file)
    if found is None:
        return None
    month = Month(int(found[1]), int(found[2]))
    return month if 1 <= month.month <= 12 and month.year >= 1970 else None


def instant(time_ns: int) -> str:
    """An instant for people, UTC, with a fraction where it has one: ISO 8601."""
    seconds, fraction = divmod(time_ns, NS)
    text = (_EPOCH + timedelta(seconds=seconds)).isoformat().removesuffix("+00:00")
    return f"{text}.{fraction:09}Z" if fraction else f"{text}Z"


def _begin_ns(month: Month) -> int:
    return int(datetime(*month, 1, tzinfo=UTC).timestamp()) * NS
