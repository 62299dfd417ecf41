"""Serves a gateway on a TCP port of 127.0.0.1 or a Unix socket, and does what tests want done.

nursery of `serving`
├── _serve: from `Start` to `Stop`: accepts clients
│   └── one Session.run a client
├── _walk: markets move by themselves, if that is set
└── Gateway.repeat_lost, while servers are lost
"""

import os
import socket
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import asynccontextmanager
from decimal import Decimal

import trio
from msgspec import Struct

from tests.fakes.gateway import actions, answers, faults
from tests.fakes.gateway.actions import Action
from tests.fakes.gateway.book import Execution, Order, Position
from tests.fakes.gateway.catalog import Instrument
from tests.fakes.gateway.gateway import LOST, LOST_TEXT, Gateway, Settings
from tests.fakes.gateway.requests import (
    PlaceOrder,
    Query,
    ReqHistoricalData,
    ReqMktData,
    Request,
    Ticket,
)
from tests.fakes.gateway.rules import Breach
from tests.fakes.gateway.session import Session
from tests.fakes.gateway.ticks import Stream, trades

BACKLOG = 64
DATA_LOST = 1101
FLOOD = 100
"""Trades of each market that are sent at once."""
KEPT_ENDED = "Failed to request live updates (disconnected)."
RESTORED = {
    1101: "Connectivity between IBKR and Trader Workstation has been restored - data lost.",
    1102: "Connectivity between IBKR and Trader Workstation has been restored - data maintained.",
}
FARM_TEXTS = {
    2103: "Market data farm connection is broken:{}",
    2104: "Market data farm connection is OK:{}",
    2105: "HMDS data farm connection is broken:{}",
    2106: "HMDS data farm connection is OK:{}",
    2107: "HMDS data farm connection is inactive but should be available upon demand.{}",
    2108: "Market data farm connection is inactive but should be available upon demand.{}",
    2119: "Market data farm is connecting:{}",
    2157: "Sec-def data farm connection is broken:{}",
    2158: "Sec-def data farm connection is OK:{}",
}
FARM_DOWN, FARM_UP = (2103, 2105, 2157), (2104, 2106, 2158)


class ShownOrder(Struct, frozen=True, kw_only=True):
    """An order as it stands."""

    client_id: int
    order_id: int
    perm_id: int
    ref: str
    market: str
    action: str
    size: Decimal
    limit: Decimal | None
    status: str
    filled: Decimal


class Shown(Struct, frozen=True, kw_only=True):
    """How things are at a gateway."""

    address: str
    clients: tuple[int, ...]
    breaches: tuple[Breach, ...]
    heard: dict[str, int]
    """How often each request was heard."""
    placed: tuple[str, ...]
    """The orderRef of each PlaceOrder that was heard, modifications too."""
    orders: tuple[ShownOrder, ...]
    """All that were ever placed, oldest first."""
    executions: tuple[Execution, ...]
    positions: dict[str, Decimal]
    """Sizes by local symbol."""


