"""The way to one broker daemon: its session, its commands in commit order, when it is asked.

Task tree, within emsd's:

    Route.run               one session after another, with back-off, once somebody needs it
    ├─ _hear                the event stream: what the venue says, and whether it can be asked
    ├─ _command             the command connection: sends one command after another
    ├─ _hear_answers        and hears their answers, in the same order
    └─ _look_often          has a snapshot asked for every so often, and taken (piker.reconciling)
"""

import logging
import math
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager
from typing import NamedTuple, Protocol

import trio

from piker import clock, log, paths
from piker.accounts import AccountReadiness, AccountState, parse_account
from piker.book import Book, Outgoing
from piker.book import Place as Where
from piker.config import EmsdSettings
from piker.core.backoff import Backoff
from piker.core.reconciliation import why_no_execution, why_unfit
from piker.errors import Refused, Unreachable, leaf, say
from piker.interfaces import Call
from piker.interfaces.broker import (
    BROKER,
    Amend,
    Cancel,
    Done,
    Link,
    Open,
    Opened,
    OpenReply,
    Place,
    Snapshot,
    SnapshotReply,
    Told,
    UnknownAccount,
)
from piker.interfaces.orders import AccountUnreachable
from piker.orders import (
    AmendAsked,
    AmendRefused,
    CancelAtVenue,
    Execution,
    Filled,
    Life,
    LinkLost,
    OrderEvent,
    Sending,
    Silence,
)
from piker.orders import Refused as OrderRefused
from piker.reconciling import Learn, Reconciliation
from piker.reconciling import set_unexplained as set_unexplained
from piker.reconciling import unexplained as unexplained
from piker.transport import close_all
from piker.varlink import Client, UnknownFault, open_client

NS = 1_000_000_000
MARGIN_NS = 120 * NS
"""A snapshot's executions begin so long before the one before it was asked: clocks differ."""
FIRST_MARGIN_NS = 86_400 * NS
"""The same for the first snapshot of a session: one may have been missed for long."""
PROOF_S = 1.0
"""Lists prove no absence for so long after `not_after_s` of the link's coming up: what was sent to
the venue before may be under way as long."""
READY_S = 10.0
"""How long an order waits for its account to be ready before it is refused."""
DOWN_S = 5.0
"""And how long if its daemon says that the venue is away: it may be back at once, or not at all."""
SNAPSHOT_S = 30.0
"""How long the venue may take to list what it has."""
SECOND_LOOK_S = 5.0
"""A difference in a holding is looked at again after this: venues tell positions late."""
MAX_WAITING = 10_000
"""Orders and amendments that wait for their turn; one more is refused. A cancel never is: at most
one an order waits."""

AHEAD = 64
"""Commands that are sent before the first of them is answered; more wait here, where they can still
be refused with certainty."""

What = Sending | AmendAsked | CancelAtVenue

logger = logging.getLogger(__name__)


@asynccontextmanager
async def open_broker(daemon: str, provider: str) -> AsyncIterator[Client]:
    """A connection to a broker daemon, which starts it: the only place that opens one."""
    path = str(paths.socket_path(daemon, provider))
    async with open_client(path, BROKER, f"{daemon}@{provider}") as client:
        yield client


def daemon_of(account: str) -> tuple[str, str]:
    """The broker daemon of an account, by its whole name: kind and provider."""
    parsed = parse_account(account, "")
    assert parsed is not None, f"expected an account's whole name, was {account!r}"
    return ("paperboi" if parsed.is_paper else "brokerd"), parsed.provider


class Guard(Protocol):
    """Has the last word before an order leaves."""

    def why_not_now(self, life: Life) -> str:
        """Why it must not leave, or an empty text."""


class _Waiting(NamedTuple):
    """A command that waits for its turn, and until when it may leave, CLOCK_BOOTTIME."""

    oid: str
    what: What
    not_after_boot_ns: float


