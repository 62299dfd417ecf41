"""Paging back through a market's past: whatever is answered, bars and coverage are exact."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from piker.core.paging import Lacking, Paging, Stretch
from piker.core.periods import NS
from piker.interfaces.data import Covered, Missing
from piker.quotes import Bar


def bar(start_s: int, price: float = 1.0) -> Bar:
    return Bar(
        time_ns=start_s * NS, open=price, high=price, low=price, close=price, volume=1.0, trades=1
    )


def paging(
    from_s: float | None = None, to_s: float = 100, *, limit: int = 1000, longest_s: int = 10
) -> Paging:
    """Of bars of a second."""
    return Paging(
        period_s=1,
        from_ns=None if from_s is None else round(from_s * NS),
        to_ns=round(to_s * NS),
        limit=limit,
        longest_ns=longest_s * NS,
    )


def take(asked: Paging, from_s: float, to_s: float, *starts: int, price: float = 1.0) -> None:
    bars = [bar(start, price) for start in starts]
    asked.take(round(from_s * NS), round(to_s * NS), bars)


def seconds(stretch: Stretch | None) -> tuple[int, int] | None:
    return stretch and (stretch.from_ns // NS, stretch.to_ns // NS)


def starts(asked: Paging) -> list[int]:
    return [each.time_ns // NS for each in asked.result()[0]]


def covered(asked: Paging) -> list[tuple[int, int]]:
    return [(each.from_ns // NS, each.to_ns // NS) for each in asked.result()[1]]


def missing(asked: Paging) -> list[tuple[int | None, int, str]]:
    return [
        (None if each.from_ns is None else each.from_ns // NS, each.to_ns // NS, each.why)
        for each in asked.result()[2]
    ]


def test_it_goes_backwards_by_the_longest_frame_until_the_beginning() -> None:
    asked = paging(75, 100)
    assert seconds(asked.next()) == (90, 100)
    take(asked, 90, 100, 90, 99)
    assert seconds(asked.next()) == (80, 90)
    take(asked, 80, 90)
    assert seconds(asked.next()) == (75, 80)
    take(asked, 75, 80, 76)
    assert asked.next() is None
    assert (starts(asked), covered(asked), missing(asked)) == ([76, 90, 99], [(75, 100)], [])


def test_only_whole_periods_are_asked_for() -> None:
    asked = paging(91.2, 99.9)
    assert seconds(asked.next()) == (92, 99)


@pytest.mark.parametrize(("from_s", "to_s"), [(99.2, 99.8), (100, 100), (5, 4), (0, 0)])
def test_of_no_whole_period_nothing_is_asked(from_s: float, to_s: float) -> None:
    asked = paging(from_s, to_s)
    assert asked.next() is None
    assert asked.result() == ((), (), ())


def test_the_next_ends_where_a_narrower_answer_began() -> None:
    asked = paging(80, 100)
    take(asked, 96, 100, 97)
    assert seconds(asked.next()) == (86, 96)
    assert covered(asked) == [(96, 100)]


def test_a_wider_answer_counts_as_far_as_it_was_asked_for() -> None:
    asked = paging(85, 100)
    take(asked, 60, 120, 84, 85, 99, 100, 110)
    assert asked.next() is None
    assert (starts(asked), covered(asked)) == ([85, 99], [(85, 100)])


def test_bars_come_unordered_and_twice_and_of_what_was_had_before() -> None:
    asked = paging(80, 100)
    take(asked, 90, 100, 95, 91, 95)
    take(asked, 80, 100, 91, 85, 95, price=2.0)
    assert starts(asked) == [85, 91, 95]
    assert [each.open for each in asked.result()[0]] == [2.0, 1.0, 1.0]


def test_a_bar_outside_of_what_its_answer_covers_or_not_on_a_period_is_none() -> None:
    asked = paging(90, 100)
    odd = Bar(time_ns=95 * NS + 1, open=1, high=1, low=1, close=1, volume=1, trades=1)
    asked.take(92 * NS, 100 * NS, [bar(91), odd, bar(93), bar(101)])
    assert starts(asked) == [93]


def test_without_a_beginning_it_ends_with_the_limit() -> None:
    asked = paging(limit=3)
    take(asked, 90, 100, 98, 99)
    take(asked, 80, 90, 80, 85, 88)
    assert asked.next() is None
    assert (starts(asked), covered(asked), missing(asked)) == ([88, 98, 99], [(88, 100)], [])


def test_more_than_the_limit_is_said_to_be_missing_where_a_beginning_was_asked_for() -> None:
    asked = paging(50, 100, limit=2)
    take(asked, 90, 100, 91, 95, 99)
    assert (starts(asked), covered(asked)) == ([95, 99], [(95, 100)])
    assert missing(asked) == [(50, 95, "limit")]


def test_the_limit_reached_at_the_very_beginning_leaves_nothing_out() -> None:
    asked = paging(90, 100, limit=2)
    take(asked, 90, 100, 91, 95)
    assert (covered(asked), missing(asked)) == ([(90, 100)], [])


def test_what_an_answer_leaves_out_is_missing_for_the_reason_that_was_told() -> None:
    why: Lacking = ("unavailable", "nothing is kept", None)
    stretch: dict[str, int] = {"from_ns": 90 * NS, "to_ns": 100 * NS, "longest_ns": 10 * NS}
    asked = Paging(period_s=1, limit=9, left_out=why, **stretch)
    take(asked, 90, 95)
    assert missing(asked) == [(95, 100, "unavailable")]


def test_what_another_leaves_out_who_is_asked_for_the_rest_is_missing_for_his_reason() -> None:
    asked = paging(50, 100)
    take(asked, 95, 100)
    asked.go_on_without(40 * NS, ("lost", "it is away", 5.0))
    assert seconds(asked.next()) == (55, 95)
    take(asked, 60, 90)
    assert missing(asked) == [(90, 95, "lost")]


def test_it_ends_at_the_epoch() -> None:
    asked = paging(None, 5)
    assert seconds(asked.next()) == (0, 5)
    take(asked, 0, 5)
    assert asked.next() is None


def test_what_comes_before_a_failure_stays_and_the_rest_is_missing_with_its_reason() -> None:
    asked = paging(50, 100)
    take(asked, 90, 100, 95)
    asked.fail("throttled", "too often", 15.0)
    assert asked.next() is None
    assert (starts(asked), covered(asked)) == ([95], [(90, 100)])
    rest = Missing(
        from_ns=50 * NS, to_ns=90 * NS, why="throttled", reason="too often", pause_s=15.0
    )
    assert asked.result()[2] == (rest,)


def test_an_answer_of_nothing_that_was_asked_for_ends_it() -> None:
    asked = paging(50, 100)
    take(asked, 10, 50, 20)
    assert asked.next() is None
    assert (starts(asked), missing(asked)) == ([], [(50, 100, "unanswered")])


def test_an_answer_that_leaves_out_its_end_is_said_and_paging_goes_on() -> None:
    asked = paging(80, 100)
    take(asked, 90, 95, 91, 97)
    take(asked, 80, 90)
    assert (starts(asked), covered(asked)) == ([91], [(80, 95)])
    assert missing(asked) == [(95, 100, "unanswered")]


def test_before_the_first_data_nothing_is_asked_for_once_it_is_known() -> None:
    asked = paging(50, 100)
    take(asked, 90, 100, 95)
    asked.unavailable("it begins then", round(84.5 * NS))
    assert seconds(asked.next()) == (85, 90)
    take(asked, 85, 90, 86)
    assert asked.next() is None
    assert (starts(asked), covered(asked)) == ([86, 95], [(85, 100)])
    assert missing(asked) == [(50, 85, "unavailable")]


def test_a_venue_whose_first_data_comes_later_each_time_is_not_asked_for_ever() -> None:
    asked = paging(50, 90, longest_s=100)
    asked.unavailable("no", 60 * NS)
    assert seconds(asked.next()) == (60, 90)
    asked.unavailable("no", 61 * NS)
    assert asked.next() is None
    assert missing(asked) == [(50, 60, "unavailable"), (60, 90, "unavailable")]


@pytest.mark.parametrize("first_s", [None, 0, 80, 90, 200])
def test_a_stretch_that_is_not_to_be_had_at_all_ends_it(first_s: int | None) -> None:
    asked = paging(50, 90)
    asked.unavailable("no", None if first_s is None else first_s * NS)
    assert asked.next() is None
    assert missing(asked) == [(50, 90, "unavailable")]


# --- whatever comes


ANSWERS = st.lists(
    st.tuples(
        st.integers(-30, 30), st.integers(-30, 10), st.lists(st.integers(-5, 130), max_size=30)
    ),
    max_size=30,
)


@given(
    from_s=st.none() | st.integers(0, 99),
    to_s=st.integers(1, 120),
    limit=st.integers(1, 20),
    longest_s=st.integers(1, 40),
    answers=ANSWERS,
)
def test_whatever_comes_is_in_order_once_inside_and_exactly_covered(
    from_s: int | None,
    to_s: int,
    limit: int,
    longest_s: int,
    answers: list[tuple[int, int, list[int]]],
) -> None:
    asked = paging(from_s, to_s, limit=limit, longest_s=longest_s)
    told: dict[int, set[int]] = {}
    for off_from, off_to, given_starts in answers:
        stretch = asked.next()
        if not stretch:
            break
        first, last = stretch.from_ns // NS + off_from, stretch.to_ns // NS + off_to
        take(asked, first, last, *given_starts)
        for second in range(first, min(last, stretch.to_ns // NS)):
            told.setdefault(second, set(given_starts))
    asked.fail("unanswered", "over")
    bars, coverage, absent = asked.result()
    found = [each.time_ns // NS for each in bars]
    inside = {second for each in coverage for second in range_of(each)}
    assert found == sorted(set(found))
    assert len(found) <= limit
    assert set(found) == {second for second in inside if second in told[second]}
    assert inside <= set(range(from_s or 0, to_s))
    assert all(one.to_ns < two.from_ns for one, two in pairwise(coverage))
    assert inside.isdisjoint(gap := {second for each in absent for second in range_of(each)})
    assert from_s is None or inside | gap == set(range(from_s, to_s))


def range_of(stretch: Covered | Missing) -> range:
    return range((stretch.from_ns or 0) // NS, stretch.to_ns // NS)
