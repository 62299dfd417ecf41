"""Clearing: what fires on live quotes, and what was crossed while nobody watched."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from decimal import Decimal
from typing import Any

import pytest
from msgspec import structs
from trio.testing import wait_all_tasks_blocked

from piker import clock, paths
from piker.brokers import VenueLost
from piker.interfaces.orders import Amend, OrderReply
from piker.markets import Session
from piker.orders import Triggered
from piker.quotes import Tick
from piker.store import marks
from tests.fakes.tradinghouse import (
    House,
    a_house,
    alert,
    dark,
    flowing_time,
    later,
)
from tests.fakes.venue import EURUSD, quote, tick

__all__ = ["flowing_time"]
pytestmark = pytest.mark.usefixtures("flowing_time")

FQME = EURUSD.fqme


def names(events: list[Any]) -> list[str]:
    return [type(event).__name__ for event in events]


async def trades(house: House, *prices: float) -> None:
    """The market trades at these prices."""
    for price in prices:
        await house.shows(("trade", price))


# --- live quotes only


async def test_a_trigger_takes_its_price_from_the_tick_that_crossed_it() -> None:
    async with a_house() as house:
        await house.submit(alert(when="above"))
        await trades(house, 1.19, 1.22)
        life = await house.until("a-1", "filled")
        events = await house.events("a-1")
    assert isinstance(events[-1], Triggered)
    assert (events[-1].price, life.state) == (Decimal("1.22"), "filled")


async def test_a_triggered_order_is_never_sent_beyond_its_slip() -> None:
    async with a_house() as house:
        await house.submit(dark("d-1", "1.40", when="above", slip_ticks=2))
        await house.submit(dark("d-2", "1.40", when="above", slip_max_pct=Decimal(1)))
        await house.submit(dark("d-3", "1.40", when="above", sends="market"))
        await house.shows(("ask", 1.41))
        limits = [(await house.until(f"d-{n}", "open", "filled")).limit for n in (1, 2, 3)]
    assert limits == [Decimal("1.40"), Decimal("1.41"), None]


async def test_nothing_fires_on_a_tick_that_is_too_old() -> None:
    async with a_house() as house:
        await house.submit(alert(when="above"))
        old = Tick(
            kind="trade",
            price=1.25,
            time_ns=clock.wall_ns(),
            seen_ns=clock.boot_ns() - 6 * 10**9,
        )
        house.venue.say(quote(old))
        await wait_all_tasks_blocked(0.01)
        assert (await house.life("a-1")).armed
        await trades(house, 1.19)
        await house.until("a-1", "filled")  # crossed, and soon known


async def test_nothing_fires_while_the_market_is_closed() -> None:
    start_ns = 1_800_000_000 * 10**9
    closes = Session(open_ns=start_ns - 10**12, close_ns=start_ns + 60 * 10**9)
    async with a_house(structs.replace(EURUSD, sessions=(closes,))) as house:
        await house.submit(alert(when="above"))
        await later(61)
        await trades(house, 1.25)
        assert (await house.life("a-1")).armed
        reply = await house.submit(alert("a-2", when="above"))
    assert "nothing fires while eurusd.spot.fake is closed" in reply.warnings[0]


async def test_a_stale_market_fires_nothing_until_it_speaks_again() -> None:
    async with a_house() as house:
        await house.submit(dark())
        await later(700)
        async with house.client("view"):
            pass
        reply = await house.submit(dark("d-2", when="below"))
        await house.is_live(ask=1.25)
        assert (await house.life("d-1")).armed
    assert "is stale" in reply.warnings[0]


async def test_a_market_that_is_shown_late_fires_nothing_until_it_is_shown_as_it_is() -> None:
    async with a_house() as house:
        await house.submit(dark(when="below"))
        house.venue.say(quote(structs.replace(tick("ask", 1.0), delayed=True)))
        await wait_all_tasks_blocked(0.005)
        reply = await house.submit(dark("d-2", when="below"))
        assert (await house.life("d-1")).armed
        await house.is_live(ask=1.1)
        await house.until("d-1", "open")
    assert "is delayed" in reply.warnings[0]


# --- a hole in the feed


@asynccontextmanager
async def a_hole(seconds: float, price: float) -> AsyncIterator[House]:
    """A market that comes back after so long at this ask, with what was armed before."""
    async with a_house() as house:
        for on_gap in ("hold", "fire", "cancel"):
            await house.submit(dark(f"d-{on_gap}", on_gap=on_gap))
        house.venue.away = "the line is cut"
        house.venue.fail(VenueLost("the line is cut"))
        await later(seconds)
        house.venue.away = ""
        await later(61)
        await house.is_live(ask=price)
        await house.is_live(ask=price)
        yield house


async def test_what_was_not_crossed_in_a_hole_is_armed_as_before() -> None:
    async with a_hole(200, 1.25) as house:
        lives = [await house.life(f"d-{each}") for each in ("hold", "fire", "cancel")]
        assert [life.armed for life in lives] == [True] * 3
        await house.shows(("ask", 1.20))
        await house.until("d-hold", "open", "filled")


async def test_what_was_crossed_in_a_long_hole_is_as_its_owner_wants_it() -> None:
    async with a_hole(200, 1.19) as house:
        await house.until("d-cancel", "cancelled")
        await house.until("d-fire", "open", "filled")
        held = await house.life("d-hold")
    assert (held.state, held.armed) == ("held", False)
    assert held.reason.startswith("crossed while nobody watched for 2")


async def test_what_is_held_after_a_hole_is_armed_again_by_an_amendment() -> None:
    async with a_hole(200, 1.19) as house:
        await house.until("d-cancel", "cancelled")
        call = Amend(oid="d-hold", trigger=Decimal("1.15"))
        assert (await house.ask(call, OrderReply)).life.armed
        await house.shows(("ask", 1.15))
        await house.until("d-hold", "open", "filled")


async def test_what_was_crossed_while_datad_restarted_fires() -> None:
    async with a_house() as house:
        await house.submit(dark())
        await later(50)  # a quiet market: what counts is how long nobody watched
        await house.datad.end()
        await later(20)
        await house.datad.begin()
        await later(20)
        await house.is_live(ask=1.19)
        await house.is_live(ask=1.19)
        await house.until("d-1", "open", "filled")


async def test_what_the_market_shows_first_after_a_hole_may_have_been_crossed_in_it() -> None:
    async with a_house() as house:
        await house.submit(dark())
        await house.submit(dark("d-2", when="below", on_gap="cancel"))
        await house.datad.end()
        await later(100)
        await house.datad.begin()
        await later(60)
        assert (await house.life("d-1")).armed
        await house.is_live(ask=1.19)
        await house.until("d-2", "cancelled")
        assert not (await house.life("d-1")).armed


async def test_what_shows_when_emsd_is_back_is_compared_without_a_new_tick() -> None:
    async with a_house() as house:
        await house.submit(dark())
        await house.submit(dark("d-2", on_gap="cancel"))
        await house.emsd.end()
        await house.is_live(ask=1.19)
        await later(50)
        await house.is_live(ask=1.19)
        await later(50)
        await house.emsd.begin()
        await later(2.5)
        await house.until("d-2", "cancelled")
        assert (await house.life("d-1")).state == "held"


# --- emsd itself was away


async def away(house: House, seconds: float, *prices: float) -> None:
    """Emsd is away for so long, in which the market trades at these prices."""
    await trades(house, 1.25)
    await later(1)
    await house.emsd.end()
    await later(1)
    await trades(house, *prices)
    await later(seconds)
    await trades(house, 1.25)
    await house.emsd.begin()
    await wait_all_tasks_blocked(0.05)
    await later(2.5)
    await wait_all_tasks_blocked(0.05)
    await trades(house, 1.25)


async def test_the_bars_of_the_time_that_emsd_was_away_show_what_was_crossed() -> None:
    async with a_house() as house:
        await trades(house, 1.25)
        await house.submit(alert("a-1", "1.20"))
        await house.submit(alert("a-2", "1.10"))
        await house.submit(alert("a-3", "1.20", on_gap="fire"))
        await away(house, 100, 1.18)
        held = await house.life("a-1")
        await house.until("a-3", "filled")
        assert (await house.life("a-2")).armed
    assert (held.state, held.armed) == ("held", False)


async def test_what_was_crossed_in_a_short_absence_fires() -> None:
    async with a_house() as house:
        await trades(house, 1.25)
        await house.submit(alert("a-1", "1.20"))
        await away(house, 5, 1.18)
        await house.until("a-1", "filled")


async def test_what_a_bar_shows_of_before_the_arming_crosses_nothing() -> None:
    async with a_house() as house:
        await trades(house, 1.25, 1.18, 1.25)
        await house.submit(alert("a-1", "1.20", on_gap="fire"))
        await away(house, 100)
        assert (await house.life("a-1")).armed


async def test_an_absence_counts_from_when_the_market_was_watched_last() -> None:
    async with a_house() as house:
        await trades(house, 1.25)
        await house.submit(alert("a-1", "1.20"))
        await later(1)
        await house.emsd.end()
        await later(1)
        await trades(house, 1.18)
        await later(100)
        await house.datad.end()
        await house.emsd.begin()  # it has no feed, and is killed before it gets one
        await later(6)
        await house.emsd.end()
        await house.datad.begin()
        await wait_all_tasks_blocked(0.01)
        await trades(house, 1.18)
        await house.emsd.begin()
        await wait_all_tasks_blocked(0.05)
        await later(2.5)
        await trades(house, 1.25)
        life = await house.life("a-1")
    assert (life.state, life.armed) == ("held", False)


async def test_the_mark_is_as_old_as_the_last_look_at_the_markets() -> None:
    async with a_house() as house:
        await house.submit(dark())
        path = paths.state_of("emsd") / marks.NAME
        os.utime(path, (0, 0))
        await later(5)
        assert path.stat().st_mtime > 0


async def test_a_market_that_nobody_needs_is_let_go_of_after_a_while() -> None:
    async with a_house() as house:
        await house.submit(
            alert(
                when="above",
            ),
            dry_run=True,
        )
        await later(2)
        assert list(house.daemon._desk.clearing.markets) == [FQME]
        await later(62)
        await later(1)
        assert list(house.daemon._desk.clearing.markets) == []
