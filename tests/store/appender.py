"""A process that appends to a journal without end and says what was acknowledged."""

import sys
from itertools import count
from pathlib import Path

import trio

from piker.store.journal import open_journal
from tests.store.samples import fill, submitted


async def main(path: Path) -> None:
    """Three at once, each order with its fill; a line for each that is on disk."""
    async with open_journal(path) as journal, trio.open_nursery() as nursery:
        numbers = count(journal.newest_seq)

        async def append() -> None:
            for number in numbers:
                ticket = journal.append(submitted(str(number)), fill(str(number)))
                recorded = await ticket.wait()
                print(ticket.news[0].seq, recorded.lines[0].number, flush=True)

        for _ in range(3):
            nursery.start_soon(append)


if __name__ == "__main__":
    trio.run(main, Path(sys.argv[1]))
