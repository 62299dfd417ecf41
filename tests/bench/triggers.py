"""A dark order's way: a tick comes in, its intent is committed, the order is on a broker's socket.

The market data and the broker daemon are servers in this process, so that one clock sees both ends;
emsd is a process of its own.
"""

import time
import uuid
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, closing
from decimal import Decimal
from functools import partial
from pathlib import Path
from statistics import median, quantiles
from tempfile import TemporaryDirectory

import trio

from piker import clock
from piker.errors import Refused
from piker.interfaces import Interface
from piker.interfaces.broker import (
    BROKER,
    Done,
    Link,
    Open,
    Opened,
    OpenReply,
    Place,
    Snapshot,
    SnapshotReply,
)
from piker.interfaces.data import (
    DATA,
    Bars,
    DescribeMarket,
    MarketReply,
    NotSupported,
    Watch,
    Watched,
    WatchReply,
)
from piker.interfaces.orders import ORDERS, Submit, SubmitReply
from piker.markets import Market, MarketState
from piker.orders import Order
from piker.quotes import Quote, Tick
from piker.transport import listen
from piker.varlink import Client, Server, Stream, open_client
from tests.bench.journal import ALONE, one_by_one
from tests.bench.result import ROUNDS, Result, compare
from tests.bench.rig import Rig, rig

FQME = "a.bench.bench"
TRIALS = 200
FEW, MANY = 10, 10_000
RESTING, COMMIT = f"{FEW} resting", "sqlite3: a commit"
ARMING = 10
"""Clients that have them armed side by side."""
HERE, FAR = Decimal(100), Decimal(1_000)
SETTINGS = """
[risk]
open_orders = false
orders_per_s = false
order_notional = false
position_notional = false
"""
MARKET = Market(
    fqme=FQME,
    venue_id="A",
    description="a market of the benchmark's",
    asset_class="simulated",
    currency="USD",
    price_tick=Decimal("0.01"),
    size_tick=Decimal(1),
    multiplier=Decimal(1),
    has_trades=True,
    has_volume=True,
    has_bid=True,
    has_ask=True,
)


def run() -> Iterator[Result]:
    """With 10,000 dark orders resting in the market, against 10; and against a commit alone."""
    rounds = [(_measure(MANY), _measure(FEW), _commit()) for _ in range(ROUNDS)]
    yield _compared("p50", [(median(many), median(few)) for many, few, _ in rounds], RESTING)
    yield _compared("p99", [(_p99(many), _p99(few)) for many, few, _ in rounds], RESTING)
    yield _compared("p50", [(median(many), commit) for many, _, commit in rounds], COMMIT)


def _compared(name: str, pairs: list[tuple[float, float]], peer: str) -> Result:
    ours, theirs = (iter(each) for each in zip(*pairs, strict=True))
    case = f"{name}, {MANY:,} resting"
    return compare(
        "dark_trigger",
        case,
        "ms",
        partial(next, ours),
        peer,
        partial(next, theirs),
        more_is_better=False,
    )


def _commit() -> float:
    """Milliseconds that a commit of one row takes, here and now."""
    with TemporaryDirectory(prefix="pb-") as directory:
        return 1e3 / one_by_one(Path(directory, "peer"), ALONE)


def _p99(times: list[float]) -> float:
    return quantiles(times, n=100)[98]


def _measure(resting: int) -> list[float]:
    """Milliseconds from a tick's bytes to the order's, a trial each."""
    with rig() as made:
        made.configure(SETTINGS)
        return trio.run(_try, made, resting)


