"""How paper orders of one market are filled by what the market shows.

- A resting limit fills at its own price, never better: when the other side's best price comes to it
  or beyond, or when a trade prints beyond it, strictly. Where it stood in a queue nobody knows.
- What is new (or has a new limit) meets the other side's best price first and pays that, up to its
  limit. A market order always does. What is then left of a limit rests, of an ioc is cancelled; a
  market order waits for the next price.
- No more is filled than was shown: by the best price until a newer one of its side, by a print
  once, for all. Who bids most comes first, then who came first. Where no size is given, any fits.
- Nothing is filled unless the data are live. What was shown before they broke off is forgotten;
  what has not met a price by then is as new when they are back.
- A print that was seen before an order came doesn't fill it. The best price may be older.

Which ticks came in one message makes no difference: each is taken by itself.
"""

from bisect import bisect_left, insort
from collections.abc import Iterator
from decimal import ROUND_FLOOR, ROUND_HALF_EVEN, Context, Decimal
from math import isfinite
from typing import Literal

from msgspec import Struct
from msgspec.structs import replace

from piker.core.grid import price_step
from piker.core.orderchecks import (
    LARGEST_PRICE,
    LARGEST_SIZE,
    NEVER_NEGATIVE,
    why_invalid,
)
from piker.core.sessions import session_at
from piker.interfaces.broker import InvalidOrder, Place
from piker.markets import Market, MarketState
from piker.orders import NOTHING, OrderKind, Side, Tif
from piker.quotes import Kind, Quote, Tick, timely

SHOWN_TO: dict[Side, Kind] = {"buy": "ask", "sell": "bid"}
"""The side of the market that each trades with."""
TAKERS: dict[Kind, Side] = {"ask": "buy", "bid": "sell"}

_SIGN: dict[Side, int] = {"buy": -1, "sell": 1}
"""An order trades at a price if sign * limit <= sign * price; the least of these comes first."""
_AT_ANY_PRICE = Decimal("-Infinity")
_WIDE = Context(prec=120)


class Working(Struct, frozen=True, kw_only=True):
    """An order as it is worked on."""

    oid: str
    side: Side
    size: Decimal
    """The total."""
    filled: Decimal = NOTHING
    limit: Decimal | None
    """None: at the market."""
    tif: Tif
    priority: int
    """Of equal limits the lower comes first."""
    since_boot_ns: int = 0
    """When it came, CLOCK_BOOTTIME; 0: before any tick that will be taken."""
    expires_ns: int | None = None
    """UTC."""
    rests: bool = False
    """It has met the best price of the other side, which was not good enough or not enough."""

    @property
    def remaining(self) -> Decimal:
        """What is left of it."""
        return self.size - self.filled

    @property
    def place(self) -> tuple[Decimal, int, str]:
        """Where it stands on its side: the least comes first."""
        key = _AT_ANY_PRICE if self.limit is None else _SIGN[self.side] * self.limit
        return key, self.priority, self.oid


class Fill(Struct, frozen=True, kw_only=True):
    """Some of an order was done."""

    oid: str
    size: Decimal
    price: Decimal
    derived: bool
    """The price was not the venue's own."""


class Rests(Struct, frozen=True, kw_only=True):
    """It is no longer new."""

    oid: str


class Ended(Struct, frozen=True, kw_only=True):
    """It is over, and not because all of it was done."""

    oid: str
    outcome: Literal["cancelled", "expired"]
    reason: str


Outcome = Fill | Rests | Ended


def check(order: Place, market: Market | None) -> InvalidOrder | None:
    """Why a venue would not take an order, or None. `market` is None if there is no such one."""
    if market is None:
        provider = order.market.rpartition(".")[2]
        return InvalidOrder(field="market", value=order.market, allowed=f"a market of {provider}")
    return why_invalid(
        market,
        side=order.side,
        size=order.size,
        kind="market" if order.limit is None else "limit",
        limit=order.limit,
        tif=order.tif,
    )


def why_no_amend(
    market: Market, order: Working, size: Decimal, limit: Decimal | None
) -> str | None:
    """Why an order can't be given another total and limit, or None."""
    if (limit is None) != (order.limit is None):
        return "expected a limit price just if the order has one"
    kind: OrderKind = "market" if limit is None else "limit"
    no = why_invalid(market, side=order.side, size=size, kind=kind, limit=limit, tif=order.tif)
    if no:
        return f"{no.field}: expected {no.allowed}, was {no.value}"
    if size <= order.filled:
        return f"expected a total of more than {order.filled}, which is done, was {size}"
    return None


