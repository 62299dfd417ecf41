"""How markets of Interactive Brokers are called: from names to IB's words, and back.

    aapl.nasdaq.ib                  a stock, where it is listed; orders go by SMART
    cspx.lseetf.usd.ib              … its currency, where that isn't the usual one there
    mnq.cme.20261218.ib             a future; mnq.cme.ib, mnq.ib: its front month
    si.comex.20261229.sil.ib        … its trading class, where that isn't its symbol
    spy.smart.20261218.c500_5.ib    an option: right and strike, `_` for the decimal point
    eurusd.idealpro.ib   btcusd.paxos.ib   xauusd.smart.ib   spx.cboe.ib

In a symbol or a class a space is `-` (brk-b.nyse.ib), a dot is `_` (bt_a.lse.ib), and what else is
neither a digit nor a capital letter is `~` and its bytes in hexadecimal, two digits each.
"""

import re
from collections.abc import Iterator, Mapping
from datetime import date, datetime
from decimal import Decimal
from functools import partial

from msgspec import Struct

from piker.brokers.ib.messages import Contract
from piker.errors import Refused
from piker.interfaces.introspection import InvalidParameter
from piker.markets import AssetClass

PROVIDER = "ib"
SMART = "SMART"
IDEALPRO = "IDEALPRO"
PAXOS = "PAXOS"

_MONEY = (
    "aed aud bgn brl cad chf clp cnh cny cop czk dkk eur gbp hkd huf idr ils inr isk "
    "jpy krw mxn myr nok nzd php pln qar ron rub sar sek sgd thb try twd usd zar"
)
CURRENCIES = frozenset(_MONEY.upper().split())
"""Those that a name can say."""

_LISTED = {
    "USD": "SMART NYSE NASDAQ ARCA AMEX BATS PINK VALUE IEX",
    "CAD": "TSE VENTURE NEOE CSE",
    "GBP": "LSE LSEETF",
    "EUR": "IBIS IBIS2 FWB FWB2 SBF AEB BVME BM VSE ENEXT.BE",
    "CHF": "EBS",
    "JPY": "TSEJ",
    "HKD": "SEHK",
    "AUD": "ASX",
    "SEK": "SFB",
    "SGD": "SGX",
}
USUAL = {venue: money for money, venues in _LISTED.items() for venue in venues.split()}
"""The currency of most stocks at a venue: it isn't said in their names."""

PAIRS = {"CASH", "CRYPTO"}
PAIRS_AT = {IDEALPRO: "CASH", PAXOS: "CRYPTO", "ZEROHASH": "CRYPTO"}
"""Venues that have nothing but pairs of one kind."""

OPTIONS = {"OPT", "FOP"}
MONTHLY = {"FUT", *OPTIONS}

ASSET_CLASSES: dict[str, AssetClass] = {
    "STK": "stock",
    "FUT": "future",
    "CASH": "forex",
    "IND": "index",
    "OPT": "option",
    "FOP": "option",
    "CRYPTO": "crypto",
    "CMDTY": "commodity",
}

_WORD = r"(?:[a-z0-9_-]|~[0-9a-f]{2})+"
_CURRENCY = _MONEY.replace(" ", "|")
_NAME = re.compile(
    rf"(?P<symbol>{_WORD})(?:\.(?P<venue>[a-z][a-z0-9_]*))?(?:\.(?P<expiry>\d{{8}}|\d{{6}}))?"
    rf"(?:\.(?P<right>[cp])(?P<strike>\d+(?:_\d+)?))?"
    rf"(?:\.(?P<class>{_WORD}))??(?:\.(?P<currency>{_CURRENCY}))?"
)
_NO_CLASS = re.compile(rf"\d+|[a-z]\d+(_\d+)?|{_CURRENCY}")
"""What can't be a class in a name as it is, since it would be taken for something else."""


class Wanted(Struct, frozen=True, kw_only=True):
    """What a name says, in IB's words; empty: nothing about it."""

    asked: str
    """The name as it was given."""
    whole: str
    """It as an fqme would be written."""
    symbol: str
    venue: str
    expiry: str
    """YYYYMMDD, or YYYYMM."""
    right: str
    strike: Decimal | None
    trading_class: str
    currency: str


def parse(name: str, today: date) -> Wanted:
    """What a name says: in any case, with or without the provider, `eur.usd` for eurusd, too.

    Raises Refused(InvalidParameter), that says what is wrong with the name.
    """
    no = partial(_bad, name)
    bare = re.sub(r"\s+", "-", name.strip().lower()).removesuffix(f".{PROVIDER}")
    bare = _pair_as_one(bare)
    match = _NAME.fullmatch(bare)
    if not match:
        raise no("SYMBOL.VENUE, then .YYYYMMDD of a future, and .c500 or .p500 of an option")
    said = {key: value or "" for key, value in match.groupdict().items()}
    if fault := _wrong(said, today):
        raise no(fault)
    return Wanted(
        asked=name,
        whole=f"{bare}.{PROVIDER}",
        symbol=_unescaped(said["symbol"]),
        venue=_unescaped(said["venue"]),
        expiry=said["expiry"],
        right=said["right"].upper(),
        strike=Decimal(said["strike"].replace("_", ".")) if said["strike"] else None,
        trading_class=_unescaped(said["class"]),
        currency=said["currency"].upper(),
    )


