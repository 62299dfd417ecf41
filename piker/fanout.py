"""Sends what markets say to all who watch them. The feed never waits for a watcher.

A quote is encoded once. What is pending is joined into one reply, the same bytes for all watchers
of the same markets, and sent at once to each that has room. One that has none lags: what comes
waits in its own outbox, and its own task sends it when there is room again.
"""

from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple, Protocol

import msgspec
import trio

from piker.core.conflation import Outbox
from piker.errors import Refused
from piker.interfaces.data import TooSlow, WatchReply
from piker.markets import MarketState
from piker.quotes import Quote
from piker.transport import Connection, HungUp
from piker.varlink import encode_reply

JOIN_QUOTES = 64
"""Quotes joined into one reply: measured as the best compromise."""
EVERY_BYTES = 64 * 1024 * 1024
"""Bytes that may wait for a watcher of every tick, shared with the others of its markets; past it
the watcher is told TooSlow and closed."""

SEND_BYTES = 64 * 1024
"""Waiting replies are sent together up to about this, a third of what a socket holds."""
TELL_S = 10.0
"""How long a watcher that is too slow has to read that it is."""

_encode = msgspec.json.Encoder().encode

_HEAD, _TAIL = b'{"parameters":{"quotes":[', b']},"continues":true}\0'


class Joined(NamedTuple):
    """Quotes joined into one reply."""

    quotes: Sequence[Quote]
    reply: bytes
    ticks: int


class _Waiting(Protocol):
    """What is on its way to a watcher that lags."""

    @property
    def overflown(self) -> bool: ...
    @property
    def ticks(self) -> int: ...
    def __bool__(self) -> bool: ...
    def put(self, joined: "Joined") -> None: ...
    def put_state(self, state: MarketState) -> None: ...
    def next(self) -> bytes: ...


class _Conflated:
    """For a watcher that wants to know how it stands: what newer ticks replace goes."""

    def __init__(self) -> None:
        self._outbox = Outbox()

    @property
    def overflown(self) -> bool:
        return self._outbox.overflown

    @property
    def ticks(self) -> int:
        return self._outbox.ticks

    def __bool__(self) -> bool:
        return bool(self._outbox)

    def put(self, joined: Joined) -> None:
        self._outbox.put(joined.quotes)

    def put_state(self, state: MarketState) -> None:
        self._outbox.put_state(state)

    def next(self) -> bytes:
        quotes, states = self._outbox.drain()
        return encode_reply(WatchReply(quotes=quotes, states=states), continues=True)


class _Every:
    """For a watcher that wants every tick: the replies as they are, shared with other watchers."""

    def __init__(self) -> None:
        self._replies: deque[tuple[bytes, int]] = deque()
        self._bytes = 0
        self.ticks = 0

    @property
    def overflown(self) -> bool:
        return self._bytes > EVERY_BYTES

    def __bool__(self) -> bool:
        return bool(self._replies)

    def put(self, joined: Joined) -> None:
        self._add(joined.reply, joined.ticks)

    def put_state(self, state: MarketState) -> None:
        self._add(_state_reply(state), 0)

    def _add(self, reply: bytes, ticks: int) -> None:
        self._replies.append((reply, ticks))
        self._bytes += len(reply)
        self.ticks += ticks

    def next(self) -> bytes:
        """As many replies as one send takes."""
        taken: list[bytes] = []
        size = 0
        while self._replies and size < SEND_BYTES:
            reply, ticks = self._replies.popleft()
            taken.append(reply)
            size += len(reply)
            self.ticks -= ticks
        self._bytes -= size
        return b"".join(taken)


