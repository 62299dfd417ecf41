"""What is answered of a series on disk, read and put together in the archive's thread.

`newest` is what shared memory has beside the disk, where somebody reads it.
"""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Final, NamedTuple

from piker.core.bars import NS, PARTIAL
from piker.core.calendars import Traded
from piker.core.gaps import closures, gaps
from piker.core.resampling import DAY_NS, MARGIN_NS, resampled
from piker.core.rowfaults import PRICES, Rules, told
from piker.core.rows import NAMES, Columns, periods, whole
from piker.core.spans import Pair, clipped, down, joined, without
from piker.coverage import Span, Unavailable
from piker.errors import Refused
from piker.interfaces.introspection import InvalidParameter
from piker.interfaces.store import (
    BadRows,
    Conflict,
    Gaps,
    GapsReply,
    ImportRows,
    KeptSeries,
    KeptTicks,
    Stretch,
    Table,
    WouldReplace,
)
from piker.markets import Market
from piker.store.barfiles import BarFiles
from piker.store.judging import judged
from piker.store.notes import Notes
from piker.store.places import Series
from piker.store.tickfiles import TickFiles, totals

if TYPE_CHECKING:
    import numpy as np

MOST_ROWS: Final = 2_000_000
"""Periods of the kept bars in one table: 128 MB at most. Who wants more asks again."""
MOST_TOLD: Final = 20_000
"""Stretches of each kind in one answer, which a message has room for. Who wants more asks again."""
SHOWN: Final = 20
"""Conflicts that are told one by one; of more, the number."""


class Live(NamedTuple):
    """What is known beside the disk: final rows, dtype ROW, and what they cover."""

    rows: "np.ndarray"
    covered: Sequence[Pair]


class Known(NamedTuple):
    """What is known of a series beside its months."""

    market: Market | None
    """None: nobody says what it is."""
    notes: Notes
    newest: Live | None

    @property
    def traded(self) -> Traded:
        """What is known of when it may be."""
        return Traded(self.market, self.notes.calendar)


def kept(files: BarFiles, place: Series) -> KeptSeries:
    """What is kept of a series, from what its files say of themselves."""
    months = files.files(place)
    notes = files.notes(place)
    covered = joined((s.from_ns, s.to_ns) for file in months for s in file.words.coverage)
    lacking: list[Pair] = []
    if covered:
        ends = covered[0][0], covered[-1][1]
        sessions = Traded(notes.market, notes.calendar).sessions(*ends)
        lacking = gaps(sessions, covered, *ends, place.period_s * NS)
    return KeptSeries(
        market=place.fqme,
        period_s=place.period_s,
        from_ns=covered[0][0] if covered else None,
        to_ns=covered[-1][1] if covered else None,
        rows=sum(file.words.rows for file in months),
        size_bytes=sum(file.bytes for file in months),
        gaps=len(without(lacking, pairs_of(notes.unavailable))),
        unavailable=notes.unavailable,
        wanted_from_ns=notes.wanted.from_ns if notes.wanted else None,
        paused=bool(notes.wanted and notes.wanted.paused),
    )


def kept_ticks(files: TickFiles, fqme: str) -> KeptTicks:
    """What is recorded of a market. Raises OSError."""
    found = totals(files.place(fqme))
    return KeptTicks(
        market=fqme,
        from_ns=found.from_ns,
        to_ns=found.to_ns,
        ticks=found.rows,
        size_bytes=found.size_bytes,
    )


def _extent(files: BarFiles, place: Series) -> Pair:
    """From the first month that there is to the end of the last; (0, 0): there is none."""
    months = files.months(place)
    period_ns = place.period_s * NS
    return (months[0].stretch(period_ns)[0], months[-1].stretch(period_ns)[1]) if months else (0, 0)


