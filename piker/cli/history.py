"""piker history: bars of a market's past; what is kept of them, what is missing; from others."""

import argparse
import sys
from pathlib import Path
from typing import Literal

import msgspec
import trio

from piker import client, clock, storeclient
from piker.cli import FAILED, desk
from piker.cli.arguments import moment, parser, positive
from piker.cli.bars import line, table
from piker.cli.historytimes import period, zone
from piker.cli.sparks import sparkline
from piker.cli.times import dated
from piker.errors import Refused
from piker.interfaces.data import (
    History,
    HistoryReply,
    Missing,
    NoSuchMarket,
    NothingKept,
    VenueUnavailable,
)
from piker.interfaces.store import Gaps, Table
from piker.store.exporting import KINDS
from piker.store.parquet import problem

BARS = "Bars of a market's past, as kept or as its venue has them: the newest that there are."
TOLD = (
    "Or an action: ls [MARKET]: what is kept on disk; gaps MARKET: what is missing of it; "
    "backfill MARKET: have it filled back to --from; import FILE: bars out of a CSV or Parquet "
    "file; audit [MARKET]: check all that is on disk."
)
ACTIONS = ("ls", "gaps", "backfill", "import", "audit")
OPTIONS = {
    "period": ("", "gaps", "backfill", "import"),
    "begin": ("", "gaps", "backfill"),
    "end": ("", "gaps"),
    "limit": ("",),
    "export": ("",),
    "force": ("",),
    "all": ("gaps",),
    "repair": ("audit",),
    **dict.fromkeys(("pause", "resume", "forget", "again"), ("backfill",)),
    **dict.fromkeys(
        (
            "market",
            "calendar",
            "columns",
            "no_header",
            "time_format",
            "zone",
            "unit",
            "stamps",
            "skip_bad",
            "complete",
            "replace",
        ),
        ("import",),
    ),
}
"""Options, and the actions that each goes with; none is a market's bars."""
NEEDED = {"import": ("market", "period"), "backfill": ("period",)}
INSTALL = "piker-history isn't installed: sudo apt install piker-history"
SHOWN = 10
"""Stretches that are missing, the newest, have a line each."""
CHART_FROM = 10
"""So many bars have a line of their closes below them."""

SAID_AFTER_S = 2.0
"""Who waits for so long is told why, and then again whenever so much more has passed:"""
SAID_AGAIN_S = 15.0


def main(arguments: list[str]) -> int:
    """Do what is asked."""
    parse = _parser()
    args = parse.parse_args(arguments)
    action = args.what if args.what in ACTIONS else ""
    _check(parse, args, action)
    doing = {
        "": _bars,
        "ls": _ls,
        "gaps": _gaps,
        "backfill": _backfill,
        "import": _import,
        "audit": _audit,
    }
    return doing[action](parse, args)


def _parser() -> argparse.ArgumentParser:
    parse = parser("history", f"{BARS} {TOLD}", "aapl.nasdaq.ib --period 1m --from 2026-11-02")
    now_ns = clock.wall_ns()
    add = parse.add_argument
    add("what", metavar="MARKET|ACTION", help="a market's name, or one of the actions")
    add("target", nargs="?", help="of ls, gaps, backfill, audit: a market; of import: a file")
    add("--period", type=period, metavar="PERIOD", help="length of a bar: 1s, 5m, 1h or 1d")
    add(
        "--from",
        type=lambda text: moment(text, now_ns),
        metavar="TIME",
        dest="begin",
        help="none before; backfill: back to it: 30d (ago), 15:30, 2026-11-02 or 2026-11-02T15:30",
    )
    add(
        "--to",
        type=lambda text: moment(text, now_ns),
        metavar="TIME",
        dest="end",
        help="none that ends after; default: now",
    )
    add("--limit", type=positive, help="at most so many, to 10000; default: 1000")
    add("--export", type=Path, metavar="FILE", help="all that is kept, to a .csv or .parquet file")
    add("--force", action="store_true", help="export: replace a file that is there")
    add("--all", action="store_true", help="gaps: closures too, and what is covered by what")
    order = parse.add_mutually_exclusive_group()
    order.add_argument("--pause", action="store_true", help="backfill: let it wait")
    order.add_argument("--resume", action="store_true", help="backfill: let it go on")
    order.add_argument("--forget", action="store_true", help="backfill: ask for it no more")
    add("--again", action="store_true", help="backfill: also for what the provider wouldn't give")
    add("--market", help="import: whose bars they are, its whole name")
    add(
        "--calendar", metavar="NAME", help="import: when it is traded, if its venue doesn't say: FX"
    )
    add("--columns", metavar="MAP", help="import: which is which: time=time_utc,open=o,...")
    add(
        "--no-header",
        action="store_true",
        help="import: of a CSV file without names; columns are 1, 2, 3",
    )
    add("--zone", type=zone, help="import: of times that name none, as Asia/Shanghai; default: UTC")
    add("--unit", choices=["s", "ms", "us", "ns"], help="import: of times that are numbers")
    add(
        "--time-format", metavar="FORMAT", help="import: how times are written: %%d/%%m/%%Y %%H:%%M"
    )
    add("--stamps", choices=["start", "end"], help="import: what times are of; default: start")
    add("--skip-bad", action="store_true", help="import: leave out rows that can't be true")
    add("--complete", action="store_true", help="import: where no row is, nobody traded")
    add(
        "--replace", action="store_true", help="import: also bars that an earlier one has otherwise"
    )
    add("--repair", action="store_true", help="audit: mend what is found; nothing is lost")
    add("--json", action="store_true", help="an object, or one a line, for programs")
    return parse


