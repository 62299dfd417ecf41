"""Executions that are told after all: what is held stays, and what stood in for them goes."""

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from piker.accounts import Adjustment, Entry, Position
from piker.core.imports import MADE_UP, StandIns, signed
from piker.core.positions import MarketLedger, position_of
from piker.orders import Execution

ACCOUNT, MARKET = "ib.main", "aapl.nasdaq.ib"
FLAT = Position(account=ACCOUNT, market=MARKET, currency="USD", multiplier=Decimal(1))


def a_fill(time_ns: int, size: int, price: int = 10, revision: int = 0) -> Execution:
    """An execution; less than nothing was sold."""
    return Execution(
        exec_id=f"e{time_ns}",
        revision=revision,
        oid="",
        venue_id="v",
        account=ACCOUNT,
        market=MARKET,
        side="buy" if size > 0 else "sell",
        size=Decimal(abs(size)),
        price=Decimal(price),
        fee=Decimal(1),
        fee_currency="USD",
        time_ns=time_ns,
    )


def an_adjustment(kind: Any, size: int, time_ns: int, price: int | None = None) -> Adjustment:
    """As a look enters it."""
    at = "" if kind == "opening" else f":{time_ns}"
    return Adjustment(
        adjustment_id=f"{kind}:{MARKET}{at}",
        account=ACCOUNT,
        market=MARKET,
        kind=kind,
        size=Decimal(size),
        price=None if price is None else Decimal(price),
        source="a look",
        time_ns=time_ns,
    )


class House:
    """A ledger, looks at a venue, and imports; the account was first looked at at 100."""

    def __init__(self, *entries: Entry, opened_ns: int = 100, looked_ns: int = 100) -> None:
        self.ledger = MarketLedger(FLAT)
        self.first: Adjustment | None = None
        self.opened_ns = opened_ns
        self.looked_ns = looked_ns
        for entry in entries:
            self.add(entry)

    def add(self, entry: Entry) -> None:
        if isinstance(entry, Adjustment) and entry.kind == "opening":
            self.first = self.first or entry
        self.ledger.add(entry)

    def look(self, time_ns: int, held: Decimal) -> None:
        """The venue says what is held: what is more is entered, as reconciliation does."""
        first = not self.looked_ns or time_ns <= self.opened_ns
        self.looked_ns = time_ns
        more = int(held - self.ledger.position().size)
        if more:
            self.add(an_adjustment("opening" if first else "unexplained", more, time_ns))

    def take(self, *told: Execution) -> tuple[Adjustment, ...]:
        """Import what isn't known."""
        new = [each for each in told if not self.ledger.has(each)]
        entries = self.ledger.entries()
        times = self.opened_ns, self.looked_ns
        changed = StandIns(ACCOUNT, MARKET, entries, self.first, *times).after(new)
        for adjustment in changed:
            self.add(adjustment)
        for execution in new:
            self.add(execution)
        return changed

    @property
    def position(self) -> Position:
        return self.ledger.position()


# --- one by one


def test_what_was_done_before_the_first_look_takes_from_the_opening() -> None:
    house = House(an_adjustment("opening", 10, 100, price=50))
    (rest,) = house.take(a_fill(20, 4, price=60))
    assert (rest.size, rest.price, rest.time_ns, rest.revision) == (Decimal(6), Decimal(50), 19, 1)
    assert (house.position.size, house.position.average_price) == (Decimal(10), Decimal(54))


def test_when_all_is_told_cost_and_profit_are_the_true_ones() -> None:
    house = House(an_adjustment("opening", 10, 100, price=50))
    told = a_fill(20, 15, price=60), a_fill(30, -5, price=62)
    house.take(*told)
    assert house.position == position_of(FLAT, told)


def test_of_the_other_side_nobody_knows_the_price() -> None:
    house = House(an_adjustment("opening", 10, 100, price=50))
    (rest,) = house.take(a_fill(20, 15, price=60))
    assert (rest.size, rest.price) == (Decimal(-5), None)
    assert (house.position.size, house.position.realised) == (Decimal(10), Decimal(0))


def test_back_on_its_side_it_has_the_price_that_the_venue_gave() -> None:
    house = House(an_adjustment("opening", 10, 100, price=50))
    house.take(a_fill(20, 15, price=60))
    (rest,) = house.take(a_fill(30, -6, price=60))
    assert (rest.size, rest.price, rest.revision) == (Decimal(1), Decimal(50), 2)


