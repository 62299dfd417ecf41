"""emsd: dialogues over its two sockets, with a real datad and a real paperboi behind it."""

from contextlib import aclosing, closing, suppress
from decimal import Decimal
from typing import Any

import pytest
import trio
from msgspec import structs
from trio.testing import wait_all_tasks_blocked

from piker import paths
from piker.errors import Fault, Refused, local_time
from piker.interfaces import Call, Reply
from piker.interfaces.broker import InvalidOrder, UnknownAccount
from piker.interfaces.data import AmbiguousMarket, NoSuchMarket
from piker.interfaces.introspection import InvalidParameter, MethodNotFound
from piker.interfaces.orders import (
    Accounts,
    AccountsReply,
    Amend,
    Cancel,
    CancelAll,
    Done,
    DuplicateOrder,
    Flatten,
    Halt,
    Halted,
    ImportExecutions,
    Ledger,
    LedgerReply,
    Limits,
    LimitsReply,
    NoDirection,
    NoMarketData,
    NoSuchOrder,
    NotCalledLive,
    NotPossible,
    OidsReply,
    OrderReply,
    Positions,
    PositionsReply,
    Resolve,
    Resume,
    RiskRejected,
    Submit,
    SubmitReply,
    SyncLedger,
    Timeline,
    TimelineReply,
)
from piker.orders import Filled, Order
from piker.store import halt, marks
from piker.transport import HungUp, connect
from tests.fakes.tradinghouse import (
    a_house,
    alert,
    configure,
    dark,
    flowing_time,
    later,
    order,
)
from tests.fakes.venue import EURUSD

FQME = EURUSD.fqme
PAPER = "paper.fake"
LIVE = '[accounts."fake.main"]\nlive = true\n'


__all__ = ["flowing_time"]
pytestmark = pytest.mark.usefixtures("flowing_time")


def names(events: list[Any]) -> list[str]:
    return [type(event).__name__ for event in events]


# --- every kind of order


async def test_a_limit_order_rests_and_is_filled_when_the_market_comes_to_it() -> None:
    async with a_house() as house:
        reply = await house.submit(order())
        await house.until("o-1", "open")
        await house.is_live(ask=1.20)
        life = await house.until("o-1", "filled")
    assert (reply.life.state, reply.life.order.account, reply.live) == ("sending", PAPER, False)
    assert (life.filled, life.average_price) == (Decimal(3), Decimal("1.20"))


async def test_a_market_order_pays_what_is_offered() -> None:
    async with a_house() as house:
        await house.submit(order(kind="market", limit=None))
        await house.is_live()
        life = await house.until("o-1", "filled")
    assert life.average_price == Decimal("1.3")


async def test_a_dark_order_waits_here_then_leaves_as_a_limit_past_the_tick() -> None:
    async with a_house() as house:
        reply = await house.submit(dark())
        await house.shows(("ask", 1.20))
        await house.until("d-1", "open", "filled")
        await house.shows(("ask", 1.20))
        life = await house.until("d-1", "filled")
        events = names(await house.events("d-1"))
    assert (reply.life.state, reply.life.armed, reply.life.when) == ("held", True, "below")
    assert life.limit == Decimal("1.20")  # five ticks past it would be over 0.5 %
    assert events[:5] == ["Submitted", "Armed", "Triggered", "Sending", "Acked"]


async def test_an_alert_is_told_at_a_trade_and_is_done() -> None:
    async with a_house() as house:
        await house.shows(("trade", 1.25))
        reply = await house.submit(alert())
        await house.shows(("ask", 1.15), ("trade", 1.19))
        await house.until("a-1", "filled")
        assert names(await house.events("a-1")) == ["Submitted", "Armed", "Triggered"]
    assert reply.life.order.account == PAPER


# --- bad input

NUMBERS = ("NaN", "sNaN", "Infinity", "-Infinity")
LARGEST = "1 to 1000000000000000 in steps of 1"
ABOVE_0 = "above 0, as all prices of its kind, stock"
TO_COME = "a time to come, before 2262"
SLIPS = "0 to 1000000000000"


