"""Order control at Interactive Brokers, through a gateway.

Tasks, in the context of `open_trade_dialog`:

    Gateway.run          one session after another, with back-off
    Dialog._catch_up     after each login, and when the gateway has IB again: what happened
    Dialog._tell_late    what has waited for its cost or its reason for long enough
    Dialog._learn        names of contracts that are spoken of, and were never asked for

The link is up when the gateway has let us in and has the accounts that are set, has IB's servers,
and has listed executions, open and ended orders, and positions. When it loses the servers (1100)
the link is down: what is on its way then is not known, fills may never be told, and the lists say
both when it has them again (1101, 1102). A gateway that takes no orders leaves it up, with that as
its reason: what would have been sent is refused by name, and so is a snapshot if it doesn't list
orders either.

While the gateway restarts neither orders nor amendments are sent: it loses what comes in the same
second. Cancels always are.
"""

import logging
from collections import deque
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager, suppress
from functools import partial
from math import inf

import trio
from msgspec import structs

from piker import clock, log
from piker.brokers import Hear, VenueLost
from piker.brokers.ib import Settings, codes, orderlists
from piker.brokers.ib.accountnames import AccountNames, BadAccounts
from piker.brokers.ib.codec import NotWritable
from piker.brokers.ib.gateway import Gateway, address_of, is_address
from piker.brokers.ib.hours import NoZone, zone_of
from piker.brokers.ib.known import Contracts
from piker.brokers.ib.messages import (
    Accounts,
    AskAccount,
    AskCompletedOrders,
    AskExecutions,
    AskOpenOrders,
    AskPositions,
    CancelEverything,
    CancelOrder,
    Commission,
    Contract,
    Done,
    EndedOrder,
    Holds,
    NextId,
    Notice,
    OrderIs,
    PlaceOrder,
    Said,
    StatusIs,
)
from piker.brokers.ib.orderids import NoIdLeft, OrderIds
from piker.brokers.ib.orderstate import Amendment, Order, Orders, OrderWord, Word
from piker.brokers.ib.pacing import TooManyWaiting
from piker.brokers.ib.questions import Asked
from piker.brokers.ib.resolving import Known
from piker.brokers.ib.restartwindow import NoWindow, RestartWindow
from piker.brokers.ib.session import Declined, GatewayLost, NoAnswer, NotSent, Session
from piker.core.orderchecks import why_invalid
from piker.errors import Refused
from piker.interfaces.broker import (
    Amend,
    Cancel,
    CancelAll,
    InvalidOrder,
    Link,
    NotConnected,
    Place,
    SnapshotReply,
    Told,
    TooLate,
    UnknownAccount,
)
from piker.interfaces.broker import EndedOrder as Ended
from piker.interfaces.service import BrokenConfiguration
from piker.orders import AmendRefused, BrokerEvent, CancelRefused, Filled, Side

FIRST_S = 2.0
"""How long opening waits for the first attempt to connect to come to something."""
FETCH_S = 2.0
"""How long a list waits for what its executions cost, and for names."""
LISTS_S = 20.0
"""How long a snapshot may take: less than emsd waits for it, which then gives the session up."""
AGAIN_S = 5.0
"""So long after a gateway didn't list what there is, another session is tried."""
CLIENTS = range(1, 32)
DUPLICATE = 103
SKIPPED = 100
"""So many ids are left out when one was used before: more of them may have been."""
WAITING = 10_000
"""Words that may wait for the name of a contract. With more the session is given up: what was to be
told is in the lists of the next."""
TIFS = {"day": "DAY", "gtc": "GTC", "ioc": "IOC"}
SIDES: dict[Side, str] = {"buy": "BUY", "sell": "SELL"}
NS, MS = 10**9, 10**6

logger = logging.getLogger(__name__)


