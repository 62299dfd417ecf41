from itertools import pairwise

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import MockClock

from piker.brokers import Dropped, Subscribed
from piker.brokers.sim.feed import BATCH, get_mkt_info
from piker.brokers.sim.search import open_symbol_search
from piker.brokers.sim.wire import PRICE_TICK, Walk, quotes
from piker.clock import boot_ns
from piker.errors import Refused
from piker.interfaces.data import NoSuchMarket
from piker.quotes import Quote
from tests.brokers.samples import listening, opened

SEEDS = st.integers(-(2**70), 2**70)


@given(SEEDS, st.integers(0, 100_000))
def test_the_same_seed_gives_the_same_quotes(seed: int, number: int) -> None:
    one, other = Walk("x", seed, number), Walk("x", seed, number)
    assert [one.quote(1, 2) for _ in range(20)] == [other.quote(1, 2) for _ in range(20)]


def test_markets_differ_and_seeds_differ() -> None:
    walks = [Walk("x", seed, number) for seed in range(10) for number in range(10)]
    assert len({walk.quote(1, 2) for walk in walks}) == 100


@given(SEEDS)
def test_the_bid_is_below_the_ask_and_the_trade_at_one_of_them(seed: int) -> None:
    walk = Walk("x", seed, 0)
    for _ in range(200):
        bid, ask, *trades = walk.quote(1, 2).ticks
        assert 0 < bid.price < ask.price
        assert {trade.price for trade in trades} <= {bid.price, ask.price}
        assert all(tick.size and tick.size >= 1 for tick in (bid, ask, *trades))


def test_prices_walk_both_ways_a_tick_at_a_time_on_the_grid() -> None:
    walk = Walk("x", 1, 0)
    bids = [walk.quote(1, 2).ticks[0].price for _ in range(10_000)]
    steps = [(after - before) / PRICE_TICK for before, after in pairwise(bids)]
    assert set(steps) == {-1, 0, 1}
    assert abs(sum(steps)) < 500


def test_markets_take_turns() -> None:
    walks = [Walk(name, 1, 0) for name in "abc"]
    assert [quote.market for quote in quotes(walks, 4, 5, 1, 2)] == ["b", "c", "a", "b", "c"]


async def test_quotes_come_at_the_rate_that_was_set(autojump_clock: MockClock) -> None:
    async with opened("sim", rate_hz=20.0) as venue:
        start = trio.current_time()
        async with listening("sim", venue, "s0000", "s0001", "s0002") as feed:
            subscribed = await feed.events(3)
            markets = [(await feed.quote()).market for _ in range(601)]
            assert trio.current_time() - start == pytest.approx(10, abs=0.1)
    assert all(isinstance(event, Subscribed) for event in subscribed)
    assert sorted(map(markets.count, set(markets))) == [200, 200, 201]


async def test_a_high_rate_comes_in_batches_and_none_is_left_out(
    autojump_clock: MockClock,
) -> None:
    async with opened("sim", rate_hz=50_000.0) as venue:
        start = trio.current_time()
        async with listening("sim", venue, "s0000", "s0001") as feed:
            await feed.events(2 + 100_001)
            assert trio.current_time() - start == pytest.approx(1, abs=0.01)


async def test_after_a_stall_what_was_due_is_made_up_for(autojump_clock: MockClock) -> None:
    async with (
        opened("sim", rate_hz=1000.0) as venue,
        listening("sim", venue, "s0000") as feed,
    ):
        await feed.events(2)
        start = trio.current_time()
        await trio.sleep(10)
        await feed.events(1 + 10_000 - BATCH)
        assert trio.current_time() - start == pytest.approx(10, abs=0.01)


async def test_as_fast_as_possible_stamps_what_it_makes() -> None:
    async with (
        opened("sim", rate_hz=0.0) as venue,
        listening("sim", venue, "s0000") as feed,
    ):
        began_ns = boot_ns()
        events = await feed.events(1 + 10 * BATCH)
    ticks = [tick for event in events[1:] if isinstance(event, Quote) for tick in event.ticks]
    assert began_ns <= ticks[0].seen_ns <= ticks[-1].seen_ns <= boot_ns()


async def test_what_is_wanted_is_followed(autojump_clock: MockClock) -> None:
    async with opened("sim") as venue, listening("sim", venue, "s0000") as feed:
        assert [type(event) for event in await feed.events(3)] == [Subscribed, Quote, Quote]
        other = await get_mkt_info(venue, "s0001")
        feed.wanted.set(frozenset([other]))
        assert await feed.event() == Subscribed(market=other)
        assert {(await feed.quote()).market for _ in range(20)} == {other.fqme}


async def test_a_market_that_the_venue_does_not_have_is_dropped() -> None:
    async with opened("sim", markets=11) as larger:
        foreign = await get_mkt_info(larger, "s0010")
    async with opened("sim", markets=10) as venue, listening("sim", venue) as feed:
        feed.wanted.set(frozenset([foreign]))
        assert await feed.event() == Dropped(
            market="s0010.xsim.sim", reason="there is no such market"
        )


async def test_there_are_as_many_markets_as_were_set() -> None:
    async with opened("sim", markets=3) as venue:
        assert (await get_mkt_info(venue, "S0002.XSIM")).fqme == "s0002.xsim.sim"
        with pytest.raises(Refused) as refused:
            await get_mkt_info(venue, "s0003")
    assert isinstance(refused.value.fault, NoSuchMarket)


async def test_fifty_thousand_markets_can_be_searched() -> None:
    async with opened("sim", markets=50_000) as venue, open_symbol_search(venue) as find:
        found = [match.fqme for match in await find("s4999", 3)]
    assert found == ["s4999.xsim.sim", "s49990.xsim.sim", "s49991.xsim.sim"]


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({"markets": 0}, "expected 1 to 100000, was 0"),
        ({"markets": 100_001}, "expected 1 to 100000, was 100001"),
        ({"rate_hz": -1.0}, "expected 0 or a positive number, was -1"),
        ({"rate_hz": float("inf")}, "expected 0 or a positive number, was inf"),
    ],
)
async def test_wrong_settings_are_refused(settings: dict[str, object], problem: str) -> None:
    with pytest.raises(Refused, match=problem):
        async with opened("sim", **settings):
            raise AssertionError("it opened")
