"""Kills at exactly the points where an order could be lost or doubled, for real."""

from collections import Counter

import pytest
import trio

from piker.orders import NOTHING, Life
from tests.torture.books import Resting, main_book, paper_book
from tests.torture.house import (
    MAIN,
    PAPER,
    PRICE,
    TICK,
    VENUE,
    House,
    a_house,
    amend,
    an_order,
    cancel,
    configure,
    submit,
    timeline,
    until,
    until_life,
    until_ready,
)
from tests.torture.weather import Doctor, journal_is_slow

NOT_AFTER_S = 1.5
LONG_FSYNC_S = 1.0
BROKERS = {MAIN: "brokerd@sim", PAPER: "paperboi@sim"}
both_accounts = pytest.mark.parametrize("account", BROKERS)


@pytest.fixture(autouse=True)
def configuration(home: object) -> None:
    configure(not_after_s=NOT_AFTER_S)


def booked(house: House, oid: str) -> int:
    """How often an order came into the books of both venues."""
    with house.frozen("paperboi@sim"):
        return (paper_book().booked + main_book().booked)[oid]


def is_working(house: House, oid: str) -> bool:
    """Whether paperboi works on an order."""
    with house.frozen("paperboi@sim"):
        return oid in paper_book().open


def fills(house: House, oid: str) -> list[str]:
    """The ids of an order's executions at both venues."""
    with house.frozen("paperboi@sim"):
        both = (*paper_book().executions, *main_book().executions)
        return [each.exec_id for each in both if each.oid == oid]


def resting(house: House, oid: str) -> Resting:
    """An order as the venue works on it."""
    with house.frozen("paperboi@sim"):
        return (paper_book().open | main_book().open)[oid]


async def warm_up(house: House) -> None:
    """Have everything run, and both accounts ready."""
    for account in BROKERS:
        order = an_order(account, side="sell", limit=PRICE + 100)
        await submit(order)
        await until_life(order.oid, is_open, "open")
    await until_ready(*BROKERS)


def is_open(life: Life) -> bool:
    return life.state == "open"


def is_closed(life: Life) -> bool:
    return life.closed


def executions(life: Life) -> Counter[str]:
    return Counter(each.exec_id for each in life.executions)


@both_accounts
async def test_what_was_committed_and_not_sent_never_leaves_when_its_sender_is_killed(
    account: str,
) -> None:
    async with a_house() as house:
        await warm_up(house)
        with house.frozen(BROKERS[account]):
            await submit(an_order(account))  # written, so that the next one waits its turn
            waiting = an_order(account)
            assert (await submit(waiting)).life.state == "sending"
            await house.kill("emsd")
        life = await until_life(waiting.oid, is_closed, "closed")
        assert life.state == "rejected"
        assert booked(house, waiting.oid) == 0


@both_accounts
async def test_a_request_that_was_written_and_whose_sender_was_killed_is_refused_later(
    account: str,
) -> None:
    async with a_house() as house:
        await warm_up(house)
        with house.frozen(BROKERS[account]):
            written = an_order(account)
            await submit(written)
            await submit(an_order(account))  # answered after the first one was written
            await house.kill("emsd")
        await house.until_said(BROKERS[account], f"Place of {written.oid} does not reach the venue")
        life = await until_life(written.oid, is_closed, "closed")
        assert life.state == "rejected"
        assert booked(house, written.oid) == 0


@both_accounts
async def test_a_request_that_reaches_a_broker_daemon_too_late_is_refused(account: str) -> None:
    async with a_house() as house:
        await warm_up(house)
        with house.frozen(BROKERS[account]):
            late = an_order(account)
            await submit(late)
            await trio.sleep(NOT_AFTER_S + 0.2)  # this long is what it is about
        life = await until_life(late.oid, is_closed, "closed")
        assert (life.state, "waited for too long" in life.reason) == ("rejected", True)
        assert booked(house, late.oid) == 0


@both_accounts
async def test_an_amendment_that_a_killed_sender_left_behind_is_refused(account: str) -> None:
    async with a_house() as house:
        await warm_up(house)
        order = an_order(account)
        await submit(order)
        await until_life(order.oid, is_open, "open")
        with house.frozen(BROKERS[account]):
            await amend(order.oid, limit=PRICE - 40)
            await submit(an_order(account))  # answered after the amendment was written
            await house.kill("emsd")
        life = await until_life(order.oid, lambda life: life.amend is None, "in no doubt")
        assert (life.state, life.limit) == ("open", order.limit)
        assert resting(house, order.oid).limit == order.limit


async def test_an_order_that_is_filled_after_a_larger_total_got_lost_is_filled() -> None:
    async with a_house() as house:
        await warm_up(house)
        order = an_order(MAIN)
        await submit(order)
        await until_life(order.oid, is_open, "open")
        with house.frozen("brokerd@sim"):
            await amend(order.oid, size=order.size * 3)
            await submit(an_order(MAIN))  # answered after the amendment was written
            await house.kill("emsd")
        await until_ready(MAIN)
        await house.venue.move(PRICE - 60)
        life = await until_life(order.oid, is_closed, "closed")
        assert (life.state, life.filled) == ("filled", order.size)


@both_accounts
async def test_a_cancel_that_a_killed_sender_left_behind_is_carried_out(account: str) -> None:
    async with a_house() as house:
        await warm_up(house)
        order = an_order(account)
        await submit(order)
        await until_life(order.oid, is_open, "open")
        with house.frozen(BROKERS[account]):
            await cancel(order.oid)
            await house.kill("emsd")
        life = await until_life(order.oid, is_closed, "closed")
        assert (life.state, life.filled) == ("cancelled", NOTHING)


