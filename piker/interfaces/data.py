"""piker.Data: market data, served by datad."""

from typing import Annotated, Literal

from msgspec import Meta, Struct

from piker.errors import Fault
from piker.interfaces import Call, Interface, Method, Reply
from piker.markets import Market, MarketState
from piker.quotes import Quote, Tick


class Watch(Call, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Follow markets: first what they are and how they stand, then ticks and changes of state.

    A watcher that lags gets, of the bids and asks that newer ones replace, the first, lowest,
    highest and newest; trades are never dropped. Past a bound it is told TooSlow.
    """

    markets: Annotated[
        tuple[str, ...], Meta(description="names; less than the whole fqme where unambiguous")
    ]
    every: Annotated[
        bool | None, Meta(description="true: nothing is ever replaced; default false")
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
        Literal["opened", "full"], Meta(description="why this memfd comes: opened, full")
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


class NotSupported(Fault, frozen=True, kw_only=True):
    """The provider has no such endpoint."""

    provider: Annotated[str, Meta(description="which provider")]
    endpoint: Annotated[str, Meta(description="what it would need")]


DATA = Interface(
    "piker.Data",
    "Market data of one provider: quotes, bars, search.",
    (
        Method("Watch", Watch, WatchReply, "stream"),
        Method("Bars", Bars, BarsReply, "stream"),
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
        NotSupported,
    ),
    {Market: "MarketInfo"},
)
