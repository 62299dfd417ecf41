"""The book: every order's life, what is held, and what the journal has of both.

What is recorded counts in memory at once, and is published when it is on disk: only then is it
told to anybody, and only then does what it asks for leave.

    record    decides synchronously, queues rows for the disk
    publish   a task: as rows are committed, wakes who follows and has sent what is to be sent
"""

import logging
from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from decimal import Decimal
from functools import partial
from typing import Any, NamedTuple

import msgspec
import trio

from piker import clock, log
from piker.accounts import Adjustment, Entry, Position
from piker.core.bases import settled
from piker.core.lifecycle import apply, begin, replay
from piker.core.positions import MarketLedger
from piker.core.risk import at_stake
from piker.errors import Refused
from piker.interfaces.orders import LedgerLine, OrderNews, TooOld
from piker.markets import Market
from piker.orders import (
    NOTHING,
    AmendAsked,
    CancelAtVenue,
    Consequence,
    Corrected,
    Doubled,
    Execution,
    Filled,
    Held,
    LateFill,
    Life,
    LinkLost,
    Order,
    OrderEvent,
    Sending,
    Side,
    Silence,
    Submitted,
    Triggered,
    VenueEvent,
)
from piker.store.journal import Journal, Ticket
from piker.store.reading import Reader
from piker.store.records import Archived, Base, Happened, Kept, Note, Record

KEPT_NEWS = 10_000
"""Events kept for followers; one that lags further behind asks for the book anew."""
KEPT_CLOSED = 1_000
"""Closed orders kept in memory, so that a client that comes sees what became of the newest."""
CLOSED_S = 60.0
"""And each for so long since it was last asked for: who waits for an order still finds it."""
BASE_ENTRIES = 1_000
"""Settled entries of an account in a market that are worth a base: fewer are summed at a start."""
SETTLED_NS = 7 * 86_400 * 1_000_000_000
"""An entry so much older than its account's newest one is settled. Venues tell and correct what is
younger; what is told of older ones all the same costs that the whole ledger is read."""

Place = tuple[str, str]
"""An account and a market."""

_MESSAGE_IDS: dict[type[OrderEvent], str] = {
    Held: log.ORDER_HELD,
    Triggered: log.ORDER_TRIGGERED,
    Filled: log.FILL,
    Silence: log.ORDER_UNKNOWN,
    LinkLost: log.ORDER_UNKNOWN,
}

logger = logging.getLogger(__name__)


class Outgoing(NamedTuple):
    """What is to be sent to a broker daemon, once it is committed."""

    oid: str
    what: Sending | AmendAsked | CancelAtVenue


class _Row(NamedTuple):
    """One event that was recorded, and what follows when it is committed."""

    news: OrderNews
    life: Life
    outgoing: tuple[Outgoing, ...]


