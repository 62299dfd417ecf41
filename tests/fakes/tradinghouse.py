"""All that an order needs, in the test's own process: a venue's datad, paperboi, brokerd, emsd.

Each daemon is at its socket, so they talk as they do elsewhere, and each can be ended and begun
again on its own. Time flows as it does for a clock on the wall, and is put forward by `later`.
"""

from collections.abc import (
    AsyncGenerator,
    AsyncIterator,
    Awaitable,
    Callable,
    Iterable,
    Sequence,
)
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from contextvars import ContextVar
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from piker import clock, paths
from piker.brokerage import Brokerage, Control
from piker.config import Configuration
from piker.datad import Datad
from piker.emsd import Emsd, open_emsd
from piker.errors import Fault, Refused, Unreachable
from piker.interfaces import Call, Interface, Reply
from piker.interfaces.broker import BROKER, SnapshotReply
from piker.interfaces.data import DATA
from piker.interfaces.orders import (
    ORDERS,
    ORDERS_VIEW,
    Accounts,
    AccountsReply,
    OrderNews,
    Orders,
    OrdersReply,
    Submit,
    SubmitReply,
    Timeline,
    TimelineReply,
)
from piker.markets import Market
from piker.notify import Manager
from piker.orders import Life, Order, OrderEvent
from piker.paperboi import Paperboi
from piker.paperdialog import open_dialog
from piker.service import Service
from piker.transport import listen
from piker.varlink import Client, Server, open_client
from tests.fakes.dialog import Dialog
from tests.fakes.papershop import PROVIDER
from tests.fakes.unkept import unkept
from tests.fakes.venue import ENDPOINTS, EURUSD, Venue, quote, tick

PATIENCE_S = 20
"""No test waits for longer, but for what it puts the clock forward by."""
WALL_NS = 1_800_000_000_000_000_000
"""2027-01-15 08:00 UTC."""
BOOT_NS = 5_000_000_000_000

R = TypeVar("R", bound=Reply)

_patience: ContextVar[trio.CancelScope] = ContextVar("patience")


class FlowingTime:
    """Time as it flows, and may be put forward; all clocks of the process go with it."""

    def __init__(self) -> None:
        self.clock = MockClock(rate=1.0)

    def ns(self, start_ns: int) -> int:
        """Such a time now, in any thread."""
        return start_ns + round(self.clock.current_time() * 1e9)

    def run(self, main: Callable[[], Awaitable[object]], **options: Any) -> object:
        """As trio.run, for pytest-trio."""
        return trio.run(main, **(options | {"clock": self.clock}))


@pytest.fixture
def flowing_time(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Daemons' clocks, too, go so in a test that uses this."""
    time = FlowingTime()
    monkeypatch.setattr(clock, "wall_ns", partial(time.ns, WALL_NS))
    monkeypatch.setattr(clock, "boot_ns", partial(time.ns, BOOT_NS))
    request.node.add_marker(pytest.mark.trio(run=time.run), append=False)


async def later(seconds: float) -> None:
    """So much time passes at once."""
    await wait_all_tasks_blocked()
    mock = trio.lowlevel.current_clock()
    assert isinstance(mock, MockClock)
    _patience.get().deadline += seconds
    mock.jump(seconds)
    await wait_all_tasks_blocked()


def configure(text: str) -> None:
    """What daemons that begin later read."""
    directory = paths.config_directory() / "piker"
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "piker.toml").write_text(text)


def order(oid: str = "o-1", **changed: Any) -> Order:
    """A buy of 3 at 1.20 on paper, but for what is changed."""
    facts: dict[str, Any] = {
        "account": "paper",
        "market": EURUSD.fqme,
        "side": "buy",
        "size": Decimal(3),
        "kind": "limit",
        "limit": Decimal("1.20"),
    }
    return Order(**(facts | {"oid": oid} | changed))


def dark(oid: str = "d-1", trigger: str = "1.20", **changed: Any) -> Order:
    """A dark buy of 3."""
    facts = {"kind": "dark", "limit": None, "trigger": Decimal(trigger)}
    return order(oid, **(facts | changed))


def alert(oid: str = "a-1", trigger: str = "1.20", **changed: Any) -> Order:
    """An alert."""
    facts = {"kind": "alert", "limit": None, "size": Decimal(0), "trigger": Decimal(trigger)}
    return order(oid, **(facts | {"account": ""} | changed))


class Served:
    """A daemon at its sockets, in a task of its own, to be ended and begun again."""

    def __init__(self, begin: Callable[[AsyncExitStack], Awaitable[Any]]) -> None:
        self.it: Any = None
        self.nursery: trio.Nursery
        self._begin = begin
        self._ending = trio.Event()
        self._ended = trio.Event()
        self._ended.set()

    async def begin(self) -> None:
        """Have it there."""
        self._ending, self._ended = trio.Event(), trio.Event()
        await self.nursery.start(self._run)

    async def end(self) -> None:
        """Have it gone. Doing it twice is once."""
        self._ending.set()
        await self._ended.wait()

    async def _run(self, *, task_status: trio.TaskStatus[None]) -> None:
        try:
            async with AsyncExitStack() as stack:
                self.it = await self._begin(stack)
                task_status.started()
                await self._ending.wait()
        finally:
            self._ended.set()


