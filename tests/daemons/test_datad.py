"""datad: watching markets of a venue in the test's hands, on a virtual clock; bars; search."""

from collections.abc import Iterable
from contextlib import aclosing
from itertools import pairwise

import pytest
import trio
from msgspec import structs
from trio.testing import wait_all_tasks_blocked

from piker import clock
from piker.brokers import Ailing, Away, Dropped, Subscribed, VenueLost
from piker.core import windows
from piker.core.bars import NS
from piker.core.calendars import named
from piker.errors import Fault, Refused
from piker.interfaces import Call
from piker.interfaces.data import (
    DATA,
    AmbiguousMarket,
    Bars,
    BarsReply,
    DescribeMarket,
    MarketReply,
    Match,
    NoSuchMarket,
    NoSuchPeriod,
    NotSupported,
    Search,
    SearchReply,
    TooManyMarkets,
    TooSlow,
    VenueUnavailable,
    Watch,
    WatchReply,
)
from piker.interfaces.introspection import InvalidParameter
from piker.markets import Session
from piker.quotes import Bar, Tick
from tests.conftest import WALL_NS
from tests.fakes.venue import (
    ENDPOINTS,
    EURGBP,
    EURUSD,
    GBPUSD,
    Desk,
    a_desk,
    quote,
    tick,
    until,
)

pytestmark = pytest.mark.usefixtures("virtual_time")


async def fault_of(desk: Desk, call: Call) -> Fault:
    replies = desk.board.client(DATA).replies(call, WatchReply)
    with pytest.raises(Refused) as refused:
        await anext(replies)
    return refused.value.fault


def prices(reply: WatchReply) -> list[tuple[str, float]]:
    return [(tick.kind, tick.price) for quote in reply.quotes for tick in quote.ticks]


# --- the first reply


async def test_the_first_reply_says_what_the_markets_are_and_how_they_stand() -> None:
    async with a_desk() as desk, desk.watching("eurusd", "GBP") as replies:
        first = await anext(replies)
    assert [(each.asked, each.market) for each in first.markets] == [
        ("eurusd", EURUSD),
        ("GBP", GBPUSD),
    ]
    states = [(each.state.market, each.state.state) for each in first.markets]
    assert states == [(EURUSD.fqme, "disconnected"), (GBPUSD.fqme, "disconnected")]
    assert [each.last for each in first.markets] == [(), ()]


async def test_who_comes_later_is_told_the_newest_tick_of_each_kind() -> None:
    async with a_desk() as desk, desk.watching("eurusd") as replies:
        await until(replies, "live")
        newest = (tick("bid", 1.1), tick("ask", 1.3), tick("trade", 1.2, 5.0))
        desk.venue.say(quote(tick("bid", 1.0)), quote(*newest))
        await anext(replies)
        async with desk.watching("eurusd.spot") as others:
            (watched,) = (await anext(others)).markets
    assert set(watched.last) == set(newest)
    assert watched.state.state == "live"


async def test_a_market_asked_for_by_two_names_is_followed_once() -> None:
    async with a_desk() as desk, desk.watching("eurusd", "eurusd.spot") as replies:
        first = await anext(replies)
        await until(replies, "live")
        desk.venue.say(quote(tick("bid", 1.0)))
        assert prices(await anext(replies)) == [("bid", 1.0)]
    assert [each.asked for each in first.markets] == ["eurusd", "eurusd.spot"]


