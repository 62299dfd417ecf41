"""What a venue's lists say about our orders and positions, as events and differences.

Executions come first, then what ended, what is open, and last what is nowhere: so that an order
which was filled while nobody listened isn't taken for one that never was.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Set
from decimal import Context, Decimal

from piker.core.lifecycle import apply
from piker.core.positions import FINEST, LIMIT
from piker.interfaces.broker import EndedOrder, Holding, OpenOrder, SnapshotReply
from piker.orders import (
    NOTHING,
    Absent,
    AmendAcked,
    AmendRefused,
    BrokerEvent,
    Cancelled,
    Execution,
    Filled,
    Life,
    Listed,
    Refused,
    VenueEvent,
    VenueExpired,
)

Place = tuple[str, str]
"""An account and a market."""

INT64 = range(-(2**63), 2**63)
_WIDE = Context(prec=200)


# --- what can't be taken, whoever says it


def why_unfit(life: Life, event: BrokerEvent) -> str | None:
    """Why a venue can't say this of an order, or None."""
    match event:
        case Filled(execution=execution):
            return why_no_execution(execution) or _why_of_another(life, execution)
        case AmendAcked(size=size, limit=limit):
            return _why_no_number("the size of an amendment", size) or _why_no_number(
                "the limit of an amendment", limit
            )
    return None


def why_no_execution(execution: Execution) -> str | None:
    """Why this can't be an execution, or None: nobody could count with it."""
    for name in ("size", "price", "fee"):
        problem = _why_no_number(f"{name} of {execution.exec_id}", getattr(execution, name))
        if problem:
            return problem
    if execution.size < 0:
        return f"expected size of {execution.exec_id} of 0 or more, was {execution.size}"
    if execution.revision not in INT64:
        return f"expected revision of {execution.exec_id} of 64 bits, was {execution.revision}"
    if execution.time_ns not in INT64:
        return f"expected time_ns of {execution.exec_id} of 64 bits, was {execution.time_ns}"
    return None


def why_no_snapshot(snapshot: SnapshotReply) -> str | None:
    """Why these can't be the lists of a venue, or None."""
    for execution in snapshot.executions:
        problem = why_no_execution(execution)
        if problem:
            return problem
    for name, value in _numbers(snapshot):
        problem = _why_no_number(name, value)
        if problem:
            return problem
    return None


def _why_of_another(life: Life, execution: Execution) -> str | None:
    order = life.order
    expected = order.oid, order.account, order.market, order.side
    was = execution.oid, execution.account, execution.market, execution.side
    if was != expected:
        return f"expected a fill of {expected}, was of {was}: {execution.exec_id}"
    return None


def _numbers(snapshot: SnapshotReply) -> Iterator[tuple[str, Decimal | None]]:
    for order in snapshot.orders:
        yield f"the size of {order.venue_id}", order.size
        yield f"the limit of {order.venue_id}", order.limit
    for holding in snapshot.holdings:
        yield f"what is held of {holding.market}", holding.size
        yield f"the price of what is held of {holding.market}", holding.average_price
    for balance in snapshot.balances:
        for name in ("net_liquidation", "cash", "margin", "available", "buying_power"):
            yield f"{name} of {balance.account}", getattr(balance, name)


def _why_no_number(name: str, value: Decimal | None) -> str | None:
    if value is None:
        return None
    fits = value.is_finite() and value.copy_abs() < LIMIT
    if fits and value.quantize(FINEST, context=_WIDE) == value:
        return None
    return f"expected {name} below {LIMIT} in steps of {FINEST}, was {value}"


# --- what the lists say


def mentioned(snapshot: SnapshotReply) -> frozenset[str]:
    """The oids that are needed to understand a snapshot.

    Not those of orders that have ended: what was archived here is over here, too.
    """
    everything: tuple[Execution | OpenOrder, ...] = (*snapshot.executions, *snapshot.orders)
    return frozenset(each.oid for each in everything if each.oid)


