"""What a provider said it won't give, kept in few words: stretches, newest word first to count."""

from collections.abc import Iterable, Sequence

from piker.core.spans import Pair, without
from piker.coverage import Unavailable

MOST = 500
"""So many are noted of a series; of more the oldest time is forgotten, and asked for again."""


def noted(before: Iterable[Unavailable], new: Unavailable) -> tuple[Unavailable, ...]:
    """With one more, whose word counts for its stretch. Those that say the same and touch are one.

    Oldest time first, apart.
    """
    kept = forgotten(before, [(new.from_ns, new.to_ns)])
    together: list[Unavailable] = []
    for each in sorted((*kept, new), key=lambda one: one.from_ns):
        if together and _touch(together[-1], each):
            together[-1] = _joined(together[-1], each)
        else:
            together.append(each)
    return tuple(together[-MOST:])


def forgotten(before: Iterable[Unavailable], stretches: Sequence[Pair]) -> tuple[Unavailable, ...]:
    """What is left without these stretches."""
    return tuple(
        Unavailable(from_ns=from_ns, to_ns=to_ns, reason=each.reason, asked_ns=each.asked_ns)
        for each in before
        for from_ns, to_ns in without([(each.from_ns, each.to_ns)], stretches)
    )


def _touch(one: Unavailable, two: Unavailable) -> bool:
    return one.to_ns == two.from_ns and one.reason == two.reason


def _joined(one: Unavailable, two: Unavailable) -> Unavailable:
    """Both, as old as the older."""
    asked_ns = min(one.asked_ns, two.asked_ns)
    return Unavailable(from_ns=one.from_ns, to_ns=two.to_ns, reason=one.reason, asked_ns=asked_ns)
