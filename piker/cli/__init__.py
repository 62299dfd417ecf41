"""The `piker` command. Each subcommand is a module, or a function of one that it shares
with its like, imported when it is called.

Exit status: 0, 1 refused or failed, 2 usage, 3 unreachable, 130 interrupted.
"""

import atexit
import gc
import importlib
import os
import sys
from collections.abc import Callable

COMMANDS = {
    "up": ("piker.cli.up", "run the suite in the foreground, where there is no systemd manager"),
    "status": ("piker.cli.status", "the units of the suite and how they are"),
    "doctor": ("piker.cli.doctor", "find what is wrong on this machine, and how to mend it"),
    "watch": ("piker.cli.watch", "follow markets"),
    "bars": ("piker.cli.bars", "follow a market's bars"),
    "history": ("piker.cli.history", "bars of a market's past"),
    "search": ("piker.cli.search", "find markets"),
    "buy": ("piker.cli.submit:buy", "buy, or have a hidden order armed"),
    "sell": ("piker.cli.submit:sell", "sell, or have a hidden order armed"),
    "alert": ("piker.cli.submit:alert", "be told when a price is reached"),
    "orders": ("piker.cli.orders", "the orders, and what happens to them"),
    "order": ("piker.cli.order", "one order's whole life"),
    "amend": ("piker.cli.changes:amend", "give an order another size, limit or trigger"),
    "cancel": ("piker.cli.cancelling:cancel", "cancel an order, or all"),
    "flatten": ("piker.cli.flattening:flatten", "cancel an account's orders, close its positions"),
    "positions": ("piker.cli.positions", "what is held, and what it earned"),
    "ledger": ("piker.cli.ledger", "fills, fees and adjustments; export, backup"),
    "limits": ("piker.cli.halting:limits", "what risk allows"),
    "halt": ("piker.cli.halting:halt", "let no new order leave"),
    "resume": ("piker.cli.halting:resume", "end a halt"),
    "resolve": ("piker.cli.changes:resolve", "say what became of an order, where nobody knows"),
    "accept": ("piker.cli.halting:accept", "take an unexplained position as it is"),
    "brokercheck": ("piker.cli.brokercheck", "check what a provider supports and what is broken"),
    "config": ("piker.cli.config", "check the configuration"),
    "creds": ("piker.cli.creds", "set what a broker is to know you by; who can read it"),
}

OPTIONS = (["--user"], ["--system"])
"""Whose daemons are meant; before the command."""
FAILED, USAGE, UNREACHABLE, INTERRUPTED = 1, 2, 3, 130


def main() -> int:
    """Run one command; what goes wrong is a line and an exit status."""
    atexit.register(gc.freeze)  # to look for garbage at the end takes longer than most commands do
    try:
        status = dispatch(sys.argv[1:])
        sys.stdout.flush()
    except SystemExit:
        raise
    except BaseException as error:
        status = explain(error)
        if not status:
            raise
    return status


def dispatch(arguments: list[str]) -> int:
    """Run the command that these arguments begin with; gives the exit status."""
    if arguments[:1] in OPTIONS:
        os.environ["PIKER_MANAGER"] = arguments[0].removeprefix("--")
        arguments = arguments[1:]
    name = arguments[0] if arguments else ""
    if name in ("", "-h", "--help", "help"):
        print(overview())
        return 0 if name else USAGE
    if name in ("-V", "--version"):
        from piker import __version__

        print(f"piker {__version__}")
        return 0
    problem = _misplaced(name)
    if problem:
        print(f"piker: {problem}", file=sys.stderr)
        return USAGE
    return _command(name)(arguments[1:])


def _misplaced(name: str) -> str:
    """Why there is no such command, or none for this manager; or nothing."""
    if name not in COMMANDS:
        return f"expected a command, was {name!r}; see piker --help"
    if os.environ.get("PIKER_MANAGER", "") in ("", "user"):  # most often: nothing to import
        return ""
    from piker import paths

    try:
        manager = paths.manager()
    except paths.WrongManager as error:
        return str(error)
    if name == "up" and manager == "system":
        return "up runs the suite for you alone; the system's daemons are systemd's to run"
    return ""


def _command(name: str) -> Callable[[list[str]], int]:
    """What runs it. An import leaves no garbage worth the time of looking for it."""
    module, _, function = COMMANDS[name][0].partition(":")
    gc.disable()
    try:
        return getattr(importlib.import_module(module), function or "main")  # type: ignore[no-any-return]
    finally:
        gc.enable()


def explain(error: BaseException) -> int:
    """Say what went wrong; gives the exit status, or 0 if it is a bug of ours."""
    from piker.errors import Refused, Unreachable

    if isinstance(error, BaseExceptionGroup):
        statuses = [explain(each) for each in error.exceptions]
        return max(statuses) if all(statuses) else 0
    if isinstance(error, KeyboardInterrupt):
        return INTERRUPTED
    if isinstance(error, BrokenPipeError):
        _forget_output()
        return FAILED
    if not isinstance(error, Refused | Unreachable):
        return 0
    print(f"piker: {error}", file=sys.stderr)
    if isinstance(error, Refused):
        return FAILED
    print(_how_to_start(str(error)), end="", file=sys.stderr)
    return UNREACHABLE


def _forget_output() -> None:
    """Who read it has gone: what is still to be written at exit goes nowhere."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)


def _how_to_start(problem: str) -> str:
    """For a person to copy; the text of an Unreachable names the unit, and may have a command."""
    import re

    named = re.search(r"datad@([\w-]+)", problem)
    provider = named[1] if named else "replay"
    if "`" in problem:
        return ""
    if "datad" in problem:
        return _either(f"datad@{provider}", f"piker up {provider}")
    if "emsd does not listen" in problem:
        return _either("emsd.socket", "piker up")
    return ""


def _either(unit: str, by_hand: str) -> str:
    """Of two ways the one that the manager has, or both."""
    from piker.paths import manager, systemctl

    other = "" if manager() == "system" else f", or `{by_hand}`"
    return f"Start it with `{systemctl()} start {unit}`{other}.\n"


def overview() -> str:
    """What `piker --help` prints."""
    lines = [f"  {name:<12} {help_}" for name, (_, help_) in COMMANDS.items()]
    return "\n".join(
        [
            "usage: piker [--user|--system] COMMAND [ARGUMENT…]",
            "",
            *lines,
            "",
            "--user: your own daemons, as without it; --system: the machine's.",
            "`piker COMMAND --help` tells the rest. Most commands take --json.",
            "Exit status: 0, 1 refused or failed, 2 usage, 3 unreachable, 130 interrupted.",
        ]
    )
