"""What every provider promises, judged on what it said. Each function gives complaints."""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import isfinite

from piker.brokers import Ailing, Away, DaemonKind, Dropped, FeedEvent, Frame, Provider, Subscribed
from piker.core.bars import NS
from piker.core.grid import grid_at
from piker.core.pace import Pace
from piker.core.periods import LONGEST_S
from piker.core.sessions import is_open
from piker.markets import Market
from piker.quotes import Kind, Quote, Tick

NEAR = 1e-4
"""Part of a tick that a price may be off its grid: floats round decimals."""


@dataclass(frozen=True)
class Heard:
    """What a feed said, between which instants of CLOCK_BOOTTIME; it began at `at_ns`, UTC."""

    events: Sequence[FeedEvent]
    wanted: frozenset[str]
    at_ns: int
    began_ns: int
    ended_ns: int

    @property
    def quotes(self) -> Iterator[Quote]:
        """The quotes among the events."""
        return (event for event in self.events if isinstance(event, Quote))

    @property
    def ticks(self) -> Iterator[tuple[str, Tick]]:
        """Every tick, with its market."""
        return ((quote.market, tick) for quote in self.quotes for tick in quote.ticks)


def declaration_is_sound(
    provider: Provider, endpoints: Mapping[DaemonKind, Sequence[str]]
) -> Iterator[str]:
    """What stands in PROVIDER; `endpoints` are those that daemons ask for."""
    if not re.fullmatch(r"[a-z][a-z0-9_]*", provider.name):
        yield f"expected a name in lower case letters and digits, was {provider.name!r}"
    if not provider.doc.strip():
        yield "expected a line about it in doc, was none"
    if provider.limits.markets < 1:
        yield f"expected a limit of at least 1 market, was {provider.limits.markets}"
    for kind, declared in provider.endpoints.items():
        for name in declared:
            if name not in endpoints.get(kind, ()):
                yield f"no {kind} asks for an endpoint {name}"


def market_is_sound(market: Market, provider: Provider) -> Iterator[str]:
    """Its name, its grids, its sessions."""
    if market.fqme != market.fqme.lower() or not market.fqme.endswith(f".{provider.name}"):
        yield f"expected fqme in lower case that ends in .{provider.name}, was {market.fqme}"
    steps = {"price_tick": market.price_tick, "size_tick": market.size_tick}
    bands = {f"price_bands {band.from_price}": band.price_tick for band in market.price_bands}
    for name, value in {**steps, **bands, "multiplier": market.multiplier}.items():
        if not value.is_finite() or value <= 0:
            yield f"expected {name} above 0, was {value}"
    if any(low.from_price >= high.from_price for low, high in pairwise(market.price_bands)):
        yield "expected price_bands from the lowest upwards"
    yield from _sessions_are_sound(market)


def _sessions_are_sound(market: Market) -> Iterator[str]:
    sessions = market.sessions or ()
    for session in sessions:
        if session.open_ns >= session.close_ns:
            yield f"expected a session that ends after it begins, was {session}"
    for before, after in pairwise(sessions):
        if after.open_ns < before.close_ns:
            yield f"expected sessions oldest first and apart, was {after} after {before}"


@dataclass(frozen=True)
class Given:
    """A frame, and what was asked for."""

    market: Market
    period_s: int
    from_ns: int
    to_ns: int
    frame: Frame


def frames_are_sound(frames: Mapping[int, int]) -> Iterator[str]:
    """Periods are of whole seconds, and a frame holds at least one of its period."""
    if not frames:
        yield "expected at least one period, were none"
    for period_s, longest_ns in frames.items():
        if not (isinstance(period_s, int) and period_s > 0):
            yield f"expected periods of whole seconds, was {period_s!r}"
        elif longest_ns < period_s * NS:
            yield f"expected a frame of at least {period_s} s, was {longest_ns / NS:g} s"


