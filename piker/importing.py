"""Executions of long ago, taken into the ledger without a change of what is held.

What is held was agreed with the venue just before, and stays as agreed: `piker.core.imports` has
the rule. An execution is refused where it can't be counted, or where the venue may still tell it
itself; the others are entered, in one transaction, with what stood in for them.
"""

import logging
from collections import defaultdict
from collections.abc import Awaitable, Callable, Mapping
from decimal import Decimal

import trio
from msgspec import structs

from piker import log
from piker.accounts import Adjustment, Entry, Position
from piker.book import Book, Place
from piker.core.imports import StandIns, newest_of
from piker.core.positions import position_of
from piker.core.reconciliation import why_no_execution, why_unfit
from piker.dayprofit import DayProfit
from piker.errors import Refused, local_time, say
from piker.interfaces.introspection import InvalidParameter
from piker.interfaces.orders import (
    AccountUnreachable,
    ImportedMarket,
    ImportedTo,
    ImportExecutions,
    ImportReply,
    NotImported,
)
from piker.markets import Market
from piker.orders import Execution, Filled
from piker.reconciling import set_unexplained, unexplained
from piker.routing import Route

MOST = 2_000
"""Executions in one call: they are one transaction, and emsd does nothing else for its while."""
LEARN_S = 60.0
"""How long datads may take to say what the markets are."""
AT_ONCE = 10
"""Markets that are asked for at the same time."""
FORMER_TICK = Decimal("0.0001")
"""The price step of a market that its provider no longer has: nobody trades there."""

logger = logging.getLogger(__name__)

Described = Callable[[str], Awaitable[Market | None]]
"""What a market is, None: there is none such; raises Refused if that can't be told."""


class Importing:
    """Takes executions that are told after all."""

    def __init__(
        self, book: Book, route_of: Callable[[str], Route], described: Described, day: DayProfit
    ) -> None:
        self._book = book
        self._route_of = route_of
        self._described = described
        self._day = day

    async def take(self, call: ImportExecutions) -> ImportReply:
        """Enter them, or say what would be. Raises Refused.

        Refused as DiskFull it is still queued, and may be entered: ask again.
        """
        _check(call)
        one = _Import(self._book, call)
        await self._prepare(one)
        # No wait from here on: what is held is as the venue and the book agree.
        one.decide(self._route_of(call.account))
        if call.dry_run:
            return one.reply({place: one.pretended(place) for place in one.places})
        with self._day.unmoved(one.places):
            ticket = self._book.enter([*one.stand_ins, *one.told])
        self._note_explained(call.account)
        await ticket.wait()
        logger.info(
            "%d executions were imported from %s",
            len(one.told),
            call.source,
            extra=log.fields(account=call.account),
        )
        return one.reply({place: self._book.position(*place) for place in one.places})

    async def _prepare(self, one: "_Import") -> None:
        """All that has to be asked. Raises Refused."""
        account = one.call.account
        route = self._route_of(account)
        await route.until_ready(account)
        await self._learn(one)
        await route.reconcile()
        if not route.ready:
            raise Refused(AccountUnreachable(account=account, reason=route.reason))
        await one.recall()

    async def _learn(self, one: "_Import") -> None:
        """Have the book know the markets; those that a datad no longer has as the report says."""
        found: dict[str, Market] = {}
        limiter = trio.CapacityLimiter(AT_ONCE)
        with trio.move_on_after(LEARN_S):
            async with trio.open_nursery() as nursery:
                for said in one.call.markets:
                    nursery.start_soon(self._ask, said, found, one.unusable, limiter)
        for said in one.call.markets:
            if said.fqme in found:
                one.use(said, found[said.fqme])

    async def _ask(
        self,
        said: ImportedMarket,
        found: dict[str, Market],
        unusable: dict[str, str],
        limiter: trio.CapacityLimiter,
    ) -> None:
        async with limiter:
            try:
                known = self._book.markets.get(said.fqme) or await self._described(said.fqme)
            except Refused as no:
                unusable[said.fqme] = say(no.fault)
            else:
                found[said.fqme] = known or _former(said)

    def _note_explained(self, account: str) -> None:
        """Where nothing unexplained is left orders may leave again."""
        blocked = unexplained(self._book, account)
        left = [market for market in blocked if self._is_unexplained(account, market)]
        if len(left) < len(blocked):
            set_unexplained(self._book, account, left)

    def _is_unexplained(self, account: str, market: str) -> bool:
        ledger = self._book.ledger(account, market)
        return ledger is None or any(
            isinstance(each, Adjustment) and each.kind == "unexplained" and each.size
            for each in ledger.entries()
        )


