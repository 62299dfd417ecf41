"""Ticks on disk: segments, whole days, what a crash leaves."""

import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from random import Random

import duckdb
import pytest
from msgspec import structs

from piker.store import parquet, tickfiles
from piker.store.parquet import Damaged
from piker.store.tickfiles import Taken, TickFiles
from tests.store.ticks import DAY, MARKET, NOON_NS, columns, plain, said, written

ROOT = Path(__file__).parents[2]


@pytest.fixture
def files(tmp_path: Path) -> Iterator[TickFiles]:
    files = TickFiles(tmp_path)
    yield files
    files.unlock()


@pytest.fixture
def ticks(tmp_path: Path) -> Path:
    """Where the market's ticks are."""
    return tickfiles.ticks_of(tmp_path, MARKET.fqme)


def test_what_was_written_is_read_with_all_that_was_said_of_it(
    files: TickFiles, ticks: Path
) -> None:
    written(files, 0, 1)
    written(files, 2)
    about, found = tickfiles.read(ticks)
    assert plain(found) == plain(columns(0, 1, 2))
    assert about == said(0, 1, 2)
    assert {path.name for path in (ticks / DAY).iterdir()} == {"000001.parquet", "000002.parquet"}
    assert ticks.parent.name == "brk%2Fb.nyse.fake"
    assert (tickfiles.fqme_of(ticks), files.next_message(MARKET.fqme)) == (MARKET.fqme, 3)


def test_a_day_that_is_over_becomes_one_file_and_the_others_stay(
    files: TickFiles, ticks: Path
) -> None:
    written(files, 0, 1)
    written(files, 2)
    written(files, 3, day="2027-01-16")
    before = tickfiles.read(ticks)
    assert files.join(MARKET.fqme, "2027-01-16", 0) == []
    assert {path.name for path in ticks.iterdir()} == {f"{DAY}.parquet", "2027-01-16"}
    after = tickfiles.read(ticks)
    assert (after.about, plain(after.ticks)) == (before.about, plain(before.ticks))


def test_segments_that_are_in_the_days_file_already_are_not_read_and_go(
    files: TickFiles, ticks: Path, tmp_path: Path
) -> None:
    written(files, 0)
    written(files, 1)
    shutil.copytree(ticks / DAY, tmp_path / "left")
    files.join(MARKET.fqme, "2027-01-16", 0)
    shutil.copytree(tmp_path / "left", ticks / DAY)  # as a crash before they were removed
    assert plain(tickfiles.read(ticks).ticks) == plain(columns(0, 1))
    written(files, 2)
    assert plain(tickfiles.read(ticks).ticks) == plain(columns(0, 1, 2))
    files.join(MARKET.fqme, "2027-01-16", 0)
    assert plain(tickfiles.read(ticks).ticks) == plain(columns(0, 1, 2))
    assert [path.name for path in ticks.iterdir()] == [f"{DAY}.parquet"]


def test_what_comes_after_a_day_was_joined_has_a_number_of_its_own(
    files: TickFiles, ticks: Path
) -> None:
    written(files, 0)
    files.join(MARKET.fqme, "2027-01-16", 0)
    assert written(files, 1).name == "000002.parquet"


def test_a_damaged_segment_is_set_aside_and_the_others_are_joined(
    files: TickFiles, ticks: Path
) -> None:
    written(files, 0)
    bad = written(files, 1)
    written(files, 2)
    bad.write_bytes(bad.read_bytes()[:-20])
    with pytest.raises(Damaged, match=r"^000002\.parquet: "):
        tickfiles.read(ticks)
    (aside,) = files.join(MARKET.fqme, "2027-01-16", 7)
    assert (aside.name, aside.exists()) == ("_000002.parquet.damaged-7", True)
    about, found = tickfiles.read(ticks)
    assert plain(found) == plain(columns(0, 2))
    assert about.spans == (*said(0).spans, *said(2).spans)


