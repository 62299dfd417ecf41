"""piker ledger: fills, fees and adjustments; show, sync, export, backup."""

import argparse
import csv
import sys
from collections import deque
from collections.abc import AsyncIterator, Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import IO

import msgspec
import trio

from piker import client, paths
from piker.cli import FAILED, desk, lines
from piker.cli.arguments import parser, positive
from piker.cli.times import dated
from piker.core.wording import number
from piker.interfaces.orders import Done, Ledger, LedgerLine, LedgerReply, SyncLedger
from piker.store.backup import backup
from piker.store.reading import open_copy

ACTIONS = "show: the newest entries; sync ACCOUNT: reconcile it with its venue now; export [FILE]: \
all as CSV; import-flex FILE: enter the executions of a Flex report of Interactive Brokers; backup \
FILE: a copy of emsd's journal, which may be in use; no file is overwritten"
HEAD = (
    *("number", "time", "account", "market", "kind", "side", "size", "price", "fee"),
    *("fee_currency", "oid", "id", "revision", "source"),
)
"""The columns of an export."""
PAGE = 1000
"""Entries asked for at once; emsd gives no more."""


def main(arguments: list[str]) -> int:
    """Do what is asked."""
    parse = parser("ledger", f"Fills, fees and adjustments. {ACTIONS}.", "export ledger.csv")
    parse.add_argument("action", choices=["show", "sync", "export", "import-flex", "backup"])
    parse.add_argument("target", nargs="?", help="of sync: the account; else a file")
    parse.add_argument("--account", help="show, export, import-flex: only of this account")
    parse.add_argument("--market", help="show, export: only of this market")
    parse.add_argument(
        "--last", type=positive, default=20, metavar="N", help="show so many; default: 20"
    )
    parse.add_argument("--file", type=Path, help="export: read this copy, emsd is not asked")
    parse.add_argument(
        "--zone", help="import-flex: of the report's times; default: America/New_York"
    )
    parse.add_argument(
        "--dry-run", action="store_true", help="import-flex: say what would be, enter nothing"
    )
    parse.add_argument(
        "--json", action="store_true", help="show: an object an entry; import-flex: an account"
    )
    args = parse.parse_args(arguments)
    _check(parse, args)
    if args.action == "import-flex":
        return _import_flex(parse, args)
    if not args.file:
        args.account, args.market = trio.run(desk.narrowed, args.account, args.market)
    actions = {"show": _show, "sync": _sync, "export": _export, "backup": _backup}
    return actions[args.action](args)


def _check(parse: argparse.ArgumentParser, args: argparse.Namespace) -> None:
    if args.action in ("sync", "backup", "import-flex") and not args.target:
        parse.error(f"expected {'an account' if args.action == 'sync' else 'a file'}")
    if args.action != "import-flex" and (args.zone or args.dry_run):
        parse.error(f"{'--zone' if args.zone else '--dry-run'} goes with import-flex")
    if args.action == "import-flex" and args.market:
        parse.error("--market goes with show and export")
    if args.action == "show" and args.target:
        parse.error(f"unrecognized arguments: {args.target}")
    if args.action != "export" and args.file:
        parse.error("--file goes with export")


def _show(args: argparse.Namespace) -> int:
    trio.run(_print, args)
    return 0


async def _print(args: argparse.Namespace) -> None:
    newest: deque[LedgerLine] = deque(maxlen=args.last)
    async for line in _entries(args):
        newest.append(line)
    if args.json:
        for line in newest:
            print(msgspec.json.encode(line).decode())
        return
    lines.show(_table(newest, await desk.live()) if newest else "the ledger is empty")


async def _entries(args: argparse.Namespace) -> AsyncIterator[LedgerLine]:
    """Every entry, a page at a time."""
    after = 0
    async with client.viewing() as emsd:
        while True:
            call = Ledger(account=args.account, market=args.market, after=after, limit=PAGE)
            page = (await emsd.call(call, LedgerReply)).lines
            if not page:
                return
            for line in page:
                yield line
            after = page[-1].number


