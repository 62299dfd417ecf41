"""Whether an order can be one in its market: what any venue would refuse, said before it is asked.

Nothing is rounded: a price is on the grid of its market, or it is refused with its neighbours.
"""

from collections.abc import Collection, Iterator
from decimal import ROUND_FLOOR, Decimal
from itertools import chain
from typing import get_args

from piker.core.grid import EXACT, on_grid, price_step
from piker.interfaces.broker import InvalidOrder
from piker.markets import AssetClass, Market
from piker.orders import NOTHING, SLIP_MAX_PCT, SLIP_TICKS, OrderKind, Side, Tif

LARGEST_SIZE = Decimal(10**15)
"""Sizes are shown as floats, which count so far without a gap. More is a slip of the finger."""
LARGEST_PRICE = Decimal(10**12)
NEVER_NEGATIVE: frozenset[AssetClass] = frozenset({"stock", "forex", "crypto", "option"})
"""Their prices are above zero. A spread of futures, say, may trade at any price."""
SIDES: tuple[Side, ...] = get_args(Side)
TIFS: tuple[Tif, ...] = get_args(Tif)


def why_invalid(
    market: Market,
    *,
    side: Side,
    size: Decimal,
    kind: OrderKind,
    limit: Decimal | None = None,
    trigger: Decimal | None = None,
    tif: Tif = "gtc",
    tifs: Collection[Tif] = TIFS,
    slip_ticks: int = SLIP_TICKS,
    slip_max_pct: Decimal = SLIP_MAX_PCT,
) -> InvalidOrder | None:
    """What is wrong with an order in its market, or None. `tifs` are those that can be done."""
    problems = chain(
        _unlisted("side", side, SIDES),
        _unlisted("tif", tif, tifs),
        _bad_size(market, size, kind),
        _bad_price(market, "limit", limit, wanted=kind == "limit"),
        _bad_price(market, "trigger", trigger, wanted=kind in ("dark", "alert")),
        _bad_slip("slip_ticks", Decimal(slip_ticks)),
        _bad_slip("slip_max_pct", slip_max_pct),
    )
    return next(problems, None)


def _unlisted(field: str, value: str, allowed: Collection[str]) -> Iterator[InvalidOrder]:
    if value not in allowed:
        yield InvalidOrder(field=field, value=value, allowed=" or ".join(allowed))


def _bad_size(market: Market, size: Decimal, kind: OrderKind) -> Iterator[InvalidOrder]:
    tick = market.size_tick
    if kind == "alert":
        if not (size.is_finite() and size == NOTHING):
            yield _invalid("size", size, "0, an alert trades nothing")
    elif not (size.is_finite() and NOTHING < size <= LARGEST_SIZE):
        yield _invalid("size", size, f"{tick:f} to {LARGEST_SIZE:f} in steps of {tick:f}")
    elif not on_grid(tick, size):
        near = _neighbours(tick, size, above_zero=True)
        yield _invalid("size", size, f"a multiple of {tick:f}, as {near}")


def _bad_price(
    market: Market, field: str, price: Decimal | None, *, wanted: bool
) -> Iterator[InvalidOrder]:
    if price is None:
        if wanted:
            yield InvalidOrder(field=field, value="none", allowed="a price")
    elif not wanted:
        yield _invalid(field, price, "none, orders of this kind have no such price")
    elif not price.is_finite() or price.copy_abs() > LARGEST_PRICE:
        yield _invalid(field, price, f"a price of at most {LARGEST_PRICE:f}")
    elif market.asset_class in NEVER_NEGATIVE and price <= NOTHING:
        yield _invalid(field, price, f"above 0, as all prices of its kind, {market.asset_class}")
    elif not on_grid(step := price_step(market, price), price):
        near = _neighbours(step, price, above_zero=market.asset_class in NEVER_NEGATIVE)
        yield _invalid(field, price, f"a multiple of {step:f}, as {near}")


def _bad_slip(field: str, slip: Decimal) -> Iterator[InvalidOrder]:
    if not (slip.is_finite() and NOTHING <= slip <= LARGEST_PRICE):
        yield _invalid(field, slip, f"0 to {LARGEST_PRICE:f}")


def _neighbours(step: Decimal, value: Decimal, *, above_zero: bool) -> str:
    """The two whole numbers of steps that are nearest, for a person, or the one that will do."""
    steps = EXACT.divide(value, step).to_integral_value(ROUND_FLOOR, context=EXACT)
    below = EXACT.multiply(steps, step)
    above = EXACT.add(below, step)
    return f"{above:f}" if above_zero and not below else f"{below:f} or {above:f}"


def _invalid(field: str, value: Decimal, allowed: str) -> InvalidOrder:
    return InvalidOrder(field=field, value=str(value), allowed=allowed)
