"""piker.Store: what is kept of markets' pasts, served by datad."""

from typing import Annotated

from msgspec import Meta, Struct

from piker.coverage import Finding, Span, Unavailable
from piker.errors import Fault
from piker.interfaces import Call, Interface, Method, Reply
from piker.interfaces.data import (
    AmbiguousMarket,
    NoSuchMarket,
    NoSuchPeriod,
    NothingKept,
    VenueUnavailable,
)


class Series(Call, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is kept: markets, periods, from when to when."""

    market: Annotated[str | None, Meta(description="of this market alone; default: of all")] = None


class KeptSeries(Struct, frozen=True, kw_only=True):
    """Bars of one market of one period on disk."""

    market: Annotated[str, Meta(description="fqme")]
    period_s: Annotated[int, Meta(description="length of a bar, s")]
    from_ns: Annotated[
        int | None, Meta(description="the first instant that is covered, UTC ns; null: none is")
    ]
    to_ns: Annotated[int | None, Meta(description="the first instant after the last, UTC ns")]
    rows: Annotated[int, Meta(description="how many bars there are")]
    size_bytes: Annotated[int, Meta(description="of their files, bytes")]
    gaps: Annotated[int, Meta(description="stretches between the two that should be covered")]
    unavailable: Annotated[
        tuple[Unavailable, ...], Meta(description="what the provider will not give")
    ]
    wanted_from_ns: Annotated[
        int | None, Meta(description="a backfill to then isn't over, UTC ns; null: none is")
    ] = None
    paused: Annotated[bool, Meta(description="that backfill waits to be told to go on")] = False


class KeptTicks(Struct, frozen=True, kw_only=True):
    """Ticks of one market on disk, recorded as they were seen."""

    market: Annotated[str, Meta(description="fqme")]
    from_ns: Annotated[
        int | None, Meta(description="the first instant that is covered, UTC ns; null: none is")
    ]
    to_ns: Annotated[int | None, Meta(description="the first instant after the last, UTC ns")]
    ticks: Annotated[int, Meta(description="how many there are, with signs of life")]
    size_bytes: Annotated[int, Meta(description="of their files, bytes")]


class SeriesReply(Reply, frozen=True, kw_only=True):
    """What is kept of one provider's markets."""

    series: Annotated[tuple[KeptSeries, ...], Meta(description="by market and period")]
    ticks: Annotated[tuple[KeptTicks, ...], Meta(description="what is recorded, by market")] = ()
    problem: Annotated[str, Meta(description="why nothing is kept now, if so, for people")] = ""


class Gaps(Call, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What of a market's past is covered, and what isn't, and why."""

    market: Annotated[str, Meta(description="its name")]
    period_s: Annotated[int, Meta(description="length of a bar, s")]
    from_ns: Annotated[int | None, Meta(description="UTC ns; default: what is kept first")] = None
    to_ns: Annotated[int | None, Meta(description="UTC ns; default: what is kept last")] = None


class Stretch(Struct, frozen=True, kw_only=True):
    """A stretch of time."""

    from_ns: Annotated[int, Meta(description="its first instant, UTC ns")]
    to_ns: Annotated[int, Meta(description="the first instant after it, UTC ns")]


class GapsReply(Reply, frozen=True, kw_only=True):
    """How a stretch of a market's past is covered. All lists are oldest first."""

    market: Annotated[str, Meta(description="fqme")]
    period_s: Annotated[int, Meta(description="length of a bar, s")]
    from_ns: Annotated[int, Meta(description="what is told begins then, UTC ns")]
    to_ns: Annotated[int, Meta(description="and ends then; ask again from here on, if cut is true")]
    covered: Annotated[tuple[Span, ...], Meta(description="what is covered, and how; apart")]
    gaps: Annotated[tuple[Stretch, ...], Meta(description="session time that isn't covered")]
    unavailable: Annotated[
        tuple[Unavailable, ...], Meta(description="gaps that the provider will not fill")
    ]
    closures: Annotated[tuple[Stretch, ...], Meta(description="time when the market was closed")]
    sessions_known: Annotated[
        bool, Meta(description="false: it counts as always open, since nobody says when it isn't")
    ]
    cut: Annotated[bool, Meta(description="there is too much to tell at once")] = False


class Table(Call, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Bars on disk, and the newest of memory, as many as there are: for charts and exports.

    A stream of one reply.
    """

    market: Annotated[str, Meta(description="its name")]
    period_s: Annotated[int, Meta(description="length of a bar, s: a multiple of one kept")]
    from_ns: Annotated[int | None, Meta(description="none begins before, UTC ns")] = None
    to_ns: Annotated[int | None, Meta(description="none begins then or later, UTC ns")] = None


class TableReply(Reply, frozen=True, kw_only=True):
    """A sealed memfd with final bars, in the layout of shared bars; nothing is added to it."""

    fd: Annotated[int, Meta(description="index into the file descriptors of this message")]
    market: Annotated[str, Meta(description="fqme")]
    period_s: Annotated[int, Meta(description="length of a bar, s")]
    rows: Annotated[int, Meta(description="how many there are")]
    layout: Annotated[int, Meta(description="version of the layout, see piker.sharedbars")]
    from_ns: Annotated[int, Meta(description="all bars since then are in it, UTC ns")]
    to_ns: Annotated[int, Meta(description="and up to then; ask again from here on if cut is true")]
    cut: Annotated[bool, Meta(description="there are more")] = False


class ImportBars(Call, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Begin to hand in bars of somebody else's. The import is over when its stream is.

    The reply has memory to put rows in, to be taken by ImportRows. For root and the user that datad
    runs as.
    """

    market: Annotated[str, Meta(description="its whole name; the venue needn't know it any more")]
    period_s: Annotated[int, Meta(description="length of a bar, s")]
    source: Annotated[str, Meta(description="what they are from, as the file's name")]
    calendar: Annotated[
        str | None,
        Meta(description="by which they are traded, as FX or XNYS, where the venue doesn't say"),
    ] = None
    replace: Annotated[
        bool | None,
        Meta(
            description="they take the place of other values of an earlier import; default: false"
        ),
    ] = None


class ImportBarsReply(Reply, frozen=True, kw_only=True):
    """Memory that is lent: a memfd of columns as piker.core.bars.ROW has them, one after the other.

    Each has room for `capacity` words of 64 bits; there is no header.
    """

    fd: Annotated[int, Meta(description="index into the file descriptors of this message")]
    market: Annotated[str, Meta(description="fqme")]
    ticket: Annotated[str, Meta(description="names this import")]
    capacity: Annotated[int, Meta(description="rows that fit")]
    kept: Annotated[bool, Meta(description="some bars of it are kept already")] = False


class ImportRows(Call, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Keep the first rows of the memory that was lent. Answered when they are on disk.

    Rows rise in time. Each covers its own period, or all of them one stretch.
    """

    ticket: Annotated[str, Meta(description="of the import")]
    rows: Annotated[int, Meta(description="how many")]
    covered_from_ns: Annotated[
        int | None, Meta(description="with covered_to_ns: all bars since then are known, UTC ns")
    ] = None
    covered_to_ns: Annotated[int | None, Meta(description="up to then, UTC ns")] = None
    check: Annotated[
        bool | None, Meta(description="only look: nothing is kept; default: false")
    ] = None


class Conflict(Struct, frozen=True, kw_only=True):
    """A bar that is kept with other values than one handed in."""

    time_ns: Annotated[int, Meta(description="start of its period, UTC ns")]
    known: Annotated[tuple[float, ...], Meta(description="as it was: open, high, low, close")]
    told: Annotated[tuple[float, ...], Meta(description="as it was handed in, the same")]
    replaced: Annotated[bool, Meta(description="it is now as it was handed in")]


class ImportRowsReply(Reply, frozen=True, kw_only=True):
    """What became of rows."""

    added: Annotated[int, Meta(description="new ones")]
    changed: Annotated[int, Meta(description="they took the place of other values")]
    kept: Annotated[int, Meta(description="there already, or better known")]
    conflicts: Annotated[int, Meta(description="those kept or changed whose values differ")]
    shown: Annotated[tuple[Conflict, ...], Meta(description="the first of these, 20 at most")] = ()


class Audit(Call, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Look at all bars and ticks on disk, series by series; what isn't as it should be is told.

    Ends by hanging up after the reply whose done is true. To mend is for root and the user that
    datad runs as.
    """

    market: Annotated[str | None, Meta(description="of this market alone; default: of all")] = None
    repair: Annotated[
        bool | None, Meta(description="mend what is found; nothing is lost; default: false")
    ] = None


class AuditReply(Reply, frozen=True, kw_only=True):
    """What was found since the reply before."""

    findings: Annotated[tuple[Finding, ...], Meta(description="in the order they were found")] = ()
    looked_at: Annotated[int, Meta(description="series, and markets' ticks, looked at so far")] = 0
    of: Annotated[int, Meta(description="those that there are to look at")] = 0
    done: Annotated[bool, Meta(description="that was all")] = False


class NothingOf(Fault, frozen=True, kw_only=True):
    """Nothing is kept of this."""

    market: Annotated[str, Meta(description="the market")]
    period_s: Annotated[int | None, Meta(description="the period, s; null: of none")] = None


class BadRows(Fault, frozen=True, kw_only=True):
    """These rows can't be bars; none of them was kept."""

    row: Annotated[int, Meta(description="the first of them, from 0")]
    reason: Annotated[str, Meta(description="what is wrong with it")]


class WouldReplace(Fault, frozen=True, kw_only=True):
    """Bars of an earlier import have other values; none of these rows was kept."""

    rows: Annotated[int, Meta(description="how many have")]
    time_ns: Annotated[int, Meta(description="the first of them, UTC ns")]
    known: Annotated[
        tuple[float, ...],
        Meta(description="as it is kept: open, high, low, close, volume, trades"),
    ]
    told: Annotated[tuple[float, ...], Meta(description="as it was handed in, the same")]


class OthersMay(Fault, frozen=True, kw_only=True):
    """This changes what is kept, which only some may."""

    allowed: Annotated[tuple[str, ...], Meta(description="the users who may")]
    instead: Annotated[str, Meta(description="the command that does it as one of them")]


class NoSuchImport(Fault, frozen=True, kw_only=True):
    """No import has this ticket: its stream is over."""

    ticket: Annotated[str, Meta(description="the one given")]


class TooManyImports(Fault, frozen=True, kw_only=True):
    """So many imports go on already."""

    allowed: Annotated[int, Meta(description="how many may go on at once")]


STORE = Interface(
    "piker.Store",
    "What one provider's datad keeps on disk: bars, what they cover, what they lack.",
    (
        Method("Series", Series, SeriesReply),
        Method("Gaps", Gaps, GapsReply),
        Method("Table", Table, TableReply, "stream"),
        Method("ImportBars", ImportBars, ImportBarsReply, "stream"),
        Method("ImportRows", ImportRows, ImportRowsReply),
        Method("Audit", Audit, AuditReply, "stream"),
    ),
    (
        NothingKept,
        NothingOf,
        NoSuchMarket,
        AmbiguousMarket,
        NoSuchPeriod,
        VenueUnavailable,
        BadRows,
        WouldReplace,
        OthersMay,
        NoSuchImport,
        TooManyImports,
    ),
)
