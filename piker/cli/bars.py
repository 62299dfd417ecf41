"""piker bars: follow a market's bars."""

import argparse
import sys
from collections.abc import Callable, Iterable
from contextlib import aclosing
from typing import Any, Protocol

import msgspec
import trio

from piker import client, clock
from piker.cli.arguments import parser, positive, span
from piker.cli.following import Progress, again, for_a_while
from piker.cli.times import local
from piker.core.bars import PERIOD_AT
from piker.quotes import Bar
from piker.sharedbars import BarReader

When = Callable[[int], str]
"""How a time is shown."""

LOOK_S = 0.1
"""How often the shared memory is looked at; looking costs microseconds."""


def main(arguments: list[str]) -> int:
    """Follow until interrupted."""
    args = _parse(arguments)
    trio.run(_follow, args)
    return 0


def _parse(arguments: list[str]) -> argparse.Namespace:
    parse = parser(
        "bars",
        "Follow a market's bars, made from when they are first asked for.",
        "eurusd.spot.replay --period 1min",
    )
    parse.add_argument("market", help="its name, as eurusd.spot.replay or less")
    parse.add_argument("--period", type=span, default=1.0, help="length of a bar: 1s or 1min")
    parse.add_argument("--last", type=positive, default=20, help="show so many")
    parse.add_argument("--for", type=span, metavar="TIME", dest="time", help="end after, as 5s")
    parse.add_argument("--json", action="store_true", help="an object a final bar, for programs")
    return parse.parse_args(arguments)


async def _follow(args: argparse.Namespace) -> None:
    fqme = (await client.describe(args.market)).fqme
    on_screen = sys.stdout.isatty() and not args.json
    shown: Shown = Screen(fqme, args.last) if on_screen else Printer(fqme, json=args.json)

    async def once(progress: Progress) -> None:
        await look(fqme, round(args.period), shown, progress)

    with shown:
        await for_a_while(args.time, lambda: again(once))


async def look(fqme: str, period_s: int, shown: "Shown", progress: Progress) -> None:
    """Show the newest bars, look after look, until cancelled or the stream ends.

    Raises Refused, Unreachable or NotBars.
    """
    looking = trio.CancelScope()
    async with aclosing(client.bars(fqme, period_s)) as readers, trio.open_nursery() as nursery:
        async for reader in readers:
            progress()
            looking.cancel()
            looking = trio.CancelScope()
            nursery.start_soon(_look_at, reader, shown, looking)
        looking.cancel()


async def _look_at(reader: BarReader, shown: "Shown", looking: trio.CancelScope) -> None:
    """One reader's task. No look is under way when the next reader comes: it never waits in one."""
    with looking:
        start, looks = trio.current_time(), 0
        while not reader.closed:
            shown.show(reader)
            looks += 1
            await trio.sleep_until(start + looks * LOOK_S)


class Shown(Protocol):
    """Where bars are shown."""

    def __enter__(self) -> object: ...
    def __exit__(self, *_: object) -> object: ...
    def show(self, reader: BarReader) -> None:
        """Show how the bars are now."""


class Printer:
    """Prints each bar once, when it is final; none that had ended before the first look."""

    def __init__(self, market: str, *, json: bool) -> None:
        self._market = market
        self._json = json
        self._newest_ns: int | None = None

    def __enter__(self) -> object:
        return self

    def __exit__(self, *_: object) -> object:
        return None

    def show(self, reader: BarReader) -> None:
        """Print what has become final."""
        if self._newest_ns is None:
            self._newest_ns = clock.wall_ns() - reader.table.ints[PERIOD_AT]
        for row in range(first_new(reader, self._newest_ns), reader.final):
            bar = reader.table.bar(row)
            self._newest_ns = bar.time_ns
            print(
                msgspec.json.encode(bar).decode() if self._json else f"{self._market}  {line(bar)}"
            )
        sys.stdout.flush()


def first_new(reader: BarReader, newest_ns: int) -> int:
    """The first row that begins after that, of those that are final; looked for from the end."""
    row = reader.final
    while row > 0 and reader.table.time(row - 1) > newest_ns:
        row -= 1
    return row


class Screen:
    """A table of the newest bars, drawn anew; those that may still change are dim."""

    def __init__(self, market: str, rows: int) -> None:
        from rich.live import Live

        self._market = market
        self._rows = rows
        self._live = Live(auto_refresh=False)

    def __enter__(self) -> object:
        return self._live.__enter__()

    def __exit__(self, *error: Any) -> object:
        self._live.__exit__(*error)
        return None

    def show(self, reader: BarReader) -> None:
        """Draw it."""
        self._live.update(newest(self._market, reader, self._rows), refresh=True)


def newest(title: str, reader: BarReader, rows: int) -> Any:
    """The newest bars as a table for rich; those that may still change are dim."""
    final_ns = reader.table.bar(reader.final - 1).time_ns if reader.final else -1
    return table(title, reader.bars(rows), final_ns=final_ns)


def table(title: str, bars: Iterable[Bar], when: When = local, final_ns: int | None = None) -> Any:
    """Bars as a table for rich; those after `final_ns`, if that is given, and parts are dim."""
    from rich.table import Table

    made = Table(box=None, pad_edge=False, header_style="bold", title=title, title_justify="left")
    for name in ("time", "open", "high", "low", "close", "volume", "trades"):
        made.add_column(name, justify="right", min_width=8)
    made.add_column("")
    for bar in bars:
        is_final = final_ns is None or bar.time_ns <= final_ns
        style = "" if is_final and not bar.partial else "dim"
        made.add_row(*_cells(bar, when), "partial" * bar.partial, style=style)
    return made


def _cells(bar: Bar, when: When) -> list[str]:
    prices = [f"{price:.10g}" for price in (bar.open, bar.high, bar.low, bar.close)]
    trades = ["", ""] if bar.derived else [f"{bar.volume:g}", str(bar.trades)]
    return [when(bar.time_ns), *prices, *trades]


def line(bar: Bar, when: When = local) -> str:
    """A bar in a line."""
    started, open_, high, low, close, volume, trades = _cells(bar, when)
    prices = f"open {open_}  high {high}  low {low}  close {close}"
    traded = f"  volume {volume}  trades {trades}" if trades else ""
    return f"bar {started}  {prices}{traded}{'  partial' * bar.partial}"
