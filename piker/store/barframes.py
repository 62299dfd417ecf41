"""Bars as polars holds them in a file, and what becomes of two that are of one time.

A file's columns, strictly sorted by time, each time once:

| column | type | |
| --- | --- | --- |
| time | Datetime(ns, UTC) | start of the period |
| open, high, low, close | Float64 | prices |
| volume | Float64 | sum of the trades' sizes |
| trades | Int64 | their number |
| derived | Boolean | made of mids: the market shows no trades |
| how | Enum(imported, live, backfilled) | how it came to be known |
| source | Categorical | whose it is: the provider, or the file it was imported from |
| written | Datetime(ns, UTC) | since when it is here |

Of two rows of one time that differ, one whose whole period is covered beats one whose isn't; then
backfilled beats live, and live imported; then the later written, a venue's correction, the earlier.
"""

from collections.abc import Sequence
from itertools import accumulate
from typing import TYPE_CHECKING, Final, Literal, NamedTuple

from piker.core.bars import DERIVED, ROW
from piker.core.rows import Columns, fill, whole
from piker.core.spans import Pair
from piker.store.atonce import at_once
from piker.store.parquet import Damaged

if TYPE_CHECKING:
    import numpy as np
    import polars as pl
    from numpy.typing import NDArray

RowHow = Literal["live", "backfilled", "imported"]
HOWS: Final[tuple[RowHow, ...]] = ("imported", "live", "backfilled")
"""Who is believed less first: the order of the enumeration's codes."""
FLOATS: Final = ("open", "high", "low", "close", "volume")
SEEN: Final = ("time", *FLOATS, "trades", "derived")
"""The columns that make a bar."""


class Change(NamedTuple):
    """A row that another took the place of, with other values."""

    time_ns: int
    old: tuple[float | int, ...]
    """open, high, low, close, volume, trades, flags"""
    new: tuple[float | int, ...]


class Merged(NamedTuple):
    """What two frames are together."""

    frame: "pl.DataFrame"
    added: int
    changed: "NDArray[np.int64]"
    """Which of the new rows took the place of one with other values."""
    replaced: int
    """Rows that are of somebody known better, or otherwise covered, with whatever values."""


def schema() -> "dict[str, pl.DataType]":
    """The columns of a file of bars, in order."""
    import polars as pl

    instant = pl.Datetime("ns", "UTC")
    return {
        "time": instant,
        **dict.fromkeys(FLOATS, pl.Float64()),
        "trades": pl.Int64(),
        "derived": pl.Boolean(),
        "how": pl.Enum(HOWS),
        "source": pl.Categorical(),
        "written": instant,
    }


def frame_of(rows: Columns, how: RowHow, source: str, written_ns: int) -> "pl.DataFrame":
    """Rows as a file has them."""
    import polars as pl

    columns = {name: rows[name] for name in (*FLOATS, "trades")}
    columns |= {"time": rows["time_ns"], "derived": rows["flags"] & DERIVED != 0}
    types = schema()
    return pl.DataFrame(columns).select(
        *(pl.col(name).cast(types[name]) for name in SEEN),
        pl.lit(how, types["how"]).alias("how"),
        pl.lit(source, types["source"]).alias("source"),
        pl.lit(written_ns).cast(types["written"]).alias("written"),
    )


def rows_of(frame: "pl.DataFrame") -> "np.ndarray":
    """A frame that has the columns SEEN as rows (dtype ROW)."""
    import numpy as np

    rows = np.empty(len(frame), dtype=ROW)

    def put(begin: int, length: int) -> None:
        chunk = frame.slice(begin, length)
        columns = {name: _values(chunk, name) for name in (*FLOATS, "trades")}
        columns |= {"time_ns": times_ns(chunk), "flags": _values(chunk, "derived")}
        fill(rows[begin : begin + length], columns)

    lengths = frame["time"].chunk_lengths()  # of a whole column numpy would have a copy
    begins = accumulate(lengths, initial=0)
    at_once(lambda chunk: put(*chunk), list(zip(begins, lengths, strict=False)))
    return rows


def check(frame: "pl.DataFrame", columns: Sequence[str]) -> None:
    """See that a frame has these columns and is in order of time. Raises Damaged."""
    check_columns(frame, columns)
    if (times_ns(frame)[1:] <= times_ns(frame)[:-1]).any():
        raise Damaged("its rows are not in order of time")


def check_columns(frame: "pl.DataFrame", columns: Sequence[str]) -> None:
    """See that a frame has these of a file's columns, filled. Raises Damaged."""
    if frame.columns != list(columns):
        raise Damaged(f"its columns are {', '.join(frame.columns)}, expected {', '.join(columns)}")
    types = schema()
    for name in columns:
        if frame.schema[name] != types[name]:
            raise Damaged(f"column {name} is {frame.schema[name]}, expected {types[name]}")
        if frame[name].null_count():
            raise Damaged(f"column {name} has rows without a value")


def times_ns(frame: "pl.DataFrame") -> "NDArray[np.int64]":
    """Its column time."""
    return _values(frame, "time")


def _values(frame: "pl.DataFrame", name: str) -> "np.ndarray":
    return frame[name].to_physical().to_numpy()


def merged(
    old: "pl.DataFrame",
    new: "pl.DataFrame",
    old_covered: Sequence[Pair],
    new_covered: Sequence[Pair],
) -> Merged:
    """Both as one, by the rule above. Both are in order, each time once."""
    import numpy as np
    import polars as pl

    before, after = times_ns(old), times_ns(new)
    none = np.empty(0, dtype=np.int64)
    if not len(before) or not len(after) or before[-1] < after[0]:
        return Merged(pl.concat([old, new]) if len(old) else new, len(new), none, 0)
    at = np.minimum(np.searchsorted(before, after), len(before) - 1)
    twice = np.flatnonzero(before[at] == after)
    theirs = at[twice]
    known = _known(new[twice], new_covered) - _known(old[theirs], old_covered)
    differs = _differs(old[theirs], new[twice])
    wins = (known > 0) | ((known == 0) & differs)
    stays, comes = np.ones(len(old), dtype=np.bool_), np.ones(len(new), dtype=np.bool_)
    stays[theirs[wins]] = False
    comes[twice[~wins]] = False
    together = pl.concat([old.filter(pl.Series(stays)), new.filter(pl.Series(comes))])
    return Merged(
        together.sort("time"), len(new) - len(twice), twice[wins & differs], int(wins.sum())
    )


def changes(old: "pl.DataFrame", new: "pl.DataFrame") -> list[Change]:
    """Rows that took the place of others of the same times, side by side."""
    pairs = zip(rows_of(old).tolist(), rows_of(new).tolist(), strict=True)
    return [Change(was[0], was[1:], now[1:]) for was, now in pairs]


def _known(frame: "pl.DataFrame", covered: Sequence[Pair]) -> "NDArray[np.int64]":
    """How well each row is known: the rule but for its last part."""
    import numpy as np

    how = frame["how"].to_physical().to_numpy().astype(np.int64)
    known: NDArray[np.int64] = whole(times_ns(frame), covered, 1) * len(HOWS) + how
    return known


def _differs(one: "pl.DataFrame", other: "pl.DataFrame") -> "NDArray[np.bool_]":
    """Which rows have other values."""
    import numpy as np

    different = np.zeros(len(one), dtype=np.bool_)
    for name in SEEN[1:]:
        different |= one[name].to_numpy() != other[name].to_numpy()
    return different
