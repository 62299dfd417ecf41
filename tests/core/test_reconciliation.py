"""What a venue's lists say about our orders and positions, and what no venue can say."""

from decimal import Decimal
from typing import Any

import pytest
from msgspec.structs import replace

from piker.accounts import Balance
from piker.core.lifecycle import apply, replay
from piker.core.reconciliation import (
    differences,
    findings,
    foreign,
    mentioned,
    missing,
    strangers,
    why_no_execution,
    why_no_snapshot,
    why_unfit,
)
from piker.interfaces.broker import EndedOrder, Holding, OpenOrder, SnapshotReply
from piker.orders import (
    Absent,
    Acked,
    AmendAcked,
    AmendAsked,
    CancelAsked,
    Cancelled,
    Execution,
    Filled,
    Life,
    LinkLost,
    Listed,
    Order,
    OrderEvent,
    Refused,
    Sending,
    Submitted,
    VenueExpired,
)

ASKED_NS = 100
ORDER = Order(
    oid="1",
    account="sim.main",
    market="a.b.sim",
    side="buy",
    size=Decimal(3),
    kind="limit",
    limit=Decimal("1.25"),
)
SENT = Sending(size=Decimal(3), limit=Decimal("1.25"), not_after_ns=50)
ACKED = Acked(venue_id="v1")
LISTED = OpenOrder(
    oid="1",
    venue_id="v1",
    account="sim.main",
    market="a.b.sim",
    side="buy",
    size=Decimal(3),
    filled=Decimal(0),
    limit=Decimal("1.25"),
)
FILL = Execution(
    exec_id="e1",
    oid="1",
    venue_id="v1",
    account="sim.main",
    market="a.b.sim",
    side="buy",
    size=Decimal(1),
    price=Decimal("1.25"),
    fee=Decimal(0),
    fee_currency="USD",
    time_ns=9,
)
ABSENT = ("1", Absent(asked_ns=ASKED_NS))


def life(*events: OrderEvent) -> Life:
    """An order of which this happened since it was submitted."""
    return replay([Submitted(order=ORDER), *events])


def lists(**said: Any) -> SnapshotReply:
    """A snapshot of nothing but this."""
    nothing: dict[str, Any] = dict.fromkeys(("orders", "ended", "executions", "holdings"), ())
    return SnapshotReply(asked_ns=ASKED_NS, **(nothing | said))


def found(known: Life, heard: bool = False, proves: bool = True, **said: Any) -> list[Any]:
    """What lists say of one order."""
    return list(findings(lists(**said), {"1": known}, lambda oid: heard, absence_proves=proves))


def ended(outcome: Any, venue_id: str = "v1") -> EndedOrder:
    return EndedOrder(oid="1", venue_id=venue_id, outcome=outcome, reason="so")


OPEN = life(SENT, ACKED)
UNKNOWN = life(SENT, LinkLost())


# --- absence


@pytest.mark.parametrize(
    ("known", "expected"),
    [
        (life(), []),
        (life(SENT), []),
        (OPEN, [ABSENT]),
        (UNKNOWN, [ABSENT]),
        (life(SENT, Refused(reason="no")), []),
    ],
    ids=lambda each: each.state if isinstance(each, Life) else "",
)
def test_only_what_is_open_or_unknown_can_be_absent(known: Life, expected: list[Any]) -> None:
    assert found(known) == expected


@pytest.mark.parametrize(
    ("known", "expected"),
    [
        (life(SENT), []),
        (OPEN, [("1", Absent(asked_ns=ASKED_NS, proves=False))]),
        (UNKNOWN, []),
        (life(SENT, Refused(reason="no")), []),
    ],
    ids=lambda each: each.state if isinstance(each, Life) else "",
)
def test_where_absence_proves_nothing_what_is_open_is_doubtful_at_the_second_look(
    known: Life, expected: list[Any]
) -> None:
    nothing = lists()
    missed = set(missing(nothing, {"1": known}, lambda oid: False))
    said = findings(nothing, {"1": known}, lambda oid: False, absence_proves=False, missed=missed)
    assert list(said) == expected


