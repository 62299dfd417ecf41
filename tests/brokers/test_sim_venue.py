"""The simulated venue: what it does to orders, keeps on disk, and gets wrong when it is told to."""

from decimal import Decimal
from typing import Any

import pytest

from piker.brokers.sim.tradewire import (
    Accepted,
    AskBook,
    BookIs,
    CancelOpen,
    CancelOrder,
    Ended,
    Held,
    NotCancelled,
    OpenCancelled,
    Rejected,
    Replace,
    Replaced,
    ReplaceRefused,
    Said,
    Trade,
    TurnedAway,
    Welcome,
)
from piker.brokers.sim.venuecontrol import (
    ComeBack,
    Correct,
    CutAll,
    EndDay,
    FillAnyway,
    Foreign,
    GoAway,
    RollBack,
    SetAbsence,
    SetDepth,
    SetHolding,
    SetRenames,
)
from piker.errors import Unreachable
from piker.transport import HungUp
from tests.fakes.simvenue import FAR, MARKET, PRICE, SimVenue, Trader, a_sim_venue, an_order

ACCEPTED = Accepted(ref="r-1", order_id="1")
WELCOME = Welcome(accounts=("main",), absence_proves=True)


def names(said: list[Said]) -> list[str]:
    """What kinds of messages these are."""
    return [type(each).__name__ for each in said]


async def welcomed(trader: Trader) -> Trader:
    """A trader who was let in."""
    assert isinstance(await trader.hear(), Welcome)
    return trader


async def is_cut(trader: Trader) -> bool:
    """Whether the venue hangs up before it says anything more."""
    with pytest.raises((EOFError, HungUp)):
        await trader.hear()
    return True


async def test_it_demands_the_token_in_the_first_message() -> None:
    async with a_sim_venue() as venue:
        async with venue.trader() as trader:
            assert await trader.hear() == WELCOME
        async with venue.trader("another") as stranger:
            assert isinstance(await stranger.hear(), TurnedAway)
            assert await is_cut(stranger)
        async with venue.trader("") as stranger:
            assert isinstance(await stranger.hear(), TurnedAway)


async def test_an_order_rests_until_the_price_comes_to_it() -> None:
    async with a_sim_venue() as venue, venue.trader() as trader:
        await welcomed(trader)
        await trader.say(an_order())
        assert await trader.hear() == ACCEPTED
        await venue.move(FAR)
        trade, ended = await trader.hear_all(2)
        assert isinstance(trade, Trade)
        assert (trade.exec_id, trade.size, trade.price) == ("x1", Decimal(3), FAR)
        assert trade.fee == Decimal("0.03")
        assert ended == Ended(ref="r-1", order_id="1", outcome="filled")


@pytest.mark.parametrize(
    ("changed", "heard"),
    [
        ({"limit": PRICE}, ["Accepted", "Trade", "Ended"]),
        ({"limit": None}, ["Accepted", "Trade", "Ended"]),
        ({"side": "sell", "limit": PRICE}, ["Accepted", "Trade", "Ended"]),
        ({"tif": "ioc"}, ["Accepted", "Ended"]),
        ({"market": "nothing.xsim.sim"}, ["Rejected"]),
        ({"account": "other"}, ["Rejected"]),
        ({"limit": PRICE + Decimal("0.1")}, ["Rejected"]),
        ({"size": Decimal("0.5")}, ["Rejected"]),
    ],
)
async def test_what_comes_of_an_order(changed: dict[str, Any], heard: list[str]) -> None:
    async with a_sim_venue() as venue, venue.trader() as trader:
        await welcomed(trader)
        await trader.say(an_order(**changed))
        assert names(await trader.hear_all(len(heard))) == heard


async def test_an_order_fills_in_parts_where_there_is_not_enough() -> None:
    async with a_sim_venue() as venue, venue.trader() as trader:
        await welcomed(trader)
        await venue.do(SetDepth(size=Decimal(2)))
        await trader.say(an_order(limit=PRICE))
        assert names(await trader.hear_all(2)) == ["Accepted", "Trade"]
        await venue.move(PRICE)
        assert names(await trader.hear_all(2)) == ["Trade", "Ended"]


