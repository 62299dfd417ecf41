"""make demo: the suite on recorded data, for about twenty seconds, in a place of its own.

Quotes, bars, and a hidden paper order near the price, from its arming to its position. pikerd
runs here, in the foreground; the daemons are its children and end with it.
"""

import os
import signal
import sys
import tempfile
from collections.abc import Iterator
from contextlib import aclosing, contextmanager
from decimal import Decimal
from itertools import chain
from pathlib import Path
from typing import Any

import trio

from piker import client, pikerd
from piker.accounts import PAPER
from piker.cli import FAILED, INTERRUPTED, desk, explain, lines
from piker.cli.bars import Printer, first_new, look, newest
from piker.cli.board import Board, Lines, Rows
from piker.cli.following import Progress, again, follow
from piker.cli.submit import new_oid
from piker.core.wording import number, rounded
from piker.errors import Refused, Unreachable
from piker.interfaces.orders import (
    PositionLine,
    Positions,
    PositionsReply,
    Submit,
    SubmitReply,
)
from piker.orders import Order
from piker.sharedbars import BarReader

SECONDS = 20.0
LONGER_S = 60.0
"""A slow machine has so much more time until all that there is to see was seen."""
MARKETS = ("eurusd.spot.replay", "if2312.cffex.replay")
BARS_OF = MARKETS[0]
SIZE = Decimal(1000)
SUBMIT_S = 30.0
"""The first order opens the paper account, and has emsd follow the market."""
SHOWN_BARS = 10
LOG_LINES = 10
"""Of what the daemons said, the last lines are shown when something went wrong."""


class Failed(Exception):
    """The demo did not see what it should; the text says what."""


def main() -> int:
    """Run it; gives the exit status."""
    log: list[str] = []
    try:
        with _own_place():
            trio.run(_demo, log)
    except BaseException as error:  # noqa: BLE001 - the last line says how it went, whatever it was
        return _say_failure(error, log)
    return 0


def _say_failure(error: BaseException, log: list[str]) -> int:
    while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    if isinstance(error, KeyboardInterrupt):
        print("demo: interrupted", file=sys.stderr)
        return INTERRUPTED
    if isinstance(error, Failed | pikerd.CantSupervise | Refused | Unreachable):
        print("\n  ".join([f"demo: {error}", *log[-LOG_LINES:]]), file=sys.stderr)
    elif not explain(error):
        raise error
    return FAILED


@contextmanager
def _own_place() -> Iterator[None]:
    """Directories of the demo's own: nothing of the user's is read or touched."""
    with tempfile.TemporaryDirectory(prefix="piker-demo-") as directory:
        for name in ("XDG_RUNTIME_DIR", "XDG_CONFIG_HOME", "XDG_STATE_HOME", "PIKER_ETC"):
            os.environ[name] = str(Path(directory, name.lower()))
            os.mkdir(os.environ[name], mode=0o700)
        yield


async def _demo(log: list[str]) -> None:
    seen = OnScreen() if sys.stdout.isatty() else AsLines()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_fail_at_signal)
        await nursery.start(_supervise, log)
        with seen:
            nursery.start_soon(_watch, seen)
            await trio.sleep(SECONDS)
            with trio.move_on_after(LONGER_S):
                await seen.whole.wait()
            nursery.cancel_scope.cancel()
    _sum_up(seen)


async def _fail_at_signal() -> None:
    """A terminal that closes, or a kill, ends everything as Ctrl-C does."""
    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGHUP) as signals:
        async for number in signals:
            raise Failed(f"ended by {signal.Signals(number).name}")


async def _supervise(log: list[str], *, task_status: trio.TaskStatus[object]) -> None:
    def on_log(unit: str, line: str) -> None:
        log.append(f"{unit}: {line}")

    await pikerd.supervise(["replay"], on_log=on_log, task_status=task_status)


async def _watch(seen: "Seen") -> None:
    async def look_at_bars(progress: Progress) -> None:
        await look(BARS_OF, 1, seen, progress)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(follow, "replay", MARKETS, None, seen.quotes.take)
        nursery.start_soon(again, look_at_bars)
        nursery.start_soon(_trade, seen)


