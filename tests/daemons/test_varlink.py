"""Varlink: streams and commands, faults, bad input, and what our client makes of it."""

import json
import os
import resource
import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, aclosing, asynccontextmanager, suppress
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import trio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from trio.testing import MockClock, wait_all_tasks_blocked

from piker.core.description import describe
from piker.core.framing import MAX_MESSAGE
from piker.errors import Refused, Unreachable
from piker.interfaces import Interface
from piker.interfaces.introspection import (
    GetInfo,
    GetInterfaceDescription,
    Info,
    InterfaceDescription,
    InterfaceNotFound,
)
from piker.transport import Connection, listen
from piker.varlink import Client, Server, UnknownFault, open_client
from tests.fakes.parrot import (
    PARROT,
    Brood,
    Chatter,
    Feeling,
    Hatched,
    Lay,
    Mood,
    Parrot,
    Said,
    Say,
    Swear,
    Tired,
    Word,
    a_cage,
    content,
    memfds,
    nobody_holds_the_other_end,
)
from tests.fakes.peer import Peer, call, fault, refusal
from tests.fakes.switchboard import a_switchboard

PATIENCE_S = 60
"""For hundreds at once: how long they take depends on the machine."""
SAY = "example.Parrot.Say"
BROOD = "example.Parrot.Brood"
SWEAR = "example.Parrot.Swear"
CHATTER = "example.Parrot.Chatter"
MOOD = "example.Parrot.Mood"

CRACKERS = call(SAY, text="cracker") + call(SAY, text="nut", times=2)
CRACKERS_SAID = [{"parameters": {"text": "cracker"}}, {"parameters": {"text": "nut nut"}}]


def word(number: int) -> dict[str, object]:
    return {"parameters": {"number": number}, "continues": True}


# --- commands


@given(st.lists(st.integers(0, len(CRACKERS)), max_size=6))
async def test_commands_are_answered_in_whatever_pieces_they_come(cuts: list[int]) -> None:
    edges = [0, *sorted(cuts), len(CRACKERS)]
    async with a_cage() as cage:
        peer = cage.peer()
        for start, end in pairwise(edges):
            await peer.write(CRACKERS[start:end])
            await wait_all_tasks_blocked()
        assert [await peer.read(), await peer.read()] == CRACKERS_SAID


async def test_a_client_that_sends_byte_by_byte_is_answered() -> None:
    async with a_cage() as cage:
        peer = cage.peer()
        for byte in call(SAY, text="slow"):
            await peer.write(bytes([byte]))
            await wait_all_tasks_blocked()
        assert await peer.read() == {"parameters": {"text": "slow"}}


async def test_commands_are_answered_in_order_however_long_each_takes() -> None:
    async with a_cage() as cage:
        peer = cage.peer()
        await peer.write(call(BROOD, egg=1) + call(SAY, text="later"))
        await cage.parrot.broods.wait()
        assert cage.parrot.said == []
        cage.parrot.warm.set()
        assert await peer.read() == {"parameters": {"egg": 1}}
        assert await peer.read() == {"parameters": {"text": "later"}}


async def test_a_command_runs_to_its_end_though_its_caller_has_gone() -> None:
    async with a_cage() as cage:
        peer = cage.peer()
        await peer.write(call(BROOD, egg=7))
        await cage.parrot.broods.wait()
        await peer.hang_up()
        await wait_all_tasks_blocked()
        cage.parrot.warm.set()
        await wait_all_tasks_blocked()
        assert cage.parrot.hatched == [7]


async def test_the_end_of_input_is_no_hang_up_for_a_command() -> None:
    async with a_cage() as cage:
        peer = cage.peer()
        await peer.write(call(BROOD, egg=2) + call(SAY, text="last"))
        await peer.half_close()
        await cage.parrot.broods.wait()
        cage.parrot.warm.set()
        assert await peer.read_to_the_end() == [
            {"parameters": {"egg": 2}},
            {"parameters": {"text": "last"}},
        ]


async def test_a_client_that_disappears_mid_message_leaves_nothing() -> None:
    async with a_cage() as cage:
        peer = cage.peer()
        await peer.write(call(SAY, text="half")[:-5])
        await wait_all_tasks_blocked()
        await peer.hang_up()
        await wait_all_tasks_blocked()
        assert not cage.server.conversations
        assert cage.parrot.said == []


