"""Reading the journal: the book at a start, an order's life, events from one on, the ledger."""

from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from sqlite3 import Connection
from typing import Any

import msgspec

from piker.accounts import Adjustment, Position
from piker.interfaces.orders import LedgerLine, OrderNews
from piker.orders import Execution, OrderEvent
from piker.store.files import named, open_for_reading
from piker.store.records import Base, Kept, Note
from piker.store.schema import NotAJournal

_EVENT: msgspec.json.Decoder[OrderEvent] = msgspec.json.Decoder(OrderEvent)
_EXECUTION = msgspec.json.Decoder(Execution)
_ADJUSTMENT = msgspec.json.Decoder(Adjustment)
_POSITION = msgspec.json.Decoder(Position)

EVERYTHING = -1
"""SQLite's LIMIT without one."""


class Reader:
    """What is on disk, and only that. For one thread at a time.

    Every method raises Refused(BrokenJournal) if the file turns out to be damaged.
    """

    def __init__(self, path: Path, connection: Connection) -> None:
        self._path = path
        self._connection = connection

    def newest_seq(self) -> int:
        """Of the last event; 0: there is none."""
        return int(self._ask("SELECT ifnull(max(seq), 0) FROM events")[0][0])

    def book(self) -> tuple[Kept, ...]:
        """Every order that isn't archived, by its first event."""
        # A CROSS JOIN is done in this order (https://www.sqlite.org/optoverview.html): what a start
        # costs is the book, however many events there are.
        rows = self._ask(
            "SELECT seq, time_ns, oid, account, event"
            " FROM book CROSS JOIN events USING (oid) ORDER BY seq"
        )
        notes = self._notes("SELECT oid, key, value FROM book CROSS JOIN notes USING (oid)")
        events: dict[str, list[OrderNews]] = {}
        for news in self._news(rows):
            events.setdefault(news.oid, []).append(news)
        noted: dict[str, list[Note]] = {}
        for note in notes:
            noted.setdefault(note.oid, []).append(note)
        return tuple(
            Kept(oid=oid, events=tuple(its), notes=tuple(noted.get(oid, ())))
            for oid, its in events.items()
        )

    def knows(self, oid: str) -> bool:
        """Whether there is such an order, archived or not."""
        return bool(self._ask("SELECT 1 FROM events WHERE oid = ? LIMIT 1", oid))

    def timeline(self, oid: str) -> tuple[OrderNews, ...]:
        """All events of an order, archived or not; empty: there is no such order."""
        return self._news(
            self._ask(
                "SELECT seq, time_ns, oid, account, event FROM events WHERE oid = ? ORDER BY seq",
                oid,
            )
        )

    def events_since(self, seq: int, limit: int) -> tuple[OrderNews, ...]:
        """Events after one, oldest first, at most so many."""
        return self._news(
            self._ask(
                "SELECT seq, time_ns, oid, account, event FROM events"
                " WHERE seq > ? ORDER BY seq LIMIT ?",
                seq,
                limit,
            )
        )

    def notes(self, oid: str) -> tuple[Note, ...]:
        """What was noted of an order, or of none (""), by key."""
        return self._notes("SELECT oid, key, value FROM notes WHERE oid = ? ORDER BY key", oid)

    def ledger_lines(
        self,
        account: str | None = None,
        market: str | None = None,
        after: int = 0,
        limit: int = EVERYTHING,
    ) -> tuple[LedgerLine, ...]:
        """Entries of an account, a market, or all, in the order in which they were written."""
        where = "number > ?1 AND (?2 IS NULL OR account = ?2) AND (?3 IS NULL OR market = ?3)"
        if account is not None and market is not None:
            where = "number > ?1 AND account = ?2 AND market = ?3"
        return self._lines(
            self._ask(
                f"SELECT number, kind, entry FROM ledger WHERE {where} ORDER BY number LIMIT ?4",  # noqa: S608 one of the two above
                after,
                account,
                market,
                limit,
            )
        )

    def markets_of(self, account: str, exec_ids: Iterable[str]) -> dict[str, str]:
        """Of those of these executions that an account's ledger has, the market."""
        found: dict[str, str] = {}
        for exec_id in exec_ids:
            rows = self._ask(
                "SELECT market FROM ledger WHERE account = ? AND kind = 'execution' AND id = ?"
                " ORDER BY number LIMIT 1",
                account,
                exec_id,
            )
            found.update((exec_id, market) for (market,) in rows)
        return found

    def bases(self) -> tuple[Base, ...]:
        """One for each account and market that the ledger has, by name."""
        rows = self._ask(
            "SELECT account, market, number, newest_ns, position FROM bases"
            " ORDER BY account, market"
        )
        with self._decoding():
            return tuple(
                Base(
                    account=account,
                    market=market,
                    number=number,
                    newest_ns=newest_ns,
                    position=_POSITION.decode(position) if position else None,
                )
                for account, market, number, newest_ns, position in rows
            )

    def lines_after_bases(self) -> tuple[LedgerLine, ...]:
        """The entries that no base has inside, in the order in which they were written."""
        return self._lines(
            self._ask(
                "SELECT ledger.number, kind, entry FROM bases CROSS JOIN ledger"
                " ON ledger.account = bases.account AND ledger.market = bases.market"
                " AND ledger.number > bases.number ORDER BY ledger.number"
            )
        )

    def _ask(self, sql: str, *parameters: object) -> list[Any]:
        with named(self._path):
            return self._connection.execute(sql, parameters).fetchall()

    @contextmanager
    def _decoding(self) -> Iterator[None]:
        with named(self._path):
            try:
                yield
            except msgspec.DecodeError as error:
                raise NotAJournal(str(error)) from error

    def _news(self, rows: Iterable[Any]) -> tuple[OrderNews, ...]:
        with self._decoding():
            return tuple(
                OrderNews(
                    seq=seq, time_ns=time_ns, oid=oid, account=account, event=_EVENT.decode(event)
                )
                for seq, time_ns, oid, account, event in rows
            )

    def _notes(self, sql: str, *parameters: object) -> tuple[Note, ...]:
        rows = self._ask(sql, *parameters)
        return tuple(Note(oid=oid, key=key, value=value) for oid, key, value in rows)

    def _lines(self, rows: Iterable[Any]) -> tuple[LedgerLine, ...]:
        with self._decoding():
            return tuple(line_of(*row) for row in rows)


def line_of(number: int, kind: str, entry: str) -> LedgerLine:
    """A row of the ledger. Raises msgspec.DecodeError."""
    if kind == "execution":
        return LedgerLine(number=number, execution=_EXECUTION.decode(entry))
    return LedgerLine(number=number, adjustment=_ADJUSTMENT.decode(entry))


@contextmanager
def open_copy(path: Path) -> Iterator[Reader]:
    """Read a journal that a writer has open, or a copy of one. Raises Refused(BrokenJournal)."""
    with closing(open_for_reading(path)) as connection:
        yield Reader(path, connection)
