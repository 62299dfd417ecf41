"""Unix stream sockets under trio: send first and wait only when full, messages, descriptors.

trio's own streams checkpoint at every send; a feed with a hundred watchers can't afford that, and
trio takes EAGAIN of a full backlog for success, so the sockets here are plain and non-blocking.
"""

import errno
import os
import random
import socket
import stat
import struct
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import trio

from piker import paths
from piker.core.framing import Splitter
from piker.errors import Unreachable

RECEIVE_BYTES = 64 * 1024
"""Read at once; below the size from which malloc maps and unmaps memory at every call."""
MAX_FDS = 16
"""Descriptors taken from one message; with more, the kernel closes the rest and we hang up."""
TURN = 16
"""Receives that did not wait; then other tasks have their turn."""
BACKLOG = 4096
CONNECT_TIMEOUT_S = 5.0
BACKLOG_RETRY_S = (0.005, 0.1)
"""Between attempts at a full backlog: at most so long first, and later. The kernel has no event."""

_PEER = struct.Struct("=iII")
"""struct ucred, unix(7): pid, uid, gid."""

# Plain integers: arithmetic on the enum's members costs microseconds in every receive.
_CMSG_CLOEXEC, _CTRUNC = int(socket.MSG_CMSG_CLOEXEC), int(socket.MSG_CTRUNC)
_FD_SPACE = socket.CMSG_LEN(MAX_FDS * struct.calcsize("i"))


class HungUp(Exception):
    """The peer has gone, or broke the framing: the conversation is over."""


class Message(NamedTuple):
    """One message and the descriptors that came with it, now the receiver's to close."""

    data: bytes
    fds: tuple[int, ...] = ()


class Connection:
    """One end of a Unix stream socket. Owns the socket; `close` may be called twice.

    Without `takes_fds`, descriptors that the peer sends are closed by the kernel and end the
    conversation. One task may send and one may receive at a time.
    """

    def __init__(self, sock: socket.socket, *, takes_fds: bool = False) -> None:
        sock.setblocking(False)
        self._socket = sock
        self._space = _FD_SPACE if takes_fds else 0
        self._splitter = Splitter()
        self._unclaimed: list[int] = []
        self._fault = ""
        self._in_a_row = 0
        self._drained = False
        """The last receive took all there was: to wait is cheaper than to try."""

    def try_send(self, data: bytes | memoryview) -> int:
        """Send what fits now; gives the number of bytes taken. Raises HungUp."""
        try:
            return self._socket.send(data)
        except BlockingIOError:
            return 0
        except OSError as error:
            raise HungUp(str(error)) from error

    async def send(self, data: bytes, fds: Sequence[int] = ()) -> None:
        """Send all of it, waiting only when the socket is full. Raises HungUp.

        Not a checkpoint when it fits. Descriptors go with the first byte.
        """
        sent = await self._send_fds(data, fds) if fds else self.try_send(data)
        if sent < len(data):
            await self.send_rest(memoryview(data)[sent:])

    async def send_rest(self, rest: memoryview) -> None:
        """Send all of it, waiting for room first. Raises HungUp."""
        while rest:
            await self.writable()
            rest = rest[self.try_send(rest) :]

    async def writable(self) -> None:
        """Wait until there is room to send. Raises HungUp."""
        try:
            await trio.lowlevel.wait_writable(self._open_socket())
        except (trio.ClosedResourceError, OSError, ValueError) as error:
            raise HungUp(str(error)) from error

    async def receive(self) -> list[Message]:
        """The next messages; none at the end of input. Raises HungUp.

        Cancelled before it takes anything, so that nothing that came is lost.
        """
        while True:
            if self._drained:
                await self._readable()
            else:
                await self._let_others_run()
            messages = self.receive_now()
            if messages is not None:
                return messages
            self._drained = True

    async def _readable(self) -> None:
        self._in_a_row = 0
        try:
            await trio.lowlevel.wait_readable(self._open_socket())
        except (trio.ClosedResourceError, OSError, ValueError) as error:
            raise HungUp(str(error)) from error

    def _open_socket(self) -> socket.socket:
        """The socket, for trio to wait on: it takes -1 of a closed one for a descriptor. HungUp."""
        if self._socket.fileno() < 0:
            raise HungUp("it was closed here")
        return self._socket

    async def _let_others_run(self) -> None:
        """A checkpoint costs microseconds: now and then is enough."""
        self._in_a_row += 1
        if self._in_a_row % TURN:
            await trio.lowlevel.checkpoint_if_cancelled()
        else:
            await trio.lowlevel.checkpoint()

    def receive_now(self) -> list[Message] | None:
        """What is there: messages, none at the end of input, or None when there is no whole one."""
        while True:
            if self._fault:
                raise HungUp(self._fault)
            try:
                chunk, ancillary, flags, _ = self._socket.recvmsg(
                    RECEIVE_BYTES, self._space, _CMSG_CLOEXEC
                )
            except BlockingIOError:
                return None
            except OSError as error:
                raise HungUp(str(error)) from error
            messages = self._take(chunk, _descriptors(ancillary) if ancillary else [])
            if flags & _CTRUNC:
                self._fault = "descriptors came where none, or fewer, are expected"
            elif self._splitter.overlong:
                self._fault = "a message is too long"
            self._drained = len(chunk) < RECEIVE_BYTES and not self._fault
            if messages or not chunk:
                return messages

    @property
    def peer_uid(self) -> int:
        """The user who connected, by the kernel. Raises HungUp."""
        try:
            told = self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _PEER.size)
        except OSError as error:
            raise HungUp(str(error)) from error
        _, uid, _ = _PEER.unpack(told)
        return int(uid)

    def stop_receiving(self) -> None:
        """Take nothing that the peer sends from now on; what it has sent can still be received."""
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RD)

    @property
    def unread(self) -> bool:
        """Whether bytes have come that were not read."""
        try:
            return bool(self._socket.recv(1, socket.MSG_PEEK))
        except OSError:
            return False

    def _take(self, chunk: bytes, fds: list[int]) -> list[Message]:
        """Descriptors belong to the last message begun in the chunk they came with: a chunk ends
        where the bytes that carried them do (unix(7), scm)."""
        complete = self._splitter.feed(chunk)
        messages = [Message(data) for data in complete]
        if messages and self._unclaimed:
            messages[0] = Message(complete[0], tuple(self._unclaimed))
            self._unclaimed = []
        if messages and not self._splitter.unfinished and fds:
            messages[-1] = Message(complete[-1], (*messages[-1].fds, *fds))
        else:
            self._unclaimed += fds
        return messages

    async def _send_fds(self, data: bytes, fds: Sequence[int]) -> int:
        while True:
            try:
                return socket.send_fds(self._socket, [data], list(fds))
            except BlockingIOError:
                await self.writable()
            except OSError as error:
                raise HungUp(str(error)) from error

    def close(self) -> None:
        """Hang up. Tasks waiting on it get HungUp."""
        if self._socket.fileno() >= 0:
            trio.lowlevel.notify_closing(self._socket)
            self._socket.close()
        close_all(self._unclaimed)
        self._unclaimed = []


