"""One market as datad follows it: what is derived, what was last, how alive it is."""

from collections.abc import Callable
from decimal import Decimal
from math import inf, nan

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from piker.core.freshness import ENOUGH, FLOOR_NS, UNLEARNT_NS, Silence, hour_of_week
from piker.core.marketdata import END_OF_TIME_NS, MarketData
from piker.markets import Market, PriceBand, Session, State
from piker.quotes import Kind, Quote, Tick

S = 10**9
H = 3600 * S
WALL = 1_700_000_000 * S
BOOT = 500 * S
TWO_SIDED = Market(
    fqme="a.b.sim",
    venue_id="a",
    description="",
    asset_class="simulated",
    currency="USD",
    price_tick=Decimal("0.25"),
    size_tick=Decimal(1),
    multiplier=Decimal(1),
    has_trades=True,
    has_volume=True,
    has_bid=True,
    has_ask=True,
)


def showing(*sides: Kind, price_bands: tuple[PriceBand, ...] = ()) -> Market:
    """A market that shows these and nothing else."""
    return structs.replace(
        TWO_SIDED,
        has_trades="trade" in sides,
        has_bid="bid" in sides,
        has_ask="ask" in sides,
        price_bands=price_bands,
    )


def within(*sessions: tuple[int, int]) -> Market:
    """A market with sessions: seconds after WALL."""
    return structs.replace(
        TWO_SIDED,
        sessions=tuple(Session(open_ns=WALL + a * S, close_ns=WALL + b * S) for a, b in sessions),
    )


def tick(kind: Kind, price: float, size: float | None = None, time_ns: int = WALL) -> Tick:
    return Tick(kind=kind, price=price, size=size, time_ns=time_ns, seen_ns=BOOT)


def quote(*ticks: Tick) -> Quote:
    return Quote(market="a.b.sim", ticks=ticks)


class Follower:
    """Follows a market on clocks that stand still until they are told to go on."""

    def __init__(self, market: Market = TWO_SIDED, silence: Silence | None = None) -> None:
        self.wall_ns, self.boot_ns = WALL, BOOT
        self.data = MarketData(market, self.wall_ns, silence)

    def wait(self, seconds: float) -> "Follower":
        self.wall_ns += int(seconds * S)
        self.boot_ns += int(seconds * S)
        return self

    def subscribed(self, market: Market | None = None) -> "Follower":
        self.data.subscribed(market or self.data.market, self.boot_ns)
        return self

    def hear(self, *ticks: Tick) -> "Follower":
        self.data.take(quote(*ticks), self.wall_ns, self.boot_ns)
        return self

    def judge(self) -> State:
        self.data.judge(self.wall_ns, self.boot_ns)
        return self.data.state.state


def busy() -> Silence:
    """What a market has taught that is never silent for more than a millisecond."""
    silence = Silence()
    for _ in range(ENOUGH):
        silence.add(10**6, hour_of_week(WALL))
    return silence


def live(market: Market = TWO_SIDED) -> Follower:
    """A busy market that was heard just now."""
    follower = Follower(market, busy()).subscribed().hear()
    assert follower.judge() == "live"
    return follower


def stale(market: Market = TWO_SIDED) -> Follower:
    follower = live(market).wait(6)
    assert follower.judge() == "stale"
    return follower


def delayed() -> Follower:
    follower = live().hear(LATE)
    assert follower.judge() == "delayed"
    return follower


def closed() -> Follower:
    """A busy market between its sessions."""
    follower = live(within((0, 100), (200, 300))).wait(150)
    assert follower.judge() == "closed"
    return follower


def lost() -> Follower:
    follower = live()
    follower.data.lost("the line is cut")
    assert follower.judge() == "disconnected"
    return follower


# --- what is derived

BAND = PriceBand(from_price=Decimal("100.5"), price_tick=Decimal("0.5"))
BID, ASK, TRADE = tick("bid", 100.0, 7), tick("ask", 100.5, 7), tick("trade", 100.25, 7)


@pytest.mark.parametrize(
    ("market", "said", "derived"),
    [
        (showing("bid"), BID, [("ask", 100.25)]),
        (showing("bid", "trade"), BID, [("ask", 100.25)]),
        (showing("bid", "trade"), TRADE, []),
        (showing("ask"), ASK, [("bid", 100.25)]),
        (showing("ask", price_bands=(BAND,)), ASK, [("bid", 100.0)]),
        (showing("trade"), TRADE, [("bid", 100.0), ("ask", 100.5)]),
        (showing("trade"), tick("dark_trade", 100.0), []),
        (showing("bid", "ask"), BID, []),
        (showing("bid", "ask", "trade"), TRADE, []),
        (showing("bid"), tick("bid", -0.1), [("ask", 0.25)]),
    ],
)
def test_a_side_that_is_not_shown_is_the_present_one_and_one_tick(
    market: Market, said: Tick, derived: list[tuple[str, float]]
) -> None:
    complete = MarketData(market, WALL).take(quote(said), WALL, BOOT)
    assert complete.ticks[0] == said
    assert [(each.kind, each.price) for each in complete.ticks[1:]] == derived
    assert all(each.derived and each.size is None for each in complete.ticks[1:])
    assert {(each.time_ns, each.seen_ns) for each in complete.ticks} == {(WALL, BOOT)}


