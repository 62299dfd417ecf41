"""Bars in shared memory: a sealed memfd that its writer fills and that anybody may map.

Readers get it sealed (SHRINK, GROW, FUTURE_WRITE, SEAL): the kernel lets none of them write to it,
truncate it or map it writable, by whatever road. The seal holds for the writer too once its mapping
is gone, so one that restarts copies what it left into a fresh memfd (memfd_create(2)).

The layout is `piker.core.bars`; numpy reads rows as `ROW`.
"""

import fcntl
import mmap
import os
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING

from piker.core.bars import (
    CAPACITY_AT,
    COVERED_AT,
    FINAL_AT,
    GENERATION_AT,
    HEADER_WORDS,
    KNOWN_FROM_AT,
    LAST_AT,
    LAYOUT,
    LAYOUT_AT,
    MAGIC,
    MAGIC_AT,
    MAX_COVERED,
    PERIOD_AT,
    SEQUENCE_AT,
    BarWriter,
    Table,
    words,
)
from piker.quotes import Bar

if TYPE_CHECKING:
    import numpy as np

F_SEAL_FUTURE_WRITE = 0x0010
"""Linux 5.1; not in the fcntl module."""
SEALS = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | F_SEAL_FUTURE_WRITE | fcntl.F_SEAL_SEAL
CAPACITY = {1: 2 * 86_400, 60: 60 * 1_440}
"""Rows by period: two days of seconds, 60 of minutes. Memory is used as rows are written."""
READ_ATTEMPTS = 1000
"""Tries at a copy that the writer did not disturb, before only final rows are given."""

ROW = [
    ("time_ns", "<i8"),
    ("open", "<f8"),
    ("high", "<f8"),
    ("low", "<f8"),
    ("close", "<f8"),
    ("volume", "<f8"),
    ("trades", "<i8"),
    ("flags", "<i8"),
]
"""numpy's description of a row. flags: 1, prices are mids."""


class NotBars(ValueError):
    """The descriptor does not hold bars of this layout."""


