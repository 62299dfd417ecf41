"""A position is the sum of its ledger's entries, in whatever order they came."""

from collections.abc import Iterable, Sequence
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import json, structs

from piker.accounts import Adjustment, AdjustmentKind, Entry, Fees, Position
from piker.core.positions import SPAN, MarketLedger, open_profit, position_of
from piker.orders import Execution, Side

D = Decimal
MARKET = "a.b.sim"


def flat(multiplier: str = "1", market: str = MARKET) -> Position:
    return Position(account="sim.main", market=market, currency="USD", multiplier=D(multiplier))


def fill(number: int, side: Side, size: str, price: str, **changed: Any) -> Execution:
    """An execution whose number is its id and its time, where nothing else is said."""
    execution = Execution(
        exec_id=str(number),
        oid="",
        venue_id="",
        account="sim.main",
        market=MARKET,
        side=side,
        size=D(size),
        price=D(price),
        fee=D(0),
        fee_currency="USD",
        time_ns=number,
    )
    return structs.replace(execution, **changed)


def adjusted(number: int, kind: AdjustmentKind, size: str, price: str | None = None) -> Adjustment:
    """An adjustment whose number is its id and its time."""
    return Adjustment(
        adjustment_id=str(number),
        account="sim.main",
        market=MARKET,
        kind=kind,
        size=D(size),
        price=None if price is None else D(price),
        time_ns=number,
    )


def after(*entries: Entry, multiplier: str = "1") -> Position:
    return position_of(flat(multiplier), entries)


def held(*entries: Entry, multiplier: str = "1") -> tuple[Decimal, Decimal | None, Decimal]:
    """Size, average price and realised profit."""
    position = after(*entries, multiplier=multiplier)
    return position.size, position.average_price, position.realised


def ledger_of(entries: Iterable[Entry], multiplier: str = "1") -> MarketLedger:
    ledger = MarketLedger(flat(multiplier))
    for entry in entries:
        ledger.add(entry)
    return ledger


# Bought and added to, closed in part, turned to short, closed: one step an entry.
ROUND_TRIP = [
    fill(1, "buy", "100", "10.00"),
    fill(2, "buy", "50", "10.60"),
    fill(3, "sell", "60", "11.00"),
    fill(4, "sell", "120", "10.50"),
    fill(5, "buy", "30", "10.10"),
]


@pytest.mark.parametrize(
    ("steps", "size", "average_price", "realised"),
    [
        (0, "0", None, "0"),
        # 100 * 10.00 = 1000 paid.
        (1, "100", "10", "0"),
        # 1000 + 50 * 10.60 = 1530 paid for 150: 1530 / 150 = 10.20 each.
        (2, "150", "10.20", "0"),
        # 60 of them sold: 60 * (11.00 - 10.20) = 48. The other 90 still cost 10.20 each.
        (3, "90", "10.20", "48"),
        # The 90 sold: 90 * (10.50 - 10.20) = 27, 48 + 27 = 75. 120 - 90 = 30 sold short at 10.50.
        (4, "-30", "10.50", "75"),
        # Bought back: 30 * (10.50 - 10.10) = 12, 75 + 12 = 87.
        (5, "0", None, "87"),
    ],
)
def test_a_position_is_opened_added_to_closed_in_part_turned_and_closed(
    steps: int, size: str, average_price: str | None, realised: str
) -> None:
    expected = D(size), None if average_price is None else D(average_price), D(realised)
    assert held(*ROUND_TRIP[:steps]) == expected


def test_the_cash_of_a_closed_round_trip_is_its_profit() -> None:
    # -100 * 10.00 - 50 * 10.60 + 60 * 11.00 + 120 * 10.50 - 30 * 10.10
    # = -1000 - 530 + 660 + 1260 - 303 = 87
    assert after(*ROUND_TRIP).cash_flow == D("87")


