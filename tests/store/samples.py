"""Records for journals under test."""

from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import TypeVar

from piker.accounts import Adjustment
from piker.orders import Acked, Execution, Order, OrderEvent, Submitted
from piker.store.reading import Reader, open_copy
from piker.store.records import Happened

ACCOUNT = "sim.main"
MARKET = "a.b.sim"

Answer = TypeVar("Answer")


def order(oid: str = "1") -> Order:
    """A limit order."""
    return Order(
        oid=oid,
        account=ACCOUNT,
        market=MARKET,
        side="buy",
        size=Decimal(2),
        kind="limit",
        limit=Decimal("1.25"),
    )


def happened(event: OrderEvent, oid: str = "1", time_ns: int = 7) -> Happened:
    """An event of an order."""
    return Happened(time_ns=time_ns, oid=oid, account=ACCOUNT, event=event)


def submitted(oid: str = "1") -> Happened:
    """The first event of an order."""
    return happened(Submitted(order=order(oid)), oid)


def acked(oid: str = "1") -> Happened:
    """One that may come to an order any number of times."""
    return happened(Acked(venue_id=f"v{oid}"), oid)


def fill(
    exec_id: str = "e1", size: str = "1", revision: int = 0, market: str = MARKET, price: str = "5"
) -> Execution:
    """A fill of a buy."""
    return Execution(
        exec_id=exec_id,
        revision=revision,
        oid="1",
        venue_id="v1",
        account=ACCOUNT,
        market=market,
        side="buy",
        size=Decimal(size),
        price=Decimal(price),
        fee=Decimal("0.1"),
        fee_currency="USD",
        time_ns=9,
    )


def adjustment(adjustment_id: str = "e1") -> Adjustment:
    """What was held before."""
    return Adjustment(
        adjustment_id=adjustment_id,
        account=ACCOUNT,
        market=MARKET,
        kind="opening",
        size=Decimal(3),
        time_ns=8,
    )


def on_disk(path: Path, ask: Callable[[Reader], Answer]) -> Answer:
    """What another process would read now."""
    with open_copy(path) as reader:
        return ask(reader)
