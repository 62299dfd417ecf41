"""When a market trades: from IB's tradingHours and liquidHours to sessions.

    20261123:0930-20261123:1600;20261124:CLOSED      local to the market's time zone
    20160321:1700-1515,1530-1600;20160322:…          the older form: a day's ranges

In the older form the day is the one that is traded: a range that would end before it begins began
on the day before. (Forex was `20170623:1715-1700;20170626:1715-1700`, a Friday and a Monday.)
"""

import re
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta, timezone
from functools import lru_cache
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from piker.markets import Session

CLOSED = "CLOSED"

ZONES = {
    "EST": "America/New_York",
    "CST": "America/Chicago",
    "CTT": "America/Chicago",
    "MST": "America/Denver",
    "PST": "America/Los_Angeles",
    "BST": "Europe/London",
    "JST": "Asia/Tokyo",
    "HKT": "Asia/Hong_Kong",
    "AET": "Australia/Sydney",
}
"""Names of IB's that are no names of zones, or are those of zones without summer time."""

_DAY = re.compile(r"(\d{8}):(.*)", re.DOTALL)
_RANGE = re.compile(r"(?:(\d{8}):)?(\d{4})-(?:(\d{8}):)?(\d{4})")
_INSTANT = re.compile(r"(\d{8})(-|  ?)(\d\d:\d\d:\d\d)(?: (.+))?")
_A_DAY = timedelta(days=1)


class BadHours(Exception):
    """Hours that can't be read; the text says which part of them, and what was expected."""


class NoZone(ValueError):
    """What is set is no time zone; the text says what was expected."""


def zone_of(name: str) -> ZoneInfo:
    """A time zone by its own name, as it is set. Raises NoZone."""
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise NoZone(f"expected a time zone such as America/New_York, was {name!r}") from None


def sessions(text: str, zone: str) -> tuple[Session, ...]:
    """The sessions of `tradingHours` or `liquidHours`: oldest first, apart, one where they touch.

    No text gives none: it isn't known when the market trades. An hour that summer time leaves out
    isn't there; of one that comes twice, both are in the session. Raises BadHours.
    """
    parts = [part for part in (each.strip() for each in text.split(";")) if part]
    if not parts:
        return ()
    where = time_zone(zone)
    return _joined(session for part in parts for session in _of_day(part, where))


@lru_cache(maxsize=100)
def time_zone(name: str) -> ZoneInfo:
    """The time zone that IB calls so: `US/Eastern`, `MET`, `JST (Japan Standard Time)`, …

    Raises BadHours.
    """
    short = name.partition(" (")[0].strip()
    try:
        return zone_of(ZONES.get(short, short))
    except NoZone:
        raise BadHours(f"time zone: expected one such as US/Eastern, was {name!r}") from None


def instant_ns(text: str, zone: ZoneInfo | timezone = UTC, *, latest: bool = False) -> int | None:
    """When something happened, UTC ns; None of a time that can't be read.

    By the gateway's settings it is UTC with a hyphen (`20240328-14:47:22`), or local with the name
    of a zone (`20260413 15:27:04 US/Eastern`), or local without, to `zone`. A local time that comes
    twice is the first, or the `latest`.
    """
    found = _INSTANT.fullmatch(text)
    if not found:
        return None
    day, between, clock, name = found.groups()
    try:
        local = UTC if between == "-" else zone
        where = time_zone(name) if name else local
        local_time = datetime.strptime(f"{day} {clock}", "%Y%m%d %H:%M:%S")
    except (BadHours, ValueError):
        return None
    return int(local_time.replace(tzinfo=where, fold=latest).timestamp()) * 10**9


def _of_day(part: str, zone: ZoneInfo) -> Iterator[Session]:
    """The sessions of one part between semicolons."""
    match = _DAY.fullmatch(part)
    if not match:
        raise BadHours(f"hours: expected a day, YYYYMMDD:…, was {part!r}")
    day, ranges = match.groups()
    if ranges.strip() == CLOSED:
        _instant(day, "0000", part)
        return
    for each in ranges.split(","):
        yield from _session(day, each.strip(), zone)


def _session(day: str, text: str, zone: ZoneInfo) -> Iterator[Session]:
    """The session of one range, if there is anything of it on this day."""
    match = _RANGE.fullmatch(text)
    if not match:
        raise BadHours(f"hours of {day}: expected {CLOSED} or HHMM-HHMM, was {text!r}")
    first_day, opens, last_day, closes = match.groups()
    begin = _instant(first_day or day, opens, text)
    end = _instant(last_day or first_day or day, closes, text)
    if not last_day and end <= begin:
        begin -= _A_DAY
    if end <= begin:
        raise BadHours(f"hours of {day}: expected an end after the beginning, was {text!r}")
    open_ns, close_ns = _utc_ns(begin, zone), max(_utc_ns(end, zone), _utc_ns(end, zone, fold=1))
    if open_ns < close_ns:
        yield Session(open_ns=open_ns, close_ns=close_ns)


def _instant(day: str, clock: str, part: str) -> datetime:
    """A local time; 2400 is the end of the day."""
    try:
        if clock == "2400":
            return datetime.strptime(day, "%Y%m%d") + _A_DAY
        return datetime.strptime(day + clock, "%Y%m%d%H%M")
    except (ValueError, OverflowError):
        raise BadHours(f"hours: expected a day and a time, was {day}:{clock} in {part!r}") from None


def _utc_ns(local: datetime, zone: ZoneInfo, fold: int = 0) -> int:
    """When it is so late there; of two such times, or around none, the first or the second."""
    return int(local.replace(tzinfo=zone, fold=fold).astimezone(UTC).timestamp()) * 1_000_000_000


def _joined(found: Iterable[Session]) -> tuple[Session, ...]:
    """Sorted, those that overlap or touch as one."""
    joined: list[Session] = []
    for session in sorted(found, key=lambda each: each.open_ns):
        if joined and session.open_ns <= joined[-1].close_ns:
            close_ns = max(session.close_ns, joined[-1].close_ns)
            joined[-1] = Session(open_ns=joined[-1].open_ns, close_ns=close_ns)
        else:
            joined.append(session)
    return tuple(joined)
