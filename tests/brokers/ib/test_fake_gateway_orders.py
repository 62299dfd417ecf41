"""The fake gateway: the life of orders, in the sequences that were seen of real gateways."""

from decimal import Decimal
from pathlib import Path

import pytest

from piker import clock
from tests.fakes.gateway import Settings, a_gateway
from tests.fakes.gateway.actions import (
    Advance,
    Connectivity,
    Correct,
    Fill,
    Hold,
    Kill,
    Move,
    PlaceByHand,
    RepeatExecutions,
    SetHours,
    Start,
    Stop,
)
from tests.fakes.gateway.bookfile import BookFile
from tests.fakes.gateway.client import a_client
from tests.fakes.gateway.faults import (
    Delay,
    Drop,
    HangUp,
    LateCommission,
    NoCommission,
    Reorder,
    Repeat,
    Swallow,
)
from tests.fakes.gateway.wire import Message

STATUS, OPEN, EXECUTION, COMMISSION = "3", "5", "11", "59"


async def test_a_market_order_is_accepted_filled_and_charged_in_this_order() -> None:
    async with a_gateway() as gateway, a_client(gateway) as client:
        await client.place(1, orderType="MKT", lmtPrice="")
        said = await client.until(COMMISSION)
    assert [each[0] for each in said] == ["5", "3", "11", "5", "3", "5", "3", "59"]
    assert [each[2] for each in said if each[0] == STATUS] == ["PreSubmitted", "Filled", "Filled"]
    assert (said[3][104], said[5][104]) == ("", "1")


async def test_an_order_larger_than_the_lot_is_filled_in_parts() -> None:
    async with a_gateway() as gateway, a_client(gateway) as client:
        await client.place(1, orderType="MKT", lmtPrice="", totalQuantity=250)
        first = await client.until(COMMISSION)
        await gateway.do(Advance(market="AAPL", steps=2))
        rest = await client.until(COMMISSION) + await client.until(COMMISSION)
    assert _status(first) == ["1", "Submitted", "100", "150"]
    assert [each[19] for each in first + rest if each[0] == EXECUTION] == ["100", "100", "50"]
    assert _status(rest) == ["1", "Filled", "250", "0"]


async def test_of_orders_that_ended_it_lists_the_newest_if_that_is_set() -> None:
    async with a_gateway(Settings(ended=1)) as gateway, a_client(gateway) as client:
        for number in (1, 2):
            await client.place(number, orderType="MKT", lmtPrice="", orderRef=f"number {number}")
            await client.until(COMMISSION)
        await client.send(99, 0)
        listed = await client.until("102")
    assert ["number 1" in each for each in listed[:-1]] == [False]


async def test_a_limit_order_rests_until_the_market_crosses_it() -> None:
    async with a_gateway() as gateway, a_client(gateway) as client:
        await client.place(1, lmtPrice="189.5")
        rests = await client.until(STATUS) + await client.until(STATUS)
        await gateway.do(Move(market="AAPL", price=Decimal("189.51")))
        await gateway.do(Move(market="AAPL", price=Decimal("189.49")))
        filled = await client.until(COMMISSION)
    assert [each[2] for each in rests if each[0] == STATUS] == ["PreSubmitted", "Submitted"]
    assert [each[0] for each in filled][:2] == [EXECUTION, OPEN]
    assert filled[0][20] == "189.5"


async def test_a_placement_is_said_again_as_it_was_said() -> None:
    async with a_gateway() as gateway, a_client(gateway) as client:
        await client.place(1, goodTillDate="20270101 10:00:00 UTC", tif="GTD", outsideRth=1)
        said = await client.until(OPEN)
    assert said[-1][36] == "20270101 10:00:00 UTC"
    assert (said[-1][18], said[-1][23], said[-1][26]) == ("GTD", "mine", "1")


async def test_a_modified_order_keeps_its_perm_id_and_has_the_new_price() -> None:
    async with a_gateway() as gateway, a_client(gateway) as client:
        await client.place(1)
        placed = await client.until(STATUS) + await client.until(STATUS)
        await client.place(1, lmtPrice="100.5", totalQuantity=20)
        changed = await client.until(STATUS)
    assert (changed[0][14], changed[0][16]) == ("20", "100.5")
    assert changed[0][25] == placed[0][25]
    assert [changed[0][30][-5:], placed[0][30][-5:]] == ["7/100", "7/100"]
    assert ".1/" in changed[0][30]


