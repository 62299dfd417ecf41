"""What is asked of a market and what came of it: orders, executions, events, and their sum."""

from decimal import Decimal
from typing import Annotated, Literal

from msgspec import Meta, Struct, structs

Side = Literal["buy", "sell"]
OrderKind = Literal["limit", "market", "dark", "alert"]
When = Literal["above", "below"]
Tif = Literal["day", "gtc", "ioc"]
OnGap = Literal["hold", "fire", "cancel"]
OrderState = Literal[
    "held", "sending", "open", "unknown", "filled", "cancelled", "rejected", "expired"
]
Outcome = Literal["open", "filled", "cancelled", "rejected"]
CLOSED: frozenset[OrderState] = frozenset({"filled", "cancelled", "rejected", "expired"})

NOTHING = Decimal(0)
ALL_CANCELLED = "all were cancelled"
"""Why an order was cancelled by CancelAll."""
SLIP_TICKS = 5
SLIP_MAX_PCT = Decimal("0.5")


class Order(Struct, frozen=True, kw_only=True):
    """What its owner asks for. `oid` is the owner's, and an idempotency key."""

    oid: Annotated[str, Meta(description="UUIDv7, the client's; the venue's order reference")]
    account: Annotated[str, Meta(description="paper.PROVIDER or PROVIDER.LABEL")]
    market: Annotated[str, Meta(description="fqme")]
    side: Annotated[Side, Meta(description="buy or sell; of an alert without meaning")]
    size: Annotated[Decimal, Meta(description="the total, contracts or units; 0 for an alert")]
    kind: Annotated[
        OrderKind, Meta(description="dark: hidden here until its trigger; alert: only told")
    ]
    limit: Annotated[
        Decimal | None, Meta(description="limit price; of a dark order: none, it slips")
    ] = None
    trigger: Annotated[Decimal | None, Meta(description="price of a dark order or alert")] = None
    when: Annotated[
        When | None, Meta(description="which way the trigger is crossed; null: by the newest quote")
    ] = None
    sends: Annotated[
        Literal["limit", "market"], Meta(description="what a dark order sends when triggered")
    ] = "limit"
    tif: Annotated[Tif, Meta(description="time in force")] = "gtc"
    expires_ns: Annotated[int | None, Meta(description="ends then, UTC ns")] = None
    reduce_only: Annotated[bool, Meta(description="never opens or grows a position")] = False
    on_gap: Annotated[
        OnGap, Meta(description="what if its trigger was crossed while nobody watched")
    ] = "hold"
    slip_ticks: Annotated[
        int, Meta(description="a triggered limit is so many ticks past the tick")
    ] = SLIP_TICKS
    slip_max_pct: Annotated[
        Decimal, Meta(description="and never more than this past the trigger, per cent")
    ] = SLIP_MAX_PCT


class Execution(Struct, frozen=True, kw_only=True):
    """One fill, as the venue says it. A correction has the same `exec_id` and a later revision."""

    exec_id: Annotated[str, Meta(description="the venue's id, without its revision")]
    revision: Annotated[
        int,
        Meta(
            description="0, then counts up with each correction; below 0: told before the venue "
            "said what it cost"
        ),
    ] = 0
    oid: Annotated[str, Meta(description="order reference; empty: not an order of ours")]
    venue_id: Annotated[str, Meta(description="the venue's id of the order")]
    account: Annotated[str, Meta(description="paper.PROVIDER or PROVIDER.LABEL")]
    market: Annotated[str, Meta(description="fqme")]
    side: Annotated[Side, Meta(description="buy or sell")]
    size: Annotated[Decimal, Meta(description="contracts or units; 0: the fill was taken back")]
    price: Annotated[Decimal, Meta(description="in the market's currency")]
    fee: Annotated[Decimal, Meta(description="paid, in fee_currency; negative: received")]
    fee_currency: Annotated[str, Meta(description="of the fee")]
    time_ns: Annotated[int, Meta(description="the venue's time, UTC ns")]
    derived: Annotated[bool, Meta(description="matched on a price that was derived")] = False


# Our side of a life.


class Submitted(Struct, frozen=True, kw_only=True, tag=True):
    """Its owner asked for it and it was admitted. Every life begins so."""

    order: Annotated[Order, Meta(description="as it was asked for")]


class Held(Struct, frozen=True, kw_only=True, tag=True):
    """It stays here for now, and its trigger does nothing."""

    reason: Annotated[str, Meta(description="why: halted, a gap, the account isn't ready")]


class Armed(Struct, frozen=True, kw_only=True, tag=True):
    """It waits for its trigger from here on."""

    when: Annotated[When, Meta(description="which way the trigger is crossed")]
    since_ns: Annotated[int, Meta(description="what was shown before can't have crossed it, UTC")]
    reason: Annotated[str, Meta(description="why again")] = ""


class Triggered(Struct, frozen=True, kw_only=True, tag=True):
    """A tick crossed its trigger. An alert has then done its work."""

    price: Annotated[Decimal, Meta(description="the tick's, in the market's currency")]
    time_ns: Annotated[int, Meta(description="the tick's, UTC ns")]


