"""One append on its way to the disk, in the rows that the tables take."""

from collections.abc import Iterable

import msgspec

from piker.accounts import Adjustment, Entry
from piker.interfaces.orders import OrderNews
from piker.orders import Execution
from piker.store.records import Archived, Base, Happened, Note, Record

INT64 = range(-(2**63), 2**63)

EventRow = tuple[int, int, str, str, str]


class Group:
    """What one append wants written: in one transaction, or not at all.

    Encoded here, so that what can't be written is an error of its append.
    """

    def __init__(self, first_seq: int, records: Iterable[Record]) -> None:
        self.news: list[OrderNews] = []
        self.events: list[EventRow] = []
        self.in_book: dict[str, bool] = {}
        self.notes: list[tuple[str, str, str]] = []
        self.entries: list[tuple[Entry, str]] = []
        self.bases: list[Base] = []
        for record in records:
            self._take(first_seq + len(self.events), record)
        self.rows = sum(map(len, (self.events, self.in_book, self.notes, self.entries, self.bases)))

    def _take(self, seq: int, record: Record) -> None:
        match record:
            case Happened():
                self._take_event(seq, record)
            case Archived():
                self.in_book[record.oid] = False
            case Note():
                self.notes.append((record.oid, record.key, record.value))
            case Execution() | Adjustment():
                _checked(record.revision)
                self.entries.append((record, msgspec.json.encode(record).decode()))
            case Base():
                self.bases.append(record)

    def _take_event(self, seq: int, happened: Happened) -> None:
        event = msgspec.json.encode(happened.event).decode()
        time_ns = _checked(happened.time_ns)
        self.events.append((seq, time_ns, happened.oid, happened.account, event))
        self.in_book[happened.oid] = True
        self.news.append(OrderNews(seq=seq, **msgspec.structs.asdict(happened)))


def key_of(entry: Entry) -> tuple[str, str]:
    """The kind of an entry, and its id: with account and revision there is one such."""
    if isinstance(entry, Execution):
        return "execution", entry.exec_id
    return "adjustment", entry.adjustment_id


def _checked(value: int) -> int:
    if value not in INT64:
        raise ValueError(f"expected an integer of 64 bits, was {value}")
    return value