def gaps_of(files: BarFiles, place: Series, call: Gaps, known: Known) -> GapsReply:
    """What of a series is covered, and what isn't, and why."""
    notes = known.notes
    live = known.newest.covered if known.newest else ()
    month_from_ns, month_to_ns = _extent(files, place)
    spans = files.coverage(place, month_from_ns, month_to_ns)
    stored = joined(pairs_of(spans))
    fresh = [Span(from_ns=a, to_ns=b, how="live") for a, b in without(live, stored)]
    spans = sorted([*spans, *fresh], key=lambda each: each.from_ns)
    covered = joined(pairs_of(spans))
    first_ns, last_ns = (covered[0][0], covered[-1][1]) if covered else (0, 0)
    from_ns = first_ns if call.from_ns is None else call.from_ns
    to_ns = last_ns if call.to_ns is None else call.to_ns
    sessions = known.traded.sessions(from_ns, to_ns) if from_ns < to_ns else None
    lacking = gaps(sessions, covered, from_ns, to_ns, place.period_s * NS)
    refused = [
        Unavailable(from_ns=a, to_ns=b, reason=each.reason, asked_ns=each.asked_ns)
        for each in notes.unavailable
        for a, b in clipped(lacking, each.from_ns, each.to_ns)
    ]
    left = without(lacking, pairs_of(refused))
    shut = closures(sessions, from_ns, to_ns)
    inside = [each for each in spans if each.from_ns < to_ns and from_ns < each.to_ns]
    ends = [pairs_of(inside), left, pairs_of(refused), shut]
    cut_ns = min([each[MOST_TOLD][0] for each in ends if len(each) > MOST_TOLD], default=to_ns)
    return GapsReply(
        market=place.fqme,
        period_s=place.period_s,
        from_ns=from_ns,
        to_ns=cut_ns,
        covered=tuple(
            Span(from_ns=max(s.from_ns, from_ns), to_ns=min(s.to_ns, cut_ns), how=s.how)
            for s in inside
            if s.from_ns < cut_ns
        ),
        gaps=_stretches(left, cut_ns),
        unavailable=tuple(each for each in refused if each.from_ns < cut_ns),
        closures=_stretches(shut, cut_ns),
        sessions_known=sessions is not None,
        cut=cut_ns < to_ns,
    )


class Taken(NamedTuple):
    """Rows that were handed in, and are good."""

    rows: Columns
    covered: list[Pair]
    conflicts: int
    shown: tuple[Conflict, ...]
    replaces: WouldReplace | None = None
    """What of an earlier import they would take the place of, if something."""


class Page(NamedTuple):
    """What one table holds."""

    rows: "np.ndarray"
    covered: list[Pair]
    from_ns: int
    to_ns: int
    cut: bool


def page(files: BarFiles, place: Series, call: Table, known: Known, now_ns: int) -> Page:
    """What one table holds. Periods at its ends are made of all their rows."""
    import numpy as np

    newest = known.newest
    base_ns, period_ns = place.period_s * NS, call.period_s * NS
    first_ns, last_ns = _extent(files, place)
    if newest and len(newest.rows):
        first_ns = min(first_ns or now_ns, int(newest.rows["time_ns"][0]))
        last_ns = max(last_ns, int(newest.rows["time_ns"][-1]) + base_ns)
    from_ns = max(first_ns, call.from_ns or 0)
    to_ns = max(from_ns, last_ns if call.to_ns is None else min(call.to_ns, last_ns))
    end_ns = min(to_ns, down(from_ns + MOST_ROWS * base_ns, max(period_ns, base_ns)))
    beyond_ns = 0 if period_ns == base_ns else max(period_ns, DAY_NS)
    read = max(0, from_ns - beyond_ns), end_ns + max(beyond_ns, base_ns)
    rows = _with_newest(files.read(place, *read), newest, *read)
    covered = joined([*pairs_of(files.coverage(place, *read)), *(newest.covered if newest else ())])
    if beyond_ns:
        around = max(0, read[0] - MARGIN_NS), read[1] + MARGIN_NS
        sessions = known.traded.sessions(*around)
        rows = resampled(
            rows,
            place.period_s,
            call.period_s,
            sessions=sessions,
            covered=covered,
            now_ns=now_ns,
        )
    else:
        rows["flags"] |= PARTIAL * ~whole(rows["time_ns"], covered, base_ns)
    first, end = np.searchsorted(rows["time_ns"], [from_ns, end_ns])
    return Page(rows[first:end], clipped(covered, from_ns, end_ns), from_ns, end_ns, end_ns < to_ns)


