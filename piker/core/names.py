"""Which market a name means: less than the whole fqme where that is unambiguous."""

from collections.abc import Collection
from heapq import nlargest

from piker.errors import Refused
from piker.interfaces.data import AmbiguousMarket, NoSuchMarket

SIMILAR = 5
"""How many names a refusal shows: what fits a line."""

ALIKE = 2
"""Names with fewer first letters in common are not alike."""


def resolve(name: str, fqmes: Collection[str], provider: str) -> str:
    """The fqme that a name means among those of a provider.

    In any case, with or without the provider, whole or cut after any part: `EURUSD`,
    `eurusd.spot`, `eurusd.spot.replay`. A whole name wins over longer ones that begin with it.
    Give a set or dict where there are many. Raises Refused(NoSuchMarket | AmbiguousMarket).
    """
    bare = name.strip().lower().removesuffix(f".{provider}")
    if (whole := f"{bare}.{provider}") in fqmes:
        return whole
    found = [fqme for fqme in fqmes if fqme.startswith(f"{bare}.")] if bare else []
    if not found:
        raise Refused(NoSuchMarket(market=name, similar=similar(bare, fqmes)))
    if len(found) > 1:
        raise Refused(AmbiguousMarket(market=name, candidates=tuple(sorted(found))))
    return found[0]


def similar(name: str, fqmes: Collection[str]) -> tuple[str, ...]:
    """The names that begin most like this one, best first."""
    alike = [(common, fqme) for fqme in fqmes if (common := _common(name, fqme)) >= ALIKE]
    return tuple(fqme for _, fqme in nlargest(SIMILAR, alike))


def _common(one: str, other: str) -> int:
    """How many first letters they share."""
    for count, (left, right) in enumerate(zip(one, other, strict=False)):
        if left != right:
            return count
    return min(len(one), len(other))