class _Import:
    """One call: what of it is told, known or refused."""

    def __init__(self, book: Book, call: ImportExecutions) -> None:
        self.call = call
        self.markets: dict[str, ImportedMarket] = {}
        """Those that are known, as they were said."""
        self.unusable: dict[str, str] = {}
        """Why the others can't be accounted for."""
        self.told: list[Execution] = []
        """To be entered."""
        self.stand_ins: list[Adjustment] = []
        self._book = book
        self._given = list(newest_of(call.executions).values())
        self._elsewhere: Mapping[str, str] = {}
        """In which markets the ledger has those that it has."""
        self._first: dict[Place, Adjustment | None] = {}
        self._before: dict[Place, Position] = {}
        self._refused: dict[str, str] = {}
        self._corrected = 0
        self._known = 0

    @property
    def places(self) -> list[Place]:
        """Where something is entered, by market."""
        return sorted(self._before)

    def use(self, said: ImportedMarket, known: Market) -> None:
        """Account for a market, if it is the one that was said. Raises Refused(DiskFull)."""
        why = _why_another(said, known)
        if why:
            self.unusable[said.fqme] = why
            return
        self._book.know(known)
        self.markets[said.fqme] = said

    async def recall(self) -> None:
        """Have in memory what they are compared with."""
        account = self.call.account
        for oid in sorted({each.oid for each in self._given if each.oid}):
            await self._book.recall(oid)
        ids = [each.exec_id for each in self._given]
        await self._book.all_entered()
        self._elsewhere = await self._book.journal.read(lambda on: on.markets_of(account, ids))
        for market in self.markets:
            await self._book.without_base((account, market))
            self._first[account, market] = await self._book.first_opening((account, market))

    def decide(self, route: Route) -> None:
        """Which are entered, and what changes with them."""
        new: defaultdict[Place, list[Execution]] = defaultdict(list)
        for given in self._given:
            execution = self._as_here(given)
            why = self._why_not(execution, route)
            if why:
                self._refused[execution.exec_id] = why
            elif self._is_known(execution):
                self._known += 1
            else:
                new[execution.account, execution.market].append(execution)
        for place, told in new.items():
            self._take(place, told, route)

    def _take(self, place: Place, told: list[Execution], route: Route) -> None:
        ledger = self._book.ledger(*place)
        entries = ledger.entries() if ledger else []
        ids = {each.exec_id for each in entries if isinstance(each, Execution)}
        self._corrected += sum(each.exec_id in ids for each in told)
        self._before[place] = self._book.position(*place)
        self.told += told
        opened_ns = route.reconciliation.opened_ns(self.call.account)
        stand_ins = StandIns(*place, entries, self._first[place], opened_ns, route.looked_ns)
        self.stand_ins += stand_ins.after(told)

    def pretended(self, place: Place) -> Position:
        """What a position would be."""
        ledger = self._book.ledger(*place)
        base, entries = (ledger.base, ledger.entries()) if ledger else (self._before[place], [])
        changed: tuple[Entry, ...] = (*self.stand_ins, *self.told)
        more = [each for each in changed if each.market == place[1]]
        return position_of(base, [*entries, *more])

    def reply(self, after: Mapping[Place, Position]) -> ImportReply:
        """What has come of it."""
        changes = [ImportedTo(before=self._before[place], after=after[place]) for place in after]
        return ImportReply(
            new=len(self.told) - self._corrected,
            corrected=self._corrected,
            known=self._known,
            refused=tuple(
                NotImported(exec_id=exec_id, reason=why) for exec_id, why in self._refused.items()
            ),
            changes=tuple(each for each in changes if each.before != each.after),
        )

    def _as_here(self, given: Execution) -> Execution:
        """With the market's own price, and of an order only if that is one of ours."""
        said = self.markets.get(given.market)
        price = given.price
        if said and said.multiplier != self._book.markets[said.fqme].multiplier:
            price = price * said.multiplier / self._book.markets[said.fqme].multiplier
        life = self._book.lives.get(given.oid)
        ours = life is not None and life.order.account == self.call.account
        return structs.replace(given, price=price, oid=given.oid if ours else "")

    def _why_not(self, execution: Execution, route: Route) -> str:
        """Why it can't be entered; empty: it can, or it is known."""
        market = execution.market
        if market not in self.markets:
            return self.unusable.get(market, "nobody said in time what the market is: try again")
        known = self._elsewhere.get(execution.exec_id, market)
        if known != market:
            return f"it is in the ledger as one in {known}"
        life = self._book.lives.get(execution.oid)
        unfit = why_unfit(life, Filled(execution=execution)) if life else None
        return (
            why_no_execution(execution)
            or unfit
            or _why_too_new(execution, route.looked_ns)
            or route.reconciliation.why_not_agreed((execution.account, market))
        )

    def _is_known(self, execution: Execution) -> bool:
        life = self._book.lives.get(execution.oid)
        done = life.executions if life else ()
        told = any(
            each.exec_id == execution.exec_id and each.revision >= execution.revision
            for each in done
        )
        return told or self._book.has(execution)


