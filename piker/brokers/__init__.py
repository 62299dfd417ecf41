"""The contract between the daemons and a provider, and how a provider is found.

A provider is a package: `piker.brokers.NAME`, or one that an entry point of the group
`piker.brokers` names. Its `__init__` holds a `PROVIDER` and imports nothing that only one daemon
needs; each endpoint is named as "module:function" and loaded by the daemon that asks for its kind.

The endpoints of the `datad` kind:

- `open_venue(settings)` (async context manager, needed): gives what the other endpoints share for
  the daemon's life, a connection perhaps, or records. It need not be connected when it is given.
  What a person set wrong leaves it as Refused(BrokenConfiguration).
- `get_mkt_info(venue, name) -> Market` (async, needed): by any name, in any case, with or without
  the provider's suffix. VenueLost leaves it, or Refused(NoSuchMarket | AmbiguousMarket), or, of
  what can be no market's name, Refused(InvalidParameter), which says what could be.
- `stream_quotes(venue, wanted, batches)` (async, needed): follows `wanted`, sends batches of
  FeedEvents, runs until cancelled. Every market is `Subscribed` before its first quote in a
  session; `Missed` says that it goes on after something was lost. A tick that isn't of now is
  marked `delayed`. VenueLost, alone or in a group, ends the session; datad opens the next, with
  back-off. A feed that waits by itself for its venue says that it is `Away`, and goes on; one
  whose venue is there in part, that it is `Ailing`.
- `open_symbol_search(venue)` (async context manager) gives an async function
  `(pattern, limit) -> tuple[Match, ...]`, best first.
- `open_history_client(venue, market)` (async context manager) gives a HistoryClient, for questions
  about that market's past. It asks the venue nothing yet; VenueLost may leave it.

The endpoints of the `brokerd` kind:

- `open_trade_dialog(settings, credentials, hear)` (async context manager, needed): gives a
  TradeDialog and keeps it connected, with back-off, while it is open. It need not be connected when
  it is given. `hear` is called, never awaited, with a Link whenever the link comes up or is lost
  and with each Told, in the venue's order. Refused(CredentialRefused | BrokenConfiguration) leaves
  it.
- `check_settings(settings)`: looks at what a person set for orders, for `piker config check`.
  Refused(BrokenConfiguration) leaves it.

The endpoint of the `emsd` kind, whose module imports next to nothing. It is asked of the providers
that are piker's own: code of others doesn't run where all orders are.

- `known_accounts(settings)`: all accounts that there can be by what a person set, in a mapping of
  whole names: False, where that shows without the venue that it is no real money; else True. Empty:
  nothing shows. Refused(BrokenConfiguration) leaves it.

The endpoint of the `doctor` kind, for `piker doctor`:

- `examine(settings)` (async): what is found on the way to the venue, as piker.core.diagnosis has
  it, within ten seconds or so. It is given no credentials and starts nothing. OSError leaves it.
"""

import importlib
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any, Literal, Protocol

import trio
from msgspec import Struct

from piker.core.fees import FREE, FeeSchedule
from piker.core.pace import Pace
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
from piker.quotes import Bar, Quote

DaemonKind = Literal["datad", "brokerd", "emsd", "doctor"]

BUILT_IN = ("ib", "replay", "sim")


class Settings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a person may set for a provider in piker.toml; a provider derives its own."""


class Subscribed(Struct, frozen=True, kw_only=True):
    """The venue now sends this market, or its sessions have changed."""

    market: Market


class Dropped(Struct, frozen=True, kw_only=True):
    """The venue refuses or has ended this one market; the others go on."""

    market: str
    reason: str


class Away(Struct, frozen=True, kw_only=True):
    """The venue can't be had for now: none of its markets, until each is `Subscribed` again."""

    reason: str
    needs_login: bool = False
    """Somebody has to log in there, or to confirm a login."""


class Ailing(Struct, frozen=True, kw_only=True):
    """The venue is there, and not all of it works; empty: all does, as in a new session."""

    reason: str


class Missed(Struct, frozen=True, kw_only=True):
    """The venue sends this market anew, and has said of it what didn't come here in between."""

    market: str


FeedEvent = Quote | Subscribed | Dropped | Away | Ailing | Missed
Batch = Sequence[FeedEvent]


class VenueLost(Exception):
    """The session with the venue is over; the text says why."""


class Wanted:
    """The markets that a feed should follow: a desired state, not a list of commands."""

    def __init__(self) -> None:
        self.seen: frozenset[Market] = frozenset()
        """What the feed was told when it last looked: it follows that, or is about to."""
        self._markets: frozenset[Market] = frozenset()
        self._first: frozenset[str] = frozenset()
        self._seen_first: frozenset[str] = frozenset()
        self._changed = trio.Event()

    @property
    def markets(self) -> frozenset[Market]:
        """What is wanted now."""
        return self._markets

    @property
    def first(self) -> frozenset[str]:
        """Those that orders depend on, by fqme: they come first where not all can be followed."""
        return self._first

    def look(self) -> frozenset[Market]:
        """What is wanted now; for the feed, which then follows that."""
        self.seen, self._seen_first = self._markets, self._first
        return self.seen

    def set(self, markets: frozenset[Market], first: frozenset[str] = frozenset()) -> None:
        """Say what is wanted from now on."""
        if (markets, first) != (self._markets, self._first):
            self._markets, self._first = markets, first
            self._changed.set()
            self._changed = trio.Event()

    async def changed(self) -> None:
        """Wait until something else is wanted than when the feed last looked."""
        while (self._markets, self._first) == (self.seen, self._seen_first):
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


class Frame(Struct, frozen=True, kw_only=True):
    """All bars that a venue has of a stretch of a market's past; without bars nobody traded then.

    Each bar is whole and one of something that happened: what a venue makes up for a period without
    a tick is left out. `time_ns` is a bar's start.
    """

    from_ns: int
    """On a period; not before what was asked, and after it where the venue gave less."""
    to_ns: int
    """As asked."""
    bars: tuple[Bar, ...]
    """Oldest first, all within the stretch, each time once."""


class HistoryUnavailable(Exception):
    """The venue will not give this stretch, however often it is asked; the text says why.

    `first_ns`, UTC: it does from then on, where that is known. None: nobody knows, or never.
    """

    def __init__(self, reason: str, first_ns: int | None = None) -> None:
        super().__init__(reason)
        self.first_ns = first_ns


class HistoryThrottled(Exception):
    """The venue was asked too often; the text says of what. `pause_s`: ask again after so long."""

    def __init__(self, reason: str, pause_s: float) -> None:
        super().__init__(reason)
        self.pause_s = pause_s


class HistoryUnanswered(Exception):
    """There was no answer, in time or at all; the same question may have one later."""


class HistoryClient(Protocol):
    """A market's past, by stretches."""

    frames: Mapping[int, int]
    """The periods that the venue has, s, and the longest stretch of one frame of each, ns."""
    pace: Pace
    """How fast it may be asked; the same for all markets of a venue, which count together."""

    async def frame(self, period_s: int, from_ns: int, to_ns: int) -> Frame:
        """A stretch that begins and ends on a period and has ended, at most as long as `frames`.

        Whoever asks keeps the pace. Where the venue has more rules than that, this waits for them,
        however long. Raises HistoryUnavailable, HistoryThrottled,
        HistoryUnanswered or VenueLost: each is another answer than a frame without bars. Who is
        cancelled leaves nothing behind that could be taken for a later answer.
        """


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
