"""Bars on disk, as the benchmarks want them: a random walk, all of it covered."""

from pathlib import Path

import numpy as np

from piker.core.bars import NS, ROW
from piker.core.spans import Pair
from piker.store.barfiles import BarFiles
from piker.store.places import Series

SOURCE = "bench"


def walk(begin_ns: int, period_s: int, count: int) -> np.ndarray:
    """So many rows, one a period."""
    made = np.random.default_rng(1)
    rows = np.zeros(count, dtype=ROW)
    steps = made.integers(-3, 4, size=(count, 2))
    rows["time_ns"] = begin_ns + np.arange(count) * period_s * NS
    rows["close"] = 100 + steps[:, 0].cumsum() / 4
    rows["open"] = rows["close"] + steps[:, 1] / 4
    rows["high"] = np.maximum(rows["open"], rows["close"]) + 0.25
    rows["low"] = np.minimum(rows["open"], rows["close"]) - 0.25
    rows["volume"] = rows["trades"] = made.integers(1, 1000, count)
    return rows


def keep(files: BarFiles, series: Series, rows: np.ndarray) -> Pair:
    """Put rows of periods without a gap on disk; the stretch they cover."""
    stretch = int(rows["time_ns"][0]), int(rows["time_ns"][-1]) + series.period_s * NS
    files.put(
        series, rows, [stretch], how="backfilled", source=SOURCE, now_ns=stretch[1] + 3600 * NS
    )
    return stretch


def keep_alike(files: BarFiles, one: Series, others: list[str]) -> None:
    """Have other markets keep what one has."""
    for month in files.months(one):
        found = files.whole(one, month)
        assert found
        for fqme in others:
            files.write(Series(fqme, one.period_s), month, found[1], found[0].coverage)


def paths(files: BarFiles, series: Series) -> list[Path]:
    """The files of a series, oldest first."""
    return [files.place(series) / month.file for month in files.months(series)]
