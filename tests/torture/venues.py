"""What a venue is to the torture: what is traded there, how it is set, and how it is hurt.

Each kind is a row (sim.py, ib.py): all else of the house is the same for both.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from decimal import Decimal
from random import Random
from typing import Any, Protocol

import trio

from tests.torture.books import VenueBook

TICK = Decimal("0.25")
"""The grid of every market here."""


class Away(Exception):
    """The venue's process was killed before it had answered."""


class Process(Protocol):
    """What a venue runs as."""

    process: trio.Process

    async def start(self) -> None:
        """Start it, again perhaps, and wait until it listens."""

    async def ended(self) -> object:
        """Wait for its end."""


class Venue(ABC):
    """A venue's process, and what is done to it from outside: what is not answered raises Away."""

    def __init__(self, process: Process) -> None:
        self._process = process

    @property
    def pid(self) -> int | None:
        """Its process, if it runs."""
        process = self._process.process
        return None if process.returncode is not None else process.pid

    async def come_back(self) -> None:
        """Wait for its end, and start it again, as servers are."""
        await self._process.ended()
        await self._process.start()

    @abstractmethod
    async def move(self, price: Decimal, market: str = "") -> None:
        """A market trades at a price; the first one, if none is named."""

    @abstractmethod
    async def step(self, prices: Mapping[str, Decimal]) -> None:
        """All markets move on; `prices` are those that datad told last."""

    @abstractmethod
    async def get_wrong(self, what: Any) -> None:
        """Let something go wrong, as the kind's `a_fault` names it."""

    @abstractmethod
    async def calm(self) -> None:
        """Let nothing go wrong any more."""

    @abstractmethod
    def complaints(self) -> Sequence[str]:
        """The rules of the venue's that our daemons broke."""


@dataclass(frozen=True)
class Kind:
    """A kind of venue, and the provider by which it is traded on."""

    provider: str
    markets: tuple[str, ...]
    price: Decimal
    """Where the first market begins, at the venue and in its feed alike."""
    settings: Callable[[float], str]
    """The provider's part of piker.toml, for so many prices a second."""
    opened: Callable[[], AbstractAsyncContextManager[Venue]]
    book: Callable[[], VenueBook]
    a_fault: Callable[[Random], object]
    """Something that it gets wrong: what it is asked, or what it says."""
    absence_proves: bool
    """Whether an order that its lists don't have is known to be nowhere. Where it isn't, what was
    on its way to a venue that died stays unknown until its owner says what became of it."""

    @property
    def market(self) -> str:
        """The first of them."""
        return self.markets[0]

    @property
    def main(self) -> str:
        """The account at the venue."""
        return f"{self.provider}.main"

    @property
    def paper(self) -> str:
        """The account at paperboi."""
        return f"paper.{self.provider}"

    @property
    def units(self) -> tuple[str, ...]:
        """All that runs and can be killed."""
        of_it = [f"{each}@{self.provider}" for each in ("paperboi", "brokerd", "datad")]
        return ("emsd", *of_it, "samplerd")

    def broker(self, account: str) -> str:
        """Who hands the orders of an account over."""
        return f"{'brokerd' if account == self.main else 'paperboi'}@{self.provider}"

    def __str__(self) -> str:
        return self.provider
