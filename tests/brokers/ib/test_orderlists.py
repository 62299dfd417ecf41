"""What a gateway lists, in the words of piker.Broker."""

from datetime import datetime
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from piker.brokers.ib.hours import instant_ns
from piker.brokers.ib.messages import Contract, EndedOrder, Holds, OrderIs, StatusIs, Value
from piker.brokers.ib.orderlists import balances, ended_orders, holdings, open_orders
from piker.brokers.ib.orderstate import Orders

NEW_YORK = ZoneInfo("America/New_York")
WALL_NS = 1_800_000_000 * 10**9
OURS = {"U1": "ib.main"}
AAPL = Contract(con_id=265598, symbol="AAPL", sec_type="STK", currency="USD")


def market_of(contract: Contract) -> str:
    return f"{contract.symbol.lower()}.nasdaq.ib"


def values(**changed: str) -> list[Value]:
    told = {
        "AccountType": "INDIVIDUAL",
        "NetLiquidation": "1000.5",
        "TotalCashValue": "-20",
        "MaintMarginReq": "1.7976931348623157E308",
        "AvailableFunds": "300",
        "BuyingPower": "1200",
        **changed,
    }
    return [
        Value(number=9, account="U1", key=key, value=value, currency="CHF")
        for key, value in told.items()
    ]


def resting(**changed: Any) -> OrderIs:
    return OrderIs(
        **{
            "order_id": 1,
            "client_id": 1,
            "perm_id": 7,
            "ref": "o-1",
            "account": "U1",
            "contract": AAPL,
            "side": "SELL",
            "size": Decimal(3),
            "order_type": "LMT",
            "limit": Decimal(200),
            "tif": "GTC",
            "status": "Submitted",
            "reason": "",
            **changed,
        }
    )


def ended(**changed: Any) -> EndedOrder:
    return EndedOrder(
        **{
            "perm_id": 7,
            "ref": "o-1",
            "account": "U1",
            "contract": AAPL,
            "side": "SELL",
            "size": Decimal(3),
            "filled": None,
            "status": "Cancelled",
            "ended": "20261122 12:00:00 US/Eastern",
            "reason": "",
            **changed,
        }
    )


def listed(*said: OrderIs | StatusIs) -> list[Any]:
    orders = Orders(1)
    for each in said:
        orders.take(each, 0, WALL_NS)
    return list(open_orders(said, orders, OURS.get, market_of))


def test_an_order_of_ours_has_its_reference_and_what_is_done_of_it() -> None:
    status = StatusIs(
        order_id=1,
        client_id=1,
        perm_id=7,
        status="Submitted",
        filled=Decimal(2),
        remaining=Decimal(1),
        average=None,
        why_held="",
    )
    (order,) = listed(resting(), status)
    assert (order.oid, order.venue_id, order.account) == ("o-1", "7", "ib.main")
    assert (order.side, order.size, order.filled) == ("sell", Decimal(3), Decimal(2))


@pytest.mark.parametrize("changed", [{"client_id": 7}, {"client_id": 0, "order_id": 0}])
def test_an_order_of_somebody_else_has_no_reference(changed: dict[str, Any]) -> None:
    (order,) = listed(resting(**changed))
    assert (order.oid, order.venue_id) == ("", "7")


@pytest.mark.parametrize("state", ["Filled", "Cancelled", "ApiCancelled"])
def test_what_is_listed_as_over_is_not_open(state: str) -> None:
    assert listed(resting(status=state)) == []


@pytest.mark.parametrize("state", ["Inactive", "PendingSubmit", "PendingCancel", "PreSubmitted"])
def test_what_may_still_be_filled_is_open(state: str) -> None:
    assert [each.oid for each in listed(resting(status=state))] == ["o-1"]


def test_an_account_that_is_not_set_is_not_shown() -> None:
    assert listed(resting(account="U2")) == []
    held = Holds(account="U2", contract=AAPL, size=Decimal(1), average=Decimal(1))
    assert list(holdings([held], OURS.get, market_of, lambda _: None)) == []


