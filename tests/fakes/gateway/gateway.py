"""The gateway itself: its markets, its book, who is connected, and who is told what."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from copy import copy
from datetime import date
from itertools import count
from math import inf

import trio
import trio.testing
from msgspec import Struct

from piker import clock
from tests.fakes.gateway import answers, faults, layouts, schedule, ticks
from tests.fakes.gateway.book import (
    Book,
    Cancelled,
    Changed,
    Corrected,
    Event,
    Execution,
    Filled,
)
from tests.fakes.gateway.bookfile import BookFile
from tests.fakes.gateway.catalog import Instrument, catalog, find
from tests.fakes.gateway.faults import Faults
from tests.fakes.gateway.market import Market, open_market
from tests.fakes.gateway.past import BAR_SIZES, bar_time
from tests.fakes.gateway.requests import (
    Query,
    ReqHistoricalData,
    ReqMktData,
    ReqTickByTickData,
    Request,
)
from tests.fakes.gateway.rules import Breach, HistoryPace, TickPace
from tests.fakes.gateway.session import Session
from tests.fakes.gateway.wire import Message

FARMS = (
    (2104, "Market data farm connection is OK:usfarm"),
    (2107, "HMDS data farm connection is inactive but should be available upon demand.ushmds"),
    (2158, "Sec-def data farm connection is OK:secdefil"),
)
"""What every login is told."""
HEARD = 200_000
"""Requests that are remembered; the oldest are forgotten."""
LOST, LOST_AGAIN_S = 1100, 4.0
LOST_TEXT = "Connectivity between IBKR and Trader Workstation has been lost."
NOT_READ_ONLY = frozenset(
    {
        "CancelOrder",
        "PlaceOrder",
        "ReqAllOpenOrders",
        "ReqAutoOpenOrders",
        "ReqCompletedOrders",
        "ReqGlobalCancel",
        "ReqOpenOrders",
    }
)
"""What a gateway refuses while its API is read-only: ib_insync doesn't ask for it then."""
NEED_A_SERVER = frozenset(
    {
        "CancelOrder",
        "PlaceOrder",
        "ReqContractDetails",
        "ReqHeadTimeStamp",
        "ReqHistoricalData",
        "ReqHistoricalTicks",
        "ReqMatchingSymbols",
        "ReqMktData",
        "ReqRealTimeBars",
        "ReqTickByTickData",
    }
)


LOOK_S = 0.05


class Settings(Struct, frozen=True, kw_only=True):
    """How a gateway is; what isn't said is as most tests want it."""

    version: int = 178
    """Its own: with a client is spoken what both can."""
    accounts: tuple[str, ...] = ("DU1234567",)
    walk_s: float | None = None
    """How often markets move by themselves; None: when a test says so."""
    always_open: bool = True
    """Markets never close, and their hours say so."""
    lines: int = 100
    """Streams of quotes at once, of all clients."""
    no_live: frozenset[str] = frozenset()
    """Symbols without live data."""
    our_clients: frozenset[int] = frozenset()
    """Clients whose orders have always a tif and an orderRef."""
    data_clients: frozenset[int] = frozenset()
    """Clients that never trade."""
    stocks: int = 0
    """So many stocks more: T001, T002 and so on."""
    state: str = ""
    """A file that keeps the book over a restart; empty: none."""
    breaches: str = ""
    """A file that every breach is added to, a line each; empty: none."""
    ended: int | None = None
    """Of orders that ended only so many are listed, the newest; None: all."""
    days_told: int = 1
    """Executions of so many days, UTC, are told: of today, unless its owner chose more."""


class Heard(Struct, frozen=True, kw_only=True):
    """A request, from whom, and when (trio.current_time)."""

    client_id: int
    time_s: float
    request: Request


class Looks(trio.abc.Instrument):
    """When it was looked whether something has come: at each turn of the loop."""

    def __init__(self) -> None:
        self._last = self._before = -inf

    @asynccontextmanager
    async def going_on(self) -> AsyncIterator[None]:
        """Have it looked every LOOK_S. Where time is virtual who sends makes a turn of the loop."""
        trio.lowlevel.add_instrument(self)
        try:
            async with trio.open_nursery() as nursery:
                if not isinstance(trio.lowlevel.current_clock(), trio.testing.MockClock):
                    nursery.start_soon(_look_for_ever)
                yield
                nursery.cancel_scope.cancel()
        finally:
            trio.lowlevel.remove_instrument(self)

    def after_io_wait(self, timeout: float) -> None:
        """A turn begins."""
        self._before, self._last = self._last, trio.current_time()

    @property
    def times(self) -> tuple[float, float]:
        """Between which what is read in this turn has come."""
        return self._before, trio.current_time()


async def _look_for_ever() -> None:
    for _ in count():
        await trio.sleep(LOOK_S)


