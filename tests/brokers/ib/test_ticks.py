"""From a gateway's words to ticks: what is a trade, what a repeat, and when it was."""

from decimal import Decimal
from math import inf, nan

import pytest
from hypothesis import given
from hypothesis import strategies as st

from piker.brokers.ib.messages import Price, Size, Text
from piker.brokers.ib.ticks import AHEAD_NS, Ticker
from piker.markets import Market
from piker.quotes import Tick

WALL, BOOT = 1_800_000_000_000_000_000, 5_000_000_000
SECOND, MILLISECOND = 10**9, 10**6
BID, ASK, LAST = 1, 2, 4
BID_SIZE, ASK_SIZE, LAST_SIZE = 0, 3, 5
TRADED_AT, RT_VOLUME = 45, 48
Word = Price | Size | Text


def market(*, trades: bool = True, sides: bool = True, volume: bool = True) -> Market:
    """A stock; without what isn't said."""
    return Market(
        fqme="x.y.ib",
        venue_id="1",
        description="",
        asset_class="stock",
        currency="USD",
        price_tick=Decimal("0.01"),
        size_tick=Decimal(1),
        multiplier=Decimal(1),
        has_trades=trades,
        has_volume=volume,
        has_bid=sides,
        has_ask=sides,
    )


def price(field: int, value: float, size: float = 0) -> Price:
    """tickPrice."""
    return Price(number=1, field=field, price=value, size=size)


def size(field: int, value: float) -> Size:
    """tickSize."""
    return Size(number=1, field=field, size=value)


def text(field: int, value: object) -> Text:
    """tickString."""
    return Text(number=1, field=field, text=str(value))


def rt_volume(value: object, many: object, at_ns: int = WALL) -> Text:
    """RTVolume."""
    return text(RT_VOLUME, f"{value};{many};{at_ns // MILLISECOND};1000;100;true")


def ticks(ticker: Ticker, *words: Word, wall_ns: int = WALL) -> list[Tick]:
    """What comes of words that come together."""
    for word in words:
        ticker.take(word, wall_ns, BOOT)
    return list(ticker.flush())


def told(found: list[Tick]) -> list[tuple[str, float, float | None]]:
    """Without times."""
    return [(tick.kind, tick.price, tick.size) for tick in found]


# --- price and size


def test_a_price_and_its_size_that_comes_again_are_one_tick() -> None:
    words = price(BID, 99, 5), size(BID_SIZE, 5), price(ASK, 101, 7), size(ASK_SIZE, 7)
    assert told(ticks(Ticker(market()), *words)) == [("bid", 99, 5), ("ask", 101, 7)]


def test_a_price_without_a_size_gets_the_one_that_follows_at_once() -> None:
    words = price(BID, 99), size(BID_SIZE, 5)
    assert told(ticks(Ticker(market()), *words)) == [("bid", 99, 5)]


def test_a_price_whose_size_never_comes_has_none() -> None:
    words = price(BID, 99), price(ASK, 101, 7), size(BID_SIZE, 5)
    found = told(ticks(Ticker(market()), *words))
    assert found == [("bid", 99, None), ("ask", 101, 7), ("bid", 99, 5)]


def test_a_size_that_differs_is_a_tick_at_the_price_that_is_shown() -> None:
    ticker = Ticker(market())
    ticks(ticker, price(BID, 99, 5))
    assert told(ticks(ticker, size(BID_SIZE, 6))) == [("bid", 99, 6)]


def test_what_is_as_it_was_shown_is_a_repeat() -> None:
    ticker = Ticker(market())
    ticks(ticker, price(BID, 99, 5))
    assert ticks(ticker, price(BID, 99, 5), size(BID_SIZE, 5), size(BID_SIZE, 0)) == []


def test_each_change_of_what_comes_together_is_a_tick_in_its_order() -> None:
    words = price(BID, 1, 1), price(ASK, 3, 1), price(BID, 2, 1), price(ASK, 4, 1), price(BID, 3, 2)
    found = told(ticks(Ticker(market()), *words))
    assert [each[:2] for each in found] == [
        *(("bid", 1), ("ask", 3), ("bid", 2), ("ask", 4)),
        ("bid", 3),
    ]


