"""The bars of one datad: shared memory for each market and period that somebody reads."""

import logging
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

import trio

from piker import clock
from piker.core.bars import LATE_AT, NS, PERIODS_S
from piker.core.marketdata import MarketData
from piker.core.tails import Tail
from piker.notify import Manager
from piker.quotes import Bar, Quote
from piker.sharedbars import CAPACITY, Merging, NotBars, SharedBars

LINGER_NS = 60 * NS
"""Bars that nobody reads any more are kept so long: readers come back after a restart."""

_STORED = re.compile(r"(bars-(\d+)-.+)-(\d+)")
"""Name in the manager's store: bars, period, market, generation."""

AHEAD_NS = 60 * NS
"""A stamp further ahead of the clock is wrong, and makes no bar."""

Stored = Callable[[int, int], None]
Key = tuple[str, int]
"""A market and a period, s."""

logger = logging.getLogger(__name__)


class Series:
    """One market's bars of one period, and who reads them."""

    def __init__(self, bars: SharedBars, made_ns: int) -> None:
        self.bars = bars
        self.made_ns = made_ns
        self.tail = Tail(bars.period_s * NS, bars.table.coverage())
        """What of them isn't on disk; of bars that another datad left, nobody knows of any."""
        self.left = bars.generation > 1
        """Another datad left them, and whose they are was not looked up on disk yet."""
        self.readers = 0
        self.unread_since_ns = 0
        self._renewed = trio.Event()

    def renew(self) -> None:
        """Tell readers that there is another memfd."""
        self._renewed.set()
        self._renewed = trio.Event()

    async def renewed(self, generation: int) -> None:
        """Wait until there is a later generation than this."""
        while self.bars.generation == generation:
            await self._renewed.wait()


