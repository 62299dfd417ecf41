"""A real datad that is killed while it fills bars back: nothing on disk is lost or damaged.

PIKER_KILLS says how often it is killed, PIKER_SEED when: at random, and at points of a write that
it comes to itself, told by what Python says of itself (sys.addaudithook, PEP 578).
"""

import os
import random
import signal
from contextlib import aclosing, suppress
from itertools import cycle
from pathlib import Path

import numpy as np
import trio

from piker import clock, paths
from piker.core.bars import NS
from piker.core.rows import rows_of
from piker.core.spans import joined, without
from piker.errors import Unreachable
from piker.interfaces.data import DATA, Backfill, BackfillReply
from piker.store.audit import audit
from piker.store.barfiles import BarFiles, unfinished
from piker.store.places import Series
from tests.fakes.manager import Running, a_daemon
from tests.fakes.past import truth
from tests.fakes.venue import EURUSD

KILLS = int(os.environ.get("PIKER_KILLS", "8"))
SEED = int(os.environ.get("PIKER_SEED", "6"))
MOST = 5
"""Replies that are waited for before a kill, at most."""
FRAMES = 4 * MOST
"""Of these a datad is told until it is killed, and of no more: it never comes to the end before."""
FRAME_S = 60
SECONDS = Series(EURUSD.fqme, 1)

UNFINISHED_AT = {"opening": False, "written": True, "sealed": True, "renamed": False}
"""Points of a write, and whether a file without its name is there then: before it is made; its
content is there, and no checksum; all of it is on disk; it has its name, not yet for good."""

PROVIDER = """
import os
import signal
import sys
import time
from contextlib import asynccontextmanager
from itertools import count
import trio
from piker import brokers
from tests.fakes.past import open_history_client
from msgspec import structs
from tests.fakes.venue import EURUSD, Venue, get_mkt_info, quote, tick
from tests.fakes.venue import stream_quotes as follow

asked = count()

async def slowly(frame, period_s):
    await trio.sleep(0.003)
    if "HELD_BY" in os.environ and next(asked) >= %d:
        await trio.to_thread.run_sync(wait_for_a_writer, os.environ["HELD_BY"])
        os.environ.pop("HELD_BY", None)
    return frame

def wait_for_a_writer(pipe):
    open(pipe).close()

@asynccontextmanager
async def open_venue(settings):
    venue = Venue(structs.replace(EURUSD, asset_class="simulated"))  # which is always open
    venue.past.script = [slowly] * 100_000
    yield venue

async def stream_quotes(venue, wanted, batches):
    async with trio.open_nursery() as nursery:
        nursery.start_soon(follow, venue, wanted, batches)
        while True:
            venue.say(quote(tick("bid", 1.0, time_ns=time.time_ns())))
            await trio.sleep(0.1)

names = ("open_venue", "get_mkt_info", "stream_quotes", "open_history_client")

class Points:
    def __init__(self, point, number):
        self.point, self.left = point, number
        self.writing = self.renamed = ""

    def __call__(self, event, given):
        at = str(given[0]) if given else ""
        if event == "open" and ".unfinished-" in at:
            self.writing = at
            self.reach("opening")
        elif event == "mmap.__new__" and self.writing:
            self.reach("written")
        elif event == "os.rename" and at == self.writing:
            self.reach("sealed")
            self.writing, self.renamed = "", os.path.dirname(at)
        elif event == "open" and at == self.renamed:
            self.renamed = ""
            self.reach("renamed")

    def reach(self, point):
        self.left -= point == self.point
        if not self.left:
            os.kill(os.getpid(), signal.SIGKILL)

if "KILL_AT" in os.environ:
    point, number = os.environ["KILL_AT"].split()
    sys.addaudithook(Points(point, int(number)))

PROVIDER = brokers.Provider(
    name="fake", doc="Slow.", endpoints={"datad": {name: f"slow:{name}" for name in names}}
)
"""


def install(home: Path) -> dict[str, str]:
    """The provider `fake`, as somebody else's package; gives what finds it.

    With HELD_BY, the name of a pipe, it tells no more than FRAMES until somebody writes there.
    """
    (home / "slow.py").write_text(PROVIDER % FRAMES)
    info = home / "slow-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: slow\nVersion: 1\n")
    (info / "entry_points.txt").write_text("[piker.brokers]\nfake = slow\n")
    return {"PYTHONPATH": f"{home}:{Path(__file__).parents[2]}"}


