"""When a market is traded: by its provider, by a calendar, or nobody knows."""

from collections import Counter
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from piker.core.calendars import (
    WARN_NS,
    calendar_of,
    named,
    notice,
    running_out,
    runs_out,
    sessions_of,
)
from piker.core.calendartable import TABLE
from piker.core.spans import Pair, clipped
from piker.markets import AssetClass, Market
from tests.core.samples import DAY, NS, at, market, pairs

AAPL = market("aapl.nasdaq.ib")
ES = market("es.cme.20261218.ib", "future")
EURUSD = market("eurusd.idealpro.ib", "forex")


def sessions(of: Market, from_: str, to: str) -> list[Pair] | None:
    return sessions_of(of, at(from_), at(to))


# --- which calendar


@pytest.mark.parametrize(
    ("fqme", "kind", "currency", "name"),
    [
        ("aapl.nasdaq.ib", "stock", "USD", "XNYS"),
        ("brk-b.nyse.ib", "stock", "USD", "XNYS"),
        ("spy.smart.20261218.c500.ib", "option", "USD", "XNYS"),
        ("spx.cboe.ib", "index", "USD", "XNYS"),
        ("mnq.cme.20261218.ib", "future", "USD", "CMES"),
        ("si.comex.20261229.sil.ib", "future", "USD", "CMES"),
        ("cspx.lseetf.usd.ib", "stock", "USD", "XLON"),
        ("sap.ibis.ib", "stock", "EUR", "XETR"),
        ("asml.aeb.ib", "stock", "EUR", "XPAR"),
        ("abi.enext_be.ib", "stock", "EUR", "XPAR"),
        ("7203.tsej.ib", "stock", "JPY", "XTKS"),
        ("700.sehk.ib", "stock", "HKD", "XHKG"),
        ("if2312.cffex.x", "future", "CNY", "XSHG"),
        ("shop.tse.ib", "stock", "CAD", "XTSE"),
        ("aapl.xnys.x", "stock", "USD", "XNYS"),
        ("eurusd.idealpro.ib", "forex", "USD", "FX"),
        ("eurusd.x", "forex", "USD", "FX"),
        ("xauusd.smart.ib", "commodity", "USD", "METALS"),
    ],
)
def test_a_market_has_the_calendar_of_its_venue_or_its_kind(
    fqme: str, kind: AssetClass, currency: str, name: str
) -> None:
    calendar = calendar_of(market(fqme, kind, currency=currency))
    assert calendar
    assert calendar.name == name


@pytest.mark.parametrize(
    ("fqme", "kind"),
    [
        ("odd.nowhere.ib", "stock"),
        ("odd.ib", "stock"),
        ("sx5e.smart.ib", "option"),
        ("eurusd.spot.replay", "forex"),
        ("if2312.cffex.replay", "future"),
        ("btcusd.paxos.ib", "crypto"),
        ("s0000.xsim.sim", "simulated"),
    ],
)
def test_a_market_of_an_unknown_venue_or_of_a_recording_has_none(
    fqme: str, kind: AssetClass
) -> None:
    assert calendar_of(market(fqme, kind, currency="EUR")) is None


# --- by a calendar


def test_a_share_of_new_york_moves_in_utc_at_both_changes_of_the_clocks() -> None:
    assert sessions(AAPL, "2026-03-06T00:00:00", "2026-03-10T00:00:00") == pairs(
        "2026-03-06T14:30:00 2026-03-06T21:00:00", "2026-03-09T13:30:00 2026-03-09T20:00:00"
    )
    assert sessions(AAPL, "2026-10-30T00:00:00", "2026-11-03T00:00:00") == pairs(
        "2026-10-30T13:30:00 2026-10-30T20:00:00", "2026-11-02T14:30:00 2026-11-02T21:00:00"
    )


def test_foreign_exchange_is_traded_from_sunday_to_friday_at_five_in_new_york() -> None:
    assert sessions(EURUSD, "2026-03-03T00:00:00", "2026-03-17T00:00:00") == pairs(
        "2026-03-03T00:00:00 2026-03-06T22:00:00",
        "2026-03-08T21:00:00 2026-03-13T21:00:00",
        "2026-03-15T21:00:00 2026-03-17T00:00:00",
    )
    assert sessions(EURUSD, "2026-10-30T00:00:00", "2026-11-07T00:00:00") == pairs(
        "2026-10-30T00:00:00 2026-10-30T21:00:00", "2026-11-01T22:00:00 2026-11-06T22:00:00"
    )


