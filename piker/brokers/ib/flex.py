"""A Flex report of Interactive Brokers: every execution, however long ago; their API tells a day's.

    <Trade accountId="U0000001" currency="USD" assetCategory="OPT" conid="700000003"
     symbol="SPY   261218C00600500" underlyingSymbol="SPY" listingExchange="CBOE" multiplier="100"
     strike="600.5" expiry="20261218" putCall="C" tradeID="8003" dateTime="20261117;101502"
     transactionType="ExchTrade" quantity="2" tradePrice="4.15" tradeMoney="830"
     ibCommission="-1.3666" ibCommissionCurrency="USD" notes="P" buySell="BUY" ibOrderID="700300003"
     ibExecID="0000e0d5.6a6a0003.01.01" orderReference="" levelOfDetail="EXECUTION" />

Of the rows of a report only executions count: sums by order or symbol and closed lots are passed
over. A correction is three rows: the execution, one that takes it back (`BUY (Ca.)`, without an id
of its own, by the trade's), and the execution anew by the next id; what it cost is the sum of their
commissions. One that is only taken back was nothing. What IB booked without an execution, as
assignments and expiries, has no id: it stays in what the venue says is held.

What can't be read for sure isn't read: what is the same all over a report, as missing fields and
the format of its times, refuses all of it; what is wrong in a row leaves out its execution.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Literal
from zoneinfo import ZoneInfo

from msgspec import Struct

from piker.brokers.ib.execids import parts, revision
from piker.brokers.ib.flexxml import BadReport, Row, rows
from piker.brokers.ib.messages import Contract
from piker.brokers.ib.names import ASSET_CLASSES, IDEALPRO, PAIRS_AT, SMART, name_at
from piker.core.periods import NS
from piker.markets import AssetClass
from piker.orders import Execution, Side

ZONE = "America/New_York"
"""Where IB's reports have their times from."""

FIELDS = {
    "ibExecID": "IB Execution ID",
    "ibOrderID": "IB Order ID",
    "dateTime": "Date/Time",
    "buySell": "Buy/Sell",
    "quantity": "Quantity",
    "tradePrice": "Trade Price",
    "tradeMoney": "Trade Money",
    "ibCommission": "IB Commission",
    "ibCommissionCurrency": "IB Commission Currency",
    "currency": "Currency",
    "multiplier": "Multiplier",
    "assetCategory": "Asset Class",
    "symbol": "Symbol",
    "conid": "Conid",
    "listingExchange": "Listing Exchange",
    "underlyingSymbol": "Underlying Symbol",
    "expiry": "Expiry",
    "strike": "Strike",
    "putCall": "Put/Call",
    "tradeID": "Trade ID",
}
"""What every row is to have, and what a Flex query calls it."""
ALSO = (
    *("accountId", "exchange", "orderReference", "origTradeID", "transactionID"),
    *("transactionType", "levelOfDetail", "notes"),
)
"""What else is read, where it is there."""
CONFIRMATIONS = {
    "execID": "ibExecID",
    "orderID": "ibOrderID",
    "price": "tradePrice",
    "amount": "tradeMoney",
    "commission": "ibCommission",
    "commissionCurrency": "ibCommissionCurrency",
}
"""What a trade confirmation calls otherwise."""

_NUMBER = re.compile(r"-?\d{1,20}(?:\.\d{1,20})?")
_TIME = re.compile(
    r"(\d{4})(-?)(\d\d)\2(\d\d)(?:[;T]|, ?| +)?(\d\d)(:?)(\d\d)\6(\d\d)(?: ?(E[SD]T|UTC|GMT))?"
)
_OFFSETS_H = {"EST": -5, "EDT": -4, "UTC": 0, "GMT": 0}
_OPTION = re.compile(r"([A-Z0-9]{1,6}) *\d{6}[CP]\d{8}")
_FUTURE = re.compile(r"([A-Z0-9]+?)[FGHJKMNQUVXZ]\d{1,2}")
_PAIR = re.compile(r"([A-Z0-9]{2,12})\.([A-Z]{3})")


class FlexMarket(Struct, frozen=True, kw_only=True):
    """What a report says of a contract."""

    fqme: str
    con_id: int
    description: str
    asset_class: AssetClass
    currency: str
    multiplier: Decimal
    """Currency units that one unit of the report's price moves one contract."""


