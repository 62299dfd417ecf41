"""The way to a broker daemon: what leaves and when, what is said of it, what a look finds."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from decimal import Decimal
from typing import Any

import pytest
import trio
from msgspec import structs
from trio.testing import wait_all_tasks_blocked

from piker import clock, routing
from piker.accounts import Adjustment
from piker.errors import Fault, Refused
from piker.interfaces import Interface
from piker.interfaces.broker import (
    BROKER,
    Amend,
    Cancel,
    EndedOrder,
    InvalidOrder,
    Link,
    NotConnected,
    Place,
    StaleSession,
    UnknownAccount,
)
from piker.interfaces.orders import AccountUnreachable, DiskFull
from piker.orders import (
    Acked,
    AmendAcked,
    AmendAsked,
    CancelAsked,
    Cancelled,
    Filled,
    Life,
    LinkLost,
    Sending,
    Silence,
    Submitted,
)
from piker.reconciling import set_unexplained, unexplained
from piker.store import journal as journal_module
from tests.conftest import BOOT_NS, WALL_NS
from tests.fakes.broker import (
    ACCOUNT,
    MARKET,
    OTHER,
    Broker,
    House,
    a_fill,
    a_holding,
    a_house,
    an_open_order,
    an_order,
    sending,
    serving,
)

pytestmark = pytest.mark.usefixtures("virtual_time")

DOWN = Link(up=False, reason="the gateway resets")
UP = Link(up=True)


@asynccontextmanager
async def ready(
    broker: Broker | None = None, **settings: Any
) -> AsyncIterator[tuple[House, Broker]]:
    """emsd with a broker daemon that it has reached and compared itself with."""
    broker = broker or Broker()
    async with serving(broker), a_house(**settings) as house:
        await house.until_ready()
        yield house, broker


async def open_order(house: House, broker: Broker, oid: str = "1", **changed: Any) -> None:
    """An order that the venue has taken, and lists."""
    house.submit(oid, **changed)
    await broker.until(lambda: oid in broker.placed)
    broker.orders = (*broker.orders, an_open_order(oid))
    broker.tell(oid, Acked(venue_id=f"v{oid}"))
    await house.until_state("open", oid)


async def unknown_order(house: House, broker: Broker) -> None:
    """An order that was sent, and the link was lost before an answer came."""
    house.submit()
    await broker.until(lambda: broker.placed == ["1"])
    broker.say_link(DOWN)
    await house.until_state("unknown")


def ask_amend(house: House, oid: str = "1", size: int = 2) -> None:
    event = AmendAsked(
        n=house.life(oid).amends + 1,
        size=Decimal(size),
        limit=Decimal("1.25"),
        not_after_ns=clock.wall_ns() + 5 * 10**9,
    )
    house.book.record(oid, event)


def in_doubt(life: Life) -> bool:
    return bool(life.amend and life.amend.unknown)


# --- what leaves


async def test_an_order_leaves_when_it_is_on_disk_with_the_session_and_its_last_instant() -> None:
    async with ready() as (house, broker):
        house.submit()
        assert house.book.journal.committed_seq == 0
        await wait_all_tasks_blocked()
        await broker.until(lambda: broker.placed == ["1"])
        (placed,) = broker.reached
        assert isinstance(placed, Place)
        assert house.book.journal.committed_seq == house.book.seqs["1"]
        assert placed.session == broker.sessions[-1]
        assert placed.not_after_boot_ns - BOOT_NS == house.life().not_after_ns - WALL_NS
        assert (placed.market, placed.size) == (MARKET.fqme, Decimal(3))


async def test_nothing_leaves_while_it_is_not_on_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    async with ready() as (house, broker):
        with monkeypatch.context() as slow:
            slow.setattr(journal_module.Journal, "_attempt", _nothing_is_written)
            house.submit()
            await wait_all_tasks_blocked(0.1)
            assert broker.reached == []
            assert house.book.published == {}


async def _nothing_is_written(journal: journal_module.Journal) -> None:
    await trio.sleep_forever()


async def test_commands_leave_in_the_order_in_which_they_were_committed() -> None:
    async with ready() as (house, broker):
        for number in range(200):
            house.submit(str(number))
        await broker.until(lambda: len(broker.reached) == 200)
        assert broker.placed == [str(number) for number in range(200)]


@pytest.fixture
def one_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Commands wait here for the answer to the one before."""
    monkeypatch.setattr(routing, "AHEAD", 1)


