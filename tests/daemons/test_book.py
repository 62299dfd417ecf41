"""The book: recorded, published once it is on disk, and the same after a restart."""

from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest
import trio
from msgspec.structs import replace
from trio.testing import wait_all_tasks_blocked

from piker import book as book_module
from piker import log
from piker.accounts import Adjustment, Position
from piker.book import BASE_ENTRIES, SETTLED_NS, Book, Outgoing
from piker.core.lifecycle import NotNow
from piker.core.positions import MarketLedger
from piker.errors import Refused
from piker.interfaces.orders import DiskFull, TooOld
from piker.orders import (
    Acked,
    AmendAsked,
    Armed,
    CancelAsked,
    CancelAtVenue,
    Cancelled,
    Execution,
    Filled,
    OrderEvent,
    Sending,
    Triggered,
)
from piker.orders import Refused as OrderRefused
from piker.store import journal as journal_module
from piker.store.reading import Reader
from tests.fakes.broker import (
    ACCOUNT,
    MARKET,
    OTHER,
    a_book,
    a_fill,
    a_publishing_book,
    an_order,
    sending,
)

DAY_NS = 86_400 * 10**9


def admit(book: Book, oid: str = "1", **changed: Any) -> None:
    """An order that leaves."""
    book.know(MARKET)
    order = an_order(oid, **changed)
    book.admit(order, sending(order))


def close(book: Book, *oids: str) -> None:
    """Orders that were refused."""
    for oid in oids:
        admit(book, oid)
        book.record(oid, OrderRefused(reason="no"))


async def published(book: Book) -> None:
    await book.until_published(book.journal.newest_seq)


async def names(book: Book, oid: str = "1") -> list[str]:
    """The events of an order on disk."""
    events = await book.journal.read(lambda reader: reader.timeline(oid))
    return [type(news.event).__name__ for news in events]


def sent_of(book: Book) -> list[Outgoing]:
    """What the book has sent from here on."""
    sent: list[Outgoing] = []
    book.send = sent.append
    return sent


# --- recording


async def test_what_is_recorded_counts_at_once_and_is_published_when_it_is_on_disk() -> None:
    async with a_publishing_book() as book:
        sent = sent_of(book)
        admit(book)
        assert book.lives["1"].state == "sending"
        assert book.published == {}
        assert sent == []
        await published(book)
        assert book.published == book.lives
        assert [(each.oid, type(each.what)) for each in sent] == [("1", Sending)]


async def test_what_says_nothing_new_is_not_written() -> None:
    async with a_publishing_book() as book:
        admit(book)
        first = book.record("1", Acked(venue_id="v1"))
        assert book.record("1", Acked(venue_id="v1")) == first
        assert book.journal.newest_seq == first


