"""What an account earned since the day turned, for the limit on a day's loss."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from decimal import Decimal

from piker import clock
from piker.accounts import Position
from piker.book import Book, Place
from piker.config import EmsdSettings
from piker.core.positions import position_of
from piker.core.risk import day_start_ns, earned
from piker.errors import Refused
from piker.orders import NOTHING

HOUR_NS = 3_600_000_000_000


class DayProfit:
    """By account and market: realised, open and fees, each as it grew since the day turned.

    What was open when the day turned counts as it is worth when that is first asked, from then on
    as noted; if nobody knows a price, as it was paid for.
    """

    def __init__(
        self, book: Book, settings: EmsdSettings, price_of: Callable[[str], Decimal | None]
    ) -> None:
        self._book = book
        self._settings = settings
        self._price_of = price_of
        self._began: dict[Place, tuple[int, Decimal]] = {}
        """When the day turned, and what all was worth then, as it would be today's profit."""

    def of(self, account: str, currency: str) -> Decimal | None:
        """Earned today in a currency; None: a price is missing for what is held."""
        total = NOTHING
        for position in self._book.positions(account):
            if position.currency == currency:
                today = self._earned(position)
                if today is None:
                    return None
                total += today
        return total

    def next_turn_ns(self) -> int:
        """When the day turns next, UTC ns."""
        return self._start_of_day_ns(self._start_of_day_ns(clock.wall_ns()) + 26 * HOUR_NS)

    def _start_of_day_ns(self, time_ns: int) -> int:
        return day_start_ns(time_ns, self._settings.day_turns, self._settings.zone)

    def _earned(self, position: Position) -> Decimal | None:
        worth = self._worth(position)
        if worth is None:
            return None
        place = position.account, position.market
        start_ns = self._start_of_day_ns(clock.wall_ns())
        began_ns, before = self._began.get(place, (0, NOTHING))
        if began_ns != start_ns:
            before = self._before(place, start_ns)
            self._began[place] = start_ns, before
        return worth - before

    def _worth(self, position: Position) -> Decimal | None:
        return earned(position, self._price_of(position.market) if position.size else None)

    @contextmanager
    def unmoved(self, places: Iterable[Place]) -> Iterator[None]:
        """What is entered within about the days before is nothing that was earned today."""
        start_ns = self._start_of_day_ns(clock.wall_ns())
        known = {place: self._noted(place, start_ns) for place in places}
        noted = {place: worth for place, worth in known.items() if worth is not None}
        before = {place: self._worth_at(place, start_ns) for place in noted}
        yield
        for place, worth in noted.items():
            moved = worth + self._worth_at(place, start_ns) - before[place]
            self._began[place] = start_ns, moved
            self._note(place, start_ns, moved)

    def _before(self, place: Place, start_ns: int) -> Decimal:
        """What it was worth when the day turned."""
        worth = self._noted(place, start_ns)
        if worth is None:
            worth = self._worth_at(place, start_ns)
            self._note(place, start_ns, worth)
        return worth

    def _noted(self, place: Place, start_ns: int) -> Decimal | None:
        """The same, if it was asked for before, today."""
        began_ns, worth = self._began.get(place, (0, NOTHING))
        if began_ns == start_ns:
            return worth
        noted = (self._book.noted(_key(place)) or "0 0").split()
        return Decimal(noted[1]) if int(noted[0]) == start_ns else None

    def _note(self, place: Place, start_ns: int, worth: Decimal) -> None:
        with suppress(Refused):  # no room: after a restart it is asked for anew
            self._book.note(_key(place), f"{start_ns} {worth}")

    def _worth_at(self, place: Place, start_ns: int) -> Decimal:
        """What the entries before an instant are worth, by the newest price."""
        ledger = self._book.ledger(*place)
        assert ledger is not None, f"expected a ledger of {place}"
        earlier = [each for each in ledger.entries() if each.time_ns < start_ns]
        then = position_of(ledger.base, earlier)
        worth = self._worth(then)
        return earned(then, then.average_price) or NOTHING if worth is None else worth


def _key(place: Place) -> str:
    return f"day:{place[0]}:{place[1]}"
