"""Rows that are to be kept, and what they cover, cut into months."""

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Final, NamedTuple, Self

from piker.core import covering
from piker.core.bars import NS
from piker.core.rowfaults import BadRow, Fault, Rules, faults, told
from piker.core.rows import Columns
from piker.core.spans import Pair, down, inward, joined, up, without
from piker.coverage import Span
from piker.store.barframes import RowHow
from piker.store.places import Month, month_of

if TYPE_CHECKING:
    import numpy as np

AHEAD_NS: Final = 60 * NS
"""A row that begins so far ahead of the clock is wrong."""
MAX_SHOWN: Final = 20
"""Faults of one batch that are told one by one."""


class Batch(NamedTuple):
    """Sound rows in order of time, each time once, and what they cover."""

    rows: Columns
    spans: Sequence[Span]
    period_ns: int
    refused: int
    faults: tuple[BadRow, ...]
    """The first of the rows that were refused."""

    @classmethod
    def of(
        cls,
        rows: "Columns | np.ndarray",
        covered: Sequence[Pair],
        how: RowHow,
        period_ns: int,
        now_ns: int,
    ) -> Self:
        """What of rows in any order is sound; the periods of the others are not covered.

        Columns are known to be sound, and to rise in time: they aren't looked at again.
        """
        if isinstance(rows, Columns):
            whole = _whole(covered, period_ns)
            return cls(rows, _spans(whole, how, rows["time_ns"]), period_ns, 0, ())
        rules = Rules(period_ns, now_ns + AHEAD_NS)
        marks = faults(rows, rules)
        bad = rows["time_ns"][marks != Fault.NONE].tolist()
        stretches = without(
            _whole(covered, period_ns), ((down(at, period_ns), up(at + 1, period_ns)) for at in bad)
        )
        good = _in_order(rows[marks == Fault.NONE] if bad else rows)
        spans = _spans(stretches, how, good["time_ns"])
        shown = tuple(islice(told(rows, marks, rules), MAX_SHOWN))
        return cls(Columns.of(good), spans, period_ns, len(bad), shown)

    def by_month(self) -> Iterator[tuple[Month, slice, list[Span]]]:
        """Its parts, oldest first: which rows, and what is covered."""
        import numpy as np

        times = self.rows["time_ns"]
        for month in self._months():
            from_ns, to_ns = month.stretch(self.period_ns)
            first, end = np.searchsorted(times, [from_ns, to_ns])
            inside = covering.cut(self.spans, from_ns, to_ns)
            if first < end or inside:
                yield month, slice(int(first), int(end)), inside

    def _months(self) -> list[Month]:
        """All that something may be of, oldest first."""
        ends = self.rows["time_ns"][[0, -1]].tolist() if len(self.rows) else []
        ends += [end for pair in covering.pairs(self.spans) for end in pair]
        if not ends:
            return []
        found = [month_of(min(ends))]
        while found[-1] < month_of(max(ends)):
            found.append(found[-1].following)
        return found


def _whole(covered: Sequence[Pair], period_ns: int) -> list[Pair]:
    """The whole periods within."""
    inside = (inward(*each, period_ns) for each in joined(covered))
    return [each for each in inside if each]


def _in_order(rows: "np.ndarray") -> "np.ndarray":
    """By time, each time once: of several the last."""
    import numpy as np

    times = rows["time_ns"]
    if not (np.diff(times) > 0).all():
        rows = rows[np.argsort(times, kind="stable")]
        rows = rows[np.append(np.diff(rows["time_ns"]) != 0, True)[: len(rows)]]
    return rows


def _spans(stretches: Sequence[Pair], how: RowHow, times: "np.ndarray") -> list[Span]:
    """What is covered; of what was backfilled, stretches without a row are empty."""
    if how == "backfilled":
        empty = [Span(from_ns=a, to_ns=b, how="empty") for a, b in stretches]
        return covering.with_rows(empty, times)
    return [Span(from_ns=a, to_ns=b, how=how) for a, b in stretches]
