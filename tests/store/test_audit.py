"""What an audit of the bars on disk finds, and how it mends it without losing anything."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from piker.core.rows import Columns
from piker.coverage import Finding, Span
from piker.store import barframes, parquet
from piker.store.audit import audit
from piker.store.barfiles import BarFiles
from piker.store.places import Month, Series
from piker.store.tickfiles import TickFiles
from tests.store.bars import JULY, JUNE, MINUTE, MINUTES, NOW, bars, minutes, stretch

ALL_OF_JUNE = Span(from_ns=JUNE, to_ns=JULY, how="live")
BAD_ROWS: dict[str, dict[str, float]] = {
    "high: expected a number, was nan": {"high": float("nan")},
    "low: expected a number, was -inf": {"low": float("-inf")},
    "high 0.5 is below low 1": {"high": 0.5},
    "open: expected within low and high, 1 to 2, was 9": {"open": 9.0},
    "close: expected within low and high, 1 to 2, was 0.1": {"close": 0.1},
    "volume: expected 0 or more, was -1": {"volume": -1.0},
    "trades: expected 0 or more, was -3": {"trades": -3},
    "derived, but with volume 10 and 2 trades": {"flags": 1},
    "expected the beginning of a period of 60 s": {"time_ns": JUNE + 2 * MINUTE + 1},
}
BAD_TIMES = {
    "it is not of the month 2026-06": JULY,
    "it is earlier than the row before, 2026-06-01T00:01:00Z": JUNE,
    "it is of the same time as the row before": JUNE + MINUTE,
}
BAD_SPANS = {
    "it ends before it begins": [stretch(5, 5)],
    "expected a stretch of the month 2026-06": [stretch(-5, 5)],
    "expected it to begin at 2026-06-01T00:09:00Z": [stretch(0, 9), stretch(8, 10)],
    "expected whole periods": [(JUNE, JUNE + MINUTE + 1)],
}


@pytest.fixture
def files(tmp_path: Path) -> Iterator[BarFiles]:
    with BarFiles(tmp_path, "replay") as files:
        yield files


def frame_of(rows: np.ndarray) -> pl.DataFrame:
    """As a file has them."""
    return barframes.frame_of(Columns.of(rows), "live", "replay", NOW)


def spoil(files: BarFiles, rows: np.ndarray, coverage: list[Span]) -> bytes:
    """Have June hold this, whatever it is; its file's content."""
    files.write(MINUTES, Month(2026, 6), frame_of(rows), coverage)
    return june(files).read_bytes()


def june(files: BarFiles) -> Path:
    return files.place(MINUTES) / "2026-06.parquet"


def wrong(files: BarFiles, *, repair: bool = False) -> list[Finding]:
    """What an audit finds wrong."""
    return [each for each in audit(files, NOW, repair=repair) if not each.harmless]


def test_what_was_put_is_as_it_should_be(files: BarFiles) -> None:
    files.put(MINUTES, minutes(1, 2), [stretch(0, 9)], how="live", source="x", now_ns=NOW)
    files.put(MINUTES, bars([JULY]), [], how="imported", source="x", now_ns=NOW)
    assert list(audit(files, NOW, repair=False)) == []


def test_that_ticks_are_recorded_beside_the_bars_is_as_it_should_be(files: BarFiles) -> None:
    ticks = TickFiles(files.directory)
    ticks.join(MINUTES.fqme, "2026-06-01", NOW)
    ticks.unlock()
    assert list(audit(files, NOW, repair=False)) == []


@pytest.mark.parametrize("text", BAD_ROWS)
def test_a_row_that_is_no_bar_is_found_and_its_time_is_a_gap_again(
    files: BarFiles, text: str
) -> None:
    rows = minutes(1, 2, 3)
    for name, value in BAD_ROWS[text].items():
        rows[name][1] = value
    content = spoil(files, rows, [ALL_OF_JUNE])
    (found,) = wrong(files)
    assert (found.row, found.time_ns, found.done) == (1, rows["time_ns"][1], "")
    assert text in found.text
    (mended,) = wrong(files, repair=True)
    assert "2 good rows stay" in mended.done
    assert wrong(files) == []
    assert np.array_equal(files.read(MINUTES, 0, NOW), rows[[0, 2]])
    spans = files.coverage(MINUTES, JUNE, JULY)
    assert [(span.from_ns, span.to_ns) for span in spans] == [
        stretch(0, 2),
        (stretch(3, 4)[0], JULY),
    ]
    (aside,) = june(files).parent.glob("*.damaged-*")
    assert aside.read_bytes() == content


@pytest.mark.parametrize("text", BAD_TIMES)
def test_a_row_in_the_wrong_place_is_found_and_mended(files: BarFiles, text: str) -> None:
    rows = minutes(1, 2)
    rows["time_ns"][1] = BAD_TIMES[text]
    spoil(files, rows, [])
    (found,) = wrong(files)
    assert (found.row, found.time_ns) == (1, BAD_TIMES[text])
    assert text in found.text
    wrong(files, repair=True)
    assert wrong(files) == []


