"""What to watch at a gateway: which market next, within the lines that there are, and what is said.

A line is one market that is watched. Whoever was wanted first has one; who comes later than there
are lines waits, and gets the first that is free. A market that orders depend on doesn't wait: it
gets the line of one that none do. What a market is told follows from its state:

    idle      waits for its turn, or for a line
    again     has a line, and is to be asked for once more
    asked     has a line; nothing was said of it yet
    on        has a line, and the gateway said something
    later     ended, or refused, and tried again at its time

Times are CLOCK_BOOTTIME ns.
"""

from collections.abc import Callable, Iterator, Set
from dataclasses import dataclass, field
from typing import Literal

from piker.brokers.ib.codes import DataVerdict, Farm, LinkVerdict
from piker.core.backoff import Backoff
from piker.core.sessions import is_open, opening
from piker.markets import Market

State = Literal["idle", "again", "asked", "on", "later"]

SECOND_NS = 1_000_000_000

ACCEPTED_NS = 5 * SECOND_NS
"""A gateway that has said nothing for so long has taken a request; of a closed market it may have
nothing to say."""
PAUSES_S = 5.0, 60.0
"""Between attempts, first and longest."""
REFUSED_NS = 900 * SECOND_NS
"""So long after it was refused a market is tried again: gateways refuse what is subscribed, too,
while they come back at night, and a subscription may be had meanwhile."""
ANOTHER_NS = 60 * SECOND_NS
"""So long after there was no line one more is tried: the user's other programs have given it
back, perhaps."""
SILENT_NS = 60 * SECOND_NS
"""A market that is open and silent for so long is asked for again, at most so often."""
STRAY_NS = 2 * SECOND_NS
"""What is heard so soon after a farm broke may have come before that."""
REPEATED_NS = 30 * SECOND_NS
"""Gateways say every few seconds that they have lost IB. What is heard so long after they said it
shows that they have it again."""

LINED = {"again", "asked", "on"}


@dataclass(slots=True)
class Place:
    """One market that is wanted."""

    state: State = "idle"
    reason: str = ""
    """Why it ended."""
    told: str | None = None
    """Why it isn't served, as it was last told; nothing: it is; None: it was told neither."""
    asked_ns: int = 0
    heard_ns: int = 0
    again_ns: int = 0
    """When `later` is over."""
    backoff: Backoff = field(default_factory=lambda: Backoff(*PAUSES_S))


