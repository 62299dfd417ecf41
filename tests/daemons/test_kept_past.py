"""datad: a market's past out of what is kept, in front of its venue's or without one."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import trio
from msgspec import structs

from piker.archive import Archive, open_archive
from piker.brokers import (
    Frame,
    HistoryThrottled,
    HistoryUnanswered,
    HistoryUnavailable,
    VenueLost,
)
from piker.core.bars import NS
from piker.core.rows import rows_of
from piker.datad import UNKNOWN
from piker.errors import Refused
from piker.history import ASK_S, MOST_FRAMES
from piker.interfaces.data import DATA, Covered, History, HistoryReply, NoSuchMarket
from piker.quotes import Bar
from piker.store.places import Series
from piker.storedpast import allow
from tests.conftest import WALL_NS
from tests.daemons.test_backfill import reading, trade
from tests.daemons.test_backfilling import a_store, no_threads
from tests.fakes.past import truth
from tests.fakes.venue import EURUSD, WITH_PAST, Desk, a_desk

__all__ = ["no_threads"]

pytestmark = pytest.mark.usefixtures("virtual_time", "no_threads")

NEWEST_NS = WALL_NS - 2 * NS
"""Up to here bars of a second are final."""
MINUTE = 60 * NS
HOUR_NS = WALL_NS - WALL_NS % (3600 * NS) - 3600 * NS


async def asked(desk: Desk, period_s: int = 1, **other: int) -> HistoryReply:
    call = History(market="eurusd", period_s=period_s, **other)
    return await desk.board.client(DATA).call(call, HistoryReply, 200.0)


async def nobody(frame: Frame, period_s: int) -> Frame:
    """Traded then."""
    return structs.replace(frame, bars=())


async def keep(archive: Archive, from_ns: int, to_ns: int, period_s: int = 1) -> None:
    """What is true of then, on disk."""
    done = await archive.put(
        Series(EURUSD.fqme, period_s),
        rows_of(truth(period_s, from_ns, to_ns)),
        [(from_ns, to_ns)],
        how="live",
        source="fake",
        now_ns=WALL_NS,
    )
    assert done is not None


async def seen(desk: Desk) -> HistoryReply:
    """The answer once somebody has read bars for ten seconds."""
    async with reading(desk):
        await trade(desk, 10)
        return await asked(desk)


def missing(reply: HistoryReply) -> list[tuple[int | None, int, str]]:
    return [(each.from_ns, each.to_ns, each.why) for each in reply.missing]


async def test_bars_of_a_multiple_of_what_the_venue_has_are_made_of_those(tmp_path: Path) -> None:
    async with a_store(tmp_path) as (desk, _):
        reply = await asked(desk, 300, from_ns=HOUR_NS - 3600 * NS, to_ns=HOUR_NS)
    minutes = truth(60, HOUR_NS - 3600 * NS, HOUR_NS)
    assert [each.time_ns for each in reply.bars] == [
        HOUR_NS - back * MINUTE for back in range(60, 0, -5)
    ]
    assert sum(each.volume for each in reply.bars) == sum(each.volume for each in minutes)
    assert {each.period_s for each in desk.venue.past.asked} == {60}
    assert (reply.missing, any(each.partial for each in reply.bars)) == ((), False)


async def test_the_newest_of_them_are_given_up_to_the_one_that_has_not_ended(
    tmp_path: Path,
) -> None:
    async with a_store(tmp_path) as (desk, _):
        reply = await asked(desk, 300, limit=3)
    running = NEWEST_NS - NEWEST_NS % (5 * MINUTE)
    assert [each.time_ns for each in reply.bars] == [
        running - 10 * MINUTE,
        running - 5 * MINUTE,
        running,
    ]
    assert [each.partial for each in reply.bars] == [False, False, True]
    assert reply.coverage[0].from_ns == running - 10 * MINUTE


async def test_one_of_which_a_part_is_missing_is_marked(tmp_path: Path) -> None:
    async with open_archive(tmp_path, "fake") as archive, a_desk(archive=archive) as desk:
        await keep(archive, HOUR_NS - 8 * MINUTE, HOUR_NS, 60)
        reply = await asked(desk, 300, to_ns=HOUR_NS)
    assert [each.partial for each in reply.bars] == [True, False]


async def test_without_a_venue_to_ask_what_is_kept_is_the_answer_and_the_rest_is_missing(
    tmp_path: Path,
) -> None:
    async with open_archive(tmp_path, "fake") as archive, a_desk(archive=archive) as desk:
        await keep(archive, NEWEST_NS - 90 * NS, NEWEST_NS - 60 * NS)
        await keep(archive, NEWEST_NS - 40 * NS, NEWEST_NS)
        reply = await asked(desk, from_ns=NEWEST_NS - 100 * NS)
    assert missing(reply) == [
        (NEWEST_NS - 100 * NS, NEWEST_NS - 90 * NS, "unavailable"),
        (NEWEST_NS - 60 * NS, NEWEST_NS - 40 * NS, "unavailable"),
    ]
    assert reply.missing[0].reason == (
        "nothing of then is kept, and the provider has no past to ask for"
    )
    assert reply.bars == truth(1, NEWEST_NS - 90 * NS, NEWEST_NS - 60 * NS) + truth(
        1, NEWEST_NS - 40 * NS, NEWEST_NS
    )


async def test_of_what_was_never_kept_all_is_missing(tmp_path: Path) -> None:
    async with open_archive(tmp_path, "fake") as archive, a_desk(archive=archive) as desk:
        await keep(archive, NEWEST_NS - 90 * NS, NEWEST_NS)
        reply = await asked(desk, from_ns=0, to_ns=HOUR_NS - 3600 * NS)
    assert (reply.bars, missing(reply)) == ((), [(0, HOUR_NS - 3600 * NS, "unavailable")])


async def test_bars_that_are_not_on_disk_yet_are_in_the_answer(tmp_path: Path) -> None:
    async with open_archive(tmp_path, "fake") as archive, a_desk(archive=archive) as desk:
        live, stored = await seen(desk), await archive.series()
    assert (len(live.bars), stored) == (7, [])


async def test_bars_that_are_kept_cost_no_question_however_many_frames_they_are_in(
    tmp_path: Path,
) -> None:
    begin = NEWEST_NS - (MOST_FRAMES + 10) * MINUTE
    async with a_store(tmp_path) as (desk, archive):
        await keep(archive, begin, NEWEST_NS)
        reply = await asked(desk, from_ns=begin, limit=10_000)
        assert desk.venue.past.asked == []
    assert reply.coverage == (Covered(from_ns=begin, to_ns=NEWEST_NS),)
    assert reply.bars == truth(1, begin, NEWEST_NS)


GONE = "gone.cme.fake"


async def keep_of_one_that_is_gone(archive: Archive) -> None:
    done = await archive.put(
        Series(GONE, 60),
        rows_of(truth(60, HOUR_NS - 9 * MINUTE, HOUR_NS)),
        [(HOUR_NS - 9 * MINUTE, HOUR_NS)],
        how="imported",
        source="theirs.csv",
        now_ns=WALL_NS,
    )
    assert done is not None


@pytest.mark.parametrize("name", [GONE, "Gone.CME.fake"])
async def test_of_a_market_that_its_venue_does_not_know_what_is_kept_is_the_answer(
    tmp_path: Path, name: str
) -> None:
    async with a_store(tmp_path) as (desk, archive):
        await keep_of_one_that_is_gone(archive)
        call = History(market=name, period_s=60, from_ns=HOUR_NS - 10 * MINUTE, to_ns=HOUR_NS)
        reply = await desk.board.client(DATA).call(call, HistoryReply)
        assert desk.venue.past.asked == []
    assert (reply.market, reply.unasked) == (GONE, UNKNOWN)
    assert reply.bars == truth(60, HOUR_NS - 9 * MINUTE, HOUR_NS)
    assert missing(reply) == [(HOUR_NS - 10 * MINUTE, HOUR_NS - 9 * MINUTE, "unavailable")]
    assert reply.missing[0].reason == f"nothing of then is kept, and {UNKNOWN}"


async def test_longer_bars_of_it_are_made_as_of_any_other(tmp_path: Path) -> None:
    async with a_store(tmp_path) as (desk, archive):
        await keep_of_one_that_is_gone(archive)
        call = History(market=GONE, period_s=180, to_ns=HOUR_NS)
        reply = await desk.board.client(DATA).call(call, HistoryReply)
    assert [each.partial for each in reply.bars] == [False] * 3


async def test_what_nothing_is_kept_of_either_is_refused_as_the_venue_does(tmp_path: Path) -> None:
    async with a_store(tmp_path) as (desk, archive):
        await keep(archive, NEWEST_NS - 90 * NS, NEWEST_NS)
        with pytest.raises(Refused) as refused:
            await desk.board.client(DATA).call(History(market=GONE, period_s=60), HistoryReply)
    assert isinstance(refused.value.fault, NoSuchMarket)


async def test_one_of_which_the_name_makes_no_sense_to_its_venue_is_answered_too(
    tmp_path: Path,
) -> None:
    async with a_store(tmp_path) as (desk, archive):
        await archive.put(
            Series("es!.cme.fake", 60),
            rows_of(truth(60, HOUR_NS - MINUTE, HOUR_NS)),
            [],
            how="imported",
            source="theirs.csv",
            now_ns=WALL_NS,
        )
        call = History(market="es!.cme.fake", period_s=60)
        reply = await desk.board.client(DATA).call(call, HistoryReply)
    assert reply.unasked == UNKNOWN


def away(desk: Desk) -> None:
    desk.venue.away = "no route to host"


def unopened(desk: Desk) -> None:
    desk.venue.past.unopened = VenueLost("no route to host")


@pytest.mark.parametrize("lose", [away, unopened])
async def test_a_venue_that_cannot_be_reached_hides_nothing_that_is_kept(
    tmp_path: Path, lose: Callable[[Desk], None]
) -> None:
    async with a_store(tmp_path) as (desk, archive):
        await keep(archive, NEWEST_NS - 90 * NS, NEWEST_NS)
        lose(desk)
        call = History(market=EURUSD.fqme, period_s=1, from_ns=NEWEST_NS - 100 * NS)
        reply = await desk.board.client(DATA).call(call, HistoryReply)
    assert reply.unasked == "the venue is away: no route to host"
    assert reply.bars == truth(1, NEWEST_NS - 90 * NS, NEWEST_NS)
    assert missing(reply) == [(NEWEST_NS - 100 * NS, NEWEST_NS - 90 * NS, "lost")]


@pytest.mark.parametrize(
    ("no", "why", "pause_s"),
    [
        (VenueLost("gone"), "lost", None),
        (HistoryUnanswered("nothing came"), "unanswered", None),
        (HistoryThrottled("too often", 60.0), "throttled", 60.0),
    ],
)
async def test_what_the_venue_does_not_answer_hides_nothing_older_that_is_kept(
    tmp_path: Path, no: Exception, why: str, pause_s: float | None
) -> None:
    async with a_store(tmp_path) as (desk, archive):
        await keep(archive, NEWEST_NS - 500 * NS, NEWEST_NS - 400 * NS)
        await keep(archive, NEWEST_NS - 90 * NS, NEWEST_NS - 10 * NS)
        desk.venue.past.script = [no]
        reply = await asked(desk, from_ns=NEWEST_NS - 600 * NS)
        assert len(desk.venue.past.asked) == 1
    assert reply.bars == truth(1, NEWEST_NS - 500 * NS, NEWEST_NS - 400 * NS) + truth(
        1, NEWEST_NS - 90 * NS, NEWEST_NS - 10 * NS
    )
    assert missing(reply) == [
        (NEWEST_NS - 600 * NS, NEWEST_NS - 500 * NS, why),
        (NEWEST_NS - 400 * NS, NEWEST_NS - 90 * NS, why),
        (NEWEST_NS - 10 * NS, NEWEST_NS, why),
    ]
    assert {each.pause_s for each in reply.missing} == {pause_s}


FIRST_NS = NEWEST_NS - 90 * NS


async def begins(frame: Frame, period_s: int) -> Frame | Exception:
    """The venue's bars begin there, in the midst of a frame."""
    if frame.from_ns >= FIRST_NS:
        return frame
    first_ns = FIRST_NS if frame.to_ns > FIRST_NS else None
    return HistoryUnavailable("before its first", first_ns)


