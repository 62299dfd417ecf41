"""piker.Data: market data, served by datad."""

from typing import Annotated, Literal

from msgspec import Meta, Struct

from piker.coverage import Unavailable
from piker.errors import Fault
from piker.interfaces import Call, Interface, Method, Reply
from piker.markets import Market, MarketState
from piker.quotes import Bar, Quote, Tick


class Watch(Call, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Follow markets: first what they are and how they stand, then ticks and changes of state.

    A watcher that lags gets, of the bids and asks that newer ones replace, the first, lowest,
    highest and newest; trades are never dropped. Past a bound it is told TooSlow.
    """

    markets: Annotated[
        tuple[str, ...], Meta(description="names; less than the whole fqme where unambiguous")
    ]
    every: Annotated[
        bool | None,
        Meta(
            description="true: for orders: nothing is ever replaced, and where not all markets "
            "can be followed these come first; default false"
        ),
    ] = None
    max_rate_hz: Annotated[
        float | None, Meta(description="sent at most so often, 1/s; default: as it comes")
    ] = None


class Watched(Struct, frozen=True, kw_only=True):
    """A market as it stands when a watch begins."""

    asked: Annotated[str, Meta(description="the name asked for")]
    market: Annotated[Market, Meta(description="what it is; use its fqme from here on")]
    state: Annotated[MarketState, Meta(description="how alive its data is")]
    last: Annotated[tuple[Tick, ...], Meta(description="the newest tick of each kind, if any")]


class WatchReply(Reply, frozen=True, kw_only=True, omit_defaults=True):
    """What has happened since the reply before. States are as of its end."""

    markets: Annotated[
        tuple[Watched, ...], Meta(description="only in the first reply: one for each name asked")
    ] = ()
    quotes: Annotated[tuple[Quote, ...], Meta(description="ticks, oldest first")] = ()
    states: Annotated[tuple[MarketState, ...], Meta(description="markets that changed")] = ()


class Bars(Call, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Bars of a market in shared memory, kept up to date while this stream is open."""

    market: Annotated[str, Meta(description="its name")]
    period_s: Annotated[int, Meta(description="length of a bar, s: 1 or 60")]


class BarsReply(Reply, frozen=True, kw_only=True):
    """A sealed memfd with bars; the one before it gets no more rows."""

    fd: Annotated[int, Meta(description="index into the file descriptors of this message")]
    market: Annotated[str, Meta(description="fqme")]
    period_s: Annotated[int, Meta(description="length of a bar, s")]
    generation: Annotated[int, Meta(description="counts up with every new memfd")]
    layout: Annotated[int, Meta(description="version of the layout, see piker.sharedbars")]
    capacity: Annotated[int, Meta(description="rows that fit")]
    reason: Annotated[
        Literal["opened", "full", "filled"],
        Meta(
            description="why this memfd comes: opened; full, the newer half of the rows goes on; "
            "filled, with what the venue has of time that the feed was away"
        ),
    ]


class Search(Call, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Markets whose name or description is like a pattern."""

    pattern: Annotated[str, Meta(description="what a person would type")]
    limit: Annotated[int | None, Meta(description="at most so many, 1 to 1000; default 20")] = None


class Match(Struct, frozen=True, kw_only=True):
    """One market found."""

    fqme: Annotated[str, Meta(description="fully qualified name")]
    description: Annotated[str, Meta(description="a line for people")]


class SearchReply(Reply, frozen=True, kw_only=True):
    """Markets found, best first."""

    matches: Annotated[tuple[Match, ...], Meta(description="best first")]


class History(Call, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Bars of a market's past, as they are kept or its venue has them: the newest asked for.

    Only final ones; what isn't to be had is said, with the reason. Bars of a period that is neither
    kept nor the venue's are made of those of one that divides it. One is partial where some of its
    time is missing or still to come: as that in which datad began or ended.
    """

    market: Annotated[str, Meta(description="its name")]
    period_s: Annotated[
        int, Meta(description="length of a bar, s: one that is to be had, or a multiple")
    ]
    from_ns: Annotated[
        int | None, Meta(description="no bar begins before, UTC ns; default: as limit lets it")
    ] = None
    to_ns: Annotated[int | None, Meta(description="no bar ends after, UTC ns; default: now")] = None
    limit: Annotated[
        int | None, Meta(description="at most so many bars, 1 to 10000; default 1000")
    ] = None


class Covered(Struct, frozen=True, kw_only=True):
    """A stretch of which all bars that there are are known; without any, nobody traded then."""

    from_ns: Annotated[int, Meta(description="its first instant, UTC ns")]
    to_ns: Annotated[int, Meta(description="the first instant after it, UTC ns")]


Why = Literal["unavailable", "throttled", "unanswered", "unsound", "lost", "limit"]


class Missing(Struct, frozen=True, kw_only=True):
    """A stretch that was asked for and isn't covered."""

    from_ns: Annotated[
        int | None, Meta(description="its first instant, UTC ns; null: no beginning was asked for")
    ]
    to_ns: Annotated[int, Meta(description="the first instant after it, UTC ns")]
    why: Annotated[
        Why,
        Meta(
            description="unavailable: never to be had; throttled: asked too often; unanswered; "
            "unsound: its answer can't be; lost: the venue is away; limit: as much as one call "
            "gives, ask again up to here"
        ),
    ]
    reason: Annotated[str, Meta(description="why, for people")]
    pause_s: Annotated[float | None, Meta(description="throttled: ask again after so long, s")] = (
        None
    )


class HistoryReply(Reply, frozen=True, kw_only=True):
    """What the venue has of a market's past."""

    market: Annotated[str, Meta(description="fqme")]
    period_s: Annotated[int, Meta(description="length of a bar, s")]
    bars: Annotated[
        tuple[Bar, ...], Meta(description="oldest first; a period without one had no tick")
    ]
    coverage: Annotated[
        tuple[Covered, ...], Meta(description="what they cover, oldest first, apart")
    ]
    missing: Annotated[tuple[Missing, ...], Meta(description="what they don't, oldest first")]
    note: Annotated[
        str, Meta(description="why nothing of it is kept on disk, for people; empty: it is")
    ] = ""
    unasked: Annotated[
        str,
        Meta(
            description="why it is only what is kept, for people; empty: the venue could be asked"
        ),
    ] = ""


class Backfill(Call, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Fill a market's bars on disk back to an instant, the newest first; say how far it is.

    It goes on when this stream ends, and after a restart. Without `from_ns` and `order` this only
    follows what was asked for before. The stream ends when it is done, has failed or is forgotten.
    """

    market: Annotated[str, Meta(description="its name")]
    period_s: Annotated[int, Meta(description="length of a bar, s: one that the provider has")]
    from_ns: Annotated[
        int | None, Meta(description="back to then, UTC ns; default: as was asked for before")
    ] = None
    order: Annotated[
        Literal["pause", "resume", "forget"] | None,
        Meta(description="pause it, resume it, or forget that it was asked for"),
    ] = None
    again: Annotated[
        bool | None,
        Meta(description="true: ask again for what the provider wouldn't give; default false"),
    ] = None


class BackfillReply(Reply, frozen=True, kw_only=True):
    """How far it is. Without the market's closures, as far as they are known."""

    market: Annotated[str, Meta(description="fqme")]
    period_s: Annotated[int, Meta(description="length of a bar, s")]
    state: Annotated[
        Literal["running", "waiting", "paused", "done", "failed", "forgotten"],
        Meta(description="waiting and failed: see reason; forgotten: by somebody's order"),
    ]
    reason: Annotated[str, Meta(description="why it waits or has failed, for people")]
    until_ns: Annotated[
        int | None, Meta(description="waiting: until then, UTC ns; null: nobody knows")
    ]
    from_ns: Annotated[int, Meta(description="back to when it is to be filled, UTC ns")]
    to_ns: Annotated[int, Meta(description="from when on it is filled back, UTC ns")]
    settled_from_ns: Annotated[
        int, Meta(description="from then on all is there or not to be had, UTC ns")
    ]
    rows: Annotated[int, Meta(description="bars that came, since it began or datad did")]
    frames: Annotated[int, Meta(description="answers of the provider, likewise")]
    frames_left: Annotated[int, Meta(description="about so many are still to be asked for")]
    left_s: Annotated[float, Meta(description="so much time is still to be filled, s")]
    share: Annotated[
        float, Meta(description="of what was lacking when it began, or datad did, 0 to 1")
    ]
    per_minute: Annotated[
        float | None, Meta(description="frames a minute, by the newest; null: not known yet")
    ]
    eta_s: Annotated[float | None, Meta(description="it ends in so long, s; null: not known")]
    unavailable: Annotated[
        tuple[Unavailable, ...],
        Meta(description="what the provider won't give, oldest first: the newest 20"),
    ]
    note: Annotated[
        str, Meta(description="why nothing of it is kept on disk, for people; empty: it is")
    ] = ""


class DescribeMarket(Call, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One market, by any unambiguous name."""

    name: Annotated[str, Meta(description="its name")]


class MarketReply(Reply, frozen=True, kw_only=True):
    """What a market is."""

    market: Annotated[Market, Meta(description="what it is")]


class NoSuchMarket(Fault, frozen=True, kw_only=True):
    """The provider has no such market."""

    market: Annotated[str, Meta(description="the name asked for")]
    similar: Annotated[tuple[str, ...], Meta(description="names that are like it")] = ()


class AmbiguousMarket(Fault, frozen=True, kw_only=True):
    """More than one market has this name."""

    market: Annotated[str, Meta(description="the name asked for")]
    candidates: Annotated[tuple[str, ...], Meta(description="the whole names")]


class NoSuchPeriod(Fault, frozen=True, kw_only=True):
    """No bars are made of this period."""

    period_s: Annotated[int, Meta(description="the period asked for, s")]
    periods: Annotated[tuple[int, ...], Meta(description="those there are, s")]


class TooManyMarkets(Fault, frozen=True, kw_only=True):
    """The provider can't follow so many markets at once."""

    wanted: Annotated[int, Meta(description="how many there would be")]
    allowed: Annotated[int, Meta(description="how many there may be")]


class TooSlow(Fault, frozen=True, kw_only=True):
    """The watcher read too slowly; the stream is over."""

    lost: Annotated[int, Meta(description="ticks that were not delivered")]


class VenueUnavailable(Fault, frozen=True, kw_only=True):
    """The venue can't be asked now."""

    provider: Annotated[str, Meta(description="which provider")]
    reason: Annotated[str, Meta(description="what happened")]


class NothingToFill(Fault, frozen=True, kw_only=True):
    """No backfill was asked for; say since when."""

    market: Annotated[str, Meta(description="fqme")]
    period_s: Annotated[int, Meta(description="length of a bar, s")]


class NothingKept(Fault, frozen=True, kw_only=True):
    """Bars are not kept on disk here."""

    reason: Annotated[str, Meta(description="why, for people")]


class NotSupported(Fault, frozen=True, kw_only=True):
    """The provider has no such endpoint."""

    provider: Annotated[str, Meta(description="which provider")]
    endpoint: Annotated[str, Meta(description="what it would need")]


DATA = Interface(
    "piker.Data",
    "Market data of one provider: quotes, bars, history, search.",
    (
        Method("Watch", Watch, WatchReply, "stream"),
        Method("Bars", Bars, BarsReply, "stream"),
        Method("History", History, HistoryReply),
        Method("Backfill", Backfill, BackfillReply, "stream"),
        Method("Search", Search, SearchReply),
        Method("Market", DescribeMarket, MarketReply),
    ),
    (
        NoSuchMarket,
        AmbiguousMarket,
        NoSuchPeriod,
        TooManyMarkets,
        TooSlow,
        VenueUnavailable,
        NothingToFill,
        NothingKept,
        NotSupported,
    ),
    {Market: "MarketInfo"},
)
