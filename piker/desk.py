"""The desk: orders as they are asked for, amended and cancelled, each decided in one go.

What it decides is recorded in the book, which has it sent once it is on disk. It waits for nothing
but what a decision needs: a market's first quote, an account's readiness.
"""

import logging
import os
import re
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import trio
from msgspec import structs

from piker import clock
from piker.accounts import PAPER, AccountState, Position
from piker.book import Book, Outgoing
from piker.clearing import Clearing, MarketClearing
from piker.config import Configuration
from piker.core.lifecycle import apply, begin, why_not
from piker.core.sessions import Sessions
from piker.core.triggers import NoDirection
from piker.core.uuid7 import RANDOM_BYTES, uuid7
from piker.errors import Refused, say
from piker.gate import Gate, invalid
from piker.importing import Importing
from piker.interfaces.broker import UnknownAccount
from piker.interfaces.orders import (
    AccountUnreachable,
    Amend,
    DuplicateOrder,
    ImportExecutions,
    ImportReply,
    NoSuchOrder,
    NotPossible,
    StillHeld,
    SubmitReply,
)
from piker.interfaces.orders import NoDirection as NoDirectionFault
from piker.lingering import dies_at_logout
from piker.naming import Names, not_called_live
from piker.orders import (
    ALL_CANCELLED,
    AmendAsked,
    AmendRefused,
    Armed,
    CancelAsked,
    Held,
    Life,
    LinkLost,
    Order,
    OrderEvent,
    OrderKind,
    Resolved,
    Sending,
    Submitted,
    When,
)
from piker.orders import Refused as OrderRefused
from piker.routing import Route, daemon_of
from piker.standing import Standing, rests
from piker.triggering import Triggering

OID = re.compile(r"[0-9A-Za-z-]{1,64}")
FLATTEN_S = 5.0
"""How long flatten waits for what it cancelled to be over before it closes positions."""
TURN = 50
"""Orders that are cancelled before other tasks have a turn."""
PRICES_S = 5.0
"""How long an order waits for the prices of what its account holds."""

logger = logging.getLogger(__name__)


