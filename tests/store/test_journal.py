"""What an append promises, and what is read back."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from decimal import Decimal
from functools import partial
from pathlib import Path

import pytest
import trio
import trio.testing

from piker.accounts import Position
from piker.errors import Refused
from piker.interfaces.orders import DiskFull
from piker.store import journal as journal_module
from piker.store.files import connect
from piker.store.journal import Journal, open_journal
from piker.store.reading import Reader
from piker.store.records import Archived, Base, Conflict, Note, Recorded
from tests.store.samples import (
    ACCOUNT,
    MARKET,
    acked,
    adjustment,
    fill,
    on_disk,
    submitted,
)

HELD = Position(account=ACCOUNT, market=MARKET, currency="USD", multiplier=Decimal(1))


@pytest.fixture
def path(home: Path) -> Path:
    return home / "state" / "journal"


def newest(path: Path) -> int:
    return on_disk(path, Reader.newest_seq)


@contextmanager
def held_by_another(path: Path) -> Iterator[sqlite3.Connection]:
    """Somebody's tool has begun to write; nobody else can, until it ends."""
    with closing(connect(path, "mode=rw")) as other:
        other.execute("BEGIN IMMEDIATE")
        yield other
        other.execute("ROLLBACK")


async def test_events_are_numbered_at_once_in_the_order_of_the_calls(path: Path) -> None:
    async with open_journal(path) as journal:
        tickets = [journal.append(submitted("a"), submitted("b")), journal.append(acked("a"))]
        assert [news.seq for ticket in tickets for news in ticket.news] == [1, 2, 3]
        assert journal.newest_seq == 3
        assert journal.committed_seq == 0


async def test_what_was_waited_for_is_on_disk_with_all_before_it(path: Path) -> None:
    async with open_journal(path) as journal:
        for number in range(20):
            journal.append(submitted(str(number)))
        await journal.append(acked()).wait()
        assert [news.seq for news in on_disk(path, lambda r: r.events_since(0, 99))] == [
            *range(1, 22)
        ]


async def test_an_event_is_read_back_as_it_was_appended(path: Path) -> None:
    async with open_journal(path) as journal:
        news = journal.append(submitted("é"), acked("é")).news
        await journal.committed(2)
        assert await journal.read(lambda reader: reader.timeline("é")) == news
        assert await journal.read(lambda reader: reader.timeline("e")) == ()


async def test_numbers_go_on_without_a_gap_after_a_restart(path: Path) -> None:
    async with open_journal(path) as journal:
        journal.append(submitted())
    async with open_journal(path) as journal:
        assert journal.append(acked()).news[0].seq == 2
    assert newest(path) == 2


async def test_what_is_queued_is_written_at_the_end(path: Path) -> None:
    async with open_journal(path) as journal:
        for number in range(5_000):
            journal.append(submitted(str(number)))
    assert newest(path) == 5_000


async def test_many_that_wait_share_a_commit(path: Path) -> None:
    async with open_journal(path) as journal:
        async with trio.open_nursery() as nursery:
            for number in range(100):
                nursery.start_soon(journal.append(submitted(str(number))).wait)
        assert journal.commits <= 3
        assert newest(path) == 100


async def test_what_nobody_waits_for_shares_a_commit_with_what_comes_next(path: Path) -> None:
    async with open_journal(path) as journal:
        before = journal.commits
        for number in range(3):
            journal.append(submitted(str(number)), hurry=False)
            await trio.testing.wait_all_tasks_blocked()
        await journal.append(submitted("3")).wait()
        assert journal.commits == before + 1
        assert newest(path) == 4


async def test_what_nobody_waits_for_is_written_all_the_same(path: Path) -> None:
    async with open_journal(path) as journal:
        journal.append(submitted(), hurry=False)
        await journal.committed(1)
        assert newest(path) == 1


