"""The brokerage: sessions, what is refused before it reaches the dialog, and what is told."""

import select
from decimal import Decimal
from typing import Any

import pytest
import trio
from msgspec.structs import replace
from trio.testing import wait_all_tasks_blocked

from piker import clock
from piker.brokerage import JOINED, OUTBOX
from piker.errors import Refused, Unreachable
from piker.interfaces.broker import (
    Cancel,
    CancelAll,
    CancelAllReply,
    Done,
    InvalidOrder,
    Link,
    NotConnected,
    Snapshot,
    SnapshotReply,
    StaleSession,
    Superseded,
    Told,
    TooLate,
    UnknownAccount,
)
from piker.orders import Acked, CancelRefused
from tests.fakes.dialog import Counter, Owner, a_counter
from tests.fakes.peer import Peer, call, fault

TOLD = Told(oid="o-1", event=Acked(venue_id="7"))
LAST = Told(oid="o-2", event=Acked(venue_id="8"))
MORE_THAN_WAITS = 4 * OUTBOX
"""Words; also what a socket holds is less."""
DOWN = Link(up=False, reason="the gateway resets")


async def refusal(counter: Counter, call: Any) -> object:
    """The fault that a call is answered with."""
    with pytest.raises(Refused) as no:
        await counter.client.call(call, Done)
    return no.value.fault


async def told_until(owner: Owner, last: Told) -> list[Told | Link]:
    """What an owner is told up to this word."""
    heard: list[Told | Link] = []
    async for reply in owner.replies:
        heard += [*reply.told, *([reply.link] if reply.link else [])]
        if last in reply.told:
            break
    return heard


async def test_the_first_reply_says_what_there_is_and_how_the_link_stands() -> None:
    async with a_counter() as counter:
        counter.dialog.say_link(DOWN)
        async with counter.owner() as owner:
            assert owner.link == DOWN
            assert owner.opened.accounts == ("fake.main",)
            assert (owner.opened.live, owner.opened.absence_proves) == (True, False)


async def test_every_session_has_another_name() -> None:
    async with a_counter() as counter:
        async with counter.owner() as first:
            pass
        async with counter.owner() as second:
            assert len({first.opened.session, second.opened.session}) == 2


async def test_an_order_of_the_session_is_handed_over_as_it_is() -> None:
    async with a_counter() as counter, counter.owner() as owner:
        order, amendment = owner.order(), owner.amendment()
        await counter.client.call(order, Done)
        await counter.client.call(amendment, Done)
        assert counter.dialog.reached == [order, amendment]


async def test_who_takes_control_ends_the_session_before() -> None:
    async with a_counter() as counter, counter.owner() as first, counter.owner() as second:
        with pytest.raises(Refused) as no:
            await anext(first.replies)
        assert no.value.fault == Superseded()
        stale = StaleSession(session=first.opened.session)
        assert await refusal(counter, first.order()) == stale
        assert await refusal(counter, first.amendment()) == stale
        await counter.client.call(second.order(), Done)
        assert counter.dialog.reached == [second.order(not_after_boot_ns=_deadline(counter))]


def _deadline(counter: Counter) -> int:
    (order,) = counter.dialog.reached
    return int(getattr(order, "not_after_boot_ns", 0))


async def test_a_session_begins_when_the_one_before_has_handed_over_all() -> None:
    async with a_counter() as counter, trio.open_nursery() as nursery, counter.owner() as first:
        counter.dialog.ready = trio.Event()
        nursery.start_soon(counter.client.call, first.order(), Done)
        await wait_all_tasks_blocked()
        second = counter.board.peer()
        await second.write(call("piker.Broker.Open", more=True))
        await wait_all_tasks_blocked()
        assert not _received(second)
        assert counter.dialog.reached == []
        counter.dialog.ready.set()
        assert (await second.read())["parameters"]["opened"]
        assert len(counter.dialog.reached) == 1


async def test_of_two_that_wait_for_control_the_newer_gets_it() -> None:
    async with a_counter() as counter, trio.open_nursery() as nursery, counter.owner() as first:
        counter.dialog.ready = trio.Event()
        nursery.start_soon(counter.client.call, first.order(), Done)
        await wait_all_tasks_blocked()
        older, newer = counter.board.peer(), counter.board.peer()
        for each in (older, newer):
            await each.write(call("piker.Broker.Open", more=True))
            await wait_all_tasks_blocked()
        counter.dialog.ready.set()
        assert await older.read() == fault("piker.Broker.Superseded")
        assert (await newer.read())["parameters"]["opened"]


