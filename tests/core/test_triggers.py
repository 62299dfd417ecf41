"""The dark book fires what a tick crosses, once, and nothing that nobody could have watched."""

import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from decimal import Decimal
from fractions import Fraction
from itertools import count, pairwise
from types import FrameType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from piker.core import triggers
from piker.core.conflation import Outbox
from piker.core.triggers import (
    FIRST_NS,
    GAP_GRACE_NS,
    LOOKS,
    MAX_TICK_AGE_NS,
    CancelledByGap,
    DarkBook,
    Decision,
    Fired,
    HeldByGap,
    Missed,
    NoDirection,
    RanOut,
    Rests,
    price_to_send,
    session_time_ns,
)
from piker.markets import Market, MarketState, PriceBand, Session, State
from piker.orders import OnGap, Order, When
from piker.quotes import Kind, Quote, Tick

SECOND = 1_000_000_000
KINDS: tuple[Kind, ...] = ("bid", "ask", "trade", "dark_trade")
WHENS: tuple[When, ...] = ("above", "below")
LONG_NS = GAP_GRACE_NS
SHORT_NS = GAP_GRACE_NS - 1


def market(price_tick: str = "1", bands: Iterable[tuple[str, str]] = (), **others: Any) -> Market:
    facts: dict[str, Any] = {
        "fqme": "a.b.sim",
        "venue_id": "a",
        "description": "",
        "asset_class": "simulated",
        "currency": "USD",
        "price_tick": Decimal(price_tick),
        "price_bands": tuple(
            PriceBand(from_price=Decimal(start), price_tick=Decimal(tick)) for start, tick in bands
        ),
        "size_tick": Decimal(1),
        "multiplier": Decimal(1),
        "has_trades": True,
        "has_volume": True,
        "has_bid": True,
        "has_ask": True,
    }
    return Market(**(facts | others))


def order(oid: str = "x", trigger: str | Decimal = "100", **others: Any) -> Order:
    """A dark buy, if nothing else is said."""
    facts: dict[str, Any] = {
        "oid": oid,
        "account": "paper.sim",
        "market": "a.b.sim",
        "side": "buy",
        "size": Decimal(1),
        "kind": "dark",
        "trigger": Decimal(trigger),
    }
    return Order(**(facts | others))


def tick(kind: Kind, price: float, seen_ns: int = 0, **others: Any) -> Tick:
    return Tick(kind=kind, price=price, time_ns=seen_ns, seen_ns=seen_ns, **others)


def quote(*ticks: Tick) -> Quote:
    return Quote(market="a.b.sim", ticks=ticks)


def state(name: State, since_ns: int = 0) -> MarketState:
    return MarketState(market="a.b.sim", state=name, since_ns=since_ns)


def watched(*orders: Order, **facts: Any) -> DarkBook:
    """A book of a live, watched market with these orders in it."""
    book = DarkBook(market(**facts))
    for each in orders:
        assert isinstance(book.arm(each, 0), Rests)
    book.take_state(state("live"))
    assert book.returned(0, (), 0, 0) == []
    return book


def fired(decisions: Iterable[Decision]) -> list[str]:
    """What fired, in its order."""
    return [each.oid for each in decisions if isinstance(each, Fired)]


def take(book: DarkBook, *ticks: Tick, now_ns: int = 0) -> list[Decision]:
    return book.take(quote(*ticks), now_ns, now_ns)


@pytest.mark.parametrize(
    ("kind", "sets_off"),
    [("bid", ["sell"]), ("ask", ["buy"]), ("trade", ["buy", "sell", "alert"]), ("dark_trade", [])],
)
def test_buys_look_at_ask_and_trade_and_sells_at_bid_and_trade_and_alerts_at_trades(
    kind: Kind, sets_off: list[str]
) -> None:
    book = watched(
        order("buy", when="above"),
        order("sell", when="above", side="sell"),
        order("alert", when="above", kind="alert"),
    )
    assert fired(take(book, tick(kind, 100.0))) == sets_off


@pytest.mark.parametrize(
    ("when", "price", "fires"),
    [
        ("above", 99.0, False),
        ("above", 100.0, True),
        ("above", 101.0, True),
        ("below", 101.0, False),
        ("below", 100.0, True),
        ("below", 99.0, True),
    ],
)
def test_a_trigger_fires_at_its_price_and_beyond(when: When, price: float, fires: bool) -> None:
    book = watched(order(when=when))
    assert bool(fired(take(book, tick("ask", price)))) == fires
    assert len(book) == (not fires)


@pytest.mark.parametrize("when", WHENS)
@pytest.mark.parametrize("price", ["0.3", "0.7", "1.08453", "0.1"])
def test_a_tick_at_a_trigger_that_no_float_is_equal_to_fires(price: str, when: When) -> None:
    book = watched(order(trigger=price, when=when), price_tick="0.00001")
    assert fired(take(book, tick("trade", float(price)))) == ["x"]


def test_what_is_shown_late_fires_nothing_and_is_not_the_newest() -> None:
    book = watched(order(when="above"))
    assert take(book, tick("ask", 101.0, delayed=True)) == []
    assert "ask" not in book.newest