class Served(Gateway):
    """A gateway with an address, and with what a test does to it."""

    def __init__(self, settings: Settings, path: str, port: int) -> None:
        super().__init__(settings)
        self.path = path
        self.port = port
        self._serving = trio.CancelScope()
        self._stopped = trio.Event()
        self._losing = trio.CancelScope()

    @property
    def address(self) -> str:
        """As configuration names it: ``tcp:127.0.0.1:4002`` or ``unix:/path``."""
        return f"unix:{self.path}" if self.path else f"tcp:127.0.0.1:{self.port}"

    async def do(self, action: Action) -> None:
        """Make something happen; when this returns it has, and what follows was said."""
        match action:
            case actions.Stop():
                await self._stop(action)
            case actions.Start():
                await self.start()
            case actions.Flood():
                await self._flood(action)
            case _:
                self._do(action)

    def show(self) -> Shown:
        """How things are."""
        names = [type(each.request).__name__ for each in self.heard]
        return Shown(
            address=self.address,
            clients=tuple(each.client_id for each in self.sessions),
            breaches=tuple(self.breaches),
            heard=dict(sorted(Counter(names).items())),
            placed=tuple(_refs(each.request for each in self.heard)),
            orders=tuple(self._shown(each) for each in self.book.state.orders),
            executions=tuple(self.book.state.executions),
            positions={
                self.instruments[each.con_id].local_symbol: each.size
                for each in self.book.positions()
            },
        )

    def _shown(self, order: Order) -> ShownOrder:
        return ShownOrder(
            client_id=order.client_id,
            order_id=order.order_id,
            perm_id=order.perm_id,
            ref=order.ticket.ref,
            market=self.instruments[order.con_id].local_symbol,
            action=order.ticket.action,
            size=order.ticket.size,
            limit=order.ticket.limit,
            status=order.status,
            filled=order.filled,
        )

    def order(self, name: str) -> Order:
        """The newest order with an orderRef, or with CLIENT:ORDERID."""
        orders = reversed(self.book.state.orders)
        found = [e for e in orders if name in (e.ticket.ref, f"{e.client_id}:{e.order_id}")]
        assert found, f"expected an order that the gateway has, was {name!r}"
        return found[0]

    async def start(self) -> None:
        """Listen, and accept clients."""
        self._stopped = trio.Event()
        self._serving = trio.CancelScope()
        listener = trio.SocketListener(self._bound())
        self.nursery.start_soon(self._serve, listener, self._serving, self._stopped)

    async def _stop(self, action: actions.Stop) -> None:
        self._serving.cancel()
        await self._stopped.wait()
        self._losing.cancel()
        self.lost = False
        if action.roll_back_ids:
            self.book.state.next_ids.clear()
        self.save()

    def _bound(self) -> trio.socket.SocketType:
        family = socket.AF_UNIX if self.path else socket.AF_INET
        bound = socket.socket(family, socket.SOCK_STREAM)
        if self.path and os.path.exists(self.path):
            os.unlink(self.path)
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind(self.path or ("127.0.0.1", self.port))
        bound.listen(BACKLOG)
        self.port = 0 if self.path else bound.getsockname()[1]
        return trio.socket.from_stdlib_socket(bound)

    async def _serve(
        self, listener: trio.SocketListener, scope: trio.CancelScope, stopped: trio.Event
    ) -> None:
        with scope:
            await trio.serve_listeners(self._attend, [listener])
        await trio.aclose_forcefully(listener)
        stopped.set()

    async def _attend(self, stream: trio.SocketStream) -> None:
        session = Session(self, stream)
        self.sessions.append(session)
        try:
            await session.run()
        finally:
            self.sessions.remove(session)

    async def walk_for_ever(self, every_s: float) -> None:
        """Move markets again and again."""
        while True:
            await trio.sleep(every_s)
            self.walk()

    def _do(self, action: Action) -> None:
        match action:
            case actions.SetFault(fault=fault):
                self.faults.set(fault)
            case actions.ClearFaults():
                self.faults.clear()
            case actions.Cut():
                self._cut(action)
            case actions.Notice():
                about = (action.req_id, action.client_id)
                self.notice(action.code, action.text, req_id=about[0], client_id=about[1])
            case actions.Forget(market=name):
                con_id = self.find_instrument(name).con_id
                self._forget(lambda stream: stream.instrument.con_id == con_id)
            case actions.Farm():
                self._farm(action)
            case actions.Connectivity():
                self._connectivity(action)
            case actions.Compete():
                self._compete(action)
            case actions.Unsubscribe(symbols=symbols):
                self.no_live |= set(symbols)
            case actions.SetPosition():
                self._set_position(action)
            case _:
                self._trade(action)

    def _trade(self, action: Action) -> None:
        match action:
            case actions.Move() | actions.Hold() | actions.SetHours() | actions.SetVolume():
                self._change_market(action)
            case actions.Advance():
                self._advance(action)
            case actions.Fill():
                self._fill(action)
            case actions.Kill():
                self._kill(action)
            case actions.Correct():
                newest = self._executions_of(action.order)[-1]
                self.tell(self.book.correct(newest.exec_id, action.price))
            case actions.RepeatExecutions():
                self._repeat(action)
            case actions.PlaceByHand():
                self._place_by_hand(action)

    def _change_market(
        self, action: actions.Move | actions.Hold | actions.SetHours | actions.SetVolume
    ) -> None:
        market = self.markets[self.find_instrument(action.market).con_id]
        match action:
            case actions.Move(price=price):
                market.move(price)
            case actions.Hold(fills=fills):
                market.fills = fills
            case actions.SetHours(closed=closed):
                market.closed = closed
            case actions.SetVolume(volume=volume):
                market.volume = volume
        self.moved(market)

    def _advance(self, action: actions.Advance) -> None:
        for _ in range(action.steps):
            if not action.market:
                self.walk()
                continue
            market = self.markets[self.find_instrument(action.market).con_id]
            market.walk()
            self.moved(market)

    def _fill(self, action: actions.Fill) -> None:
        order = self.order(action.order)
        market = self.markets[order.con_id]
        price = action.price or order.ticket.limit or market.last
        size = action.size or order.remaining
        self.tell(self.book.fill(order, size, price, self.now_ns))

    def _kill(self, action: actions.Kill) -> None:
        order, reason = self.order(action.order), action.reason
        code, status = action.code, action.status
        self.tell(self.book.cancel(order, reason, self.now_ns, code=code, status=status))

    def _executions_of(self, name: str) -> list[Execution]:
        perm_id = self.order(name).perm_id
        return [each for each in self.book.state.executions if each.perm_id == perm_id]

    def _repeat(self, action: actions.RepeatExecutions) -> None:
        for done in self._executions_of(action.order):
            for session in [each for each in self.sessions if each.client_id == done.client_id]:
                session.say(self.execution(-1, done, session.version), self.commission(done))

    def _place_by_hand(self, action: actions.PlaceByHand) -> None:
        each = self.find_instrument(action.market)
        order = Order(
            client_id=action.client_id,
            order_id=action.order_id,
            perm_id=0,
            con_id=each.con_id,
            exchange=each.exchange,
            account=self.first_account(action.account),
            ticket=_ticket(action, each),
            tif="DAY",
        )
        market, is_open = self.markets[each.con_id], self.is_open(each)
        self.tell(self.book.place(order, market, is_open=is_open, now_ns=self.now_ns))

    def _set_position(self, action: actions.SetPosition) -> None:
        held = Position(
            account=self.first_account(action.account),
            con_id=self.find_instrument(action.market).con_id,
            size=action.size,
            cost=action.cost,
        )
        self.book.state.opening.append(held)
        answers.tell_position(self, held.account, held.con_id)
        self.save()

    def _cut(self, action: actions.Cut) -> None:
        for session in self.sessions:
            if action.client_id in (None, session.client_id):
                session.cut(reset=action.reset)

    def _farm(self, action: actions.Farm) -> None:
        if action.code in FARM_DOWN:
            self.farms_down.add(action.name)
        elif action.code in FARM_UP:
            self.farms_down.discard(action.name)
        if action.lose:
            self._forget(lambda stream: stream.instrument.farm == action.name)
        self.notice(action.code, FARM_TEXTS[action.code].format(action.name))

    def _connectivity(self, action: actions.Connectivity) -> None:
        self._losing.cancel()
        self._losing = trio.CancelScope()
        if action.code == LOST:
            self.lost = True
            self._end_kept_bars()
            self.notice(LOST, LOST_TEXT)
            self.nursery.start_soon(self.repeat_lost, self._losing)
            return
        self.lost = False
        if action.code == DATA_LOST:
            self._forget(lambda stream: True)
        self.notice(action.code, RESTORED[action.code])
        self.restored()

    async def _flood(self, action: actions.Flood) -> None:
        con_ids = [self.find_instrument(name).con_id for name in action.markets]
        for start in range(0, action.trades, FLOOD):
            sizes = range(start + 1, min(start + FLOOD, action.trades) + 1)
            for session in list(self.sessions):
                streams = [e for e in session.streams.values() if e.instrument.con_id in con_ids]
                session.say_bytes(b"".join(trades(streams, self.markets, sizes, self.now_ns)))
                await session.drained.wait()

    def _forget(self, which: Callable[[Stream], bool]) -> None:
        for session in self.sessions:
            session.streams = {n: each for n, each in session.streams.items() if not which(each)}

    def _end_kept_bars(self) -> None:
        for session in self.sessions:
            for req_id, stream in list(session.streams.items()):
                if isinstance(stream.request, ReqHistoricalData):
                    del session.streams[req_id]
                    session.say_error(req_id, 10182, KEPT_ENDED)

    def _compete(self, action: actions.Compete) -> None:
        self.competing = action.active
        for session in self.sessions if action.active else ():
            for req_id, stream in list(session.streams.items()):
                if isinstance(stream.request, ReqMktData):
                    session.say_error(req_id, 10197, faults.COMPETING)


