"""How long a market is usually silent is learnt from its silences."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from piker.core.freshness import (
    ENOUGH,
    FLOOR_NS,
    MARGIN,
    QUANTILE,
    UNLEARNT_NS,
    Silence,
    hour_of_week,
)

MS, S, H = 10**6, 10**9, 3600 * 10**9
NIGHT, DAY = 3, 12


def learnt(*silences: tuple[int, int, int]) -> Silence:
    """What (ns, how often, hour) teach."""
    silence = Silence()
    for silence_ns, count, hour in silences:
        for _ in range(count):
            silence.add(silence_ns, hour)
    return silence


def test_before_anything_was_learnt_a_minute_is_usual() -> None:
    assert Silence().limit_ns(DAY) == UNLEARNT_NS


def test_a_few_silences_teach_nothing() -> None:
    assert learnt((MS, ENOUGH - 1, DAY)).limit_ns(DAY) == UNLEARNT_NS


def test_a_busy_market_is_given_the_floor() -> None:
    assert learnt((MS, ENOUGH, DAY)).limit_ns(DAY) == FLOOR_NS


def test_the_floor_may_be_another() -> None:
    silence = Silence(floor_ns=7, unlearnt_ns=9)
    assert silence.limit_ns(DAY) == 9
    for _ in range(ENOUGH):
        silence.add(0, DAY)
    assert silence.limit_ns(DAY) == MARGIN * 2**20


def test_a_market_that_is_silent_for_minutes_is_given_minutes() -> None:
    assert 3 * 120 * S <= learnt((120 * S, ENOUGH, DAY)).limit_ns(DAY) <= 6 * 120 * S


def test_a_quiet_hour_has_a_longer_silence_than_a_busy_one() -> None:
    silence = learnt((MS, 100_000, DAY), (60 * S, ENOUGH, NIGHT))
    assert silence.limit_ns(DAY) == FLOOR_NS
    assert silence.limit_ns(NIGHT) >= 3 * 60 * S


def test_an_hour_that_was_not_learnt_goes_by_all_hours() -> None:
    silence = learnt((60 * S, ENOUGH // 2, NIGHT), (60 * S, ENOUGH // 2, DAY))
    assert silence.limit_ns(NIGHT) == silence.limit_ns(99) >= 3 * 60 * S


def test_one_long_silence_in_a_thousand_is_not_usual() -> None:
    assert learnt((MS, 1000, DAY), (H, 1, DAY)).limit_ns(DAY) == FLOOR_NS


def test_a_silence_longer_than_any_is_counted_among_the_longest() -> None:
    assert learnt((10_000 * H, ENOUGH, DAY)).limit_ns(DAY) == MARGIN * 2**43


@given(st.lists(st.integers(0, 2**43 - 1), min_size=ENOUGH, max_size=300))
def test_the_limit_is_margin_times_the_quantile_within_a_factor_of_two(values: list[int]) -> None:
    silence = learnt(*((value, 1, DAY) for value in values))
    rank = next(n for n in range(len(values)) if n + 1 >= QUANTILE * len(values))
    quantile_ns = max(sorted(values)[rank], 2**19)
    exact_ns = max(FLOOR_NS, MARGIN * quantile_ns)
    assert exact_ns <= silence.limit_ns(DAY) <= max(FLOOR_NS, 2 * MARGIN * quantile_ns)


@pytest.mark.parametrize(
    ("time_ns", "hour"), [(0, 0), (H - 1, 0), (H, 1), (167 * H, 167), (168 * H, 0), (-1, 167)]
)
def test_hours_of_the_week_count_from_thursday_midnight(time_ns: int, hour: int) -> None:
    assert hour_of_week(time_ns) == hour
