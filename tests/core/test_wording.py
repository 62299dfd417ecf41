"""Orders, and what happens to them, in words."""

from decimal import Decimal
from typing import Any, get_args

import pytest
from msgspec.structs import replace

from piker.core.lifecycle import begin
from piker.core.wording import asked, money, number, remedy, rounded, standing, told
from piker.orders import (
    Absent,
    Acked,
    AmendAcked,
    AmendAsked,
    AmendRefused,
    Armed,
    CancelAsked,
    Cancelled,
    CancelRefused,
    Expired,
    Held,
    LinkLost,
    Listed,
    OrderEvent,
    PendingAmend,
    PendingCancel,
    Refused,
    Resolved,
    Sending,
    Silence,
    Submitted,
    Triggered,
    VenueExpired,
)
from tests.fakes.scripted_emsd import fill, order

LIMIT = begin(Submitted(order=order()))
TEN = Decimal(10)
P = Decimal("1.20")

EVENTS: list[tuple[OrderEvent, str]] = [
    (Submitted(order=order()), "submitted: buy 1000 eurusd.spot.replay, limit 1.20"),
    (
        Submitted(order=order(kind="alert", size=Decimal(0), trigger=P, when="above")),
        "submitted: alert eurusd.spot.replay above 1.20, on_gap hold",
    ),
    (Held(reason="halted"), "held: halted"),
    (Armed(when="below", since_ns=0), "armed, fires below"),
    (Armed(when="below", since_ns=0, reason="live again"), "armed, fires below: live again"),
    (Triggered(price=P, time_ns=0), "triggered at 1.20"),
    (Sending(size=TEN, limit=P, not_after_ns=0), "sending 10 at 1.20"),
    (Sending(size=TEN, limit=None, not_after_ns=0), "sending 10 at the market"),
    (Silence(), "no answer for too long"),
    (LinkLost(), "the way to the venue broke"),
    (LinkLost(reason="reset"), "the way to the venue broke: reset"),
    (AmendAsked(n=2, size=TEN, limit=P, not_after_ns=0), "amend 2 asked: 10 at 1.20"),
    (
        AmendAsked(n=1, size=TEN, limit=None, trigger=P, not_after_ns=0),
        "amend 1 asked: 10 at the market, trigger 1.20",
    ),
    (CancelAsked(), "cancel asked"),
    (Expired(), "its time is over"),
    (Resolved(outcome="cancelled", note="seen"), "resolved as cancelled by its owner: seen"),
    (Acked(venue_id="v1"), "the venue took it as v1"),
    (Refused(reason="no money"), "refused: no money"),
    (fill("o1"), "filled 1000 at 1.1"),
    (fill("o1", fee=Decimal("0.2")), "filled 1000 at 1.1, fee 0.2 USD"),
    (fill("o1", derived=True), "filled 1000 at 1.1, on a derived price"),
    (fill("o1", size=0, revision=1), "corrected (revision 1): filled 0 at 1.1"),
    (fill("o1", revision=-2), "filled 1000 at 1.1"),
    (Cancelled(reason="by the desk"), "the venue cancelled it: by the desk"),
    (VenueExpired(), "the venue ended it, its time is over"),
    (AmendAcked(n=1, size=TEN, limit=P), "amend 1 took effect: 10 at 1.20"),
    (AmendRefused(n=1, reason="too late"), "amend 1 refused: too late"),
    (CancelRefused(reason="not there"), "cancel refused: not there"),
    (Listed(venue_id="v1", size=TEN, limit=P, asked_ns=0), "found open at the venue as v1"),
    (Absent(asked_ns=0), "not found at the venue"),
    (Absent(asked_ns=0, proves=False), "in no list of the venue, which proves nothing there"),
]


@pytest.mark.parametrize(("event", "words"), EVENTS, ids=[words for _, words in EVENTS])
def test_an_event_is_a_line(event: OrderEvent, words: str) -> None:
    assert told(event) == words


