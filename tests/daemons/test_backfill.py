"""datad: what bars lack once the venue is back, by a provider with a past in the test's hands."""

import logging
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio

from piker.brokers import (
    Dropped,
    Frame,
    HistoryThrottled,
    HistoryUnanswered,
    HistoryUnavailable,
    Missed,
    Subscribed,
    VenueLost,
)
from piker.core.bars import NS
from piker.interfaces.data import BarsReply
from piker.quotes import Bar
from piker.sharedbars import BarReader, SharedBars
from tests.conftest import WALL_NS
from tests.fakes.past import truth
from tests.fakes.venue import EURUSD, WITH_PAST, Desk, a_desk, quote, tick

pytestmark = pytest.mark.usefixtures("virtual_time")

DAY = 86_400
SEEN = 7777.0
"""The price of all that is seen live; the venue's past has others."""


class Reader:
    """Who reads bars: the newest memfd, and why each came."""

    def __init__(self) -> None:
        self.reasons: list[str] = []
        self.reader: BarReader

    def take(self, reply: BarsReply, reader: BarReader) -> None:
        self.reasons.append(reply.reason)
        self.reader = reader

    @property
    def bars(self) -> list[Bar]:
        return self.reader.bars(100_000)

    @property
    def seen(self) -> list[int]:
        """When bars begin that were seen live, s."""
        return [(bar.time_ns - WALL_NS) // NS for bar in self.bars if bar.open == SEEN]

    @property
    def coverage(self) -> list[tuple[float, float]]:
        stretches = self.reader.coverage()
        return [((one - WALL_NS) / NS, (two - WALL_NS) / NS) for one, two in stretches]

    def of(self, from_s: int, to_s: int) -> list[Bar]:
        first, end = WALL_NS + from_s * NS, WALL_NS + to_s * NS
        return [bar for bar in self.bars if first <= bar.time_ns < end]


@asynccontextmanager
async def reading(desk: Desk, period_s: int = 1) -> AsyncIterator[Reader]:
    """Bars, as they come."""
    read = Reader()
    async with desk.reading("eurusd", period_s) as replies, trio.open_nursery() as nursery:
        read.take(*await anext(replies))

        async def follow() -> None:
            async for each in replies:
                read.take(*each)

        nursery.start_soon(follow)
        yield read
        nursery.cancel_scope.cancel()


async def trade(desk: Desk, seconds: int) -> None:
    """The market trades once a second for so long; then half a second passes."""
    for _ in range(seconds):
        desk.venue.say(quote(tick("trade", SEEN, 1.0)))
        await trio.sleep(1)


async def be_away(desk: Desk, seconds: float) -> None:
    """The venue is lost, and back after so long."""
    desk.venue.away = "no line"
    desk.venue.fail(VenueLost("cut"))
    await trio.sleep(seconds)
    desk.venue.away = ""


def a_minute_of(past_from_s: int, past_to_s: int, period_s: int = 1) -> list[Bar]:
    """What the venue has, from the beginning of the test on."""
    return list(truth(period_s, WALL_NS + past_from_s * NS, WALL_NS + past_to_s * NS))


def asked(desk: Desk, period_s: int = 1) -> list[tuple[int, int]]:
    """The stretches that were asked for, s since the beginning."""
    return [
        ((each.from_ns - WALL_NS) // NS, (each.to_ns - WALL_NS) // NS)
        for each in desk.venue.past.asked
        if each.period_s == period_s
    ]


async def be_dropped(desk: Desk, seconds: int) -> None:
    """The venue drops the market, and sends it again after so long."""
    desk.venue.say(Dropped(market=EURUSD.fqme, reason="data lost"))
    await trio.sleep(seconds)
    desk.venue.say(Subscribed(market=EURUSD))


@asynccontextmanager
async def a_hole(*script: Frame | Exception | None) -> AsyncIterator[tuple[Desk, Reader]]:
    """Seconds 0 to 9 were seen, then none, then 75 to 94.

    The hole begins at the last that was heard, with second 9.
    """
    async with a_desk(endpoints=WITH_PAST) as desk, reading(desk) as read:
        desk.venue.past.script = list(script)
        await trade(desk, 10)
        await be_dropped(desk, 65)
        await trade(desk, 20)
        yield desk, read


async def test_bars_of_the_time_that_the_feed_was_away_are_the_venues() -> None:
    async with a_hole() as (_, read):
        assert read.of(9, 75) == a_minute_of(9, 75)
        assert read.seen == [*range(9), *range(75, 95)]
        assert read.coverage == [(0, 94)]
        assert read.reasons == ["opened", "filled", "filled"]


async def test_the_newest_frame_is_asked_for_first_and_only_of_the_hole() -> None:
    async with a_hole() as (desk, _):
        assert asked(desk) == [(15, 75), (9, 15)]


async def test_the_hole_of_a_venue_that_was_lost_is_filled() -> None:
    async with a_desk(endpoints=WITH_PAST) as desk, reading(desk) as read:
        await trade(desk, 10)
        await be_away(desk, 5)
        await trade(desk, 20)
        ((begin, end),) = asked(desk)
        assert (begin, read.coverage) == (9, [(0, 34)])
        assert read.of(begin, end) == a_minute_of(begin, end)


async def test_what_was_missed_while_the_market_counted_as_live_is_filled() -> None:
    async with a_desk(endpoints=WITH_PAST) as desk, reading(desk) as read:
        await trade(desk, 10)
        await trio.sleep(20)
        desk.venue.say(Missed(market=EURUSD.fqme))
        await trade(desk, 10)
        assert asked(desk) == [(9, 30)]
        assert read.of(9, 30) == a_minute_of(9, 30)
        assert read.coverage == [(0, 39)]


async def test_what_was_missed_between_a_crash_and_the_next_start_is_filled() -> None:
    async with (
        a_desk(
            endpoints=WITH_PAST, left={f"bars-1-{EURUSD.fqme}-1": what_is_left(-30, -20)}
        ) as desk,
        reading(desk) as read,
    ):
        await trade(desk, 10)
        assert asked(desk) == [(-20, 0)]
        assert read.of(-20, 0) == a_minute_of(-20, 0)
        assert read.seen == [*range(-30, -20), *range(10)]
        assert read.coverage == [(-30, 9)]


async def test_a_hole_is_filled_no_further_back_than_the_window_is() -> None:
    left = {f"bars-60-{EURUSD.fqme}-1": what_is_left(-2 * DAY, 60 - 2 * DAY, 60)}
    days = {1: 1, 60: 1}
    async with (
        a_desk(endpoints=WITH_PAST, left=left, days=days) as desk,
        reading(desk, 60) as read,
    ):
        await trade(desk, 70)
        assert min(asked(desk, 60))[0] == -DAY
        assert read.coverage[-1] == (-DAY, 69)


def what_is_left(from_s: int, to_s: int, period_s: int = 1) -> int:
    """A memfd of a datad that saw this time, and died."""
    bars = SharedBars(EURUSD.fqme, period_s, lambda fd, generation: None, capacity=1000)
    for second in range(from_s, to_s):
        bars.take(WALL_NS + second * NS, SEEN, 1.0, derived=False)
    bars.writer.cover(WALL_NS + from_s * NS, WALL_NS + to_s * NS)
    fd = os.dup(bars.fd)
    bars.close()
    return fd


async def test_a_period_that_was_seen_in_part_is_the_venues() -> None:
    async with a_desk(endpoints=WITH_PAST) as desk, reading(desk, 60) as read:
        await trade(desk, 70)
        await be_away(desk, 10)
        await trade(desk, 120)
        minutes = {(bar.time_ns - WALL_NS) // NS: bar for bar in read.bars}
        assert asked(desk, 60) == [(60, 120)]
        assert minutes[0].open == minutes[120].open == SEEN
        assert [minutes[60]] == a_minute_of(60, 120, 60)
        assert read.reasons == ["opened", "filled"]


async def test_each_period_that_is_read_is_filled() -> None:
    async with a_desk(endpoints=WITH_PAST) as desk, reading(desk) as one, reading(desk, 60) as two:
        await trade(desk, 10)
        await be_dropped(desk, 20)
        await trade(desk, 60)
        assert (asked(desk, 1), asked(desk, 60)) == ([(9, 30)], [(0, 60)])
        assert (one.coverage, two.coverage) == ([(0, 89)], [(0, 89)])


async def test_what_nobody_read_has_no_hole() -> None:
    async with a_desk(endpoints=WITH_PAST) as desk, desk.watching("eurusd") as replies:
        await anext(replies)
        await trade(desk, 10)
        await be_away(desk, 65)
        async with reading(desk, 60):
            await trade(desk, 60)
        assert desk.venue.past.asked == []


async def test_a_market_that_was_silent_is_filled_when_it_is_back() -> None:
    async with a_desk(endpoints=WITH_PAST) as desk, reading(desk) as read:
        await trade(desk, 10)
        await trio.sleep(100)
        await trade(desk, 10)
        assert asked(desk)[0][1] == 110
        assert asked(desk)[-1][0] == 9
        assert len(read.coverage) == 1


async def test_narrow_answers_are_gone_on_from() -> None:
    def narrow(from_s: int, to_s: int) -> Frame:
        begin, end = WALL_NS + from_s * NS, WALL_NS + to_s * NS
        return Frame(from_ns=begin, to_ns=end, bars=truth(1, begin, end))

    async with a_hole(narrow(70, 75), narrow(40, 70)) as (desk, read):
        assert asked(desk) == [(15, 75), (10, 70), (9, 40)]
        assert read.of(9, 75) == a_minute_of(9, 75)
        assert read.coverage == [(0, 94)]


async def test_the_feed_does_not_wait_for_a_venue_that_does_not_answer_about_the_past() -> None:
    async with a_hole(None) as (desk, read):
        assert len(asked(desk)) == 1
        assert read.reasons == ["opened"]
        assert read.seen[-3:] == [92, 93, 94]
        assert len(read.coverage) == 2


async def test_what_was_not_answered_is_asked_for_again_and_said_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    silent = [HistoryUnanswered("no answer within 60 s")] * 3
    async with a_hole(*silent) as (desk, read):
        assert len(asked(desk)) == 1
        await trade(desk, 400)
        assert len(read.coverage) == 1
        assert asked(desk) == [(15, 75)] * 4 + [(9, 15)]
    said = [each.getMessage() for each in caplog.records if "hole" in each.getMessage()]
    assert sum("no answer within 60 s" in each for each in said) == 1


async def test_who_is_asked_too_often_is_asked_again_when_it_says(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with a_hole(HistoryThrottled("pacing", 100.0)) as (desk, read):
        await trade(desk, 70)
        assert len(asked(desk)) == 1
        await trade(desk, 40)
        assert len(read.coverage) == 1


async def test_what_is_not_to_be_had_is_said_once_and_not_asked_for_again(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    async with a_hole(HistoryUnavailable("no permission")) as (desk, read):
        await trade(desk, 400)
        assert len(asked(desk)) == 1
        assert len(read.coverage) == 2
        assert read.reasons == ["opened"]
    (said,) = [each for each in caplog.records if "no permission" in each.getMessage()]
    assert said.levelno == logging.WARNING
    assert "hole in its bars of 1 s" in said.getMessage()


async def test_a_hole_of_before_the_first_data_is_filled_from_then_on() -> None:
    first = WALL_NS + 40 * NS
    async with a_hole(HistoryUnavailable("it begins", first)) as (desk, read):
        assert asked(desk) == [(15, 75), (40, 75)]
        assert read.of(10, 75) == a_minute_of(40, 75)
        assert read.coverage == [(0, 9), (40, 94)]


async def test_a_venue_whose_past_cannot_be_opened_is_asked_again() -> None:
    async with a_desk(endpoints=WITH_PAST) as desk, reading(desk) as read:
        desk.venue.past.unopened = VenueLost("no gateway")
        await trade(desk, 10)
        await be_away(desk, 20)
        await trade(desk, 10)
        assert desk.venue.past.asked == []
        desk.venue.past.unopened = None
        await trade(desk, 60)
        assert len(read.coverage) == 1