class SharedBars:
    """The writer's side of one market's bars of one period.

    `stored(fd, generation)` is called with each new memfd, to have it kept over a crash. `left` is
    a memfd that a writer before us left, to begin with; it stays the caller's. Raises NotBars, also
    for one whose bars are later than `not_after_ns`: every tick of now would come too late for it.
    """

    def __init__(
        self,
        name: str,
        period_s: int,
        stored: Callable[[int, int], None],
        *,
        left: int | None = None,
        not_after_ns: int | None = None,
        capacity: int | None = None,
    ) -> None:
        self.name = name
        self.period_s = period_s
        self.capacity = capacity or CAPACITY[period_s]
        self.generation = 0
        self._stored = stored
        if left is None:
            self._open(None, 0)
            return
        memory, table = _map_foreign(left)
        try:
            _check_newest(table, not_after_ns)
            self.generation = table.ints[GENERATION_AT]
            self._open(table, self.capacity)
        finally:
            _unmap(memory, table)

    def take(self, time_ns: int, price: float, size: float | None, *, derived: bool) -> bool:
        """Put a price into its bar. True: this needed a new memfd, with the newer half of rows."""
        if self.writer.take(time_ns, price, size, derived=derived):
            return False
        self._next_generation()
        self.writer.take(time_ns, price, size, derived=derived)
        return True

    def close(self) -> None:
        """Let go of the memory; readers keep theirs."""
        _unmap(self._memory, self.table)
        os.close(self.fd)

    def _next_generation(self) -> None:
        full, memory, table, writer = self.fd, self._memory, self.table, self.writer
        self._open(table, self.capacity // 2)
        self.writer.close(writer.closed_to_ns)
        _unmap(memory, table)
        os.close(full)

    def _open(self, left: Table | None, most: int) -> None:
        """A fresh memfd, with the newest rows of another, at most so many."""
        self.generation += 1
        self.fd = os.memfd_create(
            f"piker:{self.name}:{self.period_s}", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING
        )
        os.ftruncate(self.fd, 8 * words(self.capacity))
        self._memory = mmap.mmap(self.fd, 8 * words(self.capacity))
        fcntl.fcntl(self.fd, fcntl.F_ADD_SEALS, SEALS)
        self.table = Table(memoryview(self._memory))
        self.table.format(self.capacity, self.period_s, self.generation)
        self.writer = BarWriter(self.table)
        if left is not None:
            self.writer.go_on_from(left, most)
        self._stored(self.fd, self.generation)


class BarReader:
    """A reader's side: maps a descriptor, and closes it. Raises NotBars."""

    def __init__(self, fd: int) -> None:
        self.closed = False
        try:
            self._memory, self.table = _map_foreign(fd)
        finally:
            os.close(fd)

    @property
    def final(self) -> int:
        """Rows that never change again."""
        return self.table.ints[FINAL_AT]

    def bars(self, newest: int) -> list[Bar]:
        """The newest bars, oldest first: one consistent state of the table.

        Where the writer disturbs every attempt, or died in the middle, final rows only.
        """
        table, ints = self.table, self.table.ints
        for _ in range(READ_ATTEMPTS):
            sequence, final, last = ints[SEQUENCE_AT], ints[FINAL_AT], ints[LAST_AT]
            first = max(0, last - newest)
            open_rows = [table.bar(row) for row in range(max(first, final), last)]
            if sequence % 2 == 0 and ints[SEQUENCE_AT] == sequence:
                break
        else:
            final, open_rows = self.final, []
            first = max(0, final - newest)
        return [table.bar(row) for row in range(first, final)] + open_rows

    def view(self) -> "np.ndarray":
        """All rows there are now, as a numpy array over the shared memory itself, read-only.

        Shape (rows,), dtype ROW. Rows from `final` on may change while they are read.
        """
        import numpy as np

        rows = np.frombuffer(
            self._memory, dtype=np.dtype(ROW), count=self.table.capacity, offset=8 * HEADER_WORDS
        )
        return rows[: self.table.ints[LAST_AT]]

    def coverage(self) -> list[tuple[int, int]]:
        """When the feed was live: (from, to), UTC ns, oldest first."""
        ints = self.table.ints
        for _ in range(READ_ATTEMPTS):
            known_from_ns, sequence = ints[KNOWN_FROM_AT], ints[SEQUENCE_AT]
            covered = self.table.coverage()
            # only forgetting the oldest moves intervals, and it raises KNOWN_FROM first
            if sequence % 2 == 0 and ints[KNOWN_FROM_AT] == known_from_ns:
                break
        return covered

    def close(self) -> None:
        """Unmap, unless a `view` is still in use: then when that goes. Twice is a no-op."""
        self.closed = True
        _unmap(self._memory, self.table)


def _map_foreign(fd: int) -> tuple[mmap.mmap, Table]:
    """What somebody else wrote, to be read. Raises NotBars."""
    try:
        memory = mmap.mmap(fd, os.fstat(fd).st_size, mmap.MAP_SHARED, mmap.PROT_READ)
    except (OSError, ValueError) as error:
        raise NotBars(f"expected a memfd with bars: {error}") from error
    if len(memory) < 8 * HEADER_WORDS or len(memory) % 8:
        raise NotBars(f"expected a memfd with bars, was {len(memory)} bytes")
    table = Table(memoryview(memory))
    if problem := _problem(table):
        _unmap(memory, table)
        raise NotBars(problem)
    return memory, table


def _problem(table: Table) -> str:
    """Why this can't be read. A header's word is taken only as far as the memory goes."""
    ints = table.ints
    if ints[MAGIC_AT] != MAGIC:
        return "expected bars, was something else"
    if ints[LAYOUT_AT] != LAYOUT:
        return f"expected layout {LAYOUT}, was {ints[LAYOUT_AT]}"
    final, last, capacity = ints[FINAL_AT], ints[LAST_AT], ints[CAPACITY_AT]
    if not 0 <= final <= last <= capacity or words(capacity) > len(ints):
        return f"expected {capacity} rows in {8 * len(ints)} bytes, {last} used, {final} final"
    if ints[PERIOD_AT] <= 0 or not 0 <= ints[COVERED_AT] <= MAX_COVERED:
        return f"expected a period and coverage, was {ints[PERIOD_AT]}, {ints[COVERED_AT]}"
    return ""


def _unmap(memory: mmap.mmap, table: Table) -> None:
    """Let go of the memory; a numpy view of it keeps it for as long as that is in use."""
    table.release()
    with suppress(BufferError):
        memory.close()


def _check_newest(table: Table, not_after_ns: int | None) -> None:
    rows = table.ints[LAST_AT]
    if rows and not_after_ns is not None:
        ahead_ns = table.bar(rows - 1).time_ns - not_after_ns
        if ahead_ns > 0:
            raise NotBars(f"its newest bar is {ahead_ns / 1e9:.0f} s ahead of the clock")
