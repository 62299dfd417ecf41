"""piker buy, sell, alert: what is sent, what is shown, what is asked."""

import json
import re
from decimal import Decimal
from typing import Any

import pytest

from piker.accounts import AccountState
from piker.interfaces.broker import InvalidOrder
from piker.interfaces.orders import (
    AccountsReply,
    NoMarketData,
    RiskRejected,
    Submit,
    SubmitReply,
    Timeline,
)
from piker.orders import Acked, Armed, CancelAsked, Cancelled, Order, Refused, Sending, Triggered
from tests.cli.command import Ended, call, piker, running
from tests.cli.conftest import configure
from tests.cli.faltering import Faltering
from tests.cli.terminal import in_terminal
from tests.fakes.scripted_emsd import FIRST_NS, Emsd, fill, listening

Capture = pytest.CaptureFixture[str]

BUY = ("buy", "eurusd.spot.replay", "1000", "--limit", "1.20", "--account", "paper")
LIVE = ("sell", "s0000.xsim.sim", "5", "--limit", "101", "--account", "sim.main")
SENDING = Sending(size=Decimal(1000), limit=Decimal("1.20"), not_after_ns=1)
OPEN = (SENDING, Acked(venue_id="v1"))
UUID7 = r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}"


def that(*events: object) -> Emsd:
    """One at which this happens to every order at once."""
    emsd = Emsd()
    emsd.follows = events  # type: ignore[assignment]
    return emsd


def submitted(emsd: Emsd) -> list[Order]:
    """Orders that came to be sent, each as often as it came."""
    return [each.order for each in emsd.asked if isinstance(each, Submit) and not each.dry_run]


def objects(ended: Ended) -> list[dict[str, Any]]:
    """What was printed, decoded."""
    return [json.loads(line) for line in ended.out.splitlines()]


async def test_its_oid_comes_first_then_how_it_stands_with_its_account() -> None:
    async with listening(that(*OPEN)) as emsd:
        status, out, err = await piker(*BUY)
    (order,) = submitted(emsd)
    said = f"oid {order.oid}\npaper (paper): buy 1000 eurusd.spot.replay, limit 1.20: open\n"
    assert (status, out, err) == (0, said, "")
    assert re.fullmatch(UUID7, order.oid)


async def test_every_option_is_in_the_order() -> None:
    line = "sell EURUSD.replay 7.5 --dark 1.1 --limit 1.05 --when below --tif day --reduce-only"
    more = "--on-gap fire --slip-ticks 9 --slip-max-pct 0.25 --oid mine --account paper.replay"
    async with listening(Emsd()) as emsd:
        assert (await piker(*line.split(), *more.split())).status == 0
    assert submitted(emsd) == [
        Order(
            oid="mine",
            account="paper.replay",
            market="EURUSD.replay",
            side="sell",
            size=Decimal("7.5"),
            kind="dark",
            limit=Decimal("1.05"),
            trigger=Decimal("1.1"),
            when="below",
            tif="day",
            reduce_only=True,
            on_gap="fire",
            slip_ticks=9,
            slip_max_pct=Decimal("0.25"),
        )
    ]


@pytest.mark.parametrize(
    ("options", "kind"),
    [
        ((), "market"),
        (("--limit", "1.2"), "limit"),
        (("--dark", "1.2"), "dark"),
        (("--dark", "1.2", "--sends", "market"), "dark"),
    ],
)
async def test_the_prices_say_what_kind_it_is(options: tuple[str, ...], kind: str) -> None:
    async with listening(Emsd()) as emsd:
        await piker("buy", "eurusd.replay", "10", "--account", "paper", *options)
    (order,) = submitted(emsd)
    assert order.kind == kind


async def test_an_alert_needs_no_size_and_no_account() -> None:
    armed = Armed(when="above", since_ns=0)
    async with listening(that(armed)) as emsd:
        status, out, _ = await piker("alert", "eurusd.spot.replay", "1.25", "--when", "above")
    (order,) = submitted(emsd)
    assert (order.kind, order.when) == ("alert", "above")
    assert (order.size, order.trigger) == (Decimal(0), Decimal("1.25"))
    assert status == 0
    assert out.endswith("paper (paper): alert eurusd.spot.replay above 1.25: armed\n")


