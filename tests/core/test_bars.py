"""Bars in a table of memory, held against an independent reckoning with plain dicts."""

from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from piker.core.bars import (
    COVERAGE_AT,
    COVERED_AT,
    FINAL_AT,
    GRACE_NS,
    KNOWN_FROM_AT,
    LAST_AT,
    LATE_AT,
    MAX_COVERED,
    NS,
    SEQUENCE_AT,
    BarWriter,
    Table,
    words,
)
from piker.quotes import Bar

MS = NS // 1000
MANY = 100


def table(capacity: int = MANY, period_s: int = 1) -> Table:
    """An empty one, in plain memory."""
    made = Table(memoryview(bytearray(8 * words(capacity))))
    made.format(capacity, period_s, 1)
    return made


def rows(table: Table) -> list[Bar]:
    return [table.bar(row) for row in range(table.ints[LAST_AT])]


def final(table: Table) -> list[Bar]:
    return rows(table)[: table.ints[FINAL_AT]]


def times(table: Table) -> list[float]:
    """When rows begin, s."""
    return [bar.time_ns / NS for bar in rows(table)]


def trade(writer: BarWriter, at_s: float, price: float = 1.0, size: float = 1.0) -> bool:
    return writer.take(round(at_s * 1000) * MS, price, size, derived=False)


@dataclass
class Take:
    """A price comes."""

    time_ns: int
    price: float
    size: float | None

    def to(self, writer: BarWriter) -> None:
        assert writer.take(self.time_ns, self.price, self.size, derived=False)


@dataclass
class Close:
    """A period ends, by a clock that may be stepped."""

    now_ns: int

    def to(self, writer: BarWriter) -> None:
        writer.close(self.now_ns)


@dataclass
class Reckoning:
    """Bars as their definition has them."""

    period_ns: int
    prices: dict[int, list[float]] = field(default_factory=dict)
    sizes: dict[int, list[float]] = field(default_factory=dict)
    final: set[int] = field(default_factory=set)
    now_ns: int = 0
    late: int = 0

    def reckon(self, event: Take | Close) -> None:
        if isinstance(event, Close):
            self.now_ns = event.now_ns
            self.final |= {start_ns for start_ns in self.prices if self.over(start_ns)}
            return
        start_ns = event.time_ns // self.period_ns * self.period_ns
        if self.over(start_ns) or start_ns <= max(self.final, default=-1):
            self.late += 1
            return
        self.prices.setdefault(start_ns, []).append(event.price)
        self.sizes.setdefault(start_ns, [])
        if event.size is not None:
            self.sizes[start_ns].append(event.size)

    def over(self, start_ns: int) -> bool:
        return start_ns + self.period_ns + GRACE_NS <= self.now_ns

    def bars(self) -> list[Bar]:
        return [
            Bar(
                time_ns=start_ns,
                open=prices[0],
                high=max(prices),
                low=min(prices),
                close=prices[-1],
                volume=sum(self.sizes[start_ns]),
                trades=len(self.sizes[start_ns]),
            )
            for start_ns, prices in sorted(self.prices.items())
        ]


TAKES = st.builds(
    Take,
    st.integers(0, 20_000).map(lambda ms: ms * MS),
    st.integers(-50, 50).map(float),
    st.none() | st.integers(0, 9).map(float),
)
CLOSES = st.builds(Close, st.integers(0, 25_000).map(lambda ms: ms * MS))


@given(st.lists(st.one_of(TAKES, TAKES, TAKES, CLOSES)), st.sampled_from([1, 3, 60]))
def test_bars_are_what_their_definition_says(events: list[Take | Close], period_s: int) -> None:
    made, reckoning = table(period_s=period_s), Reckoning(period_s * NS)
    writer = BarWriter(made)
    for event in events:
        event.to(writer)
        reckoning.reckon(event)
        assert rows(made) == reckoning.bars()
        assert {bar.time_ns for bar in final(made)} == reckoning.final
        assert made.ints[LATE_AT] == reckoning.late


@given(st.lists(st.one_of(TAKES, TAKES, TAKES, CLOSES)))
def test_a_final_row_never_changes_and_the_sequence_is_even(events: list[Take | Close]) -> None:
    made = table()
    writer, finals = BarWriter(made), list[Bar]()
    for event in events:
        event.to(writer)
        assert final(made)[: len(finals)] == finals
        assert made.ints[SEQUENCE_AT] % 2 == 0
        finals = final(made)


