"""Somebody else's file as a table: CSV (also gzipped) or Parquet, whatever its columns are."""

import csv
import gzip
import stat
import zlib
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Final, NamedTuple, TypeVar

import numpy as np

from piker.store.foreignwords import BadFile

if TYPE_CHECKING:
    import polars as pl

SEPARATORS: Final = ",;\t|"
LOOKED_AT: Final = 65_536
"""Bytes at the beginning of a file that tell what it is."""

T = TypeVar("T")


class Table(NamedTuple):
    """Columns of a file, by their names there."""

    frame: "pl.DataFrame"
    ragged: np.ndarray
    """The numbers of rows that have more fields than the first line."""


class ParquetFile:
    """A Parquet file."""

    counted = "row", 1
    """What a row is called to people, and the number of the first."""

    def __init__(self, path: Path) -> None:
        import polars as pl

        self._path = path
        self.columns: Sequence[str] = _understood(lambda: list(pl.read_parquet_schema(path)))

    def table(self, names: Sequence[str], numbers: Collection[str]) -> Table:
        """These columns. Raises BadFile or OSError."""
        import polars as pl

        frame = _understood(lambda: pl.read_parquet(self._path, columns=list(names), glob=False))
        return Table(frame, np.empty(0, dtype=np.int64))

    def texts(self, table: Table, at: Sequence[int]) -> list[dict[str, Any]]:
        """Some rows as they are there."""
        return [table.frame.row(each, named=True) for each in at]


class CsvFile:
    """A CSV file, gzipped or not. Its first line names its columns, or they are 1, 2, 3…"""

    def __init__(self, path: Path, *, header: bool) -> None:
        self._path = path
        self._header = header
        with self._lines() as lines:
            self._blank, head = _understood(lambda: _first(lines))
        self.counted = "line", 1 + self._blank + header
        self._separator = max(SEPARATORS, key=head.count)
        self.columns = self._read(n_rows=0).columns if header else self._numbered(head)

    def table(self, names: Sequence[str], numbers: Collection[str]) -> Table:
        """These columns: text, but for `numbers`, null where there is none. BadFile or OSError."""
        import polars as pl

        kinds = dict.fromkeys(numbers, pl.Float64)
        try:
            return Table(self._rows(names, kinds), np.empty(0, dtype=np.int64))
        except BadFile:
            ragged = self._ragged()
            if not ragged:
                raise
        rows = self._rows(names, kinds, truncated=True, least=ragged[-1] + 1)
        return Table(rows, np.array(ragged, dtype=np.int64))

    def texts(self, table: Table, at: Sequence[int]) -> list[dict[str, Any]]:
        """Some rows as they are written."""
        if not at:
            return []
        return self._read(truncated=True)[table.frame.columns][list(at)].to_dicts()

    def _rows(
        self,
        names: Sequence[str],
        kinds: Mapping[str, Any] | None = None,
        *,
        truncated: bool = False,
        least: int = 0,
    ) -> "pl.DataFrame":
        """These columns, at least so many rows, without the empty lines that the file ends with."""
        frame = self._read(kinds, truncated=truncated)
        if _are_empty(frame[-1:]).any():  # or have no number where one is expected
            there = (~_are_empty(self._read(truncated=True))).arg_true()
            frame = frame[: max(least, there[-1] + 1 if len(there) else 0)]
        return frame[list(names)]

    def _numbered(self, head: str) -> list[str]:
        fields = next(csv.reader([head], delimiter=self._separator), [])
        return [str(each + 1) for each in range(len(fields))]

    def _read(
        self,
        kinds: Mapping[str, Any] | None = None,
        *,
        truncated: bool = False,
        n_rows: int | None = None,
    ) -> "pl.DataFrame":
        """All columns: only if all are read polars sees that a row has more."""
        import polars as pl

        nameless = {} if self._header else dict.fromkeys(self.columns, pl.String)
        return _understood(
            lambda: pl.read_csv(
                self._path,
                has_header=self._header,
                skip_lines=self._blank,
                separator=self._separator,
                schema=nameless or None,
                infer_schema=False,
                schema_overrides=kinds,
                ignore_errors=bool(kinds),
                truncate_ragged_lines=truncated,
                n_rows=n_rows,
                glob=False,
            )
        )

    def _lines(self) -> IO[str]:
        if _begins(self._path).startswith(b"\x1f\x8b"):
            return gzip.open(self._path, "rt", newline="", encoding="utf-8-sig")
        return self._path.open(newline="", encoding="utf-8-sig")

    def _ragged(self) -> list[int]:
        """The rows with more fields than the first line. Slow: polars doesn't say which."""
        width = len(self.columns)
        with self._lines() as lines:
            reader = csv.reader(islice(lines, self._blank, None), delimiter=self._separator)
            return _understood(lambda: list(_overfull(reader, width, self._header)))
        raise AssertionError("closing a file swallows nothing")


def opened(path: Path, *, header: bool = True) -> ParquetFile | CsvFile:
    """What a file is; of CSV, whether its first line is a header. Raises BadFile or OSError."""
    mode = path.stat().st_mode
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):  # to open a directory is an OSError
        raise BadFile("expected a file, was something else")
    begins = _begins(path)
    if not begins:
        raise BadFile("it is empty")
    if begins.startswith(b"PAR1"):
        if not header:
            raise BadFile("a Parquet file names its columns: --no-header is for CSV")
        return ParquetFile(path)
    if begins.startswith(b"\x1f\x8b") or b"\0" not in begins:
        return CsvFile(path, header=header)
    raise BadFile("expected CSV, gzipped CSV or Parquet, was something else")


def _begins(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(LOOKED_AT)


def _understood(read: Callable[[], T]) -> T:
    """What `read` gives; what it finds wrong in the file is a BadFile.

    polars may panic on what it doesn't expect, which is no Exception of Python's.
    """
    from polars.exceptions import PanicException, PolarsError

    try:
        return read()
    except (PolarsError, UnicodeDecodeError, csv.Error) as error:
        raise BadFile(_first_line(error)) from error
    except PanicException as error:
        raise BadFile("it is torn or damaged: polars can't read it") from error
    except (EOFError, OSError, zlib.error) as error:
        if getattr(error, "errno", None):
            raise
        raise BadFile(f"it is torn or damaged: {_first_line(error)}") from error


def _first_line(error: BaseException) -> str:
    return str(error).partition("\n")[0]


def _first(lines: Iterable[str]) -> tuple[int, str]:
    """The first line that isn't empty, and how many are before it."""
    for number, line in enumerate(lines):
        if line.strip("\r\n"):
            return number, line
    return 0, ""


def _overfull(lines: Iterable[list[str]], width: int, header: bool) -> Iterator[int]:
    for number, fields in enumerate(lines):
        if len(fields) > width:
            yield number - header


def _are_empty(frame: "pl.DataFrame") -> "pl.Series":
    """Which rows have nothing in them."""
    import polars as pl

    return frame.select(pl.all_horizontal(pl.all().is_null())).to_series()
