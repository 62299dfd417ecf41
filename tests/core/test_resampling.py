"""Bars of longer periods, held against a slow and obvious definition."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from piker.core.bars import NS
from piker.core.calendars import sessions_of
from piker.core.resampling import (
    DAY_NS,
    DAY_S,
    MARGIN_NS,
    PAUSE_NS,
    base_of,
    resampled,
    trading_days,
)
from piker.core.rows import bars_of, rows_of
from piker.core.spans import Pair, joined
from piker.quotes import Bar
from tests.fakes.venue import EURUSD

MINUTE, HOUR = 60, 3600
LATER_NS = 3 * 10**18
MONDAY_NS = 1_800_230_400 * NS
"""2027-01-18, midnight UTC."""


def bar(at_s: int, price: float = 1.0, **beside: Any) -> Bar:
    """A bar so many seconds after the epoch."""
    given = {"high": price, "low": price, "close": price, "volume": 1.0, "trades": 1} | beside
    return Bar(time_ns=at_s * NS, open=price, **given)


def made(
    bars: Sequence[Bar],
    from_s: int,
    period_s: int,
    sessions: Sequence[Pair] | None = None,
    covered: Sequence[Pair] = ((0, LATER_NS),),
    now_ns: int = LATER_NS,
) -> list[Bar]:
    given: Any = {"sessions": sessions, "covered": covered, "now_ns": now_ns}
    return bars_of(resampled(rows_of(bars), from_s, period_s, **given))


# --- the definition


def slow_days(sessions: Sequence[Pair]) -> list[list[Pair]]:
    """Trading days, each as the sessions in it."""
    cut = [
        (max(begin, open_), min(begin + DAY_NS, close))
        for open_, close in sessions
        for begin in range(
            open_ if close - open_ <= MARGIN_NS else open_ // DAY_NS * DAY_NS, close, DAY_NS
        )
    ]
    days: list[list[Pair]] = []
    for session in cut:
        day = days[-1] if days else [session]
        if days and session[0] - day[-1][1] <= PAUSE_NS and session[1] - day[0][0] <= DAY_NS:
            day.append(session)
        else:
            days.append([session])
    return days


def stretch(each: Bar, from_s: int, period_s: int, sessions: Sequence[Pair] | None) -> Pair:
    """The period that a bar is in."""
    period_ns = period_s * NS
    clock = each.time_ns // period_ns * period_ns, (each.time_ns // period_ns + 1) * period_ns
    if period_s != DAY_S:
        return clock
    begun = [day for day in slow_days(sessions or ()) if day[0][0] < each.time_ns + from_s * NS]
    if not begun or each.time_ns - begun[-1][0][0] >= DAY_NS:
        return clock
    return begun[-1][0][0], begun[-1][-1][1]


def slow(
    bars: Sequence[Bar],
    from_s: int,
    period_s: int,
    sessions: Sequence[Pair] | None,
    covered: Sequence[Pair],
    now_ns: int,
) -> list[Bar]:
    """What `resampled` gives, where all times are multiples of half of the period it is given."""
    stretches = {each.time_ns: stretch(each, from_s, period_s, sessions) for each in bars}
    found = []
    for begin, end in sorted(set(stretches.values())):
        inside = [each for each in bars if stretches[each.time_ns] == (begin, end)]
        instants = [
            instant
            for instant in range(begin, end, from_s * NS // 2)
            if sessions is None or any(a <= instant < b for a, b in sessions)
        ]
        known = all(any(a <= instant < b for a, b in covered) for instant in instants)
        found.append(
            Bar(
                time_ns=begin,
                open=inside[0].open,
                high=max(each.high for each in inside),
                low=min(each.low for each in inside),
                close=inside[-1].close,
                volume=sum(each.volume for each in inside),
                trades=sum(each.trades for each in inside),
                derived=any(each.derived for each in inside),
                partial=any(each.partial for each in inside) or not known or end > now_ns,
            )
        )
    return found


def pairs(unit_s: int, most: int) -> st.SearchStrategy[list[Pair]]:
    """Stretches that are apart, of half units."""
    edges = st.lists(st.integers(0, most * 2), max_size=10, unique=True).map(sorted)
    half_ns = unit_s * NS // 2
    return edges.map(lambda at: [(a * half_ns, b * half_ns) for a, b in list(pairwise(at))[::2]])


@st.composite
def histories(draw: st.DrawFn, unit_s: int, most: int) -> dict[str, Any]:
    """Bars of a unit, and what is known of their time. Volumes add up exactly."""
    prices = st.integers(1, 9)
    sessions = draw(st.none() | pairs(unit_s, most))
    bars = []
    for at in sorted(draw(st.sets(st.integers(0, most), min_size=1, max_size=30))):
        low, *inner, high = sorted(draw(st.lists(prices, min_size=4, max_size=4)))
        bars.append(
            Bar(
                time_ns=at * unit_s * NS,
                open=inner[0],
                high=high,
                low=low,
                close=inner[1],
                volume=draw(prices),
                trades=draw(prices),
                derived=draw(st.booleans()),
                partial=draw(st.sampled_from([False, False, False, True])),
            )
        )
    return {
        "bars": bars,
        "from_s": unit_s,
        "sessions": sessions,
        "covered": draw(pairs(unit_s, most) | st.just([(0, LATER_NS)])),
        "now_ns": draw(st.integers(0, 2 * most)) * unit_s * NS // 2,
    }


@given(histories(MINUTE, 200), st.sampled_from([1, 2, 5, 7, 15, 60]))
def test_a_bar_is_what_the_shorter_ones_in_its_period_make_together(
    history: dict[str, Any], times: int
) -> None:
    assert made(**history, period_s=times * MINUTE) == slow(**history, period_s=times * MINUTE)


@given(histories(HOUR, 120) | histories(HOUR, 400))
def test_a_day_is_what_the_bars_of_its_sessions_make_together(history: dict[str, Any]) -> None:
    assert made(**history, period_s=DAY_S) == slow(**history, period_s=DAY_S)


@given(histories(MINUTE, 200), st.sampled_from([(5, 60), (15, 60), (2, 10), (7, 21)]))
def test_bars_of_bars_are_bars(history: dict[str, Any], times: tuple[int, int]) -> None:
    middle_s, long_s = (each * MINUTE for each in times)
    middle = made(**history, period_s=middle_s)
    twice = made(**{**history, "bars": middle, "from_s": middle_s}, period_s=long_s)
    assert twice == made(**history, period_s=long_s)


def test_a_bar_of_what_is_longer_or_no_multiple_is_refused() -> None:
    for period_s in (90, 30, 0, -60):
        with pytest.raises(ValueError, match=f"expected a multiple of 60 s, was {period_s} s"):
            made([bar(0)], MINUTE, period_s)


def test_of_no_bars_none_is_made() -> None:
    assert made([], MINUTE, HOUR) == []


# --- what is partial


@pytest.mark.parametrize(
    ("covered", "now_s", "partial"),
    [
        ([(0, 600)], 600, False),
        ([(0, 300), (300, 600)], 600, False),
        ([(0, 300), (301, 600)], 600, True),
        ([(1, 600)], 600, True),
        ([(0, 599)], 600, True),
        ([], 600, True),
        ([(0, 600)], 599, True),
    ],
)
def test_a_bar_is_partial_that_is_not_wholly_covered_or_has_not_ended(
    covered: list[Pair], now_s: int, partial: bool
) -> None:
    known = [(a * NS, b * NS) for a, b in covered]
    (one,) = made([bar(120)], MINUTE, 600, None, known, now_s * NS)
    assert one.partial is partial


def test_what_is_not_covered_counts_only_where_the_market_was_open() -> None:
    sessions = [(300 * NS, 600 * NS)]
    (one,) = made([bar(360)], MINUTE, 600, sessions, [(300 * NS, 600 * NS)])
    assert not one.partial


# --- days


def hours(*stretches: tuple[float, float], day: int = 0) -> list[Pair]:
    """Stretches of a day after that Monday."""
    begin_ns = MONDAY_NS + day * DAY_NS
    return [(begin_ns + int(a * HOUR) * NS, begin_ns + int(b * HOUR) * NS) for a, b in stretches]


def of_day(*at: float) -> list[Bar]:
    """Bars of an hour, so many hours after that midnight."""
    return [bar(MONDAY_NS // NS + int(each * HOUR)) for each in at]


def begun(bars: Sequence[Bar]) -> list[float]:
    return [(each.time_ns - MONDAY_NS) / NS / HOUR for each in bars]


def test_sessions_with_a_lunch_break_are_one_trading_day() -> None:
    sessions = hours((1.5, 3.5), (5, 7)) + hours((1.5, 3.5), (5, 7), day=1)
    assert trading_days(sessions) == hours((1.5, 7), (25.5, 31))
    days = made(of_day(1.5, 6, 26, 30), HOUR, DAY_S, sessions, sessions)
    assert begun(days) == [1.5, 25.5]
    assert [(each.trades, each.partial) for each in days] == [(2, False), (2, False)]


def test_sessions_of_two_days_are_two_days_however_short_the_pause() -> None:
    globex = hours((23, 46), (47, 70))
    assert trading_days(globex) == globex
    assert begun(made(of_day(23, 45, 47), HOUR, DAY_S, globex)) == [23, 47]


def test_a_session_of_a_week_is_cut_into_days_where_it_begins() -> None:
    week = hours((22, 22 + 120))
    assert trading_days(week) == hours(*((22 + 24 * day, 46 + 24 * day) for day in range(5)))
    assert begun(made(of_day(22, 45, 46, 141), HOUR, DAY_S, week)) == [22, 46, 118]


def test_sessions_that_touch_are_apart_where_they_are_more_than_a_day() -> None:
    days = hours((22, 46), (46, 70))
    assert trading_days(days) == days
    assert trading_days(joined(days)) == days


def test_a_session_of_more_than_a_week_is_cut_at_midnight() -> None:
    always = hours((-200.5, 300.25))
    assert trading_days(always)[0] == hours((-200.5, -192))[0]
    assert trading_days(always)[-1] == hours((288, 300.25))[0]
    assert begun(made(of_day(0, 23, 24, 49), HOUR, DAY_S, always)) == [0, 24, 48]


def test_the_days_of_a_week_that_a_calendar_knows_are_cut_where_it_begins() -> None:
    first_ns, last_ns = MONDAY_NS + 17 * HOUR * NS, MONDAY_NS + 60 * HOUR * NS
    margin = first_ns - MARGIN_NS, last_ns + MARGIN_NS
    sessions = sessions_of(structs.replace(EURUSD, asset_class="forex"), *margin)
    assert sessions is not None
    assert begun(made(of_day(17, 21, 22, 45, 46), HOUR, DAY_S, sessions)) == [-2, 22, 46]


def test_without_sessions_a_day_is_of_utc() -> None:
    assert begun(made(of_day(0, 23, 24), HOUR, DAY_S)) == [0, 24]


def test_what_is_of_after_the_close_is_in_the_day_that_closed() -> None:
    sessions = hours((9, 16), (33, 40))
    assert begun(made(of_day(10, 18, 34), HOUR, DAY_S, sessions)) == [9, 33]


def test_what_is_of_a_day_without_a_session_is_in_a_day_of_utc() -> None:
    sessions = hours((9, 16), (33 + 24, 40 + 24))
    assert begun(made(of_day(8, 10, 33, 35, 60), HOUR, DAY_S, sessions)) == [0, 9, 24, 57]


@pytest.mark.parametrize(
    ("period_s", "provided", "kept", "base_s"),
    [
        (60, [1, 60], {}, 60),
        (300, [1, 60], {300: 7}, 300),
        (300, [1, 60], {300: 0}, 60),
        (300, [1], {60: 7}, 1),
        (3600, [], {1: 7, 60: 7, 300: 5}, 60),
        (90, [60], {60: 7}, None),
        (0, [1], {}, None),
        (32 * DAY_S, [1], {}, None),
    ],
)
def test_bars_are_made_of_the_same_period_or_else_of_one_of_which_most_is_to_be_had(
    period_s: int, provided: list[int], kept: dict[int, int], base_s: int | None
) -> None:
    assert base_of(period_s, provided, kept) == base_s
