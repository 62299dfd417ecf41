"""What users of other programs hit at Interactive Brokers, and what becomes of it here.

emsd, brokerd@ib and datad@ib run at their sockets, at the fake gateway. What was hit was collected
from the trackers of other programs, as rows 1 to 20; a row's tests:

    1   a gateway that nobody logs in at, or that takes no orders, is said until it is mended
    2   an order in the second of a restart is unknown; rolled back ids give none another's fate;
        the restart window holds orders back; test_orderids.py
    3   fills while the gateway had lost IB, or the connection was away, are asked for
    4   orders that are dropped are unknown, never rejected; one that lives is found by asking
    5   test_nightly_reset.py: the reset of the night ends nothing
    6   test_connectivity.py: the codes of the connection, as they were seen and in any order
    7   a farm that breaks, and quotes that stop without a word
    8   a client id in use; test_desired.py: what is wanted is a set, not a row of commands
    9   a restart places no order again
    10  what is held is what the gateway holds
    11  an order of the session before is managed; test_killed.py: after kill -9
    12  an amendment that made two orders
    13  executions before the order; test_orderstate.py: in any order, repeated, with holes
    14  a rejection in either guise; an order that waits for shares
    15  told to be cancelled, and filled; a time in force is always said
    16  a corrected execution
    17  an id that another program used
    18  a list that is not answered; subscriptions that were lost; test_session.py: an error, a
        timeout and an empty answer are three things
    19  an execution's time; test_codec.py and test_hours.py: zones, and both changes of the clocks
    20  an order that is seen late, or is another client's
"""

from collections.abc import Callable
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from piker import clock
from piker.interfaces.orders import (
    AccountUnreachable,
    Amend,
    Cancel,
    Done,
    OrderReply,
    Resolve,
    SyncLedger,
)
from piker.orders import Life
from tests.brokers.ib.trading import AAPL, FAR, SPY, House, a_house, an_order
from tests.fakes.gateway import actions, faults
from tests.fakes.tradinghouse import flowing_time

__all__ = ["flowing_time"]
pytestmark = pytest.mark.usefixtures("flowing_time")

HOUR_S = 3600.0
LOGIN_WAITS = "does it wait for a login or a second factor?"
NO_ORDERS = "turn Read-Only API off"
ONE, ALL = Decimal(1), Decimal(3)
"""Of an order, which is of three."""
BACK_S = 10.0
"""Everything is live again so soon after the gateway is."""
LATE_S = 15.0
"""Silence about an order is too long by then."""


def at_the_gateway(house: House) -> list[tuple[str, str]]:
    """All orders that were ever placed there, each with its status."""
    return [(each.ref, each.status) for each in house.gateway.show().orders]


def placed(house: House, *oids: str) -> Callable[[], bool]:
    """Whether these orders have reached the gateway."""
    return lambda: set(oids) <= set(house.gateway.show().placed)


def lists(house: House) -> int:
    """How often the gateway was asked for what is open."""
    return house.gateway.show().heard.get("ReqAllOpenOrders", 0)


async def cancelled(house: House, oid: str = "o-1") -> Life:
    """Cancel an order, and wait until it is."""
    await house.ask(Cancel(oid=oid), OrderReply)
    return await house.until(oid, "cancelled")


async def filled(house: House, oid: str = "o-1") -> Life:
    """Have an order filled, and wait until it is."""
    await house.gateway.do(actions.Fill(order=oid))
    return await house.until(oid, "filled")


async def fills_untold(house: House, oid: str, size: int) -> None:
    """Some of an order is done, and the gateway doesn't get to tell it."""
    house.gateway.faults.set(faults.Mute())
    await house.gateway.do(actions.Fill(order=oid, size=Decimal(size)))
    house.gateway.faults.clear()


async def loses_servers(house: House) -> None:
    """The gateway says 1100."""
    await house.gateway.do(actions.Connectivity(code=1100))
    await house.until_so(lambda: not house.is_ready(), 5)


async def stops(house: House) -> None:
    """The gateway is away."""
    await house.gateway.do(actions.Stop())
    await house.until_so(lambda: not house.is_ready(), 5)


async def learns_its_pace(house: House) -> None:
    """So long that datad knows how often markets move."""
    await house.pass_by(150)


