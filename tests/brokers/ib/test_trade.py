"""Order control at a gateway: what is sent, what is refused, and what is told of it.

Times are trio's, and jump to the next that anybody waits for: the gateway is in this process.
"""

import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any, TypeVar

import pytest
import trio
from msgspec.structs import replace
from trio.testing import wait_all_tasks_blocked

from piker import clock, routing
from piker.brokers import Heard
from piker.brokers.ib import Settings
from piker.brokers.ib.trade import Dialog, open_trade_dialog
from piker.errors import Refused
from piker.interfaces.broker import (
    Amend,
    Cancel,
    CancelAll,
    InvalidOrder,
    Link,
    NotConnected,
    OpenOrder,
    Place,
    Told,
    TooLate,
)
from piker.interfaces.service import BrokenConfiguration
from piker.orders import (
    Acked,
    AmendAcked,
    AmendRefused,
    BrokerEvent,
    Cancelled,
    CancelRefused,
    Execution,
    Filled,
)
from piker.orders import Refused as OrderRefused
from tests.fakes.gateway import actions, faults
from tests.fakes.gateway.gateway import Settings as GatewaySettings
from tests.fakes.gateway.server import Served, a_gateway

pytestmark = pytest.mark.usefixtures("virtual_time")

NUMBER = "DU1234567"
CLIENT = 1
AAPL = "aapl.nasdaq.ib"
FAR, NEAR = Decimal(100), Decimal("190.01")
E = TypeVar("E", bound=BrokerEvent)


class Listener:
    """A dialog, and what it is heard to say."""

    def __init__(self) -> None:
        self.heard: list[Heard] = []
        self.dialog: Dialog
        self._changed = trio.Event()

    def hear(self, heard: Heard) -> None:
        self.heard.append(heard)
        self._changed.set()
        self._changed = trio.Event()

    def events(self, oid: str = "o-1") -> list[BrokerEvent]:
        return [e.event for e in self.heard if isinstance(e, Told) and e.oid == oid]

    async def until(self, found: Callable[[], object]) -> None:
        with trio.fail_after(600):
            while not found():
                await self._changed.wait()

    async def hears(self, kind: type[E], oid: str = "o-1") -> E:
        """The first word of a kind about an order."""
        await self.until(lambda: [e for e in self.events(oid) if isinstance(e, kind)])
        return next(e for e in self.events(oid) if isinstance(e, kind))

    async def hears_link(self, *, up: bool) -> Link:
        await self.until(lambda: self.dialog.link.up == up)
        return self.dialog.link

    def executions(self, oid: str = "o-1") -> list[Execution]:
        return [e.execution for e in self.events(oid) if isinstance(e, Filled)]


@asynccontextmanager
async def a_dialog(address: str, **settings: Any) -> AsyncIterator[Listener]:
    """A dialog that is being connected."""
    listener = Listener()
    given = Settings(**{"orders": address, "accounts": {"main": NUMBER}, **settings})
    async with open_trade_dialog(given, {}, listener.hear) as dialog:
        listener.dialog = dialog
        yield listener


@asynccontextmanager
async def connected(gateway: Served, **settings: Any) -> AsyncIterator[Listener]:
    """A dialog whose link is up."""
    async with a_dialog(gateway.address, **settings) as listener:
        await listener.hears_link(up=True)
        yield listener


@pytest.fixture
async def gateway(tmp_path: Path) -> AsyncIterator[Served]:
    """A gateway of this test's, at a Unix socket."""
    settings = GatewaySettings(our_clients=frozenset({CLIENT}))
    async with a_gateway(settings, path=str(tmp_path / "gateway.sock")) as served:
        yield served


def an_order(oid: str = "o-1", **changed: Any) -> Place:
    """One that rests."""
    return Place(
        **{
            "session": "",
            "not_after_boot_ns": clock.boot_ns() + 5 * 10**9,
            "oid": oid,
            "account": "ib.main",
            "market": AAPL,
            "side": "buy",
            "size": Decimal(3),
            "limit": FAR,
            "tif": "gtc",
            **changed,
        }
    )


def an_amendment(oid: str = "o-1", **changed: Any) -> Amend:
    return Amend(
        **{
            "session": "",
            "not_after_boot_ns": clock.boot_ns() + 5 * 10**9,
            "oid": oid,
            "n": 1,
            "size": Decimal(5),
            "limit": FAR,
            **changed,
        }
    )


async def test_a_dialog_is_connected_and_knows_its_accounts(gateway: Served) -> None:
    async with connected(gateway) as listener:
        assert listener.dialog.accounts == ("ib.main",)
        assert not listener.dialog.live
        assert listener.heard == [Link(up=True)]


async def test_an_order_is_acked_by_its_perm_id_amended_and_filled(gateway: Served) -> None:
    async with connected(gateway) as listener:
        await listener.dialog.place(an_order())
        acked = await listener.hears(Acked)
        await listener.dialog.amend(an_amendment())
        assert await listener.hears(AmendAcked) == AmendAcked(n=1, size=Decimal(5), limit=FAR)
        await gateway.do(actions.Fill(order="o-1"))
        (execution,) = [(await listener.hears(Filled)).execution]
        assert acked.venue_id == str(gateway.show().orders[0].perm_id)
        assert (execution.venue_id, execution.oid) == (acked.venue_id, "o-1")
        assert (execution.account, execution.market) == ("ib.main", AAPL)
        assert (execution.size, execution.price) == (Decimal(5), FAR)
        assert (execution.fee, execution.fee_currency) == (Decimal(1), "USD")
        assert gateway.show().placed == ("o-1", "o-1")


