"""Ticks a second into bars of 1 s and 60 s in shared memory, of one market and of a thousand."""

import resource
import time
from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial
from typing import Any

import numpy as np

from piker.barkeeper import BarKeeper
from piker.brokers.sim.wire import describe, name
from piker.core.bars import PERIODS_S, ROW
from piker.core.marketdata import MarketData
from piker.notify import Manager
from piker.quotes import Quote, Tick
from tests.bench.result import Result, compare

TICKS = 200_000
BEGIN_NS = 1_700_000_000_000_000_000
CASES = {
    "1 market, 1 s and 60 s": (1, 5_000),
    "1,000 markets, 200 ticks/s each": (1_000, 5_000),
    "1,000 markets, a row a tick": (1_000, 1_000_000),
}
"""Markets, and ns between ticks: 200,000 a second, or so few that each begins a bar."""
DESCRIPTORS = 8192


def run() -> Iterator[Result]:
    """One row a case."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(DESCRIPTORS, hard), hard))
    for case, (markets, step_ns) in CASES.items():
        quotes = _quotes(markets, step_ns)
        rows = TICKS * step_ns // 1_000_000_000 + 2
        yield compare(
            "bars",
            case,
            "ticks/s",
            partial(_keep, markets, quotes),
            "fields of a numpy record",
            partial(_by_records, markets, quotes, rows),
            more_is_better=True,
        )


def _quotes(markets: int, step_ns: int) -> list[Quote]:
    return [
        Quote(
            market=name(number % markets),
            ticks=(
                Tick(
                    kind="trade",
                    price=100 + number % 7 / 4,
                    size=1.0,
                    time_ns=BEGIN_NS + number * step_ns,
                    seen_ns=number,
                ),
            ),
        )
        for number in range(TICKS)
    ]


def _keep(markets: int, quotes: list[Quote]) -> float:
    keeper = BarKeeper(Manager())
    names = [name(number) for number in range(markets)]
    followed = {fqme: MarketData(describe(fqme), BEGIN_NS) for fqme in names}
    with ExitStack() as stack:
        for fqme in names:
            for period_s in PERIODS_S:
                series = stack.enter_context(keeper.reading(fqme, period_s))
                stack.callback(series.bars.close)
                series.bars.writer.closed_to_ns = 0  # the ticks are of the past
        began = time.perf_counter()
        for quote in quotes:
            keeper.take(followed[quote.market], quote)
        return TICKS / (time.perf_counter() - began)


def _by_records(markets: int, quotes: list[Quote], rows: int) -> float:
    """The same bars, through the fields of a structured array's rows."""
    tables = {
        name(number): {
            period_s: [np.zeros(rows, dtype=np.dtype(ROW)), -1] for period_s in PERIODS_S
        }
        for number in range(markets)
    }
    began = time.perf_counter()
    for quote in quotes:
        tick = quote.ticks[0]
        for period_s, table in tables[quote.market].items():
            _update(table, tick.time_ns - tick.time_ns % (period_s * 1_000_000_000), tick)
    return TICKS / (time.perf_counter() - began)


def _update(table: list[Any], start_ns: int, tick: Tick) -> None:
    array, newest = table
    if newest < 0 or array[newest]["time_ns"] != start_ns:
        table[1] = newest = newest + 1
        array[newest] = (start_ns, *(4 * (tick.price,)), tick.size, 1, 0)
        return
    row = array[newest]
    row["high"] = max(row["high"], tick.price)
    row["low"] = min(row["low"], tick.price)
    row["close"] = tick.price
    row["volume"] += tick.size
    row["trades"] += 1
