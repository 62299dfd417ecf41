"""Periods and spans of time in commands about the past."""

import argparse
import re
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from piker.core.bars import NS

_UNITS = {"s": 1, "min": 60, "m": 60, "h": 3600, "d": 86_400}
_PERIOD = re.compile(r"([1-9]\d{0,8})(s|min|m|h|d)?", re.ASCII)


def period(text: str) -> int:
    """The length of a bar in seconds, of 1s, 1m, 1min, 5m, 1h or 1d."""
    matched = _PERIOD.fullmatch(text.strip())
    if not matched:
        raise argparse.ArgumentTypeError(
            f"expected a period such as 1s, 5m, 1h or 1d, was {text!r}"
        )
    return int(matched[1]) * _UNITS[matched[2] or "s"]


def zone(text: str) -> ZoneInfo:
    """A time zone by its name."""
    try:
        return ZoneInfo(text)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        expected = "expected a time zone such as Asia/Shanghai"
        raise argparse.ArgumentTypeError(f"{expected}, was {text!r}") from None


def named(period_s: int) -> str:
    """A period in its largest unit: 300 is 5m."""
    unit = next(each for each in ("d", "h", "m", "s") if period_s % _UNITS[each] == 0)
    return f"{period_s // _UNITS[unit]}{unit}"


def lasting(ns: int) -> str:
    """A span of time in two units at most: 2d 5h."""
    seconds = ns // NS
    parts = []
    for unit in ("d", "h", "m", "s"):
        count, seconds = divmod(seconds, _UNITS[unit])
        parts += [f"{count}{unit}"] if count else []
    return " ".join(parts[:2]) or "0s"
