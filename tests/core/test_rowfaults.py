"""Which rows can be bars."""

from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from piker.core import rowfaults
from piker.core.rowfaults import BadRow, Fault, Rules, faults, told
from tests.store.bars import JULY, JUNE, MINUTE, minutes

KEPT = Rules(MINUTE, JULY - 1)
FOREIGN = Rules(MINUTE, JULY - 1, foreign=True)


def bad(rows: np.ndarray, rules: Rules = KEPT) -> list[BadRow]:
    return list(told(rows, faults(rows, rules), rules))


@pytest.mark.parametrize("rules", [KEPT, FOREIGN])
def test_bars_that_can_be_have_no_fault(rules: Rules) -> None:
    assert bad(minutes(1, 2), rules) == []
    assert bad(minutes(1)[:0], rules) == []


def test_a_price_below_zero_can_be_a_venues_and_not_somebody_elses() -> None:
    rows = minutes(2, price=-37.63)
    assert bad(rows) == []
    (told_,) = bad(rows, FOREIGN)
    assert told_.reason.startswith("open: expected 0 or more, was -37")


def test_rows_of_a_venue_may_come_in_any_order_and_those_of_somebody_else_may_not() -> None:
    rows = minutes(2, 1, 1)
    assert bad(rows) == []
    assert faults(rows, FOREIGN).tolist() == [Fault.NONE, Fault.OUT_OF_ORDER, Fault.OUT_OF_ORDER]


def test_a_bar_that_is_not_over_is_a_fault_of_somebody_elses_alone() -> None:
    rows = minutes(5)
    begun = Rules(MINUTE, int(rows["time_ns"][0]) + 1)
    assert faults(rows, begun).tolist() == [Fault.NONE]
    assert faults(rows, begun._replace(foreign=True)).tolist() == [Fault.NOT_OVER]


@pytest.mark.parametrize("rules", [KEPT, FOREIGN])
@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("volume", np.nan, "volume: expected a number, was nan"),
        ("low", 1.75, "open: expected within low and high, 1.75 to 2, was 1.5"),
        ("high", 0.25, "high 0.25 is below low 1"),
        ("time_ns", -MINUTE, "time 1969-12-31T23:59:00Z: expected 1970 or later"),
        ("time_ns", JULY, "time 2026-07-01T00:00:00Z is in the future"),
        ("trades", -1, "trades: expected 0 or more, was -1"),
        ("volume", -1, "volume: expected 0 or more, was -1"),
    ],
)
def test_a_row_that_cannot_be_is_named_with_its_value(
    rules: Rules, name: str, value: float, reason: str
) -> None:
    rows = minutes(1, 2, 3)
    rows[name][1] = value
    assert bad(rows, rules) == [(1, rows["time_ns"][1], reason)]


def test_prices_whose_sum_is_too_large_for_a_number_are_numbers() -> None:
    rows = minutes(1)
    for name in ("open", "high", "low", "close"):
        rows[name] = 1e308
    assert bad(rows) == []


def test_mids_have_no_volume() -> None:
    rows = minutes(1, 2)
    rows["flags"] = 1
    rows["volume"][1], rows["trades"][1] = 0, 0
    (told_,) = bad(rows)
    assert told_ == (0, JUNE + MINUTE, "derived, but with volume 10 and 2 trades")


PRICES = [np.nan, np.inf, -np.inf, -1.0, -0.0, 0.5, 1.5, 1.75, 3.0, 1e308, -1e308]
TIMES = [-(2**63), -MINUTE, 0, JUNE, JUNE + 1, JUNE + 2 * MINUTE, JULY - MINUTE, JULY, 2**62]
ODD: dict[str, list[Any]] = {
    "time_ns": TIMES,
    "open": PRICES,
    "high": PRICES,
    "low": PRICES,
    "close": PRICES,
    "volume": [np.nan, np.inf, -1.0, 0.0, 1e308],
    "trades": [-1, 0, 2**62],
    "flags": [0, 1, 2, 3],
}
ODDLY = st.sampled_from(sorted(ODD)).flatmap(
    lambda name: st.tuples(st.integers(0, 4), st.just(name), st.sampled_from(ODD[name]))
)


@given(st.lists(ODDLY, max_size=3), st.sampled_from([KEPT, FOREIGN]), st.integers(1, 5))
@example([], FOREIGN, 5)
@example([(0, "open", 1e308), (1, "open", 1e308)], KEPT, 2)
@example([(2, "time_ns", JUNE + 2 * MINUTE)], FOREIGN, 1)
@example([(2, "time_ns", JUNE + 2 * MINUTE)], FOREIGN, 2)
def test_rows_of_which_none_has_a_fault_are_those_that_are_seen_to_be_sound_at_once(
    changed: list[tuple[int, str, float]], rules: Rules, size: int
) -> None:
    rows = minutes(1, 2, 3, 4, 6)
    for at, name, value in changed:
        rows[name][at] = value
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rowfaults, "BLOCK", size)
        found = faults(rows, rules)
        patch.setattr(rowfaults, "_are_sound", lambda *_: False)
        assert faults(rows, rules).tolist() == found.tolist()
