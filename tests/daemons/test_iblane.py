"""iblane: the process between a data daemon and the way to a gateway."""

import os
import signal
import socket
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, closing
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

from piker import paths
from piker.iblane import MOST_CONNECTIONS, Iblane
from piker.notify import Manager
from piker.service import Service
from piker.transport import listen
from tests.fakes.manager import PATIENCE_S, Running, a_daemon

GATEWAY = "live"
ANSWER = bytes(range(251)) * 41_783
"""10 MiB of no fixed period that a buffer could have."""
KIB = 1024


def frame(*fields: object) -> bytes:
    payload = b"".join(str(field).encode() + b"\0" for field in fields)
    return len(payload).to_bytes(4) + payload


HELLO = b"API\0\0\0\0\x09v176..178" + frame(71, 2, 100, "")
TIME = frame(49, 1)
ORDER = frame(3, 17, 0, "ES", "FUT", 202612, "0.0", "", "", "CME", "BUY", 1, "MKT")


class Carried:
    """A client's end and a gateway's, the lane between them."""

    def __init__(self, client: trio.SocketStream, gateway: trio.SocketStream) -> None:
        self.client = client
        self.gateway = gateway


class House:
    """Who connects to the lane, and where what passes arrives."""

    def __init__(self, path: str, upstream: trio.SocketListener, stack: AsyncExitStack) -> None:
        self._path = path
        self.upstream = upstream
        self._stack = stack

    async def client(self) -> trio.SocketStream:
        return await self._stack.enter_async_context(await trio.open_unix_socket(self._path))

    async def carried(self) -> Carried:
        client = await self.client()
        gateway = await self._stack.enter_async_context(await self.upstream.accept())
        return Carried(client, gateway)


@asynccontextmanager
async def a_house(path: Path) -> AsyncIterator[House]:
    async with AsyncExitStack() as stack:
        at = listen(str(paths.socket_path("ibgw", GATEWAY)))
        upstream = trio.SocketListener(trio.socket.from_stdlib_socket(at))
        await stack.enter_async_context(upstream)
        yield House(str(path), upstream, stack)


@asynccontextmanager
async def a_lane(
    fds: Mapping[str, int] | None = None, environment: Mapping[str, str] | None = None
) -> AsyncIterator[tuple[Running, House]]:
    with trio.fail_after(PATIENCE_S):
        async with (
            a_house(paths.socket_path("iblane", GATEWAY)) as house,
            a_daemon("iblane", GATEWAY, fds=fds, environment=environment) as daemon,
        ):
            yield daemon, house


async def read(stream: trio.SocketStream, count: int) -> bytes:
    """So many bytes, or what there is until the end."""
    data = bytearray()
    while len(data) < count and (more := await stream.receive_some(count - len(data))):
        data += more
    return bytes(data)


async def read_to_the_end(stream: trio.SocketStream) -> bytes:
    data = bytearray()
    try:
        async for more in stream:
            data += more
    except trio.BrokenResourceError:  # it closed without reading all
        pass
    return bytes(data)


