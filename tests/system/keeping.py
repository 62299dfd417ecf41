"""Run by a datad's unit in its stead: what it keeps on disk comes back as it was, or this fails."""

import sys
from pathlib import Path

import polars as pl

from piker import paths
from piker.store import parquet


def main(provider: str) -> None:
    """Write a file where datad would, by its own means, and read it again."""
    path = Path(
        paths.state_of("datad"), "history", provider, "eurusd.spot", "1m", "2026-11.parquet"
    )
    frame = pl.DataFrame({"time": range(100_000), "close": 1.1}).filter(pl.col("time") % 2 == 0)
    parquet.write(frame, path, {"piker": "{}"})
    assert parquet.read(path).equals(frame)
    assert parquet.words_of(path)["piker"] == "{}"
    assert pl.thread_pool_size() == 2, pl.thread_pool_size()


if __name__ == "__main__":
    main(sys.argv[1])
