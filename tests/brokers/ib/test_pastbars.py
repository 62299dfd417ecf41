"""Bars of the past at Interactive Brokers: how they are asked for, and what of an answer counts."""

from math import inf, nan

import pytest
from msgspec import structs

from piker.brokers.ib.messages import Contract, PastBar
from piker.brokers.ib.pastbars import Unreadable, kind, question, read
from piker.core.periods import NS
from piker.quotes import Bar
from tests.fakes.venue import EURUSD

STOCK = structs.replace(EURUSD, asset_class="stock")
FOREX = structs.replace(EURUSD, has_trades=False, has_volume=False)
INDEX = structs.replace(EURUSD, asset_class="index", has_volume=False)
CRYPTO = structs.replace(EURUSD, asset_class="crypto")
BEGIN_S = 1_800_000_000
"""2027-01-15 08:00 UTC, a whole minute."""
BEGIN, END = BEGIN_S * NS, (BEGIN_S + 600) * NS


def row(after_s: float, **other: float) -> PastBar:
    """A row of the answer, so long after the beginning."""
    whole = PastBar(
        time=f"{BEGIN_S + after_s:g}" if after_s % 1 else str(BEGIN_S + round(after_s)),
        open=2.0,
        high=3.0,
        low=1.0,
        close=2.5,
        volume=70.0,
        wap=2.2,
        count=7,
    )
    return structs.replace(whole, **other)


def minutes(*rows: PastBar, market: object = STOCK) -> list[int]:
    """Which minutes of the stretch are read."""
    bars = read(rows, market, 60, BEGIN, END)  # type: ignore[arg-type]
    return [(bar.time_ns - BEGIN) // NS // 60 for bar in bars]


def test_a_request_says_end_and_length_of_the_stretch() -> None:
    asked = question(STOCK, Contract(con_id=7), 60, BEGIN, BEGIN + 86_400 * NS)
    assert (asked.end, asked.duration) == ("20270116-08:00:00", "86400 S")
    assert (asked.bar_size, asked.what, asked.liquid_only) == ("1 min", "TRADES", False)


@pytest.mark.parametrize(
    ("market", "what"),
    [(STOCK, "TRADES"), (INDEX, "TRADES"), (FOREX, "MIDPOINT"), (CRYPTO, "AGGTRADES")],
)
def test_bars_are_of_trades_where_the_market_has_any(market: object, what: str) -> None:
    assert kind(market) == what  # type: ignore[arg-type]


def test_a_row_is_a_bar_that_begins_then() -> None:
    (bar,) = read([row(60)], STOCK, 60, BEGIN, END)
    assert bar == Bar(
        time_ns=BEGIN + 60 * NS, open=2, high=3, low=1, close=2.5, volume=70, trades=7
    )


def test_of_mids_bars_are_derived_and_have_no_volume() -> None:
    (bar,) = read([row(60, volume=-1.0, count=-1)], FOREX, 60, BEGIN, END)
    assert (bar.derived, bar.volume, bar.trades) == (True, 0, 0)


def test_a_row_that_is_carried_forward_is_no_bar() -> None:
    flat = {"open": 2.5, "high": 2.5, "low": 2.5, "volume": 0.0, "count": 0}
    assert minutes(row(0), row(60, **flat), row(120)) == [0, 2]
    assert minutes(row(0), row(60, **flat), row(120), market=INDEX) == [0, 2]


def test_a_row_without_a_count_is_a_bar_where_there_never_is_one() -> None:
    mids = {"volume": -1.0, "count": -1}
    assert minutes(row(0, **mids), row(60, **mids), market=FOREX) == [0, 1]
    assert minutes(row(0, volume=0.0, count=0), market=INDEX) == [0]


def test_only_whole_bars_of_the_stretch_count_in_order_and_once() -> None:
    rows = [row(after) for after in (540, -60, 60, 600, 0, 60)]
    assert minutes(*rows) == [0, 1, 9]


@pytest.mark.parametrize(
    "wrong",
    [
        {"time": "20270115"},
        {"time": str(BEGIN_S + 61)},
        {"time": "x"},
        {"high": nan},
        {"high": inf},
        {"low": 2.2},
        {"high": 2.2},
        {"open": nan},
        {"volume": nan},
    ],
    ids=repr,
)
def test_a_row_that_none_can_be_makes_the_answer_none(wrong: dict[str, object]) -> None:
    with pytest.raises(Unreadable, match="expected"):
        read([row(0), structs.replace(row(60), **wrong)], STOCK, 60, BEGIN, END)
