"""What is told of orders, from what a gateway says of them: in any order, twice, and with holes.

The sequences are those that were seen of real gateways, and the codes those of IB's own table.
"""

from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from piker.brokers.ib.messages import (
    Commission,
    Contract,
    Done,
    EndedOrder,
    Notice,
    OrderIs,
    PlaceOrder,
    StatusIs,
)
from piker.brokers.ib.orderstate import GRACE_NS, KEPT, Amendment, Orders, OrderWord, Word
from piker.core.lifecycle import replay
from piker.orders import (
    Acked,
    AmendAcked,
    AmendRefused,
    BrokerEvent,
    Cancelled,
    CancelRefused,
    Execution,
    Filled,
    Life,
    Order,
    Refused,
    Sending,
    Submitted,
    VenueExpired,
)

CLIENT, ORDER_ID, PERM_ID = 1, 29, 2138440195
VENUE_ID = str(PERM_ID)
NUMBER = "DU1234567"
RZ3 = Contract(con_id=623496135, symbol="R", sec_type="FUT", exchange="ICEEU", currency="GBP")
PRICE, OTHER = Decimal("96.79"), Decimal("96.8")
WALL_NS = 1_800_000_000 * 10**9
ROOT = "0000e0d5.69e042cf.01"


def opened(status: str, **changed: Any) -> OrderIs:
    return OrderIs(
        **{
            "order_id": ORDER_ID,
            "client_id": CLIENT,
            "perm_id": PERM_ID,
            "ref": "o-1",
            "account": NUMBER,
            "contract": RZ3,
            "side": "BUY",
            "size": Decimal(2),
            "order_type": "LMT",
            "limit": PRICE,
            "tif": "GTC",
            "status": status,
            "reason": "",
            **changed,
        }
    )


def status(name: str, filled: int = 0, **changed: Any) -> StatusIs:
    return StatusIs(
        **{
            "order_id": ORDER_ID,
            "client_id": CLIENT,
            "perm_id": PERM_ID,
            "status": name,
            "filled": Decimal(filled),
            "remaining": Decimal(2 - filled),
            "average": None,
            "why_held": "",
            **changed,
        }
    )


def done(number: int = 1, size: int = 2, correction: int = 1, **changed: Any) -> Done:
    return Done(
        **{
            "number": -1,
            "order_id": ORDER_ID,
            "client_id": CLIENT,
            "perm_id": PERM_ID,
            "ref": "o-1",
            "exec_id": f"{ROOT[:-2]}{number:02}.{correction:02}",
            "time_ns": number * 10**9,
            "account": NUMBER,
            "contract": RZ3,
            "side": "BOT",
            "size": Decimal(size),
            "price": PRICE,
            "total": Decimal(size),
            **changed,
        }
    )


def cost(number: int = 1, correction: int = 1, amount: str | None = "1.7") -> Commission:
    exec_id = f"{ROOT[:-2]}{number:02}.{correction:02}"
    fee = None if amount is None else Decimal(amount)
    return Commission(exec_id=exec_id, amount=fee, currency="GBP", realised=None)


def notice(code: int, text: str = "said so") -> Notice:
    return Notice(number=ORDER_ID, code=code, text=text)


def ended(state: str, reason: str = "") -> EndedOrder:
    return EndedOrder(
        perm_id=PERM_ID,
        ref="o-1",
        account=NUMBER,
        contract=RZ3,
        side="BUY",
        size=Decimal(2),
        filled=None,
        status=state,
        ended="",
        reason=reason,
    )


def an_order() -> PlaceOrder:
    return PlaceOrder(
        contract=RZ3,
        ref="o-1",
        account=NUMBER,
        side="BUY",
        size=Decimal(2),
        limit=PRICE,
        tif="GTC",
    )


def placed() -> Orders:
    """One order was sent."""
    orders = Orders(CLIENT)
    orders.place(ORDER_ID, an_order())
    return orders