async def test_a_cancel_finds_its_order_and_its_end_is_told_once(gateway: Served) -> None:
    async with connected(gateway) as listener:
        await listener.dialog.place(an_order())
        await listener.dialog.cancel(Cancel(oid="o-1", venue_ids=()))
        await listener.hears(Cancelled)
        await listener.dialog.snapshot(0)
        assert [type(each) for each in listener.events()] == [Acked, Cancelled]


# --- what is refused before anything leaves


async def fault_of(asked: Awaitable[object]) -> Any:
    with pytest.raises(Refused) as raised:
        await asked
    return raised.value.fault


@pytest.mark.parametrize(
    ("changed", "field", "allowed"),
    [
        ({"limit": Decimal("100.001")}, "limit", "a multiple of 0.01, as 100.00 or 100.01"),
        ({"limit": Decimal(-1)}, "limit", "above 0"),
        ({"market": "mnq.cme.ib"}, "market", "the whole name, mnq.cme."),
        ({"market": "nothing.nowhere.ib"}, "market", "one that IB has"),
        ({"market": "aapl.nasdaq.20200101.ib"}, "market", "an expiry from 20270115 on"),
        ({"market": "AAPL.NASDAQ.IB"}, "market", "the whole name, aapl.nasdaq.ib"),
    ],
)
async def test_what_cannot_be_an_order_never_leaves(
    gateway: Served, changed: dict[str, Any], field: str, allowed: str
) -> None:
    async with connected(gateway) as listener:
        no = await fault_of(listener.dialog.place(an_order(**changed)))
        assert isinstance(no, InvalidOrder)
        assert (no.field, no.allowed[: len(allowed)]) == (field, allowed)
    assert gateway.show().placed == ()


async def test_a_fraction_where_none_is_allowed_never_leaves(gateway: Served) -> None:
    async with connected(gateway) as listener:
        market = await whole_name(listener, "mnq.cme.ib")
        order = an_order(market=market, size=Decimal("0.5"), limit=Decimal(18000))
        no = await fault_of(listener.dialog.place(order))
    assert (no.field, no.value) == ("size", "0.5")
    assert gateway.show().placed == ()


async def whole_name(listener: Listener, name: str) -> str:
    """A name that is refused says the whole one."""
    no = await fault_of(listener.dialog.place(an_order(market=name)))
    return str(no.allowed.rpartition(" ")[2])


async def test_a_price_off_its_band_never_leaves(gateway: Served) -> None:
    async with connected(gateway) as listener:
        order = an_order(market="asml.aeb.ib", size=Decimal(1), limit=Decimal("600.01"))
        no = await fault_of(listener.dialog.place(order))
    assert no.allowed == "a multiple of 0.05, as 600.00 or 600.05"
    assert gateway.show().placed == ()


async def test_a_reference_is_used_once(gateway: Served) -> None:
    async with connected(gateway) as listener:
        await listener.dialog.place(an_order())
        no = await fault_of(listener.dialog.place(an_order()))
    assert (no.field, no.value) == ("oid", "o-1")
    assert gateway.show().placed == ("o-1",)


async def test_a_reference_that_comes_twice_at_once_is_used_once(gateway: Served) -> None:
    async with connected(gateway) as listener:
        refused: list[Any] = []

        async def place() -> None:
            try:
                await listener.dialog.place(an_order())
            except Refused as no:
                refused.append(no.fault)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(place)
            nursery.start_soon(place)
    assert [(no.field, no.value) for no in refused] == [("oid", "o-1")]
    assert gateway.show().placed == ("o-1",)


async def test_an_order_whose_market_is_not_described_in_time_is_too_late(gateway: Served) -> None:
    async with connected(gateway) as listener:
        gateway.faults.set(faults.Drop(request="ReqContractDetails"))
        no = await fault_of(listener.dialog.place(an_order()))
    assert isinstance(no, TooLate)
    assert gateway.show().placed == ()


async def test_orders_that_wait_for_their_turn_for_too_long_never_leave(gateway: Served) -> None:
    async with connected(gateway) as listener:
        await listener.dialog.place(an_order("first"))
        late: list[str] = []

        async def place(number: int) -> None:
            order = an_order(f"o-{number}", not_after_boot_ns=clock.boot_ns() + 10**8)
            try:
                await listener.dialog.place(order)
            except Refused as no:
                assert isinstance(no.fault, TooLate)  # noqa: PT017 - many are not refused
                late.append(order.oid)

        async with trio.open_nursery() as nursery:
            for number in range(60):
                nursery.start_soon(place, number)
        assert late
        assert len(gateway.show().placed) == 61 - len(late)
        await listener.dialog.place(an_order(late[0]))
        await listener.hears(Acked, late[0])


Cancels = Callable[[Dialog, str], Awaitable[object]]


