"""An order's life: each row of the table, and whatever a venue may say, in any order."""

from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from msgspec import json
from msgspec.structs import replace

from piker.core.lifecycle import TABLE, NotNow, apply, begin, replay, why_not
from piker.orders import (
    CLOSED,
    NOTHING,
    Absent,
    Acked,
    AmendAcked,
    AmendAsked,
    AmendRefused,
    Armed,
    CancelAsked,
    CancelAtVenue,
    Cancelled,
    CancelRefused,
    Consequence,
    Corrected,
    Doubled,
    Execution,
    Expired,
    Filled,
    Held,
    LateFill,
    Life,
    LinkLost,
    Listed,
    Order,
    OrderEvent,
    OrderKind,
    OrderState,
    Outcome,
    Refused,
    Resolved,
    Sending,
    Silence,
    Submitted,
    Triggered,
    VenueEvent,
    VenueExpired,
)

FOUR, TEN = Decimal(4), Decimal(10)
PRICE = Decimal("1.2")
NOT_AFTER = 5


def order(kind: OrderKind = "limit") -> Submitted:
    size = Decimal(0) if kind == "alert" else TEN
    return Submitted(
        order=Order(
            oid="o",
            account="sim.main",
            market="eurusd.spot.sim",
            side="buy",
            size=size,
            kind=kind,
            limit=PRICE,
        )
    )


def execution(exec_id: str, size: int, venue_id: str = "A", revision: int = 0) -> Filled:
    return Filled(
        execution=Execution(
            exec_id=exec_id,
            revision=revision,
            oid="o",
            venue_id=venue_id,
            account="sim.main",
            market="eurusd.spot.sim",
            side="buy",
            size=Decimal(size),
            price=PRICE + size,
            fee=Decimal(0),
            fee_currency="usd",
            time_ns=size,
        )
    )


def amendment(n: int, size: int) -> AmendAsked:
    return AmendAsked(n=n, size=Decimal(size), limit=PRICE, not_after_ns=2 * NOT_AFTER)


def amended(n: int, size: int, venue_id: str = "") -> AmendAcked:
    return AmendAcked(n=n, size=Decimal(size), limit=PRICE, venue_id=venue_id)


def listed(venue_id: str = "A", size: int = 10, asked_ns: int = 100) -> Listed:
    return Listed(venue_id=venue_id, size=Decimal(size), limit=PRICE, asked_ns=asked_ns)


SENT = Sending(size=TEN, limit=PRICE, not_after_ns=NOT_AFTER)
ARMED = Armed(when="above", since_ns=1)
TICK = Triggered(price=PRICE, time_ns=1)
EARLY, PROOF = Absent(asked_ns=NOT_AFTER), Absent(asked_ns=NOT_AFTER + 1)
HIDDEN = Absent(asked_ns=NOT_AFTER + 1, proves=False)
NO = Refused(reason="no money")

REACHED: dict[OrderState, tuple[OrderEvent, ...]] = {
    "held": (),
    "sending": (SENT,),
    "open": (SENT, Acked(venue_id="A")),
    "unknown": (SENT, Silence()),
    "filled": (SENT, Acked(venue_id="A"), execution("whole", 10)),
    "cancelled": (SENT, Acked(venue_id="A"), Cancelled(venue_id="A")),
    "rejected": (SENT, NO),
    "expired": (SENT, Acked(venue_id="A"), VenueExpired(venue_id="A")),
}

