"""A paper account on disk: one SQLite file a provider, written by one paperboi, all in one thread.

A commit is an fsync: 0.2 ms at the median, some ms at worst. Waiting for it in a thread would cost
about as much again for each order, and nothing else that paperboi does could go on meanwhile: what
is not on disk is not told. So it commits where it stands, once for all that came together.
"""

import secrets
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import msgspec

from piker.accounts import Position
from piker.core.paper import Change, PaperOrder, Saved
from piker.errors import Refused
from piker.interfaces.service import BrokenConfiguration
from piker.markets import Market
from piker.orders import Execution

APPLICATION_ID = 0x70617072
"""Bytes 68 to 71 of the file (https://www.sqlite.org/fileformat.html): "papr"."""
VERSION = 1
BUSY_S = 2.0
"""How long another process may hold the file before that is a fault."""

FILLER = "." * 64 * 1024
"""What a probe writes and takes out again. The pages stay the file's own."""

SCHEMA = (
    "CREATE TABLE account (tag TEXT NOT NULL) STRICT",
    "CREATE TABLE markets (fqme TEXT PRIMARY KEY, market TEXT NOT NULL) STRICT",
    """CREATE TABLE orders (
        number INTEGER PRIMARY KEY,
        oid TEXT NOT NULL UNIQUE,
        ended_ns INTEGER,
        paper_order TEXT NOT NULL
    ) STRICT""",
    "CREATE INDEX open_orders ON orders (number) WHERE ended_ns IS NULL",
    "CREATE INDEX ended_orders ON orders (ended_ns) WHERE ended_ns IS NOT NULL",
    """CREATE TABLE executions (
        number INTEGER PRIMARY KEY,
        oid TEXT NOT NULL,
        recorded_ns INTEGER NOT NULL,
        execution TEXT NOT NULL
    ) STRICT""",
    "CREATE INDEX executions_of ON executions (oid)",
    "CREATE INDEX recorded_executions ON executions (recorded_ns)",
    "CREATE TABLE positions (market TEXT PRIMARY KEY, position TEXT NOT NULL) STRICT",
)

_encode = msgspec.json.Encoder().encode
_order = msgspec.json.Decoder(PaperOrder).decode
_execution = msgspec.json.Decoder(Execution).decode
_market = msgspec.json.Decoder(Market).decode
_position = msgspec.json.Decoder(Position).decode


class NoRoom(Exception):
    """The disk is full. Nothing of the change is on it."""


