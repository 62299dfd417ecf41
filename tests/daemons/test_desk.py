"""The desk: amendments, reducing orders, flatten, live accounts, what is unknown, what is due."""

import sqlite3
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing, asynccontextmanager, closing, contextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import trio
from msgspec import structs
from trio.testing import wait_all_tasks_blocked

from piker import clock, paths
from piker.emsd import JOURNAL
from piker.errors import Refused
from piker.interfaces.broker import Cancel as VenueCancel
from piker.interfaces.broker import (
    Holding,
    InvalidOrder,
    NotConnected,
    Place,
    SnapshotReply,
    Told,
)
from piker.interfaces.orders import (
    AcceptPosition,
    Accounts,
    AccountsReply,
    AccountUnreachable,
    Amend,
    BrokenJournal,
    Cancel,
    CancelAll,
    DiskFull,
    Done,
    Flatten,
    Halt,
    Halted,
    NotCalledLive,
    NotPossible,
    OidsReply,
    OrderReply,
    Positions,
    PositionsReply,
    Resolve,
    RiskRejected,
    StillHeld,
    SyncLedger,
)
from piker.markets import Session
from piker.orders import Acked, Filled
from piker.store import halt
from tests.fakes.broker import a_fill
from tests.fakes.tradinghouse import (
    House,
    a_house,
    alert,
    configure,
    dark,
    flowing_time,
    later,
    order,
)
from tests.fakes.venue import EURUSD, GBPUSD

__all__ = ["flowing_time"]
pytestmark = pytest.mark.usefixtures("flowing_time")

FQME = EURUSD.fqme
PAPER = "paper.fake"
LIVE = '[accounts."fake.main"]\nlive = true\n'


def names(events: list[Any]) -> list[str]:
    return [type(event).__name__ for event in events]


def a_stop(oid: str = "stop", trigger: str = "1.05", **changed: Any) -> Any:
    """A dark sell that protects what is held."""
    return dark(oid, trigger, side="sell", when="below", reduce_only=True, **changed)


@asynccontextmanager
async def a_holder(**facts: Any) -> AsyncIterator[House]:
    """A house whose paper account holds 3."""
    async with a_house(**facts) as house:
        await house.submit(order("o-0", kind="market", limit=None))
        await house.is_live()
        await house.until("o-0", "filled")
        yield house


@contextmanager
def journal_is_held() -> Iterator[None]:
    """Somebody's tool has begun to write emsd's journal; nobody else can, until it ends."""
    path = paths.state_of("emsd") / JOURNAL
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        yield
        other.execute("ROLLBACK")


async def held(house: House) -> Decimal:
    """What the first place holds."""
    reply = await house.ask(Positions(), PositionsReply, "view")
    return reply.positions[0].position.size


# --- amendments


async def test_an_open_order_is_amended_at_the_venue() -> None:
    async with a_house() as house:
        await house.submit(order())
        await house.until("o-1", "open")
        await house.ask(Amend(oid="o-1", size=Decimal(5), limit=Decimal("1.15")), OrderReply)
        async with house.following() as follower:
            life = await follower.until_it("o-1", lambda life: life.amended == 1)
    assert (life.state, life.size, life.limit) == ("open", Decimal(5), Decimal("1.15"))


