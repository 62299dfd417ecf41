"""The ticks of one provider's markets on disk, as they were seen live.

    FQME/ticks/YYYY-MM-DD/NNNNNN.parquet    segments of a UTC day, by datad's clock
    FQME/ticks/YYYY-MM-DD.parquet           the whole day, when it is over

A file is there whole or not at all (`parquet`). A day's file names in its metadata the segments
that are in it, so that joining them twice, or a crash in the middle, neither doubles nor loses a
tick: what is named goes, what isn't is joined. A segment's number is never given twice, nor is that
of a message: by them ticks are in the order in which they came, whatever the clock said meanwhile.

Everything here waits for the disk: it is called in a worker thread.
"""

import fcntl
import os
import re
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import msgspec
import numpy as np
from msgspec import Struct, structs

from piker.core.sessions import continued
from piker.core.spans import joined
from piker.core.tickcolumns import KINDS, NO_TICK, TickColumns
from piker.coverage import Span
from piker.markets import Market
from piker.store import durable, parquet, room
from piker.store.parquet import Damaged
from piker.store.places import TICKS, quoted, unquoted

if TYPE_CHECKING:
    import polars as pl

VERSION: Final = 1
KEY: Final = "piker"
"""Of a file's metadata."""
LOCK: Final = "ticks.lock"
COLUMNS: Final = ("time", "seen", "message", "kind", "price", "size", "derived", "delayed")

_DAY = re.compile(r"\d{4}-\d\d-\d\d")
_SEGMENT = re.compile(r"\d{6,}\.parquet")
SKIPPED: Final = 1 << 32
"""More messages than a file has. It is how much further they are numbered where some can't be read,
that may be of the last."""
_LOOKS = 5
"""How often a recording is looked at that changes while it is read: days are joined seldom."""


class About(Struct, frozen=True, kw_only=True):
    """What a file of ticks says of itself, as JSON in its metadata."""

    version: int
    market: Market
    spans: tuple[Span, ...]
    """Time of which every tick is here, or in the files before and after."""
    next_message: int
    """The number of the first message after it."""
    segments: tuple[str, ...] = ()
    """Of a whole day: the names of those that are in it."""


class Recorded(NamedTuple):
    """Ticks as they were read, and what is said of them."""

    about: About
    ticks: TickColumns


class Totals(NamedTuple):
    """How much is kept of a market's ticks."""

    from_ns: int | None
    """The first instant that is covered, UTC ns; None: none is."""
    to_ns: int | None
    rows: int
    """Ticks, and signs of life."""
    size_bytes: int


class Taken(Exception):
    """Another process writes here."""


class TickFiles:
    """The ticks of one provider's markets, for the one process that writes them.

    It is the one from its first write until `unlock`. Nothing is written where less than
    `least_free` bytes are free (room.py).
    """

    def __init__(self, directory: Path, least_free: int = room.LEAST_FREE) -> None:
        self._directory = directory
        self._least_free = least_free
        self._lock = -1
        self._turn = threading.Lock()
        """Held by the thread that changes files: an audit's is another than the recording's."""

    def markets(self) -> list[str]:
        """Those that ticks are kept of, by name. Raises OSError."""
        found = ((unquoted(each.name), each / TICKS) for each in _entries(self._directory))
        return sorted(fqme for fqme, ticks in found if fqme and is_tick_directory(ticks))

    def place(self, fqme: str) -> Path:
        """The directory of a market's ticks."""
        return ticks_of(self._directory, fqme)

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Be the one who changes files, with nothing half written. Raises Taken or OSError."""
        with self._turn:
            held = self._lock >= 0
            self._hold_lock()
            try:
                yield
            finally:
                if not held:
                    self.unlock()

    def _hold_lock(self) -> None:
        if self._lock >= 0:
            return
        durable.make(self._directory)
        fd = os.open(self._directory / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            os.close(fd)
            raise Taken(f"another datad records to {self._directory}") from error
        self._lock = fd

    def unlock(self) -> None:
        """Let another one write."""
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    def next_message(self, fqme: str) -> int:
        """A number greater than that of any message on disk. Raises OSError.

        It is the next one, unless what came last can't be read.
        """
        known, lost = 0, False
        for files in _by_day(self.place(fqme)):
            said, missed = _newest(files)
            if said and said.next_message >= known:
                known, lost = said.next_message, missed
            else:
                lost = lost or missed
        return known + SKIPPED if lost else known

    def write(self, day: str, ticks: TickColumns, said: About) -> Path:
        """Add a segment to a day; gives its file. Raises Taken or OSError."""
        with self._turn:
            self._hold_lock()
            room.check(self._directory, self._least_free)
            directory = self.place(said.market.fqme) / day
            path = directory / f"{_next_number(directory):06d}.parquet"
            parquet.write(_frame(ticks), path, _words(said))
            return path

    def join(self, fqme: str, before: str, now_ns: int) -> list[Path]:
        """Make one file of each day before a day; gives files that were damaged, set aside.

        Raises Taken or OSError.
        """
        with self._turn:
            self._hold_lock()
            room.check(self._directory, self._least_free)
            days = [each for each in _entries(self.place(fqme)) if _DAY.fullmatch(each.name)]
            early = [day for day in days if day.name < before and day.is_dir()]
            return [aside for day in early for aside in _join(day, now_ns)]


def ticks_of(directory: Path, fqme: str) -> Path:
    """Where a market's ticks are, below its provider's directory."""
    return directory / quoted(fqme) / TICKS


def fqme_of(directory: Path) -> str:
    """The market of a directory of ticks."""
    return unquoted(directory.parent.name) or directory.parent.name


def is_tick_directory(path: Path) -> bool:
    """Whether datad recorded a market's ticks there."""
    return path.name == TICKS and any(is_of_a_day(each) for each in _entries(path))


