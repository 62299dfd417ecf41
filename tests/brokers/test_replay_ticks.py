"""Recordings of datad's own, as replay reads and plays them."""

from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pytest
from msgspec import structs

from piker.brokers import Dropped, Subscribed, load
from piker.brokers.conformance import check_provider
from piker.brokers.replay.ticks import LATE_NS, TickRecording
from piker.brokers.replay.wire import BadRecording
from piker.core.tickcolumns import TickColumns
from piker.coverage import Span
from piker.errors import Refused
from piker.interfaces.service import BrokenConfiguration
from piker.markets import Market, PriceBand, Session
from piker.quotes import Kind, Quote, Tick
from piker.store import parquet
from piker.store.tickfiles import About, TickFiles, ticks_of
from tests.brokers.samples import SECOND, listening, opened

MARKET = Market(
    fqme="dax.eurex.fake",
    venue_id="FDAX",
    description="DAX future",
    asset_class="future",
    currency="EUR",
    price_tick=Decimal("0.5"),
    price_bands=(PriceBand(from_price=Decimal(0), price_tick=Decimal("0.5")),),
    size_tick=Decimal(1),
    multiplier=Decimal(25),
    has_trades=True,
    has_volume=True,
    has_bid=True,
    has_ask=True,
)
TEN = 1_577_872_800 * SECOND
"""2020-01-01 10:00 UTC."""
LUNCH = tuple(
    Session(open_ns=TEN + hour * 3600 * SECOND, close_ns=TEN + (hour * 3600 + 10) * SECOND)
    for hour in (0, 1)
)


def tick(kind: Kind, price: float, seconds: float, size: float | None = None) -> Tick:
    """Of so long after ten o'clock."""
    time_ns = TEN + round(seconds * SECOND)
    return Tick(kind=kind, price=price, size=size, time_ns=time_ns, seen_ns=time_ns)


def recorded(*messages: tuple[Tick, ...] | float) -> TickColumns:
    """Messages, or when a sign of life was seen."""
    ticks = TickColumns()
    for number, message in enumerate(messages):
        said = () if isinstance(message, float) else message
        seen_ns = TEN + round(message * SECOND) if isinstance(message, float) else 0
        ticks.add(Quote(market=MARKET.fqme, ticks=said), number, seen_ns, seen_ns)
    return ticks


FIRST = (tick("bid", 99.5, 1, 4), tick("trade", 100, 1, 1), tick("trade", 100.5, 1, 2))
SECOND_ = (tick("dark_trade", 101, 3.5),)
AFTER_LUNCH = (tick("ask", 99.5, 3602, 3),)
DAY = recorded(FIRST, 2.0, SECOND_, AFTER_LUNCH)


def about(market: Market = MARKET, messages: int = 4) -> About:
    span = Span(from_ns=TEN, to_ns=TEN + 3610 * SECOND, how="live")
    return About(version=1, market=market, spans=(span,), next_message=messages)


async def test_a_time_in_which_the_venue_said_nothing_is_played_too(tmp_path: Path) -> None:
    files = TickFiles(tmp_path)
    files.write("2020-01-01", recorded(), about())
    files.unlock()
    async with opened("replay", recordings=(str(tmp_path),)) as venue:
        silent = await venue.library.recording("dax.eurex")
    assert (silent.begin_ns, silent.end_ns, len(silent.times)) == (TEN, TEN + 3610 * SECOND, 0)


def laid_out(ticks: TickColumns, market: Market = MARKET) -> TickRecording:
    return TickRecording(market, about().spans, ticks)


@pytest.fixture
def history(tmp_path: Path) -> Path:
    """A provider's, in which datad recorded a day of two sessions."""
    files = TickFiles(tmp_path)
    market = structs.replace(MARKET, sessions=LUNCH)
    files.write("2020-01-01", DAY, about(market))
    files.unlock()
    return tmp_path


def test_a_message_is_due_at_its_newest_tick_and_a_sign_of_life_when_it_was_seen() -> None:
    due = [time_ns - TEN for time_ns in laid_out(DAY).times]
    assert due == [SECOND, 2 * SECOND, 3.5 * SECOND, 3602 * SECOND]


def test_what_is_older_than_what_came_before_is_due_at_once() -> None:
    recording = laid_out(recorded((tick("bid", 1, 5),), (tick("trade", 1, 4),)))
    assert recording.times[1] == TEN + 5 * SECOND
    (trade,) = recording.ticks.ticks(recording.rows(1), 7, 0)
    assert trade.time_ns == TEN + 4 * SECOND + 7


