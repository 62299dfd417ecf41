"""The ticks that follow from where a market stands: pure."""

from collections.abc import Iterable, Iterator, Mapping
from decimal import Decimal

from msgspec import Struct

from tests.fakes.gateway import layouts
from tests.fakes.gateway.catalog import Instrument
from tests.fakes.gateway.market import Market
from tests.fakes.gateway.past import Bar
from tests.fakes.gateway.requests import (
    ReqHistoricalData,
    ReqMktData,
    ReqRealTimeBars,
    ReqTickByTickData,
)
from tests.fakes.gateway.wire import Message, frame

DELAYED = {0: 69, 1: 66, 2: 67, 3: 70, 4: 68, 5: 71, 6: 72, 7: 73, 8: 74, 9: 75, 14: 76, 45: 88}
"""The kind of a tick that is delayed, by that of the live one."""
LIVE_TYPE, DELAYED_TYPE = 1, 3
TRADE_SIZE = 1
KINDS = {"Last": 1, "AllLast": 2, "BidAsk": 3, "MidPoint": 4}
NOTHING = Decimal(-1)
RT_VOLUME = "233"


class Stream(Struct, kw_only=True):
    """Something that a client subscribed to about a contract."""

    request: ReqMktData | ReqTickByTickData | ReqHistoricalData | ReqRealTimeBars
    instrument: Instrument
    data_type: int = LIVE_TYPE
    bar: Bar | None = None
    """The newest of bars that are kept up to date."""


def first(stream: Stream, market: Market, now_ns: int, *, is_open: bool) -> list[Message]:
    """What a subscriber to quotes is told at once."""
    req_id = stream.request.req_id
    head = [
        layouts.tick_req_params(req_id, stream.instrument),
        layouts.market_data_type(req_id, stream.data_type),
    ]
    day = [(6, market.high), (7, market.low), (9, market.close), (14, market.close)]
    prices = [_price(stream, kind, price, 0) for kind, price in day]
    if not is_open:
        return [*head, *_closed(stream), *prices]
    return [*head, *quote(stream, market, now_ns), *prices, *_model(stream, market)]


def quote(stream: Stream, market: Market, now_ns: int) -> list[Message]:
    """Both sides and the trade, of what the market has."""
    lot, kinds = market.instrument.lot, market.instrument.kinds
    said: list[Message] = []
    if "bid" in kinds:
        said += _side(stream, 1, 0, market.bid, lot) + _side(stream, 2, 3, market.ask, lot)
    if "trade" in kinds:
        said += _side(stream, 4, 5, market.last, Decimal(TRADE_SIZE))
        said += [_volume(stream, market), _string(stream, 45, now_ns // 10**9)]
        said += _rt_volume(stream, market, now_ns, market.last, TRADE_SIZE)
    return said


def trades(
    streams: Iterable[Stream], markets: Mapping[int, Market], sizes: Iterable[int], now_ns: int
) -> Iterator[bytes]:
    """Frames of trades of these sizes in each stream's market, the markets taking turns."""
    both = [(each, markets[each.instrument.con_id]) for each in streams]
    for size in sizes:
        for stream, market in both:
            price = market.ask if size % 2 else market.last
            volume = _rt_volume(stream, market, now_ns, price, size)
            yield b"".join(frame(*each) for each in volume or [_price(stream, 4, price, size)])


def every(stream: Stream, market: Market, now_ns: int) -> list[Message]:
    """What a subscriber to every tick is told when the market moved."""
    request = stream.request
    assert isinstance(request, ReqTickByTickData)
    tell = KINDS[request.kind]
    if tell == 3:
        lot = market.instrument.lot
        fields: tuple[object, ...] = (market.bid, market.ask, lot, lot, 0)
    elif tell == 4:
        fields = (market.last,)
    else:
        fields = (market.last, TRADE_SIZE, 0, market.instrument.exchanges[-1], "")
    return [layouts.tick_by_tick(request.req_id, tell, now_ns, *fields)]


def grown(bar: Bar | None, market: Market, size_s: int, now_s: int) -> Bar:
    """The bar of now, with the market's newest price in it."""
    price, start_s = market.last, now_s - now_s % size_s
    if bar is None or bar.start_s != start_s:
        bar = Bar(start_s=start_s, open=price, high=price, low=price, close=price, volume=0)
    return Bar(
        start_s=start_s,
        open=bar.open,
        high=max(bar.high, price),
        low=min(bar.low, price),
        close=price,
        volume=bar.volume + TRADE_SIZE,
        average=price,
        count=max(bar.count, 0) + 1,
    )


def _kind(stream: Stream, live: int) -> int:
    return DELAYED[live] if stream.data_type >= DELAYED_TYPE else live


def _price(stream: Stream, kind: int, price: Decimal, size: object) -> Message:
    return layouts.tick_price(stream.request.req_id, _kind(stream, kind), price, size)


def _side(
    stream: Stream, kind: int, size_kind: int, price: Decimal, size: Decimal
) -> list[Message]:
    """A price with its size, and then the size alone: gateways send both."""
    alone = layouts.tick_size(stream.request.req_id, _kind(stream, size_kind), size)
    return [_price(stream, kind, price, size), alone]


def _closed(stream: Stream) -> list[Message]:
    return [_price(stream, 1, NOTHING, 0), _price(stream, 2, NOTHING, 0)]


def _volume(stream: Stream, market: Market) -> Message:
    return layouts.tick_size(stream.request.req_id, _kind(stream, 8), market.volume)


def _string(stream: Stream, kind: int, value: object) -> Message:
    return layouts.tick_string(stream.request.req_id, _kind(stream, kind), value)


def _rt_volume(
    stream: Stream, market: Market, now_ns: int, price: Decimal, size: int
) -> list[Message]:
    request = stream.request
    if not isinstance(request, ReqMktData) or RT_VOLUME not in request.generic_ticks.split(","):
        return []
    fields = (price, size, now_ns // 10**6, market.volume, price, "true")
    return [layouts.tick_string(request.req_id, 48, ";".join(str(field) for field in fields))]


def _model(stream: Stream, market: Market) -> list[Message]:
    if stream.instrument.sec_type != "OPT":
        return []
    return [layouts.tick_option_computation(stream.request.req_id, 13, market.last)]
