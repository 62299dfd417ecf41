"""Bars in shared memory: a sealed memfd that its writer fills and that anybody may map.

Readers get it sealed (SHRINK, GROW, FUTURE_WRITE, SEAL): the kernel lets none of them write to it,
truncate it or map it writable, by whatever road. The seal holds for the writer too once its mapping
is gone, so one that restarts copies what it left into a fresh memfd (memfd_create(2)).

The layout is `piker.core.bars`; numpy reads rows as its `ROW`.
"""

import fcntl
import mmap
import os
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Literal

from piker.core import windows
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
    NS,
    PERIOD_AT,
    ROW,
    ROW_WORDS,
    SEQUENCE_AT,
    BarWriter,
    Table,
    excessive,
    window,
    words,
)
from piker.core.holes import merged, taken
from piker.core.rows import merged as merged_rows
from piker.core.rows import periods
from piker.core.spans import Pair, clipped, joined
from piker.quotes import Bar

if TYPE_CHECKING:
    import numpy as np

F_SEAL_FUTURE_WRITE = 0x0010
"""Linux 5.1; not in the fcntl module."""
SEALS = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | F_SEAL_FUTURE_WRITE | fcntl.F_SEAL_SEAL
CAPACITY = windows.capacities(windows.DAYS)
"""Rows by period, unless more or fewer are asked for. Memory is used as rows are written."""
READ_ATTEMPTS = 1000
"""Tries at a copy that the writer did not disturb, before only final rows are given."""

Renewal = Literal["full", "filled"]
"""Why a memfd follows another: that was full, or has had holes."""
Begin = Callable[[BarWriter], None]
"""What a writer begins an empty table with."""


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
        self.renewed_by: Renewal = "full"
        """Why there is this generation, if it isn't the first."""
        self._stored = stored
        if left is None:
            self._open(lambda writer: None)
            return
        memory, table = _map_foreign(left)
        try:
            _check_newest(table, not_after_ns)
            self.generation = table.ints[GENERATION_AT]
            self._open(lambda writer: writer.go_on_from(table, self.capacity))
        finally:
            _unmap(memory, table)

    def take(self, time_ns: int, price: float, size: float | None, *, derived: bool) -> bool:
        """Put a price into its bar. True: this needed a new memfd, with the newest rows."""
        if self.writer.take(time_ns, price, size, derived=derived):
            return False
        self._next_generation("full", self._go_on_with_window)
        self.writer.take(time_ns, price, size, derived=derived)
        return True

    def fill(self, from_ns: int, to_ns: int, bars: Sequence[Bar]) -> list[Pair]:
        """Put what the venue has of a stretch beside what was seen live (core/holes.py).

        It begins and ends on a period, and all of its periods are final. This makes a new memfd.
        Gives the periods whose rows are the venue's now.
        """
        left, period_ns = self.table, self.period_s * NS
        coverage = left.coverage()
        live = map(left.bar, range(left.row_from(from_ns), left.row_from(to_ns)))
        theirs = taken(bars, coverage, period_ns)
        rows = merged(live, theirs)
        covered = joined([*coverage, (from_ns, to_ns)])
        self._next_generation(
            "filled", lambda writer: writer.go_on_filled(left, from_ns, to_ns, rows, covered)
        )
        return joined((bar.time_ns, bar.time_ns + period_ns) for bar in theirs)

    def merging(self) -> "Merging":
        """Begin to put in rows of the store. To be built, given to `merge`, and closed."""
        return Merging(self)

    def merge(self, merging: "Merging") -> bool:
        """Go on in what was built, with the rows that came meanwhile.

        False: other bars than those that it was built from are here now, or they need more room.
        """
        made, left = merging.made, self.table
        if made is None:
            return True
        more = left.ints[LAST_AT] - merging.end
        same = (self.generation, left.row_from(merging.to_ns)) == (merging.generation, merging.end)
        if not same or not made.writer.has_room_for(more):
            return False
        made.writer.go_on_after(left, merging.end, joined([*left.coverage(), *merging.covered]))
        merging.made = None
        self._go_on_in(made, "filled")
        return True

    def rows(self, from_ns: int, to_ns: int) -> "np.ndarray":
        """A copy of the rows that begin in a stretch, of dtype ROW, oldest first."""
        import numpy as np

        first, end = self.table.row_from(from_ns), self.table.row_from(to_ns)
        at = 8 * (HEADER_WORDS + first * ROW_WORDS)
        found = np.frombuffer(self._memory, np.dtype(ROW), max(0, end - first), at)
        return found.copy()

    def close(self) -> None:
        """Let go of the memory; readers keep theirs."""
        _unmap(self._memory, self.table)
        os.close(self.fd)

    def _go_on_with_window(self, writer: BarWriter) -> None:
        writer.go_on_from(self.table, window(self.capacity))

    def _next_generation(self, why: Renewal, begin: Begin) -> None:
        made = _Memory(self.name, self.period_s, self.capacity, self.generation + 1)
        begin(made.writer)
        self._go_on_in(made, why)

    def _go_on_in(self, made: "_Memory", why: Renewal) -> None:
        fd, memory, table, writer = self.fd, self._memory, self.table, self.writer
        self.renewed_by = why
        self._use(made)
        self.writer.close(writer.closed_to_ns)
        _unmap(memory, table)
        os.close(fd)

    def _open(self, begin: Begin) -> None:
        """The first memfd, that its writer begins so."""
        made = _Memory(self.name, self.period_s, self.capacity, self.generation + 1)
        begin(made.writer)
        self._use(made)

    def _use(self, made: "_Memory") -> None:
        self.generation += 1
        self.fd, self._memory = made.fd, made.memory
        self.table, self.writer = made.table, made.writer
        self._stored(self.fd, self.generation)


