"""A process that is killed while it writes."""

import subprocess
import sys
from pathlib import Path

import pytest

from piker.store.reading import Reader
from tests.store.samples import on_disk

ROOT = Path(__file__).parents[2]


def killed_after(path: Path, lines: int) -> list[tuple[int, int]]:
    """What a process had acknowledged when it was killed: seqs, and numbers of the ledger."""
    command = [sys.executable, "-m", "tests.store.appender", str(path)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        said = [process.stdout.readline() for _ in range(lines)]
        process.kill()
        said += process.stdout.readlines()
    whole = [line.split() for line in said if line.endswith("\n")]
    return [(int(seq), int(number)) for seq, number in whole]


@pytest.mark.parametrize("lines", [1, 40, 333])
def test_what_was_acknowledged_outlives_kill_9_and_nothing_is_missing_before_it(
    home: Path, lines: int
) -> None:
    path = home / "journal"
    acknowledged = killed_after(path, lines) + killed_after(path, lines)
    events = on_disk(path, lambda reader: reader.events_since(0, 1_000_000))
    entries = on_disk(path, Reader.ledger_lines)
    assert [news.seq for news in events] == [*range(1, len(events) + 1)]
    assert [line.number for line in entries] == [*range(1, len(entries) + 1)]
    assert len(acknowledged) >= 2 * lines
    assert max(seq for seq, _ in acknowledged) <= len(events)
    assert len(events) == len(entries) == len(on_disk(path, Reader.book))
