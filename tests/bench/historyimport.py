"""piker history import: bars of somebody else's into a datad's store, against polars' own write."""

import subprocess
import sys
import time
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import numpy as np
import polars as pl

from tests.bench.result import Result, compare
from tests.bench.rig import Rig, rig

ROWS = 10_000_000
MINUTE_NS = 60_000_000_000
FROM_NS = 25 * 365 * 1440 * MINUTE_NS


def run() -> Iterator[Result]:
    """A Parquet file and a CSV file, each time to a market of its own."""
    frame, numbers = _frame(), count()
    with rig() as made:
        made.start_daemon("piker.datad", "burst")
        for kind in ("parquet", "csv"):
            file = made.directory / f"theirs.{kind}"
            _write(frame, file, kind)
            yield compare(
                "history_import",
                f"{ROWS:,} minutes, {kind}",
                "s",
                lambda file=file: _import(made, file, next(numbers)),  # type: ignore[misc]
                "polars' write of the same",
                lambda file=file, kind=kind: _write(frame, file, kind),  # type: ignore[misc]
                more_is_better=False,
            )


def _frame() -> pl.DataFrame:
    """Nineteen years of a price that goes up and down by cents."""
    chance = np.random.default_rng(1)
    close = np.abs(np.round(100 + np.cumsum(chance.normal(0, 0.01, ROWS)), 2)) + 1
    opened = np.append(close[:1], close[:-1])
    spread = np.round(chance.random((2, ROWS)) / 2, 2)
    times = pl.Series("time", FROM_NS + np.arange(ROWS) * MINUTE_NS)
    return pl.DataFrame(
        {
            "time": times.cast(pl.Datetime("ns", "UTC")),
            "open": opened,
            "high": np.maximum(opened, close) + spread[0],
            "low": np.minimum(opened, close) - spread[1],
            "close": close,
            "volume": np.round(chance.random(ROWS) * 100, 1),
        }
    )


def _write(frame: pl.DataFrame, file: Path, kind: str) -> float:
    """As Parquet or CSV, seconds."""
    began = time.perf_counter()
    frame.write_parquet(file) if kind == "parquet" else frame.write_csv(file)
    return time.perf_counter() - began


def _import(made: Rig, file: Path, number: int) -> float:
    """By the command, from its start to its end, seconds."""
    market = f"m{number}.bench.burst"
    words = ("history", "import", str(file), "--market", market, "--period", "1m")
    began = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-m", "piker.cli", *words],
        env=made.environment,
        capture_output=True,
        text=True,
        check=False,
    )
    took = time.perf_counter() - began
    assert f"{ROWS} new" in done.stdout, done.stderr
    return took
