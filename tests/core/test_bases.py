"""How much of a ledger may be summed for good."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from piker.accounts import Entry, Position
from piker.core.bases import settled
from piker.core.positions import MarketLedger
from piker.orders import Execution, Side

FLAT = Position(account="sim.main", market="a.b.sim", currency="USD", multiplier=Decimal(3))


def fill(exec_id: str, time_ns: int, revision: int = 0, side: Side = "buy") -> Execution:
    """A fill whose price says when it was."""
    return Execution(
        exec_id=exec_id,
        revision=revision,
        oid="",
        venue_id="v",
        account=FLAT.account,
        market=FLAT.market,
        side=side,
        size=Decimal(revision + 1),
        price=Decimal(time_ns + 1),
        fee=Decimal("0.1"),
        fee_currency="USD",
        time_ns=time_ns,
    )


@pytest.mark.parametrize(
    ("entries", "count"),
    [
        ([], 0),
        ([fill("a", 1), fill("b", 2)], 2),
        ([fill("a", 1), fill("b", 10)], 1),
        ([fill("a", 10), fill("b", 1)], 0),
        ([fill("a", 1), fill("b", 3), fill("c", 2)], 3),
        ([fill("a", 1), fill("b", 3), fill("c", 2), fill("d", 20)], 3),
        ([fill("a", 1), fill("b", 3), fill("c", 20), fill("d", 2)], 1),
        ([fill("a", 1), fill("b", 2), fill("c", 20), fill("d", 2)], 1),
        ([fill("a", 1), fill("b", 2), fill("a", 20, revision=1)], 0),
        ([fill("a", 1), fill("b", 2), fill("b", 20, revision=1)], 1),
        ([fill("a", 1), fill("a", 2, revision=1), fill("b", 20)], 2),
    ],
)
def test_what_is_older_than_all_that_follows_and_never_corrected_is_settled(
    entries: list[Entry], count: int
) -> None:
    assert settled(entries, until_ns=10) == count


made = st.builds(
    fill,
    st.sampled_from("abcdefgh"),
    st.integers(0, 20),
    st.integers(0, 2),
    st.sampled_from(["buy", "sell"]),
)


@given(st.lists(made, unique_by=lambda each: (each.exec_id, each.revision)), st.integers(0, 25))
def test_a_sum_of_what_is_settled_and_the_rest_is_the_sum_of_all(
    entries: list[Execution], until_ns: int
) -> None:
    count = settled(entries, until_ns)
    base = summed(FLAT, entries[:count])
    assert summed(base, entries[count:]) == summed(FLAT, entries)


def summed(base: Position, entries: list[Execution]) -> Position:
    ledger = MarketLedger(base)
    for entry in entries:
        ledger.add(entry)
    return ledger.position()
