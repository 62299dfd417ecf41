"""Risk: limits on the worst case, what only reduces, the rate of orders and the turn of the day."""

from datetime import datetime, time
from decimal import Decimal
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import asdict, replace

from piker.accounts import Fees, Position
from piker.core.risk import (
    DEFAULTS,
    NO_PRICE,
    NOT_KNOWN,
    SECOND_NS,
    Exposure,
    Prices,
    Proposal,
    Rate,
    at_stake,
    capped_size,
    check,
    day_start_ns,
    earned,
    not_reducing,
    only_reduces,
    prices_of,
)
from piker.interfaces.orders import Halted, LimitsReply, RiskRejected
from piker.markets import Market, MarketState, State
from piker.orders import Life, Order, OrderState, PendingAmend, Side
from piker.quotes import Kind, Tick

D = Decimal
NEW_YORK = ZoneInfo("America/New_York")
FIVE = time(17)
MARKET = Market(
    fqme="a.b.sim",
    venue_id="A",
    description="",
    asset_class="future",
    currency="USD",
    price_tick=D("0.25"),
    size_tick=D(1),
    multiplier=D(2),
    has_trades=True,
    has_volume=True,
    has_bid=True,
    has_ask=True,
)
PRICES = Prices(bid=D(99), ask=D(101), last=D(100))
NONE = LimitsReply(**dict.fromkeys(LimitsReply.__struct_fields__))
FLAT = Exposure()
HALTED = Halted(reason="by hand", since_ns=1)
SIDES = st.sampled_from(["buy", "sell"])
SIZES = st.integers(1, 30).map(D)
ROOMS = st.integers(0, 60).map(D)


def buy(size: int, limit: str | None = None) -> Proposal:
    return Proposal(side="buy", size=D(size), limit=None if limit is None else D(limit))


def sell(size: int, limit: str | None = None) -> Proposal:
    return replace(buy(size, limit), side="sell")


def allowing(**limits: str | int) -> LimitsReply:
    """Limits of which only these are set; a count is an int."""
    return replace(
        NONE, **{name: D(most) if isinstance(most, str) else most for name, most in limits.items()}
    )


def judged(
    proposal: Proposal,
    limits: LimitsReply,
    exposure: Exposure = FLAT,
    prices: Prices | None = PRICES,
) -> tuple[str, str, str] | None:
    """The limit that was exceeded, by what, and what is allowed."""
    fault = check(proposal, MARKET, exposure, limits, prices)
    assert fault is None or isinstance(fault, RiskRejected)
    return (fault.limit, fault.value, fault.allowed) if fault else None


HELD = Exposure(position=D(10), working_buy=D(5), working_sell=D(4))

EXCEEDED: dict[str, tuple[Proposal, LimitsReply, Exposure, str, str]] = {
    "order_size": (buy(11), allowing(order_size="10"), FLAT, "11", "10"),
    "order_notional": (
        buy(2),
        allowing(order_notional="403.9"),
        FLAT,
        "404 USD (2 at 101, times 2)",
        "403.9 USD",
    ),
    "position": (buy(6), allowing(position="20"), HELD, "21", "20"),
    "position_notional": (
        buy(6),
        allowing(position_notional="4241"),
        HELD,
        "4242 USD (21 at 101, times 2)",
        "4241 USD",
    ),
    "open_orders": (buy(1), allowing(open_orders=3), Exposure(open_orders=3), "4", "3"),
    "orders_per_s": (buy(1), allowing(orders_per_s=3), Exposure(recent=3), "4", "3"),
    "daily_loss": (
        buy(1),
        allowing(daily_loss="5"),
        Exposure(day_profit=D("-5.01")),
        "5.01 USD",
        "5 USD",
    ),
    "distance_pct": (
        buy(1, "111.25"),
        allowing(distance_pct="10"),
        FLAT,
        "111.25 against a quote of 101",
        "10 %, at most 111",
    ),
}


@pytest.mark.parametrize("limit", EXCEEDED)
def test_what_exceeds_a_limit_is_rejected_by_name_with_the_value_and_what_is_allowed(
    limit: str,
) -> None:
    proposal, limits, exposure, value, allowed = EXCEEDED[limit]
    assert judged(proposal, limits, exposure) == (limit, value, allowed)


