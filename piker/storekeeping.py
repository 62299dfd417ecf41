"""What datad answers of what it keeps on disk: piker.Store.

An import is a stream with memory that datad lends (piker/barmemory.py), and a command each time
that rows are in it: no descriptor of a client's is ever taken. What comes out of that memory is
copied, then checked, then kept.

Who may connect may read. What is kept is changed only for root and the user that datad runs as: by
the kernel's word where an import or a repair begins, and later by the import's ticket, which nobody
else knows.
"""

import os
import pwd
import secrets
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, Final, ParamSpec, TypeVar

import trio
from msgspec import structs

from piker import clock, paths
from piker.archive import Archive
from piker.barmemory import Lent, sealed
from piker.core.bars import GRACE_NS, LAYOUT, NS
from piker.core.calendars import names
from piker.core.names import resolve
from piker.core.resampling import LONGEST_S
from piker.core.spans import clipped, down, inward
from piker.coverage import Finding
from piker.errors import Refused
from piker.interfaces.data import NoSuchMarket, NoSuchPeriod, NothingKept
from piker.interfaces.introspection import InvalidParameter
from piker.interfaces.store import (
    Audit,
    AuditReply,
    Gaps,
    GapsReply,
    ImportBars,
    ImportBarsReply,
    ImportRows,
    ImportRowsReply,
    NoSuchImport,
    NothingOf,
    OthersMay,
    Series,
    SeriesReply,
    Table,
    TableReply,
    TooManyImports,
)
from piker.keptpast import NewestOf
from piker.markets import Market
from piker.sharedbars import BarReader, SharedBars
from piker.store import answers
from piker.store.answers import Live, Taken
from piker.store.audit import audit
from piker.store.barfiles import BarFiles, Put
from piker.store.places import Series as Place
from piker.store.tickaudit import TickAudit
from piker.store.tickfiles import TickFiles
from piker.varlink import Stream

LENT_ROWS: Final = 1 << 20
"""Rows that an import hands in at once: 64 MB."""
FINDINGS: Final = 100
"""That are told at once: a message has room for them."""
MOST_IMPORTS: Final = 2
"""Each has memory lent; more are refused."""
MAX_SOURCE: Final = 200
"""Characters of what rows are from."""
MAX_NAME, PARTS = 200, 3
"""Characters of a whole name at most, and what it has at least: instrument, venue, provider."""

P = ParamSpec("P")
T = TypeVar("T")
Describe = Callable[[str], Awaitable[Market]]
"""What a market is, as its venue says. Raises Refused."""


