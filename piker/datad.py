"""datad@P: market data of one provider. Serves piker.Data and piker.Store.

    python -m piker.datad PROVIDER

Task tree, within piker.service's:

    Datad.run
    ├─ Feed.run      follows the venue and passes on what it says (piker.feeds)
    ├─ _listen       samplerd's clock, when anything is followed
    ├─ _tick         the same at our own pace, a little later, should samplerd be away
    ├─ _keep_all     follows what the configuration says to keep or record, a task a market
    ├─ Recording.run writes what is recorded to disk (piker.recording)
    ├─ Backfill.run  asks for what bars lack once their market is live again (piker.backfill)
    ├─ Tailing.run   puts into bars what is on disk, and on disk what is new in them (piker.tailing)
    ├─ Backfills.run fills bars on disk back as far as is asked for or read (piker.backfilling)
    └─ Archive.run   looks, while nothing can be put on disk, whether it can be again
"""

import logging
import os
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractContextManager, AsyncExitStack, asynccontextmanager
from typing import Any

import trio

from piker import brokers, clock, config, paths, service
from piker.archive import Archive, open_archive
from piker.backfill import Backfill
from piker.backfilling import Backfills
from piker.barkeeper import BarKeeper, Series
from piker.brokers import Provider, VenueLost
from piker.core import windows
from piker.core.backoff import Backoff
from piker.core.bars import LAYOUT, NS, PERIODS_S
from piker.core.calendars import notice
from piker.core.marketdata import MarketData
from piker.errors import Refused, Unreachable, say
from piker.fanout import Fanout, Watcher
from piker.feeds import Feed
from piker.history import Past, checked
from piker.interfaces import Interface, data
from piker.interfaces.clock import CLOCK, Ticks, TicksReply
from piker.interfaces.data import (
    DATA,
    AmbiguousMarket,
    Bars,
    BarsReply,
    DescribeMarket,
    History,
    HistoryReply,
    MarketReply,
    NoSuchMarket,
    NoSuchPeriod,
    NotSupported,
    Search,
    SearchReply,
    VenueUnavailable,
    Watch,
    Watched,
    WatchReply,
)
from piker.interfaces.introspection import InvalidParameter
from piker.interfaces.service import BrokenProvider, Component, Counter
from piker.interfaces.store import STORE
from piker.markets import Market
from piker.recording import Recording
from piker.service import Report, Service
from piker.store.answers import Live
from piker.storekeeping import Storekeeping, newest
from piker.tailing import Tailing
from piker.varlink import Stream, encode_reply, open_client

ASK_VENUE_S = 20.0
"""How long the venue may take to answer a question about a market."""
UNKNOWN = "the venue knows no market of this name"
AFTER_SAMPLERD_NS = NS // 5
"""Our own timer comes so much later than samplerd's."""

logger = logging.getLogger(__name__)