class Book:
    """All orders that aren't archived, what is held by account and market, and the way to disk."""

    def __init__(self, journal: Journal) -> None:
        self.journal = journal
        self.lives: dict[str, Life] = {}
        """As recorded."""
        self.published: dict[str, Life] = {}
        """As committed."""
        self.published_seq = journal.newest_seq
        self.seqs: dict[str, int] = {}
        """The newest event of each order."""
        self.markets: dict[str, Market] = {}
        self.send: Callable[[Outgoing], None] = lambda outgoing: None
        self.became: Callable[[Life], None] = lambda life: None
        """Called at once when a life has changed."""
        self._ledgers: dict[Place, MarketLedger] = {}
        self._bases_ns: dict[Place, int] = {}
        self._newest_ns: dict[str, int] = {}
        """The newest ledger entry of an account, the venue's time."""
        self._notes: dict[str, str] = {}
        self._rows: deque[_Row] = deque()
        """Recorded and not published: as many as the journal lets queue."""
        self._entered: deque[Ticket] = deque()
        """With ledger entries, of which the journal has the last word; as many at most."""
        self._news: deque[tuple[OrderNews, Life]] = deque(maxlen=KEPT_NEWS)
        self._closed: OrderedDict[str, float] = OrderedDict()
        """Until when closed orders are kept at least, trio's clock; the longest not asked for
        first."""
        self._working: dict[tuple[str, str, Side], Decimal] = {}
        self._open: dict[str, dict[str, None]] = {}
        """The orders of each account that aren't over, oldest first."""
        self._alerts: Counter[str] = Counter()
        """How many of them are alerts."""
        self._failed: Refused | None = None
        """Why the newest attempt to write failed."""
        self._recorded = trio.Event()
        self._progress = trio.Event()

    # --- a start

    async def load(self) -> None:
        """Sum up what the journal holds: start and recovery after a crash are this."""
        kept, notes, bases, lines = await self.journal.read(_everything)
        for note in notes:
            self._notes[note.key] = note.value
            if note.key.startswith("market:"):
                market = msgspec.json.decode(note.value, type=Market)
                self.markets[market.fqme] = market
        for order in kept:
            life = replay(news.event for news in order.events)
            self.seqs[order.oid] = order.events[-1].seq
            self._keep(None, life)
            self.published[order.oid] = life
        self._load_ledgers(bases, lines)

    def _load_ledgers(self, bases: Iterable[Base], lines: Iterable[LedgerLine]) -> None:
        tails: defaultdict[Place, list[LedgerLine]] = defaultdict(list)
        for base in bases:
            self._note_time(base.account, base.newest_ns)
        for line in lines:
            entry = _entry(line)
            self._note_time(entry.account, entry.time_ns)
            tails[entry.account, entry.market].append(line)
        for base in bases:
            self._load_ledger(base, tails[base.account, base.market])

    def _load_ledger(self, base: Base, tail: Sequence[LedgerLine]) -> None:
        place = base.account, base.market
        base = self._renewed(base, tail)
        if base.position:
            self._bases_ns[place] = base.newest_ns
        self._ledgers[place] = self._summed(base, tail)

    def _renewed(self, base: Base, tail: Sequence[LedgerLine]) -> Base:
        """A base that has all inside that is settled, if that is worth it; else the same."""
        if len(tail) <= BASE_ENTRIES or self.journal.fault:
            return base
        newest_ns = min(clock.wall_ns(), self._newest_ns[base.account])
        inside = tail[: settled([_entry(line) for line in tail], newest_ns - SETTLED_NS)]
        if len(inside) <= BASE_ENTRIES:
            return base
        renewed = Base(
            account=base.account,
            market=base.market,
            number=inside[-1].number,
            newest_ns=max(_entry(line).time_ns for line in inside),
            position=self._summed(base, inside).position(),
        )
        self._put([], renewed)
        return renewed

    def _summed(self, base: Base, lines: Iterable[LedgerLine]) -> MarketLedger:
        ledger = MarketLedger(base.position or self._flat(base.account, base.market))
        for line in lines:
            if line.number > base.number:
                _enter(ledger, _entry(line))
        return ledger

    # --- recording

    def admit(self, order: Order, *events: OrderEvent) -> int:
        """Begin an order's life. Gives the seq of its newest event."""
        assert order.oid not in self.lives, f"expected a new order, was {order.oid}"
        return self.record(order.oid, Submitted(order=order), *events)

    def record(self, oid: str, *events: OrderEvent) -> int:
        """Have an order take events, all or none; gives the seq of its newest one.

        What says nothing new is not written. Raises NotNow, or Refused(DiskFull) if more waits for
        the disk than may.
        """
        before = self.lives.get(oid)
        taken = list(_take(before, events))
        if taken:
            self._write([(before, taken)])
        return self.seqs[oid]

    def adjust(self, entry: Entry) -> None:
        """Write down what changed a holding and is no fill of ours. Once known, it does nothing.

        Raises Refused(DiskFull), as all that writes.
        """
        ledger = self._ledgers.get((entry.account, entry.market))
        if not (ledger and ledger.has(entry)):
            self._put([], entry)
        self._add(entry)

    def enter(self, entries: Iterable[Entry]) -> Ticket:
        """Write entries down in one transaction, that are not known yet; fills of orders that are
        known here count in these, too.

        Raises Refused(DiskFull), as all that writes; then nothing has changed.
        """
        fills: dict[str, list[Filled]] = {}
        others: list[Entry] = []
        for entry in entries:
            if isinstance(entry, Execution) and entry.oid in self.lives:
                fills.setdefault(entry.oid, []).append(Filled(execution=entry))
            else:
                others.append(entry)
        changes = [
            (self.lives[oid], list(_take(self.lives[oid], events))) for oid, events in fills.items()
        ]
        return self._write([change for change in changes if change[1]], *others)

    def note(self, key: str, value: str) -> Ticket:
        """Remember something that no event says."""
        ticket = self._put([], Note(oid="", key=key, value=value))
        self._notes[key] = value
        return ticket

    def noted(self, key: str) -> str | None:
        """What was remembered."""
        return self._notes.get(key)

    def know(self, market: Market) -> None:
        """Remember what a market is: positions in it are to be shown also without its datad."""
        if self.markets.get(market.fqme) != market:
            lasting = msgspec.structs.replace(market, sessions=None)
            self.note(f"market:{market.fqme}", msgspec.json.encode(lasting).decode())
            self.markets[market.fqme] = market

    def _write(
        self, changes: Sequence[tuple[Life | None, Sequence["_Taken"]]], *others: Entry
    ) -> Ticket:
        """Lives with what they have taken, and what is of no order here, in one transaction."""
        fills = [each for before, taken in changes for each in _new_entries(before, taken)]
        entries = [*fills, *others]
        ticket = self._append([each for _, taken in changes for each in taken], entries)
        for entry in entries:
            self._add(entry)
        for before, taken in changes:
            self._keep(before, taken[-1].life)
            self.became(taken[-1].life)
        return ticket

    def _append(self, taken: Sequence["_Taken"], entries: Sequence[Entry]) -> Ticket:
        time_ns = clock.wall_ns()
        orders = [each.life.order for each in taken]
        records = [
            Happened(time_ns=time_ns, oid=order.oid, account=order.account, event=each.event)
            for order, each in zip(orders, taken, strict=True)
        ]
        hurry = not taken or any(
            each.consequences or not isinstance(each.event, VenueEvent) for each in taken
        )
        ticket = self._put(records, *entries, hurry=hurry)
        for news, (event, life, consequences) in zip(ticket.news, taken, strict=True):
            self._rows.append(_Row(news, life, tuple(_outgoing(event, life, consequences))))
            _announce(life, consequences)
            self.seqs[news.oid] = news.seq
        return ticket

    def _put(self, happened: list[Happened], *others: Record, hurry: bool = True) -> Ticket:
        ticket = self.journal.append(*happened, *others, hurry=hurry)
        if any(isinstance(each, Entry) for each in others):
            self._entered.append(ticket)
        self._recorded.set()
        return ticket

    def _keep(self, before: Life | None, after: Life) -> None:
        order = after.order
        self.lives[order.oid] = after
        opened = self._open.setdefault(order.account, {})
        if not after.closed:
            opened[order.oid] = None
        elif not (before and before.closed):
            opened.pop(order.oid, None)
            self._keep_closed(order.oid)
        if order.kind == "alert":
            was_open = before is not None and not before.closed
            self._alerts[order.account] += (not after.closed) - was_open
        more = at_stake(after) - (at_stake(before) if before else NOTHING)
        if more:
            place = order.account, order.market, order.side
            self._working[place] = self._working.get(place, NOTHING) + more

    def _keep_closed(self, oid: str) -> None:
        """From here on it is the last one to leave memory."""
        self._closed[oid] = trio.current_time() + CLOSED_S
        self._closed.move_to_end(oid)

    def _add(self, entry: Entry) -> None:
        place = entry.account, entry.market
        if place not in self._ledgers:
            self._ledgers[place] = MarketLedger(self._flat(*place))
        self._note_time(entry.account, entry.time_ns)
        _enter(self._ledgers[place], entry)

    def _note_time(self, account: str, time_ns: int) -> None:
        self._newest_ns[account] = max(time_ns, self._newest_ns.get(account, 0))

    def _flat(self, account: str, market: str) -> Position:
        known = self.markets[market]
        return Position(
            account=account, market=market, currency=known.currency, multiplier=known.multiplier
        )

    # --- looking

    def position(self, account: str, market: str) -> Position:
        """What an account holds in a market that is known."""
        ledger = self._ledgers.get((account, market))
        return ledger.position() if ledger else self._flat(account, market)

    def positions(self, account: str | None = None) -> list[Position]:
        """All that was ever held, by account and market; of one account or of all."""
        return [
            self._ledgers[place].position()
            for place in sorted(self._ledgers)
            if account in (None, place[0])
        ]

    def ledger(self, account: str, market: str) -> MarketLedger | None:
        """The entries of an account in a market, if there are any."""
        return self._ledgers.get((account, market))

    def has(self, execution: Execution) -> bool:
        """Whether an execution, or a correction of it, was written down, as far back as a base."""
        ledger = self._ledgers.get((execution.account, execution.market))
        return bool(ledger and ledger.has(execution))

    def working(self, account: str, market: str, side: Side) -> Decimal:
        """What orders of a side that were sent may still fill, at most."""
        return self._working.get((account, market, side), NOTHING)

    def newest_entry_ns(self, account: str) -> int | None:
        """The newest entry of an account's ledger, the venue's time."""
        return self._newest_ns.get(account)

    def accounts(self) -> list[str]:
        """Those that ever had an order here that is kept, or a holding."""
        return sorted({*self._open, *(account for account, _ in self._ledgers)})

    def unclosed(self, account: str | None = None) -> list[Life]:
        """The orders that aren't over, of an account or of all; of each the oldest first."""
        accounts = list(self._open) if account is None else [account]
        return [self.lives[oid] for each in accounts for oid in self._open.get(each, ())]

    def count_unclosed(self) -> int:
        """How many orders aren't over, alerts too."""
        return sum(map(len, self._open.values()))

    def count_orders(self, account: str) -> int:
        """How many orders of an account aren't over; an alert is none that could be filled."""
        return len(self._open.get(account, ())) - self._alerts[account]

    # --- what is not in memory

    async def recall(self, oid: str) -> Life | None:
        """An order's life, brought back from the archive if need be; None: there is none."""
        if oid and oid not in self.lives and self.journal.knows(oid):
            events = await self.journal.read(lambda reader: reader.timeline(oid))
            if events and oid not in self.lives:
                life = replay(news.event for news in events)
                self.seqs[oid] = events[-1].seq
                self.lives[oid] = self.published[oid] = life
                self._keep_closed(oid)
        if oid in self._closed:
            self._keep_closed(oid)
        return self.lives.get(oid)

    async def reopen_base(self, execution: Execution) -> None:
        """Sum a market's whole ledger anew if that is older than what its base has inside, or
        corrects what may be there.

        To be called before it is recorded. The base is given up on disk first: the next start must
        not put on top of it what belongs inside.
        """
        place = execution.account, execution.market
        newest_ns = self._bases_ns.get(place)
        if newest_ns is None or self.has(execution):
            return
        if execution.revision > 0 or execution.time_ns <= newest_ns:
            await self.without_base(place)

    async def without_base(self, place: Place) -> None:
        """Have all entries of an account in a market in memory, and give up its base."""
        if place in self._bases_ns:
            self._put([], Base(account=place[0], market=place[1]))
            await self._sum_anew(place)

    async def first_opening(self, place: Place) -> Adjustment | None:
        """A market's opening as it was before it first changed; None: there is none."""
        lines = await self.journal.read(lambda reader: reader.ledger_lines(*place))
        known = self._ledgers.get(place)
        entries = (*map(_entry, lines), *(known.entries() if known else ()))
        openings = (e for e in entries if isinstance(e, Adjustment) and e.kind == "opening")
        return min(openings, key=lambda each: each.revision, default=None)

    async def all_entered(self) -> None:
        """Wait until the ledger on disk has all that is here now. Raises Refused."""
        if self._entered:
            await self._entered[-1].wait()

    async def _sum_anew(self, place: Place, without: Entry | None = None) -> None:
        """From all that is on disk, and what was added here and may not be there yet."""
        lines = await self.journal.read(lambda reader: reader.ledger_lines(*place))
        ledger = MarketLedger(self._flat(*place))
        for entry in (*map(_entry, lines), *self._ledgers[place].entries()):
            if entry != without:
                _enter(ledger, entry)
        self._ledgers[place] = ledger
        self._bases_ns.pop(place, None)

    # --- publishing

    async def until_published(self, seq: int) -> None:
        """Wait until an event is on disk, and told. Raises Refused when that can't be now."""
        while self.published_seq < seq:
            await self._progress.wait()
            if self.published_seq < seq and self._failed:
                raise Refused(self._failed.fault)

    async def past(self, seq: int) -> None:
        """Wait until a newer event than this one is published."""
        while self.published_seq <= seq:
            await self._progress.wait()

    def news_after(self, seq: int, limit: int) -> list[tuple[OrderNews, Life]] | None:
        """Published events after one, with each order's life after it; None: not all are kept."""
        behind = self.published_seq - seq
        if behind > len(self._news):
            return None
        start = len(self._news) - behind
        # By index, since a follower is nearly always near the end: nothing before it is passed by.
        return [self._news[at] for at in range(start, min(start + limit, len(self._news)))]

    async def older_news(self, seq: int) -> list[tuple[OrderNews, Life]]:
        """The same from disk. Raises Refused(TooOld)."""
        first = max(0, self.published_seq - KEPT_NEWS)
        if seq < first:
            raise Refused(TooOld(first_seq=first))
        return await self.journal.read(partial(_read_news, seq, self.published_seq))

    async def publish(self) -> None:
        """Tell what was recorded once it is on disk, until cancelled."""
        while True:
            await self._recorded.wait()
            self._recorded = trio.Event()
            while self._rows:
                await self._publish_more()
                await self._check_entered()
                self._archive()
            if self._entered:
                with suppress(Refused):  # it is tried again, and looked at with the next event
                    await self._entered[-1].wait()
            await self._check_entered()
            self._archive()

    async def _publish_more(self) -> None:
        """What is to leave does so before anything is told of it, or logged."""
        committed: list[_Row] = []
        try:
            await self.journal.committed(self._rows[0].news.seq)
        except Refused as no:
            self._failed = no
            self._send_cancels()
        else:
            self._failed = None
            committed = self._publish_committed()
        self._wake()
        try:
            await trio.lowlevel.checkpoint()
        finally:
            for news, life, _ in committed:
                _log(news, life)

    def _publish_committed(self) -> list[_Row]:
        committed: list[_Row] = []
        while self._rows and self._rows[0].news.seq <= self.journal.committed_seq:
            row = self._rows.popleft()
            for each in row.outgoing:
                self.send(each)
            self.published[row.news.oid] = row.life
            self.published_seq = row.news.seq
            self._news.append((row.news, row.life))
            committed.append(row)
        return committed

    def _send_cancels(self) -> None:
        """There is no room for anything more: what ends an order leaves all the same, at once."""
        rows, self._rows = self._rows, deque()
        for news, life, outgoing in rows:
            cancels = [each for each in outgoing if isinstance(each.what, CancelAtVenue)]
            kept = tuple(each for each in outgoing if each not in cancels)
            self._rows.append(_Row(news, life, kept))
        for _, life, outgoing in rows:
            for each in outgoing:
                if isinstance(each.what, CancelAtVenue):
                    logger.warning("a cancel leaves before it is written down", extra=_about(life))
                    self.send(each)

    def _wake(self) -> None:
        self._progress.set()
        self._progress = trio.Event()

    async def _check_entered(self) -> None:
        """An id that the account's ledger has already, in another market or in a base, was not
        written: it doesn't count here, either."""
        while self._entered and (recorded := self._entered[0].recorded):
            self._entered.popleft()
            for conflict in recorded.conflicts:
                told, known = conflict.told, conflict.known
                logger.error(
                    "not taken into the ledger: expected %s again, was %s",
                    known,
                    told,
                    extra=log.fields(account=told.account, market=told.market),
                )
                await self._sum_anew((told.account, told.market), without=told)

    def _archive(self) -> None:
        """Orders that have long been over leave memory, and what a start reads."""
        now = trio.current_time()
        while len(self._closed) > KEPT_CLOSED and not self.journal.fault:
            oid = next(iter(self._closed))
            if self._closed[oid] > now or self.seqs[oid] > self.published_seq:
                return
            try:
                self._put([], Archived(oid=oid))
            except Refused:  # too much waits for the disk: it leaves later
                return
            for each in (self._closed, self.lives, self.published, self.seqs):
                del each[oid]


