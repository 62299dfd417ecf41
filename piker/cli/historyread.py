"""Somebody else's file, read by a process of its own.

A file that is made to hurt may have polars ask for more memory than there is, which ends the
process that asks. So another reads it, whose end is an answer too:

    python -P -m piker.cli.historyread DESCRIPTOR FILE ASKED NOW_NS

puts the rows into the memory of that descriptor and prints `Found`.
"""

import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple
from zoneinfo import ZoneInfo

import msgspec
import trio
from msgspec import Struct

from piker.barmemory import ROW_BYTES, columns_in
from piker.core.rows import Columns
from piker.store import foreign
from piker.store.foreign import Asked, Bad, Field, Foreign, Stamps
from piker.store.foreignfiles import BadFile
from piker.store.foreigntimes import Unit


class Found(Struct, frozen=True, kw_only=True):
    """What is in a file, but for the rows; or why it can't be read, for people."""

    problem: str = ""
    rows: int = 0
    read: int = 0
    bad: tuple[Bad, ...] = ()
    counts: Mapping[str, int] = {}
    guessed: tuple[str, ...] = ()


class _Words(NamedTuple):
    """What a person says of a file, as it is told to the process."""

    period_s: int
    columns: dict[Field, str]
    zone: str | None
    unit: Unit | None
    stamps: Stamps


async def read(path: Path, asked: Asked, now_ns: int) -> Foreign:
    """All of a file, as `foreign.read`. Raises BadFile."""
    fd = os.memfd_create("piker:foreign", os.MFD_CLOEXEC)
    try:
        found = await _answer(fd, path, asked, now_ns)
        rows = _Memory(fd).made(found.rows)
    finally:
        os.close(fd)
    return Foreign(
        rows=rows, read=found.read, bad=found.bad, counts=found.counts, guessed=found.guessed
    )


async def _answer(fd: int, path: Path, asked: Asked, now_ns: int) -> Found:
    zone = asked.zone.key if asked.zone else None
    words = _Words(asked.period_s, dict(asked.columns), zone, asked.unit, asked.stamps)
    said = str(fd), str(path), msgspec.json.encode(words).decode(), str(now_ns)
    done = await trio.run_process(
        [sys.executable, "-P", "-m", "piker.cli.historyread", *said],
        check=False,
        stdin=subprocess.DEVNULL,
        capture_stdout=True,
        capture_stderr=True,
        pass_fds=(fd,),
    )
    if done.returncode < 0:
        name = signal.Signals(-done.returncode).name
        raise BadFile(f"it is torn or damaged: reading it ended with {name}")
    if done.returncode:
        raise RuntimeError(f"expected {path} to be read, was {done.stderr.decode()}")
    found = msgspec.json.decode(done.stdout, type=Found)
    if found.problem:
        raise BadFile(found.problem)
    return found


class _Memory:
    """Memory of two processes, for rows."""

    def __init__(self, fd: int) -> None:
        self._fd = fd

    def made(self, count: int) -> Columns:
        """So many rows; of zeros, where none were put."""
        size = count * ROW_BYTES
        if os.fstat(self._fd).st_size < size:
            os.ftruncate(self._fd, size)
        return columns_in(self._fd, count)


def _found(memory: _Memory, path: Path, asked: Asked, now_ns: int) -> Found:
    try:
        found = foreign.read(path, asked, now_ns, memory.made)
    except BadFile as error:
        return Found(problem=str(error))
    except OSError as error:
        return Found(problem=error.strerror or str(error))
    if len(found.rows) < found.read:
        memory.made(len(found.rows)).put(found.rows)
    return Found(
        rows=len(found.rows),
        read=found.read,
        bad=found.bad,
        counts=found.counts,
        guessed=found.guessed,
    )


def _asked(text: str) -> Asked:
    words = msgspec.json.decode(text, type=_Words)
    return Asked(
        period_s=words.period_s,
        columns=words.columns,
        zone=ZoneInfo(words.zone) if words.zone else None,
        unit=words.unit,
        stamps=words.stamps,
    )


def main() -> None:
    """Read the file that the arguments tell of."""
    fd, path, asked, now_ns = sys.argv[1:]
    found = _found(_Memory(int(fd)), Path(path), _asked(asked), int(now_ns))
    sys.stdout.buffer.write(msgspec.json.encode(found))


if __name__ == "__main__":
    main()
