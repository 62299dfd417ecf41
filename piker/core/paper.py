"""A paper venue: its orders, its executions, what it holds, and what changes them.

It decides and remembers; `drain` gives what is to be written down, and then told. An order that is
over is no longer here but only on disk.
"""

from collections.abc import Iterable, Iterator
from decimal import Decimal
from typing import Literal

from msgspec import Struct
from msgspec.structs import replace

from piker.accounts import PAPER, Account, Position
from piker.core.fees import FREE, FeeSchedule, fee
from piker.core.matching import (
    Ended,
    Fill,
    Matcher,
    Outcome,
    Working,
    end_of_day,
    why_no_amend,
)
from piker.core.positions import position_of
from piker.interfaces.broker import Amend, Cancel, EndedOrder, Holding, OpenOrder, Place, Told
from piker.interfaces.data import Watched
from piker.markets import Market, MarketState
from piker.orders import (
    NOTHING,
    Acked,
    AmendAcked,
    AmendRefused,
    BrokerEvent,
    Cancelled,
    CancelRefused,
    Execution,
    Filled,
    VenueExpired,
)
from piker.quotes import Quote

Outcomes = Literal["filled", "cancelled", "expired"]


class PaperOrder(Struct, frozen=True, kw_only=True):
    """An order as it is written down."""

    number: int
    """Counts all orders, from 1."""
    venue_id: str
    market: str
    asked_size: Decimal
    """As it was placed, like `asked_limit`."""
    asked_limit: Decimal | None
    working: Working
    notional: Decimal = NOTHING
    """Of what is filled: size times price times multiplier."""
    amended: int = 0
    """The newest amendment in effect."""
    outcome: Outcomes | None = None
    """None: open."""
    reason: str = ""

    @property
    def oid(self) -> str:
        """Order reference."""
        return self.working.oid

    def is_of(self, call: Place) -> bool:
        """Whether it is what this call asks for."""
        asked = (call.market, call.side, call.size, call.limit, call.tif)
        mine = (self.market, self.working.side, self.asked_size, self.asked_limit, self.working.tif)
        return asked == mine


class Saved(Struct, frozen=True, kw_only=True):
    """What there is to go on from."""

    tag: str
    """Of this account's file: no other one's executions have it in their ids."""
    orders: tuple[PaperOrder, ...] = ()
    """Those that are open."""
    markets: tuple[Market, ...] = ()
    """At least theirs."""
    positions: tuple[Position, ...] = ()
    last_order: int = 0
    """The greatest number of an order, or priority of an open one."""
    last_execution: int = 0
    """The number of executions."""
    newest_ns: int = 0
    """When anything was last recorded, UTC."""


class Change(Struct, frozen=True, kw_only=True):
    """What is to be written down, all of it or nothing, and then told."""

    time_ns: int
    """UTC; that of its last execution if it has any."""
    orders: tuple[PaperOrder, ...]
    executions: tuple[Execution, ...]
    positions: tuple[Position, ...]
    markets: tuple[Market, ...]
    told: tuple[Told, ...]