def test_what_is_derived_comes_after_what_it_is_derived_from() -> None:
    data = MarketData(showing("bid"), WALL)
    complete = data.take(quote(tick("bid", 1), tick("bid", 2)), WALL, BOOT)
    assert [each.price for each in complete.ticks] == [1, 1.25, 2, 2.25]


def test_the_newest_tick_of_each_kind_is_known() -> None:
    data = Follower().hear(BID, ASK).hear(tick("bid", 100.25)).data
    assert data.last == {"bid": tick("bid", 100.25), "ask": ASK}


@pytest.mark.parametrize(
    ("market", "said", "price"),
    [
        (showing("bid", "ask", "trade"), (BID, ASK), None),
        (showing("bid", "ask", "trade"), (BID, ASK, TRADE), (100.25, False)),
        (showing("trade"), (TRADE,), (100.25, False)),
        (showing("trade"), (tick("dark_trade", 1),), None),
        (showing("bid", "ask"), (BID,), None),
        (showing("bid", "ask"), (BID, ASK), (100.25, True)),
        (showing("bid"), (BID,), (100.125, True)),
        (showing("ask"), (ASK,), (100.375, True)),
    ],
)
def test_the_price_is_the_last_trade_or_the_mid_where_no_trades_are_shown(
    market: Market, said: tuple[Tick, ...], price: tuple[float, bool] | None
) -> None:
    assert Follower(market).hear(*said).data.price() == price


@pytest.mark.parametrize(
    "bad",
    [
        tick("bid", nan),
        tick("bid", inf),
        tick("bid", -inf),
        tick("trade", 1, nan),
        tick("trade", 1, inf),
        tick("trade", 1, -1),
        tick("trade", 1, time_ns=-1),
        tick("trade", 1, time_ns=END_OF_TIME_NS),
    ],
)
def test_a_tick_that_can_not_be_is_dropped_and_counted(bad: Tick) -> None:
    data = MarketData(TWO_SIDED, WALL)
    assert data.take(quote(BID, bad, ASK), WALL, BOOT).ticks == (BID, ASK)
    assert data.bad_ticks == 1
    assert data.last == {"bid": BID, "ask": ASK}


@pytest.mark.parametrize("said", [tick("bid", -37.63), tick("trade", 0.0), tick("trade", 1, 0.0)])
def test_a_price_below_nothing_and_a_size_of_nothing_are_good(said: Tick) -> None:
    data = MarketData(TWO_SIDED, WALL)
    assert data.take(quote(said), WALL, BOOT).ticks == (said,)
    assert data.bad_ticks == 0


def test_of_a_bad_tick_nothing_is_derived() -> None:
    data = MarketData(showing("bid"), WALL)
    assert data.take(quote(tick("bid", nan)), WALL, BOOT).ticks == ()


# --- how alive it is


def test_a_market_that_was_not_asked_for_is_disconnected() -> None:
    follower = Follower()
    assert follower.judge() == "disconnected"
    assert follower.data.state.reason == "not asked for yet"


def test_a_market_is_live_from_when_the_venue_sends_it() -> None:
    assert Follower().subscribed().judge() == "live"


