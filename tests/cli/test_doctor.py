"""piker doctor: what is wrong on a machine, found in its real parts."""

import json
import os
import shutil
import subprocess
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import trio

from piker import clock, paths
from piker.cli import symptoms
from piker.emsd import JOURNAL
from piker.orders import Submitted
from piker.store import credentials
from piker.store.journal import open_journal
from piker.transport import listen
from tests.cli.command import PIKER, piker
from tests.cli.conftest import configure
from tests.store.samples import happened, order

OF_ANY = [
    "kernel",
    "permissions",
    "configuration",
    "credentials",
    "gateways",
    "disk",
    "history",
    "clock",
    "calendars",
]
LIVE = '[accounts."sim.main"]\nlive = true\n'

needs_root = pytest.mark.skipif(os.getuid() != 0, reason="only root can do this to a machine")


@pytest.fixture(autouse=True)
def root(home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The machine's own directories, of the test's, without a manager."""
    monkeypatch.setenv("PIKER_ROOT", str(home / "root"))
    monkeypatch.setenv("DBUS_SYSTEM_BUS_ADDRESS", "unix:path=/nowhere")
    monkeypatch.setenv("DBUS_SESSION_BUS_ADDRESS", "unix:path=/nowhere")
    (home / "root" / "var/lib").mkdir(parents=True)
    return home / "root"


async def findings(*options: str) -> dict[str, dict[str, Any]]:
    """What it finds, by check; of several of one check the first."""
    status, out, err = await piker("doctor", "--json", *options)
    found = [json.loads(line) for line in out.splitlines()]
    assert err == ""
    assert status == any(each["level"] == "problem" for each in found)
    return {each["check"]: each for each in reversed(found)}


async def after(script: str, check: str) -> dict[str, Any]:
    """One finding, where a shell has done something to its own view of the machine before."""
    command = f"{script}; exec {PIKER[0]} doctor --json"
    unshare = ["unshare", "--mount", "sh", "-ec", command]
    done = await trio.run_process(unshare, capture_stdout=True, capture_stderr=True, check=False)
    found = [json.loads(line) for line in done.stdout.splitlines()]
    assert found, done.stderr
    return next(each for each in found if each["check"] == check)


async def test_each_check_is_a_line_and_a_problem_fails_it() -> None:
    status, out, err = await piker("doctor")
    lines = [line.split(": ")[0].split(maxsplit=1) for line in out.splitlines()]
    assert (status, err) == (1, "")
    assert [check for _, check in lines] == [
        *OF_ANY,
        "journal",
        "boot",
        "lingering",
        "user namespaces",
        "systemd",
    ]
    assert {level for level, _ in lines} <= {"ok", "warning", "problem"}
    assert all("; to mend that: " in line for line in out.splitlines() if line[:2] != "ok")


async def test_of_the_system_it_looks_for_users_and_groups_and_not_for_lingering() -> None:
    found = await findings("--system")
    assert list(reversed(found)) == [*OF_ANY, "journal", "boot", "users", "groups", "systemd"]
    assert found["systemd"]["text"].startswith("no systemd system manager answers")


async def test_without_a_manager_it_is_a_problem_but_where_pikerd_runs(home: Path) -> None:
    assert (await findings())["systemd"]["level"] == "problem"
    (home / "run/piker/pikerd").mkdir(parents=True, mode=0o700)
    with closing(listen(str(paths.socket_path("pikerd")))):
        found = await findings()
    assert found["systemd"]["level"] == "ok"
    assert list(reversed(found)) == [*OF_ANY, "systemd"]


async def test_who_lingers_is_found_where_logind_notes_it(root: Path) -> None:
    assert (await findings())["lingering"]["level"] == "warning"
    noted = root / "var/lib/systemd/linger"
    noted.mkdir(parents=True)
    (noted / symptoms.user()).touch()
    assert (await findings())["lingering"]["level"] == "ok"


async def test_what_keeps_history_is_looked_for() -> None:
    assert (await findings())["history"]["text"] == "bars and ticks are kept on disk"


def test_who_asks_for_history_is_found_in_the_configuration() -> None:
    configure('[datad]\nkeep = ["a.b.sim", "c.d.sim"]\nrecord = ["c.d.sim", "e.f.sim"]\n')
    assert symptoms.kept_markets() == ("a.b.sim", "c.d.sim", "e.f.sim")


async def test_places_that_are_open_are_found_and_its_commands_mend_them(home: Path) -> None:
    credentials.prepare("sim")
    credentials.keep("sim", "token", b"a secret")
    configure("")
    paths.state_of("emsd").mkdir()
    history = paths.history() / "sim"
    history.mkdir(parents=True)
    opened = [
        home / "run",
        home / "config/piker",
        home / "config/piker/piker.toml",
        credentials.directory(),
        credentials.path_of("sim", "token"),
        paths.state_of("emsd"),
        history,
    ]
    for each in opened:
        each.chmod(0o777)
    _, out, _ = await piker("doctor")
    found = [line for line in out.splitlines() if "permissions" in line]
    assert [line.partition("): ")[2].partition(";")[0] for line in found] == list(map(str, opened))
    for line in found:
        await trio.run_process(line.partition("to mend that: ")[2].split())
    assert (await findings())["permissions"]["level"] == "ok"


async def test_a_broken_configuration_is_named_by_file_and_key() -> None:
    path = configure("idle_exit_s = 'soon'")
    found = await findings()
    assert found["configuration"]["level"] == "problem"
    assert str(path) in found["configuration"]["text"]
    assert "idle_exit_s" in found["configuration"]["text"]
    assert found["credentials"]["text"] == "can't be looked at: the configuration is broken"


async def test_a_live_account_without_its_credential_is_found() -> None:
    configure(LIVE)
    found = (await findings())["credentials"]
    assert (found["level"], found["text"]) == ("problem", "sim: token: it is not set")
    assert found["mend"] == "piker creds set sim token"
    credentials.prepare("sim")
    credentials.keep("sim", "token", b"a secret")
    assert (await findings())["credentials"]["text"] == "set for sim.main"


async def test_a_live_account_whose_provider_takes_none_has_none_that_could_be_missing() -> None:
    configure('[accounts."ib.U1234567"]\nlive = true\n')
    assert (await findings())["credentials"]["text"] == "none is needed"


async def test_a_credential_that_cannot_be_handed_over_is_found() -> None:
    configure(LIVE)
    credentials.prepare("sim")
    os.mkfifo(credentials.path_of("sim", "token"), 0o600)
    found = (await findings())["credentials"]
    assert found["text"].startswith("sim: token: expected a file, was prw-------: ")


async def test_a_gateway_that_is_set_and_can_not_be_reached_is_found() -> None:
    assert (await findings())["gateways"]["text"] == "none is set"
    configure('[providers.ib]\ndata = "tcp:127.0.0.1:1"\n')
    found = (await findings())["gateways"]
    assert (found["level"], found["text"].partition(": no gateway")[0]) == (
        *("problem", "tcp:127.0.0.1:1"),
    )
    assert found["mend"].startswith("start IB Gateway or TWS")
    configure('[providers.ib]\nlines = "many"\n')
    assert (await findings())["gateways"]["level"] == "warning"


async def test_a_provider_that_is_not_there_hides_no_gateway_of_another() -> None:
    configure('[providers.nobody]\n[providers.ib]\ndata = "tcp:127.0.0.1:1"\n')
    _, out, _ = await piker("doctor")
    unknown, unreached = (line for line in out.splitlines() if " gateways: " in line)
    assert "No such provider is installed (provider: nobody, " in unknown
    assert unreached.startswith("problem  gateways: tcp:127.0.0.1:1: no gateway at ")


@needs_root
async def test_a_full_disk_is_found_where_the_journal_lies() -> None:
    state = paths.state_of("emsd")
    state.mkdir(mode=0o700)
    mount = f"mount -t tmpfs -o size=1m,mode=700 tmpfs {state}"
    full = await after(f"{mount}; touch {state}/{JOURNAL}", "disk")
    assert full["level"] == "problem"
    assert full["text"].startswith("full and new orders are refused: 1 MB free at ")
    assert full["text"].endswith("; emsd's ballast is spent")
    no_inode = f"mount -t tmpfs -o nr_inodes=1,mode=700 tmpfs {state}"
    assert "no inode is free" in (await after(no_inode, "disk"))["text"]


@needs_root
async def test_user_namespaces_that_are_switched_off_are_found_by_trying(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("PIKER_ROOT")
    off = "echo 0 >/proc/sys/user/max_user_namespaces"
    inside = f"unshare --user --map-root-user sh -ec '{off}; {PIKER[0]} doctor --json' || exit"
    found = await after(inside, "user namespaces")
    assert found["level"] == "problem"
    assert found["text"].startswith("switched off by user.max_user_namespaces = 0")


async def test_a_clock_that_was_set_back_is_found_by_the_orders_journal() -> None:
    path = paths.state_of("emsd") / JOURNAL
    event = Submitted(order=order())
    async with open_journal(path) as journal:
        await journal.append(happened(event, time_ns=clock.wall_ns() + 3600 * 10**9)).wait()
    found = (await findings())["clock"]
    assert found["level"] == "problem"
    assert found["text"].startswith("it was set back: the newest order event is 3")


async def test_a_log_that_nobody_keeps_or_can_read_is_found(
    home: Path, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(home))
    found = (await findings())["journal"]
    assert (found["level"], "journalctl: No such file" in found["text"]) == ("problem", True)


async def test_a_disk_that_cannot_be_looked_at_does_not_end_the_other_checks(home: Path) -> None:
    state = paths.state_of("emsd")
    state.mkdir(mode=0o700)
    (state / JOURNAL).write_text("no journal")
    found = await findings()
    assert found["clock"]["text"].startswith("can't be looked at: ")
    assert found["clock"]["level"] == "warning"
    assert list(reversed(found))[-1] == "systemd"


def test_it_changes_nothing(home: Path) -> None:
    shutil.rmtree(home / "state")
    before = sorted(home.rglob("*"))
    subprocess.run([*PIKER, "doctor"], capture_output=True, check=False)
    assert sorted(home.rglob("*")) == before
