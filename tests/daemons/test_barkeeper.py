"""The bars of one datad: who reads them, what the manager keeps, what a restart finds."""

import os
import resource
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from decimal import Decimal
from pathlib import Path

import pytest
import trio
import trio.testing
from msgspec import structs

from piker.barkeeper import LINGER_NS, BarKeeper, Series
from piker.core.bars import GENERATION_AT, NS, PERIODS_S
from piker.core.marketdata import MarketData
from piker.markets import Market
from piker.notify import Manager
from piker.quotes import Bar, Kind, Quote, Tick
from piker.sharedbars import CAPACITY, BarReader, SharedBars

NOW = 1_700_000_000
MARKET = Market(
    fqme="a-1.b.sim",
    venue_id="a",
    description="",
    asset_class="simulated",
    currency="USD",
    price_tick=Decimal("0.25"),
    size_tick=Decimal(1),
    multiplier=Decimal(1),
    has_trades=True,
    has_volume=True,
    has_bid=True,
    has_ask=True,
)
NAME = "a-1.b.sim"


def open_fds() -> int:
    return len(os.listdir("/proc/self/fd"))


class Clock:
    """Both clocks, standing still until they are told to go on."""

    def __init__(self) -> None:
        self.wall_ns, self.boot_ns = NOW * NS, 1000 * NS

    def wait(self, seconds: float) -> None:
        self.wall_ns += int(seconds * NS)
        self.boot_ns += int(seconds * NS)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr("piker.clock.wall_ns", lambda: made.wall_ns)
    monkeypatch.setattr("piker.clock.boot_ns", lambda: made.boot_ns)
    return made


class Store:
    """A manager's end of the notification socket, which keeps what it is told to."""

    def __init__(self, path: Path) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(path))
        self._socket.setblocking(False)
        self._kept: dict[str, int] = {}
        self._managers: list[Manager] = []

    def keep(self, name: str, fd: int) -> None:
        """Have it kept, as by a process before."""
        self._kept[name] = fd

    def told(self) -> list[str]:
        """What it was told since it was last asked: `+name` to keep, `-name` to forget."""
        return list(self._messages())

    def _messages(self) -> Iterator[str]:
        while message := self._next():
            text, fds = message
            verb, _, name = text.partition("\nFDNAME=")
            self._let_go(name)
            self._kept.update((name, fd) for fd in fds)
            yield {"FDSTORE=1": "+", "FDSTOREREMOVE=1": "-"}[verb] + name

    def _next(self) -> tuple[str, list[int]] | None:
        try:
            data, fds, _, _ = socket.recv_fds(self._socket, 1024, 4)
        except BlockingIOError:
            return None
        return data.decode(), list(fds)

    def _let_go(self, name: str) -> None:
        if name in self._kept:
            os.close(self._kept.pop(name))

    def restarted(self) -> Manager:
        """What the next process is given: all that is kept, by name."""
        self.told()
        manager = Manager()
        self._managers.append(manager)
        manager.stored = {name: [os.dup(fd)] for name, fd in self._kept.items()}
        return manager

    @property
    def kept(self) -> set[str]:
        self.told()
        return set(self._kept)

    def close(self) -> None:
        for name in list(self._kept):
            self._let_go(name)
        for manager in self._managers:
            assert manager._notifier
            manager._notifier.socket.close()
        self._socket.close()


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    made = Store(tmp_path / "notify")
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
    yield made
    made.close()


Keep = Callable[[], BarKeeper]