class Trade(Struct, frozen=True, kw_only=True):
    """One execution. In `execution`, `account` is the number, which nobody else is to see."""

    row: int
    market: FlexMarket
    execution: Execution


class Left(Struct, frozen=True, kw_only=True):
    """What of an account is not read, and why."""

    account: str
    """Its number."""
    row: int
    what: str
    why: str


class Report(Struct, frozen=True, kw_only=True):
    """What a report says, in the order of its rows."""

    trades: tuple[Trade, ...]
    left: tuple[Left, ...]
    passed_over: Mapping[str, int]
    """Rows that are no executions, by their level of detail, or as what IB booked: how many."""

    @property
    def accounts(self) -> tuple[str, ...]:
        """The numbers of the accounts that it tells of."""
        told = {each.execution.account for each in self.trades}
        return tuple(sorted(told | {each.account for each in self.left}))


def read(file: Iterable[bytes], zone: ZoneInfo) -> Report:
    """The executions of a report; its times are those of a zone. Raises BadReport."""
    found = rows(file, {*FIELDS, *ALSO, *CONFIRMATIONS})
    told = [each for each in found if _is_execution(each)]
    passed_over = Counter(_level(each) for each in found if not _is_execution(each))
    if not told:
        raise _nothing(passed_over)
    for row in told:
        _check_fields(row)
    return _Reading(zone, passed_over).read([_Row(row) for row in told])


class _Unsure(ValueError):
    """An execution can't be read; the text says why."""


class _Row:
    """A row that tells of a trade."""

    def __init__(self, row: Row) -> None:
        self.number = row.number
        self._said = {CONFIRMATIONS.get(name, name): value for name, value in row.said.items()}
        self.account = self["accountId"] or row.account
        self.root, self.version = parts(self["ibExecID"])
        self.takes_back = self["transactionType"] == "TradeCancel" or "Ca." in self["buySell"]

    def __getitem__(self, name: str) -> str:
        return self._said.get(name, "")

    @property
    def content(self) -> tuple[tuple[str, str], ...]:
        """All of it: two rows with the same are one."""
        return tuple(sorted(self._said.items()))

    def number_in(self, name: str) -> Decimal:
        """Raises _Unsure."""
        if _NUMBER.fullmatch(self[name]):
            return Decimal(self[name])
        raise _Unsure(f"expected a number as {name}, was {self[name]!r}")


