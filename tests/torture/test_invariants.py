"""What the torture looks for is found where it is, and only there."""

from collections import Counter
from decimal import Decimal

import pytest
from msgspec import structs

from piker.core.lifecycle import replay
from piker.interfaces.orders import LedgerLine, OrderNews, OrdersReply
from piker.orders import (
    NOTHING,
    Acked,
    Cancelled,
    Execution,
    Filled,
    Held,
    Life,
    LinkLost,
    Order,
    OrderEvent,
    Sending,
    Submitted,
)
from piker.orders import Refused as OrderRefused
from tests.torture.books import Resting, VenueBook
from tests.torture.follower import Follower
from tests.torture.invariants import Sides, problems

ORDER = Order(
    oid="a",
    account="sim.main",
    market="s0001.xsim.sim",
    side="buy",
    size=Decimal(3),
    kind="limit",
    limit=Decimal(100),
)
FILL = Execution(
    exec_id="x1",
    oid="a",
    venue_id="17",
    account="sim.main",
    market="s0001.xsim.sim",
    side="buy",
    size=Decimal(1),
    price=Decimal(100),
    fee=NOTHING,
    fee_currency="USD",
    time_ns=1,
)
SENT = (Submitted(order=ORDER), Sending(size=ORDER.size, limit=ORDER.limit, not_after_ns=1))
OPEN = (*SENT, Acked(venue_id="17"))


def here(*events: OrderEvent) -> dict[str, Life]:
    return {"a": replay(events)}


def there(filled: int = 0, booked: int = 1, fills: tuple[Execution, ...] = ()) -> VenueBook:
    """The order rests at the venue."""
    return VenueBook(
        account="sim.main",
        open={"a": Resting(ORDER.size, Decimal(filled), ORDER.limit)} if booked else {},
        ended={},
        booked=Counter({"a": booked}),
        executions=fills,
        records={},
    )


def found(
    lives: dict[str, Life],
    venue: VenueBook,
    *,
    ledger: tuple[Execution, ...] = (),
    promised: tuple[str, ...] = (),
    refused: tuple[str, ...] = (),
) -> str:
    """What is found, in a line."""
    lines = [LedgerLine(number=1 + at, execution=each) for at, each in enumerate(ledger)]
    sides = Sides(lives, promised, refused, lines, (), (venue,))
    return "; ".join(each.text for each in problems(sides))


def test_two_sides_that_agree_have_no_problem() -> None:
    assert found(here(*OPEN), there(), promised=("a",)) == ""


def test_an_order_that_was_promised_and_is_not_known_is_lost() -> None:
    assert "doesn't know it" in found(here(*OPEN), there(), promised=("a", "b"))


def test_an_order_that_was_refused_and_is_known_is_found() -> None:
    assert "doesn't take it" in found(here(*OPEN), there(), refused=("a",))


def test_an_order_that_the_venue_booked_twice_is_doubled() -> None:
    assert "booked 2 times" in found(here(*OPEN), there(booked=2))


@pytest.mark.parametrize(
    ("events", "problem"),
    [
        ((*OPEN, Cancelled(venue_id="17")), "open here: None"),
        ((*SENT, LinkLost()), "is in suspense: unknown"),
        ((*SENT, OrderRefused(reason="no")), "is rejected and was booked"),
        ((*OPEN, Acked(venue_id="18")), "more than once"),
    ],
)
def test_an_order_that_stands_otherwise_here_than_there_is_found(
    events: tuple[OrderEvent, ...], problem: str
) -> None:
    assert problem in found(here(*events), there())


def test_a_held_order_without_a_reason_is_neither_armed_nor_accounted_for() -> None:
    dark = structs.replace(ORDER, kind="dark", trigger=Decimal(100), limit=None)
    nobody = there(booked=0)
    assert "accounted for" in found(here(Submitted(order=dark)), nobody)
    assert found(here(Submitted(order=dark), Held(reason="a gap")), nobody) == ""


def test_a_fill_that_is_only_there_is_found_in_orders_ledger_and_positions() -> None:
    text = found(here(*OPEN), there(filled=1, fills=(FILL,)))
    assert "0 and 1 times in lives" in text
    assert "0 and 1 times in the ledger" in text
    assert "None here, 1 there" in text


def test_a_fill_that_was_entered_twice_is_found() -> None:
    lives = here(*OPEN, Filled(execution=FILL))
    assert "2 and 1 times in the ledger" in found(
        lives, there(filled=1, fills=(FILL,)), ledger=(FILL, FILL)
    )


def test_a_fill_that_was_corrected_here_counts_as_it_is_now() -> None:
    told_first = structs.replace(FILL, revision=-2)
    lives = here(*OPEN, Filled(execution=told_first), Filled(execution=FILL))
    venue = there(filled=1, fills=(FILL,))
    assert "ledger" not in found(lives, venue, ledger=(told_first, FILL))
    assert "2 and 0 times in the ledger" in found(
        lives, venue, ledger=(told_first, told_first, FILL)
    )
    assert "1 and 0 times in the ledger" in found(lives, venue, ledger=(told_first,))


def told(follower: Follower, seq: int, event: OrderEvent, life: Life) -> None:
    news = OrderNews(seq=seq, time_ns=1, oid="a", account="sim.main", event=event)
    follower.take(OrdersReply(seq=seq, events=(news,), lives=(life,)))


def test_a_follower_that_is_told_all_in_order_has_no_problem() -> None:
    follower = Follower()
    told(follower, 1, SENT[0], replay(SENT[:1]))
    told(follower, 2, SENT[1], replay(SENT))
    assert follower.problems == []
    assert follower.lives == here(*SENT)


@pytest.mark.parametrize("seq", [1, 3])
def test_a_gap_and_a_repeat_in_the_stream_are_found(seq: int) -> None:
    follower = Follower()
    told(follower, 1, SENT[0], replay(SENT[:1]))
    told(follower, seq, SENT[1], replay(SENT))
    assert "expected event 2" in follower.problems[0]


def test_a_life_that_its_events_do_not_add_up_to_is_found() -> None:
    follower = Follower()
    told(follower, 1, SENT[0], replay(SENT))
    assert "add up to" in follower.problems[0]