async def test_an_order_is_known_when_it_is_on_disk_archived_or_not(path: Path) -> None:
    async with open_journal(path) as journal:
        assert not journal.knows("1")
        await journal.append(submitted("1"), Archived(oid="1")).wait()
        assert journal.knows("1")


async def test_waiters_wait_in_order_while_the_disk_is_slow(path: Path) -> None:
    done: list[int] = []

    async def waited(journal: Journal, number: int) -> None:
        await journal.append(submitted(str(number))).wait()
        done.append(number)

    async with open_journal(path) as journal, trio.open_nursery() as nursery:
        with held_by_another(path):
            for number in range(3):
                nursery.start_soon(waited, journal, number)
                await trio.testing.wait_all_tasks_blocked()
            assert done == []
            assert newest(path) == 0
        await journal.committed(3)
        assert journal.queued == 0
    assert sorted(done) == [0, 1, 2]
    assert [news.oid for news in on_disk(path, lambda r: r.events_since(0, 9))] == ["0", "1", "2"]


async def test_a_journal_that_another_holds_for_long_is_a_fault_and_then_written(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("piker.store.files.BUSY_S", 0.0)
    async with open_journal(path) as journal:
        with held_by_another(path):
            with pytest.raises(Refused, match="database is locked"):
                await journal.append(submitted()).wait()
            assert not journal.disk_full
        await journal.try_again()
        assert journal.fault is None
        assert newest(path) == 1


async def test_it_goes_on_writing_for_a_shielded_command_when_all_is_cancelled(path: Path) -> None:
    with trio.CancelScope() as everything:
        async with open_journal(path) as journal:
            everything.cancel()
            with trio.fail_after(30, shield=True):
                await journal.append(submitted()).wait()
    assert newest(path) == 1


async def test_a_waiter_that_is_cancelled_takes_nothing_back(path: Path) -> None:
    async with open_journal(path) as journal:
        ticket = journal.append(submitted())
        with trio.CancelScope() as scope:
            scope.cancel()
            await ticket.wait()
        assert scope.cancelled_caught
        await journal.committed(1)
    assert newest(path) == 1


async def test_an_append_beyond_the_bound_is_refused_and_takes_no_number(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal_module, "MAX_QUEUED", 4)
    async with open_journal(path) as journal:
        journal.append(submitted("a"), submitted("b"))
        with pytest.raises(Refused) as refused:
            journal.append(acked("a"))
        assert isinstance(refused.value.fault, DiskFull)
        await journal.committed(2)
        assert journal.append(acked("a")).news[0].seq == 3


async def test_what_cannot_be_written_is_an_error_of_its_append_and_takes_no_number(
    path: Path,
) -> None:
    async with open_journal(path) as journal:
        with pytest.raises(ValueError, match="64 bits"):
            journal.append(submitted(), fill(revision=2**63))
        assert journal.append(submitted()).news[0].seq == 1


async def test_one_append_is_written_wholly(path: Path) -> None:
    async with open_journal(path) as journal:
        note = Note(oid="1", key="when", value="above")
        recorded = await journal.append(submitted(), fill(), adjustment(), note).wait()
        assert [line.number for line in recorded.lines] == [1, 2]
    (kept,) = on_disk(path, Reader.book)
    assert (len(kept.events), kept.notes) == (1, (note,))
    assert on_disk(path, Reader.ledger_lines) == recorded.lines


async def test_a_later_note_of_the_same_key_replaces(path: Path) -> None:
    async with open_journal(path) as journal:
        for value in ("1", "2"):
            await journal.append(Note(oid="", key="day", value=value)).wait()
    assert on_disk(path, lambda reader: reader.notes("")) == (Note(oid="", key="day", value="2"),)


async def test_the_same_entry_again_is_not_written_again(path: Path) -> None:
    again = fill(size="1.0")
    async with open_journal(path) as journal:
        journal.append(fill())
        recorded = await journal.append(again, fill("e2")).wait()
        assert recorded.repeated == (again,)
        assert [line.number for line in recorded.lines] == [2]
        assert len(on_disk(path, Reader.ledger_lines)) == 2


async def test_an_entry_with_the_id_of_another_is_named_and_the_rest_is_written(
    path: Path,
) -> None:
    async with open_journal(path) as journal:
        await journal.append(fill(size="1")).wait()
        recorded = await journal.append(acked(), fill(size="2")).wait()
        conflict = Conflict(known=fill(size="1"), told=fill(size="2"))
        assert recorded == Recorded(conflicts=(conflict,))
        assert newest(path) == 1
        assert len(on_disk(path, Reader.ledger_lines)) == 1


async def test_a_correction_is_a_line_of_its_own(path: Path) -> None:
    async with open_journal(path) as journal:
        await journal.append(fill(size="1"), fill(size="0", revision=1)).wait()
        lines = await journal.read(partial(Reader.ledger_lines, account=ACCOUNT, market=MARKET))
        assert [line.execution for line in lines] == [fill(size="1"), fill(size="0", revision=1)]


async def test_lines_are_of_an_account_of_a_market_and_after_a_number(path: Path) -> None:
    async with open_journal(path) as journal:
        fills = [fill(str(number), market=("x", "y")[number % 2]) for number in range(6)]
        await journal.append(*fills).wait()
        ask = partial(Reader.ledger_lines, market="y", after=2, limit=1)
        assert [line.number for line in await journal.read(ask)] == [4]
        assert await journal.read(partial(Reader.ledger_lines, account="other")) == ()


async def test_an_archived_order_is_in_no_book_but_has_its_timeline(path: Path) -> None:
    async with open_journal(path) as journal:
        journal.append(submitted("a"), submitted("b"), Archived(oid="a"))
    assert [kept.oid for kept in on_disk(path, Reader.book)] == ["b"]
    assert len(on_disk(path, lambda reader: reader.timeline("a"))) == 1


async def test_an_event_brings_an_archived_order_back_whole(path: Path) -> None:
    async with open_journal(path) as journal:
        journal.append(submitted("a"))
        journal.append(Archived(oid="a"))
        journal.append(acked("a"))
    (kept,) = on_disk(path, Reader.book)
    assert [news.seq for news in kept.events] == [1, 2]


async def test_the_last_word_of_one_append_says_whether_an_order_is_archived(path: Path) -> None:
    async with open_journal(path) as journal:
        journal.append(submitted("a"), Archived(oid="a"), acked("a"))
        journal.append(Archived(oid="b"), submitted("b"), Archived(oid="b"))
    assert [kept.oid for kept in on_disk(path, Reader.book)] == ["a"]


async def test_a_start_reads_only_what_is_after_a_base(path: Path) -> None:
    base = Base(account=ACCOUNT, market=MARKET, number=2, newest_ns=9, position=HELD)
    async with open_journal(path) as journal:
        journal.append(fill("1"), fill("2"), fill("3"), fill("4", market="other"))
        journal.append(base)
    flat = Base(account=ACCOUNT, market="other")
    assert on_disk(path, Reader.bases) == (base, flat)
    assert [line.number for line in on_disk(path, Reader.lines_after_bases)] == [3, 4]


async def test_an_execution_inside_a_base_is_still_known(path: Path) -> None:
    async with open_journal(path) as journal:
        journal.append(fill("1"))
        journal.append(Base(account=ACCOUNT, market=MARKET, number=1, position=HELD))
        assert (await journal.append(fill("1")).wait()).repeated == (fill("1"),)
        assert len(await journal.read(Reader.ledger_lines)) == 1


async def test_events_are_read_a_page_at_a_time(path: Path) -> None:
    async with open_journal(path) as journal:
        await journal.append(*(submitted(str(number)) for number in range(5))).wait()
        page = await journal.read(lambda reader: reader.events_since(2, 2))
        assert [news.seq for news in page] == [3, 4]
