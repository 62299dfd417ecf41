"""The text protocol of a gateway: our words to bytes, and its bytes to our words.

The only module that knows ib_async: its client writes the requests, its decoder reads the answers,
and nothing else of it is used. It has no connection here, no loop and no memory of what was said.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC
from decimal import Decimal
from functools import partial
from math import isfinite
from typing import Any
from zoneinfo import ZoneInfo

import ib_async
from ib_async.client import Client
from ib_async.decoder import Decoder
from ib_async.objects import ExecutionFilter
from ib_async.util import UNSET_DOUBLE, UNSET_INTEGER

from piker.brokers.ib.hours import instant_ns
from piker.brokers.ib.messages import (
    Accounts,
    AskAccount,
    AskBars,
    AskCompletedOrders,
    AskContracts,
    AskExecutions,
    AskHead,
    AskIds,
    AskOpenOrders,
    AskPositions,
    AskRule,
    AskSymbols,
    AskTime,
    Bars,
    BidAskTick,
    CancelEverything,
    CancelOrder,
    ChooseData,
    Commission,
    Contract,
    ContractDetails,
    DataTypeIs,
    Done,
    End,
    EndedOrder,
    Ends,
    Fits,
    HeadIs,
    Holds,
    NextId,
    Notice,
    OrderIs,
    PastBar,
    PlaceOrder,
    Price,
    PriceStep,
    Request,
    Rule,
    Said,
    Sample,
    Samples,
    Size,
    StatusIs,
    Stoppable,
    Text,
    TimeIs,
    TradeTick,
    Value,
    WatchQuotes,
    WatchTicks,
)

EPOCH = 2
"""formatDate: times as seconds since the epoch, whatever zone the gateway is set to."""
NO_RULE = 0
"""Of an exchange that has no market rule."""
REPORTED = 59
LONG = 256 * 1024
"""Bytes of any message but the next: the library takes a time that grows with their square."""
HISTORY = b"17\0"
KNOWN = {
    *(1, 2, 3, 4, 5, 9, 10, 11, 15, 17, 46, 49, 52, 53, 55, 58, 59),
    *(61, 62, 73, 74, 79, 88, 93, 99, 101, 102),
}
"""Messages that are read."""
DETAILS, LONG_NAME = 10, 19
EXECUTION, EXECUTION_TIME = 11, 15
"""The message of an execution, and which of its fields is the time."""
ANY_TIME = "20200101-00:00:00"
STATUSES = {
    *("ApiPending", "PendingSubmit", "PreSubmitted", "Submitted", "PendingCancel"),
    *("ApiCancelled", "Cancelled", "Filled", "Inactive"),
}
ESCAPED = re.compile(r"\\u([0-9a-fA-F]{4})")


NOTHING = Decimal(0)
UNSET = {UNSET_DOUBLE, UNSET_INTEGER, float(2**63 - 1), float(-(2**63))}


class NotWritable(ValueError):
    """A text that can't be sent: the protocol ends fields by NUL, and knows ASCII only."""


class Undecodable(Exception):
    """The gateway sent what isn't a message of its protocol; the text says which."""


class Encoder:
    """Writes requests for a gateway that speaks this version."""

    def __init__(self, version: int) -> None:
        self._writer = _Writer(version)

    def start(self, client_id: int) -> bytes:
        """Who we are: the first message (startApi)."""
        self._writer.clientId = client_id
        return self._writer.written(self._writer.startApi)

    def request(self, request: Request, number: int) -> bytes:
        """A message. `number` is the order's id of an order, else one that was never used before.

        Raises NotWritable.
        """
        return self._writer.written(
            partial(_REQUESTS[type(request)], self._writer, number, request)
        )

    def stop(self, request: Stoppable, number: int) -> bytes:
        """The message that ends what this request began."""
        writer = self._writer
        match request:
            case WatchQuotes():
                return writer.written(partial(writer.cancelMktData, number))
            case WatchTicks():
                return writer.written(partial(writer.cancelTickByTickData, number))
            case AskBars():
                return writer.written(partial(writer.cancelHistoricalData, number))
            case AskHead():
                return writer.written(partial(writer.cancelHeadTimeStamp, number))
            case AskPositions():
                return writer.written(writer.cancelPositions)
            case AskAccount():
                return writer.written(partial(writer.cancelAccountUpdatesMulti, number))