async def test_oneway_gets_no_reply_not_even_an_error() -> None:
    async with a_cage() as cage:
        peer = cage.peer()
        await peer.write(
            call(SAY, oneway=True, text="quietly")
            + call(SWEAR, oneway=True)
            + call(SAY, oneway=True, wrong=1)
            + call("example.Parrot.None", oneway=True)
            + call(CHATTER, oneway=True, words=1)
            + call(SAY, text="aloud")
        )
        assert await peer.read() == {"parameters": {"text": "aloud"}}
        assert cage.parrot.said == ["quietly", "aloud"]


async def test_a_command_may_be_called_with_more_and_answers_once() -> None:
    async with a_cage() as cage:
        peer = cage.peer()
        assert await peer.ask(SAY, more=True, text="hm") == {"parameters": {"text": "hm"}}
        assert await peer.ask(SAY, text="more") == {"parameters": {"text": "more"}}


async def test_who_asks_without_end_does_not_keep_others_waiting() -> None:
    async with a_cage() as cage:
        endless, other = cage.peer(), cage.peer()
        many = 1500
        await endless.write(call(SAY, oneway=True, text="me" * 20) * many)
        await other.write(call(SAY, text="you"))
        await other.read()
        assert cage.parrot.said.index("you") < many


# --- streams


async def test_a_stream_goes_on_until_the_client_hangs_up() -> None:
    async with a_cage() as cage:
        peer = cage.peer()
        assert await peer.ask(CHATTER, more=True, words=2) == word(0)
        assert await peer.read() == word(1)
        await wait_all_tasks_blocked()
        assert cage.parrot.silenced == 0
        await peer.hang_up()
        await wait_all_tasks_blocked()
        assert (cage.parrot.silenced, len(cage.server.conversations)) == (1, 0)


async def test_a_stream_to_a_client_that_never_reads_ends_when_it_hangs_up() -> None:
    async with a_cage() as cage:
        peer = cage.peer()
        await peer.write(call(CHATTER, more=True, words=1_000_000))
        await wait_all_tasks_blocked()
        await peer.hang_up()
        await wait_all_tasks_blocked()
        assert (cage.parrot.silenced, len(cage.server.conversations)) == (1, 0)


async def test_who_never_reads_does_not_keep_others_waiting() -> None:
    async with a_cage() as cage:
        await cage.peer().write(call(CHATTER, more=True, words=1_000_000))
        await cage.peer().write(call(SAY, text="x" * 1000, times=1000) * 3)
        await wait_all_tasks_blocked()
        assert await cage.peer().ask(SAY, text="hm") == {"parameters": {"text": "hm"}}


async def test_a_stream_needs_more() -> None:
    async with a_cage() as cage:
        peer = cage.peer()
        assert await peer.ask(CHATTER, words=1) == refusal("ExpectedMore")
        assert await peer.ask(SAY, text="hm") == {"parameters": {"text": "hm"}}


async def test_a_stream_that_is_refused_ends_the_conversation() -> None:
    async with a_cage() as cage:
        peer = cage.peer()
        await peer.write(call(CHATTER, more=True, words="many") + call(SAY, text="hm"))
        (reply,) = await peer.read_to_the_end()
        assert reply["error"] == "org.varlink.service.InvalidParameter"


async def test_what_may_be_either_answers_once_without_more() -> None:
    async with a_cage() as cage:
        peer = cage.peer()
        assert await peer.ask(MOOD) == {"parameters": {"glad": True}}
        assert await peer.ask(MOOD, more=True) == {"parameters": {"glad": True}, "continues": True}
        assert await peer.read_to_the_end() == [{"parameters": {"glad": False}}]


# --- faults


async def test_a_fault_arrives_with_its_values() -> None:
    async with a_cage() as cage:
        expected = fault("example.Parrot.Tired", after=2, wants=["nuts", "sleep"])
        assert await cage.peer().ask(SWEAR) == expected


async def test_a_fault_of_two_interfaces_is_told_as_that_of_the_one_that_was_asked() -> None:
    swear = PARROT.method(Swear)
    macaw = Interface("example.Macaw", "Swears too.", (swear,), PARROT.faults)
    server = Server("parrot.service", {PARROT: Parrot(), macaw: Parrot()})
    async with a_switchboard(server) as board:
        for interface in (PARROT, macaw):
            with pytest.raises(Refused) as refused:
                await board.client(interface).call(Swear(), Said)
            assert refused.value.fault == Tired(after=2, wants=("nuts", "sleep"))


