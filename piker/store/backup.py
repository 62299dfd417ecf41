"""A copy of the journal, taken while it is written."""

import os
import tempfile
from contextlib import closing, suppress
from pathlib import Path

from piker.store.files import connect, named, open_for_reading


def backup(journal: Path, target: Path) -> None:
    """Write a whole copy, of one instant, to a file that must not be there yet.

    It waits for the disk: call it in a thread. Raises FileExistsError, another OSError of the
    target, or Refused(BrokenJournal), and then leaves nothing there.
    """
    os.close(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    try:
        _copy(journal, target)
    except BaseException:
        target.unlink()
        raise


def _copy(journal: Path, target: Path) -> None:
    """Beside the target first: a file of its name is whole, or empty."""
    fd, name = tempfile.mkstemp(prefix=f".{target.name}-", dir=target.parent)
    os.close(fd)
    try:
        _write(journal, Path(name))
        os.replace(name, target)
    except BaseException:
        with suppress(FileNotFoundError):
            os.unlink(name)
        raise
    _sync(target.parent)


def _write(journal: Path, copy: Path) -> None:
    with closing(open_for_reading(journal)) as source, closing(connect(copy, "mode=rw")) as made:
        with named(journal):
            source.backup(made)
        with named(copy):
            made.execute("PRAGMA journal_mode = DELETE")  # one file, readable where nobody writes


def _sync(directory: Path) -> None:
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
