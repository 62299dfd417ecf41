"""What a venue has, taken into the book: look by look, for the accounts of one broker daemon.

It never makes an order. What its lists say of ours are events, what was traded elsewhere is entered
into the ledger, and what is held beyond that becomes an adjustment that says where it came from.
"""

import logging
from collections.abc import Awaitable, Callable, Iterable, Iterator
from decimal import Decimal

import trio
from msgspec import structs

from piker import log
from piker.accounts import Adjustment, Balance
from piker.book import Book, Place
from piker.core.reconciliation import (
    differences,
    findings,
    foreign,
    mentioned,
    missing,
    strangers,
    why_no_snapshot,
    why_unfit,
)
from piker.errors import Unreachable
from piker.interfaces.broker import Holding, SnapshotReply
from piker.orders import Execution, Filled, Life, VenueEvent

LEARN_S = 5.0
"""How long datads may take to say what the markets are that something is held in."""
LEARN_AGAIN_S = 300.0
"""One that it didn't know is asked for again after this."""

logger = logging.getLogger(__name__)

Learn = Callable[[str], Awaitable[bool]]
"""Has the book know a market, by its name; whether it does then."""
Heard = Callable[[str | Place], bool]
"""Whether the venue has spoken of an order, or of a fill in a place, since it was asked."""


