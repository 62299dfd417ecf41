"""What every test gets: directories of its own, no manager, and a check that it cleans up."""

import gc
import os
import signal
from collections.abc import Awaitable, Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import polars as pl
import pytest
import trio
from hypothesis import settings
from trio.testing import MockClock

from piker import clock
from piker.store import parquet

# Tests that a shell runs in the background ignore interrupts, and so would all that they start.
signal.signal(signal.SIGINT, signal.default_int_handler)
settings.register_profile("piker", deadline=None, database=None)
settings.load_profile("piker")

OURS = {
    "XDG_RUNTIME_DIR": "run",
    "XDG_CONFIG_HOME": "config",
    "XDG_STATE_HOME": "state",
    "PIKER_ETC": "etc",
}
"""Where daemons look for things, below the test's own directory."""

MANAGERS = (
    "CREDENTIALS_DIRECTORY",
    "FDSTORE",
    "JOURNAL_STREAM",
    "LISTEN_FDNAMES",
    "LISTEN_FDS",
    "LISTEN_PID",
    "NOTIFY_SOCKET",
    "STATE_DIRECTORY",
    "SYSTEMD_EXEC_PID",
    "WATCHDOG_PID",
    "WATCHDOG_USEC",
)
"""What a manager would say; a test that plays one sets it."""

WALL_NS = 1_800_000_000_000_000_000
"""2027-01-15 08:00 UTC: where virtual time begins; a whole minute."""
BOOT_NS = 5_000_000_000_000


@pytest.fixture(scope="session", autouse=True)
def polars_runs(tmp_path_factory: pytest.TempPathFactory) -> None:
    """polars keeps a few descriptors from its first look at a file on, for the process's life."""
    path = tmp_path_factory.mktemp("polars") / "empty.parquet"
    parquet.write(pl.DataFrame(), path, {})
    parquet.read(path)


@pytest.fixture(autouse=True)
def home(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The test's own directory, its name short enough for a socket's path."""
    with TemporaryDirectory(prefix="pk-", dir="/tmp") as name:
        for variable, below in OURS.items():
            path = Path(name, below)
            path.mkdir(mode=0o700)
            monkeypatch.setenv(variable, str(path))
        for variable in MANAGERS:
            monkeypatch.delenv(variable, raising=False)
        yield Path(name)


@pytest.fixture(autouse=True)
def nothing_is_left_behind(home: Path) -> Iterator[None]:
    """Fails a test after which a descriptor is open or a child process is there."""
    descriptors, processes = open_descriptors(), child_processes()
    yield
    gc.collect()
    assert open_descriptors() - descriptors == set()
    assert child_processes() - processes == set()


@pytest.fixture
def virtual_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Time that passes at once when all tasks wait for it; daemons' clocks go with it.

    What is done in a thread takes no time.
    """
    monkeypatch.setattr(trio.to_thread, "run_sync", partial(_in_no_time, trio.to_thread.run_sync))
    for name, start_ns in (("wall_ns", WALL_NS), ("boot_ns", BOOT_NS)):
        monkeypatch.setattr(clock, name, partial(_virtual_ns, start_ns))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A test that uses `virtual_time` is run by it."""
    for item in items:
        if "virtual_time" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.trio(run=_run_virtually), append=False)


def _run_virtually(
    main: Callable[[], Awaitable[object]],
    *,
    clock: None = None,
    instruments: Sequence[trio.abc.Instrument] = (),
) -> object:
    assert clock is None, "expected virtual time to be the only clock"
    return trio.run(main, clock=MockClock(autojump_threshold=0), instruments=instruments)


async def _in_no_time(run: Callable[..., Awaitable[object]], *given: Any, **named: Any) -> object:
    """Time passes only when all tasks are blocked: one is not, until the thread is done.

    It isn't in a nursery: what comes of a thread reaches also a task that was cancelled meanwhile.
    """
    done = trio.Event()
    trio.lowlevel.spawn_system_task(_stay_awake, done)
    try:
        return await run(*given, **named)
    finally:
        done.set()


async def _stay_awake(done: trio.Event) -> None:
    while not done.is_set():
        await trio.lowlevel.checkpoint()


def _virtual_ns(start_ns: int) -> int:
    return start_ns + round(trio.current_time() * 1e9)


def open_descriptors() -> set[str]:
    """The descriptors of this process, each as "number -> what it is"."""
    links = {entry.name: _link(entry) for entry in Path("/proc/self/fd").iterdir()}
    return {f"{number} -> {link}" for number, link in links.items() if link}


def child_processes() -> set[str]:
    """The children of this process, also those that ended and were not waited for."""
    me = str(os.getpid())
    stats = [_read(entry / "stat") for entry in Path("/proc").iterdir() if entry.name.isdigit()]
    return {_who(stat) for stat in stats if _fields(stat)[1:2] == [me]}


def _who(stat: str) -> str:
    """Number, name and start of a process: what stays the same of it as long as it is there."""
    return f"{stat.rpartition(')')[0]}) since {_fields(stat)[19]}"


def _fields(stat: str) -> list[str]:
    """From the state on, of proc_pid_stat(5): "1234 (name, which may hold spaces) S parent …"."""
    return stat.rpartition(")")[2].split()


def _link(entry: Path) -> str:
    try:
        return str(entry.readlink())
    except FileNotFoundError:  # the descriptor of the listing itself
        return ""


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except (FileNotFoundError, ProcessLookupError):
        return ""
