"""piker watch: a table in a terminal, lines in a pipe, JSON for programs."""

import json
import os
import signal
from contextlib import AsyncExitStack
from typing import Any

import pytest
import trio.testing

from piker.supervision.supervisor import Supervisor
from tests.cli.command import PATIENCE_S, Command, piker, running
from tests.cli.terminal import HIDE_CURSOR, SHOW_CURSOR, in_terminal
from tests.cli.test_history import a_datad
from tests.fakes.venue import Venue, quote, tick

EURUSD = "eurusd.spot.replay"


async def quotes(command: Command) -> dict[str, Any]:
    """The next object that has ticks."""
    told: dict[str, Any] = json.loads(await command.line(lambda line: '"ticks":[{' in line))
    return told


def pid_of(suite: Supervisor, unit: str) -> int:
    """The process of a unit that runs."""
    pid = next(each.pid for each in suite.units() if each.unit == unit)
    assert pid is not None
    return pid


async def test_json_is_an_object_a_line_of_the_documented_shape(suite: Supervisor) -> None:
    async with running("watch", EURUSD, "--json") as command:
        told = [json.loads(await command.line()) for _ in range(12)]
    ticks = [tick for each in told for tick in each["ticks"]]
    bids = [tick for tick in ticks if tick["kind"] == "bid"]
    assert {tuple(each) for each in told} == {("market", "state", "ticks")}
    assert {each["market"] for each in told} == {EURUSD}
    assert {tuple(tick) for tick in bids} == {("kind", "price", "size", "time_ns")}
    assert {type(tick["price"]) for tick in ticks} == {float}
    assert {type(tick["time_ns"]) for tick in ticks} == {int}


async def test_it_ends_after_a_time_if_one_is_given(suite: Supervisor) -> None:
    status, _, err = await piker("watch", EURUSD, "--for", "0.5s")
    assert (status, err) == (0, "")


async def test_json_begins_with_how_the_market_stands_and_marks_what_the_venue_did_not_give(
    suite: Supervisor,
) -> None:
    async with running("watch", EURUSD, "--json") as command:
        states = [json.loads(await command.line()) for _ in range(2)]
        bid, ask = (await quotes(command))["ticks"]
    assert states == [
        {"market": EURUSD, "state": "disconnected", "ticks": []},
        {"market": EURUSD, "state": "live", "ticks": []},
    ]
    assert "derived" not in bid
    assert (ask["kind"], ask["size"], ask["derived"]) == ("ask", None, True)


async def test_a_pipe_gets_a_line_a_quote_in_the_market_s_own_digits(suite: Supervisor) -> None:
    async with running("watch", EURUSD, "if2312.cffex.replay") as command:
        euro = await command.line(lambda line: f"{EURUSD}  bid" in line)
        future = await command.line(lambda line: "if2312.cffex.replay  bid" in line)
    time, market, *prices = euro.split("  ")
    assert (len(time), market) == (len("13:00:00"), EURUSD)
    assert [price.split()[0] for price in prices] == ["bid", "ask"]
    assert [len(price.partition(".")[2]) for price in prices] == [5, 5]
    assert "trade 35" in future


async def test_a_terminal_gets_a_table_and_its_cursor_back(suite: Supervisor) -> None:
    async with in_terminal("watch", EURUSD) as terminal:
        await terminal.until("market", "bid", "age", EURUSD, "~1.11", "live")
        assert HIDE_CURSOR in terminal.drawn
        assert await terminal.press_ctrl_c() == 130
    assert terminal.drawn.rindex(SHOW_CURSOR) > terminal.drawn.rindex(HIDE_CURSOR)
    assert "Traceback" not in terminal.drawn


@pytest.mark.parametrize("name", ["eurusd", "EURUSD.replay"])
async def test_less_than_the_whole_name_will_do(suite: Supervisor, name: str) -> None:
    async with running("watch", name, "--json") as command:
        assert (await quotes(command))["market"] == EURUSD


async def test_markets_of_two_providers_are_watched_together(suite: Supervisor) -> None:
    async with running("watch", "s0000.xsim", "eurusd", "--json") as command:
        seen = {EURUSD, "s0000.xsim.sim"}
        while seen:
            seen.discard((await quotes(command))["market"])


async def test_an_unknown_market_is_refused_with_those_that_are_like_it(suite: Supervisor) -> None:
    title = "piker: The provider has no such market"
    said = f"{title} (market: eurusd.spt, similar: {EURUSD})\n"
    assert await piker("watch", "eurusd.spt") == (1, "", said)


async def test_a_provider_that_is_not_installed_is_not_asked(suite: Supervisor) -> None:
    status, _, err = await piker("watch", "mnq.cme.acme")
    assert (status, err) == (1, "piker: The provider has no such market (market: mnq.cme.acme)\n")


async def test_a_provider_that_nobody_serves_is_said_so_and_how_to(suite: Supervisor) -> None:
    status, _, err = await piker("watch", "mnq.cme.ib")
    assert status == 3
    assert "`piker up ib`" in err


async def test_a_rate_is_the_most_there_is_a_second() -> None:
    async with AsyncExitStack() as stack:
        async with a_datad(Venue()) as venue:
            watch = running("watch", "eurusd.spot.fake", "--json", "--rate", "0.001")
            command = await stack.enter_async_context(watch)
            await command.line(lambda line: '"live"' in line)
            for price in (1.0, 2.0, 3.0):
                venue.say(quote(tick("bid", price)))
                await trio.testing.wait_all_tasks_blocked()
        with trio.fail_after(PATIENCE_S):
            said = await command.stderr.receive_some()
        shown = (await command.end()).out.count('"ticks":[{')
    assert said.endswith(b"; trying again\n")
    assert shown <= 1


async def test_a_watch_goes_on_when_its_daemon_was_killed(suite: Supervisor) -> None:
    async with running("watch", EURUSD, "--json") as command:
        await quotes(command)
        killed = pid_of(suite, "datad@replay.service")
        os.kill(killed, signal.SIGKILL)
        await command.line(lambda line: '"disconnected"' in line)
        assert (await quotes(command))["state"] == "live"
        _, _, err = await command.end()
    assert pid_of(suite, "datad@replay.service") != killed
    gone = "piker: datad@replay went away (it hung up)"
    assert [line.partition(";")[0] for line in err.splitlines()] == [gone]
    assert err.endswith("; trying again\n")


@pytest.mark.parametrize("option", ["--json", "--rate=100"])
async def test_a_closed_pipe_ends_it_quietly(suite: Supervisor, option: str) -> None:
    async with running("watch", EURUSD, option) as command:
        await command.line()
        assert await command.hang_up() == (1, "", "")


async def test_an_interrupt_ends_it_quietly(suite: Supervisor) -> None:
    async with running("watch", EURUSD) as command:
        await command.line()
        status, _, err = await command.end(signal.SIGINT)
    assert (status, err) == (130, "")
