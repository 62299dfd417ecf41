"""A datad whose small disk loses its room in the midst of everything, and what becomes of it.

Run in a mount namespace of its own; the disk is what is mounted there. It follows a market, records
it and fills its history back, and says how all that is. Another process takes the room: a little,
so that less is free than is left to orders, then every name there is for a file.
"""

import os
import sys
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager, suppress
from itertools import count
from pathlib import Path

import numpy as np
import trio

from piker import clock, paths
from piker.core.bars import NS
from piker.core.rows import rows_of
from piker.core.spans import joined
from piker.interfaces.data import DATA, Backfill, BackfillReply, Watch, WatchReply
from piker.interfaces.service import SERVICE, Health, HealthReply
from piker.store import tickfiles
from piker.store.audit import audit
from piker.store.barfiles import BarFiles
from piker.store.places import Series
from piker.store.room import LEAST_FREE, MIB
from tests.daemons.test_backfill_kills import held_by, install
from tests.fakes.manager import Running, a_daemon
from tests.fakes.past import truth
from tests.fakes.venue import EURUSD

SECONDS = Series(EURUSD.fqme, 1)
BACK_S = 100 * 60
PATIENCE_S = 120
Replies = AsyncGenerator[tuple[BackfillReply, tuple[int, ...]], None]


async def main(home: Path) -> None:
    """Through all that a disk goes through."""
    (home / "etc" / "piker.toml").write_text(f'[datad]\nrecord = ["{EURUSD.fqme}"]\n')
    with trio.fail_after(PATIENCE_S):
        environment = install(home) | held_by(home)
        async with a_daemon("datad", "fake", environment=environment) as daemon:
            pipe = Path(environment["HELD_BY"])
            await lose_room_and_have_it_back(daemon, paths.state_directory(), pipe)
    check()


async def lose_room_and_have_it_back(daemon: Running, state: Path, pipe: Path) -> None:
    """While a backfill is under way."""
    async with filling(daemon) as replies:
        await anext(replies)
        take_room(state / "large")
        with pipe.open("r+b", buffering=0):  # until now it wasn't told all
            await say("too little room", daemon, await until(replies, "waiting"))
            take_names(state)
            (state / "large").unlink()
            await say("no name left", daemon, await until_no_name_is_left(replies, state))
            give_names_back(state)
            await say("room", daemon, await until(replies, "done"))


@asynccontextmanager
async def filling(daemon: Running) -> AsyncIterator[Replies]:
    """What a backfill tells that would take some time."""
    from_ns = clock.wall_ns() // NS * NS - BACK_S * NS
    call = Backfill(market="eurusd", period_s=1, from_ns=from_ns)
    async with daemon.client(DATA) as client, aclosing(client.replies(call, BackfillReply)) as told:
        yield told


async def until(replies: Replies, state: str) -> BackfillReply:
    """Read on until it is so."""
    async for reply, _ in replies:
        if reply.state == state:
            return reply
    raise AssertionError(f"expected {state}")


async def until_no_name_is_left(replies: Replies, state: Path) -> BackfillReply:
    """Read on until it waits since the disk itself refuses; who writes gives back what it took."""
    async for reply, _ in replies:
        take_names(state)
        if "No space left on device" in reply.reason:
            return reply
    raise AssertionError("expected another reason")


async def say(situation: str, daemon: Running, reply: BackfillReply) -> None:
    """How it is: the backfill, the status, whether ticks still come, and what is wrong on disk."""
    await ticks_come(daemon)
    async with daemon.client(SERVICE) as client:
        health = await client.call(Health(), HealthReply)
    told = [each.detail for each in health.components if each.name == "history"]
    wrong = [each.text for each in audit(_files(), clock.wall_ns(), repair=False)]
    print(f"{situation}: {reply.state}, {wrong} wrong: {told}")
    print(f"  {reply.reason}")
    assert all(each in health.status for each in told)


async def ticks_come(daemon: Running) -> None:
    """Wait for some that the venue sends after this."""
    now_ns = clock.wall_ns()
    async with daemon.client(DATA) as client:
        replies = client.replies(Watch(markets=(EURUSD.fqme,)), WatchReply)
        async with aclosing(replies):
            async for reply, _ in replies:
                if any(each.time_ns > now_ns for quote in reply.quotes for each in quote.ticks):
                    return


def take_room(path: Path) -> None:
    """Leave a MiB less than history needs."""
    found = os.statvfs(path.parent)
    with path.open("wb") as file:
        size = found.f_bavail * found.f_frsize - LEAST_FREE + MIB
        os.posix_fallocate(file.fileno(), 0, size)


def take_names(directory: Path) -> None:
    """Make files until there can be no more."""
    names = directory / "names"
    with suppress(OSError):
        names.mkdir(exist_ok=True)
        for number in count(len(os.listdir(names))):
            (names / str(number)).touch()


def give_names_back(directory: Path) -> None:
    for path in (directory / "names").iterdir():
        path.unlink()


def check() -> None:
    """Say what is on disk at the end."""
    files = _files()
    spans = files.coverage(SECONDS, 0, 2 * clock.wall_ns())
    (whole,) = joined((each.from_ns, each.to_ns) for each in spans)
    rows = files.read(SECONDS, 0, 2 * clock.wall_ns())
    true = np.array_equal(rows, rows_of(truth(1, *whole)))
    wrong = [each.text for each in audit(files, clock.wall_ns(), repair=False)]
    ticks = tickfiles.read(tickfiles.ticks_of(files.directory, EURUSD.fqme)).ticks
    whole_s = (whole[1] - whole[0]) // NS
    print(f"at the end: {wrong} wrong, {whole_s >= BACK_S - 2}, {true}, {len(ticks) > 2}")


def _files() -> BarFiles:
    return BarFiles(paths.history(), "fake")


if __name__ == "__main__":
    trio.run(main, Path(sys.argv[1]))
