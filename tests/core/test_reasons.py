"""Why an order is as it is: each event leaves the words that are true after it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from piker.core.reasons import BROKEN, NOT_FOUND, NOT_LISTED, SILENT, TIME_OVER
from piker.orders import (
    CLOSED,
    Acked,
    AmendRefused,
    Armed,
    CancelAsked,
    Cancelled,
    CancelRefused,
    Expired,
    Held,
    LinkLost,
    OrderEvent,
    OrderState,
    Refused,
    Resolved,
    Silence,
    VenueEvent,
    VenueExpired,
)
from tests.core.test_lifecycle import (
    ARMED,
    EARLY,
    EVENTS,
    HIDDEN,
    PROOF,
    SENT,
    TICK,
    amended,
    amendment,
    execution,
    listed,
    live,
)

ACK = Acked(venue_id="A")
PART, REST = execution("1", 4), execution("2", 6)
LOST, HALT = LinkLost(reason="reset"), Held(reason="halted")
ALL = CancelAsked(reason="all were cancelled")
BY_VENUE = Cancelled(venue_id="A", reason="by the desk")
NO_AMEND = AmendRefused(n=1, reason="too late")
NO_CANCEL = CancelRefused(reason="not there")
OPEN, UNKNOWN = (SENT, ACK), (SENT, LOST)
GIVEN_UP = (*UNKNOWN, Resolved(outcome="cancelled", note="not there"))
IN_DOUBT = (*OPEN, amendment(1, 20), LOST)

ROWS: list[tuple[tuple[OrderEvent, ...], str]] = [
    # held
    ((HALT,), "halted"),
    ((HALT, ARMED), ""),
    ((Armed(when="above", since_ns=1, reason="it can leave again"),), "it can leave again"),
    ((Armed(when="above", since_ns=1, reason="it can leave again"), TICK), ""),
    ((HALT, amendment(1, 20)), "halted"),
    ((HALT, Silence()), "halted"),
    ((HALT, LOST), "halted"),
    ((HALT, NO_AMEND), "halted"),
    ((HALT, NO_CANCEL), "halted"),
    ((HALT, EARLY), "halted"),
    ((HALT, PROOF), "halted"),
    ((HALT, SENT), ""),
    ((HALT, ACK), ""),
    ((HALT, listed()), ""),
    ((HALT, PART), ""),
    ((HALT, amended(1, 20)), ""),
    ((HALT, execution("whole", 10)), ""),
    ((HALT, CancelAsked()), ""),
    ((HALT, ALL), "all were cancelled"),
    ((HALT, Expired()), TIME_OVER),
    ((HALT, VenueExpired()), TIME_OVER),
    ((HALT, Refused(reason="too much")), "too much"),
    # sending
    ((SENT, Silence()), SILENT),
    ((SENT, LOST), "reset"),
    ((SENT, LinkLost()), BROKEN),
    ((SENT, ALL), "all were cancelled"),
    ((SENT, ALL, ACK), "all were cancelled"),
    ((SENT, ALL, NO_CANCEL), "all were cancelled"),
    ((SENT, ALL, NO_AMEND), "all were cancelled"),
    ((SENT, ALL, PROOF), "all were cancelled"),
    ((SENT, Expired()), TIME_OVER),
    ((SENT, Cancelled(reason="by the desk")), "by the desk"),
    ((SENT, VenueExpired()), TIME_OVER),
    # unknown
    ((*UNKNOWN, Silence()), "reset"),
    ((*UNKNOWN, EARLY), "reset"),
    ((*UNKNOWN, NO_AMEND), "reset"),
    ((*UNKNOWN, NO_CANCEL), "reset"),
    ((*UNKNOWN, ACK), ""),
    ((*UNKNOWN, listed()), ""),
    ((*UNKNOWN, PART), ""),
    ((*UNKNOWN, amended(1, 20)), ""),
    ((*UNKNOWN, execution("whole", 10)), ""),
    ((*UNKNOWN, ALL), "all were cancelled"),
    ((*UNKNOWN, CancelAsked(), ACK), ""),
    ((*UNKNOWN, Expired()), TIME_OVER),
    ((*UNKNOWN, Cancelled()), ""),
    ((*UNKNOWN, VenueExpired()), TIME_OVER),
    ((*UNKNOWN, PROOF), NOT_FOUND),
    ((*OPEN, HIDDEN), NOT_LISTED),
    ((*UNKNOWN, Refused(reason="no money")), "no money"),
    ((*UNKNOWN, Resolved(outcome="open", note="seen")), "seen"),
    ((*UNKNOWN, Resolved(outcome="open", note="seen"), ACK), "seen"),
    ((*UNKNOWN, Resolved(outcome="open", note="seen"), BY_VENUE), "by the desk"),
    ((*UNKNOWN, Resolved(outcome="open", note="seen"), execution("whole", 10)), ""),
    ((*UNKNOWN, Resolved(outcome="filled", note="seen")), "seen"),
    ((*UNKNOWN, Resolved(outcome="rejected", note="seen")), "seen"),
    # open, and what was asked of it
    ((*OPEN, amendment(1, 20), NO_AMEND), "amend 1 refused: too late"),
    ((*OPEN, amendment(1, 20), NO_AMEND, NO_AMEND), "amend 1 refused: too late"),
    ((*OPEN, amendment(1, 20), NO_AMEND, PART), "amend 1 refused: too late"),
    ((*OPEN, amendment(1, 20), NO_AMEND, listed()), "amend 1 refused: too late"),
    ((*OPEN, amendment(1, 20), NO_AMEND, amendment(2, 20)), ""),
    ((*OPEN, amendment(1, 20), NO_AMEND, amended(1, 20)), ""),
    ((*OPEN, amendment(1, 20), NO_AMEND, PART, REST), ""),
    ((*OPEN, amendment(1, 20), NO_AMEND, Cancelled(venue_id="A")), ""),
    ((*OPEN, amendment(1, 20), NO_AMEND, CancelAsked()), ""),
    ((*OPEN, amendment(1, 20), CancelAsked(), NO_AMEND, Cancelled(venue_id="A")), ""),
    ((*OPEN, amendment(1, 20), ALL, NO_AMEND, Cancelled(venue_id="A")), "all were cancelled"),
    ((*OPEN, ALL, NO_CANCEL), "cancel refused: not there"),
    ((*OPEN, ALL, NO_CANCEL, BY_VENUE), "by the desk"),
    ((*OPEN, ALL, PART), "all were cancelled"),
    ((*OPEN, ALL, PART, REST), ""),
    ((*OPEN, ALL, Cancelled(venue_id="A")), "all were cancelled"),
    ((*OPEN, ALL, BY_VENUE), "by the desk"),
    ((*OPEN, ALL, LOST), "reset"),
    ((*OPEN, ALL, LOST, listed()), "reset"),
    ((*OPEN, ALL, LOST, Cancelled(venue_id="A")), ""),
    ((*OPEN, ALL, PROOF), NOT_FOUND),
    ((*OPEN, Expired()), TIME_OVER),
    ((*OPEN, Expired(), Cancelled(venue_id="A")), TIME_OVER),
    ((*OPEN, VenueExpired(venue_id="A")), TIME_OVER),
    ((*OPEN, Silence()), ""),
    ((*OPEN, LOST), ""),
    ((*OPEN, Refused(reason="delisted")), "delisted"),
    ((*OPEN, Acked(venue_id="B"), BY_VENUE), ""),
    # open, with a change in doubt
    (IN_DOUBT, "reset"),
    ((*IN_DOUBT, EARLY), "reset"),
    ((*IN_DOUBT, PART), "reset"),
    ((*IN_DOUBT, listed()), ""),
    ((*IN_DOUBT, amended(1, 20)), ""),
    ((*IN_DOUBT, Resolved(outcome="open", note="seen")), "seen"),
    ((*IN_DOUBT, execution("whole", 10), Resolved(outcome="cancelled", note="not there")), ""),
    # over
    ((*GIVEN_UP, PART), "a fill came after it was cancelled"),
    ((*GIVEN_UP, PART, PART), "a fill came after it was cancelled"),
    ((*GIVEN_UP, PART, REST), "filled after it was taken for cancelled"),
    ((*GIVEN_UP, execution("whole", 10)), "filled after it was taken for cancelled"),
    ((*GIVEN_UP, execution("whole", 10), PROOF), "filled after it was taken for cancelled"),
    ((*UNKNOWN, PROOF, execution("whole", 10)), "filled after it was taken for rejected"),
    ((*OPEN, PROOF, execution("whole", 10)), "filled after it was taken for cancelled"),
    (
        (*OPEN, VenueExpired(venue_id="A"), execution("whole", 10)),
        "filled after it was taken for expired",
    ),
    ((*GIVEN_UP, ACK), "at the venue after it was taken for cancelled; a cancel was sent"),
    ((*GIVEN_UP, listed()), "at the venue after it was taken for cancelled; a cancel was sent"),
    ((*UNKNOWN, PROOF, ACK), "at the venue after it was taken for rejected; a cancel was sent"),
    ((*GIVEN_UP, BY_VENUE), "not there"),
    ((*GIVEN_UP, Refused(reason="no money")), "not there"),
    ((*GIVEN_UP, VenueExpired()), "not there"),
    ((*GIVEN_UP, NO_AMEND), "not there"),
    ((*GIVEN_UP, NO_CANCEL), "not there"),
    ((*GIVEN_UP, LOST), "not there"),
    ((*GIVEN_UP, PROOF), "not there"),
    (
        (*UNKNOWN, Resolved(outcome="filled", note="seen"), execution("whole", 10)),
        "seen",
    ),
]
"""What happened, and why the order is so then."""
SAID = [event for event in EVENTS if isinstance(event, VenueEvent)]


@pytest.mark.parametrize(("events", "why"), ROWS, ids=str)
def test_the_reason_is_what_is_so_after_the_last_event(
    events: tuple[OrderEvent, ...], why: str
) -> None:
    assert live(*events).reason == why


def test_an_alert_that_is_done_has_no_older_reason() -> None:
    again = Armed(when="above", since_ns=1, reason="live again")
    assert live(again, TICK, kind="alert").reason == ""


@pytest.mark.parametrize("state", sorted(CLOSED - {"filled"}))
def test_the_newest_of_what_is_told_late_is_the_reason(state: OrderState) -> None:
    ends: dict[OrderState, OrderEvent] = {
        "cancelled": BY_VENUE,
        "rejected": Refused(reason="no money"),
        "expired": VenueExpired(venue_id="A"),
    }
    life = live(*OPEN, ends[state], PART, Acked(venue_id="B"))
    assert life.state == state
    assert life.reason == f"at the venue after it was taken for {state}; a cancel was sent"


@given(st.lists(st.sampled_from(SAID), min_size=1, max_size=12))
def test_what_the_venue_says_again_leaves_the_reason_as_it_is(said: list[VenueEvent]) -> None:
    asked = (*OPEN, amendment(1, 20), LOST)
    assert live(*asked, *said, said[-1]).reason == live(*asked, *said).reason
