"""How many bars shared memory has room for, and what they weigh.

The window is what is always there of a market's newest bars, once there were so many. A table has
room for half as much again, and goes on with its window when it is full (bars.py).
"""

from collections.abc import Mapping
from typing import Final

from piker.core.bars import words

DAY_S: Final = 86_400
DAYS: Final[Mapping[int, int]] = {1: 2, 60: 60}
"""The windows unless the configuration says otherwise, in days, by period, s."""


def rows(period_s: int, days: int) -> int:
    """How many bars of a period there are in so many days, at most."""
    return days * DAY_S // period_s


def capacity(window: int) -> int:
    """How many rows a table has room for whose window is so many."""
    return window + window // 2


def weight(period_s: int, days: int) -> int:
    """Bytes of memory of one market's bars of a period when they are full.

    They weigh twice as much for a moment when they move on, and the old ones do for as long as a
    reader keeps them.
    """
    return 8 * words(capacity(rows(period_s, days)))


def capacities(days: Mapping[int, int]) -> dict[int, int]:
    """How many rows tables have room for, by period."""
    return {period_s: capacity(rows(period_s, count)) for period_s, count in days.items()}
