"""Executions of long ago in the ledger: entered once, and what is held stays as it is."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from decimal import Decimal
from typing import Any

import pytest
import trio
from msgspec import structs

from piker import clock
from piker import importing as importing_module
from piker.accounts import Adjustment
from piker.config import EmsdSettings
from piker.dayprofit import DayProfit
from piker.errors import Refused
from piker.importing import Importing
from piker.interfaces.broker import Link
from piker.interfaces.introspection import InvalidParameter
from piker.interfaces.orders import (
    AccountUnreachable,
    DiskFull,
    ImportedMarket,
    ImportExecutions,
    ImportReply,
    NoMarketData,
)
from piker.markets import Market
from piker.orders import Acked, Execution, Filled
from piker.reconciling import set_unexplained, unexplained
from piker.store import journal as journal_module
from tests.fakes.broker import (
    ACCOUNT,
    MARKET,
    OTHER,
    Broker,
    House,
    a_fill,
    a_holding,
    a_house,
    serving,
)

pytestmark = pytest.mark.usefixtures("virtual_time")

HOUR_NS = 3_600 * 10**9
PLACE = (ACCOUNT, MARKET.fqme)


def said(market: Market = MARKET, **changed: Any) -> ImportedMarket:
    """A market as a report has it."""
    names = (*ImportedMarket.__struct_fields__,)
    facts = {name: getattr(market, name) for name in names}
    return ImportedMarket(**(facts | changed))


def old(exec_id: str = "e1", size: int = 1, hours: int = 100, **changed: Any) -> Execution:
    """A fill of so many hours ago, of an order by hand; less than nothing was sold."""
    facts: dict[str, Any] = {
        "side": "buy" if size > 0 else "sell",
        "time_ns": clock.wall_ns() - hours * HOUR_NS,
        "price": Decimal(10),
    }
    return a_fill(exec_id, "", abs(size), **(facts | changed))


class Ledger:
    """emsd's ledger, and what imports into it."""

    def __init__(self, house: House) -> None:
        self.house = house
        self.prices: dict[str, Decimal] = {}
        self.day = DayProfit(house.book, EmsdSettings(), self.prices.get)
        self.importing = Importing(
            house.book, lambda account: house.route, self.described, self.day
        )
        self.no: Refused | None = None

    async def described(self, fqme: str) -> Market | None:
        """As a datad."""
        if self.no:
            raise self.no
        return self.house.known.get(fqme)

    async def take(
        self, *told: Execution, dry_run: bool = False, markets: tuple[ImportedMarket, ...] = ()
    ) -> ImportReply:
        """Import executions."""
        return await self.importing.take(
            ImportExecutions(
                account=ACCOUNT,
                executions=told,
                markets=markets or (said(), said(OTHER)),
                source="a report",
                dry_run=dry_run,
            )
        )

    def entries(self, market: Market = MARKET) -> list[Any]:
        """What the ledger has."""
        ledger = self.house.book.ledger(ACCOUNT, market.fqme)
        return ledger.entries() if ledger else []

    def executions(self, market: Market = MARKET) -> list[str]:
        """The ids of those it has."""
        return [e.exec_id for e in self.entries(market) if isinstance(e, Execution)]

    def adjusted(self, market: Market = MARKET) -> list[Decimal]:
        """What adjustments come to, by their time."""
        return [e.size for e in self.entries(market) if isinstance(e, Adjustment)]


@asynccontextmanager
async def a_ledger(*held: Any, broker: Broker | None = None) -> AsyncIterator[Ledger]:
    """Of an account that holds this since its first connection."""
    broker = broker or Broker()
    broker.holdings = held
    async with serving(broker), a_house() as house:
        await house.until_ready()
        yield Ledger(house)


def only_refusal(reply: ImportReply) -> str:
    (refused,) = reply.refused
    assert (reply.new, reply.changes) == (0, ())
    return refused.reason


async def test_what_is_imported_does_not_change_what_is_held() -> None:
    async with a_ledger(structs.replace(a_holding(7), average_price=Decimal(20))) as ledger:
        reply = await ledger.take(old("e1", 4), old("e2", -1, hours=50))
        assert (reply.new, reply.known, reply.refused) == (2, 0, ())
        assert ledger.house.held() == 7
        assert ledger.adjusted() == [4]
        (change,) = reply.changes
        assert change.before.average_price == 20
        assert change.after == ledger.house.book.position(*PLACE)


