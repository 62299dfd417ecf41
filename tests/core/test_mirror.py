"""A client's orders: what the replies of a stream add up to."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis.strategies import integers
from msgspec.structs import replace

from piker.core.lifecycle import replay
from piker.core.mirror import CLOSED_KEPT, Mirror, history
from piker.interfaces.orders import OrderNews, OrdersReply
from piker.orders import Acked, CancelAsked, Life, Order, OrderEvent, Sending, Submitted

ORDER = Order(
    oid="o1",
    account="paper.replay",
    market="eurusd.spot.replay",
    side="buy",
    size=Decimal(10),
    kind="limit",
    limit=Decimal("1.2"),
)
SENDING = Sending(size=Decimal(10), limit=Decimal("1.2"), not_after_ns=1)
EVENTS: tuple[OrderEvent, ...] = (
    Submitted(order=ORDER),
    SENDING,
    Acked(venue_id="v1"),
    CancelAsked(),
)
LIVES = tuple(replay(EVENTS[: n + 1]) for n in range(len(EVENTS)))


def news(seq: int, event: OrderEvent) -> OrderNews:
    """An event of the order."""
    return OrderNews(seq=seq, time_ns=seq, oid="o1", account="paper.replay", event=event)


def told(first: int, last: int) -> OrdersReply:
    """Events of the order, by number."""
    numbers = range(first, last + 1)
    return OrdersReply(
        seq=last,
        events=tuple(news(n, EVENTS[n - 1]) for n in numbers),
        lives=tuple(LIVES[n - 1] for n in numbers),
    )


def other(oid: str, *events: OrderEvent) -> Life:
    """Another order, and what came of it."""
    return replay((Submitted(order=replace(ORDER, oid=oid)), *events))


def test_a_book_is_there_when_it_is_whole() -> None:
    mirror = Mirror()
    part = OrdersReply(seq=7, book=(other("a"),), complete=False)
    assert mirror.take(part) == []
    assert mirror.since is None
    changes = mirror.take(OrdersReply(seq=7, book=(other("b"),)))
    assert [(each.life.order.oid, each.before, each.news) for each in changes] == [
        ("a", None, None),
        ("b", None, None),
    ]
    assert list(mirror.lives) == ["a", "b"]
    assert mirror.since == 7


def test_an_event_changes_an_order_from_what_it_was_to_what_it_is() -> None:
    mirror = Mirror()
    mirror.take(OrdersReply(seq=1, book=LIVES[:1]))
    sending, acked = mirror.take(told(2, 3))
    assert (sending.before, sending.life, acked.before, acked.life) == (
        *(LIVES[0], LIVES[1]),
        *(LIVES[1], LIVES[2]),
    )
    assert (mirror.since, mirror.lives["o1"]) == (3, LIVES[2])


@given(integers(0, 4), integers(0, 4))
def test_what_comes_again_counts_once(first: int, again: int) -> None:
    mirror = Mirror()
    mirror.take(OrdersReply(seq=0))
    changes = [*mirror.take(told(1, first)), *mirror.take(told(1, max(first, again)))]
    assert [each.news.seq for each in changes if each.news] == list(range(1, max(first, again) + 1))


def test_a_book_that_is_taken_anew_tells_what_changed_unseen_and_forgets_the_rest() -> None:
    mirror = Mirror()
    mirror.take(OrdersReply(seq=1, book=(*LIVES[:1], other("gone"), other("same"))))
    mirror.start_over()
    assert mirror.since is None
    changes = mirror.take(OrdersReply(seq=90, book=(LIVES[2], other("same"))))
    assert [(each.before, each.life, each.news) for each in changes] == [(LIVES[0], LIVES[2], None)]
    assert list(mirror.lives) == ["o1", "same"]
    assert mirror.since == 90


def test_the_oldest_closed_orders_are_forgotten_and_no_open_one_is() -> None:
    mirror = Mirror()
    closed = [other(f"closed{n}", CancelAsked()) for n in range(CLOSED_KEPT + 3)]
    mirror.take(OrdersReply(seq=1, book=(other("open"), *closed)))
    assert len(mirror.lives) == CLOSED_KEPT + 1
    assert "open" in mirror.lives
    assert "closed2" not in mirror.lives
    assert "closed3" in mirror.lives


def test_one_that_begins_with_an_order_asks_for_what_comes_after() -> None:
    mirror = Mirror.with_one(LIVES[1], 2)
    assert mirror.since == 2
    (change,) = mirror.take(told(3, 3))
    assert (change.before, change.life) == (LIVES[1], LIVES[2])


def test_a_history_tells_how_the_order_stood_after_each_event() -> None:
    changes = list(history([news(n + 1, event) for n, event in enumerate(EVENTS)]))
    assert [each.life for each in changes] == list(LIVES)
    assert [each.before for each in changes] == [None, *LIVES[:-1]]


def test_a_history_without_its_beginning_is_refused() -> None:
    with pytest.raises(ValueError, match="expected Submitted at first, was Acked"):
        list(history([news(3, EVENTS[2])]))
