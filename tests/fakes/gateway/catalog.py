"""The contracts that the gateway knows, and which of them fit what a client describes."""

from collections.abc import Iterator, Sequence
from datetime import date, timedelta
from decimal import Decimal

from msgspec import Struct
from msgspec.structs import replace

from tests.fakes.gateway.requests import Query
from tests.fakes.gateway.schedule import Hours, around_the_clock, quarterly

NEW_YORK, CHICAGO, AMSTERDAM = "US/Eastern", "US/Central", "MET"


class Instrument(Struct, frozen=True, kw_only=True):
    """One contract with all that is told of it, where its market begins, and how it moves."""

    con_id: int
    symbol: str
    sec_type: str
    exchange: str
    """Where it is traded if a client says nothing else."""
    primary_exchange: str = ""
    currency: str
    local_symbol: str
    trading_class: str
    expiry: str = ""
    strike: Decimal = Decimal(0)
    right: str = ""
    multiplier: str = ""
    long_name: str
    exchanges: tuple[str, ...]
    rules: tuple[int, ...]
    """The market rule of each exchange, in their order."""
    min_tick: Decimal
    stock_type: str = ""
    industry: tuple[str, str, str] = ("", "", "")
    under: str = ""
    under_con_id: int = 0
    under_sec_type: str = ""
    hours: Hours
    liquid: Hours
    price: Decimal
    lot: Decimal
    """What stands on each side of the book: an order takes no more at once."""
    min_size: Decimal = Decimal(1)
    volume: int
    """Traded today."""
    commission: Decimal
    """A share or contract."""
    farm: str = "usfarm"
    history_farm: str = "ushmds"
    kinds: str = "trade bid ask"
    """What its market has."""

    @property
    def key(self) -> str:
        """As error texts name it."""
        return self.local_symbol.replace(" ", "") or self.symbol


RULES: dict[int, tuple[tuple[str, str], ...]] = {
    26: (("0", "0.01"),),
    67: (("0", "0.25"),),
    110: (("0", "0.01"), ("3", "0.05")),
    239: (("0", "0.00005"),),
    3255: (("0", "0.25"),),
    1870: (("0", "0.001"), ("1", "0.002"), ("20", "0.01"), ("50", "0.02"), ("500", "0.1")),
    1874: (("0", "0.0005"), ("1", "0.001"), ("20", "0.005"), ("50", "0.01"), ("500", "0.05")),
}
"""Price bands by rule: from which price, which increment."""

US_STOCK = Hours(zone=NEW_YORK, opens="04:00", closes="20:00")
US_LIQUID = Hours(zone=NEW_YORK, opens="09:30", closes="16:00")
CME = Hours(zone=CHICAGO, opens="17:00", closes="16:00")
CME_LIQUID = Hours(zone=CHICAGO, opens="08:30", closes="16:00")
FOREX = Hours(zone=NEW_YORK, opens="17:15", closes="17:00")
METAL = Hours(zone=NEW_YORK, opens="18:00", closes="17:00")
EURONEXT = Hours(zone=AMSTERDAM, opens="09:00", closes="17:40")
WEEK = Hours(zone=NEW_YORK, opens="18:00", closes="17:00", weekdays=tuple(range(7)))

