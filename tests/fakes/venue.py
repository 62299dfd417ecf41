"""A provider in a test's hands, and a datad that follows it."""

from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from decimal import Decimal
from math import inf
from types import MappingProxyType
from typing import Any

import trio
from msgspec import structs

from piker import clock
from piker.archive import Archive
from piker.brokers import (
    Batch,
    Batches,
    FeedEvent,
    Find,
    Limits,
    Provider,
    Subscribed,
    VenueLost,
    Wanted,
)
from piker.core import windows
from piker.datad import Datad
from piker.errors import Refused
from piker.interfaces.data import (
    DATA,
    AmbiguousMarket,
    Bars,
    BarsReply,
    Match,
    NoSuchMarket,
    Watch,
    WatchReply,
)
from piker.interfaces.introspection import InvalidParameter
from piker.markets import Market, MarketState
from piker.notify import Manager
from piker.quotes import Kind, Quote, Tick
from piker.service import Service
from piker.sharedbars import BarReader
from piker.varlink import Server
from tests.fakes.past import Past, open_history_client
from tests.fakes.switchboard import Switchboard, a_switchboard
from tests.fakes.unkept import unkept

EURUSD = Market(
    fqme="eurusd.spot.fake",
    venue_id="EURUSD",
    description="Euro against dollar",
    asset_class="stock",  # at no exchange: foreign exchange is closed when tests run on a Sunday
    currency="USD",
    price_tick=Decimal("0.01"),
    size_tick=Decimal(1),
    multiplier=Decimal(1),
    has_trades=True,
    has_volume=True,
    has_bid=True,
    has_ask=True,
)
GBPUSD = structs.replace(EURUSD, fqme="gbpusd.spot.fake", venue_id="GBPUSD", description="Pound")
EURGBP = structs.replace(EURUSD, fqme="eurgbp.spot.fake", venue_id="EURGBP", description="Cross")
MARKETS = (EURUSD, GBPUSD, EURGBP)


def tick(kind: Kind, price: float, size: float | None = None, *, time_ns: int = 0) -> Tick:
    """A tick of now, or of a given time."""
    return Tick(
        kind=kind,
        price=price,
        size=size,
        time_ns=time_ns or clock.wall_ns(),
        seen_ns=clock.boot_ns(),
    )


def quote(*ticks: Tick, market: Market = EURUSD) -> Quote:
    """A message of the venue."""
    return Quote(market=market.fqme, ticks=ticks)


PATIENCE_S = 1000
"""No test waits for longer, in virtual time."""


class Venue:
    """Does what the test says, and counts."""

    def __init__(self, *markets: Market) -> None:
        self.markets = markets or MARKETS
        self.followed: frozenset[Market] = frozenset()
        self.sessions = 0
        self.session_times: list[float] = []
        self.away = ""
        self.mute = False
        self.past = Past()
        self._script, self._scripted = trio.open_memory_channel[Batch | Exception](inf)

    def say(self, *events: FeedEvent) -> None:
        """Send a batch; in the next session, if there is none."""
        self._script.send_nowait(events)

    def fail(self, error: Exception) -> None:
        """End the session, after what was said."""
        self._script.send_nowait(error)

    async def get_market(self, name: str) -> Market:
        """As the contract of `get_mkt_info` has it."""
        if self.mute:
            await trio.sleep_forever()
        if self.away:
            raise VenueLost(self.away)
        if "!" in name:
            raise Refused(InvalidParameter(parameter=f"market: expected one without !, was {name}"))
        found = [each for each in self.markets if each.fqme.startswith(name.lower())]
        if len(found) == 1:
            return found[0]
        names = tuple(each.fqme for each in found)
        if found:
            raise Refused(AmbiguousMarket(market=name, candidates=names))
        raise Refused(NoSuchMarket(market=name, similar=(self.markets[0].fqme,)))

    async def stream(self, wanted: Wanted, batches: Batches) -> None:
        """One session."""
        self.sessions += 1
        self.session_times.append(trio.current_time())
        self.followed = frozenset()
        if self.away:
            raise VenueLost(self.away)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._subscribe, wanted, batches)
            end = await self._play(batches)
            nursery.cancel_scope.cancel()
        raise end

    async def _subscribe(self, wanted: Wanted, batches: Batches) -> None:
        while True:
            markets = wanted.look()
            new, self.followed = markets - self.followed, markets
            await batches.send([Subscribed(market=each) for each in new])
            await wanted.changed()

    async def _play(self, batches: Batches) -> Exception:
        async for said in self._scripted:
            if isinstance(said, Exception):
                return said
            await batches.send(said)
        raise AssertionError("the script has no end")


async def get_mkt_info(venue: Venue, name: str) -> Market:
    """Endpoint."""
    return await venue.get_market(name)