def findings(
    snapshot: SnapshotReply,
    lives: Mapping[str, Life],
    heard: Callable[[str], bool],
    *,
    absence_proves: bool,
    missed: Set[str] = frozenset(),
) -> Iterator[tuple[str, VenueEvent]]:
    """What the venue's lists say of these orders, in the order in which it is to be told.

    `heard`: the venue has spoken of this order since it was asked, so that its lists are older than
    what is known. `lives` are those of the snapshot's accounts, and no others. `missed`: those that
    were in no list the last time: where that proves nothing it takes two to make one doubtful.
    """
    done: dict[str, list[Filled]] = {}
    for execution in snapshot.executions:
        if execution.oid in lives:
            filled = Filled(execution=execution)
            done.setdefault(execution.oid, []).append(filled)
            yield execution.oid, filled
    for ended in snapshot.ended:
        if ended.oid in lives and ended.venue_id not in lives[ended.oid].gone:
            yield from _end(ended, _after(lives[ended.oid], done.get(ended.oid, ())))
    for order in snapshot.orders:
        known = lives.get(order.oid)
        if known and not heard(order.oid) and not _as_listed(known, order):
            yield order.oid, _listed(order, snapshot.asked_ns)
    for oid in missing(snapshot, lives, heard):
        if absence_proves:
            yield oid, Absent(asked_ns=snapshot.asked_ns)
        elif oid in missed and lives[oid].state == "open":
            yield oid, Absent(asked_ns=snapshot.asked_ns, proves=False)


def missing(
    snapshot: SnapshotReply, lives: Mapping[str, Life], heard: Callable[[str], bool]
) -> list[str]:
    """Of the orders that the venue should have, those that are in none of its lists."""
    there = {order.oid for order in snapshot.orders}
    # One that ended filled is somewhere, even if the executions that say so aren't here yet.
    there |= {ended.oid for ended in snapshot.ended if ended.outcome == "filled"}
    return [
        oid
        for oid, life in lives.items()
        if life.state in ("open", "unknown") and oid not in there and not heard(oid)
    ]


def foreign(snapshot: SnapshotReply, lives: Mapping[str, Life]) -> tuple[Execution, ...]:
    """The executions that are not of our orders."""
    return tuple(each for each in snapshot.executions if each.oid not in lives)


def strangers(snapshot: SnapshotReply, lives: Mapping[str, Life]) -> tuple[OpenOrder, ...]:
    """Open orders that nobody here knows: placed elsewhere, or of a journal that is lost."""
    return tuple(each for each in snapshot.orders if each.oid not in lives)


def differences(holdings: Iterable[Holding], ours: Mapping[Place, Decimal]) -> dict[Place, Decimal]:
    """How much more the venue says is held than we do, where that isn't the same."""
    theirs = {(each.account, each.market): each.size for each in holdings}
    places = sorted({*theirs, *ours})
    more = {place: theirs.get(place, NOTHING) - ours.get(place, NOTHING) for place in places}
    return {place: size for place, size in more.items() if size}


def _as_listed(life: Life, order: OpenOrder) -> bool:
    """Whether a list says nothing new of an order, as it does of nearly all."""
    settled = life.state == "open" and not (life.amend or life.cancel)
    return settled and order.venue_id in life.venue_ids


def _after(life: Life, events: Iterable[VenueEvent]) -> Life:
    for event in events:
        life, _ = apply(life, event)
    return life


def _end(ended: EndedOrder, life: Life) -> Iterator[tuple[str, VenueEvent]]:
    """Of one that is filled its executions say so, but for an amendment of which nobody knows: it
    took effect if just its total was done, else it came too late."""
    others = [venue_id for venue_id in life.live if venue_id != ended.venue_id]
    if ended.outcome == "cancelled" or (ended.outcome == "rejected" and others):
        yield ended.oid, Cancelled(venue_id=ended.venue_id, reason=ended.reason)
    elif ended.outcome == "expired":
        yield ended.oid, VenueExpired(venue_id=ended.venue_id)
    elif ended.outcome == "rejected":
        yield ended.oid, Refused(reason=ended.reason)
    elif life.amend and life.amend.unknown and not others:
        n, size, limit = life.amend.n, life.amend.size, life.amend.limit
        if life.filled == size:
            yield ended.oid, AmendAcked(n=n, size=size, limit=limit)
        else:
            yield ended.oid, AmendRefused(n=n, reason="it was filled before")


def _listed(order: OpenOrder, asked_ns: int) -> Listed:
    return Listed(venue_id=order.venue_id, size=order.size, limit=order.limit, asked_ns=asked_ns)