def test_a_segment_that_cannot_be_written_leaves_nothing(files: TickFiles, ticks: Path) -> None:
    written(files, 0)
    parquet.unfinished(ticks / DAY / "000002.parquet").symlink_to("/dev/full")
    with pytest.raises(OSError, match="No space left"):
        written(files, 1)
    assert plain(tickfiles.read(ticks).ticks) == plain(columns(0))


def test_a_day_that_cannot_be_joined_keeps_its_segments(files: TickFiles, ticks: Path) -> None:
    written(files, 0)
    parquet.unfinished(ticks / f"{DAY}.parquet").symlink_to("/dev/full")
    with pytest.raises(OSError, match="No space left"):
        files.join(MARKET.fqme, "2027-01-16", 0)
    assert plain(tickfiles.read(ticks).ticks) == plain(columns(0))


def test_only_one_process_writes(files: TickFiles, tmp_path: Path) -> None:
    other = TickFiles(tmp_path)
    written(other, 0)
    with pytest.raises(Taken, match="another datad records to"):
        written(files, 1)
    other.unlock()
    written(files, 1)


def test_other_tools_read_the_files_as_they_are(files: TickFiles) -> None:
    path = written(files, 3)
    found = (
        duckdb.connect()
        .execute(
            f"select epoch_ns(time), message, kind, price, size, derived, delayed from '{path}'"
        )
        .fetchall()
    )
    time_ns = NOON_NS + 3
    assert found == [
        (time_ns, 3, "bid", 3.0, None, False, True),
        (time_ns, 3, "trade", 0.5, 3.0, False, False),
        (time_ns + 10, 3, None, None, None, False, False),
    ]


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        ({}, "expected a recording of datad's, with its market in the metadata, was none"),
        ({"piker": "{"}, "in its metadata: Input data was truncated"),
        ({"piker": "{}"}, "in its metadata: Object missing required field `version`"),
        ({"piker": '{"version": 2}'}, "expected a recording of version 1, was 2"),
        ({"piker": '{"version": 1}'}, "in its metadata: Object missing required field `market`"),
    ],
)
def test_a_file_that_says_nothing_right_of_itself_is_damaged(
    tmp_path: Path, words: dict[str, str], problem: str
) -> None:
    parquet.write(tickfiles._frame(columns(1)), tmp_path / "x.parquet", words)
    with pytest.raises(Damaged) as damaged:
        tickfiles.read(tmp_path / "x.parquet")
    assert str(damaged.value).startswith(problem)


def test_a_file_of_other_columns_is_damaged(files: TickFiles) -> None:
    path = written(files, 1)
    frame = parquet.read(path)
    parquet.write(frame.drop("kind"), path, tickfiles._words(said(1)))
    with pytest.raises(Damaged, match=r"^expected kind to be Enum.*, was none$"):
        tickfiles.read(path)
    parquet.write(frame.with_columns(seen=None), path, tickfiles._words(said(1)))
    with pytest.raises(Damaged, match=r"^expected seen to be Datetime.*, was Null$"):
        tickfiles.read(path)


def test_the_newest_market_counts_with_the_sessions_of_all(files: TickFiles, ticks: Path) -> None:
    written(files, 0)
    renamed = structs.replace(MARKET, description="Hathaway")
    files.write(DAY, columns(1), structs.replace(said(1), market=renamed))
    assert tickfiles.read(ticks).about.market == renamed
    assert tickfiles.about_all(ticks).market == renamed


def flip(path: Path, at: int) -> None:
    """Damage one bit; from the end, if negative."""
    content = bytearray(path.read_bytes())
    content[at] ^= 1
    path.write_bytes(content)


def test_messages_are_numbered_on_after_the_greatest_that_is_known(files: TickFiles) -> None:
    assert files.next_message(MARKET.fqme) == 0
    written(files, 0, 1)
    assert files.next_message(MARKET.fqme) == 2
    files.join(MARKET.fqme, "2027-01-16", 0)
    assert files.next_message(MARKET.fqme) == 2
    written(files, 9, day="2027-01-16")
    written(files, 12)  # after the clock was set back
    assert files.next_message(MARKET.fqme) == 13


