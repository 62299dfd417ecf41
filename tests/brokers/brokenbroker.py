"""A broker daemon that keeps every promise but those of one flaw, for the suite to find out.

Its venue is the simulated one's book, in memory.
"""

import socket
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import asynccontextmanager
from decimal import Decimal

import trio
from msgspec.structs import replace

from piker import clock, paths
from piker.brokerage import Brokerage, Control, Session
from piker.brokers.orderconformance import Ground
from piker.brokers.sim import tradewire as wire
from piker.brokers.sim.venue import first_prices
from piker.brokers.sim.venuebook import Book
from piker.interfaces.broker import (
    Amend,
    Cancel,
    CancelAll,
    Done,
    Link,
    Open,
    Opened,
    OpenReply,
    Place,
    SnapshotReply,
    Told,
)
from piker.orders import Acked, Filled
from piker.transport import listen
from piker.varlink import Server, Stream

MARKET = "s0001.xsim.sim"
FIRST_PRICE = first_prices(10, 1)
PRICE = FIRST_PRICE(MARKET) or Decimal(0)
FAR = PRICE - 50


class Dialog:
    """A TradeDialog whose venue is here."""

    live = False
    absence_proves = True
    accounts: tuple[str, ...] = ("sim.main",)

    def __init__(self, book: Book, control: Control, flaw: str) -> None:
        self.link = Link(up=True)
        self.flaw = flaw
        self._book = book
        self._hear = control.hear

    def say_link(self, link: Link) -> None:
        """The link comes up or is lost."""
        self.link = link
        self._hear(link)

    async def place(self, order: Place) -> None:
        asked = wire.NewOrder(
            ref=order.oid,
            account="main",
            market=order.market,
            side=order.side,
            size=order.size,
            limit=FAR if order.limit is None and self.flaw == "market" else order.limit,
            tif="gtc" if self.flaw == "ioc" else order.tif,
        )
        if self.flaw == "acks anything" or (self.flaw, order.tif) == ("day", "day"):
            self._hear(Told(oid=order.oid, event=Acked(venue_id="1")))
        elif self.flaw != "swallows":
            self._say(self._book.take(asked, clock.wall_ns()))

    async def amend(self, order: Amend) -> None:
        asked = wire.Replace(ref=order.oid, number=order.n, size=order.size, limit=order.limit)
        if self.flaw == "amends in words":
            event = wire.Replaced(ref=order.oid, number=1, size=order.size, limit=order.limit)
            self._say([event])
        else:
            self._say(self._book.replace(asked, clock.wall_ns()))

    async def cancel(self, order: Cancel) -> None:
        asked = wire.CancelOrder(ref=order.oid, order_ids=order.venue_ids)
        if self.flaw == "cancels in words":
            self._say([wire.Ended(ref=order.oid, order_id="1", outcome="cancelled")])
        else:
            self._say(self._book.cancel(asked, clock.wall_ns()))

    async def cancel_all(self, call: CancelAll) -> tuple[str, ...]:
        found = self._book.to_cancel(ours=True, account=None)
        self._say(self._book.cancel_these(found, clock.wall_ns()))
        return () if self.flaw == "no ids" else tuple(each.order_id for each in found)

    async def snapshot(self, since_ns: int) -> SnapshotReply:
        since_ns = 0 if self.flaw == "tells all that ever was" else since_ns
        asked_ns = 0 if self.flaw == "asks at no time" else clock.wall_ns()
        reply = wire.snapshot(self._book.show(0, since_ns), asked_ns)
        match self.flaw:
            case "lists other ids":
                orders = tuple(replace(each, venue_id="x") for each in reply.orders)
                return replace(reply, orders=orders)
            case "lists not all":
                return replace(reply, orders=reply.orders[1:])
            case "lists what is done twice":
                return replace(reply, executions=reply.executions * 2)
            case "holds nothing":
                return replace(reply, holdings=())
        return reply

    def _say(self, events: Iterable[wire.Event]) -> None:
        for event in events:
            for word in self._words(event):
                self._hear(word)

    def _words(self, event: wire.Event) -> Iterator[Told]:
        word = wire.told(event)
        match event, self.flaw:
            case wire.Ended() | wire.NotCancelled() | wire.ReplaceRefused(), "ends in silence":
                return
            case wire.Trade(), "fills at any price":
                done = replace(wire.execution(event), price=PRICE + 100)
                yield Told(oid=event.ref, event=Filled(execution=done))
            case wire.Trade(), "fills in silence":
                return
            case _ if word:
                yield word


