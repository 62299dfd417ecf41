"""Market data of Interactive Brokers: the gateway for datad's life, and sessions of its feed.

Task tree:

    open_venue
    └─ Gateway.run        stays connected
    stream_quotes
    ├─ _Feed.look         at what is wanted; ends at once what no longer is
    ├─ _Feed.follow       asks for what is wanted, one market after another
    ├─ _Feed.look_after   asks again for what is silent
    ├─ _Feed.renew        describes anew what is of yesterday
    └─ _Feed.pass_on      what was heard, all that came together as one batch

What the gateway says is heard in the gateway's task, by calls; nothing waits there.
"""

import logging
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from functools import partial
from math import inf

import trio
from msgspec import structs

from piker import clock
from piker.brokers import (
    Ailing,
    Away,
    Batches,
    Dropped,
    FeedEvent,
    Missed,
    Subscribed,
    VenueLost,
    Wanted,
)
from piker.brokers.ib import Settings, codes
from piker.brokers.ib.accountnames import hidden
from piker.brokers.ib.codes import DataVerdict
from piker.brokers.ib.desired import Desired
from piker.brokers.ib.gateway import Gateway, address_of, is_address
from piker.brokers.ib.hours import NoZone, zone_of
from piker.brokers.ib.memory import Memory
from piker.brokers.ib.messages import (
    ChooseData,
    Contract,
    DataType,
    DataTypeIs,
    Notice,
    Price,
    Said,
    Size,
    Text,
    WatchQuotes,
)
from piker.brokers.ib.pacing import TooManyWaiting
from piker.brokers.ib.resolving import REMEMBERED, Known, Resolver, today
from piker.brokers.ib.seen import Seen
from piker.brokers.ib.session import GatewayLost, NotSent, Session
from piker.brokers.ib.ticks import Ticker, is_delayed
from piker.brokers.ib.wire import DATA_CLIENTS
from piker.errors import Refused
from piker.interfaces.service import BrokenConfiguration
from piker.markets import Market
from piker.quotes import Quote

MOST_LINES = 1000
"""As many as IB gives to anybody."""
CONNECT_S = 8.0
"""A question waits so long for a gateway that isn't there: a restart of its socket, not of it."""
SAID_AGAIN_S = 5.0
"""So often is said why there is no gateway, if that has changed."""
LOOK_S = 5.0
"""So often is looked for markets that are silent."""
RENEW_S = 600.0
"""So often is looked for descriptions that are of yesterday, and so soon tried again."""
WAITING = 200_000
"""Words that were not passed on yet. More: whoever takes them has stopped, and the session ends;
the next one begins with what is shown then."""
EVERY_TRADE = "233"
"""Generic ticks: RTVolume."""
LIVE: DataType = 1
DATA_TYPES: dict[str, DataType] = {"live": LIVE, "frozen": 2, "delayed": 3, "delayed-frozen": 4}

log = logging.getLogger(__name__)


class _Stream:
    """What the gateway says of one market, since it was asked for, until it is over."""

    def __init__(self, hear: Callable[["_Stream", Said], None]) -> None:
        self.number: int | None = None
        """None: it is being asked for."""
        self.over = False
        self._hear = hear

    def hear(self, said: Said) -> None:
        """What came before it was over may be heard after that, and isn't of interest."""
        if not self.over:
            self._hear(self, said)


class _Followed:
    """One market that is wanted, for as long as it is."""

    def __init__(self, market: Market) -> None:
        self.market = market
        self.ticker = Ticker(market)
        self.stream: _Stream | None = None
        self.missed = False
        """It is asked for anew, since data was lost, and who follows it wasn't told."""


