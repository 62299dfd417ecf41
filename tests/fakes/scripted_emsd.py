"""An emsd that does what a test says: it listens where clients look for the real one."""

from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import ExitStack, asynccontextmanager, closing
from decimal import Decimal
from typing import Any

import trio

from piker import paths
from piker.accounts import AccountState
from piker.core.lifecycle import apply, begin
from piker.errors import Fault, Refused
from piker.interfaces import Call, Interface
from piker.interfaces.introspection import InvalidParameter
from piker.interfaces.orders import (
    ORDERS,
    ORDERS_VIEW,
    AcceptPosition,
    Accounts,
    AccountsReply,
    Amend,
    Cancel,
    CancelAll,
    Done,
    Flatten,
    Halt,
    ImportedTo,
    ImportExecutions,
    ImportReply,
    Ledger,
    LedgerLine,
    LedgerReply,
    Limits,
    LimitsReply,
    NoSuchOrder,
    NotImported,
    OidsReply,
    OrderNews,
    OrderReply,
    Orders,
    OrdersReply,
    PositionLine,
    Positions,
    PositionsReply,
    Resolve,
    Resume,
    Submit,
    SubmitReply,
    SyncLedger,
    Timeline,
    TimelineReply,
    TooOld,
)
from piker.orders import (
    CLOSED,
    AmendAsked,
    CancelAsked,
    Execution,
    Filled,
    Life,
    Order,
    OrderEvent,
    Resolved,
    Submitted,
)
from piker.transport import HungUp, listen
from piker.varlink import Server, Stream

FIRST_NS = 1_800_000_000_000_000_000
"""2027-01-15 08:00 UTC: the time of event 0; each is a second after the one before."""
SECOND_NS = 1_000_000_000
PAPER = AccountState(account="paper.replay", live=False, state="ready", since_ns=FIRST_NS)
REAL = AccountState(account="sim.main", live=True, state="ready", since_ns=FIRST_NS)
LIMITS = LimitsReply(
    order_size=Decimal(1000),
    order_notional=None,
    position=Decimal(5000),
    position_notional=None,
    open_orders=50,
    orders_per_s=10,
    daily_loss=Decimal("250.50"),
    distance_pct=Decimal(5),
)


def order(oid: str = "o1", **fields: Any) -> Order:
    """An order to buy 1000 at 1.20 on paper, but for what is given."""
    usual: dict[str, Any] = {
        "account": "paper.replay",
        "market": "eurusd.spot.replay",
        "side": "buy",
        "size": Decimal(1000),
        "kind": "limit",
        "limit": None if "kind" in fields else Decimal("1.20"),
    }
    return Order(oid=oid, **(usual | fields))


def fill(
    oid: str, size: int = 1000, price: str = "1.1", exec_id: str = "e1", **fields: Any
) -> Filled:
    """A fill of such an order."""
    usual: dict[str, Any] = {
        "venue_id": "v1",
        "account": "paper.replay",
        "market": "eurusd.spot.replay",
        "side": "buy",
        "fee": Decimal(0),
        "fee_currency": "USD",
        "time_ns": FIRST_NS,
    }
    given = {"oid": oid, "exec_id": exec_id, "size": Decimal(size), "price": Decimal(price)}
    return Filled(execution=Execution(**(usual | given | fields)))


