"""Bars to put into a store."""

from collections.abc import Sequence

import numpy as np

from piker.core.bars import NS, ROW
from piker.store.places import Series

MINUTES = Series("eurusd.spot.replay", 60)
MINUTE = 60 * NS
JUNE = 1_780_272_000 * NS
"""2026-06-01 00:00 UTC."""
MAY = JUNE - 31 * 1440 * MINUTE
JULY = JUNE + 30 * 1440 * MINUTE
NOW = JULY + 100 * 1440 * MINUTE


def bars(times_ns: Sequence[int], price: float = 1.5) -> np.ndarray:
    """A row at each of these times, all of them alike."""
    rows = np.zeros(len(times_ns), dtype=ROW)
    rows["time_ns"] = times_ns
    for name, value in zip(("open", "high", "low", "close"), (0.0, 0.5, -0.5, 0.25), strict=True):
        rows[name] = price + value
    rows["volume"], rows["trades"] = 10.0, 2
    return rows


def minutes(*numbers: int, price: float = 1.5) -> np.ndarray:
    """Rows of these minutes of June."""
    return bars([JUNE + number * MINUTE for number in numbers], price)


def stretch(first: int, end: int) -> tuple[int, int]:
    """From one minute of June to another."""
    return JUNE + first * MINUTE, JUNE + end * MINUTE
