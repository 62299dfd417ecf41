"""When a message may leave for the gateway: the most urgent first, and none that breaks a rule.

The rules are IB's own ("Historical Data Limitations" and "Requests" of its API's documentation): a
session that breaks them is warned and then cut off. History comes last, whatever was asked first.
"""

from collections import OrderedDict, deque
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from enum import IntEnum
from heapq import heapify, heappop, heappush
from typing import Generic, TypeVar

from msgspec import Struct

SECOND_NS = 1_000_000_000

RATE, RATE_NS = 45, SECOND_NS
"""Messages in any second. IB cuts off at 50; the gateway may see some closer together."""

KEPT_FREE = 5
"""Of those, so many are for cancels and orders only: they never wait for what is less urgent."""

HISTORY, HISTORY_NS = 60, 600 * SECOND_NS
IDENTICAL_NS = 15 * SECOND_NS
SERIES, SERIES_NS = 5, 2 * SECOND_NS
"""Of one contract, exchange and kind of data: six are a violation."""
OPEN = 50
SEARCH_NS = SECOND_NS
TICKS_NS = 15 * SECOND_NS

WAITING = 1000
"""Of each urgency, so many may wait; then an offer is refused, by TooManyWaiting."""

PATIENCE_NS = 30 * SECOND_NS
"""What has waited for so long goes before what is more urgent, but for cancels and orders."""

NEVER = 2**63 - 1

Item = TypeVar("Item", bound=Hashable)


class Urgency(IntEnum):
    """What a message is for, the most urgent first."""

    CANCEL = 0
    ORDER = 1
    CONTROL = 2
    """Time, ids, accounts."""
    QUOTES = 3
    SEARCH = 4
    """Symbols and contracts."""
    HISTORY = 5


class Past(Struct, frozen=True, kw_only=True):
    """A request for history. It is open until `ended`."""

    identical: Hashable
    """Everything that it asks for."""
    series: Hashable
    """Its contract, exchange and kind of data."""
    cost: int = 1
    """2 for bids and asks together (BID_ASK)."""


class Symbols(Struct, frozen=True, kw_only=True):
    """A search among symbols (reqMatchingSymbols)."""


class Ticks(Struct, frozen=True, kw_only=True):
    """Every tick of an instrument (reqTickByTickData)."""

    instrument: Hashable


Needs = Past | Symbols | Ticks | None
"""Which rules, beside that of all messages, are for a message."""


class Wait(Struct, frozen=True, kw_only=True):
    """How long something waits, as far as can be told now."""

    seconds: float
    """About so long, if nothing more urgent comes, what is open ends in time, and no rule holds
    back what is ahead."""
    position: int
    """1: it is the next."""


class TooManyWaiting(Exception):
    """So much waits already that nothing more of this urgency is taken; nothing was sent."""


class Window:
    """At most so many in any stretch of time, for each key."""

    def __init__(self, most: int, span_ns: int) -> None:
        self._most = most
        self._span_ns = span_ns
        self._times: OrderedDict[Hashable, deque[int]] = OrderedDict()

    def free_at(self, key: Hashable = None, cost: int = 1) -> int:
        """From when on there is room for so many more; 0: there always was."""
        times = self._times.get(key, ())
        excess = len(times) + cost - self._most
        return times[excess - 1] + self._span_ns if excess > 0 else 0

    def nth_at(self, now_ns: int, nth: int) -> int:
        """When there is room for the last of so many that come next, each as soon as it can."""
        times = self._times.get(None, ())
        place = len(times) + nth - 1 - self._most
        if place < 0:
            return now_ns
        if place < len(times):
            return max(now_ns, times[place] + self._span_ns)
        return self.nth_at(now_ns, place - len(times) + 1) + self._span_ns

    def note(self, now_ns: int, key: Hashable = None, cost: int = 1) -> None:
        """So many more happened now. What no longer counts is forgotten."""
        times = self._times.setdefault(key, deque())
        times.extend([now_ns] * cost)
        self._times.move_to_end(key)
        while times[0] + self._span_ns <= now_ns:
            times.popleft()
        while next(iter(self._times.values()))[-1] + self._span_ns <= now_ns:
            self._times.popitem(last=False)


