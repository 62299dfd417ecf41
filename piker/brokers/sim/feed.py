"""The venue of sim: one task makes what is due of all the markets that are wanted."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from math import inf, isfinite

import trio

from piker.brokers import Batches, Dropped, FeedEvent, Subscribed, Wanted
from piker.brokers.sim import MOST_MARKETS, Settings
from piker.brokers.sim.wire import Walk, describe, name, quotes
from piker.clock import boot_ns, wall_ns
from piker.core.names import resolve
from piker.errors import Refused
from piker.interfaces.service import BrokenConfiguration
from piker.markets import Market

BATCH = 256
"""Events of one batch at most. What is due beyond them comes in the next one at once."""

NAP_S = 0.001
"""The feed wakes a thousand times a second at most, and sends what has come due since."""


class Venue:
    """The markets there are, and the walks of those that were wanted; each goes on where it was."""

    def __init__(self, settings: Settings) -> None:
        self.rate_hz = settings.rate_hz
        self.numbers = {name(number): number for number in range(settings.markets)}
        self._seed = settings.seed
        self._walks: dict[str, Walk] = {}

    def walk(self, fqme: str) -> Walk:
        """The walk of a market."""
        if fqme not in self._walks:
            self._walks[fqme] = Walk(fqme, self._seed, self.numbers[fqme])
        return self._walks[fqme]


@asynccontextmanager
async def open_venue(settings: Settings) -> AsyncIterator[Venue]:
    """Gives the venue. Raises Refused(BrokenConfiguration)."""
    _check(settings)
    yield Venue(settings)


async def get_mkt_info(venue: Venue, name: str) -> Market:
    """A market. Raises Refused(NoSuchMarket)."""
    return describe(resolve(name, venue.numbers, "sim"))


async def stream_quotes(venue: Venue, wanted: Wanted, batches: Batches) -> None:
    """Makes quotes of what is wanted, spread evenly over time, until cancelled.

    A quote that is due is never skipped: after a stall, or where the rate is more than the machine
    can do, they come as fast as possible, each with the time at which it was made.
    """
    told: set[str] = set()
    while True:
        markets = wanted.look()
        fqmes = sorted(market.fqme for market in markets)
        told &= set(fqmes)
        for batch in _announced(venue, [fqme for fqme in fqmes if fqme not in told]):
            await batches.send(batch)
        told |= set(fqmes)
        walks = [venue.walk(fqme) for fqme in fqmes if fqme in venue.numbers]
        await _walk(venue.rate_hz, walks, wanted, markets, batches)


def _announced(venue: Venue, fqmes: list[str]) -> list[list[FeedEvent]]:
    events: list[FeedEvent] = [
        Subscribed(market=describe(fqme))
        if fqme in venue.numbers
        else Dropped(market=fqme, reason="there is no such market")
        for fqme in fqmes
    ]
    return [events[first : first + BATCH] for first in range(0, len(events), BATCH)]


async def _walk(
    rate_hz: float,
    walks: list[Walk],
    wanted: Wanted,
    markets: frozenset[Market],
    batches: Batches,
) -> None:
    """Until something else is wanted: markets take turns, each turn at its own time."""
    start = trio.current_time()
    turn = 0
    while wanted.markets is markets:
        now = trio.current_time()
        due = _due(walks, rate_hz, now - start, turn)
        if due:
            await batches.send(quotes(walks, turn, due, wall_ns(), boot_ns()))
            turn += due
        if due < BATCH:
            next_at = start + turn / (rate_hz * len(walks)) if walks else inf
            with trio.move_on_at(max(next_at, now + NAP_S)):
                await wanted.changed()


def _due(walks: list[Walk], rate_hz: float, passed_s: float, made: int) -> int:
    """How many quotes to make now, not more than a batch. The first is due at once."""
    if not walks:
        return 0
    if not rate_hz:
        return BATCH
    return min(BATCH, int(passed_s * rate_hz * len(walks)) + 1 - made)


def _check(settings: Settings) -> None:
    if not 1 <= settings.markets <= MOST_MARKETS:
        raise _broken("markets", f"expected 1 to {MOST_MARKETS}, was {settings.markets}")
    if not (isfinite(settings.rate_hz) and settings.rate_hz >= 0):
        raise _broken("rate_hz", f"expected 0 or a positive number, was {settings.rate_hz}")


def _broken(key: str, problem: str) -> Refused:
    fault = BrokenConfiguration(file="piker.toml", key=f"providers.sim.{key}", problem=problem)
    return Refused(fault)