async def never(frame: Frame, period_s: int) -> Exception:
    """It gives nothing at all."""
    return HistoryUnavailable("no permission")


@pytest.mark.parametrize("kept_to_ns", [FIRST_NS, FIRST_NS - 50 * NS])
async def test_where_the_venues_bars_begin_older_ones_that_are_kept_go_on(
    tmp_path: Path, kept_to_ns: int
) -> None:
    begin_ns = FIRST_NS - 400 * NS
    async with a_store(tmp_path) as (desk, archive):
        await keep(archive, begin_ns + 10 * NS, kept_to_ns)
        desk.venue.past.script = [begins] * 4
        told = [await asked(desk, from_ns=begin_ns) for _ in range(2)]
        newest = await asked(desk)
    kept = truth(1, begin_ns + 10 * NS, kept_to_ns)
    gap = [(kept_to_ns, FIRST_NS, "unavailable")] if kept_to_ns < FIRST_NS else []
    for reply in told:
        assert reply.bars == kept + truth(1, FIRST_NS, NEWEST_NS)
        assert missing(reply) == [(begin_ns, begin_ns + 10 * NS, "unavailable"), *gap]
        assert len(reply.coverage) == 1 + len(gap)
    assert newest.bars == told[0].bars
    assert {each.reason for each in newest.missing} == {"before its first"}


