"""datad: bars on disk filled back, by a provider whose past is in the test's hands."""

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import trio
from msgspec import structs
from trio.testing import wait_all_tasks_blocked

from piker.archive import RETRY_S, Archive, open_archive
from piker.brokers import Frame, HistoryThrottled, HistoryUnavailable, VenueLost
from piker.core.bars import NS
from piker.core.pace import Pace, Rate
from piker.core.rows import rows_of
from piker.core.spans import joined
from piker.core.windows import DAYS
from piker.coverage import Unavailable
from piker.errors import Refused
from piker.interfaces.data import (
    DATA,
    Backfill,
    BackfillReply,
    History,
    HistoryReply,
    NoSuchPeriod,
    NothingKept,
    NothingToFill,
    NotSupported,
)
from piker.interfaces.introspection import InvalidParameter
from piker.markets import Session
from piker.store.notes import Notes
from piker.store.places import Series
from piker.store.room import MIB
from tests.conftest import WALL_NS
from tests.daemons.test_backfill import reading, trade
from tests.fakes import twists
from tests.fakes.disk import free
from tests.fakes.past import Past, truth
from tests.fakes.venue import EURUSD, PATIENCE_S, WITH_PAST, Desk, a_desk

pytestmark = pytest.mark.usefixtures("virtual_time", "no_threads")

SECONDS = Series(EURUSD.fqme, 1)
SLOW = Pace(rates=(Rate(questions=5, per_s=10), Rate(questions=20, per_s=100)), at_once=2)


@pytest.fixture
def no_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    """Virtual time would pass while a thread works."""
    monkeypatch.setattr(trio.to_thread, "run_sync", at_once)


async def at_once(work: Callable[[], Any], *, limiter: trio.CapacityLimiter) -> Any:
    """Does a thread's work in no time."""
    async with limiter:
        return work()


@asynccontextmanager
async def a_store(
    directory: Path,
    past: Past | None = None,
    days: Mapping[int, int] = DAYS,
    patience_s: float = PATIENCE_S,
) -> AsyncIterator[tuple[Desk, Archive]]:
    """A datad that keeps bars here, and so many days of them in shared memory."""
    async with (
        open_archive(directory, "fake") as archive,
        a_desk(
            endpoints=WITH_PAST, archive=archive, past=past, days=days, patience_s=patience_s
        ) as desk,
    ):
        yield desk, archive


def back(seconds: int, **other: Any) -> Backfill:
    """So far back."""
    return Backfill(market="eurusd", period_s=1, from_ns=WALL_NS - seconds * NS, **other)


def to_do(**other: Any) -> Backfill:
    """What was asked for before."""
    return Backfill(market="eurusd", period_s=1, **other)


async def told(desk: Desk, call: Backfill) -> list[BackfillReply]:
    """All that a backfill tells until it is over."""
    return [reply async for reply, _ in desk.board.client(DATA).replies(call, BackfillReply)]


async def until(replies: AsyncGenerator[tuple[BackfillReply, Any]], state: str) -> BackfillReply:
    """Read on until it is so."""
    async for reply, _ in replies:
        if reply.state == state:
            return reply
    raise AssertionError(f"expected {state}")


async def first(desk: Desk, call: Backfill) -> BackfillReply:
    """What it tells at once."""
    async with aclosing(desk.board.client(DATA).replies(call, BackfillReply)) as replies:
        reply, _ = await anext(replies)
    return reply


