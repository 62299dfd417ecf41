"""Three ways to show what a watch says: a live table, plain lines, JSON lines."""

import sys
import time
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, Protocol

import msgspec
from msgspec import Struct

from piker import clock
from piker.interfaces.data import WatchReply
from piker.markets import Market, MarketState
from piker.quotes import Kind, Tick

if TYPE_CHECKING:
    from rich.text import Text


class Taker(Protocol):
    """Takes the replies of a watch, one after another."""

    def take(self, reply: WatchReply) -> None:
        """Show it."""


class Line(Struct, frozen=True, kw_only=True):
    """What `piker watch --json` prints. A change of state has no ticks."""

    market: str
    state: str
    ticks: tuple["LineTick", ...]


class LineTick(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One tick; size is null where the venue gave none. derived is there, and true, if piker made
    it and not the venue; delayed, if the venue shows it late, or as it was last.
    """

    kind: str
    price: float
    size: float | None
    time_ns: int
    derived: bool = False
    delayed: bool = False


class JsonLines:
    """An object a quote or change of state. States are as of a reply's end, so they go first."""

    def __init__(self) -> None:
        self._states: dict[str, str] = {}

    def take(self, reply: WatchReply) -> None:
        """Print it."""
        for watched in reply.markets:
            self._states[watched.market.fqme] = watched.state.state
            self._print(watched.market.fqme, watched.last)
        for state in reply.states:
            self._states[state.market] = state.state
            self._print(state.market, ())
        for quote in reply.quotes:
            self._print(quote.market, quote.ticks)
        sys.stdout.flush()

    def _print(self, market: str, ticks: tuple[Tick, ...]) -> None:
        line = Line(
            market=market,
            state=self._states[market],
            ticks=tuple(
                LineTick(
                    kind=tick.kind,
                    price=tick.price,
                    size=tick.size,
                    time_ns=tick.time_ns,
                    derived=tick.derived,
                    delayed=tick.delayed,
                )
                for tick in ticks
            ),
        )
        sys.stdout.write(msgspec.json.encode(line).decode() + "\n")


class Row:
    """One market as it stands."""

    def __init__(self, market: Market, state: MarketState) -> None:
        self.market = market
        self.state = state
        self.last: dict[Kind, Tick] = {}
        self.quotes = 0

    def price(self, kind: Kind) -> str:
        """A price in the market's own digits; ~ marks one that was derived."""
        tick = self.last.get(kind)
        return "" if tick is None else f"{'~' if tick.derived else ''}{self.digits(tick.price)}"

    def prices(self) -> str:
        """The newest price of each kind, in a line."""
        return "  ".join(f"{kind} {self.price(kind)}" for kind in _KINDS if kind in self.last)

    def digits(self, price: float) -> str:
        """A price with as many digits as the market's tick has."""
        return f"{price:.{max(0, -int(self.market.price_tick.as_tuple().exponent))}f}"

    def age(self) -> str:
        """How long ago its newest tick was seen."""
        if not self.last:
            return ""
        newest = max(tick.seen_ns for tick in self.last.values())
        return f"{(clock.boot_ns() - newest) / 1e9:.1f} s"


class Rows:
    """All markets of a watch, kept up to date."""

    def __init__(self) -> None:
        self.rows: dict[str, Row] = {}
        self.quotes = 0

    def take(self, reply: WatchReply) -> None:
        """Take note of it."""
        for watched in reply.markets:
            row = self.rows.setdefault(watched.market.fqme, Row(watched.market, watched.state))
            row.state = watched.state
            row.last.update({tick.kind: tick for tick in watched.last})
        for quote in reply.quotes:
            row = self.rows[quote.market]
            row.last.update({tick.kind: tick for tick in quote.ticks})
            row.quotes += 1
        for state in reply.states:
            self.rows[state.market].state = state
        self.quotes += len(reply.quotes)


class Lines(Rows):
    """A line a quote or change of state, for a pipe or a log."""

    def take(self, reply: WatchReply) -> None:
        """Print it."""
        super().take(reply)
        for watched in reply.markets:
            row = self.rows[watched.market.fqme]
            prices = f"{row.prices()}  " if row.last else ""
            print(f"{_now()}  {watched.market.fqme}  {prices}{_state(watched.state)}")
        for state in reply.states:
            print(f"{_now()}  {state.market}  {_state(state)}")
        for quote in reply.quotes:
            print(f"{_now()}  {quote.market}  {self.rows[quote.market].prices()}")
        sys.stdout.flush()


class Board(Rows):
    """A table that is drawn anew."""

    def live(self) -> AbstractContextManager[object]:
        """Show it in the terminal while the context is open."""
        from rich.live import Live

        return Live(get_renderable=self.table, refresh_per_second=10)

    def table(self) -> Any:
        """The table as it stands now, for rich."""
        from rich.table import Table

        table = Table(box=None, pad_edge=False, header_style="bold")
        table.add_column("market")
        for name in ("bid", "ask", "trade", "quotes", "age"):
            table.add_column(name, justify="right", min_width=8)
        table.add_column("state")
        for fqme, row in self.rows.items():
            table.add_row(
                fqme,
                *(row.price(kind) for kind in ("bid", "ask", "trade")),
                str(row.quotes),
                row.age(),
                _styled(row.state),
            )
        return table


_KINDS: tuple[Kind, ...] = ("bid", "ask", "trade", "dark_trade")
_STYLES = {
    "live": "green",
    "delayed": "yellow",
    "stale": "bold red",
    "closed": "dim",
    "disconnected": "red",
}


def _state(state: MarketState) -> str:
    return f"{state.state} ({state.reason})" if state.reason else state.state


def _styled(state: MarketState) -> "Text":
    """As text, not as markup: a reason may hold brackets."""
    from rich.text import Text

    return Text(_state(state), style=_STYLES[state.state])


def _now() -> str:
    return time.strftime("%H:%M:%S")
