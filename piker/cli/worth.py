"""What an order comes to in money, before it is sent."""

from contextlib import aclosing
from decimal import Decimal

import trio

from piker import client
from piker.core.wording import rounded
from piker.errors import Refused, Unreachable
from piker.interfaces.data import Watched
from piker.orders import Life
from piker.quotes import Kind

PATIENCE_S = 5.0
"""A price that doesn't come in this time is not known."""
_PER_CENT = Decimal(100)


async def worth(life: Life) -> str:
    """Size times the worst price times the multiplier, in words, also where it can't be said."""
    if life.order.kind == "alert":
        return "nothing, it is only told"
    with trio.move_on_after(PATIENCE_S):
        try:
            return _worth(life, await _watched(life.order.market))
        except (Refused, Unreachable) as error:
            return f"not known: {error}"
    return f"not known: no price of {life.order.market} within {PATIENCE_S:g} s"


async def _watched(fqme: str) -> Watched:
    """A market, and its newest ticks. Raises Refused or Unreachable."""
    async with aclosing(client.watch(client.provider_of(fqme), [fqme])) as replies:
        async for reply in replies:
            return reply.markets[0]
    raise AssertionError("a watch ends only by an exception")


def _worth(life: Life, watched: Watched) -> str:
    market = watched.market
    at_worst = worst_price(life)
    price = _newest(life, watched) if at_worst is None else at_worst
    if price is None:
        return f"not known: no price of {market.fqme} was seen"
    value = rounded(abs(price) * life.size * market.multiplier)
    about = (
        "about " if at_worst is None else "at most " if life.order.side == "buy" else "at least "
    )
    return f"{about}{value} {market.currency}, at {rounded(price)}"


def worst_price(life: Life) -> Decimal | None:
    """The worst price that it can come to have; None: any, it goes at the market."""
    order = life.order
    if life.limit is not None:
        return life.limit
    if order.kind != "dark" or order.sends == "market" or life.trigger is None:
        return None
    slip = abs(life.trigger) * order.slip_max_pct / _PER_CENT
    return life.trigger + slip if order.side == "buy" else life.trigger - slip


def _newest(life: Life, watched: Watched) -> Decimal | None:
    """The trigger, else what the other side of the market asks."""
    if life.trigger is not None:
        return life.trigger
    last = {tick.kind: tick.price for tick in watched.last}
    wanted: tuple[Kind, ...] = ("ask", "trade") if life.order.side == "buy" else ("bid", "trade")
    found = next((last[kind] for kind in wanted if kind in last), None)
    return None if found is None else Decimal(str(found))
