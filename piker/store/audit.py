"""Looks at all bars on disk: what isn't as it should be is found, and mended on request.

Mending loses nothing. What can't be read is set aside by name; of a file with bad rows a fresh one
gets the good ones, and the original is set aside. The time of what isn't there any more is
uncovered, so that it is fetched again. What isn't ours is told of and never touched.

A market's ticks, in `places.TICKS`, are tickaudit.py's to look at.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Final

from piker.core import covering
from piker.core.bars import NS
from piker.core.rowfaults import Fault, Rules, faults, told
from piker.core.spans import Pair, down, inward, up
from piker.coverage import Finding, Span
from piker.store import barframes, durable, notes, parquet, tickfiles
from piker.store.barbatch import AHEAD_NS
from piker.store.barfiles import LOCK, BarFiles, unfinished
from piker.store.barwords import Words, words_of
from piker.store.findings import NOT_OURS, Wrong, entries, finding, is_directory, note
from piker.store.parquet import DAMAGED, Damaged
from piker.store.places import (
    ASKED,
    TICKS,
    Month,
    Series,
    instant,
    month_named,
    period_of,
    unquoted,
)

if TYPE_CHECKING:
    import numpy as np
    import polars as pl
    from numpy.typing import NDArray

MAX_ROWS: Final = 100
"""Bad rows of a file that are told of one by one; of the others only how many there are."""


def audit(
    files: BarFiles, now_ns: int, *, repair: bool, only: Series | None = None
) -> Iterator[Finding]:
    """All that is wrong with what is kept of a provider, or with one series.

    Who repairs holds the lock. It waits for the disk, one file between two findings at least.
    Raises OSError.
    """
    assert files.locked or not repair, "expected the lock to be held by who repairs"
    auditor = _Auditor(files, now_ns, repair=repair)
    if only is None:
        yield from auditor.all()
    else:
        yield from auditor.series(only)


class _Auditor:
    def __init__(self, files: BarFiles, now_ns: int, *, repair: bool) -> None:
        self._files = files
        self._now_ns = now_ns
        self._repair = repair

    def all(self) -> Iterator[Finding]:
        """The whole directory of a provider."""
        for path in entries(self._files.directory):
            if path.name in (LOCK, tickfiles.LOCK, ASKED, f".{ASKED}"):
                continue
            fqme = unquoted(path.name) if is_directory(path) else None
            if fqme is None:
                yield note(path, NOT_OURS)
            else:
                yield from self._market(fqme, path)

    def _market(self, fqme: str, directory: Path) -> Iterator[Finding]:
        for path in entries(directory):
            period_s = period_of(path.name) if is_directory(path) else None
            if period_s is not None:
                yield from self.series(Series(fqme, period_s))
            elif path.name != TICKS:
                yield note(path, NOT_OURS)

    def series(self, series: Series) -> Iterator[Finding]:
        """One directory of months."""
        for path in entries(self._files.place(series)):
            month = month_named(path.name)
            if is_directory(path):
                yield note(path, NOT_OURS, series)
            elif month is not None:
                yield from self._month(series, month, path)
            elif path.name == notes.NAME:
                yield from self._notes(series, path)
            else:
                yield self._other(series, path)

    def _other(self, series: Series, path: Path) -> Finding:
        if path in unfinished(path.parent):
            return self._left(series, path)
        if DAMAGED in path.name:
            since, lost = "could not be read or had bad rows", "its time is fetched again"
            if path.name.startswith(notes.NAME):
                since, lost = "could not be read", notes.LOST
            text = f"it was set aside, since it {since}; {lost}: look at it, or delete it"
            return note(path, text, series)
        return note(path, NOT_OURS, series)

    def _left(self, series: Series, path: Path) -> Finding:
        if self._repair:
            durable.remove(path)
        text = "a write that a crash interrupted left it; nothing in it is missing elsewhere"
        return finding(path, series, Wrong(text), "removed" if self._repair else "")

    def _notes(self, series: Series, path: Path) -> Iterator[Finding]:
        try:
            notes.read(path.parent)
        except Damaged as damaged:
            yield self._unreadable(series, path, damaged, f"; {notes.LOST}")

    def _month(self, series: Series, month: Month, path: Path) -> Iterator[Finding]:
        try:
            parquet.check(path)
            words = words_of(path, series)
            frame = parquet.read(path)
            barframes.check_columns(frame, tuple(barframes.schema()))
        except Damaged as damaged:
            yield self._unreadable(series, path, damaged)
            return
        look = _Look(series, month, words, barframes.rows_of(frame), self._now_ns + AHEAD_NS)
        wrong = list(look.wrong())
        done = self._mend(series, month, frame, look) if wrong and self._repair else ""
        yield from (finding(path, series, each, done) for each in wrong)

    def _mend(self, series: Series, month: Month, frame: "pl.DataFrame", look: "_Look") -> str:
        """Have the month hold what is good of it, and its original beside it."""
        path = self._files.place(series) / month.file
        aside = parquet.keep_aside(path, self._now_ns)
        good = frame[look.good()]
        coverage = covering.with_rows(look.sound_coverage(), barframes.times_ns(good))
        self._files.write(series, month, good, coverage)
        return f"kept as {aside.name}; {len(good)} good rows stay, the rest is fetched again"

    def _unreadable(self, series: Series, path: Path, damaged: Damaged, lost: str = "") -> Finding:
        done = ""
        if self._repair:
            done = f"set aside as {parquet.set_aside(path, self._now_ns).name}"
        return finding(path, series, Wrong(f"it can't be read: {damaged}{lost}"), done)


class _Look:
    """One month's rows and coverage, looked at."""

    def __init__(
        self, series: Series, month: Month, words: Words, rows: "np.ndarray", to_ns: int
    ) -> None:
        self._period_ns = series.period_s * NS
        self._from_ns, self._to_ns = month.stretch(self._period_ns)
        self._month, self._words = month, words
        self._rows, self._times = rows, rows["time_ns"]
        self._rules = Rules(self._period_ns, to_ns - 1)
        self._marks = faults(rows, self._rules)

    def wrong(self) -> Iterator[Wrong]:
        """All that is, in words."""
        if self._words.rows != len(self._rows):
            yield Wrong(f"it has {len(self._rows)} rows, expected {self._words.rows}")
        several = sorted(self._wrong_rows(), key=lambda each: each.row or 0)
        yield from several[:MAX_ROWS]
        if len(several) > MAX_ROWS:
            yield Wrong(f"{len(several) - MAX_ROWS} more rows are wrong")
        yield from self._wrong_spans()

    def good(self) -> "NDArray[np.int64]":
        """Which rows stay, by number, in order of time; of those of one time the last."""
        import numpy as np

        rows = np.flatnonzero(self._sound())
        rows = rows[np.argsort(self._times[rows], kind="stable")]
        last = np.append(np.diff(self._times[rows]) != 0, True)[: len(rows)]
        good: NDArray[np.int64] = rows[last]
        return good

    def sound_coverage(self) -> list[Span]:
        """What is covered, as it should be said, without the time of rows that don't stay."""
        whole: list[Span] = []
        for span in self._words.coverage:
            stretch = inward(span.from_ns, span.to_ns, self._period_ns)
            if stretch:
                one = Span(from_ns=stretch[0], to_ns=stretch[1], how=span.how)
                whole = covering.together(whole, covering.cut([one], self._from_ns, self._to_ns))
        return covering.uncovered(whole, self._lost())

    def _sound(self) -> "NDArray[np.bool_]":
        inside = (self._times >= self._from_ns) & (self._times < self._to_ns)
        sound: NDArray[np.bool_] = (self._marks == Fault.NONE) & inside
        return sound

    def _lost(self) -> list[Pair]:
        """The periods of rows that don't stay."""
        import numpy as np

        lost = np.setdiff1d(np.arange(len(self._rows)), self.good())
        return [
            (down(time_ns, self._period_ns), up(time_ns + 1, self._period_ns))
            for time_ns in self._times[lost].tolist()
        ]

    def _wrong_rows(self) -> Iterator[Wrong]:
        import numpy as np

        for bad in told(self._rows, self._marks, self._rules):
            yield Wrong(bad.reason, bad.row, bad.time_ns)
        outside = (self._times < self._from_ns) | (self._times >= self._to_ns)
        for row in np.flatnonzero(outside).tolist():
            yield self._of(row, f"it is not of the month {self._month.file[:7]}")
        steps = np.diff(self._times)
        for row in np.flatnonzero(steps < 0).tolist():
            yield self._of(row + 1, f"it is earlier than the row before, {self._when(row)}")
        for row in np.flatnonzero(steps == 0).tolist():
            yield self._of(row + 1, "it is of the same time as the row before")

    def _wrong_spans(self) -> Iterator[Wrong]:
        end_ns = self._from_ns
        for span in self._words.coverage:
            if text := self._span_problem(span, end_ns):
                stretch = f"{instant(span.from_ns)} to {instant(span.to_ns)}"
                yield Wrong(f"covered ({span.how}) from {stretch}: {text}")
            end_ns = max(end_ns, span.to_ns)

    def _span_problem(self, span: Span, end_ns: int) -> str:
        if span.from_ns >= span.to_ns:
            return "it ends before it begins"
        if span.from_ns < self._from_ns or span.to_ns > self._to_ns:
            return f"expected a stretch of the month {self._month.file[:7]}"
        if span.from_ns < end_ns:
            return f"expected it to begin at {instant(end_ns)} or later, where the one before ends"
        if span.from_ns % self._period_ns or span.to_ns % self._period_ns:
            return "expected whole periods"
        if span.how == "empty" and self._has_row(span):
            return "expected no row in it"
        return ""

    def _has_row(self, span: Span) -> bool:
        return bool(((self._times >= span.from_ns) & (self._times < span.to_ns)).any())

    def _of(self, row: int, text: str) -> Wrong:
        return Wrong(text, row, int(self._times[row]))

    def _when(self, row: int) -> str:
        return instant(int(self._times[row]))
