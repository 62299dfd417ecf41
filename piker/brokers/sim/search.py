"""Search among the simulated markets."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trio

from piker.brokers import Find
from piker.brokers.sim.feed import Venue
from piker.brokers.sim.wire import describe
from piker.core.ranking import rank
from piker.interfaces.data import Match


@asynccontextmanager
async def open_symbol_search(venue: Venue) -> AsyncIterator[Find]:
    """Gives the search, among names: all descriptions are the same."""
    fqmes = list(venue.numbers)

    async def find(pattern: str, limit: int) -> tuple[Match, ...]:
        best = await trio.to_thread.run_sync(rank, pattern, fqmes, limit)
        return tuple(_match(fqmes[index]) for index in best)

    yield find


def _match(fqme: str) -> Match:
    return Match(fqme=fqme, description=describe(fqme).description)
