"""What waits for a watcher that lags: as little as it needs to know what happened.

Of the bids and asks that newer ones replace, the first, lowest, highest and newest are kept; trades
are never dropped. So every level that was touched is still seen.
"""

from collections.abc import Iterable

from piker.markets import MarketState
from piker.quotes import Quote, Tick

OUTBOX_TICKS = 50_000
"""Ticks that may wait for one watcher; past it the watcher is told TooSlow and closed."""


class Outbox:
    """Quotes and states on their way to one watcher."""

    def __init__(self, limit: int = OUTBOX_TICKS) -> None:
        self._limit = limit
        self._markets: dict[str, _Waiting] = {}
        self._states: dict[str, MarketState] = {}
        self._order = 0
        self.ticks = 0

    def __bool__(self) -> bool:
        return bool(self.ticks or self._states)

    @property
    def overflown(self) -> bool:
        """Whether more waits than may."""
        return self.ticks > self._limit

    def put(self, quotes: Iterable[Quote]) -> None:
        """Add quotes, oldest first."""
        for quote in quotes:
            waiting = self._markets.get(quote.market)
            if waiting is None:
                waiting = self._markets[quote.market] = _Waiting()
            for tick in quote.ticks:
                self._order += 1
                self.ticks += waiting.add(self._order, tick)

    def put_state(self, state: MarketState) -> None:
        """Add a change of state; it replaces an older one of its market."""
        self._states[state.market] = state

    def drain(self) -> tuple[tuple[Quote, ...], tuple[MarketState, ...]]:
        """All of it: a quote a market with its ticks oldest first, and the newest states."""
        quotes = tuple(
            Quote(market=market, ticks=ticks)
            for market, waiting in self._markets.items()
            if (ticks := waiting.ticks())
        )
        states = tuple(self._states.values())
        self._markets, self._states, self.ticks = {}, {}, 0
        return quotes, states


class _Waiting:
    """One market's ticks. Numbers say in which order they came."""

    def __init__(self) -> None:
        self._trades: list[tuple[int, Tick]] = []
        self._sides: dict[str, _Side] = {}

    def add(self, order: int, tick: Tick) -> int:
        """Keep a tick; gives by how many more are kept than before."""
        if tick.kind not in ("bid", "ask"):
            self._trades.append((order, tick))
            return 1
        side = self._sides.get(tick.kind)
        if side is None:
            self._sides[tick.kind] = _Side(order, tick)
            return 1
        return side.add(order, tick)

    def ticks(self) -> tuple[Tick, ...]:
        kept = dict(self._trades)
        for side in self._sides.values():
            kept.update(side.kept())
        return tuple(kept[order] for order in sorted(kept))


class _Side:
    """The first, lowest, highest and newest tick of a side."""

    __slots__ = ("_first", "_highest", "_lowest", "_newest")

    def __init__(self, order: int, tick: Tick) -> None:
        self._first = self._lowest = self._highest = self._newest = (order, tick)

    def add(self, order: int, tick: Tick) -> int:
        before = len(self.kept())
        self._newest = (order, tick)
        if tick.price < self._lowest[1].price:
            self._lowest = self._newest
        elif tick.price > self._highest[1].price:
            self._highest = self._newest
        return len(self.kept()) - before

    def kept(self) -> dict[int, Tick]:
        return dict((self._first, self._lowest, self._highest, self._newest))
