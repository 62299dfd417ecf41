import pytest
from hypothesis import given
from hypothesis import strategies as st

from piker.brokers.replay.timeline import SEAM_NS, Timeline, start_of
from piker.brokers.replay.wire import instant, parse
from piker.core.sessions import is_open
from piker.markets import Session
from piker.quotes import Quote, Tick
from tests.brokers.samples import HEAD, LUNCH, SECOND

OPENED_NS = 2_000_000_000 * SECOND
RECORDING = parse(LUNCH.splitlines(keepends=True))
PASS_NS = 3610 * SECOND + SEAM_NS


def timeline(loop: bool = True, start: str | None = None) -> Timeline:
    return Timeline("x.replay", RECORDING, OPENED_NS, loop, start)


def times(quotes: list[Quote]) -> list[float]:
    """Seconds since the opening, of every tick."""
    return [(tick.time_ns - OPENED_NS) / SECOND for quote in quotes for tick in quote.ticks]


def test_one_constant_is_added_to_ticks_and_sessions_alike() -> None:
    line = timeline(loop=False)
    assert times(line.take(None, 10, 0)) == [1, 1, 3602]
    assert line.market().sessions == (
        Session(open_ns=OPENED_NS, close_ns=OPENED_NS + 10 * SECOND),
        Session(open_ns=OPENED_NS + 3600 * SECOND, close_ns=OPENED_NS + 3610 * SECOND),
    )


def test_a_row_with_volume_is_a_trade_and_one_with_none_a_sign_of_life() -> None:
    first, _, third, _ = timeline().take(None, 10, 7)
    trade = Tick(kind="trade", price=100, size=1, time_ns=OPENED_NS + SECOND, seen_ns=7)
    assert first == Quote(market="x.replay", ticks=(trade,))
    assert third == Quote(market="x.replay", ticks=())


def test_the_sides_and_the_trade_of_a_row_are_one_quote() -> None:
    text = HEAD + "time_utc,last,ask,bid,bid_size\n2020-01-01T10:00:00Z,1,1.5,1,\n"
    line = Timeline("x.replay", parse(text.splitlines(keepends=True)), 0, False, None)
    (quote,) = line.take(None, 10, 0)
    said = [(tick.kind, tick.price, tick.size) for tick in quote.ticks]
    assert said == [("bid", 1, None), ("ask", 1.5, None), ("trade", 1, None)]
    market = line.market()
    assert (market.has_bid, market.has_ask, market.has_trades, market.has_volume) == (
        True,
        True,
        True,
        False,
    )


def test_the_seam_of_a_loop_is_a_closure() -> None:
    line = timeline()
    sessions = line.market().sessions
    assert sessions is not None
    assert sessions[2].open_ns - sessions[1].close_ns == SEAM_NS >= 5 * SECOND
    assert line.next_pass() == sessions[2].open_ns == OPENED_NS + PASS_NS


def test_only_what_is_due_is_taken_and_not_more_than_asked_for() -> None:
    line = timeline()
    assert line.due_ns() == OPENED_NS + SECOND
    assert times(line.take(OPENED_NS + SECOND, 1, 0)) == [1]
    assert times(line.take(OPENED_NS + SECOND, 10, 0)) == [1]
    assert line.take(OPENED_NS + 3 * SECOND, 10, 0) == []
    assert len(line.take(OPENED_NS + 3 * 3600 * SECOND, 10, 0)) == 2
    assert line.due_ns() is None


@pytest.mark.parametrize(
    ("seconds", "number", "row"),
    [(0, 0, 0), (1, 0, 2), (2, 0, 2), (100, 0, 3), (3615, 0, 4), (3620, 1, 0), (3622, 1, 2)],
)
def test_who_comes_later_joins_where_the_line_is(seconds: int, number: int, row: int) -> None:
    line = timeline()
    line.seek(OPENED_NS + seconds * SECOND)
    assert (line.number, line.row) == (number, row)


def test_after_a_single_pass_there_is_nothing_more() -> None:
    line = timeline(loop=False)
    line.seek(OPENED_NS + 10 * PASS_NS)
    assert (line.number, line.due_ns(), line.next_pass()) == (0, None, None)


@pytest.mark.parametrize(
    ("start", "begins"),
    [
        (None, "10:00:00"),
        ("10:00:02", "10:00:02"),
        ("10:30", "10:30:00"),
        ("2020-01-01T11:00:00Z", "11:00:00"),
        ("09:00", "10:00:00"),
        ("2021-01-01T10:00:00Z", "10:00:00"),
    ],
)
def test_it_begins_where_it_is_told_if_the_recording_has_it(start: str, begins: str) -> None:
    assert start_of(RECORDING, start) == instant(f"2020-01-01T{begins}Z")


def test_a_start_cuts_rows_and_sessions_in_every_pass() -> None:
    line = timeline(start="10:00:02")
    line.next_pass()
    sessions = line.market().sessions
    assert sessions is not None
    assert sessions[0].close_ns - sessions[0].open_ns == 8 * SECOND
    assert len(line.take(None, 10, 0)) == 2


@given(
    st.lists(st.integers(0, 4 * PASS_NS), max_size=20),
    st.sampled_from([None, "10:00:02", "10:30", "11:00:05"]),
)
def test_ticks_never_go_back_and_none_is_in_a_closure(moments: list[int], start: str) -> None:
    line = timeline(start=start)
    newest = OPENED_NS
    for moment in sorted(moments):
        line.seek(OPENED_NS + moment)
        sessions = line.market().sessions
        for tick in [tick for quote in line.take(None, 10, 0) for tick in quote.ticks]:
            assert is_open(sessions, tick.time_ns)
            assert tick.time_ns > OPENED_NS + moment >= newest
        newest = OPENED_NS + moment