def test_what_was_listed_meanwhile_or_heard_of_was_not_missed() -> None:
    assert missing(lists(orders=(LISTED,)), {"1": OPEN}, lambda oid: False) == []
    assert missing(lists(), {"1": OPEN}, lambda oid: True) == []


def test_absence_says_nothing_where_it_proves_nothing() -> None:
    assert found(UNKNOWN, proves=False) == []


def test_lists_say_nothing_of_absence_or_presence_once_the_venue_has_spoken_since() -> None:
    assert found(UNKNOWN, heard=True) == []
    assert found(UNKNOWN, heard=True, orders=(LISTED,)) == []


@pytest.mark.parametrize(("size", "took_effect"), [(2, True), (5, False)])
def test_of_one_that_was_filled_the_total_says_whether_an_amendment_took_effect(
    size: int, took_effect: bool
) -> None:
    asked = AmendAsked(n=1, size=Decimal(size), limit=Decimal("1.25"), not_after_ns=50)
    before = (SENT, ACKED, asked, Filled(execution=FILL), LinkLost())
    more = replace(FILL, exec_id="e2", size=Decimal(1 if took_effect else 2))
    said = found(life(*before), ended=(ended("filled"),), executions=(more,))
    after = life(*before, *(event for _, event in said))
    assert (after.state, after.filled) == ("filled", after.size)
    assert bool(after.amended) == took_effect


def test_what_ended_filled_is_not_absent() -> None:
    assert found(UNKNOWN, ended=(ended("filled"),)) == []


def test_executions_come_before_absence() -> None:
    assert found(UNKNOWN, executions=(FILL,)) == [("1", Filled(execution=FILL)), ABSENT]


# --- what is listed


def test_an_unknown_order_that_is_listed_is_told_as_listed() -> None:
    told = Listed(venue_id="v1", size=Decimal(3), limit=Decimal("1.25"), asked_ns=ASKED_NS)
    assert found(UNKNOWN, orders=(LISTED,)) == [("1", told)]


def test_an_order_that_is_as_it_is_listed_is_not_told() -> None:
    assert found(OPEN, orders=(LISTED,)) == []


@pytest.mark.parametrize(
    "known",
    [
        life(SENT),
        life(SENT, Refused(reason="no")),
        life(SENT, ACKED, CancelAsked()),
        life(SENT, ACKED, AmendAsked(n=1, size=Decimal(2), limit=None, not_after_ns=60)),
        life(SENT, Acked(venue_id="v0")),
    ],
    ids=["sending", "rejected", "cancel", "amend", "another id"],
)
def test_a_list_that_says_something_new_is_told(known: Life) -> None:
    assert [type(event) for _, event in found(known, orders=(LISTED,))] == [Listed]


def test_what_is_not_told_would_have_changed_nothing() -> None:
    told = Listed(venue_id="v1", size=Decimal(3), limit=Decimal("1.25"), asked_ns=ASKED_NS)
    assert apply(OPEN, told) == (OPEN, ())


# --- what ended


@pytest.mark.parametrize(
    ("outcome", "event"),
    [
        ("cancelled", Cancelled(venue_id="v1", reason="so")),
        ("expired", VenueExpired(venue_id="v1")),
        ("rejected", Refused(reason="so")),
    ],
)
def test_what_ended_is_told(outcome: str, event: OrderEvent) -> None:
    assert found(OPEN, proves=False, ended=(ended(outcome),)) == [("1", event)]


def test_what_is_known_to_have_ended_is_not_told_again() -> None:
    known = life(SENT, ACKED, Acked(venue_id="v2"), Cancelled(venue_id="v1"))
    assert found(known, proves=False, ended=(ended("cancelled"),)) == []


def test_one_of_two_that_was_rejected_is_not_the_end_of_the_order() -> None:
    known = life(SENT, ACKED, Acked(venue_id="v2"))
    gone = Cancelled(venue_id="v1", reason="so")
    assert found(known, proves=False, ended=(ended("rejected"),)) == [("1", gone)]


# --- others


def test_executions_and_orders_need_their_lives_but_not_what_has_ended() -> None:
    said = lists(
        executions=(FILL, replace(FILL, oid="")),
        orders=(replace(LISTED, oid="2"),),
        ended=(EndedOrder(oid="3", venue_id="v3", outcome="cancelled"),),
    )
    assert mentioned(said) == {"1", "2"}