def _with_newest(rows: "np.ndarray", newest: Live | None, from_ns: int, to_ns: int) -> "np.ndarray":
    """Rows of the disk, and of memory those that aren't there yet."""
    import numpy as np

    if newest is None:
        return rows
    times = newest.rows["time_ns"]
    fresh = newest.rows[(times >= from_ns) & (times < to_ns) & ~np.isin(times, rows["time_ns"])]
    if not len(fresh):
        return rows
    together = np.concatenate([rows, fresh])
    return together[np.argsort(together["time_ns"], kind="stable")]


def taken(files: BarFiles, place: Series, rows: Columns, call: ImportRows, now_ns: int) -> Taken:
    """Rows that are handed in, and how they differ from what is there. Raises Refused."""
    import numpy as np

    period_ns = place.period_s * NS
    rules = Rules(period_ns, now_ns, foreign=True)
    marks = judged(rows.part, rows["time_ns"], rules)
    if marks.any():
        bad = next(told(rows.rows(), marks, rules))
        raise Refused(BadRows(row=bad.row, reason=bad.reason))
    first_ns, end_ns = int(rows["time_ns"][0]), int(rows["time_ns"][-1]) + period_ns
    covered = _covered(call, rows, period_ns, now_ns)
    known = files.read(place, first_ns, end_ns)
    if not len(known):
        return Taken(rows, covered, 0, ())
    _, theirs, ours = np.intersect1d(
        known["time_ns"], rows["time_ns"], assume_unique=True, return_indices=True
    )
    differ = np.zeros(len(ours), dtype=np.bool_)
    for name in NAMES:
        differ |= known[name][theirs] != rows[name][ours]
    shown = tuple(
        Conflict(
            time_ns=int(rows["time_ns"][our]),
            known=tuple(float(known[name][their]) for name in PRICES),
            told=tuple(float(rows[name][our]) for name in PRICES),
            replaced=False,
        )
        for their, our in zip(theirs[differ][:SHOWN], ours[differ][:SHOWN], strict=True)
    )
    replaces = _replaced(files, place, rows.part(ours[differ]).rows(), known[theirs[differ]])
    return Taken(rows, covered, int(differ.sum()), shown, replaces)


def _replaced(
    files: BarFiles, place: Series, told_: "np.ndarray", known: "np.ndarray"
) -> WouldReplace | None:
    """Which of these rows, of the same times, but not the same, came by an import before."""
    import numpy as np

    if not len(known):
        return None
    times = known["time_ns"]
    imported = files.imported(place, int(times[0]), int(times[-1]) + 1)
    at = np.flatnonzero(np.isin(times, imported))
    if not len(at):
        return None
    return WouldReplace(
        rows=len(at),
        time_ns=int(times[at[0]]),
        known=_values(known[at[0]]),
        told=_values(told_[at[0]]),
    )


def _values(row: "np.void") -> tuple[float, ...]:
    return tuple(float(row[name]) for name in (*PRICES, "volume", "trades"))


def _covered(call: ImportRows, rows: Columns, period_ns: int, now_ns: int) -> list[Pair]:
    """What the rows cover: what the caller says, else their own periods. Raises Refused."""
    if call.covered_from_ns is None or call.covered_to_ns is None:
        return periods(rows["time_ns"], period_ns)
    first_ns, end_ns = int(rows["time_ns"][0]), int(rows["time_ns"][-1]) + period_ns
    if not (0 <= call.covered_from_ns <= first_ns and end_ns <= call.covered_to_ns <= now_ns):
        told = f"{call.covered_from_ns} to {call.covered_to_ns}"
        rows_told = f"all rows, {first_ns} to {end_ns}"
        problem = f"covered_from_ns: expected a stretch of {rows_told}, was {told}"
        raise Refused(InvalidParameter(parameter=problem))
    return [(call.covered_from_ns, call.covered_to_ns)]


def pairs_of(spans: Iterable[Span | Unavailable]) -> list[Pair]:
    """Their time, in the order they came."""
    return [(each.from_ns, each.to_ns) for each in spans]


def _stretches(pairs: Iterable[Pair], end_ns: int) -> tuple[Stretch, ...]:
    return tuple(Stretch(from_ns=a, to_ns=b) for a, b in pairs if a < end_ns)
