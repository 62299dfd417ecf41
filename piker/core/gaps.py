"""What of a market's past is missing: time in which it was traded, and that is not covered.

A second in which nobody traded is no gap: what was watched is covered, with or without a bar. A
market that is closed has no gap either.
"""

from collections.abc import Iterable

from piker.core.sessions import Sessions
from piker.core.spans import Pair, clipped, down, joined, up, without


def gaps(
    sessions: Iterable[Pair] | None,
    covered: Iterable[Pair],
    from_ns: int,
    to_ns: int,
    period_ns: int,
) -> list[Pair]:
    """Session time between two instants that isn't covered: oldest first, apart.

    A gap is of whole periods: one of which a part is missing is in it, also where that leaves the
    session, or what was asked for. Without sessions all time may be traded.
    """
    open_ = [(from_ns, to_ns)] if sessions is None else clipped(sessions, from_ns, to_ns)
    missing = without(open_, covered)
    return joined((down(a, period_ns), up(b, period_ns)) for a, b in missing)


def closures(sessions: Iterable[Pair] | None, from_ns: int, to_ns: int) -> list[Pair]:
    """When a market is known to be closed between two instants: oldest first, apart."""
    return [] if sessions is None else without([(from_ns, to_ns)], sessions)


def may_be_open(sessions: Sessions, from_ns: int, to_ns: int) -> list[Pair]:
    """All time between two instants but what is between sessions that are known."""
    known = [(each.open_ns, each.close_ns) for each in sessions or ()]
    shut = closures(known, known[0][0], known[-1][1]) if known else []
    return without([(from_ns, to_ns)], shut)
