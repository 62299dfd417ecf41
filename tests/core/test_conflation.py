"""A watcher that lags gets less, and still sees every level that was touched."""

from collections.abc import Iterator
from itertools import count

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from piker.core.conflation import Outbox
from piker.markets import MarketState, State
from piker.quotes import Kind, Quote, Tick

SIDES: tuple[Kind, ...] = ("bid", "ask")
TRADES: tuple[Kind, ...] = ("trade", "dark_trade")
KINDS = SIDES + TRADES


def tick(kind: Kind, price: float, number: int = 0) -> Tick:
    """A tick; its number stands in both times."""
    return Tick(kind=kind, price=price, time_ns=number, seen_ns=number)


def quote(*ticks: Tick, market: str = "a") -> Quote:
    return Quote(market=market, ticks=ticks)


def state(market: str, name: State) -> MarketState:
    return MarketState(market=market, state=name, since_ns=1)


def drained(outbox: Outbox) -> list[float]:
    """The prices of one market that wait, in their order."""
    quotes, _ = outbox.drain()
    return [tick.price for quote in quotes for tick in quote.ticks]


@pytest.mark.parametrize(
    ("put", "kept"),
    [
        ([5], [5]),
        ([5, 5], [5, 5]),
        ([5, 6, 7, 8], [5, 8]),
        ([8, 7, 6, 5], [8, 5]),
        ([5, 9, 1, 5], [5, 9, 1, 5]),
        ([5, 1, 9, 2, 8, 5], [5, 1, 9, 5]),
        ([5, 6, 4, 3], [5, 6, 3]),
        ([5, 9, 9, 7], [5, 9, 7]),
    ],
)
def test_of_a_side_first_lowest_highest_and_newest_are_kept(
    put: list[float], kept: list[float]
) -> None:
    outbox = Outbox()
    outbox.put([quote(tick("bid", price, number)) for number, price in enumerate(put)])
    assert outbox.ticks == len(kept)
    assert drained(outbox) == kept


def test_a_tick_of_the_other_side_replaces_nothing() -> None:
    outbox = Outbox()
    outbox.put([quote(tick("bid", 1), tick("ask", 2)), quote(tick("bid", 1), tick("ask", 2))])
    assert drained(outbox) == [1, 2, 1, 2]


def test_markets_keep_apart() -> None:
    outbox = Outbox()
    outbox.put([quote(tick("bid", price), market=name) for price in (1, 2, 3) for name in "ab"])
    quotes, _ = outbox.drain()
    assert [(each.market, len(each.ticks)) for each in quotes] == [("a", 2), ("b", 2)]


def test_a_quote_without_ticks_wakes_nobody() -> None:
    outbox = Outbox()
    outbox.put([quote()])
    assert not outbox
    assert outbox.drain() == ((), ())


def test_the_newest_state_of_a_market_wins() -> None:
    outbox = Outbox()
    for each in (state("a", "live"), state("b", "closed"), state("a", "stale")):
        outbox.put_state(each)
    assert outbox
    assert outbox.drain() == ((), (state("a", "stale"), state("b", "closed")))


def test_what_was_drained_is_gone() -> None:
    outbox = Outbox()
    outbox.put([quote(tick("bid", 1))])
    outbox.put_state(state("a", "live"))
    outbox.drain()
    assert not outbox
    assert outbox.drain() == ((), ())


@pytest.mark.parametrize(("trades", "overflown"), [(0, False), (3, False), (4, True)])
def test_past_its_bound_it_says_so_until_it_is_drained(trades: int, overflown: bool) -> None:
    outbox = Outbox(limit=3)
    outbox.put([quote(tick("trade", 1))] * trades)
    before = outbox.overflown
    outbox.drain()
    assert (before, outbox.overflown) == (overflown, False)


@given(st.lists(st.integers(0, 100)))
def test_sides_alone_never_overflow(prices: list[int]) -> None:
    outbox = Outbox(limit=8)
    outbox.put(quote(tick("bid", price), tick("ask", price + 1)) for price in prices)
    assert not outbox.overflown


BATCHES = st.lists(
    st.lists(st.builds(tick, st.sampled_from(KINDS), st.integers(-9, 9)), max_size=30)
)


def read_slowly(batches: list[list[Tick]]) -> Iterator[tuple[list[Tick], list[Tick]]]:
    """What was put and what was then seen, by a reader that drains after each batch."""
    outbox, numbers = Outbox(), count()
    for batch in batches:
        put = [structs.replace(tick, time_ns=next(numbers)) for tick in batch]
        outbox.put(quote(tick) for tick in put)
        waiting = outbox.ticks
        seen = [tick for quote in outbox.drain()[0] for tick in quote.ticks]
        assert len(seen) == waiting
        yield put, seen


def of(kind: Kind, ticks: list[Tick]) -> list[Tick]:
    return [tick for tick in ticks if tick.kind == kind]


@given(BATCHES)
def test_at_any_speed_of_the_reader_every_level_of_a_side_is_seen(
    batches: list[list[Tick]],
) -> None:
    for put, seen in read_slowly(batches):
        for whole, kept in ((of(side, put), of(side, seen)) for side in SIDES):
            prices, kept_prices = ([tick.price for tick in ticks] for ticks in (whole, kept))
            assert len(kept) <= 4
            assert (whole[:1], whole[-1:]) == (kept[:1], kept[-1:])
            assert min(prices, default=0) == min(kept_prices, default=0)
            assert max(prices, default=0) == max(kept_prices, default=0)


@given(BATCHES)
def test_at_any_speed_of_the_reader_all_trades_are_seen_and_all_ticks_in_their_order(
    batches: list[list[Tick]],
) -> None:
    for put, seen in read_slowly(batches):
        assert seen == sorted((tick for tick in put if tick in seen), key=lambda t: t.time_ns)
        assert [of(kind, put) for kind in TRADES] == [of(kind, seen) for kind in TRADES]
