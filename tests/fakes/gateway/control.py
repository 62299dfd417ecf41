"""The control socket: a line of JSON for each action, and a line back for each: how things are.

So a gateway that runs as a process is scripted with the structs of actions.py as one that doesn't.
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
_LONGEST = 1 << 20


async def listen(
    gateway: Served, path: str, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
) -> None:
    """Obey whoever connects to the socket at a path; has started when one can."""
    listener = await _bound(path)
    task_status.started()
    await trio.serve_listeners(partial(_obey, gateway), [listener])


async def _bound(path: str) -> trio.SocketListener:
    with suppress(FileNotFoundError):
        os.unlink(path)
    bound = trio.socket.socket(trio.socket.AF_UNIX, trio.socket.SOCK_STREAM)
    await bound.bind(path)
    bound.listen()
    return trio.SocketListener(bound)


async def _obey(gateway: Served, stream: trio.SocketStream) -> None:
    lines = _Lines(stream)
    async with stream:
        while line := await lines.read():
            await gateway.do(json.decode(line, type=AnyAction))
            await stream.send_all(json.encode(gateway.show()) + b"\n")


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


class Remote:
    """A gateway in a process of its own."""

    def __init__(self, path: str) -> None:
        self._path = path

    async def do(self, action: Action) -> Shown:
        """Make something happen there; gives how things are then."""
        async with await trio.open_unix_socket(self._path) as stream:
            await stream.send_all(json.encode(action) + b"\n")
            return json.decode(await _Lines(stream).read(), type=Shown)

    async def show(self) -> Shown:
        """How things are there."""
        return await self.do(Show())


@asynccontextmanager
async def a_gateway_process(
    directory: Path, settings: Settings | None = None, *, listen_on: str = ""
) -> AsyncIterator[Remote]:
    """A gateway as a process, which listens at ``gateway.sock`` in a directory, or elsewhere.

    It is killed at the end; a client that broke a rule fails the test.
    """
    control = directory / "control.sock"
    control.unlink(missing_ok=True)
    command = [sys.executable, "-m", "tests.fakes.gateway", "--control", str(control)]
    command += ["--listen", listen_on or f"unix:{directory / 'gateway.sock'}"]
    command += ["--settings", json.encode(settings or Settings()).decode()]
    run = partial(trio.run_process, command, check=False, stdout=PIPE, cwd=ROOT)
    async with trio.open_nursery() as nursery:
        process: trio.Process = await nursery.start(run)
        assert process.stdout is not None
        async with process.stdout:
            with trio.fail_after(PATIENCE_S):
                assert await process.stdout.receive_some(), "expected the gateway to come up"
            yield (remote := Remote(str(control)))
            shown = await remote.show()
            nursery.cancel_scope.cancel()
    assert shown.breaches == (), "\n".join(map(str, shown.breaches))