def test_a_future_earns_by_its_multiplier() -> None:
    position = after(
        fill(1, "buy", "2", "3945.6"), fill(2, "sell", "1", "3946.2"), multiplier="300"
    )
    # Three ticks of 0.2: 0.6 * 300 = 180 for the one sold.
    assert position.realised == D("180")
    # The other one is held at a price, not at a price times 300.
    assert (position.size, position.average_price) == (D("1"), D("3945.6"))
    # One tick down: -0.2 * 300 = -60.
    assert open_profit(position, D("3945.4")) == D("-60")
    # -2 * 3945.6 * 300 + 1 * 3946.2 * 300 = -2367360 + 1183860 = -1183500
    assert position.cash_flow == D("-1183500")


def test_a_short_future_earns_when_the_price_falls() -> None:
    position = after(fill(1, "sell", "3", "3950.0"), multiplier="300")
    # 3 * (3950.0 - 3949.8) * 300 = 180
    assert open_profit(position, D("3949.8")) == D("180")


def test_a_corrected_execution_changes_what_came_of_it_since() -> None:
    entries = [
        fill(1, "buy", "10", "100"),
        fill(2, "sell", "4", "110"),
        fill(3, "buy", "6", "104"),
    ]
    # 4 * (110 - 100) = 40. 6 left at 100 and 6 at 104: (600 + 624) / 12 = 102.
    assert held(*entries) == (D("12"), D("102"), D("40"))
    corrected = fill(1, "buy", "10", "101", revision=1)
    # 4 * (110 - 101) = 36. 6 left at 101 and 6 at 104: (606 + 624) / 12 = 102.5.
    assert held(*entries, corrected) == (D("12"), D("102.5"), D("36"))


def test_an_execution_taken_back_leaves_what_was_without_it() -> None:
    taken_back = fill(1, "buy", "0", "100", revision=1)
    # Only the 4 sold short at 110 are left.
    assert held(fill(1, "buy", "10", "100"), fill(2, "sell", "4", "110"), taken_back) == (
        D("-4"),
        D("110"),
        D("0"),
    )


def test_an_earlier_revision_that_comes_late_changes_nothing() -> None:
    ledger = ledger_of([fill(1, "buy", "10", "101", revision=2)])
    assert not ledger.add(fill(1, "buy", "10", "100", revision=1))
    assert ledger.position().average_price == D("101")


def test_a_corrected_time_moves_an_execution() -> None:
    # Sold after the purchase: 5 * (12 - 10) = 10. In truth before it: 5 sold short at 12, of
    # which the purchase closes 5 * (12 - 10) = 10 and opens 5 at 10. Then 5 at 13 make 11.5.
    entries = [fill(2, "buy", "10", "10"), fill(3, "sell", "5", "12"), fill(4, "buy", "5", "13")]
    moved = fill(3, "sell", "5", "12", revision=1, time_ns=1)
    assert held(*entries) == held(*entries, moved) == (D("10"), D("11.5"), D("10"))
    # Moved behind all: of 15 at (100 + 65) / 15 = 11, 5 are sold at 12.
    last = fill(3, "sell", "5", "12", revision=2, time_ns=5)
    assert held(*entries, moved, last) == (D("10"), D("11"), D("5"))


def test_entries_of_the_same_time_count_in_the_order_of_their_arrival() -> None:
    bought = fill(1, "buy", "10", "10", time_ns=7)
    more = fill(2, "buy", "10", "12", time_ns=7)
    sold = fill(3, "sell", "10", "14", time_ns=7)
    # Of 20 at 11, or of 10 at 10.
    assert held(bought, more, sold) == (D("10"), D("11"), D("30"))
    assert held(bought, sold, more) == (D("10"), D("12"), D("40"))


def test_an_opening_position_with_a_price_is_held_at_it() -> None:
    entries = adjusted(1, "opening", "-20", "50"), fill(2, "buy", "5", "48")
    # 5 * (50 - 48) = 10
    assert held(*entries) == (D("-15"), D("50"), D("10"))


def test_an_opening_position_without_a_price_earns_nothing() -> None:
    position = after(adjusted(1, "opening", "20"))
    assert (position.size, position.unpriced, position.average_price) == (D("20"), D("20"), None)
    assert open_profit(position, D("1000")) == position.cash_flow == D("0")


