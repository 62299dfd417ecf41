"""Order control at the simulated venue.

One task, in the context of `open_trade_dialog`: Dialog.run, one session after another.
"""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from math import inf

import msgspec
import trio

from piker import clock, paths
from piker.brokers import Hear
from piker.brokers.sim import Settings
from piker.brokers.sim.tradewire import (
    PREFIX,
    AskBook,
    BookIs,
    CancelOpen,
    CancelOrder,
    Hello,
    NewOrder,
    OpenCancelled,
    Replace,
    Request,
    Said,
    TurnedAway,
    Welcome,
    read_said,
    snapshot,
    told,
    write,
)
from piker.core.backoff import Backoff
from piker.errors import Refused, Unreachable
from piker.interfaces.broker import (
    Amend,
    Cancel,
    CancelAll,
    CredentialRefused,
    Link,
    NotConnected,
    Place,
    SnapshotReply,
)
from piker.interfaces.service import BrokenConfiguration
from piker.transport import Connection, HungUp, connect

UNIT = "the simulated venue"
PAUSES_S = (0.1, 5.0)
"""First and longest pause between attempts to connect."""
WELCOME_S = 5.0
"""How long the venue may take to let us in."""
ANSWER_S = 10.0
"""How long it may take to answer a question."""
REST_S = 5.0
"""How long it may take to read on in the middle of a message."""
FIRST_S = 1.0
"""How long opening waits for the first attempt to connect: what the venue says of itself, and of
the token, is then known from the start."""


class Answer:
    """What a question to the venue waits for."""

    def __init__(self) -> None:
        self.said: BookIs | OpenCancelled | None = None
        self.settled = trio.Event()

    def settle(self, said: BookIs | OpenCancelled | None) -> None:
        """The venue has answered, or won't."""
        self.said = said
        self.settled.set()


