"""piker amend, cancel, flatten, resolve: what is asked of orders that there are."""

import argparse
import sys
from collections.abc import Callable, Iterable
from functools import partial

import trio

from piker import client, config
from piker.cli import FAILED, USAGE, desk, lines
from piker.cli.arguments import parser, price, size
from piker.core.wording import money, number
from piker.errors import Refused
from piker.interfaces import Call
from piker.interfaces.broker import NotConnected
from piker.interfaces.orders import (
    AccountsReply,
    AccountUnreachable,
    Amend,
    Cancel,
    CancelAll,
    Flatten,
    OidsReply,
    OrderReply,
    Positions,
    PositionsReply,
    Resolve,
)
from piker.orders import Life

OID = "its id, or how the id begins or ends"
NOT_BOOKED = "no execution is booked: only what the venue told counts in positions"


def amend(arguments: list[str]) -> int:
    """piker amend."""
    parse = parser(
        "amend", "Give an order another total, limit or trigger.", "a1b2c3d4 --limit 1.21"
    )
    parse.add_argument("oid", help=OID)
    parse.add_argument("--size", type=size, help="the new total, what is filled counted")
    parse.add_argument("--limit", type=price, metavar="PRICE", help="the new limit price")
    parse.add_argument("--trigger", type=price, metavar="PRICE", help="the new trigger, while held")
    _add_json(parse)
    args = parse.parse_args(arguments)
    if args.size is None and args.limit is None and args.trigger is None:
        parse.error("expected at least one of --size, --limit, --trigger")
    call = partial(Amend, size=args.size, limit=args.limit, trigger=args.trigger)
    return trio.run(_change, args, call)


def cancel(arguments: list[str]) -> int:
    """piker cancel."""
    parse = parser(
        "cancel", "Cancel an order, or all that aren't closed.", "--all --account paper.replay"
    )
    parse.add_argument("oid", nargs="?", help=OID)
    parse.add_argument("--all", action="store_true", help="all orders, dark ones and alerts too")
    parse.add_argument("--account", help="with --all: only of this account")
    parse.add_argument("--market", help="with --all: only in this market")
    _add_json(parse)
    args = parse.parse_args(arguments)
    if bool(args.oid) == args.all:
        parse.error("expected an OID, or --all")
    if not args.all and (args.account or args.market):
        parse.error("--account and --market go with --all")
    if not args.all:
        return trio.run(_change, args, Cancel)
    account, market = trio.run(desk.narrowed, args.account, args.market)
    call = CancelAll(account=account, market=market)
    return trio.run(_touch, call, "cancel asked", args.json)


def resolve(arguments: list[str]) -> int:
    """piker resolve."""
    parse = parser(
        "resolve",
        "Say what became of an order whose outcome is not known, after you looked at the venue. "
        f"With filled: {NOT_BOOKED}.",
        "a1b2c3d4 cancelled --note 'not among its open orders'",
    )
    parse.add_argument("oid", help=OID)
    parse.add_argument(
        "outcome", choices=["open", "filled", "cancelled", "rejected"], help="what became of it"
    )
    parse.add_argument("--note", required=True, help="how you know; kept with it")
    _add_json(parse)
    args = parse.parse_args(arguments)
    status = trio.run(_change, args, partial(Resolve, outcome=args.outcome, note=args.note))
    if args.outcome == "filled":
        desk.say(NOT_BOOKED)
    return status


def _add_json(parse: argparse.ArgumentParser) -> None:
    parse.add_argument("--json", action="store_true", help="an object, for programs")


async def _change(args: argparse.Namespace, call: Callable[..., Call]) -> int:
    """Ask something of one order, and print how it stands."""
    oid = await desk.whole_oid(args.oid)
    async with client.trading() as emsd:
        reply = await emsd.call(call(oid=oid), OrderReply)
    accounts = await desk.accounts()
    live = lines.live_by_name(accounts)
    print(
        lines.json(reply.life, live, reply.seq)
        if args.json
        else f"{reply.life.order.oid}  {lines.text(reply.life, live)}"
    )
    return _cancelled([reply.life], accounts) if call is Cancel else 0


def _cancelled(lives: Iterable[Life], accounts: AccountsReply) -> int:
    """The exit status, after it was said what can't be cancelled now."""
    sys.stdout.flush()
    problems = lines.not_cancelled(lives, accounts.accounts)
    for problem in problems:
        desk.say(problem)
    return FAILED if problems else 0


async def _touch(call: CancelAll | Flatten, what: str, as_json: bool) -> int:
    """Ask something of many orders, and print their ids."""
    async with client.trading() as emsd:
        reply = await emsd.call(call, OidsReply)
    accounts = await desk.accounts()
    live = lines.live_by_name(accounts)
    book = await desk.book()
    for oid in reply.oids:
        life = book.lives.get(oid)
        if as_json and life:
            print(lines.json(life, live, book.since or 0))
        elif not as_json:
            print(f"{oid}  {lines.text(life, live) if life else what}")
    if not reply.oids and not as_json:
        print("no orders")
    touched = [book.lives[oid] for oid in reply.oids if oid in book.lives]
    return _cancelled(touched, accounts)


def flatten(arguments: list[str]) -> int:
    """piker flatten."""
    parse = parser(
        "flatten",
        "Cancel an account's orders, then close its positions at the market.",
        "paper.replay --market eurusd.spot.replay",
    )
    parse.add_argument("account", nargs="?", help="its name; default: the configuration's")
    parse.add_argument("--market", help="only in this market")
    parse.add_argument("--yes", action="store_true", help="of a live account, without being asked")
    _add_json(parse)
    args = parse.parse_args(arguments)
    given = args.account or config.load().emsd.default_account
    if not given:
        parse.error("expected an account, as paper.replay")
    account = trio.run(desk.account_named, given)
    _, market = trio.run(desk.narrowed, None, args.market)
    if not _agreed(account, market, yes=args.yes):
        return FAILED if sys.stdin.isatty() else USAGE
    return trio.run(_flatten, Flatten(account=account, market=market), args.json)


async def _flatten(call: Flatten, as_json: bool) -> int:
    try:
        return await _touch(call, "asked", as_json)
    except Refused as no:
        if not isinstance(no.fault, AccountUnreachable | NotConnected):
            raise
        desk.say(no)
    desk.say(
        f"NOT flattened: {call.account} can't be reached; cancels of its orders are kept and sent "
        "when it is back, its positions stay open"
    )
    return FAILED


def _agreed(account: str, market: str | None, *, yes: bool) -> bool:
    """Whether it may be done: what is held is shown, and the owner of a live account asked."""
    live = trio.run(desk.live)
    if yes or lines.is_live(account, live) is False:
        return True
    if not sys.stdin.isatty():
        desk.say(f"{account} may be real money: expected --yes")
        return False
    held = trio.run(_held, account, market)
    print(f"{account} ({money(account, live.get(account))}), at the market:", file=sys.stderr)
    print("\n".join(f"  close {each}" for each in held) or "  nothing is held", file=sys.stderr)
    print("Cancel its orders and close these? [y/N] ", end="", file=sys.stderr, flush=True)
    if sys.stdin.readline().strip().lower() in ("y", "yes"):
        return True
    desk.say("not done")
    return False


async def _held(account: str, market: str | None) -> list[str]:
    async with client.viewing() as emsd:
        reply = await emsd.call(Positions(account=account), PositionsReply)
    return [
        f"{number(each.position.size)} {each.position.market}"
        for each in reply.positions
        if each.position.size and market in (None, each.position.market)
    ]
