"""Every answer of the gateway: its fields in their order, at the version that was agreed. Pure.

The layouts are those of the official decoders, cross-read; where real captures exist they agree.
"""

from collections.abc import Iterable, Sequence
from decimal import Decimal

from tests.fakes.gateway.book import Execution, Order, Position, multiplier
from tests.fakes.gateway.catalog import RULES, Instrument
from tests.fakes.gateway.orderlayout import COMPLETED_ORDER, OPEN_ORDER, write_order
from tests.fakes.gateway.schedule import at, hours_text
from tests.fakes.gateway.wire import UNSET_DOUBLE, Message, text

ORDER_TYPES = "ACTIVETIM,AD,ADJUST,ALERT,ALLOC,AVGCOST,BASKET,COND,DAY,GTC,IOC,LMT,MKT,STP,STPLMT"
ECHOED = ("ocaGroup", "goodAfterTime", "goodTillDate", "outsideRth", "hidden")
"""Fields of a placement that are said again as they were said."""
LONG_TIME = "%Y%m%d %H:%M:%S"


def message(*fields: object) -> Message:
    """The fields as they are written."""
    return tuple(text(field) for field in fields)


def managed_accounts(accounts: Sequence[str]) -> Message:
    """All accounts in one field."""
    return message(15, 1, ",".join(accounts))


def next_valid_id(order_id: int) -> Message:
    """The order id to go on with."""
    return message(9, 1, order_id)


