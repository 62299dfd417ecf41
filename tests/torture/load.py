"""Clients that order, amend and cancel without pause, and remember what they were told.

An order whose reply was lost is submitted again, as it was, until there is one.
"""

from collections import Counter
from collections.abc import Callable, Mapping
from decimal import Decimal
from random import Random

import trio

from piker.client import trading
from piker.errors import Fault, Refused, Unreachable
from piker.interfaces.broker import InvalidOrder, NotConnected
from piker.interfaces.orders import (
    AccountUnreachable,
    Amend,
    Cancel,
    DiskFull,
    NoMarketData,
    NotPossible,
    OrderReply,
    Submit,
    SubmitReply,
)
from piker.orders import Life, Order
from tests.torture.follower import Follower
from tests.torture.house import Looks, an_order
from tests.torture.venues import TICK, Kind

WORKERS = 6
PAUSE_S = (0.0, 0.2)
"""Between two things that a worker does: some fifty of them a second in all."""
BURST = 12
"""Things that are asked at once."""
LEAST, MOST = 200, 350
"""Orders that are open or armed: with fewer it only orders, with more it only cancels."""
RETRY_S = 0.1
CALL_S = 45.0
"""emsd waits for datad and for accounts before it answers."""

ALLOWED = (AccountUnreachable, DiskFull, NoMarketData, NotConnected, NotPossible)
"""What may be answered to what is right, while everything dies and comes back."""


class Load:
    """What was asked and what was told."""

    def __init__(
        self, kind: Kind, seed: str, follower: Follower, prices: Mapping[str, Decimal]
    ) -> None:
        self.promised: dict[str, Order] = {}
        self.refused: dict[str, Fault] = {}
        self.problems: list[str] = []
        self.counts: Counter[str] = Counter()
        self._kind = kind
        self._seed = seed
        self._follower = follower
        self._prices = prices
        self._busy = 0
        self._nursery: trio.Nursery | None = None
        self._going = trio.Event()

    async def run(self) -> None:
        """Work until cancelled."""
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            for number in range(WORKERS):
                nursery.start_soon(self._work, Random(f"{self._seed} {number}"))

    def go_on(self) -> None:
        """Have the workers work."""
        self._going.set()

    def burst(self, random: Random) -> None:
        """Have many things asked at once."""
        assert self._nursery is not None, "expected it to run"
        for _ in range(BURST):
            self._nursery.start_soon(self._be_busy, Random(random.random()))

    async def pause(self) -> None:
        """Have them finish what they are at, and wait."""
        self._going = trio.Event()
        async for _ in Looks():
            if not self._busy:
                return

    async def _work(self, random: Random) -> None:
        while True:
            await self._going.wait()
            await self._be_busy(random)
            await trio.sleep(random.uniform(*PAUSE_S))

    async def _be_busy(self, random: Random) -> None:
        self._busy += 1
        try:
            await self._do_something(random)
        finally:
            self._busy -= 1

    async def _do_something(self, random: Random) -> None:
        unclosed = self._follower.unclosed()
        dice = random.random()
        if len(unclosed) < LEAST or (dice < 0.5 and len(unclosed) < MOST):
            await self._submit(self._order(random))
        elif dice < 0.7 or len(unclosed) >= MOST:
            await self._change(Cancel(oid=random.choice(unclosed).order.oid))
        else:
            await self._change(self._amendment(random, random.choice(unclosed)))

    # --- what is asked

    def _order(self, random: Random) -> Order:
        kind = random.choice(KINDS)
        market = random.choice(self._kind.markets)
        side = random.choice(("buy", "sell"))
        price = self._prices[market]
        return an_order(
            random.choice((self._kind.paper, self._kind.main)),
            self._kind,
            market=market,
            side=side,
            **{"size": Decimal(random.randint(1, 9))}
            | kind(random, price, 1 if side == "buy" else -1),
        )

    def _amendment(self, random: Random, life: Life) -> Amend:
        """Another size, another price, or both; a little nearer or farther."""
        size = life.filled + random.randint(1, 9) if life.order.kind != "alert" else None
        away = random.randint(-8, 8) * TICK
        if life.state == "held":
            trigger = None if life.trigger is None else life.trigger + away
            return Amend(oid=life.order.oid, size=size, trigger=trigger)
        limit = None if life.limit is None else life.limit + away
        return Amend(oid=life.order.oid, size=size, limit=limit)

    # --- what is told

    async def _submit(self, order: Order) -> None:
        """Until emsd has said yes or no."""
        self.counts[order.kind] += 1
        while True:
            try:
                async with trading() as emsd:
                    reply = await emsd.call(Submit(order=order), SubmitReply, CALL_S)
            except Refused as no:
                self._refuse(order, no.fault)
                return
            except Unreachable:
                self.counts["replies lost"] += 1
                await trio.sleep(RETRY_S)
            else:
                self._promise(order, reply)
                return

    def _promise(self, order: Order, reply: SubmitReply) -> None:
        self.counts["taken"] += 1
        self.promised[order.oid] = order
        if reply.life.order != order or reply.seq <= 0:
            self.problems.append(f"expected an answer about {order}, was {reply}")

    def _refuse(self, order: Order, fault: Fault) -> None:
        self.counts[f"refused {type(fault).__name__}"] += 1
        self.refused[order.oid] = fault
        if not isinstance(fault, ALLOWED):
            self.problems.append(f"{order} was refused: {fault}")

    async def _change(self, call: Amend | Cancel) -> None:
        """Once: whether what was lost counts is seen in the events."""
        self.counts[type(call).__name__] += 1
        try:
            async with trading() as emsd:
                await emsd.call(call, OrderReply, CALL_S)
        except Refused as no:
            self.counts[f"{type(call).__name__} refused {type(no.fault).__name__}"] += 1
            if not isinstance(no.fault, ALLOWED) and not _crossed(call, no.fault):
                self.problems.append(f"{call} was refused: {no.fault}")
        except Unreachable:
            self.counts["replies lost"] += 1


