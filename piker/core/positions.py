"""What an account holds in a market, and what that earned: the sum of its ledger's entries.

An execution trades at its price. So does an adjustment that has one. Without a price nothing was
paid or received that anybody knows of, so nothing is earned by it:

- What such an adjustment adds is *unpriced*: it is held, but earns nothing while it is, and leaves
  before all else, again earning nothing.
- What it takes leaves at the average price.
- A `corporate` one (a split) keeps the cost and spreads it over the new size, if some is left on
  the same side; else it is as any other.

The average price is of all that is priced, and only trading more the same way moves it. Whatever is
rounded moves between the realised profit and the open one: their sum is exact, and once all is
closed the realised one is.
"""

from bisect import bisect_left, insort
from collections.abc import Iterable, Mapping
from copy import copy
from dataclasses import dataclass
from decimal import Context, Decimal, DivisionByZero, InvalidOperation, Overflow, localcontext
from typing import Self

from msgspec import structs

from piker.accounts import Entry, Fees, Position
from piker.orders import Execution

ZERO = Decimal(0)
FINEST = Decimal("1E-30")
"""Every number is a multiple of it, and so is what is left of a cost after a partial close."""
LIMIT = Decimal("1E+20")
"""Every number is below it."""

_WIDE = Context(prec=200, traps=[InvalidOperation, DivisionByZero, Overflow])
"""Size * price * multiplier is a multiple of 1E-90 below 1E+60: its sums are exact in this."""
_AVERAGE = Context(prec=28)

SPAN = 256
"""Entries between two kept sums, so that a late entry costs what came after it, not all."""


def open_profit(position: Position, price: Decimal) -> Decimal:
    """What closing it all at a price would add to `realised`, in its currency, before fees."""
    _checked("a price", price)
    with localcontext(_WIDE):
        worth = (position.size - position.unpriced) * price * position.multiplier
        return _plain(position.cash_flow + worth - position.realised)