async def test_what_the_venue_never_gives_hides_nothing_that_is_kept(tmp_path: Path) -> None:
    async with a_store(tmp_path) as (desk, archive):
        await keep(archive, NEWEST_NS - 500 * NS, NEWEST_NS - 400 * NS)
        desk.venue.past.script = [never]
        replies = [await asked(desk, from_ns=NEWEST_NS - 600 * NS) for _ in range(2)]
        assert len(desk.venue.past.asked) == 1
    for reply in replies:
        assert reply.bars == truth(1, NEWEST_NS - 500 * NS, NEWEST_NS - 400 * NS)
        assert missing(reply) == [
            (NEWEST_NS - 600 * NS, NEWEST_NS - 500 * NS, "unavailable"),
            (NEWEST_NS - 400 * NS, NEWEST_NS, "unavailable"),
        ]


async def test_older_bars_that_are_kept_are_looked_for_as_long_as_a_question_may_take(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begin_ns, end_ns, read_s = NEWEST_NS - 60_000 * NS, NEWEST_NS - 100 * NS, ASK_S / 3
    series, known = Series(EURUSD.fqme, 1), [(begin_ns, end_ns)]
    async with a_store(tmp_path) as (desk, archive):
        await archive.put(series, rows_of(()), known, how="imported", source="file", now_ns=WALL_NS)
        read = archive.read

        async def slowly(*stretch: Any) -> Any:
            await trio.sleep(read_s)
            return await read(*stretch)

        monkeypatch.setattr(archive, "read", slowly)
        desk.venue.past.script = [never]
        start = trio.current_time()
        reply = await asked(desk, from_ns=begin_ns)
        assert trio.current_time() - start <= ASK_S + read_s  # rows known in part are read, too
    assert [each.why for each in reply.missing] == ["unanswered", "unavailable"]
    assert [each.to_ns for each in reply.coverage] == [end_ns]


async def test_a_calendar_that_an_import_named_outlives_what_the_venue_does_not_give(
    tmp_path: Path,
) -> None:
    series, stretch = Series(EURUSD.fqme, 1), (NEWEST_NS - 60 * NS, NEWEST_NS)
    async with a_store(tmp_path) as (desk, archive):
        await archive.change(series, lambda notes: structs.replace(notes, calendar="FX"))
        desk.venue.past.script = [never]
        await asked(desk, from_ns=stretch[0])
        refused = await archive.notes(series)
        await allow(archive, series, [stretch])
        allowed = await archive.notes(series)
    assert [(len(each.unavailable), each.calendar) for each in (refused, allowed)] == (
        [(1, "FX"), (0, "FX")]
    )


async def test_older_bars_that_are_kept_count_in_the_limit_with_the_venues(tmp_path: Path) -> None:
    begin_ns = FIRST_NS - 400 * NS
    async with a_store(tmp_path) as (desk, archive):
        await keep(archive, begin_ns, FIRST_NS)
        desk.venue.past.script = [begins] * 4
        reply = await asked(desk, from_ns=begin_ns, limit=200)
    assert reply.bars == truth(1, begin_ns, NEWEST_NS)[-200:]
    assert missing(reply) == [(begin_ns, reply.bars[0].time_ns, "limit")]


async def keep_with_a_part(archive: Archive) -> tuple[Bar, ...]:
    """Minutes of which the first and the last were seen in part; they are partial, with that."""
    from_ns, to_ns = HOUR_NS - 6 * MINUTE, HOUR_NS - 3 * MINUTE
    bars = truth(60, from_ns, to_ns)
    half = MINUTE // 2
    await archive.put(
        Series(EURUSD.fqme, 60),
        rows_of(bars),
        [(from_ns + half, to_ns - half)],
        how="live",
        source="fake",
        now_ns=WALL_NS,
    )
    first, *others, last = bars
    return (
        structs.replace(first, partial=True),
        *others,
        structs.replace(last, partial=True),
    )


async def test_what_was_seen_of_a_period_in_part_is_given_and_marked_and_not_covered(
    tmp_path: Path,
) -> None:
    async with open_archive(tmp_path, "fake") as archive, a_desk(archive=archive) as desk:
        bars = await keep_with_a_part(archive)
        reply = await asked(desk, 60, from_ns=HOUR_NS - 10 * MINUTE, to_ns=HOUR_NS)
        spans = await archive.coverage(Series(EURUSD.fqme, 60), 0, WALL_NS)
    whole = HOUR_NS - 5 * MINUTE, HOUR_NS - 4 * MINUTE
    assert reply.bars == bars
    assert reply.coverage == (Covered(from_ns=whole[0], to_ns=whole[1]),)
    assert missing(reply) == [
        (HOUR_NS - 10 * MINUTE, whole[0], "unavailable"),
        (whole[1], HOUR_NS, "unavailable"),
    ]
    assert [(each.from_ns, each.to_ns) for each in spans] == [whole]


async def test_what_the_venue_tells_takes_the_place_of_a_part(tmp_path: Path) -> None:
    async with a_store(tmp_path) as (desk, archive):
        await keep_with_a_part(archive)
        reply = await asked(desk, 60, from_ns=HOUR_NS - 10 * MINUTE, to_ns=HOUR_NS)
    assert reply.bars == truth(60, HOUR_NS - 10 * MINUTE, HOUR_NS)
    assert reply.missing == ()


async def test_a_part_is_given_while_the_venue_is_away(tmp_path: Path) -> None:
    async with a_store(tmp_path) as (desk, archive):
        bars = await keep_with_a_part(archive)
        away(desk)
        call = History(market=EURUSD.fqme, period_s=60, to_ns=HOUR_NS)
        reply = await desk.board.client(DATA).call(call, HistoryReply)
    assert reply.bars == bars


async def test_a_longer_bar_is_made_of_parts_too_and_is_partial(tmp_path: Path) -> None:
    async with open_archive(tmp_path, "fake") as archive, a_desk(archive=archive) as desk:
        bars = await keep_with_a_part(archive)
        reply = await asked(desk, 180, from_ns=HOUR_NS - 6 * MINUTE, to_ns=HOUR_NS)
    (made,) = reply.bars
    assert (made.volume, made.partial) == (sum(each.volume for each in bars), True)


async def test_with_parts_there_are_no_more_bars_than_were_asked_for(tmp_path: Path) -> None:
    async with open_archive(tmp_path, "fake") as archive, a_desk(archive=archive) as desk:
        bars = await keep_with_a_part(archive)
        from_ns = HOUR_NS - 10 * MINUTE
        reply = await asked(desk, 60, from_ns=from_ns, to_ns=HOUR_NS, limit=1)
    assert reply.bars == bars[-1:]
    first_ns = HOUR_NS - 4 * MINUTE
    assert (reply.coverage, missing(reply)) == (
        (),
        [(from_ns, first_ns, "limit"), (first_ns, HOUR_NS, "unavailable")],
    )


async def test_it_does_not_ask_for_ever_where_nobody_trades() -> None:
    async with a_desk(endpoints=WITH_PAST) as desk:
        desk.venue.past.script = [nobody] * (2 * MOST_FRAMES)
        reply = await asked(desk)
        assert len(desk.venue.past.asked) == MOST_FRAMES
    assert missing(reply) == [(None, NEWEST_NS - MOST_FRAMES * MINUTE, "limit")]
