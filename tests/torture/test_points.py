"""Kills at exactly the points where an order could be lost or doubled, for real."""

from collections import Counter
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import Literal

import pytest
import trio

from piker.brokers.sim.venuecontrol import Fault
from piker.orders import NOTHING, Execution, Life
from tests.fakes.gateway import faults
from tests.fakes.gateway.actions import SetFault, Start, Stop
from tests.torture.books import Resting
from tests.torture.house import (
    VENUE,
    House,
    a_house,
    amend,
    cancel,
    configure,
    resolve,
    submit,
    sync,
    timeline,
    until,
    until_life,
    until_ready,
)
from tests.torture.ib import IB
from tests.torture.sim import SIM
from tests.torture.venues import TICK, Kind
from tests.torture.weather import Doctor, journal_is_slow

NOT_AFTER_S = 1.5
LONG_FSYNC_S = 1.0
both_venues = pytest.mark.parametrize("kind", [SIM, IB], ids=str)
every_account = pytest.mark.parametrize(
    ("kind", "account"), [(SIM, SIM.main), (SIM, SIM.paper), (IB, IB.main)], ids=str
)
"""paperboi is the same with ib."""


@asynccontextmanager
async def a_warm_house(kind: Kind) -> AsyncIterator[House]:
    """Everything runs, and both accounts are ready."""
    configure(kind, not_after_s=NOT_AFTER_S)
    async with a_house(kind) as house:
        for account in (kind.main, kind.paper):
            order = house.order(account, side="sell", limit=kind.price + 100)
            await submit(order)
            await until_life(order.oid, is_open, "open")
        await until_ready(kind.main, kind.paper)
        yield house


def booked(house: House, oid: str) -> int:
    """How often an order came into the books of both venues."""
    return sum(each.booked[oid] for each in house.books())


def is_working(house: House, oid: str) -> bool:
    """Whether either venue works on an order."""
    return any(oid in each.open for each in house.books())


def fills(house: House, oid: str) -> list[Execution]:
    """An order's executions at both venues."""
    return [each for book in house.books() for each in book.executions if each.oid == oid]


def resting(house: House, oid: str) -> Resting:
    """An order as the venue works on it."""
    return next(each.open[oid] for each in house.books() if oid in each.open)


def is_open(life: Life) -> bool:
    return life.state == "open"


async def until_given_up(house: House, oid: str) -> Life:
    """Wait until an order that the venue doesn't have is over.

    Its absence says so, or, where that proves nothing, its owner: only he does, at any look.
    """
    if house.kind.absence_proves:
        return await until_life(oid, is_closed, "closed")
    await until_life(oid, is_unknown, "unknown")
    await until_ready(house.kind.main)
    await sync(house.kind.main)
    assert (await timeline(oid)).life.state == "unknown"
    return await resolve(oid, "rejected", "the gateway's window has no such order")


def is_unknown(life: Life) -> bool:
    return life.state == "unknown"


def is_closed(life: Life) -> bool:
    return life.closed


def ids(executions: Iterable[Execution]) -> Counter[str]:
    return Counter(each.exec_id for each in executions)


@every_account
async def test_what_was_committed_and_not_sent_never_leaves_when_its_sender_is_killed(
    kind: Kind, account: str
) -> None:
    async with a_warm_house(kind) as house:
        with house.frozen(kind.broker(account)):
            await submit(house.order(account))  # written, so that the next one waits its turn
            waiting = house.order(account)
            assert (await submit(waiting)).life.state == "sending"
            await house.kill("emsd")
        assert (await until_given_up(house, waiting.oid)).state == "rejected"
        assert booked(house, waiting.oid) == 0


@every_account
async def test_a_request_that_was_written_and_whose_sender_was_killed_is_refused_later(
    kind: Kind, account: str
) -> None:
    async with a_warm_house(kind) as house:
        with house.frozen(kind.broker(account)):
            written = house.order(account)
            await submit(written)
            await submit(house.order(account))  # answered after the first one was written
            await house.kill("emsd")
        await house.until_said(
            kind.broker(account), f"Place of {written.oid} does not reach the venue"
        )
        assert (await until_given_up(house, written.oid)).state == "rejected"
        assert booked(house, written.oid) == 0


@every_account
async def test_a_request_that_reaches_a_broker_daemon_too_late_is_refused(
    kind: Kind, account: str
) -> None:
    async with a_warm_house(kind) as house:
        with house.frozen(kind.broker(account)):
            late = house.order(account)
            await submit(late)
            await trio.sleep(NOT_AFTER_S + 0.2)  # this long is what it is about
        life = await until_life(late.oid, is_closed, "closed")
        assert (life.state, "waited for too long" in life.reason) == ("rejected", True)
        assert booked(house, late.oid) == 0


