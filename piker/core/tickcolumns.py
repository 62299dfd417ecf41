"""Ticks in columns: as many as a day has, in little memory."""

from array import array
from collections.abc import Iterator
from math import nan
from typing import Any, Final, get_args

from piker.quotes import Kind, Quote, Tick

KINDS: Final[tuple[Kind, ...]] = get_args(Kind)
"""A tick's kind is its place here."""
NO_TICK: Final = -1
"""Stands for the kind of a row that is a sign of life: a message without a tick."""


class TickColumns:
    """Rows of ticks in the order in which they came, an array a column.

    What isn't said is NaN: a size, and all prices of signs of life.
    """

    def __init__(self) -> None:
        self.times = array("q")
        """The venue's, UTC ns; of a sign of life when it was seen."""
        self.seen = array("q")
        """When datad saw it, UTC ns."""
        self.messages = array("q")
        """Running number of the quote that it came in."""
        self.kinds = array("b")
        self.prices = array("d")
        self.sizes = array("d")
        self.derived = array("b")
        self.delayed = array("b")

    def __len__(self) -> int:
        return len(self.times)

    @property
    def columns(self) -> "tuple[array[Any], ...]":
        """All of them, in the order of a file's."""
        return (
            self.times,
            self.seen,
            self.messages,
            self.kinds,
            self.prices,
            self.sizes,
            self.derived,
            self.delayed,
        )

    def add(self, quote: Quote, message: int, wall_ns: int, boot_ns: int) -> None:
        """A quote, at the end; the two clocks as they are now."""
        for tick in quote.ticks:
            size = nan if tick.size is None else tick.size
            seen_ns = wall_ns - boot_ns + tick.seen_ns
            self._add(
                tick.time_ns, seen_ns, message, KINDS.index(tick.kind), tick.price, size, tick
            )
        if not quote.ticks:
            self._add(wall_ns, wall_ns, message, NO_TICK, nan, nan, None)

    def extend(self, later: "TickColumns") -> None:
        """Rows that came later, at the end."""
        for ours, theirs in zip(self.columns, later.columns, strict=True):
            ours.frombytes(theirs.tobytes())

    def _add(
        self,
        time_ns: int,
        seen_ns: int,
        message: int,
        kind: int,
        price: float,
        size: float,
        tick: Tick | None,
    ) -> None:
        self.times.append(time_ns)
        self.seen.append(seen_ns)
        self.messages.append(message)
        self.kinds.append(kind)
        self.prices.append(price)
        self.sizes.append(size)
        self.derived.append(tick is not None and tick.derived)
        self.delayed.append(tick is not None and tick.delayed)

    def ticks(self, rows: range, shift_ns: int, seen_ns: int) -> Iterator[Tick]:
        """The ticks of these rows, their times shifted, seen at an instant of CLOCK_BOOTTIME."""
        for row in rows:
            if self.kinds[row] != NO_TICK:
                size = self.sizes[row]
                yield Tick(
                    kind=KINDS[self.kinds[row]],
                    price=self.prices[row],
                    size=None if size != size else size,  # NaN is not itself
                    time_ns=self.times[row] + shift_ns,
                    seen_ns=seen_ns,
                    derived=bool(self.derived[row]),
                    delayed=bool(self.delayed[row]),
                )
