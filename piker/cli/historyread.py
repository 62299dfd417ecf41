"""Somebody else's file, read by a process of its own (historyreader.py).

A file that is made to hurt may have polars ask for more memory than there is, which ends the
process that asks. So another reads it, whose end is an answer too.
"""

import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import msgspec
import trio

from piker.store.foreignwords import Asked, BadFile, Found
from piker.storeclient import LentRows


class ReaderKilled(Exception):
    """The process was ended by a signal, which the text names."""


class Reader:
    """A file that is being read. See `reading`."""

    def __init__(self, path: Path, process: trio.Process, errors: int) -> None:
        self._path = path
        self.process = process
        self._errors = errors
        self._said = b""

    async def found(self) -> Found:
        """What is in it. Raises BadFile."""
        try:
            found = msgspec.json.decode(await self._line(), type=Found)
        except ReaderKilled as error:
            raise BadFile(f"it is torn or damaged: reading it ended with {error}") from error
        if found.problem:
            raise BadFile(found.problem)
        return found

    async def put(self, number: int) -> None:
        """Have one of its pieces be in the memory that was lent. Raises BadFile."""
        assert self.process.stdin, "expected to be asked"
        try:
            with suppress(trio.BrokenResourceError):
                await self.process.stdin.send_all(b"%d\n" % number)
            await self._line()
        except ReaderKilled as error:
            what = "not all of it was handed in; import it again"
            raise BadFile(f"who reads it was ended with {error}: {what}") from error

    async def _line(self) -> bytes:
        """What is said next. Raises ReaderKilled, or RuntimeError if the reader has failed."""
        assert self.process.stdout, "expected it to be heard"
        while b"\n" not in self._said:
            more = await self.process.stdout.receive_some()
            if not more:
                raise await self._ended()
            self._said += more
        line, _, self._said = self._said.partition(b"\n")
        return line

    async def _ended(self) -> Exception:
        status = await self.process.wait()
        if status < 0:
            return ReaderKilled(signal.Signals(-status).name)
        told = os.pread(self._errors, 1 << 16, 0).decode(errors="replace")
        return RuntimeError(f"expected {self._path} to be read, was {told}")


@asynccontextmanager
async def reading(path: Path, asked: Asked, now_ns: int, lent: LentRows) -> AsyncIterator[Reader]:
    """A file's rows, judged, to be put piece by piece where they are asked for."""
    said = str(lent.fd), str(lent.capacity), str(path), asked.encoded(), str(now_ns)
    errors = os.memfd_create("piker:errors", os.MFD_CLOEXEC)
    try:
        process = await trio.lowlevel.open_process(
            [sys.executable, "-P", "-m", "piker.cli.historyreader", *said],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            pass_fds=(lent.fd,),
        )
        try:
            yield Reader(path, process, errors)
        finally:
            process.kill()
            with trio.CancelScope(shield=True):
                for pipe in (process.stdin, process.stdout):
                    assert pipe, "expected both"
                    await pipe.aclose()
                await process.wait()
    finally:
        os.close(errors)
