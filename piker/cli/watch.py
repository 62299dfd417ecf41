"""piker watch: follow markets, as a live table, as lines, or as JSON."""

import argparse
import sys
from contextlib import AbstractContextManager, nullcontext

import trio

from piker import client
from piker.cli.arguments import parser, rate, span
from piker.cli.board import Board, JsonLines, Lines, Taker
from piker.cli.following import follow, for_a_while

TABLE_RATE_HZ = 10.0
"""A table shows no more than the eye takes in."""


def main(arguments: list[str]) -> int:
    """Follow until interrupted."""
    args = _parse(arguments)
    trio.run(_watch, args)
    return 0


def _parse(arguments: list[str]) -> argparse.Namespace:
    parse = parser("watch", "Follow markets.", "eurusd.spot.replay --json")
    parse.add_argument("market", nargs="+", help="its name, as eurusd.spot.replay or less")
    parse.add_argument("--json", action="store_true", help="an object a quote, for programs")
    parse.add_argument("--for", type=span, metavar="TIME", dest="time", help="end after, as 5s")
    parse.add_argument("--rate", type=rate, metavar="HZ", help="at most so many updates a second")
    return parse.parse_args(arguments)


async def _watch(args: argparse.Namespace) -> None:
    grouped = await client.by_provider(args.market)
    taker, shown = _output(args)
    hz = args.rate or (TABLE_RATE_HZ if isinstance(taker, Board) else None)

    async def all_of_them() -> None:
        async with trio.open_nursery() as nursery:
            for provider, names in grouped.items():
                nursery.start_soon(follow, provider, names, hz, taker.take)

    with shown:
        await for_a_while(args.time, all_of_them)


def _output(args: argparse.Namespace) -> tuple[Taker, AbstractContextManager[object]]:
    if args.json:
        return JsonLines(), nullcontext()
    if not sys.stdout.isatty():
        return Lines(), nullcontext()
    board = Board()
    return board, board.live()