@pytest.mark.parametrize(
    "cancel",
    [
        lambda dialog, oid: dialog.cancel(Cancel(oid=oid, venue_ids=())),
        lambda dialog, oid: dialog.cancel_all(CancelAll(scope="ours")),
        lambda dialog, oid: dialog.cancel_all(CancelAll(scope="all")),
    ],
)
async def test_a_cancel_does_not_overtake_its_order(gateway: Served, cancel: Cancels) -> None:
    async with connected(gateway) as listener, trio.open_nursery() as nursery:
        await listener.dialog.place(an_order("first"))
        for number in range(60):
            nursery.start_soon(listener.dialog.place, an_order(f"o-{number}"))
        await wait_all_tasks_blocked()
        waiting = min({f"o-{number}" for number in range(60)} - set(gateway.show().placed))
        await cancel(listener.dialog, waiting)
        await listener.hears(Cancelled, waiting)


async def test_a_cancel_does_not_overtake_an_amendment(gateway: Served) -> None:
    async with connected(gateway) as listener, trio.open_nursery() as nursery:
        await listener.dialog.place(an_order())
        await listener.hears(Acked)
        for number in range(60):
            nursery.start_soon(listener.dialog.place, an_order(f"another-{number}"))
        await wait_all_tasks_blocked()
        nursery.start_soon(listener.dialog.amend, an_amendment())
        await wait_all_tasks_blocked()
        await listener.dialog.cancel(Cancel(oid="o-1", venue_ids=()))
        await listener.hears(Cancelled)
    assert [type(each) for each in listener.events()] == [Acked, AmendAcked, Cancelled]


async def test_what_is_being_cancelled_is_not_amended(gateway: Served) -> None:
    async with connected(gateway) as listener:
        await listener.dialog.place(an_order())
        await listener.hears(Acked)
        gateway.faults.set(faults.Delay(request="CancelOrder", seconds=1))
        await listener.dialog.cancel(Cancel(oid="o-1", venue_ids=()))
        await listener.dialog.amend(an_amendment())
        refused = await listener.hears(AmendRefused)
        await listener.hears(Cancelled)
    assert (refused.reason, gateway.show().placed) == ("it is being cancelled", ("o-1",))


# --- the connection at each step of a placement


async def test_a_connection_that_ends_before_an_order_leaves_refuses_it(gateway: Served) -> None:
    async with connected(gateway) as listener:
        await gateway.do(actions.Stop())
        await listener.hears_link(up=False)
        no = await fault_of(listener.dialog.place(an_order()))
        assert isinstance(no, NotConnected)
        assert "the gateway has closed the connection" in no.reason
        await gateway.do(actions.Start())
        await listener.hears_link(up=True)
    assert gateway.show().placed == ()


async def test_a_connection_that_ends_with_an_order_on_its_way_claims_nothing(
    gateway: Served,
) -> None:
    async with connected(gateway) as listener:
        gateway.faults.set(faults.HangUp(request="PlaceOrder", times=1))
        await listener.dialog.place(an_order())
        await listener.hears_link(up=False)
        await listener.hears_link(up=True)
        assert listener.events() == []
        assert (await listener.dialog.snapshot(0)).orders == ()
    assert gateway.show().placed == ("o-1",)


async def test_an_order_that_was_taken_when_the_connection_ended_is_found_again(
    gateway: Served,
) -> None:
    async with connected(gateway) as listener:
        gateway.faults.set(faults.HangUp(request="PlaceOrder", done=True, times=1))
        await listener.dialog.place(an_order())
        acked = await listener.hears(Acked)
        await listener.hears_link(up=True)
        (found,) = (await listener.dialog.snapshot(0)).orders
    assert (found.oid, found.venue_id) == ("o-1", acked.venue_id)
    assert len(gateway.show().orders) == 1


async def test_an_order_that_nothing_is_said_of_is_listed_and_can_be_cancelled(
    gateway: Served,
) -> None:
    async with connected(gateway) as listener:
        gateway.faults.set(faults.Swallow(times=1))
        await listener.dialog.place(an_order())
        await listener.dialog.cancel(Cancel(oid="o-1", venue_ids=()))
        await listener.hears(Cancelled)
    assert gateway.show().orders[0].status == "Cancelled"


async def test_of_an_order_that_was_lost_on_its_way_nothing_is_told(gateway: Served) -> None:
    async with connected(gateway) as listener:
        gateway.faults.set(faults.Drop(request="PlaceOrder", times=1))
        await listener.dialog.place(an_order())
        assert (await listener.dialog.snapshot(0)).orders == ()
        assert listener.events() == []
        await listener.dialog.cancel(Cancel(oid="o-1", venue_ids=()))
        assert "10147" in (await listener.hears(CancelRefused)).reason


async def test_fills_while_the_connection_was_away_are_told_once(gateway: Served) -> None:
    async with connected(gateway) as listener:
        await listener.dialog.place(an_order())
        await listener.hears(Acked)
        await gateway.do(actions.Cut())
        await gateway.do(actions.Fill(order="o-1", size=Decimal(1)))
        await listener.hears(Filled)
        await listener.hears_link(up=True)
        await listener.dialog.snapshot(0)
        await gateway.do(actions.Cut())
        await listener.hears_link(up=False)
        await listener.hears_link(up=True)
        await gateway.do(actions.RepeatExecutions(order="o-1"))
        snapshot = await listener.dialog.snapshot(0)
    assert [each.size for each in listener.executions()] == [Decimal(1)]
    assert snapshot.executions == tuple(listener.executions())


