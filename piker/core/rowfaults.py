"""Which rows of bars can't be true, and why: what is handed in, or lies on disk, may hold.

A row is judged alone; one of somebody else's also by its place: times rise from row to row, where
rows that are bad for another reason don't count.
"""

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from enum import IntEnum
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol, TypeAlias

from piker.core.bars import DERIVED, PARTIAL

if TYPE_CHECKING:
    import numpy as np

    from piker.core.rows import Columns

    class Column(Protocol):
        """What an array of values can be cut from."""

        def __len__(self) -> int: ...
        def __getitem__(self, which: slice, /) -> np.ndarray: ...

    Rows: TypeAlias = np.ndarray | Columns | Mapping[str, Column]
    """Rows of ROW, or the columns of such."""

UNREADABLE: Final = -(2**63)
"""The time of a row whose time could not be read."""
PRICES: Final = ("open", "high", "low", "close")
SIZES: Final = ("volume", "trades")
BLOCK: Final = 16_384
"""Rows that are looked at together: a megabyte, which a processor's cache holds."""


class Fault(IntEnum):
    """What is wrong with a row; of several, the first."""

    NONE = 0
    UNREADABLE = 1
    NO_NUMBER = 2
    NEGATIVE = 3
    HIGH_BELOW_LOW = 4
    OUTSIDE = 5
    BEFORE_1970 = 6
    FUTURE = 7
    NOT_OVER = 8
    OFF_GRID = 9
    REPEATED = 10
    OUT_OF_ORDER = 11
    MIXED_ZONES = 12
    NO_SUCH_TIME = 13
    TOO_MANY_FIELDS = 14
    TRADED_MIDS = 15
    IN_PART = 16


SAID: Final = {
    Fault.UNREADABLE: "time can't be read",
    Fault.NO_NUMBER: "no number",
    Fault.NEGATIVE: "negative",
    Fault.HIGH_BELOW_LOW: "high below low",
    Fault.OUTSIDE: "open or close outside high and low",
    Fault.BEFORE_1970: "before 1970",
    Fault.FUTURE: "in the future",
    Fault.NOT_OVER: "not over yet",
    Fault.OFF_GRID: "not on the period's grid",
    Fault.REPEATED: "time repeated",
    Fault.OUT_OF_ORDER: "out of order",
    Fault.MIXED_ZONES: "zone given, or not given, unlike in the first row",
    Fault.NO_SUCH_TIME: "never or twice on the zone's clocks",
    Fault.TOO_MANY_FIELDS: "more fields than the first line has",
    Fault.TRADED_MIDS: "derived, but with volume or trades",
    Fault.IN_PART: "partial: not all of its period is known",
}
"""Each in a few words. Three only who reads the file can tell."""


class Rules(NamedTuple):
    """What bars are held to: they begin on multiples of the period, and not after now. UTC ns."""

    period_ns: int
    now_ns: int
    foreign: bool = False
    """Somebody else's: over by now, whole, rising in time, no price below 0. A venue's may be."""


class BadRow(NamedTuple):
    """One row that can't be a bar."""

    row: int
    time_ns: int
    reason: str
    """What it is and what was expected."""


def faults(rows: "Rows", rules: Rules, known: "np.ndarray | None" = None) -> "np.ndarray":
    """A Fault for each of these rows, as int8; somebody else's rows with none rise in time.

    `known` has those that are known already, and is not changed.
    """
    import numpy as np

    columns = {name: rows[name] for name in ("time_ns", *PRICES, *SIZES, "flags")}
    count = len(columns["time_ns"])
    found = np.zeros(count, dtype=np.int8) if known is None else known.copy()
    newest_ns = -1
    for first in range(0, count, BLOCK):
        end = first + BLOCK
        block = {name: np.ascontiguousarray(all_[first:end]) for name, all_ in columns.items()}
        marks = found[first:end]
        if not marks.any() and _are_sound(block, rules, newest_ns):
            newest_ns = int(block["time_ns"][-1])
            continue
        _judge_times(block["time_ns"], marks, rules)
        _judge_values(block, marks, rules)
        if rules.foreign:
            newest_ns = _judge_order(block["time_ns"], marks, newest_ns)
    return found


def told(rows: "np.ndarray", marks: "np.ndarray", rules: Rules) -> Iterator[BadRow]:
    """The rows that are marked with a Fault, in their order, with the reason."""
    import numpy as np

    for at in np.flatnonzero(marks).tolist():
        yield BadRow(at, int(rows["time_ns"][at]), reason(marks[at], rows[at], rules))


def reason(fault: int, row: "np.void | Mapping[str, float]", rules: Rules) -> str:
    """What is wrong with one row, with its values."""
    import numpy as np

    match Fault(fault):
        case Fault.NO_NUMBER:
            name = next(each for each in (*PRICES, "volume") if not np.isfinite(row[each]))
            return f"{name}: expected a number, was {row[name]}"
        case Fault.NEGATIVE:
            below = (*PRICES, *SIZES) if rules.foreign else SIZES
            name = next(each for each in below if row[each] < 0)
            return f"{name}: expected 0 or more, was {row[name]:.10g}"
        case Fault.HIGH_BELOW_LOW:
            return f"high {row['high']:.10g} is below low {row['low']:.10g}"
        case Fault.OUTSIDE:
            name = next(e for e in ("open", "close") if not row["low"] <= row[e] <= row["high"])
            span = f"{row['low']:.10g} to {row['high']:.10g}"
            return f"{name}: expected within low and high, {span}, was {row[name]:.10g}"
        case Fault.TRADED_MIDS:
            return f"derived, but with volume {row['volume']:.10g} and {row['trades']} trades"
    return _reason_of_time(Fault(fault), int(row["time_ns"]), rules.period_ns)


