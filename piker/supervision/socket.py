"""A socket that lives: it listens, and has its service started by the first connection.

A service may have several: a connection to any starts it, and it is handed all that listen.
"""

import errno
import os
import socket
import subprocess
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path

import trio

from piker.core.units import SocketUnit, TriggerLimit
from piker.paths import fitting
from piker.supervision.service import LiveService
from piker.supervision.states import Changes, LiveTarget, OnLog
from piker.transport import listen

PREPARE_TIMEOUT_S = 30.0
"""How long the ExecStartPre= of a socket may take: it makes directories."""


class LiveSocket(LiveTarget):
    """Listens, and never accepts: that is the service's, which inherits the socket.

    Task tree: one task while it listens.
    """

    def __init__(
        self,
        unit: SocketUnit,
        changes: Changes,
        on_log: OnLog,
        nursery: trio.Nursery,
        service: LiveService,
        trigger: Callable[[], Awaitable[None]],
    ) -> None:
        super().__init__(unit, changes, on_log)
        self.unit = unit
        self._nursery = nursery
        self._service = service
        self._trigger = trigger
        self._listener: socket.socket | None = None
        self._listening = trio.CancelScope()
        service.sources.append(self.inherited)

    def inherited(self) -> list[tuple[str, int]]:
        """What its service is handed: names and descriptors."""
        return [(self.unit.fd_name, self._listener.fileno())] if self._listener else []

    async def start(self) -> None:
        """Have it listen. Raises Refused with UnitFailed."""
        await self.until(lambda: self.active not in ("activating", "deactivating"))
        if self.active == "active":
            return
        self.become("activating", "start-pre")
        try:
            await self._prepare()
            self._listener = _listen(self.unit)
        except OSError as error:
            self.log(str(error))
            raise self.failed(str(error)) from error
        finally:
            if self._listener is None:
                self.become("failed", "failed")
        self._listening = trio.CancelScope()
        self.become("active", "listening")
        self._nursery.start_soon(self._listen_on, self._listener)

    async def stop(self, *, to_restart: bool = False) -> None:
        """Have it listen no more, its path gone."""
        await self.until(lambda: self.active != "activating")
        if self.active == "active":
            self.become("deactivating", "stop-post")
            self._listening.cancel()
        await self.until(lambda: self.idle)

    async def _prepare(self) -> None:
        for command in self.unit.prepare:
            with trio.move_on_after(PREPARE_TIMEOUT_S) as limit:
                done = await trio.run_process(
                    command, check=False, capture_stdout=True, stderr=subprocess.STDOUT
                )
            if limit.cancelled_caught:
                raise OSError(f"{command[0]} took more than {PREPARE_TIMEOUT_S:g} s")
            if done.returncode:
                said = done.stdout.decode(errors="replace").strip()
                raise OSError(f"{command[0]} gave {done.returncode}: {said}")

    async def _listen_on(self, listener: socket.socket) -> None:
        ended = "inactive", "dead"
        try:
            with self._listening:
                await self._wait_and_trigger(listener)
                ended = "failed", "trigger-limit-hit"
                self.log("too many activations; it listens no more until it is started again")
        finally:
            self._listener = None
            if self.unit.remove_on_stop:
                with suppress(FileNotFoundError):
                    os.unlink(self.unit.path)
            listener.close()
            self.become(*ended)

    async def _wait_and_trigger(self, listener: socket.socket) -> None:
        """Returns when there were too many activations."""
        limit = TriggerLimit(self.unit.trigger_interval_s, self.unit.trigger_burst)
        while True:
            await self._service.until(lambda: self._service.idle)
            await trio.lowlevel.wait_readable(listener)
            if self._service.idle:
                if not limit.allows(trio.current_time()):
                    return
                await self._trigger()


def _listen(unit: SocketUnit) -> socket.socket:
    """Raises OSError that says what is wrong with the path."""
    path = Path(fitting(Path(unit.path)))
    path.parent.mkdir(mode=unit.directory_mode, parents=True, exist_ok=True)
    try:
        listener = listen(str(path))
    except OSError as error:
        raise OSError(f"can't listen at {path}: {error.strerror}") from error
    os.chmod(path, unit.socket_mode)
    listener.listen(unit.backlog)
    return listener


def remove_left(directory: Path) -> None:
    """Remove sockets that nobody listens at: a killed pikerd leaves them, and clients that ask
    every provider would ask there. Of one that somebody listens at, the probe is a connection."""
    for path in directory.glob("*.sock"):
        if path.is_socket() and _refuses(path):
            path.unlink(missing_ok=True)


def _refuses(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        return probe.connect_ex(fitting(path)) == errno.ECONNREFUSED
