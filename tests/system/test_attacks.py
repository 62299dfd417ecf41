"""What a provider gets at that has turned on the desk: the token, orders, daemons, the person.

The attacks are tests/system/hostile/attacks.py; what counts as one that had its way is proofs.py.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest
from machine import USER, Machine, wait_until

from tests.system.attacking import (
    HOME,
    OF_A_USER,
    OF_THE_SYSTEM,
    PYTHON,
    TOKEN,
    Desk,
    Scene,
    a_scene,
    leftovers,
)
from tests.system.proofs import succeeded

pytestmark = pytest.mark.system
on_both_releases = pytest.mark.parametrize("release", ["bookworm", "trixie"])

MANUAL = Path(__file__).parents[2] / "docs" / "man" / "piker-security.7.scd"
DROP_IN = f"{HOME}/.config/systemd/user/datad@hostile.service.d/90-open.conf"

OPEN = """[Service]
PrivateUsers=no
TemporaryFileSystem=
InaccessiblePaths=
ReadOnlyPaths=
BindReadOnlyPaths=
PrivateNetwork=no
RestrictAddressFamilies=
NoNewPrivileges=no
CapabilityBoundingSet=~
ProtectSystem=no
ProtectHome=no
PrivateTmp=no
PrivateDevices=no
PrivateIPC=no
PrivateMounts=no
ProtectControlGroups=no
ProtectKernelTunables=no
ProtectKernelModules=no
ProtectClock=no
ProtectHostname=no
RestrictNamespaces=no
RestrictRealtime=no
RestrictSUIDSGID=no
LockPersonality=no
MemoryDenyWriteExecute=no
SystemCallArchitectures=
SystemCallFilter=
"""
"""Takes a unit's whole sandbox away, and leaves the rest of it."""

OF_THE_KERNEL = {"bpf", "io-uring", "perf-event", "read-keyring", "vsock"}
"""What a machine's own settings may close to everybody: what comes of it without a sandbox is no
matter of ours."""

WAYS = {
    *("environment", "maps", "memory-by-file", "memory-by-call", "memory-by-ptrace"),
    *("descriptors", "copied-descriptors", "comparison", "root", "working-directory", "namespaces"),
}
"""Into a process; the manager is in no namespace that could be entered."""
FILES = {"environment", "memory-by-file", "descriptors"}
"""Those by files in /proc, which are nobody's of a daemon, since it can't be dumped."""

WITHOUT_A_SANDBOX = {
    *("token-by-file", "token-by-credential-directory", "token-by-transient-unit"),
    *("token-by-root-of-manager", "token-by-root-of-brokerd"),
    *("read-home", "read-media", "read-elsewhere", "read-terminal", "read-journal", "read-bars"),
    *("read-orders-on-disk", "read-paper-account-on-disk", "read-shared-memory", "read-ipc"),
    *("read-network-table", "read-mount-table", "read-cmdline", "list-descriptors"),
    *(f"{way}-of-{daemon}" for way in WAYS - FILES for daemon in ("emsd", "brokerd", "datad")),
    *(f"{way}-of-manager" for way in WAYS - {"namespaces"}),
    *("reach-bus", "reach-system-bus", "reach-emsd-to-view", "reach-brokerd", "reach-paperboi"),
    *("reach-other-datad", "reach-venue", "reach-socket-of-the-session", "reach-display"),
    *("reach-abstract-socket", "reach-tcp", "reach-udp", "reach-notify-socket"),
    *("new-user-namespace", "netlink"),
    *("order-by-emsd", "set-environment", "write-memory-by-call"),
    *("write-journal", "write-shared-memory", "write-unit", "write-environment", "write-profile"),
    *("write-bashrc", "write-configuration", "write-credentials", "write-temporary-file"),
    *("write-orders-on-disk", "write-paper-account-on-disk", "halt"),
    *("read-history", "write-history"),
    *("hijack-emsd", "hijack-brokerd", "hijack-samplerd"),
    *("signal-sibling", "limit-sibling", "slow-sibling", "doom-sibling"),
    *("freeze-sibling", "join-sibling"),
}
"""Of a user's manager. Even the memory of daemons, though they can't be dumped: each is in a user
namespace, whose owner may read what is in it, where that owner isn't in one itself."""

PLACES = ("/dev/shm", "/etc", "/home", "/media", "/opt", "/root", "/run", "/srv", "/tmp", "/var")

# Prints the sockets that there are.
FIND_SOCKETS = """
import os, stat
for directory, below, names in os.walk("/"):
    below[:] = [each for each in below if (directory, each) not in (("/", "proc"), ("/", "sys"))]
    for path in (os.path.join(directory, each) for each in names):
        if stat.S_ISSOCK(os.lstat(path).st_mode):
            print(path)
"""

# Leaves a file wherever it can, and prints where that is.
LEAVE = """
import os
from contextlib import suppress
for directory, below, _ in os.walk("/"):
    with suppress(OSError):
        os.close(os.open(os.path.join(directory, "left-behind"), os.O_CREAT | os.O_WRONLY))
        print(directory)
"""

# Prints which of the processes have the text in memory that they can write to.
IN_MEMORY = """
import sys
text = sys.argv[1].encode()
for pid in sys.argv[2:]:
    with open(f"/proc/{pid}/maps") as maps, open(f"/proc/{pid}/mem", "rb", 0) as memory:
        for line in maps:
            place, mode = line.split()[:2]
            begin, end = (int(each, 16) for each in place.split("-"))
            if mode.startswith("rw") and "[v" not in line:
                memory.seek(begin)
                if text in memory.read(end - begin):
                    print(pid)
                    break
"""