def _received(peer: Peer) -> bool:
    """Whether anything has come that was not read."""
    return bool(select.select([peer.stream.socket.fileno()], [], [], 0)[0])


async def test_a_session_is_over_when_its_stream_is_hung_up() -> None:
    async with a_counter() as counter:
        async with counter.owner() as owner:
            pass
        await wait_all_tasks_blocked()
        assert await refusal(counter, owner.order()) == StaleSession(session=owner.opened.session)
        assert counter.brokerage.report().status == "fake: connected · no session · 0 orders sent"


async def test_what_a_killed_owner_left_behind_is_refused_though_its_goodbye_was_not_read() -> None:
    async with a_counter() as counter:
        async with counter.owner() as owner:
            order = owner.order()
        stream = counter.board.peer()
        first = await stream.ask("piker.Broker.Open", more=True)
        session = first["parameters"]["opened"]["session"]
        stream.stream.socket.close()
        with pytest.raises(Refused) as no:
            await counter.brokerage.place(replace(order, session=session))
        assert no.value.fault == StaleSession(session=session)
        assert counter.dialog.reached == []


@pytest.mark.parametrize("what", ["order", "amendment"])
async def test_a_request_that_waited_for_too_long_is_refused(
    what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with a_counter() as counter, counter.owner() as owner:
        request = getattr(owner, what)(not_after_boot_ns=10**12)
        monkeypatch.setattr(clock, "boot_ns", lambda: 10**12 + 1)
        assert await refusal(counter, request) == TooLate(late_ms=1)
        monkeypatch.setattr(clock, "boot_ns", lambda: 10**12)
        await counter.client.call(request, Done)
        assert counter.dialog.reached == [request]


@pytest.mark.parametrize("what", ["order", "amendment"])
async def test_nothing_is_kept_for_a_link_that_is_down(what: str) -> None:
    async with a_counter() as counter, counter.owner() as owner:
        counter.dialog.say_link(DOWN)
        request = getattr(owner, what)()
        assert await refusal(counter, request) == NotConnected(reason="the gateway resets")
        counter.dialog.say_link(Link(up=True))
        assert counter.dialog.reached == []


async def test_an_account_that_is_not_traded_on_is_refused() -> None:
    async with a_counter() as counter, counter.owner() as owner:
        fault = UnknownAccount(account="fake.other", allowed=("fake.main",))
        assert await refusal(counter, owner.order(account="fake.other")) == fault
        assert await refusal(counter, CancelAll(scope="all", account="fake.other")) == fault
        assert counter.dialog.reached == []


@pytest.mark.parametrize(
    ("changed", "field", "value"),
    [
        ({"oid": ""}, "oid", ""),
        ({"size": Decimal(0)}, "size", "0"),
        ({"size": Decimal(-3)}, "size", "-3"),
        ({"size": Decimal("NaN")}, "size", "NaN"),
        ({"limit": Decimal("Infinity")}, "limit", "Infinity"),
    ],
)
async def test_what_no_venue_takes_is_refused(
    changed: dict[str, Any], field: str, value: str
) -> None:
    async with a_counter() as counter, counter.owner() as owner:
        fault = await refusal(counter, owner.order(**changed))
        assert isinstance(fault, InvalidOrder)
        assert (fault.field, fault.value) == (field, value)
        assert counter.dialog.reached == []


async def test_the_session_is_judged_first_then_the_time_the_link_and_the_account() -> None:
    async with a_counter() as counter, counter.owner() as owner:
        counter.dialog.say_link(DOWN)
        wrong = owner.order(session="x", not_after_boot_ns=0, account="y", size=Decimal(0))
        faults = [await refusal(counter, wrong)]
        for right in (
            {"session": owner.opened.session},
            {"not_after_boot_ns": clock.boot_ns() + 10**12},
        ):
            wrong = replace(wrong, **right)
            faults.append(await refusal(counter, wrong))
        counter.dialog.say_link(Link(up=True))
        faults.append(await refusal(counter, wrong))
        faults.append(await refusal(counter, replace(wrong, account="fake.main")))
    kinds = [StaleSession, TooLate, NotConnected, UnknownAccount, InvalidOrder]
    assert [type(each) for each in faults] == kinds


async def test_cancels_and_snapshots_need_no_session() -> None:
    async with a_counter() as counter:
        cancel, all_ = Cancel(oid="o-1", venue_ids=("7",)), CancelAll(scope="ours")
        await counter.client.call(cancel, Done)
        asked = await counter.client.call(all_, CancelAllReply)
        snapshot = await counter.client.call(Snapshot(since_ns=4), SnapshotReply)
        assert counter.dialog.reached == [cancel, all_]
        assert (asked.venue_ids, snapshot.asked_ns) == (("7", "8"), 5)


async def test_what_the_dialog_refuses_is_refused_by_its_name() -> None:
    async with a_counter() as counter, counter.owner() as owner:
        counter.dialog.no = Refused(NotConnected(reason="just now"))
        assert await refusal(counter, owner.order()) == NotConnected(reason="just now")


async def test_what_is_heard_is_told_in_its_order() -> None:
    async with a_counter() as counter, counter.owner() as owner:
        heard: list[Told | Link] = [TOLD, DOWN, Link(up=True), Link(up=True), TOLD, TOLD, LAST]
        for each in heard:
            counter.dialog.hear(each)
        assert await told_until(owner, LAST) == heard


async def test_what_is_heard_while_nobody_has_a_session_is_not_repeated() -> None:
    async with a_counter() as counter:
        counter.dialog.hear(TOLD)
        async with counter.owner() as owner:
            counter.dialog.hear(LAST)
            assert await told_until(owner, LAST) == [LAST]


async def test_what_was_heard_leaves_before_the_snapshot_that_was_asked_for_later() -> None:
    async with a_counter() as counter:
        stream = counter.board.peer()
        await stream.ask("piker.Broker.Open", more=True)
        counter.dialog.hear(TOLD)
        await counter.brokerage.snapshot(Snapshot(since_ns=0))
        assert _received(stream)
        assert (await stream.read())["parameters"]["told"]


async def test_an_owner_that_does_not_read_is_hung_up_on_and_nothing_is_dropped_in_silence() -> (
    None
):
    async with a_counter() as counter, counter.owner() as owner:
        for _ in range(MORE_THAN_WAITS):
            counter.dialog.hear(TOLD)
        assert await refused_in_place(counter, owner) == owner.opened.session
        with pytest.raises(Unreachable, match="went away"):
            await told_until(owner, LAST)


async def refused_in_place(counter: Counter, owner: Owner) -> str:
    """The session that an order is refused for."""
    with pytest.raises(Refused) as no:
        await counter.brokerage.place(owner.order())
    assert isinstance(no.value.fault, StaleSession)
    return no.value.fault.session


async def test_a_session_is_over_when_what_it_was_told_at_first_no_longer_holds() -> None:
    async with a_counter() as counter, counter.owner() as owner:
        counter.dialog.absence_proves = True
        counter.dialog.say_link(Link(up=True))
        with pytest.raises(Unreachable, match="went away"):
            await anext(owner.replies)
        async with counter.owner() as again:
            assert again.opened.absence_proves


async def test_an_owner_that_reads_late_is_told_all() -> None:
    async with a_counter() as counter, counter.owner() as owner:
        for _ in range(OUTBOX - 1):
            counter.dialog.hear(TOLD)
        counter.dialog.hear(LAST)
        assert len(await told_until(owner, LAST)) == OUTBOX


async def test_who_was_told_half_a_reply_is_hung_up_on_when_another_takes_control() -> None:
    async with a_counter() as counter:
        slow = counter.board.peer()
        await slow.ask("piker.Broker.Open", more=True)
        for _ in range(JOINED):
            counter.dialog.hear(Told(oid="o-1", event=CancelRefused(reason="long" * 1000)))
        await wait_all_tasks_blocked()
        async with counter.owner():
            received = b"".join([bytes(chunk) async for chunk in slow.stream])
        assert b"Superseded" not in received
        assert not received.endswith(b"\0")


async def test_the_status_line_says_link_session_and_orders() -> None:
    async with a_counter() as counter, counter.owner() as owner:
        await counter.client.call(owner.order(), Done)
        report = counter.brokerage.report()
        assert report.status == "fake: connected · session held · 1 order sent"
        counter.dialog.say_link(DOWN)
        report = counter.brokerage.report()
        assert report.state == "degraded"
        assert report.status.startswith("fake: not connected (the gateway resets) · session held")
        counter.dialog.say_link(Link(up=False, reason="a code is asked for", needs_login=True))
        report = counter.brokerage.report()
        assert report.status.startswith("fake: waits for a login (a code is asked for) · ")
