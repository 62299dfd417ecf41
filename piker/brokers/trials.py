"""What is tried on a provider. Each trial gives a detail for people, or raises Broken."""

from collections.abc import Awaitable, Callable, Sequence

import trio

from piker.brokers import (
    Batch,
    FeedEvent,
    Find,
    HistoryClient,
    HistoryUnavailable,
    Wanted,
)
from piker.brokers.promises import Given, Heard
from piker.clock import boot_ns, wall_ns
from piker.core.bars import GRACE_NS, NS
from piker.errors import Refused, say
from piker.interfaces.data import NoSuchMarket
from piker.markets import Market
from piker.quotes import Quote

ENOUGH = 50
"""How many events are enough to judge a feed, if they tell of every market."""

LONG_AGO_NS = 2 * 86_400 * NS
"""In January 1970."""

Resolve = Callable[[str], Awaitable[Market]]


class Broken(Exception):
    """A promise that was not kept; the text says how."""


async def same_market(get: Resolve, name: str, fqme: str) -> str:
    """The name means this market."""
    found = (await get(name)).fqme
    if found != fqme:
        raise Broken(f"expected {fqme} by the name {name}, was {found}")
    return name


async def unknown_is_refused(get: Resolve, name: str) -> str:
    """The name means no market, and that is said by its name."""
    try:
        market = await get(name)
    except Refused as no:
        if not isinstance(no.fault, NoSuchMarket):
            raise Broken(f"expected NoSuchMarket for {name}, was {say(no.fault)}") from no
        return name
    raise Broken(f"expected NoSuchMarket for {name}, was {market.fqme}")


async def gives_market(get: Resolve, name: str, into: list[Market]) -> str:
    """The name means a market."""
    into.append(await get(name))
    return into[-1].fqme


async def lists(find: Find, limit: int, into: list[str]) -> str:
    """An empty pattern finds any markets, where there is a list of them."""
    into += [match.fqme for match in await find("", limit)]
    return ", ".join(into)


async def finds(find: Find, name: str) -> str:
    """A market is found by its name."""
    found = [match.fqme for match in await find(name, 10)]
    if not any(fqme.startswith(name.lower()) for fqme in found):
        raise Broken(f"expected {name} among what is found by it, was {found}")
    return name


async def keeps_limit(find: Find, name: str) -> str:
    """No more is found than was asked for."""
    found = await find(name[:1], 1)
    if len(found) > 1:
        raise Broken(f"expected at most 1 match, were {len(found)}")
    return ""


async def gives_past(
    client: HistoryClient, market: Market, period_s: int, into: list[Given]
) -> str:
    """The newest frame; that it is not to be had is an answer, too."""
    period_ns = period_s * NS
    to_ns = (wall_ns() - GRACE_NS) // period_ns * period_ns
    from_ns = to_ns - client.frames[period_s] // period_ns * period_ns
    try:
        frame = await client.frame(period_s, from_ns, to_ns)
    except HistoryUnavailable as no:
        return f"unavailable: {no}"
    into.append(Given(market, period_s, from_ns, to_ns, frame))
    return f"{len(frame.bars)} bars"


async def makes_up_no_past(client: HistoryClient) -> str:
    """Of a time before anybody's first data there are no bars; or it isn't to be had."""
    for period_s in client.frames:
        try:
            frame = await client.frame(period_s, LONG_AGO_NS, LONG_AGO_NS + 60 * period_s * NS)
        except HistoryUnavailable:
            continue
        if frame.bars:
            raise Broken(f"expected no bars of 1970, were {len(frame.bars)} of {period_s} s")
    return ""


async def hear(
    receive: trio.MemoryReceiveChannel[Batch], markets: Sequence[Market], seconds: float
) -> Heard:
    """What a feed says until there is enough to judge it, or for so many seconds."""
    at_ns, began_ns = wall_ns(), boot_ns()
    events: list[FeedEvent] = []
    wanted = {market.fqme for market in markets}
    silent = set(wanted)
    with trio.move_on_after(seconds):
        while silent or len(events) < ENOUGH:
            batch = await _next(receive)
            events += batch
            silent -= {event.market for event in batch if isinstance(event, Quote)}
    return Heard(events, frozenset(wanted), at_ns, began_ns, boot_ns())


async def falls_silent(
    wanted: Wanted, receive: trio.MemoryReceiveChannel[Batch], silent_s: float
) -> str:
    """Once nothing is wanted there comes a silence. The caller bounds how long that may take."""
    wanted.set(frozenset())
    while True:
        with trio.move_on_after(silent_s) as silence:
            await _next(receive)
        if silence.cancelled_caught:
            return ""


async def _next(receive: trio.MemoryReceiveChannel[Batch]) -> Batch:
    try:
        return await receive.receive()
    except trio.EndOfChannel:
        raise Broken("expected stream_quotes to run until it is cancelled, it returned") from None