class PaperVenue:
    """What clears the paper orders of one provider's markets.

    `wall_ns` is UTC, `boot_ns` CLOCK_BOOTTIME. With `runs_ahead` a market's time is that of its
    newest tick.
    """

    def __init__(
        self,
        provider: str,
        saved: Saved,
        schedule: FeeSchedule = FREE,
        *,
        runs_ahead: bool = False,
    ) -> None:
        self.account = str(Account(provider, PAPER))
        self.orders: dict[str, PaperOrder] = {}
        """Those that are open, by oid."""
        self.markets = {market.fqme: market for market in saved.markets}
        self.positions = {each.market: each for each in saved.positions}
        self._schedule = schedule
        self._runs_ahead = runs_ahead
        self._tag = saved.tag
        self._last_order = saved.last_order
        self._last_execution = saved.last_execution
        self._newest_ns = saved.newest_ns
        self._oids: dict[str, str] = {}
        self._ahead_ns: dict[str, int] = {}
        self._matchers: dict[str, Matcher] = {}
        self._touched: dict[str, PaperOrder] = {}
        self._executions: list[Execution] = []
        self._moved: set[str] = set()
        self._told: list[Told] = []
        for order in saved.orders:
            self._restore(order)
        self._saved_markets = dict(self.markets)

    @property
    def working(self) -> dict[str, int]:
        """How many orders are worked on, by market; only where some are."""
        return {fqme: len(each) for fqme, each in self._matchers.items() if len(each)}

    def now_ns(self, fqme: str, wall_ns: int) -> int:
        """What time it is in a market."""
        return max(wall_ns, self._ahead_ns.get(fqme, 0))

    # --- orders

    def place(self, call: Place, wall_ns: int, boot_ns: int, day_ends_ns: int) -> None:
        """Take an order that `check` has nothing against, in a market that is known here.

        `day_ends_ns`: when one for the day ends where the market's sessions don't say it.
        """
        number = self._next()
        ends_ns: int | None = None
        if call.tif == "day":
            now_ns = self.now_ns(call.market, wall_ns)
            ends_ns = end_of_day(self.markets[call.market], now_ns, day_ends_ns)
        working = Working(
            oid=call.oid,
            side=call.side,
            size=call.size,
            limit=call.limit,
            tif=call.tif,
            priority=number,
            since_boot_ns=boot_ns,
            expires_ns=ends_ns,
        )
        order = PaperOrder(
            number=number,
            venue_id=f"O-{self._tag}-{number}",
            market=call.market,
            asked_size=call.size,
            asked_limit=call.limit,
            working=working,
        )
        self._oids[order.venue_id] = order.oid
        self._tell(order, Acked(venue_id=order.venue_id))
        self._took(call.market, self._matcher(call.market).add(working), wall_ns)

    def amend(self, call: Amend, wall_ns: int, boot_ns: int) -> None:
        """Give an order another total and limit, or say why not."""
        order = self.orders.get(call.oid)
        no = self._why_no_amend(order, call)
        if order is None or no:
            self._told.append(Told(oid=call.oid, event=AmendRefused(n=call.n, reason=no)))
            return
        matcher = self._matchers[order.market]
        outcomes = matcher.amend(call.oid, call.size, call.limit, self._next(), boot_ns)
        working = replace(order.working, size=call.size, limit=call.limit)
        order = self.orders[call.oid] = replace(order, working=working, amended=call.n)
        self._tell(order, AmendAcked(n=call.n, size=call.size, limit=call.limit))
        self._took(order.market, outcomes, wall_ns)

    def cancel(self, call: Cancel) -> None:
        """Cancel an order, or say why not."""
        named = {call.oid, *(self._oids.get(each, "") for each in call.venue_ids)}
        asked = [self.orders[oid] for oid in sorted(named) if oid in self.orders]
        for order in asked:
            self._cancel(order, "as asked")
        if not asked:
            self._told.append(Told(oid=call.oid, event=CancelRefused(reason="it is not open")))

    def cancel_all(self) -> tuple[str, ...]:
        """Cancel what is open; gives the ids of it."""
        asked = list(self.orders.values())
        for order in asked:
            self._cancel(order, "all were asked to be cancelled")
        return tuple(order.venue_id for order in asked)

    def expire(self, wall_ns: int) -> None:
        """End what has had its time."""
        for fqme, matcher in self._matchers.items():
            self._took(fqme, matcher.expire(self.now_ns(fqme, wall_ns)), wall_ns)

    # --- data

    def learn(self, market: Market) -> None:
        """What a market is, as its datad says now."""
        self.markets[market.fqme] = market
        if market.fqme in self._matchers:
            self._matchers[market.fqme].market = market

    def join(self, watched: Watched, wall_ns: int, boot_ns: int) -> None:
        """A market's data begin, or begin again."""
        fqme = watched.market.fqme
        self.learn(watched.market)
        self._note_time(fqme, [tick.time_ns for tick in watched.last])
        now_ns = self.now_ns(fqme, wall_ns)
        matcher = self._matcher(fqme)
        self._took(fqme, matcher.expire(now_ns), wall_ns)
        self._took(fqme, matcher.join(watched.state, watched.last, now_ns, boot_ns), wall_ns)

    def part(self, fqme: str) -> None:
        """A market's data broke off."""
        if fqme in self._matchers:
            self._matchers[fqme].part()

    def take_state(self, state: MarketState, wall_ns: int) -> None:
        """Follow how alive a market's data is."""
        matcher = self._matcher(state.market)
        self._took(state.market, matcher.expire(self.now_ns(state.market, wall_ns)), wall_ns)
        self._took(state.market, matcher.take_state(state), wall_ns)

    def take(self, quote: Quote, wall_ns: int) -> None:
        """Clear what a quote fills."""
        self._note_time(quote.market, [tick.time_ns for tick in quote.ticks])
        now_ns = self.now_ns(quote.market, wall_ns)
        self._took(quote.market, self._matcher(quote.market).take(quote, now_ns), wall_ns)

    # --- what there is to say

    def drain(self, wall_ns: int) -> Change | None:
        """What has changed since it was last asked, if anything has."""
        if not (self._touched or self._told):
            return None
        markets = {order.market for order in self._touched.values()}
        new = [self.markets[each] for each in markets if self._is_news(each)]
        done_ns = self._newest_ns if self._executions else self._stamp(wall_ns)
        change = Change(
            time_ns=done_ns,
            orders=tuple(map(self._as_it_is, self._touched.values())),
            executions=tuple(self._executions),
            positions=tuple(self.positions[fqme] for fqme in sorted(self._moved)),
            markets=tuple(new),
            told=tuple(self._told),
        )
        self._saved_markets |= {market.fqme: market for market in new}
        self._touched, self._executions, self._told = {}, [], []
        self._moved = set()
        return change

    def open_orders(self) -> tuple[OpenOrder, ...]:
        """All that are open."""
        return tuple(map(self._listed, self.orders.values()))

    def holdings(self) -> tuple[Holding, ...]:
        """All that aren't flat."""
        return tuple(
            Holding(
                account=self.account,
                market=each.market,
                size=each.size,
                average_price=each.average_price,
            )
            for each in self.positions.values()
            if each.size
        )

    # --- how it comes about

    def _restore(self, order: PaperOrder) -> None:
        """Any tick that will be taken is younger than it; the clock may have begun anew since."""
        working = replace(order.working, since_boot_ns=0)
        self.orders[order.oid] = replace(order, working=working)
        self._oids[order.venue_id] = order.oid
        self._matcher(order.market).add(working)

    def _matcher(self, fqme: str) -> Matcher:
        if fqme not in self._matchers:
            self._matchers[fqme] = Matcher(self.markets[fqme])
        return self._matchers[fqme]

    def _next(self) -> int:
        self._last_order += 1
        return self._last_order

    def _note_time(self, fqme: str, times_ns: Iterable[int]) -> None:
        if self._runs_ahead:
            self._ahead_ns[fqme] = max(self._ahead_ns.get(fqme, 0), *times_ns, 0)

    def _stamp(self, wall_ns: int) -> int:
        """Now, and never before what was recorded: who asks what came since misses nothing."""
        self._newest_ns = max(self._newest_ns, wall_ns)
        return self._newest_ns

    def _is_news(self, fqme: str) -> bool:
        return self._saved_markets.get(fqme) != self.markets[fqme]

    def _as_it_is(self, order: PaperOrder) -> PaperOrder:
        """With how far the matcher has come with it, if it is still there."""
        if order.outcome:
            return order
        working = self._matchers[order.market][order.oid]
        now = self.orders[order.oid] = replace(order, working=working)
        return now

    def _why_no_amend(self, order: PaperOrder | None, call: Amend) -> str:
        if order is None:
            return "it is not open"
        if call.n <= order.amended:
            return f"expected an amendment after {order.amended}, was {call.n}"
        market = self.markets[order.market]
        working = self._matchers[order.market][order.oid]
        return why_no_amend(market, working, call.size, call.limit) or ""

    def _cancel(self, order: PaperOrder, reason: str) -> None:
        working = self._matchers[order.market].remove(order.oid)
        ended = Ended(oid=order.oid, outcome="cancelled", reason=reason)
        self._end(replace(order, working=working), ended)

    def _took(self, fqme: str, outcomes: Iterable[Outcome], wall_ns: int) -> None:
        for outcome in outcomes:
            order = self.orders[outcome.oid]
            if isinstance(outcome, Fill):
                self._fill(order, outcome, self.markets[fqme], self._stamp(wall_ns))
            elif isinstance(outcome, Ended):
                self._end(order, outcome)
            else:
                self._touch(order)

    def _fill(self, order: PaperOrder, fill: Fill, market: Market, time_ns: int) -> None:
        filled = order.working.filled + fill.size
        notional = order.notional + fill.size * fill.price * market.multiplier
        paid = fee(self._schedule, order.working.filled, order.notional)
        self._last_execution += 1
        execution = Execution(
            exec_id=f"P-{self._tag}-{self._last_execution}",
            oid=order.oid,
            venue_id=order.venue_id,
            account=self.account,
            market=order.market,
            side=order.working.side,
            size=fill.size,
            price=fill.price,
            fee=fee(self._schedule, filled, notional) - paid,
            fee_currency=market.currency,
            time_ns=time_ns,
            derived=fill.derived,
        )
        working = replace(order.working, filled=filled)
        order = replace(order, working=working, notional=notional)
        self._hold(market, execution)
        self._executions.append(execution)
        self._tell(order, Filled(execution=execution))
        if not order.working.remaining:
            self._close(replace(order, outcome="filled"))

    def _hold(self, market: Market, execution: Execution) -> None:
        flat = Position(
            account=self.account,
            market=market.fqme,
            currency=market.currency,
            multiplier=market.multiplier,
        )
        before = self.positions.get(market.fqme, flat)
        self.positions[market.fqme] = position_of(before, (execution,))
        self._moved.add(market.fqme)

    def _end(self, order: PaperOrder, ended: Ended) -> None:
        event: BrokerEvent = VenueExpired(venue_id=order.venue_id)
        if ended.outcome == "cancelled":
            event = Cancelled(venue_id=order.venue_id, reason=ended.reason)
        self._tell(order, event)
        self._close(replace(order, outcome=ended.outcome, reason=ended.reason))

    def _tell(self, order: PaperOrder, event: BrokerEvent) -> None:
        self._touch(order)
        self._told.append(Told(oid=order.oid, event=event))

    def _touch(self, order: PaperOrder) -> None:
        self.orders[order.oid] = self._touched[order.oid] = order

    def _close(self, order: PaperOrder) -> None:
        self._touched[order.oid] = order
        del self.orders[order.oid], self._oids[order.venue_id]

    def _listed(self, order: PaperOrder) -> OpenOrder:
        working = self._matchers[order.market][order.oid]
        return OpenOrder(
            oid=order.oid,
            venue_id=order.venue_id,
            account=self.account,
            market=order.market,
            side=working.side,
            size=working.size,
            filled=working.filled,
            limit=working.limit,
        )


def retold(order: PaperOrder, executions: Iterable[Execution]) -> Iterator[Told]:
    """What was told of an order, for who asks for it again."""
    events: list[BrokerEvent] = [Acked(venue_id=order.venue_id)]
    events += [Filled(execution=each) for each in executions]
    if order.outcome == "cancelled":
        events.append(Cancelled(venue_id=order.venue_id, reason=order.reason))
    if order.outcome == "expired":
        events.append(VenueExpired(venue_id=order.venue_id))
    return (Told(oid=order.oid, event=event) for event in events)


def ended_order(order: PaperOrder) -> EndedOrder:
    """How an order ended that did."""
    assert order.outcome, f"expected one that is over, was {order}"
    return EndedOrder(
        oid=order.oid, venue_id=order.venue_id, outcome=order.outcome, reason=order.reason
    )
