"""piker.Store: what is kept, what is missing, tables, imports, audits; on a real disk."""

import os
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import trio
from msgspec import structs
from trio.testing import wait_all_tasks_blocked

from piker.archive import Archive, open_archive
from piker.barmemory import Lent, columns_in
from piker.core.bars import DERIVED, NS, PARTIAL
from piker.core.rows import Columns
from piker.coverage import Unavailable
from piker.errors import Refused
from piker.interfaces.data import AmbiguousMarket, NoSuchPeriod, NothingKept
from piker.interfaces.introspection import InvalidParameter
from piker.interfaces.store import (
    STORE,
    Audit,
    AuditReply,
    BadRows,
    Conflict,
    Gaps,
    GapsReply,
    ImportBars,
    ImportBarsReply,
    ImportRows,
    ImportRowsReply,
    KeptTicks,
    NoSuchImport,
    NothingOf,
    OthersMay,
    Series,
    SeriesReply,
    Table,
    TableReply,
    TooManyImports,
    WouldReplace,
)
from piker.markets import Market, Session
from piker.paths import Manager
from piker.sharedbars import BarReader
from piker.store.answers import Live
from piker.store.notes import Notes
from piker.store.places import Series as Place
from piker.store.tickfiles import TickFiles
from piker.storekeeping import MOST_IMPORTS, Storekeeping, others_may
from piker.varlink import Client, Server
from tests.fakes.switchboard import Switchboard, a_switchboard
from tests.fakes.venue import EURUSD, MARKETS
from tests.store.bars import JUNE, MINUTE, NOW, bars, minutes, stretch
from tests.store.ticks import DAY, MARKET, NOON_NS, said
from tests.store.ticks import columns as tick_columns

MINUTES = Place(EURUSD.fqme, 60)
SOURCE = "theirs.csv"


