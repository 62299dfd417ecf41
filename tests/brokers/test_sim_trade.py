"""The trade dialog of sim, with the simulated venue."""

import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from decimal import Decimal
from typing import Any

import pytest
import trio
import trio.testing

from piker import clock
from piker.brokers import Heard, load
from piker.brokers.sim import trade
from piker.brokers.sim.trade import Dialog, open_trade_dialog
from piker.brokers.sim.venuecontrol import (
    ComeBack,
    Correct,
    CutAll,
    FillAnyway,
    Foreign,
    GoAway,
    SetAbsence,
    SetRenames,
)
from piker.errors import Refused
from piker.interfaces.broker import (
    Amend,
    Cancel,
    CancelAll,
    CredentialRefused,
    Link,
    NotConnected,
    Place,
    Told,
)
from piker.interfaces.service import BrokenConfiguration
from piker.orders import Acked, AmendAcked, Cancelled, CancelRefused, Filled
from tests.fakes.manager import PATIENCE_S
from tests.fakes.simvenue import FAR, MARKET, PRICE, TOKEN, a_sim_venue

ACCOUNT = "sim.main"
UP = Link(up=True)


@pytest.fixture(autouse=True)
def _patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """To open waits for the venue, however long it takes to let anybody in."""
    monkeypatch.setattr(trade, "FIRST_S", PATIENCE_S)
    monkeypatch.setattr(trade, "WELCOME_S", PATIENCE_S)


class Listener:
    """A dialog, and what it is heard to say."""

    def __init__(self) -> None:
        self.heard: list[Heard] = []
        self.dialog: Dialog
        self._send, self._receive = trio.open_memory_channel[Heard](10_000)

    def hear(self, heard: Heard) -> None:
        self.heard.append(heard)
        self._send.send_nowait(heard)

    async def next(self) -> Heard:
        with trio.fail_after(PATIENCE_S):
            return await self._receive.receive()

    async def events(self, count: int) -> list[Any]:
        """What the next words say."""
        return [getattr(await self.next(), "event", None) for _ in range(count)]

    async def link(self, *, up: bool) -> Link:
        """The next change of the link to this."""
        while True:
            heard = await self.next()
            if isinstance(heard, Link) and heard.up == up:
                return heard


@asynccontextmanager
async def a_dialog(token: str = TOKEN, **settings: Any) -> AsyncIterator[Listener]:
    listener = Listener()
    given = load("sim").settings(**settings)
    async with open_trade_dialog(given, {"token": token}, listener.hear) as dialog:  # type: ignore[arg-type]
        listener.dialog = dialog
        yield listener


def an_order(oid: str = "o-1", **changed: Any) -> Place:
    return Place(
        **{
            "session": "",
            "not_after_boot_ns": 2**62,
            "oid": oid,
            "account": ACCOUNT,
            "market": MARKET,
            "side": "buy",
            "size": Decimal(3),
            "limit": FAR,
            "tif": "gtc",
            **changed,
        }
    )


def an_amendment(n: int, size: int) -> Amend:
    return Amend(session="", not_after_boot_ns=2**62, oid="o-1", n=n, size=Decimal(size), limit=FAR)


async def test_it_is_connected_and_knows_the_venue_from_the_start() -> None:
    async with a_sim_venue("--absence-proves", "yes"), a_dialog() as listener:
        dialog = listener.dialog
        assert (dialog.link, listener.heard) == (UP, [UP])
        assert (dialog.live, dialog.accounts, dialog.absence_proves) == (True, (ACCOUNT,), True)


async def test_an_order_is_acked_amended_and_filled_in_our_words() -> None:
    async with a_sim_venue() as venue, a_dialog() as listener:
        await listener.link(up=True)
        await venue.do(SetRenames(renames=True))
        await listener.dialog.place(an_order())
        await listener.dialog.amend(an_amendment(1, 5))
        assert await listener.events(2) == [
            Acked(venue_id="1"),
            AmendAcked(n=1, size=Decimal(5), limit=FAR, venue_id="2"),
        ]
        await venue.move(FAR)
        (filled,) = await listener.events(1)
        assert isinstance(filled, Filled)
        execution = filled.execution
        assert (execution.oid, execution.venue_id, execution.account) == ("o-1", "2", ACCOUNT)
        assert (execution.size, execution.price, execution.fee_currency) == (Decimal(5), FAR, "USD")