@pytest.mark.parametrize(
    ("call", "fault"),
    [
        (Watch(markets=("dax",)), NoSuchMarket(market="dax", similar=(EURUSD.fqme,))),
        (
            Watch(markets=("eurusd", "eur")),
            AmbiguousMarket(market="eur", candidates=(EURUSD.fqme, EURGBP.fqme)),
        ),
        (Watch(markets=()), InvalidParameter(parameter="markets: expected at least one")),
        (
            Watch(markets=("eurusd",), max_rate_hz=0.0),
            InvalidParameter(parameter="max_rate_hz: expected above 0 and at most 1000, was 0"),
        ),
        (
            Watch(markets=("eurusd",), max_rate_hz=-1e300),
            InvalidParameter(
                parameter="max_rate_hz: expected above 0 and at most 1000, was -1e+300"
            ),
        ),
        (Bars(market="eurusd", period_s=7), NoSuchPeriod(period_s=7, periods=(1, 60))),
        (Bars(market="eurusd", period_s=10**30), NoSuchPeriod(period_s=10**30, periods=(1, 60))),
        (Bars(market="dax", period_s=1), NoSuchMarket(market="dax", similar=(EURUSD.fqme,))),
        (
            Search(pattern="", limit=0),
            InvalidParameter(parameter="limit: expected 1 to 1000, was 0"),
        ),
    ],
    ids=repr,
)
async def test_what_cannot_be_done_is_refused_by_name(call: Call, fault: Fault) -> None:
    async with a_desk() as desk:
        assert await fault_of(desk, call) == fault


async def test_no_more_markets_are_followed_than_the_provider_bears() -> None:
    async with a_desk(limit=2) as desk, desk.watching("eurusd", "gbp") as replies:
        await anext(replies)
        refused = await fault_of(desk, Watch(markets=("eurgbp", "eurusd")))
        assert refused == TooManyMarkets(wanted=3, allowed=2)
        async with desk.watching("eurusd") as others:
            await anext(others)


async def test_a_market_that_nobody_watches_is_no_longer_wanted() -> None:
    async with a_desk() as desk:
        async with desk.watching("eurusd") as replies:
            await until(replies, "live")
            assert desk.venue.followed == {EURUSD}
        await wait_all_tasks_blocked()
        assert desk.venue.followed == set()


# --- ticks


async def test_quotes_reach_all_who_watch_their_market_and_nobody_else() -> None:
    async with (
        a_desk() as desk,
        desk.watching("eurusd") as one,
        desk.watching("gbp", "eurusd") as both,
    ):
        await until(one, "live")
        await until(both, "live", markets=2)
        desk.venue.say(quote(tick("bid", 2.0), market=GBPUSD), quote(tick("bid", 1.0)))
        assert prices(await anext(one)) == [("bid", 1.0)]
        assert prices(await anext(both)) == [("bid", 2.0), ("bid", 1.0)]


@pytest.mark.parametrize(
    ("sides", "given", "expected"),
    [
        ({"has_ask": False}, ("bid", 1.10), [("bid", 1.10), ("ask", 1.11)]),
        ({"has_bid": False}, ("ask", 1.10), [("ask", 1.10), ("bid", 1.09)]),
        (
            {"has_bid": False, "has_ask": False},
            ("trade", 1.10),
            [("trade", 1.10), ("bid", 1.09), ("ask", 1.11)],
        ),
    ],
)
async def test_a_side_that_the_venue_does_not_give_is_one_tick_away_and_marked(
    sides: dict[str, bool], given: tuple[str, float], expected: list[tuple[str, float]]
) -> None:
    async with a_desk(structs.replace(EURUSD, **sides)) as desk, desk.watching("eur") as replies:
        await until(replies, "live")
        desk.venue.say(quote(Tick(kind=given[0], price=given[1], time_ns=1, seen_ns=1)))  # type: ignore[arg-type]
        reply = await anext(replies)
    assert prices(reply) == expected
    assert [each.derived for each in reply.quotes[0].ticks] == [False] + [True] * len(sides)


async def test_prices_that_are_no_numbers_are_dropped_and_counted() -> None:
    async with a_desk() as desk, desk.watching("eurusd") as replies:
        await until(replies, "live")
        bad = [tick("bid", float(price)) for price in ("nan", "inf", "-inf")]
        desk.venue.say(quote(*bad), quote(bad[0], tick("ask", 1.5)))
        assert prices(await anext(replies)) == [("ask", 1.5)]
        counters = {each.name: each.value for each in desk.datad.report().counters}
    assert counters["bad_ticks"] == 4


