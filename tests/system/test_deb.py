"""The package: installed, upgraded, removed and purged on a real systemd."""

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from deb import Package, next_version
from image import CHECKOUT
from machine import UID, USER, Machine

import piker
from piker import log
from tests.system.dialogue import Dialogue

pytestmark = pytest.mark.system

RELEASES = ["bookworm", "trixie"]
both = pytest.mark.parametrize("release", RELEASES)

MAX_PACKAGE_MB = 22
MAX_INSTALLED_MB = 120
MAX_HISTORY_MB = 160
"""Installed, of piker-history."""

LISTENING = ["samplerd.socket", "emsd.socket", "emsd-trade.socket"]
OF_USERS = [*LISTENING, "piker-resume.service"]
RUNNING = ["samplerd", "datad@replay", "paperboi@replay", "emsd"]
SOCKETS = "/run/user/1000/piker"
PATHS = [f"{SOCKETS}/{name}.sock" for name in ("emsd/view", "datad/replay", "samplerd/samplerd")]
SHARED = {"/usr/share/polkit-1/rules.d"}
"""A directory that is also polkit's, and as it wants it."""

NOTES = "/run/piker-upgrade"
"""What preinst notes for postinst."""

BROKEN = "[Service]\nExecStart=\nExecStart=/bin/false\nRestart=no\n"


@pytest.fixture
def following(package: Package, tmp_path: Path) -> Path:
    """The package that would come after this one."""
    return next_version(package.fast, tmp_path)


@pytest.fixture
def bare(package: Package) -> Iterator[Machine]:
    """A machine on which piker never was."""
    with Machine([package.image.root]) as machine:
        yield machine


@pytest.fixture
def workshop(package: Package) -> Iterator[Machine]:
    """A machine with what builds and tests packages, and without piker."""
    with Machine([package.image.build_root]) as machine:
        yield machine


def start_all(machine: Machine) -> None:
    """Start daemons in both managers."""
    machine.systemctl_user("start", *RUNNING)
    machine.systemctl("start", *RUNNING)


def processes_of(machine: Machine) -> dict[str, str]:
    """The main processes of what runs, by manager and unit."""
    of_user = {f"user {unit}": machine.show(unit, "MainPID") for unit in RUNNING}
    of_system = {f"system {unit}": machine.show_system(unit, "MainPID") for unit in RUNNING}
    return of_user | of_system


def inodes(machine: Machine, paths: list[str] = PATHS) -> str:
    """Which sockets these are: a path that was bound anew has another one."""
    return machine.run(["stat", "--format=%n %i", *paths]).stdout


def remaining(machine: Machine) -> list[str]:
    """Processes of piker."""
    return [line for line in machine.processes() if "piker" in line]


def field(package: Path, name: str) -> str:
    """What a package says of itself."""
    read = ["dpkg-deb", "--field", str(package), name]
    return subprocess.check_output(read, text=True).strip()


@both
def test_lintian_has_nothing_to_say(package: Package) -> None:
    package.lint(package.fast, package.history)


@both
def test_it_is_small(package: Package) -> None:
    assert package.small.stat().st_size <= MAX_PACKAGE_MB * 1e6
    assert int(field(package.small, "Installed-Size")) * 1024 <= MAX_INSTALLED_MB * 1e6


@both
def test_what_keeps_history_is_apart_and_of_the_same_version(package: Package) -> None:
    assert int(field(package.history, "Installed-Size")) * 1024 <= MAX_HISTORY_MB * 1e6
    version = field(package.fast, "Version")
    assert f"piker (= {version})" in field(package.history, "Depends").split(", ")
    assert "piker-history" in field(package.fast, "Suggests").split(", ")


@both
def test_it_depends_on_the_python_that_it_was_built_with(package: Package, release: str) -> None:
    python = {"bookworm": "python3.11", "trixie": "python3.13"}[release]
    depends = field(package.fast, "Depends").split(", ")
    assert {python, "systemd (>= 252)", "tzdata"} < set(depends)


