"""What is written into the journal, and what is read back from it."""

from typing import Annotated

from msgspec import Meta, Struct

from piker.accounts import Adjustment, Entry, Position
from piker.interfaces.orders import LedgerLine, OrderNews
from piker.orders import Execution, OrderEvent

_OID = Meta(description="the order's id")


class Happened(Struct, frozen=True, kw_only=True):
    """One event of one order, before it has a number. It puts its order into the book."""

    time_ns: Annotated[int, Meta(description="when, UTC ns")]
    oid: Annotated[str, _OID]
    account: Annotated[str, Meta(description="paper.PROVIDER or PROVIDER.LABEL")]
    event: Annotated[OrderEvent, Meta(description="what happened")]


class Note(Struct, frozen=True, kw_only=True):
    """Something to remember that no event says. A later one of the same key replaces it."""

    oid: Annotated[str, Meta(description="the order's id; empty: of no order")]
    key: Annotated[str, Meta(description="what it is")]
    value: Annotated[str, Meta(description="in words of whoever wrote it")]


class Archived(Struct, frozen=True, kw_only=True):
    """An order leaves the book: a start doesn't read it. Its next event brings it back whole."""

    oid: Annotated[str, _OID]


class Base(Struct, frozen=True, kw_only=True):
    """What a market's entries up to one of them add up to, so that a start begins there.

    To correct an entry that is inside, or to add one older than its newest, sum all anew.
    """

    account: Annotated[str, Meta(description="paper.PROVIDER or PROVIDER.LABEL")]
    market: Annotated[str, Meta(description="fqme")]
    number: Annotated[int, Meta(description="of the last entry inside; 0: none is")] = 0
    newest_ns: Annotated[int, Meta(description="the newest time_ns of those inside")] = 0
    position: Annotated[Position | None, Meta(description="their sum; null: none is inside")] = None


Record = Happened | Execution | Adjustment | Note | Archived | Base


class Conflict(Struct, frozen=True, kw_only=True):
    """An entry with the id and revision of another one: it was not written."""

    known: Annotated[Entry, Meta(description="what the ledger has, and keeps")]
    told: Annotated[Entry, Meta(description="what was not written")]


class Recorded(Struct, frozen=True, kw_only=True):
    """What became of the ledger entries of one append."""

    lines: Annotated[tuple[LedgerLine, ...], Meta(description="written, with their numbers")] = ()
    repeated: Annotated[tuple[Entry, ...], Meta(description="known already, and the same")] = ()
    conflicts: Annotated[tuple[Conflict, ...], Meta(description="known already, and other")] = ()


class Kept(Struct, frozen=True, kw_only=True):
    """An order of the book, as it was written down."""

    oid: Annotated[str, _OID]
    events: Annotated[tuple[OrderNews, ...], Meta(description="all of it, oldest first")]
    notes: Annotated[tuple[Note, ...], Meta(description="by key")] = ()
