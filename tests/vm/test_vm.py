"""What only a machine with a kernel of its own shows. `make test-vm`; not among the other tests.

Each test asserts a fact that the machine found out: see tests/vm/inside. All are asked on both
releases, and most of both managers.
"""

import re
from pathlib import Path

import pytest

from tests.system.attacking import leftovers
from tests.vm.conftest import Reported

ROOT = Path(__file__).parents[2]
MANUAL = ROOT / "docs" / "man" / "piker-security.7.scd"
UNITS = ROOT / "units"
DAEMONS = {
    "samplerd": "samplerd",
    "datad@replay": "datad@",
    "emsd": "emsd",
    "paperboi@replay": "paperboi@",
    "brokerd@sim": "brokerd@",
}
"""Each daemon, and its unit's file."""
ORDER_PATH = {"emsd", "brokerd@sim"}

VERSIONS = {6.1: "252", 6.12: "257"}
"""The kernels of the two releases, and their systemd."""
FACTORS = {"M": 1 << 20, "G": 1 << 30}
DIRECTIVES = {"memory.max": "MemoryMax", "memory.high": "MemoryHigh", "pids.max": "TasksMax"}
MOST = {"user": 1.4, "system": 0.5}
"""How exposed a daemon may be, of 10."""


def said_by_unit(daemon: str, directive: str) -> str:
    """What a unit's file limits a daemon to, as the kernel writes it: in bytes, or "max"."""
    text = (UNITS / f"{DAEMONS[daemon]}.service").read_text()
    found = re.search(rf"^{directive}=(\d+)([MG]?)$", text, re.MULTILINE)
    return str(int(found[1]) * FACTORS.get(found[2], 1)) if found else "max"


def test_the_kernel_and_systemd_are_debians(reported: Reported) -> None:
    versions = reported.fact("versions", "machine")
    kernel = re.fullmatch(r"(\d+\.\d+)\.\d+(-|\+deb13-).*cloud-amd64", versions["kernel"])
    assert kernel, versions
    assert versions["systemd"].split()[1] == VERSIONS[float(kernel[1])]


def test_every_daemon_answers(reported: Reported, manager: str) -> None:
    """brokerd, that it has no credential; with one it is under attack."""
    health = reported.fact("daemons", manager)
    assert health == {**dict.fromkeys(DAEMONS, "running"), "brokerd@sim": "failed"}


def test_no_unit_failed(reported: Reported, manager: str) -> None:
    assert reported.fact("failed", manager) == ["running"]


@pytest.mark.parametrize("daemon", DAEMONS)
@pytest.mark.parametrize("limit", DIRECTIVES)
def test_the_kernel_keeps_a_daemon_to_what_its_unit_says(
    reported: Reported, manager: str, daemon: str, limit: str
) -> None:
    kept = reported.fact("limits", manager)[daemon]
    assert kept[limit] == said_by_unit(daemon, DIRECTIVES[limit])


def test_no_daemon_may_have_all_memory_or_all_processes() -> None:
    for daemon in DAEMONS:
        assert said_by_unit(daemon, "MemoryMax") != "max"
        assert said_by_unit(daemon, "TasksMax") != "max"


def test_a_datad_over_its_limit_is_killed_alone_and_comes_back(
    reported: Reported, manager: str
) -> None:
    became = reported.fact("over_its_limit", manager)
    assert became["ended"] == ["datad@replay"]
    assert "oom-kill" in became["results"]
    assert became["order"] == "held"


def test_out_of_memory_the_order_path_lives_on(reported: Reported, manager: str) -> None:
    became = reported.fact("out_of_memory", manager)
    assert "datad@replay" in became["ended"]
    assert not ORDER_PATH & set(became["ended"])


def test_out_of_memory_the_kernel_begins_with_what_is_missed_least(
    reported: Reported, manager: str
) -> None:
    killed = reported.fact("out_of_memory", manager)["killed_in_order"]
    assert killed
    assert killed == ["datad@replay", "samplerd", "paperboi@replay"][: len(killed)]


