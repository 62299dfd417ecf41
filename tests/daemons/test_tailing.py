"""Shared memory and the disk: what is put in when bars are read, and what goes to disk, when."""

import os
import re
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio

from piker import clock, paths, recording
from piker.archive import Archive, open_archive
from piker.barkeeper import LINGER_NS, BarKeeper
from piker.barkeeper import Series as Shared
from piker.core import windows
from piker.core.bars import GENERATION_AT, NS, window
from piker.core.rows import bars_of, rows_of
from piker.core.spans import Pair, joined
from piker.notify import Manager
from piker.quotes import Bar
from piker.sharedbars import BarReader, Merging, SharedBars
from piker.store.barfiles import BarFiles
from piker.store.places import Series
from piker.tailing import EVERY_S, STOP_S, Tailing, share
from tests.conftest import WALL_NS
from tests.fakes.past import bar
from tests.fakes.venue import EURUSD, Desk, a_desk, quote, tick, until

pytestmark = pytest.mark.usefixtures("virtual_time")

SECONDS, MINUTES = Series(EURUSD.fqme, 1), Series(EURUSD.fqme, 60)
DAY = 86_400
SEEN = 7777.0
"""The price of what is seen live."""


def at(second: int) -> int:
    """An instant after the beginning of the test."""
    return WALL_NS + second * NS


@pytest.fixture
async def archive() -> AsyncIterator[Archive]:
    async with open_archive(paths.history(), "fake") as archive:
        yield archive


async def keep(
    archive: Archive, series: Series, begins: Sequence[int], covered: Sequence[Pair] = ()
) -> None:
    """Have bars on disk that begin so many seconds after the beginning of the test."""
    rows = rows_of([bar(series.period_s, at(second)) for second in begins])
    stretches = [(at(a), at(b)) for a, b in covered]
    put = await archive.put(
        series, rows, stretches, how="backfilled", source="fake", now_ns=WALL_NS + 10 * DAY * NS
    )
    assert put


async def kept(archive: Archive, series: Series = SECONDS) -> list[Bar]:
    """All that is on disk."""
    return bars_of(await archive.read(series, 0, 2 * WALL_NS))


async def begins(archive: Archive, series: Series = SECONDS) -> list[int]:
    """When what is on disk begins, s after the beginning of the test."""
    return seconds(await kept(archive, series))


