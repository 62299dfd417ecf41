"""A broker daemon in a test's hands, at its real socket; and emsd's book and way to it."""

import secrets
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from decimal import Decimal
from typing import Any

import trio
from msgspec import structs
from trio.testing import MockClock

from piker import clock, paths
from piker.accounts import AccountState
from piker.book import Book
from piker.config import EmsdSettings
from piker.errors import Fault, Refused
from piker.interfaces import Interface
from piker.interfaces.broker import (
    BROKER,
    Amend,
    Cancel,
    CancelAll,
    CancelAllReply,
    Done,
    EndedOrder,
    Holding,
    Link,
    Open,
    Opened,
    OpenOrder,
    OpenReply,
    Place,
    Snapshot,
    SnapshotReply,
    StaleSession,
    Told,
    TooLate,
)
from piker.markets import Market
from piker.orders import BrokerEvent, Execution, Life, LinkLost, Order, Sending
from piker.routing import Route
from piker.store.journal import open_journal
from piker.transport import listen
from piker.varlink import Server, Stream

ACCOUNT = "sim.main"
MARKET = Market(
    fqme="a.b.sim",
    venue_id="A",
    description="a market",
    asset_class="simulated",
    currency="USD",
    price_tick=Decimal("0.01"),
    size_tick=Decimal(1),
    multiplier=Decimal(1),
    has_trades=True,
    has_volume=True,
    has_bid=True,
    has_ask=True,
)
OTHER = structs.replace(MARKET, fqme="c.d.sim", venue_id="C")
MOST_WORDS = 100_000
"""That wait for who has a session; a test that says more fails."""
FOR_EVER_S = 100_000
"""Virtual: no test takes so long."""
PATIENCE_S = 0.01
"""Real: virtual time passes when nothing has happened for so long, since the disk takes a while."""

Command = Place | Amend | Cancel


class Broker:
    """Answers piker.Broker as it is told to, and remembers what it was asked."""

    def __init__(self) -> None:
        self.accounts: tuple[str, ...] = (ACCOUNT,)
        self.absence_proves = True
        self.opens = True
        """Whether a session's first reply says what there is."""
        self.link = Link(up=True)
        self.sessions: list[str] = []
        self.reached: list[Command] = []
        """What was carried out, or would have been but for `no`."""
        self.refused: list[Fault] = []
        """By the fences."""
        self.asked: list[Snapshot] = []
        self.no: Fault | None = None
        """What commands are answered with."""
        self.no_lists: Fault | None = None
        """What snapshots are answered with."""
        self.answers = trio.Event()
        """Set, unless commands are to wait for their answers."""
        self.answers.set()
        self.lists = trio.Event()
        """The same of snapshots."""
        self.lists.set()
        self.orders: tuple[OpenOrder, ...] = ()
        self.ended: tuple[EndedOrder, ...] = ()
        self.executions: tuple[Execution, ...] = ()
        self.holdings: tuple[Holding, ...] = ()
        self._words: trio.MemorySendChannel[OpenReply] | None = None
        self._happened = trio.Event()

    # --- what the test has it say

    def tell(self, oid: str, *events: BrokerEvent) -> None:
        """The venue says something of an order; nobody hears it while nobody has a session."""
        self._say(OpenReply(told=tuple(Told(oid=oid, event=event) for event in events)))

    def say_link(self, link: Link) -> None:
        """The link comes up or is lost."""
        self.link = link
        self._say(OpenReply(link=link))

    def hang_up(self) -> None:
        """It dies, as far as who has a session can see."""
        if self._words:
            self._words.close()
            self._words = None

    async def until(self, true: Callable[[], bool]) -> None:
        """Wait for what it was asked."""
        while not true():
            await self._happened.wait()

    @property
    def placed(self) -> list[str]:
        """The orders that reached it."""
        return [each.oid for each in self.reached if isinstance(each, Place)]

    @property
    def cancelled(self) -> list[str]:
        """The orders of which a cancel reached it."""
        return [each.oid for each in self.reached if isinstance(each, Cancel)]

    # --- piker.Broker

    async def open(self, call: Open, stream: Stream) -> None:
        """piker.Broker.Open."""
        self.hang_up()
        mine, words = trio.open_memory_channel[OpenReply](MOST_WORDS)
        self._words = mine
        self.sessions.append(secrets.token_hex(4))
        try:
            opened = self._opened() if self.opens else None
            await stream.send(OpenReply(opened=opened, link=self.link))
            self._note()
            async for reply in words:
                await stream.send(reply)
        finally:
            self._words = None if self._words is mine else self._words

    async def place(self, call: Place) -> Done:
        """piker.Broker.Place."""
        return await self._fenced(call)

    async def amend(self, call: Amend) -> Done:
        """piker.Broker.Amend."""
        return await self._fenced(call)

    async def cancel(self, call: Cancel) -> Done:
        """piker.Broker.Cancel."""
        return await self._carry_out(call)

    async def cancel_all(self, call: CancelAll) -> CancelAllReply:
        """piker.Broker.CancelAll."""
        return CancelAllReply(venue_ids=())

    async def snapshot(self, call: Snapshot) -> SnapshotReply:
        """piker.Broker.Snapshot."""
        asked_ns = clock.wall_ns()
        self.asked.append(call)
        self._note()
        await self.lists.wait()
        if self.no_lists:
            raise Refused(self.no_lists)
        return SnapshotReply(
            asked_ns=asked_ns,
            orders=self.orders,
            ended=self.ended,
            executions=tuple(each for each in self.executions if each.time_ns >= call.since_ns),
            holdings=self.holdings,
        )

    def take(self, command: Command) -> None:
        """What the venue makes of a command; a venue that does more overrides it."""

    async def _fenced(self, call: Place | Amend) -> Done:
        try:
            if call.session != self.sessions[-1] or not self._words:
                raise Refused(StaleSession(session=call.session))
            if clock.boot_ns() > call.not_after_boot_ns:
                raise Refused(TooLate(late_ms=1))
        except Refused as no:
            self.refused.append(no.fault)
            raise
        return await self._carry_out(call)

    async def _carry_out(self, call: Command) -> Done:
        self.reached.append(call)
        self._note()
        if self.no:
            raise Refused(self.no)
        self.take(call)
        await self.answers.wait()
        return Done()

    def _opened(self) -> Opened:
        return Opened(
            session=self.sessions[-1],
            live=False,
            accounts=self.accounts,
            absence_proves=self.absence_proves,
        )

    def _say(self, reply: OpenReply) -> None:
        if self._words:
            self._words.send_nowait(reply)

    def _note(self) -> None:
        self._happened.set()
        self._happened = trio.Event()