def utc(time_ns: int) -> str:
    """A time as files write it: ISO 8601, UTC, with what is below a second if there is any."""
    seconds, ns = divmod(time_ns, 1_000_000_000)
    try:
        text = f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}"
    except (OverflowError, ValueError, OSError):
        return f"{time_ns} ns since 1970"
    return f"{text}.{ns:09}Z" if ns else f"{text}Z"


def _reason_of_time(fault: Fault, time_ns: int, period_ns: int) -> str:
    when = f"time {utc(time_ns)}"
    known = {
        Fault.BEFORE_1970: f"{when}: expected 1970 or later",
        Fault.FUTURE: f"{when} is in the future",
        Fault.NOT_OVER: f"{when}: its period of {_span(period_ns)} isn't over yet",
        Fault.OFF_GRID: f"{when}: expected the beginning of a period of {_span(period_ns)}",
        Fault.REPEATED: f"{when} is there twice",
        Fault.OUT_OF_ORDER: f"{when} comes after a later one",
    }
    return known.get(fault, SAID[fault])


def _span(period_ns: int) -> str:
    return f"{period_ns / 1e9:g} s"


def _are_sound(block: "Mapping[str, np.ndarray]", rules: Rules, newest_ns: int) -> bool:
    """Whether none has a fault: mostly so, and quicker to see than which have one.

    It may be mistaken where it says no.
    """
    import numpy as np

    if block["flags"].any():
        return False
    open_, high, low, close = (block[name] for name in PRICES)
    volume, trades = (block[name] for name in SIZES)
    with np.errstate(over="ignore", invalid="ignore"):
        finite = np.isfinite(sum(block[name].sum() for name in (*PRICES, "volume")))
    return bool(
        finite
        and volume.min() >= 0
        and trades.min() >= 0
        and (low <= np.minimum(open_, close)).all()
        and (high >= np.maximum(open_, close)).all()
        and (not rules.foreign or low.min() >= 0)
        and _are_times_sound(block["time_ns"], rules, newest_ns)
    )


def _are_times_sound(times_ns: "np.ndarray", rules: Rules, newest_ns: int) -> bool:
    import numpy as np

    period_ns = rules.period_ns
    last_ns = rules.now_ns - period_ns if rules.foreign else rules.now_ns
    steps_ns = np.diff(times_ns)
    if (steps_ns == period_ns).all():
        on_grid, rising = times_ns[0] % period_ns == 0, times_ns[0] > newest_ns
    else:
        on_grid = (times_ns // period_ns * period_ns == times_ns).all()
        rising = times_ns[0] > newest_ns and (steps_ns > 0).all()
    within = times_ns.min() >= 0 and times_ns.max() <= last_ns
    return bool(within and on_grid and (rising or not rules.foreign))


def _judge_values(block: "Mapping[str, np.ndarray]", marks: "np.ndarray", rules: Rules) -> None:
    """Prices and sizes. NaN compares as false, so that it is found first."""
    import numpy as np

    open_, high, low, close = (block[name] for name in PRICES)
    volume, trades = (block[name] for name in SIZES)
    lower, upper = np.minimum(open_, close), np.maximum(open_, close)
    negative = (volume < 0) | (trades < 0)
    if rules.foreign:
        negative |= np.minimum(lower, np.minimum(high, low)) < 0
    _mark(marks, Fault.NO_NUMBER, _not_finite(block))
    _mark(marks, Fault.NEGATIVE, negative)
    _mark(marks, Fault.HIGH_BELOW_LOW, high < low)
    derived = block["flags"] & DERIVED != 0
    if derived.any():
        _mark(marks, Fault.TRADED_MIDS, derived & ((volume != 0) | (trades != 0)))
    if rules.foreign:
        _mark(marks, Fault.IN_PART, block["flags"] & PARTIAL != 0)
    _mark(marks, Fault.OUTSIDE, (upper > high) | (lower < low))


def _not_finite(block: "Mapping[str, np.ndarray]") -> "np.ndarray":
    """A sum may be too large for a number where its parts aren't; it is quicker to look at."""
    import numpy as np

    values = [block[name] for name in (*PRICES, "volume")]
    with np.errstate(over="ignore", invalid="ignore"):
        finite: np.ndarray = np.isfinite(sum(values[1:], values[0]))
    if not finite.all():
        finite = np.logical_and.reduce([np.isfinite(each) for each in values])
    return ~finite


def _judge_times(times_ns: "np.ndarray", marks: "np.ndarray", rules: Rules) -> None:
    _mark(marks, Fault.UNREADABLE, times_ns == UNREADABLE)
    _mark(marks, Fault.BEFORE_1970, times_ns < 0)
    _mark(marks, Fault.FUTURE, times_ns > rules.now_ns)
    if rules.foreign:
        _mark(marks, Fault.NOT_OVER, times_ns > rules.now_ns - rules.period_ns)
    on_grid_ns = times_ns // rules.period_ns * rules.period_ns  # four times as fast as by %
    _mark(marks, Fault.OFF_GRID, times_ns != on_grid_ns)


def _judge_order(times_ns: "np.ndarray", marks: "np.ndarray", newest_ns: int) -> int:
    """Gives the newest time so far of rows that are good."""
    import numpy as np

    counted = np.where(marks == Fault.NONE, times_ns, -1)
    newest = np.maximum.accumulate(np.concatenate(([newest_ns], counted)))
    _mark(marks, Fault.REPEATED, times_ns == newest[:-1])
    _mark(marks, Fault.OUT_OF_ORDER, times_ns < newest[:-1])
    return int(newest[-1])


def _mark(marks: "np.ndarray", fault: Fault, bad: "np.ndarray") -> None:
    if bad.any():
        marks[bad & (marks == Fault.NONE)] = fault