def heard(orders: Orders, *said: OrderWord) -> list[BrokerEvent]:
    """All that is told of these words, once nothing waits any more."""
    words = [word for each in said for word in orders.take(each, 0, WALL_NS)]
    return [word.event for word in [*words, *orders.due(GRACE_NS)]]


def execution(revision: int, fee: str, price: Decimal = PRICE) -> Execution:
    return Execution(
        exec_id=ROOT,
        revision=revision,
        oid="o-1",
        venue_id=VENUE_ID,
        account=NUMBER,
        market="",
        side="buy",
        size=Decimal(2),
        price=price,
        fee=Decimal(fee),
        fee_currency="GBP",
        time_ns=10**9,
    )


REASON = "Order Canceled - reason:"
REST = (opened("PreSubmitted"), status("PreSubmitted"), opened("Submitted"), status("Submitted"))
SEQUENCES: dict[str, tuple[OrderWord, ...]] = {
    "filled at the market": (
        opened("Submitted"),
        status("Submitted"),
        done(),
        opened("Filled"),
        status("Filled", 2),
        opened("Filled"),
        status("Filled", 2),
        cost(),
    ),
    "a status before any order, and never Submitted": (
        status("PreSubmitted"),
        done(),
        opened("PreSubmitted"),
        status("Filled", 2),
        cost(),
    ),
    "filled in two parts": (*REST, done(1, 1), cost(1), done(2, 1), cost(2), status("Filled", 2)),
    "rests": REST,
    "cancelled": (*REST, status("PendingCancel"), status("Cancelled"), notice(202, REASON)),
    "cancelled by another client": (
        *REST,
        status("Cancelled", client_id=0),
        notice(202, REASON),
    ),
    "cancelled in part, and filled after": (
        *REST,
        done(1, 1),
        status("Cancelled", 1),
        notice(202, f"{REASON}by its owner"),
        done(2, 1),
        cost(1),
        cost(2),
    ),
    "rejected": (notice(201, "Order rejected - reason:no funds"), status("Inactive")),
    "rejected, and listed as inactive": (
        opened("Inactive", perm_id=0),
        status("Inactive", perm_id=0),
        notice(201, "Order rejected - reason:no funds"),
    ),
    "rejected late": (*REST, notice(201, "Order rejected - reason:late"), status("Inactive")),
    "corrected": (*REST, done(), cost(), done(correction=2, price=OTHER), cost(correction=2)),
    "corrected at no cost": (*REST, done(), cost(), done(correction=2, price=OTHER)),
    "no permId at first": (opened("PreSubmitted", perm_id=0), *REST),
}
ADVICE = [165, 399, 404, 434, 492, 2100, 2109, 2148, 10349, 99999]
"""Said of an order that stays as it is; and one that nobody knows."""


def sum_of(events: Iterable[BrokerEvent]) -> Life:
    """What all of it comes to, for who keeps the order."""
    order = Order(
        oid="o-1",
        account="ib.main",
        market="r.iceeu.ib",
        side="buy",
        size=Decimal(2),
        kind="limit",
        limit=PRICE,
    )
    sent = Sending(size=Decimal(2), limit=PRICE, not_after_ns=1)
    return replay([Submitted(order=order), sent, *events])


def essence(name: str, events: Sequence[BrokerEvent]) -> dict[str, object]:
    """What counts of the sum. Less of what is told in an order of its own."""
    life = sum_of(events)
    found: dict[str, object] = {
        "state": life.state,
        "executions": life.executions,
        "ids": set(life.venue_ids),
        "gone": set(life.gone),
        "reason": life.reason,
        "told": sorted(type(each).__name__ for each in events if not isinstance(each, Filled)),
    }
    return {what: each for what, each in found.items() if what not in TOLD_OTHERWISE.get(name, ())}


TOLD_OTHERWISE = {
    "cancelled in part, and filled after": {"reason"},  # that fills came after it, if they did
    "rejected late": {"gone", "reason"},  # what is seen after that is cancelled once more
}
few = settings(max_examples=60)