class Shop(Brokerage):
    """What answers piker.Broker, and what it gets wrong."""

    def __init__(self, dialog: Dialog, control: Control) -> None:
        super().__init__("broken", dialog, control, _nothing)
        self._control = control
        self._dialog = dialog
        self._flaw = dialog.flaw

    async def open(self, call: Open, stream: Stream) -> None:
        if self._flaw == "shares control":
            async with self._control.taken(stream.connection) as session:
                await stream.send(OpenReply(opened=self._opened(session), link=Link(up=True)))
                await trio.sleep_forever()
        elif self._flaw == "says nothing of its link":
            async with self._control.taken(stream.connection) as session:
                await session.run(OpenReply(opened=self._opened(session)))
        await super().open(call, stream)

    async def place(self, call: Place) -> Done:
        if self._flaw == "acks anything":
            await self._dialog.place(call)
            return Done()
        return await super().place(call)

    def _opened(self, session: Session) -> Opened:
        opened = super()._opened(session)
        return replace(opened, session="same") if self._flaw == "same session" else opened

    def _check_sender(self, call: Place | Amend) -> None:
        if self._flaw != "fences nothing":
            super()._check_sender(call)

    def _check_account(self, account: str) -> None:
        if self._flaw != "trades on any account":
            super()._check_account(account)


class House:
    """The daemon, which can be restarted, and its venue, which can be away."""

    def __init__(self, flaw: str, nursery: trio.Nursery) -> None:
        self.path = str(paths.socket_path("brokerd", "broken"))
        self._flaw = flaw
        self._nursery = nursery
        self._book = Book(("main",), FIRST_PRICE)
        self._server: Server
        self._dialog: Dialog

    def start(self) -> None:
        """Answer."""
        control = Control(_nothing)
        self._dialog = Dialog(self._book, control, self._flaw)
        self._server = Server("broken", Shop(self._dialog, control).handlers)
        self._nursery.start_soon(_serve, self._server, listen(self.path))

    async def stop(self) -> None:
        """Answer no more."""
        await self._server.drain()
        await trio.Path(self.path).unlink()

    async def restart(self) -> None:
        """End, and begin anew with what the venue kept."""
        await self.stop()
        if self._flaw == "forgets":
            self._book = Book(("main",), FIRST_PRICE)
        self.start()

    @asynccontextmanager
    async def away(self) -> AsyncIterator[None]:
        """The venue can't be asked."""
        self._dialog.say_link(Link(up=False, reason="away"))
        yield
        self._dialog.say_link(Link(up=True))


async def _serve(server: Server, listener: socket.socket) -> None:
    with listener:
        await server.serve([listener])


@asynccontextmanager
async def a_broker(flaw: str = "") -> AsyncIterator[Ground]:
    """A daemon with a flaw, and what to try it on."""
    async with trio.open_nursery() as nursery:
        house = House(flaw, nursery)
        house.start()
        yield Ground(
            name="broken",
            path=house.path,
            account="sim.main",
            market=MARKET,
            size=Decimal(3),
            resting=FAR,
            crossing=PRICE,
            off_grid=FAR + Decimal("0.1"),
            restart=house.restart,
            away=house.away,
        )
        await house.stop()
        nursery.cancel_scope.cancel()


def _nothing() -> None:
    pass
