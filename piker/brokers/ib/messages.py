"""What is asked of a gateway of Interactive Brokers, and what it says: words, without I/O.

Names of fields are ours; where IB's differs, it stands in the docstring. A number that the gateway
leaves unset, by no text or by the greatest number of its type, is None. Prices and sizes of orders
are decimals, those of market data floats.
"""

from decimal import Decimal
from typing import Literal

from msgspec import Struct

SecType = Literal["STK", "FUT", "CONTFUT", "CASH", "IND", "OPT", "FOP", "CRYPTO", "CMDTY"]
"""Kinds of contracts that are known here; others are never asked for."""
DataType = Literal[1, 2, 3, 4]
"""reqMarketDataType: live, frozen, delayed, delayed and frozen."""
Side = Literal["BUY", "SELL"]


class Contract(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What is traded, as far as it is known: conId alone, or what describes it."""

    con_id: int = 0
    """The gateway's own number of it; 0: not known."""
    symbol: str = ""
    sec_type: str = ""
    expiry: str = ""
    """lastTradeDateOrContractMonth: YYYYMMDD, or YYYYMM for whatever expires in it."""
    strike: Decimal | None = None
    right: str = ""
    """C or P."""
    multiplier: str = ""
    exchange: str = ""
    """Where to send orders and whence prices come: SMART, or one exchange."""
    primary_exchange: str = ""
    currency: str = ""
    local_symbol: str = ""
    trading_class: str = ""


class ContractDetails(Struct, frozen=True, kw_only=True):
    """One contract that fits what was asked for (contractDetails)."""

    contract: Contract
    min_tick: Decimal
    """The smallest price step of all that it has."""
    price_magnifier: int
    """So often the price in the market data is the one in the currency (100: pence)."""
    valid_exchanges: tuple[str, ...]
    rule_ids: tuple[int, ...]
    """Of each of the exchanges before, the market rule that has its price bands; 0: none."""
    long_name: str
    contract_month: str
    """YYYYMM."""
    real_expiry: str
    """realExpirationDate: YYYYMMDD."""
    last_trade_time: str
    """HH:MM or HH:MM:SS of the last day, in `time_zone`."""
    time_zone: str
    """As IB names it: `US/Eastern`, `MET`, …"""
    trading_hours: str
    liquid_hours: str
    """`20261123:0930-20261123:1600;20261124:CLOSED;…`, local to `time_zone`."""
    stock_type: str
    underlying: str
    min_size: Decimal | None
    size_increment: Decimal | None
    suggested_size_increment: Decimal | None


class Sample(Struct, frozen=True, kw_only=True):
    """One of the contracts whose symbol or name is like what was asked for (symbolSamples)."""

    contract: Contract
    derivatives: tuple[str, ...]
    """Kinds of contracts on it that there are."""
    description: str


class PriceStep(Struct, frozen=True, kw_only=True):
    """One band of a market rule: the step of prices from this price upwards."""

    from_price: Decimal
    step: Decimal


class PastBar(Struct, frozen=True, kw_only=True):
    """A bar of historical data; -1 where the kind of data has no such number."""

    time: str
    """Seconds since the epoch, UTC; of a daily bar YYYYMMDD."""
    open: float
    high: float
    low: float
    close: float
    volume: float
    wap: float
    count: int


# --- what is asked: each is one message


class AskTime(Struct, frozen=True, kw_only=True):
    """The gateway's clock (reqCurrentTime): whether it answers at all."""


class AskIds(Struct, frozen=True, kw_only=True):
    """The next order id that the gateway takes (reqIds)."""


class AskContracts(Struct, frozen=True, kw_only=True):
    """All contracts that fit (reqContractDetails)."""

    contract: Contract
    expired: bool = False
    """Also those of the last two years."""


class AskSymbols(Struct, frozen=True, kw_only=True):
    """Up to 16 contracts whose symbol or name is like this (reqMatchingSymbols)."""

    pattern: str


class AskRule(Struct, frozen=True, kw_only=True):
    """The price bands of a market rule (reqMarketRule)."""

    rule_id: int


class ChooseData(Struct, frozen=True, kw_only=True):
    """Which kind of market data is wanted from now on (reqMarketDataType). Not answered."""

    data_type: DataType


class WatchQuotes(Struct, frozen=True, kw_only=True):
    """Quotes of a contract, until stopped (reqMktData)."""

    contract: Contract
    generic_ticks: str = ""
    """Numbers of what else is wanted, by commas: 233 is every trade's price, size and time."""


class WatchTicks(Struct, frozen=True, kw_only=True):
    """Every trade, or every change of bid and ask (reqTickByTickData)."""

    contract: Contract
    kind: Literal["Last", "AllLast", "BidAsk"]


class AskBars(Struct, frozen=True, kw_only=True):
    """Bars of the past (reqHistoricalData), times in seconds since the epoch."""

    contract: Contract
    end: str
    """`YYYYMMDD-HH:MM:SS`, UTC; nothing: now."""
    duration: str
    """`1800 S`, `1 D`, …"""
    bar_size: str
    """`1 secs`, `1 min`, …"""
    what: str
    """TRADES, MIDPOINT, BID, ASK, AGGTRADES, …"""
    liquid_only: bool = False
    """useRTH."""


class AskHead(Struct, frozen=True, kw_only=True):
    """Since when there is historical data (reqHeadTimeStamp)."""

    contract: Contract
    what: str


class AskOpenOrders(Struct, frozen=True, kw_only=True):
    """All orders that are open, of all clients (reqAllOpenOrders)."""


class AskCompletedOrders(Struct, frozen=True, kw_only=True):
    """Orders that ended today (reqCompletedOrders)."""


class AskExecutions(Struct, frozen=True, kw_only=True):
    """What was done today, of all clients (reqExecutions)."""

    account: str = ""
    since: str = ""
    """`YYYYMMDD-HH:MM:SS`, UTC; nothing: all of today."""


class AskPositions(Struct, frozen=True, kw_only=True):
    """What every account holds (reqPositions)."""


class AskAccount(Struct, frozen=True, kw_only=True):
    """The values of an account (reqAccountUpdatesMulti)."""

    account: str


class PlaceOrder(Struct, frozen=True, kw_only=True):
    """An order, or what an open one is to become (placeOrder, by its order id)."""

    contract: Contract
    ref: str
    """orderRef."""
    account: str
    side: Side
    size: Decimal
    limit: Decimal | None
    """None: at the market."""
    tif: Literal["DAY", "GTC", "IOC"]
    outside_liquid_hours: bool = True
    """outsideRth."""


class CancelOrder(Struct, frozen=True, kw_only=True):
    """Cancel an order of this client's (cancelOrder, by its order id)."""


class CancelEverything(Struct, frozen=True, kw_only=True):
    """Cancel all orders of all clients and of the gateway's own windows (reqGlobalCancel)."""


Request = (
    AskTime
    | AskIds
    | AskContracts
    | AskSymbols
    | AskRule
    | ChooseData
    | WatchQuotes
    | WatchTicks
    | AskBars
    | AskHead
    | AskOpenOrders
    | AskCompletedOrders
    | AskExecutions
    | AskPositions
    | AskAccount
    | PlaceOrder
    | CancelOrder
    | CancelEverything
)

Stoppable = WatchQuotes | WatchTicks | AskBars | AskHead | AskPositions | AskAccount
"""What goes on until it is stopped, or is to be stopped when nobody waits for it any more."""


# --- what is said


class Notice(Struct, frozen=True, kw_only=True):
    """An error, a warning or a word (error)."""

    number: int
    """Of the request or the order that it is about; -1: of none."""
    code: int
    text: str
    reject: str = ""
    """advancedOrderRejectJson."""


class Accounts(Struct, frozen=True, kw_only=True):
    """The accounts of who is logged in (managedAccounts)."""

    names: tuple[str, ...]


class NextId(Struct, frozen=True, kw_only=True):
    """The next order id that the gateway takes from this client (nextValidId)."""

    order_id: int


class TimeIs(Struct, frozen=True, kw_only=True):
    """The gateway's clock (currentTime)."""

    epoch_s: int


class Fits(Struct, frozen=True, kw_only=True):
    """A contract that fits (contractDetails)."""

    number: int
    details: ContractDetails


class Samples(Struct, frozen=True, kw_only=True):
    """The answer to AskSymbols (symbolSamples)."""

    number: int
    samples: tuple[Sample, ...]


class Rule(Struct, frozen=True, kw_only=True):
    """The answer to AskRule (marketRule)."""

    rule_id: int
    steps: tuple[PriceStep, ...]


class DataTypeIs(Struct, frozen=True, kw_only=True):
    """Which kind of market data a stream has from now on (marketDataType)."""

    number: int
    data_type: int


class Price(Struct, frozen=True, kw_only=True, gc=False):
    """One price of a stream (tickPrice), with a size where there is one. -1: there is none."""

    number: int
    field: int
    """tickType: 1 bid, 2 ask, 4 last, 6 high, 7 low, 9 close; 66, 67, 68 … delayed."""
    price: float
    size: float


class Size(Struct, frozen=True, kw_only=True, gc=False):
    """One size of a stream (tickSize)."""

    number: int
    field: int
    """tickType: 0 bid, 3 ask, 5 last, 8 volume; 69, 70, 71, 74 delayed."""
    size: float


class Text(Struct, frozen=True, kw_only=True, gc=False):
    """One text of a stream (tickString)."""

    number: int
    field: int
    """tickType: 45 time of the last trade, 48 RTVolume; 88 delayed."""
    text: str


class TradeTick(Struct, frozen=True, kw_only=True, gc=False):
    """A trade (tickByTick Last or AllLast)."""

    number: int
    epoch_s: int
    price: float
    size: float
    unreported: bool
    """It isn't part of the day's high, low and last."""


class BidAskTick(Struct, frozen=True, kw_only=True, gc=False):
    """Bid and ask (tickByTick BidAsk)."""

    number: int
    epoch_s: int
    bid: float
    ask: float
    bid_size: float
    ask_size: float


class Bars(Struct, frozen=True, kw_only=True):
    """The answer to AskBars (historicalData): all of it."""

    number: int
    bars: tuple[PastBar, ...]


class HeadIs(Struct, frozen=True, kw_only=True):
    """The answer to AskHead (headTimestamp): seconds since the epoch, UTC."""

    number: int
    epoch_s: int


class OrderIs(Struct, frozen=True, kw_only=True):
    """An order that is open, as the gateway has it (openOrder)."""

    order_id: int
    """Of its client's; 0 or less: entered by hand in the gateway's window."""
    client_id: int
    perm_id: int
    """Its own for ever, in all sessions."""
    ref: str
    account: str
    contract: Contract
    side: str
    size: Decimal
    order_type: str
    limit: Decimal | None
    tif: str
    status: str
    reason: str
    """warningText."""


class StatusIs(Struct, frozen=True, kw_only=True):
    """How an order stands (orderStatus)."""

    order_id: int
    client_id: int
    perm_id: int
    status: str
    filled: Decimal
    remaining: Decimal
    average: Decimal | None
    why_held: str


class EndedOrder(Struct, frozen=True, kw_only=True):
    """An order that has ended (completedOrder)."""

    perm_id: int
    ref: str
    account: str
    contract: Contract
    side: str
    size: Decimal
    filled: Decimal | None
    status: str
    ended: str
    """completedTime, as the gateway writes it."""
    reason: str
    """completedStatus: for people."""


class Done(Struct, frozen=True, kw_only=True):
    """Some of an order was done (execDetails)."""

    number: int
    """Of the request that it answers; -1: it has just happened."""
    order_id: int
    client_id: int
    perm_id: int
    ref: str
    exec_id: str
    """Its last part counts corrections: `….01`, then `….02`."""
    time_ns: int | None
    """UTC; None: the gateway wrote a time that can't be read."""
    latest_ns: int | None = None
    """The same, of a local time that comes twice the second; else as before."""
    account: str
    contract: Contract
    side: str
    """BOT or SLD."""
    size: Decimal
    price: Decimal
    total: Decimal
    """cumQty: of the order until now."""


class Commission(Struct, frozen=True, kw_only=True):
    """What an execution cost (commissionReport)."""

    exec_id: str
    amount: Decimal | None
    currency: str
    realised: Decimal | None
    """realizedPNL."""


class Holds(Struct, frozen=True, kw_only=True):
    """What an account holds of a contract (position)."""

    account: str
    contract: Contract
    size: Decimal
    """Below 0: short."""
    average: Decimal
    """avgCost of one, with the multiplier in it."""


class Value(Struct, frozen=True, kw_only=True):
    """A value of an account (accountUpdateMulti)."""

    number: int
    account: str
    key: str
    value: str
    currency: str


Ends = Literal["contracts", "open orders", "completed orders", "executions", "positions", "account"]


class End(Struct, frozen=True, kw_only=True):
    """An answer in several messages is whole."""

    of: Ends
    number: int
    """-1 where the answer has none."""


Said = (
    Notice
    | Accounts
    | NextId
    | TimeIs
    | Fits
    | Samples
    | Rule
    | DataTypeIs
    | Price
    | Size
    | Text
    | TradeTick
    | BidAskTick
    | Bars
    | HeadIs
    | OrderIs
    | StatusIs
    | EndedOrder
    | Done
    | Commission
    | Holds
    | Value
    | End
)
