"""Bars out of somebody else's file, CSV (also gzipped) or Parquet, checked row by row.

What the file doesn't say is guessed where one guess is usual (names of columns, the unit of times
that are numbers), and told. Nothing is corrected: a row that can't be true is bad
(piker/core/rowfaults.py), and what becomes of the others is for the caller to say.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple, cast, get_args
from zoneinfo import ZoneInfo

import numpy as np

from piker.core.bars import DERIVED, NS, PARTIAL
from piker.core.rowfaults import PRICES, SAID, UNREADABLE, Fault, Rules, faults, reason
from piker.core.rows import Columns
from piker.store.atonce import at_once
from piker.store.foreignfiles import BadFile, opened
from piker.store.foreigntimes import Times, Unit

if TYPE_CHECKING:
    import polars as pl

Field = Literal["time", "open", "high", "low", "close", "volume", "trades", "derived", "partial"]
Stamps = Literal["start", "end"]
FIELDS: Final = get_args(Field)
NEEDED: Final[tuple[Field, ...]] = ("time", "open", "high", "low", "close")
FLAGS: Final[Mapping[Field, int]] = {"derived": DERIVED, "partial": PARTIAL}
NUMBERS: Final = (*PRICES, "volume", "trades")

USUAL: Final[Mapping[Field, tuple[str, ...]]] = {
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


class Bad(NamedTuple):
    """A row that can't be true."""

    where: str
    """ "line 17" of a CSV file, "row 16" of a Parquet file, which count from 1."""
    why: str


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What a person says of a file."""

    period_s: int
    columns: Mapping[Field, str] = field(default_factory=dict)
    zone: ZoneInfo | None = None
    unit: Unit | None = None
    stamps: Stamps = "start"


@dataclass(frozen=True, kw_only=True)
class Foreign:
    """What is in a file."""

    rows: Columns
    """Those that are good, rising in time."""
    read: int
    """All that there are, the bad ones too."""
    bad: tuple[Bad, ...]
    """The first `TOLD` of them."""
    counts: Mapping[str, int]
    """How many are bad, by what is wrong with them, in words."""
    guessed: tuple[str, ...]
    """What the file doesn't say, for people."""


def read(
    path: Path, asked: Asked, now_ns: int, made: Callable[[int], Columns] = Columns.zeros
) -> Foreign:
    """All of a file; `made` gives room for so many rows, zeros. Raises BadFile or OSError."""
    file = opened(path)
    chosen = _chosen(file.columns, asked.columns)
    numbers = [column for name, column in chosen.items() if name in NUMBERS]
    table = file.table(list(chosen.values()), numbers)
    if table.frame.is_empty():
        raise BadFile("no row is in it")
    times = Times(table.frame[chosen["time"]], asked.unit, asked.zone, now_ns)
    rows = made(len(table.frame))
    _fill(rows, table.frame, chosen, times.ns, asked)
    known = np.zeros(len(rows), dtype=np.int8)
    for fault, bad in ((Fault.TOO_MANY_FIELDS, table.ragged), *times.faults):
        known[bad] = fault
    rules = Rules(asked.period_s * NS, now_ns, foreign=True)
    marks = _judged(rows, rules, known)
    at = np.flatnonzero(marks)[:TOLD].tolist()
    told = zip(
        at, rows.part(np.array(at, dtype=np.int64)).rows(), file.texts(table, at), strict=True
    )
    why = _Why(chosen, times, rules)
    word, begin = file.counted
    return Foreign(
        rows=rows.part(marks == Fault.NONE) if at else rows,
        read=len(rows),
        bad=tuple(
            Bad(f"{word} {each + begin}", why.of(Fault(marks[each]), row, texts))
            for each, row, texts in told
        ),
        counts=_counts(marks),
        guessed=(f"columns: {', '.join(f'{k}={v}' for k, v in chosen.items())}", *times.guessed),
    )


def columns(text: str) -> dict[Field, str]:
    """What "time=time_utc,open=o" says. Raises ValueError."""
    chosen: dict[Field, str] = {}
    for each in text.split(","):
        name, equals, column = (part.strip() for part in each.partition("="))
        if name not in FIELDS or not equals or not column:
            raise ValueError(f"expected FIELD=COLUMN, of {', '.join(FIELDS)}, was {each!r}")
        if name in chosen:
            raise ValueError(f"expected {name} once, was {text!r}")
        chosen[cast("Field", name)] = column
    return chosen


# --- which column is what


def _chosen(there: Sequence[str], given: Mapping[Field, str]) -> dict[Field, str]:
    """The columns to read: as given, else by their usual names. Raises BadFile."""
    for name, column in given.items():
        if column not in there:
            raise BadFile(f"{name}: expected one of its columns, {_list(there)}, was {column!r}")
    chosen = {
        name: given.get(name) or _usual(name, [e for e in there if e not in given.values()])
        for name in USUAL
    }
    missing = [name for name in NEEDED if not chosen[name]]
    if missing:
        raise BadFile(
            f"expected columns for {_list(missing)}, has {_list(there)}; "
            f"say which is which: --columns {missing[0]}=COLUMN,…"
        )
    return {name: column for name, column in chosen.items() if column}


