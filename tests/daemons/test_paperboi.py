"""paperboi: orders cleared against a real datad's feed, on disk before they are told."""

import dataclasses
import sqlite3
from collections.abc import Callable
from contextlib import closing
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import trio
from msgspec import structs
from trio.testing import wait_all_tasks_blocked

from piker import clock, paths
from piker.brokers import VenueLost
from piker.config import Configuration, EmsdSettings, PaperboiSettings
from piker.core.fees import FeeSchedule
from piker.errors import Fault, Refused
from piker.interfaces.broker import (
    CancelAll,
    CancelAllReply,
    Done,
    Holding,
    InvalidOrder,
    Link,
    NotConnected,
    Snapshot,
    SnapshotReply,
    TooLate,
    UnknownAccount,
)
from piker.interfaces.service import BrokenConfiguration, UnknownProvider
from piker.markets import Session
from piker.notify import Manager
from piker.orders import (
    Acked,
    AmendAcked,
    AmendRefused,
    Cancelled,
    CancelRefused,
    Filled,
    VenueExpired,
)
from piker.paperboi import open_paperboi
from piker.paperbook import open_book
from piker.service import Service
from piker.transport import listen
from tests.conftest import WALL_NS
from tests.fakes.papershop import ACCOUNT, PROVIDER, Shop, Trader, a_served_desk, a_shop, a_trader
from tests.fakes.venue import EURUSD, GBPUSD, Desk, quote, tick

pytestmark = pytest.mark.usefixtures("virtual_time")

SECOND = 10**9


def account() -> Path:
    return paths.state_of("paperboi") / "fake.sqlite"


async def refusal(asking: Any) -> Fault:
    with pytest.raises(Refused) as no:
        await asking
    return no.value.fault


async def resting(trader: Trader, desk: Desk, oid: str = "o-1", **changed: Any) -> str:
    """An order that rests in a live market that offers above it; gives its venue id."""
    await trader.place(oid, **changed)
    ((_, acked),) = await trader.hears()
    assert isinstance(acked, Acked)
    await wait_all_tasks_blocked()
    desk.venue.say(quote(tick("ask", 1.30, 50.0), tick("bid", 1.10, 50.0)))
    await wait_all_tasks_blocked()
    return acked.venue_id


# --- an order's life


async def test_who_takes_control_is_told_of_one_account_that_is_not_real_money() -> None:
    async with a_shop() as shop, shop.trader() as trader:
        opened = trader.opened
        assert (opened.accounts, opened.live, opened.absence_proves) == ((ACCOUNT,), False, True)
        assert trader.link == Link(up=True)


async def test_a_market_order_pays_what_is_offered_and_the_account_holds_it() -> None:
    async with a_trader() as (trader, desk, _):
        await trader.place(limit=None)
        await wait_all_tasks_blocked()
        desk.venue.say(quote(tick("bid", 1.10, 9.0), tick("ask", 1.25, 2.0)))
        desk.venue.say(quote(tick("ask", 1.26, 9.0)))
        first, second = await trader.fills(2)
        snapshot = await trader.snapshot()
    assert [(each.size, each.price) for each in (first, second)] == [
        (Decimal(2), Decimal("1.25")),
        (Decimal(1), Decimal("1.26")),
    ]
    (holding,) = snapshot.holdings
    assert (holding.account, holding.market, int(holding.size)) == (ACCOUNT, EURUSD.fqme, 3)
    assert holding.average_price is not None
    assert abs(holding.average_price * 3 - Decimal("3.76")) < Decimal("1E-20")
    assert (snapshot.orders, snapshot.executions) == ((), (first, second))
    assert [(each.oid, each.outcome) for each in snapshot.ended] == [("o-1", "filled")]


async def test_an_order_rests_until_the_market_comes_to_it() -> None:
    async with a_trader() as (trader, desk, _):
        venue_id = await resting(trader, desk)
        (listed,) = (await trader.snapshot()).orders
        assert (listed.oid, listed.venue_id, int(listed.filled)) == ("o-1", venue_id, 0)
        desk.venue.say(quote(tick("trade", 1.19, 2.0)), quote(tick("ask", 1.20, 9.0)))
        first, second = await trader.fills(2)
    assert (first.oid, first.venue_id, first.side) == ("o-1", venue_id, "buy")
    assert [each.size for each in (first, second)] == [Decimal(2), Decimal(1)]
    assert {each.price for each in (first, second)} == {Decimal("1.20")}