async def test_importing_twice_is_importing_once() -> None:
    async with a_ledger(a_holding(7)) as ledger:
        await ledger.take(old("e1", 4))
        entries = ledger.entries()
        reply = await ledger.take(old("e1", 4))
        assert (reply.new, reply.known, reply.changes) == (0, 1, ())
        assert ledger.entries() == entries


async def test_what_was_told_live_is_known_however_the_report_words_it() -> None:
    broker = Broker()
    broker.executions = (old("e1", 7, hours=2),)
    async with a_ledger(a_holding(7), broker=broker) as ledger:
        reply = await ledger.take(old("e1", 7, hours=2, venue_id="other", fee=Decimal(3)))
        assert (reply.new, reply.known) == (0, 1)
        assert ledger.executions() == ["e1"]


async def test_one_that_was_told_before_its_cost_gets_it() -> None:
    broker = Broker()
    broker.executions = (old("e1", 7, hours=2, revision=-2, fee=Decimal(0)),)
    async with a_ledger(a_holding(7), broker=broker) as ledger:
        reply = await ledger.take(old("e1", 7, hours=2, fee=Decimal(3)))
        assert (reply.new, reply.corrected) == (0, 1)
        (fees,) = ledger.house.book.position(*PLACE).fees
        assert fees.paid == 3


async def test_a_dry_run_says_the_same_and_enters_nothing() -> None:
    async with a_ledger(a_holding(7)) as ledger:
        entries = ledger.entries()
        would = await ledger.take(old("e1", 4), dry_run=True)
        assert ledger.entries() == entries
        assert await ledger.take(old("e1", 4)) == would


async def test_it_is_on_disk_before_it_is_answered_and_the_same_after_a_restart() -> None:
    broker = Broker()
    async with a_ledger(a_holding(7), broker=broker) as ledger:
        await ledger.take(old("e1", 4), old("e2", 2))
        before = ledger.house.book.position(*PLACE)
        on_disk = await ledger.house.book.journal.read(lambda on: on.ledger_lines(*PLACE))
        assert len(on_disk) == 4
    async with serving(broker), a_house() as house:
        assert house.book.position(*PLACE) == before
        await house.until_ready()
        await house.look()
        assert house.book.position(*PLACE) == before


async def test_all_of_it_is_one_transaction(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal_module, "MAX_COMMIT", 1)
    async with a_ledger(a_holding(7)) as ledger:
        journal = ledger.house.book.journal
        ledger.house.book.know(OTHER)
        await ledger.take()
        await ledger.house.book.note("all before", "is written").wait()
        commits = journal.commits
        await ledger.take(old("e1", 4), old("e2", 1), old("e3", 2, market=OTHER.fqme))
        assert journal.commits == commits + 1
        assert ledger.adjusted(OTHER) == [-2]


async def test_without_room_nothing_is_entered(monkeypatch: pytest.MonkeyPatch) -> None:
    async with a_ledger(a_holding(7)) as ledger:
        entries = ledger.entries()
        monkeypatch.setattr(journal_module, "MAX_QUEUED", 0)
        with pytest.raises(Refused) as caught:
            await ledger.take(old("e1", 4))
        assert isinstance(caught.value.fault, DiskFull)
        assert ledger.entries() == entries


async def test_an_unexplained_position_that_is_explained_lets_orders_leave_again() -> None:
    broker = Broker()
    async with a_ledger(broker=broker) as ledger:
        house = ledger.house
        await trio.sleep(100)
        broker.holdings = (a_holding(4),)
        await house.look()
        await house.look()
        assert unexplained(house.book, ACCOUNT) == (MARKET.fqme,)
        await ledger.take(old("e1", 1, hours=0, time_ns=clock.wall_ns() - 50 * 10**9))
        assert unexplained(house.book, ACCOUNT) == (MARKET.fqme,)
        await ledger.take(old("e2", 3, hours=0, time_ns=clock.wall_ns() - 50 * 10**9))
        assert unexplained(house.book, ACCOUNT) == ()
        assert (house.held(), ledger.adjusted()) == (Decimal(4), [Decimal(0)])


