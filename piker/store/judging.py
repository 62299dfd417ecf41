"""Many rows judged at once: what piker/core/rowfaults.py says of each, by two processors."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from piker.core.rowfaults import Rules, faults
from piker.store.atonce import at_once

if TYPE_CHECKING:
    import numpy as np

    from piker.core.rowfaults import Rows


def judged(
    part: Callable[[slice], "Rows"],
    times_ns: "np.ndarray",
    rules: Rules,
    known: "np.ndarray | None" = None,
) -> "np.ndarray":
    """A Fault for each row, as `faults`, by halves: `part` gives these of the rows.

    Only if none has one is the order in each half that of the whole.
    """
    import numpy as np

    def marked(which: slice) -> "np.ndarray":
        return faults(part(which), rules, None if known is None else known[which])

    middle = len(times_ns) // 2
    marks = at_once(marked, [slice(middle), slice(middle, None)])
    seam = times_ns[max(middle - 1, 0) : middle + 1]
    if any(each.any() for each in marks) or not (np.diff(seam) > 0).all():
        return marked(slice(None))
    return np.concatenate(marks)
