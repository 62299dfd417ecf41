"""A provider for the benchmarks: sim's generator, with a gate and an end.

It sends so many quotes of one market, at a rate or as fast as possible, when the gate opens: when
the FIFO that its settings name is opened for writing.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import trio

from piker import brokers
from piker.brokers import Batch, Batches, Subscribed, Wanted
from piker.brokers.sim.wire import Walk, describe
from piker.clock import boot_ns, wall_ns
from piker.markets import Market

FQME = "s0000.xsim.burst"
BATCH = 256


class Settings(brokers.Settings, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How many, how fast (0: as fast as possible), and what it waits for."""

    quotes: int = 0
    rate_hz: float = 0.0
    gate: str = ""


@asynccontextmanager
async def open_venue(settings: Settings) -> AsyncIterator[Settings]:
    """The settings are all there is to share."""
    yield settings


async def get_mkt_info(venue: Settings, name: str) -> Market:
    """The one market."""
    return describe(FQME)


async def stream_quotes(venue: Settings, wanted: Wanted, batches: Batches) -> None:
    """Wait at the gate, then send."""
    await batches.send([Subscribed(market=describe(FQME))])
    await trio.to_thread.run_sync(Path(venue.gate).read_bytes, abandon_on_cancel=True)
    walk = Walk(FQME, 1, 0)
    start = trio.current_time()
    for count in range(0, venue.quotes, 1 if venue.rate_hz else BATCH):
        if venue.rate_hz:
            await trio.sleep_until(start + count / venue.rate_hz)
        await batches.send(batch(walk, min(venue.quotes - count, 1 if venue.rate_hz else BATCH)))
    await trio.sleep_forever()


def batch(walk: Walk, count: int) -> Batch:
    """So many quotes, as they are made now."""
    wall, boot = wall_ns(), boot_ns()
    return [walk.quote(wall, boot) for _ in range(count)]


PROVIDER = brokers.Provider(
    name="burst",
    doc="sim's generator with a gate and an end, for the benchmarks.",
    endpoints={
        "datad": {
            "open_venue": "tests.bench.burst:open_venue",
            "get_mkt_info": "tests.bench.burst:get_mkt_info",
            "stream_quotes": "tests.bench.burst:stream_quotes",
        }
    },
    settings=Settings,
)
