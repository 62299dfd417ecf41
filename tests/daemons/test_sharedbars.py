"""Bars in shared memory: writers that are killed, readers that attack, headers that lie."""

import ctypes
import errno
import fcntl
import json
import mmap
import os
import signal
import socket
import subprocess
import sys
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from itertools import count
from pathlib import Path
from typing import Any, NamedTuple, cast

import numpy as np
import pytest
from msgspec import structs

from piker.core.bars import (
    CAPACITY_AT,
    COVERED_AT,
    FINAL_AT,
    GENERATION_AT,
    KNOWN_FROM_AT,
    LAST_AT,
    LATE_AT,
    LAYOUT_AT,
    MAGIC_AT,
    MAX_COVERED,
    NS,
    PERIOD_AT,
    ROW,
    SEQUENCE_AT,
    BarWriter,
    Table,
    words,
)
from piker.core.rows import rows_of
from piker.quotes import Bar
from piker.sharedbars import CAPACITY, BarReader, Merging, NotBars, SharedBars

CAPACITY_HERE = 16
LATER = 1_700_000_000
"""An instant, s; rows here begin a few seconds after it."""


def unkept(fd: int, generation: int) -> None:
    """There is no manager to keep it."""


@contextmanager
def shared(capacity: int = CAPACITY_HERE, left: int | None = None) -> Iterator[SharedBars]:
    """Bars of a second."""
    bars = SharedBars("a.b.sim", 1, unkept, left=left, capacity=capacity)
    with closing(bars):
        yield bars


def reader(fd: int) -> BarReader:
    """A reader of what somebody sent; the sender keeps its own descriptor."""
    return BarReader(os.dup(fd))


def trade(bars: SharedBars, at_s: float, price: float = 1.0) -> bool:
    return bars.take(LATER * NS + round(at_s * NS), price, 1.0, derived=False)