STEPS: dict[str, tuple[OrderEvent, ...]] = {
    "Held": (Held(reason="halted"),),
    "Armed": (ARMED,),
    "Triggered": (TICK,),
    "Sending": (SENT,),
    "Silence": (Silence(),),
    "LinkLost": (LinkLost(),),
    "AmendAsked": (amendment(1, 20),),
    "CancelAsked": (CancelAsked(),),
    "Expired": (Expired(),),
    "Resolved open": (Resolved(outcome="open", note="seen"),),
    "Resolved filled": (Resolved(outcome="filled", note="seen"),),
    "Resolved cancelled": (Resolved(outcome="cancelled", note="seen"),),
    "Resolved rejected": (Resolved(outcome="rejected", note="seen"),),
    "Acked": (Acked(venue_id="A"),),
    "Listed": (listed(),),
    "Filled": (execution("part", 1),),
    "Whole": (execution("rest", 10),),
    "Refused": (NO,),
    "Cancelled": (Cancelled(venue_id="A"),),
    "VenueExpired": (VenueExpired(venue_id="A"),),
    "One ended": (Acked(venue_id="A"), Acked(venue_id="B"), Cancelled(venue_id="A")),
    "AmendAcked": (amended(1, 20),),
    "AmendRefused": (AmendRefused(n=1, reason="no"),),
    "CancelRefused": (CancelRefused(reason="no"),),
    "Absent": (PROOF,),
    "Absent too soon": (EARLY,),
    "Out of sight": (HIDDEN,),
}
"""The events of each step. Resolving what is open takes a doubt, which RESOLVABLE adds."""
RESOLVABLE = (amendment(1, 20), LinkLost())

ROWS = [
    (state, name, target)
    for state, row in TABLE.items()
    for name, target in row.items()
    if name != "Alerted" and (state, name) != ("unknown", "One ended")  # which have their own tests
]
NO_ROWS = [
    (state, name)
    for state, row in TABLE.items()
    for name, events in STEPS.items()
    if name not in row and not isinstance(events[-1], VenueEvent)
]
EVENTS = [event for events in STEPS.values() for event in events]


def live(*events: OrderEvent, kind: OrderKind = "limit") -> Life:
    return replay((order(kind), *events))


def follows(*events: OrderEvent) -> tuple[Consequence, ...]:
    """What the last one brings about."""
    return apply(live(*events[:-1]), events[-1])[1]


def before(state: OrderState, name: str) -> tuple[OrderEvent, ...]:
    doubt = state == "open" and name.startswith("Resolved")
    return REACHED[state] + (RESOLVABLE if doubt else ())


@pytest.mark.parametrize(("state", "name", "target"), ROWS)
def test_each_row_of_the_table_leads_where_it_says(
    state: OrderState, name: str, target: OrderState
) -> None:
    assert live(*before(state, name), *STEPS[name]).state == target


@pytest.mark.parametrize(("state", "name"), NO_ROWS)
def test_a_step_of_ours_without_a_row_is_refused_with_its_reason(
    state: OrderState, name: str
) -> None:
    life = live(*before(state, name))
    objection = why_not(life, STEPS[name][-1])
    assert objection
    assert state in objection
    assert name not in objection
    with pytest.raises(NotNow, match=objection):
        apply(life, STEPS[name][-1])


@pytest.mark.parametrize("state", TABLE)
def test_the_venue_may_say_anything_in_any_state(state: OrderState) -> None:
    said = {name for name, events in STEPS.items() if isinstance(events[-1], VenueEvent)}
    assert said - set(TABLE[state]) <= {"One ended", "Absent too soon"}
    live(*REACHED[state], *(event for event in EVENTS if isinstance(event, VenueEvent)))


def test_of_two_that_are_out_of_sight_one_may_end_and_the_other_is_still_in_doubt() -> None:
    hidden = (SENT, Acked(venue_id="A"), Acked(venue_id="B"), HIDDEN)
    one_left = live(*hidden, Cancelled(venue_id="A"))
    assert (one_left.state, one_left.live) == ("unknown", ("B",))
    assert live(*hidden, VenueExpired(venue_id="A"), Cancelled(venue_id="B")).state == "cancelled"


@pytest.mark.parametrize("state", TABLE)
def test_nothing_leads_back_to_held(state: OrderState) -> None:
    assert state == "held" or "held" not in TABLE[state].values()


def test_only_what_is_held_is_sent() -> None:
    assert [state for state, row in TABLE.items() if "Sending" in row] == ["held"]


@pytest.mark.parametrize("state", sorted(CLOSED))
def test_what_is_closed_stays_closed(state: OrderState) -> None:
    assert set(TABLE[state].values()) <= {state, "filled"}


