"""emsd: the life of every order, dark clearing, routing, risk and the ledger. Serves piker.Orders.

    python -m piker.emsd

Task tree, within piker.service's:

    Emsd.run
    ├─ Book.publish      tells what was recorded once it is on disk (piker.book)
    ├─ Desk.run          a task a broker daemon (piker.routing), one a market (piker.clearing)
    └─ _look_around      once a second what is due by the clock
"""

import logging
import os
import sys
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path

import trio

from piker import clock, config, log, paths, service
from piker.accounts import AccountState, Position
from piker.book import Book
from piker.core.lifecycle import replay
from piker.core.positions import open_profit
from piker.desk import Desk
from piker.errors import Refused, say
from piker.interfaces import Interface
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
    DiskFull,
    Done,
    Flatten,
    Halt,
    ImportExecutions,
    ImportReply,
    Ledger,
    LedgerReply,
    Limits,
    LimitsReply,
    NoSuchOrder,
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
)
from piker.interfaces.service import Component, Counter
from piker.markets import MarketState
from piker.orders import Life, Order, Resolved
from piker.routing import set_unexplained, unexplained
from piker.service import Report, Service
from piker.store import halt, marks
from piker.store.ballast import free_bytes
from piker.store.halt import Latch
from piker.store.journal import open_journal
from piker.varlink import Stream

NS = 1_000_000_000
JOURNAL = "journal.sqlite"
BOOK_PART = 200
"""Orders in one reply of the book; a message may have 16 MiB."""
NEWS_PART = 500
"""Events in one reply, at most."""
LEDGER_PART = 1_000
LAST_ENTRY = 2**63 - 1
"""The journal counts no further."""
CHANGE_PAUSE_S = 0.2
"""Positions and accounts are told at most five times a second; their newest always is."""
NAMED = 3
"""Markets that the status line names."""
TOUCH_EVERY = 5
"""Seconds between marks of having watched: so much longer a gap may be taken for after a crash."""

logger = logging.getLogger(__name__)


