"""piker up: the suite in the foreground."""

import signal
from pathlib import Path

import pytest

from tests.cli.command import piker, running


async def test_it_says_where_it_listens_and_a_daemon_starts_when_it_is_asked(home: Path) -> None:
    async with running("up") as up:
        assert await up.line() == f"pikerd: listening in {home}/run/piker"
        await up.line(lambda line: "datad@replay.service" in line and "inactive" in line)
        assert (await piker("search", "euro")).status == 0
        await up.line(lambda line: "datad@replay.service" in line and "(running) pid" in line)
        assert (await up.end(signal.SIGINT)).status == 0
    assert list((home / "run").rglob("*.sock")) == []


async def test_a_second_one_is_refused(home: Path) -> None:
    async with running("up") as up:
        await up.line()
        said = f"piker: another pikerd runs in {home}/run/piker/pikerd\n"
        assert await piker("up") == (1, "", said)
        assert (await up.end(signal.SIGTERM)).status == 0


async def test_units_that_are_not_there_are_named(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIKER_UNITS", f"{home}/none")
    said = f"piker: there are no unit files in {home}/none\n"
    assert await piker("up") == (1, "", said)