def test_a_release_has_a_higher_version_than_the_one_before() -> None:
    versions = [f"{piker.__version__}~deb12u1", "lt", f"{piker.__version__}~deb13u1"]
    subprocess.run(["dpkg", "--compare-versions", *versions], check=True)


def test_its_changelog_has_the_version_that_piker_says() -> None:
    changelog = (CHECKOUT / "debian/changelog").read_text()
    assert changelog.startswith(f"piker ({piker.__version__}) ")


@both
def test_what_it_installs_is_roots_and_nobody_elses_to_write(machine: Machine) -> None:
    listed = machine.run(["dpkg", "--listfiles", "piker"]).stdout.splitlines()
    files = [path for path in listed if path not in SHARED]
    wrong = ["(", "-not", "-user", "root", "-o", "-not", "-group", "root", "-o", "-perm", "/7022"]
    find = ["find", *files, "-maxdepth", "0", "-not", "-type", "l", *wrong, ")"]
    assert machine.run(find).stdout == ""
    assert machine.run(["dpkg", "--verify", "piker"]).stdout == ""


@both
def test_it_brings_program_pages_completion_catalog_and_configuration(machine: Machine) -> None:
    assert machine.run(["piker", "--version"], user=USER).stdout == f"piker {piker.__version__}\n"
    sources = [path.stem for path in (CHECKOUT / "docs/man").glob("*.scd")]
    for name in ["piker.1", *sources]:
        assert machine.exists(f"/usr/share/man/man{name[-1]}/{name}.gz")
    assert machine.exists("/usr/share/bash-completion/completions/piker")
    assert log.MARKET_STALE in machine.run(["journalctl", "--list-catalog"]).stdout
    conffiles = machine.run(["dpkg-query", "--show", "--showformat=${Conffiles}", "piker"]).stdout
    assert conffiles.split()[0] == "/etc/piker/piker.toml"


@both
def test_its_libraries_work_as_they_are_left(machine: Machine) -> None:
    program = "import lxml.etree, msgspec, numpy, pystemd.dbuslib, rapidfuzz.fuzz, rich.table, trio"
    program += "; print(numpy.linalg.solve(numpy.eye(3) * 2, numpy.ones(3)).sum())"
    assert machine.run(["/usr/lib/piker/bin/python", "-I", "-c", program]).stdout == "1.5\n"


@both
def test_sockets_listen_for_users_and_nothing_for_the_system(machine: Machine) -> None:
    enabled = machine.systemctl_user("is-enabled", *OF_USERS).split()
    assert enabled == ["enabled"] * len(OF_USERS)
    assert machine.systemctl_user("is-active", *LISTENING).split() == ["active"] * len(LISTENING)
    disabled = machine.systemctl("is-enabled", *OF_USERS, check=False).split()
    assert disabled == ["disabled"] * len(OF_USERS)
    running = machine.systemctl(
        "list-units", "--plain", "--no-legend", "*d@*", "emsd*", "samplerd*"
    )
    assert "socket" not in running


def test_a_first_installation_starts_and_restarts_nothing(bare: Machine, package: Package) -> None:
    said = bare.install(package.fast)
    assert remaining(bare) == []
    assert bare.systemctl_user("is-active", *LISTENING, check=False).split() == ["inactive"] * 3
    assert bare.systemctl("is-system-running").strip() == "running"
    assert "failed" not in said


@both
def test_an_upgrade_restarts_what_runs_and_its_sockets_stay(
    machine: Machine, following: Path
) -> None:
    start_all(machine)
    processes, sockets = processes_of(machine), inodes(machine)
    said = machine.install(following)
    after = processes_of(machine)
    assert [name for name in after if after[name] in {"0", processes[name]}] == []
    assert inodes(machine) == sockets
    assert "piker: " not in said
    assert machine.run(["piker", "--version"], user=USER).stdout != f"piker {piker.__version__}\n"


def test_an_upgrade_starts_nothing_that_did_not_run(machine: Machine, following: Path) -> None:
    machine.systemctl_user("start", "samplerd")
    machine.install(following)
    assert [machine.show(unit, "MainPID") for unit in RUNNING[1:]] == ["0", "0", "0"]


