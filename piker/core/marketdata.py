"""One market as datad follows it: what is derived, what was last, how alive it is."""

from math import inf, isfinite

from msgspec import structs

from piker.core.freshness import FLOOR_NS, Silence, hour_of_week
from piker.core.grid import Grid, grid_at, middle
from piker.core.sessions import is_open, opening, why_closed
from piker.markets import Market, MarketState, State
from piker.quotes import Kind, Quote, Tick

END_OF_TIME_NS = 2**62
"""In the year 2116. A time before it fits into 64 bits with any period added."""
NOT_ASKED = "not asked for yet"
"""Why the venue doesn't send a market that was only just wanted."""


class MarketData:
    """Follows one market. Times come in: `wall_ns` is UTC, `boot_ns` is CLOCK_BOOTTIME.

    With `runs_ahead`, where ticks may be stamped ahead of the wall clock, the newest tick's time is
    the market's: sessions, states and coverage go by it.

    `heard_ns` is when the venue last said anything about it, UTC; 0: never.
    """

    def __init__(
        self,
        market: Market,
        wall_ns: int,
        silence: Silence | None = None,
        *,
        runs_ahead: bool = False,
        reason: str = NOT_ASKED,
    ) -> None:
        self.market = market
        self.last: dict[Kind, Tick] = {}
        self.mids: list[tuple[int, float]] = []
        """Of the newest quote, where the market shows no trades: time ns, mid."""
        self.bad_ticks = 0
        self.linked = False
        self.heard_ns = 0
        self.state = MarketState(
            market=market.fqme, state="disconnected", since_ns=wall_ns, reason=reason
        )
        self.silence = silence or Silence()
        self._lost_because = reason
        self._since_boot_ns = 0
        self._fresh_from_ns = 0
        self._heard_ns = 0
        self.runs_ahead = runs_ahead
        self._newest_ns = 0
        self._unbroken_ns = 0
        self._grid = grid_at(market, 0.0)
        self.delayed = False
        """What it shows now isn't of now."""

    def subscribed(self, market: Market, boot_ns: int) -> None:
        """The venue now sends it, or its sessions have changed."""
        self.market = market
        self._grid = grid_at(market, 0.0)
        if not self.linked:
            self.linked = True
            self._since_boot_ns = boot_ns
            self._begin_anew(boot_ns)

    def _begin_anew(self, boot_ns: int) -> None:
        """What comes now has nothing to do with what came before: no silence, no mid joins them."""
        self._heard_ns = 0
        self._fresh_from_ns = boot_ns

    def lost(self, reason: str) -> None:
        """The venue no longer sends it."""
        self.linked = False
        self._lost_because = reason

    def missed(self, wall_ns: int, boot_ns: int) -> None:
        """The venue goes on with it, and what it said since it was last heard is missing."""
        self._unbroken_ns = self.now_ns(wall_ns)
        self._begin_anew(boot_ns)

    @property
    def unbroken_ns(self) -> int:
        """Since when nothing of it is missing, while it is live, UTC."""
        return max(self.state.since_ns, self._unbroken_ns)

    def take(self, quote: Quote, wall_ns: int, boot_ns: int) -> Quote:
        """What the quote says, with what is derived from it; counts as a sign of life."""
        if 0 < self._heard_ns < boot_ns:  # what comes together says nothing about silence
            self._learn(boot_ns - self._heard_ns, hour_of_week(self.now_ns(wall_ns)))
        self._heard_ns = boot_ns
        complete = self._complete(quote)
        if complete.ticks and complete.ticks[-1].delayed != self.delayed:
            self.delayed = not self.delayed
            self._fresh_from_ns = complete.ticks[-1].seen_ns
        if not self.market.has_trades:
            self._note_mids(complete)
        last = self.last
        for tick in complete.ticks:
            last[tick.kind] = tick
        if self.runs_ahead and complete.ticks:
            self._newest_ns = max(self._newest_ns, complete.ticks[-1].time_ns)
        self.heard_ns = self.now_ns(wall_ns)
        return complete

    def _learn(self, silence_ns: int, hour: int) -> None:
        """A silence that was longer than usual counts as the longest usual one.

        So one outage teaches little, and a market that has become quiet is learnt step by step.
        """
        if silence_ns > FLOOR_NS:
            silence_ns = min(silence_ns, self.silence.limit_ns(hour))
        self.silence.add(silence_ns, hour)

    def now_ns(self, wall_ns: int) -> int:
        """What time it is in this market."""
        return max(wall_ns, self._newest_ns)

    def _note_mids(self, quote: Quote) -> None:
        """The mid after each whole change: before a side comes again, and at the quote's end."""
        self.mids.clear()
        changed: set[Kind] = set()
        for tick in quote.ticks:
            if tick.kind in changed:
                self._note_mid()
                changed.clear()
            changed.add(tick.kind)
            self.last[tick.kind] = tick
        if changed:
            self._note_mid()

    def _note_mid(self) -> None:
        price = self.price()
        if price:
            newest = max(self.last["bid"].time_ns, self.last["ask"].time_ns)
            self.mids.append((newest, price[0]))

    def price(self) -> tuple[float, bool] | None:
        """The market's price: its last trade, or the mid where it shows none; whether derived."""
        if self.market.has_trades:
            trade = self.last.get("trade")
            return (trade.price, False) if trade else None
        bid, ask = self.last.get("bid"), self.last.get("ask")
        if bid is None or ask is None or min(bid.seen_ns, ask.seen_ns) < self._fresh_from_ns:
            return None
        return middle(bid.price, ask.price), True

    def judge(self, wall_ns: int, boot_ns: int) -> MarketState | None:
        """Its state, if that, or why there is no feed, has changed since it was last asked."""
        now_ns = self.now_ns(wall_ns)
        state, reason = self._judge(now_ns, boot_ns)
        before = self.state
        if state == before.state and (state != "disconnected" or reason == before.reason):
            return None
        since_ns = before.since_ns if state == before.state else now_ns
        self.state = MarketState(
            market=self.market.fqme, state=state, since_ns=since_ns, reason=reason
        )
        return self.state

    def usual_silence_ns(self, wall_ns: int) -> int:
        """How long it is usually silent at this hour."""
        return self.silence.limit_ns(hour_of_week(self.now_ns(wall_ns)))

    def _judge(self, now_ns: int, boot_ns: int) -> tuple[State, str]:
        if not self.linked:
            return "disconnected", self._lost_because
        if not is_open(self.market.sessions, now_ns):
            self._begin_anew(boot_ns)
            return "closed", why_closed(self.market.sessions, now_ns)
        silent_ns = boot_ns - max(self._heard_ns, self._since_boot_ns)
        opened_ns = now_ns - opening(self.market.sessions, now_ns)
        limit_ns = self.usual_silence_ns(now_ns)
        if min(silent_ns, opened_ns) > limit_ns:
            return "stale", f"silent for more than the usual {limit_ns / 1e9:.0f} s"
        if self.delayed:
            return "delayed", "the venue shows it late, or as it was last"
        return "live", ""

    def _complete(self, quote: Quote) -> Quote:
        """The quote without ticks that are none, and with the sides that it lacks."""
        whole = sound(quote)
        self.bad_ticks += len(quote.ticks) - len(whole.ticks)
        quote = whole
        if self.market.has_bid and self.market.has_ask:
            return quote
        ticks: list[Tick] = []
        for tick in quote.ticks:
            ticks += (tick, *self._derive(tick))
        return Quote(market=quote.market, ticks=tuple(ticks))

    def _derive(self, tick: Tick) -> tuple[Tick, ...]:
        """A missing side: the present one, or where both are missing the trade, and one tick."""
        has_bid, has_ask = self.market.has_bid, self.market.has_ask
        grid = grid_at(self.market, tick.price) if self.market.price_bands else self._grid
        if tick.kind == "bid" and not has_ask:
            return (_side(tick, "ask", grid, 1),)
        if tick.kind == "ask" and not has_bid:
            return (_side(tick, "bid", grid, -1),)
        if tick.kind == "trade" and not has_bid and not has_ask:
            return (_side(tick, "bid", grid, -1), _side(tick, "ask", grid, 1))
        return ()


def sound(quote: Quote) -> Quote:
    """The same, without ticks that are none."""
    if all(map(_good, quote.ticks)):
        return quote
    return Quote(market=quote.market, ticks=tuple(filter(_good, quote.ticks)))


def _good(tick: Tick) -> bool:
    """Whether its numbers can be stored and summed up. Venues do send others."""
    size = tick.size
    size_fits = size is None or 0 <= size < inf
    return size_fits and isfinite(tick.price) and 0 <= tick.time_ns < END_OF_TIME_NS


def _side(tick: Tick, kind: Kind, grid: Grid, steps: int) -> Tick:
    price = grid.step(tick.price, steps)
    return structs.replace(tick, kind=kind, price=price, size=None, derived=True)
