"""What clients ask, each a class: its number, the version field it has, and its fields in order."""

from decimal import Decimal, InvalidOperation
from typing import Any, ClassVar

from msgspec import Struct, convert
from msgspec.structs import fields

from tests.fakes.gateway.orderlayout import read_placed
from tests.fakes.gateway.wire import (
    UNSET_DOUBLE,
    UNSET_INTEGER,
    Cursor,
    Message,
    NotTheProtocol,
    text,
)


class Query(Struct, frozen=True, kw_only=True):
    """A contract as a client describes it, in twelve fields; what is empty isn't said."""

    con_id: int = 0
    symbol: str = ""
    sec_type: str = ""
    last_trade_date: str = ""
    strike: Decimal | None = None
    right: str = ""
    multiplier: str = ""
    exchange: str = ""
    primary_exchange: str = ""
    currency: str = ""
    local_symbol: str = ""
    trading_class: str = ""


class Ticket(Struct, frozen=True, kw_only=True):
    """What of an order this gateway plays. `said` has every field by the official API's name."""

    contract: Query
    action: str
    size: Decimal
    kind: str
    limit: Decimal | None
    stop: Decimal | None
    tif: str
    ref: str
    account: str
    parent_id: int
    transmit: bool
    what_if: bool
    said: dict[str, str]


class Request(Struct, frozen=True, kw_only=True):
    """Whatever a client sends after it logged in."""

    CODE: ClassVar[int]
    VERSION: ClassVar[int | None] = None
    SINCE: ClassVar[dict[str, int]] = {}
    """Fields that came with a later version of the protocol."""

    def __init_subclass__(cls, **config: Any) -> None:
        super().__init_subclass__(**config)
        BY_CODE[cls.CODE] = cls


BY_CODE: dict[int, type[Request]] = {}


class ReqMktData(Request, frozen=True, kw_only=True):
    """Streams quotes, or gives one snapshot."""

    CODE = 1
    VERSION = 11
    req_id: int
    contract: Query
    delta_neutral: bool
    generic_ticks: str
    snapshot: bool
    regulatory_snapshot: bool
    options: str


class CancelMktData(Request, frozen=True, kw_only=True):
    """Ends a stream of quotes."""

    CODE = 2
    VERSION = 2
    req_id: int


class PlaceOrder(Request, frozen=True, kw_only=True):
    """Places an order, or modifies the one with this id."""

    CODE = 3
    order_id: int
    ticket: Ticket


class CancelOrder(Request, frozen=True, kw_only=True):
    """Cancels an order."""

    CODE = 4
    VERSION = 1
    SINCE: ClassVar = {"manual_time": 169}
    order_id: int
    manual_time: str = ""


class ReqOpenOrders(Request, frozen=True, kw_only=True):
    """Asks for this client's open orders."""

    CODE = 5
    VERSION = 1


class ReqAccountUpdates(Request, frozen=True, kw_only=True):
    """Streams an account's values and portfolio, or ends that."""

    CODE = 6
    VERSION = 2
    subscribe: bool
    account: str


class ReqExecutions(Request, frozen=True, kw_only=True):
    """Asks for today's executions."""

    CODE = 7
    VERSION = 3
    req_id: int
    client_id: int
    account: str
    time: str
    symbol: str
    sec_type: str
    exchange: str
    side: str


class ReqIds(Request, frozen=True, kw_only=True):
    """Asks for the next valid order id."""

    CODE = 8
    VERSION = 1
    count: int


class ReqContractDetails(Request, frozen=True, kw_only=True):
    """Asks for every contract that fits a description."""

    CODE = 9
    VERSION = 8
    SINCE: ClassVar = {"issuer_id": 176}
    req_id: int
    contract: Query
    include_expired: bool
    sec_id_type: str
    sec_id: str
    issuer_id: str = ""


class ReqAutoOpenOrders(Request, frozen=True, kw_only=True):
    """Binds orders entered by hand to client 0."""

    CODE = 15
    VERSION = 1
    bind: bool