class Emsd:
    """Answers piker.Orders."""

    def __init__(
        self,
        service: Service,
        book: Book,
        desk: Desk,
        configuration: config.Configuration,
        directory: Path,
    ) -> None:
        self.handlers: dict[Interface, object] = {ORDERS: self, ORDERS_VIEW: self}
        self._service = service
        self._book = book
        self._desk = desk
        self._configuration = configuration
        self._directory = directory
        self._part = service.part("clock", lambda: None)  # it beats every second by itself
        self._changed = trio.Event()
        mark = marks.busy(directory)
        self._marked = frozenset(mark.providers) if mark else frozenset()
        """The providers that the mark on disk names."""

    # --- orders

    async def submit(self, call: Submit) -> SubmitReply:
        """piker.Orders.Submit."""
        return await self._desk.submit(call.order, dry_run=bool(call.dry_run))

    async def amend(self, call: Amend) -> OrderReply:
        """piker.Orders.Amend."""
        if call.size is None and call.limit is None and call.trigger is None:
            problem = "size, limit, trigger: expected at least one"
            raise Refused(InvalidParameter(parameter=problem))
        return self._as_it_is(await self._desk.amend(call))

    async def cancel(self, call: Cancel) -> OrderReply:
        """piker.Orders.Cancel."""
        return self._as_it_is(await self._desk.cancel(call.oid))

    async def cancel_all(self, call: CancelAll) -> OidsReply:
        """piker.Orders.CancelAll."""
        return OidsReply(oids=await self._desk.cancel_all(call.account, call.market))

    async def flatten(self, call: Flatten) -> OidsReply:
        """piker.Orders.Flatten."""
        return OidsReply(oids=await self._desk.flatten(call.account, call.market))

    async def resolve(self, call: Resolve) -> OrderReply:
        """piker.Orders.Resolve."""
        event = Resolved(outcome=call.outcome, note=call.note)
        return self._as_it_is(await self._desk.resolve(event, call.oid))

    async def orders(self, call: Orders, stream: Stream) -> None:
        """piker.Orders.Orders."""
        seq = call.since_seq
        if seq is None:
            seq = await self._send_book(stream)
        elif not 0 <= seq <= self._book.published_seq:
            problem = f"since_seq: expected 0 to {self._book.published_seq}, was {seq}"
            raise Refused(InvalidParameter(parameter=problem))
        else:
            seq = await self._send_older(stream, seq)
        while True:
            await self._book.past(seq)
            news = self._book.news_after(seq, NEWS_PART)
            if news is None:
                news = await self._book.older_news(seq)
            seq = await _send_news(stream, news)

    async def timeline(self, call: Timeline) -> TimelineReply:
        """piker.Orders.Timeline."""
        events = await self._book.journal.read(lambda reader: reader.timeline(call.oid))
        if not events:
            raise Refused(NoSuchOrder(oid=call.oid))
        return TimelineReply(life=replay(news.event for news in events), events=events)

    # --- accounts, positions, the ledger

    async def positions(self, call: Positions, stream: Stream | None) -> PositionsReply:
        """piker.Orders.Positions."""
        self._desk.names.check_whole(call.account)
        reply = self._positions(call.account)
        while stream is not None:
            await stream.send(reply)
            sizes = _sizes(reply)
            while _sizes(reply := self._positions(call.account)) == sizes:
                await self._change()
        return reply

    async def ledger(self, call: Ledger) -> LedgerReply:
        """piker.Orders.Ledger."""
        self._desk.names.check_whole(call.account)
        after, limit = call.after or 0, LEDGER_PART if call.limit is None else call.limit
        if not 1 <= limit <= LEDGER_PART:
            problem = f"limit: expected 1 to {LEDGER_PART}, was {limit}"
            raise Refused(InvalidParameter(parameter=problem))
        if not 0 <= after <= LAST_ENTRY:
            problem = f"after: expected 0 to {LAST_ENTRY}, was {after}"
            raise Refused(InvalidParameter(parameter=problem))
        lines = await self._book.journal.read(
            lambda reader: reader.ledger_lines(call.account, call.market, after, limit)
        )
        return LedgerReply(lines=lines)

    async def sync_ledger(self, call: SyncLedger) -> Done:
        """piker.Orders.SyncLedger."""
        await self._desk.sync(call.account)
        return Done()

    async def import_executions(self, call: ImportExecutions) -> ImportReply:
        """piker.Orders.ImportExecutions."""
        reply = await self._desk.take_in(call)
        self._tell()
        return reply

    async def accounts(self, call: Accounts, stream: Stream | None) -> AccountsReply:
        """piker.Orders.Accounts."""
        while stream is not None:
            reply = self._accounts()
            await stream.send(reply)
            while self._accounts() == reply:
                await self._change()
        return self._accounts()

    async def accept_position(self, call: AcceptPosition) -> Done:
        """piker.Orders.AcceptPosition."""
        blocked = unexplained(self._book, call.account)
        if call.market not in blocked:
            known = ", ".join(blocked) or "no market"
            problem = f"there is nothing to accept in {call.market}, only in {known}"
            raise Refused(InvalidParameter(parameter=problem))
        set_unexplained(self._book, call.account, {*blocked} - {call.market})
        accepted = f"accepted:{call.account}:{call.market}"
        await self._book.note(accepted, f"{clock.wall_ns()} {call.note}").wait()
        logger.warning("the position of %s in %s was accepted", call.account, call.market)
        self._tell()
        return Done()

    async def limits(self, call: Limits) -> LimitsReply:
        """piker.Orders.Limits."""
        fqme = await self._desk.names.market(call.market)
        account = self._desk.names.account(call.account, fqme.rpartition(".")[2])
        return config.limits_of(self._configuration, account, fqme)

    async def halt(self, call: Halt) -> Done:
        """piker.Orders.Halt."""
        latch = Latch(reason=call.reason, since_ns=clock.wall_ns())
        with self._needing_room():
            await trio.to_thread.run_sync(halt.set, self._directory, latch)
        extra = log.fields(message_id=log.HALTED)
        logger.warning("halted: %s; cancels and reducing orders pass", call.reason, extra=extra)
        self._tell()
        return Done()

    async def resume(self, call: Resume) -> Done:
        """piker.Orders.Resume."""
        with self._needing_room():
            await trio.to_thread.run_sync(halt.clear, self._directory)
        logger.warning("resumed", extra=log.fields(message_id=log.RESUMED))
        self._desk.triggering.look_around()
        self._tell()
        return Done()

    # --- how it is

    def report(self) -> Report:
        """A line a person can trust."""
        standing = self._desk.standing
        armed, unclosed, unknown = standing.armed_count, standing.count, len(standing.unknown)
        accounts = self._accounts().accounts
        wanted = [each for each in accounts if self._desk.is_wanted(each.account)]
        unready = [each for each in wanted if each.state != "ready"]
        markets = [each.state for _, each in sorted(self._desk.clearing.markets.items())]
        blind = [each for each in markets if self._is_blind(each)]
        halted = self._desk.gate.halted()
        fault = self._book.journal.fault
        parts = [
            f"{armed} armed",
            f"{unclosed - armed} open",
            *([f"{unknown} UNKNOWN: piker orders"] if unknown else []),
            *map(_standing, wanted),
            *[f"{each.market} {each.state}" for each in blind[:NAMED]],
            *([f"and {len(blind) - NAMED} more"] if blind[NAMED:] else []),
            *([f"HALTED: {halted.reason}"] if halted else []),
            *([say(fault)] if fault else []),
        ]
        degraded = unknown or unready or blind or halted or fault
        return Report(
            status=" · ".join(parts),
            state="degraded" if degraded else "running",
            components=(
                *(
                    Component(name=each.account, state=each.state, detail=each.reason)
                    for each in accounts
                ),
                *(
                    Component(name=each.market, state=each.state, detail=each.reason)
                    for each in markets
                ),
            ),
            counters=(
                Counter(name="events", value=self._book.published_seq),
                Counter(name="commits", value=self._book.journal.commits),
                Counter(name="unclosed", value=unclosed),
                Counter(name="armed", value=armed),
            ),
        )

    def _is_blind(self, state: MarketState) -> bool:
        """Whether triggers wait in a market of which nothing is seen."""
        armed = state.market in self._desk.standing.armed
        return armed and state.state not in ("live", "closed")

    def reason_to_live(self) -> str:
        """What is armed or open."""
        count = self._book.count_unclosed()
        return f"{count} orders are armed or open" if count else ""

    # --- the task tree

    async def run(self) -> None:
        """Its tasks, until cancelled."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._book.publish)
            nursery.start_soon(self._desk.run)
            nursery.start_soon(self._look_around)

    async def _look_around(self) -> None:
        start, rounds = trio.current_time(), 0
        while True:
            self._desk.look_around()
            self._mark(touch=rounds % TOUCH_EVERY == 0)
            self._part.beat()
            rounds += 1
            await trio.sleep_until(start + rounds)

    def _mark(self, *, touch: bool) -> None:
        """Keep the mark that brings emsd back true, and its time that of the last look."""
        with suppress(OSError):  # a full disk: the mark that is there stays
            self._set_mark(frozenset(map(_provider, self._desk.standing.markets)))
            if touch:
                self._touch_mark()

    def mark_busy(self, order: Order) -> None:
        """Have a start after a boot or a login bring it back. Raises Refused(DiskFull)."""
        with self._needing_room():
            self._set_mark(self._marked | {_provider(order.market)})

    def _set_mark(self, providers: frozenset[str]) -> None:
        if providers == self._marked:
            return
        if providers:
            marks.set_busy(self._directory, "orders are armed or open", providers)
        else:
            marks.clear_busy(self._directory)
        self._marked = providers
        self._touch_mark()

    def _touch_mark(self) -> None:
        """Its time is that of the last look; by our clock, as all that it is compared with."""
        if self._marked:
            now_ns = clock.wall_ns()
            os.utime(self._directory / marks.NAME, ns=(now_ns, now_ns))

    @contextmanager
    def _needing_room(self) -> Iterator[None]:
        """What the disk does not take is refused: nothing has happened."""
        try:
            yield
        except OSError as error:
            path, free = str(self._directory), free_bytes(self._directory)
            raise Refused(DiskFull(path=path, free_bytes=free)) from error

    async def _change(self) -> None:
        """Wait until something has changed; it is told at most so often."""
        await self._changed.wait()
        await trio.sleep(CHANGE_PAUSE_S)

    def tell(self) -> None:
        """Say to all who follow that something has changed."""
        self._tell()

    def _tell(self) -> None:
        self._changed.set()
        self._changed = trio.Event()
        self._service.changed()

    def _as_it_is(self, life: Life) -> OrderReply:
        return OrderReply(life=life, seq=self._desk.seq_of(life.order.oid))

    def _accounts(self) -> AccountsReply:
        halted = self._desk.gate.halted()
        return AccountsReply(
            accounts=tuple(self._desk.account_states()),
            halted=halted.reason if halted else None,
        )

    def _positions(self, account: str | None) -> PositionsReply:
        return PositionsReply(
            positions=tuple(self._line(position) for position in self._book.positions(account))
        )

    def _line(self, position: Position) -> PositionLine:
        price, time_ns = self._desk.clearing.newest_price(position.market)
        return PositionLine(
            position=position,
            price=price,
            price_ns=time_ns,
            open_profit=None if price is None else open_profit(position, price),
        )

    async def _send_book(self, stream: Stream) -> int:
        lives, seq = list(self._book.published.values()), self._book.published_seq
        parts = [lives[at : at + BOOK_PART] for at in range(0, len(lives), BOOK_PART)] or [[]]
        for number, part in enumerate(parts, 1):
            complete = number == len(parts)
            book = tuple(life.brief for life in part)
            await stream.send(OrdersReply(seq=seq, book=book, complete=complete))
        return seq

    async def _send_older(self, stream: Stream, seq: int) -> int:
        """What isn't in memory any more; a first reply at once, so that the client knows."""
        news = self._book.news_after(seq, NEWS_PART)
        if news is None:
            news = await self._book.older_news(seq)
        if not news:
            await stream.send(OrdersReply(seq=seq))
            return seq
        return await _send_news(stream, news)


