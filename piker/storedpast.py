"""A market's past from what is kept, and from its provider what isn't: the one way to either.

What is asked of the provider waits for its turn, is checked (core/pastframes.py) and kept before it
is given on. Where nothing can be kept, it is given on all the same.
"""

from collections.abc import Mapping, Sequence

import trio
from msgspec import structs

from piker import clock
from piker.archive import Archive
from piker.brokers import (
    Frame,
    HistoryClient,
    HistoryThrottled,
    HistoryUnanswered,
    HistoryUnavailable,
)
from piker.core.backfilling import WEEK_NS
from piker.core.pace import Pace, TooManyWaiting, Urgency
from piker.core.paging import Stretch
from piker.core.pastframes import Unsound, sound
from piker.core.periods import NS
from piker.core.refusals import forgotten, noted
from piker.core.rows import bars_of, rows_of
from piker.core.spans import Pair, clipped, up, without
from piker.coverage import Unavailable
from piker.keptpast import Kept
from piker.markets import Market
from piker.store.notes import Notes
from piker.store.places import Series
from piker.turns import Turns

ANSWER_S = 300.0
"""Who doesn't answer for so long, once it was asked, won't."""
CROWDED_S = 30.0
"""So many questions wait: some of them will have been asked by then."""


class HistoryUnsound(HistoryUnanswered):
    """The answer can't be; nothing of it was taken."""


class StoredClient:
    """A HistoryClient in front of a provider's: asks it only for what isn't kept."""

    def __init__(
        self,
        client: HistoryClient,
        archive: Archive | None,
        market: Market,
        turns: Turns,
        urgency: Urgency,
        kept: Kept | None = None,
    ) -> None:
        self._client = client
        self._archive = archive
        self._kept = kept or (Kept(archive, lambda fqme, period_s: None) if archive else None)
        self._market = market
        self._turns = turns
        self.urgency = urgency
        """What is asked is this urgent."""
        self.frames: Mapping[int, int] = client.frames
        self.pace: Pace = client.pace
        self.asked = 0
        """Questions that went to the provider."""
        self.problem = ""
        """Why what was given last isn't kept; empty: it is."""

    async def frame(self, period_s: int, from_ns: int, to_ns: int) -> Frame:
        """A stretch, or the end of it, from what is kept or from the provider.

        Raises what a HistoryClient raises, and HistoryUnsound.
        """
        asked = Stretch(from_ns, to_ns)
        if not self._archive or not self._kept or self._archive.unreadable:
            return await self._ask(period_s, asked)
        await self._archive.load()
        series = Series(self._market.fqme, period_s)
        covered = await self._kept.covered(series, *asked)
        if covered and covered[-1][1] >= to_ns:
            return await self._answered(self._kept, series, Stretch(covered[-1][0], to_ns))
        notes = await self._archive.notes(series)
        return await self._ask_and_keep(self._archive, series, _lacking(asked, covered, notes))

    async def _answered(self, kept: Kept, series: Series, stretch: Stretch) -> Frame:
        """What is covered is answered without asking anybody."""
        bars = bars_of(await kept.read(series, *stretch))
        return Frame(from_ns=stretch.from_ns, to_ns=stretch.to_ns, bars=tuple(bars))

    async def _ask_and_keep(self, archive: Archive, series: Series, asked: Stretch) -> Frame:
        try:
            frame = await self._ask(series.period_s, asked)
        except HistoryUnavailable as no:
            await refuse(archive, self._market, series, _never(asked, no, series), str(no))
            raise
        await self._keep(archive, series, frame)
        return frame

    async def _keep(self, archive: Archive, series: Series, frame: Frame) -> None:
        stretch = frame.from_ns, frame.to_ns
        put = await archive.put(
            series,
            rows_of(frame.bars),
            [stretch],
            how="backfilled",
            source=archive.files.provider,
            now_ns=clock.wall_ns(),
        )
        self.problem = "" if put else archive.problem
        if clipped(_refused((await archive.notes(series)).unavailable), *stretch):
            await allow(archive, series, [stretch])

    async def _ask(self, period_s: int, asked: Stretch) -> Frame:
        """The provider, in its turn. Raises what `frame` does."""
        self.asked += 1
        try:
            async with self._turns.turn(self.pace, self.urgency):
                with trio.fail_after(ANSWER_S):
                    frame = await self._client.frame(period_s, *asked)
        except TooManyWaiting as no:
            raise HistoryThrottled(str(no), CROWDED_S) from no
        except trio.TooSlowError as error:
            raise HistoryUnanswered(f"no answer within {ANSWER_S:g} s") from error
        try:
            told, bars = sound(asked, frame.from_ns, frame.to_ns, frame.bars, period_s * NS)
        except Unsound as error:
            raise HistoryUnsound(str(error)) from error
        return Frame(from_ns=told.from_ns, to_ns=told.to_ns, bars=bars)


async def refuse(
    archive: Archive, market: Market, series: Series, never: Pair, reason: str
) -> None:
    """Note that the provider won't give a stretch."""
    new = Unavailable(from_ns=never[0], to_ns=never[1], reason=reason, asked_ns=clock.wall_ns())

    def change(notes: Notes) -> Notes:
        return structs.replace(notes, unavailable=noted(notes.unavailable, new), market=market)

    await archive.change(series, change)


async def allow(archive: Archive, series: Series, stretches: Sequence[Pair]) -> None:
    """Forget that the provider wouldn't give these: they are asked for again."""

    def change(notes: Notes) -> Notes:
        return structs.replace(notes, unavailable=forgotten(notes.unavailable, stretches))

    await archive.change(series, change)


def _lacking(asked: Stretch, covered: Sequence[Pair], notes: Notes) -> Stretch:
    """What of it to ask the provider for: from the oldest that isn't kept on.

    Raises HistoryUnavailable if the provider said of its end that it won't give that.
    """
    now_ns = clock.wall_ns()
    fresh = [each for each in notes.unavailable if now_ns - each.asked_ns < WEEK_NS]
    for each in fresh:
        if each.from_ns < asked.to_ns <= each.to_ns:
            raise HistoryUnavailable(each.reason)
    oldest_ns = without([asked], [*covered, *_refused(fresh)])[0][0]
    return Stretch(oldest_ns, asked.to_ns)


def _refused(noted: Sequence[Unavailable]) -> list[Pair]:
    return [(each.from_ns, each.to_ns) for each in noted]


def _never(asked: Stretch, no: HistoryUnavailable, series: Series) -> Pair:
    """What of a question isn't to be had."""
    if no.first_ns is None or not asked.from_ns < no.first_ns < asked.to_ns:
        return asked
    return asked.from_ns, min(up(no.first_ns, series.period_s * NS), asked.to_ns)
