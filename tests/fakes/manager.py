"""A service manager in the test's hands: what it hears, what it starts daemons with."""

import os
import signal
import socket
import sys
from array import array
from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager, closing
from pathlib import Path
from typing import NamedTuple

import trio

from piker import paths
from piker.interfaces import Interface
from piker.varlink import Client, open_client

PATIENCE_S = 30
"""No daemon takes longer to do what a test asks of it."""

TELLING_IMPORTS = {"PYTHONPROFILEIMPORTTIME": "1"}
"""An environment in which Python says on stderr what it imports, when it does."""

_EXEC = """
import fcntl, os, sys
given = [int(number) for number in sys.argv[1].split(",") if number]
high = [fcntl.fcntl(fd, fcntl.F_DUPFD, 200) for fd in given]
for fd in given:
    os.close(fd)
for number, fd in enumerate(high):
    os.dup2(fd, 3 + number)
    os.close(fd)
for name in ("LISTEN_PID", "SYSTEMD_EXEC_PID", "WATCHDOG_PID"):
    if os.environ.get(name) == "its own":
        os.environ[name] = str(os.getpid())
os.execv(sys.argv[2], sys.argv[2:])
"""
"""Puts descriptors where sd_listen_fds(3) says that they are, then becomes the daemon."""


class Notice(NamedTuple):
    """One datagram of sd_notify(3), and the descriptors that came with it."""

    lines: tuple[str, ...]
    fds: tuple[int, ...]


class Manager:
    """Hears what a daemon says."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.heard: list[Notice] = []
        self._socket = trio.socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)

    async def open(self) -> None:
        """Begin to listen."""
        await self._socket.bind(str(self.path))

    async def hear(self, line: str) -> Notice:
        """Wait until a daemon says something that begins so."""
        with trio.fail_after(PATIENCE_S):
            while True:
                data, ancillary, _, _ = await self._socket.recvmsg(4096, 1024)
                fds = array("i", b"".join(each for _, _, each in ancillary))
                self.heard.append(Notice(tuple(data.decode().splitlines()), tuple(fds)))
                if any(each.startswith(line) for each in self.heard[-1].lines):
                    return self.heard[-1]

    def said(self) -> list[str]:
        """Every line so far."""
        return [line for notice in self.heard for line in notice.lines]

    def close(self) -> None:
        """Stop listening; close what was stored."""
        self._socket.close()
        self.path.unlink()
        for notice in self.heard:
            for fd in notice.fds:
                os.close(fd)


class Running:
    """A daemon's process."""

    def __init__(self, manager: Manager, process: trio.Process, path: str, stderr: Path) -> None:
        self.manager = manager
        self.process = process
        self.path = path
        self._stderr = stderr

    def client(self, interface: Interface) -> AbstractAsyncContextManager[Client]:
        """A connection to it."""
        return open_client(self.path, interface, "daemon")

    async def end(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Send a signal; gives the exit status."""
        self.process.send_signal(number)
        return await self.ended()

    async def ended(self) -> int:
        """Wait for its end; gives the exit status."""
        with trio.fail_after(PATIENCE_S):
            return await self.process.wait()

    def stderr(self) -> str:
        """What it has written for people."""
        return self._stderr.read_text()

    def imported(self) -> list[str]:
        """The modules that it has imported, if it was started with `TELLING_IMPORTS`."""
        lines = self.stderr().splitlines()
        return [line.rpartition("|")[2].strip() for line in lines if line.startswith("import time")]


@asynccontextmanager
async def a_daemon(
    *arguments: str,
    fds: Mapping[str, int] | None = None,
    manager: Manager | None = None,
    environment: Mapping[str, str] | None = None,
    ready: bool = True,
) -> AsyncIterator[Running]:
    """A process of `python -m piker.NAME [INSTANCE]` that is ready; ended at the end.

    With `fds` it is started with these descriptors by name, as by a manager.
    """
    home = paths.runtime_directory()
    async with _manager(manager, home / "notify") as manager:
        stderr = home / "stderr"
        with stderr.open("w") as file:
            process = await trio.lowlevel.open_process(
                [sys.executable, "-ISc", _EXEC, _numbers(fds), *_command(arguments)],
                env={**os.environ, **_given(manager, fds), **(environment or {})},
                pass_fds=tuple((fds or {}).values()),
                stderr=file,
            )
        name, *instance = arguments
        path = str(paths.socket_path(name, *instance))
        running = Running(manager, process, path, stderr)
        try:
            if ready:
                await manager.hear("READY=1")
            yield running
        finally:
            with trio.CancelScope(shield=True):
                await _end(process)


@asynccontextmanager
async def _manager(given: Manager | None, path: Path) -> AsyncIterator[Manager]:
    """The one that was given, or one of our own."""
    if given:
        yield given
        return
    with closing(Manager(path)) as manager:
        await manager.open()
        yield manager


async def _end(process: trio.Process) -> None:
    process.terminate()
    with trio.move_on_after(PATIENCE_S):
        await process.wait()
    process.kill()
    await process.wait()


def _command(arguments: tuple[str, ...]) -> list[str]:
    name, *rest = arguments
    return [sys.executable, "-m", f"piker.{name}", *rest]


def _numbers(fds: Mapping[str, int] | None) -> str:
    return ",".join(map(str, (fds or {}).values()))


def _given(manager: Manager, fds: Mapping[str, int] | None) -> dict[str, str]:
    given = {"NOTIFY_SOCKET": str(manager.path)}
    if fds:
        given |= {"LISTEN_FDS": str(len(fds)), "LISTEN_FDNAMES": ":".join(fds)}
        given |= {"LISTEN_PID": "its own"}
    return given