def seconds(bars: list[Bar]) -> list[int]:
    """When they begin, after LATER."""
    return [bar.time_ns // NS - LATER for bar in bars]


def open_fds() -> int:
    return len(os.listdir("/proc/self/fd"))


ROOT = Path(__file__).parents[2]


def in_another_process(function: Callable[[socket.socket], None]) -> list[str]:
    """The command that runs a function of this module with the socket numbered in its argument."""
    call = f"import sys, {__name__} as here; here.{function.__name__}(here.inherited(sys.argv[1]))"
    return [sys.executable, "-c", call]


def inherited(number: str) -> socket.socket:
    return socket.socket(fileno=int(number))


# --- the writer


def test_what_is_filled_is_in_another_memfd_and_readers_keep_theirs() -> None:
    with shared() as bars, closing(reader(bars.fd)) as before:
        for at_s in (0, 1, 8, 9):
            trade(bars, at_s, 5.0)
        bars.writer.cover(LATER * NS, (LATER + 1) * NS + NS // 2)
        bars.writer.cover((LATER + 8) * NS, (LATER + 10) * NS)
        bars.writer.close((LATER + 20) * NS)
        theirs = [venues(at_s) for at_s in (0, 1, 4, 8)]
        bars.fill((LATER + 1) * NS, (LATER + 8) * NS, theirs[1:3])
        assert seconds(before.bars(99)) == [0, 1, 8, 9]
        with closing(reader(bars.fd)) as after:
            assert seconds(after.bars(99)) == [0, 1, 4, 8, 9]
            assert [bar.open for bar in after.bars(99)] == [5.0, 7.0, 7.0, 5.0, 5.0]
            assert after.final == 5
            assert after.coverage() == [(LATER * NS, (LATER + 10) * NS)]
            assert (bars.generation, bars.renewed_by) == (2, "filled")


Pairs = Sequence[tuple[float, float]]


def stored(bars: SharedBars, rows: Iterable[int], covered: Pairs = ()) -> bool:
    """Put in what the store has, after LATER."""
    stretches = [((LATER * NS + int(a * NS)), LATER * NS + int(b * NS)) for a, b in covered]
    with closing(bars.merging()) as merging:
        merging.build(rows_of([venues(at_s) for at_s in rows]), stretches)
        return merging.made is not None and bars.merge(merging)


def test_what_is_stored_is_put_beside_what_was_seen_in_another_memfd() -> None:
    with shared() as bars, closing(reader(bars.fd)) as before:
        for at_s in (0, 1, 8, 9):
            trade(bars, at_s, 5.0)
        bars.writer.cover((LATER + 8) * NS, (LATER + 10) * NS)
        bars.writer.close((LATER + 11) * NS)
        assert stored(bars, [-5, 1, 8], [(-5, 2), (8, 9)])
        assert seconds(before.bars(99)) == [0, 1, 8, 9]
        with closing(reader(bars.fd)) as after:
            assert seconds(after.bars(99)) == [-5, 0, 1, 8, 9]
            assert [bar.open for bar in after.bars(99)] == [7.0, 5.0, 7.0, 5.0, 5.0]
            assert (after.final, bars.generation, bars.renewed_by) == (4, 2, "filled")
            stretches = [(a // NS - LATER, b // NS - LATER) for a, b in after.coverage()]
            assert stretches == [(-5, 2), (8, 10)]


def test_a_bar_that_is_being_made_goes_on_when_what_is_stored_was_put_in() -> None:
    with shared() as bars:
        trade(bars, 20, 5.0)
        bars.writer.close((LATER + 21) * NS)
        assert stored(bars, [0, 20], [(0, 21)])
        assert not trade(bars, 20.5, 6.0)
        with closing(reader(bars.fd)) as after:
            assert [(bar.open, bar.high) for bar in after.bars(99)] == [(7.0, 7.0), (5.0, 6.0)]
            assert after.coverage() == [(LATER * NS, (LATER + 19) * NS)]


@pytest.mark.parametrize("closed_s", [0, 5, 10])
def test_what_is_stored_of_the_future_is_not_put_in(closed_s: int) -> None:
    with shared() as bars:
        bars.writer.close((LATER + closed_s) * NS)
        assert not stored(bars, [closed_s - 2, 99], [(closed_s - 2, 100)])
        assert bars.generation == 1


def test_of_what_is_stored_the_newest_is_put_in_as_far_as_there_is_room() -> None:
    with shared() as bars:
        trade(bars, 100)
        bars.writer.close((LATER + 100) * NS)
        assert stored(bars, range(50), [(0, 50)])
        with closing(reader(bars.fd)) as after:
            assert seconds(after.bars(99)) == [*range(40, 50), 100]
            assert after.coverage() == [((LATER + 40) * NS, (LATER + 50) * NS)]


def test_without_anything_stored_there_is_no_other_memfd() -> None:
    with shared() as bars:
        bars.writer.close((LATER + 100) * NS)
        assert not stored(bars, [])
        assert bars.generation == 1


def test_a_period_that_is_stored_without_a_bar_is_covered() -> None:
    with shared() as bars:
        bars.writer.close((LATER + 100) * NS)
        assert stored(bars, [], [(0, 50)])
        with closing(reader(bars.fd)) as after:
            assert (after.bars(9), len(after.coverage())) == ([], 1)


def test_what_came_while_what_is_stored_was_put_in_is_there_too() -> None:
    with shared() as bars, closing(reader(bars.fd)) as before:
        trade(bars, 8, 5.0)
        bars.writer.close((LATER + 12) * NS)
        with closing(bars.merging()) as merging:
            assert not any(trade(bars, at_s, 6.0) for at_s in (11, 12, 12.5))
            merging.build(rows_of([venues(0)]), [(LATER * NS, (LATER + 1) * NS)])
            assert not trade(bars, 13, 6.0)
            bars.writer.cover((LATER + 11) * NS, (LATER + 13) * NS)
            assert bars.merge(merging)
        assert seconds(before.bars(99)) == [8, 11, 12, 13]
        trade(bars, 13, 9.0)
        with closing(reader(bars.fd)) as after:
            assert seconds(after.bars(99)) == [0, 8, 11, 12, 13]
            assert after.bars(1)[0].high == 9.0
            stretches = [(a // NS - LATER, b // NS - LATER) for a, b in after.coverage()]
            assert stretches == [(0, 1), (11, 13)]


@contextmanager
def merging(bars: SharedBars) -> Iterator[Merging]:
    """Row 0 of the store is about to be put beside 8, which was seen."""
    trade(bars, 8)
    bars.writer.close((LATER + 12) * NS)
    with closing(bars.merging()) as begun:
        begun.build(rows_of([venues(0)]), [])
        yield begun


def test_what_is_stored_is_not_put_into_bars_that_became_others_meanwhile() -> None:
    with shared() as bars, merging(bars) as begun:
        bars.fill((LATER + 2) * NS, (LATER + 4) * NS, [venues(3)])
        assert not bars.merge(begun)
        with closing(reader(bars.fd)) as after:
            assert (seconds(after.bars(99)), bars.generation) == ([3, 8], 2)


def test_what_is_stored_is_not_put_in_where_what_came_meanwhile_has_no_room() -> None:
    with shared() as bars, merging(bars) as begun:
        assert not any(trade(bars, at_s) for at_s in range(11, 11 + CAPACITY_HERE - 1))
        assert not bars.merge(begun)
        assert stored(bars, [0], [(0, 10)])
        with closing(reader(bars.fd)) as after:
            assert seconds(after.bars(99)) == [*range(11, 26)]
            assert after.coverage() == [((LATER + 9) * NS, (LATER + 10) * NS)]


def test_what_is_stored_is_not_put_in_where_a_clock_that_went_back_let_a_bar_come_before() -> None:
    with shared() as bars, merging(bars) as begun:
        bars.writer.close((LATER + 9) * NS)
        assert not trade(bars, 9)
        assert not bars.merge(begun)
        with closing(reader(bars.fd)) as after:
            assert seconds(after.bars(99)) == [8, 9]


def test_what_is_not_put_in_after_all_leaves_nothing() -> None:
    with shared() as bars:
        before = open_fds()
        with merging(bars):
            assert open_fds() > before
        assert open_fds() == before


def test_the_periods_whose_rows_are_the_stores_are_told() -> None:
    with shared() as bars:
        for at_s in (5, 6, 8):
            trade(bars, at_s)
        bars.writer.cover((LATER + 5) * NS, (LATER + 7) * NS)
        bars.writer.close((LATER + 20) * NS)
        with closing(bars.merging()) as begun:
            rows = rows_of([venues(at_s) for at_s in (1, 2, 3, 4, 5, 8)])
            begun.build(rows, [(LATER * NS, (LATER + 9) * NS)], (LATER + 2) * NS)
            assert [(a // NS - LATER, b // NS - LATER) for a, b in begun.taken] == [(2, 5), (8, 9)]


def test_the_periods_whose_rows_are_the_venues_are_told() -> None:
    with shared() as bars:
        for at_s in (5, 6, 8):
            trade(bars, at_s)
        bars.writer.cover((LATER + 5) * NS, (LATER + 7) * NS)
        bars.writer.close((LATER + 20) * NS)
        rows = [venues(at_s) for at_s in (2, 3, 4, 5)]
        assert bars.fill((LATER + 2) * NS, (LATER + 9) * NS, rows) == [
            ((LATER + 2) * NS, (LATER + 5) * NS)
        ]


def venues(at_s: int) -> Bar:
    """As the venue has it."""
    time_ns = (LATER + at_s) * NS
    return Bar(time_ns=time_ns, open=7, high=7, low=7, close=7, volume=7, trades=7)


def test_bars_are_there_for_a_reader_as_they_are_made() -> None:
    with shared() as bars, closing(reader(bars.fd)) as reading:
        assert not trade(bars, 0, 5.0)
        assert not trade(bars, 0.5, 6.0)
        bar = Bar(time_ns=LATER * NS, open=5, high=6, low=5, close=6, volume=2, trades=2)
        assert (reading.bars(9), reading.final) == ([bar], 0)
        bars.writer.close((LATER + 3) * NS)
        assert (reading.bars(9), reading.final) == ([bar], 1)


@pytest.mark.parametrize(
    ("newest", "expected"), [(0, []), (1, [4]), (3, [2, 3, 4]), (99, [*range(5)])]
)
@pytest.mark.parametrize("closed_s", [0, 4, 99])
def test_a_reader_is_given_the_newest_bars(newest: int, expected: list[int], closed_s: int) -> None:
    with shared() as bars, closing(reader(bars.fd)) as reading:
        for at_s in range(5):
            trade(bars, at_s)
        bars.writer.close((LATER + closed_s) * NS)
        assert seconds(reading.bars(newest)) == expected


def test_when_it_is_full_the_newest_two_thirds_go_on_in_another_and_readers_keep_theirs() -> None:
    with shared() as bars, closing(reader(bars.fd)) as before:
        assert not any(trade(bars, at_s) for at_s in range(CAPACITY_HERE))
        bars.writer.close((LATER + 16) * NS)
        bars.table.ints[LATE_AT] = 3
        assert trade(bars, CAPACITY_HERE)
        assert bars.generation == bars.table.ints[GENERATION_AT] == 2
        with closing(reader(bars.fd)) as after:
            assert seconds(before.bars(99)) == [*range(16)]
            assert seconds(after.bars(99)) == [*range(5, 17)]
            assert (before.final, after.final, after.table.ints[LATE_AT]) == (14, 9, 3)


def test_bars_go_on_after_it_was_full() -> None:
    with shared() as bars:
        renewed = [at_s for at_s in range(100) if trade(bars, at_s)]
        assert renewed == [16, *range(21, 100, 5)]
        with closing(reader(bars.fd)) as reading:
            assert seconds(reading.bars(3)) == [97, 98, 99]


def test_a_late_tick_that_finds_it_full_is_not_lost() -> None:
    with shared() as bars:
        for at_s in range(0, 2 * CAPACITY_HERE, 2):
            trade(bars, at_s)
        assert trade(bars, 29)
        with closing(reader(bars.fd)) as reading:
            assert seconds(reading.bars(3)) == [28, 29, 30]


def test_what_was_closed_stays_closed_when_it_was_full() -> None:
    with shared() as bars:
        bars.writer.close((LATER + 10) * NS)
        for at_s in range(9, 9 + CAPACITY_HERE + 1):
            trade(bars, at_s)
        trade(bars, 5)
        assert bars.table.ints[LATE_AT] == 1


def test_coverage_of_rows_that_were_left_behind_does_not_count() -> None:
    with shared() as bars:
        bars.writer.cover(LATER * NS, (LATER + 16) * NS)
        for at_s in range(CAPACITY_HERE + 1):
            trade(bars, at_s)
        with closing(reader(bars.fd)) as reading:
            assert reading.coverage() == [((LATER + 5) * NS, (LATER + 16) * NS)]
            assert reading.table.ints[KNOWN_FROM_AT] == (LATER + 5) * NS


def test_each_memfd_is_told_of_when_it_holds_what_it_goes_on_from() -> None:
    told: list[tuple[int, list[int]]] = []

    def stored(fd: int, generation: int) -> None:
        with closing(reader(fd)) as reading:
            told.append((generation, seconds(reading.bars(99))))

    with closing(SharedBars("a", 1, stored, capacity=4)) as bars:
        for at_s in range(5):
            trade(bars, at_s)
    assert told == [(1, []), (2, [1, 2, 3])]


def test_memory_is_used_as_rows_are_written() -> None:
    with closing(SharedBars("a", 1, unkept)) as bars:
        trade(bars, 0)
        assert os.fstat(bars.fd).st_size == 8 * words(CAPACITY[1])
        assert os.fstat(bars.fd).st_blocks * 512 <= 2 * mmap.PAGESIZE


def test_nothing_is_left_open() -> None:
    before = open_fds()
    with shared(capacity=4) as bars:
        opened = open_fds()
        for at_s in range(100):
            trade(bars, at_s)
        assert open_fds() == opened
        reader(bars.fd).close()
        assert open_fds() == opened
    assert open_fds() == before


# --- a writer that is killed

Step = Callable[[BarWriter], object]


def take(at_s: float, price: float, size: float | None = 1.0) -> Step:
    at_ns = LATER * NS + round(at_s * NS)
    return lambda writer: writer.take(at_ns, price, size, derived=False)


def close(at_s: float) -> Step:
    return lambda writer: writer.close(LATER * NS + round(at_s * NS))


def cover(from_s: float, to_s: float) -> Step:
    from_ns, to_ns = (LATER * NS + round(each * NS) for each in (from_s, to_s))
    return lambda writer: writer.cover(from_ns, to_ns)


LIFE = {
    "the first row": take(0, 5),
    "a higher price": take(0.5, 6),
    "a lower price": take(0.6, 4),
    "a row after it": take(2, 5),
    "a price that is no trade": take(2.1, 7, None),
    "one more row": take(3, 5),
    "a row between": take(1, 3),
    "a late tick into a row": take(0.9, 9),
    "a row is final": close(3),
    "a tick too late": take(0.8, 99),
    "covered": cover(0, 1),
    "covered on": cover(0, 2),
    "covered again": cover(3, 4),
    "a row far off": take(9, 5),
    "a row before it": take(5, 6),
    "all but one are final": close(9),
    "a tick after that": take(9.5, 2),
    "all are final": close(99),
    "a row after what is final": take(100, 1),
}


class Fuse:
    """Burns down by one at each store of a writer, which is then killed."""

    def __init__(self, stores: int) -> None:
        self.left = stores

    def burn(self) -> None:
        if not self.left:
            os.kill(os.getpid(), signal.SIGKILL)
        self.left -= 1


class Fused:
    """A view of a table that burns a fuse."""

    def __init__(self, view: Any, fuse: Fuse) -> None:
        self._view = view
        self._fuse = fuse

    def __getitem__(self, at: int) -> Any:
        return self._view[at]

    def __setitem__(self, at: int, value: Any) -> None:
        self._fuse.burn()
        self._view[at] = value


def live(bars: SharedBars, steps: Iterable[Step], fuse: Fuse) -> Iterator[None]:
    """A writer's life, step by step."""
    whole = bars.table
    table = Table(memoryview(bytes(8)))
    table.ints = cast(Any, Fused(whole.ints, fuse))
    table.floats = cast(Any, Fused(whole.floats, fuse))
    writer = BarWriter(table)
    for step in steps:
        step(writer)
        yield


class Seen(NamedTuple):
    """What a table says."""

    rows: list[Bar]
    final: list[Bar]
    coverage: list[tuple[int, int]]

    def at(self, time_ns: int) -> Bar | None:
        return next((bar for bar in self.rows if bar.time_ns == time_ns), None)


def seen(bars: SharedBars) -> Seen:
    final = [bars.table.bar(row) for row in range(bars.table.ints[FINAL_AT])]
    return Seen(list(bars.table.sound()), final, bars.table.coverage())


class Death(NamedTuple):
    """What a table said before and would have said after the step in which its writer died."""

    before: Seen
    after: Seen
    left: SharedBars


def nothing(writer: BarWriter) -> None:
    """Do nothing."""


def deaths(*steps: Step, prepared: Step = nothing) -> Iterator[Death]:
    """A writer that is killed at each store of its life, in turn."""
    with shared(64) as bars:
        prepared(bars.writer)
        fuse, history, burnt = Fuse(10**6), [seen(bars)], [0]
        for _ in live(bars, steps, fuse):
            history.append(seen(bars))
            burnt.append(10**6 - fuse.left)
    for store in range(burnt[-1]):
        step = bisect_right(burnt, store)
        with shared(64) as bars:
            prepared(bars.writer)
            _killed(lambda fuse: list(live(bars, steps, fuse)), Fuse(store))
            yield Death(history[step - 1], history[step], bars)


def _killed(life: Callable[[Fuse], object], fuse: Fuse) -> None:
    """Let it live in another process until it is killed."""
    child = os.fork()
    if not child:
        try:
            life(fuse)
        finally:
            os._exit(1)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == -signal.SIGKILL


def adopted(left: SharedBars) -> Seen:
    """What the writer that comes next makes of it."""
    with shared(64, left=left.fd) as bars:
        return seen(bars)


# pytest has no other thread here that holds a lock
forks = pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")


@forks
def test_whenever_a_writer_is_killed_at_most_the_tick_that_it_wrote_is_missing() -> None:
    for death in deaths(*LIFE.values()):
        found, before, after = adopted(death.left), death.before, death.after
        touched = {bar.time_ns for bar in {*before.rows} ^ {*after.rows}}
        assert len(touched) <= 1
        assert [bar for bar in found.rows if bar.time_ns not in touched] == [
            bar for bar in before.rows if bar.time_ns not in touched
        ]
        assert all(half_way(found.at(t), before.at(t), after.at(t)) for t in touched)


def half_way(bar: Bar | None, before: Bar | None, after: Bar | None) -> bool:
    """Whether each field of a bar is as it was or as it will be."""
    whole = [structs.astuple(each) for each in (before, after) if each]
    return bar in (before, after) or all(
        value in values
        for value, *values in zip(structs.astuple(cast(Bar, bar)), *whole, strict=True)
    )


@forks
def test_whenever_a_writer_is_killed_final_rows_and_coverage_are_untouched() -> None:
    for death in deaths(*LIFE.values()):
        found, before, after = adopted(death.left), death.before, death.after
        assert found.final in (before.final, after.final)
        assert found.coverage in (before.coverage, after.coverage)


@forks
def test_whenever_a_writer_is_killed_a_reader_is_given_a_whole_state() -> None:
    for death in deaths(take(0, 5), take(2, 5), take(1, 5), take(0, 9), close(3), take(1, 9)):
        with closing(reader(death.left.fd)) as reading:
            given, before, after = reading.bars(99), death.before, death.after
            assert given in (before.rows, after.rows, before.final, after.final)


@forks
def test_a_writer_that_is_killed_as_it_forgets_coverage_claims_none_that_there_was_not() -> None:
    def covered(writer: BarWriter) -> None:
        for number in range(MAX_COVERED):
            writer.cover(10 * number, 10 * number + 3)

    for death in deaths(cover(0, 1), prepared=covered):
        assert adopted(death.left).coverage in (
            death.before.coverage,
            death.before.coverage[1:],
            death.after.coverage,
        )


def test_a_reader_of_a_writer_that_died_in_the_middle_is_given_what_is_final() -> None:
    with shared() as bars, closing(reader(bars.fd)) as reading:
        for at_s in range(5):
            trade(bars, at_s)
        bars.writer.close((LATER + 4) * NS)
        bars.table.ints[SEQUENCE_AT] += 1
        assert seconds(reading.bars(99)) == [0, 1]
        assert seconds(reading.bars(1)) == [1]
        assert reading.coverage() == []


# --- a reader while the writer writes


def write_for_ever(to: socket.socket) -> None:
    """Trades of size 1, a thousand a second by their own time; some come late, some prices jump."""
    with shared(capacity=1 << 20) as bars:
        socket.send_fds(to, [b"!"], [bars.fd])
        for number in count():
            late_s = 1.2 * (number % 97 == 0)
            trade(bars, number / 1000 - late_s, 100 + number * 7919 % 13)
            bars.writer.close(LATER * NS + number * NS // 1000)


@contextmanager
def writing() -> Iterator[tuple[BarReader, subprocess.Popen[bytes]]]:
    """A reader of bars that another process writes as fast as it can."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        fd = theirs.fileno()
        with subprocess.Popen(
            [*in_another_process(write_for_ever), str(fd)], pass_fds=[fd], cwd=ROOT
        ) as writer:
            theirs.close()
            try:
                _, fds, _, _ = socket.recv_fds(ours, 1, 1)
                with closing(BarReader(fds[0])) as reading:
                    yield reading, writer
            finally:
                writer.kill()


def assert_sound(bars: list[Bar]) -> None:
    times = [bar.time_ns for bar in bars]
    assert times == sorted(set(times))
    assert [bar for bar in bars if not bar.low <= bar.open <= bar.high] == []
    assert [bar for bar in bars if not bar.low <= bar.close <= bar.high] == []
    assert [bar for bar in bars if bar.volume != bar.trades] == []


def test_a_reader_is_never_given_a_row_that_is_being_written() -> None:
    with writing() as (reading, writer):
        states: set[Bar] = set()
        while len(states) < 1000:
            assert writer.poll() is None
            bars = reading.bars(5)
            assert_sound(bars)
            states.update(bars)


def test_a_reader_of_a_writer_that_was_killed_goes_on_with_sound_rows() -> None:
    with writing() as (reading, writer):
        while reading.final < 3:
            assert writer.poll() is None
        writer.kill()
        writer.wait()
        bars = reading.bars(10**6)
        assert_sound(bars)
        assert len(bars) >= reading.final >= 3


# --- numpy


def test_a_view_is_the_rows_themselves() -> None:
    with shared() as bars, closing(reader(bars.fd)) as reading:
        trade(bars, 0, 5.0)
        trade(bars, 1, 7.0)
        view = reading.view()
        trade(bars, 1.5, 9.0)
        assert (view.shape, view.dtype) == ((2,), np.dtype(ROW))
        assert view["time_ns"].tolist() == [LATER * NS, (LATER + 1) * NS]
        assert view["close"].tolist() == [5.0, 9.0]
        assert view["trades"].tolist() == [1, 2]
        del view


def test_a_view_can_not_be_written() -> None:
    with shared() as bars, closing(reader(bars.fd)) as reading:
        trade(bars, 0)
        with pytest.raises(ValueError, match="read-only"):
            reading.view()["close"] = 1
        with pytest.raises(ValueError, match="WRITEABLE"):
            reading.view().flags.writeable = True


def test_a_view_outlives_its_reader() -> None:
    before = open_fds()
    with shared() as bars:
        trade(bars, 0, 5.0)
        reading = reader(bars.fd)
        view = reading.view()
        reading.close()
        assert view["close"].tolist() == [5.0]
        del view, reading
    assert open_fds() == before


def test_closing_a_reader_twice_closes_nothing_else() -> None:
    with shared() as bars:
        reading = reader(bars.fd)
        reading.close()
        other = os.dup(bars.fd)
        reading.close()
        os.close(other)
        assert reading.closed


# --- what is not bars


def header(words: dict[int, int] | None = None) -> bytes:
    """A whole table of 16 rows, with other words in its header."""
    with shared() as bars:
        ints = memoryview(bytearray(os.pread(bars.fd, 10**6, 0))).cast("q")
    for at, value in (words or {}).items():
        ints[at] = value
    return ints.tobytes()


def memfd(content: bytes) -> int:
    fd = os.memfd_create("not bars")
    os.write(fd, content)
    return fd


def pipe() -> int:
    end, other = os.pipe()
    os.close(other)
    return end


NOT_BARS: dict[str, Callable[[], int]] = {
    "an empty memfd": lambda: memfd(b""),
    "one that ends in the header": lambda: memfd(header()[:4088]),
    "one that ends in a word": lambda: memfd(header()[:-3]),
    "a small one": lambda: memfd(b"bars"),
    "zeros": lambda: memfd(bytes(8192)),
    "another magic": lambda: memfd(header({MAGIC_AT: 1})),
    "another layout": lambda: memfd(header({LAYOUT_AT: 2})),
    "more rows than fit": lambda: memfd(header({CAPACITY_AT: 17})),
    "2**62 rows": lambda: memfd(header({CAPACITY_AT: 2**62})),
    "a negative capacity": lambda: memfd(header({CAPACITY_AT: -1})),
    "more rows used than there are": lambda: memfd(header({LAST_AT: 17})),
    "a negative number of rows": lambda: memfd(header({LAST_AT: -1})),
    "more final than used": lambda: memfd(header({LAST_AT: 3, FINAL_AT: 4})),
    "a negative number of final rows": lambda: memfd(header({FINAL_AT: -1})),
    "no period": lambda: memfd(header({PERIOD_AT: 0})),
    "a negative period": lambda: memfd(header({PERIOD_AT: -1})),
    "more coverage than fits": lambda: memfd(header({COVERED_AT: MAX_COVERED + 1})),
    "a negative coverage": lambda: memfd(header({COVERED_AT: -1})),
    "a pipe": pipe,
    "a socket": lambda: socket.socket().detach(),
    "a directory": lambda: os.open("/", os.O_RDONLY),
    "a file without end": lambda: os.open("/dev/zero", os.O_RDONLY),
}


@pytest.mark.parametrize("make", NOT_BARS.values(), ids=NOT_BARS)
def test_what_is_not_bars_is_refused_and_closed(make: Callable[[], int]) -> None:
    before = open_fds()
    with pytest.raises(NotBars):
        BarReader(make())
    assert open_fds() == before


@pytest.mark.parametrize("make", NOT_BARS.values(), ids=NOT_BARS)
def test_what_is_not_bars_is_not_gone_on_from(make: Callable[[], int]) -> None:
    before, fd = open_fds(), make()
    with pytest.raises(NotBars):
        SharedBars("a", 1, unkept, left=fd)
    os.close(fd)
    assert open_fds() == before


def test_a_copy_of_bars_is_bars() -> None:
    with closing(BarReader(memfd(header()))) as reading:
        assert reading.bars(9) == []


# --- a reader that attacks

PAGE = mmap.PAGESIZE
libc = ctypes.CDLL(None, use_errno=True)


def checked(result: int) -> None:
    if result:
        raise OSError(ctypes.get_errno(), "refused")


def address(memory: mmap.mmap) -> int:
    return int(np.frombuffer(memory, np.uint8).ctypes.data)


def map_it(fd: int) -> None:
    mmap.mmap(fd, PAGE)[:8] = b"attacked"


def make_a_mapping_writable(fd: int) -> None:
    at = address(memory := mmap.mmap(fd, PAGE, prot=mmap.PROT_READ))
    checked(libc.mprotect(ctypes.c_void_p(at), PAGE, mmap.PROT_READ | mmap.PROT_WRITE))
    ctypes.memset(at, 255, 8)
    assert memory[:8] == b"\xff" * 8


def discard_a_mapped_page(fd: int) -> None:
    mmap.mmap(fd, PAGE, prot=mmap.PROT_READ).madvise(mmap.MADV_REMOVE)


def write(fd: int) -> None:
    os.pwrite(fd, b"attacked", 0)


def append(fd: int) -> None:
    fcntl.fcntl(fd, fcntl.F_SETFL, os.O_APPEND)
    os.write(fd, b"attacked")


def splice(fd: int) -> None:
    end, other = os.pipe()
    os.write(other, b"attacked")
    os.splice(end, fd, 8, offset_dst=0)


def reopen_and_write(fd: int) -> None:
    os.pwrite(os.open(f"/proc/self/fd/{fd}", os.O_RDWR), b"attacked", 0)


def reopen_and_map(fd: int) -> None:
    map_it(os.open(f"/proc/self/fd/{fd}", os.O_RDWR))


def punch_a_hole(fd: int) -> None:
    keep_size_and_punch = 3
    checked(libc.fallocate(fd, keep_size_and_punch, ctypes.c_long(0), ctypes.c_long(PAGE)))


def grow(fd: int) -> None:
    os.ftruncate(fd, os.fstat(fd).st_size + PAGE)


def allocate_past_the_end(fd: int) -> None:
    os.posix_fallocate(fd, os.fstat(fd).st_size, PAGE)


def shrink(fd: int) -> None:
    os.ftruncate(fd, PAGE)


def reopen_and_truncate(fd: int) -> None:
    os.open(f"/proc/self/fd/{fd}", os.O_RDWR | os.O_TRUNC)


def truncate_by_name(fd: int) -> None:
    os.truncate(f"/proc/self/fd/{fd}", 0)


def seal(fd: int) -> None:
    fcntl.fcntl(fd, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SEAL)


ATTACKS = (
    map_it,
    make_a_mapping_writable,
    discard_a_mapped_page,
    write,
    splice,
    reopen_and_write,
    reopen_and_map,
    punch_a_hole,
    grow,
    allocate_past_the_end,
    append,
    shrink,
    reopen_and_truncate,
    truncate_by_name,
    seal,
)


def outcome(attack: Callable[[int], None], fd: int) -> str:
    try:
        attack(fd)
    except OSError as error:
        return errno.errorcode[error.errno or 0]
    return "done"


def attack(to: socket.socket) -> None:
    """Take a descriptor, try everything, and tell what became of it."""
    _, (fd,), _, _ = socket.recv_fds(to, 1, 1)
    print(json.dumps({attack.__name__: outcome(attack, fd) for attack in ATTACKS}))


def attacked(fd: int) -> dict[str, str]:
    """What became of each attack of another process that is sent the descriptor."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        socket.send_fds(ours, [b"!"], [fd])
        number = theirs.fileno()
        command = [*in_another_process(attack), str(number)]
        done = subprocess.run(
            command, pass_fds=[number], cwd=ROOT, stdout=subprocess.PIPE, check=True
        )
    outcomes: dict[str, str] = json.loads(done.stdout)
    return outcomes


def test_a_hostile_reader_can_do_nothing_and_the_writer_goes_on() -> None:
    with shared() as bars, closing(reader(bars.fd)) as reading:
        trade(bars, 0, 5.0)
        before = os.pread(bars.fd, 10**6, 0)
        outcomes = attacked(bars.fd)
        assert len(outcomes) == len(ATTACKS)
        assert set(outcomes.values()) <= {"EPERM", "EACCES"}, outcomes
        assert os.pread(bars.fd, 10**6, 0) == before
        assert not trade(bars, 0.5, 6.0)
        assert [bar.close for bar in reading.bars(9)] == [6.0]


def test_without_the_seals_every_attack_would_succeed() -> None:
    fd = os.memfd_create("unsealed", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    os.write(fd, header())
    outcomes = attacked(fd)
    os.close(fd)
    assert set(outcomes.values()) == {"done"}, outcomes


def test_a_restart_keeps_every_bar() -> None:
    bars = SharedBars("a", 1, lambda fd, generation: None, capacity=100)
    for second in range(90):
        bars.take(second * NS, 1.0, 1.0, derived=False)
    adopted = SharedBars("a", 1, lambda fd, generation: None, left=bars.fd, capacity=100)
    with closing(bars), closing(adopted), closing(BarReader(os.dup(adopted.fd))) as reader:
        assert len(reader.bars(100)) == 90


def test_bars_that_are_ahead_of_the_clock_are_not_gone_on_with() -> None:
    bars = SharedBars("a", 1, lambda fd, generation: None, capacity=100)
    bars.take(1000 * NS, 1.0, 1.0, derived=False)
    with closing(bars), pytest.raises(NotBars, match="100 s ahead of the clock"):
        SharedBars("a", 1, lambda fd, generation: None, left=bars.fd, not_after_ns=900 * NS)
