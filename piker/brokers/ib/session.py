"""One connection to a gateway: its handshake, what is asked over it, and its end.

Every request has a number that was never used before, or, where the protocol gives it none, the
line to itself: so that no answer is ever taken for another's. Who stops waiting leaves nothing
behind that could be. What leaves is paced (pacing.py); the gateway's own order is kept.
"""

import logging
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from itertools import count
from math import inf
from pathlib import Path

import trio

from piker import clock, paths
from piker.brokers import VenueLost
from piker.brokers.ib import codes, frames
from piker.brokers.ib.codec import Encoder, Reader, Undecodable
from piker.brokers.ib.frames import Frames, NoFrame, frame
from piker.brokers.ib.messages import (
    Accounts,
    AskAccount,
    AskCompletedOrders,
    AskIds,
    AskOpenOrders,
    AskPositions,
    AskRule,
    AskTime,
    End,
    NextId,
    Notice,
    Request,
    Said,
    Stoppable,
    WatchQuotes,
    WatchTicks,
)
from piker.brokers.ib.pacing import Pacer, TooManyWaiting, Urgency
from piker.brokers.ib.questions import SUBJECTS, UNNUMBERED, Asked, ends, is_part, manners
from piker.brokers.ib.wire import GREETING, LEAST, MOST

log = logging.getLogger(__name__)

CONNECT_S = 5.0
HANDSHAKE_S = 8.0
"""A gateway that is logged in answers at once; one that isn't accepts, and says nothing. What it
has accepted before its login it may never answer: nothing is waited for that keeps from another."""
ANSWER_S = 30.0
"""From when a request has left. Longer than a slow gateway takes for anything but history."""
QUIET_S = 20.0
"""After so long without a word the gateway is asked for one."""
PROBE_S = 10.0
SHORT = 4096
"""Bytes of a frame of the handshake: longer ones are of something that is no gateway."""
RECEIVE_BYTES = 64 * 1024
DIGITS = 10
"""Of a number of the protocol, at most."""
SEND_S = 10.0
"""A gateway that takes nothing for so long is gone."""
GARBLED = 20
"""After so many messages that can't be read it is no gateway that we could understand."""
FIRST_NUMBER = 1_500_000_000
"""Numbers of requests are far above those of orders: a notice has only the number."""
SEE_PORT = (
    "see that data and orders, in [providers.ib] of piker.toml, lead to the port that the gateway "
    "has for its API: 4001 or 4002, of TWS 7496 or 7497, if it wasn't changed"
)
IN_USE = 326
NOTICE = b"4"
SETTINGS_OF = {"iblane": "providers.ib.data", "ibgw": "providers.ib.orders"}
"""What leads to a gateway, and the setting that names it."""
UNNUMBERED_PARTS: dict[type, bytes] = {
    AskPositions: b"61",
    AskRule: b"93",
    AskTime: b"49",
    AskIds: b"9",
}
"""Messages that answers without a number are made of, beside those about orders."""
ABOUT_ORDERS = {b"3", b"5", b"11", b"59", b"101"}
"""orderStatus, openOrder, execDetails, commissionReport, completedOrder."""

Hear = Callable[[Said], None]


class GatewayLost(VenueLost):
    """The connection is over, or never was. `waits`: somebody has to log in at the gateway."""

    def __init__(self, reason: str, *, waits: bool = False) -> None:
        super().__init__(reason)
        self.waits = waits


class Declined(Exception):
    """The gateway answered a request with an error."""

    def __init__(self, notice: Notice) -> None:
        super().__init__(f"{notice.text} ({notice.code})")
        self.notice = notice


class NoAnswer(Exception):
    """The gateway did not answer a request in time; the text says which."""


class NotSent(Exception):
    """A message did not leave in time, and never will; the text says why."""


