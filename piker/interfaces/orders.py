"""piker.Orders: the life of every order, positions and the ledger, served by emsd.

On one socket in full, on another one only what changes nothing.
"""

from decimal import Decimal
from typing import Annotated

from msgspec import Meta, Struct

from piker.accounts import AccountState, Adjustment, Position
from piker.errors import Fault
from piker.interfaces import Call, Interface, Method, Reply
from piker.interfaces.broker import InvalidOrder, NotConnected, UnknownAccount
from piker.interfaces.data import AmbiguousMarket, NoSuchMarket
from piker.markets import AssetClass
from piker.orders import Execution, Life, Order, OrderEvent, Outcome

_OID = Meta(description="the order's id")
_ACCOUNT = Meta(description="paper.PROVIDER or PROVIDER.LABEL")


class Submit(Call, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Have an order carried out, or a dark one or an alert armed.

    Answered when the intent is on disk; what comes of it are events. The same order again, oid and
    content, is answered the same and not carried out again.
    """

    order: Annotated[
        Order, Meta(description="its market and account may be less than the whole names")
    ]
    dry_run: Annotated[
        bool | None, Meta(description="true: say what would be, and do nothing; default false")
    ] = None


class SubmitReply(Reply, frozen=True, kw_only=True, omit_defaults=True):
    """How the order stands, or would, in a dry run."""

    life: Annotated[Life, Meta(description="the order and all that came of it so far")]
    seq: Annotated[int, Meta(description="of its newest event; 0 in a dry run")]
    live: Annotated[bool, Meta(description="real money")]
    warnings: Annotated[tuple[str, ...], Meta(description="what its owner should know")] = ()


class Amend(Call, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Give an order another total, limit or trigger; what is null stays."""

    oid: Annotated[str, _OID]
    size: Annotated[Decimal | None, Meta(description="the new total")] = None
    limit: Annotated[Decimal | None, Meta(description="the new limit price")] = None
    trigger: Annotated[Decimal | None, Meta(description="the new trigger, while it is held")] = None


class Cancel(Call, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Cancel an order, wherever it is. Asked again, it is sent to the venue again."""

    oid: Annotated[str, _OID]


class OrderReply(Reply, frozen=True, kw_only=True, omit_defaults=True):
    """How an order stands."""

    life: Annotated[Life, Meta(description="the order and all that came of it so far")]
    seq: Annotated[int, Meta(description="of its newest event")]


class CancelAll(Call, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Cancel every order that isn't closed, dark ones and alerts too."""

    account: Annotated[str | None, Meta(description="only of this account; null: of all")] = None
    market: Annotated[str | None, Meta(description="only in this market; null: in all")] = None


class Flatten(Call, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Cancel an account's orders, then close its positions at the market, reduce_only.

    The cancels stay asked for when its account can't be reached, which is refused then.
    """

    account: Annotated[str, _ACCOUNT]
    market: Annotated[str | None, Meta(description="only in this market; null: in all")] = None


class OidsReply(Reply, frozen=True, kw_only=True):
    """Orders that were touched."""

    oids: Annotated[tuple[str, ...], Meta(description="their ids, oldest first")]


class Orders(Call, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Every order, then every event of any; or from an event on, without a gap or a repeat."""

    since_seq: Annotated[
        int | None,
        Meta(description="only events after this one, no book; TooOld if they aren't all kept"),
    ] = None


class OrderNews(Struct, frozen=True, kw_only=True):
    """One event of one order."""

    seq: Annotated[int, Meta(description="counts all events, from 1, without a gap")]
    time_ns: Annotated[int, Meta(description="when it was recorded, UTC ns")]
    oid: Annotated[str, _OID]
    account: Annotated[str, _ACCOUNT]
    event: Annotated[OrderEvent, Meta(title="OrderEvent", description="what happened")]


class OrdersReply(Reply, frozen=True, kw_only=True, omit_defaults=True):
    """A part of the book, then events. The book is whole at the first reply with `complete`.

    Of an order's executions only the newest is in here: an order may have thousands, and events
    tell each; Timeline has all.
    """

    seq: Annotated[int, Meta(description="newest event that is in here, or in the book")]
    book: Annotated[
        tuple[Life, ...], Meta(description="all that aren't closed and the newest that are")
    ] = ()
    complete: Annotated[bool, Meta(description="false: more of the book follows")] = True
    events: Annotated[tuple[OrderNews, ...], Meta(description="oldest first")] = ()
    lives: Annotated[
        tuple[Life, ...],
        Meta(description="one for each event, in the same order: how its order stood after it"),
    ] = ()


class Timeline(Call, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """All that ever happened to an order, however old."""

    oid: Annotated[str, _OID]


class TimelineReply(Reply, frozen=True, kw_only=True):
    """An order's life."""

    life: Annotated[Life, Meta(description="what its events add up to")]
    events: Annotated[tuple[OrderNews, ...], Meta(description="oldest first")]


class Positions(Call, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is held, and what it earned; with "more" again at every change of a size."""

    account: Annotated[str | None, Meta(description="only of this account; null: of all")] = None


class PositionLine(Struct, frozen=True, kw_only=True):
    """A position, and what it is worth by the newest price."""

    position: Annotated[Position, Meta(description="what is held and what was earned")]
    price: Annotated[
        Decimal | None, Meta(description="newest seen, in the currency; null: none was")
    ] = None
    price_ns: Annotated[int | None, Meta(description="the venue's time of it, UTC ns")] = None
    open_profit: Annotated[
        Decimal | None, Meta(description="by that price, in the currency, before fees")
    ] = None


class PositionsReply(Reply, frozen=True, kw_only=True):
    """What is held."""

    positions: Annotated[
        tuple[PositionLine, ...], Meta(description="by account and market, flat ones too")
    ]


class Ledger(Call, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Entries of the ledger, in the order in which they were written."""

    account: Annotated[str | None, Meta(description="only of this account; null: of all")] = None
    market: Annotated[str | None, Meta(description="only of this market; null: of all")] = None
    after: Annotated[int | None, Meta(description="only after this number; null: from 1")] = None
    limit: Annotated[int | None, Meta(description="at most so many, 1 to 1000; default 1000")] = (
        None
    )


class LedgerLine(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One entry: an execution, a correction of one, or an adjustment."""

    number: Annotated[int, Meta(description="counts entries, from 1")]
    execution: Annotated[Execution | None, Meta(description="or a correction")] = None
    adjustment: Annotated[Adjustment | None, Meta(description="no fill of ours")] = None


class LedgerReply(Reply, frozen=True, kw_only=True):
    """Entries."""

    lines: Annotated[tuple[LedgerLine, ...], Meta(description="oldest first; empty: no more")]


class SyncLedger(Call, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Reconcile an account with its venue now."""

    account: Annotated[str, _ACCOUNT]


class ImportedMarket(Struct, frozen=True, kw_only=True):
    """What a report says of a market: enough to account for it where its provider no longer can."""

    fqme: Annotated[str, Meta(description="fqme")]
    venue_id: Annotated[str, Meta(description="the venue's own name of the market")]
    description: Annotated[str, Meta(description="a line for people")]
    asset_class: Annotated[AssetClass, Meta(description="kind of instrument")]
    currency: Annotated[str, Meta(description="currency of prices")]
    multiplier: Annotated[
        Decimal,
        Meta(description="currency units that one unit of the report's price moves one contract"),
    ]


class ImportExecutions(Call, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Enter executions of long ago, that the venue no longer tells, into the ledger.

    What is held stays as it is, since the venue has said that: adjustments that stood in for them
    are less by as much, in the same transaction. The same again changes nothing. The account has
    to be reached, and what is held there to be agreed.
    """

    account: Annotated[str, Meta(description="PROVIDER.LABEL")]
    executions: Annotated[
        tuple[Execution, ...], Meta(description="of this account, in the markets; at most 2000")
    ]
    markets: Annotated[tuple[ImportedMarket, ...], Meta(description="what they were done in")]
    source: Annotated[str, Meta(description="where they come from, for people")]
    dry_run: Annotated[
        bool | None, Meta(description="true: say what would be, and enter nothing; default false")
    ] = None


class NotImported(Struct, frozen=True, kw_only=True):
    """An execution that wasn't entered."""

    exec_id: Annotated[str, Meta(description="the venue's id, without its revision")]
    reason: Annotated[str, Meta(description="why, and what to do")]


class ImportedTo(Struct, frozen=True, kw_only=True):
    """A position before and after an import. What it holds is the same."""

    before: Annotated[Position, Meta(description="as it was")]
    after: Annotated[Position, Meta(description="as it is, or would be")]


class ImportReply(Reply, frozen=True, kw_only=True):
    """What was entered, or would be, in a dry run; it is on disk."""

    new: Annotated[int, Meta(description="executions that were not known")]
    corrected: Annotated[int, Meta(description="those that were, in an earlier revision")]
    known: Annotated[int, Meta(description="those that were, as they are or later")]
    refused: Annotated[tuple[NotImported, ...], Meta(description="those that were not entered")]
    changes: Annotated[
        tuple[ImportedTo, ...], Meta(description="the positions that earned another way, by market")
    ]


class Accounts(Call, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The accounts that were used or are configured; with "more" again at every change."""


class AccountsReply(Reply, frozen=True, kw_only=True):
    """How accounts are."""

    accounts: Annotated[tuple[AccountState, ...], Meta(description="by name")]
    halted: Annotated[str | None, Meta(description="why nothing new leaves; null: it may")] = None


class Resolve(Call, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Say what became of an order whose outcome is unknown."""

    oid: Annotated[str, _OID]
    outcome: Annotated[Outcome, Meta(description="what became of it")]
    note: Annotated[str, Meta(description="how you know; kept with it")]


class AcceptPosition(Call, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Take a position that nothing explains as it is: what its orders were blocked for ends."""

    account: Annotated[str, _ACCOUNT]
    market: Annotated[str, Meta(description="fqme")]
    note: Annotated[str, Meta(description="why; kept with it")]


class Halt(Call, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Let no new order leave until Resume, over restarts. Cancels and reducing orders still do."""

    reason: Annotated[str, Meta(description="why; shown to all")]


class Resume(Call, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """End a halt."""


class Limits(Call, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What risk allows an account in a market."""

    account: Annotated[str, _ACCOUNT]
    market: Annotated[str, Meta(description="fqme")]


class LimitsReply(Reply, frozen=True, kw_only=True):
    """What risk allows; null: it doesn't ask."""

    order_size: Annotated[Decimal | None, Meta(description="of one order, contracts or units")]
    order_notional: Annotated[
        Decimal | None, Meta(description="of one order: size, price, multiplier; the currency")
    ]
    position: Annotated[
        Decimal | None, Meta(description="size held, and at most with all open orders of a side")
    ]
    position_notional: Annotated[Decimal | None, Meta(description="the same, in the currency")]
    open_orders: Annotated[int | None, Meta(description="not closed, of the account")]
    orders_per_s: Annotated[int | None, Meta(description="of the account, in any second")]
    daily_loss: Annotated[
        Decimal | None, Meta(description="lost since the day turned, fees included; the currency")
    ]
    distance_pct: Annotated[
        Decimal | None, Meta(description="a limit price beyond the newest quote, per cent")
    ]


class Done(Reply, frozen=True, kw_only=True):
    """It is done, and on disk."""


class DuplicateOrder(Fault, frozen=True, kw_only=True):
    """Another order has this id already; a new order takes an id of its own."""

    oid: Annotated[str, _OID]


class NoSuchOrder(Fault, frozen=True, kw_only=True):
    """There is no such order."""

    oid: Annotated[str, _OID]


class NotPossible(Fault, frozen=True, kw_only=True):
    """The order can't do that as it is now."""

    oid: Annotated[str, _OID]
    state: Annotated[str, Meta(description="the state that it is in")]
    reason: Annotated[str, Meta(description="why not, and what can be done")]


class RiskRejected(Fault, frozen=True, kw_only=True):
    """Risk doesn't let it pass."""

    limit: Annotated[
        str, Meta(description="which one, as in piker.toml; or reduce_only, or unexplained")
    ]
    value: Annotated[str, Meta(description="what it would come to, at worst; with its currency")]
    allowed: Annotated[str, Meta(description="the most that may be, and where that is set")]


class NotCalledLive(Fault, frozen=True, kw_only=True):
    """The account trades real money and piker.toml didn't say that it may when emsd began."""

    account: Annotated[str, _ACCOUNT]
    expected: Annotated[str, Meta(description="what the configuration would have to say")]


class AccountUnreachable(Fault, frozen=True, kw_only=True):
    """Orders of this account can't leave now."""

    account: Annotated[str, _ACCOUNT]
    reason: Annotated[str, Meta(description="what it waits for, or what broke")]


class NoDirection(Fault, frozen=True, kw_only=True):
    """Nothing was quoted yet that says which way its trigger is crossed."""

    market: Annotated[str, Meta(description="fqme")]
    expected: Annotated[str, Meta(description="what to give, or to wait for")]


class Halted(Fault, frozen=True, kw_only=True):
    """No new order leaves until `piker resume`."""

    reason: Annotated[str, Meta(description="why, in the words of who halted")]
    since_ns: Annotated[int, Meta(description="since when, UTC ns")]


class DiskFull(Fault, frozen=True, kw_only=True):
    """Nothing new can be written down, so nothing new is done."""

    path: Annotated[str, Meta(description="where room is needed")]
    free_bytes: Annotated[int, Meta(description="how much there is")]


class BrokenJournal(Fault, frozen=True, kw_only=True):
    """The journal can't be used; it was left as it is."""

    path: Annotated[str, Meta(description="the file")]
    problem: Annotated[str, Meta(description="what was expected and what was there")]


class TooOld(Fault, frozen=True, kw_only=True):
    """Not all events since then are kept for streams; ask without since_seq."""

    first_seq: Annotated[int, Meta(description="oldest event that since_seq may name")]


class StillHeld(Fault, frozen=True, kw_only=True):
    """Not all positions could be closed."""

    account: Annotated[str, _ACCOUNT]
    markets: Annotated[tuple[str, ...], Meta(description="fqmes of those that are held on")]
    oids: Annotated[
        tuple[str, ...],
        Meta(description="what was touched all the same: cancelled, or closing the others"),
    ]
    reason: Annotated[str, Meta(description="why, of each")]


class NoMarketData(Fault, frozen=True, kw_only=True):
    """The market's datad can't be asked, so the order can't be judged."""

    market: Annotated[str, Meta(description="its name")]
    reason: Annotated[str, Meta(description="what happened, and the unit to look at")]


_READING = (
    Method("Orders", Orders, OrdersReply, "stream"),
    Method("Timeline", Timeline, TimelineReply),
    Method("Positions", Positions, PositionsReply, "either"),
    Method("Ledger", Ledger, LedgerReply),
    Method("Accounts", Accounts, AccountsReply, "either"),
    Method("Limits", Limits, LimitsReply),
)
_TRADING = (
    Method("Submit", Submit, SubmitReply),
    Method("Amend", Amend, OrderReply),
    Method("Cancel", Cancel, OrderReply),
    Method("CancelAll", CancelAll, OidsReply),
    Method("Flatten", Flatten, OidsReply),
    Method("SyncLedger", SyncLedger, Done),
    Method("ImportExecutions", ImportExecutions, ImportReply),
    Method("Resolve", Resolve, OrderReply),
    Method("AcceptPosition", AcceptPosition, Done),
    Method("Halt", Halt, Done),
    Method("Resume", Resume, Done),
)
_READING_FAULTS = (
    NoSuchOrder,
    UnknownAccount,
    NoSuchMarket,
    AmbiguousMarket,
    NoMarketData,
    BrokenJournal,
    TooOld,
)
_TRADING_FAULTS = (
    InvalidOrder,
    DuplicateOrder,
    NotPossible,
    RiskRejected,
    NotCalledLive,
    AccountUnreachable,
    NotConnected,
    NoDirection,
    Halted,
    StillHeld,
    DiskFull,
)

ORDERS_VIEW = Interface(
    "piker.Orders",
    "Orders, positions and the ledger; to look at.",
    _READING,
    _READING_FAULTS,
)
ORDERS = Interface(
    "piker.Orders",
    "Orders, positions and the ledger.",
    (*_TRADING, *_READING),
    (*_READING_FAULTS, *_TRADING_FAULTS),
)
