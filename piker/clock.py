"""The two clocks that a daemon reads."""

import time


def wall_ns() -> int:
    """UTC nanoseconds since the epoch; may be stepped."""
    return time.time_ns()


def boot_ns() -> int:
    """CLOCK_BOOTTIME in ns: never stepped, counts through a suspend. Ages are taken with it."""
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME)