@every_account
async def test_an_amendment_that_a_killed_sender_left_behind_is_refused(
    kind: Kind, account: str
) -> None:
    async with a_warm_house(kind) as house:
        order = house.order(account)
        await submit(order)
        await until_life(order.oid, is_open, "open")
        with house.frozen(kind.broker(account)):
            await amend(order.oid, limit=kind.price - 40)
            await submit(house.order(account))  # answered after the amendment was written
            await house.kill("emsd")
        life = await until_life(order.oid, lambda life: life.amend is None, "in no doubt")
        assert (life.state, life.limit) == ("open", order.limit)
        assert resting(house, order.oid).limit == order.limit


@both_venues
async def test_an_order_that_is_filled_after_a_larger_total_got_lost_is_filled(kind: Kind) -> None:
    async with a_warm_house(kind) as house:
        order = house.order(kind.main)
        await submit(order)
        await until_life(order.oid, is_open, "open")
        with house.frozen(kind.broker(kind.main)):
            await amend(order.oid, size=order.size * 3)
            await submit(house.order(kind.main))  # answered after the amendment was written
            await house.kill("emsd")
        await until_ready(kind.main)
        await house.venue.move(kind.price - 60)
        life = await until_life(order.oid, is_closed, "closed")
        assert (life.state, life.filled) == ("filled", order.size)


@every_account
async def test_a_cancel_that_a_killed_sender_left_behind_is_carried_out(
    kind: Kind, account: str
) -> None:
    async with a_warm_house(kind) as house:
        order = house.order(account)
        await submit(order)
        await until_life(order.oid, is_open, "open")
        with house.frozen(kind.broker(account)):
            await cancel(order.oid)
            await house.kill("emsd")
        life = await until_life(order.oid, is_closed, "closed")
        assert (life.state, life.filled) == ("cancelled", NOTHING)


@both_venues
@pytest.mark.parametrize("victim", ["emsd", "brokerd"])
async def test_what_was_sent_and_is_answered_to_nobody_is_found_at_the_venue(
    kind: Kind, victim: str
) -> None:
    async with a_warm_house(kind) as house:
        with house.frozen(VENUE):
            order = house.order(kind.main)
            said = len(house.lines)
            await submit(order)
            await house.until_said(kind.broker(kind.main), "hands over buy", said)
            await house.kill(victim if victim == "emsd" else kind.broker(kind.main))
        life = await until_life(order.oid, is_open, "open")
        assert len(life.venue_ids) == 1
        assert booked(house, order.oid) == 1


@both_venues
async def test_what_was_sent_and_died_with_the_venue_is_given_up(kind: Kind) -> None:
    async with a_warm_house(kind) as house:
        with house.frozen(VENUE):
            order = house.order(kind.main)
            said = len(house.lines)
            await submit(order)
            await house.until_said(kind.broker(kind.main), "hands over buy", said)
            await house.kill(VENUE)
        assert (await until_given_up(house, order.oid)).state == "rejected"
        assert booked(house, order.oid) == 0


@pytest.mark.parametrize("does", ["die_before", "die_after"])
async def test_an_order_is_at_a_venue_that_dies_over_it_as_often_as_it_is_in_our_book(
    does: Literal["die_before", "die_after"],
) -> None:
    async with a_warm_house(SIM) as house:
        await house.venue.get_wrong(Fault(does=does, on="NewOrder"))
        order = house.order(SIM.main)
        await submit(order)
        await house.venue.come_back()
        state = {"die_before": "rejected", "die_after": "open"}[does]
        await until_life(order.oid, lambda life: life.state == state, state)
        assert booked(house, order.oid) == ["die_before", "die_after"].index(does)


@pytest.mark.parametrize(
    "fault", [faults.HangUp(request="PlaceOrder", done=True, times=1), faults.Swallow(times=1)]
)
async def test_an_order_that_a_gateway_took_without_saying_so_is_found_in_its_list(
    fault: faults.AnyFault,
) -> None:
    async with a_warm_house(IB) as house:
        await house.venue.get_wrong((SetFault(fault=fault),))
        order = house.order(IB.main)
        await submit(order)
        life = await until_life(order.oid, is_open, "open")
        assert (len(life.venue_ids), booked(house, order.oid)) == (1, 1)


@pytest.mark.parametrize(
    "fault",
    [faults.HangUp(request="PlaceOrder", times=1), faults.Drop(request="PlaceOrder", times=1)],
)
async def test_an_order_that_got_lost_at_a_gateway_is_unknown_until_its_owner_says_more(
    fault: faults.AnyFault,
) -> None:
    async with a_warm_house(IB) as house:
        await house.venue.get_wrong((SetFault(fault=fault),))
        order = house.order(IB.main)
        await submit(order)
        assert (await until_given_up(house, order.oid)).state == "rejected"
        assert booked(house, order.oid) == 0