def greatest_size(pid: int) -> int:
    """KiB of memory that a process had at most: proc(5), VmHWM."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:"))


def sockets() -> list[str]:
    found = (paths.runtime_directory() / "piker").glob("*/*.sock")
    return [f"{each.name} in {each.parent.name}" for each in found]


def configure(text: str) -> None:
    file = paths.config_directory() / "piker" / "piker.toml"
    file.parent.mkdir()
    file.write_text(text)


# --- what may not pass


async def test_an_order_is_cut_off_nothing_of_it_arrives_and_the_log_says_who_it_was() -> None:
    async with a_lane() as (daemon, house):
        it = await house.carried()
        await it.client.send_all(HELLO + TIME)
        await it.client.send_all(ORDER)
        assert await read_to_the_end(it.gateway) == HELLO + TIME
        assert await read_to_the_end(it.client) == b""
    (told,) = [line for line in daemon.stderr().splitlines() if "placeOrder" in line]
    who = f"pid {os.getpid()} of uid {os.getuid()}"
    assert f"{who} sent placeOrder (3): it is no request for market data; hung up" in told


async def test_an_order_in_one_packet_with_good_requests_is_cut_off() -> None:
    async with a_lane() as (_, house):
        it = await house.carried()
        await it.client.send_all(HELLO + TIME + ORDER + TIME)
        assert await read_to_the_end(it.gateway) == HELLO + TIME


async def test_an_order_behind_a_thousand_good_requests_is_cut_off() -> None:
    good = HELLO + b"".join(frame(91, rule) for rule in range(1000))
    async with a_lane() as (_, house):
        it = await house.carried()
        await it.client.send_all(good + ORDER + TIME)
        assert await read_to_the_end(it.gateway) == good


async def test_an_order_that_comes_byte_by_byte_is_cut_off() -> None:
    async with a_lane() as (_, house):
        it = await house.carried()
        await it.client.send_all(HELLO)
        for each in ORDER:
            await it.client.send_all(bytes([each]))
        assert await read_to_the_end(it.gateway) == HELLO


async def test_of_an_order_that_is_begun_and_not_ended_nothing_arrives() -> None:
    async with a_lane() as (_, house):
        it = await house.carried()
        await it.client.send_all(HELLO + ORDER[:-1])
        await it.client.send_eof()
        assert await read_to_the_end(it.gateway) == HELLO


async def test_one_that_is_cut_off_ends_no_other_connection() -> None:
    async with a_lane() as (_, house):
        good, bad = await house.carried(), await house.carried()
        await bad.client.send_all(HELLO + ORDER)
        assert await read_to_the_end(bad.gateway) == HELLO
        await good.client.send_all(HELLO + TIME)
        assert await read(good.gateway, len(HELLO + TIME)) == HELLO + TIME


async def test_who_uses_up_the_connections_gets_no_more_of_the_gateways() -> None:
    async with a_lane() as (_, house):
        its = [await house.carried() for _ in range(MOST_CONNECTIONS)]
        assert await read_to_the_end(await house.client()) == b""
        await its[0].client.aclose()
        assert await read_to_the_end(its[0].gateway) == b""
        again = await house.carried()
        await again.client.send_all(HELLO)
        assert await read(again.gateway, len(HELLO)) == HELLO


# --- what passes


async def test_what_is_allowed_passes_byte_for_byte_and_a_burst_keeps_its_order() -> None:
    asked = b"".join(frame(81, number, "apple") for number in range(1000))
    async with a_lane() as (_, house), trio.open_nursery() as nursery:
        it = await house.carried()
        nursery.start_soon(it.client.send_all, HELLO + asked)
        assert await read(it.gateway, len(HELLO + asked)) == HELLO + asked


async def test_answers_pass_unread_and_none_waits_in_memory_for_a_slow_reader() -> None:
    """They are no frames at all; the lane has no more of them than one read."""
    async with a_lane() as (daemon, house), trio.open_nursery() as nursery:
        it = await house.carried()
        before = greatest_size(daemon.process.pid)
        nursery.start_soon(it.gateway.send_all, ANSWER)
        parts = [await read(it.client, KIB) for _ in range(len(ANSWER) // KIB)]
        assert b"".join(parts) + await read(it.client, len(ANSWER) % KIB) == ANSWER
        assert greatest_size(daemon.process.pid) - before < 4 * KIB


async def test_requests_and_answers_do_not_wait_for_each_other() -> None:
    async with a_lane() as (_, house), trio.open_nursery() as nursery:
        it = await house.carried()
        nursery.start_soon(it.gateway.send_all, ANSWER)
        await it.client.send_all(HELLO + TIME)
        assert await read(it.gateway, len(HELLO + TIME)) == HELLO + TIME
        assert await read(it.client, len(ANSWER)) == ANSWER


# --- ends


async def test_who_has_asked_all_still_gets_the_answers() -> None:
    async with a_lane() as (_, house):
        it = await house.carried()
        await it.client.send_all(HELLO)
        await it.client.send_eof()
        assert await read_to_the_end(it.gateway) == HELLO
        await it.gateway.send_all(b"answer")
        await it.gateway.aclose()
        assert await read_to_the_end(it.client) == b"answer"


async def test_a_gateway_that_says_no_more_may_still_be_asked() -> None:
    async with a_lane() as (_, house):
        it = await house.carried()
        await it.gateway.send_all(b"answer")
        await it.gateway.send_eof()
        assert await read_to_the_end(it.client) == b"answer"
        await it.client.send_all(HELLO)
        await it.client.aclose()
        assert await read_to_the_end(it.gateway) == HELLO


async def test_a_gateway_that_goes_takes_its_client_with_it() -> None:
    async with a_lane() as (_, house):
        it = await house.carried()
        await it.gateway.send_all(ANSWER[:KIB])
        await it.gateway.aclose()
        assert await read_to_the_end(it.client) == ANSWER[:KIB]
        with pytest.raises(trio.BrokenResourceError):
            await it.client.send_all(HELLO)


async def test_a_gateway_that_resets_takes_its_client_with_it() -> None:
    """A Unix socket is reset when it is closed with something unread."""
    async with a_lane() as (_, house):
        it = await house.carried()
        await it.client.send_all(HELLO)
        assert await read(it.gateway, 1) == HELLO[:1]
        await it.gateway.aclose()
        assert await read_to_the_end(it.client) == b""


async def test_a_client_that_goes_takes_its_gateways_end_with_it() -> None:
    async with a_lane() as (_, house):
        it = await house.carried()
        await it.client.aclose()
        assert await read_to_the_end(it.gateway) == b""


async def test_without_a_gateway_a_connection_ends_at_once_and_the_log_says_why() -> None:
    async with a_lane() as (daemon, house):
        paths.socket_path("ibgw", GATEWAY).unlink()
        assert await read_to_the_end(await house.client()) == b""
    assert "no way to the gateway: ibgw@live.socket does not listen at" in daemon.stderr()


# --- the process


async def test_it_says_how_many_connections_it_has_and_that_it_lives() -> None:
    environment = {"WATCHDOG_USEC": "200000", "WATCHDOG_PID": "its own"}
    async with a_lane(environment=environment) as (daemon, house):
        assert "STATUS=lane to ibgw@live: 0 connections" in daemon.manager.said()
        it = await house.carried()
        await daemon.manager.hear("STATUS=lane to ibgw@live: 1 connection")
        await it.client.aclose()
        await daemon.manager.hear("STATUS=lane to ibgw@live: 0 connections")
        await daemon.manager.hear("WATCHDOG=1")


async def test_it_ends_when_it_is_told_to() -> None:
    async with a_lane() as (daemon, house):
        it = await house.carried()
        assert await daemon.end(signal.SIGTERM) == 0
        assert await read_to_the_end(it.client) == b""
        assert sockets() == ["live.sock in ibgw"]


async def test_it_ends_when_it_idles_and_who_connects_then_is_not_lost() -> None:
    configure("idle_exit_s = 0.05")
    with listen(str(paths.socket_path("iblane", GATEWAY))) as listener:
        async with a_lane({"iblane": listener.fileno()}) as (idle, house):
            assert await idle.ended() == 0
            client = await house.client()
            await client.send_all(HELLO)
            fds = {"iblane": listener.fileno()}
            async with a_daemon("iblane", GATEWAY, fds=fds, manager=idle.manager):
                gateway = (await house.carried()).gateway
                assert await read(gateway, len(HELLO)) == HELLO


@pytest.mark.usefixtures("virtual_time")
async def test_it_does_not_idle_while_a_connection_is_open() -> None:
    path = paths.socket_path("iblane", GATEWAY)
    with closing(Manager()) as manager, listen(str(path)) as listener:
        lane = Iblane(Service("iblane", GATEWAY, manager), stays=False)
        async with trio.open_nursery() as nursery, a_house(path) as house:
            nursery.start_soon(lane.run, [listener])
            it = await house.carried()
            await trio.sleep(80_000)
            await it.client.send_all(HELLO)
            assert await read(it.gateway, len(HELLO)) == HELLO


@pytest.mark.usefixtures("virtual_time")
async def test_who_connects_in_the_moment_in_which_it_would_end_keeps_it_for_others() -> None:
    """Which of the two is seen first is left to chance: often enough, both are."""
    path, clock = paths.socket_path("iblane", GATEWAY), trio.lowlevel.current_clock()
    assert isinstance(clock, MockClock)
    with closing(Manager()) as manager, listen(str(path)) as listener, trio.fail_after(100_000):
        lane = Iblane(Service("iblane", GATEWAY, manager), stays=False)
        async with trio.open_nursery() as nursery, a_house(path) as house:
            nursery.start_soon(lane.run, [listener])
            for _ in range(20):
                await trio.sleep(299)
                with socket.socket(socket.AF_UNIX) as in_the_moment:
                    in_the_moment.connect(str(path))
                    clock.jump(2)
                    async with await house.upstream.accept() as gateway:
                        another = await house.carried()
                        in_the_moment.sendall(HELLO)
                        assert await read(gateway, len(HELLO)) == HELLO
                        await another.client.aclose()


async def test_a_broken_configuration_ends_nothing() -> None:
    configure("idle_exit_s = 'never'")
    async with a_lane() as (daemon, house):
        it = await house.carried()
        await it.client.send_all(HELLO)
        assert await read(it.gateway, len(HELLO)) == HELLO
    assert "idle_exit_s" in daemon.stderr()


@pytest.mark.parametrize("arguments", [(), ("../live",), ("--help",), ("",)])
async def test_it_is_told_which_gateway(arguments: tuple[str, ...]) -> None:
    async with a_daemon("iblane", *arguments, ready=False) as daemon:
        assert await daemon.ended() == 2
        assert daemon.stderr() == "usage: python -m piker.iblane GATEWAY\n"


@pytest.mark.parametrize("instance", ["-x", "..", "a@b"])
async def test_an_instance_that_no_gateway_is_called_hangs_up_and_does_not_fail(
    instance: str, tmp_path: Path
) -> None:
    path = str(tmp_path / "odd.sock")
    with listen(path) as listener:
        async with a_daemon("iblane", instance, fds={"iblane": listener.fileno()}) as daemon:
            async with await trio.open_unix_socket(path) as client:
                assert await client.receive_some() == b""
            assert "does not listen" in daemon.stderr()
