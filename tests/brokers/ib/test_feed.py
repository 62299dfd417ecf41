"""Market data of Interactive Brokers: what the feed says, whatever the gateway does.

The gateway is in this process, and time jumps to the next that anybody waits for.
"""

import logging
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import trio
from msgspec import structs
from trio.testing import wait_all_tasks_blocked

from piker import clock
from piker.brokers import (
    Ailing,
    Away,
    Batch,
    Dropped,
    FeedEvent,
    Missed,
    Subscribed,
    VenueLost,
    Wanted,
)
from piker.brokers.ib import Settings
from piker.brokers.ib.feed import Venue, get_mkt_info, open_venue, stream_quotes
from piker.core.marketdata import MarketData
from piker.errors import Refused, leaf
from piker.interfaces.data import AmbiguousMarket, NoSuchMarket
from piker.interfaces.introspection import InvalidParameter
from piker.interfaces.service import BrokenConfiguration
from piker.markets import Market
from piker.quotes import Quote, Tick
from tests.fakes import gateway as fake
from tests.fakes.gateway import actions, faults, schedule
from tests.fakes.gateway.schedule import Hours
from tests.fakes.gateway.server import Served, a_gateway

pytestmark = pytest.mark.usefixtures("virtual_time")

AAPL, SPY, EURUSD = "aapl.nasdaq.ib", "spy.arca.ib", "eurusd.idealpro.ib"
NS = 10**9
ROOM = 10_000
"""Batches that may wait to be heard."""


@pytest.fixture
async def gateway(home: Path) -> AsyncIterator[Served]:
    """A gateway of this test's, at a Unix socket."""
    async with serving(home) as served:
        yield served


