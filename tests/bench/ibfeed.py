"""An hour of a hundred markets at ten ticks a second each, as fast as datad@ib takes them.

Of its own process the gateway is the fake one. No tick may be lost; the figures are the rate, and
what datad's memory has grown by.
"""

import os
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from unittest.mock import patch

import trio

from tests.bench.result import Result
from tests.brokers.ib.flooding import Outcome, flood

MARKETS, HZ, HOUR_S = 100, 10, 3600
MOST_MB = 10.0


def run() -> Iterator[Result]:
    """One row of the rate, one of the memory. A lost tick ends it."""
    outcome = _flood(HZ * HOUR_S)
    rate = outcome.ticks / outcome.seconds
    yield Result(
        bench="ib_feed",
        case="100 markets, an hour's 3,600,000 trades",
        value=round(rate),
        unit="ticks/s",
        peer="10 ticks/s each",
        peer_value=MARKETS * HZ,
        ratio=round(rate / (MARKETS * HZ), 2),
    )
    yield Result(
        bench="ib_feed",
        case="datad, grown by then, RSS",
        value=round(outcome.grown_mb, 1),
        unit="MB",
        peer="at most",
        peer_value=MOST_MB,
        ratio=round(MOST_MB / max(outcome.grown_mb, 0.1), 2),
    )


def _flood(trades: int) -> Outcome:
    with TemporaryDirectory(prefix="pb-", dir="/tmp") as home:
        names = ("XDG_RUNTIME_DIR", "XDG_CONFIG_HOME", "XDG_STATE_HOME", "PIKER_ETC")
        with patch.dict(os.environ, dict.fromkeys(names, home)):
            outcome = trio.run(flood, Path(home), MARKETS, trades)
    expected = MARKETS * trades, MARKETS * trades * (trades + 1) // 2
    if (outcome.ticks, outcome.sizes) != expected:
        raise RuntimeError(f"expected {expected}, was {outcome}")
    return outcome
