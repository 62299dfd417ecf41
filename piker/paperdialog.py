"""The trade dialog of paperboi: its venue is here, its prices are datad's.

Task tree, in the dialog's context:

    open_dialog
    ├─ tick        every second: ends what has had its time
    ├─ save        has orders that came together on disk together
    ├─ mend        when the disk was full: tries until it no longer is
    └─ _watch      one a market that orders are worked on in: its quotes, every one of them

What is decided is on disk before it is told, and before anything but a new order is answered: there
is no await in between.
"""

import logging
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager, suppress

import trio

from piker import clock, log, paths
from piker.brokerage import MS
from piker.brokers import Hear, Provider
from piker.config import Configuration
from piker.core.backoff import Backoff
from piker.core.matching import check
from piker.core.paper import PaperOrder, PaperVenue, Saved, ended_order, retold
from piker.core.risk import day_start_ns
from piker.errors import Refused, Unreachable
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
)
from piker.interfaces.data import (
    DATA,
    AmbiguousMarket,
    DescribeMarket,
    MarketReply,
    NoSuchMarket,
    Watch,
    WatchReply,
)
from piker.interfaces.introspection import InvalidParameter
from piker.markets import Market, MarketState
from piker.orders import Acked, AmendAcked, Filled
from piker.paperbook import NoRoom, PaperBook, open_book
from piker.service import Part, Service
from piker.varlink import open_client

DESCRIBE_S = 2.0
"""How long datad may take to say what a market is, while its order waits."""
FACTS_NS = 60_000_000_000
"""What it said holds for so long; then it is asked again before the next order."""
FIRST_REPLY_S = 25.0
"""How long datad may take to begin a watch: it asks its venue."""
DAY_AND_A_HALF_NS = 36 * 3600 * 10**9

logger = logging.getLogger(__name__)