async def test_an_order_that_is_placed_after_a_gateway_began_its_ids_anew_changes_no_other() -> (
    None
):
    async with a_warm_house(IB) as house:
        before, after = house.order(IB.main), house.order(IB.main)
        await submit(before)
        await until_life(before.oid, is_open, "open")
        await house.kill(IB.broker(IB.main))
        await house.venue.get_wrong((Stop(roll_back_ids=True), Start()))
        await until_ready(IB.main)
        await submit(after)
        lives = [await until_life(each.oid, is_open, "open") for each in (before, after)]
        assert len({life.venue_ids for life in lives}) == 2
        assert [booked(house, each.oid) for each in (before, after)] == [1, 1]


@both_venues
async def test_a_fill_while_nobody_heard_it_counts_once(kind: Kind) -> None:
    async with a_warm_house(kind) as house:
        order = house.order(kind.main)
        await submit(order)
        await until_life(order.oid, is_open, "open")
        with house.frozen("emsd"):
            await house.venue.move(kind.price - 60)
            await house.kill("emsd")
        life = await until_life(order.oid, is_closed, "closed")
        (fill,) = fills(house, order.oid)
        assert (life.state, life.filled, life.average_price) == ("filled", order.size, fill.price)
        assert ids(life.executions) == ids([fill])


async def test_a_paper_fill_while_nobody_heard_it_counts_once(doctor: Doctor) -> None:
    async with a_warm_house(SIM) as house:
        order = house.order(SIM.paper)
        await submit(order)
        await until_life(order.oid, is_open, "open")
        with house.frozen("emsd"):
            doctor.jump(-300)
            await until(lambda: not is_working(house, order.oid), "a fill")
            await house.kill("emsd")
        life = await until_life(order.oid, is_closed, "closed")
        assert (life.state, life.filled) == ("filled", order.size)
        assert ids(life.executions) == ids(fills(house, order.oid))


@both_venues
async def test_a_fill_that_was_heard_and_not_committed_counts_once(kind: Kind) -> None:
    async with a_warm_house(kind) as house:
        order = house.order(kind.main)
        await submit(order)
        await until_life(order.oid, is_open, "open")
        with journal_is_slow():
            await house.venue.move(kind.price - 60)
            await until(lambda: bool(kind.book().executions), "a fill")
            await house.kill("emsd")
        life = await until_life(order.oid, is_closed, "closed")
        assert (life.state, life.filled) == ("filled", order.size)
        assert ids(life.executions) == ids(fills(house, order.oid))


async def test_nothing_is_answered_or_sent_before_it_is_on_disk() -> None:
    async with a_warm_house(SIM) as house:
        order = house.order(SIM.main)
        with journal_is_slow():
            with trio.move_on_after(LONG_FSYNC_S) as waiting:
                await submit(order)
            assert waiting.cancelled_caught
            assert booked(house, order.oid) == 0
        await submit(order)
        await until_life(order.oid, is_open, "open")
        assert booked(house, order.oid) == 1


async def test_what_was_not_committed_when_emsd_was_killed_never_was() -> None:
    async with a_warm_house(SIM) as house:
        order = house.order(SIM.main)
        with journal_is_slow():
            with trio.move_on_after(LONG_FSYNC_S):
                await submit(order)
            await house.kill("emsd")
        assert (await submit(order)).life.state == "sending"
        await until_life(order.oid, is_open, "open")
        events = [type(news.event).__name__ for news in (await timeline(order.oid)).events]
        assert events == ["Submitted", "Sending", "Acked"]
        assert booked(house, order.oid) == 1


@every_account
async def test_a_client_that_asks_again_after_a_lost_reply_has_one_order(
    kind: Kind, account: str
) -> None:
    async with a_warm_house(kind) as house:
        order = house.order(account)
        await submit(order)
        # a kill before it has left would end it: it is never sent again
        await until_life(order.oid, is_open, "open")
        await house.kill("emsd")
        await submit(order)
        await until_life(order.oid, is_open, "open")
        await submit(order)
        assert booked(house, order.oid) == 1


@both_venues
async def test_a_dark_order_that_was_triggered_and_not_sent_is_not_sent_by_the_next_emsd(
    kind: Kind,
) -> None:
    async with a_warm_house(kind) as house:
        with house.frozen(kind.broker(kind.main)):
            await submit(house.order(kind.main))
            dark = house.order(
                kind.main, kind="dark", limit=None, trigger=kind.price + 200 * TICK, when="below"
            )
            await submit(dark)
            await house.venue.move(kind.price)
            await until_life(dark.oid, lambda life: life.state == "sending", "sending")
            await house.kill("emsd")
        assert (await until_given_up(house, dark.oid)).state == "rejected"
        assert booked(house, dark.oid) == 0
