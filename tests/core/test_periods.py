"""The ends of periods are arithmetic, whoever looks at the clock how often."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from piker.core.periods import NS, Ends

MINUTE = 60 * NS


@pytest.mark.parametrize(
    ("began_ns", "now_ns", "passed"),
    [
        (0, 0, None),
        (0, MINUTE - 1, None),
        (0, MINUTE, (MINUTE, 0)),
        (MINUTE - 1, MINUTE, (MINUTE, 0)),
        (MINUTE, MINUTE, None),
        (0, 2 * MINUTE - 1, (MINUTE, 0)),
        (0, 4 * MINUTE + 5, (4 * MINUTE, 3)),
        (5 * MINUTE, 3 * MINUTE, None),
    ],
)
def test_the_newest_end_is_told_with_how_many_were_missed(
    began_ns: int, now_ns: int, passed: tuple[int, int] | None
) -> None:
    assert Ends(60, began_ns).passed(now_ns) == passed


def test_an_end_is_told_once() -> None:
    ends = Ends(1, 0)
    assert [ends.passed(at) for at in (NS, NS, NS + 5)] == [(NS, 0), None, None]


def test_a_clock_that_is_stepped_back_begins_anew_and_misses_nothing() -> None:
    ends = Ends(1, 100 * NS)
    assert [ends.passed(at * NS) for at in (50, 51, 52)] == [None, (51 * NS, 0), (52 * NS, 0)]


@given(
    period_s=st.sampled_from([1, 7, 60, 86_400]),
    began_ns=st.integers(0, 10**18),
    steps_ns=st.lists(st.integers(0, 200 * NS), max_size=50),
)
def test_every_end_is_either_told_or_counted_as_missed(
    period_s: int, began_ns: int, steps_ns: list[int]
) -> None:
    ends, now_ns, told = Ends(period_s, began_ns), began_ns, 0
    for step_ns in steps_ns:
        now_ns += step_ns
        end_ns, missed = ends.passed(now_ns) or (0, -1)
        told += 1 + missed
        assert end_ns % (period_s * NS) == 0
        assert end_ns <= now_ns
    assert told == now_ns // (period_s * NS) - began_ns // (period_s * NS)
