"""Bars on disk, filled back as far as somebody asked, or reads them: one job a market and period.

Task tree, within datad's:

    Backfills.run
    └─ _fill     one job, until it is done, has failed, is paused or changed

What a person asked for is noted beside the bars, so that it goes on where it was after a restart,
whatever ended the process: what is there isn't asked for again. What is only read is filled back
as far as shared memory reaches, for as long as somebody reads it, the latest frame at once and
before anything older. The feed waits for none of it.
"""

import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Literal

import trio
from msgspec import structs

from piker import clock, log
from piker.archive import Archive
from piker.barkeeper import BarKeeper
from piker.brokers import VenueLost
from piker.core import windows
from piker.core.backfilling import LOST_S, Filling, not_to_be_had, unsettled
from piker.core.backoff import Backoff
from piker.core.bars import GRACE_NS, window
from piker.core.calendars import sessions_of
from piker.core.pace import Urgency
from piker.core.paging import Stretch
from piker.core.periods import NS
from piker.core.spans import Pair, clipped, down, up
from piker.coverage import Unavailable
from piker.errors import Refused, local_time, say
from piker.history import Past, ask_one
from piker.interfaces.data import (
    Backfill,
    BackfillReply,
    NoSuchPeriod,
    NothingKept,
    NothingToFill,
    VenueUnavailable,
    Why,
)
from piker.interfaces.introspection import InvalidParameter
from piker.markets import Market
from piker.quotes import Bar
from piker.store.notes import Notes, Wanted
from piker.store.places import Series
from piker.storedpast import StoredClient, allow, refuse

SHOWN = 20
"""Refused stretches in one reply."""

Resolve = Callable[[str], Awaitable[Market]]
State = Literal["running", "waiting", "paused", "done", "failed", "forgotten"]

logger = logging.getLogger(__name__)


class Job:
    """One series that is filled back, and how far it is."""

    def __init__(self, series: Series) -> None:
        self.series = series
        self.asked_from_ns: int | None = None
        """Back to when somebody asked; that is noted on disk until it is over."""
        self.read_from_ns: int | None = None
        """Back to when it is filled for those who read it."""
        self.to_ns = clock.wall_ns()
        self.paused = False
        self.forgotten = False
        self.failure = ""
        """Why it can't be filled at all."""
        self.reason = "it waits for the venue"
        """Why it waits, where there is no filling yet that knows."""
        self.filling: Filling | None = None
        self.unavailable: tuple[Unavailable, ...] = ()
        self.scope = trio.CancelScope()
        self.changed = trio.Event()
        """Set when there is more to tell; then there is another one."""

    @property
    def from_ns(self) -> int:
        """Back to the earlier of what was asked for and what is read."""
        return self._earliest_ns(self.asked_from_ns, self.read_from_ns)

    @property
    def goes_back_to_ns(self) -> int:
        """The same, without what is paused."""
        return self._earliest_ns(None if self.paused else self.asked_from_ns, self.read_from_ns)

    @property
    def ended(self) -> bool:
        """Nothing more comes of what is filled now."""
        return bool(self.failure) or bool(self.filling and self.filling.over)

    @property
    def over(self) -> bool:
        """Nothing more comes of it, until somebody asks anew."""
        return self.forgotten or (self.ended and not self.paused)

    @property
    def unfinished(self) -> bool:
        """Somebody asked for it and it goes on."""
        return self.asked_from_ns is not None and not self.over and not self.paused

    def _earliest_ns(self, *froms: int | None) -> int:
        return min((each for each in froms if each is not None), default=self.to_ns)

    def tell(self) -> None:
        """Whoever follows it looks again."""
        self.changed.set()
        self.changed = trio.Event()

    def reply(self, note: str) -> BackfillReply:
        """How far it is."""
        boot_ns = clock.boot_ns()
        nothing = Filling.empty(self.series.period_s, (self.from_ns, self.to_ns))
        progress = (self.filling or nothing).progress(boot_ns)
        state, reason = self._state(progress.state, progress.reason)
        waits = state == "waiting" and progress.wait_s
        return BackfillReply(
            market=self.series.fqme,
            period_s=self.series.period_s,
            state=state,
            reason=reason,
            until_ns=clock.wall_ns() + round(progress.wait_s * NS) if waits else None,
            from_ns=self.from_ns,
            to_ns=self.to_ns,
            settled_from_ns=progress.settled_from_ns if self.filling else self.to_ns,
            rows=progress.rows,
            frames=progress.frames,
            frames_left=progress.frames_left,
            left_s=progress.left_ns / NS,
            share=progress.share if self.filling else 0.0,
            per_minute=progress.per_minute,
            eta_s=progress.eta_s if self.filling and not self.paused else None,
            unavailable=self.unavailable[-SHOWN:],
            note=note,
        )

    def _state(self, state: State, reason: str) -> tuple[State, str]:
        if self.forgotten:
            return "forgotten", ""
        if self.failure:
            return "failed", self.failure
        if self.paused:
            return "paused", ""
        return (state, reason) if self.filling else ("waiting", self.reason)


