"""The suite of piker.Broker: brokerd keeps every promise, and each can be broken."""

import signal
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from decimal import Decimal

import pytest

from piker import paths
from piker.brokers.orderconformance import PROMISES, Ground, Promise, check_broker
from piker.brokers.sim.venuecontrol import ComeBack, GoAway, SetRenames
from tests.brokers.brokenbroker import a_broker
from tests.fakes.manager import Running, a_daemon
from tests.fakes.simvenue import FAR, MARKET, PRICE, SimVenue, a_sim_venue, credentials

BRIEF_S, PATIENCE_S = 0.5, 30.0
HANGS = f"not done within {BRIEF_S:g} s"
DONE = "expected Place to be refused, was Done"
AMENDED = "expected Amend to be refused, was Done"
FLAWS = [
    ("same session", "Open", "gives every session a name of its own", "expected another session"),
    (
        "says nothing of its link",
        "Open",
        "says session, accounts and the link at first",
        "expected a link that is up, was None",
    ),
    ("shares control", "Open", "ends the session before with Superseded", HANGS),
    ("ends in silence", "Open", "tells its session what comes of orders of earlier ones", HANGS),
    ("fences nothing", "Place", "of a session that was superseded is refused", DONE),
    ("fences nothing", "Place", "of a session that was hung up is refused", "expected StaleSess"),
    ("fences nothing", "Place", "that comes too late is refused", DONE),
    ("fences nothing", "Place", "while the venue is away is refused", DONE),
    ("fences nothing", "Amend", "of a session that was superseded is refused", AMENDED),
    ("fences nothing", "Amend", "that comes too late is refused", AMENDED),
    ("fences nothing", "restart", "ends the session", DONE),
    ("trades on any account", "Place", "on another account is refused", DONE),
    ("trades on any account", "CancelAll", "of another account is refused", "expected Unknown"),
    ("acks anything", "Place", "of no size is refused by name", HANGS),
    ("acks anything", "Place", "off the grid is refused by name", HANGS),
    ("acks anything", "Place", "in an unknown market is refused by name", HANGS),
    ("swallows", "Place", "is acked with the venue's id, under which it is listed", HANGS),
    ("lists other ids", "Place", "is acked with the venue's id", "expected it listed as"),
    ("fills at any price", "Place", "fills what is marketable", "expected at most"),
    ("fills in silence", "Place", "fills what is marketable", HANGS),
    ("market", "Place", "fills an order at the market", HANGS),
    ("ioc", "Place", "ends at once what is ioc and finds nothing", HANGS),
    ("day", "Place", "lets a day order rest", "expected it to be open, was not"),
    (
        "cancels in words",
        "Place",
        "of a reference that came before leaves nothing",
        "expected nothing of it to be open, was open",
    ),
    ("amends in words", "Amend", "is acked with the total and the limit", "expected listed as"),
    ("amends in words", "Amend", "to where there are sellers fills the order", HANGS),
    ("amends in words", "Amend", "of an order that isn't open is refused", HANGS),
    ("cancels in words", "Cancel", "ends an order, which is told", "expected it to have ended"),
    ("cancels in words", "Cancel", "needs no session", HANGS),
    ("cancels in words", "Cancel", "of an order that the venue doesn't know", HANGS),
    ("ends in silence", "Cancel", "ends an order, which is told and no longer listed", HANGS),
    ("no ids", "CancelAll", "ends all that is open and gives its ids", "expected the ids"),
    ("asks at no time", "Snapshot", "was asked for at the time", "expected asked_ns of now"),
    ("lists not all", "Snapshot", "has all that was placed before", "expected missing:"),
    ("lists what is done twice", "Snapshot", "has each execution once", "expected ids that are"),
    ("fills at any price", "Snapshot", "has each execution once", "expected what was told"),
    ("holds nothing", "Snapshot", "holds what was traded", "expected held"),
    ("tells all that ever was", "Snapshot", "has only what was done since", "expected executions"),
    ("forgets", "restart", "keeps what rests, under its id", "expected listed under"),
    ("forgets", "restart", "keeps executions and holdings", "expected executions"),
]
"""What is wrong, the promise that it breaks by its beginning, and what is found out."""


def seconds_for(detail: str) -> float:
    """What hangs is given up soon; all else has the time that it takes."""
    return BRIEF_S if detail == HANGS else PATIENCE_S


def promise_of(method: str, beginning: str) -> Promise:
    """The promise of a method that begins so."""
    (found,) = [each for each in PROMISES if each[0] == method and each[1].startswith(beginning)]
    return found


async def test_a_broker_without_a_flaw_keeps_every_promise() -> None:
    async with a_broker() as ground:
        report = await check_broker(ground, PATIENCE_S)
    assert report.broken == ()
    assert {each.outcome for each in report.results} == {"ok"}


@pytest.mark.parametrize(("flaw", "method", "beginning", "detail"), FLAWS)
async def test_every_flaw_is_found_out(flaw: str, method: str, beginning: str, detail: str) -> None:
    async with a_broker(flaw) as ground:
        promise = promise_of(method, beginning)
        report = await check_broker(ground, seconds_for(detail), [promise])
    (found,) = report.broken
    assert found.detail.startswith(detail)


def test_every_promise_has_a_flaw_that_breaks_it() -> None:
    assert {promise_of(method, beginning) for _, method, beginning, _ in FLAWS} == set(PROMISES)


async def test_what_cannot_be_tried_is_unsupported_and_not_broken() -> None:
    async with a_broker() as ground:
        report = await check_broker(replace(ground, restart=None, away=None), PATIENCE_S)
    untried = [each.endpoint for each in report.results if each.outcome == "unsupported"]
    assert untried == ["Place", "restart", "restart", "restart"]
    assert report.broken == ()


async def test_a_daemon_that_is_not_there_is_reported() -> None:
    async with a_broker() as ground:
        elsewhere = replace(ground, path=f"{ground.path}.not")
        report = await check_broker(elsewhere, promises=[("Cancel", "needs no session")])
    assert "does not listen" in report.broken[0].detail


class Live:
    """brokerd@sim in processes that come and go, and its venue."""

    def __init__(self, venue: SimVenue, stack: AsyncExitStack) -> None:
        self._venue = venue
        self._stack = stack
        self._daemon: Running

    async def start(self) -> None:
        """Have it answer."""
        opening = a_daemon("brokerd", "sim", environment=credentials())
        self._daemon = await self._stack.enter_async_context(opening)

    async def restart(self) -> None:
        """As after the worst of accidents."""
        await self._daemon.end(signal.SIGKILL)
        await self._stack.aclose()
        await self.start()

    @asynccontextmanager
    async def away(self) -> AsyncIterator[None]:
        """The venue can't be reached."""
        await self._venue.do(GoAway())
        yield
        await self._venue.do(ComeBack())


@pytest.mark.parametrize("renames", [False, True])
async def test_brokerd_keeps_every_promise_at_the_simulated_venue(renames: bool) -> None:
    async with a_sim_venue() as venue, AsyncExitStack() as stack:
        await venue.do(SetRenames(renames=renames))
        live = Live(venue, stack)
        await live.start()
        ground = Ground(
            name="brokerd@sim",
            path=str(paths.socket_path("brokerd", "sim")),
            account="sim.main",
            market=MARKET,
            size=Decimal(3),
            resting=FAR,
            crossing=PRICE,
            off_grid=FAR + Decimal("0.1"),
            restart=live.restart,
            away=live.away,
        )
        report = await check_broker(ground, PATIENCE_S)
    assert report.broken == ()
    assert {each.outcome for each in report.results} == {"ok"}