async def _serve(
    stack: AsyncExitStack, daemon: str, doors: Sequence[tuple[str, Interface]], handler: Any
) -> trio.Nursery:
    server = Server(daemon, *({interface: handler.handlers[interface]} for _, interface in doors))
    nursery = await stack.enter_async_context(trio.open_nursery())
    stack.callback(nursery.cancel_scope.cancel)
    files = [str(paths.socket_path(daemon, door)) for door, _ in doors]
    listeners = [[stack.enter_context(listen(file))] for file in files]
    for file in files:
        stack.callback(Path(file).unlink)
    nursery.start_soon(server.serve, *listeners)
    nursery.start_soon(handler.run)
    stack.push_async_callback(server.drain)
    return nursery


class ShortVenue(Venue):
    """Knows markets by less than their whole names, as other venues do."""

    async def get_market(self, name: str) -> Market:
        """As the contract of `get_mkt_info` has it."""
        return await super().get_market(name.removesuffix(".fake"))


class House:
    """The daemons, and those who ask emsd."""

    def __init__(self, markets: Sequence[Market]) -> None:
        self.venue = ShortVenue(*markets)
        self.keep: tuple[str, ...] = ()
        self.datad = Served(self._datad)
        self.paperboi = Served(self._paperboi)
        self.brokerd = Served(self._brokerd)
        self.emsd = Served(self._emsd)
        self.dialog = LiveDialog(lambda heard: None)
        self.service = Service("emsd", None, Manager())

    @property
    def daemon(self) -> Emsd:
        """The emsd that is there."""
        emsd: Emsd = self.emsd.it
        return emsd

    async def begin(self, nursery: trio.Nursery) -> None:
        """All but brokerd."""
        for served in (self.datad, self.paperboi, self.brokerd, self.emsd):
            served.nursery = nursery
        for served in (self.datad, self.paperboi, self.emsd):
            await served.begin()

    async def end(self) -> None:
        """All."""
        for served in (self.emsd, self.brokerd, self.paperboi, self.datad):
            await served.end()

    async def restart(self) -> None:
        """Emsd ends and begins anew."""
        await self.emsd.end()
        await self.emsd.begin()

    async def _datad(self, stack: AsyncExitStack) -> Datad:
        service = Service("datad", "fake", Manager())
        datad = Datad(service, PROVIDER, ENDPOINTS, self.venue, self.keep, archive=unkept())
        stack.callback(datad.close)
        await _serve(stack, "datad", (("fake", DATA),), datad)
        return datad

    async def _paperboi(self, stack: AsyncExitStack) -> Paperboi:
        service = Service("paperboi", "fake", Manager())
        control = Control(service.changed)
        dialog = await stack.enter_async_context(
            open_dialog(service, PROVIDER, Configuration(), control.hear)
        )
        brokerage = Brokerage(dialog.accounts[0], dialog, control, service.changed)
        paperboi = Paperboi(brokerage, dialog)
        await _serve(stack, "paperboi", (("fake", BROKER),), paperboi)
        return paperboi

    async def _brokerd(self, stack: AsyncExitStack) -> Brokerage:
        control = Control(lambda: None)
        self.dialog.hear = control.hear
        brokerage = Brokerage("fake", self.dialog, control, lambda: None)
        await _serve(stack, "brokerd", (("fake", BROKER),), brokerage)
        return brokerage

    async def _emsd(self, stack: AsyncExitStack) -> Emsd:
        self.service = Service("emsd", None, Manager())
        emsd = await stack.enter_async_context(open_emsd(self.service))
        await _serve(stack, "emsd", (("view", ORDERS_VIEW), ("trade", ORDERS)), emsd)
        return emsd

    def be_patient(self, seconds: float) -> None:
        """What the test does takes so much longer."""
        _patience.get().deadline += seconds

    # --- what the market shows

    async def shows(self, *ticks: tuple[str, float], market: Market = EURUSD) -> None:
        """The market says so, now."""
        made = [tick(kind, price, 1000.0) for kind, price in ticks]  # type: ignore[arg-type]
        self.venue.say(quote(*made, market=market))
        await wait_all_tasks_blocked(0.005)

    async def is_live(self, bid: float = 1.10, ask: float = 1.30) -> None:
        """The market is followed, and shows both sides."""
        await self.shows(("bid", bid), ("ask", ask))

    # --- who asks

    @asynccontextmanager
    async def client(self, door: str = "trade") -> AsyncIterator[Client]:
        """Somebody at one of emsd's doors."""
        interface = ORDERS if door == "trade" else ORDERS_VIEW
        async with open_client(str(paths.socket_path("emsd", door)), interface, "emsd") as client:
            yield client

    async def ask(self, call: Call, reply: type[R], door: str = "trade") -> R:
        """One call, by a client of its own."""
        async with self.client(door) as client:
            return await client.call(call, reply, 10 * PATIENCE_S)

    async def submit(self, order: Order, *, dry_run: bool | None = None) -> SubmitReply:
        """Submit an order."""
        return await self.ask(Submit(order=order, dry_run=dry_run), SubmitReply)

    async def refusal(self, call: Call | Order, door: str = "trade") -> Fault:
        """The fault that a call, or a submit of an order, is answered with."""
        asked = Submit(order=call) if isinstance(call, Order) else call
        with pytest.raises(Refused) as no:
            await self.ask(asked, Reply, door)
        return no.value.fault

    async def events(self, oid: str) -> list[OrderEvent]:
        """All that happened to an order."""
        reply = await self.ask(Timeline(oid=oid), TimelineReply, "view")
        return [news.event for news in reply.events]

    async def life(self, oid: str) -> Life:
        """An order, as its events add up."""
        return (await self.ask(Timeline(oid=oid), TimelineReply, "view")).life

    async def until_admitted(self, oid: str) -> None:
        """Wait until an order counts; it is not on disk yet, since that takes more turns."""
        book = self.daemon._book
        while oid not in book.lives:
            await trio.lowlevel.checkpoint()

    async def ready(self, account: str) -> None:
        """Wait until orders of an account can leave."""
        async with self.client("view") as client:
            replies = client.replies(Accounts(), AccountsReply)
            async with aclosing(replies):
                async for reply, _ in replies:
                    if any(e.account == account and e.state == "ready" for e in reply.accounts):
                        break

    @asynccontextmanager
    async def following(self, since_seq: int | None = None) -> AsyncIterator["Follower"]:
        """Somebody who follows all orders."""
        async with self.client("view") as client:
            replies = client.replies(Orders(since_seq=since_seq), OrdersReply)
            async with aclosing(replies):
                yield Follower(replies)

    async def until(self, oid: str, *states: str) -> Life:
        """Wait until an order is in one of these states."""
        async with self.following() as follower:
            return await follower.until(oid, *states)


