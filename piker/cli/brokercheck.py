"""piker brokercheck: what a provider supports, and what is broken."""

import msgspec
import trio

from piker import brokers, config
from piker.brokers.conformance import Report, Result, check_provider
from piker.cli.arguments import parser, span

MARKS = {"ok": "ok", "unsupported": "--", "broken": "BROKEN"}


def main(arguments: list[str]) -> int:
    """Print each check; 1 if anything is broken."""
    parse = parser("brokercheck", "Check what a provider supports and what is broken.", "replay")
    parse.add_argument("provider", help=f"its name: {', '.join(brokers.known())}")
    parse.add_argument("market", nargs="*", help="markets to try; default: some that it finds")
    parse.add_argument("--time", type=span, default=10.0, help="wait so long for each, as 10s")
    parse.add_argument("--json", action="store_true", help="an object a check, for programs")
    args = parse.parse_args(arguments)
    report = trio.run(_check, args.provider, args.market, args.time)
    for result in report.results:
        print(msgspec.json.encode(result).decode() if args.json else _line(result))
    broken = sum(result.outcome == "broken" for result in report.results)
    if not args.json:
        print(f"{report.provider}: {f'{broken} broken' if broken else 'ok'}")
    return 1 if broken else 0


async def _check(name: str, markets: list[str], seconds: float) -> Report:
    provider = brokers.load(name)
    settings = config.provider_settings(config.load(), name, provider.settings)
    return await check_provider(provider, settings, markets, seconds=seconds)


def _line(result: Result) -> str:
    detail = f": {result.detail}" if result.detail else ""
    return f"{MARKS[result.outcome]:<7}{result.endpoint:<20} {result.check}{detail}"
