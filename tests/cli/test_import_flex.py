"""piker ledger import-flex: a Flex report is read, named, and handed to emsd."""

import json
import os
from decimal import Decimal
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from msgspec import structs

from piker.accounts import Position
from piker.brokers.ib.flex import read
from piker.brokers.ib.flexxml import MAX_BYTES
from piker.cli import importflex
from piker.interfaces.orders import (
    AccountUnreachable,
    ImportedTo,
    ImportExecutions,
    NotImported,
)
from tests.cli.command import Ended, call, piker
from tests.cli.conftest import configure
from tests.fakes.scripted_emsd import Emsd, listening

REPORT = Path(__file__).parents[1] / "brokers" / "ib" / "flex.xml"
BOTH = '[providers.ib]\naccounts = { main = "U0000001", other = "U0000002" }\n'
ONE = '[providers.ib]\naccounts = { main = "U0000001" }\n'
FAILED = "<FlexStatementResponse><Status>Fail</Status><ErrorCode>1020</ErrorCode>\
<ErrorMessage>Invalid request.</ErrorMessage></FlexStatementResponse>"

Capture = pytest.CaptureFixture[str]


async def imported(emsd: Emsd, *options: str, accounts: str = ONE) -> Ended:
    """The report by hand."""
    configure(accounts)
    async with listening(emsd):
        return await piker("ledger", "import-flex", str(REPORT), *options)


def asked(emsd: Emsd) -> list[ImportExecutions]:
    return [each for each in emsd.asked if isinstance(each, ImportExecutions)]


async def test_what_a_report_tells_is_handed_to_emsd_by_account_and_market() -> None:
    emsd = Emsd()
    status, out, err = await imported(emsd, accounts=BOTH)
    main, other = asked(emsd)
    assert status == 0, err
    assert [main.account, other.account] == ["ib.main", "ib.other"]
    assert len(main.executions) == 9
    assert {each.fqme: each.venue_id for each in other.markets} == {"aapl.nasdaq.ib": "265598"}
    assert main.source == "Flex report flex.xml"
    assert (
        "ib.main (LIVE?): 9 new, 0 corrected, 0 known; times are those of America/New_York" in out
    )
    assert "rows that are no executions: 1 ASSET_SUMMARY, 1 BookTrade, 1 CLOSED_LOT" in out


async def test_an_account_that_is_not_configured_is_left_out_by_its_shortened_number() -> None:
    emsd = Emsd()
    status, out, err = await imported(emsd)
    assert [each.account for each in asked(emsd)] == ["ib.main"]
    assert status == 0
    assert "left out: 1 execution of U00…02, which is none of [providers.ib] accounts" in err
    assert "U000000" not in out + err


async def test_only_one_account_is_imported_if_that_is_asked() -> None:
    emsd = Emsd()
    await imported(emsd, "--account", "ib.other", accounts=BOTH)
    assert [each.account for each in asked(emsd)] == ["ib.other"]


async def test_a_dry_run_is_one_for_emsd() -> None:
    emsd = Emsd()
    _, out, _ = await imported(emsd, "--dry-run")
    assert asked(emsd)[0].dry_run
    assert "9 would be new" in out


async def test_times_are_read_in_the_zone_that_is_given() -> None:
    there, here = Emsd(), Emsd()
    await imported(there, "--zone", "Europe/Paris")
    await imported(here)
    first, second = (asked(each)[0].executions[0].time_ns for each in (there, here))
    assert second - first == 6 * 3_600 * 10**9


async def test_positions_that_earned_another_way_are_shown() -> None:
    flat = Position(
        account="ib.main", market="aapl.nasdaq.ib", currency="USD", multiplier=Decimal(1)
    )
    emsd = Emsd()
    after = structs.replace(flat, realised=Decimal("12.5"))
    emsd.imported_to = (ImportedTo(before=flat, after=after),)
    _, out, _ = await imported(emsd)
    assert out.splitlines()[2].split() == ["aapl.nasdaq.ib", "0", "12.5", "0", "USD"]


async def test_what_emsd_refuses_is_said_and_the_status_is_1() -> None:
    emsd = Emsd()
    emsd.not_imported = (NotImported(exec_id="e1", reason="not agreed"),)
    status, out, _ = await imported(emsd)
    assert status == 1
    assert "not entered: e1: not agreed" in out


async def test_what_can_not_be_read_is_said_by_its_row_and_the_status_is_1(home: Path) -> None:
    configure(ONE)
    report = home / "report.xml"
    report.write_text(REPORT.read_text().replace('conid="700000001"', 'conid=""'))
    async with listening(Emsd()):
        status, out, _ = await piker("ledger", "import-flex", str(report))
    assert status == 1
    assert "not read: row 11, FUT MNQZ6 -3: expected a number above 0 as conid, was ''" in out


async def test_in_json_an_account_is_a_line() -> None:
    _, out, _ = await imported(Emsd(), "--json", accounts=BOTH)
    main, other = map(json.loads, out.splitlines())
    told: dict[str, Any] = {"account": "ib.main", "new": 9, "zone": "America/New_York"}
    assert told.items() <= main.items()
    assert (other["account"], other["new"], other["unread"]) == ("ib.other", 1, [])


