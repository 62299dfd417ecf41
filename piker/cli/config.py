"""piker config check: is the configuration right?"""

import trio

from piker import brokers, config
from piker.accounts import parse_account
from piker.cli.arguments import parser
from piker.config import Configuration
from piker.errors import Refused


def main(arguments: list[str]) -> int:
    """Say which files were read; what is wrong is refused by file, key and expectation."""
    parse = parser("config", "Check the configuration.")
    parse.add_argument("action", choices=["check"], help="check: read it as the daemons do")
    parse.parse_args(arguments)
    configuration = config.load()
    for name in configuration.providers:
        _expect_known(name, "providers", name)
        trio.run(_open, name, configuration)
    for market in configuration.datad.keep:
        _expect_known_end(market, "datad", "keep")
    _check_orders(configuration)
    files = config.files()
    for path in files:
        print(f"read {path}")
    print("config: ok" if files else "config: ok (no file, all is default)")
    return 0


def _check_orders(configuration: Configuration) -> None:
    """Limits and fees of a provider that isn't there would hold for nothing."""
    for market in configuration.risk.markets:
        _expect_known_end(market, "risk", "markets", market)
    for name in configuration.accounts:
        account = parse_account(name, "")
        assert account, f"expected an account that was checked, was {name!r}"
        _expect_known(account.provider, "accounts", name)
    for name in configuration.paperboi.fees:
        _expect_known(name, "paperboi", "fees", name)


def _expect_known_end(market: str, *key: str) -> None:
    _expect_known(market.rpartition(".")[2], *key, where=f" at the end of {market!r}")


def _expect_known(name: str, *key: str, where: str = "") -> None:
    """A provider by name. Raises Refused(BrokenConfiguration)."""
    if name not in brokers.known():
        problem = f"expected one of {', '.join(brokers.known())}{where}, was {name!r}"
        dotted = ".".join(f'"{each}"' if "." in each else each for each in key)
        raise Refused(config.broken(config.file_of(*key), dotted, problem))


async def _open(name: str, configuration: Configuration) -> None:
    """Open a provider's venue, which refuses settings that make no sense, and close it.

    Those for orders are looked at alone: a dialog would connect, and want credentials.
    """
    provider = brokers.load(name)
    settings = config.provider_settings(configuration, name, provider.settings)
    try:
        check = brokers.get_eps(provider, "brokerd").get("check_settings")
        if check:
            check(settings)
        async with brokers.get_eps(provider, "datad")["open_venue"](settings):
            pass
    except Refused as no:
        raise Refused(config.located(no.fault)) from no
