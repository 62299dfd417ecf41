"""Waits until what was asked of orders has come of them: cancel --wait, flatten --wait."""

from collections.abc import Callable, Collection, Iterable
from contextlib import aclosing
from dataclasses import dataclass
from functools import partial

from piker import client
from piker.cli import desk, lines
from piker.cli.lines import Live
from piker.core.mirror import Change, Mirror
from piker.core.wording import remedy, standing, told
from piker.interfaces.orders import TimelineReply
from piker.orders import CancelAsked, CancelRefused, Expired, Life, OrderEvent


@dataclass(frozen=True)
class Waited:
    """An order that is waited for: how it stands, and why its cancel was refused, if it was.

    The life alone doesn't tell that: what isn't open is still to be cancelled when it turns up.
    """

    life: Life
    refused: str = ""


async def until_over(
    oids: Collection[str], over: Callable[[Waited], bool], live: Live, *, as_json: bool
) -> list[Waited]:
    """These orders once each is over; before that how they stand is printed, and each change.

    An outcome that is not known is told once, on stderr: it is waited for, too. Raises Refused, and
    Unreachable if emsd was not reached at first.
    """
    wanted, left, waited = frozenset(oids), set(oids), dict[str, Waited]()
    mirror, doubts = Mirror(), Doubts()
    if not oids:
        return []
    async with aclosing(client.follow_orders(mirror, desk.say_lost)) as replies:
        async for changes in replies:
            ours = [each for each in changes if each.life.order.oid in wanted]
            if mirror.since is not None:
                ours += await _not_in_book(left, mirror, waited)
            lines.print_changes(ours, live, mirror.since or 0, as_json=as_json)
            for change in ours:
                oid = change.life.order.oid
                waited[oid] = Waited(change.life, await _refusal(change, waited.get(oid)))
                if over(waited[oid]):
                    left.discard(oid)
                elif oid in left:
                    doubts.say(change.life)
            if not left:
                break
    return [waited[oid] for oid in oids]


async def _not_in_book(left: set[str], mirror: Mirror, waited: dict[str, Waited]) -> list[Change]:
    """Orders that closed so long ago, or among so many, that a book no longer has them."""
    found = []
    for oid in sorted(left - mirror.lives.keys()):
        before = waited[oid].life if oid in waited else None
        found.append(Change(life=(await _timeline(oid)).life, before=before, news=None))
    return found


async def _timeline(oid: str) -> TimelineReply:
    return await desk.over_restarts(partial(desk.timeline, oid))


async def _refusal(change: Change, before: Waited | None) -> str:
    """Why its cancel was refused, as far as is known after a change; empty if it wasn't."""
    so_far = before.refused if before else ""
    if change.news:
        return _why_refused([change.news.event], so_far)
    life = change.life
    if not life.cancel or life.state == "open":
        return so_far
    events = (await _timeline(life.order.oid)).events
    return _why_refused((each.event for each in events), so_far)


def _why_refused(events: Iterable[OrderEvent], so_far: str) -> str:
    """The same after these events: a cancel that is asked for again is not refused yet."""
    for event in events:
        match event:
            case CancelAsked() | Expired():
                so_far = ""
            case CancelRefused():
                so_far = told(event)
    return so_far


class Doubts:
    """Says, once of each order, that its outcome is not known and what can be done."""

    def __init__(self) -> None:
        self._said: set[str] = set()

    def say(self, life: Life) -> None:
        """Say it, if it is so."""
        oid, what = life.order.oid, remedy(life)
        if what and oid not in self._said:
            self._said.add(oid)
            desk.say(f"{oid} is waited for, it is {standing(life)}: {what}")