def is_of_a_day(path: Path) -> bool:
    """Whether it is named as a day is, or its file."""
    return bool(_DAY.fullmatch(path.name.removesuffix(".parquet")))


def is_segment(path: Path) -> bool:
    """Whether it is named as a part of a day is."""
    return bool(_SEGMENT.fullmatch(path.name) and _DAY.fullmatch(path.parent.name))


def about(path: Path) -> About:
    """What a file says of itself. Raises Damaged or OSError."""
    words = parquet.words_of(path).get(KEY)
    if words is None:
        raise Damaged("expected a recording of datad's, with its market in the metadata, was none")
    try:
        version = msgspec.json.decode(words, type=_Versioned).version
        if version != VERSION:
            raise Damaged(f"expected a recording of version {VERSION}, was {version}")
        return msgspec.json.decode(words, type=About)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Damaged(f"in its metadata: {error}") from error


def about_all(path: Path) -> About:
    """What a file, or the newest of a market's ticks, says. Raises Damaged or OSError."""
    files = _files(path) if path.is_dir() else [path]
    if not files:
        raise Damaged("expected recorded ticks, was an empty directory")
    return about(files[-1])


def read(path: Path) -> Recorded:
    """The ticks of a file, or all days of a market. Raises Damaged or OSError.

    The text of Damaged names the file, where it is one of several.
    """
    if not path.is_dir():
        return _read([path])
    for _ in range(_LOOKS):
        with suppress(FileNotFoundError):  # a day was joined meanwhile
            return _read(_files(path))
    raise Damaged("expected a recording that rests while it is read, was one that changes")


def totals(ticks: Path) -> Totals:
    """How much is kept of a market, of files that can be read. Raises OSError."""
    for _ in range(_LOOKS):
        with suppress(FileNotFoundError):  # a day was joined meanwhile
            return _totals(ticks)
    raise OSError(f"expected {ticks} to rest while it is read, was changing")


class _Versioned(Struct):
    version: int


def _totals(ticks: Path) -> Totals:
    import polars as pl

    files = list(_readable(ticks))
    spans = [(span.from_ns, span.to_ns) for _, said in files for span in said.spans]
    frames = [pl.scan_parquet(path, glob=False).select(pl.len()) for path, _ in files]
    return Totals(
        min(spans)[0] if spans else None,
        max(to_ns for _, to_ns in spans) if spans else None,
        sum(each.item() for each in pl.collect_all(frames)),
        sum(path.stat().st_size for path, _ in files),
    )


def _readable(ticks: Path) -> Iterator[tuple[Path, About]]:
    """Files of a market's ticks that say what they are; those within a day's file are left out."""
    for day in _days(ticks):
        within: tuple[str, ...] = ()
        whole = ticks / f"{day}.parquet"
        with suppress(Damaged):
            if whole.exists():
                said = about(whole)
                within = said.segments
                yield whole, said
        for path in _segments(ticks / day):
            with suppress(Damaged):
                if path.name not in within:
                    yield path, about(path)


