"""brokerd@ib and emsd, processes, are killed with orders at work: they are adopted, and obey.

The gateway is a process of its own, too.
"""

import signal
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, aclosing, asynccontextmanager, closing
from pathlib import Path

import pytest
import trio

from piker import paths
from piker.client import trading, viewing
from piker.interfaces.orders import (
    Amend,
    Cancel,
    OrderReply,
    Orders,
    OrdersReply,
    Submit,
    SubmitReply,
)
from piker.orders import Life
from tests.brokers.ib.trading import CONFIGURATION, FAR, PLAYING, an_order
from tests.fakes.gateway import Remote, a_gateway_process
from tests.fakes.manager import Manager, Running, a_daemon
from tests.fakes.papershop import listen_to
from tests.fakes.tradinghouse import configure

PATIENCE_S = 120.0


@asynccontextmanager
async def a_house(home: Path) -> AsyncIterator[tuple[Remote, "Daemons"]]:
    """All of them, as processes."""
    at = f"unix:{home / 'gateway.sock'}"
    settings = f'[providers.ib]\ndata = "{at}"\norders = "{at}"\naccounts.main = "DU1234567"\n'
    configure(CONFIGURATION + settings)
    with trio.fail_after(PATIENCE_S):
        async with a_gateway_process(home, PLAYING) as gateway, AsyncExitStack() as stack:
            nursery = await stack.enter_async_context(trio.open_nursery())
            daemons = Daemons(stack, nursery)
            for names in (("datad", "ib"), ("brokerd", "ib"), ("emsd",)):
                await daemons.start(*names)
            yield gateway, daemons
            nursery.cancel_scope.cancel()


class Daemons:
    """Those that run."""

    def __init__(self, stack: AsyncExitStack, nursery: trio.Nursery) -> None:
        self._stack = stack
        self._nursery = nursery
        self._running: dict[tuple[str, ...], Running] = {}
        self._started = 0

    async def start(self, *names: str) -> None:
        """Have one run."""
        self._started += 1
        notified = paths.runtime_directory() / f"notify-{self._started}"
        manager = self._stack.enter_context(closing(Manager(notified)))
        await manager.open()
        running = a_daemon(*names, manager=manager)
        self._running[names] = await self._stack.enter_async_context(running)
        self._nursery.start_soon(listen_to, manager)

    async def kill(self, *names: str) -> None:
        """End one by the worst of accidents, and start it again."""
        await self._running[names].end(signal.SIGKILL)
        for socket in paths.socket_path(names[0], "ib").parent.glob("*.sock"):
            socket.unlink()
        await self.start(*names)


async def until(oid: str, state: str) -> Life:
    """Wait until an order is so."""
    async with viewing() as client:
        replies = client.replies(Orders(), OrdersReply, PATIENCE_S)
        async with aclosing(replies):
            async for reply, _ in replies:
                for life in (*reply.book, *reply.lives):
                    if (life.order.oid, life.state) == (oid, state):
                        return life
    raise AssertionError("expected news without end")


@pytest.mark.parametrize(
    "killed", [[("emsd",)], [("brokerd", "ib")], [("brokerd", "ib"), ("emsd",)]]
)
async def test_after_kill_9_working_orders_are_adopted_and_can_be_amended_and_cancelled(
    home: Path, killed: list[tuple[str, ...]]
) -> None:
    async with a_house(home) as (gateway, daemons):
        for oid in ("o-1", "o-2"):
            async with trading() as emsd:
                await emsd.call(Submit(order=an_order(oid)), SubmitReply, PATIENCE_S)
            await until(oid, "open")
        for names in killed:
            await daemons.kill(*names)
        async with trading() as emsd:
            await emsd.call(Submit(order=an_order("o-3")), SubmitReply, PATIENCE_S)
            await until("o-3", "open")
            await emsd.call(Amend(oid="o-1", limit=FAR + 1), OrderReply, PATIENCE_S)
            for oid in ("o-1", "o-2", "o-3"):
                await emsd.call(Cancel(oid=oid), OrderReply, PATIENCE_S)
                await until(oid, "cancelled")
        orders = (await gateway.show()).orders
    assert [(each.ref, each.status) for each in orders] == [
        (oid, "Cancelled") for oid in ("o-1", "o-2", "o-3")
    ]
