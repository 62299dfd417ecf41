"""How much of a ledger may be summed for good, so that a start needn't read it again."""

from collections.abc import Sequence
from itertools import accumulate

from piker.accounts import Entry
from piker.orders import Execution


def settled(entries: Sequence[Entry], until_ns: int) -> int:
    """How many of an account's entries in a market, in the order in which they were written.

    All of them are older than `until_ns`, and older than each that follows; none that follows
    corrects one of them. So what follows can be added to their sum.
    """
    last = {_key(entry): index for index, entry in enumerate(entries)}
    times = [entry.time_ns for entry in entries]
    oldest_from = [*accumulate(reversed(times), min)][::-1]
    newest = list(accumulate(times, max))
    corrected = list(accumulate((last[_key(entry)] for entry in entries), max))
    return max(
        (
            index + 1
            for index in range(len(entries))
            if newest[index] < until_ns
            and corrected[index] == index
            and (index + 1 == len(entries) or newest[index] < oldest_from[index + 1])
        ),
        default=0,
    )


def _key(entry: Entry) -> tuple[str, str]:
    if isinstance(entry, Execution):
        return "execution", entry.exec_id
    return "adjustment", entry.adjustment_id