class BarKeeper:
    """Makes bars for those who read them, and has the manager keep them over a crash."""

    def __init__(self, manager: Manager, capacity: Mapping[int, int] = CAPACITY) -> None:
        self._manager = manager
        self._capacity = capacity
        self._series: dict[str, dict[int, Series]] = {}
        self._left = _left_behind(manager)
        self._started_ns = clock.boot_ns()
        self.early = 0
        """Ticks that were stamped too far ahead of the clock to be put into a bar."""

    def __len__(self) -> int:
        return sum(len(periods) for periods in self._series.values())

    @property
    def readers(self) -> int:
        """Who reads: open Bars streams, and markets that are kept."""
        return sum(series.readers for series in self._all())

    @property
    def late(self) -> int:
        """Ticks that came when their bar was final; once a period, of the bars there are."""
        return sum(series.bars.table.ints[LATE_AT] for series in self._all())

    @contextmanager
    def reading(self, market: str, period_s: int, now_ns: int | None = None) -> Iterator[Series]:
        """The bars of a market, kept up to date while the context is open and a while longer.

        `now_ns` is what time it is in this market, where that isn't the wall clock's.
        """
        periods = self._series.setdefault(market, {})
        series = periods.get(period_s)
        if series is None:
            series = periods[period_s] = Series(
                self._open(market, period_s), now_ns or clock.wall_ns()
            )
        series.readers += 1
        try:
            yield series
        finally:
            series.readers -= 1
            series.unread_since_ns = clock.boot_ns()

    def read(self) -> dict[tuple[str, int], SharedBars]:
        """The bars that somebody reads, by market and period."""
        return {
            (market, period_s): series.bars
            for market, periods in self._series.items()
            for period_s, series in periods.items()
            if series.readers
        }

    def fill(
        self, market: str, period_s: int, from_ns: int, to_ns: int, bars: Sequence[Bar]
    ) -> None:
        """Put what the venue has of a stretch that is final into bars, if they are still there."""
        series = self.get((market, period_s))
        if series:
            series.tail.give(series.bars.fill(from_ns, to_ns, bars))
            series.renew()

    def merge(self, key: Key, merging: Merging) -> bool:
        """Go on in what the store's rows were put in, if the bars are still there.

        False: it is to be built anew (SharedBars.merge).
        """
        series = self.get(key)
        if not series or series.bars is not merging.bars:
            return True
        if not series.bars.merge(merging):
            return False
        series.tail.give(merging.taken)
        series.renew()
        return True

    def take(self, data: MarketData, quote: Quote) -> None:
        """Put a quote's prices into the market's bars: its trades, or its mid where it has none."""
        periods = self._series.get(quote.market)
        if not periods or not quote.ticks or data.delayed:
            return
        if data.market.has_trades:
            for tick in quote.ticks:
                if tick.kind == "trade" and self._fits(data, tick.time_ns):
                    self._put(periods, tick.time_ns, tick.price, tick.size or 0.0, derived=False)
            return
        for time_ns, mid in data.mids:
            if self._fits(data, time_ns):
                self._put(periods, time_ns, mid, None, derived=True)

    def _fits(self, data: MarketData, time_ns: int) -> bool:
        """Whether a stamp isn't far ahead: such a bar would stay the newest until then."""
        if data.runs_ahead or time_ns <= (data.heard_ns or clock.wall_ns()) + AHEAD_NS:
            return True
        self.early += 1
        return False

    def _put(
        self,
        periods: dict[int, Series],
        time_ns: int,
        price: float,
        size: float | None,
        *,
        derived: bool,
    ) -> None:
        for series in periods.values():
            if series.bars.take(time_ns, price, size, derived=derived):
                series.renew()

    def end_of(self, now_ns: int) -> None:
        """A period has ended at this UTC instant: bars become final."""
        for series in self._all():
            series.bars.writer.close(now_ns)

    def close(self, market: str, now_ns: int) -> None:
        """The same for one market, by its own time."""
        for series in self._series.get(market, {}).values():
            series.bars.writer.close(now_ns)

    def close_all(self) -> None:
        """Let go of all memory; readers and the manager's store keep theirs."""
        for series in self._all():
            series.bars.close()
        self._series.clear()
        for _, fd in self._left.values():
            os.close(fd)
        self._left.clear()

    def there(self) -> list[Key]:
        """Of which markets there are bars, and of which periods."""
        return [
            (market, period_s) for market, periods in self._series.items() for period_s in periods
        ]

    def get(self, key: Key) -> Series | None:
        """Those bars, if they are there."""
        market, period_s = key
        return self._series.get(market, {}).get(period_s)

    def unread(self) -> list[Key]:
        """Bars that nobody has read for a while."""
        now_ns = clock.boot_ns()
        return [
            (market, period_s)
            for market, periods in self._series.items()
            for period_s, series in periods.items()
            if not series.readers and now_ns - series.unread_since_ns > LINGER_NS
        ]

    def drop_unread(self) -> None:
        """Let go of bars that nobody has read for a while."""
        for key in self.unread():
            self.drop(*key)
        self._drop_left()

    def _drop_left(self) -> None:
        """Let go of what a datad before us left, when nobody asked for it for a while."""
        if clock.boot_ns() - self._started_ns > LINGER_NS:
            for name in list(self._left):
                self._forget_left(name)

    def adopt_left(self) -> None:
        """Go on with what a datad before us left, when nobody asked for it for a while.

        One series a call; each is then one like any other that nobody reads.
        """
        if self._left and clock.boot_ns() - self._started_ns > LINGER_NS:
            _, period_s, market = next(iter(self._left)).split("-", 2)
            with self.reading(market, int(period_s)):
                pass

    def cover(self, market: str, from_ns: int, to_ns: int) -> None:
        """Say that the market's feed was live then; bars cover it from when they are made."""
        for series in self._series.get(market, {}).values():
            series.bars.writer.cover(max(from_ns, series.made_ns), to_ns)
            series.tail.cover(max(from_ns, series.made_ns), to_ns)

    def _open(self, market: str, period_s: int) -> SharedBars:
        name = f"bars-{period_s}-{market}"

        def stored(fd: int, generation: int) -> None:
            """The new one is kept before the old one goes: a crash between them loses nothing."""
            self._manager.store(f"{name}-{generation}", fd)
            self._manager.forget(f"{name}-{generation - 1}")

        bars = self._adopt(market, period_s, name, stored)
        bars.writer.close(clock.wall_ns())
        return bars

    def _adopt(self, market: str, period_s: int, name: str, stored: Stored) -> SharedBars:
        """Bars that begin with what a datad before us left, if it left any that can be read."""
        if name in self._left:
            try:
                bars = SharedBars(
                    market,
                    period_s,
                    stored,
                    left=self._left[name][1],
                    not_after_ns=clock.wall_ns() + AHEAD_NS,
                    capacity=self._capacity[period_s],
                )
            except NotBars as error:
                logger.warning("bars of %s, %d s, begin anew: %s", market, period_s, error)
            else:
                logger.info("bars of %s, %d s: kept over the restart", market, period_s)
                return bars
            finally:
                self._forget_left(name)
        return SharedBars(market, period_s, stored, capacity=self._capacity[period_s])

    def _forget_left(self, name: str) -> None:
        generation, fd = self._left.pop(name)
        os.close(fd)
        self._manager.forget(f"{name}-{generation}")

    def drop(self, market: str, period_s: int) -> None:
        """Let go of bars; readers keep theirs."""
        periods = self._series[market]
        bars = periods.pop(period_s).bars
        bars.close()
        self._manager.forget(f"bars-{period_s}-{market}-{bars.generation}")
        if not periods:
            del self._series[market]

    def _all(self) -> Iterator[Series]:
        for periods in self._series.values():
            yield from periods.values()


def _left_behind(manager: Manager) -> dict[str, tuple[int, int]]:
    """What a datad before us had stored: the newest generation and its memfd, by name.

    Anything else in the store goes.
    """
    left: dict[str, tuple[int, int]] = {}
    for full_name, fds in manager.stored.items():
        named = _STORED.fullmatch(full_name)
        name, generation = (named[1], int(named[3])) if named else ("", 0)
        if named and int(named[2]) in PERIODS_S and left.get(name, (-1, -1))[0] < generation:
            older, left[name] = left.get(name), (generation, fds.pop())
            if older:
                os.close(older[1])
                manager.forget(f"{name}-{older[0]}")
        else:
            manager.forget(full_name)
        for fd in fds:
            os.close(fd)
    manager.stored.clear()
    return left