def pace_is_sound(pace: object) -> Iterator[str]:
    """It lets a question through, and each of its rates does, in some time."""
    if not isinstance(pace, Pace):
        yield f"expected pace to be a Pace, was {pace!r}"
        return
    if pace.at_once < 1:
        yield f"expected at least one question at once, was {pace.at_once}"
    for rate in pace.rates:
        if rate.questions < 1 or not 0 < rate.per_s <= LONGEST_S:
            yield (
                f"expected rates of at least 1 question in at most {LONGEST_S} s, "
                f"was {rate.questions} in {rate.per_s:g} s"
            )


def stretch_as_asked(given: Given) -> Iterator[str]:
    """A frame ends where was asked, and begins then or later, on a period."""
    frame = given.frame
    if frame.to_ns != given.to_ns:
        yield f"expected a frame that ends at {given.to_ns}, was {frame.to_ns}"
    if not given.from_ns <= frame.from_ns < given.to_ns:
        yield f"expected one from {given.from_ns} on, was from {frame.from_ns}"
    if frame.from_ns % (given.period_s * NS):
        yield f"expected it to begin on a period of {given.period_s} s, was {frame.from_ns}"


def bars_on_periods(given: Given) -> Iterator[str]:
    """A bar's time is the beginning of a period."""
    for bar in given.frame.bars:
        if bar.time_ns % (given.period_s * NS):
            yield f"expected a bar on a period of {given.period_s} s, was {bar.time_ns}"


def bars_in_order(given: Given) -> Iterator[str]:
    """Oldest first, each time once."""
    for before, after in pairwise(given.frame.bars):
        if after.time_ns <= before.time_ns:
            yield f"expected bars oldest first, was {after.time_ns} after {before.time_ns}"


def bars_inside(given: Given) -> Iterator[str]:
    """Whole, and within the frame."""
    last_ns = given.frame.to_ns - given.period_s * NS
    for bar in given.frame.bars:
        if not given.frame.from_ns <= bar.time_ns <= last_ns:
            yield f"expected a bar within its frame, was {bar.time_ns}"


def bars_are_sound(given: Given) -> Iterator[str]:
    """Prices are finite and within low and high; volumes not below 0; derived where mids are."""
    for bar in given.frame.bars:
        low, high = min(bar.open, bar.close), max(bar.open, bar.close)
        if not (isfinite(bar.high - bar.low) and bar.low <= low <= high <= bar.high):
            yield f"expected prices between low and high, was {bar}"
        if not (isfinite(bar.volume) and bar.volume >= 0 <= bar.trades):
            yield f"expected a volume and trades not below 0, was {bar}"
        if bar.derived is given.market.has_trades:
            yield f"expected derived to be {not given.market.has_trades}, was {bar}"


def subscribed_first(heard: Heard) -> Iterator[str]:
    """Every market is Subscribed before its first quote, and after it was Dropped, or all Away."""
    subscribed: set[str] = set()
    for event in heard.events:
        if isinstance(event, Subscribed):
            subscribed.add(event.market.fqme)
        elif isinstance(event, Dropped):
            subscribed.discard(event.market)
        elif isinstance(event, Away):
            subscribed.clear()
        elif isinstance(event, Quote) and event.market not in subscribed:
            yield f"a quote of {event.market} came, which was not Subscribed"


def only_wanted(heard: Heard) -> Iterator[str]:
    """No quote comes of what nobody wants."""
    for quote in heard.quotes:
        if quote.market not in heard.wanted:
            yield f"a quote of {quote.market} came, which was not wanted"


def numbers_are_sound(heard: Heard) -> Iterator[str]:
    """Prices and sizes are finite, sizes not below 0."""
    for market, tick in heard.ticks:
        if not isfinite(tick.price):
            yield f"expected a finite price, was {tick.price} in {market}"
        if tick.size is not None and not (isfinite(tick.size) and tick.size >= 0):
            yield f"expected a size not below 0, was {tick.size} in {market}"