async def test_a_dark_order_that_is_amended_rests_at_its_new_trigger_with_its_old_direction() -> (
    None
):
    async with a_house() as house:
        await house.submit(dark())
        reply = await house.ask(Amend(oid="d-1", trigger=Decimal("1.15")), OrderReply)
        await house.shows(("ask", 1.18))
        assert (await house.life("d-1")).armed
        await house.shows(("ask", 1.15))
        await house.until("d-1", "open", "filled")
    assert (reply.life.trigger, reply.life.when, reply.life.armed) == (
        Decimal("1.15"),
        "below",
        True,
    )


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"size": Decimal(0)}, InvalidOrder),
        ({"size": Decimal("NaN")}, InvalidOrder),
        ({"size": Decimal("1.5")}, InvalidOrder),
        ({"limit": Decimal("1.201")}, InvalidOrder),
        ({"limit": Decimal("sNaN")}, InvalidOrder),
        ({"trigger": Decimal("1.20")}, NotPossible),
        ({"size": Decimal(10**6)}, RiskRejected),
        ({"limit": Decimal("9.99")}, RiskRejected),
    ],
)
async def test_an_amendment_that_could_be_no_order_changes_nothing(
    change: dict[str, Any], fault: type
) -> None:
    async with a_house() as house:
        await house.submit(order())
        before = await house.until("o-1", "open")
        assert isinstance(await house.refusal(Amend(oid="o-1", **change)), fault)
        assert await house.life("o-1") == before


async def test_a_smaller_total_passes_a_halt_and_a_larger_one_does_not() -> None:
    async with a_house() as house:
        await house.submit(order())
        await house.until("o-1", "open")
        await house.ask(Halt(reason="lunch"), Done)
        larger = await house.refusal(Amend(oid="o-1", size=Decimal(4)))
        await house.ask(Amend(oid="o-1", size=Decimal(2)), OrderReply)
    assert isinstance(larger, Halted)


async def test_a_trigger_that_would_fire_at_once_is_refused_when_it_is_amended() -> None:
    async with a_house() as house:
        await house.submit(dark())
        fault = await house.refusal(Amend(oid="d-1", trigger=Decimal("1.30")))
        assert isinstance(fault, InvalidOrder)
        assert (fault.field, fault.value) == ("trigger", "1.30")
        assert (await house.life("d-1")).trigger == dark().trigger


async def test_amendments_count_as_orders_do_in_the_limit_of_a_second() -> None:
    configure("[risk]\norders_per_s = 2\n")
    async with a_house() as house:
        await house.submit(dark())
        await house.ask(Amend(oid="d-1", trigger=Decimal("1.19")), OrderReply)
        fault = await house.refusal(Amend(oid="d-1", trigger=Decimal("1.18")))
    expected = "2, as set by [risk] orders_per_s in piker.toml"
    assert fault == RiskRejected(limit="orders_per_s", value="3", allowed=expected)


# --- what reduces


async def test_what_reduces_is_capped_to_the_position_also_while_halted() -> None:
    async with a_holder() as house:
        await house.ask(Halt(reason="lunch"), Done)
        sells = order(side="sell", size=Decimal(9), limit=Decimal("1.40"), reduce_only=True)
        reply = await house.submit(sells)
    assert (reply.life.state, reply.life.size) == ("sending", Decimal(3))


@pytest.mark.parametrize("side", ["buy", "sell"])
async def test_what_has_nothing_to_reduce_is_refused(side: str) -> None:
    async with a_house() as house:
        fault = await house.refusal(order(side=side, reduce_only=True))
    expected = f"0, nothing is held of {FQME} to reduce"
    assert fault == RiskRejected(limit="reduce_only", value="3", allowed=expected)


async def test_an_amendment_never_makes_what_reduces_larger_than_the_position() -> None:
    async with a_holder() as house:
        target = order(side="sell", size=Decimal(2), limit=Decimal("1.40"), reduce_only=True)
        await house.submit(target)
        await house.until("o-1", "open")
        fault = await house.refusal(Amend(oid="o-1", size=Decimal(4)))
        await house.ask(Amend(oid="o-1", size=Decimal(3)), OrderReply)
    assert isinstance(fault, RiskRejected)
    assert (fault.limit, fault.value) == ("reduce_only", "4")


async def test_a_stop_is_cancelled_where_there_is_nothing_to_reduce() -> None:
    async with a_house() as house:
        await house.submit(a_stop())
        await house.shows(("bid", 1.05))
        life = await house.until("stop", "cancelled")
    assert life.reason == "there is nothing to reduce"


