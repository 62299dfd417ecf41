"""The torture: kill, and kill again, let it come to rest, compare all books; over and over.

Task tree, within `torture`:

    a_house           pikerd
    ├─ Load.run       clients at work
    ├─ Follower.run   who follows every event
    ├─ _watch         prices of the feed
    └─ _move          the venue's prices go with them
"""

import sys
from collections import Counter
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass
from decimal import Decimal
from random import Random

import trio

from piker import client, clock
from piker.client import viewing
from piker.errors import Refused, Unreachable
from piker.interfaces.orders import (
    Ledger,
    LedgerLine,
    LedgerReply,
    Positions,
    PositionsReply,
)
from piker.orders import Life
from piker.varlink import Client
from tests.torture.books import VenueBook
from tests.torture.follower import Follower
from tests.torture.house import VENUE, House, Looks, a_house, configure, resolve, sync, until
from tests.torture.invariants import Problem, Sides, problems
from tests.torture.load import LEAST, Load
from tests.torture.sim import SIM
from tests.torture.venues import Away, Kind

BETWEEN_KILLS_S = (0.0, 1.5)
"""How long everything is left alone before the next kill: anything may be under way then."""
BURST_S = (0.0, 0.15)
"""Between a burst of orders and the kill: about as long as it takes to carry them out."""
CALM_S = (0.0, 0.4)
"""Between the weather of one kill and of the next."""
AT_ONCE = (2, 8)
"""Kills before all must come to rest, at least and at most."""
REST_S = 60.0
"""How long coming to rest may take: what a killed sender left behind is out of the way after 6 s,
and looked for again 5 s later."""
AGREE_S = 25.0
"""How long the books may take to agree, while no price moves."""
OWNER_WAITS_NS = 3_000_000_000
"""How long after an order may have left its owner waits before he looks for it at the venue."""
LOOK_S = 0.2
RATE_S = 0.2
"""Between two prices of the venue."""
SHOWN = 10
"""Problems that a report tells in full."""
LOG_SHOWN = 60

Say = Callable[[str], None]


class Broken(Exception):
    """Something was lost, doubled or forgotten; the text is the report."""


@dataclass(frozen=True)
class Season:
    """What the kills happen in."""

    weather: Callable[[Random], AbstractContextManager[None]] = lambda random: nullcontext()
    """Entered before each kill, left after it."""
    felt: str = ""
    """What the load must have counted before the last kill, if anything."""
    between_kills_s: tuple[float, float] = BETWEEN_KILLS_S
    wrongs: bool = False
    """Whether the venue gets something wrong before each kill."""


