"""piker history import: bars out of somebody else's file.

The file is read as the person may read it, and checked, while datad makes itself ready; it checks
again what it keeps.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec
import trio
from msgspec import Struct, structs

from piker import clock, storeclient
from piker.cli import FAILED, desk, historyread
from piker.cli.historyread import Reader
from piker.cli.historytimes import named
from piker.core.rowfaults import utc
from piker.errors import Refused
from piker.interfaces.store import Conflict, ImportBars, ImportRowsReply, WouldReplace
from piker.store.foreignwords import Asked, BadFile, Found, Piece
from piker.storeclient import Importing

MAX_SOURCE = 200


class BadRow(Struct, frozen=True, kw_only=True):
    """A row that can't be true."""

    where: str
    why: str


class Imported(Struct, frozen=True, kw_only=True):
    """What came of a file: what --json prints."""

    file: str
    market: str
    period_s: int
    imported: bool
    """Whether the good rows were handed in."""
    read: int
    bad: int
    counts: Mapping[str, int]
    bad_rows: tuple[BadRow, ...]
    guessed: tuple[str, ...]
    added: int = 0
    changed: int = 0
    kept: int = 0
    conflicts: int = 0
    shown: tuple[Conflict, ...] = ()


class Ways(NamedTuple):
    """How it is done."""

    calendar: str | None
    """By which they are traded, where the venue doesn't say."""
    skip: bool
    """Bad rows are left out."""
    complete: bool
    """Where no row is, nobody traded."""
    replace: bool
    """Other values of an earlier import give way."""
    json: bool


def run(file: Path, market: str, asked: Asked, ways: Ways) -> int:
    """Do it; gives the exit status. Raises Refused or Unreachable."""
    return trio.run(_run, file, market, asked, ways)


async def _run(file: Path, market: str, asked: Asked, ways: Ways) -> int:
    call = ImportBars(
        market=market,
        period_s=asked.period_s,
        source=_source(file),
        calendar=ways.calendar,
        replace=ways.replace or None,
    )
    try:
        async with (
            storeclient.importing(call) as importing,
            historyread.reading(file, asked, clock.wall_ns(), importing.lent) as reader,
        ):
            found = await reader.found()
            takes = bool(found.pieces) and (ways.skip or found.good == found.read)
            replies: list[ImportRowsReply] = []
            would: WouldReplace | None = None
            if takes:
                replies, would = await _handed_in(importing, reader, found.pieces, ways)
                takes = not would
    except BadFile as error:
        desk.say(f"{file}: {error}")
        return FAILED
    imported = _imported(file, importing.market, asked, found, replies, takes)
    if would:
        imported = structs.replace(imported, conflicts=would.rows, shown=(_conflict(would),))
    if ways.json:
        print(msgspec.json.encode(imported).decode())
    else:
        _show(imported, found, ways.skip, would)
    return 0 if takes else FAILED


async def _handed_in(
    importing: Importing, reader: Reader, pieces: Sequence[Piece], ways: Ways
) -> tuple[list[ImportRowsReply], WouldReplace | None]:
    """Have datad keep the rows; none, if that would change an earlier import: which one."""
    try:
        return await _kept(importing, reader, pieces, ways), None
    except Refused as no:
        if isinstance(no.fault, WouldReplace):
            return [], no.fault
        raise


async def _kept(
    importing: Importing, reader: Reader, pieces: Sequence[Piece], ways: Ways
) -> list[ImportRowsReply]:
    """Piece by piece, after all were looked at."""
    replies = []
    for number, piece in enumerate(pieces) if importing.kept and len(pieces) > 1 else ():
        await reader.put(number)
        await importing.take(piece.rows, None, check=True)
    with _Progress(sum(each.rows for each in pieces), quiet=ways.json) as progress:
        for number, piece in enumerate(pieces):
            await reader.put(number)
            covered = (piece.from_ns, piece.to_ns) if ways.complete else None
            replies.append(await importing.take(piece.rows, covered))
            progress.advance(piece.rows)
    return replies


def _conflict(would: WouldReplace) -> Conflict:
    return Conflict(
        time_ns=would.time_ns, known=would.known[:4], told=would.told[:4], replaced=False
    )


class _Progress:
    """A bar on the terminal; elsewhere nothing."""

    def __init__(self, total: int, *, quiet: bool) -> None:
        from rich.console import Console
        from rich.progress import Progress

        console = Console(stderr=True)
        self._progress = Progress(console=console, disable=quiet or not console.is_terminal)
        self._task = self._progress.add_task("import", total=total)

    def __enter__(self) -> "_Progress":
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def advance(self, rows: int) -> None:
        """So many more are done."""
        self._progress.advance(self._task, rows)


def _source(file: Path) -> str:
    """The file's name, as far as it can be told."""
    name = "".join(each if each.isprintable() else "?" for each in file.name)
    return name[:MAX_SOURCE]


def _imported(
    file: Path,
    market: str,
    asked: Asked,
    found: Found,
    replies: list[ImportRowsReply],
    takes: bool,
) -> Imported:
    shown = [conflict for each in replies for conflict in each.shown]
    return Imported(
        file=str(file),
        market=market,
        period_s=asked.period_s,
        imported=takes,
        read=found.read,
        bad=found.read - found.good,
        counts=found.counts,
        bad_rows=tuple(BadRow(where=each.where, why=each.why) for each in found.bad),
        guessed=found.guessed,
        added=sum(each.added for each in replies),
        changed=sum(each.changed for each in replies),
        kept=sum(each.kept for each in replies),
        conflicts=sum(each.conflicts for each in replies),
        shown=tuple(shown[:20]),
    )


def _show(imported: Imported, found: Found, skip: bool, would: WouldReplace | None) -> None:
    for guess in imported.guessed:
        desk.say(f"{imported.file}: {guess}")
    for row in imported.bad_rows:
        desk.say(f"{imported.file}: {row.where}: {row.why}")
    if imported.bad:
        counts = ", ".join(f"{count} {what}" for what, count in imported.counts.items())
        desk.say(f"{imported.file}: {imported.bad} of {imported.read} rows are bad: {counts}")
    if would:
        _show_conflict(imported, would)
        return
    if not imported.imported:
        others = "" if skip else "; --skip-bad imports the others"
        desk.say(f"{imported.file}: nothing was imported{others if found.good else ''}")
        return
    first, last = found.pieces[0].from_ns, found.pieces[-1].to_ns
    print(
        f"{imported.market} {named(imported.period_s)}: {imported.added} new, {imported.changed} "
        f"changed, {imported.kept} there already; {utc(first)} to {utc(last)}"
    )
    for each in imported.shown:
        verb = "was" if each.replaced else "stays"
        known, told = (_prices(values) for values in (each.known, each.told))
        print(f"{utc(each.time_ns)}: {verb} {known}, the file has {told}")
    if imported.conflicts > len(imported.shown):
        print(f"and {imported.conflicts - len(imported.shown)} more that differ")


def _show_conflict(imported: Imported, would: WouldReplace) -> None:
    known, told = (_prices(values) for values in (would.known, would.told))
    count = "1 bar" if would.rows == 1 else f"{would.rows} bars"
    at = f"that of {utc(would.time_ns)} is {known}, the file has {told}"
    desk.say(f"{imported.file}: it differs from an earlier import in {count}: {at}")
    what = "look at --stamps and --zone, or give --replace to have the file's values"
    desk.say(f"{imported.file}: nothing was imported: {what}")


def _prices(values: tuple[float, ...]) -> str:
    return " ".join(f"{each:.10g}" for each in values)