class Storekeeping:
    """Answers for one provider's archive and its recorded ticks.

    `newest` is what shared memory has.
    """

    def __init__(
        self,
        provider: str,
        archive: Archive,
        ticks: TickFiles,
        describe: Describe,
        newest: NewestOf,
    ) -> None:
        self._provider = provider
        self._archive = archive
        self._ticks = ticks
        self._describe = describe
        self._newest = newest
        self._imports: dict[str, _Import] = {}

    # --- what there is

    async def series(self, call: Series) -> SeriesReply:
        """piker.Store.Series."""
        self._check_readable()
        all_, recorded = await self._archive.series(), await self._recorded()
        if call.market is not None:
            fqme = resolve(call.market, {*(each.fqme for each in all_), *recorded}, self._provider)
            all_ = [each for each in all_ if each.fqme == fqme]
            recorded = [each for each in recorded if each == fqme]
        kept = [await self._use(partial(answers.kept, place=place)) for place in all_]
        ticks = [await _in_thread(answers.kept_ticks, self._ticks, each) for each in recorded]
        return SeriesReply(series=tuple(kept), ticks=tuple(ticks), problem=self._archive.problem)

    async def gaps(self, call: Gaps) -> GapsReply:
        """piker.Store.Gaps."""
        place = await self._place(call.market, call.period_s)
        _check_stretch(call.from_ns, call.to_ns)
        notes = await self._archive.notes(place)
        market = notes.market or await self._described(place.fqme)
        known = answers.Known(market, notes, self._newest(*place))
        return await self._use(lambda files: answers.gaps_of(files, place, call, known))

    async def table(self, call: Table, stream: Stream) -> None:
        """piker.Store.Table."""
        if not 1 <= call.period_s <= LONGEST_S:
            raise _invalid(f"period_s: expected 1 to {LONGEST_S}, was {call.period_s}")
        _check_stretch(call.from_ns, call.to_ns)
        place = await self._finest(call)
        notes = await self._archive.notes(place)
        market = notes.market or await self._described(place.fqme)
        known, now_ns = answers.Known(market, notes, self._newest(*place)), clock.wall_ns()
        page = await self._use(lambda files: answers.page(files, place, call, known, now_ns))
        fd = await trio.to_thread.run_sync(
            sealed, f"{place.fqme}:{call.period_s}", call.period_s, page.rows, page.covered
        )
        reply = TableReply(
            fd=0,
            market=place.fqme,
            period_s=call.period_s,
            rows=len(page.rows),
            layout=LAYOUT,
            from_ns=page.from_ns,
            to_ns=page.to_ns,
            cut=page.cut,
        )
        try:
            await stream.send(reply, fds=[fd])
        finally:
            os.close(fd)

    async def audit(self, call: Audit, stream: Stream) -> None:
        """piker.Store.Audit."""
        self._check_readable()
        repair = bool(call.repair)
        if repair:
            _check_may_write(stream)
        if repair and not await self._archive.locked():
            raise Refused(NothingKept(reason=self._archive.problem))
        all_, recorded = await self._archive.series(), await self._recorded()
        if call.market is not None:
            known = {*(each.fqme for each in all_), *recorded}
            fqme = self._one_of(known, call.market)
            all_ = [each for each in all_ if each.fqme == fqme]
            recorded = [each for each in recorded if each == fqme]
        told = _Told(stream, len(all_) + len(recorded))
        for place in all_:
            now_ns = clock.wall_ns()
            await told.tell(
                await self._use(partial(_found, now_ns=now_ns, repair=repair, place=place))
            )
            await told.advance()
        for fqme in recorded:
            look = TickAudit(self._ticks, fqme, clock.wall_ns(), repair=repair)
            for path in await _in_thread(look.paths):
                await told.tell(await _in_thread(look.look, path))
            await told.advance()
        await told.end()

    # --- what others have

    async def import_bars(self, call: ImportBars, stream: Stream) -> None:
        """piker.Store.ImportBars."""
        self._check_readable()
        _check_may_write(stream)
        if not 1 <= call.period_s <= LONGEST_S:
            raise _invalid(f"period_s: expected 1 to {LONGEST_S}, was {call.period_s}")
        if not (0 < len(call.source) <= MAX_SOURCE and call.source.isprintable()):
            raise _invalid(f"source: expected 1 to {MAX_SOURCE} characters, was {call.source!r}")
        if call.calendar is not None and call.calendar not in names():
            expected = ", ".join(names())
            raise _invalid(f"calendar: expected one of {expected}, was {call.calendar!r}")
        fqme = await self._whole_name(call.market)
        if not await self._archive.locked():
            raise Refused(NothingKept(reason=self._archive.problem))
        if len(self._imports) >= MOST_IMPORTS:
            raise Refused(TooManyImports(allowed=MOST_IMPORTS))
        calendar, replace = call.calendar, bool(call.replace)
        one = _Import(Place(fqme, call.period_s), call.source, calendar, replace=replace)
        ticket = secrets.token_hex(16)
        self._imports[ticket] = one
        try:
            reply = ImportBarsReply(
                fd=0,
                market=fqme,
                ticket=ticket,
                capacity=LENT_ROWS,
                kept=one.place in await self._archive.series(),
            )
            await stream.send(reply, fds=[one.lent.fd])
            await self._archive.load_files()
            await trio.sleep_forever()
        finally:
            del self._imports[ticket]
            with trio.CancelScope(shield=True):
                await one.close()

    async def import_rows(self, call: ImportRows) -> ImportRowsReply:
        """piker.Store.ImportRows."""
        one = self._imports.get(call.ticket)
        if one is None:
            raise Refused(NoSuchImport(ticket=call.ticket))
        if not 1 <= call.rows <= LENT_ROWS:
            raise _invalid(f"rows: expected 1 to {LENT_ROWS}, was {call.rows}")
        async with one.busy:
            return await self._take(one, call)

    async def _take(self, one: "_Import", call: ImportRows) -> ImportRowsReply:
        now_ns, place = clock.wall_ns(), one.place
        taken = await self._use(
            lambda files: answers.taken(files, place, one.lent.columns(call.rows), call, now_ns)
        )
        if taken.replaces and not one.replace:
            raise Refused(taken.replaces)
        if call.check:
            return _told(Put(0, 0, 0, ()), taken)
        put = await self._archive.put(
            place,
            taken.rows,
            taken.covered,
            how="imported",
            source=one.source,
            now_ns=now_ns,
        )
        if put is None:
            raise Refused(NothingKept(reason=self._archive.problem))
        if not one.noted:
            one.noted = True
            await self._note_sessions(place, one.calendar)
        return _told(put, taken)

    async def _note_sessions(self, place: Place, calendar: str | None) -> None:
        """What the venue says of it now is what its sessions are told by; else the calendar."""
        told: dict[str, Any] = {} if calendar is None else {"calendar": calendar}
        market = await self._described(place.fqme)
        if market is not None and market.fqme == place.fqme:
            told["market"] = market
        if told:
            await self._archive.change(place, lambda notes: structs.replace(notes, **told))

    # --- which market and period is meant

    async def _place(self, name: str, period_s: int) -> Place:
        """A series that is kept. Raises Refused."""
        fqme, periods = await self._market(name)
        if period_s not in periods:
            raise Refused(NothingOf(market=fqme, period_s=period_s))
        return Place(fqme, period_s)

    async def _finest(self, call: Table) -> Place:
        """The longest that is kept of which the period is a multiple: the least to read."""
        fqme, periods = await self._market(call.market)
        found = [each for each in periods if call.period_s % each == 0]
        if not found:
            raise Refused(NoSuchPeriod(period_s=call.period_s, periods=tuple(periods)))
        return Place(fqme, found[-1])

    async def _market(self, name: str) -> tuple[str, list[int]]:
        """A market of which bars are kept, and their periods."""
        self._check_readable()
        all_ = await self._archive.series()
        fqme = self._one_of({each.fqme for each in all_}, name)
        return fqme, [each.period_s for each in all_ if each.fqme == fqme]

    def _one_of(self, known: set[str], name: str) -> str:
        """Which of these is meant. Raises Refused."""
        try:
            return resolve(name, known, self._provider)
        except Refused as no:
            if not isinstance(no.fault, NoSuchMarket):
                raise
            raise Refused(NothingOf(market=name)) from no

    async def _recorded(self) -> list[str]:
        """Markets that ticks are kept of."""
        return await _in_thread(self._ticks.markets)

    async def _whole_name(self, name: str) -> str:
        """One of what is kept, or a whole name of this provider's. Raises Refused."""
        known = {each.fqme for each in await self._archive.series()}
        lower = name.strip().lower()
        if lower in known or is_whole(lower, self._provider):
            return lower
        try:
            return resolve(name, known, self._provider)
        except Refused as no:
            if not isinstance(no.fault, NoSuchMarket):
                raise
        return (await self._describe(name)).fqme

    async def _described(self, fqme: str) -> Market | None:
        """As its venue says now; None: it doesn't."""
        try:
            return await self._describe(fqme)
        except Refused:
            return None

    def _check_readable(self) -> None:
        if self._archive.unreadable:
            raise Refused(NothingKept(reason=self._archive.unreadable))

    async def _use(self, work: Callable[[BarFiles], T]) -> T:
        with _refusing():
            return await self._archive.use(work)
        raise AssertionError("what is refused is raised")


