"""piker.Service: how a daemon is, and why it can't work if it can't."""

from typing import Annotated, Literal

from msgspec import Meta, Struct

from piker.errors import Fault
from piker.interfaces import Call, Interface, Method, Reply


class Component(Struct, frozen=True, kw_only=True):
    """One part of a daemon, in a line."""

    name: Annotated[str, Meta(description="the part")]
    state: Annotated[str, Meta(description="one word")]
    detail: Annotated[str, Meta(description="a line for people")] = ""


class Counter(Struct, frozen=True, kw_only=True):
    """How often something happened since the start, or how many there are."""

    name: Annotated[str, Meta(description="what is counted")]
    value: Annotated[int, Meta(description="the count")]


class Health(Call, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How the daemon is; with "more" again at every change. Does not keep an idle daemon alive."""


class HealthReply(Reply, frozen=True, kw_only=True):
    """How the daemon is."""

    state: Annotated[
        Literal["running", "degraded", "failed", "stopping"],
        Meta(description="failed: it answers calls only with the reason"),
    ]
    since_ns: Annotated[int, Meta(description="when this state began, UTC ns")]
    status: Annotated[str, Meta(description="the line that systemctl status shows")]
    components: Annotated[tuple[Component, ...], Meta(description="its parts")] = ()
    counters: Annotated[tuple[Counter, ...], Meta(description="its counts")] = ()


class UnknownProvider(Fault, frozen=True, kw_only=True):
    """No such provider is installed."""

    provider: Annotated[str, Meta(description="the name asked for")]
    known: Annotated[tuple[str, ...], Meta(description="those that are installed")]


class BrokenProvider(Fault, frozen=True, kw_only=True):
    """The provider's package can't be used."""

    provider: Annotated[str, Meta(description="its name")]
    reason: Annotated[str, Meta(description="what went wrong")]


class BrokenConfiguration(Fault, frozen=True, kw_only=True):
    """The configuration can't be used."""

    file: Annotated[str, Meta(description="path of the file")]
    line: Annotated[int | None, Meta(description="line in it, from 1; null: not known")] = None
    key: Annotated[str, Meta(description="the key, dotted; empty: the whole file")]
    problem: Annotated[str, Meta(description="what was expected and what was there")]


class WrongClock(Fault, frozen=True, kw_only=True):
    """The machine's clock is not set; as soon as it is, the daemon starts anew."""

    now_ns: Annotated[int, Meta(description="what it says, UTC ns")]
    earliest_ns: Annotated[int, Meta(description="it can't be before this, UTC ns")]


SERVICE = Interface(
    "piker.Service",
    "How a daemon is, and why it can't work if it can't.",
    (Method("Health", Health, HealthReply, "either"),),
    (UnknownProvider, BrokenProvider, BrokenConfiguration, WrongClock),
)