async def test_a_dark_order_in_json_says_that_it_is_armed_and_which_way() -> None:
    line = "sell eurusd.replay 5 --dark 1.1 --tif day --reduce-only --account paper --json"
    async with listening(that(Armed(when="below", since_ns=0))):
        (told,) = objects(await piker(*line.split()))
    assert (told["kind"], told["armed"], told["when"]) == ("dark", True, "below")
    assert (told["tif"], told["reduce_only"]) == ("day", True)


async def test_what_is_cut_to_what_can_be_reduced_says_so() -> None:
    line = "sell eurusd.replay 5000 --reduce-only --account paper"
    sent = Sending(size=Decimal(1500), limit=None, not_after_ns=1)
    async with listening(that(sent)):
        _, out, _ = await piker(*line.split())
    assert ": sell 1500 eurusd.replay, at the market, only 1500 of 5000: reduce only: " in out


async def test_wait_and_json_are_an_object_an_event_to_the_last() -> None:
    async with listening(that(*OPEN)) as emsd, running(*BUY, "--wait", "--json") as command:
        await emsd.until(lambda emsd: emsd.followers == 1)
        (order,) = submitted(emsd)
        emsd.tell(order.oid, fill(order.oid, 400), fill(order.oid, 600, "1.2", "e2"))
        ended = await command.ended()
    told = objects(ended)
    assert ended.status == 0
    assert ended.err == f"oid {order.oid}\n"
    assert [each["event"] for each in told] == ["Submitted", "Sending", "Acked", "Filled", "Filled"]
    assert [each["seq"] for each in told] == [1, 2, 3, 4, 5]
    assert {"paper"} == {each["account"] for each in told}
    assert told[3] | told[-1] == told[-1]
    assert told[-1] == {
        "event": "Filled",
        "seq": 5,
        "oid": order.oid,
        "state": "filled",
        "filled": "1000",
        "remaining": "0",
        "average_price": "1.16",
        "account": "paper",
        "live": False,
        "time_ns": FIRST_NS + 4_000_000_000,
        "reason": "",
        "market": "eurusd.spot.replay",
        "side": "buy",
        "size": "1000",
        "kind": "limit",
        "limit": "1.20",
        "trigger": None,
        "when": None,
        "tif": "gtc",
        "reduce_only": False,
        "armed": False,
    }


@pytest.mark.parametrize(
    ("events", "status", "last"),
    [
        ((*OPEN, fill("o1")), 0, "filled 1000 at 1.1 → "),
        ((SENDING, Refused(reason="no money")), 1, "refused: no money → "),
        ((*OPEN, Cancelled(reason="by the venue")), 1, "the venue cancelled it: by the venue → "),
        ((*OPEN, fill("o1", 400), CancelAsked(), Cancelled()), 1, "filled 400/1000 at 1.1"),
    ],
)
async def test_what_it_waits_for_is_the_exit_status(
    events: tuple[object, ...], status: int, last: str
) -> None:
    async with listening(that(*events)):
        ended = await piker(*BUY, "--wait", "--oid", "o1")
    assert ended.status == status
    assert last in ended.out.splitlines()[-1]
    assert "paper (paper)" in ended.out.splitlines()[-1]


async def test_an_alert_that_fires_is_a_success() -> None:
    fires = (Armed(when="above", since_ns=0), Triggered(price=Decimal("1.3"), time_ns=0))
    async with listening(that(*fires)):
        status, out, _ = await piker("alert", "eurusd.spot.replay", "1.25", "--wait")
    assert status == 0
    assert "triggered at 1.3 → " in out.splitlines()[-1]


async def test_what_was_refused_at_once_is_a_failure() -> None:
    async with listening(that(SENDING, Refused(reason="no money"))):
        status, out, _ = await piker(*BUY)
    assert status == 1
    assert out.endswith(": rejected; no money\n")