async def test_a_stop_takes_over_from_a_target_that_rests() -> None:
    async with a_holder() as house:
        target = order("target", side="sell", limit=Decimal("1.40"), reduce_only=True)
        await house.submit(target)
        await house.until("target", "open")
        await house.submit(a_stop())
        await house.shows(("bid", 1.05))
        assert (await house.until("target", "cancelled")).filled == 0
        await house.shows(("bid", 1.05))
        await later(1)
        await house.until("stop", "open", "filled")
        await house.shows(("bid", 1.05))
        life = await house.until("stop", "filled")
        assert await held(house) == 0
        events = names(await house.events("stop"))
    assert events[:6] == ["Submitted", "Armed", "Triggered", "Held", "Armed", "Triggered"]
    assert life.filled == Decimal(3)


# --- flatten, cancel all


async def test_flatten_cancels_then_closes_what_is_held() -> None:
    async with a_holder() as house:
        await house.submit(order())
        await house.submit(dark())
        reply = await house.ask(Flatten(account="paper", market="EURUSD.fake"), OidsReply)
        *cancelled, closing = reply.oids
        await house.is_live()
        await house.until(closing, "filled")
        assert await held(house) == 0
        assert [(await house.life(oid)).state for oid in cancelled] == ["cancelled"] * 2
    assert sorted(cancelled) == ["d-1", "o-1"]


async def test_flatten_closes_what_it_can_before_it_says_what_it_could_not() -> None:
    async with a_holder() as house:
        await house.shows(("bid", 1.10), ("ask", 1.20), market=GBPUSD)
        await house.submit(order("g-1", market=GBPUSD.fqme))
        await house.shows(("bid", 1.10), ("ask", 1.20), market=GBPUSD)
        await house.until("g-1", "filled")
        house.venue.markets, house.keep = (EURUSD,), (FQME,)
        for served in (house.emsd, house.datad):
            await served.end()
        for served in (house.datad, house.emsd):
            await served.begin()
        await house.is_live()
        fault = await house.refusal(Flatten(account=PAPER))
        assert isinstance(fault, StillHeld)
        await house.is_live()
        closing = await house.until(fault.oids[-1], "filled")
        assert await held(house) == 0
    assert (fault.account, fault.markets) == (PAPER, (GBPUSD.fqme,))
    assert GBPUSD.fqme in fault.reason
    assert closing.order.market == FQME


async def test_all_of_a_market_are_cancelled_and_no_other() -> None:
    async with a_house() as house:
        await house.shows(("bid", 1.10), ("ask", 1.30), market=GBPUSD)
        await house.submit(dark("d-1"))
        await house.submit(dark("d-2", market=GBPUSD.fqme, when="below"))
        reply = await house.ask(CancelAll(account="paper", market="eurusd.fake"), OidsReply)
        states = [(await house.life(oid)).state for oid in ("d-1", "d-2")]
        rest = await house.ask(CancelAll(account=PAPER), OidsReply)
    assert (reply.oids, states, rest.oids) == (("d-1",), ["cancelled", "held"], ("d-2",))


# --- real money


@asynccontextmanager
async def a_broker(text: str = LIVE) -> AsyncIterator[House]:
    """A house with a broker of real money, called so."""
    configure(text)
    async with a_house() as house:
        await house.brokerd.begin()
        yield house


def holds(size: int) -> SnapshotReply:
    """What the venue of real money lists."""
    holding = Holding(account="fake.main", market=FQME, size=Decimal(size))
    return SnapshotReply(
        asked_ns=clock.wall_ns(), orders=(), ended=(), executions=(), holdings=(holding,)
    )


def live(oid: str = "o-1", **changed: Any) -> Any:
    """An order of real money."""
    return order(oid, **({"account": "fake.main"} | changed))


async def test_an_order_of_real_money_says_so() -> None:
    async with a_broker() as house:
        assert (await house.submit(dark("d-1", account="fake.main"))).live
        assert (await house.submit(live())).live
        assert not (await house.submit(order("o-2"))).live


