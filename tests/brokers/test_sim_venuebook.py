"""The simulated venue's book, whatever is asked of it in whatever order; and its faults."""

from collections.abc import Iterable
from decimal import Decimal

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from piker.brokers.sim.tradewire import (
    Accepted,
    CancelOrder,
    Ended,
    Event,
    NewOrder,
    Rejected,
    Replace,
    Trade,
    told,
)
from piker.brokers.sim.venuebook import Book, Kept
from piker.brokers.sim.venuecontrol import Fault, Faults, MessageFault, RequestFault
from piker.interfaces.broker import Told
from piker.orders import Side

MARKET = "s0000.xsim.sim"
PRICES = [Decimal(price) for price in (100, 101, 102)]
REFS = st.sampled_from(["", "a", "b", "c"])
SIZES = st.integers(1, 9).map(Decimal)
LIMITS = st.sampled_from(PRICES)

ORDERS = st.builds(
    NewOrder,
    ref=REFS,
    account=st.just("main"),
    market=st.just(MARKET),
    side=st.sampled_from(["buy", "sell"]),
    size=SIZES,
    limit=st.one_of(st.none(), LIMITS),
    tif=st.sampled_from(["day", "gtc", "ioc"]),
)
REPLACES = st.builds(Replace, ref=REFS, number=st.integers(1, 9), size=SIZES, limit=LIMITS)
CANCELS = st.builds(CancelOrder, ref=REFS, order_ids=st.just(("1", "2")))
STEPS = st.lists(st.one_of(ORDERS, REPLACES, CANCELS, LIMITS), max_size=30)
DEPTHS = st.one_of(st.none(), SIZES)


def a_book() -> Book:
    return Book(("main",), {MARKET: PRICES[1]}.get)


def do(book: Book, step: object, now_ns: int) -> Iterable[Event]:
    """One thing that happens to a book."""
    match step:
        case NewOrder():
            return book.take(step, now_ns)
        case Replace():
            return book.replace(step, now_ns)
        case CancelOrder():
            return book.cancel(step, now_ns)
        case Decimal():
            return book.move(MARKET, step, now_ns)
    raise AssertionError(step)


def run(steps: list[object], depth: Decimal | None, *, renames: bool) -> tuple[Book, list[Event]]:
    """A book to which all of this has happened, and what it said."""
    book = a_book()
    book.know(depth=depth, renames=renames)
    return book, [event for now_ns, step in enumerate(steps) for event in do(book, step, now_ns)]


@given(STEPS, DEPTHS, st.booleans())
def test_what_an_order_is_filled_is_the_sum_of_its_trades_and_never_more_than_its_size(
    steps: list[object], depth: Decimal | None, renames: bool
) -> None:
    book, _ = run(steps, depth, renames=renames)
    assert sum(order.filled for order in book.orders.values()) == sum(
        trade.size for trade in book.trades.values()
    )
    assert all(order.filled <= order.size for order in book.orders.values())
    whole = [order.filled == order.size for order in book.orders.values()]
    assert whole == [order.outcome == "filled" for order in book.orders.values()]


@given(STEPS, DEPTHS, st.booleans())
def test_every_order_is_accepted_or_rejected_and_ends_at_most_once(
    steps: list[object], depth: Decimal | None, renames: bool
) -> None:
    book, events = run(steps, depth, renames=renames)
    taken = [event for event in events if isinstance(event, Accepted | Rejected)]
    ended = [event for event in events if isinstance(event, Ended)]
    assert len(taken) == len(book.orders)
    assert len(ended) == len([order for order in book.orders.values() if order.outcome])


@given(STEPS, DEPTHS, st.booleans())
def test_what_was_saved_is_the_book(
    steps: list[object], depth: Decimal | None, renames: bool
) -> None:
    book, _ = run(steps, depth, renames=renames)
    again = a_book()
    for kept in book.unsaved:
        again.load(msgspec.json.decode(msgspec.json.encode(kept), type=Kept))
    assert again.show(0, 0) == book.show(0, 0)
    assert again.facts == book.facts


@given(STEPS, DEPTHS)
def test_what_is_held_is_what_was_traded(steps: list[object], depth: Decimal | None) -> None:
    book, events = run(steps, depth, renames=False)
    signs: dict[Side, int] = {"buy": 1, "sell": -1}
    traded = sum(signs[event.side] * event.size for event in events if isinstance(event, Trade))
    assert sum(held.size for held in book.show(0, 0).holdings) == traded


@given(STEPS, DEPTHS)
def test_all_that_is_said_can_be_said_in_our_words_but_that_an_order_is_full(
    steps: list[object], depth: Decimal | None
) -> None:
    _, events = run(steps, depth, renames=True)
    for event in events:
        full = isinstance(event, Ended) and event.outcome == "filled"
        assert full != isinstance(told(event), Told)


def struck(does: RequestFault | MessageFault, *, nth: int, times: int) -> list[bool]:
    """Which of six messages a fault strikes."""
    faults = Faults()
    faults.add(Fault(does=does, on="Accepted", nth=nth, times=times))
    message = Accepted(ref="a", order_id="1")
    return [bool(faults.of_message(message)) for _ in range(6)]


def test_a_fault_strikes_from_the_nth_message_on_as_often_as_it_says() -> None:
    assert struck("drop", nth=1, times=1) == [True, False, False, False, False, False]
    assert struck("drop", nth=2, times=3) == [False, True, True, True, False, False]


def test_a_fault_of_requests_strikes_nothing_that_is_said() -> None:
    assert struck("swallow", nth=1, times=6) == [False] * 6


def test_faults_count_each_for_itself_and_the_first_that_is_due_strikes() -> None:
    faults = Faults()
    faults.add(Fault(does="drop", on="Accepted", nth=2))
    faults.add(Fault(does="repeat", on="", nth=1))
    first, second = (faults.of_message(Accepted(ref="a", order_id="1")) for _ in range(2))
    assert [each and each.does for each in (first, second)] == ["repeat", "drop"]