def end_of_day(market: Market, now_ns: int, otherwise_ns: int) -> int:
    """When an order for the day ends, UTC: with the session, or with the next one between two.

    `otherwise_ns` is for markets that are always open, or whose sessions aren't known so far.
    """
    session = session_at(market.sessions, now_ns)
    if session:
        return session.close_ns
    later = (each.close_ns for each in market.sessions or () if each.close_ns > now_ns)
    return next(later, otherwise_ns)


def exact_price(market: Market, price: float) -> Decimal | None:
    """The price on the market's grid that a float stands for; None: no order could have it."""
    if not isfinite(price) or abs(price) > LARGEST_PRICE:
        return None
    shown = Decimal(repr(price))
    step = price_step(market, shown)
    steps = _WIDE.divide(shown, step).to_integral_value(ROUND_HALF_EVEN)
    nearest = _WIDE.multiply(steps, step)
    return None if nearest <= 0 and market.asset_class in NEVER_NEGATIVE else nearest


def exact_size(market: Market, size: float) -> Decimal:
    """The whole steps of size in what a float shows."""
    shown = max(NOTHING, min(Decimal(repr(size)), LARGEST_SIZE))
    steps = _WIDE.divide(shown, market.size_tick).to_integral_value(ROUND_FLOOR)
    return _WIDE.multiply(steps, market.size_tick)


class _Shown:
    """A price that the market shows, and how much of it is left; None: as much as is wanted."""

    __slots__ = ("derived", "left", "price")

    def __init__(self, price: Decimal, left: Decimal | None, *, derived: bool) -> None:
        self.price = price
        self.left = left
        self.derived = derived

    def take(self, wanted: Decimal) -> Decimal:
        """Use up as much as there is; gives how much that is."""
        if self.left is None:
            return wanted
        taken = min(wanted, self.left)
        self.left -= taken
        return taken