async def test_a_reference_that_comes_twice_is_two_orders_and_one_cancel() -> None:
    async with a_sim_venue() as venue, venue.trader() as trader:
        await welcomed(trader)
        await trader.say(an_order(), an_order(), CancelOrder(ref="r-1", order_ids=()))
        heard = await trader.hear_all(4)
        assert names(heard) == ["Accepted", "Accepted", "Ended", "Ended"]


async def test_what_is_not_open_is_not_cancelled_and_not_replaced() -> None:
    async with a_sim_venue() as venue, venue.trader() as trader:
        await welcomed(trader)
        await trader.say(CancelOrder(ref="r-9", order_ids=("1",)))
        assert await trader.hear() == NotCancelled(ref="r-9", reason="not an open order")
        await trader.say(Replace(ref="r-9", number=4, size=Decimal(1), limit=FAR))
        refused = ReplaceRefused(ref="r-9", number=4, reason="not an open order")
        assert await trader.hear() == refused


async def test_an_id_that_was_given_again_does_not_cancel_another_order() -> None:
    async with a_sim_venue() as venue, venue.trader() as trader:
        await welcomed(trader)
        await trader.say(an_order("r-1"))
        await venue.do(RollBack(ids=1))
        await trader.say(an_order("r-2"), CancelOrder(ref="r-1", order_ids=("1",)))
        first, second, ended = await trader.hear_all(3)
        assert [first, second] == [ACCEPTED, Accepted(ref="r-2", order_id="1")]
        assert ended == Ended(ref="r-1", order_id="1", outcome="cancelled")


async def test_an_order_is_replaced_under_its_id_or_under_a_new_one() -> None:
    async with a_sim_venue() as venue, venue.trader() as trader:
        await welcomed(trader)
        asked = Replace(ref="r-1", number=1, size=Decimal(5), limit=FAR)
        await trader.say(an_order(), asked)
        done = Replaced(ref="r-1", number=1, size=Decimal(5), limit=FAR)
        assert await trader.hear_all(2) == [ACCEPTED, done]
        await venue.do(SetRenames(renames=True))
        await trader.say(Replace(ref="r-1", number=2, size=Decimal(6), limit=PRICE))
        replaced, trade, ended = await trader.hear_all(3)
        assert isinstance(replaced, Replaced)
        assert isinstance(trade, Trade)
        assert (replaced.order_id, trade.order_id, trade.size) == ("2", "2", Decimal(6))
        assert ended == Ended(ref="r-1", order_id="2", outcome="filled")


async def test_all_that_is_open_can_be_cancelled_or_only_what_has_a_reference() -> None:
    async with a_sim_venue() as venue, venue.trader() as trader:
        await welcomed(trader)
        await venue.do(_foreign())
        await trader.say(an_order(), CancelOpen(asked=7, scope="ours", account="main"))
        heard = await trader.hear_all(4)
        assert heard[-1] == OpenCancelled(asked=7, order_ids=("2",))
        await trader.say(CancelOpen(asked=8, scope="all", account=None))
        assert (await trader.hear_all(2))[-1] == OpenCancelled(asked=8, order_ids=("1",))


def _foreign() -> Foreign:
    return Foreign(account="main", market=MARKET, side="buy", size=Decimal(1), limit=FAR)


async def test_the_end_of_the_day_ends_day_orders() -> None:
    async with a_sim_venue() as venue, venue.trader() as trader:
        await welcomed(trader)
        await trader.say(an_order(tif="day"), an_order("r-2"))
        await trader.hear_all(2)
        await venue.do(EndDay())
        assert await trader.hear() == Ended(ref="r-1", order_id="1", outcome="expired")
        assert [each.ref for each in (await venue.book()).orders] == ["r-2"]


