"""piker amend, cancel, flatten, resolve; halt, resume, accept, limits: asked of emsd as given."""

import json
from decimal import Decimal

import pytest
from msgspec import structs

from piker.accounts import Position
from piker.cli.desk import market_among, whole_account
from piker.errors import Refused
from piker.interfaces import Call
from piker.interfaces.orders import (
    AcceptPosition,
    Accounts,
    AccountsReply,
    Amend,
    Cancel,
    CancelAll,
    Flatten,
    Halt,
    NotPossible,
    OidsReply,
    OrderReply,
    PositionLine,
    Resolve,
    Resume,
)
from piker.orders import Acked, CancelRefused, Sending, Silence, Submitted
from piker.transport import HungUp
from tests.cli.command import call, piker
from tests.cli.faltering import Faltering
from tests.cli.terminal import in_terminal
from tests.fakes.scripted_emsd import PAPER, REAL, Emsd, listening, order

Capture = pytest.CaptureFixture[str]

SENDING = Sending(size=Decimal(1000), limit=Decimal("1.20"), not_after_ns=1)
OPEN = (SENDING, Acked(venue_id="v1"))
HELD = Position(
    account="sim.main",
    market="s0000.xsim.sim",
    currency="USD",
    multiplier=Decimal(1),
    size=Decimal(-7),
)


def with_orders() -> Emsd:
    """One with an open paper order and an unknown live one."""
    emsd = Emsd()
    emsd.tell("paper-1", Submitted(order=order("paper-1")), *OPEN)
    emsd.tell("live-1", Submitted(order=order("live-1", account="sim.main")), SENDING, Silence())
    return emsd


@pytest.mark.parametrize(
    ("line", "asked", "said"),
    [
        (
            "amend paper --size 500 --limit 1.25",
            Amend(oid="paper-1", size=Decimal(500), limit=Decimal("1.25")),
            (
                "paper-1  paper.replay (paper): buy 1000 eurusd.spot.replay, limit 1.20: "
                "open, amend 1 to 500 at 1.25 pending\n"
            ),
        ),
        (
            "amend paper-1 --trigger 1.1",
            Amend(oid="paper-1", trigger=Decimal("1.1")),
            (
                "paper-1  paper.replay (paper): buy 1000 eurusd.spot.replay, limit 1.20: "
                "open, amend 1 to 1000 at 1.20 pending\n"
            ),
        ),
        (
            "cancel per-1",
            Cancel(oid="paper-1"),
            (
                "paper-1  paper.replay (paper): buy 1000 eurusd.spot.replay, limit 1.20: "
                "open, cancel pending\n"
            ),
        ),
        (
            "resolve live cancelled --note seen",
            Resolve(oid="live-1", outcome="cancelled", note="seen"),
            "live-1  sim.main (LIVE): buy 1000 eurusd.spot.replay, limit 1.20: cancelled; seen\n",
        ),
        ("halt", Halt(reason="asked for by hand"), "halted: no new order leaves, paper or live\n"),
        ("halt why", Halt(reason="why"), "halted: no new order leaves, paper or live\n"),
        ("resume", Resume(), "no longer halted: new orders leave again, paper and live\n"),
        (
            "accept sim.main a.b.sim --note mine",
            AcceptPosition(account="sim.main", market="a.b.sim", note="mine"),
            "sim.main (LIVE): the position in a.b.sim is taken as it is\n",
        ),
    ],
)
async def test_what_is_asked_is_what_was_given_and_the_account_is_told(
    line: str, asked: Call, said: str
) -> None:
    async with listening(with_orders()) as emsd:
        assert await piker(*line.split()) == (0, said, "")
    assert emsd.asked == [asked]


async def test_json_is_how_the_order_stands() -> None:
    async with listening(with_orders()):
        status, out, _ = await piker("cancel", "paper-1", "--json")
    told = json.loads(out)
    assert (status, told["oid"], told["state"], told["live"]) == (0, "paper-1", "open", False)


async def test_all_are_cancelled_with_a_line_for_each() -> None:
    async with listening(with_orders()) as emsd:
        status, out, _ = await piker(
            "cancel", "--all", "--account", "sim.main", "--market", "EURUSD"
        )
    assert emsd.asked == [CancelAll(account="sim.main", market="eurusd.spot.replay")]
    assert status == 0
    assert [line.split()[0] for line in out.splitlines()] == ["paper-1", "live-1"]
    assert out.splitlines()[1].split()[1:3] == ["sim.main", "(LIVE):"]


def away(emsd: Emsd) -> Emsd:
    """The same, its paper venue not to be reached."""
    gone = structs.replace(PAPER, state="unreachable", reason="no link")
    emsd.accounts_now = AccountsReply(accounts=(gone, REAL))
    return emsd