async def test_commands_are_sent_ahead_of_their_answers_but_not_too_many() -> None:
    async with ready() as (house, broker):
        broker.answers = trio.Event()
        for number in range(routing.AHEAD + 1):
            house.submit(str(number))
        await broker.until(lambda: broker.placed == ["0"])
        await trio.sleep(6)
        broker.answers.set()
        await house.until_state("rejected", str(routing.AHEAD))
        said_by_broker = house.life("1").reason
        assert said_by_broker.startswith("It waited for too long, so nothing was sent (late: ")
        assert house.life(str(routing.AHEAD)).reason == "not sent: it waited for too long"
        assert broker.placed == ["0"]


@pytest.mark.usefixtures("one_at_a_time")
async def test_an_order_that_waited_for_too_long_is_refused_with_certainty() -> None:
    async with ready() as (house, broker):
        broker.answers = trio.Event()
        house.submit("1")
        await broker.until(lambda: broker.placed == ["1"])
        house.submit("2")
        await trio.sleep(6)
        broker.answers.set()
        await house.until_state("rejected", "2")
        assert house.life("2").reason == "not sent: it waited for too long"
        assert broker.placed == ["1"]


async def test_an_order_whose_commit_took_too_long_does_not_leave() -> None:
    async with ready() as (house, broker):
        order = an_order()
        house.book.admit(order, sending(order, not_after_s=-1))
        await house.until_state("rejected")
        assert broker.placed == []


async def test_a_broker_daemon_refuses_what_is_of_another_session_and_the_order_is_rejected() -> (
    None
):
    async with ready() as (house, broker):
        assert house.route.opened
        house.route.opened = structs.replace(house.route.opened, session="another")
        house.submit()
        await house.until_state("rejected")
        assert broker.refused == [StaleSession(session="another")]
        assert broker.placed == []


async def test_the_guard_has_the_last_word() -> None:
    async with ready() as (house, broker):
        house.no = "halted"
        house.submit()
        await house.until_state("rejected")
        assert house.life().reason == "not sent: halted"
        assert broker.placed == []


@pytest.mark.usefixtures("one_at_a_time")
async def test_an_order_that_was_cancelled_before_its_turn_does_not_leave() -> None:
    async with ready() as (house, broker):
        broker.answers = trio.Event()
        house.submit("1")
        house.submit("2")
        await broker.until(lambda: broker.placed == ["1"])
        house.book.record("2", CancelAsked())
        await house.book.until_published(house.book.seqs["2"])
        broker.answers.set()
        await house.until(lambda: house.life("2").closed)
        await broker.until(lambda: broker.cancelled == ["2"])
        assert broker.placed == ["1"]


@pytest.mark.usefixtures("one_at_a_time")
async def test_an_order_that_the_venue_spoke_of_before_its_turn_does_not_leave() -> None:
    async with ready() as (house, broker):
        broker.answers = trio.Event()
        house.submit("1")
        house.submit("2")
        await broker.until(lambda: broker.placed == ["1"])
        broker.tell("2", Cancelled(reason="by hand"))
        await house.until_state("cancelled", "2")
        broker.answers.set()
        await house.look()
        assert broker.placed == ["1"]
        assert house.life("2").reason == "by hand"


@pytest.mark.parametrize(
    "no",
    [
        NotConnected(reason="the gateway resets"),
        InvalidOrder(field="size", value="3", allowed="1"),
        UnknownAccount(account=ACCOUNT, allowed=()),
        StaleSession(session="x"),
    ],
    ids=lambda fault: type(fault).__name__,
)
async def test_what_a_broker_daemon_refuses_by_name_never_reached_the_venue(no: Any) -> None:
    async with ready() as (house, broker):
        broker.no = no
        house.submit()
        await house.until_state("rejected")
        assert house.route.ready


class OutOfTune(Fault, frozen=True, kw_only=True):
    """What only a newer version knows."""


NEWER = Interface(BROKER.name, "Of tomorrow.", BROKER.methods, (*BROKER.faults, OutOfTune))


async def test_a_fault_that_nobody_here_knows_leaves_the_outcome_unknown() -> None:
    broker = Broker()
    broker.no = OutOfTune()
    async with serving(broker, NEWER), a_house() as house:
        await house.until_ready()
        house.submit()
        await house.until_state("unknown")
        assert "speaks another version" in house.life().reason


async def test_who_waits_for_an_account_that_fails_twice_is_told_so_at_once() -> None:
    async with a_house() as house:
        house.route.want()
        await trio.sleep(600)
        began = trio.current_time()
        with pytest.raises(Refused) as no:
            await house.route.until_ready(ACCOUNT)
        assert isinstance(no.value.fault, AccountUnreachable)
        assert trio.current_time() - began < routing.READY_S