def test_what_has_no_price_leaves_first_and_earns_nothing() -> None:
    opening, added = adjusted(1, "opening", "20"), fill(2, "buy", "10", "30")
    position = after(opening, added, fill(3, "sell", "15", "40"))
    assert (position.size, position.unpriced, position.realised) == (D("15"), D("5"), D("0"))
    # Sold 18 more: the 5 unpriced, the 10 bought at 30, and 3 short at 40: 10 * (40 - 30) = 100.
    position = after(opening, added, fill(3, "sell", "33", "40"))
    assert (position.size, position.unpriced) == (D("-3"), D("0"))
    assert (position.average_price, position.realised) == (D("40"), D("100"))


def test_what_is_gone_unexplained_leaves_at_the_average_price() -> None:
    entries = fill(1, "buy", "10", "30"), adjusted(2, "unexplained", "-4")
    assert held(*entries) == (D("6"), D("30"), D("0"))
    # 6 * (35 - 30) = 30
    assert held(*entries, fill(3, "sell", "6", "35")) == (D("0"), None, D("30"))


def test_what_is_gone_unexplained_beyond_zero_is_short_and_unpriced() -> None:
    position = after(fill(1, "buy", "10", "30"), adjusted(2, "unexplained", "-14"))
    assert (position.size, position.unpriced, position.realised) == (D("-4"), D("-4"), D("0"))


def test_an_adjustment_with_a_price_trades_like_an_execution() -> None:
    entries = fill(1, "buy", "10", "30"), adjusted(2, "unexplained", "-10", "33")
    # 10 * (33 - 30) = 30
    assert held(*entries) == (D("0"), None, D("30"))


@pytest.mark.parametrize(
    ("change", "size", "average_price"),
    [
        # Two for one: 100 more, 100 * 30 = 3000 spread over 200.
        ("100", "200", "15"),
        # One for four: 75 less, 3000 over 25.
        ("-75", "25", "120"),
    ],
)
def test_a_split_spreads_the_cost_over_the_new_size(
    change: str, size: str, average_price: str
) -> None:
    position = after(fill(1, "buy", "100", "30"), adjusted(2, "corporate", change))
    assert (position.size, position.average_price) == (D(size), D(average_price))
    assert (position.realised, open_profit(position, D(average_price))) == (D("0"), D("0"))


def test_a_split_of_a_short_position_makes_it_more_short() -> None:
    entries = fill(1, "sell", "100", "30"), adjusted(2, "corporate", "-100")
    assert held(*entries) == (D("-200"), D("15"), D("0"))


def test_a_split_keeps_the_part_that_has_no_price() -> None:
    position = after(
        adjusted(1, "opening", "30"), fill(2, "buy", "10", "8"), adjusted(3, "corporate", "40")
    )
    # 40 become 80: of these 60 unpriced, and 20 that cost 80.
    assert (position.size, position.unpriced) == (D("80"), D("60"))
    assert position.average_price == D("4")


def test_a_conversion_into_another_market_leaves_at_the_average_price() -> None:
    entries = fill(1, "buy", "100", "30"), adjusted(2, "corporate", "-100")
    assert held(*entries) == (D("0"), None, D("0"))


def test_a_price_of_zero_is_a_price() -> None:
    # Expired worthless: 3 * (0 - 2.5) * 100 = -750.
    entries = fill(1, "buy", "3", "2.5"), adjusted(2, "corporate", "-3", "0")
    assert held(*entries, multiplier="100") == (D("0"), None, D("-750"))


def test_a_price_may_be_below_zero() -> None:
    # 2 * (-37.63 - -40.00) * 1000 = 4740
    entries = fill(1, "buy", "2", "-40.00"), fill(2, "sell", "2", "-37.63")
    assert held(*entries, multiplier="1000") == (D("0"), None, D("4740"))


def test_fees_are_apart_and_summed_by_currency() -> None:
    position = after(
        fill(1, "buy", "1", "100", fee=D("0.85"), fee_currency="USD"),
        fill(2, "sell", "1", "101", fee=D("-0.20"), fee_currency="USD"),
        fill(3, "buy", "1", "99", fee=D("0.0001"), fee_currency="BNB"),
        fill(4, "sell", "1", "99", fee=D("0"), fee_currency="EUR"),
    )
    assert position.fees == (Fees("BNB", D("0.0001")), Fees("USD", D("0.65")))
    assert position.realised == position.cash_flow == D("1")


