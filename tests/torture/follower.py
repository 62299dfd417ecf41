"""Who follows every event from the first, over emsd's restarts, and believes nothing."""

from contextlib import aclosing

import trio

from piker import client
from piker.core.lifecycle import apply, begin
from piker.errors import Unreachable
from piker.interfaces.orders import OrderNews, OrdersReply
from piker.orders import Life, Submitted

RETRY_S = 0.1
"""Before emsd is asked again, while it is away."""


class Follower:
    """Sums up the events by itself; whatever isn't as promised stands in `problems`."""

    def __init__(self) -> None:
        self.seq = 0
        self.lives: dict[str, Life] = {}
        self.events: dict[str, list[OrderNews]] = {}
        self.problems: list[str] = []
        self.times = 0
        """How often emsd had to be asked again."""

    async def run(self) -> None:
        """Follow until cancelled. Raises Refused: none of its calls may be refused."""
        while True:
            try:
                async with aclosing(client.orders(self.seq)) as replies:
                    async for reply in replies:
                        self.take(reply)
            except Unreachable:
                self.times += 1
                await trio.sleep(RETRY_S)

    def take(self, reply: OrdersReply) -> None:
        """Take what a reply tells."""
        if reply.book:
            self.problems.append(f"expected no book after since_seq, was {len(reply.book)} orders")
        for news, life in zip(reply.events, reply.lives, strict=True):
            self._take(news, life)

    def _take(self, news: OrderNews, life: Life) -> None:
        if news.seq != self.seq + 1:
            self.problems.append(f"expected event {self.seq + 1}, was {news}")
        self.seq = news.seq
        self.events.setdefault(news.oid, []).append(news)
        self.lives[news.oid] = summed = _after(self.lives.get(news.oid), news)
        if summed.brief != life:
            self.problems.append(f"after {news}: events add up to {summed}, emsd says {life}")

    def unclosed(self) -> list[Life]:
        """The orders that aren't over."""
        return [life for life in self.lives.values() if not life.closed]

    def in_suspense(self) -> list[Life]:
        """The orders of which an answer is awaited, or evidence."""
        return [life for life in self.unclosed() if waits(life)]


def waits(life: Life) -> bool:
    """Whether an answer to something is awaited, or evidence of it."""
    return life.state in ("sending", "unknown") or bool(life.amend or life.cancel)


def _after(before: Life | None, news: OrderNews) -> Life:
    if isinstance(news.event, Submitted):
        assert before is None, f"expected one beginning, was {news} after {before}"
        return begin(news.event)
    assert before is not None, f"expected Submitted at first, was {news}"
    return apply(before, news.event)[0]