@pytest.mark.parametrize("line", ["cancel paper-1", "cancel --all", "flatten paper"])
@pytest.mark.parametrize("options", [(), ("--json",)])
async def test_a_cancel_that_can_not_leave_is_told_and_a_failure(
    line: str, options: tuple[str, ...]
) -> None:
    async with listening(away(with_orders())):
        status, out, err = await piker(*line.split(), *options)
    said = "paper.replay is unreachable (no link); the cancel is sent when it is back"
    assert (status, err) == (1, f"piker: NOT cancelled yet: {said}\n")
    assert "paper-1" in out


class Prompt(Emsd):
    """One whose venue refuses every cancel at once."""

    async def cancel_all(self, call: CancelAll) -> OidsReply:
        reply = await super().cancel_all(call)
        self.tell("paper-1", CancelRefused(reason="too late today"))
        return reply


@pytest.mark.parametrize("line", ["cancel --all", "flatten paper.replay"])
async def test_a_cancel_that_was_refused_already_is_a_failure(line: str) -> None:
    emsd = Prompt()
    emsd.tell("paper-1", Submitted(order=order("paper-1")), *OPEN)
    async with listening(emsd):
        status, _, err = await piker(*line.split())
    said = "NOT cancelled: paper-1 is open: cancel refused: too late today"
    assert (status, err) == (1, f"piker: {said}\n")


async def test_a_cancel_of_what_is_here_needs_no_venue() -> None:
    emsd = Emsd()
    emsd.tell("dark-1", Submitted(order=order("dark-1", kind="dark", trigger=Decimal(1))))
    async with listening(away(emsd)):
        status, out, err = await piker("cancel", "dark-1")
    assert (status, err) == (0, "")
    assert out.endswith(": cancelled\n")


async def test_of_an_account_that_nobody_tells_of_nothing_is_taken_for_cancelled() -> None:
    emsd = with_orders()
    emsd.accounts_now = AccountsReply(accounts=())
    async with listening(emsd):
        status, _, err = await piker("cancel", "paper-1")
    assert status == 1
    assert "paper.replay is unreachable (no broker daemon tells of it); " in err


async def test_the_only_paper_account_with_something_is_flattened_as_paper() -> None:
    emsd = with_orders()
    other = structs.replace(PAPER, account="paper.sim")
    emsd.accounts_now = AccountsReply(accounts=(PAPER, other, REAL))
    async with listening(emsd):
        assert (await piker("flatten", "paper")).status == 0
    assert emsd.asked == [Flatten(account="paper.replay")]


async def test_of_two_paper_accounts_with_something_none_is_flattened_as_paper() -> None:
    emsd = with_orders()
    emsd.tell("paper-2", Submitted(order=order("paper-2", account="paper.sim")))
    async with listening(emsd):
        status, _, err = await piker("flatten", "paper")
    assert (status, emsd.asked) == (1, [])
    assert "allowed: paper.replay, paper.sim, sim.main" in err


async def test_to_resolve_as_filled_says_that_nothing_is_booked() -> None:
    said = "piker: no execution is booked: only what the venue told counts in positions\n"
    async with listening(with_orders()):
        status, _, err = await piker("resolve", "live-1", "filled", "--note", "seen")
    assert (status, err) == (0, said)


async def test_where_there_is_nothing_to_cancel_it_says_so() -> None:
    async with listening(Emsd()):
        assert await piker("cancel", "--all") == (0, "no orders\n", "")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ("--account papr", "such account here (account: papr, allowed: paper.replay, sim.main)"),
        ("--market eurusdx", "such market (market: eurusdx, similar: eurusd.spot.replay)"),
    ],
)
async def test_a_name_of_nothing_is_refused_and_not_taken_for_nothing_to_do(
    options: str, said: str
) -> None:
    async with listening(with_orders()) as emsd:
        status, out, err = await piker("cancel", "--all", *options.split())
    assert (status, out, emsd.asked) == (1, "", [])
    assert err.endswith(f"{said}\n")


async def test_what_is_not_possible_is_a_line() -> None:
    emsd = with_orders()
    emsd.refuses[Amend] = NotPossible(oid="paper-1", state="open", reason="expected no cancel")
    async with listening(emsd):
        status, out, err = await piker("amend", "paper-1", "--size", "1")
    said = "(oid: paper-1, state: open, reason: expected no cancel)\n"
    assert (status, out) == (1, "")
    assert err == f"piker: The order can't do that as it is now {said}"


