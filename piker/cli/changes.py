"""piker amend, resolve: what is asked of one order that there is."""

import argparse
from collections.abc import Callable
from functools import partial

import trio
from msgspec import structs

from piker.cli import desk, lines
from piker.cli.arguments import parser, price, size
from piker.cli.asking import ask, real_money
from piker.cli.lines import Live
from piker.cli.worth import worth
from piker.core.wording import asked, standing
from piker.interfaces import Call
from piker.interfaces.orders import Amend, OrderReply, Resolve
from piker.orders import Life

NOT_BOOKED = "no execution is booked: only what the venue told counts in positions"


def amend(arguments: list[str]) -> int:
    """piker amend."""
    parse = parser(
        "amend", "Give an order another total, limit or trigger.", "a1b2c3d4 --limit 1.21"
    )
    parse.add_argument("oid", help=desk.OID)
    parse.add_argument("--size", type=size, help="the new total, what is filled counted")
    parse.add_argument("--limit", type=price, metavar="PRICE", help="the new limit price")
    parse.add_argument("--trigger", type=price, metavar="PRICE", help="the new trigger, while held")
    parse.add_argument("--yes", action="store_true", help="a live order without being asked")
    _add_json(parse)
    args = parse.parse_args(arguments)
    if args.size is None and args.limit is None and args.trigger is None:
        parse.error("expected at least one of --size, --limit, --trigger")
    no = 0 if args.yes else _asked_to_amend(args)
    if no:
        return no
    call = partial(Amend, size=args.size, limit=args.limit, trigger=args.trigger)
    return trio.run(_change, args, call)


def _asked_to_amend(args: argparse.Namespace) -> int:
    """The exit status, 0 if it may be: of what costs more on a live account its owner is asked."""
    life, live = trio.run(_stands, args.oid)
    args.oid = life.order.oid
    is_live = lines.is_live(life.order.account, live)
    after = _amended(life, args)
    if is_live is False or not _may_cost_more(life, after):
        return 0
    what = real_money(f"an order of {life.order.account}", is_live)
    return ask(what, lambda: trio.run(_what_changes, life, after, live), "Send it?", "not sent")


async def _stands(given: str) -> tuple[Life, Live]:
    return await desk.life(await desk.whole_oid(given)), await desk.live()


def _amended(life: Life, args: argparse.Namespace) -> Life:
    """The order as it is to be."""
    return structs.replace(
        life,
        size=life.size if args.size is None else args.size,
        limit=life.limit if args.limit is None else args.limit,
        trigger=life.trigger if args.trigger is None else args.trigger,
        amends=life.amends + 1,
    )


def _may_cost_more(before: Life, after: Life) -> bool:
    """Whether it is more, or has another price. An alert, and what is over, costs nothing."""
    if before.order.kind == "alert" or before.closed:
        return False
    same = (before.limit, before.trigger) == (after.limit, after.trigger)
    return after.size > before.size or not same


async def _what_changes(before: Life, after: Life, live: Live) -> list[str]:
    """What a person should see of an amendment before it is sent."""
    return [
        f"  account   {lines.account(before.order.account, live)}",
        f"  was       {asked(before)}: {standing(before)}",
        f"  will be   {asked(after)}",
        *([f"  filled    {lines.done(before)}"] if before.filled else []),
        f"  worth     {await worth(after)}",
    ]


def resolve(arguments: list[str]) -> int:
    """piker resolve."""
    parse = parser(
        "resolve",
        "Say what became of an order whose outcome is not known, after you looked at the venue. "
        f"With filled: {NOT_BOOKED}.",
        "a1b2c3d4 cancelled --note 'not among its open orders'",
    )
    parse.add_argument("oid", help=desk.OID)
    parse.add_argument(
        "outcome", choices=["open", "filled", "cancelled", "rejected"], help="what became of it"
    )
    parse.add_argument("--note", metavar="TEXT", required=True, help="how you know; kept with it")
    _add_json(parse)
    args = parse.parse_args(arguments)
    status = trio.run(_change, args, partial(Resolve, outcome=args.outcome, note=args.note))
    if args.outcome == "filled":
        desk.say(NOT_BOOKED)
    return status


def _add_json(parse: argparse.ArgumentParser) -> None:
    parse.add_argument("--json", action="store_true", help="an object, for programs")


async def _change(args: argparse.Namespace, call: Callable[..., Call]) -> int:
    """Ask something of an order, and print how it stands: nothing is asked once that is known."""
    oid, live = await desk.whole_oid(args.oid), await desk.live()
    reply = await desk.request(call(oid=oid), OrderReply)
    lines.print_standing([reply.life], live, reply.seq, as_json=args.json)
    return 0