class Outgoing:
    """A message that is to leave."""

    def __init__(self, payload: bytes, not_after_boot_ns: int | None = None) -> None:
        self.payload = payload
        self.sent = False
        self.over = trio.Event()
        """It is on its way, or never will be."""
        self._not_after_boot_ns = not_after_boot_ns

    def left_s(self) -> float:
        """How long it may still leave."""
        if self._not_after_boot_ns is None:
            return inf
        return max(0.0, (self._not_after_boot_ns - clock.boot_ns()) / 1e9)


class _Question:
    """A request, what was said of it so far, and who waits for the rest."""

    def __init__(self, request: Asked) -> None:
        self.request = request
        self._said: list[Said] = []
        self._problem: Exception | None = None
        self._settled = trio.Event()
        self._whole = trio.Event()

    @property
    def settled(self) -> bool:
        """There is an answer, or there won't be."""
        return self._settled.is_set()

    @property
    def words(self) -> int:
        """How many have come."""
        return len(self._said)

    async def settle(self) -> None:
        """Wait until it is settled."""
        await self._settled.wait()

    def take(self, said: Said) -> None:
        """One more word of the answer."""
        if isinstance(said, Notice):
            self.fail(Declined(said))
            return
        if not isinstance(said, End):
            self._said.append(said)
        if ends(self.request, said):
            self._settled.set()
            self._whole.set()

    def fail(self, problem: Exception) -> None:
        """There won't be an answer."""
        if not self.settled:
            self._problem = problem
            self._settled.set()

    async def end(self) -> None:
        """Wait for the end of the answer, also of one that nobody counts on any more."""
        await self._whole.wait()

    async def wait(self) -> tuple[Said, ...]:
        """The answer. Raises what it failed by."""
        await self.settle()
        if self._problem:
            raise self._problem
        return tuple(self._said)


