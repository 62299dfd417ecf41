"""From what a gateway says of one market to its ticks.

    tickPrice  1 bid   2 ask   4 last        66   67   68  the same, delayed
    tickSize   0       3       5             69   70   71  their sizes
    tickString 45, 88  when the last trade was, in seconds
    tickString 48      RTVolume, of each trade: `price;size;milliseconds;volume;average;single`

(https://interactivebrokers.github.io/tws-api/tick_types.html)

**Price and size.** A price comes with its size and the size comes again by itself: that is one
tick. Where the price has none, the size that follows it at once belongs to it. A size that differs
is a tick at the price that is shown. What is as it was shown before is a repeat, and no tick.

**Trades.** Each RTVolume is one, and from the first on, the last price and its size repeat them. A
market that has none (an index, delayed data) trades whenever its last price or size change. The
first last price of a stream with sizes was a trade before it began: it is shown again whenever a
stream begins, and is no tick, since it would count as one of now.

**Time.** `time_ns` is the venue's where it gives one: RTVolume's, or that of the last trade if
it came together with it; one that is ahead of ours by more than AHEAD_NS isn't believed. Else it is
ours, the wall clock. It never goes back within a kind, but with our clock, if that was set back.

A price up to 0 without a size says that there is none, mostly as -1; futures do trade below 0.
"""

from math import isfinite

from piker.brokers.ib.messages import Price, Size, Text
from piker.markets import Market
from piker.quotes import Kind, Tick

PRICES: dict[int, Kind] = {1: "bid", 2: "ask", 4: "trade", 66: "bid", 67: "ask", 68: "trade"}
SIZES: dict[int, Kind] = {0: "bid", 3: "ask", 5: "trade", 69: "bid", 70: "ask", 71: "trade"}
TRADED_AT = {45, 88}
RT_VOLUME = 48
DELAYED = {*range(66, 77), 88}
"""Fields of data that is late, whatever else was said of it."""
UNSET = 1e300
"""No number is so great, but for the one that the gateway writes where there is none."""
SECOND_NS, MILLISECOND_NS = 1_000_000_000, 1_000_000
AHEAD_NS = 60 * SECOND_NS


def is_delayed(said: Price | Size | Text) -> bool:
    """Whether it is of a while ago."""
    return said.field in DELAYED


class _Change:
    """A tick that may still get its size or its time from the next word."""

    def __init__(
        self,
        kind: Kind,
        price: float,
        size: float | None,
        time_ns: int,
        wall_ns: int,
        seen_ns: int,
    ) -> None:
        self.kind = kind
        self.price = price
        self.size = size
        self.time_ns = time_ns
        self.wall_ns = wall_ns
        self.seen_ns = seen_ns


