"""piker status: what runs, asked of whoever runs it."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from piker.cli.managers import Status
from piker.cli.status import show_table
from piker.supervision.supervisor import Supervisor
from tests.cli.command import piker, running
from tests.cli.terminal import in_terminal

KEYS = ["unit", "active", "sub", "pid", "memory_bytes", "status", "conversations"]
KEYS += ["restarts", "since_ns", "failure", "manager"]
NOTHING = "nothing runs; start with `piker up` or `systemctl --user start datad@replay`\n"


@pytest.fixture
def no_pystemd(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As it is where piker was installed without the extra piker[systemd]."""
    (home / "pystemd.py").write_text("raise ImportError('not installed')\n")
    monkeypatch.setenv("PYTHONPATH", str(home))


@pytest.fixture
def a_socket_is_left(home: Path) -> None:
    """As it is where a daemon may run."""
    directory = home / "run/piker/datad"
    directory.mkdir(parents=True)
    (directory / "replay.sock").touch()


@pytest.fixture
def system(home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The machine's own directories, of the test's, without a manager."""
    pytest.importorskip("pystemd", reason="the extra piker[systemd] is not installed")
    monkeypatch.setenv("PIKER_ROOT", str(home / "root"))
    monkeypatch.setenv("DBUS_SYSTEM_BUS_ADDRESS", "unix:path=/nowhere")
    return home / "root"


def unit(told: list[dict[str, Any]], name: str) -> dict[str, Any]:
    """One of them."""
    return next(each for each in told if each["unit"] == name)


async def test_where_nothing_runs_it_says_how_to_start() -> None:
    assert await piker("status") == (0, NOTHING, "")
    assert await piker("status", "--json") == (0, "[]\n", "")


@pytest.mark.usefixtures("no_pystemd")
async def test_after_everything_has_ended_nothing_runs(home: Path) -> None:
    (home / "run/piker/datad").mkdir(parents=True)
    assert await piker("status") == (0, NOTHING, "")


async def test_json_is_a_list_of_units_of_the_documented_shape(suite: Supervisor) -> None:
    assert (await piker("search", "euro", "--provider", "replay")).status == 0
    status, out, err = await piker("status", "--json")
    assert (status, err) == (0, "")
    told = json.loads(out)
    assert [each["unit"] for each in told] == [each.unit for each in suite.units()]
    assert {tuple(each) for each in told} == {tuple(KEYS)}
    assert {each["manager"] for each in told} == {"pikerd"}
    datad = unit(told, "datad@replay.service")
    assert (datad["active"], datad["sub"], datad["conversations"]) == ("active", "running", 0)
    assert datad["status"].startswith("replay: ")
    assert 5e6 < datad["memory_bytes"] < 200e6
    assert datad["pid"] in [each.pid for each in suite.units()]


async def test_conversations_are_counted_and_asking_is_none(suite: Supervisor) -> None:
    async with running("watch", "eurusd.spot.replay") as watch:
        await watch.line()
        told = json.loads((await piker("status", "--json")).out)
    assert unit(told, "datad@replay.service")["conversations"] == 1


async def test_asking_starts_no_daemon_that_sleeps(suite: Supervisor) -> None:
    for _ in range(2):
        told = json.loads((await piker("status", "--json")).out)
        asleep = unit(told, "datad@replay.service")
        assert (asleep["active"], asleep["pid"], asleep["conversations"]) == (
            "inactive",
            None,
            None,
        )
    assert [each.unit for each in suite.units() if each.pid] == []


async def test_a_pipe_gets_a_line_a_unit(suite: Supervisor) -> None:
    assert (await piker("search", "euro", "--provider", "replay")).status == 0
    status, out, err = await piker("status")
    assert (status, err) == (0, "")
    asked, *rows = out.splitlines()
    assert asked == "asked pikerd"
    lines = [line.split() for line in rows]
    assert [line[0] for line in lines] == ["unit", *(each.unit for each in suite.units())]
    states = {line[0]: line[1:] for line in lines}
    assert states["datad@replay.service"][0] == "running"
    assert states["datad@replay.service"][-2:] == ["0", "watchers"]
    assert states["datad@replay.socket"] == ["listening"]


async def test_a_halt_is_told_below_and_asking_does_not_start_emsd(suite: Supervisor) -> None:
    before = await piker("status")
    assert [each.unit for each in suite.units() if each.unit == "emsd.service" and each.pid] == []
    await piker("halt", "too wild")
    after = await piker("status")
    assert "HALTED" not in before.out
    assert after.out.splitlines()[-1] == "HALTED, no new order leaves: too wild"


def test_what_a_unit_says_is_shown_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    unit = Status(
        unit="emsd.service",
        active="active",
        sub="running",
        pid=1,
        memory_bytes=None,
        status="HALTED: [lunch] back soon",
        conversations=0,
        restarts=2,
        since_ns=None,
        failure="",
        manager="user",
    )
    show_table([unit])
    assert "HALTED: [lunch] back soon" in capsys.readouterr().out


async def test_a_terminal_gets_a_table_in_which_no_name_is_cut(suite: Supervisor) -> None:
    async with in_terminal("status") as terminal:
        assert await terminal.ended() == 0
    assert "datad@replay.service" in terminal.drawn
    assert "…" not in terminal.drawn


@pytest.mark.usefixtures("no_pystemd", "a_socket_is_left")
async def test_without_pystemd_it_says_what_is_missing() -> None:
    missing = "no pikerd runs, and to ask systemd pystemd is missing: install piker[systemd]"
    assert await piker("status") == (3, "", f"piker: {missing}\n")


@pytest.mark.usefixtures("a_socket_is_left")
async def test_without_any_manager_it_says_that_none_answers(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pytest.importorskip("pystemd", reason="the extra piker[systemd] is not installed")
    monkeypatch.setenv("DBUS_SESSION_BUS_ADDRESS", "unix:")
    status, out, err = await piker("status")
    assert (status, out) == (3, "")
    assert err.startswith("piker: no pikerd runs, and no systemd user manager answers: ")
    assert err.count("\n") == 1


@pytest.mark.parametrize("line", ["--system status", "status --system"])
async def test_of_the_system_it_says_how_to_start_there_and_never_asks_pikerd(
    line: str, suite: Supervisor, system: Path
) -> None:
    told = "nothing runs; start with `sudo systemctl start datad@replay`"
    other = "; the user manager's daemons are there: `piker --user status`"
    assert await piker(*line.split()) == (0, f"{told}{other}\n", "")
    (system / "run/piker").mkdir(parents=True)
    status, out, err = await piker(*line.split())
    assert (status, out) == (3, "")
    assert err.startswith("piker: no systemd system manager answers: ")


async def test_status_of_one_manager_takes_the_other_for_nothing_but_a_hint(system: Path) -> None:
    (system / "run/piker/datad").mkdir(parents=True)
    (system / "run/piker/datad/replay.sock").touch()
    told = "; the system manager's daemons are there: `piker --system status`\n"
    assert await piker("status", "--user") == (0, NOTHING.replace("\n", told), "")


async def test_nothing_heavy_is_imported_to_say_that_nothing_runs() -> None:
    heavy = "{'trio', 'msgspec', 'numpy', 'rich', 'argparse', 'pystemd'} & set(sys.modules)"
    program = f"import sys; from piker.cli.status import main; main([]); sys.exit(str({heavy}))"
    async with running("-c", program, command=[sys.executable]) as command:
        assert await command.ended() == (1, NOTHING, "set()\n")
