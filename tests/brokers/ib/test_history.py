"""The past at Interactive Brokers, by a gateway of the test's; each answer for what it is."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio

from piker import clock
from piker.brokers import (
    HistoryThrottled,
    HistoryUnanswered,
    HistoryUnavailable,
    VenueLost,
)
from piker.brokers.ib import Settings
from piker.brokers.ib.feed import get_mkt_info, open_venue
from piker.brokers.ib.history import ANSWER_S, PACED_S, History, open_history_client
from piker.brokers.ib.pastbars import FRAMES
from tests.fakes import gateway as fake
from tests.fakes.gateway import actions, faults, past
from tests.fakes.gateway.server import Served, a_gateway

pytestmark = pytest.mark.usefixtures("virtual_time")

AAPL, EURUSD, BTC = "aapl.nasdaq.ib", "eurusd.idealpro.ib", "btcusd.paxos.ib"
NS = 10**9
HOUR = 3600 * NS
HMDS = "Historical Market Data Service error message:"
BARS = "ReqHistoricalData"


@pytest.fixture
async def gateway(home: Path) -> AsyncIterator[Served]:
    """A gateway of this test's, whose markets are always open."""
    async with serving(home) as served:
        yield served


@asynccontextmanager
async def serving(home: Path, **more: Any) -> AsyncIterator[Served]:
    """A gateway with other settings, that no rule is broken at."""
    settings = fake.Settings(data_clients=frozenset({100}), **more)
    async with a_gateway(settings, path=str(home / "gateway.sock")) as served:
        yield served
        assert served.breaches == []


@asynccontextmanager
async def the_past(gateway: Served, name: str = AAPL) -> AsyncIterator[History]:
    """Of a market at this gateway."""
    async with open_venue(Settings(data=gateway.address)) as venue:
        market = await get_mkt_info(venue, name)
        async with open_history_client(venue, market) as client:
            yield client


def now_ns() -> int:
    """The last whole minute."""
    wall_ns = clock.wall_ns()
    return wall_ns - wall_ns % (60 * NS)


def asked(gateway: Served, name: str = BARS) -> int:
    """How often it was."""
    return gateway.show().heard.get(name, 0)


@pytest.mark.parametrize(("name", "derived"), [(AAPL, False), (EURUSD, True), (BTC, False)])
@pytest.mark.parametrize("period_s", [1, 60])
async def test_a_frame_has_every_bar_of_its_stretch(
    gateway: Served, name: str, derived: bool, period_s: int
) -> None:
    end = now_ns()
    begin = end - FRAMES[period_s]
    async with the_past(gateway, name) as client:
        frame = await client.frame(period_s, begin, end)
    assert (frame.from_ns, frame.to_ns) == (begin, end)
    assert [bar.time_ns for bar in frame.bars] == [*range(begin, end, period_s * NS)]
    assert {bar.derived for bar in frame.bars} == {derived}
    assert all((bar.volume > 0) is not derived for bar in frame.bars)


async def test_a_time_when_nobody_traded_is_a_frame_without_bars(home: Path) -> None:
    async with serving(home, always_open=False) as gateway, the_past(gateway) as client:
        frame = await client.frame(60, now_ns() - HOUR - HOUR, now_ns() - HOUR)
        closed = await client.frame(60, now_ns() - 5 * HOUR, now_ns() - 4 * HOUR)
        again = await client.frame(1, now_ns() - 5 * HOUR, now_ns() - 5 * HOUR + FRAMES[1])
        assert asked(gateway, "ReqHeadTimeStamp") == 1
    assert [closed.bars, again.bars] == [(), ()]
    assert (closed.from_ns, closed.to_ns) == (now_ns() - 5 * HOUR, now_ns() - 4 * HOUR)
    assert frame.bars == ()


async def test_before_its_first_data_there_is_nothing_to_be_had(gateway: Served) -> None:
    first = int(past.HEAD.timestamp()) * NS
    async with the_past(gateway) as client:
        with pytest.raises(HistoryUnavailable, match="no data of before") as no:
            await client.frame(60, first - HOUR, first)
        assert no.value.first_ns == first
        across = await client.frame(60, first - HOUR, first + HOUR)
    assert len(across.bars) == 60


async def test_bars_of_seconds_are_not_kept_for_long(gateway: Served) -> None:
    gateway.faults.set(no_data())
    async with the_past(gateway) as client:
        with pytest.raises(HistoryUnavailable, match="six months") as no:
            await client.frame(1, now_ns() - 300 * 24 * HOUR, now_ns() - 300 * 24 * HOUR + 60 * NS)
        assert no.value.first_ns is not None
        today_ns = clock.wall_ns() // (24 * HOUR) * 24 * HOUR
        assert no.value.first_ns == today_ns - 183 * 24 * HOUR
    assert asked(gateway, "ReqHeadTimeStamp") == 0


def no_data() -> faults.Refuse:
    return faults.Refuse(request=BARS, code=162, text=f"{HMDS}HMDS query returned no data: X")


