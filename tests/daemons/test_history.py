"""datad: questions about a market's past, to a provider in the test's hands."""

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from piker.brokers import (
    Frame,
    HistoryThrottled,
    HistoryUnanswered,
    HistoryUnavailable,
    VenueLost,
)
from piker.core.bars import NS
from piker.errors import Fault, Refused
from piker.interfaces.data import (
    DATA,
    Covered,
    History,
    HistoryReply,
    Missing,
    NoSuchMarket,
    NoSuchPeriod,
    NothingKept,
    VenueUnavailable,
)
from piker.interfaces.introspection import InvalidParameter
from tests.conftest import WALL_NS
from tests.fakes.past import truth
from tests.fakes.venue import EURUSD, WITH_PAST, Desk, a_desk

pytestmark = pytest.mark.usefixtures("virtual_time")

NOW_S = WALL_NS // NS
NEWEST_S = NOW_S - 2
"""Up to here bars of a second are final."""


async def asked(desk: Desk, call: History) -> HistoryReply:
    return await desk.board.client(DATA).call(call, HistoryReply, 200.0)


async def fault_of(desk: Desk, call: History) -> Fault:
    with pytest.raises(Refused) as refused:
        await asked(desk, call)
    return refused.value.fault


def last(seconds: int, period_s: int = 1) -> History:
    """The time until now."""
    return History(market="eurusd", period_s=period_s, from_ns=(NOW_S - seconds) * NS)


async def test_the_newest_bars_are_given_up_to_the_last_one_that_is_final() -> None:
    async with a_desk(endpoints=WITH_PAST) as desk:
        reply = await asked(desk, last(150))
        questions = [each[1:] for each in desk.venue.past.asked]
    begin, end = (NOW_S - 150) * NS, NEWEST_S * NS
    assert reply == HistoryReply(
        market=EURUSD.fqme,
        period_s=1,
        bars=truth(1, begin, end),
        coverage=(Covered(from_ns=begin, to_ns=end),),
        missing=(),
    )
    newest, *_, oldest = questions
    assert newest == (1, end - 60 * NS, end)
    assert oldest == (1, begin, begin + 28 * NS)


async def test_without_a_beginning_there_are_a_thousand_bars_and_what_they_cover() -> None:
    async with a_desk(endpoints=WITH_PAST) as desk:
        reply = await asked(desk, History(market="eurusd", period_s=1))
    assert len(reply.bars) == 1000
    (covered,) = reply.coverage
    assert covered == Covered(from_ns=reply.bars[0].time_ns, to_ns=NEWEST_S * NS)
    assert reply.bars == truth(1, covered.from_ns, covered.to_ns)


async def test_a_stretch_of_the_past_has_its_limit_from_its_end() -> None:
    begin, end = (NOW_S - 7200) * NS, (NOW_S - 3600) * NS
    call = History(market="eurusd", period_s=60, from_ns=begin, to_ns=end, limit=5)
    async with a_desk(endpoints=WITH_PAST) as desk:
        reply = await asked(desk, call)
    assert reply.bars == truth(60, begin, end)[-5:]
    (rest,) = reply.missing
    assert (rest.from_ns, rest.to_ns, rest.why) == (begin, reply.bars[0].time_ns, "limit")


async def test_what_is_still_to_come_is_not_asked_for() -> None:
    later = History(market="eurusd", period_s=1, from_ns=WALL_NS, to_ns=2 * WALL_NS)
    async with a_desk(endpoints=WITH_PAST) as desk:
        reply = await asked(desk, later)
        assert desk.venue.past.asked == []
    assert (reply.bars, reply.coverage, reply.missing) == ((), (), ())


@pytest.mark.parametrize(
    ("error", "why", "pause_s"),
    [
        (HistoryUnavailable("no permission"), "unavailable", None),
        (HistoryThrottled("pacing", 15.0), "throttled", 15.0),
        (HistoryUnanswered("no answer"), "unanswered", None),
        (VenueLost("gone"), "lost", None),
    ],
    ids=repr,
)
async def test_no_bars_and_each_way_of_not_being_told_are_different_answers(
    error: Exception, why: str, pause_s: float | None
) -> None:
    begin, end = (NOW_S - 62) * NS, NEWEST_S * NS
    async with a_desk(endpoints=WITH_PAST) as desk:
        desk.venue.past.script = [error, Frame(from_ns=begin, to_ns=end, bars=())]
        failed, quiet = await asked(desk, last(62)), await asked(desk, last(62))
    assert (quiet.bars, quiet.missing) == ((), ())
    assert quiet.coverage == (Covered(from_ns=begin, to_ns=end),)
    assert (failed.bars, failed.coverage) == ((), ())
    assert failed.missing == (
        Missing(from_ns=begin, to_ns=end, why=why, reason=str(error), pause_s=pause_s),  # type: ignore[arg-type]
    )