def test_an_upgrade_ends_emsd_before_and_starts_it_after_the_daemons_of_its_orders(
    machine: Machine, following: Path
) -> None:
    start_all(machine)
    machine.install(following)
    told = machine.journal_of_user()
    steps = re.findall(r"^(St\w+ing) (emsd|paperboi@replay)\.service", told, re.MULTILINE)
    assert steps[-4:] == [
        ("Stopping", "emsd"),
        ("Stopping", "paperboi@replay"),
        ("Starting", "paperboi@replay"),
        ("Starting", "emsd"),
    ]


def test_a_connection_in_a_sockets_queue_is_answered_after_an_upgrade(
    machine: Machine, following: Path
) -> None:
    machine.systemctl_user("start", "datad@replay")
    machine.systemctl_user("kill", "--signal=STOP", "datad@replay")
    (connection,) = machine.connect(f"{SOCKETS}/datad/replay.sock")
    with Dialogue(connection) as talk:
        talk.say("piker.Data.Search", {"pattern": "eurusd"})
        machine.install(following)
        assert "error" not in talk.hear()


def listen_elsewhere(root: Path) -> None:
    """The next version's samplerd.socket has another path."""
    for unit in root.glob("*/**/systemd/user/samplerd.socket"):
        unit.write_text(unit.read_text().replace("samplerd.sock\n", "elsewhere.sock\n"))


def test_an_upgrade_opens_a_socket_anew_that_listens_elsewhere_now(
    machine: Machine, package: Package, tmp_path: Path
) -> None:
    machine.systemctl_user("start", "samplerd")
    others = inodes(machine, PATHS[:1])
    machine.install(next_version(package.fast, tmp_path, listen_elsewhere))
    (connection,) = machine.connect(f"{SOCKETS}/samplerd/elsewhere.sock")
    with Dialogue(connection) as talk:
        assert "error" not in talk.ask("org.varlink.service.GetInfo", {})
    assert inodes(machine, PATHS[:1]) == others


def fail_at_first(root: Path) -> None:
    """The next version's installation ends before anything is replaced."""
    script = root / "DEBIAN/preinst"
    script.write_text(f"{script.read_text()}\nexit 1\n")


def test_an_upgrade_that_is_given_up_restarts_nothing_and_leaves_no_notes(
    machine: Machine, package: Package, tmp_path: Path
) -> None:
    start_all(machine)
    processes = processes_of(machine)
    with pytest.raises(AssertionError, match="pre-installation script"):
        machine.install(next_version(package.fast, tmp_path, fail_at_first))
    assert processes_of(machine) == processes
    assert "ok installed" in machine.run(["dpkg", "--status", "piker"]).stdout
    assert not machine.exists(NOTES)


def fail_before_sockets_are_opened(root: Path) -> None:
    """The next version listens elsewhere, and its installation fails on the way to that."""
    listen_elsewhere(root)
    script = root / "DEBIAN/postinst"
    script.write_text(script.read_text().replace("each_manager renew", "exit 1"))


def test_an_upgrade_after_one_that_failed_opens_such_a_socket_anew(
    machine: Machine, package: Package, tmp_path: Path
) -> None:
    machine.systemctl_user("start", "samplerd")
    with pytest.raises(AssertionError, match="post-installation script"):
        machine.install(next_version(package.fast, tmp_path, fail_before_sockets_are_opened))
    machine.install(next_version(package.fast, tmp_path, listen_elsewhere))
    (connection,) = machine.connect(f"{SOCKETS}/samplerd/elsewhere.sock")
    with Dialogue(connection) as talk:
        assert "error" not in talk.ask("org.varlink.service.GetInfo", {})
    assert not machine.exists(NOTES)


def test_a_daemon_that_does_not_come_back_fails_neither_the_upgrade_nor_the_others(
    machine: Machine, following: Path
) -> None:
    start_all(machine)
    machine.push(f"/home/{USER}/.config/systemd/user/datad@.service.d/broken.conf", BROKEN)
    processes = processes_of(machine)
    said = machine.install(following)
    after = processes_of(machine)
    assert "piker: " in said
    assert after["user datad@replay"] == "0"
    assert [name for name in after if after[name] == processes[name]] == []
    assert "ok installed" in machine.run(["dpkg", "--status", "piker"]).stdout