class Reader:
    """Reads what a gateway says that speaks this version.

    `zone` is where it is, for times that it writes without one (an old setting of it).
    """

    def __init__(self, version: int, zone: str = "UTC") -> None:
        self._collector = _Collector(ZoneInfo(zone))
        self._decoder = _Strict(self._collector, version)

    def read(self, payload: bytes) -> tuple[Said, ...]:
        """The words of one message: none of one that isn't known here. Raises Undecodable."""
        if len(payload) > LONG and not payload.startswith(HISTORY):
            raise Undecodable(f"expected at most {LONG} bytes, was {len(payload)}")
        fields = payload.decode(errors="backslashreplace").split("\0")[:-1]
        try:
            self._collector.take(fields)
            self._decoder.interpret(fields)
        except Exception as error:  # noqa: BLE001 - whatever the decoder makes of it
            self._collector.said.clear()
            return (_outline(fields, error),)
        said = tuple(self._collector.said)
        self._collector.said.clear()
        return said


class _Writer(Client):
    """The library's client, which here writes a message and sends none."""

    def __init__(self, version: int) -> None:
        super().__init__(None)
        self._serverVersion = version
        self.connState = Client.CONNECTED
        self._text = ""

    def written(self, write: Callable[[], object]) -> bytes:
        """The message that this writes."""
        write()
        return self._text.encode("ascii")

    def send(self, *fields: Any, makeEmpty: bool = True) -> None:
        """A field that holds NUL would be two."""
        for field in fields:
            for text in _texts(field):
                if "\0" in text or not text.isascii():
                    raise NotWritable(f"expected ASCII text without NUL, was {text!r}")
        super().send(*fields, makeEmpty=makeEmpty)

    def sendMsg(self, msg: str) -> None:
        self._text = msg


def _texts(field: object) -> list[str]:
    if isinstance(field, str):
        return [field]
    if isinstance(field, ib_async.Contract):
        return [each for each in vars(field).values() if isinstance(each, str)]
    return []


def _place(writer: _Writer, number: int, asked: PlaceOrder) -> None:
    order = ib_async.Order(
        action=asked.side,
        totalQuantity=_written(asked.size),
        orderType="MKT" if asked.limit is None else "LMT",
        lmtPrice=UNSET_DOUBLE if asked.limit is None else _written(asked.limit),
        tif=asked.tif,
        account=asked.account,
        orderRef=asked.ref,
        outsideRth=asked.outside_liquid_hours,
        transmit=True,
    )
    writer.placeOrder(number, _theirs(asked.contract), order)


def _ask_bars(writer: _Writer, number: int, asked: AskBars) -> None:
    contract, end = _theirs(asked.contract), asked.end
    asked_for = (asked.duration, asked.bar_size, asked.what, asked.liquid_only)
    writer.reqHistoricalData(number, contract, end, *asked_for, EPOCH, False, [])


def _ask_executions(writer: _Writer, number: int, asked: AskExecutions) -> None:
    writer.reqExecutions(number, ExecutionFilter(acctCode=asked.account, time=asked.since))


