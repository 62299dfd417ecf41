"""What is wrong with what a daemon is given: it says so by name, once, and nothing spins."""

import json
from pathlib import Path

import pytest
from machine import RUNTIME_DIRECTORY, USER, Machine, wait_until

from tests.system.asking import SOCKETS, configure, is_active
from tests.system.trading import LIVE, OIDS, STATE, TOKEN, asking, open_venue, submit

pytestmark = pytest.mark.system

SEARCH = "piker.Data.Search"


def shown(machine: Machine, unit: str) -> str:
    """What `systemctl status` shows of a unit."""
    status = ["systemctl", "--user", "--no-pager", "--full", "status", unit]
    return machine.run(status, user=USER, check=False).stdout


def restarts(machine: Machine, unit: str) -> int:
    """How often systemd has restarted a service by itself."""
    return int(machine.show(unit, "NRestarts"))


@pytest.mark.parametrize("mode", ["0000", "0600"], ids=["of no mode", "of somebody else"])
def test_a_credential_that_can_not_be_read_is_named_to_whoever_trades(
    machine: Machine, mode: str
) -> None:
    open_venue(machine)
    machine.run(["chown", {"0000": USER, "0600": "root"}[mode], TOKEN])
    machine.run(["chmod", mode, TOKEN])
    wait_until(lambda: "Permission denied" in told(machine), "the reason, told who trades")
    assert f"Permission denied: {TOKEN}" in shown(machine, "brokerd@sim")
    assert is_active(machine, "brokerd@sim")
    assert restarts(machine, "brokerd@sim") == 0
    assert len(machine.journal_user("brokerd@sim")) < 20


def told(machine: Machine) -> str:
    """What who wants to trade learns: at once, or of the order that waits."""
    answer = json.dumps(submit(machine, LIVE))
    return answer + machine.run(["piker", "order", OIDS[4]], user=USER, check=False).stdout


def test_a_broken_configuration_is_shown_by_file_key_and_line(machine: Machine) -> None:
    configure(machine, "\n[datad]\nkeeps = []\n")
    machine.systemctl_user("start", "datad@replay.socket")
    with asking(machine, "datad", "replay") as talk:
        answer = talk.ask(SEARCH, {"pattern": "eur"})
    assert answer["error"] == "piker.Service.BrokenConfiguration"
    assert (answer["parameters"]["line"], answer["parameters"]["key"]) == (3, "datad.keeps")
    status = shown(machine, "datad@replay")
    assert f"/home/{USER}/.config/piker/piker.toml, line: 3, key: datad.keeps" in status
    assert restarts(machine, "datad@replay") == 0


NO_PROVIDERS = ("nosuch", "Sim", "a.b", "a@b", "-x", "..", "..-x")
"""Names that systemd takes for an instance; the last is what `systemd-escape ../x` gives."""
OF_MANAGER = f"{RUNTIME_DIRECTORY}/(systemd|credentials)/.*"


@pytest.mark.parametrize(
    ("daemon", "method", "parameters"),
    [
        ("datad", SEARCH, {"pattern": "eur"}),
        ("paperboi", "piker.Broker.Snapshot", {"since_ns": 0}),
        ("brokerd", "piker.Broker.Snapshot", {"since_ns": 0}),
    ],
)
def test_an_instance_of_no_provider_says_so_and_makes_nothing_but_sockets(
    machine: Machine, daemon: str, method: str, parameters: dict[str, object]
) -> None:
    machine.systemctl_user("start", f"{daemon}@replay")
    before = belongings(machine)
    units = {name: f"{daemon}@{name}.service" for name in NO_PROVIDERS}
    machine.systemctl_user("start", *units.values())
    for name, unit in units.items():
        with asking(machine, daemon, name) as talk:
            answer = talk.ask(method, parameters)
        assert answer["error"] == "piker.Service.UnknownProvider"
        assert answer["parameters"]["provider"] == name
        assert f"(provider: {name}, known: ib, replay, sim)" in shown(machine, unit)
        assert restarts(machine, unit) == 0
    made = [Path(path) for path in belongings(machine) - before]
    sockets = {Path(f"{SOCKETS}/{kind}") for kind in ("datad", "paperboi", "brokerd")}
    assert {path.parent for path in made} <= {
        *sockets,
        Path(RUNTIME_DIRECTORY, "piker-credentials"),
        Path(STATE, "piker-datad/history"),
    }


def belongings(machine: Machine) -> set[str]:
    """The files that a user has, but for their manager's own."""
    find = [
        "find",
        f"/home/{USER}",
        RUNTIME_DIRECTORY,
        "-regextype",
        "egrep",
        "-not",
        "-regex",
        OF_MANAGER,
    ]
    return set(machine.run(find).stdout.splitlines())


def test_a_journal_of_somebody_elses_is_left_and_named(machine: Machine) -> None:
    machine.push(f"{STATE}/piker-emsd/journal.sqlite", "somebody's notes")
    machine.systemctl_user("start", "emsd.socket", "emsd-trade.socket")
    assert submit(machine, LIVE)["error"] == "piker.Orders.BrokenJournal"
    assert "The journal can't be used" in shown(machine, "emsd")
    assert machine.run(["cat", f"{STATE}/piker-emsd/journal.sqlite"]).stdout == "somebody's notes"
    assert restarts(machine, "emsd") == 0


def test_a_state_directory_that_is_full_is_named(machine: Machine) -> None:
    machine.push(f"{STATE}/piker-emsd/.keep", "")
    small = ["mount", "-t", "tmpfs", "-o", "size=64k,mode=0700,uid=1000", "tmpfs"]
    machine.run([*small, f"{STATE}/piker-emsd"])
    machine.run(["dd", "if=/dev/zero", f"of={STATE}/piker-emsd/big", "bs=60k", "count=1"])
    machine.systemctl_user("start", "emsd.socket", "emsd-trade.socket")
    assert submit(machine, LIVE)["error"] == "piker.Orders.DiskFull"
    assert f"(path: {STATE}/piker-emsd, free: 0.0 MB)" in shown(machine, "emsd")
    assert restarts(machine, "emsd") == 0


def test_a_state_directory_of_somebody_else_ends_the_attempts_by_itself(machine: Machine) -> None:
    """systemd fails before emsd can say so: its status does, and nothing goes on for ever."""
    machine.run(["install", "-d", "-o", USER, STATE])
    machine.run(["install", "-d", "-m", "700", "-o", "root", f"{STATE}/piker-emsd"])
    machine.systemctl_user("start", "emsd.socket")
    asked = machine.run(["piker", "orders"], user=USER, check=False)
    assert asked.returncode == 3
    assert "journalctl --user -u emsd" in asked.stderr
    assert "STATE_DIRECTORY" in shown(machine, "emsd")
    assert machine.show("emsd.socket", "Result") == "trigger-limit-hit"
    assert restarts(machine, "emsd") == 0


def test_a_socket_path_that_is_taken_by_a_directory_is_left_and_named(machine: Machine) -> None:
    path = f"{SOCKETS}/emsd/view.sock"
    machine.systemctl_user("stop", "emsd.socket")
    machine.run(["mkdir", path], user=USER)
    machine.systemctl_user("start", "emsd.socket", check=False)
    asked = machine.run(["piker", "orders"], user=USER, check=False)
    assert asked.returncode == 3
    assert f"emsd does not listen at {path}" in asked.stderr
    assert "Address already in use" in shown(machine, "emsd.socket")
    assert machine.exists(path)