def asked(desk: Desk) -> list[tuple[int, int]]:
    """The stretches that were asked for, s since the beginning."""
    return [
        ((each.from_ns - WALL_NS) // NS, (each.to_ns - WALL_NS) // NS)
        for each in desk.venue.past.asked
    ]


async def covered(archive: Archive, how: str = "") -> list[tuple[int, int]]:
    """What is covered on disk, s since the beginning."""
    spans = await archive.coverage(SECONDS, 0, 2 * WALL_NS)
    found = joined((each.from_ns, each.to_ns) for each in spans if how in ("", each.how))
    return [((a - WALL_NS) // NS, (b - WALL_NS) // NS) for a, b in found]


async def is_true(archive: Archive, from_s: int, to_s: int) -> bool:
    """Whether this is on disk, and nothing else of then."""
    stretch = WALL_NS + from_s * NS, WALL_NS + to_s * NS
    return np.array_equal(await archive.read(SECONDS, *stretch), rows_of(truth(1, *stretch)))


# --- a backfill


async def test_bars_are_filled_back_the_newest_first_and_kept(tmp_path: Path) -> None:
    async with a_store(tmp_path) as (desk, archive):
        *_, last = await told(desk, back(150))
        assert asked(desk) == [(-62, -2), (-122, -62), (-150, -122)]
        assert await is_true(archive, -150, -2)
        assert await covered(archive) == [(-150, -2)]
    assert (last.state, last.share, last.frames_left, last.eta_s) == ("done", 1.0, 0, 0.0)
    assert last.rows == len(truth(1, WALL_NS - 150 * NS, WALL_NS - 2 * NS))
    assert (last.frames, last.settled_from_ns) == (3, WALL_NS - 150 * NS)


async def test_progress_says_how_far_it_is(tmp_path: Path) -> None:
    async with a_store(tmp_path, Past(pace=SLOW)) as (desk, _):
        replies = await told(desk, back(602))
    shares = [reply.share for reply in replies]
    assert shares == sorted(shares)
    assert [reply.frames for reply in replies if reply.frames] == sorted(set(range(1, 11)))
    half = replies[shares.index(0.5)]
    assert (half.frames_left, half.left_s, half.settled_from_ns) == (5, 300, WALL_NS - 302 * NS)


async def test_what_is_there_is_not_asked_for_again(tmp_path: Path) -> None:
    async with a_store(tmp_path) as (desk, archive):
        await told(desk, back(70))
        await told(desk, back(100))
        assert asked(desk) == [(-62, -2), (-70, -62), (-100, -70)]
        assert await is_true(archive, -100, -2)


async def test_who_hangs_up_ends_no_backfill(tmp_path: Path) -> None:
    async with a_store(tmp_path) as (desk, archive):
        desk.venue.past.hold()
        assert (await first(desk, back(100))).state in ("running", "waiting")
        desk.venue.past.let_go()
        assert (await told(desk, to_do()))[-1].state == "done"
        assert await is_true(archive, -100, -2)


async def test_a_backfill_goes_on_where_it_was_after_a_restart(tmp_path: Path) -> None:
    past = Past()
    async with a_store(tmp_path, past) as (desk, _):
        past.script = [twists.narrow, None]
        await first(desk, back(100))
        await trio.sleep(1)
        assert asked(desk) == [(-62, -2), (-92, -32)]
    past.asked.clear()
    async with a_store(tmp_path, past) as (desk, archive):
        assert desk.datad.reason_to_live() == ""
        assert (await told(desk, to_do()))[-1].state == "done"
        assert asked(desk) == [(-61, -1), (-100, -61)]
        assert await is_true(archive, -100, -2)


async def test_an_unfinished_backfill_is_a_reason_to_live(tmp_path: Path) -> None:
    async with a_store(tmp_path) as (desk, _):
        desk.venue.past.hold()
        await first(desk, back(100))
        assert desk.datad.reason_to_live() == "1 of its histories are being filled"
        desk.venue.past.let_go()
        await told(desk, to_do())
        assert desk.datad.reason_to_live() == ""


async def test_a_paused_backfill_asks_nothing_also_after_a_restart(tmp_path: Path) -> None:
    past = Past()
    async with a_store(tmp_path, past) as (desk, _):
        past.hold()
        await first(desk, back(100))
        assert (await first(desk, to_do(order="pause"))).state == "paused"
        past.let_go()
    past.asked.clear()
    async with a_store(tmp_path, past) as (desk, archive):
        await trio.sleep(100)
        assert (await first(desk, to_do())).state == "paused"
        assert (asked(desk), desk.datad.reason_to_live()) == ([], "")
        assert (await told(desk, to_do(order="resume")))[-1].state == "done"
        assert await is_true(archive, -100, -2)


async def test_a_paused_backfill_tells_how_far_it_came(tmp_path: Path) -> None:
    past = Past(pace=Pace(rates=(Rate(questions=1, per_s=10),)))
    async with a_store(tmp_path, past) as (desk, _):
        async with aclosing(desk.board.client(DATA).replies(back(100), BackfillReply)) as replies:
            async for reply, _ in replies:
                if reply.rows:
                    break
        paused = await first(desk, to_do(order="pause"))
        assert (paused.state, paused.eta_s, paused.rows) == ("paused", None, reply.rows)
        assert (paused.share, paused.settled_from_ns) == (reply.share, reply.settled_from_ns)
        assert 0 < paused.share < 1
        assert (await told(desk, to_do(order="resume")))[-1].state == "done"


async def test_a_forgotten_backfill_is_over(tmp_path: Path) -> None:
    async with a_store(tmp_path) as (desk, archive):
        desk.venue.past.hold()
        await first(desk, back(100))
        assert [each.state for each in await told(desk, to_do(order="forget"))] == ["forgotten"]
        desk.venue.past.let_go()
        with pytest.raises(Refused) as refused:
            await told(desk, to_do())
        assert (await archive.notes(SECONDS)).wanted is None
    assert refused.value.fault == NothingToFill(market=EURUSD.fqme, period_s=1)


async def test_further_back_is_one_backfill(tmp_path: Path) -> None:
    async with a_store(tmp_path) as (desk, archive):
        desk.venue.past.hold()
        await first(desk, back(100))
        assert (await first(desk, back(200))).from_ns == WALL_NS - 200 * NS
        assert (await first(desk, back(50))).from_ns == WALL_NS - 200 * NS
        desk.venue.past.let_go()
        await told(desk, to_do())
        assert await is_true(archive, -200, -2)


@pytest.mark.parametrize(
    ("call", "fault"),
    [
        (to_do(), NothingToFill(market=EURUSD.fqme, period_s=1)),
        (to_do(order="pause"), NothingToFill(market=EURUSD.fqme, period_s=1)),
        (
            Backfill(market="eurusd", period_s=7, from_ns=1),
            NoSuchPeriod(period_s=7, periods=(1, 60)),
        ),
        (
            Backfill(market="eurusd", period_s=1, from_ns=WALL_NS),
            InvalidParameter(parameter=f"from_ns: expected UTC ns from 0 to now, was {WALL_NS}"),
        ),
    ],
    ids=repr,
)
async def test_what_cannot_be_filled_is_refused_by_name(
    call: Backfill, fault: object, tmp_path: Path
) -> None:
    async with a_store(tmp_path) as (desk, _):
        with pytest.raises(Refused) as refused:
            await told(desk, call)
    assert refused.value.fault == fault


async def test_where_nothing_is_kept_nothing_can_be_filled(tmp_path: Path) -> None:
    async with a_store(tmp_path), a_store(tmp_path) as (desk, archive):
        with pytest.raises(Refused) as refused:
            await told(desk, back(100))
        assert refused.value.fault == NothingKept(reason=archive.problem)
        assert "another process has" in archive.problem


async def test_a_backfill_waits_for_room_asks_nobody_meanwhile_and_goes_on_by_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with a_store(tmp_path) as (desk, archive):
        reason = f"nothing is kept on disk: less than 512 MiB are free on the disk of {tmp_path}"
        replies = desk.board.client(DATA).replies(back(200), BackfillReply)
        async with aclosing(replies):
            desk.venue.past.hold()
            await until(replies, "running")
            await wait_all_tasks_blocked()
            free(monkeypatch, 512 * MIB - 1)
            desk.venue.past.let_go()
            waits = await until(replies, "waiting")
            assert waits.reason.startswith(reason)
            assert reason in desk.datad.report().status
            assert desk.datad.report().state == "degraded"
            await trio.sleep(600)
            assert asked(desk) == [(-62, -2)]
            assert await covered(archive) == []
            free(monkeypatch, 512 * MIB)
            last = await until(replies, "done")
        assert (last.note, asked(desk)[1:]) == (
            "",
            [(-62, -2), (-122, -62), (-182, -122), (-200, -182)],
        )
        assert await is_true(archive, -200, -2)
        assert desk.datad.report().state == "running"


async def test_room_that_comes_back_is_seen_though_nothing_is_to_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with a_store(tmp_path) as (desk, archive):
        free(monkeypatch, 0)
        with pytest.raises(Refused) as refused:
            await told(desk, back(100))
        assert refused.value.fault == NothingKept(reason=archive.problem)
        free(monkeypatch, 512 * MIB)
        await trio.sleep(RETRY_S + 1)
        assert archive.problem == ""


async def test_a_backfill_that_is_asked_for_when_there_is_room_again_need_not_wait(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with a_store(tmp_path) as (desk, _):
        free(monkeypatch, 0)
        with pytest.raises(Refused):
            await told(desk, back(100))
        free(monkeypatch, 512 * MIB)
        assert (await told(desk, back(100)))[-1].state == "done"


async def test_a_provider_without_a_past_says_so(tmp_path: Path) -> None:
    async with open_archive(tmp_path, "fake") as archive, a_desk(archive=archive) as desk:
        with pytest.raises(Refused) as refused:
            await told(desk, back(100))
    assert refused.value.fault == NotSupported(provider="fake", endpoint="open_history_client")


async def test_time_in_which_the_market_is_closed_is_not_asked_for(tmp_path: Path) -> None:
    hours = tuple(
        Session(open_ns=WALL_NS + a * NS, close_ns=WALL_NS + b * NS)
        for a, b in ((-4000, -300), (-100, 4000))
    )
    past = Past(frames={1: 100 * NS})
    async with (
        open_archive(tmp_path, "fake") as archive,
        a_desk(
            structs.replace(EURUSD, sessions=hours),
            endpoints=WITH_PAST,
            archive=archive,
            past=past,
        ) as desk,
    ):
        assert (await told(desk, back(400)))[-1].state == "done"
        assert asked(desk) == [(-100, -2), (-400, -300)]


# --- each answer is another


async def test_no_bars_are_covered_as_empty(tmp_path: Path) -> None:
    nothing = Frame(from_ns=WALL_NS - 62 * NS, to_ns=WALL_NS - 2 * NS, bars=())
    async with a_store(tmp_path) as (desk, archive):
        desk.venue.past.script = [nothing]
        assert (await told(desk, back(62)))[-1].state == "done"
        assert await covered(archive, "empty") == [(-62, -2)]


async def test_what_is_refused_is_noted_and_not_asked_for_again_until_somebody_says_so(
    tmp_path: Path,
) -> None:
    async with a_store(tmp_path) as (desk, archive):
        desk.venue.past.script = [HistoryUnavailable("no permission")]
        last = (await told(desk, back(100)))[-1]
        assert [each.reason for each in last.unavailable] == ["no permission"]
        assert await covered(archive) == [(-100, -62)]
        await told(desk, back(100))
        assert (-62, -2) not in asked(desk)[1:]
        assert (await told(desk, back(100, again=True)))[-1].unavailable == ()
        assert await is_true(archive, -100, -2)


@pytest.mark.parametrize(("days", "questions"), [(6, 0), (8, 1)])
async def test_what_is_refused_is_asked_for_again_after_a_week(
    days: int, questions: int, tmp_path: Path
) -> None:
    never = Unavailable(
        from_ns=WALL_NS - 62 * NS,
        to_ns=WALL_NS - 2 * NS,
        reason="no permission",
        asked_ns=WALL_NS - days * 86_400 * NS,
    )
    async with a_store(tmp_path) as (desk, archive):
        await archive.change(SECONDS, lambda _: Notes(unavailable=(never,)))
        await told(desk, back(62))
        assert len(asked(desk)) == questions


async def test_before_the_first_data_nothing_is_asked_for(tmp_path: Path) -> None:
    async with a_store(tmp_path) as (desk, archive):
        desk.venue.past.script = [HistoryUnavailable("it begins then", WALL_NS - 30 * NS)]
        last = (await told(desk, back(1000)))[-1]
        assert asked(desk) == [(-62, -2), (-30, -2)]
        assert await is_true(archive, -30, -2)
    (never,) = last.unavailable
    assert (never.from_ns, never.to_ns) == (WALL_NS - 1000 * NS, WALL_NS - 30 * NS)


async def test_a_throttle_is_waited_out_and_told(tmp_path: Path) -> None:
    async with a_store(tmp_path) as (desk, _):
        desk.venue.past.script = [HistoryThrottled("pacing violation", 100.0)]
        replies = await told(desk, back(62))
        assert desk.venue.past.asked_at[1] - desk.venue.past.asked_at[0] == 100
    waiting = next(each for each in replies if each.until_ns)
    assert (waiting.state, waiting.reason) == ("waiting", "pacing violation")
    assert waiting.until_ns == WALL_NS + 100 * NS


async def test_a_venue_that_is_away_is_waited_for(tmp_path: Path) -> None:
    async with a_store(tmp_path) as (desk, archive):
        desk.venue.past.unopened = VenueLost("no gateway")
        reply = await first(desk, back(62))
        await trio.sleep(100)
        assert (await first(desk, to_do())).reason == "no gateway"
        desk.venue.past.unopened = None
        assert (await told(desk, to_do()))[-1].state == "done"
        assert await is_true(archive, -62, -2)
    assert reply.state == "waiting"


async def test_what_is_never_to_be_had_ends_as_failed(tmp_path: Path) -> None:
    async with a_store(tmp_path) as (desk, _):
        desk.venue.past.script = [HistoryUnavailable("no permission")] * 100
        last = (await told(desk, back(1000)))[-1]
        assert len(asked(desk)) == 5
    assert last.state == "failed"
    assert "no permission" in last.reason


async def test_a_bar_that_can_never_be_is_noted_and_all_others_are_kept(tmp_path: Path) -> None:
    async def wrong(frame: Frame, period_s: int) -> Frame:
        bad_ns = WALL_NS - 30 * NS
        inside = any(bar.time_ns == bad_ns for bar in frame.bars)
        return await twists.contradictory(frame, period_s) if inside else frame

    async with a_store(tmp_path) as (desk, archive):
        desk.venue.past.script = [wrong] * 100
        last = (await told(desk, back(62)))[-1]
        assert await covered(archive) == [(-62, -30), (-29, -2)]
    (never,) = last.unavailable
    assert (never.from_ns, never.to_ns) == (WALL_NS - 30 * NS, WALL_NS - 29 * NS)
    assert "makes no sense: told twice" in never.reason


# --- what is read


async def test_the_latest_frame_is_there_first_when_bars_are_opened(tmp_path: Path) -> None:
    past = Past()
    past.script = [twists.doubled, None]
    async with a_store(tmp_path, past) as (desk, _), reading(desk) as read:
        await trio.testing.wait_all_tasks_blocked()
        assert asked(desk) == [(-62, -2), (-122, -62)]
        assert read.reasons[:2] == ["opened", "filled"]
        assert read.of(-62, -2) == list(truth(1, WALL_NS - 62 * NS, WALL_NS - 2 * NS))


async def test_older_bars_follow_as_far_as_shared_memory_reaches(tmp_path: Path) -> None:
    past = Past(frames={1: 3600 * NS})
    async with (
        a_store(tmp_path, past, days={1: 1, 60: 1}) as (desk, archive),
        reading(desk) as read,
    ):
        await trade(desk, 15)
        days = 86_400
        assert min(asked(desk))[0] == -days
        ((begin, _),) = read.coverage
        assert begin == -days
        assert read.of(-5000, -2) == list(truth(1, WALL_NS - 5000 * NS, WALL_NS - 2 * NS))
        assert await is_true(archive, -days, 5000 - days)
        assert desk.datad.reason_to_live() == "1 readers of bars"


async def test_what_nobody_reads_any_more_is_not_filled_further(tmp_path: Path) -> None:
    async with a_store(tmp_path, Past(pace=SLOW)) as (desk, _):
        async with reading(desk):
            await trade(desk, 5)
        await trio.sleep(5)
        count = len(asked(desk))
        await trio.sleep(300)
        assert len(asked(desk)) == count


# --- what is kept answers


async def test_what_is_kept_is_answered_without_asking_the_venue(tmp_path: Path) -> None:
    call = History(market="eurusd", period_s=1, from_ns=WALL_NS - 100 * NS, to_ns=WALL_NS - 10 * NS)
    async with a_store(tmp_path) as (desk, _):
        one = await desk.board.client(DATA).call(call, HistoryReply)
        count = len(asked(desk))
        two = await desk.board.client(DATA).call(call, HistoryReply)
        assert len(asked(desk)) == count
    assert one == two
    assert one.bars == truth(1, WALL_NS - 100 * NS, WALL_NS - 10 * NS)
    assert one.note == ""


async def test_a_person_is_answered_while_a_backfill_uses_up_the_pace(tmp_path: Path) -> None:
    pace = Pace(rates=(Rate(questions=10, per_s=600),), at_once=4)
    async with a_store(tmp_path, Past(pace=pace)) as (desk, _):
        await first(desk, back(5000))
        await trio.sleep(60)
        count = len(asked(desk))
        call = History(
            market="gbpusd", period_s=1, from_ns=WALL_NS - 30 * NS, to_ns=WALL_NS - 10 * NS
        )
        began = trio.current_time()
        reply = await desk.board.client(DATA).call(call, HistoryReply)
        assert trio.current_time() - began < 1
        assert len(asked(desk)) == count + 1
    assert reply.missing == ()


async def test_why_nothing_is_kept_is_said_where_the_past_is_asked_for(tmp_path: Path) -> None:
    call = History(market="eurusd", period_s=1, limit=5)
    async with a_store(tmp_path), a_store(tmp_path) as (desk, archive):
        reply = await desk.board.client(DATA).call(call, HistoryReply)
        assert reply.note == archive.problem != ""
    assert len(reply.bars) == 5
