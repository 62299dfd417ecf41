"""Which daemon answers for a market, and how it is reached: for programs and the command line."""

from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Sequence
from contextlib import aclosing, asynccontextmanager

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
from piker.markets import Market
from piker.sharedbars import BarReader
from piker.varlink import Client, open_client


def listening() -> tuple[str, ...]:
    """The providers whose datad listens, or is listened for, by name."""
    directory = paths.socket_path("datad", "any").parent
    return tuple(sorted(path.stem for path in directory.glob("*.sock")))


def asked() -> tuple[str, ...]:
    """The same, where there must be one. Raises Unreachable."""
    providers = listening()
    if not providers:
        raise Unreachable(f"no datad listens in {paths.socket_path('datad', 'any').parent}")
    return providers


@asynccontextmanager
async def open_daemon(
    daemon: str, instance: str | None, interface: Interface
) -> AsyncIterator[Client]:
    """A connection to a daemon, which starts it. Raises Unreachable."""
    unit = f"{daemon}@{instance}" if instance else daemon
    path = str(paths.socket_path(daemon, instance))
    async with open_client(path, interface, unit) as client:
        yield client


async def describe(name: str) -> Market:
    """The market that a name means: to the provider that it ends in, else to any that listens.

    Raises Refused (NoSuchMarket, AmbiguousMarket and others) or Unreachable.
    """
    last = provider_of(name.lower())
    if "." in name and last in (*listening(), *brokers.known()):
        return await _describe(last, name)
    return await _among_all(name)


async def by_provider(names: Iterable[str]) -> dict[str, list[str]]:
    """The fqmes that these names mean, each once, by provider. Raises as `describe`."""
    grouped: dict[str, list[str]] = {}
    for fqme in dict.fromkeys([(await describe(name)).fqme for name in names]):
        grouped.setdefault(provider_of(fqme), []).append(fqme)
    return grouped


def provider_of(fqme: str) -> str:
    """The provider of a market: the last part of its whole name."""
    return fqme.rpartition(".")[2]


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
) -> AsyncGenerator[WatchReply, None]:
    """What a provider's markets say, from how they stand on. Raises Refused or Unreachable."""
    call = Watch(markets=tuple(markets), every=every or None, max_rate_hz=max_rate_hz)
    async with (
        open_daemon("datad", provider, DATA) as client,
        aclosing(client.replies(call, WatchReply)) as replies,
    ):
        async for reply, _ in replies:
            yield reply


async def bars(fqme: str, period_s: int) -> AsyncGenerator[BarReader, None]:
    """A market's bars in shared memory, then the next reader each time that they are renewed.

    The reader before is then closed. Raises Refused, Unreachable or NotBars.
    """
    reader: BarReader | None = None
    call = Bars(market=fqme, period_s=period_s)
    try:
        async with (
            open_daemon("datad", provider_of(fqme), DATA) as client,
            aclosing(client.replies(call, BarsReply)) as replies,
        ):
            async for reply, fds in replies:
                if reader:
                    reader.close()
                reader = BarReader(fds[reply.fd])
                yield reader
    finally:
        if reader:
            reader.close()


async def _describe(provider: str, name: str) -> Market:
    async with open_daemon("datad", provider, DATA) as client:
        return (await client.call(DescribeMarket(name=name), MarketReply)).market


async def _among_all(name: str) -> Market:
    """A provider that fails hides nothing that another one knows; else it is what there is to say.

    Raises as `describe`.
    """
    known: dict[str, Market] = {}
    similar: list[str] = []
    failed: list[Refused | Unreachable] = []
    for provider in asked():
        try:
            market = await _describe(provider, name)
            known[market.fqme] = market
        except Unreachable as error:
            failed.append(error)
        except Refused as no:
            if isinstance(no.fault, AmbiguousMarket):
                raise
            if isinstance(no.fault, NoSuchMarket):
                similar += no.fault.similar
            else:
                failed.append(no)
    if len(known) == 1:
        return known.popitem()[1]
    if known:
        raise Refused(AmbiguousMarket(market=name, candidates=tuple(known)))
    if failed:
        raise failed[0]
    raise Refused(NoSuchMarket(market=name, similar=tuple(similar)))