def _read(paths: list[Path]) -> Recorded:
    import polars as pl

    if not paths:
        raise Damaged("expected recorded ticks, was an empty directory")
    said, ticks = about(paths[0]), TickColumns()
    for path in paths:
        try:
            said = _merged([said, about(path)])
            frame = parquet.read(path)
            _expect_columns(frame)
            ticks.extend(_columns(frame))
        except (Damaged, pl.exceptions.PolarsError) as error:
            raise Damaged(f"{path.name}: {error}" if len(paths) > 1 else str(error)) from error
    return Recorded(said, _in_order(ticks) if len(paths) > 1 else ticks)


def _in_order(ticks: TickColumns) -> TickColumns:
    """By message: a clock that was set back over midnight has put them into two days in turn.

    As they are, where a number was given twice: then nothing is known but the names of files.
    """
    numbers = np.frombuffer(ticks.messages, np.int64) if len(ticks) else np.empty(0, np.int64)
    if not (np.diff(numbers) < 0).any():
        return ticks
    order = np.argsort(numbers, kind="stable")
    if np.count_nonzero(np.diff(numbers[order])) != np.count_nonzero(np.diff(numbers)):
        return ticks
    sorted_ = TickColumns()
    for ours, theirs in zip(sorted_.columns, ticks.columns, strict=True):
        ours.frombytes(np.frombuffer(theirs, theirs.typecode)[order].tobytes())
    return sorted_


def _files(ticks: Path) -> list[Path]:
    """All files of a market's ticks, oldest first, without segments that a day's file has."""
    found: list[Path] = []
    for day in _days(ticks):
        whole = ticks / f"{day}.parquet"
        within = about(whole).segments if whole.exists() else ()
        found += [whole] if whole.exists() else []
        found += [each for each in _segments(ticks / day) if each.name not in within]
    return found


def _days(ticks: Path) -> list[str]:
    names = {each.name.removesuffix(".parquet") for each in _entries(ticks)}
    return sorted(name for name in names if _DAY.fullmatch(name))


def _segments(directory: Path) -> list[Path]:
    return [each for each in _entries(directory) if _SEGMENT.fullmatch(each.name)]


def _entries(directory: Path) -> list[Path]:
    """What is in a directory, by name; nothing, if it isn't there."""
    try:
        return sorted(directory.iterdir())
    except (FileNotFoundError, NotADirectoryError):
        return []


def _next_number(directory: Path) -> int:
    """Of a day's segments, also those that its file has already, and those that were set aside."""
    whole = directory.with_name(f"{directory.name}.parquet")
    names = [_called(each) for each in _entries(directory)]
    if whole.exists():
        with suppress(Damaged):
            names += about(whole).segments
    numbers = (int(Path(name).stem) for name in names if _SEGMENT.fullmatch(name))
    return max(numbers, default=0) + 1


def _called(path: Path) -> str:
    """The name of a file, also of one that was set aside: the one that it had."""
    name, aside, _ = path.name.partition(parquet.DAMAGED)
    return name.removeprefix(parquet.PASSED_OVER) if aside else name


def _by_day(ticks: Path) -> Iterator[list[Path]]:
    """The files of each day, oldest first, with those that were set aside."""
    days: dict[str, list[Path]] = {}
    for path in _entries(ticks):
        name = _called(path)
        if _DAY.fullmatch(day := name.removesuffix(".parquet")):
            found = [path] if name != day else _entries(path)
            days.setdefault(day, []).extend(found)
    for day, paths in sorted(days.items()):
        wholes = [each for each in paths if _called(each) == f"{day}.parquet"]
        parts = [each for each in paths if _SEGMENT.fullmatch(_called(each))]
        yield [*sorted(wholes, reverse=True), *sorted(parts, key=_called)]


def _newest(files: list[Path]) -> tuple[About | None, bool]:
    """What the newest says that can be read; and whether one that can't is, or may be, newer."""
    missed = ""
    for path in reversed(files):
        with suppress(Damaged, OSError):
            if parquet.DAMAGED not in path.name:
                said = about(path)
                return said, missed > max(said.segments, default="")
        missed = missed or _called(path)
    return None, bool(missed)