@asynccontextmanager
async def serving(broker: Broker, interface: Interface = BROKER) -> AsyncIterator[None]:
    """The broker daemon listens, until the context ends."""
    server = Server("brokerd@sim", {interface: broker})
    async with trio.open_nursery() as nursery:
        with listen(str(paths.socket_path("brokerd", "sim"))) as listener:
            nursery.start_soon(server.serve, [listener])
            try:
                yield
            finally:
                broker.answers.set()
                broker.lists.set()
                broker.hang_up()
                with trio.CancelScope(shield=True):
                    await server.drain()
                nursery.cancel_scope.cancel()


class House:
    """emsd's book and its way to one broker daemon, without all that is above them."""

    def __init__(self, book: Book, settings: EmsdSettings) -> None:
        self.book = book
        self.no = ""
        """What the guard says."""
        self.known = {MARKET.fqme: MARKET, OTHER.fqme: OTHER}
        """What datad would say."""
        self.learning = trio.Event()
        """Set, unless it isn't to answer."""
        self.learning.set()
        self.asked_for: list[str] = []
        self._changed = trio.Event()
        self.route = Route("brokerd", "sim", book, settings, self, self.learn, self._note)
        book.send = self.route.send
        book.became = lambda life: self._note()

    def why_not_now(self, life: Life) -> str:
        """As the guard."""
        return self.no

    async def learn(self, fqme: str) -> bool:
        """As the desk."""
        self.asked_for.append(fqme)
        await self.learning.wait()
        if fqme in self.known:
            self.book.know(self.known[fqme])
        return fqme in self.known

    def life(self, oid: str = "1") -> Life:
        """An order as it is recorded."""
        return self.book.lives[oid]

    def held(self, market: str = MARKET.fqme) -> Decimal:
        """What the account holds."""
        return self.book.position(ACCOUNT, market).size

    def submit(self, oid: str = "1", **changed: Any) -> None:
        """An order of 3 at 1.25 is decided to be sent."""
        order = an_order(oid, **changed)
        self.book.admit(order, sending(order))

    def states(self) -> list[AccountState]:
        """How its accounts are; none is real money."""
        return self.route.states(lambda account: False)

    async def until(self, true: Callable[[], bool]) -> None:
        """Wait for what the book or the route come to."""
        while not true():
            await self._changed.wait()

    async def until_state(self, state: str, oid: str = "1") -> None:
        """Wait for an order's state."""
        await self.until(lambda: self.life(oid).state == state)

    async def until_ready(self) -> None:
        """Wait until orders can leave."""
        self.route.want()
        await self.until(lambda: self.route.ready)

    async def look(self) -> None:
        """Have the venue asked, and all that came of it written down."""
        await self.route.reconcile()
        await self.book.until_published(self.book.journal.newest_seq)

    async def run(self) -> None:
        """Its tasks, and what emsd does once a second."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.book.publish)
            nursery.start_soon(self.route.run)
            while True:
                self.route.judge_silence()
                await trio.sleep(1)

    def recover(self) -> None:
        """As the desk at a start: what was on its way is not known any more."""
        for life in self.book.unclosed():
            if life.state == "sending" or life.amend or life.cancel:
                self.book.record(life.order.oid, LinkLost(reason="restarted"))
            self.route.want()

    def _note(self) -> None:
        self._changed.set()
        self._changed = trio.Event()


@asynccontextmanager
async def a_book() -> AsyncIterator[Book]:
    """A book as a start finds it."""
    async with open_journal(paths.state_directory() / "journal") as journal:
        book = Book(journal)
        await book.load()
        yield book


@asynccontextmanager
async def a_publishing_book() -> AsyncIterator[Book]:
    """One that tells what is on disk."""
    async with a_book() as book, trio.open_nursery() as nursery:
        nursery.start_soon(book.publish)
        yield book
        nursery.cancel_scope.cancel()


@asynccontextmanager
async def a_house(**settings: Any) -> AsyncIterator[House]:
    """emsd starts, and ends in good order; the market is known."""
    be_patient()
    async with a_book() as book, trio.open_nursery() as nursery:
        house = House(book, EmsdSettings(**settings))
        book.know(MARKET)
        house.recover()
        nursery.start_soon(house.run)
        with trio.fail_after(FOR_EVER_S):
            yield house
        nursery.cancel_scope.cancel()


def be_patient() -> None:
    """Let virtual time, if it is, wait for the disk."""
    used = trio.lowlevel.current_clock()
    if isinstance(used, MockClock):
        used.autojump_threshold = PATIENCE_S


def an_order(oid: str = "1", **changed: Any) -> Order:
    """A buy of 3 at 1.25, but for what is changed."""
    facts: dict[str, Any] = {
        "account": ACCOUNT,
        "market": MARKET.fqme,
        "side": "buy",
        "size": Decimal(3),
        "kind": "limit",
        "limit": Decimal("1.25"),
    }
    return Order(oid=oid, **(facts | changed))


def sending(order: Order, not_after_s: float = 5.0) -> Sending:
    """It leaves, from now on."""
    not_after_ns = clock.wall_ns() + round(not_after_s * 1e9)
    return Sending(size=order.size, limit=order.limit, not_after_ns=not_after_ns)


def a_fill(exec_id: str = "e1", oid: str = "1", size: int = 1, **changed: Any) -> Execution:
    """A buy at 1.25, now, but for what is changed."""
    facts: dict[str, Any] = {
        "venue_id": f"v{oid}",
        "account": ACCOUNT,
        "market": MARKET.fqme,
        "side": "buy",
        "size": Decimal(size),
        "price": Decimal("1.25"),
        "fee": Decimal(0),
        "fee_currency": "USD",
        "time_ns": clock.wall_ns(),
    }
    return Execution(exec_id=exec_id, oid=oid, **(facts | changed))


def an_open_order(oid: str = "1", **changed: Any) -> OpenOrder:
    """Such an order, as the venue lists it."""
    facts: dict[str, Any] = {
        "venue_id": f"v{oid}",
        "account": ACCOUNT,
        "market": MARKET.fqme,
        "side": "buy",
        "size": Decimal(3),
        "filled": Decimal(0),
        "limit": Decimal("1.25"),
    }
    return OpenOrder(oid=oid, **(facts | changed))


def a_holding(size: int, market: str = MARKET.fqme) -> Holding:
    """What the venue says is held."""
    return Holding(account=ACCOUNT, market=market, size=Decimal(size))
