"""datad's process: the bars of before are there again, whatever it ended by."""

import signal
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager, closing
from pathlib import Path

from piker import paths
from piker.core.bars import NS
from piker.core.rows import bars_of
from piker.interfaces.data import DATA, Bars, BarsReply, Watch, WatchReply
from piker.quotes import Bar
from piker.sharedbars import BarReader
from piker.store.barfiles import BarFiles
from piker.store.places import Series
from piker.transport import listen
from piker.varlink import open_client
from tests.fakes.manager import Running, a_daemon

EURUSD = "eurusd.spot.replay"


Given = tuple[BarsReply, tuple[int, ...]]


@asynccontextmanager
async def reading(daemon: Running) -> AsyncIterator[AsyncIterator[Given]]:
    """The memfds of its bars, as they come."""
    async with daemon.client(DATA) as client:
        replies = client.replies(Bars(market=EURUSD, period_s=1), BarsReply)
        async with aclosing(replies):
            yield replies


def final(given: Given) -> list[Bar]:
    """The final bars in a memfd, which is closed."""
    (fd,) = given[1]
    with closing(BarReader(fd)) as reader:
        count = reader.final
        return reader.bars(1000)[:count]


async def some_bars_are_final(daemon: Running) -> None:
    """Wait until there were ticks in seven different seconds: the first are final by then."""
    seconds: set[int] = set()
    async with daemon.client(DATA) as client:
        replies = client.replies(Watch(markets=(EURUSD,)), WatchReply)
        async with aclosing(replies):
            while len(seconds) < 7:
                reply, _ = await anext(replies)
                seconds |= {each.time_ns // NS for quote in reply.quotes for each in quote.ticks}


def on_disk() -> list[Bar]:
    """What is kept."""
    files = BarFiles(paths.history(), "replay")
    return bars_of(files.read(Series(EURUSD, 1), 0, 2**62))


async def test_who_reads_after_a_restart_is_given_the_bars_of_before() -> None:
    async with a_daemon("datad", "replay") as daemon, reading(daemon) as read:
        final(await anext(read))
        await some_bars_are_final(daemon)
        assert await daemon.end(signal.SIGTERM) == 75
    kept = on_disk()
    assert len(kept) >= 2
    async with a_daemon("datad", "replay") as daemon, reading(daemon) as read:
        first, second = await anext(read), await anext(read)
        assert (first[0].reason, first[0].generation, final(first)) == ("opened", 1, [])
        assert (second[0].reason, second[0].generation) == ("filled", 2)
        assert final(second)[: len(kept)] == kept


async def test_bars_are_on_disk_when_it_ends_because_nobody_talks_to_it(home: Path) -> None:
    (home / "etc" / "piker.toml").write_text("idle_exit_s = 0.2")
    path = str(paths.socket_path("datad", "replay"))
    with listen(path) as listener:
        async with (
            open_client(path, DATA, "datad") as first,  # else it may end before anybody connects
            a_daemon("datad", "replay", fds={"datad": listener.fileno()}) as daemon,
        ):
            async with reading(daemon) as read:
                first.close()
                final(await anext(read))
                await some_bars_are_final(daemon)
            assert await daemon.ended() == 0
    assert len(on_disk()) >= 2