async def test_real_money_that_is_not_called_so_never_leaves() -> None:
    async with a_broker("") as house:
        expected = '[accounts."fake.main"] live = true'
        fault = await house.refusal(live())
        assert house.dialog.reached == []
    assert fault == NotCalledLive(account="fake.main", expected=expected)


async def test_no_paper_order_falls_back_to_real_money() -> None:
    async with a_broker() as house:
        fault = await house.refusal(order(account="fake.other"))
        await house.submit(order())
        assert house.dialog.reached == []
    assert isinstance(fault, NotCalledLive)


async def test_an_order_of_before_whose_account_is_no_longer_called_live_does_not_leave() -> None:
    async with a_broker() as house:
        await house.submit(dark("d-1", account="fake.main"))
        configure("")
        await house.restart()
        await house.ready("fake.main")
        await house.shows(("ask", 1.19))
        life = await house.until("d-1", "rejected")
        assert house.dialog.reached == []
    assert "live = true" in life.reason


async def test_an_account_that_can_not_be_reached_is_not_called_flat_and_its_cancels_stay() -> None:
    async with a_broker() as house:
        await house.submit(live())
        house.dialog.hear(Told(oid="o-1", event=Acked(venue_id="7")))
        await house.brokerd.end()
        await house.restart()
        fault = await house.refusal(Flatten(account="fake.main"))
        life = await house.life("o-1")
    assert isinstance(fault, AccountUnreachable)
    assert life.cancel is not None


async def test_a_position_that_closes_while_it_is_flattened_is_no_order_and_no_reason() -> None:
    async with a_broker() as house, trio.open_nursery() as nursery:
        await house.submit(live())
        bought = a_fill(oid="o-1", account="fake.main", market=FQME, size=3)
        house.dialog.hear(Told(oid="o-1", event=Filled(execution=bought)))
        await house.until("o-1", "filled")
        await house.datad.end()
        house.dialog.holds = holds(3)
        await house.restart()
        replies: list[OidsReply] = []

        async def flatten() -> None:
            replies.append(await house.ask(Flatten(account="fake.main"), OidsReply))

        nursery.start_soon(flatten)
        await wait_all_tasks_blocked(0.005)
        sold = structs.replace(bought, oid="", exec_id="e2", side="sell")
        house.dialog.hear(Told(oid="", event=Filled(execution=sold)))
        house.dialog.holds = holds(0)
        await later(30)
    assert replies == [OidsReply(oids=())]


async def test_an_account_whose_venue_was_not_reached_is_as_live_as_it_is_called() -> None:
    async with a_broker() as house:
        await house.submit(dark("d-1", account="fake.main"))
        await house.brokerd.end()
        await house.restart()
        reply = await house.ask(Accounts(), AccountsReply)
    main = next(each for each in reply.accounts if each.account == "fake.main")
    assert (main.state, main.live) == ("unreachable", True)


@pytest.mark.parametrize(
    ("settings", "called", "live"),
    [
        ('accounts = { main = "DU1234567" }', "true", False),
        ('accounts = { main = "DU1234567" }', "false", False),
        ('accounts = { other = "DU1234567" }', "true", True),
        ('accounts = { main = "U1234567" }', "true", True),
        ('accounts = { main = "U1234567" }', "false", True),
        ("", "false", None),
        ('accounts = { main = "DU1234567", other = "U1234567" }', "true", True),
        ('accounts = "DU1234567"', "true", True),
        ("", "true", True),
    ],
)
async def test_before_its_venue_was_reached_only_what_settings_show_to_be_is_no_real_money(
    settings: str, called: str, live: bool | None, caplog: pytest.LogCaptureFixture
) -> None:
    configure(f'[providers.ib]\n{settings}\n[accounts."ib.main"]\nlive = {called}\n')
    async with a_house() as house:
        reply = await house.ask(Accounts(), AccountsReply)
    states = [(each.account, each.state, each.live) for each in reply.accounts]
    assert states == [("ib.main", "unreachable", live)]
    assert "1234567" not in caplog.text + repr(reply)