class Kept:
    """A store in the test's hands, and who asks of it."""

    def __init__(self, archive: Archive) -> None:
        self.archive = archive
        self.live: Live | None = None
        self.ticks = TickFiles(archive.files.directory)
        keeping = Storekeeping(
            "fake", archive, self.ticks, self._describe, lambda fqme, period_s: self.live
        )
        self.server = Server("datad@fake", {STORE: keeping})
        self.board: Switchboard | None = None

    async def _describe(self, name: str) -> Market:
        return next(each for each in MARKETS if each.fqme == name)

    def client(self) -> Client:
        assert self.board
        return self.board.client(STORE)

    async def put(
        self, rows: np.ndarray, *covered: tuple[int, int], place: Place = MINUTES
    ) -> None:
        """As the provider's."""
        put = await self.archive.put(
            place, rows, covered, how="backfilled", source="fake", now_ns=NOW
        )
        assert put is not None
        assert not put.refused

    async def series(self, market: str | None = None) -> SeriesReply:
        return await self.client().call(Series(market=market), SeriesReply)

    async def gaps(self, *span: int) -> GapsReply:
        from_ns, to_ns = span or (None, None)
        call = Gaps(market="eurusd", period_s=60, from_ns=from_ns, to_ns=to_ns)
        return await self.client().call(call, GapsReply)

    async def table(self, call: Table) -> tuple[TableReply, BarReader]:
        async with aclosing(self.client().replies(call, TableReply)) as replies:
            async for reply, fds in replies:
                return reply, BarReader(fds[reply.fd])
        raise AssertionError("expected a reply")

    async def times(self, call: Table) -> list[int]:
        """In minutes of June."""
        _, reader = await self.table(call)
        numbers: list[int] = ((reader.view()["time_ns"] - JUNE) // MINUTE).tolist()
        return numbers


@pytest.fixture
async def kept(tmp_path: Path) -> AsyncIterator[Kept]:
    async with open_archive(tmp_path, "fake") as archive:
        store = Kept(archive)
        with trio.fail_after(30):
            async with a_switchboard(store.server) as board:
                store.board = board
                yield store


def table(period_s: int = 60, first: int | None = None, end: int | None = None) -> Table:
    """Of minutes of June."""
    from_ns = None if first is None else JUNE + first * MINUTE
    to_ns = None if end is None else JUNE + end * MINUTE
    return Table(market="eurusd", period_s=period_s, from_ns=from_ns, to_ns=to_ns)


# --- what there is


async def test_an_empty_store_lists_nothing(kept: Kept) -> None:
    assert await kept.series() == SeriesReply(series=(), problem="")


async def test_a_series_is_listed_with_its_span_its_rows_and_its_gaps(kept: Kept) -> None:
    await kept.put(minutes(0, 1, 5), stretch(0, 3), stretch(5, 6), stretch(9, 10))
    (found,) = (await kept.series("eurusd")).series
    assert (found.market, found.period_s, found.rows, found.gaps) == (EURUSD.fqme, 60, 3, 2)
    assert (found.from_ns, found.to_ns) == stretch(0, 10)
    place = kept.archive.files.place(MINUTES)
    assert found.size_bytes == sum(each.stat().st_size for each in place.glob("*.parquet"))


def recorded(kept: Kept) -> Path:
    """Ticks of a market of which there are no bars; their segment."""
    ticks = tick_columns(0, 1)
    market = structs.replace(MARKET, fqme="brk.nyse.fake")
    path = kept.ticks.write(DAY, ticks, structs.replace(said(0, 1), market=market))
    kept.ticks.unlock()
    return path


async def test_ticks_that_are_recorded_are_listed_with_their_span_and_their_number(
    kept: Kept,
) -> None:
    path = recorded(kept)
    ticks = KeptTicks(
        market="brk.nyse.fake",
        from_ns=NOON_NS,
        to_ns=NOON_NS + 2,
        ticks=6,
        size_bytes=path.stat().st_size,
    )
    assert await kept.series() == SeriesReply(series=(), ticks=(ticks,))
    assert (await kept.series("brk")).ticks == (ticks,)
    await kept.put(minutes(0), stretch(0, 1))
    assert (await kept.series("eurusd")).ticks == ()


async def test_a_name_that_nothing_is_kept_of_is_refused(kept: Kept) -> None:
    await kept.put(minutes(0), stretch(0, 1))
    with pytest.raises(Refused) as refused:
        await kept.client().call(Gaps(market="gbp", period_s=60), GapsReply)
    assert refused.value.fault == NothingOf(market="gbp")


async def test_a_name_of_several_is_ambiguous(kept: Kept) -> None:
    for fqme in ("eurusd.a.fake", "eurusd.b.fake"):
        await kept.put(minutes(0), stretch(0, 1), place=Place(fqme, 60))
    with pytest.raises(Refused) as refused:
        await kept.gaps()
    assert isinstance(refused.value.fault, AmbiguousMarket)


# --- what is missing


async def test_gaps_are_told_apart_from_what_is_not_to_be_had_and_from_closures(
    kept: Kept,
) -> None:
    await kept.put(minutes(0), stretch(0, 2), stretch(8, 10))
    from_ns, to_ns = stretch(4, 5)
    never = Unavailable(from_ns=from_ns, to_ns=to_ns, reason="too old", asked_ns=JUNE)
    sessions = tuple(Session(open_ns=a, close_ns=b) for a, b in (stretch(0, 6), stretch(7, 10)))
    market = structs.replace(EURUSD, sessions=sessions)
    await kept.archive.change(MINUTES, lambda _: Notes(unavailable=(never,), market=market))
    told = await kept.gaps()
    assert [(each.from_ns, each.to_ns) for each in told.gaps] == [
        stretch(2, 4),
        stretch(5, 6),
        stretch(7, 8),
    ]
    assert told.unavailable == (never,)
    assert [(each.from_ns, each.to_ns) for each in told.closures] == [stretch(6, 7)]
    assert told.sessions_known


async def test_gaps_are_told_of_the_stretch_that_is_asked_for(kept: Kept) -> None:
    await kept.put(minutes(0), stretch(0, 2), stretch(8, 10))
    told = await kept.gaps(*stretch(1, 20))
    assert [(each.from_ns, each.to_ns) for each in told.covered] == [stretch(1, 2), stretch(8, 10)]
    assert [(each.from_ns, each.to_ns) for each in told.gaps] == [stretch(2, 8), stretch(10, 20)]


async def test_what_shared_memory_covers_is_no_gap(kept: Kept) -> None:
    await kept.put(minutes(0), stretch(0, 2), stretch(8, 10))
    kept.live = Live(minutes(2), [stretch(2, 8)])
    told = await kept.gaps()
    assert told.gaps == ()
    assert [each.how for each in told.covered] == ["backfilled", "live", "empty"]


# --- tables


async def test_a_table_has_all_rows_and_what_they_cover_and_cannot_be_written(kept: Kept) -> None:
    await kept.put(minutes(0, 1, 5), stretch(0, 6))
    reply, reader = await kept.table(table())
    assert reader.view().tolist() == minutes(0, 1, 5).tolist()
    assert (reply.rows, reply.cut, reader.coverage()) == (3, False, [stretch(0, 6)])
    with pytest.raises(ValueError, match="read-only"):
        reader.view()["open"] = 0


async def test_a_table_has_the_rows_that_begin_in_the_stretch(kept: Kept) -> None:
    await kept.put(minutes(*range(10)), stretch(0, 10))
    assert await kept.times(table(first=3, end=6)) == [3, 4, 5]
    assert await kept.times(table(first=20)) == []


async def test_a_longer_period_is_made_of_all_its_rows_and_marked_where_some_are_missing(
    kept: Kept,
) -> None:
    await kept.put(minutes(*range(12)), stretch(0, 12))
    _, reader = await kept.table(table(300, first=5, end=15))
    rows = reader.view()
    assert ((rows["time_ns"] - JUNE) // MINUTE).tolist() == [5, 10]
    assert rows["volume"].tolist() == [50.0, 20.0]
    assert (rows["flags"] & PARTIAL).tolist() == [0, PARTIAL]


async def test_a_row_of_which_a_part_is_missing_is_marked_wherever_the_table_is_cut(
    kept: Kept,
) -> None:
    await kept.put(minutes(0, 1, 2), (JUNE + MINUTE // 2, JUNE + 3 * MINUTE))
    for call in (table(), structs.replace(table(), to_ns=JUNE + 2 * MINUTE + 1)):
        _, reader = await kept.table(call)
        assert reader.view()["flags"].tolist() == [PARTIAL, 0, 0]
        assert reader.coverage()[0][0] == JUNE + MINUTE


async def test_rows_of_shared_memory_that_are_not_on_disk_yet_are_in_a_table(kept: Kept) -> None:
    await kept.put(minutes(0, 1), stretch(0, 2))
    kept.live = Live(minutes(1, 2, 3, price=9.0), [stretch(1, 4)])
    _, reader = await kept.table(table())
    assert reader.view()["open"].tolist() == [1.5, 1.5, 9.0, 9.0]
    assert reader.coverage() == [stretch(0, 4)]


async def test_a_table_that_is_too_long_is_cut_and_goes_on(kept: Kept) -> None:
    days = 40 * 1440 * 60
    rows = bars([JUNE, JUNE + days * NS])
    await kept.put(rows, place=Place(EURUSD.fqme, 1))
    reply, reader = await kept.table(table(1))
    assert (reply.cut, reader.view()["time_ns"].tolist()) == (True, [JUNE])
    _, reader = await kept.table(structs.replace(table(1), from_ns=reply.to_ns))
    assert reader.view()["time_ns"].tolist() == [JUNE + days * NS]


async def test_a_period_of_which_nothing_can_be_made_is_refused(kept: Kept) -> None:
    await kept.put(minutes(0), stretch(0, 1))
    with pytest.raises(Refused) as refused:
        await kept.table(table(90))
    assert refused.value.fault == NoSuchPeriod(period_s=90, periods=(60,))


# --- imports


class Giver:
    """Hands rows in."""

    def __init__(self, kept: Kept, reply: ImportBarsReply, fd: int) -> None:
        self.kept, self.reply = kept, reply
        self.memory = columns_in(fd, reply.capacity)
        os.close(fd)

    def put(self, rows: np.ndarray) -> None:
        self.memory.part(slice(len(rows))).put(Columns.of(rows))

    async def give(self, rows: np.ndarray, **more: Any) -> ImportRowsReply:
        self.put(rows)
        call = ImportRows(ticket=self.reply.ticket, rows=len(rows), **more)
        return await self.kept.client().call(call, ImportRowsReply)


@asynccontextmanager
async def giving(kept: Kept, *, replace: bool) -> AsyncIterator[Giver]:
    call = ImportBars(market=EURUSD.fqme, period_s=60, source=SOURCE, replace=replace)
    async with aclosing(kept.client().replies(call, ImportBarsReply)) as replies:
        reply, fds = await anext(replies)
        made = Giver(kept, reply, fds[reply.fd])
        yield made
        del made.memory


@pytest.fixture
async def giver(kept: Kept) -> AsyncIterator[Giver]:
    async with giving(kept, replace=False) as made:
        yield made


async def test_rows_that_are_handed_in_are_kept_as_imported_each_with_its_period(
    kept: Kept, giver: Giver
) -> None:
    told = await giver.give(minutes(0, 1, 5))
    assert (told.added, told.changed, told.kept, told.conflicts) == (3, 0, 0, 0)
    assert [
        (each.from_ns, each.to_ns, each.how)
        for each in await kept.archive.coverage(MINUTES, *stretch(0, 10))
    ] == [(*stretch(0, 2), "imported"), (*stretch(5, 6), "imported")]
    assert (await kept.archive.notes(MINUTES)).market == EURUSD


async def test_a_stretch_that_is_complete_is_covered_whole(kept: Kept, giver: Giver) -> None:
    from_ns, to_ns = stretch(0, 8)
    await giver.give(minutes(0, 5), covered_from_ns=from_ns, covered_to_ns=to_ns)
    (span,) = await kept.archive.coverage(MINUTES, *stretch(0, 10))
    assert (span.from_ns, span.to_ns) == stretch(0, 8)


async def test_what_is_known_better_stays_and_the_conflict_is_told(
    kept: Kept, giver: Giver
) -> None:
    await kept.put(minutes(0), stretch(0, 1))
    await giver.give(minutes(1))
    async with giving(kept, replace=True) as other:
        told = await other.give(minutes(0, 1, price=9.0))
    assert (told.added, told.changed, told.kept, told.conflicts) == (0, 1, 1, 2)
    was, said = (1.5, 2.0, 1.0, 1.75), (9.0, 9.5, 8.5, 9.25)
    assert told.shown == (
        Conflict(time_ns=JUNE, known=was, told=said, replaced=False),
        Conflict(time_ns=JUNE + MINUTE, known=was, told=said, replaced=True),
    )


async def test_other_values_of_an_earlier_import_are_refused_and_nothing_is_kept(
    kept: Kept, giver: Giver
) -> None:
    await kept.put(minutes(0), stretch(0, 1))
    await giver.give(minutes(1, 2, 3))
    rows = minutes(0, 1, 2, 3, 4)
    rows["open"][0], rows["volume"][2:4] = 1.25, 11.0
    with pytest.raises(Refused) as refused:
        await giver.give(rows)
    was = (1.5, 2.0, 1.0, 1.75, 10.0, 2.0)
    assert refused.value.fault == WouldReplace(
        rows=2, time_ns=JUNE + 2 * MINUTE, known=was, told=(*was[:4], 11.0, 2.0)
    )
    assert (await kept.archive.read(MINUTES, *stretch(0, 9))).tolist() == minutes(
        0, 1, 2, 3
    ).tolist()


async def test_the_same_values_may_be_imported_again(kept: Kept, giver: Giver) -> None:
    await giver.give(minutes(1, 2))
    told = await giver.give(minutes(1, 2, 3))
    assert (told.added, told.changed, told.kept, told.conflicts) == (1, 0, 2, 0)


async def test_what_was_seen_in_part_gives_way_to_an_import(kept: Kept, giver: Giver) -> None:
    await kept.put(minutes(0))
    told = await giver.give(minutes(0, price=9.0))
    assert (told.added, told.changed, told.conflicts) == (0, 1, 1)


async def test_to_check_keeps_nothing(kept: Kept, giver: Giver) -> None:
    giver.put(minutes(0, 1))
    call = ImportRows(ticket=giver.reply.ticket, rows=2, check=True)
    assert await kept.client().call(call, ImportRowsReply) == ImportRowsReply(
        added=0, changed=0, kept=0, conflicts=0
    )
    assert await kept.archive.series() == []


BAD = {
    "high": (0.0, "high 0 is below low 1"),
    "close": (float("nan"), "close: expected a number, was nan"),
    "time_ns": (JUNE, "time 2026-06-01T00:00:00Z is there twice"),
    "volume": (-1.0, "volume: expected 0 or more, was -1"),
}


@pytest.mark.parametrize("name", BAD)
async def test_a_row_that_cannot_be_true_is_refused_whoever_hands_it_in(
    kept: Kept, giver: Giver, name: str
) -> None:
    value, why = BAD[name]
    rows = minutes(0, 1)
    rows[name][1] = value
    with pytest.raises(Refused) as refused:
        await giver.give(rows)
    assert refused.value.fault == BadRows(row=1, reason=why)
    assert await kept.archive.series() == []


async def test_no_row_that_passes_is_refused_by_the_store(kept: Kept, giver: Giver) -> None:
    rows = minutes(0, 1)
    rows["flags"] = DERIVED
    with pytest.raises(Refused) as refused:
        await giver.give(rows)
    assert "derived, but with volume" in str(refused.value)


@pytest.mark.parametrize(
    ("rows", "more"),
    [
        (0, {}),
        (2**21, {}),
        (2, {"covered_from_ns": JUNE + 1, "covered_to_ns": JUNE + 2 * MINUTE}),
        (2, {"covered_from_ns": JUNE, "covered_to_ns": JUNE + 1}),
        (2, {"covered_from_ns": JUNE, "covered_to_ns": 2**62}),
    ],
)
async def test_a_call_without_sense_is_refused(
    kept: Kept, giver: Giver, rows: int, more: dict[str, Any]
) -> None:
    giver.put(minutes(0, 1))
    call = ImportRows(ticket=giver.reply.ticket, rows=rows, **more)
    with pytest.raises(Refused) as refused:
        await kept.client().call(call, ImportRowsReply)
    assert isinstance(refused.value.fault, InvalidParameter)


async def test_an_import_is_over_when_its_stream_is(kept: Kept) -> None:
    call = ImportBars(market=EURUSD.fqme, period_s=60, source=SOURCE)
    client = kept.client()
    async with aclosing(client.replies(call, ImportBarsReply)) as replies:
        reply, fds = await anext(replies)
    os.close(fds[reply.fd])
    await wait_all_tasks_blocked()
    with pytest.raises(Refused) as refused:
        await kept.client().call(ImportRows(ticket=reply.ticket, rows=1), ImportRowsReply)
    assert refused.value.fault == NoSuchImport(ticket=reply.ticket)


async def test_so_many_imports_go_on_at_once_and_no_more(kept: Kept) -> None:
    call = ImportBars(market=EURUSD.fqme, period_s=60, source=SOURCE)
    async with AsyncExitStack() as stack:
        for _ in range(MOST_IMPORTS):
            replies = kept.client().replies(call, ImportBarsReply)
            await stack.enter_async_context(aclosing(replies))
            reply, fds = await anext(replies)
            os.close(fds[reply.fd])
        with pytest.raises(Refused) as refused:
            await anext(kept.client().replies(call, ImportBarsReply))
    assert refused.value.fault == TooManyImports(allowed=MOST_IMPORTS)


@pytest.mark.parametrize(
    ("market", "period_s", "source"),
    [
        ("eurusd.spot.fake", 0, SOURCE),
        ("eurusd.spot.fake", 10**8, SOURCE),
        ("eurusd.spot.fake", 60, ""),
        ("eurusd.spot.fake", 60, "a\nb"),
        ("eurusd.spot.fake", 60, "x" * 201),
    ],
)
async def test_an_import_without_sense_is_refused(
    kept: Kept, market: str, period_s: int, source: str
) -> None:
    call = ImportBars(market=market, period_s=period_s, source=source)
    with pytest.raises(Refused) as refused:
        await anext(kept.client().replies(call, ImportBarsReply))
    assert isinstance(refused.value.fault, InvalidParameter)


def test_memory_that_was_lent_keeps_its_size() -> None:
    lent = Lent("test", 10)
    with pytest.raises(PermissionError):
        os.ftruncate(lent.fd, 0)
    assert len(lent.columns(10)) == 10
    lent.close()


# --- where nothing is kept


async def test_where_nothing_can_be_read_that_is_said(kept: Kept) -> None:
    kept.archive.unreadable = "piker-history isn't installed"
    for call, reply in (
        (Series(), SeriesReply),
        (Gaps(market="a", period_s=60), GapsReply),
    ):
        with pytest.raises(Refused) as refused:
            await kept.client().call(call, reply)
        assert refused.value.fault == NothingKept(reason="piker-history isn't installed")


async def test_a_store_that_another_writes_can_be_read_and_takes_nothing(tmp_path: Path) -> None:
    async with open_archive(tmp_path, "fake") as first, open_archive(tmp_path, "fake") as second:
        await Kept(first).put(minutes(0), stretch(0, 1))
        store = Kept(second)
        async with a_switchboard(store.server) as board:
            store.board = board
            assert "another process has" in (told := await store.series()).problem
            assert len(told.series) == 1
            call = ImportBars(market=EURUSD.fqme, period_s=60, source=SOURCE)
            with pytest.raises(Refused) as refused:
                await anext(store.client().replies(call, ImportBarsReply))
            assert isinstance(refused.value.fault, NothingKept)


# --- who may

NOBODY = 65534
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can be another user")


@as_root
@pytest.mark.parametrize(
    ("call", "reply"),
    [
        (ImportBars(market=EURUSD.fqme, period_s=60, source=SOURCE), ImportBarsReply),
        (Audit(repair=True), AuditReply),
    ],
    ids=repr,
)
async def test_who_may_only_watch_changes_nothing_that_is_kept_and_is_told_who_may(
    kept: Kept, call: ImportBars | Audit, reply: type[ImportBarsReply] | type[AuditReply]
) -> None:
    assert kept.board
    with pytest.raises(Refused) as refused:
        await anext(kept.board.client_of(NOBODY, STORE).replies(call, reply))
    command = "sudo -u root piker history …"
    assert refused.value.fault == OthersMay(allowed=("root",), instead=command)


@as_root
async def test_who_may_only_watch_sees_all_that_is_kept_and_has_it_checked(kept: Kept) -> None:
    await kept.put(minutes(0), stretch(0, 1))
    assert kept.board
    viewer = kept.board.client_of(NOBODY, STORE)
    assert len((await viewer.call(Series(), SeriesReply)).series) == 1
    replies = kept.board.client_of(NOBODY, STORE).replies(Audit(), AuditReply)
    async with aclosing(replies):
        told, _ = await anext(replies)
    assert (told.looked_at, told.of) == (1, 1)


@pytest.mark.parametrize(
    ("owner", "manager", "allowed", "instead"),
    [
        ("alice", "user", ("root", "alice"), "sudo -u alice piker history …"),
        ("piker-datad", "system", ("root", "piker-datad"), "sudo piker --system history …"),
    ],
)
def test_who_is_refused_is_told_a_command_that_works(
    owner: str, manager: Manager, allowed: tuple[str, ...], instead: str
) -> None:
    assert others_may(owner, manager) == OthersMay(allowed=allowed, instead=instead)


# --- audit


async def audited(
    kept: Kept, *, repair: bool = False, market: str | None = None
) -> list[AuditReply]:
    """All that is told."""
    found = []
    call = Audit(repair=repair, market=market)
    async with aclosing(kept.client().replies(call, AuditReply)) as replies:
        async for reply, _ in replies:
            found.append(reply)
            if reply.done:
                break
    return found


async def test_an_audit_tells_what_is_wrong_and_mends_it_when_told_to(kept: Kept) -> None:
    await kept.put(minutes(0), stretch(0, 1))
    (path,) = kept.archive.files.place(MINUTES).glob("*.parquet")
    path.write_bytes(b"PAR1 no more")
    (first, *_, last) = await audited(kept)
    assert [each.path for each in first.findings] == [str(path)]
    assert (last.looked_at, last.of, last.done) == (1, 1, True)
    mended = await audited(kept, repair=True)
    assert all(each.done for reply in mended for each in reply.findings)
    assert [
        each for reply in await audited(kept) for each in reply.findings if not each.harmless
    ] == []


async def test_an_audit_looks_at_recorded_ticks_too(kept: Kept) -> None:
    await kept.put(minutes(0), stretch(0, 1))
    path = recorded(kept)
    path.write_bytes(path.read_bytes()[:-1])
    found = await audited(kept)
    assert [each.path for reply in found for each in reply.findings] == [str(path)]
    assert (found[-1].looked_at, found[-1].of, found[-1].done) == (2, 2, True)
    assert [each.of for each in await audited(kept, market="eurusd")] == [1, 1]
    mended = [
        each for reply in await audited(kept, market="brk", repair=True) for each in reply.findings
    ]
    assert [each.done[:9] for each in mended] == ["set aside"]
    assert not path.exists()
