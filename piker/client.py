"""Which daemon answers for a market, and how it is reached: for programs and the command line."""

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, aclosing, asynccontextmanager

import trio

from piker import brokers, paths
from piker.core.mirror import Change, Mirror, history
from piker.errors import Refused, Unreachable
from piker.interfaces import Interface
from piker.interfaces.data import (
    DATA,
    AmbiguousMarket,
    Bars,
    BarsReply,
    DescribeMarket,
    History,
    HistoryReply,
    MarketReply,
    NoSuchMarket,
    Search,
    SearchReply,
    Watch,
    WatchReply,
)
from piker.interfaces.introspection import InvalidParameter
from piker.interfaces.orders import (
    ORDERS,
    ORDERS_VIEW,
    Orders,
    OrdersReply,
    Timeline,
    TimelineReply,
    TooOld,
)
from piker.markets import Market
from piker.paths import Manager
from piker.sharedbars import BarReader
from piker.varlink import Client, open_client

RETRY_S = 0.5
HISTORY_S = 120.0
"""Longer than datad asks a venue for a market's past before it says what it has."""
"""Pause before a daemon that went away is asked again; its socket may be gone for a moment."""

Lost = Callable[[Unreachable], None]

ADMITTED = {("emsd", "trade"): "piker-trade", ("emsd", "view"): "piker-view"}
"""The groups of people who may connect to the system's daemons, by socket."""


def listening(of: Manager | None = None) -> tuple[str, ...]:
    """The providers whose datad listens, or is listened for, by name."""
    directory = paths.socket_path("datad", "any", of=of).parent
    return tuple(sorted(path.stem for path in directory.glob("*.sock")))


def asked() -> tuple[str, ...]:
    """The same, where there must be one. Raises Unreachable."""
    providers = listening()
    if not providers:
        nowhere = f"no datad listens in {paths.socket_path('datad', 'any').parent}"
        raise Unreachable(nowhere + (_elsewhere() if listening(paths.other_manager()) else ""))
    return providers


@asynccontextmanager
async def open_daemon(
    daemon: str, instance: str | None, interface: Interface
) -> AsyncIterator[Client]:
    """A connection to a daemon, which starts it. Raises Unreachable.

    For a daemon with several doors `instance` is the door's name, as in ("emsd", "view"). One of
    the other manager's is never taken instead: it has other accounts and other orders.
    """
    unit = paths.unit_name(daemon, instance)
    path = str(paths.socket_path(daemon, instance))
    async with AsyncExitStack() as stack:
        try:
            client = await stack.enter_async_context(open_client(path, interface, unit))
        except Unreachable as error:
            advice = _advice(error.__cause__, daemon, instance)
            raise Unreachable(f"{error}{advice}") from error.__cause__
        yield client


def _advice(cause: BaseException | None, daemon: str, instance: str | None) -> str:
    """What a person may do about a socket that can't be connected to, if that is known."""
    if isinstance(cause, PermissionError) and paths.manager() == "system":
        return _how_to_be_admitted(daemon, instance)
    there = paths.socket_path(daemon, instance, of=paths.other_manager()).exists()
    return _elsewhere() if isinstance(cause, OSError) and there else ""


def _how_to_be_admitted(daemon: str, instance: str | None) -> str:
    door = instance or paths.DOORS.get(daemon, ("",))[0]
    group = "piker-view" if daemon == "datad" else ADMITTED.get((daemon, door))
    if group is None:
        return "; only other daemons may connect to it"
    groups = "piker-view,piker-trade" if group == "piker-trade" else group
    return f"; it is for the group {group}: `sudo usermod -aG {groups} $USER`, then log in anew"


def _elsewhere() -> str:
    """That the other manager's daemons are there, and how to ask them."""
    other = paths.other_manager()
    return f"; the {other} manager's is there: `piker --{other} COMMAND`"


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


async def past_bars(call: History) -> HistoryReply:
    """Bars of a market's past, at its venue's pace. Raises Refused or Unreachable."""
    async with open_daemon("datad", provider_of(call.market), DATA) as client:
        return await client.call(call, HistoryReply, HISTORY_S)


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


def trading() -> AbstractAsyncContextManager[Client]:
    """A connection to emsd, for orders and all else. Raises Unreachable."""
    return open_daemon("emsd", "trade", ORDERS)


def viewing() -> AbstractAsyncContextManager[Client]:
    """A connection to emsd that can change nothing. Raises Unreachable."""
    return open_daemon("emsd", "view", ORDERS_VIEW)


async def orders(since_seq: int | None = None) -> AsyncGenerator[OrdersReply, None]:
    """Every order, then every event; or the events after one. Raises Refused or Unreachable."""
    async with (
        viewing() as emsd,
        aclosing(emsd.replies(Orders(since_seq=since_seq), OrdersReply)) as replies,
    ):
        async for reply, _ in replies:
            yield reply


async def follow_orders(mirror: Mirror, lost: Lost) -> AsyncGenerator[list[Change], None]:
    """What changes in a mirror, over emsd's restarts, without a gap or a repeat.

    When too much was missed, or emsd's journal is an older copy, it is compared with a book taken
    anew. `lost` hears each time that emsd went away. Raises Refused; and Unreachable if it never
    was reached.
    """
    reached, away = mirror.since is not None, False
    while True:
        if mirror.since is None:
            mirror.start_over()
        try:
            async with aclosing(orders(mirror.since)) as replies:
                async for reply in replies:
                    reached, away = True, False
                    yield mirror.take(reply)
        except Refused as no:
            if mirror.since is None or not isinstance(no.fault, TooOld | InvalidParameter):
                raise
            mirror.start_over()
        except Unreachable as error:
            if not reached:
                raise
            if not away:
                lost(error)
            away = True
            await trio.sleep(RETRY_S)


async def follow_order(oid: str, lost: Lost) -> AsyncGenerator[Change, None]:
    """Every event of an order from its beginning, until it is closed. Raises as `follow_orders`."""
    seen = 0
    while True:
        try:
            timeline = await _timeline(oid)
        except Unreachable as error:
            if not seen:
                raise
            lost(error)
            await trio.sleep(RETRY_S)
            continue
        async with aclosing(_since(timeline, seen, lost)) as changes:
            async for change in changes:
                seen = change.news.seq if change.news else seen
                yield change
                if change.life.closed:
                    return


async def _timeline(oid: str) -> TimelineReply:
    async with viewing() as emsd:
        return await emsd.call(Timeline(oid=oid), TimelineReply)


async def _since(timeline: TimelineReply, seen: int, lost: Lost) -> AsyncGenerator[Change, None]:
    """An order's changes after an event, until there is one whose event was missed."""
    for change in history(timeline.events):
        if change.news and change.news.seq > seen:
            yield change
    oid = timeline.life.order.oid
    mirror = Mirror.with_one(timeline.life, timeline.events[-1].seq)
    async with aclosing(follow_orders(mirror, lost)) as replies:
        async for changes in replies:
            for change in changes:
                if change.life.order.oid == oid:
                    if change.news is None:
                        return
                    yield change
            if oid not in mirror.lives:  # a book taken anew, so long after it was closed
                return


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