async def test_the_rest_of_an_ioc_is_cancelled() -> None:
    async with a_trader() as (trader, desk, _):
        await trader.place(tif="ioc")
        await wait_all_tasks_blocked()
        desk.venue.say(quote(tick("ask", 1.15, 2.0)))
        heard = await trader.hears(3)
    assert [type(event) for _, event in heard] == [Acked, Filled, Cancelled]


async def test_a_market_with_a_derived_side_is_matched_on_it_and_its_fills_say_so() -> None:
    async with a_served_desk() as desk, a_shop() as shop, shop.trader() as trader:
        desk.venue.markets = (structs.replace(EURUSD, has_ask=False),)
        await trader.place(limit=None)
        await wait_all_tasks_blocked()
        desk.venue.say(quote(tick("bid", 1.10, 2.0)))
        (fill,) = await trader.fills()
    assert (fill.price, fill.size, fill.derived) == (Decimal("1.11"), Decimal(3), True)


async def test_a_cancelled_order_is_filled_no_more() -> None:
    async with a_trader() as (trader, desk, _):
        venue_id = await resting(trader, desk)
        await trader.cancel("o-1")
        assert await trader.hears() == [("o-1", Cancelled(venue_id=venue_id, reason="as asked"))]
        desk.venue.say(quote(tick("ask", 1.0, 9.0)))
        await wait_all_tasks_blocked()
        assert (await trader.snapshot()).executions == ()


async def test_an_order_can_be_cancelled_by_its_venue_id() -> None:
    async with a_trader() as (trader, desk, _):
        venue_id = await resting(trader, desk)
        await trader.cancel("", venue_id)
        ((oid, event),) = await trader.hears()
    assert (oid, type(event)) == ("o-1", Cancelled)


async def test_what_is_not_open_cannot_be_cancelled() -> None:
    async with a_trader() as (trader, desk, _):
        await resting(trader, desk)
        await trader.cancel("o-1")
        await trader.hears()
        await trader.cancel("o-1")
        await trader.cancel("o-9", "O-none-9")
        heard = await trader.hears(2)
    assert heard == [(oid, CancelRefused(reason="it is not open")) for oid in ("o-1", "o-9")]


async def test_all_can_be_cancelled_at_once() -> None:
    async with a_trader() as (trader, desk, _):
        ids = (await resting(trader, desk), await resting(trader, desk, "o-2"))
        reply = await trader.client.call(CancelAll(scope="all"), CancelAllReply)
        assert reply.venue_ids == ids
        assert {oid for oid, _ in await trader.hears(2)} == {"o-1", "o-2"}
        assert (await trader.snapshot()).orders == ()


async def test_an_amended_order_is_as_it_was_amended_to() -> None:
    async with a_trader() as (trader, desk, _):
        await resting(trader, desk)
        await trader.amend("o-1", 1, 5, "1.22")
        amended = AmendAcked(n=1, size=Decimal(5), limit=Decimal("1.22"))
        assert await trader.hears() == [("o-1", amended)]
        desk.venue.say(quote(tick("ask", 1.22, 9.0)))
        (fill,) = await trader.fills()
    assert (fill.size, fill.price) == (Decimal(5), Decimal("1.22"))


async def test_an_order_that_is_amended_to_where_there_are_sellers_is_filled_at_once() -> None:
    async with a_trader() as (trader, desk, _):
        await resting(trader, desk)
        await trader.amend("o-1", 1, 5, "1.35")
        heard = await trader.hears(2)
        snapshot = await trader.snapshot()
    assert [type(event) for _, event in heard] == [AmendAcked, Filled]
    assert [(int(each.size), each.price) for each in snapshot.executions] == [(5, Decimal("1.30"))]
    assert snapshot.orders == ()


