"""What a person is told when emsd refuses: the value, what is allowed, what to do next."""

import time
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest

from piker.errors import say
from piker.interfaces.orders import (
    Amend,
    Cancel,
    Done,
    Flatten,
    Halt,
    Ledger,
    OrderReply,
    Resolve,
)
from tests.fakes.tradinghouse import a_house, alert, configure, dark, flowing_time, order
from tests.fakes.venue import EURUSD, GBPUSD

__all__ = ["flowing_time"]
pytestmark = pytest.mark.usefixtures("flowing_time")

FQME = EURUSD.fqme
D = Decimal

REFUSED: dict[str, tuple[Any, str]] = {
    "size": (
        order(size=D("0.5")),
        "The order is not valid as it is (field: size, value: 0.5, allowed: a multiple of 1, as 1)",
    ),
    "expiry": (
        order(expires_ns=1_700_000_000 * 10**9),
        "(field: expires_ns, value: 2023-11-14 22:13:20 UTC, allowed: a time to come, before 2262)",
    ),
    "late expiry": (
        order(expires_ns=10**30),
        f"value: {10**30} ns since 1970, allowed: a time to come, before 2262)",
    ),
    "alert": (
        alert(tif="ioc"),
        "(field: tif, value: ioc, allowed: day or gtc, it waits for its trigger)",
    ),
    "distance": (
        order(limit=D("1.5")),
        (
            "Risk doesn't let it pass (limit: distance_pct, value: 1.5 against a quote of 1.3, "
            "allowed: 10 %, at most 1.43, by default; to change it, set distance_pct in [risk] or "
            f'in [risk.markets."{FQME}"] of piker.toml, and restart emsd)'
        ),
    ),
    "account": (
        order(account="nobody"),
        "There is no such account here (account: nobody, allowed: paper.fake)",
    ),
    "real money": (
        order(account="fake.main"),
        (
            "The account trades real money and piker.toml didn't say that it may when emsd began "
            '(account: fake.main, expected: [accounts."fake.main"] live = true)'
        ),
    ),
    "nothing held": (
        order(side="sell", reduce_only=True),
        (
            "Risk doesn't let it pass (limit: reduce_only, value: 3, allowed: 0, nothing is held "
            f"of {FQME} to reduce)"
        ),
    ),
    "direction": (
        dark(market=GBPUSD.fqme),
        (
            "Nothing was quoted yet that says which way its trigger is crossed (market: "
            f"{GBPUSD.fqme}, expected: --when above or below, or"
        ),
    ),
    "unknown order": (Cancel(oid="x"), "There is no such order (oid: x)"),
    "ledger": (Ledger(limit=5000), "limit: expected 1 to 1000, was 5000"),
    "flatten": (
        Flatten(account="fake.other"),
        "There is no such account here (account: fake.other)",
    ),
}


@pytest.mark.usefixtures("_in_utc")
@pytest.mark.parametrize("what", REFUSED)
async def test_a_refusal_is_a_line_that_a_person_can_act_on(what: str) -> None:
    asked, line = REFUSED[what]
    async with a_house() as house:
        assert line in say(await house.refusal(asked))


@pytest.fixture
def _in_utc(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with monkeypatch.context() as patch:
        patch.setenv("TZ", "UTC")
        time.tzset()
        yield
    time.tzset()


OVER: dict[str, Any] = {
    "cancel": Cancel(oid="d-1"),
    "resolve": Resolve(oid="d-1", outcome="filled", note="seen"),
}


@pytest.mark.parametrize("what", OVER)
async def test_what_is_over_says_so_whatever_is_asked_of_it(what: str) -> None:
    async with a_house() as house:
        await house.submit(dark())
        await house.ask(Cancel(oid="d-1"), OrderReply)
        said = say(await house.refusal(OVER[what]))
    assert said.endswith("(oid: d-1, state: cancelled, reason: it is over: cancelled)")


async def test_what_is_open_says_that_it_has_no_trigger_and_nothing_to_resolve() -> None:
    async with a_house() as house:
        await house.submit(order())
        await house.until("o-1", "open")
        amend = say(await house.refusal(Amend(oid="o-1", trigger=D("1.3"))))
        resolve = say(await house.refusal(Resolve(oid="o-1", outcome="filled", note="seen")))
    assert "reason: only what is held waits for a trigger, this one is open" in amend
    assert "reason: nothing of it is in doubt: only what is UNKNOWN can be resolved" in resolve


async def test_a_halt_says_since_when_and_how_it_ends() -> None:
    async with a_house() as house:
        await house.ask(Halt(reason="lunch"), Done)
        said = say(await house.refusal(order()))
    assert said.startswith("No new order leaves until `piker resume` (reason: lunch, since: 2027-")


RISK = "order_notional = 2\n"
SECTIONS = {
    "[risk]": f"[risk]\n{RISK}",
    f'[risk.markets."{FQME}"]': f'[risk]\n{RISK}[risk.markets."{FQME}"]\n{RISK}',
    '[accounts."paper.fake".risk]': (
        f'[risk.markets."{FQME}"]\n{RISK}[accounts."paper.fake".risk]\n{RISK}'
    ),
    f'[accounts."paper.fake".risk.markets."{FQME}"]': (
        f'[accounts."paper.fake".risk]\n{RISK}[accounts."paper.fake".risk.markets."{FQME}"]\n{RISK}'
    ),
}


@pytest.mark.parametrize("section", SECTIONS)
async def test_a_limit_that_is_set_says_where_and_in_what_currency(section: str) -> None:
    configure(SECTIONS[section])
    async with a_house() as house:
        said = say(await house.refusal(order()))
    assert said == (
        "Risk doesn't let it pass (limit: order_notional, value: 3.6 USD (3 at 1.2), allowed: "
        f"2 USD, as set by {section} order_notional in piker.toml)"
    )


async def test_a_default_limit_that_is_no_markets_own_says_where_it_is_changed() -> None:
    async with a_house() as house:
        for number in range(10):
            await house.submit(dark(f"d-{number}"))
        said = say(await house.refusal(dark("d-10")))
    assert said.endswith(
        "(limit: orders_per_s, value: 11, allowed: 10, by default; to change it, set orders_per_s "
        "in [risk] of piker.toml, and restart emsd)"
    )
