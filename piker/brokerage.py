"""Serves piker.Broker over a provider's TradeDialog, for brokerd and for paperboi.

One session at a time may send: the newest. What a request must fulfil is checked here, all of it
before anything reaches the dialog; there is no await between the last check and the hand-over.

What the dialog is heard to say goes to the session's owner, in order. While nobody has a session
it is dropped, as piker.Broker says: who takes control asks for a Snapshot. What Opened said holds
as long as its session: a venue that turns out to be another one ends it.
"""

import logging
import secrets
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager, suppress
from itertools import groupby

import trio

from piker import clock, log
from piker.brokers import Hear, Heard, TradeDialog
from piker.errors import Refused
from piker.interfaces import Interface
from piker.interfaces.broker import (
    BROKER,
    Amend,
    Cancel,
    CancelAll,
    CancelAllReply,
    Done,
    InvalidOrder,
    Link,
    NotConnected,
    Open,
    Opened,
    OpenReply,
    Place,
    Snapshot,
    SnapshotReply,
    StaleSession,
    Superseded,
    Told,
    TooLate,
    UnknownAccount,
)
from piker.interfaces.service import Counter
from piker.service import Report
from piker.transport import Connection, HungUp
from piker.varlink import Stream, encode_reply

OUTBOX = 16_384
"""Words of the venue that may wait for a session's owner. With more it doesn't read: its stream is
ended, so that it takes control again and reconciles."""
JOINED = 256
"""Words told in one reply at most."""
MS = 10**6

OpenDialog = Callable[[Hear], AbstractAsyncContextManager[TradeDialog]]

logger = logging.getLogger(__name__)


class Session:
    """One Open stream: its name, and what waits to be told to its owner. `run` is its task."""

    def __init__(self, connection: Connection, terms: object) -> None:
        self.name = secrets.token_hex(16)
        self.terms = terms
        self._connection = connection
        self._waiting: deque[Heard] = deque()
        self._rest = memoryview(b"")
        self._wake = trio.Event()
        self._going = trio.CancelScope()
        self._end: Refused | HungUp = HungUp("the session is over")

    @property
    def over(self) -> bool:
        """Whether it was ended, or its owner has hung up; also if that was not read yet: a request
        that the owner left behind may be read before the goodbye is."""
        if self._going.cancel_called:
            return True
        try:
            return self._connection.receive_now() is not None
        except HungUp:
            return True

    async def run(self, first: OpenReply) -> None:
        """Send `first`, then what is put. Raises HungUp, or Refused as it was ended with."""
        self._rest = memoryview(encode_reply(first, continues=True))
        with self._going:
            while True:
                self.flush()
                await (self._connection.writable() if self._rest else self._woken())
        raise HungUp("it can't be told in the middle of a reply") if self._rest else self._end

    def put(self, heard: Heard) -> None:
        """Have it told, after all that was put before."""
        self._waiting.append(heard)
        self._wake.set()
        if len(self._waiting) > OUTBOX:
            self.try_flush()
        if len(self._waiting) > OUTBOX:
            logger.warning("the session's owner doesn't read: its stream ends, it must reconcile")
            self.end(HungUp("its owner doesn't read"))

    def try_flush(self) -> None:
        """Send what fits now."""
        with suppress(HungUp):  # its own task meets the same, and ends the conversation
            self.flush()

    def flush(self) -> None:
        """Send what fits now. Raises HungUp."""
        while self._rest or self._waiting:
            if not self._rest:
                self._rest = memoryview(b"".join(_replies(self._take())))
            self._rest = self._rest[self._connection.try_send(self._rest) :]
            if self._rest:
                return

    def end(self, end: Refused | HungUp) -> None:
        """Have `run` end so, whatever it waits for. What was not told is dropped."""
        self._waiting.clear()
        self._end = end
        self._going.cancel()

    def _take(self) -> list[Heard]:
        return [self._waiting.popleft() for _ in range(min(JOINED, len(self._waiting)))]

    async def _woken(self) -> None:
        await self._wake.wait()
        self._wake = trio.Event()


