"""piker bars: what becomes final, once."""

import json
import os
from contextlib import closing

import pytest

from piker import clock
from piker.cli.bars import Printer
from piker.core.bars import NS
from piker.sharedbars import BarReader, SharedBars
from piker.supervision.supervisor import Supervisor
from tests.cli.command import piker, running
from tests.cli.terminal import in_terminal

EURUSD = "eurusd.spot.replay"


async def test_json_is_an_object_a_final_bar(suite: Supervisor) -> None:
    async with running("bars", "eurusd", "--json") as command:
        bars = [json.loads(await command.line()) for _ in range(2)]
        status, _, err = await command.end()
    assert (status, err) == (130, "")
    keys = ("time_ns", "open", "high", "low", "close", "volume", "trades", "derived")
    assert {tuple(bar) for bar in bars} == {keys}
    assert bars[0]["time_ns"] < bars[1]["time_ns"]
    assert {bar["time_ns"] % 1_000_000_000 for bar in bars} == {0}
    assert all(bar["low"] <= min(bar["open"], bar["close"]) <= bar["high"] for bar in bars)


async def test_a_pipe_gets_a_line_a_final_bar_by_the_market_s_whole_name(suite: Supervisor) -> None:
    async with running("bars", "IF2312.replay") as command:
        line = await command.line()
        assert await command.hang_up() == (1, "", "")
    assert line.startswith("if2312.cffex.replay  bar ")
    for word in ("open", "high", "low", "close", "volume", "trades"):
        assert f"  {word} " in line


async def test_a_terminal_gets_a_table_that_an_interrupt_ends(suite: Supervisor) -> None:
    async with in_terminal("bars", "eurusd") as terminal:
        await terminal.until(EURUSD, "open", "close", "1.11")
        assert await terminal.press_ctrl_c() == 130
    assert "Traceback" not in terminal.drawn


async def test_a_period_of_which_no_bars_are_made_is_refused_with_those_there_are(
    suite: Supervisor,
) -> None:
    said = "piker: No bars are made of this period (period: 7 s, periods: 1, 60)\n"
    assert await piker("bars", EURUSD, "--period", "7s") == (1, "", said)


async def test_an_unknown_market_is_refused(suite: Supervisor) -> None:
    said = "piker: The provider has no such market (market: zzz.replay)\n"
    assert await piker("bars", "zzz.replay") == (1, "", said)


def test_bars_that_had_ended_before_the_first_look_are_not_printed(
    capsys: pytest.CaptureFixture[str],
) -> None:
    now_s = clock.wall_ns() // NS
    with closing(SharedBars(EURUSD, 1, lambda fd, generation: None, capacity=9)) as bars:
        printer = Printer(EURUSD, json=True)
        printer.show(reader := BarReader(os.dup(bars.fd)))
        reader.close()
        for second in (now_s - 5, now_s - 4, now_s + 1, now_s + 2):
            bars.take(second * NS, 1.0, 1.0, derived=False)
        bars.writer.close((now_s + 9) * NS)
        printer.show(reader := BarReader(os.dup(bars.fd)))
        reader.close()
    printed = [
        json.loads(line)["time_ns"] // NS - now_s for line in capsys.readouterr().out.split()
    ]
    assert printed == [1, 2]
