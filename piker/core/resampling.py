"""Bars of a longer period, made of those of a shorter one: one definition for all who need them.

A period of less than a day, or of several, begins on a multiple of itself since the epoch. One of
a day is a trading day: the sessions between which the market pauses for `PAUSE_NS` at most, and
that span a day at most together, as two with a lunch break. A session of more than a day, as the
week of foreign exchange, is cut every 24 hours from its beginning; one of more than a week, as of a
market that is always open, at midnight UTC, and where no sessions are known it is the UTC day.

A row is in the trading day that began last before the row's end, also where it is of after that
day's close; if that was more than a day before, the row is in its UTC day.

Opens are first, highs highest, lows lowest, closes last; volumes and trades are added up; a bar of
which some is derived is derived. No row is made of a period that has none. A bar is partial if one
that it is made of is, if its period hasn't ended, or if some session time of it is not covered.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from piker.core.bars import DERIVED, NS, PARTIAL
from piker.core.spans import Pair, clipped, down, joined, without

if TYPE_CHECKING:
    import numpy as np

DAY_S = 86_400
DAY_NS = DAY_S * NS
LONGEST_S = 31 * DAY_S
"""No period is longer: a file has a month."""
PAUSE_NS = 3 * 3600 * NS
"""The longest pause within a trading day. Lunch is two hours and a half at most; nights are longer,
and so is the pause between a night session and the morning's."""


MARGIN_NS = 7 * DAY_NS
"""Sessions are to be given from so long before the first row until so long after the last: those
that rows are in are then whole ones, and a week that is cut off isn't taken for one."""


def base_of(period_s: int, provided: Iterable[int], kept: Mapping[int, int]) -> int | None:
    """Of which period's bars to make those of another one; None: none divides it.

    The same, if its provider has it or some of it is kept; else the longest that the provider has,
    of which all can be had; else that of which most is kept, the longest of several. `kept` is how
    much of the time that matters is covered by each.
    """
    if not 0 < period_s <= LONGEST_S:
        return None
    if period_s in provided or kept.get(period_s):
        return period_s
    divide = [each for each in provided if period_s % each == 0]
    if divide:
        return max(divide)
    fit = [each for each in kept if period_s % each == 0]
    return max(fit, key=lambda each: (kept[each], each), default=None)


def resampled(
    rows: "np.ndarray",
    from_s: int,
    period_s: int,
    *,
    sessions: Sequence[Pair] | None,
    covered: Sequence[Pair],
    now_ns: int,
) -> "np.ndarray":
    """Rows of a period of `period_s`, of those of `from_s`, which divides it. Both of dtype ROW.

    `rows` are in order of time, each time once. `sessions` are oldest first, apart, with a margin
    of `MARGIN_NS` where days are made of them; None: not known. The same period gives the same
    rows, with those marked that are partial.
    """
    import numpy as np

    if from_s <= 0 or period_s <= 0 or period_s % from_s:
        raise ValueError(f"expected a multiple of {from_s} s, was {period_s} s")
    if not len(rows):
        return rows.copy()
    times = rows["time_ns"]
    begins, ends = _stretches(times, times + from_s * NS, period_s, sessions)
    first = np.flatnonzero(np.concatenate(([True], begins[1:] != begins[:-1])))
    last = np.append(first[1:], len(rows)) - 1
    made = rows[first]
    made["time_ns"] = begins[first]
    made["high"] = np.maximum.reduceat(rows["high"], first)
    made["low"] = np.minimum.reduceat(rows["low"], first)
    made["close"] = rows["close"][last]
    made["volume"] = np.add.reduceat(rows["volume"], first)
    made["trades"] = np.add.reduceat(rows["trades"], first)
    made["flags"] = np.bitwise_or.reduceat(rows["flags"], first) & (DERIVED | PARTIAL)
    lacking = _lacking(begins[first], ends[first], sessions, covered) | (ends[first] > now_ns)
    made["flags"] |= PARTIAL * lacking
    return made


def trading_days(sessions: Sequence[Pair]) -> list[Pair]:
    """From the beginning of each trading day to its end; oldest first, of sessions that are so."""
    days: list[Pair] = []
    for from_ns, to_ns in (part for session in sessions for part in _cut(*session)):
        if days and from_ns - days[-1][1] <= PAUSE_NS and to_ns - days[-1][0] <= DAY_NS:
            days[-1] = days[-1][0], to_ns
        else:
            days.append((from_ns, to_ns))
    return days


def _cut(from_ns: int, to_ns: int) -> Iterator[Pair]:
    first_ns = from_ns if to_ns - from_ns <= MARGIN_NS else down(from_ns, DAY_NS)
    for begin_ns in range(first_ns, to_ns, DAY_NS):
        yield max(begin_ns, from_ns), min(begin_ns + DAY_NS, to_ns)


def _stretches(
    times: "np.ndarray", ends: "np.ndarray", period_s: int, sessions: Sequence[Pair] | None
) -> "tuple[np.ndarray, np.ndarray]":
    """The beginning and the end of the period that each row is in."""
    import numpy as np

    period_ns = period_s * NS
    begins = times - times % period_ns
    days = trading_days(sessions) if sessions and period_s == DAY_S else []
    if not days:
        return begins, begins + period_ns
    opens, closes = np.array(days, dtype=np.int64).T
    at = np.searchsorted(opens, ends) - 1
    known = (at >= 0) & (times < opens[at] + DAY_NS)
    return (
        np.where(known, opens[at], begins),
        np.where(known, closes[at], begins + period_ns),
    )


def _lacking(
    begins: "np.ndarray",
    ends: "np.ndarray",
    sessions: Sequence[Pair] | None,
    covered: Sequence[Pair],
) -> "np.ndarray":
    """Whether some session time of each stretch is not covered."""
    import numpy as np

    whole = [(int(begins[0]), int(ends.max()))]
    open_ = whole if sessions is None else clipped(sessions, *whole[0])
    missing = without(open_, joined(covered))
    if not missing:
        return np.zeros(len(begins), dtype=bool)
    from_ns, to_ns = np.array(missing, dtype=np.int64).T
    at = np.searchsorted(to_ns, begins, side="right")
    lacks: np.ndarray = (at < len(missing)) & (from_ns[np.minimum(at, len(missing) - 1)] < ends)
    return lacks