def _join(directory: Path, now_ns: int) -> list[Path]:
    """Make a day's file of its segments, and remove them; gives those that were damaged."""
    whole = directory.with_name(f"{directory.name}.parquet")
    aside: list[Path] = []
    parts: dict[Path, About] = {}
    for path in [whole] if whole.exists() else []:
        _look(path, parts, aside, now_ns)
    within = parts[whole].segments if whole in parts else ()
    segments = _segments(directory)
    for path in segments:
        if path.name not in within:
            _look(path, parts, aside, now_ns)
    if parts.keys() - {whole}:
        said = _merged(parts.values())
        names = (*within, *(path.name for path in parts if path != whole))
        parquet.write(_scan(list(parts)), whole, _words(structs.replace(said, segments=names)))
    for path in _entries(directory):
        if path in segments or path.name.startswith(parquet.UNFINISHED):
            path.unlink(missing_ok=True)
    with suppress(OSError):  # what was set aside stays
        directory.rmdir()
    return aside


def _look(path: Path, parts: dict[Path, About], aside: list[Path], now_ns: int) -> None:
    """Read what a file says, if it can be read to its end."""
    try:
        said = about(path)
        _expect_columns(parquet.read(path))
        parts[path] = said
    except Damaged:
        aside.append(parquet.set_aside(path, now_ns))


def _merged(several: Iterable[About]) -> About:
    """What is said of files one after the other."""
    first, *others = several
    for later in others:
        spans = joined((span.from_ns, span.to_ns) for each in (first, later) for span in each.spans)
        sessions = continued(first.market.sessions, later.market.sessions)
        first = About(
            version=VERSION,
            market=structs.replace(later.market, sessions=sessions),
            spans=tuple(Span(from_ns=a, to_ns=b, how="live") for a, b in spans),
            next_message=max(first.next_message, later.next_message),
        )
    return first


def _words(said: About) -> dict[str, str]:
    return {KEY: msgspec.json.encode(said).decode()}


def _scan(paths: list[Path]) -> "pl.LazyFrame":
    import polars as pl

    return pl.concat([pl.scan_parquet(path, glob=False) for path in paths])


def _schema() -> "dict[str, Any]":
    import polars as pl

    instant = pl.Datetime("ns", "UTC")
    kinds = (instant, instant, pl.Int64(), pl.Enum(KINDS), pl.Float64(), pl.Float64())
    return dict(zip(COLUMNS, (*kinds, pl.Boolean(), pl.Boolean()), strict=True))


def _expect_columns(frame: "pl.DataFrame") -> None:
    expected, was = _schema(), dict(frame.schema)
    if was != expected:
        wrong = [name for name in (*expected, *was) if expected.get(name) != was.get(name)]
        right, found = expected.get(wrong[0], "no such column"), was.get(wrong[0], "none")
        raise Damaged(f"expected {wrong[0]} to be {right}, was {found}")


def _frame(ticks: TickColumns) -> "pl.DataFrame":
    import polars as pl

    copies = {  # since an array of which somebody has a view can't grow any more
        name: np.frombuffer(column, column.typecode).copy()
        for name, column in zip(COLUMNS, ticks.columns, strict=True)
    }
    schema = _schema()
    names = dict(enumerate(KINDS))
    return (
        pl.DataFrame(copies)
        .with_columns(
            pl.col("kind").replace_strict(names, default=None, return_dtype=schema["kind"]),
            pl.col("price", "size").fill_nan(None),
        )
        .cast({name: kind for name, kind in schema.items() if name != "kind"})
    )


def _columns(frame: "pl.DataFrame") -> TickColumns:
    """Raises Damaged where something is missing."""
    import polars as pl

    for name in COLUMNS:
        if name not in ("kind", "price", "size") and frame[name].null_count():
            raise Damaged(f"expected a value in each row of {name}, was one without")
    plain = frame.with_columns(
        pl.col("time", "seen").to_physical(),
        pl.col("kind").to_physical().cast(pl.Int8).fill_null(NO_TICK),
        pl.col("price", "size").fill_null(float("nan")),
        pl.col("derived", "delayed").cast(pl.Int8),
    )
    ticks = TickColumns()
    for name, column in zip(COLUMNS, ticks.columns, strict=True):
        column.frombytes(plain[name].to_numpy().tobytes())
    return ticks