class _Reading:
    """One report."""

    def __init__(self, zone: ZoneInfo, passed_over: Mapping[str, int]) -> None:
        self._zone = zone
        self._passed_over = Counter(passed_over)
        self._trades: list[Trade] = []
        self._left: list[Left] = []

    def read(self, told: Sequence[_Row]) -> Report:
        """Raises BadReport."""
        distinct = list({each.content: each for each in told}.values())
        cancels: defaultdict[tuple[str, str], list[_Row]] = defaultdict(list)
        executed: defaultdict[tuple[str, str], list[_Row]] = defaultdict(list)
        for row in distinct:
            if row.takes_back:
                cancels[row.account, row["origTradeID"]].append(row)
            elif row["ibExecID"]:
                executed[row.account, row.root].append(row)
            else:
                self._passed_over[_booked(row)] += 1
        for group in executed.values():
            trades = {(row.account, row["tradeID"]) for row in group if row["tradeID"]}
            self._take(group, [back for trade in trades for back in cancels.pop(trade, ())])
        for row in (row for group in cancels.values() for row in group):
            self._leave(row, _takes_back_nothing(row))
        return Report(
            trades=tuple(sorted(self._trades, key=lambda each: each.row)),
            left=tuple(sorted(self._left, key=lambda each: each.row)),
            passed_over=self._passed_over,
        )

    def _take(self, group: Sequence[_Row], cancels: Sequence[_Row]) -> None:
        """An execution in all its versions."""
        newest = max(group, key=lambda row: (row.version, row.number))
        try:
            self._trades.append(self._trade(newest, group, cancels))
        except _Unsure as error:
            self._leave(newest, str(error))

    def _trade(self, row: _Row, group: Sequence[_Row], cancels: Sequence[_Row]) -> Trade:
        busted = len(cancels) >= len(group)
        side, size = _side_and_size(row)
        price = row.number_in("tradePrice")
        execution = Execution(
            exec_id=row.root,
            revision=revision(row.version + 1, 0) if busted else revision(row.version),
            oid=row["orderReference"],
            venue_id=row["ibOrderID"],
            account=row.account,
            market="",
            side=side,
            size=Decimal(0) if busted else size,
            price=price,
            fee=_fee([*group, *cancels]),
            fee_currency=row["ibCommissionCurrency"] or row["currency"],
            time_ns=self._time_ns(row),
        )
        return Trade(row=row.number, market=_market(row, size, price), execution=execution)

    def _leave(self, row: _Row, why: str) -> None:
        what = " ".join(filter(None, [row["assetCategory"], row["symbol"], row["quantity"]]))
        self._left.append(Left(account=row.account, row=row.number, what=what, why=why))

    def _time_ns(self, row: _Row) -> int:
        """Raises BadReport for a format that isn't known: it is the same in all rows."""
        match = _TIME.fullmatch(row["dateTime"])
        if not match:
            raise _bad_time(row)
        year, _, month, day, hour, _, minute, second, offset = match.groups()
        try:
            when = datetime(*map(int, (year, month, day, hour, minute, second)))  # type: ignore[arg-type] # six
        except ValueError as error:
            raise _bad_time(row) from error
        return round((self._in_utc(when, offset) - _EPOCH).total_seconds()) * NS

    def _in_utc(self, when: datetime, offset: str | None) -> datetime:
        if offset:
            return (when - timedelta(hours=_OFFSETS_H[offset])).replace(tzinfo=UTC)
        first, second = (when.replace(tzinfo=self._zone, fold=fold) for fold in (0, 1))
        if first.utcoffset() != second.utcoffset():
            raise _Unsure(f"the clock of {self._zone} showed dateTime {when} twice, or never")
        return first.astimezone(UTC)


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


# --- which rows


def _level(row: Row) -> str:
    return row.said.get("levelOfDetail") or row.tag


def _is_execution(row: Row) -> bool:
    return row.tag in ("Trade", "TradeConfirm") and _level(row) in ("EXECUTION", row.tag)


def _nothing(passed_over: Mapping[str, int]) -> BadReport:
    if not passed_over:
        return BadReport(
            "it has no trades: was anything traded in its time? If so, add the section Trades to "
            "the Flex query"
        )
    told = ", ".join(f"{count} {level}" for level, count in sorted(passed_over.items()))
    return BadReport(f"it has no executions, only {told}: tick Executions in the section Trades")


def _check_fields(row: Row) -> None:
    """Raises BadReport for what the query doesn't ask for."""
    said = {CONFIRMATIONS.get(name, name) for name in row.said}
    missing = [title for name, title in FIELDS.items() if name not in said]
    if not row.account and "accountId" not in said:
        missing.append("Account ID")
    if missing:
        raise BadReport(
            f"its trades lack {', '.join(missing)} (row {row.number}): add these fields to the "
            "section Trades of the Flex query"
        )


def _booked(row: _Row) -> str:
    return row["transactionType"] or "BOOKED"


def _takes_back_nothing(row: _Row) -> str:
    trade = row["origTradeID"]
    if not trade:
        return "takes back a trade and doesn't say which: add the field Orig Trade ID"
    return f"takes back trade {trade}, which isn't in the report: ask for a longer time"


def _bad_time(row: _Row) -> BadReport:
    return BadReport(
        f"expected dateTime such as 20261120;093000, was {row['dateTime']!r} (row {row.number}): "
        "in the Flex query choose yyyyMMdd or yyyy-MM-dd as the date format, HHmmss or HH:mm:ss "
        "as the time format"
    )


# --- what they say


def _side_and_size(row: _Row) -> tuple[Side, Decimal]:
    quantity = row.number_in("quantity")
    if row["buySell"] == "BUY" and quantity > 0:
        return "buy", quantity
    if row["buySell"] == "SELL" and quantity < 0:
        return "sell", -quantity
    raise _Unsure(
        "expected BUY of a quantity above 0 or SELL of one below, was "
        f"{row['buySell']!r} of {quantity}"
    )


