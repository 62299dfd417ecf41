"""What a benchmark gives: a figure, its peer's in the same run, and their ratio."""

import os
import platform
from collections.abc import Callable, Sequence
from statistics import median

from msgspec import Struct

ROUNDS = 5
"""Runs of each, alternated with the peer's; the median counts."""


class Result(Struct, frozen=True, kw_only=True):
    """One row. `ratio` above 1: better than the peer."""

    bench: str
    case: str
    value: float
    unit: str
    peer: str
    peer_value: float
    ratio: float


def compare(
    bench: str,
    case: str,
    unit: str,
    ours: Callable[[], float],
    peer: str,
    theirs: Callable[[], float],
    *,
    more_is_better: bool,
    rounds: int = ROUNDS,
) -> Result:
    """Run both in turn; medians of the figures, and of the ratios of neighbours."""
    pairs = [(ours(), theirs()) for _ in range(rounds)]
    ratios = [one / other if more_is_better else other / one for one, other in pairs]
    return Result(
        bench=bench,
        case=case,
        value=_round(median(one for one, _ in pairs)),
        unit=unit,
        peer=peer,
        peer_value=_round(median(other for _, other in pairs)),
        ratio=round(median(ratios), 2),
    )


def table(results: Sequence[Result]) -> str:
    """All rows for people, in Markdown."""
    rows = [
        f"| {row.bench} | {row.case} | {row.value:g} | {row.unit} "
        f"| {row.peer} | {row.peer_value:g} | {row.ratio} |"
        for row in results
    ]
    return "\n".join(
        [
            "# Benchmarks",
            "",
            f"Written by `make bench`. Medians of {ROUNDS} runs alternated with the peer, which",
            "does the same work. Machines are noisy: ratios hold, absolute figures don't. A ratio",
            (
                f"above 1 is better than the peer. Python {platform.python_version()}, "
                f"{os.cpu_count()} processors, load {os.getloadavg()[2]:.1f} at the end."
            ),
            "",
            "| bench | case | value | unit | peer | peer's value | ratio |",
            "| --- | --- | ---: | --- | --- | ---: | ---: |",
            *rows,
            "",
        ]
    )


def _round(value: float) -> float:
    return float(f"{value:.4g}")
