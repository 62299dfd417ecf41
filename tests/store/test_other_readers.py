"""The files of the store as others read them, who know nothing of piker."""

from pathlib import Path

import duckdb

from piker.store import parquet
from piker.store.barfiles import BarFiles
from piker.store.notes import Notes, Wanted
from tests.store.bars import JULY, MINUTE, MINUTES, NOW, bars

MONTHS = """
    SELECT strftime(date_trunc('month', time AT TIME ZONE 'UTC'), '%Y-%m') AS month,
           count(*), max(high), sum(volume), min(how), min(source)
    FROM 'history/**/*.parquet' GROUP BY month ORDER BY month
"""
"""What a person would type."""


def test_duckdb_reads_all_months_of_all_markets_as_they_are(
    tmp_path: Path,
) -> None:
    rows = bars([JULY - MINUTE, JULY, JULY + MINUTE])
    with BarFiles(tmp_path / "history", "replay") as files:
        files.put(MINUTES, rows, [], how="backfilled", source="replay", now_ns=NOW)
    query = MONTHS.replace("history/", f"{tmp_path}/history/")
    with duckdb.connect() as connection:
        assert connection.sql(query).fetchall() == [
            ("2026-06", 1, 2.0, 10.0, "backfilled", "replay"),
            ("2026-07", 2, 2.0, 20.0, "backfilled", "replay"),
        ]


def test_what_is_being_written_and_what_was_set_aside_is_not_read(tmp_path: Path) -> None:
    with BarFiles(tmp_path / "history", "replay") as files:
        files.put(MINUTES, bars([JULY]), [], how="live", source="replay", now_ns=NOW)
        path = files.place(MINUTES) / "2026-06.parquet"
        parquet.unfinished(path).write_bytes(b"half")
        path.write_bytes(b"damaged")
        parquet.set_aside(path, NOW)
    with duckdb.connect() as connection:
        file = f"'{tmp_path}/history/**/*.parquet'"
        assert connection.sql(f"SELECT count(*) FROM {file}").fetchall() == [(1,)]


def test_who_reads_a_whole_directory_meets_months_and_names_that_are_passed_over(
    tmp_path: Path,
) -> None:
    """pyarrow.dataset, by which pandas reads, leaves out what begins with "_" or "."."""
    with BarFiles(tmp_path / "history", "replay") as files:
        files.put(MINUTES, bars([JULY]), [], how="live", source="replay", now_ns=NOW)
        files.note(MINUTES, Notes(wanted=Wanted(from_ns=JULY)))
        path = files.place(MINUTES) / "2026-06.parquet"
        path.write_bytes(b"damaged")
        parquet.set_aside(path, NOW)
    names = {each.name for each in path.parent.iterdir()}
    assert {name for name in names if name[0] not in "_."} == {"2026-07.parquet"}
    assert len(names) == 3


def test_duckdb_sees_times_to_the_nanosecond_with_their_zone_and_the_words(
    tmp_path: Path,
) -> None:
    with BarFiles(tmp_path / "history", "replay") as files:
        files.put(MINUTES, bars([JULY]), [], how="live", source="replay", now_ns=NOW + 7)
    file = f"'{tmp_path}/history/**/*.parquet'"
    with duckdb.connect() as connection:
        ((time, how, written),) = connection.sql(
            f"SELECT epoch_ns(time), how, epoch_ns(written) FROM {file}"
        ).fetchall()
        (first, second, *_) = connection.sql(f"DESCRIBE SELECT * FROM {file}").fetchall()
        keys = connection.sql(f"SELECT decode(key) FROM parquet_kv_metadata({file})").fetchall()
    assert (time, how, written) == (JULY, "live", NOW + 7)
    assert ("piker",) in keys
    assert (first[:2], second[:2]) == (("time", "TIMESTAMPTZ_NS"), ("open", "DOUBLE"))