MET: dict[str, tuple[Proposal, LimitsReply, Exposure]] = {
    "order_size": (buy(10), allowing(order_size="10"), FLAT),
    "order_notional": (buy(2), allowing(order_notional="404"), FLAT),
    "position": (buy(5), allowing(position="20"), HELD),
    "position_notional": (buy(6), allowing(position_notional="4242"), HELD),
    "open_orders": (buy(1), allowing(open_orders=3), Exposure(open_orders=2)),
    "orders_per_s": (buy(1), allowing(orders_per_s=3), Exposure(recent=2)),
    "daily_loss": (buy(1), allowing(daily_loss="5"), Exposure(day_profit=D(-5))),
    "distance_pct": (buy(1, "111"), allowing(distance_pct="10"), FLAT),
}


@pytest.mark.parametrize("limit", MET)
def test_what_comes_to_a_limit_and_not_beyond_passes(limit: str) -> None:
    assert judged(*MET[limit]) is None


def test_every_limit_there_is_has_a_case_here() -> None:
    assert set(EXCEEDED) == set(MET) == set(LimitsReply.__struct_fields__)


def test_a_short_position_counts_as_a_long_one_does() -> None:
    short = Exposure(position=D(-10), working_sell=D(5))
    assert judged(sell(6), allowing(position="20"), short) == ("position", "21", "20")
    assert judged(sell(5), allowing(position="20"), short) is None


@pytest.mark.parametrize(
    ("proposal", "worth"),
    [
        (buy(1), "202"),
        (sell(1), "198"),
        (buy(1, "50"), "100"),
        (buy(1, "110"), "220"),
        (sell(1, "50"), "198"),
        (sell(1, "110"), "220"),
    ],
)
def test_an_order_is_worth_what_it_costs_at_its_dearest(proposal: Proposal, worth: str) -> None:
    found = judged(proposal, allowing(order_notional="1"))
    assert found is not None
    assert found[1].startswith(f"{worth} USD (1 at ")


def test_an_order_below_zero_is_worth_its_distance_from_zero() -> None:
    prices = Prices(bid=D(-41), ask=D(-40))
    found = judged(buy(1, "5"), allowing(order_notional="1"), FLAT, prices)
    assert found == ("order_notional", "80 USD (1 at 40, times 2)", "1 USD")


def test_a_position_is_worth_what_the_market_says_even_where_the_order_waits_for_less() -> None:
    found = judged(buy(1, "50"), allowing(position_notional="1"), HELD)
    assert found == ("position_notional", "3232 USD (16 at 101, times 2)", "1 USD")


@pytest.mark.parametrize("limit", ["order_notional", "position_notional", "distance_pct"])
@pytest.mark.parametrize("prices", [None, Prices()])
def test_without_a_fresh_quote_what_takes_one_is_rejected_by_name(
    limit: str, prices: Prices | None
) -> None:
    found = judged(buy(1, "100"), allowing(**{limit: "7000"}), FLAT, prices)
    assert found is not None
    assert found[:2] == (limit, f"{NOT_KNOWN}: wait for one")


@pytest.mark.parametrize("limit", ["order_notional", "position_notional", "distance_pct"])
def test_what_keeps_a_market_from_showing_a_quote_is_told_with_it(limit: str) -> None:
    refused = prices_of(NEWEST, state("disconnected", "354: not subscribed"))
    found = judged(buy(1, "100"), allowing(**{limit: "7000"}), FLAT, refused)
    assert found is not None
    assert found[:2] == (limit, f"{NOT_KNOWN}: disconnected: 354: not subscribed")


def test_without_a_fresh_quote_what_takes_none_passes() -> None:
    limits = replace(DEFAULTS, order_notional=None, position_notional=None, distance_pct=None)
    assert judged(buy(1, "100"), limits, FLAT, None) is None


def test_a_day_whose_profit_nobody_knows_is_rejected_by_name() -> None:
    unknown = Exposure(day_profit=None)
    assert judged(buy(1), allowing(daily_loss="5"), unknown) == (
        "daily_loss",
        NO_PRICE,
        "5 USD",
    )


@pytest.mark.parametrize(("limit", "passes"), [("89.25", True), ("89", False), ("500", True)])
def test_a_sell_may_be_so_far_below_the_bid_and_anywhere_above(limit: str, passes: bool) -> None:
    prices = replace(PRICES, bid=D("99.15"))
    found = judged(sell(1, limit), allowing(distance_pct="10"), FLAT, prices)
    assert (found is None) == passes


