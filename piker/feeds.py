"""The feed of one datad: follows what is wanted at the venue, and passes on what that says.

Task tree, within datad's:

    Feed.run           one session with the venue after another, with back-off
    └─ stream_quotes   the provider's own tasks; what they send is taken in them, at once
"""

import logging
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import trio

from piker import clock, log
from piker.barkeeper import BarKeeper
from piker.brokers import (
    Ailing,
    Away,
    Batch,
    Dropped,
    Missed,
    Provider,
    StreamQuotes,
    Subscribed,
    VenueLost,
    Wanted,
)
from piker.core.backoff import Backoff
from piker.core.freshness import Silence
from piker.core.marketdata import NOT_ASKED, MarketData
from piker.errors import Refused, leaf
from piker.fanout import Fanout
from piker.interfaces.data import TooManyMarkets
from piker.markets import Market, MarketState
from piker.quotes import Quote
from piker.recording import Recording
from piker.service import Service

GOOD_SESSION_S = 30.0
"""A session that lasted so long was a good one: the pause before the next is short again."""

logger = logging.getLogger(__name__)


class Feed:
    """Follows markets at one venue, for whoever follows them here."""

    def __init__(
        self,
        service: Service,
        provider: Provider,
        stream_quotes: StreamQuotes,
        venue: Any,
        bars: BarKeeper,
        fanout: Fanout,
        recording: Recording,
    ) -> None:
        self.session = "not connected"
        self.ailing = ""
        """What of the venue doesn't work, while it is there."""
        self._service = service
        self._allowed = provider.limits.markets
        self._runs_ahead = provider.runs_ahead
        self._stream_quotes = stream_quotes
        self._venue = venue
        self._bars = bars
        self._fanout = fanout
        self._recording = recording
        self._wanted = Wanted()
        self._followed: dict[str, MarketData] = {}
        self._followers: dict[str, int] = {}
        self._depending: dict[str, int] = {}
        """How many of them orders depend on."""
        self._parted: dict[str, MarketData] = {}
        self._silences: dict[str, Silence] = {}
        self._anything_followed = trio.Event()

    @property
    def followed(self) -> Mapping[str, MarketData]:
        """The markets that somebody follows, by fqme."""
        return self._followed

    async def anything_followed(self) -> None:
        """Wait until a market has been followed."""
        await self._anything_followed.wait()

    @contextmanager
    def following(self, markets: Iterable[Market], *, first: bool = False) -> Iterator[None]:
        """Follow markets while the context is open. Raises Refused(TooManyMarkets).

        `first`: orders depend on it, so that they come first where not all can be followed.
        """
        new = {market.fqme: market for market in markets}
        wanted = len(self._followed.keys() | new.keys())
        if wanted > self._allowed:
            raise Refused(TooManyMarkets(wanted=wanted, allowed=self._allowed))
        for fqme, market in new.items():
            self._followers[fqme] = self._followers.get(fqme, 0) + 1
            self._depending[fqme] = self._depending.get(fqme, 0) + first
            if fqme not in self._followed:
                self._followed[fqme] = self._begin(market)
        self._want()
        try:
            yield
        finally:
            for fqme in new:
                self._followers[fqme] -= 1
                self._depending[fqme] -= first
                if not self._followers[fqme]:
                    del self._followers[fqme], self._depending[fqme]
                    self._cover(fqme)
                    self._parted[fqme] = self._followed.pop(fqme)
            self._want()

    def _begin(self, market: Market) -> MarketData:
        """A market that comes back before the venue's task saw it go is still subscribed there."""
        parted = self._parted.pop(market.fqme, None)
        if parted and market.fqme in _names(self._wanted.seen):
            return parted
        return MarketData(
            market,
            clock.wall_ns(),
            self._silences.setdefault(market.fqme, Silence()),
            runs_ahead=self._runs_ahead,
            reason=NOT_ASKED if self.session == "connected" else self.session,
        )

    def _want(self) -> None:
        first = frozenset(fqme for fqme, orders in self._depending.items() if orders)
        self._wanted.set(frozenset(data.market for data in self._followed.values()), first)
        if self._followed:
            self._anything_followed.set()
        self._service.changed()

    async def run(self) -> None:
        """Hold sessions with the venue until cancelled."""
        backoff = Backoff()
        await self._anything_followed.wait()
        while True:
            began = trio.current_time()
            self._say("connecting")
            reason = await self._hold_session()
            if trio.current_time() - began > GOOD_SESSION_S:
                backoff.reset()
            pause_s = backoff.pause()
            self._lose(reason, pause_s)
            await trio.sleep(pause_s)

    async def _hold_session(self) -> str:
        """One session with the venue; gives why it ended."""
        reason = "the feed ended"
        try:
            await self._stream_quotes(self._venue, self._wanted, self)
        except* VenueLost as lost:
            reason = str(leaf(lost))
        return reason

    async def send(self, batch: Batch) -> None:
        """Take what the venue says: derive, make bars, publish. For the provider's tasks."""
        self._take_batch(batch)
        await trio.lowlevel.checkpoint()

    def _lose(self, reason: str, pause_s: float) -> None:
        logger.warning(
            "lost the venue: %s; tries again in %g s",
            reason,
            pause_s,
            extra=log.fields(message_id=log.FEED_LOST),
        )
        self._lose_all(f"lost ({reason})", reason)

    def _take_away(self, away: Away) -> None:
        how = "waits for a login" if away.needs_login else "the venue is away"
        logger.warning("%s: %s", how, away.reason, extra=log.fields(message_id=log.FEED_LOST))
        self._lose_all(f"{how} ({away.reason})", away.reason)

    def _take_ailing(self, reason: str) -> None:
        logger.warning("the venue: %s", reason or "all of it works again")
        self.ailing = reason
        self._service.changed()

    def _lose_all(self, session: str, reason: str) -> None:
        self.ailing = ""
        self._say(session)
        for data in (*self._followed.values(), *self._parted.values()):
            data.lost(reason)
        self.judge()

    def _take_batch(self, batch: Batch) -> None:
        wall_ns, boot_ns = clock.wall_ns(), clock.boot_ns()
        for event in batch:
            if isinstance(event, Quote):
                self._take_quote(event, wall_ns, boot_ns)
            elif isinstance(event, Away):
                self._take_away(event)
            elif isinstance(event, Ailing):
                self._take_ailing(event.reason)
            else:
                self._take_change(event, wall_ns, boot_ns)
        self._fanout.flush()

    def _take_quote(self, quote: Quote, wall_ns: int, boot_ns: int) -> None:
        data = self._followed.get(quote.market)
        if data is None:
            return
        complete = data.take(quote, wall_ns, boot_ns)
        self._recording.take(data, quote, wall_ns, boot_ns)
        self._bars.take(data, complete)
        if complete.ticks:
            self._fanout.publish(complete)
        if data.state.state != "live" or data.delayed:
            self._announce(data, wall_ns, boot_ns)

    def _take_change(
        self, event: Subscribed | Dropped | Missed, wall_ns: int, boot_ns: int
    ) -> None:
        if isinstance(event, Missed):
            self._miss(event.market, wall_ns, boot_ns)
            return
        if isinstance(event, Subscribed):
            self._say_connected()
            data = self._followed.get(event.market.fqme)
            if data:
                data.subscribed(event.market, boot_ns)
        else:
            data = self._followed.get(event.market)
            if data:
                data.lost(event.reason)
        if data:
            self._announce(data, wall_ns, boot_ns)

    def _miss(self, fqme: str, wall_ns: int, boot_ns: int) -> None:
        """What is covered ends with what was heard before, and begins anew."""
        if data := self._followed.get(fqme):
            self._cover(fqme)
            data.missed(wall_ns, boot_ns)

    def judge(self) -> None:
        """Look at how alive every market is, cover what was seen live, close bars that ended."""
        wall_ns, boot_ns = clock.wall_ns(), clock.boot_ns()
        for fqme in self._parted.keys() - _names(self._wanted.seen):
            del self._parted[fqme]
        for fqme, data in self._followed.items():
            self._cover(fqme)
            self._announce(data, wall_ns, boot_ns)
            self._bars.close(fqme, data.now_ns(wall_ns))

    def _cover(self, fqme: str) -> None:
        """Up to the newest that was heard, also where that is in the midst of a bar."""
        data = self._followed[fqme]
        if data.state.state == "live" and data.heard_ns > data.unbroken_ns:
            self._bars.cover(fqme, data.unbroken_ns, data.heard_ns)
            self._recording.cover(data, data.unbroken_ns, data.heard_ns)

    def _announce(self, data: MarketData, wall_ns: int, boot_ns: int) -> None:
        before = data.state
        state = data.judge(wall_ns, boot_ns)
        if state is not None:
            _log_change(before, state)
            self._fanout.publish_state(state)
            self._service.changed()

    def _say_connected(self) -> None:
        if self.session != "connected":
            logger.info("the venue is there", extra=log.fields(message_id=log.FEED_BACK))
            self._say("connected")

    def _say(self, session: str) -> None:
        self.session = session
        self._service.changed()


def _names(markets: Iterable[Market]) -> set[str]:
    return {market.fqme for market in markets}


def _log_change(before: MarketState, after: MarketState) -> None:
    stale = after.state == "stale"
    message_id = log.MARKET_STALE if stale else log.MARKET_LIVE if after.state == "live" else None
    logger.log(
        logging.WARNING if stale else logging.INFO,
        "%s: %s, was %s%s",
        after.market,
        after.state,
        before.state,
        f" ({after.reason})" if after.reason else "",
        extra=log.fields(market=after.market, message_id=message_id),
    )
