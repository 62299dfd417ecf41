"""The orders of a gateway, their executions, and the positions that follow: pure.

What happens comes back as events, in their order, for the server to tell. The book's `State` is all
that a gateway keeps over a restart.
"""

from collections.abc import Iterable, Iterator, Mapping
from copy import copy
from decimal import Decimal

from msgspec import Struct, field
from msgspec.structs import replace

from tests.fakes.gateway.catalog import Instrument
from tests.fakes.gateway.market import Market
from tests.fakes.gateway.requests import Ticket
from tests.fakes.gateway.wire import UNSET_DOUBLE, text

DONE = frozenset({"Filled", "Cancelled", "Inactive"})
FIRST_PERM_ID = 2_138_440_000


class Order(Struct, kw_only=True):
    """One order as the gateway knows it; `version` counts its modifications."""

    client_id: int
    order_id: int
    perm_id: int
    con_id: int
    exchange: str
    account: str
    ticket: Ticket
    tif: str
    status: str = "PreSubmitted"
    filled: Decimal = Decimal(0)
    paid: Decimal = Decimal(0)
    """The sum of prices times sizes."""
    last_price: Decimal = Decimal(0)
    commission: Decimal | None = None
    version: int = 0
    triggered: bool = False
    ended: str = ""
    done_ns: int = 0

    @property
    def remaining(self) -> Decimal:
        """What is still to be filled."""
        return self.ticket.size - self.filled

    @property
    def average(self) -> Decimal:
        """The average price of what was filled; 0 at first."""
        return _rounded(self.paid / self.filled) if self.filled else Decimal(0)

    @property
    def buys(self) -> bool:
        """Its side."""
        return self.ticket.action == "BUY"


class Execution(Struct, frozen=True, kw_only=True):
    """One fill. A correction repeats it with the last part of `exec_id` one higher."""

    exec_id: str
    perm_id: int
    client_id: int
    order_id: int
    con_id: int
    exchange: str
    account: str
    ref: str
    side: str
    """BOT or SLD."""
    shares: Decimal
    price: Decimal
    cumulative: Decimal
    average: Decimal
    time_ns: int
    commission: Decimal
    realized: str = UNSET_DOUBLE

    @property
    def signed(self) -> Decimal:
        """The change of the position."""
        return self.shares if self.side == "BOT" else -self.shares

    @property
    def trade(self) -> str:
        """What its corrections have in common."""
        return self.exec_id.rpartition(".")[0]


class Position(Struct, kw_only=True):
    """What an account holds of a contract; `cost` is a unit's, times the multiplier."""

    account: str
    con_id: int
    size: Decimal
    cost: Decimal


class State(Struct, kw_only=True):
    """What outlives a gateway."""

    orders: list[Order] = field(default_factory=list)
    executions: list[Execution] = field(default_factory=list)
    opening: list[Position] = field(default_factory=list)
    """Positions from before the first execution."""
    next_ids: dict[int, int] = field(default_factory=dict)
    """The next valid order id that a client is told."""
    used: dict[int, int] = field(default_factory=dict)
    """The highest order id that a client ever used."""
    next_perm_id: int = FIRST_PERM_ID
    next_execution: int = 1


class Changed(Struct, frozen=True, kw_only=True):
    """An order is as it stands here."""

    order: Order


class Filled(Struct, frozen=True, kw_only=True):
    """An order was filled, in part or whole, and then stood as here."""

    order: Order
    execution: Execution


class Cancelled(Struct, frozen=True, kw_only=True):
    """An order ended before it was filled; `code` is the error's that says so."""

    order: Order
    reason: str
    code: int = 202


class Corrected(Struct, frozen=True, kw_only=True):
    """An execution was replaced."""

    execution: Execution


Event = Changed | Filled | Cancelled | Corrected


