"""Those who try a broker daemon for `piker.brokers.orderconformance`: what they do and hear."""

import secrets
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, aclosing, asynccontextmanager
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, TypeVar

from piker import clock
from piker.brokers.trials import Broken
from piker.errors import Fault, Refused
from piker.interfaces.broker import (
    BROKER,
    Amend,
    Cancel,
    CancelAll,
    CancelAllReply,
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
from piker.orders import (
    NOTHING,
    BrokerEvent,
    Cancelled,
    Execution,
    Filled,
    VenueExpired,
)
from piker.varlink import Client, open_client

SOON_NS = 30 * 10**9
"""A request that is not to be late."""

E = TypeVar("E", bound=BrokerEvent)
Hook = Callable[[], Awaitable[None]]


@dataclass(frozen=True, kw_only=True)
class Ground:
    """What a broker daemon is tried on.

    `restart` ends it and has it answer again at the same path. While the context that `away` gives
    is open, its venue can't be asked. `trade` has the market show a price, where none comes by
    itself after an order was placed. What is None is not tried.
    """

    name: str
    path: str
    account: str
    market: str
    size: Decimal
    resting: Decimal
    """A buyer's limit that no seller comes down to."""
    crossing: Decimal
    """A buyer's limit at which there are sellers, enough of them."""
    off_grid: Decimal
    restart: Hook | None = None
    away: Callable[[], AbstractAsyncContextManager[None]] | None = None
    trade: Hook | None = None


class Desk:
    """Those who ask one broker daemon. `ask` is for commands, which need no session."""

    def __init__(self, ground: Ground) -> None:
        self.ground = ground

    @asynccontextmanager
    async def client(self) -> AsyncIterator[Client]:
        """A connection."""
        async with open_client(self.ground.path, BROKER, self.ground.name) as client:
            yield client

    @asynccontextmanager
    async def sender(self) -> AsyncIterator["Sender"]:
        """Somebody takes control, until the context ends."""
        async with self.client() as stream, self.client() as client:
            replies = stream.replies(Open(), OpenReply)
            async with aclosing(replies), aclosing(_plain(replies)) as plain:
                yield Sender(self.ground, client, plain, await anext(plain))

    async def cancel(self, oid: str) -> None:
        """Cancel an order, of no session."""
        async with self.client() as client:
            await client.call(Cancel(oid=oid, venue_ids=()), Done)

    async def cancel_all(self, account: str | None = None) -> tuple[str, ...]:
        """Cancel all that is ours."""
        async with self.client() as client:
            call = CancelAll(scope="ours", account=account)
            return (await client.call(call, CancelAllReply)).venue_ids

    async def snapshot(self, since_ns: int = 0) -> SnapshotReply:
        """What the venue holds."""
        async with self.client() as client:
            return await client.call(Snapshot(since_ns=since_ns), SnapshotReply)

    async def open_oids(self) -> list[str]:
        """The references of what is open."""
        return [each.oid for each in (await self.snapshot()).orders]


class Sender:
    """Who has a session, and what it was told."""

    def __init__(
        self,
        ground: Ground,
        client: Client,
        replies: AsyncGenerator[OpenReply, None],
        first: OpenReply,
    ) -> None:
        if first.opened is None:
            raise Broken("expected Opened in the first reply, was none")
        self.opened: Opened = first.opened
        self.first = first
        self.told: list[Told] = []
        self.links: list[Link] = [first.link] if first.link else []
        self._ground = ground
        self._client = client
        self._replies = replies

    def order(self, **changed: Any) -> Place:
        """An order that rests, but for what is changed."""
        ground = self._ground
        return Place(
            **{
                "session": self.opened.session,
                "not_after_boot_ns": clock.boot_ns() + SOON_NS,
                "oid": f"check-{secrets.token_hex(8)}",
                "account": ground.account,
                "market": ground.market,
                "side": "buy",
                "size": ground.size,
                "limit": ground.resting,
                "tif": "gtc",
                **changed,
            }
        )

    def amendment(self, oid: str, **changed: Any) -> Amend:
        """Twice as much at the same limit, but for what is changed."""
        return Amend(
            **{
                "session": self.opened.session,
                "not_after_boot_ns": clock.boot_ns() + SOON_NS,
                "oid": oid,
                "n": 1,
                "size": 2 * self._ground.size,
                "limit": self._ground.resting,
                **changed,
            }
        )

    async def place(self, **changed: Any) -> str:
        """Place an order; gives its reference."""
        order = self.order(**changed)
        await self.send(order)
        return order.oid

    async def amend(self, oid: str, **changed: Any) -> None:
        """Amend an order."""
        await self.send(self.amendment(oid, **changed))

    async def send(self, request: Place | Amend) -> None:
        """Hand a request over."""
        await self._client.call(request, Done)

    async def cancel(self, oid: str) -> None:
        """Cancel an order."""
        await self._client.call(Cancel(oid=oid, venue_ids=()), Done)

    async def refusal(self, call: Place | Amend) -> Fault:
        """The fault that a request is answered with."""
        try:
            await self.send(call)
        except Refused as no:
            return no.fault
        raise Broken(f"expected {type(call).__name__} to be refused, was Done")

    async def hear(self) -> None:
        """Take the next reply."""
        reply = await anext(self._replies, None)
        if reply is None:
            raise Broken("expected the stream to go on, it ended")
        self.told += reply.told
        self.links += [reply.link] if reply.link else []

    async def hears(self, oid: str, kind: type[E]) -> E:
        """The first word of a kind about an order."""
        while True:
            for told in self.told:
                if told.oid == oid and isinstance(told.event, kind):
                    return told.event
            await self.hear()

    async def hears_end(self, oid: str) -> BrokerEvent:
        """The word that an order has ended unfilled."""
        while True:
            for told in self.told:
                if told.oid == oid and isinstance(told.event, Cancelled | VenueExpired):
                    return told.event
            await self.hear()

    async def hears_fills(self, oid: str, size: Decimal) -> list[Execution]:
        """All executions of an order, up to so much."""
        while sum((each.size for each in self.executions(oid)), NOTHING) < size:
            await self.hear()
        return self.executions(oid)

    def executions(self, oid: str) -> list[Execution]:
        """The executions of an order so far, the newest revision of each."""
        newest: dict[str, Execution] = {}
        for told in self.told:
            if told.oid == oid and isinstance(told.event, Filled):
                execution = told.event.execution
                before = newest.get(execution.exec_id)
                if before is None or before.revision < execution.revision:
                    newest[execution.exec_id] = execution
        return list(newest.values())

    async def fill(self, **changed: Any) -> tuple[str, list[Execution]]:
        """Place an order at which there are sellers; gives its reference and executions."""
        oid = await self.place(**{"limit": self._ground.crossing, **changed})
        await self.trade()
        return oid, await self.hears_fills(oid, self._ground.size)

    async def trade(self) -> None:
        """Have the market show a price."""
        if self._ground.trade:
            await self._ground.trade()


async def _plain(
    replies: AsyncGenerator[tuple[OpenReply, tuple[int, ...]], None],
) -> AsyncGenerator[OpenReply, None]:
    async for reply, _ in replies:
        yield reply
