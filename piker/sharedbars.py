"""Bars in shared memory: a sealed memfd that its writer fills and that anybody may map.

Readers get it sealed (SHRINK, GROW, FUTURE_WRITE, SEAL): the kernel lets none of them write to it,
truncate it or map it writable, by whatever road. The seal holds for the writer too once its mapping
is gone, so one that restarts copies what it left into a fresh memfd (memfd_create(2)).

The layout is `piker.core.bars`; numpy reads rows as `ROW`.
"""

import fcntl
import mmap
import os
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from piker.core.bars import (
    CAPACITY_AT,
    FINAL_AT,
    GENERATION_AT,
    HEADER_WORDS,
    LAST_AT,
    LAYOUT,
    LAYOUT_AT,
    MAGIC,
    MAGIC_AT,
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
    a memfd that a writer before us left, to begin with; it stays the caller's. Raises NotBars.
    """

    def __init__(
        self,
        name: str,
        period_s: int,
        stored: Callable[[int, int], None],
        *,
        left: int | None = None,
        capacity: int | None = None,
    ) -> None:
        self.name = name
        self.period_s = period_s
        self.capacity = capacity or CAPACITY[period_s]
        self.generation = 0
        self._stored = stored
        if left is None:
            self._open((), ())
        else:
            self.generation, kept, covered = _read_left(left)
            self._open(kept[-self.capacity // 2 :], covered)

    def take(self, time_ns: int, price: float, size: float | None, *, derived: bool) -> bool:
        """Put a price into its bar. True: this needed a new memfd, with the newer half of rows."""
        if self.writer.take(time_ns, price, size, derived=derived):
            return False
        self._next_generation()
        self.writer.take(time_ns, price, size, derived=derived)
        return True

    def close(self) -> None:
        """Let go of the memory; readers keep theirs."""
        self.table.release()
        self._memory.close()
        os.close(self.fd)

    def _next_generation(self) -> None:
        rows = self.table.ints[LAST_AT]
        kept = [self.table.bar(row) for row in range(rows - self.capacity // 2, rows)]
        covered = self.table.coverage()
        closed_to_ns = self.writer.closed_to_ns
        self.close()
        self._open(kept, covered)
        self.writer.close(closed_to_ns)

    def _open(self, kept: Iterable[Bar], covered: Iterable[tuple[int, int]]) -> None:
        self.generation += 1
        self.fd = os.memfd_create(
            f"piker:{self.name}:{self.period_s}", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING
        )
        os.ftruncate(self.fd, 8 * words(self.capacity))
        self._memory = _map(self.fd, writable=True)
        fcntl.fcntl(self.fd, fcntl.F_ADD_SEALS, SEALS)
        self.table = Table(memoryview(self._memory))
        self.table.format(self.capacity, self.period_s, self.generation)
        self.writer = BarWriter(self.table)
        for bar in kept:
            self.writer.append(bar)
        for from_ns, to_ns in covered:
            self.writer.cover(from_ns, to_ns)
        self._stored(self.fd, self.generation)


def _read_left(left: int) -> tuple[int, list[Bar], list[tuple[int, int]]]:
    """The generation, rows and coverage that a writer before us left. Raises NotBars."""
    memory = _map(left, writable=False)
    table = Table(memoryview(memory))
    try:
        _check(table, os.fstat(left).st_size)
        return table.ints[GENERATION_AT], list(table.sound()), table.coverage()
    finally:
        table.release()
        memory.close()


class BarReader:
    """A reader's side: maps a descriptor, which it owns from then on. Raises NotBars."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        try:
            self._memory = _map(fd, writable=False)
            self.table = Table(memoryview(self._memory))
            _check(self.table, os.fstat(fd).st_size)
        except BaseException:
            os.close(fd)
            raise

    @property
    def final(self) -> int:
        """Rows that never change again."""
        return self.table.ints[FINAL_AT]

    def bars(self, newest: int) -> list[Bar]:
        """The newest bars, oldest first: one consistent state of the table.

        Where the writer disturbs every attempt, or died in the middle, final rows only.
        """
        ints = self.table.ints
        for _ in range(READ_ATTEMPTS):
            sequence, last = ints[SEQUENCE_AT], ints[LAST_AT]
            rows = [self.table.bar(row) for row in range(max(0, last - newest), last)]
            if sequence % 2 == 0 and ints[SEQUENCE_AT] == sequence:
                return rows
        return [self.table.bar(row) for row in range(max(0, self.final - newest), self.final)]

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
        return self.table.coverage()

    def close(self) -> None:
        """Unmap, unless a `view` is still in use: then when that goes."""
        self.table.release()
        os.close(self._fd)


def _map(fd: int, *, writable: bool) -> mmap.mmap:
    protection = mmap.PROT_READ | (mmap.PROT_WRITE if writable else 0)
    try:
        return mmap.mmap(fd, os.fstat(fd).st_size, mmap.MAP_SHARED, protection)
    except (OSError, ValueError) as error:
        raise NotBars(f"expected a memfd with bars: {error}") from error


def _check(table: Table, size: int) -> None:
    """A reader trusts the sizes that a header states only as far as the memory goes."""
    ints = table.ints
    if len(ints) < HEADER_WORDS or ints[MAGIC_AT] != MAGIC:
        raise NotBars("expected bars, was something else")
    if ints[LAYOUT_AT] != LAYOUT:
        raise NotBars(f"expected layout {LAYOUT}, was {ints[LAYOUT_AT]}")
    capacity, last = ints[CAPACITY_AT], ints[LAST_AT]
    if not 0 <= last <= capacity or 8 * words(capacity) > size or ints[PERIOD_AT] <= 0:
        raise NotBars(f"expected {capacity} rows in {size} bytes, {last} used")
