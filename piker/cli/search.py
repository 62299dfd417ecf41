"""piker search: find markets."""

import sys
from collections.abc import Sequence

import msgspec
import trio

from piker import client
from piker.cli import FAILED, explain
from piker.cli.arguments import parser, positive
from piker.errors import Refused, Unreachable
from piker.interfaces.data import Match


def main(arguments: list[str]) -> int:
    """Print what was found, best first; 1 if nothing was."""
    parse = parser("search", "Find markets by name or description.", "euro")
    parse.add_argument("pattern", help="what the name or description is like")
    parse.add_argument("--provider", help="ask this one alone")
    parse.add_argument("--limit", type=positive, default=20, help="at most so many of a provider")
    parse.add_argument("--json", action="store_true", help="an object a line, for programs")
    args = parse.parse_args(arguments)
    providers = (args.provider,) if args.provider else client.asked()
    found, failed = trio.run(_search, providers, args.pattern, args.limit)
    for match in found:
        line = f"{match.fqme:<32} {match.description}"
        print(msgspec.json.encode(match).decode() if args.json else line)
    if not found and not failed:
        print(f"piker: nothing is like {args.pattern!r}", file=sys.stderr)
    statuses = [explain(no) for no in failed]
    return max(statuses, default=0 if found else FAILED)


async def _search(
    providers: Sequence[str], pattern: str, limit: int
) -> tuple[list[Match], list[Refused | Unreachable]]:
    """What was found; and what those said who failed, who hide nothing of the others."""
    found: list[Match] = []
    failed: list[Refused | Unreachable] = []
    for each in providers:
        try:
            found += (await client.search(each, pattern, limit)).matches
        except (Refused, Unreachable) as no:
            failed.append(no)
    return found, failed