async def has_bars_again(house: House) -> None:
    """Bars of AAPL are made of what happens from now on."""
    now_ns = clock.wall_ns()
    await house.until_so(lambda: house.newest_bar_ns(AAPL) > now_ns, BACK_S)


# --- 1: every order was rejected for days, and nothing was reported


async def test_a_gateway_that_nobody_logs_in_at_is_said_until_somebody_does(home: Path) -> None:
    async with a_house(home) as house:
        await house.opens(an_order())
        await house.gateway.do(actions.Stop())
        house.gateway.faults.set(faults.SilentLogin())
        await house.gateway.do(actions.Start())
        for _ in range(3):
            await house.pass_by(HOUR_S, 60)
            states = {house.link().state, house.data().state, house.daemon.report().state}
            assert states == {"degraded"}
            assert LOGIN_WAITS in house.link().status
            no = await house.meanwhile(house.refusal(an_order("o-2")))
            assert isinstance(no, AccountUnreachable)
            assert LOGIN_WAITS in no.reason
        house.gateway.faults.clear()
        await house.until_so(lambda: house.is_ready() and house.state_of(AAPL) == "live", 40)
        assert house.link().state == house.data().state == "running"
        await house.opens(an_order("o-3"))
    assert house.gateway.show().placed == ("o-1", "o-3")


async def test_a_gateway_that_takes_no_orders_is_said_before_the_first(home: Path) -> None:
    async with a_house(home) as house:
        house.gateway.faults.set(faults.ReadOnly())
        no = await house.meanwhile(house.refusal(an_order()))
        assert NO_ORDERS in str(no)
        assert house.link().state == house.daemon.report().state == "degraded"
        assert NO_ORDERS in house.link().status
        house.gateway.faults.clear()
        await house.gateway.do(actions.Cut())
        await house.until_so(house.is_ready, 20)
        assert house.link().state == "running"


async def test_a_gateway_that_takes_no_orders_is_said_after_the_first(home: Path) -> None:
    async with a_house(home) as house:
        await house.opens(an_order())
        house.gateway.faults.set(faults.ReadOnly())
        await house.submit(an_order("o-2"))
        refused = await house.until("o-2", "rejected")
        await house.until_so(lambda: house.link().state == "degraded", 5)
    assert NO_ORDERS in refused.reason
    assert NO_ORDERS in house.link().status


# --- 2: orders in the second of the gateway's restart were lost, and ids rolled back


async def test_an_order_in_the_second_of_a_restart_is_unknown_and_never_sent_again(
    home: Path,
) -> None:
    async with a_house(home) as house:
        await house.opens(an_order())
        house.gateway.faults.set(faults.Drop(request="PlaceOrder", times=1))
        await house.submit(an_order("o-2"))
        await house.until_so(placed(house, "o-2"), 5)
        await house.gateway.do(actions.Stop(roll_back_ids=True))
        await house.until("o-2", "unknown")
        await house.gateway.do(actions.Start())
        await house.until_so(house.is_ready, BACK_S)
        await house.pass_by(600, 5)
        lost = await house.life("o-2")
    assert (lost.state, lost.filled) == ("unknown", Decimal(0))
    assert house.gateway.show().placed == ("o-1", "o-2")


async def test_ids_that_are_rolled_back_give_no_order_what_happens_to_another(home: Path) -> None:
    async with a_house(home) as house:
        await house.opens(an_order())
        await house.gateway.do(actions.Stop(roll_back_ids=True))
        await house.brokerd.end()
        await house.gateway.do(actions.Start())
        await house.brokerd.begin()
        await house.until_so(house.is_ready, 40)
        await house.opens(an_order("o-2"))
        await filled(house, "o-2")
        assert (await house.life("o-1")).state == "open"
        await cancelled(house)
    assert at_the_gateway(house) == [("o-1", "Cancelled"), ("o-2", "Filled")]


async def test_while_the_gateway_restarts_an_order_is_held_back_by_name_and_a_cancel_is_not(
    home: Path,
) -> None:
    window: dict[str, Any] = {"restart": ("03:01", "03:15"), "restart_zone": "America/New_York"}
    async with a_house(home, **window) as house:  # it is 03:00 there
        await house.opens(an_order())
        await house.pass_by(90)
        await house.submit(an_order("o-2"))
        refused = await house.until("o-2", "rejected")
        assert "restarts between 03:01 to 03:15 America/New_York" in refused.reason
        await cancelled(house)
        await house.pass_by(HOUR_S / 4, 15)
        await house.opens(an_order("o-3"))
    assert house.gateway.show().placed == ("o-1", "o-3")


