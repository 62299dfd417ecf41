"""The harness itself: a machine is what tests take it for."""

import os
from pathlib import Path

import pytest
from machine import USER, Machine, wait_until

pytestmark = pytest.mark.system

GREETER = """
[Service]
Type=notify
NotifyAccess=all
ExecStart=/bin/sh -c 'echo hello; systemd-notify --ready; exec sleep infinity'
"""
ECHO_SOCKET = """
[Socket]
ListenStream=%t/echo.sock
Accept=yes
"""
ECHO_SERVICE = """
[Service]
ExecStart=cat
StandardInput=socket
StandardOutput=socket
"""


def user_unit(machine: Machine, name: str, text: str) -> None:
    """Give the user a unit."""
    machine.push(f"/home/{USER}/.config/systemd/user/{name}", text)
    machine.systemctl_user("daemon-reload")


def test_a_user_unit_runs_and_its_output_is_in_the_journal(machine: Machine) -> None:
    user_unit(machine, "greeter.service", GREETER)
    machine.systemctl_user("start", "greeter")
    assert machine.show("greeter", "ActiveState") == "active"
    assert "sleep infinity" in machine.processes()
    assert "hello" in [entry["MESSAGE"] for entry in machine.journal_user("greeter")]
    assert machine.await_entry("greeter", lambda entry: entry["MESSAGE"] == "hello")


def test_a_connection_made_in_the_machine_can_be_used_from_the_test(machine: Machine) -> None:
    user_unit(machine, "echo.socket", ECHO_SOCKET)
    user_unit(machine, "echo@.service", ECHO_SERVICE)
    machine.systemctl_user("start", "echo.socket")
    (connection,) = machine.connect("/run/user/1000/echo.sock")
    with connection:
        connection.sendall(b"hello")
        assert connection.recv(5) == b"hello"


def test_a_service_that_ends_is_waited_for(machine: Machine) -> None:
    user_unit(machine, "greeter.service", GREETER)
    machine.systemctl_user("start", "greeter")
    machine.systemctl_user("stop", "--no-block", "greeter")
    wait_until(lambda: machine.show("greeter", "ActiveState") == "inactive", "greeter stopped")


def test_two_machines_at_once_are_strangers(machine: Machine, layers: list[Path]) -> None:
    with Machine(layers) as other:
        other.push("/home/trader/note", "here")
        assert other.exists("/home/trader/note")
        assert not machine.exists("/home/trader/note")


def test_a_machine_leaves_no_control_group(layers: list[Path]) -> None:
    with Machine(layers) as other:
        name = other.name
        assert groups_of(name)
    assert groups_of(name) == []


def groups_of(name: str) -> list[str]:
    """The control groups of this name; those of others come and go while they are looked for."""
    return [path for path, _, _ in os.walk("/sys/fs/cgroup") if Path(path).name == name]
