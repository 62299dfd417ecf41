"""make torture: a thousand kills, in a place of its own.

python -m tests.torture [--kills N] [--seed S]
"""

import argparse
import os
import secrets
import sys
import tempfile

import trio

from piker.errors import leaf
from tests.torture.house import own_places
from tests.torture.run import Broken, torture

KILLS = 1000


def main() -> int:
    """Run it; gives the exit status."""
    parse = argparse.ArgumentParser(prog="torture", description=__doc__)
    parse.add_argument("--kills", type=int, default=KILLS)
    parse.add_argument("--seed", type=int, default=secrets.randbelow(1_000_000))
    options = parse.parse_args()
    with tempfile.TemporaryDirectory(prefix="pk-") as directory:
        for name, path in own_places(directory).items():
            os.environ[name] = path
            os.mkdir(path, mode=0o700)
        broken: BaseException | None = None
        try:
            trio.run(torture, options.kills, options.seed)
        except* Broken as group:
            broken = leaf(group)
    if broken:
        print(broken, file=sys.stderr)
        return 1
    print(f"torture: ok ({options.kills} kills, seed {options.seed})")
    return 0


if __name__ == "__main__":
    sys.exit(main())