async def test_a_cancelled_order_is_cancelled_and_then_says_202() -> None:
    async with a_gateway() as gateway, a_client(gateway) as client:
        await client.place(1)
        await client.until(STATUS)
        await client.until(STATUS)
        await client.send(4, 1, 1, "")
        said = await client.until("error 202")
    assert [each[0] for each in said] == ["3", "4"]
    assert said[0][2] == "Cancelled"


@pytest.mark.parametrize(
    ("values", "code"),
    [
        ({"lmtPrice": "100.001"}, 110),
        ({"account": "DU999"}, 321),
        ({"totalQuantity": 0}, 434),
        ({"totalQuantity": Decimal("0.5"), "symbol": "ES", "secType": "FUT", "exchange": "CME",
          "lastTradeDateOrContractMonth": "FRONT"}, 10243),
        ({"orderType": "TRAIL"}, 387),
        ({"tif": "NEVER"}, 111),
        ({"symbol": "NONE"}, 200),
        ({"symbol": "SAN", "currency": ""}, 200),
        ({"symbol": "SPX", "secType": "IND", "exchange": "CBOE"}, 201),
    ],
)  # fmt: skip
async def test_an_order_is_refused_with_the_code_of_its_fault(
    values: dict[str, object], code: int
) -> None:
    async with a_gateway() as gateway, a_client(gateway) as client:
        front = next(
            e.expiry
            for e in gateway.instruments.values()
            if e.symbol == "ES" and e.expiry > f"{gateway.today:%Y%m%d}"
        )
        said = {name: front if value == "FRONT" else value for name, value in values.items()}
        await client.place(1, **said)
        assert len(await client.until(f"error {code}")) == 1
    assert gateway.book.state.orders == []


async def test_an_order_without_a_tif_is_a_day_order_and_lives() -> None:
    async with a_gateway() as gateway, a_client(gateway) as client:
        await client.place(1, tif="")
        said = await client.until(OPEN)
    assert said[0][3] == "10349"
    assert said[-1][18] == "DAY"


async def test_an_order_in_a_closed_market_waits_for_its_opening() -> None:
    async with a_gateway() as gateway, a_client(gateway) as client:
        await gateway.do(SetHours(market="AAPL", closed=True))
        await client.place(1, orderType="MKT", lmtPrice="")
        said = await client.until("error 399")
        await gateway.do(SetHours(market="AAPL", closed=False))
        opened = await client.until(COMMISSION)
    assert [each[0] for each in said] == ["5", "3", "4"]
    assert opened[0][0] == EXECUTION


async def test_what_is_not_filled_at_once_is_cancelled_if_that_was_said() -> None:
    async with a_gateway() as gateway, a_client(gateway) as client:
        await client.place(1, orderType="MKT", lmtPrice="", totalQuantity=150, tif="IOC")
        said = await client.until("error 202")
    assert _status(said) == ["1", "Cancelled", "100", "50"]


async def test_a_stop_is_triggered_by_a_trade() -> None:
    async with a_gateway() as gateway, a_client(gateway) as client:
        await client.place(1, orderType="STP", lmtPrice="", auxPrice=195)
        await client.until(STATUS)
        await gateway.do(Move(market="AAPL", price=Decimal("194.99")))
        await gateway.do(Move(market="AAPL", price=Decimal("195.00")))
        said = await client.until(EXECUTION)
    assert said[-1][20] == "195.01"


async def test_a_test_fills_an_order_whenever_it_wants() -> None:
    async with a_gateway() as gateway, a_client(gateway) as client:
        await gateway.do(Hold(market="AAPL"))
        await client.place(1, orderType="MKT", lmtPrice="", orderRef="now")
        await client.until(STATUS)
        await client.until(STATUS)
        await gateway.do(Fill(order="now", size=Decimal(4), price=Decimal(188)))
        await gateway.do(Fill(order="1:1"))
        said = await client.until(COMMISSION) + await client.until(COMMISSION)
    assert [(e[19], e[20]) for e in said if e[0] == EXECUTION] == [("4", "188"), ("6", "190")]


async def test_a_fill_may_come_after_the_cancellation() -> None:
    async with a_gateway() as gateway, a_client(gateway) as client:
        await client.place(1)
        await client.until(STATUS)
        await gateway.do(Kill(order="mine"))
        await client.until("error 202")
        await gateway.do(Fill(order="mine", size=Decimal(4)))
        said = await client.until(COMMISSION)
    assert _status(said) == ["1", "Cancelled", "4", "6"]


async def test_the_venue_cancels_with_a_reason() -> None:
    async with a_gateway() as gateway, a_client(gateway) as client:
        await client.place(1)
        await client.until(STATUS)
        await client.until(STATUS)
        await gateway.do(Kill(order="mine", reason="Halted"))
        said = await client.until("error 202")
    assert said[-1][4] == "Order Canceled - reason:Halted"


