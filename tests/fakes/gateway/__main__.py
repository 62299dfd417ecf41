"""Runs the gateway by itself, until it is killed: ``python -m tests.fakes.gateway --help``."""

import argparse

import trio
from msgspec import json

from tests.fakes.gateway.control import listen
from tests.fakes.gateway.gateway import Settings
from tests.fakes.gateway.server import serving


def main() -> None:
    """Serve."""
    parser = argparse.ArgumentParser("tests.fakes.gateway", description=__doc__)
    parser.add_argument("--listen", default="tcp:127.0.0.1:4002", help="or unix:PATH")
    parser.add_argument("--control", help="a socket to be made, to script it through")
    parser.add_argument("--settings", default='{"walk_s": 0.25}', help="JSON: see Settings")
    asked = parser.parse_args()
    trio.run(run, asked.listen, asked.control, json.decode(asked.settings, type=Settings))


async def run(address: str, control: str | None, settings: Settings) -> None:
    """Serve at an address, and say so when it is so."""
    scheme, _, rest = address.partition(":")
    path, port = (rest, 0) if scheme == "unix" else ("", int(rest.rpartition(":")[2]))
    async with serving(settings, path=path, port=port) as gateway, trio.open_nursery() as nursery:
        if control:
            await nursery.start(listen, gateway, control)
        print(f"serving at {gateway.address}", flush=True)
        await trio.sleep_forever()


if __name__ == "__main__":
    main()
