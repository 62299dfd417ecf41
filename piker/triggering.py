"""What a trigger sets off: an alert is done; a dark order leaves, or is held and put back later.

An order that was triggered and could not leave is set aside: its account wasn't ready, all was
halted, or others that reduce the same position had to be cancelled first. Once that is over it goes
on: what others made way for leaves at the price shown then; the rest is treated as after a time
that nobody watched, armed again or left to its owner.
"""

import logging
from collections.abc import Callable
from decimal import Decimal
from typing import Literal

from msgspec import structs

from piker import clock, log
from piker.book import Book
from piker.clearing import Clearing, MarketClearing, as_it_rests
from piker.config import EmsdSettings
from piker.core.lifecycle import why_not
from piker.core.risk import at_stake
from piker.core.triggers import (
    CancelledByGap,
    Decision,
    Fired,
    HeldByGap,
    RanOut,
    price_to_send,
)
from piker.errors import Refused, say
from piker.gate import Gate
from piker.interfaces.orders import Halted
from piker.markets import Market
from piker.orders import (
    NOTHING,
    Armed,
    CancelAsked,
    Expired,
    Held,
    Life,
    Order,
    OrderEvent,
    Sending,
    Triggered,
)
from piker.orders import Refused as OrderRefused
from piker.routing import Route
from piker.standing import rests

NS = 1_000_000_000

Why = Literal["account", "halted", "reducing"]

logger = logging.getLogger(__name__)