class _Told:
    """What an audit tells, so much at once that a message has room for it."""

    def __init__(self, stream: Stream, of: int) -> None:
        self._stream = stream
        self._of = of
        self._looked_at = 0

    async def tell(self, found: Sequence[Finding]) -> None:
        for at in range(0, len(found), FINDINGS):
            await self._send(tuple(found[at : at + FINDINGS]))

    async def advance(self) -> None:
        """One more was looked at."""
        self._looked_at += 1
        await self._send()

    async def end(self) -> None:
        await self._send(done=True)

    async def _send(self, findings: tuple[Finding, ...] = (), *, done: bool = False) -> None:
        reply = AuditReply(findings=findings, looked_at=self._looked_at, of=self._of, done=done)
        await self._stream.send(reply)


async def _in_thread(work: Callable[P, T], *args: P.args, **more: P.kwargs) -> T:
    """What waits for the disk, beside the archive's thread. Raises Refused."""
    with _refusing():
        return await trio.to_thread.run_sync(partial(work, *args, **more))
    raise AssertionError("what is refused is raised")


@contextmanager
def _refusing() -> Iterator[None]:
    """What the disk says, as Refused."""
    try:
        yield
    except OSError as error:
        reason = f"{error.filename or 'the disk'}: {error.strerror or error}"
        raise Refused(NothingKept(reason=reason)) from error


