"""Parquet files that are there whole or not at all, each with a word of ours about what is in it.

polars does the reading and writing; it weighs ten times as much as all the rest, so that it is
imported when it is first needed, in the thread that needs it. Without the package that brings it,
`problem` says so, and nothing else here may be called.

Pages that polars writes carry no checksum: a flipped bit would be another price, and one in what is
said of the pages may have polars ask for more memory than there is, which ends the process. So each
file has two of its own among its words (`CHECK`), CRC-32: of its footer, and of all of it, both
with zeros in their place. Nothing is handed to polars before the one that guards it was looked at.
"""

import mmap
import os
import re
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Final

from piker.store import durable

if TYPE_CHECKING:
    import polars as pl

COMPRESSION: Final = "zstd"
LEVEL: Final = 1
"""Bars are a twentieth larger than by the usual level, and written a fifth faster."""
UNFINISHED, DAMAGED = ".unfinished-", ".damaged-"
"""What a file's name begins with that a crash left, and has in it that was set aside."""
PASSED_OVER: Final = "_"
"""What a name begins with that others don't take for data in a directory of it: pandas, Spark."""
CHECK: Final = "piker.crc32"
"""The word with the checksums: `of the footer`-`of the file`, in hexadecimal digits."""
_ZEROS: Final = b"00000000-00000000"
_END: Final = 8
"""A file's last bytes: how long the footer before them is, 4 bytes, and "PAR1" (Parquet's
specification, "File format")."""


class Damaged(Exception):
    """A file that can't be read as what it should be; the text says why."""


def problem() -> str:
    """Why nothing can be kept or read here; or nothing."""
    if find_spec("polars"):
        return ""
    return "nothing is kept on disk: the package piker-history isn't installed"


def write(frame: "pl.DataFrame | pl.LazyFrame", path: Path, words: Mapping[str, str]) -> None:
    """Have the file hold this, with `words` as its metadata. Raises OSError.

    Who reads it meanwhile sees the old content or the new, also after a crash of the machine.
    """
    durable.make(path.parent)
    fresh = unfinished(path)
    try:
        _write(frame, fresh, words)
        os.replace(fresh, path)
    except BaseException:
        with suppress(FileNotFoundError):
            os.unlink(fresh)
        raise
    durable.sync(path.parent)


def unfinished(path: Path) -> Path:
    """Where a file is while it is written: no reader of all `*.parquet` takes it for one."""
    return path.with_name(f"{UNFINISHED}{path.stem}")


def read(path: Path, columns: Sequence[str] | None = None) -> "pl.DataFrame":
    """These columns of a file, or all. Raises Damaged or OSError."""
    check(path)
    return read_checked([path], columns)


def read_checked(
    paths: Sequence[Path], columns: Sequence[str] | None = None, where: "pl.Expr | None" = None
) -> "pl.DataFrame":
    """The same of several files, one after the other, and of those rows only, at once.

    That they are as they were written must be known (`check`). Raises Damaged or OSError.
    """
    import polars as pl

    with _damage_named():
        rows = pl.scan_parquet(list(paths), glob=False, hive_partitioning=False)
        chosen = rows if where is None else rows.filter(where)
        return (chosen if columns is None else chosen.select(columns)).collect()


def words_of(path: Path) -> dict[str, str]:
    """What `write` was given beside the frame. Raises Damaged or OSError."""
    import polars as pl

    with path.open("rb") as file, _mapped(file.fileno()) as content:
        begin, at = _places(content)
        if content[at : at + 8] != _crc(content, begin, at):
            raise Damaged("what is said of it hasn't the checksum that it should")
        with _damage_named():
            words = pl.read_parquet_metadata(path)
    return {name: word for name, word in words.items() if name not in ("ARROW:schema", CHECK)}


def check(path: Path) -> None:
    """See that a file is as it was written, to the last bit. Raises Damaged or OSError."""
    with path.open("rb") as file, _mapped(file.fileno()) as content:
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_WILLNEED)
        _, at = _places(content)
        if content[at + 9 : at + 17] != _crc(content, 0, at):
            raise Damaged("its content hasn't the checksum that it should")