_REQUESTS: Mapping[type, Callable[[_Writer, int, Any], None]] = {
    AskTime: lambda writer, number, asked: writer.reqCurrentTime(),
    AskIds: lambda writer, number, asked: writer.reqIds(1),
    AskContracts: lambda writer, number, asked: writer.reqContractDetails(
        number, _theirs(asked.contract, expired=asked.expired)
    ),
    AskSymbols: lambda writer, number, asked: writer.reqMatchingSymbols(number, asked.pattern),
    AskRule: lambda writer, number, asked: writer.reqMarketRule(asked.rule_id),
    ChooseData: lambda writer, number, asked: writer.reqMarketDataType(asked.data_type),
    WatchQuotes: lambda writer, number, asked: writer.reqMktData(
        number, _theirs(asked.contract), asked.generic_ticks, False, False, []
    ),
    WatchTicks: lambda writer, number, asked: writer.reqTickByTickData(
        number, _theirs(asked.contract), asked.kind, 0, False
    ),
    AskBars: _ask_bars,
    AskHead: lambda writer, number, asked: writer.reqHeadTimeStamp(
        number, _theirs(asked.contract), asked.what, False, EPOCH
    ),
    AskOpenOrders: lambda writer, number, asked: writer.reqAllOpenOrders(),
    AskCompletedOrders: lambda writer, number, asked: writer.reqCompletedOrders(False),
    AskExecutions: _ask_executions,
    AskPositions: lambda writer, number, asked: writer.reqPositions(),
    AskAccount: lambda writer, number, asked: writer.reqAccountUpdatesMulti(
        number, asked.account, "", True
    ),
    PlaceOrder: _place,
    CancelOrder: lambda writer, number, asked: writer.cancelOrder(number),
    CancelEverything: lambda writer, number, asked: writer.reqGlobalCancel(),
}


class _Strict(Decoder):
    """The library's decoder, which here doesn't keep to itself what goes wrong."""

    def __init__(self, collector: "_Collector", version: int) -> None:
        super().__init__(collector, version)  # type: ignore[arg-type] # all that it calls is there
        self.handlers = {kind: self.handlers[kind] for kind in KNOWN}
        # an unset commission, an empty text, would be one of 0
        self.handlers[REPORTED] = collector.commission

    def wrap(
        self,
        methodName: str,
        types: Sequence[type],
        skip: int = 2,
    ) -> Callable[[Sequence[str]], None]:
        method = getattr(self.wrapper, methodName, None)

        def handle(fields: Sequence[str]) -> None:
            if method:
                method(
                    *(_READ[kind](field) for kind, field in zip(types, fields[skip:], strict=False))
                )

        return handle

    def interpret(self, fields: list[str]) -> None:
        handler = self.handlers.get(int(fields[0]))
        if handler:
            handler(fields)


_READ: Mapping[type, Callable[[str], object]] = {
    str: str,
    int: lambda field: int(field or 0),
    float: lambda field: float(field or 0),
    bool: lambda field: bool(int(field or 0)),
}


class _TheirZone:
    """Where the library looks for the zone of a time without one: it isn't given any such time."""

    TimezoneTWS = "UTC"


