"""Writing the journal: many appends in one transaction, and what to do when there is no room."""

import sqlite3
from collections.abc import Iterable, Sequence
from pathlib import Path

import msgspec
from msgspec import Struct

from piker.accounts import Entry
from piker.interfaces.orders import BrokenJournal, DiskFull, LedgerLine
from piker.orders import Execution
from piker.store.ballast import SIZE, Ballast, free_bytes
from piker.store.files import NO_ROOM, broken, full
from piker.store.groups import Group, key_of
from piker.store.reading import line_of
from piker.store.records import Base, Conflict, Recorded

UNUSABLE = frozenset(
    {
        sqlite3.SQLITE_BUSY,
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_CORRUPT,
        sqlite3.SQLITE_NOTADB,
        sqlite3.SQLITE_READONLY,
        sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_PROTOCOL,
    }
)
"""Primary results that are the file's or the disk's doing, not a bug of ours."""
PRIMARY = 0xFF

Fault = DiskFull | BrokenJournal


class Attempt(Struct, frozen=True, kw_only=True):
    """What came of writing groups."""

    recorded: tuple[Recorded, ...] | None
    """One a group; None: nothing was written."""
    fault: Fault | None
    """Why nothing new should be begun; None: all is well."""


class Writer:
    """Writes groups, and spends the ballast where there is no other room. In one thread at a time.

    `ballast` is taken up again once twice its size is free: what it gave back itself isn't enough.
    """

    def __init__(self, path: Path, connection: sqlite3.Connection) -> None:
        self._path = path
        self._connection = connection
        self._ballast = Ballast(path.with_name(path.name + ".ballast"))
        self._ballast.hold()

    def attempt(self, groups: Sequence[Group]) -> Attempt:
        """Write all or nothing of them, and see to the ballast."""
        try:
            recorded = self._write_or_spend(groups)
        except sqlite3.DatabaseError as error:
            return Attempt(recorded=None, fault=self._fault_of(error))
        return Attempt(recorded=recorded, fault=None if self._has_room() else full(self._path))

    def _write_or_spend(self, groups: Sequence[Group]) -> tuple[Recorded, ...]:
        try:
            return self._write(groups)
        except sqlite3.DatabaseError as error:
            if error.sqlite_errorcode not in NO_ROOM or not self._ballast.let_go():
                raise
        return self._write(groups)

    def _has_room(self) -> bool:
        if self._ballast.held:
            return True
        return free_bytes(self._path.parent) >= 2 * SIZE and self._ballast.hold()

    def _fault_of(self, error: sqlite3.DatabaseError) -> Fault:
        """Raises the error if it is of our own making."""
        if error.sqlite_errorcode in NO_ROOM:
            return full(self._path)
        if error.sqlite_errorcode & PRIMARY in UNUSABLE:
            return broken(self._path, f"expected to write it: {error}")
        raise error

    def _write(self, groups: Sequence[Group]) -> tuple[Recorded, ...]:
        if not groups:
            return ()
        with self._connection as connection:
            connection.execute("BEGIN IMMEDIATE")
            self._write_events(groups)
            recorded = tuple(self._enter(group.entries) for group in groups)
            self._write_bases(base for group in groups for base in group.bases)
        return recorded

    def _write_events(self, groups: Sequence[Group]) -> None:
        many = self._connection.executemany
        many(
            "INSERT INTO events (seq, time_ns, oid, account, event) VALUES (?, ?, ?, ?, ?)",
            (row for group in groups for row in group.events),
        )
        in_book = {oid: there for group in groups for oid, there in group.in_book.items()}
        many(
            "INSERT OR IGNORE INTO book (oid) VALUES (?)",
            ((oid,) for oid, there in in_book.items() if there),
        )
        many(
            "DELETE FROM book WHERE oid = ?",
            ((oid,) for oid, there in in_book.items() if not there),
        )
        many(
            "INSERT OR REPLACE INTO notes (oid, key, value) VALUES (?, ?, ?)",
            (note for group in groups for note in group.notes),
        )

    def _enter(self, entries: Sequence[tuple[Entry, str]]) -> Recorded:
        lines: list[LedgerLine] = []
        repeated: list[Entry] = []
        conflicts: list[Conflict] = []
        for entry, encoded in entries:
            number = self._number_of(entry, encoded)
            if number is not None:
                lines.append(_line(number, entry))
            elif (known := self._known(entry)) == entry:
                repeated.append(entry)
            else:
                conflicts.append(Conflict(known=known, told=entry))
        return Recorded(lines=tuple(lines), repeated=tuple(repeated), conflicts=tuple(conflicts))

    def _number_of(self, entry: Entry, encoded: str) -> int | None:
        """Write it; None: one of its id and revision is there."""
        kind, entry_id = key_of(entry)
        # All rows are fetched: a statement that isn't done keeps the transaction from its end.
        numbers = self._connection.execute(
            "INSERT INTO ledger (account, market, kind, id, revision, entry)"
            " VALUES (?, ?, ?, ?, ?, ?)"
            " ON CONFLICT (account, kind, id, revision) DO NOTHING RETURNING number",
            (entry.account, entry.market, kind, entry_id, entry.revision, encoded),
        ).fetchall()
        if not numbers:
            return None
        self._connection.execute(
            "INSERT OR IGNORE INTO bases (account, market) VALUES (?, ?)",
            (entry.account, entry.market),
        )
        return int(numbers[0][0])

    def _known(self, entry: Entry) -> Entry:
        kind, entry_id = key_of(entry)
        (row,) = self._connection.execute(
            "SELECT number, kind, entry FROM ledger"
            " WHERE account = ? AND kind = ? AND id = ? AND revision = ?",
            (entry.account, kind, entry_id, entry.revision),
        ).fetchall()
        line = line_of(*row)
        known = line.execution or line.adjustment
        assert known is not None
        return known

    def _write_bases(self, bases: Iterable[Base]) -> None:
        self._connection.executemany(
            "INSERT OR REPLACE INTO bases (account, market, number, newest_ns, position)"
            " VALUES (?, ?, ?, ?, ?)",
            (
                (
                    base.account,
                    base.market,
                    base.number,
                    base.newest_ns,
                    msgspec.json.encode(base.position).decode() if base.position else None,
                )
                for base in bases
            ),
        )


def _line(number: int, entry: Entry) -> LedgerLine:
    if isinstance(entry, Execution):
        return LedgerLine(number=number, execution=entry)
    return LedgerLine(number=number, adjustment=entry)
