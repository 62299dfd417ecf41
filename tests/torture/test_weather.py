"""Orders while the disk is full or slow, the clock is stepped, or the feed falls silent.

First each by itself, then with kills on top of it. A disk is emsd's: what the venue is makes no
difference to it; and a feed that is silent is one of the things that a gateway of ib gets wrong.
"""

import secrets
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from random import Random

import pytest
import trio

from piker.core.bars import NS
from piker.core.freshness import ENOUGH, UNLEARNT_NS
from piker.errors import Refused
from piker.interfaces.orders import DiskFull
from piker.orders import Life, Order
from tests.torture.house import (
    PATIENCE_S,
    House,
    Looks,
    a_house,
    amend,
    an_order,
    cancel,
    configure,
    submit,
    sync,
    timeline,
    until_life,
    until_ready,
)
from tests.torture.ib import IB
from tests.torture.run import Season, Torture, torture
from tests.torture.sim import SIM
from tests.torture.venues import TICK, Kind
from tests.torture.weather import Doctor, full_disk, journal_is_slow, small_disk

MAIN, PAPER, PRICE = SIM.main, SIM.paper, SIM.price
DISK_MB = 96
HOUR_S = 3600
KILLS = 6
DATAD = ("datad", "sim")
TICKS_A_QUOTE = 3
both_venues = pytest.mark.parametrize("kind", [SIM, IB], ids=str)


async def an_open(account: str) -> Order:
    order = an_order(account)
    await submit(order)
    await until_life(order.oid, lambda life: life.state == "open", "open")
    return order


async def until_is(oid: str, state: str) -> Life:
    return await until_life(oid, lambda life: life.state == state, state)


# --- a full disk


async def test_on_a_full_disk_new_orders_are_refused_and_cancels_and_fills_are_recorded() -> None:
    configure()
    with small_disk(DISK_MB):
        async with a_house() as house:
            unwanted, wanted = await an_open(MAIN), await an_open(MAIN)
            with full_disk():
                await cancel(unwanted.oid)
                await until_is(unwanted.oid, "cancelled")
                with pytest.raises(Refused) as refused:
                    await submit(an_order(MAIN))
                assert isinstance(refused.value.fault, DiskFull)
                await house.venue.move(PRICE - 60)
                await until_is(wanted.oid, "filled")
                await house.kill("emsd")
                assert (await timeline(unwanted.oid)).life.state == "cancelled"
                assert (await timeline(wanted.oid)).life.filled == wanted.size


async def test_orders_are_taken_again_when_there_is_room() -> None:
    configure()
    with small_disk(DISK_MB):
        async with a_house() as house:
            order = await an_open(MAIN)
            with full_disk():
                await cancel(order.oid)
                await house.until_said("emsd", "new orders are refused until that is over")
            await house.until_said("emsd", "is written again")
            await an_open(MAIN)


# --- a disk that is too slow


async def test_an_order_that_is_refused_because_the_disk_takes_too_long_never_leaves() -> None:
    configure()
    async with a_house() as house:
        await an_open(MAIN)
        late = an_order(MAIN)
        with journal_is_slow(), pytest.raises(Refused):
            await submit(late)
        await house.until_said("emsd", "is written again")
        await an_open(MAIN)  # commands leave in the order in which they are committed
        assert SIM.book().booked[late.oid] == 0


async def test_a_dark_order_that_is_refused_because_the_disk_takes_too_long_is_not_armed() -> None:
    configure()
    async with a_house() as house:
        await an_open(MAIN)
        late = an_order(MAIN, kind="dark", limit=None, trigger=PRICE - 100, when="below")
        with journal_is_slow(), pytest.raises(Refused):
            await submit(late)
        await house.until_said("emsd", "is written again")
        await an_open(MAIN)
        assert (await timeline(late.oid)).life.closed


# --- a clock that is stepped


@pytest.mark.parametrize("seconds", [HOUR_S, -HOUR_S])
async def test_a_step_of_the_clock_ends_no_order_and_stops_none(
    doctor: Doctor, seconds: int
) -> None:
    configure()
    async with a_house() as house:
        resting = [await an_open(MAIN), await an_open(PAPER)]
        dark = an_order(PAPER, kind="dark", limit=None, trigger=PRICE - 100, when="below")
        await submit(dark)
        doctor.step_clock(seconds)
        resting += [await an_open(MAIN), await an_open(PAPER)]
        await house.kill("emsd")
        await until_ready(MAIN, PAPER)
        for order in resting:
            await sync(order.account)
            await amend(order.oid, limit=PRICE - 40)
            await until_life(order.oid, lambda life: life.limit == PRICE - 40, "amended")
        assert [(await timeline(each.oid)).life.state for each in resting] == ["open"] * 4
        await until_life(dark.oid, lambda life: life.armed, "armed")


