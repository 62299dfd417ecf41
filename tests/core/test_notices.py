"""What a person is told of, and what not."""

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis.strategies import floats, lists, sampled_from, tuples
from msgspec.structs import replace

from piker.accounts import AccountState
from piker.core.lifecycle import replay
from piker.core.mirror import Change
from piker.core.notices import (
    PATIENCE_S,
    Notice,
    Outages,
    of_accounts,
    of_order,
    of_refusal,
    recent,
    with_orders,
)
from piker.interfaces.orders import AccountsReply, OrderNews
from piker.interfaces.service import Component
from piker.orders import (
    Acked,
    AmendRefused,
    Armed,
    CancelAsked,
    Cancelled,
    CancelRefused,
    Expired,
    Held,
    LinkLost,
    Listed,
    Order,
    OrderEvent,
    Refused,
    Sending,
    Silence,
    Submitted,
    Triggered,
    VenueExpired,
)
from tests.fakes.scripted_emsd import fill, order

P = Decimal("1.20")
SENDING = Sending(size=Decimal(1000), limit=P, not_after_ns=1)
ACKED = Acked(venue_id="v1")
ARMED = Armed(when="above", since_ns=0)
TRIGGERED = Triggered(price=Decimal("1.21"), time_ns=0)
LIMIT = order()
DARK = order(kind="dark", trigger=P, when="above")
ALERT = order(kind="alert", trigger=P, when="above", size=Decimal(0))
OPEN = (SENDING, ACKED)
MARKET = "eurusd.spot.replay"


def change(asked: Order, *events: OrderEvent) -> Change:
    """The last of these events."""
    before = replay((Submitted(order=asked), *events[:-1]))
    after = replay((Submitted(order=asked), *events))
    news = OrderNews(seq=9, time_ns=9, oid="o1", account=asked.account, event=events[-1])
    return Change(life=after, before=before, news=news)


def account(**fields: Any) -> AccountsReply:
    """One account, ready but for what is given."""
    usual: dict[str, Any] = {"account": "ib.main", "live": True, "state": "ready", "since_ns": 0}
    halted = fields.pop("halted", None)
    return AccountsReply(accounts=(AccountState(**(usual | fields)),), halted=halted)


@pytest.mark.parametrize(
    ("asked", "events", "title", "urgency"),
    [
        (ALERT, (ARMED, TRIGGERED), "ALERT", "critical"),
        (LIMIT, (*OPEN, fill("o1")), "Filled", "normal"),
        (LIMIT, (*OPEN, fill("o1", revision=-2)), "Filled", "normal"),
        (LIMIT, (*OPEN, fill("o1", 400)), "Partly filled", "normal"),
        (LIMIT, (*OPEN, fill("o1", 400), fill("o1", 600, exec_id="e2")), "Filled", "normal"),
        (LIMIT, (*OPEN, fill("o1"), fill("o1", 900, revision=1)), "Fill corrected", "critical"),
        (LIMIT, (*OPEN, fill("o1", 4), fill("o1", 6, revision=1)), "Fill corrected", "critical"),
        (LIMIT, (*OPEN, fill("o1", 4), fill("o1", revision=1)), "Fill corrected", "critical"),
        (
            LIMIT,
            (*OPEN, fill("o1"), fill("o1", 1000, "9", revision=1)),
            "Fill corrected",
            "critical",
        ),
        (LIMIT, (*OPEN, Cancelled(), fill("o1", 400)), "Late fill", "critical"),
        (LIMIT, (SENDING, Silence()), "Outcome unknown", "critical"),
        (LIMIT, (SENDING, LinkLost()), "Outcome unknown", "critical"),
        (LIMIT, (*OPEN, CancelAsked(), Silence()), "Change unknown", "critical"),
        (
            LIMIT,
            (*OPEN, Listed(venue_id="v2", size=Decimal(1000), limit=P, asked_ns=5)),
            "Order is doubled",
            "critical",
        ),
        (LIMIT, (SENDING, Refused(reason="no money")), "Rejected", "normal"),
        (DARK, (ARMED, TRIGGERED), "Triggered", "low"),
        (DARK, (ARMED, TRIGGERED, Refused(reason="halted")), "Rejected", "critical"),
        (DARK, (ARMED, Held(reason="crossed unwatched")), "Held", "normal"),
        (DARK, (ARMED, Expired()), "Expired", "normal"),
        (LIMIT, (*OPEN, Cancelled(reason="by the venue")), "Cancelled", "normal"),
        (LIMIT, (*OPEN, VenueExpired()), "Expired", "normal"),
        (LIMIT, (*OPEN, Expired(), Cancelled()), "Expired", "normal"),
        (DARK, (ARMED, CancelAsked(reason="crossed unwatched")), "Cancelled", "normal"),
        (LIMIT, (*OPEN, CancelAsked(reason="o2 took over")), "Cancelled", "normal"),
        (LIMIT, (*OPEN, AmendRefused(n=1, reason="late")), "Change refused", "normal"),
        (LIMIT, (*OPEN, CancelAsked(), CancelRefused(reason="late")), "Change refused", "normal"),
    ],
)
def test_what_a_person_should_know_is_told(
    asked: Order, events: tuple[OrderEvent, ...], title: str, urgency: str
) -> None:
    notice = of_order(change(asked, *events), live=False)
    assert notice is not None
    assert (notice.title, notice.urgency) == (title, urgency)