async def test_a_large_report_is_several_calls_each_of_whole_markets(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(importflex, "PAGE", 3)
    report = read([REPORT.read_bytes()], ZoneInfo("America/New_York"))
    pages = [[each.market.fqme for each in page] for page in importflex._pages(report.trades)]
    assert [len(page) for page in pages] == [3, 3, 3, 1]
    assert pages[2] == ["si.comex.20260928.sil.ib"] * 2 + ["spy.smart.20261218.c600_5.ib"]


async def test_what_emsd_says_no_to_is_told() -> None:
    emsd = Emsd()
    emsd.refuses[ImportExecutions] = AccountUnreachable(account="ib.main", reason="no gateway")
    status, _, err = await imported(emsd)
    assert status == 1
    assert "no gateway" in err


async def test_without_emsd_nothing_is_done() -> None:
    configure(ONE)
    status, out, err = await piker("ledger", "import-flex", str(REPORT))
    assert (status, out) == (3, "")
    assert "emsd" in err


# --- bad input


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "it is empty"),
        ("no,xml\n", "expected XML"),
        ("<a/>", "was another XML (a)"),
        ("<FlexQueryResponse><FlexStatements/></FlexQueryResponse>", "it has no trades"),
        (REPORT.read_text()[:5000], "in the middle: download the report again"),
        (FAILED, "IB made no report: Invalid request. (error 1020)"),
        (REPORT.read_text().replace(' ibExecID="', ' x="'), "lack IB Execution ID (row 4)"),
    ],
)
def test_what_is_no_report_is_refused_by_name(
    text: str, why: str, home: Path, capfd: Capture
) -> None:
    configure(ONE)
    file = home / "report.xml"
    file.write_text(text)
    assert call("ledger", "import-flex", str(file)) == 1
    out, err = capfd.readouterr()
    assert out == ""
    assert err.startswith(f"piker: {file}: ")
    assert why in err


def test_a_file_that_is_too_big_is_not_read(home: Path, capfd: Capture) -> None:
    configure(ONE)
    file = home / "report.xml"
    with file.open("wb") as opened:
        opened.truncate(2**30)
    assert call("ledger", "import-flex", str(file)) == 1
    assert f"at most {MAX_BYTES // 2**20} MiB, was {2**30} bytes" in capfd.readouterr().err


def test_a_directory_and_what_is_not_there_are_said(home: Path, capfd: Capture) -> None:
    configure(ONE)
    assert call("ledger", "import-flex", str(home)) == 1
    assert call("ledger", "import-flex", str(home / "none")) == 1
    said = f"piker: {home}: Is a directory\npiker: {home / 'none'}: No such file or directory\n"
    assert capfd.readouterr().err == said


def test_a_file_that_breaks_off_in_reading_is_said(home: Path, capfd: Capture) -> None:
    configure(ONE)
    assert call("ledger", "import-flex", "/proc/self/mem") == 1
    assert capfd.readouterr().err == "piker: /proc/self/mem: Input/output error\n"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read all files")
def test_a_file_that_may_not_be_read_is_said(home: Path, capfd: Capture) -> None:
    configure(ONE)
    file = home / "report.xml"
    file.write_text("x")
    file.chmod(0)
    assert call("ledger", "import-flex", str(file)) == 1
    assert capfd.readouterr().err == f"piker: {file}: Permission denied\n"


@pytest.mark.parametrize(
    ("settings", "options", "why"),
    [
        (
            ONE,
            ("--account", "ib.x"),
            "There is no such account here (account: ib.x, allowed: ib.main",
        ),
        (ONE, ("--account", "paper.ib"), "allowed: ib.main"),
        (
            '[providers.ib]\naccounts = { main = "DU0000009" }\n',
            (),
            "expected executions of ib.main (DU0…09), was of U00…01, U00…02",
        ),
        ("", (), "[providers.ib] accounts in piker.toml: expected an account by a label"),
        ("[providers.ib]\naccounts = 3\n", (), "providers.ib"),
    ],
)
def test_accounts_are_those_of_the_configuration(
    settings: str, options: tuple[str, ...], why: str, capfd: Capture
) -> None:
    configure(settings)
    assert call("ledger", "import-flex", str(REPORT), *options) == 1
    out, err = capfd.readouterr()
    assert why in err
    assert "U000000" not in out + err


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("ledger import-flex", "expected a file"),
        ("ledger import-flex x --zone Mars", "--zone: expected a time zone such as"),
        ("ledger import-flex x --market y", "--market goes with show and export"),
        ("ledger show --zone UTC", "--zone goes with import-flex"),
        ("ledger show --dry-run", "--dry-run goes with import-flex"),
    ],
)
def test_what_can_not_be_asked_is_a_usage_error(line: str, problem: str, capfd: Capture) -> None:
    assert call(*line.split()) == 2
    assert problem in capfd.readouterr().err