def test_a_corrected_fee_replaces_the_fee() -> None:
    told = fill(1, "buy", "1", "100")
    assert after(told, structs.replace(told, revision=1, fee=D("0.85"))).fees == (
        Fees("USD", D("0.85")),
    )


def test_an_average_that_does_not_end_is_rounded_but_no_profit_is_lost() -> None:
    entries = fill(1, "buy", "3", "0.1"), fill(2, "buy", "4", "0.2"), fill(3, "sell", "2", "0.3")
    position = after(*entries)
    # 1.1 / 7
    assert position.average_price == D("0.1571428571428571428571428571")
    # 0.3 + 0.8 = 1.1 paid, 2 * 0.3 = 0.6 received, 5 * 0.3 = 1.5 held: 1.5 + 0.6 - 1.1 = 1
    assert position.realised + open_profit(position, D("0.3")) == D("1")
    assert after(*entries, fill(4, "sell", "5", "0.3")).realised == D("1")


def test_digits_beyond_the_usual_precision_count() -> None:
    size, price = "1234567.890123456789012345", "98765.432109876543"
    position = after(fill(1, "buy", size, price), fill(2, "sell", size, price))
    assert (position.realised, position.size) == (D("0"), D("0"))


def test_numbers_are_written_without_trailing_zeros_or_an_exponent() -> None:
    position = after(fill(1, "buy", "300", "10.50"), fill(2, "sell", "100", "11.50"))
    assert (str(position.size), str(position.average_price)) == ("200", "10.5")
    assert (str(position.realised), str(position.cash_flow)) == ("100", "-2000")


@pytest.mark.parametrize(
    ("entry", "error"),
    [
        (fill(1, "buy", "NaN", "1"), "size of execution 1 .* was NaN"),
        (fill(1, "buy", "sNaN", "1"), "size of execution 1 .* was sNaN"),
        (fill(1, "buy", "-1", "1"), "size of execution 1 of 0 or more, was -1"),
        (fill(1, "buy", "1", "Infinity"), "price of execution 1 .* was Infinity"),
        (fill(1, "buy", "1E+20", "1"), "size of execution 1 below 1E.20 .* was 1E.20"),
        (fill(1, "buy", "1", "1E-31"), "price of execution 1 .* steps of 1E-30, was 1E-31"),
        (fill(1, "buy", "1", "1", fee=D("NaN")), "fee of execution 1 .* was NaN"),
        (adjusted(1, "opening", "NaN"), "size of adjustment 1 .* was NaN"),
        (adjusted(1, "opening", "1", "NaN"), "price of adjustment 1 .* was NaN"),
        (fill(1, "buy", "1", "1", market="c.d.sim"), "entry of a.b.sim, was of c.d.sim"),
    ],
)
def test_an_entry_that_cannot_be_summed_is_refused_by_name(entry: Entry, error: str) -> None:
    ledger = MarketLedger(flat())
    with pytest.raises(ValueError, match=error):
        ledger.add(entry)
    with pytest.raises(ValueError, match=error):
        after(entry)
    assert ledger.position() == flat()


def test_the_same_revision_with_another_content_is_refused() -> None:
    ledger = ledger_of([fill(1, "buy", "1", "100")])
    with pytest.raises(ValueError, match=r"expected .*'100'.* again, was .*'101'"):
        ledger.add(fill(1, "buy", "1", "101"))
    assert ledger.position() == after(fill(1, "buy", "1", "100"))


@pytest.mark.parametrize("multiplier", ["0", "-1", "NaN"])
def test_a_multiplier_is_above_zero(multiplier: str) -> None:
    with pytest.raises(ValueError, match=f"multiplier .*was {multiplier}"):
        position_of(flat(multiplier), [])


def test_an_open_profit_needs_a_price_that_is_a_number() -> None:
    with pytest.raises(ValueError, match=r"expected a price .* was NaN"):
        open_profit(after(fill(1, "buy", "1", "100")), D("NaN"))


def test_an_execution_and_an_adjustment_may_have_the_same_id() -> None:
    assert after(fill(1, "buy", "1", "100"), adjusted(1, "opening", "1", "100")).size == D("2")


