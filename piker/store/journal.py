"""The journal: what emsd and paperboi have decided, on disk before anybody is told.

    async with open_journal(path) as journal:        one task: writes what is queued, in a thread
        ticket = journal.append(Happened(…), …)      numbers them at once
        await ticket.wait()                          they are on disk, with all before them

What was appended has happened: it is never taken back, and it is written in order or, if the
process dies before, not at all. So the sum of what was appended may be ahead of the disk by a tail,
never beside it; nothing is to be told or sent of a tail.
"""

import logging
import math
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import ExitStack, asynccontextmanager, closing
from pathlib import Path
from typing import TypeVar

import trio

from piker import log
from piker.errors import Refused, say
from piker.interfaces.orders import DiskFull, OrderNews
from piker.store.ballast import free_bytes
from piker.store.files import open_for_reading, open_for_writing
from piker.store.groups import Group
from piker.store.reading import Reader
from piker.store.records import Record, Recorded
from piker.store.writing import Attempt, Fault, Writer

MAX_QUEUED = 100_000
"""Rows that wait for the disk; with more, an append is refused as DiskFull and nothing is queued:
emsd then ends its conversation with the venue, whose list says later what was missed."""
MAX_COMMIT = 2_000
"""Rows in one transaction, or one append that has more; what is beyond waits for the next."""
COMPANY_S = 0.005
"""How long rows that nobody waits for may wait for others to share their commit."""
RETRY_S = 1.0
"""Between attempts at what could not be written."""

Answer = TypeVar("Answer")

logger = logging.getLogger(__name__)


class Ticket:
    """What one append got: its numbers, and in time what became of it."""

    def __init__(self, journal: "Journal", group: Group) -> None:
        self.news: tuple[OrderNews, ...] = tuple(group.news)
        """Its events, numbered."""
        self.recorded: Recorded | None = None
        """What became of its ledger entries; None: not on disk yet."""
        self._group = group
        self._journal = journal

    async def wait(self) -> Recorded:
        """Wait until it is on disk, with all before it.

        Raises Refused(DiskFull) or Refused(BrokenJournal) when an attempt failed. It stays queued,
        is tried again, and can be waited for again.
        """
        await self._journal._until(lambda: self.recorded is not None)
        assert self.recorded is not None
        return self.recorded