async def test_a_method_that_does_not_exist_is_named() -> None:
    async with a_cage() as cage:
        expected = refusal("MethodNotFound", method="example.Parrot.Fly")
        assert await cage.peer().ask("example.Parrot.Fly") == expected


@pytest.mark.parametrize(
    ("method", "interface"), [("example.Owl.Fly", "example.Owl"), ("Fly", ""), ("", "")]
)
async def test_an_interface_that_is_not_served_is_named(method: str, interface: str) -> None:
    async with a_cage() as cage:
        expected = refusal("InterfaceNotFound", interface=interface)
        assert await cage.peer().ask(method) == expected


@pytest.mark.parametrize(
    ("parameters", "problem"),
    [
        ({"text": 3}, "text: Expected `str`, got `int`"),
        ({"text": "a", "times": "b"}, "times: Expected `int | null`, got `str`"),
        ({"text": None}, "text: Expected `str`, got `null`"),
        ({}, "text: Object missing required field `text`"),
        ({"text": "a", "tone": "b"}, "tone: Object contains unknown field `tone`"),
    ],
)
async def test_a_parameter_that_does_not_fit_is_named(
    parameters: dict[str, Any], problem: str
) -> None:
    async with a_cage() as cage:
        expected = refusal("InvalidParameter", parameter=problem)
        assert await cage.peer().ask(SAY, **parameters) == expected


async def test_null_is_fine_where_a_parameter_may_be_left_out() -> None:
    async with a_cage() as cage:
        assert await cage.peer().ask(SAY, text="a", times=None) == {"parameters": {"text": "a"}}


@pytest.mark.parametrize("parameters", ["", ', "parameters": null', ', "parameters": {}'])
async def test_parameters_may_be_left_out_where_none_is_needed(parameters: str) -> None:
    async with a_cage() as cage:
        peer = cage.peer()
        await peer.write(f'{{"method": "{MOOD}"{parameters}}}\0'.encode())
        assert await peer.read() == {"parameters": {"glad": True}}


async def test_upgrade_is_not_implemented() -> None:
    async with a_cage() as cage:
        peer = cage.peer()
        await peer.write(b'{"method": "example.Parrot.Mood", "upgrade": true}\0')
        expected = refusal("MethodNotImplemented", method="example.Parrot.Mood with upgrade")
        assert await peer.read() == expected


# --- what breaks the framing, or is no call


@pytest.mark.parametrize(
    "garbage",
    [
        b"\0",
        b"{\0",
        b"[]\0",
        b'"example.Parrot.Say"\0',
        b"{}\0",
        b'{"method": 7}\0',
        b'{"method": "example.Parrot.Mood", "more": null}\0',
        b'{"method": "example.Parrot.Mood", "more": true, "oneway": true}\0',
        b'{"method": "example.Parrot.Mood", "parameters": {]}\0',
        b'{"method": "\xff"}\0',
        b'{"method": "\\ud800"}\0',
        b'{"method": ' + b"[" * 100_000 + b"\0",
        b"x" * (MAX_MESSAGE + 100_000) + b"\0",
        b"x" * (MAX_MESSAGE + 100_000),
    ],
    ids=lambda garbage: f"{garbage[:60]!r}",
)
async def test_what_is_no_call_ends_its_conversation_and_no_other(garbage: bytes) -> None:
    async with a_cage() as cage:
        other, peer = cage.peer(), cage.peer()
        await other.write(call(CHATTER, more=True, words=1))
        await peer.write(call(SAY, text="before"))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(writes_until_it_is_hung_up_on, peer, garbage)
            assert await peer.read_to_the_end() == [{"parameters": {"text": "before"}}]
        assert await other.read() == word(0)
        assert len(cage.server.conversations) == 1


async def writes_until_it_is_hung_up_on(peer: Peer, data: bytes) -> None:
    with suppress(trio.BrokenResourceError):
        await peer.write(data)


async def test_text_that_is_not_utf_8_is_no_parameter() -> None:
    async with a_cage() as cage:
        peer = cage.peer()
        await peer.write(call(SAY, text="@").replace(b"@", b"\xff"))
        assert (await peer.read())["error"] == "org.varlink.service.InvalidParameter"