@pytest.fixture
def keep(clock: Clock, store: Store) -> Iterator[Keep]:
    """Each call starts another datad's keeper, as after a crash, with what the manager kept."""
    made: list[BarKeeper] = []

    def start() -> BarKeeper:
        made.append(BarKeeper(store.restarted()))
        return made[-1]

    yield start
    clock.wait(3 * LINGER_NS / NS)
    for keeper in made:
        keeper.drop_unread()
        assert len(keeper) == 0


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Bars of a second are full with four rows."""
    monkeypatch.setitem(CAPACITY, 1, 4)


def quote(*ticks: Tick, market: str = NAME) -> Quote:
    return Quote(market=market, ticks=ticks)


def tick(kind: Kind, price: float, at_s: float, size: float | None = 1.0) -> Tick:
    """A tick so many seconds after NOW."""
    time_ns = NOW * NS + round(at_s * NS)
    return Tick(kind=kind, price=price, size=size, time_ns=time_ns, seen_ns=1)


def trade(keeper: BarKeeper, *at_s: float) -> None:
    data = MarketData(MARKET, 0)
    for each in at_s:
        keeper.take(data, quote(tick("trade", 5, each)))


def rows(series: Series) -> list[Bar]:
    """What a reader is given."""
    with closing(BarReader(os.dup(series.bars.fd))) as reading:
        return reading.bars(10**6)


def seconds(series: Series) -> list[int]:
    return [bar.time_ns // NS - NOW for bar in rows(series)]


def covered(series: Series) -> list[tuple[int, int]]:
    with closing(BarReader(os.dup(series.bars.fd))) as reading:
        return [(a // NS - NOW, b // NS - NOW) for a, b in reading.coverage()]


# --- series come and go


def test_a_series_is_made_when_it_is_first_read(keep: Keep, store: Store) -> None:
    keeper = keep()
    trade(keeper, 0)
    assert (len(keeper), store.kept) == (0, set())
    with keeper.reading(NAME, 1) as series:
        trade(keeper, 1)
        assert (len(keeper), store.kept) == (1, {f"bars-1-{NAME}-1"})
        assert seconds(series) == [1]


def test_readers_share_a_series_and_each_period_is_another(keep: Keep) -> None:
    keeper = keep()
    with keeper.reading(NAME, 1) as one, keeper.reading(NAME, 1) as two:
        with keeper.reading(NAME, 60) as minute:
            assert one is two is not minute
            assert (len(keeper), keeper.readers) == (2, 3)
        assert (len(keeper), keeper.readers) == (2, 2)


def test_a_series_that_nobody_reads_is_kept_a_while_and_then_dropped(
    keep: Keep, store: Store, clock: Clock
) -> None:
    keeper = keep()
    with keeper.reading(NAME, 1):
        clock.wait(1000)
    clock.wait(LINGER_NS / NS)
    keeper.drop_unread()
    assert len(keeper) == 1
    clock.wait(1)
    store.told()
    keeper.drop_unread()
    assert (len(keeper), store.told()) == (0, [f"-bars-1-{NAME}-1"])


def test_a_series_that_is_read_is_never_dropped(keep: Keep, clock: Clock) -> None:
    keeper = keep()
    with keeper.reading(NAME, 1), keeper.reading("other", 1):
        clock.wait(10**6)
        keeper.drop_unread()
        assert len(keeper) == 2


def test_a_reader_that_comes_back_finds_what_was_made_meanwhile(keep: Keep, clock: Clock) -> None:
    keeper = keep()
    with keeper.reading(NAME, 1):
        trade(keeper, 0)
    trade(keeper, 1)
    clock.wait(59)
    keeper.drop_unread()
    with keeper.reading(NAME, 1) as series:
        assert seconds(series) == [0, 1]


def test_what_is_dropped_leaves_no_descriptor(keep: Keep, clock: Clock) -> None:
    keeper = keep()
    before = open_fds()
    with keeper.reading(NAME, 1), keeper.reading(NAME, 60):
        trade(keeper, 0)
    clock.wait(61)
    keeper.drop_unread()
    assert open_fds() == before


# --- what goes into them


def test_trades_of_the_book_make_bars(keep: Keep) -> None:
    keeper, data = keep(), MarketData(MARKET, 0)
    with keeper.reading(NAME, 1) as series:
        keeper.take(data, quote(tick("bid", 1, 0), tick("trade", 5, 0, 2), tick("ask", 9, 0)))
        keeper.take(data, quote(tick("trade", 6, 0.5, None), tick("dark_trade", 99, 0.5)))
        keeper.take(data, quote(market="other"))
        assert rows(series) == [
            Bar(time_ns=NOW * NS, open=5, high=6, low=5, close=6, volume=2, trades=2)
        ]


def test_mids_make_bars_of_a_market_without_trades(keep: Keep, clock: Clock) -> None:
    data = MarketData(structs.replace(MARKET, has_trades=False), 0)
    keeper = keep()
    with keeper.reading(NAME, 1) as series:
        for said in ((tick("bid", 5, 0),), (tick("ask", 7, 0.1),), (), (tick("bid", 6, 0.2),)):
            keeper.take(data, data.take(quote(*said), clock.wall_ns, clock.boot_ns))
        assert rows(series) == [
            Bar(
                time_ns=NOW * NS,
                open=6,
                high=6.5,
                low=6,
                close=6.5,
                volume=0,
                trades=0,
                derived=True,
            )
        ]


def test_what_is_shown_late_makes_no_bar(keep: Keep, clock: Clock) -> None:
    keeper, data = keep(), MarketData(MARKET, 0)
    late = quote(structs.replace(tick("trade", 5, 0), delayed=True))
    with keeper.reading(NAME, 1) as series:
        keeper.take(data, data.take(late, clock.wall_ns, clock.boot_ns))
        assert rows(series) == []


def test_both_periods_take_every_tick(keep: Keep) -> None:
    keeper = keep()
    with keeper.reading(NAME, 1) as second, keeper.reading(NAME, 60) as minute:
        trade(keeper, 0, 1, 1.5, 40)
        assert [bar.trades for bar in rows(second)] == [1, 2, 1]
        assert [bar.trades for bar in rows(minute)] == [3, 1]


def test_the_end_of_a_period_makes_bars_final_and_later_ticks_late(keep: Keep) -> None:
    keeper = keep()
    with keeper.reading(NAME, 1) as series:
        trade(keeper, 0)
        keeper.end_of((NOW + 3) * NS)
        trade(keeper, 0.5)
        assert ([bar.trades for bar in rows(series)], keeper.late) == ([1], 1)


def test_one_market_may_close_its_bars_by_a_time_of_its_own(keep: Keep) -> None:
    keeper = keep()
    with keeper.reading(NAME, 1) as series, keeper.reading("other", 1) as other:
        trade(keeper, 0)
        keeper.close(NAME, (NOW + 3) * NS)
        trade(keeper, 0.5)
        assert ([bar.trades for bar in rows(series)], keeper.late) == ([1], 1)
        assert other.bars.writer.closed_to_ns == NOW * NS


def test_a_tick_from_long_before_its_bars_were_made_is_late(keep: Keep) -> None:
    keeper = keep()
    with keeper.reading(NAME, 1) as series:
        trade(keeper, -10)
        assert (rows(series), keeper.late) == ([], 1)


def test_bars_cover_nothing_from_before_they_were_made(keep: Keep, clock: Clock) -> None:
    keeper = keep()
    with keeper.reading(NAME, 60) as minute:
        clock.wait(100)
        with keeper.reading(NAME, 1) as second:
            keeper.cover(NAME, (NOW - 3600) * NS, (NOW + 50) * NS)
            keeper.cover(NAME, (NOW - 3600) * NS, (NOW + 150) * NS)
            keeper.cover("other", 0, NOW * NS)
            assert (covered(minute), covered(second)) == ([(0, 150)], [(100, 150)])


# --- full ones


async def test_readers_are_told_when_there_is_another_memfd(
    keep: Keep, small: None, autojump_clock: trio.testing.MockClock
) -> None:
    keeper, told = keep(), list[int]()

    async def follow(series: Series) -> None:
        await series.renewed(1)
        told.append(series.bars.generation)

    with keeper.reading(NAME, 1) as series:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(follow, series)
            await trio.testing.wait_all_tasks_blocked()
            trade(keeper, 0, 1, 2, 3)
            await trio.testing.wait_all_tasks_blocked()
            assert told == []
            trade(keeper, 4)
        assert told == [2]
        await series.renewed(1)


def test_the_new_one_is_kept_before_the_old_one_is_forgotten(
    keep: Keep, small: None, store: Store
) -> None:
    keeper = keep()
    with keeper.reading(NAME, 1):
        store.told()
        trade(keeper, 0, 1, 2, 3, 4)
        assert store.told() == [f"+bars-1-{NAME}-2", f"-bars-1-{NAME}-1"]


# --- over a restart


def test_bars_go_on_over_a_restart(keep: Keep, store: Store, clock: Clock) -> None:
    keeper = keep()
    with keeper.reading(NAME, 1) as before:
        trade(keeper, 0, 1, 2)
        keeper.end_of((NOW + 3) * NS)
        keeper.cover(NAME, NOW * NS, (NOW + 2) * NS)
        clock.wait(1.5)
        keeper = keep()
        store.told()
        with keeper.reading(NAME, 1) as after:
            trade(keeper, 0.5, 3)
            keeper.cover(NAME, NOW * NS, (NOW + 3) * NS)
            assert (before.bars.generation, after.bars.generation) == (1, 2)
            assert after.bars.table.ints[GENERATION_AT] == 2
            assert (seconds(after), keeper.late) == ([0, 1, 2, 3], 1)
            assert covered(after) == [(0, 3)]
            assert store.told()[:2] == [f"+bars-1-{NAME}-2", f"-bars-1-{NAME}-1"]
            assert store.kept == {f"bars-1-{NAME}-2"}


def test_the_hole_of_a_restart_stays_a_hole(keep: Keep, clock: Clock) -> None:
    keeper = keep()
    with keeper.reading(NAME, 1):
        keeper.cover(NAME, NOW * NS, (NOW + 2) * NS)
    clock.wait(10)
    keeper = keep()
    with keeper.reading(NAME, 1) as series:
        keeper.cover(NAME, NOW * NS, (NOW + 15) * NS)
        assert covered(series) == [(0, 2), (10, 15)]


def test_generations_go_on_counting_over_restarts(keep: Keep, store: Store) -> None:
    for generation in (1, 2, 3):
        with keep().reading(NAME, 1) as series:
            assert series.bars.generation == generation
        assert store.kept == {f"bars-1-{NAME}-{generation}"}


def memfd(generation: int) -> int:
    """Bars of that generation, as a datad that is gone left them."""
    with closing(SharedBars(NAME, 1, lambda fd, generation: None, capacity=4)) as bars:
        bars.table.ints[GENERATION_AT] = generation
        bars.take((NOW + generation) * NS, 1.0, 1.0, derived=False)
        return os.dup(bars.fd)


ORDERS = [[1, 2, 3], [3, 2, 1], [2, 3, 1]]


@pytest.mark.parametrize("order", ORDERS)
def test_of_several_generations_the_newest_is_taken(
    keep: Keep, store: Store, order: list[int]
) -> None:
    for generation in order:
        store.keep(f"bars-1-{NAME}-{generation}", memfd(generation))
    keeper = keep()
    assert sorted(store.told()) == [f"-bars-1-{NAME}-1", f"-bars-1-{NAME}-2"]
    with keeper.reading(NAME, 1) as series:
        assert (series.bars.generation, seconds(series)) == (4, [3])
    assert store.kept == {f"bars-1-{NAME}-4"}


FOREIGN = ("foreign", "bars-1-a", "bars-7-a-1", "bars-1-a-", "bars-x-a-1", "bars--a-1", "bars-1--1")


@pytest.mark.parametrize("name", FOREIGN)
def test_what_is_not_ours_is_let_go_at_once(keep: Keep, store: Store, name: str) -> None:
    store.keep(name, memfd(1))
    keeper = keep()
    assert store.told() == [f"-{name}"]
    with keeper.reading("a", 1) as series:
        assert (series.bars.generation, rows(series)) == (1, [])


def test_a_name_that_is_kept_twice_leaves_nothing_open(clock: Clock) -> None:
    manager, before = Manager(), open_fds()
    manager.stored = {f"bars-1-{NAME}-1": [memfd(1), memfd(1)], "foreign": [memfd(1), memfd(1)]}
    keeper = BarKeeper(manager)
    with keeper.reading(NAME, 1) as series:
        assert seconds(series) == [1]
    clock.wait(61)
    keeper.drop_unread()
    assert open_fds() == before


def test_what_nobody_asks_for_after_a_restart_is_let_go_after_a_while(
    keep: Keep, store: Store, clock: Clock
) -> None:
    store.keep(f"bars-1-{NAME}-1", memfd(1))
    keeper = keep()
    clock.wait(LINGER_NS / NS)
    keeper.drop_unread()
    assert store.told() == []
    clock.wait(1)
    keeper.drop_unread()
    keeper.drop_unread()
    assert store.told() == [f"-bars-1-{NAME}-1"]


def test_what_can_not_be_read_is_replaced_and_the_new_one_is_kept(keep: Keep, store: Store) -> None:
    store.keep(f"bars-1-{NAME}-1", os.memfd_create("not bars"))
    keeper = keep()
    with keeper.reading(NAME, 1) as series:
        trade(keeper, 0)
        assert seconds(series) == [0]
    assert store.kept == {f"bars-1-{NAME}-1"}
    with keep().reading(NAME, 1) as series:
        assert seconds(series) == [0]


# --- many of them


@pytest.fixture
def room() -> Iterator[None]:
    """Room for as many descriptors as the unit gives."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(16384, hard), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def pss_kib() -> int:
    lines = Path("/proc/self/smaps_rollup").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("Pss:"))