def held_by(home: Path) -> dict[str, str]:
    """What holds that provider up, until somebody writes to this pipe."""
    pipe = home / "held"
    os.mkfifo(pipe)
    return {"HELD_BY": str(pipe)}


async def kill_in_the_midst(daemon: Running, call: Backfill, at: random.Random) -> None:
    """After some replies, and a moment that differs each time."""
    async with daemon.client(DATA) as client:
        async with aclosing(client.replies(call, BackfillReply)) as replies:
            for _ in range(at.randint(1, MOST)):
                await anext(replies)
            with trio.move_on_after(at.random() / 50):
                async for _ in replies:
                    pass
        await daemon.end(signal.SIGKILL)


async def die_by_itself(daemon: Running, call: Backfill) -> None:
    """At the point that it was told."""
    with suppress(Unreachable):
        async with daemon.client(DATA) as client:
            async for _ in client.replies(call, BackfillReply):
                pass
    assert await daemon.ended() == -signal.SIGKILL


async def until_done(daemon: Running, call: Backfill) -> BackfillReply:
    """The last of what it tells."""
    async with daemon.client(DATA) as client:
        replies = [reply async for reply, _ in client.replies(call, BackfillReply)]
    return replies[-1]


async def test_a_backfill_that_is_killed_at_random_ends_as_one_that_is_not(home: Path) -> None:
    now_ns, at, environment = clock.wall_ns(), random.Random(SEED), install(home)
    held = environment | held_by(home)
    from_ns = now_ns // NS * NS - KILLS * FRAMES * FRAME_S * NS
    call = Backfill(market="eurusd", period_s=1, from_ns=from_ns)
    files = BarFiles(paths.history(), "fake")
    known: list[tuple[int, int]] = []
    for _ in range(KILLS):
        async with a_daemon("datad", "fake", environment=held) as daemon:
            await kill_in_the_midst(daemon, call, at)
        before, known = known, covered(files)
        assert without(before, known) == []
    async with a_daemon("datad", "fake", environment=environment) as daemon:
        last = await until_done(daemon, Backfill(market="eurusd", period_s=1))
    check_whole(files, last, from_ns)


async def test_a_backfill_that_is_killed_in_a_write_loses_nothing_that_was_written(
    home: Path,
) -> None:
    at, environment = random.Random(SEED), install(home)
    from_ns = clock.wall_ns() // NS * NS - KILLS * FRAMES * FRAME_S * NS
    call = Backfill(market="eurusd", period_s=1, from_ns=from_ns)
    files = BarFiles(paths.history(), "fake")
    known: list[tuple[int, int]] = []
    for point, _ in zip(cycle(UNFINISHED_AT), range(KILLS), strict=False):
        told = {**environment, "KILL_AT": f"{point} {at.randint(1, MOST)}"}
        async with a_daemon("datad", "fake", environment=told) as daemon:
            await die_by_itself(daemon, call)
        left = unfinished(files.place(SECONDS))
        assert bool(left) == UNFINISHED_AT[point]
        found = list(audit(files, clock.wall_ns(), repair=False))
        assert [Path(each.path) for each in found] == left
        before, known = known, covered(files)
        assert without(before, known) == []
    async with a_daemon("datad", "fake", environment=environment) as daemon:
        last = await until_done(daemon, Backfill(market="eurusd", period_s=1))
    check_whole(files, last, from_ns)


def check_whole(files: BarFiles, last: BackfillReply, from_ns: int) -> None:
    """All of it is there, as if nothing had been, and wasn't asked for anew."""
    assert last.state == "done"
    assert last.frames < KILLS * FRAMES
    assert covered(files) == [(from_ns, last.to_ns // NS * NS - 2 * NS)]
    rows = files.read(SECONDS, 0, 2 * clock.wall_ns())
    assert np.array_equal(rows, rows_of(truth(1, *covered(files)[0])))
    assert list(audit(files, clock.wall_ns(), repair=False)) == []


def covered(files: BarFiles) -> list[tuple[int, int]]:
    """What is covered on disk."""
    spans = files.coverage(SECONDS, 0, 2 * clock.wall_ns())
    return joined((each.from_ns, each.to_ns) for each in spans)
