"""Paper orders are filled by what the market shows: never more of it, never at a better price."""

from collections.abc import Iterable
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from piker.core.fees import FeeSchedule, fee
from piker.core.grid import on_grid
from piker.core.matching import (
    Ended,
    Fill,
    Matcher,
    Outcome,
    Rests,
    Working,
    check,
    end_of_day,
    exact_price,
    exact_size,
    why_no_amend,
)
from piker.interfaces.broker import InvalidOrder, Place
from piker.markets import Market, MarketState, PriceBand, Session, State
from piker.quotes import Kind, Quote, Tick

D = Decimal
SECOND = 1_000_000_000

FUTURE = Market(
    fqme="mnq.cme.fake",
    venue_id="MNQ",
    description="A future",
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


def order(oid: str, size: int = 10, limit: str | None = "100", **others: Any) -> Working:
    """A buy, gtc, if nothing else is said; who is named earlier in the alphabet came earlier."""
    facts: dict[str, Any] = {
        "side": "buy",
        "size": D(size),
        "limit": None if limit is None else D(limit),
        "tif": "gtc",
        "priority": ord(oid[0]),
    }
    return Working(**(facts | {"oid": oid} | others))


def tick(kind: Kind, price: float, size: float | None = None, seen_ns: int = 9, **o: Any) -> Tick:
    return Tick(kind=kind, price=price, size=size, time_ns=seen_ns, seen_ns=seen_ns, **o)


def state(name: State = "live", since_ns: int = 0) -> MarketState:
    return MarketState(market=FUTURE.fqme, state=name, since_ns=since_ns)


def live(*ticks: Tick, market: Market = FUTURE) -> Matcher:
    """A market that is live and shows this."""
    matcher = Matcher(market)
    matcher.join(state(), (), 0, 0)
    show(matcher, *ticks)
    return matcher


def show(matcher: Matcher, *ticks: Tick, now_ns: int = 0) -> list[Outcome]:
    return matcher.take(Quote(market=FUTURE.fqme, ticks=ticks), now_ns)


def done(outcomes: Iterable[Outcome]) -> list[tuple[str, int, float]]:
    """Order, size and price of each fill."""
    fills = [each for each in outcomes if isinstance(each, Fill)]
    return [(each.oid, int(each.size), float(each.price)) for each in fills]


# --- what rests


def test_a_resting_buy_fills_at_its_own_price_when_the_ask_comes_to_it_or_below() -> None:
    matcher = live(tick("ask", 101.0, 5))
    assert matcher.add(order("a")) == [Rests(oid="a")]
    assert done(show(matcher, tick("ask", 100.25, 5))) == []
    assert done(show(matcher, tick("ask", 100.0, 4))) == [("a", 4, 100.0)]
    assert done(show(matcher, tick("ask", 97.0, 50))) == [("a", 6, 100.0)]
    assert len(matcher) == 0


def test_a_resting_sell_fills_at_its_own_price_when_the_bid_comes_to_it_or_above() -> None:
    matcher = live(tick("bid", 99.0, 5))
    matcher.add(order("a", side="sell"))
    assert done(show(matcher, tick("bid", 99.75, 5))) == []
    assert done(show(matcher, tick("bid", 103.0, 20))) == [("a", 10, 100.0)]


def test_a_print_fills_what_it_went_through_and_not_what_it_only_touched() -> None:
    matcher = live(tick("ask", 103.0), tick("bid", 98.0))
    matcher.add(order("a"))
    matcher.add(order("b", side="sell", limit="102"))
    assert done(show(matcher, tick("trade", 100.0, 50), tick("trade", 102.0, 50))) == []
    assert done(show(matcher, tick("trade", 99.75, 6))) == [("a", 6, 100.0)]
    assert done(show(matcher, tick("trade", 102.25, 6))) == [("b", 6, 102.0)]


def test_a_print_off_the_book_fills_nothing() -> None:
    matcher = live(tick("ask", 103.0))
    matcher.add(order("a"))
    assert show(matcher, tick("dark_trade", 90.0, 50)) == []


def test_a_print_that_was_seen_before_an_order_came_does_not_fill_it() -> None:
    matcher = live(tick("ask", 103.0))
    matcher.add(order("a", since_boot_ns=100))
    assert done(show(matcher, tick("trade", 99.0, 50, seen_ns=99))) == []
    assert done(show(matcher, tick("trade", 99.0, 50, seen_ns=100))) == [("a", 10, 100.0)]


def test_the_size_of_a_print_is_shared_by_who_bids_most_and_then_by_who_came_first() -> None:
    matcher = live(tick("ask", 110.0))
    for each in (order("d", 5, "101"), order("b", 5), order("a", 5), order("c", 5, "99")):
        matcher.add(each)
    filled = done(show(matcher, tick("trade", 98.0, 12)))
    assert filled == [("d", 5, 101.0), ("a", 5, 100.0), ("b", 2, 100.0)]


def test_one_print_is_not_counted_for_buys_and_for_sells() -> None:
    matcher = live(tick("ask", 110.0), tick("bid", 90.0))
    matcher.add(order("a", 5, "101"))
    matcher.add(order("b", 5, "98", side="sell"))
    assert done(show(matcher, tick("trade", 100.0, 7))) == [("b", 5, 98.0), ("a", 2, 101.0)]


def test_what_shows_no_size_fills_any_size() -> None:
    matcher = live(tick("ask", 110.0))
    matcher.add(order("a", 10**9))
    assert done(show(matcher, tick("trade", 99.0))) == [("a", 10**9, 100.0)]


# --- what is new


def test_a_market_order_pays_the_spread_and_its_rest_waits_for_the_next_price() -> None:
    matcher = live(tick("bid", 99.0, 3), tick("ask", 101.0, 4))
    assert done(matcher.add(order("a", limit=None))) == [("a", 4, 101.0)]
    assert done(show(matcher, tick("trade", 99.0, 50), tick("bid", 100.0, 50))) == []
    assert done(show(matcher, tick("ask", 102.0, 50))) == [("a", 6, 102.0)]


def test_a_limit_that_crosses_pays_the_best_price_and_its_rest_rests_at_its_own() -> None:
    matcher = live(tick("ask", 99.0, 4))
    outcomes = matcher.add(order("a"))
    assert done(outcomes) == [("a", 4, 99.0)]
    assert outcomes[-1] == Rests(oid="a")
    assert done(show(matcher, tick("ask", 99.5, 50))) == [("a", 6, 100.0)]


def test_what_one_order_took_is_not_there_for_the_next_until_a_new_tick_shows_more() -> None:
    matcher = live(tick("ask", 99.0, 4))
    assert done(matcher.add(order("a", 3, None))) == [("a", 3, 99.0)]
    assert done(matcher.add(order("b", 3, None))) == [("b", 1, 99.0)]
    assert done(show(matcher, tick("bid", 98.0, 9))) == []
    assert done(show(matcher, tick("ask", 99.0, 9))) == [("b", 2, 99.0)]


@pytest.mark.parametrize(("limit", "filled"), [(None, 4), ("99", 4), ("98.75", 0)])
def test_the_rest_of_an_ioc_is_cancelled(limit: str | None, filled: int) -> None:
    matcher = live(tick("ask", 99.0, 4))
    outcomes = matcher.add(order("a", 10, limit, tif="ioc"))
    assert sum(size for _, size, _ in done(outcomes)) == filled
    assert outcomes[-1] == Ended(oid="a", outcome="cancelled", reason="the rest of an ioc")
    assert "a" not in matcher


def test_an_ioc_waits_for_a_price_that_it_can_meet_and_not_for_prints() -> None:
    matcher = live()
    assert matcher.add(order("a", tif="ioc")) == []
    assert show(matcher, tick("trade", 98.0, 50)) == []
    assert done(show(matcher, tick("ask", 99.0, 4))) == [("a", 4, 99.0)]
    assert "a" not in matcher


# --- data that are not live


def test_what_is_shown_late_fills_nothing_then_or_afterwards() -> None:
    matcher = live()
    matcher.add(order("a"))
    late = tick("ask", 98.0, 15, delayed=True), tick("trade", 97.0, 50, delayed=True)
    assert show(matcher, *late) == []
    assert matcher.join(state("delayed"), late, 9, 9) == []
    assert matcher.take_state(state()) == []


@pytest.mark.parametrize("name", ["delayed", "closed", "stale", "disconnected"])
def test_nothing_is_filled_unless_the_data_are_live(name: State) -> None:
    matcher = live(tick("ask", 99.0, 50))
    matcher.take_state(state(name))
    assert matcher.add(order("a")) == []
    assert matcher.add(order("i", 10, tif="ioc")) == []
    assert show(matcher, tick("ask", 98.0, 15), tick("trade", 97.0, 50)) == []
    assert done(matcher.take_state(state())) == [("a", 10, 98.0), ("i", 5, 98.0)]


def test_what_was_shown_before_the_data_broke_off_fills_nothing_afterwards() -> None:
    matcher = live(tick("ask", 99.0, 50))
    matcher.take_state(state("stale"))
    matcher.add(order("a"))
    assert matcher.take_state(state()) == []
    assert done(show(matcher, tick("ask", 99.5, 50))) == [("a", 10, 99.5)]


def test_what_rested_before_the_data_broke_off_still_rests() -> None:
    matcher = live(tick("ask", 101.0))
    matcher.add(order("a"))
    matcher.part()
    assert done(matcher.join(state(since_ns=5), (tick("ask", 95.0),), 9, 9)) == [("a", 10, 100.0)]


def test_on_joining_only_what_was_shown_since_the_market_is_live_counts() -> None:
    last = (tick("ask", 99.0, 4, seen_ns=50), tick("trade", 97.0, 9, seen_ns=99))
    matcher = Matcher(FUTURE)
    matcher.add(order("a"))
    assert matcher.join(state(since_ns=1060), last, now_ns=1100, boot_ns=100) == []
    assert done(matcher.join(state(since_ns=1050), last, 1100, 100)) == [("a", 4, 99.0)]


def test_joining_again_does_not_show_anew_what_was_taken_before() -> None:
    last = (tick("ask", 99.0, 4, seen_ns=50),)
    matcher = Matcher(FUTURE)
    matcher.join(state(), last, 0, 0)
    assert done(matcher.add(order("a", 3, None))) == [("a", 3, 99.0)]
    matcher.part()
    matcher.join(state(), last, 0, 0)
    assert done(matcher.add(order("b", 3, None))) == [("b", 1, 99.0)]


# --- what ends


def test_a_cancelled_order_is_filled_no_more_and_its_equals_still_are() -> None:
    matcher = live(tick("ask", 101.0))
    for oid in ("a", "b", "c"):
        matcher.add(order(oid))
    assert matcher.remove("b").oid == "b"
    filled = done(show(matcher, tick("ask", 100.0)))
    assert filled == [("a", 10, 100.0), ("c", 10, 100.0)]


def test_an_order_for_the_day_ends_with_it_and_before_any_later_tick() -> None:
    matcher = live(tick("ask", 101.0))
    matcher.add(order("a", expires_ns=7))
    matcher.add(order("b", expires_ns=8))
    over = Ended(oid="a", outcome="expired", reason="its day is over")
    assert matcher.expire(6) == []
    assert show(matcher, tick("ask", 100.0, 5), now_ns=7)[0] == over
    assert matcher.next_expiry_ns == 8
    assert matcher["b"].filled == 5


SESSIONS = (Session(open_ns=10, close_ns=20), Session(open_ns=30, close_ns=40))


@pytest.mark.parametrize(
    ("sessions", "now_ns", "end_ns"),
    [
        *((SESSIONS, 5, 20), (SESSIONS, 10, 20), (SESSIONS, 19, 20), (SESSIONS, 20, 40)),
        *((SESSIONS, 40, 99), (None, 15, 99), ((), 15, 99)),
    ],
)
def test_a_day_ends_with_its_session_or_with_the_next_or_when_it_is_said(
    sessions: tuple[Session, ...] | None, now_ns: int, end_ns: int
) -> None:
    assert end_of_day(structs.replace(FUTURE, sessions=sessions), now_ns, 99) == end_ns


# --- what is amended


@pytest.mark.parametrize(
    ("size", "limit", "first"), [(4, "100", "a"), (11, "100", "b"), (10, "100.25", "a")]
)
def test_an_amended_order_keeps_its_place_only_with_less_at_the_same_price(
    size: int, limit: str, first: str
) -> None:
    matcher = live(tick("ask", 103.0))
    matcher.add(order("a"))
    matcher.add(order("b"))
    matcher.amend("a", D(size), D(limit), 1000, 9)
    assert done(show(matcher, tick("ask", 99.0, 1)))[0][0] == first


def test_an_order_with_another_limit_is_as_new() -> None:
    matcher = live(tick("ask", 103.0, 4))
    matcher.add(order("a"))
    assert done(matcher.amend("a", D(10), D(105), 1000, 50)) == [("a", 4, 103.0)]
    assert done(show(matcher, tick("trade", 90.0, 5, seen_ns=49))) == []
    assert done(show(matcher, tick("trade", 90.0, 5, seen_ns=50))) == [("a", 5, 105.0)]


@pytest.mark.parametrize(
    ("size", "limit", "problem"),
    [
        ("3", "100", "expected a total of more than 3, which is done, was 3"),
        ("9", None, "expected a limit price just if the order has one"),
        ("9", "100.1", "limit: expected a multiple of 0.25, as 100.00 or 100.25, was 100.1"),
        ("9", "NaN", "limit: expected a price of at most 1000000000000, was NaN"),
        ("9", "100.25", None),
    ],
)
def test_why_an_order_cannot_be_amended_so(size: str, limit: str | None, problem: str) -> None:
    worked = order("a", filled=D(3))
    assert why_no_amend(FUTURE, worked, D(size), None if limit is None else D(limit)) == problem


# --- prices and sizes as shown


def test_a_fill_on_a_price_that_was_derived_says_so() -> None:
    matcher = live(tick("ask", 99.0, derived=True))
    (fill,) = matcher.add(order("a"))
    assert fill == Fill(oid="a", size=D(10), price=D("99.00"), derived=True)


BANDED = structs.replace(
    FUTURE, price_tick=D("0.0001"), price_bands=(PriceBand(from_price=D(1), price_tick=D("0.05")),)
)


@pytest.mark.parametrize(
    ("market", "price", "exact"),
    [
        (FUTURE, 100.25, "100.25"),
        (FUTURE, -37.75, "-37.75"),
        (structs.replace(FUTURE, price_tick=D("0.1")), 0.1 + 0.2, "0.3"),
        (BANDED, 0.9999, "0.9999"),
        (BANDED, 1.1500000000000001, "1.15"),
        (FUTURE, float("inf"), None),
        (FUTURE, float("nan"), None),
        (FUTURE, 1e300, None),
        (structs.replace(FUTURE, asset_class="stock"), 0.0, None),
        (structs.replace(FUTURE, asset_class="stock"), -1.0, None),
    ],
)
def test_a_shown_price_is_taken_as_the_one_on_the_grid(
    market: Market, price: float, exact: str | None
) -> None:
    assert exact_price(market, price) == (None if exact is None else D(exact))


@pytest.mark.parametrize(
    ("size_tick", "size", "exact"),
    [
        ("1", 3.9, "3"),
        ("0.1", 0.3, "0.3"),
        ("1", 1e300, "1E+15"),
        ("1", 0.0, "0"),
        ("1", -1.0, "0"),
    ],
)
def test_of_a_shown_size_whole_steps_count(size_tick: str, size: float, exact: str) -> None:
    assert exact_size(structs.replace(FUTURE, size_tick=D(size_tick)), size) == D(exact)


def test_a_price_that_no_order_could_have_is_no_price() -> None:
    matcher = live(
        tick("ask", 99.0, 4), tick("ask", -1.0), market=structs.replace(FUTURE, asset_class="stock")
    )
    assert matcher.add(order("a")) == []
    assert show(matcher, tick("trade", -1.0, 50)) == []


# --- what is refused


PLACE = Place(
    session="",
    not_after_boot_ns=0,
    oid="a",
    account="paper.fake",
    market=FUTURE.fqme,
    side="buy",
    size=D(1),
    limit=D(100),
    tif="gtc",
)


def test_an_order_in_a_market_that_there_is_not_is_refused_by_its_name() -> None:
    refused = check(PLACE, None)
    assert refused == InvalidOrder(field="market", value=FUTURE.fqme, allowed="a market of fake")


@pytest.mark.parametrize(
    ("changed", "field"),
    [({}, None), ({"limit": None}, None), ({"size": D(0)}, "size"), ({"limit": D("1.1")}, "limit")],
)
def test_an_order_that_no_venue_would_take_is_refused(
    changed: dict[str, Any], field: str | None
) -> None:
    refused = check(structs.replace(PLACE, **changed), FUTURE)
    assert (refused.field if refused else None) == field


# --- fees


SCHEDULE = FeeSchedule(per_unit=D("0.5"), pct=D("0.01"), minimum=D(2))


@pytest.mark.parametrize(
    ("schedule", "size", "notional", "paid"),
    [
        (FeeSchedule(), "10", "1000", "0"),
        (SCHEDULE, "0", "0", "0"),
        (SCHEDULE, "1", "100", "2"),
        (SCHEDULE, "10", "1000", "5.1"),
        (SCHEDULE, "10", "-1000", "5.1"),
        (FeeSchedule(pct=D("0.001")), "1", "0.0001", "0"),
    ],
)
def test_an_order_costs_by_unit_and_by_value_and_at_least_the_minimum(
    schedule: FeeSchedule, size: str, notional: str, paid: str
) -> None:
    assert fee(schedule, D(size), D(notional)) == D(paid)


# --- properties


LIMITS = st.one_of(st.none(), st.integers(-4, 4).map(lambda steps: D(steps) / 4))
ORDERS = st.builds(
    lambda side, size, limit, tif, since: ("order", side, size, limit, tif, since),
    st.sampled_from(["buy", "sell"]),
    st.integers(1, 20).map(D),
    LIMITS,
    st.sampled_from(["gtc", "gtc", "ioc"]),
    st.integers(0, 20),
)
TICKS = st.builds(
    lambda kind, steps, size: ("tick", kind, steps / 4, size),
    st.sampled_from(["bid", "ask", "trade"]),
    st.integers(-5, 5),
    st.one_of(st.none(), st.integers(0, 12).map(float)),
)
STATES = st.sampled_from([("state", "live"), ("state", "live"), ("state", "stale")])
STORY = st.lists(st.one_of(ORDERS, TICKS, TICKS, STATES), min_size=15, max_size=40)


def play(story: list[Any]) -> tuple[dict[str, Working], list[tuple[Outcome, Tick | None, int]]]:
    """What was ordered, and what came of it: each with the tick that it came of and its instant."""
    matcher, ordered, came = live(), {}, []
    for instant, (what, *facts) in enumerate(story):
        shown: Tick | None = None
        if what == "order":
            side, size, limit, tif, _ = facts
            new = order(f"{instant:03}", int(size), None, side=side, tif=tif, priority=instant)
            ordered[new.oid] = new = structs.replace(new, limit=limit, since_boot_ns=instant)
            outcomes = matcher.add(new)
        elif what == "state":
            outcomes = matcher.take_state(state(facts[0]))
        else:
            kind, price, shown_size = facts
            shown = tick(kind, price, shown_size, instant)
            outcomes = show(matcher, shown)
        came += [(each, shown, instant) for each in outcomes]
    return ordered, came


def fills(came: list[tuple[Outcome, Tick | None, int]]) -> list[tuple[Fill, Tick | None, int]]:
    return [(each, shown, at) for each, shown, at in came if isinstance(each, Fill)]


@given(STORY)
def test_never_more_is_filled_than_was_ordered_nor_nothing_at_all(story: list[Any]) -> None:
    ordered, came = play(story)
    for oid, each in ordered.items():
        sizes = [fill.size for fill, _, _ in fills(came) if fill.oid == oid]
        assert all(size > 0 for size in sizes)
        assert sum(sizes) <= each.size


@given(STORY)
def test_never_is_a_price_worse_than_the_limit_or_off_the_grid(story: list[Any]) -> None:
    ordered, came = play(story)
    for fill, _, _ in fills(came):
        limit, sign = ordered[fill.oid].limit, 1 if ordered[fill.oid].side == "buy" else -1
        assert limit is None or sign * fill.price <= sign * limit
        assert on_grid(FUTURE.price_tick, fill.price)


@given(STORY)
def test_never_more_is_filled_than_was_shown(story: list[Any]) -> None:
    ordered, came = play(story)
    shown: dict[str, float] = {"buy": 0.0, "sell": 0.0}
    printed = 0.0
    for what, *facts in story:
        if what == "tick":
            size = 1e9 if facts[2] is None else facts[2]
            shown["buy"] += size if facts[0] == "ask" else 0
            shown["sell"] += size if facts[0] == "bid" else 0
            printed += size if facts[0] == "trade" else 0
    taken = {"buy": 0.0, "sell": 0.0, "print": 0.0}
    for fill, of, _ in fills(came):
        by_print = of is not None and of.kind == "trade"
        taken["print" if by_print else ordered[fill.oid].side] += float(fill.size)
    assert taken["buy"] <= shown["buy"]
    assert taken["sell"] <= shown["sell"]
    assert taken["print"] <= printed


@given(STORY)
def test_a_print_fills_only_what_came_before_it_and_what_it_went_through(story: list[Any]) -> None:
    ordered, came = play(story)
    prints = [(f, of, at) for f, of, at in fills(came) if of is not None and of.kind == "trade"]
    for fill, of, at in prints:
        each = ordered[fill.oid]
        assert int(each.oid) < at
        assert fill.price == each.limit
        sign = 1 if each.side == "buy" else -1
        assert sign * D(repr(of.price)) < sign * fill.price


@given(STORY)
def test_who_bids_as_much_and_came_earlier_is_whole_before_a_later_one_gets_anything(
    story: list[Any],
) -> None:
    ordered, came = play(story)
    filled = dict.fromkeys(ordered, D(0))
    ended = set()
    for each, _, _ in came:
        if isinstance(each, Ended):
            ended.add(each.oid)
        if not isinstance(each, Fill):
            continue
        me = ordered[each.oid]
        filled[each.oid] += each.size
        equals = [o for o in ordered.values() if (o.side, o.limit) == (me.side, me.limit)]
        earlier = [o for o in equals if o.oid < me.oid and o.tif == me.tif]
        assert all(filled[o.oid] == o.size or o.oid in ended for o in earlier)


@given(STORY, st.lists(st.booleans(), min_size=40, max_size=40))
def test_it_makes_no_difference_which_ticks_came_in_one_message(
    story: list[Any], joined: list[bool]
) -> None:
    apart = outcomes_of(messages(story, [False] * len(story)))
    assert outcomes_of(messages(story, joined)) == apart


def messages(story: list[Any], joined: list[bool]) -> list[list[Any]]:
    """What happens, with its instants; ticks are together with those before them where `joined`."""
    found: list[list[Any]] = []
    for instant, (what, *facts) in enumerate(story):
        if what == "tick" and joined[instant] and found and found[-1][-1][1] == "tick":
            found[-1].append((instant, what, *facts))
        else:
            found.append([(instant, what, *facts)])
    return found


def outcomes_of(happening: list[list[Any]]) -> list[Outcome]:
    """What comes of it."""
    matcher, came = live(), []
    for together in happening:
        instant, what, *facts = together[0]
        if what == "tick":
            came += show(matcher, *(tick(k, price, size, at) for at, _, k, price, size in together))
        elif what == "state":
            came += matcher.take_state(state(facts[0]))
        else:
            side, size, limit, tif, _ = facts
            new = order(f"{instant:03}", int(size), None, side=side, tif=tif, priority=instant)
            came += matcher.add(structs.replace(new, limit=limit))
    return came


@given(st.lists(st.tuples(st.integers(1, 9).map(D), st.integers(1, 400).map(D)), max_size=8))
def test_the_fees_of_the_fills_add_up_to_that_of_the_order(parts: list[tuple[D, D]]) -> None:
    size = value = paid = D(0)
    for each, price in parts:
        before = fee(SCHEDULE, size, value)
        size, value = size + each, value + each * price
        paid += fee(SCHEDULE, size, value) - before
    assert paid == fee(SCHEDULE, size, value)
