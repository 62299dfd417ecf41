"""Varlink, spoken with msgspec: a server for declared interfaces, and a client.

A call with "more" is a stream: it has its connection to itself and hanging up ends it. A call
without is a command: once decoded it runs to its end, whatever happens to its caller. Commands of
one connection are answered in order. Source: varlink.org, "Method Call" and "Service".

Server's task tree: one task a listening socket; apart from them, shielded, one a conversation, and
in a stream one more that listens for the goodbye.
"""

import re
import resource
import socket
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from functools import cache
from typing import Any, Generic, TypeVar

import msgspec
import trio
from msgspec import Raw, Struct

from piker import __version__, paths
from piker.core.description import describe
from piker.errors import Fault, Refused, Unreachable
from piker.interfaces import Call, Interface, Method, Reply
from piker.interfaces.introspection import (
    INTROSPECTION,
    ExpectedMore,
    GetInfo,
    GetInterfaceDescription,
    Info,
    InterfaceDescription,
    InterfaceNotFound,
    InvalidParameter,
    MethodNotFound,
    MethodNotImplemented,
)
from piker.interfaces.service import SERVICE
from piker.transport import CONNECT_TIMEOUT_S, Connection, HungUp, Message, close_all, connect

FIRST_CALL_S = 60.0
"""A connection that has asked nothing for so long is closed."""
LAST_CALL_S = 1.0
"""At the end, a connection that has asked nothing yet may still do so for this long."""
DRAIN_S = 5.0
"""At the end, replies that nobody reads are given up after this."""
CRASH_S = 0.5
"""The same when the daemon dies of something else: it is to be back within a second."""
ACCEPT_BATCH = 64
"""Connections accepted before other tasks get a turn."""
TURN = 16
"""Calls that came at once are answered so many at a time; then others have their turn."""
DESCRIPTORS_SHARE = 2
"""Conversations get one in so many of the descriptors there may be, the same number at each door;
the rest is for the daemon's own work. Beyond that, connections wait in the door's backlog."""
EMFILE_PAUSE_S = 0.1
"""Pause before accepting again when descriptors have run out; the backlog holds the rest."""

_encode = msgspec.json.Encoder().encode


class CallEnvelope(Struct, frozen=True):
    """A call on the wire; parameters are decoded when the method is known."""

    method: str
    parameters: Raw = Raw(b"{}")
    oneway: bool = False
    more: bool = False
    upgrade: bool = False