@dataclass(slots=True, eq=False)
class _Offer(Generic[Item]):
    """Something that waits."""

    item: Item
    urgency: Urgency
    needs: Needs
    turn: int
    since_ns: int
    gone: bool = False


@dataclass(slots=True)
class _Line(Generic[Item]):
    """What waits with one urgency: in turn, and beside it what a rule of its own holds back.

    Whether one does is found out when its turn comes, so that it costs nothing before. What is gone
    is left in the heaps until it comes up, or until it is most of what is there.
    """

    turns: list[tuple[int, _Offer[Item]]] = field(default_factory=list)
    held: list[tuple[int, int, _Offer[Item]]] = field(default_factory=list)
    count: int = 0

    def add(self, offer: _Offer[Item]) -> None:
        """At its end."""
        self.count += 1
        heappush(self.turns, (offer.turn, offer))

    def first(self, now_ns: int, held_until: Callable[[Needs], int]) -> _Offer[Item] | None:
        """Whose turn it is among those that no rule of their own holds back."""
        while self.held and self.held[0][0] <= now_ns:
            _, turn, offer = heappop(self.held)
            heappush(self.turns, (turn, offer))
        while self.turns:
            turn, offer = self.turns[0]
            until_ns = 0 if offer.gone else held_until(offer.needs)
            if not offer.gone and until_ns <= now_ns:
                return offer
            heappop(self.turns)
            if not offer.gone:
                heappush(self.held, (until_ns, turn, offer))
        return None

    def held_until(self) -> int:
        """When the first of those that are held back no longer is."""
        while self.held and self.held[0][2].gone:
            heappop(self.held)
        return self.held[0][0] if self.held else NEVER

    def remove(self, offer: _Offer[Item]) -> None:
        """Wherever it is."""
        offer.gone = True
        self.count -= 1
        if len(self.turns) + len(self.held) > 2 * self.count + 100:
            self.turns = [each for each in self.turns if not each[1].gone]
            self.held = [each for each in self.held if not each[2].gone]
            heapify(self.turns)
            heapify(self.held)