# --- ids


async def test_ids_that_the_gateway_rolled_back_are_not_used_again(gateway: Served) -> None:
    async with connected(gateway) as listener:
        for oid in ("o-1", "o-2", "o-3"):
            await listener.dialog.place(an_order(oid))
        await listener.dialog.cancel(Cancel(oid="o-3", venue_ids=()))
        await listener.hears(Cancelled, "o-3")
        await gateway.do(actions.Stop(roll_back_ids=True))
        await listener.hears_link(up=False)
        await gateway.do(actions.Start())
        await listener.hears_link(up=True)
        await listener.dialog.place(an_order("o-4"))
        await listener.hears(Acked, "o-4")
    assert len({each.order_id for each in gateway.show().orders}) == 4


async def test_ids_rolled_back_while_nobody_listened_are_known_from_the_lists(
    gateway: Served,
) -> None:
    async with connected(gateway) as listener:
        for oid in ("o-1", "o-2", "o-3"):
            await listener.dialog.place(an_order(oid))
        await gateway.do(actions.Fill(order="o-2"))
        await listener.dialog.cancel(Cancel(oid="o-3", venue_ids=()))
        await listener.hears(Cancelled, "o-3")
    await gateway.do(actions.Stop(roll_back_ids=True))
    await gateway.do(actions.Start())
    async with connected(gateway) as listener:
        await listener.dialog.place(an_order("o-4"))
        await listener.hears(Acked, "o-4")
    assert len({each.order_id for each in gateway.show().orders}) == 4


async def test_ids_rolled_back_are_known_from_the_lists_also_if_they_come_late(
    gateway: Served,
) -> None:
    async with connected(gateway) as listener:
        await listener.dialog.place(an_order())
        await listener.dialog.cancel(Cancel(oid="o-1", venue_ids=()))
        await listener.hears(Cancelled)
    await gateway.do(actions.Stop(roll_back_ids=True))
    await gateway.do(actions.Start())
    gateway.faults.set(faults.ReadOnly())
    async with connected(gateway) as listener:
        gateway.faults.clear(faults.ReadOnly)
        await gateway.do(actions.Cut())
        await listener.hears_link(up=False)
        await listener.hears_link(up=True)
        await listener.dialog.place(an_order("o-2"))
        await listener.hears(Acked, "o-2")
    assert len({each.order_id for each in gateway.show().orders}) == 2


# --- another run, and other clients


async def test_an_order_of_a_former_run_is_cancelled_and_amended(gateway: Served) -> None:
    async with connected(gateway) as listener:
        await listener.dialog.place(an_order())
        await listener.dialog.place(an_order("o-2"))
        await listener.hears(Acked, "o-2")
    async with connected(gateway) as listener:
        await listener.dialog.amend(an_amendment())
        await listener.hears(AmendAcked)
        await listener.dialog.cancel(Cancel(oid="o-1", venue_ids=()))
        await listener.hears(Cancelled)
        (left,) = (await listener.dialog.snapshot(0)).orders
    assert (left.oid, left.size) == ("o-2", Decimal(3))


async def test_an_order_is_cancelled_by_the_id_at_the_venue_alone(gateway: Served) -> None:
    async with connected(gateway) as listener:
        await listener.dialog.place(an_order())
        venue_id = (await listener.hears(Acked)).venue_id
        await listener.dialog.cancel(Cancel(oid="", venue_ids=(venue_id,)))
        await listener.hears(Cancelled)


async def test_orders_of_others_are_shown_as_foreign_and_left_alone(gateway: Served) -> None:
    async with connected(gateway) as listener:
        for client in (0, 7):
            by_hand = actions.PlaceByHand(
                market="AAPL", action="BUY", size=Decimal(1), limit=FAR, client_id=client, ref="x"
            )
            await gateway.do(by_hand)
        await listener.dialog.place(an_order())
        foreign = [each for each in await orders_of(listener) if not each.oid]
        assert [each.market for each in foreign] == [AAPL, AAPL]
        await listener.dialog.cancel(Cancel(oid="", venue_ids=(foreign[1].venue_id,)))
        assert (
            "client 7 of the gateway placed it" in (await listener.hears(CancelRefused, "")).reason
        )
        await listener.dialog.cancel_all(CancelAll(scope="ours"))
        await listener.hears(Cancelled)
        assert [each.oid for each in await orders_of(listener)] == ["", ""]


async def orders_of(listener: Listener) -> tuple[OpenOrder, ...]:
    return (await listener.dialog.snapshot(0)).orders


async def test_an_order_of_ours_that_nobody_told_of_is_cancelled_with_all(
    gateway: Served,
) -> None:
    async with connected(gateway) as listener:
        gateway.faults.set(faults.Mute(times=4))
        untold = actions.PlaceByHand(
            market="AAPL",
            action="BUY",
            size=Decimal(1),
            limit=FAR,
            client_id=CLIENT,
            order_id=50,
            ref="o-9",
        )
        await gateway.do(untold)
        (venue_id,) = await listener.dialog.cancel_all(CancelAll(scope="ours"))
        assert await listener.hears(Cancelled, "o-9") == Cancelled(venue_id=venue_id)