async def test_who_waits_for_an_account_whose_venue_is_away_is_told_so_at_once() -> None:
    broker = Broker()
    async with ready(broker) as (house, _):
        broker.say_link(DOWN)
        await trio.sleep(routing.DOWN_S)
        began = trio.current_time()
        with pytest.raises(Refused) as no:
            await house.route.until_ready(ACCOUNT)
        assert no.value.fault == AccountUnreachable(account=ACCOUNT, reason="the gateway resets")
        assert trio.current_time() == began


async def test_who_waits_for_an_account_whose_venue_was_just_lost_waits_a_little() -> None:
    broker = Broker()
    async with ready(broker) as (house, _), trio.open_nursery() as nursery:
        broker.say_link(DOWN)
        await wait_all_tasks_blocked()
        nursery.start_soon(house.route.until_ready, ACCOUNT)
        await trio.sleep(routing.DOWN_S - 1)
        broker.say_link(UP)
    assert house.route.ready


async def test_a_venue_that_was_away_before_the_broker_daemon_ended_may_be_back() -> None:
    broker = Broker()
    async with a_house() as house:
        async with serving(broker):
            broker.link = DOWN
            house.route.want()
            await trio.sleep(600)
        broker.link = UP
        await trio.sleep(600)
        async with serving(broker):
            await house.route.until_ready(ACCOUNT)
            assert house.route.ready


async def test_who_waits_for_an_account_has_it_tried_again_at_once() -> None:
    broker = Broker()
    async with a_house() as house:
        house.route.want()
        await trio.sleep(600)
        async with serving(broker):
            await house.route.until_ready(ACCOUNT)
            assert house.route.ready


async def test_an_open_order_that_nobody_here_knows_is_said_of_its_account() -> None:
    async with ready() as (house, broker):
        assert house.states()[0].reason == ""
        broker.orders = (an_open_order("by-hand"),)
        await house.look()
        remark = "1 order is open at the venue that did not come from here"
        assert house.states()[0].reason == remark


async def test_an_account_that_is_not_ready_refuses_what_comes_with_certainty() -> None:
    async with a_house() as house:
        house.submit()
        await house.until_state("rejected")
        assert house.life().reason == "not sent: not asked yet"


