"""The journal: what a start reads of a million past events, and commits that are shared."""

import sqlite3
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from decimal import Decimal
from functools import partial
from pathlib import Path

import msgspec
import trio

from piker.orders import Acked, Cancelled, Order, Sending, Submitted
from piker.store import schema
from piker.store.journal import open_journal
from piker.store.reading import Reader
from piker.store.records import Happened
from tests.bench.result import Result, compare

EVENTS = 1_000_000
OPEN = 100
LIFE = 4
"""Events of an order."""
WAITERS = 100
APPENDS = 2_000
ALONE = 300
ACCOUNT = "paper.replay"


def run_start() -> Iterator[Result]:
    """Opening and reading the book; the peer only counts the same table."""
    with _directory() as directory:
        path = directory / "journal"
        _write_past(path)
        yield compare(
            "journal_start",
            f"{EVENTS:,} events, {OPEN} open orders",
            "s",
            partial(trio.run, _start, path),
            "sqlite3: count(*) of the events",
            partial(_count, path),
            more_is_better=False,
        )


def run_append() -> Iterator[Result]:
    """Orders that wait side by side, against a commit for each; and one that waits alone."""
    with _directory() as directory:
        numbers = iter(range(1_000_000))
        yield compare(
            "journal_append",
            f"{WAITERS} that wait",
            "appends/s",
            lambda: trio.run(_append, directory / "journal", WAITERS, APPENDS, next(numbers)),
            "sqlite3: a commit each",
            partial(one_by_one, directory / "peer", ALONE),
            more_is_better=True,
        )
        yield compare(
            "journal_append",
            "one that waits",
            "appends/s",
            lambda: trio.run(_append, directory / "journal", 1, ALONE, next(numbers)),
            "sqlite3: a commit each",
            partial(one_by_one, directory / "peer", ALONE),
            more_is_better=True,
        )


@contextmanager
def _directory() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="pb-") as directory:
        yield Path(directory)


def _order(oid: str) -> Order:
    return Order(
        oid=oid,
        account=ACCOUNT,
        market="eurusd.spot.replay",
        side="buy",
        size=Decimal(1000),
        kind="limit",
        limit=Decimal("1.20"),
    )


def _write_past(path: Path) -> None:
    """A journal of closed and archived orders, the oldest ones still open."""
    sending = Sending(size=Decimal(1000), limit=Decimal("1.20"), not_after_ns=1)
    rest = [sending, Acked(venue_id="v"), Cancelled(venue_id="v", reason="asked for")]
    events = [msgspec.json.encode(event).decode() for event in rest]
    first = msgspec.json.encode(Submitted(order=_order("0"))).decode()
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        schema.migrate(connection)
        with connection:
            connection.execute("BEGIN")
            connection.executemany(
                "INSERT INTO events VALUES (?, ?, ?, ?, ?)",
                (
                    (seq + 1, seq, _oid(seq // LIFE), ACCOUNT, (first, *events)[seq % LIFE])
                    for seq in range(EVENTS)
                ),
            )
            step = EVENTS // LIFE // OPEN
            connection.executemany(
                "INSERT INTO book VALUES (?)", ((_oid(n * step),) for n in range(OPEN))
            )


def _oid(number: int) -> str:
    return f"01900000-0000-7000-8000-{number:012}"


async def _start(path: Path) -> float:
    began = time.perf_counter()
    async with open_journal(path) as journal:
        book = await journal.read(Reader.book)
        taken = time.perf_counter() - began
    assert sum(len(kept.events) for kept in book) == OPEN * LIFE
    return taken


def _count(path: Path) -> float:
    began = time.perf_counter()
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT count(*) FROM events").fetchone() == (EVENTS,)
    return time.perf_counter() - began


async def _append(path: Path, waiters: int, appends: int, run: int) -> float:
    async with open_journal(path) as journal:

        async def wait_for_each(first: int) -> None:
            for number in range(first, appends, waiters):
                oid = _oid(run * appends + number)
                event = Submitted(order=_order(oid))
                happened = Happened(time_ns=1, oid=oid, account=ACCOUNT, event=event)
                await journal.append(happened).wait()

        began = time.perf_counter()
        async with trio.open_nursery() as nursery:
            for first in range(waiters):
                nursery.start_soon(wait_for_each, first)
        return appends / (time.perf_counter() - began)


def one_by_one(path: Path, appends: int) -> float:
    """The same rows of the same table, in a file of its own."""
    path.unlink(missing_ok=True)
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        schema.migrate(connection)
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        began = time.perf_counter()
        for number in range(appends):
            event = msgspec.json.encode(Submitted(order=_order(_oid(number)))).decode()
            with connection:
                connection.execute("BEGIN IMMEDIATE")
                row = (number + 1, 1, _oid(number), ACCOUNT, event)
                connection.execute("INSERT INTO events VALUES (?, ?, ?, ?, ?)", row)
                connection.execute("INSERT INTO book VALUES (?)", (_oid(number),))
        return appends / (time.perf_counter() - began)