class Sending(Struct, frozen=True, kw_only=True, tag=True):
    """It is being handed to the broker daemon. An order is sent once, ever."""

    size: Annotated[Decimal, Meta(description="the total that is sent; reduce_only caps it")]
    limit: Annotated[Decimal | None, Meta(description="limit price; null: at the market")]
    not_after_ns: Annotated[int, Meta(description="the broker daemon refuses it later, UTC ns")]


class Silence(Struct, frozen=True, kw_only=True, tag=True):
    """What was sent had no answer for too long."""


class LinkLost(Struct, frozen=True, kw_only=True, tag=True):
    """The way to the venue broke; answers that were under way may never come."""

    reason: Annotated[str, Meta(description="what broke")] = ""


class AmendAsked(Struct, frozen=True, kw_only=True, tag=True):
    """Its owner wants another size or limit."""

    n: Annotated[int, Meta(description="counts this order's amendments, from 1")]
    size: Annotated[Decimal, Meta(description="the new total")]
    limit: Annotated[Decimal | None, Meta(description="the new limit price; null: none")]
    trigger: Annotated[
        Decimal | None, Meta(description="the new trigger, while held; null: as it was")
    ] = None
    not_after_ns: Annotated[int, Meta(description="the broker daemon refuses it later, UTC ns")]


class CancelAsked(Struct, frozen=True, kw_only=True, tag=True):
    """It is no longer wanted."""

    reason: Annotated[str, Meta(description="whose wish, or what made it needless")] = ""


class Expired(Struct, frozen=True, kw_only=True, tag=True):
    """Its `expires_ns` has come."""


class Resolved(Struct, frozen=True, kw_only=True, tag=True):
    """Its owner says what became of it, where no evidence did."""

    outcome: Annotated[Outcome, Meta(description="what became of it")]
    note: Annotated[str, Meta(description="how its owner knows")]


# The venue's side of a life, as a broker daemon tells it. The last two are what reconciliation
# makes of the venue's lists.


class Acked(Struct, frozen=True, kw_only=True, tag=True):
    """The venue took it."""

    venue_id: Annotated[str, Meta(description="the venue's id of the order")]


class Refused(Struct, frozen=True, kw_only=True, tag=True):
    """The venue or the broker daemon did not take it, or risk did not let it out."""

    reason: Annotated[str, Meta(description="the venue's words, or a named error")]


class Filled(Struct, frozen=True, kw_only=True, tag=True):
    """Some of it was done, or what was done is corrected: a later revision replaces."""

    execution: Annotated[Execution, Meta(description="as the venue says it")]


class Cancelled(Struct, frozen=True, kw_only=True, tag=True):
    """The venue ended it. Not said of an incarnation that an amendment replaced."""

    venue_id: Annotated[str, Meta(description="which one ended; empty: all of this order")] = ""
    reason: Annotated[str, Meta(description="the venue's words")] = ""


class VenueExpired(Struct, frozen=True, kw_only=True, tag=True):
    """The venue ended it because its time in force was over."""

    venue_id: Annotated[str, Meta(description="which one ended; empty: all of this order")] = ""


class AmendAcked(Struct, frozen=True, kw_only=True, tag=True):
    """The venue took an amendment."""

    n: Annotated[int, Meta(description="which amendment")]
    size: Annotated[Decimal, Meta(description="the total from here on")]
    limit: Annotated[Decimal | None, Meta(description="limit price from here on")]
    venue_id: Annotated[
        str, Meta(description="a new id in place of all earlier ones; empty: as it was")
    ] = ""


class AmendRefused(Struct, frozen=True, kw_only=True, tag=True):
    """The venue or the broker daemon did not take an amendment; the order is as it was."""

    n: Annotated[int, Meta(description="which amendment")]
    reason: Annotated[str, Meta(description="the venue's words, or a named error")]


class CancelRefused(Struct, frozen=True, kw_only=True, tag=True):
    """The venue did not cancel."""

    reason: Annotated[str, Meta(description="the venue's words")]


class Listed(Struct, frozen=True, kw_only=True, tag=True):
    """Reconciliation found it among the venue's open orders."""

    venue_id: Annotated[str, Meta(description="the venue's id of the order")]
    size: Annotated[Decimal, Meta(description="the total there")]
    limit: Annotated[Decimal | None, Meta(description="limit price there")]
    asked_ns: Annotated[int, Meta(description="when the list was asked for, UTC ns")]


class Absent(Struct, frozen=True, kw_only=True, tag=True):
    """Reconciliation found it nowhere; twice, at a venue of which that proves nothing.

    The executions of the same answer are told before it. Not said of an order of which the venue
    spoke since it was asked.
    """

    asked_ns: Annotated[int, Meta(description="when the list was asked for, UTC ns")]
    proves: Annotated[
        bool, Meta(description="it isn't there; false: such a venue may leave out what it has")
    ] = True