async def test_all_means_those_of_others_too(gateway: Served) -> None:
    async with connected(gateway) as listener:
        by_hand = actions.PlaceByHand(market="AAPL", action="BUY", size=Decimal(1), limit=FAR)
        await gateway.do(by_hand)
        await listener.dialog.place(an_order())
        known = {each.venue_id for each in await orders_of(listener)}
        assert set(await listener.dialog.cancel_all(CancelAll(scope="all"))) == known
        assert await orders_of(listener) == ()
    assert len(known) == 2


async def test_an_order_that_is_not_ours_is_not_amended(gateway: Served) -> None:
    async with connected(gateway) as listener:
        await listener.dialog.amend(an_amendment(n=7))
        refused = await listener.hears(AmendRefused)
    assert (refused.n, gateway.show().placed) == (7, ())


async def test_an_id_that_was_used_after_all_refuses_one_order_and_no_more(
    gateway: Served,
) -> None:
    async with connected(gateway) as listener:
        used = faults.Refuse(request="PlaceOrder", code=103, text="Duplicate order id", times=1)
        gateway.faults.set(used)
        await listener.dialog.place(an_order())
        assert "Duplicate order id" in (await listener.hears(OrderRefused)).reason
        await listener.dialog.place(an_order("o-2"))
        await listener.hears(Acked, "o-2")
    assert gateway.show().orders[0].order_id > 100


async def test_a_night_is_survived_without_an_order_lost_or_doubled(gateway: Served) -> None:
    async with connected(gateway) as listener:
        await listener.dialog.place(an_order())
        await listener.hears(Acked)
        await gateway.do(actions.Connectivity(code=1100))
        await listener.hears_link(up=False)
        await gateway.do(actions.Stop(roll_back_ids=True))
        await listener.until(lambda: "no gateway at" in listener.dialog.link.reason)
        gateway.faults.set(faults.SilentLogin(times=2), faults.ClientIdInUse(times=1))
        await gateway.do(actions.Start())
        await listener.until(lambda: listener.dialog.link.needs_login)
        await listener.hears_link(up=True)
        await listener.dialog.place(an_order("o-2"))
        await gateway.do(actions.Fill(order="o-1"))
        await listener.hears(Filled)
        await listener.hears(Acked, "o-2")
    assert [each.ref for each in gateway.show().orders] == ["o-1", "o-2"]
    assert len(listener.executions()) == 1


# --- amendments and what they cost


async def test_a_refused_amendment_leaves_the_order(gateway: Served) -> None:
    async with connected(gateway) as listener:
        await listener.dialog.place(an_order())
        await listener.hears(Acked)
        gateway.faults.set(faults.Refuse(request="PlaceOrder", code=104, text="filled", times=1))
        await listener.dialog.amend(an_amendment())
        assert (await listener.hears(AmendRefused)).n == 1
        (left,) = await orders_of(listener)
    assert left.size == Decimal(3)


async def test_an_order_of_which_the_gateway_says_that_a_preset_changed_it_is_open(
    gateway: Served,
) -> None:
    async with connected(gateway) as listener:
        advice = faults.Advise(request="PlaceOrder", code=10349, text=faults.PRESET_TIF)
        gateway.faults.set(advice)
        await listener.dialog.place(an_order())
        await listener.hears(Acked)
        await gateway.do(actions.Fill(order="o-1"))
        await listener.hears(Filled)
    assert [type(each) for each in listener.events()] == [Acked, Filled]


async def test_an_amendment_is_answered_by_nothing_after_its_connection(gateway: Served) -> None:
    async with connected(gateway) as listener:
        await listener.dialog.place(an_order())
        await listener.hears(Acked)
        gateway.faults.set(faults.HangUp(request="PlaceOrder", times=1))
        await listener.dialog.amend(an_amendment())
        await listener.hears_link(up=False)
        await listener.hears_link(up=True)
        order_id = gateway.show().orders[0].order_id
        await gateway.do(actions.Notice(code=201, text="rejected", req_id=order_id))
        await listener.dialog.snapshot(0)
    assert [type(each) for each in listener.events()] == [Acked]


async def test_a_fill_is_told_without_its_cost_which_follows(gateway: Served) -> None:
    async with connected(gateway) as listener:
        gateway.faults.set(faults.LateCommission(seconds=60))
        await listener.dialog.place(an_order(limit=NEAR))
        first = (await listener.hears(Filled)).execution
        await listener.until(lambda: len(listener.executions()) == 2)
        second = listener.executions()[1]
    assert (first.fee, second.fee) == (Decimal(0), Decimal(1))
    assert second == replace(first, fee=Decimal(1), revision=first.revision + 2)


async def test_a_correction_replaces_the_fill(gateway: Served) -> None:
    async with connected(gateway) as listener:
        await listener.dialog.place(an_order(limit=NEAR))
        first = (await listener.hears(Filled)).execution
        await gateway.do(actions.Correct(order="o-1", price=Decimal(180)))
        await listener.until(lambda: len(listener.executions()) == 2)
        (listed,) = (await listener.dialog.snapshot(0)).executions
    assert (listed.exec_id, listed.price) == (first.exec_id, Decimal(180))
    assert listed.revision > first.revision


