"""When a gateway restarts, every day, and no order is to be on its way."""

import re
from datetime import UTC, datetime, time

from piker.brokers.ib.hours import zone_of

NS = 10**9


class NoWindow(ValueError):
    """What is set is no such time; the text says what was expected."""


class RestartWindow:
    """The stretch of every day from `first` to before `last`, over midnight perhaps.

    Times are HH:MM on the clock of a zone, so that it moves with the clock there. Raises NoWindow
    or NoZone.
    """

    def __init__(self, first: str, last: str, zone: str) -> None:
        self._first, self._last = _time(first), _time(last)
        self._zone = zone_of(zone)
        self._words = f"{first} to {last} {zone}"
        if self._first == self._last:
            raise NoWindow(f"expected two times that differ, was {first} twice")

    def why_not_now(self, now_ns: int) -> str:
        """Why nothing new is sent at this time, UTC ns; empty if nothing is in the way."""
        now = datetime.fromtimestamp(now_ns // NS, UTC).astimezone(self._zone).time()
        if self._first < self._last:
            within = self._first <= now < self._last
        else:
            within = now >= self._first or now < self._last
        if not within:
            return ""
        return (
            f"the gateway restarts between {self._words}: nothing new is sent until then, "
            "cancels pass"
        )


def _time(text: str) -> time:
    if not re.fullmatch(r"([01]\d|2[0-3]):[0-5]\d", text):
        raise NoWindow(f"expected a time such as 23:45, was {text!r}")
    return time.fromisoformat(text)
