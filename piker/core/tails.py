"""What of a table's bars is not on disk yet, and in which pieces it is put there."""

from collections.abc import Iterable

from piker.core.spans import Pair, clipped, inward, joined, without

MOST_PIECES = 1000
"""Stretches seen live that are remembered: of more, as where nothing can be put for long, the
oldest are forgotten. Their rows are put all the same, and what they covered counts as a hole."""
MOST_GIVEN = 10_000
"""Stretches that others gave that are remembered. Of more the oldest are forgotten: what is on disk
as the venue's stays so whatever is put."""


class Tail:
    """The end of one table's bars. Times are UTC ns, `period_ns` is the length of a bar."""

    def __init__(self, period_ns: int, seen: Iterable[Pair] = ()) -> None:
        self._period_ns = period_ns
        self._seen = joined(seen)
        self.given: list[Pair] = []
        """Periods whose rows aren't what was seen: they are the venue's, or on disk already."""
        self.from_ns = 0
        """What begins before this is on disk."""

    def cover(self, from_ns: int, to_ns: int) -> None:
        """The feed was live then."""
        from_ns = max(from_ns, self.from_ns)
        if from_ns < to_ns:
            self._seen = joined([*self._seen, (from_ns, to_ns)])[-MOST_PIECES:]

    def give(self, stretches: Iterable[Pair]) -> None:
        """The rows of these whole periods are somebody else's."""
        later = [(max(a, self.from_ns), b) for a, b in stretches if b > self.from_ns]
        self.given = joined([*self.given, *later])[-MOST_GIVEN:]

    def covered(self, to_ns: int) -> list[Pair]:
        """Whole periods before an instant that were seen live and aren't on disk, oldest first."""
        pieces = without(clipped(self._seen, self.from_ns, to_ns), self.given)
        return [whole for each in pieces if (whole := inward(*each, self._period_ns))]

    def put(self, to_ns: int) -> None:
        """All that begins before this, which begins a period, is on disk now."""
        self.from_ns = max(self.from_ns, to_ns)
        self._seen = [(max(a, self.from_ns), b) for a, b in self._seen if b > self.from_ns]
        self.given = [(max(a, self.from_ns), b) for a, b in self.given if b > self.from_ns]
