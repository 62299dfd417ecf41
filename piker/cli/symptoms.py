"""What `piker doctor` looks at: files, the kernel's settings, the manager, daemons that run.

Each gives facts and decides nothing. What can be waited for is waited for so long and no longer.
"""

import ctypes
import grp
import os
import pwd
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

from piker import brokers, clock, config, handover, paths
from piker.accounts import parse_account
from piker.cli.systemd import Told
from piker.client import open_daemon
from piker.core.diagnosis import (
    SWITCHES,
    Clock,
    Journal,
    Namespaces,
    Place,
    Room,
    UnitFacts,
    Whose,
)
from piker.errors import Refused, Unreachable
from piker.interfaces.introspection import INTROSPECTION, GetInfo, Info
from piker.store import credentials
from piker.store.ballast import Ballast, free_bytes
from piker.store.reading import open_copy

TRY_S = 5
"""How long a program may take."""
TIME_ERROR = 5
"""What adjtimex(2) gives where the clock is not synchronised."""
TIMEX_BYTES = 208
"""sizeof(struct timex), on any machine with Linux of 64 bits; the kernel knows the same."""
DAEMONS = (
    *("piker-datad", "piker-brokerd", "piker-emsd", "piker-paperboi", "piker-samplerd"),
    *("piker-iblane", "piker-ibgw"),
)
"""The system's users; each has a group of its name."""
PEOPLE = ("piker-view", "piker-trade")


def user() -> str:
    """Who asks."""
    return name_of(os.getuid())


def name_of(uid: int) -> str:
    """A user's name, or the number of one without."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def groups() -> tuple[str, ...]:
    """Those that who asks is in, as long as this session lasts."""
    known = {each.gr_gid: each.gr_name for each in grp.getgrall()}
    return tuple(known[gid] for gid in {*os.getgroups(), os.getgid()} if gid in known)


def missing_accounts() -> list[str]:
    """The suite's own users and groups that there are not."""
    users = {each.pw_name for each in pwd.getpwall()}
    there = {each.gr_name for each in grp.getgrall()}
    return [each for each in DAEMONS if each not in users] + [
        each for each in PEOPLE if each not in there
    ]


def resumes() -> str:
    """Whether piker-resume is enabled, in systemctl's word; nothing if that can't be asked."""
    command = ["systemctl", f"--{paths.manager()}", "is-enabled", "piker-resume.service"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=TRY_S)  # noqa: S603 ours
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip()


def namespaces() -> Namespaces:
    """What the kernel's settings say, and what comes of trying."""
    files = {name: _sysctl(name) for name in SWITCHES}
    settings = {name: int(file.read_text()) for name, file in files.items() if file.is_file()}
    said = _refusal("unshare", "--user", "--map-root-user", "--mount", "true")
    return Namespaces(settings=settings, works=not said, said=said)


def _sysctl(name: str) -> Path:
    return paths.of_the_machine("proc/sys") / name.replace(".", "/")


def places(whose: Whose) -> Iterator[Place]:
    """What must be somebody's own."""
    me, system = user(), whose == "system"
    owner = "root" if system else me
    runtime = paths.runtime_directory()
    if not system:
        yield _place(runtime, me, private=True, needed=True)
    for each in (runtime / "piker", *sorted((runtime / "piker").glob("*/"))):
        yield _place(each, owner, private=not system)
    for each in config.directories()[-1:]:
        for file in (each, *sorted(each.rglob("*"))):
            yield _place(file, owner, private=False, link=True)
    secret = credentials.directory()
    for each in (secret, *_below(secret)):
        yield _place(each, owner, private=True)
    for daemon in ("emsd", "paperboi"):
        its = f"piker-{daemon}" if system else me
        yield _place(paths.state_of(daemon), its, private=True, link=True)
    for each in sorted(paths.history().glob("*/")):
        yield _place(each, "piker-datad" if system else me, private=True)


def _below(directory: Path) -> list[Path]:
    """All that is in it, if who asks may look."""
    return sorted(directory.rglob("*")) if os.access(directory, os.R_OK | os.X_OK) else []


def _place(
    path: Path, expected: str, *, private: bool, needed: bool = False, link: bool = False
) -> Place:
    """A link may lead to configuration or state: systemd 254 makes one to what 252 has made."""
    try:
        found = path.stat() if link else path.lstat()
        mode, owner = found.st_mode, name_of(found.st_uid)
    except (FileNotFoundError, NotADirectoryError):
        mode, owner = None, ""
    return Place(
        path=str(path),
        mode=mode,
        owner=owner,
        expected_owner=expected,
        private=private,
        needed=needed,
    )


