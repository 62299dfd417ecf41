"""What markets, periods and months are called on disk."""

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from piker.core.bars import NS
from piker.store.places import (
    Month,
    instant,
    month_named,
    month_of,
    period_name,
    period_of,
    quoted,
    unquoted,
)
from tests.store.bars import JULY, JUNE

PLAIN = set(string.ascii_lowercase + string.digits + "._+~=@,-%" + "ABCDEF")


@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1))
def test_any_name_is_one_directory_and_no_other(name: str) -> None:
    directory = quoted(name)
    assert set(directory) <= PLAIN
    assert not directory.startswith(".")
    assert unquoted(directory) == name


@pytest.mark.parametrize("name", ["Eurusd", "a%2e", "%61", ".a", "a b", "%FF", "%", ""])
def test_a_directory_by_another_name_is_none_of_ours(name: str) -> None:
    assert unquoted(name) is None


@pytest.mark.parametrize(
    ("period_s", "name"),
    [
        (1, "1s"),
        (90, "90s"),
        (60, "1m"),
        (300, "5m"),
        (3600, "1h"),
        (86_400, "1d"),
        (7 * 86_400, "7d"),
    ],
)
def test_a_period_is_named_in_the_largest_unit_that_divides_it(period_s: int, name: str) -> None:
    assert period_name(period_s) == name
    assert period_of(name) == period_s


@pytest.mark.parametrize("name", ["60s", "0m", "01m", "1w", "m", "1m ", "-1m", "1٣m"])
def test_what_is_no_name_of_a_period_is_none(name: str) -> None:
    assert period_of(name) is None


@pytest.mark.parametrize(
    "name", ["2026-13.parquet", "2026-00.parquet", "2026-6.parquet", "1969-12.parquet"]
)
def test_what_is_no_name_of_a_month_is_none(name: str) -> None:
    assert month_named(name) is None


def test_a_month_has_the_periods_that_begin_in_it() -> None:
    june, week = Month(2026, 6), 7 * 86_400 * NS
    assert june.stretch(60 * NS) == (JUNE, JULY)
    first_ns, end_ns = june.stretch(week)
    assert june.following.stretch(week)[0] == end_ns
    assert JUNE <= first_ns < JUNE + week
    assert JULY <= end_ns < JULY + week
    assert (month_of(JULY - 1), month_of(JULY), month_named(june.file)) == (
        june,
        june.following,
        june,
    )
    assert Month(2026, 12).following == Month(2027, 1)


def test_an_instant_has_a_fraction_where_it_isnt_a_whole_second() -> None:
    assert instant(JUNE) == "2026-06-01T00:00:00Z"
    assert instant(JUNE + 1) == "2026-06-01T00:00:00.000000001Z"
    assert instant(-1) == "1969-12-31T23:59:59.999999999Z"
