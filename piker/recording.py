"""Ticks kept on disk as they are seen: `[datad] record`.

Each market that is recorded has a tape: columns in memory, of which a segment is written to disk
each minute, or sooner where much happens, and once more at its end. A day that is over becomes one
file. Nothing of the feed waits for the disk. What can't be written is tried again with what came
since; where that is too much it is lost, which is counted, and its time is in no span of the
recording.
"""

import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Final

import trio

from piker import clock
from piker.core.bars import NS
from piker.core.marketdata import END_OF_TIME_NS, MarketData, sound
from piker.core.spans import Pair, clipped, joined
from piker.core.tickcolumns import TickColumns
from piker.coverage import Span
from piker.markets import Market
from piker.quotes import Quote
from piker.store import parquet, room, tickfiles
from piker.store.tickfiles import About, Taken, TickFiles

EVERY_S: Final = 60.0
"""A segment has at most the ticks of so long, and a crash loses no more."""
MANY: Final = 50_000
"""Ticks after which one is written at once."""
MOST: Final = 4 * MANY
"""Ticks of a market that may be in memory, 43 bytes each. What comes then is lost, and counted."""
MOST_ENDED: Final = 16
"""Tapes that ended, of markets or of days, which may wait for the disk. Then the oldest is lost."""
LAST_S: Final = 4.0
"""How long a stop waits for the disk: far less than until systemd kills (TimeoutStopSec)."""

logger = logging.getLogger(__name__)


class Tape:
    """One market's ticks that aren't on disk yet."""

    def __init__(self, market: Market, day: str, message: int = 0, whole_from_ns: int = 0) -> None:
        self.market = market
        self.day = day
        self.lost = 0
        self._message = message
        self._ticks = TickColumns()
        self._spans: list[Pair] = []
        self._whole_from_ns = whole_from_ns
        """Since when nothing was lost, and nothing covered is on disk."""

    def __len__(self) -> int:
        return len(self._ticks)

    @property
    def empty(self) -> bool:
        """Whether there is nothing to be written."""
        return not len(self._ticks) and not self._spans

    def take(self, quote: Quote, now_ns: int, wall_ns: int, boot_ns: int) -> None:
        """A quote as the venue sent it; `now_ns` is the market's time."""
        if len(self._ticks) >= MOST:
            self.lose(now_ns, len(quote.ticks))
            return
        self._ticks.add(quote, self._message, wall_ns, boot_ns)
        self._message += 1

    def cover(self, from_ns: int, to_ns: int) -> None:
        """All that happened then was taken."""
        from_ns = max(from_ns, self._whole_from_ns)
        if from_ns < to_ns:
            self._spans = joined((*self._spans, (from_ns, to_ns)))

    def lose(self, now_ns: int, ticks: int) -> None:
        """What happened up to now isn't kept: of what is covered, the rest begins after it."""
        self.lost += ticks
        self._whole_from_ns = max(self._whole_from_ns, now_ns + 1)

    def next_day(self, day: str, now_ns: int) -> "Tape":
        """The same market's from here on."""
        return Tape(self.market, day, self._message, now_ns)

    def give_up(self) -> int:
        """It can't be written; gives how many ticks are lost with it."""
        return self.lost + len(self._ticks)

    def cut(self) -> tuple[TickColumns, About]:
        """What there is, which goes from here."""
        ticks, spans = self._ticks, self._spans
        self._ticks, self._spans = TickColumns(), []
        if spans:
            self._whole_from_ns = max(self._whole_from_ns, spans[-1][1])
        return ticks, About(
            version=tickfiles.VERSION,
            market=self.market,
            spans=tuple(Span(from_ns=a, to_ns=b, how="live") for a, b in spans),
            next_message=self._message,
        )

    def put_back(self, ticks: TickColumns, said: About) -> None:
        """It could not be written: it comes before what came since, or is lost."""
        if len(ticks) + len(self._ticks) > MOST:
            self.lose(max((*ticks.times[-1:], *ticks.seen[-1:]), default=0), len(ticks))
            self._spans = clipped(self._spans, self._whole_from_ns, END_OF_TIME_NS)
            return
        ticks.extend(self._ticks)
        self._ticks = ticks
        self._spans = joined((*((each.from_ns, each.to_ns) for each in said.spans), *self._spans))


