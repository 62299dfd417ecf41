"""A recording laid end to end on a time line: which row stands where, and its new time.

One constant a pass is added to times and sessions alike. The first pass begins when the venue was
opened; between two passes lies a seam, which is in no session.
"""

from bisect import bisect_left, bisect_right
from datetime import UTC, datetime, time

from piker.brokers import Dropped, Subscribed
from piker.brokers.replay.ticks import TickRecording
from piker.brokers.replay.translate import AnyRecording, describe, quotes
from piker.brokers.replay.wire import instant
from piker.markets import Market, Session
from piker.quotes import Quote

SEAM_NS = 10 * 10**9
"""From the end of a pass to the beginning of the next."""

DAY_NS = 24 * 3600 * 10**9


class Timeline:
    """The time line of one recording, and how far it was played: `number` of the pass, `row`.

    `start` as in the settings. Times go on for ever where it loops, else for one pass.
    """

    def __init__(
        self, fqme: str, recording: AnyRecording, opened_ns: int, loop: bool, start: str | None
    ) -> None:
        self._fqme = fqme
        self._recording = recording
        self._loop = loop
        self._start_ns = start_ns = start_of(recording, start)
        self._opened_ns = opened_ns
        self._sessions = _since(start_ns, recording.sessions)
        self._pass_ns = recording.end_ns - start_ns + SEAM_NS
        self._first_row = bisect_right(recording.times, start_ns - 1)
        holes = recording.holes if isinstance(recording, TickRecording) else ()
        self._edges = [edge for hole in holes if hole[1] > start_ns for edge in hole]
        self.number = 0
        self.row = self._first_row
        self._edge = 0

    def seek(self, now_ns: int) -> None:
        """Go to the first row after now."""
        self.number = self._number_at(now_ns)
        until = now_ns - self._shift_ns(self.number)
        self.row = bisect_right(self._recording.times, until, self._first_row)
        self._edge = bisect_right(self._edges, until) // 2 * 2

    def due_ns(self) -> int | None:
        """When the next row or end of a hole is due; None: this pass has no more."""
        due = (*self._recording.times[self.row : self.row + 1], *self._coming_edge())
        return min(due) + self._shift_ns(self.number) if due else None

    def edge(self) -> Subscribed | Dropped | None:
        """What a hole of the recording begins or ends with, if that comes before the next row."""
        due = (*self._coming_edge(), *self._recording.times[self.row : self.row + 1])
        if self._edge == len(self._edges) or due[0] > min(due):
            return None
        self._edge += 1
        if self._edge % 2 == 0:
            return Subscribed(market=self.market())
        end_ns = self._edges[self._edge] + self._shift_ns(self.number)
        until = datetime.fromtimestamp(end_ns // 10**9, UTC)
        reason = f"the recording has a hole until {until:%Y-%m-%d %H:%M:%S} UTC"
        return Dropped(market=self._fqme, reason=reason)

    def _coming_edge(self) -> list[int]:
        return self._edges[self._edge : self._edge + 1]

    def take(self, now_ns: int | None, most: int, seen_ns: int) -> list[Quote]:
        """The quotes that are due by now, at most so many; None: due or not."""
        until = len(self._recording.times)
        if now_ns is not None:
            now_ns -= self._shift_ns(self.number)
            until = bisect_right(self._recording.times, now_ns, self.row)
        for edge_ns in self._coming_edge():
            until = min(until, bisect_left(self._recording.times, edge_ns, self.row))
        rows = range(self.row, min(until, self.row + most))
        self.row = rows.stop
        shift_ns = self._shift_ns(self.number)
        return quotes(self._fqme, self._recording, rows, shift_ns, seen_ns)

    def next_pass(self) -> int | None:
        """Go to the next pass: when it begins; None: there is none."""
        if not self._loop:
            return None
        self.number += 1
        self.row = self._first_row
        self._edge = 0
        return self._start_ns + self._shift_ns(self.number)

    def market(self, now_ns: int | None = None) -> Market:
        """The market, with the sessions of the pass at a time and of the one after it.

        Without a time: those of the pass that is played.
        """
        number = self.number if now_ns is None else self._number_at(now_ns)
        numbers = (number, number + 1) if self._loop else (0,)
        sessions = tuple(
            _shifted(session, self._shift_ns(each))
            for each in numbers
            for session in self._sessions
        )
        return describe(self._fqme, self._recording, sessions)

    def _number_at(self, now_ns: int) -> int:
        return max(0, now_ns - self._opened_ns) // self._pass_ns if self._loop else 0

    def _shift_ns(self, number: int) -> int:
        return self._opened_ns + number * self._pass_ns - self._start_ns


def start_of(recording: AnyRecording, start: str | None) -> int:
    """From which recorded time to play. What the recording doesn't have is its beginning."""
    first_ns, end_ns = recording.begin_ns, recording.end_ns
    wanted_ns = recording.start_ns if start is None else parse_start(start, first_ns)
    return wanted_ns if first_ns <= wanted_ns < end_ns else first_ns


def parse_start(start: str, first_ns: int) -> int:
    """A time of day, at or after a first instant, or an instant. Raises ValueError."""
    try:
        of_day = time.fromisoformat(start)
    except ValueError:
        return instant(start)
    if of_day.tzinfo:
        raise ValueError(f"expected a time of day in UTC, was {start!r}")
    seconds = (of_day.hour * 60 + of_day.minute) * 60 + of_day.second
    return first_ns + (seconds * 10**9 - first_ns) % DAY_NS


def _since(start_ns: int, sessions: tuple[Session, ...]) -> tuple[Session, ...]:
    """The sessions from a time on; one that it cuts begins there."""
    return tuple(
        Session(open_ns=max(start_ns, session.open_ns), close_ns=session.close_ns)
        for session in sessions
        if session.close_ns > start_ns
    )


def _shifted(session: Session, shift_ns: int) -> Session:
    return Session(open_ns=session.open_ns + shift_ns, close_ns=session.close_ns + shift_ns)
