"""Bars on disk: a file a month of each series, which any tool reads as it is.

    DIRECTORY/PROVIDER/lock                            who writes holds it
    DIRECTORY/PROVIDER/FQME/PERIOD/YYYY-MM.parquet     rows (barframes.py) and what is covered
    DIRECTORY/PROVIDER/FQME/PERIOD/_series.json        notes

A file's rows and its coverage are written at once, so that neither is ever without the other; a
month may have coverage and no row. A reader sees a file as it was or as it is. What can't be read
is set aside by name, and its time is uncovered: it is fetched again.
"""

import fcntl
import logging
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple, Self

from piker import clock, log
from piker.core import covering
from piker.core.bars import NS, ROW
from piker.core.rowfaults import BadRow
from piker.core.rows import Columns
from piker.core.spans import Pair, clipped
from piker.coverage import Span
from piker.store import barframes, barwords, durable, notes, parquet, room
from piker.store.atonce import at_once
from piker.store.barbatch import Batch
from piker.store.barframes import Change, RowHow
from piker.store.barwords import Known, Words
from piker.store.notes import Notes
from piker.store.parquet import Damaged
from piker.store.places import (
    Month,
    Series,
    instant,
    month_named,
    period_name,
    period_of,
    quoted,
    unquoted,
)

if TYPE_CHECKING:
    import numpy as np
    import polars as pl
    from numpy.typing import NDArray

LOCK: Final = "lock"
MAX_SHOWN: Final = 20
"""Changes of one write that are shown one by one."""

logger = logging.getLogger(__name__)


class Held(OSError):
    """Another process writes the history of this provider."""


class Put(NamedTuple):
    """What became of rows that were put."""

    added: int
    changed: int
    """Rows that took the place of one with other values."""
    kept: int
    """Rows that were there like that already, or better known."""
    changes: tuple[Change, ...]
    """The first of those that were changed."""
    refused: int = 0
    """Rows that can't be bars; their time is not covered by this."""
    faults: tuple[BadRow, ...] = ()
    """The first of those, and why."""


class File(NamedTuple):
    """One month on disk."""

    month: Month
    path: Path
    words: Words
    bytes: int


