"""Arguments that commands share."""

import argparse
import re
from datetime import datetime, timedelta
from decimal import Decimal
from typing import NoReturn

from piker.cli import USAGE

_SPAN = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|s|min|m|h)?")
_SECONDS = {"ms": 0.001, "s": 1.0, "min": 60.0, "m": 60.0, "h": 3600.0}
_NUMBER = re.compile(r"-?\d{1,18}(?:\.\d{1,12})?")
_ONE_LINE = 1000
"""Columns that no usage fills."""
_DAYS = re.compile(r"(\d{1,6})\s*d")
_CLOCK = re.compile(r"([01]?\d|2[0-3]):([0-5]\d)(?::([0-5]\d))?")


class _Parser(argparse.ArgumentParser):
    """One whose errors are two lines: what is needed, and what was wrong."""

    def error(self, message: str) -> NoReturn:
        needed = [each for each in self._actions if each.required or not each.option_strings]
        usage = argparse.HelpFormatter(f"{self.prog} [OPTION…]", width=_ONE_LINE)
        usage.add_usage(None, needed, ())
        told = f"{usage.format_help().strip()}; see {self.prog} --help"
        self.exit(USAGE, f"{told}\n{self.prog}: error: {message}\n")


def parser(command: str, doc: str, example: str = "") -> argparse.ArgumentParser:
    """A parser for one command. No option may be abbreviated: a slip is not to become another."""
    return _Parser(
        prog=f"piker {command}",
        description=doc,
        epilog=f"Example: piker {command} {example}" if example else None,
        allow_abbrev=False,
    )


def span(text: str) -> float:
    """A span of time, as 5s, 200ms, 2min or 1h; seconds without a unit."""
    matched = _SPAN.fullmatch(text.strip())
    if not matched or not float(matched[1]):
        raise argparse.ArgumentTypeError(f"expected a time such as 5s or 2min, was {text!r}")
    return float(matched[1]) * _SECONDS[matched[2] or "s"]


def positive(text: str) -> int:
    """A whole number above 0."""
    if not text.isdigit() or not int(text):
        raise argparse.ArgumentTypeError(f"expected a whole number above 0, was {text!r}")
    return int(text)


def count(text: str) -> int:
    """A whole number, 0 or more."""
    if not (text.isascii() and text.isdigit()):
        raise argparse.ArgumentTypeError(f"expected a whole number of 0 or more, was {text!r}")
    return int(text)


def rate(text: str) -> float:
    """Times a second."""
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value <= 1000:
        raise argparse.ArgumentTypeError(f"expected a rate above 0 and up to 1000, was {text!r}")
    return value


def price(text: str) -> Decimal:
    """A price, which may be negative: digits and a point, nothing else."""
    if not (text.isascii() and _NUMBER.fullmatch(text)):
        raise argparse.ArgumentTypeError(f"expected a price such as 1.2050, was {text!r}")
    return Decimal(text)


def size(text: str) -> Decimal:
    """A size: a number above 0."""
    if not (text.isascii() and _NUMBER.fullmatch(text) and Decimal(text) > 0):
        raise argparse.ArgumentTypeError(f"expected a size above 0 such as 1000, was {text!r}")
    return Decimal(text)


def per_cent(text: str) -> Decimal:
    """A share, per cent, 0 or more."""
    if not (text.isascii() and _NUMBER.fullmatch(text) and 0 <= Decimal(text) <= 100):
        raise argparse.ArgumentTypeError(f"expected 0 to 100 per cent, was {text!r}")
    return Decimal(text)


def instant(text: str, now_ns: int) -> int:
    """When something is to be, UTC ns: in 2h, at 17:30, or at 2026-12-01T17:30 (local, or with a
    zone).

    Raises ArgumentTypeError also for what is past.
    """
    when_ns = _instant(text.strip(), now_ns)
    if when_ns is None:
        expected = "expected 2h, 17:30 or 2026-12-01T17:30"
        raise argparse.ArgumentTypeError(f"{expected}, was {text!r}")
    if when_ns <= now_ns:
        raise argparse.ArgumentTypeError(f"expected an instant to come, was {text!r}")
    return when_ns


def moment(text: str, now_ns: int) -> int:
    """When something was, UTC ns: 2h or 30d ago, at 15:30 or 2026-11-02T15:30, local or zoned.

    Raises ArgumentTypeError.
    """
    stripped = text.strip()
    if _SPAN.fullmatch(stripped):
        return max(0, now_ns - round(span(stripped) * 1e9))
    if days := _DAYS.fullmatch(stripped):
        return max(0, now_ns - int(days[1]) * 86_400 * 10**9)
    when_ns = _instant(stripped, now_ns)
    if when_ns is None or when_ns < 0:
        expected = "expected 2h, 30d, 15:30 or 2026-11-02T15:30"
        raise argparse.ArgumentTypeError(f"{expected}, was {text!r}")
    is_of_the_clock = _CLOCK.fullmatch(stripped) is not None
    return _ns(_a_day_before(when_ns)) if is_of_the_clock and when_ns > now_ns else when_ns


def _a_day_before(when_ns: int) -> datetime:
    """When clocks showed the same the day before, by the calendar."""
    local = datetime.fromtimestamp(when_ns / 1e9).replace(tzinfo=None)
    return (local - timedelta(days=1)).astimezone()


def _instant(text: str, now_ns: int) -> int | None:
    if _SPAN.fullmatch(text):
        return now_ns + round(span(text) * 1e9)
    now = datetime.fromtimestamp(now_ns / 1e9).astimezone()
    clock = _CLOCK.fullmatch(text)
    if clock:
        return _ns(_next(now, int(clock[1]), int(clock[2]), int(clock[3] or 0)))
    try:
        return _ns(datetime.fromisoformat(text).astimezone())
    except (ValueError, OverflowError):
        return None


def _next(now: datetime, hour: int, minute: int, second: int) -> datetime:
    """The next time that clocks here show it; today, or tomorrow by the calendar."""
    local = now.replace(tzinfo=None, hour=hour, minute=minute, second=second, microsecond=0)
    today = local.astimezone()
    return today if today > now else (local + timedelta(days=1)).astimezone()


def _ns(when: datetime) -> int:
    return round(when.timestamp()) * 1_000_000_000
