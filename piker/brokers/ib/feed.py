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
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from math import inf
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import trio
from msgspec import structs

from piker import clock
from piker.brokers import Batches, Dropped, FeedEvent, Subscribed, VenueLost, Wanted
from piker.brokers.ib import Settings, codes
from piker.brokers.ib.codes import DataVerdict
from piker.brokers.ib.desired import Desired
from piker.brokers.ib.gateway import Gateway, address_of, is_address
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
from piker.brokers.ib.resolving import Known, Resolver, today
from piker.brokers.ib.seen import Seen
from piker.brokers.ib.session import GatewayLost, NotSent, Session
from piker.brokers.ib.ticks import Ticker
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
DATA_TYPES: dict[str, DataType] = {"live": 1, "frozen": 2, "delayed": 3, "delayed-frozen": 4}
MARKS = {2: "frozen: as it was last", 3: "delayed", 4: "delayed, and frozen: as it was last"}
"""What is said of a market whose data is of another type than live."""

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
        """As it is told; with a mark, if its data isn't live."""
        self.ticker = Ticker(market)
        self.stream: _Stream | None = None
        self.mark = ""

    def describe(self, known: Market) -> Market:
        """The market as it is told."""
        added = f" ({self.mark})" if self.mark else ""
        return structs.replace(known, description=f"{known.description}{added}")


class Venue:
    """A gateway, what is known of its markets, and what of them is wanted."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.gateway = Gateway(
            address_of(settings.data, "iblane"),
            settings.data_client,
            hear=self._hear,
            left=self._left,
            zone=settings.gateway_zone,
        )
        self.resolver = Resolver(self.session)
        self.seen = Seen()
        self.desired = Desired(settings.lines)
        self.followed: dict[str, _Followed] = {}
        self.wake: Callable[[list[str]], None] = lambda names: None
        """Of the session of the feed that there is: these are to be asked for again."""

    async def session(self) -> Session:
        """The session with the gateway. Raises GatewayLost if there is none for a while."""
        return await self.gateway.within(CONNECT_S)

    def _hear(self, said: Said) -> None:
        if isinstance(said, Notice):
            self._hear_notice(said.code, said.text)

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

    def _left(self, problem: GatewayLost) -> None:
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

    def put(self, event: Subscribed | Dropped, fqme: str) -> None:
        """A change, after what was heard of its market before."""
        self._flush(fqme)
        self._events.append(event)
        self.something.set()

    def forget(self, fqme: str) -> None:
        """Nobody wants that any more."""
        self._heard.pop(fqme, None)

    def take(self) -> list[FeedEvent]:
        """All that there is."""
        for fqme in list(self._heard):
            self._flush(fqme)
        events, self._events = self._events, []
        self.words = 0
        self.something = trio.Event()
        return events

    def _flush(self, fqme: str) -> None:
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
        if kind != 1:
            try:
                await self._session.deliver(ChooseData(data_type=kind), -1)
            except (NotSent, TooManyWaiting) as error:
                raise VenueLost(str(error)) from error

    def _wake(self, names: list[str]) -> None:
        """These are to be asked for again; or something else has changed."""
        for name in names:
            self._end(self._followed[name])
        self._tell()
        self._woken.set()

    # --- what is wanted

    async def look(self) -> None:
        """At what is wanted, whenever that changes."""
        while True:
            markets = {market.fqme: market for market in self._wanted.look()}
            for name in self._desired.want(markets.keys()):
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
            self._redescribe(followed, known)
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
                self._hear_notice(name, stream, *codes.data(code, text))
            case DataTypeIs(data_type=data_type):
                self._mark(name, MARKS.get(data_type, ""))
                self._live(name)
            case Price() | Size() | Text():
                if self._live(name):
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
                self._mark(name, MARKS[3])
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
        self._desired.ended(name, verdict, reason, clock.boot_ns())
        self._wake([])

    def _mark(self, name: str, mark: str) -> None:
        """Say in its description that its data isn't live, or no longer."""
        followed = self._followed[name]
        if mark == followed.mark:
            return
        followed.mark = mark
        if known := self._venue.resolver.markets.get(name):
            self._redescribe(followed, known)

    # --- what is told

    def _tell(self) -> None:
        """Whoever is to be told something else than before."""
        for name, reason in self._desired.news(clock.boot_ns()):
            if reason:
                self._outbox.put(Dropped(market=name, reason=reason), name)
            else:
                self._outbox.put(Subscribed(market=self._followed[name].market), name)

    def _redescribe(self, followed: _Followed, known: Known) -> None:
        """Its description or its sessions have changed, perhaps; who follows it is told."""
        market = followed.describe(known.market)
        name = market.fqme
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
        if name in self._followed:
            self._redescribe(self._followed[name], known)


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
    market = await venue.resolver.by_name(name)
    followed = venue.followed.get(market.fqme)
    return followed.describe(market) if followed else market


async def stream_quotes(venue: Venue, wanted: Wanted, batches: Batches) -> None:
    """Follows what is wanted, until cancelled. Raises VenueLost, in a group perhaps.

    Without a gateway it waits for one, and whoever is wanted is told why. A market is `Subscribed`
    when the gateway shows it, or takes it without a word; it is `Dropped` while the gateway has no
    line for it, has no data of it, or has lost IB: see desired.py. Ticks are ticks.py's.
    """
    session = await _wait_for_gateway(venue, wanted, batches)
    await _Feed(venue, session, wanted, batches).run()


async def _wait_for_gateway(venue: Venue, wanted: Wanted, batches: Batches) -> Session:
    """The session, as soon as there is one."""
    told: dict[str, str] = {}
    while True:
        try:
            return await venue.gateway.within(SAID_AGAIN_S)
        except GatewayLost as lost:
            reason = str(lost)
        names = [market.fqme for market in wanted.look()]
        new = [name for name in sorted(names) if told.get(name) != reason]
        told = dict.fromkeys(names, reason)
        if new:
            await batches.send([Dropped(market=name, reason=reason) for name in new])


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
        _check_zone(key, getattr(settings, key))


def _check_zone(key: str, zone: str) -> None:
    try:
        ZoneInfo(zone)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        problem = f"expected a time zone such as America/New_York, was {zone!r}"
        raise _broken(key, problem) from None


def _broken(key: str, problem: str) -> Refused:
    fault = BrokenConfiguration(file="piker.toml", key=f"providers.ib.{key}", problem=problem)
    return Refused(fault)