async def test_a_third_partys_provider_does_not_run_where_all_orders_are(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (home / "stranger.py").write_text("raise SystemExit")
    info = home / "stranger-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: stranger\nVersion: 1\n")
    (info / "entry_points.txt").write_text("[piker.brokers]\nstranger = stranger\n")
    monkeypatch.syspath_prepend(home)
    configure('[accounts."stranger.main"]\nlive = true\n')
    async with a_house() as house:
        reply = await house.ask(Accounts(), AccountsReply)
    assert [(each.account, each.live) for each in reply.accounts] == [("stranger.main", True)]


# --- what is not known


async def test_silence_makes_an_order_unknown_until_its_owner_says_what_became_of_it() -> None:
    async with a_broker() as house:
        await house.submit(live())
        await wait_all_tasks_blocked(0.01)
        early = await house.refusal(Resolve(oid="o-1", outcome="filled", note="x"))
        await later(11)
        await house.until("o-1", "unknown")
        amend = await house.refusal(Amend(oid="o-1", size=Decimal(2)))
        assert "1 UNKNOWN: piker orders" in house.daemon.report().status
        call = Resolve(oid="o-1", outcome="cancelled", note="phoned")
        reply = await house.ask(call, OrderReply)
    assert isinstance(early, NotPossible)
    assert isinstance(amend, NotPossible)
    assert (reply.life.state, reply.life.reason) == ("cancelled", "phoned")


async def test_what_is_not_acked_can_be_cancelled_and_not_amended() -> None:
    async with a_broker() as house:
        await house.submit(live())
        amend = await house.refusal(Amend(oid="o-1", size=Decimal(2)))
        reply = await house.ask(Cancel(oid="o-1"), OrderReply)
        await wait_all_tasks_blocked(0.01)
        assert [type(each) for each in house.dialog.reached] == [Place, VenueCancel]
    assert isinstance(amend, NotPossible)
    assert reply.life.cancel


async def test_after_a_restart_what_was_on_its_way_is_unknown_and_is_not_sent_again() -> None:
    async with a_broker() as house:
        await house.submit(live())
        await house.submit(dark("d-1", account="fake.main"))
        await wait_all_tasks_blocked(0.01)
        await house.restart()
        assert (await house.until("o-1", "unknown")).reason == "emsd was restarted"
        assert (await house.life("d-1")).reason == ""
        assert names(await house.events("d-1")) == ["Submitted", "Armed"]
        assert len(house.dialog.reached) == 1


async def test_a_holding_that_nothing_explains_blocks_what_adds_to_it_until_it_is_accepted() -> (
    None
):
    async with a_broker() as house:
        await house.submit(live())
        house.dialog.holds = holds(5)
        for _ in range(2):
            await house.ask(SyncLedger(account="fake.main"), Done)
        fault = await house.refusal(live("o-2"))
        await house.submit(live("o-3", side="sell", limit=Decimal("1.40"), reduce_only=True))
        call = AcceptPosition(account="fake.main", market=FQME, note="mine")
        await house.ask(call, Done)
        await house.submit(live("o-4"))
        again = await house.refusal(call)
    assert isinstance(fault, RiskRejected)
    assert fault.limit == "unexplained"
    assert fault.value == f"3 more, where nothing explains all of what is held of {FQME}"
    assert fault.allowed.endswith(f"piker accept fake.main {FQME} --note TEXT")
    assert "there is nothing to accept in" in repr(again)


async def test_a_venue_that_can_not_list_what_it_has_is_not_taken_for_reconciled() -> None:
    async with a_broker() as house:
        await house.submit(live())
        house.dialog.holds = Refused(NotConnected(reason="the gateway is busy"))
        fault = await house.refusal(SyncLedger(account="fake.main"))
    assert isinstance(fault, AccountUnreachable)
    assert "the gateway is busy" in fault.reason


# --- what is due by the clock


