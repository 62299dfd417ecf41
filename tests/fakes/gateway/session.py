"""One client's connection: its handshake, what it subscribed to, and what it is told.

nursery
├── _write: sends what was said, in its order
├── _read: hands each request to the gateway
└── answers that come later, and real-time bars
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import trio

from tests.fakes.gateway import faults, layouts
from tests.fakes.gateway.requests import Request, StartApi, read_request
from tests.fakes.gateway.rules import FORGIVEN, MessageRate
from tests.fakes.gateway.ticks import Stream
from tests.fakes.gateway.wire import Frames, Message, NotTheProtocol, frame, read_versions

if TYPE_CHECKING:
    from tests.fakes.gateway.gateway import Gateway

OUTBOX = 100_000
"""Messages that a client may be behind; a gateway hangs up on one that doesn't read."""
CHUNK = 65536
HTTP = b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


class Session:
    """A client that is connected; `client_id` is -1 until it logged in."""

    def __init__(self, gateway: Gateway, stream: trio.abc.Stream) -> None:
        self.gateway = gateway
        self.client_id = -1
        self.version = 0
        self.data_type = 1
        self.streams: dict[int, Stream] = {}
        self.busy: dict[int, Request] = {}
        """Requests that were not answered yet, and subscriptions to account data."""
        self.known: dict[int, Request] = {}
        """Every request that was accepted, by its id."""
        self.cancelled: set[int] = set()
        self.positions = False
        self.account = ""
        self.deaf = False
        self.drained = trio.Event()
        """Replaced by another, once nothing waits to be sent."""
        self._stream = stream
        self._rate = MessageRate()
        self._warned = 0
        self._frames = Frames()
        self._said, self._outbox = trio.open_memory_channel[bytes | None](OUTBOX)
        self._held: list[Message] | None = None
        self._scope = trio.CancelScope()
        self.nursery: trio.Nursery

    async def run(self) -> None:
        """Serve until either side hangs up."""
        try:
            with self._scope:
                async with trio.open_nursery() as self.nursery:
                    self.nursery.start_soon(self._write)
                    await self._read()
                    self.nursery.cancel_scope.cancel()
        except* trio.BrokenResourceError:
            pass
        finally:
            self.drained.set()
            self._said.close()
            self._outbox.close()
            with trio.CancelScope(shield=True):
                await trio.aclose_forcefully(self._stream)

    def say(self, *messages: Message) -> None:
        """Tell the client, after all that was said before."""
        if self._held is not None:
            self._held += messages
        elif not (self.deaf or self.gateway.faults.use(faults.Mute)):
            for each in messages:
                self._say_one(each)

    def say_error(self, req_id: int, code: int, text: str) -> None:
        """Tell of an error, a warning or a notice."""
        self.say(layouts.error(req_id, code, text, self.version))

    @contextmanager
    def holding(self) -> Iterator[list[Message]]:
        """What is said in this context isn't sent but collected."""
        held: list[Message] = []
        outer, self._held = self._held, held
        try:
            yield held
        finally:
            self._held = outer

    async def say_later(self, seconds: float, messages: list[Message]) -> None:
        """Say something after a while."""
        await trio.sleep(seconds)
        self.say(*messages)

    def say_bytes(self, chunk: bytes | None) -> None:
        """Send bytes as they are; None closes the connection."""
        try:
            self._said.send_nowait(chunk)
        except trio.WouldBlock:
            self.cut()
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass  # it is on its way out

    def hang_up(self) -> None:
        """Close the connection once all that was said is sent."""
        self.say_bytes(None)

    def cut(self, *, reset: bool = False) -> None:
        """Close the connection at once; with a reset, on TCP."""
        if reset and isinstance(self._stream, trio.SocketStream):
            linger = struct.pack("ii", 1, 0)
            self._stream.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        self._scope.cancel()

    def breach(self, rule: str, what: object) -> None:
        """Record that the client broke a rule."""
        self.gateway.record_breach(self.client_id, rule, str(what))

    async def _write(self) -> None:
        async for chunk in self._outbox:
            if chunk is None:
                self._scope.cancel()
                return
            await self._stream.send_all(chunk)
            if not self._outbox.statistics().current_buffer_used:
                drained, self.drained = self.drained, trio.Event()
                drained.set()

    async def _read(self) -> None:
        try:
            while chunk := await self._stream.receive_some(CHUNK):
                for message in self._frames.feed(bytes(chunk)):
                    self._take(message)
        except NotTheProtocol as error:
            self.breach("what comes is the protocol", error)

    def _take(self, message: Message) -> None:
        if not self.version:
            self._greet(message)
        elif self._rate.exceeds(*self.gateway.looks.times):
            self._warn(message)
        else:
            self._ask(message)

    def _greet(self, message: Message) -> None:
        offered = read_versions(message)
        self.version = min(offered.highest, self.gateway.settings.version)
        if self.gateway.faults.use(faults.CloseInHandshake):
            self.cut()
        elif self.gateway.faults.use(faults.SpeakHttp):
            self.say_bytes(HTTP)
            self.hang_up()
        else:
            other = self.gateway.faults.use(faults.OtherVersion)
            version = other.version if other else self.version
            self.say_bytes(frame(version, self.gateway.greeting_time()))

    def _warn(self, message: Message) -> None:
        self._warned += 1
        self.breach("at most 50 messages a second", message)
        self.say_error(-1, 100, "Max rate of messages per second has been exceeded:max=50")
        if self._warned > FORGIVEN:
            self.hang_up()

    def _ask(self, message: Message) -> None:
        try:
            request = read_request(message, self.version)
        except NotTheProtocol as error:
            self.breach("a request has its fields", error)
            self.say_error(-1, 320, f"Error reading request. {error}")
            return
        self.gateway.heard.append(self.gateway.hear(self.client_id, request))
        if isinstance(request, StartApi):
            self._log_in(request.client_id)
        elif self.client_id < 0:
            self.breach("nothing is asked before startApi", request)
        else:
            self.gateway.receive(self, request)

    def _log_in(self, client_id: int) -> None:
        taken = any(each.client_id == client_id for each in self.gateway.sessions)
        if taken or self.gateway.faults.use(faults.ClientIdInUse):
            why = "Unable to connect as the client id is already in use. Retry with a unique"
            self.say_error(-1, 326, f"{why} client id.")
            self.hang_up()
            return
        self.client_id = client_id
        if not self.gateway.faults.use(faults.SilentLogin):
            self.say(*self.gateway.welcome(client_id))
        self.deaf = bool(self.gateway.faults.use(faults.DeafAfterLogin))
        self.gateway.tell_farms(self)

    def _say_one(self, message: Message) -> None:
        garble = self.gateway.faults.use(faults.Garble)
        self.say_bytes(_garbled(garble.how, message) if garble else frame(*message))
        if garble and garble.how == "half":
            self.hang_up()


def _garbled(how: str, message: Message) -> bytes:
    match how:
        case "length":
            return b"\xff\xff\xff\xff" + frame(*message)
        case "half":
            return frame(*message)[:-2]
        case "short":
            return frame(*message[: len(message) // 2])
        case "words":
            return frame(message[0], *(["word"] * (len(message) - 1)))
        case "unknown":
            return frame(999, *message)
    raise AssertionError(f"expected length, half, short, words or unknown, was {how}")