class _Collector:
    """What the decoder calls, by the library's names; kept in our words."""

    ib = _TheirZone
    defaultTimezone = UTC

    def __init__(self, zone: ZoneInfo) -> None:
        self.said: list[Said] = []
        self._zone = zone
        self._bars: list[PastBar] = []
        self._done_ns: tuple[int | None, int | None] = None, None
        self._long_name = ""

    def take(self, fields: list[str]) -> None:
        """Look at a message before the decoder does.

        It would drop an execution whose time it can't read, and a contract for a stray backslash.
        """
        self._bars.clear()
        if fields and fields[0] == str(EXECUTION) and len(fields) > EXECUTION_TIME:
            text = fields[EXECUTION_TIME]
            latest_ns = instant_ns(text, self._zone, latest=True)
            self._done_ns = instant_ns(text, self._zone), latest_ns
            fields[EXECUTION_TIME] = ANY_TIME
        elif fields and fields[0] == str(DETAILS) and len(fields) > LONG_NAME:
            self._long_name, fields[LONG_NAME] = _unescaped(fields[LONG_NAME]), ""

    # --- the session

    def error(self, number: int, code: int, text: str, reject: str) -> None:
        notice = Notice(number=number, code=code, text=_unescaped(text), reject=reject)
        self.said.append(notice)

    def managedAccounts(self, names: str) -> None:
        self.said.append(Accounts(names=tuple(filter(None, names.split(",")))))

    def nextValidId(self, order_id: int) -> None:
        self.said.append(NextId(order_id=order_id))

    def currentTime(self, epoch_s: int) -> None:
        self.said.append(TimeIs(epoch_s=epoch_s))

    # --- contracts

    def contractDetails(self, number: int, found: ib_async.ContractDetails) -> None:
        self.said.append(Fits(number=number, details=_details(found, self._long_name)))

    def contractDetailsEnd(self, number: int) -> None:
        self._end("contracts", number)

    def symbolSamples(self, number: int, found: Sequence[Any]) -> None:
        samples = tuple(
            Sample(
                contract=_ours(each.contract),
                derivatives=tuple(each.derivativeSecTypes),
                description=each.contract.description,
            )
            for each in found
        )
        self.said.append(Samples(number=number, samples=samples))

    def marketRule(self, rule_id: int, bands: Sequence[ib_async.PriceIncrement]) -> None:
        steps = tuple(
            PriceStep(from_price=_decimal(each.lowEdge), step=_decimal(each.increment))
            for each in bands
        )
        self.said.append(Rule(rule_id=rule_id, steps=steps))

    # --- market data

    def marketDataType(self, number: int, data_type: int) -> None:
        self.said.append(DataTypeIs(number=number, data_type=data_type))

    def priceSizeTick(self, number: int, field: int, price: float, size: float) -> None:
        self.said.append(Price(number=number, field=field, price=price, size=size))

    def tickSize(self, number: int, field: int, size: float) -> None:
        self.said.append(Size(number=number, field=field, size=size))

    def tickString(self, number: int, field: int, text: str) -> None:
        self.said.append(Text(number=number, field=field, text=text))

    def tickByTickAllLast(
        self,
        number: int,
        _kind: int,
        epoch_s: int,
        price: float,
        size: float,
        marks: ib_async.TickAttribLast,
        _exchange: str,
        _conditions: str,
    ) -> None:
        tick = TradeTick(
            number=number, epoch_s=epoch_s, price=price, size=size, unreported=marks.unreported
        )
        self.said.append(tick)

    def tickByTickMidPoint(self, *_: object) -> None:
        """Nobody asks for it."""

    def tickByTickBidAsk(
        self,
        number: int,
        epoch_s: int,
        bid: float,
        ask: float,
        bid_size: float,
        ask_size: float,
        _marks: object,
    ) -> None:
        tick = BidAskTick(
            number=number, epoch_s=epoch_s, bid=bid, ask=ask, bid_size=bid_size, ask_size=ask_size
        )
        self.said.append(tick)

    # --- history

    def historicalData(self, number: int, bar: ib_async.BarData) -> None:
        self._bars.append(
            PastBar(
                time=str(bar.date),
                open=bar.open,
                high=bar.high,
                low=bar.low,
                close=bar.close,
                volume=bar.volume,
                wap=bar.average,
                count=bar.barCount,
            )
        )

    def historicalDataEnd(self, number: int, _start: str, _end: str) -> None:
        self.said.append(Bars(number=number, bars=tuple(self._bars)))

    def headTimestamp(self, number: int, epoch_s: str) -> None:
        self.said.append(HeadIs(number=number, epoch_s=int(epoch_s)))

    # --- orders

    def openOrder(
        self, order_id: int, contract: ib_async.Contract, order: ib_async.Order, state: Any
    ) -> None:
        self.said.append(
            OrderIs(
                order_id=order_id,
                client_id=order.clientId,
                perm_id=order.permId,
                ref=order.orderRef,
                account=order.account,
                contract=_ours(contract),
                side=order.action,
                size=_set(order.totalQuantity) or NOTHING,
                order_type=order.orderType,
                # of an order at the market it is a 0 that nobody set
                limit=None if order.orderType == "MKT" else _set(order.lmtPrice),
                tif=order.tif,
                status=state.status,
                reason=state.warningText,
            )
        )

    def openOrderEnd(self) -> None:
        self._end("open orders")

    def orderStatus(
        self,
        order_id: int,
        status: str,
        filled: float,
        remaining: float,
        average: float,
        perm_id: int,
        _parent: int,
        _last: float,
        client_id: int,
        why_held: str,
        _cap: float,
    ) -> None:
        self.said.append(
            StatusIs(
                order_id=order_id,
                client_id=client_id,
                perm_id=perm_id,
                status=status,
                filled=_set(filled) or NOTHING,
                remaining=_set(remaining) or NOTHING,
                average=_set(average) if filled else None,
                why_held=why_held,
            )
        )

    def completedOrder(
        self, contract: ib_async.Contract, order: ib_async.Order, state: Any
    ) -> None:
        self.said.append(
            EndedOrder(
                perm_id=order.permId,
                ref=order.orderRef,
                account=order.account,
                contract=_ours(contract),
                side=order.action,
                size=_set(order.totalQuantity) or NOTHING,
                filled=_set(order.filledQuantity),
                status=state.status,
                ended=state.completedTime,
                reason=state.completedStatus,
            )
        )

    def completedOrdersEnd(self) -> None:
        self._end("completed orders")

    def execDetails(
        self, number: int, contract: ib_async.Contract, done: ib_async.Execution
    ) -> None:
        self.said.append(
            Done(
                number=number,
                order_id=done.orderId,
                client_id=done.clientId,
                perm_id=done.permId,
                ref=done.orderRef,
                exec_id=done.execId,
                time_ns=self._done_ns[0],
                latest_ns=self._done_ns[1],
                account=done.acctNumber,
                contract=_ours(contract),
                side=done.side,
                size=_decimal(done.shares),
                price=_decimal(done.price),
                total=_decimal(done.cumQty),
            )
        )

    def execDetailsEnd(self, number: int) -> None:
        self._end("executions", number)

    def commission(self, fields: Sequence[str]) -> None:
        """Message 59, as it is."""
        _, _, exec_id, amount, currency, realised, *_ = fields
        self.said.append(
            Commission(
                exec_id=exec_id,
                amount=_set(float(amount or UNSET_DOUBLE)),
                currency=currency,
                realised=_set(float(realised or UNSET_DOUBLE)),
            )
        )

    # --- accounts

    def position(
        self, account: str, contract: ib_async.Contract, size: float, average: float
    ) -> None:
        self.said.append(
            Holds(
                account=account,
                contract=_ours(contract),
                size=_decimal(size),
                average=_set(average) or NOTHING,
            )
        )

    def positionEnd(self) -> None:
        self._end("positions")

    def accountUpdateMulti(
        self, number: int, account: str, _model: str, key: str, value: str, currency: str
    ) -> None:
        self.said.append(
            Value(number=number, account=account, key=key, value=value, currency=currency)
        )

    def accountUpdateMultiEnd(self, number: int) -> None:
        self._end("account", number)

    def _end(self, of: Ends, number: int = -1) -> None:
        self.said.append(End(of=of, number=number))