def _check(call: ImportExecutions) -> None:
    """Raises Refused(InvalidParameter) for what no caller should ask."""
    markets = {each.fqme for each in call.markets}
    if not len(call.executions) <= MOST:
        raise _bad("executions", f"at most {MOST}", str(len(call.executions)))
    for each in call.markets:
        if each.fqme.rpartition(".")[2] != call.account.partition(".")[0]:
            raise _bad("markets", f"markets of the provider of {call.account}", each.fqme)
        if not (each.multiplier.is_finite() and each.multiplier > 0):
            raise _bad("markets", "a multiplier above 0", f"{each.multiplier}")
    for execution in call.executions:
        if execution.account != call.account:
            raise _bad("executions", f"those of {call.account}", execution.account)
        if execution.market not in markets:
            raise _bad("executions", "in one of the markets", execution.market)


def _bad(name: str, expected: str, was: str) -> Refused:
    return Refused(InvalidParameter(parameter=f"{name}: expected {expected}, was {was}"))


def _why_another(said: ImportedMarket, known: Market) -> str:
    """Why a market can't be the one that was said; empty: it is."""
    if said.fqme != known.fqme:
        return f"expected the whole name of {known.fqme}, was {said.fqme}"
    if said.venue_id and known.venue_id and said.venue_id != known.venue_id:
        return f"expected {known.venue_id} as the venue's id of {known.fqme}, was {said.venue_id}"
    if said.currency != known.currency:
        return f"expected {known.currency} as the currency of {known.fqme}, was {said.currency}"
    return ""


def _why_too_new(execution: Execution, looked_ns: int) -> str:
    if execution.time_ns < looked_ns:
        return ""
    return (
        f"done at {local_time(execution.time_ns)}, after the venue was last asked, at "
        f"{local_time(looked_ns)}: it tells that itself"
    )


def _former(said: ImportedMarket) -> Market:
    """A market that is no more, as far as its ledger needs it."""
    return Market(
        fqme=said.fqme,
        venue_id=said.venue_id,
        description=said.description,
        asset_class=said.asset_class,
        currency=said.currency,
        price_tick=FORMER_TICK,
        size_tick=Decimal(1),
        multiplier=said.multiplier,
        has_trades=True,
        has_volume=True,
        has_bid=True,
        has_ask=True,
    )