class Session:
    """A gateway that has let us in. Over when its context is."""

    def __init__(
        self,
        stream: trio.SocketStream,
        nursery: trio.Nursery,
        hear: Hear,
        pacer: Pacer[Outgoing],
    ) -> None:
        self.version = 0
        self.accounts: tuple[str, ...] = ()
        self.next_order_id = 0
        """As the gateway said it at the start."""
        self.read_only = False
        """It takes no orders: a setting of the gateway. Known from the first that it declines."""
        self.lost: GatewayLost | None = None
        """Why it is over."""
        self._no: GatewayLost | None = None
        """Why the gateway doesn't let us in."""
        self.counters: Counter[str] = Counter()
        self._stream = stream
        self._nursery = nursery
        self._hear = hear
        self._frames = Frames(SHORT)
        self._numbers = count(FIRST_NUMBER)
        self._asked: dict[int, _Question] = {}
        self._open: dict[type, _Question] = {}
        """Questions without a number that have left, by what is asked."""
        self._doubted: _Question | None = None
        """One of them that was declined, perhaps: it wasn't said which was."""
        self._next: dict[Asked, _Question] = {}
        """Those that wait for their turn."""
        self._turns: defaultdict[type, trio.Semaphore] = defaultdict(partial(trio.Semaphore, 1))
        self._streams: dict[int, tuple[WatchQuotes | WatchTicks, Hear]] = {}
        self._pacer = pacer
        self._offered = trio.Event()
        self._waiting: set[Outgoing] = set()
        self._heard_at = trio.current_time()
        self._encoder = Encoder(LEAST)
        self._reader = Reader(LEAST)

    # --- what is asked

    async def ask(self, request: Asked, timeout_s: float = ANSWER_S) -> tuple[Said, ...]:
        """The words of the answer, but for its end. `timeout_s` counts from when it has left.

        What has no number isn't left alone, and has its own limit: ANSWER_S from word to word. Who
        is cancelled leaves, and the gateway is told if it can be. Raises Declined, NoAnswer,
        NotWritable, TooManyWaiting or GatewayLost.
        """
        if isinstance(request, UNNUMBERED):
            return await self._ask_in_turn(request)
        number = next(self._numbers)
        outgoing = self._offer(request, number)
        question = self._asked[number] = _Question(request)
        try:
            await self._leave(outgoing)
            with trio.fail_after(timeout_s):
                return await question.wait()
        except trio.TooSlowError as error:
            subject = SUBJECTS[type(request)]
            raise NoAnswer(f"no answer within {timeout_s:g} s, asked for {subject}") from error
        finally:
            del self._asked[number]
            self._pacer.ended(outgoing)
            self._offered.set()
            if outgoing.sent and (not question.settled or isinstance(request, AskAccount)):
                self._offer_stop(request, number)

    async def deliver(
        self, request: Request, number: int, not_after_boot_ns: int | None = None
    ) -> None:
        """Send a message, an order by its id perhaps. Returns when it is on its way.

        By CLOCK_BOOTTIME, which goes on in a suspend. Raises NotSent, NotWritable, TooManyWaiting
        or GatewayLost: then nothing of it has left, nor will.
        """
        outgoing = self._offer(request, number, not_after_boot_ns)
        with trio.move_on_after(outgoing.left_s()):
            await self._leave(outgoing)
        if not outgoing.sent:
            raise NotSent("the gateway took nothing in time")

    async def watch(self, request: WatchQuotes | WatchTicks, hear: Hear) -> int:
        """Hear what the gateway says of a contract, until `stop`. Gives the stream's number."""
        number = next(self._numbers)
        outgoing = self._offer(request, number)
        self._streams[number] = (request, hear)
        try:
            await self._leave(outgoing)
        except BaseException:
            del self._streams[number]
            if outgoing.sent:
                self._offer_stop(request, number)
            raise
        return number

    def stop(self, number: int) -> None:
        """End a stream. Nothing more of it is heard."""
        request, _ = self._streams.pop(number)
        self._offer_stop(request, number)

    async def _ask_in_turn(self, request: Asked) -> tuple[Said, ...]:
        """What several ask before it leaves is asked once."""
        if self.lost:
            raise self.lost
        question = self._next.get(request)
        if not question:
            question = self._next[request] = _Question(request)
            self._nursery.start_soon(self._take_turn, question)
        return await question.wait()

    async def _take_turn(self, question: _Question) -> None:
        """Ask, and wait whoever else has left: a later answer would be taken for the next one's."""
        request = question.request
        async with self._turns[type(request)]:
            del self._next[request]
            self._open[type(request)] = question
            try:
                await self._leave(self._offer(request, -1))
                await self._see_through(question)
            except (GatewayLost, TooManyWaiting) as problem:
                question.fail(problem)
            del self._open[type(request)]
        if isinstance(request, AskPositions):
            self._offer_stop(request, -1)

    async def _see_through(self, question: _Question) -> None:
        """Wait for the answer, as long as it comes; if nothing of it does the session is over.

        What was declined, perhaps, may be answered all the same.
        """
        patience_s = PROBE_S if isinstance(question.request, AskTime) else ANSWER_S
        while not question.settled:
            words = question.words
            with trio.move_on_after(patience_s):
                await question.settle()
            if not question.settled and question.words == words:
                subject = SUBJECTS[type(question.request)]
                self.lose(GatewayLost(f"no answer within {patience_s:g} s, asked for {subject}"))
        if question is self._doubted:
            with trio.move_on_after(patience_s):
                await question.end()
            self._doubted = None

    # --- what leaves

    def _offer(
        self, request: Request, number: int, not_after_boot_ns: int | None = None
    ) -> Outgoing:
        if self.lost:
            raise self.lost
        outgoing = Outgoing(self._encoder.request(request, number), not_after_boot_ns)
        urgency, needs = manners(request)
        self._pacer.offer(outgoing, urgency, _now_ns(), needs)
        self._offered.set()
        return outgoing

    def _offer_stop(self, request: Request, number: int) -> None:
        """Tell the gateway, if it is one of those that it is told of, that nobody waits."""
        if isinstance(request, Stoppable) and not self.lost:
            outgoing = Outgoing(self._encoder.stop(request, number))
            try:
                self._pacer.offer(outgoing, Urgency.CONTROL, _now_ns())
            except TooManyWaiting as problem:
                self.lose(GatewayLost(f"the gateway takes too little: {problem}"))
            self._offered.set()

    async def _leave(self, outgoing: Outgoing) -> None:
        """Wait until it has left; who is cancelled before takes it back."""
        self._waiting.add(outgoing)
        try:
            await outgoing.over.wait()
        finally:
            self._waiting.discard(outgoing)
            if not outgoing.over.is_set():
                outgoing.over.set()
                self._pacer.withdraw(outgoing)
        if self.lost and not outgoing.sent:
            raise self.lost

    async def send(self) -> None:
        """Send what is due, until cancelled."""
        while True:
            while outgoing := self._pacer.take(_now_ns()):
                await self._send_one(outgoing)
            next_ns = self._pacer.next_at(_now_ns())
            with trio.move_on_at(inf if next_ns is None else next_ns / 1e9):
                await self._offered.wait()
            self._offered = trio.Event()

    async def _send_one(self, outgoing: Outgoing) -> None:
        """From the first byte on nobody knows whether the gateway has it, unless it says so."""
        await self._room()
        if outgoing.over.is_set() or not outgoing.left_s():
            return
        outgoing.sent = True
        outgoing.over.set()
        await self._transmit(frame(outgoing.payload), outgoing.left_s())
        self._pacer.left(_now_ns())

    async def _room(self) -> None:
        """Wait until the gateway takes something."""
        with trio.move_on_after(SEND_S):
            await trio.lowlevel.wait_writable(self._stream.socket)
            return
        self.lose(GatewayLost(f"the gateway took nothing for {SEND_S:g} s"))

    async def _transmit(self, data: bytes, patience_s: float = SEND_S) -> None:
        """All of it, or the session is over: what is cut off is no message, and never will be."""
        patience_s = min(patience_s, SEND_S)
        try:
            with trio.fail_after(patience_s):
                await self._stream.send_all(data)
        except trio.TooSlowError:
            self.lose(GatewayLost(f"the gateway took nothing for {patience_s:.1f} s"))
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            self.lose(GatewayLost("the gateway has closed the connection"))

    # --- what is said

    async def begin(self, client_id: int, zone: str) -> None:
        """The handshake. Raises GatewayLost."""
        with trio.move_on_after(HANDSHAKE_S):
            self._reader = Reader(await self._agree(), zone)
            await self._transmit(frame(self._encoder.start(client_id)))
            while not (self.accounts and self.next_order_id):
                await self._take_next()
            return
        raise GatewayLost(
            "the gateway accepts and says nothing: does it wait for a login or a second factor?",
            waits=True,
        )

    async def _agree(self) -> int:
        """On a version of the protocol."""
        await self._transmit(GREETING + frame(f"v{LEAST}..{MOST}".encode()))
        first, *rest = await self._receive()
        self.version = _version(first)
        self._encoder = Encoder(self.version)
        self._frames.most = frames.MOST
        if rest:
            raise _no_gateway(f"it went on with {rest[0][:40]!r}")
        return self.version

    async def _take_next(self) -> None:
        """Take what comes next. Raises GatewayLost, or what the gateway turned us away for."""
        try:
            for payload in await self._receive():
                self._take(payload)
        finally:
            over = self._no or self.lost
            if over:
                raise over

    async def listen(self) -> None:
        """Take what comes, until the session is over."""
        try:
            while True:
                await self._take_next()
        except GatewayLost as problem:
            self.lose(problem)

    async def _receive(self) -> list[bytes]:
        """What came, at least one payload. Raises GatewayLost."""
        while True:
            try:
                data = await self._stream.receive_some(RECEIVE_BYTES)
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                data = b""
            if not data:
                raise GatewayLost("the gateway has closed the connection" + self._at_once())
            self._heard_at = trio.current_time()
            try:
                payloads = self._frames.feed(data)
            except NoFrame as error:
                if self.version:
                    raise GatewayLost(f"that is no gateway: {error}") from error
                raise _no_gateway(str(error)) from error
            if payloads:
                return payloads

    def _at_once(self) -> str:
        """What that means before it has said a word: systemd-socket-proxyd takes any connection."""
        if self.version:
            return ""
        return (
            " at once: it doesn't run, ibgw has another address, or it lets this machine not in; "
            "see piker-ib(7)"
        )

    def _take(self, payload: bytes) -> None:
        try:
            words = self._reader.read(payload)
        except Undecodable as error:
            self._garbled(payload, error)
            return
        for said in words:
            self._hear_one(said)

    def _hear_one(self, said: Said) -> None:
        number = getattr(said, "number", -1)
        if isinstance(said, Notice) and codes.is_read_only(said.code, said.text):
            self.read_only = True
        if number in self._asked:
            self._answer(self._asked[number], said)
        elif number in self._streams:
            self._streams[number][1](said)
        elif number >= FIRST_NUMBER:
            self.counters["late answers"] += 1  # to whom did not wait
        else:
            self._hear_unnumbered(said)

    def _answer(self, question: _Question, said: Said) -> None:
        """A word about a request may be no more than that."""
        if isinstance(said, Notice) and not codes.ends_request(said.code):
            self._hear(said)
        else:
            question.take(said)

    def _hear_unnumbered(self, said: Said) -> None:
        """Of orders and positions everything is heard, also what answers a question."""
        for question in list(self._open.values()):
            if is_part(question.request, said):
                question.take(said)
        match said:
            case Accounts(names=names):
                self.accounts = names
            case NextId(order_id=order_id):
                self.next_order_id = self.next_order_id or order_id
            case Notice(number=-1, code=code, text=text) if codes.is_read_only(code, text):
                self._decline(said)
            case Notice(number=-1, code=code) if code in codes.UNREAD:
                self._doubt(said)
            case Notice(code=code, text=text) if code == IN_USE:
                self._no = GatewayLost(f"{text} ({code}): another program uses it, or did just now")
        self._hear(said)

    def _decline(self, notice: Notice) -> None:
        """A gateway that takes no orders doesn't list them: it says so with no number."""
        for question in self._open.values():
            if isinstance(question.request, AskOpenOrders | AskCompletedOrders):
                question.fail(Declined(notice))

    def _doubt(self, notice: Notice) -> None:
        """The only one that is open, and has no answer yet, was declined: what else could be."""
        if len(self._open) != 1 or self._doubted:
            return
        (question,) = self._open.values()
        if not (question.settled or question.words):
            self._doubted = question
            question.fail(Declined(notice))

    def _garbled(self, payload: bytes, error: Undecodable) -> None:
        """What can't be read is of no use; of orders nothing may be missed.

        Another session asks for all of them anew.
        """
        self.counters["garbled messages"] += 1
        kind, number = payload.partition(b"\0")[0], _number(payload)
        of_orders = kind in ABOUT_ORDERS or (kind == NOTICE and 0 <= number < FIRST_NUMBER)
        if of_orders or self.counters["garbled messages"] > GARBLED:
            self.lose(GatewayLost(f"the gateway said what can't be read: {error}"))
            return
        log.error("a message of the gateway can't be read: %s", error)
        problem = NoAnswer(f"the answer can't be read: {error}")
        if number in self._asked:
            self._asked[number].fail(problem)
        for request, question in self._open.items():
            if kind == UNNUMBERED_PARTS.get(request):
                question.fail(problem)

    # --- its end

    def lose(self, problem: GatewayLost) -> None:
        """It is over: whoever waits is told why."""
        if self.lost:
            return
        self.lost = problem
        for question in (*self._asked.values(), *self._open.values(), *self._next.values()):
            question.fail(problem)
        for outgoing in self._waiting:
            outgoing.over.set()
        self._pacer.lost()
        self._nursery.cancel_scope.cancel()

    async def probe(self) -> None:
        """Ask for a word whenever there was none for long; without one the session is over."""
        while not self.lost:
            await trio.sleep_until(self._heard_at + QUIET_S)
            if self._heard_at + QUIET_S <= trio.current_time():
                await self._ask_for_a_word()

    async def _ask_for_a_word(self) -> None:
        try:
            await self.ask(AskTime())
        except (NoAnswer, Declined):
            pass  # it is one, also if it can't be read
        except TooManyWaiting as problem:
            self.lose(GatewayLost(f"the gateway takes too little: {problem}"))
        except GatewayLost as problem:
            self.lose(problem)