class PaperBook:
    """What is on disk of one account."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def saved(self) -> Saved:
        """What there is to go on from."""
        open_orders = self._orders("ended_ns IS NULL ORDER BY number")
        priorities = [order.working.priority for order in open_orders]
        return Saved(
            tag=self._ask("SELECT tag FROM account")[0][0],
            orders=open_orders,
            markets=tuple(_market(each) for (each,) in self._ask("SELECT market FROM markets")),
            positions=tuple(
                _position(each) for (each,) in self._ask("SELECT position FROM positions")
            ),
            last_order=max(self._number("SELECT max(number) FROM orders"), *priorities, 0),
            last_execution=self._number("SELECT max(number) FROM executions"),
            newest_ns=max(
                self._number("SELECT max(ended_ns) FROM orders"),
                self._number("SELECT max(recorded_ns) FROM executions"),
            ),
        )

    def record(self, change: Change) -> None:
        """Have a change on disk when this returns. Raises NoRoom."""
        with self._transaction():
            self._write(change)

    def probe(self) -> None:
        """See whether there is room again, some pages of it. Raises NoRoom."""
        with self._transaction():
            self._put("INSERT INTO markets VALUES (?, ?)", [("", FILLER)])
            self._connection.execute("DELETE FROM markets WHERE fqme = ''")

    def find(self, oid: str) -> PaperOrder | None:
        """An order, however old."""
        found = self._orders("oid = ?", oid)
        return found[0] if found else None

    def executions_of(self, oid: str) -> tuple[Execution, ...]:
        """Those of an order, oldest first."""
        return self._executions("oid = ? ORDER BY number", oid)

    def executions_since(self, since_ns: int) -> tuple[Execution, ...]:
        """What was recorded since then, oldest first."""
        return self._executions("recorded_ns >= ? ORDER BY number", since_ns)

    def ended_since(self, since_ns: int) -> tuple[PaperOrder, ...]:
        """Orders that ended since then."""
        return self._orders("ended_ns >= ? ORDER BY number", since_ns)

    def _write(self, change: Change) -> None:
        at_ns = change.time_ns
        self._put(
            "INSERT INTO orders VALUES (?, ?, ?, ?) ON CONFLICT (number) DO UPDATE SET"
            " ended_ns = excluded.ended_ns, paper_order = excluded.paper_order",
            [
                (each.number, each.oid, at_ns if each.outcome else None, _text(each))
                for each in change.orders
            ],
        )
        self._put(
            "INSERT INTO executions VALUES (?, ?, ?, ?)",
            [(_number_of(each), each.oid, at_ns, _text(each)) for each in change.executions],
        )
        self._put(
            "INSERT OR REPLACE INTO positions VALUES (?, ?)",
            [(each.market, _text(each)) for each in change.positions],
        )
        self._put(
            "INSERT OR REPLACE INTO markets VALUES (?, ?)",
            [(each.fqme, _text(each)) for each in change.markets],
        )

    def _put(self, statement: str, rows: list[tuple[Any, ...]]) -> None:
        if rows:
            self._connection.executemany(statement, rows)

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        """All or nothing. Raises NoRoom; of another failure nobody knows what is on disk: it rises,
        and the next start reads what is.
        """
        try:
            self._connection.execute("BEGIN IMMEDIATE")
            yield
            self._connection.execute("COMMIT")
        except sqlite3.OperationalError as error:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            if error.sqlite_errorcode != sqlite3.SQLITE_FULL:
                raise
            raise NoRoom(str(error)) from error

    def _ask(self, query: str, *values: object) -> list[tuple[Any, ...]]:
        return self._connection.execute(query, values).fetchall()

    def _number(self, query: str) -> int:
        return int(self._ask(query)[0][0] or 0)

    def _orders(self, where: str, *values: object) -> tuple[PaperOrder, ...]:
        rows = self._ask(f"SELECT paper_order FROM orders WHERE {where}", *values)  # noqa: S608 ours
        return tuple(_order(text) for (text,) in rows)

    def _executions(self, where: str, *values: object) -> tuple[Execution, ...]:
        rows = self._ask(f"SELECT execution FROM executions WHERE {where}", *values)  # noqa: S608 ours
        return tuple(_execution(text) for (text,) in rows)


@contextmanager
def open_book(path: Path) -> Iterator[tuple[PaperBook, Saved]]:
    """The account in a file, made if there is none, and what there is to go on from.

    Raises Refused(BrokenConfiguration) for a file that is none of ours, torn, or in use by another
    process; it is then as it was.
    """
    with closing(_connected(path)) as connection:
        with _named(path):
            connection.execute("PRAGMA locking_mode = EXCLUSIVE")
            _check(connection)
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = FULL")
            _make(connection)
            book = PaperBook(connection)
            saved = book.saved()
        yield book, saved


def _connected(path: Path) -> sqlite3.Connection:
    with _named(path):
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        return sqlite3.connect(path, timeout=BUSY_S, isolation_level=None)


def _check(connection: sqlite3.Connection) -> None:
    found = tuple(_pragma(connection, name) for name in ("application_id", "user_version"))
    empty = not connection.execute("SELECT 1 FROM sqlite_schema LIMIT 1").fetchall()
    if found != (APPLICATION_ID, VERSION) and not (empty and found == (0, 0)):
        expected = f"application id {APPLICATION_ID:#x}, version {VERSION}"
        raise sqlite3.DatabaseError(f"expected {expected}, was {found[0]:#x}, {found[1]}")


def _make(connection: sqlite3.Connection) -> None:
    """Make the tables, unless they are there."""
    if _pragma(connection, "user_version"):
        return
    connection.execute("BEGIN IMMEDIATE")
    for statement in SCHEMA:
        connection.execute(statement)
    connection.execute("INSERT INTO account VALUES (?)", (secrets.token_hex(4),))
    connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    connection.execute(f"PRAGMA user_version = {VERSION}")
    connection.execute("COMMIT")


@contextmanager
def _named(path: Path) -> Iterator[None]:
    """Turns what is wrong with a file into Refused."""
    try:
        yield
    except (OSError, sqlite3.Error, msgspec.DecodeError, IndexError) as error:
        problem = f"expected a paper account: {error}"
        raise Refused(BrokenConfiguration(file=str(path), key="", problem=problem)) from error


def _pragma(connection: sqlite3.Connection, name: str) -> int:
    return int(connection.execute(f"PRAGMA {name}").fetchone()[0])


def _text(value: msgspec.Struct) -> str:
    return _encode(value).decode()


def _number_of(execution: Execution) -> int:
    return int(execution.exec_id.rpartition("-")[2])
