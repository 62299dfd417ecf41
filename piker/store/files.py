"""The file of a journal: who may have it open, and whether it is one at all.

A process that has a database open must not open and close it beside SQLite: that would let go of
SQLite's locks (https://www.sqlite.org/howtocorrupt.html, section 2.2). So only `open_for_writing`
looks at the bytes itself, and it does so when nobody here can have it open.
"""

import errno
import fcntl
import os
import sqlite3
import stat
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from piker.errors import Refused
from piker.interfaces.orders import BrokenJournal, DiskFull
from piker.store.ballast import free_bytes
from piker.store.schema import APPLICATION_ID, STEPS, NotAJournal, migrate, version_of

MAGIC = b"SQLite format 3\0"
HEADER = 100
"""Bytes of it; the application id is at 68 (https://www.sqlite.org/fileformat.html)."""
BUSY_S = 5.0
"""How long another connection may hold the journal (somebody looks at it with a tool) before that
is a fault."""

NO_ROOM = frozenset({sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR_WRITE, sqlite3.SQLITE_IOERR_SHMSIZE})
"""Results that say so (https://www.sqlite.org/rescode.html): SQLITE_FULL is of ENOSPC only, a quota
or a file that may not grow is an error of a write."""
MISUSE = (sqlite3.ProgrammingError, sqlite3.IntegrityError, sqlite3.InterfaceError)
"""What SQLite raises of a bug of ours, not of the file."""


def broken(path: Path, problem: str) -> BrokenJournal:
    """The fault that names a journal and what is wrong with it."""
    return BrokenJournal(path=str(path), problem=problem)


def full(path: Path) -> DiskFull:
    """The fault that names where a journal has no room."""
    return DiskFull(path=str(path.parent), free_bytes=free_bytes(path.parent))


@contextmanager
def named(path: Path) -> Iterator[None]:
    """Turns what the file system or SQLite says of a journal into a Refused that names it.

    That is a BrokenJournal, or DiskFull where there is no room to make one or to see to it.
    """
    try:
        yield
    except MISUSE:
        raise
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise Refused(full(path)) from error
        raise Refused(broken(path, f"{error.strerror}: {error.filename or path}")) from error
    except (sqlite3.DatabaseError, NotAJournal) as error:
        if getattr(error, "sqlite_errorcode", None) in NO_ROOM:
            raise Refused(full(path)) from error
        raise Refused(broken(path, f"expected a journal: {error}")) from error


@contextmanager
def open_for_writing(path: Path) -> Iterator[sqlite3.Connection]:
    """The one writer's connection, to a journal of this version; made if there is none.

    Raises Refused(BrokenJournal) or Refused(DiskFull): then the file is as it was.
    """
    with ExitStack() as stack:
        with named(path):
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            stack.callback(os.close, _lock(path))
            _check_header(path)
            connection = connect(path, "mode=rw")
            stack.callback(connection.close)
            migrate(connection)
            _set_up(connection)
        yield connection


def open_for_reading(path: Path) -> sqlite3.Connection:
    """A connection that can't write, beside a writer or to a copy. Raises Refused(BrokenJournal).

    A copy of an older version is brought to this one in memory.
    """
    with named(path):
        try:
            return _open_copy(path, "mode=ro")
        except sqlite3.OperationalError as error:
            # What was copied beside its WAL wants to make one, which a directory may not allow.
            if error.sqlite_errorcode != sqlite3.SQLITE_CANTOPEN or _has_wal(path):
                raise
        return _open_copy(path, "mode=ro&immutable=1")


def connect(path: Path, parameters: str) -> sqlite3.Connection:
    """A connection that begins no transaction by itself and may be used in any one thread."""
    return sqlite3.connect(
        f"{path.absolute().as_uri()}?{parameters}",
        uri=True,
        timeout=BUSY_S,
        isolation_level=None,
        check_same_thread=False,
    )


def _set_up(connection: sqlite3.Connection) -> None:
    mode = connection.execute("PRAGMA journal_mode = WAL").fetchone()[0]
    if mode != "wal":
        raise NotAJournal(f"its file system can't do WAL, only {mode}")
    connection.execute("PRAGMA synchronous = FULL")


def _has_wal(path: Path) -> bool:
    return path.with_name(path.name + "-wal").exists()


def _open_copy(path: Path, parameters: str) -> sqlite3.Connection:
    connection = connect(path, parameters)
    try:
        return _of_this_version(connection)
    except BaseException:
        connection.close()
        raise


def _of_this_version(connection: sqlite3.Connection) -> sqlite3.Connection:
    version = version_of(connection)
    if version == 0:
        raise NotAJournal("it is empty")
    if version == len(STEPS):
        return connection
    newer = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
    connection.backup(newer)
    connection.close()
    migrate(newer)
    return newer


def _lock(path: Path) -> int:
    """A descriptor that holds the lock beside the journal; SQLite's would keep readers out, too."""
    beside = path.with_name(path.name + ".lock")
    fd = os.open(beside, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(fd)
        problem = f"expected to be the only one to write it; another process has {beside} locked"
        raise Refused(broken(path, problem)) from None
    return fd


def _check_header(path: Path) -> None:
    """Make an empty file, or see that it is one of ours: SQLite changes what it opens."""
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NONBLOCK, 0o600)
    try:
        found = os.fstat(fd)
        if not stat.S_ISREG(found.st_mode):
            raise NotAJournal(f"was {stat.filemode(found.st_mode)}, no regular file")
        header = os.pread(fd, HEADER, 0)
    finally:
        os.close(fd)
    if header and not header.startswith(MAGIC):
        raise NotAJournal(f"it begins with {header[:16]!r}")
    if header and header[68:72] != APPLICATION_ID.to_bytes(4, "big"):
        raise NotAJournal(f"it is of another program, application id 0x{header[68:72].hex()}")