def set_aside(path: Path, now_ns: int) -> Path:
    """Give a file that can't be read another name, by which nobody takes it for one; gives that.

    Nothing of it is lost. Raises OSError.
    """
    aside = keep_aside(path, now_ns)
    os.unlink(path)
    durable.sync(path.parent)
    return aside


def keep_aside(path: Path, now_ns: int) -> Path:
    """Give a file such a name beside its own, to be kept when that is replaced. Raises OSError."""
    while True:
        name = f"{path.name}{DAMAGED}{now_ns}"
        aside = path.with_name(PASSED_OVER + name.removeprefix(PASSED_OVER))
        try:
            os.link(path, aside)
        except FileExistsError:
            now_ns += 1
        else:
            durable.sync(path.parent)
            return aside


def _write(frame: "pl.DataFrame | pl.LazyFrame", path: Path, words: Mapping[str, str]) -> None:
    """What is lazy is never in memory as a whole."""
    import polars as pl
    from polars.exceptions import PolarsError

    with path.open("w+b") as file:
        try:
            said = {**words, CHECK: _ZEROS.decode()}
            if isinstance(frame, pl.LazyFrame):
                frame.sink_parquet(
                    file, compression=COMPRESSION, compression_level=LEVEL, metadata=said
                )
            else:
                frame.write_parquet(
                    file, compression=COMPRESSION, compression_level=LEVEL, metadata=said
                )
        except PolarsError as error:
            raise _os_error(error, path) from error
        file.flush()
        _seal(file.fileno())
        os.fsync(file.fileno())


def _seal(fd: int) -> None:
    """Put the checksums of a file that is whole where zeros are."""
    with _mapped(fd) as content:
        begin, at = _places(content)
        sums = _crc(content, begin, at) + b"-" + _crc(content, 0, at)
    os.pwrite(fd, sums, at)


@contextmanager
def _mapped(fd: int) -> Iterator[memoryview]:
    """A file's content. Raises Damaged."""
    if not os.fstat(fd).st_size:
        raise Damaged("it is empty")
    with mmap.mmap(fd, 0, prot=mmap.PROT_READ) as content, memoryview(content) as view:
        yield view


def _places(content: memoryview) -> tuple[int, int]:
    """Where the footer begins and where in it the checksums stand. Raises Damaged."""
    begin = len(content) - _END - int.from_bytes(content[-_END:-4], "little")
    footer = bytes(content[begin:]) if begin >= 0 else b""
    at = footer.find(b"-", footer.rfind(CHECK.encode()) + len(CHECK)) - len("00000000")
    if CHECK.encode() not in footer or at < 0 or at + len(_ZEROS) > len(footer):
        raise Damaged("it is no file of piker's: it has no checksum")
    return begin, begin + at


def _crc(content: memoryview, begin: int, at: int) -> bytes:
    """Of all from there on, but that the checksums at `at` count as zeros."""
    end = at + len(_ZEROS)
    crc = zlib.crc32(content[end:], zlib.crc32(_ZEROS, zlib.crc32(content[begin:at])))
    return f"{crc:08x}".encode()


@contextmanager
def _damage_named() -> Iterator[None]:
    """polars may panic on what it doesn't expect, which is no Exception of Python's."""
    from polars.exceptions import PanicException, PolarsError

    try:
        yield
    except (PolarsError, PanicException) as error:
        raise Damaged(_first_line(error)) from error


def _os_error(error: Exception, path: Path) -> OSError:
    """What the kernel said to polars, which tells it in parentheses at the end of its text."""
    told = re.search(r"\(os error (\d+)\)", str(error))
    if told is None:
        return OSError(f"{path}: {_first_line(error)}")
    number = int(told[1])
    return OSError(number, os.strerror(number), str(path))


def _first_line(error: BaseException) -> str:
    return str(error).partition("\n")[0]
