"""Waits until what was asked of orders has come of them: cancel --wait, flatten --wait."""

from collections.abc import Callable, Collection
from contextlib import aclosing

from piker import client
from piker.cli import desk, lines
from piker.cli.lines import Live
from piker.core.mirror import Change, Mirror
from piker.orders import Life


async def until_over(
    oids: Collection[str], over: Callable[[Life], bool], live: Live, *, as_json: bool
) -> list[Life]:
    """How these orders stand once each is over; before that how they stand, and each change.

    Raises Refused or Unreachable.
    """
    mirror, lives = Mirror(), dict[str, Life]()
    if not oids:
        return []
    async with aclosing(client.follow_orders(mirror, desk.say_lost)) as replies:
        async for changes in replies:
            ours = [each for each in changes if each.life.order.oid in oids]
            if mirror.since is not None:
                ours += await _not_in_book(oids, mirror, lives)
            lives |= {each.life.order.oid: each.life for each in ours}
            lines.print_changes(ours, live, mirror.since or 0, as_json=as_json)
            if lives.keys() >= set(oids) and all(map(over, lives.values())):
                break
    return [lives[oid] for oid in oids]


async def _not_in_book(
    oids: Collection[str], mirror: Mirror, lives: dict[str, Life]
) -> list[Change]:
    """Orders that closed so long ago, or among so many, that a book no longer has them."""
    gone = [
        oid for oid in oids if oid not in mirror.lives and not (oid in lives and lives[oid].closed)
    ]
    found = [await desk.life(oid) for oid in gone]
    return [Change(life=life, before=lives.get(life.order.oid), news=None) for life in found]
