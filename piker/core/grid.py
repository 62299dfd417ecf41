"""A market's grid of prices: steps of a tick, by price band where it has bands."""

from decimal import Decimal

from piker.markets import Market


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