class Torture:
    """One run, from a seed."""

    def __init__(self, house: House, seed: int, say: Say, season: Season) -> None:
        self.house = house
        self.kind = house.kind
        self.follower = Follower()
        self.prices: dict[str, Decimal] = {}
        self.load = Load(self.kind, str(seed), self.follower, self.prices)
        self.faults = 0
        """What the venue was told to get wrong."""
        self._seed = seed
        self._random = Random(seed)
        self._say = say
        self._season = season
        self._datad = f"datad@{self.kind.provider}"
        self._moving = trio.Event()
        self._killed: list[str] = []
        self._lines: list[LedgerLine] = []
        self._venues: list[VenueBook] = []

    async def run(self, kills: int) -> None:
        """Kill so often. Raises Broken."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._watch)
            await until(lambda: len(self.prices) == len(self.kind.markets), "prices")
            nursery.start_soon(self.follower.run)
            nursery.start_soon(self._move)
            nursery.start_soon(self.load.run)
            self._go_on()
            await until(lambda: len(self.follower.unclosed()) >= LEAST, f"{LEAST} orders")
            await self._kill(kills)
            nursery.cancel_scope.cancel()

    async def _kill(self, kills: int) -> None:
        while len(self._killed) < kills:
            self._go_on()
            for _ in range(min(self._random.randint(*AT_ONCE), kills - len(self._killed))):
                await trio.sleep(self._random.uniform(*CALM_S))
                if self._season.wrongs:
                    await self._get_wrong(self.kind.a_fault(self._random))
                with self._season.weather(self._random):
                    await trio.sleep(self._random.uniform(*self._season.between_kills_s))
                    self.load.burst(self._random)
                    await trio.sleep(self._random.uniform(*BURST_S))
                    if len(self._killed) == kills - 1:
                        await self._until_felt()
                    await self._kill_one()
            await self._come_to_rest()
            await self._agree()
            self._report_progress()

    async def _until_felt(self) -> None:
        """Wait until the load has met what the season is about: it may have missed it so far."""
        if felt := self._season.felt:
            await until(lambda: bool(self.load.counts[felt]), felt)

    async def _get_wrong(self, what: object) -> None:
        with suppress(Away):  # it was killed
            await self.house.venue.get_wrong(what)
            self.faults += 1

    async def _kill_one(self) -> None:
        name = self._random.choice((*self.kind.units, VENUE))
        if await self.house.kill(name):
            self._killed.append(name)

    def _go_on(self) -> None:
        self._moving.set()
        self.load.go_on()

    # --- coming to rest

    async def _come_to_rest(self) -> None:
        started = trio.current_time()
        with trio.move_on_after(REST_S) as waiting:
            await self.load.pause()
            await self.house.venue.calm()
            await self._sync(self.kind.paper)
            await self._sync(self.kind.main)
            for name in (self.kind.broker(self.kind.paper), self._datad):
                await self.house.until_runs(name)
            async for _ in Looks():
                in_suspense = self.follower.in_suspense()
                if not in_suspense:
                    break
                if not self.kind.absence_proves:
                    await self._resolve(in_suspense)
        if waiting.cancelled_caught:
            waiting_for = [Problem("", f"expected rest within {REST_S:g} s")]
            waiting_for += [
                Problem(life.order.oid, "still waits") for life in self.follower.in_suspense()
            ]
            raise self._broken(waiting_for)
        self._rested_s = trio.current_time() - started

    async def _resolve(self, in_suspense: list[Life]) -> None:
        """Be the owner of orders of which nothing proves that they are nowhere.

        Who looks at the venue sees that it doesn't have them, and that they can't come any more.
        Of those that it has, evidence must say so.
        """
        before_ns = clock.wall_ns() - OWNER_WAITS_NS
        late = [life for life in in_suspense if life.not_after_ns < before_ns]
        unknown = {life.order.oid for life in late if life.state == "unknown"}
        for oid in unknown - self.kind.book().booked.keys() if unknown else ():
            self.load.counts["resolved"] += 1
            with suppress(Refused, Unreachable):  # asked again
                await resolve(oid, "rejected", "the venue's window has no such order")

    async def _sync(self, account: str) -> None:
        """Have emsd ask the account's venue what it has; while either comes back, again."""
        while True:
            with suppress(Refused, Unreachable):
                await sync(account)
                return
            await trio.sleep(LOOK_S)

    async def _agree(self) -> None:
        """With no price moving, both sides' books are the same, soon. Raises Broken."""
        self._moving = trio.Event()
        found: list[Problem] = []
        with self.house.frozen(self._datad), trio.move_on_after(AGREE_S):
            async for _ in Looks():
                found = await self._differences()
                if not found:
                    return
        raise self._broken(found)

    async def _differences(self) -> list[Problem]:
        self._venues = list(self.house.books())
        said = [*self.house.crashes, *self.follower.problems, *self.load.problems]
        said += self.house.venue.complaints()
        async with viewing() as emsd:
            reply = await emsd.call(Positions(), PositionsReply)
            while lines := await self._read_ledger(emsd):
                self._lines += lines
        sides = Sides(
            lives=self.follower.lives,
            promised=self.load.promised,
            refused=self.load.refused,
            ledger=self._lines,
            positions=[line.position for line in reply.positions],
            venues=self._venues,
        )
        return [*(Problem("", each) for each in said), *problems(sides)]

    async def _read_ledger(self, emsd: Client) -> tuple[LedgerLine, ...]:
        newest = self._lines[-1].number if self._lines else 0
        return (await emsd.call(Ledger(after=newest), LedgerReply)).lines

    # --- prices

    async def _watch(self) -> None:
        """The newest bid of each market, over datad's restarts."""
        provider, markets = self.kind.provider, self.kind.markets
        while True:
            with suppress(Refused, Unreachable):
                async for reply in client.watch(provider, markets, max_rate_hz=1 / RATE_S):
                    for quote in reply.quotes:
                        for tick in quote.ticks:
                            if tick.kind == "bid":
                                self.prices[quote.market] = Decimal(repr(tick.price))
            await trio.sleep(LOOK_S)

    async def _move(self) -> None:
        """The venue's prices move on."""
        while True:
            await self._moving.wait()
            with suppress(Away):  # it was killed
                await self.house.venue.step(self.prices)
            await trio.sleep(RATE_S)

    # --- what is said

    def rejections(self) -> Counter[str]:
        """Why orders were rejected, and how many."""
        lives = self.follower.lives.values()
        return Counter(life.reason for life in lives if life.state == "rejected")

    def _report_progress(self) -> None:
        lives = self.follower.lives.values()
        states = ", ".join(
            f"{sum(life.state == state for life in lives)} {state}"
            for state in ("held", "open", "filled", "cancelled", "rejected")
        )
        self._say(
            f"{len(self._killed)} kills, last {' '.join(self._killed[-AT_ONCE[1] :])}: "
            f"{len(self.load.promised)} orders: {states}; {len(self._lines)} fills; "
            f"rest after {self._rested_s:.1f} s"
        )

    def _broken(self, found: list[Problem]) -> Broken:
        parts = [f"seed {self._seed}, after {len(self._killed)} kills: {len(found)} problems"]
        parts += [f"killed: {' '.join(self._killed)}"]
        parts += [self._tell(problem) for problem in found[:SHOWN]]
        parts += ["the end of the log:", *list(self.house.lines)[-LOG_SHOWN:]]
        return Broken("\n".join(parts))

    def _tell(self, problem: Problem) -> str:
        events = self.follower.events.get(problem.oid, [])
        there = [line for venue in self._venues for line in venue.records.get(problem.oid, ())]
        return "\n    ".join(
            [
                f"* {problem.oid}: {problem.text}",
                *[f"{news.seq} {news.time_ns} {news.event}" for news in events],
                *[f"venue: {line}" for line in there],
            ]
        )


def to_stderr(line: str) -> None:
    """Say it at once."""
    print(line, file=sys.stderr, flush=True)


async def torture(
    kills: int,
    seed: int,
    say: Say = to_stderr,
    season: Season = Season(),
    kind: Kind = SIM,
) -> Torture:
    """Run it in the directories that the environment names; gives what was seen. Raises Broken."""
    say(f"{kind}, seed {seed}")
    configure(kind)
    async with a_house(kind) as house:
        run = Torture(house, seed, say, season)
        await run.run(kills)
    say(", ".join(f"{count} {what}" for what, count in sorted(run.load.counts.items())))
    for why, count in run.rejections().most_common(SHOWN):
        say(f"{count} rejected: {why}")
    return run
