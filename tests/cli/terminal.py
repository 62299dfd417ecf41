"""A command in a terminal: what it draws, and what it leaves."""

import fcntl
import os
import pty
import signal
import struct
import termios
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import trio

from tests.cli.command import PATIENCE_S, PIKER

ROWS, COLUMNS = 30, 100

SHOW_CURSOR = "\x1b[?25h"
HIDE_CURSOR = "\x1b[?25l"


class Terminal:
    """The terminal's own side, and the process in it."""

    def __init__(self, process: trio.Process, screen: trio.lowlevel.FdStream) -> None:
        self._process = process
        self._screen = screen
        self.drawn = ""

    async def until(self, *texts: str) -> None:
        """Wait until each of these was drawn."""
        with trio.fail_after(PATIENCE_S):
            while not all(text in self.drawn for text in texts):
                self.drawn += (await self._screen.receive_some()).decode(errors="replace")

    async def press_ctrl_c(self) -> int:
        """As a person does; gives the exit status."""
        await self.type("\x03")
        return await self.ended()

    async def type(self, text: str) -> None:
        """As a person does."""
        await self._screen.send_all(text.encode())

    async def ended(self) -> int:
        """Read to the end; gives the exit status."""
        with trio.fail_after(PATIENCE_S):
            try:
                while chunk := await self._screen.receive_some():
                    self.drawn += chunk.decode(errors="replace")
            except trio.BrokenResourceError:  # EIO: nobody has the other side open any more
                pass
            return await self._process.wait()


@asynccontextmanager
async def in_terminal(*arguments: str, command: Sequence[str] = PIKER) -> AsyncIterator[Terminal]:
    """`piker ARGUMENTS` in a terminal that it controls; killed at the end if it still runs."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
    environment = {**os.environ, "TERM": "xterm", "TZ": "UTC"}
    environment.pop("COLUMNS", None)
    environment.pop("NO_COLOR", None)
    process = await trio.lowlevel.open_process(
        ["setsid", "--ctty", *command, *arguments],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env=environment,
    )
    os.close(theirs)
    async with trio.lowlevel.FdStream(ours) as screen:
        try:
            yield Terminal(process, screen)
        finally:
            with trio.CancelScope(shield=True):
                process.send_signal(signal.SIGKILL)
                await process.wait()
