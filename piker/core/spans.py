"""Stretches of time and what can be done with them: joined, cut, taken from each other."""

from collections.abc import Iterable, Iterator

Pair = tuple[int, int]
"""From an instant to the first one after it, UTC ns."""


def joined(stretches: Iterable[Pair]) -> list[Pair]:
    """The same time, oldest first, those that overlap or touch as one."""
    found: list[Pair] = []
    for from_ns, to_ns in sorted(stretches):
        if found and from_ns <= found[-1][1]:
            found[-1] = found[-1][0], max(found[-1][1], to_ns)
        else:
            found.append((from_ns, to_ns))
    return found


def clipped(stretches: Iterable[Pair], from_ns: int, to_ns: int) -> list[Pair]:
    """What of each lies between two instants, in the order they came."""
    cut = ((max(a, from_ns), min(b, to_ns)) for a, b in stretches)
    return [(a, b) for a, b in cut if a < b]


def without(stretches: Iterable[Pair], others: Iterable[Pair]) -> list[Pair]:
    """Time of the first that is in none of the others; oldest first, apart."""
    return list(_without(joined(stretches), joined(others)))


def inward(from_ns: int, to_ns: int, period_ns: int) -> Pair | None:
    """The whole periods within; None: there is none."""
    first_ns, last_ns = up(from_ns, period_ns), down(to_ns, period_ns)
    return (first_ns, last_ns) if first_ns < last_ns else None


def down(time_ns: int, period_ns: int) -> int:
    """The period's beginning that is then or just before."""
    return time_ns - time_ns % period_ns


def up(time_ns: int, period_ns: int) -> int:
    """The period's beginning that is then or just after."""
    return time_ns + -time_ns % period_ns


def _without(stretches: list[Pair], others: list[Pair]) -> Iterator[Pair]:
    """Both are oldest first, apart."""
    at = 0
    for from_ns, to_ns in stretches:
        while at < len(others) and others[at][1] <= from_ns:
            at += 1
        begin_ns, next_ = from_ns, at
        while next_ < len(others) and others[next_][0] < to_ns:
            if begin_ns < others[next_][0]:
                yield begin_ns, others[next_][0]
            begin_ns = others[next_][1]
            next_ += 1
        if begin_ns < to_ns:
            yield begin_ns, to_ns
