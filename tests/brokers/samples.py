"""Small recordings, and a feed to listen to."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import trio

from piker.brokers import Batch, FeedEvent, Wanted, get_eps, load
from piker.quotes import Quote

SECOND = 10**9

HEAD = """\
# asset_class: future
# currency: EUR
# price_tick: 0.5
"""

LUNCH = (
    HEAD
    + """\
# session: 2020-01-01T10:00:00Z 2020-01-01T10:00:10Z
# session: 2020-01-01T11:00:00Z 2020-01-01T11:00:10Z
time_utc,last,volume
2020-01-01T10:00:01Z,100,1
2020-01-01T10:00:01Z,100.5,2
2020-01-01T10:00:03.5Z,101,0
2020-01-01T11:00:02Z,99.5,3
"""
)
"""Two sessions of ten seconds each, an hour apart."""


class Listener:
    """What a feed says, event by event."""

    def __init__(self, wanted: Wanted, receive: trio.MemoryReceiveChannel[Batch]) -> None:
        self.wanted = wanted
        self._receive = receive
        self._pending: Iterator[FeedEvent] = iter(())

    async def event(self) -> FeedEvent:
        """The next event."""
        while (event := next(self._pending, None)) is None:
            self._pending = iter(await self._receive.receive())
        return event

    async def quote(self) -> Quote:
        """The next event, which is a quote."""
        event = await self.event()
        assert isinstance(event, Quote)
        return event

    async def events(self, count: int) -> list[FeedEvent]:
        """So many events."""
        return [await self.event() for _ in range(count)]


@asynccontextmanager
async def opened(provider: str, **settings: Any) -> AsyncIterator[Any]:
    """The venue of a provider."""
    declared = load(provider)
    async with get_eps(declared, "datad")["open_venue"](declared.settings(**settings)) as venue:
        yield venue


@asynccontextmanager
async def listening(provider: str, venue: Any, *names: str) -> AsyncIterator[Listener]:
    """A feed of these markets."""
    endpoints = get_eps(load(provider), "datad")
    wanted = Wanted()
    wanted.set(frozenset([await endpoints["get_mkt_info"](venue, name) for name in names]))
    send, receive = trio.open_memory_channel[Batch](100)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(endpoints["stream_quotes"], venue, wanted, send)
        yield Listener(wanted, receive)
        nursery.cancel_scope.cancel()