@pytest.mark.parametrize(
    ("oid", "n", "size", "limit", "reason"),
    [
        ("o-9", 1, 5, "1.22", "it is not open"),
        ("o-1", 0, 5, "1.22", "expected an amendment after 0, was 0"),
        ("o-1", 1, 5, None, "expected a limit price just if the order has one"),
        (
            "o-1",
            1,
            5,
            "1.221",
            "limit: expected a multiple of 0.01, as 1.22 or 1.23, was 1.221",
        ),
    ],
)
async def test_an_amendment_that_cannot_be_is_refused_and_says_why(
    oid: str, n: int, size: int, limit: str | None, reason: str
) -> None:
    async with a_trader() as (trader, desk, _):
        await resting(trader, desk)
        await trader.amend(oid, n, size, limit)
        assert await trader.hears() == [(oid, AmendRefused(n=n, reason=reason))]
        (listed,) = (await trader.snapshot()).orders
    assert (listed.size, listed.limit) == (Decimal(3), Decimal("1.20"))


DEAR = dataclasses.replace(PROVIDER, fees=FeeSchedule(per_unit=Decimal(9)))


async def test_a_fill_costs_what_the_providers_schedule_says() -> None:
    async with a_served_desk() as desk, a_shop(None, DEAR) as shop, shop.trader() as trader:
        await resting(trader, desk, size=Decimal(3))
        desk.venue.say(quote(tick("ask", 1.20, 3.0)))
        (fill,) = await trader.fills(1)
    assert (fill.fee, fill.fee_currency) == (Decimal(27), "USD")


async def test_a_fill_costs_what_the_configuration_says_instead() -> None:
    fees = FeeSchedule(per_unit=Decimal("0.5"), minimum=Decimal(2))
    settings = Configuration(paperboi=PaperboiSettings(fees={"fake": fees}))
    async with a_served_desk() as desk, a_shop(settings, DEAR) as shop, shop.trader() as trader:
        await resting(trader, desk, size=Decimal(6))
        for _ in range(2):
            desk.venue.say(quote(tick("ask", 1.20, 3.0)))
        paid = [(each.fee, each.fee_currency) for each in await trader.fills(2)]
    assert paid == [(Decimal(2), "USD"), (Decimal(1), "USD")]


async def test_an_order_for_the_day_ends_with_its_session() -> None:
    session = Session(open_ns=WALL_NS - SECOND, close_ns=WALL_NS + 600 * SECOND)
    async with a_served_desk() as desk, a_shop() as shop, shop.trader() as trader:
        desk.venue.markets = (structs.replace(EURUSD, sessions=(session,)),)
        venue_id = await resting(trader, desk, tif="day")
        assert await trader.hears() == [("o-1", VenueExpired(venue_id=venue_id))]
        assert 600 <= trio.current_time() <= 601


async def test_where_a_market_never_closes_a_day_ends_when_the_configuration_says() -> None:
    settings = Configuration(emsd=EmsdSettings(day_ends="09:05", day_zone="Europe/Zurich"))
    async with a_served_desk() as desk, a_shop(settings) as shop, shop.trader() as trader:
        await resting(trader, desk, tif="day")
        await trader.hears()
        assert 300 <= trio.current_time() <= 301  # time begins at 08:00 UTC


# --- the same order again


async def test_the_same_order_again_is_answered_the_same_and_not_doubled() -> None:
    async with a_trader() as (trader, desk, _):
        venue_id = await resting(trader, desk)
        await trader.place()
        assert await trader.hears() == [("o-1", Acked(venue_id=venue_id))]
        assert len((await trader.snapshot()).orders) == 1


async def test_an_order_that_is_over_is_told_again_whole() -> None:
    async with a_trader() as (trader, desk, _):
        await resting(trader, desk)
        desk.venue.say(quote(tick("ask", 1.20, 2.0)))
        await trader.fills()
        await trader.cancel("o-1")
        await trader.hears()
        await trader.place()
        heard = [event for _, event in await trader.hears(3)]
        assert [type(event) for event in heard] == [Acked, Filled, Cancelled]
        assert (await trader.snapshot()).orders == ()