@given(st.lists(TAKES))
def test_no_row_is_invented_and_all_are_in_their_order(takes: list[Take]) -> None:
    made = table()
    for each in takes:
        each.to(BarWriter(made))  # a writer that begins anew knows as much
    assert times(made) == sorted({each.time_ns // NS for each in takes})


@pytest.mark.parametrize(
    ("period_s", "end_s", "finals"),
    [(1, 2.999, 0), (1, 3, 1), (1, 3.999, 1), (1, 4, 2), (60, 61.999, 0), (60, 62, 1)],
)
def test_a_bar_becomes_final_two_seconds_after_its_end(
    period_s: int, end_s: float, finals: int
) -> None:
    made = table(period_s=period_s)
    writer = BarWriter(made)
    trade(writer, 0.5)
    trade(writer, 1.5)
    writer.close(round(end_s * NS))
    assert made.ints[FINAL_AT] == finals


def test_a_tick_counts_until_its_bar_is_final_and_is_then_late() -> None:
    made = table()
    writer = BarWriter(made)
    trade(writer, 0.1, price=5)
    writer.close(3 * NS - 1)
    trade(writer, 0.9, price=6)
    writer.close(3 * NS)
    trade(writer, 0.95, price=7)
    assert [bar.close for bar in rows(made)] == [6]
    assert made.ints[LATE_AT] == 1


def test_a_tick_of_an_empty_period_that_is_over_makes_no_row() -> None:
    made = table()
    writer = BarWriter(made)
    writer.close(10 * NS)
    trade(writer, 5)
    assert (rows(made), made.ints[LATE_AT]) == ([], 1)


def test_closing_twice_changes_nothing() -> None:
    made = table()
    writer = BarWriter(made)
    trade(writer, 0)
    writer.close(3 * NS)
    before = made.ints.tolist()
    writer.close(3 * NS)
    assert made.ints.tolist() == before


def test_after_the_clock_is_stepped_back_bars_go_on_and_final_ones_stay() -> None:
    made = table()
    writer = BarWriter(made)
    trade(writer, 100, price=5)
    writer.close(3600 * NS)
    writer.close(101 * NS)
    trade(writer, 100, price=9)
    trade(writer, 101, price=6)
    assert [bar.close for bar in rows(made)] == [5, 6]
    assert (made.ints[FINAL_AT], made.ints[LATE_AT]) == (1, 1)


def test_late_rows_are_put_between_those_that_are_there() -> None:
    made = table()
    writer = BarWriter(made)
    for at_s in (3, 1, 2, 0, 3.5, 1.5):
        trade(writer, at_s, price=at_s)
    assert times(made) == [0, 1, 2, 3]
    assert [bar.close for bar in rows(made)] == [0, 1.5, 2, 3.5]


def test_a_price_that_is_no_trade_has_neither_volume_nor_count() -> None:
    made = table()
    writer = BarWriter(made)
    writer.take(0, 5.0, None, derived=True)
    writer.take(1, 6.0, None, derived=True)
    assert rows(made) == [
        Bar(time_ns=0, open=5, high=6, low=5, close=6, volume=0, trades=0, derived=True)
    ]


@pytest.mark.parametrize("at_s", [2, 0])
def test_a_full_table_refuses_a_new_row_and_still_takes_what_fits(at_s: float) -> None:
    made = table(capacity=1)
    writer = BarWriter(made)
    assert trade(writer, 1, price=5)
    before = made.ints.tolist()
    assert not trade(writer, at_s)
    assert made.ints.tolist() == before
    assert trade(writer, 1.5, price=6)


# --- coverage


def covered(table: Table) -> list[tuple[float, float]]:
    return [(from_ns / NS, to_ns / NS) for from_ns, to_ns in table.coverage()]


@pytest.mark.parametrize(
    ("said", "covered_s"),
    [
        ([(1, 2)], [(1, 2)]),
        ([(1, 2), (1, 3)], [(1, 3)]),
        ([(1, 2), (2, 3)], [(1, 3)]),
        ([(1, 2), (3, 4)], [(1, 2), (3, 4)]),
        ([(1, 2), (3, 4), (3, 5)], [(1, 2), (3, 5)]),
        ([(1, 5), (2, 3)], [(1, 5)]),
        ([(1, 1)], []),
        ([(2, 1)], []),
    ],
)
def test_coverage_joins_what_touches(
    said: list[tuple[int, int]], covered_s: list[tuple[int, int]]
) -> None:
    made = table()
    for from_s, to_s in said:
        BarWriter(made).cover(from_s * NS, to_s * NS)
    assert covered(made) == covered_s


@given(st.lists(st.tuples(st.integers(0, 99), st.integers(0, 99))))
def test_nothing_is_said_to_be_covered_that_was_not(said: list[tuple[int, int]]) -> None:
    made = table()
    writer = BarWriter(made)
    for from_ns, to_ns in said:
        writer.cover(from_ns, to_ns)
    live = {at for from_ns, to_ns in said for at in range(from_ns, to_ns)}
    pairs = made.coverage()
    assert {at for from_ns, to_ns in pairs for at in range(from_ns, to_ns)} <= live
    assert sorted(pairs) == pairs


@pytest.mark.parametrize("too_many", [0, 1, 5])
def test_past_its_room_coverage_forgets_the_oldest_and_says_from_when_on_it_counts(
    too_many: int,
) -> None:
    made = table()
    writer = BarWriter(made)
    count = MAX_COVERED + too_many
    for number in range(count):
        writer.cover(10 * number, 10 * number + 3)
    assert made.coverage() == [(10 * n, 10 * n + 3) for n in range(too_many, count)]
    assert made.ints[KNOWN_FROM_AT] == max(0, 10 * too_many - 7)


def test_the_header_has_room_for_all_of_the_coverage() -> None:
    made = table(capacity=1)
    writer = BarWriter(made)
    trade(writer, 1, price=5)
    for number in range(MAX_COVERED):
        writer.cover(10 * number, 10 * number + 3)
    assert rows(made) == [Bar(time_ns=NS, open=5, high=5, low=5, close=5, volume=1, trades=1)]


# --- one table after another


def continued(left: Table, capacity: int = MANY, rows: int = MANY) -> Table:
    made = table(capacity)
    BarWriter(made).go_on_from(left, rows)
    return made


@given(st.lists(st.one_of(TAKES, TAKES, CLOSES)), TAKES)
def test_a_table_that_goes_on_from_another_knows_as_much(
    events: list[Take | Close], after: Take
) -> None:
    left = table()
    writer = BarWriter(left)
    for event in events:
        event.to(writer)
    made = continued(left)
    assert (rows(made), final(made)) == (rows(left), final(left))
    writer.close(0)  # a writer that begins anew has no clock yet
    after.to(writer)
    after.to(BarWriter(made))
    assert (rows(made), made.ints[LATE_AT]) == (rows(left), left.ints[LATE_AT])


@pytest.mark.parametrize(
    ("closed_s", "kept", "kept_s", "finals"),
    [
        (0, 3, [7, 8, 9], 0),
        (11, 3, [7, 8, 9], 2),
        (99, 3, [7, 8, 9], 3),
        (5, 3, [7, 8, 9], 0),
        (99, 10, [*range(10)], 10),
    ],
)
def test_the_newest_rows_are_taken_over_and_what_is_final_stays_so(
    closed_s: int, kept: int, kept_s: list[int], finals: int
) -> None:
    left = table(capacity=10)
    writer = BarWriter(left)
    for at_s in range(10):
        trade(writer, at_s)
    writer.close(closed_s * NS)
    made = continued(left, rows=kept)
    assert (times(made), made.ints[FINAL_AT]) == (kept_s, finals)


def test_where_rows_were_left_behind_coverage_counts_from_the_first_that_was_kept() -> None:
    left = table()
    writer = BarWriter(left)
    for at_s in range(10):
        trade(writer, at_s)
    for from_s, to_s in ((0, 2), (4, 8), (9, 10)):
        writer.cover(from_s * NS, to_s * NS)
    made = continued(left, rows=4)
    assert covered(made) == [(6, 8), (9, 10)]
    assert made.ints[KNOWN_FROM_AT] == 6 * NS


def test_where_all_rows_are_kept_so_is_all_of_the_coverage() -> None:
    left = table()
    writer = BarWriter(left)
    trade(writer, 5)
    for number in range(MAX_COVERED + 1):
        writer.cover(10 * number, 10 * number + 3)
    made = continued(left)
    assert made.coverage() == left.coverage()
    assert made.ints[KNOWN_FROM_AT] == left.ints[KNOWN_FROM_AT] == 3


def test_an_interval_that_was_torn_while_it_was_moved_covers_nothing() -> None:
    left = table()
    left.ints[COVERAGE_AT : COVERAGE_AT + 6] = memoryview(
        b"".join(n.to_bytes(8, "little") for n in (10, 13, 20, 13, 20, 23))
    ).cast("q")
    left.ints[COVERED_AT] = 3
    assert left.coverage() == continued(left).coverage() == [(10, 13), (20, 23)]


@pytest.mark.parametrize(
    ("torn", "kept_s"),
    [
        ({"time_ns": -1}, [0, 2]),
        ({"time_ns": 0}, [0, 2]),
        ({"high": 0.5}, [0, 2]),
        ({"low": 1.5}, [0, 2]),
        ({}, [0, 1, 2]),
    ],
)
def test_a_row_that_is_not_sound_is_left_out(torn: dict[str, float], kept_s: list[int]) -> None:
    left = table()
    writer = BarWriter(left)
    for at_s in range(3):
        trade(writer, at_s)
    whole = {"time_ns": NS, "open": 1.0, "high": 1.0, "low": 1.0, "close": 1.0}
    left.put(1, Bar(**{"volume": 1.0, "trades": 1, **whole, **torn}))  # type: ignore[arg-type]
    assert times(continued(left)) == kept_s


# --- what is filled later


def filled(left: Table, from_s: int, to_s: int, *bars: Bar, capacity: int = MANY) -> Table:
    """Another table, with the rows of a stretch replaced."""
    made = table(capacity)
    covered = [(from_s * NS, to_s * NS)]
    BarWriter(made).go_on_filled(left, from_s * NS, to_s * NS, bars, covered)
    return made


def venues(start_s: int) -> Bar:
    return Bar(time_ns=start_s * NS, open=9, high=9, low=9, close=9, volume=9, trades=9)


def test_rows_of_a_stretch_are_replaced_and_the_others_stay_as_they_are() -> None:
    left = table()
    writer = BarWriter(left)
    for at_s in (1, 2, 5, 9, 10):
        trade(writer, at_s)
    writer.close(12 * NS)
    made = filled(left, 2, 9, venues(4), venues(5), venues(8))
    kept = rows(left)
    assert rows(made) == [kept[0], venues(4), venues(5), venues(8), *kept[3:]]
    assert times(made)[: made.ints[FINAL_AT]] == [1, 4, 5, 8, 9]
    assert made.coverage() == [(2 * NS, 9 * NS)]


def test_a_row_that_is_not_final_takes_prices_after_a_hole_before_it_was_filled() -> None:
    left = table()
    writer = BarWriter(left)
    trade(writer, 1)
    trade(writer, 10, 1.0)
    writer.close(9 * NS)
    made = table()
    writer = BarWriter(made)
    writer.go_on_filled(left, 2 * NS, 5 * NS, [venues(3)], [])
    trade(writer, 10.5, 2.0)
    trade(writer, 2, 7.0)
    assert times(made) == [1, 3, 10]
    assert (rows(made)[-1].high, rows(made)[-1].trades) == (2.0, 2)
    assert made.ints[LATE_AT] == 1


def test_what_has_no_room_any_more_is_the_oldest_and_is_no_longer_covered() -> None:
    left = table(10)
    writer = BarWriter(left)
    for at_s in (0, 1, 2, 3, 20, 21):
        trade(writer, at_s)
    writer.close(20 * NS)
    made = filled(left, 4, 20, *map(venues, range(10, 16)), capacity=10)
    assert times(made) == [11, 12, 13, 14, 15, 20, 21]
    assert made.ints[KNOWN_FROM_AT] == 11 * NS
    assert made.coverage() == [(11 * NS, 20 * NS)]


@given(
    live=st.sets(st.integers(0, 60)),
    open_from=st.integers(0, 60),
    stretch=st.tuples(st.integers(0, 60), st.integers(0, 60)).map(sorted),
    given_rows=st.sets(st.integers(0, 60)),
    capacity=st.integers(61, 100),
)
def test_whatever_is_filled_all_other_rows_stay_and_nothing_is_made_up(
    live: set[int], open_from: int, stretch: list[int], given_rows: set[int], capacity: int
) -> None:
    first, end = stretch
    left = table(capacity)
    writer = BarWriter(left)
    for at_s in sorted(live):
        trade(writer, at_s)
    writer.close((max(end, open_from) + 2) * NS)
    given_bars = [venues(at_s) for at_s in sorted(given_rows) if first <= at_s < end]
    made = filled(left, first, end, *given_bars, capacity=capacity)
    before = [bar for bar in rows(left) if not first * NS <= bar.time_ns < end * NS]
    expected = sorted([*before, *given_bars], key=lambda bar: bar.time_ns)
    assert rows(made) == expected
    last_final = [bar for bar in final(left) if bar.time_ns >= end * NS]
    assert final(made)[len(final(made)) - len(last_final) :] == last_final
    assert made.ints[FINAL_AT] == made.ints[LAST_AT] - (left.ints[LAST_AT] - left.ints[FINAL_AT])


@pytest.mark.parametrize("derived", [False, True])
@pytest.mark.parametrize("partial", [False, True])
def test_what_a_bar_is_marked_with_stays_with_its_row(derived: bool, partial: bool) -> None:
    one = table()
    bar = Bar(
        time_ns=0,
        open=1,
        high=1,
        low=1,
        close=1,
        volume=0,
        trades=0,
        derived=derived,
        partial=partial,
    )
    one.put(0, bar)
    assert one.bar(0) == bar
