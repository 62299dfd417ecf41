"""piker positions and ledger: what is held, what was earned, and every entry of it."""

import csv
import json
import os
from decimal import Decimal
from io import StringIO
from pathlib import Path

import pytest
from msgspec import structs

from piker.accounts import Adjustment, Balance, Fees, Position
from piker.cli.times import local
from piker.interfaces.orders import AccountsReply, LedgerLine, PositionLine, SyncLedger
from piker.store.journal import open_journal
from tests.cli.command import call, piker, running
from tests.fakes.scripted_emsd import FIRST_NS, PAPER, REAL, Emsd, fill, listening

Capture = pytest.CaptureFixture[str]

HELD = PositionLine(
    position=Position(
        account="sim.main",
        market="s0000.xsim.sim",
        currency="USD",
        multiplier=Decimal(1),
        size=Decimal(-7),
        average_price=Decimal("100.3333333333333333333333333"),
        realised=Decimal("12.50"),
        fees=(Fees("EUR", Decimal("0.5")), Fees("USD", Decimal("1.25"))),
    ),
    price=Decimal(101),
    price_ns=FIRST_NS,
    open_profit=Decimal("-4.666666666666666666666666667"),
)
FLAT = PositionLine(
    position=Position(
        account="paper.replay", market="eurusd.spot.replay", currency="USD", multiplier=Decimal(1)
    )
)
FILL = fill("o1", 1000, "1.10", fee=Decimal("0.2"), time_ns=FIRST_NS + 7).execution
OPENING = Adjustment(
    adjustment_id="a1",
    account="sim.main",
    market="s0000.xsim.sim",
    kind="opening",
    size=Decimal(3),
    source="the venue's list",
    time_ns=FIRST_NS,
)


def with_positions() -> Emsd:
    """One that holds something, and something flat."""
    emsd = Emsd()
    emsd.positions_now = (HELD, FLAT)
    return emsd


def with_ledger() -> Emsd:
    """One with a fill and an adjustment."""
    emsd = Emsd()
    emsd.lines = (LedgerLine(number=1, execution=FILL), LedgerLine(number=2, adjustment=OPENING))
    return emsd


async def test_a_table_of_what_is_held_says_the_account_and_keeps_fees_apart() -> None:
    async with listening(with_positions()):
        status, out, err = await piker("positions")
    head, line = out.splitlines()
    assert (status, err) == (0, "")
    assert head.split()[:4] == ["account", "market", "size", "average"]
    assert line.split() == [
        *("sim.main", "LIVE", "s0000.xsim.sim", "-7", "100.3333333", "101", "-4.666666667"),
        *("12.5", "0.5", "EUR,", "1.25", "USD", "USD"),
    ]


async def test_what_an_account_is_worth_stands_below_what_it_holds() -> None:
    emsd = with_positions()
    worth = Balance(
        account="sim.main", currency="CHF", asked_ns=FIRST_NS, cash=Decimal(-20), margin=None
    )
    emsd.accounts_now = AccountsReply(accounts=(PAPER, structs.replace(REAL, balance=worth)))
    async with listening(emsd):
        _, out, _ = await piker("positions", "--account", "sim.main")
        _, others, _ = await piker("positions", "--account", "paper.replay")
    assert out.splitlines()[-1] == f"sim.main (LIVE): cash -20 CHF, at {local(FIRST_NS)}"
    assert "cash" not in others


async def test_what_is_flat_is_shown_when_all_is_asked_for() -> None:
    async with listening(with_positions()):
        _, out, _ = await piker("positions", "--all")
    assert out.splitlines()[2].split()[:4] == ["paper.replay", "paper", "eurusd.spot.replay", "0"]


async def test_that_nothing_is_held_is_said() -> None:
    async with listening(Emsd()):
        assert await piker("positions") == (0, "nothing is held\n", "")


async def test_of_accounts_that_are_not_reached_it_is_not_said() -> None:
    emsd = Emsd()
    away = structs.replace(REAL, state="unreachable", reason="login")
    emsd.accounts_now = AccountsReply(accounts=(PAPER, away))
    async with listening(emsd):
        _, out, _ = await piker("positions")
        _, of_paper, _ = await piker("positions", "--account", "paper")
    unknown, why = out.splitlines()
    assert unknown == "nothing is known to be held"
    assert why == "sim.main (LIVE) is unreachable: login"
    assert of_paper.splitlines()[0] == "nothing is held"


async def test_json_is_an_object_a_position_and_says_whether_it_is_live() -> None:
    async with listening(with_positions()):
        _, out, _ = await piker("positions", "--json")
    told = json.loads(out)
    assert (told["live"], told["open_profit"]) == (True, "-4.66666666667")
    assert told["position"]["size"] == "-7"


@pytest.mark.parametrize(
    ("price", "shown"),
    [
        ("1.1117949999999999", "1.111795"),
        ("101", "101"),
        ("-0.000012345678901234", "-0.0000123456789012"),
        ("1234567890123.4", "1234567890123"),
        ("0", "0"),
    ],
)
async def test_a_price_in_json_has_no_noise(price: str, shown: str) -> None:
    emsd = Emsd()
    emsd.positions_now = (structs.replace(HELD, price=Decimal(price)),)
    async with listening(emsd):
        _, out, _ = await piker("positions", "--json")
    assert json.loads(out)["price"] == shown


async def test_to_follow_is_again_at_every_change() -> None:
    async with listening(Emsd()) as emsd, running("positions", "--follow", "--json") as command:
        await emsd.until(lambda emsd: emsd.watchers == 1)
        emsd.positions_now = (HELD,)
        emsd.change()
        assert json.loads(await command.line())["position"]["size"] == "-7"


