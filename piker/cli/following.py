"""Following markets over the restarts of their datad."""

import sys
from collections.abc import Awaitable, Callable, Sequence
from contextlib import aclosing

import trio

from piker import client
from piker.errors import Unreachable
from piker.interfaces.data import WatchReply

RETRY_S = 0.5

Progress = Callable[[], None]


async def follow(
    provider: str,
    markets: Sequence[str],
    max_rate_hz: float | None,
    take: Callable[[WatchReply], None],
) -> None:
    """Give every reply of a watch to `take`; when its daemon goes away, watch again.

    Raises Refused, and Unreachable if it could not be reached the first time.
    """

    async def once(progress: Progress) -> None:
        async with aclosing(client.watch(provider, markets, max_rate_hz=max_rate_hz)) as replies:
            async for reply in replies:
                progress()
                take(reply)

    await again(once)


async def again(once: Callable[[Progress], Awaitable[None]]) -> None:
    """Run `once` again and again; it calls what it is given when it has got something.

    Raises what it raises, but Unreachable only if nothing was ever got: after that it is said, once
    for each time that it goes away.
    """
    ever = False
    while True:
        got = trio.Event()
        try:
            await once(got.set)
        except Unreachable as error:
            if not ever and not got.is_set():
                raise
            if got.is_set():
                print(f"piker: {error}; trying again", file=sys.stderr)
        ever = ever or got.is_set()
        await trio.sleep(RETRY_S)


async def for_a_while(seconds: float | None, run: Callable[[], Awaitable[None]]) -> None:
    """Run until it ends, or for so long."""
    with trio.move_on_after(float("inf") if seconds is None else seconds):
        await run()
