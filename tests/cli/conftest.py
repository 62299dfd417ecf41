"""A suite to ask, and a check that no process is left of what a test started."""

import os
from collections.abc import AsyncIterator, Iterator
from functools import partial
from pathlib import Path

import pytest
import trio

from piker.pikerd import supervise
from piker.supervision.supervisor import Supervisor

SETTINGS = """
[providers.replay]
speed = 10
[providers.sim]
rate_hz = 20
"""


@pytest.fixture(autouse=True)
def no_process_is_left_behind(home: Path) -> Iterator[None]:
    """Fails a test after which something still runs in its directory, whoever's child it is."""
    yield
    assert [each for each in processes() if str(home) in each] == []


@pytest.fixture
async def suite(home: Path) -> AsyncIterator[Supervisor]:
    """pikerd, for the providers replay and sim."""
    configure(SETTINGS)
    async with trio.open_nursery() as nursery:
        start = partial(supervise, ["replay", "sim"], on_log=unheard)
        yield await nursery.start(start)
        nursery.cancel_scope.cancel()


def unheard(unit: str, line: str) -> None:
    """Nobody reads what the daemons log."""


def configure(text: str) -> Path:
    """Write piker.toml; gives its path."""
    path = Path(os.environ["XDG_CONFIG_HOME"], "piker", "piker.toml")
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    return path


def processes() -> list[str]:
    """The others, each as its number and its environment."""
    others = [each for each in Path("/proc").iterdir() if each.name.isdigit()]
    return [f"{each.name} {_environment(each)}" for each in others if each.name != str(os.getpid())]


def _environment(process: Path) -> str:
    try:
        return (process / "environ").read_text(errors="replace")
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return ""
