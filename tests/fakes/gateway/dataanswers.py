"""What the gateway answers about quotes, ticks and history."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import trio

from tests.fakes.gateway import faults, layouts, past, ticks
from tests.fakes.gateway import requests as asked
from tests.fakes.gateway.catalog import Instrument
from tests.fakes.gateway.requests import Query, Request
from tests.fakes.gateway.rules import OPEN_HISTORY, too_long
from tests.fakes.gateway.ticks import DELAYED_TYPE, LIVE_TYPE, Stream

if TYPE_CHECKING:
    from tests.fakes.gateway.gateway import Gateway
    from tests.fakes.gateway.session import Session

HMDS = "Historical Market Data Service error message:"
NOT_LIVE = (
    "Requested market data is not subscribed. Check API status by selecting the Account menu then"
    " under Management choose Market Data Subscription Manager and/or availability of delayed data."
)
NOT_OF_CRYPTO = "Expected what to show is AGGTRADES, please use that instead of TRADES."
REAL_TIME_S = 5
NO_DEFINITION = "No security definition has been found for the request"


def one(
    gateway: Gateway, session: Session, req_id: int, query: Query, *, expired: bool = False
) -> Instrument | None:
    """The contract that is meant; None, if the client was told 200 instead."""
    found = gateway.find(query, expired=expired)
    if len(found) == 1:
        return found[0]
    ambiguous = f"The contract description specified for {query.symbol} is ambiguous."
    session.say_error(req_id, 200, ambiguous if found else NO_DEFINITION)
    return None


def _mkt_data(gateway: Gateway, session: Session, request: asked.ReqMktData) -> None:
    found = one(gateway, session, request.req_id, request.contract)
    data_type = found and _permitted(gateway, session, request.req_id, found)
    if not found or not data_type or _too_many_lines(gateway, session, request):
        return
    stream = Stream(request=request, instrument=found, data_type=data_type)
    market, is_open = gateway.markets[found.con_id], gateway.is_open(found)
    said = ticks.first(stream, market, gateway.now_ns, is_open=is_open)
    session.say(*(said if gateway.flows(found) or not is_open else said[:2]))
    if request.snapshot or request.regulatory_snapshot:
        session.say(layouts.tick_snapshot_end(request.req_id))
    else:
        session.streams[request.req_id] = stream


def _permitted(gateway: Gateway, session: Session, req_id: int, each: Instrument) -> int:
    """Live or delayed; 0 if neither, which is said."""
    if gateway.competing:
        session.say_error(req_id, 10197, faults.COMPETING)
        return 0
    if each.symbol not in gateway.no_live:
        return LIVE_TYPE
    if session.data_type < DELAYED_TYPE:
        session.say_error(req_id, 354, NOT_LIVE + each.key)
        return 0
    session.say_error(req_id, 10167, faults.NOT_SUBSCRIBED)
    return DELAYED_TYPE


def _too_many_lines(gateway: Gateway, session: Session, request: asked.ReqMktData) -> bool:
    streams = [stream for each in gateway.sessions for stream in each.streams.values()]
    lines = sum(isinstance(each.request, asked.ReqMktData) for each in streams)
    if lines < gateway.settings.lines:
        return False
    session.breach(f"at most {gateway.settings.lines} market data lines", request)
    session.say_error(request.req_id, 101, "Max number of tickers has been reached")
    return True


def _tick_by_tick(gateway: Gateway, session: Session, request: asked.ReqTickByTickData) -> None:
    if request.kind not in ticks.KINDS:
        _refuse_words(session, request.req_id, f"no such kind of ticks: {request.kind}")
        return
    found = one(gateway, session, request.req_id, request.contract)
    if not found or not _permitted(gateway, session, request.req_id, found):
        return
    running = sum(isinstance(e.request, asked.ReqTickByTickData) for e in session.streams.values())
    broken = gateway.tick_pace.judge(found.con_id, request.kind, running, *gateway.looks.times)
    if broken:
        session.breach(broken, request)
        why = "Failed to request tick-by-tick data.Max number of tick-by-tick requests reached"
        session.say_error(request.req_id, 10190, why)
        return
    stream = Stream(request=request, instrument=found)
    session.streams[request.req_id] = stream
    if gateway.flows(found):
        session.say(*ticks.every(stream, gateway.markets[found.con_id], gateway.now_ns))


def _historical_data(gateway: Gateway, session: Session, request: asked.ReqHistoricalData) -> None:
    expired = request.include_expired
    found = one(gateway, session, request.req_id, request.contract, expired=expired)
    if not found or not _sound(gateway, session, request):
        return
    if found.sec_type == "CRYPTO" and request.what == "TRADES":
        session.say_error(request.req_id, 10299, NOT_OF_CRYPTO)
        return
    if found.history_farm in gateway.farms_down:
        session.busy[request.req_id] = request
        return
    zone = found.hours.zone
    end_s = past.read_time(request.end, gateway.now_ns // 10**9, zone)
    bars = _bars(found, request, end_s)
    if bars:
        _say_bars(session, request, found, bars, end_s)
    else:
        say_no_data(session, request.req_id, found, request.what)
    if bars and request.keep_up_to_date:
        session.streams[request.req_id] = Stream(request=request, instrument=found, bar=bars[-1])


def _bars(each: Instrument, request: asked.ReqHistoricalData, end_s: int) -> list[past.Bar]:
    if past.KINDS.get(request.what, "trade") not in each.kinds:
        return []
    return past.bars(
        each, end_s, request.duration, request.bar_size, request.what, rth=request.use_rth
    )


def _say_bars(
    session: Session,
    request: asked.ReqHistoricalData,
    each: Instrument,
    bars: list[past.Bar],
    end_s: int,
) -> None:
    args = (request.format_date, request.bar_size, each.hours, session.version)
    rows = [bar.row(past.bar_time(bar.start_s, *args)) for bar in bars]
    zone = each.hours.zone
    start = past.local_time(bars[0].start_s, zone, session.version)
    end = past.local_time(end_s, zone, session.version)
    session.say(layouts.historical_data(request.req_id, start, end, rows))


def say_no_data(session: Session, req_id: int, each: Instrument, what: str) -> None:
    """The answer where nothing is known."""
    where = f"{each.symbol}@{each.exchange} {what.title()}"
    session.say_error(req_id, 162, f"{HMDS}HMDS query returned no data: {where}")


def _refuse_words(session: Session, req_id: int, why: str) -> None:
    session.breach("data is asked for in known words", why)
    session.say_error(req_id, 321, f"Error validating request.-'bP' : cause - {why}")


def _sound(gateway: Gateway, session: Session, request: asked.ReqHistoricalData) -> bool:
    """Whether a request for bars has known words and keeps the pace; else that is said."""
    if unsound := _unreadable(request):
        _refuse_words(session, request.req_id, unsound)
        return False
    slow = gateway.history_pace.judge(request, *gateway.looks.times)
    waiting = sum(isinstance(each, asked.ReqHistoricalData) for each in session.busy.values())
    broken = slow or (waiting >= OPEN_HISTORY and f"more than {OPEN_HISTORY} requests open")
    if broken:
        session.breach(broken, request)
        session.say_error(request.req_id, 162, faults.PACING)
    return not broken


def _unreadable(request: asked.ReqHistoricalData) -> str:
    if request.bar_size not in past.BAR_SIZES:
        return f"Historical data bar size setting is invalid: {request.bar_size}"
    if request.keep_up_to_date and request.end:
        return "End date not supported with keepUpToDate"
    try:
        past.read_duration(request.duration)
        past.read_time(request.end, 0, "UTC")
    except past.Unreadable as error:
        return str(error)
    return "Bars of seconds span at most 1800 S" if too_long(request) else ""


def _head_timestamp(gateway: Gateway, session: Session, request: asked.ReqHeadTimeStamp) -> None:
    expired = request.include_expired
    found = one(gateway, session, request.req_id, request.contract, expired=expired)
    if found and past.KINDS.get(request.what, "trade") not in found.kinds:
        session.say_error(request.req_id, 162, f"{HMDS}No head time stamp")
    elif found:
        session.say(layouts.head_timestamp(request.req_id, past.head(request.format_date)))


def _historical_ticks(
    gateway: Gateway, session: Session, request: asked.ReqHistoricalTicks
) -> None:
    expired = request.include_expired
    found = one(gateway, session, request.req_id, request.contract, expired=expired)
    if not found:
        return
    try:
        end_s = past.read_time(request.end, gateway.now_ns // 10**9, found.hours.zone)
        code, rows = past.ticks(found, end_s, request.count, request.what)
    except (past.Unreadable, KeyError) as error:
        _refuse_words(session, request.req_id, str(error))
    else:
        session.say(layouts.historical_ticks(code, request.req_id, rows))


def _real_time_bars(gateway: Gateway, session: Session, request: asked.ReqRealTimeBars) -> None:
    found = one(gateway, session, request.req_id, request.contract)
    if not found:
        return
    times = gateway.looks.times
    if broken := gateway.history_pace.judge_real_time(request.contract, request.what, *times):
        session.breach(broken, request)
        session.say_error(request.req_id, 420, "Invalid Real-time Query:Pacing violation")
        return
    stream = Stream(request=request, instrument=found)
    session.streams[request.req_id] = stream
    session.nursery.start_soon(_run_real_time, gateway, session, stream)


async def _run_real_time(gateway: Gateway, session: Session, stream: Stream) -> None:
    market, req_id = gateway.markets[stream.instrument.con_id], stream.request.req_id
    start_s = gateway.now_ns // 10**9 // REAL_TIME_S * REAL_TIME_S
    while session.streams.get(req_id) is stream:
        end_s = start_s + REAL_TIME_S
        await trio.sleep(max(end_s - gateway.now_ns / 1e9, 0))
        if session.streams.get(req_id) is stream and gateway.flows(stream.instrument):
            price = market.last
            row = (start_s, price, price, price, price, 5, price, 1)
            session.say(layouts.real_time_bar(req_id, row))
        start_s = end_s


ANSWERS: dict[type[Request], Callable[[Gateway, Session, Any], None]] = {
    asked.ReqMktData: _mkt_data,
    asked.ReqTickByTickData: _tick_by_tick,
    asked.ReqHistoricalData: _historical_data,
    asked.ReqHeadTimeStamp: _head_timestamp,
    asked.ReqHistoricalTicks: _historical_ticks,
    asked.ReqRealTimeBars: _real_time_bars,
}
