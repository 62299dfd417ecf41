"""Bars out of somebody else's file, CSV (also gzipped) or Parquet, checked row by row.

What the file doesn't say is guessed where one guess is usual (names of columns, the unit of times
that are numbers), and told. Nothing is corrected: a row that can't be true is bad
(piker/core/rowfaults.py), and what becomes of the others is for the caller to say.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeAlias, cast

import numpy as np

from piker.core.bars import DERIVED, NS, PARTIAL
from piker.core.rowfaults import PRICES, SAID, UNREADABLE, Fault, Rules, reason
from piker.core.rows import NAMES, Columns
from piker.store.atonce import at_once
from piker.store.foreignfiles import opened
from piker.store.foreigntimes import Times, joined
from piker.store.foreignwords import Asked, Bad, BadFile, Field
from piker.store.judging import judged

if TYPE_CHECKING:
    import polars as pl

NEEDED: Final[tuple[Field, ...]] = ("time", "open", "high", "low", "close")
FLAGS: Final[Mapping[Field, int]] = {"derived": DERIVED, "partial": PARTIAL}
TIMES: Final[tuple[Field, ...]] = ("date", "time")
NUMBERS: Final = (*PRICES, "volume", "trades")

USUAL: Final[Mapping[Field, tuple[str, ...]]] = {
    "date": (),
    "time": ("time", "timeutc", "utctime", "datetime", "date", "timestamp", "ts", "opentime", "t"),
    "open": ("open", "o"),
    "high": ("high", "h"),
    "low": ("low", "l"),
    "close": ("close", "c"),
    "volume": ("volume", "vol", "v"),
    "trades": ("trades", "numberoftrades", "tradecount", "count", "n"),
    "derived": ("derived",),
    "partial": ("partial",),
}
"""How columns are called, in small letters and digits alone."""
MANY: Final = float(2**62)
"""A number of trades is below."""
TOLD: Final = 20
"""Bad rows that are told one by one; of more, the number."""


class Numbers:
    """Doubles as polars holds them, in several pieces of memory: a part of them is an array."""

    def __init__(self, series: "pl.Series") -> None:
        self._series = series

    def __len__(self) -> int:
        return len(self._series)

    def __getitem__(self, which: slice) -> np.ndarray:
        return self._series[which].to_numpy()

    def part(self, which: slice) -> "Numbers":
        """These of them, in the same memory."""
        return Numbers(self._series[which])

    def only(self, good: np.ndarray) -> "Numbers":
        """A copy of those that are marked."""
        import polars as pl

        return Numbers(self._series.filter(pl.Series(good)))

    def put(self, into: np.ndarray) -> None:
        """Have as many be as they are."""
        at = 0
        for chunk in self._series.get_chunks():  # of the whole numpy would have a copy
            into[at : at + len(chunk)] = chunk.to_numpy()
            at += len(chunk)


Column: TypeAlias = np.ndarray | Numbers


class ForeignRows:
    """A file's rows, by the columns of ROW, in the memory that they were read to.

    There are so many that a copy of them all takes longer than to check them.
    """

    def __init__(self, columns: Mapping[str, Column]) -> None:
        self.columns = columns

    def __len__(self) -> int:
        return len(self.times_ns)

    @property
    def times_ns(self) -> np.ndarray:
        """When their periods begin, UTC ns."""
        return self.columns["time_ns"][:]

    def part(self, which: slice) -> "ForeignRows":
        """These rows, in the same memory."""
        return ForeignRows(
            {
                name: column.part(which) if isinstance(column, Numbers) else column[which]
                for name, column in self.columns.items()
            }
        )

    def only(self, good: np.ndarray) -> "ForeignRows":
        """A copy of those that are marked."""
        return ForeignRows(
            {
                name: column.only(good) if isinstance(column, Numbers) else column[good]
                for name, column in self.columns.items()
            }
        )

    def put(self, into: Columns) -> None:
        """Have as many rows be as they are."""

        def put(name: str) -> None:
            column = self.columns[name]
            if isinstance(column, Numbers):
                column.put(into[name])
            else:
                into[name][:] = column

        at_once(put, list(self.columns))

    def copied(self) -> Columns:
        """A copy."""
        made = Columns.zeros(len(self))
        self.put(made)
        return made


@dataclass(frozen=True, kw_only=True)
class Foreign:
    """What is in a file."""

    rows: ForeignRows
    """Those that are good, rising in time."""
    read: int
    """All that there are, the bad ones too."""
    bad: tuple[Bad, ...]
    """The first `TOLD` of them."""
    counts: Mapping[str, int]
    """How many are bad, by what is wrong with them, in words."""
    guessed: tuple[str, ...]
    """What the file doesn't say, for people."""