@pytest.mark.parametrize("victim", ["emsd", "brokerd@sim"])
async def test_what_was_sent_and_is_answered_to_nobody_is_found_at_the_venue(victim: str) -> None:
    async with a_house() as house:
        await warm_up(house)
        with house.frozen(VENUE):
            order = an_order(MAIN)
            said = len(house.lines)
            await submit(order)
            await house.until_said("brokerd@sim", "hands over buy", said)
            await house.kill(victim)
        life = await until_life(order.oid, is_open, "open")
        assert len(life.venue_ids) == 1
        assert booked(house, order.oid) == 1


async def test_what_was_sent_and_died_with_the_venue_is_rejected_by_its_absence() -> None:
    async with a_house() as house:
        await warm_up(house)
        with house.frozen(VENUE):
            order = an_order(MAIN)
            said = len(house.lines)
            await submit(order)
            await house.until_said("brokerd@sim", "hands over buy", said)
            await house.kill(VENUE)
        life = await until_life(order.oid, is_closed, "closed")
        assert life.state == "rejected"
        assert booked(house, order.oid) == 0


@pytest.mark.parametrize("does", ["die_before", "die_after"])
async def test_an_order_is_at_a_venue_that_dies_over_it_as_often_as_it_is_in_our_book(
    does: str,
) -> None:
    async with a_house() as house:
        await warm_up(house)
        await house.venue.fault(does, "NewOrder")
        order = an_order(MAIN)
        await submit(order)
        await house.venue.ended()
        await house.venue.start()
        state = {"die_before": "rejected", "die_after": "open"}[does]
        await until_life(order.oid, lambda life: life.state == state, state)
        assert booked(house, order.oid) == ["die_before", "die_after"].index(does)


async def test_a_fill_while_nobody_heard_it_counts_once() -> None:
    async with a_house() as house:
        await warm_up(house)
        order = an_order(MAIN)
        await submit(order)
        await until_life(order.oid, is_open, "open")
        with house.frozen("emsd"):
            await house.venue.move(PRICE - 60)
            await house.kill("emsd")
        life = await until_life(order.oid, is_closed, "closed")
        assert (life.state, life.filled, life.average_price) == ("filled", order.size, PRICE - 60)
        assert executions(life) == Counter(fills(house, order.oid))


async def test_a_paper_fill_while_nobody_heard_it_counts_once(doctor: Doctor) -> None:
    async with a_house() as house:
        await warm_up(house)
        order = an_order(PAPER)
        await submit(order)
        await until_life(order.oid, is_open, "open")
        with house.frozen("emsd"):
            doctor.jump(-300)
            await until(lambda: not is_working(house, order.oid), "a fill")
            await house.kill("emsd")
        life = await until_life(order.oid, is_closed, "closed")
        assert (life.state, life.filled) == ("filled", order.size)
        assert executions(life) == Counter(fills(house, order.oid))


async def test_a_fill_that_was_heard_and_not_committed_counts_once() -> None:
    async with a_house() as house:
        await warm_up(house)
        order = an_order(MAIN)
        await submit(order)
        await until_life(order.oid, is_open, "open")
        with journal_is_slow():
            await house.venue.move(PRICE - 60)
            await until(lambda: bool(main_book().executions), "a fill")
            await house.kill("emsd")
        life = await until_life(order.oid, is_closed, "closed")
        assert (life.state, life.filled) == ("filled", order.size)
        assert executions(life) == Counter(fills(house, order.oid))


async def test_nothing_is_answered_or_sent_before_it_is_on_disk() -> None:
    async with a_house() as house:
        await warm_up(house)
        order = an_order(MAIN)
        with journal_is_slow():
            with trio.move_on_after(LONG_FSYNC_S) as waiting:
                await submit(order)
            assert waiting.cancelled_caught
            assert booked(house, order.oid) == 0
        await submit(order)
        await until_life(order.oid, is_open, "open")
        assert booked(house, order.oid) == 1


async def test_what_was_not_committed_when_emsd_was_killed_never_was() -> None:
    async with a_house() as house:
        await warm_up(house)
        order = an_order(MAIN)
        with journal_is_slow():
            with trio.move_on_after(LONG_FSYNC_S):
                await submit(order)
            await house.kill("emsd")
        assert (await submit(order)).life.state == "sending"
        await until_life(order.oid, is_open, "open")
        events = [type(news.event).__name__ for news in (await timeline(order.oid)).events]
        assert events == ["Submitted", "Sending", "Acked"]
        assert booked(house, order.oid) == 1


@both_accounts
async def test_a_client_that_asks_again_after_a_lost_reply_has_one_order(account: str) -> None:
    async with a_house() as house:
        await warm_up(house)
        order = an_order(account)
        await submit(order)
        # a kill before it has left would end it: it is never sent again
        await until_life(order.oid, is_open, "open")
        await house.kill("emsd")
        await submit(order)
        await until_life(order.oid, is_open, "open")
        await submit(order)
        assert booked(house, order.oid) == 1


async def test_a_dark_order_that_was_triggered_and_not_sent_is_not_sent_by_the_next_emsd() -> None:
    async with a_house() as house:
        await warm_up(house)
        with house.frozen("brokerd@sim"):
            await submit(an_order(MAIN))
            dark = an_order(MAIN, kind="dark", limit=None, trigger=PRICE + 200 * TICK, when="below")
            await submit(dark)
            await until_life(dark.oid, lambda life: life.state == "sending", "sending")
            await house.kill("emsd")
        life = await until_life(dark.oid, is_closed, "closed")
        assert life.state == "rejected"
        assert booked(house, dark.oid) == 0
