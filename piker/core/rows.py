"""Bars as rows of a numpy array, rows as bars, and how rows of two origins become one array.

Many rows are also told as columns, which is how files have them, and how they are checked.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Final, NamedTuple, Self

from piker.core.bars import DERIVED, PARTIAL, ROW, ROW_WORDS
from piker.core.spans import Pair, joined
from piker.quotes import Bar

if TYPE_CHECKING:
    import numpy as np


NAMES: Final = tuple(name for name, _ in ROW)
_BLOCK: Final = 1 << 12
"""Rows that are taken apart or put together at once, so that memory is gone through once."""


class Columns:
    """Rows by column: by each name of ROW an array, all of one length.

    `words`: shape (ROW_WORDS, rows), int64; a row of it is a column, doubles as their bits.
    """

    def __init__(self, words: "np.ndarray") -> None:
        self._words = words
        self._columns: dict[str, np.ndarray] = {
            name: word.view(kind) for (name, kind), word in zip(ROW, words, strict=True)
        }

    @classmethod
    def of(cls, rows: "np.ndarray") -> Self:
        """A copy of an array of dtype ROW."""
        made = cls.zeros(len(rows))
        for at in range(0, len(rows), _BLOCK):
            block = rows[at : at + _BLOCK]
            for name in NAMES:
                made[name][at : at + _BLOCK] = block[name]
        return made

    @classmethod
    def zeros(cls, count: int) -> Self:
        """So many rows of zeros."""
        import numpy as np

        return cls(np.zeros((ROW_WORDS, count), dtype=np.int64))

    def __len__(self) -> int:
        return len(self._columns["time_ns"])

    def __getitem__(self, name: str) -> "np.ndarray":
        return self._columns[name]

    def part(self, which: "slice | np.ndarray") -> Self:
        """These rows: of a slice the same memory, else a copy."""
        return type(self)(self._words[:, which])

    def put(self, other: Self) -> None:
        """Have them be as those, which are as many."""
        self._words[:] = other._words

    def rows(self) -> "np.ndarray":
        """A copy as an array of dtype ROW."""
        import numpy as np

        rows = np.empty(len(self), dtype=np.dtype(ROW))
        fill(rows, self._columns)
        return rows


class Merged(NamedTuple):
    """Rows of two origins, in order of time."""

    pieces: "tuple[np.ndarray, np.ndarray]"
    """The store's of before all that was seen, and the rest."""
    taken_ns: "np.ndarray"
    """When those of them begin that are the store's, in order."""


def fill(rows: "np.ndarray", columns: "Mapping[str, np.ndarray]") -> None:
    """Have rows of dtype ROW be what these columns are, by all of its names, which are as long."""
    for at in range(0, len(rows), _BLOCK):
        block = rows[at : at + _BLOCK]
        for name in NAMES:
            block[name] = columns[name][at : at + _BLOCK]


def rows_of(bars: Iterable[Bar]) -> "np.ndarray":
    """An array of dtype ROW, shape (bars,), in their order."""
    import numpy as np

    return np.array([_row(bar) for bar in bars], dtype=np.dtype(ROW))


def bars_of(rows: "np.ndarray") -> list[Bar]:
    """What the rows of an array of dtype ROW are."""
    return [_bar(*row) for row in rows.tolist()]


def whole(times: "np.ndarray", covered: Sequence[Pair], period_ns: int) -> "np.ndarray":
    """Which of the periods that begin then are covered from beginning to end."""
    import numpy as np

    if not covered:
        return np.zeros(len(times), dtype=bool)
    from_ns, to_ns = np.array(joined(covered), dtype=np.int64).T
    at = np.searchsorted(from_ns, times, side="right") - 1
    is_whole: np.ndarray = (at >= 0) & (times + period_ns <= to_ns[at])
    return is_whole


def merged(
    live: "np.ndarray",
    live_covered: Sequence[Pair],
    stored: "np.ndarray",
    stored_covered: Sequence[Pair],
    period_ns: int,
) -> Merged:
    """Rows that are there and rows from the store, in order of time, as both are given.

    Of a period that both have, that row stays which was seen live from its beginning to its end,
    else the store's, unless that doesn't know the whole of it either.
    """
    import numpy as np

    live_ns, all_ns = (np.ascontiguousarray(each["time_ns"]) for each in (live, stored))
    before = int(np.searchsorted(all_ns, live_ns[0])) if len(live_ns) else len(all_ns)
    head, stored, stored_ns = stored[:before], stored[before:], all_ns[before:]
    known_ns = stored_ns[whole(stored_ns, stored_covered, period_ns)]
    stays = whole(live_ns, live_covered, period_ns) | ~_among(live_ns, known_ns)
    taken = ~_among(stored_ns, live_ns[stays])
    rows = np.concatenate((stored[taken], live[stays]))
    times_ns = rows["time_ns"]
    if not (times_ns[1:] > times_ns[:-1]).all():  # it is where the store ends before what was seen
        rows = rows[np.argsort(times_ns, kind="stable")]
    return Merged((head, rows), np.concatenate((all_ns[:before], stored_ns[taken])))


def periods(times_ns: "np.ndarray", period_ns: int) -> list[Pair]:
    """The periods that begin then, which is in order: those that touch as one stretch."""
    import numpy as np

    if not len(times_ns):
        return []
    breaks = np.flatnonzero(times_ns[1:] != times_ns[:-1] + period_ns)
    froms = times_ns[np.concatenate(([0], breaks + 1))].tolist()
    lasts = times_ns[np.concatenate((breaks, [len(times_ns) - 1]))].tolist()
    return [(from_ns, last_ns + period_ns) for from_ns, last_ns in zip(froms, lasts, strict=True)]


def _among(times: "np.ndarray", others: "np.ndarray") -> "np.ndarray":
    """Which of these are among others, which are in order."""
    import numpy as np

    if not len(others):
        return np.zeros(len(times), dtype=bool)
    at = np.minimum(np.searchsorted(others, times), len(others) - 1)
    is_among: np.ndarray = others[at] == times
    return is_among


def _row(bar: Bar) -> tuple[int, float, float, float, float, float, int, int]:
    flags = DERIVED * bar.derived | PARTIAL * bar.partial
    prices = bar.open, bar.high, bar.low, bar.close
    return bar.time_ns, *prices, bar.volume, bar.trades, flags


def _bar(
    time_ns: int,
    open_: float,
    high: float,
    low: float,
    close: float,
    volume: float,
    trades: int,
    flags: int,
) -> Bar:
    return Bar(
        time_ns=time_ns,
        open=open_,
        high=high,
        low=low,
        close=close,
        volume=volume,
        trades=trades,
        derived=bool(flags & DERIVED),
        partial=bool(flags & PARTIAL),
    )
