"""What is wrong on a machine that is to run the suite, and what mends it: facts in, findings out.

Each function judges one thing. What mends it is a command that can be copied, or a short sentence.
"""

import re
import stat
from collections.abc import Iterable, Mapping
from typing import Literal

from msgspec import Struct

from piker.core.calendars import running_out

Level = Literal["ok", "warning", "problem"]
Whose = Literal["user", "system"]

LEAST_KERNEL = (5, 4)
"""F_SEAL_FUTURE_WRITE, by which readers can't write to bars, is of 5.1 (fcntl(2)); P_PIDFD, by
which pikerd waits for its processes, of 5.4 (waitid(2)). The sandbox needs nothing newer."""
LEAST_SYSTEMD = 252
"""Debian 12's, the oldest that the units were tried on. LoadCredentialEncrypted= is of 250
(systemd.exec(5)); older ones than that have no fall-back to SetCredential=."""
OLDEST_NS = 1_577_836_800 * 10**9
"""2020-01-01, UTC: no clock that is right says less."""
STEPPED_NS = 5 * 10**9
"""So far a clock may be behind the newest order event and still have been set a little back."""
ROOM, LITTLE_ROOM = 32 * 2**20, 512 * 2**20
"""Bytes: what emsd needs to take up its ballast again, and what is soon used up."""
SWITCHES = {
    "kernel.unprivileged_userns_clone": (0, 1),
    "user.max_user_namespaces": (0, 15_000),
    "kernel.apparmor_restrict_unprivileged_userns": (1, 0),
}
"""By what user namespaces are switched off, with the value that does it and one that doesn't: the
first is Debian's, the last Ubuntu's, see sysctl(8), user_namespaces(7), apparmor(7)."""
JOURNAL_GROUPS = ("systemd-journal", "adm")
"""Who is in one of them reads every journal: journalctl(1)."""


class Finding(Struct, frozen=True, kw_only=True):
    """One thing that was looked at."""

    check: str
    level: Level
    text: str
    mend: str = ""
    """What to do about it; nothing where all is well."""


class Namespaces(Struct, frozen=True, kw_only=True):
    """What the kernel lets an ordinary user do; its settings by name, as far as it has them."""

    settings: Mapping[str, int]
    works: bool
    """Whether it was possible when it was tried."""
    said: str = ""


class Place(Struct, frozen=True, kw_only=True):
    """A file or a directory; mode is None where there is none."""

    path: str
    mode: int | None
    owner: str = ""
    expected_owner: str
    private: bool
    """Nobody else may look in; else nobody else may write."""
    needed: bool = False


class UnitFacts(Struct, frozen=True, kw_only=True):
    """A unit, and the version that answers for it, if it was asked."""

    unit: str
    active: str
    failure: str = ""
    needs_reload: bool = False
    version: str = ""


class Room(Struct, frozen=True, kw_only=True):
    """A file system; and whether there is a journal on it, with the ballast beside it."""

    path: str
    free_bytes: int
    free_files: int
    has_journal: bool
    ballast_held: bool


class Clock(Struct, frozen=True, kw_only=True):
    """What the clock says. None: not known."""

    now_ns: int
    synchronised: bool | None
    newest_event_ns: int | None


class Journal(Struct, frozen=True, kw_only=True):
    """Where the log is kept, and whether the person who asks can read it."""

    persistent: bool
    root: bool
    groups: tuple[str, ...]
    refused: str
    """What journalctl said when it was tried, if it couldn't."""


def kernel(release: str) -> Finding:
    """Is it new enough?"""
    text = f"Linux {release}"
    if _numbers(release) < LEAST_KERNEL:
        least = ".".join(map(str, LEAST_KERNEL))
        return _problem(
            "kernel", f"{text}, expected {least} or newer", "sudo apt full-upgrade, then reboot"
        )
    return _ok("kernel", text)


def systemd(version: str, whose: Whose) -> Finding:
    """Is the manager new enough?"""
    text = f"{version}, the manager of the {whose}"
    if _numbers(version)[:1] < (LEAST_SYSTEMD,):
        expected = f"{text}, expected {LEAST_SYSTEMD} or newer"
        return _problem("systemd", expected, "upgrade to Debian 12 or newer")
    return _ok("systemd", text)


def no_systemd(problem: str, whose: Whose, *, pikerd: bool) -> Finding:
    """Nobody to ask: that is all right where pikerd runs the suite."""
    if pikerd:
        return _ok("systemd", "not asked: pikerd runs the suite here")
    by_hand = "log in anew, or run `piker up`, which needs no systemd"
    mend = by_hand if whose == "user" else "boot with systemd, or use pikerd: piker up"
    return _problem("systemd", problem, mend)


def lingering(user: str, *, lingers: bool) -> Finding:
    """Does what runs for a user outlive their logging out?"""
    if lingers:
        return _ok("lingering", f"daemons of {user} outlive the logout")
    text = f"daemons of {user} end at the logout, and with them what dark orders and alerts do"
    return _warning("lingering", text, f"sudo loginctl enable-linger {user}")