async def test_another_order_by_the_same_reference_is_refused() -> None:
    async with a_trader() as (trader, desk, _):
        await resting(trader, desk)
        fault = await refusal(trader.place(size=Decimal(4)))
    assert isinstance(fault, InvalidOrder)
    assert (fault.field, fault.value) == ("oid", "o-1")


# --- what is refused


@pytest.mark.parametrize(
    ("changed", "field"),
    [
        ({"size": Decimal(0)}, "size"),
        ({"size": Decimal("0.5")}, "size"),
        ({"size": Decimal("1E+30")}, "size"),
        ({"size": Decimal("NaN")}, "size"),
        ({"limit": Decimal("1.201")}, "limit"),
        ({"limit": Decimal(0)}, "limit"),
        ({"limit": Decimal("-1.20")}, "limit"),
        ({"limit": Decimal("Infinity")}, "limit"),
        ({"market": "dax.xetra.fake"}, "market"),
        ({"market": "dax!.xetra.fake"}, "market"),
        ({"market": "eurusd.fake"}, "market"),
        ({"market": "eurusd.spot.other"}, "market"),
        ({"market": ""}, "market"),
    ],
    ids=str,
)
async def test_what_no_venue_would_take_is_refused_and_leaves_no_trace(
    changed: dict[str, Any], field: str
) -> None:
    async with a_trader() as (trader, _, shop):
        fault = await refusal(trader.place(**changed))
        assert isinstance(fault, InvalidOrder)
        assert fault.field == field
        assert (await trader.snapshot()).orders == ()
        assert shop.paperboi.reason_to_live() == ""


async def test_there_is_no_other_account() -> None:
    async with a_shop() as shop, shop.trader() as trader:
        fault = await refusal(trader.place(account="fake.main"))
    assert fault == UnknownAccount(account="fake.main", allowed=(ACCOUNT,))


async def test_an_order_in_a_market_that_nobody_can_describe_is_not_taken() -> None:
    async with a_shop() as shop, shop.trader() as trader:
        fault = await refusal(trader.place())
        assert isinstance(fault, NotConnected)
        assert "datad@fake" in fault.reason
        assert (await trader.snapshot()).orders == ()


async def test_an_order_in_a_market_that_datad_keeps_silent_about_is_not_taken() -> None:
    with closing(listen(str(paths.socket_path("datad", "fake")))):
        async with a_shop() as shop, shop.trader() as trader:
            fault = await refusal(trader.place())
    assert isinstance(fault, NotConnected)
    assert "datad@fake did not answer" in fault.reason


async def test_an_order_that_became_late_while_datad_was_silent_is_not_taken() -> None:
    async with a_trader() as (trader, desk, shop):
        await resting(trader, desk)
        await trader.cancel("o-1")
        await trio.sleep(61)
        desk.venue.mute = True
        soon_ns = clock.boot_ns() + SECOND
        fault = await refusal(trader.place("o-2", not_after_boot_ns=soon_ns))
        assert isinstance(fault, TooLate)
        assert shop.paperboi.reason_to_live() == ""


# --- data that aren't live


async def test_an_order_waits_while_datad_is_away_and_is_filled_when_it_is_back() -> None:
    async with a_served_desk() as desk, a_shop() as shop, shop.trader() as trader:
        await resting(trader, desk)
        await trader.cancel("o-1")
        await trader.hears()
    async with a_shop() as shop, shop.trader() as trader:
        await trader.place("o-2")
        await trader.hears()
        await trio.sleep(10)
        report = shop.paperboi.report()
        assert report.status.endswith(f"1 order open · held in {EURUSD.fqme}")
        assert (report.state, report.components[0].state) == ("degraded", "away")
        async with a_served_desk() as desk:
            await trio.sleep(60)
            desk.venue.say(quote(tick("ask", 1.15, 9.0)))
            (fill,) = await trader.fills()
            assert fill.price == Decimal("1.15")
            assert shop.paperboi.report().state == "running"


async def test_an_order_waits_while_the_venue_is_away() -> None:
    async with a_trader() as (trader, desk, shop):
        await resting(trader, desk)
        desk.venue.away = "the gateway resets"
        desk.venue.fail(VenueLost("the gateway resets"))
        await wait_all_tasks_blocked()
        (component,) = shop.paperboi.report().components
        assert component.state == "disconnected"
        desk.venue.away = ""
        desk.venue.say(quote(tick("ask", 1.15, 9.0)))
        (fill,) = await trader.fills()
    assert fill.price == Decimal("1.20")