async def test_a_slow_watcher_keeps_first_lowest_highest_and_newest_and_all_trades() -> None:
    async with a_desk() as desk, desk.watching("eurusd", max_rate_hz=0.1) as replies:
        await until(replies, "live")
        await trio.sleep(0.5)
        bids = [tick("bid", price) for price in (5.0, 6.0, 9.0, 7.0, 2.0, 3.0, 4.0)]
        trades = [tick("trade", price, 1.0) for price in (5.5, 2.5, 3.5)]
        desk.venue.say(*(quote(each) for each in bids[:4] + trades + bids[4:]))
        kept = prices(await anext(replies))
    assert kept == [
        ("bid", 5),
        ("bid", 9),
        ("trade", 5.5),
        ("trade", 2.5),
        ("trade", 3.5),
        ("bid", 2),
        ("bid", 4),
    ]


async def test_every_replaces_nothing_however_slow_the_watcher() -> None:
    async with a_desk() as desk, desk.watching("eurusd", every=True, max_rate_hz=0.1) as replies:
        await until(replies, "live")
        for price in range(300):
            desk.venue.say(quote(tick("bid", float(price))))
            await wait_all_tasks_blocked()
        began = trio.current_time()
        got: list[float] = []
        while len(got) < 300:
            got += [price for _, price in prices(await anext(replies))]
    assert got == [float(price) for price in range(300)]
    assert trio.current_time() - began <= 30


async def test_replies_come_no_faster_than_was_asked() -> None:
    async with a_desk() as desk, desk.watching("eurusd", max_rate_hz=2) as replies:
        await until(replies, "live")
        times = []
        for price in range(4):
            desk.venue.say(quote(tick("bid", float(price))))
            await anext(replies)
            times.append(trio.current_time())
    pauses = [later - earlier for earlier, later in pairwise(times)]
    assert min(pauses) >= 0.5