@pytest.mark.parametrize(
    ("prices", "farthest"),
    [
        (Prices(ask=D(200), bid=D(100), last=D(50)), "220"),
        (Prices(bid=D(100), last=D(50)), "110"),
        (Prices(last=D(50)), "55"),
        (Prices(ask=D(0)), "0"),
        (Prices(ask=D(-50)), "-45"),
    ],
)
def test_a_buy_is_compared_with_the_ask_else_the_bid_else_the_last_price(
    prices: Prices, farthest: str
) -> None:
    limits = allowing(distance_pct="10")
    beyond = str(D(farthest) + D("0.01"))
    assert judged(buy(1, farthest), limits, FLAT, prices) is None
    assert judged(buy(1, beyond), limits, FLAT, prices) is not None


def test_what_waits_for_its_trigger_is_judged_as_if_the_market_were_there() -> None:
    dark = replace(buy(1), trigger=D(300))
    assert judged(dark, DEFAULTS, FLAT, None) is None
    found = judged(dark, allowing(order_notional="599"), FLAT, PRICES)
    assert found == ("order_notional", "600 USD (1 at 300, times 2)", "599 USD")


def test_a_halt_stops_what_no_limit_does() -> None:
    assert check(buy(1), MARKET, FLAT, NONE, PRICES, HALTED) == HALTED


STRICTEST = LimitsReply(
    order_size=D(0),
    order_notional=D(0),
    position=D(0),
    position_notional=D(0),
    open_orders=0,
    orders_per_s=0,
    daily_loss=D(0),
    distance_pct=D(0),
)


@given(st.integers(-30, 30).map(D), ROOMS, ROOMS, SIDES, SIZES)
def test_what_only_reduces_passes_every_limit_and_a_halt(
    position: Decimal, buys: Decimal, sells: Decimal, side: Side, size: Decimal
) -> None:
    exposure = Exposure(position=position, working_buy=buys, working_sell=sells, day_profit=None)
    proposal = Proposal(side=side, size=size)
    passed = check(proposal, MARKET, exposure, STRICTEST, None, HALTED) is None
    after = position + buys + size if side == "buy" else position - sells - size
    never_crosses = after * position >= 0 and abs(after) < abs(position)
    assert passed == only_reduces(proposal, exposure) == never_crosses


def test_two_orders_that_each_would_close_a_position_do_not_both_reduce_it() -> None:
    held = Exposure(position=D(10))
    assert only_reduces(sell(10), held)
    assert not only_reduces(sell(10), replace(held, working_sell=D(10)))
    assert not only_reduces(sell(11), held)


def test_what_is_reduce_only_may_wait_for_its_trigger_before_there_is_a_position() -> None:
    stop = replace(sell(10), reduce_only=True, trigger=D(90))
    assert check(stop, MARKET, FLAT, STRICTEST, None, HALTED) is None


def test_what_is_reduce_only_is_judged_by_its_size_when_it_leaves() -> None:
    stop = replace(sell(10), reduce_only=True)
    assert judged(stop, allowing(position="5"), Exposure(position=D(4))) == ("position", "6", "5")


@pytest.mark.parametrize(
    ("position", "working", "size", "capped"),
    [
        (10, 0, 4, 4),
        (10, 0, 40, 10),
        (10, 7, 40, 3),
        (10, 10, 40, 0),
        (10, 30, 40, 0),
        (0, 0, 40, None),
        (0, 3, 40, None),
        (-10, 0, 40, None),
    ],
)
def test_what_is_reduce_only_leaves_with_no_more_than_what_others_leave_of_the_position(
    position: int, working: int, size: int, capped: int | None
) -> None:
    expected = None if capped is None else D(capped)
    long = Exposure(position=D(position), working_sell=D(working), working_buy=D(99))
    short = Exposure(position=D(-position), working_buy=D(working), working_sell=D(99))
    assert capped_size("sell", D(size), long) == expected
    assert capped_size("buy", D(size), short) == expected


