"""Bars and ticks of the past: the same whenever they are asked for. Pure."""

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import islice
from math import sin
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from msgspec import Struct

from tests.fakes.gateway.catalog import Instrument
from tests.fakes.gateway.schedule import Hours, sessions

BAR_SIZES = {
    "1 secs": 1,
    "1 sec": 1,
    "5 secs": 5,
    "10 secs": 10,
    "15 secs": 15,
    "30 secs": 30,
    "1 min": 60,
    "2 mins": 120,
    "3 mins": 180,
    "5 mins": 300,
    "10 mins": 600,
    "15 mins": 900,
    "20 mins": 1200,
    "30 mins": 1800,
    "1 hour": 3600,
    "2 hours": 7200,
    "3 hours": 10800,
    "4 hours": 14400,
    "8 hours": 28800,
    "1 day": 86400,
}
DAYS = {"D": 1, "W": 5, "M": 21, "Y": 252}
DAY_S = 86400
HEAD = datetime(2020, 1, 2, 14, 30, tzinfo=UTC)
"""Nothing is older."""
KINDS = {"TRADES": "trade", "BID": "bid", "ASK": "ask", "MIDPOINT": "bid", "BID_ASK": "bid"}


TICKS = {"MIDPOINT": 96, "BID_ASK": 97, "TRADES": 98}
"""The number of the answer, by what is asked."""


class Unreadable(Exception):
    """A value of a request for history that isn't one."""


class Bar(Struct, frozen=True, kw_only=True):
    """One bar; volume, average and count are -1 where nothing is traded."""

    start_s: int
    open: Decimal
    high: Decimal
    low: Decimal
    close: Decimal
    volume: int = -1
    average: Decimal = Decimal(-1)
    count: int = -1

    def row(self, time: object) -> tuple[object, ...]:
        """As answers have it, with its time as it was asked for."""
        prices = (time, self.open, self.high, self.low, self.close)
        return (*prices, self.volume, self.average, self.count)


def read_time(said: str, now_s: int, zone: str) -> int:
    """``20261120-15:00:00`` is UTC, ``20261120 15:00:00 US/Eastern`` isn't; empty is now."""
    if not said:
        return now_s
    found = re.fullmatch(r"(\d{8})([ -])(\d\d:\d\d:\d\d)(?: (\S+))?", said)
    if not found:
        raise Unreadable(f"Invalid date, time, or time-zone entered: {said}")
    where = "UTC" if found[2] == "-" else found[4] or zone
    try:
        naive = datetime.strptime(f"{found[1]} {found[3]}", "%Y%m%d %H:%M:%S")
        return int(naive.replace(tzinfo=ZoneInfo(where)).timestamp())
    except (ValueError, ZoneInfoNotFoundError):
        raise Unreadable(f"Invalid date, time, or time-zone entered: {said}") from None


def read_duration(said: str) -> tuple[int, str]:
    """How many of S, D, W, M or Y."""
    found = re.fullmatch(r"([1-9]\d*) ([SDWMY])", said)
    if not found:
        raise Unreadable(f"Invalid duration: {said}; expected 1800 S, 1 D, 1 W, 1 M or 1 Y")
    return int(found[1]), found[2]


def bars(
    each: Instrument, end_s: int, duration: str, bar_size: str, what: str, *, rth: bool
) -> list[Bar]:
    """The bars that start in the span before the end, oldest first; only in sessions."""
    hours = each.liquid if rth else each.hours
    size_s = BAR_SIZES[bar_size]
    spans = _spans(hours, end_s, *read_duration(duration))
    starts = [start for span in spans for start in _starts(span, size_s, end_s)]
    traded = what in ("TRADES", "ADJUSTED_LAST", "AGGTRADES")
    return [_bar(each, start, size_s, traded=traded) for start in starts if _known(start)]


def _known(start_s: int) -> bool:
    return start_s >= HEAD.timestamp()