@pytest.mark.parametrize(
    "late",
    [
        fill(SPAN + 7, "sell", "9", "1", exec_id="late"),
        fill(SPAN + 7, "sell", "9", "1", revision=1),
        fill(7, "sell", "9", "1", revision=1, time_ns=3 * SPAN),
        fill(2 * SPAN + 7, "sell", "9", "1", revision=1, time_ns=7),
    ],
    ids=["new", "corrected", "moved_to_the_end", "moved_back"],
)
def test_a_change_far_back_is_summed_in_its_place(late: Execution) -> None:
    fills = [fill(number, "buy", "1", str(number)) for number in range(3 * SPAN)]
    ledger = ledger_of(fills)
    before = ledger.position()
    assert ledger.add(late)
    assert ledger.position() == position_of(flat(), [*fills, late]) != before


sizes = st.decimals("0.001", "1000", places=3)
prices = st.decimals("-100", "100000", places=5)
multipliers = st.sampled_from(["1", "300", "0.1", "12.5"])
times = st.integers(0, 1_000_000)
kinds = st.sampled_from(("opening", "corporate", "unexplained"))
sides = st.sampled_from(("buy", "sell"))
executions = st.builds(
    fill,
    times,
    sides,
    sizes.map(str),
    prices.map(str),
    fee=st.decimals("-1", "1", places=4),
    fee_currency=st.sampled_from(["USD", "BNB"]),
)
adjustments = st.builds(
    adjusted,
    times,
    kinds,
    st.decimals("-1000", "1000", places=3).map(str),
    st.none() | prices.map(str),
)
# Each time is in it once, so that no order but that of time can matter.
ledgers = st.lists(executions | adjustments, max_size=15, unique_by=lambda entry: entry.time_ns)
fills_only = st.lists(executions, max_size=15, unique_by=lambda entry: entry.time_ns)


@given(entries=ledgers, data=st.data())
def test_any_order_and_repetition_of_entries_gives_the_same(
    entries: list[Entry], data: st.DataObject
) -> None:
    in_order = sorted(entries, key=lambda entry: entry.time_ns)
    repeated = st.lists(st.sampled_from(entries), max_size=10) if entries else st.just([])
    shuffled = data.draw(st.permutations(entries + data.draw(repeated)))
    assert ledger_of(shuffled).position() == position_of(flat(), in_order)
    assert position_of(flat(), shuffled) == position_of(flat(), in_order)


@given(entries=ledgers, data=st.data())
def test_any_order_of_revisions_gives_the_last_ones(
    entries: list[Entry], data: st.DataObject
) -> None:
    corrections = [
        structs.replace(entry, revision=1, size=data.draw(sizes | st.just(D(0))))
        for entry in entries
        if isinstance(entry, Execution) and data.draw(st.booleans())
    ]
    corrected = {each.time_ns for each in corrections}
    newest = [*corrections, *(each for each in entries if each.time_ns not in corrected)]
    shuffled = data.draw(st.permutations([*entries, *corrections]))
    assert ledger_of(shuffled).position() == position_of(flat(), newest)


few = st.integers(0, 5)


def numbered(entry: Entry, index: int, name: int, revisions: Sequence[int]) -> dict[str, Any]:
    """Revisions of a few executions, and adjustments that are each another."""
    if isinstance(entry, Execution):
        return {"exec_id": str(name), "revision": revisions[index]}
    return {"adjustment_id": str(index)}


@given(entries=st.lists(executions | adjustments, max_size=15), data=st.data())
def test_a_ledger_read_after_each_entry_agrees_with_one_summed_from_scratch(
    entries: list[Entry], data: st.DataObject
) -> None:
    revisions = data.draw(st.permutations(range(len(entries))))
    for index, entry in enumerate(entries):
        entries[index] = structs.replace(
            entry, time_ns=data.draw(few), **numbered(entry, index, data.draw(few), revisions)
        )
    ledger = MarketLedger(flat())
    for count, entry in enumerate(entries, 1):
        ledger.add(entry)
        assert ledger.position() == position_of(flat(), entries[:count])


