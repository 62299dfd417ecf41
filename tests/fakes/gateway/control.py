"""The control socket: a line of JSON for each action, and a line back for each once it was done.

So a gateway that runs as a process is scripted with the structs of actions.py as one that doesn't.
To `Show` the line back is how things are.
"""

import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from subprocess import PIPE

import trio
from msgspec import json

from tests.fakes.gateway.actions import Action, AnyAction, Show
from tests.fakes.gateway.gateway import Settings
from tests.fakes.gateway.server import Served, Shown

PATIENCE_S = 30
ROOT = Path(__file__).parents[3]
DONE = b"{}"
_LONGEST = 1 << 26


async def listen(
    gateway: Served, path: str, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
) -> None:
    """Obey whoever connects to the socket at a path; has started when one can."""
    listener = await _bound(path)
    task_status.started()
    await trio.serve_listeners(partial(_obey, gateway), [listener])


async def _bound(path: str) -> trio.SocketListener:
    """It has its name once it listens: who sees that it is there may connect."""
    nameless = f"{path}.new"
    with suppress(FileNotFoundError):
        os.unlink(nameless)
    bound = trio.socket.socket(trio.socket.AF_UNIX, trio.socket.SOCK_STREAM)
    await bound.bind(nameless)
    bound.listen()
    os.rename(nameless, path)
    return trio.SocketListener(bound)


async def _obey(gateway: Served, stream: trio.SocketStream) -> None:
    lines = _Lines(stream)
    async with stream:
        while line := await lines.read():
            action = json.decode(line, type=AnyAction)
            await gateway.do(action)
            await stream.send_all((_shown(gateway) if isinstance(action, Show) else DONE) + b"\n")


def _shown(gateway: Served) -> bytes:
    return json.encode(gateway.show())


class _Lines:
    def __init__(self, stream: trio.SocketStream) -> None:
        self._stream = stream
        self._pending = b""

    async def read(self) -> bytes:
        """The next line; empty at the end."""
        while b"\n" not in self._pending:
            assert len(self._pending) < _LONGEST, "expected a line"
            chunk = await self._stream.receive_some()
            if not chunk:
                return b""
            self._pending += chunk
        line, _, self._pending = self._pending.partition(b"\n")
        return line


class Away(Exception):
    """There is no such process, or it ended before it had answered."""


class Remote:
    """A gateway in a process of its own, which may be killed and started again."""

    def __init__(self, directory: Path, settings: Settings, listen_on: str = "") -> None:
        self.address = listen_on or f"unix:{directory / 'gateway.sock'}"
        """As configuration names it, but for a TCP port that the system chose."""
        self.process: trio.Process
        self._control = str(directory / "control.sock")
        self._settings = settings

    async def start(self) -> None:
        """Start it, again perhaps, and wait until it serves."""
        command = [sys.executable, "-m", "tests.fakes.gateway", "--control", self._control]
        command += ["--listen", self.address]
        command += ["--settings", json.encode(self._settings).decode()]
        self.process = await trio.lowlevel.open_process(command, stdout=PIPE, cwd=ROOT)
        assert self.process.stdout is not None
        with trio.fail_after(PATIENCE_S):
            assert await self.process.stdout.receive_some(), "expected the gateway to come up"

    async def kill(self) -> None:
        """As by the worst of accidents."""
        self.process.kill()
        await self.ended()

    async def ended(self) -> None:
        """Wait for its end."""
        with trio.fail_after(PATIENCE_S):
            await self.process.wait()
        assert self.process.stdout is not None
        await self.process.stdout.aclose()

    async def do(self, action: Action) -> None:
        """Make something happen there. Raises Away."""
        await self._ask(action)

    async def show(self) -> Shown:
        """How things are there. Raises Away."""
        return json.decode(await self._ask(Show()), type=Shown)

    async def _ask(self, action: Action) -> bytes:
        try:
            async with await trio.open_unix_socket(self._control) as stream:
                await stream.send_all(json.encode(action) + b"\n")
                answer = await _Lines(stream).read()
        except (OSError, trio.BrokenResourceError) as error:
            raise Away(str(error)) from error
        if not answer:
            raise Away("it ended before it had answered")
        return answer


@asynccontextmanager
async def a_remote_gateway(
    directory: Path, settings: Settings, *, listen_on: str = ""
) -> AsyncIterator[Remote]:
    """A gateway as a process, which listens at ``gateway.sock`` in a directory, or elsewhere.

    It is killed at the end.
    """
    remote = Remote(directory, settings, listen_on)
    await remote.start()
    try:
        yield remote
    finally:
        with trio.CancelScope(shield=True):
            await remote.kill()


@asynccontextmanager
async def a_gateway_process(
    directory: Path, settings: Settings | None = None, *, listen_on: str = ""
) -> AsyncIterator[Remote]:
    """The same for a test: a client that broke a rule fails it."""
    async with a_remote_gateway(directory, settings or Settings(), listen_on=listen_on) as remote:
        yield remote
        shown = await remote.show()
    assert shown.breaches == (), "\n".join(map(str, shown.breaches))
