"""Parquet files, whole or not at all."""

import errno
from contextlib import suppress
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from piker.store import parquet

FRAME = pl.DataFrame({"a": [1, 2], "b": [0.5, None]})


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, bytes]:
    """A file to spoil, and what it holds."""
    path = tmp_path_factory.mktemp("spoiled") / "x.parquet"
    numbers = pl.int_range(500, eager=True)
    frame = pl.DataFrame({"a": numbers, "b": (numbers * 0.37).sin(), "c": numbers.cast(pl.String)})
    frame = frame.with_columns(pl.col("c").cast(pl.Categorical))
    parquet.write(frame, path, {"piker": "words"})
    return path, path.read_bytes()


def test_what_was_written_is_read_with_its_words(tmp_path: Path) -> None:
    path = tmp_path / "below" / "x.parquet"
    parquet.write(FRAME, path, {"piker": "words"})
    assert parquet.read(path).equals(FRAME)
    assert parquet.read(path, ["b"]).equals(FRAME.select("b"))
    assert parquet.words_of(path) == {"piker": "words"}
    parquet.check(path)
    assert [each.name for each in path.parent.iterdir()] == ["x.parquet"]


def test_a_write_that_fails_leaves_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "x.parquet"
    parquet.write(FRAME, path, {})
    parquet.unfinished(path).symlink_to("/dev/full")
    with pytest.raises(OSError, match=r"No space left") as raised:
        parquet.write(FRAME.reverse(), path, {})
    assert raised.value.errno == errno.ENOSPC
    assert parquet.read(path).equals(FRAME)
    assert [each.name for each in tmp_path.iterdir()] == ["x.parquet"]


@pytest.mark.parametrize("content", [b"", b"PAR1", b"PAR1" + b"x" * 100 + b"PAR1"])
def test_what_is_no_such_file_is_damaged_and_set_aside(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "x.parquet"
    path.write_bytes(content)
    for read in (parquet.read, parquet.words_of, parquet.check):
        with pytest.raises(parquet.Damaged, match=r"^[^\n]+$"):
            read(path)
    aside = parquet.set_aside(path, 7)
    assert (aside.name, aside.read_bytes()) == ("_x.parquet.damaged-7", content)
    assert not path.exists()


def test_a_file_that_lacks_a_column_is_damaged(tmp_path: Path) -> None:
    parquet.write(FRAME, tmp_path / "x.parquet", {})
    with pytest.raises(parquet.Damaged, match="unable to find column"):
        parquet.read(tmp_path / "x.parquet", ["c"])


def spoiled(content: bytes, at: int, other: bytes) -> bytes:
    """With other bytes from there on."""
    return content[:at] + other + content[at + len(other) :]


@given(st.data())
def test_a_file_of_which_a_byte_is_other_than_it_was_has_not_its_checksum(
    written: tuple[Path, bytes], data: st.DataObject
) -> None:
    path, content = written
    at = data.draw(st.integers(0, len(content) - 1))
    path.write_bytes(spoiled(content, at, bytes([content[at] ^ data.draw(st.integers(1, 255))])))
    with pytest.raises(parquet.Damaged):
        parquet.check(path)


@given(st.integers(0, 4), st.integers(1, 255))
def test_words_of_which_a_byte_is_other_than_it_was_are_not_given(
    written: tuple[Path, bytes], letter: int, flipped: int
) -> None:
    path, content = written
    at = content.rindex(b"words") + letter
    path.write_bytes(spoiled(content, at, bytes([content[at] ^ flipped])))
    with pytest.raises(parquet.Damaged, match="hasn't the checksum"):
        parquet.words_of(path)


@given(st.data())
def test_a_hostile_file_is_read_or_damaged_and_nothing_else(
    written: tuple[Path, bytes], data: st.DataObject
) -> None:
    path, content = written
    at = data.draw(st.integers(0, len(content) - 1))
    path.write_bytes(spoiled(content, at, data.draw(st.binary(min_size=1, max_size=8))))
    for read in (parquet.read, parquet.words_of, parquet.check):
        with suppress(parquet.Damaged):
            read(path)
