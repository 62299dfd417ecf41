"""The one suite that everything which serves piker.Broker passes: `check_broker`.

It trades: on paper, or at a venue where nothing is lost.
"""

from collections.abc import Awaitable, Callable, Collection
from contextlib import suppress
from decimal import Decimal
from typing import Any

import trio
from msgspec.structs import replace

from piker import clock
from piker.brokers.conformance import Report, Result
from piker.brokers.ordertrials import SOON_NS, Desk, Ground, Sender
from piker.brokers.trials import Broken
from piker.errors import Fault, Refused, Unreachable, leaf
from piker.interfaces.broker import (
    Done,
    InvalidOrder,
    NotConnected,
    Place,
    StaleSession,
    Superseded,
    TooLate,
    UnknownAccount,
)
from piker.orders import (
    NOTHING,
    Acked,
    AmendAcked,
    AmendRefused,
    Cancelled,
    CancelRefused,
)
from piker.orders import Refused as OrderRefused

__all__ = ("PROMISES", "Desk", "Ground", "Promise", "Sender", "check_broker")

BURST = 10
"""Orders that are placed before a snapshot, with nothing in between."""

Trial = Callable[[Desk], Awaitable[None]]
Promise = tuple[str, str]
PROMISES: dict[Promise, Trial] = {}
"""What is promised, by the method and a sentence, and how it is tried."""


def _promise(method: str, sentence: str) -> Callable[[Trial], Trial]:
    def note(trial: Trial) -> Trial:
        PROMISES[method, sentence] = trial
        return trial

    return note


def _expect(wanted: object, was: object, what: str) -> None:
    if wanted != was:
        raise Broken(f"expected {what} {wanted}, was {was}")


def _expect_fault(kind: type[Fault], was: Fault) -> None:
    if type(was) is not kind:
        raise Broken(f"expected {kind.__name__}, was {type(was).__name__}")


# --- sessions


@_promise("Open", "says session, accounts and the link at first")
async def _says_at_first(desk: Desk) -> None:
    async with desk.sender() as sender:
        if not sender.opened.session:
            raise Broken("expected a session, was none")
        if desk.ground.account not in sender.opened.accounts:
            raise Broken(f"expected {desk.ground.account}, was {sender.opened.accounts}")
        if not (sender.first.link and sender.first.link.up):
            raise Broken(f"expected a link that is up, was {sender.first.link}")


@_promise("Open", "gives every session a name of its own")
async def _names_sessions(desk: Desk) -> None:
    async with desk.sender() as first:
        pass
    async with desk.sender() as second:
        if first.opened.session == second.opened.session:
            raise Broken(f"expected another session, was {second.opened.session} again")


@_promise("Open", "ends the session before with Superseded")
async def _supersedes(desk: Desk) -> None:
    async with desk.sender() as first, desk.sender():
        try:
            await first.hear()
        except Refused as no:
            _expect_fault(Superseded, no.fault)
            return
    raise Broken("expected Superseded, was told more")


@_promise("Open", "tells its session what comes of orders of earlier ones")
async def _tells_of_earlier(desk: Desk) -> None:
    async with desk.sender() as first:
        oid = await first.place()
        await first.hears(oid, Acked)
    async with desk.sender() as second:
        await second.cancel(oid)
        await second.hears_end(oid)


# --- orders


@_promise("Place", "of a session that was superseded is refused as StaleSession")
async def _place_superseded(desk: Desk) -> None:
    async with desk.sender() as first, desk.sender():
        _expect_fault(StaleSession, await first.refusal(first.order()))


@_promise("Place", "of a session that was hung up is refused as StaleSession")
async def _place_hung_up(desk: Desk) -> None:
    async with desk.sender() as sender:
        pass
    async with desk.client() as client:
        try:
            await client.call(sender.order(), Done)
        except Refused as no:
            _expect_fault(StaleSession, no.fault)
            return
    raise Broken("expected StaleSession, was Done")


@_promise("Place", "that comes too late is refused as TooLate and never reaches the venue")
async def _place_late(desk: Desk) -> None:
    async with desk.sender() as sender:
        order = sender.order(not_after_boot_ns=clock.boot_ns() - 1)
        _expect_fault(TooLate, await sender.refusal(order))
        if order.oid in await desk.open_oids():
            raise Broken("expected it not to be there, was open")


@_promise("Place", "on another account is refused as UnknownAccount")
async def _place_account(desk: Desk) -> None:
    async with desk.sender() as sender:
        order = sender.order(account=f"{desk.ground.account}.not")
        _expect_fault(UnknownAccount, await sender.refusal(order))