def read(path: Path, asked: Asked, now_ns: int) -> Foreign:
    """All of a file. Raises BadFile or OSError."""
    file = opened(path, header=asked.header)
    chosen = _chosen(file.columns, asked)
    numbers = [column for name, column in chosen.items() if name in NUMBERS]
    table = file.table(list(chosen.values()), numbers)
    if table.frame.is_empty():
        raise BadFile("no row is in it")
    halves = [table.frame[chosen[name]] for name in TIMES if name in chosen]
    times = Times(joined(*halves), asked, now_ns)
    rows = _rows(table.frame, chosen, times.ns, asked)
    known = np.zeros(len(rows), dtype=np.int8)
    for fault, bad in ((Fault.TOO_MANY_FIELDS, table.ragged), *times.faults):
        known[bad] = fault
    rules = Rules(asked.period_s * NS, now_ns, foreign=True)
    marks = judged(lambda which: rows.part(which).columns, rows.times_ns, rules, known)
    at = np.flatnonzero(marks)[:TOLD].tolist()
    told = zip(at, file.texts(table, at), strict=True)
    why = _Why(chosen, times, rules)
    word, begin = file.counted
    return Foreign(
        rows=rows.only(marks == Fault.NONE) if at else rows,
        read=len(rows),
        bad=tuple(
            Bad(
                f"{word} {each + begin}",
                why.of(Fault(marks[each]), rows.part(slice(each, each + 1)), texts),
            )
            for each, texts in told
        ),
        counts=_counts(marks),
        guessed=(f"columns: {', '.join(f'{k}={v}' for k, v in chosen.items())}", *times.guessed),
    )


# --- which column is what


def _chosen(there: Sequence[str], asked: Asked) -> dict[Field, str]:
    """The columns to read: as given, else by their usual names. Raises BadFile."""
    given = _with_halves(there, asked.columns)
    for name, column in given.items():
        if column not in there:
            raise BadFile(f"{name}: expected one of its columns, {_list(there)}, was {column!r}")
    chosen = {
        name: given.get(name) or _usual(name, [e for e in there if e not in given.values()])
        for name in USUAL
    }
    missing = [name for name in NEEDED if not chosen[name]]
    if missing and asked.header and any(_is_number(each, "open") for each in there):
        raise BadFile(
            f"expected the names of its columns in its first line, was {_list(there)}; "
            f"if that is a row: --no-header --columns time=1,open=2,…"
        )
    if missing:
        raise BadFile(
            f"expected columns for {_list(missing)}, has {_list(there)}; "
            f"say which is which: --columns {missing[0]}=COLUMN,…"
        )
    return {name: column for name, column in chosen.items() if column}


def _with_halves(there: Sequence[str], given: Mapping[Field, str]) -> Mapping[Field, str]:
    """A date and a time, and nothing else that may be one, are a time together."""
    if given.keys() & set(TIMES):
        return given
    times = {e: _plain(e) for e in there if e not in given.values() and _plain(e) in USUAL["time"]}
    if sorted(times.values()) != sorted(TIMES):
        return given
    return {**given, **{cast("Field", name): column for column, name in times.items()}}


def _usual(name: Field, there: Sequence[str]) -> str:
    """The column whose name is usual for it, or none. Raises BadFile: several."""
    found = [e for e in there if _plain(e) in USUAL[name]]
    if len(found) > 1:
        raise BadFile(
            f"{name} may be {' or '.join(map(repr, found))}: "
            f"say which it is: --columns {name}={found[0]}"
        )
    return found[0] if found else ""


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())


def _list(names: Sequence[str]) -> str:
    return ", ".join(names)


# --- rows