@pytest.fixture
def scene(machine: Machine) -> Iterator[Scene]:
    """A user's desk, with the units as they are shipped."""
    with a_scene(machine, OF_A_USER) as scene:
        yield scene


@pytest.fixture
def open_scene(machine: Machine) -> Iterator[Scene]:
    """The same, but that the hostile datad has no sandbox."""
    machine.push(DROP_IN, OPEN)
    machine.systemctl_user("daemon-reload")
    with a_scene(machine, OF_A_USER) as scene:
        yield scene


@pytest.fixture
def system_scene(machine: Machine) -> Iterator[Scene]:
    """A desk that the system runs, each daemon as a user of its own; this person may trade."""
    machine.run(["usermod", "--append", "--groups", "piker-view,piker-trade", USER])
    machine.run(["systemctl", "start", "emsd.socket", "emsd-trade.socket", "samplerd.socket"])
    with a_scene(machine, OF_THE_SYSTEM) as scene:
        yield scene


@on_both_releases
def test_a_hostile_datad_of_a_user_gets_what_the_manual_says_and_no_more(scene: Scene) -> None:
    assert succeeded(scene, scene.attack()) == leftovers(MANUAL, "User mode")


@on_both_releases
def test_a_hostile_datad_of_the_system_gets_what_the_manual_says_and_no_more(
    system_scene: Scene,
) -> None:
    assert succeeded(system_scene, system_scene.attack()) == leftovers(MANUAL, "System mode")


@on_both_releases
def test_without_its_sandbox_a_hostile_datad_gets_nearly_all(open_scene: Scene) -> None:
    assert succeeded(open_scene, open_scene.attack()) - OF_THE_KERNEL == WITHOUT_A_SANDBOX


def test_a_hostile_datad_finds_three_sockets(scene: Scene) -> None:
    assert inside(scene.desk, FIND_SOCKETS) == {
        f"{scene.prey.runtime}/systemd/notify",
        f"{scene.prey.runtime}/piker/samplerd/samplerd.sock",
        "/run/systemd/journal/socket",
    }


def test_what_a_hostile_datad_leaves_wherever_it_can_is_found_among_its_own_history_alone(
    scene: Scene,
) -> None:
    own = scene.prey.history.removesuffix("sim") + "hostile"
    assert "/tmp" in inside(scene.desk, LEAVE)
    kept = ["-name", "proc", "-prune", "-o", "-name", "systemd-private-*", "-prune", "-o"]
    find = ["find", "/", *kept, "-name", "left-behind", "-print"]
    assert scene.desk.machine.run(find, check=False).stdout == f"{own}/left-behind\n"


def inside(desk: Desk, program: str) -> set[str]:
    """What a program of its owner's prints among the files that the hostile datad sees."""
    enter = ["nsenter", "--mount", f"--target={desk.show('datad@hostile', 'MainPID')}"]
    person = ["setpriv", f"--reuid={USER}", f"--regid={USER}", "--clear-groups"]
    done = desk.machine.run([*enter, *person, PYTHON, "-c", program])
    return set(done.stdout.splitlines())


def test_a_token_that_was_traded_with_is_nowhere_but_where_it_was_put(scene: Scene) -> None:
    desk, machine = scene.desk, scene.desk.machine
    desk.systemctl("kill", "--signal=SEGV", "brokerd@sim")
    wait_until(lambda: desk.show("brokerd@sim", "NRestarts") == "1", "a crash, and a restart")
    wait_until(lambda: desk.show("brokerd@sim", "ActiveState") == "active", "up again")
    machine.run(["journalctl", "--sync"])
    find = ["grep", "-rlF", "--devices=skip", TOKEN, *PLACES]
    found = machine.run(find, check=False).stdout.splitlines()
    assert sorted(found) == sorted(["/opt/venue/token", scene.prey.token, scene.prey.credential])
    assert TOKEN not in machine.run(["journalctl", "--all", "--output=export"]).stdout


def test_a_token_is_in_no_environment_and_no_command_line(scene: Scene) -> None:
    text = scene.desk.machine.run(["sh", "-c", "cat /proc/[0-9]*/environ /proc/[0-9]*/cmdline"])
    assert "CREDENTIALS_DIRECTORY" in text.stdout
    assert TOKEN not in text.stdout


def test_a_token_is_in_the_memory_of_no_daemon_but_brokerd(scene: Scene) -> None:
    units = ("brokerd@sim", "emsd", "paperboi@sim", "datad@sim", "datad@hostile", "samplerd")
    pids = [scene.desk.show(unit, "MainPID") for unit in units]
    scan = [PYTHON, "-c", IN_MEMORY, TOKEN, *pids]
    assert scene.desk.machine.run(scan).stdout.split() == [pids[0]]


def test_the_memory_of_a_daemon_is_nobodys_to_dump(scene: Scene) -> None:
    units = ("brokerd@sim", "emsd", "paperboi@sim", "datad@sim", "samplerd")
    pids = [scene.desk.show(unit, "MainPID") for unit in units]
    stat = ["stat", "--format=%U", *(f"/proc/{pid}/mem" for pid in (*pids, scene.prey.person))]
    assert scene.desk.machine.run(stat).stdout.split() == [*["root"] * 5, USER]
