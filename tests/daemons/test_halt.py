"""The halt and the mark: small files that outlive crashes, and count even when they are damaged."""

import os
import resource
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from piker.store import halt, marks
from piker.store.halt import Latch
from piker.store.marks import Mark

LATCH = Latch(reason="a strange fill", since_ns=7)
DAMAGE = [b"", b"{", b"[]", b"{}", b'{"reason":1,"since_ns":2}', b"\xff"]


def test_a_halt_is_read_by_whoever_looks_until_it_is_cleared(tmp_path: Path) -> None:
    assert halt.read(tmp_path) is None
    halt.set(tmp_path, LATCH)
    assert halt.read(tmp_path) == LATCH
    assert (tmp_path / "halt").read_bytes() == b'{"reason":"a strange fill","since_ns":7}'
    halt.clear(tmp_path)
    assert halt.read(tmp_path) is None


def test_to_halt_makes_the_directory_for_its_user_alone(tmp_path: Path) -> None:
    directory = tmp_path / "state" / "piker-emsd"
    halt.set(directory, LATCH)
    assert directory.stat().st_mode & 0o777 == 0o700
    assert (directory / "halt").stat().st_mode & 0o777 == 0o600


def test_a_later_halt_takes_the_place_of_the_one_before_and_leaves_nothing(tmp_path: Path) -> None:
    halt.set(tmp_path, LATCH)
    halt.set(tmp_path, Latch(reason="another", since_ns=8))
    assert halt.read(tmp_path) == Latch(reason="another", since_ns=8)
    assert os.listdir(tmp_path) == ["halt"]


def test_to_clear_twice_is_no_mistake(tmp_path: Path) -> None:
    halt.clear(tmp_path)
    marks.clear_busy(tmp_path)


@pytest.mark.parametrize("content", DAMAGE)
def test_a_halt_that_says_nothing_halts_and_says_so(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "halt").write_bytes(content)
    latch = halt.read(tmp_path)
    assert latch is not None
    assert latch.reason.startswith(f"{tmp_path}/halt is there, but says nothing: ")


def test_a_halt_that_can_not_be_opened_halts(tmp_path: Path) -> None:
    (tmp_path / "halt").mkdir()
    latch = halt.read(tmp_path)
    assert latch is not None
    assert "Is a directory" in latch.reason


@contextmanager
def no_room() -> Iterator[None]:
    """No file may grow, as on a full disk; one may still be made."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_without_room_for_the_reason_it_is_halted_all_the_same(tmp_path: Path) -> None:
    with no_room():
        halt.set(tmp_path, LATCH)
    latch = halt.read(tmp_path)
    assert latch is not None
    assert latch.since_ns == 0
    assert os.listdir(tmp_path) == ["halt"]


def test_without_room_a_halt_that_is_there_keeps_its_reason(tmp_path: Path) -> None:
    halt.set(tmp_path, LATCH)
    with no_room():
        halt.set(tmp_path, Latch(reason="another", since_ns=8))
    assert halt.read(tmp_path) == LATCH


WRITES_FOR_EVER = """
import sys
from pathlib import Path
from piker.store import halt
for number in range(10**9):
    halt.set(Path(sys.argv[1]), halt.Latch(reason="x" * 4000, since_ns=number))
    print(number, flush=True)
"""


def test_who_is_killed_while_it_halts_leaves_the_old_reason_or_the_new_one(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", WRITES_FOR_EVER, str(tmp_path)], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        lines = [process.stdout.readline() for _ in range(20)]
        process.kill()
    latch = halt.read(tmp_path)
    assert latch is not None
    assert latch.reason == "x" * 4000
    assert latch.since_ns >= int(lines[-1])


def test_a_mark_says_why_emsd_is_needed_and_by_which_providers(tmp_path: Path) -> None:
    assert marks.busy(tmp_path) is None
    marks.set_busy(tmp_path, "2 armed", {"sim", "replay"})
    assert marks.busy(tmp_path) == Mark(reason="2 armed", providers=("replay", "sim"))
    marks.clear_busy(tmp_path)
    assert marks.busy(tmp_path) is None


@pytest.mark.parametrize("content", DAMAGE)
def test_a_mark_that_says_nothing_is_one_all_the_same(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "busy").write_bytes(content)
    assert marks.busy(tmp_path)


def test_the_same_mark_is_not_written_again(tmp_path: Path) -> None:
    marks.set_busy(tmp_path, "2 armed", ["sim"])
    written = (tmp_path / "busy").stat().st_ino
    marks.set_busy(tmp_path, "2 armed", ["sim"])
    assert (tmp_path / "busy").stat().st_ino == written
    marks.set_busy(tmp_path, "1 armed", ["sim"])
    assert (tmp_path / "busy").stat().st_ino != written


@pytest.mark.parametrize("say", [lambda at: halt.set(at, LATCH), lambda at: marks.set_busy(at, "")])
def test_where_nothing_can_be_written_that_is_said(
    tmp_path: Path, say: Callable[[Path], None]
) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="file"):
        say(tmp_path / "file" / "below")