def test_a_thousand_markets_fit(room: None, clock: Clock) -> None:
    keeper, data = BarKeeper(Manager()), MarketData(MARKET, 0)
    markets = [f"m{number}.sim.sim" for number in range(1000)]
    fds, kib = open_fds(), pss_kib()
    with ExitStack() as stack:
        for market in markets:
            for period_s in PERIODS_S:
                stack.enter_context(keeper.reading(market, period_s))
            keeper.take(data, quote(tick("trade", 5, 0), market=market))
        assert len(keeper) == 2000
        assert open_fds() - fds == 2 * 2000
        assert pss_kib() - kib < 16 * 2000
    clock.wait(61)
    keeper.drop_unread()
    assert open_fds() == fds


def test_a_stamp_far_ahead_of_the_clock_makes_no_bar(clock: Clock) -> None:
    keeper = BarKeeper(Manager())
    data = MarketData(MARKET, clock.wall_ns)
    data.subscribed(MARKET, clock.boot_ns)
    stamps = (clock.wall_ns + 3600 * NS, clock.wall_ns)
    ticks = tuple(
        Tick(kind="trade", price=1.0, size=1.0, time_ns=stamp, seen_ns=0) for stamp in stamps
    )
    with keeper.reading(NAME, 1) as series:
        keeper.take(data, data.take(Quote(market=NAME, ticks=ticks), clock.wall_ns, clock.boot_ns))
        assert keeper.early == 1
        assert series.bars.table.bar(0).time_ns == clock.wall_ns
    keeper.close_all()
