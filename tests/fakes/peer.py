"""A client of no library: writes what a test gives it, reads what comes."""

import json
import socket
import struct
from typing import Any

import trio
from trio.socket import from_stdlib_socket

INTROSPECTION = "org.varlink.service"


class Peer:
    """One end of a conversation, its bytes in the test's hands."""

    def __init__(self, sock: socket.socket) -> None:
        self.stream = trio.SocketStream(from_stdlib_socket(sock))
        self._rest = b""

    async def ask(self, method: str, /, *, more: bool = False, **parameters: Any) -> Any:
        """Call a method; gives the first reply."""
        await self.write(call(method, more=more, **parameters))
        return await self.read()

    async def write(self, data: bytes) -> None:
        """Write bytes as they are."""
        await self.stream.send_all(data)

    async def write_with_fds(self, data: bytes, *fds: int) -> None:
        """Write bytes and descriptors with them."""
        rights = (socket.SOL_SOCKET, socket.SCM_RIGHTS, struct.pack(f"{len(fds)}i", *fds))
        sent = await self.stream.socket.sendmsg([data], [rights])
        assert sent == len(data)

    async def read(self) -> Any:
        """The next reply. Raises EOFError when there is none."""
        while b"\0" not in self._rest:
            chunk = await self._receive()
            if not chunk:
                raise EOFError
            self._rest += chunk
        message, _, self._rest = self._rest.partition(b"\0")
        return json.loads(message)

    async def read_to_the_end(self) -> list[Any]:
        """All replies until the other side hangs up."""
        while chunk := await self._receive():
            self._rest += chunk
        *messages, rest = self._rest.split(b"\0")
        assert rest == b""
        return [json.loads(message) for message in messages]

    async def half_close(self) -> None:
        """Say that nothing more will be written."""
        await self.stream.send_eof()

    async def hang_up(self) -> None:
        """Close."""
        await self.stream.aclose()

    async def _receive(self) -> bytes:
        try:
            return bytes(await self.stream.receive_some())
        except trio.BrokenResourceError:  # it closed without reading all
            return b""


def call(
    method: str, /, *, more: bool = False, oneway: bool = False, **parameters: object
) -> bytes:
    """A call as it goes over the wire."""
    envelope: dict[str, object] = {"method": method, "parameters": parameters}
    envelope |= {name: True for name, on in (("more", more), ("oneway", oneway)) if on}
    return json.dumps(envelope).encode() + b"\0"


def fault(name: str, **parameters: object) -> dict[str, object]:
    """An error reply, as it is read."""
    return {"error": name, "parameters": parameters}


def refusal(name: str, **parameters: object) -> dict[str, object]:
    """An error reply that every Varlink service may give."""
    return fault(f"{INTROSPECTION}.{name}", **parameters)