@pytest.mark.parametrize("name", SEQUENCES)
@few
@given(data=st.data())
def test_the_sum_is_the_same_in_any_order_with_repeats_and_advice(
    name: str, data: st.DataObject
) -> None:
    sequence = SEQUENCES[name]
    advice = data.draw(st.lists(st.sampled_from(ADVICE).map(notice), max_size=3))
    repeats = data.draw(st.lists(st.sampled_from(sequence), max_size=5))
    said = data.draw(st.permutations([*sequence, *repeats, *advice]))
    events, expected = heard(placed(), *said), heard(placed(), *sequence)
    assert essence(name, events) == essence(name, expected)


@pytest.mark.parametrize("name", SEQUENCES)
@few
@given(data=st.data())
def test_what_was_lost_is_told_by_the_lists_and_nothing_else_is(
    name: str, data: st.DataObject
) -> None:
    sequence = SEQUENCES[name]
    said = data.draw(st.lists(st.sampled_from(sequence), unique_by=id))
    lists = [each for each in sequence if isinstance(each, Done | Commission)]
    events, whole = heard(placed(), *said, *lists), heard(placed(), *sequence)
    assert sum_of(events).executions == sum_of(whole).executions
    assert {type(each) for each in events} <= {type(each) for each in whole}


EXPECTED: dict[str, list[BrokerEvent]] = {
    "filled at the market": [
        Acked(venue_id=VENUE_ID),
        Filled(execution=execution(0, "1.7")),
    ],
    "rests": [Acked(venue_id=VENUE_ID)],
    "cancelled": [Acked(venue_id=VENUE_ID), Cancelled(venue_id=VENUE_ID)],
    "rejected": [Refused(reason="Order rejected - reason:no funds (201)")],
    "rejected late": [
        Acked(venue_id=VENUE_ID),
        Refused(reason="Order rejected - reason:late (201)"),
    ],
    "corrected": [
        Acked(venue_id=VENUE_ID),
        Filled(execution=execution(0, "1.7")),
        Filled(execution=execution(3, "1.7", OTHER)),
    ],
    "corrected at no cost": [
        Acked(venue_id=VENUE_ID),
        Filled(execution=execution(0, "1.7")),
        Filled(execution=execution(2, "1.7", OTHER)),
    ],
}


@pytest.mark.parametrize("name", EXPECTED)
def test_what_was_seen_of_gateways_is_told_so(name: str) -> None:
    assert heard(placed(), *SEQUENCES[name]) == EXPECTED[name]


# --- what is evidence, and what is none


@pytest.mark.parametrize(
    "name", ["PendingSubmit", "ApiPending", "PendingCancel", "Inactive", "Odd"]
)
def test_a_status_that_may_be_a_guess_tells_nothing(name: str) -> None:
    assert heard(placed(), opened(name), status(name)) == []


@pytest.mark.parametrize("name", ["Cancelled", "ApiCancelled"])
def test_an_end_without_a_reason_is_told_after_a_while(name: str) -> None:
    orders = placed()
    assert orders.take(status(name), 0, WALL_NS) == []
    assert orders.next_at == GRACE_NS
    assert [word.event for word in orders.due(GRACE_NS)] == [Cancelled(venue_id=VENUE_ID)]


def test_an_end_because_its_time_is_over_is_told_as_that() -> None:
    said = (status("Cancelled"), notice(202, f"{REASON}Order expired"))
    assert heard(placed(), *said) == [VenueExpired(venue_id=VENUE_ID)]


def test_inactive_alone_ends_nothing_until_the_list_of_completed_orders_does() -> None:
    orders = placed()
    assert heard(orders, *REST, status("Inactive")) == [Acked(venue_id=VENUE_ID)]
    assert heard(orders, ended("Inactive", "no shares")) == [Refused(reason="no shares")]


