"""What covers time when several know of it."""

from collections.abc import Sequence

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from piker.core.covering import KNOWN_BETTER, neat, together, uncovered, with_rows
from piker.coverage import How, Span

HOWS: list[How] = ["live", "backfilled", "empty", "imported"]
RANK = {how: rank for rank, hows in enumerate(KNOWN_BETTER) for how in hows}


@st.composite
def spans(draw: st.DrawFn) -> list[Span]:
    """Apart, oldest first, those that touch of different kinds."""
    hows = draw(st.lists(st.none() | st.sampled_from(HOWS), max_size=12))
    return neat(
        Span(from_ns=at, to_ns=at + 1, how=how) for at, how in enumerate(hows) if how is not None
    )


def by_instant(found: Sequence[Span]) -> dict[int, How]:
    """How each instant is known."""
    return {at: span.how for span in found for at in range(span.from_ns, span.to_ns)}


@given(spans(), spans())
def test_each_instant_is_known_as_by_who_is_believed_first(
    old: list[Span], new: list[Span]
) -> None:
    was, adds = by_instant(old), by_instant(new)
    expected = {
        at: min((known[at] for known in (was, adds) if at in known), key=RANK.__getitem__)
        for at in was | adds
    }
    found = together(old, new)
    assert by_instant(found) == expected
    assert found == neat(found)


@given(spans(), st.integers(0, 12), st.integers(0, 12))
def test_what_is_uncovered_is_not_known_and_all_else_as_before(
    old: list[Span], from_ns: int, to_ns: int
) -> None:
    left = by_instant(uncovered(old, [(from_ns, to_ns)] if from_ns < to_ns else []))
    assert left == {at: how for at, how in by_instant(old).items() if not from_ns <= at < to_ns}


def test_a_stretch_with_a_row_is_not_called_empty() -> None:
    old = [Span(from_ns=at, to_ns=at + 5, how="empty") for at in (0, 10, 20)]
    times = np.array([9, 10, 25])
    assert [span.how for span in with_rows(old, times)] == ["empty", "backfilled", "empty"]
    assert with_rows([], times) == []
