"""Ticks kept on disk: which, when, and what happens where the disk is full."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from math import nan
from pathlib import Path

import pytest
import trio
from msgspec import structs
from trio.testing import MockClock, wait_all_tasks_blocked

from piker import clock, paths, recording
from piker.brokers import VenueLost
from piker.core.bars import NS
from piker.markets import Market
from piker.quotes import Quote
from piker.store import parquet, tickfiles
from piker.store.room import MIB
from piker.store.tickfiles import Recorded, TickFiles
from tests.fakes.disk import free
from tests.fakes.tradinghouse import flowing_time
from tests.fakes.venue import EURUSD, Desk, a_desk, quote, tick

__all__ = ["flowing_time"]
pytestmark = pytest.mark.usefixtures("flowing_time")

FQME = EURUSD.fqme
DAY, NEXT_DAY = "2027-01-15", "2027-01-16"


def provided() -> Path:
    """Where the provider's history is."""
    return paths.history() / "fake"


def where() -> Path:
    """Where the market's ticks are."""
    return tickfiles.ticks_of(provided(), FQME)


def recorded() -> Recorded:
    return tickfiles.read(where())


def prices() -> list[float]:
    return list(recorded().ticks.prices)


def later(seconds: float) -> None:
    """So much time passes at once."""
    mock = trio.lowlevel.current_clock()
    assert isinstance(mock, MockClock)
    mock.jump(seconds)


def counter(desk: Desk, name: str) -> int:
    return {each.name: each.value for each in desk.datad.report().counters}[name]


async def until(condition: Callable[[], bool]) -> None:
    while not condition():
        await wait_all_tasks_blocked(0.005)


async def written(desk: Desk, ticks: int) -> None:
    """Wait until so many are on disk since the start."""
    await until(lambda: counter(desk, "recorded_ticks") >= ticks)


async def say(desk: Desk, *quotes: Quote) -> None:
    """The venue says this, and datad takes it."""
    before = counter(desk, "ticks")
    desk.venue.say(*quotes, quote(tick("ask", 9.0)))
    await until(lambda: counter(desk, "ticks") > before)


@asynccontextmanager
async def a_recorder(market: Market = EURUSD) -> AsyncIterator[Desk]:
    """A datad that records the market, which is live."""
    async with a_desk(market, record=[FQME]) as desk:
        await until(lambda: [each.state for each in desk.datad.report().components] == ["live"])
        yield desk


async def test_every_quote_is_kept_as_the_venue_sent_it() -> None:
    one_sided = structs.replace(EURUSD, has_ask=False)
    async with a_recorder(one_sided) as desk:
        late = structs.replace(tick("bid", 1.2), delayed=True)
        before_ns = clock.wall_ns()
        bad = quote(tick("bid", nan))
        await say(desk, quote(tick("bid", 1.0, 5), tick("trade", 1.1)), quote(), quote(late), bad)
    about, ticks = recorded()
    kinds = [tick.kind for tick in ticks.ticks(range(len(ticks)), 0, 0)]
    assert kinds == ["bid", "trade", "bid", "ask"]
    assert list(ticks.messages) == [0, 0, 1, 2, 3, 4]
    assert list(ticks.prices)[:2] == [1.0, 1.1]
    assert list(ticks.delayed) == [0, 0, 0, 1, 0, 0]
    assert not any(ticks.derived)
    assert all(before_ns - NS < seen_ns < before_ns + NS for seen_ns in ticks.seen)
    assert about.market == one_sided


async def test_a_segment_is_written_each_minute() -> None:
    async with a_recorder() as desk:
        for ticks in (1, 2):
            await say(desk)
            later(60)
            await written(desk, ticks)
            assert prices() == [9.0] * ticks
    assert len(list((where() / DAY).iterdir())) >= 2


async def test_many_ticks_are_written_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recording, "MANY", 2)
    async with a_recorder() as desk:
        await say(desk, quote(tick("bid", 1.0)))
        await written(desk, 2)
        assert prices() == [1.0, 9.0]


async def test_what_is_not_recorded_leaves_nothing() -> None:
    async with a_desk(keep=[FQME]) as desk:
        await until(lambda: [each.state for each in desk.datad.report().components] == ["live"])
        await say(desk)
    assert not provided().exists()


async def test_what_is_covered_is_when_the_market_was_live() -> None:
    async with a_recorder() as desk:
        await say(desk)
        lost_ns = clock.wall_ns()
        desk.venue.fail(VenueLost("gone"))
        await until(lambda: desk.datad.report().components[0].state == "disconnected")
        later(10)
        back_ns = clock.wall_ns()
        await say(desk)
        later(30)
        await say(desk)
    first, second = recorded().about.spans
    assert first.to_ns <= lost_ns < back_ns < second.from_ns < second.to_ns


async def test_a_datad_that_comes_back_goes_on_with_the_recording() -> None:
    for _ in range(2):
        async with a_recorder() as desk:
            await say(desk, quote(tick("bid", 1.0)))
    assert prices() == [1.0, 9.0] * 2
    assert list(recorded().ticks.messages) == [0, 1, 2, 3]


@pytest.fixture
def nearly_midnight(flowing_time: None, monkeypatch: pytest.MonkeyPatch) -> None:
    eight = clock.wall_ns
    monkeypatch.setattr(clock, "wall_ns", lambda: eight() + (16 * 3600 - 30) * NS)


