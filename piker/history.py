"""Questions about a market's past, answered for whoever asks datad.

What is kept is answered as it is, what isn't is asked of the venue frame by frame. What is kept of
a period in part, where the venue doesn't tell, is in the answer, marked; its time is missing all
the same. Bars of a period that neither has are made of those of a period that divides it.
"""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, NamedTuple, Protocol

import trio
from msgspec import structs

from piker import clock
from piker.archive import Archive
from piker.brokers import (
    HistoryClient,
    HistoryThrottled,
    HistoryUnanswered,
    HistoryUnavailable,
    VenueLost,
)
from piker.core.bars import GRACE_NS, NS, PERIODS_S
from piker.core.calendars import Traded
from piker.core.pace import Urgency
from piker.core.paging import LEFT_OUT, Lacking, Paging, Stretch
from piker.core.resampling import DAY_S, MARGIN_NS, base_of, resampled
from piker.core.rows import bars_of, rows_of
from piker.core.spans import down
from piker.errors import Refused
from piker.interfaces.data import Covered, History, HistoryReply, Missing, NoSuchPeriod, Why
from piker.interfaces.introspection import InvalidParameter
from piker.keptpast import Kept, KeptClient, NewestOf
from piker.markets import Market
from piker.quotes import Bar
from piker.store.notes import Notes
from piker.store.places import ASKED, Series
from piker.storedpast import HistoryUnsound, StoredClient
from piker.turns import Turns

LIMIT, MOST = 1000, 10_000
MOST_FRAMES = 60
"""As many questions to its venue as one may cost: a market that trades little has few bars in many
frames. What is kept costs none."""
MOST_OF_A_BASE = 60_000
"""Bars that those of one answer are made of, at most."""
ASK_S = 90.0
"""So long a question may take, the pace of its venue included; then what was had is the answer."""

TOO_LONG: Lacking = "unanswered", f"not all of it was to be had within {ASK_S:g} s: ask again", None

Told = tuple[tuple[Bar, ...], tuple[Covered, ...], tuple[Missing, ...]]
"""Bars, what they cover, and what is missing; each oldest first."""
OpenHistory = Callable[[Any, Market], AbstractAsyncContextManager[HistoryClient]]


def checked(call: History) -> History:
    """A question with its limit. Raises Refused(InvalidParameter) if it has no sense."""
    limit = LIMIT if call.limit is None else call.limit
    if not 1 <= limit <= MOST:
        raise _invalid(f"limit: expected 1 to {MOST}, was {limit}")
    for name, time_ns in (("from_ns", call.from_ns), ("to_ns", call.to_ns)):
        if time_ns is not None and time_ns < 0:
            raise _invalid(f"{name}: expected UTC ns, 0 or more, was {time_ns}")
    to_ns = clock.wall_ns() if call.to_ns is None else call.to_ns
    if call.from_ns is not None and call.from_ns >= to_ns:
        end = "now" if call.to_ns is None else f"to_ns, {to_ns}"
        raise _invalid(f"from_ns: expected before {end}, was {call.from_ns}")
    return structs.replace(call, limit=limit)