@pytest.mark.parametrize("fault", [faults.Repeat(), faults.Reorder(), faults.NoCommission()])
async def test_what_is_said_twice_or_in_another_order_comes_to_the_same(
    gateway: Served, fault: Any
) -> None:
    async with connected(gateway) as listener:
        gateway.faults.set(fault)
        await listener.dialog.place(an_order(limit=NEAR))
        await listener.hears(Filled)
        await listener.dialog.snapshot(0)
    assert [type(each) for each in listener.events()] == [Acked, Filled]


async def test_an_order_that_is_rejected_late_is_refused_with_the_reason(gateway: Served) -> None:
    async with connected(gateway) as listener:
        await listener.dialog.place(an_order())
        await listener.hears(Acked)
        late = actions.Kill(order="o-1", reason="no shares", code=201, status="Inactive")
        await gateway.do(late)
        refused = await listener.hears(OrderRefused)
    assert "no shares" in refused.reason


async def test_a_refusal_that_nobody_heard_is_listed_with_its_reason(gateway: Served) -> None:
    async with connected(gateway) as listener:
        no = faults.Refuse(request="PlaceOrder", code=201, text="Order rejected - reason:no funds")
        gateway.faults.set(no)
        await listener.dialog.place(an_order())
        await listener.hears(OrderRefused)
        (ended,) = (await listener.dialog.snapshot(0)).ended
        assert (await listener.dialog.snapshot(clock.wall_ns() + 1)).ended == ()
    assert (ended.oid, ended.venue_id, ended.outcome) == ("o-1", "", "rejected")
    assert "no funds" in ended.reason


# --- what a gateway holds


async def test_holdings_have_the_price_of_one_without_the_multiplier(gateway: Served) -> None:
    async with connected(gateway) as listener:
        market = await whole_name(listener, "mnq.cme.ib")
        held = actions.SetPosition(market="MNQ", size=Decimal(-2), cost=Decimal(36_000))
        await gateway.do(held)
        snapshot = await listener.dialog.snapshot(0)
    (holding,) = snapshot.holdings
    assert (holding.account, holding.market) == ("ib.main", market)
    assert (holding.size, holding.average_price) == (Decimal(-2), Decimal(18_000))


async def test_a_snapshot_has_what_the_account_is_worth(gateway: Served) -> None:
    async with connected(gateway) as listener:
        (worth,) = (await listener.dialog.snapshot(0)).balances
    assert (worth.account, worth.currency) == ("ib.main", "USD")
    assert (worth.net_liquidation, worth.buying_power) == (Decimal(1_000_000), Decimal(4_000_000))


async def test_a_snapshot_does_not_wait_for_what_an_account_is_worth(gateway: Served) -> None:
    async with connected(gateway) as listener:
        gateway.faults.set(faults.Drop(request="ReqAccountUpdatesMulti"))
        snapshot = await listener.dialog.snapshot(0)
    assert snapshot.balances == ()


async def test_a_fill_in_a_market_that_was_never_spoken_of_is_told_by_its_name(
    gateway: Served,
) -> None:
    async with connected(gateway) as listener:
        market = await whole_name(listener, "mnq.cme.ib")
    async with connected(gateway) as listener:
        by_other_means = actions.PlaceByHand(
            market="MNQ", action="BUY", size=Decimal(1), client_id=CLIENT, order_id=50, ref="o-9"
        )
        await gateway.do(by_other_means)
        filled = await listener.hears(Filled, "o-9")
    assert filled.execution.market == market


async def test_what_the_gateway_no_longer_describes_is_held_by_ibs_own_name(
    gateway: Served,
) -> None:
    await gateway.do(actions.SetPosition(market="SPX", size=Decimal(1), cost=Decimal(5000)))
    unknown = faults.Refuse(request="ReqContractDetails", code=200, text="No security definition")
    gateway.faults.set(unknown)
    async with connected(gateway) as listener:
        (holding,) = (await listener.dialog.snapshot(0)).holdings
    assert (holding.market, holding.average_price) == ("spx.cboe.ib", None)


async def test_a_contract_that_was_not_described_in_time_has_its_name_by_the_next_list(
    gateway: Served,
) -> None:
    async with connected(gateway) as listener:
        await listener.dialog.place(an_order())
        await listener.hears(Acked)
    gateway.faults.set(faults.Drop(request="ReqContractDetails", times=1))
    async with connected(gateway) as listener:
        await gateway.do(actions.Fill(order="o-1"))
        assert (await listener.hears(Filled)).execution.market == "AAPL"
        snapshot = await listener.dialog.snapshot(0)
    assert [each.market for each in snapshot.executions] == [AAPL]
    assert [each.market for each in snapshot.holdings] == [AAPL]


async def test_what_the_gateway_does_not_describe_is_asked_for_once_a_session(
    gateway: Served,
) -> None:
    await gateway.do(actions.SetPosition(market="SPX", size=Decimal(1), cost=Decimal(5000)))
    unknown = faults.Refuse(request="ReqContractDetails", code=200, text="No security definition")
    gateway.faults.set(unknown)
    async with connected(gateway) as listener:
        await listener.dialog.snapshot(0)
        assert gateway.show().heard["ReqContractDetails"] == 1


