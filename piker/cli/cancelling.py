"""piker cancel, flatten: orders that are no longer wanted, and positions that are not either."""

import argparse
from collections.abc import Callable, Iterable, Iterator
from functools import partial

import trio

from piker import client, config
from piker.cli import FAILED, desk, lines
from piker.cli.arguments import parser
from piker.cli.asking import ask, real_money
from piker.cli.lines import Live
from piker.cli.waiting import until_over
from piker.core.wording import asked, number, standing
from piker.errors import Refused
from piker.interfaces.orders import (
    Cancel,
    CancelAll,
    Flatten,
    OidsReply,
    OrderReply,
    Positions,
    PositionsReply,
    StillHeld,
)
from piker.orders import Life


def cancel(arguments: list[str]) -> int:
    """piker cancel."""
    parse = parser(
        "cancel", "Cancel an order, or all that aren't closed.", "--all --account paper.replay"
    )
    parse.add_argument("oid", nargs="?", help=desk.OID)
    parse.add_argument("--all", action="store_true", help="all orders, dark ones and alerts too")
    parse.add_argument("--account", help="with --all: only of this account")
    parse.add_argument("--market", help="with --all: only in this market")
    _add_common(parse, "until it is closed; 1 if it was filled, or the venue refused to cancel it")
    args = parse.parse_args(arguments)
    if bool(args.oid) == args.all:
        parse.error("expected an OID, or --all")
    if not args.all and (args.account or args.market):
        parse.error("--account and --market go with --all")
    return trio.run(_cancel_all if args.all else _cancel, args)


def flatten(arguments: list[str]) -> int:
    """piker flatten."""
    parse = parser(
        "flatten",
        "Cancel an account's orders, then close its positions at the market.",
        "paper.replay --market eurusd.spot.replay --wait",
    )
    parse.add_argument("account", nargs="?", help="its name; default: the configuration's")
    parse.add_argument("--market", help="only in this market")
    parse.add_argument("--yes", action="store_true", help="a live account without being asked")
    _add_common(parse, "until its orders are closed; 1 if something is still held then")
    args = parse.parse_args(arguments)
    given = args.account or config.load().emsd.default_account
    if not given:
        parse.error("expected an account, as paper.replay")
    args.account = trio.run(desk.account_named, given)
    _, args.market = trio.run(desk.narrowed, None, args.market)
    return _asked_to_flatten(args) or trio.run(_flatten, args)


def _add_common(parse: argparse.ArgumentParser, waits: str) -> None:
    parse.add_argument("--wait", action="store_true", help=waits)
    parse.add_argument(
        "--json", action="store_true", help="an object an order, with --wait an event, for programs"
    )


async def _cancel(args: argparse.Namespace) -> int:
    oid = await desk.whole_oid(args.oid)
    async with client.trading() as emsd:
        reply = await emsd.call(Cancel(oid=oid), OrderReply)
    return await _see_cancelled([reply.life], reply.seq, args)


async def _cancel_all(args: argparse.Namespace) -> int:
    account, market = await desk.narrowed(args.account, args.market)
    return await _see_cancelled(*await _touch(CancelAll(account=account, market=market)), args)


async def _touch(call: CancelAll | Flatten) -> tuple[list[Life], int]:
    """Ask something of many orders; gives how these stand, and up to which event."""
    async with client.trading() as emsd:
        oids = (await emsd.call(call, OidsReply)).oids
    book = await desk.book()
    return [book.lives.get(oid) or await desk.life(oid) for oid in oids], book.since or 0


async def _see_cancelled(lives: list[Life], seq: int, args: argparse.Namespace) -> int:
    """Tell what came of it, at the end if that is waited for; gives the exit status."""
    problems = await _tell(lives, seq, args)
    if args.wait:
        problems = list(_not_cancelled(await _until_over(lives, _is_answered, args)))
        _say_all(problems)
    return FAILED if problems else 0