class Backfills:
    """The jobs of one datad. Without a readable archive there are none."""

    def __init__(
        self,
        past: Past,
        archive: Archive | None,
        bars: BarKeeper,
        resolve: Resolve,
        days: Mapping[int, int] = windows.DAYS,
    ) -> None:
        self._past = past
        self._archive = archive if archive and not archive.unreadable else None
        self._unreadable = archive.unreadable if archive else "this datad has no store"
        self._bars = bars
        self._resolve = resolve
        self._days = days
        self._jobs: dict[Series, Job] = {}
        self._nursery: trio.Nursery | None = None
        self._resumed = trio.Event()

    @property
    def unfinished(self) -> list[Job]:
        """Those that somebody asked for and that go on."""
        return [job for job in self._jobs.values() if job.unfinished]

    @property
    def note(self) -> str:
        """Why nothing is kept; or nothing."""
        return self._archive.problem if self._archive else self._unreadable

    async def run(self) -> None:
        """Fill what is noted, asked for and read, until cancelled."""
        async with trio.open_nursery() as self._nursery:
            for job in list(self._jobs.values()):
                self._start(job)
            if self._archive and self._past.there:
                await self._resume(self._archive)
            self._resumed.set()
            await trio.sleep_forever()

    async def ask(self, call: Backfill, market: Market) -> Job:
        """The job that a call is about, as the call has it be from now on.

        Raises Refused(NothingKept | NothingToFill | NoSuchPeriod | InvalidParameter).
        """
        if not self._archive or not await self._archive.locked():
            raise Refused(NothingKept(reason=self.note))
        if call.from_ns is not None and not 0 <= call.from_ns < clock.wall_ns():
            problem = f"from_ns: expected UTC ns from 0 to now, was {call.from_ns}"
            raise Refused(InvalidParameter(parameter=problem))
        await self._resumed.wait()
        await self._check_period(call.period_s, market)
        series = Series(market.fqme, call.period_s)
        job = self._jobs.get(series)
        if call.from_ns is None and (not job or job.asked_from_ns is None):
            raise Refused(NothingToFill(market=market.fqme, period_s=call.period_s))
        job = self._job(series)
        await self._change(self._archive, job, call, market)
        return job

    def opened(self, fqme: str, period_s: int) -> None:
        """Somebody reads these bars: if nobody did before, fill them as far as they reach."""
        if not self._archive or not self._past.there or period_s not in self._days:
            return
        job = self._job(Series(fqme, period_s))
        if job.read_from_ns is None:
            job.read_from_ns = max(0, clock.wall_ns() - self._days[period_s] * windows.DAY_S * NS)
            self._start(job)

    def look(self) -> None:
        """Whether what was read still is. To be called every second."""
        read = self._bars.read()
        for series, job in list(self._jobs.items()):
            if job.read_from_ns is not None and tuple(series) not in read:
                job.read_from_ns = None
                if job.asked_from_ns is None:
                    self._drop(job)

    # --- how a job begins, changes and ends

    def _job(self, series: Series) -> Job:
        return self._jobs.setdefault(series, Job(series))

    async def _resume(self, archive: Archive) -> None:
        for series in await archive.series():
            wanted = (await archive.notes(series)).wanted
            if wanted:
                job = self._job(series)
                job.asked_from_ns, job.paused = wanted.from_ns, wanted.paused
                self._start(job)

    async def _check_period(self, period_s: int, market: Market) -> None:
        try:
            async with self._past.opened(market, Urgency.PERSON) as client:
                periods = tuple(client.frames)
        except VenueLost:
            return  # the job waits for it, and says so
        if period_s not in periods:
            raise Refused(NoSuchPeriod(period_s=period_s, periods=periods))

    async def _change(self, archive: Archive, job: Job, call: Backfill, market: Market) -> None:
        """Note what is wanted, then have it so."""
        if call.again:
            await allow(archive, job.series, [(call.from_ns or job.from_ns, clock.wall_ns())])
        if call.order == "forget":
            await self._note(archive, job, None, market)
            self._forget(job)
            return
        before_ns = None if job.over and not call.again else job.asked_from_ns
        wanted_ns = min((each for each in (call.from_ns, before_ns) if each), default=None)
        if wanted_ns is None:
            return  # it is over, and nothing new was asked for
        goes_on = call.order == "resume" or call.from_ns is not None
        paused = call.order == "pause" or (job.paused and not goes_on)
        await self._note(archive, job, Wanted(from_ns=wanted_ns, paused=paused), market)
        if call.again or job.over or (wanted_ns, paused) != (job.asked_from_ns, job.paused):
            job.asked_from_ns, job.paused = wanted_ns, paused
            self._start(job)

    def _forget(self, job: Job) -> None:
        """Nobody asks for it any more; who reads it still has it filled."""
        self._drop(job)
        if job.read_from_ns is not None:
            self.opened(*job.series)

    async def _note(
        self, archive: Archive, job: Job, wanted: Wanted | None, market: Market | None
    ) -> None:
        def change(notes: Notes) -> Notes:
            return structs.replace(notes, wanted=wanted, market=market or notes.market)

        await archive.change(job.series, change)

    def _drop(self, job: Job) -> None:
        job.scope.cancel()
        job.forgotten = True
        job.tell()
        del self._jobs[job.series]

    def _start(self, job: Job) -> None:
        """From where it is now; what was under way isn't waited for."""
        job.scope.cancel()
        job.scope = trio.CancelScope()
        job.failure, job.forgotten = "", False
        waits = job.paused and job.read_from_ns is None
        if not waits:
            job.to_ns, job.filling = clock.wall_ns(), None
        job.tell()
        if self._nursery and not waits:
            self._nursery.start_soon(self._fill, job, job.scope)

    # --- one job

    async def _fill(self, job: Job, scope: trio.CancelScope) -> None:
        assert self._archive, "expected a job only where there is an archive"
        with scope:
            backoff = Backoff(*LOST_S)
            while not await self._has_ended(self._archive, job):
                job.tell()
                await trio.sleep(backoff.pause())
            await self._finish(self._archive, job)

    async def _has_ended(self, archive: Archive, job: Job) -> bool:
        """Fill it as far as the venue is there; whether nothing more comes of it."""
        try:
            market = await self._resolve(job.series.fqme)
            async with self._past.opened(market, Urgency.OLDER) as client:
                await self._fill_back(archive, job, market, client)
        except VenueLost as lost:
            job.reason = str(lost)
        except Refused as no:
            if not isinstance(no.fault, VenueUnavailable):
                job.failure = say(no.fault)
            job.reason = say(no.fault)
        return job.ended

    async def _fill_back(
        self, archive: Archive, job: Job, market: Market, client: StoredClient
    ) -> None:
        series = job.series
        if series.period_s not in client.frames:
            job.failure = f"the provider has no bars of {series.period_s} s"
            return
        filling = job.filling = await self._filling(archive, job, market, client)
        while not filling.over:
            job.tell()
            asked = filling.next(clock.boot_ns())
            if asked is None:
                await trio.sleep((filling.not_before_boot_ns - clock.boot_ns()) / NS)
                continue
            latest = job.read_from_ns is not None and not filling.frames
            client.urgency = Urgency.LATEST if latest else Urgency.OLDER
            asker = _Asker(self._bars, job, filling, client, asked)
            if job.asked_from_ns is not None and not await archive.locked():
                asker.fail("lost", archive.problem)  # nobody is asked for what can't be kept
                continue
            await ask_one(client, series.period_s, asked, asker)
            if asker.never:
                await refuse(archive, market, series, asker.never, asker.reason)
                job.unavailable = (await archive.notes(series)).unavailable

    async def _filling(
        self, archive: Archive, job: Job, market: Market, client: StoredClient
    ) -> Filling:
        """What is lacking, by what is on disk now."""
        period_s = job.series.period_s
        to_ns = down(job.to_ns - GRACE_NS, period_s * NS)
        wanted = (up(min(job.goes_back_to_ns, to_ns), period_s * NS), to_ns)
        spans = await archive.coverage(job.series, *wanted)
        job.unavailable = (await archive.notes(job.series)).unavailable
        settled = [(each.from_ns, each.to_ns) for each in spans]
        settled += not_to_be_had(job.unavailable, clock.wall_ns())
        return Filling(
            period_s=period_s,
            wanted=wanted,
            left=unsettled(wanted, settled, sessions_of(market, *wanted), period_s * NS),
            longest_ns=client.frames[period_s],
            pace=client.pace,
        )

    async def _finish(self, archive: Archive, job: Job) -> None:
        """It is done, or has failed: that somebody asked for it needn't be remembered."""
        reply = job.reply(self.note)
        if job.asked_from_ns is not None and not job.paused:
            await self._note(archive, job, None, None)
        logger.log(
            logging.WARNING if reply.state == "failed" else logging.INFO,
            "%s: bars of %d s since %s: %s",
            *job.series,
            local_time(reply.from_ns),
            reply.reason or f"filled, {reply.rows} of them by {reply.frames} frames",
            extra=log.fields(market=job.series.fqme),
        )
        job.tell()