async def test_an_answer_that_is_lost_is_asked_for_again_with_the_same_order() -> None:
    emsd = that(*OPEN)
    emsd.deaf = 1
    async with listening(emsd):
        status, out, err = await piker(*BUY)
    first, second = submitted(emsd)
    assert (status, first) == (0, second)
    assert "emsd went away" in err
    assert "the same order is submitted again, it is carried out once" in err
    assert out.endswith(": open\n")


async def test_an_answer_that_is_lost_again_is_not_known() -> None:
    emsd = that(*OPEN)
    emsd.deaf = 2
    async with listening(emsd):
        status, out, err = await piker(*BUY)
    oid = out.split()[1]
    assert status == 3
    assert err.endswith(f"; outcome of {oid} not known; see `piker order {oid}`\n")
    assert len(submitted(emsd)) == 2


class Changed(Emsd):
    """One that takes an order, goes away, and refuses all when it is back."""

    async def submit(self, call: Submit) -> SubmitReply:
        try:
            return await super().submit(call)
        finally:
            self.refuses[Submit] = NoMarketData(market="eurusd.spot.replay", reason="away")


async def test_what_is_refused_the_second_time_may_have_been_taken_the_first() -> None:
    emsd = Changed()
    emsd.deaf = 1
    async with listening(emsd):
        status, _, err = await piker(*BUY, "--oid", "o1")
    _, said, refused = err.splitlines()
    assert (status, list(emsd.lives)) == (1, ["o1"])
    assert said.endswith("outcome of o1 not known; see `piker order o1`")
    assert refused.endswith("reason: away)")


async def test_who_waits_goes_on_when_emsd_goes_away_before_anything_was_told() -> None:
    emsd = Faltering(Timeline)
    emsd.follows = (*OPEN, fill("o1"))
    async with listening(emsd):
        status, out, err = await piker(*BUY, "--wait", "--oid", "o1")
    assert (status, "→ filled" in out.splitlines()[-1]) == (0, True)
    assert err.endswith("; trying again\n")


async def test_where_emsd_is_not_nothing_is_sent_and_it_says_how_to_start_it() -> None:
    status, out, err = await piker(*BUY)
    assert (status, out.split()[0]) == (3, "oid")
    assert err.startswith("piker: emsd does not listen at /tmp/pk-")
    assert "not known" not in err
    assert err.endswith("Start it with `systemctl --user start emsd.socket`, or `piker up`.\n")


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        (
            InvalidOrder(field="size", value="0.5", allowed="steps of 1"),
            "is not valid as it is (field: size, value: 0.5, allowed: steps of 1)",
        ),
        (
            RiskRejected(limit="order_size", value="1000", allowed="100"),
            "Risk doesn't let it pass (limit: order_size, value: 1000, allowed: 100)",
        ),
    ],
)
@pytest.mark.parametrize("option", ["--json", "--dry-run"])
async def test_a_refusal_is_one_line_with_its_values(fault: Any, said: str, option: str) -> None:
    emsd = Emsd()
    emsd.refuses[Submit] = fault
    async with listening(emsd):
        status, out, err = await piker(*BUY, "--oid", "o1", option)
    assert (status, out) == (1, "")
    assert err.splitlines()[-1].startswith("piker: ")
    assert said in err.splitlines()[-1]


async def test_a_dry_run_says_what_would_be_and_sends_nothing() -> None:
    emsd = Emsd()
    emsd.warnings = ("it dies at logout",)
    async with listening(emsd):
        status, out, err = await piker(*BUY, "--dry-run")
    assert (status, err, submitted(emsd)) == (0, "", [])
    first, account, order, worth, stands, warning = out.splitlines()
    assert first == "dry run, nothing is sent"
    assert account.split(maxsplit=1) == ["account", "paper (paper)"]
    assert order.split(maxsplit=1) == ["order", "buy 1000 eurusd.spot.replay, limit 1.20"]
    assert worth.split(maxsplit=1)[1].startswith("not known: datad@replay does not listen at ")
    assert stands.split(maxsplit=2) == ["at", "first", "held"]
    assert warning.split(maxsplit=1) == ["warning", "it dies at logout"]


