"""piker.client: which daemon answers for a market, and what is made of several answers."""

from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import ExitStack, aclosing, asynccontextmanager, closing
from decimal import Decimal

import pytest
import trio

from piker import client, paths
from piker.core.bars import LAYOUT
from piker.core.names import resolve
from piker.errors import Fault, Refused, Unreachable
from piker.interfaces.data import (
    DATA,
    AmbiguousMarket,
    Backfill,
    Bars,
    BarsReply,
    DescribeMarket,
    History,
    HistoryReply,
    MarketReply,
    Match,
    NoSuchMarket,
    Search,
    SearchReply,
    Watch,
    WatchReply,
)
from piker.interfaces.service import BrokenConfiguration
from piker.markets import Market
from piker.sharedbars import SharedBars
from piker.transport import listen
from piker.varlink import Server, Stream

BROKEN = BrokenConfiguration(file="piker.toml", key="providers.two", problem="expected sense")


class Knowing:
    """Answers as a datad does that knows these markets; or with a fault, whatever it is asked."""

    def __init__(self, fqmes: Iterable[str], fault: Fault | None = None) -> None:
        self.asked: list[str] = []
        self.watched: list[Watch] = []
        self._fqmes = dict.fromkeys(fqmes)
        self._fault = fault

    async def market(self, call: DescribeMarket) -> MarketReply:
        self.asked.append(call.name)
        if self._fault:
            raise Refused(self._fault)
        provider = next(iter(self._fqmes)).rpartition(".")[2]
        return MarketReply(market=market(resolve(call.name, self._fqmes, provider)))

    async def history(self, call: History) -> HistoryReply:
        raise AssertionError(f"expected nobody to ask for it, was {call}")

    async def backfill(self, call: Backfill, stream: Stream) -> None:
        raise AssertionError(f"expected nobody to ask for it, was {call}")

    async def search(self, call: Search) -> SearchReply:
        matches = [Match(fqme=fqme, description=call.pattern) for fqme in self._fqmes]
        return SearchReply(matches=tuple(matches[: call.limit]))

    async def watch(self, call: Watch, stream: Stream) -> None:
        self.watched.append(call)
        for _ in range(2):
            await stream.send(WatchReply())
        await trio.sleep_forever()

    async def bars(self, call: Bars, stream: Stream) -> None:
        for generation in (1, 2):
            with closing(SharedBars(call.market, call.period_s, unkept, capacity=16)) as bars:
                reply = BarsReply(
                    fd=0,
                    market=call.market,
                    period_s=call.period_s,
                    generation=generation,
                    layout=LAYOUT,
                    capacity=bars.capacity,
                    reason="opened",
                )
                await stream.send(reply, fds=[bars.fd])
        await trio.sleep_forever()


def unkept(fd: int, generation: int) -> None:
    """There is no manager to keep it."""


