"""A hundred markets at once, for long: no tick is lost, and memory doesn't grow.

In short; `make bench ONLY=ib_feed` has an hour's worth of ten ticks a second each.
"""

from pathlib import Path

from tests.brokers.ib.flooding import flood

MARKETS, TRADES = 100, 1000
MOST_MB = 10.0


async def test_a_hundred_markets_lose_no_tick_and_leave_nothing_behind(home: Path) -> None:
    outcome = await flood(home, MARKETS, TRADES)
    assert outcome.ticks == MARKETS * TRADES
    assert outcome.sizes == MARKETS * TRADES * (TRADES + 1) // 2
    assert outcome.grown_mb <= MOST_MB
