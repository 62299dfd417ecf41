"""piker config check: is the configuration right?"""

from piker import brokers, config
from piker.cli.arguments import parser


def main(arguments: list[str]) -> int:
    """Say which files were read; what is wrong is refused by file, key and expectation."""
    parse = parser("config", "Check the configuration.")
    parse.add_argument("action", choices=["check"], help="check: read it as the daemons do")
    parse.parse_args(arguments)
    configuration = config.load()
    for name in configuration.providers:
        config.provider_settings(configuration, name, brokers.load(name).settings)
    for path in config.files():
        print(f"read {path}")
    print("config: ok")
    return 0