class _Asker:
    """One question of a job, and what is done with its answer."""

    def __init__(
        self, bars: BarKeeper, job: Job, filling: Filling, client: StoredClient, asked: Stretch
    ) -> None:
        self._bars = bars
        self._series = job.series
        self._for_keeps = job.asked_from_ns is not None
        self._filling = filling
        self._client = client
        self._asked = asked
        self.never: Pair | None = None
        """What is to be noted as not to be had, with the reason."""
        self.reason = ""

    def take(self, from_ns: int, to_ns: int, bars: tuple[Bar, ...]) -> None:
        """The venue has these: readers get them, and they count once they are on disk."""
        self._share(from_ns, to_ns, bars)
        if self._for_keeps and self._client.problem:
            self.fail("lost", self._client.problem)
        else:
            told = from_ns, to_ns
            self._filling.took(self._asked, told, len(bars), clock.boot_ns())

    def unavailable(self, reason: str, first_ns: int | None) -> None:
        """It never has what was asked for."""
        self.reason = reason
        self.never = self._filling.unavailable(self._asked, reason, first_ns)

    def fail(self, why: Why, reason: str, pause_s: float | None = None) -> None:
        """It may have it later."""
        self.reason = reason
        self.never = self._filling.failed(why, reason, pause_s, self._asked, clock.boot_ns())

    def _share(self, from_ns: int, to_ns: int, bars: Sequence[Bar]) -> None:
        """Put what concerns them into the bars that are read, as far as those are final."""
        read = self._bars.read().get((self._series.fqme, self._series.period_s))
        if not read:
            return
        period_ns = self._series.period_s * NS
        end_ns = down(max(0, read.writer.closed_to_ns - GRACE_NS), period_ns)
        begin_ns = down(clock.wall_ns(), period_ns) - window(read.capacity) * period_ns
        for first_ns, last_ns in clipped([(from_ns, to_ns)], begin_ns, end_ns):
            inside = [bar for bar in bars if first_ns <= bar.time_ns < last_ns]
            self._bars.fill(*self._series, first_ns, last_ns, inside)