def test_there_may_come_to_be_an_opening_of_less_than_nothing() -> None:
    house = House()
    (made_up,) = house.take(a_fill(20, 4))
    assert (made_up.kind, made_up.size, made_up.source) == ("opening", Decimal(-4), MADE_UP)
    assert house.position.size == 0
    assert house.take(a_fill(30, -4))[0].size == 0


def test_what_a_later_look_found_is_explained_by_what_was_done_before_it() -> None:
    house = House(an_adjustment("opening", 10, 100), an_adjustment("unexplained", 3, 200))
    (rest,) = house.take(a_fill(150, 3))
    assert (rest.kind, rest.size, rest.time_ns) == ("unexplained", Decimal(0), 200)
    assert house.position.size == 13


def test_where_no_look_found_anything_what_is_missing_comes_to_nothing() -> None:
    house = House(an_adjustment("opening", 10, 100, price=50), looked_ns=300)
    assert [each.size for each in house.take(a_fill(150, 3))] == [-3]
    assert [each.size for each in house.take(a_fill(160, -3))] == [0]
    assert house.position.size == 10


def test_what_makes_up_for_it_is_found_again_when_a_later_look_has_found_more() -> None:
    house = House(looked_ns=300)
    house.take(a_fill(150, 3))
    house.look(400, held=Decimal(2))
    house.take(a_fill(160, -3))
    house.take(a_fill(350, 2))
    assert not any(each.size for each in house.ledger.entries() if isinstance(each, Adjustment))


def test_a_correction_takes_only_what_it_adds() -> None:
    house = House(an_adjustment("opening", 10, 100), a_fill(50, 4))
    (rest,) = house.take(a_fill(50, 1, revision=3))
    assert rest.size == 13
    assert house.position.size == 14


def test_a_corrected_price_leaves_what_stood_in() -> None:
    house = House(a_fill(50, 4))
    assert house.take(a_fill(50, 4, price=11, revision=3)) == ()


# --- whatever is told

HISTORY = st.lists(
    st.tuples(st.sampled_from([1, -1, 2, -2]), st.integers(1, 50), st.booleans()), max_size=12
)


@given(HISTORY, st.data())
def test_any_part_of_a_history_told_live_and_the_rest_in_any_order(
    history: list[tuple[int, int, bool]], data: st.DataObject
) -> None:
    """Executions at 10, 20, …; looks in between, which are each followed by an import."""
    fills = [a_fill(10 * at, size, price) for at, (size, price, _) in enumerate(history, 1)]
    live = {each.exec_id for each, (*_, told) in zip(fills, history, strict=True) if told}
    ends = [0, *(each.time_ns for each in fills)]
    looks = sorted({end + 5 for end in data.draw(st.lists(st.sampled_from(ends)))} | {ends[-1] + 5})
    house = House(opened_ns=looks[0], looked_ns=0)
    for before, look in zip([0, *looks], looks, strict=False):
        for fill in fills:
            if fill.exec_id in live and before < fill.time_ns < look:
                house.ledger.add(fill)
        done = [each for each in fills if each.time_ns < look]
        held = sum((signed(each) for each in done), Decimal(0))
        house.look(look, held)
        house.take(*data.draw(some_of(done)))
        assert house.position.size == held
    for batch in data.draw(batches_of(fills)):
        house.take(*batch)
        assert house.position.size == sum(map(signed, fills), Decimal(0))
    entries = house.ledger.entries()
    assert [each for each in entries if isinstance(each, Execution)] == fills
    assert not any(each.size for each in entries if isinstance(each, Adjustment))
    assert house.position == position_of(FLAT, fills)


def some_of(fills: Sequence[Execution]) -> st.SearchStrategy[list[Execution]]:
    """Any of them, in any order, each once."""
    if not fills:
        return st.just([])
    return st.lists(st.sampled_from(fills), unique_by=lambda each: each.exec_id)


def batches_of(fills: Sequence[Execution]) -> st.SearchStrategy[list[list[Execution]]]:
    """Parts that overlap, and at last all of them, shuffled."""
    return st.builds(
        lambda some, last: [*some, last], st.lists(some_of(fills)), st.permutations(fills)
    )


def test_an_opening_keeps_its_time_before_all_that_is_told_whatever_the_order() -> None:
    orders = [(20, 30), (30, 20)]
    times = []
    for order in orders:
        house = House(an_adjustment("opening", 10, 100))
        for time_ns in order:
            (rest,) = house.take(a_fill(time_ns, 1))
        times.append(structs.replace(rest, revision=0))
    assert times[0] == times[1]