class Datad:
    """Market data of one provider."""

    def __init__(
        self,
        service: Service,
        provider: Provider,
        endpoints: Mapping[str, Any],
        venue: Any,
        keep: Sequence[str],
        record: Sequence[str] = (),
        *,
        archive: Archive,
        days: Mapping[int, int] = windows.DAYS,
    ) -> None:
        self._recording = Recording(paths.history() / provider.name, service.changed)
        keeping = Storekeeping(
            provider.name, archive, self._recording.files, self._resolve, self._newest
        )
        self.handlers: dict[Interface, object] = {DATA: self, STORE: keeping}
        self._service = service
        self._provider = provider
        self._endpoints = endpoints
        self._venue = venue
        self._keep = dict.fromkeys((*keep, *record), "")
        """Markets to keep, and why one is not kept."""
        self._record = frozenset(record)
        """Those of which every tick is."""
        self._with_bars = frozenset(keep)
        self._part = service.part("clock", lambda: None)  # it beats every second by itself
        self._bars = BarKeeper(service.manager, windows.capacities(days))
        self._archive = archive
        archive.changed = service.changed
        self._tailing = Tailing(self._bars, archive, provider.name, days)
        self._fanout = Fanout()
        self._past = Past(endpoints.get("open_history_client"), venue, archive, self._newest)
        self._feed = Feed(
            service,
            provider,
            endpoints["stream_quotes"],
            venue,
            self._bars,
            self._fanout,
            self._recording,
        )
        self._backfill = Backfill(self._past, self._bars, self._feed.followed)
        self._backfills = Backfills(self._past, archive, self._bars, self._resolve, days)

    # --- what it answers

    async def watch(self, call: Watch, stream: Stream) -> None:
        """piker.Data.Watch."""
        if not call.markets:
            raise Refused(InvalidParameter(parameter="markets: expected at least one"))
        rate = call.max_rate_hz
        if rate is not None and not 0 < rate <= 1000:
            problem = f"max_rate_hz: expected above 0 and at most 1000, was {rate:g}"
            raise Refused(InvalidParameter(parameter=problem))
        markets = {name: await self._resolve(name) for name in call.markets}
        watcher = Watcher(stream.connection, every=bool(call.every), max_rate_hz=rate)
        names = frozenset(market.fqme for market in markets.values())
        following = self._feed.following(markets.values(), first=bool(call.every))
        with following, self._fanout.joined(watcher, names):
            first = WatchReply(markets=tuple(self._watched(*each) for each in markets.items()))
            await watcher.run(encode_reply(first, continues=True))

    async def bars(self, call: Bars, stream: Stream) -> None:
        """piker.Data.Bars."""
        if call.period_s not in PERIODS_S:
            raise Refused(NoSuchPeriod(period_s=call.period_s, periods=PERIODS_S))
        market = await self._resolve(call.market)
        with (
            self._feed.following([market]),
            self._reading(market.fqme, call.period_s) as series,
        ):
            self._service.changed()
            self._tailing.fill(market.fqme, call.period_s)
            self._backfills.opened(market.fqme, call.period_s)
            generation = 0
            while True:
                bars = series.bars
                reply = BarsReply(
                    fd=0,
                    market=market.fqme,
                    period_s=bars.period_s,
                    generation=bars.generation,
                    layout=LAYOUT,
                    capacity=bars.capacity,
                    reason=bars.renewed_by if generation else "opened",
                )
                generation = bars.generation
                fd = os.dup(bars.fd)  # of this generation, though the next may come meanwhile
                try:
                    await stream.send(reply, fds=[fd])
                finally:
                    os.close(fd)
                await series.renewed(generation)

    async def history(self, call: History) -> HistoryReply:
        """piker.Data.History."""
        call = checked(call)
        if not (self._past.there or self._past.kept):
            raise Refused(data.NothingKept(reason=self._archive.unreadable))
        try:
            return await self._ask_past(call)
        except Refused as no:
            match no.fault:
                case VenueUnavailable(reason=reason):
                    kept = await self._past.ask_kept(call, "lost", f"the venue is away: {reason}")
                case NoSuchMarket() | AmbiguousMarket() | InvalidParameter():
                    kept = await self._past.ask_kept(call, "unavailable", UNKNOWN)
                case _:
                    raise
            if kept is None:
                raise
            return kept

    async def _ask_past(self, call: History) -> HistoryReply:
        market = await self._resolve(call.market)
        try:
            return await self._past.ask(market, call)
        except VenueLost as lost:
            fault = VenueUnavailable(provider=self._provider.name, reason=str(lost))
            raise Refused(fault) from lost

    async def backfill(self, call: data.Backfill, stream: Stream) -> None:
        """piker.Data.Backfill."""
        if not self._past.there:
            endpoint = "open_history_client"
            raise Refused(NotSupported(provider=self._provider.name, endpoint=endpoint))
        job = await self._backfills.ask(call, await self._resolve(call.market))
        self._service.changed()
        while not job.over:
            changed = job.changed
            await stream.send(job.reply(self._backfills.note))
            await changed.wait()
        await stream.end(job.reply(self._backfills.note))

    async def search(self, call: Search) -> SearchReply:
        """piker.Data.Search."""
        limit = 20 if call.limit is None else call.limit
        if not 1 <= limit <= 1000:
            problem = f"limit: expected 1 to 1000, was {limit}"
            raise Refused(InvalidParameter(parameter=problem))
        if "open_symbol_search" not in self._endpoints:
            raise Refused(NotSupported(provider=self._provider.name, endpoint="open_symbol_search"))
        async with self._asking(), self._endpoints["open_symbol_search"](self._venue) as find:
            return SearchReply(matches=await find(call.pattern, limit))

    async def market(self, call: DescribeMarket) -> MarketReply:
        """piker.Data.Market."""
        return MarketReply(market=await self._resolve(call.name))

    # --- how it is

    def report(self) -> Report:
        """A line a person can trust."""
        states = [data.state.state for data in self._feed.followed.values()]
        counts = [
            f"{states.count(state)} {state}"
            for state in ("live", "delayed", "stale", "closed", "disconnected")
            if state in states
        ]
        markets = ", ".join(counts) if counts else "no market"
        watchers = len(self._fanout)
        bad = sum(data.bad_ticks for data in self._feed.followed.values())
        refused = {name: problem for name, problem in self._keep.items() if problem}
        ailing = self._feed.ailing
        session = f"{self._feed.session}, but {ailing}" if ailing else self._feed.session
        unkept = "" if self._archive.unreadable else self._archive.problem
        bad_state = bool({"stale", "disconnected"} & set(states))
        return Report(
            status=f"{self._provider.name}: {session} · {markets} · "
            f"{watchers} watcher{'' if watchers == 1 else 's'}"
            + (f" · can't keep {', '.join(refused)}" if refused else "")
            + (f" · can't record: {self._recording.problem}" if self._recording.problem else "")
            + (f" · {unkept}" if unkept else ""),
            state="degraded"
            if bad_state or refused or ailing or self._recording.problem or unkept
            else "running",
            components=(
                *(
                    Component(name=name, state=data.state.state, detail=_detail(data))
                    for name, data in sorted(self._feed.followed.items())
                ),
                *(
                    Component(name=name, state="refused", detail=problem)
                    for name, problem in refused.items()
                ),
                *self._history(),
            ),
            counters=(
                Counter(name="watchers", value=watchers),
                Counter(name="bar_series", value=len(self._bars)),
                Counter(name="bar_readers", value=self._bars.readers),
                Counter(name="ticks", value=self._fanout.ticks),
                Counter(name="late_ticks", value=self._bars.late),
                Counter(name="early_ticks", value=self._bars.early),
                Counter(name="bad_ticks", value=bad),
                Counter(name="recorded_ticks", value=self._recording.written),
                Counter(name="unrecorded_ticks", value=self._recording.lost),
                Counter(name="rows_kept", value=self._tailing.rows_kept),
            ),
        )

    def _history(self) -> tuple[Component, ...]:
        """Why nothing is kept on disk, if that is so."""
        problem = self._archive.problem
        return (Component(name="history", state="failed", detail=problem),) if problem else ()

    def reason_to_live(self) -> str:
        """Markets to keep, histories that are being filled, or readers of bars."""
        kept = [name for name, problem in self._keep.items() if not problem]
        if kept:
            return f"the configuration keeps {', '.join(kept)}"
        unfinished = self._backfills.unfinished
        if unfinished:
            return f"{len(unfinished)} of its histories are being filled"
        readers = self._bars.readers
        return f"{readers} readers of bars" if readers else ""

    # --- following markets

    async def _resolve(self, name: str) -> Market:
        async with self._asking():
            market: Market = await self._endpoints["get_mkt_info"](self._venue, name)
            return market
        raise AssertionError("asking swallows nothing")

    @asynccontextmanager
    async def _asking(self) -> AsyncIterator[None]:
        """Bounds a question to the venue, and names what goes wrong."""
        try:
            with trio.fail_after(ASK_VENUE_S):
                yield
        except (VenueLost, trio.TooSlowError) as error:
            reason = str(error) or f"no answer within {ASK_VENUE_S:g} s"
            fault = VenueUnavailable(provider=self._provider.name, reason=reason)
            raise Refused(fault) from error

    def _reading(self, fqme: str, period_s: int) -> AbstractContextManager[Series]:
        now_ns = self._feed.followed[fqme].now_ns(clock.wall_ns())
        return self._bars.reading(fqme, period_s, now_ns)

    def _watched(self, asked: str, market: Market) -> Watched:
        data = self._feed.followed[market.fqme]
        return Watched(
            asked=asked, market=data.market, state=data.state, last=tuple(data.last.values())
        )

    async def finish(self) -> None:
        """Put bars on disk that are only in memory."""
        await self._tailing.finish()

    def _newest(self, fqme: str, period_s: int) -> Live | None:
        """Final bars in shared memory, if somebody reads them there."""
        bars = self._bars.read().get((fqme, period_s))
        return newest(bars) if bars else None

    def close(self) -> None:
        """Let go of the bars' memory; readers and the manager's store keep theirs."""
        self._bars.close_all()

    # --- the task tree

    async def run(self) -> None:
        """Follow the provider's feed until cancelled; then what is in memory goes to disk."""
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._feed.run)
                nursery.start_soon(self._listen)
                nursery.start_soon(self._tick)
                nursery.start_soon(self._keep_all)
                nursery.start_soon(self._recording.run)
                nursery.start_soon(self._backfill.run)
                nursery.start_soon(self._tailing.run)
                nursery.start_soon(self._backfills.run)
                nursery.start_soon(self._archive.run)
        finally:
            with trio.CancelScope(shield=True):
                async with trio.open_nursery() as last:
                    last.start_soon(self._recording.finish)
                    last.start_soon(self.finish)

    async def _listen(self) -> None:
        """samplerd's clock; what it says, our own says too, so its absence is not an error."""
        await self._feed.anything_followed()
        path = str(paths.socket_path("samplerd"))
        backoff = Backoff()
        while True:
            try:
                async with open_client(path, CLOCK, "samplerd") as client:
                    async for tick, _ in client.replies(Ticks(periods_s=(1,)), TicksReply):
                        self._end_of(tick.time_ns)
                        backoff.reset()
            except (Unreachable, Refused) as error:
                logger.info("goes on by its own clock: %s", error)
            await trio.sleep(backoff.pause())

    async def _tick(self) -> None:
        while True:
            wall_ns = clock.wall_ns()
            end_ns = wall_ns - wall_ns % NS + NS
            await trio.sleep((end_ns + AFTER_SAMPLERD_NS - wall_ns) / NS)
            self._end_of(end_ns)
            self._tailing.look()
            self._part.beat()

    def _end_of(self, time_ns: int) -> None:
        self._bars.end_of(time_ns)
        self._feed.judge()
        self._backfill.look()
        self._backfills.look()

    async def _keep_all(self) -> None:
        async with trio.open_nursery() as nursery:
            for name in self._keep:
                nursery.start_soon(self._keep_one, name)

    async def _keep_one(self, name: str) -> None:
        """Follow, make bars of or record a market that the configuration says to keep."""
        backoff = Backoff()
        while True:
            try:
                market = await self._resolve(name)
                async with AsyncExitStack() as stack:
                    if name in self._record:
                        await stack.enter_async_context(self._recording.of(market))
                    stack.enter_context(self._feed.following([market]))
                    self._keep[name] = ""
                    for period_s in PERIODS_S if name in self._with_bars else ():
                        stack.enter_context(self._reading(market.fqme, period_s))
                        self._backfills.opened(market.fqme, period_s)
                    await trio.sleep_forever()
            except Refused as no:
                logger.warning("can't keep %s: %s", name, no)
                self._keep[name] = say(no.fault)
                self._service.changed()
                if not isinstance(no.fault, VenueUnavailable):
                    return
            await trio.sleep(backoff.pause())


