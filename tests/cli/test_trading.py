"""The commands against the suite itself: orders on paper, on recorded data."""

import json
import os
import signal

import pytest

from piker.supervision.supervisor import Supervisor
from tests.cli.command import piker, running

MARKET = "eurusd.spot.replay"


async def test_a_paper_order_near_the_price_ends_in_filled(suite: Supervisor) -> None:
    line = f"buy {MARKET} 1000 --limit 1.20 --account paper --wait --json"
    status, out, _ = await piker(*line.split())
    told = [json.loads(line) for line in out.splitlines()]
    assert status == 0
    assert [told[0]["event"], told[0]["state"]] == ["Submitted", "held"]
    assert (told[-1]["state"], told[-1]["filled"], told[-1]["account"], told[-1]["live"]) == (
        *("filled", "1000", "paper.replay", False),
    )
    seqs = [each["seq"] for each in told]
    assert seqs == sorted(set(seqs))


@pytest.mark.parametrize("name", ["eurusd", "EURUSD.replay"])
async def test_less_than_the_whole_name_will_do(suite: Supervisor, name: str) -> None:
    line = f"sell {name} 1000 --dark 1.0 --account paper --dry-run"
    status, out, err = await piker(*line.split())
    assert (status, err) == (0, "")
    assert f"sell 1000 {MARKET}, dark below 1.0" in out
    assert "worth     at least 995 USD, at 0.995" in out


async def test_who_waits_goes_on_when_emsd_was_killed(suite: Supervisor) -> None:
    line = f"sell {MARKET} 1000 --dark 1.0 --account paper --wait --json --oid waited"
    async with running(*line.split()) as command:
        await command.line(lambda line: '"event":"Armed"' in line)
        assert (await piker("amend", "waited", "--size", "900", "--yes")).status == 0
        await command.line(lambda line: '"event":"Amend' in line)  # it listens by now
        os.kill(pid_of(suite, "emsd.service"), signal.SIGKILL)
        assert (await piker("cancel", "waited")).status == 0
        status, out, err = await command.ended()
    last = json.loads(out.splitlines()[-1])
    assert (status, last["event"], last["state"]) == (1, "CancelAsked", "cancelled")
    assert "emsd went away" in err


def pid_of(suite: Supervisor, unit: str) -> int:
    """The process of a unit that runs."""
    pid = next(each.pid for each in suite.units() if each.unit == unit)
    assert pid is not None
    return pid
