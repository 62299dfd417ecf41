"""Times for people, and what is known of when an order was made or filled."""

from decimal import Decimal

import pytest
from msgspec import structs

from piker import clock
from piker.cli.times import local, made_or_filled_ns, short
from piker.core.lifecycle import replay
from piker.core.uuid7 import uuid7
from piker.orders import Armed, OrderEvent, Submitted, Triggered
from tests.fakes.scripted_emsd import FIRST_NS, fill, order

MADE_NS = FIRST_NS - 3_000_000_000
MADE = uuid7(MADE_NS // 1_000_000, bytes(10))
DAY_NS = 86_400 * 1_000_000_000
DARK = {"kind": "dark", "trigger": Decimal(1)}


def made_or_filled(oid: str, *events: OrderEvent, **fields: object) -> int | None:
    """When, of an order to which this happened."""
    return made_or_filled_ns(replay([Submitted(order=order(oid, **fields)), *events]))


def test_what_is_of_today_is_a_time_and_all_else_a_date() -> None:
    now_ns = clock.wall_ns()
    assert short(now_ns) == local(now_ns)
    assert len(short(now_ns - 3 * DAY_NS)) == len("2027-01-15")
    assert short(None) == "-"


def test_an_order_was_made_when_its_oid_says() -> None:
    assert made_or_filled(MADE) == MADE_NS


@pytest.mark.parametrize("oid", ["mine", MADE[:-1], MADE[:14] + "4" + MADE[15:], "x" + MADE[1:]])
def test_an_oid_that_is_no_uuid7_says_nothing(oid: str) -> None:
    assert made_or_filled(oid) is None


def test_what_was_filled_or_triggered_later_counts() -> None:
    armed = Armed(when="above", since_ns=FIRST_NS - 1)
    triggered = Triggered(price=Decimal(1), time_ns=FIRST_NS)
    corrected = structs.replace(fill(MADE).execution, time_ns=MADE_NS + 5)
    assert made_or_filled(MADE, structs.replace(fill(MADE), execution=corrected)) == MADE_NS + 5
    assert made_or_filled(MADE, armed, triggered, **DARK) == FIRST_NS


def test_when_it_was_armed_is_for_want_of_better() -> None:
    armed = Armed(when="above", since_ns=FIRST_NS)
    assert made_or_filled("mine", armed, **DARK) == FIRST_NS
    assert made_or_filled(MADE, armed, **DARK) == MADE_NS