@pytest.mark.parametrize(
    ("side", "position", "working", "allowed"),
    [
        ("sell", 0, 0, "0, nothing is held of a.b.sim to reduce"),
        ("buy", 10, 0, "0, a buy does not reduce the 10 held of a.b.sim"),
        ("sell", -10, 0, "0, a sell does not reduce the -10 held of a.b.sim"),
        ("buy", -10, 0, "10, all that is held of a.b.sim"),
        (
            "sell",
            100,
            60,
            "40, as other orders may already reduce 60 of the 100 held of a.b.sim",
        ),
        (
            "sell",
            100,
            130,
            "0, as other orders may already reduce 100 of the 100 held of a.b.sim",
        ),
    ],
)
def test_what_can_not_only_reduce_is_told_how_much_could(
    side: Side, position: int, working: int, allowed: str
) -> None:
    exposure = Exposure(position=D(position), working_buy=D(working), working_sell=D(working))
    found = not_reducing(side, D(200), "a.b.sim", exposure)
    assert found == RiskRejected(limit="reduce_only", value="200", allowed=allowed)


def test_a_sell_too_far_below_is_told_how_far_it_may_be() -> None:
    found = judged(sell(1, "89"), allowing(distance_pct="10"))
    assert found == ("distance_pct", "89 against a quote of 99", "10 %, at least 89.25")


def test_what_a_market_without_multiplier_is_worth_is_told_by_size_and_price() -> None:
    market = replace(MARKET, multiplier=D(1), currency="CNY")
    found = check(buy(2), market, FLAT, allowing(order_notional="1"), PRICES)
    assert isinstance(found, RiskRejected)
    assert (found.value, found.allowed) == ("202 CNY (2 at 101)", "1 CNY")


@given(st.integers(-30, 30).map(D), ROOMS, ROOMS, SIDES, SIZES)
def test_what_was_capped_only_reduces(
    position: Decimal, buys: Decimal, sells: Decimal, side: Side, size: Decimal
) -> None:
    exposure = Exposure(position=position, working_buy=buys, working_sell=sells)
    capped = capped_size(side, size, exposure) or D(0)
    assert capped <= size
    assert not capped or only_reduces(Proposal(side=side, size=capped), exposure)


FLOWS = st.lists(st.tuples(st.sampled_from(["order", "fill", "cancel"]), SIDES, SIZES), max_size=40)


@given(st.integers(-50, 50).map(D), FLOWS)
def test_however_what_passed_is_filled_no_position_exceeds_its_limit_but_one_that_shrinks(
    position: Decimal, flow: list[tuple[str, Side, Decimal]]
) -> None:
    """A position of at most 20 is allowed; what is filled of an order may be any part of it."""
    working: dict[Side, Decimal] = {"buy": D(0), "sell": D(0)}
    for what, side, size in flow:
        exposure = Exposure(
            position=position, working_buy=working["buy"], working_sell=working["sell"]
        )
        proposal = Proposal(side=side, size=size)
        passes = check(proposal, MARKET, exposure, allowing(position="20"), PRICES) is None
        gone = min(size, working[side])
        working[side] += {"order": size * passes, "fill": -gone, "cancel": -gone}[what]
        done = gone if what == "fill" else D(0)
        before, position = position, position + (done if side == "buy" else -done)
        assert abs(position) <= max(D(20), abs(before) - done)


LIMITS = st.builds(
    LimitsReply,
    **{name: st.none() | st.integers(0, 9000).map(D) for name in LimitsReply.__struct_fields__}
    | {name: st.none() | st.integers(0, 5) for name in ("open_orders", "orders_per_s")},
)
PROPOSALS = st.builds(
    Proposal, side=SIDES, size=SIZES, limit=st.none() | st.integers(50, 150).map(D)
)
EXPOSURES = st.builds(
    Exposure,
    position=st.integers(-30, 30).map(D),
    working_buy=ROOMS,
    working_sell=ROOMS,
    open_orders=st.integers(0, 5),
    recent=st.integers(0, 5),
    day_profit=st.none() | st.integers(-9000, 9000).map(D),
)


def wider(one: LimitsReply, other: LimitsReply) -> LimitsReply:
    """Of each limit the one that allows more."""
    mine, theirs = asdict(one), asdict(other)
    pairs = {name: (mine[name], theirs[name]) for name in mine}
    return replace(
        one, **{name: None if None in pair else max(pair) for name, pair in pairs.items()}
    )


@given(PROPOSALS, EXPOSURES, LIMITS, LIMITS, st.sampled_from([PRICES, None]))
def test_what_passes_some_limits_passes_wider_ones(
    proposal: Proposal,
    exposure: Exposure,
    limits: LimitsReply,
    other: LimitsReply,
    prices: Prices | None,
) -> None:
    narrow = check(proposal, MARKET, exposure, limits, prices)
    wide = check(proposal, MARKET, exposure, wider(limits, other), prices)
    assert narrow is not None or wide is None