def test_what_a_damaged_file_still_says_of_its_messages_counts(files: TickFiles) -> None:
    written(files, 0)
    flip(written(files, 1, 2), 20)
    assert files.next_message(MARKET.fqme) == 3


@pytest.mark.parametrize("day", [DAY, "2027-01-16"])
def test_no_number_of_a_file_that_says_nothing_is_given_again(
    files: TickFiles, ticks: Path, day: str
) -> None:
    written(files, 0)
    written(files, 1, 2, day=day).write_bytes(b"no more")
    first = files.next_message(MARKET.fqme)
    assert first == 1 + tickfiles.SKIPPED
    files.join(MARKET.fqme, "2027-01-17", 7)
    assert files.next_message(MARKET.fqme) == first
    written(files, first, day=day)
    assert files.next_message(MARKET.fqme) == first + 1


def test_where_all_is_damaged_no_number_is_given_again(files: TickFiles) -> None:
    written(files, 0, 1).write_bytes(b"no more")
    assert files.next_message(MARKET.fqme) == tickfiles.SKIPPED


def test_a_damaged_file_before_one_that_can_be_read_changes_no_number(
    files: TickFiles, ticks: Path
) -> None:
    written(files, 0)
    written(files, 1).write_bytes(b"no more")
    written(files, 2)
    assert files.next_message(MARKET.fqme) == 3
    files.join(MARKET.fqme, "2027-01-16", 7)
    assert files.next_message(MARKET.fqme) == 3


def test_the_number_of_a_segment_that_was_set_aside_is_not_given_again(
    files: TickFiles, ticks: Path
) -> None:
    written(files, 0)
    parquet.set_aside(written(files, 1), 7)
    assert written(files, 2).name == "000003.parquet"


def test_what_came_after_the_clock_was_set_back_over_midnight_is_played_after_what_was_before(
    files: TickFiles, ticks: Path
) -> None:
    after = "2027-01-16"
    for message, day in enumerate((DAY, after, DAY, after)):
        written(files, message, day=day)
        files.join(MARKET.fqme, after, 0)
    assert plain(tickfiles.read(ticks).ticks) == plain(columns(0, 1, 2, 3))
    files.join(MARKET.fqme, "2027-01-17", 0)
    assert plain(tickfiles.read(ticks).ticks) == plain(columns(0, 1, 2, 3))


def test_where_numbers_were_given_twice_files_are_played_by_their_names(
    files: TickFiles, ticks: Path
) -> None:
    written(files, 0, 1)
    written(files, 0)
    assert plain(tickfiles.read(ticks).ticks) == plain(columns(0, 1, 0))


def killed_after(directory: Path, segments: int, pause_s: float) -> int:
    """How many messages a process had said to be on disk when it was killed, a while after some."""
    command = [sys.executable, "-m", "tests.store.tickappender", str(directory)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        numbers = [process.stdout.readline() for _ in range(segments)]
        with suppress(subprocess.TimeoutExpired):
            process.wait(pause_s)
        process.kill()
        numbers += process.stdout.readlines()
    return int([line for line in numbers if line.endswith("\n")][-1]) + 1


@pytest.mark.parametrize("seed", range(3))
def test_what_was_written_outlives_kill_9_once_and_nothing_is_damaged(
    tmp_path: Path, ticks: Path, seed: int
) -> None:
    chance = Random(seed)
    for _ in range(3):
        written = killed_after(tmp_path, chance.randrange(1, 9), chance.random() / 20)
        about, found = tickfiles.read(ticks)
        assert list(dict.fromkeys(found.messages)) == [*range(about.next_message)]
        assert len(found) == 3 * about.next_message
        assert written <= about.next_message <= written + 1
    assert list(ticks.rglob("*.damaged-*")) == []
