"""What is wrong on a machine, and what mends it."""

import stat

import pytest
from msgspec.structs import replace

from piker.core import diagnosis
from piker.core.calendars import WARN_NS, named
from piker.core.diagnosis import (
    OLDEST_NS,
    Clock,
    Finding,
    Journal,
    Namespaces,
    Place,
    Room,
    UnitFacts,
    Whose,
)

CTL = "systemctl --user"


@pytest.mark.parametrize(
    ("release", "level"),
    [
        ("6.1.0-56-amd64", "ok"),
        ("5.4", "ok"),
        ("5.3.18", "problem"),
        ("4.19.0-27-amd64", "problem"),
        ("odd", "problem"),
    ],
)
def test_a_kernel_is_to_have_what_the_suite_needs(release: str, level: str) -> None:
    finding = diagnosis.kernel(release)
    assert finding.level == level
    assert finding.text.startswith(f"Linux {release}")


@pytest.mark.parametrize(
    ("version", "level"),
    [("252.39-1~deb12u2", "ok"), ("257.13-1~deb13u1", "ok"), ("251.4", "problem"), ("", "problem")],
)
def test_a_manager_is_to_be_one_that_the_units_were_tried_on_or_newer(
    version: str, level: str
) -> None:
    assert diagnosis.systemd(version, "user").level == level


def test_nobody_to_ask_is_no_problem_where_pikerd_runs() -> None:
    assert diagnosis.no_systemd("none answers", "user", pikerd=True).level == "ok"
    finding = diagnosis.no_systemd("none answers", "user", pikerd=False)
    assert (finding.level, finding.text) == ("problem", "none answers")
    assert "piker up" in finding.mend


def test_who_does_not_linger_is_told_what_ends_at_the_logout() -> None:
    assert diagnosis.lingering("ann", lingers=True).level == "ok"
    finding = diagnosis.lingering("ann", lingers=False)
    assert (finding.level, finding.mend) == ("warning", "sudo loginctl enable-linger ann")


@pytest.mark.parametrize(
    ("name", "value", "mended"),
    [
        ("kernel.unprivileged_userns_clone", 0, "kernel.unprivileged_userns_clone=1"),
        ("user.max_user_namespaces", 0, "user.max_user_namespaces=15000"),
        (
            "kernel.apparmor_restrict_unprivileged_userns",
            1,
            "kernel.apparmor_restrict_unprivileged_userns=0",
        ),
    ],
)
def test_what_switches_user_namespaces_off_is_named_and_switched_on_for_good(
    name: str, value: int, mended: str
) -> None:
    finding = diagnosis.namespaces(Namespaces(settings={name: value}, works=False))
    assert finding.level == "problem"
    assert finding.text.startswith(f"switched off by {name} = {value}")
    assert finding.mend.startswith(f"echo {mended} | sudo tee -a /etc/sysctl.d/")


@pytest.mark.parametrize(
    ("enabled", "level"), [("enabled", "ok"), ("disabled", "warning"), ("masked", "warning")]
)
def test_who_would_not_come_back_after_a_boot_is_told_how(enabled: str, level: str) -> None:
    finding = diagnosis.boot(enabled, "sudo systemctl")
    assert finding.level == level
    assert finding.mend.startswith("sudo systemctl enable piker-resume") == (level != "ok")


def test_user_namespaces_that_can_be_made_are_well_whatever_the_settings_say() -> None:
    settings = {"kernel.apparmor_restrict_unprivileged_userns": 1}
    assert diagnosis.namespaces(Namespaces(settings=settings, works=True)).level == "ok"
    finding = diagnosis.namespaces(Namespaces(settings={}, works=False, said="no room"))
    assert (finding.level, "(no room)" in finding.text) == ("problem", True)


PLACE = Place(path="/p", mode=stat.S_IFDIR | 0o700, owner="ann", expected_owner="ann", private=True)