class Gateway:
    """All that connections share."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.faults = Faults()
        self.breaches: list[Breach] = []
        self.heard: deque[Heard] = deque(maxlen=HEARD)
        self.sessions: list[Session] = []
        known = catalog(self.today, always_open=settings.always_open, stocks=settings.stocks)
        self.instruments = {each.con_id: each for each in known}
        self.markets = {each.con_id: open_market(each) for each in known}
        self._file = BookFile(settings.state)
        self.book = Book(self._file.read(), self.instruments)
        self.no_live = set(settings.no_live)
        self.competing = False
        self.lost = False
        self.farms_down: set[str] = set()
        self.looks = Looks()
        self.history_pace = HistoryPace()
        self.tick_pace = TickPace()
        self._waiting: list[tuple[Session, Request]] = []
        self.nursery: trio.Nursery

    @property
    def now_ns(self) -> int:
        """The gateway's clock."""
        return clock.wall_ns()

    @property
    def today(self) -> date:
        """The day, in UTC."""
        return schedule.at(clock.wall_ns()).date()

    def is_open(self, instrument: Instrument) -> bool:
        """Whether a contract is traded now."""
        market = self.markets[instrument.con_id]
        if market.closed is None:
            return schedule.is_open(market.instrument.hours, self.now_ns)
        return not market.closed

    def flows(self, instrument: Instrument) -> bool:
        """Whether ticks of a contract come through."""
        stopped = self.lost or self.competing or instrument.farm in self.farms_down
        return not stopped and self.is_open(instrument)

    def record_breach(self, client_id: int, rule: str, what: str) -> None:
        """Remember that a client broke a rule."""
        self.breaches.append(Breach(client_id=client_id, rule=rule, what=what))
        if self.settings.breaches:
            with open(self.settings.breaches, "a") as file:
                file.write(f"client {client_id} broke the rule that {rule}: {what}\n")

    def hear(self, client_id: int, request: Request) -> Heard:
        """A request as it is remembered."""
        return Heard(client_id=client_id, time_s=trio.current_time(), request=request)

    def greeting_time(self) -> str:
        """As in the handshake: ``20240327 12:19:19 Greenwich Mean Time``."""
        return f"{schedule.at(self.now_ns):%Y%m%d %H:%M:%S} Greenwich Mean Time"

    def welcome(self, client_id: int) -> list[Message]:
        """What makes a client ready."""
        next_id = layouts.next_valid_id(self.book.next_id(client_id))
        return [layouts.managed_accounts(self.settings.accounts), next_id]

    def tell_farms(self, session: Session) -> None:
        """How the farms are."""
        for code, text in FARMS:
            session.say_error(-1, code, text)
        if self.lost:
            session.say_error(-1, LOST, LOST_TEXT)

    def receive(self, session: Session, request: Request) -> None:
        """Answer a request, or what a fault makes of that."""
        name, req_id = type(request).__name__, answers.id_of(request)
        symbol = self._symbol(request)
        if self.faults.use_for(faults.Drop, name, symbol):
            answers.note_open(session, request)
        elif hang_up := self.faults.use_for(faults.HangUp, name, symbol):
            if hang_up.done:
                with session.holding():
                    answers.answer(self, session, request)
            session.cut(reset=hang_up.reset)
        elif refuse := self.faults.use_for(faults.Refuse, name, symbol):
            answers.note_refused(self, session, request)
            session.say_error(req_id, refuse.code, refuse.text)
        elif name in NOT_READ_ONLY and self.faults.use(faults.ReadOnly):
            answers.note_refused(self, session, request)
            session.say_error(req_id, 321, faults.READ_ONLY)
        elif self.lost and name in NEED_A_SERVER:
            answers.note_open(session, request)
            self._waiting.append((session, request))
        else:
            self._answer(session, request, name, symbol)

    def _symbol(self, request: Request) -> str:
        query = answers.query_of(request)
        if query is None or not query.con_id:
            return query.symbol if query else ""
        found = self.instruments.get(query.con_id)
        return found.symbol if found else ""

    def _answer(self, session: Session, request: Request, name: str, symbol: str) -> None:
        if advise := self.faults.use_for(faults.Advise, name, symbol):
            session.say_error(answers.id_of(request), advise.code, advise.text)
        delay = self.faults.use_for(faults.Delay, name, symbol)
        with session.holding() as said:
            answers.answer(self, session, request)
        if delay:
            session.nursery.start_soon(session.say_later, delay.seconds, said)
        else:
            session.say(*said)

    def tell(self, events: Iterable[Event]) -> None:
        """Tell of what happened to orders, to the clients whose orders they are."""
        events = list(events)
        for event in events:
            self._tell_one(event)
        if events:
            self.save(events)
        done = [e.execution for e in events if isinstance(e, Filled | Corrected)]
        for account, con_id in {(each.account, each.con_id) for each in done}:
            answers.tell_position(self, account, con_id)

    def _tell_one(self, event: Event) -> None:
        client_id = (event.execution if isinstance(event, Corrected) else event.order).client_id
        repeat, reorder = self.faults.use(faults.Repeat), self.faults.use(faults.Reorder)
        for session in [each for each in self.sessions if each.client_id == client_id]:
            with session.holding() as said:
                session.say(*self.messages(event, session.version))
                if isinstance(event, Filled | Corrected):
                    self.tell_commission(session, event.execution)
            for each in reversed(said) if reorder else said:
                session.say(*([each, each] if repeat else [each]))

    def messages(self, event: Event, version: int) -> list[Message]:
        """What is said of an event, in the order that was seen of real gateways."""
        if isinstance(event, Corrected):
            return [self.execution(-1, event.execution, version)]
        order = event.order
        instrument = self.instruments[order.con_id]
        status = layouts.order_status(order)
        opened = layouts.open_order(order, instrument, version)
        match event:
            case Changed():
                return [opened, status]
            case Filled(execution=execution):
                before = copy(order)
                before.commission = None
                first = layouts.open_order(before, instrument, version)
                whole = [opened, status] if order.status == "Filled" else []
                return [self.execution(-1, execution, version), first, status, *whole]
            case Cancelled(reason=reason, code=code):
                ended = "Canceled" if order.status == "Cancelled" else "rejected"
                why = f"Order {ended} - reason:{reason}"
                return [status, layouts.error(order.order_id, code, why, version)]

    def execution(self, req_id: int, done: Execution, version: int) -> Message:
        """A fill as a message."""
        return layouts.execution_data(req_id, done, self.instruments[done.con_id], version)

    def commission(self, done: Execution) -> Message:
        """What it cost, as a message."""
        return layouts.commission_report(done, self.instruments[done.con_id].currency)

    def tell_commission(self, session: Session, done: Execution) -> None:
        """Say what a fill cost: at once, later or never."""
        if self.faults.use(faults.NoCommission):
            return
        late = self.faults.use(faults.LateCommission)
        if late:
            later = (late.seconds, [self.commission(done)])
            session.nursery.start_soon(session.say_later, *later)
        else:
            session.say(self.commission(done))

    def moved(self, market: Market) -> None:
        """A market stands elsewhere: fill what it crosses, and tell those who follow it."""
        instrument = market.instrument
        if self.is_open(instrument) and not self.lost:
            self.tell(self.book.match(market, self.now_ns))
        if self.flows(instrument):
            for session in self.sessions:
                self._tell_moved(session, market)

    def _tell_moved(self, session: Session, market: Market) -> None:
        for stream in list(session.streams.values()):
            if stream.instrument.con_id != market.instrument.con_id:
                continue
            match stream.request:
                case ReqMktData():
                    session.say(*ticks.quote(stream, market, self.now_ns))
                case ReqTickByTickData():
                    session.say(*ticks.every(stream, market, self.now_ns))
                case ReqHistoricalData():
                    session.say(self._kept_bar(stream, stream.request, market, session.version))

    def _kept_bar(
        self, stream: ticks.Stream, request: ReqHistoricalData, market: Market, version: int
    ) -> Message:
        size = request.bar_size
        bar = ticks.grown(stream.bar, market, BAR_SIZES[size], self.now_ns // 10**9)
        stream.bar = bar
        hours = stream.instrument.hours
        time = bar_time(bar.start_s, request.format_date, size, hours, version)
        return layouts.historical_data_update(request.req_id, bar.row(time))

    def walk(self) -> None:
        """Move every market that somebody follows or has orders in."""
        followed = {each.instrument.con_id for s in self.sessions for each in s.streams.values()}
        for con_id in sorted(followed | {each.con_id for each in self.book.open_orders}):
            if self.is_open(self.instruments[con_id]):
                self.markets[con_id].walk()
                self.moved(self.markets[con_id])

    def notice(
        self, code: int, text: str, *, req_id: int = -1, client_id: int | None = None
    ) -> None:
        """Tell all clients a code, or one client; about no request, or about one."""
        for session in self.sessions:
            if client_id in (None, session.client_id):
                session.say_error(req_id, code, text)

    async def repeat_lost(self, scope: trio.CancelScope) -> None:
        """Say 1100 again and again, until that is cancelled."""
        with scope:
            while True:
                await trio.sleep(LOST_AGAIN_S)
                self.notice(LOST, LOST_TEXT)

    def restored(self) -> None:
        """The servers are there again: answer what waited for them."""
        waiting, self._waiting = self._waiting, []
        for session, request in waiting:
            if session in self.sessions and answers.is_still_open(session, request):
                self.receive(session, request)

    def find(self, query: Query, *, expired: bool = False) -> list[Instrument]:
        """The contracts that fit a description today."""
        return find(list(self.instruments.values()), query, self.today, expired=expired)

    def find_instrument(self, name: str) -> Instrument:
        """By local symbol, con id or symbol; of futures the nearest that isn't expired."""
        keys = Query(symbol=name), Query(local_symbol=name)
        if name.isdigit():
            return self.instruments[int(name)]
        found = [each for key in keys for each in self.find(key)]
        assert found, f"expected a contract that the gateway knows, was {name!r}"
        return found[0]

    def save(self, events: Iterable[Event] = ()) -> None:
        """Keep the book, after these events."""
        happened = [
            each.execution if isinstance(each, Corrected) else each.order for each in events
        ]
        self._file.keep(self.book.state, {each.perm_id for each in happened})

    def first_account(self, account: str) -> str:
        """The account that is meant where none is said."""
        return account or self.settings.accounts[0]