@pytest.mark.parametrize(
    "word",
    [
        *(price(BID, -1), price(BID, 0), price(LAST, -1), price(LAST, 0), size(BID_SIZE, 5)),
        *(price(BID, nan, 1), price(BID, inf, 1), price(BID, 1.7976931348623157e308, 1)),
        *(rt_volume("", 0), rt_volume(100, 0), rt_volume(100, -1), rt_volume("nan", 1)),
        *(text(RT_VOLUME, ""), text(RT_VOLUME, "100"), text(RT_VOLUME, ";;;;"), rt_volume(1, "x")),
        *(price(6, 120, 1), price(9, 100), size(8, 10**6), text(45, "soon"), text(84, "AMEX")),
    ],
)
def test_what_is_no_price_makes_no_tick(word: Word) -> None:
    assert ticks(Ticker(market()), word) == []


def test_after_there_was_no_bid_a_size_alone_says_nothing() -> None:
    words = price(BID, 99, 5), price(BID, -1), size(BID_SIZE, 6)
    assert told(ticks(Ticker(market()), *words)) == [("bid", 99, 5)]


def test_a_price_below_0_with_a_size_is_one() -> None:
    assert told(ticks(Ticker(market()), price(BID, -37.6, 2))) == [("bid", -37.6, 2)]


def test_a_market_shows_only_what_it_has() -> None:
    words = price(BID, 99, 5), price(ASK, 101, 5), rt_volume(100, 1), price(LAST, 100, 1)
    both = price(LAST, 101, 1), price(LAST, 102, 1), size(LAST_SIZE, 9)
    index, forex = market(sides=False, volume=False), market(trades=False, volume=False)
    assert {tick.kind for tick in ticks(Ticker(forex), *words, *both)} == {"bid", "ask"}
    assert told(ticks(Ticker(index), price(BID, 99, 5), *both)) == [
        ("trade", 101, None),
        ("trade", 102, None),
    ]


# --- trades


def test_each_rt_volume_is_a_trade_also_one_like_the_last() -> None:
    words = rt_volume(100, 1), rt_volume(100, 1), rt_volume(100.5, 0.5)
    found = told(ticks(Ticker(market()), *words))
    assert found == [("trade", 100, 1), ("trade", 100, 1), ("trade", 100.5, 0.5)]


def test_a_last_price_repeats_an_rt_volume() -> None:
    ticker = Ticker(market())
    ticks(ticker, price(LAST, 99, 1), rt_volume(100, 1))
    words = price(LAST, 101, 3), size(LAST_SIZE, 3), text(TRADED_AT, 5), rt_volume(101, 3)
    assert told(ticks(ticker, *words)) == [("trade", 101, 3)]