def _fee(rows: Iterable[_Row]) -> Decimal:
    """What all versions cost together: a correction's commission is what changed. IB's commission
    is below 0 for what was paid."""
    told = list(rows)
    if len({row["ibCommissionCurrency"] for row in told}) > 1:
        raise _Unsure("expected commissions in one currency, was more than one")
    return -sum((row.number_in("ibCommission") for row in told), Decimal(0))


def _market(row: _Row, size: Decimal, price: Decimal) -> FlexMarket:
    kind = row["assetCategory"]
    if kind not in ASSET_CLASSES:
        raise _Unsure(f"expected {', '.join(ASSET_CLASSES)} as assetCategory, was {kind!r}")
    if not re.fullmatch(r"[1-9]\d{0,17}", row["conid"]):
        raise _Unsure(f"expected a number above 0 as conid, was {row['conid']!r}")
    fqme = _name(row)
    if fqme is None:
        raise _Unsure(f"a report doesn't say enough to name {kind} {row['symbol']}")
    return FlexMarket(
        fqme=fqme,
        con_id=int(row["conid"]),
        description=" ".join(row["symbol"].split()),
        asset_class=ASSET_CLASSES[kind],
        currency=row["currency"],
        multiplier=_multiplier(row, size, price),
    )


def _multiplier(row: _Row, size: Decimal, price: Decimal) -> Decimal:
    """What one unit of the price moves. Some prices are in hundredths of their currency; what was
    paid says so."""
    multiplier, paid = row.number_in("multiplier"), abs(row.number_in("tradeMoney"))
    if multiplier <= 0:
        raise _Unsure(f"expected multiplier above 0, was {multiplier}")
    if not price:
        return multiplier
    for each in (multiplier, multiplier / 100):
        money = size * abs(price) * each
        if abs(money - paid) <= Decimal("0.01") + money / 1_000_000:
            return each
    raise _Unsure(f"expected tradeMoney of quantity times tradePrice times multiplier, was {paid}")


def _name(row: _Row) -> str | None:
    """Its fqme, as far as the row alone says it; None: it doesn't."""
    match row["assetCategory"]:
        case "STK":
            return name_at(_contract(row, "STK", row["symbol"]), row["listingExchange"])
        case "FUT":
            return _future_name(row)
        case "OPT":
            return _option_name(row)
        case "CMDTY":
            return name_at(_contract(row, "CMDTY", row["symbol"]), SMART)
        case "CASH" | "CRYPTO" as kind:
            return _pair_name(row, kind)
    return None


def _future_name(row: _Row) -> str | None:
    """Its class is what its symbol begins with: SILZ6 is of SIL, whose underlying is SI."""
    match = _FUTURE.fullmatch(row["symbol"])
    if not match:
        return None
    contract = _contract(row, "FUT", row["underlyingSymbol"], match[1])
    return name_at(contract, row["listingExchange"])


def _option_name(row: _Row) -> str | None:
    """Of one by its OCC name, which go by SMART."""
    match = _OPTION.fullmatch(row["symbol"])
    if not match or row["currency"] != "USD":
        return None
    return name_at(_contract(row, "OPT", row["underlyingSymbol"], match[1]), SMART)


def _pair_name(row: _Row, kind: Literal["CASH", "CRYPTO"]) -> str | None:
    match = _PAIR.match(row["symbol"])
    if not match or match[2] != row["currency"]:
        return None
    contract = _contract(row, kind, match[1])
    if kind == "CASH":
        return name_at(contract, IDEALPRO) if match.end() == len(row["symbol"]) else None
    venue = row["listingExchange"] or row["exchange"]
    return name_at(contract, venue) if PAIRS_AT.get(venue) == kind else None


def _contract(row: _Row, kind: str, symbol: str, trading_class: str = "") -> Contract:
    strike = row["strike"]
    return Contract(
        symbol=symbol,
        sec_type=kind,
        currency=row["currency"],
        expiry=row["expiry"].replace("-", ""),
        strike=Decimal(strike) if _NUMBER.fullmatch(strike) else None,
        right=row["putCall"][:1],
        trading_class=trading_class,
    )