def _ticket(action: actions.PlaceByHand, each: Instrument) -> Ticket:
    return Ticket(
        contract=Query(con_id=each.con_id),
        action=action.action,
        size=action.size,
        kind="LMT" if action.limit is not None else "MKT",
        limit=action.limit,
        stop=None,
        tif="DAY",
        ref=action.ref,
        account=action.account,
        parent_id=0,
        transmit=True,
        what_if=False,
        said={},
    )


def _refs(requests: Iterable[Request]) -> Iterator[str]:
    for each in requests:
        if isinstance(each, PlaceOrder):
            yield each.ticket.ref


@asynccontextmanager
async def serving(
    settings: Settings | None = None, *, path: str = "", port: int = 0
) -> AsyncIterator[Served]:
    """A gateway that accepts clients in this context: at a path, else at a TCP port."""
    gateway = Served(settings or Settings(), path, port)
    async with gateway.looks.going_on(), trio.open_nursery() as gateway.nursery:
        await gateway.start()
        if gateway.settings.walk_s is not None:
            gateway.nursery.start_soon(gateway.walk_for_ever, gateway.settings.walk_s)
        yield gateway
        gateway.nursery.cancel_scope.cancel()


@asynccontextmanager
async def a_gateway(
    settings: Settings | None = None, *, path: str = "", port: int = 0
) -> AsyncIterator[Served]:
    """The same for tests: a client that broke a rule fails the test."""
    async with serving(settings, path=path, port=port) as gateway:
        yield gateway
    assert gateway.breaches == [], "\n".join(map(str, gateway.breaches))