class Recording:
    """What one datad records below a directory; `changed` is called when its state is another.

    With less than `least_free` bytes free nothing is written.
    """

    def __init__(
        self,
        directory: Path,
        changed: Callable[[], None],
        least_free: int = room.LEAST_FREE,
    ) -> None:
        self.problem = ""
        """Why nothing is recorded, or the last could not be; empty: all well."""
        self.written = 0
        """Ticks on disk since the start."""
        self._changed = changed
        self.files = TickFiles(directory, least_free)
        """Where it is written."""
        self._tapes: dict[str, Tape] = {}
        self._ended: list[Tape] = []
        self._joined: dict[str, str] = {}
        """Markets, and the day before which their days are joined."""
        self._given_up = 0
        self._wake = trio.Event()

    @property
    def lost(self) -> int:
        """Ticks that could not be written, since the start."""
        tapes = (*self._tapes.values(), *self._ended)
        return self._given_up + sum(tape.lost for tape in tapes)

    @property
    def markets(self) -> tuple[str, ...]:
        """What is recorded now."""
        return tuple(self._tapes)

    @asynccontextmanager
    async def of(self, market: Market) -> AsyncIterator[None]:
        """Record a market while the context is open, and it is followed."""
        if problem := parquet.problem():
            self._say(problem)
        if problem or market.fqme in self._tapes:
            yield
            return
        message = await trio.to_thread.run_sync(self._next_message, market.fqme)
        self._tapes[market.fqme] = Tape(market, _day(clock.wall_ns()), message)
        try:
            yield
        finally:
            self._end(self._tapes.pop(market.fqme))

    def take(self, data: MarketData, quote: Quote, wall_ns: int, boot_ns: int) -> None:
        """What the venue said of a market: of what is derived here, nothing is kept."""
        tape = self._tapes.get(quote.market)
        if tape is None:
            return
        now_ns = data.now_ns(wall_ns)
        tape = self._of_day(tape, data, now_ns)
        tape.market = data.market
        tape.take(sound(quote), now_ns, wall_ns, boot_ns)
        if len(tape) >= MANY and not self.problem:
            self._wake.set()

    def cover(self, data: MarketData, from_ns: int, to_ns: int) -> None:
        """A market was live then, and all that it said was taken."""
        tape = self._tapes.get(data.market.fqme)
        if tape is not None:  # also one that is empty
            tape.market = data.market
            tape.cover(from_ns, to_ns)

    async def run(self) -> None:
        """Write what there is, minute by minute, until cancelled."""
        while True:
            with trio.move_on_after(EVERY_S):
                await self._wake.wait()
            self._wake = trio.Event()
            await self._write_all()
            await self._join_all()

    async def finish(self) -> None:
        """Write the rest, for no longer than `LAST_S`: days are joined at the next start."""
        with trio.move_on_after(LAST_S):
            await self._write_all()
        for tape in (*self._tapes.values(), *self._ended):
            self._give_up(tape)
        self.files.unlock()

    def _of_day(self, tape: Tape, data: MarketData, now_ns: int) -> Tape:
        """A market's tape of this day: the one there is, or the next."""
        day = _day(now_ns)
        if tape.day == day:
            return tape
        if data.state.state == "live":
            tape.cover(data.unbroken_ns, now_ns)
        self._tapes[data.market.fqme] = after = tape.next_day(day, now_ns)
        self._end(tape)
        return after

    def _end(self, tape: Tape) -> None:
        self._ended.append(tape)
        while len(self._ended) > MOST_ENDED:
            self._give_up(self._ended.pop(0))
        self._wake.set()

    def _give_up(self, tape: Tape) -> None:
        if lost := tape.give_up():
            self._given_up += lost
            logger.warning("%s: %d ticks of %s are lost", tape.market.fqme, lost, tape.day)

    def _next_message(self, fqme: str) -> int:
        try:
            return self.files.next_message(fqme)
        except OSError as error:  # a number that none has: there aren't so many
            first = clock.wall_ns()
            logger.warning("%s: messages are numbered from %d on: %s", fqme, first, error)
            return first

    async def _write_all(self) -> None:
        for tape in (*self._ended, *self._tapes.values()):
            await self._write(tape)
        self._given_up += sum(tape.lost for tape in self._ended if tape.empty)
        self._ended = [tape for tape in self._ended if not tape.empty]

    async def _join_all(self) -> None:
        for fqme, tape in list(self._tapes.items()):
            if self._joined.get(fqme) != tape.day and not self._ended:
                await self._join(fqme, tape.day)

    async def _write(self, tape: Tape) -> None:
        if tape.empty:
            return
        ticks, said = tape.cut()
        written = False
        try:
            await trio.to_thread.run_sync(self.files.write, tape.day, ticks, said)
            written = True
            self.written += len(ticks)
            self._say("")
        except (OSError, Taken) as error:
            self._say(str(error))
        finally:
            if not written:
                tape.put_back(ticks, said)

    async def _join(self, fqme: str, before: str) -> None:
        """A stop waits for none that is under way: as a crash, it leaves what can be joined."""
        join = partial(self.files.join, fqme, before, clock.wall_ns())
        try:
            for aside in await trio.to_thread.run_sync(join, abandon_on_cancel=True):
                logger.warning("%s: a damaged file was set aside: %s", fqme, aside)
            self._joined[fqme] = before
        except (OSError, Taken) as error:
            self._say(str(error))

    def _say(self, problem: str) -> None:
        if problem == self.problem:
            return
        self.problem = problem
        if problem:
            logger.warning("can't record: %s", problem)
        else:
            logger.info("records again")
        self._changed()


def _day(time_ns: int) -> str:
    """Of UTC, as 2026-11-22."""
    return datetime.fromtimestamp(time_ns // NS, UTC).date().isoformat()
