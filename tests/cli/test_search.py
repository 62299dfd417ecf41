"""piker search: what was found, best first."""

import json
from pathlib import Path

from piker.supervision.supervisor import Supervisor
from tests.cli.command import piker
from tests.cli.conftest import configure


async def test_a_line_a_market_with_its_description(suite: Supervisor) -> None:
    status, out, err = await piker("search", "euro")
    assert (status, err) == (0, "")
    assert out.split(maxsplit=1) == ["eurusd.spot.replay", "Euro against US dollar, spot\n"]


async def test_json_is_an_object_a_market(suite: Supervisor) -> None:
    status, out, _ = await piker("search", "s000", "--limit", "3", "--json")
    assert status == 0
    assert [json.loads(line)["fqme"] for line in out.splitlines()] == [
        "s0000.xsim.sim",
        "s0001.xsim.sim",
        "s0002.xsim.sim",
    ]


async def test_one_provider_alone_can_be_asked(suite: Supervisor) -> None:
    status, out, _ = await piker("search", "", "--provider", "replay")
    assert status == 0
    assert [line.split()[0] for line in out.splitlines()] == [
        "eurusd.spot.replay",
        "if2312.cffex.replay",
    ]


async def test_that_nothing_was_found_is_said(suite: Supervisor) -> None:
    assert await piker("search", "zzzz") == (1, "", "piker: nothing is like 'zzzz'\n")


async def test_a_provider_that_fails_hides_nothing_of_the_others(suite: Supervisor) -> None:
    configure("[providers.sim]\nrate_hz = 'fast'\n")
    status, out, err = await piker("search", "euro")
    assert status == 1
    assert out.startswith("eurusd.spot.replay ")
    assert "piker.toml, line: 2, key: providers.sim.rate_hz" in err


async def test_a_provider_that_is_away_is_named(suite: Supervisor, home: Path) -> None:
    (home / "run/piker/datad/ghost.sock").touch()
    status, out, err = await piker("search", "euro")
    (home / "run/piker/datad/ghost.sock").unlink()
    assert status == 3
    assert out.startswith("eurusd.spot.replay ")
    assert err.startswith("piker: datad@ghost does not listen at ")
