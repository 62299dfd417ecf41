"""A gateway for a daemon's life: there whenever it lets us in."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio

from piker import paths
from piker.brokers.ib.gateway import PAUSES_S, Gateway, address_of
from piker.brokers.ib.messages import AskBars, AskTime, Contract
from piker.brokers.ib.session import GatewayLost
from tests.fakes.gateway import actions, faults
from tests.fakes.gateway.server import Served, a_gateway

AAPL = Contract(symbol="AAPL", sec_type="STK", exchange="SMART", currency="USD")
BARS = AskBars(contract=AAPL, end="", duration="1 D", bar_size="1 min", what="TRADES")


@pytest.fixture
async def served(tmp_path: Path, virtual_time: None) -> AsyncIterator[Served]:
    """A gateway of this test's, at a Unix socket."""
    async with a_gateway(path=str(tmp_path / "gateway.sock")) as served:
        yield served


@asynccontextmanager
async def connected(served: Served, told: list[str] | None = None) -> AsyncIterator[Gateway]:
    """Our side of it. `told` gets what was called."""
    told = [] if told is None else told
    gateway = Gateway(
        served.address,
        101,
        hear=lambda said: None,
        entered=lambda session: told.append("entered"),
        left=lambda problem: told.append(str(problem)),
    )
    async with trio.open_nursery() as nursery:
        nursery.start_soon(gateway.run)
        yield gateway
        nursery.cancel_scope.cancel()


async def test_it_is_there_as_soon_as_it_lets_us_in(served: Served) -> None:
    async with connected(served) as gateway:
        session = await gateway.within(1)
        assert await session.ask(AskTime())


async def test_who_waits_for_one_that_is_away_learns_why(served: Served) -> None:
    await served.do(actions.Stop())
    async with connected(served) as gateway:
        with pytest.raises(GatewayLost, match="no gateway at"):
            await gateway.within(20)


async def test_a_login_that_is_waited_for_is_said(served: Served) -> None:
    served.faults.set(faults.SilentLogin())
    async with connected(served) as gateway:
        with pytest.raises(GatewayLost, match="second factor") as raised:
            await gateway.within(60)
    assert raised.value.waits


async def test_it_comes_back_within_ten_seconds_of_the_gateways_return(served: Served) -> None:
    told: list[str] = []
    async with connected(served, told) as gateway:
        await gateway.within(1)
        await served.do(actions.Stop())
        await trio.sleep(600)
        await served.do(actions.Start())
        session = await gateway.within(10)
        assert await session.ask(AskTime())
    assert told[0] == told[-1] == "entered"
    assert "has closed the connection" in told[1]


async def test_it_is_back_within_ten_seconds_of_a_login_that_was_waited_for(
    served: Served,
) -> None:
    served.faults.set(faults.SilentLogin())
    async with connected(served) as gateway:
        for waited_s in (600, 7, 7, 7):
            await trio.sleep(waited_s)
            served.faults.clear()
            assert await (await gateway.within(10)).ask(AskTime())
            served.faults.set(faults.SilentLogin())
            await served.do(actions.Cut())


async def test_a_session_that_is_lost_already_is_not_given(served: Served) -> None:
    async with connected(served) as gateway:
        served.faults.set(faults.HangUp(request="ReqCurrentTime", times=1))
        with pytest.raises(GatewayLost):
            await (await gateway.within(1)).ask(AskTime())
        assert await (await gateway.within(5)).ask(AskTime())


async def test_it_does_not_try_without_a_pause(served: Served) -> None:
    told: list[str] = []
    served.faults.set(faults.CloseInHandshake())
    async with connected(served, told):
        await trio.sleep(600)
    assert 600 / PAUSES_S[1] <= len(told) <= 600 / PAUSES_S[1] + 10


async def test_the_pace_of_history_outlives_a_connection(served: Served) -> None:
    async with connected(served) as gateway:
        await (await gateway.within(1)).ask(BARS)
        began = trio.current_time()
        await served.do(actions.Cut())
        await trio.sleep(1)
        await (await gateway.within(5)).ask(BARS)
    assert trio.current_time() - began > 10


@pytest.mark.parametrize("configured", ["unix:/run/gateway.sock", "tcp:127.0.0.1:4001"])
def test_an_address_is_taken_as_it_is(configured: str) -> None:
    assert address_of(configured, "ibgw") == configured


def test_a_name_is_that_of_a_units_socket() -> None:
    expected = paths.runtime_directory() / "piker" / "iblane" / "live.sock"
    assert address_of("live", "iblane") == f"unix:{expected}"