def wrong(field: str, value: str, allowed: str) -> InvalidOrder:
    return InvalidOrder(field=field, value=value, allowed=allowed)


BAD_ORDERS: list[tuple[Order, Fault]] = [
    (order(size=Decimal(0)), wrong("size", "0", LARGEST)),
    (order(size=Decimal(-3)), wrong("size", "-3", LARGEST)),
    (order(size=Decimal("1E+20")), wrong("size", "1E+20", LARGEST)),
    (order(size=Decimal("1.5")), wrong("size", "1.5", "a multiple of 1, as 1 or 2")),
    *[(order(size=Decimal(bad)), wrong("size", bad, "a number")) for bad in NUMBERS],
    *[(order(limit=Decimal(bad)), wrong("limit", bad, "a number")) for bad in NUMBERS],
    *[(dark(trigger=bad), wrong("trigger", bad, "a number")) for bad in NUMBERS],
    (
        order(limit=Decimal("1.201")),
        wrong("limit", "1.201", "a multiple of 0.01, as 1.20 or 1.21"),
    ),
    (order(limit=Decimal(-1)), wrong("limit", "-1", ABOVE_0)),
    (order(limit=None), wrong("limit", "none", "a price")),
    (dark(trigger="-1.20"), wrong("trigger", "-1.20", ABOVE_0)),
    (
        dark(limit=Decimal("1.20")),
        wrong("limit", "1.20", "none, orders of this kind have no such price"),
    ),
    (alert(size=Decimal(1)), wrong("size", "1", "0, an alert trades nothing")),
    (alert(tif="ioc"), wrong("tif", "ioc", "day or gtc, it waits for its trigger")),
    (order(expires_ns=5), wrong("expires_ns", local_time(5), TO_COME)),
    (order(expires_ns=2**63), wrong("expires_ns", local_time(2**63), TO_COME)),
    (order(slip_ticks=-1), wrong("slip_ticks", "-1", SLIPS)),
    (order(slip_ticks=10**18), wrong("slip_ticks", str(10**18), SLIPS)),
    (order(slip_max_pct=Decimal("NaN")), wrong("slip_max_pct", "NaN", "a number")),
    (
        order(oid="o 1"),
        wrong("oid", "o 1", "1 to 64 letters, digits and hyphens, as a UUID"),
    ),
    (order(market="dax.fake"), NoSuchMarket(market="dax", similar=(FQME,))),
    (
        order(market="eur.fake"),
        AmbiguousMarket(market="eur", candidates=(FQME, "eurgbp.spot.fake")),
    ),
    (order(market=""), NoSuchMarket(market="", similar=())),
    (order(market="a./etc/x"), NoSuchMarket(market="a./etc/x", similar=())),
    (order(market="a.\0"), NoSuchMarket(market="a.\0", similar=())),
    (order(account=""), UnknownAccount(account="", allowed=(PAPER,))),
    (order(account="main"), UnknownAccount(account="main", allowed=(PAPER,))),
    (order(account="paper.sim"), UnknownAccount(account="paper.sim", allowed=(PAPER,))),
    (
        order(account="fake.main"),
        NotCalledLive(account="fake.main", expected='[accounts."fake.main"] live = true'),
    ),
]


async def test_what_cannot_be_an_order_is_refused_by_name_and_leaves_nothing() -> None:
    async with a_house() as house:
        answers = [(bad, await house.refusal(bad)) for bad, _ in BAD_ORDERS]
        assert answers == BAD_ORDERS
        assert house.daemon.reason_to_live() == ""
        assert house.daemon.report().counters[0].value == 0


@pytest.mark.parametrize(
    ("field", "value"), [("tif", "fok"), ("side", "short"), ("kind", "stop"), ("size", "many")]
)
async def test_a_word_that_is_none_of_the_interface_is_refused_with_its_field(
    field: str, value: str
) -> None:
    bad = structs.replace(order(), **{field: value})
    async with a_house() as house:
        fault = await house.refusal(bad)
    assert isinstance(fault, InvalidParameter)
    assert fault.parameter.startswith(f"order.{field}")