async def test_positions_that_are_not_answered_are_never_taken_for_none(gateway: Served) -> None:
    async with connected(gateway) as listener:
        gateway.faults.set(faults.Drop(request="ReqPositions", times=1))
        with pytest.raises(Refused) as raised:
            await listener.dialog.snapshot(0)
        assert isinstance(raised.value.fault, NotConnected)
        await listener.hears_link(up=False)
        await listener.hears_link(up=True)
        await listener.dialog.snapshot(0)


@pytest.mark.parametrize(
    "request_name", ["ReqExecutions", "ReqAllOpenOrders", "ReqCompletedOrders", "ReqPositions"]
)
async def test_lists_that_take_long_are_refused_before_emsd_gives_the_session_up(
    gateway: Served, request_name: str
) -> None:
    async with connected(gateway) as listener:
        gateway.faults.set(faults.Drop(request=request_name, times=1))
        began = trio.current_time()
        no = await fault_of(listener.dialog.snapshot(0))
        assert trio.current_time() - began < routing.SNAPSHOT_S
    assert "didn't list all" in no.reason


@pytest.mark.parametrize(
    "request_name", ["ReqExecutions", "ReqAllOpenOrders", "ReqCompletedOrders", "ReqPositions"]
)
async def test_a_list_that_is_not_answered_keeps_the_link_down(
    gateway: Served, request_name: str
) -> None:
    gateway.faults.set(faults.Drop(request=request_name, times=1))
    async with a_dialog(gateway.address) as listener:
        await listener.until(lambda: "no answer within 30 s" in listener.dialog.link.reason)
        await listener.hears_link(up=True)


async def test_a_gateway_that_refuses_a_list_is_not_asked_again_and_again(gateway: Served) -> None:
    no = faults.Refuse(request="ReqExecutions", code=322, text="Error processing request.")
    gateway.faults.set(no)
    async with a_dialog(gateway.address) as listener:
        await trio.sleep(60)
        assert "Error processing request. (322)" in listener.dialog.link.reason
        assert gateway.show().heard["StartApi"] <= 12


# --- the link, and what it waits for


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        (faults.SilentLogin(times=1), "wait for a login or a second factor"),
        (faults.ClientIdInUse(times=1), "another program uses it"),
        (faults.OtherVersion(version=201, times=1), "speaks version 201"),
        (faults.CloseInHandshake(times=1), "has closed the connection"),
    ],
)
async def test_the_link_is_down_with_what_to_do_until_it_is_done(
    gateway: Served, fault: Any, reason: str
) -> None:
    gateway.faults.set(fault)
    async with a_dialog(gateway.address) as listener:
        await listener.until(lambda: reason in listener.dialog.link.reason)
        assert isinstance(await fault_of(listener.dialog.place(an_order())), NotConnected)
        await listener.hears_link(up=True)


async def test_accounts_that_the_gateway_lacks_are_named_and_no_number_whole(
    gateway: Served,
) -> None:
    async with a_dialog(gateway.address, accounts={"main": "DU7654321"}) as listener:
        await listener.until(lambda: "lacks" in listener.dialog.link.reason or listener.heard)
        reason = listener.dialog.link.reason
    assert "doesn't have ib.main (DU7…21), it has DU1…67" in reason
    assert NUMBER not in str(listener.heard)


async def test_while_the_gateway_has_lost_ib_the_link_is_down_and_fills_are_told_after(
    gateway: Served,
) -> None:
    async with connected(gateway) as listener:
        await listener.dialog.place(an_order())
        await listener.hears(Acked)
        await gateway.do(actions.Connectivity(code=1100))
        down = await listener.hears_link(up=False)
        assert "lost its connection to IB" in down.reason
        assert isinstance(await fault_of(listener.dialog.place(an_order("o-2"))), NotConnected)
        await trio.sleep(30)
        await gateway.do(actions.Connectivity(code=1102))
        await listener.hears_link(up=True)
        await gateway.do(actions.Fill(order="o-1"))
        await listener.hears(Filled)
    links = [each.up for each in listener.heard if isinstance(each, Link)]
    assert links == [True, False, True]


async def test_a_gateway_without_ib_at_the_login_is_waited_for(gateway: Served) -> None:
    await gateway.do(actions.Connectivity(code=1100))
    async with a_dialog(gateway.address) as listener:
        await listener.until(lambda: "lost its connection to IB" in listener.dialog.link.reason)
        await gateway.do(actions.Connectivity(code=1101))
        await listener.hears_link(up=True)


async def test_a_gateway_that_takes_no_orders_says_so_of_each(gateway: Served) -> None:
    gateway.faults.set(faults.ReadOnly())
    async with connected(gateway) as listener:
        cancel = listener.dialog.cancel(Cancel(oid="o-1", venue_ids=()))
        for asked in (listener.dialog.place(an_order()), cancel, orders_of(listener)):
            no = await fault_of(asked)
            assert "turn Read-Only API off" in no.reason
        assert listener.dialog.link.up
        assert "turn Read-Only API off" in listener.dialog.link.reason
    assert gateway.show().placed == ()