class Watcher:
    """One Watch stream. `run` is its task; the fanout sends past it while it keeps up."""

    def __init__(
        self, connection: Connection, *, every: bool = False, max_rate_hz: float | None = None
    ) -> None:
        self.lags = True
        self._connection = connection
        self._waiting: _Waiting = _Every() if every else _Conflated()
        self._pause_s = 1 / max_rate_hz if max_rate_hz else 0.0
        self._rest = memoryview(b"")
        self._wake = trio.Event()
        self._lost = 0
        self._patience = trio.CancelScope()

    async def run(self, first: bytes) -> None:
        """Send `first`, then what waits, until cancelled. Raises HungUp, or Refused(TooSlow)."""
        with self._patience:
            await self._send_waiting(first)
        raise HungUp("it did not even read that it is too slow")

    async def _send_waiting(self, first: bytes) -> None:
        await self._connection.send(first)
        due = trio.current_time()
        while True:
            await self._connection.send_rest(self._rest)
            self._rest = memoryview(b"")
            if self._lost:
                raise Refused(TooSlow(lost=self._lost))
            if not self._waiting:
                await self._keep_up()
                continue
            if self._pause_s:
                await trio.sleep_until(due)
                due = trio.current_time() + self._pause_s
            await self._connection.send(self._waiting.next())

    async def _keep_up(self) -> None:
        """Nothing waits: let the fanout send, until there is something that it could not."""
        self._wake = trio.Event()
        self.lags = bool(self._pause_s)
        await self._wake.wait()

    def send(self, joined: Joined) -> None:
        """Send a reply now, or have it wait."""
        if not self.lags:
            self._try(joined.reply)
        elif not self._lost:
            self._waiting.put(joined)
            self._bound()

    def send_state(self, state: MarketState) -> None:
        """Send a change of state now, or have it wait."""
        if not self.lags:
            self._try(_state_reply(state))
        elif not self._lost:
            self._waiting.put_state(state)
            self._bound()

    def _try(self, reply: bytes) -> None:
        try:
            sent = self._connection.try_send(reply)
        except HungUp:
            sent = 0  # its own task meets the same, and ends the conversation
        if sent < len(reply):
            self._rest = memoryview(reply)[sent:]
            self.lags = True
            self._wake.set()

    def _bound(self) -> None:
        self._wake.set()
        if self._waiting.overflown:
            self._lost = self._waiting.ticks
            self._patience.deadline = trio.current_time() + TELL_S
            self._waiting = _Every()


class Fanout:
    """All watchers, by the markets that they watch."""

    def __init__(self) -> None:
        self.ticks = 0
        self._groups: dict[frozenset[str], _Group] = {}
        self._by_market: dict[str, list[_Group]] = {}
        self._dirty: list[_Group] = []

    def __len__(self) -> int:
        return sum(len(group.watchers) for group in self._groups.values())

    @contextmanager
    def joined(self, watcher: Watcher, markets: frozenset[str]) -> Iterator[None]:
        """Send a watcher what these markets say from now on, as long as the context is open."""
        self.flush()
        group = self._groups.get(markets) or self._add(markets)
        group.watchers.append(watcher)
        try:
            yield
        finally:
            group.watchers.remove(watcher)
            if not group.watchers:
                self._drop(markets)

    def publish(self, quote: Quote) -> None:
        """Have a quote sent by the next `flush`, or when enough are pending."""
        self.ticks += len(quote.ticks)
        groups = self._by_market.get(quote.market)
        if not groups:
            return
        encoded = _encode(quote)
        for group in groups:
            if not group.quotes:
                self._dirty.append(group)
            group.quotes.append(quote)
            group.encoded.append(encoded)
            if len(group.quotes) == JOIN_QUOTES:
                group.flush()
                self._dirty.remove(group)

    def publish_state(self, state: MarketState) -> None:
        """Send a change of state, after what is pending."""
        self.flush()
        for group in self._by_market.get(state.market, ()):
            for watcher in group.watchers:
                watcher.send_state(state)

    def flush(self) -> None:
        """Send what is pending."""
        for group in self._dirty:
            group.flush()
        self._dirty.clear()

    def _add(self, markets: frozenset[str]) -> "_Group":
        group = self._groups[markets] = _Group()
        for market in markets:
            self._by_market.setdefault(market, []).append(group)
        return group

    def _drop(self, markets: frozenset[str]) -> None:
        group = self._groups.pop(markets)
        if group in self._dirty:
            self._dirty.remove(group)
        for market in markets:
            self._by_market[market].remove(group)


class _Group:
    """Watchers of the same markets, and what is pending for all of them."""

    def __init__(self) -> None:
        self.watchers: list[Watcher] = []
        self.quotes: list[Quote] = []
        self.encoded: list[bytes] = []

    def flush(self) -> None:
        if not self.quotes:
            return
        joined = Joined(
            quotes=self.quotes,
            reply=b"%b%b%b" % (_HEAD, b",".join(self.encoded), _TAIL),
            ticks=sum([len(quote.ticks) for quote in self.quotes]),
        )
        self.quotes, self.encoded = [], []
        for watcher in self.watchers:
            watcher.send(joined)


def _state_reply(state: MarketState) -> bytes:
    return encode_reply(WatchReply(states=(state,)), continues=True)