def market(fqme: str) -> Market:
    """A market of this name."""
    return Market(
        fqme=fqme,
        venue_id=fqme,
        description=fqme,
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


@asynccontextmanager
async def listening(datads: Mapping[str, Knowing]) -> AsyncIterator[None]:
    """These daemons, by the names of their providers, where a client looks for them."""
    with ExitStack() as stack:
        async with trio.open_nursery() as nursery:
            for provider, datad in datads.items():
                listener = stack.enter_context(
                    closing(listen(str(paths.socket_path("datad", provider))))
                )
                nursery.start_soon(Server("datad", {DATA: datad}).serve, [listener])
            with trio.fail_after(30):
                yield
            nursery.cancel_scope.cancel()


def two() -> dict[str, Knowing]:
    """Two providers with a market in common."""
    return {
        "one": Knowing(["eurusd.spot.one", "mnq.cme.one"]),
        "two": Knowing(["eurusd.spot.two", "mes.cme.two"]),
    }


async def test_a_name_that_ends_in_a_provider_is_asked_of_that_one_alone() -> None:
    datads = two()
    async with listening(datads):
        assert (await client.describe("EURUSD.two")).fqme == "eurusd.spot.two"
    assert (datads["one"].asked, datads["two"].asked) == ([], ["EURUSD.two"])


async def test_a_short_name_is_the_market_of_the_only_provider_that_knows_it() -> None:
    async with listening(two()):
        assert (await client.describe("mes")).fqme == "mes.cme.two"


async def test_a_short_name_that_two_providers_know_is_refused_with_both() -> None:
    async with listening(two()):
        with pytest.raises(Refused) as refused:
            await client.describe("EURUSD")
    both = ("eurusd.spot.one", "eurusd.spot.two")
    assert refused.value.fault == AmbiguousMarket(market="EURUSD", candidates=both)


async def test_a_short_name_that_one_provider_knows_twice_is_refused() -> None:
    async with listening({"one": Knowing(["mnq.cme.z6.one", "mnq.cme.h7.one"])}):
        with pytest.raises(Refused) as refused:
            await client.describe("mnq")
    assert isinstance(refused.value.fault, AmbiguousMarket)


async def test_a_name_that_nobody_knows_is_refused_with_what_is_like_it_at_any_provider() -> None:
    async with listening(two()):
        with pytest.raises(Refused) as refused:
            await client.describe("eurusdx")
    alike = ("eurusd.spot.one", "eurusd.spot.two")
    assert refused.value.fault == NoSuchMarket(market="eurusdx", similar=alike)


async def test_a_provider_that_can_not_do_its_work_hides_nothing_of_another() -> None:
    datads = {**two(), "two": Knowing([], BROKEN)}
    async with listening(datads):
        assert (await client.describe("mnq")).fqme == "mnq.cme.one"


async def test_what_nobody_knows_is_answered_by_who_can_not_do_its_work() -> None:
    datads = {**two(), "two": Knowing([], BROKEN)}
    async with listening(datads):
        with pytest.raises(Refused) as refused:
            await client.describe("mes")
    assert refused.value.fault == BROKEN


async def test_a_socket_on_which_nobody_listens_hides_nothing_of_another() -> None:
    async with listening(two()):
        paths.socket_path("datad", "ghost").touch()
        assert (await client.describe("mnq")).fqme == "mnq.cme.one"
        with pytest.raises(Unreachable, match="datad@ghost does not listen at "):
            await client.describe("unknown")


async def test_where_nobody_listens_no_short_name_is_known() -> None:
    with pytest.raises(Unreachable, match=r"no datad listens in /tmp/.*/run/piker/datad"):
        await client.describe("eurusd")


async def test_names_are_grouped_by_provider_each_market_once() -> None:
    names = ["mnq", "eurusd.one", "MES", "mnq.cme.one", "eurusd.spot.two"]
    async with listening(two()):
        assert await client.by_provider(names) == {
            "one": ["mnq.cme.one", "eurusd.spot.one"],
            "two": ["mes.cme.two", "eurusd.spot.two"],
        }


async def test_a_search_is_one_provider_s() -> None:
    async with listening(two()):
        reply = await client.search("one", "anything", 1)
    assert reply.matches == (Match(fqme="eurusd.spot.one", description="anything"),)


async def test_a_watch_asks_for_what_it_was_told_to_and_hangs_up_when_it_is_left() -> None:
    datads = two()
    async with (
        listening(datads),
        aclosing(client.watch("one", ["mnq"], every=True, max_rate_hz=5)) as replies,
    ):
        assert [await anext(replies) for _ in range(2)] == [WatchReply()] * 2
    assert datads["one"].watched == [Watch(markets=("mnq",), every=True, max_rate_hz=5)]


async def test_bars_that_are_renewed_close_the_reader_before() -> None:
    async with listening(two()), aclosing(client.bars("mnq.cme.one", 1)) as readers:
        first = await anext(readers)
        assert not first.closed
        second = await anext(readers)
        assert (first.closed, second.closed) == (True, False)
    assert second.closed
