"""The feed: what is followed, as the venue's task sees it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import trio
import trio.testing

from piker.barkeeper import BarKeeper
from piker.brokers import Batches, Provider, Subscribed, VenueLost, Wanted
from piker.brokers.sim.wire import describe
from piker.fanout import Fanout
from piker.feeds import Feed
from piker.notify import Manager
from piker.recording import Recording
from piker.service import Service


def nothing_recorded() -> Recording:
    return Recording(Path("/nowhere"), lambda: None)


MARKET = describe("s0000.xsim.sim")
PROVIDER = Provider(name="sim", doc="", endpoints={})


class Venue:
    """Subscribes what is newly wanted, and counts how often."""

    def __init__(self) -> None:
        self.subscriptions = 0
        self.first: frozenset[str] = frozenset()
        self.done = trio.Event()

    async def stream(self, venue: object, wanted: Wanted, batches: Batches) -> None:
        """The endpoint."""
        have: set[str] = set()
        while True:
            markets = wanted.look()
            self.first = wanted.first
            new = [market for market in markets if market.fqme not in have]
            have = {market.fqme for market in markets}
            self.subscriptions += len(new)
            await batches.send([Subscribed(market=market) for market in new])
            self.done.set()
            await wanted.changed()


@asynccontextmanager
async def a_feed() -> AsyncIterator[tuple[Feed, Venue]]:
    """A feed that runs."""
    venue, manager = Venue(), Manager()
    service = Service("datad", "sim", manager)
    feed = Feed(
        service, PROVIDER, venue.stream, None, BarKeeper(manager), Fanout(), nothing_recorded()
    )
    async with trio.open_nursery() as nursery:
        nursery.start_soon(feed.run)
        yield feed, venue
        nursery.cancel_scope.cancel()


async def test_a_market_that_comes_back_before_the_venue_saw_it_go_is_still_live() -> None:
    async with a_feed() as (feed, venue):
        with feed.following([MARKET]):
            await venue.done.wait()
            await trio.testing.wait_all_tasks_blocked()
            assert feed.followed[MARKET.fqme].state.state == "live"
        with feed.following([MARKET]):
            await trio.testing.wait_all_tasks_blocked()
            assert feed.followed[MARKET.fqme].state.state == "live"
    assert venue.subscriptions == 1


async def test_a_market_that_comes_back_later_is_subscribed_anew() -> None:
    async with a_feed() as (feed, venue):
        with feed.following([MARKET]):
            await trio.testing.wait_all_tasks_blocked()
        await trio.testing.wait_all_tasks_blocked()
        with feed.following([MARKET]):
            state = feed.followed[MARKET.fqme].state
            assert (state.state, state.reason) == ("disconnected", "not asked for yet")
            await trio.testing.wait_all_tasks_blocked()
            assert feed.followed[MARKET.fqme].state.state == "live"
    assert venue.subscriptions == 2


async def test_what_was_wanted_between_a_look_and_the_wait_is_not_missed() -> None:
    wanted = Wanted()
    assert wanted.look() == frozenset()
    wanted.set(frozenset([MARKET]))
    with trio.fail_after(1):
        await wanted.changed()
    assert wanted.look() == frozenset([MARKET])


async def test_what_orders_depend_on_comes_first_as_long_as_they_do() -> None:
    async with a_feed() as (feed, venue):
        with feed.following([MARKET]):
            with feed.following([MARKET], first=True):
                await trio.testing.wait_all_tasks_blocked()
                assert venue.first == {MARKET.fqme}
            await trio.testing.wait_all_tasks_blocked()
            assert venue.first == frozenset()


async def test_what_was_learnt_of_a_market_outlives_those_who_follow_it() -> None:
    async with a_feed() as (feed, _):
        with feed.following([MARKET]):
            await trio.testing.wait_all_tasks_blocked()
            silence = feed.followed[MARKET.fqme].silence
        await trio.testing.wait_all_tasks_blocked()
        with feed.following([MARKET]):
            assert feed.followed[MARKET.fqme].silence is silence


async def test_a_session_that_is_lost_in_a_nursery_is_lost_like_any_other() -> None:
    async def stream(venue: object, wanted: Wanted, batches: Batches) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(lose)
            nursery.start_soon(trio.sleep_forever)

    async def lose() -> None:
        raise VenueLost("the cable was cut")

    manager = Manager()
    service = Service("datad", "sim", manager)
    feed = Feed(service, PROVIDER, stream, None, BarKeeper(manager), Fanout(), nothing_recorded())
    async with trio.open_nursery() as nursery:
        nursery.start_soon(feed.run)
        with feed.following([MARKET]):
            await trio.testing.wait_all_tasks_blocked()
            assert feed.followed[MARKET.fqme].state.reason == "the cable was cut"
        nursery.cancel_scope.cancel()