def name_of(contract: Contract) -> str | None:
    """The whole name of a contract as it is in an order or a position.

    For a con_id that isn't known yet. None where it doesn't say enough, as with SMART and no
    primary exchange: ask for the details of its con_id and take their `fqme`.
    """
    match contract.sec_type:
        case "STK":
            return name_at(contract, contract.primary_exchange)
        case "CASH":
            return name_at(contract, IDEALPRO)
        case "OPT" | "CMDTY":
            return name_at(contract, SMART) if contract.exchange == SMART else None
        case _:
            return name_at(contract, contract.exchange)


def name_at(contract: Contract, venue: str) -> str | None:
    """The whole name of a contract whose venue is known; None if it doesn't say enough else."""
    kind = contract.sec_type
    if kind not in ASSET_CLASSES or not contract.symbol or not venue:
        return None
    if kind in PAIRS:
        return _joined(contract.symbol + contract.currency, venue)
    if kind in MONTHLY and not re.fullmatch(r"\d{8}", contract.expiry):
        return None
    if kind in OPTIONS and (contract.strike is None or contract.right[:1] not in {"C", "P"}):
        return None
    return _joined(contract.symbol, venue, *_term(contract), _currency(contract, venue))


def family(name: str) -> str:
    """The name that all months of a future have; of anything else its own."""
    return re.sub(r"\.\d{8}(?!\.[cp]\d)(?=\.)", "", name)


def _bad(name: str, expected: str) -> Refused:
    return Refused(InvalidParameter(parameter=f"market: expected {expected}, was {name}"))


def _pair_as_one(bare: str) -> str:
    """`eur.usd` and what follows it as eurusd."""
    base, _, rest = bare.partition(".")
    quote, dot, more = rest.partition(".")
    return f"{base}{quote}{dot}{more}" if quote.upper() in CURRENCIES else bare


def _wrong(said: Mapping[str, str], today: date) -> str:
    """What would have to be in a name instead of what is, if that can be told from it alone."""
    expiry, strike, trading_class = said["expiry"], said["strike"], said["class"]
    if expiry and not said["venue"]:
        return "the venue before the expiry, such as mnq.cme.20261218"
    if expiry and (fault := _wrong_expiry(expiry, today)):
        return fault
    if strike and not expiry:
        return "the expiry before right and strike, such as spy.smart.20261218.c500"
    if strike and not Decimal(strike.replace("_", ".")):
        return "a strike above 0, such as c500"
    if trading_class.isdecimal():
        return "an expiry such as 20261218 or 202612, or a strike such as c500_5"
    if _NO_CLASS.fullmatch(trading_class):
        return "a right and strike such as c500 or p500_5"
    if said["venue"].upper() in PAIRS_AT and not re.fullmatch(rf".+({_CURRENCY})", said["symbol"]):
        return "what is traded and a currency, such as eurusd.idealpro or btcusd.paxos"
    return ""


def _wrong_expiry(expiry: str, today: date) -> str:
    try:
        datetime.strptime(expiry, "%Y%m%d" if len(expiry) == 8 else "%Y%m")
    except ValueError:
        return "an expiry that is a date, such as 20261218"
    over = len(expiry) == 8 and expiry < f"{today:%Y%m%d}"
    return f"an expiry from {today:%Y%m%d} on, or none for the front month" if over else ""


def _joined(symbol: str, venue: str, *parts: str) -> str:
    return ".".join([_escaped(symbol), _escaped(venue), *filter(None, parts), PROVIDER])


def _term(contract: Contract) -> Iterator[str]:
    """Expiry, right and strike, and the class, where a contract has them."""
    if contract.sec_type not in MONTHLY:
        return
    yield contract.expiry
    if contract.sec_type in OPTIONS and contract.strike is not None:
        yield f"{contract.right[0]}{contract.strike.normalize():f}".lower().replace(".", "_")
    if _plain(contract.trading_class) not in {"", _plain(contract.symbol)}:
        yield _class(contract.trading_class)


def _class(name: str) -> str:
    text = _escaped(name)
    return f"~{ord(name[0]):02x}{_escaped(name[1:])}" if _NO_CLASS.fullmatch(text) else text


def _currency(contract: Contract, venue: str) -> str:
    """The currency, where a name says it."""
    money = contract.currency
    unusual = money in CURRENCIES and USUAL.get(venue) != money
    return money.lower() if unusual and (contract.sec_type == "STK" or venue == SMART) else ""


def _plain(text: str) -> str:
    return re.sub(r"[^A-Z0-9]", "", text)


def _escaped(text: str) -> str:
    """A symbol of IB's as it stands in a name."""
    kept = re.sub(r"[^A-Z0-9 .]", lambda m: "".join(f"~{b:02x}" for b in m[0].encode()), text)
    return "".join({" ": "-", ".": "_"}.get(letter, letter) for letter in kept.lower())


def _unescaped(word: str) -> str:
    """What stands in a name as IB's symbol."""
    words = re.split(r"((?:~[0-9a-f]{2})+)", word)
    for place in range(0, len(words), 2):
        words[place] = words[place].upper().replace("-", " ").replace("_", ".")
    for place in range(1, len(words), 2):
        words[place] = bytes.fromhex(words[place].replace("~", "")).decode(errors="replace")
    return "".join(words)
