import gzip
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

from piker.brokers import Dropped, Subscribed, VenueLost, Wanted
from piker.brokers.replay import Settings
from piker.brokers.replay.feed import JUMP_NS, Clock, get_mkt_info, open_venue, stream_quotes
from piker.brokers.replay.search import open_symbol_search
from piker.brokers.replay.timeline import SEAM_NS
from piker.clock import boot_ns
from piker.errors import Refused
from piker.interfaces.service import BrokenConfiguration
from piker.quotes import Quote
from tests.brokers.samples import HEAD, LUNCH, SECOND, listening, opened


@pytest.fixture
def lunch(tmp_path: Path) -> str:
    """A recording of two short sessions, `lunch.test`."""
    path = tmp_path / "lunch.test.csv"
    path.write_text(LUNCH)
    return str(path)


def write(path: str, text: str | None) -> None:
    """Write a recording; None: remove it."""
    if text is None:
        Path(path).unlink()
    else:
        Path(path).write_text(text)


def fault(refused: pytest.ExceptionInfo[Refused]) -> BrokenConfiguration:
    assert isinstance(refused.value.fault, BrokenConfiguration)
    return refused.value.fault


async def test_ticks_come_when_they_are_due(lunch: str, autojump_clock: MockClock) -> None:
    async with opened("replay", recordings=(lunch,)) as venue:
        start = trio.current_time()
        async with listening("replay", venue, "lunch") as feed:
            await feed.event()
            quote = await feed.quote()
            assert trio.current_time() - start == pytest.approx(1, abs=0.1)
            assert quote.ticks[0].time_ns == venue.clock.opened_ns + SECOND
            assert quote.ticks[0].seen_ns == pytest.approx(boot_ns(), abs=5 * SECOND)


async def test_nothing_comes_in_the_lunch_break(lunch: str, autojump_clock: MockClock) -> None:
    async with opened("replay", recordings=(lunch,)) as venue:
        start = trio.current_time()
        async with listening("replay", venue, "lunch") as feed:
            await feed.events(4)
            assert trio.current_time() - start == pytest.approx(3.5, abs=0.1)
            await feed.quote()
            assert trio.current_time() - start == pytest.approx(3602, abs=0.1)


async def test_a_loop_begins_again_with_new_sessions_after_a_closure(
    lunch: str, autojump_clock: MockClock
) -> None:
    async with (
        opened("replay", recordings=(lunch,)) as venue,
        listening("replay", venue, "lunch") as feed,
    ):
        first, *_, again, quote = await feed.events(7)
        assert isinstance(first, Subscribed)
        assert isinstance(again, Subscribed)
        assert isinstance(quote, Quote)
        assert first.market.sessions is not None
        assert again.market.sessions is not None
        assert again.market.sessions[:2] == first.market.sessions[2:]
        closed_ns, opens_ns = first.market.sessions[1].close_ns, again.market.sessions[0].open_ns
        assert opens_ns - closed_ns == SEAM_NS
        assert quote.ticks[0].time_ns == opens_ns + SECOND


async def test_a_recording_played_once_is_then_quiet(lunch: str, autojump_clock: MockClock) -> None:
    async with (
        opened("replay", recordings=(lunch,), loop=False) as venue,
        listening("replay", venue, "lunch") as feed,
    ):
        await feed.events(5)
        with trio.move_on_after(1_000_000) as waiting:
            await feed.event()
    assert waiting.cancelled_caught


async def test_ten_times_as_fast_keeps_the_recorded_spacing(
    lunch: str, autojump_clock: MockClock
) -> None:
    async with opened("replay", recordings=(lunch,), speed=10) as venue:
        start = trio.current_time()
        async with listening("replay", venue, "lunch") as feed:
            *_, last = await feed.events(5)
            assert trio.current_time() - start == pytest.approx(360.2, abs=0.1)
            assert isinstance(last, Quote)
            assert last.ticks[0].time_ns == venue.clock.opened_ns + 3602 * SECOND


async def test_as_fast_as_possible_takes_no_time_and_leaves_nothing_out(lunch: str) -> None:
    async with (
        opened("replay", recordings=(lunch,), speed=0) as venue,
        listening("replay", venue, "lunch") as feed,
    ):
        events = await feed.events(50)
    assert [type(event) for event in events[:10]] == [Subscribed, *[Quote] * 4] * 2


