"""A flood of trades through a gateway and a datad@ib that are processes, to one who watches all."""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from pathlib import Path

import trio
from msgspec import Struct

from piker import paths
from piker.clock import boot_ns
from piker.interfaces.data import DATA, Watch, WatchReply
from tests.fakes import gateway as fake
from tests.fakes.gateway import Remote, a_gateway_process, actions
from tests.fakes.manager import Running, a_daemon
from tests.fakes.papershop import listen_to

PATIENCE_S = 1800.0
WARM = 500
"""Trades in each market before anything is measured: what is allocated once is by then."""


class Outcome(Struct, frozen=True, kw_only=True):
    """What came of it."""

    ticks: int
    sizes: int
    """The sum of the trades' sizes."""
    seconds: float
    grown_mb: float
    """What datad's resident memory has grown by since it was warm."""


class _Watcher:
    """Counts the trades of all markets."""

    def __init__(self, replies: AsyncGenerator[tuple[WatchReply, tuple[int, ...]], None]) -> None:
        self.ticks = 0
        self.sizes = 0
        self._replies = replies

    async def until(self, ticks: int) -> None:
        """Watch until there were so many trades."""
        while self.ticks < ticks:
            reply, _ = await anext(self._replies)
            for quote in reply.quotes:
                trades = [tick.size for tick in quote.ticks if tick.kind == "trade"]
                self.ticks += len(trades)
                self.sizes += int(sum(filter(None, trades)))

    async def settled(self, markets: int) -> None:
        """Watch until each market is live and has shown what it shows at first."""
        live: set[str] = set()
        while len(live) < markets:
            reply, _ = await anext(self._replies)
            live |= {each.market for each in reply.states if each.state == "live"}
            live |= {each.market.fqme for each in reply.markets if each.state.state == "live"}


async def flood(home: Path, markets: int, trades: int) -> Outcome:
    """So many trades in each of so many markets, as fast as they are taken.

    The environment says where datad finds its things.
    """
    playing = fake.Settings(stocks=markets, lines=markets, data_clients=frozenset({100}))
    _configure(home, markets)
    with trio.fail_after(PATIENCE_S):
        async with (
            a_gateway_process(home, playing) as gateway,
            a_daemon("datad", "ib") as datad,
            datad.client(DATA) as client,
        ):
            names = tuple(f"t{number:03}.nasdaq.ib" for number in range(1, markets + 1))
            replies = client.replies(Watch(markets=names, every=True), WatchReply, PATIENCE_S)
            async with aclosing(replies), trio.open_nursery() as nursery:
                nursery.start_soon(listen_to, datad.manager)
                outcome = await _measure(gateway, datad, _Watcher(replies), names, trades)
                nursery.cancel_scope.cancel()
    return outcome


async def _measure(
    gateway: Remote, datad: Running, watcher: _Watcher, names: tuple[str, ...], trades: int
) -> Outcome:
    await watcher.settled(len(names))
    await _pour(gateway, watcher, names, WARM)
    before_mb, began_ns = _resident_mb(datad), boot_ns()
    ticks, sizes = watcher.ticks, watcher.sizes
    await _pour(gateway, watcher, names, trades)
    return Outcome(
        ticks=watcher.ticks - ticks,
        sizes=watcher.sizes - sizes,
        seconds=(boot_ns() - began_ns) / 1e9,
        grown_mb=_resident_mb(datad) - before_mb,
    )


async def _pour(gateway: Remote, watcher: _Watcher, names: tuple[str, ...], trades: int) -> None:
    symbols = tuple(name.partition(".")[0].upper() for name in names)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(gateway.do, actions.Flood(markets=symbols, trades=trades))
        await watcher.until(watcher.ticks + trades * len(names))


def _configure(home: Path, markets: int) -> None:
    directory = paths.config_directory() / "piker"
    directory.mkdir(parents=True, exist_ok=True)
    text = f'[providers.ib]\ndata = "unix:{home / "gateway.sock"}"\nlines = {markets}\n'
    (directory / "piker.toml").write_text(text)


def _resident_mb(datad: Running) -> float:
    """Of the daemon's process, as the kernel counts it."""
    text = Path(f"/proc/{datad.process.pid}/smaps_rollup").read_text()
    line = next(line for line in text.splitlines() if line.startswith("Rss:"))
    return int(line.split()[1]) * 1024 / 1e6
