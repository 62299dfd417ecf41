"""piker cancel: orders that are no longer wanted; and what flatten shares with it."""

import argparse
from collections.abc import Awaitable, Callable, Collection, Iterable, Iterator
from typing import TypeVar

import trio

from piker.cli import FAILED, desk, lines
from piker.cli.arguments import parser
from piker.cli.waiting import Waited, until_over
from piker.core.wording import remedy, standing
from piker.errors import Unreachable
from piker.interfaces.orders import AccountsReply, Cancel, CancelAll, OidsReply, OrderReply
from piker.orders import Life

T = TypeVar("T")


def cancel(arguments: list[str]) -> int:
    """piker cancel."""
    parse = parser(
        "cancel", "Cancel an order, or all that aren't closed.", "--all --account paper.replay"
    )
    parse.add_argument("oid", nargs="?", help=desk.OID)
    parse.add_argument("--all", action="store_true", help="all orders, dark ones and alerts too")
    parse.add_argument("--account", help="with --all: only of this account")
    parse.add_argument("--market", help="with --all: only in this market")
    add_common(parse, "until it is closed; 1 if it was filled, or the venue refused to cancel it")
    args = parse.parse_args(arguments)
    if bool(args.oid) == args.all:
        parse.error("expected an OID, or --all")
    if not args.all and (args.account or args.market):
        parse.error("--account and --market go with --all")
    return trio.run(_cancel_all if args.all else _cancel, args)


def add_common(parse: argparse.ArgumentParser, waits: str) -> None:
    """The options that flatten has, too."""
    parse.add_argument("--wait", action="store_true", help=waits)
    parse.add_argument(
        "--json", action="store_true", help="an object an order, with --wait an event, for programs"
    )


async def _cancel(args: argparse.Namespace) -> int:
    oid = await desk.whole_oid(args.oid)
    reply = await desk.request(Cancel(oid=oid), OrderReply)
    return await _see_cancelled([reply.life], reply.seq, args)


async def _cancel_all(args: argparse.Namespace) -> int:
    account, market = await desk.narrowed(args.account, args.market)
    reply = await desk.request(CancelAll(account=account, market=market), OidsReply)
    return await _see_cancelled(*await stand(reply.oids, args), args)


async def _see_cancelled(lives: list[Life], seq: int, args: argparse.Namespace) -> int:
    """Tell what came of it, at the end if that is waited for; gives the exit status."""
    accounts = await afterwards(desk.accounts, args)
    late = tell(lives, seq, accounts, args)
    refused = say_all(not_cancelled(await outcomes(lives, is_answered, accounts, args)))
    return FAILED if refused or (late and not args.wait) else 0


async def afterwards(ask: Callable[[], Awaitable[T]], args: argparse.Namespace) -> T:
    """What emsd tells of what it has taken: who waits is told over its restarts.

    Raises Refused, or Unreachable, which then says that it was taken.
    """
    if args.wait:
        return await desk.over_restarts(ask)
    try:
        return await ask()
    except Unreachable as error:
        raise Unreachable(f"{error}; what was asked for is kept; see `piker orders`") from error


async def stand(oids: Collection[str], args: argparse.Namespace) -> tuple[list[Life], int]:
    """How orders stand that were touched, and up to which event. Raises as `afterwards`."""

    async def ask() -> tuple[list[Life], int]:
        book = await desk.book()
        return [book.lives.get(oid) or await desk.life(oid) for oid in oids], book.since or 0

    return await afterwards(ask, args)


def tell(
    lives: list[Life], seq: int, accounts: AccountsReply, args: argparse.Namespace
) -> list[str]:
    """Print how orders stand, and say which cancels can't have arrived; gives these.

    If they are waited for they are printed then.
    """
    if not args.wait:
        lines.print_standing(lives, lines.live_by_name(accounts), seq, as_json=args.json)
    if not lives and not args.json:
        print("no orders", flush=True)
    return say_all(lines.not_cancelled(lives, accounts.accounts))


async def outcomes(
    lives: Iterable[Life],
    over: Callable[[Waited], bool],
    accounts: AccountsReply,
    args: argparse.Namespace,
) -> list[Waited]:
    """Those of these orders that are over: all of them, if that is waited for. Raises Refused."""
    if not args.wait:
        return list(filter(over, map(Waited, lives)))
    oids = [life.order.oid for life in lives]
    live = lines.live_by_name(accounts)
    return await desk.over_restarts(lambda: until_over(oids, over, live, as_json=args.json))


def is_answered(waited: Waited) -> bool:
    """Whether it is closed, or the venue refused to cancel it."""
    return waited.life.closed or not waited.life.cancel or bool(waited.refused)


def not_cancelled(orders: Iterable[Waited]) -> Iterator[str]:
    """A line for each of these that was not cancelled, and why."""
    for each in orders:
        life = each.life
        if life.state == "filled":
            yield f"NOT cancelled: {life.order.oid} was done before"
        elif not life.closed:
            why = "; ".join(filter(None, [each.refused or life.reason, remedy(life)]))
            yield f"NOT cancelled: {life.order.oid} is {standing(life)}: {why}"


def say_all(problems: Iterable[str]) -> list[str]:
    """Say each; gives them."""
    said = list(problems)
    for problem in said:
        desk.say(problem)
    return said