async def test_the_book_shows_all_of_one_instant_and_only_what_was_done_since() -> None:
    async with a_sim_venue() as venue, venue.trader() as trader:
        await welcomed(trader)
        await trader.say(
            an_order("r-1", limit=PRICE), an_order("r-2"), AskBook(asked=3, since_ns=0)
        )
        book = (await trader.hear_all(5))[-1]
        assert isinstance(book, BookIs)
        assert [each.ref for each in book.orders] == ["r-2"]
        assert [(each.ref, each.outcome) for each in book.ended] == [("r-1", "filled")]
        assert book.holdings == (Held(account="main", market=MARKET, size=Decimal(3)),)
        await trader.say(AskBook(asked=4, since_ns=book.trades[0].time_ns + 1))
        later = await trader.hear()
        assert isinstance(later, BookIs)
        assert (later.trades, later.ended, later.holdings) == ((), (), book.holdings)


async def test_all_who_trade_hear_of_every_order() -> None:
    async with a_sim_venue() as venue, venue.trader() as one, venue.trader() as two:
        await welcomed(one)
        await welcomed(two)
        await one.say(an_order())
        assert await one.hear() == await two.hear() == ACCEPTED


async def test_what_it_has_answered_is_there_after_a_kill() -> None:
    async with a_sim_venue() as venue:
        async with venue.trader() as trader:
            await welcomed(trader)
            await venue.do(SetHolding(account="main", market="s0002.xsim.sim", size=Decimal(-4)))
            await trader.say(an_order("r-1"), an_order("r-2", limit=PRICE))
            await trader.hear_all(4)
        before = await venue.book()
        await venue.kill()
        await venue.start()
        assert await venue.book() == before
        async with venue.trader() as trader:
            await welcomed(trader)
            await trader.say(an_order("r-3"))
            assert await trader.hear() == Accepted(ref="r-3", order_id="3")


async def test_prices_walk_by_themselves_and_fill_what_rests() -> None:
    async with a_sim_venue("--walk", "1", "--rate", "1000") as venue, venue.trader() as trader:
        await welcomed(trader)
        near = [PRICE - Decimal("0.25"), PRICE + Decimal("0.25")]
        await trader.say(
            an_order("r-1", limit=near[0]), an_order("r-2", side="sell", limit=near[1])
        )
        heard = await trader.hear_all(4)
        assert "Trade" in names(heard)


async def test_it_says_what_its_absence_of_orders_proves() -> None:
    async with a_sim_venue("--absence-proves", "no") as venue, venue.trader() as trader:
        assert await trader.hear() == Welcome(accounts=("main",), absence_proves=False)
        await venue.do(SetAbsence(proves=True))
        assert await is_cut(trader)
        async with venue.trader() as again:
            assert await again.hear() == WELCOME


# --- what goes wrong when a test wants it to


async def heard_with(venue: SimVenue, trader: Trader, count: int) -> list[str]:
    """What is heard of two orders."""
    await trader.say(an_order("r-1"), an_order("r-2"))
    heard = await trader.hear_all(count)
    return [getattr(each, "ref", "") for each in heard]


@pytest.mark.parametrize(
    ("does", "refs"),
    [
        ("swallow", ["r-2"]),
        ("drop", ["r-2"]),
        ("repeat", ["r-1", "r-1", "r-2"]),
        ("hold", ["r-2", "r-1"]),
        ("refuse", ["r-1", "r-2"]),
        ("delay", ["r-2", "r-1"]),
    ],
)
async def test_a_message_goes_astray(does: str, refs: list[str]) -> None:
    on = "NewOrder" if does in ("swallow", "refuse") else "Accepted"
    async with a_sim_venue() as venue, venue.trader() as trader:
        await welcomed(trader)
        await venue.fault(does, on, seconds=0.05)
        assert await heard_with(venue, trader, len(refs)) == refs