class _Taken(NamedTuple):
    """An event, what it makes of a life, and what follows."""

    event: OrderEvent
    life: Life
    consequences: tuple[Consequence, ...]


def _take(life: Life | None, events: Iterable[OrderEvent]) -> Iterator[_Taken]:
    """What each event makes of a life; but for those that say nothing new."""
    for event in events:
        before = life
        consequences: tuple[Consequence, ...] = ()
        if isinstance(event, Submitted):
            life = begin(event)
        else:
            assert life is not None, f"expected a known order, was {event}"
            life, consequences = apply(life, event)
        if life != before or consequences:
            yield _Taken(event, life, consequences)


def _outgoing(
    event: OrderEvent, life: Life, consequences: Iterable[Consequence]
) -> Iterator[Outgoing]:
    """What an event asks to be sent."""
    if isinstance(event, Sending) or (isinstance(event, AmendAsked) and life.state != "held"):
        yield Outgoing(life.order.oid, event)
    for each in consequences:
        if isinstance(each, CancelAtVenue):
            yield Outgoing(life.order.oid, each)


def _new_entries(life: Life | None, taken: Iterable[_Taken]) -> Iterator[Execution]:
    """The executions that came, or were corrected."""
    for event, after, _ in taken:
        known = life.executions if life else ()
        if isinstance(event, Filled) and after.executions is not known:
            yield event.execution
        life = after