@pytest.mark.usefixtures("one_at_a_time")
async def test_no_more_wait_for_their_turn_than_may_but_a_cancel_always_does(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(routing, "MAX_WAITING", 2)
    async with ready() as (house, broker):
        broker.answers = trio.Event()
        house.submit("0")
        await broker.until(lambda: broker.placed == ["0"])
        for oid in "123":
            house.submit(oid)
        await house.until_state("rejected", "3")
        assert house.life("3").reason == "not sent: 2 others wait to be"
        house.book.record("0", CancelAsked())
        await house.book.until_published(house.book.seqs["0"])
        broker.answers.set()
        await broker.until(lambda: broker.cancelled == ["0"])
        assert broker.placed == ["0", "1", "2"]


# --- silence and losses


async def test_what_the_venue_is_silent_about_is_unknown_after_the_patience() -> None:
    async with ready() as (house, broker):
        house.submit()
        await broker.until(lambda: broker.placed == ["1"])
        begun = trio.current_time()
        await house.until(lambda: house.life().state != "sending")
        assert house.life().state == "unknown"
        assert 9.9 <= trio.current_time() - begun <= 12
        assert broker.placed == ["1"]


async def test_a_cancel_or_an_amendment_without_an_answer_is_in_doubt_and_the_order_open() -> None:
    async with ready() as (house, broker):
        await open_order(house, broker)
        ask_amend(house)
        await house.until(lambda: in_doubt(house.life()))
        assert house.life().state == "open"


async def test_the_silence_of_an_amendment_is_not_that_of_the_order_before_it() -> None:
    async with ready() as (house, broker):
        await open_order(house, broker)
        await trio.sleep(8)
        ask_amend(house)
        await broker.until(lambda: isinstance(broker.reached[-1], Amend))
        await trio.sleep(5)
        assert house.life().amend is not None
        assert not in_doubt(house.life())


async def lose_by_hanging_up(broker: Broker) -> None:
    broker.hang_up()


async def lose_by_word(broker: Broker) -> None:
    broker.say_link(DOWN)


async def lose_unseen(broker: Broker) -> None:
    broker.say_link(UP)


async def lose_by_nonsense(broker: Broker) -> None:
    broker.tell("1", Filled(execution=a_fill(price=Decimal("NaN"))))


@pytest.mark.parametrize("lose", [lose_by_hanging_up, lose_by_word, lose_unseen, lose_by_nonsense])
async def test_however_the_link_is_lost_what_was_sent_is_unknown(lose: Any) -> None:
    broker = Broker()
    broker.absence_proves = False
    async with ready(broker) as (house, _):
        house.submit()
        await broker.until(lambda: broker.placed == ["1"])
        await lose(broker)
        await house.until_state("unknown")
        assert broker.placed == ["1"]


async def test_a_call_without_an_answer_in_time_leaves_the_outcome_unknown() -> None:
    async with ready(answer_timeout_s=1000) as (house, broker):
        broker.answers = trio.Event()
        house.submit()
        await house.until_state("unknown")
        assert "did not answer within 30 s" in house.life().reason


@pytest.mark.usefixtures("one_at_a_time")
async def test_when_the_link_is_lost_what_never_left_is_refused_and_never_sent() -> None:
    async with ready() as (house, broker):
        broker.answers = trio.Event()
        house.submit("1")
        await broker.until(lambda: broker.placed == ["1"])
        house.submit("2")
        await house.book.until_published(house.book.seqs["2"])
        broker.say_link(DOWN)
        await house.until_state("rejected", "2")
        assert house.life("1").state == "unknown"
        assert house.life("2").reason == "not sent: the gateway resets"


async def test_what_was_being_written_down_when_the_link_was_lost_is_refused() -> None:
    async with ready() as (house, broker):
        house.submit()
        house.route._lose("lost meanwhile")
        assert house.life().state == "unknown"
        await house.until_state("rejected")
        assert broker.placed == []


async def test_a_session_is_opened_again_with_ever_longer_pauses() -> None:
    broker = Broker()
    broker.opens = False
    async with serving(broker), a_house() as house:
        house.route.want()
        await trio.sleep(60)
        assert 4 <= len(broker.sessions) <= 9
        assert "expected Opened in the first reply" in house.route.reason
        broker.opens = True
        await house.until_ready()


async def test_a_venue_that_lists_nonsense_ends_each_session_without_a_busy_loop() -> None:
    broker = Broker()
    broker.holdings = (structs.replace(a_holding(1), size=Decimal("NaN")),)
    async with serving(broker), a_house() as house:
        house.route.want()
        await trio.sleep(60)
        assert 4 <= len(broker.sessions) <= 9
        assert "lists what can't be" in house.route.reason


async def test_who_waits_for_an_account_is_told_why_it_is_not_ready() -> None:
    async with a_house() as house:
        with pytest.raises(Refused) as no:
            await house.route.until_ready(ACCOUNT)
        assert isinstance(no.value.fault, AccountUnreachable)
        assert "brokerd@sim does not listen" in no.value.fault.reason


async def test_who_waits_for_an_account_that_is_none_of_the_daemons_is_told_which_are() -> None:
    async with ready() as (house, _):
        with pytest.raises(Refused) as no:
            await house.route.until_ready("sim.other")
        assert no.value.fault == UnknownAccount(account="sim.other", allowed=(ACCOUNT,))


async def test_an_account_of_old_is_shown_as_unreachable_before_its_daemon_was_reached() -> None:
    async with a_house() as house:
        house.submit()
        (state,) = house.states()
        assert (state.account, state.state) == (ACCOUNT, "unreachable")


async def test_who_waits_for_a_look_is_let_go_when_the_link_is_lost() -> None:
    async with ready() as (house, broker):
        broker.lists = trio.Event()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(house.route.reconcile)
            await broker.until(lambda: len(broker.asked) == 2)
            broker.hang_up()


async def test_a_list_that_was_asked_for_before_the_link_was_lost_makes_nothing_ready() -> None:
    async with ready() as (house, broker):
        broker.lists = trio.Event()
        house.route._look_wanted.set()
        await broker.until(lambda: len(broker.asked) == 2)
        broker.say_link(DOWN)
        await house.until(lambda: not house.route.ready)
        broker.lists.set()
        await wait_all_tasks_blocked(0.1)
        assert not house.route.ready


# --- cancels


async def test_a_cancel_that_was_asked_for_while_the_link_was_down_leaves_when_it_is_up() -> None:
    async with ready() as (house, broker):
        await open_order(house, broker)
        broker.say_link(DOWN)
        await house.until(lambda: not house.route.ready)
        house.book.record("1", CancelAsked())
        await house.book.until_published(house.book.seqs["1"])
        assert broker.cancelled == []
        broker.say_link(UP)
        await broker.until(lambda: broker.cancelled[:1] == ["1"])


async def test_a_cancel_that_the_link_lost_is_sent_again_after_it_is_up() -> None:
    async with ready() as (house, broker):
        await open_order(house, broker)
        house.book.record("1", CancelAsked())
        await broker.until(lambda: broker.cancelled == ["1"])
        broker.hang_up()
        await broker.until(lambda: broker.cancelled[:2] == ["1", "1"])
        assert isinstance(broker.reached[-1], Cancel)
        assert broker.reached[-1].venue_ids == ("v1",)


async def test_a_cancel_needs_no_room_on_the_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    async with ready() as (house, broker):
        await open_order(house, broker)
        with monkeypatch.context() as full:
            full.setattr(journal_module.Journal, "committed", _no_room)
            house.book.record("1", CancelAsked())
            await broker.until(lambda: broker.cancelled == ["1"])


async def _no_room(journal: journal_module.Journal, seq: int) -> None:
    await trio.sleep(1)
    raise Refused(DiskFull(path="/", free_bytes=0))


async def test_too_much_that_waits_for_the_disk_ends_the_session_and_not_emsd(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with ready() as (house, broker):
        house.submit()
        await broker.until(lambda: broker.placed == ["1"])
        with monkeypatch.context() as full:
            full.setattr(journal_module, "MAX_QUEUED", 0)
            broker.tell("1", Acked(venue_id="v1"))
            await house.until(lambda: not house.route.ready)
            await trio.sleep(30)
            assert house.life().state == "sending"
        broker.orders = (an_open_order(),)
        await house.until_state("open")
        assert LinkLost in [type(news.event) for news in await timeline(house)]


async def timeline(house: House, oid: str = "1") -> Any:
    await house.book.until_published(house.book.seqs[oid])
    return await house.book.journal.read(lambda reader: reader.timeline(oid))


async def test_a_cancel_of_an_order_that_has_left_memory_is_carried_out_all_the_same() -> None:
    async with ready() as (house, broker):
        await open_order(house, broker)
        broker.answers = trio.Event()
        house.submit("2")
        house.book.record("1", CancelAsked())
        await house.book.until_published(house.book.seqs["1"])
        del house.book.lives["1"]  # as the archive does
        broker.answers.set()
        await broker.until(lambda: broker.cancelled == ["1"])


# --- what a look finds


async def test_an_unknown_order_that_is_listed_is_open() -> None:
    async with ready() as (house, broker):
        await unknown_order(house, broker)
        broker.orders = (an_open_order(),)
        broker.say_link(UP)
        await house.until_state("open")


async def test_an_unknown_order_that_is_nowhere_is_rejected_once_that_proves_something() -> None:
    async with ready() as (house, broker):
        await unknown_order(house, broker)
        up = trio.current_time()
        broker.say_link(UP)
        await house.until_ready()
        assert house.life().state == "unknown"
        await house.until_state("rejected")
        assert 5.9 <= trio.current_time() - up <= 15


async def test_an_unknown_order_that_is_nowhere_stays_so_where_absence_proves_nothing() -> None:
    broker = Broker()
    broker.absence_proves = False
    async with ready(broker) as (house, _):
        await unknown_order(house, broker)
        broker.say_link(UP)
        await trio.sleep(100)
        assert house.life().state == "unknown"
        assert 4 <= len(broker.asked) <= 6


async def test_an_open_order_that_is_nowhere_is_its_owners_to_resolve_at_the_second_look() -> None:
    broker = Broker()
    broker.absence_proves = False
    async with ready(broker) as (house, _):
        await open_order(house, broker)
        broker.orders = ()
        looks = len(broker.asked)
        await house.until_state("unknown")
        assert len(broker.asked) in (looks + 2, looks + 3)
        assert house.life().reason == "in no list of the venue, which proves nothing there"
        broker.orders = (an_open_order(),)
        await house.until_state("open")


async def test_an_unknown_order_that_ended_filled_waits_for_its_executions() -> None:
    async with ready() as (house, broker):
        await unknown_order(house, broker)
        broker.ended = (EndedOrder(oid="1", venue_id="v1", outcome="filled"),)
        broker.say_link(UP)
        await trio.sleep(60)
        assert house.life().state == "unknown"
        broker.executions = (a_fill(size=3),)
        await house.until_state("filled")


async def test_what_was_filled_while_nobody_listened_is_filled() -> None:
    async with ready() as (house, broker):
        await unknown_order(house, broker)
        broker.executions = (a_fill("e1", size=2), a_fill("e2", size=1))
        broker.holdings = (a_holding(3),)
        broker.say_link(UP)
        await house.until_state("filled")
        await house.until_ready()
        assert house.held() == 3
        await trio.sleep(100)
        assert unexplained(house.book, ACCOUNT) == ()


async def test_the_venue_is_asked_at_the_start_and_every_thirty_seconds() -> None:
    async with ready() as (_, broker):
        await trio.sleep(95)
        assert len(broker.asked) == 4


async def test_a_look_asks_for_what_may_have_been_missed_since_the_one_before() -> None:
    async with ready() as (house, broker):
        await house.look()
        first, second = broker.asked
        assert second.since_ns > first.since_ns
        broker.say_link(UP)
        await broker.until(lambda: len(broker.asked) == 3)
        assert broker.asked[2].since_ns >= second.since_ns
        broker.hang_up()
        await broker.until(lambda: len(broker.asked) == 4)
        assert broker.asked[3].since_ns < second.since_ns


async def test_a_list_is_older_than_what_the_venue_said_since_it_was_asked() -> None:
    async with ready() as (house, broker):
        await open_order(house, broker)
        broker.orders, broker.lists = (), trio.Event()
        house.route._look_wanted.set()
        await broker.until(lambda: len(broker.asked) == 2)
        broker.tell("1", Acked(venue_id="v1b"))
        await house.until(lambda: "v1b" in house.life().venue_ids)
        broker.lists.set()
        await wait_all_tasks_blocked(0.1)
        assert house.life().state == "open"


async def test_looks_of_orders_as_they_are_write_nothing_down() -> None:
    async with ready() as (house, broker):
        await open_order(house, broker)
        seq = house.book.journal.newest_seq
        await house.look()
        await house.look()
        assert house.book.journal.newest_seq == seq


async def test_a_lost_amendment_leaves_the_order_as_the_list_has_it() -> None:
    async with ready() as (house, broker):
        await open_order(house, broker)
        ask_amend(house, size=2)
        await house.until(lambda: house.life().amend is None)
        assert house.life().size == 3


async def test_an_amendment_that_arrived_is_found_in_the_list() -> None:
    async with ready() as (house, broker):
        await open_order(house, broker)
        broker.orders = (an_open_order(size=Decimal(2)),)
        ask_amend(house, size=2)
        await house.until(lambda: house.life().amend is None)
        assert house.life().size == 2


async def test_a_late_fill_of_an_archived_order_counts_in_it_and_in_the_ledger() -> None:
    async with ready() as (house, broker):
        await open_order(house, broker)
        broker.orders = ()
        broker.tell("1", Cancelled(venue_id="v1"))
        await house.until_state("cancelled")
        await house.book.until_published(house.book.seqs["1"])
        for each in (house.book.lives, house.book.published, house.book.seqs, house.book._closed):
            del each["1"]  # as the archive does
        broker.tell("1", Filled(execution=a_fill()))
        await house.until(lambda: "1" in house.book.lives and house.life().late == 1)
        assert house.life().state == "cancelled"
        assert house.held() == 1


# --- what is held


async def test_what_was_held_at_the_first_connection_is_an_opening() -> None:
    broker = Broker()
    broker.holdings = (structs.replace(a_holding(7), average_price=Decimal(2)),)
    async with ready(broker) as (house, _):
        position = house.book.position(ACCOUNT, MARKET.fqme)
        assert position.size == 7
        assert position.average_price == 2
        (entry,) = entries(house)
        assert isinstance(entry, Adjustment)
        assert entry.kind == "opening"


def entries(house: House, market: str = MARKET.fqme) -> list[Any]:
    ledger = house.book.ledger(ACCOUNT, market)
    return ledger.entries() if ledger else []


async def test_the_opening_is_what_was_held_before_the_fills_of_the_first_answer() -> None:
    broker = Broker()
    broker.holdings = (a_holding(7),)
    broker.executions = (a_fill(oid="", size=3),)
    async with ready(broker) as (house, _):
        opening, fill = entries(house)
        assert [opening.size, fill.size, house.held()] == [4, 3, 7]


async def test_what_nobody_can_describe_at_the_first_connection_is_opened_when_somebody_can() -> (
    None
):
    broker = Broker()
    broker.holdings = (a_holding(7, OTHER.fqme),)
    async with serving(broker), a_house() as house:
        del house.known[OTHER.fqme]
        await house.until_ready()
        house.known[OTHER.fqme] = OTHER
        await trio.sleep(400)
        assert house.held(OTHER.fqme) == 7
        assert unexplained(house.book, ACCOUNT) == ()
        assert 1 < len(house.asked_for) < 5


async def test_commands_leave_and_words_are_heard_while_a_datad_is_silent() -> None:
    async with ready() as (house, broker):
        house.learning = trio.Event()
        broker.holdings = (a_holding(7, OTHER.fqme),)
        house.route._look_wanted.set()
        await house.until(lambda: house.asked_for == [OTHER.fqme])
        await open_order(house, broker)


async def test_a_fill_of_somebody_elses_order_changes_what_is_held() -> None:
    async with ready() as (house, broker):
        broker.tell("", Filled(execution=a_fill(oid="", size=2)))
        broker.tell("hand", Filled(execution=a_fill("e2", oid="hand", size=3)))
        await house.until(lambda: house.held() == 5)
        broker.executions = tuple(entries(house))
        broker.holdings = (a_holding(5),)
        await house.look()
        assert house.held() == 5
        assert list(house.book.lives) == []


async def test_a_fill_in_a_market_that_nobody_knew_is_taken_by_the_next_look() -> None:
    async with ready() as (house, broker):
        fill = a_fill(oid="", size=2, market=OTHER.fqme)
        broker.executions, broker.holdings = (fill,), (a_holding(2, OTHER.fqme),)
        broker.tell("", Filled(execution=fill))
        await house.until(lambda: OTHER.fqme in house.book.markets)
        await house.look()
        assert entries(house, OTHER.fqme) == [fill]


async def test_a_difference_that_is_seen_twice_is_unexplained_and_blocks_until_accepted() -> None:
    async with ready() as (house, broker):
        broker.holdings = (a_holding(4),)
        await house.look()
        assert house.held() == 0
        await house.look()
        assert house.held() == 4
        (state,) = house.states()
        assert state.unexplained == (MARKET.fqme,)
        set_unexplained(house.book, ACCOUNT, ())
        await house.look()
        await house.look()
        assert unexplained(house.book, ACCOUNT) == ()


async def test_a_difference_that_changes_is_no_difference_yet() -> None:
    async with ready() as (house, broker):
        for size in (4, 5, 4):
            broker.holdings = (a_holding(size),)
            await house.look()
        assert unexplained(house.book, ACCOUNT) == ()


async def test_a_difference_from_before_the_link_was_lost_is_not_seen_twice() -> None:
    async with ready() as (house, broker):
        broker.holdings = (a_holding(4),)
        await house.look()
        broker.lists = trio.Event()
        broker.say_link(UP)
        await house.until(lambda: not house.route.ready)
        broker.lists.set()
        await house.until_ready()
        assert unexplained(house.book, ACCOUNT) == ()


async def test_a_venue_that_gives_one_execution_id_to_two_orders_fills_both_and_is_found_out() -> (
    None
):
    async with ready() as (house, broker):
        await open_order(house, broker, "1")
        await open_order(house, broker, "2")
        broker.tell("1", Filled(execution=a_fill("e1", oid="1")))
        broker.tell("2", Filled(execution=a_fill("e1", oid="2")))
        await house.until(lambda: house.life("2").filled == 1)
        broker.holdings = (a_holding(2),)
        await house.look()
        await house.look()
        assert house.life("1").filled == 1
        assert house.held() == 2
        assert unexplained(house.book, ACCOUNT) == (MARKET.fqme,)


@pytest.mark.parametrize(
    "changed",
    [
        {"market": OTHER.fqme},
        {"account": "sim.other"},
        {"side": "sell"},
        {"oid": "2"},
        {"size": Decimal(-1)},
        {"price": Decimal("Infinity")},
        {"fee": Decimal("1E+1000000")},
        {"revision": 2**70},
        {"time_ns": 2**70},
    ],
    ids=repr,
)
async def test_a_fill_that_cannot_be_of_its_order_ends_the_session_and_not_emsd(
    changed: dict[str, Any],
) -> None:
    async with ready() as (house, broker):
        await open_order(house, broker)
        execution = structs.replace(a_fill(), **changed)
        broker.tell("1", Filled(execution=execution))
        await house.until(lambda: not house.route.ready)
        assert "says what can't be" in house.route.reason
        assert house.life().filled == 0
        await house.until_ready()


async def test_an_amendment_of_no_number_ends_the_session_and_not_emsd() -> None:
    async with ready() as (house, broker):
        await open_order(house, broker)
        broker.tell("1", AmendAcked(n=1, size=Decimal("sNaN"), limit=None))
        await house.until(lambda: not house.route.ready)
        await house.until_ready()
        assert house.life().size == 3


async def test_what_one_broker_daemon_says_of_anothers_order_is_not_taken() -> None:
    async with ready() as (house, broker):
        house.book.admit(an_order("x", account="paper.sim"))
        broker.tell("x", Cancelled())
        await open_order(house, broker)
        assert house.life("x").state == "held"


async def test_executions_and_holdings_of_other_accounts_are_none_of_ours() -> None:
    broker = Broker()
    broker.holdings = (structs.replace(a_holding(7), account="sim.other"),)
    broker.executions = (a_fill(oid="", account="sim.other"),)
    async with ready(broker) as (house, _):
        broker.tell("", Filled(execution=a_fill(oid="", account="sim.other")))
        await open_order(house, broker)
        assert house.book.positions() == []


async def test_a_venue_that_refuses_its_lists_leaves_the_account_unready_and_is_asked_again() -> (
    None
):
    async with ready() as (house, broker):
        broker.no_lists = NotConnected(reason="busy")
        await house.route.reconcile()
        assert (house.route.ready, "busy" in house.route.reason) == (False, True)
        broker.no_lists = None
        await house.until_ready()


# --- restarts


async def test_a_restart_finds_its_order_again_and_sends_nothing_twice() -> None:
    broker = Broker()
    async with ready(broker) as (house, _):
        house.submit()
        await broker.until(lambda: broker.placed == ["1"])
    broker.orders = (an_open_order(),)
    async with ready(broker) as (house, _):
        assert house.life().state == "open"
        assert [type(news.event) for news in await timeline(house)][:3] == [
            Submitted,
            Sending,
            LinkLost,
        ]
    assert broker.placed == ["1"]


async def test_a_restart_sends_a_cancel_again() -> None:
    broker = Broker()
    async with ready(broker) as (house, _):
        await open_order(house, broker)
        house.book.record("1", CancelAsked())
        await broker.until(lambda: broker.cancelled == ["1"])
    async with ready(broker):
        await broker.until(lambda: broker.cancelled == ["1", "1"])


async def test_silence_is_told_of_once() -> None:
    broker = Broker()
    broker.absence_proves = False
    async with ready(broker) as (house, _):
        house.submit()
        await house.until_state("unknown")
        await trio.sleep(60)
        events = [type(news.event) for news in await timeline(house)]
        assert events.count(Silence) == 1


async def test_an_account_is_reconciling_until_its_venue_has_been_compared_with() -> None:
    broker = Broker()
    broker.lists = trio.Event()
    async with serving(broker), a_house() as house:
        house.route.want()
        await broker.until(lambda: len(broker.asked) == 1)
        assert [each.state for each in house.states()] == ["reconciling"]
        broker.lists.set()
        await house.until_ready()
        assert [each.state for each in house.states()] == ["ready"]


async def test_an_order_of_a_lost_journal_is_warned_of_once_and_nothing_is_made_of_it(
    caplog: pytest.LogCaptureFixture,
) -> None:
    broker = Broker()
    broker.orders = (an_open_order("lost"),)
    async with ready(broker) as (house, _):
        await house.look()
        await house.look()
        assert house.book.lives == {}
        assert broker.reached == []
    assert sum("in no journal here" in record.message for record in caplog.records) == 1


async def test_an_order_that_was_given_up_and_arrives_all_the_same_is_cancelled() -> None:
    async with ready() as (house, broker):
        await unknown_order(house, broker)
        broker.say_link(UP)
        await house.until_state("rejected")
        broker.tell("1", Acked(venue_id="v1"))
        await broker.until(lambda: broker.cancelled == ["1"])
        assert isinstance(broker.reached[-1], Cancel)
        assert broker.reached[-1].venue_ids == ("v1",)


async def test_an_order_that_is_over_here_and_listed_there_is_cancelled_at_each_look() -> None:
    async with ready() as (house, broker):
        await unknown_order(house, broker)
        broker.say_link(UP)
        await house.until_state("rejected")
        broker.orders = (an_open_order(),)
        await house.look()
        await broker.until(lambda: broker.cancelled == ["1"])
        await house.look()
        await broker.until(lambda: broker.cancelled == ["1", "1"])
