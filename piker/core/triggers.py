"""The dark book of one market: which resting orders and alerts a tick sets off.

Each who looks (buys, sells, alerts) has two sides sorted by trigger, and a tick looks only at the
nearest of the sides that look at it: it costs the same however many rest. What was crossed while
nobody could act waits for a judgement, then for a tick that may fire it.
"""

from bisect import bisect_left, insort
from collections.abc import Iterable, Iterator
from decimal import Decimal
from fractions import Fraction
from itertools import count
from typing import Literal, NamedTuple

from msgspec import Struct

from piker.core.grid import highest_up_to, lowest_from, middle, price_step
from piker.core.sessions import Sessions, is_open
from piker.markets import Market, MarketState
from piker.orders import Order, When
from piker.quotes import Kind, Quote, Tick, timely

MAX_TICK_AGE_NS = 5_000_000_000
"""Nothing fires on an older tick."""
GAP_GRACE_NS = 60_000_000_000
"""What was crossed in a shorter unwatched time fires as if it had been watched."""
FIRST_NS = 2_000_000_000
"""So long after a market is back its first tick of a kind came there unseen: a venue may show its
sides one after another."""

Looker = Literal["buy", "sell", "alert"]

LOOKS: dict[Looker, tuple[Kind, ...]] = {
    "buy": ("ask", "trade"),
    "sell": ("bid", "trade"),
    "alert": ("trade",),
}
"""The ticks that each looks at; the first is the side that decides a direction."""
LOOKERS: dict[Kind, tuple[Looker, ...]] = {
    "bid": ("sell",),
    "ask": ("buy",),
    "trade": ("buy", "sell", "alert"),
    "dark_trade": (),
}
_SIGN: dict[When, int] = {"above": -1, "below": 1}
"""A trigger is reached where sign * trigger >= sign * price."""


class Missed(Struct, frozen=True, kw_only=True):
    """What a market showed in a stretch of time that nobody watched, a bar for example.

    `kind` is trade for bars, also for those that are made of mids.
    """

    kind: Kind
    low: float
    high: float
    until_ns: int
    """First instant after it, UTC: what was armed then or later isn't compared."""


class Rests(Struct, frozen=True, kw_only=True):
    """It rests. `when` is to be stored and given again, never recomputed."""

    oid: str
    when: When


class NoDirection(Struct, frozen=True, kw_only=True):
    """It can't be armed: no direction was given, and no such tick of the market was ever seen."""

    oid: str
    market: str
    expected: tuple[Kind, ...]


class RanOut(Struct, frozen=True, kw_only=True):
    """Its time had come before its trigger did, or before it could be armed."""

    oid: str


class Fired(Struct, frozen=True, kw_only=True):
    """Its trigger was crossed. It no longer rests."""

    oid: str
    tick: Tick
    """What it fired on. A derived one says so."""
    price: Decimal | None
    """The limit to send; None: a market order, or an alert."""
    unwatched_ns: int
    """How long nobody had watched when it was crossed; 0: it was watched."""


class HeldByGap(Struct, frozen=True, kw_only=True):
    """It was crossed while nobody watched. It no longer rests; its owner decides."""

    oid: str
    unwatched_ns: int


class CancelledByGap(Struct, frozen=True, kw_only=True):
    """It was crossed while nobody watched, and its owner wants it cancelled then."""

    oid: str
    unwatched_ns: int


Decision = Fired | HeldByGap | CancelledByGap | RanOut


class _Returned(NamedTuple):
    """When a market was watched again, after how long."""

    unwatched_ns: int = 0
    wall_ns: int = 0
    boot_ns: int = 0


