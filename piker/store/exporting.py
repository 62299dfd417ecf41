"""Bars to a CSV or Parquet file for others, written beside its name first: whole or not at all."""

import os
from contextlib import suppress
from pathlib import Path
from tempfile import mkstemp
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Self

from piker.core.bars import DERIVED, PARTIAL
from piker.store import durable

if TYPE_CHECKING:
    import numpy as np
    import polars as pl

KINDS: Final = (".csv", ".parquet")
STAMP: Final = "%Y-%m-%dT%H:%M:%SZ"


class Export:
    """A file that is being written; there when the context ends well, else never.

    Raises FileExistsError, unless it is to be replaced, and other OSErrors.
    """

    def __init__(self, target: Path, *, replace: bool) -> None:
        self.rows = 0
        self._target, self._replace = target, replace
        self._parts: list[pl.DataFrame] = []

    def __enter__(self) -> Self:
        if not self._replace and self._target.exists():
            raise FileExistsError(17, "it is there already; --force replaces it")
        fd, self._fresh = mkstemp(dir=self._target.parent, prefix=f".{self._target.name}-")
        self._file: Any = os.fdopen(fd, "wb")
        return self

    def add(self, rows: "np.ndarray") -> None:
        """Rows (dtype ROW) that come after those before."""
        frame = _frame(rows)
        self.rows += len(frame)
        if self._target.suffix == ".csv":
            header = not self._parts
            self._parts = self._parts or [frame.clear()]
            frame.write_csv(self._file, include_header=header, datetime_format=STAMP)
        else:
            self._parts.append(frame)

    def __exit__(
        self, kind: type[BaseException] | None, error: object, trace: TracebackType | None
    ) -> None:
        try:
            with self._file:
                if kind is None:
                    self._finish()
            if kind is None:
                self._put()
        finally:
            with suppress(FileNotFoundError):
                os.unlink(self._fresh)

    def _finish(self) -> None:
        import polars as pl

        if self._target.suffix == ".parquet" and self._parts:
            pl.concat(self._parts).write_parquet(self._file, compression="zstd")
        self._file.flush()
        os.fsync(self._file.fileno())
        os.fchmod(self._file.fileno(), 0o666 & ~_umask())

    def _put(self) -> None:
        if self._replace:
            os.replace(self._fresh, self._target)
        else:
            os.link(self._fresh, self._target)
        durable.sync(self._target.parent)


def _frame(rows: "np.ndarray") -> "pl.DataFrame":
    import numpy as np
    import polars as pl

    names = ("open", "high", "low", "close", "volume", "trades")
    columns = {name: np.ascontiguousarray(rows[name]) for name in names}
    times = pl.Series("time", np.ascontiguousarray(rows["time_ns"]))
    return pl.DataFrame(
        [
            times.cast(pl.Datetime("ns", "UTC")),
            *(pl.Series(name, values) for name, values in columns.items()),
            pl.Series("derived", rows["flags"] & DERIVED != 0),
            pl.Series("partial", rows["flags"] & PARTIAL != 0),
        ]
    )


def _umask() -> int:
    """It can only be read by setting it."""
    mask = os.umask(0o077)
    os.umask(mask)
    return mask