async def test_a_correction_and_a_late_fill_are_heard_as_the_venue_says_them() -> None:
    async with a_sim_venue() as venue, a_dialog() as listener:
        await listener.link(up=True)
        await listener.dialog.place(an_order())
        await listener.dialog.cancel(Cancel(oid="o-1", venue_ids=()))
        assert (await listener.events(2))[1] == Cancelled(venue_id="1")
        await venue.do(FillAnyway(ref="o-1", size=Decimal(1), price=FAR))
        await venue.do(Correct(exec_id="x1", size=Decimal(2)))
        late, corrected = await listener.events(2)
        assert (late.execution.size, corrected.execution.size) == (1, 2)
        assert (late.execution.revision, corrected.execution.revision) == (0, 1)


async def test_what_others_do_there_is_heard_without_an_oid() -> None:
    async with a_sim_venue() as venue, a_dialog() as listener:
        await listener.link(up=True)
        await venue.do(
            Foreign(account="main", market=MARKET, side="buy", size=Decimal(1), limit=FAR)
        )
        assert await listener.next() == Told(oid="", event=Acked(venue_id="1"))
        snapshot = await listener.dialog.snapshot(0)
        assert [each.oid for each in snapshot.orders] == [""]


async def test_a_snapshot_has_all_that_was_placed_before_and_that_was_heard_before() -> None:
    async with a_sim_venue() as _, a_dialog() as listener:
        oids = [f"o-{number}" for number in range(50)]
        for oid in oids:
            await listener.dialog.place(an_order(oid))
        before_ns = clock.wall_ns()
        snapshot = await listener.dialog.snapshot(0)
        assert [each.oid for each in snapshot.orders] == oids
        assert [each.oid for each in listener.heard if isinstance(each, Told)] == oids
        assert snapshot.asked_ns >= before_ns


async def test_a_snapshot_tells_what_ended_was_done_and_is_held() -> None:
    async with a_sim_venue() as _, a_dialog() as listener:
        await listener.dialog.place(an_order("o-1", limit=PRICE))
        await listener.dialog.place(an_order("o-2", tif="ioc"))
        await listener.dialog.place(an_order("o-3", market="x.y.sim"))
        snapshot = await listener.dialog.snapshot(0)
        assert [(each.oid, each.outcome) for each in snapshot.ended] == [
            ("o-1", "filled"),
            ("o-2", "cancelled"),
            ("o-3", "rejected"),
        ]
        assert [each.oid for each in snapshot.executions] == ["o-1"]
        assert [(each.account, each.size) for each in snapshot.holdings] == [(ACCOUNT, Decimal(3))]


async def test_a_cancel_of_all_gives_the_ids() -> None:
    async with a_sim_venue() as _, a_dialog() as listener:
        await listener.dialog.place(an_order("o-1"))
        await listener.dialog.place(an_order("o-2"))
        assert await listener.dialog.cancel_all(CancelAll(scope="ours")) == ("1", "2")
        await listener.dialog.cancel(Cancel(oid="o-1", venue_ids=("1",)))
        assert (await listener.events(6))[-1] == CancelRefused(reason="not an open order")


async def test_while_the_venue_is_away_nothing_is_taken_and_it_is_found_again() -> None:
    async with a_sim_venue() as venue, a_dialog() as listener:
        await listener.link(up=True)
        await venue.do(GoAway())
        await listener.link(up=False)
        for call in (
            listener.dialog.place(an_order()),
            listener.dialog.cancel(Cancel(oid="o-1", venue_ids=())),
            listener.dialog.cancel_all(CancelAll(scope="all")),
            listener.dialog.snapshot(0),
        ):
            with pytest.raises(Refused) as no:
                await call
            assert isinstance(no.value.fault, NotConnected)
        await venue.do(ComeBack())
        await listener.link(up=True)
        assert (await listener.dialog.snapshot(0)).orders == ()


async def test_a_venue_that_is_not_there_yet_is_found_when_it_is() -> None:
    async with a_dialog() as listener:
        assert not listener.dialog.link.up
        assert "does not listen" in listener.dialog.link.reason
        async with a_sim_venue():
            await listener.link(up=True)