@given(entries=ledgers, data=st.data(), multiplier=multipliers)
def test_a_position_that_was_stored_is_a_base_for_what_comes_later(
    entries: list[Entry], data: st.DataObject, multiplier: str
) -> None:
    in_order = sorted(entries, key=lambda entry: entry.time_ns)
    count = data.draw(st.integers(0, len(entries)))
    stored = json.encode(after(*in_order[:count], multiplier=multiplier))
    later = MarketLedger(json.decode(stored, type=Position))
    for entry in in_order[count:]:
        later.add(entry)
    assert later.position() == after(*in_order, multiplier=multiplier)


@given(entries=fills_only, multiplier=multipliers, price=prices)
def test_cash_and_what_is_held_are_realised_and_open_profit(
    entries: list[Execution], multiplier: str, price: Decimal
) -> None:
    position = after(*entries, multiplier=multiplier)
    signed = [(Fraction(each.size if each.side == "buy" else -each.size), each) for each in entries]
    cash = -sum(size * Fraction(each.price) for size, each in signed) * Fraction(multiplier)
    worth = sum(size for size, _ in signed) * Fraction(price) * Fraction(multiplier)
    assert Fraction(position.cash_flow) == cash
    assert Fraction(position.realised) + Fraction(open_profit(position, price)) == cash + worth


@given(entries=ledgers, multiplier=multipliers, price=prices)
def test_adjustments_conserve_cash_and_what_is_held_too(
    entries: list[Entry], multiplier: str, price: Decimal
) -> None:
    position = after(*entries, multiplier=multiplier)
    priced = Fraction(position.size) - Fraction(position.unpriced)
    total = Fraction(position.realised) + Fraction(open_profit(position, price))
    worth = priced * Fraction(price) * Fraction(multiplier)
    assert total == Fraction(position.cash_flow) + worth
    assert position.size * position.unpriced >= 0


def in_two(whole: Execution, part: Decimal) -> list[Execution]:
    first = structs.replace(whole, exec_id="first", size=whole.size * part)
    return [first, structs.replace(whole, exec_id="second", size=whole.size - first.size)]


def profit(position: Position, price: Decimal) -> Decimal:
    return position.realised + open_profit(position, price)


parts = st.decimals(0, 1, places=2)


@given(entries=fills_only, split=executions, part=parts, price=prices)
def test_a_fill_in_two_parts_makes_the_same_profit(
    entries: list[Execution], split: Execution, part: Decimal, price: Decimal
) -> None:
    whole = structs.replace(split, exec_id="whole")
    one, two = after(*entries, whole), after(*entries, *in_two(whole, part))
    assert (two.size, two.cash_flow) == (one.size, one.cash_flow)
    assert Fraction(two.realised) + Fraction(open_profit(two, price)) == Fraction(
        one.realised
    ) + Fraction(open_profit(one, price))
    assert abs(two.realised - one.realised) < D("1E-15")


@given(entries=ledgers, split=executions, part=parts, price=prices)
def test_a_fill_in_two_parts_among_adjustments_makes_the_same_profit(
    entries: list[Entry], split: Execution, part: Decimal, price: Decimal
) -> None:
    whole = structs.replace(split, exec_id="whole")
    one, two = after(*entries, whole), after(*entries, *in_two(whole, part))
    assert two.size == one.size
    assert abs(profit(two, price) - profit(one, price)) < D("1E-10")


@given(entries=fills_only)
def test_size_average_price_and_profit_are_those_of_exact_fractions(
    entries: list[Execution],
) -> None:
    size, average, realised = Fraction(0), Fraction(0), Fraction(0)
    for each in sorted(entries, key=lambda entry: entry.time_ns):
        change = Fraction(each.size if each.side == "buy" else -each.size)
        closed = min(abs(change), abs(size)) * (change * size < 0)
        realised += closed * (Fraction(each.price) - average) * (1 if size > 0 else -1)
        held_before, size = size, size + change
        kept = held_before if held_before * size > 0 else Fraction(0)
        added = size - kept if abs(size) > abs(kept) else Fraction(0)
        average = (average * (size - added) + Fraction(each.price) * added) / (size or 1)
    position = after(*entries)
    assert Fraction(position.size) == size
    assert abs(Fraction(position.realised) - realised) < Fraction(1, 10**20)
    assert abs(Fraction(position.average_price or 0) - average) < Fraction(1, 10**15)
