"""What is missing in bars that were made live, when it is asked for, and how it goes in."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from piker.core.bars import GRACE_NS, NS
from piker.core.holes import (
    LONG_NS,
    PAUSES_S,
    RESTS_S,
    Holes,
    holes,
    merged,
    taken,
)
from piker.core.paging import Stretch
from piker.core.pastframes import answered
from piker.core.spans import Pair, joined
from piker.markets import Session
from piker.quotes import Bar

MINUTE = 60


def pairs(*stretches: tuple[float, float]) -> list[Pair]:
    return [(round(a * NS), round(b * NS)) for a, b in stretches]


def bar(start_s: float, price: float = 1.0) -> Bar:
    return Bar(
        time_ns=round(start_s * NS),
        open=price,
        high=price,
        low=price,
        close=price,
        volume=1.0,
        trades=1,
    )


def found(
    *coverage: tuple[float, float], live: float, sessions: tuple[Session, ...] | None = None
) -> list[tuple[int, int]]:
    """Holes in bars of a minute, s."""
    each = holes(pairs(*coverage), round(live * NS), sessions, MINUTE * NS)
    return [(hole.from_ns // NS, hole.to_ns // NS) for hole in each]


def session(opens_s: float, closes_s: float) -> Session:
    return Session(open_ns=round(opens_s * NS), close_ns=round(closes_s * NS))


# --- holes


def test_a_hole_is_from_the_end_of_coverage_to_the_new_beginning_in_whole_periods() -> None:
    assert found((0, 130), live=310) == [(120, 360)]
    assert found((0, 130), (310, 400), live=310) == [(120, 360)]
    assert found((0, 120), (300, 400), live=300) == [(120, 300)]


def test_a_pause_within_a_period_is_a_hole_of_that_period() -> None:
    assert found((0, 130), (131, 200), live=131) == [(120, 180)]


def test_holes_that_share_a_period_are_one() -> None:
    assert found((0, 100), (110, 130), (150, 200), live=150) == [(60, 180)]


def test_there_is_no_hole_before_the_first_that_was_covered_nor_after_the_beginning() -> None:
    assert found(live=100) == []
    assert found((100, 200), live=100) == []
    assert found((300, 400), live=100) == []


def test_a_closed_market_has_no_hole() -> None:
    hours = (session(0, 1200), session(6000, 9000), session(20_000, 30_000))
    assert found((0, 1200), (6000, 6100), live=6000, sessions=hours) == []
    assert found((0, 1190), (6000, 6100), live=6000, sessions=hours) == [(1140, 1200)]
    assert found((0, 1200), (6010, 6100), live=6010, sessions=hours) == [(6000, 6060)]
    assert found((0, 700), live=20_100, sessions=hours) == [
        (660, 1200),
        (6000, 9000),
        (19_980, 20_100),
    ]


def test_time_before_and_after_the_sessions_that_are_known_may_be_a_hole() -> None:
    hours = (session(5000, 6000),)
    assert found((0, 120), live=9000, sessions=hours) == [(120, 9000)]


# --- rows


def test_a_row_of_a_period_that_was_seen_whole_stays() -> None:
    rows = merged([bar(60, 1.0)], taken([bar(60, 2.0)], pairs((60, 120)), MINUTE * NS))
    assert rows == [bar(60, 1.0)]


def test_a_row_of_a_period_that_was_seen_in_part_is_the_venues() -> None:
    rows = merged(
        [bar(60, 1.0)], taken([bar(60, 2.0)], pairs((60, 119), (119.5, 300)), MINUTE * NS)
    )
    assert rows == [bar(60, 2.0)]


def test_what_was_seen_of_a_period_that_the_venue_does_not_have_stays() -> None:
    rows = merged([bar(60, 1.0)], taken([bar(120, 2.0)], pairs((0, 70)), MINUTE * NS))
    assert rows == [bar(60, 1.0), bar(120, 2.0)]


def test_a_row_that_is_not_on_a_period_is_none() -> None:
    assert merged([], taken([bar(61)], [], MINUTE * NS)) == []


STARTS = st.sets(st.integers(0, 20)).map(sorted)


@given(live=STARTS, venue=STARTS, coverage=st.lists(st.tuples(*[st.integers(0, 1300)] * 2)))
def test_rows_are_in_order_once_and_none_is_made_up_nor_lost(
    live: list[int], venue: list[int], coverage: list[tuple[int, int]]
) -> None:
    covered = joined((min(each) * NS, max(each) * NS) for each in coverage)
    ours = {each * MINUTE: bar(each * MINUTE, 1.0) for each in live}
    theirs = {each * MINUTE: bar(each * MINUTE, 2.0) for each in venue}
    rows = merged(ours.values(), taken(theirs.values(), covered, MINUTE * NS))
    whole = {start for start in theirs if covers(covered, start * NS, (start + MINUTE) * NS)}
    expected = {**ours, **{start: theirs[start] for start in theirs if start not in whole}}
    assert rows == [expected[start] for start in sorted(expected)]


def covers(stretches: list[Pair], from_ns: int, to_ns: int) -> bool:
    """Second by second, since all here are whole."""
    seconds = {at for one, two in stretches for at in range(one // NS, two // NS)}
    return set(range(from_ns // NS, to_ns // NS)) <= seconds


def stretch(from_s: int, to_s: int) -> Stretch:
    return Stretch(from_s * NS, to_s * NS)


@pytest.mark.parametrize(
    ("said", "counts"),
    [
        ((0, 9000), (600, 1200)),
        ((610, 1190), (660, 1140)),
        ((0, 600), None),
        ((1210, 1300), None),
        ((610, 650), None),
    ],
)
def test_an_answer_counts_in_whole_periods_and_as_far_as_it_was_asked_for(
    said: tuple[int, int], counts: tuple[int, int] | None
) -> None:
    told = answered(stretch(600, 1200), said[0] * NS, said[1] * NS, MINUTE * NS)
    assert told == (counts and stretch(*counts))


# --- when


class Asking:
    """Holes of a table of seconds, whose market was away from 100 to 200 s."""

    def __init__(self) -> None:
        self.holes = Holes(1)
        self.coverage = pairs((0, 100), (200, 300))
        self.live_s = 200
        self.final_s = 300.0
        self.rows = 1000
        self.boot_s = 0.0

    def next(self, longest_s: int = 0) -> tuple[int, int] | None:
        hole = self.holes.next(
            self.coverage,
            self.live_s * NS,
            None,
            final_to_ns=round(self.final_s * NS),
            rows=self.rows,
            boot_ns=round(self.boot_s * NS),
            longest_ns=longest_s * NS,
        )
        return hole and (hole.from_ns // NS, hole.to_ns // NS)


def test_a_hole_is_not_asked_for_before_its_periods_are_final() -> None:
    asking = Asking()
    asking.final_s = 200 + GRACE_NS / NS - 0.001
    assert asking.next() is None
    asking.final_s += 0.001
    assert asking.next() == (100, 200)


def test_the_newest_of_several_holes_is_asked_for_first() -> None:
    asking = Asking()
    asking.coverage = pairs((0, 100), (110, 120), (200, 300))
    assert asking.next() == (120, 200)
    asking.coverage = pairs((0, 100), (110, 300))
    assert asking.next() == (100, 110)


def test_one_frame_is_of_all_holes_that_are_in_it() -> None:
    asking = Asking()
    asking.coverage = pairs((0, 100), (110, 150), (160, 180), (200, 300))
    assert asking.next(10) == (190, 200)
    assert asking.next(20) == (180, 200)
    assert asking.next(30) == (180, 200)
    assert asking.next(45) == (155, 200)
    assert asking.next(60) == (150, 200)
    assert asking.next(1000) == (100, 200)


def test_a_market_that_has_holes_again_and_again_is_asked_for_after_longer_and_longer_rests() -> (
    None
):
    asking = Asking()
    for rest_s in (RESTS_S[0], 2 * RESTS_S[0]):
        asking.holes.rest(round(asking.boot_s * NS))
        asking.live_s += 1
        asking.boot_s += rest_s - 0.001
        assert asking.next() is None
        asking.boot_s += 0.001
        assert asking.next()


def test_a_hole_after_a_long_time_is_asked_for_after_a_short_rest_again() -> None:
    asking = Asking()
    for _ in range(20):
        asking.holes.rest(0)
    asking.boot_s = RESTS_S[1] + LONG_NS / NS + 1
    asking.holes.rest(round(asking.boot_s * NS))
    asking.boot_s += RESTS_S[0]
    assert asking.next()


def test_of_a_hole_longer_than_the_table_only_what_has_room_is_asked_for() -> None:
    asking = Asking()
    asking.rows = 30
    assert asking.next() == (170, 200)


def test_what_is_not_to_be_had_is_not_asked_for_again_nor_what_is_older() -> None:
    asking = Asking()
    asking.coverage = pairs((0, 50), (60, 100), (200, 300))
    asking.holes.unavailable(stretch(150, 200), None)
    assert asking.next() is None
    asking.live_s, asking.coverage = 290, [*asking.coverage[:2], *pairs((200, 280), (290, 300))]
    assert asking.next() == (280, 290)


def test_from_the_venues_first_data_on_it_is_asked_for() -> None:
    asking = Asking()
    asking.holes.unavailable(stretch(100, 200), round(169.5 * NS))
    assert asking.next() == (170, 200)
    asking.holes.unavailable(stretch(170, 200), round(169.5 * NS))
    assert asking.next() is None


def test_a_venue_whose_first_data_comes_later_each_time_is_not_asked_for_ever() -> None:
    asking = Asking()
    asking.holes.unavailable(stretch(100, 200), 170 * NS)
    asking.holes.unavailable(stretch(170, 200), 171 * NS)
    assert asking.next() is None


def test_what_was_not_answered_is_asked_for_again_after_longer_and_longer_pauses() -> None:
    asking = Asking()
    assert asking.next()
    for pause_s in (PAUSES_S[0], 2 * PAUSES_S[0]):
        asking.holes.failed("silence", None, round(asking.boot_s * NS))
        asking.boot_s += pause_s - 0.001
        assert asking.next() is None
        asking.boot_s += 0.001
        assert asking.next() == (100, 200)


def test_it_is_asked_for_at_once_when_the_venue_has_been_away_since() -> None:
    asking = Asking()
    assert asking.next()
    asking.holes.failed("silence", None, 0)
    assert asking.next() is None
    asking.live_s = 250
    assert asking.next() == (100, 200)


def test_who_was_told_to_slow_down_waits_so_long_whatever_happens() -> None:
    asking = Asking()
    assert asking.next()
    asking.holes.failed("pacing", 60.0, 0)
    asking.live_s, asking.boot_s = 250, 59.9
    assert asking.next() is None
    asking.boot_s = 60
    assert asking.next() == (100, 200)


def test_a_reason_is_news_once_until_there_was_an_answer() -> None:
    missing = Holes(1)
    assert [missing.failed(reason, None, 0) for reason in ("a", "a", "b")] == [True, False, True]
    missing.filled()
    assert missing.failed("b", None, 0)