async def _is_refused(sender: Sender, order: Place) -> None:
    """At once by name, or by the venue with a reason."""
    try:
        await sender.send(order)
    except Refused as no:
        _expect_fault(InvalidOrder, no.fault)
        return
    refused = await sender.hears(order.oid, OrderRefused)
    if not refused.reason:
        raise Broken("expected a reason, was none")


@_promise("Place", "of no size is refused by name")
async def _place_nothing(desk: Desk) -> None:
    async with desk.sender() as sender:
        await _is_refused(sender, sender.order(size=Decimal(0)))


@_promise("Place", "off the grid is refused by name")
async def _place_off_grid(desk: Desk) -> None:
    async with desk.sender() as sender:
        await _is_refused(sender, sender.order(limit=desk.ground.off_grid))


@_promise("Place", "in an unknown market is refused by name")
async def _place_nowhere(desk: Desk) -> None:
    async with desk.sender() as sender:
        provider = desk.ground.market.rpartition(".")[2]
        await _is_refused(sender, sender.order(market=f"nothing.nowhere.{provider}"))


@_promise("Place", "is acked with the venue's id, under which it is listed")
async def _place_listed(desk: Desk) -> None:
    async with desk.sender() as sender:
        order = sender.order()
        await sender.send(order)
        acked = await sender.hears(order.oid, Acked)
        listed = [each for each in (await desk.snapshot()).orders if each.oid == order.oid]
        _expect(1, len(listed), "orders of the reference:")
        found = listed[0]
        was = (found.venue_id, found.account, found.market, found.side, found.size, found.limit)
        asked = (order.account, order.market, order.side, order.size, order.limit)
        _expect((acked.venue_id, *asked), was, "it listed as")
        _expect(NOTHING, found.filled, "filled")


@_promise("Place", "fills what is marketable: all of it, not worse than its limit")
async def _place_fills(desk: Desk) -> None:
    async with desk.sender() as sender:
        oid, executions = await sender.fill()
        await sender.hears(oid, Acked)
        _expect(desk.ground.size, sum((each.size for each in executions), NOTHING), "filled")
        for each in executions:
            was = (each.oid, each.account, each.market, each.side)
            _expect((oid, desk.ground.account, desk.ground.market, "buy"), was, "an execution of")
            if each.price > desk.ground.crossing:
                raise Broken(f"expected at most {desk.ground.crossing}, was {each.price}")
        if oid in await desk.open_oids():
            raise Broken("expected it to have ended, was open")


@_promise("Place", "fills an order at the market")
async def _place_market(desk: Desk) -> None:
    async with desk.sender() as sender:
        await sender.fill(limit=None)


@_promise("Place", "ends at once what is ioc and finds nothing")
async def _place_ioc(desk: Desk) -> None:
    async with desk.sender() as sender:
        oid = await sender.place(tif="ioc")
        await sender.trade()
        await sender.hears_end(oid)
        _expect([], sender.executions(oid), "executions")


@_promise("Place", "lets a day order rest")
async def _place_day(desk: Desk) -> None:
    async with desk.sender() as sender:
        oid = await sender.place(tif="day")
        await sender.hears(oid, Acked)
        if oid not in await desk.open_oids():
            raise Broken("expected it to be open, was not")


@_promise("Place", "of a reference that came before leaves nothing that its cancel misses")
async def _place_twice(desk: Desk) -> None:
    async with desk.sender() as sender:
        order = sender.order()
        await sender.send(order)
        await sender.hears(order.oid, Acked)
        try:
            await sender.send(replace(order, not_after_boot_ns=clock.boot_ns() + SOON_NS))
        except Refused as no:
            _expect_fault(InvalidOrder, no.fault)
        await sender.cancel(order.oid)
        await sender.hears_end(order.oid)
        if order.oid in await desk.open_oids():
            raise Broken("expected nothing of it to be open, was open")


@_promise("Place", "while the venue is away is refused as NotConnected, and is not kept for later")
async def _place_away(desk: Desk) -> None:
    assert desk.ground.away
    async with desk.sender() as sender:
        async with desk.ground.away():
            await _hears_link(sender, up=False)
            order = sender.order()
            _expect_fault(NotConnected, await sender.refusal(order))
            amendment = sender.amendment(order.oid)
            _expect_fault(NotConnected, await sender.refusal(amendment))
        await _hears_link(sender, up=True)
        if order.oid in await desk.open_oids():
            raise Broken("expected it not to be there, was open")


async def _hears_link(sender: Sender, *, up: bool) -> None:
    while not (sender.links and sender.links[-1].up == up):
        await sender.hear()


# --- amendments