def _outline(fields: list[str], error: Exception) -> OrderIs | EndedOrder:
    """Of an order that the decoder can't read, somebody else's with whatever, what can be.

    Its first fields are always the same. Raises Undecodable of anything else.
    """
    try:
        match fields[0]:
            case "5":
                return _open_outline(fields)
            case "101":
                return _ended_outline(fields)
    except (IndexError, ValueError):
        pass
    # without its fields: an account's number may be among them
    what = f"message {fields[0][:8]!r}" if fields else "an empty message"
    raise Undecodable(f"{what} of {len(fields)} fields: {type(error).__name__}") from error


def _open_outline(fields: list[str]) -> OrderIs:
    """openOrder; without a status no more is said than that it was asked for."""
    return OrderIs(
        order_id=int(fields[1]),
        contract=_contract_outline(fields[2:13]),
        side=fields[13],
        size=_set(float(fields[14] or 0)) or NOTHING,
        order_type=fields[15],
        limit=None,
        tif=fields[18],
        account=fields[20],
        ref=fields[23],
        client_id=int(fields[24]),
        perm_id=int(fields[25]),
        status=next((each for each in fields[26:] if each in STATUSES), ""),
        reason="",
    )


def _ended_outline(fields: list[str]) -> EndedOrder:
    """completedOrder."""
    return EndedOrder(
        contract=_contract_outline(fields[1:12]),
        side=fields[12],
        size=_set(float(fields[13] or 0)) or NOTHING,
        account=fields[19],
        ref=fields[22],
        perm_id=int(fields[23]),
        filled=None,
        status=next((each for each in fields[24:] if each in STATUSES), ""),
        ended="",
        reason="",
    )


