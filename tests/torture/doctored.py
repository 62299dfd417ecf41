"""A daemon in its place, with its clock and its feed in a test's hands: run by its unit.

    python -I doctored.py DIRECTORY piker.MODULE [INSTANCE]

In DIRECTORY a file `step` holds by how many ns the wall clock is ahead of the true one; while there
is a file `silent` sim's feed says nothing; `jump` holds by how many ticks its prices move then.
"""

import runpy
import sys
import time
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

DIRECTORY = Path(sys.argv[1]) if len(sys.argv) > 1 else Path()


def step_ns() -> int:
    """By how much the clock is ahead."""
    try:
        return int((DIRECTORY / "step").read_text() or 0)
    except FileNotFoundError:
        return 0


def stepped_wall_ns() -> int:
    """In place of piker.clock.wall_ns."""
    return time.time_ns() + step_ns()


def _doctor_the_clock() -> None:
    from piker import clock

    clock.wall_ns = stepped_wall_ns


def _doctor_the_feed() -> None:
    feed = import_module("piker.brokers.sim.feed")
    made = feed.quotes

    def quotes(walks: Sequence[Any], *arguments: int) -> Any:
        if (DIRECTORY / "silent").exists():
            return []
        try:
            ticks = int((DIRECTORY / "jump").read_text())
            (DIRECTORY / "jump").unlink()
        except FileNotFoundError:
            ticks = 0
        for walk in walks:
            walk._level += ticks
        return made(walks, *arguments)

    vars(feed)["quotes"] = quotes


def main() -> None:
    """Doctor what the daemon imports, then be the daemon."""
    _, _, module, *instance = sys.argv
    sys.argv = [module, *instance]
    _doctor_the_clock()
    _doctor_the_feed()
    runpy.run_module(module, run_name="__main__", alter_sys=False)


if __name__ == "__main__":
    main()