def test_what_fired_fires_no_more() -> None:
    book = watched(order(when="above"))
    assert fired(take(book, tick("ask", 101.0), tick("trade", 101.0))) == ["x"]
    assert take(book, tick("ask", 102.0)) == []


def test_the_nearest_fires_first_and_of_equal_ones_the_oldest() -> None:
    book = watched(
        order("far", "103", when="above"),
        order("first", "101", when="above"),
        order("second", "101", when="above"),
        order("beyond", "110", when="above"),
    )
    assert fired(take(book, tick("trade", 105.0))) == ["first", "second", "far"]


def test_a_decision_says_what_it_was_made_on_and_what_to_send() -> None:
    book = watched(order(when="above"))
    seen = tick("ask", 100.0, derived=True)
    assert take(book, seen) == [Fired(oid="x", tick=seen, price=Decimal(100), unwatched_ns=0)]


@pytest.mark.parametrize(
    "asked", [{"kind": "alert"}, {"sends": "market"}, {"kind": "alert", "side": "sell"}]
)
def test_an_alert_and_a_market_order_have_no_limit(asked: dict[str, Any]) -> None:
    (decision,) = take(watched(order(when="above", **asked)), tick("trade", 100.0))
    assert isinstance(decision, Fired)
    assert decision.price is None


@pytest.mark.parametrize(
    ("asked", "kind", "newest", "when"),
    [
        ({"side": "buy"}, "ask", 99.0, "above"),
        ({"side": "buy"}, "ask", 100.0, "above"),
        ({"side": "buy"}, "ask", 101.0, "below"),
        ({"side": "buy"}, "trade", 101.0, "below"),
        ({"side": "sell"}, "bid", 101.0, "below"),
        ({"side": "sell"}, "bid", 99.0, "above"),
        ({"kind": "alert"}, "trade", 99.0, "above"),
        ({"side": "buy", "when": "above"}, "ask", 101.0, "above"),
    ],
)
def test_a_direction_is_given_or_taken_from_the_newest_quote_however_old(
    asked: dict[str, Any], kind: Kind, newest: float, when: When
) -> None:
    book = DarkBook(market())
    take(book, tick(kind, newest), now_ns=10**18)
    assert book.arm(order(**asked), 10**18) == Rests(oid="x", when=when)


def test_the_side_that_will_trigger_decides_a_direction_before_a_trade_does() -> None:
    book = DarkBook(market())
    take(book, tick("ask", 101.0), tick("trade", 99.0), tick("bid", 98.0))
    assert book.arm(order(), 0) == Rests(oid="x", when="below")


@pytest.mark.parametrize(
    ("asked", "kind"), [({"side": "buy"}, "bid"), ({"side": "sell"}, "ask"), ({}, "dark_trade")]
)
def test_without_a_direction_and_a_quote_that_gives_one_nothing_rests(
    asked: dict[str, Any], kind: Kind
) -> None:
    book = DarkBook(market())
    take(book, tick(kind, 100.0))
    expected = LOOKS[asked.get("side", "buy")]
    assert book.arm(order(**asked), 0) == NoDirection(oid="x", market="a.b.sim", expected=expected)
    assert len(book) == 0


def test_a_direction_that_was_stored_is_not_computed_again() -> None:
    book = DarkBook(market())
    take(book, tick("ask", 101.0))
    stored = structs.replace(order(), when="above")
    assert book.arm(stored, 0) == Rests(oid="x", when="above")


def test_the_same_oid_again_replaces_what_rested() -> None:
    book = watched(order(trigger="100", when="above"))
    book.arm(order(trigger="200", when="above"), 0)
    assert take(book, tick("ask", 150.0)) == []
    assert len(book) == 1


def test_what_was_taken_out_does_not_fire() -> None:
    book = watched(*(order(str(n), when="above", expires_ns=9) for n in range(3)))
    assert book.disarm("1")
    assert not book.disarm("1")
    assert fired(take(book, tick("ask", 100.0))) == ["0", "2"]
    assert book.next_expiry_ns is None


# Age and liveness.


def test_nothing_fires_on_a_tick_older_than_the_oldest_that_may() -> None:
    book = watched(order(when="above"))
    assert take(book, tick("ask", 100.0), now_ns=MAX_TICK_AGE_NS + 1) == []


def test_a_tick_just_young_enough_fires() -> None:
    book = watched(order(when="above"))
    assert fired(take(book, tick("ask", 100.0), now_ns=MAX_TICK_AGE_NS)) == ["x"]


@pytest.mark.parametrize("name", ["stale", "closed", "disconnected"])
def test_nothing_fires_in_a_market_that_is_not_live(name: State) -> None:
    book = watched(order(when="above"))
    book.take_state(state(name))
    assert take(book, tick("ask", 100.0)) == []
    assert not book.awaits_return


def test_nothing_fires_in_a_live_market_before_what_was_missed_is_known() -> None:
    book = DarkBook(market())
    book.arm(order(when="above"), 0)
    book.take_state(state("live"))
    assert book.awaits_return
    assert take(book, tick("ask", 100.0)) == []
    assert fired(book.returned(0, (), 0, 0)) == ["x"]
    assert not book.awaits_return


def test_a_live_state_that_began_anew_had_a_hole_before_it() -> None:
    book = watched()
    book.take_state(state("live", 0))
    assert not book.awaits_return
    book.take_state(state("live", 5))
    assert book.awaits_return