class Dialog:
    """A TradeDialog with a gateway."""

    absence_proves = False
    """Orders are listed late, and those of yesterday not at all."""

    def __init__(self, settings: Settings, names: AccountNames, hear: Hear) -> None:
        self.live = names.live
        self.accounts = names.whole_names
        self.link = Link(up=False, reason="not connected yet")
        self.tried = trio.Event()
        """The first attempt to connect has come to something."""
        self._names = names
        self._window = window_of(settings)
        self._zone = zone_of(settings.gateway_zone)
        self._hear = hear
        self._gateway = Gateway(
            address_of(settings.orders, "ibgw"),
            settings.orders_client,
            hear=self._take,
            entered=self._enter,
            left=self._leave,
            zone=settings.gateway_zone,
        )
        self._orders = Orders(settings.orders_client)
        self._ids = OrderIds()
        self._fresh = True
        """What was placed before is known from lists only."""
        self._leaving: dict[int, trio.Event] = {}
        """Orders and amendments that wait for their turn to leave, by the order's id: a cancel must
        not overtake them."""
        self._contracts = Contracts(partial(self._gateway.within, 0))
        self._no_servers = ""
        """Why the gateway can't do anything, if it has lost IB."""
        self._behind = trio.Event()
        """Something may have happened that nobody told."""
        self._lists_nothing = False
        """It takes no orders, and lists none: when it does that, it takes them."""
        self._catching_up = trio.CancelScope()
        self._words: deque[Word] = deque()
        """What is to be told, in order: see WAITING."""
        self._unnamed = trio.Event()
        self._waits = trio.Event()
        self._told = trio.Event()

    async def run(self) -> None:
        """Stay connected until cancelled."""
        async with trio.open_nursery() as nursery:
            for part in (self._gateway.run, self._catch_up, self._tell_late, self._learn):
                nursery.start_soon(part)

    # --- orders

    async def place(self, order: Place) -> None:
        """Hand an order over."""
        self._session_for_new()
        self._check_reference(order.oid)
        if order.account not in self.accounts:
            raise Refused(UnknownAccount(account=order.account, allowed=self.accounts))
        traded = await self._traded(order.market, order.not_after_boot_ns)
        _check(traded, order.side, order)
        session = self._session_for_new()
        self._check_reference(order.oid)  # it may have come once more while that was asked
        request = PlaceOrder(
            contract=traded.contract,
            ref=order.oid,
            account=self._names.number_of(order.account),
            side=SIDES[order.side],  # type: ignore[arg-type] # one of its two
            size=order.size,
            limit=order.limit,
            tif=TIFS[order.tif],  # type: ignore[arg-type] # one of its three
        )
        number = self._new_id()
        self._orders.place(number, request)
        try:
            with self._waiting_to_leave(number):
                await self._deliver(session, request, number, order.not_after_boot_ns)
        except Refused:
            self._orders.unplace(number)
            raise

    async def amend(self, order: Amend) -> None:
        """Ask for another total or limit: the same order once more, by its own id."""
        self._session_for_new()
        known = self._newest(order.oid)
        if why := self._why_not_amend(known):
            self._say(order.oid, AmendRefused(n=order.n, reason=why))
            return
        assert known
        assert known.asked
        traded = await self._traded_of(known.contract, order.not_after_boot_ns)
        _check(traded, "buy" if known.asked.side == "BUY" else "sell", order)
        session = self._session_for_new()
        if why := self._why_not_amend(known):  # it may have ended while that was asked
            self._say(order.oid, AmendRefused(n=order.n, reason=why))
            return
        request = structs.replace(known.asked, size=order.size, limit=order.limit)
        amendment = Amendment(n=order.n, size=order.size, limit=order.limit)
        self._orders.amend(known, amendment)
        try:
            with self._waiting_to_leave(known.order_id):
                await self._deliver(session, request, known.order_id, order.not_after_boot_ns)
        except Refused:
            self._orders.unamend(known)
            raise

    async def cancel(self, order: Cancel) -> None:
        """Cancel an order by its reference and by each id."""
        session = self._up()
        found = self._orders.find(order.oid, order.venue_ids)
        if not found:
            await self._ask(session, AskOpenOrders())
            found = self._orders.find(order.oid, order.venue_ids)
        ours = [each for each in found if self._is_ours(each)]
        if not ours:
            self._say(order.oid, CancelRefused(reason=_why_not_cancel(found)))
            return
        await self._cancel_each(session, [each for each in ours if not each.over] or ours[-1:])

    async def cancel_all(self, call: CancelAll) -> tuple[str, ...]:
        """Cancel what is open; gives the venue's ids of what is known to be.

        Of other clients' orders only all can be cancelled, of all accounts at once: with one of
        several accounts those of others stay.
        """
        session = self._up()
        number = self._names.number_of(call.account) if call.account else None
        if call.scope == "all" and (number is None or session.accounts == (number,)):
            await self._until_left(list(self._leaving))
            await self._deliver(session, CancelEverything(), -1)
            asked = self._orders.open()
        else:
            asked = [each for each in self._open_of(number) if self._is_ours(each)]
            await self._cancel_each(session, asked)
            with suppress(Refused):  # those that are known are on their way
                await self._ask(session, AskOpenOrders())
            late = [each for each in self._open_of(number) if self._is_ours(each)]
            late = [each for each in late if each not in asked]
            await self._cancel_each(session, late)
            asked += late
        return tuple(str(each.perm_id or each.order_id) for each in asked)

    async def snapshot(self, since_ns: int) -> SnapshotReply:
        """What the gateway lists."""
        session = self._up()
        asked_ns = clock.wall_ns()
        try:
            with trio.fail_after(LISTS_S):
                resting, ended, held = await self._fetch(session)
                values = await self._fetch_values(session)
                await self._settle()
        except trio.TooSlowError as error:
            why = f"the gateway didn't list all that it has within {LISTS_S:g} s"
            raise self._away(why) from error
        account_of, market_of = self._names.name_of, self._market_of
        described = self._contracts.market
        over = orderlists.ended_orders(ended, since_ns, self._orders, account_of, self._zone)
        refused = orderlists.refused_orders(since_ns, self._orders, account_of)
        return SnapshotReply(
            asked_ns=asked_ns,
            orders=tuple(orderlists.open_orders(resting, self._orders, account_of, market_of)),
            ended=tuple(map(self._hidden_end, (*over, *refused))),
            executions=tuple(
                told.event.execution
                for word in self._orders.executions(since_ns)
                if (told := self._as_told(word)) and isinstance(told.event, Filled)
            ),
            holdings=tuple(orderlists.holdings(held, account_of, market_of, described)),
            balances=tuple(orderlists.balances(values, account_of, asked_ns)),
        )

    async def _fetch_values(self, session: Session) -> list[Said]:
        """What the accounts are worth, as far as it is told at once: nothing depends on it."""
        values: list[Said] = []
        with trio.move_on_after(FETCH_S), suppress(Declined, NoAnswer, GatewayLost, TooManyWaiting):
            for name in self.accounts:
                values += await session.ask(AskAccount(account=self._names.number_of(name)))
        return values

    def _hidden_end(self, ended: Ended) -> Ended:
        return structs.replace(ended, reason=self._names.hidden(ended.reason))

    # --- what may be done now

    def _up(self) -> Session:
        """Raises Refused(NotConnected) while the link is down."""
        session = self._gateway.session
        if session is None or session.lost or not self.link.up:
            raise self._away(self.link.reason or "the link was just lost")
        return session

    def _session_for_new(self) -> Session:
        """The session, if orders and amendments may leave. Raises Refused(NotConnected)."""
        session = self._up()
        if session.read_only:
            raise self._away(codes.NOT_TAKEN)
        if self._window and (why := self._window.why_not_now(clock.wall_ns())):
            raise self._away(why)
        return session

    def _check_reference(self, oid: str) -> None:
        if self._orders.is_known(oid):
            raise _invalid("oid", oid, "a reference that no order came with before")

    def _away(self, reason: object) -> Refused:
        return Refused(NotConnected(reason=self._names.hidden(str(reason))))

    async def _deliver(
        self,
        session: Session,
        request: PlaceOrder | CancelOrder | CancelEverything,
        number: int,
        not_after_boot_ns: int | None = None,
    ) -> None:
        """Have it leave. Raises Refused(NotConnected|TooLate|InvalidOrder) only if nothing did."""
        try:
            await session.deliver(request, number, not_after_boot_ns)
        except NotSent as error:
            raise _late(not_after_boot_ns or 0) from error
        except NotWritable as error:
            raise _invalid("oid", "", f"text that IB takes: {error}") from error
        except (GatewayLost, TooManyWaiting) as error:
            raise self._away(error) from error

    def _new_id(self) -> int:
        self._ids.say_used(self._orders.highest_id)
        try:
            return self._ids.take()
        except NoIdLeft as error:
            raise self._away(error) from error

    def _newest(self, oid: str) -> Order | None:
        """The newest order of a reference, one that isn't over if there is one."""
        found = self._orders.find(oid)
        found = [each for each in found if not each.over] or found
        return found[-1] if found else None

    def _is_ours(self, order: Order) -> bool:
        return bool(order.oid) and order.order_id > 0

    def _open_of(self, number: str | None) -> list[Order]:
        return [each for each in self._orders.open() if number in (None, each.account)]

    def _why_not_amend(self, order: Order | None) -> str:
        """Why an order can't be amended from here; empty: it can."""
        if order is None or order.asked is None:
            return "IB has no open order of this reference, of this client"
        if order.over:
            return "it has ended at IB"
        if order.cancelling:
            return "it is being cancelled"
        kinds = ("LMT", "MKT")
        if order.kind not in kinds or order.asked.tif not in TIFS.values():
            return f"only limit and market orders are amended here, this is {order.kind}"
        return ""

    async def _cancel_each(self, session: Session, orders: Iterable[Order]) -> None:
        """Raises Refused(NotConnected), if nothing of it has left."""
        left = False
        orders = list(orders)
        await self._until_left([each.order_id for each in orders])
        for order in orders:
            order.cancelling = True
            try:
                await self._deliver(session, CancelOrder(), order.order_id)
            except Refused:
                order.cancelling = False
                if not left:
                    raise
                return
            left = True

    @contextmanager
    def _waiting_to_leave(self, number: int) -> Iterator[None]:
        """While something of an order waits for its turn; of several the last leaves last."""
        leaving = self._leaving[number] = trio.Event()
        try:
            yield
        finally:
            if self._leaving.get(number) is leaving:
                del self._leaving[number]
            leaving.set()

    async def _until_left(self, numbers: Iterable[int]) -> None:
        """Until none of these orders waits for its turn any more."""
        for number in numbers:
            if number in self._leaving:
                await self._leaving[number].wait()

    # --- contracts

    async def _traded(self, market: str, not_after_boot_ns: int) -> Known:
        """What an order in a market needs. Raises Refused(InvalidOrder|NotConnected|TooLate)."""
        with trio.move_on_at(_trio_time(not_after_boot_ns)):
            try:
                return await self._contracts.trade(market)
            except (VenueLost, Declined) as error:
                raise self._away(f"the gateway doesn't say what {market} is: {error}") from error
        raise _late(not_after_boot_ns)

    async def _traded_of(self, contract: Contract, not_after_boot_ns: int) -> Known:
        """The same of the contract of an order."""
        with trio.move_on_at(_trio_time(not_after_boot_ns)):
            try:
                await self._contracts.learn([contract])
            except GatewayLost as error:
                raise self._away(error) from error
            return await self._traded(self._market_of(contract), not_after_boot_ns)
        raise _late(not_after_boot_ns)

    def _market_of(self, contract: Contract) -> str:
        return self._contracts.name(contract) or contract.local_symbol

    # --- lists

    async def _catch_up(self) -> None:
        while True:
            await self._behind.wait()
            self._behind = trio.Event()
            session = self._gateway.session
            with trio.CancelScope() as self._catching_up:
                if session and not self._no_servers:
                    await self._catch_up_with(session)

    async def _catch_up_with(self, session: Session) -> None:
        if why := self._names.why_not_there(session.accounts):
            self._set_link(Link(up=False, reason=why))
            return
        try:
            _, ended, _ = await self._fetch(session)
        except Refused as no:
            if not session.read_only:
                await self._give_up(session, _reason(no))
                return
            self._lists_nothing = True
        else:
            self._skip_ids(len(ended))
        if session is self._gateway.session and not session.lost:
            self._set_link(Link(up=True, reason=codes.NOT_TAKEN if session.read_only else ""))

    async def _give_up(self, session: Session, reason: str) -> None:
        """Another session may have answers: not at once, since this one was let in at once."""
        self._set_link(Link(up=False, reason=reason))
        await trio.sleep(AGAIN_S)
        session.lose(GatewayLost(reason))

    def _skip_ids(self, ended: int) -> None:
        """The list of ended orders has no ids, and those that were refused are in none."""
        if self._fresh:
            self._fresh = False
            self._ids.say_used(self._orders.highest_id)
            self._ids.skip(ended)

    async def _fetch(
        self, session: Session
    ) -> tuple[tuple[Said, ...], tuple[Said, ...], tuple[Said, ...]]:
        """Open orders, ended ones and positions, with their names; executions are taken.

        Raises Refused(NotConnected).
        """
        for said in await self._ask(session, AskExecutions()):
            self._take(said)
        resting = await self._ask(session, AskOpenOrders())
        ended = await self._ask(session, AskCompletedOrders())
        held = await self._ask(session, AskPositions())
        if self._lists_nothing:
            self._lists_nothing = session.read_only = False
            self._behind.set()
        listed = [each for each in (*resting, *held) if isinstance(each, OrderIs | Holds)]
        named = [each.contract for each in listed if self._names.name_of(each.account)]
        named += self._orders.contracts()
        try:
            await self._contracts.learn(named)
        except GatewayLost as error:
            raise self._away(error) from error
        return resting, ended, held

    async def _ask(self, session: Session, question: Asked) -> tuple[Said, ...]:
        """Raises Refused(NotConnected): what isn't answered is never taken for nothing."""
        try:
            return await session.ask(question)
        except Declined as no:
            raise self._away(codes.reason(no.notice.code, no.notice.text)) from no
        except (NoAnswer, GatewayLost, TooManyWaiting) as error:
            raise self._away(error) from error

    async def _settle(self) -> None:
        """Until all that was heard was told, or it has taken too long."""
        with trio.move_on_after(FETCH_S):
            while self._words or self._orders.next_at is not None:
                await self._told.wait()

    # --- what is heard

    def _enter(self, session: Session) -> None:
        self._behind.set()

    def _leave(self, problem: GatewayLost) -> None:
        self._no_servers = ""
        self._catching_up.cancel()
        self._contracts.forget()
        self._orders.lose()
        self._set_link(Link(up=False, reason=str(problem), needs_login=problem.waits))

    def _take(self, said: Said) -> None:
        match said:
            case NextId(order_id=order_id):
                self._ids.say_next(order_id)
            case Accounts() if self._gateway.session:
                self._behind.set()
            case OrderIs() | StatusIs() | EndedOrder() | Done() | Commission():
                self._take_word(said)
            case Notice():
                self._take_notice(said)

    def _take_word(self, said: OrderWord) -> None:
        self._tell(self._orders.take(said, clock.boot_ns(), clock.wall_ns()))
        self._waits.set()

    def _take_notice(self, said: Notice) -> None:
        verdict, why = codes.link(said.code, said.text) or ("", "")
        session = self._gateway.session
        match verdict:
            case "lost":
                self._no_servers = why
                self._catching_up.cancel()
                self._set_link(Link(up=False, reason=why))
            case "data lost" | "kept":
                self._no_servers = ""
                self._behind.set()
            case "over" if session:
                session.lose(GatewayLost(why))
            case "read only" if self.link == Link(up=True):
                self._behind.set()
            case "too fast":
                logger.warning("the gateway says that it is asked too much: %s", why)
        if order := self._orders.by_id(said.number):
            about, text = log.fields(oid=order.oid), self._names.hidden(said.text)
            logger.info("IB says of it: %s (%d)", text, said.code, extra=about)
        if said.code == DUPLICATE:
            self._ids.skip(SKIPPED)
        self._take_word(said)

    def _set_link(self, link: Link) -> None:
        self.tried.set()
        link = structs.replace(link, reason=self._names.hidden(link.reason))
        if link.up or link != self.link:
            self.link = link
            self._hear(link)

    # --- what is told

    def _say(self, oid: str, event: BrokerEvent) -> None:
        """What is known here of an order, without asking."""
        self._tell([Word(oid=oid, account="", contract=Contract(), event=event)])

    def _tell(self, words: Iterable[Word]) -> None:
        self._words.extend(words)
        self._tell_named()
        session = self._gateway.session
        if len(self._words) > WAITING and session:
            self._words.clear()
            session.lose(GatewayLost("it says too much of contracts that nobody can name"))

    def _tell_named(self) -> None:
        """Tell what can be: an execution needs the name of its market, and nothing overtakes it."""
        while self._words and self._is_named(self._words[0]):
            told = self._as_told(self._words.popleft())
            if told:
                self._hear(told)
        if self._words:
            self._unnamed.set()
        self._told.set()
        self._told = trio.Event()

    def _is_named(self, word: Word) -> bool:
        named = self._contracts.name(word.contract) is not None
        return named or not isinstance(word.event, Filled) or not self._account_of(word)

    def _account_of(self, word: Word) -> str | None:
        return self._names.name_of(word.account)

    def _as_told(self, word: Word) -> Told | None:
        """A word in everybody's names; None: nothing to anybody here."""
        event = word.event
        if isinstance(event, Filled):
            account = self._account_of(word)
            if account is None:
                return None
            market = self._market_of(word.contract)
            execution = structs.replace(event.execution, account=account, market=market)
            return Told(oid=word.oid, event=Filled(execution=execution))
        if not word.oid and word.account:
            return None  # an order of somebody else
        reason = getattr(event, "reason", "")
        hidden = self._names.hidden(reason)
        return Told(oid=word.oid, event=structs.replace(event, reason=hidden) if reason else event)

    async def _tell_late(self) -> None:
        while True:
            next_ns = self._orders.next_at
            with trio.move_on_at(inf if next_ns is None else _trio_time(next_ns)):
                await self._waits.wait()
            self._waits = trio.Event()
            self._tell(self._orders.due(clock.boot_ns()))

    async def _learn(self) -> None:
        while True:
            await self._unnamed.wait()
            self._unnamed = trio.Event()
            await self._gateway.within(inf)
            with suppress(GatewayLost):  # asked again in the next session
                await self._contracts.learn([word.contract for word in self._words])
            self._tell_named()


