"""What is missing of a market's past: session time that isn't covered, in whole periods."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from piker.core.calendars import sessions_of
from piker.core.gaps import closures, gaps, may_be_open
from piker.core.rows import periods
from piker.core.spans import Pair, clipped, down, joined, without
from piker.markets import Session
from tests.core.samples import HOUR, NS, market, pairs, times

MINUTE = 60 * NS
EURUSD = market("eurusd.idealpro.ib", "forex", currency="USD")
IF = market("ifl8.cffex.x", "future", currency="CNY")


def fx_hours() -> tuple[list[Pair], list[Pair]]:
    """What the shipped year of hourly bars covers, and when it was traded."""
    covered = periods(times("eurusd-2017-1h-ask-bars"), HOUR)
    return covered, sessions_of(EURUSD, covered[0][0], covered[-1][1]) or []


def index_minutes() -> tuple[list[Pair], list[Pair]]:
    """The same of 200 days of minutes, whose stamps are the ends of bars."""
    covered = periods(times("ifl8-2023-12-to-2024-09-1m-bars") - MINUTE, MINUTE)
    return covered, sessions_of(IF, covered[0][0], covered[-1][1]) or []


# --- real rows


def test_a_year_of_foreign_exchange_has_52_closures_and_one_hour_that_is_missing() -> None:
    covered, sessions = fx_hours()
    from_ns, to_ns = covered[0][0], covered[-1][1]
    assert gaps(sessions, covered, from_ns, to_ns, HOUR) == pairs(
        "2017-12-24T22:00:00 2017-12-24T23:00:00"
    )
    assert len(closures(sessions, from_ns, to_ns)) == 52
    assert without(covered, sessions) == []


def test_christmas_of_foreign_exchange_is_a_closure_from_three_to_five_in_new_york() -> None:
    covered, sessions = fx_hours()
    shut = closures(sessions, covered[0][0], covered[-1][1])
    assert shut[-1:] == pairs("2017-12-25T08:00:00 2017-12-25T22:00:00")


def test_200_days_with_a_lunch_break_have_no_gap_and_399_closures() -> None:
    covered, sessions = index_minutes()
    from_ns, to_ns = covered[0][0], covered[-1][1]
    shut = closures(sessions, from_ns, to_ns)
    assert gaps(sessions, covered, from_ns, to_ns, MINUTE) == []
    assert len(shut) == 399
    assert sum(to - start == 90 * MINUTE for start, to in shut) == 200
    assert without(covered, sessions) == []


KNOWN = {"foreign exchange": (*fx_hours(), HOUR), "index": (*index_minutes(), MINUTE)}


@pytest.mark.parametrize("name", KNOWN)
@given(drawn=st.lists(st.tuples(st.floats(0, 1), st.integers(1, 500)), max_size=20))
def test_what_is_taken_out_of_sessions_is_what_is_found(
    name: str, drawn: list[tuple[float, int]]
) -> None:
    covered, sessions, period_ns = KNOWN[name]
    from_ns, to_ns = covered[0][0], covered[-1][1]
    begins = [down(from_ns + int(at * (to_ns - from_ns)), period_ns) for at, _ in drawn]
    taken = [(a, a + n * period_ns) for a, (_, n) in zip(begins, drawn, strict=True)]
    missing = gaps(sessions, covered, from_ns, to_ns, period_ns)
    found = gaps(sessions, without(covered, taken), from_ns, to_ns, period_ns)
    in_sessions = [piece for each in sessions for piece in clipped(joined(taken), *each)]
    assert found == joined([*missing, *clipped(in_sessions, from_ns, to_ns)])


# --- the rules, in small numbers

DAY = [(0, 100), (200, 300), (400, 500)]


def test_a_second_in_which_nobody_traded_is_no_gap_if_it_was_watched() -> None:
    assert gaps(DAY, [(0, 300), (400, 500)], 0, 500, 10) == []


def test_a_gap_is_session_time_that_is_not_covered_between_two_instants() -> None:
    assert gaps(DAY, [(50, 220)], 0, 450, 10) == [(0, 50), (220, 300), (400, 450)]
    assert gaps(DAY, [], 100, 200, 10) == []


def test_a_period_of_which_a_part_is_missing_is_missing() -> None:
    assert gaps(DAY, [(0, 52), (58, 100)], 0, 100, 10) == [(50, 60)]
    assert gaps([(5, 105)], [(10, 100)], 0, 200, 10) == [(0, 10), (100, 110)]
    assert gaps(DAY, [(0, 98), (204, 500)], 0, 500, 100) == [(0, 100), (200, 300)]


def test_without_sessions_all_time_may_be_a_gap_and_none_is_a_closure() -> None:
    assert gaps(None, [(50, 220)], 0, 450, 10) == [(0, 50), (220, 450)]
    assert closures(None, 0, 450) == []


def test_a_closure_is_what_is_between_sessions() -> None:
    assert closures(DAY, 0, 450) == [(100, 200), (300, 400)]
    assert closures([], 0, 450) == [(0, 450)]


def test_before_and_after_the_sessions_that_are_known_it_may_be_open() -> None:
    known = tuple(Session(open_ns=a, close_ns=b) for a, b in DAY)
    assert may_be_open(known, -50, 600) == [(-50, 100), (200, 300), (400, 600)]
    assert may_be_open((), 0, 10) == may_be_open(None, 0, 10) == [(0, 10)]


PAIRS = st.lists(st.tuples(st.integers(0, 60), st.integers(1, 20)), max_size=8).map(
    lambda drawn: [(a, a + n) for a, n in drawn]
)


@given(PAIRS, PAIRS, st.integers(0, 40), st.integers(1, 40), st.sampled_from([1, 3, 10]))
def test_gaps_are_the_periods_that_a_look_at_every_instant_finds(
    sessions: list[Pair], covered: list[Pair], from_ns: int, length: int, period_ns: int
) -> None:
    found = gaps(sessions, covered, from_ns, from_ns + length, period_ns)
    asked = set(range(from_ns, from_ns + length))
    missing = (asked & instants(sessions)) - instants(covered)
    whole = {down(at, period_ns) + part for at in missing for part in range(period_ns)}
    assert instants(found) == whole
    assert found == joined(found)


def instants(stretches: list[Pair]) -> set[int]:
    return {at for begin, end in stretches for at in range(begin, end)}