def _contract_outline(fields: list[str]) -> Contract:
    """conId, symbol, secType, expiry, strike, right, multiplier, exchange, currency, local symbol,
    trading class."""
    return Contract(
        con_id=int(fields[0] or 0),
        symbol=fields[1],
        sec_type=fields[2],
        expiry=fields[3],
        exchange=fields[7],
        currency=fields[8],
        local_symbol=fields[9],
        trading_class=fields[10],
    )


def _theirs(contract: Contract, *, expired: bool = False) -> ib_async.Contract:
    return ib_async.Contract(
        conId=contract.con_id,
        symbol=contract.symbol,
        secType=contract.sec_type,
        lastTradeDateOrContractMonth=contract.expiry,
        strike=_written(contract.strike or Decimal(0)),
        right=contract.right,
        multiplier=contract.multiplier,
        exchange=contract.exchange,
        primaryExchange=contract.primary_exchange,
        currency=contract.currency,
        localSymbol=contract.local_symbol,
        tradingClass=contract.trading_class,
        includeExpired=expired,
    )


def _ours(contract: ib_async.Contract) -> Contract:
    return Contract(
        con_id=contract.conId,
        symbol=contract.symbol,
        sec_type=contract.secType,
        expiry=contract.lastTradeDateOrContractMonth,
        strike=_decimal(contract.strike) if contract.strike else None,
        right=contract.right if contract.right in ("C", "P") else "",
        multiplier=contract.multiplier,
        exchange=contract.exchange,
        primary_exchange=contract.primaryExchange,
        currency=contract.currency,
        local_symbol=contract.localSymbol,
        trading_class=contract.tradingClass,
    )


def _details(found: ib_async.ContractDetails, long_name: str) -> ContractDetails:
    assert found.contract
    return ContractDetails(
        contract=_ours(found.contract),
        min_tick=_decimal(found.minTick),
        price_magnifier=found.priceMagnifier or 1,
        valid_exchanges=_list(found.validExchanges),
        rule_ids=tuple(int(each or NO_RULE) for each in _list(found.marketRuleIds)),
        long_name=long_name,
        contract_month=found.contractMonth,
        real_expiry=found.realExpirationDate,
        last_trade_time=found.lastTradeTime,
        time_zone=found.timeZoneId,
        trading_hours=found.tradingHours,
        liquid_hours=found.liquidHours,
        stock_type=found.stockType,
        underlying=found.underSymbol,
        min_size=_set(found.minSize),
        size_increment=_set(found.sizeIncrement),
        suggested_size_increment=_set(found.suggestedSizeIncrement),
    )


def _written(number: Decimal) -> Any:
    """Digit by digit, without an exponent; the library writes a text as it is."""
    return f"{number:f}"


def _unescaped(text: str) -> str:
    """With what is written as \\uXXXX; what is half of a letter is none."""
    text = ESCAPED.sub(lambda found: chr(int(found[1], 16)), text)
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _list(text: str) -> tuple[str, ...]:
    return tuple(text.split(",")) if text else ()


def _set(number: float | Decimal | None) -> Decimal | None:
    """The number, unless it is one that says that there is none."""
    return None if number is None or number in UNSET else _decimal(number)


def _decimal(number: float | Decimal) -> Decimal:
    """The shortest decimal that is this float: what the gateway wrote, but for zeros at its end.

    Raises ValueError where there must be a number and is none.
    """
    if number in UNSET or not isfinite(number):
        raise ValueError(f"expected a number, was {number}")
    found = Decimal(repr(number)) if isinstance(number, float) else Decimal(number)
    whole = found.to_integral_value()
    return whole if found == whole else found
