"""A calendar of its lines, and when it is open."""

import pytest

from piker.core.spans import Pair
from piker.core.tradingdays import Calendar, parse, sessions, usual
from tests.core.samples import at, pairs

ODD = """
zone America/New_York
to 2025-12-31
hours 2024-01-01 18:00-12:00 13:00-17:00
hours 2025-03-01 08:00-12:00 13:00-17:00
closed every 0704
closed 2025 0505
opens 09:30 2025 0602
closes 11:00 2025 0603
"""


def odd(from_: str, to: str, *, usual: tuple[tuple[int, int], ...] = ()) -> list[Pair]:
    return sessions(parse("ODD", ODD), usual, at(from_), at(to))


def test_hours_are_from_monday_to_friday_and_may_begin_the_evening_before() -> None:
    assert odd("2025-01-10T12:00:00", "2025-01-14T12:00:00") == pairs(
        "2025-01-10T12:00:00 2025-01-10T17:00:00",
        "2025-01-10T18:00:00 2025-01-10T22:00:00",
        "2025-01-12T23:00:00 2025-01-13T17:00:00",
        "2025-01-13T18:00:00 2025-01-13T22:00:00",
        "2025-01-13T23:00:00 2025-01-14T12:00:00",
    )


def test_the_evening_of_a_year_is_the_first_day_of_the_next() -> None:
    assert odd("2024-12-31T22:30:00", "2025-01-01T02:00:00") == pairs(
        "2024-12-31T23:00:00 2025-01-01T02:00:00"
    )


def test_a_day_may_be_closed_in_one_year_or_in_all() -> None:
    assert odd("2025-05-05T00:00:00", "2025-05-06T12:00:00") == []
    assert odd("2024-07-04T22:00:00", "2024-07-05T01:00:00") == pairs(
        "2024-07-04T22:00:00 2024-07-05T01:00:00"
    )
    assert odd("2025-07-04T00:00:00", "2025-07-07T12:00:00") == []


def test_a_day_that_begins_late_or_ends_early_loses_what_is_before_or_after() -> None:
    assert odd("2025-06-02T00:00:00", "2025-06-04T00:00:00") == pairs(
        "2025-06-02T13:30:00 2025-06-02T16:00:00",
        "2025-06-02T17:00:00 2025-06-02T21:00:00",
        "2025-06-03T12:00:00 2025-06-03T15:00:00",
    )


def test_other_hours_than_the_exchange_has_are_as_much_later_or_earlier() -> None:
    others = ((300, 1200),)
    assert odd("2025-06-02T00:00:00", "2025-06-04T00:00:00", usual=others) == pairs(
        "2025-06-02T10:30:00 2025-06-03T00:00:00", "2025-06-03T09:00:00 2025-06-03T18:00:00"
    )


def test_other_hours_hold_since_those_of_the_exchange_were_last_changed() -> None:
    before = odd("2025-02-28T00:00:00", "2025-03-01T00:00:00", usual=((300, 1200),))
    assert before == odd("2025-02-28T00:00:00", "2025-03-01T00:00:00")


def test_what_is_not_known_has_no_sessions() -> None:
    assert odd("2020-01-01T00:00:00", "2023-12-31T12:00:00") == []
    assert odd("2026-01-01T05:00:00", "2027-01-01T00:00:00") == []
    assert odd("2025-12-31T12:00:00", "2027-01-01T00:00:00")[-1:] == pairs(
        "2025-12-31T18:00:00 2025-12-31T22:00:00"
    )


def test_usual_are_the_hours_of_most_ordinary_days_that_are_told() -> None:
    told = pairs(
        "2025-06-02T20:00:00 2025-06-02T21:00:00",
        "2025-06-04T11:00:00 2025-06-04T22:00:00",
        "2025-06-05T11:00:00 2025-06-05T22:00:00",
        "2025-06-06T11:00:00 2025-06-06T16:00:00",
    )
    calendar = parse("ODD", ODD)
    assert usual(calendar, told) == ((7 * 60, 18 * 60),)
    assert usual(calendar, told[:1]) == usual(calendar, []) == ()


@pytest.mark.parametrize(
    ("time", "end"),
    [
        ("2025-06-04T12:00:00-04:00", "2025-06-04T18:00:00-04:00"),
        ("2025-06-04T17:59:59-04:00", "2025-06-04T18:00:00-04:00"),
        ("2025-06-04T18:00:00-04:00", "2025-06-05T18:00:00-04:00"),
    ],
)
def test_a_day_ends_where_the_next_begins(time: str, end: str) -> None:
    evenings = parse("ODD", "zone America/New_York\nto 2025-12-31\nhours 2024-01-01 18:00-17:00")
    assert evenings.end_of_day(at(time)) == at(end)


@pytest.mark.parametrize("line", ["open 2025 0101", "closed", "hours", "zone Mars/Base"])
def test_a_line_that_means_nothing_is_refused(line: str) -> None:
    with pytest.raises((ValueError, KeyError)):
        parsed(line)


def parsed(line: str) -> Calendar:
    return parse("ODD", f"{ODD}{line}")