async def test_what_was_swallowed_or_refused_was_never_booked() -> None:
    async with a_sim_venue() as venue, venue.trader() as trader:
        await welcomed(trader)
        await venue.fault("swallow", "NewOrder")
        await venue.fault("refuse", "NewOrder", nth=2, reason="not today")
        await trader.say(an_order("r-1"), an_order("r-2"), an_order("r-3"))
        rejected, accepted = await trader.hear_all(2)
        assert rejected == Rejected(ref="r-2", reason="not today")
        assert accepted == Accepted(ref="r-3", order_id="1")


@pytest.mark.parametrize(("does", "booked"), [("cut_before", []), ("cut_after", ["r-2"])])
async def test_it_hangs_up_before_or_after_it_books_an_order(does: str, booked: list[str]) -> None:
    async with a_sim_venue() as venue, venue.trader() as trader:
        await welcomed(trader)
        await venue.fault(does, "NewOrder", nth=2)
        await trader.say(an_order("r-1"))
        assert await trader.hear() == ACCEPTED
        await trader.say(an_order("r-2"), an_order("r-3"))
        assert await is_cut(trader)
        assert [each.ref for each in (await venue.book()).orders] == ["r-1", *booked]


@pytest.mark.parametrize(
    ("does", "on", "booked"),
    [("die_before", "NewOrder", 0), ("die_after", "NewOrder", 1), ("die", "Accepted", 1)],
)
async def test_it_dies_before_or_after_it_books_an_order(does: str, on: str, booked: int) -> None:
    async with a_sim_venue() as venue:
        async with venue.trader() as trader:
            await welcomed(trader)
            await venue.fault(does, on)
            await trader.say(an_order())
            assert await is_cut(trader)
        assert await venue.ended() == -9
        await venue.start()
        assert len((await venue.book()).orders) == booked


async def test_it_hangs_up_between_a_fill_and_the_word_of_it() -> None:
    async with a_sim_venue() as venue, venue.trader() as trader:
        await welcomed(trader)
        await venue.fault("cut", "Trade")
        await trader.say(an_order(limit=PRICE))
        assert await trader.hear() == ACCEPTED
        assert await is_cut(trader)
        assert [each.ref for each in (await venue.book()).trades] == ["r-1"]


async def test_a_trade_is_corrected_by_a_later_revision() -> None:
    async with a_sim_venue() as venue, venue.trader() as trader:
        await welcomed(trader)
        await trader.say(an_order(limit=PRICE))
        await trader.hear_all(3)
        await venue.do(Correct(exec_id="x1", size=Decimal(2)))
        trade = await trader.hear()
        assert isinstance(trade, Trade)
        assert (trade.exec_id, trade.revision) == ("x1", 1)
        assert (trade.size, trade.price) == (Decimal(2), PRICE)
        assert (await venue.book()).trades == (trade,)


async def test_a_cancelled_order_is_filled_after_all() -> None:
    async with a_sim_venue() as venue, venue.trader() as trader:
        await welcomed(trader)
        await trader.say(an_order(), CancelOrder(ref="r-1", order_ids=()))
        await trader.hear_all(2)
        await venue.do(FillAnyway(ref="r-1", size=Decimal(1), price=FAR))
        assert names([await trader.hear()]) == ["Trade"]
        assert (await venue.book()).orders == ()


async def test_it_goes_away_and_comes_back() -> None:
    async with a_sim_venue() as venue:
        async with venue.trader() as trader:
            await welcomed(trader)
            await venue.do(GoAway())
            assert await is_cut(trader)
        with pytest.raises(Unreachable):
            await venue.trader().__aenter__()
        await venue.do(ComeBack())
        async with venue.trader() as trader:
            await welcomed(trader)


async def test_all_are_hung_up_on() -> None:
    async with a_sim_venue() as venue, venue.trader() as trader:
        await welcomed(trader)
        await venue.do(CutAll())
        assert await is_cut(trader)


async def test_a_command_that_makes_no_sense_is_answered_and_changes_nothing() -> None:
    async with a_sim_venue() as venue:
        did = await venue.try_to(Correct(exec_id="x9"))
        assert did.problem == "KeyError: 'x9'"
        assert (await venue.book()).trades == ()
