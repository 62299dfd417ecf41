"""Bars in a table of memory: made from ticks by one writer, read by anybody at any time.

The table is 64-bit words: a header of `HEADER_WORDS`, then rows of `ROW_WORDS` in order of time.
A row is there when the header's LAST counts it. Rows before FINAL never change again. Words are
stored one by one, which is atomic, in an order in which a row is sound after each store (its high
is raised before its close) or has no time, so a writer that dies in the middle leaves sound rows.
"""

from collections.abc import Iterator

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

# Words of the header. COVERED pairs of COVERAGE hold when the feed was live, ns, oldest first.
MAGIC_AT, LAYOUT_AT, CAPACITY_AT, PERIOD_AT, SEQUENCE_AT = 0, 1, 2, 3, 4
LAST_AT, FINAL_AT, GENERATION_AT, LATE_AT, COVERED_AT, KNOWN_FROM_AT = 5, 6, 7, 8, 9, 10
COVERAGE_AT = 16
MAX_COVERED = (HEADER_WORDS - COVERAGE_AT) // 2
"""Intervals that fit; then the oldest is forgotten and KNOWN_FROM says from when on they count."""

# Words of a row. Prices and volume are doubles.
TIME, OPEN, HIGH, LOW, CLOSE, VOLUME, TRADES, FLAGS = range(ROW_WORDS)


def words(capacity: int) -> int:
    """The size of a table of so many rows."""
    return HEADER_WORDS + capacity * ROW_WORDS


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
        ints[at + FLAGS] = DERIVED if bar.derived else 0
        ints[at + TIME] = bar.time_ns

    def release(self) -> None:
        """Let go of the memory."""
        self.ints.release()
        self.floats.release()

    def coverage(self) -> list[tuple[int, int]]:
        """When the feed was live: (from, to), ns, oldest first."""
        pairs = range(COVERAGE_AT, COVERAGE_AT + 2 * self.ints[COVERED_AT], 2)
        return [(self.ints[at], self.ints[at + 1]) for at in pairs]

    def sound(self) -> Iterator[Bar]:
        """The rows of a table whose writer may have died: those that are whole and in order."""
        newest = -1
        for row in range(min(self.ints[LAST_AT], self.capacity)):
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
        self._sequence = table.ints[SEQUENCE_AT]
        self.closed_to_ns = 0
        self._forget_newest()
        if table.ints[LAST_AT]:
            self._remember_newest()

    def _forget_newest(self) -> None:
        self._start_ns = -1
        self._at = 0
        self._high = self._low = self._volume = 0.0
        self._trades = 0

    def _remember_newest(self) -> None:
        row = self._ints[LAST_AT] - 1
        bar = self._table.bar(row)
        self._at = HEADER_WORDS + row * ROW_WORDS
        self._start_ns = bar.time_ns
        self._high, self._low = bar.high, bar.low
        self._volume, self._trades = bar.volume, bar.trades

    def take(self, time_ns: int, price: float, size: float | None, *, derived: bool) -> bool:
        """Put one price into its bar; `size` is a trade's, None is not a trade.

        False: the table is full and this price would have begun a new row.
        """
        start_ns = time_ns - time_ns % self._period_ns
        if start_ns != self._start_ns:
            return self._take_other(start_ns, price, size, derived=derived)
        ints, floats, at = self._ints, self._floats, self._at
        self._sequence += 1
        ints[SEQUENCE_AT] = self._sequence
        if price > self._high:
            floats[at + HIGH] = self._high = price
        elif price < self._low:
            floats[at + LOW] = self._low = price
        floats[at + CLOSE] = price
        if size is not None:
            self._volume += size
            self._trades += 1
            floats[at + VOLUME] = self._volume
            ints[at + TRADES] = self._trades
        self._sequence += 1
        ints[SEQUENCE_AT] = self._sequence
        return True

    def close(self, now_ns: int) -> None:
        """Make final what ended long enough before this instant. Twice is a no-op."""
        self.closed_to_ns = max(self.closed_to_ns, now_ns)
        last, final = self._ints[LAST_AT], self._ints[FINAL_AT]
        while final < last and self._time(final) + self._period_ns + GRACE_NS <= now_ns:
            final += 1
        self._ints[FINAL_AT] = final

    def append(self, bar: Bar) -> None:
        """Add a bar that is newer than all there are. There must be room."""
        row = self._ints[LAST_AT]
        assert row < self._capacity, f"expected room for a row, was full at {row}"
        self._table.put(row, bar)
        self._ints[LAST_AT] = row + 1
        self._remember_newest()

    def cover(self, from_ns: int, to_ns: int) -> None:
        """Say that the feed was live then; joins the newest interval if it touches it."""
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

    def _take_other(
        self, start_ns: int, price: float, size: float | None, *, derived: bool
    ) -> bool:
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
        if start_ns + self._period_ns + GRACE_NS <= self.closed_to_ns:
            self._ints[LATE_AT] += 1
            return True
        if start_ns < self._start_ns:
            return self._take_late(bar)
        if self._ints[LAST_AT] == self._capacity:
            return False
        self._begin()
        self.append(bar)
        self._end()
        return True

    def _take_late(self, bar: Bar) -> bool:
        """A tick of a bar that isn't the newest: into its row, or a row between others.

        Rows from there on aren't final either, since they end later.
        """
        row = self._ints[LAST_AT] - 1
        while row >= 0 and self._time(row) > bar.time_ns:
            row -= 1
        if row >= 0 and self._time(row) == bar.time_ns:
            self._merge(row, bar)
            return True
        return self._insert(row + 1, bar)

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
        """Put a row between others that aren't final yet."""
        last = self._ints[LAST_AT]
        if last == self._capacity:
            return False
        self._begin()
        self._ints[LAST_AT] = last + 1
        for at in range(last, row, -1):
            self._table.put(at, self._table.bar(at - 1))
        self._table.put(row, bar)
        self._end()
        self._remember_newest()
        return True

    def _time(self, row: int) -> int:
        return self._ints[HEADER_WORDS + row * ROW_WORDS + TIME]

    def _begin(self) -> None:
        self._sequence += 1
        self._ints[SEQUENCE_AT] = self._sequence

    def _end(self) -> None:
        self._sequence += 1
        self._ints[SEQUENCE_AT] = self._sequence