async def test_what_is_not_explained_stays_blocked() -> None:
    async with a_ledger(a_holding(7)) as ledger:
        set_unexplained(ledger.house.book, ACCOUNT, ["x.sim"])
        await ledger.take(old("e1", 1))
        assert unexplained(ledger.house.book, ACCOUNT) == ("x.sim",)


async def test_a_fill_of_an_order_of_ours_counts_in_the_order_too() -> None:
    broker = Broker()
    async with a_ledger(broker=broker) as ledger:
        house = ledger.house
        house.submit()
        await broker.until(lambda: broker.placed == ["1"])
        broker.tell("1", Acked(venue_id="v1"))
        await house.until_state("open")
        reply = await ledger.take(structs.replace(old("e1", 3, hours=1), oid="1", venue_id="v1"))
        assert reply.new == 1
        assert house.life().state == "filled"
        await house.book.until_published(house.book.journal.newest_seq)
        assert (house.held(), ledger.adjusted()) == (Decimal(0), [Decimal(-3)])


async def test_a_reference_that_no_order_here_has_is_none_of_ours() -> None:
    async with a_ledger() as ledger:
        await ledger.take(structs.replace(old("e1", 3), oid="theirs"))
        assert [e.oid for e in ledger.entries() if isinstance(e, Execution)] == [""]


async def test_what_was_done_since_the_venue_was_asked_is_left_to_it() -> None:
    async with a_ledger() as ledger:
        reply = await ledger.take(old("e1", 1, hours=-1))
        assert "it tells that itself" in only_refusal(reply)


async def test_while_what_is_held_is_not_agreed_nothing_is_entered_there() -> None:
    broker = Broker()
    async with a_ledger(broker=broker) as ledger:
        broker.holdings = (a_holding(4),)
        assert "holds 4 more than is known here" in only_refusal(await ledger.take(old()))


async def test_where_a_fill_comes_while_the_venue_lists_what_it_has_nothing_is_entered() -> None:
    broker = Broker()
    async with a_ledger(broker=broker) as ledger:
        ledger.house.submit()
        await broker.until(lambda: broker.placed == ["1"])
        broker.lists = trio.Event()
        asked = len(broker.asked)
        replies: list[ImportReply] = []

        async def take() -> None:
            replies.append(await ledger.take(old("e1", 4)))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(take)
            await broker.until(lambda: len(broker.asked) > asked)
            broker.holdings = (a_holding(4),)
            broker.tell("1", Filled(execution=a_fill("e2")))
            await ledger.house.until(lambda: ledger.house.held() == 1)
            broker.lists.set()
        assert "was not compared yet" in only_refusal(replies[0])


async def test_an_account_that_can_not_be_asked_is_refused() -> None:
    broker = Broker()
    async with a_ledger(broker=broker) as ledger:
        broker.say_link(Link(up=False, reason="the gateway resets"))
        await ledger.house.until(lambda: not ledger.house.route.ready)
        with pytest.raises(Refused) as caught:
            await ledger.take(old())
        assert isinstance(caught.value.fault, AccountUnreachable)


async def test_one_id_in_two_markets_is_refused_where_it_came_later() -> None:
    async with a_ledger() as ledger:
        await ledger.take(old("e1", 4))
        reply = await ledger.take(old("e1", 4, market=OTHER.fqme))
        assert only_refusal(reply) == f"it is in the ledger as one in {MARKET.fqme}"
        assert ledger.entries(OTHER) == []


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"venue_id": "B"}, "expected A as the venue's id of a.b.sim, was B"),
        ({"currency": "EUR"}, "expected USD as the currency of a.b.sim, was EUR"),
    ],
)
async def test_a_market_that_is_another_one_is_refused(changed: dict[str, Any], why: str) -> None:
    async with a_ledger() as ledger:
        reply = await ledger.take(old(), markets=(said(**changed),))
        assert only_refusal(reply) == why