@_promise("Amend", "is acked with the total and the limit, which are then listed")
async def _amend_listed(desk: Desk) -> None:
    async with desk.sender() as sender:
        oid = await sender.place()
        await sender.hears(oid, Acked)
        await sender.amend(oid)
        acked = await sender.hears(oid, AmendAcked)
        now = (2 * desk.ground.size, desk.ground.resting)
        _expect((1, *now), (acked.n, acked.size, acked.limit), "acked")
        listed = [each for each in (await desk.snapshot()).orders if each.oid == oid]
        _expect([now], [(each.size, each.limit) for each in listed], "listed as")


@_promise("Amend", "to where there are sellers fills the order")
async def _amend_fills(desk: Desk) -> None:
    async with desk.sender() as sender:
        oid = await sender.place()
        await sender.hears(oid, Acked)
        await sender.amend(oid, size=desk.ground.size, limit=desk.ground.crossing)
        await sender.trade()
        await sender.hears_fills(oid, desk.ground.size)


@_promise("Amend", "of an order that isn't open is refused")
async def _amend_unknown(desk: Desk) -> None:
    async with desk.sender() as sender:
        oid = sender.order().oid
        await sender.amend(oid, n=7)
        refused = await sender.hears(oid, AmendRefused)
        _expect(7, refused.n, "amendment")


@_promise("Amend", "of a session that was superseded is refused as StaleSession")
async def _amend_superseded(desk: Desk) -> None:
    async with desk.sender() as first:
        oid = await first.place()
        await first.hears(oid, Acked)
        async with desk.sender():
            _expect_fault(StaleSession, await first.refusal(first.amendment(oid)))


@_promise("Amend", "that comes too late is refused as TooLate and changes nothing")
async def _amend_late(desk: Desk) -> None:
    async with desk.sender() as sender:
        oid = await sender.place()
        await sender.hears(oid, Acked)
        late = sender.amendment(oid, not_after_boot_ns=clock.boot_ns() - 1)
        _expect_fault(TooLate, await sender.refusal(late))
        listed = [each.size for each in (await desk.snapshot()).orders if each.oid == oid]
        _expect([desk.ground.size], listed, "listed as")


# --- cancels


@_promise("Cancel", "ends an order, which is told and no longer listed")
async def _cancel_ends(desk: Desk) -> None:
    async with desk.sender() as sender:
        oid = await sender.place()
        await sender.hears(oid, Acked)
        await sender.cancel(oid)
        await sender.hears(oid, Cancelled)
        if oid in await desk.open_oids():
            raise Broken("expected it to have ended, was open")


@_promise("Cancel", "needs no session")
async def _cancel_without_session(desk: Desk) -> None:
    async with desk.sender() as sender:
        oid = await sender.place()
        await sender.hears(oid, Acked)
    await desk.cancel(oid)
    await _until_not_open(desk, oid)


async def _until_not_open(desk: Desk, oid: str) -> None:
    """A snapshot that is asked for after a cancel was handed over may still be before it."""
    while oid in await desk.open_oids():
        await trio.lowlevel.checkpoint()


@_promise("Cancel", "of an order that the venue doesn't know is told as CancelRefused")
async def _cancel_unknown(desk: Desk) -> None:
    async with desk.sender() as sender:
        oid = sender.order().oid
        await sender.cancel(oid)
        await sender.hears(oid, CancelRefused)


@_promise("CancelAll", "ends all that is open and gives its ids")
async def _cancels_all(desk: Desk) -> None:
    async with desk.sender() as sender:
        oids = [await sender.place() for _ in range(3)]
        ids = {(await sender.hears(oid, Acked)).venue_id for oid in oids}
        given = await desk.cancel_all()
        if not ids <= set(given):
            raise Broken(f"expected the ids {sorted(ids)}, was {given}")
        for oid in oids:
            await sender.hears(oid, Cancelled)
        _expect([], [oid for oid in await desk.open_oids() if oid], "open orders")


@_promise("CancelAll", "of another account is refused as UnknownAccount")
async def _cancels_account(desk: Desk) -> None:
    try:
        await desk.cancel_all(f"{desk.ground.account}.not")
    except Refused as no:
        _expect_fault(UnknownAccount, no.fault)
    else:
        raise Broken("expected UnknownAccount, was answered")


# --- snapshots


@_promise("Snapshot", "has all that was placed before it was asked for")
async def _snapshot_has_all(desk: Desk) -> None:
    async with desk.sender() as sender:
        oids = [await sender.place() for _ in range(BURST)]
        missing = set(oids) - set(await desk.open_oids())
        _expect(set(), missing, "missing:")


@_promise("Snapshot", "was asked for at the time that it says")
async def _snapshot_time(desk: Desk) -> None:
    before_ns = clock.wall_ns()
    asked_ns = (await desk.snapshot()).asked_ns
    if not before_ns <= asked_ns <= clock.wall_ns():
        raise Broken(f"expected asked_ns of now, {before_ns}, was {asked_ns}")