class MarketLedger:
    """The entries of one account in one market, in the order of time, then of arrival.

    `base` says which: the position before all entries, flat or what earlier ones added up to. Those
    are not known here: to repeat or correct one, sum anew from a base before it.
    """

    def __init__(self, base: Position) -> None:
        _check_base(base)
        self.base = base
        """Before all entries."""
        self._places: dict[tuple[str, str], tuple[int, int]] = {}
        self._entries: list[tuple[int, int, Entry]] = []
        self._sum = _Sum.of(base)
        self._summed = 0
        self._kept = [copy(self._sum)]

    def add(self, entry: Entry) -> bool:
        """Takes an entry, or a correction in its stead; whether it changed what is held here.

        ValueError, and nothing is changed: one of another market, with a number that is none, or
        with the id and revision of a known one and another content.
        """
        _check(entry, self.base.market)
        place = self._places.get(_key(entry))
        if place is None:
            self._insert(entry, len(self._places))
            return True
        index = bisect_left(self._entries, place)
        if not _corrects(entry, self._entries[index][2]):
            return False
        self._forget(index)
        del self._entries[index]
        self._insert(entry, place[1])
        return True

    def has(self, entry: Entry) -> bool:
        """Whether it is here already, or a later revision of it."""
        place = self._places.get(_key(entry))
        if place is None:
            return False
        known = self._entries[bisect_left(self._entries, place)][2]
        return known.revision >= entry.revision

    def entries(self) -> list[Entry]:
        """What it has taken since its base, in the order of time."""
        return [entry for _, _, entry in self._entries]

    def _insert(self, entry: Entry, arrival: int) -> None:
        place = entry.time_ns, arrival
        self._places[_key(entry)] = place
        self._forget(bisect_left(self._entries, place))
        insort(self._entries, (*place, entry))

    def position(self) -> Position:
        """What all entries add up to."""
        with localcontext(_WIDE):
            while self._summed < len(self._entries):
                self._sum.take(self._entries[self._summed][2])
                self._summed += 1
                if self._summed % SPAN == 0:
                    self._kept.append(copy(self._sum))
            return self._sum.position(self.base)

    def _forget(self, index: int) -> None:
        """Goes back to a sum from before the entry at an index."""
        if index < self._summed:
            del self._kept[index // SPAN + 1 :]
            self._sum = copy(self._kept[-1])
            self._summed = SPAN * (len(self._kept) - 1)


def position_of(base: Position, entries: Iterable[Entry]) -> Position:
    """What entries, in the order of their arrival, add up to, on a position before them.

    The same as a `MarketLedger` that took them, with the same errors.
    """
    _check_base(base)
    newest: dict[tuple[str, str], Entry] = {}
    for entry in entries:
        _check(entry, base.market)
        known = newest.get(_key(entry))
        if known is None or _corrects(entry, known):
            newest[_key(entry)] = entry
    total = _Sum.of(base)
    with localcontext(_WIDE):
        for entry in sorted(newest.values(), key=lambda entry: entry.time_ns):
            total.take(entry)
        return total.position(base)


@dataclass
class _Sum:
    """What entries add up to. Sizes are signed; cost and cash are price * size, no multiplier.

    `priced` and `unpriced` are never on different sides. `cost` is what was paid for `priced`.
    """

    priced: Decimal
    unpriced: Decimal
    cost: Decimal
    cash: Decimal
    fees: Mapping[str, Decimal]
    """By currency. Never changed in place: copies share it."""

    @classmethod
    def of(cls, base: Position) -> Self:
        """What a position is the sum of. No digit is lost: they were multiplied before."""
        with localcontext(_WIDE):
            cash = base.cash_flow / base.multiplier
            cost = base.realised / base.multiplier - cash
            return cls(
                base.size - base.unpriced,
                base.unpriced,
                cost,
                cash,
                {each.currency: each.paid for each in base.fees},
            )

    def take(self, entry: Entry) -> None:
        if isinstance(entry, Execution):
            self._move(entry.size if entry.side == "buy" else -entry.size, entry.price)
            paid = self.fees.get(entry.fee_currency, ZERO) + entry.fee
            self.fees = {**self.fees, entry.fee_currency: paid}
        elif entry.kind == "corporate" and entry.price is None and self._stays(entry.size):
            self._spread(entry.size)
        else:
            self._move(entry.size, entry.price)

    def _move(self, size: Decimal, price: Decimal | None) -> None:
        """Closes what is unpriced, then what is priced, then opens the rest."""
        closed = _closing(self.unpriced, size)
        self.unpriced += closed
        size -= closed
        closed = _closing(self.priced, size)
        released = self._release(closed)
        if price is None:
            self.cash += released
            self.unpriced += size - closed
        else:
            self.cash -= size * price
            self.priced += size - closed
            self.cost += (size - closed) * price

    def _release(self, closed: Decimal) -> Decimal:
        """Takes a part out of `priced`, and its share out of the cost. Gives the share."""
        if not closed:
            return ZERO
        left = self.priced + closed
        kept = (self.cost * left / self.priced).quantize(FINEST) if left else ZERO
        released = self.cost - kept
        self.priced = left
        self.cost = kept
        return released

    def _stays(self, size: Decimal) -> bool:
        held = self.priced + self.unpriced
        return held * (held + size) > 0

    def _spread(self, size: Decimal) -> None:
        held = self.priced + self.unpriced
        self.unpriced = (self.unpriced * (held + size) / held).quantize(FINEST)
        self.priced = held + size - self.unpriced

    def position(self, base: Position) -> Position:
        average = _AVERAGE.divide(self.cost, self.priced) if self.priced else None
        return structs.replace(
            base,
            size=_plain(self.priced + self.unpriced),
            unpriced=_plain(self.unpriced),
            average_price=None if average is None else _plain(average),
            realised=_plain((self.cash + self.cost) * base.multiplier),
            cash_flow=_plain(self.cash * base.multiplier),
            fees=tuple(
                Fees(name, _plain(paid)) for name, paid in sorted(self.fees.items()) if paid
            ),
        )


def _closing(held: Decimal, size: Decimal) -> Decimal:
    """The part of a signed size that brings what is held towards zero."""
    if held > 0:
        return max(-held, min(size, ZERO))
    return min(-held, max(size, ZERO))


def _plain(value: Decimal) -> Decimal:
    """The same number without trailing zeros or an exponent above 0."""
    return value.quantize(Decimal(1)) if value == value.to_integral_value() else value.normalize()


def _key(entry: Entry) -> tuple[str, str]:
    if isinstance(entry, Execution):
        return "execution", entry.exec_id
    return "adjustment", entry.adjustment_id


def _corrects(entry: Entry, known: Entry) -> bool:
    """Whether an entry is a later revision of a known one with its id."""
    if entry.revision != known.revision:
        return entry.revision > known.revision
    if entry != known:
        raise ValueError(f"expected {known} again, was {entry}")
    return False


def _check_base(base: Position) -> None:
    if not _checked("a multiplier", base.multiplier) > 0:
        raise ValueError(f"expected a multiplier above 0, was {base.multiplier}")


def _check(entry: Entry, market: str) -> None:
    if entry.market != market:
        raise ValueError(f"expected an entry of {market}, was of {entry.market}: {entry}")
    name = " ".join(_key(entry))
    _checked(f"a size of {name}", entry.size)
    if entry.price is not None:
        _checked(f"a price of {name}", entry.price)
    if isinstance(entry, Execution):
        _checked(f"a fee of {name}", entry.fee)
        if entry.size < 0:
            raise ValueError(f"expected a size of {name} of 0 or more, was {entry.size}")


def _checked(what: str, value: Decimal) -> Decimal:
    fits = value.is_finite() and value.copy_abs() < LIMIT
    if not fits or value.quantize(FINEST, context=_WIDE) != value:
        raise ValueError(f"expected {what} below {LIMIT} in steps of {FINEST}, was {value}")
    return value
