"""make torture: a thousand kills, in a place of its own.

python -m tests.torture [--venue sim|ib] [--kills N] [--seed S] [--wrongs]
"""

import argparse
import os
import secrets
import sys
import tempfile

import trio

from piker.errors import leaf
from tests.torture.house import own_places
from tests.torture.ib import IB
from tests.torture.run import Broken, Season, to_stderr, torture
from tests.torture.sim import SIM

KILLS = 1000
KINDS = {str(kind): kind for kind in (SIM, IB)}


def main() -> int:
    """Run it; gives the exit status."""
    parse = argparse.ArgumentParser(prog="torture", description=__doc__)
    parse.add_argument("--venue", choices=KINDS, default=str(SIM))
    parse.add_argument("--wrongs", action="store_true", help="the venue gets things wrong, too")
    parse.add_argument("--kills", type=int, default=KILLS)
    parse.add_argument("--seed", type=int, default=secrets.randbelow(1_000_000))
    options = parse.parse_args()
    with tempfile.TemporaryDirectory(prefix="pk-") as directory:
        for name, path in own_places(directory).items():
            os.environ[name] = path
            os.mkdir(path, mode=0o700)
        broken: BaseException | None = None
        try:
            season = Season(wrongs=options.wrongs)
            run = (options.kills, options.seed, to_stderr, season, KINDS[options.venue])
            trio.run(torture, *run)
        except* Broken as group:
            broken = leaf(group)
    if broken:
        print(broken, file=sys.stderr)
        return 1
    print(f"torture: ok ({options.venue}, {options.kills} kills, seed {options.seed})")
    return 0


if __name__ == "__main__":
    sys.exit(main())
