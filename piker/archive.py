"""One datad's history on disk, without waiting for the disk: the async face of BarFiles.

One thread at a time works on the files. What can't be written is said in `problem` and, once, in
the log; who put it puts it again later. A datad whose disk is full, or nearly (store/room.py), or
whose history another datad writes, goes on live.
"""

import logging
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeVar

import trio

from piker import log
from piker.core.rows import Columns
from piker.core.spans import Pair
from piker.coverage import Span
from piker.store import parquet, room
from piker.store.barfiles import BarFiles, File, Held, Put
from piker.store.barframes import RowHow
from piker.store.notes import Notes
from piker.store.places import Series

if TYPE_CHECKING:
    import numpy as np

RETRY_S: Final = 10.0
"""Between looks whether what couldn't be written can be now."""

T = TypeVar("T")

logger = logging.getLogger(__name__)


class Archive:
    """What is kept of one provider. See `open_archive`."""

    def __init__(self, directory: Path, provider: str, least_free: int = room.LEAST_FREE) -> None:
        self.files = BarFiles(directory, provider, least_free)
        self.problem = self.unreadable = parquet.problem()
        """Why nothing is kept now, and why nothing of it can be read; empty: all is well."""
        self.changed: Callable[[], None] = _nobody_listens
        """Called when `problem` is another."""
        self._thread = trio.CapacityLimiter(1)

    async def load(self) -> None:
        """Have what rows need loaded, while others go on. Without it who first has some waits."""
        if not self.unreadable:
            await self._in_thread(lambda: import_module("numpy"))

    async def load_files(self) -> None:
        """Have loaded what files need, too, for who will soon write some; others needn't wait."""
        if not self.unreadable:
            await trio.to_thread.run_sync(import_module, "polars", abandon_on_cancel=True)

    async def series(self) -> list[Series]:
        """Those that something is kept of."""
        return await self._read(self.files.series, [])

    async def kept(self, series: Series) -> list[File]:
        """The months of a series, with their size and what they say of themselves."""
        return await self._read(lambda: self.files.files(series), [])

    async def coverage(self, series: Series, from_ns: int, to_ns: int) -> list[Span]:
        """What is known of a stretch, oldest first, apart."""
        return await self._read(lambda: self.files.coverage(series, from_ns, to_ns), [])

    async def read(self, series: Series, from_ns: int, to_ns: int) -> "np.ndarray":
        """The rows (dtype ROW) that begin in a stretch, oldest first."""
        found = await self._read(lambda: self.files.read(series, from_ns, to_ns), None)
        return found if found is not None else _no_rows()

    async def put(
        self,
        series: Series,
        rows: "Columns | np.ndarray",
        covered: Sequence[Pair],
        *,
        how: RowHow,
        source: str,
        now_ns: int,
    ) -> Put | None:
        """Keep rows and what they cover, as BarFiles does. None: not kept, `problem` says why."""
        return await self._write(
            lambda: self.files.put(series, rows, covered, how=how, source=source, now_ns=now_ns)
        )

    async def notes(self, series: Series) -> Notes:
        """What is noted of a series."""
        return await self._read(lambda: self.files.notes(series), Notes())

    async def change(self, series: Series, change: Callable[[Notes], Notes]) -> bool:
        """Note what this makes of the notes, with nobody else in between; whether it is kept."""

        def note() -> bool:
            self.files.note(series, change(self.files.notes(series)))
            return True

        return await self._write(note) is not None

    async def locked(self) -> bool:
        """Be the one who writes; whether that is so, and there is room."""
        return await self._write(lambda: True) is not None

    async def run(self) -> None:
        """Look, while nothing can be written, whether it can be again; until cancelled."""
        while True:
            await trio.sleep(RETRY_S)
            if self.problem:
                await self.locked()

    async def use(self, work: Callable[[BarFiles], T]) -> T:
        """Do something else with the files in their thread. Raises what that does."""
        return await self._in_thread(lambda: work(self.files))

    async def _read(self, work: Callable[[], T], otherwise: T) -> T:
        if self.unreadable:
            return otherwise
        try:
            return await self._in_thread(work)
        except OSError as error:
            self._failed(error)
            return otherwise

    async def _write(self, work: Callable[[], T]) -> T | None:
        """Do it as the one who writes. None: it couldn't be done."""
        if self.unreadable:
            return None

        def locked() -> T:
            self.files.lock()
            self.files.check_room()
            return work()

        try:
            done = await self._in_thread(locked)
        except OSError as error:
            self._failed(error)
            return None
        self._well()
        return done

    async def _in_thread(self, work: Callable[[], T]) -> T:
        return await trio.to_thread.run_sync(work, limiter=self._thread)

    def _failed(self, error: OSError) -> None:
        """Say so once, not for each of the files that it is so with."""
        problem = _why(error, self.files.directory)
        if problem != self.problem:
            at = f" ({error.filename})" if error.filename else ""
            logger.error("%s%s", problem, at, extra=self._about())
            self.problem = problem
            self.changed()

    def _well(self) -> None:
        if self.problem:
            logger.info("bars are kept on disk again", extra=self._about())
            self.problem = ""
            self.changed()

    def _about(self) -> dict[str, object]:
        return log.fields(provider=self.files.provider)


@asynccontextmanager
async def open_archive(
    directory: Path, provider: str, least_free: int = room.LEAST_FREE
) -> AsyncIterator[Archive]:
    """What is kept of a provider below a directory, ours to write if nobody else does.

    With less than so many bytes free nothing is written.
    """
    archive = Archive(directory, provider, least_free)
    await archive.locked()
    try:
        yield archive
    finally:
        archive.files.unlock()


def _nobody_listens() -> None:
    pass


def _why(error: OSError, directory: Path) -> str:
    """A sentence for people."""
    if isinstance(error, Held):
        return f"nothing is kept on disk: {error}"
    if isinstance(error, room.TooLittle):
        return f"nothing is kept on disk: {error}; it is tried again"
    reason = error.strerror or type(error).__name__
    return f"nothing is kept on disk: {reason}: {directory}; it is tried again"


def _no_rows() -> "np.ndarray":
    import numpy as np

    from piker.core.bars import ROW

    return np.empty(0, dtype=ROW)