def test_unknown_ends_by_evidence_or_its_owner_only() -> None:
    ends = {name for name, target in TABLE["unknown"].items() if target != "unknown"}
    evidence = {"Acked", "Listed", "Filled", "Whole", "Refused", "Cancelled", "VenueExpired"}
    owner = {name for name in STEPS if name.startswith("Resolved")}
    assert ends == evidence | owner | {"AmendAcked", "Absent"}


def test_what_was_out_of_sight_is_open_when_it_is_listed_again_and_else_its_owners() -> None:
    gone = (SENT, Acked(venue_id="A"), HIDDEN)
    assert live(*gone, listed()).state == "open"
    assert live(*gone, Resolved(outcome="cancelled", note="seen")).state == "cancelled"
    assert live(*gone, execution("whole", 10)).state == "filled"


def test_one_of_two_that_ended_leaves_the_order_open() -> None:
    events = (SENT, Acked(venue_id="A"), Acked(venue_id="B"))
    assert live(*events, Cancelled(venue_id="A")).state == "open"
    assert live(*events, Cancelled(venue_id="A"), Cancelled(venue_id="B")).state == "cancelled"


def test_an_alert_is_filled_when_it_is_triggered_and_never_sent() -> None:
    assert live(TICK, kind="alert").state == "filled"
    assert why_not(live(kind="alert"), SENT)


def test_a_trigger_fires_once_until_it_is_armed_again() -> None:
    fired = live(TICK, Held(reason="halted"), kind="dark")
    assert why_not(fired, TICK) == "expected an armed order, was triggered at 1.2"
    assert why_not(apply(fired, ARMED)[0], TICK) is None


def test_a_reduced_size_is_the_total_from_then_on() -> None:
    sent = Sending(size=Decimal(4), limit=PRICE, not_after_ns=NOT_AFTER)
    assert live(sent, execution("1", 3)).remaining == 1
    assert live(sent, execution("1", 4)).state == "filled"


@pytest.mark.parametrize("size", [0, -1, 11])
def test_what_is_sent_is_at_most_what_was_asked_for(size: int) -> None:
    sent = Sending(size=Decimal(size), limit=PRICE, not_after_ns=NOT_AFTER)
    assert why_not(live(), sent) == f"expected a size of more than 0, at most 10, was {size}"


def test_a_fill_before_the_ack_is_an_ack() -> None:
    life = live(SENT, execution("1", 4))
    assert (life.state, life.filled, life.venue_ids) == ("open", FOUR, ("A",))


def test_a_cancel_may_fill() -> None:
    life = live(SENT, Acked(venue_id="A"), CancelAsked(), execution("1", 10))
    assert (life.state, life.cancel) == ("filled", None)


def test_what_is_armed_is_so_until_it_is_held_triggered_or_over() -> None:
    assert live(ARMED, kind="dark").armed
    for event in (Held(reason="a gap"), TICK, CancelAsked()):
        life = live(ARMED, event, kind="dark")
        assert (life.armed, life.when, life.armed_ns) == (False, "above", 1)


def test_a_fill_after_a_cancel_counts_and_is_announced() -> None:
    late = execution("1", 4)
    events = (*REACHED["cancelled"], late)
    life = live(*events)
    assert (life.state, life.filled, life.remaining, life.late) == (
        "cancelled",
        FOUR,
        Decimal(6),
        1,
    )
    assert follows(*events) == (LateFill(execution=late.execution),)
    assert follows(*events, late) == ()


def test_a_correction_replaces_and_an_older_one_that_comes_later_does_not() -> None:
    wrong, right = execution("1", 4), execution("1", 3, revision=1)
    assert live(SENT, wrong, right).filled == live(SENT, right, wrong).filled == 3
    assert follows(SENT, wrong, right) == (
        Corrected(before=wrong.execution, after=right.execution),
    )
    assert follows(SENT, right, wrong) == ()


def test_a_fill_that_was_taken_back_leaves_no_price() -> None:
    life = live(SENT, execution("1", 4), execution("1", 0, revision=1))
    assert (life.filled, life.average_price) == (NOTHING, None)