# --- 3: fills while the gateway had lost IB were never asked for


@pytest.mark.parametrize("code", [1101, 1102])
async def test_fills_while_the_gateway_had_lost_ib_are_asked_for_and_count_once(
    home: Path, code: int
) -> None:
    async with a_house(home) as house:
        await house.opens(an_order())
        await loses_servers(house)
        await fills_untold(house, "o-1", 1)
        assert await house.held() == 0
        await house.gateway.do(actions.Connectivity(code=code))
        await house.until_so(house.is_ready, BACK_S)
        await house.gateway.do(actions.RepeatExecutions(order="o-1"))
        await house.pass_by(60)
        life = await house.life("o-1")
        assert (life.state, life.filled, await house.held()) == ("open", ONE, ONE)


async def test_fills_while_the_connection_was_away_are_asked_for_and_count_once(
    home: Path,
) -> None:
    async with a_house(home) as house:
        await house.opens(an_order())
        for _ in range(3):
            await stops(house)
            await house.gateway.do(actions.Fill(order="o-1", size=Decimal(1)))
            await house.gateway.do(actions.Start())
            await house.until_so(house.is_ready, BACK_S)
        assert (await house.life("o-1")).state == "filled"
        assert await house.held() == 3


# --- 4: placements were dropped without a word, and the engine died of it


async def test_orders_that_the_gateway_drops_in_a_burst_are_unknown_and_never_rejected(
    home: Path,
) -> None:
    async with a_house(home) as house:
        house.gateway.faults.set(faults.Drop(request="PlaceOrder", times=3))
        oids = [f"o-{number}" for number in range(10)]
        for oid in oids:
            await house.submit(an_order(oid))
        await house.until_so(placed(house, *oids), 5)
        before = lists(house)
        await house.pass_by(LATE_S)
        assert lists(house) > before
        await house.pass_by(600, 5)
        states = [(await house.life(oid)).state for oid in oids]
        assert states == 3 * ["unknown"] + 7 * ["open"]
        assert "3 UNKNOWN" in house.daemon.report().status
        call = Resolve(oid="o-0", outcome="cancelled", note="the statement doesn't have it")
        assert (await house.ask(call, OrderReply)).life.state == "cancelled"
    assert len(house.gateway.show().placed) == 10


async def test_an_order_of_which_the_gateway_says_nothing_is_found_by_asking(home: Path) -> None:
    async with a_house(home) as house:
        house.gateway.faults.set(faults.Swallow(times=1))
        await house.submit(an_order())
        await house.until_so(placed(house, "o-1"), 5)
        life = await house.meanwhile(house.until("o-1", "unknown"))
        assert life.venue_ids == ()
        assert (await house.meanwhile(house.until("o-1", "open"))).venue_ids
        await cancelled(house)
    assert at_the_gateway(house) == [("o-1", "Cancelled")]


# --- 7: quotes and bars were dead for eight hours, on a connection that was well


async def test_a_farm_that_breaks_and_is_back_has_its_markets_live_again(home: Path) -> None:
    async with a_house(home) as house:
        await learns_its_pace(house)
        for _ in range(3):
            await house.gateway.do(actions.Farm(name="usfarm", code=2103, lose=True))
            await house.until_so(lambda: house.state_of(AAPL) == "stale", 60)
            assert house.data().state == "degraded"
            await house.gateway.do(actions.Farm(name="usfarm", code=2104))
            await house.until_so(lambda: house.state_of(AAPL) == "live", BACK_S)
            await has_bars_again(house)


async def test_quotes_that_stop_without_a_word_are_stale_and_come_again(home: Path) -> None:
    async with a_house(home, keep=(AAPL, SPY)) as house:
        await learns_its_pace(house)
        await house.gateway.do(actions.Forget(market="AAPL"))
        await house.until_so(lambda: house.state_of(AAPL) == "stale", 60)
        assert house.state_of(SPY) == "live"
        await house.until_so(lambda: house.state_of(AAPL) == "live", 120)
        await has_bars_again(house)


