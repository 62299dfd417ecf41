"""Which daemon answers for a market, and how it is reached: for programs and the command line."""

from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager

from piker import brokers, paths
from piker.errors import Refused, Unreachable
from piker.interfaces import Interface
from piker.interfaces.data import (
    DATA,
    AmbiguousMarket,
    Bars,
    BarsReply,
    DescribeMarket,
    MarketReply,
    NoSuchMarket,
    Search,
    SearchReply,
    Watch,
    WatchReply,
)
from piker.sharedbars import BarReader
from piker.varlink import Client, open_client


def listening() -> tuple[str, ...]:
    """The providers whose datad listens, or is listened for, by name."""
    directory = paths.socket_path("datad", "any").parent
    return tuple(sorted(path.stem for path in directory.glob("*.sock")))


@asynccontextmanager
async def open_daemon(
    daemon: str, instance: str | None, interface: Interface
) -> AsyncIterator[Client]:
    """A connection to a daemon, which starts it. Raises Unreachable."""
    unit = f"{daemon}@{instance}" if instance else daemon
    path = str(paths.socket_path(daemon, instance))
    async with open_client(path, interface, unit) as client:
        yield client


async def provider_of(name: str) -> str:
    """The provider that knows a market by this name: its last part, or the only one that does.

    Raises Refused(NoSuchMarket | AmbiguousMarket) or Unreachable.
    """
    last = name.lower().rpartition(".")[2]
    if "." in name and last in (*listening(), *brokers.known()):
        return last
    found = [provider for provider in _asked() if await _knows(provider, name)]
    if len(found) == 1:
        return found[0]
    if not found:
        raise Refused(NoSuchMarket(market=name))
    candidates = tuple(f"{name.lower()}.{provider}" for provider in found)
    raise Refused(AmbiguousMarket(market=name, candidates=candidates))


async def by_provider(names: Iterable[str]) -> dict[str, list[str]]:
    """Market names by the provider that knows them. Raises as `provider_of`."""
    grouped: dict[str, list[str]] = {}
    for name in names:
        grouped.setdefault(await provider_of(name), []).append(name)
    return grouped


async def search(provider: str, pattern: str, limit: int) -> SearchReply:
    """Markets of a provider that are like a pattern. Raises Refused or Unreachable."""
    async with open_daemon("datad", provider, DATA) as client:
        return await client.call(Search(pattern=pattern, limit=limit), SearchReply)


async def watch(
    provider: str,
    markets: Sequence[str],
    *,
    every: bool = False,
    max_rate_hz: float | None = None,
) -> AsyncIterator[WatchReply]:
    """What a provider's markets say, from how they stand on. Raises Refused or Unreachable."""
    call = Watch(markets=tuple(markets), every=every or None, max_rate_hz=max_rate_hz)
    async with open_daemon("datad", provider, DATA) as client:
        async for reply, _ in client.replies(call, WatchReply):
            yield reply


async def bars(provider: str, market: str, period_s: int) -> AsyncIterator[BarReader]:
    """A market's bars in shared memory, then the next reader each time that they are renewed.

    The reader before is then closed. Raises Refused, Unreachable or NotBars.
    """
    reader: BarReader | None = None
    call = Bars(market=market, period_s=period_s)
    try:
        async with open_daemon("datad", provider, DATA) as client:
            async for reply, fds in client.replies(call, BarsReply):
                if reader:
                    reader.close()
                reader = BarReader(fds[reply.fd])
                yield reader
    finally:
        if reader:
            reader.close()


def _asked() -> tuple[str, ...]:
    providers = listening()
    if not providers:
        raise Unreachable("no datad listens here")
    return providers


async def _knows(provider: str, name: str) -> bool:
    try:
        async with open_daemon("datad", provider, DATA) as client:
            await client.call(DescribeMarket(name=name), MarketReply)
    except Refused as no:
        if isinstance(no.fault, AmbiguousMarket):
            raise
        return False
    return True
