"""What `piker` says of itself, and of what it was not meant to be given."""

import os
import shlex
import socket
import sys
from contextlib import closing
from pathlib import Path

import pytest

from piker.cli import COMMANDS
from tests.cli.command import PIKER, call, piker, piker_unread, running

Capture = pytest.CaptureFixture[str]


async def test_help_names_every_command_and_exit_status() -> None:
    status, out, err = await piker("--help")
    assert (status, err) == (0, "")
    assert all(f"\n  {name} " in out for name in COMMANDS)
    assert "0, 1 refused or failed, 2 usage, 3 unreachable, 130 interrupted" in out


async def test_before_the_command_it_is_said_whose_daemons_are_meant() -> None:
    status, out, err = await piker("--system", "search", "euro", "--provider", "replay")
    assert (status, out) == (3, "")
    where = "datad@replay does not listen at /run/piker/datad/replay.sock"
    how = "Start it with `sudo systemctl start datad@replay`.\n"
    assert err == f"piker: {where}: No such file or directory\n{how}"
    assert (await piker("--user", "search", "euro", "--provider", "replay")).status == 3


async def test_a_manager_that_there_is_not_is_refused_by_name(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PIKER_MANAGER", "session")
    said = "piker: PIKER_MANAGER: expected user or system, was 'session'\n"
    assert await piker("status") == (2, "", said)
    monkeypatch.setenv("PIKER_MANAGER", "system")
    said = "piker: up runs the suite for you alone; the system's daemons are systemd's to run\n"
    assert await piker("up") == (2, "", said)


async def test_both_managers_at_once_are_a_mistake() -> None:
    said = "piker: expected a command, was '--system'; see piker --help\n"
    assert await piker("--user", "--system", "status") == (2, "", said)


@pytest.mark.parametrize("line", ["search euro --provider sim", "search euro"])
async def test_who_listens_under_the_other_manager_is_named_and_not_taken_instead(
    line: str, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIKER_ROOT", str(home / "root"))
    sock = home / "root/run/piker/datad/sim.sock"
    sock.parent.mkdir(parents=True)
    with closing(socket.socket(socket.AF_UNIX)) as listener:
        listener.bind(str(sock))
        listener.listen()
        status, _, err = await piker(*line.split())
    assert status == 3
    assert err.endswith("; the system manager's is there: `piker --system COMMAND`\n")
    assert err.count("\n") == 1


@pytest.fixture
def roots_sockets(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of the system's daemons, which admit root alone."""
    monkeypatch.setenv("PIKER_ROOT", str(home / "root"))
    home.chmod(0o755)
    for below in ("datad/sim", "emsd/view", "emsd/trade"):
        sock = home / f"root/run/piker/{below}.sock"
        sock.parent.mkdir(parents=True, exist_ok=True)
        with closing(socket.socket(socket.AF_UNIX)) as listener:
            listener.bind(str(sock))
        sock.chmod(0o660)


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become somebody else")
@pytest.mark.parametrize(
    ("line", "group", "groups"),
    [
        ("search euro --provider sim", "piker-view", "piker-view"),
        ("orders", "piker-view", "piker-view"),
        ("halt lunch", "piker-trade", "piker-view,piker-trade"),
    ],
)
async def test_whom_the_systems_daemons_do_not_admit_is_told_which_group_they_do(
    line: str, group: str, groups: str, roots_sockets: None
) -> None:
    nobody = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", *PIKER)
    async with running("--system", *line.split(), command=nobody) as command:
        status, out, err = await command.ended()
    mend = f"it is for the group {group}: `sudo usermod -aG {groups} $USER`, then log in anew"
    assert (status, out) == (3, "")
    assert err.endswith(f".sock: Permission denied; {mend}\n")


async def test_without_a_command_it_tells_them_and_that_one_was_expected() -> None:
    status, out, _ = await piker()
    assert (status, out.partition("\n")[0]) == (
        2,
        "usage: piker [--user|--system] COMMAND [ARGUMENT…]",
    )


async def test_the_version_is_a_line() -> None:
    assert await piker("--version") == (0, "piker 0.1.0\n", "")


async def test_an_unknown_command_is_refused_by_name() -> None:
    said = "piker: expected a command, was 'wotch'; see piker --help\n"
    assert await piker("wotch") == (2, "", said)


@pytest.mark.parametrize("command", COMMANDS)
def test_each_command_tells_how_it_is_used(command: str, capfd: Capture) -> None:
    assert call(command, "--help") == 0
    out, err = capfd.readouterr()
    assert err == ""
    assert out.startswith(f"usage: piker {command} ")


@pytest.mark.parametrize(
    "command", sorted(COMMANDS.keys() - {"up", "status", "doctor", "config", "resume"})
)
def test_each_command_that_takes_something_shows_an_example(command: str, capfd: Capture) -> None:
    call(command, "--help")
    assert f"\nExample: piker {command} " in capfd.readouterr().out


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("watch", "the following arguments are required: market"),
        ("watch a --for x", "expected a time such as 5s or 2min, was 'x'"),
        ("watch a --for 0s", "expected a time such as 5s or 2min, was '0s'"),
        ("watch a --rate 0", "expected a rate above 0 and up to 1000, was '0'"),
        ("watch a --rate nan", "expected a rate above 0 and up to 1000, was 'nan'"),
        ("watch a --rate 1001", "expected a rate above 0 and up to 1000, was '1001'"),
        ("bars", "the following arguments are required: market"),
        ("bars a b", "unrecognized arguments: b"),
        ("bars a --period soon", "expected a time such as 5s or 2min, was 'soon'"),
        ("history a --from soon", "expected 2h, 30d, 15:30 or 2026-11-02T15:30, was 'soon'"),
        ("history a --limit 0", "expected a whole number above 0, was '0'"),
        ("bars a --last 0", "expected a whole number above 0, was '0'"),
        ("search", "the following arguments are required: pattern"),
        ("search a --limit -1", "expected a whole number above 0, was '-1'"),
        ("status now", "unrecognized arguments: now"),
        ("up nonsense", "expected one of ib, replay, sim, was nonsense"),
        ("config", "the following arguments are required: action"),
        ("config chek", "invalid choice: 'chek'"),
        ("brokercheck", "the following arguments are required: provider"),
    ],
)
def test_what_a_command_can_not_take_is_named(line: str, problem: str, capfd: Capture) -> None:
    assert call(*line.split()) == 2
    out, err = capfd.readouterr()
    assert out == ""
    assert err.startswith(f"usage: piker {line.split()[0]} ")
    assert problem in err


def test_a_usage_error_is_a_line_of_usage_and_what_was_wrong(capfd: Capture) -> None:
    call("resolve", "o1")
    assert capfd.readouterr().err.splitlines() == [
        (
            "usage: piker resolve [OPTION…] --note TEXT oid {open,filled,cancelled,rejected}; "
            "see piker resolve --help"
        ),
        "piker resolve: error: the following arguments are required: outcome, --note",
    ]


@pytest.mark.parametrize("command", sorted(COMMANDS))
def test_an_example_can_be_pasted(command: str, capfd: Capture) -> None:
    call(command, "--help")
    example = capfd.readouterr().out.partition("\nExample: ")[2]
    assert shlex.split(example)[1:2] in ([], [command])


@pytest.mark.parametrize(
    "line",
    ["watch eurusd.spot.replay", "bars eurusd.spot.replay", "search euro --provider replay"],
)
async def test_who_can_not_be_reached_is_named_and_how_to_start_it(line: str) -> None:
    status, out, err = await piker(*line.split())
    assert (status, out) == (3, "")
    assert err.startswith("piker: datad@replay does not listen at /tmp/pk-")
    how = "Start it with `systemctl --user start datad@replay`, or `piker up replay`.\n"
    assert err.endswith(how)


@pytest.mark.parametrize("line", ["watch eurusd", "bars eurusd", "search euro"])
async def test_where_nobody_listens_it_says_where_it_looked(line: str) -> None:
    status, out, err = await piker(*line.split())
    assert (status, out) == (3, "")
    assert err.startswith("piker: no datad listens in /tmp/pk-")
    assert "`piker up replay`" in err


async def test_who_has_gone_is_not_told_anything() -> None:
    assert await piker_unread("--help") == (1, "")


@pytest.mark.parametrize(
    "command", ["orders", "positions", "order", "submit", "cancelling", "flattening"]
)
async def test_a_command_of_orders_imports_nothing_that_it_does_not_need(command: str) -> None:
    heavy = "{'numpy', 'asyncio', 'sqlite3', 'rich'} & set(sys.modules)"
    program = f"import sys, piker.cli.{command}; sys.exit(str({heavy}))"
    async with running("-c", program, command=[sys.executable]) as process:
        assert await process.ended() == (1, "", "set()\n")


async def test_garbage_is_looked_for_while_a_command_runs_and_not_when_it_ends() -> None:
    program = (
        "import atexit, gc, sys; from piker.cli import main\n"
        "atexit.register(lambda: print(gc.get_freeze_count() > 0))\n"
        "sys.argv = ['piker', 'status', '--json']; main(); print(gc.isenabled())"
    )
    async with running("-c", program, command=[sys.executable]) as process:
        assert await process.ended() == (0, "[]\nTrue\nTrue\n", "")