def test_a_reader_that_fell_behind_for_short_fires_on_the_next_young_tick() -> None:
    book = watched(order(when="above"))
    take(book, tick("ask", 101.0, 1), now_ns=10 * SECOND)
    (decision,) = take(book, tick("ask", 99.0, 10 * SECOND), now_ns=10 * SECOND)
    assert isinstance(decision, Fired)
    assert decision.tick.price == 99.0
    assert decision.unwatched_ns == 10 * SECOND - 1


def test_a_reader_that_fell_behind_for_long_has_a_gap() -> None:
    book = watched(order(when="above"))
    take(book, tick("ask", 101.0, 1), now_ns=LONG_NS + 1)
    young = tick("ask", 101.0, LONG_NS + 1)
    assert take(book, young, now_ns=LONG_NS + 1) == [HeldByGap(oid="x", unwatched_ns=LONG_NS)]


# Gaps.


def lost_and_back(
    asked: Order,
    unwatched_ns: int,
    missed: Sequence[Missed] = (),
    before: Sequence[Tick] = (),
) -> tuple[DarkBook, list[Decision]]:
    """A book after its feed was away, and what was decided on its return."""
    book = watched(asked)
    book.take_state(state("disconnected"))
    take(book, *before)
    book.take_state(state("live", 1))
    return book, book.returned(unwatched_ns, missed, 0, 0)


def missed(low: float, high: float, kind: Kind = "trade", until_ns: int = 1) -> Missed:
    return Missed(kind=kind, low=low, high=high, until_ns=until_ns)


@pytest.mark.parametrize(
    ("when", "low", "high"), [("above", 90, 99.9), ("below", 100.1, 110), ("above", 1, 2)]
)
def test_what_was_not_crossed_in_a_gap_is_armed(when: When, low: float, high: float) -> None:
    book, decisions = lost_and_back(order(when=when), 10**15, [missed(low, high)])
    assert decisions == []
    assert fired(take(book, tick("ask", 100.0))) == ["x"]


@pytest.mark.parametrize("on_gap", ["hold", "fire", "cancel"])
@pytest.mark.parametrize(("when", "low", "high"), [("above", 90, 100), ("below", 100, 110)])
def test_what_was_crossed_in_a_short_gap_fires_on_the_next_tick(
    when: When, low: float, high: float, on_gap: OnGap
) -> None:
    book, decisions = lost_and_back(order(when=when, on_gap=on_gap), SHORT_NS, [missed(low, high)])
    assert decisions == []
    assert fired(take(book, tick("bid", 100.0))) == []
    (decision,) = take(book, tick("ask", 105.0 if when == "below" else 95.0))
    assert isinstance(decision, Fired)
    assert decision.unwatched_ns == SHORT_NS


GAP_CASES: list[tuple[OnGap, bool, float, type[Decision]]] = [
    ("hold", False, 105, HeldByGap),
    ("hold", False, 95, HeldByGap),
    ("hold", True, 105, Fired),
    ("hold", True, 95, HeldByGap),
    ("fire", False, 105, Fired),
    ("fire", False, 95, Fired),
    ("fire", True, 105, Fired),
    ("fire", True, 95, Fired),
    ("cancel", False, 105, CancelledByGap),
    ("cancel", False, 95, CancelledByGap),
    ("cancel", True, 105, Fired),
    ("cancel", True, 95, CancelledByGap),
]


@pytest.mark.parametrize(("on_gap", "reduce_only", "newest", "decided"), GAP_CASES)
def test_what_was_crossed_in_a_long_gap_is_decided_by_the_newest_tick_and_on_gap(
    on_gap: OnGap, reduce_only: bool, newest: float, decided: type[Decision]
) -> None:
    asked = order(when="above", on_gap=on_gap, reduce_only=reduce_only)
    book, decisions = lost_and_back(asked, LONG_NS, [missed(90, 110)], [tick("ask", newest)])
    assert [type(each) for each in decisions] == [decided]
    assert len(book) == 0


@pytest.mark.parametrize(("on_gap", "reduce_only", "newest", "decided"), GAP_CASES)
def test_without_a_young_tick_a_long_gap_is_decided_by_the_next_one_where_it_matters(
    on_gap: OnGap, reduce_only: bool, newest: float, decided: type[Decision]
) -> None:
    asked = order(when="above", on_gap=on_gap, reduce_only=reduce_only)
    book, decisions = lost_and_back(asked, LONG_NS, [missed(90, 110)])
    assert bool(decisions) == (on_gap != "fire" and not reduce_only)
    decisions += take(book, tick("ask", newest))
    assert [type(each) for each in decisions] == [decided]


def test_ticks_that_came_while_the_market_was_not_live_count_as_missed() -> None:
    _, decisions = lost_and_back(
        order(when="above"), LONG_NS, before=[tick("ask", 101.0), tick("ask", 99.0)]
    )
    assert decisions == [HeldByGap(oid="x", unwatched_ns=LONG_NS)]


