"""A recording of datad's own, checked and laid out for playing. No file is opened here.

Ticks keep their order and their times, and messages what they hold. A message is due at the newest
time that was stamped so far: one that is older than what came before it, as venues send them and as
a clock that was set back stamps them, waits for nothing.
What was old when the recording began (a venue shows its last trade, of yesterday perhaps) is due at
its beginning. A sign of life is due when it was seen.
"""

from array import array
from bisect import bisect_right
from collections.abc import Iterator
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from piker.brokers.replay.wire import BadRecording
from piker.core.marketdata import END_OF_TIME_NS
from piker.core.spans import Pair, clipped
from piker.core.tickcolumns import NO_TICK, TickColumns
from piker.core.tickfaults import first_fault
from piker.coverage import Span
from piker.markets import Market, Session

LATE_NS = 10 * 10**9
"""A first tick that is older than so much, when it was seen, is not of then."""

SHORT_NS = 10**9
"""Between spans; a shorter one may be but how far the venue's clock is from ours."""

Times = NDArray[np.int64]


class TickRecording:
    """A recording, message by message: `times` is when each is due."""

    def __init__(self, market: Market, spans: tuple[Span, ...], ticks: TickColumns) -> None:
        """Raises BadRecording."""
        _check(ticks, spans)
        messages = np.array(ticks.messages)
        firsts = np.flatnonzero(np.diff(messages, prepend=messages[:1] - 1))
        lasts = np.append(firsts, len(messages))[1:] - 1
        self.ticks = ticks
        self.times = _plain(_due(ticks)[lasts])
        ends = [*(time_ns + 1 for time_ns in self.times[-1:]), *(span.to_ns for span in spans[-1:])]
        self.begin_ns = self.start_ns = (*self.times[:1], *(span.from_ns for span in spans[:1]))[0]
        self.end_ns = max(ends)
        self.sessions = _within(market.sessions, self.begin_ns, self.end_ns)
        self.market = market
        self.holes = tuple(_holes(spans, self.sessions, self.times))
        """Time of which it isn't known what was said: first instants, and first ones after it."""
        self._firsts = _plain(np.append(firsts, len(messages)))

    def rows(self, message: int) -> range:
        """Where the ticks of a message are; messages count from 0 here."""
        return range(self._firsts[message], self._firsts[message + 1])


def _plain(numbers: "NDArray[np.intp] | Times") -> "array[int]":
    """One that gives numbers of Python's own."""
    return array("q", numbers.astype(np.int64).tobytes())


def _within(
    sessions: tuple[Session, ...] | None, begin_ns: int, end_ns: int
) -> tuple[Session, ...]:
    """Sessions while it was recorded; one of all that, where a market is always open."""
    if sessions is None:
        return (Session(open_ns=begin_ns, close_ns=end_ns),)
    pairs = clipped(((each.open_ns, each.close_ns) for each in sessions), begin_ns, end_ns)
    return tuple(Session(open_ns=a, close_ns=b) for a, b in pairs)


def _holes(
    spans: tuple[Span, ...], sessions: tuple[Session, ...], times: "array[int]"
) -> Iterator[Pair]:
    """What is not covered while the market was open, up to the next message.

    Where messages were recorded nothing is a hole, though not all may be known.
    """
    for before, after in pairwise(spans):
        first = bisect_right(times, before.to_ns)
        end_ns = min(after.from_ns, *times[first : first + 1], END_OF_TIME_NS)
        open_ = [(each.open_ns, each.close_ns) for each in sessions]
        for hole in clipped(open_, before.to_ns + 1, max(end_ns, before.to_ns + 1)):
            if hole[1] - hole[0] >= SHORT_NS:
                yield hole


def _due(ticks: TickColumns) -> Times:
    """When each row is due; never before the one above."""
    times, seen = np.array(ticks.times), np.array(ticks.seen)
    said = np.array(ticks.kinds) != NO_TICK
    begin_ns = np.maximum(times[:1], seen[:1] - LATE_NS)
    newest = np.maximum.accumulate(np.where(said, np.maximum(times, begin_ns), begin_ns))
    coming = np.where(said, newest, END_OF_TIME_NS)
    next_said = np.minimum.accumulate(coming[::-1])[::-1]
    return np.where(said, newest, np.minimum(np.maximum(seen, newest), next_said))


def _check(ticks: TickColumns, spans: tuple[Span, ...]) -> None:
    """Raises BadRecording."""
    if not len(ticks) and not spans:
        raise BadRecording(1, "expected a tick, was the end", "row")
    if fault := first_fault(ticks):
        raise BadRecording(fault.row + 1, fault.reason, "row")
