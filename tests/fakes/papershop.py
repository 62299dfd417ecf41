"""A paperboi in the test's own process, a real datad at its socket, and who trades there."""

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import AsyncExitStack, aclosing, asynccontextmanager, suppress
from decimal import Decimal
from typing import Any

import trio

from piker import clock, notify, paths
from piker.brokerage import Brokerage, Control
from piker.brokers import Provider
from piker.config import Configuration
from piker.interfaces.broker import (
    BROKER,
    Amend,
    Cancel,
    Done,
    Link,
    Open,
    Opened,
    OpenReply,
    Place,
    Snapshot,
    SnapshotReply,
    Told,
)
from piker.orders import BrokerEvent, Execution, Filled
from piker.paperboi import Paperboi
from piker.paperdialog import PaperDialog, open_dialog
from piker.service import Service
from piker.transport import listen
from piker.varlink import Client, Server
from tests.fakes.manager import Manager
from tests.fakes.switchboard import Switchboard, a_switchboard
from tests.fakes.venue import EURUSD, Desk, a_desk

ACCOUNT = "paper.fake"
PROVIDER = Provider("fake", "In a test's hands.", {})
SOON_NS = 5 * 10**9


class Trader:
    """Somebody with a session, and what was told to them."""

    def __init__(
        self, client: Client, replies: AsyncGenerator[OpenReply, None], first: OpenReply
    ) -> None:
        assert first.opened
        self.client = client
        self.opened: Opened = first.opened
        self.link: Link | None = first.link
        self.links: list[Link] = []
        self.told: list[Told] = []
        self._replies = replies

    def order(self, oid: str = "o-1", **changed: Any) -> Place:
        """A buy of 3 at 1.20, gtc, but for what is changed."""
        facts: dict[str, Any] = {
            "session": self.opened.session,
            "not_after_boot_ns": clock.boot_ns() + SOON_NS,
            "account": ACCOUNT,
            "market": EURUSD.fqme,
            "side": "buy",
            "size": Decimal(3),
            "limit": Decimal("1.20"),
            "tif": "gtc",
        }
        return Place(**(facts | {"oid": oid} | changed))

    async def place(self, oid: str = "o-1", **changed: Any) -> None:
        """Place such an order."""
        await self.client.call(self.order(oid, **changed), Done)

    async def amend(self, oid: str, n: int, size: int, limit: str | None) -> None:
        """Amend an order."""
        call = Amend(
            session=self.opened.session,
            not_after_boot_ns=clock.boot_ns() + SOON_NS,
            oid=oid,
            n=n,
            size=Decimal(size),
            limit=None if limit is None else Decimal(limit),
        )
        await self.client.call(call, Done)

    async def cancel(self, oid: str, *venue_ids: str) -> None:
        """Cancel an order."""
        await self.client.call(Cancel(oid=oid, venue_ids=venue_ids), Done)

    async def snapshot(self, since_ns: int = 0) -> SnapshotReply:
        """What there is."""
        return await self.client.call(Snapshot(since_ns=since_ns), SnapshotReply)

    async def hears(self, count: int = 1) -> list[tuple[str, BrokerEvent]]:
        """The next so many words, each with its order."""
        while len(self.told) < count:
            reply = await anext(self._replies)
            self.told += reply.told
            self.links += [reply.link] if reply.link else []
        heard, self.told = self.told[:count], self.told[count:]
        return [(each.oid, each.event) for each in heard]

    async def hears_link(self) -> Link:
        """The next change of the link."""
        while not self.links:
            reply = await anext(self._replies)
            self.told += reply.told
            self.links += [reply.link] if reply.link else []
        return self.links.pop(0)

    async def fills(self, count: int = 1) -> list[Execution]:
        """The next so many executions; other words are passed over."""
        found: list[Execution] = []
        while len(found) < count:
            for _, event in await self.hears():
                found += [event.execution] if isinstance(event, Filled) else []
        return found


class Shop:
    """A paperboi, and those who ask it."""

    def __init__(self, paperboi: Paperboi, dialog: PaperDialog, board: Switchboard) -> None:
        self.paperboi = paperboi
        self.dialog = dialog
        self.board = board

    @asynccontextmanager
    async def trader(self) -> AsyncIterator[Trader]:
        """Somebody takes control, until the context ends."""
        replies = self.board.client(BROKER).replies(Open(), OpenReply)
        async with aclosing(replies), aclosing(without_fds(replies)) as plain:
            yield Trader(self.board.client(BROKER), plain, await anext(plain))


async def without_fds(
    replies: AsyncGenerator[tuple[OpenReply, tuple[int, ...]], None],
) -> AsyncGenerator[OpenReply, None]:
    """The replies of an Open alone."""
    async for reply, fds in replies:
        assert fds == ()
        yield reply


@asynccontextmanager
async def a_shop(
    configuration: Configuration | None = None, provider: Provider = PROVIDER
) -> AsyncIterator[Shop]:
    """A paperboi, of which nothing but its account is left when all have hung up."""
    service = Service("paperboi", provider.name, notify.Manager())
    control = Control(service.changed)
    with trio.fail_after(100_000):
        async with open_dialog(
            service, provider, configuration or Configuration(), control.hear
        ) as dialog:
            paperboi = Paperboi(Brokerage(ACCOUNT, dialog, control, service.changed), dialog)
            server = Server(service.unit, paperboi.handlers)
            async with a_switchboard(server) as board:
                yield Shop(paperboi, dialog, board)


@asynccontextmanager
async def a_served_desk(**facts: Any) -> AsyncIterator[Desk]:
    """A datad of the fake venue, at its socket."""
    async with AsyncExitStack() as stack:
        desk = await stack.enter_async_context(a_desk(**facts))
        nursery = await stack.enter_async_context(trio.open_nursery())
        listener = stack.enter_context(listen(str(paths.socket_path("datad", "fake"))))
        nursery.start_soon(desk.board.server.serve, [listener])
        yield desk
        await desk.board.server.drain()
        nursery.cancel_scope.cancel()


@asynccontextmanager
async def a_trader(**facts: Any) -> AsyncIterator[tuple[Trader, Desk, Shop]]:
    """All of it: a venue, its datad, a paperboi, and somebody with a session."""
    async with a_served_desk(**facts) as desk, a_shop() as shop, shop.trader() as trader:
        yield trader, desk, shop


async def listen_to(manager: Manager) -> None:
    """Hear what daemons say, for as long as none is started: else one waits for who listens."""
    while True:
        with suppress(trio.TooSlowError):
            await manager.hear("nothing begins so")
