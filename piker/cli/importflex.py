"""piker ledger import-flex: executions out of a Flex report of Interactive Brokers.

It reads the file and names what is in it; what is entered, and how, emsd decides.
"""

from collections.abc import Iterable, Iterator, Sequence
from decimal import Decimal
from itertools import groupby
from pathlib import Path

import msgspec
import trio
from msgspec import Struct, structs

from piker import client, config
from piker.brokers.ib import Settings
from piker.brokers.ib.accountnames import AccountNames, BadAccounts, shortened
from piker.brokers.ib.flex import Left, Report, Trade, read
from piker.brokers.ib.flexxml import MAX_BYTES, BadReport, too_big
from piker.brokers.ib.hours import zone_of
from piker.cli import FAILED, desk, lines
from piker.core.wording import number, rounded
from piker.errors import Refused, Unreachable
from piker.interfaces.broker import UnknownAccount
from piker.interfaces.orders import (
    ImportedMarket,
    ImportedTo,
    ImportExecutions,
    ImportReply,
    NotImported,
)

PART = 1 << 20
"""Bytes of the file that are read at once."""
PAGE = 1_000
"""Executions in one call; emsd takes twice as many."""
ANSWER_S = 240.0
"""How long a call may take: markets that emsd doesn't know yet are asked for."""


class Unread(Struct, frozen=True, kw_only=True):
    """What of an account could not be read."""

    row: int
    what: str
    why: str


class Imported(Struct, frozen=True, kw_only=True):
    """What came of one account: what --json prints."""

    account: str
    live: bool | None
    dry_run: bool
    zone: str
    new: int
    corrected: int
    known: int
    refused: tuple[NotImported, ...]
    unread: tuple[Unread, ...]
    changes: tuple[ImportedTo, ...]

    @property
    def whole(self) -> bool:
        """Whether all that was told is entered."""
        return not (self.refused or self.unread)


def run(file: Path, account: str | None, zone: str, *, dry_run: bool, json: bool) -> int:
    """Do it. Raises Refused or Unreachable."""
    try:
        names = AccountNames(_settings().accounts)
        report = read(_parts(file), zone_of(zone))
        wanted = _wanted(report, names, account)
    except (BadReport, BadAccounts) as error:
        desk.say(f"{file}: {error}" if isinstance(error, BadReport) else _set_accounts(error))
        return FAILED
    except OSError as error:
        desk.say(f"{file}: {error.strerror}")
        return FAILED
    for each in _not_configured(report, names) if not account else ():
        desk.say(f"{file}: {each}")
    return trio.run(_import, file, report, wanted, zone, dry_run, json)


def zone_named(name: str) -> str:
    """A time zone's name. Raises ValueError."""
    return zone_of(name).key


def _settings() -> Settings:
    return config.provider_settings(config.load(), "ib", Settings)


def _set_accounts(error: BadAccounts) -> str:
    return f"[providers.ib] accounts in piker.toml: {error}"


def _parts(file: Path) -> Iterator[bytes]:
    """Raises OSError, or BadReport before anything is read of what is too big."""
    with file.open("rb") as opened:
        size = file.stat().st_size
        if size > MAX_BYTES:
            raise too_big(size)
        while part := opened.read(PART):
            yield part


# --- whose it is


def _wanted(report: Report, names: AccountNames, account: str | None) -> dict[str, str]:
    """The whole names of the accounts to import, by their numbers. Raises BadReport, Refused."""
    if account is not None and account not in names.whole_names:
        raise Refused(UnknownAccount(account=account, allowed=names.whole_names))
    known = {each: names.name_of(each) for each in report.accounts}
    wanted = {each: name for each, name in known.items() if name and account in (None, name)}
    if wanted:
        return wanted
    told = ", ".join(map(shortened, report.accounts))
    asked = [account] if account else names.whole_names
    expected = ", ".join(f"{each} ({shortened(names.number_of(each))})" for each in asked)
    raise BadReport(
        f"expected executions of {expected}, was of {told}: see [providers.ib] accounts"
    )


def _not_configured(report: Report, names: AccountNames) -> Iterator[str]:
    for each in report.accounts:
        if names.name_of(each) is None:
            count = sum(trade.execution.account == each for trade in report.trades)
            what = "1 execution" if count == 1 else f"{count} executions"
            yield (
                f"left out: {what} of {shortened(each)}, which is none of [providers.ib] accounts "
                "in piker.toml"
            )


# --- what emsd makes of it


