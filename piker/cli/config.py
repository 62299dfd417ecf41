"""piker config check: is the configuration right?"""

import tomllib

import trio

from piker import brokers, config
from piker.cli.arguments import parser
from piker.config import Configuration
from piker.errors import Refused
from piker.interfaces.service import BrokenConfiguration


def main(arguments: list[str]) -> int:
    """Say which files were read; what is wrong is refused by file, key and expectation."""
    parse = parser("config", "Check the configuration.")
    parse.add_argument("action", choices=["check"], help="check: read it as the daemons do")
    parse.parse_args(arguments)
    configuration = config.load()
    for name in configuration.providers:
        _expect_known(name, f"providers.{name}")
        trio.run(_open, name, configuration)
    for market in configuration.datad.keep:
        _expect_known(market.rpartition(".")[2], "datad.keep", f" at the end of {market!r}")
    files = config.files()
    for path in files:
        print(f"read {path}")
    print("config: ok" if files else "config: ok (no file, all is default)")
    return 0


def _expect_known(name: str, key: str, where: str = "") -> None:
    """A provider by name. Raises Refused(BrokenConfiguration)."""
    if name not in brokers.known():
        problem = f"expected one of {', '.join(brokers.known())}{where}, was {name!r}"
        raise Refused(BrokenConfiguration(file=_file_of(key), key=key, problem=problem))


def _file_of(key: str) -> str:
    """The last file that sets a key of a table."""
    table, _, name = key.partition(".")
    setting = [
        str(path)
        for path in config.files()
        if name in tomllib.loads(path.read_text()).get(table, {})
    ]
    return setting[-1]


async def _open(name: str, configuration: Configuration) -> None:
    """Open a provider's venue, which refuses settings that make no sense, and close it."""
    provider = brokers.load(name)
    settings = config.provider_settings(configuration, name, provider.settings)
    async with brokers.get_eps(provider, "datad")["open_venue"](settings):
        pass