class Venue:
    """A gateway, what is known of its markets, and what of them is wanted."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.gateway = Gateway(
            address_of(settings.data, "iblane"),
            settings.data_client,
            hear=self._hear,
            entered=self._enter,
            left=self._left,
            zone=settings.gateway_zone,
        )
        self.resolver = Resolver(self.session)
        self.seen = Seen()
        self.heads: Memory[tuple[int, str], int] = Memory(REMEMBERED)
        """Of a con_id and a kind of bars, since when there are any, UTC ns."""
        self.desired = Desired(settings.lines)
        self.followed: dict[str, _Followed] = {}
        self.wake: Callable[[list[str]], None] = lambda names: None
        """Of the session of the feed that there is: these are to be asked for again."""
        self.asked = False
        """Something is wanted, or was: then datad says why there is no gateway."""
        self._told = ""
        """Why there is none, as the log has it since there was one."""

    async def session(self) -> Session:
        """The session with the gateway. Raises GatewayLost if there is none for a while."""
        return await self.gateway.within(CONNECT_S)

    def hidden(self, text: str) -> str:
        """A text without the whole number of any account that the gateway has."""
        session = self.gateway.session
        return hidden(text, session.accounts) if session else text

    def _hear(self, said: Said) -> None:
        if isinstance(said, Notice):
            self._hear_notice(said.code, self.hidden(said.text))

    def _hear_notice(self, code: int, text: str) -> None:
        """Of the connection, of a farm, or of nothing that is of interest here."""
        now_ns = clock.boot_ns()
        names: list[str] = []
        if link := codes.link(code, text):
            verdict, reason = link
            log.warning("%s", reason)
            names = self.desired.take_link(verdict, reason, now_ns)
        elif farm := codes.farm(code, text):
            state = logging.WARNING if farm.state == "broken" else logging.INFO
            log.log(state, "%s farm %s: %s", farm.kind, farm.name, farm.state)
            names = self.desired.take_farm(farm, now_ns)
        else:
            log.info("the gateway says: %s", codes.reason(code, text))
        self.wake(names)

    def _enter(self, session: Session) -> None:
        self._told = ""

    def _left(self, problem: GatewayLost) -> None:
        if not self.asked and str(problem) != self._told:
            self._told = str(problem)
            log.warning("not connected: %s; tries again by itself", problem)
        self.desired.lose()
        self.wake([])


class _Outbox:
    """What was heard and not passed on: in its order, the ticks of a market as one quote."""

    def __init__(self) -> None:
        self.something = trio.Event()
        self.words = 0
        self._events: list[FeedEvent] = []
        self._heard: dict[str, Ticker] = {}

    def note(self, fqme: str, ticker: Ticker) -> None:
        """Something was heard of a market: it has ticks, or it is a sign of life."""
        self.words += 1
        self._heard[fqme] = ticker
        self.something.set()

    def put(self, event: Subscribed | Dropped | Away | Ailing | Missed, fqme: str = "") -> None:
        """A change, after what was heard of its market before."""
        self.flush(fqme)
        self._events.append(event)
        self.something.set()

    def forget(self, fqme: str) -> None:
        """Nobody wants that any more."""
        self._heard.pop(fqme, None)

    def take(self) -> list[FeedEvent]:
        """All that there is."""
        for fqme in list(self._heard):
            self.flush(fqme)
        events, self._events = self._events, []
        self.words = 0
        self.something = trio.Event()
        return events

    def flush(self, fqme: str) -> None:
        """What was heard of a market is one quote, whatever comes next."""
        ticker = self._heard.pop(fqme, None)
        if ticker:
            self._events.append(Quote(market=fqme, ticks=ticker.flush()))


class _Feed:
    """One session of the feed, over one session with the gateway."""

    def __init__(self, venue: Venue, session: Session, wanted: Wanted, batches: Batches) -> None:
        self._venue = venue
        self._session = session
        self._wanted = wanted
        self._batches = batches
        self._desired = venue.desired
        self._followed = venue.followed
        self._outbox = _Outbox()
        self._woken = trio.Event()
        self._stuck = False
        self._cut = ""
        """Why IB is lost, as it was told."""
        self._ailing = ""
        """Which farms are broken, as it was told."""

    async def run(self) -> None:
        """Until the gateway is lost. Raises VenueLost, perhaps in a group."""
        self._venue.wake = self._wake
        try:
            await self._choose_data()
            async with trio.open_nursery() as nursery:
                for part in (self.look, self.follow, self.look_after, self.renew, self.pass_on):
                    nursery.start_soon(part)
        finally:
            self._venue.wake = lambda names: None
            for followed in self._followed.values():
                self._end(followed)
            self._desired.lose()

    async def _choose_data(self) -> None:
        kind = DATA_TYPES[self._venue.settings.data_kind]
        if kind != LIVE:
            try:
                await self._session.deliver(ChooseData(data_type=kind), -1)
            except (NotSent, TooManyWaiting) as error:
                raise VenueLost(str(error)) from error

    def _wake(self, names: list[str]) -> None:
        """These are to be asked for again; or something else has changed."""
        for name in names:
            self._end(self._followed[name])
            self._followed[name].missed = True
        self._tell()
        self._woken.set()

    # --- what is wanted

    async def look(self) -> None:
        """At what is wanted, whenever that changes."""
        while True:
            markets = {market.fqme: market for market in self._wanted.look()}
            for name in self._desired.want(markets.keys(), self._wanted.first):
                self._end(self._followed.pop(name))
                self._outbox.forget(name)
            for name, market in markets.items():
                if name not in self._followed:
                    self._followed[name] = _Followed(market)
            self._wake([])
            await self._wanted.changed()

    async def follow(self) -> None:
        """Ask for what is wanted, in its order, as lines and the pace let it."""
        while True:
            self._check()
            self._woken = trio.Event()
            now_ns = clock.boot_ns()
            self._desired.accept(now_ns)
            if name := self._desired.yielding(now_ns):
                self._end(self._followed[name])
            self._tell()
            name = self._desired.next(now_ns)
            if name:
                await self._ask(name)
            else:
                await self._rest(now_ns)

    def _check(self) -> None:
        if self._session.lost:
            raise self._session.lost
        if self._stuck:
            raise VenueLost(f"more than {WAITING} words wait to be taken: it begins anew")

    async def _rest(self, now_ns: int) -> None:
        next_ns = self._desired.next_at(now_ns)
        with trio.move_on_after(inf if next_ns is None else (next_ns - now_ns) / 1e9):
            await self._woken.wait()

    async def _ask(self, name: str) -> None:
        """For one market. It may be over, and not wanted, when it is on its way."""
        followed = self._followed[name]
        stream = followed.stream = _Stream(partial(self._hear, name))
        self._desired.asked(name, clock.boot_ns())
        try:
            contract = await self._contract(followed)
            if not stream.over:
                await self._watch(followed, stream, contract)
        except (TooManyWaiting, VenueLost) as error:
            self._check()
            self._settle(name, stream, "later", str(error))

    async def _watch(self, followed: _Followed, stream: _Stream, contract: Contract) -> None:
        followed.ticker.begin()
        followed.ticker.delayed = False
        asked = WatchQuotes(contract=contract, generic_ticks=_generic_ticks(followed.market))
        stream.number = await self._session.watch(asked, stream.hear)
        if stream.over:
            self._session.stop(stream.number)
        elif self._desired[followed.market.fqme].state == "asked":
            self._desired.asked(followed.market.fqme, clock.boot_ns())

    async def _contract(self, followed: _Followed) -> Contract:
        """How the gateway is asked for a market. Raises VenueLost."""
        known = self._venue.resolver.markets.get(followed.market.fqme)
        if not known:
            known = await self._venue.resolver.by_id(int(followed.market.venue_id))
            self._redescribe(followed.market.fqme, known)
        return known.contract

    def _end(self, followed: _Followed) -> None:
        """Nothing more is heard of it; the gateway is told, if it can be."""
        stream, followed.stream = followed.stream, None
        if stream:
            stream.over = True
            if stream.number is not None:
                self._session.stop(stream.number)

    # --- what is heard

    def _hear(self, name: str, stream: _Stream, said: Said) -> None:
        match said:
            case Notice(code=code, text=text):
                verdict, reason = codes.data(code, self._venue.hidden(text))
                self._hear_notice(name, stream, verdict, reason)
            case DataTypeIs(data_type=data_type):
                self._mark(name, delayed=data_type != LIVE)
                self._live(name)
            case Price() | Size() | Text():
                if is_delayed(said):
                    self._mark(name, delayed=True)
                if self._live(name):
                    self._tell_missed(name)
                    ticker = self._followed[name].ticker
                    ticker.take(said, clock.wall_ns(), clock.boot_ns())
                    self._note(name, ticker)

    def _live(self, name: str) -> bool:
        """The gateway shows it; whether that counts. Who hears that for the first time is told."""
        place = self._desired[name]
        known = place.told == "" and place.state == "on" and not self._desired.cut
        counts = self._desired.heard(name, clock.boot_ns())
        if counts and not known:
            self._tell()
        return counts

    def _note(self, name: str, ticker: Ticker) -> None:
        self._outbox.note(name, ticker)
        if self._outbox.words > WAITING:
            self._stuck = True
            self._woken.set()

    def _hear_notice(self, name: str, stream: _Stream, verdict: DataVerdict, reason: str) -> None:
        match verdict:
            case "goes on":
                log.info("%s: %s", name, reason)
            case "delayed":
                self._mark(name, delayed=True)
            case "reset":
                self._followed[name].ticker.begin()
            case _:
                log.warning("%s: %s", name, reason)
                self._settle(name, stream, verdict, reason)

    def _settle(self, name: str, stream: _Stream, verdict: DataVerdict, reason: str) -> None:
        """A stream has ended, or never was."""
        if stream.over:
            return
        self._end(self._followed[name])
        self._followed[name].missed = verdict == "again"
        self._desired.ended(name, verdict, reason, clock.boot_ns())
        self._wake([])

    def _mark(self, name: str, *, delayed: bool) -> None:
        """What comes of it from now on is of now, or isn't."""
        ticker = self._followed[name].ticker
        if delayed != ticker.delayed:
            self._outbox.flush(name)
            ticker.delayed = delayed

    # --- what is told

    def _tell(self) -> None:
        """Whoever is to be told something else than before; all at once, if IB is lost."""
        if self._cut != self._desired.cut:
            self._cut = self._desired.cut
            if self._cut:
                self._outbox.put(Away(reason=self._cut))
        if self._ailing != (ailing := _ailing(self._desired.broken)):
            self._ailing = ailing
            self._outbox.put(Ailing(reason=ailing))
        for name, reason in self._desired.news(clock.boot_ns()):
            if reason:
                self._outbox.put(Dropped(market=name, reason=reason), name)
            else:
                self._followed[name].missed = False
                self._outbox.put(Subscribed(market=self._followed[name].market), name)

    def _tell_missed(self, name: str) -> None:
        """That a new stream begins where data was lost, once."""
        if self._followed[name].missed:
            self._followed[name].missed = False
            self._outbox.put(Missed(market=name), name)

    def _redescribe(self, name: str, known: Known) -> None:
        """Its description or its sessions have changed, perhaps; who follows it is told.

        As long as it is wanted it has the name that it is wanted by, wherever it is listed since.
        """
        followed = self._followed.get(name)
        if not followed:
            return
        market = structs.replace(known.market, fqme=name)
        if market == followed.market:
            return
        followed.market = market
        if self._desired[name].told == "":
            self._outbox.put(Subscribed(market=market), name)

    async def pass_on(self) -> None:
        """What was heard, whenever there is something."""
        while True:
            await self._outbox.something.wait()
            await self._batches.send(self._outbox.take())

    # --- what is looked after

    async def look_after(self) -> None:
        """Markets that are silent are asked for again."""
        start = trio.current_time()
        while True:
            start += LOOK_S
            await trio.sleep_until(start)
            self._ask_silent_again()

    def _ask_silent_again(self) -> None:
        wall_ns, boot_ns = clock.wall_ns(), clock.boot_ns()
        for name, followed in self._followed.items():
            if self._desired.is_silent(name, followed.market, wall_ns, boot_ns):
                log.info("%s: silent for long; it is asked for again", name)
                self._desired.again(name)
                self._end(followed)
                self._woken.set()

    async def renew(self) -> None:
        """Markets have other sessions from day to day."""
        while True:
            for name in list(self._followed):
                await self._renew(name)
            await trio.sleep(RENEW_S)

    async def _renew(self, name: str) -> None:
        """Describe a market as it is today. One that can't be described stays as it was."""
        resolver = self._venue.resolver
        known = resolver.markets.get(name)
        if not known or known.day == today() or name not in self._followed:
            return
        try:
            known = await resolver.by_id(known.contract.con_id)
        except VenueLost as lost:
            self._check()
            log.warning("%s can't be described as it is today: %s", name, lost)
            return
        self._redescribe(name, known)