class Desk:
    """Admits, amends and cancels orders."""

    def __init__(
        self,
        book: Book,
        configuration: Configuration,
        directory: Path,
        changed: Callable[[], None],
    ) -> None:
        self.book = book
        self.routes: dict[tuple[str, str], Route] = {}
        self.standing = Standing()
        self.names = Names(book, configuration)
        self.before_first: Callable[[Order], None] = lambda order: None
        """Called before an order is admitted. May raise Refused."""
        self._settings = configuration.emsd
        self._tell = changed
        self._wanted: set[str] = set()
        """Accounts whose orders are to leave, now or when they are triggered."""
        self._nursery: trio.Nursery | None = None
        self.clearing = Clearing(
            configuration.emsd,
            lambda market, decision: self.triggering.act(market, decision),
            self._armed_in,
            self._note_unwatched,
            changed,
        )
        self.gate = Gate(book, configuration, directory, self.clearing)
        self.triggering = Triggering(
            book, configuration.emsd, self.gate, self.clearing, self._route_of
        )
        self._importing = Importing(book, self._route_of, self.names.described, self.gate.day)
        book.became = self._became
        book.send = self._send

    # --- a start

    def recover(self, watched_until_ns: int) -> None:
        """Go on from what the journal holds: what was on its way is not known any more."""
        for life in self.book.unclosed():
            self.standing.take(life)
            self.triggering.recover(life)
        for life in self.book.unclosed():
            self._pick_up(life)
        for held in self.book.positions():
            if held.size:  # it may have changed at its venue meanwhile
                self._want(held.account)
        for fqme in self.standing.armed:
            self.clearing.follow(fqme, self._watched_until_ns(fqme, watched_until_ns))
            self.clearing.markets[fqme].note_unwatched()

    def _pick_up(self, life: Life) -> None:
        order = life.order
        if order.kind in ("limit", "market") and life.state == "held":
            self.book.record(order.oid, OrderRefused(reason="never sent"))
            return
        if _awaits_an_answer(life):
            self.book.record(order.oid, LinkLost(reason="emsd was restarted"))
        if order.kind != "alert":
            self._want(order.account)

    def _watched_until_ns(self, fqme: str, watched_until_ns: int) -> int:
        """Until when a market was watched: emsd may not have watched it when it ended."""
        noted = self.book.noted(f"unwatched:{fqme}")
        return min(watched_until_ns, int(noted)) if noted else watched_until_ns

    def _note_unwatched(self, fqme: str, since_ns: int | None) -> None:
        with suppress(Refused):  # a full disk: emsd's mark stands for it
            self.book.note(f"unwatched:{fqme}", "" if since_ns is None else str(since_ns))

    async def run(self) -> None:
        """The tasks of its routes and markets, until cancelled."""
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            nursery.start_soon(self.clearing.run)
            for route in self.routes.values():
                nursery.start_soon(route.run)

    def look_around(self) -> None:
        """What is due by the clock: expiries, silence, markets that nobody needs. Once a second."""
        held = {each.market for each in self.book.positions() if each.size}
        self.clearing.keep(self.standing.markets | held)
        try:
            self._do_what_is_due()
        except Refused as no:
            logger.error("what is due has to wait: %s", no)

    def _do_what_is_due(self) -> None:
        """Raises Refused(DiskFull) if too much waits for the disk: it is due again then."""
        for oid in self.standing.ended_by(clock.wall_ns()):
            self.triggering.expire(oid)
        for route in self.routes.values():
            route.judge_silence()
        self.triggering.look_around()

    # --- what is asked of it

    async def submit(self, order: Order, *, dry_run: bool) -> SubmitReply:
        """Admit an order; gives it as it is once that is on disk. Raises Refused.

        The same may come twice at once: what is decided is decided after all that is waited for.
        """
        if not OID.fullmatch(order.oid):
            raise invalid("oid", order.oid, "1 to 64 letters, digits and hyphens, as a UUID")
        self.gate.check_numbers(order)
        known = await self.book.recall(order.oid)
        order = await self._complete(order)
        if known is None:
            await self._get_ready(order)
            known = self.book.lives.get(order.oid)
        if known is not None:
            return await self._repeat(order, known)
        market = self.clearing.follow(order.market)
        order = structs.replace(order, expires_ns=self._ends(order, market))
        event = self._admission(order, market)
        if dry_run:
            return self._pretend(order, event)
        return await self._admit(order, event, market)

    async def _admit(self, order: Order, event: OrderEvent, market: MarketClearing) -> SubmitReply:
        self._check_journal()
        self.before_first(order)
        seq = self.book.admit(order, event)
        self.gate.count(order)
        if isinstance(event, Armed):
            market.rest(self.book.lives[order.oid])
        with self._taken_back(order.oid, lambda no: OrderRefused(reason=no)):
            await self.book.until_published(seq)
        return self._reply(order.oid)

    @contextmanager
    def _taken_back(self, oid: str, event: Callable[[str], OrderEvent]) -> Iterator[None]:
        """What its client is told was refused, for want of a disk, must not be done later: it is
        still queued, and this after it. It has not left, as that takes the disk as well."""
        try:
            yield
        except Refused as no:
            instead = event(say(no.fault))
            if why_not(self.book.lives[oid], instead) is None:
                self.book.record(oid, instead)
            raise

    async def amend(self, call: Amend) -> Life:
        """Ask for another size, limit or trigger. Raises Refused."""
        life = await self.life(call.oid)
        if life.closed:
            reason = f"it is over: {life.state}"
            raise Refused(NotPossible(oid=call.oid, state=life.state, reason=reason))
        market = self.clearing.follow(life.order.market)
        known = await market.known()
        life = self.book.lives[call.oid]
        amended = _amended(life, call)
        self.gate.check_numbers(amended)
        self.gate.check_form(structs.replace(amended, expires_ns=None), known)
        event = AmendAsked(
            n=life.amends + 1,
            size=amended.size,
            limit=amended.limit,
            trigger=call.trigger,
            not_after_ns=self.triggering.not_after_ns(),
        )
        self._objection(life, event)
        if call.trigger is not None:
            _check_direction(life, amended, market)
        self._check_amendment(life, amended)
        self._check_journal()
        self.gate.count(amended)
        if life.state != "held":
            self.book.record(call.oid, event)
            with self._taken_back(call.oid, lambda no: AmendRefused(n=event.n, reason=no)):
                await self._until_published(call.oid)
        else:
            self.book.record(call.oid, event, _arms(life, market))
            self.triggering.forget(call.oid)
            market.rest(self.book.lives[call.oid])
            with self._taken_back(call.oid, lambda no: Held(reason=f"an amendment of it: {no}")):
                await self._until_published(call.oid)
        return self.book.published[call.oid]

    def _check_amendment(self, life: Life, amended: Order) -> None:
        """Raises Refused if it would come to more than it may."""
        prices = (amended.limit, amended.trigger or life.trigger)
        if amended.size <= life.size and prices == (life.limit, life.trigger):
            return
        more = max(life.size, amended.size) - life.filled
        if amended.reduce_only and amended.trigger is None and amended.size > life.size:
            self.gate.check_reduces(amended, more, life)
        self.gate.check_risk(amended, life, more)

    async def cancel(self, oid: str) -> Life:
        """Cancel an order, wherever it is. Raises Refused."""
        self._objection(await self.life(oid), CancelAsked())
        return await self._record(oid, CancelAsked())

    async def cancel_all(self, account: str | None, market: str | None) -> tuple[str, ...]:
        """Cancel what isn't over, of an account and in a market, or of all. Raises Refused."""
        fqme = None if market is None else await self.names.market(market)
        wanted = None if account is None else self._account_in(account, fqme)
        oids = [
            life.order.oid
            for life in self.book.unclosed(wanted)
            if fqme in (None, life.order.market)
        ]
        asked = [oid async for oid in _in_turns(oids) if self._cancel_if_open(oid)]
        await self.book.until_published(max((self.book.seqs[oid] for oid in asked), default=0))
        return tuple(asked)

    def _cancel_if_open(self, oid: str) -> bool:
        """Whether it could still be asked for; others have had their turn since it was chosen."""
        life = self.book.lives.get(oid)
        if life is None or why_not(life, CancelAsked()):
            return False
        self.book.record(oid, CancelAsked(reason=ALL_CANCELLED))
        return True

    async def flatten(self, account: str, market: str | None) -> tuple[str, ...]:
        """Cancel an account's orders and close its positions at the market.

        All that can be closed are, before it raises Refused(StillHeld) for those that can't; the
        cancels are asked for before it is refused for an account that can't be reached, of which
        nobody knows what it holds.
        """
        fqme = None if market is None else await self.names.market(market)
        account = self._account_in(account, fqme)
        cancelled = await self.cancel_all(account, fqme)
        with trio.move_on_after(FLATTEN_S):
            while any(self._is_open(oid) for oid in cancelled):
                await self.book.past(self.book.published_seq)
        await self._route_of(account).until_ready(account)
        closing, reasons = await self._close_all(account, fqme)
        oids = (*cancelled, *closing)
        if reasons:
            said = "; ".join(f"{each}: {reason}" for each, reason in sorted(reasons.items()))
            markets = tuple(sorted(reasons))
            raise Refused(StillHeld(account=account, markets=markets, oids=oids, reason=said))
        return oids

    async def _close_all(self, account: str, fqme: str | None) -> tuple[list[str], dict[str, str]]:
        """Close what is held; gives the orders that do, and by market why one can't be closed."""
        held = [
            each
            for each in self.book.positions(account)
            if each.size and fqme in (None, each.market)
        ]
        oids: list[str] = []
        reasons: dict[str, str] = {}

        async def close(order: Order) -> None:
            try:
                await self.submit(order, dry_run=False)
                oids.append(order.oid)
            except Refused as no:
                if self.book.position(account, order.market).size:  # else others have closed it
                    reasons[order.market] = say(no.fault)

        async with trio.open_nursery() as nursery:
            for each in held:
                nursery.start_soon(close, _closing(each))
        return oids, reasons

    def _is_open(self, oid: str) -> bool:
        life = self.book.lives.get(oid)
        return life is not None and not life.closed

    async def sync(self, account: str) -> None:
        """Reconcile an account with its venue now. Raises Refused, also if that failed."""
        account = self.names.account_alone(account)
        route = self._route_of(account)
        await route.until_ready(account)
        await route.reconcile()
        if not route.ready:
            raise Refused(AccountUnreachable(account=account, reason=route.reason))

    async def take_in(self, call: ImportExecutions) -> ImportReply:
        """Enter executions of long ago into the ledger. Raises Refused."""
        account = self.names.broker_account(call.account)
        return await self._importing.take(structs.replace(call, account=account))

    async def resolve(self, event: Resolved, oid: str) -> Life:
        """Take its owner's word for what became of an order. Raises Refused."""
        self._objection(await self.life(oid), event)
        return await self._record(oid, event)

    async def life(self, oid: str) -> Life:
        """An order's life. Raises Refused(NoSuchOrder)."""
        life = await self.book.recall(oid)
        if life is None:
            raise Refused(NoSuchOrder(oid=oid))
        return life

    def why_not_now(self, life: Life) -> str:
        """Why an order must not leave now, or an empty text: the last word before it is sent."""
        account = life.order.account
        if self._is_live(account) and not self.names.called_live(account):
            return say(not_called_live(account))
        halted = self.gate.why_halted(life)
        return say(halted) if halted else ""

    # --- how accounts are

    def account_states(self) -> list[AccountState]:
        """All that were used or are configured, by name."""
        states = {
            each.account: each
            for route in self.routes.values()
            for each in route.states(self._is_live)
        }
        for account in self.names.accounts():
            if account not in states:
                states[account] = self._unopened(account)
        return [states[account] for account in sorted(states)]

    def _unopened(self, account: str) -> AccountState:
        route = self.routes.get(daemon_of(account))
        return AccountState(
            account=account,
            live=self._is_live(account),
            state="unreachable",
            since_ns=route.since_ns if route else 0,
            reason=route.reason if route else "not asked yet",
        )

    def is_wanted(self, account: str) -> bool:
        """Whether orders of an account are to leave."""
        return account in self._wanted

    # --- admission

    async def _complete(self, order: Order) -> Order:
        """The order with whole names. Raises Refused."""
        fqme = await self.names.market(order.market)
        provider = fqme.rpartition(".")[2]
        default = f"{PAPER}.{provider}" if order.kind == "alert" else ""
        account = self.names.account(order.account or default, provider)
        return structs.replace(order, market=fqme, account=account)

    async def _get_ready(self, order: Order) -> None:
        """Waits for what is needed to judge it. Raises Refused."""
        self._check_called_live(order.account)
        self._check_journal()
        market = self.clearing.follow(order.market)
        known = await market.known()
        self.book.know(known)
        self.gate.check_form(order, known)
        if order.when is None:
            await market.quoted()
        if order.kind == "alert":
            return
        self._want(order.account)
        try:
            await self._route_of(order.account).until_ready(order.account)
        except Refused as no:  # a dark order may still be armed: it leaves later
            if order.kind != "dark" or not isinstance(no.fault, AccountUnreachable):
                raise
        await self._know_prices(order.account)
        self._check_called_live(order.account)

    async def _know_prices(self, account: str) -> None:
        """The limit on a day's loss asks what is held is worth."""
        held = [each.market for each in self.book.positions(account) if each.size]
        if all(self.clearing.newest_price(fqme)[0] is not None for fqme in held):
            return
        with trio.move_on_after(PRICES_S):
            for fqme in held:
                with suppress(Refused):
                    market = self.clearing.follow(fqme)
                    await market.known()
                    await market.quoted()

    def _check_called_live(self, account: str) -> None:
        """Raises Refused: NotCalledLive; UnknownAccount, which no word in piker.toml would mend."""
        is_paper = account.startswith(f"{PAPER}.")
        if not is_paper:
            self._check_known(account)
        if (not is_paper or self._is_live(account)) and not self.names.called_live(account):
            raise Refused(not_called_live(account))

    def _check_known(self, account: str) -> None:
        """Raises Refused(UnknownAccount), as far as its broker daemon or the configuration says."""
        route = self.routes.get(daemon_of(account))
        known = route.opened.accounts if route and route.opened else self.names.at_broker(account)
        if known and account not in known:
            raise Refused(UnknownAccount(account=account, allowed=known))

    def _admission(self, order: Order, market: MarketClearing) -> OrderEvent:
        """What an order begins with, if it may. Raises Refused."""
        if order.kind in ("dark", "alert"):
            self.gate.check_risk(order, None, order.size)
            return Armed(when=_direction(order, market), since_ns=market.now_ns)
        size = order.size
        if order.reduce_only:
            size = self.gate.reducing_size(order, size)
        self.gate.check_risk(order, None, size)
        return Sending(size=size, limit=order.limit, not_after_ns=self.triggering.not_after_ns())

    def _ends(self, order: Order, market: MarketClearing) -> int | None:
        """When it ends by itself here: a day order that waits does at the end of the session."""
        waits = order.kind in ("dark", "alert")
        if order.expires_ns is not None or order.tif != "day" or not waits:
            return order.expires_ns
        sessions = market.dark.market.sessions if market.dark is not None else None
        return _session_end(sessions, market.now_ns) or self.gate.day.next_turn_ns()

    async def _repeat(self, order: Order, known: Life) -> SubmitReply:
        """The same order again is answered the same. Raises Refused(DuplicateOrder)."""
        if not _same(order, known.order):
            raise Refused(DuplicateOrder(oid=order.oid))
        await self._until_published(order.oid)
        return self._reply(order.oid)

    def _pretend(self, order: Order, event: OrderEvent) -> SubmitReply:
        """What would be, without any of it."""
        life, _ = apply(begin(Submitted(order=order)), event)
        live = self._is_live(order.account) is not False
        return SubmitReply(life=life, seq=0, live=live, warnings=tuple(self._warnings(life)))

    def _reply(self, oid: str) -> SubmitReply:
        life = self.book.published[oid]
        return SubmitReply(
            life=life,
            seq=self.seq_of(oid),
            live=self._is_live(life.order.account) is not False,
            warnings=tuple(self._warnings(life)),
        )

    def seq_of(self, oid: str) -> int:
        """The newest event that counts in an order as it is published; no newer one does."""
        return min(self.book.seqs[oid], self.book.published_seq)

    def _warnings(self, life: Life) -> Iterator[str]:
        """What its owner should know of what waits for its trigger."""
        if not life.armed:
            return
        state = self.clearing.follow(life.order.market).state
        if state.state != "live":
            yield f"nothing fires while {state.market} is {state.state}: {state.reason}"
        if dies_at_logout(os.environ):
            yield "you don't linger, so it dies at logout: loginctl enable-linger"
        if life.order.kind == "alert":
            return
        route = self._route_of(life.order.account)
        if not route.ready:
            yield f"{life.order.account} is not ready: {route.reason}"
        halted = self.gate.halted()
        if halted:
            yield f"halted, so it will be held when it is triggered: {halted.reason}"

    # --- what it stands on

    def _became(self, life: Life) -> None:
        oid = life.order.oid
        self.standing.take(life)
        market = self.clearing.markets.get(life.order.market)
        if market and not rests(life):
            market.disarm(oid)
        if life.closed:
            self.triggering.forget(oid)
        self._tell()

    def _armed_in(self, fqme: str) -> Iterable[Life]:
        return [self.book.lives[oid] for oid in sorted(self.standing.armed.get(fqme, ()))]

    def _send(self, outgoing: Outgoing) -> None:
        self._route_of(self.book.lives[outgoing.oid].order.account).send(outgoing)

    def _route_of(self, account: str) -> Route:
        key = daemon_of(account)
        if key not in self.routes:
            route = Route(*key, self.book, self._settings, self, self.names.learn, self._tell)
            self.routes[key] = route
            if self._nursery:
                self._nursery.start_soon(route.run)
        return self.routes[key]

    def _want(self, account: str) -> None:
        self._wanted.add(account)
        self._route_of(account).want()

    def _account_in(self, account: str, fqme: str | None) -> str:
        """The whole name of an account that is known, in a market or in all. Raises Refused."""
        if fqme is not None:
            account = self.names.account(account, fqme.rpartition(".")[2])
        return self.names.account_alone(account)

    def _is_live(self, account: str) -> bool | None:
        """Whether it is real money: as its broker daemon says, till then as the configuration."""
        route = self.routes.get(daemon_of(account))
        return route.opened.live if route and route.opened else self.names.is_live(account)

    def _objection(self, life: Life, event: OrderEvent) -> None:
        """Raises Refused(NotPossible)."""
        objection = why_not(life, event)
        if objection:
            raise Refused(NotPossible(oid=life.order.oid, state=life.state, reason=objection))

    def _check_journal(self) -> None:
        """Raises Refused(DiskFull) or Refused(BrokenJournal)."""
        if self.book.journal.fault:
            raise Refused(self.book.journal.fault)

    async def _record(self, oid: str, *events: OrderEvent) -> Life:
        self.book.record(oid, *events)
        await self._until_published(oid)
        return self.book.published[oid]

    async def _until_published(self, oid: str) -> None:
        await self.book.until_published(self.book.seqs[oid])