async def test_an_order_ends_when_its_time_has_come() -> None:
    async with a_house() as house:
        ends_ns = clock.wall_ns() + 30 * 10**9
        await house.submit(dark(expires_ns=ends_ns))
        await house.submit(order(expires_ns=ends_ns))
        await house.until("o-1", "open")
        await later(31)
        await house.until("d-1", "expired")
        await house.until("o-1", "expired")


async def test_what_expired_while_nobody_ran_expires_before_it_is_armed() -> None:
    async with a_house() as house:
        await house.submit(dark(expires_ns=clock.wall_ns() + 30 * 10**9))
        await house.emsd.end()
        await later(31)
        await house.shows(("ask", 1.19))
        await house.emsd.begin()
        await house.until("d-1", "expired")
        assert names(await house.events("d-1")) == ["Submitted", "Armed", "Expired"]


def session(begin_s: int, end_s: int) -> Session:
    """So many seconds from when the test begins."""
    start_ns = 1_800_000_000 * 10**9
    return Session(open_ns=start_ns + begin_s * 10**9, close_ns=start_ns + end_s * 10**9)


@pytest.mark.parametrize("begin_s", [-100, 300])
async def test_a_day_order_that_waits_ends_with_the_session_that_is_or_comes(begin_s: int) -> None:
    sessions = (session(-9000, -8000), session(begin_s, 900), session(5000, 9000))
    async with a_house(structs.replace(EURUSD, sessions=sessions)) as house:
        reply = await house.submit(dark(tif="day", when="below"))
        again = await house.submit(dark(tif="day", when="below"))
    assert reply.life.order.expires_ns == sessions[1].close_ns
    assert again.life.order == reply.life.order


async def test_a_day_order_where_there_are_no_sessions_ends_when_the_day_turns() -> None:
    async with a_house() as house:
        reply = await house.submit(alert(tif="day", when="above"))
    assert reply.life.order.expires_ns == 1_800_050_400 * 10**9  # 17:00 in New York


# --- what can't leave when it is triggered


async def triggered_unready(house: House, *on_gap: str) -> None:
    """Dark orders that were triggered while paperboi was away."""
    for each in on_gap:
        await house.submit(dark(f"d-{each}", on_gap=each))
    await house.paperboi.end()
    await wait_all_tasks_blocked(0.01)
    await house.shows(("ask", 1.19))
    async with house.following() as follower:
        for each in on_gap:
            await follower.until_it(f"d-{each}", lambda life: not life.armed)


async def test_what_is_triggered_while_its_account_is_briefly_away_leaves_on_its_return() -> None:
    async with a_house() as house:
        await house.submit(order())
        await triggered_unready(house, "hold")
        life = await house.life("d-hold")
        assert (life.state, "is not ready" in life.reason) == ("held", True)
        await house.paperboi.begin()
        await later(2)
        await wait_all_tasks_blocked(0.05)
        await later(2)
        await house.shows(("ask", 1.19))
        await house.until("d-hold", "open", "filled")


async def test_after_long_it_is_done_as_its_owner_wants_it_after_a_gap() -> None:
    async with a_house() as house:
        await house.submit(order())
        await triggered_unready(house, "hold", "cancel", "fire")
        await later(100)
        await house.paperboi.begin()
        await later(65)
        await house.until("d-cancel", "cancelled")
        await house.shows(("ask", 1.19))
        await house.until("d-fire", "open", "filled")
        assert (await house.life("d-hold")).state == "held"


async def test_what_was_set_aside_is_so_after_a_restart() -> None:
    async with a_house() as house:
        await house.submit(order())
        await triggered_unready(house, "cancel", "fire")
        await later(100)
        await house.emsd.end()
        await house.paperboi.begin()
        await house.emsd.begin()
        await later(2)
        await house.until("d-cancel", "cancelled")
        await house.shows(("ask", 1.19))
        await house.until("d-fire", "open", "filled")