class Journal:
    """Appends to the journal and reads it. Made by `open_journal`."""

    def __init__(self, writer: Writer, reader: Reader, asker: Reader, path: Path) -> None:
        self.path = path
        self.fault: Fault | None = None
        """Why nothing new should be begun: no room, not even for the ballast, or it is broken.

        As long as the ballast's room lasts, what is appended is written all the same.
        """
        self.newest_seq = reader.newest_seq()
        """Of the last event that was appended."""
        self.committed_seq = self.newest_seq
        """Of the last event on disk."""
        self.commits = 0
        """Transactions so far."""
        self.queued = 0
        """Rows that wait for the disk."""
        self._writer = writer
        self._reader = reader
        self._asker = asker
        self._reading = trio.CapacityLimiter(1)
        self._queue: deque[Ticket] = deque()
        self._wanted = trio.Event()
        self._hurried = trio.Event()
        self._trial = _Trial()
        self._ending = trio.CancelScope(shield=True)
        self._closed = False

    @property
    def disk_full(self) -> bool:
        """Whether there is no room; new orders are to be refused with `fault`."""
        return isinstance(self.fault, DiskFull)

    def append(self, *records: Record, hurry: bool = True) -> Ticket:
        """Number records and queue them, to be written in one transaction, in the order of calls.

        What nobody waits for needs no hurry: for a few ms others may come to share its commit.
        Raises Refused(DiskFull) if too many are queued; then nothing was appended.
        """
        assert not self._closed, f"expected {self.path} to be open"
        group = Group(self.newest_seq + 1, records)
        if self.queued + group.rows > MAX_QUEUED:
            directory = self.path.parent
            raise Refused(DiskFull(path=str(directory), free_bytes=free_bytes(directory)))
        self.newest_seq += len(group.events)
        self.queued += group.rows
        ticket = Ticket(self, group)
        self._queue.append(ticket)
        self._wanted.set()
        if hurry:
            self._hurried.set()
        return ticket

    async def committed(self, seq: int) -> None:
        """Wait until an event is on disk, with all before it. Raises as `Ticket.wait` does."""
        await self._until(lambda: self.committed_seq >= seq)

    async def try_again(self) -> None:
        """Try to write what is queued and to get the ballast back, now; see `fault` after it."""
        begun = self._trial.begun
        self._wanted.set()
        await self._trial.ended.wait()
        if begun:
            await self._trial.ended.wait()

    def knows(self, oid: str) -> bool:
        """Whether there is such an order on disk; here and now: a look at an index costs less than
        another thread does."""
        return self._asker.knows(oid)

    async def read(self, ask: Callable[[Reader], Answer]) -> Answer:
        """What is on disk, read in a thread: `await journal.read(Reader.book)`."""
        return await trio.to_thread.run_sync(ask, self._reader, limiter=self._reading)

    async def _until(self, written: Callable[[], bool]) -> None:
        """Wait for attempts until something is written; raises Refused if one failed."""
        while not written():
            trial = self._trial
            await trial.ended.wait()
            if trial.failed and not written():
                raise Refused(trial.failed)

    async def _run(self) -> None:
        """Shielded, since shielded commands wait for it; `_ending` is what ends it."""
        with self._ending:
            await self._write_what_is_wanted()
        with trio.CancelScope(shield=True):
            await self._write_the_rest()

    async def _write_what_is_wanted(self) -> None:
        while True:
            with trio.move_on_after(RETRY_S if self.fault else math.inf):
                await self._wanted.wait()
            with trio.move_on_after(COMPANY_S):
                await self._hurried.wait()
            self._wanted, self._hurried = trio.Event(), trio.Event()
            await self._attempt()

    async def _write_the_rest(self) -> None:
        self._closed = True
        while self._queue and await self._attempt():
            pass
        if self._queue:
            logger.error("%s: closed with %d rows that were not written", self.path, self.queued)

    async def _attempt(self) -> bool:
        """Write what fits into a transaction; whether that worked."""
        tickets = self._next_tickets()
        groups = [ticket._group for ticket in tickets]
        self._trial.begun = True
        attempt = await trio.to_thread.run_sync(self._writer.attempt, groups)
        self._settle(tickets, attempt)
        return attempt.recorded is not None

    def _next_tickets(self) -> list[Ticket]:
        tickets: list[Ticket] = []
        rows = 0
        for ticket in self._queue:
            rows += ticket._group.rows
            if tickets and rows > MAX_COMMIT:
                break
            tickets.append(ticket)
        return tickets

    def _settle(self, tickets: list[Ticket], attempt: Attempt) -> None:
        self._say(attempt.fault)
        self.fault = attempt.fault
        if attempt.recorded is not None:
            for ticket, recorded in zip(tickets, attempt.recorded, strict=True):
                self._written(ticket, recorded)
            self.commits += bool(tickets)
            if self._queue:
                self._wanted.set()
                self._hurried.set()
        trial, self._trial = self._trial, _Trial()
        trial.failed = attempt.fault if attempt.recorded is None else None
        trial.ended.set()

    def _written(self, ticket: Ticket, recorded: Recorded) -> None:
        self._queue.popleft()
        ticket.recorded = recorded
        self.queued -= ticket._group.rows
        if ticket.news:
            self.committed_seq = ticket.news[-1].seq

    def _say(self, fault: Fault | None) -> None:
        """Only what changed: the free room does so all the time."""
        if fault and type(fault) is not type(self.fault):
            extra = log.fields(message_id=log.DISK_FULL if isinstance(fault, DiskFull) else None)
            logger.error("%s; new orders are refused until that is over", say(fault), extra=extra)
        if self.fault and not fault:
            logger.warning("%s is written again", self.path)


class _Trial:
    """One attempt that is still to end."""

    def __init__(self) -> None:
        self.begun = False
        self.ended = trio.Event()
        self.failed: Fault | None = None


@asynccontextmanager
async def open_journal(path: Path) -> AsyncIterator[Journal]:
    """The journal, made if there is none; at the end what is queued is written.

    Raises Refused(BrokenJournal), also when another process has it; what its body raises comes in a
    group. Cancelled from outside, it goes on writing until its body has ended.
    """
    with ExitStack() as stack:
        journal = await trio.to_thread.run_sync(_open, stack, path)
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(journal._run)
                try:
                    yield journal
                finally:
                    journal._ending.cancel()
        finally:
            with trio.CancelScope(shield=True):
                await trio.to_thread.run_sync(stack.close)


def _open(stack: ExitStack, path: Path) -> Journal:
    writer = Writer(path, stack.enter_context(open_for_writing(path)))
    reader, asker = (
        Reader(path, stack.enter_context(closing(open_for_reading(path)))) for _ in range(2)
    )
    journal = Journal(writer, reader, asker, path)
    journal._settle([], writer.attempt(()))
    return journal