async def _import(
    file: Path, report: Report, wanted: dict[str, str], zone: str, dry_run: bool, json: bool
) -> int:
    whole = True
    live = await desk.live()
    for account_number, name in wanted.items():
        trades = [each for each in report.trades if each.execution.account == account_number]
        left = [each for each in report.left if each.account == account_number]
        reply = await _entered(name, trades, f"Flex report {file.name}", dry_run)
        imported = _imported(name, reply, left, zone, dry_run, live)
        _show(imported, live, json)
        whole = whole and imported.whole
    if report.passed_over and not json:
        told = ", ".join(f"{count} {level}" for level, count in sorted(report.passed_over.items()))
        print(f"rows that are no executions: {told}")
    return 0 if whole else FAILED


async def _entered(
    account: str, trades: Sequence[Trade], source: str, dry_run: bool
) -> ImportReply:
    """What came of all calls together. Raises Refused or Unreachable."""
    replies = []
    async with client.trading() as emsd:
        for page in _pages(trades):
            call = _call(account, page, source, dry_run)
            try:
                replies.append(await emsd.call(call, ImportReply, ANSWER_S))
            except Unreachable as error:
                again = "import the report again: what is known is not entered twice"
                raise Unreachable(f"{error}; {again}") from error
    return _together(replies)


def _call(account: str, page: Sequence[Trade], source: str, dry_run: bool) -> ImportExecutions:
    markets = {each.market.fqme: each.market for each in page}
    return ImportExecutions(
        account=account,
        executions=tuple(
            structs.replace(each.execution, account=account, market=each.market.fqme)
            for each in page
        ),
        markets=tuple(
            ImportedMarket(
                fqme=each.fqme,
                venue_id=str(each.con_id),
                description=each.description,
                asset_class=each.asset_class,
                currency=each.currency,
                multiplier=each.multiplier,
            )
            for each in markets.values()
        ),
        source=source,
        dry_run=dry_run or None,
    )


def _pages(trades: Sequence[Trade]) -> Iterator[list[Trade]]:
    """Markets whole, as many as there is room for in a call; of one too large, parts."""
    page: list[Trade] = []
    for _, group in groupby(sorted(trades, key=_by_market), key=lambda each: each.market.fqme):
        of_one = list(group)
        if page and len(page) + len(of_one) > PAGE:
            yield page
            page = []
        page += of_one
        while len(page) > PAGE:
            yield page[:PAGE]
            page = page[PAGE:]
    if page:
        yield page


def _by_market(trade: Trade) -> tuple[str, Decimal, int]:
    return trade.market.fqme, trade.market.multiplier, trade.execution.time_ns


def _together(replies: Sequence[ImportReply]) -> ImportReply:
    changes: dict[str, ImportedTo] = {}
    for change in (each for reply in replies for each in reply.changes):
        before = changes.get(change.after.market, change).before
        changes[change.after.market] = structs.replace(change, before=before)
    return ImportReply(
        new=sum(each.new for each in replies),
        corrected=sum(each.corrected for each in replies),
        known=sum(each.known for each in replies),
        refused=tuple(refused for each in replies for refused in each.refused),
        changes=tuple(changes.values()),
    )


# --- how it is shown


def _imported(
    account: str,
    reply: ImportReply,
    left: Iterable[Left],
    zone: str,
    dry_run: bool,
    live: lines.Live,
) -> Imported:
    return Imported(
        account=account,
        live=lines.is_live(account, live),
        dry_run=dry_run,
        zone=zone,
        unread=tuple(Unread(row=each.row, what=each.what, why=each.why) for each in left),
        **structs.asdict(reply),
    )


def _show(imported: Imported, live: lines.Live, json: bool) -> None:
    if json:
        print(msgspec.json.encode(imported).decode())
        return
    would = "would be " if imported.dry_run else ""
    print(
        f"{lines.account(imported.account, live)}: {imported.new} {would}new, {imported.corrected} "
        f"corrected, {imported.known} known; times are those of {imported.zone}"
    )
    if imported.changes:
        lines.show(_table(imported.changes))
    for refused in imported.refused:
        print(f"not entered: {refused.exec_id}: {refused.reason}")
    for unread in imported.unread:
        print(f"not read: row {unread.row}, {unread.what}: {unread.why}")


def _table(changes: Iterable[ImportedTo]) -> object:
    columns = ("market", "held", "average", "before", "realised", "before", "currency")
    table = lines.grid(*columns, right=columns[1:-1])
    for change in changes:
        before, after = change.before, change.after
        average = [_average(after.average_price), _average(before.average_price)]
        realised = [number(after.realised), number(before.realised)]
        lines.add(table, after.market, number(after.size), *average, *realised, after.currency)
    return table


def _average(price: Decimal | None) -> str:
    return "" if price is None else rounded(price)
