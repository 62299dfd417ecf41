"""piker cancel --wait and flatten --wait: until nothing more comes of what was touched."""

import json
from collections.abc import Collection, Iterator
from contextlib import AsyncExitStack
from decimal import Decimal

import pytest
from msgspec import structs

from piker.accounts import Position
from piker.cli.cancelling import is_answered
from piker.cli.waiting import until_over
from piker.interfaces.orders import (
    Accounts,
    AccountsReply,
    Cancel,
    OrderReply,
    OrdersReply,
    PositionLine,
    Timeline,
)
from piker.orders import (
    CLOSED,
    Acked,
    CancelAsked,
    Cancelled,
    CancelRefused,
    LinkLost,
    Sending,
    Silence,
    Submitted,
)
from piker.varlink import Stream
from tests.cli.command import piker, running
from tests.cli.faltering import Faltering
from tests.fakes.scripted_emsd import FIRST_NS, PAPER, Emsd, fill, listening, order

OPEN = (Sending(size=Decimal(1000), limit=Decimal("1.20"), not_after_ns=1), Acked(venue_id="v1"))
HELD = Position(
    account="paper.replay",
    market="eurusd.spot.replay",
    currency="USD",
    multiplier=Decimal(1),
    size=Decimal(400),
)


def with_open(*oids: str) -> Emsd:
    """One with open paper orders."""
    emsd = Emsd()
    for oid in oids:
        emsd.tell(oid, Submitted(order=order(oid)), *OPEN)
    return emsd


def with_closing() -> Emsd:
    """One where something is held, and what closes it is on its way."""
    emsd = with_open("o1")
    closes = order("c1", side="sell", size=Decimal(400), kind="market", reduce_only=True)
    emsd.tell("c1", Submitted(order=closes), Sending(size=Decimal(400), limit=None, not_after_ns=1))
    emsd.positions_now = (PositionLine(position=HELD),)
    return emsd


async def test_who_waits_for_a_cancel_sees_how_it_stands_then_each_event_to_the_last() -> None:
    async with listening(with_open("o1")) as emsd, running("cancel", "o1", "--wait") as command:
        stands = await command.line()
        emsd.tell("o1", Cancelled(reason="as asked"))
        status, out, err = await command.ended()
    assert stands.split()[:2] == ["o1", "paper.replay"]
    assert stands.endswith(": open, cancel pending")
    assert (status, err) == (0, "")
    assert out.startswith("08:00:04  o1  paper.replay (paper): buy 1000 eurusd.spot.replay, ")
    assert out.endswith("the venue cancelled it: as asked → cancelled\n")


async def test_in_json_it_is_an_object_a_line_with_what_programs_need() -> None:
    keys = {"seq", "oid", "state", "filled", "remaining", "average_price", "account", "time_ns"}
    command_line = ("cancel", "o1", "--wait", "--json")
    async with listening(with_open("o1")) as emsd, running(*command_line) as command:
        first = json.loads(await command.line())
        emsd.tell("o1", fill("o1", 400), Cancelled())
        status, out, _ = await command.ended()
    told = [first, *map(json.loads, out.splitlines())]
    assert status == 0
    assert [each["event"] for each in told] == [None, "Filled", "Cancelled"]
    assert [each["state"] for each in told] == ["open", "open", "cancelled"]
    assert [each["seq"] for each in told] == [4, 5, 6]
    assert (told[0]["time_ns"], told[2]["time_ns"]) == (None, FIRST_NS + 5_000_000_000)
    assert all(each.keys() > {*keys, "reason"} for each in told)


async def test_what_was_filled_before_its_cancel_came_is_a_failure() -> None:
    async with listening(with_open("o1")) as emsd, running("cancel", "o1", "--wait") as command:
        await command.line()
        emsd.tell("o1", fill("o1"))
        status, _, err = await command.ended()
    assert (status, err) == (1, "piker: NOT cancelled: o1 was done before\n")


async def test_a_cancel_that_the_venue_refuses_is_waited_for_no_longer() -> None:
    async with listening(with_open("o1")) as emsd, running("cancel", "o1", "--wait") as command:
        await command.line()
        emsd.tell("o1", CancelRefused(reason="too late today"))
        status, _, err = await command.ended()
    assert status == 1
    assert err.startswith("piker: NOT cancelled: o1 is open: ")
    assert err.endswith("too late today\n")


