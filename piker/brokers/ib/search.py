"""Search at Interactive Brokers: what the gateway finds, and what was seen before."""

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trio

from piker.brokers import Find, VenueLost
from piker.brokers.ib.codec import NotWritable
from piker.brokers.ib.feed import Venue
from piker.brokers.ib.messages import AskSymbols, Samples
from piker.brokers.ib.pacing import TooManyWaiting
from piker.brokers.ib.resolving import today
from piker.brokers.ib.session import Declined, NoAnswer
from piker.interfaces.data import Match

ANSWER_S = 8.0
"""Who searches waits so long for the gateway, and its turn; then gets what is known."""


@asynccontextmanager
async def open_symbol_search(venue: Venue) -> AsyncIterator[Find]:
    """Gives the search. Without an answer of the gateway it finds what was seen before."""

    async def find(pattern: str, limit: int) -> tuple[Match, ...]:
        theirs = await _ask(venue, _symbol(pattern))
        resolved = venue.resolver.markets.items()
        known = {name: each.market.description for name, each in resolved}
        return venue.seen.best(pattern, theirs, known, limit)

    yield find


async def _ask(venue: Venue, symbol: str) -> tuple[str, ...]:
    """What the gateway finds, today; nothing, if it doesn't answer."""
    day, names = venue.seen.asked.get(symbol) or (None, ())
    if not symbol or day == today():
        return names
    with trio.move_on_after(ANSWER_S):
        try:
            session = await venue.session()
            said = await session.ask(AskSymbols(pattern=symbol))
        except (VenueLost, Declined, NoAnswer, NotWritable, TooManyWaiting):
            return names
        samples = tuple(each for part in said if isinstance(part, Samples) for each in part.samples)
        names = venue.seen.learn(samples)
        venue.seen.asked.put(symbol, (today(), names))
    return names


def _symbol(pattern: str) -> str:
    """What of a pattern the gateway knows: the beginning of a symbol, or of a company's name."""
    return re.split(r"[.~]", pattern.strip().lower())[0].replace("-", " ").strip()
