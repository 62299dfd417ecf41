"""How bars of the past are asked for at Interactive Brokers, and read.

For a period without a trade the gateway carries the row before forward: all four prices are its
close, and the count of trades is 0. Such rows are left out. Of mids (MIDPOINT) the count is always
-1, so that what is carried forward can't be told from a mid that stood still, and all rows count.
"""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from math import isfinite

from piker.brokers.ib.messages import AskBars, Contract, PastBar
from piker.core.periods import NS
from piker.markets import Market
from piker.quotes import Bar

SIZES: Mapping[int, str] = {1: "1 secs", 60: "1 min"}
FRAMES: Mapping[int, int] = {1: 1_800 * NS, 60: 86_400 * NS}
"""The longest stretch of one request for bars so long ("Step Sizes" of IB's documentation)."""
DAY_NS = 86_400 * NS
SECONDS_NS = 183 * DAY_NS
"""Bars of less than half a minute are kept for six months (the same, "Limitations")."""


class Unreadable(Exception):
    """A bar that none can be; the text says what was expected."""


def kind(market: Market) -> str:
    """Of what its bars are: trades, where it shows any. Of crypto IB has sums of them only."""
    if not market.has_trades:
        return "MIDPOINT"
    return "AGGTRADES" if market.asset_class == "crypto" else "TRADES"


def question(
    market: Market, contract: Contract, period_s: int, from_ns: int, to_ns: int
) -> AskBars:
    """What asks for the bars of a stretch."""
    end = datetime.fromtimestamp(to_ns // NS, UTC)
    return AskBars(
        contract=contract,
        end=f"{end:%Y%m%d-%H:%M:%S}",
        duration=f"{(to_ns - from_ns) // NS} S",
        bar_size=SIZES[period_s],
        what=kind(market),
    )


def read(
    said: Iterable[PastBar], market: Market, period_s: int, from_ns: int, to_ns: int
) -> tuple[Bar, ...]:
    """The bars of a stretch, oldest first, each time once. Raises Unreadable."""
    bars = [_bar(each, market, period_s) for each in said if not _carried(each, market)]
    last_ns = to_ns - period_s * NS
    found = {bar.time_ns: bar for bar in bars if from_ns <= bar.time_ns <= last_ns}
    return tuple(found[time_ns] for time_ns in sorted(found))


def _carried(each: PastBar, market: Market) -> bool:
    """Whether it is the row before, carried forward. Indices have no sizes, perhaps no counts."""
    flat = each.open == each.high == each.low == each.close
    return each.count == 0 and (flat or market.has_volume)


def _bar(each: PastBar, market: Market, period_s: int) -> Bar:
    """What one row says. Raises Unreadable."""
    if not each.time.isdigit() or int(each.time) % period_s:
        raise Unreadable(f"expected a time on {period_s} s, was {each.time!r}")
    body = min(each.open, each.close), max(each.open, each.close)
    sound = isfinite(each.high - each.low) and each.low <= body[0] <= body[1] <= each.high
    if not sound or (market.has_volume and not isfinite(each.volume)):
        raise Unreadable(f"expected prices from low to high, was {each}")
    return Bar(
        time_ns=int(each.time) * NS,
        open=each.open,
        high=each.high,
        low=each.low,
        close=each.close,
        volume=max(each.volume, 0.0) if market.has_volume else 0.0,
        trades=max(each.count, 0),
        derived=not market.has_trades,
    )
