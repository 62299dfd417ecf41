"""datad@ib from end to end: what its bars lack when IB has lost data is there afterwards."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from decimal import Decimal
from pathlib import Path

import pytest
import trio

from piker import clock
from piker.brokers import get_eps
from piker.brokers.ib import PROVIDER, Settings
from piker.brokers.ib.feed import open_venue
from piker.core.bars import NS
from piker.datad import Datad
from piker.interfaces.data import DATA, Bars, BarsReply
from piker.notify import Manager
from piker.quotes import Bar
from piker.service import Service
from piker.sharedbars import BarReader
from piker.varlink import Server
from tests.conftest import WALL_NS
from tests.fakes import gateway as fake
from tests.fakes.gateway import actions, past
from tests.fakes.gateway.catalog import AAPL as INSTRUMENT
from tests.fakes.gateway.server import Served, a_gateway
from tests.fakes.switchboard import Switchboard, a_switchboard
from tests.fakes.unkept import unkept

pytestmark = pytest.mark.usefixtures("virtual_time")

AAPL = "aapl.nasdaq.ib"


@asynccontextmanager
async def a_datad(gateway: Served) -> AsyncIterator[Switchboard]:
    """datad@ib at this gateway, to be asked."""
    async with open_venue(Settings(data=gateway.address)) as venue:
        service = Service("datad", "ib", Manager())
        datad = Datad(service, PROVIDER, get_eps(PROVIDER, "datad"), venue, (), archive=unkept())
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(datad.run)
                async with a_switchboard(Server(service.unit, datad.handlers)) as board:
                    yield board
                nursery.cancel_scope.cancel()
        finally:
            datad.close()


class Reading:
    """Who reads bars of one period, memfd after memfd."""

    def __init__(self, board: Switchboard, period_s: int) -> None:
        self.reasons: list[str] = []
        self._replies = board.client(DATA).replies(Bars(market=AAPL, period_s=period_s), BarsReply)
        self._reader: BarReader | None = None

    async def run(self, task_status: trio.TaskStatus[None]) -> None:
        """Until it is cancelled."""
        try:
            async for reply, (fd,) in self._replies:
                self.close()
                self._reader = BarReader(fd)
                self.reasons.append(reply.reason)
                if reply.generation == 1:
                    task_status.started()
        finally:
            self.close()

    def close(self) -> None:
        if self._reader:
            self._reader.close()

    def coverage(self) -> list[tuple[float, float]]:
        """In s since the beginning."""
        assert self._reader
        return [((a - WALL_NS) / NS, (b - WALL_NS) / NS) for a, b in self._reader.coverage()]

    def bars(self) -> dict[int, Bar]:
        """By when they begin, in s since the beginning."""
        assert self._reader
        return {(bar.time_ns - WALL_NS) // NS: bar for bar in self._reader.bars(10_000)}


async def trade(gateway: Served, seconds: int) -> None:
    """Another price each second."""
    for _ in range(seconds):
        cents = clock.wall_ns() // NS % 2
        await gateway.do(actions.Move(market="AAPL", price=Decimal(1000 + cents)))
        await trio.sleep(1)


def opens(gateway: Served, from_s: int, to_s: int, size: str) -> list[float]:
    """What the gateway has of a stretch, s since the beginning."""
    end_s = WALL_NS // NS + to_s
    apple = gateway.instruments[INSTRUMENT.con_id]
    bars = past.bars(apple, end_s, f"{to_s - from_s} S", size, "TRADES", rth=False)
    return [float(bar.open) for bar in bars]


@pytest.mark.parametrize(
    ("lost", "back"),
    [
        (actions.Connectivity(code=1100), actions.Connectivity(code=1101)),
        (
            actions.Farm(name="usfarm", code=2103, lose=True),
            actions.Farm(name="usfarm", code=2104),
        ),
        (actions.Stop(), actions.Start()),
    ],
    ids=["1101", "farm", "gateway"],
)
async def test_bars_are_whole_after_data_was_lost(
    home: Path, lost: actions.Action, back: actions.Action
) -> None:
    settings = fake.Settings(data_clients=frozenset({100}))
    async with (
        a_gateway(settings, path=str(home / "gateway.sock")) as gateway,
        a_datad(gateway) as board,
        trio.open_nursery() as nursery,
    ):
        seconds, minutes = Reading(board, 1), Reading(board, 60)
        for each in (seconds, minutes):
            await nursery.start(each.run)
        await trade(gateway, 70)
        await gateway.do(lost)
        await trade(gateway, 40)
        await gateway.do(back)
        await trade(gateway, 90)
        assert gateway.breaches == []
        ((_, until),) = seconds.coverage()
        ((_, minutes_until),) = minutes.coverage()
        by_second, by_minute = seconds.bars(), minutes.bars()
        nursery.cancel_scope.cancel()
    assert min(until, minutes_until) > 190
    assert seconds.reasons == minutes.reasons == ["opened", "filled"]
    missed = [by_second[second].open for second in range(75, 105)]
    assert missed == opens(gateway, 75, 105, "1 secs")
    assert [by_minute[60].open] == opens(gateway, 60, 120, "1 min")
    seen = [int(by_second[second].open) for second in (*range(1, 60), *range(130, 190))]
    assert set(seen) == {1000, 1001}