def test_the_average_price_is_weighted_by_size() -> None:
    life = live(SENT, execution("1", 1), execution("2", 3))
    assert life.average_price == (1 * Decimal("2.2") + 3 * Decimal("4.2")) / 4


def test_a_fill_is_not_the_whole_while_a_larger_size_is_under_way() -> None:
    asked = (SENT, Acked(venue_id="A"), amendment(1, 20), execution("1", 10))
    assert live(*asked).state == "open"
    assert live(*asked, AmendRefused(n=1, reason="too late")).state == "filled"
    assert live(*asked, amended(1, 20)).remaining == 10
    assert live(*asked, Silence(), listed()).state == "filled"


def test_more_done_than_the_total_shows_that_the_amendment_under_way_took_effect() -> None:
    asked = (SENT, Acked(venue_id="A"), amendment(1, 20), LinkLost())
    part = live(*asked, execution("1", 12))
    assert (part.state, part.size, part.amended, part.amend) == ("open", TEN * 2, 1, None)
    whole = live(*asked, execution("1", 12), execution("2", 8))
    assert (whole.state, whole.filled, whole.size) == ("filled", TEN * 2, TEN * 2)
    assert live(*asked, execution("1", 12), AmendRefused(n=1, reason="no")) == part


def test_more_done_than_any_total_that_was_asked_for_is_shown_as_it_is() -> None:
    life = live(SENT, Acked(venue_id="A"), amendment(1, 20), execution("1", 25))
    assert (life.state, life.filled, life.size) == ("filled", Decimal(25), TEN)


def test_a_total_that_is_amended_to_what_is_done_is_filled() -> None:
    events = (SENT, Acked(venue_id="A"), amendment(1, 4), execution("1", 4))
    assert live(*events).state == "open"
    assert live(*events, amended(1, 4)).state == "filled"


def test_there_are_never_two_amendments_under_way() -> None:
    asked = live(SENT, Acked(venue_id="A"), amendment(1, 20))
    assert why_not(asked, amendment(2, 30)) == (
        "amendment 1 of it is not answered yet: wait for that, or cancel it"
    )
    assert why_not(apply(asked, amended(1, 20))[0], amendment(2, 30)) is None


@pytest.mark.parametrize(
    ("events", "asked", "objection"),
    [
        ((CancelAsked(),), amendment(1, 20), "it is being cancelled"),
        ((), amendment(2, 20), "expected amendment 1, was 2"),
        (
            (execution("1", 4),),
            amendment(1, 4),
            "4 of it are filled: the new total must be more, was 4; to end it there, cancel it",
        ),
        (
            (),
            replace(amendment(1, 20), trigger=PRICE),
            "only what is held waits for a trigger, this one is open",
        ),
    ],
)
def test_an_amendment_that_makes_no_sense_is_refused(
    events: tuple[OrderEvent, ...], asked: AmendAsked, objection: str
) -> None:
    assert why_not(live(SENT, Acked(venue_id="A"), *events), asked) == objection


def test_what_is_held_is_amended_at_once() -> None:
    asked = AmendAsked(n=1, size=TEN, limit=None, trigger=Decimal(2), not_after_ns=0)
    life = live(asked, kind="dark")
    assert (life.trigger, life.limit, life.amend) == (Decimal(2), None, None)


def test_an_amendment_is_lost_when_the_list_is_as_before_and_it_can_no_longer_arrive() -> None:
    asked = (SENT, Acked(venue_id="A"), amendment(1, 20), LinkLost())
    assert live(*asked, listed(asked_ns=10)).amend
    lost = live(*asked, listed(asked_ns=11))
    assert (lost.amend, lost.size) == (None, TEN)
    assert live(*asked, listed(size=20)).size == 20


def test_an_amendment_that_is_not_in_doubt_is_not_lost_by_a_list() -> None:
    assert live(SENT, Acked(venue_id="A"), amendment(1, 20), listed()).amend


def test_the_newest_amendment_counts_whichever_the_venue_tells_last() -> None:
    lost = (amendment(1, 20), LinkLost(), listed(asked_ns=11))
    life = live(SENT, Acked(venue_id="A"), *lost, amendment(2, 30), amended(2, 30), amended(1, 20))
    assert (life.size, life.amended) == (Decimal(30), 2)


