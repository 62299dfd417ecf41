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
    """Gives the search. Without an answer of the gateway it finds what was seen before.

    If that is nothing it raises VenueLost: there may be such a market.
    """

    async def find(pattern: str, limit: int) -> tuple[Match, ...]:
        lost = None
        symbol = _symbol(pattern)
        day, theirs = venue.seen.asked.get(symbol) or (None, ())
        if symbol and day != today():
            try:
                theirs = await _ask(venue, symbol)
            except VenueLost as error:
                lost = error
        resolved = venue.resolver.markets.items()
        known = {name: each.market.description for name, each in resolved}
        found = venue.seen.best(pattern, theirs, known, limit)
        if lost and not found:
            raise lost
        return found

    yield find


async def _ask(venue: Venue, symbol: str) -> tuple[str, ...]:
    """What the gateway finds, today. Raises VenueLost, also where it doesn't answer."""
    with trio.move_on_after(ANSWER_S):
        try:
            session = await venue.session()
            said = await session.ask(AskSymbols(pattern=symbol))
        except NotWritable:
            return ()
        except (Declined, NoAnswer, TooManyWaiting) as error:
            raise VenueLost(venue.hidden(str(error))) from error
        samples = tuple(each for part in said if isinstance(part, Samples) for each in part.samples)
        names = venue.seen.learn(samples)
        venue.seen.asked.put(symbol, (today(), names))
        return names
    gateway = venue.gateway
    raise VenueLost(f"no answer within {ANSWER_S:g} s") if gateway.session else gateway.problem


def _symbol(pattern: str) -> str:
    """What of a pattern the gateway knows: the beginning of a symbol, or of a company's name."""
    return re.split(r"[.~]", pattern.strip().lower())[0].replace("-", " ").strip()
