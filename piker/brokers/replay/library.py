"""The recordings there are: found by their files' names, read when first wanted."""

import gzip
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO, TypeVar

import trio

from piker.brokers.replay.ticks import TickRecording
from piker.brokers.replay.translate import AnyRecording
from piker.brokers.replay.wire import BadRecording, parse, parse_header
from piker.errors import Refused
from piker.interfaces.service import BrokenConfiguration
from piker.store import parquet, tickfiles
from piker.store.places import TICKS
from piker.store.tickfiles import fqme_of, is_of_a_day, is_tick_directory

SHIPPED = Path(__file__).parent / "recordings"
PARQUET = ".parquet"
SUFFIXES = (".csv", ".csv.gz", PARQUET)

T = TypeVar("T")


class Library:
    """Recordings by name, `instrument.venue`, which is the name of the file without its suffix.

    What datad recorded is a directory, and has the name of its market, without the provider.

    A recording that can't be read is refused whenever it is asked for, and read again at the next
    time; the others don't suffer. Reading is done in a thread.
    """

    def __init__(self, paths: Iterable[str]) -> None:
        self._files = {**_find([SHIPPED]), **_find(Path(path).expanduser() for path in paths)}
        self._recordings: dict[str, AnyRecording] = {}
        self._reading = trio.Lock()

    @property
    def names(self) -> tuple[str, ...]:
        """Names of all recordings, good or bad."""
        return tuple(self._files)

    async def recording(self, name: str) -> AnyRecording:
        """A whole recording, kept from now on. Raises Refused(BrokenConfiguration)."""
        async with self._reading:  # so that nothing is read twice
            if name not in self._recordings:
                self._recordings[name] = await self._read(name, _recording)
            return self._recordings[name]

    async def description(self, name: str) -> str:
        """What a recording says that it is. Raises Refused(BrokenConfiguration)."""
        return await self._read(name, _description)

    async def _read(self, name: str, read: Callable[[Path], T]) -> T:
        return await trio.to_thread.run_sync(_read, self._files[name], read)


def _find(paths: Iterable[Path]) -> dict[str, Path]:
    """Files by name. Raises Refused(BrokenConfiguration)."""
    files: dict[str, Path] = {}
    for path in paths:
        for file in _files(path):
            if (other := files.setdefault(_name(file), file)) != file:
                raise _broken(file, "", f"expected another name than {other} has")
    return files


def _files(path: Path) -> list[Path]:
    if is_tick_directory(path):
        return [path]
    try:
        found = sorted(path.iterdir()) if path.is_dir() else [path]
    except OSError as error:
        raise _broken(path, "", str(error)) from error
    if found == [path] and not (path.name.endswith(SUFFIXES) and path.is_file()):
        problem = "expected a directory, or a file that ends in .csv, .csv.gz or .parquet, was none"
        raise _broken(path, "", problem)
    recorded = [each / TICKS for each in (path, *found) if is_tick_directory(each / TICKS)]
    return recorded + [file for file in found if file.name.endswith(SUFFIXES)]


def _name(file: Path) -> str:
    ticks = file.parent if is_of_a_day(file) else file
    if is_tick_directory(ticks):
        return fqme_of(ticks).rpartition(".")[0].lower()
    return file.name.removesuffix(".gz").removesuffix(".csv").removesuffix(PARQUET).lower()


def _read(file: Path, read: Callable[[Path], T]) -> T:
    with _refusing(file):
        return read(file)


def _recording(file: Path) -> AnyRecording:
    if _is_of_ticks(file):
        about, ticks = tickfiles.read(file)
        return TickRecording(about.market, about.spans, ticks)
    with _open(file) as lines:
        return parse(lines)


def _description(file: Path) -> str:
    if _is_of_ticks(file):
        return tickfiles.about_all(file).market.description
    with _open(file) as lines:
        return parse_header(lines).description


def _is_of_ticks(file: Path) -> bool:
    """Whether it is one of datad's own. Raises Refused where those can't be read."""
    if file.suffix != PARQUET and not file.is_dir():
        return False
    if parquet.problem():
        problem = "expected piker-history, the package that reads Parquet, to be installed, was not"
        raise _broken(file, "", problem)
    return True


def _open(file: Path) -> TextIO:
    if file.suffix == ".gz":
        return gzip.open(file, "rt", encoding="utf-8", newline="")
    return file.open(encoding="utf-8", newline="")


@contextmanager
def _refusing(file: Path) -> Iterator[None]:
    """What a bad file raises, as Refused."""
    try:
        yield
    except BadRecording as error:
        raise _broken(file, error.where, error.problem) from error
    except parquet.Damaged as error:
        raise _broken(file, "", str(error)) from error
    except EOFError as error:
        raise _broken(file, "", "the file is torn: its compressed data ends too early") from error
    except UnicodeDecodeError as error:
        raise _broken(file, "", f"expected text in UTF-8: {error}") from error
    except (OSError, zlib.error) as error:  # also what isn't gzip, or a wrong checksum
        raise _broken(file, "", str(error)) from error


def _broken(file: Path, key: str, problem: str) -> Refused:
    return Refused(BrokenConfiguration(file=str(file), key=key, problem=problem))
