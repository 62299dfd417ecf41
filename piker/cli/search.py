"""piker search: find markets."""

import msgspec
import trio

from piker import client
from piker.cli.arguments import parser, positive
from piker.errors import Unreachable
from piker.interfaces.data import Match


def main(arguments: list[str]) -> int:
    """Print what was found, best first; 1 if nothing was."""
    parse = parser("search", "Find markets by name or description.")
    parse.add_argument("pattern", help="what the name or description is like")
    parse.add_argument("--provider", help="ask this one alone")
    parse.add_argument("--limit", type=positive, default=20, help="at most so many of a provider")
    parse.add_argument("--json", action="store_true", help="an object a line, for programs")
    args = parse.parse_args(arguments)
    found = trio.run(_search, args.pattern, args.provider, args.limit)
    for match in found:
        line = f"{match.fqme:<32} {match.description}"
        print(msgspec.json.encode(match).decode() if args.json else line)
    return 0 if found else 1


async def _search(pattern: str, provider: str | None, limit: int) -> list[Match]:
    providers = (provider,) if provider else client.listening()
    if not providers:
        raise Unreachable("no datad listens here")
    found: list[Match] = []
    for each in providers:
        found += (await client.search(each, pattern, limit)).matches
    return found
