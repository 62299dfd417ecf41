"""Bars in a table of memory: made from ticks by one writer, read by anybody at any time.

The table is 64-bit words: a header of `HEADER_WORDS`, then rows of `ROW_WORDS` in order of time.
A row is there when the header's LAST counts it. Rows before FINAL never change again. Words are
stored one by one, which is atomic, in an order in which a row is sound after each store (its high
is raised before its close) or has no time, so a writer that dies in the middle leaves sound rows.
"""

from bisect import bisect_left
from collections.abc import Iterator, Sequence

from piker.core.spans import Pair, down
from piker.quotes import Bar

NS = 1_000_000_000
PERIODS_S = (1, 60)
GRACE_NS = 2 * NS
"""A bar takes ticks until so long after its end; then it is final."""

MAGIC = 0x73_72_61_62_72_6B_69_70
"""The bytes "pikrbars", little-endian."""
LAYOUT = 1
HEADER_WORDS = 512
ROW_WORDS = 8
DERIVED = 1
"""Flag of a row whose prices are mids."""
PARTIAL = 2
"""Flag of a row that lacks some of its period: not all of it is covered, or it hasn't ended."""

# Words of the header. COVERED pairs of COVERAGE hold when the feed was live, or what
# was filled later, ns, oldest first.
MAGIC_AT, LAYOUT_AT, CAPACITY_AT, PERIOD_AT, SEQUENCE_AT = 0, 1, 2, 3, 4
LAST_AT, FINAL_AT, GENERATION_AT, LATE_AT, COVERED_AT, KNOWN_FROM_AT = 5, 6, 7, 8, 9, 10
COVERAGE_AT = 16
MAX_COVERED = (HEADER_WORDS - COVERAGE_AT) // 2
"""Intervals that fit; then the oldest is forgotten and KNOWN_FROM says from when on they count."""

# Words of a row. Prices and volume are doubles.
TIME, OPEN, HIGH, LOW, CLOSE, VOLUME, TRADES, FLAGS = range(ROW_WORDS)

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
"""numpy's description of a row. flags: DERIVED and PARTIAL, added up."""


def words(capacity: int) -> int:
    """The size of a table of so many rows."""
    return HEADER_WORDS + capacity * ROW_WORDS


def window(capacity: int) -> int:
    """How many rows, the newest, a table of this capacity goes on with when it is full."""
    return capacity - capacity // 3


def excessive(rows: int, capacity: int) -> int:
    """How many of so many rows, the oldest, a table of this capacity doesn't take over."""
    return rows - window(capacity) if rows >= capacity else 0