@asynccontextmanager
async def open_venue(settings: Settings) -> AsyncIterator[Venue]:
    """Gives the venue, which connects and stays connected. Raises Refused(BrokenConfiguration)."""
    _check(settings)
    venue = Venue(settings)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(venue.gateway.run)
        yield venue
        nursery.cancel_scope.cancel()


async def get_mkt_info(venue: Venue, name: str) -> Market:
    """A market, by a name as names.py has them.

    Raises Refused(NoSuchMarket | AmbiguousMarket | InvalidParameter), or VenueLost. A future
    without an expiry is its front month, and its description says which that is and why.
    """
    return await venue.resolver.by_name(name)


async def stream_quotes(venue: Venue, wanted: Wanted, batches: Batches) -> None:
    """Follows what is wanted, until cancelled. Raises VenueLost, in a group perhaps.

    Without a gateway it waits for one, and whoever is wanted is told why. A market is `Subscribed`
    when the gateway shows it, or takes it without a word; it is `Dropped` while the gateway has no
    line for it, has no data of it, or has lost IB: see desired.py. Ticks are ticks.py's.
    """
    venue.asked = True
    session = await _wait_for_gateway(venue, wanted, batches)
    await _Feed(venue, session, wanted, batches).run()


async def _wait_for_gateway(venue: Venue, wanted: Wanted, batches: Batches) -> Session:
    """The session, as soon as there is one."""
    told = None
    while True:
        wanted.look()
        try:
            return await venue.gateway.within(SAID_AGAIN_S)
        except GatewayLost as lost:
            away = Away(reason=str(lost), needs_login=lost.waits)
        if away != told:
            told = away
            await batches.send([away])