class Past:
    """The past of one venue's markets. The same question at the same time is asked once.

    What is kept in the archive isn't asked for; where there is none, nothing is kept.
    """

    def __init__(
        self,
        open_client: OpenHistory | None,
        venue: Any,
        archive: Archive | None = None,
        newest: NewestOf = lambda fqme, period_s: None,
    ) -> None:
        self._open_client = open_client
        self._venue = venue
        self._archive = archive
        self._kept = Kept(archive, newest) if archive else None
        self._turns = Turns(archive.files.directory / ASKED if archive else None)
        self._asked: dict[History, _Question] = {}

    @property
    def there(self) -> bool:
        """The provider has the endpoint."""
        return self._open_client is not None

    @property
    def kept(self) -> bool:
        """What was kept can be read."""
        return bool(self._archive and not self._archive.unreadable)

    @asynccontextmanager
    async def opened(
        self, market: Market, urgency: Urgency, kept: Kept | None = None
    ) -> AsyncIterator[StoredClient]:
        """A market's past, asked for with this urgency. VenueLost may leave it.

        `kept`: what is known, where that is more than what is on disk.
        """
        assert self._open_client, "expected a provider with open_history_client"
        async with self._open_client(self._venue, market) as client:
            yield StoredClient(client, self._archive, market, self._turns, urgency, kept)

    async def ask(self, market: Market, call: History) -> HistoryReply:
        """The answer to what `checked` gave. Raises Refused(NoSuchPeriod) or VenueLost."""
        key = structs.replace(call, market=market.fqme)
        while question := self._asked.get(key):
            await question.over.wait()
            if question.reply:
                return question.reply
        question = self._asked[key] = _Question()
        try:
            async with self._client(market) as stored:
                question.reply = await self._page(
                    _Of(market.fqme, await self._traded(market)), stored, call
                )
        finally:
            del self._asked[key]
            question.over.set()
        return question.reply

    async def ask_kept(self, call: History, why: Why, reason: str) -> HistoryReply | None:
        """The answer where the venue can't be asked, of what is kept by this whole name alone.

        None: nothing is. Raises Refused(NoSuchPeriod).
        """
        if not self._archive or not self.kept:
            return None
        fqme = call.market.strip().lower()
        kept = [each for each in await self._archive.series() if each.fqme == fqme]
        if not kept:
            return None
        notes = [await self._archive.notes(each) for each in kept]
        of = _Of(fqme, _noted(notes), unasked=(why, reason, None))
        return await self._page(of, None, call)

    async def _page(self, of: "_Of", stored: StoredClient | None, call: History) -> HistoryReply:
        client, base_s = await self._base(of, stored, call)
        paging = _paging(call, client, base_s, self._left_out(of))
        until = trio.current_time() + ASK_S
        with trio.move_on_at(until):
            asker = _Asked(paging, self._left_out(of) if of.unasked else None)
            while not asker.failed and (stretch := paging.next()):
                await ask_one(client, base_s, stretch, asker)
                if client.asked >= MOST_FRAMES:
                    reason = f"{MOST_FRAMES} frames were asked for: ask again for what is before"
                    paging.fail("limit", reason)
            if asker.failed:
                await self._go_on(of, base_s, paging, asker.failed)
        paging.fail(*TOO_LONG)
        told = paging.result()
        if not isinstance(client, KeptClient):
            told = await self._with_older(of, call, base_s, told, until)
        bars, coverage, missing = told
        bars = await self._with_parts(Series(of.fqme, base_s), bars, missing)
        if base_s != call.period_s:
            bars, coverage, missing = _made(of.traded, call, base_s, bars, coverage, missing)
        elif len(bars) > (limit := call.limit or LIMIT):
            bars, coverage, missing = _newest(bars[-limit:], call, coverage, missing)
        return HistoryReply(
            market=of.fqme,
            period_s=call.period_s,
            bars=bars,
            coverage=coverage,
            missing=missing,
            note=self._archive.problem if self._archive else "",
            unasked=of.unasked[1] if of.unasked else "",
        )

    async def _go_on(self, of: "_Of", base_s: int, paging: Paging, failed: Lacking) -> None:
        """What the venue didn't answer hides nothing that is kept and older."""
        if self._kept and self.kept:
            client = KeptClient(self._kept, of.fqme, of.traded, base_s, failed[1])
            paging.go_on_without(client.frames[base_s], failed)
            await _page_kept(client, base_s, paging)
        paging.fail(*failed)

    async def _with_older(
        self, of: "_Of", call: History, base_s: int, told: Told, until: float
    ) -> Told:
        """With what is kept of time from before which the venue has nothing: imported, perhaps."""
        bars, coverage, missing = told
        left = _most(call, base_s) - len(bars)
        before_all = missing and missing[0].why == "unavailable" and left > 0
        if not (before_all and self._kept and self.kept):
            return told
        never, *others = missing
        lacking: Lacking = (never.why, never.reason, never.pause_s)
        client = KeptClient(self._kept, of.fqme, of.traded, base_s, never.reason)
        paging = Paging(
            period_s=base_s,
            from_ns=never.from_ns,
            to_ns=never.to_ns,
            limit=left,
            longest_ns=client.frames[base_s],
            left_out=lacking,
        )
        with trio.move_on_at(until):
            await _page_kept(client, base_s, paging)
            paging.fail(*lacking)
        paging.fail(*TOO_LONG)
        older, known, lacks = paging.result()
        return (*older, *bars), _touching(known, coverage), (*lacks, *others)

    async def _with_parts(
        self, series: Series, bars: tuple[Bar, ...], missing: Sequence[Missing]
    ) -> tuple[Bar, ...]:
        """With those of which not all is known, in time that is missing, and stays so."""
        longest_ns = MOST_OF_A_BASE * series.period_s * NS
        stretches = [
            (max(each.from_ns or 0, each.to_ns - longest_ns), each.to_ns)
            for each in missing
            if each.why != "limit"
        ]
        if not (stretches and self._kept and self.kept):
            return bars
        parts = bars_of(await self._kept.in_part(series, stretches))
        return tuple(sorted((*bars, *parts), key=lambda bar: bar.time_ns)) if parts else bars

    async def _traded(self, market: Market) -> Traded:
        """When it may be, also by what is noted of its series."""
        if not self._archive or not self._kept or not self.kept:
            return Traded(market)
        periods = await self._kept.periods(market.fqme)
        notes = [await self._archive.notes(Series(market.fqme, each)) for each in periods]
        return _noted(notes)._replace(market=market)

    @asynccontextmanager
    async def _client(self, market: Market) -> AsyncIterator[StoredClient | None]:
        """Whoever asks the provider, if it has a past."""
        if self.there:
            async with self.opened(market, Urgency.PERSON, self._kept) as client:
                yield client
        else:
            yield None

    async def _base(
        self, of: "_Of", stored: StoredClient | None, call: History
    ) -> tuple[StoredClient | KeptClient, int]:
        """Whom to ask, and for bars of which period. Raises Refused(NoSuchPeriod)."""
        provided = stored.frames if stored else {}
        known = {} if call.period_s in provided else await self._known(of.fqme, call)
        if not (provided or known):
            known = dict.fromkeys(PERIODS_S, 0)
        base_s = base_of(call.period_s, provided, known)
        if base_s is None:
            periods = tuple(sorted({*provided, *known}))
            raise Refused(NoSuchPeriod(period_s=call.period_s, periods=periods))
        if stored and base_s in provided:
            return stored, base_s
        assert self._kept, "expected that something is kept, for it has a base"
        reason = self._left_out(of)[1]
        return KeptClient(self._kept, of.fqme, of.traded, base_s, reason), base_s

    async def _known(self, fqme: str, call: History) -> dict[int, int]:
        """The periods that are kept, and how much of what was asked for is covered by each, ns."""
        if not self._kept or not self.kept:
            return {}
        stretch = call.from_ns or 0, clock.wall_ns() if call.to_ns is None else call.to_ns
        known = {}
        for period_s in await self._kept.periods(fqme):
            covered = await self._kept.covered(Series(fqme, period_s), *stretch)
            known[period_s] = sum(to_ns - from_ns for from_ns, to_ns in covered)
        return known

    def _left_out(self, of: "_Of") -> Lacking:
        """Why what isn't there is missing."""
        if of.unasked:
            why, reason, _ = of.unasked
            return why, f"nothing of then is kept, and {reason}", None
        if self.there:
            return LEFT_OUT
        reason = "nothing of then is kept, and the provider has no past to ask for"
        return "unavailable", reason, None