class Emsd:
    """Orders in memory; a test tells it events, and what to answer."""

    def __init__(self) -> None:
        self.asked: list[Call] = []
        """What was asked of it, but for reading."""
        self.since: list[int | None] = []
        """From where streams of orders began."""
        self.lives: dict[str, Life] = {}
        self.news: list[OrderNews] = []
        self.first_seq = 0
        self.archived: set[str] = set()
        """Orders that no book has any more."""
        self.follows: tuple[OrderEvent, ...] = ()
        """What happens to each order that is submitted, at once."""
        self.refuses: dict[type[Call], Fault] = {}
        self.deaf = 0
        """So many submits come, stand, and end the connection in place of an answer."""
        self.warnings: tuple[str, ...] = ()
        self.accounts_now = AccountsReply(accounts=(PAPER, REAL))
        self.positions_now: tuple[PositionLine, ...] = ()
        self.lines: tuple[LedgerLine, ...] = ()
        self.not_imported: tuple[NotImported, ...] = ()
        self.imported_to: tuple[ImportedTo, ...] = ()
        self.book_part = 100
        self.followers = 0
        self.watchers = 0
        """Streams of positions that had a reply."""
        self._changed = trio.Event()

    @property
    def seq(self) -> int:
        """Of the newest event."""
        return len(self.news)

    def tell(self, oid: str, *events: OrderEvent) -> None:
        """Have something happen to an order."""
        for event in events:
            before = self.lives.get(oid)
            life = begin(event) if isinstance(event, Submitted) else apply(_known(before), event)[0]
            self.lives[oid] = life
            self.news.append(
                OrderNews(
                    seq=self.seq + 1,
                    time_ns=FIRST_NS + self.seq * SECOND_NS,
                    oid=oid,
                    account=life.order.account,
                    event=event,
                )
            )
        self.change()

    def change(self) -> None:
        """Have streams look again."""
        self._changed.set()
        self._changed = trio.Event()

    async def until(self, such: Callable[["Emsd"], bool]) -> None:
        """Wait until it is such; whatever is asked of it is a reason to look."""
        while not such(self):
            await self._changed.wait()

    # --- orders go in

    async def submit(self, call: Submit) -> SubmitReply:
        self._note(call)
        asked = call.order
        if call.dry_run:
            return self._submitted(begin(Submitted(order=asked)), 0)
        if asked.oid not in self.lives:
            self.tell(asked.oid, Submitted(order=asked), *self.follows)
        if self.deaf:
            self.deaf -= 1
            raise HungUp("as a test wants it")
        return self._submitted(self.lives[asked.oid], self.seq)

    def _submitted(self, life: Life, seq: int) -> SubmitReply:
        live = any(each.live for each in self._states() if each.account == life.order.account)
        return SubmitReply(life=life, seq=seq, live=live, warnings=self.warnings)

    def _states(self) -> Iterable[AccountState]:
        return self.accounts_now.accounts

    async def amend(self, call: Amend) -> OrderReply:
        life = self._find(call)
        size = life.size if call.size is None else call.size
        limit = life.limit if call.limit is None else call.limit
        event = AmendAsked(n=life.amends + 1, size=size, limit=limit, not_after_ns=FIRST_NS)
        self.tell(call.oid, event)
        return OrderReply(life=self.lives[call.oid], seq=self.seq)

    async def cancel(self, call: Cancel) -> OrderReply:
        self._find(call)
        self.tell(call.oid, CancelAsked())
        return OrderReply(life=self.lives[call.oid], seq=self.seq)

    async def cancel_all(self, call: CancelAll) -> OidsReply:
        self._note(call)
        oids = tuple(oid for oid, life in self.lives.items() if life.state not in CLOSED)
        for oid in oids:
            self.tell(oid, CancelAsked())
        return OidsReply(oids=oids)

    async def flatten(self, call: Flatten) -> OidsReply:
        return await self.cancel_all(call)  # type: ignore[arg-type]

    async def resolve(self, call: Resolve) -> OrderReply:
        self._find(call)
        self.tell(call.oid, Resolved(outcome=call.outcome, note=call.note))
        return OrderReply(life=self.lives[call.oid], seq=self.seq)

    async def sync_ledger(self, call: SyncLedger) -> Done:
        return self._done(call)

    async def import_executions(self, call: ImportExecutions) -> ImportReply:
        self._note(call)
        return ImportReply(
            new=len(call.executions),
            corrected=0,
            known=0,
            refused=self.not_imported,
            changes=self.imported_to,
        )

    async def accept_position(self, call: AcceptPosition) -> Done:
        return self._done(call)

    async def halt(self, call: Halt) -> Done:
        return self._done(call)

    async def resume(self, call: Resume) -> Done:
        return self._done(call)

    def _done(self, call: Call) -> Done:
        self._note(call)
        return Done()

    # --- what there is goes out

    async def orders(self, call: Orders, stream: Stream) -> None:
        self._refuse(call)
        self.since.append(call.since_seq)
        if call.since_seq is not None and call.since_seq < self.first_seq:
            raise Refused(TooOld(first_seq=self.first_seq))
        if call.since_seq is not None and call.since_seq > self.seq:
            raise Refused(InvalidParameter(parameter=f"since_seq: expected 0 to {self.seq}"))
        seq = self.seq if call.since_seq is None else call.since_seq
        if call.since_seq is None:
            await self._send_book(stream)
        else:
            await stream.send(OrdersReply(seq=seq))
        self.followers += 1
        self.change()
        try:
            await self._send_news(stream, seq)
        finally:
            self.followers -= 1
            self.change()

    async def _send_book(self, stream: Stream) -> None:
        kept = [oid for oid in self.lives if oid not in self.archived]
        lives, seq = tuple(self.lives[oid] for oid in kept), self.seq
        while len(lives) > self.book_part:
            part, lives = lives[: self.book_part], lives[self.book_part :]
            await stream.send(OrdersReply(seq=seq, book=part, complete=False))
        await stream.send(OrdersReply(seq=seq, book=lives))

    async def _send_news(self, stream: Stream, seq: int) -> None:
        while True:
            events = tuple(self.news[seq:])
            if events:
                lives = tuple(self._at(news) for news in events)
                await stream.send(OrdersReply(seq=self.seq, events=events, lives=lives))
                seq = events[-1].seq
            await self._changed.wait()

    def _at(self, at: OrderNews) -> Life:
        """How its order stood after an event."""
        first, *rest = [each for each in self.news[: at.seq] if each.oid == at.oid]
        assert isinstance(first.event, Submitted)
        life = begin(first.event)
        for each in rest:
            life = apply(life, each.event)[0]
        return life

    async def timeline(self, call: Timeline) -> TimelineReply:
        if call.oid not in self.lives:
            raise Refused(NoSuchOrder(oid=call.oid))
        events = tuple(news for news in self.news if news.oid == call.oid)
        return TimelineReply(life=self.lives[call.oid], events=events)

    async def positions(self, call: Positions, stream: Stream | None) -> PositionsReply:
        while stream is not None:
            changed = self._changed
            await stream.send(PositionsReply(positions=self.positions_now))
            if not self.watchers:
                self.watchers = 1
                self.change()
            await changed.wait()
        return PositionsReply(positions=self.positions_now)

    async def ledger(self, call: Ledger) -> LedgerReply:
        after, limit = call.after or 0, call.limit or 1000
        return LedgerReply(lines=self.lines[after : after + limit])

    async def accounts(self, call: Accounts, stream: Stream | None) -> AccountsReply:
        while stream is not None:
            changed = self._changed
            await stream.send(self.accounts_now)
            await changed.wait()
        return self.accounts_now

    async def limits(self, call: Limits) -> LimitsReply:
        return LIMITS

    def _note(self, call: Call) -> None:
        self.asked.append(call)
        self._refuse(call)

    def _refuse(self, call: Call) -> None:
        fault = self.refuses.get(type(call))
        if fault:
            raise Refused(fault)

    def _find(self, call: Amend | Cancel | Resolve) -> Life:
        self._note(call)
        if call.oid not in self.lives:
            raise Refused(NoSuchOrder(oid=call.oid))
        return self.lives[call.oid]


def _known(life: Life | None) -> Life:
    assert life is not None, "expected Submitted first"
    return life


@asynccontextmanager
async def listening(
    emsd: Emsd, also: Mapping[Interface, object] | None = None
) -> AsyncIterator[Emsd]:
    """It answers at both of its doors; when it is left, every conversation ends."""
    with ExitStack() as stack:
        async with trio.open_nursery() as nursery:
            for door, interface in (("view", ORDERS_VIEW), ("trade", ORDERS)):
                path = str(paths.socket_path("emsd", door))
                listener = stack.enter_context(closing(listen(path)))
                nursery.start_soon(
                    Server("emsd", {interface: emsd, **(also or {})}).serve, [listener]
                )
            with trio.fail_after(60):
                yield emsd
            nursery.cancel_scope.cancel()