class _Memory:
    """A sealed memfd of an empty table, mapped, and its writer.

    Rows are written to it before it is sealed, which is faster than by way of the mapping, and no
    other thread waits for it. The table doesn't know of them yet.
    """

    def __init__(
        self,
        name: str,
        period_s: int,
        capacity: int,
        generation: int,
        rows: "Iterable[np.ndarray]" = (),
    ) -> None:
        self.fd = os.memfd_create(f"piker:{name}:{period_s}", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        os.ftruncate(self.fd, 8 * words(capacity))
        _write(self.fd, rows)
        self.memory = mmap.mmap(self.fd, 8 * words(capacity))
        fcntl.fcntl(self.fd, fcntl.F_ADD_SEALS, SEALS)
        self.table = Table(memoryview(self.memory))
        self.table.format(capacity, period_s, generation)
        self.writer = BarWriter(self.table)

    def close(self) -> None:
        """Let go of it."""
        _unmap(self.memory, self.table)
        os.close(self.fd)


class Merging:
    """Rows of the store beside those that were seen live, as the next memfd. Any thread builds it.

    It is of the rows that were final when it was begun: they never change again, so bars go on
    being made meanwhile. What comes meanwhile is put in by `SharedBars.merge`. To be closed.
    """

    def __init__(self, bars: SharedBars) -> None:
        self.bars = bars
        self.generation = bars.generation
        self.to_ns = bars.writer.final_to_ns
        """Rows that begin before this are in it; none of the store is later."""
        self.end = bars.table.row_from(self.to_ns)
        """How many of the rows that are there are in it."""
        self.covered: list[Pair] = []
        """What the store covers of it."""
        self.taken: list[Pair] = []
        """The periods whose rows are the store's."""
        self.made: _Memory | None = None
        """None: there is nothing to put in."""
        self._coverage = bars.table.coverage()
        self._left = BarReader(os.dup(bars.fd))

    def build(self, stored: "np.ndarray", covered: Sequence[Pair], after_ns: int = 0) -> None:
        """Put rows of the store, and what they cover, beside what was seen live (core/rows.py).

        `taken` is told of what begins at `after_ns` or later.
        """
        import numpy as np

        bars, period_ns = self.bars, self.bars.period_s * NS
        stored = stored[: np.searchsorted(stored["time_ns"], self.to_ns)]
        self.covered = clipped(covered, 0, self.to_ns)
        if not len(stored) and not self.covered:
            return
        live = self._left.view()[: self.end]
        pieces, taken_ns = merged_rows(live, self._coverage, stored, self.covered, period_ns)
        self.taken = periods(taken_ns[taken_ns >= after_ns], period_ns)
        more = self._left.table.ints[LAST_AT] - self.end
        kept, known_from_ns = _newest(pieces, more, bars.capacity, period_ns)
        self.made = _Memory(bars.name, bars.period_s, bars.capacity, self.generation + 1, kept)
        self.made.table.begin(sum(map(len, kept)), known_from_ns)
        self.made.writer = BarWriter(self.made.table)

    def close(self) -> None:
        """Let go of what wasn't taken over."""
        self._left.close()
        if self.made:
            self.made.close()


def _newest(
    pieces: "Iterable[np.ndarray]", more: int, capacity: int, period_ns: int
) -> "tuple[list[np.ndarray], int]":
    """What a table takes over of pieces before `more` other rows, and from when on it is all."""
    pieces, known_from_ns = list(pieces), 0
    excess = excessive(sum(map(len, pieces)) + more, capacity)
    for at, piece in enumerate(pieces):
        dropped, pieces[at] = piece[:excess], piece[excess:]
        excess -= len(dropped)
        if len(dropped):
            known_from_ns = int(dropped["time_ns"][-1]) + period_ns
    return pieces, known_from_ns


def _write(fd: int, pieces: "Iterable[np.ndarray]") -> None:
    """Put rows where those of a table begin."""
    at = 8 * HEADER_WORDS
    for piece in pieces:
        left = piece.view("u1").data if len(piece) else memoryview(b"")
        while left:
            written = os.pwrite(fd, left, at)
            left, at = left[written:], at + written


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
        """When the feed was live, or was filled later: (from, to), UTC ns, oldest first."""
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
