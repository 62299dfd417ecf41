"""What one datad records another one plays: the same ticks, bars, and orders that fire on them."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from decimal import Decimal
from pathlib import Path

import pytest
import trio
from msgspec import structs

from piker import brokers, paths
from piker.brokerage import Brokerage, Control
from piker.brokers.conformance import check_provider
from piker.brokers.sim.wire import describe
from piker.config import Configuration
from piker.core.bars import NS
from piker.core.tickcolumns import KINDS, TickColumns
from piker.datad import Datad, open_datad
from piker.interfaces.broker import BROKER
from piker.interfaces.data import DATA
from piker.notify import Manager
from piker.orders import Triggered
from piker.paperboi import Paperboi
from piker.paperdialog import open_dialog
from piker.quotes import Bar, Kind, Quote, Tick
from piker.service import Service
from piker.store import tickfiles
from piker.store.tickfiles import About, Recorded, TickFiles
from piker.varlink import Server
from tests.fakes.switchboard import a_switchboard
from tests.fakes.tradinghouse import WALL_NS, House, _serve, configure, dark
from tests.fakes.venue import Desk, Venue

RECORDED, PLAYED = "s0000.xsim.sim", "s0000.xsim.replay"
ENOUGH = 300


def where() -> Path:
    """Where datad@sim records the market."""
    return tickfiles.ticks_of(paths.history() / "sim", RECORDED)


@asynccontextmanager
async def running(provider: str) -> AsyncIterator[Desk]:
    """The datad of a provider."""
    service = Service("datad", provider, Manager())
    with trio.fail_after(60):
        async with open_datad(service) as datad, trio.open_nursery() as nursery:
            nursery.start_soon(datad.run)
            async with a_switchboard(Server(service.unit, datad.handlers)) as board:
                yield Desk(datad, service, Venue(), board)
            nursery.cancel_scope.cancel()


async def heard(desk: Desk, market: str, most: int) -> list[Quote]:
    """So many quotes of a market, none left out."""
    quotes: list[Quote] = []
    async with desk.watching(market, every=True) as replies:
        async for reply in replies:
            quotes += reply.quotes
            if len(quotes) >= most:
                break
    return quotes[:most]


async def bars(desk: Desk, market: str, newest: float) -> list[Bar]:
    """The market's bars of a second, once there is one of this close."""
    async with desk.reading(market, 1) as replies:
        _, reader = await anext(replies)
        while not (found := reader.bars(1000)) or found[-1].time_ns < newest:
            await trio.lowlevel.checkpoint()
    return found


def messages(found: Recorded) -> list[list[tuple[Kind, float, float | None, int]]]:
    """Tick by tick what of it is the venue's; times from the first one on."""
    ticks, rows = found.ticks, range(len(found.ticks))
    told: dict[int, list[tuple[Kind, float, float | None, int]]] = {}
    for row, tick in zip(rows, ticks.ticks(rows, -ticks.times[0], 0), strict=True):
        said = (tick.kind, tick.price, tick.size, tick.time_ns)
        told.setdefault(ticks.messages[row], []).append(said)
    return list(told.values())


def spaced(quotes: list[Quote]) -> list[list[tuple[Kind, float, float | None, int]]]:
    """The same of quotes."""
    first_ns = quotes[0].ticks[0].time_ns
    return [
        [(tick.kind, tick.price, tick.size, tick.time_ns - first_ns) for tick in quote.ticks]
        for quote in quotes
    ]


@pytest.fixture
async def recording() -> tuple[Recorded, list[Bar]]:
    """What datad@sim has recorded, and its bars."""
    markets = f"keep = ['{RECORDED}']\nrecord = ['{RECORDED}']"
    configure(f"[datad]\n{markets}\n[providers.sim]\nrate_hz = 200")
    async with running("sim") as desk:
        while [each.state for each in desk.datad.report().components] != ["live"]:
            await trio.lowlevel.checkpoint()
        quotes = await heard(desk, RECORDED, ENOUGH)
        made = await bars(desk, RECORDED, 0)
    found = tickfiles.read(where())
    since = list(found.ticks.times).index(quotes[0].ticks[0].time_ns)
    kept = [[each[:3] for each in ticks] for ticks in messages(found)]
    first = found.ticks.messages[since]
    assert kept[first : first + ENOUGH] == [[e[:3] for e in each] for each in spaced(quotes)]
    speed = "speed = 0\nloop = false"
    configure(f"[providers.replay]\nrecordings = ['{where().parent}']\n{speed}")
    return found, made


