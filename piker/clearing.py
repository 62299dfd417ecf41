"""Dark clearing: follows the markets of what is armed or open, and finds what a tick sets off.

Task tree, within emsd's:

    Clearing.run
    └─ one a market, as long as it is needed
       ├─ _follow        its quotes, every one of them; decides at once what they set off
       └─ _keep_bars     its bars, so that datad has them for the time when nobody watches
"""

import logging
import math
from collections.abc import AsyncIterator, Callable, Iterable, Set
from contextlib import aclosing, asynccontextmanager, suppress
from decimal import Decimal

import trio
from msgspec import structs

from piker import clock, log, paths
from piker.config import EmsdSettings
from piker.core.backoff import Backoff
from piker.core.triggers import (
    LOOKS,
    DarkBook,
    Decision,
    Missed,
    NoDirection,
    RanOut,
    Rests,
    session_time_ns,
)
from piker.errors import Refused, Unreachable, say
from piker.interfaces.data import (
    DATA,
    Bars,
    BarsReply,
    Watch,
    Watched,
    WatchReply,
)
from piker.interfaces.orders import NoMarketData
from piker.markets import Market, MarketState
from piker.naming import as_ours
from piker.orders import Life, Order, Side, When
from piker.quotes import Kind, Quote, Tick, timely
from piker.sharedbars import BarReader, NotBars
from piker.varlink import Client, open_client

NS = 1_000_000_000
BAR_S = 1
FIRST_REPLY_S = 25.0
"""How long datad may take to say what a market is: it asks its venue."""
FIRST_QUOTE_S = 5.0
BARS_S = 2.0
"""On return, how long to wait for the bars of the time before; then it goes on without."""
LINGER_S = 60.0
"""A market that nobody needs is followed for so long, since the next order may be there."""
MISSED_BARS = 86_400
"""Bars that are looked at on return, at most: a day of seconds."""

logger = logging.getLogger(__name__)

Act = Callable[[Market, Decision], None]
Note = Callable[[str, int | None], None]
"""Has a market remembered as one that nobody watches since then, UTC ns; None: no longer."""


