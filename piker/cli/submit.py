"""piker buy, sell, alert: an order from the command line.

Its oid is made here and told first, so that whatever happens then, it can be asked for.
"""

import argparse
import os
import sys
from contextlib import aclosing
from functools import partial

import trio

from piker import client, clock, config
from piker.accounts import PAPER
from piker.cli import FAILED, desk, lines
from piker.cli.arguments import count, instant, parser, per_cent, price, size
from piker.cli.asking import ask, real_money
from piker.cli.worth import worth
from piker.core.uuid7 import RANDOM_BYTES, uuid7
from piker.core.wording import asked, money, standing
from piker.interfaces.orders import SubmitReply
from piker.orders import NOTHING, SLIP_MAX_PCT, SLIP_TICKS, Life, Order, OrderKind, Side


def buy(arguments: list[str]) -> int:
    """piker buy."""
    return _trade("buy", arguments)


def sell(arguments: list[str]) -> int:
    """piker sell."""
    return _trade("sell", arguments)


def alert(arguments: list[str]) -> int:
    """piker alert."""
    parse = parser(
        "alert",
        "Be told when a market's price comes to a level. It stands until then, over restarts.",
        "eurusd.spot.replay 1.1250 --when above",
    )
    parse.add_argument("market", help="its name, as eurusd.spot.replay or less")
    parse.add_argument("price", type=price, help="the level")
    _add_when(parse)
    _add_common(parse, "until it was reached; 1 if it ended before")
    args = parse.parse_args(arguments)
    expires_ns = _expires(parse, args)
    order = Order(
        oid=args.oid or new_oid(),
        account=args.account or _default_account() or PAPER,
        market=trio.run(desk.whole_market, args.market),
        side="buy",
        size=NOTHING,
        kind="alert",
        trigger=args.price,
        when=args.when,
        expires_ns=expires_ns,
        on_gap=args.on_gap,
    )
    return _carry_out(args, order)


def _trade(side: Side, arguments: list[str]) -> int:
    parse = _trade_parser(side)
    args = parse.parse_args(arguments)
    _check(parse, args)
    expires_ns = _expires(parse, args)
    account = args.account or _default_account() or _missing_account(parse)
    order = Order(
        oid=args.oid or new_oid(),
        account=account,
        market=trio.run(desk.whole_market, args.market),
        side=side,
        size=args.size,
        kind=_kind(args),
        limit=args.limit,
        trigger=args.dark,
        when=args.when,
        sends=args.sends or "limit",
        tif=args.tif,
        expires_ns=expires_ns,
        reduce_only=args.reduce_only,
        on_gap=args.on_gap,
        slip_ticks=SLIP_TICKS if args.slip_ticks is None else args.slip_ticks,
        slip_max_pct=SLIP_MAX_PCT if args.slip_max_pct is None else args.slip_max_pct,
    )
    return _carry_out(args, order)


def _trade_parser(side: Side) -> argparse.ArgumentParser:
    parse = parser(
        side,
        f"{side.capitalize()}: at the market, at a limit, or dark, which is hidden here until a "
        "tick crosses its trigger.",
        "eurusd.spot.replay 1000 --limit 1.20 --account paper --wait",
    )
    add = parse.add_argument
    add("market", help="its name, as eurusd.spot.replay or less")
    add("size", type=size, help="contracts or units")
    add("--limit", type=price, metavar="PRICE", help="no worse than this; default: at the market")
    add("--dark", type=price, metavar="PRICE", help="keep it here until this trigger is crossed")
    _add_when(parse)
    add("--sends", choices=["limit", "market"], help="what a dark order sends; default: limit")
    add("--tif", choices=["day", "gtc", "ioc"], default="gtc", help="time in force; default: gtc")
    add("--reduce-only", action="store_true", help="never opens or grows a position")
    slip = "of a dark order: its limit is so many ticks past the tick; default: %(default)s"
    add("--slip-ticks", type=count, metavar="N", help=slip.replace("%(default)s", str(SLIP_TICKS)))
    past = f"and no more past the trigger, per cent; default: {SLIP_MAX_PCT}"
    add("--slip-max-pct", type=per_cent, metavar="X", help=past)
    add("--yes", action="store_true", help="send a live order without being asked")
    _add_common(parse, "until it is closed; 1 if it was not filled")
    return parse


def _add_when(parse: argparse.ArgumentParser) -> None:
    help_ = "which way the trigger is crossed; default: by the newest quote"
    parse.add_argument("--when", choices=["above", "below"], help=help_)