def test_a_day_may_end_early_and_a_break_is_no_session() -> None:
    assert sessions(AAPL, "2026-11-26T00:00:00", "2026-11-28T00:00:00") == pairs(
        "2026-11-27T14:30:00 2026-11-27T18:00:00"
    )
    hong_kong = market("700.sehk.ib", currency="HKD")
    assert sessions(hong_kong, "2026-12-23T00:00:00", "2026-12-26T00:00:00") == pairs(
        "2026-12-23T01:30:00 2026-12-23T04:00:00",
        "2026-12-23T05:00:00 2026-12-23T08:00:00",
        "2026-12-24T01:30:00 2026-12-24T04:00:00",
    )


def test_hours_are_those_of_their_time() -> None:
    tokyo = market("7203.tsej.ib", currency="JPY")
    assert sessions(tokyo, "2011-11-18T00:00:00", "2011-11-22T00:00:00") == pairs(
        "2011-11-18T00:00:00 2011-11-18T02:00:00",
        "2011-11-18T03:30:00 2011-11-18T06:00:00",
        "2011-11-21T00:00:00 2011-11-21T02:30:00",
        "2011-11-21T03:30:00 2011-11-21T06:00:00",
    )


def test_globex_has_an_hour_of_rest_and_a_day_that_begins_the_evening_before() -> None:
    assert sessions(ES, "2026-11-25T00:00:00", "2026-11-30T00:00:00") == pairs(
        "2026-11-25T00:00:00 2026-11-25T22:00:00",
        "2026-11-25T23:00:00 2026-11-26T18:00:00",
        "2026-11-26T23:00:00 2026-11-27T18:00:00",
        "2026-11-29T23:00:00 2026-11-30T00:00:00",
    )


# --- by the provider


def test_what_a_provider_says_counts_and_the_calendar_for_the_rest() -> None:
    told = pairs(
        "2026-11-25T15:00:00 2026-11-25T16:00:00", "2026-11-27T15:00:00 2026-11-27T16:00:00"
    )
    found = sessions(
        market("x.nyse.ib", sessions=told), "2026-11-24T00:00:00", "2026-12-01T00:00:00"
    )
    assert found is not None
    assert [each for each in found if each in told] == told
    assert {at(f"2026-11-{day}T15:00:00") for day in (24, 25, 27, 30)} == {a for a, _ in found}


def test_a_day_that_only_the_provider_knows_to_be_closed_is_closed() -> None:
    told = pairs(
        "2026-11-23T14:30:00 2026-11-23T21:00:00", "2026-11-25T14:30:00 2026-11-25T18:00:00"
    )
    aapl = market("aapl.nasdaq.ib", sessions=told)
    assert sessions(aapl, "2026-11-23T00:00:00", "2026-11-26T00:00:00") == told


def test_a_market_with_longer_hours_than_its_exchange_always_had_them() -> None:
    told = pairs(
        "2026-11-23T09:00:00 2026-11-24T01:00:00",
        "2026-11-24T09:00:00 2026-11-25T01:00:00",
        "2026-11-27T09:00:00 2026-11-27T22:00:00",
    )
    found = sessions(
        market("aapl.nasdaq.ib", sessions=told), "2025-11-26T00:00:00", "2025-11-30T00:00:00"
    )
    assert found == pairs(
        "2025-11-26T00:00:00 2025-11-26T01:00:00",
        "2025-11-26T09:00:00 2025-11-27T01:00:00",
        "2025-11-28T09:00:00 2025-11-28T22:00:00",
    )


def test_grain_has_other_hours_than_globex_and_its_days() -> None:
    told = [
        (at(f"2026-11-{day}T{a}-06:00"), at(f"2026-11-{day + b}T{c}-06:00"))
        for day in (16, 17, 18)
        for a, b, c in [("19:00:00", 1, "07:45:00"), ("08:30:00", 0, "13:20:00")]
    ]
    grain = market("zc.cbot.20261214.ib", "future", sessions=sorted(told))
    assert sessions(grain, "2026-06-18T12:00:00", "2026-06-20T00:00:00") == pairs(
        "2026-06-18T12:00:00 2026-06-18T12:45:00",
        "2026-06-18T13:30:00 2026-06-18T18:20:00",
        "2026-06-19T00:00:00 2026-06-19T12:45:00",
        "2026-06-19T13:30:00 2026-06-19T14:20:00",
    )


