"""piker orders and order: the book, what happens to it, and one order's whole life."""

import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from decimal import Decimal
from typing import Any

import pytest
from msgspec import structs

from piker.accounts import AccountState
from piker.cli.desk import matching
from piker.cli.order import between
from piker.interfaces.orders import Accounts, AccountsReply
from piker.orders import Acked, AmendAsked, CancelAsked, Refused, Sending, Silence, Submitted
from tests.cli.command import Command, piker, running
from tests.cli.faltering import Faltering
from tests.cli.terminal import in_terminal
from tests.fakes.scripted_emsd import FIRST_NS, PAPER, Emsd, fill, listening, order

SENDING = Sending(size=Decimal(1000), limit=Decimal("1.20"), not_after_ns=1)
OPEN = (SENDING, Acked(venue_id="v1"))
OIDS = ("019a0000-0000-7000-8000-00000000aaaa", "019a0000-0000-7000-8000-00000000bbbb")


def three() -> Emsd:
    """One with a paper order, a live one that is unknown, and a closed one."""
    emsd = Emsd()
    emsd.tell("paper-1", Submitted(order=order("paper-1")), *OPEN)
    emsd.tell("paper-1", fill("paper-1", 400))
    emsd.tell("live-1", Submitted(order=order("live-1", account="sim.main")), SENDING, Silence())
    emsd.tell("done-1", Submitted(order=order("done-1")), Refused(reason="no [money]"))
    return emsd


async def test_a_table_of_what_is_not_closed_says_the_account_and_what_to_do() -> None:
    async with listening(three()):
        status, out, err = await piker("orders")
    head, paper, live, remedy = out.splitlines()
    assert (status, err) == (0, "")
    assert head.split() == [
        "order",
        "made/filled",
        "account",
        *("what", "state", "filled", "reason"),
    ]
    assert paper.split()[:4] == ["paper-1", "2027-01-15", "paper.replay", "paper"]
    assert "buy 1000 eurusd.spot.replay, limit 1.20  open     400/1000 at 1.1" in paper
    assert live.split()[:4] == ["live-1", "-", "sim.main", "LIVE"]
    assert "UNKNOWN" in live
    assert remedy.startswith("live-1: it was sent, its outcome is not known: ")
    assert "piker resolve live-1 open|filled|cancelled|rejected --note TEXT" in remedy


async def test_all_are_also_the_closed_ones_with_their_reasons_as_they_are() -> None:
    async with listening(three()):
        status, out, _ = await piker("orders", "--all", "--account", "paper.replay")
    assert status == 0
    assert [line.split()[0] for line in out.splitlines()] == ["order", "paper-1", "done-1"]
    assert out.rstrip().endswith("rejected  0/1000           no [money]")


async def test_what_is_under_way_is_in_the_state() -> None:
    emsd = three()
    amend = AmendAsked(n=1, size=Decimal(500), limit=Decimal("1.2"), not_after_ns=1)
    emsd.tell("paper-1", amend, CancelAsked())
    async with listening(emsd):
        _, out, _ = await piker("orders")
    assert "open, amend 1 to 500 at 1.2 pending, cancel pending" in out


async def test_json_is_an_object_an_order() -> None:
    async with listening(three()):
        status, out, _ = await piker("orders", "--json")
    paper, live = [json.loads(line) for line in out.splitlines()]
    assert status == 0
    assert (paper["oid"], paper["state"], paper["filled"], paper["remaining"], paper["seq"]) == (
        *("paper-1", "open", "400", "600", 9),
    )
    assert (paper["live"], live["live"], live["state"]) == (False, True, "unknown")
    assert (paper["event"], paper["time_ns"]) == (None, None)


async def test_a_halt_and_accounts_that_are_not_ready_stand_below() -> None:
    emsd = Emsd()
    away: dict[str, Any] = {"state": "unreachable", "reason": "login", "unexplained": ("a.b.sim",)}
    states = (PAPER, AccountState(account="sim.main", live=True, since_ns=0, **away))
    emsd.accounts_now = AccountsReply(accounts=states, halted="too wild")
    async with listening(emsd):
        _, out, _ = await piker("orders")
    nothing, halted, unready, unexplained = out.splitlines()
    assert nothing == "no orders"
    assert halted == "HALTED, no new order leaves: too wild"
    assert unready == "sim.main (LIVE) is unreachable: login"
    assert unexplained.startswith("sim.main (LIVE): the position in a.b.sim is unexplained, ")
    assert unexplained.endswith("piker accept sim.main a.b.sim --note TEXT")


