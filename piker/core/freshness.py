"""How long a market is usually silent, learnt by the hour of the week.

A market is stale when it has been silent for longer than its own usual silence. What is usual
differs by orders of magnitude between markets and hours, so one constant either misses dead data
or cries wolf at night.
"""

FLOOR_NS = 5_000_000_000
"""Shorter silences are never stale."""
UNLEARNT_NS = 60_000_000_000
"""What is usual before anything was learnt."""
QUANTILE = 0.999
"""The share of silences that are usual."""
MARGIN = 3
"""Times the quantile: one silence in a thousand is longer than it, and markets have thousands."""
ENOUGH = 100
"""Silences from which an hour's own quantile is taken; before, that of all hours is."""

_HOUR_NS = 3_600_000_000_000
_WEEK_H = 168
_BUCKETS = 24
_UNIT_BITS = 20
"""The first bucket ends at 2**20 ns, about a millisecond; each is twice as wide as the last."""


def hour_of_week(time_ns: int) -> int:
    """0 to 167, in UTC; 0 is Thursday midnight, as the epoch was."""
    return time_ns // _HOUR_NS % _WEEK_H


class Silence:
    """The silences of one market, counted in buckets of doubling width."""

    def __init__(self, floor_ns: int = FLOOR_NS, unlearnt_ns: int = UNLEARNT_NS) -> None:
        self._floor_ns = floor_ns
        self._unlearnt_ns = unlearnt_ns
        self._hours: dict[int, list[int]] = {}

    def add(self, silence_ns: int, hour: int) -> None:
        """Count one silence, between two messages of one session."""
        buckets = self._hours.get(hour)
        if buckets is None:
            buckets = self._hours[hour] = [0] * _BUCKETS
        buckets[min((silence_ns >> _UNIT_BITS).bit_length(), _BUCKETS - 1)] += 1

    def limit_ns(self, hour: int) -> int:
        """The longest silence that is still usual at this hour of the week, ns."""
        buckets = self._hours.get(hour, [])
        if sum(buckets) < ENOUGH:
            buckets = [sum(column) for column in zip(*self._hours.values(), strict=True)]
        if sum(buckets) < ENOUGH:
            return self._unlearnt_ns
        return max(self._floor_ns, MARGIN * _quantile_ns(buckets))


def _quantile_ns(buckets: list[int]) -> int:
    """The upper end of the bucket that the quantile falls into."""
    wanted = QUANTILE * sum(buckets)
    seen = 0
    for index, count in enumerate(buckets):
        seen += count
        if seen >= wanted:
            return 1 << (_UNIT_BITS + index)
    raise AssertionError("the buckets add up to their sum")
