"""Panic: halt, then cancel everything at one provider, with emsd dead or alive.

    python -m piker.panic PROVIDER

The halt is latched on disk first, so that emsd sends no new order. Then brokerd and paperboi of the
provider are told to cancel all that is open, again and again until they say that nothing is. It
ends well only then; else it lists what is still open, or why that can't be told.

Task tree: one task for each of the two daemons.
"""

import logging
import sys
from pathlib import Path

import trio

from piker import brokers, clock, log, paths
from piker.client import open_daemon
from piker.errors import Refused, Unreachable
from piker.interfaces.broker import (
    BROKER,
    CancelAll,
    CancelAllReply,
    OpenOrder,
    Snapshot,
    SnapshotReply,
)
from piker.store import halt

PATIENCE_S = 45.0
"""What is open after so long is left to a person. A venue may be asked only after its daemon has
come up and logged in."""
ROUND_S = 1.0
"""From one attempt to the next."""
SETTLED_S = 6.0
"""An order that was committed before the halt may be handed over for 5 s after: `Place` says when
it is too late. Only what is seen after that is proof."""
ANSWER_S = 10.0
"""How long one answer may take."""

logger = logging.getLogger(__name__)


def latch(directory: Path, reason: str) -> str:
    """Halt, unless that was done before; gives what went wrong, or an empty text."""
    if halt.read(directory) is None:
        try:
            halt.set(directory, halt.Latch(reason=reason, since_ns=clock.wall_ns()))
        except OSError as error:
            return f"emsd could not be halted: {error}"
        logger.warning("halted: %s", reason, extra=log.fields(message_id=log.HALTED))
    return ""


async def cancel_everything(provider: str) -> list[str]:
    """Have everything at a provider cancelled; gives what is still open, a line each."""
    left: list[str] = []
    async with trio.open_nursery() as nursery:
        for daemon in order_daemons(provider):
            nursery.start_soon(_sweep, daemon, provider, left)
    return left


def order_daemons(provider: str) -> tuple[str, ...]:
    """The daemons that may have orders at a provider. In doubt both: one too many is asked."""
    try:
        trades = bool(brokers.get_eps(brokers.load(provider), "brokerd"))
    except Refused:
        trades = True
    return ("brokerd", "paperboi") if trades else ("paperboi",)


async def _sweep(daemon: str, provider: str, left: list[str]) -> None:
    """Attempt it until nothing is open, or patience ends; adds what is left then."""
    start = trio.current_time()
    told: list[str] = []
    while True:
        still_open = await _attempt(daemon, provider)
        since_s = trio.current_time() - start
        if since_s >= (PATIENCE_S if still_open else SETTLED_S):
            left += still_open
            return
        if still_open != told:
            _say(*still_open)
            told = still_open
        await trio.sleep_until(start + (since_s // ROUND_S + 1) * ROUND_S)


async def _attempt(daemon: str, provider: str) -> list[str]:
    """Cancel once, and look: what is still open, or why that can't be told."""
    unit = paths.unit_name(daemon, provider)
    look = Snapshot(since_ns=clock.wall_ns())
    try:
        async with open_daemon(daemon, provider, BROKER) as client:
            await client.call(CancelAll(scope="all"), CancelAllReply, ANSWER_S)
            snapshot = await client.call(look, SnapshotReply, ANSWER_S)
    except (Refused, Unreachable) as error:
        return [f"{unit}: what is open is not known: {error}"]
    return [f"{unit}: {_line(order)}" for order in snapshot.orders]


def _line(order: OpenOrder) -> str:
    price = "at the market" if order.limit is None else f"at {order.limit}"
    whose = order.oid or "not of ours"
    return (
        f"still open: {order.account}: {order.side} {order.size} {order.market} {price}, "
        f"filled {order.filled} ({whose}; the venue's id is {order.venue_id})"
    )


def _say(*lines: str) -> None:
    for line in lines:
        sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


async def run(provider: str) -> int:
    """Halt, and cancel everything; gives the exit status."""
    problem = latch(paths.state_of("emsd"), f"panic at {provider}")
    left = await cancel_everything(provider)
    if problem or left:
        _say(*filter(None, [problem]), *left)
        return 1
    _say(f"nothing is open at {provider}; all is halted until it is resumed")
    return 0


def main() -> int:
    """python -m piker.panic PROVIDER."""
    if len(sys.argv) != 2 or sys.argv[1].startswith("-"):
        sys.stderr.write("usage: python -m piker.panic PROVIDER\n")
        return 2
    log.set_up("piker-panic", sys.argv[1])
    return trio.run(run, sys.argv[1])


if __name__ == "__main__":
    sys.exit(main())
