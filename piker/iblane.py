"""iblane: the way of market data to a gateway of Interactive Brokers, and of nothing else.

    python -m piker.iblane GATEWAY

Whoever reaches a gateway can trade there. datad@ib reaches this instead, which passes requests for
market data (piker.brokers.ib.wire has the list), ends a connection by which anything else comes,
and passes answers as they are. It doesn't speak Varlink: its socket is the gateway's.

Task tree:

    run
    ├─ serve           and a task a listening socket
    │  └─ carry        a task a connection
    │     ├─ requests  client to gateway, judged
    │     └─ answers   gateway to client, unread
    ├─ reporter        STATUS, when a connection has come or gone
    ├─ watchdog        feeds the manager's
    └─ end when told   a signal
"""

import logging
import os
import re
import signal
import socket
import struct
import sys
from collections.abc import Awaitable, Callable
from contextlib import ExitStack, closing, suppress
from itertools import chain
from typing import NamedTuple

import trio

from piker import config, log, paths
from piker.brokers.ib.wire import Lane, Refusal
from piker.errors import Refused, say
from piker.notify import Manager
from piker.privacy import keep_to_itself
from piker.service import REPORT_PAUSE_S, Service
from piker.transport import RECEIVE_BYTES, listen

PROVIDER = "ib"
MOST_CONNECTIONS = 8
"""datad needs one, and a few while old ones end. More are closed at once: a gateway has room for 32
clients, and who only reads is not to take it from who trades."""

_GATEWAY = re.compile(r"\w[\w.-]*", re.ASCII)
_PEER = struct.Struct("3i")
"""struct ucred, unix(7): pid, uid, gid."""

logger = logging.getLogger(__name__)


class Over(Exception):
    """A side has gone altogether, or may not go on: the other ends with it."""


class Peer(NamedTuple):
    """Who connected."""

    pid: int
    uid: int

    def __str__(self) -> str:
        """As a log has it."""
        return f"pid {self.pid} of uid {self.uid}"


class Passage:
    """A client's connection, and the one to the gateway that was made for it."""

    def __init__(self, client: socket.socket, gateway: socket.socket) -> None:
        for each in (client, gateway):
            each.setblocking(False)
        self._client = client
        self._gateway = gateway
        self._lane = Lane()

    async def run(self) -> Refusal | None:
        """Carry bytes both ways to the end of both; gives what was refused, if that ended it.

        The end of one side's half is handed on after all that came before it. A side that was
        reset, or is gone altogether, ends both; what was sent to it stays readable.
        """
        async with trio.open_nursery() as nursery:
            for half in (self._requests, self._answers):
                nursery.start_soon(_until_over, half, nursery.cancel_scope)
        return self._lane.refusal

    async def _requests(self) -> None:
        """One read at a time: nothing is taken of a client while the gateway has no room."""
        chunk = await _receive(self._client)
        while chunk:
            await _send(self._gateway, memoryview(self._lane.feed(chunk)))
            if self._lane.refusal:
                raise Over
            chunk = await _receive(self._client)
        _hand_on_end(self._client, self._gateway)

    async def _answers(self) -> None:
        """The same memory for all of them, and no more than that waits for a slow reader."""
        room = memoryview(bytearray(RECEIVE_BYTES))
        while size := await _receive_into(self._gateway, room):
            await _send(self._client, room[:size])
        _hand_on_end(self._gateway, self._client)


async def _until_over(half: Callable[[], Awaitable[None]], both: trio.CancelScope) -> None:
    try:
        await half()
    except (Over, ConnectionError):
        both.cancel()


async def _receive(source: socket.socket) -> bytes:
    """What is there, when something is; nothing at the end. Raises ConnectionError."""
    while True:
        await trio.lowlevel.wait_readable(source)
        with suppress(BlockingIOError):
            return source.recv(RECEIVE_BYTES)


async def _receive_into(source: socket.socket, room: memoryview) -> int:
    """The same, without a copy: how many bytes are now in `room`."""
    while True:
        await trio.lowlevel.wait_readable(source)
        with suppress(BlockingIOError):
            return source.recv_into(room)


async def _send(target: socket.socket, data: memoryview) -> None:
    """Send all of it, waiting only where there is no room. Raises ConnectionError."""
    while data:
        try:
            data = data[target.send(data) :]
        except BlockingIOError:
            await trio.lowlevel.wait_writable(target)


def _hand_on_end(ended: socket.socket, other: socket.socket) -> None:
    """One side sends no more. Raises Over if it doesn't read any more either."""
    try:
        ended.send(b"")  # nothing to send, but refused if nobody could read it: unix(7), EPIPE
        other.shutdown(socket.SHUT_WR)
    except OSError as error:
        raise Over from error


