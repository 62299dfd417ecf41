"""piker orders: all orders, as a table, as lines, or as JSON."""

import argparse
import sys
from collections.abc import Iterable
from contextlib import aclosing, nullcontext
from typing import Any

import trio

from piker import client
from piker.cli import desk, lines
from piker.cli.arguments import parser
from piker.cli.lines import Live
from piker.core.mirror import Change, Mirror
from piker.errors import Unreachable
from piker.orders import Life

DRAWN_HZ = 4.0


def main(arguments: list[str]) -> int:
    """Print the orders, or follow them until interrupted."""
    parse = parser(
        "orders",
        "The orders: those that aren't closed. The time of each is when it was made, triggered or "
        "last filled, whichever came last; `piker order OID` has all times.",
        "--follow --account paper.replay",
    )
    parse.add_argument("--follow", action="store_true", help="and then each event")
    parse.add_argument("--all", action="store_true", help="closed ones, too")
    parse.add_argument("--account", help="only of this account")
    parse.add_argument("--market", help="only in this market")
    parse.add_argument("--json", action="store_true", help="an object an order or event")
    args = parse.parse_args(arguments)
    args.account, args.market = trio.run(desk.narrowed, args.account, args.market)
    trio.run(_follow if args.follow else _print, args)
    return 0


class Wanted:
    """Which orders are asked for."""

    def __init__(self, args: argparse.Namespace) -> None:
        self._closed: bool = args.all
        self._account: str | None = args.account
        self._market: str | None = args.market

    def news(self, life: Life) -> bool:
        """Whether what happens to an order is shown, also what closes it."""
        order = life.order
        return self._account in (None, order.account) and self._market in (None, order.market)

    def stands(self, life: Life) -> bool:
        """Whether an order is shown as it stands."""
        return self.news(life) and (self._closed or not life.closed)


async def _print(args: argparse.Namespace) -> None:
    accounts = await desk.accounts()
    mirror = await desk.book()
    shown = list(filter(Wanted(args).stands, mirror.lives.values()))
    live = lines.live_by_name(accounts)
    if args.json:
        for life in shown:
            print(lines.json(life, live, mirror.since or 0))
        return
    lines.show(lines.table(shown, live) if shown else "no orders")
    for note in lines.notes(accounts, shown):
        print(note)


async def _follow(args: argparse.Namespace) -> None:
    mirror, wanted = Mirror(), Wanted(args)
    live = dict(await desk.live())
    on_screen = sys.stdout.isatty() and not args.json
    with _screen(wanted, mirror, live) if on_screen else nullcontext():
        async with aclosing(client.follow_orders(mirror, desk.say_lost)) as replies:
            async for changes in replies:
                if any(lines.is_live(each.life.order.account, live) is None for each in changes):
                    await _look_who_is_live(live)
                if not on_screen:
                    _print_changes(wanted, changes, live, mirror, as_json=args.json)


async def _look_who_is_live(live: dict[str, bool]) -> None:
    """Ask again which accounts are. Till that is answered they are shown as not known."""
    try:
        live.update(await desk.live())
    except Unreachable as error:
        desk.say_lost(error)


def _print_changes(
    wanted: Wanted, changes: Iterable[Change], live: Live, mirror: Mirror, *, as_json: bool
) -> None:
    """What happens; before that, at first, how orders stand."""
    shown = [
        each
        for each in changes
        if (wanted.news if each.news or each.before else wanted.stands)(each.life)
    ]
    lines.print_changes(shown, live, mirror.since or 0, as_json=as_json)


def _screen(wanted: Wanted, mirror: Mirror, live: Live) -> Any:
    """A table that is drawn anew; newest orders last."""
    from rich.live import Live as Screen

    def drawn() -> Any:
        return lines.table(filter(wanted.stands, mirror.lives.values()), live)

    return Screen(get_renderable=drawn, refresh_per_second=DRAWN_HZ)