async def _send_news(stream: Stream, news: Sequence[tuple[OrderNews, Life]]) -> int:
    seq: int = 0
    for at in range(0, len(news), NEWS_PART):
        events, lives = zip(*news[at : at + NEWS_PART], strict=True)
        seq = events[-1].seq
        brief = tuple(life.brief for life in lives)
        await stream.send(OrdersReply(seq=seq, events=events, lives=brief))
    return seq


def _standing(account: AccountState) -> str:
    """An account's state, and what a person should know of it though orders can leave."""
    remark = f" ({account.reason})" if account.state == "ready" and account.reason else ""
    return f"{account.account} {account.state}{remark}"


def _provider(fqme: str) -> str:
    return fqme.rpartition(".")[2]


def _sizes(reply: PositionsReply) -> list[tuple[str, str, object]]:
    held = (line.position for line in reply.positions)
    return [(each.account, each.market, each.size) for each in held]


@asynccontextmanager
async def open_emsd(service: Service) -> AsyncIterator[Emsd]:
    """emsd, its book read. Raises Refused if it can't do its work."""
    configuration = config.load()
    service.idle_exit_s = configuration.idle_exit_s
    directory = paths.state_of("emsd")
    async with open_journal(directory / JOURNAL) as journal:
        book = Book(journal)
        await book.load()
        emsd: Emsd | None = None

        def changed() -> None:
            if emsd:
                emsd.tell()

        desk = Desk(book, configuration, directory, changed)
        emsd = Emsd(service, book, desk, configuration, directory)
        desk.before_first = emsd.mark_busy
        desk.recover(_watched_until_ns(directory))
        yield emsd


def _watched_until_ns(directory: Path) -> int:
    """When emsd last had a look around, as far as its mark says; not later than now."""
    now_ns = clock.wall_ns()
    try:
        return min(now_ns, (directory / marks.NAME).stat().st_mtime_ns)
    except OSError:
        return now_ns


def main() -> int:
    """python -m piker.emsd."""
    if len(sys.argv) != 1:
        print("usage: python -m piker.emsd", file=sys.stderr)  # noqa: T201
        return 2
    return service.main("emsd", None, open_emsd, {"view": (ORDERS_VIEW,), "trade": (ORDERS,)})


if __name__ == "__main__":
    sys.exit(main())