async def test_who_waits_for_all_waits_for_each() -> None:
    emsd = with_open("o1", "o2")
    async with listening(emsd), running("cancel", "--all", "--wait") as command:
        assert [(await command.line()).split()[0] for _ in range(2)] == ["o1", "o2"]
        emsd.tell("o2", Cancelled())
        assert (await command.line()).endswith(" → cancelled")
        emsd.tell("o1", Cancelled())
        assert (await command.ended()).status == 0


async def test_a_venue_that_is_away_is_said_and_waited_for() -> None:
    emsd = with_open("o1")
    gone = structs.replace(PAPER, state="unreachable", reason="no link")
    emsd.accounts_now = AccountsReply(accounts=(gone,))
    async with listening(emsd), running("cancel", "o1", "--wait") as command:
        await command.line()
        emsd.tell("o1", Cancelled())
        status, _, err = await command.ended()
    said = "paper.replay is unreachable (no link); the cancel is sent when it is back"
    assert (status, err) == (0, f"piker: NOT cancelled yet: {said}\n")


async def test_it_goes_on_when_emsd_was_away() -> None:
    emsd = with_open("o1")
    async with AsyncExitStack() as stack:
        async with listening(emsd):
            command = await stack.enter_async_context(running("cancel", "o1", "--wait"))
            await command.line()
        emsd.tell("o1", Cancelled())
        async with listening(emsd):
            status, out, err = await command.ended()
    assert (status, out.endswith(" → cancelled\n")) == (0, True)
    assert err.startswith("piker: emsd went away ")


def with_unknown(emsd: Emsd) -> Emsd:
    """One with an order whose outcome is not known."""
    emsd.tell("o1", Submitted(order=order("o1")), OPEN[0], Silence())
    return emsd


async def test_of_an_unknown_order_whose_cancel_is_refused_it_is_said_why_and_what_to_do() -> None:
    emsd = with_unknown(Emsd())
    async with listening(emsd), running("cancel", "o1", "--wait") as command:
        await command.line()
        emsd.tell("o1", CancelRefused(reason="no such order"))
        status, _, err = await command.ended()
    last = err.splitlines()[-1]
    said = "NOT cancelled: o1 is UNKNOWN, cancel pending: cancel refused: no such order; it was "
    assert (status, last.startswith(f"piker: {said}sent, its outcome is not known: ")) == (1, True)
    assert "piker resolve o1 open|filled|cancelled|rejected --note TEXT" in last


class Prompt(Emsd):
    """One whose venue refuses every cancel before anybody looks."""

    async def cancel(self, call: Cancel) -> OrderReply:
        reply = await super().cancel(call)
        self.tell(call.oid, CancelRefused(reason="no such order"))
        return reply


async def test_a_cancel_that_was_refused_before_it_was_followed_is_not_waited_for() -> None:
    async with listening(with_unknown(Prompt())):
        status, _, err = await piker("cancel", "o1", "--wait")
    assert (status, ": cancel refused: no such order; " in err) == (1, True)


async def test_a_cancel_that_is_asked_for_again_is_not_refused_yet() -> None:
    emsd = with_unknown(Emsd())
    emsd.tell("o1", CancelAsked(), CancelRefused(reason="no such order"))
    async with listening(emsd), running("cancel", "o1", "--wait") as command:
        await command.line()
        await emsd.until(lambda emsd: emsd.followers == 1)
        emsd.tell("o1", Cancelled())
        assert (await command.ended()).status == 0


async def test_an_unknown_order_is_waited_for_and_what_can_be_done_is_said_once() -> None:
    emsd = with_unknown(Emsd())
    async with listening(emsd), running("cancel", "o1", "--wait", "--json") as command:
        await command.line()
        emsd.tell("o1", LinkLost())
        await command.line()
        emsd.tell("o1", Cancelled())
        status, _, err = await command.ended()
    assert (status, len(err.splitlines())) == (0, 1)
    assert err.startswith("piker: o1 is waited for, it is UNKNOWN, cancel pending: it was sent, ")
    assert "piker resolve o1 open|filled|cancelled|rejected --note TEXT" in err


