"""Bars as rows, and rows of two origins as one array."""

from itertools import pairwise

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from piker.core.bars import NS
from piker.core.rows import Columns, bars_of, merged, periods, rows_of, whole
from piker.core.spans import Pair, joined
from piker.quotes import Bar

PERIOD_NS = 60 * NS
LIVE, STORED = 1.0, 2.0
HORIZON = 20


def bar(minute: int, price: float = LIVE, *, derived: bool = False, partial: bool = False) -> Bar:
    return Bar(
        time_ns=minute * PERIOD_NS,
        open=price,
        high=price + 3,
        low=price - 1,
        close=price + 2,
        volume=0.5,
        trades=minute,
        derived=derived,
        partial=partial,
    )


def test_rows_of_bars_are_those_bars() -> None:
    bars = [bar(0), bar(1, derived=True), bar(2, partial=True), bar(3, derived=True, partial=True)]
    assert bars_of(rows_of(bars)) == bars
    assert bars_of(rows_of([])) == []


def test_columns_are_the_same_rows_whole_in_part_and_put_elsewhere() -> None:
    rows = rows_of([bar(at, at / 4) for at in range(1 << 15)])
    columns = Columns.of(rows)
    assert np.array_equal(columns.rows(), rows)
    assert np.array_equal(columns["close"], rows["close"])
    some = columns.part(slice(5, 9))
    assert np.array_equal(some.rows(), rows[5:9])
    assert np.array_equal(columns.part(rows["time_ns"] % 7 == 0).rows(), rows[::7])
    elsewhere = Columns.zeros(4)
    elsewhere.put(some)
    columns["open"][:] = 0
    assert np.array_equal(elsewhere.rows(), rows[5:9])
    assert not some["open"].any()


TIMES = st.sets(st.integers(0, HORIZON))
HALF_MINUTES = st.lists(st.integers(0, 2 * HORIZON), max_size=8, unique=True).map(sorted)
STRETCHES = HALF_MINUTES.map(
    lambda at: [(a * PERIOD_NS // 2, b * PERIOD_NS // 2) for a, b in list(pairwise(at))[::2]]
)


def test_a_period_is_whole_that_one_stretch_covers_from_beginning_to_end() -> None:
    times = np.array([0, 1, 4, 5, 6, 7])
    covered = [(1, 3), (3, 5), (6, 7)]
    assert whole(times, covered, 1).tolist() == [False, True, True, False, True, False]
    assert whole(times, covered, 2).tolist() == [False, True, False, False, False, False]
    assert not whole(times, [], 1).any()


def is_whole(time_ns: int, covered: list[Pair]) -> bool:
    return any(a <= time_ns and time_ns + PERIOD_NS <= b for a, b in covered)


@given(TIMES, STRETCHES, TIMES, STRETCHES)
def test_what_was_seen_whole_stays_and_else_what_is_stored_whole_takes_its_place(
    live_at: set[int], live_covered: list[Pair], stored_at: set[int], stored_covered: list[Pair]
) -> None:
    live = {each.time_ns: each for each in map(bar, sorted(live_at))}
    stored = {each.time_ns: each for each in (bar(at, STORED) for at in sorted(stored_at))}
    taken = {
        time_ns: each
        for time_ns, each in stored.items()
        if time_ns not in live
        or (is_whole(time_ns, stored_covered) and not is_whole(time_ns, live_covered))
    }
    expected = {**live, **taken}
    made = merged(
        rows_of(live.values()), live_covered, rows_of(stored.values()), stored_covered, PERIOD_NS
    )
    assert bars_of(np.concatenate(made.pieces)) == [
        expected[time_ns] for time_ns in sorted(expected)
    ]
    assert made.taken_ns.tolist() == sorted(taken)


@given(begins=st.sets(st.integers(0, 30)).map(sorted))
def test_periods_that_touch_are_one_stretch(begins: list[int]) -> None:
    stretches = periods(np.array(begins, dtype=np.int64) * PERIOD_NS, PERIOD_NS)
    assert stretches == joined((at * PERIOD_NS, (at + 1) * PERIOD_NS) for at in begins)
    assert all(type(end) is int for stretch in stretches for end in stretch)