async def test_descriptors_sent_to_a_daemon_end_the_conversation_and_leak_nowhere() -> None:
    async with a_cage() as cage:
        peer = cage.peer()
        read, write = os.pipe()
        await peer.write_with_fds(call(SAY, text="here"), *[write] * 40)
        os.close(write)
        assert await peer.read_to_the_end() == [{"parameters": {"text": "here"}}]
    assert nobody_holds_the_other_end(read)


keys = st.sampled_from(["method", "parameters", "oneway", "more", "upgrade", "text", "times", "x"])
methods = st.sampled_from([SAY, SWEAR, MOOD, CHATTER, "org.varlink.service.GetInfo", "example.X.Y"])
scalars = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(), methods)
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=4)
)
calls = st.fixed_dictionaries(
    {"method": methods},
    optional={
        "parameters": st.fixed_dictionaries({}, optional={"text": values, "words": values}),
        "more": st.booleans(),
        "oneway": st.booleans(),
        "upgrade": st.booleans(),
    },
)
messages = st.one_of(
    st.binary(max_size=60),
    values.map(lambda value: json.dumps(value).encode()),
    calls.map(lambda value: json.dumps(value).encode()),
)


@settings(max_examples=150, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(messages, max_size=4))
async def test_whatever_comes_the_server_goes_on(said: list[bytes]) -> None:
    async with a_cage() as cage:
        peer, other = cage.peer(), cage.peer()
        await peer.write(b"".join(message + b"\0" for message in said))
        await peer.half_close()
        await peer.read_to_the_end()
        assert await other.ask(SAY, text="hm") == {"parameters": {"text": "hm"}}
        assert len(cage.server.conversations) == 1


# --- our client


async def test_a_call_gives_its_reply() -> None:
    async with a_cage() as cage:
        client = cage.client()
        assert await client.call(Say(text="a", times=2), Said) == Said(text="a a")
        assert await client.call(Mood(), Feeling) == Feeling(glad=True)


async def test_a_fault_is_raised_as_it_was_declared() -> None:
    async with a_cage() as cage:
        client = cage.client()
        with pytest.raises(Refused, match="after: 2, wants: nuts, sleep") as refused:
            await client.call(Swear(), Said)
        assert refused.value.fault == Tired(after=2, wants=("nuts", "sleep"))
        assert await client.call(Say(text="still"), Said) == Said(text="still")


async def test_a_stream_gives_replies_until_it_is_closed() -> None:
    async with a_cage() as cage:
        client = cage.client()
        async with aclosing(client.replies(Chatter(words=3), Word)) as replies:
            got = [(await anext(replies))[0].number for _ in range(3)]
        await wait_all_tasks_blocked()
        assert (got, cage.parrot.silenced) == ([0, 1, 2], 1)
        assert not cage.server.conversations


async def test_a_stream_gives_the_descriptors_of_each_reply() -> None:
    async with a_cage() as cage:
        got = []
        async with aclosing(cage.client().replies(Lay(eggs=(2, 0, 16)), Word)) as replies:
            for _ in range(3):
                word, fds = await anext(replies)
                got.append((word.number, [content(fd) for fd in fds]))
        assert got == [(0, ["0.0", "0.1"]), (1, []), (2, [f"2.{egg}" for egg in range(16)])]


async def test_descriptors_that_nobody_took_are_closed() -> None:
    async with a_cage() as cage:
        replies = cage.client().replies(Lay(eggs=(0, 1, 1, 1)), Word)
        await anext(replies)
        await replies.aclose()
    # whether one is left open is looked at after each test


async def test_a_stream_that_ends_well_leaves_the_loop() -> None:
    async with a_cage() as cage:
        replies = cage.client().replies(Mood(), Feeling)
        assert [reply.glad async for reply, _ in replies] == [True, False]


async def test_a_stream_that_is_refused_raises_the_fault() -> None:
    async with a_cage() as cage:
        replies = cage.client().replies(Swear(), Word)
        with pytest.raises(Refused, match="It won't"):
            await anext(replies)


async def test_a_daemon_that_goes_away_is_named() -> None:
    async with a_cage() as cage:
        replies = cage.client().replies(Chatter(words=1), Word)
        await anext(replies)
        (conversation,) = cage.server.conversations
        conversation.connection.close()
        with pytest.raises(Unreachable, match=r"journalctl --user -u parrot\.service"):
            await anext(replies)


