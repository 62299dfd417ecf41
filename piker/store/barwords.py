"""What a file of bars says of itself: whose it is, and what is covered."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import msgspec
from msgspec import Meta, Struct

from piker.core import covering
from piker.coverage import Span
from piker.store import parquet
from piker.store.parquet import Damaged
from piker.store.places import Series

if TYPE_CHECKING:
    import polars as pl

VERSION: Final = 1
NAME: Final = "piker"
"""The word of a file's metadata that is ours."""
MAX_KNOWN: Final = 10_000
"""Files of which is kept what they say of themselves; of more the least asked for is read again."""
_INT64: Final = 2**63

Identity = tuple[int, int, int]
"""By which a file is known to be the same: when it was changed, its inode, its size in bytes."""


class Words(Struct, frozen=True, kw_only=True):
    """What a file of bars says of itself."""

    version: Annotated[int, Meta(ge=VERSION, le=VERSION)] = VERSION
    market: Annotated[str, Meta(description="fqme")]
    period_s: Annotated[int, Meta(description="length of a period in seconds", ge=1)]
    rows: Annotated[int, Meta(description="how many rows it has", ge=0)]
    coverage: Annotated[
        tuple[Span, ...],
        Meta(description="of the periods that begin in the month, oldest first, apart"),
    ]


class Known:
    """What files say of themselves, and which are as they were written: looked at once."""

    def __init__(self) -> None:
        self._words: dict[Path, tuple[Identity, Words]] = {}
        self._checked: dict[Path, Identity] = {}

    def words(self, path: Path, series: Series) -> Words:
        """What a file of this series says of itself. Raises Damaged or OSError."""
        identity = _identity(path)
        known = self._words.pop(path, None)
        if known is None or known[0] != identity:
            known = identity, words_of(path, series)
        self._words[path] = known
        if len(self._words) > MAX_KNOWN:
            self._forget(next(iter(self._words)))
        return known[1]

    def check(self, path: Path) -> None:
        """See that a file is as it was written. Raises Damaged or OSError."""
        identity = _identity(path)
        if self._checked.get(path) != identity:
            parquet.check(path)
            self._checked[path] = identity

    def _forget(self, path: Path) -> None:
        self._words.pop(path, None)  # another thread may just look at it
        self._checked.pop(path, None)


def words_of(path: Path, series: Series) -> Words:
    """What a file of a series says of itself. Raises Damaged or OSError."""
    text = parquet.words_of(path).get(NAME)
    if text is None:
        raise Damaged("it is not a file of piker's")
    try:
        words = msgspec.json.decode(text, type=Words)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Damaged(str(error)) from error
    if (words.market, words.period_s) != series:
        raise Damaged(
            f"it is of {words.market}, {words.period_s} s, expected {series.fqme}, "
            f"{series.period_s} s"
        )
    if not all(-_INT64 <= ns < _INT64 for pair in covering.pairs(words.coverage) for ns in pair):
        raise Damaged("what it covers is beyond all time")
    return words


def write(path: Path, frame: "pl.DataFrame", words: Words) -> None:
    """Have a file hold this. Raises OSError."""
    parquet.write(frame, path, {NAME: msgspec.json.encode(words).decode()})


def _identity(path: Path) -> Identity:
    found = path.stat()
    return found.st_mtime_ns, found.st_ino, found.st_size
