"""make demo: it shows something, says how it went, and leaves nothing."""

import re
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.command import DEMO, Command, running
from tests.cli.terminal import SHOW_CURSOR, in_terminal

SHORT = (
    sys.executable,
    "-c",
    "import sys; from piker.cli import demo; demo.SECONDS = 0.0; sys.exit(demo.main())",
)
"""The demo, until all that there is to see was seen."""


@pytest.fixture(autouse=True)
def its_place_is_left_empty(home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Fails a test after which something is left where the demo makes its directories."""
    path = home / "tmp"
    path.mkdir()
    monkeypatch.setenv("TMPDIR", str(path))
    yield
    assert list(path.iterdir()) == []


def bars_seen(last_line: str) -> int:
    """How many it says, if all else that it should say is there."""
    told = re.fullmatch(
        r"demo: ok \(([1-9]\d*) quotes, ([1-9]\d*) bars, 2 markets, 1 filled order\)", last_line
    )
    assert told, last_line
    return int(told[2])


async def lines_to_its_order(demo: Command) -> list[str]:
    """All of them, until its order is filled: that takes as long as the recording does."""
    lines = [await demo.line()]
    while "→ filled" not in lines[-1]:
        lines.append(await demo.line())
    return lines


async def test_a_pipe_gets_lines_and_the_last_one_says_what_was_seen() -> None:
    async with running(command=SHORT) as demo:
        lines = await lines_to_its_order(demo)
        status, out, err = await demo.ended()
    *more, last = out.splitlines()
    lines += more
    assert (status, err) == (0, "")
    assert len([line for line in lines if "  bar " in line]) == bars_seen(last)
    assert {line.split()[1] for line in lines} >= {"eurusd.spot.replay", "if2312.cffex.replay"}


async def test_a_terminal_gets_tables_and_an_interrupt_ends_them() -> None:
    async with in_terminal(command=DEMO) as terminal:
        await terminal.until("eurusd.spot.replay, bars of 1 s", "live", "~1.11")
        assert await terminal.press_ctrl_c() == 130
    assert terminal.drawn.rpartition(SHOW_CURSOR)[2].strip() == "demo: interrupted"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
async def test_a_kill_ends_it_as_an_interrupt_does(number: signal.Signals) -> None:
    async with running(command=DEMO) as demo:
        await demo.line(lambda line: "live" in line)
        status, _, err = await demo.end(number)
    assert (status, err.splitlines()[0]) == (1, f"demo: ended by {number.name}")


async def test_who_stops_reading_ends_it_quietly() -> None:
    async with running(command=DEMO) as demo:
        await demo.line()
        assert await demo.hang_up() == (1, "", "")


async def test_a_suite_that_can_not_come_up_is_a_clear_line(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIKER_UNITS", str(home / "units"))
    (home / "units").mkdir()
    (home / "units/piker.target").write_text("[Unit]\nSuddenly=yes\n")
    async with running(command=DEMO) as demo:
        status, out, err = await demo.ended()
    assert (status, out) == (1, "")
    assert err.startswith("demo: ")
    assert f"{home}/units/piker.target:2: Suddenly= in [Unit] is not known" in err
