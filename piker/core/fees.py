"""What a paper order costs, by a provider's schedule."""

from decimal import Context, Decimal
from typing import Annotated

from msgspec import Meta, Struct

FINEST = Decimal("1E-8")
"""Fees are rounded to it; so are the parts of one that several fills share."""

_WIDE = Context(prec=60)


class FeeSchedule(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a venue takes of each order, in the market's currency. Nothing, if nothing is said."""

    per_unit: Annotated[Decimal, Meta(description="for each contract or unit")] = Decimal(0)
    pct: Annotated[Decimal, Meta(description="of the notional, per cent")] = Decimal(0)
    minimum: Annotated[Decimal, Meta(description="for an order of which anything is filled")] = (
        Decimal(0)
    )


FREE = FeeSchedule()


def fee(schedule: FeeSchedule, size: Decimal, notional: Decimal) -> Decimal:
    """What an order costs of which so much is filled: size times price times multiplier is its
    notional. A fill's own fee is what this grows by with it, so that a minimum is paid once.
    """
    if not size:
        return Decimal(0)
    by_size = _WIDE.multiply(schedule.per_unit, size)
    by_value = _WIDE.multiply(schedule.pct / 100, abs(notional))
    whole = max(_WIDE.add(by_size, by_value), schedule.minimum)
    return whole.quantize(FINEST, context=_WIDE).normalize(_WIDE)
