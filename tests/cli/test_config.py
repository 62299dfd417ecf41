"""piker config check: what the daemons would read, and what they would refuse."""

import pytest

from tests.cli.command import call, piker
from tests.cli.conftest import configure

GOOD = """
idle_exit_s = 60
[datad]
keep = ["eurusd.spot.replay"]
[providers.sim]
markets = 3
[emsd]
default_account = "paper"
[risk]
order_size = false
[risk.markets."eurusd.spot.replay"]
position = 1000
[accounts."sim.main"]
live = true
[accounts."paper.sim".risk]
daily_loss = 100.5
[paperboi.fees.sim]
pct = 0.01
"""

BAD = {
    "an unknown key": ("idle = 3", "idle", "unknown field `idle`"),
    "a wrong type": ('idle_exit_s = "soon"', "idle_exit_s", "Expected `float`, got `str`"),
    "a value out of range": ("idle_exit_s = 0", "idle_exit_s", "> 0"),
    "no TOML": ("idle_exit_s = = 3", "", "Invalid value"),
    "an unknown key of a provider": (
        "[providers.sim]\nmarket = 3",
        "providers.sim.market",
        "unknown field `market`",
    ),
    "a value that a provider refuses": (
        "[providers.sim]\nmarkets = 0",
        "providers.sim.markets",
        "expected 1 to 100000, was 0",
    ),
    "a number that is no account's": (
        '[providers.ib]\naccounts = { main = "12" }',
        "providers.ib.accounts",
        "expected letters and digits such as U… of main, was 1…",
    ),
    "a time that is none": (
        '[providers.ib]\nrestart = ["25:00", "00:00"]',
        "providers.ib.restart",
        "25:00",
    ),
    "a client id that is for market data": (
        "[providers.ib]\norders_client = 100",
        "providers.ib.orders_client",
        "expected 1 to 31, was 100",
    ),
    "a venue that has no path": (
        '[providers.sim]\nvenue = "venue.sock"',
        "providers.sim.venue",
        "venue.sock",
    ),
    "an unknown provider": (
        "[providers.nonsense]\na = 1",
        "providers.nonsense",
        "expected one of ib, replay, sim, was 'nonsense'",
    ),
    "a market that nobody would keep": (
        '[datad]\nkeep = ["eurusd.spot"]',
        "datad.keep",
        "expected one of ib, replay, sim at the end of 'eurusd.spot', was 'spot'",
    ),
    "an account of an unknown provider": (
        '[accounts."nonsense.main"]\nlive = true',
        'accounts."nonsense.main"',
        "expected one of ib, replay, sim, was 'nonsense'",
    ),
    "limits of a market that nobody has": (
        '[risk.markets."eurusd.spot"]\nposition = 5',
        'risk.markets."eurusd.spot"',
        "expected one of ib, replay, sim at the end of 'eurusd.spot', was 'spot'",
    ),
    "fees of an unknown provider": (
        "[paperboi.fees.nonsense]\npct = 0.1",
        "paperboi.fees.nonsense",
        "expected one of ib, replay, sim, was 'nonsense'",
    ),
    "a limit that is none": (
        "[risk]\norder_size = 'none'",
        "risk.order_size",
        "expected a number above 0, or false for no limit, was 'none'",
    ),
}


async def test_what_is_right_is_read_and_said() -> None:
    path = configure(GOOD)
    assert await piker("config", "check") == (0, f"read {path}\nconfig: ok\n", "")


async def test_no_file_at_all_is_right() -> None:
    assert await piker("config", "check") == (0, "config: ok (no file, all is default)\n", "")


@pytest.mark.parametrize(("text", "key", "problem"), BAD.values(), ids=BAD)
def test_what_is_wrong_is_named_by_file_key_and_expectation(
    text: str, key: str, problem: str, capfd: pytest.CaptureFixture[str]
) -> None:
    path = configure(f"{text}\n")
    assert call("config", "check") == 1
    out, err = capfd.readouterr()
    assert out == ""
    assert err.startswith("piker: ")
    assert f"file: {path.name}" in err or f"file: {path}" in err
    assert not key or f"key: {key}" in err
    assert problem in err
