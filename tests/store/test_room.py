"""A disk without room: what is refused, what is still written, and what comes after."""

import resource
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from piker import log
from piker.errors import Refused
from piker.interfaces.orders import DiskFull
from piker.store import ballast
from piker.store.journal import open_journal
from piker.store.reading import Reader
from tests.store.samples import on_disk, submitted

ROOT = Path(__file__).parents[2]
UNSHARED = ["unshare", "--mount", "--user", "--map-root-user"]


@pytest.fixture
def path(home: Path) -> Path:
    return home / "state" / "journal"


@contextmanager
def no_file_may_grow(size: int) -> Iterator[None]:
    """Beyond this size; Python ignores the signal, so that a write fails with EFBIG."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def wal_size(path: Path) -> int:
    return path.with_name("journal-wal").stat().st_size


async def test_the_ballast_is_really_allocated(path: Path) -> None:
    async with open_journal(path) as journal:
        assert journal.fault is None
        held = path.with_name("journal.ballast").stat()
        assert held.st_blocks * 512 >= held.st_size == 16 * 1024 * 1024


async def test_without_room_every_waiter_is_told_and_nothing_is_on_disk(path: Path) -> None:
    async with open_journal(path) as journal:
        await journal.append(submitted("a")).wait()
        with no_file_may_grow(wal_size(path)):
            journal.append(submitted("b"))
            with pytest.raises(Refused) as refused:
                await journal.append(submitted("c")).wait()
            with pytest.raises(Refused):
                await journal.committed(2)
            assert isinstance(refused.value.fault, DiskFull)
            assert refused.value.fault.path == str(path.parent)
            assert journal.disk_full
            assert not path.with_name("journal.ballast").exists()
            assert (journal.committed_seq, journal.newest_seq) == (1, 3)
            assert on_disk(path, Reader.newest_seq) == 1


async def test_a_full_disk_is_logged_by_its_message_id(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with open_journal(path) as journal:
        with no_file_may_grow(wal_size(path)), pytest.raises(Refused):
            await journal.append(submitted("a")).wait()
    (told,) = [each for each in caplog.records if "new orders are refused" in each.message]
    assert vars(told)["fields"] == {"MESSAGE_ID": log.DISK_FULL}


async def test_what_was_queued_without_room_is_written_in_order_when_there_is_some(
    path: Path,
) -> None:
    async with open_journal(path) as journal:
        with no_file_may_grow(wal_size(path)):
            tickets = [journal.append(submitted(str(number))) for number in range(3)]
            with pytest.raises(Refused):
                await tickets[0].wait()
        await journal.try_again()
        assert journal.fault is None
        assert path.with_name("journal.ballast").exists()
        for ticket in tickets:
            await ticket.wait()
        events = await journal.read(lambda reader: reader.events_since(0, 9))
        assert [news.oid for news in events] == ["0", "1", "2"]


async def test_it_tries_again_by_itself(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("piker.store.journal.RETRY_S", 0.01)
    async with open_journal(path) as journal:
        with no_file_may_grow(wal_size(path)):
            ticket = journal.append(submitted())
            with pytest.raises(Refused):
                await ticket.wait()
        await ticket.wait()
    assert on_disk(path, Reader.newest_seq) == 1


async def test_what_could_not_be_written_at_the_end_is_logged(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with no_file_may_grow(2**40):
        async with open_journal(path) as journal:
            resource.setrlimit(resource.RLIMIT_FSIZE, (wal_size(path), -1))
            journal.append(submitted())
    assert "closed with 2 rows that were not written" in caplog.text
    assert on_disk(path, Reader.newest_seq) == 0


async def test_a_start_without_room_for_the_ballast_says_so_and_still_writes(path: Path) -> None:
    with no_file_may_grow(ballast.SIZE - 1):
        async with open_journal(path) as journal:
            assert journal.disk_full
            await journal.append(submitted()).wait()
    assert on_disk(path, Reader.newest_seq) == 1


def can_mount() -> bool:
    """Whether this user may have a small disk of its own."""
    try:
        done = subprocess.run([*UNSHARED, "mount", "-t", "tmpfs", "x", "/mnt"], capture_output=True)
    except FileNotFoundError:
        return False
    return done.returncode == 0


@pytest.mark.skipif(not can_mount(), reason="no mount namespaces here")
def test_on_a_full_disk_the_ballast_gives_room_and_new_orders_are_refused(home: Path) -> None:
    script = 'mount -t tmpfs -o size=64m disk "$1" && exec "$0" -m tests.store.filler "$1"'
    done = subprocess.run(
        [*UNSHARED, "sh", "-c", script, sys.executable, str(home / "state")],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.splitlines() == [
        "with room: written, ballast True, disk_full False",
        "full: written, ballast False, disk_full True",
        "ballast spent: DiskFull, ballast False, disk_full True",
        "little room: written, ballast False, disk_full True",
        "with room: written, ballast True, disk_full False",
    ], done.stderr