class Follower:
    """Reads the book and the events."""

    def __init__(self, replies: AsyncGenerator[tuple[OrdersReply, tuple[int, ...]], None]) -> None:
        self.lives: dict[str, Life] = {}
        self.news: list[OrderNews] = []
        self.seq = 0
        self._replies = replies

    async def read(self) -> OrdersReply:
        """The next reply."""
        reply, _ = await anext(self._replies)
        self.lives |= {life.order.oid: life for life in (*reply.book, *reply.lives)}
        self.news += reply.events
        self.seq = reply.seq
        return reply

    async def until(self, oid: str, *states: str) -> Life:
        """Read on until an order is in one of these states."""
        return await self.until_it(oid, lambda life: life.state in states)

    async def until_it(self, oid: str, fits: Callable[[Life], bool]) -> Life:
        """Read on until an order is as wanted."""
        while oid not in self.lives or not fits(self.lives[oid]):
            await self.read()
        return self.lives[oid]

    async def until_seq(self, seq: int) -> None:
        """Read on until this event was told."""
        while self.seq < seq:
            await self.read()


class LiveDialog(Dialog):
    """A broker of real money that holds what the test says."""

    def __init__(self, hear: Any) -> None:
        super().__init__(hear)
        self.holds: SnapshotReply | Refused | None = None

    async def snapshot(self, since_ns: int) -> SnapshotReply:
        """As the contract has it."""
        now_ns = clock.wall_ns()
        if isinstance(self.holds, Refused):
            raise self.holds
        if self.holds is None:
            return SnapshotReply(asked_ns=now_ns, orders=(), ended=(), executions=(), holdings=())
        return self.holds


@asynccontextmanager
async def a_house(*markets: Market, live: bool = True) -> AsyncIterator[House]:
    """All daemons but brokerd; the market is followed and shows 1.10 to 1.30."""
    house = House(markets)
    with trio.fail_after(PATIENCE_S) as scope:
        _patience.set(scope)
        async with trio.open_nursery() as nursery:
            house.keep = tuple(each.fqme for each in house.venue.markets) if live else ()
            await house.begin(nursery)
            if live:
                await wait_all_tasks_blocked(0.005)
                await house.is_live()
            yield house
            await house.end()


async def gone(asking: Awaitable[object]) -> str:
    """Why nobody answered."""
    with pytest.raises(Unreachable) as error:
        await asking
    return str(error.value)


def oids(lives: Iterable[Life]) -> list[str]:
    """The oids of lives."""
    return [life.order.oid for life in lives]
