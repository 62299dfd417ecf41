"""What is said between the simulated venue and who trades on it: JSON objects, each ended by NUL.

    -> {"type":"Hello","token":"…"}
    <- {"type":"Welcome","accounts":["main"],"absence_proves":true}
    -> {"type":"NewOrder","ref":"0197…","account":"main","market":"s0000.xsim.sim",…}
    <- {"type":"Accepted","ref":"0197…","order_id":"17"}

What the venue says of orders goes to all who are logged on, what it answers only to who asked.
Market names are those of sim's market data. The venue knows nothing of oids: a reference is any
text that an order comes with, and two orders may come with the same.
"""

from decimal import Decimal
from typing import Literal

import msgspec
from msgspec import Struct

from piker.interfaces.broker import EndedOrder, Holding, OpenOrder, SnapshotReply, Told
from piker.orders import (
    Acked,
    AmendAcked,
    AmendRefused,
    BrokerEvent,
    Cancelled,
    CancelRefused,
    Execution,
    Filled,
    Refused,
    Side,
    Tif,
    VenueExpired,
)

PREFIX = "sim."
"""Before the venue's own name of an account."""
FEE_CURRENCY = "USD"

EndOutcome = Literal["filled", "cancelled", "rejected", "expired"]


class Hello(Struct, frozen=True, kw_only=True, tag=True):
    """The first message: who speaks may trade."""

    token: str


class NewOrder(Struct, frozen=True, kw_only=True, tag=True):
    """An order; without a limit at the market."""

    ref: str
    account: str
    market: str
    side: Side
    size: Decimal
    limit: Decimal | None
    tif: Tif


class Replace(Struct, frozen=True, kw_only=True, tag=True):
    """Another total or limit for the newest open order of a reference; `number` is the asker's."""

    ref: str
    number: int
    size: Decimal
    limit: Decimal | None


class CancelOrder(Struct, frozen=True, kw_only=True, tag=True):
    """Cancel what has this reference, or one of these ids and no reference."""

    ref: str
    order_ids: tuple[str, ...]


class CancelOpen(Struct, frozen=True, kw_only=True, tag=True):
    """Cancel what is open: all of it, or what has a reference. Answered by OpenCancelled."""

    asked: int
    scope: Literal["ours", "all"]
    account: str | None


class AskBook(Struct, frozen=True, kw_only=True, tag=True):
    """What is there, and what was done and ended since. Answered by BookIs."""

    asked: int
    since_ns: int


class Welcome(Struct, frozen=True, kw_only=True, tag=True):
    """The token is good."""

    accounts: tuple[str, ...]
    absence_proves: bool


class TurnedAway(Struct, frozen=True, kw_only=True, tag=True):
    """The token isn't good; the connection is closed."""

    reason: str


class Accepted(Struct, frozen=True, kw_only=True, tag=True):
    """An order is in the book."""

    ref: str
    order_id: str


class Rejected(Struct, frozen=True, kw_only=True, tag=True):
    """An order isn't."""

    ref: str
    reason: str


class Trade(Struct, frozen=True, kw_only=True, tag=True):
    """Some of an order was done, or what was done is corrected by a later revision."""

    exec_id: str
    revision: int
    ref: str
    order_id: str
    account: str
    market: str
    side: Side
    size: Decimal
    price: Decimal
    fee: Decimal
    time_ns: int


class Ended(Struct, frozen=True, kw_only=True, tag=True):
    """An order has left the book, its reference and id at the end."""

    ref: str
    order_id: str
    outcome: EndOutcome
    reason: str = ""


class Replaced(Struct, frozen=True, kw_only=True, tag=True):
    """An order is as was asked for; under a new id if one is given."""

    ref: str
    number: int
    size: Decimal
    limit: Decimal | None
    order_id: str = ""


class ReplaceRefused(Struct, frozen=True, kw_only=True, tag=True):
    """An order is as it was."""

    ref: str
    number: int
    reason: str