# --- 8: subscriptions were replayed as commands, and a client id was in use after a crash


async def test_a_client_id_that_is_still_in_use_after_a_crash_is_waited_for(home: Path) -> None:
    async with a_house(home, keep=(AAPL, SPY)) as house:
        house.gateway.faults.set(faults.ClientIdInUse(times=6))
        await house.gateway.do(actions.Cut())
        await house.until_so(lambda: "another program uses it" in house.link().status, 20)
        await house.until_so(house.is_ready, 60)
        wanted = (AAPL, SPY)
        await house.until_so(lambda: {house.state_of(e) for e in wanted} == {"live"}, 60)
        streams = [each for s in house.gateway.sessions for each in s.streams.values()]
    assert sorted(each.instrument.symbol for each in streams) == ["AAPL", "SPY"]


# --- 9: every restart placed the orders once more


@pytest.mark.parametrize("daemon", ["emsd", "brokerd", "datad"])
async def test_a_restart_places_no_order_again(home: Path, daemon: str) -> None:
    async with a_house(home) as house:
        await house.opens(an_order(), an_order("o-2"))
        await filled(house, "o-2")
        for _ in range(3):
            await getattr(house, daemon).end()
            await getattr(house, daemon).begin()
            await house.until_so(house.is_ready, 40)
            await house.pass_by(40)
        assert (await house.life("o-1")).state == "open"
        assert await house.held() == 3
    assert house.gateway.show().placed == ("o-1", "o-2")


# --- 10: partial fills counted twice, and positions that were flat were not


@pytest.mark.parametrize("cost", [None, faults.LateCommission(seconds=2), faults.NoCommission()])
async def test_what_is_held_is_what_the_gateway_holds_whatever_was_told_twice(
    home: Path, cost: faults.AnyFault | None
) -> None:
    async with a_house(home) as house:
        house.gateway.faults.set(*filter(None, [faults.Repeat(), cost]))
        await house.opens(
            an_order(size=Decimal(5)),
            an_order("o-2", size=Decimal(5), side="sell", limit=Decimal(200)),
        )
        for oid, size in (("o-1", 2), ("o-2", 1), ("o-1", 3), ("o-2", 4)):
            await house.gateway.do(actions.Fill(order=oid, size=Decimal(size)))
            await house.brokerd.end()
            await house.brokerd.begin()
            await house.until_so(house.is_ready, 40)
            await house.pass_by(10)
            assert await house.held() == house.gateway.show().positions.get("AAPL", 0)
        assert await house.held() == 0
        assert {(await house.life(oid)).state for oid in ("o-1", "o-2")} == {"filled"}
        assert (await house.account())[0] == "ready"


# --- 11: working orders of the session before could not be managed


async def test_an_order_of_the_session_before_can_be_amended_and_cancelled(home: Path) -> None:
    async with a_house(home) as house:
        await house.opens(an_order(), an_order("o-2"))
        for daemon in (house.brokerd, house.emsd):
            await daemon.end()
            await daemon.begin()
        await house.meanwhile(house.ready("ib.main"))
        await house.ask(Amend(oid="o-2", limit=FAR + 1), OrderReply)
        await house.until_so(lambda: house.gateway.order("o-2").ticket.limit == FAR + 1, 5)
        await cancelled(house)
        await cancelled(house, "o-2")
    assert at_the_gateway(house) == [("o-1", "Cancelled"), ("o-2", "Cancelled")]


# --- 12: an amendment in an outage made two orders of one


async def test_an_amendment_in_an_outage_that_made_two_orders_is_seen_and_both_are_cancelled(
    home: Path,
) -> None:
    async with a_house(home) as house:
        await house.opens(an_order())
        house.gateway.faults.set(faults.Drop(request="PlaceOrder", times=1))
        await house.ask(Amend(oid="o-1", limit=FAR + 1), OrderReply)
        await house.until_so(lambda: house.gateway.show().placed == ("o-1", "o-1"), 5)
        await stops(house)
        second = actions.PlaceByHand(
            market="AAPL",
            action="BUY",
            size=Decimal(3),
            limit=FAR + 1,
            client_id=1,
            order_id=50,
            ref="o-1",
        )
        await house.gateway.do(second)
        await house.gateway.do(actions.Start())
        await house.until_so(house.is_ready, BACK_S)
        assert len((await house.life("o-1")).live) == 2
        await cancelled(house)
    assert at_the_gateway(house) == [("o-1", "Cancelled"), ("o-1", "Cancelled")]


