"""piker positions: what is held, and what it earned."""

import argparse
import sys
from contextlib import aclosing
from decimal import Decimal

import msgspec
import trio
from msgspec import structs

from piker import client
from piker.accounts import Balance
from piker.cli import desk, lines
from piker.cli.arguments import parser
from piker.cli.following import Progress, again
from piker.cli.lines import Live
from piker.cli.times import local
from piker.core.wording import number, rounded
from piker.interfaces.orders import AccountsReply, PositionLine, Positions, PositionsReply

JSON_DIGITS = 12
"""Significant digits of a price in JSON: more than any venue quotes, fewer than floats err in."""


def main(arguments: list[str]) -> int:
    """Print it, or follow it until interrupted."""
    parse = parser("positions", "What is held, and what it earned.", "--account paper.replay")
    parse.add_argument("--follow", action="store_true", help="again at every change of a size")
    parse.add_argument("--all", action="store_true", help="flat ones, too")
    parse.add_argument("--account", help="only of this account")
    parse.add_argument("--json", action="store_true", help="an object a position, for programs")
    args = parse.parse_args(arguments)
    args.account, _ = trio.run(desk.narrowed, args.account, None)
    trio.run(_follow if args.follow else _print, args)
    return 0


async def _print(args: argparse.Namespace) -> None:
    accounts = await desk.accounts()
    async with client.viewing() as emsd:
        reply = await emsd.call(Positions(account=args.account), PositionsReply)
    _show(args, reply, accounts)
    if not args.json:
        for note in (*_balances(args, accounts), *lines.notes(accounts, ())):
            print(note)


async def _follow(args: argparse.Namespace) -> None:
    async def once(progress: Progress) -> None:
        async with (
            client.viewing() as emsd,
            aclosing(emsd.replies(Positions(account=args.account), PositionsReply)) as replies,
        ):
            async for reply, _ in replies:
                progress()
                _show(args, reply, await desk.accounts())

    await again(once)


def _show(args: argparse.Namespace, reply: PositionsReply, accounts: AccountsReply) -> None:
    live = lines.live_by_name(accounts)
    wanted = [each for each in reply.positions if args.all or each.position.size]
    if args.json:
        for each in wanted:
            print(_json(each, live))
    else:
        lines.show(_table(wanted, live) if wanted else _nothing(args, accounts))
    sys.stdout.flush()


def _balances(args: argparse.Namespace, accounts: AccountsReply) -> list[str]:
    """A line for each account whose venue says what it is worth."""
    live = lines.live_by_name(accounts)
    return [
        f"{lines.account(each.account, live)}: {_worth(each.balance)}"
        for each in accounts.accounts
        if each.balance and args.account in (None, each.account)
    ]


def _worth(balance: Balance) -> str:
    sums = {
        "worth": balance.net_liquidation,
        "cash": balance.cash,
        "margin": balance.margin,
        "available": balance.available,
        "buying power": balance.buying_power,
    }
    told = [f"{name} {number(value)}" for name, value in sums.items() if value is not None]
    return f"{', '.join(told)} {balance.currency}, at {local(balance.asked_ns)}"


def _nothing(args: argparse.Namespace, accounts: AccountsReply) -> str:
    """That nothing is held, as far as anybody can know."""
    asked = [each for each in accounts.accounts if args.account in (None, each.account)]
    ready = all(each.state == "ready" for each in asked)
    return "nothing is held" if ready else "nothing is known to be held"


class _Line(PositionLine, frozen=True, kw_only=True):
    """What --json prints."""

    live: bool | None


def _json(line: PositionLine, live: Live) -> str:
    held = line.position
    shown = _Line(
        position=structs.replace(held, average_price=_without_noise(held.average_price)),
        price=_without_noise(line.price),
        price_ns=line.price_ns,
        open_profit=_without_noise(line.open_profit),
        live=lines.is_live(held.account, live),
    )
    return msgspec.json.encode(shown).decode()


def _without_noise(value: Decimal | None) -> Decimal | None:
    """A price may be half the sum of two floats. All digits before the point are kept."""
    if value is None:
        return None
    return Decimal(rounded(value, max(JSON_DIGITS, value.adjusted() + 1)))


def _table(positions: list[PositionLine], live: Live) -> object:
    numbers = ("size", "average", "price", "open", "realised", "fees")
    table = lines.grid("account", "", "market", *numbers, "currency", right=numbers)
    for line in positions:
        held = line.position
        lines.add(
            table,
            held.account,
            lines.styled_money(held.account, live),
            held.market,
            number(held.size),
            rounded(held.average_price),
            rounded(line.price),
            rounded(line.open_profit),
            rounded(held.realised),
            ", ".join(f"{rounded(each.paid)} {each.currency}" for each in held.fees),
            held.currency,
        )
    return table