async def _try(made: Rig, resting: int) -> list[float]:
    feed, venue = Feed(), Venue()
    async with _serve(made, "datad", {DATA: feed}), _serve(made, "paperboi", {BROKER: venue}):
        await trio.to_thread.run_sync(lambda: made.start_daemon("piker.emsd", sockets=2))
        path = made.socket("emsd", "trade")
        async with trio.open_nursery() as nursery:
            for _ in range(ARMING):
                nursery.start_soon(_arm_far, path, resting // ARMING)
        async with open_client(path, ORDERS, "emsd") as client:
            times = [await _trigger(client, feed, venue) for _ in range(TRIALS)]
        made.end_all()
    return times


async def _arm_far(path: str, count: int) -> None:
    async with open_client(path, ORDERS, "emsd") as client:
        for _ in range(count):
            await _arm(client, FAR)


async def _trigger(client: Client, feed: "Feed", venue: "Venue") -> float:
    await feed.show(HERE)
    oid = await _arm(client, HERE + 1)
    began = time.perf_counter_ns()
    await feed.show(HERE + 1)
    return (await venue.placed(oid) - began) / 1e6


async def _arm(client: Client, trigger: Decimal) -> str:
    oid = str(uuid.uuid4())
    order = Order(
        oid=oid,
        account="paper",
        market=FQME,
        side="buy",
        size=Decimal(1),
        kind="dark",
        trigger=trigger,
        when="above",
    )
    await client.call(Submit(order=order), SubmitReply, 30)
    return oid


@asynccontextmanager
async def _serve(
    made: Rig, daemon: str, handlers: Mapping[Interface, object]
) -> AsyncIterator[None]:
    path = made.socket(daemon, "bench")
    Path(path).parent.mkdir(parents=True)
    async with trio.open_nursery() as nursery:
        with closing(listen(path)) as listener:
            nursery.start_soon(Server(daemon, handlers).serve, [listener])
            yield
            nursery.cancel_scope.cancel()


class Feed:
    """A datad of one market, whose ticks are shown by hand."""

    def __init__(self) -> None:
        self._streams: list[Stream] = []

    async def market(self, call: DescribeMarket) -> MarketReply:
        """piker.Data.Market."""
        return MarketReply(market=MARKET)

    async def watch(self, call: Watch, stream: Stream) -> None:
        """piker.Data.Watch."""
        state = MarketState(market=FQME, state="live", since_ns=clock.wall_ns())
        watched = Watched(asked=FQME, market=MARKET, state=state, last=_ticks(HERE))
        await stream.send(WatchReply(markets=(watched,)))
        self._streams.append(stream)
        await trio.sleep_forever()

    async def bars(self, call: Bars, stream: Stream) -> None:
        """piker.Data.Bars."""
        raise Refused(NotSupported(provider="bench", endpoint="bars"))

    async def history(self, call: object) -> None:
        """piker.Data.History."""

    async def backfill(self, call: object, stream: Stream) -> None:
        """piker.Data.Backfill."""

    async def search(self, call: object) -> None:
        """piker.Data.Search."""

    async def show(self, price: Decimal) -> None:
        """Say that the market is there now."""
        quote = Quote(market=FQME, ticks=_ticks(price))
        for stream in self._streams:
            await stream.send(WatchReply(quotes=(quote,)))


def _ticks(price: Decimal) -> tuple[Tick, ...]:
    wall_ns, boot_ns = clock.wall_ns(), clock.boot_ns()
    return (
        Tick(kind="bid", price=float(price) - 0.01, size=1, time_ns=wall_ns, seen_ns=boot_ns),
        Tick(kind="ask", price=float(price), size=1, time_ns=wall_ns, seen_ns=boot_ns),
    )


class Venue:
    """A broker daemon that takes note of when an order came."""

    def __init__(self) -> None:
        self._at: dict[str, int] = {}
        self._came = trio.Event()

    async def placed(self, oid: str) -> int:
        """When the order came, once it has."""
        while oid not in self._at:
            await self._came.wait()
        return self._at[oid]

    async def open(self, call: Open, stream: Stream) -> None:
        """piker.Broker.Open."""
        opened = Opened(session="s", live=False, accounts=("paper.bench",), absence_proves=True)
        await stream.send(OpenReply(opened=opened, link=Link(up=True)))
        await trio.sleep_forever()

    async def place(self, call: Place) -> Done:
        """piker.Broker.Place."""
        self._at[call.oid] = time.perf_counter_ns()
        self._came.set()
        self._came = trio.Event()
        return Done()

    async def snapshot(self, call: Snapshot) -> SnapshotReply:
        """piker.Broker.Snapshot."""
        return SnapshotReply(
            asked_ns=clock.wall_ns(), orders=(), ended=(), executions=(), holdings=()
        )

    async def amend(self, call: object) -> Done:
        """piker.Broker.Amend."""
        return Done()

    cancel = cancel_all = amend