async def test_times_that_go_back_are_played_as_recorded_in_the_order_in_which_they_came(
    tmp_path: Path,
) -> None:
    bids = [(tick("bid", price, seconds),) for price, seconds in ((1, 5), (2, 1), (3, 6), (4, 2))]
    files = TickFiles(tmp_path)
    files.write("2020-01-01", recorded(*bids), about())
    files.unlock()
    settings = {"recordings": (str(tmp_path),), "speed": 0.0, "loop": False}
    async with opened("replay", **settings) as venue, listening("replay", venue, "dax") as feed:
        _, *quotes = await feed.events(5)
    shift_ns = venue.clock.opened_ns - TEN - 5 * SECOND
    played = [each.ticks[0] for each in quotes if isinstance(each, Quote)]
    seconds = [(each.price, (each.time_ns - shift_ns - TEN) // SECOND) for each in played]
    assert seconds == [(1, 5), (2, 1), (3, 6), (4, 2)]


async def test_in_a_hole_of_the_recording_the_market_is_dropped_until_its_end(
    tmp_path: Path,
) -> None:
    first, last = (tick("bid", 1, 5),), (tick("bid", 2, 3000),)
    spans = tuple(
        Span(from_ns=TEN + a * SECOND, to_ns=TEN + b * SECOND, how="live")
        for a, b in ((4, 6), (2990, 3001))
    )
    files = TickFiles(tmp_path)
    files.write("2020-01-01", recorded(first, last), structs.replace(about(), spans=spans))
    files.unlock()
    settings = {"recordings": (str(tmp_path),), "speed": 0.0, "loop": False}
    async with opened("replay", **settings) as venue, listening("replay", venue, "dax") as feed:
        events = await feed.events(5)
    kinds = [type(event) for event in events]
    assert kinds == [Subscribed, Quote, Dropped, Subscribed, Quote]
    end = datetime.fromtimestamp((venue.clock.opened_ns // SECOND) + 2985, UTC)
    assert isinstance(events[2], Dropped)
    assert f"the recording has a hole until {end:%Y-%m-%d %H:%M:%S} UTC" == events[2].reason


def test_where_ticks_are_that_are_not_covered_is_no_hole() -> None:
    spans = tuple(
        Span(from_ns=TEN + a * SECOND, to_ns=TEN + b * SECOND, how="live")
        for a, b in ((1, 2), (4, 3600))
    )
    assert TickRecording(MARKET, spans, DAY).holes == ((TEN + 2 * SECOND + 1, TEN + 3.5 * SECOND),)
    closed = structs.replace(MARKET, sessions=LUNCH)
    lunch = Span(from_ns=LUNCH[1].open_ns, to_ns=LUNCH[1].close_ns, how="live")
    morning = Span(from_ns=TEN, to_ns=LUNCH[0].close_ns, how="live")
    assert TickRecording(closed, (morning, lunch), DAY).holes == ()


def test_a_last_trade_of_yesterday_does_not_make_the_recording_begin_then() -> None:
    old = structs.replace(tick("trade", 1, 0), time_ns=TEN - 24 * 3600 * SECOND)
    recording = laid_out(recorded((old, tick("bid", 1, 0)), (tick("bid", 2, 20),)))
    assert recording.begin_ns == TEN
    recording = laid_out(recorded((old,), (tick("bid", 2, 20),)))
    assert recording.begin_ns == TEN - LATE_NS


def test_a_sign_of_life_is_never_due_after_what_came_next() -> None:
    recording = laid_out(recorded((tick("bid", 1, 1),), 9.0, (tick("bid", 1, 2),)))
    assert [time_ns - TEN for time_ns in recording.times] == [SECOND, 2 * SECOND, 2 * SECOND]


def test_sessions_are_those_of_the_market_as_long_as_it_was_recorded() -> None:
    always = laid_out(DAY)
    assert always.sessions == (Session(open_ns=TEN + SECOND, close_ns=TEN + 3610 * SECOND),)
    lunch = laid_out(DAY, structs.replace(MARKET, sessions=LUNCH))
    assert lunch.sessions == (Session(open_ns=TEN + SECOND, close_ns=LUNCH[0].close_ns), LUNCH[1])


def broken(ticks: TickColumns, column: str, row: int, value: float) -> TickColumns:
    getattr(ticks, column)[row] = value
    return ticks


@pytest.mark.parametrize(
    ("ticks", "problem"),
    [
        (recorded(), "row 1: expected a tick, was the end"),
        (broken(recorded(FIRST), "prices", 1, float("nan")), "row 2: expected a finite price, was"),
        (broken(recorded(FIRST), "prices", 0, float("inf")), "row 1: expected a finite price, was"),
        (broken(recorded(FIRST), "sizes", 2, -1.0), "row 3: expected a size of 0 or more, was -1"),
        (broken(recorded(FIRST), "times", 0, -1), "row 1: expected time from 1970 to 2116, was -1"),
        (broken(recorded(FIRST), "seen", 2, 2**62), "row 3: expected seen from 1970 to 2116, was"),
    ],
)
def test_what_cannot_be_played_is_refused_with_its_row(ticks: TickColumns, problem: str) -> None:
    with pytest.raises(BadRecording) as bad:
        TickRecording(MARKET, (), ticks)
    assert str(bad.value).startswith(problem)


@pytest.mark.parametrize("below", [".", "dax.eurex.fake", "dax.eurex.fake/ticks"])
async def test_what_datad_recorded_is_played_by_its_markets_name(history: Path, below: str) -> None:
    settings = {"recordings": (str(history / below),), "speed": 0.0, "loop": False}
    async with (
        opened("replay", **settings) as venue,
        listening("replay", venue, "dax.eurex") as feed,
    ):
        subscribed, *quotes = await feed.events(5)
    assert isinstance(subscribed, Subscribed)
    shift_ns = venue.clock.opened_ns - TEN - SECOND
    expected = structs.replace(MARKET, fqme="dax.eurex.replay", sessions=subscribed.market.sessions)
    assert subscribed.market == expected
    played = [
        [structs.replace(each, time_ns=each.time_ns - shift_ns, seen_ns=0) for each in quote.ticks]
        for quote in quotes
        if isinstance(quote, Quote)
    ]
    messages = [FIRST, (), SECOND_, AFTER_LUNCH]
    assert played == [[structs.replace(t, seen_ns=0) for t in ticks] for ticks in messages]


async def test_a_days_file_alone_and_one_of_another_name_are_played_too(
    history: Path, tmp_path: Path
) -> None:
    ticks = ticks_of(history, MARKET.fqme)
    files = TickFiles(history)
    files.join(MARKET.fqme, "2020-01-02", 0)
    files.unlock()
    other = tmp_path / "mine.test.parquet"
    other.write_bytes((ticks / "2020-01-01.parquet").read_bytes())
    for path, name in ((ticks / "2020-01-01.parquet", "dax.eurex"), (other, "mine.test")):
        async with opened("replay", recordings=(str(path),)) as venue:
            assert f"{name}.replay" in venue.names
            assert len((await venue.library.recording(name)).times) == 4
            assert await venue.library.description(name) == "DAX future"


async def test_a_recording_of_datads_keeps_every_promise(history: Path) -> None:
    provider = load("replay")
    settings = provider.settings(recordings=(str(history),), speed=0.0)
    report = await check_provider(provider, settings, ["dax.eurex"])
    assert report.broken == ()


async def test_what_cannot_be_read_is_refused_by_name_and_the_others_are_played(
    history: Path,
) -> None:
    (bad,) = (ticks_of(history, MARKET.fqme) / "2020-01-01").iterdir()
    bad.write_bytes(bad.read_bytes()[:-9])
    async with opened("replay", recordings=(str(history),)) as venue:
        with pytest.raises(Refused) as refused:
            await venue.library.recording("dax.eurex")
        assert len((await venue.library.recording("eurusd.spot")).times) > 1000
    fault = refused.value.fault
    assert isinstance(fault, BrokenConfiguration)
    assert fault.file == str(ticks_of(history, MARKET.fqme))


async def test_without_the_package_it_says_what_to_install(
    history: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parquet, "problem", lambda: "none")
    async with opened("replay", recordings=(str(history),)) as venue:
        with pytest.raises(Refused) as refused:
            await venue.library.recording("dax.eurex")
    fault = refused.value.fault
    assert isinstance(fault, BrokenConfiguration)
    assert "piker-history" in fault.problem


async def test_a_directory_named_ticks_may_hold_other_recordings(tmp_path: Path) -> None:
    (tmp_path / "ticks").mkdir()
    (tmp_path / "ticks" / "mine.test.csv").write_text("")
    async with opened("replay", recordings=(str(tmp_path / "ticks"),)) as venue:
        assert "mine.test.replay" in venue.names