def test_an_end_that_only_a_list_tells_is_told() -> None:
    orders = placed()
    heard(orders, *REST)
    expected = Cancelled(venue_id=VENUE_ID, reason="by its owner")
    assert heard(orders, ended("Cancelled", "by its owner")) == [expected]
    assert heard(orders, ended("Cancelled", "by its owner")) == []


def test_a_fill_after_a_cancel_is_told_all_the_same() -> None:
    orders = placed()
    heard(orders, *SEQUENCES["cancelled"])
    assert heard(orders, done(), cost()) == [Filled(execution=execution(0, "1.7"))]


def test_two_perm_ids_of_one_order_are_two_ids_at_the_venue() -> None:
    orders = placed()
    events = heard(orders, *REST, opened("Submitted", perm_id=7))
    assert events == [Acked(venue_id=VENUE_ID), Acked(venue_id="7")]
    events = heard(orders, status("Cancelled", perm_id=7), notice(202, f"{REASON}doubled"))
    assert events == [Cancelled(venue_id="7", reason="it was cancelled (202: doubled)")]
    assert not orders.find("o-1")[0].over


def test_who_else_cancelled_an_order_gives_its_end_another_client_id() -> None:
    cancelled = status("Cancelled", client_id=0)
    ends = [Acked(venue_id=VENUE_ID), Cancelled(venue_id=VENUE_ID)]
    assert heard(placed(), *REST, cancelled) == ends
    assert heard(placed(), cancelled, *REST) == ends


def test_an_end_that_was_told_without_an_id_is_not_told_with_one() -> None:
    orders = placed()
    assert heard(orders, status("Cancelled", perm_id=0)) == [Cancelled()]
    assert heard(orders, opened("Cancelled"), status("Cancelled")) == []


def test_a_fill_whose_time_cannot_be_read_was_done_when_it_was_first_told() -> None:
    orders = placed()
    heard(orders, done(time_ns=None), cost())
    orders.take(done(time_ns=None), 0, WALL_NS + 1)
    (word,) = orders.executions(0)
    assert isinstance(word.event, Filled)
    assert word.event.execution.time_ns == WALL_NS


@pytest.mark.parametrize(("told_s", "done_s"), [(1000, 1000), (3599, 1000), (4600, 4600)])
def test_of_a_time_that_comes_twice_a_fill_has_the_one_that_is_not_to_come(
    told_s: int, done_s: int
) -> None:
    orders = placed()
    twice = done(time_ns=1000 * 10**9, latest_ns=4600 * 10**9)
    orders.take(twice, 0, told_s * 10**9)
    (word,) = orders.executions(0)
    assert isinstance(word.event, Filled)
    assert word.event.execution.time_ns == done_s * 10**9


def test_a_foreign_order_has_no_reference_and_nothing_but_its_fills_is_told() -> None:
    orders = Orders(CLIENT)
    foreign: dict[str, Any] = {"client_id": 7, "ref": "theirs"}
    words = orders.take(opened("Submitted", **foreign), 0, WALL_NS)
    words += [*orders.take(done(**foreign), 0, WALL_NS), *orders.take(cost(), 0, WALL_NS)]
    assert {word.oid for word in words} == {""}
    assert orders.oid_of(7, "theirs") == ""


def test_orders_by_hand_are_told_apart_by_their_perm_ids() -> None:
    orders = Orders(CLIENT)
    for perm_id in (7, 8):
        heard(orders, opened("Submitted", client_id=0, order_id=0, perm_id=perm_id, ref=""))
    assert [each.perm_id for each in orders.open()] == [7, 8]


# --- what it cost


def test_a_fill_waits_a_little_for_its_cost_and_is_told_with_it() -> None:
    orders = placed()
    assert [type(word.event) for word in orders.take(done(), 0, WALL_NS)] == [Acked]
    (word,) = orders.take(cost(), 1, WALL_NS)
    assert word.event == Filled(execution=execution(0, "1.7"))
    assert orders.next_at is None