@pytest.mark.parametrize(("every", "ticks"), [(None, 120_000), (True, 1_200_000)])
async def test_past_its_bound_a_watcher_is_told_that_it_is_too_slow(
    every: bool | None, ticks: int
) -> None:
    async with a_desk() as desk, desk.watching("eurusd", every=every) as replies:
        await until(replies, "live")
        trades = [tick("trade", 1.0, 1.0)] * 1000
        for _ in range(ticks // 1000):
            desk.venue.say(quote(*trades))
        await wait_all_tasks_blocked()
        with pytest.raises(Refused) as refused:
            await until(replies, "never")
    assert isinstance(refused.value.fault, TooSlow)
    assert 0 < refused.value.fault.lost <= ticks


async def test_who_does_not_even_read_that_it_is_too_slow_is_hung_up_on() -> None:
    async with a_desk() as desk, desk.watching("eurusd") as replies:
        await until(replies, "live")
        for _ in range(200):
            desk.venue.say(quote(*[tick("trade", 1.0, 1.0)] * 1000))
        await wait_all_tasks_blocked()
        assert len(desk.board.server.conversations) == 1
        await trio.sleep(60)
        assert len(desk.board.server.conversations) == 0


async def test_who_lags_does_not_slow_others_down() -> None:
    async with a_desk() as desk, desk.watching("eurusd") as lags, desk.watching("eurusd") as reads:
        await anext(lags)
        await until(reads, "live")
        for price in range(2000):
            desk.venue.say(quote(*[tick("trade", float(price), 1.0)] * 10))
            assert prices(await anext(reads)) == [("trade", float(price))] * 10


# --- states


async def test_a_market_is_live_then_stale_when_it_is_silent_then_live_again() -> None:
    async with a_desk() as desk, desk.watching("eurusd") as replies:
        await until(replies, "live")
        _, stale = await until(replies, "stale")
        assert stale.reason == "silent for more than the usual 60 s"
        desk.venue.say(quote(tick("bid", 1.0)))
        ticks, live = await until(replies, "live")
    assert [each.price for each in ticks] == [1.0]
    assert live.since_ns >= stale.since_ns > WALL_NS + 60 * NS


async def test_a_quote_without_ticks_is_a_sign_of_life() -> None:
    async with a_desk() as desk, desk.watching("eurusd") as replies:
        await until(replies, "live")
        for _ in range(10):
            await trio.sleep(50)
            desk.venue.say(quote())
        with trio.move_on_after(50):
            await anext(replies)
            raise AssertionError("nothing changes while it shows life")


async def test_out_of_its_sessions_a_market_is_closed() -> None:
    opens, closes = WALL_NS + 100 * NS, WALL_NS + 200 * NS
    hours = structs.replace(EURUSD, sessions=(Session(open_ns=opens, close_ns=closes),))
    async with a_desk(hours) as desk, desk.watching("eurusd") as replies:
        _, before = await until(replies, "closed")
        _, live = await until(replies, "live")
        _, stale = await until(replies, "stale")
        _, after = await until(replies, "closed")
    assert (before.reason, after.reason) == ("opens in 100 s", "out of session")
    times = [each.since_ns // NS for each in (live, stale, after)]
    assert times == [opens // NS, opens // NS + 60, closes // NS]


@pytest.mark.parametrize(
    ("needs_login", "said"), [(True, "waits for a login"), (False, "the venue is away")]
)
async def test_a_venue_that_is_waited_for_is_said_to_be_away_and_why(
    needs_login: bool, said: str
) -> None:
    async with a_desk() as desk, desk.watching("eurusd") as replies:
        await until(replies, "live")
        desk.venue.say(Away(reason="a code is asked for", needs_login=needs_login))
        _, lost = await until(replies, "disconnected")
        assert lost.reason == "a code is asked for"
        assert desk.datad.report().status.startswith(f"fake: {said} (a code is asked for) · ")
        desk.venue.say(Subscribed(market=EURUSD))
        await until(replies, "live")
        assert desk.datad.report().status == "fake: connected · 1 live · 1 watcher"


async def test_what_of_a_venue_does_not_work_is_said_until_it_does_or_the_venue_is_lost() -> None:
    async with a_desk() as desk, desk.watching("eurusd") as replies:
        await until(replies, "live")
        for ended in (Ailing(reason=""), Away(reason="it is over")):
            desk.venue.say(Ailing(reason="half of it is broken"))
            await trio.testing.wait_all_tasks_blocked()
            report = desk.datad.report()
            assert report.status.startswith("fake: connected, but half of it is broken · ")
            assert report.state == "degraded"
            desk.venue.say(ended)
            await trio.testing.wait_all_tasks_blocked()
            assert "half of it" not in desk.datad.report().status


async def test_with_its_venue_every_market_is_lost_and_comes_back() -> None:
    async with a_desk() as desk, desk.watching("eurusd") as replies:
        await until(replies, "live")
        desk.venue.fail(VenueLost("the cable was cut"))
        _, lost = await until(replies, "disconnected")
        assert "lost (the cable was cut)" in desk.datad.report().status
        assert desk.datad.report().state == "degraded"
        await until(replies, "live")
        assert desk.datad.report().status == "fake: connected · 1 live · 1 watcher"
    assert (lost.reason, desk.venue.sessions) == ("the cable was cut", 2)


async def test_what_a_lost_session_still_said_comes_before_its_loss() -> None:
    for _ in range(10):
        async with a_desk() as desk, desk.watching("eurusd") as replies:
            await until(replies, "live")
            desk.venue.say(Subscribed(market=EURUSD))
            desk.venue.fail(VenueLost("gone"))
            desk.venue.away = "gone"
            _, lost = await until(replies, "disconnected")
            await trio.sleep(0.3)
            (component,) = desk.datad.report().components
        assert (lost.reason, component.state) == ("gone", "disconnected")


async def test_a_market_that_the_venue_drops_is_lost_alone() -> None:
    async with a_desk() as desk, desk.watching("eurusd", "gbp") as replies:
        await until(replies, "live", markets=2)
        desk.venue.say(Dropped(market=GBPUSD.fqme, reason="delisted"))
        _, dropped = await until(replies, "disconnected")
        states = {each.name: each.state for each in desk.datad.report().components}
    assert (dropped.market, dropped.reason) == (GBPUSD.fqme, "delisted")
    assert states == {EURUSD.fqme: "live", GBPUSD.fqme: "disconnected"}


async def test_a_market_whose_calendar_runs_out_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    future = structs.replace(EURUSD, fqme="if2612.cffex.fake", asset_class="future")
    async with a_desk(future) as desk, desk.watching("if2612") as replies:
        await until(replies, "live")
        monkeypatch.setattr(clock, "wall_ns", lambda: named("XSHG").known[1])
        (component,) = desk.datad.report().components
    assert component.detail.startswith("when XSHG is closed is known until ")


async def test_a_venue_that_is_away_is_asked_again_after_ever_longer_pauses() -> None:
    async with a_desk() as desk, desk.watching("eurusd") as replies:
        await anext(replies)
        desk.venue.away = "closed for repairs"
        desk.venue.fail(VenueLost("closed for repairs"))
        await trio.sleep(400)
        times = desk.venue.session_times
    pauses = [round(later - earlier, 3) for earlier, later in pairwise(times)]
    assert pauses[:9] == [0.5, 1, 2, 4, 8, 16, 32, 60, 60]


async def test_after_a_good_session_the_first_pause_is_short_again() -> None:
    async with a_desk() as desk, desk.watching("eurusd") as replies:
        for session_s in (1, 1, 40, 1):
            await until(replies, "live")
            await trio.sleep(session_s)
            desk.venue.fail(VenueLost("gone"))
            await until(replies, "disconnected")
        await until(replies, "live")
        times = desk.venue.session_times
    pauses = [later - earlier for earlier, later in pairwise(times)]
    assert pauses == pytest.approx([1 + 0.5, 1 + 1, 40 + 0.5, 1 + 1])


async def test_a_feed_that_just_ends_is_a_lost_venue() -> None:
    async def ends(*_: object) -> None:
        await trio.lowlevel.checkpoint()

    endpoints = {**ENDPOINTS, "stream_quotes": ends}
    async with a_desk(endpoints=endpoints) as desk, desk.watching("eurusd") as replies:
        await anext(replies)
        await wait_all_tasks_blocked()
        assert "lost (the feed ended)" in desk.datad.report().status


async def test_a_bug_of_the_provider_ends_the_process() -> None:
    with pytest.RaisesGroup(pytest.RaisesExc(ZeroDivisionError), flatten_subgroups=True):
        async with a_desk() as desk, desk.watching("eurusd") as replies:
            await until(replies, "live")
            desk.venue.fail(ZeroDivisionError("a bug"))
            await trio.sleep_forever()


# --- bars


def bars_of(ticks: Iterable[Tick], period_s: int) -> list[Bar]:
    rows: dict[int, list[Tick]] = {}
    for each in ticks:
        rows.setdefault(each.time_ns // (period_s * NS) * period_s * NS, []).append(each)
    return [
        Bar(
            time_ns=time_ns,
            open=row[0].price,
            high=max(each.price for each in row),
            low=min(each.price for each in row),
            close=row[-1].price,
            volume=sum(each.size or 0.0 for each in row),
            trades=len(row),
        )
        for time_ns, row in rows.items()
    ]


@pytest.mark.parametrize("period_s", [1, 60])
async def test_bars_keep_in_step_with_ticks(period_s: int) -> None:
    said: list[Tick] = []
    async with a_desk() as desk, desk.reading("eurusd", period_s) as replies:
        reply, reader = await anext(replies)
        for step in range(200):
            said.append(tick("trade", 1.0 + (step * 7919 % 100) / 100, float(step % 5)))
            desk.venue.say(quote(tick("bid", 9.0), said[-1]))
            await wait_all_tasks_blocked()
            assert reader.bars(1000) == bars_of(said, period_s)
            await trio.sleep(0.37)
    assert (reply.market, reply.period_s, reply.reason) == (EURUSD.fqme, period_s, "opened")


async def test_where_there_are_no_trades_bars_are_made_of_the_mid_and_marked() -> None:
    silent = structs.replace(EURUSD, has_trades=False, has_ask=False)
    async with a_desk(silent) as desk, desk.reading("eurusd", 1) as replies:
        _, reader = await anext(replies)
        desk.venue.say(quote(tick("bid", 1.10)), quote(tick("bid", 1.20)))
        await wait_all_tasks_blocked()
        (bar,) = reader.bars(10)
    assert [bar.open, bar.close] == pytest.approx([1.105, 1.205])
    assert (bar.trades, bar.volume, bar.derived) == (0, 0.0, True)


async def test_full_bars_are_followed_by_another_generation(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(windows, "DAY_S", 3)
    async with a_desk() as desk, desk.reading("eurusd", 1) as replies:
        old, full = await anext(replies)
        said = [tick("trade", float(n), 1.0, time_ns=WALL_NS + n * NS) for n in range(10)]
        desk.venue.say(*(quote(each) for each in said))
        new, renewed = await anext(replies)
        await wait_all_tasks_blocked()
        assert full.bars(100) == bars_of(said[:9], 1)
        assert renewed.bars(100) == bars_of(said[3:], 1)
    assert [(each.generation, each.reason, each.capacity) for each in (old, new)] == [
        (1, "opened", 9),
        (2, "full", 9),
    ]


async def test_a_bar_is_final_some_time_after_its_end() -> None:
    async with a_desk() as desk, desk.reading("eurusd", 1) as replies:
        _, reader = await anext(replies)
        desk.venue.say(quote(tick("trade", 1.0, 1.0, time_ns=WALL_NS)))
        await trio.sleep(2.9)
        assert reader.final == 0
        await trio.sleep(1.0)
        assert reader.final == 1
        desk.venue.say(quote(tick("trade", 2.0, 1.0, time_ns=WALL_NS + 5)))
        await wait_all_tasks_blocked()
        assert [bar.close for bar in reader.bars(10)] == [1.0]
        counters = {each.name: each.value for each in desk.datad.report().counters}
    assert counters["late_ticks"] == 1


async def test_coverage_has_a_hole_where_the_venue_was_lost() -> None:
    async with a_desk() as desk, desk.reading("eurusd", 1) as replies:
        _, reader = await anext(replies)
        for second in range(10):
            desk.venue.say(quote(tick("bid", float(second))))
            await trio.sleep(1)
        desk.venue.away = "away"
        desk.venue.fail(VenueLost("away"))
        await trio.sleep(20)
        desk.venue.away = ""
        await trio.sleep(40)
        desk.venue.say(quote(tick("bid", 1.0)))
        await trio.sleep(2)
        covered = reader.coverage()
    (first, last), (again, newest) = [(start - WALL_NS, end - WALL_NS) for start, end in covered]
    assert 0 <= first < NS
    assert last == 9 * NS
    assert 30 * NS < again < newest == 70 * NS


async def test_bars_cover_nothing_from_before_they_were_made() -> None:
    async with a_desk() as desk, desk.watching("eurusd") as ticks:
        await until(ticks, "live")
        desk.venue.say(quote(tick("bid", 1.0)))
        await trio.sleep(10)
        async with desk.reading("eurusd", 1) as replies:
            _, reader = await anext(replies)
            await trio.sleep(5)
            assert reader.coverage() == []
            desk.venue.say(quote(tick("bid", 1.0)))
            await trio.sleep(2)
            assert reader.coverage() == [(WALL_NS + 10 * NS, WALL_NS + 15 * NS)]


async def test_bars_cover_all_that_was_heard_until_nobody_followed_any_more() -> None:
    async with a_desk() as desk:
        async with desk.reading("eurusd", 1) as replies:
            await anext(replies)
            desk.venue.say(quote(tick("bid", 1.0)))
            await trio.sleep(5.4)
            desk.venue.say(quote(tick("bid", 2.0)))
            await wait_all_tasks_blocked()
        await wait_all_tasks_blocked()
        async with desk.reading("eurusd", 1) as replies:
            _, reader = await anext(replies)
            (covered,) = reader.coverage()
    assert covered[1] - WALL_NS == 5_400_000_000


async def test_bars_that_nobody_read_for_a_while_are_dropped() -> None:
    async with a_desk() as desk:
        async with desk.reading("eurusd", 1) as replies:
            await anext(replies)
            assert desk.datad.reason_to_live() == "1 readers of bars"
        await wait_all_tasks_blocked()
        assert desk.datad.reason_to_live() == ""
        counters = {each.name: each.value for each in desk.datad.report().counters}
        assert counters["bar_series"] == 1
        await trio.sleep(70)
        counters = {each.name: each.value for each in desk.datad.report().counters}
        assert counters["bar_series"] == 0


# --- what the configuration keeps


async def test_a_market_that_is_kept_is_followed_without_a_watcher_and_has_bars() -> None:
    async with a_desk(keep=["eurusd.spot.fake"]) as desk:
        await wait_all_tasks_blocked()
        assert desk.venue.followed == {EURUSD}
        assert desk.datad.reason_to_live() == "the configuration keeps eurusd.spot.fake"
        counters = {each.name: each.value for each in desk.datad.report().counters}
    assert counters["bar_series"] == 2


async def test_what_cannot_be_kept_is_left_out_and_said() -> None:
    async with a_desk(keep=["dax.fake", "eurusd", "gbp"], limit=1) as desk:
        await wait_all_tasks_blocked()
        assert len(desk.venue.followed) == 1
        states = sorted(each.state for each in desk.datad.report().components)
        assert states == ["live", "refused", "refused"]


async def test_a_market_is_kept_when_the_venue_can_be_asked() -> None:
    async with a_desk(keep=["eurusd"]) as desk:
        desk.venue.away = "away"
        await trio.sleep(5)
        assert desk.venue.followed == set()
        desk.venue.away = ""
        await trio.sleep(20)
        assert desk.venue.followed == {EURUSD}


# --- questions


async def test_a_market_is_described_by_any_name_that_fits() -> None:
    async with a_desk() as desk:
        client = desk.board.client(DATA)
        reply = await client.call(DescribeMarket(name="GBPUSD"), MarketReply)
    assert reply.market == GBPUSD


async def test_search_gives_as_many_as_were_asked_for() -> None:
    async with a_desk() as desk:
        client = desk.board.client(DATA)
        two = await client.call(Search(pattern="eur", limit=2), SearchReply)
        one = await client.call(Search(pattern="eur", limit=1), SearchReply)
    assert [match.fqme for match in two.matches] == [EURUSD.fqme, EURGBP.fqme]
    assert one.matches == (Match(fqme=EURUSD.fqme, description="Euro against dollar"),)


async def test_a_provider_without_search_says_so() -> None:
    endpoints = {name: each for name, each in ENDPOINTS.items() if name != "open_symbol_search"}
    async with a_desk(endpoints=endpoints) as desk:
        fault = await fault_of(desk, Search(pattern="eur"))
    assert fault == NotSupported(provider="fake", endpoint="open_symbol_search")


@pytest.mark.parametrize(
    "call", [Watch(markets=("eurusd",)), Search(pattern="e"), DescribeMarket(name="eurusd")]
)
async def test_a_venue_that_is_away_is_named(call: Call) -> None:
    async with a_desk() as desk:
        desk.venue.away = "closed for repairs"
        fault = await fault_of(desk, call)
    assert fault == VenueUnavailable(provider="fake", reason="closed for repairs")


@pytest.mark.parametrize(
    "call", [Watch(markets=("eurusd",)), Search(pattern="e"), DescribeMarket(name="eurusd")]
)
async def test_a_venue_that_does_not_answer_is_waited_for_so_long(call: Call) -> None:
    async with a_desk() as desk:
        desk.venue.mute = True
        fault = await fault_of(desk, call)
    assert fault == VenueUnavailable(provider="fake", reason="no answer within 20 s")


async def test_who_hangs_up_while_the_venue_is_asked_leaves_nothing() -> None:
    async with a_desk() as desk:
        desk.venue.mute = True
        replies = desk.board.client(DATA).replies(Bars(market="eurusd", period_s=1), BarsReply)
        async with aclosing(replies), trio.open_nursery() as nursery:
            nursery.start_soon(anext, replies)
            await wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()
        await wait_all_tasks_blocked()
        assert not desk.board.server.conversations


async def test_a_market_that_is_kept_does_not_wait_for_one_that_cannot_be() -> None:
    async with a_desk(keep=["nonsense.spot.fake", EURUSD.fqme]) as desk:
        await trio.testing.wait_all_tasks_blocked()
        report = desk.datad.report()
        states = {each.name: each.state for each in report.components}
        assert states == {"nonsense.spot.fake": "refused", EURUSD.fqme: "live"}
        assert report.state == "degraded"
        assert "can't keep nonsense.spot.fake" in report.status
        assert desk.datad.reason_to_live() == f"the configuration keeps {EURUSD.fqme}"
