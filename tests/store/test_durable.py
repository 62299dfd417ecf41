"""Small files that are there whole or not at all."""

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from piker.store import durable

SYNCS = """
import os, sys
from pathlib import Path
from piker.store import durable
whole = os.fsync
def told(fd):
    print(os.readlink(f"/proc/self/fd/{fd}"))
    whole(fd)
os.fsync = told
durable.replace(Path(sys.argv[1]), b"x")
"""


def test_each_directory_that_was_made_is_on_disk_before_the_name_in_it(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b" / "file"
    command = [sys.executable, "-c", SYNCS, str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    first, second, file, last = done.stdout.splitlines()
    assert (first, second) == (str(tmp_path), str(tmp_path / "a"))
    assert Path(file).parent == path.parent
    assert last == str(path.parent)


def test_directories_that_are_made_are_private(tmp_path: Path) -> None:
    durable.replace(tmp_path / "a" / "b" / "file", b"x")
    modes = [stat.S_IMODE((tmp_path / each).stat().st_mode) for each in ("a", "a/b")]
    assert modes == [0o700, 0o700]


def test_where_no_directory_can_be_made_nothing_is(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("a file")
    with pytest.raises(OSError, match="a"):
        durable.replace(tmp_path / "a" / "b" / "file", b"x")
    assert os.listdir(tmp_path) == ["a"]
