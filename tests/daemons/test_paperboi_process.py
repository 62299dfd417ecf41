"""paperboi as a process that is killed: what was told is there when it is back."""

import signal
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager, suppress
from decimal import Decimal
from typing import Any

import pytest
import trio

from piker.errors import Unreachable
from piker.interfaces.broker import BROKER, Open, OpenReply
from piker.paperboi import main
from piker.service import EXIT_KEEP
from tests.fakes.manager import Manager, Running, a_daemon
from tests.fakes.papershop import Trader, listen_to, without_fds

FAR: dict[str, Any] = {
    "market": "s0001.xsim.sim",
    "account": "paper.sim",
    "limit": Decimal("0.25"),
}
"""A buy that never fills."""


@asynccontextmanager
async def a_session(manager: Manager) -> AsyncIterator[tuple[Running, Trader]]:
    """A process, and somebody who takes control of it."""
    async with (
        a_daemon("paperboi", "sim", manager=manager) as paperboi,
        paperboi.client(BROKER) as stream,
        paperboi.client(BROKER) as client,
        aclosing(stream.replies(Open(), OpenReply)) as replies,
        aclosing(without_fds(replies)) as plain,
        trio.open_nursery() as nursery,
    ):
        nursery.start_soon(listen_to, manager)
        yield paperboi, Trader(client, plain, await anext(plain))
        nursery.cancel_scope.cancel()


@asynccontextmanager
async def a_sim() -> AsyncIterator[Manager]:
    """A datad of the simulated markets."""
    async with a_daemon("datad", "sim") as datad:
        yield datad.manager


async def place_until_killed(trader: Trader, answered: list[str]) -> None:
    with suppress(Unreachable):
        for number in range(10**6):
            await trader.place(f"o-{number:06}", **FAR)
            answered.append(f"o-{number:06}")


async def test_of_a_killed_paperboi_every_order_that_was_told_is_there_once() -> None:
    """An answer says no more than that it is on its way, and may be ahead of the disk."""
    answered: list[str] = []
    async with a_sim() as manager:
        async with a_session(manager) as (paperboi, trader), trio.open_nursery() as nursery:
            nursery.start_soon(place_until_killed, trader, answered)
            told = [oid for oid, _ in await trader.hears(20)]
            await paperboi.end(signal.SIGKILL)
        async with a_session(manager) as (_, trader):
            kept = [order.oid for order in (await trader.snapshot()).orders]
    assert kept[:20] == told
    assert kept == [f"o-{number:06}" for number in range(len(kept))]
    assert len(kept) <= len(answered) + 1


async def test_of_a_killed_paperboi_every_fill_that_was_told_is_there_once() -> None:
    async with a_sim() as manager:
        async with a_session(manager) as (paperboi, trader):
            await trader.place(**FAR | {"limit": None, "size": Decimal(200)})
            told = await trader.fills(3)
            await paperboi.end(signal.SIGKILL)
        async with a_session(manager) as (_, trader):
            told += await trader.fills()
            snapshot = await trader.snapshot()
    ids = [each.exec_id for each in snapshot.executions]
    assert len(set(ids)) == len(ids)
    assert {each.exec_id for each in told} <= set(ids)
    assert sum(each.size for each in snapshot.executions) == snapshot.holdings[0].size


@pytest.mark.parametrize(("orders", "status"), [(0, 0), (1, EXIT_KEEP)])
async def test_told_to_end_it_asks_to_be_started_again_if_an_order_is_open(
    orders: int, status: int
) -> None:
    async with a_sim() as manager, a_session(manager) as (paperboi, trader):
        for number in range(orders):
            await trader.place(f"o-{number}", **FAR)
        assert await paperboi.end() == status


def test_it_says_how_it_is_called(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["paperboi"])
    assert main() == 2
    assert capsys.readouterr().err == "usage: python -m piker.paperboi PROVIDER\n"