def _rows(
    frame: "pl.DataFrame", chosen: Mapping[Field, str], times_ns: np.ndarray, asked: Asked
) -> ForeignRows:
    """A file's columns as those of ROW; zeros, where it has none. Raises BadFile."""
    made: dict[str, Column] = dict.fromkeys(NAMES, np.broadcast_to(np.int64(0), len(frame)))
    made["time_ns"] = _starts(times_ns, asked)
    there = {name: frame[column] for name, column in chosen.items() if name in NUMBERS}
    made |= zip(there, at_once(_numbers, list(there.values())), strict=True)
    if "trades" in there:
        made |= _counted(made["trades"][:], made["volume"][:])
    for name in FLAGS.keys() & chosen.keys():
        made["flags"] = made["flags"][:] + np.where(_trues(frame[chosen[name]]), FLAGS[name], 0)
    return ForeignRows(made)


def _starts(times_ns: np.ndarray, asked: Asked) -> np.ndarray:
    if asked.stamps == "start":
        return times_ns
    starts: np.ndarray = times_ns - (times_ns != UNREADABLE) * (asked.period_s * NS)
    return starts


def _counted(trades: np.ndarray, volume: np.ndarray) -> dict[str, np.ndarray]:
    """A number of trades that is none is as bad as a volume that is none."""
    whole = np.isfinite(trades) & (np.abs(trades) < MANY)
    counts = np.where(whole, trades, 0).astype(np.int64)
    return {"trades": counts, "volume": np.where(whole, volume, np.nan)}


def _trues(column: "pl.Series") -> np.ndarray:
    """Raises BadFile if there can't be any."""
    import polars as pl

    if column.dtype.is_nested():
        raise BadFile(f"{column.name}: expected true or false, was {column.dtype}")
    words = column.cast(pl.String, strict=False).str.to_lowercase()
    return words.is_in(["true", "1"]).fill_null(value=False).to_numpy()


def _numbers(column: "pl.Series") -> Numbers:
    """NaN where there is none. Raises BadFile if there can't be one."""
    import polars as pl
    from polars.exceptions import PolarsError

    problem = f"{column.name}: expected numbers, was {column.dtype}"
    if column.dtype.is_nested():
        raise BadFile(problem)
    try:
        return Numbers(column.cast(pl.Float64, strict=False).fill_null(float("nan")))
    except PolarsError as error:
        raise BadFile(problem) from error


# --- what is told of bad rows


def _counts(marks: np.ndarray) -> dict[str, int]:
    numbers = np.bincount(marks[marks != Fault.NONE], minlength=len(Fault))
    return {SAID[Fault(each)]: int(count) for each, count in enumerate(numbers) if count}


class _Why:
    """What is wrong with a row, in words."""

    def __init__(self, chosen: Mapping[Field, str], times: Times, rules: Rules) -> None:
        self._chosen, self._times, self._rules = chosen, times, rules

    def of(self, fault: Fault, one: ForeignRows, texts: Mapping[str, Any]) -> str:
        """`texts` is the row as the file has it."""
        row = one.copied().rows()[0]
        written = _as_one([texts[self._chosen[name]] for name in TIMES if name in self._chosen])
        if fault is Fault.UNREADABLE:
            return f"time: expected {self._times.expected}, was {_shown(written)}"
        if fault in (Fault.MIXED_ZONES, Fault.NO_SUCH_TIME):
            return f"time: {SAID[fault]}, was {_shown(written)}"
        if fault is Fault.NO_NUMBER:
            return self._no_number(texts) or reason(fault, row, self._rules)
        return self._times.looks_otherwise(written) or reason(fault, row, self._rules)

    def _no_number(self, texts: Mapping[str, Any]) -> str:
        for name, column in self._chosen.items():
            if name in NUMBERS and not _is_number(texts[column], name):
                return f"{name}: expected a number, was {_shown(texts[column])}"
        return ""


def _as_one(halves: Sequence[Any]) -> object:
    """A time, or a date and a time, as they are written."""
    return halves[0] if len(halves) == 1 else " ".join("" if e is None else str(e) for e in halves)


def _is_number(value: object, name: Field) -> bool:
    try:
        number = abs(float(cast("float", value)))
    except (TypeError, ValueError):
        return False
    return number < (MANY if name == "trades" else float("inf"))


def _shown(value: object) -> str:
    return "nothing" if value in (None, "") else repr(value)