def test_what_the_market_showed_before_an_order_was_armed_did_not_cross_it() -> None:
    book = DarkBook(market())
    book.arm(order("old", when="above"), 7, armed_ns=3)
    book.arm(order("new", when="above"), 7)
    book.take_state(state("live"))
    decisions = book.returned(LONG_NS, [missed(90, 110, until_ns=7)], 7, 7)
    assert decisions == [HeldByGap(oid="old", unwatched_ns=LONG_NS)]
    assert fired(take(book, tick("ask", 100.0, 8), now_ns=8)) == ["new"]


def test_extremes_of_a_side_cross_only_what_looks_at_it() -> None:
    book, decisions = lost_and_back(order(when="above"), LONG_NS, [missed(90, 110, "bid")])
    assert decisions == []
    assert len(book) == 1


def test_what_was_to_fire_and_had_no_tick_is_judged_again_after_another_gap() -> None:
    book, _ = lost_and_back(order(when="above"), SHORT_NS, [missed(90, 110)])
    book.take_state(state("stale", 2))
    book.take_state(state("live", 3))
    assert book.returned(LONG_NS, (), 0, 0) == [HeldByGap(oid="x", unwatched_ns=LONG_NS)]


def back_at(wall_ns: int, unwatched_ns: int, *before: Tick, **others: Any) -> DarkBook:
    """A book of an order that was armed at 0, back by then; boot time is 0."""
    book = watched(order(when="above", **others))
    book.take_state(state("disconnected"))
    take(book, *before)
    book.take_state(state("live", 1))
    assert book.returned(unwatched_ns, (), wall_ns, 0) == []
    return book


@pytest.mark.parametrize(("on_gap", "decided"), [("hold", HeldByGap), ("fire", Fired)])
def test_a_side_that_is_shown_just_after_the_return_came_there_unseen(
    on_gap: OnGap, decided: type[HeldByGap | Fired]
) -> None:
    book = back_at(1, LONG_NS, tick("bid", 100.0), on_gap=on_gap)
    (decision,) = take(book, tick("ask", 101.0, FIRST_NS), now_ns=FIRST_NS)
    assert isinstance(decision, decided)
    assert decision.unwatched_ns == LONG_NS


@pytest.mark.parametrize(
    ("before", "unwatched_ns", "now_ns"),
    [
        ([tick("ask", 90.0)], LONG_NS, 1),
        ([], SHORT_NS, 1),
        ([], LONG_NS, FIRST_NS + 1),
    ],
)
def test_what_is_shown_again_or_later_or_after_a_short_gap_was_watched(
    before: list[Tick], unwatched_ns: int, now_ns: int
) -> None:
    book = back_at(1, unwatched_ns, *before)
    (decision,) = take(book, tick("ask", 101.0, now_ns), now_ns=now_ns)
    assert isinstance(decision, Fired)
    assert decision.unwatched_ns == 0


def test_what_was_armed_after_the_return_was_not_crossed_before_it() -> None:
    book = back_at(1, LONG_NS)
    book.arm(order("new", when="above"), 1)
    decisions = take(book, tick("ask", 101.0, 2), now_ns=2)
    assert [type(each) for each in decisions] == [HeldByGap, Fired]
    assert fired(decisions) == ["new"]


def test_what_was_crossed_and_is_not_judged_yet_can_be_taken_out() -> None:
    book = watched(order(when="above"), order("y", when="above"))
    book.take_state(state("stale"))
    take(book, tick("ask", 100.0))
    assert book.disarm("x")
    book.take_state(state("live", 1))
    assert fired(book.returned(0, (), 0, 0)) == ["y"]


def test_what_was_crossed_and_waits_for_a_tick_can_be_taken_out() -> None:
    book = watched(order(when="above"), order("y", when="above"))
    book.take_state(state("live", 1))
    assert book.returned(0, [missed(90, 110)], 0, 0) == []
    assert book.disarm("x")
    assert fired(take(book, tick("ask", 1.0))) == ["y"]


def test_what_was_shown_out_of_session_crosses_nothing() -> None:
    book = DarkBook(market(sessions=(Session(open_ns=10, close_ns=20),)))
    book.arm(order(when="above"), 0)
    book.take_state(state("closed"))
    take(book, tick("ask", 101.0, 9), now_ns=9)
    book.take_state(state("live", 10))
    assert book.returned(0, (), 10, 10) == []
    assert take(book, tick("ask", 99.0, 11), now_ns=11) == []
    assert fired(take(book, tick("ask", 100.0, 12), now_ns=12)) == ["x"]


def test_the_tick_that_brings_a_market_back_is_not_lost() -> None:
    book = DarkBook(market(sessions=(Session(open_ns=10, close_ns=20),)))
    book.arm(order(when="above"), 0)
    book.take_state(state("closed"))
    take(book, tick("ask", 101.0, 10), now_ns=10)
    book.take_state(state("live", 10))
    assert fired(book.returned(0, (), 10, 10)) == ["x"]


def test_whether_a_price_is_still_beyond_is_said_by_the_newest_tick() -> None:
    asked = order(when="above", reduce_only=True)
    ticks = [tick("ask", 105.0, 1), tick("trade", 95.0, 2)]
    _, decisions = lost_and_back(asked, LONG_NS, before=ticks)
    assert decisions == [HeldByGap(oid="x", unwatched_ns=LONG_NS)]