def prices_on_grid(heard: Heard) -> Iterator[str]:
    """A price is on its market's grid."""
    markets = _markets(heard)
    for name, tick in heard.ticks:
        if name in markets and isfinite(tick.price):
            grid = grid_at(markets[name], tick.price)
            near, next_one = grid.step(tick.price, 0), grid.step(tick.price, 1)
            if abs(tick.price - near) > NEAR * (next_one - near):
                yield f"expected a price on the grid, {near}, was {tick.price} in {name}"


def times_go_on(heard: Heard) -> Iterator[str]:
    """Of a market and kind, no tick is before the one that came before it."""
    newest: dict[tuple[str, str], int] = {}
    for market, tick in heard.ticks:
        before_ns = newest.get((market, tick.kind), tick.time_ns)
        if tick.time_ns < before_ns:
            yield f"{tick.kind} of {market}: time_ns {tick.time_ns} came after {before_ns}"
        newest[market, tick.kind] = tick.time_ns


def seen_now(heard: Heard) -> Iterator[str]:
    """`seen_ns` is of CLOCK_BOOTTIME, when the provider had the tick."""
    for market, tick in heard.ticks:
        if not heard.began_ns <= tick.seen_ns <= heard.ended_ns:
            between = f"{heard.began_ns} to {heard.ended_ns}"
            yield f"expected seen_ns by CLOCK_BOOTTIME, {between}, was {tick.seen_ns} in {market}"


def answers(heard: Heard) -> Iterator[str]:
    """Every wanted market is Subscribed or Dropped."""
    for fqme in sorted(heard.wanted):
        if not any(_about(event) == fqme for event in heard.events):
            yield f"expected {fqme} to be Subscribed or Dropped, was neither"


def says_something(heard: Heard) -> Iterator[str]:
    """There are quotes, if any market trades."""
    trading = [
        fqme for fqme, market in _markets(heard).items() if is_open(market.sessions, heard.at_ns)
    ]
    if trading and not any(heard.quotes):
        yield f"expected quotes of {', '.join(trading)}, which trade now, were none"


def nothing_made_up(heard: Heard) -> Iterator[str]:
    """Only what the venue shows: deriving is datad's, and a market says what kinds it has."""
    markets = _markets(heard)
    for name, tick in heard.ticks:
        if tick.derived:
            yield f"expected no derived tick, was {tick} in {name}"
        if name in markets and not _shows(markets[name], tick.kind):
            yield f"{name} says that it shows no {tick.kind}, and did"


def _about(event: FeedEvent) -> str:
    if isinstance(event, Away | Ailing):
        return ""
    return event.market.fqme if isinstance(event, Subscribed) else event.market


def _markets(heard: Heard) -> dict[str, Market]:
    events = (event for event in heard.events if isinstance(event, Subscribed))
    return {event.market.fqme: event.market for event in events}


def _shows(market: Market, kind: Kind) -> bool:
    match kind:
        case "bid":
            return market.has_bid
        case "ask":
            return market.has_ask
        case "trade" | "dark_trade":
            return market.has_trades


PAST: Mapping[str, Callable[[Given], Iterator[str]]] = {
    "a frame as it was asked for": stretch_as_asked,
    "bars begin on periods": bars_on_periods,
    "bars oldest first, each once": bars_in_order,
    "bars inside their frame, whole": bars_inside,
    "bars with finite prices, low to high": bars_are_sound,
}
"""Promises of a frame, by what a person reads."""

STREAM: Mapping[str, Callable[[Heard], Iterator[str]]] = {
    "tells of every market": answers,
    "quotes while a market trades": says_something,
    "Subscribed before the first quote": subscribed_first,
    "only what is wanted": only_wanted,
    "finite prices, sizes not below 0": numbers_are_sound,
    "prices on the grid": prices_on_grid,
    "time_ns never goes back": times_go_on,
    "seen_ns by CLOCK_BOOTTIME": seen_now,
    "nothing made up": nothing_made_up,
}
"""Promises of a feed, by what a person reads."""