async def _in_turns(oids: Sequence[str]) -> AsyncIterator[str]:
    """Each, with a turn for other tasks after every few."""
    for number, oid in enumerate(oids, 1):
        yield oid
        if number % TURN == 0:
            await trio.lowlevel.checkpoint()


def _same(asked: Order, stored: Order) -> bool:
    """Whether an order is one that came before; what was completed then counts as the same."""
    if asked.tif == "day" and asked.expires_ns is None:
        asked = structs.replace(asked, expires_ns=stored.expires_ns)
    return asked == stored


def _amended(life: Life, call: Amend) -> Order:
    """The order with what an amendment would make of it; one that was sent, as its venue has it."""
    amended = structs.replace(
        life.order,
        size=life.size if call.size is None else call.size,
        limit=life.limit if call.limit is None else call.limit,
        trigger=life.trigger if call.trigger is None else call.trigger,
    )
    if life.state == "held":
        return amended
    kind: OrderKind = "market" if amended.limit is None else "limit"
    return structs.replace(amended, kind=kind, trigger=None)


def _arms(life: Life, market: MarketClearing) -> Armed:
    """The direction stays as it was when it was first armed."""
    assert life.when, f"expected one that was armed before, was {life}"
    return Armed(when=life.when, since_ns=market.now_ns)


