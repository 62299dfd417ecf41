"""What is traded: markets, their grids and sessions, and how alive their data is."""

from decimal import Decimal
from typing import Annotated, Literal

from msgspec import Meta, Struct

AssetClass = Literal[
    "stock", "future", "forex", "index", "option", "crypto", "commodity", "simulated"
]
State = Literal["live", "delayed", "stale", "closed", "disconnected"]


class Session(Struct, frozen=True, kw_only=True):
    """One stretch of time in which a market trades."""

    open_ns: Annotated[int, Meta(description="first instant of the session, UTC ns")]
    close_ns: Annotated[int, Meta(description="first instant after the session, UTC ns")]


class PriceBand(Struct, frozen=True, kw_only=True):
    """The grid of prices from a price upwards, where a market has more than one grid."""

    from_price: Annotated[Decimal, Meta(description="lowest price of the band, in the currency")]
    price_tick: Annotated[Decimal, Meta(description="smallest price step in the band")]


class Market(Struct, frozen=True, kw_only=True):
    """A market as its provider describes it. A price is on the grid of its ticks, not of digits."""

    fqme: Annotated[str, Meta(description="fully qualified name: instrument.venue.provider")]
    venue_id: Annotated[str, Meta(description="the venue's own name of the market")]
    description: Annotated[str, Meta(description="a line for people")]
    asset_class: Annotated[AssetClass, Meta(description="kind of instrument")]
    currency: Annotated[str, Meta(description="currency of prices, ISO 4217 or the venue's code")]
    price_tick: Annotated[Decimal, Meta(description="smallest price step")]
    price_bands: Annotated[
        tuple[PriceBand, ...], Meta(description="grids by price, lowest first; empty: price_tick")
    ] = ()
    size_tick: Annotated[Decimal, Meta(description="smallest size step, in contracts or units")]
    multiplier: Annotated[
        Decimal, Meta(description="currency units that one unit of price moves one contract")
    ]
    sessions: Annotated[
        tuple[Session, ...] | None,
        Meta(description="known sessions around now, oldest first; null: always open"),
    ] = None
    has_trades: Annotated[bool, Meta(description="the venue shows trades; else price is the mid")]
    has_volume: Annotated[bool, Meta(description="the venue shows sizes of trades")]
    has_bid: Annotated[bool, Meta(description="the venue shows a bid; else it is derived")]
    has_ask: Annotated[bool, Meta(description="the venue shows an ask; else it is derived")]


class MarketState(Struct, frozen=True, kw_only=True):
    """How alive a market's data is."""

    market: Annotated[str, Meta(description="fqme")]
    state: Annotated[
        State,
        Meta(
            description="live; delayed: shown late, or as it was last; "
            "stale: silent for longer than usual in a session; closed: out of session; "
            "disconnected: no feed"
        ),
    ]
    since_ns: Annotated[int, Meta(description="when this state began, UTC ns")]
    reason: Annotated[str, Meta(description="why, for people")] = ""
