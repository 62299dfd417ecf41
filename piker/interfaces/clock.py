"""piker.Clock: the ends of bar periods, served by samplerd."""

from typing import Annotated

from msgspec import Meta

from piker.errors import Fault
from piker.interfaces import Call, Interface, Method, Reply


class Ticks(Call, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Every end of these periods, aligned to the wall clock (UTC)."""

    periods_s: Annotated[tuple[int, ...], Meta(description="periods, 1 to 86400 s")]


class TicksReply(Reply, frozen=True, kw_only=True):
    """A period has ended."""

    period_s: Annotated[int, Meta(description="length of the period, s")]
    time_ns: Annotated[int, Meta(description="its end, UTC ns")]
    missed: Annotated[
        int, Meta(description="ends before this one that were slept through: a stall or a suspend")
    ]


class UnknownPeriod(Fault, frozen=True, kw_only=True):
    """No clock ticks with this period."""

    period_s: Annotated[int, Meta(description="the period asked for, s")]
    allowed: Annotated[str, Meta(description="which periods there are")]


CLOCK = Interface(
    "piker.Clock",
    "The one clock: ends of bar periods, aligned to the wall clock.",
    (Method("Ticks", Ticks, TicksReply, "stream"),),
    (UnknownPeriod,),
)