def current_time(time_ns: int) -> Message:
    """The gateway's time in seconds."""
    return message(49, 1, time_ns // 10**9)


def error(req_id: int, code: int, why: str, version: int) -> Message:
    """An error, a warning or a notice; -1 if it is about no request."""
    reject = ("",) if version >= 166 else ()
    return message(4, 2, req_id, code, why, *reject)


def tick_price(req_id: int, kind: int, price: object, size: object, mask: int = 0) -> Message:
    """A price and its size."""
    return message(1, 6, req_id, kind, price, size, mask)


def tick_size(req_id: int, kind: int, size: object) -> Message:
    """A size."""
    return message(2, 6, req_id, kind, size)


def tick_string(req_id: int, kind: int, value: object) -> Message:
    """A tick that is text."""
    return message(46, 6, req_id, kind, value)


def tick_generic(req_id: int, kind: int, value: object) -> Message:
    """A tick that is a number."""
    return message(45, 6, req_id, kind, value)


def tick_req_params(req_id: int, each: Instrument) -> Message:
    """The first answer to a subscription."""
    return message(81, req_id, each.min_tick, "9c0001", 3)


def tick_option_computation(req_id: int, kind: int, price: Decimal) -> Message:
    """What a model says of an option: volatility, delta, price, dividend, gamma, vega, theta."""
    return message(21, req_id, kind, 0, 0.2, 0.5, price, 0, 0.01, 0.1, -0.1, 500)


def market_data_type(req_id: int, data_type: int) -> Message:
    """Whether ticks are live or delayed."""
    return message(58, 1, req_id, data_type)


def tick_snapshot_end(req_id: int) -> Message:
    """A snapshot has all."""
    return message(57, 1, req_id)


def contract_data(
    req_id: int, each: Instrument, version: int, now_ns: int, *, con_fut: bool = False
) -> Message:
    """A contract with all that is known of it."""
    return message(
        10,
        *((8,) if version < 164 else ()),
        req_id,
        each.symbol,
        "CONTFUT" if con_fut else each.sec_type,
        _last_trade_date(each),
        each.strike,
        each.right,
        each.exchange,
        each.currency,
        each.local_symbol,
        each.trading_class,
        each.trading_class,
        each.con_id,
        each.min_tick,
        *((100,) if version < 164 else ()),
        each.multiplier,
        ORDER_TYPES,
        ",".join(each.exchanges),
        1,
        each.under_con_id,
        each.long_name,
        each.primary_exchange,
        each.expiry[:6],
        *each.industry,
        each.hours.zone,
        hours_text(each.hours, now_ns),
        hours_text(each.liquid, now_ns),
        "",
        0,
        *_sec_ids(each),
        1 if each.sec_type != "FUT" else 2147483647,
        each.under,
        each.under_sec_type,
        ",".join(str(rule) for rule in each.rules),
        each.expiry,
        each.stock_type,
        *((each.min_size, each.min_size, max(each.min_size, 1)) if version >= 164 else ()),
    )


def _last_trade_date(each: Instrument) -> str:
    """``20261218 08:30 US/Central``, as gateways say it for contracts that expire."""
    closes = "08:30" if each.sec_type == "FUT" else "16:00"
    return f"{each.expiry} {closes} {each.hours.zone}" if each.expiry else ""


def _sec_ids(each: Instrument) -> tuple[object, ...]:
    isin = f"US{each.con_id:010d}"
    return (1, "ISIN", isin) if each.sec_type == "STK" else (0,)


def contract_data_end(req_id: int) -> Message:
    """No contract more."""
    return message(52, 1, req_id)


def symbol_samples(req_id: int, found: Sequence[Instrument], version: int) -> Message:
    """What a search found."""
    rows = [field for each in found for field in _sample(each, version)]
    return message(79, req_id, len(found), *rows)


def _sample(each: Instrument, version: int) -> tuple[object, ...]:
    derived = ("CFD", "OPT") if each.sec_type == "STK" else ()
    described = (each.long_name, "") if version >= 176 else ()
    contract = (each.con_id, each.symbol, each.sec_type, each.primary_exchange or each.exchange)
    return (*contract, each.currency, len(derived), *derived, *described)


def market_rule(rule_id: int) -> Message:
    """The price bands of a rule."""
    bands = RULES[rule_id]
    return message(93, rule_id, len(bands), *(field for band in bands for field in band))


def option_chain(req_id: int, exchange: str, chain: Sequence[Instrument]) -> Message:
    """Expiries and strikes of one exchange's chain."""
    expiries = sorted({each.expiry for each in chain})
    strikes = sorted({each.strike for each in chain})
    first = chain[0]
    head = (75, req_id, exchange, first.under_con_id, first.trading_class, first.multiplier)
    return message(*head, len(expiries), *expiries, len(strikes), *strikes)


def option_chain_end(req_id: int) -> Message:
    """No chain more."""
    return message(76, req_id)


def historical_data(req_id: int, start: str, end: str, bars: Sequence[Sequence[object]]) -> Message:
    """Bars: each time, open, high, low, close, volume, average price, count of trades."""
    rows = [field for bar in bars for field in bar]
    return message(17, req_id, start, end, len(bars), *rows)


def historical_data_update(req_id: int, bar: Sequence[object]) -> Message:
    """The newest bar; its fields are in another order than in the answer."""
    time, opened, high, low, close, volume, average, count = bar
    return message(90, req_id, count, time, opened, close, high, low, average, volume)


def head_timestamp(req_id: int, value: str) -> Message:
    """Since when there are bars."""
    return message(88, req_id, value)


def historical_ticks(code: int, req_id: int, ticks: Sequence[Sequence[object]]) -> Message:
    """Ticks of the past: code 96 for midpoints, 97 for bid and ask, 98 for trades."""
    return message(code, req_id, len(ticks), *(field for tick in ticks for field in tick), 1)


def real_time_bar(req_id: int, bar: Sequence[object]) -> Message:
    """Five seconds: time, open, high, low, close, volume, average price, count."""
    return message(50, 3, req_id, *bar)


def tick_by_tick(req_id: int, kind: int, time_ns: int, *fields: object) -> Message:
    """Last (1), AllLast (2), BidAsk (3) or MidPoint (4)."""
    return message(99, req_id, kind, time_ns // 10**9, *fields)


def open_order(
    order: Order, each: Instrument, version: int, margins: dict[str, object] | None = None
) -> Message:
    """An order as it stands; with the values of a what-if, if those were asked for."""
    limit = order.ticket.limit or Decimal(0)
    values = _described(order, each) | {
        "orderId": order.order_id,
        "clientId": order.client_id,
        "sharesAllocation": f"{order.perm_id}.{order.version}/{order.account}/100",
        "parentId": order.ticket.parent_id,
        "trailStopPrice2": limit + 1 if limit else UNSET_DOUBLE,
        "commission": order.commission,
        "commissionCurrency": each.currency if order.commission else "",
    }
    return write_order(OPEN_ORDER, values | (margins or {}), version)


def completed_order(order: Order, each: Instrument, version: int) -> Message:
    """An order that ended."""
    values = _described(order, each) | {
        "filledQuantity": order.filled,
        "trailStopPrice2": UNSET_DOUBLE,
        "completedTime": f"{at(order.done_ns, 'US/Eastern'):{LONG_TIME}} US/Eastern",
        "completedStatus": order.ended or order.status,
    }
    return write_order(COMPLETED_ORDER, values, version)


def _described(order: Order, each: Instrument) -> dict[str, object]:
    return {name: said for name, said in order.ticket.said.items() if name in ECHOED} | {
        "conId": each.con_id,
        "symbol": each.symbol,
        "secType": each.sec_type,
        "lastTradeDateOrContractMonth": each.expiry,
        "strike": each.strike,
        "right": each.right or "?",
        "multiplier": each.multiplier,
        "exchange": order.exchange,
        "currency": each.currency,
        "localSymbol": each.local_symbol,
        "tradingClass": each.trading_class,
        "action": order.ticket.action,
        "totalQuantity": order.ticket.size,
        "orderType": order.ticket.kind,
        "lmtPrice": order.ticket.limit or "0.0",
        "auxPrice": order.ticket.stop or "0.0",
        "tif": order.tif,
        "account": order.account,
        "orderRef": order.ticket.ref,
        "permId": order.perm_id,
        "status": order.status,
    }


def open_order_end() -> Message:
    """No open order more."""
    return message(53, 1)


def completed_orders_end() -> Message:
    """No completed order more."""
    return message(102)


def order_status(order: Order) -> Message:
    """How far an order is; the id of the client that placed it is the last number but one."""
    return message(
        3,
        order.order_id,
        order.status,
        order.filled,
        order.remaining,
        order.average,
        order.perm_id,
        order.ticket.parent_id,
        order.last_price,
        order.client_id,
        "",
        0,
    )


def execution_data(req_id: int, done: Execution, each: Instrument, version: int) -> Message:
    """A fill; -1 as request id, if nobody asked."""
    return message(
        11,
        req_id,
        done.order_id,
        *_contract(each),
        done.exec_id,
        f"{at(done.time_ns, each.hours.zone):{LONG_TIME}} {each.hours.zone}",
        done.account,
        done.exchange,
        done.side,
        done.shares,
        done.price,
        done.perm_id,
        done.client_id,
        0,
        done.cumulative,
        done.average,
        done.ref,
        "",
        "",
        "",
        2,
        *((0,) if version >= 178 else ()),
    )


def _contract(each: Instrument, *, right: str = "") -> tuple[object, ...]:
    named = (each.con_id, each.symbol, each.sec_type, each.expiry, each.strike)
    venue = (each.multiplier, each.exchange, each.currency)
    return (*named, each.right or right, *venue, each.local_symbol, each.trading_class)


def execution_data_end(req_id: int) -> Message:
    """No execution more."""
    return message(55, 1, req_id)


def commission_report(done: Execution, currency: str) -> Message:
    """What a fill cost; the gain is unset where it opened a position."""
    return message(59, 1, done.exec_id, done.commission, currency, done.realized, "", "")


def position_data(held: Position, each: Instrument) -> Message:
    """What an account holds of a contract."""
    return message(61, 3, held.account, *_contract(each), held.size, held.cost)


def position_end() -> Message:
    """No position more, until one changes."""
    return message(62, 1)


def portfolio_value(held: Position, each: Instrument, price: Decimal) -> Message:
    """The same with its value."""
    value = held.size * price * multiplier(each)
    contract = list(_contract(each, right="0"))
    contract[7] = each.primary_exchange or each.exchange
    gain = value - held.size * held.cost
    return message(7, 8, *contract, held.size, price, value, held.cost, gain, 0, held.account)


def account_value(account: str, key: str, value: str, currency: str) -> Message:
    """One value of an account."""
    return message(6, 2, key, value, currency, account)


def account_time(time_ns: int) -> Message:
    """Of when the values are."""
    return message(8, 1, f"{at(time_ns):%H:%M}")


def account_download_end(account: str) -> Message:
    """No value more, until one changes."""
    return message(54, 1, account)


def account_summary(req_id: int, account: str, tag: str, value: str, currency: str) -> Message:
    """One value of a summary."""
    return message(63, 1, req_id, account, tag, value, currency)


def account_summary_end(req_id: int) -> Message:
    """No value more."""
    return message(64, 1, req_id)


def account_update_multi(
    req_id: int, account: str, model: str, key: str, value: str, currency: str
) -> Message:
    """One value of an account or a model."""
    return message(73, 1, req_id, account, model, key, value, currency)


def account_update_multi_end(req_id: int) -> Message:
    """No value more."""
    return message(74, 1, req_id)


def account_values(positions: Iterable[tuple[Position, Instrument]]) -> list[tuple[str, str, str]]:
    """Keys, values and currencies of an account that began with a million."""
    spent = sum((held.size * held.cost for held, _ in positions), Decimal(0))
    cash = text(1_000_000 - spent)
    return [
        ("AccountType", "INDIVIDUAL", ""),
        ("NetLiquidation", "1000000", "USD"),
        ("TotalCashValue", cash, "USD"),
        ("AvailableFunds", cash, "USD"),
        ("BuyingPower", "4000000", "USD"),
        ("GrossPositionValue", text(abs(spent)), "USD"),
        ("InitMarginReq", "0", "USD"),
        ("MaintMarginReq", "0", "USD"),
        ("RealizedPnL", "0", "USD"),
        ("UnrealizedPnL", "0", "USD"),
        ("CashBalance", cash, "BASE"),
        ("CashBalance", cash, "USD"),
    ]