def _check(parse: argparse.ArgumentParser, args: argparse.Namespace, action: str) -> None:
    given = {name for name, value in vars(args).items() if value not in (None, False)}
    for name in sorted(given & OPTIONS.keys()):
        if action not in OPTIONS[name]:
            of = " and ".join(each or "a market's bars" for each in OPTIONS[name])
            parse.error(f"{_option(name)} goes with {of}")
    if action in ("gaps", "backfill", "import") and not args.target:
        parse.error(f"expected a {'file' if action == 'import' else 'market'}")
    if not action and args.target:
        parse.error(f"unrecognized arguments: {args.target}")
    for name in NEEDED.get(action, ()):
        if getattr(args, name) is None:
            parse.error(f"{action}: expected {_option(name)}")
    if args.force and not args.export:
        parse.error("--force goes with --export")
    if args.export and args.limit:
        parse.error("--limit doesn't go with --export, which writes all")
    if args.time_format and args.unit:
        parse.error("--unit goes with times that are numbers, not with --time-format")
    if args.export and args.export.suffix not in KINDS:
        parse.error(f"--export: expected a name in {' or '.join(KINDS)}, was {args.export}")


def _option(name: str) -> str:
    return {"begin": "--from", "end": "--to"}.get(name, f"--{name.replace('_', '-')}")


def _bars(parse: argparse.ArgumentParser, args: argparse.Namespace) -> int:
    """Print bars, oldest first, and what is missing; 1 if all of it is."""
    args.period = args.period or 60
    args.limit = args.limit or 1000
    if args.export:
        _need_polars()
        from piker.cli import historyexport

        call = Table(market=args.what, period_s=args.period, from_ns=args.begin, to_ns=args.end)
        return historyexport.run(call, args.export, force=args.force, json=args.json)
    reply = trio.run(_ask, args)
    if args.json:
        print(msgspec.json.encode(reply).decode())
    else:
        _show(reply)
    return FAILED if reply.missing and not (reply.coverage or reply.bars) else 0


def _ls(parse: argparse.ArgumentParser, args: argparse.Namespace) -> int:
    from piker.cli import historykept

    return historykept.ls(args.target, json=args.json)


def _gaps(parse: argparse.ArgumentParser, args: argparse.Namespace) -> int:
    from piker.cli import historykept

    period_s = args.period or trio.run(historykept.usual_period, args.target)
    call = Gaps(market=args.target, period_s=period_s, from_ns=args.begin, to_ns=args.end)
    return historykept.gaps(call, all_=args.all, json=args.json)


def _backfill(parse: argparse.ArgumentParser, args: argparse.Namespace) -> int:
    from piker.cli import historybackfill
    from piker.interfaces.data import Backfill

    orders: dict[str, Literal["pause", "resume", "forget"]]
    orders = {"pause": "pause", "resume": "resume", "forget": "forget"}
    call = Backfill(
        market=args.target,
        period_s=args.period,
        from_ns=args.begin,
        order=next((order for name, order in orders.items() if getattr(args, name)), None),
        again=args.again or None,
    )
    return historybackfill.run(call, json=args.json)