async def test_the_ledger_is_a_table_of_its_newest_entries() -> None:
    async with listening(with_ledger()):
        status, out, _ = await piker("ledger", "show", "--last", "1")
        _, both, _ = await piker("ledger", "show")
    assert status == 0
    assert [line.split()[0] for line in out.splitlines()] == ["number", "2"]
    assert both.splitlines()[1].split() == [
        *("1", "2027-01-15", "08:00:00", "paper.replay", "paper", "eurusd.spot.replay", "fill"),
        *("buy", "1000", "1.10", "0.2", "USD"),
    ]


async def test_the_ledger_in_json_is_an_object_an_entry() -> None:
    async with listening(with_ledger()):
        _, out, _ = await piker("ledger", "show", "--json")
    fill_, opening = [json.loads(line) for line in out.splitlines()]
    assert (fill_["number"], fill_["execution"]["exec_id"]) == (1, "e1")
    assert (opening["number"], opening["adjustment"]["kind"]) == (2, "opening")


async def test_an_export_is_every_entry_as_csv_in_utc_with_all_digits(home: Path) -> None:
    async with listening(with_ledger()):
        status, out, _ = await piker("ledger", "export")
        said = f"{home / 'out.csv'}: 2 entries of the ledger\n"
        assert await piker("ledger", "export", str(home / "out.csv")) == (0, said, "")
    rows = list(csv.DictReader(StringIO(out)))
    assert status == 0
    assert (home / "out.csv").read_text().splitlines() == out.splitlines()
    assert rows[0] == {
        "number": "1",
        "time": "2027-01-15T08:00:00.000000007Z",
        "account": "paper.replay",
        "market": "eurusd.spot.replay",
        "kind": "fill",
        "side": "buy",
        "size": "1000",
        "price": "1.10",
        "fee": "0.2",
        "fee_currency": "USD",
        "oid": "o1",
        "id": "e1",
        "revision": "0",
        "source": "",
    }
    assert (rows[1]["kind"], rows[1]["price"], rows[1]["source"]) == (
        *("opening", "", "the venue's list"),
    )


async def test_an_export_overwrites_nothing(home: Path) -> None:
    target = home / "out.csv"
    target.write_text("mine")
    async with listening(with_ledger()):
        refused = await piker("ledger", "export", str(target))
    assert refused == (1, "", f"piker: {target}: File exists\n")
    assert target.read_text() == "mine"


async def test_an_export_to_where_nothing_can_be_written_is_a_line(home: Path) -> None:
    target = home / "nonexist" / "out.csv"
    async with listening(with_ledger()):
        refused = await piker("ledger", "export", str(target))
    assert refused == (1, "", f"piker: {target}: No such file or directory\n")


async def test_more_entries_than_a_reply_takes_are_all_exported() -> None:
    emsd = Emsd()
    emsd.lines = tuple(LedgerLine(number=n + 1, execution=FILL) for n in range(2500))
    async with listening(emsd):
        _, out, _ = await piker("ledger", "export")
    assert [row["number"] for row in csv.DictReader(StringIO(out))] == [
        str(n + 1) for n in range(2500)
    ]


async def test_to_sync_asks_for_the_account() -> None:
    async with listening(Emsd()) as emsd:
        said = "sim.main (LIVE): reconciled with its venue\n"
        assert await piker("ledger", "sync", "sim.main") == (0, said, "")
    assert emsd.asked == [SyncLedger(account="sim.main")]


async def test_a_backup_is_taken_while_the_journal_is_in_use_and_can_be_exported(
    home: Path,
) -> None:
    copy = home / "copy"
    async with open_journal(journal_path()) as journal:
        await journal.append(FILL, OPENING).wait()
        status, out, err = await piker("ledger", "backup", str(copy))
    assert (status, out, err) == (0, f"{copy}: a copy of {journal_path()}\n", "")
    status, out, _ = await piker("ledger", "export", "--file", str(copy))
    assert [row["kind"] for row in csv.DictReader(StringIO(out))] == ["fill", "opening"]
    _, out, _ = await piker("ledger", "export", "--file", str(copy), "--account", "sim.main")
    assert [row["kind"] for row in csv.DictReader(StringIO(out))] == ["opening"]


async def test_a_backup_overwrites_nothing(home: Path) -> None:
    (home / "copy").write_text("mine")
    async with open_journal(journal_path()):
        status, out, err = await piker("ledger", "backup", str(home / "copy"))
    assert (status, out, err) == (1, "", f"piker: {home / 'copy'}: File exists\n")
    assert (home / "copy").read_text() == "mine"


async def test_what_is_no_journal_is_said_and_no_file_is_begun(home: Path) -> None:
    (home / "foreign").write_text("not a journal")
    target = home / "out.csv"
    status, _, err = await piker("ledger", "export", str(target), "--file", str(home / "foreign"))
    assert (status, target.exists()) == (1, False)
    assert err.startswith("piker: The journal can't be used; it was left as it is (path: ")


def journal_path() -> Path:
    """Where emsd's journal is."""
    directory = Path(os.environ["XDG_STATE_HOME"], "piker-emsd")
    directory.mkdir(exist_ok=True)
    return directory / "journal.sqlite"


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("ledger", "the following arguments are required: action"),
        ("ledger sync", "expected an account"),
        ("ledger backup", "expected a file"),
        ("ledger show x", "unrecognized arguments: x"),
        ("ledger show --file x", "--file goes with export"),
    ],
)
def test_what_can_not_be_asked_is_a_usage_error(line: str, problem: str, capfd: Capture) -> None:
    assert call(*line.split()) == 2
    out, err = capfd.readouterr()
    assert out == ""
    assert problem in err