@given(PROPOSALS, EXPOSURES, LIMITS, SIZES, ROOMS)
def test_what_passes_passes_with_a_smaller_size_and_less_at_work(
    proposal: Proposal, exposure: Exposure, limits: LimitsReply, size: Decimal, less: Decimal
) -> None:
    smaller = replace(proposal, size=min(size, proposal.size))
    calmer = replace(
        exposure,
        working_buy=min(less, exposure.working_buy),
        working_sell=min(less, exposure.working_sell),
    )
    whole = check(proposal, MARKET, exposure, limits, PRICES)
    assert whole is not None or check(smaller, MARKET, calmer, limits, PRICES) is None


def test_the_largest_and_the_finest_numbers_are_judged_exactly() -> None:
    finest = D("1E-100")
    limits = allowing(position="1E+15")
    exposure = Exposure(position=D("1E+15"))
    assert judged(Proposal(side="buy", size=finest), limits, exposure) is not None
    assert not only_reduces(Proposal(side="sell", size=D(f"1{0:015d}.{1:0100d}")), exposure)
    huge = Prices(ask=D("1E+12"))
    found = judged(Proposal(side="buy", size=D("1E+15")), DEFAULTS, FLAT, huge)
    assert found is not None
    assert found[1].startswith("2" + "0" * 27 + " USD (1")


def life(state: OrderState, size: int = 10, filled: int = 0, amend: int | None = None) -> Life:
    order = Order(
        oid="1", account="sim.main", market="a.b.sim", side="buy", size=D(size), kind="market"
    )
    pending = amend and PendingAmend(n=1, size=D(amend), limit=None, not_after_ns=0)
    return Life(
        order=order,
        state=state,
        size=D(size),
        limit=None,
        trigger=None,
        filled=D(filled),
        amend=pending or None,
    )


@pytest.mark.parametrize(
    ("standing", "stake"),
    [
        (life("held"), 0),
        (life("sending"), 10),
        (life("unknown"), 10),
        (life("open", filled=4), 6),
        (life("open", filled=14), 0),
        (life("open", filled=4, amend=12), 8),
        (life("open", filled=4, amend=5), 6),
        (life("cancelled", filled=4), 0),
        (replace(life("open", filled=4), venue_ids=("a", "b", "c"), gone=("b",)), 12),
    ],
)
def test_at_stake_is_what_may_still_be_filled_at_the_venue(standing: Life, stake: int) -> None:
    assert at_stake(standing) == stake


