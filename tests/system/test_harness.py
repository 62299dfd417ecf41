"""What a machine under test can do as its owner could: be shut down, have other users, filters."""

import pytest
from machine import UID, USER, Machine

pytestmark = pytest.mark.system

NOTE = f"/home/{USER}/note"
REFUSED = """
import socket, sys
with socket.socket() as listening, socket.socket() as client:
    listening.bind(("127.0.0.1", 0))
    listening.listen()
    client.settimeout(0.2)
    try:
        client.connect(listening.getsockname())
    except TimeoutError:
        sys.exit(3)
"""


@pytest.mark.parametrize("clean", [True, False])
def test_what_is_on_its_disk_outlives_a_reboot(machine: Machine, clean: bool) -> None:
    machine.push(NOTE, "here")
    machine.run(["touch", "/run/fleeting"])
    machine.reboot(clean=clean)
    assert machine.exists(NOTE)
    assert not machine.exists("/run/fleeting")
    assert machine.show_system(f"user@{UID}.service", "ActiveState") == "active"


def test_another_user_is_in_the_groups_that_were_named(machine: Machine) -> None:
    machine.add_user("guest", "piker-view")
    assert machine.run(["id", "--name", "--groups"], user="guest").stdout == "guest piker-view\n"
    assert machine.run(["sh", "-c", "echo $HOME"], user="guest").stdout == "/home/guest\n"


def test_a_unit_of_the_system_is_asked_for_its_journal(machine: Machine) -> None:
    machine.run(["systemd-run", "--unit=hello", "--wait", "echo", "hello"])
    assert "hello" in [entry["MESSAGE"] for entry in machine.journal_system("hello")]


def test_filters_of_addresses_work_in_it(machine: Machine) -> None:
    run = ["systemd-run", "--wait", "--quiet", "--property=IPAddressDeny=any", "python3", "-c"]
    assert machine.run([*run, REFUSED], check=False).returncode == 3