@pytest.mark.parametrize(
    ("asked", "events"),
    [
        (LIMIT, (SENDING,)),
        (LIMIT, OPEN),
        (DARK, (ARMED,)),
        (LIMIT, (*OPEN, CancelAsked())),
        (LIMIT, (*OPEN, CancelAsked(), Cancelled())),
        (DARK, (ARMED, CancelAsked())),
        (DARK, (ARMED, CancelAsked(reason="all were cancelled"))),
        (LIMIT, (*OPEN, CancelAsked(reason="o2 took over"), Cancelled())),
        (LIMIT, (*OPEN, fill("o1", 400), fill("o1", 400, exec_id="e2"))),
        (LIMIT, (*OPEN, fill("o1", revision=-2), fill("o1"))),
        (LIMIT, (*OPEN, fill("o1", 400), fill("o1", 400))),
        (LIMIT, (SENDING, Silence(), ACKED)),
    ],
)
def test_what_its_owner_did_or_knows_is_not_told(
    asked: Order, events: tuple[OrderEvent, ...]
) -> None:
    assert of_order(change(asked, *events), live=False) is None


@pytest.mark.parametrize("event", [Submitted(order=LIMIT), ACKED, fill("o1")])
def test_of_an_order_that_was_not_known_nothing_is_told(event: OrderEvent) -> None:
    seen = change(LIMIT, *OPEN, fill("o1"))
    assert seen.news is not None
    assert of_order(Change(seen.life, None, replace(seen.news, event=event)), live=False) is None


def test_but_a_late_fill_of_one_is() -> None:
    late = change(LIMIT, *OPEN, Cancelled(), fill("o1", 400))
    notice = of_order(Change(late.life, None, late.news), live=True)
    assert notice is not None
    assert (notice.title, notice.urgency) == ("Late fill", "critical")


def test_what_was_missed_is_told_by_how_the_order_stands() -> None:
    seen = change(LIMIT, *OPEN, fill("o1"))
    notice = of_order(Change(seen.life, seen.before, None), live=False)
    assert notice is not None
    assert notice.title == "Filled"


@pytest.mark.parametrize(("live", "word"), [(True, "LIVE"), (False, "simulated"), (None, "LIVE?")])
def test_a_notice_says_the_account_and_whether_it_is_live(live: bool | None, word: str) -> None:
    asked = order(account="ib.main")
    notice = of_order(change(asked, *OPEN, fill("o1")), live)
    words = f"ib.main ({word}): buy 1000 {MARKET}, limit 1.20\n1000 of 1000 at 1.1"
    assert notice == Notice("Filled", words, "normal")


def test_an_alert_says_the_price_that_came() -> None:
    notice = of_order(change(ALERT, ARMED, TRIGGERED), live=None)
    assert notice == Notice("ALERT", f"{MARKET} crossed 1.20: 1.21", "critical")


