"""What a gateway lists, in the words of piker.Broker: open orders, ended ones, what is held."""

from collections.abc import Callable, Iterable, Iterator
from decimal import Decimal, InvalidOperation
from typing import Literal
from zoneinfo import ZoneInfo

from piker.accounts import Balance
from piker.brokers.ib import messages
from piker.brokers.ib.hours import instant_ns
from piker.brokers.ib.messages import Contract, Holds, OrderIs, Said, StatusIs, Value
from piker.brokers.ib.orderstate import ENDED, INACTIVE, Orders
from piker.core.positions import LIMIT
from piker.interfaces.broker import EndedOrder, Holding, OpenOrder
from piker.markets import Market

Outcome = Literal["filled", "cancelled", "rejected", "expired"]
NameOf = Callable[[str], str | None]
"""The whole name of an account by its number, or None if it isn't one of ours."""
MarketOf = Callable[[Contract], str]

SUMS = {
    "NetLiquidation": "net_liquidation",
    "TotalCashValue": "cash",
    "MaintMarginReq": "margin",
    "AvailableFunds": "available",
    "BuyingPower": "buying_power",
}
"""Values of an account, in its own currency (reqAccountUpdatesMulti), and what they are called."""
NOT_OPEN = {"Filled", *ENDED}


def open_orders(
    said: Iterable[Said], orders: Orders, account_of: NameOf, market_of: MarketOf
) -> Iterator[OpenOrder]:
    """Those of our accounts, of all clients: without a reference, if they aren't ours."""
    said = list(said)
    done = {each.perm_id: each.filled for each in said if isinstance(each, StatusIs)}
    resting = [each for each in said if isinstance(each, OrderIs) and each.status not in NOT_OPEN]
    for each in {each.perm_id or -each.order_id: each for each in resting}.values():
        account = account_of(each.account)
        if account:
            known = orders.by_perm(each.perm_id)
            filled = max(done.get(each.perm_id, Decimal(0)), known.done if known else Decimal(0))
            yield OpenOrder(
                oid=orders.oid_of(each.client_id, each.ref),
                venue_id=str(each.perm_id or ""),
                account=account,
                market=market_of(each.contract),
                side="buy" if each.side == "BUY" else "sell",
                size=each.size,
                filled=filled,
                limit=each.limit,
            )


def ended_orders(
    said: Iterable[Said], since_ns: int, orders: Orders, account_of: NameOf, zone: ZoneInfo
) -> Iterator[EndedOrder]:
    """Those that ended since, or may have. `zone` is where the gateway is.

    The gateway doesn't say whose they were: a reference is left out if that is known.
    """
    for each in said:
        if not isinstance(each, messages.EndedOrder) or not account_of(each.account):
            continue
        ended_ns = instant_ns(each.ended, zone, latest=True)
        if ended_ns is not None and ended_ns < since_ns:
            continue
        known = orders.by_perm(each.perm_id)
        yield EndedOrder(
            oid=known.oid if known else each.ref,
            venue_id=str(each.perm_id),
            outcome=_outcome(each),
            reason=each.reason,
        )


def refused_orders(since_ns: int, orders: Orders, account_of: NameOf) -> Iterator[EndedOrder]:
    """Those that were refused since, as it was heard here: perhaps by nobody else."""
    for each in orders.refused(since_ns):
        if account_of(each.account):
            yield EndedOrder(
                oid=each.oid,
                venue_id=str(each.perm_id or ""),
                outcome="rejected",
                reason=each.objection,
            )


def holdings(
    said: Iterable[Said],
    account_of: NameOf,
    market_of: MarketOf,
    described: Callable[[Contract], Market | None],
) -> Iterator[Holding]:
    """What our accounts hold. The gateway's average has the multiplier in it: ours has not."""
    for each in said:
        account = account_of(each.account) if isinstance(each, Holds) else None
        if isinstance(each, Holds) and account and each.size:
            yield Holding(
                account=account,
                market=market_of(each.contract),
                size=each.size,
                average_price=_average(each.average, described(each.contract)),
            )


def balances(said: Iterable[Said], account_of: NameOf, asked_ns: int) -> Iterator[Balance]:
    """What our accounts are worth, of those whose values were all told."""
    values: dict[str, dict[str, Value]] = {}
    for each in said:
        if isinstance(each, Value) and each.key in SUMS:
            values.setdefault(each.account, {})[each.key] = each
    for number, by_key in values.items():
        account = account_of(number)
        if account and by_key.keys() == SUMS.keys():
            yield Balance(
                account=account,
                currency=by_key["NetLiquidation"].currency,
                asked_ns=asked_ns,
                **{SUMS[key]: sum_of(each.value) for key, each in by_key.items()},
            )


def sum_of(text: str) -> Decimal | None:
    """A sum of money; None where the gateway writes something else, or that it has none."""
    try:
        value = Decimal(text)
    except InvalidOperation:
        return None
    return value if value.is_finite() and abs(value) < LIMIT else None


def _outcome(each: messages.EndedOrder) -> Outcome:
    if each.status == "Filled":
        return "filled"
    if each.status == INACTIVE:
        return "rejected"
    return "expired" if "expire" in each.reason.lower() else "cancelled"


def _average(average: Decimal, market: Market | None) -> Decimal | None:
    """In steps that everybody can count with."""
    if market is None:
        return None
    return round(average / market.multiplier, 9)