class PaperDialog:
    """A piker.brokers.TradeDialog whose venue is here, and on disk."""

    live = False
    absence_proves = True

    def __init__(
        self,
        provider: Provider,
        configuration: Configuration,
        book: PaperBook,
        saved: Saved,
        hear: Hear,
        changed: Callable[[], None],
        nursery: trio.Nursery,
    ) -> None:
        self.link = Link(up=True)
        self.states: dict[str, MarketState | None] = {}
        """Of the markets that are watched; None: their datad is away."""
        self._provider = provider
        self._configuration = configuration
        self._schedule = configuration.paperboi.fees.get(provider.name, provider.fees)
        self._path = str(paths.socket_path("datad", provider.name))
        self._unit = paths.unit_name("datad", provider.name)
        self._book = book
        self._hear = hear
        self._changed = changed
        self._nursery = nursery
        self._watches: dict[str, trio.CancelScope] = {}
        self._learnt_ns: dict[str, int] = {}
        self._full = trio.Event()
        self._unsaved = trio.Event()
        """An order was taken that is not on disk."""
        self._venue = self._venue_of(saved)
        self.accounts: tuple[str, ...] = (self._venue.account,)
        self._follow()

    @property
    def working(self) -> dict[str, int]:
        """How many orders are open, by market."""
        return self._venue.working

    # --- what is asked of it

    async def place(self, order: Place) -> None:
        """Take an order. One that was taken before is not taken again but told again.

        It is on disk together with what else came at once, and only then told of; that it was
        taken says no more than that it is on its way.

        If datad had to be asked, somebody else may have taken control meanwhile. As anything that
        is under way then, it may still be taken until it is too late, and not after.
        """
        market = await self._market(order.market)
        if clock.boot_ns() > order.not_after_boot_ns:
            late_ns = clock.boot_ns() - order.not_after_boot_ns
            raise Refused(TooLate(late_ms=-(-late_ns // MS)))
        self._expect_link()
        known = self._known(order.oid)
        if known:
            self._settle()
            self._tell_again(known, order)
            return
        refused = check(order, market)
        if refused:
            raise Refused(refused)
        wall_ns = clock.wall_ns()
        day_ends_ns = self._day_ends_ns(wall_ns) if order.tif == "day" else wall_ns
        self._venue.place(order, wall_ns, clock.boot_ns(), day_ends_ns)
        self._unsaved.set()

    async def amend(self, order: Amend) -> None:
        """Give an order another total and limit."""
        self._expect_link()
        self._venue.amend(order, clock.wall_ns(), clock.boot_ns())
        self._settle()

    async def cancel(self, order: Cancel) -> None:
        """Cancel an order."""
        self._expect_link()
        self._venue.cancel(order)
        self._settle()

    async def cancel_all(self, call: CancelAll) -> tuple[str, ...]:
        """Cancel what is open, all of which is ours and of the one account that there is."""
        self._expect_link()
        cancelled = self._venue.cancel_all()
        self._settle()
        return cancelled

    async def snapshot(self, since_ns: int) -> SnapshotReply:
        """What there is; all of it is on disk."""
        self._settle()
        self._expect_link()
        return SnapshotReply(
            asked_ns=clock.wall_ns(),
            orders=self._venue.open_orders(),
            ended=tuple(map(ended_order, self._book.ended_since(since_ns))),
            executions=self._book.executions_since(since_ns),
            holdings=self._venue.holdings(),
        )

    def _expect_link(self) -> None:
        if not self.link.up:
            raise Refused(NotConnected(reason=self.link.reason))

    def _known(self, oid: str) -> PaperOrder | None:
        return self._venue.orders.get(oid) or self._book.find(oid)

    def _tell_again(self, known: PaperOrder, order: Place) -> None:
        if not known.is_of(order):
            allowed = "an order reference that no other order has"
            raise Refused(InvalidOrder(field="oid", value=order.oid, allowed=allowed))
        for told in retold(known, self._book.executions_of(order.oid)):
            self._hear(told)

    def _day_ends_ns(self, now_ns: int) -> int:
        """When the day turns next; one has 23 to 25 hours."""
        emsd = self._configuration.emsd
        began_ns = day_start_ns(now_ns, emsd.day_turns, emsd.zone)
        return day_start_ns(began_ns + DAY_AND_A_HALF_NS, emsd.day_turns, emsd.zone)

    # --- what markets are

    async def _market(self, fqme: str) -> Market | None:
        """The market of this whole name, from its datad unless it said so a moment ago; None: there
        is no such one. What is on disk will do if datad is away. Raises Refused(NotConnected).
        """
        if fqme.rpartition(".")[2] != self._provider.name:
            return None
        known = self._venue.markets.get(fqme)
        fresh = fqme in self.states and self.states[fqme] is not None
        if known and (fresh or self._learnt_ns.get(fqme, -FACTS_NS) > clock.boot_ns() - FACTS_NS):
            return known
        try:
            return await self._describe(fqme)
        except Unreachable as error:
            if known:
                return known
            raise Refused(NotConnected(reason=str(error))) from error

    async def _describe(self, fqme: str) -> Market | None:
        """As datad says. Raises Unreachable, also if its venue is."""
        try:
            async with open_client(self._path, DATA, self._unit, DESCRIBE_S) as client:
                reply = await client.call(DescribeMarket(name=fqme), MarketReply, DESCRIBE_S)
        except Refused as no:
            if isinstance(no.fault, NoSuchMarket | AmbiguousMarket | InvalidParameter):
                return None
            raise Unreachable(str(no)) from no
        if reply.market.fqme != fqme:
            return None
        self._venue.learn(reply.market)
        self._learnt_ns[fqme] = clock.boot_ns()
        return reply.market

    # --- what markets show

    async def _watch(self, fqme: str, scope: trio.CancelScope) -> None:
        """Follow a market until nothing is worked on in it; while datad is away, that is held."""
        backoff = Backoff()
        with scope:
            while True:
                try:
                    await self._follow_quotes(fqme, backoff)
                    reason = "its stream ended"
                except (Unreachable, Refused) as error:
                    reason = str(error)
                self._part(fqme, reason)
                await trio.sleep(backoff.pause())

    async def _follow_quotes(self, fqme: str, backoff: Backoff) -> None:
        call = Watch(markets=(fqme,), every=True)
        async with (
            open_client(self._path, DATA, self._unit) as client,
            aclosing(client.replies(call, WatchReply, FIRST_REPLY_S)) as replies,
        ):
            async for reply, _ in replies:
                backoff.reset()
                self._take(fqme, reply)

    def _take(self, fqme: str, reply: WatchReply) -> None:
        """Clear what a reply fills; all of it is one commit. Raises Refused on a full disk."""
        wall_ns = clock.wall_ns()
        for watched in reply.markets:
            self._venue.join(watched, wall_ns, clock.boot_ns())
            self._learnt_ns[fqme] = clock.boot_ns()
            self._note_state(watched.state)
        for quote in reply.quotes:
            self._venue.take(quote, wall_ns)
        for state in reply.states:
            self._venue.take_state(state, wall_ns)
            self._note_state(state)
        self._settle()

    def _part(self, fqme: str, reason: str) -> None:
        self._venue.part(fqme)
        if self.states.get(fqme, False) is not None:
            about = log.fields(market=fqme)
            logger.warning("orders in %s are held: %s", fqme, reason, extra=about)
        self.states[fqme] = None
        self._changed()

    def _note_state(self, state: MarketState) -> None:
        if state.state != "live":
            about = log.fields(market=state.market)
            why = f"{state.state} ({state.reason})"
            logger.info("orders in %s are held: it is %s", state.market, why, extra=about)
        self.states[state.market] = state
        self._changed()

    def _follow(self) -> None:
        """Watch the markets that orders are worked on in, and no others."""
        wanted = self._venue.working
        for fqme in self._watches.keys() - wanted.keys():
            self._watches.pop(fqme).cancel()
            self.states.pop(fqme, None)
            self._venue.part(fqme)
        for fqme in wanted.keys() - self._watches.keys():
            self._watches[fqme] = scope = trio.CancelScope()
            self._nursery.start_soon(self._watch, fqme, scope)

    # --- what is decided

    def _settle(self) -> None:
        """Have what was decided on disk, then tell it. Raises Refused if the disk is full."""
        change = self._venue.drain(clock.wall_ns())
        if change is None:
            return
        try:
            self._book.record(change)
        except NoRoom as error:
            self._give_up(str(error))
            raise Refused(NotConnected(reason=self.link.reason)) from error
        for told in change.told:
            _log_told(told)
            self._hear(told)
        self._follow()
        self._changed()

    def _give_up(self, reason: str) -> None:
        """What was decided is not so: go on from what is on disk, when there is room again."""
        logger.error("can't write: %s; takes no order until it can", reason)
        self._say(Link(up=False, reason=f"can't write: {reason}"))
        self._venue = self._venue_of(self._book.saved())
        for scope in self._watches.values():
            scope.cancel()
        self._watches.clear()
        self.states.clear()
        self._full.set()

    def _venue_of(self, saved: Saved) -> PaperVenue:
        ahead = self._provider.runs_ahead
        return PaperVenue(self._provider.name, saved, self._schedule, runs_ahead=ahead)

    def _say(self, link: Link) -> None:
        self.link = link
        self._hear(link)

    # --- its tasks

    async def tick(self, part: Part) -> None:
        """End what has had its time, every second."""
        start, rounds = trio.current_time(), 0
        while True:
            rounds += 1
            await trio.sleep_until(start + rounds)
            if self.link.up:
                self._venue.expire(clock.wall_ns())
                with suppress(Refused):
                    self._settle()
            part.beat()

    async def save(self) -> None:
        """Have orders that were taken on disk, once for all that came together."""
        while True:
            await self._unsaved.wait()
            self._unsaved = trio.Event()
            with suppress(Refused):  # the link is down then: who sent them asks what came of them
                self._settle()

    def end(self) -> None:
        """Have on disk what was taken last."""
        with suppress(Refused):
            self._settle()

    async def mend(self) -> None:
        """Whenever the disk was full, wait until it no longer is."""
        while True:
            await self._full.wait()
            self._full = trio.Event()
            await self._until_there_is_room()
            self._say(Link(up=True))
            self._follow()

    async def _until_there_is_room(self) -> None:
        backoff = Backoff()
        while True:
            await trio.sleep(backoff.pause())
            try:
                return self._book.probe()
            except NoRoom as error:
                logger.info("still can't write: %s", error)


@asynccontextmanager
async def open_dialog(
    service: Service, provider: Provider, configuration: Configuration, hear: Hear
) -> AsyncIterator[PaperDialog]:
    """The paper account of a provider. Raises Refused(BrokenConfiguration)."""
    path = paths.state_of("paperboi") / f"{provider.name}.sqlite"
    with open_book(path) as (book, saved):
        async with trio.open_nursery() as nursery:
            dialog = PaperDialog(
                provider, configuration, book, saved, hear, service.changed, nursery
            )
            nursery.start_soon(dialog.tick, service.part("clock", lambda: None))
            nursery.start_soon(dialog.save)
            nursery.start_soon(dialog.mend)
            yield dialog
            nursery.cancel_scope.cancel()
            dialog.end()


def _log_told(told: Told) -> None:
    match told.event:
        case Acked() | AmendAcked():
            return  # that it was handed over was logged, and here is the venue
        case Filled(execution=execution):
            says = f"filled {execution.size} at {execution.price}"
        case event:
            says = f"{type(event).__name__}: {getattr(event, 'reason', '') or 'its time was over'}"
    logger.info("%s", says, extra=log.fields(oid=told.oid))
