"""The simulated venue's book: what happens to orders, and what is said of it. No clock, no disk.

One price a market: what is marketable trades at it, up to the depth, the rest waits for the next
price. Whatever has changed stands in `unsaved` until it is on disk; nothing is said before.
"""

from collections.abc import Callable, Iterator
from decimal import Decimal

from msgspec import Struct
from msgspec.structs import replace

from piker.brokers.sim.tradewire import (
    Accepted,
    BookIs,
    CancelOrder,
    Ended,
    EndOutcome,
    Event,
    Held,
    NewOrder,
    NotCancelled,
    Rejected,
    Replace,
    Replaced,
    ReplaceRefused,
    Resting,
    Trade,
)
from piker.brokers.sim.wire import describe
from piker.core.orderchecks import why_invalid
from piker.errors import say
from piker.orders import NOTHING, Side, Tif

FEE = Decimal("0.01")
"""For a unit, in dollars."""


class VenueOrder(Struct, frozen=True, kw_only=True, tag=True):
    """An order and what came of it. `number` is the book's own, and is never given twice."""

    number: int
    order_id: str
    ref: str
    account: str
    market: str
    side: Side
    size: Decimal
    limit: Decimal | None
    tif: Tif
    filled: Decimal = NOTHING
    outcome: EndOutcome | None = None
    reason: str = ""
    ended_ns: int = 0


class Facts(Struct, frozen=True, kw_only=True, tag=True):
    """What else the venue remembers."""

    orders: int = 0
    """Number of orders so far."""
    order_id: int = 0
    """The newest id; may be rolled back, and is then given again."""
    executions: int = 0
    absence_proves: bool = True
    renames: bool = False
    """An order that is replaced gets a new id."""
    depth: Decimal | None = None
    """Most of an order that trades at one price; None: all."""
    moved: dict[str, Decimal] = {}
    """What was put into accounts without a trade, by "account market"."""
    prices: dict[str, Decimal] = {}
    """Prices that were set, by market."""


Kept = VenueOrder | Trade | Facts