async def test_less_than_the_whole_name_will_do_in_any_case_and_replies_have_the_whole() -> None:
    async with a_house() as house:
        first = await house.submit(order("o-1", market="EURUSD.fake"))
        second = await house.submit(order("o-2", market="EurUsd.Spot.FAKE"))
    assert [each.life.order.market for each in (first, second)] == [FQME, FQME]


async def test_an_order_in_a_market_whose_datad_is_away_says_which_unit_to_look_at() -> None:
    async with a_house() as house:
        fault = await house.refusal(order(market="eurusd.nowhere"))
    assert isinstance(fault, NoMarketData)
    assert "datad@nowhere" in fault.reason


async def test_what_datad_refuses_is_answered_in_our_words() -> None:
    async with a_house(live=False) as house:
        house.venue.away = "it sleeps"
        fault = await house.refusal(order())
    assert isinstance(fault, NoMarketData)
    assert "it sleeps" in fault.reason


async def test_a_dark_order_needs_a_quote_once_seen_or_a_direction() -> None:
    async with a_house(live=False) as house:
        fault = await house.refusal(dark())
        reply = await house.submit(dark(when="above"))
    assert fault == NoDirection(
        market=FQME, expected="--when above or below, or its first ask or trade"
    )
    assert (reply.life.armed, reply.life.when) == (True, "above")


# --- the same order again


async def test_the_same_oid_with_the_same_content_is_answered_the_same_and_sent_once() -> None:
    async with a_house() as house:
        first = await house.submit(order())
        await house.until("o-1", "open")
        again = await house.submit(order())
        assert names(await house.events("o-1")) == ["Submitted", "Sending", "Acked"]
    assert (again.life.order, again.life.state) == (first.life.order, "open")


@pytest.mark.parametrize(
    "changed", [{"size": Decimal(4)}, {"side": "sell"}, {"tif": "ioc"}, {"size": Decimal("sNaN")}]
)
async def test_the_same_oid_with_another_content_is_refused(changed: dict[str, Any]) -> None:
    async with a_house() as house:
        await house.submit(order())
        await house.until("o-1", "open")
        fault = await house.refusal(order(**changed))
        assert len(await house.events("o-1")) == 3
    assert isinstance(fault, DuplicateOrder | InvalidOrder)


async def test_two_submits_of_one_oid_at_once_are_one_order() -> None:
    replies: list[SubmitReply] = []
    async with a_house() as house:

        async def submit() -> None:
            replies.append(await house.submit(order()))

        async with trio.open_nursery() as nursery:
            for _ in range(5):
                nursery.start_soon(submit)
        await house.until("o-1", "open")
        events = names(await house.events("o-1"))
    assert [reply.life.order for reply in replies] == [replies[0].life.order] * 5
    assert events == ["Submitted", "Sending", "Acked"]


async def test_two_orders_of_one_oid_at_once_are_the_first_and_a_refusal() -> None:
    faults: list[Fault] = []
    async with a_house() as house:

        async def submit(size: int) -> None:
            try:
                await house.submit(order(size=Decimal(size)))
            except Refused as no:
                faults.append(no.fault)

        async with trio.open_nursery() as nursery:
            for size in (1, 2, 3):
                nursery.start_soon(submit, size)
    assert faults == [DuplicateOrder(oid="o-1")] * 2


async def test_an_order_is_answered_the_same_though_its_datad_has_died() -> None:
    async with a_house() as house:
        await house.submit(dark())
        await house.datad.end()
        await house.restart()
        again = await house.submit(dark())
        fault = await house.refusal(dark(size=Decimal(4)))
    assert (again.life.state, again.life.armed) == ("held", True)
    assert fault == DuplicateOrder(oid="d-1")


