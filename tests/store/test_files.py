"""Which files are journals, who may write them, and copies of them."""

import os
import sqlite3
import stat
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import msgspec
import pytest
import trio

from piker.errors import Refused
from piker.interfaces.orders import BrokenJournal
from piker.store import schema
from piker.store.backup import backup
from piker.store.files import connect, open_for_writing
from piker.store.journal import open_journal
from piker.store.reading import Reader, open_copy
from tests.store.samples import fill, on_disk, submitted

NOBODY = 65534


@pytest.fixture
def path(home: Path) -> Path:
    return home / "state" / "journal"


async def write_some(path: Path, orders: int = 1) -> None:
    async with open_journal(path) as journal:
        journal.append(*(submitted(str(number)) for number in range(orders)), fill())


async def problem_of(path: Path) -> str:
    """Why a journal is not opened, by its name."""
    with pytest.raises(Refused) as refused:
        async with open_journal(path):
            pytest.fail("it was opened")
    assert isinstance(refused.value.fault, BrokenJournal)
    assert refused.value.fault.path == str(path)
    return refused.value.fault.problem


def a_text(path: Path) -> None:
    path.write_text("my notes, dear to me\n" * 99)


def another_programs(path: Path) -> None:
    with closing(sqlite3.connect(path)) as other:
        other.execute("CREATE TABLE theirs (x)")