async def test_a_question_whose_answer_is_lost_is_answered_so() -> None:
    async with a_sim_venue() as venue, a_dialog() as listener:
        await listener.link(up=True)
        await venue.fault("cut", "BookIs")
        with pytest.raises(Refused) as no:
            await listener.dialog.snapshot(0)
        assert isinstance(no.value.fault, NotConnected)
        await listener.link(up=True)
        await listener.dialog.place(an_order())
        await venue.fault("cut", "OpenCancelled")
        assert await listener.dialog.cancel_all(CancelAll(scope="all")) == ()
        assert (await venue.book()).orders == ()


async def test_an_order_that_the_venue_took_before_the_link_broke_is_in_the_next_snapshot() -> None:
    async with a_sim_venue() as venue, a_dialog() as listener:
        await listener.link(up=True)
        await venue.fault("cut_after", "NewOrder")
        await listener.dialog.place(an_order())
        await listener.link(up=False)
        await listener.link(up=True)
        assert [each.oid for each in (await listener.dialog.snapshot(0)).orders] == ["o-1"]
        assert not [each for each in listener.heard if isinstance(each, Told)]


async def test_what_a_slow_venue_does_not_take_in_time_is_refused_and_not_kept_for_later() -> None:
    async with a_sim_venue() as venue, a_dialog() as listener:
        await listener.link(up=True)
        venue.process.send_signal(signal.SIGSTOP)
        placed = await _place_until_refused(listener.dialog)
        venue.process.send_signal(signal.SIGCONT)
        heard = await listener.events(placed)
        assert heard == [Acked(venue_id=str(number + 1)) for number in range(placed)]
        assert len((await listener.dialog.snapshot(0)).orders) == placed


async def _place_until_refused(dialog: Dialog) -> int:
    for number in range(100_000):
        try:
            deadline_ns = clock.boot_ns() + 10**8
            await dialog.place(an_order(f"{number:07d}" * 100, not_after_boot_ns=deadline_ns))
        except Refused as no:
            said = str(no)
            break
    else:
        raise AssertionError("expected it to be full by now")
    assert "the venue takes nothing more" in said
    return number


async def test_what_a_slow_venue_takes_in_time_waits_its_turn() -> None:
    async with a_sim_venue() as venue, a_dialog() as listener, trio.open_nursery() as nursery:
        await listener.link(up=True)
        venue.process.send_signal(signal.SIGSTOP)
        for number in range(1000):
            nursery.start_soon(listener.dialog.place, an_order(f"{number:03d}" * 100))
        await trio.testing.wait_all_tasks_blocked()
        venue.process.send_signal(signal.SIGCONT)
        heard = [await listener.next() for _ in range(1000)]
        assert {getattr(each, "oid", "") for each in heard} == {
            f"{number:03d}" * 100 for number in range(1000)
        }


async def test_a_venue_that_takes_half_a_message_and_no_more_is_lost(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(trade, "REST_S", 0.05)
    async with a_sim_venue() as venue, a_dialog() as listener:
        await listener.link(up=True)
        venue.process.send_signal(signal.SIGSTOP)
        await listener.dialog.place(an_order("long" * 100_000))
        assert not (await listener.link(up=False)).up
        venue.process.send_signal(signal.SIGCONT)
        await listener.link(up=True)
        assert (await listener.dialog.snapshot(0)).orders == ()


async def test_a_token_that_the_venue_does_not_know_is_refused_at_once() -> None:
    async with a_sim_venue() as _:
        with pytest.raises(Refused) as no:
            await a_dialog("another").__aenter__()
        assert no.value.fault == CredentialRefused(
            name="token", reason="the token is not known here"
        )


async def test_the_venue_may_turn_out_to_be_another_one() -> None:
    async with a_sim_venue() as venue, a_dialog() as listener:
        await listener.link(up=True)
        await venue.do(SetAbsence(proves=False))
        await listener.link(up=True)
        assert not listener.dialog.absence_proves


async def test_the_link_that_was_lost_in_between_is_heard() -> None:
    async with a_sim_venue() as venue, a_dialog() as listener:
        await venue.do(CutAll())
        assert [await listener.next() for _ in range(3)] == [
            UP,
            Link(up=False, reason="the venue hung up"),
            UP,
        ]


async def test_a_venue_is_named_by_an_absolute_path() -> None:
    with pytest.raises(Refused) as no:
        await a_dialog(venue="venue.sock").__aenter__()
    assert isinstance(no.value.fault, BrokenConfiguration)
    assert no.value.fault.key == "providers.sim.venue"
