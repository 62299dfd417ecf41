"""What the gateway answers: the table by request, and what concerns contracts and accounts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from tests.fakes.gateway import catalog, dataanswers, layouts, orderanswers
from tests.fakes.gateway import requests as asked
from tests.fakes.gateway.book import Execution, Position
from tests.fakes.gateway.catalog import Instrument
from tests.fakes.gateway.requests import Query, Request
from tests.fakes.gateway.schedule import at

if TYPE_CHECKING:
    from tests.fakes.gateway.gateway import Gateway
    from tests.fakes.gateway.session import Session

DUPLICATE = "Error processing request.-'bN' : cause - Duplicate ticker id"
FOUND_AT_MOST = 16

CANCELS: dict[type[Request], type[Request]] = {
    asked.CancelMktData: asked.ReqMktData,
    asked.CancelHistoricalData: asked.ReqHistoricalData,
    asked.CancelRealTimeBars: asked.ReqRealTimeBars,
    asked.CancelTickByTickData: asked.ReqTickByTickData,
    asked.CancelHeadTimeStamp: asked.ReqHeadTimeStamp,
    asked.CancelAccountSummary: asked.ReqAccountSummary,
    asked.CancelAccountUpdatesMulti: asked.ReqAccountUpdatesMulti,
}


def id_of(request: Request) -> int:
    """The id by which an answer is found; -1 if there is none."""
    return int(getattr(request, "req_id", getattr(request, "order_id", -1)))


def query_of(request: Request) -> Query | None:
    """The contract that a request is about."""
    ticket = getattr(request, "ticket", None)
    found: Query | None = ticket.contract if ticket else getattr(request, "contract", None)
    return found


def answer(gateway: Gateway, session: Session, request: Request) -> None:
    """Do what was asked, and say it."""
    if type(request) in CANCELS:
        _cancel(session, request)
    elif _is_new(session, request):
        ANSWERS[type(request)](gateway, session, request)


def note_open(session: Session, request: Request) -> None:
    """A request waits for its answer, maybe for ever; it may be cancelled."""
    if hasattr(request, "req_id") and type(request) not in CANCELS and _is_new(session, request):
        session.busy[id_of(request)] = request


def is_still_open(session: Session, request: Request) -> bool:
    """Whether a request that waited is still wanted; it doesn't wait any longer."""
    if not hasattr(request, "req_id"):
        return True
    return session.busy.pop(id_of(request), None) is request


def note_refused(gateway: Gateway, session: Session, request: Request) -> None:
    """An order id is used up also if its order is refused; a request may then be cancelled."""
    if isinstance(request, asked.PlaceOrder):
        gateway.book.use_id(session.client_id, request.order_id)
    elif hasattr(request, "req_id") and type(request) not in CANCELS:
        session.known[id_of(request)] = request
        session.cancelled.discard(id_of(request))


def _is_new(session: Session, request: Request) -> bool:
    if not hasattr(request, "req_id"):
        return True
    req_id = id_of(request)
    if req_id in session.busy or req_id in session.streams:
        session.breach("a ticker id is used once at a time", request)
        session.say_error(
            req_id, 322, "Error processing request.-'bN' : cause - Duplicate ticker id"
        )
        return False
    session.known[req_id] = request
    session.cancelled.discard(req_id)
    return True


def _cancel(session: Session, request: Request) -> None:
    req_id = id_of(request)
    running = session.streams.pop(req_id, None) or session.busy.pop(req_id, None)
    if not isinstance(session.known.get(req_id), CANCELS[type(request)]):
        session.breach("only what was asked for is cancelled", request)
        session.say_error(req_id, 300, f"Can't find EId with tickerId:{req_id}")
    elif req_id in session.cancelled:
        session.breach("what was cancelled isn't cancelled again", request)
    elif isinstance(request, asked.CancelHistoricalData):
        _acknowledge(session, req_id, running=bool(running))
    session.cancelled.add(req_id)


def _acknowledge(session: Session, req_id: int, *, running: bool) -> None:
    head = "Historical Market Data Service error message:"
    if running:
        session.say_error(req_id, 162, f"{head}API historical data query cancelled: {req_id}")
    else:
        session.say_error(req_id, 366, f"No historical data query found for ticker id:{req_id}")


def _contract_details(
    gateway: Gateway, session: Session, request: asked.ReqContractDetails
) -> None:
    found = gateway.find(request.contract, expired=request.include_expired)
    if not found:
        session.say_error(request.req_id, 200, dataanswers.NO_DEFINITION)
        return
    con_fut = request.contract.sec_type == "CONTFUT"
    for each in found:
        session.say(
            layouts.contract_data(
                request.req_id, each, session.version, gateway.now_ns, con_fut=con_fut
            )
        )
    session.say(layouts.contract_data_end(request.req_id))


def _matching_symbols(
    gateway: Gateway, session: Session, request: asked.ReqMatchingSymbols
) -> None:
    pattern = request.pattern.upper()
    known = [each for each in gateway.instruments.values() if not each.expiry]
    found = [e for e in known if e.symbol.startswith(pattern) or pattern in e.long_name.upper()]
    session.say(layouts.symbol_samples(request.req_id, found[:FOUND_AT_MOST], session.version))


def _market_rule(gateway: Gateway, session: Session, request: asked.ReqMarketRule) -> None:
    if request.rule_id in catalog.RULES:
        session.say(layouts.market_rule(request.rule_id))
    else:
        session.say_error(-1, 321, f"Error validating request: no market rule {request.rule_id}")