LATE = structs.replace(tick("bid", 1.0), delayed=True)
TRANSITIONS: dict[str, tuple[Callable[[], Follower], Callable[[Follower], object], State]] = {
    "live, heard again": (live, lambda f: f.wait(4).hear().wait(4), "live"),
    "live, silent for as long as is usual": (live, lambda f: f.wait(5), "live"),
    "live, silent for longer": (live, lambda f: f.wait(5.001), "stale"),
    "live, out of session": (live, lambda f: f.subscribed(within((-9, 0))), "closed"),
    "live, lost": (live, lambda f: f.data.lost("cut"), "disconnected"),
    "live, shown late": (live, lambda f: f.hear(LATE), "delayed"),
    "delayed, a sign of life": (delayed, lambda f: f.wait(4).hear(), "delayed"),
    "delayed, silent for longer": (delayed, lambda f: f.wait(5.001), "stale"),
    "delayed, shown as it is": (delayed, lambda f: f.hear(tick("bid", 1.0)), "live"),
    "delayed, lost": (delayed, lambda f: f.data.lost("cut"), "disconnected"),
    "stale, shown late": (stale, lambda f: f.hear(LATE), "delayed"),
    "stale, heard": (stale, lambda f: f.hear(), "live"),
    "stale, silent on": (stale, lambda f: f.wait(100), "stale"),
    "stale, out of session": (stale, lambda f: f.subscribed(within((-9, 0))), "closed"),
    "stale, lost": (stale, lambda f: f.data.lost("cut"), "disconnected"),
    "closed, the next session opens": (closed, lambda f: f.wait(50), "live"),
    "closed, opened and silent as is usual": (closed, lambda f: f.wait(55), "live"),
    "closed, opened and silent for longer": (closed, lambda f: f.wait(56), "stale"),
    "closed, heard out of session": (closed, lambda f: f.hear(), "closed"),
    "closed, still": (closed, lambda f: f.wait(49), "closed"),
    "closed, lost": (closed, lambda f: f.data.lost("cut"), "disconnected"),
    "lost, sent again": (lost, lambda f: f.subscribed(), "live"),
    "lost, sent again and silent": (lost, lambda f: f.subscribed().wait(6), "stale"),
    "lost, sent again out of session": (
        lost,
        lambda f: f.subscribed(within((-9, 0))),
        "closed",
    ),
    "lost, time passes": (lost, lambda f: f.wait(1000), "disconnected"),
    "lost, a message straggles in": (lost, lambda f: f.hear(), "disconnected"),
}
"""state before, event, state after"""


@pytest.mark.parametrize(("before", "event", "after"), TRANSITIONS.values(), ids=TRANSITIONS)
def test_from_a_state_an_event_leads_to_a_state(
    before: Callable[[], Follower], event: Callable[[Follower], object], after: State
) -> None:
    follower = before()
    event(follower)
    assert follower.judge() == after


def test_a_change_is_told_once_with_when_and_why() -> None:
    follower = stale()
    assert follower.data.state.since_ns == follower.wall_ns
    assert follower.data.state.reason == "silent for more than the usual 5 s"
    assert follower.data.judge(follower.wall_ns, follower.boot_ns) is None


def test_another_reason_for_no_feed_is_told_with_since_when_there_is_none() -> None:
    follower = lost().wait(10)
    follower.data.lost("the venue is closed for the weekend")
    told = follower.data.judge(follower.wall_ns, follower.boot_ns)
    assert told is not None
    assert (told.reason, told.since_ns) == ("the venue is closed for the weekend", WALL)


def test_a_closed_market_says_when_it_opens_and_is_not_told_of_again_as_that_comes_nearer() -> None:
    follower = closed().wait(1)
    assert follower.data.state.reason == "opens in 50 s"
    assert follower.data.judge(follower.wall_ns, follower.boot_ns) is None


def test_a_message_without_ticks_is_a_sign_of_life() -> None:
    follower = stale().hear()
    assert follower.judge() == "live"
    assert follower.data.heard_ns == follower.wall_ns


def test_a_mid_does_not_join_what_is_of_now_with_what_was_shown_late() -> None:
    follower = live(showing("bid", "ask")).hear(structs.replace(tick("bid", 1.0), delayed=True))
    follower.wait(1).hear(structs.replace(tick("ask", 3.0), seen_ns=follower.boot_ns))
    assert follower.data.price() is None


def test_sessions_that_change_while_it_is_sent_do_not_make_it_fresh() -> None:
    assert live().wait(6).subscribed(within((-999, 999))).judge() == "stale"


@given(st.integers(-(10**18), 10**18))
def test_a_stepped_wall_clock_makes_nothing_stale(step_ns: int) -> None:
    follower = Follower().subscribed().hear()
    follower.wall_ns += step_ns
    assert follower.judge() == "live"


def test_a_stepped_wall_clock_makes_nothing_fresh() -> None:
    follower = stale()
    follower.wall_ns -= 3 * S
    assert follower.judge() == "stale"


def test_a_suspend_makes_stale_what_was_heard_before_it() -> None:
    assert live().wait(8 * 3600).judge() == "stale"


def test_a_market_that_opens_is_given_its_usual_silence_before_it_is_stale() -> None:
    follower = Follower(within((0, 100), (7200, 9999)), busy()).subscribed().hear().wait(7200)
    assert [follower.judge(), follower.wait(4).judge(), follower.wait(2).judge()] == [
        "live",
        "live",
        "stale",
    ]