class DarkBook:
    """What rests in one market.

    Times come in: `boot_ns` is CLOCK_BOOTTIME, like a tick's `seen_ns`; `wall_ns` is UTC, the
    market's own where its ticks run ahead of the clock.

    It starts unwatched. Whenever `awaits_return` is true, the market's data is live again and the
    caller finds out what was missed and says so to `returned`; until then nothing fires.
    """

    def __init__(
        self,
        market: Market,
        *,
        max_tick_age_ns: int = MAX_TICK_AGE_NS,
        gap_grace_ns: int = GAP_GRACE_NS,
    ) -> None:
        self.market = market
        self._max_tick_age_ns = max_tick_age_ns
        self._gap_grace_ns = gap_grace_ns
        self.newest: dict[Kind, Tick] = {}
        """However old. Where the market shows no trades, trade is the mid."""
        self.awaits_return = False
        self._watching = False
        self._live_since_ns: int | None = None
        self._behind_since_ns: int | None = None
        self._shown: set[Kind] = set()
        """What was shown since it was watched last."""
        self._returned = _Returned()
        self._pair: dict[Kind, Tick] = {}
        self._numbers = count()
        self._resting: dict[str, _Resting] = {}
        self._expiries = _Sorted()
        self._sides = {looker: {when: _Sorted() for when in _SIGN} for looker in LOOKS}
        self._crossed: dict[str, _Resting] = {}
        self._due: dict[Looker, dict[str, _Due]] = {looker: {} for looker in LOOKS}

    def __len__(self) -> int:
        return len(self._resting)

    @property
    def next_expiry_ns(self) -> int | None:
        """When `expire` next has something to do, UTC."""
        key = self._expiries.nearest
        return None if key is None else -int(key)

    def arm(
        self, order: Order, wall_ns: int, armed_ns: int | None = None
    ) -> Rests | NoDirection | RanOut:
        """Let an order or alert rest, instead of the one with its oid if there is one.

        `armed_ns` is when it was first armed, UTC, if that wasn't now: what the market showed
        before can't have crossed it.
        """
        self.disarm(order.oid)
        if order.expires_ns is not None and order.expires_ns <= wall_ns:
            return RanOut(oid=order.oid)
        when = order.when or self._direction(order)
        if when is None:
            expected = LOOKS[_looker(order)]
            return NoDirection(oid=order.oid, market=self.market.fqme, expected=expected)
        armed_ns = wall_ns if armed_ns is None else armed_ns
        resting = _Resting(next(self._numbers), order, when, armed_ns)
        self._resting[order.oid] = resting
        self._side(resting).add(resting.key, resting)
        if order.expires_ns is not None:
            self._expiries.add(-order.expires_ns, resting)
        return Rests(oid=order.oid, when=when)

    def disarm(self, oid: str) -> bool:
        """Take one out, as for a cancel or an amend; gives whether it rested."""
        resting = self._resting.get(oid)
        if resting is None:
            return False
        if not self._side(resting).remove(resting.key, resting):
            self._crossed.pop(oid, None)
            self._due[resting.looker].pop(oid, None)
        self._forget(resting)
        return True

    def expire(self, wall_ns: int) -> list[Decision]:
        """What ends now."""
        ended = [resting.order.oid for resting in self._expiries.reached(-wall_ns)]
        for oid in ended:
            self.disarm(oid)
        return [RanOut(oid=oid) for oid in ended]

    def take_state(self, state: MarketState) -> None:
        """Follow how alive the market's data is. A live state that began anew had a hole before."""
        live_since_ns = state.since_ns if state.state == "live" else None
        if live_since_ns is not None and live_since_ns == self._live_since_ns:
            return
        hole_unseen = live_since_ns is not None and self._live_since_ns is not None
        self._live_since_ns = live_since_ns
        self.awaits_return = live_since_ns is not None
        self._watching = False
        if hole_unseen or live_since_ns is None:
            self._shown.clear()
        if hole_unseen or state.state in ("delayed", "closed", "disconnected"):
            self._pair.clear()  # a mid never joins what came before with what comes after
        for due in self._due.values():
            self._crossed |= {oid: each.resting for oid, each in due.items()}
            due.clear()

    def take(self, quote: Quote, wall_ns: int, boot_ns: int) -> list[Decision]:
        """What a quote sets off, ticks in their order, the nearest trigger first.

        What fires is the same however quotes were joined, and whichever bids and asks were left out
        between the lowest and the highest. Only mids need every bid and ask: where the market shows
        no trades and alerts rest, watch it with `every`.
        """
        decisions = self.expire(wall_ns)
        ticks = timely(quote.ticks)
        if self.market.has_trades:
            for tick in ticks:
                decisions += self._meet(tick, boot_ns)
            return decisions
        for change in _changes(ticks):
            for tick in change:
                decisions += self._meet(tick, boot_ns)
            mid = self._mid(change)
            if mid is not None:
                decisions += self._meet(mid, boot_ns, ("alert",))
        return decisions

    def returned(
        self, unwatched_ns: int, missed: Iterable[Missed], wall_ns: int, boot_ns: int
    ) -> list[Decision]:
        """The market is watched again, after so much session time in which `missed` happened."""
        assert self._live_since_ns is not None, "expected a live market"
        decisions = self.expire(wall_ns)
        for stretch in missed:
            for price in (stretch.low, stretch.high):
                self._miss(price, LOOKERS[stretch.kind], stretch.until_ns)
        self.awaits_return = False
        self._watching = True
        if self._behind_since_ns is not None:
            unwatched_ns = max(unwatched_ns, boot_ns - self._behind_since_ns)
            self._behind_since_ns = None
        self._returned = _Returned(unwatched_ns, wall_ns, boot_ns)
        decisions += self._judge(unwatched_ns)
        for tick in sorted(self.newest.values(), key=lambda tick: -tick.seen_ns):
            if boot_ns - tick.seen_ns <= self._max_tick_age_ns:
                for looker in self._lookers(tick):
                    decisions += self._fire_due(tick, looker)
        return decisions

    def _direction(self, order: Order) -> When | None:
        for kind in LOOKS[_looker(order)]:
            if kind in self.newest:
                return "above" if _trigger(order) >= self.newest[kind].price else "below"
        return None

    def _side(self, resting: "_Resting") -> "_Sorted":
        return self._sides[resting.looker][resting.when]

    def _lookers(self, tick: Tick) -> tuple[Looker, ...]:
        """Who looks at a newest tick. A mid is looked at by alerts alone."""
        is_mid = tick.kind == "trade" and tick.derived and not self.market.has_trades
        return ("alert",) if is_mid else LOOKERS[tick.kind]

    def _forget(self, resting: "_Resting") -> None:
        del self._resting[resting.order.oid]
        if resting.order.expires_ns is not None:
            self._expiries.remove(-resting.order.expires_ns, resting)

    def _mid(self, change: tuple[Tick, ...]) -> Tick | None:
        """The mid after a change, if it changed a side and both are known."""
        sides: dict[Kind, Tick] = {t.kind: t for t in change if t.kind in ("bid", "ask")}
        self._pair |= sides
        if not sides or len(self._pair) < 2:
            return None
        bid, ask = self._pair["bid"], self._pair["ask"]
        return Tick(
            kind="trade",
            price=middle(bid.price, ask.price),
            time_ns=max(bid.time_ns, ask.time_ns),
            seen_ns=max(bid.seen_ns, ask.seen_ns),
            derived=True,
        )

    def _meet(
        self, tick: Tick, boot_ns: int, lookers: tuple[Looker, ...] | None = None
    ) -> list[Decision]:
        """What one tick sets off; one that may not set off anything is remembered as missed."""
        if lookers is None:
            lookers = LOOKERS[tick.kind]
        self.newest[tick.kind] = tick
        first = tick.kind not in self._shown
        self._shown.add(tick.kind)
        if not self._watching:
            if is_open(self.market.sessions, tick.time_ns):
                self._miss(tick.price, lookers, tick.time_ns + 1)
            return []
        if boot_ns - tick.seen_ns > self._max_tick_age_ns:
            if self._behind_since_ns is None:
                self._behind_since_ns = tick.seen_ns
            self._miss(tick.price, lookers, tick.time_ns + 1)
            return []
        decisions: list[Decision] = []
        if self._behind_since_ns is not None:
            decisions += self._judge(boot_ns - self._behind_since_ns)
            self._behind_since_ns = None
        if first and self._came_there_unseen(boot_ns):
            self._miss(tick.price, lookers, self._returned.wall_ns)
            decisions += self._judge(self._returned.unwatched_ns)
        for looker in lookers:
            decisions += self._fire_due(tick, looker)
            for when, sign in _SIGN.items():
                for resting in self._sides[looker][when].reached(sign * tick.price):
                    decisions.append(self._fire(resting, tick, 0))
        return decisions

    def _came_there_unseen(self, boot_ns: int) -> bool:
        """Whether a kind that is shown first now stood there while nobody watched for long."""
        back = self._returned
        return boot_ns - back.boot_ns <= FIRST_NS and back.unwatched_ns >= self._gap_grace_ns

    def _miss(self, price: float, lookers: tuple[Looker, ...], until_ns: int) -> None:
        """Set aside what a price crosses that was shown before `until_ns`, UTC."""
        for looker in lookers:
            for when, sign in _SIGN.items():
                side = self._sides[looker][when]
                for resting in side.reached(sign * price):
                    if resting.armed_ns < until_ns:
                        self._crossed[resting.order.oid] = resting
                    else:
                        side.add(resting.key, resting)

    def _judge(self, unwatched_ns: int) -> list[Decision]:
        """What becomes of all that was crossed while nobody watched for so long."""
        decisions: list[Decision] = []
        for oid, resting in self._crossed.items():
            fires = unwatched_ns < self._gap_grace_ns or resting.order.on_gap == "fire"
            if fires or resting.order.reduce_only:
                due = _Due(resting=resting, unwatched_ns=unwatched_ns, if_beyond=not fires)
                self._due[resting.looker][oid] = due
            else:
                decisions.append(self._give_up(resting, unwatched_ns))
        self._crossed.clear()
        return decisions

    def _fire_due(self, tick: Tick, looker: Looker) -> list[Decision]:
        """What was crossed before fires now, but for what had to be beyond its trigger still."""
        due = self._due[looker]
        if not due:
            return []
        decisions = [
            self._give_up(each.resting, each.unwatched_ns)
            if each.if_beyond and not each.resting.is_beyond(tick.price)
            else self._fire(each.resting, tick, each.unwatched_ns)
            for each in due.values()
        ]
        due.clear()
        return decisions

    def _fire(self, resting: "_Resting", tick: Tick, unwatched_ns: int) -> Decision:
        self._forget(resting)
        price = price_to_send(self.market, resting.order, tick.price)
        return Fired(oid=resting.order.oid, tick=tick, price=price, unwatched_ns=unwatched_ns)

    def _give_up(self, resting: "_Resting", unwatched_ns: int) -> Decision:
        self._forget(resting)
        oid = resting.order.oid
        if resting.order.on_gap == "cancel":
            return CancelledByGap(oid=oid, unwatched_ns=unwatched_ns)
        return HeldByGap(oid=oid, unwatched_ns=unwatched_ns)


