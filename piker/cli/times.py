"""Times for people: short, and local."""

import time
from datetime import datetime

from piker import clock
from piker.orders import Life

_WHOLE_OID = 36
_VERSION_AT = 14


def local(time_ns: int) -> str:
    """A time of day here."""
    return time.strftime("%H:%M:%S", time.localtime(time_ns / 1e9))


def dated(time_ns: int) -> str:
    """A date and a time of day here."""
    return datetime.fromtimestamp(time_ns // 1_000_000_000).astimezone().strftime("%F %T")


def short(time_ns: int | None) -> str:
    """A time of day here, if it is of today; else its date; - if there is none."""
    if time_ns is None:
        return "-"
    date, today = (
        time.strftime("%F", time.localtime(ns / 1e9)) for ns in (time_ns, clock.wall_ns())
    )
    return local(time_ns) if date == today else date


def made_or_filled_ns(life: Life) -> int | None:
    """When it was made, triggered or last filled, whichever came last, UTC ns; None: who knows.

    A book does not say when its newest event was.
    """
    known = [
        _made_ns(life.order.oid) or life.armed_ns,
        life.triggered.time_ns if life.triggered else 0,
        *(each.time_ns for each in life.executions[-1:]),
    ]
    return max(known) or None


def _made_ns(oid: str) -> int | None:
    """The time that a UUIDv7 begins with; ids that their owners chose have none. RFC 9562, 5.7."""
    digits = oid[:8] + oid[9:13]
    if len(oid) != _WHOLE_OID or oid[_VERSION_AT] != "7":
        return None
    try:
        return int(digits, 16) * 1_000_000
    except ValueError:
        return None
