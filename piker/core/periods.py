"""The ends of periods: arithmetic on the wall clock, counted from the epoch."""

NS = 1_000_000_000
LONGEST_S = 86_400


class Ends:
    """The ends of one period, as somebody who looks at the clock now and then meets them."""

    def __init__(self, period_s: int, now_ns: int) -> None:
        self.period_s = period_s
        self._period_ns = period_s * NS
        self._newest = now_ns // self._period_ns

    def passed(self, now_ns: int) -> tuple[int, int] | None:
        """The newest end since this was last asked, UTC ns, and how many before it were missed.

        A clock that is stepped back begins anew from there, and misses nothing.
        """
        newest = now_ns // self._period_ns
        before, self._newest = self._newest, newest
        if newest <= before:
            return None
        return newest * self._period_ns, newest - before - 1