async def test_a_dry_run_in_json_is_an_object() -> None:
    async with listening(Emsd()) as emsd:
        (told,) = objects(await piker(*LIVE, "--dry-run", "--json"))
    assert (told["state"], told["live"], told["seq"], submitted(emsd)) == ("held", True, 0, [])


async def test_a_live_order_needs_yes_where_nobody_can_be_asked() -> None:
    async with listening(that()) as emsd:
        refused = await piker(*LIVE)
        assert submitted(emsd) == []
        status, out, _ = await piker(*LIVE, "--yes")
    said = "piker: an order of sim.main is real money: expected --yes\n"
    assert refused == (2, "", said)
    assert (status, len(submitted(emsd))) == (0, 1)
    assert out.endswith("sim.main (LIVE): sell 5 s0000.xsim.sim, limit 101: held\n")


async def test_an_account_without_real_money_is_not_asked_about() -> None:
    emsd = Emsd()
    state = AccountState(account="sim.main", live=False, state="ready", since_ns=0)
    emsd.accounts_now = AccountsReply(accounts=(state,))
    async with listening(emsd):
        status, out, _ = await piker(*LIVE)
    assert (status, len(submitted(emsd))) == (0, 1)
    assert out.endswith("sim.main (simulated): sell 5 s0000.xsim.sim, limit 101: held\n")


async def test_in_a_terminal_a_live_order_is_shown_and_asked_for() -> None:
    async with listening(Emsd()) as emsd, in_terminal(*LIVE) as terminal:
        await terminal.until("sim.main (LIVE)", "sell 5 s0000.xsim.sim, limit 101", "[y/N]")
        assert submitted(emsd) == []
        await terminal.type("y\n")
        assert await terminal.ended() == 0
        assert len(submitted(emsd)) == 1


@pytest.mark.parametrize("answer", ["\n", "n\n", "x\n", "\x04"])
async def test_anything_but_yes_is_no(answer: str) -> None:
    async with listening(Emsd()) as emsd, in_terminal(*LIVE) as terminal:
        await terminal.until("[y/N]")
        await terminal.type(answer)
        assert await terminal.ended() == 1
        assert submitted(emsd) == []
    assert "not sent" in terminal.drawn


async def test_the_configuration_may_name_the_account() -> None:
    configure("[emsd]\ndefault_account = 'paper.replay'\n")
    async with listening(Emsd()) as emsd:
        assert (await piker("buy", "eurusd.replay", "10")).status == 0
    assert [each.account for each in submitted(emsd)] == ["paper.replay"]


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("buy", "the following arguments are required: market, size"),
        ("buy a", "the following arguments are required: size"),
        ("buy a 0", "expected a size above 0 such as 1000, was '0'"),
        ("buy a nan", "expected a size above 0 such as 1000, was 'nan'"),
        ("sell a 1e3", "expected a size above 0 such as 1000, was '1e3'"),
        ("sell a 1 --limit inf", "expected a price such as 1.2050, was 'inf'"),
        ("buy a 1", "expected an account: give --account paper or --account PROVIDER.LABEL"),
        ("buy a 1 --acc paper", "unrecognized arguments: --acc paper"),
        ("buy a 1 --when above", "--when is of an order with --dark"),
        ("buy a 1 --slip-ticks 3", "--slip-ticks is of an order with --dark"),
        ("buy a 1 --dark 1 --limit 2 --sends market", "expected --limit or --sends market"),
        ("buy a 1 --tif fok", "invalid choice: 'fok'"),
        ("buy a 1 --account paper --expires soon", "expected 2h, 17:30 or 2026-12-01T17:30"),
        ("alert a", "the following arguments are required: price"),
        ("alert a 1 --wen above", "unrecognized arguments: --wen above"),
    ],
)
def test_what_makes_no_order_is_a_usage_error(line: str, problem: str, capfd: Capture) -> None:
    assert call(*line.split()) == 2
    out, err = capfd.readouterr()
    assert out == ""
    assert problem in err
