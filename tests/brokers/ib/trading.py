"""emsd, brokerd@ib and datad@ib in the test's own process, at a gateway of the test's.

Each is at its socket and can be ended and begun again on its own, as in tests.fakes.tradinghouse,
whose time this has, too: it flows, and is put forward by `pass_by`.
"""

import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager, closing
from decimal import Decimal
from pathlib import Path
from typing import Any, TypeVar

import trio
from trio.testing import wait_all_tasks_blocked

from piker import brokers
from piker.brokerage import Brokerage, open_brokerage
from piker.brokers.ib import PROVIDER, Settings
from piker.brokers.ib.feed import Venue, open_venue
from piker.brokers.ib.trade import open_trade_dialog
from piker.datad import Datad
from piker.interfaces.broker import BROKER
from piker.interfaces.data import DATA
from piker.interfaces.orders import Accounts, AccountsReply, Positions, PositionsReply
from piker.notify import Manager
from piker.orders import Life, Order
from piker.service import Report, Service
from piker.sharedbars import BarReader
from piker.store.journal import Journal
from tests.fakes import gateway as fake
from tests.fakes.gateway import a_gateway
from tests.fakes.gateway.server import Served
from tests.fakes.tradinghouse import PATIENCE_S, _patience, _serve, configure, later
from tests.fakes.tradinghouse import House as AnyHouse
from tests.fakes.unkept import unkept

ACCOUNT, NUMBER = "ib.main", "DU1234567"
AAPL, SPY, EURUSD = "aapl.nasdaq.ib", "spy.arca.ib", "eurusd.idealpro.ib"
FAR = Decimal(180)
"""A buy of AAPL rests there: it stands at 190."""
CONFIGURATION = '[accounts."ib.main"]\nlive = true\nrisk = { orders_per_s = 1000 }\n'
STEP_S = 0.5
T = TypeVar("T")


