"""The recordings there are: found by their files' names, read when first wanted."""

import gzip
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO, TypeVar

import trio

from piker.brokers.replay.wire import BadRecording, Header, Recording, parse, parse_header
from piker.errors import Refused
from piker.interfaces.service import BrokenConfiguration

SHIPPED = Path(__file__).parent / "recordings"
SUFFIXES = (".csv", ".csv.gz")

T = TypeVar("T")


class Library:
    """Recordings by name, `instrument.venue`, which is the name of the file without its suffix.

    A recording that can't be read is refused whenever it is asked for, and read again at the next
    time; the others don't suffer. Reading is done in a thread.
    """

    def __init__(self, paths: Iterable[str]) -> None:
        self._files = {**_find([SHIPPED]), **_find(Path(path).expanduser() for path in paths)}
        self._recordings: dict[str, Recording] = {}
        self._reading = trio.Lock()

    @property
    def names(self) -> tuple[str, ...]:
        """Names of all recordings, good or bad."""
        return tuple(self._files)

    async def recording(self, name: str) -> Recording:
        """A whole recording, kept from now on. Raises Refused(BrokenConfiguration)."""
        async with self._reading:  # so that nothing is read twice
            if name not in self._recordings:
                self._recordings[name] = await self._read(name, parse)
            return self._recordings[name]

    async def header(self, name: str) -> Header:
        """What a recording says about itself. Raises Refused(BrokenConfiguration)."""
        return await self._read(name, parse_header)

    async def _read(self, name: str, read: Callable[[Iterable[str]], T]) -> T:
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
    try:
        found = sorted(path.iterdir()) if path.is_dir() else [path]
    except OSError as error:
        raise _broken(path, "", str(error)) from error
    if found == [path] and not (path.name.endswith(SUFFIXES) and path.is_file()):
        problem = "expected a directory, or a file that ends in .csv or .csv.gz, was neither"
        raise _broken(path, "", problem)
    return [file for file in found if file.name.endswith(SUFFIXES)]


def _name(file: Path) -> str:
    return file.name.removesuffix(".gz").removesuffix(".csv").lower()


def _read(file: Path, read: Callable[[Iterable[str]], T]) -> T:
    with _refusing(file), _open(file) as lines:
        return read(lines)


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
        raise _broken(file, f"line {error.line}", error.problem) from error
    except EOFError as error:
        raise _broken(file, "", "the file is torn: its compressed data ends too early") from error
    except UnicodeDecodeError as error:
        raise _broken(file, "", f"expected text in UTF-8: {error}") from error
    except (OSError, zlib.error) as error:  # also what isn't gzip, or a wrong checksum
        raise _broken(file, "", str(error)) from error


def _broken(file: Path, key: str, problem: str) -> Refused:
    return Refused(BrokenConfiguration(file=str(file), key=key, problem=problem))
