"""Somebody else's file, read by a process of its own, and its rows put where they are asked for."""

import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from piker.barmemory import ROW_BYTES, columns_in
from piker.cli.historyread import reading
from piker.core.rowfaults import utc
from piker.store.foreignwords import Asked, BadFile, Piece
from piker.storeclient import LentRows
from tests.store.bars import JULY, JUNE, MAY, MINUTE, NOW

HEAD = "time,open,high,low,close,volume\n"
MINUTES = Asked(period_s=60)
CAPACITY = 3


@pytest.fixture
def lent() -> Iterator[LentRows]:
    fd = os.memfd_create("rows", os.MFD_CLOEXEC)
    os.ftruncate(fd, CAPACITY * ROW_BYTES)
    yield LentRows(fd, CAPACITY)
    os.close(fd)


def a_file(directory: Path, *times_ns: int) -> Path:
    """The volume of each row is its number."""
    rows = [f"{utc(each)},1.5,2,1,1.75,{number}\n" for number, each in enumerate(times_ns)]
    path = directory / "theirs.csv"
    path.write_text(HEAD + "".join(rows))
    return path


@pytest.mark.parametrize(
    ("times_ns", "pieces"),
    [
        ([JUNE], [(1, JUNE, JUNE + MINUTE)]),
        (
            [MAY, MAY + MINUTE, JUNE, JUNE + MINUTE],
            [(2, MAY, JUNE), (2, JUNE, JUNE + 2 * MINUTE)],
        ),
        (
            [MAY, *(JUNE + each * MINUTE for each in range(4)), JULY],
            [
                (1, MAY, JUNE),
                (3, JUNE, JUNE + 3 * MINUTE),
                (2, JUNE + 3 * MINUTE, JULY + MINUTE),
            ],
        ),
    ],
)
async def test_pieces_have_room_and_end_with_a_month_if_they_can(
    times_ns: list[int], pieces: list[tuple[int, int, int]], tmp_path: Path, lent: LentRows
) -> None:
    async with reading(a_file(tmp_path, *times_ns), MINUTES, NOW, lent) as reader:
        found = await reader.found()
    assert found.pieces == tuple(Piece(*each) for each in pieces)
    assert found.good == found.read == len(times_ns)


async def test_a_piece_is_put_where_it_is_asked_for_in_any_order(
    tmp_path: Path, lent: LentRows
) -> None:
    times_ns = [JUNE + each * MINUTE for each in range(5)]
    memory = columns_in(lent.fd, CAPACITY)
    async with reading(a_file(tmp_path, *times_ns), MINUTES, NOW, lent) as reader:
        assert [each.rows for each in (await reader.found()).pieces] == [3, 2]
        await reader.put(1)
        assert memory.part(slice(2)).rows().tolist() == [
            (times_ns[3], 1.5, 2.0, 1.0, 1.75, 3.0, 0, 0),
            (times_ns[4], 1.5, 2.0, 1.0, 1.75, 4.0, 0, 0),
        ]
        await reader.put(0)
        assert memory["time_ns"].tolist() == times_ns[:3]


@pytest.fixture
def dying(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who would read is killed before it has read anything."""
    program = tmp_path / "python"
    program.write_text("#!/bin/sh\nkill -KILL $$\n")
    program.chmod(0o700)
    monkeypatch.setattr(sys, "executable", str(program))


@pytest.mark.usefixtures("dying")
async def test_a_reader_that_is_killed_is_a_sentence(tmp_path: Path, lent: LentRows) -> None:
    async with reading(a_file(tmp_path, JUNE), MINUTES, NOW, lent) as reader:
        with pytest.raises(BadFile, match="it is torn or damaged: reading it ended with SIGKILL"):
            await reader.found()


async def test_of_a_reader_that_is_killed_later_it_is_said_that_not_all_was_handed_in(
    tmp_path: Path, lent: LentRows
) -> None:
    async with reading(a_file(tmp_path, JUNE), MINUTES, NOW, lent) as reader:
        await reader.found()
        reader.process.send_signal(signal.SIGKILL)
        with pytest.raises(BadFile, match="was ended with SIGKILL: not all of it was handed in"):
            await reader.put(0)


async def test_what_a_file_says_is_told_short_and_without_what_a_terminal_goes_by(
    tmp_path: Path, lent: LentRows
) -> None:
    path = tmp_path / "theirs.csv"
    path.write_text("\x1b[31mred," + "many," * 1_000 + "\n1,2\n")
    async with reading(path, MINUTES, NOW, lent) as reader:
        with pytest.raises(BadFile) as told:
            await reader.found()
    assert r"has \x1b[31mred, many, " in str(told.value)
    assert len(str(told.value)) < 1_100


@pytest.mark.parametrize("name", ["/dev/stdin", "/dev/null", "fifo"])
async def test_what_is_no_file_is_not_read(name: str, tmp_path: Path, lent: LentRows) -> None:
    os.mkfifo(tmp_path / "fifo")
    async with reading(tmp_path / name, MINUTES, NOW, lent) as reader:
        with pytest.raises(BadFile, match="expected a file, was something else"):
            await reader.found()


async def test_a_reader_that_fails_says_what_it_said(tmp_path: Path) -> None:
    closed = LentRows(os.open("/dev/null", os.O_RDWR), CAPACITY)
    try:
        async with reading(a_file(tmp_path, JUNE), MINUTES, NOW, closed) as reader:
            await reader.found()
            with pytest.raises(RuntimeError, match="No such device"):
                await reader.put(0)
    finally:
        os.close(closed.fd)


async def test_a_reader_ends_with_what_it_was_asked_for(tmp_path: Path, lent: LentRows) -> None:
    async with reading(a_file(tmp_path, JUNE), MINUTES, NOW, lent) as reader:
        await reader.found()
    assert reader.process.returncode == -signal.SIGKILL


async def test_a_reader_ends_with_who_asks_it(tmp_path: Path, lent: LentRows) -> None:
    async with reading(a_file(tmp_path, JUNE), MINUTES, NOW, lent) as reader:
        await reader.found()
        assert reader.process.stdin
        await reader.process.stdin.aclose()
        assert await reader.process.wait() == 0