class Iblane:
    """The lane to one gateway."""

    def __init__(self, service: Service, *, stays: bool) -> None:
        self._service = service
        self._stays = stays
        """Run by hand: nobody would listen in its place, so it does not end when it is idle."""
        self._path = str(paths.socket_path("ibgw", service.instance))
        self._connections = 0
        self._busy_until = trio.current_time()

    @property
    def status(self) -> str:
        """What it is doing, as STATUS has it."""
        count = self._connections
        return (
            f"lane to ibgw@{self._service.instance}: {count} connection{'' if count == 1 else 's'}"
        )

    async def run(self, listeners: list[socket.socket]) -> None:
        """Serve until told to end, or idle."""
        with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._report)
                nursery.start_soon(self._feed_watchdog)
                nursery.start_soon(self._serve, listeners, nursery.cancel_scope)
                self._service.manager.say(self.status)
                self._service.manager.notify("READY=1")
                async for number in signals:
                    logger.info("told to end by %s", signal.Signals(number).name)
                    nursery.cancel_scope.cancel()
        self._service.manager.notify("STOPPING=1")

    async def _serve(self, listeners: list[socket.socket], process: trio.CancelScope) -> None:
        """A connection comes to be carried or stays in the backlog: none is lost by idling."""
        async with trio.open_nursery() as passages:
            while True:
                async with trio.open_nursery() as acceptors:
                    for listener in listeners:
                        acceptors.start_soon(self._accept, listener, passages)
                    await self._until_idle()
                    acceptors.cancel_scope.cancel()
                if not self._connections:
                    break
        logger.info("idle for %g s: ends, the socket stays", self._service.idle_exit_s)
        process.cancel()

    async def _accept(self, listener: socket.socket, passages: trio.Nursery) -> None:
        listener.setblocking(False)
        while True:
            await trio.lowlevel.wait_readable(listener)
            with suppress(BlockingIOError, ConnectionAbortedError):
                client, _ = listener.accept()
                self._count(1)
                passages.start_soon(self._carry, client)

    async def _carry(self, client: socket.socket) -> None:
        try:
            with client:
                await self._carry_for(_peer(client), client)
        finally:
            self._busy_until = trio.current_time()
            self._count(-1)

    async def _carry_for(self, peer: Peer, client: socket.socket) -> None:
        if self._connections > MOST_CONNECTIONS:
            logger.warning("%s: %d connections are the most; hung up", peer, MOST_CONNECTIONS)
            return
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as gateway:
            if not self._reached(gateway, peer):
                return
            refusal = await Passage(client, gateway).run()
        if refusal:
            self._tell(peer, refusal)

    def _reached(self, gateway: socket.socket, peer: Peer) -> bool:
        """Whether the gateway's socket took the connection. That of a Unix socket never waits."""
        gateway.setblocking(False)
        try:
            gateway.connect(self._path)
        except OSError as error:
            unit = f"ibgw@{self._service.instance}.socket"
            logger.warning(
                "%s: no way to the gateway: %s does not listen at %s: %s; hung up",
                *(peer, unit, self._path, error.strerror or error),
            )
            return False
        return True

    def _tell(self, peer: Peer, refusal: Refusal) -> None:
        logger.warning(
            "%s sent %s: %s; hung up, nothing of it has passed",
            *(peer, refusal.what, refusal.why),
            extra=log.fields(message_id=log.LANE_REFUSED, provider=PROVIDER),
        )

    def _count(self, change: int) -> None:
        self._connections += change
        self._service.changed()

    async def _report(self) -> None:
        while True:
            await self._service.change()
            self._service.manager.say(self.status)
            await trio.sleep(REPORT_PAUSE_S)

    async def _feed_watchdog(self) -> None:
        """No task waits for another one here: that this one runs is what there is to know."""
        timeout_s = self._service.manager.watchdog_s
        if timeout_s is None:
            return
        start, rounds = trio.current_time(), 0
        while True:
            rounds += 1
            await trio.sleep_until(start + rounds * timeout_s / 4)
            self._service.manager.notify("WATCHDOG=1")

    async def _until_idle(self) -> None:
        if self._stays:
            await trio.sleep_forever()
        while True:
            if self._connections:
                self._busy_until = trio.current_time()
            due = self._busy_until + self._service.idle_exit_s
            if trio.current_time() >= due:
                return
            await trio.sleep_until(due)


def _peer(client: socket.socket) -> Peer:
    pid, uid, _ = _PEER.unpack(client.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _PEER.size))
    return Peer(pid, uid)


async def _run(service: Service) -> int:
    _configure(service)
    inherited = list(chain(*service.manager.listeners.values()))
    path = paths.socket_path(service.name, service.instance)
    try:
        listeners = inherited or [listen(paths.fitting(path))]
    except OSError as error:
        logger.error("%s can't listen at %s: %s", service.unit, path, error.strerror or error)
        return 1
    with ExitStack() as stack:
        for listener in listeners:
            stack.enter_context(listener)
        if not inherited:
            stack.callback(path.unlink, missing_ok=True)
        await Iblane(service, stays=not inherited).run(listeners)
    return 0


def _configure(service: Service) -> None:
    """What passes doesn't depend on any setting, so that a broken one ends nothing here."""
    try:
        service.idle_exit_s = config.load().idle_exit_s
    except Refused as no:
        logger.error("%s; ends when idle for %g s", say(no.fault), service.idle_exit_s)


def main() -> int:
    """python -m piker.iblane GATEWAY.

    A manager's instance may have any name: of one that no gateway has, connections end at once.
    """
    typed = "LISTEN_FDS" not in os.environ
    if len(sys.argv) != 2 or (typed and not _GATEWAY.fullmatch(sys.argv[1])):
        print("usage: python -m piker.iblane GATEWAY", file=sys.stderr)  # noqa: T201
        return 2
    keep_to_itself()
    log.set_up("iblane", PROVIDER)
    with closing(Manager()) as manager:
        return trio.run(_run, Service("iblane", sys.argv[1], manager))


if __name__ == "__main__":
    sys.exit(main())
