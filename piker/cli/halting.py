"""piker halt, resume, accept, limits: what may leave, and how much."""

import msgspec
import trio

from piker import client
from piker.cli import desk, lines
from piker.cli.arguments import parser
from piker.core.wording import number
from piker.interfaces import Call
from piker.interfaces.orders import AcceptPosition, Done, Halt, Limits, LimitsReply, Resume


def halt(arguments: list[str]) -> int:
    """piker halt."""
    parse = parser(
        "halt",
        "Let no new order leave until `piker resume`, over restarts. Cancels and reducing orders "
        "still do; dark orders stay armed, and are held.",
        "'the feed looks wrong'",
    )
    parse.add_argument("reason", nargs="?", default="asked for by hand", help="shown to all")
    args = parse.parse_args(arguments)
    return trio.run(_do, Halt(reason=args.reason), "halted: no new order leaves, paper or live")


def resume(arguments: list[str]) -> int:
    """piker resume."""
    parser("resume", "End a halt: new orders leave again.", "").parse_args(arguments)
    return trio.run(_do, Resume(), "no longer halted: new orders leave again, paper and live")


def accept(arguments: list[str]) -> int:
    """piker accept."""
    parse = parser(
        "accept",
        "Take a position that nothing explains as the venue says it is; what blocks ends.",
        "ib.main mnq.cme.20261218.ib --note 'traded on the phone'",
    )
    parse.add_argument("account", help="its whole name")
    parse.add_argument("market", help="its whole name")
    parse.add_argument("--note", metavar="TEXT", required=True, help="why; kept with it")
    args = parse.parse_args(arguments)
    call = AcceptPosition(account=args.account, market=args.market, note=args.note)
    return trio.run(_accept, call)


def limits(arguments: list[str]) -> int:
    """piker limits."""
    parse = parser(
        "limits", "What risk allows an account in a market.", "paper.replay eurusd.spot.replay"
    )
    parse.add_argument("account", help="its whole name")
    parse.add_argument("market", help="its whole name")
    parse.add_argument("--json", action="store_true", help="an object, for programs")
    args = parse.parse_args(arguments)
    return trio.run(_limits, Limits(account=args.account, market=args.market), args.json)


async def _do(call: Call, done: str) -> int:
    async with client.trading() as emsd:
        await emsd.call(call, Done)
    print(done)
    return 0


async def _accept(call: AcceptPosition) -> int:
    live = await desk.live()
    name = lines.account(call.account, live)
    return await _do(call, f"{name}: the position in {call.market} is taken as it is")


async def _limits(call: Limits, as_json: bool) -> int:
    async with client.viewing() as emsd:
        reply = await emsd.call(call, LimitsReply)
    if as_json:
        print(msgspec.json.encode(reply).decode())
        return 0
    print(f"{lines.account(call.account, await desk.live())} in {call.market}:")
    for name in reply.__struct_fields__:
        value = getattr(reply, name)
        shown = "no limit" if value is None else value
        print(f"  {name:<18} {shown if isinstance(shown, int | str) else number(shown)}")
    return 0
