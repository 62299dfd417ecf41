"""History on disk: the package that brings it, and datad's place for it in both managers."""

from pathlib import Path

import pytest
from deb import Package
from machine import USER, Machine

from tests.system.attacking import PYTHON
from tests.system.dialogue import Dialogue

pytestmark = pytest.mark.system
both = pytest.mark.parametrize("release", ["bookworm", "trixie"])

KEPT = "history/replay/eurusd.spot/1m/2026-11.parquet"
OF_THE_SYSTEM = "/var/lib/piker/datad"
PLACES = {"bookworm": f"/home/{USER}/.config", "trixie": f"/home/{USER}/.local/state"}
INSTEAD = """[Service]
Type=oneshot
Restart=no
RestartForceExitStatus=
ExecStart=
ExecStart=/usr/lib/piker/bin/python -I -m keeping %i
"""
"""A drop-in: another program in datad's unit, which is done when it ends."""
LOCATE = "import sysconfig; print(sysconfig.get_path('purelib'))"
PROBLEM = "from piker.store import parquet; print(parquet.problem())"
SOCKETS = "/run/user/1000/piker"


@pytest.fixture
def keeper(machine: Machine, package: Package) -> Machine:
    """A machine with piker-history, on which datad@replay keeps something and is done."""
    machine.install(package.history)
    program = Path(__file__).with_name("keeping.py").read_text()
    site = machine.run([PYTHON, "-I", "-c", LOCATE]).stdout.strip()
    machine.run(["tee", f"{site}/keeping.py"], text=program)
    for manager in ("user", "system"):
        directory = f"/etc/systemd/{manager}/datad@replay.service.d"
        machine.run(
            ["install", "-D", "-m", "644", "/dev/stdin", f"{directory}/keep.conf"], text=INSTEAD
        )
    machine.systemctl("daemon-reload")
    machine.systemctl_user("daemon-reload")
    return machine


def place_of_user(release: str) -> str:
    """Where a user's datads have their state; on systemd 252 where configuration is."""
    return f"{PLACES[release]}/piker-datad"


def owner(machine: Machine, *found: str) -> list[str]:
    """Whose these are, and who else may do what."""
    return machine.run(["stat", "-c", "%U %a", *found]).stdout.splitlines()


def pids(machine: Machine) -> list[str]:
    """The datads of both managers."""
    unit = "datad@replay"
    return [machine.show(unit, "MainPID"), machine.show_system(unit, "MainPID")]


@both
def test_a_users_datad_reads_from_its_sandbox_what_it_kept_on_disk(
    keeper: Machine, release: str
) -> None:
    keeper.systemctl_user("start", "datad@replay")
    place = place_of_user(release)
    private = owner(keeper, f"{place}/history/replay", f"{place}/{KEPT}")
    assert private == [f"{USER} 700", f"{USER} 600"]


@both
def test_the_systems_datad_reads_from_its_sandbox_what_it_kept_on_disk(keeper: Machine) -> None:
    keeper.systemctl("start", "datad@replay")
    found = owner(keeper, f"{OF_THE_SYSTEM}/history/replay", f"{OF_THE_SYSTEM}/{KEPT}")
    assert found == ["piker-datad 700", "piker-datad 600"]


@both
def test_history_may_lie_on_another_disk(keeper: Machine, release: str) -> None:
    place = place_of_user(release)
    keeper.run(["install", "-d", "-o", USER, "/mnt/large", place.rpartition("/")[0]])
    keeper.run(["ln", "-s", "/mnt/large", place], user=USER)
    keeper.systemctl_user("start", "datad@replay")
    assert keeper.exists(f"/mnt/large/{KEPT}")


@both
def test_without_piker_history_a_datad_works_and_knows_what_is_missing(machine: Machine) -> None:
    machine.systemctl_user("start", "datad@replay")
    with Dialogue(*machine.connect(f"{SOCKETS}/datad/replay.sock")) as talk:
        assert "error" not in talk.ask("piker.Data.Search", {"pattern": "eurusd"})
    said = machine.run([PYTHON, "-I", "-c", PROBLEM]).stdout
    assert said == "nothing is kept on disk: the package piker-history isn't installed\n"


@both
def test_a_datad_that_runs_is_started_anew_when_piker_history_comes_and_goes(
    machine: Machine, package: Package
) -> None:
    machine.systemctl_user("start", "datad@replay")
    machine.systemctl("start", "datad@replay")
    without = pids(machine)
    machine.install(package.history)
    having = pids(machine)
    assert machine.run([PYTHON, "-I", "-c", PROBLEM]).stdout == "\n"
    machine.run(["dpkg", "--remove", "piker-history"])
    assert len({*without, *having, *pids(machine)} - {"0"}) == 6


def test_what_is_on_disk_outlives_the_package(keeper: Machine) -> None:
    keeper.systemctl_user("start", "datad@replay")
    keeper.systemctl("start", "datad@replay")
    keeper.run(["dpkg", "--purge", "piker-history"])
    for place in (OF_THE_SYSTEM, place_of_user("bookworm")):
        assert keeper.exists(f"{place}/{KEPT}")


def test_a_processor_that_polars_is_not_built_for_is_refused(
    machine: Machine, package: Package
) -> None:
    old = "flags\t\t: fpu sse sse2 ssse3 cx16 sse4_1 sse4_2 movbe popcnt avx\n"
    machine.run(["tee", "/run/cpuinfo"], text=old)
    machine.run(["mount", "--bind", "/run/cpuinfo", "/proc/cpuinfo"])
    with pytest.raises(AssertionError, match="lacks what polars is built for: pni avx2 fma"):
        machine.install(package.history)
    assert machine.run([PYTHON, "-I", "-c", PROBLEM]).stdout != "\n"