def _enter(ledger: MarketLedger, entry: Entry) -> None:
    try:
        ledger.add(entry)
    except ValueError as error:  # a venue that gave one id to two: the first one counts
        extra = log.fields(account=entry.account, market=entry.market)
        logger.error("not taken into the ledger: %s", error, extra=extra)


def _entry(line: LedgerLine) -> Entry:
    entry = line.execution or line.adjustment
    assert entry is not None, f"expected an entry, was {line}"
    return entry


def _everything(
    reader: Reader,
) -> tuple[tuple[Kept, ...], tuple[Note, ...], tuple[Base, ...], tuple[LedgerLine, ...]]:
    return reader.book(), reader.notes(""), reader.bases(), reader.lines_after_bases()


def _read_news(seq: int, until: int, reader: Reader) -> list[tuple[OrderNews, Life]]:
    wanted = [news for news in reader.events_since(seq, KEPT_NEWS) if news.seq <= until]
    after: dict[int, Life] = {}
    for oid in {news.oid for news in wanted}:
        life: Life | None = None
        for news in reader.timeline(oid):
            for taken in _take(life, [news.event]):
                life = taken.life
            if life:
                after[news.seq] = life
    return [(news, after[news.seq]) for news in wanted]


def _about(life: Life, message_id: str | None = None) -> dict[str, Any]:
    order = life.order
    return log.fields(
        oid=order.oid, market=order.market, account=order.account, message_id=message_id
    )