@asynccontextmanager
async def open_session(
    address: str,
    client_id: int,
    hear: Hear,
    *,
    pacer: Pacer[Outgoing] | None = None,
    zone: str = "UTC",
) -> AsyncIterator[Session]:
    """Gives a gateway that has let us in, and cancels what is done with it when it is lost.

    `address` is `unix:PATH` or `tcp:HOST:PORT`. `hear` is called, never awaited, with all that
    answers no question, in the gateway's order. Give the `pacer` of the session before: the rules
    are of a login. `zone` is where the gateway is. Leaves as GatewayLost, which says what to do,
    when it doesn't let us in or is lost.
    """
    ended = GatewayLost("this side has ended it")
    async with await _connect(address) as stream, trio.open_nursery() as nursery:
        session = Session(stream, nursery, hear, pacer or Pacer())
        try:
            await session.begin(client_id, zone)
            for part in (session.listen, session.send, session.probe):
                nursery.start_soon(part)
            yield session
        except* GatewayLost as problems:
            session.lose(_first(problems))
        finally:
            session.lose(ended)
    if session.lost and session.lost is not ended:
        raise session.lost


def _first(problems: BaseExceptionGroup[GatewayLost]) -> GatewayLost:
    """One of them: all say the same."""
    problem: BaseException = problems
    while isinstance(problem, BaseExceptionGroup):
        problem = problem.exceptions[0]
    assert isinstance(problem, GatewayLost)
    return problem