def _spans(hours: Hours, end_s: int, count: int, unit: str) -> list[tuple[int, int]]:
    """What of sessions lies in the last seconds, or the last sessions: starts and ends."""
    end = datetime.fromtimestamp(end_s, UTC)
    back = timedelta(seconds=count) if unit == "S" else timedelta(days=count * DAYS[unit] * 2 + 10)
    first, last = (end - back).date() - timedelta(days=1), end.date() + timedelta(days=1)
    found = [
        (int(s.start.timestamp()), int(s.end.timestamp())) for s in sessions(hours, first, last)
    ]
    begun = [(start, min(stop, end_s)) for start, stop in found if start < end_s]
    if unit == "S":
        return [(max(start, end_s - count), stop) for start, stop in begun if stop > end_s - count]
    return begun[-count * DAYS[unit] :]


def _starts(span: tuple[int, int], size_s: int, end_s: int) -> Iterator[int]:
    start, stop = span
    if size_s == DAY_S:
        yield start
        return
    yield from range(start + -start % size_s, stop, size_s)


def price_at(each: Instrument, time_s: int) -> Decimal:
    """What it traded at: waves of some steps around its first price."""
    wave = 12 * sin(time_s / 4000 + each.con_id) + 4 * sin(time_s / 300)
    return each.price + round(wave) * each.min_tick


def _bar(each: Instrument, start_s: int, size_s: int, *, traded: bool) -> Bar:
    opened, closed = price_at(each, start_s), price_at(each, start_s + size_s)
    bar = Bar(
        start_s=start_s,
        open=opened,
        high=max(opened, closed) + each.min_tick,
        low=min(opened, closed) - each.min_tick,
        close=closed,
    )
    return _with_volume(bar, each, size_s) if traded else bar


def _with_volume(bar: Bar, each: Instrument, size_s: int) -> Bar:
    volume = max(each.volume * size_s // DAY_S, 1)
    return Bar(
        start_s=bar.start_s,
        open=bar.open,
        high=bar.high,
        low=bar.low,
        close=bar.close,
        volume=volume,
        average=(bar.open + bar.close) / 2,
        count=max(volume // 3, 1),
    )


def bar_time(start_s: int, format_date: int, bar_size: str, hours: Hours, version: int) -> str:
    """Epoch seconds, or the venue's local time; a day's bar always has the day alone."""
    local = datetime.fromtimestamp(start_s, UTC).astimezone(ZoneInfo(hours.zone))
    if BAR_SIZES[bar_size] == DAY_S:
        opens, closes = hours.opens, hours.closes
        day = local + timedelta(days=1 if opens >= closes else 0)
        return f"{day:%Y%m%d}"
    return str(start_s) if format_date == 2 else local_time(start_s, hours.zone, version)


def local_time(time_s: int, zone: str, version: int) -> str:
    """``20260413 15:27:04 US/Eastern``; before version 174 with two blanks and no zone."""
    local = datetime.fromtimestamp(time_s, UTC).astimezone(ZoneInfo(zone))
    return f"{local:%Y%m%d  %H:%M:%S}" if version < 174 else f"{local:%Y%m%d %H:%M:%S} {zone}"


def head(format_date: int) -> str:
    """The oldest time, in UTC."""
    return str(int(HEAD.timestamp())) if format_date == 2 else f"{HEAD:%Y%m%d-%H:%M:%S}"


def ticks(
    each: Instrument, end_s: int, count: int, what: str
) -> tuple[int, list[tuple[object, ...]]]:
    """The number of the message, and so many ticks before the end, one a second."""
    seconds = range(end_s - min(count, 1000), end_s)
    rows = list(islice((_tick(each, second, what) for second in seconds), 1000))
    return TICKS[what], rows


def _tick(each: Instrument, second: int, what: str) -> tuple[object, ...]:
    price, step = price_at(each, second), each.min_tick
    match what:
        case "BID_ASK":
            return (second, 0, price - step, price + step, each.lot, each.lot)
        case "TRADES":
            return (second, 0, price, 1, each.exchanges[-1], "")
    return (second, 0, price, 0)
