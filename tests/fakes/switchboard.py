"""A server in the test's own process; those who talk to it do so over socket pairs."""

import os
import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import trio

from piker.interfaces import Interface
from piker.transport import Connection
from piker.varlink import Client, Server
from tests.fakes.peer import Peer


class Switchboard:
    """Gives whom a test needs to talk to a server."""

    def __init__(self, server: Server, nursery: trio.Nursery) -> None:
        self.server = server
        self._nursery = nursery
        self._hang_ups = AsyncExitStack()

    def peer(self) -> Peer:
        """Somebody who speaks in bytes."""
        peer = Peer(self._conversation())
        self._hang_ups.push_async_callback(peer.hang_up)
        return peer

    def client(self, interface: Interface) -> Client:
        """Somebody who speaks as our programs do."""
        connection = Connection(self._conversation(), takes_fds=True)
        client = Client(connection, interface, self.server.product)
        self._hang_ups.callback(client.close)
        return client

    def client_of(self, uid: int, interface: Interface) -> Client:
        """The same, but another user's: who it is the kernel tells by who connects, unix(7)."""
        client = Client(Connection(self._connected(uid), takes_fds=True), interface, "server")
        self._hang_ups.callback(client.close)
        return client

    async def hang_up(self) -> None:
        """Everybody goes."""
        await self._hang_ups.aclose()

    def _connected(self, uid: int) -> socket.socket:
        ours = socket.socket(socket.AF_UNIX)
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind("")
            listener.listen()
            before = os.geteuid()
            os.seteuid(uid)
            try:
                ours.connect(listener.getsockname())
            finally:
                os.seteuid(before)
            theirs, _ = listener.accept()
        self._nursery.start_soon(self.server.converse, theirs)
        return ours

    def _conversation(self) -> socket.socket:
        ours, theirs = socket.socketpair()
        self._nursery.start_soon(self.server.converse, theirs)
        return ours


@asynccontextmanager
async def a_switchboard(server: Server) -> AsyncIterator[Switchboard]:
    """In which every conversation has ended when all have hung up."""
    async with trio.open_nursery() as nursery:
        board = Switchboard(server, nursery)
        try:
            yield board
        finally:
            await board.hang_up()
    assert not server.conversations