def _resting(random: Random, price: Decimal, sign: int) -> dict[str, object]:
    return {"limit": price - sign * random.randint(2, 200) * TICK}


def _marketable(random: Random, price: Decimal, sign: int) -> dict[str, object]:
    tif = random.choice(("gtc", "ioc"))
    return {"limit": price + sign * random.randint(2, 8) * TICK, "tif": tif}


def _market(random: Random, price: Decimal, sign: int) -> dict[str, object]:
    return {"kind": "market", "limit": None}


def _dark(random: Random, price: Decimal, sign: int) -> dict[str, object]:
    away = random.choice((-1, 1)) * random.choice((2, 3, 4, 6, 200)) * TICK
    return {
        "kind": "dark",
        "limit": None,
        "trigger": price + away,
        "when": "above" if away > 0 else "below",
        "sends": random.choice(("limit", "market")),
        "on_gap": random.choice(("hold", "fire", "cancel")),
    }


def _alert(random: Random, price: Decimal, sign: int) -> dict[str, object]:
    return {
        "kind": "alert",
        "limit": None,
        "size": Decimal(0),
        "trigger": price + random.randint(2, 9) * TICK,
        "when": "above",
    }


KINDS: tuple[Callable[[Random, Decimal, int], dict[str, object]], ...] = (
    *[_resting] * 8,
    *[_marketable] * 3,
    *[_market] * 2,
    *[_dark] * 6,
    _alert,
)


def _crossed(call: Amend | Cancel, fault: Fault) -> bool:
    """Whether a new trigger was refused since the market is beyond it by now."""
    moved = isinstance(call, Amend) and call.trigger is not None
    return moved and isinstance(fault, InvalidOrder) and fault.field == "trigger"