@pytest.mark.parametrize(
    ("place", "problem", "mend"),
    [
        (
            replace(PLACE, mode=stat.S_IFDIR | 0o750),
            "others may get at it (mode 0750): /p",
            "chmod go= /p",
        ),
        (
            replace(PLACE, mode=stat.S_IFDIR | 0o775, private=False),
            "others may write to it (mode 0775): /p",
            "chmod go-w /p",
        ),
        (
            replace(PLACE, mode=stat.S_IFDIR | 0o755, owner="root", expected_owner="root"),
            "others may get at it (mode 0755): /p",
            "sudo chmod go= /p",
        ),
        (replace(PLACE, owner="root"), "expected one of ann, was of root: /p", "sudo chown ann /p"),
        (
            replace(PLACE, mode=stat.S_IFLNK | 0o777),
            "expected no link, was one: /p",
            "move what it leads to here: ls -l /p",
        ),
        (replace(PLACE, mode=None, needed=True), "/p is not there", "log in anew"),
    ],
)
def test_a_place_that_others_get_at_or_own_is_named_and_mended(
    place: Place, problem: str, mend: str
) -> None:
    expected = Finding(check="permissions", level="problem", text=problem, mend=mend)
    assert diagnosis.places([PLACE, place]) == [expected]


def test_places_that_are_right_or_not_there_are_well() -> None:
    readable = replace(PLACE, mode=stat.S_IFDIR | 0o755, private=False)
    (finding,) = diagnosis.places([PLACE, readable, replace(PLACE, mode=None)])
    assert (finding.level, finding.text) == ("ok", "right at 2 places")


def test_a_users_missing_accounts_are_named() -> None:
    assert diagnosis.accounts_of_the_system([]).level == "ok"
    finding = diagnosis.accounts_of_the_system(["piker-emsd", "piker-view"])
    assert (finding.level, finding.text) == ("problem", "not there: piker-emsd, piker-view")


@pytest.mark.parametrize(
    ("user", "groups", "level", "text"),
    [
        ("root", (), "ok", "root may trade"),
        ("ann", ("piker-trade",), "ok", "ann may trade"),
        ("ann", ("piker-view",), "ok", "ann may watch, and not trade"),
        ("ann", ("ann",), "warning", "ann is in neither piker-view (may watch) nor"),
    ],
)
def test_who_may_not_connect_is_told_which_groups_may(
    user: str, groups: tuple[str, ...], level: str, text: str
) -> None:
    finding = diagnosis.membership(user, groups)
    assert finding.level == level
    assert finding.text.startswith(text)


def test_a_unit_that_failed_is_a_problem_and_one_that_runs_again_a_warning() -> None:
    facts = [
        UnitFacts(unit="emsd.socket", active="failed", failure="too often"),
        UnitFacts(unit="datad@sim.service", active="active", failure="it was killed by SIGSEGV"),
        UnitFacts(unit="samplerd.service", active="active"),
    ]
    failed, before = diagnosis.units(facts, CTL)
    assert failed == Finding(
        check="units",
        level="problem",
        text="emsd.socket has failed: too often",
        mend=f"{CTL} reset-failed emsd.socket; {CTL} start emsd.socket",
    )
    assert (before.level, before.mend) == ("warning", f"{CTL} status datad@sim.service")
    assert diagnosis.units(facts[2:], CTL)[0].text == "1 unit, none has failed"


def test_a_daemon_of_another_version_is_to_be_restarted() -> None:
    facts = [
        UnitFacts(unit="emsd.service", active="active", version="1.0"),
        UnitFacts(unit="datad@sim.service", active="active", version="1.1"),
        UnitFacts(unit="samplerd.service", active="inactive", needs_reload=True),
    ]
    older, changed = diagnosis.versions(facts, "1.1", CTL)
    assert older.text == "emsd.service runs version 1.0, installed is 1.1"
    assert older.mend == f"{CTL} restart emsd.service"
    assert (changed.text.startswith("samplerd.service: "), changed.mend) == (
        True,
        f"{CTL} daemon-reload",
    )
    assert diagnosis.versions(facts[1:2], "1.1", CTL)[0].level == "ok"


ROOM = Room(path="/s", free_bytes=10**10, free_files=10, has_journal=True, ballast_held=True)


@pytest.mark.parametrize(
    ("facts", "level", "text"),
    [
        (ROOM, "ok", "10.0 GB free at /s; emsd's ballast is held"),
        (replace(ROOM, has_journal=False, ballast_held=False), "ok", "10.0 GB free at /s"),
        (
            replace(ROOM, free_bytes=10**8),
            "warning",
            "nearly full: 100 MB free at /s; emsd's ballast is held",
        ),
        (
            replace(ROOM, free_bytes=10**6),
            "problem",
            "full: 1 MB free at /s; emsd's ballast is held",
        ),
        (
            replace(ROOM, free_bytes=0, ballast_held=False),
            "problem",
            "full and new orders are refused: 0 MB free at /s; emsd's ballast is spent",
        ),
        (replace(ROOM, free_files=0), "problem", "no file can be made at /s: no inode is free"),
    ],
)
def test_a_full_disk_is_told_with_what_the_ballast_still_gives(
    facts: Room, level: str, text: str
) -> None:
    finding = diagnosis.room(facts)
    assert (finding.level, finding.text) == (level, text)