def _ailing(broken: Iterable[str]) -> str:
    farms = ", ".join(sorted(broken))
    return f"broken at IB, and so are its markets: farm {farms}" if farms else ""


def _generic_ticks(market: Market) -> str:
    """What is asked for beside prices: every trade, where trades have sizes."""
    return EVERY_TRADE if market.has_trades and market.has_volume else ""


def _check(settings: Settings) -> None:
    """Raises Refused(BrokenConfiguration)."""
    first, last = DATA_CLIENTS[0], DATA_CLIENTS[-1]
    if settings.data_client not in DATA_CLIENTS:
        raise _broken("data_client", f"expected {first} to {last}, was {settings.data_client}")
    if not 1 <= settings.lines <= MOST_LINES:
        raise _broken("lines", f"expected 1 to {MOST_LINES}, was {settings.lines}")
    if not is_address(settings.data):
        problem = f"expected a name, tcp:HOST:PORT or unix:/PATH, was {settings.data!r}"
        raise _broken("data", problem)
    for key in ("gateway_zone", "restart_zone"):
        try:
            zone_of(getattr(settings, key))
        except NoZone as error:
            raise _broken(key, str(error)) from error


def _broken(key: str, problem: str) -> Refused:
    fault = BrokenConfiguration(file="piker.toml", key=f"providers.ib.{key}", problem=problem)
    return Refused(fault)