async def test_before_its_first_data_a_market_has_none_and_the_rest_is_given() -> None:
    begin, first, end = (NOW_S - 62) * NS, (NOW_S - 30) * NS, NEWEST_S * NS
    async with a_desk(endpoints=WITH_PAST) as desk:
        desk.venue.past.script = [HistoryUnavailable("it begins then", first)]
        reply = await asked(desk, last(62))
    assert reply.bars == truth(1, first, end)
    missing = Missing(from_ns=begin, to_ns=first, why="unavailable", reason="it begins then")
    assert reply.missing == (missing,)


async def test_a_question_that_takes_too_long_is_answered_with_what_came() -> None:
    begin, end = (NOW_S - 7202) * NS, NEWEST_S * NS
    async with a_desk(endpoints=WITH_PAST) as desk:
        desk.venue.past.script = [Frame(from_ns=end - 9 * NS, to_ns=end, bars=()), None]
        reply = await asked(desk, last(7202))
    assert reply.coverage == (Covered(from_ns=end - 9 * NS, to_ns=end),)
    assert [(each.from_ns, each.to_ns, each.why) for each in reply.missing] == [
        (begin, end - 9 * NS, "unanswered")
    ]


async def test_the_same_question_of_several_at_once_is_asked_once() -> None:
    replies: list[HistoryReply] = []

    async def ask(desk: Desk, name: str) -> None:
        replies.append(await asked(desk, History(market=name, period_s=1, limit=5)))

    async with a_desk(endpoints=WITH_PAST) as desk, trio.open_nursery() as nursery:
        desk.venue.past.hold()
        for name in ("eurusd", "eurusd.spot", "EURUSD", "gbp"):
            nursery.start_soon(ask, desk, name)
        await wait_all_tasks_blocked()
        desk.venue.past.let_go()
    assert sorted(each.market for each in desk.venue.past.asked) == sorted(
        {each.market for each in replies}
    )
    assert len(replies) == 4
    assert len({each.market for each in replies}) == 2


async def test_who_waits_for_anothers_question_that_breaks_asks_it() -> None:
    faults: list[Fault] = []

    async def ask(desk: Desk) -> None:
        faults.append(await fault_of(desk, History(market="eurusd", period_s=7)))

    async with a_desk(endpoints=WITH_PAST) as desk, trio.open_nursery() as nursery:
        desk.venue.past.frames = {60: 3600 * NS}
        nursery.start_soon(ask, desk)
        nursery.start_soon(ask, desk)
    assert faults == [NoSuchPeriod(period_s=7, periods=(60,))] * 2


@pytest.mark.parametrize(
    ("call", "fault"),
    [
        (History(market="dax", period_s=1), NoSuchMarket(market="dax", similar=(EURUSD.fqme,))),
        (History(market="eurusd", period_s=0), NoSuchPeriod(period_s=0, periods=(1, 60))),
        (
            History(market="eurusd", period_s=1, limit=10_001),
            InvalidParameter(parameter="limit: expected 1 to 10000, was 10001"),
        ),
        (
            History(market="eurusd", period_s=1, limit=0),
            InvalidParameter(parameter="limit: expected 1 to 10000, was 0"),
        ),
        (
            History(market="eurusd", period_s=1, from_ns=-1),
            InvalidParameter(parameter="from_ns: expected UTC ns, 0 or more, was -1"),
        ),
        (
            History(market="eurusd", period_s=1, from_ns=7, to_ns=7),
            InvalidParameter(parameter="from_ns: expected before to_ns, 7, was 7"),
        ),
        (
            History(market="eurusd", period_s=1, from_ns=10**30),
            InvalidParameter(parameter=f"from_ns: expected before now, was {10**30}"),
        ),
    ],
    ids=repr,
)
async def test_what_cannot_be_asked_is_refused_by_name(call: History, fault: Fault) -> None:
    async with a_desk(endpoints=WITH_PAST) as desk:
        assert await fault_of(desk, call) == fault
        assert desk.venue.past.asked == []


async def test_a_venue_that_cannot_be_asked_at_all_is_named() -> None:
    async with a_desk(endpoints=WITH_PAST) as desk:
        desk.venue.past.unopened = VenueLost("no gateway")
        refused = await fault_of(desk, last(10))
    assert refused == VenueUnavailable(provider="fake", reason="no gateway")


async def test_where_a_provider_has_no_past_and_nothing_is_kept_it_says_why_not() -> None:
    async with a_desk() as desk:
        refused = await fault_of(desk, last(10))
    assert isinstance(refused, NothingKept)
