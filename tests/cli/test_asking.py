"""piker amend: what may cost real money more is shown and asked for."""

from decimal import Decimal

import pytest
from msgspec import structs

from piker.interfaces.orders import AccountsReply, Amend, NotPossible
from piker.orders import Acked, Armed, Sending, Submitted
from tests.cli.command import piker
from tests.cli.terminal import in_terminal
from tests.fakes.scripted_emsd import REAL, Emsd, fill, listening, order

OPEN = (Sending(size=Decimal(1000), limit=Decimal("1.20"), not_after_ns=1), Acked(venue_id="v1"))
MORE = ("amend", "live-1", "--size", "1500", "--limit", "1.25")
ASKED = Amend(oid="live-1", size=Decimal(1500), limit=Decimal("1.25"))


def with_orders() -> Emsd:
    """One with an open order of a live account, a dark one and an alert there, and a paper one."""
    emsd = Emsd()
    emsd.tell("live-1", Submitted(order=order("live-1", account="sim.main")), *OPEN)
    for kind in ("dark", "alert"):
        hidden = order(f"{kind}-1", account="sim.main", kind=kind, trigger=Decimal(1))
        emsd.tell(f"{kind}-1", Submitted(order=hidden), Armed(when="above", since_ns=0))
    emsd.tell("paper-1", Submitted(order=order("paper-1")), *OPEN)
    return emsd


@pytest.mark.parametrize(
    "line",
    [
        "live-1 --size 1001",
        "live-1 --limit 1.19",
        "live-1 --size 1 --limit 2",
        "dark-1 --trigger 2",
    ],
)
async def test_more_or_another_price_of_a_live_order_needs_yes_where_nobody_can_be_asked(
    line: str,
) -> None:
    async with listening(with_orders()) as emsd:
        refused = await piker("amend", *line.split())
        assert emsd.asked == []
        assert (await piker("amend", *line.split(), "--yes")).status == 0
    assert refused == (2, "", "piker: an order of sim.main is real money: expected --yes\n")
    assert len(emsd.asked) == 1


@pytest.mark.parametrize(
    "line",
    [
        "live-1 --size 999",
        "live-1 --limit 1.2 --size 999",
        "alert-1 --trigger 2",
        "paper-1 --size 2000",
    ],
)
async def test_less_an_alert_and_paper_are_not_asked_about(line: str) -> None:
    async with listening(with_orders()) as emsd:
        status, _, err = await piker("amend", *line.split())
    assert (status, err, len(emsd.asked)) == (0, "", 1)


@pytest.mark.parametrize(("live", "status"), [(False, 0), (None, 2)])
async def test_a_simulated_account_is_not_asked_about_once_it_is_known_to_be_one(
    live: bool | None, status: int
) -> None:
    emsd = with_orders()
    emsd.accounts_now = AccountsReply(accounts=(structs.replace(REAL, live=live),))
    async with listening(emsd):
        ended = await piker(*MORE)
    assert (ended.status, bool(emsd.asked)) == (status, status == 0)
    assert ("an order of sim.main may be real money" in ended.err) == (status == 2)


async def test_in_a_terminal_it_is_shown_as_it_was_and_as_it_will_be() -> None:
    emsd = with_orders()
    emsd.tell("live-1", fill("live-1", 400))
    async with listening(emsd), in_terminal(*MORE) as terminal:
        await terminal.until("account   sim.main (LIVE)", "Send it? [y/N]")
        assert emsd.asked == []
        await terminal.type("y\n")
        assert await terminal.ended() == 0
    assert "was       buy 1000 eurusd.spot.replay, limit 1.20: open\r\n" in terminal.drawn
    assert "will be   buy 1500 eurusd.spot.replay, limit 1.25\r\n" in terminal.drawn
    assert "filled    400/1000 at 1.1\r\n" in terminal.drawn
    assert emsd.asked == [ASKED]


@pytest.mark.parametrize("answer", ["\n", "n\n", "\x04"])
async def test_anything_but_yes_is_no(answer: str) -> None:
    async with listening(with_orders()) as emsd, in_terminal(*MORE) as terminal:
        await terminal.until("[y/N]")
        await terminal.type(answer)
        assert await terminal.ended() == 1
    assert terminal.drawn.endswith("\r\npiker: not sent\r\n")
    assert emsd.asked == []


async def test_what_is_over_is_refused_without_a_question() -> None:
    emsd = with_orders()
    emsd.tell("live-1", fill("live-1"))
    emsd.refuses[Amend] = NotPossible(oid="live-1", state="filled", reason="it is over")
    async with listening(emsd), in_terminal(*MORE) as terminal:
        await terminal.until("it is over")
        assert await terminal.ended() == 1
    assert "[y/N]" not in terminal.drawn
