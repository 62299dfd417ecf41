"""Of two rows of one time, which is kept: the rule of barframes.py, as it is said there."""

from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from piker.core.bars import ROW
from piker.store.barfiles import BarFiles
from piker.store.barframes import RowHow
from tests.store.bars import JUNE, MAY, MINUTE, MINUTES, NOW, bars, minutes, stretch

RANK: dict[RowHow, int] = {"imported": 0, "live": 1, "backfilled": 2}


class Batch(NamedTuple):
    """What is put at once: prices by minute, around the end of a month, and what they cover."""

    how: RowHow
    prices: dict[int, int]
    covered: tuple[int, int]


class Row(NamedTuple):
    """What a simple store would know of a minute; the later one in this order is kept."""

    covered: bool
    rank: int
    price: int


batches = st.lists(
    st.builds(
        Batch,
        st.sampled_from(list(RANK)),
        st.dictionaries(st.integers(-4, 4), st.integers(1, 3), max_size=8),
        st.tuples(st.integers(-5, 5), st.integers(-5, 5)),
    ),
    max_size=6,
)


def simply(several: list[Batch]) -> tuple[dict[int, int], set[int]]:
    """Prices by minute and the minutes that are covered, minute by minute."""
    rows: dict[int, Row] = {}
    covered: set[int] = set()
    for batch in several:
        rows = {at: row._replace(covered=at in covered) for at, row in rows.items()}
        new = set(range(*batch.covered))
        for at, price in batch.prices.items():
            row = Row(at in new, RANK[batch.how], price)
            if at not in rows or row[:2] >= rows[at][:2]:
                rows[at] = row
        covered |= new
    return {at: row.price for at, row in sorted(rows.items())}, covered


def put(files: BarFiles, batch: Batch, now_ns: int) -> None:
    """Put a batch, its rows in no order."""
    rows = [bars([JUNE + at * MINUTE], float(price)) for at, price in batch.prices.items()]
    rows.append(bars([]))
    from_, to = batch.covered
    covered = [stretch(from_, to)] if from_ < to else []
    files.put(MINUTES, np.concatenate(rows), covered, how=batch.how, source="x", now_ns=now_ns)


@settings(max_examples=60)
@given(batches)
def test_whatever_is_put_in_whatever_order_each_minute_has_the_row_that_the_rule_says(
    several: list[Batch],
) -> None:
    prices, covered = simply(several)
    with TemporaryDirectory() as directory, BarFiles(Path(directory), "replay") as files:
        for number, batch in enumerate(several):
            put(files, batch, NOW + number)
        rows = files.read(MINUTES, MAY, NOW)
        spans = files.coverage(MINUTES, MAY, NOW)
    assert dict(zip((rows["time_ns"] - JUNE) // MINUTE, rows["open"], strict=True)) == prices
    ends = [((span.from_ns - JUNE) // MINUTE, (span.to_ns - JUNE) // MINUTE) for span in spans]
    assert {at for first, end in ends for at in range(first, end)} == covered
    assert all(one[1] <= two[0] for one, two in pairwise(ends))


@pytest.fixture
def files(tmp_path: Path) -> Iterator[BarFiles]:
    with BarFiles(tmp_path, "replay") as files:
        yield files


def provenance(files: BarFiles) -> list[tuple[object, ...]]:
    """how, source and the instant of writing of each row of June."""
    frame = pl.read_parquet(files.place(MINUTES) / "2026-06.parquet")
    return frame.select("how", "source", pl.col("written").to_physical()).rows()


def test_a_row_says_how_it_came_from_whom_and_since_when_it_is_here(files: BarFiles) -> None:
    files.put(MINUTES, minutes(1, 2), [], how="live", source="replay", now_ns=NOW)
    files.put(
        MINUTES, minutes(2, 3), [stretch(2, 4)], how="imported", source="a.csv", now_ns=NOW + 1
    )
    assert provenance(files) == [
        ("live", "replay", NOW),
        ("imported", "a.csv", NOW + 1),
        ("imported", "a.csv", NOW + 1),
    ]


def test_a_row_that_comes_again_as_it_was_is_not_written_anew(files: BarFiles) -> None:
    for now_ns in (NOW, NOW + 1):
        put = files.put(
            MINUTES, minutes(1, 2), [stretch(0, 9)], how="live", source="x", now_ns=now_ns
        )
    assert (put.added, put.changed, put.kept) == (0, 0, 2)
    assert {row[2] for row in provenance(files)} == {NOW}


def test_of_two_new_rows_of_one_time_the_later_in_the_array_counts(files: BarFiles) -> None:
    rows = np.concatenate([minutes(2), minutes(1, price=7.0), minutes(1, price=8.0)])
    assert files.put(MINUTES, rows, [], how="live", source="x", now_ns=NOW).added == 2
    assert files.read(MINUTES, 0, NOW)["open"].tolist() == [8.0, 1.5]


def test_a_row_that_can_be_no_bar_is_refused_and_its_time_stays_a_gap(files: BarFiles) -> None:
    rows = minutes(1, 2, 3)
    rows["low"][1] = np.nan
    put = files.put(MINUTES, rows, [stretch(0, 5)], how="backfilled", source="x", now_ns=NOW)
    assert (put.added, put.refused) == (2, 1)
    assert put.faults == ((1, JUNE + 2 * MINUTE, "low: expected a number, was nan"),)
    spans = files.coverage(MINUTES, MAY, NOW)
    assert [(span.from_ns, span.to_ns) for span in spans] == [stretch(0, 2), stretch(3, 5)]


def test_nothing_at_all_can_be_put(files: BarFiles) -> None:
    none = np.empty(0, dtype=ROW)
    put = files.put(MINUTES, none, [], how="live", source="x", now_ns=NOW)
    assert (put.added, files.months(MINUTES)) == (0, [])