def be_impatient(root: Path) -> None:
    """The next version's scripts wait less long for a user's manager."""
    for script in (root / "DEBIAN/preinst", root / "DEBIAN/postinst"):
        script.write_text(script.read_text().replace("PATIENCE=60", "PATIENCE=3"))


def test_a_users_manager_that_hangs_is_named_and_keeps_nobody_elses_daemons_from_being_renewed(
    machine: Machine, package: Package, tmp_path: Path
) -> None:
    start_all(machine)
    following = next_version(package.fast, tmp_path, be_impatient)
    processes = processes_of(machine)
    manager = f"user@{UID}.service"
    machine.systemctl("kill", "--kill-whom=main", "--signal=STOP", manager)
    said = machine.install(following)
    machine.systemctl("kill", "--kill-whom=main", "--signal=CONT", manager)
    assert f"piker: renew failed in the manager of user {UID}" in said
    renewed = {name for name, pid in processes_of(machine).items() if pid != processes[name]}
    assert renewed == {f"system {unit}" for unit in RUNNING}
    assert "ok installed" in machine.run(["dpkg", "--status", "piker"]).stdout
    machine.install(package.fast)
    after = processes_of(machine)
    assert [name for name in after if after[name] in {"0", processes[name]}] == []


@both
def test_a_removal_stops_everything_and_leaves_data(machine: Machine) -> None:
    start_all(machine)
    machine.run(["dpkg", "--remove", "piker"])
    assert remaining(machine) == []
    assert not machine.exists(PATHS[0])
    assert not machine.exists("/run/piker/emsd/view.sock")
    assert machine.run(["find", "/home", "-name", "journal.sqlite"]).stdout != ""
    assert machine.exists("/var/lib/piker/emsd/journal.sqlite")
    assert machine.exists("/etc/piker/piker.toml")


def test_a_purge_takes_what_is_the_systems_and_nothing_from_a_home(machine: Machine) -> None:
    machine.systemctl("enable", "datad@replay.socket", "emsd.socket")
    machine.systemctl_user("enable", "datad@replay.socket")
    machine.run(["mkdir", "-m", "0700", "/etc/piker-credentials"])
    start_all(machine)
    homes = machine.run(["find", f"/home/{USER}"]).stdout.split()
    machine.run(["dpkg", "--purge", "piker"])
    for path in ("/etc/piker", "/etc/piker-credentials", "/var/lib/piker", "/usr/lib/piker"):
        assert not machine.exists(path)
    assert machine.run(["find", "/etc/systemd", "-xtype", "l"]).stdout == ""
    lasting = [path for path in homes if not path.endswith(("-wal", "-shm", "-journal"))]
    assert set(machine.run(["find", f"/home/{USER}"]).stdout.split()) >= set(lasting)


@both
def test_nothing_is_written_where_it_is_installed(machine: Machine) -> None:
    start_all(machine)
    for user in (None, USER):
        for command in (["--help"], ["config", "check"], ["search", "eurusd"], ["status"]):
            machine.run(["piker", *command], user=user, check=False)
    listed = machine.run(["dpkg", "--listfiles", "piker"]).stdout.splitlines()
    found = machine.run(["find", "/usr/lib/piker"]).stdout.splitlines()
    assert set(found) - set(listed) == set()
    assert machine.run(["dpkg", "--verify", "piker"]).stdout == ""


@both
def test_its_own_tests_pass(workshop: Machine, package: Package) -> None:
    workshop.copy(CHECKOUT / "debian", "/var/tmp/piker/debian")
    inside = f"/var/tmp/{package.fast.name}"
    workshop.copy(package.fast, inside)
    test = ["autopkgtest", "--no-built-binaries", inside, "/var/tmp/piker/", "--", "null"]
    done = workshop.run(test, check=False, timeout_s=300)
    results = re.findall(r"^(version|units|quote) +(\w+)", done.stdout + done.stderr, re.MULTILINE)
    assert dict(results) == dict.fromkeys(("version", "units", "quote"), "PASS"), done.stderr
