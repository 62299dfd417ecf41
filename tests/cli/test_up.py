"""piker up: the suite in the foreground."""

import json
import os
import shutil
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio

from piker.paths import units_directory
from tests.cli.command import PATIENCE_S, Command, Ended, piker, running
from tests.cli.conftest import SETTINGS, configure

MARKET = "eurusd.spot.replay"
NOTIFY = "piker-notify.service"


@pytest.fixture
def no_desktop(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As it is where there is no notify-send."""
    configure(SETTINGS)
    monkeypatch.setenv("PATH", str(home / "bin"))


@asynccontextmanager
async def up() -> AsyncIterator[Command]:
    """`piker up`, that listens."""
    async with running("up") as command:
        await command.line(lambda line: line.startswith("pikerd: listening"))
        yield command


async def bought() -> Ended:
    """An order that is filled at once."""
    line = f"buy {MARKET} 1000 --limit 1.20 --account paper --wait"
    return await piker(*line.split())


async def notifier(command: Command) -> int:
    """The process that tells, when it runs."""
    line = await command.line(lambda line: line.startswith(f"{NOTIFY}: active (running) pid "))
    return int(line.split()[4])


async def errors_until(command: Command, words: str) -> str:
    """What the daemons log, until one has said this."""
    err = ""
    with trio.fail_after(PATIENCE_S):
        while words not in err or not err.endswith("\n"):
            err += (await command.stderr.receive_some()).decode()
    return err


async def running_units() -> set[str]:
    """Those that have a process."""
    told = json.loads((await piker("status", "--json")).out)
    return {each["unit"] for each in told if each["pid"]}


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


async def test_a_fill_is_told_by_the_command_that_is_configured(home: Path) -> None:
    tell, told = home / "tell", home / "told"
    tell.write_text(f"#!/bin/sh\nprintf '%s\\n' \"$@\" > {told}\n")
    tell.chmod(0o700)
    os.mkfifo(told)
    configure(f"{SETTINGS}[notify]\ncommand = ['{tell}']\n")
    async with up() as command:
        assert (await bought()).status == 0
        with trio.fail_after(PATIENCE_S):
            text = await trio.to_thread.run_sync(told.read_text, abandon_on_cancel=True)
        assert (await command.end(signal.SIGINT)).status == 0
    title, order, done = text.splitlines()
    assert (title, order) == ("Filled", f"paper.replay (paper): buy 1000 {MARKET}, limit 1.20")
    assert done.startswith("1000 of 1000 at 1.1")


@pytest.mark.usefixtures("no_desktop")
async def test_an_alert_is_told_in_the_terminal_where_there_is_no_other_way() -> None:
    async with up() as command:
        assert (await piker("alert", MARKET, "1.1115")).status == 0
        said = await errors_until(command, "ALERT")
        await command.end()
    assert f"{NOTIFY}: " in said
    assert f"ALERT: {MARKET} crossed 1.1115: 1.11" in said


@pytest.mark.usefixtures("no_desktop")
async def test_who_only_looks_at_quotes_has_neither_emsd_nor_notices() -> None:
    async with up() as command:
        assert (await piker("watch", MARKET, "--for", "0.1s")).status == 0
        before = await running_units()
        assert (await piker("orders")).status == 0
        await notifier(command)
        after = await running_units()
        await command.end()
    assert "datad@replay.service" in before
    assert before & {NOTIFY, "emsd.service"} == set()
    assert after >= {NOTIFY, "emsd.service"}


@pytest.mark.usefixtures("no_desktop")
async def test_who_tells_is_restarted_when_it_is_killed_and_goes_on() -> None:
    async with up() as command:
        assert (await piker("orders")).status == 0
        os.kill(await notifier(command), signal.SIGKILL)
        await notifier(command)
        assert (await bought()).status == 0
        said = await errors_until(command, " Filled: ")
        await command.end()
    assert f"pikerd: {NOTIFY}: killed by SIGKILL; restarting in 2 s" in said


@pytest.mark.usefixtures("no_desktop")
async def test_who_tells_ends_first_so_that_the_end_of_emsd_is_no_news() -> None:
    async with up() as command:
        assert (await bought()).status == 0
        await errors_until(command, " Filled: ")
        status, _, err = await command.end(signal.SIGINT)
    assert status == 0
    assert "tries again" not in err


async def test_that_nobody_can_be_told_is_said(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    units = shutil.copytree(units_directory(), home / "units")
    (units / "user" / NOTIFY).unlink()
    monkeypatch.setenv("PIKER_UNITS", str(units))
    async with up() as command:
        assert (await piker("orders")).status == 0
        said = await errors_until(command, "nobody is told")
        await command.end()
    why = f"There is no such unit (unit: {NOTIFY})"
    assert f"pikerd: nobody is told of fills and alerts: {why}" in said
