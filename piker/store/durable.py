"""Small files that are there whole or not at all, also after a crash of the machine."""

import os
from contextlib import suppress
from pathlib import Path
from tempfile import mkstemp


def replace(path: Path, content: bytes) -> None:
    """Have the file hold this: what reads it sees the old content or the new. Raises OSError.

    Its directory is made if need be. Several processes may do so at once.
    """
    make(path.parent)
    fd, fresh = mkstemp(dir=path.parent, prefix=f".{path.name}-")
    try:
        with os.fdopen(fd, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(fresh, path)
    except BaseException:
        with suppress(FileNotFoundError):
            os.unlink(fresh)
        raise
    sync(path.parent)


def create(path: Path) -> None:
    """Have the file be there, empty if it wasn't: it takes no block of a full disk.

    Raises OSError.
    """
    path.touch(mode=0o600)
    sync(path.parent)


def remove(path: Path) -> None:
    """Have the file not be there. Raises OSError."""
    with suppress(FileNotFoundError):
        path.unlink()
        sync(path.parent)


def make(directory: Path) -> None:
    """Have a directory be there, and on disk, with those that lead to it."""
    if not directory.is_dir():
        make(directory.parent)
        directory.mkdir(mode=0o700, exist_ok=True)
        sync(directory.parent)


def sync(directory: Path) -> None:
    """A name, too, is on disk only when its directory is: fsync(2)."""
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