async def _tell(lives: list[Life], seq: int, args: argparse.Namespace) -> list[str]:
    """Print how orders stand, and say which cancels can't have arrived; gives these.

    If they are waited for they are printed then.
    """
    accounts = await desk.accounts()
    if not args.wait:
        lines.print_standing(lives, lines.live_by_name(accounts), seq, as_json=args.json)
    if not lives and not args.json:
        print("no orders", flush=True)
    problems = lines.not_cancelled(lives, accounts.accounts)
    _say_all(problems)
    return problems


async def _until_over(
    lives: list[Life], over: Callable[[Life], bool], args: argparse.Namespace
) -> list[Life]:
    oids = [life.order.oid for life in lives]
    return await until_over(oids, over, await desk.live(), as_json=args.json)


def _is_answered(life: Life) -> bool:
    """Whether it is closed, or the venue refused to cancel it."""
    return life.closed or not life.cancel


def _not_cancelled(lives: Iterable[Life]) -> Iterator[str]:
    for life in lives:
        if life.state == "filled":
            yield f"NOT cancelled: {life.order.oid} was done before"
        elif not life.closed:
            yield f"NOT cancelled: {life.order.oid} is {standing(life)}: {life.reason}"


def _say_all(problems: Iterable[str]) -> None:
    for problem in problems:
        desk.say(problem)


async def _flatten(args: argparse.Namespace) -> int:
    try:
        lives, seq = await _touch(Flatten(account=args.account, market=args.market))
    except Refused as no:
        if not isinstance(no.fault, StillHeld):
            raise
        desk.say(no)
        desk.say(
            f"NOT flattened: positions of {args.account} stay open; its orders are cancelled, as "
            "soon as they can be reached"
        )
        return FAILED
    problems = await _tell(lives, seq, args)
    if not args.wait:
        return FAILED if problems else 0
    await _until_over(lives, _is_over, args)
    return await _see_flat(args)


def _is_over(life: Life) -> bool:
    """Whether nothing more is to come of it: what closes a position is not cancelled."""
    closes = life.order.reduce_only and life.order.kind == "market"
    return life.closed if closes else _is_answered(life)


async def _see_flat(args: argparse.Namespace) -> int:
    """Say whether something is still held; gives the exit status."""
    held = await _held(args)
    if held:
        desk.say(f"NOT flat: {args.account} still holds {', '.join(held)}")
        return FAILED
    if not args.json:
        where = f" in {args.market}" if args.market else ""
        print(f"{lines.account(args.account, await desk.live())} holds nothing{where}")
    return 0


def _asked_to_flatten(args: argparse.Namespace) -> int:
    """The exit status, 0 if it may be: the owner of a live account is asked."""
    live = trio.run(desk.live)
    is_live = lines.is_live(args.account, live)
    if args.yes or is_live is False:
        return 0
    question = "Cancel its orders and close these?"
    what = real_money(args.account, is_live)
    return ask(what, lambda: trio.run(_what_is_closed, args, live), question, "not done")


async def _what_is_closed(args: argparse.Namespace, live: Live) -> list[str]:
    """What a person should see of an account before it is flattened."""
    ours = filter(partial(_is_of, args), (await desk.book()).lives.values())
    held = [f"  close {each}" for each in await _held(args)]
    return [
        f"{lines.account(args.account, live)}, at the market:",
        *[f"  cancel {asked(life)}" for life in ours if not life.closed],
        *(held or ["  nothing is held"]),
    ]


def _is_of(args: argparse.Namespace, life: Life) -> bool:
    order = life.order
    return order.account == args.account and args.market in (None, order.market)


async def _held(args: argparse.Namespace) -> list[str]:
    async with client.viewing() as emsd:
        reply = await emsd.call(Positions(account=args.account), PositionsReply)
    return [
        f"{number(each.position.size)} {each.position.market}"
        for each in reply.positions
        if each.position.size and args.market in (None, each.position.market)
    ]
