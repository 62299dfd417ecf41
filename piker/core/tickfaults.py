"""What can't be true of a tick that was recorded."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

from piker.core.marketdata import END_OF_TIME_NS
from piker.core.tickcolumns import NO_TICK, TickColumns

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


class BadTick(NamedTuple):
    """A row, from 0, and what is wrong with it."""

    row: int
    reason: str


def first_fault(ticks: TickColumns) -> BadTick | None:
    """The first row that is wrong in one way; None: none is in any."""
    import numpy as np

    for bad, values, expected in _looked_at(ticks):
        if bad.any():
            row = int(bad.argmax())
            return BadTick(row, f"{expected}, was {np.asarray(values)[row].item()}")
    return None


def _looked_at(
    ticks: TickColumns,
) -> "Iterator[tuple[NDArray[np.bool_], NDArray[np.int64] | NDArray[np.float64], str]]":
    """Which rows are wrong in a way, the values that tell, and what was expected."""
    import numpy as np

    kinds, prices, sizes = (np.array(each) for each in (ticks.kinds, ticks.prices, ticks.sizes))
    for name, column in (("time", ticks.times), ("seen", ticks.seen)):
        times = np.array(column)
        bad = (times < 0) | (times >= END_OF_TIME_NS)
        yield bad, times, f"expected {name} from 1970 to 2116"
    yield (kinds != NO_TICK) & ~np.isfinite(prices), prices, "expected a finite price"
    unsound = ~np.isnan(sizes) & ~((sizes >= 0) & (sizes < np.inf))
    yield unsound, sizes, "expected a size of 0 or more"
