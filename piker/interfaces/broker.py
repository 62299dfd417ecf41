"""piker.Broker: order control at one provider, served by brokerd and by paperboi alike.

Whoever opened a session is its only sender: `Place` and `Amend` carry the session and an instant
after which they are refused, so that a request which a killed sender left behind is never carried
out. Every fault here promises that nothing of the call has reached the venue.
"""

from decimal import Decimal
from typing import Annotated, Literal

from msgspec import Meta, Struct

from piker.accounts import Balance
from piker.errors import Fault
from piker.interfaces import Call, Interface, Method, Reply
from piker.orders import BrokerEvent, Execution, Side, Tif

_SESSION = Meta(description="of the newest Open; another one is refused as StaleSession")
_NOT_AFTER = Meta(description="refused as TooLate after this, CLOCK_BOOTTIME ns")
_OID = Meta(description="order reference")
_ACCOUNT = Meta(description="paper.PROVIDER or PROVIDER.LABEL")


class Open(Call, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Take control: a new session, then the state of the link and what the venue says of orders.

    The session before it is over, its stream ended with Superseded. What was said while nobody had
    a session is not repeated: ask for a Snapshot whenever the link comes up.
    """


class Opened(Struct, frozen=True, kw_only=True):
    """A session, and what there is to trade on."""

    session: Annotated[str, Meta(description="random; to be given with Place and Amend")]
    live: Annotated[bool, Meta(description="real money")]
    accounts: Annotated[tuple[str, ...], Meta(description="accounts to trade on; whole names")]
    absence_proves: Annotated[
        bool, Meta(description="an order that no list of the venue has is not there")
    ]


class Link(Struct, frozen=True, kw_only=True):
    """Whether the venue can be asked. It was lost in between, if it comes up twice in a row."""

    up: Annotated[bool, Meta(description="orders can be handed over")]
    reason: Annotated[
        str, Meta(description="what it waits for, or what broke; while up: why none is taken")
    ] = ""
    needs_login: Annotated[
        bool, Meta(description="somebody has to log in there, or to confirm a login")
    ] = False


class Told(Struct, frozen=True, kw_only=True):
    """The venue has said something of an order."""

    oid: Annotated[str, Meta(description="order reference; empty: not an order of ours")]
    event: Annotated[BrokerEvent, Meta(title="BrokerEvent", description="what it said")]


class OpenReply(Reply, frozen=True, kw_only=True, omit_defaults=True):
    """One of these, in the order in which they happened."""

    opened: Annotated[Opened | None, Meta(description="only in the first reply")] = None
    link: Annotated[Link | None, Meta(description="when the link changed; in the first, too")] = (
        None
    )
    told: Annotated[tuple[Told, ...], Meta(description="what the venue said, oldest first")] = ()


class Place(Call, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Hand an order to the venue. The reply says that it was handed over; events say the rest."""

    session: Annotated[str, _SESSION]
    not_after_boot_ns: Annotated[int, _NOT_AFTER]
    oid: Annotated[str, _OID]
    account: Annotated[str, _ACCOUNT]
    market: Annotated[str, Meta(description="fqme")]
    side: Annotated[Side, Meta(description="buy or sell")]
    size: Annotated[Decimal, Meta(description="contracts or units")]
    limit: Annotated[Decimal | None, Meta(description="limit price; null: at the market")]
    tif: Annotated[Tif, Meta(description="time in force")]


class Amend(Call, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Ask the venue for another total or limit. Answered by AmendAcked or AmendRefused."""

    session: Annotated[str, _SESSION]
    not_after_boot_ns: Annotated[int, _NOT_AFTER]
    oid: Annotated[str, _OID]
    n: Annotated[int, Meta(description="counts this order's amendments, from 1")]
    size: Annotated[Decimal, Meta(description="the new total")]
    limit: Annotated[Decimal | None, Meta(description="the new limit price; null: none")]


class Cancel(Call, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Cancel an order by its reference and by each id that it is known to have. Needs no session.

    Of an order that the venue doesn't know, it says CancelRefused.
    """

    oid: Annotated[str, _OID]
    venue_ids: Annotated[tuple[str, ...], Meta(description="ids at the venue, if any are known")]


class CancelAll(Call, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Cancel what is open. Needs no session."""

    scope: Annotated[
        Literal["ours", "all"], Meta(description="ours: orders with a reference of ours")
    ]
    account: Annotated[str | None, Meta(description="only of this account; null: of all")] = None


class Snapshot(Call, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the venue holds. Needs no session. What is sent before it is asked for is in it."""

    since_ns: Annotated[int, Meta(description="executions and ends since then, UTC ns")]


class Done(Reply, frozen=True, kw_only=True):
    """It was handed to the venue."""


class CancelAllReply(Reply, frozen=True, kw_only=True):
    """What was asked to be cancelled."""

    venue_ids: Annotated[tuple[str, ...], Meta(description="the venue's ids of the orders")]


class OpenOrder(Struct, frozen=True, kw_only=True):
    """An order that the venue works on."""

    oid: Annotated[str, Meta(description="order reference; empty: not an order of ours")]
    venue_id: Annotated[str, Meta(description="the venue's id of the order")]
    account: Annotated[str, _ACCOUNT]
    market: Annotated[str, Meta(description="fqme, or the venue's name if it isn't known")]
    side: Annotated[Side, Meta(description="buy or sell")]
    size: Annotated[Decimal, Meta(description="the total")]
    filled: Annotated[Decimal, Meta(description="done so far")]
    limit: Annotated[Decimal | None, Meta(description="limit price; null: at the market")]


class EndedOrder(Struct, frozen=True, kw_only=True):
    """An order that the venue no longer works on."""

    oid: Annotated[str, _OID]
    venue_id: Annotated[str, Meta(description="the venue's id of the order")]
    outcome: Annotated[
        Literal["filled", "cancelled", "rejected", "expired"], Meta(description="how it ended")
    ]
    reason: Annotated[str, Meta(description="the venue's words")] = ""


class Holding(Struct, frozen=True, kw_only=True):
    """What the venue says an account holds in a market."""

    account: Annotated[str, _ACCOUNT]
    market: Annotated[str, Meta(description="fqme, or the venue's name if it isn't known")]
    size: Annotated[Decimal, Meta(description="contracts or units; negative: short")]
    average_price: Annotated[
        Decimal | None, Meta(description="per unit, in the market's currency; null: not said")
    ] = None


class SnapshotReply(Reply, frozen=True, kw_only=True):
    """What the venue holds: all of it as of one instant, or it would be a fault."""

    asked_ns: Annotated[int, Meta(description="when the venue was asked, UTC ns")]
    orders: Annotated[tuple[OpenOrder, ...], Meta(description="all that are open")]
    ended: Annotated[tuple[EndedOrder, ...], Meta(description="those that ended since, if it says")]
    executions: Annotated[tuple[Execution, ...], Meta(description="newest revisions, oldest first")]
    holdings: Annotated[tuple[Holding, ...], Meta(description="all that aren't flat")]
    balances: Annotated[
        tuple[Balance, ...], Meta(description="of those accounts whose venue told it")
    ] = ()


class StaleSession(Fault, frozen=True, kw_only=True):
    """Somebody else has taken over since, so nothing was sent."""

    session: Annotated[str, Meta(description="the one that was given")]


class TooLate(Fault, frozen=True, kw_only=True):
    """It waited for too long, so nothing was sent."""

    late_ms: Annotated[int, Meta(description="by how much, ms")]


class NotConnected(Fault, frozen=True, kw_only=True):
    """The venue can't be asked now: nothing was sent, and nothing is kept for later."""

    reason: Annotated[str, Meta(description="what it waits for, or what broke")]


class Superseded(Fault, frozen=True, kw_only=True):
    """Somebody else has taken control."""


class UnknownAccount(Fault, frozen=True, kw_only=True):
    """There is no such account here."""

    account: Annotated[str, Meta(description="the one that was given")]
    allowed: Annotated[tuple[str, ...], Meta(description="those there are")]


class InvalidOrder(Fault, frozen=True, kw_only=True):
    """The order is not valid as it is."""

    field: Annotated[str, Meta(description="what is wrong")]
    value: Annotated[str, Meta(description="what was given")]
    allowed: Annotated[str, Meta(description="what would do")]


class CredentialRefused(Fault, frozen=True, kw_only=True):
    """A credential is missing, or the venue doesn't take it."""

    name: Annotated[str, Meta(description="which credential")]
    reason: Annotated[str, Meta(description="what is wrong; never the value")]


BROKER = Interface(
    "piker.Broker",
    "Order control at one provider.",
    (
        Method("Open", Open, OpenReply, "stream"),
        Method("Place", Place, Done),
        Method("Amend", Amend, Done),
        Method("Cancel", Cancel, Done),
        Method("CancelAll", CancelAll, CancelAllReply),
        Method("Snapshot", Snapshot, SnapshotReply),
    ),
    (
        StaleSession,
        TooLate,
        NotConnected,
        Superseded,
        UnknownAccount,
        InvalidOrder,
        CredentialRefused,
    ),
)