AAPL = Instrument(
    con_id=265598,
    symbol="AAPL",
    sec_type="STK",
    exchange="SMART",
    primary_exchange="NASDAQ",
    currency="USD",
    local_symbol="AAPL",
    trading_class="NMS",
    long_name="APPLE INC",
    exchanges=("SMART", "AMEX", "NYSE", "CBOE", "NASDAQ", "ARCA", "IEX"),
    rules=(26,) * 7,
    min_tick=Decimal("0.01"),
    stock_type="COMMON",
    industry=("Technology", "Computers", "Computers"),
    hours=US_STOCK,
    liquid=US_LIQUID,
    price=Decimal("190.00"),
    lot=Decimal(100),
    min_size=Decimal("0.0001"),
    volume=41_000_000,
    commission=Decimal("0.005"),
)
SPY = replace(
    AAPL,
    con_id=756733,
    symbol="SPY",
    primary_exchange="ARCA",
    local_symbol="SPY",
    trading_class="SPY",
    long_name="SPDR S&P 500 ETF TRUST",
    stock_type="ETF",
    industry=("", "", ""),
    price=Decimal("500.00"),
    volume=60_000_000,
)
SAN = replace(
    AAPL,
    con_id=12442,
    symbol="SAN",
    primary_exchange="NYSE",
    local_symbol="SAN",
    trading_class="SAN",
    long_name="BANCO SANTANDER SA-SPON ADR",
    stock_type="ADR",
    industry=("Financial", "Banks", "Money Center Banks"),
    price=Decimal("5.00"),
)
SAN_MADRID = replace(
    SAN,
    con_id=38709700,
    exchange="BM",
    primary_exchange="BM",
    currency="EUR",
    long_name="BANCO SANTANDER SA",
    exchanges=("SMART", "BM", "CHIXES"),
    rules=(1874, 1870, 1870),
    min_tick=Decimal("0.0005"),
    hours=EURONEXT,
    liquid=EURONEXT,
    price=Decimal("4.50"),
    min_size=Decimal(1),
    farm="eufarm",
    history_farm="euhmds",
    stock_type="COMMON",
)
SAN_LONDON = replace(SAN_MADRID, con_id=61231, exchange="LSE", currency="GBP", exchanges=("LSE",))
SAN_LONDON = replace(SAN_LONDON, rules=(1870,), primary_exchange="LSE", min_tick=Decimal("0.001"))
ASML = replace(
    SAN_MADRID,
    con_id=117589399,
    symbol="ASML",
    exchange="AEB",
    primary_exchange="AEB",
    local_symbol="ASML",
    trading_class="ASML",
    long_name="ASML HOLDING NV",
    exchanges=("SMART", "AEB", "CHIXNL"),
    industry=("Technology", "Semiconductors", "Semiconductor Equipment"),
    price=Decimal("620.00"),
    lot=Decimal(20),
    volume=700_000,
)
EURUSD = Instrument(
    con_id=12087792,
    symbol="EUR",
    sec_type="CASH",
    exchange="IDEALPRO",
    currency="USD",
    local_symbol="EUR.USD",
    trading_class="EUR.USD",
    long_name="European Monetary Union Euro",
    exchanges=("IDEALPRO",),
    rules=(239,),
    min_tick=Decimal("0.00005"),
    hours=FOREX,
    liquid=FOREX,
    price=Decimal("1.10000"),
    lot=Decimal(1_000_000),
    volume=0,
    commission=Decimal("0.00002"),
    farm="cashfarm",
    kinds="bid ask",
)
XAUUSD = replace(
    EURUSD,
    con_id=69067924,
    symbol="XAUUSD",
    sec_type="CMDTY",
    exchange="SMART",
    local_symbol="XAUUSD",
    trading_class="XAUUSD",
    long_name="London Gold",
    exchanges=("SMART", "IBMETAL"),
    rules=(26, 26),
    min_tick=Decimal("0.01"),
    hours=METAL,
    liquid=METAL,
    price=Decimal("2400.00"),
    lot=Decimal(50),
)
BTC = replace(
    EURUSD,
    con_id=479624278,
    symbol="BTC",
    sec_type="CRYPTO",
    exchange="PAXOS",
    local_symbol="BTC.USD",
    trading_class="BTC",
    long_name="Bitcoin cryptocurrency",
    exchanges=("PAXOS",),
    rules=(3255,),
    min_tick=Decimal("0.25"),
    hours=WEEK,
    liquid=WEEK,
    price=Decimal("60000.00"),
    lot=Decimal(2),
    min_size=Decimal("0.00000001"),
    volume=900,
    commission=Decimal(100),
    kinds="trade bid ask",
)
SPX = replace(
    EURUSD,
    con_id=416904,
    symbol="SPX",
    sec_type="IND",
    exchange="CBOE",
    local_symbol="SPX",
    trading_class="SPX",
    long_name="S&P 500 Stock Index",
    exchanges=("CBOE",),
    rules=(26,),
    min_tick=Decimal("0.01"),
    hours=US_LIQUID,
    liquid=US_LIQUID,
    price=Decimal("5000.00"),
    farm="usfarm",
    kinds="trade",
)
ES = replace(
    SPX,
    symbol="ES",
    sec_type="FUT",
    exchange="CME",
    trading_class="ES",
    long_name="E-mini S&P 500",
    multiplier="50",
    exchanges=("CME", "QBALGO"),
    rules=(67, 67),
    min_tick=Decimal("0.25"),
    under="ES",
    under_con_id=11004968,
    under_sec_type="IND",
    hours=CME,
    liquid=CME_LIQUID,
    lot=Decimal(3),
    volume=1_400_000,
    commission=Decimal("2.25"),
    farm="usfuture",
    kinds="trade bid ask",
)
MNQ = replace(ES, symbol="MNQ", trading_class="MNQ", long_name="Micro E-mini Nasdaq-100")
MNQ = replace(MNQ, multiplier="2", price=Decimal("18000.00"), under="MNQ", under_con_id=362687422)
MNQ = replace(MNQ, commission=Decimal("0.62"), lot=Decimal(5))