def _add_common(parse: argparse.ArgumentParser, waits: str) -> None:
    add = parse.add_argument
    add("--account", help="paper, or PROVIDER.LABEL; default: the configuration's")
    add("--expires", metavar="WHEN", help="ends then: 2h, 17:30, 2026-12-01T17:30")
    gap = "if its trigger was crossed while nobody watched; default: hold"
    add("--on-gap", choices=["hold", "fire", "cancel"], default="hold", help=gap)
    add("--oid", help="its id; the same id and order again are carried out once")
    add("--dry-run", action="store_true", help="say what risk says and what would be sent")
    add("--wait", action="store_true", help=waits)
    add("--json", action="store_true", help="an object an event, for programs")


def _check(parse: argparse.ArgumentParser, args: argparse.Namespace) -> None:
    """What makes no sense together ends here, with exit status 2."""
    if args.dark is None:
        for option in ("when", "sends", "slip_ticks", "slip_max_pct"):
            if getattr(args, option) is not None:
                parse.error(f"--{option.replace('_', '-')} is of an order with --dark")
    if args.sends == "market" and args.limit is not None:
        parse.error("expected --limit or --sends market, were both")


def _kind(args: argparse.Namespace) -> OrderKind:
    if args.dark is not None:
        return "dark"
    return "market" if args.limit is None else "limit"


def _expires(parse: argparse.ArgumentParser, args: argparse.Namespace) -> int | None:
    if args.expires is None:
        return None
    try:
        return instant(args.expires, clock.wall_ns())
    except argparse.ArgumentTypeError as error:
        parse.error(f"argument --expires: {error}")


def _default_account() -> str:
    return config.load().emsd.default_account


def _missing_account(parse: argparse.ArgumentParser) -> str:
    parse.error(
        "expected an account: give --account paper or --account PROVIDER.LABEL, "
        'or set [emsd] default_account = "…" in piker.toml'
    )


def new_oid() -> str:
    """An order's id that no other has: a UUIDv7."""
    return uuid7(clock.wall_ns() // 1_000_000, os.urandom(RANDOM_BYTES))


def _carry_out(args: argparse.Namespace, order: Order) -> int:
    if args.dry_run:
        return trio.run(_show_dry_run, order, args.json)
    no = _asked_for(args, order)
    if no:
        return no
    print(f"oid {order.oid}", file=sys.stderr if args.json else sys.stdout, flush=True)
    return trio.run(_submit, order, args)


def _asked_for(args: argparse.Namespace, order: Order) -> int:
    """The exit status, 0 if it may leave: a paper order may; of a live one its owner is asked."""
    if order.kind == "alert" or args.yes or money(order.account, None) == "paper":
        return 0
    reply = trio.run(desk.dry_run, order)
    if not reply.live:
        return 0
    what = real_money(f"an order of {reply.life.order.account}", reply.live)
    return ask(what, lambda: trio.run(_what_it_means, reply), "Send it?", "not sent")


async def _show_dry_run(order: Order, as_json: bool) -> int:
    reply = await desk.dry_run(order)
    if as_json:
        print(lines.json(reply.life, _live(reply), reply.seq))
    else:
        print("\n".join(["dry run, nothing is sent", *await _what_it_means(reply)]))
    return 0


async def _what_it_means(reply: SubmitReply) -> list[str]:
    """What a person should see of an order before it is sent."""
    life = reply.life
    return [
        f"  account   {lines.account(life.order.account, _live(reply))}",
        f"  order     {asked(life)}",
        f"  worth     {await worth(life)}",
        f"  at first  {standing(life)}{f': {life.reason}' if life.reason else ''}",
        *(f"  warning   {warning}" for warning in reply.warnings),
    ]


async def _submit(order: Order, args: argparse.Namespace) -> int:
    reply = await desk.submit(order)
    for warning in reply.warnings:
        desk.say(warning)
    if args.wait:
        return await desk.over_restarts(partial(_wait, reply, as_json=args.json))
    say = lines.json(reply.life, _live(reply), reply.seq)
    print(say if args.json else lines.text(reply.life, _live(reply)))
    return _status(reply.life)


async def _wait(reply: SubmitReply, *, as_json: bool) -> int:
    """Print each event of an order, from its first on, until it is closed; gives the exit status.

    Raises Unreachable if nothing was printed.
    """
    life = reply.life
    async with aclosing(client.follow_order(life.order.oid, desk.say_lost)) as changes:
        async for change in changes:
            life = change.life
            lines.print_changes([change], _live(reply), reply.seq, as_json=as_json)
    return _status(life)


def _status(life: Life) -> int:
    return FAILED if life.closed and life.state != "filled" else 0


def _live(reply: SubmitReply) -> dict[str, bool]:
    return {reply.life.order.account: reply.live}
