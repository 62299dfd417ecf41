"""emsd as a process: what systemd sees of it, and what is left of it when it is killed."""

import signal
from contextlib import ExitStack

import pytest
import trio

from piker import paths
from piker.interfaces.orders import (
    ORDERS,
    ORDERS_VIEW,
    Cancel,
    OrderReply,
    Submit,
    SubmitReply,
    Timeline,
    TimelineReply,
)
from piker.interfaces.service import SERVICE, Health, HealthReply
from piker.transport import listen
from piker.varlink import open_client
from tests.fakes.manager import TELLING_IMPORTS, a_daemon
from tests.fakes.papershop import a_served_desk
from tests.fakes.tradinghouse import alert, configure


async def submit(oid: str) -> SubmitReply:
    """An alert that nothing sets off."""
    path = str(paths.socket_path("emsd", "trade"))
    async with open_client(path, ORDERS, "emsd") as client:
        call = Submit(order=alert(oid, when="above"))
        return await client.call(call, SubmitReply)


async def test_told_to_end_with_a_reason_to_live_it_exits_75_and_else_0() -> None:
    async with a_served_desk():
        async with a_daemon("emsd") as emsd:
            await submit("a-1")
            assert await emsd.end() == 75
        async with a_daemon("emsd") as emsd:
            path = str(paths.socket_path("emsd", "trade"))
            async with open_client(path, ORDERS, "emsd") as client:
                await client.call(Cancel(oid="a-1"), OrderReply)
            assert await emsd.end() == 0


async def test_it_has_imported_all_that_it_will_need_when_it_is_ready() -> None:
    async with a_served_desk(), a_daemon("emsd", environment=TELLING_IMPORTS) as emsd:
        before = emsd.imported()
        await submit("a-1")
        assert before
        assert emsd.imported() == before


async def test_what_was_acknowledged_is_there_after_a_kill() -> None:
    async with a_served_desk():
        async with a_daemon("emsd") as emsd:
            reply = await submit("a-1")
            assert await emsd.end(signal.SIGKILL) == -signal.SIGKILL
        async with a_daemon("emsd"):
            path = str(paths.socket_path("emsd", "view"))
            async with open_client(path, ORDERS_VIEW, "emsd") as client:
                timeline = await client.call(Timeline(oid="a-1"), TimelineReply)
    assert timeline.life == reply.life
    assert timeline.events[-1].seq == reply.seq


async def test_its_status_line_and_health_say_the_same() -> None:
    async with a_served_desk(), a_daemon("emsd") as emsd:
        await submit("a-1")
        await emsd.manager.hear("STATUS=1 armed")
        path = str(paths.socket_path("emsd", "view"))
        async with open_client(path, SERVICE, "emsd") as client:
            health = await client.call(Health(), HealthReply)
    assert health.status.startswith("1 armed · 0 open")


async def test_a_journal_that_is_none_is_left_as_it_is_and_every_call_says_so() -> None:
    journal = paths.state_of("emsd") / "journal.sqlite"
    journal.parent.mkdir(parents=True)
    journal.write_bytes(b"not a journal" * 1000)
    async with a_daemon("emsd"):
        path = str(paths.socket_path("emsd", "view"))
        async with open_client(path, ORDERS_VIEW, "emsd") as client:
            with pytest.raises(Exception, match=r"can't be used.*journal\.sqlite"):
                await client.call(Timeline(oid="a-1"), TimelineReply)
    assert journal.read_bytes() == b"not a journal" * 1000


async def test_it_ends_when_idle_but_not_while_something_is_armed() -> None:
    configure("idle_exit_s = 0.3\n")
    files = {door: str(paths.socket_path("emsd", door)) for door in ("view", "trade")}
    async with a_served_desk():
        with ExitStack() as stack:
            fds = {door: stack.enter_context(listen(file)).fileno() for door, file in files.items()}
            async with (
                open_client(files["trade"], ORDERS, "emsd") as first,  # else it may end before
                a_daemon("emsd", fds=fds) as emsd,
            ):
                await submit("a-1")
                first.close()
                with trio.move_on_after(1.5):
                    await emsd.process.wait()
                assert emsd.process.returncode is None
                async with open_client(files["trade"], ORDERS, "emsd") as client:
                    await client.call(Cancel(oid="a-1"), OrderReply)
                assert await emsd.ended() == 0