class Ticker:
    """One market's words, in the gateway's order, to ticks. Times come in.

    What it remembers of them is what is shown now, and what `flush` has not given yet.
    """

    def __init__(self, market: Market) -> None:
        self._sized = market.has_volume
        self._kinds = {
            kind
            for kind, has in (
                ("bid", market.has_bid),
                ("ask", market.has_ask),
                ("trade", market.has_trades),
            )
            if has
        }
        self.delayed = False
        """What comes is of another type of data than live."""
        self._newest_ns: dict[Kind, int] = {}
        self._ticks: list[Tick] = []
        self.begin()

    def begin(self) -> None:
        """A stream begins: what the one before it showed is void."""
        self._shown: dict[Kind, tuple[float, float | None]] = {}
        self._change: _Change | None = None
        self._traded_ns = 0
        """When the last trade was, if that was said since the last `flush`."""
        self._by_volume = False
        """There are words of each trade."""

    @property
    def waiting(self) -> int:
        """How many ticks there are to `flush`, but for one."""
        return len(self._ticks)

    def take(self, said: Price | Size | Text, wall_ns: int, boot_ns: int) -> None:
        """One more word; others than those above change nothing."""
        match said:
            case Price(field=field, price=price, size=size) if field in PRICES:
                self._take_price(PRICES[field], price, size, wall_ns, boot_ns)
            case Size(field=field, size=size) if field in SIZES:
                self._take_size(SIZES[field], size, wall_ns, boot_ns)
            case Text(field=field, text=text) if field in TRADED_AT:
                self._take_time(text, wall_ns)
            case Text(field=field, text=text) if field == RT_VOLUME:
                self._take_trade(text, wall_ns, boot_ns)

    def flush(self) -> tuple[Tick, ...]:
        """The ticks since the last time. What comes later is another change."""
        self._close()
        self._traded_ns = 0
        ticks, self._ticks = tuple(self._ticks), []
        return ticks

    def _take_price(
        self, kind: Kind, price: float, size: float, wall_ns: int, boot_ns: int
    ) -> None:
        if kind not in self._kinds:
            return
        if not _is_price(price, size):
            self._shown.pop(kind, None)
            return
        before, now = self._shown.get(kind), (price, _size(size))
        if kind == "trade" and not self._sized:
            now = (price, None)
        self._shown[kind] = now
        if now != before and not (kind == "trade" and self._sized and before is None):
            self._open(kind, *now, wall_ns, boot_ns)

    def _take_size(self, kind: Kind, size: float, wall_ns: int, boot_ns: int) -> None:
        if kind not in self._shown or not _size(size) or (kind == "trade" and not self._sized):
            return
        price, before = self._shown[kind]
        self._shown[kind] = (price, size)
        if size == before:
            return
        if self._change and self._change.kind == kind and self._change.size is None:
            self._change.size = size
        elif kind != "trade" or before is not None:
            self._open(kind, price, size, wall_ns, boot_ns)

    def _take_time(self, text: str, wall_ns: int) -> None:
        time_ns = _time_ns(text, SECOND_NS)
        if not 0 < time_ns <= wall_ns + AHEAD_NS:
            return
        self._traded_ns = time_ns
        if self._change and self._change.kind == "trade":
            self._change.time_ns = self._traded_ns

    def _take_trade(self, text: str, wall_ns: int, boot_ns: int) -> None:
        """RTVolume: `190.5;3;1800000000123;41000000;190.2;true`; without a price it is no trade."""
        words = text.split(";")
        price, size = _number(words[0]), _number("".join(words[1:2]))
        if "trade" not in self._kinds or not _size(size) or not _is_price(price, size):
            return
        if not self._by_volume and self._change and self._change.kind == "trade":
            self._change = None  # the same trade, by its last price
        self._by_volume = True
        time_ns = _time_ns("".join(words[2:3]), MILLISECOND_NS)
        believed = 0 < time_ns <= wall_ns + AHEAD_NS
        self._close()
        time_ns = time_ns if believed else wall_ns
        self._change = _Change("trade", price, size, time_ns, wall_ns, boot_ns)
        self._close()

    def _open(
        self, kind: Kind, price: float, size: float | None, wall_ns: int, boot_ns: int
    ) -> None:
        """Something changed, and what changed before it is whole."""
        if kind == "trade" and self._by_volume:
            return
        self._close()
        time_ns = self._traded_ns if kind == "trade" and self._traded_ns else wall_ns
        self._change = _Change(kind, price, size, time_ns, wall_ns, boot_ns)

    def _close(self) -> None:
        if not self._change:
            return
        change, self._change = self._change, None
        newest_ns = self._newest_ns.get(change.kind, 0)
        believed = newest_ns <= change.wall_ns + AHEAD_NS
        time_ns = max(change.time_ns, newest_ns) if believed else change.time_ns
        self._newest_ns[change.kind] = time_ns
        self._ticks.append(
            Tick(
                kind=change.kind,
                price=change.price,
                size=change.size,
                time_ns=time_ns,
                seen_ns=change.seen_ns,
                delayed=self.delayed,
            )
        )


def _is_price(price: float, size: float) -> bool:
    return isfinite(price) and abs(price) < UNSET and (price > 0 or bool(_size(size)))


def _size(size: float) -> float | None:
    """A size that is one."""
    return size if isfinite(size) and 0 < size < UNSET else None


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return 0.0


def _time_ns(text: str, unit_ns: int) -> int:
    """A count of units since the epoch; 0 of what is none."""
    return int(text) * unit_ns if text.isdecimal() and len(text) < 20 else 0
