"""Which stretch of a market's past to ask for next, and what all answers together are.

Paging goes backwards: the newest stretch first, the next ends where the one before began. Whatever
comes, an answer of which parts were had before, a narrower or a wider one than was asked for: bars
are in order, each once, and inside what was asked, and a stretch is covered only if an answer said
so. The first answer counts.
"""

from collections.abc import Iterable
from typing import Final, NamedTuple

from piker.core.periods import NS
from piker.interfaces.data import Covered, Missing, Why
from piker.quotes import Bar

Lacking = tuple[Why, str, float | None]
"""Why something is missing, the reason for people, and after how many seconds to ask again."""
LEFT_OUT: Final[Lacking] = ("unanswered", "the venue left it out of its answer", None)


class Stretch(NamedTuple):
    """From an instant to the first one after it, UTC ns; both on periods."""

    from_ns: int
    to_ns: int


class Paging:
    """One question's way back. Ask for `next`, and tell what came of it, until there is none.

    Without `from_ns` it ends with the limit, or with what the venue has. `longest_ns` is the
    longest stretch of one frame. `left_out`: why what an answer leaves
    out is missing.
    """

    def __init__(
        self,
        *,
        period_s: int,
        from_ns: int | None,
        to_ns: int,
        limit: int,
        longest_ns: int,
        left_out: Lacking = LEFT_OUT,
    ) -> None:
        self._period_ns = period_s * NS
        self._from_ns = None if from_ns is None else self._up(from_ns)
        self._at_ns = self._down(to_ns)
        """All from here on is settled."""
        self._limit = limit
        self._longest_ns = max(self._down(longest_ns), self._period_ns)
        self._left_out = left_out
        self._bars: list[Bar] = []
        self._covered: list[Covered] = []
        self._missing: list[Missing] = []
        """Newest first, all three."""
        self._before: tuple[Missing, ...] = ()
        """What is before the venue's first data."""
        self._over = self._at_ns <= (self._from_ns or 0)

    def next(self) -> Stretch | None:
        """What to ask for now; None: it is over."""
        if self._over:
            return None
        return Stretch(max(self._at_ns - self._longest_ns, self._from_ns or 0), self._at_ns)

    def take(self, from_ns: int, to_ns: int, bars: Iterable[Bar]) -> None:
        """The answer: all bars that the venue has of this stretch."""
        first_ns = max(self._up(from_ns), self._from_ns or 0)
        last_ns = min(self._down(to_ns), self._at_ns)
        if first_ns >= last_ns:
            self.fail(*self._left_out)
            return
        if last_ns < self._at_ns:
            self._miss(last_ns, *self._left_out)
        self._bars += self._fitting(bars, first_ns, last_ns)
        self._cover(first_ns, last_ns)
        self._stop_at_bounds()

    def unavailable(self, reason: str, first_ns: int | None) -> None:
        """The answer: what was asked for isn't to be had; from `first_ns` on there is data."""
        asked = self.next()
        begin_ns = None if first_ns is None else self._up(first_ns)
        known = begin_ns is not None and not self._before
        if asked and known and begin_ns and asked.from_ns < begin_ns < asked.to_ns:
            before = Missing(
                from_ns=self._from_ns, to_ns=begin_ns, why="unavailable", reason=reason
            )
            self._before, self._from_ns = (before,), begin_ns
        else:
            self.fail("unavailable", reason)

    def go_on_without(self, longest_ns: int, left_out: Lacking) -> None:
        """From here on somebody else is asked, in stretches so long, who may leave out more."""
        self._longest_ns, self._left_out = longest_ns, left_out

    def fail(self, why: Why, reason: str, pause_s: float | None = None) -> None:
        """There is no more to be had now, and why."""
        if not self._over:
            self._miss(self._from_ns, why, reason, pause_s)
            self._over = True

    def result(self) -> tuple[tuple[Bar, ...], tuple[Covered, ...], tuple[Missing, ...]]:
        """Bars, what they cover, and what is missing; each oldest first."""
        missing = (*self._before, *reversed(self._missing))
        return tuple(reversed(self._bars)), tuple(reversed(self._covered)), missing

    def _fitting(self, bars: Iterable[Bar], first_ns: int, last_ns: int) -> list[Bar]:
        """Those of a stretch, newest first, each once."""
        fitting: dict[int, Bar] = {}
        for bar in bars:
            if first_ns <= bar.time_ns < last_ns and bar.time_ns % self._period_ns == 0:
                fitting.setdefault(bar.time_ns, bar)
        return [fitting[time_ns] for time_ns in sorted(fitting, reverse=True)]

    def _cover(self, first_ns: int, last_ns: int) -> None:
        """This too, as far as bars are kept."""
        if len(self._bars) > self._limit:
            del self._bars[self._limit :]
            first_ns = self._bars[-1].time_ns
        if self._covered and self._covered[-1].from_ns == last_ns:
            last_ns = self._covered.pop().to_ns
        self._covered.append(Covered(from_ns=first_ns, to_ns=last_ns))
        self._at_ns = first_ns

    def _stop_at_bounds(self) -> None:
        if self._at_ns <= (self._from_ns or 0):
            self._over = True
        elif len(self._bars) >= self._limit:
            if self._from_ns is None:
                self._over = True
            self.fail("limit", f"more than {self._limit} bars: ask again for those before")

    def _miss(
        self, from_ns: int | None, why: Why, reason: str, pause_s: float | None = None
    ) -> None:
        """From then up to what is settled."""
        missing = Missing(
            from_ns=from_ns, to_ns=self._at_ns, why=why, reason=reason, pause_s=pause_s
        )
        self._missing.append(missing)
        self._at_ns = from_ns or 0

    def _down(self, time_ns: int) -> int:
        return time_ns - time_ns % self._period_ns

    def _up(self, time_ns: int) -> int:
        return -self._down(-time_ns)
