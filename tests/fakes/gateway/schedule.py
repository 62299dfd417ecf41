"""When a contract trades, and how the gateway writes it: pure arithmetic in the venue's zone."""

from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from msgspec import Struct

DAYS_TOLD = 6
"""Gateways tell hours of today and of the next days, so many in all."""


class Session(Struct, frozen=True, kw_only=True):
    """One session: start and end are aware, `day` is the trading day that it belongs to."""

    day: date
    start: datetime
    end: datetime


class Hours(Struct, frozen=True, kw_only=True):
    """The same hours on each of some days of the week, Monday being 0.

    `opens` and `closes` are "HH:MM"; an opening not before the close is on the day before.
    """

    zone: str
    opens: str
    closes: str
    weekdays: tuple[int, ...] = (0, 1, 2, 3, 4)

    def on(self, day: date) -> Session | None:
        """The session of a trading day, or None."""
        if day.weekday() not in self.weekdays:
            return None
        opens, closes = time.fromisoformat(self.opens), time.fromisoformat(self.closes)
        before = timedelta(days=1) if opens >= closes else timedelta()
        zone = ZoneInfo(self.zone)
        return Session(
            day=day,
            start=datetime.combine(day - before, opens, zone),
            end=datetime.combine(day, closes, zone),
        )


def around_the_clock(zone: str) -> Hours:
    """Hours without a break, told as one session a day."""
    return Hours(zone=zone, opens="00:00", closes="00:00", weekdays=tuple(range(7)))


def at(time_ns: int, zone: str = "UTC") -> datetime:
    """A time in a zone."""
    return datetime.fromtimestamp(time_ns // 10**9, UTC).astimezone(ZoneInfo(zone))


def is_open(hours: Hours, time_ns: int) -> bool:
    """Whether a session contains the time; its end doesn't belong to it."""
    return next_opening(hours, time_ns) is None


def next_opening(hours: Hours, time_ns: int) -> datetime | None:
    """When the next session starts, or None in one."""
    now = at(time_ns, hours.zone)
    for session in sessions(hours, now.date(), now.date() + timedelta(days=10)):
        if now < session.end:
            return session.start if now < session.start else None
    raise AssertionError(f"expected a session within ten days after {now}")


def sessions(hours: Hours, first: date, last: date) -> Iterator[Session]:
    """The sessions of trading days from the first to the last, both included."""
    for offset in range((last - first).days + 1):
        if session := hours.on(first + timedelta(days=offset)):
            yield session


def hours_text(hours: Hours, time_ns: int) -> str:
    """As in contract details: ``20261123:0400-20261123:2000;20261128:CLOSED``."""
    today = at(time_ns, hours.zone).date()
    days = [today + timedelta(days=offset) for offset in range(DAYS_TOLD)]
    return ";".join(_day_text(hours, day) for day in days)


def _day_text(hours: Hours, day: date) -> str:
    """A session is told with the day on which it starts."""
    for session in sessions(hours, day, day + timedelta(days=1)):
        if session.start.date() == day:
            return f"{session.start:%Y%m%d:%H%M}-{session.end:%Y%m%d:%H%M}"
    return f"{day:%Y%m%d}:CLOSED"


def third_friday(year: int, month: int) -> date:
    """The day on which index futures and options of a month expire."""
    first = date(year, month, 1)
    return first + timedelta(days=(4 - first.weekday()) % 7 + 14)


def quarterly(today: date, count: int) -> list[date]:
    """The newest quarterly expiry that is past, and the next ones, `count` in all."""
    months = [(today.year + (2 + 3 * n) // 12, (2 + 3 * n) % 12 + 1) for n in range(-8, 24)]
    expiries = [third_friday(year, month) for year, month in months]
    first = next(n for n, expiry in enumerate(expiries) if expiry >= today)
    return expiries[first - 1 : first - 1 + count]