class _Ask:
    """A snapshot that waits for its turn."""

    def __init__(self) -> None:
        self.done = trio.Event()
        self.answer: SnapshotReply | Refused | None = None


class Route:
    """One broker daemon, and the accounts that are traded on through it.

    What it has to say of orders itself it owes, until there is room to write it down: whoever hands
    it a command or tells it the time is never refused.
    """

    def __init__(
        self,
        daemon: str,
        provider: str,
        book: Book,
        settings: EmsdSettings,
        guard: Guard,
        learn: Learn,
        changed: Callable[[], None],
    ) -> None:
        self.daemon = daemon
        self.provider = provider
        self.opened: Opened | None = None
        self.ready = False
        self.reason = "not asked yet"
        self.since_ns = clock.wall_ns()
        self._book = book
        self._settings = settings
        self._guard = guard
        self.reconciliation = Reconciliation(self.unit, book, learn)
        self._tell = changed
        self._link = Link(up=False)
        self._down_since = math.inf
        """Since when the daemon says that the venue is away, trio's clock."""
        self._queue: deque[_Waiting | _Ask] = deque()
        """Of this session only: see MAX_WAITING."""
        self._cancels: set[str] = set()
        """The orders whose cancel waits in it."""
        self._queued = trio.Event()
        self._asked: deque[_Waiting | _Ask] = deque()
        """Sent, and not answered yet: at most AHEAD."""
        self._asked_one = trio.Event()
        self._wanted = trio.Event()
        self._changed = trio.Event()
        self._heard: set[str | Where] = set()
        """Of what the venue has spoken since it was asked: orders, and places of fills."""
        self._deadlines: dict[tuple[str, type[What]], float] = {}
        """When what was sent of an order and not answered counts as silence, trio's clock."""
        self._owed: deque[tuple[str, OrderEvent]] = deque()
        """What is still to be recorded: at most a few an order, paid before the next is sent."""
        self._asked_ns: int | None = None
        self.looked_ns = 0
        """When the venue was asked what it has, the last time that it said so, UTC ns."""
        self._proves_from = math.inf
        self._look_wanted = trio.Event()
        self._looking = trio.CancelScope()
        """Of the look under way, which ends when the link is lost."""
        self._begun = 0
        self._ended = 0
        """Looks, by number: the newest that was begun, and that has ended."""
        self._backoff = Backoff()
        self._hurried = trio.Event()
        self._failures = 0
        """Sessions that have ended, or that could not be had."""

    @property
    def unit(self) -> str:
        """The unit that it leads to."""
        return f"{self.daemon}@{self.provider}"

    @property
    def accounts(self) -> tuple[str, ...]:
        """The accounts that it can trade on; before it was reached, those known of old."""
        if self.opened:
            return self.opened.accounts
        ours = (self.daemon, self.provider)
        return tuple(each for each in self._book.accounts() if daemon_of(each) == ours)

    def states(self, is_live: Callable[[str], bool | None]) -> list[AccountState]:
        """How each of its accounts is; `is_live` says whether it is real money."""
        connecting = self._wanted.is_set() and self._link.up
        state: AccountReadiness = "reconciling" if connecting else "unreachable"
        return [
            AccountState(
                account=account,
                live=is_live(account),
                state="ready" if self.ready else state,
                since_ns=self.since_ns,
                reason=self.reason or self.reconciliation.remark,
                unexplained=unexplained(self._book, account),
                balance=self.reconciliation.balances.get(account),
            )
            for account in self.accounts
        ]

    # --- what others ask of it

    def want(self) -> None:
        """Have it opened, and kept so."""
        self._wanted.set()

    async def until_ready(self, account: str) -> None:
        """Wait until orders of an account can leave, or it has failed to come up twice from now.

        Raises Refused: AccountUnreachable, UnknownAccount.
        """
        self.want()
        if not self.ready:
            self._hurry()
            with trio.move_on_after(READY_S):
                await self._until_ready_or_down(self._failures + 2)
        if self.opened and account not in self.accounts:
            raise Refused(UnknownAccount(account=account, allowed=self.accounts))
        if not self.ready:
            raise Refused(AccountUnreachable(account=account, reason=self.reason))

    async def _until_ready_or_down(self, failures: int) -> None:
        while not self.ready and self._failures < failures:
            with trio.move_on_at(self._down_since + DOWN_S) as patience:
                await self._changed.wait()
            if patience.cancelled_caught:
                return

    async def reconcile(self) -> None:
        """Ask the venue now, and wait for what that says. Nothing while it can't be asked."""
        wanted = self._begun + 1
        self._look_wanted.set()
        while self._link.up and self._ended < wanted:
            await self._changed.wait()

    def send(self, outgoing: Outgoing) -> None:
        """Have a command leave, after those before it. What can't is refused by what it is."""
        oid, what = outgoing
        life = self._book.lives[oid]
        if isinstance(what, CancelAtVenue):
            self._send_cancel(life, what)
        elif not self.ready:
            self._refuse(oid, what, f"not sent: {self.reason}")
        elif not _stands(life, what):
            self._refuse(oid, what, "not sent: the link was lost before it could be")
        elif len(self._queue) >= MAX_WAITING:
            self._refuse(oid, what, f"not sent: {len(self._queue)} others wait to be")
        else:
            # By both clocks: no later than the life says, whatever the commit took.
            left_ns = min(what.not_after_ns - clock.wall_ns(), self._not_after_ns)
            self._put(_Waiting(oid, what, clock.boot_ns() + left_ns))

    def judge_silence(self) -> None:
        """Say of what was sent and not answered for too long that it is not known."""
        self._pay()
        now = trio.current_time()
        due = [waited for waited, deadline in self._deadlines.items() if deadline <= now]
        for oid, what in due:
            del self._deadlines[oid, what]
            if _is_awaited(self._book.lives.get(oid), what):
                self._owe(oid, Silence())
                self._look_wanted.set()

    @property
    def _not_after_ns(self) -> int:
        return round(self._settings.not_after_s * NS)

    def _send_cancel(self, life: Life, what: CancelAtVenue) -> None:
        """While the link is down it stays wanted, in doubt, and is sent when it is up again."""
        oid = life.order.oid
        if self._link.up:
            self._put_cancel(oid, what)
        elif _in_suspense(life):
            self._owe(oid, LinkLost(reason=f"the cancel was not sent: {self.reason}"))

    # --- what it says of orders itself

    def _refuse(self, oid: str, what: What, reason: str) -> None:
        """What did not reach the venue: certain, so no doubt stays. A cancel is still wanted."""
        if isinstance(what, Sending):
            self._owe(oid, OrderRefused(reason=reason))
        elif isinstance(what, AmendAsked):
            self._owe(oid, AmendRefused(n=what.n, reason=reason))

    def _owe(self, oid: str, event: OrderEvent) -> None:
        self._owed.append((oid, event))
        self._pay()

    def _pay(self) -> None:
        """Record what is owed; what finds no room is tried again a second later."""
        while self._owed:
            oid, event = self._owed[0]
            try:
                if oid in self._book.lives:
                    self._book.record(oid, event)
            except Refused:
                return
            self._owed.popleft()

    # --- the session

    async def run(self) -> None:
        """Keep it open, once it is wanted, until cancelled."""
        while True:
            await self._wanted.wait()
            try:
                async with (
                    open_broker(self.daemon, self.provider) as hearing,
                    open_broker(self.daemon, self.provider) as commanding,
                    trio.open_nursery() as nursery,
                ):
                    nursery.start_soon(self._hear, hearing)
                    self._asked.clear()
                    nursery.start_soon(self._command, commanding)
                    nursery.start_soon(self._hear_answers, commanding)
                    nursery.start_soon(self._look_often)
            except* (Unreachable, Refused) as group:
                self._failures += 1
                self._down_since = math.inf
                self._lose(str(leaf(group)))
            self._hurried = trio.Event()
            with trio.move_on_after(self._backoff.pause()):
                await self._hurried.wait()

    def _hurry(self) -> None:
        """Somebody waits: the next attempts come soon."""
        self._backoff.reset()
        self._hurried.set()

    async def _hear(self, client: Client) -> None:
        async with aclosing(client.replies(Open(), OpenReply)) as replies:
            opened = False
            async for reply, fds in replies:
                close_all(fds)
                opened = opened or self._begin(reply.opened)
                for told in reply.told:
                    await self._take(told)
                if reply.link:
                    self._take_link(reply.link)
        raise Unreachable(f"{self.unit} ended the session")

    def _begin(self, opened: Opened | None) -> bool:
        if opened is None:
            raise Unreachable(f"{self.unit}: expected Opened in the first reply, was none")
        logger.info(
            "%s: a session on %s%s",
            self.unit,
            ", ".join(opened.accounts),
            ", real money" if opened.live else "",
        )
        self.opened = opened
        self._asked_ns = None
        return True

    def _take_link(self, link: Link) -> None:
        """Up means that nothing is known any more but what the venue's lists will say."""
        self._lose(link.reason or "the link was lost in between")
        self._link = link
        self._down_since = math.inf if link.up else min(self._down_since, trio.current_time())
        if link.up:
            self._proves_from = trio.current_time() + self._settings.not_after_s + PROOF_S
            self._become(ready=False, reason="asking the venue what it has")
            self._look_wanted.set()

    def _lose(self, reason: str) -> None:
        """The way to the venue broke: what never left is refused, what did is not known."""
        self._link = Link(up=False, reason=reason)
        self._looking.cancel()
        self.reconciliation.start_over()
        self._deadlines.clear()
        self._become(ready=False, reason=reason)
        self._cancels.clear()
        queue, self._queue = self._queue, deque()
        for waiting in queue:
            if isinstance(waiting, _Waiting):
                self._refuse(waiting.oid, waiting.what, f"not sent: {reason}")
        for account in self.accounts:
            for life in self._book.unclosed(account):
                if _in_suspense(life):
                    self._owe(life.order.oid, LinkLost(reason=reason))

    def _become(self, *, ready: bool, reason: str) -> None:
        if ready != self.ready:
            self._log_readiness(ready, reason)
        if (ready, reason) != (self.ready, self.reason):
            self.ready, self.reason = ready, reason
            self._tell()
        self._wake()

    def _log_readiness(self, ready: bool, reason: str) -> None:
        self.since_ns = clock.wall_ns()
        level, said = (logging.INFO, "ready") if ready else (logging.WARNING, "not ready")
        message_id = log.ACCOUNT_READY if ready else log.ACCOUNT_UNREACHABLE
        for account in self.accounts:
            extra = log.fields(account=account, message_id=message_id)
            logger.log(level, "%s is %s: %s", account, said, reason or "reconciled", extra=extra)

    def _wake(self) -> None:
        self._changed.set()
        self._changed = trio.Event()

    # --- what the venue says

    async def _take(self, told: Told) -> None:
        """Raises Unreachable for what no venue can say, Refused if it can't be written down."""
        self._heard.add(told.oid)
        execution = told.event.execution if isinstance(told.event, Filled) else None
        if execution:
            self._check(why_no_execution(execution))
            self._heard.add((execution.account, execution.market))
            await self._book.reopen_base(execution)
        life = await self._book.recall(told.oid)
        if life and life.order.account in self.accounts:
            self._check(why_unfit(life, told.event))
            self._book.record(told.oid, told.event)
        elif execution:
            self._take_foreign(execution)

    def _check(self, problem: str | None) -> None:
        if problem:
            raise Unreachable(f"{self.unit} says what can't be: {problem}")

    def _take_foreign(self, execution: Execution) -> None:
        """A fill of an order that isn't ours changes what is held all the same.

        In a market that isn't known, a look takes it: nothing else of the venue waits for that.
        """
        if execution.account not in self.accounts:
            return
        if execution.market in self._book.markets:
            self._book.adjust(execution)
        else:
            self._look_wanted.set()

    # --- commands

    def _put(self, waiting: _Waiting | _Ask) -> None:
        self._queue.append(waiting)
        self._queued.set()

    def _put_cancel(self, oid: str, what: CancelAtVenue) -> None:
        """One that waits already will be of all ids that are known then."""
        if oid not in self._cancels:
            self._cancels.add(oid)
            self._put(_Waiting(oid, what, math.inf))

    async def _command(self, client: Client) -> None:
        """Send what waits, in order, a few ahead of their answers."""
        while True:
            while not self._queue or len(self._asked) >= AHEAD:
                self._queued = trio.Event()
                await self._queued.wait()
            waiting = self._queue.popleft()
            if isinstance(waiting, _Ask):
                self._heard.clear()
                await self._ask(client, waiting, Snapshot(since_ns=self._since_ns()))
            else:
                await self._carry_out(client, waiting)

    async def _carry_out(self, client: Client, waiting: _Waiting) -> None:
        oid, what, _ = waiting
        why_not = self._why_not_now(waiting)
        if why_not:
            self._refuse(oid, what, f"not sent: {why_not}")
            return
        self._deadlines[oid, type(what)] = trio.current_time() + self._settings.answer_timeout_s
        await self._ask(client, waiting, self._request(waiting))

    async def _ask(self, client: Client, waiting: _Waiting | _Ask, call: Call) -> None:
        """Raises Unreachable if it isn't known whether it arrived."""
        self._asked.append(waiting)
        self._asked_one.set()
        await client.ask(call)

    async def _hear_answers(self, client: Client) -> None:
        """Raises Unreachable if what came of a command isn't known."""
        while True:
            while not self._asked:
                self._asked_one = trio.Event()
                await self._asked_one.wait()
            waiting = self._asked[0]
            if isinstance(waiting, _Ask):
                await self._hear_snapshot(client, waiting)
            else:
                await self._hear_answer(client, waiting)
            self._asked.popleft()
            self._queued.set()

    async def _hear_snapshot(self, client: Client, ask: _Ask) -> None:
        try:
            ask.answer = await client.answer(SnapshotReply, SNAPSHOT_S)
        except Refused as no:
            ask.answer = no
        ask.done.set()

    async def _hear_answer(self, client: Client, waiting: _Waiting) -> None:
        try:
            await client.answer(Done)
        except Refused as no:
            if isinstance(no.fault, UnknownFault):
                raise Unreachable(f"{self.unit} speaks another version: {no}") from no
            self._refuse(waiting.oid, waiting.what, say(no.fault))

    def _why_not_now(self, waiting: _Waiting) -> str:
        """Why a command must not leave: whatever has happened since it was committed."""
        oid, what, not_after_boot_ns = waiting
        if isinstance(what, CancelAtVenue):
            return ""
        life = self._book.lives.get(oid)
        if life is None or not _stands(life, what):
            return "what became of it came first"
        if clock.boot_ns() > not_after_boot_ns:
            return "it waited for too long"
        if isinstance(what, Sending) and life.cancel:
            return "it was cancelled before it could be"
        return self._guard.why_not_now(life)

    def _request(self, waiting: _Waiting) -> Place | Amend | Cancel:
        oid, what, not_after_boot_ns = waiting
        if isinstance(what, CancelAtVenue):
            self._cancels.discard(oid)
            life = self._book.lives.get(oid)
            return Cancel(oid=oid, venue_ids=life.venue_ids if life else what.venue_ids)
        assert self.opened is not None, "expected a session"
        if isinstance(what, AmendAsked):
            return Amend(
                session=self.opened.session,
                not_after_boot_ns=int(not_after_boot_ns),
                oid=oid,
                n=what.n,
                size=what.size,
                limit=what.limit,
            )
        order = self._book.lives[oid].order
        return Place(
            session=self.opened.session,
            not_after_boot_ns=int(not_after_boot_ns),
            oid=oid,
            account=order.account,
            market=order.market,
            side=order.side,
            size=what.size,
            limit=what.limit,
            tif=order.tif,
        )

    # --- reconciliation

    async def _look_often(self) -> None:
        while True:
            with trio.move_on_after(self._until_next_look_s()):
                await self._look_wanted.wait()
            self._look_wanted = trio.Event()
            if self._link.up:
                with trio.CancelScope() as self._looking:
                    await self._look()

    def _until_next_look_s(self) -> float:
        """Sooner, if there is a doubt that a later look may end."""
        if not self._link.up:
            return math.inf
        due = [self._settings.reconcile_every_s]
        if self.reconciliation.doubtful or not self.ready:
            due.append(SECOND_LOOK_S)
        if self.opened and self.opened.absence_proves and self._is_anything_unknown():
            due.append(max(self._proves_from - trio.current_time(), SECOND_LOOK_S))
        return min(due)

    def _is_anything_unknown(self) -> bool:
        return any(
            life.state == "unknown" for each in self.accounts for life in self._book.unclosed(each)
        )

    async def _look(self) -> None:
        """Ask the venue what it has, and take that. Raises Unreachable, Refused."""
        self._begun += 1
        ask = _Ask()
        self._put(ask)
        await ask.done.wait()
        if isinstance(ask.answer, SnapshotReply):
            await self._take_snapshot(ask.answer)
            self._become(ready=True, reason="")
            self._backoff.reset()
            self._cancel_again()
        elif ask.answer:
            self._become(ready=False, reason=say(ask.answer.fault))
        self._ended = self._begun
        self._wake()

    async def _take_snapshot(self, snapshot: SnapshotReply) -> None:
        self._pay()  # the lists come after what was lost
        complete = await self.reconciliation.take(
            snapshot, self.accounts, self._heard.__contains__, self._absence_proves
        )
        self._tell()
        self.looked_ns = snapshot.asked_ns
        if complete:
            self._asked_ns = snapshot.asked_ns

    def _absence_proves(self) -> bool:
        proves = self.opened is not None and self.opened.absence_proves
        return proves and trio.current_time() >= self._proves_from

    def _since_ns(self) -> int:
        if self._asked_ns is not None:
            return self._asked_ns - MARGIN_NS
        known = [self._book.newest_entry_ns(account) for account in self.accounts]
        return min([clock.wall_ns(), *filter(None, known)]) - FIRST_MARGIN_NS

    def _cancel_again(self) -> None:
        """A cancel of which nothing is known is still wanted: twice does no harm."""
        for account in self.accounts:
            for life in self._book.unclosed(account):
                if life.cancel and life.cancel.unknown and life.state != "held":
                    oid = life.order.oid
                    self._put_cancel(oid, CancelAtVenue(oid=oid, venue_ids=life.venue_ids))


def _stands(life: Life, what: Sending | AmendAsked) -> bool:
    """Whether what was decided is still to be sent: nothing was said of it since."""
    if isinstance(what, Sending):
        return life.state == "sending"
    return life.amend is not None and life.amend.n == what.n and not life.amend.unknown


def _is_awaited(life: Life | None, what: type[What]) -> bool:
    """Whether the venue has not answered a command to do with an order."""
    if life is None or life.closed:
        return False
    if what is Sending:
        return life.state == "sending"
    pending = life.amend if what is AmendAsked else life.cancel
    return pending is not None and not pending.unknown


def _in_suspense(life: Life) -> bool:
    """Whether any answer of the venue is awaited."""
    return any(_is_awaited(life, what) for what in (Sending, AmendAsked, CancelAtVenue))
