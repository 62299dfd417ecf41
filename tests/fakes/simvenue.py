"""The simulated venue as a process of a test's own, which scripts it; and those who trade on it."""

import os
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, closing
from decimal import Decimal
from pathlib import Path
from typing import Any

import trio

from piker import paths
from piker.brokers.sim.tradewire import (
    BookIs,
    Hello,
    NewOrder,
    Request,
    Said,
    read_said,
    write,
)
from piker.brokers.sim.venue import first_prices
from piker.brokers.sim.venuecontrol import Command, Did, Fault, Move, ShowBook, read_did
from piker.transport import Connection, connect
from tests.fakes.manager import PATIENCE_S, Manager

TOKEN = "a-token-for-tests"
MARKET = "s0001.xsim.sim"
PRICE = first_prices(10, 1)(MARKET) or Decimal(0)
"""Where the market begins."""
FAR = PRICE - 50
"""A buyer's limit that rests."""


class SimVenue:
    """A venue's process, which may be killed and started again, and the way to script it."""

    def __init__(self, manager: Manager, *arguments: str) -> None:
        directory = paths.runtime_directory() / "piker" / "sim-venue"
        directory.mkdir(parents=True, exist_ok=True)
        self.path = str(directory / "venue.sock")
        token = paths.state_directory() / "token"
        token.write_text(f"{TOKEN}\n")
        book = paths.state_directory() / "sim-venue"
        given = [self.path, str(book), "--token-file", str(token), *arguments]
        self._command = [sys.executable, "-m", "piker.brokers.sim.venue", *given]
        self._manager = manager
        self.process: trio.Process

    async def start(self) -> None:
        """Start it, again perhaps, and wait until it listens."""
        self.process = await trio.lowlevel.open_process(
            self._command, env=_environment(NOTIFY_SOCKET=str(self._manager.path))
        )
        await self._manager.hear("READY=1")

    async def kill(self) -> None:
        """As by the worst of accidents."""
        self.process.kill()
        await self.ended()

    async def ended(self) -> int:
        """Wait for its end; gives the exit status."""
        with trio.fail_after(PATIENCE_S):
            return await self.process.wait()

    async def do(self, command: Command) -> Did:
        """Have it do something. Fails if it can't."""
        did = await self.try_to(command)
        assert not did.problem, did.problem
        return did

    async def try_to(self, command: Command) -> Did:
        """Have it do something; gives what came of it."""
        connection = await connect(f"{self.path}.control", "the venue's control")
        with closing(connection), trio.fail_after(PATIENCE_S):
            await connection.send(write(command))
            (message,) = await connection.receive()
            return read_did(message.data)

    async def fault(self, does: Any, on: str, **more: Any) -> None:
        """Have something go wrong, from now on."""
        await self.do(Fault(does=does, on=on, **more))

    async def move(self, price: Decimal, market: str = MARKET) -> None:
        """A market has this price from now on."""
        await self.do(Move(market=market, price=price))

    async def book(self) -> BookIs:
        """All that it has."""
        did = await self.do(ShowBook())
        assert did.book
        return did.book

    @asynccontextmanager
    async def trader(self, token: str = TOKEN) -> AsyncIterator["Trader"]:
        """Somebody who trades on it, by its own words."""
        connection = await connect(self.path, "the venue")
        with closing(connection):
            trader = Trader(connection)
            await trader.say(Hello(token=token))
            yield trader


class Trader:
    """One connection to the venue."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self._waiting: list[Said] = []

    async def say(self, *requests: Request) -> None:
        """Send requests, all at once."""
        await self.connection.send(b"".join(map(write, requests)))

    async def hear(self) -> Said:
        """The next message. Raises EOFError where there is none."""
        with trio.fail_after(PATIENCE_S):
            while not self._waiting:
                messages = await self.connection.receive()
                if not messages:
                    raise EOFError
                self._waiting = [read_said(each.data) for each in messages]
        return self._waiting.pop(0)

    async def hear_all(self, count: int) -> list[Said]:
        """The next messages."""
        return [await self.hear() for _ in range(count)]


def an_order(ref: str = "r-1", **changed: Any) -> NewOrder:
    """An order that rests, but for what is changed."""
    return NewOrder(
        **{
            "ref": ref,
            "account": "main",
            "market": MARKET,
            "side": "buy",
            "size": Decimal(3),
            "limit": FAR,
            "tif": "gtc",
            **changed,
        }
    )


@asynccontextmanager
async def a_sim_venue(*arguments: str) -> AsyncIterator[SimVenue]:
    """A venue that listens where sim's settings expect it."""
    with closing(Manager(paths.runtime_directory() / "venue-notify")) as manager:
        await manager.open()
        venue = SimVenue(manager, *arguments)
        await venue.start()
        try:
            yield venue
        finally:
            with trio.CancelScope(shield=True):
                venue.process.kill()
                await venue.process.wait()


def credentials(value: str = TOKEN) -> Mapping[str, str]:
    """The environment by which a manager gives a daemon its token."""
    directory = Path(paths.state_directory(), "credentials")
    directory.mkdir(exist_ok=True)
    (directory / "token").write_text(value)
    return {"CREDENTIALS_DIRECTORY": str(directory)}


def _environment(**more: str) -> dict[str, str]:

    return {**os.environ, **more}