class Triggering:
    """Acts on what clearing decides."""

    def __init__(
        self,
        book: Book,
        settings: EmsdSettings,
        gate: Gate,
        clearing: Clearing,
        route_of: Callable[[str], Route],
    ) -> None:
        self._book = book
        self._settings = settings
        self._gate = gate
        self._clearing = clearing
        self._route_of = route_of
        self._set_aside: dict[str, Why] = {}
        """What was triggered and could not leave, and why: no longer than what isn't over."""

    def recover(self, life: Life) -> None:
        """Set aside again what was so when emsd ended."""
        if life.state == "held" and life.triggered and not life.armed:
            self._set_aside[life.order.oid] = "halted" if self._gate.halted() else "account"

    def forget(self, oid: str) -> None:
        """It is over, or armed anew."""
        self._set_aside.pop(oid, None)

    def act(self, market: Market, decision: Decision) -> None:
        """Carry out what a tick, or the end of a gap, has decided of one that rested.

        If that can't even be queued for the disk, it rests again: nothing has happened.
        """
        life = self._book.lives[decision.oid]
        if not rests(life):
            return
        try:
            self._act(market, life, decision)
        except Refused as no:
            logger.error("%s rests on: %s", decision.oid, no, extra=log.fields(oid=decision.oid))
            self._clearing.follow(market.fqme).rest(life)

    def look_around(self) -> None:
        """Have what was set aside go on, where nothing stands in its way any more."""
        for oid in list(self._set_aside):
            life = self._book.lives[oid]
            if self._set_aside[oid] == "reducing":
                self._go_on_reducing(life)
            elif self._route_of(life.order.account).ready and not self._is_halted(life):
                self._put_back(life)

    def expire(self, oid: str) -> None:
        """Its time has come."""
        life = self._book.lives.get(oid)
        if life and not life.cancel and why_not(life, Expired()) is None:
            self._book.record(oid, Expired())

    # --- what is decided

    def _act(self, market: Market, life: Life, decision: Decision) -> None:
        oid = decision.oid
        match decision:
            case Fired():
                self._fire(market, life, decision)
            case HeldByGap():
                self._hold(oid, _unwatched(decision.unwatched_ns))
            case CancelledByGap():
                self._book.record(oid, CancelAsked(reason=_unwatched(decision.unwatched_ns)))
            case RanOut():
                self.expire(oid)

    def _fire(self, market: Market, life: Life, fired: Fired, *before: OrderEvent) -> None:
        """A trigger was crossed: an alert is done, a dark order leaves, if it may."""
        oid, order = life.order.oid, life.order
        triggered = Triggered(price=Decimal(repr(fired.tick.price)), time_ns=fired.tick.time_ns)
        events = (*before, triggered)
        if order.kind == "alert":
            self._book.record(oid, *events)
            return
        size = self._gate.capped(order, life.size, life)
        route = self._route_of(order.account)
        if size is None:
            self._book.record(oid, *events, CancelAsked(reason="there is nothing to reduce"))
        elif not size:
            self._make_way(life, *events)
        elif not route.ready:
            self._set_aside[oid] = "account"
            self._hold(oid, f"{order.account} is not ready: {route.reason}", *events)
        else:
            self._send(market, life, size, fired.price, *events)

    def _send(
        self, market: Market, life: Life, size: Decimal, limit: Decimal | None, *events: OrderEvent
    ) -> None:
        """Has it leave, unless the market or risk object to it."""
        oid, leaving = life.order.oid, _leaving(life.order, size, limit)
        malformed = self._gate.why_malformed(leaving, market)
        fault = malformed or self._gate.why_risky(leaving, life, size)
        if isinstance(fault, Halted):
            self._set_aside[oid] = "halted"
            self._hold(oid, say(fault), *events)
        elif fault:
            self._book.record(oid, *events, OrderRefused(reason=say(fault)))
        else:
            self._gate.count(leaving)
            sending = Sending(size=size, limit=limit, not_after_ns=self.not_after_ns())
            self._book.record(oid, *events, sending)

    def not_after_ns(self) -> int:
        """Until when what is recorded now may reach a venue, UTC ns."""
        return clock.wall_ns() + round(self._settings.not_after_s * NS)

    def _hold(self, oid: str, reason: str, *before: OrderEvent) -> None:
        self._book.record(oid, *before, Held(reason=reason))

    # --- what reduces one position

    def _make_way(self, life: Life, *before: OrderEvent) -> None:
        """A stop is triggered while a target rests: the target is cancelled, then the stop goes."""
        self._set_aside[life.order.oid] = "reducing"
        self._hold(life.order.oid, "waits until other reducing orders are cancelled", *before)
        self._cancel_others(life.order)

    def _cancel_others(self, order: Order) -> None:
        for other in self._book.unclosed(order.account):
            same = (other.order.market, other.order.side) == (order.market, order.side)
            if same and at_stake(other) and other.order.reduce_only and not other.cancel:
                self._book.record(other.order.oid, CancelAsked(reason=f"{order.oid} took over"))

    def _go_on_reducing(self, life: Life) -> None:
        """What made way for it is over: it leaves now, at what the market shows now."""
        market, order = self._clearing.follow(life.order.market), life.order
        tick = market.newest_for(order.side)
        if self._gate.capped(order, life.size, life) == NOTHING:
            self._cancel_others(order)
        elif tick and market.dark is not None:
            del self._set_aside[order.oid]
            price = price_to_send(market.dark.market, as_it_rests(life), tick.price)
            fired = Fired(oid=order.oid, tick=tick, price=price, unwatched_ns=0)
            self._fire(market.dark.market, life, fired, _armed_again(life, market))

    # --- what is put back

    def _is_halted(self, life: Life) -> bool:
        """Whether a halt keeps it here. What reduces is judged when it fires again."""
        return not life.order.reduce_only and self._gate.halted() is not None

    def _put_back(self, life: Life) -> None:
        """What was crossed while it could not leave: as after a gap."""
        oid, order = life.order.oid, life.order
        market = self._clearing.follow(order.market)
        if market.dark is None:
            return
        why = self._set_aside.pop(oid)
        if self._goes_on(life, market, why):
            self._book.record(oid, _armed_again(life, market))
            market.rest(self._book.lives[oid])
        elif order.on_gap == "cancel":
            self._book.record(oid, CancelAsked(reason="crossed while it could not leave"))

    def _goes_on(self, life: Life, market: MarketClearing, why: Why) -> bool:
        """Whether it is armed again, and so fires if the market is still there."""
        assert life.triggered, f"expected one that was triggered, was {life}"
        waited_ns = market.now_ns - life.triggered.time_ns
        soon = why == "account" and waited_ns < self._settings.gap_grace_s * NS
        return soon or life.order.on_gap == "fire" or self._must_reduce(life, market)

    def _must_reduce(self, life: Life, market: MarketClearing) -> bool:
        """Whether it is to reduce, and the market is still beyond its trigger."""
        tick = market.newest_for(life.order.side)
        if not life.order.reduce_only or tick is None or life.trigger is None:
            return False
        trigger = float(life.trigger)
        return tick.price >= trigger if life.when == "above" else tick.price <= trigger


def _leaving(order: Order, size: Decimal, limit: Decimal | None) -> Order:
    """A dark order as the venue sees it."""
    kind: Literal["limit", "market"] = "market" if limit is None else "limit"
    return structs.replace(order, kind=kind, size=size, limit=limit, trigger=None)


def _armed_again(life: Life, market: MarketClearing) -> Armed:
    assert life.when, f"expected one that was armed before, was {life}"
    return Armed(when=life.when, since_ns=market.now_ns, reason="it can leave again")


def _unwatched(unwatched_ns: int) -> str:
    return f"crossed while nobody watched for {unwatched_ns / NS:.0f} s"
