"""piker creds: the credentials that brokerd is given; set them, and see who can read them.

A secret is asked for, never taken as an argument, and never shown.
"""

import argparse
import os
import shlex
from collections.abc import Iterable
from datetime import timedelta
from pathlib import Path

import msgspec
import trio
from msgspec import Struct

from piker import brokers, clock, paths
from piker.brokers import Provider
from piker.cli import FAILED, desk, lines
from piker.cli.arguments import parser
from piker.cli.secret import NoSecret, given
from piker.client import open_daemon
from piker.errors import Refused, Unreachable, local_time
from piker.interfaces.supervisor import SUPERVISOR, Unit, Units, UnitsReply
from piker.privacy import keep_to_itself
from piker.store import credentials
from piker.store.credentials import Kept, NotKept
from piker.store.sealed import NotSealed, why_not_loadable

ACTIONS = "set PROVIDER [NAME]: ask for each credential that the provider declares, or this one, \
without echo; where standard input is no terminal, it is read from there, a line each. list: \
which are set, since when, and who can read them; never what they are"
NOT_ENCRYPTED = "Not encrypted: a file of mode 0600, which only you and root can read."
ENCRYPTED = "Encrypted with this machine's own key: a file of mode 0600, which only root can read."


class Listed(Struct, frozen=True, kw_only=True):
    """One credential as `piker creds list` shows it. Without since_ns, UTC ns, it is not set."""

    provider: str
    name: str
    declared: bool
    path: str
    since_ns: int | None
    mode: str | None
    only_you: bool | None
    """Nobody else but root; in the system nobody but root."""
    encrypted: bool | None
    """null, too, of what can't be loaded."""
    problem: str
    """What else is wrong with it."""
    mend: str
    """The command after which nobody else gets at it."""


def main(arguments: list[str]) -> int:
    """Do what is asked."""
    args = _parse(arguments)
    if credentials.encrypted() and os.geteuid() != 0:
        desk.say(_as_root(arguments))
        return FAILED
    try:
        if args.action == "list":
            return _list(as_json=args.json)
        return _set(brokers.load(args.provider), args.name)
    except BrokenPipeError:  # of standard output
        raise
    except (NoSecret, NotKept, NotSealed, OSError) as error:
        desk.say(_told(error, args.provider or ""))
        return FAILED


def _parse(arguments: list[str]) -> argparse.Namespace:
    """What can't be an argument may be a secret: it isn't shown."""
    parse = parser("creds", f"The credentials of brokerd. {ACTIONS}.", "set sim")
    parse.add_argument("action", choices=["set", "list"])
    parse.add_argument("provider", nargs="?", help="set: its name")
    parse.add_argument("name", nargs="?", help="set: the name of one credential; default: all")
    parse.add_argument("--json", action="store_true", help="list: an object a credential")
    args, rest = parse.parse_known_args(arguments)
    if rest:
        parse.error("expected no more arguments; a secret is never one, it is asked for")
    if args.action == "set" and not args.provider:
        parse.error("expected a provider, such as sim")
    if args.action == "set" and args.json:
        parse.error("--json goes with list")
    if args.action == "list" and args.provider:
        parse.error("list takes no provider")
    return args


def _as_root(arguments: list[str]) -> str:
    """They are root's to set, and to list."""
    command = shlex.join(["sudo", "piker", "--system", "creds", *arguments])
    return f"the system's credentials are root's: {command}"


def _told(error: Exception, provider: str) -> str:
    """In a line. The temporary file beside a credential is none that a person knows."""
    if not isinstance(error, OSError):
        return str(error)
    named = Path(error.filename or ".")
    where = credentials.directory(provider) if named.name[:1] in ("", ".") else named
    return f"{where}: {error.strerror}"


# --- set


def _set(provider: Provider, only: str | None) -> int:
    """Nothing is written before every secret was given, and encrypted if it is to be."""
    names = _wanted(provider, only)
    keep_to_itself()
    for mended in credentials.prepare(provider.name):
        print(f"mended: {mended}", flush=True)
    secrets = zip(names, given(provider.name, names), strict=True)
    contents = {name: credentials.content(name, secret) for name, secret in secrets}
    for name, content in contents.items():
        print(credentials.keep(provider.name, name, content))
    print(ENCRYPTED if credentials.encrypted() else NOT_ENCRYPTED)
    print(trio.run(_taking_effect, f"brokerd@{provider.name}"))
    return 0