class ReqAllOpenOrders(Request, frozen=True, kw_only=True):
    """Asks for the open orders of all clients."""

    CODE = 16
    VERSION = 1


class ReqManagedAccts(Request, frozen=True, kw_only=True):
    """Asks for the accounts."""

    CODE = 17
    VERSION = 1


class ReqHistoricalData(Request, frozen=True, kw_only=True):
    """Asks for bars."""

    CODE = 20
    req_id: int
    contract: Query
    include_expired: bool
    end: str
    bar_size: str
    duration: str
    use_rth: bool
    what: str
    format_date: int
    keep_up_to_date: bool
    options: str


class CancelHistoricalData(Request, frozen=True, kw_only=True):
    """Ends a request for bars."""

    CODE = 25
    VERSION = 1
    req_id: int


class ReqCurrentTime(Request, frozen=True, kw_only=True):
    """Asks for the time."""

    CODE = 49
    VERSION = 1


class ReqRealTimeBars(Request, frozen=True, kw_only=True):
    """Streams bars of five seconds."""

    CODE = 50
    VERSION = 3
    req_id: int
    contract: Query
    bar_size: str
    what: str
    use_rth: bool
    options: str


class CancelRealTimeBars(Request, frozen=True, kw_only=True):
    """Ends a stream of bars."""

    CODE = 51
    VERSION = 1
    req_id: int


class ReqGlobalCancel(Request, frozen=True, kw_only=True):
    """Cancels every open order, whoever placed it."""

    CODE = 58
    VERSION = 1


class ReqMarketDataType(Request, frozen=True, kw_only=True):
    """Chooses live (1), frozen (2), delayed (3) or delayed and frozen (4) data."""

    CODE = 59
    VERSION = 1
    data_type: int


class ReqPositions(Request, frozen=True, kw_only=True):
    """Streams the positions of all accounts."""

    CODE = 61
    VERSION = 1


class ReqAccountSummary(Request, frozen=True, kw_only=True):
    """Streams chosen values of accounts."""

    CODE = 62
    VERSION = 1
    req_id: int
    group: str
    tags: str


class CancelAccountSummary(Request, frozen=True, kw_only=True):
    """Ends a summary."""

    CODE = 63
    VERSION = 1
    req_id: int


class CancelPositions(Request, frozen=True, kw_only=True):
    """Ends the stream of positions."""

    CODE = 64
    VERSION = 1


class StartApi(Request, frozen=True, kw_only=True):
    """Logs in with a client id."""

    CODE = 71
    VERSION = 2
    client_id: int
    capabilities: str


class ReqAccountUpdatesMulti(Request, frozen=True, kw_only=True):
    """Streams the values of an account or a model."""

    CODE = 76
    VERSION = 1
    req_id: int
    account: str
    model: str
    ledger_and_nlv: bool


class CancelAccountUpdatesMulti(Request, frozen=True, kw_only=True):
    """Ends a stream of values."""

    CODE = 77
    VERSION = 1
    req_id: int


class ReqSecDefOptParams(Request, frozen=True, kw_only=True):
    """Asks for the option chains of an underlying."""

    CODE = 78
    req_id: int
    symbol: str
    exchange: str
    sec_type: str
    con_id: int


class ReqMatchingSymbols(Request, frozen=True, kw_only=True):
    """Searches symbols and names."""

    CODE = 81
    req_id: int
    pattern: str


class ReqHeadTimeStamp(Request, frozen=True, kw_only=True):
    """Asks since when there are bars."""

    CODE = 87
    req_id: int
    contract: Query
    include_expired: bool
    use_rth: bool
    what: str
    format_date: int


class CancelHeadTimeStamp(Request, frozen=True, kw_only=True):
    """Ends that."""

    CODE = 90
    req_id: int


class ReqMarketRule(Request, frozen=True, kw_only=True):
    """Asks for the price bands of a rule."""

    CODE = 91
    rule_id: int


