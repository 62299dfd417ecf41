"""Which of many texts are most like what a person typed."""

from collections.abc import Sequence

from rapidfuzz import fuzz, process

LONGEST_PATTERN = 64
"""Letters of a pattern that count: more than any name has, and the time to match grows by it."""

LEAST_LIKE = 65
"""Per cent of a pattern that a text has to hold, allowing for misspelling."""


SHORTEST_MISSPELT = 4
"""Letters of the shortest pattern that may be misspelt: shorter ones are like everything."""


def rank(pattern: str, texts: Sequence[str], limit: int) -> list[int]:
    """Indexes of the texts, lower case, that are like a pattern, best first.

    First those that hold it: at their beginning, at the beginning of a word, anywhere, each in
    order; then those that hold something like it. An empty pattern is in every text.
    """
    pattern = pattern.strip().lower()[:LONGEST_PATTERN]
    holding = [index for index, text in enumerate(texts) if pattern in text]
    best = _placed(pattern, texts, holding, limit)
    if len(best) < limit and len(pattern) >= SHORTEST_MISSPELT:
        best += _alike(pattern, texts, set(holding), limit - len(best))
    return best


def _placed(pattern: str, texts: Sequence[str], holding: list[int], limit: int) -> list[int]:
    first: list[int] = []
    word: list[int] = []
    within: list[int] = []
    for index in holding:
        at = texts[index].find(pattern)
        place = first if at == 0 else within if texts[index][at - 1].isalnum() else word
        place.append(index)
        if len(first) == limit:
            break
    return (first + word + within)[:limit]


def _alike(pattern: str, texts: Sequence[str], without: set[int], limit: int) -> list[int]:
    found = process.extract(
        pattern,
        texts,
        scorer=fuzz.partial_ratio,
        score_cutoff=LEAST_LIKE,
        limit=limit + len(without),
    )
    return [index for _, _, index in found if index not in without][:limit]