def boot(enabled: str, systemctl: str) -> Finding:
    """Is what is armed looked after again after a boot or a login?"""
    if not enabled:
        return unknown("boot", "is piker-resume enabled?", f"{systemctl} is-enabled piker-resume")
    if enabled == "enabled":
        return _ok("boot", "piker-resume brings emsd back if something is armed or open")
    text = f"piker-resume is {enabled}: after a boot nobody looks after what is armed or open"
    return _warning("boot", text, f"{systemctl} enable piker-resume emsd.socket emsd-trade.socket")


def namespaces(facts: Namespaces) -> Finding:
    """Can a user manager set up a sandbox?"""
    if facts.works:
        return _ok("user namespaces", "they can be made")
    for name, (off, on) in SWITCHES.items():
        if facts.settings.get(name) == off:
            text = f"switched off by {name} = {off}: no daemon's sandbox starts"
            return _problem("user namespaces", text, _set_for_good(f"{name}={on}"))
    text = f"they can't be made ({facts.said or 'no reason given'}): no daemon's sandbox starts"
    return _problem("user namespaces", text, "use the system's daemons: piker --system")


def places(facts: Iterable[Place]) -> list[Finding]:
    """Is each whose it must be, and closed to the others?"""
    facts = list(facts)
    wrong = [finding for each in facts if (finding := _place(each))]
    there = sum(each.mode is not None for each in facts)
    return wrong or [_ok("permissions", f"right at {_counted(there, 'place')}")]


def _place(place: Place) -> Finding | None:
    if place.mode is None:
        text = f"{place.path} is not there"
        return _problem("permissions", text, "log in anew") if place.needed else None
    if stat.S_ISLNK(place.mode):
        text = f"expected no link, was one: {place.path}"
        return _problem("permissions", text, f"move what it leads to here: ls -l {place.path}")
    if place.owner != place.expected_owner:
        text = f"expected one of {place.expected_owner}, was of {place.owner}: {place.path}"
        return _problem("permissions", text, f"sudo chown {place.expected_owner} {place.path}")
    open_to_others = stat.S_IMODE(place.mode) & (0o077 if place.private else 0o022)
    if not open_to_others:
        return None
    may, mode = ("get at", "go=") if place.private else ("write to", "go-w")
    text = f"others may {may} it (mode {stat.S_IMODE(place.mode):04o}): {place.path}"
    sudo = "sudo " if place.expected_owner == "root" else ""
    return _problem("permissions", text, f"{sudo}chmod {mode} {place.path}")


def accounts_of_the_system(missing: Iterable[str]) -> Finding:
    """Are the daemons' own users and groups there?"""
    names = ", ".join(missing)
    if names:
        return _problem("users", f"not there: {names}", "sudo systemd-sysusers")
    return _ok("users", "each daemon has its own")


def membership(user: str, groups: Iterable[str]) -> Finding:
    """May a person connect to the system's daemons?"""
    groups = set(groups)
    if user == "root" or "piker-trade" in groups:
        return _ok("groups", f"{user} may trade")
    if "piker-view" in groups:
        return _ok("groups", f"{user} may watch, and not trade")
    text = f"{user} is in neither piker-view (may watch) nor piker-trade (may trade)"
    mend = f"sudo usermod -aG piker-view {user}, or piker-view,piker-trade; then log in anew"
    return _warning("groups", text, mend)


def units(facts: Iterable[UnitFacts], systemctl: str) -> list[Finding]:
    """Has a service or a socket failed?"""
    facts = list(facts)
    found = []
    for each in facts:
        if each.active == "failed":
            mend = f"{systemctl} reset-failed {each.unit}; {systemctl} start {each.unit}"
            found.append(_problem("units", f"{each.unit} has failed: {each.failure}", mend))
        elif each.failure:
            log = f"{systemctl.replace('sudo ', '')} status {each.unit}"
            found.append(_warning("units", f"{each.unit} failed before: {each.failure}", log))
    return found or [_ok("units", f"{_counted(len(facts), 'unit')}, none has failed")]


def versions(facts: Iterable[UnitFacts], installed: str, systemctl: str) -> list[Finding]:
    """Does what runs come of what is installed?"""
    asked = [each for each in facts if each.version or each.needs_reload]
    found = [
        _warning(
            "versions",
            f"{each.unit} runs version {each.version}, installed is {installed}",
            f"{systemctl} restart {each.unit}",
        )
        for each in asked
        if each.version not in ("", installed)
    ]
    stale = [each.unit for each in asked if each.needs_reload]
    if stale:
        text = f"{', '.join(stale)}: changed on disk since systemd read it"
        found.append(_warning("versions", text, f"{systemctl} daemon-reload"))
    running = sum(bool(each.version) for each in asked)
    return found or [_ok("versions", f"{installed}; {_counted(running, 'daemon')} running")]