def _log(news: OrderNews, life: Life) -> None:
    if isinstance(news.event, Submitted):
        return  # what it begins with comes with it, and says more
    logger.info(
        "%s %s: %s, %s of %s",
        life.order.oid,
        type(news.event).__name__,
        life.state,
        life.filled,
        life.size,
        extra=_about(life, _message_id(news.event, life)),
    )


def _message_id(event: OrderEvent, life: Life) -> str | None:
    """That of an alert which went off is an id of its own: nothing is sent for it."""
    if isinstance(event, Triggered) and life.order.kind == "alert":
        return log.ALERT
    return _MESSAGE_IDS.get(type(event))


def _announce(life: Life, consequences: Iterable[Consequence]) -> None:
    """What nobody expects is said loudly."""
    for each in consequences:
        if isinstance(each, LateFill):
            logger.warning(
                "%s is %s and was filled after all: %s at %s",
                life.order.oid,
                life.state,
                each.execution.size,
                each.execution.price,
                extra=_about(life, log.LATE_FILL),
            )
        elif isinstance(each, Doubled):
            logger.error(
                "%s is at the venue more than once: %s",
                life.order.oid,
                ", ".join(each.venue_ids),
                extra=_about(life, log.DOUBLED),
            )
        elif isinstance(each, Corrected):
            logger.warning(
                "%s: the venue corrected execution %s",
                life.order.oid,
                each.after.exec_id,
                extra=_about(life),
            )