# --- nobody knows


def test_time_of_which_nobody_knows_may_be_session_time() -> None:
    told = pairs(
        "2026-11-25T15:00:00 2026-11-25T16:00:00", "2026-11-27T15:00:00 2026-11-27T16:00:00"
    )
    odd = market("odd.nowhere.ib", sessions=told)
    assert sessions(odd, "2026-11-25T00:00:00", "2026-11-28T00:00:00") == pairs(
        "2026-11-25T00:00:00 2026-11-25T16:00:00", "2026-11-27T15:00:00 2026-11-28T00:00:00"
    )
    assert sessions(odd, "2025-11-25T00:00:00", "2025-11-28T00:00:00") is None
    assert sessions(odd, "2026-11-26T00:00:00", "2026-11-27T00:00:00") == []


@pytest.mark.parametrize("name", sorted(TABLE))
def test_after_a_calendar_has_ended_nobody_knows(name: str) -> None:
    end_ns = named(name).known[1]
    one = market(f"x.{name.lower()}.y")
    assert sessions_of(one, end_ns, end_ns + DAY) is None
    assert (end_ns, end_ns + DAY) in (sessions_of(one, end_ns - 9 * DAY, end_ns + DAY) or [])


@pytest.mark.parametrize("kind", ["crypto", "simulated"])
def test_what_is_always_traded_is_one_session(kind: AssetClass) -> None:
    assert sessions_of(market("x.y.z", kind, sessions=None), 5, 10**18) == [(5, 10**18)]


# --- the end of the table


def test_two_months_before_a_calendar_ends_and_ever_after_it_runs_out() -> None:
    shanghai = named("XSHG")
    end_ns = at(f"{shanghai.last + timedelta(days=1)}T00:00:00+08:00")
    assert not runs_out(shanghai, end_ns - WARN_NS - 1)
    assert runs_out(shanghai, end_ns - WARN_NS)
    assert runs_out(shanghai, end_ns + 999 * DAY)


def test_those_that_run_out_are_found() -> None:
    assert running_out(at("2020-01-01T00:00:00")) == []
    end_ns = named("XSHG").known[1]
    assert "XSHG" in [each.name for each in running_out(end_ns - WARN_NS)]
    assert "XSHG" not in [each.name for each in running_out(end_ns - WARN_NS - 1)]


def test_a_market_of_one_that_runs_out_says_so_and_no_other_does() -> None:
    shanghai = named("XSHG")
    now_ns = shanghai.known[1] - DAY
    said = notice(market("600000.sse.ib", currency="CNY"), now_ns)
    assert said.startswith(f"when XSHG is closed is known until {shanghai.last}: ")
    others = (EURUSD, market("if.cffex.replay"), market("x.nowhere.ib"), market("x.y.z", "crypto"))
    assert [notice(each, now_ns) for each in others] == [""] * 4


# --- all of them


@pytest.mark.parametrize("name", sorted(TABLE))
def test_a_calendar_has_days_from_monday_to_friday_but_for_some(name: str) -> None:
    calendar = named(name)
    from_ns, to_ns = at("2006-01-01T12:00:00"), at("2026-01-01T12:00:00")
    found = sessions_of(market(f"x.{name.lower()}.y"), from_ns, to_ns) or []
    days = {calendar.day_at(to_ns - NS) for _, to_ns in found}
    a_year = Counter(day.year for day in days)
    assert {day.weekday() for day in days} == {0, 1, 2, 3, 4}
    assert all(235 <= number <= 260 for number in a_year.values())


@given(st.integers(at("2005-06-01T00:00:00"), at("2028-06-01T00:00:00")), st.integers(1, 30 * DAY))
def test_a_part_of_a_stretch_has_the_sessions_of_the_whole(from_ns: int, length: int) -> None:
    whole = sessions_of(ES, from_ns - 40 * DAY, from_ns + 80 * DAY)
    part = sessions_of(ES, from_ns, from_ns + length)
    all_of_it = [(from_ns, from_ns + length)]
    expected = clipped(whole or all_of_it, from_ns, from_ns + length)
    assert (all_of_it if part is None else part) == expected
