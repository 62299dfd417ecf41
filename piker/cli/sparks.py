"""Small charts of characters: a line of prices, a strip of what is covered."""

from collections.abc import Iterable, Sequence

from piker.core.spans import Pair, clipped

WIDTH = 60
_LEVELS = "▁▂▃▄▅▆▇█"


def sparkline(values: Sequence[float], width: int = WIDTH) -> str:
    """Values from left to right, the last of each part; the lowest is the lowest block."""
    if not values:
        return ""
    count = min(width, len(values))
    shown = [values[(at + 1) * len(values) // count - 1] for at in range(count)]
    low, high = min(shown), max(shown)
    scale = (len(_LEVELS) - 1) / (high - low) if high > low else 0.0
    return "".join(_LEVELS[round((each - low) * scale)] for each in shown)


def strip(whole: Pair, covered: Iterable[Pair], lacking: Iterable[Pair], width: int = WIDTH) -> str:
    """A stretch from left to right: █ covered, ▒ in part, · not, and blank where it was closed."""
    begin, end = whole
    covered, lacking = list(covered), list(lacking)
    cells = []
    for at in range(width):
        cell = begin + at * (end - begin) // width, begin + (at + 1) * (end - begin) // width
        has, lacks = bool(clipped(covered, *cell)), bool(clipped(lacking, *cell))
        cells.append("▒" if has and lacks else "█" if has else "·" if lacks else " ")
    return "".join(cells)
