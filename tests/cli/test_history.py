"""piker history: bars of a market's past, of a datad whose venue is in the test's hands."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime

import pytest
import trio

from piker import paths
from piker.brokers import Frame, HistoryThrottled, HistoryUnavailable, Provider
from piker.core.bars import NS
from piker.datad import Datad
from piker.interfaces.data import HistoryReply
from piker.notify import Manager
from piker.service import Service
from piker.transport import listen
from piker.varlink import Server
from tests.cli.command import piker, running
from tests.cli.terminal import in_terminal
from tests.fakes.past import Past, truth
from tests.fakes.unkept import unkept
from tests.fakes.venue import WITH_PAST, Venue

FROM, TO = "2026-11-02T15:00+00:00", "2026-11-02T15:20+00:00"
FROM_NS, TO_NS = (round(datetime.fromisoformat(each).timestamp()) * NS for each in (FROM, TO))
MARKET = "eurusd.spot.fake"
SPAN = (MARKET, "--from", FROM, "--to", TO)


@pytest.fixture
async def past() -> AsyncIterator[Past]:
    """Of the venue of a datad that listens where one does."""
    async with a_datad(Venue()) as venue:
        yield venue.past


@asynccontextmanager
async def a_datad(venue: Venue) -> AsyncIterator[Venue]:
    """One in this process."""
    service = Service("datad", "fake", Manager())
    provider = Provider("fake", "In a test's hands.", {})
    datad = Datad(service, provider, WITH_PAST, venue, (), archive=unkept())
    server = Server(service.unit, datad.handlers)
    try:
        async with trio.open_nursery() as nursery:
            with listen(str(paths.socket_path("datad", "fake"))) as listener:
                nursery.start_soon(datad.run)
                nursery.start_soon(server.serve, [listener])
                yield venue
                nursery.cancel_scope.cancel()
    finally:
        datad.close()


async def test_a_pipe_gets_a_line_a_bar_with_its_date(past: Past) -> None:
    status, out, err = await piker("history", *SPAN)
    bars = truth(60, FROM_NS, TO_NS)
    lines = out.splitlines()
    assert (status, err, len(lines)) == (0, "", len(bars))
    started = datetime.fromtimestamp(bars[0].time_ns // NS, UTC)
    assert lines[0].startswith(f"{MARKET}  bar {started:%Y-%m-%d %H:%M:%S}  open ")


async def test_json_is_the_answer_as_an_object(past: Past) -> None:
    status, out, err = await piker("history", *SPAN, "--period", "1s", "--limit", "3", "--json")
    assert (status, err) == (0, "")
    answer = json.loads(out)
    assert set(answer) == {*HistoryReply.__struct_fields__} - {"note", "unasked"}
    assert [each["time_ns"] for each in answer["bars"]] == [
        bar.time_ns for bar in truth(1, FROM_NS, TO_NS)[-3:]
    ]
    assert [each["why"] for each in answer["missing"]] == ["limit"]


async def test_a_terminal_gets_a_table(past: Past) -> None:
    async with in_terminal("history", *SPAN) as terminal:
        await terminal.until(MARKET, "open", "close", "2026-11-02 15:19:00")


async def test_that_there_is_more_is_said(past: Past) -> None:
    status, out, err = await piker("history", *SPAN, "--limit", "2")
    assert (status, out.count("\n")) == (0, 2)
    assert err.startswith(f"piker: {MARKET}: there is more before 2026-11-02 15:1")
    assert err.count("\n") == 1


async def test_what_is_missing_is_said_with_its_reason(past: Past) -> None:
    first_ns = FROM_NS + 10 * 60 * NS
    past.script = [HistoryUnavailable("it began trading then", first_ns)]
    status, out, err = await piker("history", *SPAN)
    assert (status, out.count("\n")) == (0, len(truth(60, first_ns, TO_NS)))
    span = "from 2026-11-02 15:00:00 to 2026-11-02 15:10:00"
    assert err == f"piker: {MARKET}: missing {span}: it began trading then\n"


async def test_nothing_at_all_is_a_failure_and_when_to_ask_again_is_said(past: Past) -> None:
    past.script = [HistoryThrottled("asked too often", 60.0)]
    status, out, err = await piker("history", *SPAN)
    assert (status, out) == (1, "")
    assert err.endswith(": asked too often; ask again in 60 s\n")


async def test_that_nobody_traded_is_an_answer(past: Past) -> None:
    past.script = [Frame(from_ns=FROM_NS, to_ns=TO_NS, bars=())]
    status, out, err = await piker("history", *SPAN)
    assert (status, out) == (0, "")
    span = "from 2026-11-02 15:00:00 to 2026-11-02 15:20:00"
    assert err == f"piker: {MARKET}: no bar: nobody traded {span}\n"


async def test_who_waits_is_told_what_for(past: Past) -> None:
    past.hold()
    async with running("history", *SPAN, "--json") as command:
        said = (await command.stderr.receive_some()).decode()
        past.let_go()
        status, out, _ = await command.ended()
    assert said.startswith(f"piker: {MARKET}: waits for its venue, and for the pace that it allows")
    assert status == 0
    assert json.loads(out)["market"] == MARKET


async def test_a_period_of_which_no_other_is_a_part_is_refused(past: Past) -> None:
    past.frames = {60: 3600 * NS}
    said = "piker: No bars are made of this period (period: 7 s, periods: 60)\n"
    assert await piker("history", MARKET, "--period", "7s") == (1, "", said)
