"""What an audit tells of a file, and what it looks through."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Final, NamedTuple

from piker.coverage import Finding
from piker.store.places import Series, instant

NOT_OURS: Final = "it is not piker's: it is left alone"


class Wrong(NamedTuple):
    """Something about what is in a file."""

    text: str
    row: int | None = None
    time_ns: int | None = None


def finding(path: Path, series: Series, wrong: Wrong, done: str) -> Finding:
    """Something that isn't as it should be, and what was done about it."""
    at = ""
    if wrong.row is not None and wrong.time_ns is not None:
        at = f"row {wrong.row}, {instant(wrong.time_ns)}: "
    return Finding(
        path=str(path),
        market=series.fqme,
        period_s=series.period_s,
        row=wrong.row,
        time_ns=wrong.time_ns,
        text=f"{at}{wrong.text}",
        done=done,
    )


def note(path: Path, text: str, series: Series | None = None) -> Finding:
    """Something that a person should know of."""
    market, period_s = series or ("", 0)
    return Finding(path=str(path), market=market, period_s=period_s, text=text, harmless=True)


def entries(directory: Path) -> Sequence[Path]:
    """What is in a directory, by name; nothing, if there is none."""
    try:
        return sorted(Path(entry.path) for entry in os.scandir(directory))
    except FileNotFoundError:
        return ()


def is_directory(path: Path) -> bool:
    """Whether it is one, and no link to one."""
    return path.is_dir() and not path.is_symlink()