class Control:
    """Who has control: at most one session. `hear` is what a dialog is opened with."""

    def __init__(self, changed: Callable[[], None]) -> None:
        self.terms: Callable[[], object] = lambda: None
        """What a session rests on; one that was opened on other terms is over."""
        self._changed = changed
        self._session: Session | None = None
        self._opens = 0
        self._handing = 0
        self._handed = trio.Event()

    @property
    def held(self) -> bool:
        """Whether somebody has a session."""
        return self._session is not None

    def hear(self, heard: Heard) -> None:
        """Pass on what the venue said, if somebody has a session."""
        if isinstance(heard, Link):
            logger.info("link %s: %s", "up" if heard.up else "down", heard.reason or "connected")
            self._changed()
        if self._session and self._session.terms != self.terms():
            logger.warning("what there is to trade on has changed: the session is over")
            self._drop(HungUp("it was opened on other terms"))
        elif self._session:
            self._session.put(heard)

    @asynccontextmanager
    async def taken(self, connection: Connection) -> AsyncIterator[Session]:
        """A new session as long as the context is open; the one before it is over.

        It begins when what that one's owner asked for is handed over: nothing of it comes later.
        """
        self._opens += 1
        place = self._opens
        self._drop(Refused(Superseded()))
        while self._handing:
            await self._handed.wait()
        if place != self._opens:
            raise Refused(Superseded())
        session = self._session = Session(connection, self.terms())
        self._changed()
        try:
            yield session
        finally:
            if self._session is session:
                self._session = None
            self._changed()

    @contextmanager
    def handing_over(self) -> Iterator[None]:
        """While a request of a session that was checked is on its way to the dialog."""
        self._handing += 1
        try:
            yield
        finally:
            self._handing -= 1
            self._handed.set()
            self._handed = trio.Event()

    def _drop(self, end: Refused | HungUp) -> None:
        if self._session:
            self._session.end(end)
            self._session = None

    def check(self, name: str) -> None:
        """Raises Refused(StaleSession) unless this is the session that has control."""
        if self._session and self._session.over:
            self._drop(HungUp("its owner has gone"))
        session = self._session
        if not session or not secrets.compare_digest(session.name.encode(), name.encode()):
            raise Refused(StaleSession(session=name))

    def flush(self) -> None:
        """Tell what was heard now, as far as it fits, before anything else is answered."""
        if self._session:
            self._session.try_flush()