async def test_a_limit_that_is_reached_by_what_rests_does_not_count_what_is_triggered_twice() -> (
    None
):
    configure("[risk]\nopen_orders = 1\n")
    async with a_house() as house:
        await house.submit(dark())
        await house.shows(("ask", 1.19))
        life = await house.until("d-1", "open", "filled", "rejected")
    assert life.state != "rejected"


async def test_alerts_leave_an_order_its_place() -> None:
    configure("[risk]\nopen_orders = 1\n")
    async with a_house() as house:
        for each in (alert("a-1"), alert("a-2"), dark("d-1")):
            await house.submit(structs.replace(each, when="above"))
        await house.ask(Cancel(oid="a-1"), OrderReply)
        fault = await house.refusal(dark("d-2", when="above"))
    assert isinstance(fault, RiskRejected)
    assert "open_orders" in fault.limit


# --- a full disk


@pytest.fixture
def full(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Makes the disk full, as far as the mark and the latch are concerned."""

    def fill() -> None:
        def refuse(*_: object) -> None:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr("piker.store.durable.replace", refuse)
        monkeypatch.setattr("piker.store.durable.create", refuse)

    return fill


async def test_an_order_whose_mark_has_no_room_is_refused_and_does_not_rest(full: Any) -> None:
    async with a_house() as house:
        full()
        faults = [await house.refusal(each) for each in (dark(), order(), alert(when="above"))]
        await house.shows(("ask", 1.19), ("trade", 1.25))
        assert house.daemon.report().counters[0].value == 0
        halt = await house.refusal(Halt(reason="lunch"))
    assert all(isinstance(each, DiskFull) for each in (*faults, halt))


async def test_what_is_triggered_while_too_much_waits_for_the_disk_rests_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with a_house() as house:
        await house.submit(dark())
        with monkeypatch.context() as patch:
            patch.setattr("piker.store.journal.MAX_QUEUED", 0)
            await house.shows(("ask", 1.19))
            assert isinstance(await house.refusal(order()), DiskFull)
            assert isinstance(await house.refusal(Amend(oid="d-1", size=Decimal(4))), DiskFull)
        assert (await house.life("d-1")).armed
        await house.shows(("ask", 1.19))
        await house.until("d-1", "open", "filled")


async def test_an_account_that_holds_something_is_asked_after_a_restart() -> None:
    async with a_holder() as house:
        await house.restart()
        async with (
            house.client("view") as client,
            aclosing(client.replies(Accounts(), AccountsReply)) as replies,
        ):
            reply, _ = await anext(replies)
            while reply.accounts[0].state != "ready":
                reply, _ = await anext(replies)


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A journal that somebody else holds is a fault at once."""
    monkeypatch.setattr("piker.store.files.BUSY_S", 0.0)


@pytest.mark.usefixtures("impatient")
async def test_a_dark_order_that_could_not_be_written_down_is_not_armed() -> None:
    async with a_house() as house:
        await house.submit(dark("d-0"))
        with journal_is_held():
            assert isinstance(await house.refusal(dark("d-1")), BrokenJournal)
        life = await house.until("d-1", "rejected")
        assert (life.armed, (await house.life("d-0")).armed) == (False, True)


@pytest.mark.usefixtures("impatient")
async def test_an_amendment_that_could_not_be_written_down_leaves_a_dark_order_held() -> None:
    async with a_house() as house:
        await house.submit(dark())
        with journal_is_held():
            fault = await house.refusal(Amend(oid="d-1", trigger=Decimal("1.15")))
            assert isinstance(fault, BrokenJournal)
        async with house.following() as follower:
            life = await follower.until_it("d-1", lambda life: not life.armed)
        assert life.state == "held"
        assert life.reason.startswith("an amendment of it: The journal can't be used")


@pytest.mark.usefixtures("impatient")
async def test_an_amendment_that_could_not_be_written_down_does_not_reach_the_venue() -> None:
    async with a_house() as house:
        await house.submit(order("o-1"))
        await house.until("o-1", "open")
        with journal_is_held():
            fault = await house.refusal(Amend(oid="o-1", size=Decimal(2)))
            assert isinstance(fault, BrokenJournal)
        async with house.following() as follower:
            life = await follower.until_it("o-1", lambda life: life.amends == 1 and not life.amend)
        assert (life.state, life.size) == ("open", Decimal(3))


# --- the last instant


async def test_a_latch_that_is_set_between_commit_and_send_holds_it_back() -> None:
    async with a_broker() as house:
        await house.submit(live("o-0"))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(house.submit, live("o-1"))
            await house.until_admitted("o-1")
            halt.set(paths.state_of("emsd"), halt.Latch(reason="panic", since_ns=1))
        life = await house.until("o-1", "rejected")
        assert [type(each) for each in house.dialog.reached] == [Place]
    halted = "No new order leaves until `piker resume` (reason: panic"
    assert life.reason.startswith(f"not sent: {halted}")


async def test_what_a_venue_says_of_an_order_that_rests_here_ends_its_trigger() -> None:
    async with a_broker() as house:
        await house.submit(dark("d-1", account="fake.main"))
        await house.ready("fake.main")
        house.dialog.hear(Told(oid="d-1", event=Acked(venue_id="7")))
        await house.until("d-1", "open")
        await house.shows(("ask", 1.19))
        assert names(await house.events("d-1")) == ["Submitted", "Armed", "Acked"]
        assert house.daemon.report().status.startswith("0 armed · 1 open")


async def test_an_order_that_is_over_is_not_amended_though_its_market_is_away() -> None:
    async with a_house() as house:
        await house.submit(dark())
        await house.ask(Cancel(oid="d-1"), OrderReply)
        await house.datad.end()
        await house.restart()
        fault = await house.refusal(Amend(oid="d-1", size=Decimal(1)))
    assert fault == NotPossible(oid="d-1", state="cancelled", reason="it is over: cancelled")


async def test_a_default_account_is_that_of_orders_that_name_none() -> None:
    configure('[emsd]\ndefault_account = "paper"\n')
    async with a_house() as house:
        reply = await house.submit(order(account=""))
        again = await house.submit(order(account=PAPER))
    assert reply.life.order.account == again.life.order.account == PAPER


async def test_a_default_account_of_real_money_trades_only_where_it_is_called_so() -> None:
    configure('[emsd]\ndefault_account = "fake.main"\n')
    async with a_house() as house:
        fault = await house.refusal(order(account=""))
    assert isinstance(fault, NotCalledLive)


async def test_what_was_triggered_and_is_held_is_armed_again_by_an_amendment() -> None:
    async with a_house() as house:
        await house.submit(order())
        await triggered_unready(house, "hold")
        reply = await house.ask(Amend(oid="d-hold", trigger=Decimal("1.15")), OrderReply)
        await house.shows(("ask", 1.18))
        assert (await house.life("d-hold")).armed
    assert (reply.life.armed, reply.life.triggered) == (True, None)


async def test_a_stop_that_could_not_leave_does_once_it_can_if_the_market_is_still_beyond() -> None:
    async with a_holder() as house:
        await house.submit(a_stop())
        await house.paperboi.end()
        await wait_all_tasks_blocked(0.01)
        await house.shows(("bid", 1.04))
        async with house.following() as follower:
            await follower.until_it("stop", lambda life: not life.armed)
        await later(40)
        await house.is_live(bid=1.04)
        await later(40)
        await house.is_live(bid=1.04)
        await house.paperboi.begin()
        await house.ready(PAPER)
        await later(1)
        await house.is_live(bid=1.04)
        await house.until("stop", "open", "filled")


async def test_what_ends_while_too_much_waits_for_the_disk_ends_later(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with a_house() as house:
        await house.submit(dark(expires_ns=clock.wall_ns() + 30 * 10**9))
        with monkeypatch.context() as patch:
            patch.setattr("piker.store.journal.MAX_QUEUED", 0)
            await later(31)
            assert (await house.life("d-1")).state == "held"
        await later(1)
        await house.until("d-1", "expired")