def timeline(first_seq: int, asked: Order, *events: OrderEvent) -> list[OrderNews]:
    """An order's life, an event a nanosecond; times are as seqs."""
    return [
        OrderNews(seq=seq, time_ns=seq, oid=asked.oid, account=asked.account, event=event)
        for seq, event in enumerate((Submitted(order=asked), *events), first_seq)
    ]


def titles(timelines: list[list[OrderNews]], since_ns: int, last_seq: int) -> list[str]:
    """Of what is told of these lives."""
    found = [of_order(each, live=False) for each in recent(timelines, since_ns, last_seq)]
    return [each.title for each in found if each]


def test_what_was_recorded_from_a_time_on_is_told_with_what_was_before_it() -> None:
    alert = timeline(1, ALERT, ARMED, TRIGGERED)
    assert titles([alert], 3, 3) == ["ALERT"]
    assert titles([alert], 4, 3) == []


def test_what_comes_after_the_book_is_left_to_those_who_follow() -> None:
    filled = timeline(1, LIMIT, *OPEN, fill("o1", 400), fill("o1", 600, exec_id="e2"))
    assert titles([filled], 1, 4) == ["Partly filled"]


def test_what_happened_to_several_orders_is_told_in_the_order_of_the_events() -> None:
    alert, filled = timeline(10, ALERT, ARMED, TRIGGERED), timeline(1, LIMIT, *OPEN, fill("o1"))
    assert titles([alert, filled], 0, 99) == ["Filled", "ALERT"]


def test_a_halt_is_told_when_it_comes_when_it_goes_and_at_the_start() -> None:
    free, halted = account(), account(halted="too wild")
    told = Notice("Halted", "No new order leaves: too wild", "critical")
    assert list(of_accounts(None, halted)) == [told]
    assert list(of_accounts(free, halted)) == [told]
    assert list(of_accounts(halted, halted)) == []
    assert [each.title for each in of_accounts(halted, free)] == ["No longer halted"]
    assert list(of_accounts(None, free)) == []


def test_a_position_that_nothing_explains_is_told_with_what_to_do() -> None:
    one, two = account(unexplained=("a.b.ib",)), account(unexplained=("a.b.ib", "c.d.ib"))
    (notice,) = of_accounts(one, two)
    assert notice.title == "ib.main (LIVE): position in c.d.ib is unexplained"
    assert "piker accept ib.main c.d.ib --note TEXT" in notice.text
    assert list(of_accounts(two, one)) == []


def test_that_emsd_can_not_work_is_critical() -> None:
    notice = of_refusal("The journal can't be used")
    assert (notice.urgency, notice.text.splitlines()[0]) == (
        "critical",
        "The journal can't be used",
    )


def test_how_an_account_was_at_the_start_is_not_told() -> None:
    assert list(of_accounts(None, account(unexplained=("a.b.ib",)))) == []


STATES = ["live", "stale", "disconnected", "closed"]
ACCOUNT = "ib.main"


def told(outages: Outages, state: str, now_s: float, detail: str = "") -> list[Notice]:
    """What is told when the market's data are so."""
    data = Component(name=MARKET, state=state, detail=detail)
    return list(outages.take_data([Component(name="ib.main", state="ready"), data], now_s))


@pytest.mark.parametrize("state", ["stale", "disconnected"])
def test_dead_data_of_a_market_with_orders_is_told_once_it_has_lasted(state: str) -> None:
    outages = Outages()
    assert told(outages, state, 100.0, "silent for 40 s") == []
    assert list(outages.judge({MARKET}, 100.0 + PATIENCE_S - 0.1)) == []
    assert outages.due_s({MARKET}) == 100.0 + PATIENCE_S
    (notice,) = outages.judge({MARKET}, 100.0 + PATIENCE_S)
    assert (notice.title, notice.urgency) == (f"No live data of {MARKET}", "critical")
    assert notice.text.startswith(f"{state}: silent for 40 s\n")
    assert (list(outages.judge({MARKET}, 1e6)), outages.due_s({MARKET})) == ([], None)


