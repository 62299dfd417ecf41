"""Turns to ask a venue, and what is remembered of them by the next process."""

from pathlib import Path

import pytest
import trio

from piker.core.pace import Pace, Rate, Urgency
from piker.turns import Turns

PACE = Pace(rates=(Rate(questions=2, per_s=60),), same_s=15.0)

pytestmark = pytest.mark.usefixtures("virtual_time")


async def asked(turns: Turns, times: int) -> float:
    """Ask so often; gives how long that took."""
    began = trio.current_time()
    for _ in range(times):
        async with turns.turn(PACE, Urgency.PERSON):
            pass
    return trio.current_time() - began


async def test_the_next_process_keeps_to_the_pace_of_the_one_before(tmp_path: Path) -> None:
    file = tmp_path / "asked.json"
    assert await asked(Turns(file), 2) == 0
    await trio.sleep(20)
    assert await asked(Turns(file), 1) == pytest.approx(40)


async def test_what_was_asked_just_before_a_crash_is_not_asked_at_once_again(
    tmp_path: Path,
) -> None:
    file = tmp_path / "asked.json"
    assert await asked(Turns(file), 1) == 0
    assert await asked(Turns(file), 1) == pytest.approx(15)


@pytest.mark.parametrize("content", [b"", b"{}", b"[1,"])
async def test_a_file_that_says_nothing_holds_nobody_up(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "asked.json"
    file.write_bytes(content)
    assert await asked(Turns(file), 1) == 0


async def test_where_nothing_can_be_written_one_asks_all_the_same(tmp_path: Path) -> None:
    assert await asked(Turns(tmp_path / "none" / "asked.json"), 2) == 0
