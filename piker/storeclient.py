"""What is kept of markets' pasts, as programs and the command line ask for it: piker.Store."""

import os
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager, suppress
from typing import NamedTuple

from msgspec import structs

from piker import brokers, client
from piker.core.spans import Pair
from piker.errors import Refused, Unreachable
from piker.interfaces.store import (
    STORE,
    Audit,
    AuditReply,
    Gaps,
    GapsReply,
    ImportBars,
    ImportBarsReply,
    ImportRows,
    ImportRowsReply,
    Series,
    SeriesReply,
    Table,
    TableReply,
)
from piker.sharedbars import BarReader
from piker.varlink import Client

WAIT_S = 300.0
"""How long an answer may take: a disk may be slow, and others may be first."""


async def provider_of(name: str) -> str:
    """The provider of a market, by its name, or who keeps something of it, or else has it.

    Raises as `client.describe`.
    """
    last = client.provider_of(name.strip().lower())
    if "." in name and last in (*client.listening(), *brokers.known()):
        return last
    keeping = [provider for provider in client.asked() if await _keeps(provider, name)]
    if len(keeping) == 1:
        return keeping[0]
    return client.provider_of((await client.describe(name)).fqme)


async def kept_as(name: str) -> str | None:
    """The whole name of the only market that bars are kept of by this name. Raises Unreachable."""
    found: set[str] = set()
    for provider in client.asked():
        with suppress(Refused, Unreachable):
            found |= {each.market for each in (await series(provider, name)).series}
    return found.pop() if len(found) == 1 else None


async def _keeps(provider: str, name: str) -> bool:
    try:
        return bool((await series(provider, name)).series)
    except (Refused, Unreachable):
        return False


async def series(provider: str, market: str | None = None) -> SeriesReply:
    """What a provider's datad keeps. Raises Refused or Unreachable."""
    async with client.open_daemon("datad", provider, STORE) as datad:
        return await datad.call(Series(market=market), SeriesReply, WAIT_S)


async def audit(provider: str, call: Audit) -> AsyncGenerator[AuditReply, None]:
    """What isn't as it should be, as it is found. Raises Refused or Unreachable."""
    async with (
        client.open_daemon("datad", provider, STORE) as datad,
        aclosing(datad.replies(call, AuditReply, WAIT_S)) as replies,
    ):
        async for reply, _ in replies:
            yield reply
            if reply.done:
                return


async def gaps(call: Gaps) -> GapsReply:
    """All that a stretch is covered by, and lacks. Raises Refused or Unreachable."""
    async with client.open_daemon("datad", await provider_of(call.market), STORE) as datad:
        whole = part = await datad.call(call, GapsReply, WAIT_S)
        while part.cut:
            rest = structs.replace(call, from_ns=part.to_ns)
            part = await datad.call(rest, GapsReply, WAIT_S)
            whole = structs.replace(
                part,
                from_ns=whole.from_ns,
                covered=whole.covered + part.covered,
                gaps=whole.gaps + part.gaps,
                unavailable=whole.unavailable + part.unavailable,
                closures=whole.closures + part.closures,
            )
    return whole


async def tables(call: Table) -> AsyncGenerator[tuple[TableReply, BarReader], None]:
    """Bars, oldest first, some millions at a time; a reader is closed when the next comes.

    Raises Refused, Unreachable or NotBars.
    """
    provider = await provider_of(call.market)
    while True:
        reply, reader = await _table(provider, call)
        try:
            yield reply, reader
        finally:
            reader.close()
        if not reply.cut:
            return
        call = structs.replace(call, from_ns=reply.to_ns)


async def _table(provider: str, call: Table) -> tuple[TableReply, BarReader]:
    async with (
        client.open_daemon("datad", provider, STORE) as datad,
        aclosing(datad.replies(call, TableReply, WAIT_S)) as replies,
    ):
        async for reply, fds in replies:
            return reply, BarReader(fds[reply.fd])
    raise AssertionError("a stream ends with an error, or has a reply")


class LentRows(NamedTuple):
    """Memory to put rows in (piker/barmemory.py), until the import ends."""

    fd: int
    capacity: int
    """Rows that there is room for."""


class Importing:
    """An import that has begun."""

    def __init__(self, datad: Client, reply: ImportBarsReply, fd: int) -> None:
        self.market = reply.market
        self.kept = reply.kept
        """Some bars of it are kept already."""
        self.lent = LentRows(fd, reply.capacity)
        self._datad = datad
        self._ticket = reply.ticket

    async def take(
        self, rows: int, covered: Pair | None, *, check: bool = False
    ) -> ImportRowsReply:
        """Have so many rows kept that were put in the memory that is lent.

        `covered` is the stretch of which they are all bars, UTC ns; else each covers its own
        period. With `check` it is only seen whether they would be kept. Raises Refused or
        Unreachable.
        """
        call = ImportRows(
            ticket=self._ticket,
            rows=rows,
            covered_from_ns=covered[0] if covered else None,
            covered_to_ns=covered[1] if covered else None,
            check=check or None,
        )
        return await self._datad.call(call, ImportRowsReply, WAIT_S)


@asynccontextmanager
async def importing(call: ImportBars) -> AsyncIterator[Importing]:
    """Hand bars in while this is open. Raises Refused or Unreachable."""
    provider = await provider_of(call.market)
    async with (
        client.open_daemon("datad", provider, STORE) as stream,
        client.open_daemon("datad", provider, STORE) as datad,
        aclosing(stream.replies(call, ImportBarsReply, WAIT_S)) as replies,
    ):
        reply, fds = await anext(replies)
        try:
            yield Importing(datad, reply, fds[reply.fd])
        finally:
            os.close(fds[reply.fd])
