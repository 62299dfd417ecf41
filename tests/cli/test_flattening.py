"""piker flatten: what was closed, what stays open, and what nobody knows."""

from decimal import Decimal

import pytest
from msgspec import structs

from piker.accounts import Position
from piker.errors import Fault
from piker.interfaces.broker import NotConnected
from piker.interfaces.orders import (
    Accounts,
    AccountsReply,
    AccountUnreachable,
    Flatten,
    OidsReply,
    PositionLine,
    StillHeld,
)
from piker.orders import (
    Acked,
    CancelAsked,
    Cancelled,
    CancelRefused,
    Refused,
    Sending,
    Submitted,
)
from piker.transport import HungUp
from tests.cli.command import piker, running
from tests.cli.faltering import Faltering
from tests.cli.terminal import in_terminal
from tests.fakes.scripted_emsd import PAPER, REAL, Emsd, fill, listening, order

OPEN = (Sending(size=Decimal(1000), limit=Decimal("1.20"), not_after_ns=1), Acked(venue_id="v1"))
HELD = PositionLine(
    position=Position(
        account="paper.replay",
        market="gbpusd.spot.replay",
        currency="USD",
        multiplier=Decimal(1),
        size=Decimal(400),
    )
)
WHY = "No new order leaves until `piker resume` (reason: as it is)"


def with_open(emsd: Emsd) -> Emsd:
    """One with an open order."""
    emsd.tell("o1", Submitted(order=order("o1")), *OPEN)
    return emsd


def with_closing(emsd: Emsd) -> Emsd:
    """One with an order that is open, and one that closes a position."""
    closes = order("c1", side="sell", size=Decimal(400), kind="market", reduce_only=True)
    with_open(emsd).tell("c1", Submitted(order=closes))
    emsd.tell("c1", Sending(size=Decimal(400), limit=None, not_after_ns=1))
    return emsd


def with_one_kept(*oids: str) -> Emsd:
    """One that cancels, and closes all but one position."""
    emsd = with_closing(Emsd())
    emsd.tell("o1", CancelAsked())
    emsd.positions_now = (HELD,)
    kept = ("gbpusd.spot.replay",)
    why = f"gbpusd.spot.replay: {WHY}"
    fault = StillHeld(account="paper.replay", markets=kept, oids=oids, reason=why)
    emsd.refuses[Flatten] = fault
    return emsd


def unreached(emsd: Emsd, reason: str = "login") -> Emsd:
    """The same, none of its venues reached."""
    states = [structs.replace(each, state="unreachable", reason=reason) for each in (PAPER, REAL)]
    emsd.accounts_now = AccountsReply(accounts=tuple(states))
    return emsd


@pytest.mark.parametrize(
    "fault",
    [AccountUnreachable(account="paper.replay", reason="no link"), NotConnected(reason="no link")],
)
@pytest.mark.parametrize("options", [(), ("--wait",)])
async def test_what_can_not_be_reached_says_what_is_kept_and_what_stays(
    fault: Fault, options: tuple[str, ...]
) -> None:
    emsd = with_open(Emsd())
    emsd.refuses[Flatten] = fault
    async with listening(emsd):
        status, out, err = await piker("flatten", "paper.replay", *options)
    refused, kept = err.splitlines()
    assert (status, out, refused.endswith("reason: no link)")) == (1, "", True)
    assert kept == (
        "piker: NOT flattened: paper.replay can't be reached; cancels of its orders are kept and "
        "sent when it is back, its positions stay open"
    )


async def test_where_not_all_could_be_closed_what_was_touched_is_shown_and_what_was_not() -> None:
    async with listening(with_one_kept("o1", "c1")):
        status, out, err = await piker("flatten", "paper.replay")
    assert (status, [line.split()[0] for line in out.splitlines()]) == (1, ["o1", "c1"])
    said = f"NOT closed: gbpusd.spot.replay ({WHY}); the others are being closed"
    assert err == f"piker: {said}\n"


async def test_where_nothing_could_be_closed_no_others_are_said_to_be() -> None:
    async with listening(with_one_kept("o1")):
        status, out, err = await piker("flatten", "paper.replay")
    assert (status, out.split()[0]) == (1, "o1")
    assert err == f"piker: NOT closed: gbpusd.spot.replay ({WHY})\n"


