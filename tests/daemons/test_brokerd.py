"""brokerd: live order control with the simulated venue, its credentials, and what it can't do."""

import signal
import socket
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import aclosing, asynccontextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import pytest
import trio

from piker import clock, paths
from piker.brokerd import Credentials, read_credentials
from piker.errors import Fault, Refused
from piker.interfaces.broker import (
    BROKER,
    CancelAll,
    CancelAllReply,
    CredentialRefused,
    Done,
    Open,
    OpenReply,
    Place,
    Snapshot,
    SnapshotReply,
)
from piker.interfaces.service import (
    SERVICE,
    BrokenProvider,
    Health,
    HealthReply,
    UnknownProvider,
)
from piker.orders import Acked, Filled
from piker.varlink import Client
from tests.fakes.manager import PATIENCE_S, Running, a_daemon
from tests.fakes.peer import Peer, call
from tests.fakes.simvenue import FAR, MARKET, TOKEN, a_sim_venue, credentials


def an_order(session: str, **changed: Any) -> Place:
    """An order that rests, but for what is changed."""
    return Place(
        **{
            "session": session,
            "not_after_boot_ns": clock.boot_ns() + 5 * 10**9,
            "oid": "o-1",
            "account": "sim.main",
            "market": MARKET,
            "side": "buy",
            "size": Decimal(3),
            "limit": FAR,
            "tif": "gtc",
            **changed,
        }
    )


class Sender:
    """Who has a session with a daemon, and what is told in it."""

    def __init__(self, session: str, told: AsyncGenerator[OpenReply, None], client: Client) -> None:
        self.session = session
        self.told = told
        self.client = client

    async def place(self, **changed: Any) -> object:
        """Place an order; gives the first that is told."""
        await self.client.call(an_order(self.session, **changed), Done)
        return await self.next()

    async def next(self) -> object:
        """What is told next of an order."""
        reply = await anext(self.told)
        return reply.told[0].event


@asynccontextmanager
async def a_sender(daemon: Running) -> AsyncIterator[Sender]:
    """Takes control of a daemon whose link is up."""
    async with daemon.client(BROKER) as stream, daemon.client(BROKER) as client:
        replies = stream.replies(Open(), OpenReply)
        async with aclosing(replies), aclosing(_plain(replies)) as plain:
            first = await anext(plain)
            assert first.opened
            yield Sender(first.opened.session, plain, client)


async def _plain(
    replies: AsyncGenerator[tuple[OpenReply, tuple[int, ...]], None],
) -> AsyncGenerator[OpenReply, None]:
    with trio.fail_after(PATIENCE_S):
        async for reply, _ in replies:
            yield reply


def a_brokerd(provider: str = "sim", environment: Mapping[str, str] | None = None) -> Any:
    """A process of it, with the token that the venue knows."""
    given = credentials() if environment is None else environment
    return a_daemon("brokerd", provider, environment=given)


async def test_an_order_is_traded_at_the_venue_and_told_of() -> None:
    async with a_sim_venue() as venue, a_brokerd() as daemon, a_sender(daemon) as sender:
        assert await sender.place() == Acked(venue_id="1")
        await venue.move(FAR)
        assert isinstance(await sender.next(), Filled)
        snapshot = await sender.client.call(Snapshot(since_ns=0), SnapshotReply)
        assert [each.size for each in snapshot.holdings] == [Decimal(3)]


async def test_its_status_is_a_line_that_a_person_can_trust() -> None:
    async with a_sim_venue() as _, a_brokerd() as daemon, a_sender(daemon) as sender:
        await sender.place()
        await daemon.manager.hear("STATUS=sim: connected · session held · 1 order sent")


async def test_orders_outlive_it_and_the_next_one_finds_them() -> None:
    async with a_sim_venue() as _:
        async with a_brokerd() as daemon, a_sender(daemon) as sender:
            await sender.place()
            assert await daemon.end(signal.SIGKILL) == -signal.SIGKILL
        async with a_brokerd() as daemon, daemon.client(BROKER) as client:
            snapshot = await client.call(Snapshot(since_ns=0), SnapshotReply)
            assert [each.oid for each in snapshot.orders] == ["o-1"]
            cancelled = await client.call(CancelAll(scope="ours"), CancelAllReply)
            assert cancelled.venue_ids == ("1",)


async def test_a_request_whose_sender_died_before_it_was_read_never_reaches_the_venue() -> None:
    async with a_sim_venue() as venue, a_brokerd() as daemon:
        stream, commands = [Peer(connected(daemon.path)) for _ in range(2)]
        first = await stream.ask("piker.Broker.Open", more=True)
        daemon.process.send_signal(signal.SIGSTOP)
        await commands.write(place(first["parameters"]["opened"]["session"]))
        await stream.hang_up()
        await commands.hang_up()
        daemon.process.send_signal(signal.SIGCONT)
        async with a_sender(daemon) as sender:
            snapshot = await sender.client.call(Snapshot(since_ns=0), SnapshotReply)
        assert (snapshot.orders, snapshot.ended) == ((), ())
        assert (await venue.book()).orders == ()
        assert "does not reach the venue: Somebody else has taken over since" in daemon.stderr()


def connected(path: str) -> socket.socket:
    """A connection to a daemon, its bytes in the test's hands."""
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    sock.connect(path)
    return sock


