"""What is kept on disk, asked for without waiting: and what is said where nothing can be kept."""

import os
import subprocess
import sys
from itertools import chain, repeat
from pathlib import Path

import numpy as np
import pytest
import trio
from msgspec import structs

from piker.archive import Archive, open_archive
from piker.store.barfiles import BarFiles, Put
from piker.store.notes import Notes, Wanted
from piker.store.room import MIB, TooLittle
from tests.fakes.disk import disk, free
from tests.store.bars import JULY, JUNE, MAY, MINUTES, NOW, bars, minutes, stretch
from tests.store.test_room import UNSHARED, can_mount

ROOT = Path(__file__).parents[2]

FILL = 'mount -t tmpfs -o size="$3" none "$1" && exec "$0" -m tests.store.barfiller "$1" "$2"'
READ_ONLY = 'mount -t tmpfs -o ro none "$1" && exec "$0" -c "$2" "$1/below"'
PROBLEM = "import sys, trio; import tests.daemons.test_archive as here; "
PROBLEM += "trio.run(here.say_problem, sys.argv[1])"
WITHOUT_POLARS = f"import sys; sys.modules['polars'] = None; {PROBLEM}"
"""As if it weren't installed: The Python Language Reference, 5.3.1."""


async def put(archive: Archive, *numbers: int) -> Put | None:
    """Put these minutes of June, seen live."""
    return await archive.put(
        MINUTES, minutes(*numbers), [stretch(0, 9)], how="live", source="replay", now_ns=NOW
    )


def wanted(before: Notes) -> Notes:
    """That somebody asked for these."""
    return structs.replace(before, wanted=Wanted(from_ns=1))


