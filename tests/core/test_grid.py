"""A price is on the grid of its market's ticks, and no step drifts off it."""

from decimal import Decimal
from fractions import Fraction
from math import floor

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from piker.core.grid import Grid, grid_at, middle
from piker.markets import Market, PriceBand


def market(price_tick: str, **bands: str) -> Market:
    """A market with a tick, and with other ticks from prices up: `_1="0.05"`."""
    return Market(
        fqme="a.b.sim",
        venue_id="a",
        description="",
        asset_class="simulated",
        currency="USD",
        price_tick=Decimal(price_tick),
        price_bands=tuple(
            PriceBand(from_price=Decimal(price[1:].replace("_", ".")), price_tick=Decimal(tick))
            for price, tick in bands.items()
        ),
        size_tick=Decimal(1),
        multiplier=Decimal(1),
        has_trades=True,
        has_volume=True,
        has_bid=True,
        has_ask=True,
    )


@pytest.mark.parametrize(
    ("tick", "price", "steps", "expected"),
    [
        ("0.25", 15000.25, 1, 15000.5),
        ("0.25", 15000.25, -1, 15000.0),
        ("0.00001", 1.08453, 1, 1.08454),
        ("0.00001", 1.08453, -3, 1.0845),
        ("0.05", 0.1, 1, 0.15),
        ("0.05", 0.15, 1, 0.2),
        ("0.2", 3945.6, 1, 3945.8),
        ("0.2", 3945.6, -2, 3945.2),
        ("0.1", 0.2, 1, 0.3),
        ("0.0333333", 0.0666666, 1, 0.0999999),
        ("0.3333333333", 1, 0, 0.9999999999),
        ("0.03125", 110.96875, 1, 111.0),
        ("3", 7, 1, 9),
        ("5", 12.5, 0, 15),
        ("0.01", -37.63, 1, -37.62),
        ("0.01", 0.004, -1, -0.01),
        ("1E-8", 1e-8, 1, 2e-8),
        ("100", 1e300, 0, 1e300),
    ],
)
def test_a_step_gives_the_float_nearest_to_the_decimal_price(
    tick: str, price: float, steps: int, expected: float
) -> None:
    assert Grid(Decimal(tick)).step(price, steps) == expected


TICKS = st.decimals("0.000001", "1000", places=6).filter(bool)


@given(price=st.floats(-1e12, 1e12), steps=st.integers(-1000, 1000), tick=TICKS)
def test_a_step_is_a_whole_number_of_ticks_exactly(price: float, steps: int, tick: Decimal) -> None:
    nearest = floor(Fraction(price) / Fraction(tick) + Fraction(1, 2))
    assert Grid(tick).step(price, steps) == float((nearest + steps) * tick)


@given(count=st.integers(-(10**9), 10**9), tick=TICKS)
def test_a_price_on_the_grid_stays_where_it_is(count: int, tick: Decimal) -> None:
    price = float(count * tick)
    assert Grid(tick).step(price, 0) == price
    assert Grid(tick).step(Grid(tick).step(price, 7), -7) == price


@given(price=st.floats(-1e300, 1e300), tick=TICKS)
def test_no_finite_price_breaks_the_arithmetic(price: float, tick: Decimal) -> None:
    assert Grid(tick).step(price, -1) <= price <= Grid(tick).step(price, 1)


@pytest.mark.parametrize("tick", ["0", "-0.25", "NaN"])
def test_a_tick_that_is_no_step_is_refused(tick: str) -> None:
    with pytest.raises((ValueError, ArithmeticError)):
        Grid(Decimal(tick))


@pytest.mark.parametrize(
    ("price", "above"),
    [
        (0.0, 0.0001),
        (0.2999, 0.3),
        (0.3, 0.31),
        (0.99, 1.0),
        (1.0, 1.05),
        (5000.0, 5000.05),
        (-2.0, -1.9999),
    ],
)
def test_the_band_that_a_price_is_in_gives_its_tick(price: float, above: float) -> None:
    banded = market("0.0001", _0_3="0.01", _1="0.05")
    assert grid_at(banded, price).step(price, 1) == above


def test_a_market_without_bands_has_one_grid() -> None:
    assert grid_at(market("0.25"), 1e6).step(1e6, 1) == 1e6 + 0.25


@example(bid=-151, spread=309, digits=1)
@given(
    bid=st.integers(min_value=-(10**13), max_value=10**13),
    spread=st.integers(min_value=0, max_value=10**6),
    digits=st.integers(min_value=0, max_value=12),
)
def test_the_middle_of_two_prices_is_the_decimal_that_it_is(
    bid: int, spread: int, digits: int
) -> None:
    low, high = (Decimal(each).scaleb(-digits) for each in (bid, bid + spread))
    assert middle(float(low), float(high)) == float((low + high) / 2)
