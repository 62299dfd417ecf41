"""The contract between the daemons and a provider, and how a provider is found.

A provider is a package: `piker.brokers.NAME`, or one that an entry point of the group
`piker.brokers` names. Its `__init__` holds a `PROVIDER` and imports nothing that only one daemon
needs; each endpoint is named as "module:function" and loaded by the daemon that asks for its kind.

The endpoints of the `datad` kind:

- `open_venue(settings)` (async context manager, needed): gives what the other endpoints share for
  the daemon's life, a connection perhaps, or records. It need not be connected when it is given.
  What a person set wrong leaves it as Refused(BrokenConfiguration).
- `get_mkt_info(venue, name) -> Market` (async, needed): by any name, in any case, with or without
  the provider's suffix. Refused(NoSuchMarket | AmbiguousMarket), or VenueLost, leaves it.
- `stream_quotes(venue, wanted, batches)` (async, needed): follows `wanted`, sends batches of
  FeedEvents, runs until cancelled. Every market is `Subscribed` before its first quote in a
  session. VenueLost, alone or in a group, ends the session; datad opens the next, with back-off.
- `open_symbol_search(venue)` (async context manager) gives an async function
  `(pattern, limit) -> tuple[Match, ...]`, best first.

The endpoints of the `brokerd` kind:

- `open_trade_dialog(settings, credentials, hear)` (async context manager, needed): gives a
  TradeDialog and keeps it connected, with back-off, while it is open. It need not be connected when
  it is given. `hear` is called, never awaited, with a Link whenever the link comes up or is lost
  and with each Told, in the venue's order. Refused(CredentialRefused | BrokenConfiguration) leaves
  it.
"""

import importlib
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any, Literal, Protocol

import trio
from msgspec import Struct

from piker.core.fees import FREE, FeeSchedule
from piker.errors import Refused
from piker.interfaces.broker import (
    Amend,
    Cancel,
    CancelAll,
    Link,
    Place,
    SnapshotReply,
    Told,
)
from piker.interfaces.data import Match
from piker.interfaces.service import BrokenProvider, UnknownProvider
from piker.markets import Market
from piker.quotes import Quote

DaemonKind = Literal["datad", "brokerd"]

BUILT_IN = ("replay", "sim")


class Settings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a person may set for a provider in piker.toml; a provider derives its own."""


class Subscribed(Struct, frozen=True, kw_only=True):
    """The venue now sends this market, or its sessions have changed."""

    market: Market


class Dropped(Struct, frozen=True, kw_only=True):
    """The venue refuses or has ended this one market; the others go on."""

    market: str
    reason: str


FeedEvent = Quote | Subscribed | Dropped
Batch = Sequence[FeedEvent]


class VenueLost(Exception):
    """The session with the venue is over; the text says why."""


class Wanted:
    """The markets that a feed should follow: a desired state, not a list of commands."""

    def __init__(self) -> None:
        self.seen: frozenset[Market] = frozenset()
        """What the feed was told when it last looked: it follows that, or is about to."""
        self._markets: frozenset[Market] = frozenset()
        self._changed = trio.Event()

    @property
    def markets(self) -> frozenset[Market]:
        """What is wanted now."""
        return self._markets

    def look(self) -> frozenset[Market]:
        """What is wanted now; for the feed, which then follows that."""
        self.seen = self._markets
        return self.seen

    def set(self, markets: frozenset[Market]) -> None:
        """Say what is wanted from now on."""
        if markets != self._markets:
            self._markets = markets
            self._changed.set()
            self._changed = trio.Event()

    async def changed(self) -> None:
        """Wait until something else is wanted than when the feed last looked."""
        while self._markets == self.seen:
            await self._changed.wait()


class Batches(Protocol):
    """Where a feed puts what the venue says; one end of a memory channel will do."""

    async def send(self, batch: Batch, /) -> None:
        """Pass a batch on. It is taken at once, before this returns."""


class StreamQuotes(Protocol):
    """The endpoint `stream_quotes`."""

    async def __call__(self, venue: Any, wanted: Wanted, batches: Batches) -> None:
        """One session of the feed."""


Heard = Link | Told
Hear = Callable[[Heard], None]


class TradeDialog(Protocol):
    """Order control at a venue, for one daemon's life. It queues nothing for later.

    `place`, `amend` and `cancel` return when the request is on its way: what comes of it is heard.
    They, and the others, raise Refused with a fault of piker.Broker only if nothing of the call has
    reached the venue; NotConnected while the link is down. If it breaks in the middle they return:
    that is heard, and the outcome is not known.
    """

    live: bool
    """Real money."""
    absence_proves: bool
    """An order that no list of the venue has is not there."""
    accounts: tuple[str, ...]
    """Whole names, known from the start."""
    link: Link
    """As it was last heard."""

    async def place(self, order: Place) -> None:
        """Hand an order over."""

    async def amend(self, order: Amend) -> None:
        """Ask for another total or limit."""

    async def cancel(self, order: Cancel) -> None:
        """Cancel an order by its reference and by each id."""

    async def cancel_all(self, call: CancelAll) -> tuple[str, ...]:
        """Cancel what is open; gives the venue's ids of it."""

    async def snapshot(self, since_ns: int) -> SnapshotReply:
        """What the venue holds: all that was placed before is in it, and was heard before."""