def unshared(script: str, *words: object) -> subprocess.CompletedProcess[str]:
    """Run a script in a mount namespace of its own; $0 is our Python."""
    command = [*UNSHARED, "sh", "-c", script, sys.executable, *map(str, words)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


async def say_problem(directory: str) -> None:
    async with open_archive(Path(directory), "replay") as archive:
        assert await put(archive, 1) is None
        assert not len(await archive.read(MINUTES, 0, NOW))
        print(archive.problem)


async def test_what_is_put_is_read_and_outlives_the_process(tmp_path: Path) -> None:
    async with open_archive(tmp_path, "replay") as archive:
        assert archive.problem == ""
        assert await put(archive, 1, 2) == Put(2, 0, 0, ())
        assert await archive.change(MINUTES, wanted)
    async with open_archive(tmp_path, "replay") as archive:
        assert await archive.series() == [MINUTES]
        assert np.array_equal(await archive.read(MINUTES, 0, NOW), minutes(1, 2))
        (span,) = await archive.coverage(MINUTES, 0, NOW)
        assert (span.from_ns, span.to_ns, span.how) == (*stretch(0, 9), "live")
        assert await archive.notes(MINUTES) == Notes(wanted=Wanted(from_ns=1))


async def test_while_another_process_writes_nothing_is_kept_but_all_can_be_read(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with BarFiles(tmp_path, "replay") as other:
        other.put(MINUTES, minutes(1), [], how="live", source="replay", now_ns=NOW)
        async with open_archive(tmp_path, "replay") as archive:
            assert await put(archive, 2) is None
            assert await put(archive, 3) is None
            assert archive.problem.startswith("nothing is kept on disk: another process has ")
            assert len(caplog.records) == 1
            assert np.array_equal(await archive.read(MINUTES, 0, NOW), minutes(1))
            other.unlock()
            assert await put(archive, 4) == Put(1, 0, 0, ())
            assert archive.problem == ""


def test_without_polars_nothing_is_kept_and_the_package_is_named(tmp_path: Path) -> None:
    command = [sys.executable, "-c", WITHOUT_POLARS, str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.stdout == (
        "nothing is kept on disk: the package piker-history isn't installed\n"
    ), done.stderr
    assert list(tmp_path.iterdir()) == []


async def test_a_daemon_that_keeps_bars_has_not_imported_polars_before_it_must(
    tmp_path: Path,
) -> None:
    code = "import piker.archive, sys; print('polars' in sys.modules, 'numpy' in sys.modules)"
    done = await trio.run_process([sys.executable, "-c", code], cwd=ROOT, capture_stdout=True)
    assert done.stdout == b"False False\n"


@pytest.mark.skipif(not can_mount(), reason="no mount namespaces here")
def test_a_disk_that_is_full_is_told_once_damages_nothing_and_is_tried_again(
    tmp_path: Path,
) -> None:
    done = unshared(FILL, tmp_path, 0, "2m")
    problem = "nothing is kept on disk: No space left on device"
    problem += f": {tmp_path}/history/replay; it is tried again"
    assert done.stdout.splitlines() == [
        "with room: 20000 kept, 20000 there, 0 wrong: ",
        f"full: None kept, 20000 there, 0 wrong: {problem}",
        f"still full: None kept, 20000 there, 0 wrong: {problem}",
        "with room: 20000 kept, 40000 there, 0 wrong: ",
    ], done.stderr
    assert done.stderr.count("nothing is kept on disk") == 1
    assert done.stderr.count("bars are kept on disk again") == 1


@pytest.mark.skipif(not can_mount(), reason="no mount namespaces here")
def test_room_that_is_left_to_others_is_not_written_to_and_that_is_told_once(
    tmp_path: Path,
) -> None:
    done = unshared(FILL, tmp_path, 2 * MIB, "4m")
    problem = "nothing is kept on disk: less than 2 MiB are free on the disk of "
    problem += f"{tmp_path}/history/replay; that much is left to the journal of orders; "
    problem += "it is tried again"
    assert done.stdout.splitlines() == [
        "with room: 20000 kept, 20000 there, 0 wrong: ",
        f"full: None kept, 20000 there, 0 wrong: {problem}",
        f"still full: None kept, 20000 there, 0 wrong: {problem}",
        "with room: 20000 kept, 40000 there, 0 wrong: ",
    ], done.stderr
    assert done.stderr.count("nothing is kept on disk") == 1
    assert done.stderr.count("bars are kept on disk again") == 1


async def test_room_for_half_a_gigabyte_is_left_to_orders_unless_told_otherwise(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_archive(tmp_path, "replay") as archive:
        free(monkeypatch, 512 * MIB)
        assert await put(archive, 1) == Put(1, 0, 0, ())
        free(monkeypatch, 512 * MIB - 1)
        assert await put(archive, 2) is None
        assert not await archive.change(MINUTES, wanted)
        assert np.array_equal(await archive.read(MINUTES, 0, NOW), minutes(1))


async def test_a_write_of_many_months_ends_when_room_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Months are written at once: which of them there is no room for is chance."""
    left = chain([MIB, MIB, MIB, 0], repeat(MIB))
    monkeypatch.setattr(os, "statvfs", lambda path: disk(next(left)))
    rows = bars([MAY, JUNE, JULY])
    with BarFiles(tmp_path, "replay", MIB) as files:
        files.check_room()
        with pytest.raises(TooLittle):
            files.put(MINUTES, rows, [], how="live", source="replay", now_ns=NOW)
        kept = files.read(MINUTES, 0, NOW)
        assert np.array_equal(kept, rows[np.isin(rows["time_ns"], kept["time_ns"])])
        assert len(kept) == 2
        assert files.put(MINUTES, rows, [], how="live", source="replay", now_ns=NOW).added == 1
        assert np.array_equal(files.read(MINUTES, 0, NOW), rows)


@pytest.mark.skipif(not can_mount(), reason="no mount namespaces here")
def test_where_nothing_may_be_written_it_says_so(tmp_path: Path) -> None:
    done = unshared(READ_ONLY, tmp_path, PROBLEM)
    assert done.stdout == (
        "nothing is kept on disk: Read-only file system: "
        f"{tmp_path}/below/replay; it is tried again\n"
    ), done.stderr