def _wanted(provider: Provider, only: str | None) -> tuple[str, ...]:
    """The credentials to ask for. A name that isn't one may be a secret: it isn't shown."""
    if not provider.credentials:
        raise NoSecret(f"{provider.name} needs no credential: it declares none")
    if only is not None and only not in provider.credentials:
        expected = f"{provider.name}: expected one of {', '.join(provider.credentials)}"
        raise NoSecret(f"{expected}, was another name; a secret is never one, it is asked for")
    return provider.credentials if only is None else (only,)


async def _taking_effect(daemon: str) -> str:
    """What its owner does to have it used, and who else sees it."""
    by_systemd = (
        f"No daemon sees it, {daemon} alone is handed it when it starts; if it runs: "
        f"{paths.systemctl()} restart {daemon}"
    )
    if paths.manager() == "system":
        return by_systemd
    try:
        async with open_daemon("pikerd", None, SUPERVISOR) as pikerd:
            return _under_pikerd(daemon, (await pikerd.call(Units(), UnitsReply)).units)
    except (Refused, Unreachable):
        return by_systemd


def _under_pikerd(daemon: str, units: Iterable[Unit]) -> str:
    """A daemon that has ended is started when it is next asked."""
    pids = [each.pid for each in units if each.unit == f"{daemon}.service" and each.pid]
    plain = "pikerd runs here, which has no sandbox: any daemon of yours could read it"
    if not pids:
        return f"{plain}. {daemon} is handed it when it is next asked."
    return f"{plain}. {daemon} runs with what it had; to have it start anew: kill {pids[0]}"


# --- list


def _list(*, as_json: bool) -> int:
    """What can't be looked at is said, and the rest shown. Raises NotKept or OSError."""
    problems: list[str] = []
    providers = sorted({*brokers.known(), *credentials.kept("")})
    listed = [each for name in providers for each in _of(name, problems)]
    if as_json:
        for each in listed:
            print(msgspec.json.encode(each).decode())
    else:
        _show(listed)
    for problem in problems:
        desk.say(problem)
    return FAILED if problems else 0


def _of(provider: str, problems: list[str]) -> list[Listed]:
    """What it declares, and what else lies there for it; none, and a problem, if that fails."""
    try:
        found = credentials.kept(provider)
        declared = brokers.load(provider).credentials if provider in brokers.known() else ()
    except (NotKept, OSError, Refused) as error:
        problems.append(_told(error, provider))
        return []
    names = [*declared, *(each for each in found if each not in declared)]
    return [_listed(provider, name, name in declared, found.get(name)) for name in names]


def _listed(provider: str, name: str, declared: bool, found: Kept | None) -> Listed:
    problem = found.odd if found else ""
    if found and not problem and credentials.encrypted():
        problem = why_not_loadable(credentials.path_of(provider, name))
    return Listed(
        provider=provider,
        name=name,
        declared=declared,
        path=str(credentials.path_of(provider, name)),
        since_ns=found and found.since_ns,
        mode=found and f"{found.mode:04o}",
        only_you=found and not (found.open or found.odd),
        encrypted=None if not found or problem else credentials.encrypted(),
        problem=problem or ("" if declared or not found else "no provider asks for it"),
        mend=shlex.join(["chmod", "go=", *map(str, found.open)]) if found and found.open else "",
    )


def _show(listed: Iterable[Listed]) -> None:
    """Print a table, and below it what to do."""
    table = lines.grid("provider", "name", "set", "age", "mode", "encrypted", "who can read it")
    for each in listed:
        lines.add(table, each.provider, each.name, *_standing(each))
    lines.show(table)
    for each in listed:
        if each.mend:
            desk.say(f"{each.path}: others can get at it; to mend that: {each.mend}")


def _how_to_set(each: Listed) -> str:
    command = "sudo piker --system creds" if credentials.encrypted() else "piker creds"
    return f"{command} set {each.provider} {each.name}"


def _standing(each: Listed) -> tuple[str, str, str, str, str]:
    """Since when it is set, how long that is, its mode, whether encrypted, and who reads it."""
    if each.since_ns is None or each.mode is None:
        return ("-", "-", "-", "-", f"not set: {_how_to_set(each)}")
    age = timedelta(seconds=max(0, clock.wall_ns() - each.since_ns) // 10**9)
    only = "only root" if credentials.encrypted() else "only you"
    who = "OTHERS, too" if each.mend else only if each.only_you else "?"
    told = f"{who}; {each.problem}" if each.problem else who
    sealed = {True: "yes", False: "no", None: "?"}[each.encrypted]
    return (local_time(each.since_ns), _span(age), each.mode, sealed, told)


def _span(age: timedelta) -> str:
    """In the largest unit that fits."""
    units = ((age.days, "d"), (age.seconds // 3600, "h"), (age.seconds // 60, "min"))
    return next((f"{count} {unit}" for count, unit in units if count), f"{age.seconds} s")