def test_having_fallen_behind_counts_into_the_gap_that_follows() -> None:
    book = watched(order(when="above"))
    take(book, tick("ask", 101.0), now_ns=LONG_NS)
    book.take_state(state("stale", 1))
    book.take_state(state("live", 2))
    assert book.returned(1, (), 0, LONG_NS) == [HeldByGap(oid="x", unwatched_ns=LONG_NS)]


# Expiry.


def test_what_has_run_out_is_not_armed() -> None:
    book = DarkBook(market())
    assert book.arm(order(expires_ns=5), 5) == RanOut(oid="x")
    assert len(book) == 0


def test_what_runs_out_ends_before_the_tick_that_would_fire_it() -> None:
    book = watched(order(when="above", expires_ns=5), order("y", when="above", expires_ns=6))
    assert book.next_expiry_ns == 5
    decisions = take(book, tick("ask", 100.0), now_ns=5)
    assert decisions[0] == RanOut(oid="x")
    assert fired(decisions) == ["y"]
    assert book.next_expiry_ns is None


def test_what_ran_out_in_a_gap_ends_even_if_it_was_crossed() -> None:
    book = watched(order(when="above", expires_ns=5))
    book.take_state(state("stale"))
    take(book, tick("ask", 100.0))
    book.take_state(state("live", 1))
    assert book.returned(0, (), 5, 5) == [RanOut(oid="x")]
    assert take(book, tick("ask", 100.0, 5), now_ns=5) == []


def test_expiry_is_told_once_and_in_its_order() -> None:
    book = watched(*(order(str(at), when="above", expires_ns=at) for at in (7, 5, 9)))
    assert book.expire(7) == [RanOut(oid="5"), RanOut(oid="7")]
    assert book.expire(7) == []


# Markets without trades.


def alert(oid: str = "x", trigger: str = "100", when: When = "above") -> Order:
    return order(oid, trigger, when=when, kind="alert")


def test_an_alert_in_a_market_without_trades_fires_on_the_mid_and_says_so() -> None:
    book = watched(alert(), has_trades=False)
    (decision,) = take(book, tick("bid", 99.0), tick("ask", 101.0))
    assert isinstance(decision, Fired)
    assert decision.tick == tick("trade", 100.0, derived=True)


def test_an_alert_fires_on_the_mid_at_its_very_price() -> None:
    """As floats, half of 1.09995 + 1.10025 is 1.1000999999999999."""
    book = watched(alert(trigger="1.1001"), has_trades=False, price_tick=Decimal("0.00005"))
    (decision,) = take(book, tick("bid", 1.09995), tick("ask", 1.10025))
    assert isinstance(decision, Fired)
    assert decision.tick.price == 1.1001


def test_an_order_does_not_fire_on_a_mid() -> None:
    book = watched(order(when="below"), has_trades=False)
    assert take(book, tick("bid", 98.0), tick("ask", 101.0)) == []


def test_a_mid_is_not_made_of_half_a_change() -> None:
    book = watched(alert(trigger="99", when="below"), has_trades=False)
    take(book, tick("bid", 99.0, 1), tick("ask", 101.0, 1))
    assert take(book, tick("bid", 96.0, 2), tick("ask", 104.0, 2)) == []


@pytest.mark.parametrize("names", [["disconnected", "live"], ["closed", "live"], ["live"]])
def test_a_mid_does_not_join_what_came_before_a_hole_with_what_came_after(
    names: list[State],
) -> None:
    book = watched(alert(), has_trades=False)
    take(book, tick("bid", 90.0))
    for name in names:
        book.take_state(state(name, 1))
    book.returned(0, (), 0, 0)
    assert take(book, tick("ask", 110.0)) == []
    assert fired(take(book, tick("bid", 100.0))) == ["x"]


def test_a_side_that_comes_twice_at_one_instant_is_two_changes() -> None:
    book = watched(alert(), has_trades=False)
    sides = [tick("bid", 99.0), tick("ask", 101.0), tick("bid", 90.0), tick("ask", 92.0)]
    assert fired(take(book, *sides)) == ["x"]


def test_a_mid_joins_the_sides_from_before_and_after_a_silence() -> None:
    book = watched(alert(), has_trades=False)
    take(book, tick("bid", 90.0))
    book.take_state(state("stale"))
    book.take_state(state("live", 1))
    book.returned(0, (), 0, 0)
    assert fired(take(book, tick("ask", 110.0))) == ["x"]


def test_a_mid_gives_an_alert_its_direction() -> None:
    book = DarkBook(market(has_trades=False))
    take(book, tick("bid", 99.0), tick("ask", 103.0))
    assert book.arm(order(kind="alert"), 0) == Rests(oid="x", when="below")


@given(st.lists(st.tuples(st.integers(0, 30), st.integers(0, 30)), min_size=1))
def test_the_alerts_that_mids_set_off_do_not_depend_on_how_quotes_are_joined(
    prices: list[tuple[int, int]],
) -> None:
    alerts = [alert(f"{when}{n}", str(n), when) for n in range(30) for when in WHENS]
    one, many = (watched(*alerts, has_trades=False) for _ in range(2))
    quotes = [
        quote(tick("bid", bid, at), tick("ask", bid + spread, at))
        for at, (bid, spread) in enumerate(prices)
    ]
    singly = [oid for each in quotes for oid in fired(one.take(each, 99, 99))]
    joined = many.take(quote(*(t for each in quotes for t in each.ticks)), 99, 99)
    assert fired(joined) == singly


