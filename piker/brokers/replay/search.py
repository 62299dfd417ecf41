"""Search among the recordings."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trio

from piker.brokers import Find
from piker.brokers.replay.feed import Venue
from piker.core.ranking import rank
from piker.errors import Refused, say
from piker.interfaces.data import Match


@asynccontextmanager
async def open_symbol_search(venue: Venue) -> AsyncIterator[Find]:
    """Gives the search; it knows descriptions as they are now."""
    matches = [await _match(venue, fqme) for fqme in venue.names]
    texts = [f"{match.fqme} {match.description}".lower() for match in matches]

    async def find(pattern: str, limit: int) -> tuple[Match, ...]:
        best = await trio.to_thread.run_sync(rank, pattern, texts, limit)
        return tuple(matches[index] for index in best)

    yield find


async def _match(venue: Venue, fqme: str) -> Match:
    """A recording that can't be read is found too, and says why."""
    try:
        description = await venue.library.description(venue.names[fqme])
    except Refused as no:
        return Match(fqme=fqme, description=say(no.fault))
    return Match(fqme=fqme, description=description)