async def _connect(address: str) -> trio.SocketStream:
    """Raises GatewayLost."""
    kind, _, where = address.partition(":")
    host, _, port = where.rpartition(":")
    try:
        with trio.fail_after(CONNECT_S):
            if kind == "unix":
                return await trio.open_unix_socket(where)
            return await trio.open_tcp_stream(host, int(port))
    except trio.TooSlowError as error:
        raise GatewayLost(f"no connection within {CONNECT_S:g} s: {address}") from error
    except (OSError, UnicodeError) as error:  # the second of what is no host's name
        problem = f"no gateway at {address}: {getattr(error, 'strerror', None) or error}"
        raise GatewayLost(f"{problem}{_mend(where)}") from error


def _mend(path: str) -> str:
    """What to do where nobody listens for a unit of ours; nothing if that is no path of one."""
    name = Path(path).stem
    for units, key in SETTINGS_OF.items():
        if Path(path) == paths.socket_path(units, name):
            enable = f"{paths.systemctl()} enable --now {units}@{name}.socket"
            return f'; to mend that: {enable}, or, under pikerd, {key} = "tcp:HOST:PORT"'
    return ""


def _no_gateway(why: str) -> GatewayLost:
    """Something else answers at its address."""
    return GatewayLost(f"that is no gateway: {why}; {SEE_PORT}")


def _version(payload: bytes) -> int:
    """What the gateway answers to the versions that we speak. Raises GatewayLost."""
    version, _, rest = payload.partition(b"\0")
    if not version.isdigit() or rest.count(b"\0") != 1:
        raise _no_gateway(f"it said {payload[:40]!r}")
    if not LEAST <= int(version) <= MOST:
        what = f"the gateway speaks version {int(version)}, expected {LEAST} to {MOST}"
        old = int(version) < LEAST
        do = "update the gateway" if old else "take an older gateway, or see for a newer piker"
        raise GatewayLost(f"{what}: {do}")
    return int(version)


def _number(payload: bytes) -> int:
    """Of a request, if a message that can't be read has one where most have theirs; else -1."""
    fields = payload[:SHORT].split(b"\0")[1:3]
    numbers = [int(field) for field in fields if field.isdigit() and len(field) <= DIGITS]
    return max(numbers, default=-1)


def _now_ns() -> int:
    return round(trio.current_time() * 1e9)
