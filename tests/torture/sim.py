"""The simulated venue, and brokerd@sim on it."""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from decimal import Decimal
from random import Random

from piker import paths
from piker.brokers.sim.venue import first_prices
from piker.brokers.sim.venuecontrol import Command, Fault, MessageFault, Move, RequestFault
from piker.errors import Unreachable
from piker.transport import HungUp
from tests.fakes.simvenue import TOKEN, SimVenue, a_sim_venue
from tests.torture.books import sim_book
from tests.torture.venues import Away, Kind, Venue

MARKETS = tuple(f"s{number:04d}.xsim.sim" for number in (1, 0, 2, 3))
REQUESTS = ("NewOrder", "Replace", "CancelOrder")
SAYINGS = ("Accepted", "Trade", "Replaced", "Ended")
WRONGS: tuple[tuple[RequestFault | MessageFault, tuple[str, ...]], ...] = (
    ("swallow", REQUESTS),
    ("refuse", REQUESTS),
    ("cut_before", REQUESTS),
    ("cut_after", REQUESTS),
    ("drop", SAYINGS),
    ("repeat", SAYINGS),
    ("delay", SAYINGS),
    ("hold", SAYINGS),
    ("cut", SAYINGS),
)
"""All faults of the simulated venue but its own death, which the kills are."""


class SimulatedVenue(Venue):
    """Its prices go with those of its feed, which datad makes by itself."""

    def __init__(self, venue: SimVenue) -> None:
        super().__init__(venue)
        self._venue = venue

    async def move(self, price: Decimal, market: str = "") -> None:
        """A market trades at a price."""
        await self._do(Move(market=market or MARKETS[0], price=price))

    async def step(self, prices: Mapping[str, Decimal]) -> None:
        """Trade at the feed's prices."""
        for market, price in prices.items():
            await self.move(price, market)

    async def get_wrong(self, what: Fault) -> None:
        """It does so from now on, so many times."""
        await self._do(what)

    async def calm(self) -> None:
        """What it gets wrong is over by itself."""

    def complaints(self) -> Sequence[str]:
        """It has no rules that aren't refusals."""
        return ()

    async def _do(self, command: Command) -> None:
        try:
            await self._venue.do(command)
        except (Unreachable, HungUp, ValueError) as error:
            raise Away(str(error)) from error


@asynccontextmanager
async def _opened() -> AsyncIterator[Venue]:
    async with a_sim_venue("--markets", str(len(MARKETS))) as venue:
        yield SimulatedVenue(venue)


def _settings(rate_hz: float) -> str:
    token = paths.config_directory() / "piker-credentials" / "sim" / "token"
    token.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    token.write_text(f"{TOKEN}\n")
    return f"[providers.sim]\nmarkets = {len(MARKETS)}\nrate_hz = {rate_hz}"


def a_fault(random: Random) -> Fault:
    """Something that a venue gets wrong: what it is asked, or what it says."""
    does, about = random.choice(WRONGS)
    return Fault(
        does=does,
        on=random.choice(about),
        nth=random.randint(1, 4),
        times=random.randint(1, 3),
        seconds=random.uniform(0.1, 2.0),
    )


SIM = Kind(
    provider="sim",
    markets=MARKETS,
    price=first_prices(len(MARKETS), 1)(MARKETS[0]) or Decimal(0),
    settings=_settings,
    opened=_opened,
    book=sim_book,
    a_fault=a_fault,
    absence_proves=True,
)
