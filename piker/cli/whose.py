"""Whose daemons a command asks, where its own options may say so, too."""

import argparse
import os


def add_options(parse: argparse.ArgumentParser) -> None:
    """Let --user and --system stand after the command."""
    either = parse.add_mutually_exclusive_group()
    for name, whose in (("user", "your own daemons"), ("system", "the machine's daemons")):
        help_ = f"{whose}; also before the command"
        either.add_argument(
            f"--{name}", dest="manager", action="store_const", const=name, help=help_
        )


def take(args: argparse.Namespace) -> None:
    """Have what was given hold from now on."""
    if args.manager:
        os.environ["PIKER_MANAGER"] = args.manager
