"""What datad asks of a provider: no market, and a search that attacks."""

import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import msgspec
import trio

from piker.brokers import Batches, Find, Wanted
from piker.brokers import Settings as NoSettings
from piker.errors import Refused
from piker.interfaces.data import Match, NoSuchMarket
from piker.markets import Market

from .prey import Outcome


@asynccontextmanager
async def open_venue(settings: NoSettings) -> AsyncIterator[None]:
    """There is none."""
    yield


async def get_mkt_info(venue: None, name: str) -> Market:
    """Raises Refused(NoSuchMarket): there is no market."""
    raise Refused(NoSuchMarket(market=name))


async def stream_quotes(venue: None, wanted: Wanted, batches: Batches) -> None:
    """Sends nothing, until cancelled."""
    await trio.sleep_forever()


@asynccontextmanager
async def open_symbol_search(venue: None) -> AsyncIterator[Find]:
    """Gives what attacks: in a process of its own, but in this unit and its sandbox."""

    async def find(pattern: str, limit: int) -> tuple[Match, ...]:
        attack = [sys.executable, "-I", "-m", __package__]
        done = await trio.run_process(attack, stdin=pattern.encode(), capture_stdout=True)
        outcomes = msgspec.json.decode(done.stdout, type=list[Outcome])
        return tuple(_match(outcome) for outcome in outcomes)

    yield find


def _match(outcome: Outcome) -> Match:
    return Match(fqme=outcome.attack, description=msgspec.json.encode(outcome).decode())
