"""When a question about the past may be put to its venue: the most urgent first, none too soon.

A provider declares how often it may be asked. Of each of its rates, and of the questions that may
be under way at once, what is less urgent leaves some free: however much of the older past is asked
for, what a person asks finds room at once. And nothing is overtaken for ever: of `SHARE` questions
that leave while an older one waits, one is the oldest.
"""

from collections import OrderedDict, deque
from collections.abc import Hashable, Iterable
from enum import IntEnum
from math import ceil
from typing import Generic, NamedTuple, TypeVar

from msgspec import Struct

from piker.core.periods import NS

SHARE = 4
"""At most three in a row overtake."""
TENTHS = 10
"""Each step down in urgency leaves one more tenth free."""
WAITING = 1000
"""Of each urgency, so many may wait; then an offer is refused, by TooManyWaiting."""

Item = TypeVar("Item", bound=Hashable)


class Rate(Struct, frozen=True, kw_only=True):
    """At most so many questions that begin in any stretch of so many seconds."""

    questions: int
    per_s: float


class Pace(Struct, frozen=True, kw_only=True):
    """How fast a venue may be asked about the past of its markets, all of them together."""

    rates: tuple[Rate, ...] = ()
    """All of them hold."""
    at_once: int = 4
    """Questions that may be under way."""
    same_s: float = 0.0
    """The same question may be asked again after so long."""


class Urgency(IntEnum):
    """What a question is for, the most urgent first."""

    PERSON = 0
    LATEST = 1
    """The newest bars of what was just opened."""
    HOLE = 2
    """What was missed while somebody looked."""
    OLDER = 3


class TooManyWaiting(Exception):
    """So many questions wait that no more are taken."""


class _Offer(NamedTuple):
    """Something that waits; offers are in order of their turns."""

    turn: int
    urgency: Urgency


class Pacer(Generic[Item]):
    """Says what may leave, and when. Times are CLOCK_BOOTTIME ns and never go back.

    Items are names of questions. One waits, is under way once `due` gave it, and is then `ended`.
    """

    def __init__(self, pace: Pace) -> None:
        self._pace = pace
        self._turn = 0
        self._waiting: OrderedDict[Item, _Offer] = OrderedDict()
        """In the order in which they came."""
        self._open: set[Item] = set()
        self._overtakers = 0
        """So many have left in a row while an older one waited."""
        self._left_ns: deque[int] = deque(maxlen=_most(pace))
        """When the newest left; more than any rate counts are never asked for."""
        self._not_before_ns = 0

    @property
    def pace(self) -> Pace:
        """The rules that hold."""
        return self._pace

    @property
    def left_ns(self) -> list[int]:
        """When the newest left, oldest first, as far as the rules ask for it."""
        return list(self._left_ns)

    def remember(self, left_ns: Iterable[int], now_ns: int) -> None:
        """Others left before, for a process that is no more: what comes next may be the same."""
        left = sorted(each for each in left_ns if each <= now_ns)
        self._left_ns = deque((*left, *self._left_ns), maxlen=_most(self._pace))
        self._not_before_ns = left[-1] + ceil(self._pace.same_s * NS) if left else 0

    def change(self, pace: Pace) -> None:
        """Other rules hold from now on. What has left counts for them, too, as far as is known."""
        if pace != self._pace:
            self._pace = pace
            self._left_ns = deque(self._left_ns, maxlen=_most(pace))

    def offer(self, item: Item, urgency: Urgency) -> None:
        """Have it wait for its turn. Raises TooManyWaiting; ValueError if it waits or is open."""
        if item in self._waiting or item in self._open:
            raise ValueError(f"expected what neither waits nor is open, was {item!r}")
        if sum(each.urgency == urgency for each in self._waiting.values()) >= WAITING:
            raise TooManyWaiting(f"{WAITING} such questions about the past wait already: ask later")
        self._turn += 1
        self._waiting[item] = _Offer(self._turn, urgency)

    def withdraw(self, item: Item) -> bool:
        """Take it out; whether it still waited."""
        return self._waiting.pop(item, None) is not None

    def ended(self, item: Item) -> None:
        """It was answered, or nobody waits for its answer any more."""
        self._open.discard(item)

    def due(self, now_ns: int) -> list[Item]:
        """What may leave now, in this order; it counts as having left."""
        leaving: list[Item] = []
        while self.next_at(now_ns) == now_ns:
            leaving.append(self._leave(now_ns))
        return leaving

    def next_at(self, now_ns: int) -> int | None:
        """When something may leave, not before now; None: not before another offer or an end."""
        if not self._waiting or len(self._open) >= self._room(self._pace.at_once):
            return None
        times = (self._free_at(rate) for rate in self._pace.rates)
        return max((now_ns, self._not_before_ns, *times))

    def _next(self) -> Item:
        """Whose turn it is: the most urgent's, or the oldest's, if enough have overtaken it."""
        if self._is_the_oldests_turn:
            return next(iter(self._waiting))
        return min(self._waiting, key=lambda item: self._rank(self._waiting[item]))

    def _free_at(self, rate: Rate) -> int:
        """From when on a rate leaves room for the next."""
        room = self._room(rate.questions)
        if len(self._left_ns) < room:
            return 0
        return self._left_ns[-room] + ceil(rate.per_s * NS)

    def _room(self, most: int) -> int:
        """How many of so many the next may use. The oldest's turn has all."""
        urgency = (
            Urgency.PERSON if self._is_the_oldests_turn else self._waiting[self._next()].urgency
        )
        return max(1, most - ceil(most * urgency / TENTHS))

    @property
    def _is_the_oldests_turn(self) -> bool:
        return self._overtakers >= SHARE - 1

    def _leave(self, now_ns: int) -> Item:
        item = self._next()
        is_oldest = item == next(iter(self._waiting))
        self._overtakers = 0 if is_oldest else self._overtakers + 1
        del self._waiting[item]
        self._open.add(item)
        self._left_ns.append(now_ns)
        return item

    @staticmethod
    def _rank(offer: _Offer) -> tuple[int, int]:
        return offer.urgency, offer.turn


def at_least_s(pace: Pace, questions: int) -> float:
    """How long so many take by the rates alone, begun with none in the last of their stretches."""
    spans = (max(0, ceil(questions / rate.questions) - 1) * rate.per_s for rate in pace.rates)
    return max(spans, default=0.0)


def _most(pace: Pace) -> int:
    return max((rate.questions for rate in pace.rates), default=1)
