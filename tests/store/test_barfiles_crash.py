"""Bars on disk of a process that is killed while it writes."""

import random
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from piker.store.audit import audit
from piker.store.barfiles import BarFiles
from tests.store import putter
from tests.store.bars import JUNE, MINUTES, NOW

ROOT = Path(__file__).parents[2]
KILLED = 20


def killed(directory: Path, first: int, after_s: float) -> int:
    """The batch that a process was about to put, or at, when it was killed."""
    words = [directory, first, after_s]
    command = [sys.executable, "-m", "tests.store.putter", *map(str, words)]
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=False)
    said = [int(line) for line in done.stdout.splitlines(keepends=True) if line.endswith("\n")]
    assert done.returncode == -14, "expected it to be killed by SIGALRM"
    assert said == [*range(first, first + len(said))]
    return first + len(said)


def put_all(files: BarFiles, numbers: Iterable[int]) -> None:
    for number in numbers:
        putter.put(files, number)


def test_what_was_put_outlives_kill_9_and_the_end_is_as_if_nothing_had_been(
    tmp_path: Path,
) -> None:
    number = 0
    for _ in range(KILLED):
        number = killed(tmp_path / "killed", number, random.uniform(0.001, 0.3))
        with BarFiles(tmp_path / "killed", "replay") as files:
            assert list(audit(files, NOW, repair=False)) == []
    with BarFiles(tmp_path / "killed", "replay") as files:
        put_all(files, [number])
    with BarFiles(tmp_path / "whole", "replay") as whole:
        put_all(whole, range(number + 1))
    assert number >= KILLED
    assert np.array_equal(files.read(MINUTES, 0, NOW), whole.read(MINUTES, 0, NOW))
    assert files.coverage(MINUTES, 0, NOW) == whole.coverage(MINUTES, 0, NOW)
    assert files.coverage(MINUTES, JUNE, NOW)