def test_an_order_leaves_the_rate_a_second_after_it_passed() -> None:
    rate = Rate()
    for now_ns in (0, 1, SECOND_NS // 2):
        rate.add(now_ns)
    counts = [rate.recent(now_ns) for now_ns in (SECOND_NS - 1, SECOND_NS, SECOND_NS + 1)]
    assert counts == [3, 2, 1]


@given(st.lists(st.integers(0, 3 * SECOND_NS), max_size=30).map(sorted), st.integers(0, 4))
def test_the_rate_counts_what_passed_in_the_last_second(times: list[int], later: int) -> None:
    rate = Rate()
    for now_ns in times:
        rate.add(now_ns)
    now_ns = max(times, default=0) + later * SECOND_NS // 3
    assert rate.recent(now_ns) == sum(now_ns - each < SECOND_NS for each in times)


def held(size: str, unpriced: str = "0") -> Position:
    """Bought at 10 where a point is worth 2; 3 were earned before, 1 USD and 4 EUR paid."""
    return Position(
        account="sim.main",
        market="a.b.sim",
        currency="USD",
        multiplier=D(2),
        size=D(size),
        unpriced=D(unpriced),
        realised=D(3),
        cash_flow=3 - (D(size) - D(unpriced)) * 10 * 2,
        fees=(Fees("EUR", D(4)), Fees("USD", D(1))),
    )


@pytest.mark.parametrize(
    ("position", "price", "profit"),
    [
        (held("5"), "12", "22"),
        (held("-5"), "12", "-18"),
        (held("5"), None, None),
        (held("0"), None, "2"),
        (held("5", unpriced="5"), None, "2"),
        (held("5", unpriced="4"), "12", "6"),
    ],
)
def test_what_was_earned_counts_what_is_open_and_the_fees_in_the_markets_currency(
    position: Position, price: str | None, profit: str | None
) -> None:
    expected = None if profit is None else D(profit)
    assert earned(position, None if price is None else D(price)) == expected


def state(name: State, reason: str = "") -> MarketState:
    return MarketState(market="a.b.sim", state=name, since_ns=0, reason=reason)


def tick(kind: Kind, price: float) -> Tick:
    return Tick(kind=kind, price=price, time_ns=0, seen_ns=0)


NEWEST: dict[Kind, Tick] = {
    "bid": tick("bid", 0.1),
    "trade": tick("trade", 1e-7),
    "dark_trade": tick("dark_trade", 5),
}


def test_prices_are_the_newest_ticks_as_they_were_written() -> None:
    assert prices_of(NEWEST, state("live")) == Prices(bid=D("0.1"), last=D("1e-7"))


@pytest.mark.parametrize("name", ["stale", "closed", "disconnected"])
def test_no_price_is_fresh_in_a_market_that_is_not_live(name: State) -> None:
    assert prices_of(NEWEST, state(name)) == Prices(why=name)


def at(text: str) -> int:
    return round(datetime.fromisoformat(text).timestamp()) * SECOND_NS


@pytest.mark.parametrize(
    ("now", "start"),
    [
        ("2027-01-15T16:59:59-05:00", "2027-01-14T17:00:00-05:00"),
        ("2027-01-15T17:00:00-05:00", "2027-01-15T17:00:00-05:00"),
        ("2027-01-15T23:59:59-05:00", "2027-01-15T17:00:00-05:00"),
        ("2027-01-16T00:00:00-05:00", "2027-01-15T17:00:00-05:00"),
        # Clocks are put forward on 14 March at 2 and back on 7 November at 2.
        ("2027-03-14T01:30:00-05:00", "2027-03-13T17:00:00-05:00"),
        ("2027-03-14T16:59:59-04:00", "2027-03-13T17:00:00-05:00"),
        ("2027-03-14T17:00:00-04:00", "2027-03-14T17:00:00-04:00"),
        ("2027-11-07T01:30:00-04:00", "2027-11-06T17:00:00-04:00"),
        ("2027-11-07T01:30:00-05:00", "2027-11-06T17:00:00-04:00"),
        ("2027-11-07T16:59:59-05:00", "2027-11-06T17:00:00-04:00"),
        ("2027-11-07T17:00:00-05:00", "2027-11-07T17:00:00-05:00"),
    ],
)
def test_the_day_turns_at_five_in_new_york_whichever_way_its_clocks_are(
    now: str, start: str
) -> None:
    assert day_start_ns(at(now), FIVE, NEW_YORK) == at(start)


@pytest.mark.parametrize(
    ("ends", "now", "start"),
    [
        # 2:30 isn't there on 14 March: half an hour after 2, it is 3:30.
        (time(2, 30), "2027-03-14T03:29:59-04:00", "2027-03-13T02:30:00-05:00"),
        (time(2, 30), "2027-03-14T03:30:00-04:00", "2027-03-14T03:30:00-04:00"),
        # 1:30 comes twice on 7 November.
        (time(1, 30), "2027-11-07T01:29:59-04:00", "2027-11-06T01:30:00-04:00"),
        (time(1, 30), "2027-11-07T01:30:00-04:00", "2027-11-07T01:30:00-04:00"),
        (time(1, 30), "2027-11-07T01:15:00-05:00", "2027-11-07T01:30:00-04:00"),
        (time(1, 30), "2027-11-07T01:30:00-05:00", "2027-11-07T01:30:00-04:00"),
    ],
)
def test_a_day_that_turns_where_clocks_do_turns_once(ends: time, now: str, start: str) -> None:
    assert day_start_ns(at(now), ends, NEW_YORK) == at(start)


DAY_NS = 86_400 * SECOND_NS
NOWS = st.integers(at("2026-01-01T00:00:00+00:00"), at("2030-01-01T00:00:00+00:00"))
ZONES = st.sampled_from(["America/New_York", "UTC", "Asia/Kolkata", "Australia/Lord_Howe"])


@given(NOWS, st.times().map(lambda each: each.replace(microsecond=0)), ZONES)
def test_a_day_has_begun_and_lasts_for_about_24_hours(now_ns: int, ends: time, zone: str) -> None:
    start_ns = day_start_ns(now_ns, ends, ZoneInfo(zone))
    assert 0 <= now_ns - start_ns < DAY_NS + DAY_NS // 24
    assert day_start_ns(start_ns, ends, ZoneInfo(zone)) == start_ns
