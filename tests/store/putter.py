"""A process that puts batches of bars until it is killed, and says which are on disk.

Batch number n is of a random stretch, and random by n alone, so that who reads the numbers knows
what was put. It is killed by a timer of the kernel's whose signal nobody handles: that is SIGKILL
to it, at any of its instructions.
"""

import signal
import sys
from itertools import count
from pathlib import Path

import numpy as np

from piker.core.spans import Pair
from piker.store.barfiles import BarFiles
from piker.store.barframes import RowHow
from tests.store.bars import JUNE, MINUTE, MINUTES, NOW, bars


def batch(number: int) -> tuple[np.ndarray, Pair, RowHow]:
    """Rows of a stretch around the end of June, the stretch, and how it is put."""
    random = np.random.default_rng(number)
    first = int(random.integers(29 * 1440, 31 * 1440))
    length = int(random.integers(1, 600))
    some = np.flatnonzero(random.random(length) < 0.8)
    rows = bars((JUNE + (first + some) * MINUTE).tolist(), price=float(number))
    stretch = JUNE + first * MINUTE, JUNE + (first + length) * MINUTE
    how: RowHow = ("live", "backfilled", "imported")[number % 3]
    return rows, stretch, how


def put(files: BarFiles, number: int) -> None:
    """Put one batch, as it is put by the process."""
    rows, stretch, how = batch(number)
    files.put(MINUTES, rows, [stretch], how=how, source="x", now_ns=NOW + number)


def main(directory: Path, first: int, killed_after_s: float) -> None:
    """A line for each batch that is there; the timer runs once the first is."""
    with BarFiles(directory, "replay") as files:
        for number in count(first):
            put(files, number)
            print(number, flush=True)
            if number == first:
                signal.setitimer(signal.ITIMER_REAL, killed_after_s)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]))