class Listed(Collection[str]):
    """Orders that may be gone through, but not searched: there are too many."""

    def __init__(self, *oids: str) -> None:
        self._oids = oids

    def __len__(self) -> int:
        return len(self._oids)

    def __iter__(self) -> Iterator[str]:
        return iter(self._oids)

    def __contains__(self, oid: object) -> bool:
        raise AssertionError(f"expected no search for {oid}")


async def test_many_orders_are_not_searched_for_each_change() -> None:
    emsd = with_open("o1", "o2", "o3")
    emsd.tell("o1", Cancelled())
    emsd.tell("o2", Cancelled())
    async with listening(emsd):
        waited = await until_over(Listed("o2", "o1"), is_answered, {}, as_json=True)
    assert [each.life.order.oid for each in waited] == ["o2", "o1"]


async def test_it_goes_on_when_emsd_goes_away_before_anybody_looked() -> None:
    emsd = Faltering(Accounts)
    emsd.tell("o1", Submitted(order=order("o1")), *OPEN)
    async with listening(emsd), running("cancel", "o1", "--wait") as command:
        await command.line()
        emsd.tell("o1", Cancelled())
        status, _, err = await command.ended()
    assert (status, err.endswith("; trying again\n")) == (0, True)


class Forgetful(Faltering):
    """One whose book has no closed orders."""

    async def _send_book(self, stream: Stream) -> None:
        lives = tuple(each for each in self.lives.values() if each.state not in CLOSED)
        await stream.send(OrdersReply(seq=self.seq, book=lives))


async def test_what_closed_so_long_ago_that_no_book_has_it_is_not_waited_for() -> None:
    emsd = Forgetful()
    emsd.tell("dark-1", Submitted(order=order("dark-1", kind="dark", trigger=Decimal(1))))
    async with listening(emsd):
        status, out, err = await piker("cancel", "dark-1", "--wait")
    assert (status, err) == (0, "")
    assert out.endswith(": cancelled\n")


async def test_nor_does_waiting_end_if_emsd_goes_away_when_it_is_asked_about(
    capfd: pytest.CaptureFixture[str],
) -> None:
    emsd = Forgetful()
    emsd.tell("o1", Submitted(order=order("o1")), *OPEN, Cancelled())
    emsd.deaf_to += [Timeline]
    async with listening(emsd):
        (waited,) = await until_over(["o1"], is_answered, {}, as_json=True)
    out, err = capfd.readouterr()
    assert (waited.life.state, len(out.splitlines())) == ("cancelled", 1)
    assert err.endswith("; trying again\n")


async def test_to_flatten_is_waited_for_until_nothing_is_held() -> None:
    emsd = with_closing()
    async with listening(emsd), running("flatten", "paper", "--wait") as command:
        assert [(await command.line()).split()[0] for _ in range(2)] == ["o1", "c1"]
        emsd.positions_now = ()
        emsd.tell("o1", Cancelled())
        emsd.tell("c1", fill("c1", 400))
        status, out, err = await command.ended()
    assert (status, err) == (0, "")
    assert out.endswith("→ filled; filled 400/400 at 1.1\npaper.replay (paper) holds nothing\n")


async def test_what_is_still_held_when_nothing_more_comes_is_a_failure() -> None:
    emsd = with_closing()
    async with listening(emsd), running("flatten", "paper", "--wait", "--json") as command:
        await command.line()
        emsd.tell("o1", Cancelled())
        emsd.tell("c1", Cancelled(reason="closed"))
        status, out, err = await command.ended()
    assert (status, json.loads(out.splitlines()[-1])["state"]) == (1, "cancelled")
    assert err == "piker: NOT flat: paper.replay still holds 400 eurusd.spot.replay\n"


async def test_what_closes_a_position_is_waited_for_though_it_is_not_cancelled() -> None:
    emsd = with_closing()
    async with listening(emsd), running("flatten", "paper", "--wait") as command:
        await command.line()
        emsd.tell("c1", Acked(venue_id="v2"), CancelRefused(reason="none was asked for"))
        emsd.tell("o1", Cancelled())
        await command.line(lambda line: "→ cancelled" in line)
        emsd.tell("c1", fill("c1", 400))
        assert "→ filled" in await command.line(lambda line: "filled" in line)