def _direction(order: Order, market: MarketClearing) -> When:
    """Which way its trigger will be crossed. Raises Refused(NoDirection)."""
    decision = market.direction(order)
    if isinstance(decision, NoDirection):
        expected = f"--when above or below, or its first {' or '.join(decision.expected)}"
        raise Refused(NoDirectionFault(market=order.market, expected=expected))
    return decision


def _check_direction(life: Life, amended: Order, market: MarketClearing) -> None:
    """Raises Refused for a trigger that is crossed already: it would fire at once."""
    decision = market.direction(structs.replace(amended, when=None))
    if decision in ("above", "below") and decision != life.when:
        allowed = f"a price that is not crossed yet: it was armed to fire {life.when} its trigger"
        raise invalid("trigger", f"{amended.trigger:f}", allowed)


def _session_end(sessions: Sessions, now_ns: int) -> int | None:
    """When the session ends that is, or else the next one; None: the market has none."""
    ends = [session.close_ns for session in sessions or () if session.close_ns > now_ns]
    return min(ends, default=None)


def _awaits_an_answer(life: Life) -> bool:
    return life.state == "sending" or any(
        each and not each.unknown for each in (life.amend, life.cancel)
    )


def _closing(held: Position) -> Order:
    """What closes a position, at the market."""
    return Order(
        oid=uuid7(clock.wall_ns() // 1_000_000, os.urandom(RANDOM_BYTES)),
        account=held.account,
        market=held.market,
        side="sell" if held.size > 0 else "buy",
        size=abs(held.size),
        kind="market",
        reduce_only=True,
    )