class Book:
    """All orders and trades that ever were."""

    def __init__(
        self, accounts: tuple[str, ...], first_price: Callable[[str], Decimal | None]
    ) -> None:
        self.accounts = accounts
        self.facts = Facts()
        self.orders: dict[int, VenueOrder] = {}
        self.trades: dict[str, Trade] = {}
        self.prices: dict[str, Decimal] = {}
        self.unsaved: list[Kept] = []
        self._first_price = first_price
        self._open: dict[int, VenueOrder] = {}

    def load(self, kept: Kept) -> None:
        """Take what was kept, as it was saved, oldest first."""
        match kept:
            case VenueOrder():
                self._put(kept)
            case Trade():
                self.trades[kept.exec_id] = kept
            case Facts():
                self.facts = kept
                self.prices.update(kept.prices)

    # --- what traders ask

    def take(self, asked: NewOrder, now_ns: int) -> Iterator[Event]:
        """An order comes in. One without a reference is none of ours."""
        reason = self._why_not(asked)
        facts = self.facts
        self._note(replace(facts, orders=facts.orders + 1, order_id=facts.order_id + 1))
        order = VenueOrder(
            number=self.facts.orders,
            order_id=str(self.facts.order_id),
            **{name: getattr(asked, name) for name in asked.__struct_fields__},
        )
        if reason:
            self._save(replace(order, outcome="rejected", reason=reason, ended_ns=now_ns))
            yield Rejected(ref=order.ref, reason=reason)
            return
        self._save(order)
        yield Accepted(ref=order.ref, order_id=order.order_id)
        yield from self._match(order, now_ns)
        if asked.tif == "ioc":
            yield from self._end_open(order.number, "cancelled", "nothing more to fill", now_ns)

    def replace(self, asked: Replace, now_ns: int) -> Iterator[Event]:
        """Another total or limit."""
        reason = "not an open order"
        for order in reversed(self._open_by_ref(asked.ref)):
            reason = self._why_not_so(order, asked)
            if not reason:
                yield from self._replace(order, asked, now_ns)
                return
            break
        yield ReplaceRefused(ref=asked.ref, number=asked.number, reason=reason)

    def cancel(self, asked: CancelOrder, now_ns: int) -> Iterator[Event]:
        """By reference, and by ids of what has no reference: another's may have the same id."""
        found = self._open_by_ref(asked.ref) if asked.ref else []
        found += [
            order
            for order in self._open.values()
            if order.order_id in asked.order_ids and not order.ref
        ]
        for order in found:
            yield from self._end(order, "cancelled", "", now_ns)
        if not found:
            yield NotCancelled(ref=asked.ref, reason="not an open order")

    def to_cancel(self, *, ours: bool, account: str | None) -> list[VenueOrder]:
        """What a cancel of all means."""
        return [
            order
            for order in self._open.values()
            if (order.ref or not ours) and account in (None, order.account)
        ]

    def cancel_these(self, orders: list[VenueOrder], now_ns: int) -> Iterator[Event]:
        """Cancel orders that are open."""
        for order in orders:
            yield from self._end(order, "cancelled", "", now_ns)

    def show(self, asked: int, since_ns: int) -> BookIs:
        """All that is there."""
        trades = [each for each in self.trades.values() if each.time_ns >= since_ns]
        ended = [each for each in self.orders.values() if each.outcome]
        return BookIs(
            asked=asked,
            orders=tuple(_resting(each) for each in self._open.values()),
            ended=tuple(_ended(each) for each in ended if each.ended_ns >= since_ns),
            trades=tuple(sorted(trades, key=lambda trade: (trade.time_ns, trade.exec_id))),
            holdings=tuple(self._holdings()),
        )

    # --- what happens in the market

    @property
    def wanted(self) -> set[str]:
        """Markets in which an order is open."""
        return {order.market for order in self._open.values()}

    def price(self, market: str) -> Decimal | None:
        """The price of a market; None: there is no such market."""
        return self.prices.get(market) or self._first_price(market)

    def move(self, market: str, price: Decimal, now_ns: int) -> Iterator[Event]:
        """A market has a price: what is marketable trades, oldest first."""
        self.prices[market] = price
        for order in [each for each in self._open.values() if each.market == market]:
            yield from self._match(order, now_ns)

    def keep_price(self, market: str) -> None:
        """Have a price outlive the venue's process."""
        prices = {**self.facts.prices, market: self.prices[market]}
        self._note(replace(self.facts, prices=prices))

    def end_day(self, now_ns: int) -> Iterator[Event]:
        """Day orders expire."""
        for order in [each for each in self._open.values() if each.tif == "day"]:
            yield from self._end(order, "expired", "", now_ns)

    # --- what a venue does that it shouldn't

    def know(self, **changed: object) -> None:
        """Have another fact hold."""
        self._note(replace(self.facts, **changed))

    def hold(self, account: str, market: str, size: Decimal) -> None:
        """Put into an account what makes it hold so much, without a trade."""
        held = {(each.account, each.market): each.size for each in self._holdings()}
        key = f"{account} {market}"
        more = size - held.get((account, market), NOTHING)
        moved = {**self.facts.moved, key: self.facts.moved.get(key, NOTHING) + more}
        self._note(replace(self.facts, moved=moved))

    def correct(
        self, exec_id: str, size: Decimal | None, price: Decimal | None, now_ns: int
    ) -> Iterator[Event]:
        """Say that a trade was another one."""
        before = self.trades[exec_id]
        after = replace(
            before,
            revision=before.revision + 1,
            size=before.size if size is None else size,
            price=before.price if price is None else price,
        )
        order = self._of(before)
        self._save(replace(order, filled=order.filled + after.size - before.size))
        self._keep_trade(after)
        yield after
        yield from self._end_if_whole(order.number, now_ns)

    def fill_anyway(self, ref: str, size: Decimal, price: Decimal, now_ns: int) -> Iterator[Event]:
        """Fill the newest order of a reference, whatever became of it."""
        orders = [each for each in self.orders.values() if each.ref == ref]
        yield from self._trade(max(orders, key=lambda order: order.number), size, price, now_ns)

    # --- how it is done

    def _match(self, order: VenueOrder, now_ns: int) -> Iterator[Event]:
        price = self.price(order.market)
        if price is None or not _marketable(order, price):
            return
        size = order.size - order.filled
        if self.facts.depth is not None:
            size = min(size, self.facts.depth)
        yield from self._trade(order, size, price, now_ns)

    def _end_if_whole(self, number: int, now_ns: int) -> Iterator[Event]:
        order = self.orders[number]
        if not order.outcome and order.filled >= order.size:
            yield from self._end(order, "filled", "", now_ns)

    def _trade(
        self, order: VenueOrder, size: Decimal, price: Decimal, now_ns: int
    ) -> Iterator[Event]:
        self._note(replace(self.facts, executions=self.facts.executions + 1))
        self._save(replace(order, filled=order.filled + size))
        trade = Trade(
            exec_id=f"x{self.facts.executions}",
            revision=0,
            ref=order.ref,
            order_id=order.order_id,
            account=order.account,
            market=order.market,
            side=order.side,
            size=size,
            price=price,
            fee=FEE * size,
            time_ns=now_ns,
        )
        self._keep_trade(trade)
        yield trade
        yield from self._end_if_whole(order.number, now_ns)

    def _replace(self, order: VenueOrder, asked: Replace, now_ns: int) -> Iterator[Event]:
        order_id = ""
        if self.facts.renames:
            self._note(replace(self.facts, order_id=self.facts.order_id + 1))
            order_id = str(self.facts.order_id)
        order = replace(
            order, size=asked.size, limit=asked.limit, order_id=order_id or order.order_id
        )
        self._save(order)
        yield Replaced(
            ref=order.ref,
            number=asked.number,
            size=order.size,
            limit=order.limit,
            order_id=order_id,
        )
        yield from self._match(order, now_ns)

    def _end_open(
        self, number: int, outcome: EndOutcome, reason: str, now_ns: int
    ) -> Iterator[Event]:
        if number in self._open:
            yield from self._end(self._open[number], outcome, reason, now_ns)

    def _end(
        self, order: VenueOrder, outcome: EndOutcome, reason: str, now_ns: int
    ) -> Iterator[Event]:
        ended = replace(order, outcome=outcome, reason=reason, ended_ns=now_ns)
        self._save(ended)
        yield _ended(ended)

    def _why_not(self, asked: NewOrder) -> str:
        if asked.account not in self.accounts:
            return f"expected account {' or '.join(self.accounts)}, was {asked.account}"
        if self.price(asked.market) is None:
            return f"expected a market of this venue, was {asked.market}"
        return _why_invalid(asked.market, asked.side, asked.size, asked.limit)

    def _why_not_so(self, order: VenueOrder, asked: Replace) -> str:
        if asked.size <= order.filled:
            return f"expected a total above {order.filled}, which is done, was {asked.size}"
        return _why_invalid(order.market, order.side, asked.size, asked.limit)

    def _open_by_ref(self, ref: str) -> list[VenueOrder]:
        return [order for order in self._open.values() if order.ref == ref]

    def _of(self, trade: Trade) -> VenueOrder:
        """The order of a trade; of those that had this id and reference, the newest."""
        return max(
            (each for each in self.orders.values() if each.ref == trade.ref),
            key=lambda order: (order.order_id == trade.order_id, order.number),
        )

    def _holdings(self) -> Iterator[Held]:
        held = {tuple(key.split(" ")): size for key, size in self.facts.moved.items()}
        for trade in self.trades.values():
            key = (trade.account, trade.market)
            signed = trade.size if trade.side == "buy" else -trade.size
            held[key] = held.get(key, NOTHING) + signed
        for (account, market), size in held.items():
            if size:
                yield Held(account=account, market=market, size=size)

    def _put(self, order: VenueOrder) -> None:
        self.orders[order.number] = order
        if order.outcome:
            self._open.pop(order.number, None)
        else:
            self._open[order.number] = order

    def _save(self, order: VenueOrder) -> None:
        self._put(order)
        self.unsaved.append(order)

    def _keep_trade(self, trade: Trade) -> None:
        self.trades[trade.exec_id] = trade
        self.unsaved.append(trade)

    def _note(self, facts: Facts) -> None:
        self.facts = facts
        self.unsaved.append(facts)


def _marketable(order: VenueOrder, price: Decimal) -> bool:
    if order.limit is None:
        return True
    return order.limit >= price if order.side == "buy" else order.limit <= price


def _why_invalid(market: str, side: Side, size: Decimal, limit: Decimal | None) -> str:
    fault = why_invalid(
        describe(market),
        side=side,
        size=size,
        kind="market" if limit is None else "limit",
        limit=limit,
    )
    return say(fault) if fault else ""


def _resting(order: VenueOrder) -> Resting:
    return Resting(**{name: getattr(order, name) for name in Resting.__struct_fields__})


def _ended(order: VenueOrder) -> Ended:
    assert order.outcome
    return Ended(ref=order.ref, order_id=order.order_id, outcome=order.outcome, reason=order.reason)