class ReqHistoricalTicks(Request, frozen=True, kw_only=True):
    """Asks for ticks of the past."""

    CODE = 96
    req_id: int
    contract: Query
    include_expired: bool
    start: str
    end: str
    count: int
    what: str
    use_rth: bool
    ignore_size: bool
    options: str


class ReqTickByTickData(Request, frozen=True, kw_only=True):
    """Streams every tick."""

    CODE = 97
    req_id: int
    contract: Query
    kind: str
    count: int
    ignore_size: bool


class CancelTickByTickData(Request, frozen=True, kw_only=True):
    """Ends that."""

    CODE = 98
    req_id: int


class ReqCompletedOrders(Request, frozen=True, kw_only=True):
    """Asks for today's orders that ended."""

    CODE = 99
    api_only: bool


def read_request(message: Message, version: int) -> Request:
    """What a client said, at the version that was agreed; NotTheProtocol says what was wrong."""
    cursor = Cursor(message)
    code = _integer(cursor.take("message id"), "message id")
    kind = BY_CODE.get(code)
    if kind is None:
        raise NotTheProtocol(f"expected a known message, was {code}: {message}")
    if kind.VERSION is not None:
        _check_version(cursor.take("version"), kind)
    found = _placed(cursor, version) if kind is PlaceOrder else _declared(cursor, kind, version)
    cursor.end()
    return found


def _check_version(said: str, kind: type[Request]) -> None:
    if said != str(kind.VERSION):
        raise NotTheProtocol(f"expected {kind.__name__} version {kind.VERSION}, was {said}")


def _declared(cursor: Cursor, kind: type[Request], version: int) -> Request:
    said = [field for field in fields(kind) if version >= kind.SINCE.get(field.name, 0)]
    return kind(**{field.name: _read(cursor, field.name, field.type) for field in said})


def _read(cursor: Cursor, name: str, kind: Any) -> object:
    if kind is Query:
        return _query(cursor)
    said = cursor.take(name)
    if kind is int:
        return _integer(said, name)
    if kind is bool:
        return _flag(said, name)
    return said


def _query(cursor: Cursor) -> Query:
    found = {field.name: _read(cursor, field.name, field.type) for field in fields(Query)}
    found["strike"] = _decimal(str(found["strike"]), "strike") or None
    return convert(found, Query)


def _placed(cursor: Cursor, version: int) -> PlaceOrder:
    order_id = _integer(cursor.take("order id"), "order id")
    try:
        said = read_placed(cursor, version)
    except ValueError as error:
        raise NotTheProtocol(f"expected numbers, was: {error}") from error
    return PlaceOrder(order_id=order_id, ticket=_ticket(said))


def _ticket(said: dict[str, str]) -> Ticket:
    return Ticket(
        contract=_query(Cursor(tuple(list(said.values())[: len(fields(Query))]))),
        action=said["action"],
        size=_decimal(said["totalQuantity"], "totalQuantity") or Decimal(0),
        kind=said["orderType"],
        limit=_decimal(said["lmtPrice"], "lmtPrice"),
        stop=_decimal(said["auxPrice"], "auxPrice"),
        tif=said["tif"],
        ref=said["orderRef"],
        account=said["account"],
        parent_id=_integer(said["parentId"], "parentId"),
        transmit=_flag(said["transmit"], "transmit"),
        what_if=_flag(said["whatIf"], "whatIf"),
        said=said,
    )


def _integer(said: str, name: str) -> int:
    try:
        return int(said or 0)
    except ValueError:
        raise NotTheProtocol(f"expected a whole number as {name}, was {said!r}") from None


def _flag(said: str, name: str) -> bool:
    if said not in ("0", "1", ""):
        raise NotTheProtocol(f"expected 0 or 1 as {name}, was {said!r}")
    return said == "1"


def _decimal(said: str, name: str) -> Decimal | None:
    try:
        value = Decimal(said if said not in ("", UNSET_INTEGER) else UNSET_DOUBLE)
        return None if value >= Decimal(UNSET_DOUBLE) else Decimal(text(value))
    except InvalidOperation:
        raise NotTheProtocol(f"expected a number as {name}, was {said!r}") from None