class MarketClearing:
    """One market: its feed as emsd has it, and what rests in it."""

    def __init__(
        self,
        fqme: str,
        watched_until_ns: int,
        settings: EmsdSettings,
        act: Act,
        note: Note,
        changed: Callable[[], None],
    ) -> None:
        self.fqme = fqme
        self.needed_until = math.inf
        """When it is let go of, trio's clock."""
        self.state = MarketState(
            market=fqme, state="disconnected", since_ns=clock.wall_ns(), reason="not asked yet"
        )
        self.dark: DarkBook | None = None
        self.fault: Refused | None = None
        """Why it can't be followed, if datad refuses it."""
        self.watched_until_ns = watched_until_ns
        """Until when its ticks could set something off, in the market's time."""
        self._watched_until_boot_ns = 0
        """The same, CLOCK_BOOTTIME; 0: in another life of emsd."""
        self._live_again_ns = watched_until_ns
        """When its data was live again after that, in the market's time."""
        self._settings = settings
        self._act = act
        self._note = note
        self._noted = False
        """It is remembered as one that nobody watches."""
        self._tell = changed
        self._changed = trio.Event()
        self._bars: BarReader | None = None
        self._armed = trio.Event()
        self.following = trio.CancelScope()
        """Its task's."""

    @property
    def now_ns(self) -> int:
        """The market's time, UTC: that of its newest tick where it runs ahead of the clock."""
        newest = max((tick.time_ns for tick in self.ticks.values()), default=0)
        return max(clock.wall_ns(), newest)

    @property
    def ticks(self) -> dict[Kind, Tick]:
        """The newest tick of each kind, however old."""
        return self.dark.newest if self.dark is not None else {}

    @property
    def watched(self) -> bool:
        """Whether its ticks set off what rests in it."""
        live = self.state.state == "live"
        return live and self.dark is not None and not self.dark.awaits_return

    def newest_for(self, side: Side) -> Tick | None:
        """The newest tick that an order of a side looks at, if that may fire it."""
        if not self.watched:
            return None
        ticks = [self.ticks[kind] for kind in LOOKS[side] if kind in self.ticks]
        newest = max(ticks, key=lambda tick: tick.seen_ns, default=None)
        oldest_ns = clock.boot_ns() - round(self._settings.max_tick_age_s * NS)
        return newest if newest and newest.seen_ns >= oldest_ns else None

    async def known(self) -> Market:
        """What it is, as soon as datad has said so. Raises Refused: NoMarketData, NoSuchMarket."""
        if self.dark is None:
            with trio.move_on_after(FIRST_REPLY_S):
                while self.dark is None and not self.fault:
                    await self._changed.wait()
        if self.dark is not None:
            return self.dark.market
        if self.fault:
            raise Refused(as_ours(self.fault.fault, self.fqme))
        raise Refused(NoMarketData(market=self.fqme, reason=self.state.reason))

    async def quoted(self) -> None:
        """Wait for its first quote, for a while: what just was asked for has none yet."""
        if self.ticks:
            return
        with trio.move_on_after(FIRST_QUOTE_S):
            while not self.ticks and self.state.state not in ("delayed", "closed"):
                await self._changed.wait()

    def direction(self, order: Order) -> When | NoDirection:
        """Which way an order's trigger will be crossed, as given or by the newest quote."""
        assert self.dark is not None, "expected a known market"
        decision = self.dark.arm(structs.replace(order, expires_ns=None), self.now_ns)
        self.dark.disarm(order.oid)
        assert not isinstance(decision, RanOut), f"expected no expiry, was {order}"
        return decision.when if isinstance(decision, Rests) else decision

    def rest(self, life: Life) -> None:
        """Have an armed order or alert rest, in place of what it was; once the market is known."""
        if self.dark is None:
            return  # all that is armed rests when it begins
        self._armed.set()
        decision = self.dark.arm(as_it_rests(life), self.now_ns, life.armed_ns)
        if isinstance(decision, RanOut):
            self._act(self.dark.market, decision)
        self._note_unwatched()

    def disarm(self, oid: str) -> None:
        """Have it rest no more."""
        if self.dark is not None:
            self.dark.disarm(oid)

    # --- the feed

    async def run(self, armed: Callable[[], Iterable[Life]]) -> None:
        """Follow it until cancelled; `armed` gives what rests in it when it is first known."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._keep_bars)
            backoff = Backoff()
            while True:
                try:
                    await self._follow(armed, backoff)
                except (Unreachable, Refused) as error:
                    self._lose(error)
                await trio.sleep(backoff.pause())

    async def _follow(self, armed: Callable[[], Iterable[Life]], backoff: Backoff) -> None:
        call = Watch(markets=(self.fqme,), every=True)
        async with (
            _open_datad(self.fqme) as client,
            aclosing(client.replies(call, WatchReply, FIRST_REPLY_S)) as replies,
        ):
            async for reply, _ in replies:
                for watched in reply.markets:
                    self._begin(watched, armed)
                    backoff.reset()
                for quote in reply.quotes:
                    self._take(quote)
                for state in reply.states:
                    self._take_state(state)
                await self._return_if_live()
        raise Unreachable(f"datad ended the stream of {self.fqme}")

    def _begin(self, watched: Watched, armed: Callable[[], Iterable[Life]]) -> None:
        first = self.dark is None
        if self.dark is None:
            self.dark = DarkBook(
                watched.market,
                max_tick_age_ns=round(self._settings.max_tick_age_s * NS),
                gap_grace_ns=round(self._settings.gap_grace_s * NS),
            )
        self.fault = None
        self.dark.market = watched.market
        self.dark.newest.update({tick.kind: tick for tick in timely(watched.last)})
        if first:
            for life in armed():
                self.rest(life)
        self._take_state(watched.state)

    def _take(self, quote: Quote) -> None:
        assert self.dark is not None, "expected the market before its quotes"
        first = not self.ticks
        decisions = self.dark.take(quote, self.now_ns, clock.boot_ns())
        if first:
            self._became()
        if self.watched:
            self._is_watched_until_now()
        self._do(decisions)

    def _is_watched_until_now(self) -> None:
        self.watched_until_ns, self._watched_until_boot_ns = self.now_ns, clock.boot_ns()

    def _take_state(self, state: MarketState) -> None:
        """A market that ends was watched until now; one that falls silent until its last word."""
        assert self.dark is not None, "expected the market before its state"
        if self.watched and state.state in ("delayed", "closed", "disconnected"):
            self._is_watched_until_now()
        was = self.state
        if state.state == "live" and (was.state != "live" or was.since_ns != state.since_ns):
            self._live_again_ns = self.now_ns
        self.state = state
        self.dark.take_state(state)
        self._note_unwatched()
        self._became()

    def _note_unwatched(self) -> None:
        """Remember on disk, too, since when nobody watches what rests: emsd may end meanwhile."""
        if self.dark is not None and len(self.dark) and not (self.watched or self._noted):
            self.note_unwatched()

    def note_unwatched(self) -> None:
        """Remember it, for what rests here once it is known."""
        self._noted = True
        self._note(self.fqme, self.watched_until_ns)

    async def _return_if_live(self) -> None:
        """What happened while nobody watched is compared with what rests before anything fires.

        What the market shows first is part of that: it may have come there unseen.
        """
        if self.dark is None or not self.dark.awaits_return:
            return
        missed: list[Missed] = []
        if len(self.dark):
            if not self._shown_since():
                return
            await self._until_bars()
            missed = [*self._missed(), *map(_as_missed, self._shown_since())]
        unwatched_ns = session_time_ns(
            self.dark.market.sessions, self.watched_until_ns, self._live_again_ns
        )
        self._is_watched_until_now()
        self._do(self.dark.returned(unwatched_ns, missed, self.now_ns, clock.boot_ns()))
        self.forget_unwatched()

    def forget_unwatched(self) -> None:
        """It is watched again, or nothing rests in it any more."""
        if self._noted:
            self._noted = False
            self._note(self.fqme, None)

    def _shown_since(self) -> list[Tick]:
        """The newest tick of each kind that came since it was watched last; no mids of its own."""
        return [
            tick
            for tick in self.ticks.values()
            if tick.seen_ns > self._watched_until_boot_ns
            and not (tick.kind == "trade" and tick.derived)
        ]

    def _missed(self) -> list[Missed]:
        """What datad's bars show of the time that nobody watched.

        What was armed within a bar isn't compared with it: its extremes may be older. What was
        armed before is: had the watched part of the bar crossed it, it would have fired.
        """
        if self._bars is None:
            logger.warning("%s: no bars of the time before: only what shows now counts", self.fqme)
            return []
        return [
            Missed(kind="trade", low=bar.low, high=bar.high, until_ns=bar.time_ns + 1)
            for bar in self._bars.bars(MISSED_BARS)
            if bar.time_ns + BAR_S * NS > self.watched_until_ns
        ]

    async def _until_bars(self) -> None:
        with trio.move_on_after(BARS_S):
            while self._bars is None:
                await self._changed.wait()

    def _do(self, decisions: Iterable[Decision]) -> None:
        assert self.dark is not None, "expected a market before what is decided in it"
        for decision in decisions:
            self._act(self.dark.market, decision)

    def _lose(self, error: Unreachable | Refused) -> None:
        """No feed, for whatever reason: what rests waits."""
        self.fault = error if isinstance(error, Refused) else None
        reason = say(error.fault) if isinstance(error, Refused) else str(error)
        logger.warning("%s: no feed: %s", self.fqme, reason, extra=log.fields(market=self.fqme))
        if self.watched:
            self._is_watched_until_now()
        self.state = MarketState(
            market=self.fqme, state="disconnected", since_ns=clock.wall_ns(), reason=reason
        )
        if self.dark is not None:
            self.dark.take_state(self.state)
            self._note_unwatched()
        self._became()

    def _became(self) -> None:
        self._changed.set()
        self._changed = trio.Event()
        self._tell()

    async def _keep_bars(self) -> None:
        """Read its bars once something is armed: while somebody does, datad keeps them."""
        await self._armed.wait()
        backoff = Backoff()
        while True:
            with suppress(Unreachable, Refused, NotBars):
                await self._read_bars(backoff)
            await trio.sleep(backoff.pause())

    async def _read_bars(self, backoff: Backoff) -> None:
        call = Bars(market=self.fqme, period_s=BAR_S)
        try:
            async with (
                _open_datad(self.fqme) as client,
                aclosing(client.replies(call, BarsReply, FIRST_REPLY_S)) as replies,
            ):
                async for reply, fds in replies:
                    backoff.reset()
                    self._let_go_of_bars()
                    self._bars = BarReader(fds[reply.fd])
                    self._became()
        finally:
            self._let_go_of_bars()

    def _let_go_of_bars(self) -> None:
        if self._bars:
            self._bars.close()
            self._bars = None


class Clearing:
    """All markets that something rests or works in."""

    def __init__(
        self,
        settings: EmsdSettings,
        act: Act,
        resting: Callable[[str], Iterable[Life]],
        note: Note,
        changed: Callable[[], None],
    ) -> None:
        self.markets: dict[str, MarketClearing] = {}
        self._settings = settings
        self._act = act
        self._resting = resting
        """What is armed in a market."""
        self._note = note
        self._tell = changed
        self._nursery: trio.Nursery | None = None

    async def run(self) -> None:
        """Follow what is wanted, until cancelled."""
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            for market in self.markets.values():
                nursery.start_soon(self._follow, market)
            await trio.sleep_forever()

    def follow(self, fqme: str, watched_until_ns: int | None = None) -> MarketClearing:
        """Follow a market while it is needed. `watched_until_ns`: since when nobody did."""
        market = self.markets.get(fqme)
        if market is None:
            since_ns = clock.wall_ns() if watched_until_ns is None else watched_until_ns
            market = MarketClearing(
                fqme, since_ns, self._settings, self._act, self._note, self._tell
            )
            self.markets[fqme] = market
            if self._nursery:
                self._nursery.start_soon(self._follow, market)
        market.needed_until = math.inf
        return market

    def keep(self, needed: Set[str]) -> None:
        """Follow these markets, and let go of those that nobody has needed for a while."""
        now = trio.current_time()
        for fqme in needed:
            self.follow(fqme)
        for fqme, market in list(self.markets.items()):
            if fqme in needed:
                continue
            if market.needed_until == math.inf:
                market.needed_until = now + LINGER_S
            elif market.needed_until <= now:
                market.following.cancel()
                market.forget_unwatched()
                del self.markets[fqme]

    def newest_price(self, fqme: str) -> tuple[Decimal, int] | tuple[None, None]:
        """The newest price of a market, however old, and the venue's time of it, UTC ns."""
        market = self.markets.get(fqme)
        ticks = market.ticks if market else {}
        newest = ticks.get("trade") or ticks.get("bid") or ticks.get("ask")
        return (Decimal(repr(newest.price)), newest.time_ns) if newest else (None, None)

    async def _follow(self, market: MarketClearing) -> None:
        with market.following:
            await market.run(lambda: self._resting(market.fqme))


@asynccontextmanager
async def _open_datad(fqme: str) -> AsyncIterator[Client]:
    provider = fqme.rpartition(".")[2]
    path = str(paths.socket_path("datad", provider))
    async with open_client(path, DATA, f"datad@{provider}") as client:
        yield client


def _as_missed(tick: Tick) -> Missed:
    return Missed(kind=tick.kind, low=tick.price, high=tick.price, until_ns=tick.time_ns + 1)


def as_it_rests(life: Life) -> Order:
    """The order with what amendments and its arming have made of it."""
    return structs.replace(
        life.order,
        size=life.size,
        limit=life.limit,
        trigger=life.trigger,
        when=life.when or life.order.when,
    )