async def test_that_a_gateway_takes_no_orders_may_be_known_from_the_first_alone(
    gateway: Served,
) -> None:
    async with connected(gateway) as listener:
        gateway.faults.set(faults.ReadOnly())
        await listener.dialog.place(an_order())
        assert "turn Read-Only API off" in (await listener.hears(OrderRefused)).reason
        no = await fault_of(listener.dialog.place(an_order("o-2")))
        assert "turn Read-Only API off" in no.reason
        await listener.until(lambda: "turn Read-Only API off" in listener.dialog.link.reason)
        assert listener.dialog.link.up
    assert gateway.show().placed == ("o-1",)


async def test_that_a_gateway_takes_orders_after_all_is_known_from_its_next_list(
    gateway: Served,
) -> None:
    gateway.faults.set(faults.ReadOnly())
    async with connected(gateway) as listener:
        gateway.faults.clear()
        await listener.dialog.snapshot(0)
        await listener.until(lambda: not listener.dialog.link.reason)
        await listener.dialog.place(an_order())
        await listener.hears(Acked)


async def test_while_the_gateway_restarts_nothing_new_leaves_and_cancels_do(
    gateway: Served,
) -> None:
    async with connected(gateway) as listener:
        await listener.dialog.place(an_order())
        await listener.hears(Acked)
    window = {"restart": ("02:45", "03:15"), "restart_zone": "America/New_York"}  # 08:00 UTC
    async with connected(gateway, **window) as listener:
        for asked in (
            listener.dialog.place(an_order("o-2")),
            listener.dialog.amend(an_amendment()),
        ):
            no = await fault_of(asked)
            assert "restarts between 02:45 to 03:15 America/New_York" in no.reason
        await listener.dialog.cancel(Cancel(oid="o-1", venue_ids=()))
        await listener.hears(Cancelled)
    assert gateway.show().placed == ("o-1",)


# --- privacy and configuration


async def test_no_number_of_an_account_is_told_even_in_ibs_own_words(
    gateway: Served, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "piker")
    async with connected(gateway) as listener:
        text = f"Order rejected - reason:Account {NUMBER} may not trade"
        gateway.faults.set(faults.Refuse(request="PlaceOrder", code=201, text=text))
        await listener.dialog.place(an_order())
        refused = await listener.hears(OrderRefused)
    assert "Account DU1…67 may not trade" in refused.reason
    assert "Account DU1…67 may not trade" in caplog.text
    assert NUMBER not in caplog.text


async def test_no_number_of_an_account_is_listed_in_ibs_own_words(gateway: Served) -> None:
    async with connected(gateway) as listener:
        await listener.dialog.place(an_order())
        await listener.hears(Acked)
        await gateway.do(actions.Kill(order="o-1", reason=f"{NUMBER} may not trade"))
        await listener.hears(Cancelled)
        (ended,) = (await listener.dialog.snapshot(0)).ended
    assert ended.reason == "DU1…67 may not trade"


@pytest.mark.parametrize(
    ("changed", "key", "problem"),
    [
        ({"orders_client": 0}, "orders_client", "expected 1 to 31, was 0"),
        ({"orders_client": 32}, "orders_client", "expected 1 to 31, was 32"),
        ({"orders": "tcp:localhost"}, "orders", "was 'tcp:localhost'"),
        ({"accounts": {}}, "accounts", "was none"),
        ({"accounts": {"paper": NUMBER}}, "accounts", "and not paper, was 'paper'"),
        ({"accounts": {"main": "u 1"}}, "accounts", "expected letters and digits"),
        ({"accounts": {"a": NUMBER, "b": NUMBER}}, "accounts", "one number twice"),
        ({"accounts": {"a": NUMBER, "b": "U1234567"}}, "accounts", "a DU1…67, b U12…67"),
        ({"restart": ("23:45", "24:00")}, "restart", "was '24:00'"),
        ({"restart": ("23:45", "23:45")}, "restart", "expected two times that differ"),
        ({"restart": ("23:45", "0:00"), "restart_zone": "Nowhere"}, "restart", "was '0:00'"),
        ({"restart": ("23:45", "00:00"), "restart_zone": "X"}, "restart_zone", "was 'X'"),
        ({"gateway_zone": "Nowhere"}, "gateway_zone", "was 'Nowhere'"),
    ],
)
async def test_what_is_set_wrong_is_named(changed: dict[str, Any], key: str, problem: str) -> None:
    with pytest.raises(Refused) as raised:
        async with a_dialog("unix:/nowhere", **changed):
            pass
    fault = raised.value.fault
    assert isinstance(fault, BrokenConfiguration)
    assert fault.key == f"providers.ib.{key}"
    assert problem in fault.problem
    assert NUMBER not in fault.problem


@pytest.mark.parametrize(("number", "live"), [("U1234567", True), ("DF123456", False)])
async def test_real_money_is_told_from_ibs_paper_by_the_number(number: str, live: bool) -> None:
    async with a_dialog("unix:/nowhere", accounts={"main": number}) as listener:
        assert listener.dialog.live == live
        assert "no gateway at unix:/nowhere" in listener.dialog.link.reason