def test_what_is_flat_is_not_held() -> None:
    held = Holds(account="U1", contract=AAPL, size=Decimal(0), average=Decimal(0))
    assert list(holdings([held], OURS.get, market_of, lambda _: None)) == []


@pytest.mark.parametrize(
    ("changed", "outcome"),
    [
        ({"status": "Filled"}, "filled"),
        ({"status": "Cancelled"}, "cancelled"),
        ({"status": "ApiCancelled"}, "cancelled"),
        ({"status": "Cancelled", "reason": "Order Expired"}, "expired"),
        ({"status": "Inactive"}, "rejected"),
    ],
)
def test_how_an_order_ended_is_told(changed: dict[str, Any], outcome: str) -> None:
    (found,) = ended_orders([ended(**changed)], 0, Orders(1), OURS.get, NEW_YORK)
    assert (found.oid, found.outcome) == ("o-1", outcome)


@pytest.mark.parametrize(
    ("when", "shown"),
    [
        ("20261122 12:00:00 US/Eastern", True),
        ("20261122 11:59:59 US/Eastern", False),
        ("20261122-17:00:00", True),
        ("20261122-16:59:59", False),
        ("20261122 12:00:00", True),
        ("20261122 11:59:59", False),
        ("20261122 17:00:00 Mars", True),
        ("", True),
    ],
)
def test_what_ended_before_is_left_out_if_that_can_be_told(when: str, shown: bool) -> None:
    since_ns = int(datetime.fromisoformat("2026-11-22T17:00:00+00:00").timestamp()) * 10**9
    found = list(ended_orders([ended(ended=when)], since_ns, Orders(1), OURS.get, NEW_YORK))
    assert bool(found) == shown


@pytest.mark.parametrize(("since", "shown"), [("06:30:00", True), ("06:30:01", False)])
def test_what_may_have_ended_since_is_shown_in_an_hour_that_comes_twice(
    since: str, shown: bool
) -> None:
    since_ns = int(datetime.fromisoformat(f"2026-11-01T{since}+00:00").timestamp()) * 10**9
    said = [ended(ended="20261101 01:30:00 US/Eastern")]
    assert bool(list(ended_orders(said, since_ns, Orders(1), OURS.get, NEW_YORK))) == shown


def test_an_ended_order_that_is_known_as_somebody_elses_has_no_reference() -> None:
    orders = Orders(1)
    orders.take(resting(client_id=7), 0, WALL_NS)
    (found,) = ended_orders([ended()], 0, orders, OURS.get, NEW_YORK)
    assert found.oid == ""


@pytest.mark.parametrize("text", ["", "yesterday", "20261322 12:00:00 US/Eastern"])
def test_a_time_that_cannot_be_read_is_none(text: str) -> None:
    assert instant_ns(text) is None


# --- what accounts are worth


def test_the_worth_of_an_account_is_told_in_its_currency_and_an_unset_sum_is_none() -> None:
    (told,) = balances(values(), OURS.get, WALL_NS)
    assert (told.account, told.currency, told.asked_ns) == ("ib.main", "CHF", WALL_NS)
    assert (told.net_liquidation, told.cash) == (Decimal("1000.5"), Decimal(-20))
    assert (told.available, told.buying_power) == (Decimal(300), Decimal(1200))
    assert told.margin is None


@pytest.mark.parametrize("value", ["", "n/a", "NaN", "Infinity", "-1.7976931348623157E308"])
def test_what_is_no_sum_of_money_is_none(value: str) -> None:
    (told,) = balances(values(TotalCashValue=value), OURS.get, WALL_NS)
    assert told.cash is None


def test_an_account_that_is_not_ours_or_was_not_told_whole_is_left_out() -> None:
    assert list(balances(values(), lambda number: None, WALL_NS)) == []
    assert list(balances(values()[:-1], OURS.get, WALL_NS)) == []
