"""A market's past as it is kept: on disk, and newer in shared memory where somebody reads it."""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from piker.archive import Archive
from piker.brokers import Frame, HistoryUnavailable
from piker.core.bars import PARTIAL, PERIODS_S
from piker.core.calendars import Traded
from piker.core.gaps import closures
from piker.core.pace import Pace
from piker.core.paging import Stretch
from piker.core.periods import NS
from piker.core.rows import bars_of, merged, whole
from piker.core.spans import Pair, clipped, inward, joined
from piker.store.answers import Live
from piker.store.places import Series

if TYPE_CHECKING:
    import numpy as np

FRAME_ROWS = 10_000
"""Periods that are looked through at once."""

NewestOf = Callable[[str, int], Live | None]
"""What shared memory has of a market's bars of a period, s; None: nobody reads them."""


class Kept:
    """What an archive and shared memory have together."""

    def __init__(self, archive: Archive, newest: NewestOf) -> None:
        self._archive = archive
        self._newest = newest

    async def periods(self, fqme: str) -> list[int]:
        """Those that something is kept of, s, the shortest first."""
        stored = [each.period_s for each in await self._archive.series() if each.fqme == fqme]
        return sorted({*stored, *(each for each in PERIODS_S if self._newest(fqme, each))})

    async def covered(self, series: Series, from_ns: int, to_ns: int) -> list[Pair]:
        """What is known of a stretch, oldest first, apart."""
        spans = await self._archive.coverage(series, from_ns, to_ns)
        live = self._newest(*series)
        known = [(each.from_ns, each.to_ns) for each in spans]
        return clipped(joined([*known, *(live.covered if live else ())]), from_ns, to_ns)

    async def read(self, series: Series, from_ns: int, to_ns: int) -> "np.ndarray":
        """The rows that begin in a stretch, oldest first."""
        stored = await self._archive.read(series, from_ns, to_ns)
        live = self._newest(*series)
        if live is None:
            return stored
        import numpy as np

        times = live.rows["time_ns"]
        fresh = live.rows[(times >= from_ns) & (times < to_ns)]
        spans = await self._archive.coverage(series, from_ns, to_ns)
        known = [(each.from_ns, each.to_ns) for each in spans]
        period_ns = series.period_s * NS
        return np.concatenate(merged(fresh, live.covered, stored, known, period_ns).pieces)

    async def in_part(self, series: Series, stretches: Sequence[Pair]) -> "np.ndarray":
        """Rows that begin in one of them, of whose period not all is known; marked so."""
        period_ns = series.period_s * NS
        from_ns, to_ns = min(stretches)[0], max(end_ns for _, end_ns in stretches)
        rows = await self.read(series, from_ns, to_ns)
        known = await self.covered(series, max(0, from_ns - period_ns), to_ns + period_ns)
        times_ns = rows["time_ns"]
        some = rows[whole(times_ns, stretches, 1) & ~whole(times_ns, known, period_ns)]
        some["flags"] |= PARTIAL
        found: np.ndarray = some
        return found


class KeptClient:
    """A HistoryClient that asks nobody. Time in which the market is closed counts as known."""

    pace = Pace()
    asked = 0
    """Questions that went to a provider."""

    def __init__(self, kept: Kept, fqme: str, traded: Traded, period_s: int, reason: str) -> None:
        self._kept = kept
        self._fqme = fqme
        self._traded = traded
        self._reason = reason
        self._known: list[Pair] | None = None
        self.frames: Mapping[int, int] = {period_s: FRAME_ROWS * period_s * NS}

    async def frame(self, period_s: int, from_ns: int, to_ns: int) -> Frame:
        """The newest part of a stretch that is known; or of what is before it.

        Raises HistoryUnavailable if nothing is.
        """
        series = Series(self._fqme, period_s)
        if self._known is None:
            self._known = await self._all(series, to_ns)
        known = clipped(self._known, 0, to_ns)
        if not known:
            raise HistoryUnavailable(self._reason)
        begin_ns, end_ns = known[-1]
        stretch = Stretch(max(begin_ns, min(from_ns, end_ns - period_s * NS)), end_ns)
        bars = bars_of(await self._kept.read(series, *stretch))
        return Frame(from_ns=stretch.from_ns, to_ns=stretch.to_ns, bars=tuple(bars))

    async def _all(self, series: Series, to_ns: int) -> list[Pair]:
        """Whole periods before then that are known, oldest first, apart."""
        covered = await self._kept.covered(series, 0, to_ns)
        if not covered:
            return []
        ends = covered[0][0], to_ns
        known = joined([*covered, *closures(self._traded.sessions(*ends), *ends)])
        whole = (inward(*each, series.period_s * NS) for each in known)
        return [each for each in whole if each]
