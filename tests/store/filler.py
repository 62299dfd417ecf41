"""A process that fills the small disk that it is given, and says what becomes of a journal there.

Run in a mount namespace of its own.
"""

import os
import sys
from pathlib import Path

import trio

from piker.errors import Refused
from piker.store.ballast import Ballast
from piker.store.journal import Journal, open_journal
from tests.store.samples import submitted

MIB = 1024 * 1024


def fill_up(path: Path) -> None:
    """Take all room there is."""
    with path.open("wb", buffering=0) as file:
        for size in (MIB, 1024, 1):
            write_until_full(file.write, size)


def write_until_full(write: object, size: int) -> None:
    assert callable(write)
    try:
        while write(bytes(size)) == size:
            pass
    except OSError as error:
        print(error, file=sys.stderr)


async def say(situation: str, journal: Journal, orders: int) -> None:
    """Append so many orders, and say whether they are on disk and what the journal is then."""
    ticket = journal.append(*(submitted(str(number)) for number in range(orders)))
    try:
        await ticket.wait()
        outcome = "written"
    except Refused as refused:
        outcome = type(refused.fault).__name__
    await journal.try_again()
    held = Ballast(journal.path.with_name("journal.ballast")).held
    print(f"{situation}: {outcome}, ballast {held}, disk_full {journal.disk_full}")


async def main(disk: Path) -> None:
    """Through all that a disk goes through."""
    async with open_journal(disk / "journal") as journal:
        await say("with room", journal, 1)
        fill_up(disk / "first")
        await say("full", journal, 3_000)
        fill_up(disk / "second")
        await say("ballast spent", journal, 3_000)
        (disk / "second").unlink()
        os.truncate(disk / "first", (disk / "first").stat().st_size - 8 * MIB)
        await say("little room", journal, 1)
        (disk / "first").unlink()
        await say("with room", journal, 1)


if __name__ == "__main__":
    trio.run(main, Path(sys.argv[1]))