class Dialog:
    """A TradeDialog with the simulated venue."""

    live = True
    """It stands for real money."""
    accounts: tuple[str, ...] = (f"{PREFIX}main",)

    def __init__(self, path: str, token: str, hear: Hear) -> None:
        self.absence_proves = False
        self.link = Link(up=False, reason="not connected yet")
        self.tried = trio.Event()
        """The first attempt to connect has come to something."""
        self.no: Refused | None = None
        """Why the venue does not let us in."""
        self._path = path
        self._token = token
        self._hear = hear
        self._backoff = Backoff(*PAUSES_S)
        self._connection: Connection | None = None
        self._turn = trio.Lock()
        """Who has it sends; the others wait in the order in which they came."""
        self._asked = 0
        self._answers: dict[int, Answer] = {}

    async def place(self, order: Place) -> None:
        """Hand an order over."""
        request = NewOrder(
            ref=order.oid,
            account=order.account.removeprefix(PREFIX),
            market=order.market,
            side=order.side,
            size=order.size,
            limit=order.limit,
            tif=order.tif,
        )
        await self._send(request, _left_s(order))

    async def amend(self, order: Amend) -> None:
        """Ask for another total or limit."""
        request = Replace(ref=order.oid, number=order.n, size=order.size, limit=order.limit)
        await self._send(request, _left_s(order))

    async def cancel(self, order: Cancel) -> None:
        """Cancel an order by its reference and by each id."""
        await self._send(CancelOrder(ref=order.oid, order_ids=order.venue_ids))

    async def cancel_all(self, call: CancelAll) -> tuple[str, ...]:
        """Cancel what is open; gives its ids, or none if the answer was lost."""
        account = call.account.removeprefix(PREFIX) if call.account else None
        number = self._next()
        said = await self._ask(CancelOpen(asked=number, scope=call.scope, account=account), number)
        return said.order_ids if isinstance(said, OpenCancelled) else ()

    async def snapshot(self, since_ns: int) -> SnapshotReply:
        """What the venue holds. Requests and answers keep their order on the one connection."""
        asked_ns, number = clock.wall_ns(), self._next()
        said = await self._ask(AskBook(asked=number, since_ns=since_ns), number)
        if not isinstance(said, BookIs):
            lost = f"no answer within {ANSWER_S:g} s" if self.link.up else self.link.reason
            raise Refused(NotConnected(reason=lost))
        return snapshot(said, asked_ns)

    async def run(self) -> None:
        """Stay connected until cancelled."""
        while True:
            self._lose(await self._hold_session())
            await trio.sleep(self._backoff.pause())

    async def _hold_session(self) -> str:
        """One session with the venue; gives why it ended."""
        reason = "the venue hung up"
        try:
            await self._converse()
        except Refused as no:
            self.no, reason = no, str(no)
        except (Unreachable, HungUp, msgspec.DecodeError) as error:
            reason = str(error)
        return reason

    async def _converse(self) -> None:
        connection = await connect(self._path, UNIT)
        try:
            await connection.send(write(Hello(token=self._token)))
            with trio.CancelScope() as waiting:
                waiting.deadline = trio.current_time() + WELCOME_S
                await self._listen(connection, waiting)
            if waiting.cancelled_caught:
                raise HungUp(f"no welcome within {WELCOME_S:g} s")
        finally:
            self._connection = None
            connection.close()

    async def _listen(self, connection: Connection, waiting: trio.CancelScope) -> None:
        while messages := await connection.receive():
            for message in messages:
                said = read_said(message.data)
                if isinstance(said, Welcome):
                    waiting.deadline = inf
                    self._enter(connection, said)
                self._take(said)

    def _enter(self, connection: Connection, said: Welcome) -> None:
        """The venue let us in: orders can be handed over."""
        self._connection = connection
        self._backoff.reset()
        self.no = None
        self.absence_proves = said.absence_proves
        self._say(Link(up=True))

    def _take(self, said: Said) -> None:
        match said:
            case TurnedAway(reason=reason):
                raise Refused(CredentialRefused(name="token", reason=reason))
            case BookIs(asked=asked) | OpenCancelled(asked=asked):
                answer = self._answers.get(asked)
                if answer:
                    answer.settle(said)
            case Welcome():
                pass
            case _:
                word = told(said)
                if word:
                    self._hear(word)

    def _lose(self, reason: str) -> None:
        self._say(Link(up=False, reason=reason))
        for answer in self._answers.values():
            answer.settle(None)

    def _say(self, link: Link) -> None:
        """The link has come up, or was lost, or is down for another reason."""
        self.tried.set()
        if link.up or link != self.link:
            self.link = link
            self._hear(link)

    async def _send(self, request: Request, patience_s: float = ANSWER_S) -> None:
        """Send it, or refuse it if the venue takes nothing of it for so long.

        Raises Refused(NotConnected).
        """
        data = memoryview(write(request))
        sent = 0
        with trio.move_on_after(patience_s):
            async with self._turn:
                sent = await self._begin(data)
                if sent < len(data):
                    await self._finish(data[sent:])
        if not sent:
            raise Refused(NotConnected(reason="the venue takes nothing more"))

    async def _begin(self, data: memoryview) -> int:
        """Send some of a message. Raises Refused if nothing of it was sent."""
        while True:
            connection = self._connection
            if not connection:
                raise Refused(NotConnected(reason=self.link.reason or "the link was just lost"))
            try:
                if sent := connection.try_send(data):
                    return sent
                await connection.writable()
            except HungUp as error:
                raise Refused(NotConnected(reason=str(error))) from error

    async def _finish(self, rest: memoryview) -> None:
        """Send the rest. A venue that does not take it within reason is gone: what was sent is no
        message, and nothing can follow it."""
        connection = self._connection
        assert connection
        with suppress(HungUp):  # the listening task meets the same
            with trio.CancelScope(shield=True), trio.move_on_after(REST_S):
                await connection.send_rest(rest)
                return
            connection.close()

    def _next(self) -> int:
        self._asked += 1
        return self._asked

    async def _ask(self, question: Request, number: int) -> BookIs | OpenCancelled | None:
        """The venue's answer, or None if it was lost. Raises Refused if it was never asked."""
        answer = self._answers[number] = Answer()
        try:
            await self._send(question)
            with trio.move_on_after(ANSWER_S):
                await answer.settled.wait()
            return answer.said
        finally:
            del self._answers[number]


@asynccontextmanager
async def open_trade_dialog(
    settings: Settings, credentials: Mapping[str, str], hear: Hear
) -> AsyncIterator[Dialog]:
    """Gives the dialog. Raises Refused(CredentialRefused | BrokenConfiguration)."""
    dialog = Dialog(venue_path(settings), credentials["token"], hear)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(dialog.run)
        with trio.move_on_after(FIRST_S):
            await dialog.tried.wait()
        refused = dialog.no
        if not refused:
            yield dialog
        nursery.cancel_scope.cancel()
    if refused:
        raise refused


def _left_s(order: Place | Amend) -> float:
    """How long it may still be handed over, within reason."""
    return min(ANSWER_S, max(0.0, (order.not_after_boot_ns - clock.boot_ns()) / 1e9))


def venue_path(settings: Settings) -> str:
    """Where the venue listens. Raises Refused(BrokenConfiguration)."""
    if settings.venue is None:
        return str(paths.runtime_directory() / "piker" / "sim-venue" / "venue.sock")
    if not settings.venue.startswith("/"):
        problem = f"expected an absolute path, was {settings.venue!r}"
        fault = BrokenConfiguration(file="piker.toml", key="providers.sim.venue", problem=problem)
        raise Refused(fault)
    return settings.venue
