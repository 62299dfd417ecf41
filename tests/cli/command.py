"""Runs `piker`, reads what it says, and ends it."""

import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import NamedTuple

import pytest
import trio

from piker.cli import main

PIKER = (str(Path(sys.executable).with_name("piker")),)
DEMO = (sys.executable, "-m", "piker.cli.demo")

PATIENCE_S = 30
"""No command takes longer to do what a test asks of it."""


class Ended(NamedTuple):
    """A command that has ended."""

    status: int
    out: str
    err: str


class Command:
    """A command that runs, its output read line by line."""

    def __init__(self, process: trio.Process) -> None:
        assert process.stdout is not None
        assert process.stderr is not None
        self.process = process
        self.stdout = process.stdout
        self.stderr = process.stderr
        self._read = b""

    async def line(self, such: Callable[[str], bool] = bool) -> str:
        """The next line that is such."""
        with trio.fail_after(PATIENCE_S):
            while True:
                while b"\n" not in self._read:
                    chunk = await self.stdout.receive_some()
                    assert chunk, f"expected a line, it ended: {await self._errors()}"
                    self._read += chunk
                line, _, self._read = self._read.partition(b"\n")
                if such(line.decode()):
                    return line.decode()

    async def end(self, number: signal.Signals = signal.SIGINT) -> Ended:
        """Send it a signal; gives how it ended."""
        self.process.send_signal(number)
        return await self.ended()

    async def ended(self) -> Ended:
        """How it ended, and what was still to be read."""
        with trio.fail_after(PATIENCE_S):
            rest = b"".join([chunk async for chunk in self.stdout])
            err = await self._errors()
            status = await self.process.wait()
        return Ended(status, (self._read + rest).decode(), err)

    async def hang_up(self) -> Ended:
        """Close the pipe it writes to; gives how it ended."""
        await self.stdout.aclose()
        with trio.fail_after(PATIENCE_S):
            err = await self._errors()
            return Ended(await self.process.wait(), "", err)

    async def _errors(self) -> str:
        return b"".join([chunk async for chunk in self.stderr]).decode()


@asynccontextmanager
async def running(*arguments: str, command: Sequence[str] = PIKER) -> AsyncIterator[Command]:
    """`piker ARGUMENTS`; killed at the end if it still runs."""
    process = await trio.lowlevel.open_process(
        [*command, *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "TZ": "UTC"},
    )
    made = Command(process)
    try:
        yield made
    finally:
        with trio.CancelScope(shield=True):
            process.kill()
            await process.wait()
            await made.stdout.aclose()
            await made.stderr.aclose()


def call(*arguments: str) -> int:
    """`piker ARGUMENTS` in this process, where it talks to nobody; gives the exit status."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["piker", *arguments])
        with pytest.raises(SystemExit) as ended:
            sys.exit(main())
    assert isinstance(ended.value.code, int)
    return ended.value.code


async def piker(*arguments: str) -> Ended:
    """`piker ARGUMENTS`, to its end."""
    async with running(*arguments) as command:
        return await command.ended()


async def piker_unread(*arguments: str) -> tuple[int, str]:
    """`piker ARGUMENTS`, to its end, when who would read it has hung up; status and stderr."""
    ours, theirs = os.pipe()
    os.close(ours)
    try:
        with trio.fail_after(PATIENCE_S):
            done = await trio.run_process(
                [*PIKER, *arguments], stdout=theirs, capture_stderr=True, check=False
            )
    finally:
        os.close(theirs)
    return done.returncode, done.stderr.decode()