async def test_an_archived_order_is_still_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("piker.book.KEPT_CLOSED", 1)
    async with a_house() as house:
        for number in range(4):
            await house.submit(alert(f"a-{number}", when="above"))
            await house.ask(Cancel(oid=f"a-{number}"), OrderReply)
        await later(61)
        await house.submit(alert("a-4", when="above"))
        async with house.following() as follower:
            await follower.read()
            assert "a-0" not in follower.lives
        again = await house.submit(alert("a-0", when="above"))
        assert again.life.state == "cancelled"
        other = alert("a-0", trigger="1.21", when="above")
        assert await house.refusal(other) == DuplicateOrder(oid="a-0")
        assert isinstance(await house.refusal(Cancel(oid="a-0")), NotPossible)
        assert names(await house.events("a-0")) == ["Submitted", "Armed", "CancelAsked"]


# --- what can't be amended or cancelled


async def test_what_is_over_or_unknown_to_us_can_neither_be_amended_nor_cancelled() -> None:
    async with a_house() as house:
        await house.submit(order())
        await house.ask(Cancel(oid="o-1"), OrderReply)
        await house.until("o-1", "cancelled")
        amend = await house.refusal(Amend(oid="o-1", size=Decimal(2)))
        cancel = await house.refusal(Cancel(oid="o-1"))
        resolve = await house.refusal(Resolve(oid="o-1", outcome="filled", note="seen"))
        strangers = [
            await house.refusal(call)
            for call in (
                Amend(oid="x", size=Decimal(2)),
                Cancel(oid="x"),
                Resolve(oid="x", outcome="filled", note=""),
                Timeline(oid="x"),
                Timeline(oid=""),
            )
        ]
        assert len(await house.events("o-1")) == 5
    assert all(isinstance(each, NotPossible) for each in (amend, cancel, resolve))
    assert strangers[:4] == [NoSuchOrder(oid="x")] * 4


async def test_an_amendment_of_nothing_says_what_it_may_be_of() -> None:
    async with a_house() as house:
        await house.submit(order())
        fault = await house.refusal(Amend(oid="o-1"))
    assert fault == InvalidParameter(parameter="size, limit, trigger: expected at least one")


# --- a dry run


@pytest.mark.parametrize("asked", [order(), dark(), alert(when="above")], ids=lambda o: o.kind)
async def test_a_dry_run_says_what_would_be_and_does_nothing(asked: Order) -> None:
    async with a_house() as house:
        reply = await house.submit(asked, dry_run=True)
        await house.shows(("ask", 1.20), ("trade", 1.20))
        assert house.daemon.report().counters[0].value == 0
        assert await house.refusal(Timeline(oid=asked.oid)) == NoSuchOrder(oid=asked.oid)
        await house.submit(asked)
    assert (reply.seq, reply.life.order.market) == (0, FQME)
    assert reply.life.state == ("sending" if asked.kind == "limit" else "held")


async def test_a_dry_run_of_what_would_be_refused_is_refused() -> None:
    async with a_house() as house:
        call = Submit(order=order(size=Decimal(10**6)), dry_run=True)
        fault = await house.refusal(call)
    assert isinstance(fault, RiskRejected)
    assert (fault.limit, fault.value) == ("order_notional", "1200000 USD (1000000 at 1.2)")
    assert fault.allowed.startswith("50000 USD, by default; to change it, ")


# --- the two doors


@pytest.mark.parametrize(
    ("call", "method"),
    [
        (Submit(order=order()), "Submit"),
        (Cancel(oid="o-1"), "Cancel"),
        (Halt(reason="x"), "Halt"),
        (Flatten(account=PAPER), "Flatten"),
    ],
)
async def test_who_may_only_look_finds_no_command(call: Call, method: str) -> None:
    async with a_house():
        path = str(paths.socket_path("emsd", "view"))
        from piker.interfaces.orders import ORDERS
        from piker.varlink import open_client

        async with open_client(path, ORDERS, "emsd") as client:
            with pytest.raises(Refused) as no:
                await client.call(call, Reply)
    assert no.value.fault == MethodNotFound(method=f"piker.Orders.{method}")