async def test_who_comes_later_sees_the_same_time_line(
    lunch: str, autojump_clock: MockClock
) -> None:
    async with opened("replay", recordings=(lunch,)) as venue:
        await get_mkt_info(venue, "lunch")
        await trio.sleep(100)
        async with listening("replay", venue, "lunch") as feed:
            subscribed, quote = await feed.events(2)
    assert isinstance(subscribed, Subscribed)
    assert isinstance(quote, Quote)
    assert quote.ticks[0].time_ns == venue.clock.opened_ns + 3602 * SECOND


async def test_what_is_not_wanted_any_more_stops_and_the_others_go_on(
    lunch: str, autojump_clock: MockClock
) -> None:
    async with (
        opened("replay", recordings=(lunch,)) as venue,
        listening("replay", venue, "lunch", "eurusd") as feed,
    ):
        await feed.events(10)
        feed.wanted.set(frozenset([await get_mkt_info(venue, "eurusd")]))
        await trio.testing.wait_all_tasks_blocked()
        await feed.events(100)
        assert {(await feed.quote()).market for _ in range(1000)} == {"eurusd.spot.replay"}


async def test_what_is_wanted_later_is_subscribed_before_its_quotes(
    lunch: str, autojump_clock: MockClock
) -> None:
    async with opened("replay", recordings=(lunch,)) as venue:
        market = await get_mkt_info(venue, "lunch")
        async with listening("replay", venue) as feed:
            feed.wanted.set(frozenset([market]))
            subscribed, quote = await feed.events(2)
    assert subscribed == Subscribed(market=market)
    assert isinstance(quote, Quote)


async def test_by_default_eurusd_plays_from_13_utc(autojump_clock: MockClock) -> None:
    async with (
        opened("replay") as venue,
        listening("replay", venue, "eurusd") as feed,
    ):
        _, quote = await feed.events(2)
    assert isinstance(quote, Quote)
    (tick,) = quote.ticks
    assert (tick.kind, tick.price) == ("bid", 1.1115)


async def test_a_wall_clock_that_is_set_ends_the_session(autojump_clock: MockClock) -> None:
    ahead_ns = iter([0, 0, 0, 2 * JUMP_NS])
    clock = Clock(1.0, lambda: next(ahead_ns))
    clock.begin_session()
    with pytest.raises(VenueLost, match=r"the wall clock was set by \+20 s"):
        await clock.reach(clock.opened_ns + SECOND)


async def test_a_session_ends_with_its_reason(lunch: str, autojump_clock: MockClock) -> None:
    send, _receive = trio.open_memory_channel[object](10)
    wanted = Wanted()
    async with open_venue(Settings(recordings=(lunch,))) as venue:
        wanted.set(frozenset([await get_mkt_info(venue, "lunch")]))
        venue.clock = Clock(1.0, iter([0, 0, 0, *[2 * JUMP_NS] * 9]).__next__)
        lost = pytest.RaisesExc(VenueLost, match="the wall clock was set")
        with pytest.RaisesGroup(lost, allow_unwrapped=True):
            await stream_quotes(venue, wanted, send)


BAD = {
    "unordered": LUNCH + "2020-01-01T10:00:00Z,100,1\n",
    "nan": LUNCH + "2020-01-01T11:00:03Z,nan,1\n",
    "negative": LUNCH + "2020-01-01T11:00:03Z,-5,1\n",
    "torn": LUNCH + "2020-01-01T11:0",
    "headless": "time_utc,last\n2020-01-01T11:00:03Z,1\n",
    "columnless": HEAD + "2020-01-01T11:00:03Z,1\n",
    "empty": "",
}


@pytest.mark.parametrize("name", BAD)
async def test_a_bad_recording_is_refused_by_name_and_the_others_play(
    name: str, lunch: str
) -> None:
    bad = Path(lunch).parent / f"{name}.test.csv"
    bad.write_text(BAD[name])
    async with opened("replay", recordings=(str(bad.parent),), speed=0) as venue:
        with pytest.raises(Refused) as refused:
            await get_mkt_info(venue, name)
        assert fault(refused).file == str(bad)
        assert fault(refused).key.startswith("line ")
        assert fault(refused).problem
        async with listening("replay", venue, "lunch") as feed:
            assert len(await feed.events(5)) == 5