async def test_what_is_strange_at_the_venue_of_an_account_that_is_ready_stands_below() -> None:
    emsd = Emsd()
    strange = structs.replace(PAPER, reason="2 orders there are not ours")
    emsd.accounts_now = AccountsReply(accounts=(strange,))
    async with listening(emsd):
        for command in ("orders", "positions"):
            _, out, _ = await piker(command)
            assert out.splitlines()[1:] == ["paper.replay (paper): 2 orders there are not ours"]


async def test_an_account_that_was_not_reached_is_not_taken_for_a_simulated_one() -> None:
    emsd = three()
    away: dict[str, Any] = {"state": "unreachable", "reason": "login"}
    state = AccountState(account="sim.main", live=None, since_ns=0, **away)
    emsd.accounts_now = AccountsReply(accounts=(PAPER, state))
    async with listening(emsd):
        _, out, _ = await piker("orders", "--account", "sim.main")
    assert out.splitlines()[1].split()[2:4] == ["sim.main", "LIVE?"]
    assert "sim.main (LIVE?) is unreachable: login" in out


async def test_an_account_that_is_known_to_be_simulated_is_so_before_it_was_reached() -> None:
    emsd = three()
    away: dict[str, Any] = {"state": "unreachable", "reason": "login"}
    state = AccountState(account="sim.main", live=False, since_ns=0, **away)
    emsd.accounts_now = AccountsReply(accounts=(PAPER, state))
    async with listening(emsd):
        _, out, _ = await piker("orders", "--account", "sim.main")
    assert out.splitlines()[1].split()[2:4] == ["sim.main", "simulated"]
    assert "sim.main (simulated) is unreachable: login" in out


async def test_to_follow_in_a_pipe_is_the_book_then_a_line_an_event() -> None:
    async with listening(three()) as emsd, running("orders", "--follow") as command:
        paper, live = [await command.line() for _ in range(2)]
        emsd.tell("paper-1", fill("paper-1", 600, "1.2", "e2"))
        event = await command.line()
    assert paper.split()[:3] == ["paper-1", "paper.replay", "(paper):"]
    assert live.split()[:3] == ["live-1", "sim.main", "(LIVE):"]
    assert event.startswith(
        "08:00:09  paper-1  paper.replay (paper): buy 1000 eurusd.spot.replay, "
    )
    assert event.endswith(": filled 600 at 1.2 → filled; filled 1000/1000 at 1.16")


async def test_to_follow_in_json_is_the_same_object_a_line_and_goes_on_after_a_restart() -> None:
    emsd = three()
    async with running_over_a_restart(emsd) as command:
        emsd.tell("live-1", Acked(venue_id="v2"))
        async with listening(emsd):
            told = json.loads(await command.line(lambda line: '"event":"Acked"' in line))
        _, _, err = await command.end()
    assert (told["seq"], told["oid"], told["state"], told["time_ns"]) == (
        *(10, "live-1", "open", FIRST_NS + 9_000_000_000),
    )
    assert emsd.since == [None, 9]
    assert err.splitlines()[0].startswith("piker: emsd went away ")


async def test_to_follow_goes_on_when_nobody_says_whose_money_it_is() -> None:
    emsd = Faltering()
    async with listening(emsd), running("orders", "--follow") as command:
        await emsd.until(lambda emsd: emsd.followers == 1)
        emsd.deaf_to += [Accounts]
        emsd.tell("o1", Submitted(order=order("o1", account="far.main")))
        assert (await command.line()).split()[2:4] == ["far.main", "(LIVE?):"]
        emsd.tell("o1", SENDING)
        assert (await command.line()).split()[1] == "o1"
        _, _, err = await command.end()
    assert err.endswith("; trying again\n")


@asynccontextmanager
async def running_over_a_restart(emsd: Emsd) -> AsyncIterator[Command]:
    """One that follows in JSON, and has the book of an emsd that has gone then."""
    async with AsyncExitStack() as stack:
        async with listening(emsd):
            command = await stack.enter_async_context(running("orders", "--follow", "--json"))
            for _ in range(2):
                await command.line()
        yield command


