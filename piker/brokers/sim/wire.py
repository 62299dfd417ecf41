"""What a simulated market says: a random walk on its grid, the same for the same seed."""

from collections.abc import Sequence
from decimal import Decimal

from piker.markets import Market
from piker.quotes import Quote, Tick

PRICE_TICK = 0.25

LOWEST, HIGHEST = 400, 40_000
"""Ticks between which markets begin. None falls below the lowest."""

STEPS = (-1, 0, 0, 1)

BITS = (1 << 64) - 1


class Walk:
    """One market's quotes, without end: bid and ask, and in seven of eight a trade at one of them.

    Each quote takes one number of Knuth's 64-bit congruential generator (MMIX) and reads it from
    the top, where such a generator is good.
    """

    __slots__ = ("_fqme", "_level", "_state")

    def __init__(self, fqme: str, seed: int, number: int) -> None:
        self._fqme = fqme
        self._state = mix(mix(seed) + number)
        self._level = LOWEST + self._state % (HIGHEST - LOWEST)
        """The bid, in ticks."""

    def quote(self, time_ns: int, seen_ns: int) -> Quote:
        """The next quote."""
        self._state = state = (self._state * 6364136223846793005 + 1442695040888963407) & BITS
        self._level = level = max(LOWEST, self._level + STEPS[state >> 62])
        bid = level * PRICE_TICK
        ask = bid + (PRICE_TICK if state >> 60 & 3 else 2 * PRICE_TICK)
        bids, asks, traded = state >> 54 & 63, state >> 48 & 63, state >> 40 & 15
        ticks: tuple[Tick, ...] = (
            Tick(kind="bid", price=bid, size=1.0 + bids, time_ns=time_ns, seen_ns=seen_ns),
            Tick(kind="ask", price=ask, size=1.0 + asks, time_ns=time_ns, seen_ns=seen_ns),
        )
        if state >> 45 & 7:
            last = ask if state >> 44 & 1 else bid
            trade = Tick(
                kind="trade", price=last, size=1.0 + traded, time_ns=time_ns, seen_ns=seen_ns
            )
            ticks = (*ticks, trade)
        return Quote(market=self._fqme, ticks=ticks)


def quotes(
    walks: Sequence[Walk], first: int, count: int, time_ns: int, seen_ns: int
) -> list[Quote]:
    """So many quotes of these markets in turn, the market whose turn is `first` first."""
    many = len(walks)
    return [walks[turn % many].quote(time_ns, seen_ns) for turn in range(first, first + count)]


def mix(number: int) -> int:
    """A number of 64 bits scattered over all of them (the finalizer of splitmix64)."""
    number = (number + 0x9E3779B97F4A7C15) & BITS
    number = (number ^ number >> 30) * 0xBF58476D1CE4E5B9 & BITS
    number = (number ^ number >> 27) * 0x94D049BB133111EB & BITS
    return number ^ number >> 31


def name(number: int) -> str:
    """The fqme of a market."""
    return f"s{number:04d}.xsim.sim"


def describe(fqme: str) -> Market:
    """A simulated market: it trades day and night."""
    return Market(
        fqme=fqme,
        venue_id=fqme.partition(".")[0],
        description="simulated market",
        asset_class="simulated",
        currency="USD",
        price_tick=Decimal(str(PRICE_TICK)),
        size_tick=Decimal(1),
        multiplier=Decimal(1),
        has_trades=True,
        has_volume=True,
        has_bid=True,
        has_ask=True,
    )
