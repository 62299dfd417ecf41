"""When a gateway restarts: by the clock of its zone, over midnight, summer and winter."""

from datetime import datetime
from zoneinfo import ZoneInfo

import pytest

from piker.brokers.ib.hours import NoZone
from piker.brokers.ib.restartwindow import NoWindow, RestartWindow

NEW_YORK = "America/New_York"


def at(text: str, zone: str = NEW_YORK) -> int:
    """A time there, UTC ns."""
    return int(datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone)).timestamp()) * 10**9


@pytest.mark.parametrize(
    ("first", "last", "when", "within"),
    [
        ("23:45", "00:15", "2026-11-22 23:44:59", False),
        ("23:45", "00:15", "2026-11-22 23:45:00", True),
        ("23:45", "00:15", "2026-11-23 00:14:59", True),
        ("23:45", "00:15", "2026-11-23 00:15:00", False),
        ("23:45", "00:00", "2026-11-22 23:59:59", True),
        ("23:45", "00:00", "2026-11-23 00:00:00", False),
        ("05:00", "05:10", "2026-11-22 05:09:59", True),
        ("05:00", "05:10", "2026-11-22 12:00:00", False),
        ("23:45", "00:15", "2026-03-08 23:50:00", True),
        ("23:45", "00:15", "2026-11-01 23:50:00", True),
        ("23:45", "00:15", "2026-07-01 23:50:00", True),
    ],
)
def test_it_is_by_the_clock_there(first: str, last: str, when: str, within: bool) -> None:
    why = RestartWindow(first, last, NEW_YORK).why_not_now(at(when))
    assert (f"between {first} to {last} {NEW_YORK}" in why) == within
    assert bool(why) == within


@pytest.mark.parametrize(
    ("first", "last", "zone", "problem"),
    [
        ("24:00", "00:15", NEW_YORK, "'24:00'"),
        ("23:45", "0:15", NEW_YORK, "'0:15'"),
        ("23:45", "23:45", NEW_YORK, "differ"),
    ],
)
def test_what_is_no_window_is_named(first: str, last: str, zone: str, problem: str) -> None:
    with pytest.raises(NoWindow, match=problem):
        RestartWindow(first, last, zone)


@pytest.mark.parametrize("zone", ["Mars", "../etc/passwd", ""])
def test_what_is_no_zone_is_named(zone: str) -> None:
    with pytest.raises(NoZone, match=f"expected a time zone such as .*, was '{zone}'"):
        RestartWindow("23:45", "00:15", zone)
