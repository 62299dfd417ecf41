"""From a name to what to ask the gateway for, and from what it answers to a market.

Prices stay as the market shows them, in pence for many that are in pounds (GBP): the same in market
data, history, orders and fills. What differs is in `Market.multiplier`, the contract's by
`price_magnifier`: a pound is a hundred prices. Ticks are the gateway's times `price_magnifier`.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime
from decimal import Decimal, InvalidOperation

from msgspec import structs

from piker.brokers.ib.hours import sessions
from piker.brokers.ib.messages import Contract, ContractDetails, PriceStep
from piker.brokers.ib.names import (
    ASSET_CLASSES,
    CURRENCIES,
    IDEALPRO,
    PAIRS,
    PAIRS_AT,
    PAXOS,
    SMART,
    Wanted,
    family,
    name_at,
)
from piker.errors import Refused
from piker.interfaces.data import AmbiguousMarket, NoSuchMarket
from piker.markets import Market, PriceBand

SHOWN = 10
"""How many names a refusal shows."""

MONTHS = 4
"""Of so many of the nearest months of a future the volume is asked for."""


class BadDetails(Exception):
    """Details of a contract that no market can be made of; the text says why."""


def queries(wanted: Wanted) -> tuple[Contract, ...]:
    """What to ask the gateway for. What all of them find together is for `choose`."""
    return tuple(_query(wanted, kind) for kind in _kinds(wanted))


def wider(wanted: Wanted) -> tuple[Contract, ...]:
    """What to ask for if nothing was found: other expiries and strikes, for `none_such`."""
    if not wanted.expiry:
        return ()
    others = [structs.replace(query, expiry="") for query in queries(wanted)]
    if wanted.strike is not None:
        others += [structs.replace(query, strike=None, right="") for query in queries(wanted)]
    return tuple(others)


def choose(
    wanted: Wanted, found: Sequence[ContractDetails], today: date
) -> tuple[ContractDetails, ...]:
    """The one contract that a name means; or several, the months of one future, nearest first.

    A whole name wins over longer ones that begin with it. An index or a stock wins over a future
    that has its symbol and venue. Of several months, `front` says which is meant. Raises
    Refused(NoSuchMarket | AmbiguousMarket), also if one name is that of two contracts.
    """
    named = {name: each for name, each in _named(found, today).items() if _fits(wanted, each)}
    if wanted.whole in named:
        named = {wanted.whole: named[wanted.whole]}
    families = {family(name) for name in named}
    if wanted.whole in families:
        families = {wanted.whole}
        named = {name: each for name, each in named.items() if family(name) == wanted.whole}
    if not named:
        raise none_such(wanted, found, today)
    if len(families) > 1:
        raise Refused(AmbiguousMarket(market=wanted.asked, candidates=tuple(named)[:SHOWN]))
    months = dict(list(named.items())[:MONTHS])
    _check_one_each(wanted, months, found)
    return tuple(months.values())


def none_such(wanted: Wanted, near: Iterable[ContractDetails], today: date) -> Refused:
    """The refusal of a name that means nothing, with the expiries and strikes that there are."""
    named = sorted(_named(near, today).items(), key=lambda item: _distance(wanted, item[1]))
    return Refused(NoSuchMarket(market=wanted.asked, similar=tuple(n for n, _ in named[:SHOWN])))


def front(
    months: Sequence[ContractDetails], volumes: Mapping[int, float]
) -> tuple[ContractDetails, str]:
    """The front month of those that `choose` gave, and a line that says which and why.

    `volumes` are those of their last daily bars, by con_id; a month without one had none.
    """
    had = [max(0.0, volumes.get(each.contract.con_id, 0.0)) for each in months]
    if not any(had):
        return months[0], f"{fqme(months[0])} is the nearest month; none had any volume"
    place = had.index(max(had))
    told = [f"{fqme(month)} ({volume:.0f})" for month, volume in zip(months, had, strict=True)]
    most = f"{told.pop(place)} is the front month: it had the most volume in its last daily bar"
    return months[place], f"{most}, before {', '.join(told)}" if told else most


def fqme(details: ContractDetails) -> str:
    """The whole name of a contract. Raises BadDetails."""
    contract = details.contract
    if not re.fullmatch(r"\d{8}", contract.expiry):
        contract = structs.replace(contract, expiry=details.real_expiry)
    if name := name_at(contract, _home(details)):
        return name
    raise BadDetails(f"expected a contract with kind, symbol, exchange, expiry, was {contract}")


def route(details: ContractDetails) -> Contract:
    """The contract as orders and requests for data name it, with the exchange where they go."""
    smart = details.contract.sec_type == "STK" and SMART in details.valid_exchanges
    return structs.replace(details.contract, exchange=SMART if smart else _home(details))


def rule_id(details: ContractDetails) -> int | None:
    """The market rule that holds where its orders go; None: none is told, `min_tick` holds."""
    rules = dict(zip(details.valid_exchanges, details.rule_ids, strict=False))
    return rules.get(route(details).exchange) or None


def market(details: ContractDetails, steps: Sequence[PriceStep]) -> Market:
    """What a contract is; `steps` are those of its market rule. Raises BadDetails, BadHours.

    IB shows no trades of forex and spot metals, and of an index neither sizes nor bid and
    ask. Where it doesn't say its hours, a market counts as always open.
    """
    contract, kind = details.contract, details.contract.sec_type
    bands, hours = _bands(details, steps), details.trading_hours.strip()
    return Market(
        fqme=fqme(details),
        venue_id=str(contract.con_id),
        description=_description(details),
        asset_class=ASSET_CLASSES[kind],
        currency=contract.currency,
        price_tick=min(band.price_tick for band in bands),
        price_bands=bands if len(bands) > 1 else (),
        size_tick=details.size_increment or details.min_size or Decimal(1),
        multiplier=_multiplier(contract) / max(1, details.price_magnifier),
        sessions=sessions(hours, details.time_zone) if hours else None,
        has_trades=kind not in {"CASH", "CMDTY"},
        has_volume=kind not in {"CASH", "CMDTY", "IND"},
        has_bid=kind != "IND",
        has_ask=kind != "IND",
    )


def _kinds(wanted: Wanted) -> tuple[str, ...]:
    """Kinds of contracts that a name may mean, likeliest first."""
    if wanted.strike is not None:
        return ("OPT",) if wanted.venue == SMART else ("OPT", "FOP")
    if wanted.expiry or wanted.trading_class:
        return ("FUT",)
    if wanted.venue in PAIRS_AT:
        return (PAIRS_AT[wanted.venue],)
    if wanted.venue:
        return ("STK", "CMDTY") if wanted.venue == SMART else ("STK", "IND", "FUT")
    base, quote = wanted.symbol[:-3], wanted.symbol[-3:]
    pairs = ("CASH",) if base in CURRENCIES else ("CRYPTO", "CMDTY")
    return ("STK", "IND", "FUT", *(pairs if base and quote in CURRENCIES else ()))


def _query(wanted: Wanted, kind: str) -> Contract:
    """A name as a contract of this kind."""
    venue, currency = wanted.venue, wanted.currency or ("USD" if wanted.venue == SMART else "")
    if kind in PAIRS:
        exchange = venue or (IDEALPRO if kind == "CASH" else PAXOS)
        base, quote = wanted.symbol[:-3], wanted.symbol[-3:]
        return Contract(symbol=base, currency=quote, sec_type=kind, exchange=exchange)
    if kind in {"STK", "CMDTY"}:
        listed = venue if venue != SMART else ""
        return Contract(
            symbol=wanted.symbol,
            sec_type=kind,
            exchange=SMART,
            primary_exchange=listed,
            currency=currency,
        )
    return Contract(
        symbol=wanted.symbol,
        sec_type=kind,
        exchange=venue,
        currency=currency,
        expiry=wanted.expiry,
        strike=wanted.strike,
        right=wanted.right,
        trading_class=wanted.trading_class,
    )


def _named(found: Iterable[ContractDetails], today: date) -> dict[str, ContractDetails]:
    """Those that aren't over by their names, nearest first; what has no name isn't traded here."""
    named: dict[str, ContractDetails] = {}
    for each in sorted(found, key=lambda each: (each.contract.expiry, each.contract.strike or 0)):
        over = "" < each.contract.expiry < f"{today:%Y%m%d}"
        if each.contract.sec_type in ASSET_CLASSES and not over:
            named.setdefault(fqme(each), each)
    return named


def _check_one_each(
    wanted: Wanted, named: Mapping[str, ContractDetails], found: Iterable[ContractDetails]
) -> None:
    """Raises Refused(AmbiguousMarket): what names don't tell apart can't be traded by them."""
    same = [each for each in found if each.contract.sec_type in ASSET_CLASSES]
    same = [each for each in same if fqme(each) in named]
    if len({each.contract.con_id for each in same}) > len(named):
        told = dict.fromkeys(f"{c.local_symbol} ({c.con_id})" for c in (e.contract for e in same))
        raise Refused(AmbiguousMarket(market=wanted.asked, candidates=tuple(told)[:SHOWN]))


def _fits(wanted: Wanted, details: ContractDetails) -> bool:
    """Whether details are of what is wanted: a gateway finds more than it was asked for."""
    contract = details.contract
    return (
        wanted.venue in {"", SMART, contract.exchange, _home(details)}
        and wanted.expiry in {"", contract.expiry, details.contract_month}
        and wanted.strike in {None, contract.strike}
        and wanted.right in {"", contract.right[:1]}
        and wanted.trading_class in {"", contract.trading_class}
        and wanted.currency in {"", contract.currency}
    )


def _distance(wanted: Wanted, details: ContractDetails) -> tuple[int, Decimal]:
    """How far away the expiry and the strike are from those that are wanted, for sorting."""
    strike = (wanted.strike or Decimal(0)) - (details.contract.strike or Decimal(0))
    return abs(_day(wanted.expiry) - _day(details.contract.expiry)), abs(strike)


def _day(expiry: str) -> int:
    try:
        return datetime.strptime(expiry.ljust(7, "1").ljust(8, "5"), "%Y%m%d").toordinal()
    except ValueError:
        return 0


def _home(details: ContractDetails) -> str:
    """The venue in the name of a contract: the same, whichever exchange was asked for."""
    contract, kind = details.contract, details.contract.sec_type
    if kind == "CASH":
        return IDEALPRO
    if kind == "CMDTY" or (kind == "OPT" and SMART in details.valid_exchanges):
        return SMART
    if kind == "STK" and contract.primary_exchange:
        return contract.primary_exchange
    return next((each for each in details.valid_exchanges if each != SMART), contract.exchange)


def _bands(details: ContractDetails, steps: Sequence[PriceStep]) -> tuple[PriceBand, ...]:
    """The grids of its prices as they are shown, lowest first; there is at least one."""
    times = max(1, details.price_magnifier)
    found = {each.from_price * times: each.step * times for each in steps}
    found = found or {Decimal(0): details.min_tick * times}
    if not all(tick > 0 for tick in found.values()):
        raise BadDetails(f"{fqme(details)}: expected price steps above 0, was {found}")
    return tuple(PriceBand(from_price=low, price_tick=found[low]) for low in sorted(found))


def _multiplier(contract: Contract) -> Decimal:
    try:
        value = Decimal(contract.multiplier or 1)
    except InvalidOperation:
        value = Decimal(0)
    if not (value.is_finite() and value > 0):
        said = f"expected a multiplier above 0, was {contract.multiplier!r}"
        raise BadDetails(f"{contract.local_symbol or contract.symbol}: {said}")
    return value


def _description(details: ContractDetails) -> str:
    contract = details.contract
    name = details.long_name or contract.local_symbol or contract.symbol
    right = {"C": "call", "P": "put"}.get(contract.right[:1], "")
    option = f"{right} {contract.strike}" if right else ""
    return ", ".join(filter(None, [name, contract.expiry, option]))
