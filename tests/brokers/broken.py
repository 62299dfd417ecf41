"""A provider that breaks every promise, for the conformance suite to find out."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from decimal import Decimal

import trio
from msgspec.structs import replace

from piker.brokers import Batches, Provider, Subscribed, VenueLost, Wanted
from piker.interfaces.data import Match
from piker.markets import Market, Session
from piker.quotes import Quote, Tick

MARKET = Market(
    fqme="BAD.broken",
    venue_id="BAD",
    description="",
    asset_class="stock",
    currency="EUR",
    price_tick=Decimal("0.5"),
    size_tick=Decimal(0),
    multiplier=Decimal(1),
    sessions=(Session(open_ns=0, close_ns=2**62), Session(open_ns=1, close_ns=2)),
    has_trades=False,
    has_volume=False,
    has_bid=True,
    has_ask=True,
)

PROVIDER = Provider(
    name="broken",
    doc="",
    endpoints={
        "datad": {
            "open_venue": f"{__name__}:open_venue",
            "get_mkt_info": f"{__name__}:get_mkt_info",
            "stream_quotes": f"{__name__}:stream_quotes",
            "open_symbol_search": f"{__name__}:open_symbol_search",
            "open_history_client": f"{__name__}:missing",
        }
    },
)


@asynccontextmanager
async def open_venue(settings: object) -> AsyncIterator[None]:
    yield
    trio.lowlevel.spawn_system_task(trio.sleep, 1)


async def get_mkt_info(venue: object, name: str) -> Market:
    if name == "BAD.broken":
        return MARKET
    return replace(MARKET, fqme=f"not-{name}.broken")


@asynccontextmanager
async def open_symbol_search(venue: object) -> AsyncIterator[object]:
    async def find(pattern: str, limit: int) -> tuple[Match, ...]:
        found = "BAD.broken" if pattern == "" else "other.broken"
        return (Match(fqme=found, description=""),) * (limit + 1)

    yield find


async def stream_quotes(venue: object, wanted: Wanted, batches: Batches) -> None:
    ticks = (
        Tick(kind="bid", price=1.3, time_ns=2, seen_ns=3, derived=True),
        Tick(kind="bid", price=float("nan"), size=-1.0, time_ns=1, seen_ns=3),
    )
    await batches.send([Quote(market="BAD.broken", ticks=ticks), Subscribed(market=MARKET)])
    while True:
        await batches.send([Quote(market="unasked.broken", ticks=ticks)])
        await trio.lowlevel.checkpoint()


@asynccontextmanager
async def open_never(settings: object) -> AsyncIterator[None]:
    await trio.sleep(3600)
    yield


@asynccontextmanager
async def open_for_ever(settings: object) -> AsyncIterator[None]:
    yield
    await trio.sleep_forever()


def seven(*_: object) -> int:
    return 7


async def hang(*_: object) -> None:
    await trio.sleep_forever()


async def give_up(*_: object) -> None:
    """A stream that ends by itself."""


async def lose(*_: object) -> None:
    raise VenueLost("the venue said goodbye")


async def linger(*_: object) -> None:
    with trio.CancelScope(shield=True):
        await trio.sleep(3)
