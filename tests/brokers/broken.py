"""A provider that breaks every promise, for the conformance suite to find out."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from decimal import Decimal
from math import inf
from typing import Any, ClassVar

import trio
from msgspec.structs import replace

from piker.brokers import Batches, Frame, Provider, Subscribed, VenueLost, Wanted
from piker.core.pace import Pace, Rate
from piker.interfaces.data import Match
from piker.markets import Market, Session
from piker.quotes import Bar, Quote, Tick

MARKET = Market(
    fqme="BAD.broken",
    venue_id="BAD",
    description="",
    asset_class="stock",
    currency="EUR",
    price_tick=Decimal("0.5"),
    size_tick=Decimal(0),
    multiplier=Decimal(1),
    sessions=(Session(open_ns=0, close_ns=2**62), Session(open_ns=1, close_ns=2)),
    has_trades=False,
    has_volume=False,
    has_bid=True,
    has_ask=True,
)

PROVIDER = Provider(
    name="broken",
    doc="",
    endpoints={
        "datad": {
            "open_venue": f"{__name__}:open_venue",
            "get_mkt_info": f"{__name__}:get_mkt_info",
            "stream_quotes": f"{__name__}:stream_quotes",
            "open_symbol_search": f"{__name__}:open_symbol_search",
            "open_history_client": f"{__name__}:missing",
        }
    },
)


@asynccontextmanager
async def open_venue(settings: object) -> AsyncIterator[None]:
    yield
    trio.lowlevel.spawn_system_task(trio.sleep, 1)


async def get_mkt_info(venue: object, name: str) -> Market:
    if name == "BAD.broken":
        return MARKET
    return replace(MARKET, fqme=f"not-{name}.broken")


@asynccontextmanager
async def open_symbol_search(venue: object) -> AsyncIterator[object]:
    async def find(pattern: str, limit: int) -> tuple[Match, ...]:
        found = "BAD.broken" if pattern == "" else "other.broken"
        return (Match(fqme=found, description=""),) * (limit + 1)

    yield find


async def stream_quotes(venue: object, wanted: Wanted, batches: Batches) -> None:
    ticks = (
        Tick(kind="bid", price=1.3, time_ns=2, seen_ns=3, derived=True),
        Tick(kind="bid", price=float("nan"), size=-1.0, time_ns=1, seen_ns=3),
    )
    await batches.send([Quote(market="BAD.broken", ticks=ticks), Subscribed(market=MARKET)])
    while True:
        await batches.send([Quote(market="unasked.broken", ticks=ticks)])
        await trio.lowlevel.checkpoint()


@asynccontextmanager
async def open_never(*_: object) -> AsyncIterator[None]:
    await trio.sleep(3600)
    yield


@asynccontextmanager
async def open_for_ever(settings: object) -> AsyncIterator[None]:
    yield
    await trio.sleep_forever()


def seven(*_: object) -> int:
    return 7


async def hang(*_: object) -> None:
    await trio.sleep_forever()


async def give_up(*_: object) -> None:
    """A stream that ends by itself."""


async def lose(*_: object) -> None:
    raise VenueLost("the venue said goodbye")


async def linger(*_: object) -> None:
    with trio.CancelScope(shield=True):
        await trio.sleep(3)


NS = 10**9
BEGIN_NS = 10**18
"""Nobody traded before the year 2001."""


class Past:
    """A past of a market, that is right but for what a test has it do."""

    frames: ClassVar = {1: 60 * NS, 60: 3600 * NS}
    pace: object = Pace(rates=(Rate(questions=60, per_s=600),))

    def __init__(self, **wrong: Callable[[Any], object]) -> None:
        self._wrong = wrong

    async def frame(self, period_s: int, from_ns: int, to_ns: int) -> Frame:
        """A bar a period, from which something differs."""
        starts = range(from_ns, to_ns, period_s * NS) if from_ns > BEGIN_NS else ()
        frame = Frame(from_ns=from_ns, to_ns=to_ns, bars=tuple(map(_bar, starts)))
        changed = {name: wrong(getattr(frame, name)) for name, wrong in self._wrong.items()}
        return replace(frame, **changed)


def _bar(start_ns: int) -> Bar:
    return Bar(time_ns=start_ns, open=2.0, high=3.0, low=1.0, close=2.0, volume=1.0, trades=1)


def _first(**wrong: object) -> Callable[[tuple[Bar, ...]], tuple[Bar, ...]]:
    """Changes the first bar."""
    return lambda bars: (replace(bars[0], **wrong), *bars[1:]) if bars else bars


def a_past(past: object) -> Callable[[object, Market], AbstractAsyncContextManager[object]]:
    """An endpoint that gives this one."""

    @asynccontextmanager
    async def open_history_client(venue: object, market: Market) -> AsyncIterator[object]:
        yield past

    return open_history_client


class _NoPeriod(Past):
    frames: ClassVar = {}


class _ShortFrame(Past):
    frames: ClassVar = {60: 1 * NS}


class _NoPace(Past):
    pace = Pace(at_once=0)


class _EmptyRate(Past):
    pace = Pace(rates=(Rate(questions=0, per_s=1),))


class _EndlessRate(Past):
    pace = Pace(rates=(Rate(questions=1, per_s=inf),))


class _NotAPace(Past):
    pace = (60, 600)


class _Lost(Past):
    async def frame(self, period_s: int, from_ns: int, to_ns: int) -> Frame:
        raise VenueLost("the venue said goodbye")


class _Hung(Past):
    async def frame(self, period_s: int, from_ns: int, to_ns: int) -> Frame:
        await trio.sleep_forever()
        raise AssertionError("nothing wakes it")


class _Eternal(Past):
    async def frame(self, period_s: int, from_ns: int, to_ns: int) -> Frame:
        return Frame(from_ns=from_ns, to_ns=to_ns, bars=(_bar(from_ns),))


right_past = a_past(Past())
quiet_past = a_past(Past(bars=lambda bars: ()))
no_period = a_past(_NoPeriod())
short_frame = a_past(_ShortFrame())
no_pace = a_past(_NoPace())
empty_rate = a_past(_EmptyRate())
endless_rate = a_past(_EndlessRate())
not_a_pace = a_past(_NotAPace())
lost_past = a_past(_Lost())
hung_past = a_past(_Hung())
eternal_past = a_past(_Eternal())
late_end = a_past(Past(to_ns=lambda to_ns: to_ns + NS))
early_begin = a_past(Past(from_ns=lambda from_ns: from_ns - 60 * NS))
odd_begin = a_past(Past(from_ns=lambda from_ns: from_ns + 1))
odd_bar = a_past(Past(bars=_first(time_ns=BEGIN_NS + 1)))
backwards = a_past(Past(bars=lambda bars: bars[::-1]))
doubled = a_past(Past(bars=lambda bars: bars + bars[-1:]))
outside = a_past(Past(bars=_first(time_ns=0)))
too_new = a_past(
    Past(bars=lambda bars: (*bars, _bar(bars[-1].time_ns + 60 * NS)) if bars else bars)
)
no_number = a_past(Past(bars=_first(high=float("nan"))))
above_high = a_past(Past(bars=_first(close=9.0)))
less_than_none = a_past(Past(bars=_first(volume=-1.0)))
not_derived = a_past(Past(bars=_first(derived=True)))