def test_a_row_in_the_future_is_found(files: BarFiles) -> None:
    files.put(MINUTES, minutes(1, 2), [], how="live", source="x", now_ns=NOW)
    (found, _) = audit(files, JUNE - 60 * MINUTE, repair=False)
    assert (found.row, found.text) == (
        0,
        "row 0, 2026-06-01T00:01:00Z: time 2026-06-01T00:01:00Z is in the future",
    )


@pytest.mark.parametrize("text", BAD_SPANS)
def test_coverage_that_cannot_be_is_found_and_mended(files: BarFiles, text: str) -> None:
    spoil(files, minutes(1), [Span(from_ns=a, to_ns=b, how="live") for a, b in BAD_SPANS[text]])
    (found,) = wrong(files)
    assert text in found.text
    wrong(files, repair=True)
    assert wrong(files) == []
    assert np.array_equal(files.read(MINUTES, 0, NOW), minutes(1))


def test_a_row_in_a_stretch_that_is_called_empty_is_found_and_stays(files: BarFiles) -> None:
    spoil(files, minutes(1), [Span(from_ns=JUNE, to_ns=JULY, how="empty")])
    (found,) = wrong(files, repair=True)
    assert found.text.endswith("expected no row in it")
    assert [span.how for span in files.coverage(MINUTES, JUNE, JULY)] == ["backfilled"]
    assert np.array_equal(files.read(MINUTES, 0, NOW), minutes(1))


def test_a_file_that_cannot_be_read_is_found_and_set_aside(files: BarFiles) -> None:
    content = spoil(files, minutes(1), [ALL_OF_JUNE])
    june(files).write_bytes(content[:-3])
    (found,) = wrong(files)
    assert found.text.startswith("it can't be read: ")
    assert june(files).exists()
    (mended,) = wrong(files, repair=True)
    assert mended.done == f"set aside as _2026-06.parquet.damaged-{NOW}"
    (left,) = audit(files, NOW, repair=False)
    assert left.harmless
    assert Path(left.path).read_bytes() == content[:-3]


@pytest.mark.parametrize(
    ("frame", "text"),
    [
        (pl.DataFrame({"a": [1]}), "its columns are a, expected time, open"),
        (
            barframes.frame_of(Columns.of(minutes(1)), "live", "x", 0).cast({"open": pl.Float32}),
            "column open",
        ),
        (
            frame_of(minutes(1)).with_columns(volume=pl.lit(None, pl.Float64)),
            "column volume has rows without a value",
        ),
    ],
)
def test_a_file_of_another_schema_is_found(files: BarFiles, frame: pl.DataFrame, text: str) -> None:
    files.write(MINUTES, Month(2026, 6), frame, [])
    (found,) = wrong(files)
    assert text in found.text


def test_a_file_of_another_market_is_found(files: BarFiles) -> None:
    spoil(files, minutes(1), [])
    other = Series("other.replay", 60)
    files.place(other).mkdir(parents=True)
    june(files).rename(files.place(other) / "2026-06.parquet")
    (found,) = wrong(files)
    assert "it is of eurusd.spot.replay, 60 s, expected other.replay, 60 s" in found.text


def test_notes_that_cannot_be_read_are_found_and_set_aside(files: BarFiles) -> None:
    spoil(files, minutes(1), [])
    (june(files).parent / "_series.json").write_text('{"wanted": 5}')
    (found,) = wrong(files, repair=True)
    assert (Path(found.path).name, found.done) == (
        "_series.json",
        f"set aside as _series.json.damaged-{NOW}",
    )
    assert wrong(files) == []
    (aside,) = audit(files, NOW, repair=False)
    for text in (found.text, aside.text):
        assert "a calendar that an import named is lost with it: import again with --calendar" in (
            text
        )
        assert "fetched again" not in text


def test_what_a_crash_left_is_removed(files: BarFiles) -> None:
    spoil(files, minutes(1), [])
    left = parquet.unfinished(june(files))
    left.write_bytes(b"half")
    assert [each.done for each in wrong(files)] == [""]
    assert [each.done for each in wrong(files, repair=True)] == ["removed"]
    assert not left.exists()


def test_what_is_not_ours_is_told_of_and_left_alone(files: BarFiles) -> None:
    spoil(files, minutes(1), [])
    theirs = ["Mine.txt", "eurusd.spot.replay/1min/x", "eurusd.spot.replay/1m/copy.parquet"]
    for name in theirs:
        path = files.directory / name
        path.parent.mkdir(exist_ok=True)
        path.write_text("mine")
    found = list(audit(files, NOW, repair=True))
    assert len(found) == 3
    assert {each.text for each in found} == {"it is not piker's: it is left alone"}
    assert [(files.directory / name).read_text() for name in theirs] == ["mine"] * 3


def test_of_many_bad_rows_the_first_hundred_are_told_and_the_others_counted(
    files: BarFiles,
) -> None:
    rows = minutes(*range(150))
    rows["volume"] = -1.0
    spoil(files, rows, [])
    found = wrong(files)
    assert len(found) == 101
    assert found[-1].text == "50 more rows are wrong"


def test_one_series_can_be_looked_at_alone(files: BarFiles) -> None:
    files.place(MINUTES).mkdir(parents=True)
    (files.place(MINUTES) / "x").touch()
    other = Series("other.replay", 60)
    assert [len(list(audit(files, NOW, repair=False, only=one))) for one in (MINUTES, other)] == [
        1,
        0,
    ]
