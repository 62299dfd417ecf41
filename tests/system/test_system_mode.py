"""The units in the system manager: each daemon a user of its own, groups say who may connect."""

import json
import re
from typing import Any

import pytest
from machine import USER, Machine, wait_until

from tests.system.trading import BUY, DARK, LIVE, OIDS, SECRET, open_system_venue

pytestmark = pytest.mark.system

DAEMONS = {
    "datad@replay": "piker-datad",
    "samplerd": "piker-samplerd",
    "emsd": "piker-emsd",
    "paperboi@replay": "piker-paperboi",
    "brokerd@sim": "piker-brokerd",
    "iblane@live": "piker-iblane",
    "ibgw@live": "piker-ibgw",
}
EXPOSED = {"ibgw@live": 11}
"""Tenths: those that have a network."""
SOCKETS = {
    "brokerd/sim.sock": "piker-brokerd piker-emsd 660",
    "datad/replay.sock": "piker-datad piker-view 660",
    "ibgw/live.sock": "piker-ibgw piker-ibgw 660",
    "iblane/live.sock": "piker-iblane piker-iblane 660",
    "emsd/trade.sock": "piker-emsd piker-trade 660",
    "emsd/view.sock": "piker-emsd piker-view 660",
    "paperboi/replay.sock": "piker-paperboi piker-emsd 660",
    "samplerd/samplerd.sock": "piker-samplerd piker-samplerd 660",
}

# Which of these sockets a process may connect to.
REACH = """
import socket, sys
for path in sys.argv[1:]:
    with socket.socket(socket.AF_UNIX) as connection:
        try:
            connection.connect(f"/run/piker/{path}")
            print(path)
        except PermissionError:
            pass
"""
# Sends a call and prints its reply.
ASK = """
import json, socket, sys
path, method, parameters = sys.argv[1:]
with socket.socket(socket.AF_UNIX) as connection:
    connection.settimeout(30)
    connection.connect(path)
    call = {"method": method, "parameters": json.loads(parameters)}
    connection.sendall(json.dumps(call).encode() + b"\\0")
    reply = b""
    while not reply.endswith(b"\\0"):
        reply += connection.recv(65536) or sys.exit("hung up")
print(reply[:-1].decode())
"""


@pytest.fixture
def system(machine: Machine) -> Machine:
    """A machine on which its administrator has started the suite for all."""
    machine.systemctl("start", *DAEMONS, "brokerd@sim.socket")
    return machine


def as_member(*groups: str) -> list[str]:
    """What runs a command as a person in these groups and no others."""
    listed = [f"--groups={','.join(groups)}"] if groups else ["--clear-groups"]
    return ["setpriv", "--reuid=nobody", "--regid=nogroup", *listed]


def reached(machine: Machine, *groups: str) -> list[str]:
    """The sockets that a person in these groups can connect to."""
    reach = [*as_member(*groups), "python3", "-c", REACH, *SOCKETS]
    return machine.run(reach).stdout.split()


def ask(machine: Machine, path: str, method: str, parameters: object, *who: str) -> Any:
    """What a daemon answers to this person, by default one who may trade."""
    program = ["python3", "-c", ASK, f"/run/piker/{path}", method, json.dumps(parameters)]
    person = who or as_member("piker-view", "piker-trade")
    return json.loads(machine.run([*person, *program]).stdout)


def submit(machine: Machine, order: dict[str, Any]) -> Any:
    """What emsd answers to an order."""
    return ask(machine, "emsd/trade.sock", "piker.Orders.Submit", {"order": order})


def await_state(machine: Machine, oid: str, state: str) -> None:
    """Wait until an order stands so."""
    wait_until(lambda: state_of(machine, oid) == state, f"{oid} {state}")


def state_of(machine: Machine, oid: str) -> str:
    """How an order stands."""
    reply = ask(machine, "emsd/view.sock", "piker.Orders.Timeline", {"oid": oid})
    return str(reply["parameters"]["life"]["state"])


def show(machine: Machine, unit: str, name: str) -> str:
    """One property of a system unit."""
    return machine.systemctl("show", "--value", f"--property={name}", unit).strip()


def test_each_daemon_runs_as_a_user_of_its_own(system: Machine) -> None:
    for unit, user in DAEMONS.items():
        status = system.run(["cat", f"/proc/{show(system, unit, 'MainPID')}/status"]).stdout
        uids = next(line.split()[1:] for line in status.splitlines() if line.startswith("Uid:"))
        assert set(uids) == {system.run(["id", "-u", user]).stdout.strip()}, unit


def test_a_socket_belongs_to_its_daemon_and_to_the_group_that_may_connect(system: Machine) -> None:
    stat = ["stat", "-c", "%U %G %a"]
    found = {path: system.run([*stat, f"/run/piker/{path}"]).stdout for path in SOCKETS}
    assert found == {path: f"{expected}\n" for path, expected in SOCKETS.items()}


