"""A calendar: which days are traded at a place, and from when to when, in its own time.

    zone America/New_York
    to 2027-12-31                          the last day that is known
    hours 2006-01-01 17:00-16:15           from then on; the range began on the day before
    hours 2015-09-21 09:30-11:30 13:00-15:00
    closed 2026 0101 1225                  closed every 0101: in all years
    opens 10:30 2026 0217                  what was before is left out
    closes 12:00 2026 1126 1127            what was after is left out

Every other day from Monday to Friday is traded. Its hours are those that were last named, or what
is usual for a market that has more or fewer than its exchange: then a day that ends four hours
early ends four hours before its usual end.
"""

from collections import Counter
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from datetime import date, datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

from msgspec import Struct

from piker.core.periods import NS
from piker.core.spans import Pair, clipped, joined

MINUTES = 1440
MINUTE_NS = 60 * NS
FRIDAY = 4

Shape = tuple[tuple[int, int], ...]
"""Hours of a day: from and to, in minutes since its midnight; below 0 on the day before."""


class Calendar(Struct, frozen=True, kw_only=True):
    """The days of one place. The key of a day is the number YYYYMMDD; MMDD, of all years."""

    name: str
    zone: ZoneInfo
    last: date
    """The last day that is known."""
    hours: tuple[tuple[date, Shape], ...]
    """From a day on, oldest first."""
    closed: frozenset[int]
    opens: Mapping[int, int]
    """When days begin that begin late, in minutes since midnight."""
    closes: Mapping[int, int]
    """When days end that end early."""

    def __hash__(self) -> int:
        """By its name: no two have the same."""
        return hash(self.name)

    @property
    def known(self) -> Pair:
        """From the first instant of which it knows to the first of which it doesn't."""
        end = self.last + timedelta(days=1)
        return self.at_ns(self.hours[0][0], self.begin), self.at_ns(end, self.begin)

    @property
    def begin(self) -> int:
        """When a day begins, in minutes since its midnight: then, or with its hours before."""
        return min(self.hours[-1][1][0][0], 0)

    def at_ns(self, day: date, minute: int) -> int:
        """When it is so many minutes after a midnight by the clocks there, UTC ns."""
        days, rest = divmod(minute, MINUTES)
        if days:
            day += timedelta(days=days)
        clock = divmod(rest, 60)
        local = datetime(day.year, day.month, day.day, *clock, tzinfo=self.zone)
        return int(local.timestamp()) * NS

    def day_at(self, time_ns: int) -> date:
        """The date there."""
        return datetime.fromtimestamp(time_ns // NS, self.zone).date()

    def end_of_day(self, time_ns: int) -> int:
        """When the day that is traded at an instant is over, UTC ns."""
        ends = self.at_ns(self.day_at(time_ns), self.begin + MINUTES)
        return (
            ends if time_ns < ends else self.at_ns(self.day_at(time_ns), self.begin + 2 * MINUTES)
        )


def parse(name: str, text: str) -> Calendar:
    """A calendar of its lines. Raises ValueError, or KeyError for an unknown zone."""
    zone, last = "", ""
    hours: list[tuple[date, Shape]] = []
    days: dict[str, dict[int, int]] = {"closed": {}, "opens": {}, "closes": {}}
    for line in text.strip().splitlines():
        match line.split():
            case ["zone", zone]:
                pass
            case ["to", last]:
                pass
            case ["hours", day, *ranges]:
                hours.append((date.fromisoformat(day), _shape(ranges)))
            case ["closed", year, *keys]:
                days["closed"] |= _days(year, keys, 0)
            case [("opens" | "closes") as what, clock, year, *keys]:
                days[what] |= _days(year, keys, _minute(clock))
            case _:
                raise ValueError(f"{name}: expected zone, to, hours, closed, was {line!r}")
    return Calendar(
        name=name,
        zone=ZoneInfo(zone),
        last=date.fromisoformat(last),
        hours=tuple(hours),
        closed=frozenset(days["closed"]),
        opens=days["opens"],
        closes=days["closes"],
    )


def sessions(calendar: Calendar, usual: Shape, from_ns: int, to_ns: int) -> list[Pair]:
    """When it is open between two instants, as far as it is known: oldest first, joined.

    `usual`: hours of a market that has others than its exchange, since those were last changed.
    """
    known_from_ns, known_to_ns = calendar.known
    from_ns, to_ns = max(from_ns, known_from_ns), min(to_ns, known_to_ns)
    if from_ns >= to_ns:
        return []
    years = range(calendar.day_at(from_ns).year, _newest(calendar, to_ns).year + 1)
    found = (pair for year in years for pair in _of_year(calendar, usual, year))
    return clipped(joined(found), from_ns, to_ns)


def usual(calendar: Calendar, told: Sequence[Pair]) -> Shape:
    """The hours of most ordinary days that a provider tells of; empty if it tells of none."""
    if not told:
        return ()
    first, last = calendar.day_at(told[0][0]), calendar.day_at(told[-1][1])
    since = max(first, calendar.hours[-1][0])
    shapes = Counter(
        shape
        for day in _weekdays(since, min(last, calendar.last))
        if _is_ordinary(calendar, day) and (shape := _told(calendar, day, told))
    )
    return max(shapes, key=lambda shape: (shapes[shape], _length(shape)), default=())


def _told(calendar: Calendar, day: date, told: Sequence[Pair]) -> Shape:
    """Hours of a day by what is told; a day of 24 hours from when the exchange's own begins."""
    midnight = datetime(day.year, day.month, day.day)
    begin_ns = calendar.at_ns(day, calendar.begin)
    end_ns = calendar.at_ns(day, calendar.begin + MINUTES)
    return tuple(
        (_minutes(calendar, midnight, from_ns), _minutes(calendar, midnight, to_ns))
        for from_ns, to_ns in clipped(told, begin_ns, end_ns)
    )


def _minutes(calendar: Calendar, midnight: datetime, time_ns: int) -> int:
    """How far the clocks there are from a midnight at an instant."""
    local = datetime.fromtimestamp(time_ns // NS, calendar.zone).replace(tzinfo=None)
    return round((local - midnight) / timedelta(minutes=1))


@lru_cache(maxsize=4096)
def _of_year(calendar: Calendar, usual: Shape, year: int) -> tuple[Pair, ...]:
    first = max(date(year, 1, 1), calendar.hours[0][0])
    days = _weekdays(first, min(date(year, 12, 31), calendar.last))
    return tuple(pair for day in days for pair in _of_day(calendar, usual, day))


def _of_day(calendar: Calendar, usual: Shape, day: date) -> list[Pair]:
    if _named(calendar.closed, day):
        return []
    since, own = next(each for each in reversed(calendar.hours) if each[0] <= day)
    shape = usual if usual and since == calendar.hours[-1][0] else own
    hours = _cut(shape, own, _time(calendar.opens, day), _time(calendar.closes, day))
    midnight_ns = calendar.at_ns(day, 0)
    if shape[0][0] >= 0 and calendar.at_ns(day, MINUTES) == midnight_ns + MINUTES * MINUTE_NS:
        return [(midnight_ns + a * MINUTE_NS, midnight_ns + b * MINUTE_NS) for a, b in hours]
    return [(calendar.at_ns(day, a), calendar.at_ns(day, b)) for a, b in hours]


def _cut(shape: Shape, own: Shape, opens: int | None, closes: int | None) -> Iterable[Pair]:
    """Hours without what is before a late beginning and after an early end."""
    if opens is None and closes is None:
        return shape
    begin, end = shape[0][0], shape[-1][1]
    if opens is not None:
        begin += opens - own[0][0]
    if closes is not None:
        end += closes - own[-1][1]
    return clipped(shape, begin, end)


def _is_ordinary(calendar: Calendar, day: date) -> bool:
    days = (calendar.closed, calendar.opens, calendar.closes)
    return not any(_named(each, day) for each in days)


def _time(days: Mapping[int, int], day: date) -> int | None:
    return next((days[key] for key in _keys(day) if key in days), None)


def _named(days: Container[int], day: date) -> bool:
    return any(key in days for key in _keys(day))


def _keys(day: date) -> tuple[int, int]:
    key = day.month * 100 + day.day
    return day.year * 10_000 + key, key


def _weekdays(first: date, last: date) -> Iterator[date]:
    days = map(date.fromordinal, range(first.toordinal(), last.toordinal() + 1))
    return (day for day in days if day.weekday() <= FRIDAY)


def _days(year: str, keys: Iterable[str], minute: int) -> dict[int, int]:
    prefix = "" if year == "every" else year
    return {int(f"{prefix}{key}"): minute for key in keys}


def _shape(ranges: Iterable[str]) -> Shape:
    """`17:00-16:15`: one that would end before it begins begins on the day before."""
    pairs = [tuple(map(_minute, each.split("-"))) for each in ranges]
    return tuple((a - MINUTES if a >= b else a, b) for a, b in pairs)


def _minute(clock: str) -> int:
    hours, minutes = clock.split(":")
    return int(hours) * 60 + int(minutes)


def _length(shape: Shape) -> int:
    return sum(end - begin for begin, end in shape)


def _newest(calendar: Calendar, time_ns: int) -> date:
    """The last day of which something may be before an instant: it begins the evening before."""
    return calendar.day_at(time_ns) + timedelta(days=1)