async def test_the_venue_rejects_an_order_that_it_had_accepted() -> None:
    async with a_gateway() as gateway, a_client(gateway) as client:
        await client.place(1)
        await client.until(STATUS)
        await client.until(STATUS)
        await gateway.do(Kill(order="mine", reason="No margin", code=201, status="Inactive"))
        said = await client.until("error 201")
    assert said[0][2] == "Inactive"
    assert said[-1][4] == "Order rejected - reason:No margin"


async def test_a_correction_replaces_an_execution_and_moves_the_position() -> None:
    async with a_gateway() as gateway, a_client(gateway) as client:
        await client.place(1, orderType="MKT", lmtPrice="")
        first = (await client.until(COMMISSION))[-1]
        await gateway.do(Correct(order="mine", price=Decimal(180)))
        corrected = await client.until(COMMISSION)
        await client.send(61, 1)
        held = (await client.until(62))[0]
    assert corrected[0][14] == first[2][:-3] + ".02"
    assert held[-2:] == ("10", "180")


async def test_a_fill_that_closes_tells_what_it_gained() -> None:
    async with a_gateway() as gateway, a_client(gateway) as client:
        await client.place(1, orderType="MKT", lmtPrice="")
        opened = (await client.until(COMMISSION))[-1]
        await gateway.do(Move(market="AAPL", price=Decimal(191)))
        await client.place(2, orderType="MKT", lmtPrice="", action="SELL")
        closed = (await client.until(COMMISSION))[-1]
    assert opened[5] == "1.7976931348623157E308"
    assert closed[5] == "9.8"


async def test_orders_of_others_are_seen_but_not_told() -> None:
    async with a_gateway() as gateway, a_client(gateway, 1) as client:
        await gateway.do(
            PlaceByHand(market="AAPL", action="BUY", size=Decimal(1), limit=Decimal(9))
        )
        await client.send(5, 1)
        own = await client.until(53)
        await client.send(16, 1)
        everybodys = await client.until(53)
    assert len(own) == 1
    assert everybodys[0][24] == "0"


async def test_a_restart_keeps_orders_executions_and_ids(tmp_path: Path) -> None:
    state = Settings(state=str(tmp_path / "book.json"))
    async with a_gateway(state) as gateway, a_client(gateway) as client:
        await client.place(1, orderType="MKT", lmtPrice="")
        await client.until(COMMISSION)
        await client.place(2)
        await client.until(STATUS)
    async with a_gateway(state) as gateway, a_client(gateway, None) as client:
        ready = await client.log_in(1)
        await client.send(5, 1)
        still_open = await client.until(53)
        await client.send(7, 3, 9, 0, "", "", "", "", "", "")
        done = await client.until(55)
    assert ready[1] == ("9", "1", "3")
    assert [each[0] for each in still_open] == [OPEN, STATUS, "53"]
    assert [each[0] for each in done] == [EXECUTION, COMMISSION, "55"]