async def test_an_order_waits_while_the_market_is_closed() -> None:
    session = Session(open_ns=WALL_NS + 600 * SECOND, close_ns=WALL_NS + 900 * SECOND)
    async with a_served_desk() as desk, a_shop() as shop, shop.trader() as trader:
        desk.venue.markets = (structs.replace(EURUSD, sessions=(session,)),)
        await trader.place()
        await wait_all_tasks_blocked()
        desk.venue.say(quote(tick("ask", 1.10, 9.0)))
        await trio.sleep(300)
        assert shop.paperboi.report().components[0].state == "closed"
        (fill,) = await trader.fills()
        assert 600 <= trio.current_time() <= 602
    assert fill.price == Decimal("1.10")


async def test_datad_is_left_alone_while_no_order_is_open() -> None:
    async with a_trader() as (trader, desk, _):
        assert desk.venue.followed == set()
        await resting(trader, desk)
        assert desk.venue.followed == {EURUSD}
        await trader.cancel("o-1")
        await wait_all_tasks_blocked()
        assert desk.venue.followed == set()


async def test_an_order_in_a_second_market_costs_the_first_one_nothing() -> None:
    async with a_trader() as (trader, desk, _):
        await resting(trader, desk)
        await trader.place("o-2", market=GBPUSD.fqme)
        desk.venue.say(quote(tick("trade", 1.19, 3.0)))
        (fill,) = await trader.fills()
    assert fill.oid == "o-1"


# --- what survives


async def test_a_restart_goes_on_from_there() -> None:
    async with a_served_desk() as desk:
        async with a_shop() as shop, shop.trader() as trader:
            await resting(trader, desk)
            desk.venue.say(quote(tick("ask", 1.20, 2.0)))
            await trader.fills()
            before = await trader.snapshot()
        async with a_shop() as shop, shop.trader() as trader:
            after = await trader.snapshot()
            assert structs.replace(after, asked_ns=before.asked_ns) == before
            await wait_all_tasks_blocked()
            desk.venue.say(quote(tick("ask", 1.20, 9.0)))
            (fill,) = await trader.fills()
            (holding,) = (await trader.snapshot()).holdings
    assert fill.size == 1
    assert fill.exec_id not in {each.exec_id for each in before.executions}
    assert holding == Holding(
        account=ACCOUNT, market=EURUSD.fqme, size=Decimal(3), average_price=Decimal("1.2")
    )


async def test_who_came_first_comes_first_after_a_restart_too() -> None:
    async with a_served_desk() as desk:
        async with a_shop() as shop, shop.trader() as trader:
            for oid in ("o-1", "o-2", "o-3"):
                await resting(trader, desk, oid)
            await trader.amend("o-1", 1, 4, "1.20")
            await trader.hears()
        async with a_shop() as shop, shop.trader() as trader:
            await wait_all_tasks_blocked()
            desk.venue.say(quote(tick("trade", 1.0, 10.0)))
            fills = await trader.fills(3)
    assert [(each.oid, int(each.size)) for each in fills] == [("o-2", 3), ("o-3", 3), ("o-1", 4)]


async def test_no_execution_has_the_id_of_one_of_an_account_that_was_begun_anew() -> None:
    ids = []
    for _ in range(2):
        async with a_trader() as (trader, desk, _shop):
            await resting(trader, desk)
            desk.venue.say(quote(tick("ask", 1.20, 9.0)))
            ids += [each.exec_id for each in await trader.fills()]
        for file in account().parent.iterdir():
            file.unlink()
    assert len(set(ids)) == 2


async def test_a_snapshot_tells_what_came_since_and_nothing_older() -> None:
    async with a_trader() as (trader, desk, _):
        await resting(trader, desk, size=Decimal(1))
        desk.venue.say(quote(tick("ask", 1.20, 9.0)))
        await trader.fills()
        await trio.sleep(10)
        await resting(trader, desk, "o-2")
        desk.venue.say(quote(tick("ask", 1.20, 9.0)))
        await trader.fills()
        snapshot = await trader.snapshot(WALL_NS + 5 * SECOND)
    assert [each.oid for each in snapshot.ended] == ["o-2"]
    assert {each.oid for each in snapshot.executions} == {"o-2"}