async def test_in_a_terminal_it_is_a_table_that_is_drawn_anew() -> None:
    async with listening(three()) as emsd, in_terminal("orders", "--follow") as terminal:
        await terminal.until("paper-1", "sim.main", "UNKNOWN", "400/1000")
        emsd.tell("paper-1", fill("paper-1", 500, "1.2", "e2"))
        await terminal.until("900/1000")
        assert await terminal.press_ctrl_c() == 130
    assert "Traceback" not in terminal.drawn


async def test_an_order_is_a_timeline_with_the_times_between() -> None:
    async with listening(three()):
        status, out, _ = await piker("order", "paper-1")
    oid, stands, head, *steps = out.splitlines()
    assert (status, oid) == (0, "paper-1")
    assert stands.startswith("paper.replay (paper): buy 1000 eurusd.spot.replay, limit 1.20: open;")
    assert head.split() == ["time", "after", "what", "state", "filled"]
    assert steps[0].split()[:4] == ["2027-01-15", "08:00:00.000", "submitted:", "buy"]
    assert steps[1].split()[:5] == ["2027-01-15", "08:00:01.000", "1", "s", "sending"]
    assert steps[3].split()[-3:] == ["400/1000", "at", "1.1"]


async def test_a_timeline_in_json_is_an_object_an_event() -> None:
    async with listening(three()):
        _, out, _ = await piker("order", "paper-1", "--json")
    told = [json.loads(line) for line in out.splitlines()]
    assert [each["event"] for each in told] == ["Submitted", "Sending", "Acked", "Filled"]
    assert [each["state"] for each in told] == ["held", "sending", "open", "open"]
    assert told[0]["time_ns"] == FIRST_NS


@pytest.mark.parametrize("part", [OIDS[0], "aaaa", "00aaaa", OIDS[0][:36]])
async def test_the_end_of_an_oid_or_all_of_it_names_the_order(part: str) -> None:
    emsd = Emsd()
    for oid in OIDS:
        emsd.tell(oid, Submitted(order=order(oid)))
    async with listening(emsd):
        status, out, _ = await piker("order", part)
    assert (status, out.splitlines()[0]) == (0, OIDS[0])


async def test_a_part_of_two_oids_is_refused_with_both() -> None:
    emsd = Emsd()
    for oid in OIDS:
        emsd.tell(oid, Submitted(order=order(oid)))
    async with listening(emsd):
        status, out, err = await piker("order", "019a")
    said = "piker: More than one order begins or ends so"
    assert (status, out) == (1, "")
    assert err == f"{said} (oid: 019a, candidates: {OIDS[0]}, {OIDS[1]})\n"


async def test_a_part_of_many_oids_names_five_and_counts_the_others() -> None:
    emsd = Emsd()
    for n in range(55):
        emsd.tell(f"many-{n:02}", Submitted(order=order(f"many-{n:02}")))
    async with listening(emsd):
        _, _, err = await piker("order", "many")
    assert err.endswith("candidates: many-00, many-01, many-02, many-03, many-04, and 50 more)\n")


async def test_an_order_that_there_is_not_is_refused_by_its_oid() -> None:
    async with listening(three()):
        assert await piker("order", "x") == (1, "", "piker: There is no such order (oid: x)\n")


def test_a_whole_oid_is_itself_though_others_begin_so() -> None:
    assert matching("a1", ["a1", "a12", "ba1"]) == ("a1",)
    assert matching("a", ["a1", "a12", "ba"]) == ("a1", "a12", "ba")
    assert matching("1", ["a1", "a12"]) == ("a1",)
    assert matching("z", ["a1"]) == ()


@pytest.mark.parametrize(
    ("span_ns", "words"),
    [
        (0, "0 us"),
        (412_900, "412 us"),
        (3_100_000, "3.1 ms"),
        (2_040_000_000, "2.04 s"),
        (303_000_000_000, "5 min 3 s"),
        (7_500_000_000_000, "2 h 5 min"),
    ],
)
def test_a_time_between_two_steps_is_short(span_ns: int, words: str) -> None:
    assert between(span_ns) == words


@pytest.mark.parametrize("line", ["orders", "order a1", "positions", "limits a b", "halt"])
async def test_where_emsd_is_not_it_says_how_to_start_it(line: str) -> None:
    status, out, err = await piker(*line.split())
    assert (status, out) == (3, "")
    assert err.startswith("piker: emsd does not listen at /tmp/pk-")
    assert err.endswith("Start it with `systemctl --user start emsd.socket`, or `piker up`.\n")
