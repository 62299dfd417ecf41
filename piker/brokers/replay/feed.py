"""The venue of replay: time lines that run by one clock.

stream_quotes      starts and stops players as markets are wanted or not
└── _play          one a market: says that it is there, sends what is due, pass after pass
"""

import time
from collections import defaultdict
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from math import isfinite

import trio

from piker.brokers import Batches, Dropped, Subscribed, VenueLost, Wanted
from piker.brokers.replay import Settings
from piker.brokers.replay.library import Library
from piker.brokers.replay.timeline import Timeline, parse_start
from piker.clock import boot_ns, wall_ns
from piker.core.names import resolve
from piker.errors import Refused, say
from piker.interfaces.service import BrokenConfiguration
from piker.markets import Market

BATCH = 1000
"""Quotes of one batch at most. What is due beyond them comes in the next one at once."""

SLOWEST, FASTEST = 1e-3, 1e6
"""Speeds within which the waits between ticks can be told apart, and end."""

JUMP_NS = 10 * 10**9
"""A wall clock that is set by more ends the session; less is caught up with, or waited for."""


class Clock:
    """The time on all time lines: the wall clock's at the start, and `speed` times as fast from it.

    It runs by trio's clock, which tests replace, and follows the wall clock when that is set or
    the machine has slept. At speed 0 it stands at the start, and nothing waits for it.
    """

    def __init__(self, speed: float, ahead_ns: Callable[[], int] | None = None) -> None:
        self._speed = speed
        self._ahead_ns = ahead_ns or _wall_ahead_ns
        self._began = trio.current_time()
        self._began_ahead_ns = self._session_ahead_ns = self._ahead_ns()
        self.opened_ns = wall_ns()

    def now_ns(self) -> int | None:
        """What is due by now; None: everything is."""
        if not self._speed:
            return None
        passed = int((trio.current_time() - self._began) * 1e9)
        return self.opened_ns + int(
            (passed + self._ahead_ns() - self._began_ahead_ns) * self._speed
        )

    def begin_session(self) -> None:
        """Take the wall clock as it is now."""
        self._session_ahead_ns = self._ahead_ns()

    async def reach(self, time_ns: int) -> None:
        """Wait for a time. Raises VenueLost if the wall clock was set since the session began."""
        await trio.lowlevel.checkpoint()
        while (now_ns := self.now_ns()) is not None and now_ns < time_ns:
            wait = (time_ns - now_ns) / 1e9 / self._speed
            await trio.sleep_until(trio.current_time() + wait)
            self._check_session()

    def _check_session(self) -> None:
        jump_ns = self._ahead_ns() - self._session_ahead_ns
        if abs(jump_ns) > JUMP_NS:
            raise VenueLost(
                f"the wall clock was set by {jump_ns / 1e9:+.0f} s, or the machine slept"
            )


class Venue:
    """Recordings, the clock, and the time lines of those that were asked for."""

    def __init__(self, settings: Settings, library: Library) -> None:
        self.clock = Clock(settings.speed)
        self.names = {f"{name}.replay": name for name in library.names}
        self.library = library
        self.turns: defaultdict[str, trio.Lock] = defaultdict(trio.Lock)
        """Who plays a market: one task at a time, the next when the last has really ended."""
        self._settings = settings
        self._timelines: dict[str, Timeline] = {}

    async def timeline(self, fqme: str) -> Timeline:
        """The time line of a market. Raises Refused(BrokenConfiguration)."""
        recording = await self.library.recording(self.names[fqme])
        loop, start = self._settings.loop, self._settings.start
        if fqme not in self._timelines:
            timeline = Timeline(fqme, recording, self.clock.opened_ns, loop, start)
            self._timelines[fqme] = timeline
        return self._timelines[fqme]


@asynccontextmanager
async def open_venue(settings: Settings) -> AsyncIterator[Venue]:
    """Gives the venue; its clock starts. Raises Refused(BrokenConfiguration)."""
    _check(settings)
    yield Venue(settings, Library(settings.recordings))


async def get_mkt_info(venue: Venue, name: str) -> Market:
    """A market, with its sessions around now. Raises Refused, also for a broken recording."""
    timeline = await venue.timeline(resolve(name, venue.names, "replay"))
    return timeline.market(venue.clock.now_ns())


async def stream_quotes(venue: Venue, wanted: Wanted, batches: Batches) -> None:
    """Plays what is wanted. Raises VenueLost, in a group, if the wall clock was set."""
    venue.clock.begin_session()
    async with trio.open_nursery() as players:
        await _follow(venue, wanted, batches, players)


async def _follow(
    venue: Venue,
    wanted: Wanted,
    batches: Batches,
    players: trio.Nursery,
) -> None:
    playing: dict[str, trio.CancelScope] = {}
    while True:
        fqmes = {market.fqme for market in wanted.look()}
        for fqme in playing.keys() - fqmes:
            playing.pop(fqme).cancel()
        for fqme in fqmes - playing.keys():
            playing[fqme] = trio.CancelScope()
            players.start_soon(_play, venue, fqme, batches, playing[fqme])
        await wanted.changed()


async def _play(venue: Venue, fqme: str, batches: Batches, scope: trio.CancelScope) -> None:
    with scope:
        try:
            timeline = await venue.timeline(fqme)
        except Refused as no:
            await batches.send([Dropped(market=fqme, reason=say(no.fault))])
            return
        async with venue.turns[fqme]:
            await _play_passes(venue.clock, timeline, batches)


async def _play_passes(clock: Clock, timeline: Timeline, batches: Batches) -> None:
    if (now_ns := clock.now_ns()) is not None:
        timeline.seek(now_ns)
    begins_ns: int | None = 0
    while begins_ns is not None:
        await clock.reach(begins_ns)
        await batches.send([Subscribed(market=timeline.market())])
        await _play_pass(clock, timeline, batches)
        begins_ns = timeline.next_pass()


async def _play_pass(clock: Clock, timeline: Timeline, batches: Batches) -> None:
    while (due_ns := timeline.due_ns()) is not None:
        await clock.reach(due_ns)
        if edge := timeline.edge():
            await batches.send([edge])
        else:
            await batches.send(timeline.take(clock.now_ns(), BATCH, boot_ns()))


def _check(settings: Settings) -> None:
    speed = settings.speed
    if not isfinite(speed) or (speed and not SLOWEST <= speed <= FASTEST):
        problem = f"expected 0, or a number from {SLOWEST:g} to {FASTEST:g}, was {speed:g}"
        raise _broken("speed", problem)
    try:
        parse_start(settings.start or "00:00", 0)
    except ValueError as error:
        raise _broken("start", str(error)) from error


def _broken(key: str, problem: str) -> Refused:
    return Refused(
        BrokenConfiguration(file="piker.toml", key=f"providers.replay.{key}", problem=problem)
    )


def _wall_ahead_ns() -> int:
    """How far the wall clock is ahead of trio's: changes when it is set and when we slept."""
    return wall_ns() - time.monotonic_ns()