GZIP = gzip.compress(LUNCH.encode())


@pytest.mark.parametrize(
    ("name", "content", "problem"),
    [
        ("bad.csv.gz", LUNCH.encode(), "Not a gzipped file"),
        ("bad.csv.gz", GZIP[:-20], "the file is torn: its compressed data ends too early"),
        ("bad.csv.gz", GZIP[:-8] + b"12345678", "CRC check failed"),
        ("bad.csv.gz", GZIP[:12] + b"\xff\xff" + GZIP[14:], "Error -3 while decompressing"),
        ("bad.csv", b"\xff\xfe\x00", "expected text in UTF-8"),
    ],
)
async def test_a_file_that_is_no_text_is_refused(
    tmp_path: Path, name: str, content: bytes, problem: str
) -> None:
    (tmp_path / name).write_bytes(content)
    async with opened("replay", recordings=(str(tmp_path),)) as venue:
        with pytest.raises(Refused) as refused:
            await get_mkt_info(venue, "bad")
    assert fault(refused).problem.startswith(problem)


async def test_a_recording_that_went_away_is_refused_until_it_is_back(lunch: str) -> None:
    async with opened("replay", recordings=(lunch,)) as venue:
        write(lunch, None)
        with pytest.raises(Refused, match="No such file"):
            await get_mkt_info(venue, "lunch")
        write(lunch, LUNCH)
        assert (await get_mkt_info(venue, "lunch")).fqme == "lunch.test.replay"


async def test_a_broken_recording_that_is_wanted_is_dropped(lunch: str) -> None:
    async with opened("replay", recordings=(lunch,)) as venue:
        market = await get_mkt_info(venue, "lunch")
    write(lunch, "")
    async with opened("replay", recordings=(lunch,)) as venue, listening("replay", venue) as feed:
        feed.wanted.set(frozenset([market]))
        dropped = await feed.event()
    assert isinstance(dropped, Dropped)
    assert dropped.market == "lunch.test.replay"
    assert "expected a line that names the columns" in dropped.reason


async def test_a_broken_recording_is_found_and_says_why(lunch: str) -> None:
    write(lunch, "")
    async with (
        opened("replay", recordings=(lunch,)) as venue,
        open_symbol_search(venue) as find,
    ):
        (match,) = await find("lunch", 5)
        assert "expected a line that names the columns" in match.description
        assert [match.fqme for match in await find("dollar", 5)] == ["eurusd.spot.replay"]


async def test_a_recording_of_ones_own_is_taken_in_place_of_a_shipped_one(tmp_path: Path) -> None:
    (tmp_path / "EURUSD.spot.csv").write_text(LUNCH)
    async with opened("replay", recordings=(str(tmp_path),)) as venue:
        assert (await get_mkt_info(venue, "eurusd")).currency == "EUR"


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({"speed": -1.0}, r"expected 0, or a number from 0.001 to 1e\+06, was -1"),
        ({"speed": float("nan")}, "expected 0, or a number"),
        ({"speed": 1e9}, "expected 0, or a number"),
        ({"start": "noon"}, "expected a time such as .*, was 'noon'"),
        ({"start": "13:00+02:00"}, "expected a time of day in UTC"),
        ({"recordings": ("/nowhere",)}, "expected a directory, or a file that ends in .csv"),
        ({"recordings": ("/dev/null",)}, "expected a directory, or a file that ends in .csv"),
    ],
)
async def test_wrong_settings_are_refused(settings: dict[str, object], problem: str) -> None:
    with pytest.raises(Refused, match=problem) as refused:
        async with opened("replay", **settings):
            raise AssertionError("it opened")
    assert isinstance(refused.value.fault, BrokenConfiguration)


async def test_two_recordings_of_one_name_are_refused(lunch: str) -> None:
    other = Path(lunch).with_suffix(".csv.gz")
    other.write_bytes(GZIP)
    with pytest.raises(Refused, match="expected another name than"):
        async with opened("replay", recordings=(lunch, str(other))):
            raise AssertionError("it opened")