def test_the_silence_over_a_closure_teaches_nothing() -> None:
    follower = Follower(within((0, 10), (9000, 9999)))
    follower.subscribed()
    for _ in range(ENOUGH):
        follower.wait(0.01).hear()
    follower.wait(100).judge()
    follower.wait(8900).hear().wait(0.01).hear()
    assert follower.data.usual_silence_ns(follower.wall_ns) == FLOOR_NS


def test_the_silence_while_it_was_not_sent_teaches_nothing() -> None:
    follower = lost().wait(3600).subscribed().hear()
    assert follower.data.usual_silence_ns(follower.wall_ns) == FLOOR_NS


def test_repeats_teach_that_it_is_alive() -> None:
    follower = Follower().subscribed()
    for _ in range(ENOUGH + 1):
        follower.wait(0.01).hear(BID)
    assert follower.data.usual_silence_ns(WALL) == FLOOR_NS
    assert follower.wait(6).judge() == "stale"


def test_before_it_has_learnt_a_market_may_be_silent_for_a_minute() -> None:
    follower = Follower().subscribed().hear()
    assert follower.data.usual_silence_ns(WALL) == UNLEARNT_NS
    assert [follower.wait(59).judge(), follower.wait(2).judge()] == ["live", "stale"]


def test_a_market_that_runs_ahead_goes_by_its_newest_tick() -> None:
    data = MarketData(within((0, 100), (200, 300)), WALL, runs_ahead=True)
    data.subscribed(data.market, BOOT)
    states = []
    for at_s in (50, 150, 120, 250):
        data.take(quote(tick("bid", 1, time_ns=WALL + at_s * S)), WALL, BOOT)
        data.judge(WALL, BOOT)
        states.append((data.state.state, (data.state.since_ns - WALL) // S))
    assert states == [("live", 50), ("closed", 150), ("closed", 150), ("live", 250)]
    assert data.heard_ns == WALL + 250 * S


def test_one_outage_does_not_make_hours_of_silence_usual() -> None:
    follower = Follower()
    follower.subscribed()
    for _ in range(2 * ENOUGH):
        follower.wait(0.01).hear()
    before = follower.data.usual_silence_ns(follower.wall_ns)
    follower.wait(1800).hear()
    assert follower.data.usual_silence_ns(follower.wall_ns) <= 6 * before


def test_where_ticks_run_ahead_of_the_wall_clock_the_market_goes_by_them() -> None:
    data = MarketData(within((0, 10), (20, 30)), WALL, runs_ahead=True)
    data.subscribed(data.market, 1)
    later = Tick(kind="trade", price=1.0, size=1.0, time_ns=WALL + 21 * S, seen_ns=1)
    data.take(Quote(market=data.market.fqme, ticks=(later,)), WALL, 1)
    assert data.now_ns(WALL) == data.heard_ns == later.time_ns
    state = data.judge(WALL + 11 * S, 1)
    assert state
    assert (state.state, state.since_ns) == ("live", later.time_ns)


def test_a_side_from_before_a_loss_makes_no_mid_with_one_from_after() -> None:
    data = MarketData(structs.replace(TWO_SIDED, has_trades=False), WALL)
    data.subscribed(data.market, BOOT)
    sides = [
        Tick(kind="bid", price=1.10, time_ns=WALL, seen_ns=BOOT + 1),
        Tick(kind="ask", price=1.12, time_ns=WALL, seen_ns=BOOT + 1),
    ]
    data.take(Quote(market=data.market.fqme, ticks=tuple(sides)), WALL, BOOT + 1)
    assert [mid for _, mid in data.mids] == [pytest.approx(1.11)]
    data.lost("the cable was cut")
    data.subscribed(data.market, BOOT + 8 * H)
    later = Tick(kind="bid", price=2.0, time_ns=WALL + 8 * H, seen_ns=BOOT + 8 * H + 1)
    data.take(Quote(market=data.market.fqme, ticks=(later,)), WALL + 8 * H, BOOT + 8 * H + 1)
    assert data.mids == []


def test_each_change_of_a_side_within_one_message_has_its_mid() -> None:
    market = structs.replace(TWO_SIDED, has_trades=False, has_ask=False)
    data = MarketData(market, WALL)
    data.subscribed(market, BOOT)
    bids = tuple(
        Tick(kind="bid", price=price, time_ns=WALL + n, seen_ns=BOOT)
        for n, price in enumerate((1.0, 5.0, 2.0))
    )
    data.take(Quote(market=market.fqme, ticks=bids), WALL, BOOT)
    half = float(market.price_tick) / 2
    expected = [(WALL, 1.0 + half), (WALL + 1, 5.0 + half), (WALL + 2, 2.0 + half)]
    assert data.mids == expected
