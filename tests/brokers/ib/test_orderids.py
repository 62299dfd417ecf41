"""Ids of orders never go back, whatever a gateway says."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from piker.brokers.ib.orderids import MOST, NoIdLeft, OrderIds
from piker.brokers.ib.session import FIRST_NUMBER


def test_the_first_id_is_the_one_that_the_gateway_says() -> None:
    ids = OrderIds()
    ids.say_next(7)
    assert [ids.take(), ids.take()] == [7, 8]


@given(st.lists(st.one_of(st.none(), st.integers(0, 1000))))
def test_an_id_is_above_all_that_were_used_or_said(steps: list[int | None]) -> None:
    ids, used, taken = OrderIds(), [0], list[int]()
    for step in steps:
        if step is None:
            taken.append(ids.take())
            assert taken[-1] > max(used)
            used.append(taken[-1])
        else:
            ids.say_used(step)
            used.append(step)
    assert len(set(taken)) == len(taken)


def test_ids_that_nobody_tells_are_left_out() -> None:
    ids = OrderIds()
    ids.say_used(7)
    ids.skip(100)
    assert ids.take() == 108


def test_no_id_is_one_of_a_request() -> None:
    ids = OrderIds()
    ids.say_used(MOST - 1)
    assert ids.take() == MOST < FIRST_NUMBER
    with pytest.raises(NoIdLeft, match="reset the order ids"):
        ids.take()