@_promise("Snapshot", "has each execution once, as it was told")
async def _snapshot_executions(desk: Desk) -> None:
    async with desk.sender() as sender:
        oid, told = await sender.fill()
        executions = (await desk.snapshot()).executions
        ids = [each.exec_id for each in executions]
        _expect(sorted(set(ids)), sorted(ids), "ids that are unique,")
        listed = {each.exec_id: each for each in executions if each.oid == oid}
        _expect({each.exec_id: each for each in told}, listed, "what was told,")


@_promise("Snapshot", "holds what was traded")
async def _snapshot_holdings(desk: Desk) -> None:
    before = await _held(desk)
    async with desk.sender() as sender:
        await sender.fill()
    _expect(before + desk.ground.size, await _held(desk), "held")


async def _held(desk: Desk) -> Decimal:
    ground = desk.ground
    holdings = (await desk.snapshot()).holdings
    held = [each.size for each in holdings if (each.account, each.market) == _of(ground)]
    return sum(held, NOTHING)


def _of(ground: Ground) -> tuple[str, str]:
    return ground.account, ground.market


@_promise("Snapshot", "has only what was done since, and how that ended")
async def _snapshot_since(desk: Desk) -> None:
    async with desk.sender() as sender:
        first, executions = await sender.fill()
        since_ns = max(each.time_ns for each in executions) + 1
        second, _ = await sender.fill()
        snapshot = await desk.snapshot(since_ns)
        _expect({second}, {each.oid for each in snapshot.executions}, "executions of")
        if snapshot.ended and first in {each.oid for each in snapshot.ended}:
            ended = max(each.time_ns for each in executions)
            raise Broken(f"expected what ended since {since_ns}, was {first} of {ended}")


# --- after a restart


@_promise("restart", "keeps what rests, under its id")
async def _restart_keeps_orders(desk: Desk) -> None:
    async with desk.sender() as sender:
        oid = await sender.place()
        venue_id = (await sender.hears(oid, Acked)).venue_id
    await _restart(desk)
    listed = [each for each in (await desk.snapshot()).orders if each.oid == oid]
    _expect([venue_id], [each.venue_id for each in listed], "listed under")
    async with desk.sender() as sender:
        await sender.cancel(oid)
        await sender.hears(oid, Cancelled)


@_promise("restart", "keeps executions and holdings")
async def _restart_keeps_fills(desk: Desk) -> None:
    async with desk.sender() as sender:
        await sender.fill()
    before = await desk.snapshot()
    await _restart(desk)
    after = await desk.snapshot()
    _expect(before.executions, after.executions, "executions")
    _expect(before.holdings, after.holdings, "holdings")


@_promise("restart", "ends the session")
async def _restart_ends_session(desk: Desk) -> None:
    async with desk.sender() as sender:
        await sender.place()
        order = sender.order()
        await _restart(desk)
    async with desk.sender() as again:
        _expect_fault(StaleSession, await again.refusal(order))


async def _restart(desk: Desk) -> None:
    """What is kept can be asked for when the link is up again."""
    assert desk.ground.restart
    await desk.ground.restart()
    async with desk.sender() as sender:
        await _hears_link(sender, up=True)


# --- the suite


async def check_broker(
    ground: Ground, seconds: float = 5.0, promises: Collection[Promise] = PROMISES
) -> Report:
    """Try on one broker daemon what piker.Broker promises: all of it, or some.

    Every wait ends after `seconds`; what hangs is reported. What is open is cancelled after each
    trial; positions stay.
    """
    desk = Desk(ground)
    results = [await _try(desk, *promise, seconds) for promise in promises]
    return Report(provider=ground.name, results=tuple(results))


async def _try(desk: Desk, method: str, sentence: str, seconds: float) -> Result:
    def result(outcome: Any, detail: str = "") -> Result:
        return Result(endpoint=method, check=sentence, outcome=outcome, detail=detail)

    ground, trial = desk.ground, PROMISES[method, sentence]
    if (method == "restart" and not ground.restart) or (trial is _place_away and not ground.away):
        return result("unsupported")
    try:
        with trio.fail_after(seconds):
            await trial(desk)
    except trio.TooSlowError:
        return result("broken", f"not done within {seconds:g} s")
    except Exception as error:  # noqa: BLE001 - whatever a broker daemon does
        return result("broken", _reason(leaf(error)))
    finally:
        with trio.move_on_after(seconds), suppress(Refused, Unreachable):
            await desk.cancel_all()
    return result("ok")


def _reason(error: BaseException) -> str:
    plain = isinstance(error, Broken | Refused | Unreachable)
    return str(error) if plain else f"{type(error).__name__}: {error}"