def test_the_kernel_would_end_the_order_path_last(reported: Reported, manager: str) -> None:
    scores = reported.fact("oom_scores", manager)
    others = [score for unit, score in scores.items() if unit not in ORDER_PATH]
    assert max(scores[unit] for unit in ORDER_PATH) < min(others)
    assert max(scores, key=lambda unit: scores[unit]) == "datad@replay"


@pytest.mark.parametrize("daemon", DAEMONS)
def test_a_daemon_of_a_user_is_in_a_user_namespace_and_one_of_the_system_is_not(
    reported: Reported, manager: str, daemon: str
) -> None:
    """There it would not see who its peers are, and needn't be: it has a user of its own."""
    around = reported.fact("surroundings", manager)[daemon]
    assert around["own_user_namespace"] == (manager == "user")


@pytest.mark.parametrize("daemon", DAEMONS)
def test_a_daemon_has_no_network_but_its_own_loopback(
    reported: Reported, manager: str, daemon: str
) -> None:
    assert list(reported.fact("surroundings", manager)[daemon]["network"]) == ["lo"]
    seen = reported.fact("sandboxes", manager)[daemon.partition("@")[0]]
    assert seen["interfaces"] == ["lo"]
    assert seen["internet"] == "OSError"


@pytest.mark.parametrize("daemon", DAEMONS)
def test_a_daemon_gets_at_no_log_of_the_kernel(
    reported: Reported, manager: str, daemon: str
) -> None:
    seen = reported.fact("sandboxes", manager)[daemon.partition("@")[0]]
    assert "" not in seen["kernel_log"].values()


@pytest.mark.parametrize("daemon", DAEMONS)
def test_a_daemon_can_not_trace_and_has_no_capability(
    reported: Reported, manager: str, daemon: str
) -> None:
    seen = reported.fact("sandboxes", manager)[daemon.partition("@")[0]]
    assert seen["ptrace"] == "PermissionError"
    status = seen["status"]
    assert (status["NoNewPrivs"], status["Seccomp"]) == ("1", "2")
    assert int(status["CapEff"], 16) == int(status["CapBnd"], 16) == 0


@pytest.mark.parametrize("daemon", DAEMONS)
def test_a_daemon_sees_who_its_peer_is(reported: Reported, manager: str, daemon: str) -> None:
    seen = reported.fact("sandboxes", manager)[daemon.partition("@")[0]]
    assert seen["peer"] == {"user": "trader", "system": "piker-emsd"}[manager]


@pytest.mark.parametrize("daemon", DAEMONS)
def test_systemd_finds_a_daemon_hardly_exposed(
    reported: Reported, manager: str, daemon: str
) -> None:
    assert reported.fact("exposure", manager)[daemon] <= MOST[manager]


def test_the_doctor_finds_no_problem_and_all_well_with_kernel_and_systemd(
    reported: Reported, manager: str
) -> None:
    found = {each["check"]: each for each in reported.fact("doctor", manager)}
    assert [each for each in found.values() if each["level"] == "problem"] == []
    assert found["kernel"]["level"] == found["systemd"]["level"] == "ok"
    assert reported.fact("versions", "machine")["kernel"] in found["kernel"]["text"]


def test_after_a_reboot_emsd_is_there_for_what_is_armed(reported: Reported, manager: str) -> None:
    assert reported.fact("after_a_reboot", manager) == ["held"]


def test_an_order_that_was_acknowledged_survives_a_power_cut(
    reported: Reported, manager: str
) -> None:
    assert reported.fact("after_a_power_cut", manager) == ["held", "held"]


def test_a_hostile_datad_gets_what_the_manual_says_and_no_more(
    reported: Reported, manager: str
) -> None:
    part = {"user": "User mode", "system": "System mode"}[manager]
    assert set(reported.fact("attacks", manager)) == leftovers(MANUAL, part)


def test_the_machine_came_to_its_end(reported: Reported) -> None:
    assert reported.fact("end", "machine") == "off"