async def test_less_than_the_whole_name_of_a_market_is_refused() -> None:
    async with a_ledger() as ledger:
        ledger.house.known["b.sim"] = MARKET
        reply = await ledger.take(old(market="b.sim"), markets=(said(fqme="b.sim"),))
        assert only_refusal(reply) == "expected the whole name of a.b.sim, was b.sim"


async def test_a_price_is_entered_as_the_market_shows_it() -> None:
    async with a_ledger() as ledger:
        pounds = said(multiplier=MARKET.multiplier * 100)
        await ledger.take(old("e1", 1, price=Decimal("0.713")), markets=(pounds,))
        assert [e.price for e in ledger.entries() if isinstance(e, Execution)] == [Decimal("71.3")]


async def test_a_market_that_is_no_more_is_what_the_report_says() -> None:
    async with a_ledger() as ledger:
        gone = said(OTHER, fqme="gone.sim", venue_id="G", multiplier=Decimal(50))
        told = (
            old("e1", 1, market="gone.sim"),
            old("e2", -1, 9, market="gone.sim", price=Decimal(12)),
        )
        reply = await ledger.take(*told, markets=(gone,))
        (change,) = reply.changes
        assert (change.after.size, change.after.realised) == (Decimal(0), Decimal(100))


async def test_a_market_that_nobody_can_describe_now_is_refused() -> None:
    async with a_ledger() as ledger:
        ledger.no = Refused(NoMarketData(market=OTHER.fqme, reason="datad@sim is away"))
        reply = await ledger.take(old("e1", 1, market=OTHER.fqme))
        assert "datad@sim is away" in only_refusal(reply)


async def test_what_no_execution_can_be_is_refused_by_itself() -> None:
    async with a_ledger() as ledger:
        reply = await ledger.take(old("e1", 1, price=Decimal("NaN")), old("e2", 1))
        assert reply.new == 1
        assert "expected price of e1" in reply.refused[0].reason


@pytest.mark.parametrize(
    ("told", "markets", "why"),
    [
        ({"account": "sim.other"}, (said(),), "expected those of sim.main, was sim.other"),
        ({"market": "x.sim"}, (said(),), "expected in one of the markets, was x.sim"),
        ({}, (said(fqme="a.b.ib"),), "expected markets of the provider of sim.main, was a.b.ib"),
        ({}, (said(multiplier=Decimal(0)),), "expected a multiplier above 0, was 0"),
    ],
)
async def test_what_no_caller_should_ask_is_refused_whole(
    told: dict[str, Any], markets: tuple[ImportedMarket, ...], why: str
) -> None:
    async with a_ledger() as ledger:
        with pytest.raises(Refused) as caught:
            await ledger.take(old(**told), markets=markets)
        assert isinstance(caught.value.fault, InvalidParameter)
        assert why in str(caught.value)


async def test_a_call_has_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importing_module, "MOST", 1)
    async with a_ledger() as ledger:
        with pytest.raises(Refused, match="expected at most 1, was 2"):
            await ledger.take(old("e1"), old("e2"))


async def test_profit_of_earlier_days_is_none_of_todays() -> None:
    async with a_ledger(a_holding(7)) as ledger:
        ledger.prices[MARKET.fqme] = Decimal(30)
        assert ledger.day.of(ACCOUNT, "USD") == 0
        await ledger.take(old("e1", 9), old("e2", -2, hours=50, price=Decimal(20)))
        assert ledger.house.book.position(*PLACE).realised == 20
        assert ledger.day.of(ACCOUNT, "USD") == 0


async def test_a_base_is_given_up_for_what_belongs_inside(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    broker = Broker()
    async with a_ledger(a_holding(7), broker=broker) as ledger:
        await ledger.take(*(old(f"e{at}", 1, hours=500 + at) for at in range(5)))
    monkeypatch.setattr("piker.book.BASE_ENTRIES", 1)
    monkeypatch.setattr("piker.book.SETTLED_NS", -HOUR_NS)
    async with serving(broker), a_house() as house:
        await house.until_ready()
        assert ledger.entries() != Ledger(house).entries()
        reply = await Ledger(house).take(old("e9", 2, hours=900), old("e1", 1, hours=501))
        assert (reply.new, reply.known) == (1, 1)
        assert (house.held(), Ledger(house).adjusted()) == (Decimal(7), [Decimal(0)])
