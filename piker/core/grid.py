"""A market's grid of prices: steps of a tick, by price band where it has bands."""

from decimal import MAX_EMAX, MIN_EMIN, Context, Decimal
from fractions import Fraction
from math import ceil, floor

from piker.markets import Market

EXACT = Context(prec=120, Emin=MIN_EMIN, Emax=MAX_EMAX, traps=[])
"""Wide enough for any price or size that may be in an order, in steps of 1E-100."""


class Grid:
    """Steps on one tick. Prices are computed as a ratio of integers, so that none drifts."""

    def __init__(self, price_tick: Decimal) -> None:
        if not price_tick > 0:
            raise ValueError(f"expected a price tick above 0, was {price_tick}")
        self._up, self._down = price_tick.as_integer_ratio()

    def step(self, price: float, steps: int) -> float:
        """The price on the grid that is so many steps from the one nearest to `price`."""
        numerator, denominator = price.as_integer_ratio()
        unit = denominator * self._up
        nearest = (2 * numerator * self._down + unit) // (2 * unit)
        return (nearest + steps) * self._up / self._down


def grid_at(market: Market, price: float) -> Grid:
    """The grid that a market has at a price. Below the lowest band it is `price_tick`."""
    tick = market.price_tick
    for band in market.price_bands:
        if price >= float(band.from_price):
            tick = band.price_tick
    return Grid(tick)


def middle(bid: float, ask: float) -> float:
    """Half-way between two prices, as the decimal that it is.

    In floats half of 1.09995 + 1.10025 is 1.1000999999999999, by which a level of 1.1001 would be
    missed.
    """
    return float((Decimal(repr(bid)) + Decimal(repr(ask))) / 2)


def price_step(market: Market, price: Decimal | Fraction) -> Decimal:
    """The step of a market's grid at a price. Below the lowest band it is `price_tick`."""
    steps = [band.price_tick for band in market.price_bands if band.from_price <= price]
    return steps[-1] if steps else market.price_tick


def on_grid(step: Decimal, value: Decimal) -> bool:
    """Whether a finite number is a whole number of steps."""
    return not EXACT.remainder(value, step)


def highest_up_to(market: Market, price: Fraction) -> Decimal:
    """The highest price on the grid that isn't above this one."""
    step = price_step(market, price)
    below = floor(price / Fraction(step)) * step
    for start in (Fraction(band.from_price) for band in reversed(market.price_bands)):
        if Fraction(below) < start <= price:  # out of its band, into the next lower one
            step = _step_under(market, start)
            below = (ceil(start / Fraction(step)) - 1) * step
    return below


def lowest_from(market: Market, price: Fraction) -> Decimal:
    """The lowest price on the grid that isn't below this one."""
    above = _up(price, price_step(market, price))
    for band in market.price_bands:
        start = Fraction(band.from_price)
        if price < start <= Fraction(above):
            above = _up(start, band.price_tick)
    return above


def _step_under(market: Market, price: Fraction) -> Decimal:
    """The step just below a price."""
    steps = [band.price_tick for band in market.price_bands if band.from_price < price]
    return steps[-1] if steps else market.price_tick


def _up(price: Fraction, step: Decimal) -> Decimal:
    return ceil(price / Fraction(step)) * step
