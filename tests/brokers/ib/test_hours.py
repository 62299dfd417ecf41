"""IB's hours become sessions: apart, oldest first, right on the days when clocks change."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from piker.brokers.ib.hours import BadHours, sessions, time_zone
from piker.markets import Session


def utc(text: str) -> int:
    """ns of a time in UTC."""
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()) * 10**9


def shown(text: str, zone: str) -> list[str]:
    """Sessions in UTC, to be read."""
    return [
        " ".join(
            f"{datetime.fromtimestamp(ns // 10**9, UTC):%m-%d %H:%M}"
            for ns in (session.open_ns, session.close_ns)
        )
        for session in sessions(text, zone)
    ]


def test_a_day_with_both_dates_is_a_session() -> None:
    assert sessions("20261123:0930-20261123:1600", "US/Eastern") == (
        Session(open_ns=utc("2026-11-23 14:30"), close_ns=utc("2026-11-23 21:00")),
    )


def test_a_closed_day_has_no_session() -> None:
    text = "20261126:CLOSED;20261127:0930-20261127:1300"
    assert shown(text, "US/Eastern") == ["11-27 14:30 11-27 18:00"]


def test_the_older_form_has_the_ranges_of_a_day() -> None:
    text = "20261123:0930-1600,1630-1700"
    assert shown(text, "US/Eastern") == ["11-23 14:30 11-23 21:00", "11-23 21:30 11-23 22:00"]


def test_a_lunch_break_is_between_two_sessions() -> None:
    text = "20261124:0900-20261124:1130,20261124:1230-20261124:1530"
    assert shown(text, "Asia/Tokyo") == ["11-24 00:00 11-24 02:30", "11-24 03:30 11-24 06:30"]


def test_a_session_crosses_midnight() -> None:
    text = "20261123:1700-20261124:1600"
    assert shown(text, "US/Central") == ["11-23 23:00 11-24 22:00"]


def test_in_the_older_form_a_day_that_ends_before_it_begins_began_the_day_before() -> None:
    text = "20160321:1700-1515,1530-1600"
    assert shown(text, "CTT") == ["03-20 22:00 03-21 20:15", "03-21 20:30 03-21 21:00"]


def test_sessions_that_touch_or_overlap_are_one() -> None:
    text = "20261124:0000-20261124:1200;20261123:1200-20261123:2400;20261124:1100-20261124:1300"
    assert shown(text, "GB") == ["11-23 12:00 11-24 13:00"]


@pytest.mark.parametrize("text", ["", " ", ";", "20261126:CLOSED"])
def test_without_hours_there_is_no_session(text: str) -> None:
    assert sessions(text, "US/Eastern") == ()


def test_without_hours_no_zone_is_needed() -> None:
    assert sessions("", "") == ()


@pytest.mark.parametrize(
    ("zone", "opens"),
    [
        ("US/Eastern", "14:30"),
        ("EST5EDT", "14:30"),
        ("EST", "14:30"),
        ("EST (Eastern Standard Time)", "14:30"),
        ("US/Central", "15:30"),
        ("CST", "15:30"),
        ("CTT", "15:30"),
        ("MET", "08:30"),
        ("GB", "09:30"),
        ("Asia/Tokyo", "00:30"),
        ("JST", "00:30"),
        ("Hongkong", "01:30"),
        ("UTC", "09:30"),
    ],
)
def test_a_zone_has_the_name_that_ib_gives_it(zone: str, opens: str) -> None:
    assert shown("20261123:0930-1600", zone)[0].startswith(f"11-23 {opens}")


def test_the_short_name_of_a_zone_has_summer_time() -> None:
    assert shown("20260701:0930-1600", "EST") == ["07-01 13:30 07-01 20:00"]


@pytest.mark.parametrize("zone", ["Mars/Olympus", "", "../etc", "America", "/etc/localtime"])
def test_an_unknown_zone_is_named(zone: str) -> None:
    with pytest.raises(BadHours, match="expected one such as US/Eastern") as bad:
        sessions("20261123:0930-20261123:1600", zone)
    assert repr(zone) in str(bad.value)


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("20261123", "20261123"),
        ("hello", "hello"),
        ("20261123:", "''"),
        ("20261123:0930", "0930"),
        ("20261123:0930-", "0930-"),
        ("20261123:closed", "closed"),
        ("20261323:CLOSED", "20261323"),
        ("20261123:0930-20261123:2560", "2560"),
        ("20261123:0930-20261323:1600", "20261323"),
        ("20261123:1600-20261123:0930", "1600-20261123:0930"),
        ("20261123:0930-20261123:1600;x", "'x'"),
        ("20261123:0930-1600,,1700-1800", "''"),
        ("99991231:0000-2400", "99991231"),
    ],
)
def test_hours_that_cannot_be_read_are_named(text: str, wrong: str) -> None:
    with pytest.raises(BadHours, match="expected") as bad:
        sessions(text, "US/Eastern")
    assert wrong in str(bad.value)


# In 2026 clocks there change on 8 March and 1 November, both Sundays, at 02:00.


def test_new_york_opens_an_hour_earlier_by_utc_once_summer_time_begins() -> None:
    text = "20260306:0930-20260306:1600;20260309:0930-20260309:1600"
    assert shown(text, "US/Eastern") == ["03-06 14:30 03-06 21:00", "03-09 13:30 03-09 20:00"]


def test_new_york_opens_an_hour_later_by_utc_once_summer_time_ends() -> None:
    text = "20261030:0930-20261030:1600;20261102:0930-20261102:1600"
    assert shown(text, "US/Eastern") == ["10-30 13:30 10-30 20:00", "11-02 14:30 11-02 21:00"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("20260308:0000-20260308:0600", "03-08 05:00 03-08 10:00"),
        ("20261101:0000-20261101:0600", "11-01 04:00 11-01 11:00"),
    ],
)
def test_a_night_in_new_york_is_an_hour_shorter_or_longer(text: str, expected: str) -> None:
    assert shown(text, "US/Eastern") == [expected]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("20260308:1700-20260309:1600", "03-08 22:00 03-09 21:00"),
        ("20260305:1700-20260306:1600", "03-05 23:00 03-06 22:00"),
        ("20261101:1700-20261102:1600", "11-01 23:00 11-02 22:00"),
        ("20261029:1700-20261030:1600", "10-29 22:00 10-30 21:00"),
    ],
)
def test_chicago_trades_from_five_to_four_before_and_after_clocks_change(
    text: str, expected: str
) -> None:
    assert shown(text, "US/Central") == [expected]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("20260307:1700-20260308:1600", "03-07 23:00 03-08 21:00"),
        ("20261031:1700-20261101:1600", "10-31 22:00 11-01 22:00"),
    ],
)
def test_a_session_over_the_change_in_chicago_is_an_hour_shorter_or_longer(
    text: str, expected: str
) -> None:
    assert shown(text, "US/Central") == [expected]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("20261101:0100-20261101:0130", ["11-01 05:00 11-01 06:30"]),
        ("20261101:0130-20261101:0300", ["11-01 05:30 11-01 08:00"]),
        ("20260308:0230-20260308:0400", ["03-08 07:30 03-08 08:00"]),
        ("20260308:0130-20260308:0300", ["03-08 06:30 03-08 07:00"]),
        ("20260308:0200-20260308:0300", []),
        ("20260308:0245-20260308:0300", []),
    ],
)
def test_a_session_in_the_hour_that_comes_twice_or_never(text: str, expected: list[str]) -> None:
    assert shown(text, "US/Eastern") == expected


def hours(ranges: list[tuple[int, int]]) -> str:
    """Hours with one part for each range, in minutes since 2026-10-25."""
    zero = datetime(2026, 10, 25)
    local = [
        [f"{zero + timedelta(minutes=each):%Y%m%d:%H%M}" for each in (start, start + length)]
        for start, length in ranges
    ]
    return ";".join(f"{begin}-{end}" for begin, end in local)


RANGES = st.lists(st.tuples(st.integers(0, 20_000), st.integers(1, 2_000)), max_size=12)


@given(RANGES, st.sampled_from(["US/Eastern", "MET", "Asia/Tokyo"]))
def test_sessions_are_apart_and_cover_what_each_part_covers(
    ranges: list[tuple[int, int]], zone: str
) -> None:
    found = sessions(hours(ranges), zone)
    alone = [session for each in ranges for session in sessions(hours([each]), zone)]
    assert all(before.close_ns < after.open_ns for before, after in pairwise(found))
    assert all(
        any(whole.open_ns <= part.open_ns and part.close_ns <= whole.close_ns for whole in found)
        for part in alone
    )
    assert {edge for each in found for edge in (each.open_ns, each.close_ns)} <= {
        edge for each in alone for edge in (each.open_ns, each.close_ns)
    }


def test_a_zone_is_looked_up_once() -> None:
    assert time_zone("US/Eastern") is time_zone("US/Eastern")
