"""piker.Supervisor: what pikerd answers where no systemd manager does."""

from typing import Annotated

from msgspec import Meta, Struct

from piker.errors import Fault
from piker.interfaces import Call, Interface, Method, Reply


class Unit(Struct, frozen=True, kw_only=True):
    """One unit, in systemd's words."""

    unit: Annotated[str, Meta(description="its name: datad@replay.service")]
    description: Annotated[str, Meta(description="a line for people")]
    active: Annotated[str, Meta(description="active, activating, deactivating, inactive, failed")]
    sub: Annotated[str, Meta(description="running, listening, auto-restart, dead, …")]
    pid: Annotated[int | None, Meta(description="main process, if it runs")] = None
    memory_bytes: Annotated[int | None, Meta(description="what it uses, if that is known")] = None
    status: Annotated[str, Meta(description="the line it last gave of itself")] = ""
    restarts: Annotated[int, Meta(description="automatic restarts so far")] = 0


class Units(Call, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """All units; with "more" again at every change."""


class UnitsReply(Reply, frozen=True, kw_only=True):
    """All units."""

    units: Annotated[tuple[Unit, ...], Meta(description="by name")]


class Start(Call, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Start a unit and what it requires; answered when it is up."""

    unit: Annotated[str, Meta(description="its name")]


class Stop(Call, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Stop a unit; answered when it has ended."""

    unit: Annotated[str, Meta(description="its name")]


class Restart(Call, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Stop a unit, if it runs, and start it; answered when it is up."""

    unit: Annotated[str, Meta(description="its name")]


class Done(Reply, frozen=True, kw_only=True):
    """It is so."""


class NoSuchUnit(Fault, frozen=True, kw_only=True):
    """There is no such unit."""

    unit: Annotated[str, Meta(description="the name asked for")]


class UnitFailed(Fault, frozen=True, kw_only=True):
    """The unit did not come up."""

    unit: Annotated[str, Meta(description="its name")]
    reason: Annotated[str, Meta(description="what happened")]


SUPERVISOR = Interface(
    "piker.Supervisor",
    "Units and their states, where no systemd manager answers for them.",
    (
        Method("Units", Units, UnitsReply, "either"),
        Method("Start", Start, Done),
        Method("Stop", Stop, Done),
        Method("Restart", Restart, Done),
    ),
    (NoSuchUnit, UnitFailed),
)
