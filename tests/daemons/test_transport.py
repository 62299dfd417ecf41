"""Connections over Unix sockets: messages, descriptors, a full backlog, a stale socket file."""

import os
import socket
import stat
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from piker.core.framing import MAX_MESSAGE
from piker.errors import Unreachable
from piker.transport import MAX_FDS, Connection, HungUp, Message, connect, listen
from tests.fakes.parrot import content, memfds, nobody_holds_the_other_end
from tests.fakes.peer import Peer


@asynccontextmanager
async def a_connection(*, takes_fds: bool = False) -> AsyncIterator[tuple[Connection, Peer]]:
    ours, theirs = socket.socketpair()
    peer = Peer(theirs)
    with closing(Connection(ours, takes_fds=takes_fds)) as connection, trio.fail_after(10):
        yield connection, peer
        await peer.hang_up()


async def test_the_messages_of_a_chunk_are_given_together() -> None:
    async with a_connection() as (connection, peer):
        await peer.write(b"one\0two\0thr")
        assert await connection.receive() == [Message(b"one"), Message(b"two")]
        await peer.write(b"ee\0")
        assert await connection.receive() == [Message(b"three")]


async def test_there_is_nothing_at_the_end_of_input() -> None:
    async with a_connection() as (connection, peer):
        await peer.write(b"unfinished")
        await peer.half_close()
        assert await connection.receive() == []


async def test_what_stands_before_an_overlong_message_is_given_first() -> None:
    async with a_connection() as (connection, peer), trio.open_nursery() as nursery:
        nursery.start_soon(peer.write, b"short\0" + b"x" * (MAX_MESSAGE + 1_000_000))
        assert await connection.receive() == [Message(b"short")]
        with pytest.raises(HungUp, match="too long"):
            await connection.receive()
        nursery.cancel_scope.cancel()


async def test_what_came_is_given_or_still_there_when_the_receiver_is_cancelled() -> None:
    for _ in range(20):  # woken and cancelled in one turn, in either order
        got: list[Message] = []
        async with a_connection() as (connection, peer):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(receive, connection, got)
                await wait_all_tasks_blocked()
                await peer.write(b"said\0")
                nursery.cancel_scope.cancel()
            got += connection.receive_now() or []
        assert got == [Message(b"said")]


async def receive(connection: Connection, got: list[Message]) -> None:
    got += await connection.receive()


async def test_every_descriptor_goes_with_its_message() -> None:
    async with a_connection(takes_fds=True) as (connection, peer):
        with memfds(["a", "b", "c"]) as (a, b, c):
            await peer.write(b"none\0")
            await peer.write_with_fds(b"first\0", a)
            await peer.write_with_fds(b"second\0", b, c)
            await peer.write(b"none\0")
        got = [message for _ in range(3) for message in await connection.receive()]
    contents = [(each.data, [content(fd) for fd in each.fds]) for each in got]
    assert contents == [
        (b"none", []), (b"first", ["a"]), (b"second", ["b", "c"]), (b"none", []),
    ]  # fmt: skip


async def test_descriptors_of_a_message_in_pieces_wait_for_its_end() -> None:
    async with a_connection(takes_fds=True) as (connection, peer):
        with memfds(["a"]) as (a,):
            await peer.write_with_fds(b"whole\0begun", a)
        assert await connection.receive() == [Message(b"whole")]
        await peer.write(b" and ended\0")
        (message,) = await connection.receive()
    assert message.data == b"begun and ended"
    assert [content(fd) for fd in message.fds] == ["a"]


async def test_as_many_descriptors_as_fit_are_taken() -> None:
    async with a_connection(takes_fds=True) as (connection, peer):
        with memfds(map(str, range(MAX_FDS))) as fds:
            await peer.write_with_fds(b"all\0", *fds)
        (message,) = await connection.receive()
    assert [content(fd) for fd in message.fds] == [str(number) for number in range(MAX_FDS)]


async def test_more_descriptors_end_the_conversation() -> None:
    async with a_connection(takes_fds=True) as (connection, peer):
        with memfds(map(str, range(MAX_FDS + 1))) as fds:
            await peer.write_with_fds(b"too many\0", *fds)
        (message,) = await connection.receive()
        with pytest.raises(HungUp, match="descriptors"):
            await connection.receive()
    assert len([content(fd) for fd in message.fds]) == MAX_FDS