def _usual(name: Field, there: Sequence[str]) -> str:
    """The column whose name is usual for it, or none. Raises BadFile: several."""
    found = [e for e in there if re.sub(r"[^a-z0-9]", "", e.lower()) in USUAL[name]]
    if len(found) > 1:
        raise BadFile(
            f"{name} may be {' or '.join(map(repr, found))}: "
            f"say which it is: --columns {name}={found[0]}"
        )
    return found[0] if found else ""


def _list(names: Sequence[str]) -> str:
    return ", ".join(names)


# --- rows


def _fill(
    rows: Columns,
    frame: "pl.DataFrame",
    chosen: Mapping[Field, str],
    times_ns: np.ndarray,
    asked: Asked,
) -> None:
    """Put a file's columns into these, of zeros and as long. Raises BadFile."""
    shift_ns = asked.period_s * NS if asked.stamps == "end" else 0
    np.subtract(times_ns, shift_ns, out=rows["time_ns"], where=times_ns != UNREADABLE)
    rows["time_ns"][times_ns == UNREADABLE] = UNREADABLE
    columns = {name: frame[column] for name, column in chosen.items()}
    numbers = [name for name in (*PRICES, "volume") if name in columns]
    at_once(lambda name: _put_numbers(rows[name], columns[name]), numbers)
    if "trades" in columns:
        trades = np.empty(len(rows))
        _put_numbers(trades, columns["trades"])
        _count(rows, trades)
    for name, flag in FLAGS.items():
        if name in columns:
            rows["flags"][:] += np.where(_trues(columns[name]), flag, 0)


def _count(rows: Columns, trades: np.ndarray) -> None:
    """A number of trades that is none is as bad as a volume that is none."""
    whole = np.isfinite(trades) & (np.abs(trades) < MANY)
    rows["trades"][:] = np.where(whole, trades, 0)
    rows["volume"][~whole] = np.nan


def _trues(column: "pl.Series") -> np.ndarray:
    import polars as pl

    words = column.cast(pl.String, strict=False).str.to_lowercase()
    return words.is_in(["true", "1"]).fill_null(value=False).to_numpy()


def _put_numbers(into: np.ndarray, column: "pl.Series") -> None:
    """NaN where there is none. Raises BadFile if there can't be one."""
    import polars as pl
    from polars.exceptions import PolarsError

    try:
        numbers = column.cast(pl.Float64, strict=False).fill_null(float("nan"))
    except PolarsError as error:
        raise BadFile(f"{column.name}: expected numbers, was {column.dtype}") from error
    at = 0
    for chunk in numbers.get_chunks():  # of the whole numpy would have a copy
        into[at : at + len(chunk)] = chunk.to_numpy()
        at += len(chunk)


def _judged(rows: Columns, rules: Rules, known: np.ndarray) -> np.ndarray:
    """A Fault for each, by halves: only if none has one is the order that of the whole."""
    middle = len(rows) // 2
    halves = [slice(middle), slice(middle, None)]
    marks = at_once(lambda half: faults(rows.part(half), rules, known[half]), halves)
    seam = rows["time_ns"][max(middle - 1, 0) : middle + 1]
    if any(each.any() for each in marks) or not (np.diff(seam) > 0).all():
        return faults(rows, rules, known)
    return np.concatenate(marks)


# --- what is told of bad rows


def _counts(marks: np.ndarray) -> dict[str, int]:
    numbers = np.bincount(marks[marks != Fault.NONE], minlength=len(Fault))
    return {SAID[Fault(each)]: int(count) for each, count in enumerate(numbers) if count}


class _Why:
    """What is wrong with a row, in words."""

    def __init__(self, chosen: Mapping[Field, str], times: Times, rules: Rules) -> None:
        self._chosen, self._times, self._rules = chosen, times, rules

    def of(self, fault: Fault, row: np.void, texts: Mapping[str, Any]) -> str:
        """`texts` is the row as the file has it."""
        written = texts[self._chosen["time"]]
        if fault is Fault.UNREADABLE:
            return f"time: expected a time, was {_shown(written)}"
        if fault in (Fault.MIXED_ZONES, Fault.NO_SUCH_TIME):
            return f"time: {SAID[fault]}, was {_shown(written)}"
        if fault is Fault.NO_NUMBER:
            return self._no_number(texts) or reason(fault, row, self._rules)
        return self._times.looks_otherwise(written) or reason(fault, row, self._rules)

    def _no_number(self, texts: Mapping[str, Any]) -> str:
        for name, column in self._chosen.items():
            if name in NUMBERS and not _is_number(texts[column]):
                return f"{name}: expected a number, was {_shown(texts[column])}"
        return ""


def _is_number(value: object) -> bool:
    try:
        return bool(np.isfinite(float(cast("float", value))))
    except (TypeError, ValueError):
        return False


def _shown(value: object) -> str:
    return "nothing" if value in (None, "") else repr(value)