@asynccontextmanager
async def open_datad(service: Service) -> AsyncIterator[Datad]:
    """A datad for the service's instance. Raises Refused if it can't do its work."""
    configuration = config.load()
    service.idle_exit_s = configuration.idle_exit_s
    name = service.instance or ""
    provider = brokers.load(name)
    endpoints = brokers.get_eps(provider, "datad")
    missing = {"open_venue", "get_mkt_info", "stream_quotes"} - endpoints.keys()
    if missing:
        reason = f"no market data: it lacks {', '.join(sorted(missing))}"
        raise Refused(BrokenProvider(provider=name, reason=reason))
    settings = config.provider_settings(configuration, name, provider.settings)
    keep, record = (
        [market for market in map(str.lower, markets) if market.rpartition(".")[2] == name]
        for markets in (configuration.datad.keep, configuration.datad.record)
    )
    async with AsyncExitStack() as stack:
        try:
            venue = await stack.enter_async_context(endpoints["open_venue"](settings))
        except Refused:
            raise
        except Exception as error:
            logger.exception("open_venue failed")
            reason = f"open_venue: {type(error).__name__}: {error}"
            raise Refused(BrokenProvider(provider=name, reason=reason)) from error
        archive = await stack.enter_async_context(open_archive(paths.history(), name))
        datad = Datad(
            service,
            provider,
            endpoints,
            venue,
            keep,
            record,
            archive=archive,
            days=configuration.datad.days,
        )
        stack.callback(datad.close)
        yield datad


def _detail(data: MarketData) -> str:
    """Why its state is what it is, and what else a person should know of it."""
    known = (data.state.reason, notice(data.market, clock.wall_ns()))
    return "; ".join(filter(None, known))


def main() -> int:
    """python -m piker.datad PROVIDER."""
    return service.main_of_provider("datad", open_datad, (DATA, STORE))


if __name__ == "__main__":
    sys.exit(main())
