"""Small charts of characters."""

import pytest

from piker.cli.sparks import sparkline, strip


@pytest.mark.parametrize(
    ("values", "line"),
    [([], ""), ([5.0], "▁"), ([1.0, 1.0], "▁▁"), ([1.0, 8.0, 4.5], "▁█▅"), ([8.0, 1.0], "█▁")],
)
def test_the_lowest_value_is_the_lowest_block(values: list[float], line: str) -> None:
    assert sparkline(values) == line


def test_many_values_are_a_line_of_the_last_of_each_part() -> None:
    assert sparkline([0.0, 7.0, 0.0, 0.0], width=2) == "█▁"


def test_a_strip_tells_covered_from_not_and_from_closed() -> None:
    assert strip((0, 100), [(0, 50)], [(40, 60), (90, 100)], width=10) == "████▒·   ·"