async def test_who_may_look_is_told_the_limits_of_any_account() -> None:
    async with a_house() as house:
        call = Limits(account="fake.main", market="EURUSD.fake")
        limits = await house.ask(call, LimitsReply, "view")
        unknown = await house.refusal(Limits(account="main", market=FQME), "view")
    assert limits.open_orders == 200
    assert isinstance(unknown, UnknownAccount)


# --- many who follow


async def test_everybody_sees_the_book_and_the_events_of_all() -> None:
    async with a_house() as house:
        await house.submit(dark())
        async with house.following() as one, house.following() as other:
            await one.read()
            await other.read()
            await house.submit(order())
            await one.until("o-1", "open")
            await other.until("o-1", "open")
            assert (one.lives, one.news) == (other.lives, other.news)
            assert [news.seq for news in one.news] == [3, 4, 5]


async def test_a_client_goes_on_where_it_was_over_a_restart_without_gap_or_repeat() -> None:
    async with a_house() as house:
        await house.submit(dark())
        async with house.following() as follower:
            await follower.until("d-1", "held")
            seq = follower.seq
        await house.submit(order())
        await house.until("o-1", "open")
        await house.restart()
        async with house.following(seq) as follower:
            await follower.until("o-1", "open")
            assert [news.seq for news in follower.news] == [3, 4, 5]


