"""Search at Interactive Brokers: the gateway's answer at its pace, and what was seen before."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio

from piker.brokers import Find, VenueLost
from piker.brokers.ib import Settings
from piker.brokers.ib.feed import Venue, get_mkt_info, open_venue
from piker.brokers.ib.search import open_symbol_search
from piker.interfaces.data import Match
from tests.fakes.gateway import actions, faults
from tests.fakes.gateway.server import Served, a_gateway

pytestmark = pytest.mark.usefixtures("virtual_time")

APPLE = Match(fqme="aapl.nasdaq.ib", description="APPLE INC")


@pytest.fixture
async def gateway(home: Path) -> AsyncIterator[Served]:
    """A gateway of this test's, at a Unix socket."""
    async with a_gateway(path=str(home / "gateway.sock")) as served:
        yield served


@asynccontextmanager
async def searching(gateway: Served) -> AsyncIterator[tuple[Find, Venue]]:
    """A search at this gateway."""
    async with (
        open_venue(Settings(data=gateway.address)) as venue,
        open_symbol_search(venue) as find,
    ):
        yield find, venue


def asked(gateway: Served) -> list[float]:
    """When the gateway was asked for symbols."""
    name = "ReqMatchingSymbols"
    return [each.time_s for each in gateway.heard if type(each.request).__name__ == name]


def names(found: tuple[Match, ...]) -> list[str]:
    """The fqmes, in order."""
    return [match.fqme for match in found]


@pytest.mark.parametrize("pattern", ["aapl", "AAPL", " aapl.nasdaq.ib ", "apple", "aapl.nas"])
async def test_a_market_is_found_by_its_symbol_its_name_and_its_companys(
    gateway: Served, pattern: str
) -> None:
    async with searching(gateway) as (find, _):
        assert await find(pattern, 5) == (APPLE,)


async def test_the_best_comes_first_and_not_more_than_were_asked_for(gateway: Served) -> None:
    async with searching(gateway) as (find, _):
        assert names(await find("san", 10)) == ["san.nyse.ib", "san.bm.ib", "san.lse.ib"]
        assert len(await find("san", 2)) == 2


@pytest.mark.parametrize(
    ("pattern", "fqme"),
    [("eur", "eurusd.idealpro.ib"), ("btc", "btcusd.paxos.ib"), ("spx", "spx.cboe.ib")],
)
async def test_other_kinds_are_found_too(gateway: Served, pattern: str, fqme: str) -> None:
    async with searching(gateway) as (find, _):
        assert fqme in names(await find(pattern, 10))


async def test_the_gateway_is_asked_once_a_second_and_once_a_day_for_the_same(
    gateway: Served,
) -> None:
    async with searching(gateway) as (find, _):
        for pattern in ("a", "aa", "aap", "AA", "aap.nasdaq"):
            await find(pattern, 5)
        first, second, third = asked(gateway)
        await trio.sleep(86_400)
        await find("a", 5)
        assert len(asked(gateway)) == 4
    assert second - first >= 0.99
    assert third - second >= 0.99


async def test_what_was_watched_is_found_without_being_searched_for(gateway: Served) -> None:
    async with searching(gateway) as (find, venue):
        await get_mkt_info(venue, "es.cme.20270319")
        assert names(await find("es.cme", 5)) == ["es.cme.20270319.ib"]


async def test_without_a_pattern_what_is_known_is_listed(gateway: Served) -> None:
    async with searching(gateway) as (find, _):
        assert await find("", 5) == ()
        await find("aapl", 5)
        assert await find("", 5) == (APPLE,)
    assert len(asked(gateway)) == 1


async def test_without_a_gateway_what_is_known_is_found(gateway: Served) -> None:
    async with searching(gateway) as (find, _):
        await find("aapl", 5)
        await gateway.do(actions.Stop())
        assert await find("app", 5) == (APPLE,)


async def test_without_a_gateway_what_is_not_known_may_still_be_there(gateway: Served) -> None:
    async with searching(gateway) as (find, _):
        await gateway.do(actions.Stop())
        with pytest.raises(VenueLost, match="no gateway at unix:"):
            await find("zzzz", 5)


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        (faults.Drop(request="ReqMatchingSymbols"), "no answer within 8 s"),
        (faults.Refuse(request="ReqMatchingSymbols", code=322, text="Busy."), r"Busy. \(322\)"),
    ],
)
async def test_without_an_answer_what_is_not_known_may_still_be_there(
    gateway: Served, fault: faults.AnyFault, reason: str
) -> None:
    async with searching(gateway) as (find, _):
        gateway.faults.set(fault)
        with pytest.raises(VenueLost, match=reason):
            await find("zzzz", 5)
        gateway.faults.clear()
        assert await find("zzzz", 5) == ()


@pytest.mark.parametrize(
    "fault",
    [
        faults.Drop(request="ReqMatchingSymbols"),
        faults.Refuse(request="ReqMatchingSymbols", code=322, text="Busy."),
        faults.Mute(),
    ],
)
async def test_a_gateway_that_does_not_answer_is_not_waited_for_as_long_as_datad_would(
    gateway: Served, fault: faults.AnyFault
) -> None:
    async with searching(gateway) as (find, _):
        await find("aapl", 5)
        gateway.faults.set(fault)
        began = trio.current_time()
        assert await find("app", 5) == (APPLE,)
        assert trio.current_time() - began < 10
        gateway.faults.clear()
        assert names(await find("spy", 5)) == ["spy.arca.ib"]


@pytest.mark.parametrize(
    "pattern", ["m\N{LATIN SMALL LETTER U WITH DIAERESIS}nch", "a\0b", "...", "~"]
)
async def test_what_cannot_be_asked_finds_nothing(gateway: Served, pattern: str) -> None:
    async with searching(gateway) as (find, _):
        assert await find(pattern, 5) == ()