def test_the_last_price_at_the_beginning_of_a_stream_was_a_trade_before_it() -> None:
    ticker = Ticker(market())
    words = price(LAST, 100, 1), size(LAST_SIZE, 1), text(TRADED_AT, WALL // SECOND)
    assert ticks(ticker, *words) == []
    ticker.begin()
    assert ticks(ticker, price(LAST, 100), *words[1:]) == []


def test_the_first_rt_volume_of_a_stream_is_its_last_price_too() -> None:
    ticker = Ticker(market())
    ticks(ticker, price(LAST, 100, 1))
    words = price(LAST, 101, 3), size(LAST_SIZE, 3), rt_volume(101, 3)
    assert told(ticks(ticker, *words)) == [("trade", 101, 3)]


def test_without_rt_volume_a_trade_is_a_change_of_last_price_or_size() -> None:
    ticker = Ticker(market())
    ticks(ticker, price(68, 100, 1), size(71, 1))
    words = (
        price(68, 101, 3),
        size(71, 3),
        size(71, 4),
        price(68, 101, 4),
        price(68, 100),
        size(71, 2),
    )
    found = told(ticks(ticker, *words))
    assert found == [("trade", 101, 3), ("trade", 101, 4), ("trade", 100, 2)]


def test_an_index_trades_at_its_first_price() -> None:
    index = market(sides=False, volume=False)
    assert told(ticks(Ticker(index), price(LAST, 5000))) == [("trade", 5000, None)]


# --- time


def test_a_trades_time_is_rt_volumes_to_the_millisecond() -> None:
    (tick,) = ticks(Ticker(market()), rt_volume(100, 1, WALL - 7 * MILLISECOND))
    assert (tick.time_ns, tick.seen_ns) == (WALL - 7 * MILLISECOND, BOOT)


@pytest.mark.parametrize("before", [True, False])
def test_a_trade_without_it_has_the_time_that_came_with_it(before: bool) -> None:
    ticker = Ticker(market(sides=False, volume=False))
    when, trade = text(88, WALL // SECOND - 900), price(68, 100)
    (tick,) = ticks(ticker, *((when, trade) if before else (trade, when)))
    assert tick.time_ns == WALL - 900 * SECOND
    (tick,) = ticks(ticker, price(68, 101))
    assert tick.time_ns == WALL


def test_bid_and_ask_have_our_time() -> None:
    found = ticks(
        Ticker(market()), text(45, WALL // SECOND - 9), price(BID, 9, 1), price(ASK, 9, 1)
    )
    assert [tick.time_ns for tick in found] == [WALL, WALL]


@pytest.mark.parametrize("at_ns", [WALL + AHEAD_NS + SECOND, 0, 10**40])
def test_a_time_far_ahead_or_none_is_not_believed(at_ns: int) -> None:
    (tick,) = ticks(Ticker(market()), rt_volume(100, 1, at_ns))
    assert tick.time_ns == WALL


WORDS = st.one_of(
    st.builds(
        price,
        st.sampled_from([1, 2, 4, 6, 9, 66, 67, 68]),
        st.sampled_from([-1, 0, 99, 100.5, inf, nan]),
        st.sampled_from([0, 1, 5, nan]),
    ),
    st.builds(size, st.sampled_from([0, 3, 5, 8, 69, 70, 71]), st.sampled_from([0, 1, 5, inf])),
    st.builds(text, st.sampled_from([45, 48, 88]), st.text("0123456789;.-x", max_size=12)),
    st.builds(rt_volume, st.integers(-1, 3), st.integers(-1, 3), st.integers(0, 2 * WALL)),
)


@given(st.lists(st.tuples(WORDS, st.integers(0, 10), st.booleans())), st.booleans(), st.booleans())
def test_whatever_comes_ticks_are_sound_and_time_goes_on(
    words: list[tuple[Word, int, bool]], sides: bool, volume: bool
) -> None:
    ticker = Ticker(market(sides=sides, volume=volume))
    found: list[Tick] = []
    for word, wall_s, apart in words:
        ticker.take(word, WALL + wall_s * SECOND, BOOT)
        found += ticker.flush() if apart else ()
    found += ticker.flush()
    for kind in ("bid", "ask", "trade"):
        times = [tick.time_ns for tick in found if tick.kind == kind]
        assert times == sorted(times)
    assert all(tick.size is None or tick.size > 0 for tick in found)
    assert all(-inf < tick.price < inf for tick in found)


def test_what_was_flushed_is_not_remembered() -> None:
    ticker = Ticker(market())
    many = [word for n in range(1000) for word in (price(BID, n + 1, 1), rt_volume(n + 1, 1))]
    assert len(ticks(ticker, *many)) == 2000
    assert ticks(ticker) == []


def test_after_the_wall_clock_was_set_back_times_are_its_own_again() -> None:
    ticker = Ticker(market())
    ticks(ticker, price(BID, 100, 1), wall_ns=WALL + 3600 * SECOND)
    (tick,) = ticks(ticker, price(BID, 101, 1), wall_ns=WALL)
    assert tick.time_ns == WALL
