"""What one who operates it sees: the journal, its catalog, and the daemons asked by hand."""

import json

import pytest
from machine import USER, Machine, wait_until

from piker import log
from tests.system.asking import SOCKETS
from tests.system.trading import BUY, DARK, LIVE, OIDS, await_state, open_venue, submit

pytestmark = pytest.mark.system

INTERFACES = {
    "datad/replay": "piker.Data",
    "samplerd/samplerd": "piker.Clock",
    "emsd/view": "piker.Orders",
    "emsd/trade": "piker.Orders",
    "paperboi/replay": "piker.Broker",
    "brokerd/replay": "piker.Broker",
}


def said_of(machine: Machine, oid: str) -> dict[str, list[str]]:
    """What each daemon has written to the journal about an order."""
    machine.run(["journalctl", "--sync"])
    read = ["journalctl", "--user", "--output=json", "--all", f"PIKER_OID={oid}"]
    entries = [json.loads(line) for line in machine.run(read, user=USER).stdout.splitlines()]
    said: dict[str, list[str]] = {}
    for entry in entries:
        said.setdefault(entry["SYSLOG_IDENTIFIER"], []).append(entry["MESSAGE"])
    return said


def test_the_journal_tells_the_whole_life_of_a_paper_order(machine: Machine) -> None:
    machine.systemctl_user("start", "datad@replay")
    assert "error" not in submit(machine, BUY)
    await_state(machine, OIDS[0], "filled")
    wait_until(lambda: set(said_of(machine, OIDS[0])) == {"emsd", "paperboi"}, "both to say it")


def test_the_journal_tells_the_whole_life_of_a_live_order(machine: Machine) -> None:
    open_venue(machine)
    assert "error" not in submit(machine, LIVE)
    await_state(machine, OIDS[4], "open")
    wait_until(lambda: set(said_of(machine, OIDS[4])) == {"emsd", "brokerd"}, "both to say it")


def test_the_catalog_explains_an_entry(machine: Machine) -> None:
    machine.systemctl_user("start", "datad@nonsense")
    machine.await_entry("datad@nonsense", lambda each: each.get("MESSAGE_ID") == log.CANT_WORK)
    explain = ["journalctl", "--user", "--catalog", "--no-pager", f"MESSAGE_ID={log.CANT_WORK}"]
    assert "piker doctor" in machine.run(explain, user=USER).stdout


@pytest.mark.parametrize("manager", ["user", "system"])
def test_status_says_which_manager_it_asked(machine: Machine, manager: str) -> None:
    machine.systemctl_user("start", "datad@replay")
    machine.systemctl("start", "samplerd")
    seen = machine.run(["piker", "status", f"--{manager}"], user=USER).stdout
    whose = {"user": "this user", "system": "the system"}[manager]
    assert seen.splitlines()[0] == f"asked systemd, the manager of {whose}"
    assert ("datad@replay.service" in seen) == (manager == "user")


@pytest.mark.parametrize("release", ["trixie"])
def test_systemds_own_varlinkctl_introspects_and_calls_every_daemon(machine: Machine) -> None:
    machine.systemctl_user("start", "datad@replay", "samplerd.socket")
    for path, interface in INTERFACES.items():
        address = f"unix:{SOCKETS}/{path}.sock"
        described = machine.run(["varlinkctl", "introspect", address, interface], user=USER).stdout
        assert f"interface {interface}" in described
        call = ["varlinkctl", "--json=short", "call", address, "piker.Service.Health", "{}"]
        health = json.loads(machine.run(call, user=USER).stdout)
        assert health["state"] in ("running", "degraded", "failed"), (path, health)


@pytest.mark.parametrize("release", ["trixie"])
def test_a_dark_order_goes_by_what_the_state_of_systemd_252_has(machine: Machine) -> None:
    """From 254 on the user manager keeps state in ~/.local/state, no longer in ~/.config."""
    machine.systemctl_user("start", "datad@replay")
    assert "error" not in submit(machine, DARK)
    await_state(machine, OIDS[2], "held")
    machine.systemctl_user("stop", "piker.target")
    for name in ("piker-emsd", "piker-paperboi"):
        machine.run(["mv", f"/home/{USER}/.local/state/{name}", f"/home/{USER}/.config/{name}"])
    machine.systemctl_user("start", "emsd", "datad@replay")
    await_state(machine, OIDS[2], "held")