class Table:
    """A table's memory, as 64-bit integers and as doubles: two views of the same bytes."""

    def __init__(self, memory: memoryview) -> None:
        self.ints = memory.cast("B").cast("q")
        self.floats = memory.cast("B").cast("d")

    @property
    def capacity(self) -> int:
        """Rows that fit."""
        return self.ints[CAPACITY_AT]

    def format(self, capacity: int, period_s: int, generation: int) -> None:
        """Make an empty table of zeroed memory. The magic comes last."""
        self.ints[LAYOUT_AT] = LAYOUT
        self.ints[CAPACITY_AT] = capacity
        self.ints[PERIOD_AT] = period_s * NS
        self.ints[GENERATION_AT] = generation
        self.ints[MAGIC_AT] = MAGIC

    def begin(self, rows: int, known_from_ns: int) -> None:
        """Say of an empty table that so many rows were written to its memory, all final."""
        self.ints[LAST_AT] = self.ints[FINAL_AT] = rows
        self.ints[KNOWN_FROM_AT] = known_from_ns

    def bar(self, row: int) -> Bar:
        """One row. Only sound when the writer is not at it."""
        at = HEADER_WORDS + row * ROW_WORDS
        ints, floats = self.ints, self.floats
        return Bar(
            time_ns=ints[at + TIME],
            open=floats[at + OPEN],
            high=floats[at + HIGH],
            low=floats[at + LOW],
            close=floats[at + CLOSE],
            volume=floats[at + VOLUME],
            trades=ints[at + TRADES],
            derived=bool(ints[at + FLAGS] & DERIVED),
            partial=bool(ints[at + FLAGS] & PARTIAL),
        )

    def put(self, row: int, bar: Bar) -> None:
        """Write one whole row. It has no time until it is whole."""
        at = HEADER_WORDS + row * ROW_WORDS
        ints, floats = self.ints, self.floats
        ints[at + TIME] = -1
        floats[at + OPEN] = bar.open
        floats[at + HIGH] = bar.high
        floats[at + LOW] = bar.low
        floats[at + CLOSE] = bar.close
        floats[at + VOLUME] = bar.volume
        ints[at + TRADES] = bar.trades
        ints[at + FLAGS] = DERIVED * bar.derived | PARTIAL * bar.partial
        ints[at + TIME] = bar.time_ns

    def release(self) -> None:
        """Let go of the memory."""
        self.ints.release()
        self.floats.release()

    def time(self, row: int) -> int:
        """When the period of a row began, or -1 where there is no such row."""
        return self.ints[HEADER_WORDS + row * ROW_WORDS + TIME] if row >= 0 else -1

    def coverage(self) -> list[tuple[int, int]]:
        """When the feed was live, or was filled later: (from, to), ns, oldest first."""
        ats = range(COVERAGE_AT, COVERAGE_AT + 2 * self.ints[COVERED_AT], 2)
        pairs = [(self.ints[at], self.ints[at + 1]) for at in ats]
        return [(from_ns, to_ns) for from_ns, to_ns in pairs if from_ns < to_ns]

    def row_from(self, time_ns: int) -> int:
        """The first row that begins then or later; as many as there are rows, if none does."""
        return bisect_left(range(self.ints[LAST_AT]), time_ns, key=self.time)

    def copy_rows(self, other: "Table", first: int, end: int) -> None:
        """Take rows of another table over as they are, after those here. All are final."""
        self.add_words(
            other.ints[HEADER_WORDS + first * ROW_WORDS : HEADER_WORDS + end * ROW_WORDS]
        )

    def add_words(self, rows: memoryview) -> None:
        """Put rows, as they are in memory, after those here. All are final."""
        at = HEADER_WORDS + self.ints[LAST_AT] * ROW_WORDS
        self.ints[at : at + len(rows)] = rows
        self.ints[LAST_AT] += len(rows) // ROW_WORDS
        self.ints[FINAL_AT] = self.ints[LAST_AT]

    def sound(self, first: int = 0) -> Iterator[Bar]:
        """The rows from `first` on of a table whose writer may have died: whole and in order."""
        newest = self.time(first - 1)
        for row in range(first, self.ints[LAST_AT]):
            bar = self.bar(row)
            inside = bar.low <= min(bar.open, bar.close) <= max(bar.open, bar.close) <= bar.high
            if bar.time_ns > newest and inside:
                newest = bar.time_ns
                yield bar


