"""A million bars of a minute: from files into a numpy view of shared memory, as datad does it.

It is to take no longer than twice what polars takes alone: a ratio of 0.5.
"""

import os
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from functools import partial
from pathlib import Path

import polars as pl

from piker.core import windows
from piker.core.bars import NS
from piker.core.spans import Pair
from piker.sharedbars import BarReader, SharedBars
from piker.store.barfiles import BarFiles
from piker.store.barframes import SEEN
from piker.store.places import Series
from tests.bench import kept
from tests.bench.result import Result, compare

BARS = 1_000_000
SERIES = Series("s0000.xsim.sim", 60)
BEGIN_NS = 1_600_000_020 * NS


def run() -> Iterator[Result]:
    """Not in the page cache and never seen by this process; then both."""
    with tempfile.TemporaryDirectory(prefix="pb-") as directory:
        with BarFiles(Path(directory), "sim") as files:
            stretch = kept.keep(files, SERIES, kept.walk(BEGIN_NS, SERIES.period_s, BARS))
        paths = kept.paths(files, SERIES)
        ours, peer = partial(_into_shared_memory, stretch=stretch), partial(_columns, paths)
        yield _compare("cold", lambda: ours(_new(files, paths)), lambda: peer(dropped=True))
        ours(files)
        yield _compare("warm", lambda: ours(files), peer)


def _compare(how: str, ours: Callable[[], float], peer: Callable[[], float]) -> Result:
    return compare(
        "history_load",
        f"{BARS:,} minutes from disk to shared memory, {how}",
        "ms",
        ours,
        "polars to numpy columns",
        peer,
        more_is_better=False,
    )


def _new(files: BarFiles, paths: list[Path]) -> BarFiles:
    """As a process that begins has them."""
    _drop(paths)
    return BarFiles(files.directory.parent, files.provider)


def _drop(paths: list[Path]) -> None:
    """Out of the page cache."""
    for path in paths:
        fd = os.open(path, os.O_RDONLY)
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(fd)


def _into_shared_memory(files: BarFiles, stretch: Pair) -> float:
    """Milliseconds."""
    capacity = windows.capacity(BARS)
    with closing(SharedBars(SERIES.fqme, SERIES.period_s, _unkept, capacity=capacity)) as bars:
        bars.writer.close(stretch[1] + 3600 * NS)
        began = time.perf_counter()
        rows = files.read(SERIES, *stretch)
        covered = [(span.from_ns, span.to_ns) for span in files.coverage(SERIES, *stretch)]
        with closing(bars.merging()) as merging:
            merging.build(rows, covered)
            assert bars.merge(merging)
        reader = BarReader(os.dup(bars.fd))
        assert len(reader.view()) == BARS
        took_ms = (time.perf_counter() - began) * 1e3
        reader.close()
    return took_ms


def _columns(paths: list[Path], *, dropped: bool = False) -> float:
    """The same columns by polars alone, milliseconds."""
    if dropped:
        _drop(paths)
    began = time.perf_counter()
    frame = pl.read_parquet(paths, columns=list(SEEN))
    columns = [frame[name].to_physical().to_numpy() for name in SEEN]
    took_ms = (time.perf_counter() - began) * 1e3
    assert len(columns[0]) == BARS
    return took_ms


def _unkept(fd: int, generation: int) -> None:
    """There is no manager to keep it."""
