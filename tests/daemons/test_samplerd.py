"""samplerd: the ends of periods."""

import signal
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager, closing

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from piker import clock
from piker.core.periods import NS
from piker.errors import Fault, Refused
from piker.interfaces.clock import CLOCK, Ticks, TicksReply, UnknownPeriod
from piker.interfaces.introspection import InvalidParameter
from piker.notify import Manager
from piker.samplerd import Samplerd
from piker.service import Service
from piker.varlink import Client, Server
from tests.conftest import WALL_NS
from tests.fakes.manager import a_daemon
from tests.fakes.switchboard import Switchboard, a_switchboard


@asynccontextmanager
async def a_samplerd() -> AsyncIterator[Switchboard]:
    with closing(Manager()) as manager, trio.fail_after(100_000):
        samplerd = Samplerd(Service("samplerd", None, manager))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(samplerd.run)
            async with a_switchboard(Server("samplerd", samplerd.handlers)) as board:
                yield board
            nursery.cancel_scope.cancel()
        assert samplerd.report().status == "clock: 0 listeners"


async def listen(client: Client, *periods_s: int, count: int) -> list[tuple[int, int, int]]:
    replies = client.replies(Ticks(periods_s=periods_s), TicksReply, timeout_s=10_000)
    async with aclosing(replies):
        ticks = [(await anext(replies))[0] for _ in range(count)]
    return [(each.period_s, each.time_ns - WALL_NS, each.missed) for each in ticks]


@pytest.mark.usefixtures("virtual_time")
async def test_ends_are_aligned_to_the_wall_clock() -> None:
    async with a_samplerd() as board:
        await trio.sleep(0.3)
        ends = await listen(board.client(CLOCK), 3, 2, count=6)
    expected = [(2, 2), (3, 3), (2, 4), (2, 6), (3, 6), (2, 8)]
    assert ends == [(period_s, time_s * NS, 0) for period_s, time_s in expected]


@pytest.mark.usefixtures("virtual_time")
async def test_a_long_period_ends_at_its_multiple_and_not_before() -> None:
    async with a_samplerd() as board:
        ((period_s, time_ns, missed),) = await listen(board.client(CLOCK), 3600, count=1)
    assert (WALL_NS + time_ns) % (3600 * NS) == 0
    assert (period_s, time_ns, missed) == (3600, 3600 * NS, 0)


@pytest.mark.usefixtures("virtual_time")
async def test_all_who_listen_get_the_same_ends() -> None:
    heard: list[list[tuple[int, int, int]]] = []

    async def hear(client: Client) -> None:
        heard.append(await listen(client, 1, 5, count=10))

    async with a_samplerd() as board, trio.open_nursery() as nursery:
        for _ in range(3):
            nursery.start_soon(hear, board.client(CLOCK))
    assert heard[0] == heard[1] == heard[2]


@pytest.mark.usefixtures("virtual_time")
async def test_who_listens_and_who_has_gone_is_counted() -> None:
    async with a_samplerd() as board:
        replies = board.client(CLOCK).replies(Ticks(periods_s=(1,)), TicksReply)
        await anext(replies)
        await replies.aclose()
        await wait_all_tasks_blocked()
        assert not board.server.conversations


@pytest.mark.parametrize(
    ("periods_s", "fault"),
    [
        ((0,), UnknownPeriod(period_s=0, allowed="1 to 86400 s")),
        ((1, -1), UnknownPeriod(period_s=-1, allowed="1 to 86400 s")),
        ((86_401,), UnknownPeriod(period_s=86_401, allowed="1 to 86400 s")),
        ((10**40,), UnknownPeriod(period_s=10**40, allowed="1 to 86400 s")),
        ((), InvalidParameter(parameter="periods_s: expected at least one")),
    ],
)
async def test_a_period_that_no_clock_has_is_refused(
    periods_s: tuple[int, ...], fault: Fault
) -> None:
    async with a_samplerd() as board:
        replies = board.client(CLOCK).replies(Ticks(periods_s=periods_s), TicksReply)
        with pytest.raises(Refused) as refused:
            await anext(replies)
    assert refused.value.fault == fault


async def test_ends_that_were_slept_through_are_counted() -> None:
    async with a_daemon("samplerd") as daemon, daemon.client(CLOCK) as client:
        replies = client.replies(Ticks(periods_s=(1,)), TicksReply)
        before, _ = await anext(replies)
        daemon.process.send_signal(signal.SIGSTOP)
        await trio.sleep((before.time_ns + 2 * NS + NS // 4 - clock.wall_ns()) / NS)
        daemon.process.send_signal(signal.SIGCONT)
        after, _ = await anext(replies)
        await replies.aclose()
    assert after.missed >= 1
    assert after.time_ns == before.time_ns + (1 + after.missed) * NS


async def test_it_runs_by_hand_and_knows_no_instance() -> None:
    async with a_daemon("samplerd", "anything", ready=False) as daemon:
        assert await daemon.ended() == 2
        assert daemon.stderr() == "usage: python -m piker.samplerd\n"