@pytest.mark.parametrize(
    ("groups", "expected"),
    [
        ([], []),
        (["piker-view"], ["datad/replay.sock", "emsd/view.sock"]),
        (["piker-trade"], ["emsd/trade.sock"]),
        (["piker-samplerd"], ["samplerd/samplerd.sock"]),
        (["piker-datad"], []),
        (["piker-iblane"], ["iblane/live.sock"]),
        (["piker-ibgw"], ["ibgw/live.sock"]),
        (["piker-brokerd"], []),
        (["piker-emsd"], ["brokerd/sim.sock", "paperboi/replay.sock"]),
    ],
)
def test_a_group_opens_these_sockets_and_no_others(
    system: Machine, groups: list[str], expected: list[str]
) -> None:
    assert sorted(reached(system, *groups)) == expected


def test_a_paper_order_is_filled(system: Machine) -> None:
    assert "error" not in submit(system, BUY)
    await_state(system, OIDS[0], "filled")


def test_state_lies_below_one_directory_and_each_part_is_its_daemons_alone(
    system: Machine,
) -> None:
    stat = ["stat", "-c", "%n %U %a"]
    parts = [f"/var/lib/piker/{part}" for part in ("datad/history/replay", "emsd", "paperboi")]
    assert system.run([*stat, *parts]).stdout.splitlines() == [
        "/var/lib/piker/datad/history/replay piker-datad 700",
        "/var/lib/piker/emsd piker-emsd 700",
        "/var/lib/piker/paperboi piker-paperboi 700",
    ]


@pytest.fixture
def venue(machine: Machine) -> Machine:
    """A machine with the simulated venue, a live account, and its secret, encrypted."""
    open_system_venue(machine)
    return machine


def test_a_live_order_reaches_the_venue_with_the_secret_that_lies_encrypted(
    venue: Machine,
) -> None:
    assert "error" not in submit(venue, LIVE)
    await_state(venue, OIDS[4], "open")
    assert SECRET not in venue.run(["cat", "/etc/piker-credentials/sim/token"]).stdout


def test_who_may_trade_may_panic_and_who_may_watch_may_not(venue: Machine) -> None:
    assert "error" not in submit(venue, LIVE)
    await_state(venue, OIDS[4], "open")
    venue.run(["usermod", "--append", "--groups", "piker-view", USER])
    panic = ["systemctl", "--no-ask-password", "start", "piker-panic@sim"]
    refused = venue.run(panic, user=USER, check=False)
    assert "authentication" in refused.stderr
    venue.run(["usermod", "--append", "--groups", "piker-trade", USER])
    venue.run(panic, user=USER)
    await_state(venue, OIDS[4], "cancelled")
    assert submit(venue, {**LIVE, "oid": OIDS[5]})["error"] == "piker.Orders.Halted"


def test_who_may_trade_may_not_start_or_stop_anything_else(system: Machine) -> None:
    system.run(["usermod", "--append", "--groups", "piker-trade", USER])
    for verb, unit in (("start", "brokerd@other"), ("stop", "emsd"), ("stop", "piker-panic@sim")):
        command = ["systemctl", "--no-ask-password", verb, unit]
        assert system.run(command, user=USER, check=False).returncode != 0, (verb, unit)


def test_after_a_boot_emsd_is_there_again_for_what_is_armed(system: Machine) -> None:
    system.systemctl("enable", "piker-resume", "emsd.socket", "emsd-trade.socket")
    assert "error" not in submit(system, DARK)
    await_state(system, OIDS[2], "held")
    system.reboot()
    wait_until(lambda: show(system, "emsd", "ActiveState") == "active", "emsd, by piker-resume")
    wait_until(lambda: show(system, "datad@replay", "ActiveState") == "active", "datad, by emsd")
    assert state_of(system, OIDS[2]) == "held"


def test_peers_are_seen_as_who_they_are(system: Machine) -> None:
    """PrivateUsers= would show each of them as nobody."""
    for unit in DAEMONS:
        own = system.run(["readlink", f"/proc/{show(system, unit, 'MainPID')}/ns/user"]).stdout
        assert own == system.run(["readlink", "/proc/1/ns/user"]).stdout


def test_systemd_has_nothing_to_say_about_the_installed_units(machine: Machine) -> None:
    files = machine.run(["dpkg", "--listfiles", "piker"]).stdout.split()
    units = [each for each in files if re.search(r"/system/[^/]+[.](service|socket|target)$", each)]
    assert len(units) >= 14
    assert machine.run(["systemd-analyze", "--man=no", "verify", *units]).stderr == ""


@pytest.mark.parametrize("unit", [*DAEMONS, "piker-panic@sim"])
def test_systemd_finds_a_service_hardly_exposed(machine: Machine, unit: str) -> None:
    """0.5 of 10: a root directory of its own, and Unix sockets, is what is left."""
    threshold = f"--threshold={EXPOSED.get(unit, 5)}"
    security = ["systemd-analyze", "--no-pager", threshold, "security", f"{unit}.service"]
    machine.systemctl("start", "--no-block", unit)
    machine.run(security)
