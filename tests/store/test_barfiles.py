"""Bars on disk: what is put is read, by months, with its coverage; how it is merged."""

import logging
import os
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from piker.coverage import Span, Unavailable
from piker.store import parquet
from piker.store.barfiles import BarFiles, Held
from piker.store.notes import Notes, Wanted
from piker.store.places import Month, Series
from tests.store.bars import JULY, JUNE, MAY, MINUTE, MINUTES, NOW, bars, minutes, stretch


@pytest.fixture
def files(tmp_path: Path) -> Iterator[BarFiles]:
    with BarFiles(tmp_path, "replay") as files:
        yield files


def spans(files: BarFiles) -> list[tuple[int, int, str]]:
    """What is covered, in minutes of June."""
    found = files.coverage(MINUTES, MAY, NOW)
    return [((s.from_ns - JUNE) // MINUTE, (s.to_ns - JUNE) // MINUTE, s.how) for s in found]


def test_rows_of_two_months_are_in_two_files_and_read_as_one(files: BarFiles) -> None:
    rows = bars([JULY - 2 * MINUTE, JULY - MINUTE, JULY, JULY + MINUTE])
    put = files.put(
        MINUTES, rows, [(JULY - 2 * MINUTE, JULY + 2 * MINUTE)], how="live", source="x", now_ns=NOW
    )
    assert (put.added, put.changed, put.kept) == (4, 0, 0)
    assert files.months(MINUTES) == [Month(2026, 6), Month(2026, 7)]
    assert np.array_equal(files.read(MINUTES, 0, NOW), rows)
    assert np.array_equal(files.read(MINUTES, JULY - MINUTE, JULY + MINUTE), rows[1:3])
    assert files.coverage(MINUTES, JULY - MINUTE, NOW) == [
        Span(from_ns=JULY - MINUTE, to_ns=JULY + 2 * MINUTE, how="live")
    ]


def test_a_series_is_found_by_its_names(files: BarFiles, tmp_path: Path) -> None:
    odd = Series("../Étoile [*]=~?.x.replay", 300)
    assert files.series() == []
    files.put(odd, bars([JUNE]), [], how="live", source="replay", now_ns=NOW)
    files.put(MINUTES, minutes(1), [], how="live", source="replay", now_ns=NOW)
    assert files.series() == [odd, MINUTES]
    assert np.array_equal(files.read(odd, 0, NOW), bars([JUNE]))
    assert (tmp_path / "replay/eurusd.spot.replay/1m/2026-06.parquet").is_file()
    assert (
        tmp_path / "replay/%2E.%2F%C3%89toile%20%5B%2A%5D=~%3F.x.replay/5m/2026-06.parquet"
    ).is_file()


def test_what_was_backfilled_without_a_row_is_empty(files: BarFiles) -> None:
    covered = [stretch(0, 10), stretch(20, 30)]
    files.put(MINUTES, minutes(5), covered, how="backfilled", source="replay", now_ns=NOW)
    assert spans(files) == [(0, 10, "backfilled"), (20, 30, "empty")]


def test_what_was_empty_is_backfilled_once_it_has_a_row(files: BarFiles) -> None:
    files.put(MINUTES, minutes(), [stretch(0, 10)], how="backfilled", source="x", now_ns=NOW)
    assert spans(files) == [(0, 10, "empty")]
    files.put(MINUTES, minutes(5), [], how="live", source="x", now_ns=NOW)
    assert spans(files) == [(0, 10, "backfilled")]


def test_coverage_is_of_whole_periods(files: BarFiles) -> None:
    covered = [(JUNE + 1, JUNE + 3 * MINUTE - 1), (JUNE + 5 * MINUTE + 1, JUNE + 6 * MINUTE)]
    files.put(MINUTES, minutes(), covered, how="live", source="replay", now_ns=NOW)
    assert spans(files) == [(1, 2, "live")]


def test_a_second_writer_is_kept_out_until_the_first_is_gone(
    files: BarFiles, tmp_path: Path
) -> None:
    other = BarFiles(tmp_path, "replay")
    with pytest.raises(Held, match=r"another process has .*replay/lock"):
        other.lock()
    files.unlock()
    with other:
        assert other.locked


def test_what_a_crash_left_is_removed_by_the_next_who_writes(
    files: BarFiles, tmp_path: Path
) -> None:
    files.put(MINUTES, minutes(1), [], how="live", source="x", now_ns=NOW)
    path = files.place(MINUTES) / "2026-06.parquet"
    left = [parquet.unfinished(path), path.with_name("._series.json-x7r")]
    for each in left:
        each.touch()
    files.unlock()
    with BarFiles(tmp_path, "replay"):
        assert [each.exists() for each in (path, *left)] == [True, False, False]


def test_notes_are_kept_beside_the_rows(files: BarFiles) -> None:
    noted = Notes(
        unavailable=(Unavailable(from_ns=1, to_ns=2, reason="too old", asked_ns=3),),
        wanted=Wanted(from_ns=1, paused=True),
    )
    assert files.notes(MINUTES) == Notes()
    files.note(MINUTES, noted)
    assert files.notes(MINUTES) == noted
    assert files.series() == [MINUTES]


def test_a_correction_of_the_provider_is_taken_and_told(
    files: BarFiles, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    files.put(MINUTES, minutes(1, 2), [stretch(0, 3)], how="live", source="replay", now_ns=NOW)
    better = minutes(1, 2)
    better["volume"][1] = 11.0
    put = files.put(
        MINUTES, better, [stretch(0, 3)], how="backfilled", source="replay", now_ns=NOW + 1
    )
    assert (put.added, put.changed, put.kept) == (0, 1, 1)
    assert "of 2026-06-01T00:02:00Z was 1.5, 2, 1, 1.75, 10, 2" in caplog.text
    assert "and is 1.5, 2, 1, 1.75, 11, 2" in caplog.text
    assert np.array_equal(files.read(MINUTES, 0, NOW), better)
    assert spans(files) == [(0, 3, "backfilled")]


def test_what_is_damaged_is_set_aside_reported_and_its_time_a_gap_again(
    files: BarFiles, caplog: pytest.LogCaptureFixture
) -> None:
    rows = bars([JUNE, JULY])
    files.put(MINUTES, rows, [(JUNE, JULY + MINUTE)], how="live", source="x", now_ns=NOW)
    path = files.place(MINUTES) / "2026-06.parquet"
    path.write_bytes(b"PAR1 nothing PAR1")
    assert np.array_equal(files.read(MINUTES, 0, NOW), rows[1:])
    assert spans(files) == [(43200, 43201, "live")]
    (aside,) = path.parent.glob("_2026-06.parquet.damaged-*")
    assert aside.read_bytes() == b"PAR1 nothing PAR1"
    assert f"is {aside.name} now; its time is fetched again" in caplog.text
    files.put(MINUTES, rows[:1], [], how="live", source="x", now_ns=NOW)
    assert np.array_equal(files.read(MINUTES, 0, NOW), rows)


def test_notes_that_are_damaged_are_set_aside_and_what_is_lost_with_them_is_said(
    files: BarFiles, caplog: pytest.LogCaptureFixture
) -> None:
    files.put(MINUTES, bars([JUNE]), [], how="imported", source="x", now_ns=NOW)
    files.note(MINUTES, Notes(calendar="XNYS"))
    path = files.place(MINUTES) / "_series.json"
    path.write_text(path.read_text()[:20])
    assert files.notes(MINUTES) == Notes()
    (aside,) = path.parent.glob("_series.json.damaged-*")
    assert f"is {aside.name} now; a calendar that an import named is lost with it" in caplog.text
    assert "fetched again" not in caplog.text


def test_who_doesnt_write_leaves_what_is_damaged_where_it_is(
    files: BarFiles, tmp_path: Path
) -> None:
    files.put(MINUTES, bars([JUNE]), [], how="live", source="x", now_ns=NOW)
    path = files.place(MINUTES) / "2026-06.parquet"
    path.write_bytes(b"nothing")
    assert not len(BarFiles(tmp_path, "replay").read(MINUTES, 0, NOW))
    assert path.read_bytes() == b"nothing"


@settings(max_examples=50)
@given(st.data())
def test_of_a_file_with_a_byte_that_is_other_the_rows_are_read_as_they_were_or_not_at_all(
    data: st.DataObject,
) -> None:
    with TemporaryDirectory() as directory, BarFiles(Path(directory), "replay") as files:
        rows = minutes(*range(50))
        files.put(MINUTES, rows, [stretch(0, 50)], how="live", source="x", now_ns=NOW)
        path = files.place(MINUTES) / "2026-06.parquet"
        content = bytearray(path.read_bytes())
        content[data.draw(st.integers(0, len(content) - 1))] ^= data.draw(st.integers(1, 255))
        path.write_bytes(content)
        assert not len(files.read(MINUTES, 0, NOW))
        assert files.coverage(MINUTES, 0, NOW) == []


def test_what_a_file_says_of_itself_is_read_once(files: BarFiles) -> None:
    files.put(MINUTES, minutes(1), [stretch(0, 9)], how="live", source="x", now_ns=NOW)
    before = files.coverage(MINUTES, 0, NOW)
    path = files.place(MINUTES) / "2026-06.parquet"
    at, size = path.stat().st_mtime_ns, path.stat().st_size
    with path.open("r+b") as file:
        file.write(bytes(size))
    os.utime(path, ns=(at, at))
    assert files.coverage(MINUTES, 0, NOW) == before
    os.utime(path, ns=(at, at + 1))
    assert files.coverage(MINUTES, 0, NOW) == []
