"""What a gateway lists, in the words of piker.Broker: open orders, ended ones, what is held."""

from collections.abc import Callable, Iterable, Iterator
from decimal import Decimal
from typing import Literal

from piker.brokers.ib import messages
from piker.brokers.ib.hours import instant_ns
from piker.brokers.ib.messages import Contract, Holds, OrderIs, Said, StatusIs
from piker.brokers.ib.orderstate import ENDED, INACTIVE, Orders
from piker.interfaces.broker import EndedOrder, Holding, OpenOrder
from piker.markets import Market

Outcome = Literal["filled", "cancelled", "rejected", "expired"]
NameOf = Callable[[str], str | None]
"""The whole name of an account by its number, or None if it isn't one of ours."""
MarketOf = Callable[[Contract], str]

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
    said: Iterable[Said], since_ns: int, orders: Orders, account_of: NameOf
) -> Iterator[EndedOrder]:
    """Those that ended since, or of which it isn't known when.

    The gateway doesn't say whose they were: a reference is left out if that is known.
    """
    for each in said:
        if not isinstance(each, messages.EndedOrder) or not account_of(each.account):
            continue
        ended_ns = instant_ns(each.ended)
        if ended_ns is not None and ended_ns < since_ns:
            continue
        known = orders.by_perm(each.perm_id)
        yield EndedOrder(
            oid=known.oid if known else each.ref,
            venue_id=str(each.perm_id),
            outcome=_outcome(each),
            reason=each.reason,
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