def a_torn_one(path: Path) -> None:
    trio.run(write_some, path, 500)
    os.truncate(path, path.stat().st_size // 2)


def the_beginning_of_one(path: Path) -> None:
    trio.run(write_some, path)
    os.truncate(path, 50)


def a_newer_one(path: Path) -> None:
    trio.run(write_some, path)
    with closing(sqlite3.connect(path)) as other:
        other.execute("PRAGMA user_version = 99")


@pytest.mark.parametrize(
    ("make", "problem"),
    [
        (a_text, "it begins with b'my notes"),
        (another_programs, "it is of another program, application id 0x00000000"),
        (a_torn_one, "malformed"),
        (the_beginning_of_one, "it is of another program, application id 0x"),
        (a_newer_one, "expected version 2 or older, was 99"),
    ],
)
def test_what_is_not_a_journal_is_refused_by_name_and_left_as_it_is(
    path: Path, make: Callable[[Path], None], problem: str
) -> None:
    make(path)
    before = path.read_bytes()
    assert problem in trio.run(problem_of, path)
    assert path.read_bytes() == before


def test_a_directory_is_refused_by_name(path: Path) -> None:
    path.mkdir()
    assert "directory" in trio.run(problem_of, path)


def test_a_pipe_is_refused_by_name(path: Path) -> None:
    os.mkfifo(path)
    assert "no regular file" in trio.run(problem_of, path)


def test_a_file_where_the_directory_should_be_is_refused_by_name(path: Path) -> None:
    path.touch()
    assert "File exists" in trio.run(problem_of, path / "journal")


async def test_a_directory_of_somebody_else_is_refused_by_name(path: Path, as_nobody: None) -> None:
    assert "Permission denied" in await problem_of(path)


@pytest.fixture
def as_nobody(path: Path) -> Iterator[None]:
    """Without the right to write there: root becomes nobody, anybody else has taken it away."""
    user = os.geteuid()
    path.parent.chmod(0o500)
    os.seteuid(user or NOBODY)
    yield
    os.seteuid(user)
    path.parent.chmod(0o700)


async def test_a_second_writer_is_kept_out_by_name_and_readers_are_not(path: Path) -> None:
    async with open_journal(path) as journal:
        await journal.append(submitted()).wait()
        assert "another process has" in await problem_of(path)
        assert on_disk(path, Reader.newest_seq) == 1


async def test_the_journal_is_its_owners_alone(path: Path) -> None:
    async with open_journal(path) as journal:
        await journal.append(submitted()).wait()
        made = [entry for entry in path.parent.iterdir() if entry.name != "journal-shm"]
        assert {stat.S_IMODE(entry.stat().st_mode) for entry in made} == {0o600}


def test_an_empty_file_becomes_a_journal(path: Path) -> None:
    path.touch()
    trio.run(write_some, path)
    assert on_disk(path, Reader.newest_seq) == 1


async def test_damage_that_is_found_later_is_named(path: Path) -> None:
    await write_some(path, 500)
    page = 4096
    with path.open("r+b") as file:
        file.seek(20 * page)
        file.write(b"\xff" * 20 * page)
    with open_copy(path) as reader, pytest.raises(Refused, match="journal"):
        reader.events_since(0, 500)


async def test_an_event_that_this_version_does_not_know_is_named(path: Path) -> None:
    await write_some(path)
    with closing(connect(path, "mode=rw")) as other:
        other.execute("""UPDATE events SET event = '{"type": "Beamed"}'""")
    with open_copy(path) as reader, pytest.raises(Refused, match="Beamed"):
        reader.book()


def an_older_one(path: Path) -> None:
    """A journal of version 1, with one event in it."""
    with closing(sqlite3.connect(path)) as old:
        for statement in schema.STEPS[0]:
            old.execute(statement)
        old.execute(f"PRAGMA application_id = {schema.APPLICATION_ID}")
        old.execute("PRAGMA user_version = 1")
        event = msgspec.json.encode(submitted().event).decode()
        old.execute("INSERT INTO events VALUES (1, 7, '1', 'sim.main', ?)", (event,))
        old.execute("INSERT INTO book VALUES ('1')")
        old.commit()


def version_of(path: Path) -> int:
    with closing(sqlite3.connect(path)) as connection:
        return int(connection.execute("PRAGMA user_version").fetchone()[0])


async def test_a_journal_of_an_older_version_becomes_one_of_this_with_all_in_it(
    path: Path,
) -> None:
    an_older_one(path)
    async with open_journal(path) as journal:
        await journal.append(fill()).wait()
    assert version_of(path) == len(schema.STEPS)
    assert [kept.oid for kept in on_disk(path, Reader.book)] == ["1"]
    assert len(on_disk(path, Reader.ledger_lines)) == 1


async def test_a_step_that_fails_is_not_taken_at_all(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await write_some(path)
    broken = ("CREATE TABLE later (x) STRICT", "DROP TABLE nothing")
    with monkeypatch.context() as future:
        future.setattr(schema, "STEPS", (*schema.STEPS, broken))
        await problem_of(path)
    assert version_of(path) == len(schema.STEPS)
    await write_some(path)


def test_a_copy_of_an_older_version_is_read_and_left_as_it_is(path: Path) -> None:
    an_older_one(path)
    assert on_disk(path, Reader.ledger_lines) == ()
    assert on_disk(path, Reader.newest_seq) == 1
    assert version_of(path) == 1


@pytest.mark.parametrize("make", [a_text, another_programs, Path.touch, Path.mkdir])
def test_a_copy_that_is_no_journal_is_refused_by_name(
    path: Path, make: Callable[[Path], None]
) -> None:
    make(path)
    with pytest.raises(Refused) as refused:
        on_disk(path, Reader.newest_seq)
    assert isinstance(refused.value.fault, BrokenJournal)


def test_a_copy_that_is_not_there_is_refused_and_not_made(path: Path) -> None:
    with pytest.raises(Refused, match="unable to open"):
        on_disk(path, Reader.newest_seq)
    assert list(path.parent.iterdir()) == []


async def test_a_backup_is_taken_while_the_journal_is_written(path: Path) -> None:
    copy = path.with_name("copy?#%")
    async with open_journal(path) as journal:
        await journal.append(submitted("a"), fill()).wait()
        await trio.to_thread.run_sync(backup, path, copy)
        await journal.append(submitted("b")).wait()
        assert [kept.oid for kept in on_disk(copy, Reader.book)] == ["a"]
        assert len(on_disk(copy, Reader.ledger_lines)) == 1
    assert {entry.name for entry in path.parent.glob("*copy*")} == {copy.name}


async def test_a_backup_becomes_a_journal_again(path: Path) -> None:
    await write_some(path)
    copy = path.with_name("copy")
    backup(path, copy)
    async with open_journal(copy) as journal:
        assert journal.append(submitted("b")).news[0].seq == 2


async def test_a_backup_overwrites_nothing(path: Path) -> None:
    await write_some(path)
    copy = path.with_name("copy")
    copy.write_text("dear")
    with pytest.raises(FileExistsError):
        backup(path, copy)
    assert copy.read_text() == "dear"


def test_a_backup_that_fails_leaves_nothing(path: Path) -> None:
    a_text(path)
    with pytest.raises(Refused):
        backup(path, path.with_name("copy"))
    assert list(path.parent.iterdir()) == [path]


def test_a_commit_is_on_disk_when_it_is_done(path: Path) -> None:
    with open_for_writing(path) as connection:
        assert connection.execute("PRAGMA synchronous").fetchone() == (2,)  # FULL
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