class Brokerage:
    """Order control at one provider: a daemon, or the part of one that answers piker.Broker."""

    def __init__(
        self, name: str, dialog: TradeDialog, control: Control, changed: Callable[[], None]
    ) -> None:
        self.handlers: dict[Interface, object] = {BROKER: self}
        self._name = name
        self._dialog = dialog
        self._control = control
        control.terms = self._terms
        self._changed = changed
        self._sent = 0
        self._refused = 0

    async def open(self, call: Open, stream: Stream) -> None:
        """piker.Broker.Open."""
        async with self._control.taken(stream.connection) as session:
            await session.run(OpenReply(opened=self._opened(session), link=self._dialog.link))

    async def place(self, call: Place) -> Done:
        """piker.Broker.Place."""
        with self._judging("Place", call.oid):
            self._check_sender(call)
            self._check_account(call.account)
            _check_order(call)
        self._sent += 1
        self._changed()
        about = log.fields(oid=call.oid, account=call.account, market=call.market)
        logger.info("hands over %s %s", call.side, call.size, extra=about)
        with self._control.handing_over():
            await self._dialog.place(call)
        return Done()

    async def amend(self, call: Amend) -> Done:
        """piker.Broker.Amend."""
        with self._judging("Amend", call.oid):
            self._check_sender(call)
            _check_order(call)
        logger.info("hands over amendment %d", call.n, extra=log.fields(oid=call.oid))
        with self._control.handing_over():
            await self._dialog.amend(call)
        return Done()

    async def cancel(self, call: Cancel) -> Done:
        """piker.Broker.Cancel."""
        logger.info("hands over a cancel", extra=log.fields(oid=call.oid))
        await self._dialog.cancel(call)
        return Done()

    async def cancel_all(self, call: CancelAll) -> CancelAllReply:
        """piker.Broker.CancelAll."""
        if call.account is not None:
            self._check_account(call.account)
        logger.info("cancels %s orders of %s", call.scope, call.account or "all accounts")
        return CancelAllReply(venue_ids=await self._dialog.cancel_all(call))

    async def snapshot(self, call: Snapshot) -> SnapshotReply:
        """piker.Broker.Snapshot. What was heard before leaves before it does."""
        reply = await self._dialog.snapshot(call.since_ns)
        self._control.flush()
        return reply

    def report(self) -> Report:
        """A line a person can trust."""
        link = self._dialog.link
        away = "waits for a login" if link.needs_login else "not connected"
        connected = "connected" if link.up else away
        connected += f" ({link.reason})" if link.reason or not link.up else ""
        held = "session held" if self._control.held else "no session"
        orders = f"{self._sent} order{'' if self._sent == 1 else 's'} sent"
        return Report(
            status=f"{self._name}: {connected} · {held} · {orders}",
            state="running" if link.up and not link.reason else "degraded",
            counters=(
                Counter(name="orders_sent", value=self._sent),
                Counter(name="requests_refused", value=self._refused),
            ),
        )

    def reason_to_live(self) -> str:
        """None: the venue keeps the orders, and who has a session is a conversation."""
        return ""

    async def run(self) -> None:
        """No tasks of its own: the dialog's live in the dialog's context."""
        await trio.sleep_forever()

    def _terms(self) -> object:
        return self._dialog.live, self._dialog.accounts, self._dialog.absence_proves

    def _opened(self, session: Session) -> Opened:
        return Opened(
            session=session.name,
            live=self._dialog.live,
            accounts=self._dialog.accounts,
            absence_proves=self._dialog.absence_proves,
        )

    @contextmanager
    def _judging(self, what: str, oid: str) -> Iterator[None]:
        """Counts and logs a request that is refused here."""
        try:
            yield
        except Refused as no:
            self._refused += 1
            self._changed()
            about = log.fields(oid=oid)
            logger.warning("%s of %s does not reach the venue: %s", what, oid, no, extra=about)
            raise

    def _check_sender(self, call: Place | Amend) -> None:
        self._control.check(call.session)
        late_ns = clock.boot_ns() - call.not_after_boot_ns
        if late_ns > 0:
            raise Refused(TooLate(late_ms=-(-late_ns // MS)))
        if not self._dialog.link.up:
            raise Refused(NotConnected(reason=self._dialog.link.reason))

    def _check_account(self, account: str) -> None:
        allowed = self._dialog.accounts
        if account not in allowed:
            raise Refused(UnknownAccount(account=account, allowed=allowed))


@asynccontextmanager
async def open_brokerage(
    name: str, open_dialog: OpenDialog, changed: Callable[[], None]
) -> AsyncIterator[Brokerage]:
    """Order control over a dialog, `changed` being called when its report has. Raises Refused."""
    control = Control(changed)
    async with open_dialog(control.hear) as dialog:
        yield Brokerage(name, dialog, control, changed)


def _check_order(call: Place | Amend) -> None:
    if not call.oid:
        raise _invalid("oid", call.oid, "an order reference")
    if not (call.size.is_finite() and call.size > 0):
        raise _invalid("size", call.size, "a finite number above 0")
    if call.limit is not None and not call.limit.is_finite():
        raise _invalid("limit", call.limit, "a finite number, or null")


def _invalid(field: str, value: object, allowed: str) -> Refused:
    return Refused(InvalidOrder(field=field, value=str(value), allowed=allowed))


def _replies(heard: list[Heard]) -> Iterator[bytes]:
    """What was heard, in order: words of the venue joined, each change of the link by itself."""
    for kind, words in groupby(heard, type):
        if kind is Told:
            told = tuple(word for word in words if isinstance(word, Told))
            yield encode_reply(OpenReply(told=told), continues=True)
        else:
            for word in words:
                assert isinstance(word, Link)
                yield encode_reply(OpenReply(link=word), continues=True)