class _Resting:
    """An order or alert, its direction, when it was first armed, UTC, and its place in line."""

    __slots__ = ("armed_ns", "key", "looker", "number", "order", "when")

    def __init__(self, number: int, order: Order, when: When, armed_ns: int) -> None:
        self.number = number
        self.order = order
        self.when = when
        self.armed_ns = armed_ns
        self.looker = _looker(order)
        self.key = _SIGN[when] * _trigger(order)

    def is_beyond(self, price: float) -> bool:
        """Whether this price crosses it."""
        return self.key >= _SIGN[self.when] * price


class _Due(Struct, frozen=True, kw_only=True):
    """What fires on the next tick that it looks at, or only if that is beyond its trigger."""

    resting: _Resting
    unwatched_ns: int
    if_beyond: bool


_Entry = tuple[float, int, _Resting]
"""Its key, its number negated, and itself: as tuples they are sorted, and no two are equal."""


class _Sorted:
    """What rests, by a key: the greatest is reached first, and of equal ones the oldest."""

    __slots__ = ("_entries",)

    def __init__(self) -> None:
        self._entries: list[_Entry] = []

    @property
    def nearest(self) -> float | None:
        """The greatest key."""
        return self._entries[-1][0] if self._entries else None

    def add(self, key: float, resting: _Resting) -> None:
        insort(self._entries, (key, -resting.number, resting))

    def remove(self, key: float, resting: _Resting) -> bool:
        """Take one out; gives whether it was here."""
        entry = (key, -resting.number, resting)
        index = bisect_left(self._entries, entry)
        if self._entries[index : index + 1] != [entry]:
            return False
        del self._entries[index]
        return True

    def reached(self, key: float) -> list[_Resting]:
        """Take out all whose keys are no smaller. Looks at one more than it gives."""
        reached: list[_Resting] = []
        entries = self._entries
        while entries and entries[-1][0] >= key:
            reached.append(entries.pop()[2])
        return reached


