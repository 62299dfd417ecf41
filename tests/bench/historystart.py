"""datad with 200 markets kept and all their windows on disk: first bars, and memory of them all."""

import resource
import time
from collections.abc import Callable, Iterator
from contextlib import aclosing, closing, suppress
from itertools import product
from pathlib import Path
from statistics import median

import trio

from piker.brokers.sim.wire import name
from piker.core import windows
from piker.core.bars import NS
from piker.interfaces.data import DATA, Bars, BarsReply
from piker.sharedbars import BarReader
from piker.store.barfiles import BarFiles
from piker.store.places import Series
from piker.varlink import open_client
from tests.bench import kept
from tests.bench.memory import pss_mb
from tests.bench.result import ROUNDS, Result
from tests.bench.rig import Rig, rig

MARKETS = 200
LONGEST_S = 3.0
ALL_S = 900.0
"""So long it may take until all are read; nobody waits for that."""
DESCRIPTORS = 8192
LAST_ROWS = 3 * 3600
"""So many of a window may be over since they were made."""


def run() -> Iterator[Result]:
    """How long a reader of one market waits; then what all weigh."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(DESCRIPTORS, hard), hard))
    markets = [name(number) for number in range(MARKETS)]
    with rig() as made:
        _configure(made, markets)
        _keep(made, markets)
        took_s = median(_first_bars(made, markets[MARKETS // 2]) for _ in range(ROUNDS))
        yield _row("start to first bars from disk", "s", took_s, LONGEST_S)
        stated_mb = MARKETS * sum(windows.weight(*each) for each in windows.DAYS.items()) / 1e6
        yield _row("all read, PSS and memfds", "MB", _all_read(made, markets), stated_mb)


def _row(case: str, unit: str, value: float, most: float) -> Result:
    return Result(
        bench="history_start",
        case=f"datad, {MARKETS} markets kept: {case}",
        value=float(f"{value:.4g}"),
        unit=unit,
        peer="at most",
        peer_value=float(f"{most:.4g}"),
        ratio=round(most / value, 2),
    )


def _configure(made: Rig, markets: list[str]) -> None:
    keep = ", ".join(f'"{market}"' for market in markets)
    made.configure(
        f"[datad]\nkeep = [{keep}]\n[providers.sim]\nmarkets = {MARKETS}\nrate_hz = 1.0\n"
    )


def _keep(made: Rig, markets: list[str]) -> None:
    """Windows that end an hour ago, on disk."""
    to_ns = time.time_ns() // (3600 * NS) * 3600 * NS - 3600 * NS
    directory = made.directory / "piker-datad" / "history"
    with BarFiles(directory, "sim") as files:
        for period_s, days in windows.DAYS.items():
            count = windows.rows(period_s, days)
            rows = kept.walk(to_ns - count * period_s * NS, period_s, count)
            kept.keep(files, Series(markets[0], period_s), rows)
            kept.keep_alike(files, Series(markets[0], period_s), markets[1:])


def _first_bars(made: Rig, market: str) -> float:
    """Seconds from the start of a datad to bars of the store, of both periods."""
    began = time.perf_counter()
    process = made.start_daemon("piker.datad", "sim")
    trio.run(_read, made.socket("datad", "sim"), [market])
    took_s = time.perf_counter() - began
    made.end(process)
    return took_s


def _all_read(made: Rig, markets: list[str]) -> float:
    """Megabytes of datad while somebody reads all."""
    process = made.start_daemon("piker.datad", "sim")
    measured: list[float] = []
    path = made.socket("datad", "sim")
    trio.run(_read, path, markets, lambda: measured.append(_all_mb(process.pid)))
    made.end(process)
    return measured[0]


def _all_mb(pid: int) -> float:
    """Its own memory, and what its memfds hold: most of that nobody maps, and PSS lacks it."""
    memfds: dict[int, int] = {}
    for fd in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(FileNotFoundError):  # it may be closed meanwhile
            if str(fd.readlink()).startswith("/memfd:"):
                found = fd.stat()
                memfds[found.st_ino] = found.st_blocks * 512  # an mmap of Python's has it, too
    return pss_mb(pid, "Pss_Anon", "Pss_File") + sum(memfds.values()) / 1e6


class _Reading:
    """Readers of bars, who stay until the last of them has those of the store."""

    def __init__(self, readers: int) -> None:
        self._missing = readers
        self.all_there = trio.Event()
        self.over = trio.Event()

    async def follow(self, path: str, market: str, period_s: int) -> None:
        """One of them."""
        async with (
            open_client(path, DATA, "datad@sim") as client,
            aclosing(client.replies(Bars(market=market, period_s=period_s), BarsReply)) as replies,
        ):
            async for reply, (fd,) in replies:
                with closing(BarReader(fd)) as reader:
                    full = (
                        reader.final >= windows.rows(period_s, windows.DAYS[period_s]) - LAST_ROWS
                    )
                if reply.reason == "filled" and full:
                    break
            self._missing -= 1
            if not self._missing:
                self.all_there.set()
            await self.over.wait()


async def _read(path: str, markets: list[str], then: Callable[[], None] = lambda: None) -> None:
    """Read bars of both periods; do something when all have those of the store."""
    reading = _Reading(len(markets) * len(windows.DAYS))
    with trio.fail_after(ALL_S):
        async with trio.open_nursery() as nursery:
            for market, period_s in product(markets, windows.DAYS):
                nursery.start_soon(reading.follow, path, market, period_s)
            await reading.all_there.wait()
            then()
            reading.over.set()