class Matcher:
    """The orders of one market. It knows of no data: `join` says how they stand.

    Times come in: `boot_ns` is CLOCK_BOOTTIME, like a tick's `seen_ns`; `now_ns` is UTC, the
    market's own where its ticks run ahead of the clock.
    """

    def __init__(self, market: Market) -> None:
        self.market = market
        self.live = False
        self.next_expiry_ns: int | None = None
        """When `expire` may next have something to do, UTC."""
        self._orders: dict[str, Working] = {}
        self._sides: dict[Side, list[tuple[Decimal, int, str]]] = {"buy": [], "sell": []}
        self._new: dict[Side, dict[str, None]] = {"buy": {}, "sell": {}}
        self._best: dict[Kind, _Shown | None] = {"bid": None, "ask": None}
        self._newest: dict[Kind, tuple[Tick, _Shown | None]] = {}
        """Of each side, also while nothing is shown: joining again doesn't show a tick anew."""

    def __len__(self) -> int:
        return len(self._orders)

    def __contains__(self, oid: str) -> bool:
        return oid in self._orders

    def __getitem__(self, oid: str) -> Working:
        return self._orders[oid]

    # --- orders

    def add(self, order: Working) -> list[Outcome]:
        """Work on an order from here on; gives what came of it at once."""
        self._orders[order.oid] = order
        insort(self._sides[order.side], order.place)
        if not order.rests:
            self._new[order.side][order.oid] = None
        if order.expires_ns is not None:
            self.next_expiry_ns = min(self.next_expiry_ns or order.expires_ns, order.expires_ns)
        return self._meet(order.side)

    def remove(self, oid: str) -> Working:
        """Work on an order no longer; gives how far it came."""
        order = self._orders.pop(oid)
        side = self._sides[order.side]
        del side[bisect_left(side, order.place)]
        self._new[order.side].pop(oid, None)
        return order

    def amend(
        self, oid: str, size: Decimal, limit: Decimal | None, priority: int, boot_ns: int
    ) -> list[Outcome]:
        """Give an order a total and limit that `why_no_amend` has nothing against.

        With less of a total and the same limit it keeps its place; else `priority` is its new one,
        and with another limit it is as new.
        """
        before = self.remove(oid)
        after = replace(before, size=size, limit=limit)
        if limit != before.limit:
            after = replace(after, priority=priority, since_boot_ns=boot_ns, rests=False)
        elif size > before.size:
            after = replace(after, priority=priority)
        return self.add(after)

    def expire(self, now_ns: int) -> list[Outcome]:
        """End what has had its time."""
        if self.next_expiry_ns is None or now_ns < self.next_expiry_ns:
            return []
        ends = {oid: each.expires_ns for oid, each in self._orders.items() if each.expires_ns}
        due = [oid for oid, end_ns in ends.items() if end_ns <= now_ns]
        self.next_expiry_ns = min((end for end in ends.values() if end > now_ns), default=None)
        for oid in due:
            self.remove(oid)
        return [Ended(oid=oid, outcome="expired", reason="its day is over") for oid in due]

    # --- data

    def join(
        self, state: MarketState, last: tuple[Tick, ...], now_ns: int, boot_ns: int
    ) -> list[Outcome]:
        """The data begin, or begin again: how they stand. Of `last`, what is from before the
        market came into its state is no longer shown.
        """
        self.part()
        since_boot_ns = boot_ns - (now_ns - state.since_ns)
        for tick in timely(last):
            known, shown = self._newest.get(tick.kind, (None, None))
            if tick.time_ns < state.since_ns and tick.seen_ns < since_boot_ns:
                continue
            if tick == known:
                self._best[tick.kind] = shown
            elif tick.kind in TAKERS:
                self._show(tick)
        return self.take_state(state)

    def part(self) -> None:
        """The data broke off: nothing is filled until `join`."""
        self.live = False
        self._best = {"bid": None, "ask": None}

    def take_state(self, state: MarketState) -> list[Outcome]:
        """Follow how alive the market's data is."""
        if state.state != "live":
            if self.live:
                self.part()
            return []
        self.live = True
        return [*self._meet("buy"), *self._meet("sell")]

    def take(self, quote: Quote, now_ns: int) -> list[Outcome]:
        """What comes of a quote, tick by tick."""
        outcomes = self.expire(now_ns)
        for tick in timely(quote.ticks):
            if tick.kind in TAKERS:
                self._show(tick)
                outcomes += self._meet(TAKERS[tick.kind])
            elif tick.kind == "trade" and self.live:
                outcomes += self._print(tick)
        return outcomes

    def _show(self, tick: Tick) -> None:
        shown = self._best[tick.kind] = self._shown(tick)
        self._newest[tick.kind] = tick, shown

    def _shown(self, tick: Tick) -> _Shown | None:
        price = exact_price(self.market, tick.price)
        if price is None:
            return None
        left = None if tick.size is None else exact_size(self.market, tick.size)
        return _Shown(price, left, derived=tick.derived)

    # --- what is filled

    def _meet(self, side: Side) -> list[Outcome]:
        """Fill what trades at the other side's best price; then nothing is new on this side."""
        best = self._best[SHOWN_TO[side]]
        if not self.live or best is None:
            return []
        return [*self._cross(side, best), *self._settle(side)]

    def _cross(self, side: Side, best: _Shown) -> Iterator[Outcome]:
        queue, at = self._sides[side], _SIGN[side] * best.price
        while queue and queue[0][0] <= at and best.left != NOTHING:
            order = self._orders[queue[0][2]]
            price = order.limit if order.rests and order.limit is not None else best.price
            yield self._fill(order, price, best)

    def _settle(self, side: Side) -> Iterator[Outcome]:
        """What has now met a price: an ioc ends, a limit rests, a market order waits."""
        new, self._new[side] = self._new[side], {}
        for order in [self._orders[oid] for oid in new]:
            if order.tif == "ioc":
                self.remove(order.oid)
                yield Ended(oid=order.oid, outcome="cancelled", reason="the rest of an ioc")
            elif order.limit is not None:
                self._orders[order.oid] = replace(order, rests=True)
                yield Rests(oid=order.oid)

    def _print(self, tick: Tick) -> Iterator[Outcome]:
        """Fill what the market traded through, whatever side it is on: the furthest first."""
        shown = self._shown(tick)
        if shown is None:
            return
        for order in self._beyond(shown.price, tick.seen_ns):
            if shown.left == NOTHING:
                return
            assert order.limit is not None
            yield self._fill(order, order.limit, shown)

    def _beyond(self, price: Decimal, seen_ns: int) -> list[Working]:
        found: list[tuple[Decimal, int, str]] = []
        for side, queue in self._sides.items():
            at = _SIGN[side] * price
            reached = queue[: bisect_left(queue, (at,))]
            found += [(key - at, priority, oid) for key, priority, oid in reached]
        orders = [self._orders[oid] for _, _, oid in sorted(found)]
        return [each for each in orders if each.limit is not None and _may(each, seen_ns)]

    def _fill(self, order: Working, price: Decimal, shown: _Shown) -> Fill:
        size = shown.take(order.remaining)
        after = replace(order, filled=order.filled + size)
        if after.remaining:
            self._orders[order.oid] = after
        else:
            self.remove(order.oid)
        return Fill(oid=order.oid, size=size, price=price, derived=shown.derived)


def _may(order: Working, seen_ns: int) -> bool:
    """Whether a print can fill it: not what waits for a best price only, nor what came later."""
    return order.tif != "ioc" and order.since_boot_ns <= seen_ns
