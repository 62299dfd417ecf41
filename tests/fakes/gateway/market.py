"""One contract's market, which walks by itself and can be put where a test wants it: pure."""

from decimal import Decimal
from math import inf

from msgspec import Struct

from tests.fakes.gateway.catalog import Instrument, increment

_FARTHEST = 40
"""Steps from its first price after which the walk turns back."""


class Market(Struct, kw_only=True):
    """What a contract trades at; it moves by a step or none at a time."""

    instrument: Instrument
    last: Decimal
    high: Decimal
    low: Decimal
    close: Decimal
    volume: int
    closed: bool | None = None
    """None: as its hours say."""
    fills: bool = True
    """Whether orders that it crosses are filled by themselves."""
    dice: int

    @property
    def step(self) -> Decimal:
        """The distance between two prices here."""
        return increment(self.instrument, self.last)

    @property
    def bid(self) -> Decimal:
        """What a seller gets."""
        return self.last - self.step

    @property
    def ask(self) -> Decimal:
        """What a buyer pays."""
        return self.last + self.step

    def walk(self) -> None:
        """Move on; which way follows from the contract and from how often it moved."""
        self.dice = (self.dice * 1_103_515_245 + 12_345) % 2**31
        way = (self.dice >> 16) % 3 - 1
        away = (self.last - self.instrument.price) / self.step
        if abs(away) >= _FARTHEST:
            way = -1 if away > 0 else 1
        self.move(self.last + way * self.step)

    def move(self, price: Decimal) -> None:
        """Trade at a price."""
        self.last = price
        self.high, self.low = max(self.high, price), min(self.low, price)
        self.volume += 1 if "trade" in self.instrument.kinds else 0

    def fill_price(self, buys: bool, limit: Decimal | None) -> Decimal | None:
        """At what an order with this limit, or none, is filled now; None: it isn't."""
        touch = self.ask if buys else self.bid
        bound = limit if limit is not None else Decimal(inf if buys else -inf)
        return touch if (touch <= bound if buys else touch >= bound) else None


def open_market(instrument: Instrument) -> Market:
    """A contract's market where it begins."""
    price = instrument.price
    return Market(
        instrument=instrument,
        last=price,
        high=price,
        low=price,
        close=price,
        volume=instrument.volume,
        dice=instrument.con_id,
    )
