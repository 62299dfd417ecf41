"""The `piker` command. Each subcommand is a module, imported when it is called.

Exit status: 0, 1 refused or failed, 2 usage, 3 unreachable, 130 interrupted.
"""

import importlib
import os
import re
import sys

COMMANDS = {
    "up": ("piker.cli.up", "run the suite in the foreground, where there is no systemd manager"),
    "status": ("piker.cli.status", "the units of the suite and how they are"),
    "watch": ("piker.cli.watch", "follow markets"),
    "bars": ("piker.cli.bars", "follow a market's bars"),
    "search": ("piker.cli.search", "find markets"),
    "brokercheck": ("piker.cli.brokercheck", "check what a provider supports and what is broken"),
    "config": ("piker.cli.config", "check the configuration"),
}

FAILED, USAGE, UNREACHABLE, INTERRUPTED = 1, 2, 3, 130


def main() -> int:
    """Run one command; what goes wrong is a line and an exit status."""
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
    name = arguments[0] if arguments else ""
    if name in ("", "-h", "--help", "help"):
        print(overview())
        return 0 if name else USAGE
    if name in ("-V", "--version"):
        from piker import __version__

        print(f"piker {__version__}")
        return 0
    if name not in COMMANDS:
        print(f"piker: expected a command, was {name!r}; see piker --help", file=sys.stderr)
        return USAGE
    status: int = importlib.import_module(COMMANDS[name][0]).main(arguments[1:])
    return status


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
    if "datad" in str(error):
        print(_how_to_start(str(error)), file=sys.stderr)
    return UNREACHABLE


def _forget_output() -> None:
    """Who read it has gone: what is still to be written at exit goes nowhere."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)


def _how_to_start(problem: str) -> str:
    """For a person to copy; the text of an Unreachable names the unit."""
    named = re.search(r"datad@([\w-]+)", problem)
    provider = named[1] if named else "replay"
    return f"Start it with `systemctl --user start datad@{provider}`, or `piker up {provider}`."


def overview() -> str:
    """What `piker --help` prints."""
    lines = [f"  {name:<12} {help_}" for name, (_, help_) in COMMANDS.items()]
    return "\n".join(
        [
            "usage: piker COMMAND [ARGUMENT…]",
            "",
            *lines,
            "",
            "`piker COMMAND --help` tells the rest. Most commands take --json.",
            "Exit status: 0, 1 refused or failed, 2 usage, 3 unreachable, 130 interrupted.",
        ]
    )