# Order among equals.

Step = tuple[str, int | None]
STEPS = st.lists(st.tuples(st.sampled_from("abcdef"), st.integers(1, 3) | st.none()), max_size=30)


def after_steps(when: When, steps: list[Step]) -> tuple[DarkBook, list[tuple[str, int]]]:
    """A book in which each oid was armed at a price or taken out, and a list of what is left."""
    book = watched()
    left: list[tuple[str, int]] = []
    for oid, at in steps:
        assert book.disarm(oid) == (oid in dict(left))
        left = [each for each in left if each[0] != oid]
        if at is not None:
            book.arm(order(oid, str(at), when=when, expires_ns=at), 0)
            left.append((oid, at))
    return book, left


@given(STEPS)
def test_of_equals_the_oldest_fires_first_whatever_was_taken_out(steps: list[Step]) -> None:
    above, left = after_steps("above", steps)
    nearest_first = [oid for oid, _ in sorted(left, key=lambda each: each[1])]
    assert fired(take(above, tick("ask", 3.0))) == nearest_first
    below, _ = after_steps("below", steps)
    nearest_first = [oid for oid, _ in sorted(left, key=lambda each: -each[1])]
    assert fired(take(below, tick("ask", 1.0))) == nearest_first


@given(STEPS)
def test_of_equals_the_oldest_runs_out_first_whatever_was_taken_out(steps: list[Step]) -> None:
    book, left = after_steps("above", steps)
    ended = [oid for oid, _ in sorted(left, key=lambda each: each[1])]
    assert book.expire(3) == [RanOut(oid=oid) for oid in ended]
    assert len(book) == 0


@given(STEPS)
def test_what_a_gap_did_not_cross_keeps_its_place_among_equals(steps: list[Step]) -> None:
    book, left = after_steps("above", steps)
    book.take_state(state("live", 1))
    assert book.returned(0, [missed(1, 2, until_ns=0)], 0, 0) == []
    book.arm(order("new", "1", when="above"), 0)
    nearest_first = sorted([*left, ("new", 1)], key=lambda each: each[1])
    assert fired(take(book, tick("ask", 3.0))) == [oid for oid, _ in nearest_first]


# The reader's speed, and a reference.

Asked = tuple[str, str, When, int]
ASKED = st.lists(
    st.tuples(
        st.sampled_from(["dark", "alert"]),
        st.sampled_from(["buy", "sell"]),
        st.sampled_from(WHENS),
        st.integers(1, 30),
    ),
    max_size=30,
)
TICKS = st.lists(st.tuples(st.sampled_from(KINDS), st.integers(1, 30)), max_size=60)


def orders_of(asked: list[Asked]) -> list[Order]:
    return [
        order(str(n), str(trigger), kind=kind, side=side, when=when)
        for n, (kind, side, when, trigger) in enumerate(asked)
    ]


def quotes_of(ticks: list[tuple[Kind, int]]) -> list[Quote]:
    return [quote(tick(kind, price, at)) for at, (kind, price) in enumerate(ticks)]


def crosses(each: Order, seen: Tick) -> bool:
    assert each.trigger is not None
    looks: dict[str, set[str]] = {"buy": {"ask", "trade"}, "sell": {"bid", "trade"}}
    kinds = {"trade"} if each.kind == "alert" else looks[each.side]
    beyond = seen.price >= each.trigger if each.when == "above" else seen.price <= each.trigger
    return seen.kind in kinds and beyond


def reference(orders: list[Order], quotes: list[Quote]) -> dict[str, Tick]:
    """What fires, and on what: each order looks at every tick."""
    ticks = [t for each in quotes for t in each.ticks]
    firsts = {each.oid: [t for t in ticks if crosses(each, t)][:1] for each in orders}
    return {oid: first[0] for oid, first in firsts.items() if first}


@given(ASKED, TICKS)
def test_what_fires_is_what_the_first_crossing_tick_of_each_order_says(
    asked: list[Asked], ticks: list[tuple[Kind, int]]
) -> None:
    orders, quotes = orders_of(asked), quotes_of(ticks)
    book = watched(*orders)
    decisions = [each for q in quotes for each in book.take(q, 0, 0)]
    assert {d.oid: d.tick for d in decisions if isinstance(d, Fired)} == reference(orders, quotes)
    assert len(book) == len(orders) - len(decisions)


def conflated(quotes: list[Quote]) -> Iterator[Quote]:
    outbox = Outbox()
    outbox.put(quotes)
    yield from outbox.drain()[0]


@given(ASKED, TICKS, st.sets(st.integers(0, 60)))
def test_the_set_that_fires_does_not_depend_on_the_readers_speed(
    asked: list[Asked], ticks: list[tuple[Kind, int]], reads: set[int]
) -> None:
    orders, quotes = orders_of(asked), quotes_of(ticks)
    book = watched(*orders)
    cuts = [0, *sorted(at for at in reads if 0 < at < len(quotes)), len(quotes)]
    parts = [quotes[start:end] for start, end in pairwise(cuts)]
    slow = [oid for part in parts for q in conflated(part) for oid in fired(book.take(q, 0, 60))]
    assert len(slow) == len(set(slow))
    assert set(slow) == set(reference(orders, quotes))


