"""The process that reads somebody else's file: what `historyread` starts.

    python -P -m piker.cli.historyreader DESCRIPTOR FILE ASKED NOW_NS

puts the rows into the memory of that descriptor and prints `Found`. It imports no more than that
takes: a person waits.
"""

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple
from zoneinfo import ZoneInfo

import msgspec
from msgspec import Struct

from piker.barmemory import ROW_BYTES, columns_in
from piker.core.rows import Columns
from piker.store import foreign
from piker.store.foreign import Asked, Bad, Field, Stamps
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


class Words(NamedTuple):
    """What a person says of a file, as it is told to the process."""

    period_s: int
    columns: dict[Field, str]
    zone: str | None
    unit: Unit | None
    stamps: Stamps


class Memory:
    """Memory of two processes, for rows."""

    def __init__(self, fd: int) -> None:
        self._fd = fd

    def made(self, count: int) -> Columns:
        """So many rows; of zeros, where none were put."""
        size = count * ROW_BYTES
        if os.fstat(self._fd).st_size < size:
            os.ftruncate(self._fd, size)
        return columns_in(self._fd, count)


def _found(memory: Memory, path: Path, asked: Asked, now_ns: int) -> Found:
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
    words = msgspec.json.decode(text, type=Words)
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
    found = _found(Memory(int(fd)), Path(path), _asked(asked), int(now_ns))
    sys.stdout.buffer.write(msgspec.json.encode(found))


if __name__ == "__main__":
    main()