async def test_a_call_that_timed_out_closes_the_connection(autojump_clock: MockClock) -> None:
    async with a_cage() as cage:
        client = cage.client()
        with pytest.raises(Unreachable, match=r"parrot\.service did not answer Brood within 2 s"):
            await client.call(Brood(egg=1), Hatched, timeout_s=2)
        cage.parrot.warm.set()
        with pytest.raises(Unreachable, match=r"parrot\.service went away"):
            await client.call(Say(text="other"), Said)


async def test_a_call_that_was_cancelled_closes_the_connection() -> None:
    async with a_cage() as cage:
        client = cage.client()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(client.call, Brood(egg=1), Hatched)
            await cage.parrot.broods.wait()
            nursery.cancel_scope.cancel()
        cage.parrot.warm.set()
        with pytest.raises(Unreachable):
            await client.call(Say(text="other"), Said)


async def test_a_stream_that_was_left_closes_the_connection() -> None:
    async with a_cage() as cage:
        client = cage.client()
        async with aclosing(client.replies(Chatter(words=3), Word)) as replies:
            await anext(replies)
        with pytest.raises(Unreachable):
            await client.call(Say(text="other"), Said)


async def test_a_first_reply_that_never_comes_names_the_unit(autojump_clock: MockClock) -> None:
    async with a_daemon_that_answers(b"") as client:
        replies = client.replies(Chatter(words=1), Word, timeout_s=2)
        with pytest.raises(Unreachable, match="daft did not answer Chatter within 2 s"):
            await anext(replies)
        with pytest.raises(Unreachable, match="daft went away"):
            await client.call(Say(text="hm"), Said)


async def test_only_the_first_reply_has_a_time_limit(autojump_clock: MockClock) -> None:
    async with a_daemon_that_answers(b'{"parameters":{"number":0},"continues":true}\0') as client:
        replies = client.replies(Chatter(words=1), Word, timeout_s=2)
        await anext(replies)
        with trio.move_on_after(3600) as patience:
            await anext(replies)
    assert patience.cancelled_caught


@pytest.mark.parametrize("answer", [b"{\0", b"\xff\0", b"[]\0", b"{}\0", b'{"parameters":{}}\0'])
async def test_a_daemon_that_speaks_nonsense_is_named(answer: bytes) -> None:
    async with a_daemon_that_answers(answer) as client:
        with pytest.raises(Unreachable, match="daft speaks another version"):
            await client.call(Say(text="hm"), Said)


@pytest.mark.parametrize(
    ("parameters", "kept"),
    [(b'{"a":1}', '{"a":1}'), (b"null", "null"), (b'{"a":"\xff"}', '{"a":"\ufffd"}')],
)
async def test_a_fault_that_is_not_known_keeps_its_name_and_values(
    parameters: bytes, kept: str
) -> None:
    answer = b'{"error":"example.Parrot.Ill","parameters":%b}\0' % parameters
    async with a_daemon_that_answers(answer) as client:
        with pytest.raises(Refused) as refused:
            await client.call(Say(text="hm"), Said)
    assert refused.value.fault == UnknownFault(name="example.Parrot.Ill", parameters=kept)


async def test_descriptors_that_a_command_did_not_ask_for_are_closed() -> None:
    with memfds(["a"]) as fds:
        async with a_daemon_that_answers(b'{"parameters":{"text":"hm"}}\0', *fds) as client:
            assert await client.call(Say(text="hm"), Said) == Said(text="hm")


@asynccontextmanager
async def a_daemon_that_answers(answer: bytes, *fds: int) -> AsyncIterator[Client]:
    """A client of somebody who gives the same answer to everything, and stays."""
    ours, theirs = socket.socketpair()
    connection, peer = Connection(ours, takes_fds=True), Peer(theirs)
    await peer.write_with_fds(answer, *fds)
    try:
        yield Client(connection, PARROT, "daft")
    finally:
        connection.close()
        await peer.hang_up()


# --- over a listening socket


