"""A trade dialog in a test's hands, and who serves it."""

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager
from decimal import Decimal
from typing import Any

import trio

from piker import clock
from piker.brokerage import Brokerage, Control
from piker.brokers import Hear
from piker.errors import Refused
from piker.interfaces.broker import (
    BROKER,
    Amend,
    Cancel,
    CancelAll,
    Link,
    Open,
    Opened,
    OpenReply,
    Place,
    SnapshotReply,
)
from piker.varlink import Client, Server
from tests.fakes.switchboard import Switchboard, a_switchboard

ACCOUNT = "fake.main"
SOON_NS = 5 * 10**9


class Dialog:
    """Does what the test says, and remembers what reached it."""

    live = True
    absence_proves = False
    accounts: tuple[str, ...] = (ACCOUNT,)

    def __init__(self, hear: Hear) -> None:
        self.hear = hear
        self.link = Link(up=True)
        self.reached: list[Place | Amend | Cancel | CancelAll] = []
        self.no: Refused | None = None
        self.ready = trio.Event()
        """A hand-over waits for it."""
        self.ready.set()

    def say_link(self, link: Link) -> None:
        """The link comes up or is lost."""
        self.link = link
        self.hear(link)

    async def place(self, order: Place) -> None:
        """As the contract has it."""
        await self.ready.wait()
        self._take(order)

    async def amend(self, order: Amend) -> None:
        """As the contract has it."""
        self._take(order)

    async def cancel(self, order: Cancel) -> None:
        """As the contract has it."""
        self._take(order)

    async def cancel_all(self, call: CancelAll) -> tuple[str, ...]:
        """As the contract has it."""
        self._take(call)
        return ("7", "8")

    async def snapshot(self, since_ns: int) -> SnapshotReply:
        """As the contract has it."""
        return SnapshotReply(asked_ns=since_ns + 1, orders=(), ended=(), executions=(), holdings=())

    def _take(self, request: Place | Amend | Cancel | CancelAll) -> None:
        if self.no:
            raise self.no
        self.reached.append(request)


class Owner:
    """Who has a session: its stream, and how its requests look."""

    def __init__(self, replies: AsyncGenerator[OpenReply, None], first: OpenReply) -> None:
        assert first.opened
        self.replies = replies
        self.opened: Opened = first.opened
        self.link = first.link

    def order(self, **changed: Any) -> Place:
        """An order that can be handed over, but for what is changed."""
        return Place(
            **{
                "session": self.opened.session,
                "not_after_boot_ns": clock.boot_ns() + SOON_NS,
                "oid": "o-1",
                "account": ACCOUNT,
                "market": "eurusd.spot.fake",
                "side": "buy",
                "size": Decimal(3),
                "limit": Decimal("1.25"),
                "tif": "gtc",
                **changed,
            }
        )

    def amendment(self, **changed: Any) -> Amend:
        """An amendment that can be handed over, but for what is changed."""
        return Amend(
            **{
                "session": self.opened.session,
                "not_after_boot_ns": clock.boot_ns() + SOON_NS,
                "oid": "o-1",
                "n": 1,
                "size": Decimal(2),
                "limit": Decimal("1.50"),
                **changed,
            }
        )


class Counter:
    """A brokerage, its dialog, and those who ask it."""

    def __init__(self, brokerage: Brokerage, dialog: Dialog, board: Switchboard) -> None:
        self.brokerage = brokerage
        self.dialog = dialog
        self.board = board
        self.client: Client = board.client(BROKER)

    @asynccontextmanager
    async def owner(self) -> AsyncIterator[Owner]:
        """Somebody takes control, until the context ends."""
        replies = self.board.client(BROKER).replies(Open(), OpenReply)
        async with aclosing(replies), aclosing(_without_fds(replies)) as plain:
            yield Owner(plain, await anext(plain))


async def _without_fds(
    replies: AsyncGenerator[tuple[OpenReply, tuple[int, ...]], None],
) -> AsyncGenerator[OpenReply, None]:
    async for reply, fds in replies:
        assert fds == ()
        yield reply


@asynccontextmanager
async def a_counter() -> AsyncIterator[Counter]:
    """A brokerage of which nothing is left when all have hung up."""
    control = Control(_nothing)
    dialog = Dialog(control.hear)
    brokerage = Brokerage("fake", dialog, control, _nothing)
    with trio.fail_after(1000):
        async with a_switchboard(Server("brokerd@fake", brokerage.handlers)) as board:
            yield Counter(brokerage, dialog, board)


def _nothing() -> None:
    pass