class BarWriter:
    """Makes bars of ticks. The only writer of its table."""

    def __init__(self, table: Table) -> None:
        self._table = table
        self._ints, self._floats = table.ints, table.floats
        self._period_ns = table.ints[PERIOD_AT]
        self._capacity = table.capacity
        self.closed_to_ns = 0
        self._look_at_newest()

    def _look_at_newest(self) -> None:
        """Know where the newest row is, unless it is final: then no price goes into it."""
        row, final = self._ints[LAST_AT] - 1, self._ints[FINAL_AT]
        self._final_ns = self._table.time(final - 1)
        self._start_ns = self._end_ns = -1
        if row >= final:
            self._at = HEADER_WORDS + row * ROW_WORDS
            self._start_ns = self._table.time(row)
            self._end_ns = self._start_ns + self._period_ns

    def go_on_from(self, left: Table, rows: int) -> None:
        """Begin an empty table with what another holds: its newest rows, `rows` (1…) at most.

        Its writer may have died in the middle of a row, which is then left out.
        """
        first = max(0, left.ints[LAST_AT] - rows)
        self._add_rows(left, first)
        self._know(left, left.coverage(), left.time(first) if first else 0)

    def go_on_filled(
        self, left: Table, from_ns: int, to_ns: int, bars: Sequence[Bar], covered: Sequence[Pair]
    ) -> None:
        """Begin an empty table with what another holds, but for the rows of a stretch.

        Those are `bars` from now on, and `covered` is all that is covered. Rows of before the
        stretch's end are final in both. What leaves no room for more loses its oldest.
        """
        first, end = left.row_from(from_ns), left.row_from(to_ns)
        excess = excessive(first + len(bars) + left.ints[LAST_AT] - end, self._capacity)
        self._table.copy_rows(left, min(excess, first), first)
        for bar in bars[max(0, excess - first) :]:
            self._add(bar)
        self._ints[FINAL_AT] = self._ints[LAST_AT]
        self._add_rows(left, end + max(0, excess - first - len(bars)))
        self._know(left, covered, self._table.time(0) if excess else 0)

    def has_room_for(self, more: int) -> bool:
        """Whether so many rows fit beside those that are here."""
        return self._ints[LAST_AT] + more <= self._capacity

    def go_on_after(self, left: Table, end: int, covered: Sequence[Pair]) -> None:
        """Go on from `Table.begin` with another's rows from `end` on, for which there is room.

        `covered` is all that is covered.
        """
        self._add_rows(left, end)
        self._know(left, covered, self._ints[KNOWN_FROM_AT])

    @property
    def final_to_ns(self) -> int:
        """No period that begins before this, UTC ns, takes a tick any more."""
        closed_ns = down(max(0, self.closed_to_ns - GRACE_NS), self._period_ns)
        open_ns = self._table.time(self._ints[FINAL_AT])
        return min(closed_ns, open_ns) if self._ints[FINAL_AT] < self._ints[LAST_AT] else closed_ns

    def _add(self, bar: Bar) -> None:
        self._table.put(self._ints[LAST_AT], bar)
        self._ints[LAST_AT] += 1

    def _add_rows(self, left: Table, first: int) -> None:
        """The rows of another table from there on; those that aren't final if they are sound."""
        final = left.ints[FINAL_AT]
        self._table.copy_rows(left, first, max(first, final))
        for bar in left.sound(max(first, final)):
            self._add(bar)

    def _know(self, left: Table, covered: Sequence[Pair], first_ns: int) -> None:
        """What the other knows beside its rows, as far as it is of no time before."""
        known_from_ns = max(left.ints[KNOWN_FROM_AT], first_ns)
        self._ints[KNOWN_FROM_AT] = known_from_ns
        for from_ns, to_ns in covered:
            self.cover(max(from_ns, known_from_ns), to_ns)
        self._ints[LATE_AT] = left.ints[LATE_AT]
        self._look_at_newest()

    def take(self, time_ns: int, price: float, size: float | None, *, derived: bool) -> bool:
        """Put one price into its bar; `size` is a trade's, None is not a trade.

        False: the table is full and this price would have begun a new row.
        """
        if not self._start_ns <= time_ns < self._end_ns:
            return self._take_other(time_ns, price, size, derived=derived)
        ints, floats, at = self._ints, self._floats, self._at
        sequence = ints[SEQUENCE_AT]
        ints[SEQUENCE_AT] = sequence + 1
        if price > floats[at + HIGH]:
            floats[at + HIGH] = price
        elif price < floats[at + LOW]:
            floats[at + LOW] = price
        floats[at + CLOSE] = price
        if size is not None:
            floats[at + VOLUME] += size
            ints[at + TRADES] += 1
        ints[SEQUENCE_AT] = sequence + 2
        return True

    def close(self, now_ns: int) -> None:
        """Make final what ended long enough before this instant. Twice is a no-op.

        A clock that is stepped back unmakes nothing, and later bars go on by the new time.
        """
        self.closed_to_ns = now_ns
        last, final = self._ints[LAST_AT], self._ints[FINAL_AT]
        while final < last and self._over(self._table.time(final)):
            final += 1
        if final != self._ints[FINAL_AT]:
            self._ints[FINAL_AT] = final
            self._look_at_newest()

    def cover(self, from_ns: int, to_ns: int) -> None:
        """Say that the feed was live then; joins the newest interval if it touches it."""
        if to_ns <= from_ns:
            return
        ints = self._ints
        count = ints[COVERED_AT]
        newest = COVERAGE_AT + 2 * (count - 1)
        if count and from_ns <= ints[newest + 1]:
            ints[newest + 1] = max(ints[newest + 1], to_ns)
            return
        if count == MAX_COVERED:
            self._forget_oldest_coverage()
            count -= 1
        ints[COVERAGE_AT + 2 * count] = from_ns
        ints[COVERAGE_AT + 2 * count + 1] = to_ns
        ints[COVERED_AT] = count + 1

    def _forget_oldest_coverage(self) -> None:
        ints = self._ints
        self._begin()
        ints[KNOWN_FROM_AT] = ints[COVERAGE_AT + 1]
        for at in range(COVERAGE_AT, COVERAGE_AT + 2 * (MAX_COVERED - 1)):
            ints[at] = ints[at + 2]
        ints[COVERED_AT] = MAX_COVERED - 1
        self._end()

    def _over(self, start_ns: int) -> bool:
        """Whether the bar that begins then takes no more ticks."""
        return start_ns + self._period_ns + GRACE_NS <= self.closed_to_ns

    def _take_other(self, time_ns: int, price: float, size: float | None, *, derived: bool) -> bool:
        """A tick of another bar than the newest, or of the first one."""
        start_ns = time_ns - time_ns % self._period_ns
        if start_ns <= self._final_ns or self._over(start_ns):
            self._ints[LATE_AT] += 1
            return True
        bar = Bar(
            time_ns=start_ns,
            open=price,
            high=price,
            low=price,
            close=price,
            volume=size or 0.0,
            trades=0 if size is None else 1,
            derived=derived,
        )
        row = self._ints[LAST_AT]
        while row and self._table.time(row - 1) > start_ns:
            row -= 1
        if self._table.time(row - 1) == start_ns:
            self._merge(row - 1, bar)
            return True
        return self._insert(row, bar)

    def _merge(self, row: int, bar: Bar) -> None:
        """Word by word, so that the row is sound after each."""
        old = self._table.bar(row)
        floats, at = self._floats, HEADER_WORDS + row * ROW_WORDS
        self._begin()
        floats[at + HIGH] = max(old.high, bar.high)
        floats[at + LOW] = min(old.low, bar.low)
        floats[at + CLOSE] = bar.close
        floats[at + VOLUME] = old.volume + bar.volume
        self._ints[at + TRADES] = old.trades + bar.trades
        self._end()

    def _insert(self, row: int, bar: Bar) -> bool:
        """Put a row after all, or between others, which aren't final either: they end later."""
        last = self._ints[LAST_AT]
        if last == self._capacity:
            return False
        self._begin()
        for at in range(last, row, -1):
            self._table.put(at, self._table.bar(at - 1))
            self._ints[LAST_AT] = last + 1  # from the first copy on, or it could be lost
        self._table.put(row, bar)
        self._ints[LAST_AT] = last + 1
        self._end()
        self._look_at_newest()
        return True

    def _begin(self) -> None:
        self._ints[SEQUENCE_AT] += 1

    def _end(self) -> None:
        self._ints[SEQUENCE_AT] += 1