class Book:
    """Places, fills and ends orders against markets."""

    def __init__(self, state: State, instruments: Mapping[int, Instrument]) -> None:
        self.state = state
        self.instruments = instruments

    @property
    def open_orders(self) -> list[Order]:
        """Orders that can still be filled, oldest first."""
        return [each for each in self.state.orders if each.status not in DONE]

    def find(self, client_id: int, order_id: int) -> Order | None:
        """The newest order with this id."""
        key = (client_id, order_id)
        orders = reversed(self.state.orders)
        return next((each for each in orders if (each.client_id, each.order_id) == key), None)

    def next_id(self, client_id: int) -> int:
        """The next valid order id of a client."""
        return self.state.next_ids.setdefault(client_id, 1)

    def use_id(self, client_id: int, order_id: int) -> None:
        """Remember that an id was used, whatever becomes of its order."""
        self.state.next_ids[client_id] = max(self.next_id(client_id), order_id + 1)
        self.state.used[client_id] = max(self.state.used.get(client_id, 0), order_id)

    def place(self, order: Order, market: Market, *, is_open: bool, now_ns: int) -> list[Event]:
        """Accept an order, and fill what can be filled at once."""
        order.perm_id = self.state.next_perm_id
        self.state.next_perm_id += 1
        self.state.orders.append(order)
        events: list[Event] = [Changed(order=copy(order))]
        return events + (self._work(order, market, now_ns) if is_open else [])

    def modify(
        self, order: Order, ticket: Ticket, market: Market, *, is_open: bool, now_ns: int
    ) -> list[Event]:
        """Give an order another size, limit or stop."""
        order.ticket = ticket
        order.version += 1
        if order.remaining <= 0:
            return [self._end(order, "Filled", now_ns)]
        events: list[Event] = [Changed(order=copy(order))]
        return events + (self._work(order, market, now_ns) if is_open else [])

    def cancel(
        self,
        order: Order,
        reason: str,
        now_ns: int,
        *,
        code: int = 202,
        status: str = "Cancelled",
    ) -> list[Event]:
        """End an order."""
        self._end(order, status, now_ns)
        order.ended = reason
        return [Cancelled(order=copy(order), reason=reason, code=code)]

    def match(self, market: Market, now_ns: int) -> list[Event]:
        """Fill what the market crosses, and send on what waited for its opening."""
        con_id = market.instrument.con_id
        mine = [each for each in self.open_orders if each.con_id == con_id]
        return [event for order in mine for event in self._work(order, market, now_ns)]

    def fill(self, order: Order, size: Decimal, price: Decimal, now_ns: int) -> list[Event]:
        """Fill so much of an order at a price."""
        order.filled += size
        order.paid += size * price
        order.last_price = price
        if order.remaining <= 0:
            self._end(order, "Filled", now_ns)
        elif order.status not in DONE:
            order.status = "Submitted"
        order.ended = f"Filled Size: {text(order.filled)}"
        execution = self._execution(order, size, price, now_ns)
        order.commission = (order.commission or Decimal(0)) + execution.commission
        self.state.executions.append(execution)
        return [Filled(order=copy(order), execution=execution)]

    def correct(self, exec_id: str, price: Decimal) -> list[Event]:
        """Replace an execution by one at another price, with the next number."""
        wrong = next(each for each in self.state.executions if each.exec_id == exec_id)
        newer = int(exec_id.rpartition(".")[2]) + 1
        corrected = replace(wrong, exec_id=f"{wrong.trade}.{newer:02d}", price=price)
        self.state.executions.append(corrected)
        return [Corrected(execution=corrected)]

    def positions(self) -> list[Position]:
        """What is held, also what was closed today, from the executions as corrected."""
        held = {(each.account, each.con_id): copy(each) for each in self.state.opening}
        for each in newest_executions(self.state.executions):
            found = held.setdefault(
                (each.account, each.con_id),
                Position(
                    account=each.account, con_id=each.con_id, size=Decimal(0), cost=Decimal(0)
                ),
            )
            _apply(found, each, multiplier(self.instruments[each.con_id]))
        return list(held.values())

    def _work(self, order: Order, market: Market, now_ns: int) -> list[Event]:
        if _waits_for_its_stop(order, market):
            return []
        events = list(self._filled_by(order, market, now_ns))
        if not events and order.tif not in ("IOC", "FOK") and order.status == "PreSubmitted":
            order.status = "Submitted"
            return [Changed(order=copy(order))]
        if order.status not in DONE and order.tif in ("IOC", "FOK"):
            events += self.cancel(order, "", now_ns)
        return events

    def _filled_by(self, order: Order, market: Market, now_ns: int) -> Iterator[Event]:
        limit = order.ticket.limit if "LMT" in order.ticket.kind else None
        price = market.fill_price(order.buys, limit)
        if price is None or not market.fills:
            return
        size = min(order.remaining, market.instrument.lot)
        if order.tif == "FOK" and size < order.remaining:
            return
        yield from self.fill(order, size, price, now_ns)

    def _end(self, order: Order, status: str, now_ns: int) -> Changed:
        order.status = status
        order.done_ns = now_ns
        return Changed(order=copy(order))

    def _execution(self, order: Order, size: Decimal, price: Decimal, now_ns: int) -> Execution:
        instrument = self.instruments[order.con_id]
        number = self.state.next_execution
        self.state.next_execution += 1
        side = "BOT" if order.buys else "SLD"
        return Execution(
            exec_id=f"0000e0d5.{now_ns // 10**9:08x}.{number:02x}.01",
            perm_id=order.perm_id,
            client_id=order.client_id,
            order_id=order.order_id,
            con_id=order.con_id,
            exchange=order.exchange if order.exchange != "SMART" else instrument.exchanges[-1],
            account=order.account,
            ref=order.ticket.ref,
            side=side,
            shares=size,
            price=price,
            cumulative=order.filled,
            average=order.average,
            time_ns=now_ns,
            commission=max(size * instrument.commission, Decimal(1)),
            realized=self._realized(order, instrument, size, price),
        )

    def _realized(self, order: Order, instrument: Instrument, size: Decimal, price: Decimal) -> str:
        """What a fill that closes a position gains; unset for others."""
        key = (order.account, order.con_id)
        held = {(each.account, each.con_id): each for each in self.positions()}.get(key)
        if held is None or held.size == 0 or (held.size > 0) == order.buys:
            return UNSET_DOUBLE
        closed = min(size, abs(held.size)) * (1 if held.size > 0 else -1)
        return text(_rounded((price * multiplier(instrument) - held.cost) * closed))


def newest_executions(executions: Iterable[Execution]) -> list[Execution]:
    """Each execution as its newest correction has it."""
    return list({each.trade: each for each in executions}.values())


def multiplier(instrument: Instrument) -> Decimal:
    """What a price is multiplied with."""
    return Decimal(instrument.multiplier or 1)


def _waits_for_its_stop(order: Order, market: Market) -> bool:
    stop = order.ticket.stop
    if "STP" in order.ticket.kind and stop is not None and not order.triggered:
        order.triggered = market.last >= stop if order.buys else market.last <= stop
        return not order.triggered
    return False


def _apply(held: Position, done: Execution, times: Decimal) -> None:
    """Average the cost of what a position grows by; turn it over if it crosses zero."""
    before, after = held.size, held.size + done.signed
    if before * done.signed >= 0:
        held.cost = (abs(before) * held.cost + done.shares * done.price * times) / abs(after)
    elif before * after < 0:
        held.cost = done.price * times
    held.size = after
    held.cost = _rounded(held.cost) if after else Decimal(0)


def _rounded(value: Decimal) -> Decimal:
    return Decimal(text(value.quantize(Decimal("0.00000001"))))