def test_an_amendment_ends_with_its_order() -> None:
    asked = (SENT, Acked(venue_id="A"), amendment(1, 20), execution("1", 10))
    assert live(*asked, Cancelled(venue_id="A")).state == "filled"


def test_an_amendment_taken_for_lost_counts_when_it_is_acked_after_all() -> None:
    asked = (SENT, Acked(venue_id="A"), amendment(1, 20), LinkLost(), listed(asked_ns=11))
    assert live(*asked, amended(1, 20)).size == 20
    assert follows(*asked, execution("1", 10), amended(1, 20)) == (cancel("A"),)


def test_an_amendment_may_give_a_new_id_in_place_of_the_old() -> None:
    life = live(SENT, Acked(venue_id="A"), amendment(1, 20), amended(1, 20, "B"))
    assert (life.venue_ids, life.live) == (("A", "B"), ("B",))
    assert apply(life, Cancelled(venue_id="B"))[0].state == "cancelled"


def cancel(*venue_ids: str) -> CancelAtVenue:
    return CancelAtVenue(oid="o", venue_ids=venue_ids)


@pytest.mark.parametrize(
    "given_up", [(NO,), (Silence(), PROOF), (Silence(), STEPS["Resolved cancelled"][0])]
)
@pytest.mark.parametrize("sign", [Acked(venue_id="A"), listed(), amended(1, 20, "A")])
def test_a_sign_of_life_of_an_order_given_up_cancels_it(
    given_up: tuple[OrderEvent, ...], sign: OrderEvent
) -> None:
    assert cancel("A") in follows(SENT, *given_up, sign)
    assert live(SENT, *given_up, sign).closed


def test_a_part_of_an_order_given_up_that_is_filled_cancels_the_rest() -> None:
    late = execution("1", 4)
    assert follows(SENT, NO, late) == (LateFill(execution=late.execution), cancel("A"))


def test_a_late_ack_of_what_is_filled_is_absorbed() -> None:
    assert follows(SENT, execution("1", 10), Acked(venue_id="A")) == ()


@pytest.mark.parametrize("state", ["sending", "open", "unknown"])
def test_a_cancel_goes_out_wherever_the_order_may_be(state: OrderState) -> None:
    ids = live(*REACHED[state]).venue_ids
    assert follows(*REACHED[state], CancelAsked()) == (cancel(*ids),)


def test_a_cancel_of_what_is_held_is_done_at_once() -> None:
    assert follows(CancelAsked()) == ()


def test_a_cancel_before_the_ack_is_repeated_after_it_even_when_it_was_refused() -> None:
    events = (SENT, CancelAsked(), CancelRefused(reason="not known"), Silence())
    assert follows(*events, Acked(venue_id="A")) == (cancel("A"),)


def test_a_cancel_in_doubt_is_repeated_when_the_order_is_still_listed() -> None:
    events = (SENT, Acked(venue_id="A"), CancelAsked(), LinkLost())
    assert follows(*events, listed()) == (cancel("A"),)
    assert live(*events, listed()).cancel


def test_a_refused_cancel_leaves_the_order_open() -> None:
    life = live(SENT, Acked(venue_id="A"), CancelAsked(), CancelRefused(reason="no"))
    assert (life.state, life.cancel) == ("open", None)


@pytest.mark.parametrize(
    ("state", "asked", "objection"),
    [
        ("filled", CancelAsked(), "it is over: filled"),
        ("cancelled", amendment(1, 20), "it is over: cancelled"),
        (
            "sending",
            amendment(1, 20),
            "only what is held or open can be amended, this one is sending; it can be cancelled",
        ),
        (
            "unknown",
            amendment(1, 20),
            "only what is held or open can be amended, this one is unknown; it can be cancelled",
        ),
        (
            "held",
            Resolved(outcome="cancelled", note="seen"),
            "only what is UNKNOWN can be resolved, this one is held",
        ),
    ],
)
def test_what_a_person_asks_for_in_vain_is_answered_by_what_can_be(
    state: OrderState, asked: OrderEvent, objection: str
) -> None:
    assert why_not(live(*REACHED[state]), asked) == objection


