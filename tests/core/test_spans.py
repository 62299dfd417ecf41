"""Stretches of time."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from piker.core.spans import Pair, clipped, inward, joined, without

STRETCHES = st.lists(
    st.tuples(st.integers(0, 30), st.integers(1, 10)).map(lambda each: (each[0], sum(each)))
)


def instants(stretches: list[Pair]) -> set[int]:
    return {each for from_ns, to_ns in stretches for each in range(from_ns, to_ns)}


def apart(stretches: list[Pair]) -> bool:
    return all(one[1] < two[0] for one, two in pairwise(stretches))


@given(STRETCHES)
def test_joined_is_the_same_time_apart_and_in_order(stretches: list[Pair]) -> None:
    found = joined(stretches)
    assert instants(found) == instants(stretches)
    assert apart(found)


@given(STRETCHES, STRETCHES)
def test_what_is_without_others_is_in_none_of_them(one: list[Pair], other: list[Pair]) -> None:
    found = without(one, other)
    assert instants(found) == instants(one) - instants(other)
    assert apart(found)


@given(STRETCHES, st.integers(0, 40), st.integers(0, 40))
def test_what_is_clipped_lies_between(stretches: list[Pair], from_ns: int, to_ns: int) -> None:
    found = clipped(stretches, from_ns, to_ns)
    assert instants(found) == instants(stretches) & set(range(from_ns, to_ns))


def test_only_whole_periods_are_inward() -> None:
    assert inward(5, 31, 10) == (10, 30)
    assert inward(10, 20, 10) == (10, 20)
    assert inward(11, 29, 10) is None