async def test_hundreds_at_once_are_answered_over_a_short_backlog(home: Path) -> None:
    path = str(home / "parrot.sock")
    async with a_cage() as cage, trio.open_nursery() as nursery:
        listener = listen(path)
        listener.listen(1)
        nursery.start_soon(cage.server.serve, [listener])
        async with trio.open_nursery() as clients:
            for number in range(300):
                clients.start_soon(says, path, str(number))
        await cage.server.drain()
        listener.close()
    assert sorted(map(int, cage.parrot.said)) == list(range(300))


async def says(path: str, text: str) -> None:
    async with open_client(path, PARROT, "parrot.service", PATIENCE_S) as client:
        assert await client.call(Say(text=text), Said, PATIENCE_S) == Said(text=text)


async def test_a_full_table_of_descriptors_delays_and_loses_nobody(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = str(home / "parrot.sock")
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    async with a_cage() as cage, trio.open_nursery() as nursery:
        listener = listen(path)
        nursery.start_soon(cage.server.serve, [listener])
        clients = [socket.socket(socket.AF_UNIX) for _ in range(40)]
        resource.setrlimit(resource.RLIMIT_NOFILE, (clients[-1].fileno() + 10, limits[1]))
        for client in clients:
            client.connect(path)
        for client in clients:
            peer = Peer(client)
            assert await peer.ask(SAY, text="hm") == {"parameters": {"text": "hm"}}
            await peer.hang_up()
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
        await cage.server.drain()
        listener.close()


def a_server_for_ten_at_each_of_two_doors() -> Server:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (40, hard))
    try:
        return Server("parrot.service", {PARROT: Parrot()}, {PARROT: Parrot()})
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


async def test_a_crowd_at_one_door_keeps_nobody_from_another(home: Path) -> None:
    server = a_server_for_ten_at_each_of_two_doors()
    crowded, free = str(home / "crowded.sock"), str(home / "free.sock")
    with listen(crowded) as one, listen(free) as two:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(server.serve, [one], [two])
            async with AsyncExitStack() as stack:
                for _ in range(10):
                    guest = await stack.enter_async_context(open_client(crowded, PARROT, "parrot"))
                    await guest.call(Say(text="hm"), Said)
                late = await stack.enter_async_context(open_client(crowded, PARROT, "parrot"))
                with pytest.raises(Unreachable, match="did not answer Say"):
                    await late.call(Say(text="hm"), Said, 0.1)
                await says(free, "hello")
            await says(crowded, "hello")
            await server.drain()


# --- what every service says about itself


async def test_a_server_says_who_it_is() -> None:
    async with a_cage() as cage:
        info = await cage.introspects().call(GetInfo(), Info)
    assert (info.vendor, info.product) == ("piker", "parrot.service")
    assert info.interfaces == ("org.varlink.service", "example.Parrot")


async def test_a_server_describes_its_interfaces() -> None:
    async with a_cage() as cage:
        call = GetInterfaceDescription(interface="example.Parrot")
        described = await cage.introspects().call(call, InterfaceDescription)
    assert described.description == describe(PARROT)


async def test_an_interface_that_is_not_there_has_no_description() -> None:
    async with a_cage() as cage:
        call = GetInterfaceDescription(interface="example.Owl")
        with pytest.raises(Refused) as refused:
            await cage.introspects().call(call, InterfaceDescription)
    assert refused.value.fault == InterfaceNotFound(interface="example.Owl")


async def test_a_server_that_is_cancelled_before_it_has_begun_ends(home: Path) -> None:
    with listen(str(home / "s")) as listener, trio.fail_after(10):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(Server("parrot", {}).serve, [listener])
            nursery.cancel_scope.cancel()


async def test_commands_that_are_asked_ahead_are_answered_in_order_faults_and_all() -> None:
    async with a_cage() as cage:
        client = cage.client()
        await client.ask(Say(text="one"))
        await client.ask(Swear())
        await client.ask(Say(text="two"))
        assert (await client.answer(Said)).text == "one"
        with pytest.raises(Refused):
            await client.answer(Said)
        assert (await client.answer(Said)).text == "two"


async def test_an_answer_that_does_not_come_closes_the_connection() -> None:
    async with a_cage() as cage:
        client = cage.client()
        await client.ask(Brood(egg=1))
        with pytest.raises(Unreachable, match=r"did not answer within 0\.01 s"):
            await client.answer(Hatched, 0.01)
        with pytest.raises(Unreachable):
            await client.ask(Say(text="one"))
        cage.parrot.warm.set()
