"""Clients that others have written talk to our daemons: `varlink` and `asyncvarlink`."""

import asyncio
import json
import os
import subprocess
import sys
import typing
from collections.abc import Awaitable, Callable

import asyncvarlink
import pytest
import trio
from asyncvarlink.serviceerrors import InterfaceNotFound
from asyncvarlink.serviceinterface import VarlinkServiceInterface

from piker.core.bars import LAYOUT
from piker.core.description import describe
from piker.interfaces.data import DATA
from piker.sharedbars import BarReader
from tests.fakes.manager import Running, a_daemon

OF_DATAD = ["org.varlink.service", "piker.Data", "piker.Store", "piker.Service"]


async def varlink(*arguments: str) -> subprocess.CompletedProcess[str]:
    """The command line of the package `varlink`."""
    done = await trio.run_process(
        [sys.executable, "-W", "ignore", "-m", "varlink.cli", *arguments],
        capture_stdout=True,
        capture_stderr=True,
        check=False,
    )
    return subprocess.CompletedProcess(
        done.args, done.returncode, done.stdout.decode(), done.stderr.decode()
    )


async def test_varlink_tells_who_it_is() -> None:
    async with a_daemon("datad", "replay") as daemon:
        done = await varlink("info", f"unix:{daemon.path}")
    assert "Product: datad@replay" in done.stdout
    assert done.stdout.split()[-4:] == [
        "org.varlink.service",
        "piker.Data",
        "piker.Store",
        "piker.Service",
    ]


@pytest.mark.parametrize("interface", ["org.varlink.service", "piker.Data", "piker.Service"])
async def test_varlink_reads_the_description(interface: str) -> None:
    async with a_daemon("datad", "replay") as daemon:
        done = await varlink("help", f"unix:{daemon.path}/{interface}")
    assert done.returncode == 0, done.stderr
    assert f"interface {interface}" in done.stdout


async def test_varlink_calls() -> None:
    async with a_daemon("datad", "replay") as daemon:
        where = f"unix:{daemon.path}/piker.Data.Market"
        done = await varlink("call", where, '{"name": "EURUSD"}')
    market = json.loads(done.stdout)["market"]
    assert (market["fqme"], market["price_tick"]) == ("eurusd.spot.replay", "0.00001")


async def test_varlink_is_refused_by_name() -> None:
    async with a_daemon("datad", "replay") as daemon:
        done = await varlink("call", f"unix:{daemon.path}/piker.Data.Market", '{"name": "xyz"}')
    assert "piker.Data.NoSuchMarket" in done.stderr


async def test_varlink_follows_a_stream() -> None:
    async with a_daemon("datad", "replay") as daemon:
        where = f"unix:{daemon.path}/piker.Data.Watch"
        command = [sys.executable, "-m", "varlink.cli", "call", "-m", where]
        asked = '{"markets": ["eurusd"]}'
        process = await trio.lowlevel.open_process([*command, asked], stdout=subprocess.PIPE)
        assert process.stdout is not None
        async with process.stdout as output:
            text = bytearray()
            while text.count(b'"quotes"') < 2:
                text += await output.receive_some()
        process.terminate()
        await process.wait()
    assert b'"asked": "eurusd"' in text


class Found(typing.TypedDict):
    """piker.Data's Match."""

    fqme: str
    description: str


class Opened(typing.TypedDict):
    """The reply of piker.Data.Bars."""

    fd: asyncvarlink.FileDescriptor
    market: str
    period_s: int
    generation: int
    layout: int
    capacity: int
    reason: str


class Data(asyncvarlink.VarlinkInterface, name="piker.Data"):  # type: ignore[misc, call-arg]
    """What a client of asyncvarlink declares of ours."""

    @asyncvarlink.varlinkmethod(return_parameter="matches")  # type: ignore[untyped-decorator]
    def Search(self, *, pattern: str, limit: int | None = None) -> list[Found]:  # noqa: N802
        raise NotImplementedError

    @asyncvarlink.varlinkmethod  # type: ignore[untyped-decorator]
    def Bars(self, *, market: str, period_s: int) -> typing.Iterator[Opened]:  # noqa: N802
        raise NotImplementedError


Talk = Callable[[asyncvarlink.VarlinkClientProtocol], Awaitable[typing.Any]]


async def by_asyncvarlink(daemon: Running, talk: Talk) -> typing.Any:
    """A conversation under asyncio, in a thread of its own."""

    async def converse() -> typing.Any:
        protocol = asyncvarlink.VarlinkClientProtocol
        transport, client = await asyncvarlink.connect_unix_varlink(protocol, daemon.path)
        try:
            return await talk(client)
        finally:
            transport.close()
            await asyncio.sleep(0)

    return await trio.to_thread.run_sync(asyncio.run, converse())


async def test_asyncvarlink_introspects() -> None:
    async def talk(client: asyncvarlink.VarlinkClientProtocol) -> tuple[typing.Any, typing.Any]:
        service = client.make_proxy(VarlinkServiceInterface)
        return await service.GetInfo(), await service.GetInterfaceDescription(interface=DATA.name)

    async with a_daemon("datad", "replay") as daemon:
        info, description = await by_asyncvarlink(daemon, talk)
    assert info["interfaces"] == [
        "org.varlink.service",
        "piker.Data",
        "piker.Store",
        "piker.Service",
    ]
    assert description["description"] == describe(DATA)


async def test_asyncvarlink_calls() -> None:
    async def talk(client: asyncvarlink.VarlinkClientProtocol) -> typing.Any:
        return await client.make_proxy(Data).Search(pattern="eurusd", limit=1)

    async with a_daemon("datad", "replay") as daemon:
        reply = await by_asyncvarlink(daemon, talk)
    assert [match["fqme"] for match in reply["matches"]] == ["eurusd.spot.replay"]


async def test_asyncvarlink_knows_our_refusals() -> None:
    async def talk(client: asyncvarlink.VarlinkClientProtocol) -> typing.Any:
        service = client.make_proxy(VarlinkServiceInterface)
        return await service.GetInterfaceDescription(interface="example.Owl")

    async with a_daemon("datad", "replay") as daemon:
        with pytest.raises(InterfaceNotFound):
            await by_asyncvarlink(daemon, talk)


async def test_asyncvarlink_receives_the_descriptor_of_bars() -> None:
    async def talk(client: asyncvarlink.VarlinkClientProtocol) -> typing.Any:
        replies = client.make_proxy(Data).Bars(market="eurusd", period_s=60)
        with await anext(replies) as opened:
            reader = BarReader(os.dup(opened["fd"].fileno()))
        await replies.aclose()
        sizes = (reader.table.capacity, opened["capacity"])
        reader.close()
        return opened, sizes

    async with a_daemon("datad", "replay") as daemon:
        opened, (capacity, told) = await by_asyncvarlink(daemon, talk)
    assert capacity == told
    assert (opened["market"], opened["period_s"], opened["layout"], opened["reason"]) == (
        "eurusd.spot.replay",
        60,
        LAYOUT,
        "opened",
    )