class BarFiles:
    """The bars of one provider. It waits for the disk: call it in a thread, one call at a time.

    Who writes holds the lock, by `with` or by `lock`; reading needs none, but then what is damaged
    stays where it is. Nothing is written where less than `least_free` bytes are free (room.py).
    """

    def __init__(self, directory: Path, provider: str, least_free: int = room.LEAST_FREE) -> None:
        self.directory = directory / quoted(provider)
        self.provider = provider
        self._least_free = least_free
        self._lock: int | None = None
        self._known = Known()

    def __enter__(self) -> Self:
        self.lock()
        return self

    def __exit__(self, *_: object) -> None:
        self.unlock()

    def lock(self) -> None:
        """Be the one who writes, until `unlock` or the end of the process. Raises Held, OSError.

        What a crash of another left unfinished is removed.
        """
        if self._lock is not None:
            return
        durable.make(self.directory)
        fd = os.open(self.directory / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(fd)
            raise Held(f"another process has {self.directory / LOCK}") from None
        except BaseException:
            os.close(fd)
            raise
        self._lock = fd
        for each in self.series():
            for path in unfinished(self.place(each)):
                durable.remove(path)

    def unlock(self) -> None:
        """Let another write. Twice is a no-op."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def check_room(self) -> None:
        """See that the disk has room for more. Raises room.TooLittle or OSError."""
        room.check(self.directory, self._least_free)

    @property
    def locked(self) -> bool:
        """Whether we are the one who writes."""
        return self._lock is not None

    def series(self) -> list[Series]:
        """Those that there is a directory for, by name and period. Raises OSError."""
        found = [
            Series(fqme, period_s)
            for market in _directories(self.directory)
            if (fqme := unquoted(market.name))
            for period in _directories(market)
            if (period_s := period_of(period.name))
        ]
        return sorted(found)

    def place(self, series: Series) -> Path:
        """The directory of a series."""
        return self.directory / quoted(series.fqme) / period_name(series.period_s)

    def months(self, series: Series) -> list[Month]:
        """Those that there is a file of, oldest first. Raises OSError."""
        with suppress(FileNotFoundError, NotADirectoryError):
            names = os.listdir(self.place(series))
            return sorted(month for name in names if (month := month_named(name)))
        return []

    def files(self, series: Series) -> list[File]:
        """Its months, with what they say of themselves. Raises OSError."""
        return self._files(series, self.months(series))

    def coverage(self, series: Series, from_ns: int, to_ns: int) -> list[Span]:
        """What is known of a stretch, oldest first, apart. Raises OSError."""
        files = self._files(series, self._months_in(series, from_ns, to_ns))
        spans = covering.neat(span for file in files for span in file.words.coverage)
        return covering.cut(spans, from_ns, to_ns)

    def read(self, series: Series, from_ns: int, to_ns: int) -> "np.ndarray":
        """The rows (dtype ROW) that begin in a stretch, oldest first. Raises OSError."""
        import polars as pl

        files = self._sound(series, self._months_in(series, from_ns, to_ns))
        time = pl.col("time").to_physical()
        where = (time >= from_ns) & (time < to_ns)
        frames = self._frames(series, files, barframes.SEEN, where)
        return barframes.rows_of(pl.concat(frames)) if frames else _no_rows()

    def imported(self, series: Series, from_ns: int, to_ns: int) -> "NDArray[np.int64]":
        """When rows of a stretch begin that were imported, in order. Raises OSError."""
        import polars as pl

        files = self._sound(series, self._months_in(series, from_ns, to_ns))
        time = pl.col("time").to_physical()
        where = (time >= from_ns) & (time < to_ns) & (pl.col("how") == "imported")
        frames = self._frames(series, files, ("time", "how"), where)
        return barframes.times_ns(pl.concat(frames)) if frames else _no_rows()["time_ns"]

    def put(
        self,
        series: Series,
        rows: "Columns | np.ndarray",
        covered: Sequence[Pair],
        *,
        how: RowHow,
        source: str,
        now_ns: int,
    ) -> Put:
        """Keep rows (dtype ROW, in any order, or Columns) and what they cover, month by month.

        Columns are known to be bars, and to rise in time.

        The rule for what is there already is that of barframes.py. Of two new rows of one time the
        later in the array counts. Rows that can't be bars are refused and their periods not
        covered. Coverage is rounded inward to whole periods; what of it has no row, put as
        backfilled, is empty. Raises OSError: then some months may be kept and others not, and
        putting it all again does no harm.
        """
        assert self.locked, "expected the lock to be held by who writes"
        batch = Batch.of(rows, covered, how, series.period_s * NS, now_ns)
        done = self._put_months(series, batch, how, source, now_ns)
        return Put(
            sum(each.added for each in done),
            sum(each.changed for each in done),
            sum(each.kept for each in done),
            tuple(change for each in done for change in each.changes)[:MAX_SHOWN],
            batch.refused,
            batch.faults,
        )

    def notes(self, series: Series) -> Notes:
        """What is noted of a series; nothing, if that can't be read. Raises OSError."""
        try:
            return notes.read(self.place(series))
        except Damaged as damaged:
            self._damaged(series, self.place(series) / notes.NAME, damaged)
            return Notes()

    def note(self, series: Series, noted: Notes) -> None:
        """Note this of a series instead. Raises OSError."""
        assert self.locked, "expected the lock to be held by who writes"
        if self.notes(series) != noted:
            self.check_room()
            notes.write(self.place(series), noted)

    def whole(self, series: Series, month: Month) -> "tuple[Words, pl.DataFrame] | None":
        """All that a month has; None if there is nothing that can be read. Raises OSError."""
        for file in self._sound(series, [month]):
            for frame in self._frames(series, [file], tuple(barframes.schema())):
                return file.words, frame
        return None

    def write(
        self, series: Series, month: Month, frame: "pl.DataFrame", coverage: Sequence[Span]
    ) -> None:
        """Have a month hold this and nothing else. Raises OSError."""
        self.check_room()
        words = Words(
            market=series.fqme,
            period_s=series.period_s,
            rows=len(frame),
            coverage=tuple(coverage),
        )
        barwords.write(self.place(series) / month.file, frame, words)

    def _put_months(
        self, series: Series, batch: Batch, how: RowHow, source: str, now_ns: int
    ) -> list[Put]:
        """Some at once: while one waits for the disk, others are made small."""

        def put(part: tuple[Month, slice, list[Span]]) -> Put:
            month, which, spans = part
            frame = barframes.frame_of(batch.rows.part(which), how, source, now_ns)
            return self._put_month(series, month, frame, spans)

        return at_once(put, list(batch.by_month()))

    def _put_month(
        self, series: Series, month: Month, new: "pl.DataFrame", spans: Sequence[Span]
    ) -> Put:
        found = self.whole(series, month)
        coverage = found[0].coverage if found else ()
        old = found[1] if found else new.clear()
        merged = barframes.merged(old, new, covering.pairs(coverage), covering.pairs(spans))
        together = covering.with_rows(
            covering.together(coverage, spans), barframes.times_ns(merged.frame)
        )
        if not found or merged.added or merged.replaced or tuple(together) != coverage:
            self.write(series, month, merged.frame, together)
        count = len(merged.changed)
        changes = self._tell_changes(series, old, new[merged.changed]) if count else ()
        return Put(merged.added, count, len(new) - merged.added - count, changes)

    def _tell_changes(
        self, series: Series, old: "pl.DataFrame", changed: "pl.DataFrame"
    ) -> tuple[Change, ...]:
        """Have them in the log, the first ones with their values."""
        shown = changed.head(MAX_SHOWN)
        was = old.filter(old["time"].is_in(shown["time"].implode()))
        changes = tuple(barframes.changes(was, shown))
        for change in changes:
            logger.info("%s", _told(series, change), extra=self._about(series))
        if len(changed) > len(changes):
            rest = len(changed) - len(changes)
            logger.info(
                "%s: %d more bars of %s are other than they were",
                series.fqme,
                rest,
                period_name(series.period_s),
                extra=self._about(series),
            )
        return changes

    def _months_in(self, series: Series, from_ns: int, to_ns: int) -> list[Month]:
        period_ns = series.period_s * NS
        return [
            month
            for month in self.months(series)
            if clipped([month.stretch(period_ns)], from_ns, to_ns)
        ]

    def _files(self, series: Series, months: Sequence[Month]) -> list[File]:
        """Those of these months that can be read."""
        found: list[File] = []
        for month in months:
            path = self.place(series) / month.file
            with suppress(FileNotFoundError), self._setting_aside(series, path):
                size = path.stat().st_size
                found.append(File(month, path, self._known.words(path, series), size))
        return found

    def _sound(self, series: Series, months: Sequence[Month]) -> list[File]:
        """Those of these months that are as they were written, to the last bit."""

        def sound(month: Month) -> list[File]:
            for file in self._files(series, [month]):
                with suppress(FileNotFoundError), self._setting_aside(series, file.path):
                    self._known.check(file.path)
                    return [file]
            return []

        return [file for found in at_once(sound, months) for file in found]

    def _frames(
        self,
        series: Series,
        files: Sequence[File],
        columns: Sequence[str],
        where: "pl.Expr | None" = None,
    ) -> "list[pl.DataFrame]":
        """Their rows, in order, as one frame, or as one of each that can be read."""
        if not files:
            return []
        try:
            frame = parquet.read_checked([file.path for file in files], columns, where)
            barframes.check(frame, columns)
        except Damaged as damaged:
            if len(files) == 1:
                self._damaged(series, files[0].path, damaged)
                return []
            return [one for file in files for one in self._frames(series, [file], columns, where)]
        return [frame]

    @contextmanager
    def _setting_aside(self, series: Series, path: Path) -> Iterator[None]:
        try:
            yield
        except Damaged as damaged:
            self._damaged(series, path, damaged)

    def _damaged(self, series: Series, path: Path, damaged: Damaged) -> None:
        """Say so, and have it out of the way, if that is ours to do."""
        if not self.locked:
            logger.warning("%s can't be read: %s", path, damaged, extra=self._about(series))
            return
        aside = parquet.set_aside(path, clock.wall_ns())
        logger.warning(
            "%s can't be read and is %s now; %s: %s",
            path,
            aside.name,
            notes.LOST if path.name == notes.NAME else "its time is fetched again",
            damaged,
            extra=self._about(series),
        )

    def _about(self, series: Series) -> dict[str, object]:
        return log.fields(market=series.fqme, provider=self.provider)


def unfinished(directory: Path) -> list[Path]:
    """What a crash left in a series' directory: files that were to be and are not."""
    begins = (parquet.UNFINISHED, f".{notes.NAME}-")
    return [directory / name for name in os.listdir(directory) if name.startswith(begins)]


def _no_rows() -> "np.ndarray":
    import numpy as np

    return np.empty(0, dtype=ROW)


def _directories(path: Path) -> Iterator[Path]:
    """Those in a directory that are no links; none, if there is no such."""
    with suppress(FileNotFoundError, NotADirectoryError), os.scandir(path) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                yield Path(entry.path)


def _told(series: Series, change: Change) -> str:
    """A line for people."""
    was, now = (", ".join(f"{value:g}" for value in each[:-1]) for each in (change.old, change.new))
    return (
        f"{series.fqme}: the bar of {period_name(series.period_s)} of {instant(change.time_ns)} "
        f"was {was} (open, high, low, close, volume, trades) and is {now}"
    )