def _table(entries: Iterable[LedgerLine], live: lines.Live) -> object:
    numbers = ("number", "size", "price", "fee")
    columns = ("number", "time", "account", "", "market", "kind", "side", "size", "price", "fee")
    table = lines.grid(*columns, right=numbers)
    for entry in entries:
        row = dict(zip(HEAD, _row(entry), strict=True))
        time_ns = (entry.execution or entry.adjustment).time_ns  # type: ignore[union-attr]
        fee = " ".join(filter(None, [row["fee"], row["fee_currency"]]))
        cells = [row[name] for name in ("market", "kind", "side", "size", "price")]
        money = lines.styled_money(row["account"], live)
        lines.add(table, row["number"], dated(time_ns), row["account"], money, *cells, fee)
    return table


def _row(line: LedgerLine) -> tuple[str, ...]:
    """One entry by HEAD; its time in UTC."""
    fill, change = line.execution, line.adjustment
    if fill:
        return (
            *(str(line.number), _utc(fill.time_ns), fill.account, fill.market, "fill", fill.side),
            *(number(fill.size), number(fill.price), number(fill.fee), fill.fee_currency),
            *(fill.oid, fill.exec_id, str(fill.revision), ""),
        )
    assert change is not None
    return (
        *(str(line.number), _utc(change.time_ns), change.account, change.market, change.kind, ""),
        *(number(change.size), number(change.price), "", "", "", change.adjustment_id),
        *(str(change.revision or ""), change.source),
    )


def _utc(time_ns: int) -> str:
    """ISO 8601, with all nanoseconds."""
    seconds, ns = divmod(time_ns, 1_000_000_000)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{ns:09}Z"


def _sync(args: argparse.Namespace) -> int:
    trio.run(_reconcile, args.target)
    return 0


async def _reconcile(account: str) -> None:
    whole = await desk.account_named(account)
    async with client.trading() as emsd:
        await emsd.call(SyncLedger(account=whole), Done)
    print(f"{lines.account(whole, await desk.live())}: reconciled with its venue")


def _export(args: argparse.Namespace) -> int:
    """All entries are read before a file is begun."""
    entries = _from_copy(args) if args.file else trio.run(_all, args)
    if args.target in (None, "-"):
        _write(sys.stdout, entries)
        return 0
    try:
        _write_new(Path(args.target), entries)
    except OSError as error:
        desk.say(f"{args.target}: {error.strerror}")
        return FAILED
    print(f"{args.target}: {len(entries)} entries of the ledger")
    return 0


def _from_copy(args: argparse.Namespace) -> list[LedgerLine]:
    with open_copy(args.file) as copy:
        return list(copy.ledger_lines(args.account, args.market))
    raise AssertionError("opening a copy swallows nothing")


async def _all(args: argparse.Namespace) -> list[LedgerLine]:
    return [line async for line in _entries(args)]


def _write_new(target: Path, entries: Iterable[LedgerLine]) -> None:
    """To a file that must not be there yet. Raises OSError; then nothing of ours is left."""
    with target.open("x", newline="") as file:
        try:
            _write(file, entries)
            file.flush()
        except BaseException:
            target.unlink()
            raise


def _write(file: IO[str], entries: Iterable[LedgerLine]) -> None:
    writer = csv.writer(file)
    writer.writerow(HEAD)
    writer.writerows(_row(entry) for entry in entries)


def _import_flex(parse: argparse.ArgumentParser, args: argparse.Namespace) -> int:
    from piker.brokers.ib.flex import ZONE
    from piker.cli import importflex

    try:
        zone = importflex.zone_named(args.zone or ZONE)
    except ValueError as error:
        parse.error(f"--zone: {error}")
    return importflex.run(
        Path(args.target), args.account, zone, dry_run=args.dry_run, json=args.json
    )


def _backup(args: argparse.Namespace) -> int:
    from piker.emsd import JOURNAL

    journal = paths.state_of("emsd") / JOURNAL
    try:
        backup(journal, Path(args.target))
    except OSError as error:
        desk.say(f"{args.target}: {error.strerror}")
        return FAILED
    print(f"{args.target}: a copy of {journal}")
    return 0