# --- a feed that falls silent


async def test_a_level_that_is_crossed_while_the_feed_is_stale_waits_for_its_owners_wish(
    doctor: Doctor,
) -> None:
    configure(rate_hz=50.0, gap_grace_s=1, max_tick_age_s=1)
    async with a_house() as house:
        crossed = {wish: a_stop(wish, 40) for wish in ("hold", "fire", "cancel")}
        far = a_stop("fire", 4000)
        for order in (*crossed.values(), far):
            assert (await submit(order)).life.armed
        await until_its_silences_are_known(house)
        with doctor.silence(jump=-100):
            await until_stale(house)
            assert [(await timeline(each.oid)).life.armed for each in crossed.values()] == [
                True
            ] * 3
        held = await until_life(crossed["hold"].oid, lambda life: not life.armed, "held")
        assert (held.state, "crossed while nobody watched" in held.reason) == ("held", True)
        assert (await until_is(crossed["cancel"].oid, "cancelled")).venue_ids == ()
        await until_is(crossed["fire"].oid, "filled")
        assert (await timeline(far.oid)).life.armed


def a_stop(wish: str, ticks: int) -> Order:
    """A dark order to sell so many ticks below where the market began."""
    trigger = PRICE - ticks * TICK
    changed = {"side": "sell", "when": "below", "sends": "market", "on_gap": wish}
    return an_order(PAPER, kind="dark", limit=None, trigger=trigger, **changed)


async def until_its_silences_are_known(house: House) -> None:
    """Wait until datad has seen enough of the market to know how long it is usually silent.

    It may still not know: quotes that come together are one sign of life.
    """
    async for _ in Looks():
        counters = {each.name: each.value for each in (await house.health(*DATAD)).counters}
        if counters["ticks"] > TICKS_A_QUOTE * ENOUGH:
            return


async def until_stale(house: House) -> None:
    """Wait until datad calls the market stale, though it may know nothing of its silences."""
    with trio.fail_after(UNLEARNT_NS / NS + PATIENCE_S):
        async for _ in Looks():
            health = await house.health(*DATAD)
            if (SIM.market, "stale") in [(each.name, each.state) for each in health.components]:
                return


# --- and kills on top of it


def slow(random: Random) -> AbstractContextManager[None]:
    return journal_is_slow()


def full(random: Random) -> AbstractContextManager[None]:
    return full_disk()


async def tortured(season: Season, kills: int = KILLS, kind: Kind = SIM) -> Torture:
    return await torture(kills, secrets.randbelow(1_000_000), season=season, kind=kind)


async def test_books_agree_after_kills_while_fsyncs_are_slow() -> None:
    run = await tortured(Season(weather=slow))
    assert run.load.promised


async def test_books_agree_after_kills_on_a_full_disk() -> None:
    with small_disk(DISK_MB):
        run = await tortured(Season(weather=full, felt="refused DiskFull"))
    assert run.load.counts["refused DiskFull"]


@both_venues
async def test_books_agree_after_kills_while_the_venue_loses_repeats_and_reorders(
    kind: Kind,
) -> None:
    run = await tortured(Season(wrongs=True), kind=kind)
    assert run.load.promised
    assert run.faults


@both_venues
async def test_books_agree_after_kills_while_the_clock_is_stepped(
    doctor: Doctor, kind: Kind
) -> None:
    @contextmanager
    def stepped(random: Random) -> Iterator[None]:
        doctor.step_clock(random.randint(-10, 10))
        yield

    run = await tortured(Season(weather=stepped), kind=kind)
    assert run.load.promised


async def test_books_agree_after_kills_while_the_feed_is_silent(doctor: Doctor) -> None:
    def silent(random: Random) -> AbstractContextManager[None]:
        return doctor.silence(jump=random.randint(-8, 8))

    run = await tortured(Season(weather=silent, between_kills_s=(6.0, 8.0)), kills=3)
    assert run.load.promised
