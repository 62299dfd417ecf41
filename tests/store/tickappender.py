"""A process that writes segments of ticks and joins them without end; says what is on disk."""

import sys
from itertools import count
from pathlib import Path

from piker.store.tickfiles import TickFiles
from tests.store.ticks import DAY, MARKET, columns, said


def main(directory: Path) -> None:
    """A message a segment; every third time the day is joined."""
    files = TickFiles(directory)
    for number in count(files.next_message(MARKET.fqme)):
        files.write(DAY, columns(number), said(number))
        print(number, flush=True)
        if number % 3 == 2:
            files.join(MARKET.fqme, "2027-01-16", 0)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
