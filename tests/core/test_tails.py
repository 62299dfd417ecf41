"""What of bars is not on disk yet: all that was seen goes there once, in whole periods."""

from hypothesis import given
from hypothesis import strategies as st

from piker.core.spans import Pair, inward, joined
from piker.core.tails import MOST_PIECES, Tail

PERIOD = 10


def test_what_was_seen_is_covered_in_whole_periods_up_to_what_is_final() -> None:
    tail = Tail(PERIOD)
    tail.cover(3, 47)
    tail.cover(58, 99)
    assert tail.covered(80) == [(10, 40), (60, 80)]


def test_what_was_put_is_not_put_again_and_the_rest_is_whole_where_it_goes_on() -> None:
    tail = Tail(PERIOD)
    tail.cover(3, 47)
    tail.put(40)
    tail.cover(3, 62)
    assert (tail.from_ns, tail.covered(60)) == (40, [(40, 60)])


def test_what_another_datad_left_is_not_on_disk_as_far_as_is_known() -> None:
    tail = Tail(PERIOD, [(0, 30)])
    tail.cover(50, 60)
    assert tail.covered(60) == [(0, 30), (50, 60)]


def test_a_clock_that_was_stepped_back_makes_nothing_be_put_again() -> None:
    tail = Tail(PERIOD)
    tail.put(100)
    tail.cover(20, 60)
    tail.put(60)
    assert (tail.from_ns, tail.covered(60)) == (100, [])


def test_of_what_can_not_be_put_for_long_the_newest_is_remembered() -> None:
    tail = Tail(PERIOD)
    for number in range(MOST_PIECES + 5):
        tail.cover(number * 20, number * 20 + 10)
    assert tail.covered(10**6)[0] == (100, 110)
    assert len(tail.covered(10**6)) == MOST_PIECES


SEEN = st.tuples(st.integers(0, 200), st.integers(0, 200)).map(lambda pair: tuple(sorted(pair)))


@given(
    st.lists(SEEN, max_size=12).map(sorted), st.lists(st.integers(0, 20), max_size=6).map(sorted)
)
def test_however_often_it_is_put_all_whole_periods_that_were_seen_are(
    seen: list[Pair], puts: list[int]
) -> None:
    tail = Tail(PERIOD, seen)
    told = []
    for to_ns in (*(put * PERIOD for put in puts), 200):
        told += tail.covered(to_ns)
        tail.put(to_ns)
    whole = [inward(*each, PERIOD) for each in joined(seen) if inward(*each, PERIOD)]
    assert joined(told) == [each for each in whole if each]
    assert sum(b - a for a, b in told) == sum(b - a for a, b in joined(told))


def test_what_others_gave_is_neither_seen_nor_put_and_is_forgotten_when_it_is_on_disk() -> None:
    tail = Tail(PERIOD)
    tail.cover(0, 100)
    tail.give([(20, 40), (90, 120)])
    assert tail.covered(100) == [(0, 20), (40, 90)]
    tail.put(30)
    assert (tail.given, tail.covered(100)) == ([(30, 40), (90, 120)], [(40, 90)])
