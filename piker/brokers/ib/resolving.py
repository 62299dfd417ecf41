"""Which market a name means: asked of the gateway, and remembered for the day.

Sessions change from day to day, so what was learnt yesterday (UTC) is asked for again.
"""

import logging
from collections.abc import Awaitable, Callable, Iterable, Sequence
from datetime import UTC, date, datetime

import trio
from msgspec import Struct, structs

from piker import clock
from piker.brokers import VenueLost
from piker.brokers.ib import codes, contracts
from piker.brokers.ib.codec import NotWritable
from piker.brokers.ib.contracts import BadDetails
from piker.brokers.ib.hours import BadHours
from piker.brokers.ib.memory import Memory
from piker.brokers.ib.messages import (
    AskBars,
    AskContracts,
    AskRule,
    Bars,
    Contract,
    ContractDetails,
    Fits,
    PriceStep,
    Rule,
    Said,
)
from piker.brokers.ib.names import Wanted, parse
from piker.brokers.ib.pacing import TooManyWaiting
from piker.brokers.ib.questions import Asked
from piker.brokers.ib.session import ANSWER_S, Declined, NoAnswer, Session
from piker.errors import Refused
from piker.interfaces.data import AmbiguousMarket
from piker.markets import Market

REMEMBERED = 2000
"""Names, and markets; those that were not used the longest are forgotten, and asked for again."""
VOLUMES_S = 17.0
"""For the volumes of a future's months together: longer than what was asked just now is held back,
and less than datad's ASK_VENUE_S."""
CANT_FIND = {200, 320, 321, 322}
"""The gateway knows no such contract, or nothing that a contract is described like."""

log = logging.getLogger(__name__)


class NotDescribed(VenueLost):
    """The gateway has no such contract, or describes it as none can be."""


class Known(Struct, frozen=True, kw_only=True):
    """A market as the gateway described it on a day, UTC."""

    market: Market
    contract: Contract
    """As requests for data name it."""
    day: date


