"""The past of a venue in a test's hands: what is true of it, and what it answers instead."""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import NamedTuple

import trio

from piker.brokers import Frame
from piker.core.bars import NS
from piker.core.pace import Pace
from piker.markets import Market
from piker.quotes import Bar


def bar(period_s: int, start_ns: int, price: float = 0.0) -> Bar:
    """What is true of a period: another price each time."""
    low = price or 100 + start_ns // NS % 1000 / 8
    return Bar(
        time_ns=start_ns,
        open=low,
        high=low + 2,
        low=low,
        close=low + 1,
        volume=float(period_s),
        trades=period_s,
    )


def truth(period_s: int, from_ns: int, to_ns: int) -> tuple[Bar, ...]:
    """All bars of a stretch: in every seventh period nobody trades."""
    numbers = range(from_ns // NS // period_s, to_ns // NS // period_s)
    return tuple(bar(period_s, each * period_s * NS) for each in numbers if each % 7)


class Question(NamedTuple):
    """What was asked."""

    market: str
    period_s: int
    from_ns: int
    to_ns: int


Twist = Callable[[Frame, int], Awaitable[Frame | Exception]]
"""Makes something else of the true answer about a period."""
Answer = Frame | Exception | Twist | None


class Past:
    """Answers what is scripted, in turn; then the truth. `hold` it, and it answers when let go."""

    def __init__(self, frames: Mapping[int, int] | None = None, pace: Pace | None = None) -> None:
        self.frames: Mapping[int, int] = frames or {1: 60 * NS, 60: 3600 * NS}
        self.pace = pace or Pace()
        self.script: list[Answer] = []
        """None: no answer, ever."""
        self.asked_at: list[float] = []
        """When questions came, and so many were under way with each."""
        self.under_way: list[int] = []
        self._open = 0
        self.asked: list[Question] = []
        self.unopened: Exception | None = None
        """Why no client can be opened."""
        self._may_answer = trio.Event()
        self._may_answer.set()

    def hold(self) -> None:
        """Let questions wait."""
        self._may_answer = trio.Event()

    def let_go(self) -> None:
        """Answer them."""
        self._may_answer.set()

    async def answer(self, question: Question) -> Frame:
        """The next of the script, or the truth."""
        self._open += 1
        self.asked.append(question)
        self.asked_at.append(trio.current_time())
        self.under_way.append(self._open)
        try:
            return await self._answer(question)
        finally:
            self._open -= 1

    async def _answer(self, question: Question) -> Frame:
        await trio.lowlevel.checkpoint()
        await self._may_answer.wait()
        _, period_s, from_ns, to_ns = question
        true = Frame(from_ns=from_ns, to_ns=to_ns, bars=truth(period_s, from_ns, to_ns))
        scripted = self.script.pop(0) if self.script else true
        if callable(scripted):
            scripted = await scripted(true, period_s)
        if isinstance(scripted, Exception):
            raise scripted
        if scripted is None:
            await trio.sleep_forever()
            raise AssertionError("nothing wakes it")
        return scripted


class Client:
    """As the contract has it."""

    def __init__(self, past: Past, market: Market) -> None:
        self.frames = past.frames
        self.pace = past.pace
        self._past = past
        self._market = market

    async def frame(self, period_s: int, from_ns: int, to_ns: int) -> Frame:
        """One question."""
        return await self._past.answer(Question(self._market.fqme, period_s, from_ns, to_ns))


@asynccontextmanager
async def open_history_client(venue: object, market: Market) -> AsyncIterator[Client]:
    """Endpoint, of a venue that has a `past`."""
    past = getattr(venue, "past", None)
    assert isinstance(past, Past)
    if past.unopened:
        raise past.unopened
    yield Client(past, market)