async def test_descriptors_where_none_is_expected_are_closed_and_end_the_conversation() -> None:
    async with a_connection() as (connection, peer):
        read, write = os.pipe()
        await peer.write_with_fds(b"here\0", write)
        os.close(write)
        assert await connection.receive() == [Message(b"here")]
        with pytest.raises(HungUp, match="descriptors"):
            await connection.receive()
    assert nobody_holds_the_other_end(read)


async def test_descriptors_of_a_message_that_never_ends_are_closed() -> None:
    async with a_connection(takes_fds=True) as (connection, peer):
        read, write = os.pipe()
        await peer.write_with_fds(b"begun", write)
        os.close(write)
        assert connection.receive_now() is None
    assert nobody_holds_the_other_end(read)


async def test_what_does_not_fit_is_sent_when_there_is_room() -> None:
    big = b"x" * 3_000_000
    async with a_connection() as (connection, peer), trio.open_nursery() as nursery:
        nursery.start_soon(connection.send, b'"%b"\0' % big)
        await wait_all_tasks_blocked()
        assert await peer.read() == big.decode()


async def test_closing_wakes_who_waits() -> None:
    async with a_connection() as (connection, _), trio.open_nursery() as nursery:
        nursery.start_soon(hangs_up, connection)
        await wait_all_tasks_blocked()
        connection.close()


async def hangs_up(connection: Connection) -> None:
    with pytest.raises(HungUp):
        await connection.receive()


def test_a_socket_is_for_its_own_user_alone(home: Path) -> None:
    path = home / "new" / "directory" / "a.sock"
    with listen(str(path)):
        modes = [stat.S_IMODE(os.stat(each).st_mode) for each in (path, path.parent)]
    assert modes == [0o600, 0o700]


async def test_the_file_of_a_daemon_that_died_is_replaced(home: Path) -> None:
    path = str(home / "a.sock")
    listen(path).close()
    with listen(path):
        (await connect(path, "a.service")).close()


async def test_nobody_takes_the_place_of_one_who_listens(home: Path) -> None:
    path = str(home / "a.sock")
    with listen(path) as listener:
        with pytest.raises(OSError, match="in use"):
            listen(path)
        listener.accept()[0].close()  # the other's look at whether somebody is there


async def test_a_path_that_is_too_long_is_named_with_its_length() -> None:
    path = "/tmp/" + "x" * 103
    with pytest.raises(Unreachable, match=rf"a\.service: .* is 108 bytes.*107: {path}"):
        await connect(path, "a.service")


async def test_a_daemon_that_does_not_listen_is_named(home: Path) -> None:
    with pytest.raises(Unreachable, match=r"a\.service does not listen at .*No such file"):
        await connect(str(home / "a.sock"), "a.service")


async def test_a_connection_waits_for_a_full_backlog(home: Path) -> None:
    path = str(home / "a.sock")
    async with a_full_backlog(path) as listener, trio.open_nursery() as nursery:
        nursery.start_soon(connects, path)
        await wait_all_tasks_blocked()
        for _ in range(3):
            await trio.lowlevel.wait_readable(listener)
            listener.accept()[0].close()


async def connects(path: str) -> None:
    with trio.fail_after(10):
        connection = await connect(path, "a.service")
    connection.close()


async def test_who_takes_no_connection_is_named(
    home: Path, autojump_clock: trio.testing.MockClock
) -> None:
    path = str(home / "a.sock")
    async with a_full_backlog(path):
        with pytest.raises(Unreachable, match=r"a\.service took no connection within 3 s"):
            await connect(path, "a.service", timeout_s=3)


@asynccontextmanager
async def a_full_backlog(path: str) -> AsyncIterator[socket.socket]:
    """A listening socket with room for two connections, which are there."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen(1)
        listener.setblocking(False)
        with closing(await connect(path, "filler")), closing(await connect(path, "filler")):
            yield listener


async def test_to_wait_on_a_closed_connection_is_a_hang_up_however_often() -> None:
    for _ in range(2):
        async with a_connection() as (connection, _peer):
            connection.close()
            with pytest.raises(HungUp, match="it was closed here"):
                await connection.writable()