def _option_chain(gateway: Gateway, session: Session, request: asked.ReqSecDefOptParams) -> None:
    options = [e for e in gateway.instruments.values() if e.sec_type == "OPT"]
    chain = [e for e in options if e.under == request.symbol]
    for exchange in chain[0].exchanges if chain else ():
        session.say(layouts.option_chain(request.req_id, exchange, chain))
    session.say(layouts.option_chain_end(request.req_id))


def _current_time(gateway: Gateway, session: Session, request: asked.ReqCurrentTime) -> None:
    session.say(layouts.current_time(gateway.now_ns))


def _ids(gateway: Gateway, session: Session, request: asked.ReqIds) -> None:
    session.say(layouts.next_valid_id(gateway.book.next_id(session.client_id)))


def _accounts(gateway: Gateway, session: Session, request: asked.ReqManagedAccts) -> None:
    session.say(layouts.managed_accounts(gateway.settings.accounts))


def _data_type(gateway: Gateway, session: Session, request: asked.ReqMarketDataType) -> None:
    session.data_type = request.data_type


def _positions(gateway: Gateway, session: Session, request: asked.ReqPositions) -> None:
    session.positions = True
    for held in gateway.book.positions():
        session.say(layouts.position_data(held, gateway.instruments[held.con_id]))
    session.say(layouts.position_end())


def _no_positions(gateway: Gateway, session: Session, request: asked.CancelPositions) -> None:
    session.positions = False


def _account_updates(gateway: Gateway, session: Session, request: asked.ReqAccountUpdates) -> None:
    session.account = gateway.first_account(request.account) if request.subscribe else ""
    if session.account:
        _tell_account(gateway, session)
        session.say(layouts.account_download_end(session.account))


def _tell_account(gateway: Gateway, session: Session) -> None:
    for key, value, currency in _values(gateway, session.account):
        session.say(layouts.account_value(session.account, key, value, currency))
    for held, each in _held(gateway, session.account):
        session.say(layouts.portfolio_value(held, each, gateway.markets[held.con_id].last))
    session.say(layouts.account_time(gateway.now_ns))


def tell_position(gateway: Gateway, account: str, con_id: int) -> None:
    """What an account holds of a contract changed: tell those who follow it."""
    held = [e for e in gateway.book.positions() if (e.account, e.con_id) == (account, con_id)]
    for session in gateway.sessions:
        if session.positions:
            session.say(layouts.position_data(held[0], gateway.instruments[con_id]))
        if session.account == account:
            _tell_account(gateway, session)


def _held(gateway: Gateway, account: str) -> Sequence[tuple[Position, Instrument]]:
    held = [each for each in gateway.book.positions() if each.account == account]
    return [(each, gateway.instruments[each.con_id]) for each in held]


def _values(gateway: Gateway, account: str) -> list[tuple[str, str, str]]:
    return layouts.account_values(_held(gateway, account))


def _account_multi(
    gateway: Gateway, session: Session, request: asked.ReqAccountUpdatesMulti
) -> None:
    account = gateway.first_account(request.account)
    session.busy[request.req_id] = request
    for value in _values(gateway, account):
        session.say(layouts.account_update_multi(request.req_id, account, request.model, *value))
    session.say(layouts.account_update_multi_end(request.req_id))


def _account_summary(gateway: Gateway, session: Session, request: asked.ReqAccountSummary) -> None:
    session.busy[request.req_id] = request
    wanted = request.tags.split(",")
    for account in gateway.settings.accounts:
        for key, value, currency in _values(gateway, account):
            if key in wanted and currency != "BASE":
                session.say(layouts.account_summary(request.req_id, account, key, value, currency))
    session.say(layouts.account_summary_end(request.req_id))


def _executions(gateway: Gateway, session: Session, request: asked.ReqExecutions) -> None:
    for done in gateway.book.state.executions:
        if _wanted(gateway, session, request, done):
            session.say(gateway.execution(request.req_id, done, session.version))
            gateway.tell_commission(session, done)
    session.say(layouts.execution_data_end(request.req_id))


def _wanted(
    gateway: Gateway, session: Session, request: asked.ReqExecutions, done: Execution
) -> bool:
    """Of the days that are told, and one's own: client 0 has those by hand, too."""
    each = gateway.instruments[done.con_id]
    fitting = (
        (request.account, done.account),
        (request.symbol, each.symbol),
        (request.sec_type, each.sec_type),
        (request.exchange, done.exchange),
        (request.side, {"BOT": "BUY", "SLD": "SELL"}[done.side]),
    )
    own = done.client_id == session.client_id
    told = gateway.today - at(done.time_ns).date() < timedelta(days=gateway.settings.days_told)
    return own and told and all(not said or said == value for said, value in fitting)


ANSWERS: dict[type[Request], Callable[[Gateway, Session, Any], None]] = {
    asked.ReqContractDetails: _contract_details,
    asked.ReqMatchingSymbols: _matching_symbols,
    asked.ReqMarketRule: _market_rule,
    asked.ReqSecDefOptParams: _option_chain,
    asked.ReqCurrentTime: _current_time,
    asked.ReqIds: _ids,
    asked.ReqManagedAccts: _accounts,
    asked.ReqMarketDataType: _data_type,
    asked.ReqPositions: _positions,
    asked.CancelPositions: _no_positions,
    asked.ReqAccountUpdates: _account_updates,
    asked.ReqAccountUpdatesMulti: _account_multi,
    asked.ReqAccountSummary: _account_summary,
    asked.ReqExecutions: _executions,
    **dataanswers.ANSWERS,
    **orderanswers.ANSWERS,
}
