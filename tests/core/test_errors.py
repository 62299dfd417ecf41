"""What a "no" says to a person: its sentence, and each value with its unit."""

import time
from collections.abc import Iterator

import pytest

from piker.errors import Fault, local_time, say
from piker.interfaces.broker import InvalidOrder, Superseded, TooLate, UnknownAccount
from piker.interfaces.data import NoSuchPeriod
from piker.interfaces.introspection import InvalidParameter
from piker.interfaces.orders import DiskFull, Halted, NoSuchOrder, TooOld

WHEN_NS = 1_700_000_000_123_456_789


@pytest.fixture(autouse=True)
def _in_zurich(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with monkeypatch.context() as patch:
        patch.setenv("TZ", "Europe/Zurich")
        time.tzset()
        yield
    time.tzset()


SAID: list[tuple[Fault, str]] = [
    (NoSuchOrder(oid="o-1"), "There is no such order (oid: o-1)"),
    (Superseded(), "Somebody else has taken control"),
    (
        Halted(reason="lunch", since_ns=WHEN_NS),
        "No new order leaves until `piker resume` (reason: lunch, since: 2023-11-14 23:13:20 CET)",
    ),
    (
        Halted(reason="lunch", since_ns=0),
        "No new order leaves until `piker resume` (reason: lunch)",
    ),
    (TooLate(late_ms=12), "It waited for too long, so nothing was sent (late: 12 ms)"),
    (
        DiskFull(path="/x", free_bytes=0),
        "Nothing new can be written down, so nothing new is done (path: /x, free: 0.0 MB)",
    ),
    (NoSuchPeriod(period_s=7, periods=(1, 60)), "(period: 7 s, periods: 1, 60)"),
    (TooOld(first_seq=3), "(first seq: 3)"),
    (UnknownAccount(account="x", allowed=()), "There is no such account here (account: x)"),
    (
        InvalidOrder(field="size", value="0.5", allowed="1"),
        "The order is not valid as it is (field: size, value: 0.5, allowed: 1)",
    ),
    (
        InvalidParameter(parameter="limit: expected 1 to 1000, was 5000"),
        "limit: expected 1 to 1000, was 5000",
    ),
    (
        InvalidParameter(parameter="size: Expected `int`, got `str`"),
        "size: Expected `int`, got `str`",
    ),
    (InvalidParameter(parameter="size"), "wrong type or value (parameter: size)"),
]


@pytest.mark.parametrize(("fault", "line"), SAID, ids=[line for _, line in SAID])
def test_a_fault_is_a_line_with_every_value_that_is_known(fault: Fault, line: str) -> None:
    assert say(fault).endswith(line)


@pytest.mark.parametrize("time_ns", [10**40, -(10**40)])
def test_a_time_that_no_calendar_has_is_told_as_it_is(time_ns: int) -> None:
    assert local_time(time_ns) == f"{time_ns} ns since 1970"


def test_a_time_in_summer_is_told_with_the_zone_of_then() -> None:
    assert local_time(1_690_000_000 * 10**9) == "2023-07-22 06:26:40 CEST"