@pytest.mark.parametrize("never", [(), (cost(amount=None),)])
def test_a_fill_whose_cost_does_not_come_is_told_without(never: tuple[Commission, ...]) -> None:
    events = heard(placed(), *REST, done(), *never)
    assert events[1:] == [Filled(execution=execution(-2, "0"))]


def test_a_cost_that_comes_late_replaces_the_fill_without() -> None:
    orders = placed()
    heard(orders, *REST, done())
    events = heard(orders, cost())
    assert events == [Filled(execution=execution(0, "1.7"))]


def test_a_fill_that_is_told_again_is_told_once() -> None:
    orders = placed()
    heard(orders, *SEQUENCES["filled at the market"])
    assert heard(orders, replace(done(), number=1_500_000_001), cost()) == []


def test_a_fill_that_waits_for_its_cost_is_told_before_the_end_of_its_order() -> None:
    said = (*REST, done(size=1), status("Cancelled", 1), notice(202, REASON))
    words = [
        word for orders in [placed()] for each in said for word in orders.take(each, 0, WALL_NS)
    ]
    assert [type(word.event) for word in words] == [Acked, Filled, Cancelled]


# --- amendments


def amending() -> Orders:
    """An order that rests, and an amendment of it that was sent."""
    orders = placed()
    heard(orders, *REST)
    orders.amend(orders.find("o-1")[0], Amendment(n=1, size=Decimal(5), limit=PRICE))
    return orders


def test_an_amendment_is_in_effect_when_the_order_is_shown_so() -> None:
    orders = amending()
    assert heard(orders, status("Submitted"), opened("Submitted")) == []
    acked = AmendAcked(n=1, size=Decimal(5), limit=PRICE)
    shown = opened("Submitted", size=Decimal(5))
    assert heard(orders, shown, shown, status("Submitted")) == [acked]


@pytest.mark.parametrize("guess", ["PendingSubmit", "ApiPending", "PendingCancel"])
def test_an_amendment_that_the_gateway_only_repeats_is_not_in_effect(guess: str) -> None:
    orders = amending()
    assert heard(orders, opened(guess, size=Decimal(5))) == []
    events = heard(orders, notice(201, "Order rejected - reason:no funds"))
    assert [type(each) for each in events] == [AmendRefused]


NOT_AMENDED = [103, 104, 105, 106, 109, 110, 111, 116, 134, 135, 201, 203, 320, 321, 329, 388]


@pytest.mark.parametrize("code", NOT_AMENDED)
def test_a_refused_amendment_leaves_the_order_as_it_was(code: int) -> None:
    orders = amending()
    events = heard(orders, notice(code), notice(code))
    assert events == [AmendRefused(n=1, reason=events[0].reason)]  # type: ignore[union-attr]
    assert str(code) in events[0].reason  # type: ignore[union-attr]
    assert [each.oid for each in orders.open()] == ["o-1"]


def test_what_refused_an_amendment_does_not_make_inactive_an_end() -> None:
    orders = amending()
    heard(orders, notice(201), notice(201))
    assert heard(orders, status("Inactive")) == []


def test_an_amendment_that_is_refused_in_two_ways_does_not_make_inactive_an_end() -> None:
    orders = amending()
    events = heard(orders, notice(110, "off the grid"), notice(321, "can't be"))
    assert [type(each) for each in events] == [AmendRefused]
    assert heard(orders, status("Inactive")) == []


def test_what_was_asked_before_the_connection_was_lost_is_answered_no_more() -> None:
    orders = amending()
    orders.lose()
    assert heard(orders, notice(104), notice(10147)) == []


# --- codes


REJECTED = [103, 105, 106, 109, 110, 111, 116, 133, 200, 201, 203, 320, 321, 329, 387, 388, 392]
REJECTED += [10243, 10318]
NO_VERDICT = [1100, 2110, 100, 162, 354, 366, 10197, 99999]
CANCEL_REFUSED = [135, 136, 161, 10147, 10148, 10149]