FIXED = (AAPL, SPY, SAN, SAN_MADRID, SAN_LONDON, ASML, EURUSD, XAUUSD, BTC, SPX)
STRIKES = (490, 495, 500, 505, 510)
MONTHS = "FGHJKMNQUVXZ"


def catalog(today: date, *, always_open: bool, stocks: int = 0) -> tuple[Instrument, ...]:
    """All contracts as they are on a day, with hours without a break if those are wanted.

    `stocks` adds so many more: T001, T002 and so on, for tests that need many markets.
    """
    derived = (*_futures(ES, 1, today), *_futures(MNQ, 2, today), *_options(today))
    known = (*FIXED, *derived, *(_stock(number) for number in range(1, stocks + 1)))
    return tuple(_without_a_break(each) for each in known) if always_open else known


def _without_a_break(each: Instrument) -> Instrument:
    hours = around_the_clock(each.hours.zone)
    return replace(each, hours=hours, liquid=hours)


def _stock(number: int) -> Instrument:
    symbol = f"T{number:03d}"
    return replace(
        AAPL,
        con_id=900_000_000 + number,
        symbol=symbol,
        local_symbol=symbol,
        long_name=f"TEST STOCK {number}",
        price=AAPL.price + number,
    )


def _futures(root: Instrument, series: int, today: date) -> Iterator[Instrument]:
    """An expired one, and four that trade: each with a fiftieth of the volume of the one before."""
    for number, expiry in enumerate(quarterly(today, 5)):
        yield replace(
            root,
            con_id=series * 100_000_000 + int(f"{expiry:%Y%m%d}"),
            expiry=f"{expiry:%Y%m%d}",
            local_symbol=f"{root.symbol}{MONTHS[expiry.month - 1]}{expiry.year % 10}",
            price=root.price + 40 * (number - 1),
            volume=root.volume // 50 ** max(number - 1, 0),
        )


def _options(today: date) -> Iterator[Instrument]:
    for number, expiry in enumerate(quarterly(today, 3)[1:]):
        for strike in STRIKES:
            yield from (_option(expiry, strike, right, number) for right in "CP")


def _option(expiry: date, strike: int, right: str, number: int) -> Instrument:
    return replace(
        SPY,
        con_id=expiry.toordinal() * 1000 + strike + (right == "P"),
        sec_type="OPT",
        primary_exchange="",
        expiry=f"{expiry:%Y%m%d}",
        strike=Decimal(strike),
        right=right,
        multiplier="100",
        local_symbol=f"SPY   {expiry:%y%m%d}{right}{strike * 1000:08d}",
        exchanges=("SMART", "AMEX", "CBOE"),
        rules=(110, 110, 110),
        stock_type="",
        under="SPY",
        under_con_id=SPY.con_id,
        under_sec_type="STK",
        hours=US_LIQUID,
        price=Decimal(12 + 5 * number) + abs(strike - 500) // 5,
        lot=Decimal(10),
        min_size=Decimal(1),
        volume=5000,
        commission=Decimal("0.65"),
        farm="usopt",
    )


def find(
    known: Sequence[Instrument], query: Query, today: date, *, expired: bool = False
) -> list[Instrument]:
    """The contracts that fit, each on the exchange that was asked for."""
    if query.sec_type == "CONTFUT":
        query = replace(query, sec_type="FUT")
        return find(known, query, today)[:1]
    oldest = f"{today - timedelta(days=730 if expired else 0):%Y%m%d}"
    fitting = [each for each in known if _fits(each, query)]
    return [
        _on(each, query.exchange) for each in fitting if not each.expiry or each.expiry >= oldest
    ]


def _fits(each: Instrument, query: Query) -> bool:
    if query.exchange and query.exchange not in each.exchanges:
        return False
    if query.con_id:
        return query.con_id == each.con_id
    return bool(query.symbol or query.local_symbol or query.trading_class) and all(
        not said or said == own
        for said, own in (
            (query.symbol, each.symbol),
            (query.sec_type, each.sec_type),
            (query.last_trade_date, each.expiry[: len(query.last_trade_date)]),
            (query.strike, each.strike),
            (query.right[:1].strip("0?"), each.right),
            (query.multiplier, each.multiplier),
            (query.primary_exchange, each.primary_exchange),
            (query.currency, each.currency),
            (query.local_symbol, each.local_symbol),
            (query.trading_class, each.trading_class),
        )
    )


def _on(each: Instrument, exchange: str) -> Instrument:
    return replace(each, exchange=exchange) if exchange else each


def increment(each: Instrument, price: Decimal) -> Decimal:
    """The price step at a price, on the contract's exchange: its market rule's band."""
    rule = each.rules[each.exchanges.index(each.exchange)]
    bands = [Decimal(step) for low, step in RULES[rule] if abs(price) >= Decimal(low)]
    return bands[-1]