def test_every_event_that_there_is_has_words() -> None:
    assert {type(event) for event, _ in EVENTS} == set(get_args(OrderEvent))


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({}, "buy 1000 eurusd.spot.replay, limit 1.20"),
        ({"kind": "market", "side": "sell"}, "sell 1000 eurusd.spot.replay, at the market"),
        (
            {"kind": "dark", "trigger": P, "when": "below"},
            "buy 1000 eurusd.spot.replay, dark below 1.20",
        ),
        (
            {"kind": "dark", "trigger": P, "sends": "market"},
            "buy 1000 eurusd.spot.replay, dark 1.20, at the market",
        ),
        (
            {"kind": "dark", "trigger": P, "limit": TEN, "reduce_only": True},
            "buy 1000 eurusd.spot.replay, dark 1.20, limit 10, reduce only",
        ),
        ({"tif": "ioc"}, "buy 1000 eurusd.spot.replay, limit 1.20, ioc"),
        (
            {"kind": "alert", "trigger": P, "when": "above"},
            "alert eurusd.spot.replay above 1.20",
        ),
    ],
)
def test_what_is_wanted_is_a_line(fields: dict[str, Any], words: str) -> None:
    assert asked(begin(Submitted(order=order(**fields)))) == words


def test_what_was_cut_says_of_how_much_but_not_what_its_owner_amended() -> None:
    cut = replace(begin(Submitted(order=order(reduce_only=True))), size=TEN)
    assert asked(cut).endswith("limit 1.20, only 10 of 1000: reduce only")
    assert asked(replace(cut, amends=1, amended=1)).endswith("limit 1.20, reduce only")


def test_the_direction_that_was_taken_from_the_quote_is_told() -> None:
    dark = begin(Submitted(order=order(kind="dark", trigger=P)))
    assert asked(replace(dark, armed=True, when="above")).endswith("dark above 1.20")


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({}, "held"),
        ({"armed": True}, "armed"),
        ({"triggered": Triggered(price=P, time_ns=0)}, "held, triggered"),
        ({"state": "sending"}, "sending"),
        ({"state": "unknown"}, "UNKNOWN"),
        (
            {"state": "open", "amend": PendingAmend(n=2, size=TEN, limit=P, not_after_ns=0)},
            "open, amend 2 to 10 at 1.20 pending",
        ),
        ({"state": "open", "cancel": PendingCancel(ends="cancelled")}, "open, cancel pending"),
        (
            {"state": "open", "cancel": PendingCancel(ends="expired", unknown=True)},
            "open, cancel UNKNOWN",
        ),
    ],
)
def test_the_state_is_told_with_what_is_under_way(fields: dict[str, object], words: str) -> None:
    assert standing(replace(LIMIT, **fields)) == words


def test_what_is_not_known_comes_with_what_to_do() -> None:
    unknown = remedy(replace(LIMIT, state="unknown"))
    doubt = PendingCancel(ends="cancelled", unknown=True)
    assert unknown.startswith("it was sent, its outcome is not known: look at the venue, then ")
    assert "piker resolve o1 open|filled|cancelled|rejected --note TEXT" in unknown
    assert remedy(replace(LIMIT, state="open", cancel=doubt)).startswith("a change was sent, ")
    assert remedy(LIMIT) == ""


@pytest.mark.parametrize(
    ("account", "live", "word"),
    [
        ("paper", None, "paper"),
        ("paper.replay", None, "paper"),
        ("ib.main", True, "LIVE"),
        ("sim.main", False, "simulated"),
        ("ib.main", None, "LIVE?"),
        ("papers.main", None, "LIVE?"),
    ],
)
def test_paper_and_live_are_never_mixed_up(account: str, live: bool | None, word: str) -> None:
    assert money(account, live) == word


def test_numbers_have_their_own_digits_and_averages_ten() -> None:
    assert [number(Decimal(each)) for each in ("1.20", "1E+3", "1E-7")] == [
        "1.20",
        "1000",
        "0.0000001",
    ]
    assert [rounded(Decimal(each)) for each in ("1.1000333333333333", "-0.10", "100", "0")] == [
        "1.100033333",
        "-0.1",
        "100",
        "0",
    ]
    assert (number(None), rounded(None)) == ("", "")
