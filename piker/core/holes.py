"""What is missing in bars that were made live, when to ask for it, and how it goes in.

A hole is time that is not covered: the feed was away, or silent, from the end of what is covered to
the new beginning. Time in which the market was closed, between two sessions that are known, is no
hole. One is of whole periods, also where it begins or ends in the midst of one, and is not asked
for before all of them are final.

Rows are merged by time. A row of a period that was seen live from its beginning to its end stays,
whatever the venue says of it. Any other is the venue's; where that has none of the period, what was
seen of it stays.
"""

from collections.abc import Iterable, Sequence

from piker.core.backoff import Backoff
from piker.core.bars import GRACE_NS, NS
from piker.core.gaps import gaps, may_be_open
from piker.core.paging import Stretch
from piker.core.sessions import Sessions
from piker.core.spans import Pair, down, up
from piker.quotes import Bar

PAUSES_S = (30.0, 1800.0)
"""Between questions that are not answered: first and longest."""
RESTS_S = (10.0, 600.0)
"""Between holes of one table: first and longest."""
LONG_NS = 3600 * NS
"""After so long a hole is a new one."""


def holes(
    coverage: Sequence[Pair], live_ns: int, sessions: Sessions, period_ns: int
) -> list[Stretch]:
    """Of a market that is live since an instant; oldest first, apart, of whole periods."""
    if not coverage:
        return []
    from_ns = coverage[0][0]
    may = may_be_open(sessions, from_ns, live_ns)
    return [Stretch(*each) for each in gaps(may, coverage, from_ns, live_ns, period_ns)]


def taken(venue: Iterable[Bar], coverage: Sequence[Pair], period_ns: int) -> list[Bar]:
    """Those of the venue that count by the rule above. `coverage` is what was seen live."""
    return [
        bar
        for bar in venue
        if bar.time_ns % period_ns == 0
        and not _is_within(bar.time_ns, bar.time_ns + period_ns, coverage)
    ]


def merged(live: Iterable[Bar], theirs: Iterable[Bar]) -> list[Bar]:
    """The rows of a stretch, oldest first, with what was `taken` of the venue."""
    rows = {bar.time_ns: bar for bar in (*live, *theirs)}
    return [rows[time_ns] for time_ns in sorted(rows)]


class Holes:
    """The holes of one table: which stretch to ask for next, and which not, or not yet.

    Times of waiting are CLOCK_BOOTTIME.
    """

    def __init__(self, period_s: int) -> None:
        self._period_ns = period_s * NS
        self._never_before_ns = 0
        """What is older is not to be had."""
        self._not_before_boot_ns = 0
        self._paced_boot_ns = 0
        """The same, by the venue's word."""
        self._rested_boot_ns = 0
        self._rests = Backoff(*RESTS_S)
        self._live_ns = 0
        self._backoff = Backoff(*PAUSES_S)
        self._said = ""

    def next(
        self,
        coverage: Sequence[Pair],
        live_ns: int,
        sessions: Sessions,
        *,
        final_to_ns: int,
        rows: int,
        boot_ns: int,
        longest_ns: int = 0,
    ) -> Stretch | None:
        """The newest hole that is final and may be asked for now, of a market live since then.

        `final_to_ns` is up to when bars were closed, `rows` how many are always there. Give
        the longest stretch of a frame, and it is one frame, that may have several holes in it.
        """
        if live_ns != self._live_ns:
            self._begin_anew(live_ns)
        if boot_ns < max(self._not_before_boot_ns, self._paced_boot_ns, self._rested_boot_ns):
            return None
        oldest_ns = down(live_ns, self._period_ns) - rows * self._period_ns
        first_ns = up(max(self._never_before_ns, oldest_ns), self._period_ns)
        askable = [
            Stretch(max(hole.from_ns, first_ns), hole.to_ns)
            for hole in holes(coverage, live_ns, sessions, self._period_ns)
            if hole.to_ns + GRACE_NS <= final_to_ns and hole.to_ns > first_ns
        ]
        return _reach(askable, longest_ns) if askable else None

    def filled(self) -> None:
        """There was an answer."""
        self._backoff.reset()
        self._said = ""

    def rest(self, boot_ns: int) -> None:
        """There is nothing to ask for now. Who has holes again and again waits longer each time."""
        if boot_ns - self._rested_boot_ns > LONG_NS:
            self._rests.reset()
        self._rested_boot_ns = boot_ns + round(self._rests.pause() * NS)

    def unavailable(self, asked: Stretch, first_ns: int | None) -> None:
        """What was asked for is not to be had; from `first_ns` on there is data, if that is new."""
        first_ns = first_ns or 0
        new = self._never_before_ns + self._period_ns < asked.from_ns < first_ns < asked.to_ns
        self._never_before_ns = first_ns if new else asked.to_ns

    def failed(self, reason: str, pause_s: float | None, boot_ns: int) -> bool:
        """It can be asked for again, after a while; whether that wasn't said yet."""
        if pause_s is None:
            self._not_before_boot_ns = boot_ns + round(self._backoff.pause() * NS)
        else:
            self._paced_boot_ns = boot_ns + round(pause_s * NS)
        news, self._said = reason != self._said, reason
        return news

    def _begin_anew(self, live_ns: int) -> None:
        """The venue is there again: what it didn't answer it may answer now."""
        self._live_ns = live_ns
        self._not_before_boot_ns = 0
        self._backoff.reset()


def _reach(askable: Sequence[Stretch], longest_ns: int) -> Stretch:
    """The newest, or one frame that ends with it, back to the oldest that begins in it."""
    newest = askable[-1]
    if not longest_ns:
        return newest
    earliest_ns = newest.to_ns - longest_ns
    within = (max(each.from_ns, earliest_ns) for each in askable if each.to_ns > earliest_ns)
    return Stretch(min(within), newest.to_ns)


def _is_within(from_ns: int, to_ns: int, stretches: Sequence[Pair]) -> bool:
    return any(first_ns <= from_ns and to_ns <= last_ns for first_ns, last_ns in stretches)