class Desired:
    """All that is wanted: what orders depend on first, else in the order in which it came to be;
    what came at once, by name.
    """

    def __init__(self, lines: int) -> None:
        self.cut = ""
        """Why nothing that is heard counts: the gateway has lost IB."""
        self.broken: dict[str, int] = {}
        """Farms of market data that are, and since when."""
        self._cut_ns = 0
        self._most = lines
        self._lines = lines
        self._another_ns = 0
        self._places: dict[str, Place] = {}
        self._first: Set[str] = frozenset()

    def __getitem__(self, name: str) -> Place:
        return self._places[name]

    def __contains__(self, name: str) -> bool:
        return name in self._places

    def want(self, names: Set[str], first: Set[str] = frozenset()) -> list[str]:
        """From now on these; orders depend on `first`. Gives those that no longer are."""
        gone = [name for name in self._places if name not in names]
        for name in gone:
            del self._places[name]
        for name in sorted(names - self._places.keys()):
            self._places[name] = Place()
        self._first = first
        in_order = sorted(self._places.items(), key=lambda item: item[0] not in first)
        self._places = dict(in_order)
        return gone

    def yielding(self, now_ns: int) -> str | None:
        """Which market now gives its line to one that orders depend on, and that has none."""
        places = self._places.items()
        waits = any(name in self._first and _is_due(place, now_ns) for name, place in places)
        if not waits or self._free(now_ns) > 0:
            return None
        lined = [name for name, place in places if place.state in LINED and name not in self._first]
        if not lined:
            return None
        self._places[lined[-1]].state = "idle"
        return lined[-1]

    def next(self, now_ns: int) -> str | None:
        """Which market to ask for now, if there is one."""
        free = self._free(now_ns)
        for name, place in self._places.items():
            if place.state == "again" or (free > 0 and _is_due(place, now_ns)):
                return name
        return None

    def next_at(self, now_ns: int) -> int | None:
        """When to look again, if nothing else happens before."""
        times = [at_ns for at_ns in self._times() if at_ns > now_ns]
        return min(times, default=None)

    def asked(self, name: str, now_ns: int) -> None:
        """It is being asked for, or has been just now."""
        self._places[name].state = "asked"
        self._places[name].asked_ns = now_ns

    def heard(self, name: str, now_ns: int) -> bool:
        """The gateway said something of it; whether that counts."""
        if self.cut and now_ns - self._cut_ns <= REPEATED_NS:
            return False
        self.cut = ""
        place = self._places[name]
        place.state, place.heard_ns = "on", now_ns
        place.backoff.reset()
        return True

    def accept(self, now_ns: int) -> None:
        """Who was asked for long ago, and not refused, is served."""
        for place in self._places.values():
            long = now_ns - place.asked_ns >= ACCEPTED_NS
            if place.state == "asked" and long and not self.cut:
                place.state = "on"

    def ended(self, name: str, verdict: DataVerdict, reason: str, now_ns: int) -> None:
        """The gateway has ended it, with this verdict."""
        place = self._places[name]
        place.reason = reason
        if verdict == "again" and now_ns - place.asked_ns >= SILENT_NS:
            place.state = "again"
        elif verdict == "refused":
            place.state, place.again_ns = "later", now_ns + REFUSED_NS
        elif verdict == "no line":
            self._lines = max(self._used() - 1, 0)
            self._another_ns = now_ns + ANOTHER_NS
            place.state = "idle"
        else:
            pause_s = place.backoff.pause()
            place.state, place.again_ns = "later", now_ns + round(pause_s * SECOND_NS)

    def again(self, name: str) -> None:
        """Ask for it once more."""
        self._places[name].state = "again"

    def lose(self) -> None:
        """The gateway is away: what is wanted stays wanted, in its order."""
        self.cut = ""
        self.broken.clear()
        self._lines = self._most
        self._places = {name: Place() for name in self._places}

    def take_link(self, verdict: LinkVerdict, reason: str, now_ns: int) -> list[str]:
        """The gateway has lost IB, or has it again. Gives what is to be asked for once more."""
        if verdict == "lost":
            self.cut, self._cut_ns = reason, now_ns
        elif verdict in ("data lost", "kept"):
            self.cut = ""
        return self._again(lambda place: True) if verdict == "data lost" else []

    def take_farm(self, farm: Farm, now_ns: int) -> list[str]:
        """How a farm is. Gives what is to be asked for once more, since it was broken and isn't.

        Which market is whose isn't known; what was heard meanwhile is another's.
        """
        if farm.kind != "market":
            return []
        if farm.state == "broken":
            self.broken.setdefault(farm.name, now_ns)
            return []
        if farm.state == "connecting" or farm.name not in self.broken:
            return []
        until_ns = self.broken.pop(farm.name) + STRAY_NS
        return self._again(lambda place: place.heard_ns <= until_ns)

    def is_silent(self, name: str, market: Market, wall_ns: int, now_ns: int) -> bool:
        """Whether nothing was said of it for too long, in its session."""
        place = self._places[name]
        if place.state != "on" or not is_open(market.sessions, wall_ns):
            return False
        open_ns = wall_ns - opening(market.sessions, wall_ns)
        silent_ns = now_ns - max(place.heard_ns, place.asked_ns)
        return min(silent_ns, open_ns) > SILENT_NS

    def news(self, now_ns: int) -> list[tuple[str, str]]:
        """Who is to be told something else than before: a market, and why it isn't served."""
        found = []
        free = self._free(now_ns)
        for name, place in self._places.items():
            due = _is_due(place, now_ns)
            said = self._no_line() if due and free <= 0 else self._said(place)
            free -= due
            if said != place.told and said is not None:
                place.told = said
                found.append((name, said))
        return found

    def _said(self, place: Place) -> str | None:
        """What a market is told. None: the same as before."""
        if place.state == "later":
            return place.reason
        if self.cut and (place.state == "on" or place.told == ""):
            return self.cut
        return "" if place.state == "on" else None

    def _no_line(self) -> str:
        return (
            f"no market data line is free (lines = {self._most} in piker.toml): it gets the next "
            "one that is. Watch fewer markets, here and in the gateway's own windows"
        )

    def _again(self, which: Callable[[Place], bool]) -> list[str]:
        found = [n for n, each in self._places.items() if each.state in LINED and which(each)]
        for name in found:
            self._places[name].state = "again"
        return found

    def _used(self) -> int:
        return sum(place.state in LINED for place in self._places.values())

    def _free(self, now_ns: int) -> int:
        """Lines that are. What was lost of them comes back one at a time, if it does."""
        used = self._used()
        if used >= self._lines < self._most and now_ns >= self._another_ns:
            self._lines, self._another_ns = used + 1, now_ns + ANOTHER_NS
        return self._lines - used

    def _times(self) -> Iterator[int]:
        if self._lines < self._most:
            yield self._another_ns
        for place in self._places.values():
            if place.state == "later":
                yield place.again_ns
            elif place.state == "asked" and not self.cut:
                yield place.asked_ns + ACCEPTED_NS


def _is_due(place: Place, now_ns: int) -> bool:
    """Whether it would take a line."""
    return place.state == "idle" or (place.state == "later" and place.again_ns <= now_ns)
