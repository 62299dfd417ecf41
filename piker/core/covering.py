"""What covers a stretch of time when several know of it: whose word counts, period by period."""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Final

from piker.core.spans import Pair, without
from piker.coverage import How, Span

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

KNOWN_BETTER: Final[tuple[tuple[How, ...], ...]] = (
    ("backfilled", "empty"),
    ("live",),
    ("imported",),
)
"""Who is believed first; of those in one row who was there first."""


def pairs(spans: Iterable[Span]) -> list[Pair]:
    """Their time, in the order they came."""
    return [(span.from_ns, span.to_ns) for span in spans]


def together(old: Sequence[Span], new: Sequence[Span]) -> list[Span]:
    """All that either covers, oldest first, apart: where both do, by who is believed first."""
    taken: list[Span] = []
    for hows in KNOWN_BETTER:
        for spans in (old, new):
            for how in hows:
                mine = [(s.from_ns, s.to_ns) for s in spans if s.how == how]
                taken += _spans(without(mine, pairs(taken)), how)
    return neat(taken)


def neat(spans: Iterable[Span]) -> list[Span]:
    """The same, oldest first, those of one kind that touch as one. They must be apart."""
    found: list[Span] = []
    for span in sorted(spans, key=lambda span: span.from_ns):
        if found and found[-1].to_ns == span.from_ns and found[-1].how == span.how:
            span = Span(from_ns=found.pop().from_ns, to_ns=span.to_ns, how=span.how)
        found.append(span)
    return found


def cut(spans: Iterable[Span], from_ns: int, to_ns: int) -> list[Span]:
    """What of each lies between two instants, in the order they came."""
    inside = ((max(s.from_ns, from_ns), min(s.to_ns, to_ns), s.how) for s in spans)
    return [Span(from_ns=a, to_ns=b, how=how) for a, b, how in inside if a < b]


def uncovered(spans: Iterable[Span], stretches: Sequence[Pair]) -> list[Span]:
    """What is left when that time isn't covered any more; oldest first."""
    left = [_spans(without([(s.from_ns, s.to_ns)], stretches), s.how) for s in spans]
    return neat(span for several in left for span in several)


def with_rows(spans: Iterable[Span], times_ns: "NDArray[np.int64]") -> list[Span]:
    """The same, but none is called empty that has a row: `times_ns` are theirs, in order."""
    import numpy as np

    spans = list(spans)
    ends = np.array(pairs(spans), dtype=np.int64).reshape(-1, 2)
    counts = np.diff(np.searchsorted(times_ns, ends), axis=1)[:, 0]
    return neat(
        Span(from_ns=span.from_ns, to_ns=span.to_ns, how="backfilled")
        if count and span.how == "empty"
        else span
        for span, count in zip(spans, counts, strict=True)
    )


def _spans(stretches: Iterable[Pair], how: How) -> list[Span]:
    return [Span(from_ns=from_ns, to_ns=to_ns, how=how) for from_ns, to_ns in stretches]
