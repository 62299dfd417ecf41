"""What a venue tells of its past: harmless disorder is put right, what can't be is no answer."""

from math import inf, nan
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from piker.core.paging import Stretch
from piker.core.pastframes import Unsound, sound
from piker.core.periods import NS
from piker.quotes import Bar

ASKED = Stretch(100 * NS, 110 * NS)


def bar(start_s: float, **other: Any) -> Bar:
    true = Bar(
        time_ns=round(start_s * NS), open=2.0, high=3.0, low=1.0, close=2.0, volume=1.0, trades=1
    )
    return structs.replace(true, **other)


def told(*bars: Bar, from_s: float = 100, to_s: float = 110) -> tuple[Stretch, list[float]]:
    stretch, rows = sound(ASKED, round(from_s * NS), round(to_s * NS), bars, NS)
    return stretch, [row.time_ns / NS for row in rows]


@given(st.lists(st.integers(90, 120)))
def test_bars_are_in_order_once_and_of_what_was_asked(starts: list[int]) -> None:
    stretch, rows = told(*map(bar, starts), from_s=90, to_s=120)
    assert stretch == ASKED
    assert rows == sorted({each for each in starts if 100 <= each < 110})


def test_an_answer_about_less_is_about_whole_periods_of_that() -> None:
    stretch, rows = told(bar(103), bar(104), bar(108), from_s=103.5, to_s=107.5)
    assert (stretch, rows) == (Stretch(104 * NS, 107 * NS), [104])


@pytest.mark.parametrize(("from_s", "to_s"), [(90, 100), (110, 120), (103.2, 103.9), (107, 103)])
def test_an_answer_about_nothing_that_was_asked_for_is_none(from_s: float, to_s: float) -> None:
    with pytest.raises(Unsound, match="gave nothing of what it was asked for"):
        told(from_s=from_s, to_s=to_s)


@pytest.mark.parametrize(
    ("wrong", "problem"),
    [
        ({"time_ns": 105 * NS + 1}, "expected a multiple of 1000000000 ns"),
        ({"close": nan}, "expected numbers"),
        ({"high": inf}, "expected numbers"),
        ({"volume": nan}, "expected numbers"),
        ({"high": 0.5}, "expected low to high about open and close"),
        ({"low": 2.5}, "expected low to high about open and close"),
        ({"close": 3.5}, "expected low to high about open and close"),
        ({"volume": -1.0}, "expected 0 or more"),
        ({"trades": -1}, "expected 0 or more"),
    ],
    ids=repr,
)
def test_one_bar_that_cannot_be_makes_the_answer_none(wrong: Any, problem: str) -> None:
    with pytest.raises(Unsound, match=problem):
        told(bar(101), bar(105, **wrong), bar(106))


def test_two_bars_of_one_time_that_differ_make_the_answer_none() -> None:
    with pytest.raises(Unsound, match="told twice"):
        told(bar(101), bar(101, close=2.5))


def test_a_bar_that_cannot_be_outside_of_what_was_asked_is_left_out() -> None:
    assert told(bar(101), bar(120, close=nan)) == (ASKED, [101])