async def test_old_news_come_in_parts_that_fit_a_message(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("piker.emsd.NEWS_PART", 2)
    async with a_house() as house:
        for number in range(3):
            await house.submit(dark(f"d-{number}"))
        await house.restart()
        async with house.following(1) as follower:
            parts = [await follower.read() for _ in range(3)]
    assert [[news.seq for news in each.events] for each in parts] == [[2, 3], [4, 5], [6]]
    assert [len(each.lives) for each in parts] == [2, 2, 1]


@pytest.mark.parametrize("since", [-1, 3, 2**70])
async def test_an_event_that_is_not_there_yet_is_refused(since: int) -> None:
    async with a_house() as house:
        await house.submit(dark())
        async with house.following(since) as follower:
            with pytest.raises(Refused) as no:
                await follower.read()
    expected = f"since_seq: expected 0 to 2, was {since}"
    assert no.value.fault == InvalidParameter(parameter=expected)


async def test_what_is_too_old_to_be_told_again_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("piker.book.KEPT_NEWS", 2)
    async with a_house() as house:
        for number in range(3):
            await house.submit(dark(f"d-{number}"))
        await house.restart()
        async with house.following(3) as follower:
            with pytest.raises(Refused) as no:
                await follower.read()
        async with house.following(4) as follower:
            await follower.until_seq(6)
            assert [news.seq for news in follower.news] == [5, 6]
    assert repr(no.value.fault) == "TooOld(first_seq=4)"


async def test_a_large_book_comes_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("piker.emsd.BOOK_PART", 2)
    async with a_house() as house:
        for number in range(5):
            await house.submit(dark(f"d-{number}"))
        async with house.following() as follower:
            parts = [await follower.read() for _ in range(3)]
    assert [len(each.book) for each in parts] == [2, 2, 1]
    assert [each.complete for each in parts] == [False, False, True]


async def test_a_stream_tells_each_execution_once_and_a_timeline_has_all() -> None:
    async with a_house() as house:
        await house.submit(order(size=Decimal(2500)))
        async with house.following() as follower:
            await follower.read()
            for _ in range(3):
                await house.shows(("ask", 1.20))
            life = await follower.until("o-1", "filled")
        book = await house.until("o-1", "filled")
        timeline = await house.ask(Timeline(oid="o-1"), TimelineReply)
    told = [news.event.execution for news in follower.news if isinstance(news.event, Filled)]
    assert len(told) == 3
    assert timeline.life.executions == tuple(told)
    assert life.executions == book.executions == (told[-1],)


# --- a loud client


async def test_a_client_that_submits_without_end_is_stopped_by_name() -> None:
    async with a_house() as house, house.client() as client:
        replies = [await client.call(Submit(order=dark(f"d-{n}")), SubmitReply) for n in range(10)]
        with pytest.raises(Refused) as no:
            await client.call(Submit(order=dark("d-10")), SubmitReply)
        await later(1.1)
        await client.call(Submit(order=dark("d-10")), SubmitReply)
    fault = no.value.fault
    assert isinstance(fault, RiskRejected)
    assert (fault.limit, fault.value) == ("orders_per_s", "11")
    assert [reply.life.armed for reply in replies] == [True] * 10


async def test_without_limits_all_of_many_orders_are_taken_and_the_view_stays_whole() -> None:
    configure("[risk]\norders_per_s = false\nopen_orders = false\nposition_notional = false\n")
    many, clients = 10_000, 200
    async with a_house() as house, house.following() as follower:
        house.be_patient(60)
        await follower.read()

        async def submit(first: int) -> None:
            async with house.client() as client:
                for number in range(first, many, clients):
                    asked = dark(f"d-{number}", f"{1 + number % 100}E-2")
                    await client.call(Submit(order=asked), SubmitReply, 300)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(follower.until_seq, 2 * many)
            for first in range(clients):
                nursery.start_soon(submit, first)
        assert [news.seq for news in follower.news] == list(range(1, 2 * many + 1))
        assert len(follower.lives) == many
        assert house.daemon.report().status.startswith(f"{many} armed · 0 open")
        house.be_patient(60)
        cancelled = await house.ask(CancelAll(), OidsReply)
    assert len(cancelled.oids) == many


async def test_the_order_of_a_client_that_died_before_the_reply_stands() -> None:
    async with a_house() as house:
        with trio.CancelScope() as scope:
            async with house.client() as client, trio.open_nursery() as nursery:
                nursery.start_soon(client.call, Submit(order=order()), SubmitReply)
                await wait_all_tasks_blocked()
                scope.cancel()
        assert (await house.until("o-1", "open")).state == "open"


# --- all is halted


async def test_while_halted_nothing_new_leaves_and_a_dark_order_is_held_at_its_trigger() -> None:
    async with a_house() as house:
        await house.ask(Halt(reason="lunch"), Done)
        fault = await house.refusal(order())
        reply = await house.submit(dark())
        await house.shows(("ask", 1.19))
        async with house.following() as follower:
            life = await follower.until_it("d-1", lambda life: not life.armed)
        assert (await house.ask(Accounts(), AccountsReply, "view")).halted == "lunch"
    assert isinstance(fault, Halted)
    assert fault.reason == "lunch"
    assert reply.warnings == ("halted, so it will be held when it is triggered: lunch",)
    assert (life.state, "lunch" in life.reason) == ("held", True)


async def test_a_halt_outlives_a_restart_and_other_limits_still_hold() -> None:
    async with a_house() as house:
        await house.ask(Halt(reason="lunch"), Done)
        await house.restart()
        assert isinstance(await house.refusal(order()), Halted)
        fault = await house.refusal(dark(size=Decimal(10**6)))
        await house.ask(Resume(), Done)
        await house.submit(order())
    assert isinstance(fault, RiskRejected)


async def test_after_resume_what_was_held_is_armed_again_if_its_owner_wants_that() -> None:
    async with a_house() as house:
        await house.ask(Halt(reason="lunch"), Done)
        for on_gap in ("hold", "fire", "cancel"):
            await house.submit(dark(f"d-{on_gap}", on_gap=on_gap))
        await house.shows(("ask", 1.19))
        await house.ask(Resume(), Done)
        await house.shows(("ask", 1.19))
        await house.until("d-fire", "filled", "open")
        await house.until("d-cancel", "cancelled")
        held = await house.life("d-hold")
    assert (held.state, held.armed) == ("held", False)


async def test_a_latch_that_another_process_set_holds_what_was_to_be_sent() -> None:
    async with a_house() as house:
        await house.submit(order("o-0"))
        await house.until("o-0", "open")
        latch = halt.Latch(reason="panic", since_ns=1)
        halt.set(paths.state_of("emsd"), latch)
        assert isinstance(await house.refusal(order()), Halted)
        amend = await house.refusal(Amend(oid="o-0", size=Decimal(4)))
        await house.ask(Cancel(oid="o-0"), OrderReply)
        await house.until("o-0", "cancelled")
    assert isinstance(amend, Halted)


# --- accounts, positions, the ledger


async def test_accounts_are_those_that_were_used_or_are_configured() -> None:
    configure(LIVE)
    async with a_house() as house:
        before = await house.ask(Accounts(), AccountsReply, "view")
        await house.submit(order())
        after = await house.ask(Accounts(), AccountsReply, "view")
    assert [(each.account, each.live, each.state) for each in before.accounts] == [
        ("fake.main", True, "unreachable")
    ]
    assert [(each.account, each.state) for each in after.accounts] == [
        ("fake.main", "unreachable"),
        (PAPER, "ready"),
    ]


async def test_the_accounts_are_told_again_when_one_changes() -> None:
    async with a_house() as house:
        await house.submit(order())
        async with house.client("view") as client:
            replies = client.replies(Accounts(), AccountsReply)
            async with aclosing(replies):
                first, _ = await anext(replies)
                await house.paperboi.end()
                second, _ = await anext(replies)
    assert [each.state for each in first.accounts] == ["ready"]
    assert [each.state for each in second.accounts] == ["unreachable"]


async def test_an_account_that_cannot_be_reached_is_an_error() -> None:
    async with a_house() as house:
        await house.paperboi.end()
        fault = await house.refusal(order())
    assert repr(fault).startswith("AccountUnreachable(account='paper.fake', reason='paperboi@fake")


@pytest.mark.parametrize("account", [PAPER, "paper", "nobody.main", "fake", ""])
async def test_only_accounts_at_a_broker_have_executions_to_import(account: str) -> None:
    configure(LIVE)
    call = ImportExecutions(account=account, executions=(), markets=(), source="a report")
    async with a_house() as house:
        assert await house.refusal(call) == UnknownAccount(account=account, allowed=("fake.main",))


async def test_positions_have_the_newest_price_also_after_a_restart() -> None:
    async with a_house() as house:
        await house.submit(order(kind="market", limit=None))
        await house.is_live()
        await house.until("o-1", "filled")
        await house.restart()
        await later(1)
        await house.shows(("trade", 1.25))
        (line,) = (await house.ask(Positions(), PositionsReply, "view")).positions
    assert (line.position.size, line.price) == (Decimal(3), Decimal("1.25"))
    assert line.open_profit == Decimal("-0.15")


async def test_positions_are_told_again_at_a_change_of_a_size() -> None:
    async with a_house() as house, house.client("view") as client:
        replies = client.replies(Positions(account=PAPER), PositionsReply)
        async with aclosing(replies):
            first, _ = await anext(replies)
            await house.submit(order(kind="market", limit=None))
            await house.is_live()
            second, _ = await anext(replies)
    assert first.positions == ()
    assert [line.position.size for line in second.positions] == [Decimal(3)]


@pytest.mark.parametrize("call", [Positions(account="paper"), Ledger(account="paper")])
async def test_less_than_an_account_is_not_taken_for_an_empty_one(call: Call) -> None:
    async with a_house() as house:
        assert await house.refusal(call, "view") == UnknownAccount(account="paper", allowed=())


async def test_the_ledger_comes_in_pages() -> None:
    async with a_house() as house:
        for number in range(3):
            await house.submit(order(f"o-{number}", kind="market", limit=None))
            await house.is_live()
            await house.until(f"o-{number}", "filled")
        first = await house.ask(Ledger(limit=2), LedgerReply, "view")
        rest = await house.ask(Ledger(after=2), LedgerReply, "view")
        faults = [await house.refusal(Ledger(limit=limit), "view") for limit in (0, 1001)]
    assert [line.number for line in (*first.lines, *rest.lines)] == [1, 2, 3]
    assert [each.execution.oid for each in rest.lines if each.execution] == ["o-2"]
    assert faults == [
        InvalidParameter(parameter=f"limit: expected 1 to 1000, was {limit}") for limit in (0, 1001)
    ]


@pytest.mark.parametrize("after", [-1, 2**63, 2**70])
async def test_a_number_that_no_entry_can_have_is_refused(after: int) -> None:
    async with a_house() as house:
        fault = await house.refusal(Ledger(after=after), "view")
    assert fault == InvalidParameter(parameter=f"after: expected 0 to {2**63 - 1}, was {after}")


async def test_text_that_is_none_ends_no_daemon() -> None:
    async with a_house() as house:
        connection = await connect(str(paths.socket_path("emsd", "view")), "emsd")
        with closing(connection):
            method = b'{"method":"piker.Orders.Timeline","parameters":{"oid":"\\ud800"}}\0'
            await connection.send(method)
            with suppress(HungUp):
                await connection.receive()
        assert await house.refusal(Timeline(oid="x"), "view") == NoSuchOrder(oid="x")


@pytest.mark.parametrize("account", ["paper", "paper.sim", "main", "", "x\0.y"])
async def test_an_account_that_nobody_knows_is_refused_where_no_market_names_it(
    account: str,
) -> None:
    async with a_house() as house:
        for call in (SyncLedger(account=account), Flatten(account=account)):
            assert await house.refusal(call) == UnknownAccount(account=account, allowed=())
        every = await house.refusal(CancelAll(account=account))
    assert every == UnknownAccount(account=account, allowed=())


async def test_an_account_is_reconciled_on_demand() -> None:
    async with a_house() as house:
        await house.submit(order())
        assert await house.ask(SyncLedger(account=PAPER), Done) == Done()


# --- how it is


async def test_its_status_says_what_a_person_should_know() -> None:
    async with a_house() as house:
        assert house.daemon.report().status == "0 armed · 0 open"
        await house.submit(dark())
        await house.submit(order())
        await house.until("o-1", "open")
        report = house.daemon.report()
        assert (report.status, report.state) == ("1 armed · 1 open · paper.fake ready", "running")
        await house.ask(Halt(reason="lunch"), Done)
        report = house.daemon.report()
    assert report.status == "1 armed · 1 open · paper.fake ready · HALTED: lunch"
    assert report.state == "degraded"


async def test_it_is_degraded_while_a_trigger_waits_in_a_market_that_shows_nothing() -> None:
    async with a_house() as house:
        await house.submit(dark())
        await house.datad.end()
        await wait_all_tasks_blocked(0.01)
        report = house.daemon.report()
    assert f"{FQME} disconnected" in report.status
    assert report.state == "degraded"


async def test_it_has_a_reason_to_live_and_a_mark_only_while_something_is_armed_or_open() -> None:
    directory = paths.state_of("emsd")
    async with a_house() as house:
        await house.submit(dark())
        mark = marks.busy(directory)
        reason = house.daemon.reason_to_live()
        await house.ask(Cancel(oid="d-1"), OrderReply)
        await later(1)
        assert (house.daemon.reason_to_live(), marks.busy(directory)) == ("", None)
    assert (mark and mark.providers, reason) == (("fake",), "1 orders are armed or open")


async def test_a_user_who_does_not_linger_is_told_that_a_dark_order_dies_at_logout(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("MANAGERPID", "7")
    monkeypatch.setenv("USER", "nobody-of-this-name")
    async with a_house() as house:
        reply = await house.submit(dark())
    assert reply.warnings[0] == "you don't linger, so it dies at logout: loginctl enable-linger"