class NotCancelled(Struct, frozen=True, kw_only=True, tag=True):
    """There was nothing to cancel."""

    ref: str
    reason: str


class OpenCancelled(Struct, frozen=True, kw_only=True, tag=True):
    """Answers CancelOpen: the ids of what was cancelled."""

    asked: int
    order_ids: tuple[str, ...]


class Resting(Struct, frozen=True, kw_only=True):
    """An order in the book."""

    ref: str
    order_id: str
    account: str
    market: str
    side: Side
    size: Decimal
    filled: Decimal
    limit: Decimal | None


class Held(Struct, frozen=True, kw_only=True):
    """What an account holds in a market."""

    account: str
    market: str
    size: Decimal


class BookIs(Struct, frozen=True, kw_only=True, tag=True):
    """Answers AskBook, all of one instant. Trades in their newest revisions, oldest first."""

    asked: int
    orders: tuple[Resting, ...]
    ended: tuple[Ended, ...]
    trades: tuple[Trade, ...]
    holdings: tuple[Held, ...]


Request = Hello | NewOrder | Replace | CancelOrder | CancelOpen | AskBook
Event = Accepted | Rejected | Trade | Ended | Replaced | ReplaceRefused | NotCancelled
Answer = Welcome | TurnedAway | OpenCancelled | BookIs
Said = Event | Answer

_encode = msgspec.json.Encoder().encode
read_request = msgspec.json.Decoder(Request).decode
read_said = msgspec.json.Decoder(Said).decode


def write(message: Struct) -> bytes:
    """A message as it goes over the wire."""
    return _encode(message) + b"\0"


def told(event: Event) -> Told | None:
    """What an event says of an order in our words; None: nothing but what others say."""
    said = _said(event)
    return Told(oid=event.ref, event=said) if said else None


def _said(event: Event) -> BrokerEvent | None:
    match event:
        case Accepted():
            return Acked(venue_id=event.order_id)
        case Rejected():
            return Refused(reason=event.reason)
        case Trade():
            return Filled(execution=execution(event))
        case Replaced(number=n, size=size, limit=limit, order_id=venue_id):
            return AmendAcked(n=n, size=size, limit=limit, venue_id=venue_id)
        case ReplaceRefused():
            return AmendRefused(n=event.number, reason=event.reason)
        case NotCancelled():
            return CancelRefused(reason=event.reason)
        case Ended(outcome="cancelled"):
            return Cancelled(venue_id=event.order_id, reason=event.reason)
        case Ended(outcome="expired"):
            return VenueExpired(venue_id=event.order_id)
    return None


def execution(trade: Trade) -> Execution:
    """A trade in our words."""
    return Execution(
        exec_id=trade.exec_id,
        revision=trade.revision,
        oid=trade.ref,
        venue_id=trade.order_id,
        account=PREFIX + trade.account,
        market=trade.market,
        side=trade.side,
        size=trade.size,
        price=trade.price,
        fee=trade.fee,
        fee_currency=FEE_CURRENCY,
        time_ns=trade.time_ns,
    )


def snapshot(book: BookIs, asked_ns: int) -> SnapshotReply:
    """The book in our words."""
    return SnapshotReply(
        asked_ns=asked_ns,
        orders=tuple(_open_order(each) for each in book.orders),
        ended=tuple(
            EndedOrder(
                oid=each.ref, venue_id=each.order_id, outcome=each.outcome, reason=each.reason
            )
            for each in book.ended
        ),
        executions=tuple(execution(each) for each in book.trades),
        holdings=tuple(
            Holding(account=PREFIX + each.account, market=each.market, size=each.size)
            for each in book.holdings
        ),
    )


def _open_order(order: Resting) -> OpenOrder:
    return OpenOrder(
        oid=order.ref,
        venue_id=order.order_id,
        account=PREFIX + order.account,
        market=order.market,
        side=order.side,
        size=order.size,
        filled=order.filled,
        limit=order.limit,
    )