@pytest.mark.parametrize(("days_told", "told"), [(1, ["55"]), (2, [EXECUTION, COMMISSION, "55"])])
async def test_executions_of_the_day_before_are_told_if_that_is_chosen(
    days_told: int, told: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    async with a_gateway(Settings(days_told=days_told)) as gateway, a_client(gateway) as client:
        await client.place(1, orderType="MKT", lmtPrice="")
        await client.until(COMMISSION)
        later_ns = clock.wall_ns() + 24 * 3600 * 10**9
        monkeypatch.setattr(clock, "wall_ns", lambda: later_ns)
        await client.send(7, 3, 9, 0, "", "", "", "", "", "")
        assert [each[0] for each in await client.until(55)] == told


async def test_its_file_has_the_whole_book_after_every_event(tmp_path: Path) -> None:
    path = str(tmp_path / "book")
    async with a_gateway(Settings(state=path)) as gateway, a_client(gateway) as client:
        await client.place(1, orderType="MKT", lmtPrice="", totalQuantity=250)
        await client.place(2, orderRef="other")
        await client.until(COMMISSION)
        gateway.faults.set(Swallow(times=1))
        await client.place(3, orderRef="swallowed")
        await gateway.do(Advance(market="AAPL", steps=1))
        await gateway.do(Correct(order="mine", price=Decimal(189)))
        await client.send(4, 1, 2, "")
        await client.until("error 202")
        book = gateway.book.state
    assert [each.ticket.ref for each in book.orders] == ["mine", "other", "swallowed"]
    assert BookFile(path).read() == book


async def test_ids_can_be_rolled_back_while_the_book_stays() -> None:
    async with a_gateway() as gateway:
        async with a_client(gateway) as client:
            await client.place(1)
            await client.until(STATUS)
            await gateway.do(Stop(roll_back_ids=True))
            await gateway.do(Start())
        async with a_client(gateway, None) as client:
            ready = await client.log_in(1)
            await client.place(2)
            await client.until(OPEN)
    assert ready[1] == ("9", "1", "1")
    orders = gateway.book.open_orders
    assert [each.order_id for each in orders] == [1, 2]
    assert orders[0].perm_id != orders[1].perm_id


async def test_a_lost_placement_is_nowhere_and_a_swallowed_one_lives_untold() -> None:
    async with a_gateway() as gateway, a_client(gateway) as client:
        gateway.faults.set(Drop(request="PlaceOrder", times=1), Swallow(times=1))
        await client.place(1)
        await client.place(2)
        await client.send(5, 1)
        said = await client.until(53)
    assert [each[1] for each in said if each[0] == OPEN] == ["2"]
    assert len(said) == 3


@pytest.mark.parametrize(("done", "orders"), [(False, 0), (True, 1)])
async def test_a_connection_can_end_with_a_placement_that_was_done_or_not(
    done: bool, orders: int
) -> None:
    async with a_gateway() as gateway, a_client(gateway) as client:
        gateway.faults.set(HangUp(request="PlaceOrder", done=done, times=1))
        await client.place(1)
        assert await client.read() == ()
        assert len(gateway.show().orders) == orders
        assert gateway.show().placed == ("mine",)


@pytest.mark.usefixtures("virtual_time")
async def test_answers_can_come_late_while_others_pass() -> None:
    async with a_gateway() as gateway, a_client(gateway) as client:
        gateway.faults.set(Delay(request="ReqPositions", seconds=30, times=1))
        await client.send(61, 1)
        await client.send(49, 1)
        first, second = await client.read(), await client.read()
    assert [first[0], second[0]] == ["49", "62"]


async def test_callbacks_can_come_twice_and_in_another_order() -> None:
    async with a_gateway() as gateway, a_client(gateway) as client:
        gateway.faults.set(Repeat(times=1))
        await client.place(1)
        twice = await client.until(STATUS)
        await client.until(STATUS)
        await client.until(STATUS)
        gateway.faults.set(Reorder())
        await client.place(2)
        turned = await client.until(OPEN)
        await client.until(OPEN)
        await gateway.do(Fill(order="1:2"))
        filled = await client.until(EXECUTION)
    assert [each[0] for each in twice] == [OPEN, OPEN, STATUS]
    assert [each[0] for each in turned] == [STATUS, OPEN]
    assert [each[0] for each in filled] == ["59", "3", "5", "3", "5", "11"]


@pytest.mark.usefixtures("virtual_time")
async def test_a_commission_can_come_late_or_never() -> None:
    async with a_gateway() as gateway, a_client(gateway) as client:
        gateway.faults.set(NoCommission(times=1), LateCommission(seconds=30, times=1))
        await client.place(1, orderType="MKT", lmtPrice="")
        await client.place(2, orderType="MKT", lmtPrice="")
        said = await client.until(COMMISSION)
    executions = [each[14] for each in said if each[0] == EXECUTION]
    assert len(executions) == 2
    assert said[-1][2] == executions[1]


async def test_executions_can_be_repeated() -> None:
    async with a_gateway() as gateway, a_client(gateway) as client:
        await client.place(1, orderType="MKT", lmtPrice="")
        once = [e for e in await client.until(COMMISSION) if e[0] == EXECUTION]
        await gateway.do(RepeatExecutions(order="mine"))
        again = await client.until(COMMISSION)
    assert again[0] == once[0]


@pytest.mark.usefixtures("virtual_time")
async def test_orders_that_come_while_servers_are_lost_are_placed_when_they_are_back() -> None:
    async with a_gateway() as gateway, a_client(gateway) as client:
        await gateway.do(Connectivity(code=1100))
        await client.until("error 1100")
        await client.place(1)
        await client.until("error 1100")
        assert gateway.book.open_orders == []
        await gateway.do(Connectivity(code=1102))
        said = await client.until(OPEN)
    assert "1102" in {each[3] for each in said if each[0] == "4"}


def _status(said: list[Message]) -> list[str]:
    """Id, status, filled and remaining of the last orderStatus."""
    return list([each for each in said if each[0] == STATUS][-1][1:5])