@pytest.mark.parametrize(
    "line", ["amend paper-1 --size 500", "resolve live-1 cancelled --note seen"]
)
async def test_what_was_taken_is_told_though_emsd_goes_away_then(line: str) -> None:
    emsd = Faltering(Accounts)
    emsd.lives, emsd.news = with_orders().lives, with_orders().news
    async with listening(emsd):
        status, out, err = await piker(*line.split())
    assert (status, err) == (0, "")
    assert out.startswith(f"{line.split()[1]}  ")


class Falling(Emsd):
    """One that goes away when it is asked for a change."""

    async def amend(self, call: Amend) -> OrderReply:
        raise HungUp("as a test wants it")


async def test_whether_a_change_was_taken_is_not_known_if_the_answer_is_lost() -> None:
    async with listening(Falling()):
        status, out, err = await piker(
            "amend", "019a0000-0000-7000-8000-00000000aaaa", "--size", "1", "--yes"
        )
    assert (status, out) == (3, "")
    assert err.endswith("; whether that was taken is not known; see `piker orders`\n")


async def test_a_paper_account_is_flattened_without_being_asked() -> None:
    async with listening(with_orders()) as emsd:
        status, _, _ = await piker("flatten", "paper", "--market", "eurusd")
    flatten = Flatten(account="paper.replay", market="eurusd.spot.replay")
    assert (status, emsd.asked) == (0, [flatten])


async def test_a_live_account_is_not_flattened_without_yes_where_nobody_can_be_asked() -> None:
    async with listening(with_orders()) as emsd:
        refused = await piker("flatten", "sim.main")
        assert emsd.asked == []
        assert (await piker("flatten", "sim.main", "--yes")).status == 0
    assert refused == (2, "", "piker: sim.main is real money: expected --yes\n")
    assert emsd.asked == [Flatten(account="sim.main")]


async def test_in_a_terminal_what_would_be_closed_is_shown_and_asked_for() -> None:
    emsd = with_orders()
    emsd.positions_now = (PositionLine(position=HELD),)
    async with listening(emsd), in_terminal("flatten", "sim.main") as terminal:
        await terminal.until("sim.main (LIVE), at the market:", "close -7 s0000.xsim.sim", "[y/N]")
        await terminal.type("n\n")
        assert await terminal.ended() == 1
    assert emsd.asked == []
    assert terminal.drawn.count("  cancel buy 1000 eurusd.spot.replay, limit 1.20") == 1


async def test_limits_are_a_line_each() -> None:
    async with listening(Emsd()):
        status, out, _ = await piker("limits", "sim.main", "a.b.sim")
    assert status == 0
    first, size, notional, *_ = out.splitlines()
    assert first == "sim.main (LIVE) in a.b.sim:"
    assert (size.split(), notional.split()) == (
        ["order_size", "1000"],
        ["order_notional", "no", "limit"],
    )


async def test_limits_in_json_are_an_object() -> None:
    async with listening(Emsd()):
        _, out, _ = await piker("limits", "sim.main", "a.b.sim", "--json")
    assert json.loads(out)["daily_loss"] == "250.50"


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("amend o1", "expected at least one of --size, --limit, --trigger"),
        ("amend o1 --size 0", "expected a size above 0"),
        ("cancel", "expected an OID, or --all"),
        ("cancel o1 --all", "expected an OID, or --all"),
        ("cancel o1 --account paper", "--account and --market go with --all"),
        ("resolve o1 cancelled", "the following arguments are required: --note"),
        ("resolve o1 lost --note x", "invalid choice: 'lost'"),
        ("flatten", "expected an account, as paper.replay"),
        ("accept a b", "the following arguments are required: --note"),
        ("order", "the following arguments are required: oid"),
    ],
)
def test_what_can_not_be_asked_is_a_usage_error(line: str, problem: str, capfd: Capture) -> None:
    assert call(*line.split()) == 2
    out, err = capfd.readouterr()
    assert out == ""
    assert problem in err


def test_paper_is_the_only_paper_account() -> None:
    assert whole_account("paper", {"paper.a", "b.main"}) == "paper.a"
    for known in ({"paper.a", "paper.b"}, {"b.main"}):
        with pytest.raises(Refused, match="allowed: "):
            whole_account("paper", known)


def test_a_market_is_one_of_those_that_there_are() -> None:
    known = {"eurusd.spot.a", "mnq.cme.a", "eurusd.spot.b"}
    assert market_among("MNQ", known) == "mnq.cme.a"
    assert market_among("eurusd.b", known) == "eurusd.spot.b"
    with pytest.raises(Refused, match=r"eurusd\.spot\.a, eurusd\.spot\.b"):
        market_among("eurusd", known)
