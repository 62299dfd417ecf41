"""Varlink by hand: JSON and a NUL over a socket, with no help from what is tested."""

import json
import socket
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self

# More than any reply carries.
MAX_FDS = 4

Parameters = Mapping[str, object]


class Dialogue:
    """One connection; hangs up at the end."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._unread = b""
        self.fds: list[int] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._connection.close()

    def say(self, method: str, parameters: Parameters, *, more: bool = False) -> None:
        """Send a call."""
        call = {"method": method, "parameters": parameters, "more": more}
        self._connection.sendall(json.dumps(call).encode() + b"\0")

    def hear(self) -> Any:
        """The next reply, as decoded; descriptors that come with it go to `fds`."""
        while b"\0" not in self._unread:
            data, fds, _, _ = socket.recv_fds(self._connection, 65536, MAX_FDS)
            assert data, f"hung up after {self._unread!r}"
            self._unread += data
            self.fds += fds
        reply, _, self._unread = self._unread.partition(b"\0")
        return json.loads(reply)

    def ask(self, method: str, parameters: Parameters) -> Any:
        """Send a call and give its reply."""
        self.say(method, parameters)
        return self.hear()