CLOCK = Clock(now_ns=OLDEST_NS + 10**18, synchronised=True, newest_event_ns=OLDEST_NS)


@pytest.mark.parametrize(
    ("facts", "level", "text"),
    [
        (CLOCK, "ok", "synchronised"),
        (replace(CLOCK, synchronised=None), "ok", "whether it is synchronised is not known"),
        (replace(CLOCK, synchronised=False), "warning", "it is not synchronised with any other"),
        (replace(CLOCK, now_ns=OLDEST_NS - 1), "problem", "it says a time before 2020"),
        (
            replace(CLOCK, newest_event_ns=CLOCK.now_ns + 60 * 10**9),
            "problem",
            "it was set back: the newest order event is 60 s ahead of it",
        ),
        (replace(CLOCK, newest_event_ns=CLOCK.now_ns + 10**9), "ok", "synchronised"),
    ],
)
def test_a_clock_is_wrong_that_says_the_past(facts: Clock, level: str, text: str) -> None:
    finding = diagnosis.clock(facts)
    assert (finding.level, finding.text) == (level, text)


JOURNAL = Journal(persistent=True, root=False, groups=("ann",), refused="")
KEEP = "sudo mkdir -p /var/log/journal; sudo systemctl restart systemd-journald"
JOIN = "sudo usermod -aG systemd-journal ann, then log in anew"


@pytest.mark.parametrize(
    ("facts", "whose", "level", "mend"),
    [
        (JOURNAL, "user", "ok", ""),
        (JOURNAL, "system", "problem", JOIN),
        (replace(JOURNAL, groups=("adm",)), "system", "ok", ""),
        (replace(JOURNAL, root=True), "system", "ok", ""),
        (replace(JOURNAL, persistent=False), "user", "warning", KEEP),
        (replace(JOURNAL, persistent=False, refused="no"), "user", "problem", KEEP),
        (replace(JOURNAL, refused="no"), "user", "problem", JOIN),
        (replace(JOURNAL, refused="no", root=True), "system", "problem", KEEP),
    ],
)
def test_a_log_that_cannot_be_read_is_kept_or_its_group_joined(
    facts: Journal, whose: Whose, level: str, mend: str
) -> None:
    finding = diagnosis.journal(facts, "ann", whose)
    assert (finding.level, finding.mend) == (level, mend)


@pytest.mark.parametrize(
    ("problem", "kept", "level"),
    [("", [], "ok"), ("", ["a.b.sim"], "ok"), ("none", [], "ok"), ("none", ["a.b.sim"], "warning")],
)
def test_who_keeps_markets_without_what_keeps_history_is_told_what_to_install(
    problem: str, kept: list[str], level: str
) -> None:
    finding = diagnosis.history(problem, kept)
    assert (finding.level, problem in finding.text) == (level, True)
    assert ("piker-history" in finding.mend) == (level == "warning")


def test_a_broken_configuration_is_told_as_it_was_refused() -> None:
    assert diagnosis.configuration("", ["/a", "/b"]).text == "/a, /b"
    finding = diagnosis.configuration("expected a number", [])
    assert (finding.level, finding.text) == ("problem", "expected a number")


def test_a_live_account_without_its_credential_is_told_how_to_set_it() -> None:
    (missing,) = diagnosis.credentials({"sim token": "it is not set"}, ["sim.main"], "piker creds")
    assert missing == Finding(
        check="credentials",
        level="problem",
        text="sim: token: it is not set",
        mend="piker creds set sim token",
    )
    assert diagnosis.credentials({}, ["sim.main"], "piker creds")[0].text == "set for sim.main"
    assert diagnosis.credentials({}, [], "piker creds")[0].text == "none is needed"


def test_what_could_not_be_looked_at_is_not_taken_to_be_well() -> None:
    assert diagnosis.unknown("disk", "no answer").level == "warning"


def test_a_calendar_that_ends_is_said_two_months_before() -> None:
    end_ns = named("XSHG").known[1]
    assert diagnosis.calendars(end_ns - WARN_NS).level == "warning"
    assert "XSHG until 20" in diagnosis.calendars(end_ns + 1).text
    assert diagnosis.calendars(OLDEST_NS).level == "ok"