async def test_a_snapshot_asked_right_behind_an_order_never_lists_what_is_not_on_disk() -> None:
    async with a_trader() as (trader, desk, shop):
        await resting(trader, desk, "known")
        give_room(shop, 0)
        await trader.client.ask(trader.order("too long for the room that there is " * 1000))
        await trader.client.ask(Snapshot(since_ns=0))
        await trader.client.answer(Done)
        fault = await refusal(trader.client.answer(SnapshotReply))
        give_room(shop, 1000)
        assert [each.up for each in [await trader.hears_link() for _ in range(2)]] == [False, True]
        snapshot = await trader.snapshot()
    assert fault == NotConnected(reason="can't write: database or disk is full")
    assert [each.oid for each in snapshot.orders] == ["known"]


async def test_on_a_full_disk_nothing_is_taken_and_nothing_is_lost() -> None:
    async with a_trader() as (trader, desk, shop):
        await resting(trader, desk, "first")
        give_room(shop, 0)
        fault = await refusal(place_many(trader))
        assert fault == NotConnected(reason="can't write: database or disk is full")
        link = await trader.hears_link()
        assert link == Link(up=False, reason="can't write: database or disk is full")
        give_room(shop, 1000)
        assert await trader.hears_link() == Link(up=True)
        acked = {"first", *(told.oid for told in trader.told)}
        assert {each.oid for each in (await trader.snapshot()).orders} == acked
        await wait_all_tasks_blocked()
        desk.venue.say(quote(tick("ask", 1.20)))
        fills = await trader.fills(len(acked))
    assert {each.oid for each in fills} == acked


async def place_many(trader: Trader) -> None:
    for number in range(1000):
        await trader.place(f"o-{number}")


def give_room(shop: Shop, pages: int) -> None:
    """Let the account's file grow by so many pages; then SQLite says that the disk is full."""
    connection = shop.dialog._book._connection
    found = connection.execute("PRAGMA page_count").fetchone()[0]
    connection.execute(f"PRAGMA max_page_count = {found + pages}")


# --- what can't be worked with


async def open_shop() -> None:
    async with a_shop():
        pass


def garbage(path: Path) -> None:
    path.write_bytes(b"these are no orders" * 100)


def short(path: Path) -> None:
    path.write_bytes(b"hm")


def foreign(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE orders (number INTEGER)")


def torn(path: Path) -> None:
    with open_book(path):
        pass
    path.write_bytes(path.read_bytes()[:5000])


@pytest.mark.parametrize("spoil", [garbage, short, foreign, torn])
async def test_a_file_that_is_no_account_is_named_and_left_as_it_is(
    spoil: Callable[[Path], None],
) -> None:
    account().parent.mkdir()
    spoil(account())
    before = account().read_bytes()
    fault = await refusal(open_shop())
    assert isinstance(fault, BrokenConfiguration)
    assert fault.file == str(account())
    assert account().read_bytes() == before


async def test_an_account_is_kept_by_one_paperboi() -> None:
    async with a_shop():
        fault = await refusal(open_shop())
    assert isinstance(fault, BrokenConfiguration)
    assert "locked" in fault.problem


async def test_a_provider_that_there_is_not_is_named() -> None:
    async def opened() -> None:
        async with open_paperboi(Service("paperboi", "nobody", Manager())):
            pass

    assert isinstance(await refusal(opened()), UnknownProvider)


# --- how it is


async def test_it_has_a_reason_to_live_while_an_order_is_open() -> None:
    async with a_trader() as (trader, desk, shop):
        assert shop.paperboi.reason_to_live() == ""
        await resting(trader, desk)
        assert shop.paperboi.reason_to_live() == "1 order open"
        status = shop.paperboi.report().status
        assert status == f"{ACCOUNT}: connected · session held · 1 order sent · 1 order open"
        await trader.cancel("o-1")
        assert shop.paperboi.reason_to_live() == ""