def test_an_execution_of_no_order_of_ours_is_foreign() -> None:
    by_hand, lost = replace(FILL, oid=""), replace(FILL, oid="9")
    said = lists(executions=(FILL, by_hand, lost))
    assert foreign(said, {"1": OPEN}) == (by_hand, lost)


def test_an_open_order_that_nobody_here_knows_is_a_stranger() -> None:
    by_hand, lost = replace(LISTED, oid=""), replace(LISTED, oid="9")
    said = lists(orders=(LISTED, by_hand, lost))
    assert strangers(said, {"1": OPEN}) == (by_hand, lost)


@pytest.mark.parametrize(
    ("theirs", "ours", "more"),
    [(0, 0, None), (2, 2, None), (5, 2, 3), (-1, 2, -3), (0, 2, -2), (2, 0, 2)],
)
def test_a_difference_is_how_much_more_the_venue_says(
    theirs: int, ours: int, more: int | None
) -> None:
    place = ("sim.main", "a.b.sim")
    holdings = [Holding(account=place[0], market=place[1], size=Decimal(theirs))]
    expected = {} if more is None else {place: Decimal(more)}
    assert differences(holdings, {place: Decimal(ours)}) == expected
    assert differences([], {place: Decimal(0)}) == {}


# --- what no venue can say


@pytest.mark.parametrize(
    "changed",
    [
        {"size": Decimal("NaN")},
        {"size": Decimal(-1)},
        {"size": Decimal("1E+20")},
        {"price": Decimal("Infinity")},
        {"price": Decimal("1E-31")},
        {"price": Decimal("1E+1000000")},
        {"fee": Decimal("sNaN")},
        {"revision": -(2**63) - 1},
        {"revision": 2**63},
        {"time_ns": 2**63},
    ],
    ids=repr,
)
def test_an_execution_that_nobody_can_count_with_is_none(changed: dict[str, Any]) -> None:
    problem = why_no_execution(replace(FILL, **changed))
    assert problem
    assert "e1" in problem


@pytest.mark.parametrize(
    "changed",
    [{}, {"size": Decimal(0)}, {"price": Decimal(-37)}, {"fee": Decimal("-1E-30")}],
    ids=repr,
)
def test_an_execution_may_be_taken_back_or_have_a_price_below_zero(changed: Any) -> None:
    assert why_no_execution(replace(FILL, **changed)) is None


@pytest.mark.parametrize(
    "changed",
    [{"oid": "2"}, {"account": "sim.x"}, {"market": "c.d.sim"}, {"side": "sell"}],
    ids=repr,
)
def test_a_fill_is_of_its_order_or_of_none(changed: dict[str, Any]) -> None:
    assert why_unfit(OPEN, Filled(execution=FILL)) is None
    assert why_unfit(OPEN, Filled(execution=replace(FILL, **changed)))


def test_an_amendment_has_numbers() -> None:
    fits = AmendAcked(n=1, size=Decimal(2), limit=None)
    assert why_unfit(OPEN, fits) is None
    assert why_unfit(OPEN, replace(fits, size=Decimal("NaN")))
    assert why_unfit(OPEN, replace(fits, limit=Decimal("NaN")))
    assert why_unfit(OPEN, ACKED) is None


@pytest.mark.parametrize(
    "said",
    [
        {"orders": (replace(LISTED, size=Decimal("NaN")),)},
        {"orders": (replace(LISTED, limit=Decimal("Infinity")),)},
        {"executions": (replace(FILL, size=Decimal("NaN")),)},
        {"holdings": (Holding(account="a", market="m", size=Decimal("NaN")),)},
        {"balances": (Balance(account="a", currency="USD", asked_ns=1, cash=Decimal("NaN")),)},
    ],
    ids=lambda said: next(iter(said)),
)
def test_lists_have_numbers(said: dict[str, Any]) -> None:
    assert why_no_snapshot(lists(**said))
    assert why_no_snapshot(lists(orders=(LISTED,), executions=(FILL,))) is None
