"""A small interface and what answers it, for tests of the wire."""

import os
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from typing import Annotated

import trio
from msgspec import Meta

from piker.errors import Fault, Refused
from piker.interfaces import Call, Interface, Method, Reply
from piker.interfaces.introspection import INTROSPECTION
from piker.varlink import Server, Stream
from tests.fakes.switchboard import Switchboard, a_switchboard


class Say(Call, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Say something, some times."""

    text: Annotated[str, Meta(description="what")]
    times: Annotated[int | None, Meta(description="how often; default once")] = None


class Said(Reply, frozen=True, kw_only=True):
    """What was said."""

    text: Annotated[str, Meta(description="what")]


class Brood(Call, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Answers when it is let."""

    egg: Annotated[int, Meta(description="comes back")]


class Hatched(Reply, frozen=True, kw_only=True):
    """It is out."""

    egg: Annotated[int, Meta(description="as it came")]


class Swear(Call, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Is always refused."""


class Chatter(Call, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Numbers, then silence, as long as somebody listens."""

    words: Annotated[int, Meta(description="how many numbers")]


class Word(Reply, frozen=True, kw_only=True):
    """One number."""

    number: Annotated[int, Meta(description="from 0 on")]


class Lay(Call, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A reply for each count, with so many descriptors of files that say which they are."""

    eggs: Annotated[tuple[int, ...], Meta(description="how many in each reply")]


class Mood(Call, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How it is, once or again and again."""


class Feeling(Reply, frozen=True, kw_only=True):
    """How it is."""

    glad: Annotated[bool, Meta(description="whether it is")]


class Tired(Fault, frozen=True, kw_only=True):
    """It won't."""

    after: Annotated[int, Meta(description="words")]
    wants: Annotated[tuple[str, ...], Meta(description="what would help")] = ()


PARROT = Interface(
    "example.Parrot",
    "Speaks.",
    (
        Method("Say", Say, Said),
        Method("Brood", Brood, Hatched),
        Method("Swear", Swear, Said),
        Method("Chatter", Chatter, Word, "stream"),
        Method("Lay", Lay, Word, "stream"),
        Method("Mood", Mood, Feeling, "either"),
    ),
    (Tired,),
)


class Parrot:
    """Answers, and remembers what it did."""

    def __init__(self) -> None:
        self.said: list[str] = []
        self.hatched: list[int] = []
        self.silenced = 0
        self.broods = trio.Event()
        self.warm = trio.Event()

    async def say(self, call: Say) -> Said:
        self.said.append(call.text)
        return Said(text=" ".join([call.text] * (call.times or 1)))

    async def brood(self, call: Brood) -> Hatched:
        self.broods.set()
        await self.warm.wait()
        self.hatched.append(call.egg)
        return Hatched(egg=call.egg)

    async def swear(self, call: Swear) -> Said:
        raise Refused(Tired(after=2, wants=("nuts", "sleep")))

    async def chatter(self, call: Chatter, stream: Stream) -> None:
        try:
            for number in range(call.words):
                await stream.send(Word(number=number))
            await trio.sleep_forever()
        finally:
            self.silenced += 1

    async def lay(self, call: Lay, stream: Stream) -> None:
        for number, eggs in enumerate(call.eggs):
            with memfds(f"{number}.{egg}" for egg in range(eggs)) as files:
                await stream.send(Word(number=number), files)
        await trio.sleep_forever()

    async def mood(self, call: Mood, stream: Stream | None) -> Feeling:
        if stream is not None:
            await stream.send(Feeling(glad=True))
            await stream.end(Feeling(glad=False))
        return Feeling(glad=True)


class Cage:
    """A parrot behind a server, and those who talk to it."""

    def __init__(self, parrot: Parrot, board: Switchboard) -> None:
        self.parrot = parrot
        self.server = board.server
        self.peer = board.peer
        self.client = partial(board.client, PARROT)
        self.introspects = partial(board.client, INTROSPECTION)


@asynccontextmanager
async def a_cage() -> AsyncIterator[Cage]:
    """A cage in which every conversation has ended when all have hung up."""
    parrot = Parrot()
    with trio.fail_after(30):
        async with a_switchboard(Server("parrot.service", {PARROT: parrot})) as board:
            try:
                yield Cage(parrot, board)
            finally:
                parrot.warm.set()


@contextmanager
def memfds(contents: Iterable[str]) -> Iterator[list[int]]:
    """Descriptors of files that hold these texts."""
    fds = [_memfd(content) for content in contents]
    try:
        yield fds
    finally:
        for fd in fds:
            os.close(fd)


def content(fd: int) -> str:
    """What the file of a descriptor holds; closes it."""
    with open(fd) as file:
        file.seek(0)
        return file.read()


def nobody_holds_the_other_end(read: int) -> bool:
    """Whether a pipe can be written to by nobody any more; closes this end."""
    with open(read, "rb") as pipe:
        return pipe.read() == b""


def _memfd(text: str) -> int:
    fd = os.memfd_create(text)
    os.write(fd, text.encode())
    return fd