async def stream_quotes(venue: Venue, wanted: Wanted, batches: Batches) -> None:
    """Endpoint."""
    await venue.stream(wanted, batches)


@asynccontextmanager
async def open_symbol_search(venue: Venue) -> AsyncIterator[Find]:
    """Endpoint."""

    async def find(pattern: str, limit: int) -> tuple[Match, ...]:
        await venue.get_market(venue.markets[0].fqme)
        found = [each for each in venue.markets if pattern in each.fqme]
        return tuple(Match(fqme=m.fqme, description=m.description) for m in found[:limit])

    yield find


ENDPOINTS = {
    "get_mkt_info": get_mkt_info,
    "stream_quotes": stream_quotes,
    "open_symbol_search": open_symbol_search,
}

WITH_PAST = {**ENDPOINTS, "open_history_client": open_history_client}
"""A provider that has a past, too."""


class Desk:
    """A datad, its venue, and those who ask it."""

    def __init__(self, datad: Datad, service: Service, venue: Venue, board: Switchboard) -> None:
        self.datad = datad
        self.service = service
        self.venue = venue
        self.board = board

    @asynccontextmanager
    async def watching(
        self, *markets: str, every: bool | None = None, max_rate_hz: float | None = None
    ) -> AsyncIterator[AsyncGenerator[WatchReply, None]]:
        """The replies of a Watch, in a context that ends it."""
        call = Watch(markets=markets, every=every, max_rate_hz=max_rate_hz)
        replies = self.board.client(DATA).replies(call, WatchReply)
        async with aclosing(replies), aclosing(_without_fds(replies)) as plain:
            yield plain

    @asynccontextmanager
    async def reading(
        self, market: str, period_s: int
    ) -> AsyncIterator[AsyncGenerator[tuple[BarsReply, BarReader], None]]:
        """The replies of a Bars, in a context that ends it and closes the readers."""
        replies = self.board.client(DATA).replies(Bars(market=market, period_s=period_s), BarsReply)
        async with aclosing(replies), AsyncExitStack() as readers:
            read = await readers.enter_async_context(aclosing(_with_readers(replies, readers)))
            yield read


async def _without_fds(
    replies: AsyncGenerator[tuple[WatchReply, tuple[int, ...]], None],
) -> AsyncGenerator[WatchReply, None]:
    async for reply, fds in replies:
        assert fds == ()
        yield reply


async def _with_readers(
    replies: AsyncGenerator[tuple[BarsReply, tuple[int, ...]], None], readers: AsyncExitStack
) -> AsyncGenerator[tuple[BarsReply, BarReader], None]:
    async for reply, (fd,) in replies:
        reader = BarReader(fd)
        readers.callback(reader.close)
        yield reply, reader


@asynccontextmanager
async def a_desk(
    *markets: Market,
    keep: Sequence[str] = (),
    record: Sequence[str] = (),
    limit: int = 100,
    endpoints: Mapping[str, Any] = ENDPOINTS,
    left: Mapping[str, int] = MappingProxyType({}),
    archive: Archive | None = None,
    past: Past | None = None,
    days: Mapping[int, int] = windows.DAYS,
    patience_s: float = PATIENCE_S,
) -> AsyncIterator[Desk]:
    """A datad that runs, of which nothing is left when all have hung up.

    `archive`: what is kept on disk; without, nothing is. It stays the caller's.
    `left`: descriptors that its manager has kept of a datad before, by name; they become its own.
    """
    venue = Venue(*markets)
    venue.past = past or venue.past
    provider = Provider("fake", "In a test's hands.", {}, limits=Limits(markets=limit))
    manager = Manager()
    manager.stored = {name: [fd] for name, fd in left.items()}
    service = Service("datad", "fake", manager)
    kept = archive or unkept()
    datad = Datad(service, provider, endpoints, venue, keep, record, archive=kept, days=days)
    try:
        with trio.fail_after(patience_s):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(datad.run)
                async with a_switchboard(Server(service.unit, datad.handlers)) as board:
                    yield Desk(datad, service, venue, board)
                nursery.cancel_scope.cancel()
    finally:
        datad.close()


async def until(
    replies: AsyncGenerator[WatchReply, None], state: str, *, markets: int = 1
) -> tuple[list[Tick], MarketState]:
    """Read on until so many markets came to a state; gives the ticks before, and the last state."""
    ticks: list[Tick] = []
    reached: dict[str, MarketState] = {}
    async for reply in replies:
        ticks += [tick for quote in reply.quotes for tick in quote.ticks]
        states = (*reply.states, *(each.state for each in reply.markets))
        reached |= {each.market: each for each in states if each.state == state}
        if len(reached) == markets:
            break
    return ticks, list(reached.values())[-1]
