"""Looks at recorded ticks on disk: what isn't as it should be is found, and set aside on request.

Ticks can't be had again: nothing of a file is thrown away, and one that can be played stays. A file
that can't is set aside whole, by name, so that the others are played. What a crash left half
written is removed. It is done while datad records, as the thread that changes files (`alone`).
"""

from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Final

from piker.core.resampling import DAY_NS
from piker.core.spans import Pair, clipped, joined
from piker.core.tickfaults import first_fault
from piker.coverage import Finding
from piker.store import durable, parquet, tickfiles
from piker.store.findings import NOT_OURS, Wrong, entries, finding, is_directory, note
from piker.store.parquet import DAMAGED, UNFINISHED, Damaged
from piker.store.places import Series, instant
from piker.store.tickfiles import Recorded, Taken, TickFiles, is_of_a_day, is_segment

if TYPE_CHECKING:
    import numpy as np

ASIDE: Final = (
    "it was set aside, since it could not be read or played; its ticks are not to be had again: "
    "look at it, or delete it"
)
_EPOCH: Final = date(1970, 1, 1)


class TickAudit:
    """An audit of one market's ticks. All of it waits for the disk: one file at a time."""

    def __init__(self, files: TickFiles, fqme: str, now_ns: int, *, repair: bool) -> None:
        self._files = files
        self._series = Series(fqme, 0)
        self._now_ns = now_ns
        self._repair = repair
        self._messages: list[Pair] = []
        """Those of the files that were looked at: first ones, and the first after each stretch."""

    def paths(self) -> list[Path]:
        """All that there is to look at, in the order in which it is played. Raises OSError."""
        return list(self._paths())

    def look(self, path: Path) -> list[Finding]:
        """What is wrong with one of them. Raises OSError."""
        try:
            return list(self._look(path))
        except FileNotFoundError:  # its day was joined meanwhile
            return []

    def _paths(self) -> Iterator[Path]:
        for path in entries(self._files.place(self._series.fqme)):
            day = is_directory(path) and is_of_a_day(path)
            yield from entries(path) if day else [path]

    def _look(self, path: Path) -> Iterator[Finding]:
        if path.name.startswith(UNFINISHED):
            yield from self._unfinished(path)
        elif DAMAGED in path.name:
            yield note(path, ASIDE, self._series)
        elif is_directory(path) or not (is_segment(path) or is_of_a_day(path)):
            yield note(path, NOT_OURS, self._series)
        else:
            yield from self._file(path)

    def _unfinished(self, path: Path) -> Iterator[Finding]:
        """What nobody is writing now."""
        try:
            with self._files.alone():
                if not path.exists():
                    return
                if self._repair:
                    durable.remove(path)
        except Taken:  # who may be writing it
            return
        text = "a write that a crash interrupted left it; what it was to have is lost, or elsewhere"
        yield finding(path, self._series, Wrong(text), "removed" if self._repair else "")

    def _file(self, path: Path) -> Iterator[Finding]:
        found = self._read(path)
        if isinstance(found, Wrong):
            yield self._set_aside(path, found) if self._repair else self._told(path, found)
        else:
            yield from self._notes(path, found)

    def _set_aside(self, path: Path, wrong: Wrong) -> Finding:
        try:
            with self._files.alone():
                if isinstance(self._read(path), Wrong):
                    aside = parquet.set_aside(path, self._now_ns)
                    return self._told(path, wrong, f"set aside as {aside.name}")
        except Taken as taken:
            return self._told(path, Wrong(f"{wrong.text}; {taken}", wrong.row, wrong.time_ns))
        return self._told(path, wrong, "it is another file now")

    def _told(self, path: Path, wrong: Wrong, done: str = "") -> Finding:
        return finding(path, self._series, wrong, done)

    def _read(self, path: Path) -> Recorded | Wrong:
        """What is in a file, or why that can't be played."""
        try:
            found = tickfiles.read(path)
        except Damaged as damaged:
            return Wrong(f"it can't be read: {damaged}")
        return _problem(found, self._series.fqme) or found

    def _notes(self, path: Path, found: Recorded) -> Iterator[Finding]:
        """What is odd, but is played all the same."""
        stretches = _messages(found)
        twice = [pair for each in stretches for pair in clipped(self._messages, *each)]
        self._messages = joined([*self._messages, *stretches])
        if twice:
            text = f"messages have numbers of others before it, first {twice[0][0]}"
            yield note(path, f"{text}: it is played after those", self._series)
        day = (path.parent if is_segment(path) else path).name.removesuffix(".parquet")
        if text := _of_another_day(found, day):
            yield note(path, text, self._series)


def _problem(found: Recorded, fqme: str) -> Wrong | None:
    """Why the ticks can't be played, if so."""
    said, ticks = found
    if said.market.fqme != fqme:
        return Wrong(f"it is of {said.market.fqme}, expected {fqme}")
    for span in said.spans:
        if span.from_ns >= span.to_ns:
            return Wrong(f"covered from {instant(span.from_ns)}: it ends before it begins")
    if fault := first_fault(ticks):
        return Wrong(fault.reason, fault.row, ticks.times[fault.row])
    return _bad_messages(found)


def _bad_messages(found: Recorded) -> Wrong | None:
    """Numbers rise, and are below that of the next one."""
    numbers = _numbers(found)
    bad = numbers < 0
    bad[1:] |= numbers[1:] < numbers[:-1]
    bad |= numbers >= found.about.next_message
    if not bad.any():
        return None
    row = int(bad.argmax())
    least = int(numbers[row - 1]) if row else 0
    expected = f"from {least} to {found.about.next_message - 1}"
    text = f"message: expected {expected}, was {numbers[row]}"
    return Wrong(text, row, found.ticks.times[row])


def _messages(found: Recorded) -> list[Pair]:
    """The numbers that a file has: first ones, and the first after each stretch."""
    import numpy as np

    numbers = np.unique(_numbers(found))
    if not len(numbers):
        return []
    ends = np.flatnonzero(np.diff(numbers) != 1)
    firsts = numbers[np.append(0, ends + 1)].tolist()
    lasts = numbers[np.append(ends, len(numbers) - 1)].tolist()
    return [(first, last + 1) for first, last in zip(firsts, lasts, strict=True)]


def _of_another_day(found: Recorded, day: str) -> str:
    """Ticks are of the day that their market had when they were seen, within another."""
    import numpy as np

    try:
        begin_ns = (date.fromisoformat(day) - _EPOCH).days * DAY_NS
    except ValueError:
        return f"expected the name of a day, was {day}"
    seen = np.array(found.ticks.seen, dtype=np.int64)
    far = np.flatnonzero((seen < begin_ns - DAY_NS) | (seen >= begin_ns + 2 * DAY_NS))
    return f"ticks were seen at {instant(int(seen[far[0]]))}, not on {day}" if len(far) else ""


def _numbers(found: Recorded) -> "np.ndarray":
    import numpy as np

    return np.array(found.ticks.messages, dtype=np.int64)
