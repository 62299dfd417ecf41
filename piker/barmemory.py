"""Bars that one process hands to another in memory: a table that never changes, or memory lent.

A table has the layout of shared bars (piker/sharedbars.py) and is sealed against every change.
Memory that is lent is anybody's to write who got it, but has one size for ever: who reads it takes
a copy first, which nobody changes while it is looked at. It has columns, one after the other, as
ROW has them in order, each with room for as many 64-bit words as rows fit.
"""

import fcntl
import mmap
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from piker.core.bars import (
    FINAL_AT,
    HEADER_WORDS,
    KNOWN_FROM_AT,
    LAST_AT,
    MAX_COVERED,
    ROW,
    ROW_WORDS,
    BarWriter,
    Table,
    words,
)
from piker.core.rows import Columns
from piker.core.spans import Pair
from piker.store.atonce import at_once

if TYPE_CHECKING:
    import numpy as np

ROW_BYTES: Final = 8 * ROW_WORDS
SIZE: Final = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW


def sealed(name: str, period_s: int, rows: "np.ndarray", covered: Sequence[Pair]) -> int:
    """A descriptor of a table of these rows (dtype ROW), all final, which the caller closes.

    Of more stretches than fit the newest are told, and from when on they count.
    """
    import numpy as np

    fd = _made(name, 8 * words(len(rows)))
    with mmap.mmap(fd, 8 * words(len(rows))) as memory:
        table = Table(memoryview(memory))
        table.format(len(rows), period_s, 1)
        there = np.frombuffer(memory, dtype=ROW, count=len(rows), offset=8 * HEADER_WORDS)
        there[:] = rows
        del there
        table.ints[LAST_AT] = table.ints[FINAL_AT] = len(rows)
        _cover(table, covered)
        table.release()
    fcntl.fcntl(fd, fcntl.F_ADD_SEALS, SIZE | fcntl.F_SEAL_WRITE | fcntl.F_SEAL_SEAL)
    return fd


class Lent:
    """Memory for rows that others put there. `fd` stays ours to close, by `close`."""

    def __init__(self, name: str, capacity: int) -> None:
        import numpy as np

        self.capacity = capacity
        self._copy = np.empty((ROW_WORDS, 0), dtype=np.int64)
        self.fd = _made(name, capacity * ROW_BYTES)
        fcntl.fcntl(self.fd, fcntl.F_ADD_SEALS, SIZE | fcntl.F_SEAL_SEAL)

    def columns(self, count: int) -> Columns:
        """A copy of the first rows, which holds until the next is asked for.

        Its memory is used again: to be given fresh memory takes as long as to copy.
        """
        import numpy as np

        if self._copy.shape[1] < count:
            self._copy = np.empty((ROW_WORDS, count), dtype=np.int64)
        words = self._copy[:, :count]

        def read(number: int) -> None:
            _read(self.fd, memoryview(words[number]).cast("B"), 8 * number * self.capacity)

        at_once(read, range(ROW_WORDS))
        return Columns(words)

    def close(self) -> None:
        """Let go of it; who has it too keeps it."""
        os.close(self.fd)


def columns_in(fd: int, capacity: int) -> Columns:
    """Columns for so many rows in the memory of a descriptor. Raises OSError or ValueError."""
    import numpy as np

    size = capacity * ROW_BYTES
    words = np.frombuffer(mmap.mmap(fd, size), dtype=np.int64)
    return Columns(words.reshape(ROW_WORDS, capacity))


def _read(fd: int, into: memoryview, offset: int) -> None:
    at = 0
    while at < len(into):
        at += os.preadv(fd, [into[at:]], offset + at)


def _made(name: str, size: int) -> int:
    fd = os.memfd_create(f"piker:{name}", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    os.ftruncate(fd, size)
    return fd


def _cover(table: Table, covered: Sequence[Pair]) -> None:
    writer = BarWriter(table)
    if len(covered) > MAX_COVERED:
        table.ints[KNOWN_FROM_AT] = covered[-MAX_COVERED][0]
    for from_ns, to_ns in covered[-MAX_COVERED:]:
        writer.cover(from_ns, to_ns)
