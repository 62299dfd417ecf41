"""What a market says: ticks, the quotes that carry them, and bars made from them."""

from typing import Annotated, Literal

from msgspec import Meta, Struct

Kind = Literal["trade", "dark_trade", "bid", "ask"]


class Tick(Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """One price that a market showed."""

    kind: Annotated[Kind, Meta(description="which side or print; dark_trade: off the book")]
    price: Annotated[float, Meta(description="price in the market's currency")]
    size: Annotated[
        float | None, Meta(description="contracts or units; left out: the venue gave none")
    ] = None
    time_ns: Annotated[int, Meta(description="the venue's time, UTC ns since the epoch")]
    seen_ns: Annotated[int, Meta(description="when datad saw it, CLOCK_BOOTTIME ns")]
    derived: Annotated[bool, Meta(description="made from another side, not given by the venue")] = (
        False
    )
    delayed: Annotated[
        bool, Meta(description="the venue shows it minutes late, or as it was last: not of now")
    ] = False


class Quote(Struct, frozen=True, kw_only=True, gc=False):
    """One message of a venue about one market. Without ticks it is a sign of life."""

    market: Annotated[str, Meta(description="fqme")]
    ticks: Annotated[tuple[Tick, ...], Meta(description="in the venue's order")]


def timely(ticks: tuple[Tick, ...]) -> tuple[Tick, ...]:
    """Those that are of now: no order looks at another, and no bar is made of one."""
    for tick in ticks:
        if tick.delayed:
            return tuple(each for each in ticks if not each.delayed)
    return ticks  # as nearly always: for each quote that orders look at


class Bar(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What happened in one period that had at least one tick."""

    time_ns: Annotated[int, Meta(description="start of the period, UTC ns")]
    open: Annotated[float, Meta(description="first price")]
    high: Annotated[float, Meta(description="highest price")]
    low: Annotated[float, Meta(description="lowest price")]
    close: Annotated[float, Meta(description="last price")]
    volume: Annotated[float, Meta(description="sum of the trades' sizes")]
    trades: Annotated[int, Meta(description="number of trades")]
    derived: Annotated[bool, Meta(description="made of mids: the market shows no trades")] = False
    partial: Annotated[
        bool, Meta(description="not all of the period is known, or it hasn't ended")
    ] = False
