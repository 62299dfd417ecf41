"""Shared memory and the disk: its window is put in from there, its newest rows go there.

When the first reader of a market's bars comes, the window's rows and what they cover are put into
shared memory as another generation; the feed and the first reply don't wait for it: a thread makes
it of rows that never change again, and what came meanwhile is put in at the end. Final rows, and
what was seen live of them, go to disk every so often, before bars are let go, and at the end. A
row is never dropped because its table is full before it was due many times over: the shortest
window is a day. What can't be put is put again at the next turn, of which the archive says why.

Task tree, within datad's:

    Tailing.run      does one piece of work after another; those that wait are a set of keys, so
                     there are never more than series
"""

import logging
from collections.abc import Mapping, Sequence
from contextlib import closing
from typing import TYPE_CHECKING
from zlib import crc32

import trio

from piker import clock, log
from piker.archive import Archive
from piker.barkeeper import BarKeeper, Key, Series
from piker.core.bars import NS
from piker.core.rows import periods, whole
from piker.core.spans import Pair, down
from piker.core.windows import DAY_S, DAYS
from piker.store.places import Series as Kept

if TYPE_CHECKING:
    import numpy as np

EVERY_S = {1: 3600, 60: 600}
"""How often the newest bars of a period are put on disk."""
STOP_S = 4.0
"""What putting all that is left may take at the end: the manager waits for ten seconds."""
TRIES = 10
"""So often it is tried again to put rows in that became others meanwhile; then at the next read."""

logger = logging.getLogger(__name__)


class Tailing:
    """Puts what is on disk into bars that are read, and what is new in them on disk."""

    def __init__(
        self,
        bars: BarKeeper,
        archive: Archive,
        source: str,
        days: Mapping[int, int] = DAYS,
    ) -> None:
        self._bars = bars
        self._archive = archive
        self._source = source
        self._days = days
        self._wanted: dict[Key, int] = {}
        """Those to be put in, and how often that was tried."""
        self._filled: set[Key] = set()
        self._due_ns: dict[Key, int] = {}
        """When each is put next, CLOCK_BOOTTIME."""
        self._work = trio.Event()
        self.rows_kept = 0
        """Rows that were put on disk and weren't there."""

    def fill(self, market: str, period_s: int) -> None:
        """Have the window of bars that somebody reads put in, once for as long as they are there.

        It is done later, in the background.
        """
        key = market, period_s
        if not self._archive.unreadable and key not in self._filled:
            self._filled.add(key)
            self._wanted[key] = 0
            self._work.set()

    def look(self) -> None:
        """At whether there is something to do. To be called every second."""
        if self._archive.unreadable:
            self._bars.drop_unread()
            return
        self._bars.adopt_left()
        if self._bars.unread() or self._due():
            self._work.set()

    async def run(self) -> None:
        """Do what there is to do, until cancelled."""
        await self._work.wait()
        await self._archive.load()
        while True:
            await self._work.wait()
            self._work = trio.Event()
            while await self._step():
                pass

    async def finish(self) -> None:
        """Put all that is final on disk, if that takes no longer than `STOP_S`."""
        with trio.move_on_after(STOP_S) as bound:
            for key in self._bars.there():
                await self._put(key)
        if bound.cancelled_caught:
            logger.warning(
                "ends before all bars are on disk: it took longer than %g s; "
                "what is missing is asked of the venue again",
                STOP_S,
            )

    async def _step(self) -> bool:
        """One piece of work, readers' first; False: there is none."""
        if self._wanted:
            await self._fill(next(iter(self._wanted)))
        elif unread := self._bars.unread():
            await self._let_go(unread[0])
        elif due := self._due():
            await self._put_in_turn(due[0])
        else:
            return False
        return True

    async def _fill(self, key: Key) -> None:
        """Its own rows go to disk first: those that a datad before us left may be on none."""
        await self._put(key)
        market, period_s = key
        to_ns = clock.wall_ns()
        from_ns = max(0, to_ns - self._days[period_s] * DAY_S * NS)
        rows = await self._archive.read(Kept(market, period_s), from_ns, to_ns)
        spans = await self._archive.coverage(Kept(market, period_s), from_ns, to_ns)
        tries = self._wanted.pop(key)
        done = await self._merge(key, rows, [(span.from_ns, span.to_ns) for span in spans])
        if not done and tries < TRIES:
            self._wanted[key] = tries + 1
        elif not done:
            self._filled.discard(key)

    async def _merge(self, key: Key, rows: "np.ndarray", covered: Sequence[Pair]) -> bool:
        """False: the bars became others meanwhile."""
        series = self._bars.get(key)
        if not series:
            return True
        with closing(series.bars.merging()) as merging:
            after_ns = series.tail.from_ns
            await self._archive.use(lambda _: merging.build(rows, covered, after_ns))
            return self._bars.merge(key, merging)

    async def _let_go(self, key: Key) -> None:
        """Of bars that nobody reads. Of those made meanwhile nobody will know."""
        await self._put(key)
        if key in self._bars.unread():
            self._bars.drop(*key)
            self._filled.discard(key)
            self._due_ns.pop(key, None)

    async def _put_in_turn(self, key: Key) -> None:
        every_ns = EVERY_S[key[1]] * NS
        late_ns = clock.boot_ns() - self._due_ns[key]
        self._due_ns[key] += every_ns * (1 + late_ns // every_ns)
        await self._put(key)

    def _due(self) -> list[Key]:
        """What is to be put now. Each has a moment of its own, so that not all are at once."""
        boot_ns = clock.boot_ns()
        for key in self._bars.there():
            self._due_ns.setdefault(key, boot_ns + share(key, EVERY_S[key[1]] * NS))
        return [key for key, due_ns in self._due_ns.items() if due_ns <= boot_ns]

    async def _put(self, key: Key) -> None:
        """Put what is final and not on disk yet. A clock that was ahead leaves bars for later."""
        series = self._bars.get(key)
        if series is None or self._archive.unreadable:
            return
        market, period_s = key
        now_ns = clock.wall_ns()
        to_ns = min(series.bars.writer.final_to_ns, down(now_ns, period_s * NS))
        if series.left:
            await self._look_up(series, Kept(market, period_s), to_ns)
        rows, covered = series.bars.rows(series.tail.from_ns, to_ns), series.tail.covered(to_ns)
        rows = rows[~whole(rows["time_ns"], series.tail.given, period_s * NS)]
        if not len(rows) and not covered:
            series.tail.put(to_ns)
            return
        put = await self._archive.put(
            Kept(market, period_s), rows, covered, how="live", source=self._source, now_ns=now_ns
        )
        if put:
            self.rows_kept += put.added
            series.tail.put(to_ns)
        else:
            logger.debug("%s: kept for later", market, extra=log.fields(market=market))

    async def _look_up(self, series: Series, kept: Kept, to_ns: int) -> None:
        """What of bars that another datad left is on disk as somebody else's: it stays so."""
        stretch = max(0, series.bars.table.time(0)), to_ns
        times_ns = (await self._archive.read(kept, *stretch))["time_ns"]
        spans = await self._archive.coverage(kept, *stretch)
        others = [(span.from_ns, span.to_ns) for span in spans if span.how != "live"]
        period_ns = kept.period_s * NS
        series.tail.give(periods(times_ns[whole(times_ns, others, period_ns)], period_ns))
        series.left = False


def share(key: Key, whole_ns: int) -> int:
    """A part of it, another for each key and always the same."""
    market, period_s = key
    return crc32(f"{market} {period_s}".encode()) * whole_ns >> 32
