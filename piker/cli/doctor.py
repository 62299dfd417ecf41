"""piker doctor: what is wrong on this machine, and the command that mends each.

Every check is a function of its own, bounded in time; what one can't look at doesn't end the
others. It starts no daemon and changes nothing.
"""

import os
import platform
from collections.abc import Awaitable, Callable, Iterable
from functools import partial

import msgspec
import trio
from msgspec.structs import replace

from piker import __version__, brokers, clock, config, paths
from piker.cli import FAILED, symptoms, systemd, whose
from piker.cli.arguments import parser
from piker.cli.systemd import Told
from piker.config import Configuration
from piker.core import diagnosis
from piker.core.diagnosis import Finding, Whose
from piker.errors import Refused, Unreachable
from piker.lingering import lingers
from piker.store import parquet
from piker.store.credentials import NotKept

CHECK_S = 15.0
"""No check takes longer, but for a manager that doesn't answer (piker.cli.systemd.ANSWER_S)."""

Check = Callable[[], Awaitable[Iterable[Finding]]]


def main(arguments: list[str]) -> int:
    """Print a line a finding; fails if one is a problem."""
    parse = parser("doctor", "Find what is wrong on this machine, and how to mend it.")
    parse.add_argument("--json", action="store_true", help="an object a finding, for programs")
    whose.add_options(parse)
    args = parse.parse_args(arguments)
    whose.take(args)
    findings = trio.run(_examine)
    for each in findings:
        print(msgspec.json.encode(each).decode() if args.json else _line(each))
    return FAILED if any(each.level == "problem" for each in findings) else 0


def _line(finding: Finding) -> str:
    mend = f"; to mend that: {finding.mend}" if finding.mend else ""
    return f"{finding.level:<8} {finding.check}: {finding.text}{mend}"


async def _examine() -> list[Finding]:
    manager = paths.manager()
    checks = _of_any(manager)
    if not symptoms.pikerd_runs():
        checks |= _of_systemd(manager)
    checks["systemd"] = partial(_managed, manager)
    found = [await _bounded(name, check) for name, check in checks.items()]
    return [_for_root(finding) for each in found for finding in each]


def _for_root(finding: Finding) -> Finding:
    """Who is root needs no sudo, and may not have it."""
    return replace(finding, mend=finding.mend.replace("sudo ", "")) if not os.geteuid() else finding


def _of_any(manager: Whose) -> dict[str, Check]:
    """What matters whoever runs the suite."""
    return {
        "kernel": _one(lambda: diagnosis.kernel(platform.release())),
        "permissions": _in_thread(lambda: diagnosis.places(symptoms.places(manager))),
        "configuration": _one(_configuration),
        "credentials": _in_thread(_credentials),
        "gateways": _gateways,
        "disk": _one(lambda: diagnosis.room(symptoms.room())),
        "history": _one(_history),
        "clock": _one(lambda: diagnosis.clock(symptoms.clock_facts())),
        "calendars": _one(lambda: diagnosis.calendars(clock.wall_ns())),
    }


def _of_systemd(manager: Whose) -> dict[str, Check]:
    """What matters where a manager of systemd's does, and not pikerd."""
    user = symptoms.user()
    log = {
        "journal": _one(lambda: diagnosis.journal(symptoms.journal(manager), user, manager)),
        "boot": _one(lambda: diagnosis.boot(symptoms.resumes(), paths.systemctl())),
    }
    if manager == "user":
        return log | {
            "lingering": _one(lambda: diagnosis.lingering(user, lingers=lingers(user))),
            "user namespaces": _one(lambda: diagnosis.namespaces(symptoms.namespaces())),
        }
    return log | {
        "users": _one(lambda: diagnosis.accounts_of_the_system(symptoms.missing_accounts())),
        "groups": _one(lambda: diagnosis.membership(symptoms.user(), symptoms.groups())),
    }


def _configuration() -> Finding:
    problem = symptoms.configuration_problem()
    return diagnosis.configuration(problem, [] if problem else map(str, config.files()))


def _history() -> Finding:
    try:
        kept = symptoms.kept_markets()
    except Refused:
        return diagnosis.unknown("history", "the configuration is broken")
    return diagnosis.history(parquet.problem(), kept)


def _credentials() -> list[Finding]:
    command = "sudo piker --system creds" if paths.manager() == "system" else "piker creds"
    try:
        live = symptoms.live_accounts()
    except Refused:
        return [diagnosis.unknown("credentials", "the configuration is broken")]
    try:
        of = symptoms.with_credentials(live)
        return diagnosis.credentials(symptoms.missing_credentials(of), of, command)
    except PermissionError:
        mend = "sudo piker --system doctor"
        return [diagnosis.unknown("credentials", "they are root's alone to see", mend)]


async def _gateways() -> list[Finding]:
    """What providers find on the way to their venues; of those that are set."""
    try:
        configuration = config.load()
    except Refused:
        return [diagnosis.unknown("gateways", "the configuration is broken")]
    found: list[Finding] = []
    for name in configuration.providers:
        try:
            found += await _on_the_way(configuration, name)
        except Refused as no:
            found.append(diagnosis.unknown("gateways", str(no)))
    return found or [diagnosis.no_gateways()]


async def _on_the_way(configuration: Configuration, name: str) -> Iterable[Finding]:
    """What a provider finds. Raises Refused, or OSError."""
    declared = brokers.load(name)
    examine = brokers.get_eps(declared, "doctor").get("examine")
    if not examine:
        return ()
    found: Iterable[Finding] = await examine(
        config.provider_settings(configuration, name, declared.settings)
    )
    return found


async def _managed(manager: Whose) -> list[Finding]:
    """What the manager says, and who runs."""
    try:
        version, told = await trio.to_thread.run_sync(_ask, abandon_on_cancel=True)
    except Unreachable as error:
        pikerd = symptoms.pikerd_runs()
        return [diagnosis.no_systemd(str(error), manager, pikerd=pikerd)]
    units = await symptoms.unit_facts(told)
    return [
        diagnosis.systemd(version, manager),
        *diagnosis.units(units, paths.systemctl()),
        *diagnosis.versions(units, __version__, paths.systemctl()),
    ]


def _ask() -> tuple[str, tuple[Told, ...]]:
    return systemd.version(), systemd.units()


async def _bounded(name: str, check: Check) -> Iterable[Finding]:
    """What it finds, or that it found nothing out."""
    try:
        with trio.fail_after(CHECK_S):
            return await check()
    except trio.TooSlowError:
        return [diagnosis.unknown(name, f"no answer within {CHECK_S:g} s")]
    except (OSError, NotKept, Refused) as error:
        return [diagnosis.unknown(name, str(error))]


def _one(examine: Callable[[], Finding]) -> Check:
    return _in_thread(lambda: [examine()])


def _in_thread(examine: Callable[[], Iterable[Finding]]) -> Check:
    """Files may be on a disk that doesn't answer: then the thread is left to wait for it alone."""
    return partial(trio.to_thread.run_sync, examine, abandon_on_cancel=True)
