"""Gaps: what is missing of ten years of minutes, from the calendar to the list."""

import time
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal

from piker.core import tradingdays
from piker.core.calendars import sessions_of
from piker.core.gaps import gaps
from piker.core.spans import Pair
from piker.markets import Market
from tests.bench.result import Result, compare

NS = 1_000_000_000
HOUR = 3600 * NS
# 00:00 UTC is 09:00 in Tokyo: half days are moved so that their ends are in the morning session.
FROM_NS = HOUR + int(datetime(2016, 1, 1, tzinfo=UTC).timestamp()) * NS
TO_NS = int(datetime(2026, 1, 1, tzinfo=UTC).timestamp()) * NS
LONGEST_MS = 100.0
TOKYO = Market(
    fqme="7203.tsej.ib",
    venue_id="1",
    description="two sessions a day",
    asset_class="stock",
    currency="JPY",
    price_tick=Decimal(1),
    size_tick=Decimal(1),
    multiplier=Decimal(1),
    sessions=(),
    has_trades=True,
    has_volume=True,
    has_bid=True,
    has_ask=True,
)


def run() -> Iterator[Result]:
    """A market with two sessions a day; of each half day the last minute is missing."""
    covered = [(at, at + 12 * HOUR - 60 * NS) for at in range(FROM_NS, TO_NS, 12 * HOUR)]
    yield compare(
        "gaps",
        f"ten years of minutes, {len(covered):,} stretches covered",
        "ms",
        lambda: _search(covered),
        "what it may take",
        lambda: LONGEST_MS,
        more_is_better=False,
    )


def _search(covered: list[Pair]) -> float:
    """As the first search of a process, which has to make the days of these years."""
    tradingdays._of_year.cache_clear()
    began = time.perf_counter()
    found = gaps(sessions_of(TOKYO, FROM_NS, TO_NS), covered, FROM_NS, TO_NS, 60 * NS)
    took_ms = (time.perf_counter() - began) * 1e3
    assert found
    return took_ms