def _found(files: BarFiles, now_ns: int, repair: bool, place: Place) -> list[Finding]:
    return list(audit(files, now_ns, repair=repair, only=place))


class _Import:
    """One that is under way."""

    def __init__(self, place: Place, source: str, calendar: str | None, *, replace: bool) -> None:
        self.place = place
        self.source = source
        self.calendar = calendar
        self.replace = replace
        self.lent = Lent(f"import:{place.fqme}", LENT_ROWS)
        self.busy = trio.Lock()
        """Held while rows are taken: the memory isn't let go of then."""
        self.noted = False

    async def close(self) -> None:
        async with self.busy:
            self.lent.close()


def newest(bars: SharedBars) -> Live:
    """A copy of the final rows of shared memory, and what of them is covered."""
    reader = BarReader(os.dup(bars.fd))
    rows = reader.view()[: reader.final].copy()
    covered = reader.coverage()
    reader.close()
    period_ns = bars.period_s * NS
    end_ns = int(rows["time_ns"][-1]) + period_ns if len(rows) else 0
    end_ns = max(end_ns, down(max(0, bars.writer.closed_to_ns - GRACE_NS), period_ns))
    whole = (inward(*each, period_ns) for each in clipped(covered, 0, end_ns))
    return Live(rows, [each for each in whole if each])


def is_whole(fqme: str, provider: str) -> bool:
    """Whether it looks like a whole name of this provider's: instrument.venue.provider."""
    parts = fqme.split(".")
    whole = len(parts) >= PARTS and parts[-1] == provider and len(fqme) <= MAX_NAME
    return whole and all(map(_is_part, parts))


def _is_part(text: str) -> bool:
    return text.isprintable() and text.strip() == text != "" and "/" not in text


def _check_may_write(stream: Stream) -> None:
    if stream.connection.peer_uid not in (0, os.geteuid()):
        raise Refused(others_may(_name_of(os.geteuid()), paths.manager()))


def others_may(owner: str, manager: paths.Manager) -> OthersMay:
    """Who may write what this user's datad keeps, and by which command.

    In system mode as root: what is imported is seldom a file that piker-datad may read.
    """
    system = manager == "system"
    command = "sudo piker --system history" if system else f"sudo -u {owner} piker history"
    return OthersMay(allowed=tuple(dict.fromkeys(("root", owner))), instead=f"{command} …")


def _name_of(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:  # nobody has given it a name
        return str(uid)


def _told(put: Put, taken: Taken) -> ImportRowsReply:
    replaced = {each.time_ns for each in put.changes}
    return ImportRowsReply(
        added=put.added,
        changed=put.changed,
        kept=put.kept,
        conflicts=taken.conflicts,
        shown=tuple(structs.replace(e, replaced=e.time_ns in replaced) for e in taken.shown),
    )


def _check_stretch(from_ns: int | None, to_ns: int | None) -> None:
    for name, time_ns in (("from_ns", from_ns), ("to_ns", to_ns)):
        if time_ns is not None and time_ns < 0:
            raise _invalid(f"{name}: expected UTC ns, 0 or more, was {time_ns}")
    if from_ns is not None and to_ns is not None and from_ns >= to_ns:
        raise _invalid(f"from_ns: expected before to_ns, {to_ns}, was {from_ns}")


def _invalid(problem: str) -> Refused:
    return Refused(InvalidParameter(parameter=problem))