async def _trade(seen: "Seen") -> None:
    """Have a hidden order armed at the price that is asked now, and show what comes of it."""
    order = Order(
        oid=new_oid(),
        account=PAPER,
        market=MARKETS[0],
        side="buy",
        size=SIZE,
        kind="dark",
        trigger=await _asked(MARKETS[0]),
        when="below",
    )
    async with client.trading() as emsd:
        await emsd.call(Submit(order=order), SubmitReply, SUBMIT_S)
    async with aclosing(client.follow_order(order.oid, desk.say_lost)) as changes:
        async for change in changes:
            seen.tell(lines.news(change, {}))
            seen.filled += change.life.state == "filled"
    async with client.viewing() as emsd:
        for line in (await emsd.call(Positions(), PositionsReply)).positions:
            seen.tell(_held(line))


async def _asked(market: str) -> Decimal:
    """What is asked for in a market, as soon as anything is."""
    async with aclosing(client.watch("replay", [market])) as replies:
        async for reply in replies:
            shown = [each.last for each in reply.markets] + [each.ticks for each in reply.quotes]
            for tick in chain(*shown):
                if tick.kind == "ask":
                    return Decimal(repr(tick.price))
    raise Unreachable(f"datad@replay ended the stream of {market}")


def _held(line: PositionLine) -> str:
    held = line.position
    average = rounded(held.average_price)
    return f"{held.account} holds {number(held.size)} {held.market} at {average} {held.currency}"


def _sum_up(seen: "Seen") -> None:
    """Print the summary. Raises Failed if too little was seen."""
    counts = {
        "quotes": seen.quotes.quotes,
        "bars": seen.bars,
        "markets": seen.markets(),
        "filled order": seen.filled,
    }
    told = ", ".join(f"{count} {what}" for what, count in counts.items())
    if not seen.whole.is_set():
        raise Failed(f"expected {len(MARKETS)} markets, bars and an order that fills; saw {told}")
    print(f"demo: ok ({told})", flush=True)


class Seen:
    """What was seen: quotes, final bars of one market, and what became of an order."""

    quotes: Rows

    def __init__(self) -> None:
        self._newest_ns = -1
        self.bars = 0
        self.filled = 0
        self.whole = trio.Event()
        """There was a bar, a quote of every market, and an order that filled."""

    def __enter__(self) -> object:
        return self

    def __exit__(self, *error: Any) -> object:
        return None

    def tell(self, line: str) -> None:
        """Show what happened to the order, or what it came to."""

    def show(self, reader: BarReader) -> None:
        """Count bars that have become final."""
        new = first_new(reader, self._newest_ns)
        self.bars += reader.final - new
        self._newest_ns = max(self._newest_ns, reader.table.time(reader.final - 1))
        if self.bars and self.filled and self.markets() == len(MARKETS):
            self.whole.set()

    def markets(self) -> int:
        """How many had a quote."""
        return sum(bool(row.quotes) for row in self.quotes.rows.values())


class AsLines(Seen):
    """Without a terminal: a line a quote, and a line a bar."""

    def __init__(self) -> None:
        super().__init__()
        self.quotes = Lines()
        self._printer = Printer(BARS_OF, json=False)

    def tell(self, line: str) -> None:
        """Print it."""
        print(line, flush=True)

    def show(self, reader: BarReader) -> None:
        """Print new bars."""
        super().show(reader)
        self._printer.show(reader)


class OnScreen(Seen):
    """In a terminal: markets above, bars below, drawn anew."""

    def __init__(self) -> None:
        from rich.live import Live

        super().__init__()
        self.quotes = self._board = Board()
        self._bars: Any = ""
        self._told: list[str] = []
        self._live = Live(get_renderable=self._render, refresh_per_second=10)

    def __enter__(self) -> object:
        return self._live.__enter__()

    def __exit__(self, *error: Any) -> object:
        self._live.__exit__(*error)
        return None

    def tell(self, line: str) -> None:
        """Draw it below the bars."""
        self._told.append(line)

    def show(self, reader: BarReader) -> None:
        """Draw the newest bars."""
        super().show(reader)
        self._bars = newest(f"{BARS_OF}, bars of 1 s", reader, SHOWN_BARS)

    def _render(self) -> Any:
        from rich.console import Group

        return Group(self._board.table(), "", self._bars, "", *map(lines.plain, self._told))


if __name__ == "__main__":
    sys.exit(main())