async def test_an_alert_that_goes_off_has_a_message_id_of_its_own(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("INFO")
    async with a_publishing_book() as book:
        book.know(MARKET)
        book.admit(an_order(kind="alert", limit=None, trigger=Decimal(1)))
        book.record("1", Armed(when="above", since_ns=1))
        book.record("1", Triggered(price=Decimal(1), time_ns=2))
        await published(book)
    told = [each.__dict__["fields"].get("MESSAGE_ID") for each in caplog.records]
    assert log.ALERT in told
    assert log.ORDER_TRIGGERED not in told


async def test_events_are_taken_all_or_none() -> None:
    async with a_book() as book:
        book.know(MARKET)
        book.admit(an_order())
        with pytest.raises(NotNow):
            book.record(
                "1", Armed(when="above", since_ns=1), OrderRefused(reason="x"), CancelAsked()
            )
        assert not book.lives["1"].armed
        assert book.journal.newest_seq == 1


async def test_without_room_nothing_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    async with a_publishing_book() as book:
        admit(book)
        before = book.lives["1"]
        with monkeypatch.context() as full:
            full.setattr(journal_module, "MAX_QUEUED", 0)
            with pytest.raises(Refused):
                book.record("1", Filled(execution=a_fill()))
            with pytest.raises(Refused):
                book.adjust(a_fill("e2", oid=""))
            with pytest.raises(Refused):
                book.note("key", "value")
            with pytest.raises(Refused):
                book.know(OTHER)
        assert book.lives["1"] == before
        assert book.position(ACCOUNT, MARKET.fqme).size == 0
        assert book.noted("key") is None
        assert OTHER.fqme not in book.markets


async def test_an_amendment_of_what_is_held_stays_here_and_of_what_is_open_leaves() -> None:
    event = AmendAsked(n=1, size=Decimal(2), limit=None, not_after_ns=1)
    async with a_publishing_book() as book:
        sent = sent_of(book)
        book.admit(an_order("held", kind="dark"))
        admit(book, "open")
        book.record("open", Acked(venue_id="v"))
        for oid in ("held", "open"):
            book.record(oid, event)
        await published(book)
        assert [each.oid for each in sent if each.what == event] == ["open"]


async def test_an_execution_and_its_correction_are_entered_once_each() -> None:
    async with a_publishing_book() as book:
        admit(book)
        fill = a_fill(size=2)
        book.record("1", Filled(execution=fill), Filled(execution=fill))
        book.record("1", Filled(execution=replace(fill, revision=1, size=Decimal(1))))
        await published(book)
        lines = await book.journal.read(Reader.ledger_lines)
        assert [line.execution.revision for line in lines if line.execution] == [0, 1]
        assert book.position(ACCOUNT, MARKET.fqme).size == 1


async def test_what_orders_may_still_fill_is_known_by_side() -> None:
    async with a_publishing_book() as book:
        admit(book, "1")
        admit(book, "2", side="sell", size=Decimal(5))
        book.record("1", Filled(execution=a_fill()))
        assert book.working(ACCOUNT, MARKET.fqme, "buy") == 2
        assert book.working(ACCOUNT, MARKET.fqme, "sell") == 5
        book.record("1", Cancelled())
        assert book.working(ACCOUNT, MARKET.fqme, "buy") == 0
        assert [life.order.oid for life in book.unclosed(ACCOUNT)] == ["2"]
        assert book.count_unclosed() == 1


# --- a full disk


async def no_room(journal: journal_module.Journal, seq: int) -> None:
    await trio.lowlevel.checkpoint()
    raise Refused(DiskFull(path="/", free_bytes=0))


@pytest.fixture
def full(monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    """Nothing can be committed until it is undone."""
    with monkeypatch.context() as patch:
        patch.setattr(journal_module.Journal, "committed", no_room)
        yield patch


async def test_without_room_a_cancel_leaves_once_and_nothing_else_does(
    full: pytest.MonkeyPatch,
) -> None:
    async with a_book() as book, trio.open_nursery() as nursery:
        sent = sent_of(book)
        admit(book)
        book.record("1", Acked(venue_id="v1"), CancelAsked())
        nursery.start_soon(book.publish)
        with pytest.raises(Refused) as no:
            await published(book)
        assert no.value.fault == DiskFull(path="/", free_bytes=0)
        cancel = CancelAtVenue(oid="1", venue_ids=("v1",))
        assert sent == [Outgoing("1", cancel)]
        full.undo()
        await book.past(book.journal.newest_seq - 1)
        assert [type(each.what) for each in sent] == [CancelAtVenue, Sending]
        nursery.cancel_scope.cancel()


async def test_every_waiter_is_refused_with_an_error_of_its_own(full: pytest.MonkeyPatch) -> None:
    async with a_publishing_book() as book:
        admit(book)
        raised = []
        for _ in range(2):
            with pytest.raises(Refused) as no:
                await published(book)
            raised.append(no.value)
        assert raised[0] is not raised[1]
        full.undo()


# --- followers


async def follow(book: Book, seq: int) -> list[int]:
    """The seqs of what is published after one, as a stream sends them."""
    news = book.news_after(seq, 3)
    if news is None:
        news = await book.older_news(seq)
    return [each.seq for each, _ in news]


async def test_events_follow_without_a_gap_or_a_repeat_also_over_a_restart() -> None:
    async with a_publishing_book() as book:
        close(book, "1", "2")
        await published(book)
    async with a_publishing_book() as book:
        assert await follow(book, 6) == []
        assert await follow(book, 2) == [3, 4, 5, 6]
        close(book, "3")
        await published(book)
        assert await follow(book, 4) == [5, 6, 7, 8, 9]
        assert await follow(book, 6) == [7, 8, 9]
        assert await follow(book, 8) == [9]


async def test_each_event_comes_with_its_order_as_it_was_after_it_from_memory_or_disk() -> None:
    async with a_publishing_book() as book:
        close(book, "1", "2")
        await published(book)
        recent = book.news_after(0, 100)
        assert recent is not None
        assert await book.older_news(0) == recent
        assert [life.state for _, life in recent] == ["held", "sending", "rejected"] * 2


async def test_what_is_not_kept_is_too_old(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(book_module, "KEPT_NEWS", 4)
    async with a_publishing_book() as book:
        close(book, "1", "2")
        await published(book)
        assert book.news_after(1, 9) is None
        with pytest.raises(Refused) as no:
            await book.older_news(1)
        assert no.value.fault == TooOld(first_seq=2)
        assert len(await book.older_news(2)) == 4


# --- archive


@pytest.fixture
def forgetful(monkeypatch: pytest.MonkeyPatch) -> None:
    """A closed order leaves memory as soon as there is another one."""
    monkeypatch.setattr(book_module, "KEPT_CLOSED", 1)
    monkeypatch.setattr(book_module, "CLOSED_S", 0)


@pytest.mark.usefixtures("forgetful")
async def test_orders_that_have_long_been_over_leave_memory_and_the_next_start() -> None:
    async with a_publishing_book() as book:
        admit(book, "open")
        close(book, "1", "2", "3")
        await published(book)
        await wait_all_tasks_blocked()
        assert sorted(book.lives) == sorted(book.published) == sorted(book.seqs) == ["3", "open"]
    async with a_book() as book:
        assert sorted(book.lives) == ["3", "open"]


async def test_one_that_was_just_closed_or_asked_for_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(book_module, "KEPT_CLOSED", 1)
    async with a_publishing_book() as book:
        close(book, "1", "2", "3")
        await published(book)
        await wait_all_tasks_blocked()
        assert sorted(book.lives) == ["1", "2", "3"]


@pytest.mark.usefixtures("forgetful")
async def test_an_archived_order_comes_back_whole_and_leaves_again() -> None:
    async with a_publishing_book() as book:
        close(book, "1", "2")
        await published(book)
        await wait_all_tasks_blocked()
        life = await book.recall("1")
        assert life
        assert life.state == "rejected"
        book.record("1", Filled(execution=a_fill()))
        await published(book)
        assert (await names(book))[-1] == "Filled"
        assert await book.recall("none") is None
        assert await book.recall("") is None
    async with a_book() as book:
        assert book.position(ACCOUNT, MARKET.fqme).size == 1
        assert book.lives["1"].late == 1


@pytest.mark.usefixtures("forgetful")
async def test_when_too_much_waits_for_the_disk_nothing_is_archived(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with a_publishing_book() as book:
        close(book, "1", "2")
        with monkeypatch.context() as overfull:
            overfull.setattr(journal_module, "MAX_QUEUED", 0)
            await published(book)
            await wait_all_tasks_blocked()
            assert sorted(book.lives) == ["1", "2"]
        close(book, "3")
        await published(book)
        await wait_all_tasks_blocked()
        assert sorted(book.lives) == ["3"]


# --- what is held


def traded(book: Book, count: int = BASE_ENTRIES + 9, first_ns: int = 0) -> list[Execution]:
    """So many old fills, one a second, and a new one."""
    book.know(MARKET)
    fills = [
        a_fill(f"{first_ns}.{at}", "", price=Decimal(at % 7 + 1), time_ns=first_ns + at * 10**9)
        for at in range(count)
    ]
    new = a_fill(f"{first_ns}.new", "", time_ns=first_ns + SETTLED_NS + 2 * DAY_NS)
    for fill in (*fills, new):
        book.adjust(fill)
    return fills


def held(book: Book) -> Position:
    return book.position(ACCOUNT, MARKET.fqme)


async def bases(book: Book) -> list[int]:
    """How much is inside of each base on disk."""
    await book.journal.append().wait()
    return [base.number for base in await book.journal.read(Reader.bases)]


async def test_a_restart_gives_the_same_positions_and_writes_a_base_once_that_is_worth_it() -> None:
    async with a_book() as book:
        fills = traded(book)
        before = held(book)
    async with a_book() as book:
        assert held(book) == before
        assert await bases(book) == [len(fills)]
        ledger = book.ledger(ACCOUNT, MARKET.fqme)
        assert ledger
        assert len(ledger.entries()) == 1
    async with a_book() as book:
        assert held(book) == before
        assert await bases(book) == [len(fills)]


async def test_a_base_is_built_upon_the_one_before() -> None:
    async with a_book() as book:
        fills = traded(book)
    async with a_book() as book:
        traded(book, first_ns=30 * DAY_NS)
        before = held(book)
    async with a_book() as book:
        assert held(book) == before
        assert await bases(book) == [2 * len(fills) + 1]


async def test_few_entries_or_young_ones_need_no_base() -> None:
    async with a_book() as book:
        traded(book, count=BASE_ENTRIES)
        for at in range(BASE_ENTRIES + 9):
            book.adjust(a_fill(f"y{at}", "", time_ns=SETTLED_NS + 2 * DAY_NS))
    async with a_book() as book:
        assert await bases(book) == [0]


@pytest.mark.parametrize(
    "changed",
    [
        {"exec_id": "late", "time_ns": 5, "price": Decimal(100)},
        {"exec_id": "0.3", "revision": 1, "size": Decimal(0), "time_ns": 3 * 10**9},
        {"exec_id": "0.3", "revision": 1, "size": Decimal(0), "time_ns": 30 * DAY_NS},
        {"exec_id": "0.3", "time_ns": 3 * 10**9, "price": Decimal(4)},
    ],
    ids=["late", "corrected", "corrected long after", "repeated"],
)
async def test_what_is_older_than_a_base_counts_where_it_belongs_also_after_a_restart(
    changed: dict[str, Any],
) -> None:
    async with a_book() as book:
        traded(book)
    async with a_book() as book:
        execution = a_fill(**{"oid": "", **changed})
        async with trio.open_nursery() as nursery:  # the event and a look tell it at once
            nursery.start_soon(book.reopen_base, execution)
            nursery.start_soon(book.reopen_base, execution)
        book.adjust(execution)
        after = held(book)
        await book.journal.append().wait()
        lines = await book.journal.read(Reader.ledger_lines)
        assert after == summed(line.execution for line in lines if line.execution)
    async with a_book() as book:
        assert held(book) == after


def summed(executions: Any) -> Position:
    """By hand, from nothing."""
    ledger = MarketLedger(
        Position(account=ACCOUNT, market=MARKET.fqme, currency="USD", multiplier=Decimal(1))
    )
    for execution in executions:
        ledger.add(execution)
    return ledger.position()


async def test_what_is_entered_while_a_base_is_reopened_is_not_lost(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with a_book() as book:
        traded(book)
    async with a_book() as book:
        size = held(book).size
        with monkeypatch.context() as slow:
            slow.setattr(journal_module.Journal, "_attempt", nothing_is_written)
            book.adjust(a_fill("tail", "", time_ns=40 * DAY_NS))
            late = a_fill("late", "", time_ns=5)
            await book.reopen_base(late)
            book.adjust(late)
            assert held(book).size == size + 2


async def nothing_is_written(journal: journal_module.Journal) -> None:
    await trio.sleep_forever()


async def test_an_adjustment_counts_once() -> None:
    opening = Adjustment(
        adjustment_id="opening",
        account=ACCOUNT,
        market=MARKET.fqme,
        kind="opening",
        size=Decimal(4),
        time_ns=1,
    )
    async with a_book() as book:
        book.know(MARKET)
        book.adjust(opening)
        book.adjust(opening)
        assert held(book).size == 4
    async with a_book() as book:
        assert held(book).size == 4
        assert book.newest_entry_ns(ACCOUNT) == 1
        assert book.accounts() == [ACCOUNT]


async def test_an_id_that_another_market_has_already_counts_neither_here_nor_on_disk() -> None:
    async with a_publishing_book() as book:
        book.know(OTHER)
        admit(book)
        book.adjust(a_fill("e1", "", market=OTHER.fqme))
        book.record("1", Filled(execution=a_fill("e1")), Filled(execution=a_fill("e2")))
        await published(book)
        await wait_all_tasks_blocked(0.1)
        assert held(book).size == 1
        assert book.lives["1"].filled == 2
    async with a_book() as book:
        assert held(book).size == 1


async def test_an_id_that_a_base_has_inside_counts_neither_here_nor_on_disk() -> None:
    async with a_book() as book:
        traded(book)
    async with a_publishing_book() as book:
        size = held(book).size
        book.adjust(a_fill("0.3", "", time_ns=40 * DAY_NS))
        assert held(book).size == size + 1
        await book.journal.append().wait()
        await wait_all_tasks_blocked(0.1)
        assert held(book).size == size
    async with a_book() as book:
        assert held(book).size == size


async def test_a_market_and_notes_are_remembered() -> None:
    async with a_book() as book:
        book.know(MARKET)
        book.know(MARKET)
        book.note("key", "value")
    async with a_book() as book:
        assert book.markets == {MARKET.fqme: MARKET}
        assert book.noted("key") == "value"


async def test_a_restart_gives_the_same_lives() -> None:
    events: list[OrderEvent] = [Acked(venue_id="v1"), Filled(execution=a_fill()), CancelAsked()]
    async with a_book() as book:
        admit(book)
        close(book, "2")
        book.record("1", *events)
        lives, seqs, size = dict(book.lives), dict(book.seqs), held(book).size
    async with a_book() as book:
        assert book.lives == book.published == lives
        assert book.seqs == seqs
        assert held(book).size == size
        assert [life.order.oid for life in book.unclosed()] == ["1"]
        assert book.working(ACCOUNT, MARKET.fqme, "buy") == 2