@pytest.mark.parametrize("code", REJECTED)
def test_what_refuses_a_new_order_does_so_once(code: int) -> None:
    events = heard(placed(), notice(code), notice(code))
    assert [type(each) for each in events] == [Refused]
    assert str(code) in events[0].reason  # type: ignore[union-attr]


@pytest.mark.parametrize("code", [*REJECTED, *NO_VERDICT, *ADVICE])
def test_no_code_but_that_of_a_cancel_ends_what_was_there(code: int) -> None:
    orders = placed()
    heard(orders, *REST)
    assert heard(orders, notice(code)) == []


@pytest.mark.parametrize("code", [*NO_VERDICT, *ADVICE])
def test_what_nobody_knows_and_advice_end_no_new_order(code: int) -> None:
    assert heard(placed(), notice(code)) == []


@pytest.mark.parametrize("code", CANCEL_REFUSED)
def test_a_refused_cancel_is_told_once_if_one_was_asked_for(code: int) -> None:
    orders = placed()
    heard(orders, *REST)
    assert heard(orders, notice(code)) == []
    orders.find("o-1")[0].cancelling = True
    events = heard(orders, notice(code), notice(code))
    assert [type(each) for each in events] == [CancelRefused]


# --- former runs


def test_an_order_of_a_former_run_is_adopted_by_its_reference_and_perm_id() -> None:
    orders = Orders(CLIENT)
    assert heard(orders, opened("Submitted"), status("Submitted")) == [Acked(venue_id=VENUE_ID)]
    (adopted,) = orders.find("", [VENUE_ID])
    assert (adopted.oid, adopted.order_id, adopted.asked) == ("o-1", ORDER_ID, an_order())
    assert orders.highest_id == ORDER_ID


def test_the_highest_id_is_of_orders_and_executions_of_this_client() -> None:
    orders = Orders(CLIENT)
    heard(orders, opened("Submitted"), done(order_id=31, perm_id=8))
    heard(orders, opened("Submitted", client_id=7, order_id=1000, perm_id=9))
    assert orders.highest_id == 31


def test_what_did_not_leave_is_as_if_it_had_never_been() -> None:
    orders = placed()
    orders.unplace(ORDER_ID)
    assert not orders.is_known("o-1")
    assert orders.open() == []


def test_a_reference_of_a_completed_order_is_known() -> None:
    orders = Orders(CLIENT)
    heard(orders, ended("Filled"))
    assert orders.is_known("o-1")


def test_orders_that_are_over_are_forgotten_before_any_that_is_open() -> None:
    orders = Orders(CLIENT)
    for number in range(KEPT + 10):
        state = "Submitted" if number == 3 else "Cancelled"
        shown = opened(state, order_id=number + 1, perm_id=number + 1, ref=f"o-{number}")
        heard(orders, shown)
    assert orders.find("", ["1", "5"]) == []
    assert [each.oid for each in orders.find("", ["4", "20"])] == ["o-3", "o-19"]


def test_an_open_order_is_found_by_its_reference_however_many_came_after_it() -> None:
    orders = placed()
    for number in range(KEPT + 10):
        heard(orders, replace(ended("Filled"), ref=f"o-{number + 2}", perm_id=number + 1))
    assert [each.oid for each in orders.find("o-1")] == ["o-1"]
    assert not orders.is_known("o-2")


def test_executions_are_given_in_their_newest_revisions_oldest_first() -> None:
    orders = placed()
    heard(orders, done(2, 1), done(1, 1), done(1, 1, correction=2))
    words: list[Word] = orders.executions(0)
    done_by = [each.event.execution for each in words]  # type: ignore[union-attr]
    assert [(each.exec_id[-2:], each.revision) for each in done_by] == [("01", 1), ("02", -2)]
    assert len(orders.executions(2 * 10**9)) == 1
