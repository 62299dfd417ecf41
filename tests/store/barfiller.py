"""A process that fills the small disk that it is given, and says what becomes of an archive there.

Run in a mount namespace of its own. Given a number of bytes too, it leaves a little less than that
free, and the archive is to leave so much alone.
"""

import os
import sys
from pathlib import Path

import numpy as np
import trio

from piker import log
from piker.archive import Archive, open_archive
from piker.store.audit import audit
from piker.store.ballast import free_bytes
from tests.store.bars import JUNE, MINUTE, MINUTES, NOW, bars
from tests.store.filler import fill_up

ROWS = 20_000


async def say(situation: str, archive: Archive, first: int) -> None:
    """Put rows that can't be packed well, and say what was kept and what is there."""
    rows = bars([JUNE + (first + number) * MINUTE for number in range(ROWS)])
    rows["volume"] = np.random.default_rng(first).random(ROWS)
    stretch = JUNE + first * MINUTE, JUNE + (first + ROWS) * MINUTE
    put = await archive.put(MINUTES, rows, [stretch], how="live", source="x", now_ns=NOW)
    there = await archive.read(MINUTES, 0, NOW)
    wrong = await archive.use(lambda files: list(audit(files, NOW, repair=False)))
    kept = put.added if put else None
    print(f"{situation}: {kept} kept, {len(there)} there, {len(wrong)} wrong: {archive.problem}")


def fill(path: Path, left: int) -> None:
    """Take the room there is, but so much."""
    if not left:
        fill_up(path)
        return
    with path.open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, free_bytes(path.parent) - left)


async def main(disk: Path, least_free: int) -> None:
    """Through all that a disk goes through."""
    log.set_up("datad", "replay")
    async with open_archive(disk / "history", "replay", least_free) as archive:
        await say("with room", archive, 0)
        fill(disk / "all", max(0, least_free - 4096))
        await say("full", archive, ROWS)
        await say("still full", archive, ROWS)
        (disk / "all").unlink()
        await say("with room", archive, ROWS)


if __name__ == "__main__":
    trio.run(main, Path(sys.argv[1]), int(sys.argv[2]))
