"""What else may go wrong while all is killed: a slow disk, a full one, a clock that is stepped, a
feed that falls silent. All of it is done from outside, to real daemons.
"""

import os
import re
import shutil
import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import NoReturn

import pytest

from piker import paths

DOCTORED = Path(__file__).with_name("doctored.py")
CHUNK = 1 << 16
NS = 1_000_000_000


def emsd_state() -> Path:
    """Where emsd's journal is."""
    return paths.state_directory() / "piker-emsd"


@contextmanager
def journal_is_slow() -> Iterator[None]:
    """Nothing is committed while the context is open, as on a disk whose fsync takes so long."""
    disk = sqlite3.connect(emsd_state() / "journal.sqlite", isolation_level=None, timeout=10)
    with closing(disk):
        disk.execute("BEGIN IMMEDIATE")
        yield


def _leave_out(problem: str) -> NoReturn:
    """Only root may mount: whoever requires the tests that take root gets a failure."""
    if os.environ.get("PIKER_REQUIRE_SYSTEM_TESTS") == "1":
        pytest.fail(f"a full disk is required, but {problem}", pytrace=False)
    pytest.skip(f"not run: a full disk, since {problem}")


@contextmanager
def small_disk(megabytes: int) -> Iterator[None]:
    """emsd's state is on a disk of this size while the context is open; else the test is skipped.

    It must be over before whoever writes there starts, and they before it ends.
    """
    emsd_state().mkdir(mode=0o700)
    command = ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "disk", str(emsd_state())]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        _leave_out("no mount(8) here")
    if done.returncode:
        _leave_out(f"can't mount a disk: {done.stderr.strip()}")
    try:
        yield
    finally:
        subprocess.run(["umount", str(emsd_state())], check=True)


@contextmanager
def full_disk() -> Iterator[None]:
    """No room is left on emsd's disk while the context is open."""
    filler = emsd_state() / "filler"
    fd = os.open(filler, os.O_WRONLY | os.O_CREAT)
    try:
        with suppress(OSError):
            while os.write(fd, bytes(CHUNK)):
                pass
        yield
    finally:
        os.close(fd)
        filler.unlink()


class Doctor:
    """The clock of all daemons, and sim's feed, in a test's hands."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def step_clock(self, seconds: int) -> None:
        """The wall clock is so far ahead of the true one from now on."""
        self._write("step", str(seconds * NS))

    def jump(self, ticks: int) -> None:
        """All prices move by so much, as soon as the feed says something."""
        self._write("jump", str(ticks))

    @contextmanager
    def silence(self, jump: int = 0) -> Iterator[None]:
        """The feed says nothing while the context is open; then prices are so many ticks off."""
        self._write("silent", "")
        self.jump(jump)
        try:
            yield
        finally:
            (self._directory / "silent").unlink()

    def _write(self, name: str, text: str) -> None:
        """At once, as far as a reader can tell."""
        new = self._directory / f"{name}.new"
        new.write_text(text)
        new.rename(self._directory / name)


def doctored_units(home: Path, monkeypatch: pytest.MonkeyPatch) -> Doctor:
    """Units of the test's own, which run every daemon doctored."""
    units, hands = home / "units", home / "doctor"
    shutil.copytree(paths.units_directory(), units)
    hands.mkdir()
    for unit in units.glob("*.service"):
        text = unit.read_text()
        unit.write_text(re.sub(r"-I -m (piker\.\w+)", rf"-I {DOCTORED} {hands} \1", text))
    monkeypatch.setenv("PIKER_UNITS", str(units))
    return Doctor(hands)
