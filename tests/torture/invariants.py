"""What must be so whenever all is quiet, whatever was killed before: pure, from both sides' books.

Each gives the problems that it sees, with the order that they are about.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from decimal import Decimal
from itertools import chain
from typing import NamedTuple

from piker.accounts import Position
from piker.interfaces.orders import LedgerLine
from piker.orders import Execution, Life
from tests.torture.books import Resting, VenueBook
from tests.torture.follower import waits


class Problem(NamedTuple):
    """Something that must not be; of an order, if `oid` isn't empty."""

    oid: str
    text: str


class Sides(NamedTuple):
    """What everybody says."""

    lives: Mapping[str, Life]
    """As the event stream adds up."""
    promised: Iterable[str]
    """Orders that emsd said it has."""
    refused: Iterable[str]
    """Orders that it said it doesn't take."""
    ledger: Iterable[LedgerLine]
    positions: Iterable[Position]
    venues: Iterable[VenueBook]


def problems(sides: Sides) -> list[Problem]:
    """All that isn't as it must be."""
    return [
        *_nothing_is_lost(sides),
        *_nothing_is_in_suspense(sides.lives.values()),
        *_what_is_held_says_why(sides.lives.values()),
        *chain.from_iterable(_books_agree(sides, venue) for venue in sides.venues),
        *_positions_agree(sides),
    ]


def _nothing_is_lost(sides: Sides) -> Iterator[Problem]:
    for oid in sides.promised:
        if oid not in sides.lives:
            yield Problem(oid, "emsd said that it has it, and doesn't know it")
    for oid in sides.refused:
        if oid in sides.lives:
            yield Problem(oid, "emsd said that it doesn't take it, and has it")


def _nothing_is_in_suspense(lives: Iterable[Life]) -> Iterator[Problem]:
    for life in lives:
        if not life.closed and waits(life):
            yield Problem(
                life.order.oid, f"is in suspense: {life.state} {life.amend} {life.cancel}"
            )
        if len(life.live) > 1:
            yield Problem(life.order.oid, f"is at the venue more than once: {life.live}")


def _what_is_held_says_why(lives: Iterable[Life]) -> Iterator[Problem]:
    for life in lives:
        if life.state == "held" and not (life.armed or life.reason):
            yield Problem(life.order.oid, "is neither armed nor accounted for")


def _books_agree(sides: Sides, venue: VenueBook) -> Iterator[Problem]:
    ours = {oid: life for oid, life in sides.lives.items() if life.order.account == venue.account}
    yield from _orders_agree(ours, venue)
    yield from _executions_agree(ours, venue)
    lines = [line for line in sides.ledger if _account_of(line) == venue.account]
    yield from _ledger_agrees(lines, venue)


def _orders_agree(lives: Mapping[str, Life], venue: VenueBook) -> Iterator[Problem]:
    for oid, times in venue.booked.items():
        if times > 1:
            yield Problem(oid, f"was booked {times} times by {venue.account}")
        if oid not in lives:
            yield Problem(oid, f"is in the book of {venue.account} and not in ours")
        elif lives[oid].state == "rejected":
            yield Problem(oid, f"is rejected and was booked by {venue.account}")
    open_here = {oid: _as_open(life) for oid, life in lives.items() if life.state == "open"}
    for oid in open_here.keys() | venue.open.keys():
        here, there = open_here.get(oid), venue.open.get(oid)
        if here != there:
            yield Problem(oid, f"open here: {here}, at {venue.account}: {there}")
    for oid, outcome in venue.ended.items():
        if oid in lives and lives[oid].state != outcome:
            yield Problem(oid, f"{lives[oid].state} here, {outcome} at {venue.account}")


def _executions_agree(lives: Mapping[str, Life], venue: VenueBook) -> Iterator[Problem]:
    here = [each for life in lives.values() for each in life.executions]
    yield from _same(here, venue.executions, f"in lives and at {venue.account}")
    for oid, life in lives.items():
        done = sum((each.size for each in life.executions), Decimal(0))
        if not life.filled == done <= life.size:
            yield Problem(oid, f"filled {life.filled} of {life.size} by executions of {done}")


def _ledger_agrees(lines: Iterable[LedgerLine], venue: VenueBook) -> Iterator[Problem]:
    booked = [line.execution for line in lines if line.execution]
    yield from _same(booked, venue.executions, f"in the ledger and at {venue.account}")
    for line in lines:
        if line.adjustment:
            yield Problem("", f"an adjustment that nobody's doing explains: {line.adjustment}")


def _same(ours: Iterable[Execution], theirs: Iterable[Execution], where: str) -> Iterator[Problem]:
    """Each execution once on both sides, and the same: as it is now, for who corrects it here."""
    ours = list(ours)
    here, there = Counter(map(_key, ours)), Counter(map(_key, theirs))
    newest: dict[str, int] = {}
    for each in ours:
        newest[each.exec_id] = max(each.revision, newest.get(each.exec_id, each.revision))
    corrected = {_key(each) for each in ours if each.revision < newest[each.exec_id]}
    for key in here.keys() | there.keys():
        if (here[key], there[key]) != (1, 0 if key in corrected else 1):
            yield Problem(key[1], f"execution {key}: {here[key]} and {there[key]} times {where}")


def _positions_agree(sides: Sides) -> Iterator[Problem]:
    ours = {(each.account, each.market): each.size for each in sides.positions if each.size}
    theirs = {
        (venue.account, market): size
        for venue in sides.venues
        for market, size in venue.holdings().items()
    }
    for place in ours.keys() | theirs.keys():
        if ours.get(place) != theirs.get(place):
            yield Problem("", f"{place}: {ours.get(place)} here, {theirs.get(place)} there")


def _as_open(life: Life) -> Resting:
    return Resting(life.size, life.filled, life.limit)


def _account_of(line: LedgerLine) -> str:
    entry = line.execution or line.adjustment
    assert entry is not None, f"expected an entry, was {line}"
    return entry.account


def _key(each: Execution) -> tuple[str, str, int, str, Decimal, Decimal]:
    return each.exec_id, each.oid, each.revision, each.side, each.size, each.price