def test_an_order_cancelled_because_its_time_was_over_is_expired() -> None:
    events = (SENT, Acked(venue_id="A"), Expired())
    assert follows(*events) == (cancel("A"),)
    assert live(*events, Cancelled(venue_id="A")).state == "expired"


def test_a_second_one_at_the_venue_is_announced_and_a_cancel_goes_to_both() -> None:
    events = (SENT, Acked(venue_id="A"), Acked(venue_id="B"))
    assert follows(*events) == (Doubled(venue_ids=("A", "B")),)
    assert follows(*events, CancelAsked()) == (cancel("A", "B"),)


def test_when_one_of_two_is_filled_the_other_is_cancelled() -> None:
    events = (SENT, Acked(venue_id="A"), Acked(venue_id="B"), execution("1", 10))
    assert follows(*events) == (cancel("A", "B"),)


def test_what_is_open_is_only_resolved_where_something_is_in_doubt() -> None:
    resolved = STEPS["Resolved open"][0]
    objection = why_not(live(*REACHED["open"]), resolved)
    assert objection == (
        "nothing of it is in doubt: only what is UNKNOWN can be resolved, this one is open"
    )
    doubt = (*REACHED["open"], amendment(1, 20), Silence())
    assert live(*doubt, resolved).amend is None
    assert live(*doubt, execution("1", 10), resolved).state == "filled"


def test_a_life_begins_with_what_was_submitted() -> None:
    with pytest.raises(NotNow, match="expected Submitted"):
        replay([SENT])


def test_a_life_survives_being_written_down() -> None:
    life = live(*REACHED["open"], amendment(1, 20), execution("1", 4), LinkLost())
    assert json.decode(json.encode(life), type=Life) == life


# Whatever a venue may say.

FILLS = st.lists(st.integers(1, 5), max_size=3).filter(lambda sizes: sum(sizes) <= 10)


@st.composite
def stories(draw: st.DrawFn) -> tuple[list[VenueEvent], list[VenueEvent]]:
    """What a venue tells of one order, and the same shuffled, with repetitions."""
    sizes = draw(FILLS)
    told: list[VenueEvent] = [Acked(venue_id="A")]
    told += [execution(str(n), size) for n, size in enumerate(sizes)]
    told += draw(st.sampled_from([[], [Cancelled(venue_id="A")], [VenueExpired(venue_id="A")]]))
    repeated = draw(st.lists(st.sampled_from(told), max_size=4))
    return told, draw(st.permutations(told + repeated))


@given(stories(), st.sampled_from(["sending", "unknown"]))
def test_the_book_depends_neither_on_order_nor_on_repetition(
    story: tuple[list[VenueEvent], list[VenueEvent]], state: OrderState
) -> None:
    told, shuffled = story
    one, other = live(*REACHED[state], *told), live(*REACHED[state], *shuffled)
    assert book(one) == book(other)


def book(life: Life) -> tuple[object, ...]:
    """What must not depend on the order in which the venue told it."""
    done = life.executions, life.filled, life.value, life.average_price
    return life.state, life.size, done, life.venue_ids, life.gone


@given(st.permutations([execution("1", size, revision=size) for size in range(5)]))
def test_the_newest_revision_counts_in_whatever_order_they_come(revisions: list[Filled]) -> None:
    assert live(SENT, *revisions).filled == 4


@given(st.lists(st.sampled_from(EVENTS), max_size=12))
def test_no_sequence_of_events_breaks_a_promise(events: list[OrderEvent]) -> None:
    life, sent, sighted = begin(order()), 0, False
    for event in events:
        if why_not(life, event) is None:
            after, _ = apply(life, event)
            sent += isinstance(event, Sending)
            sighted = life.state == "open" or (sighted and life.state == "unknown")
            assert not life.closed or after.closed
            assert set(life.venue_ids) <= set(after.venue_ids)
            assert not (after.closed and (after.amend or after.cancel))
            assert not (after.state == "unknown" and after.live) or sighted
            life = after
    assert sent <= 1


