"""The holes in the bars that somebody reads, filled with what the venue has of that time.

Task tree, within datad's:

    Backfill.run
    └─ _fill     one market's bars of one period, as long as there is a hole to ask for

The feed never waits for it: what an answer needs of the bars is done in one go.
"""

import logging
from collections.abc import Mapping, Sequence

import trio

from piker import clock, log
from piker.barkeeper import BarKeeper
from piker.brokers import HistoryClient, VenueLost
from piker.core.bars import NS, window
from piker.core.holes import Holes
from piker.core.marketdata import MarketData
from piker.core.pace import Urgency
from piker.core.paging import Stretch
from piker.core.pastframes import answered
from piker.errors import local_time
from piker.history import Past, ask_one
from piker.interfaces.data import Why
from piker.markets import Market
from piker.quotes import Bar
from piker.sharedbars import SharedBars

Key = tuple[str, int]
"""A market and a period, s."""

logger = logging.getLogger(__name__)


class Backfill:
    """Asks for what bars lack once their market is live again."""

    def __init__(self, past: Past, bars: BarKeeper, followed: Mapping[str, MarketData]) -> None:
        self._past = past
        self._bars = bars
        self._followed = followed
        self._holes: dict[Key, Holes] = {}
        self._under_way: set[Key] = set()
        self._nursery: trio.Nursery | None = None

    async def run(self) -> None:
        """Fill what `look` finds, until cancelled."""
        async with trio.open_nursery() as self._nursery:
            await trio.sleep_forever()

    def look(self) -> None:
        """At what is read, whether there are holes to ask for now. To be called every second."""
        if not self._past.there or not self._nursery:
            return
        read = self._bars.read()
        for gone in self._holes.keys() - read.keys() - self._under_way:
            del self._holes[gone]
        for key, bars in read.items():
            if key not in self._under_way and (hole := self._next(key, bars)):
                self._under_way.add(key)
                self._nursery.start_soon(self._fill, self._followed[key[0]].market, key, hole)

    def _next(self, key: Key, bars: SharedBars | None, longest_ns: int = 0) -> Stretch | None:
        """The newest hole to ask for now; or frame, where it is known how long one may be."""
        data = self._followed.get(key[0])
        if not bars or not data or data.state.state != "live":
            return None
        return self._holes.setdefault(key, Holes(key[1])).next(
            bars.table.coverage(),
            data.unbroken_ns,
            data.market.sessions,
            final_to_ns=bars.writer.closed_to_ns,
            rows=window(bars.capacity),
            boot_ns=clock.boot_ns(),
            longest_ns=longest_ns,
        )

    async def _fill(self, market: Market, key: Key, hole: Stretch) -> None:
        """Ask for one hole after another, the newest first, frame by frame."""
        asker = _Asker(self._bars, self._holes[key], key, hole)
        try:
            async with self._past.opened(market, Urgency.HOLE) as client:
                if key[1] not in client.frames:
                    asker.unavailable(f"the provider has no bars of {key[1]} s", None)
                while await self._ask(key, client):
                    pass
            self._holes[key].rest(clock.boot_ns())
        except VenueLost as lost:
            asker.fail("lost", str(lost))
        finally:
            self._under_way.discard(key)

    async def _ask(self, key: Key, client: HistoryClient) -> bool:
        """For the newest frame; False: there is nothing to ask for now."""
        frame = self._next(key, self._bars.read().get(key), client.frames.get(key[1], 0))
        if frame:
            asker = _Asker(self._bars, self._holes[key], key, frame)
            await ask_one(client, key[1], frame, asker)
        return frame is not None


class _Asker:
    """One question about a hole, and what is done with its answer."""

    def __init__(self, bars: BarKeeper, holes: Holes, key: Key, asked: Stretch) -> None:
        self._bars = bars
        self._holes = holes
        self._key = key
        self._asked = asked

    def take(self, from_ns: int, to_ns: int, bars: Sequence[Bar]) -> None:
        """The venue has these."""
        told = answered(self._asked, from_ns, to_ns, self._key[1] * NS)
        if not told:
            self.fail("unanswered", "the venue gave nothing of what it was asked for")
            return
        fitting = [bar for bar in bars if told.from_ns <= bar.time_ns < told.to_ns]
        self._bars.fill(*self._key, *told, fitting)
        self._holes.filled()
        self._log(logging.INFO, told, f"the venue has {len(fitting)} bars, which were put in")

    def unavailable(self, reason: str, first_ns: int | None) -> None:
        """It never has what was asked for."""
        self._holes.unavailable(self._asked, first_ns)
        self._log(logging.WARNING, self._asked, f"it stays: {reason}")

    def fail(self, why: Why, reason: str, pause_s: float | None = None) -> None:
        """It may have it later."""
        if self._holes.failed(reason, pause_s, clock.boot_ns()):
            self._log(logging.WARNING, self._asked, f"{why}, asked for again later: {reason}")

    def _log(self, level: int, stretch: Stretch, what: str) -> None:
        market, period_s = self._key
        logger.log(
            level,
            "%s: hole in its bars of %d s, %s to %s: %s",
            market,
            period_s,
            local_time(stretch.from_ns),
            local_time(stretch.to_ns),
            what,
            extra=log.fields(market=market),
        )