async def connect(path: str, unit: str, timeout_s: float = CONNECT_TIMEOUT_S) -> Connection:
    """A connection to the daemon that listens at `path`; a full backlog is waited for.

    Raises Unreachable, naming the unit.
    """
    try:
        paths.fitting(Path(path))
    except OSError as error:
        raise Unreachable(f"{unit}: {error}") from error
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    sock.setblocking(False)
    try:
        with trio.move_on_after(timeout_s):
            await _connect_patiently(sock, path)
            return Connection(sock, takes_fds=True)
    except OSError as error:
        sock.close()
        raise Unreachable(f"{unit} does not listen at {path}: {error.strerror}") from error
    except BaseException:
        sock.close()
        raise
    sock.close()
    raise Unreachable(
        f"{unit} took no connection within {timeout_s:g} s; see {paths.journalctl(unit)}"
    )


def listen(path: str) -> socket.socket:
    """A socket that listens at `path`, its directory made if need be; for one's own user alone.

    A stale file of a daemon that has died is replaced. Raises OSError: EADDRINUSE where somebody
    listens already.
    """
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
        _remove_stale(path)
        old = os.umask(0o177)
        try:
            sock.bind(path)
        finally:
            os.umask(old)
        sock.listen(BACKLOG)
    except BaseException:
        sock.close()
        raise
    return sock


def _remove_stale(path: str) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            if stat.S_ISSOCK(os.stat(path).st_mode):
                os.unlink(path)
        except (FileNotFoundError, BlockingIOError):
            pass


async def _connect_patiently(sock: socket.socket, path: str) -> None:
    pause, longest = BACKLOG_RETRY_S
    while True:
        try:
            sock.connect(path)
        except BlockingIOError as error:
            if error.errno != errno.EAGAIN:
                raise
            await trio.sleep(random.uniform(0, pause))  # noqa: S311 else all come back at once
            pause = min(2 * pause, longest)
        else:
            await trio.lowlevel.checkpoint_if_cancelled()
            return


def _descriptors(ancillary: Sequence[tuple[int, int, bytes]]) -> list[int]:
    fds: list[int] = []
    for level, kind, data in ancillary:
        if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
            whole = len(data) - len(data) % struct.calcsize("i")
            fds += struct.unpack(f"{whole // struct.calcsize('i')}i", data[:whole])
    return fds


def close_all(fds: Sequence[int]) -> None:
    """Close descriptors that nobody wants."""
    for fd in fds:
        os.close(fd)
