"""Ticks to put on disk."""

from decimal import Decimal
from pathlib import Path

from piker.core.tickcolumns import TickColumns
from piker.coverage import Span
from piker.markets import Market
from piker.quotes import Quote, Tick
from piker.store.tickfiles import About, TickFiles

MARKET = Market(
    fqme="brk/b.nyse.fake",
    venue_id="BRK B",
    description="Berkshire",
    asset_class="stock",
    currency="USD",
    price_tick=Decimal("0.01"),
    size_tick=Decimal(1),
    multiplier=Decimal(1),
    has_trades=True,
    has_volume=True,
    has_bid=True,
    has_ask=True,
)
NOON_NS = 1_800_014_400_000_000_000
DAY = "2027-01-15"


def columns(*messages: int) -> TickColumns:
    """Of each message a bid and a trade of its number, then a sign of life."""
    ticks = TickColumns()
    for number in messages:
        time_ns = NOON_NS + number
        bid = Tick(kind="bid", price=number, time_ns=time_ns, seen_ns=7, delayed=True)
        trade = Tick(kind="trade", price=0.5, size=number, time_ns=time_ns, seen_ns=8)
        quote = Quote(market=MARKET.fqme, ticks=(bid, trade))
        ticks.add(quote, number, time_ns + 10, 10)
        ticks.add(Quote(market=MARKET.fqme, ticks=()), number, time_ns + 10, 10)
    return ticks


def said(*messages: int) -> About:
    """Of a file with these messages."""
    span = Span(from_ns=NOON_NS + messages[0], to_ns=NOON_NS + messages[-1] + 1, how="live")
    return About(version=1, market=MARKET, spans=(span,), next_message=messages[-1] + 1)


def written(files: TickFiles, *messages: int, day: str = DAY) -> Path:
    return files.write(day, columns(*messages), said(*messages))


def plain(ticks: TickColumns) -> list[str]:
    """What two of them can be compared by: NaN is not itself."""
    return [str(column) for column in ticks.columns]
