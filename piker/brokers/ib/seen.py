"""Markets that a search finds without asking: what the gateway found before, and what is known."""

from collections.abc import Iterable, Mapping
from datetime import date

from piker.brokers.ib.memory import Memory
from piker.brokers.ib.messages import Sample
from piker.brokers.ib.names import name_at, name_of
from piker.core.ranking import rank
from piker.interfaces.data import Match

SEEN = 2000
"""Markets that are remembered to be found: as many as are compared in a few milliseconds."""
ASKED = 500
"""Patterns that the gateway is not asked again for today."""


class Seen:
    """What can be found without the gateway, and what it was asked for."""

    def __init__(self) -> None:
        self.descriptions: Memory[str, str] = Memory(SEEN)
        """By fqme."""
        self.asked: Memory[str, tuple[date, tuple[str, ...]]] = Memory(ASKED)
        """By pattern: on which day, and the fqmes that the gateway found, in its order."""

    def learn(self, samples: tuple[Sample, ...]) -> tuple[str, ...]:
        """Remember what the gateway found; gives the names of it."""
        found = {}
        for sample in samples:
            if name := _name(sample):
                found[name] = sample.description or sample.contract.symbol
        for name, description in found.items():
            self.descriptions.put(name, description)
        return tuple(found)

    def best(
        self, pattern: str, theirs: Iterable[str], known: Mapping[str, str], limit: int
    ) -> tuple[Match, ...]:
        """What is most like the pattern; then what the gateway found for its own reasons.

        `known`: descriptions of more markets, by fqme.
        """
        known = {**dict(self.descriptions.items()), **known}
        names = list(known)
        texts = [f"{name} {known[name]}".lower() for name in names]
        ours = [names[index] for index in rank(pattern, texts, limit)]
        both = [name for name in dict.fromkeys((*ours, *theirs)) if name in known]
        return tuple(Match(fqme=name, description=known[name]) for name in both[:limit])


def _name(sample: Sample) -> str | None:
    """The fqme of what was found, or the name of a future's front month."""
    contract = sample.contract
    if contract.primary_exchange:
        return name_at(contract, contract.primary_exchange)
    return name_of(contract)