async def test_who_waits_waits_for_the_others_and_is_told_what_is_still_held() -> None:
    emsd = with_one_kept("o1", "c1")
    async with listening(emsd), running("flatten", "paper.replay", "--wait") as command:
        assert [(await command.line()).split()[0] for _ in range(2)] == ["o1", "c1"]
        emsd.tell("o1", Cancelled())
        emsd.tell("c1", fill("c1", 400))
        status, out, err = await command.ended()
    kept, still = err.splitlines()
    assert (status, "→ filled" in out) == (1, True)
    assert kept.startswith("piker: NOT closed: gbpusd.spot.replay (")
    assert still == "piker: NOT flat: paper.replay still holds 400 gbpusd.spot.replay"


async def test_an_order_that_works_on_at_the_venue_is_a_failure_though_nothing_is_held() -> None:
    emsd = with_closing(Emsd())
    async with listening(emsd), running("flatten", "paper.replay", "--wait") as command:
        await command.line()
        emsd.tell("c1", fill("c1", 400))
        emsd.tell("o1", CancelRefused(reason="too late today"))
        status, _, err = await command.ended()
    said = "NOT cancelled: o1 is open: cancel refused: too late today"
    assert (status, err) == (1, f"piker: {said}\n")


async def test_what_an_account_holds_that_is_not_reached_is_not_said_to_be_nothing() -> None:
    emsd = unreached(with_open(Emsd()), "no link")
    async with listening(emsd), running("flatten", "paper.replay", "--wait") as command:
        await command.line()
        emsd.tell("o1", Cancelled())
        status, out, err = await command.ended()
    said = "what paper.replay holds now is not known: it is unreachable (no link)"
    assert (status, "holds nothing" in out) == (1, False)
    assert err.splitlines()[1:] == [f"piker: {said}"]


async def test_nor_is_the_owner_who_is_asked_told_so() -> None:
    async with listening(unreached(Emsd())), in_terminal("flatten", "sim.main") as terminal:
        await terminal.until("[y/N]")
        await terminal.type("n\n")
        await terminal.ended()
    said = "what sim.main holds now is not known: it is unreachable (login)"
    assert (said in terminal.drawn, "nothing is held" in terminal.drawn) == (True, False)


async def test_of_an_account_that_is_reached_the_owner_is_told_that_nothing_is_held() -> None:
    async with listening(Emsd()), in_terminal("flatten", "sim.main") as terminal:
        await terminal.until("  nothing is held", "[y/N]")
        await terminal.type("n\n")
        assert await terminal.ended() == 1
    assert "not known" not in terminal.drawn


class Touching(Emsd):
    """One that says of these orders that it touched them."""

    def __init__(self, *oids: str) -> None:
        super().__init__()
        self._oids = oids

    async def flatten(self, call: Flatten) -> OidsReply:
        self._note(call)
        return OidsReply(oids=self._oids)


async def test_a_position_whose_closing_order_the_venue_does_not_take_is_a_failure() -> None:
    emsd = with_closing(Touching("c1"))
    emsd.tell("c1", Refused(reason="no money"))
    async with listening(emsd):
        status, out, err = await piker("flatten", "paper.replay")
    assert (status, "rejected; no money" in out) == (1, True)
    assert err == "piker: NOT closed: eurusd.spot.replay (no money)\n"


class Falling(Emsd):
    """One that goes away when it is asked to flatten."""

    async def flatten(self, call: Flatten) -> OidsReply:
        self._note(call)
        raise HungUp("as a test wants it")


async def test_whether_it_was_taken_is_not_known_if_the_answer_is_lost() -> None:
    async with listening(Falling()):
        status, out, err = await piker("flatten", "paper.replay", "--wait")
    assert (status, out) == (3, "")
    assert err.endswith("; whether that was taken is not known; see `piker orders`\n")


async def test_what_was_taken_is_said_to_be_kept_if_emsd_goes_away_then() -> None:
    async with listening(with_open(Faltering(Accounts))):
        status, _, err = await piker("flatten", "paper.replay")
    assert status == 3
    assert err.endswith("; what was asked for is kept; see `piker orders`\n")


async def test_who_waits_is_told_the_end_over_a_restart() -> None:
    emsd = with_open(Faltering(Accounts, Accounts))
    async with listening(emsd), running("flatten", "paper.replay", "--wait") as command:
        await command.line()
        emsd.tell("o1", Cancelled())
        status, out, err = await command.ended()
    assert (status, out.splitlines()[-1]) == (0, "paper.replay (paper) holds nothing")
    assert [line.endswith("; trying again") for line in err.splitlines()] == [True, True]