class Pacer(Generic[Item]):
    """Says what may leave, and when. Times are CLOCK_BOOTTIME ns and never go back.

    Items are names of messages, each of which waits once. The rules are of a login, so keep it when
    a connection is lost: see `lost`.
    """

    def __init__(self) -> None:
        self._turn = 0
        self._lines: dict[Urgency, _Line[Item]] = {urgency: _Line() for urgency in Urgency}
        self._waiting: dict[Item, _Offer[Item]] = {}
        self._leaving: _Offer[Item] | None = None
        self._open: set[Item] = set()
        self._all = Window(RATE, RATE_NS)
        self._history = Window(HISTORY, HISTORY_NS)
        self._identical = Window(1, IDENTICAL_NS)
        self._series = Window(SERIES, SERIES_NS)
        self._search = Window(1, SEARCH_NS)
        self._ticks = Window(1, TICKS_NS)

    def offer(self, item: Item, urgency: Urgency, now_ns: int, needs: Needs = None) -> None:
        """Have it wait for its turn. Raises TooManyWaiting; ValueError if it waits or is open."""
        if item in self._waiting or item in self._open:
            raise ValueError(f"expected what neither waits nor is open, was {item!r}")
        if isinstance(needs, Past) and urgency is not Urgency.HISTORY:
            raise ValueError(f"expected Past with HISTORY only, was {urgency.name}")
        line = self._lines[urgency]
        if line.count >= WAITING:
            what = urgency.name.lower()
            raise TooManyWaiting(f"{what}: expected at most {WAITING} that wait, was one more")
        self._turn += 1
        offer = _Offer(item, urgency, needs, self._turn, now_ns)
        self._waiting[item] = offer
        line.add(offer)

    def withdraw(self, item: Item) -> bool:
        """Take it out; whether it still waited. What has left already is ended by `ended`."""
        offer = self._waiting.pop(item, None)
        if offer:
            self._lines[offer.urgency].remove(offer)
        return offer is not None

    def ended(self, item: Item) -> None:
        """A request for history was answered or cancelled; now another one may be due."""
        self._open.discard(item)

    def lost(self) -> list[Item]:
        """The connection is lost: nothing waits or is open now. Gives what waited, oldest first."""
        waited = list(self._waiting)
        self._waiting.clear()
        self._open.clear()
        self._lines = {urgency: _Line() for urgency in Urgency}
        return waited

    def take(self, now_ns: int) -> Item | None:
        """What leaves next, if anything may leave now. Say `left` once it has."""
        self._leaving = offer = self._next(now_ns)
        if offer is None:
            return None
        del self._waiting[offer.item]
        self._lines[offer.urgency].remove(offer)
        if isinstance(offer.needs, Past):
            self._open.add(offer.item)
        return offer.item

    def left(self, now_ns: int) -> None:
        """What was taken last has left by now.

        It counts from then on: if the gateway took it late, the next ones are as late.
        """
        offer = self._leaving
        assert offer is not None, "expected something taken to leave"
        self._all.note(now_ns)
        match offer.needs:
            case Past(identical=identical, series=series, cost=cost):
                self._history.note(now_ns, cost=cost)
                self._identical.note(now_ns, identical)
                self._series.note(now_ns, series)
            case Symbols():
                self._search.note(now_ns)
            case Ticks(instrument=instrument):
                self._ticks.note(now_ns, instrument)

    def next_at(self, now_ns: int) -> int | None:
        """When to look again, once `take` gave None: nothing may leave before, without an offer.

        None: nothing waits, or all that does waits for one that is open to end.
        """
        at_ns = min(self._line_at(line, now_ns) for line in self._lines.values())
        return None if at_ns == NEVER else max(at_ns, now_ns)

    def waits(self, item: Item, now_ns: int) -> Wait | None:
        """How long something waits, to be shown; None: it doesn't. Looks at all that waits."""
        offer = self._waiting.get(item)
        if offer is None:
            return None
        rank = offer.urgency, offer.turn
        ahead = [each for each in self._waiting.values() if (each.urgency, each.turn) <= rank]
        room_ns = self._all.nth_at(now_ns, len(ahead) + _kept_free(offer.urgency))
        until_ns = max(self._held_until(offer.needs), room_ns)
        if isinstance(offer.needs, Past):
            cost = sum(each.needs.cost for each in ahead if isinstance(each.needs, Past))
            until_ns = max(until_ns, self._history.nth_at(now_ns, cost))
        seconds = max(0, until_ns - now_ns) / SECOND_NS
        return Wait(seconds=seconds, position=len(ahead))

    def _next(self, now_ns: int) -> _Offer[Item] | None:
        """What leaves first of all that may, if anything may."""
        firsts = [line.first(now_ns, self._held_until) for line in self._lines.values()]
        may = [each for each in firsts if each and self._room_at(each) <= now_ns]
        if not may or may[0].urgency <= Urgency.ORDER:
            return may[0] if may else None
        long = [each for each in may if now_ns - each.since_ns >= PATIENCE_NS]
        return min(long, key=lambda each: each.turn) if long else may[0]

    def _line_at(self, line: _Line[Item], now_ns: int) -> int:
        first = line.first(now_ns, self._held_until)
        return min(self._room_at(first) if first else NEVER, line.held_until())

    def _held_until(self, needs: Needs) -> int:
        """Until when a message is held back by rules for its like; others may pass it."""
        match needs:
            case Past(identical=identical, series=series):
                return max(self._identical.free_at(identical), self._series.free_at(series))
            case Symbols():
                return self._search.free_at()
            case Ticks(instrument=instrument):
                return self._ticks.free_at(instrument)
        return 0

    def _room_at(self, offer: _Offer[Item]) -> int:
        """From when on the rules for all messages, and for all of history, leave room for it."""
        room_ns = self._all.free_at(cost=1 + _kept_free(offer.urgency))
        if isinstance(offer.needs, Past):
            history_ns = self._history.free_at(cost=offer.needs.cost)
            return NEVER if len(self._open) >= OPEN else max(room_ns, history_ns)
        return room_ns


def _kept_free(urgency: Urgency) -> int:
    """How many of the messages of a second it must leave to others."""
    return KEPT_FREE if urgency > Urgency.ORDER else 0