class Resolver:
    """Contracts by name and by number. `session` gives a session, or raises GatewayLost.

    `answer_s`: how long the gateway has for each answer.
    """

    def __init__(
        self, session: Callable[[], Awaitable[Session]], answer_s: float = ANSWER_S
    ) -> None:
        self.markets: Memory[str, Known] = Memory(REMEMBERED)
        """By fqme."""
        self._by_id: Memory[int, str] = Memory(REMEMBERED)
        """Of a con_id, the fqme."""
        self._by_name: Memory[str, tuple[date, str, str]] = Memory(REMEMBERED)
        """Of a name: on which day it meant which fqme, and what is added to its description."""
        self._volumes: Memory[int, tuple[date, float]] = Memory(REMEMBERED)
        """Of a con_id, the volume of its last daily bar."""
        self._rules: Memory[int, tuple[date, tuple[PriceStep, ...]]] = Memory(REMEMBERED)
        self._session = session
        self._answer_s = answer_s

    async def by_name(self, name: str) -> Market:
        """The market that a name means.

        Raises Refused(NoSuchMarket | AmbiguousMarket | InvalidParameter), or VenueLost.
        """
        key = name.strip().lower()
        day, fqme, added = self._by_name.get(key) or (None, "", "")
        known = self.of_today(fqme)
        if not known or day != today():
            known, added = await self._find(parse(name, today()))
            self._by_name.put(key, (today(), known.market.fqme, added))
        if not added:
            return known.market
        description = f"{known.market.description}; {added}"
        return structs.replace(known.market, description=description)

    async def by_id(self, con_id: int) -> Known:
        """The market that has this number. Raises NotDescribed or another VenueLost."""
        known = self.of_today(self._by_id.get(con_id) or "")
        if known:
            return known
        found = await self._ask_contracts(Contract(con_id=con_id))
        if not found:
            raise NotDescribed(f"the gateway has no contract with the number {con_id} any more")
        return await self._describe(found[0])

    def of_today(self, fqme: str) -> Known | None:
        """What is known of a market, if it was learnt today."""
        known = self.markets.get(fqme)
        return known if known and known.day == today() else None

    async def _find(self, wanted: Wanted) -> tuple[Known, str]:
        """A market, and what its description has to say about the choice."""
        found = await self._ask_until_found(wanted)
        if not found and (wider := contracts.wider(wanted)):
            near = [each for query in wider for each in await self._ask_contracts(query)]
            raise contracts.none_such(wanted, _readable(near), today())
        months = contracts.choose(wanted, _readable(found), today())
        why = ""
        chosen = months[0]
        if len(months) > 1:
            chosen, why = contracts.front(months, await self._ask_volumes(wanted, months))
        return await self._describe(chosen), why

    async def _ask_until_found(self, wanted: Wanted) -> list[ContractDetails]:
        """What is found, up to the contract that has the whole name: nothing would change that."""
        found: list[ContractDetails] = []
        for query in contracts.queries(wanted):
            more = await self._ask_contracts(query)
            found += more
            if any(_name(each) == wanted.whole for each in more):
                break
        return found

    async def _ask_contracts(self, query: Contract) -> list[ContractDetails]:
        try:
            said = await self._ask(AskContracts(contract=query))
        except NotWritable:
            return []
        except Declined as no:
            if no.notice.code in CANT_FIND:
                return []
            raise VenueLost(str(no)) from no
        return [each.details for each in said if isinstance(each, Fits)]

    async def _ask_volumes(
        self, wanted: Wanted, months: Sequence[ContractDetails]
    ) -> dict[int, float]:
        """Of each month's last daily bar. Raises Refused(AmbiguousMarket) if one isn't known."""
        with trio.move_on_after(VOLUMES_S):
            async with trio.open_nursery() as nursery:
                for month in months:
                    nursery.start_soon(self._ask_volume, month)
        volumes = {each.contract.con_id: self._volume(each.contract.con_id) for each in months}
        known = {con_id: volume for con_id, volume in volumes.items() if volume is not None}
        if len(known) < len(months):
            candidates = tuple(map(contracts.fqme, months))
            raise Refused(AmbiguousMarket(market=wanted.asked, candidates=candidates))
        return known

    def _volume(self, con_id: int) -> float | None:
        """Today's knowledge of it."""
        day, volume = self._volumes.get(con_id) or (None, 0.0)
        return volume if day == today() else None

    async def _ask_volume(self, month: ContractDetails) -> None:
        """Of one month, if it isn't known. What can't be asked isn't known then."""
        contract = contracts.route(month)
        asked = AskBars(contract=contract, end="", duration="1 D", bar_size="1 day", what="TRADES")
        if self._volume(contract.con_id) is not None:
            return
        try:
            said = await self._ask(asked)
        except Declined as no:
            if codes.history(no.notice.code, no.notice.text)[0] == "no data":
                self._volumes.put(contract.con_id, (today(), 0.0))
        except VenueLost as lost:
            log.info("no volume of %s: %s", contract.local_symbol, lost)
        else:
            bars = [bar for each in said if isinstance(each, Bars) for bar in each.bars]
            self._volumes.put(contract.con_id, (today(), bars[-1].volume if bars else 0.0))

    async def _describe(self, details: ContractDetails) -> Known:
        """The market that a contract is, from now on known."""
        steps = await self._steps(contracts.rule_id(details))
        try:
            market = contracts.market(details, steps)
        except (BadDetails, BadHours) as error:
            problem = f"the gateway describes a contract as none can be: {error}"
            raise NotDescribed(problem) from error
        known = Known(market=market, contract=contracts.route(details), day=today())
        self.markets.put(market.fqme, known)
        self._by_id.put(known.contract.con_id, market.fqme)
        return known

    async def _steps(self, rule_id: int | None) -> tuple[PriceStep, ...]:
        """The price bands of a market rule."""
        if rule_id is None:
            return ()
        day, steps = self._rules.get(rule_id) or (None, ())
        if day == today():
            return steps
        try:
            said = await self._ask(AskRule(rule_id=rule_id))
        except Declined as no:
            raise VenueLost(str(no)) from no
        steps = tuple(step for each in said if isinstance(each, Rule) for step in each.steps)
        self._rules.put(rule_id, (today(), steps))
        return steps

    async def _ask(self, request: Asked) -> tuple[Said, ...]:
        """Raises Declined, NotWritable or VenueLost."""
        session = await self._session()
        try:
            return await session.ask(request, self._answer_s)
        except (NoAnswer, TooManyWaiting) as error:
            raise VenueLost(str(error)) from error


def today() -> date:
    """The day, UTC."""
    return datetime.fromtimestamp(clock.wall_ns() // 1_000_000_000, UTC).date()


def _name(details: ContractDetails) -> str:
    """The fqme of a contract that has one."""
    try:
        return contracts.fqme(details)
    except BadDetails:
        return ""


def _readable(found: Iterable[ContractDetails]) -> list[ContractDetails]:
    """Those that a name can be made for."""
    return [each for each in found if _name(each)]