class _Of(NamedTuple):
    """Whose past it is."""

    fqme: str
    traded: Traded
    unasked: Lacking | None = None
    """Why its venue can't be asked; None: it can."""


def _noted(notes: Sequence[Notes]) -> Traded:
    """When what several series are of may be traded, as is noted of one of them."""
    market = next((each.market for each in notes if each.market), None)
    return Traded(market, next((each.calendar for each in notes if each.calendar), ""))


class _Question:
    """One that is under way, and what came of it; without a reply it failed."""

    def __init__(self) -> None:
        self.over = trio.Event()
        self.reply: HistoryReply | None = None


class _Asked:
    """A question's way back, until an answer fails: then that is in `failed`."""

    def __init__(self, paging: Paging, failed: Lacking | None) -> None:
        self.take = paging.take
        self.unavailable = paging.unavailable
        self.failed = failed

    def fail(self, why: Why, reason: str, pause_s: float | None = None) -> None:
        """There is no answer now."""
        self.failed = why, reason, pause_s


class Asker(Protocol):
    """Who asks for a frame, and is told what came of it."""

    def take(self, from_ns: int, to_ns: int, bars: tuple[Bar, ...], /) -> None:
        """The venue has these bars of this stretch, and no others."""

    def unavailable(self, reason: str, first_ns: int | None, /) -> None:
        """It never has them; from `first_ns` on it has some."""

    def fail(self, why: Why, reason: str, pause_s: float | None = None, /) -> None:
        """There is no answer now; after `pause_s` there is, where that is known."""