def price_to_send(market: Market, order: Order, price: float) -> Decimal | None:
    """The limit that an order is sent with when a tick at `price` triggers it; None: no limit.

    A buy's is `slip_ticks` past the tick, of the grid's step there, and at most `slip_max_pct` over
    the trigger, down to the market's grid. A sell's is the mirror image.
    """
    if order.kind == "alert" or order.sends == "market":
        return None
    assert order.trigger is not None
    shown, trigger = Fraction(repr(price)), Fraction(order.trigger)
    slip = order.slip_ticks * Fraction(price_step(market, shown))
    most = abs(trigger) * Fraction(order.slip_max_pct) / 100
    if order.side == "buy":
        return highest_up_to(market, min(shown + slip, trigger + most))
    return lowest_from(market, max(shown - slip, trigger - most))


def session_time_ns(sessions: Sessions, since_ns: int, until_ns: int) -> int:
    """How much of a stretch of time, UTC, the market was open for: what counts as unwatched."""
    if sessions is None:
        return max(0, until_ns - since_ns)
    return sum(
        max(0, min(session.close_ns, until_ns) - max(session.open_ns, since_ns))
        for session in sessions
    )


def _looker(order: Order) -> Looker:
    return "alert" if order.kind == "alert" else order.side


def _trigger(order: Order) -> float:
    """As ticks carry prices, so that a tick at the trigger is equal to it."""
    assert order.trigger is not None, f"expected a trigger, was {order}"
    return float(order.trigger)


def _changes(ticks: tuple[Tick, ...]) -> Iterator[tuple[Tick, ...]]:
    """Ticks that were seen at one instant, each kind at most once: one whole change each.

    So a mid is that of a message of the venue, however many of them a quote joins.
    """
    change: dict[Kind, Tick] = {}
    seen_ns = 0
    for tick in ticks:
        if change and (tick.seen_ns != seen_ns or tick.kind in change):
            yield tuple(change.values())
            change.clear()
        change[tick.kind] = tick
        seen_ns = tick.seen_ns
    if change:
        yield tuple(change.values())
