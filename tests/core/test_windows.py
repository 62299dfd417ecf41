"""How much room shared memory has, and what it weighs."""

import pytest

from piker.core import windows
from piker.core.bars import window


@pytest.mark.parametrize("rows", [1, 2, 3, 1000, 86_400, 172_800])
def test_a_full_table_goes_on_with_its_window_and_has_room_for_half_as_much(rows: int) -> None:
    assert window(windows.capacity(rows)) == rows
    assert windows.capacity(rows) == rows + rows // 2


@pytest.mark.parametrize(
    ("period_s", "days", "weight"), [(1, 2, 16_592_896), (60, 60, 8_298_496), (60, 1, 142_336)]
)
def test_the_weight_of_a_market_is_64_bytes_a_row_and_a_header(
    period_s: int, days: int, weight: int
) -> None:
    assert windows.weight(period_s, days) == weight