async def test_a_day_that_is_over_becomes_one_file(nearly_midnight: None) -> None:
    async with a_recorder() as desk:
        await say(desk, quote(tick("bid", 1.0)))
        later(40)
        await say(desk, quote(tick("bid", 1.1)))
        await until(lambda: (where() / f"{DAY}.parquet").exists())
        await until(lambda: not (where() / DAY).exists())
        assert list(tickfiles.read(where() / f"{DAY}.parquet").ticks.prices) == [1.0, 9.0]
    assert {path.name for path in where().iterdir()} == {f"{DAY}.parquet", NEXT_DAY}
    about, ticks = recorded()
    assert list(ticks.prices) == [1.0, 9.0, 1.1, 9.0]
    assert list(ticks.messages) == [0, 1, 2, 3]
    (span,) = about.spans
    assert span.from_ns < ticks.times[0] + NS < ticks.times[2] - NS < span.to_ns


async def test_what_came_after_the_clock_was_set_back_over_midnight_is_played_last(
    nearly_midnight: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with a_recorder() as desk:
        later(40)
        await say(desk, quote(tick("bid", 1.0)))
    before = clock.wall_ns
    monkeypatch.setattr(clock, "wall_ns", lambda: before() - 60 * NS)
    async with a_recorder() as desk:
        await say(desk, quote(tick("bid", 1.1)))
    assert {path.name.removesuffix(".parquet") for path in where().iterdir()} == {DAY, NEXT_DAY}
    assert prices() == [1.0, 9.0, 1.1, 9.0]
    assert list(recorded().ticks.messages) == [0, 1, 2, 3]


async def test_where_the_disk_does_not_say_which_numbers_are_given_none_of_them_is(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with a_recorder() as desk:
        await say(desk)
    place = where()
    place.rename(place.with_name("away"))
    place.symlink_to(place)  # it can't be listed
    async with a_recorder() as desk:
        await say(desk, quote(tick("bid", 1.1)))
        place.unlink()
        place.with_name("away").rename(place)
    assert prices() == [9.0, 1.1, 9.0]
    assert list(recorded().ticks.messages)[1] > 10**18


async def silence(desk: Desk) -> None:
    """A minute passes in which the venue says nothing; nobody has expected that."""
    later(60)
    await until(lambda: desk.datad.report().components[0].state == "stale")


async def test_what_was_heard_is_covered_though_it_was_on_disk_before_that_was_known(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(recording, "MANY", 2)
    async with a_recorder() as desk:
        await say(desk, quote(tick("bid", 1.0)))
        await written(desk, 2)
        await silence(desk)
    about, ticks = recorded()
    (span,) = about.spans
    assert span.from_ns < ticks.seen[-1] <= span.to_ns < ticks.seen[-1] + NS


async def test_a_silence_over_midnight_is_not_covered_and_what_was_before_it_is(
    nearly_midnight: None,
) -> None:
    async with a_recorder() as desk:
        await say(desk, quote(tick("bid", 1.0)))
        await silence(desk)
        await say(desk, quote(tick("bid", 1.1)))
        await until(lambda: (where() / f"{DAY}.parquet").exists())
    about, ticks = recorded()
    assert list(ticks.prices) == [1.0, 9.0, 1.1, 9.0]
    (span,) = about.spans
    assert span.from_ns < ticks.seen[1] <= span.to_ns < ticks.seen[1] + NS < ticks.seen[2]


def fill_disk() -> Path:
    """No segment can be written any more."""
    full = parquet.unfinished(where() / DAY / "000001.parquet")
    full.parent.mkdir(parents=True, exist_ok=True)
    full.symlink_to("/dev/full")
    return full


async def test_a_full_disk_stops_no_live_data_and_what_waited_is_written_later() -> None:
    async with a_recorder() as desk:
        fill_disk()
        await say(desk, quote(tick("bid", 1.0)))
        later(60)
        await until(lambda: "can't record: " in desk.datad.report().status)
        status = desk.datad.report().status
        assert "No space left on device" in status
        await say(desk, quote(tick("bid", 1.1)))
        later(60)
        await written(desk, 4)
        assert "can't record" not in desk.datad.report().status
        assert counter(desk, "unrecorded_ticks") == 0
    assert prices() == [1.0, 9.0, 1.1, 9.0]


async def test_room_that_is_left_to_orders_is_not_recorded_to(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with a_recorder() as desk:
        free(monkeypatch, 512 * MIB - 1)
        await say(desk, quote(tick("bid", 1.0)))
        later(60)
        await until(lambda: "can't record: less than 512 MiB" in desk.datad.report().status)
        assert not where().exists()
        free(monkeypatch, 512 * MIB)
        await say(desk)
        later(60)
        await written(desk, 3)
        assert "can't record" not in desk.datad.report().status
    assert prices() == [1.0, 9.0, 9.0]


async def test_what_is_too_much_to_wait_for_the_disk_is_counted_and_no_span_has_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(recording, "MOST", 3)
    async with a_recorder() as desk:
        await say(desk, *(quote(tick("bid", 1.0)) for _ in range(4)))
        lost_ns = clock.wall_ns()
        later(60)
        await written(desk, 3)
        assert counter(desk, "unrecorded_ticks") == 2
        await say(desk)
    assert prices() == [1.0, 1.0, 1.0, 9.0]
    assert all(not span.from_ns <= lost_ns < span.to_ns for span in recorded().about.spans)


async def test_where_another_datad_records_this_one_only_passes_on() -> None:
    other = TickFiles(provided())
    other.join(FQME, DAY, 0)
    async with a_recorder() as desk:
        await say(desk)
        later(60)
        await until(lambda: "another datad records to" in desk.datad.report().status)
        other.unlock()
        later(60)
        await written(desk, 1)
    assert prices() == [9.0]


async def test_without_the_package_nothing_is_recorded_and_datad_says_so(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(parquet, "problem", lambda: "piker-history isn't installed")
    async with a_recorder() as desk:
        await say(desk)
        assert "can't record: piker-history isn't installed" in desk.datad.report().status
    assert not provided().exists()
