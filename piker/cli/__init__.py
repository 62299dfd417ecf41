"""The `piker` command. Each subcommand is a module, imported when it is called.

Exit status: 0, 1 refused or failed, 2 usage, 3 unreachable, 130 interrupted.
"""

import importlib
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
    """Run one command; gives the exit status."""
    arguments = sys.argv[1:]
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
    return run(COMMANDS[name][0], arguments[1:])


def run(module: str, arguments: list[str]) -> int:
    """Run a command's module; what goes wrong is a line and an exit status."""
    try:
        status: int = importlib.import_module(module).main(arguments)
    except SystemExit:
        raise
    except BaseException as error:
        status = explain(error)
        if not status:
            raise
    return status


def explain(error: BaseException) -> int:
    """Say what went wrong; gives the exit status, or 0 if it is a bug of ours."""
    from piker.errors import Refused, Unreachable

    while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    if isinstance(error, KeyboardInterrupt):
        return INTERRUPTED
    if isinstance(error, BrokenPipeError):
        sys.stderr.close()  # who read our output has gone: nobody is left to be told
        return FAILED
    if not isinstance(error, Refused | Unreachable):
        return 0
    print(f"piker: {error}", file=sys.stderr)
    if isinstance(error, Refused):
        return FAILED
    print("Start it with `systemctl --user start datad@NAME`, or `piker up NAME`.", file=sys.stderr)
    return UNREACHABLE


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