def room() -> Room:
    """Of the file system that the orders' journal is on, or will be."""
    from piker.emsd import JOURNAL

    journal = paths.state_of("emsd") / JOURNAL
    directory = next(each for each in journal.parents if each.is_dir())
    return Room(
        path=str(directory),
        free_bytes=free_bytes(directory),
        free_files=_free_files(directory),
        has_journal=os.path.exists(journal),  # not ours to see: not there
        ballast_held=Ballast(journal.with_name(f"{JOURNAL}.ballast")).held,
    )


def _free_files(directory: Path) -> int:
    """Some file systems have no such number, and say 0 of 0."""
    found = os.statvfs(directory)
    return found.f_favail if found.f_files else 1


def clock_facts() -> Clock:
    """The clock, and the newest time that it gave an order's event."""
    libc = ctypes.CDLL(None, use_errno=True)
    state = libc.adjtimex(ctypes.create_string_buffer(TIMEX_BYTES))
    return Clock(
        now_ns=clock.wall_ns(),
        synchronised=None if state < 0 else state != TIME_ERROR,
        newest_event_ns=_newest_event_ns(),
    )


def _newest_event_ns() -> int | None:
    from piker.emsd import JOURNAL

    journal = paths.state_of("emsd") / JOURNAL
    if not os.access(journal, os.R_OK):
        return None
    with open_copy(journal) as reader:
        newest = reader.events_since(reader.newest_seq() - 1, 1)
    return newest[0].time_ns if newest else None


def journal(whose: Whose) -> Journal:
    """Where the log is kept, and whether it can be read."""
    of = "--user" if whose == "user" else "--system"
    return Journal(
        persistent=paths.of_the_machine("var/log/journal").is_dir(),
        root=os.geteuid() == 0,
        groups=groups(),
        refused=_refusal("journalctl", "--lines=1", "--quiet", of),
    )


def configuration_problem() -> str:
    """Why it can't be used, or nothing."""
    try:
        config.load()
    except Refused as no:
        return str(no)
    return ""


def kept_markets() -> tuple[str, ...]:
    """Those that the configuration has datad follow always, or record. Raises Refused."""
    settings = config.load().datad
    return tuple(dict.fromkeys((*settings.keep, *settings.record)))


def live_accounts() -> tuple[str, ...]:
    """Those that the configuration lets trade. Raises Refused."""
    return tuple(name for name, account in config.load().accounts.items() if account.live)


def with_credentials(accounts: tuple[str, ...]) -> tuple[str, ...]:
    """Those of them whose brokerd is handed something. Raises Refused."""
    providers = {name: each.provider for name in accounts if (each := parse_account(name, ""))}
    return tuple(name for name, each in providers.items() if brokers.load(each).credentials)


def missing_credentials(accounts: tuple[str, ...]) -> dict[str, str]:
    """What a live account's brokerd would not be handed, and why not, by "PROVIDER NAME".

    Raises Refused, NotKept or OSError.
    """
    parsed = [parse_account(name, "") for name in accounts]
    wanted = [
        (provider, name)
        for provider in sorted({each.provider for each in parsed if each})
        for name in brokers.load(provider).credentials
    ]
    return {
        f"{provider} {name}": problem
        for provider, name in wanted
        if (problem := _why_not_handed(provider, name))
    }


def _why_not_handed(provider: str, name: str) -> str:
    path = credentials.path_of(provider, name)
    return "it is not set" if name not in credentials.kept(provider) else handover.why_not(path)


async def unit_facts(told: tuple[Told, ...]) -> list[UnitFacts]:
    """Those of units, with the versions of daemons that run: asking must start none."""
    return [
        UnitFacts(
            unit=each.unit,
            active=each.active,
            failure=each.failure,
            needs_reload=each.needs_reload,
            version=await _version(each),
        )
        for each in told
    ]


async def _version(told: Told) -> str:
    """Nothing of what isn't a daemon that runs, or doesn't answer who asks."""
    daemon, _, instance = told.unit.removesuffix(".service").partition("@")
    if told.active != "active" or daemon not in paths.ANSWERING:
        return ""
    try:
        async with open_daemon(daemon, instance or None, INTROSPECTION) as client:
            return (await client.call(GetInfo(), Info, TRY_S)).version
    except (Refused, Unreachable):
        return ""


def pikerd_runs() -> bool:
    """Whether one runs the suite of this user."""
    if paths.manager() == "system":
        return False
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(TRY_S)
        return not sock.connect_ex(str(paths.socket_path("pikerd")))


def _refusal(*command: str) -> str:
    """What a program said that failed, in a line; nothing if it did not."""
    try:
        done = subprocess.run(command, capture_output=True, timeout=TRY_S)  # noqa: S603 ours
    except OSError as error:
        return f"{command[0]}: {error.strerror}"
    except subprocess.TimeoutExpired:
        return f"{command[0]} gave no answer within {TRY_S} s"
    said = done.stderr.decode(errors="replace").strip().splitlines()
    if done.returncode == 0:
        return ""
    return said[-1] if said else f"{command[0]} ended with status {done.returncode}"