Find = Callable[[str, int], Awaitable[tuple[Match, ...]]]


@dataclass(frozen=True)
class Limits:
    """What a provider can bear."""

    markets: int = 100_000


@dataclass(frozen=True)
class Provider:
    """A provider's declaration.

    `runs_ahead`: its ticks may be stamped ahead of the wall clock, as when a recording plays
    faster than it was made; a market's time is then that of its newest tick. `fees`: what a paper
    order in its markets costs, unless the configuration says otherwise. `credentials`: names of
    what brokerd is to be handed; its units load `token`, others need drop-ins that do.
    """

    name: str
    doc: str
    endpoints: Mapping[DaemonKind, Mapping[str, str]]
    settings: type[Settings] = Settings
    limits: Limits = field(default_factory=Limits)
    credentials: tuple[str, ...] = ()
    runs_ahead: bool = False
    fees: FeeSchedule = FREE


def known() -> tuple[str, ...]:
    """Names of the providers that are installed."""
    return tuple(sorted({*BUILT_IN, *(entry.name for entry in _entries())}))


@cache
def load(name: str) -> Provider:
    """The declaration of a provider.

    Raises Refused(UnknownProvider) or Refused(BrokenProvider).
    """
    if name not in known():
        raise Refused(UnknownProvider(provider=name, known=known()))
    try:
        if name in BUILT_IN:
            package = importlib.import_module(f"piker.brokers.{name}")
        else:
            package = next(entry for entry in _entries() if entry.name == name).load()
        provider = package.PROVIDER
    except Exception as error:
        raise Refused(BrokenProvider(provider=name, reason=_reason(error))) from error
    if not isinstance(provider, Provider):
        reason = f"expected PROVIDER to be a Provider, was {type(provider).__name__}"
        raise Refused(BrokenProvider(provider=name, reason=reason))
    return provider


def get_eps(provider: Provider, kind: DaemonKind) -> dict[str, Any]:
    """The endpoints that a provider supports for one kind of daemon, loaded, by name.

    Raises Refused(BrokenProvider).
    """
    loaded = {}
    for name, where in provider.endpoints.get(kind, {}).items():
        module, _, function = where.partition(":")
        try:
            loaded[name] = getattr(importlib.import_module(module), function)
        except Exception as error:
            reason = f"{name} ({where}): {_reason(error)}"
            raise Refused(BrokenProvider(provider=provider.name, reason=reason)) from error
    return loaded


def _entries() -> tuple[Any, ...]:
    # here, since it takes 20 ms that who asks of no provider need not wait for
    from importlib.metadata import entry_points

    return tuple(entry_points(group="piker.brokers"))


def _reason(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"
