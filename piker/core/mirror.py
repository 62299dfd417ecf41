"""The orders as a client knows them: what the replies of piker.Orders.Orders add up to."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from piker.core.lifecycle import apply, begin
from piker.interfaces.orders import OrderNews, OrdersReply
from piker.orders import Life, Submitted

CLOSED_KEPT = 1000
"""Closed orders that are kept, for what may still come of them; the oldest go first."""


@dataclass(frozen=True)
class Change:
    """How an order stands, how it stood before, and what happened.

    `before` is None of an order that was not known; `news` of one that changed unseen.
    """

    life: Life
    before: Life | None
    news: OrderNews | None


class Mirror:
    """Orders by oid, up to an event. Begins empty; a whole book comes first, then events."""

    def __init__(self) -> None:
        self.lives: dict[str, Life] = {}
        self._seq = 0
        self._closed: dict[str, None] = {}
        self._coming: dict[str, Life] | None = {}

    @classmethod
    def with_one(cls, life: Life, seq: int) -> "Mirror":
        """One that knows of an order, up to an event."""
        mirror = cls()
        mirror._coming = None
        mirror._seq = seq
        mirror._keep(life)
        return mirror

    @property
    def since(self) -> int | None:
        """The event from which on to ask, or None: for the whole book, and call `start_over`."""
        return self._seq if self._coming is None else None

    def start_over(self) -> None:
        """A whole book comes next. What is known is kept until then, to be compared."""
        self._coming = {}

    def take(self, reply: OrdersReply) -> list[Change]:
        """What a reply changes: nothing while a book isn't whole, nor by an event that is known."""
        if self._coming is None:
            told = zip(reply.events, reply.lives, strict=True)
            changes = [self._change(*each) for each in told if each[0].seq > self._seq]
        else:
            self._coming.update({life.order.oid: life for life in reply.book})
            if not reply.complete:
                return []
            changes = list(self._replace(self._coming))
            self._coming = None
        self._seq = reply.seq
        return changes

    def _change(self, news: OrderNews, life: Life) -> Change:
        before = self.lives.get(news.oid)
        self._keep(life)
        return Change(life=life, before=before, news=news)

    def _replace(self, coming: dict[str, Life]) -> Iterator[Change]:
        known, self.lives, self._closed = self.lives, {}, {}
        for oid, life in coming.items():
            self._keep(life)
            if life != known.get(oid):
                yield Change(life=life, before=known.get(oid), news=None)

    def _keep(self, life: Life) -> None:
        self.lives[life.order.oid] = life
        if life.closed:
            self._closed[life.order.oid] = None
        if len(self._closed) > CLOSED_KEPT:
            oldest = next(iter(self._closed))
            del self._closed[oldest], self.lives[oldest]


def history(events: Iterable[OrderNews]) -> Iterator[Change]:
    """Every event of an order from its beginning, and how it stood after each."""
    before: Life | None = None
    for news in events:
        life = _after(before, news)
        yield Change(life=life, before=before, news=news)
        before = life


def _after(before: Life | None, news: OrderNews) -> Life:
    if before is not None:
        return apply(before, news.event)[0]
    if isinstance(news.event, Submitted):
        return begin(news.event)
    raise ValueError(f"expected Submitted at first, was {news.event}")
