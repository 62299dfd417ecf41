"""paperboi keeps every promise of piker.Broker, on simulated markets and over being killed."""

import signal
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from decimal import Decimal
from pathlib import Path

import pytest
import trio

from piker.brokers.orderconformance import PROMISES, Ground, check_broker
from tests.fakes.manager import PATIENCE_S, Manager, Running, a_daemon
from tests.fakes.papershop import listen_to


class Killed:
    """A paperboi that is killed and started again."""

    def __init__(self, manager: Manager, stack: AsyncExitStack, nursery: trio.Nursery) -> None:
        self._manager = manager
        self._stack = stack
        self._nursery = nursery
        self._listening = trio.CancelScope()
        self.paperboi: Running

    async def start(self) -> None:
        """Start it."""
        daemon = a_daemon("paperboi", "sim", manager=self._manager)
        self.paperboi = await self._stack.enter_async_context(daemon)
        self._listening = trio.CancelScope()
        self._nursery.start_soon(self._listen)

    async def restart(self) -> None:
        """Kill it and start it again."""
        await self.paperboi.end(signal.SIGKILL)
        self._listening.cancel()
        await self.start()

    async def _listen(self) -> None:
        with self._listening:
            await listen_to(self._manager)


@asynccontextmanager
async def a_ground() -> AsyncIterator[Ground]:
    """A paperboi of simulated markets, where something is shown often."""
    async with (
        a_daemon("datad", "sim") as datad,
        AsyncExitStack() as stack,
        trio.open_nursery() as nursery,
    ):
        killed = Killed(datad.manager, stack, nursery)
        await killed.start()
        yield Ground(
            name="paperboi@sim",
            path=killed.paperboi.path,
            account="paper.sim",
            market="s0001.xsim.sim",
            size=Decimal(1),
            resting=Decimal("0.25"),
            crossing=Decimal(100_000),
            off_grid=Decimal("0.3"),
            restart=killed.restart,
        )
        nursery.cancel_scope.cancel()


@pytest.fixture(autouse=True)
def _quick_markets(home: Path) -> None:
    (home / "etc" / "piker.toml").write_text("[providers.sim]\nrate_hz = 50.0\n")


async def test_paperboi_keeps_every_promise_of_a_broker() -> None:
    async with a_ground() as ground:
        report = await check_broker(ground, PATIENCE_S)
    assert report.broken == ()
    tried = [each for each in report.results if each.outcome == "ok"]
    assert len(tried) == len(PROMISES) - 1  # its venue is never away: it is its own
