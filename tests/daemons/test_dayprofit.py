"""What was earned since the day turned, over fills, prices that are missing, and restarts."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from decimal import Decimal
from typing import Any

import pytest

from piker import clock
from piker.book import Book
from piker.config import EmsdSettings
from piker.dayprofit import DayProfit
from piker.store import journal as journal_module
from tests.conftest import WALL_NS
from tests.fakes.broker import ACCOUNT, MARKET, OTHER, a_book, a_fill

HOUR_NS = 3_600 * 10**9
YESTERDAY_NS = WALL_NS - 24 * HOUR_NS
"""The test's clock stands at 03:00 in New York: the day turned ten hours before."""
TURN_NS = WALL_NS - 10 * HOUR_NS


@pytest.fixture(autouse=True)
def now(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clock, "wall_ns", lambda: WALL_NS)


class Trading:
    """A book, the day's profit, and the prices that there are."""

    def __init__(self, book: Book) -> None:
        self.book = book
        self.prices: dict[str, Decimal] = {}
        self.day = DayProfit(book, EmsdSettings(), self.prices.get)
        for market in (MARKET, OTHER):
            book.know(market)

    def fill(self, exec_id: str, side: str, price: int, time_ns: int, **changed: Any) -> None:
        self.book.adjust(
            a_fill(exec_id, "", side=side, price=Decimal(price), time_ns=time_ns, **changed)
        )

    def earned(self) -> Decimal | None:
        return self.day.of(ACCOUNT, "USD")


@asynccontextmanager
async def trading() -> AsyncIterator[Trading]:
    async with a_book() as book:
        yield Trading(book)


async def test_what_was_closed_today_counts_less_its_fees() -> None:
    async with trading() as here:
        here.fill("1", "buy", 10, WALL_NS - 2, fee=Decimal(1))
        here.fill("2", "sell", 15, WALL_NS - 1, fee=Decimal(1))
        assert here.earned() == 3


async def test_what_was_closed_before_the_day_turned_does_not() -> None:
    async with trading() as here:
        here.fill("1", "buy", 10, YESTERDAY_NS)
        here.fill("2", "sell", 15, TURN_NS - 1)
        assert here.earned() == 0


async def test_what_is_open_counts_by_how_its_price_moved_since_it_was_first_asked() -> None:
    async with trading() as here:
        here.fill("1", "buy", 10, YESTERDAY_NS)
        here.prices[MARKET.fqme] = Decimal(12)
        assert here.earned() == 0
        here.prices[MARKET.fqme] = Decimal(11)
        assert here.earned() == -1


async def test_what_was_noted_holds_over_a_restart() -> None:
    async with trading() as here:
        here.fill("1", "buy", 10, YESTERDAY_NS)
        here.prices[MARKET.fqme] = Decimal(12)
        assert here.earned() == 0
    async with trading() as here:
        here.prices[MARKET.fqme] = Decimal(9)
        assert here.earned() == -3


async def test_the_next_day_begins_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    async with trading() as here:
        here.fill("1", "buy", 10, WALL_NS - 1)
        here.prices[MARKET.fqme] = Decimal(12)
        assert here.earned() == 2
        monkeypatch.setattr(clock, "wall_ns", lambda: WALL_NS + 24 * HOUR_NS)
        assert here.earned() == 0


async def test_without_a_price_for_what_is_held_nobody_can_say() -> None:
    async with trading() as here:
        here.fill("1", "buy", 10, YESTERDAY_NS)
        assert here.earned() is None


async def test_what_was_open_and_has_no_price_any_more_counts_from_what_was_paid() -> None:
    async with trading() as here:
        here.fill("0", "buy", 1, YESTERDAY_NS - 2)
        here.fill("1", "sell", 100, YESTERDAY_NS - 1)
        here.fill("2", "buy", 10, YESTERDAY_NS)
        here.fill("3", "sell", 7, WALL_NS - 1)
        assert here.earned() == -3


async def test_markets_of_one_currency_are_summed_and_others_left_out() -> None:
    async with trading() as here:
        here.fill("1", "buy", 10, WALL_NS - 2)
        here.fill("2", "sell", 15, WALL_NS - 1)
        here.fill("3", "sell", 10, WALL_NS - 1, market=OTHER.fqme)
        here.prices[OTHER.fqme] = Decimal(8)
        assert here.earned() == 7
        assert here.day.of(ACCOUNT, "EUR") == 0


async def test_a_full_disk_keeps_nobody_from_knowing(monkeypatch: pytest.MonkeyPatch) -> None:
    async with trading() as here:
        here.fill("1", "buy", 10, WALL_NS - 2)
        here.fill("2", "sell", 15, WALL_NS - 1)
        monkeypatch.setattr(journal_module, "MAX_QUEUED", 0)
        assert here.earned() == 5
        assert here.earned() == 5


async def test_the_day_turns_at_five_in_the_afternoon_in_new_york() -> None:
    async with trading() as here:
        assert here.day.next_turn_ns() == TURN_NS + 24 * HOUR_NS
