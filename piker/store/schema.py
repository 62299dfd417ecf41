"""The tables of the journal, and how a file of an older version becomes one of this.

Nothing is ever moved or rewritten but `book`, `notes` and `bases`, which are small: an archived
order is one that `book` doesn't have.
"""

import sqlite3

APPLICATION_ID = 0x70696B72
"""Bytes 68 to 71 of the file (https://www.sqlite.org/fileformat.html): "pikr"."""

STEPS: tuple[tuple[str, ...], ...] = (
    (
        """CREATE TABLE events (
            seq INTEGER PRIMARY KEY,
            time_ns INTEGER NOT NULL,
            oid TEXT NOT NULL,
            account TEXT NOT NULL,
            event TEXT NOT NULL
        ) STRICT""",
        "CREATE INDEX events_of ON events (oid)",
        "CREATE TABLE book (oid TEXT PRIMARY KEY) STRICT, WITHOUT ROWID",
        """CREATE TABLE notes (
            oid TEXT NOT NULL,
            key TEXT NOT NULL,
            value TEXT NOT NULL,
            PRIMARY KEY (oid, key)
        ) STRICT, WITHOUT ROWID""",
    ),
    (
        """CREATE TABLE ledger (
            number INTEGER PRIMARY KEY,
            account TEXT NOT NULL,
            market TEXT NOT NULL,
            kind TEXT NOT NULL CHECK (kind IN ('execution', 'adjustment')),
            id TEXT NOT NULL,
            revision INTEGER NOT NULL,
            entry TEXT NOT NULL,
            UNIQUE (account, kind, id, revision)
        ) STRICT""",
        "CREATE INDEX ledger_of ON ledger (account, market)",
        """CREATE TABLE bases (
            account TEXT NOT NULL,
            market TEXT NOT NULL,
            number INTEGER NOT NULL DEFAULT 0,
            newest_ns INTEGER NOT NULL DEFAULT 0,
            position TEXT,
            PRIMARY KEY (account, market)
        ) STRICT, WITHOUT ROWID""",
    ),
)
"""The version of a file (PRAGMA user_version) is how many of these it has taken. Only added to."""


class NotAJournal(Exception):
    """The file is not a journal, or of a version that is not known here."""


def version_of(connection: sqlite3.Connection) -> int:
    """How many steps a journal has taken; 0: it is empty. Raises NotAJournal."""
    application = _number(connection, "application_id")
    version = _number(connection, "user_version")
    if application != APPLICATION_ID and (application, version) != (0, 0):
        raise NotAJournal(f"expected application id {APPLICATION_ID:#x}, was {application:#x}")
    if version > len(STEPS):
        raise NotAJournal(f"expected version {len(STEPS)} or older, was {version}")
    return version


def migrate(connection: sqlite3.Connection) -> None:
    """Take every step that the file has not taken, each wholly or not at all."""
    version = version_of(connection)
    for number, step in enumerate(STEPS[version:], version + 1):
        with connection:
            connection.execute("BEGIN IMMEDIATE")
            for statement in step:
                connection.execute(statement)
            connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            connection.execute(f"PRAGMA user_version = {number}")


def _number(connection: sqlite3.Connection, pragma: str) -> int:
    return int(connection.execute(f"PRAGMA {pragma}").fetchone()[0])
