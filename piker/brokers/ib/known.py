"""The contracts that orders and positions are in: their names, and how orders in them are placed.

Of a contract that the gateway doesn't describe, one that has expired perhaps, the name is IB's own.
So it is while the gateway doesn't answer: then it is asked again whenever names are learnt.
"""

from collections.abc import Awaitable, Callable, Iterable

import trio

from piker.brokers import VenueLost
from piker.brokers.ib import names
from piker.brokers.ib.memory import Memory
from piker.brokers.ib.messages import Contract
from piker.brokers.ib.resolving import Known, NotDescribed, Resolver
from piker.brokers.ib.session import Declined, GatewayLost, Session
from piker.errors import Refused, say
from piker.interfaces.broker import InvalidOrder
from piker.interfaces.data import AmbiguousMarket, NoSuchMarket
from piker.interfaces.introspection import InvalidParameter
from piker.markets import Market

AT_ONCE = 20
"""Contracts that are asked for at the same time."""
ANSWER_S = 5.0
"""How long the gateway has to describe one: lists, and what was done, wait for names."""
REMEMBERED = 20_000
"""Those that were not spoken of the longest are asked for again."""


class Contracts:
    """What is known of contracts. `session` gives a session, or raises GatewayLost."""

    def __init__(self, session: Callable[[], Awaitable[Session]]) -> None:
        self._resolver = Resolver(session, ANSWER_S)
        self._markets: Memory[int, Market] = Memory(REMEMBERED)
        self._own_names: Memory[int, str] = Memory(REMEMBERED)
        self._unanswered: set[int] = set()
        """Those of them that the gateway may describe yet, by con_id."""

    def forget(self) -> None:
        """What was not described is asked for again: perhaps it is, by the next session."""
        self._own_names = Memory(REMEMBERED)
        self._unanswered.clear()

    def name(self, contract: Contract) -> str | None:
        """The name of the contract's market, or IB's own if it has none; None: not known."""
        if not contract.con_id:
            return _own_name(contract)
        market = self._markets.get(contract.con_id)
        return market.fqme if market else self._own_names.get(contract.con_id)

    def market(self, contract: Contract) -> Market | None:
        """The market of a contract; None: not known."""
        return self._markets.get(contract.con_id)

    async def learn(self, found: Iterable[Contract]) -> None:
        """Ask for those that aren't known. Raises GatewayLost."""
        unknown = {each.con_id: each for each in found if not self._is_settled(each)}
        limiter, lost = trio.CapacityLimiter(AT_ONCE), list[GatewayLost]()
        async with trio.open_nursery() as nursery:
            for contract in unknown.values():
                nursery.start_soon(self._learn_one, contract, limiter, lost)
        if lost:
            raise lost[0]

    def _is_settled(self, contract: Contract) -> bool:
        return self.name(contract) is not None and contract.con_id not in self._unanswered

    async def trade(self, name: str) -> Known:
        """What orders in a market need, by its whole name.

        Raises Refused(InvalidOrder), or VenueLost.
        """
        known = self._resolver.of_today(name)
        if known is None:
            known = await self._find(name)
        self._markets.put(known.contract.con_id, known.market)
        return known

    async def _find(self, name: str) -> Known:
        try:
            market = await self._resolver.by_name(name)
        except Refused as no:
            raise _not_traded(name, _expected(no)) from no
        known = self._resolver.of_today(market.fqme)
        if known is None or market.fqme != name:
            raise _not_traded(name, f"the whole name, {market.fqme}")
        return known

    async def _learn_one(
        self, contract: Contract, limiter: trio.CapacityLimiter, lost: list[GatewayLost]
    ) -> None:
        con_id = contract.con_id
        async with limiter:
            try:
                known = await self._resolver.by_id(con_id)
            except GatewayLost as problem:
                lost.append(problem)
            except (VenueLost, Declined) as no:
                self._own_names.put(con_id, _own_name(contract))
                settled = isinstance(no, NotDescribed)
                (self._unanswered.discard if settled else self._unanswered.add)(con_id)
            else:
                self._markets.put(con_id, known.market)
                self._unanswered.discard(con_id)


def _own_name(contract: Contract) -> str:
    described = contract.local_symbol or contract.symbol or str(contract.con_id)
    return names.name_of(contract) or described


def _expected(no: Refused) -> str:
    """What would do in place of a name, in words."""
    match no.fault:
        case NoSuchMarket(similar=similar):
            return f"one that IB has{', such as ' if similar else ''}{', '.join(similar)}"
        case AmbiguousMarket(candidates=candidates):
            return f"one of {', '.join(candidates)}"
        case InvalidParameter(parameter=text):
            return text.partition("expected ")[2].rpartition(", was ")[0] or text
    return say(no.fault)


def _not_traded(name: str, allowed: str) -> Refused:
    return Refused(InvalidOrder(field="market", value=name, allowed=allowed))