def room(facts: Room) -> Finding:
    """Can orders still be written down?"""
    held = "held" if facts.ballast_held else "spent"
    ballast = f"; emsd's ballast is {held}" if facts.has_journal else ""
    text = f"{_amount(facts.free_bytes)} free at {facts.path}{ballast}"
    mend = f"make room: sudo du -xh {facts.path} | sort -h | tail, or sudo apt clean"
    if not facts.free_files:
        return _problem("disk", f"no file can be made at {facts.path}: no inode is free", mend)
    if facts.free_bytes < ROOM:
        full = " and new orders are refused" if facts.has_journal and not facts.ballast_held else ""
        return _problem("disk", f"full{full}: {text}", mend)
    if facts.free_bytes < LITTLE_ROOM:
        return _warning("disk", f"nearly full: {text}", mend)
    return _ok("disk", text)


def history(problem: str, kept: Iterable[str]) -> Finding:
    """Can bars and ticks be kept on disk? `problem`: why not; `kept`: markets that always run."""
    if not problem:
        return _ok("history", "bars and ticks are kept on disk")
    markets = ", ".join(kept)
    if not markets:
        return _ok("history", problem)
    mend = "install piker-history beside piker; with pip, piker[history]"
    return _warning("history", f"{problem}; of {markets} memory alone has bars", mend)


def clock(facts: Clock) -> Finding:
    """Is it the time that it says?"""
    mend = "sudo timedatectl set-ntp true"
    if facts.now_ns < OLDEST_NS:
        return _problem("clock", "it says a time before 2020", mend)
    ahead_ns = (facts.newest_event_ns or 0) - facts.now_ns
    if ahead_ns > STEPPED_NS:
        text = f"it was set back: the newest order event is {ahead_ns / 1e9:.0f} s ahead of it"
        return _problem("clock", text, mend)
    if facts.synchronised is False:
        return _warning("clock", "it is not synchronised with any other", mend)
    known = "synchronised" if facts.synchronised else "whether it is synchronised is not known"
    return _ok("clock", known)


def calendars(now_ns: int) -> Finding:
    """Is it known long enough when exchanges are closed?"""
    ending = running_out(now_ns)
    if not ending:
        return _ok("calendars", "when exchanges are closed is known for 60 days and more")
    known = ", ".join(f"{each.name} until {each.last}" for each in ending)
    text = f"when it is closed is known of {known}: later its nights count as gaps"
    return _warning("calendars", text, "upgrade piker; nothing, if you keep no market there")


def journal(facts: Journal, user: str, whose: Whose) -> Finding:
    """Can the person who asks read the log? Their own daemons' anybody can, where it is kept."""
    keep = "sudo mkdir -p /var/log/journal; sudo systemctl restart systemd-journald"
    member = facts.root or bool(set(facts.groups) & set(JOURNAL_GROUPS))
    if facts.refused and (member or not facts.persistent):
        return _problem("journal", f"{user} can't read it: {facts.refused}", keep)
    if facts.refused or (whose == "system" and not member):
        why = facts.refused or f"in none of the groups {', '.join(JOURNAL_GROUPS)}"
        mend = f"sudo usermod -aG systemd-journal {user}, then log in anew"
        return _problem("journal", f"{user} can't read it: {why}", mend)
    if not facts.persistent:
        return _warning("journal", "it is lost at each boot: there is no /var/log/journal", keep)
    return _ok("journal", "kept, and can be read")


def configuration(problem: str, files: Iterable[str]) -> Finding:
    """Is it right?"""
    if problem:
        return _problem("configuration", problem, "mend the file, then: piker config check")
    return _ok("configuration", ", ".join(files) or "no file, all is default")


def credentials(missing: Mapping[str, str], of: Iterable[str], command: str) -> list[Finding]:
    """Has each live account what its brokerd needs? `missing`: why not, by "PROVIDER NAME".

    `of`: the accounts that need something.
    """
    found = [
        _problem("credentials", f"{name.replace(' ', ': ')}: {problem}", f"{command} set {name}")
        for name, problem in missing.items()
    ]
    accounts = ", ".join(of)
    return found or [_ok("credentials", f"set for {accounts}" if accounts else "none is needed")]


def no_gateways() -> Finding:
    """There is none to look at."""
    return _ok("gateways", "none is set")


def unknown(check: str, problem: str, mend: str = "") -> Finding:
    """What could not be looked at is no reason to think that all is well."""
    return _warning(check, f"can't be looked at: {problem}", mend)


def _amount(number: int) -> str:
    return f"{number / 1e6:.0f} MB" if number < 10**9 else f"{number / 1e9:.1f} GB"


def _counted(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def _numbers(version: str) -> tuple[int, ...]:
    """The numbers that a version begins with: "6.1.0-56-amd64" has (6, 1, 0)."""
    matched = re.match(r"\d+(\.\d+)*", version)
    return tuple(map(int, matched[0].split("."))) if matched else ()


def _set_for_good(setting: str) -> str:
    file = "/etc/sysctl.d/90-user-namespaces.conf"
    return f"echo {setting} | sudo tee -a {file}; sudo sysctl --system"


def _ok(check: str, text: str) -> Finding:
    return Finding(check=check, level="ok", text=text)


def _warning(check: str, text: str, mend: str) -> Finding:
    return Finding(check=check, level="warning", text=text, mend=mend)


def _problem(check: str, text: str, mend: str) -> Finding:
    return Finding(check=check, level="problem", text=text, mend=mend)
