"""piker flatten: an account's orders are cancelled, then its positions closed."""

import argparse
from collections.abc import Iterable, Iterator
from functools import partial

import trio

from piker import client, config
from piker.accounts import AccountState
from piker.cli import FAILED, desk, lines
from piker.cli.arguments import parser
from piker.cli.asking import ask, real_money
from piker.cli.cancelling import (
    add_common,
    afterwards,
    is_answered,
    not_cancelled,
    outcomes,
    say_all,
    stand,
    tell,
)
from piker.cli.waiting import Waited
from piker.core.wording import asked, number
from piker.errors import Refused
from piker.interfaces.broker import NotConnected
from piker.interfaces.orders import (
    AccountsReply,
    AccountUnreachable,
    Flatten,
    OidsReply,
    Positions,
    PositionsReply,
    StillHeld,
)
from piker.orders import Life

FLATTEN_S = 90.0
"""emsd waits for cancels to be answered, for the account, and for what its markets show."""


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
    add_common(
        parse, "until its orders are closed; 1 if one is not, or something may still be held"
    )
    args = parse.parse_args(arguments)
    given = args.account or config.load().emsd.default_account
    if not given:
        parse.error("expected an account, as paper.replay")
    args.account = trio.run(desk.account_named, given)
    _, args.market = trio.run(desk.narrowed, None, args.market)
    return _asked_to_flatten(args) or trio.run(_flatten, args)


def _asked_to_flatten(args: argparse.Namespace) -> int:
    """The exit status, 0 if it may be: the owner of a live account is asked."""
    accounts = trio.run(desk.accounts)
    is_live = lines.is_live(args.account, lines.live_by_name(accounts))
    if args.yes or is_live is False:
        return 0
    question = "Cancel its orders and close these?"
    what = real_money(args.account, is_live)
    return ask(what, lambda: trio.run(_what_is_closed, args, accounts), question, "not done")


async def _what_is_closed(args: argparse.Namespace, accounts: AccountsReply) -> list[str]:
    """What a person should see of an account before it is flattened."""
    ours = filter(partial(_is_of, args), (await desk.book()).lives.values())
    held = [f"  close {each}" for each in await _held(args)]
    unknown = [f"  {each}" for each in _not_known(args, accounts)]
    return [
        f"{lines.account(args.account, lines.live_by_name(accounts))}, at the market:",
        *[f"  cancel {asked(life)}" for life in ours if not life.closed],
        *([*held, *unknown] or ["  nothing is held"]),
    ]


def _is_of(args: argparse.Namespace, life: Life) -> bool:
    order = life.order
    return order.account == args.account and args.market in (None, order.market)


async def _flatten(args: argparse.Namespace) -> int:
    try:
        oids, fault = await _touched(args)
    except Refused as no:
        if not isinstance(no.fault, AccountUnreachable | NotConnected):
            raise
        desk.say(no)
        desk.say(
            f"NOT flattened: {args.account} can't be reached; cancels of its orders are kept and "
            "sent when it is back, its positions stay open"
        )
        return FAILED
    lives, seq = await stand(oids, args)
    return await _see_closed(lives, seq, fault, args)


async def _touched(args: argparse.Namespace) -> tuple[tuple[str, ...], StillHeld | None]:
    """The orders that were cancelled, or close positions; and if not all could be closed, why."""
    try:
        call = Flatten(account=args.account, market=args.market)
        reply = await desk.request(call, OidsReply, FLATTEN_S)
    except Refused as no:
        if not isinstance(no.fault, StillHeld):
            raise
        return no.fault.oids, no.fault
    return reply.oids, None


async def _see_closed(
    lives: list[Life], seq: int, fault: StillHeld | None, args: argparse.Namespace
) -> int:
    """Tell what came of it, at the end if that is waited for; gives the exit status."""
    accounts = await afterwards(desk.accounts, args)
    late = tell(lives, seq, accounts, args)
    kept = say_all(_kept(fault, lives))
    orders = await outcomes(lives, _is_over, accounts, args)
    refused = say_all(not_cancelled(each for each in orders if not _closes(each.life)))
    if args.wait:
        status = await _see_flat(args)
    else:
        status = FAILED if say_all(_rejected(orders)) or late else 0
    return FAILED if kept or refused else status


def _kept(fault: StillHeld | None, lives: Iterable[Life]) -> Iterator[str]:
    """What stays open, why, and that the rest does not."""
    if fault:
        what = ", ".join(fault.markets)
        why = fault.reason.removeprefix(f"{what}: ")
        others = "; the others are being closed" if any(map(_closes, lives)) else ""
        yield f"NOT closed: {what} ({why}){others}"


def _rejected(orders: Iterable[Waited]) -> Iterator[str]:
    """What was to be closed by an order that the venue did not take."""
    for life in (each.life for each in orders):
        if _closes(life) and life.state == "rejected":
            yield f"NOT closed: {life.order.market} ({life.reason})"


def _closes(life: Life) -> bool:
    """Whether it is what closes a position."""
    return life.order.reduce_only and life.order.kind == "market"


def _is_over(waited: Waited) -> bool:
    """Whether nothing more is to come of it: what closes a position is not cancelled."""
    return waited.life.closed if _closes(waited.life) else is_answered(waited)


async def _see_flat(args: argparse.Namespace) -> int:
    """Say whether something is still held, or may be; gives the exit status."""
    accounts = await desk.over_restarts(desk.accounts)
    held = await desk.over_restarts(partial(_held, args))
    still = [f"NOT flat: {args.account} still holds {', '.join(held)}"] if held else []
    if say_all([*still, *_not_known(args, accounts)]):
        return FAILED
    if not args.json:
        where = f" in {args.market}" if args.market else ""
        print(f"{lines.account(args.account, lines.live_by_name(accounts))} holds nothing{where}")
    return 0


def _not_known(args: argparse.Namespace, accounts: AccountsReply) -> Iterator[str]:
    """That nobody knows what an account holds, and why, unless its venue is asked all the time."""
    states: dict[str, AccountState] = {each.account: each for each in accounts.accounts}
    state = states.get(args.account)
    if state is None or state.state != "ready":
        yield f"what {args.account} holds now is not known: it is {lines.away(state)}"


async def _held(args: argparse.Namespace) -> list[str]:
    async with client.viewing() as emsd:
        reply = await emsd.call(Positions(account=args.account), PositionsReply)
    return [
        f"{number(each.position.size)} {each.position.market}"
        for each in reply.positions
        if each.position.size and args.market in (None, each.position.market)
    ]
