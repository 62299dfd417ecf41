"""What any venue would refuse is refused by name: the field, its value, and what would do."""

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from piker.core.grid import on_grid, price_step
from piker.core.orderchecks import LARGEST_SIZE, NEVER_NEGATIVE, why_invalid
from piker.markets import AssetClass, Market, PriceBand

D = Decimal

FUTURE = Market(
    fqme="mnq.cme.fake",
    venue_id="MNQ",
    description="A future",
    asset_class="future",
    currency="USD",
    price_tick=D("0.25"),
    size_tick=D(1),
    multiplier=D(2),
    has_trades=True,
    has_volume=True,
    has_bid=True,
    has_ask=True,
)
STOCK = structs.replace(
    FUTURE,
    asset_class="stock",
    price_tick=D("0.0001"),
    price_bands=(PriceBand(from_price=D(1), price_tick=D("0.01")),),
)
GOOD: dict[str, Any] = {"side": "buy", "size": D(3), "kind": "limit", "limit": D("100.25")}


def problem(market: Market = FUTURE, **changed: Any) -> tuple[str, str] | None:
    """Field and value of what is wrong with a good order that was changed so."""
    found = why_invalid(market, **{**GOOD, **changed})
    return (found.field, found.value) if found else None


@pytest.mark.parametrize(
    "changed",
    [
        {},
        {"side": "sell"},
        {"size": LARGEST_SIZE},
        {"size": D("3.000")},
        {"limit": D("-0.25")},
        {"limit": D(0)},
        {"limit": D("1E+3")},
        {"kind": "market", "limit": None},
        {"kind": "dark", "limit": None, "trigger": D("99.75")},
        {"kind": "alert", "limit": None, "trigger": D("99.75"), "size": D(0)},
        {"tif": "ioc"},
        {"tif": "day"},
    ],
    ids=str,
)
def test_an_order_that_a_venue_would_take_has_no_fault(changed: dict[str, Any]) -> None:
    assert problem(**changed) is None


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *(("size", each) for each in ("0", "-1", "0.5", "1.000000000000000000000000000000001")),
        *(("size", each) for each in ("NaN", "sNaN", "Infinity", "-Infinity", "1E+15000", "-0")),
        *(("size", each) for each in ("1E-999999999", "1000000000000001")),
        *(("limit", each) for each in ("100.2", "100.2500000001", "NaN", "sNaN", "Infinity")),
        *(("limit", each) for each in ("1E+13", "-1E+13", "1E-999999999", "1E+999999")),
        *(("slip_max_pct", each) for each in ("-0.1", "NaN", "Infinity")),
        ("side", "hold"),
        ("tif", "fok"),
    ],
)
def test_what_no_venue_would_take_is_named_with_its_value(field: str, value: str) -> None:
    changed: dict[str, Any] = {field: value if field in ("side", "tif") else D(value)}
    assert problem(**changed) == (field, value)


@pytest.mark.parametrize("value", ["100.2", "NaN", "-0.3", "1E+13"])
def test_a_trigger_is_a_price_like_a_limit(value: str) -> None:
    assert problem(kind="dark", limit=None, trigger=D(value)) == ("trigger", value)


@pytest.mark.parametrize(
    ("changed", "field", "value"),
    [
        ({"limit": None}, "limit", "none"),
        ({"kind": "market"}, "limit", "100.25"),
        ({"kind": "dark"}, "limit", "100.25"),
        ({"kind": "dark", "limit": None}, "trigger", "none"),
        ({"trigger": D(1)}, "trigger", "1"),
        ({"kind": "alert", "limit": None, "trigger": D(1)}, "size", "3"),
        ({"slip_ticks": -1}, "slip_ticks", "-1"),
        ({"tif": "ioc", "tifs": ("gtc", "day")}, "tif", "ioc"),
    ],
    ids=str,
)
def test_what_a_kind_of_order_needs_or_cannot_have_is_said(
    changed: dict[str, Any], field: str, value: str
) -> None:
    assert problem(**changed) == (field, value)


@pytest.mark.parametrize("asset_class", sorted(NEVER_NEGATIVE))
@pytest.mark.parametrize("price", ["0", "-1"])
def test_some_things_never_have_a_price_of_zero_or_less(
    asset_class: AssetClass, price: str
) -> None:
    market = structs.replace(FUTURE, asset_class=asset_class)
    assert problem(market, limit=D(price)) == ("limit", price)


@pytest.mark.parametrize("asset_class", ["future", "commodity", "index", "simulated"])
def test_others_may_be_had_for_less_than_nothing(asset_class: AssetClass) -> None:
    assert problem(structs.replace(FUTURE, asset_class=asset_class), limit=D("-37.50")) is None


def test_each_price_band_has_its_own_grid() -> None:
    assert problem(STOCK, limit=D("0.9999")) is None
    assert problem(STOCK, limit=D("1.01")) is None
    assert problem(STOCK, limit=D("1.0001")) == ("limit", "1.0001")


def test_a_price_off_the_grid_is_refused_with_its_neighbours() -> None:
    found = why_invalid(FUTURE, **{**GOOD, "limit": D("100.3")})
    assert found is not None
    assert found.allowed == "a multiple of 0.25, as 100.25 or 100.50"


@pytest.mark.parametrize(
    ("market", "changed", "allowed"),
    [
        (FUTURE, {"size": D("0.5")}, "a multiple of 1, as 1"),
        (FUTURE, {"size": D("1.5")}, "a multiple of 1, as 1 or 2"),
        (FUTURE, {"limit": D("0.1")}, "a multiple of 0.25, as 0.00 or 0.25"),
        (STOCK, {"limit": D("0.00001")}, "a multiple of 0.0001, as 0.0001"),
    ],
)
def test_no_neighbour_is_named_that_would_be_refused_as_well(
    market: Market, changed: dict[str, Any], allowed: str
) -> None:
    found = why_invalid(market, **{**GOOD, **changed})
    assert found is not None
    assert found.allowed == allowed


@given(
    st.decimals(min_value=-1000, max_value=1000, places=6),
    st.sampled_from([D("0.25"), D("0.01"), D("0.00005"), D(3), D("1E+1")]),
)
def test_a_price_is_on_the_grid_if_whole_steps_reach_it(price: Decimal, step: Decimal) -> None:
    market = structs.replace(FUTURE, price_tick=step)
    assert price_step(market, price) == step
    assert on_grid(step, price) == ((price / step) % 1 == 0)