def _check(traded: Known, side: Side, order: Place | Amend) -> None:
    """Raises Refused(InvalidOrder) of what IB would refuse."""
    problem = why_invalid(
        traded.market,
        side=side,
        size=order.size,
        kind="market" if order.limit is None else "limit",
        limit=order.limit,
    )
    if problem:
        raise Refused(problem)


def _why_not_cancel(found: list[Order]) -> str:
    if not found:
        return "IB has no open order of this reference or id"
    client = found[-1].client_id
    return f"client {client} of the gateway placed it: cancel it there, or by hand in its window"


def _trio_time(boot_ns: int) -> float:
    return trio.current_time() + (boot_ns - clock.boot_ns()) / NS


def _reason(no: Refused) -> str:
    return no.fault.reason if isinstance(no.fault, NotConnected) else str(no)


def _late(not_after_boot_ns: int) -> Refused:
    late_ns = max(0, clock.boot_ns() - not_after_boot_ns)
    return Refused(TooLate(late_ms=-(-late_ns // MS)))


def _invalid(field: str, value: str, allowed: str) -> Refused:
    return Refused(InvalidOrder(field=field, value=value, allowed=allowed))


@asynccontextmanager
async def open_trade_dialog(
    settings: Settings, credentials: Mapping[str, str], hear: Hear
) -> AsyncIterator[Dialog]:
    """Gives the dialog. Raises Refused(BrokenConfiguration)."""
    dialog = Dialog(settings, accounts_of(settings), hear)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(dialog.run)
        with trio.move_on_after(FIRST_S):
            await dialog.tried.wait()
        yield dialog
        nursery.cancel_scope.cancel()


def accounts_of(settings: Settings) -> AccountNames:
    """The accounts that are set; all else that is for orders was looked at, too.

    Raises Refused(BrokenConfiguration).
    """
    check_settings(settings)
    return _names_of(settings)


def check_settings(settings: Settings) -> None:
    """Looks at what is for orders; who only wants market data has no account.

    Raises Refused(BrokenConfiguration).
    """
    if settings.orders_client not in CLIENTS:
        was = f"expected 1 to 31, was {settings.orders_client}"
        raise _broken("orders_client", was)
    if not is_address(settings.orders):
        was = f"expected NAME, tcp:HOST:PORT or unix:/PATH, was {settings.orders!r}"
        raise _broken("orders", was)
    try:
        zone_of(settings.gateway_zone)
    except NoZone as error:
        raise _broken("gateway_zone", str(error)) from error
    window_of(settings)
    if settings.accounts:
        _names_of(settings)


def _names_of(settings: Settings) -> AccountNames:
    try:
        return AccountNames(settings.accounts)
    except BadAccounts as error:
        raise _broken("accounts", str(error)) from error


def window_of(settings: Settings) -> RestartWindow | None:
    """When the gateway restarts, if that is set. Raises Refused(BrokenConfiguration)."""
    if settings.restart is None:
        return None
    try:
        return RestartWindow(*settings.restart, settings.restart_zone)
    except NoWindow as error:
        raise _broken("restart", str(error)) from error
    except NoZone as error:
        raise _broken("restart_zone", str(error)) from error


def _broken(key: str, problem: str) -> Refused:
    return Refused(
        BrokenConfiguration(file="piker.toml", key=f"providers.ib.{key}", problem=problem)
    )