OurEvent = (
    Submitted
    | Held
    | Armed
    | Triggered
    | Sending
    | Silence
    | LinkLost
    | AmendAsked
    | CancelAsked
    | Expired
    | Resolved
)
BrokerEvent = (
    Acked | Refused | Filled | Cancelled | VenueExpired | AmendAcked | AmendRefused | CancelRefused
)
VenueEvent = BrokerEvent | Listed | Absent
OrderEvent = OurEvent | VenueEvent


# What they add up to, and what follows.


class PendingAmend(Struct, frozen=True, kw_only=True):
    """An amendment that the venue has not answered."""

    n: Annotated[int, Meta(description="which one, from 1")]
    size: Annotated[Decimal, Meta(description="the new total")]
    limit: Annotated[Decimal | None, Meta(description="the new limit price; null: none")]
    not_after_ns: Annotated[int, Meta(description="the broker daemon refuses it later, UTC ns")]
    unknown: Annotated[bool, Meta(description="the answer may never come")] = False


class PendingCancel(Struct, frozen=True, kw_only=True):
    """A cancel that the venue has not answered."""

    ends: Annotated[Literal["cancelled", "expired"], Meta(description="what it is when it worked")]
    unknown: Annotated[bool, Meta(description="the answer may never come")] = False


class Life(Struct, frozen=True, kw_only=True):
    """An order and all that came of it so far."""

    order: Annotated[Order, Meta(description="as it was asked for")]
    state: Annotated[OrderState, Meta(description="where it is in the table")] = "held"
    reason: Annotated[str, Meta(description="why it is so, in words that are true now")] = ""
    size: Annotated[Decimal, Meta(description="the total, as sent or as last amended")]
    limit: Annotated[Decimal | None, Meta(description="limit price, likewise; null: none")]
    trigger: Annotated[Decimal | None, Meta(description="of a dark order or alert")]
    armed: Annotated[bool, Meta(description="it waits for its trigger")] = False
    when: Annotated[When | None, Meta(description="which way that is crossed")] = None
    armed_ns: Annotated[
        int, Meta(description="what was shown before can't have crossed it, UTC ns")
    ] = 0
    triggered: Annotated[Triggered | None, Meta(description="the tick that fired it")] = None
    not_after_ns: Annotated[
        int, Meta(description="it can't have reached the venue later, UTC ns; 0: never sent")
    ] = 0
    amends: Annotated[int, Meta(description="number of amendments asked for")] = 0
    amended: Annotated[int, Meta(description="the newest amendment in effect; 0: none")] = 0
    amend: Annotated[PendingAmend | None, Meta(description="not answered yet")] = None
    cancel: Annotated[PendingCancel | None, Meta(description="not answered yet")] = None
    venue_ids: Annotated[
        tuple[str, ...], Meta(description="every id it came to have at the venue, oldest first")
    ] = ()
    gone: Annotated[tuple[str, ...], Meta(description="those that ended, as the venue says")] = ()
    executions: Annotated[
        tuple[Execution, ...], Meta(description="the newest revision of each, by the venue's time")
    ] = ()
    filled: Annotated[Decimal, Meta(description="done so far, contracts or units")] = NOTHING
    value: Annotated[Decimal, Meta(description="size times price, summed over that")] = NOTHING
    average_price: Annotated[
        Decimal | None, Meta(description="of what is done; null: nothing is")
    ] = None
    late: Annotated[int, Meta(description="number of executions told after it was closed")] = 0

    @property
    def closed(self) -> bool:
        """Whether it is over."""
        return self.state in CLOSED

    @property
    def brief(self) -> "Life":
        """The same with only the newest of its executions, which may be thousands."""
        if len(self.executions) < 2:
            return self
        return structs.replace(self, executions=self.executions[-1:])

    @property
    def remaining(self) -> Decimal:
        """What is not done of the total."""
        return max(self.size - self.filled, NOTHING)

    @property
    def live(self) -> tuple[str, ...]:
        """The ids at the venue that are not known to have ended."""
        return tuple(venue_id for venue_id in self.venue_ids if venue_id not in self.gone)

    @property
    def whole(self) -> bool:
        """Whether all was done, also of what an amendment under way may have made it."""
        total = max(self.size, self.amend.size) if self.amend else self.size
        return self.filled > 0 and self.filled >= total


class LateFill(Struct, frozen=True, kw_only=True, tag=True):
    """A closed order was filled after all."""

    execution: Annotated[Execution, Meta(description="as the venue says it")]


class Corrected(Struct, frozen=True, kw_only=True, tag=True):
    """The venue took an execution back, or changed it."""

    before: Annotated[Execution, Meta(description="what counted so far")]
    after: Annotated[Execution, Meta(description="what counts now")]


class Doubled(Struct, frozen=True, kw_only=True, tag=True):
    """The order is at the venue more than once."""

    venue_ids: Annotated[tuple[str, ...], Meta(description="the venue's ids, all of them live")]


class CancelAtVenue(Struct, frozen=True, kw_only=True, tag=True):
    """To do: cancel it by its reference and by each of these ids. Doing it twice does no harm."""

    oid: Annotated[str, Meta(description="order reference")]
    venue_ids: Annotated[tuple[str, ...], Meta(description="the venue's ids; empty: none known")]


Consequence = LateFill | Corrected | Doubled | CancelAtVenue