def _audit(parse: argparse.ArgumentParser, args: argparse.Namespace) -> int:
    from piker.cli import historykept

    return historykept.audit(args.target, repair=args.repair, json=args.json)


def _import(parse: argparse.ArgumentParser, args: argparse.Namespace) -> int:
    _need_polars()
    from piker.cli import historyimport
    from piker.store import foreignwords

    try:
        asked = foreignwords.Asked(
            period_s=args.period,
            columns=foreignwords.columns(args.columns) if args.columns else {},
            zone=args.zone,
            header=not args.no_header,
            unit=args.unit,
            written=args.time_format,
            stamps=args.stamps or "start",
        )
    except ValueError as error:
        parse.error(str(error))
    return historyimport.run(
        Path(args.target),
        args.market,
        asked,
        historyimport.Ways(args.calendar, args.skip_bad, args.complete, args.replace, args.json),
    )


def _need_polars() -> None:
    """Raises Refused where the package that brings it isn't installed."""
    if problem():
        raise Refused(NothingKept(reason=INSTALL))


async def _ask(args: argparse.Namespace) -> HistoryReply:
    fqme = await _meant(args.what)
    call = History(
        market=fqme,
        period_s=args.period,
        from_ns=args.begin,
        to_ns=args.end,
        limit=args.limit,
    )
    reply: HistoryReply | None = None
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_say_that_it_waits, fqme)
        reply = await client.past_bars(call)
        nursery.cancel_scope.cancel()
    assert reply is not None, "expected an answer or an error"
    return reply


async def _meant(name: str) -> str:
    """The market that a name means, also where only what is kept is left of it."""
    try:
        return (await client.describe(name)).fqme
    except Refused as no:
        fqme = await storeclient.kept_as(name)
        less = isinstance(no.fault, NoSuchMarket | VenueUnavailable)
        if fqme is None or not (less or fqme == name.strip().lower()):
            raise
    return fqme


async def _say_that_it_waits(fqme: str) -> None:
    """A venue has a pace, and a question may wait for its turn."""
    start = trio.current_time()
    await trio.sleep(SAID_AFTER_S)
    while True:
        waited_s = trio.current_time() - start
        desk.say(f"{fqme}: waits for its venue, and for the pace that it allows: {waited_s:.0f} s")
        await trio.sleep(SAID_AGAIN_S)


def _show(reply: HistoryReply) -> None:
    if sys.stdout.isatty() and reply.bars:
        from rich.console import Console

        Console().print(table(reply.market, reply.bars, dated))
        if len(reply.bars) >= CHART_FROM:
            print(f"closes {sparkline([each.close for each in reply.bars])}")
    else:
        for bar in reply.bars:
            print(f"{reply.market}  {line(bar, dated)}")
    sys.stdout.flush()
    if reply.unasked:
        desk.say(f"{reply.market}: only what is kept: {reply.unasked}")
    for text in _what_is_missing(reply):
        desk.say(text)


def _what_is_missing(reply: HistoryReply) -> list[str]:
    """A line a stretch; or, that nobody traded."""
    if reply.coverage and not reply.bars:
        begin, end = reply.coverage[0].from_ns, reply.coverage[-1].to_ns
        return [f"{reply.market}: no bar: nobody traded from {dated(begin)} to {dated(end)}"]
    if not (reply.coverage or reply.missing):
        return [f"{reply.market}: no bar: no period of {reply.period_s} s has ended in that time"]
    shown, rest = reply.missing[-SHOWN:], reply.missing[:-SHOWN]
    lines = [f"{reply.market}: {_of(each)}" for each in shown]
    if rest:
        since = "" if rest[0].from_ns is None else f"from {dated(rest[0].from_ns)} "
        more = f"missing {since}to {dated(rest[-1].to_ns)}: {len(rest)} more stretches"
        lines.insert(0, f"{reply.market}: {more}; --json has all")
    return lines


def _of(missing: Missing) -> str:
    if missing.why == "limit":
        return f"there is more before {dated(missing.to_ns)}: {missing.reason}"
    begin = "" if missing.from_ns is None else f"from {dated(missing.from_ns)} "
    again = f"; ask again in {missing.pause_s:.0f} s" if missing.pause_s else ""
    return f"missing {begin}to {dated(missing.to_ns)}: {missing.reason}{again}"