@given(
    st.lists(
        st.tuples(st.integers(0, 5), st.integers(0, 3), st.integers(0, 4)),
        unique_by=lambda told: told[:2],
        max_size=12,
    )
)
def test_what_is_done_is_the_sum_of_the_newest_revisions_in_the_order_of_time(
    told: list[tuple[int, int, int]],
) -> None:
    life = live(SENT, *(execution(str(n), size, revision=revision) for n, revision, size in told))
    newest = {n: Decimal(size) for n, _, size in sorted(told)}
    filled = sum(newest.values(), NOTHING)
    value = sum((size * (PRICE + size) for size in newest.values()), NOTHING)
    in_time = sorted((size, str(n)) for n, size in newest.items())
    assert [(each.size, each.exec_id) for each in life.executions] == in_time
    assert (life.filled, life.value) == (filled, value)
    assert life.average_price == (value / filled if filled else None)


def test_an_execution_that_is_told_again_with_a_later_time_counts_once() -> None:
    told = execution("1", 4)
    again = Filled(execution=replace(told.execution, time_ns=told.execution.time_ns + 1))
    assert live(SENT, told, execution("2", 5), again) == live(SENT, told, execution("2", 5))


# Cost.


class Counted(Decimal):
    """A number that counts what is reckoned with it."""

    reckoned = 0

    def __radd__(self, other: Decimal | int) -> Decimal:
        Counted.reckoned += 1
        return other + Decimal(self)

    def __mul__(self, other: Decimal | int) -> Decimal:
        Counted.reckoned += 1
        return Decimal(self) * other


def reckoned(fills: int) -> int:
    """What it takes to take one more fill, the newest, after so many."""
    one = replace(execution("", 1).execution, size=Counted(1))
    told = [Filled(execution=replace(one, exec_id=str(n), time_ns=n)) for n in range(fills + 1)]
    life = live(SENT, *told[:-1])
    Counted.reckoned = 0
    after, _ = apply(life, told[-1])
    assert (after.filled, after.value) == (Decimal(fills + 1), (fills + 1) * one.price)
    return Counted.reckoned


def test_the_newest_fill_is_reckoned_with_alone_however_many_came_before() -> None:
    assert reckoned(1_000) == reckoned(10) == 2