async def test_where_the_first_data_is_not_known_no_data_means_that_nobody_traded(
    gateway: Served,
) -> None:
    head = faults.Refuse(request="ReqHeadTimeStamp", code=162, text=f"{HMDS}No head time stamp")
    gateway.faults.set(no_data(), head)
    async with the_past(gateway) as client:
        assert (await client.frame(60, now_ns() - HOUR, now_ns())).bars == ()


@pytest.mark.parametrize(
    ("code", "text", "error"),
    [
        (162, f"{HMDS}No market data permissions for NYSE STK", HistoryUnavailable),
        (162, f"{HMDS}Historical data request pacing violation", HistoryThrottled),
        (162, f"{HMDS}API historical data query cancelled: 7", HistoryUnanswered),
        (162, f"{HMDS}Trading TWS session is connected from a different IP", HistoryUnanswered),
        (162, f"{HMDS}something new", HistoryUnanswered),
        (200, "No security definition has been found for the request", HistoryUnavailable),
        (321, "Error validating request.-'bP' : cause - no such thing", HistoryUnavailable),
        (354, "Requested market data is not subscribed.", HistoryUnavailable),
        (366, "No historical data query found for ticker id:7", HistoryUnanswered),
        (10197, "No market data during competing live session", HistoryUnanswered),
    ],
)
async def test_each_way_to_say_no_is_told_apart_and_the_next_answer_is_a_frame(
    gateway: Served, code: int, text: str, error: type[Exception]
) -> None:
    gateway.faults.set(faults.Refuse(request=BARS, code=code, text=text, times=1))
    async with the_past(gateway) as client:
        with pytest.raises(error, match=f"{code}"):
            await client.frame(60, now_ns() - HOUR, now_ns())
        assert len((await client.frame(60, now_ns() - 2 * HOUR, now_ns() - HOUR)).bars) == 60


async def test_who_was_too_fast_is_told_when_to_ask_again(gateway: Served) -> None:
    gateway.faults.set(faults.Refuse(request=BARS, code=162, text=faults.PACING))
    async with the_past(gateway) as client:
        with pytest.raises(HistoryThrottled) as no:
            await client.frame(60, now_ns() - HOUR, now_ns())
    assert no.value.pause_s == PACED_S


async def test_advice_is_no_answer(gateway: Served) -> None:
    gateway.faults.set(
        faults.Advise(request=BARS, code=2106, text="HMDS data farm connection is OK")
    )
    async with the_past(gateway) as client:
        assert len((await client.frame(60, now_ns() - HOUR, now_ns())).bars) == 60


async def test_what_is_not_answered_in_time_is_cancelled_and_skews_nothing_later(
    gateway: Served,
) -> None:
    late = faults.Delay(request=BARS, seconds=ANSWER_S + 5, times=1)
    async with the_past(gateway) as client:
        gateway.faults.set(late)
        with pytest.raises(HistoryUnanswered, match="no answer within 60 s, asked for bars"):
            await client.frame(60, now_ns() - HOUR, now_ns())
        begin = now_ns() - 3 * HOUR
        frame = await client.frame(60, begin, begin + HOUR)
        await trio.sleep(10)
        assert (await client.frame(60, begin, begin + HOUR)) == frame
    assert frame.bars[0].time_ns == begin
    assert asked(gateway, "CancelHistoricalData") == 1


async def test_a_farm_that_is_down_does_not_answer(gateway: Served) -> None:
    await gateway.do(actions.Farm(name="ushmds", code=2105))
    async with the_past(gateway) as client:
        with pytest.raises(HistoryUnanswered):
            await client.frame(60, now_ns() - HOUR, now_ns())
        await gateway.do(actions.Farm(name="ushmds", code=2106))
        assert len((await client.frame(60, now_ns() - HOUR, now_ns())).bars) == 60


async def test_who_leaves_has_the_request_cancelled(gateway: Served) -> None:
    gateway.faults.set(faults.Drop(request=BARS, times=1))
    async with the_past(gateway) as client:
        with trio.move_on_after(5) as left:
            await client.frame(60, now_ns() - HOUR, now_ns())
        assert left.cancelled_caught
        assert len((await client.frame(60, now_ns() - 2 * HOUR, now_ns() - HOUR)).bars) == 60
    assert asked(gateway, "CancelHistoricalData") == 1


async def test_a_gateway_that_is_lost_is_no_answer_of_its(gateway: Served) -> None:
    gateway.faults.set(faults.HangUp(request=BARS, times=1))
    async with the_past(gateway) as client:
        with pytest.raises(VenueLost):
            await client.frame(60, now_ns() - HOUR, now_ns())
        assert len((await client.frame(60, now_ns() - HOUR, now_ns())).bars) == 60


async def test_more_frames_than_ten_minutes_have_room_for_wait_for_their_turn(
    gateway: Served,
) -> None:
    minutes = [now_ns() - each * 60 * NS for each in range(61)]
    async with the_past(gateway) as client:
        frames = [await client.frame(1, end - 60 * NS, end) for end in minutes]
    assert [len(frame.bars) for frame in frames] == [60] * 61
    heard = [each.time_s for each in gateway.heard if type(each.request).__name__ == BARS]
    assert heard[60] - heard[0] >= 599