# --- 13: callbacks came in another order, or not at all


@pytest.mark.parametrize("said", [faults.Reorder(), faults.Repeat()])
async def test_executions_before_the_order_and_words_said_twice_come_to_the_same(
    home: Path, said: faults.AnyFault
) -> None:
    async with a_house(home) as house:
        house.gateway.faults.set(said)
        await house.opens(an_order())
        await filled(house)
        await house.pass_by(5)
        life = await house.life("o-1")
        assert (life.filled, len(life.executions), life.late) == (ALL, 1, 0)


async def test_an_order_whose_status_never_comes_is_filled_by_its_executions(home: Path) -> None:
    async with a_house(home) as house:
        await house.opens(an_order())
        house.gateway.faults.set(faults.Mute())
        await house.submit(an_order("o-2"))
        await house.until_so(placed(house, "o-2"), 5)
        await house.gateway.do(actions.Fill(order="o-2"))
        house.gateway.faults.clear()
        await house.gateway.do(actions.RepeatExecutions(order="o-2"))
        life = await house.until("o-2", "filled")
        assert (life.filled, await house.held()) == (ALL, ALL)


# --- 14: Inactive was swallowed, and errors came first


@pytest.mark.parametrize("status", ["Inactive", "Cancelled"])
async def test_a_rejection_in_either_guise_ends_its_order_with_the_reason(
    home: Path, status: str
) -> None:
    async with a_house(home) as house:
        await house.opens(an_order())
        no = actions.Kill(order="o-1", reason="no shares to borrow", code=201, status=status)
        await house.gateway.do(no)
        life = await house.meanwhile(house.until("o-1", "rejected", "cancelled"))
    assert "no shares to borrow" in life.reason


async def test_an_order_that_waits_for_shares_to_borrow_is_open(home: Path) -> None:
    async with a_house(home) as house:
        await house.opens(an_order(side="sell", limit=Decimal(200)))
        number = house.gateway.order("o-1").order_id
        held = "Order Message:\nSELL 3 AAPL\nOrder held while securities are located."
        await house.gateway.do(actions.Notice(code=404, text=held, req_id=number))
        await house.pass_by(40)
        assert (await house.life("o-1")).state == "open"
        await filled(house)


# --- 15: orders were reported cancelled, and all of them were filled


async def test_orders_that_are_told_to_be_cancelled_and_are_filled_are_filled(home: Path) -> None:
    oids = [f"o-{number}" for number in range(15)]
    async with a_house(home) as house:
        await house.opens(*map(an_order, oids))
        for oid in oids:
            number = house.gateway.order(oid).order_id
            for code, text in ((10349, faults.PRESET_TIF), (202, "Order Canceled - reason:")):
                await house.gateway.do(actions.Notice(code=code, text=text, req_id=number))
            await house.until(oid, "cancelled")
        for oid in oids:
            await house.gateway.do(actions.Fill(order=oid))
            life = await house.until(oid, "filled")
            assert (life.filled, life.late) == (ALL, 1)
        assert await house.held() == 45
    assert house.gateway.show().placed == tuple(oids)


async def test_a_time_in_force_is_always_said(home: Path) -> None:
    async with a_house(home) as house:
        await house.opens(*(an_order(f"o-{tif}", tif=tif) for tif in ("day", "gtc")))
    assert [each.tif for each in house.gateway.book.state.orders] == ["DAY", "GTC"]


# --- 16: corrections were counted as further executions


async def test_a_corrected_execution_is_counted_once_at_its_new_price(home: Path) -> None:
    async with a_house(home) as house:
        await house.opens(an_order())
        await filled(house)
        await house.gateway.do(actions.Correct(order="o-1", price=Decimal(170)))
        await house.brokerd.end()
        await house.brokerd.begin()
        await house.until_so(house.is_ready, 40)
        await house.pass_by(5)
        life = await house.life("o-1")
        assert (life.filled, life.average_price, await house.held()) == (ALL, Decimal(170), ALL)


# --- 17: error 103, duplicate order id