class Trading(RuleBasedStateMachine):
    """An order between its owner, whoever carries messages, and a venue with the truth.

    Messages to the venue may be late or lost. Its answers may be lost, repeated, and come in any
    order; only what is asked for in a reconciliation comes as it is.
    """

    def __init__(self) -> None:
        super().__init__()
        self.now = 0
        self.journal: list[OrderEvent] = [order()]
        self.life = live()
        self.to_venue: list[OrderEvent | CancelAtVenue] = []
        self.to_us: list[VenueEvent] = []
        self.at_venue = False
        self.accepted = 0
        self.total = TEN
        self.done: dict[str, Execution] = {}
        self.session_ok = True

    def hear(self, event: OrderEvent) -> None:
        self.life, consequences = apply(self.life, event)
        self.journal.append(event)
        self.to_venue += [each for each in consequences if isinstance(each, CancelAtVenue)]

    def may(self, event: OrderEvent) -> bool:
        return why_not(self.life, event) is None

    @precondition(lambda self: self.life.state == "held")
    @rule()
    def send(self) -> None:
        event = Sending(size=TEN, limit=PRICE, not_after_ns=self.now + NOT_AFTER)
        self.hear(event)
        self.to_venue.append(event)

    @rule(size=st.integers(1, 20))
    def amend(self, size: int) -> None:
        event = AmendAsked(
            n=self.life.amends + 1,
            size=Decimal(size),
            limit=PRICE,
            not_after_ns=self.now + NOT_AFTER,
        )
        if self.life.state == "open" and self.may(event):
            self.hear(event)
            self.to_venue.append(event)

    @rule(event=st.sampled_from([CancelAsked(), Expired(), Silence(), LinkLost()]))
    def ours(self, event: OrderEvent) -> None:
        if self.life.state != "held" and self.may(event):
            self.hear(event)

    @rule(outcome=st.sampled_from(["open", "cancelled", "rejected"]))
    def resolve(self, outcome: Outcome) -> None:
        event = Resolved(outcome=outcome, note="")
        if self.may(event):
            self.hear(event)

    @rule(ns=st.integers(1, NOT_AFTER))
    def wait(self, ns: int) -> None:
        self.now += ns

    @precondition(lambda self: self.to_venue)
    @rule(lost=st.booleans())
    def carry_to_venue(self, lost: bool) -> None:
        request = self.to_venue.pop(0)
        if not lost:
            self.to_us += self.answers(request)

    def answers(self, request: OrderEvent | CancelAtVenue) -> list[VenueEvent]:
        """What the broker daemon and the venue make of a request."""
        match request:
            case Sending(not_after_ns=not_after_ns) if not_after_ns < self.now:
                return [Refused(reason="TooLate")]
            case Sending():
                self.at_venue, self.accepted = True, self.accepted + 1
                return [Acked(venue_id="A")]
            case AmendAsked(n=n, not_after_ns=not_after_ns, size=size):
                filled = sum(each.size for each in self.done.values())
                if not self.at_venue or not_after_ns < self.now or size <= filled:
                    return [AmendRefused(n=n, reason="no")]
                self.total = size
                return [AmendAcked(n=n, size=size, limit=PRICE)]
            case CancelAtVenue() if self.at_venue:
                self.at_venue = False
                return [Cancelled(venue_id="A")]
        return [CancelRefused(reason="nothing to cancel")]

    @precondition(lambda self: self.at_venue)
    @rule(size=st.integers(1, 10))
    def fill(self, size: int) -> None:
        left = self.total - sum(each.size for each in self.done.values())
        told = execution(str(len(self.done)), min(size, int(left)))
        self.done[told.execution.exec_id] = told.execution
        self.at_venue = told.execution.size < left
        self.to_us.append(told)

    @precondition(lambda self: self.to_us)
    @rule(data=st.data(), fate=st.sampled_from(["told", "repeated", "lost"]))
    def carry_to_us(self, data: st.DataObject, fate: str) -> None:
        event = data.draw(st.sampled_from(self.to_us))
        if fate != "repeated":
            self.to_us.remove(event)
        if fate != "lost":
            self.hear(event)

    @rule()
    def reconcile(self) -> None:
        """As emsd does: executions first, then what is open, or that it is nowhere."""
        for each in self.done.values():
            self.hear(Filled(execution=each))
        if self.at_venue:
            self.hear(Listed(venue_id="A", size=self.total, limit=PRICE, asked_ns=self.now))
        elif self.life.state != "held":
            self.hear(Absent(asked_ns=self.now))

    @invariant()
    def filled_is_never_more_than_the_venue_said(self) -> None:
        assert self.life.filled <= sum(each.size for each in self.done.values())

    @invariant()
    def it_came_to_the_venue_once_at_most(self) -> None:
        assert self.accepted <= 1

    def teardown(self) -> None:
        """In the end all that is under way arrives or is too late, and both sides agree."""
        self.now += 2 * NOT_AFTER
        if self.life.state == "sending":
            self.hear(LinkLost())
        for _ in range(3):
            self.hear_of_amend_lost()
            while self.to_venue:
                self.to_us += self.answers(self.to_venue.pop(0))
            while self.to_us:
                self.hear(self.to_us.pop())
            self.reconcile()
        assert replay(self.journal) == self.life
        assert self.life.filled == sum(each.size for each in self.done.values())
        assert self.life.closed or self.life.state in ("held", "open")
        assert self.life.closed or self.at_venue or self.life.state == "held"
        assert not (self.at_venue and self.life.closed)
        assert not (self.done or self.at_venue) or self.life.venue_ids == ("A",)

    def hear_of_amend_lost(self) -> None:
        if self.life.amend:
            self.hear(LinkLost())


Trading.TestCase.settings = settings(max_examples=150, stateful_step_count=30, deadline=None)
TestTrading = Trading.TestCase