async def covered(archive: Archive, series: Series = SECONDS) -> list[tuple[int, int]]:
    spans = await archive.coverage(series, 0, 2 * WALL_NS)
    stretches = joined((span.from_ns, span.to_ns) for span in spans)
    return [((a - WALL_NS) // NS, (b - WALL_NS) // NS) for a, b in stretches]


def seconds(bars: Sequence[Bar]) -> list[int]:
    return [(each.time_ns - WALL_NS) // NS for each in bars]


def coverage(reader: BarReader) -> list[tuple[float, float]]:
    return [((a - WALL_NS) / NS, (b - WALL_NS) / NS) for a, b in reader.coverage()]


async def trade(desk: Desk, count: int) -> None:
    """The market trades once a second for so long."""
    for _ in range(count):
        desk.venue.say(quote(tick("trade", SEEN, 1.0)))
        await trio.sleep(1)


# --- what is put in


async def test_the_first_reader_is_answered_at_once_and_then_given_what_is_on_disk(
    archive: Archive,
) -> None:
    await keep(archive, SECONDS, [-30, -20, -10], [(-30, -5)])
    async with a_desk(archive=archive) as desk, desk.reading("eurusd", 1) as replies:
        first, before = await anext(replies)
        second, after = await anext(replies)
        assert (first.reason, before.bars(9)) == ("opened", [])
        assert (second.reason, second.generation) == ("filled", 2)
        assert after.bars(9) == await kept(archive)
        assert (after.final, coverage(after)) == (3, [(-30, -5)])


async def test_only_the_window_is_put_in(archive: Archive) -> None:
    await keep(archive, MINUTES, [-61 * DAY, -60 * DAY, -120], [(-70 * DAY, -60)])
    async with a_desk(archive=archive) as desk, desk.reading("eurusd", 60) as replies:
        _, (_, after) = await anext(replies), await anext(replies)
        assert seconds(after.bars(9)) == [-60 * DAY, -120]
        assert coverage(after) == [(-60 * DAY, -60)]


async def test_bars_go_on_live_after_what_is_on_disk(archive: Archive) -> None:
    await keep(archive, SECONDS, [-9, -8], [(-9, 0)])
    async with a_desk(archive=archive) as desk, desk.reading("eurusd", 1) as replies:
        _, (_, after) = await anext(replies), await anext(replies)
        await trade(desk, 5)
        assert seconds(after.bars(99)) == [-9, -8, *range(5)]
        assert coverage(after) == [(-9, -2), (0, 4)]


async def test_of_what_nobody_reads_nothing_is_put_in_though_it_is_kept(archive: Archive) -> None:
    await keep(archive, SECONDS, [-9], [(-9, 0)])
    async with a_desk(archive=archive, keep=("eurusd",)) as desk:
        await trade(desk, 5)
        async with desk.reading("eurusd", 1) as replies:
            (first, before), (second, after) = await anext(replies), await anext(replies)
            assert (first.generation, seconds(before.bars(9))) == (1, [*range(5)])
            assert (second.generation, seconds(after.bars(9))) == (2, [-9, *range(5)])


async def test_another_reader_finds_it_put_in(archive: Archive) -> None:
    await keep(archive, SECONDS, [-9], [(-9, 0)])
    async with a_desk(archive=archive) as desk, desk.reading("eurusd", 1) as replies:
        await anext(replies)
        await anext(replies)
        async with desk.reading("eurusd", 1) as others:
            (reply, reader) = await anext(others)
            await trade(desk, 3)
            assert (reply.generation, reader.table.ints[GENERATION_AT]) == (2, 2)
            assert seconds(reader.bars(9)) == [-9, 0, 1, 2]


async def test_neither_the_first_reply_nor_the_feed_waits_for_the_disk(archive: Archive) -> None:
    await keep(archive, SECONDS, [-9], [(-9, 0)])
    disk = threading.Event()
    async with trio.open_nursery() as nursery, a_desk(archive=archive) as desk:
        nursery.start_soon(archive.use, lambda _: disk.wait())
        async with desk.reading("eurusd", 1) as replies, desk.watching("eurusd") as quotes:
            _, before = await anext(replies)
            await until(quotes, "live")
            desk.venue.say(quote(tick("trade", SEEN, 1.0)))
            assert [each.price for each in (await anext(quotes)).quotes[0].ticks] == [SEEN]
            assert seconds(before.bars(9)) == [0]
            disk.set()
            _, after = await anext(replies)
            assert seconds(after.bars(9)) == [-9, 0]


class Held:
    """A gate in a thread."""

    def __init__(self) -> None:
        self.go_on = threading.Event()
        self.begun = trio.Event()
        self.times = 0

    def around(self, build: Callable[..., None]) -> Callable[..., None]:
        def gated(*given: Any) -> None:
            self.times += 1
            trio.from_thread.run_sync(self.begun.set)
            assert self.go_on.wait(60)
            build(*given)

        return gated


@pytest.fixture
def held(monkeypatch: pytest.MonkeyPatch) -> Iterator[Held]:
    """What is put in isn't done until the test lets it: `Merging.build` itself does the work."""
    held = Held()
    monkeypatch.setattr(Merging, "build", held.around(Merging.build))
    yield held
    held.go_on.set()


async def test_ticks_are_taken_while_what_is_on_disk_is_put_in_and_are_in_it(
    archive: Archive, held: Held
) -> None:
    await keep(archive, SECONDS, [-9], [(-9, 0)])
    async with a_desk(archive=archive) as desk, desk.watching("eurusd") as quotes:
        await until(quotes, "live")
        async with desk.reading("eurusd", 1) as replies:
            _, before = await anext(replies)
            await held.begun.wait()
            desk.venue.say(quote(tick("trade", SEEN, 1.0)))
            assert [each.price for each in (await anext(quotes)).quotes[0].ticks] == [SEEN]
            assert seconds(before.bars(9)) == [0]
            held.go_on.set()
            second, after = await anext(replies)
            assert (second.generation, seconds(after.bars(9))) == (2, [-9, 0])


async def test_what_is_on_disk_is_put_in_anew_if_bars_became_others_meanwhile(
    archive: Archive, held: Held
) -> None:
    await keep(archive, SECONDS, [-9], [(-9, 0)])
    async with some_bars(archive) as (keeper, series, tailing), trio.open_nursery() as nursery:
        tailing.fill(*SECONDS)
        nursery.start_soon(tailing.run)
        await held.begun.wait()
        keeper.fill(*SECONDS, at(-20), at(-15), [bar(1, at(-20))])
        held.go_on.set()
        await series.renewed(2)
        assert (series.bars.generation, held.times) == (3, 2)
        assert seconds(bars_of(series.bars.rows(0, at(0)))) == [-20, -9]
        nursery.cancel_scope.cancel()


@asynccontextmanager
async def some_bars(archive: Archive) -> AsyncIterator[tuple[BarKeeper, Shared, Tailing]]:
    """Bars of a second that are read, and who puts them on disk; nothing else goes on."""
    keeper = BarKeeper(Manager())
    tailing = Tailing(keeper, archive, "fake")
    try:
        with keeper.reading(*SECONDS, at(-60)) as series:
            yield keeper, series, tailing
    finally:
        keeper.close_all()


# --- whose it is


async def test_what_the_venue_gave_afterwards_does_not_go_to_disk_as_what_was_seen(
    archive: Archive,
) -> None:
    async with some_bars(archive) as (keeper, series, tailing):
        for second in (1, 2, 5):
            series.bars.take(at(second), SEEN, 1.0, derived=False)
        keeper.cover(EURUSD.fqme, at(1), at(2) + NS // 2)
        keeper.end_of(at(20))
        await trio.sleep(20)
        keeper.fill(*SECONDS, at(0), at(10), [bar(1, at(second)) for second in (0, 1, 2, 4)])
        await tailing.finish()
        assert await begins(archive) == [1, 5]
        assert await covered(archive) == [(1, 2)]


async def test_what_the_store_gave_does_not_go_back_to_disk_as_what_was_seen(
    archive: Archive,
) -> None:
    files = archive.files
    rows = rows_of([bar(1, at(-9))])
    covered_ = [(at(-9), at(-5))]
    await archive.put(SECONDS, rows, covered_, how="imported", source="a.csv", now_ns=WALL_NS)
    files.unlock()
    async with some_bars(archive) as (keeper, series, tailing), trio.open_nursery() as nursery:
        keeper.cover(EURUSD.fqme, at(-9), at(-5))
        with BarFiles(files.directory.parent, "fake"):
            tailing.fill(*SECONDS)
            nursery.start_soon(tailing.run)
            await series.renewed(1)
        await tailing.finish()
        assert await hows(archive) == ["imported"]
        nursery.cancel_scope.cancel()


async def test_what_is_imported_stays_so_though_a_crash_left_it_in_memory(archive: Archive) -> None:
    left = {f"bars-1-{EURUSD.fqme}-1": what_is_left(-30, -20)}
    rows, stretch = rows_of([bar(1, at(-25))]), (at(-25), at(-22))
    await archive.put(SECONDS, rows, [stretch], how="imported", source="a.csv", now_ns=WALL_NS)
    async with a_desk(archive=archive, left=left) as desk, desk.reading("eurusd", 1) as replies:
        _, _ = await anext(replies), await anext(replies)
        assert await begins(archive) == [*range(-30, -20)]
        assert [each.open for each in await kept(archive)].count(SEEN) == 9
        spans = await archive.coverage(SECONDS, 0, 2 * WALL_NS)
        assert [each.how for each in spans] == ["live", "imported", "live"]
        assert (spans[1].from_ns, spans[1].to_ns) == (at(-25), at(-24))


async def hows(archive: Archive) -> list[str]:
    """Whose the rows on disk are."""
    months = await archive.use(lambda files: files.months(SECONDS))
    found = await archive.use(lambda files: [files.whole(SECONDS, month) for month in months])
    return [how for each in found if each for how in each[1]["how"].to_list()]


# --- what goes to disk


async def trade_slowly(desk: Desk, minutes: int) -> None:
    """The market trades three times a minute for so long."""
    for _ in range(3 * minutes):
        desk.venue.say(quote(tick("trade", SEEN, 1.0)))
        await trio.sleep(20)


async def test_final_bars_go_to_disk_every_so_often_with_what_was_seen_live(
    archive: Archive,
) -> None:
    async with a_desk(archive=archive) as desk, desk.reading("eurusd", 60) as replies:
        _, reader = await anext(replies)
        await trade_slowly(desk, EVERY_S[60] // 60 + 3)
        on_disk = await begins(archive, MINUTES)
        assert 0 < len(on_disk) <= EVERY_S[60] // 60
        assert on_disk == [60 * each for each in range(len(on_disk))]
        assert await covered(archive, MINUTES) == [(0, 60 * len(on_disk))]
        assert await kept(archive, MINUTES) == reader.bars(99)[: len(on_disk)]
        (span,) = await archive.coverage(MINUTES, 0, 2 * WALL_NS)
        assert span.how == "live"
        counters = {each.name: each.value for each in desk.datad.report().counters}
        assert counters["rows_kept"] == len(on_disk)


async def test_markets_have_each_a_moment_of_their_own() -> None:
    shares = sorted(share((f"m{number}.x.sim", 60), 600 * NS) for number in range(200))
    assert 0 <= shares[0] <= shares[-1] < 600 * NS
    in_a_row = [later - earlier for earlier, later in zip(shares, shares[10:], strict=False)]
    assert min(in_a_row) > NS


async def test_bars_are_put_on_disk_long_before_they_have_no_room() -> None:
    for period_s, every_s in EVERY_S.items():
        assert 24 * every_s <= window(windows.capacities({period_s: 1})[period_s]) * period_s


async def test_a_bar_that_was_seen_in_part_goes_to_disk_and_is_not_covered(
    archive: Archive,
) -> None:
    async with a_desk(archive=archive) as desk, desk.watching("eurusd"):
        await trio.sleep(30)
        async with desk.reading("eurusd", 60) as replies:
            await anext(replies)
            await trade_slowly(desk, 4)
            await desk.datad.finish()
        assert await begins(archive, MINUTES) == [0, 60, 120, 180]
        assert await covered(archive, MINUTES) == [(60, 240)]


async def test_bars_that_nobody_reads_any_more_are_on_disk_when_they_are_let_go(
    archive: Archive,
) -> None:
    async with a_desk(archive=archive) as desk, desk.watching("eurusd"):
        async with desk.reading("eurusd", 1) as replies:
            await anext(replies)
            await trade(desk, 10)
        await trio.sleep(LINGER_NS // NS + 3)
        assert await begins(archive) == [*range(10)]
        assert await covered(archive) == [(0, 9)]
        counters = {each.name: each.value for each in desk.datad.report().counters}
        assert counters["bar_series"] == 0


async def test_who_reads_again_is_given_what_went_to_disk(archive: Archive) -> None:
    async with a_desk(archive=archive) as desk:
        async with desk.reading("eurusd", 1) as replies:
            await anext(replies)
            await trade(desk, 10)
        await trio.sleep(LINGER_NS // NS + 3)
        async with desk.reading("eurusd", 1) as replies:
            (first, before), (second, after) = await anext(replies), await anext(replies)
            assert (first.reason, before.bars(9)) == ("opened", [])
            assert (second.reason, seconds(after.bars(99))) == ("filled", [*range(10)])


async def test_at_the_end_all_that_is_final_is_on_disk(archive: Archive) -> None:
    async with a_desk(archive=archive) as desk, desk.reading("eurusd", 1) as replies:
        await anext(replies)
        await trade(desk, 10)
        await desk.datad.finish()
        assert await begins(archive) == [*range(7)]
        assert await covered(archive) == [(0, 7)]


async def test_a_stop_puts_bars_on_disk_beside_ticks(archive: Archive) -> None:
    async with a_desk(archive=archive) as desk, desk.reading("eurusd", 1) as replies:
        await anext(replies)
        await trade(desk, 10)
    assert await begins(archive) == [*range(7)]


async def test_a_stop_gives_up_on_the_disk_long_before_it_would_be_killed() -> None:
    assert max(STOP_S, recording.LAST_S) < kill_after_s() / 2


def kill_after_s() -> int:
    """How long systemd waits for one of our daemons."""
    unit = (Path(__file__).parents[2] / "units/shared/daemon.conf").read_text()
    (found,) = re.findall(r"^TimeoutStopSec=(\d+)s$", unit, re.MULTILINE)
    return int(found)


async def test_what_a_crash_left_goes_to_disk_when_it_is_read(archive: Archive) -> None:
    left = {f"bars-1-{EURUSD.fqme}-1": what_is_left(-30, -20)}
    await keep(archive, SECONDS, [-40], [(-50, -35)])
    async with a_desk(archive=archive, left=left) as desk, desk.reading("eurusd", 1) as replies:
        (_, before), (_, after) = await anext(replies), await anext(replies)
        assert seconds(before.bars(99)) == [*range(-30, -20)]
        assert seconds(after.bars(99)) == [-40, *range(-30, -20)]
        assert await begins(archive) == [-40, *range(-30, -20)]
        assert await covered(archive) == [(-50, -35), (-30, -20)]


async def test_what_a_crash_left_and_nobody_reads_goes_to_disk_before_it_is_let_go(
    archive: Archive,
) -> None:
    left = {f"bars-1-{EURUSD.fqme}-1": what_is_left(-30, -20)}
    async with a_desk(archive=archive, left=left) as desk:
        await trio.sleep(2 * LINGER_NS // NS + 5)
        assert await begins(archive) == [*range(-30, -20)]
        assert await covered(archive) == [(-30, -20)]
        counters = {each.name: each.value for each in desk.datad.report().counters}
        assert counters["bar_series"] == 0


def what_is_left(from_s: int, to_s: int) -> int:
    """A memfd of a datad that saw these seconds, and died."""
    bars = SharedBars(EURUSD.fqme, 1, lambda fd, generation: None, capacity=1000)
    for second in range(from_s, to_s):
        bars.take(at(second), SEEN, 1.0, derived=False)
    bars.writer.cover(at(from_s), at(to_s))
    fd = os.dup(bars.fd)
    bars.close()
    return fd


async def test_what_could_not_be_put_is_put_later_and_the_reason_is_shown(archive: Archive) -> None:
    archive.files.unlock()
    with BarFiles(archive.files.directory.parent, "fake") as other:
        async with a_desk(archive=archive) as desk, desk.reading("eurusd", 1) as replies:
            _, reader = await anext(replies)
            await trade(desk, 5)
            await desk.datad.finish()
            components = {each.name: each for each in desk.datad.report().components}
            assert components["history"].detail.startswith("nothing is kept on disk: another")
            await trade(desk, 5)
            assert seconds(reader.bars(99)) == [*range(10)]
            other.unlock()
            await desk.datad.finish()
            assert await begins(archive) == [*range(7)]
            assert await covered(archive) == [(0, 7)]
            assert "history" not in {each.name for each in desk.datad.report().components}


async def test_a_clock_that_is_stepped_back_puts_no_bar_of_the_future_on_disk(
    archive: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with a_desk(archive=archive) as desk, desk.reading("eurusd", 1) as replies:
        await anext(replies)
        await trade(desk, 20)
        real = clock.wall_ns
        monkeypatch.setattr(clock, "wall_ns", lambda: real() - 15 * NS)
        await desk.datad.finish()
        assert await begins(archive) == [*range(5)]
        assert await covered(archive) == [(0, 5)]
        monkeypatch.setattr(clock, "wall_ns", real)
        await desk.datad.finish()
        assert await begins(archive) == [*range(17)]


async def test_without_a_store_bars_are_made_and_let_go_all_the_same() -> None:
    async with a_desk() as desk:
        async with desk.reading("eurusd", 1) as replies:
            _, reader = await anext(replies)
            await trade(desk, 5)
            assert seconds(reader.bars(9)) == [*range(5)]
        await trio.sleep(LINGER_NS // NS + 3)
        counters = {each.name: each.value for each in desk.datad.report().counters}
        assert (counters["bar_series"], counters["rows_kept"]) == (0, 0)