class Reconciliation:
    """Compares what one broker daemon's venue says with the book."""

    def __init__(self, unit: str, book: Book, learn: Learn) -> None:
        self._unit = unit
        self._book = book
        self._learn = learn
        self._not_known: dict[str, float] = {}
        """Markets that nobody could describe, and until when nobody is asked, trio's clock."""
        self._differences: dict[Place, Decimal] = {}
        self._in_motion: frozenset[Place] = frozenset()
        """Where something was heard while the venue listed what it has, and that is different."""
        self._strangers: frozenset[str] = frozenset()
        self._missed: frozenset[str] = frozenset()
        """Orders that were in no list of the newest look."""
        self.balances: dict[str, Balance] = {}
        """What the venue last said of each account's money."""

    @property
    def doubtful(self) -> bool:
        """Whether a difference was seen once."""
        return bool(self._differences)

    @property
    def remark(self) -> str:
        """What is open at the venue and can't be cancelled from here."""
        count = len(self._strangers)
        what = "1 order is" if count == 1 else f"{count} orders are"
        return f"{what} open at the venue that did not come from here" if count else ""

    def why_not_agreed(self, place: Place) -> str:
        """Why it isn't known that as much is held here as at the venue; empty: it is known."""
        if place in self._differences:
            return (
                f"the venue holds {self._differences[place]:f} more than is known here, or it says "
                "so late: try again in a few seconds"
            )
        if place in self._in_motion or self._opens(place):
            return "what is held of it was not compared yet: try again in a few seconds"
        return ""

    def opened_ns(self, account: str) -> int:
        """When an account was first looked at, UTC ns; 0: it wasn't."""
        return int(self._book.noted(f"opened:{account}") or 0)

    def start_over(self) -> None:
        """What was seen before the link was lost is no first look."""
        self._differences = {}
        self._missed = frozenset()

    async def take(
        self,
        snapshot: SnapshotReply,
        accounts: Iterable[str],
        heard: Heard,
        absence_proves: Callable[[], bool],
    ) -> bool:
        """Take one answer; whether all executions in it could be taken.

        Raises Unreachable if no venue can say this, Refused if it can't be written down.
        """
        problem = why_no_snapshot(snapshot)
        if problem:
            raise Unreachable(f"{self._unit} lists what can't be: {problem}")
        snapshot = self._of_ours(snapshot, frozenset(accounts))
        known = await self._known_markets(snapshot)
        await self._recall(snapshot, known)
        await trio.lowlevel.checkpoint_if_cancelled()  # what a thread answers comes all the same
        lives = self._lives(snapshot, frozenset(accounts))
        # No wait from here on: what is compared is as it was when the venue was last heard.
        self._record_all(snapshot, lives, heard, absence_proves())
        strange = foreign(snapshot, lives)
        for execution in strange:
            if execution.market in known:
                self._book.adjust(execution)
        self._warn_of_strangers(snapshot, lives)
        self.balances.update({each.account: each for each in snapshot.balances})
        self._compare(snapshot, accounts, known, heard)
        return all(execution.market in known for execution in strange)

    def _of_ours(self, snapshot: SnapshotReply, accounts: frozenset[str]) -> SnapshotReply:
        """What is said of these accounts, less the executions that were taken before."""
        taken = _Taken(self._book)
        return structs.replace(
            snapshot,
            executions=tuple(
                each
                for each in snapshot.executions
                if each.account in accounts and not taken.has(each)
            ),
            orders=tuple(each for each in snapshot.orders if each.account in accounts),
            holdings=tuple(each for each in snapshot.holdings if each.account in accounts),
            balances=tuple(each for each in snapshot.balances if each.account in accounts),
        )

    async def _known_markets(self, snapshot: SnapshotReply) -> frozenset[str]:
        """Those of the markets in it that can be accounted for; datads are asked all at once."""
        everything: tuple[Execution | Holding, ...] = (*snapshot.executions, *snapshot.holdings)
        markets = frozenset(each.market for each in everything)
        now = trio.current_time()
        asked = [each for each in markets - self._book.markets.keys() if self._due(each, now)]
        with trio.move_on_after(LEARN_S):
            async with trio.open_nursery() as nursery:
                for market in asked:
                    nursery.start_soon(self._learn, market)
        known = markets & self._book.markets.keys()
        self._not_known = {
            market: now + LEARN_AGAIN_S if market in asked else self._not_known[market]
            for market in markets - known
        }
        return known

    def _due(self, market: str, now: float) -> bool:
        return self._not_known.get(market, now) <= now

    async def _recall(self, snapshot: SnapshotReply, known: frozenset[str]) -> None:
        """Have in memory what the lists speak of."""
        for execution in snapshot.executions:
            if execution.market in known:
                await self._book.reopen_base(execution)
        for oid in mentioned(snapshot):
            await self._book.recall(oid)

    def _lives(self, snapshot: SnapshotReply, accounts: frozenset[str]) -> dict[str, Life]:
        spoken_of = [self._book.lives.get(oid) for oid in sorted(mentioned(snapshot))]
        unclosed = [life for account in sorted(accounts) for life in self._book.unclosed(account)]
        return {
            life.order.oid: life
            for life in (*unclosed, *spoken_of)
            if life and life.order.account in accounts
        }

    def _record_all(
        self, snapshot: SnapshotReply, lives: dict[str, Life], heard: Heard, absence_proves: bool
    ) -> None:
        found = findings(snapshot, lives, heard, absence_proves=absence_proves, missed=self._missed)
        for oid, event in found:
            self._record(oid, event)
        self._missed = frozenset(missing(snapshot, lives, heard))

    def _record(self, oid: str, event: VenueEvent) -> None:
        if isinstance(event, Filled):
            problem = why_unfit(self._book.lives[oid], event)
            if problem:
                raise Unreachable(f"{self._unit} lists what can't be: {problem}")
        self._book.record(oid, event)

    def _warn_of_strangers(self, snapshot: SnapshotReply, lives: dict[str, Life]) -> None:
        found = {order.venue_id: order for order in strangers(snapshot, lives)}
        for venue_id in found.keys() - self._strangers:
            order = found[venue_id]
            logger.warning(
                "%s has an open order that is in no journal here: %s",
                self._unit,
                order,
                extra=log.fields(oid=order.oid or None, account=order.account),
            )
        self._strangers = frozenset(found)

    # --- what is held

    def _compare(
        self, snapshot: SnapshotReply, accounts: Iterable[str], known: frozenset[str], heard: Heard
    ) -> None:
        """What is held there and here; a difference counts when it is seen twice."""
        holdings = [each for each in snapshot.holdings if each.market in known]
        ours = {
            (held.account, held.market): held.size
            for account in accounts
            for held in self._book.positions(account)
        }
        different = differences(holdings, ours)
        seen = {place: more for place, more in different.items() if not heard(place)}
        left = dict(self._settle(seen, snapshot))
        self._differences = left
        self._in_motion = frozenset(different.keys() - seen.keys())
        not_compared = {(each.account, each.market) for each in snapshot.holdings} - {
            (each.account, each.market) for each in holdings
        } | self._in_motion
        for account in accounts:
            self._note_opened(account, not_compared, snapshot.asked_ns)

    def _settle(
        self, seen: dict[Place, Decimal], snapshot: SnapshotReply
    ) -> Iterator[tuple[Place, Decimal]]:
        """Enters what is to be; gives what is to be seen again first."""
        for place, more in seen.items():
            if self._opens(place):
                self._open_with(place, more, snapshot)
            elif self._differences.get(place) == more:
                self._mark_unexplained(place, more, snapshot.asked_ns)
            else:
                yield place, more

    def _opens(self, place: Place) -> bool:
        """Whether what is held there was never compared."""
        account, market = place
        return not self._book.noted(f"opened:{account}") or market in self._unopened(account)

    def _unopened(self, account: str) -> frozenset[str]:
        return frozenset((self._book.noted(f"unopened:{account}") or "").splitlines())

    def _note_opened(self, account: str, not_compared: set[Place], asked_ns: int) -> None:
        """What could not be compared at the first connection is opened when it can be."""
        waiting = {market for where, market in not_compared if where == account}
        first = not self._book.noted(f"opened:{account}")
        unopened = waiting if first else waiting & self._unopened(account)
        if unopened != self._unopened(account):
            self._book.note(f"unopened:{account}", "\n".join(sorted(unopened)))
        if first:
            self._book.note(f"opened:{account}", str(asked_ns))

    def _open_with(self, place: Place, more: Decimal, snapshot: SnapshotReply) -> None:
        """What was held at the first connection, before the fills that its own answer tells."""
        account, market = place
        ledger = self._book.ledger(account, market)
        told = [entry.time_ns for entry in ledger.entries()] if ledger else []
        holding = next((h for h in snapshot.holdings if (h.account, h.market) == place), None)
        self._book.adjust(
            Adjustment(
                adjustment_id=f"opening:{market}",
                account=account,
                market=market,
                kind="opening",
                size=more,
                price=holding.average_price if holding and not told else None,
                source=f"{self._unit}, at the first connection",
                time_ns=min([snapshot.asked_ns, *(time_ns - 1 for time_ns in told)]),
            )
        )

    def _mark_unexplained(self, place: Place, more: Decimal, asked_ns: int) -> None:
        """Blocked first: what is entered and not blocked would never be seen again."""
        account, market = place
        logger.error(
            "%s holds %s more of %s than its fills add up to: only reducing orders leave until "
            "that is accepted (piker accept)",
            account,
            more,
            market,
            extra=log.fields(account=account, market=market, message_id=log.UNEXPLAINED_POSITION),
        )
        set_unexplained(self._book, account, {*unexplained(self._book, account), market})
        self._book.adjust(
            Adjustment(
                adjustment_id=f"unexplained:{market}:{asked_ns}",
                account=account,
                market=market,
                kind="unexplained",
                size=more,
                source=f"{self._unit} holds so much more than is known here",
                time_ns=asked_ns,
            )
        )


class _Taken:
    """Which executions were taken before: by their order where it is here, else by the ledger.

    An order's own word comes first: a venue may give one id to two orders' executions.
    """

    def __init__(self, book: Book) -> None:
        self._book = book
        self._revisions: dict[str, dict[str, int]] = {}

    def has(self, execution: Execution) -> bool:
        life = self._book.lives.get(execution.oid)
        if life is None:
            return self._book.has(execution)
        if execution.oid not in self._revisions:
            self._revisions[execution.oid] = {e.exec_id: e.revision for e in life.executions}
        taken = self._revisions[execution.oid].get(execution.exec_id)
        return taken is not None and taken >= execution.revision


def unexplained(book: Book, account: str) -> tuple[str, ...]:
    """The markets where an account holds what nothing explains."""
    return tuple((book.noted(f"unexplained:{account}") or "").split())


def set_unexplained(book: Book, account: str, markets: Iterable[str]) -> None:
    """Say in which markets that is so."""
    book.note(f"unexplained:{account}", " ".join(sorted(markets)))
