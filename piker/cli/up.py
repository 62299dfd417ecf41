"""piker up: run the suite in the foreground, where there is no systemd manager."""

import sys

import trio

from piker import brokers, pikerd
from piker.cli.arguments import parser


def main(arguments: list[str]) -> int:
    """Run until interrupted."""
    parse = parser("up", "Run the suite in the foreground: daemons start when they are asked.")
    parse.add_argument("provider", nargs="*", help=f"default: replay; {', '.join(brokers.known())}")
    providers = parse.parse_args(arguments).provider or ["replay"]
    for provider in providers:
        if provider not in brokers.known():
            parse.error(f"expected one of {', '.join(brokers.known())}, was {provider}")
    problems: list[str] = []
    try:
        trio.run(pikerd.run, providers)
    except* pikerd.CantSupervise as group:
        problems = [str(error) for error in group.exceptions]
    for problem in problems:
        print(f"piker: {problem}", file=sys.stderr)
    return 1 if problems else 0