@given(ASKED, TICKS)
def test_a_reader_that_fell_behind_for_short_fires_the_same_and_on_young_ticks(
    asked: list[Asked], ticks: list[tuple[Kind, int]]
) -> None:
    orders, quotes = orders_of(asked), quotes_of(ticks)
    now_ns = SHORT_NS
    newest = {each.ticks[0].kind: each.ticks[0] for each in quotes}
    again = quote(*(structs.replace(t, seen_ns=now_ns) for t in newest.values()))
    book = watched(*orders)
    late = [d for q in conflated(quotes) for d in book.take(q, now_ns, now_ns)]
    young = book.take(again, now_ns, now_ns)
    assert late == []
    assert set(fired(young)) == set(reference(orders, quotes))


# Cost.


class Counted(float):
    """A price that counts what it is compared with."""

    comparisons = 0

    def __rmul__(self, sign: float) -> "Counted":
        return Counted(float(self) * sign)

    def __le__(self, other: float) -> bool:
        Counted.comparisons += 1
        return float(self) <= other


def comparisons(resting: int, price: float) -> tuple[int, int]:
    """How many comparisons a trade costs among so many orders, and what it fires."""
    sides = [("buy", "above", 100), ("buy", "below", -100), ("sell", "above", 100)]
    book = watched(
        *(
            order(f"{side}{when}{n}", str(start + start // 100 * n), side=side, when=when)
            for side, when, start in sides
            for n in range(resting)
        )
    )
    Counted.comparisons = 0
    decisions = take(book, tick("trade", Counted(price)))
    return Counted.comparisons, len(decisions)


def test_a_tick_that_fires_nothing_costs_the_same_among_ten_thousand_as_among_ten() -> None:
    assert comparisons(10_000, 0.0) == comparisons(10, 0.0) == (3, 0)


def test_a_tick_costs_a_comparison_for_each_that_it_fires_and_no_more_among_many() -> None:
    assert comparisons(10_000, 104.0) == comparisons(10, 104.0) == (3 + 10, 10)


class Instant(int):
    """A time that counts what it is compared with."""

    comparisons = 0

    def __neg__(self) -> "Instant":
        return Instant(-int(self))

    def __lt__(self, other: int) -> bool:
        Instant.comparisons += 1
        return int(self) < int(other)

    def __eq__(self, other: object) -> bool:
        Instant.comparisons += 1
        return int(self) == other

    __hash__ = int.__hash__


def test_taking_out_ten_thousand_that_end_at_once_compares_each_with_a_few() -> None:
    ends_ns = Instant(9)
    book = watched(*(order(str(n), when="above", expires_ns=ends_ns) for n in range(10_000)))
    Instant.comparisons = 0
    assert all(book.disarm(str(n)) for n in range(10_000))
    assert Instant.comparisons <= 10_000 * 2 * 15  # 2**14 > 10,000; and once more to be sure


def lines(work: Callable[[], object]) -> int:
    """How many lines of Python run, each pass of a loop counted."""
    ran, before = count(), sys.gettrace()

    def trace(frame: FrameType, event: str, arg: object) -> Any:
        next(ran)
        return trace

    sys.settrace(trace)
    try:
        work()
    finally:
        sys.settrace(before)
    return next(ran)


def rest(book: DarkBook) -> None:
    """Nothing happens to what is in the book."""


def cross(book: DarkBook) -> None:
    """All is crossed while the market is not live."""
    book.take_state(state("stale"))
    assert take(book, tick("ask", 100.0)) == []


def fall_due(book: DarkBook) -> None:
    """All was crossed in a short gap, and no young tick came yet."""
    book.take_state(state("live", 1))
    assert book.returned(0, [missed(90, 110)], 0, 0) == []


def lines_to_take_out(resting: int, happens: Callable[[DarkBook], None]) -> int:
    """What it takes to take out all of so many at one price, the oldest first."""
    book = watched(*(order(str(n), when="above") for n in range(resting)))
    happens(book)
    assert len(book) == resting
    return lines(lambda: [book.disarm(str(n)) for n in range(resting)])


@pytest.mark.parametrize("happens", [rest, cross, fall_due])
def test_taking_out_all_at_one_price_costs_no_more_for_each_of_many(
    happens: Callable[[DarkBook], None],
) -> None:
    assert lines_to_take_out(1_000, happens) < 2 * 100 * lines_to_take_out(10, happens)


# What is sent.


@pytest.mark.parametrize(
    ("tick_size", "side", "trigger", "price", "sent"),
    [
        ("0.25", "buy", "15000", 15000.25, "15001.50"),
        ("0.25", "sell", "15000", 14999.75, "14998.50"),
        ("0.00001", "buy", "1.08450", 1.08453, "1.08458"),
        ("0.00001", "sell", "1.08450", 1.08447, "1.08442"),
        ("0.05", "buy", "10.00", 10.0, "10.05"),
        ("0.05", "sell", "10.00", 10.0, "9.95"),
        ("0.05", "buy", "100.00", 100.15, "100.40"),
        ("0.25", "buy", "100", 105.0, "100.50"),
        ("0.25", "sell", "100", 95.0, "99.50"),
        ("1", "buy", "100", 100.0, "100"),
        ("0.01", "buy", "-37.63", -37.6, "-37.55"),
        ("0.01", "sell", "-37.63", -37.8, "-37.81"),
        ("0.01", "sell", "0.01", 0.01, "0.01"),
    ],
)
def test_a_triggered_order_goes_out_some_ticks_past_the_tick_within_its_per_cent(
    tick_size: str, side: str, trigger: str, price: float, sent: str
) -> None:
    asked = order(trigger=trigger, side=side)
    assert price_to_send(market(tick_size), asked, price) == Decimal(sent)


BANDS = (("0", "0.0001"), ("1", "0.005"), ("9.99", "0.03"), ("50", "0.25"))


@pytest.mark.parametrize(
    ("side", "price", "sent"),
    [
        ("buy", 0.9999, "1"),
        ("buy", 9.985, "9.99"),
        ("sell", 9.99, "9.84"),
        ("sell", 9.995, "9.845"),
        ("sell", 51.24, "50"),
        ("buy", 49.98, "50"),
        ("sell", 50.0, "48.75"),
    ],
)
def test_a_price_that_leaves_its_band_is_on_the_grid_of_the_band_it_enters(
    side: str, price: float, sent: str
) -> None:
    asked = order(trigger=str(price), side=side, slip_max_pct=Decimal(10))
    assert price_to_send(market("0.0001", BANDS), asked, price) == Decimal(sent)


@pytest.mark.parametrize(("side", "price", "sent"), [("sell", 9.95, "12"), ("buy", 11.0, "9.9")])
def test_a_band_that_begins_off_its_own_grid_is_entered_at_its_first_step(
    side: str, price: float, sent: str
) -> None:
    asked = order(trigger=str(price), side=side, slip_ticks=0)
    assert price_to_send(market("0.1", [("10", "3")]), asked, price) == Decimal(sent)


def step_at(where: Market, price: Decimal) -> Decimal:
    under = [band.price_tick for band in where.price_bands if band.from_price <= price]
    return under[-1] if under else where.price_tick


GRIDS = [
    market("0.25"),
    market("0.00001"),
    market("0.05"),
    market("0.0001", BANDS),
    market("0.1", [("10", "3"), ("11", "0.7"), ("11.5", "5")]),
]


@given(
    st.sampled_from(GRIDS),
    st.sampled_from(["buy", "sell"]),
    st.decimals("0.01", 70, places=5),
    st.integers(-100, 100),
    st.integers(0, 20),
    st.decimals(0, 5, places=2),
)
def test_what_is_sent_is_on_the_grid_and_within_both_bounds_and_nothing_nearer_to_them_is(
    where: Market, side: str, trigger: Decimal, away: int, slip_ticks: int, pct: Decimal
) -> None:
    shown = trigger + away * step_at(where, trigger)
    asked = order(trigger=trigger, side=side, slip_ticks=slip_ticks, slip_max_pct=pct)
    sent = price_to_send(where, asked, float(shown))
    assert sent is not None
    sign = 1 if side == "buy" else -1
    by_ticks = sign * Fraction(shown) + slip_ticks * Fraction(step_at(where, shown))
    by_pct = sign * Fraction(trigger) + Fraction(trigger) * Fraction(pct) / 100
    bound = min(by_ticks, by_pct)
    assert Fraction(sent) % Fraction(step_at(where, sent)) == 0
    assert sign * Fraction(sent) <= bound
    assert not any(
        sign * Fraction(sent) < sign * other <= bound for other in grid_near(where, sent)
    )


def grid_near(where: Market, price: Decimal) -> Iterator[Fraction]:
    """The prices on the grid around this one, band by band."""
    starts = [Decimal("-Infinity"), *(band.from_price for band in where.price_bands)]
    ends = [*starts[1:], Decimal("Infinity")]
    steps = [where.price_tick, *(band.price_tick for band in where.price_bands)]
    for start, end, step in zip(starts, ends, steps, strict=True):
        for around in (start, end, price):
            if around.is_finite():
                middle = around // step
                near = ((middle + n) * step for n in range(-3, 4))
                yield from (Fraction(each) for each in near if start <= each < end)


# Session time.


@pytest.mark.parametrize(
    ("since_ns", "until_ns", "open_ns"),
    [(0, 10, 0), (5, 15, 5), (12, 18, 6), (15, 35, 10), (0, 99, 20), (20, 30, 0), (18, 12, 0)],
)
def test_only_session_time_is_unwatched(since_ns: int, until_ns: int, open_ns: int) -> None:
    sessions = (Session(open_ns=10, close_ns=20), Session(open_ns=30, close_ns=40))
    assert session_time_ns(sessions, since_ns, until_ns) == open_ns


def test_a_market_that_is_always_open_is_unwatched_all_the_time() -> None:
    assert session_time_ns(None, 3, 10) == 7
    assert session_time_ns((), 3, 10) == 0


def test_the_bounds_are_those_of_the_design() -> None:
    assert triggers.MAX_TICK_AGE_NS == 5 * SECOND
    assert triggers.GAP_GRACE_NS == 60 * SECOND
