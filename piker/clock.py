"""The two clocks that a daemon reads."""

import time

EARLIEST_NS = 1_577_836_800_000_000_000
"""2020-01-01 UTC: a clock that says less was never set, as on a machine without a battery."""


def wall_ns() -> int:
    """UTC nanoseconds since the epoch; may be stepped."""
    return time.time_ns()


def boot_ns() -> int:
    """CLOCK_BOOTTIME in ns: never stepped, counts through a suspend. Ages are taken with it."""
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME)
