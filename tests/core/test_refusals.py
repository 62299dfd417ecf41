"""What a provider won't give, as it is noted: apart, in order, and no more than there may be."""

from hypothesis import given
from hypothesis import strategies as st

from piker.core.refusals import MOST, forgotten, noted
from piker.coverage import Unavailable


def no(from_ns: int, to_ns: int, asked_ns: int = 7, reason: str = "no permission") -> Unavailable:
    return Unavailable(from_ns=from_ns, to_ns=to_ns, reason=reason, asked_ns=asked_ns)


def test_the_newest_word_counts_for_its_stretch() -> None:
    assert noted([no(0, 10, reason="old")], no(4, 6)) == (
        no(0, 4, reason="old"),
        no(4, 6),
        no(6, 10, reason="old"),
    )


def test_stretches_that_touch_and_say_the_same_are_one_as_old_as_the_older() -> None:
    assert noted([no(4, 6, 3), no(0, 1)], no(6, 9, 8)) == (no(0, 1), no(4, 9, 3))


def test_what_is_forgotten_is_gone_and_nothing_else() -> None:
    assert forgotten([no(0, 10)], [(2, 3), (9, 20)]) == (no(0, 2), no(3, 9))


def test_of_more_than_there_may_be_the_oldest_time_is_forgotten() -> None:
    many = [no(each, each + 1) for each in range(0, 2 * MOST, 2)]
    assert noted(many, no(5000, 5001)) == (*many[1:], no(5000, 5001))


@given(st.lists(st.tuples(st.integers(0, 30), st.integers(1, 9), st.sampled_from("ab"))))
def test_they_are_in_order_and_apart_whatever_is_noted(
    said: list[tuple[int, int, str]],
) -> None:
    all_of_it: tuple[Unavailable, ...] = ()
    for begin, length, reason in said:
        all_of_it = noted(all_of_it, no(begin, begin + length, reason=reason))
    ends = [time_ns for each in all_of_it for time_ns in (each.from_ns, each.to_ns)]
    assert ends == sorted(ends)
    told = {time_ns for each in all_of_it for time_ns in range(each.from_ns, each.to_ns)}
    assert told == {time_ns for begin, more, _ in said for time_ns in range(begin, begin + more)}