def place(session: str) -> bytes:
    """A Place as it goes over the wire."""
    order = an_order(session)
    parameters = msgspec.to_builtins(order)
    return call("piker.Broker.Place", **parameters)


async def test_it_ends_at_once_when_it_is_told_to_though_orders_rest() -> None:
    async with a_sim_venue() as _, a_brokerd() as daemon, a_sender(daemon) as sender:
        await sender.place()
        assert await daemon.end() == 0


async def fault_of(daemon: Running) -> Fault:
    """What every call is answered with."""
    async with daemon.client(BROKER) as client:
        with pytest.raises(Refused) as no:
            await client.call(Snapshot(since_ns=0), SnapshotReply)
    return no.value.fault


@pytest.mark.parametrize(
    ("value", "reason"), [("", "it is not set"), ("none\n", "it is not set"), (" \n", "it is not")]
)
async def test_without_a_credential_it_answers_so_and_goes_on(value: str, reason: str) -> None:
    async with a_brokerd(environment=credentials(value)) as daemon:
        fault = await fault_of(daemon)
        assert isinstance(fault, CredentialRefused)
        assert fault.name == "token"
        assert fault.reason.startswith(reason)
        async with daemon.client(SERVICE) as client:
            assert (await client.call(Health(), HealthReply)).state == "failed"


async def test_without_a_directory_of_credentials_it_cannot_work() -> None:
    async with a_brokerd(environment={"CREDENTIALS_DIRECTORY": ""}) as daemon:
        reason = "expected one from the manager, was given no $CREDENTIALS_DIRECTORY"
        assert await fault_of(daemon) == CredentialRefused(name="token", reason=reason)


async def test_a_token_that_the_venue_does_not_take_is_named_and_not_shown() -> None:
    async with a_sim_venue() as _, a_brokerd(environment=credentials("hunter2")) as daemon:
        fault = await fault_of(daemon)
        assert fault == CredentialRefused(name="token", reason="the token is not known here")
        assert "hunter2" not in daemon.stderr()


async def test_its_secret_is_in_no_log_and_not_in_its_environment() -> None:
    async with a_sim_venue() as _, a_brokerd() as daemon, a_sender(daemon) as sender:
        await sender.place()
        environment = trio.Path(f"/proc/{daemon.process.pid}/environ")
        assert TOKEN not in await environment.read_text()
        assert TOKEN not in daemon.stderr()
        assert TOKEN not in "".join(daemon.manager.said())


@pytest.mark.parametrize(
    ("content", "reason"),
    [(None, "No such file or directory"), (b"\xff\xfe\x00", "expected text in UTF-8")],
)
def test_a_credential_that_cannot_be_read_is_named(
    content: bytes | None, reason: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    for data in [content] if content else []:
        (tmp_path / "token").write_bytes(data)
    with pytest.raises(Refused) as no:
        read_credentials(("token",))
    assert no.value.fault == CredentialRefused(name="token", reason=reason)


def test_credentials_do_not_show_what_they_are() -> None:
    given = Credentials({"token": "hunter2", "key": "hunter3"})
    assert given["token"] == "hunter2"
    assert f"{given!r} {given}" == "Credentials(token, key) Credentials(token, key)"


async def test_a_provider_that_has_no_order_control_is_named() -> None:
    async with a_brokerd("replay") as daemon:
        reason = "no order control: it lacks open_trade_dialog"
        assert await fault_of(daemon) == BrokenProvider(provider="replay", reason=reason)


async def test_an_unknown_provider_is_named() -> None:
    async with a_brokerd("nobody") as daemon:
        fault = await fault_of(daemon)
        assert isinstance(fault, UnknownProvider)
        assert fault.provider == "nobody"


THIRD_PARTY = """
from contextlib import asynccontextmanager
from piker.brokers import Provider

@asynccontextmanager
async def open_trade_dialog(settings, credentials, hear):
    raise RuntimeError("could not use " + credentials["token"])
    yield

ENDPOINTS = {"brokerd": {"open_trade_dialog": "third_party:open_trade_dialog"}}
PROVIDER = Provider("third", "A third party's.", ENDPOINTS, credentials=("token",))
"""


async def test_a_provider_that_fails_is_named_without_what_it_said() -> None:
    site = paths.state_directory() / "site"
    (site / "third-1.dist-info").mkdir(parents=True)
    (site / "third-1.dist-info/METADATA").write_text("Name: third\nVersion: 1\n")
    entry_points = "[piker.brokers]\nthird = third_party\n"
    (site / "third-1.dist-info/entry_points.txt").write_text(entry_points)
    (site / "third_party.py").write_text(THIRD_PARTY)
    environment = {**credentials(), "PYTHONPATH": str(site)}
    async with a_brokerd("third", environment) as daemon:
        reason = "open_trade_dialog: RuntimeError"
        assert await fault_of(daemon) == BrokenProvider(provider="third", reason=reason)
        assert TOKEN not in daemon.stderr()


async def test_it_says_how_it_is_used() -> None:
    async with a_daemon("brokerd", ready=False) as daemon:
        assert await daemon.ended() == 2
        assert daemon.stderr() == "usage: python -m piker.brokerd PROVIDER\n"