@pytest.fixture
def late(virtual_time: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is two minutes to midnight, UTC, and an hour before New York's stocks close."""
    of_the_morning = clock.wall_ns
    later_ns = (15 * 60 + 58) * 60 * NS
    monkeypatch.setattr(clock, "wall_ns", lambda: of_the_morning() + later_ns)


@asynccontextmanager
async def serving(home: Path, **more: Any) -> AsyncIterator[Served]:
    """A gateway with other settings."""
    settings = fake.Settings(stocks=110, data_clients=frozenset({100}), **more)
    async with a_gateway(settings, path=str(home / "gateway.sock")) as served:
        yield served


@asynccontextmanager
async def a_venue(gateway: Served, **more: Any) -> AsyncIterator[Venue]:
    """A venue at this gateway."""
    async with open_venue(Settings(data=gateway.address, **more)) as venue:
        yield venue


class Hearer:
    """Hears what one session of the feed says, and remembers it."""

    def __init__(self, receive: "trio.MemoryReceiveChannel[Batch]", wanted: Wanted) -> None:
        self.wanted = wanted
        self.lost: list[str] = []
        """Why sessions ended."""
        self.events: list[FeedEvent] = []
        self.batches: list[Batch] = []
        self._receive = receive

    async def until(self, holds: Callable[[], bool], within_s: float = 300.0) -> None:
        """Hear until something holds."""
        with trio.fail_after(within_s):
            while not holds():
                self._hear(await self._receive.receive())

    async def settled(self) -> None:
        """Hear all that there is once nobody has anything to do, without time passing."""
        await wait_all_tasks_blocked()
        while self._waits():
            self._hear(await self._receive.receive())
            await wait_all_tasks_blocked()

    def _waits(self) -> bool:
        statistics = self._receive.statistics()
        return bool(statistics.current_buffer_used or statistics.tasks_waiting_send)

    def _hear(self, batch: Batch) -> None:
        self.batches.append(batch)
        self.events += batch

    def forget(self) -> None:
        """What was heard until now."""
        self.events.clear()
        self.batches.clear()

    def subscribed(self) -> list[str]:
        """Markets, as they were told to be served."""
        return [each.market.fqme for each in self.events if isinstance(each, Subscribed)]

    def dropped(self) -> dict[str, str]:
        """The newest reasons by market."""
        return {each.market: each.reason for each in self.events if isinstance(each, Dropped)}

    def away(self) -> list[Away]:
        """Why the venue could not be had."""
        return [each for each in self.events if isinstance(each, Away)]

    def ticks(self, fqme: str, kind: str = "") -> list[Tick]:
        """What a market showed."""
        quotes = [e for e in self.events if isinstance(e, Quote) and e.market == fqme]
        return [tick for quote in quotes for tick in quote.ticks if kind in ("", tick.kind)]

    def newest(self, fqme: str) -> float | None:
        """The size of the newest tick, if a market's quote came last or but one."""
        quotes = [e for e in self.events[-2:] if isinstance(e, Quote) and e.market == fqme]
        return quotes[-1].ticks[-1].size if quotes and quotes[-1].ticks else None

    def served(self, *fqmes: str) -> Callable[[], bool]:
        """Whether these were told to be served."""
        return lambda: set(fqmes) <= set(self.subscribed())

    def refused(self, *fqmes: str) -> Callable[[], bool]:
        """Whether these were told not to be."""
        return lambda: set(fqmes) <= self.dropped().keys()


@asynccontextmanager
async def hearing(
    venue: Venue, names: Sequence[str] = (), wanted: Wanted | None = None, room: int = ROOM
) -> AsyncIterator[Hearer]:
    """Sessions of the feed, one after another as datad has them, of these markets."""
    send, receive = trio.open_memory_channel[Batch](room)
    wanted = wanted or Wanted()
    if names:
        wanted.set(frozenset([await get_mkt_info(venue, name) for name in names]))
    heard = Hearer(receive, wanted)

    async def hold_sessions() -> None:
        while True:
            try:
                await stream_quotes(venue, heard.wanted, send)
            except* VenueLost as lost:
                heard.lost.append(str(leaf(lost)))
            await send.send([Dropped(market=m.fqme, reason=heard.lost[-1]) for m in wanted.markets])
            await trio.sleep(0.5)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(hold_sessions)
        yield heard
        nursery.cancel_scope.cancel()


@asynccontextmanager
async def watching(
    gateway: Served, *names: str, room: int = ROOM, **more: Any
) -> AsyncIterator[Hearer]:
    """Markets that are watched and served, by a venue with these settings."""
    async with a_venue(gateway, **more) as venue, hearing(venue, names, room=room) as heard:
        await heard.until(heard.served(*names))
        await heard.settled()
        heard.forget()
        yield heard


def asked(gateway: Served, name: str = "ReqMktData") -> int:
    """How often the gateway was asked something."""
    return gateway.show().heard.get(name, 0)


def asked_for(gateway: Served, since: int = 0) -> list[str]:
    """The symbols of the markets that the gateway was asked for, in order."""
    requests = [each.request for each in gateway.heard]
    quotes: list[Any] = [each for each in requests if type(each).__name__ == "ReqMktData"]
    return [gateway._symbol(each) for each in quotes[since:]]


async def until_asked(gateway: Served, times: int, name: str = "ReqMktData") -> None:
    """Wait until the gateway has heard something so often."""
    start = trio.current_time()
    while asked(gateway, name) < times:
        assert trio.current_time() < start + 600, f"expected {times} of {name}"
        await trio.sleep_until(trio.current_time() + 0.5)


def broken(farms: str) -> str:
    """What is said of farms."""
    return f"broken at IB, and so are its markets: farm {farms}"


def move(market: str, price: str) -> actions.Move:
    """A trade."""
    return actions.Move(market=market, price=Decimal(price))


# --- settings


@pytest.mark.parametrize(
    ("settings", "key", "problem"),
    [
        ({"data_client": 99}, "data_client", "expected 100 to 131, was 99"),
        ({"data_client": 1}, "data_client", "expected 100 to 131, was 1"),
        ({"lines": 0}, "lines", "expected 1 to 1000, was 0"),
        ({"lines": 1001}, "lines", "expected 1 to 1000, was 1001"),
        ({"data": "tcp:localhost"}, "data", "was 'tcp:localhost'"),
        ({"data": "../live"}, "data", "was '../live'"),
        ({"data": ""}, "data", "expected a name, tcp:HOST:PORT or unix:/PATH"),
        ({"gateway_zone": "Berlin"}, "gateway_zone", "was 'Berlin'"),
        ({"restart_zone": "../etc"}, "restart_zone", "expected a time zone such as"),
    ],
)
async def test_a_wrong_setting_is_named(settings: Any, key: str, problem: str) -> None:
    with pytest.raises(Refused) as refused:
        async with open_venue(Settings(**settings)):
            pytest.fail("expected a refusal")
    fault = refused.value.fault
    assert isinstance(fault, BrokenConfiguration)
    assert fault.key == f"providers.ib.{key}"
    assert problem in fault.problem


# --- what a name means


@pytest.mark.parametrize(
    ("name", "fqme"),
    [
        ("AAPL", AAPL),
        ("aapl.nasdaq", AAPL),
        ("eur.usd", EURUSD),
        ("xauusd", "xauusd.smart.ib"),
        ("btcusd.paxos.ib", "btcusd.paxos.ib"),
        ("SPX.CBOE.IB", "spx.cboe.ib"),
        ("san.bm", "san.bm.ib"),
        ("es.cme.20270319", "es.cme.20270319.ib"),
        ("spy.smart.20270319.c500", "spy.smart.20270319.c500.ib"),
    ],
)
async def test_a_name_means_a_market(gateway: Served, name: str, fqme: str) -> None:
    async with a_venue(gateway) as venue:
        market = await get_mkt_info(venue, name)
    assert market.fqme == fqme


async def test_a_market_has_the_bands_of_its_exchanges_rule(gateway: Served) -> None:
    async with a_venue(gateway) as venue:
        market = await get_mkt_info(venue, "san.bm")
    assert [str(band.price_tick) for band in market.price_bands] == [
        *("0.0005", "0.001", "0.005", "0.01", "0.05")
    ]


async def test_what_was_asked_today_is_not_asked_again(gateway: Served) -> None:
    async with a_venue(gateway) as venue:
        first = await get_mkt_info(venue, "aapl")
        before = gateway.show().heard
        assert await get_mkt_info(venue, "AAPL.nasdaq.ib") == first
        assert await get_mkt_info(venue, "aapl") == first
        after = gateway.show().heard
    assert after["ReqContractDetails"] - before["ReqContractDetails"] == 1
    assert after["ReqMarketRule"] == 1


@pytest.mark.usefixtures("late")
async def test_the_next_day_it_is_asked_again(gateway: Served) -> None:
    async with a_venue(gateway) as venue:
        first = await get_mkt_info(venue, AAPL)
        await trio.sleep(3600)
        second = await get_mkt_info(venue, AAPL)
    assert asked(gateway, "ReqContractDetails") == 2
    assert first.fqme == second.fqme


async def test_a_future_without_expiry_is_the_month_with_the_most_volume(gateway: Served) -> None:
    async with a_venue(gateway) as venue:
        market = await get_mkt_info(venue, "mnq")
        again = await get_mkt_info(venue, "mnq.cme.ib")
    assert market.fqme == again.fqme == "mnq.cme.20270319.ib"
    assert asked(gateway, "ReqHistoricalData") == 4
    assert "mnq.cme.20270319.ib (" in market.description
    assert "is the front month: it had the most volume in its last daily bar" in market.description


@pytest.mark.usefixtures("late")
async def test_which_month_is_the_front_one_is_asked_every_day(gateway: Served) -> None:
    async with a_venue(gateway) as venue:
        await get_mkt_info(venue, "mnq.cme")
        await trio.sleep(3600)
        await get_mkt_info(venue, "mnq.cme.20270319")
        await get_mkt_info(venue, "mnq.cme")
    assert asked(gateway, "ReqHistoricalData") == 8


async def test_the_front_month_is_not_guessed_without_history(gateway: Served) -> None:
    refuse = faults.Refuse(request="ReqHistoricalData", code=162, text="no permissions")
    gateway.faults.set(refuse)
    async with a_venue(gateway) as venue:
        with pytest.raises(Refused) as refused:
            await get_mkt_info(venue, "mnq.cme")
    assert isinstance(refused.value.fault, AmbiguousMarket)
    assert refused.value.fault.candidates[0] == "mnq.cme.20270319.ib"


async def test_a_month_without_any_bar_had_no_volume(gateway: Served) -> None:
    text = (
        "Historical Market Data Service error message:HMDS query returned no data: MNQ@CME Trades"
    )
    gateway.faults.set(faults.Refuse(request="ReqHistoricalData", code=162, text=text))
    async with a_venue(gateway) as venue:
        market = await get_mkt_info(venue, "mnq.cme")
    assert "is the nearest month; none had any volume" in market.description


@pytest.mark.parametrize(
    ("name", "fault", "says"),
    [
        ("nosuch", NoSuchMarket, "nosuch"),
        ("n\N{LATIN SMALL LETTER O WITH DIAERESIS}", InvalidParameter, "expected SYMBOL.VENUE"),
        ("~c3~b6l", NoSuchMarket, "~c3~b6l"),
        ("san", AmbiguousMarket, "san.nyse.ib, san.bm.ib"),
        ("es.cme.20270320", NoSuchMarket, "es.cme.20270319.ib"),
        ("es.cme.20200320", InvalidParameter, "was es.cme.20200320"),
        ("spy.smart.20270319.c777", NoSuchMarket, "spy.smart.20270319.c510.ib"),
    ],
)
async def test_a_name_that_means_nothing_or_much_is_refused(
    gateway: Served, name: str, fault: type, says: str
) -> None:
    async with a_venue(gateway) as venue:
        with pytest.raises(Refused) as refused:
            await get_mkt_info(venue, name)
    assert isinstance(refused.value.fault, fault)
    assert all(part in str(refused.value) for part in says.split(", "))


async def test_without_a_gateway_nothing_can_be_asked(home: Path) -> None:
    async with open_venue(Settings(data=f"unix:{home}/nobody.sock")) as venue:
        with pytest.raises(VenueLost, match="no gateway at unix:"):
            await get_mkt_info(venue, AAPL)


async def test_what_is_known_of_today_needs_no_gateway(gateway: Served) -> None:
    async with a_venue(gateway) as venue:
        market = await get_mkt_info(venue, AAPL)
        await gateway.do(actions.Stop())
        assert await get_mkt_info(venue, AAPL) == market


@pytest.mark.parametrize("request_", ["ReqContractDetails", "ReqMarketRule"])
async def test_a_gateway_that_does_not_answer_is_named(gateway: Served, request_: str) -> None:
    gateway.faults.set(faults.Drop(request=request_))
    async with a_venue(gateway) as venue:
        with pytest.raises(VenueLost, match="no answer within 30 s"):
            await get_mkt_info(venue, AAPL)


# --- quotes


async def test_price_bands_that_the_gateway_does_not_give_are_not_guessed(gateway: Served) -> None:
    no = faults.Refuse(request="ReqMarketRule", code=322, text="Error processing.", times=1)
    gateway.faults.set(no)
    async with a_venue(gateway) as venue:
        with pytest.raises(VenueLost, match=r"Error processing\. \(322\)"):
            await get_mkt_info(venue, "asml.aeb")
        assert (await get_mkt_info(venue, "asml.aeb")).price_bands


async def test_trades_and_both_sides_come_with_sizes_and_the_venues_time(gateway: Served) -> None:
    async with watching(gateway, AAPL) as heard:
        before_ns = clock.wall_ns()
        await gateway.do(move("AAPL", "191.00"))
        await heard.settled()
    found = [(tick.kind, tick.price, tick.size) for tick in heard.ticks(AAPL)]
    assert found == [("bid", 190.99, 100), ("ask", 191.01, 100), ("trade", 191.0, 1)]
    assert heard.ticks(AAPL, "trade")[0].time_ns == before_ns // 10**6 * 10**6


async def test_a_market_is_subscribed_before_its_first_quote(gateway: Served) -> None:
    async with a_venue(gateway) as venue, hearing(venue, [AAPL]) as heard:
        await heard.until(lambda: bool(heard.ticks(AAPL)))
    assert isinstance(heard.events[0], Subscribed)


async def test_a_repeat_is_a_sign_of_life(gateway: Served) -> None:
    async with watching(gateway, EURUSD) as heard:
        await gateway.do(move("EUR.USD", "1.10000"))
        await heard.settled()
    assert heard.events
    assert not heard.ticks(EURUSD)


async def test_what_comes_together_is_one_batch_with_a_quote_a_market(gateway: Served) -> None:
    async with watching(gateway, AAPL, SPY) as heard:
        await gateway.do(actions.Flood(markets=("AAPL", "SPY"), trades=100))
        await heard.settled()
    assert [len(batch) for batch in heard.batches] == [2]
    assert [tick.size for tick in heard.ticks(SPY)] == list(range(1, 101))


async def test_a_hundred_thousand_trades_are_all_told_and_leave_nothing_behind(
    gateway: Served,
) -> None:
    async with a_venue(gateway) as venue, hearing(venue, [AAPL, SPY]) as heard:
        await heard.until(heard.served(AAPL, SPY))
        heard.forget()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(gateway.do, actions.Flood(markets=("AAPL", "SPY"), trades=50_000))
            await heard.until(lambda: heard.newest(SPY) == 50_000)
        assert [tick.size for tick in heard.ticks(AAPL)] == list(range(1, 50_001))
        assert {each.ticker.waiting for each in venue.followed.values()} == {0}
        assert len(venue.followed) == 2


async def test_who_takes_nothing_for_long_loses_the_session(
    gateway: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("piker.brokers.ib.feed.WAITING", 1000)
    async with watching(gateway, AAPL, room=0) as heard:
        await gateway.do(actions.Flood(markets=("AAPL",), trades=2000))
        await heard.until(lambda: bool(heard.lost))
        await heard.until(heard.served(AAPL))
    assert heard.lost == ["more than 1000 words wait to be taken: it begins anew"]


@pytest.mark.parametrize("how", ["short", "words", "unknown"])
async def test_a_word_that_cannot_be_read_harms_nothing(gateway: Served, how: str) -> None:
    async with watching(gateway, AAPL) as heard:
        gateway.faults.set(faults.Garble(how=how, times=1))
        await gateway.do(move("AAPL", "191.00"))
        await gateway.do(move("AAPL", "192.00"))
        await heard.settled()
    assert [tick.price for tick in heard.ticks(AAPL, "trade")][-1] == 192.0


async def test_an_index_has_trades_without_sizes_and_no_sides(gateway: Served) -> None:
    async with watching(gateway, "spx.cboe.ib") as heard:
        await gateway.do(move("SPX", "5001.25"))
        await heard.settled()
    assert [(t.kind, t.price, t.size) for t in heard.ticks("spx.cboe.ib")] == [
        ("trade", 5001.25, None)
    ]


# --- what is wanted


async def test_a_hundred_markets_are_served_in_their_order_at_the_gateways_pace(
    gateway: Served,
) -> None:
    names = [f"t{number:03d}.nasdaq.ib" for number in range(1, 101)]
    async with watching(gateway, *reversed(names)) as heard:
        await gateway.do(actions.Advance(steps=12))
        await heard.settled()
        assert all(heard.ticks(name, "bid") for name in names)
    assert asked_for(gateway) == [name[:4].upper() for name in names]


async def test_what_is_no_longer_wanted_is_ended_at_once(gateway: Served) -> None:
    async with watching(gateway, AAPL, SPY) as heard:
        spy = next(each for each in heard.wanted.markets if each.fqme == SPY)
        heard.wanted.set(frozenset([spy]))
        await heard.settled()
        assert asked(gateway, "CancelMktData") == 1
        await gateway.do(actions.Advance(steps=10))
        await heard.settled()
    assert heard.ticks(SPY)
    assert not heard.ticks(AAPL)


async def test_what_is_no_longer_wanted_before_it_was_asked_for_never_is(gateway: Served) -> None:
    async with a_venue(gateway) as venue, hearing(venue) as heard:
        names = [f"t{number:03d}.nasdaq.ib" for number in range(1, 101)]
        markets = {name: await get_mkt_info(venue, name) for name in names}
        heard.wanted.set(frozenset(markets.values()))
        await until_asked(gateway, 1)
        heard.wanted.set(frozenset([markets[names[99]]]))
        await heard.until(heard.served(names[99]))
        await trio.sleep(20)
        assert len(gateway.sessions[0].streams) == 1
    assert asked(gateway) < 60


async def test_what_ends_with_the_session_is_ended_at_the_gateway(gateway: Served) -> None:
    async with a_venue(gateway) as venue:
        async with hearing(venue, [AAPL, SPY]) as heard:
            await heard.until(heard.served(AAPL, SPY))
        await wait_all_tasks_blocked()
        assert gateway.sessions[0].streams == {}
        async with hearing(venue, [SPY]) as heard:
            await heard.until(heard.served(SPY))


async def test_a_market_that_is_not_remembered_is_asked_for_by_its_number(gateway: Served) -> None:
    async with a_venue(gateway) as first:
        market = await get_mkt_info(first, AAPL)
    async with a_venue(gateway) as second:
        wanted = Wanted()
        wanted.set(frozenset([market]))
        async with hearing(second, wanted=wanted) as heard:
            await heard.until(heard.served(AAPL))


async def test_what_is_described_anew_when_it_is_no_longer_wanted_is_not_told(
    gateway: Served,
) -> None:
    async with a_venue(gateway) as first:
        market = await get_mkt_info(first, AAPL)
    close_at(gateway, "13:00")
    gateway.faults.set(faults.Delay(request="ReqContractDetails", seconds=2))
    async with a_venue(gateway) as second:
        wanted = Wanted()
        wanted.set(frozenset([market]))
        async with hearing(second, wanted=wanted) as heard:
            await trio.sleep(1)
            wanted.set(frozenset())
            await trio.sleep(2)
            await heard.settled()
    assert (heard.events, heard.lost) == ([], [])


@pytest.mark.usefixtures("late")
async def test_a_market_that_is_listed_elsewhere_today_goes_on_by_its_name(
    gateway: Served,
) -> None:
    async with watching(gateway, AAPL) as heard:
        found = gateway.find_instrument("AAPL")
        gateway.instruments[found.con_id] = structs.replace(found, primary_exchange="NYSE")
        await trio.sleep(1200)
        await gateway.do(move("AAPL", "191.00"))
        await heard.settled()
    assert heard.ticks(AAPL)
    assert (heard.subscribed(), heard.lost) == ([], [])


async def test_nothing_more_is_told_of_what_is_no_longer_wanted(gateway: Served) -> None:
    async with watching(gateway, AAPL, room=0) as heard:
        for price in ("191.00", "192.00"):
            await gateway.do(move("AAPL", price))
            await wait_all_tasks_blocked()
        heard.wanted.set(frozenset())
        await heard.settled()
    assert 192.0 not in [tick.price for tick in heard.ticks(AAPL, "trade")]


async def test_every_trade_is_asked_for_where_trades_have_sizes(gateway: Served) -> None:
    async with watching(gateway, AAPL, EURUSD, "spx.cboe.ib"):
        requests: list[Any] = [each.request for each in gateway.heard]
    found = [each for each in requests if type(each).__name__ == "ReqMktData"]
    assert [each.generic_ticks for each in found] == ["233", "", ""]


# --- lines


async def test_who_finds_no_line_waits_for_one_and_is_told_so(gateway: Served) -> None:
    async with a_venue(gateway, lines=2) as venue, hearing(venue, [AAPL, EURUSD, SPY]) as heard:
        await heard.until(heard.refused(SPY))
        assert "no market data line is free (lines = 2 in piker.toml)" in heard.dropped()[SPY]
        left = [each for each in heard.wanted.markets if each.fqme != AAPL]
        heard.wanted.set(frozenset(left))
        await heard.until(heard.served(SPY))
    assert asked_for(gateway) == ["AAPL", "EUR", "SPY"]


async def test_what_orders_depend_on_takes_a_line_of_another_market(gateway: Served) -> None:
    async with a_venue(gateway, lines=2) as venue, hearing(venue, [AAPL, EURUSD]) as heard:
        await heard.until(heard.served(AAPL, EURUSD))
        more = {*heard.wanted.markets, await get_mkt_info(venue, SPY)}
        heard.wanted.set(frozenset(more), frozenset([SPY]))
        await heard.until(heard.served(SPY))
        await heard.until(heard.refused(EURUSD))
    assert asked_for(gateway) == ["AAPL", "EUR", "SPY"]


@pytest.mark.parametrize("code", [101, 10190])
async def test_when_the_gateway_has_fewer_lines_than_was_thought_they_are_tried_again(
    gateway: Served, code: int
) -> None:
    refuse = faults.Refuse(
        request="ReqMktData", code=code, text="Max number", symbol="SPY", times=2
    )
    gateway.faults.set(refuse)
    async with a_venue(gateway) as venue, hearing(venue, [AAPL, SPY]) as heard:
        await heard.until(heard.refused(SPY))
        began = trio.current_time()
        await heard.until(heard.served(SPY))
        assert 60 <= trio.current_time() - began <= 180
    assert asked_for(gateway).count("SPY") == 3


# --- notices


@pytest.mark.parametrize("code", [10090, 10091, 2103, 2150, 399, 12345])
async def test_advice_ends_no_feed(gateway: Served, code: int) -> None:
    gateway.faults.set(faults.Advise(request="ReqMktData", code=code, text="Part of it."))
    async with watching(gateway, AAPL) as heard:
        await gateway.do(move("AAPL", "191.00"))
        await heard.settled()
    assert heard.ticks(AAPL, "trade")
    assert not heard.dropped()


@pytest.mark.parametrize("code", [354, 10089, 10168, 10186, 200])
async def test_a_market_that_the_user_may_not_see_is_ended_by_name(
    gateway: Served, code: int
) -> None:
    refuse = faults.Refuse(request="ReqMktData", code=code, text="Not allowed.", symbol="SPY")
    gateway.faults.set(refuse)
    async with a_venue(gateway) as venue, hearing(venue, [AAPL, SPY]) as heard:
        await heard.until(lambda: bool(heard.ticks(AAPL)) and SPY in heard.dropped())
        await trio.sleep(600)
        await heard.settled()
    assert f"({code}: Not allowed.)" in heard.dropped()[SPY]
    assert SPY not in heard.subscribed()
    assert asked_for(gateway).count("SPY") == 1


async def test_a_market_that_was_refused_for_a_while_is_served_after_it(gateway: Served) -> None:
    refuse = faults.Refuse(request="ReqMktData", code=354, text="Not allowed.", times=1)
    gateway.faults.set(refuse)
    async with a_venue(gateway) as venue, hearing(venue, [AAPL]) as heard:
        await heard.until(heard.refused(AAPL))
        await heard.until(heard.served(AAPL), 1000)
    assert asked(gateway) == 2


async def test_no_number_of_an_account_is_logged_or_told(
    gateway: Served, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "piker")
    (number,) = gateway.settings.accounts
    text = f"Account {number} may not see it"
    gateway.faults.set(faults.Refuse(request="ReqMktData", code=354, text=text))
    async with a_venue(gateway) as venue, hearing(venue, [AAPL]) as heard:
        await heard.until(heard.refused(AAPL))
        await gateway.do(actions.Notice(code=9999, text=text))
        await heard.settled()
    assert "Account DU1…67 may not see it" in heard.dropped()[AAPL]
    assert "the gateway says: Account DU1…67 may not see it" in caplog.text
    assert number not in caplog.text


async def test_a_competing_session_is_said_and_tried_again_until_it_is_over(
    gateway: Served,
) -> None:
    async with watching(gateway, AAPL) as heard:
        await gateway.do(actions.Compete())
        await heard.until(heard.refused(AAPL))
        assert "logged in elsewhere" in heard.dropped()[AAPL]
        before = asked(gateway)
        await trio.sleep(120)
        await heard.settled()
        assert 3 <= asked(gateway) - before <= 6
        assert not heard.subscribed()
        await gateway.do(actions.Compete(active=False))
        await heard.until(heard.served(AAPL), 61)


async def test_data_that_is_delayed_is_marked_and_has_its_own_time(gateway: Served) -> None:
    await gateway.do(actions.Unsubscribe(symbols=("AAPL",)))
    async with a_venue(gateway, data_kind="delayed") as venue, hearing(venue, [AAPL]) as heard:
        await heard.until(lambda: bool(heard.ticks(AAPL, "bid")))
        assert all(tick.delayed for tick in heard.ticks(AAPL))
        heard.forget()
        await gateway.do(move("AAPL", "191.00"))
        await heard.settled()
    assert [(t.kind, t.price, t.size) for t in heard.ticks(AAPL)][-1] == ("trade", 191.0, 1)


async def test_what_is_delayed_is_marked_also_if_nobody_says_so(gateway: Served) -> None:
    async with watching(gateway, AAPL) as heard:
        (session,) = gateway.sessions
        (number,) = session.streams
        session.say(("1", "6", str(number), "66", "190.5", "3", "0"))
        await heard.settled()
    (tick,) = heard.ticks(AAPL)
    assert (tick.price, tick.delayed) == (190.5, True)


async def test_what_a_new_stream_shows_is_told_also_if_it_is_as_before(gateway: Served) -> None:
    async with watching(gateway, EURUSD) as heard:
        await gateway.do(actions.Connectivity(code=1101))
        await heard.until(lambda: bool(heard.ticks(EURUSD)))
    assert heard.ticks(EURUSD, "bid")


async def test_a_market_that_is_live_again_is_no_longer_marked(gateway: Served) -> None:
    gateway.no_live.add("AAPL")
    async with watching(gateway, AAPL, data_kind="delayed") as heard:
        gateway.no_live.clear()
        heard.forget()
        await gateway.do(actions.Connectivity(code=1101))
        await heard.until(lambda: bool(heard.ticks(AAPL)))
    assert not any(tick.delayed for tick in heard.ticks(AAPL))


async def test_without_delayed_data_it_is_not_asked_for(gateway: Served) -> None:
    async with watching(gateway, AAPL):
        assert asked(gateway, "ReqMarketDataType") == 0


# --- the gateway, its farms, and IB


async def test_when_ib_is_lost_markets_are_not_served_until_it_is_back(gateway: Served) -> None:
    async with watching(gateway, AAPL, SPY) as heard:
        await gateway.do(actions.Connectivity(code=1100))
        await heard.until(heard.refused(AAPL, SPY))
        assert "has lost its connection to IB" in heard.dropped()[AAPL]
        assert heard.away()[-1].reason == heard.dropped()[AAPL]
        await trio.sleep(600)
        await gateway.do(actions.Connectivity(code=1102))
        await heard.until(heard.served(AAPL, SPY), 1)


async def test_when_data_was_lost_all_is_asked_for_again_in_its_order(gateway: Served) -> None:
    async with watching(gateway, SPY, EURUSD, AAPL) as heard:
        await gateway.do(actions.Connectivity(code=1100))
        await heard.until(heard.refused(AAPL))
        before = asked(gateway)
        await gateway.do(actions.Connectivity(code=1101))
        await heard.until(heard.served(AAPL, EURUSD, SPY), 1)
        assert asked_for(gateway, before) == ["AAPL", "EUR", "SPY"]
        heard.forget()
        await gateway.do(move("SPY", "501.00"))
        await heard.settled()
    assert heard.ticks(SPY, "trade")


async def test_data_that_was_lost_is_asked_for_again_also_unannounced(gateway: Served) -> None:
    async with watching(gateway, AAPL) as heard:
        await gateway.do(actions.Connectivity(code=1101))
        await until_asked(gateway, 2)
        await gateway.do(move("AAPL", "191.00"))
        await heard.settled()
    assert heard.ticks(AAPL, "trade")
    assert not heard.dropped()


async def test_markets_of_a_farm_that_is_back_are_asked_for_again(gateway: Served) -> None:
    async with watching(gateway, AAPL, EURUSD) as heard:
        await gateway.do(actions.Farm(name="usfarm", code=2103, lose=True))
        await trio.sleep(10)
        await gateway.do(move("EUR.USD", "1.20000"))
        await trio.sleep(10)
        await gateway.do(actions.Farm(name="usfarm", code=2104))
        await wait_all_tasks_blocked()
        assert asked_for(gateway, 2) == ["AAPL"]
        heard.forget()
        await gateway.do(move("AAPL", "191.00"))
        await heard.settled()
    assert heard.ticks(AAPL, "trade")


async def test_a_farm_that_is_broken_is_told_until_it_is_not(gateway: Served) -> None:
    async with watching(gateway, AAPL) as heard:
        await gateway.do(actions.Farm(name="usfarm", code=2103))
        await heard.until(lambda: Ailing(reason=broken("usfarm")) in heard.events)
        await gateway.do(actions.Farm(name="cashfarm", code=2103))
        await heard.until(lambda: Ailing(reason=broken("cashfarm, usfarm")) in heard.events)
        await gateway.do(actions.Farm(name="usfarm", code=2104))
        await gateway.do(actions.Farm(name="cashfarm", code=2104))
        await heard.until(lambda: Ailing(reason="") in heard.events)


async def test_that_data_was_lost_is_told_before_what_a_new_stream_says(gateway: Served) -> None:
    async with watching(gateway, AAPL, EURUSD) as heard:
        await gateway.do(actions.Farm(name="usfarm", code=2103, lose=True))
        await trio.sleep(10)
        await gateway.do(move("EUR.USD", "1.20000"))
        await gateway.do(actions.Farm(name="usfarm", code=2104))
        await heard.until(lambda: bool(heard.ticks(AAPL)))
        await gateway.do(move("AAPL", "191.00"))
        await heard.settled()
    of_apple = [each for each in heard.events if isinstance(each, Missed | Quote)]
    kinds = [type(each).__name__ for each in of_apple if each.market == AAPL]
    assert (kinds[0], set(kinds[1:])) == ("Missed", {"Quote"})
    assert [each.market for each in heard.events if isinstance(each, Missed)] == [AAPL]


@pytest.mark.parametrize("again", ["farm", "silence"])
async def test_what_is_asked_for_again_is_ended_before(gateway: Served, again: str) -> None:
    async with watching(gateway, AAPL):
        for code in (2103, 2104) if again == "farm" else ():
            await gateway.do(actions.Farm(name="usfarm", code=code))
        await until_asked(gateway, 2)
        await wait_all_tasks_blocked()
        assert len(gateway.sessions[0].streams) == 1
        assert asked(gateway, "CancelMktData") == 1


async def test_what_was_heard_before_ib_was_lost_is_told_before(gateway: Served) -> None:
    async with watching(gateway, AAPL, room=0) as heard:
        await gateway.do(move("AAPL", "191.00"))
        await wait_all_tasks_blocked()
        await gateway.do(move("AAPL", "192.00"))
        await gateway.do(actions.Connectivity(code=1100))
        await heard.settled()
    assert heard.ticks(AAPL, "trade")[-1].price == 192.0
    assert isinstance(heard.events[-1], Dropped)


@pytest.mark.parametrize("code", [2104, 2106, 2107, 2108, 2119, 2158])
async def test_a_farm_that_was_not_broken_changes_nothing(gateway: Served, code: int) -> None:
    async with watching(gateway, AAPL):
        await gateway.do(actions.Farm(name="usfarm", code=code))
        await trio.sleep(1)
        assert asked(gateway) == 1


async def test_a_market_that_falls_silent_in_its_session_is_asked_for_again(
    gateway: Served,
) -> None:
    async with watching(gateway, AAPL, SPY) as heard:
        await gateway.do(actions.Forget(market="AAPL"))
        while asked(gateway) < 3:
            await trio.sleep(1)
            await gateway.do(actions.Advance(market="SPY"))
        assert asked_for(gateway, 2) == ["AAPL"]
        await heard.settled()
        heard.forget()
        await gateway.do(move("AAPL", "191.00"))
        await heard.settled()
    assert heard.ticks(AAPL, "trade")
    assert not heard.dropped()


async def test_a_market_that_stays_silent_is_asked_for_once_a_minute(gateway: Served) -> None:
    gateway.faults.set(faults.Drop(request="ReqMktData"))
    async with a_venue(gateway) as venue, hearing(venue, [AAPL]) as heard:
        await heard.until(heard.served(AAPL))
        before = asked(gateway)
        await trio.sleep(600)
    assert 9 <= asked(gateway) - before <= 10


async def test_after_a_restart_of_the_gateway_all_is_served_again_in_its_order(
    gateway: Served,
) -> None:
    async with a_venue(gateway) as venue, hearing(venue) as heard:
        markets = [await get_mkt_info(venue, name) for name in (SPY, EURUSD, AAPL)]
        for count in (1, 2, 3):
            heard.wanted.set(frozenset(markets[:count]))
            await heard.until(heard.served(markets[count - 1].fqme))
        await gateway.do(actions.Stop())
        await heard.until(heard.refused(SPY, EURUSD, AAPL), 1)
        await trio.sleep(3600)
        heard.forget()
        await gateway.do(actions.Start())
        await heard.until(heard.served(SPY, EURUSD, AAPL), 10)
    assert heard.lost == ["the gateway has closed the connection"]
    assert asked_for(gateway, 3) == ["SPY", "EUR", "AAPL"]


async def test_a_gateway_that_goes_away_again_and_again_is_back_within_ten_seconds(
    gateway: Served,
) -> None:
    async with watching(gateway, AAPL) as heard:
        for _ in range(5):
            await gateway.do(actions.Cut())
            await heard.until(heard.served(AAPL), 10)
            heard.forget()
    assert len(heard.lost) == 5


async def test_without_a_gateway_who_is_wanted_is_told_why(home: Path) -> None:
    async with serving(home) as gateway, a_venue(gateway) as venue:
        market = await get_mkt_info(venue, AAPL)
        await gateway.do(actions.Stop())
        await trio.sleep(20)
        wanted = Wanted()
        wanted.set(frozenset([market]))
        async with hearing(venue, wanted=wanted) as heard:
            await heard.until(lambda: bool(heard.away()))
            assert "no gateway at unix:" in heard.away()[-1].reason
            gateway.faults.set(faults.SilentLogin())
            await gateway.do(actions.Start())
            await heard.until(lambda: heard.away()[-1].needs_login)
            count = len(heard.events)
            await trio.sleep(600)
            await heard.settled()
            assert len(heard.events) == count
            gateway.faults.clear()
            await heard.until(heard.served(AAPL), 40)
    assert heard.lost == []


async def test_why_there_is_no_gateway_is_in_the_log_once(
    gateway: Served, caplog: pytest.LogCaptureFixture
) -> None:
    gateway.faults.set(faults.CloseInHandshake())
    async with a_venue(gateway):
        await trio.sleep(600)
    said = [each.getMessage() for each in caplog.records if each.levelname == "WARNING"]
    assert len(said) == 1
    assert said[0].startswith("not connected: the gateway has closed the connection at once")


# --- sessions of markets


def close_at(gateway: Served, closes: str) -> None:
    """A stock closes then, from the next description on; in New York's time."""
    found = gateway.find_instrument("AAPL")
    hours = Hours(zone="US/Eastern", opens="04:00", closes=closes)
    gateway.instruments[found.con_id] = structs.replace(found, hours=hours)


def closing(market: Market) -> str:
    """When its first session ends."""
    assert market.sessions
    return f"{schedule.at(market.sessions[0].close_ns, 'US/Eastern'):%H:%M}"


async def test_a_feed_that_is_opened_while_its_market_is_closed_goes_live_at_the_open(
    home: Path,
) -> None:
    async with serving(home, always_open=False) as gateway, watching(gateway, AAPL) as heard:
        (market,) = heard.wanted.markets
        data = MarketData(market, clock.wall_ns())
        data.subscribed(market, clock.boot_ns())
        data.judge(clock.wall_ns(), clock.boot_ns())
        assert (data.state.state, data.state.reason) == ("closed", "opens in 3600 s")
        await trio.sleep(3600)
        await gateway.do(move("AAPL", "191.00"))
        await heard.settled()
        for quote in heard.events:
            assert isinstance(quote, Quote)
            data.take(quote, clock.wall_ns(), clock.boot_ns())
        data.judge(clock.wall_ns(), clock.boot_ns())
    assert data.state.state == "live"
    assert asked(gateway) == 1


@pytest.mark.usefixtures("late")
async def test_hours_that_change_are_told_the_next_day(home: Path) -> None:
    async with serving(home, always_open=False) as gateway, watching(gateway, AAPL) as heard:
        (market,) = heard.wanted.markets
        assert closing(market) == "20:00"
        close_at(gateway, "13:00")
        await heard.until(heard.served(AAPL), 1200)
        (told,) = [each.market for each in heard.events if isinstance(each, Subscribed)]
    assert closing(told) == "13:00"


@pytest.mark.usefixtures("late")
async def test_two_sessions_of_the_feed_have_the_hours_of_their_day(home: Path) -> None:
    async with serving(home, always_open=False) as gateway, a_venue(gateway) as venue:
        async with hearing(venue, [AAPL]) as heard:
            await heard.until(heard.served(AAPL))
        close_at(gateway, "13:00")
        await trio.sleep(600)
        async with hearing(venue, wanted=heard.wanted) as later:
            await later.until(lambda: len(later.subscribed()) == 2, 60)
    first, *_, last = [
        each.market for each in (*heard.events, *later.events) if isinstance(each, Subscribed)
    ]
    assert [closing(first), closing(last)] == ["20:00", "13:00"]


@pytest.mark.usefixtures("late")
async def test_a_market_that_cannot_be_described_anew_goes_on_as_it_was(gateway: Served) -> None:
    async with watching(gateway, AAPL) as heard:
        gateway.faults.set(faults.Refuse(request="ReqContractDetails", code=200, text="None."))
        await trio.sleep(3600)
        await gateway.do(move("AAPL", "191.00"))
        await heard.settled()
    assert heard.ticks(AAPL, "trade")
    assert not heard.dropped()
    assert 5 <= asked(gateway, "ReqContractDetails") - 1 <= 7