async def ask_one(client: HistoryClient, period_s: int, stretch: Stretch, asker: Asker) -> None:
    """Ask for one frame."""
    try:
        frame = await client.frame(period_s, *stretch)
    except HistoryUnavailable as no:
        asker.unavailable(str(no), no.first_ns)
    except HistoryThrottled as no:
        asker.fail("throttled", str(no), no.pause_s)
    except HistoryUnsound as no:
        asker.fail("unsound", str(no))
    except HistoryUnanswered as no:
        asker.fail("unanswered", str(no))
    except VenueLost as lost:
        asker.fail("lost", str(lost))
    else:
        asker.take(frame.from_ns, frame.to_ns, frame.bars)


async def _page_kept(client: KeptClient, period_s: int, paging: Paging) -> None:
    """Give it what is kept, until nothing older is."""
    while stretch := paging.next():
        try:
            frame = await client.frame(period_s, *stretch)
        except HistoryUnavailable:
            return
        paging.take(frame.from_ns, frame.to_ns, frame.bars)


def _touching(older: tuple[Covered, ...], newer: tuple[Covered, ...]) -> tuple[Covered, ...]:
    """Both; where one ends as the next begins they are one."""
    if older and newer and older[-1].to_ns == newer[0].from_ns:
        both = structs.replace(newer[0], from_ns=older[-1].from_ns)
        return *older[:-1], both, *newer[1:]
    return *older, *newer


def _most(call: History, base_s: int) -> int:
    """How many bars of a base an answer may be of."""
    times, limit = call.period_s // base_s, call.limit or LIMIT
    return limit if times == 1 else min((limit + 1) * times, MOST_OF_A_BASE)


def _paging(call: History, client: HistoryClient, base_s: int, left_out: Lacking) -> Paging:
    """Up to the newest bar that is final: a venue's own ticks may come late, too."""
    final_ns = clock.wall_ns() - GRACE_NS
    return Paging(
        period_s=base_s,
        from_ns=call.from_ns,
        to_ns=final_ns if call.to_ns is None else min(_end(call.to_ns, call.period_s), final_ns),
        limit=_most(call, base_s),
        longest_ns=client.frames[base_s],
        left_out=left_out,
    )


def _end(to_ns: int, period_s: int) -> int:
    """The end of the last period that ends until then; of days, then: they end with sessions."""
    return to_ns if period_s == DAY_S else down(to_ns, period_s * NS)


def _made(
    traded: Traded,
    call: History,
    base_s: int,
    bars: Sequence[Bar],
    coverage: Sequence[Covered],
    missing: Sequence[Missing],
) -> Told:
    """The bars of a longer period that those of a base are, at most as many as were asked for."""
    if not bars:
        return (), tuple(coverage), tuple(missing)
    around = max(0, bars[0].time_ns - MARGIN_NS), bars[-1].time_ns + MARGIN_NS
    rows = resampled(
        rows_of(bars),
        base_s,
        call.period_s,
        sessions=traded.sessions(*around),
        covered=[(each.from_ns, each.to_ns) for each in coverage],
        now_ns=clock.wall_ns(),
    )
    made = [each for each in bars_of(rows) if each.time_ns >= (call.from_ns or 0)]
    limit = call.limit or LIMIT
    if len(made) <= limit:
        return tuple(made), tuple(coverage), tuple(missing)
    return _newest(tuple(made[-limit:]), call, coverage, missing)


def _newest(
    made: tuple[Bar, ...], call: History, coverage: Sequence[Covered], missing: Sequence[Missing]
) -> Told:
    """As much as was asked for, and what is known of its time."""
    from_ns = made[0].time_ns
    left = [each for each in missing if each.to_ns > from_ns]
    if call.from_ns is not None:
        left = [structs.replace(e, from_ns=max(e.from_ns or 0, from_ns)) for e in left]
        reason = f"more than {len(made)} bars: ask again for those before"
        more = Missing(from_ns=call.from_ns, to_ns=from_ns, why="limit", reason=reason)
        left.insert(0, more)
    covered = [
        structs.replace(each, from_ns=max(each.from_ns, from_ns))
        for each in coverage
        if each.to_ns > from_ns
    ]
    return made, tuple(covered), tuple(left)


def _invalid(problem: str) -> Refused:
    return Refused(InvalidParameter(parameter=problem))
