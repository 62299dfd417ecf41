"""brokerd@ib in this process, over a dialog with a gateway of the test's."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from decimal import Decimal

import trio

from piker import paths
from piker.brokerage import Brokerage, open_brokerage
from piker.brokers.ib import Settings
from piker.brokers.ib.trade import open_trade_dialog
from piker.brokers.orderconformance import Ground
from piker.transport import listen
from piker.varlink import Server
from tests.fakes.gateway import actions
from tests.fakes.gateway.server import Served


class House:
    """The daemon, which can be restarted; its gateway, which can be away."""

    def __init__(self, gateway: Served, settings: Settings, nursery: trio.Nursery) -> None:
        self.path = str(paths.socket_path("brokerd", "ib"))
        self.brokerage: Brokerage
        self._gateway = gateway
        self._settings = settings
        self._nursery = nursery
        self._running = trio.CancelScope()
        self._ended = trio.Event()

    async def start(self) -> None:
        """Answer."""
        self._running, self._ended = trio.CancelScope(), trio.Event()
        await self._nursery.start(self._run)

    async def stop(self) -> None:
        """Answer no more: as suddenly as a process dies."""
        self._running.cancel()
        await self._ended.wait()

    async def restart(self) -> None:
        """End, and begin anew with what the gateway has."""
        await self.stop()
        await self.start()

    @asynccontextmanager
    async def away(self) -> AsyncIterator[None]:
        """The gateway can't be reached."""
        await self._gateway.do(actions.Stop())
        yield
        await self._gateway.do(actions.Start())

    async def trade(self) -> None:
        """What comes is of another second: the gateway tells times by the second."""
        await trio.sleep(1.5)

    async def _run(self, task_status: trio.TaskStatus[None]) -> None:
        with self._running:
            opening = open_brokerage(
                "ib", lambda hear: open_trade_dialog(self._settings, {}, hear), lambda: None
            )
            async with opening as self.brokerage:
                server = Server("ib", self.brokerage.handlers)
                with listen(self.path) as listener:
                    task_status.started()
                    await server.serve([listener])
        self._ended.set()


@asynccontextmanager
async def a_house(gateway: Served, settings: Settings) -> AsyncIterator[House]:
    """The daemon, until the context ends."""
    async with trio.open_nursery() as nursery:
        house = House(gateway, settings, nursery)
        await house.start()
        yield house
        await house.stop()


def ground_of(house: House, *, market: str, size: str, resting: str, crossing: str) -> Ground:
    """What to try it on."""
    return Ground(
        name="brokerd@ib",
        path=house.path,
        account="ib.main",
        market=market,
        size=Decimal(size),
        resting=Decimal(resting),
        crossing=Decimal(crossing),
        off_grid=Decimal(resting) + Decimal("0.00001"),
        restart=house.restart,
        away=house.away,
        trade=house.trade,
    )