def test_that_it_lives_again_is_told_if_it_was_told_that_it_was_dead() -> None:
    outages = Outages()
    told(outages, "stale", 0.0)
    assert told(outages, "live", 1.0) == []
    told(outages, "stale", 2.0)
    assert len(list(outages.judge({MARKET}, 2.0 + PATIENCE_S))) == 1
    assert told(outages, "live", 99.0) == [Notice(f"{MARKET} is live again", "")]
    assert told(outages, "live", 99.5) == []


def test_a_market_without_orders_or_out_of_session_is_not_told() -> None:
    outages = Outages()
    told(outages, "stale", 0.0)
    assert (list(outages.judge(set(), 1e6)), outages.due_s(set())) == ([], None)
    told(outages, "closed", 0.0)
    assert (list(outages.judge({MARKET}, 1e6)), outages.due_s({MARKET})) == ([], None)


def test_stale_that_becomes_disconnected_counts_from_when_it_was_stale() -> None:
    outages = Outages()
    told(outages, "stale", 0.0)
    told(outages, "disconnected", PATIENCE_S - 1, "gone")
    (notice,) = outages.judge({MARKET}, PATIENCE_S)
    assert notice.text.startswith("disconnected: gone")


@given(lists(tuples(sampled_from(STATES), floats(0, 30)), max_size=20))
def test_dead_and_alive_are_told_in_turns(steps: list[tuple[str, float]]) -> None:
    outages, now_s, titles = Outages(), 0.0, []
    for state, pause_s in steps:
        titles += [each.title for each in told(outages, state, now_s)]
        now_s += pause_s
        titles += [each.title for each in outages.judge({MARKET}, now_s)]
    assert all("again" in title for title in titles[1::2])
    assert all(title == f"No live data of {MARKET}" for title in titles[::2])


def test_a_market_that_is_watched_anew_counts_from_then_on() -> None:
    outages = Outages()
    told(outages, "stale", 0.0)
    assert list(outages.take_data([], 1.0)) == []
    told(outages, "disconnected", 100.0)
    assert outages.due_s({MARKET}) == 100.0 + PATIENCE_S


def test_what_lost_its_orders_and_has_one_again_is_told_again() -> None:
    outages = Outages()
    told(outages, "stale", 0.0)
    assert [len(list(outages.judge(wanted, 99.0))) for wanted in ({MARKET}, (), {MARKET})] == [
        *(1, 0, 1),
    ]


def test_how_emsd_lists_an_account_says_nothing_of_it() -> None:
    outages = Outages()
    reached(outages, "unreachable", 0.0)
    for state in ("unreachable", "ready"):
        assert list(outages.take_data([Component(name=ACCOUNT, state=state)], 50.0)) == []
    assert len(list(outages.judge({ACCOUNT}, 50.0))) == 1


def reached(outages: Outages, state: str, now_s: float) -> list[Notice]:
    """What is told when the account is so."""
    (how,) = account(state=state, reason="login").accounts
    return list(outages.take_account(how, now_s))


def test_an_account_with_orders_is_told_when_it_stays_away_and_when_it_is_back() -> None:
    outages = Outages()
    assert reached(outages, "unreachable", 0.0) == []
    assert reached(outages, "reconciling", 5.0) == []
    away = Notice("ib.main (LIVE) is unreachable", "login", "critical")
    assert list(outages.judge({ACCOUNT}, PATIENCE_S)) == [away]
    assert reached(outages, "reconciling", 20.0) == []
    assert reached(outages, "ready", 20.0) == [Notice("ib.main (LIVE) is ready again", "login")]


def test_an_account_that_nobody_needs_is_not_told() -> None:
    outages = Outages()
    reached(outages, "unreachable", 0.0)
    assert list(outages.judge({MARKET}, 1e6)) == []


def test_what_is_needed_are_markets_and_accounts_of_orders_that_are_not_closed() -> None:
    open_, alert = change(LIMIT, *OPEN).life, change(ALERT, ARMED).life
    closed = change(order(account="ib.main", market="a.b.ib"), *OPEN, fill("o1")).life
    assert with_orders([open_, closed]) == {MARKET, "paper.replay"}
    assert with_orders([alert]) == {MARKET}
