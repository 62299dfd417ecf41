"""What of a venue's answer about its past can be believed: all of it, or nothing.

Order, rows that come twice and rows of another stretch are harmless: rows are sorted, each is taken
once, and what wasn't asked for is left out. A row that can't be, or two that differ, say that
something is wrong with the answer: then it is no answer, so that half a frame is never taken for a
whole one.
"""

from collections.abc import Iterable, Sequence
from math import isfinite

from piker.core.paging import Stretch
from piker.core.spans import down, up
from piker.quotes import Bar


class Unsound(Exception):
    """An answer that can't be; the text says what is wrong with which row."""


def sound(
    asked: Stretch, from_ns: int, to_ns: int, bars: Iterable[Bar], period_ns: int
) -> tuple[Stretch, tuple[Bar, ...]]:
    """What of the question an answer is about, and its bars, oldest first. Raises Unsound."""
    stretch = answered(asked, from_ns, to_ns, period_ns)
    if not stretch:
        raise Unsound("the venue gave nothing of what it was asked for")
    inside = [bar for bar in bars if stretch.from_ns <= bar.time_ns < stretch.to_ns]
    by_time: dict[int, Bar] = {}
    for bar in inside:
        if problem := _problem(bar, period_ns) or _contradiction(by_time.get(bar.time_ns), bar):
            raise Unsound(f"the venue's bar of {bar.time_ns} ns makes no sense: {problem}")
        by_time[bar.time_ns] = bar
    return stretch, tuple(by_time[time_ns] for time_ns in sorted(by_time))


def answered(asked: Stretch, from_ns: int, to_ns: int, period_ns: int) -> Stretch | None:
    """What of a question an answer about a stretch is about, in whole periods; None: nothing."""
    first_ns = max(up(from_ns, period_ns), asked.from_ns)
    last_ns = min(down(to_ns, period_ns), asked.to_ns)
    return Stretch(first_ns, last_ns) if first_ns < last_ns else None


def _contradiction(before: Bar | None, bar: Bar) -> str:
    """What of one time was told twice, and differs; or nothing."""
    if before is None or before == bar:
        return ""
    return f"told twice, {_prices(before)} and {_prices(bar)}"


def _problem(bar: Bar, period_ns: int) -> str:
    """Why this can't be; or nothing."""
    if bar.time_ns % period_ns:
        return f"expected a multiple of {period_ns} ns"
    if not all(map(isfinite, (*_prices(bar), bar.volume))):
        return f"expected numbers, was {_prices(bar)}, volume {bar.volume}"
    if not bar.low <= min(bar.open, bar.close) <= max(bar.open, bar.close) <= bar.high:
        return f"expected low to high about open and close, was {_prices(bar)}"
    if bar.volume < 0 or bar.trades < 0:
        return f"expected 0 or more, was volume {bar.volume}, {bar.trades} trades"
    return ""


def _prices(bar: Bar) -> Sequence[float]:
    """Open, high, low, close."""
    return bar.open, bar.high, bar.low, bar.close