class ReplyEnvelope(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A reply on the wire."""

    parameters: Any
    continues: bool = False
    error: str | None = None


_UNDECODABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""What msgspec raises for bytes that are not what was expected."""

_decode_call = msgspec.json.Decoder(CallEnvelope).decode


def encode_reply(reply: Reply, *, continues: bool = False) -> bytes:
    """One reply as it goes over the wire."""
    return _encode(ReplyEnvelope(parameters=reply, continues=continues)) + b"\0"


class Stream:
    """Where a streaming method sends its replies. `connection` is for those who can't wait."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection

    async def send(self, reply: Reply, fds: Sequence[int] = ()) -> None:
        """Send one reply, more follow. Raises HungUp."""
        await self.connection.send(encode_reply(reply, continues=True), fds)

    async def end(self, reply: Reply) -> None:
        """Send the last reply. Raises HungUp."""
        await self.connection.send(encode_reply(reply))


@dataclass(frozen=True)
class _Bound:
    """A method and what answers it."""

    interface: Interface
    method: Method
    function: Callable[..., Awaitable[Any]]
    decode: Callable[[bytes], Call]


class Door:
    """What a connection can ask: interfaces, and what answers each of their methods."""

    def __init__(self, product: str, handlers: Mapping[Interface, object]) -> None:
        self.guests = 0
        """Conversations that came by it."""
        self._product = product
        self._interfaces = {each.name: each for each in (INTROSPECTION, *handlers)}
        everything = {INTROSPECTION: self, **handlers}
        self._bound = {
            f"{interface.name}.{method.name}": _bind(interface, method, handler)
            for interface, handler in everything.items()
            for method in interface.methods
        }
        self._fault_names = {
            fault: interface.full_name(fault)
            for interface in (SERVICE, *everything)
            for fault in interface.faults
        }

    def bound(self, method: str) -> _Bound:
        """The method of this full name. Raises Refused."""
        try:
            return self._bound[method]
        except KeyError:
            pass
        interface = method.rpartition(".")[0]
        if interface in self._interfaces:
            raise Refused(MethodNotFound(method=method))
        raise Refused(InterfaceNotFound(interface=interface))

    def encode_fault(self, fault: Fault, asked: Interface | None) -> bytes:
        """A fault as it goes over the wire: of the interface that was asked, if it has it."""
        if asked and type(fault) in asked.faults:
            name = asked.full_name(type(fault))
        else:
            name = self._fault_names[type(fault)]
        return _encode(ReplyEnvelope(parameters=fault, error=name)) + b"\0"

    async def get_info(self, call: GetInfo) -> Info:
        """org.varlink.service.GetInfo."""
        return Info(
            vendor="piker",
            product=self._product,
            version=__version__,
            url="file:///usr/share/doc/piker/README.md",
            interfaces=tuple(self._interfaces),
        )

    async def get_interface_description(
        self, call: GetInterfaceDescription
    ) -> InterfaceDescription:
        """org.varlink.service.GetInterfaceDescription."""
        interface = self._interfaces.get(call.interface)
        if interface is None:
            raise Refused(InterfaceNotFound(interface=call.interface))
        return InterfaceDescription(description=describe(interface))


class Server:
    """Serves interfaces on listening sockets until it is drained.

    A handler is an object with an async method, in snake case, for each of the interface's
    methods: `async def search(self, call: Search) -> SearchReply`; one for a stream takes
    `(call, stream)` and ends the stream by returning; one for `either` takes `(call, stream)`,
    where the stream is None without "more". Raise Refused to answer with a fault.

    With several mappings of handlers each is a door of its own: it has its own sockets, and who
    comes by one can't ask what only another one answers, nor crowd it out. They rest and end
    together.
    """

    def __init__(self, product: str, *doors: Mapping[Interface, object]) -> None:
        self.product = product
        self.doors = tuple(Door(product, handlers) for handlers in doors)
        self.conversations: set[Conversation] = set()
        self.served = 0
        self.draining = False
        self._accepting = trio.CancelScope()
        share = DESCRIPTORS_SHARE * len(self.doors)
        self._most = max(1, resource.getrlimit(resource.RLIMIT_NOFILE)[0] // share)
        self._patience_s = DRAIN_S
        self._decided = trio.Event()
        self._over = trio.Event()
        self._one_ended = trio.Event()
        self.engaged_until = trio.current_time()

    @property
    def engaged(self) -> int:
        """Conversations that keep an idle daemon alive."""
        return sum(each.engaged for each in self.conversations)

    async def serve(self, *listeners: Sequence[socket.socket]) -> None:
        """Accept and answer until `drain`, or until cancelled: then commands still end.

        The listening sockets of each door, in the doors' order. They stay open: they may be the
        manager's.
        """
        async with trio.open_nursery() as nursery:
            conversations: trio.Nursery = await nursery.start(self._shelter)
            try:
                while not self.draining:
                    await self._accept_all(listeners, conversations)
                    await self._decided.wait()
            finally:
                if not self.draining:
                    self._patience_s = CRASH_S
                self._finish_all()

    async def _shelter(self, *, task_status: trio.TaskStatus[trio.Nursery]) -> None:
        """Where conversations live: out of reach of whoever cancels the server, so that a command
        runs to its end. They end by themselves once `finish` was called."""
        await trio.lowlevel.checkpoint_if_cancelled()  # nobody would end it: not begun at all
        with trio.CancelScope(shield=True):
            async with trio.open_nursery() as nursery:
                task_status.started(nursery)
                await self._over.wait()
                await self._end_all()

    async def _accept_all(
        self, listeners: Sequence[Sequence[socket.socket]], conversations: trio.Nursery
    ) -> None:
        with self._accepting:
            async with trio.open_nursery() as acceptors:
                for door, its_listeners in zip(self.doors, listeners, strict=True):
                    for listener in its_listeners:
                        acceptors.start_soon(self._accept, listener, door, conversations)

    def _finish_all(self) -> None:
        self.draining = True
        for conversation in self.conversations:
            conversation.finish()
        self._over.set()

    async def _accept(self, listener: socket.socket, door: Door, nursery: trio.Nursery) -> None:
        listener.setblocking(False)
        while True:
            await trio.lowlevel.wait_readable(listener)
            while door.guests >= self._most:
                await self._one_ended.wait()
            try:
                for _ in range(ACCEPT_BATCH):
                    accepted, _ = listener.accept()
                    nursery.start_soon(self.converse, accepted, door)
            except (BlockingIOError, ConnectionAbortedError):
                pass
            except OSError:
                await trio.sleep(EMFILE_PAUSE_S)

    async def converse(self, accepted: socket.socket, door: Door | None = None) -> None:
        """Answer one connection to its end; it came by the first door if by no other."""
        conversation = Conversation(self, door or self.doors[0], Connection(accepted))
        conversation.door.guests += 1
        self.conversations.add(conversation)
        try:
            with suppress(HungUp):
                await conversation.run()
        finally:
            conversation.connection.close()
            self.conversations.discard(conversation)
            conversation.door.guests -= 1
            if conversation.engaged:
                self.engaged_until = trio.current_time()
            self._one_ended.set()
            self._one_ended = trio.Event()

    async def rest(self) -> bool:
        """Stop accepting; true if that left nobody without an answer, else it goes on.

        New connections stay in the backlog for the next instance. Cancelling an accept loses no
        connection, and two checkpoints let one that was accepted become a conversation.
        """
        await self._stop_accepting()
        if self.engaged or any(each.asked for each in self.conversations):
            self._accepting = trio.CancelScope()
            self._decided.set()
            return False
        return True

    async def drain(self) -> None:
        """End: streams at once, commands when what was asked is answered."""
        self.draining = True
        await self._stop_accepting()
        self._decided.set()
        self._finish_all()
        await self._end_all()

    async def _stop_accepting(self) -> None:
        self._decided = trio.Event()
        self._accepting.cancel()
        for _ in range(2):
            await trio.lowlevel.checkpoint()

    async def _end_all(self) -> None:
        """Wait until all have ended; hang up on who does not take a reply."""
        with trio.move_on_after(self._patience_s):
            while self.conversations:
                await self._one_ended.wait()
        for conversation in list(self.conversations):
            conversation.connection.close()


class Conversation:
    """One accepted connection, from its first call to its end."""

    def __init__(self, server: Server, door: Door, connection: Connection) -> None:
        self.server = server
        self.door = door
        self.connection = connection
        self.engaged = True
        self._spoke = False
        self._first_call = trio.CancelScope()
        self._streaming = trio.CancelScope()

    async def run(self) -> None:
        """Answer calls in order. Raises HungUp."""
        while messages := await self._receive():
            await self._answer_all(messages)

    @property
    def asked(self) -> bool:
        """Whether something has come that was not read yet."""
        return self.connection.unread

    def finish(self) -> None:
        """Answer what has been asked, then end. Streams end now."""
        self._streaming.cancel()
        if self._spoke:
            self.connection.stop_receiving()
        else:
            self._first_call.deadline = trio.current_time() + LAST_CALL_S

    async def _receive(self) -> list[Message]:
        if self._spoke and self.server.draining:
            return self.connection.receive_now() or []
        if self._spoke:
            return await self.connection.receive()
        self._first_call.deadline = trio.current_time() + FIRST_CALL_S
        with self._first_call:
            return await self.connection.receive()
        return []

    async def _answer_all(self, messages: list[Message]) -> None:
        for number, message in enumerate(messages):
            await self._answer(message)
            if number % TURN == TURN - 1:
                await trio.lowlevel.checkpoint()

    async def _answer(self, message: Message) -> None:
        self._note_first_call()
        call = _envelope(message.data)
        asked: Interface | None = None
        try:
            bound = self.door.bound(call.method)
            asked = bound.interface
            parameters = _parameters(bound, call)
            self.engaged = self.engaged or bound.interface not in (INTROSPECTION, SERVICE)
            if call.more and bound.method.shape != "command":
                await self._stream(bound, parameters)
            else:
                await self._command(bound, parameters, call)
        except Refused as no:
            if not call.oneway:
                await self.connection.send(self.door.encode_fault(no.fault, asked))
                if call.more:
                    raise HungUp("the stream was refused") from no

    def _note_first_call(self) -> None:
        if not self._spoke:
            self._spoke = True
            self.engaged = False
        self.server.served += 1

    async def _command(self, bound: _Bound, parameters: Call, call: CallEnvelope) -> None:
        extra = (None,) if bound.method.shape == "either" else ()
        reply = await bound.function(parameters, *extra)
        if not call.oneway:
            await self.connection.send(encode_reply(reply))

    async def _stream(self, bound: _Bound, parameters: Call) -> None:
        end: Refused | HungUp = HungUp("the stream has ended")
        with self._streaming:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._await_goodbye)
                try:
                    await bound.function(parameters, Stream(self.connection))
                except (Refused, HungUp) as error:
                    end = error
                nursery.cancel_scope.cancel()
        raise end

    async def _await_goodbye(self) -> None:
        with suppress(HungUp):
            await self.connection.receive()
        self._streaming.cancel()


def _bind(interface: Interface, method: Method, handler: object) -> _Bound:
    function = getattr(handler, re.sub(r"(?<!^)(?=[A-Z])", "_", method.name).lower())
    return _Bound(interface, method, function, msgspec.json.Decoder(method.call).decode)


def _envelope(data: bytes) -> CallEnvelope:
    try:
        call = _decode_call(data)
    except _UNDECODABLE as error:
        raise HungUp(f"not a call: {error}") from error
    if call.oneway and call.more:
        raise HungUp("a call is either oneway or more")
    return call


def _parameters(bound: _Bound, call: CallEnvelope) -> Call:
    if call.upgrade:
        raise Refused(MethodNotImplemented(method=f"{call.method} with upgrade"))
    if bound.method.shape == "stream" and not call.more:
        raise Refused(ExpectedMore())
    raw = bytes(call.parameters)
    try:
        return bound.decode(b"{}" if raw == b"null" else raw)
    except _UNDECODABLE as error:
        raise Refused(InvalidParameter(parameter=_name_field(str(error)))) from error


def _name_field(problem: str) -> str:
    """msgspec's message with the field first: "period_s: Expected `int`, got `str`"."""
    what, _, path = problem.partition(" - at `$.")
    if path:
        return f"{path.rstrip('`')}: {what}"
    named = re.search(r"field `(\w+)`", problem)
    return f"{named[1]}: {what}" if named else what


CALL_TIMEOUT_S = 30.0
"""How long a command, or the first reply of a stream, may take."""

R = TypeVar("R", bound=Reply)


class UnknownFault(Fault, frozen=True, kw_only=True):
    """The daemon answered with an error that this side does not know."""

    name: str
    parameters: str


class _Call(Struct, frozen=True, kw_only=True, omit_defaults=True):
    method: str
    parameters: Call
    more: bool = False


class _AnyReply(Struct, frozen=True):
    parameters: Raw = Raw(b"{}")
    continues: bool = False
    error: str | None = None


class _ReplyOf(Struct, Generic[R], frozen=True):
    parameters: R
    continues: bool = False
    error: str | None = None


_decode_any = msgspec.json.Decoder(_AnyReply).decode


class Client:
    """Calls one daemon over one connection; its errors name the unit.

    One call at a time; or commands by `ask` in one task, their answers by `answer` in another.
    """

    def __init__(self, connection: Connection, interface: Interface, unit: str) -> None:
        self.unit = unit
        self._connection = connection
        self._interface = interface
        self._waiting: list[Message] = []
        self._names = {each.call: f"{interface.name}.{each.name}" for each in interface.methods}
        self._faults = {
            each.full_name(fault): fault
            for each in (INTROSPECTION, SERVICE, interface)
            for fault in each.faults
        }

    async def call(self, call: Call, reply: type[R], timeout_s: float = CALL_TIMEOUT_S) -> R:
        """Run a command and give its reply.

        Raises Refused with the fault it was answered with, or Unreachable. A call that was
        cancelled or timed out closes the connection, so that its answer can't be taken for
        another's; whether it was carried out is then not known.
        """
        message = await self._first(call, timeout_s, more=False)
        decoded: R
        decoded, _ = self._decode(message, _decoder(reply))
        close_all(message.fds)
        return decoded

    async def ask(self, call: Call) -> None:
        """Send a command without waiting for those before it. Raises Unreachable.

        A connection on which it was cancelled is closed.
        """
        sent = False
        try:
            await self._send(call, more=False)
            sent = True
        finally:
            if not sent:
                self.close()

    async def answer(self, reply: type[R], timeout_s: float = CALL_TIMEOUT_S) -> R:
        """The answer to the oldest command that was asked and has none. Raises as `call` does."""
        message: Message | None = None
        with trio.move_on_after(timeout_s):
            message = await self._receive()
        if message is None:
            self.close()
            raise Unreachable(
                f"{self.unit} did not answer within {timeout_s:g} s; see {_journal(self.unit)}"
            )
        decoded: R
        decoded, _ = self._decode(message, _decoder(reply))
        close_all(message.fds)
        return decoded

    async def replies(
        self, call: Call, reply: type[R], timeout_s: float = CALL_TIMEOUT_S
    ) -> AsyncGenerator[tuple[R, tuple[int, ...]], None]:
        """Open a stream and give its replies with the descriptors that came with each.

        The receiver closes the descriptors. Only the first reply has a time limit. Ends when the
        daemon ends the stream; raises Refused or Unreachable. A stream that is left before its
        end closes the connection.
        """
        decode = _decoder(reply)
        message = await self._first(call, timeout_s, more=True)
        more = True
        try:
            while True:
                decoded, more = self._decode(message, decode)
                yield decoded, message.fds
                if not more:
                    return
                message = await self._receive()
        finally:
            if more:
                self.close()

    def close(self) -> None:
        """Hang up. May be called twice."""
        self._connection.close()
        for message in self._waiting:
            close_all(message.fds)
        self._waiting = []

    async def _first(self, call: Call, timeout_s: float, *, more: bool) -> Message:
        """Send a call and give its first reply; hangs up if none comes."""
        message: Message | None = None
        try:
            with trio.CancelScope(relative_deadline=timeout_s):
                await self._send(call, more=more)
                message = await self._receive()
        finally:
            if message is None:
                self.close()
        if message is None:
            raise self._silent(call, timeout_s)
        return message

    async def _send(self, call: Call, *, more: bool) -> None:
        envelope = _Call(method=self._names[type(call)], parameters=call, more=more)
        try:
            await self._connection.send(_encode(envelope) + b"\0")
        except HungUp as error:
            raise self._gone(error) from error

    async def _receive(self) -> Message:
        if not self._waiting:
            try:
                self._waiting = await self._connection.receive()
            except HungUp as error:
                raise self._gone(error) from error
            if not self._waiting:
                raise self._gone("it hung up")
            self._waiting.reverse()
        return self._waiting.pop()

    def _decode(self, message: Message, decode: Callable[[bytes], Any]) -> tuple[Any, bool]:
        problem: Exception | None = None
        try:
            envelope = decode(message.data)
            if envelope.error is None:
                return envelope.parameters, envelope.continues
        except _UNDECODABLE as error:
            problem = error
        close_all(message.fds)
        raise self._refusal(message.data) or Unreachable(
            f"{self.unit} speaks another version: {problem}"
        ) from problem

    def _refusal(self, data: bytes) -> Refused | None:
        """The fault that a reply carries, if it does."""
        try:
            envelope = _decode_any(data)
        except _UNDECODABLE:
            return None
        if envelope.error is None:
            return None
        raw = bytes(envelope.parameters)
        kind = self._faults.get(envelope.error)
        with suppress(*_UNDECODABLE):
            if kind is not None:
                return Refused(msgspec.json.decode(raw, type=kind))
        return Refused(UnknownFault(name=envelope.error, parameters=raw.decode(errors="replace")))

    def _gone(self, reason: object) -> Unreachable:
        return Unreachable(f"{self.unit} went away ({reason}); see {_journal(self.unit)}")

    def _silent(self, call: Call, timeout_s: float) -> Unreachable:
        what = self._interface.method(type(call)).name
        return Unreachable(
            f"{self.unit} did not answer {what} within {timeout_s:g} s; see {_journal(self.unit)}"
        )


@asynccontextmanager
async def open_client(
    path: str, interface: Interface, unit: str, timeout_s: float = CONNECT_TIMEOUT_S
) -> AsyncIterator[Client]:
    """A client of the daemon that listens at `path`; hangs up at the end. Raises Unreachable."""
    client = Client(await connect(path, unit, timeout_s), interface, unit)
    try:
        yield client
    finally:
        client.close()


@cache
def _decoder(reply: type[Reply]) -> Callable[[bytes], Any]:
    return msgspec.json.Decoder(_ReplyOf[reply]).decode  # type: ignore[valid-type]


def _journal(unit: str) -> str:
    return f"its log: {paths.journalctl(unit)}"