async def test_the_ticks_that_are_played_are_those_that_were_recorded(
    recording: tuple[Recorded, list[Bar]],
) -> None:
    expected = messages(recording[0])
    async with running("replay") as desk:
        played = await heard(desk, PLAYED, len(expected))
    assert spaced(played) == expected


async def test_bars_made_of_a_recording_are_those_that_were_made_live(
    recording: tuple[Recorded, list[Bar]], monkeypatch: pytest.MonkeyPatch
) -> None:
    made = recording[1][:-1]
    begins_ns = recording[0].ticks.times[0] + 3600 * NS  # so that seconds begin where they began
    monkeypatch.setattr("piker.brokers.replay.feed.wall_ns", lambda: begins_ns)
    async with running("replay") as desk:
        again = await bars(desk, PLAYED, made[-1].time_ns + 3600 * NS)
    shifted = [structs.replace(bar, time_ns=bar.time_ns + 3600 * NS) for bar in made]
    assert len(made) >= 1
    assert again[: len(shifted)] == shifted


async def test_a_recording_keeps_every_promise_of_a_provider(
    recording: tuple[Recorded, list[Bar]],
) -> None:
    replay = brokers.load("replay")
    settings = replay.settings(recordings=(str(where()),), speed=0.0)
    report = await check_provider(replay, settings, [PLAYED])
    assert report.broken == ()


class ReplayHouse(House):
    """The daemons on what replay plays."""

    async def _datad(self, stack: AsyncExitStack) -> Datad:
        datad = await stack.enter_async_context(open_datad(Service("datad", "replay", Manager())))
        await _serve(stack, "datad", (("replay", DATA),), datad)
        return datad

    async def _paperboi(self, stack: AsyncExitStack) -> Paperboi:
        service = Service("paperboi", "replay", Manager())
        control = Control(service.changed)
        replay = brokers.load("replay")
        dialog = await stack.enter_async_context(
            open_dialog(service, replay, Configuration(), control.hear)
        )
        paperboi = Paperboi(Brokerage(dialog.accounts[0], dialog, control, service.changed), dialog)
        await _serve(stack, "paperboi", (("replay", BROKER),), paperboi)
        return paperboi


@asynccontextmanager
async def a_replay_house() -> AsyncIterator[ReplayHouse]:
    """All daemons but brokerd."""
    house = ReplayHouse(())
    with trio.fail_after(60):
        async with trio.open_nursery() as nursery:
            await house.begin(nursery)
            yield house
            await house.end()


def a_jump(directory: Path) -> Recorded:
    """A recording of ten seconds at 100, a trade at 101.5, and one at 110."""
    market = describe(RECORDED)
    ticks = TickColumns()
    prices = [*[100.0] * 50, 101.5, 110.0, *[110.0] * 50]
    for number, price in enumerate(prices):
        made = tuple(
            Tick(kind=kind, price=price, size=100.0, time_ns=WALL_NS + number * NS // 5, seen_ns=0)
            for kind in KINDS
        )
        ticks.add(Quote(market=RECORDED, ticks=made), number, WALL_NS, 0)
    said = About(version=1, market=market, spans=(), next_message=len(prices))
    files = TickFiles(directory)
    files.write("2027-01-15", ticks, said)
    files.unlock()
    return Recorded(said, ticks)


async def test_a_dark_order_fires_on_the_tick_that_was_recorded(home: Path) -> None:
    a_jump(home / "history")
    configure(f"[providers.replay]\nrecordings = ['{home / 'history'}']\nspeed = 5")
    async with a_replay_house() as house:
        await house.submit(dark("d-1", "101", market=PLAYED, when="above", slip_ticks=2))
        await house.until("d-1", "filled")
        events = await house.events("d-1")
    (fired,) = [event for event in events if isinstance(event, Triggered)]
    assert fired.price == Decimal("101.5")
