"""The manager's end of sd_notify: what a service says of itself, and descriptors it wants kept.

Source: sd_notify(3), "Well-known assignments".
"""

import os
import socket
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import trio

from piker.paths import fitting

MAX_MESSAGE = 4096
"""Bytes of one notification: systemd's own bound (NOTIFY_BUFFER_MAX)."""
MAX_FDS = 253
"""Descriptors in one message: the kernel's own bound (SCM_MAX_FD)."""
_CREDENTIALS = struct.Struct("3i")
_FD = struct.Struct("i")
_SPACE = socket.CMSG_SPACE(MAX_FDS * _FD.size) + socket.CMSG_SPACE(_CREDENTIALS.size)


@dataclass(frozen=True)
class Notice:
    """One notification: who sent it, NAME=VALUE lines, and descriptors, now the receiver's."""

    pid: int
    lines: dict[str, str]
    fds: tuple[int, ...]


@contextmanager
def notify_socket(path: Path) -> Iterator[socket.socket]:
    """A private socket for one service's notifications; removed at the end."""
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        sock.bind(fitting(path))
        yield sock
    finally:
        sock.close()
        path.unlink(missing_ok=True)


async def hear(sock: socket.socket, on_notice: Callable[[Notice], None]) -> None:
    """Hand on notifications as they come, until cancelled."""
    while True:
        await trio.lowlevel.wait_readable(sock)
        _hear_one(sock, on_notice)


def hear_rest(sock: socket.socket, on_notice: Callable[[Notice], None]) -> None:
    """Hand on what is there when the service has ended."""
    while _hear_one(sock, on_notice):
        pass


def _hear_one(sock: socket.socket, on_notice: Callable[[Notice], None]) -> bool:
    notice = _receive(sock)
    if notice is None:
        return False
    try:
        on_notice(notice)
    finally:
        # also what a barrier waits for: sd_notify_barrier(3)
        for fd in notice.fds:
            os.close(fd)
    return True


def _receive(sock: socket.socket) -> Notice | None:
    try:
        data, ancillary, _, _ = sock.recvmsg(MAX_MESSAGE, _SPACE, socket.MSG_CMSG_CLOEXEC)
    except BlockingIOError:
        return None
    pid, fds = 0, []
    for level, kind, value in ancillary:
        if (level, kind) == (socket.SOL_SOCKET, socket.SCM_CREDENTIALS):
            pid = _CREDENTIALS.unpack(value)[0]
        if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
            fds += [fd for (fd,) in _FD.iter_unpack(value[: len(value) // _FD.size * _FD.size])]
    lines = (line.partition("=") for line in data.decode(errors="replace").splitlines())
    return Notice(pid, {name: value for name, _, value in lines}, tuple(fds))


@dataclass
class Store:
    """Descriptors kept for a service while it restarts, in the order they came.

    Unlike systemd's it doesn't drop a connection whose peer hangs up: ours hold memory only.
    """

    limit: int
    kept: list[tuple[str, int]] = field(default_factory=list)

    def take(self, notice: Notice) -> int:
        """Keep, or drop, what a notification says. Gives how many there was no room for."""
        name = notice.lines.get("FDNAME", "").replace(":", "") or "stored"
        if "FDSTOREREMOVE" in notice.lines:
            self._drop(name)
            return 0
        if "FDSTORE" not in notice.lines:
            return 0
        taken = notice.fds[: max(0, self.limit - len(self.kept))]
        self.kept += [(name, os.dup(fd)) for fd in taken]
        return len(notice.fds) - len(taken)

    def _drop(self, name: str) -> None:
        for kept, fd in self.kept:
            if kept == name:
                os.close(fd)
        self.kept = [(kept, fd) for kept, fd in self.kept if kept != name]

    def clear(self) -> None:
        """Close everything."""
        for _, fd in self.kept:
            os.close(fd)
        self.kept = []