class House(AnyHouse):
    """The daemons, the gateway, and those who ask emsd."""

    def __init__(self, gateway: Served, keep: tuple[str, ...], settings: dict[str, Any]) -> None:
        super().__init__([])
        self.gateway = gateway
        self.ib: Venue
        self.keep = keep
        at = {"data": gateway.address, "orders": gateway.address}
        self._settings = Settings(**{**at, "accounts": {"main": NUMBER}, **settings})

    async def begin(self, nursery: trio.Nursery) -> None:
        """All of them."""
        for served in (self.datad, self.brokerd, self.emsd):
            served.nursery = nursery
            await served.begin()

    async def end(self) -> None:
        """All."""
        for served in (self.emsd, self.brokerd, self.datad):
            await served.end()

    async def _datad(self, stack: AsyncExitStack) -> Datad:
        service = Service("datad", "ib", Manager())
        self.ib = await stack.enter_async_context(open_venue(self._settings))
        endpoints = brokers.get_eps(PROVIDER, "datad")
        datad = Datad(service, PROVIDER, endpoints, self.ib, self.keep, archive=unkept())
        stack.callback(datad.close)
        await _serve(stack, "datad", (("ib", DATA),), datad)
        return datad

    async def _brokerd(self, stack: AsyncExitStack) -> Brokerage:
        opening = open_brokerage(
            "ib", lambda hear: open_trade_dialog(self._settings, {}, hear), lambda: None
        )
        brokerage = await stack.enter_async_context(opening)
        await _serve(stack, "brokerd", (("ib", BROKER),), brokerage)
        return brokerage

    # --- time

    async def pass_by(self, seconds: float, step_s: float = STEP_S) -> None:
        """So much time passes, a step at a time: what is due by the clock is done in between."""
        for _ in range(round(seconds / step_s)):
            await self._step(step_s)

    async def until_so(self, holds: Callable[[], object], within_s: float) -> float:
        """Have time pass until something is so. Gives how long that took, by the clock."""
        start_s = trio.current_time()
        while not holds():
            passed_s = trio.current_time() - start_s
            assert passed_s < within_s, f"expected it within {within_s:g} s"
            await self._step(STEP_S)
        await self._all_written()
        return trio.current_time() - start_s

    async def meanwhile(self, asked: Awaitable[T]) -> T:
        """Have time pass for as long as this takes: it waits for what the clock brings."""
        done: list[T] = []

        async def ask() -> None:
            done.append(await asked)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask)
            while not done:
                await self._step(STEP_S)
        return done[0]

    async def _step(self, seconds: float) -> None:
        """The disk takes no time by the clock: what is being written is, before that goes on."""
        await self._all_written()
        await later(seconds)

    async def _all_written(self) -> None:
        journal: Journal | None = self.daemon._book.journal if self.emsd.it else None
        while journal and journal.queued:
            await journal.committed(journal.newest_seq)
            await wait_all_tasks_blocked()

    # --- how things are

    def link(self) -> Report:
        """What brokerd@ib says of itself."""
        brokerage: Brokerage = self.brokerd.it
        return brokerage.report()

    def data(self) -> Report:
        """What datad@ib says of itself."""
        datad: Datad = self.datad.it
        return datad.report()

    def state_of(self, fqme: str) -> str:
        """How the data of a market is, as datad@ib has it."""
        return next((e.state for e in self.data().components if e.name == fqme), "not followed")

    def newest_bar_ns(self, fqme: str) -> int:
        """When the newest bar of a second of a market begins, UTC."""
        datad: Datad = self.datad.it
        with datad._reading(fqme, 1) as series, closing(BarReader(os.dup(series.bars.fd))) as bars:
            return max((bar.time_ns for bar in bars.bars(600)), default=0)

    async def account(self) -> tuple[str, str]:
        """How emsd says that the account is, and why."""
        accounts = (await self.ask(Accounts(), AccountsReply, "view")).accounts
        return next((e.state, e.reason) for e in accounts if e.account == ACCOUNT)

    async def held(self, market: str = AAPL) -> Decimal:
        """How much emsd says is held in a market."""
        reply = await self.ask(Positions(account=ACCOUNT), PositionsReply, "view")
        found = [e.position for e in reply.positions if e.position.market == market]
        return sum((each.size for each in found), Decimal(0))

    def is_ready(self) -> bool:
        """Whether orders of the account can leave."""
        routes = self.daemon._desk.routes.values()
        return all(each.ready for each in routes)

    async def opens(self, *orders: Order) -> list[Life]:
        """Submit orders, and wait until the gateway has them."""
        for each in orders:
            await self.submit(each)
        return [await self.until(each.oid, "open") for each in orders]


def an_order(oid: str = "o-1", **changed: Any) -> Order:
    """A buy that rests, but for what is changed."""
    facts: dict[str, Any] = {
        "account": ACCOUNT,
        "market": AAPL,
        "side": "buy",
        "size": Decimal(3),
        "kind": "limit",
        "limit": FAR,
    }
    return Order(**(facts | {"oid": oid} | changed))


PLAYING = fake.Settings(walk_s=1.0, our_clients=frozenset({1}), data_clients=frozenset({100}))
"""Markets move every second, and who breaks a rule fails the test."""


@asynccontextmanager
async def a_house(
    home: Path, *, keep: tuple[str, ...] = (AAPL,), **settings: Any
) -> AsyncIterator[House]:
    """All of them; what is kept is followed, and live."""
    configure(CONFIGURATION)
    async with a_gateway(PLAYING, path=str(home / "gateway.sock")) as gateway:
        house = House(gateway, keep, settings)
        with trio.fail_after(PATIENCE_S) as scope:
            _patience.set(scope)
            async with trio.open_nursery() as nursery:
                await house.begin(nursery)
                await house.until_so(lambda: all(house.state_of(e) == "live" for e in keep), 30)
                yield house
                await house.end()
