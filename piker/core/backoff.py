"""Pauses between attempts: each twice as long as the last, up to a bound."""

FIRST_S = 0.5
LONGEST_S = 60.0


class Backoff:
    """The next pause, s, by `pause`; short again after `reset`."""

    def __init__(self, first_s: float = FIRST_S, longest_s: float = LONGEST_S) -> None:
        self._first_s = first_s
        self._longest_s = longest_s
        self._next_s = first_s

    def pause(self) -> float:
        """How long to wait before the next attempt."""
        pause_s = self._next_s
        self._next_s = min(2 * pause_s, self._longest_s)
        return pause_s

    def reset(self) -> None:
        """An attempt was good."""
        self._next_s = self._first_s