async def test_an_id_that_another_program_used_refuses_one_order_by_name(home: Path) -> None:
    async with a_house(home) as house:
        await house.opens(an_order())
        refuse = faults.Refuse(request="PlaceOrder", code=103, text="Duplicate order id", times=1)
        house.gateway.faults.set(refuse)
        await house.submit(an_order("o-2"))
        refused = await house.until("o-2", "rejected")
        await house.opens(*(an_order(f"p-{number}") for number in range(5)))
    assert "Duplicate order id (103)" in refused.reason
    ids = [each.order_id for each in house.gateway.book.state.orders]
    assert all(first < second for first, second in pairwise(ids))


# --- 18: nothing was taken for success: an error, a timeout and an empty answer were the same


@pytest.mark.parametrize(
    "fault",
    [
        faults.Drop(request="ReqPositions", times=1),
        faults.Refuse(request="ReqExecutions", code=322, text="Error processing request.", times=1),
        faults.Drop(request="ReqAllOpenOrders", times=1),
    ],
)
async def test_a_list_that_is_not_answered_or_refused_is_never_taken_for_an_empty_one(
    home: Path, fault: faults.AnyFault
) -> None:
    async with a_house(home) as house:
        await house.opens(an_order(), an_order("o-2"))
        await filled(house)
        house.gateway.faults.set(fault)
        await house.until_so(lambda: not house.is_ready(), 120)
        assert (await house.held(), (await house.life("o-2")).state) == (ALL, "open")
        await house.until_so(house.is_ready, 60)
        assert (await house.held(), (await house.life("o-2")).state) == (ALL, "open")


async def test_subscriptions_that_the_gateway_lost_with_ib_are_asked_for_again(home: Path) -> None:
    async with a_house(home, keep=(AAPL, SPY)) as house:
        await house.gateway.do(actions.Connectivity(code=1100))
        await house.until_so(lambda: house.state_of(AAPL) == "disconnected", 5)
        await house.pass_by(60)
        await house.gateway.do(actions.Connectivity(code=1101))
        both = (AAPL, SPY)
        await house.until_so(lambda: {house.state_of(each) for each in both} == {"live"}, BACK_S)


# --- 19: executions had the time of another zone


@pytest.mark.parametrize("zone", ["UTC", "Asia/Tokyo", "America/New_York"])
async def test_an_execution_has_its_time_whatever_zone_the_gateway_is_set_to(
    home: Path, zone: str
) -> None:
    async with a_house(home, gateway_zone=zone) as house:
        await house.opens(an_order())
        life = await filled(house)
        (execution,) = life.executions
        assert abs(clock.wall_ns() - execution.time_ns) < 2 * 10**9


# --- 20: an order was seen late, without its permId, or was another client's


async def test_an_order_that_is_seen_late_and_without_its_perm_id_is_acked_once_it_has_one(
    home: Path,
) -> None:
    async with a_house(home) as house:
        house.gateway.faults.set(faults.Swallow(times=1))
        await house.submit(an_order())
        await house.until_so(placed(house, "o-1"), 5)
        order = house.gateway.order("o-1")
        perm_id, order.perm_id = order.perm_id, 0
        await house.ask(SyncLedger(account="ib.main"), Done)
        before = (await house.life("o-1")).venue_ids
        order.perm_id = perm_id
        await house.pass_by(40)
        life = await house.life("o-1")
    assert before == ()
    assert (life.state, life.venue_ids) == ("open", (str(perm_id),))


async def test_orders_of_other_clients_are_left_alone_and_their_fills_are_held(home: Path) -> None:
    async with a_house(home) as house:
        for client in (0, 7):
            by_hand = actions.PlaceByHand(
                market="AAPL", action="BUY", size=Decimal(2), limit=FAR, client_id=client, ref="x"
            )
            await house.gateway.do(by_hand)
        await house.opens(an_order())
        await house.gateway.do(actions.Fill(order="x"))
        await house.pass_by(60)
        assert await house.held() == 2
        assert "ready (1 order is open at the venue that did not" in house.daemon.report().status
        await cancelled(house)
        await house.pass_by(60)
    assert sorted(at_the_gateway(house)) == [
        ("o-1", "Cancelled"),
        ("x", "Filled"),
        ("x", "Submitted"),
    ]
