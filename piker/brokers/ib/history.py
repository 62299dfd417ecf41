"""The past of a market at Interactive Brokers: bars, at the pace that IB allows."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from piker import clock
from piker.brokers import (
    Frame,
    HistoryThrottled,
    HistoryUnanswered,
    HistoryUnavailable,
)
from piker.brokers.ib import codes, pastbars
from piker.brokers.ib.codec import NotWritable
from piker.brokers.ib.feed import Venue
from piker.brokers.ib.messages import AskHead, Bars, Contract, HeadIs, Notice, PastBar, Said
from piker.brokers.ib.pacing import (
    HISTORY,
    HISTORY_NS,
    IDENTICAL_NS,
    SERIES,
    SERIES_NS,
    TooManyWaiting,
)
from piker.brokers.ib.pastbars import DAY_NS, FRAMES, SECONDS_NS, Unreadable, kind, question
from piker.brokers.ib.questions import Asked
from piker.brokers.ib.session import Declined, NoAnswer
from piker.core.pace import Pace, Rate
from piker.core.periods import NS
from piker.markets import Market

ANSWER_S = 60.0
"""From when a request has left: IB's history is slow at times."""
PACED_S = 60.0
"""Who broke the pace, perhaps with another program of the same user, waits so long."""
CROWDED_S = 30.0
"""So much waits already: some of it will have left by then."""
PACE = Pace(
    rates=(
        Rate(questions=HISTORY, per_s=HISTORY_NS / NS),
        Rate(questions=SERIES, per_s=SERIES_NS / NS),
    ),
    at_once=10,
    same_s=IDENTICAL_NS / NS,
)
"""IB's own rules. The second is of one contract only; `pacing.py` keeps them all, to the letter."""


@asynccontextmanager
async def open_history_client(venue: Venue, market: Market) -> AsyncIterator["History"]:
    """Gives the past of a market."""
    yield History(venue, market)


class History:
    """As HistoryClient has it."""

    frames = FRAMES
    pace = PACE

    def __init__(self, venue: Venue, market: Market) -> None:
        self._venue = venue
        self._market = market

    async def frame(self, period_s: int, from_ns: int, to_ns: int) -> Frame:
        """All bars of a stretch, at most as long as `frames`; waits for IB's pace.

        Raises HistoryUnavailable, HistoryThrottled, HistoryUnanswered or VenueLost.
        """
        contract = await self._contract()
        asked = question(self._market, contract, period_s, from_ns, to_ns)
        try:
            said = await self._ask(asked)
            bars = pastbars.read(_rows(said), self._market, period_s, from_ns, to_ns)
        except Declined as no:
            if problem := _problem(no.notice):
                raise problem from no
            return await self._without_data(contract, period_s, from_ns, to_ns)
        except Unreadable as error:
            raise HistoryUnanswered(f"the answer can't be read: {error}") from error
        return Frame(from_ns=from_ns, to_ns=to_ns, bars=bars)

    async def _without_data(
        self, contract: Contract, period_s: int, from_ns: int, to_ns: int
    ) -> Frame:
        """An empty frame, if IB has data of then at all. Raises HistoryUnavailable."""
        kept_ns = clock.wall_ns() // DAY_NS * DAY_NS - SECONDS_NS
        if period_s < 30 and from_ns < kept_ns:
            raise HistoryUnavailable("IB has bars of seconds of the last six months", kept_ns)
        first_ns = await self._first_ns(contract)
        if first_ns is not None and from_ns < first_ns:
            raise HistoryUnavailable("IB has no data of before", first_ns)
        return Frame(from_ns=from_ns, to_ns=to_ns, bars=())

    async def _first_ns(self, contract: Contract) -> int | None:
        """Since when there is data, UTC; None, if IB doesn't say."""
        what = kind(self._market)
        known_ns = self._venue.heads.get((contract.con_id, what))
        if known_ns is not None:
            return known_ns
        try:
            said = await self._ask(AskHead(contract=contract, what=what))
        except Declined:
            return None
        first_ns = next(each.epoch_s for each in said if isinstance(each, HeadIs)) * NS
        self._venue.heads.put((contract.con_id, what), first_ns)
        return first_ns

    async def _contract(self) -> Contract:
        """How the gateway is asked for the market. Raises VenueLost."""
        resolver = self._venue.resolver
        known = resolver.markets.get(self._market.fqme)
        return (known or await resolver.by_id(int(self._market.venue_id))).contract

    async def _ask(self, request: Asked) -> tuple[Said, ...]:
        """Raises Declined, and what `frame` does."""
        session = await self._venue.session()
        try:
            return await session.ask(request, ANSWER_S)
        except NoAnswer as error:
            raise HistoryUnanswered(str(error)) from error
        except TooManyWaiting as error:
            raise HistoryThrottled(str(error), CROWDED_S) from error
        except NotWritable as error:
            raise HistoryUnavailable(str(error)) from error


def _problem(notice: Notice) -> Exception | None:
    """What it means that bars were declined; None: there are none of then."""
    verdict, reason = codes.history(notice.code, notice.text)
    match verdict:
        case "no data":
            return None
        case "refused":
            return HistoryUnavailable(reason)
        case "pacing":
            return HistoryThrottled(reason, PACED_S)
        case _:
            return HistoryUnanswered(reason)


def _rows(said: tuple[Said, ...]) -> tuple[PastBar, ...]:
    return tuple(row for each in said if isinstance(each, Bars) for row in each.bars)
