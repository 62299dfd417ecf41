"""piker history --export: bars on disk, to a file for others."""

from contextlib import aclosing
from pathlib import Path

import msgspec
import trio

from piker import storeclient
from piker.cli import FAILED, desk
from piker.interfaces.store import Table
from piker.store.exporting import Export


def run(call: Table, target: Path, *, force: bool, json: bool) -> int:
    """Do it; gives the exit status. Raises Refused or Unreachable."""
    try:
        rows = trio.run(_export, call, target, force)
    except OSError as error:
        desk.say(f"{target}: {error.strerror or error}")
        return FAILED
    if json:
        print(msgspec.json.encode({"file": str(target), "rows": rows}).decode())
    else:
        print(f"{target}: {rows} bars")
    return 0


async def _export(call: Table, target: Path, force: bool) -> int:
    with Export(target, replace=force) as export:
        async with aclosing(storeclient.tables(call)) as tables:
            async for _, reader in tables:
                rows = reader.view()
                await trio.to_thread.run_sync(export.add, rows)
                del rows
        return export.rows
    raise AssertionError("an export swallows nothing")
