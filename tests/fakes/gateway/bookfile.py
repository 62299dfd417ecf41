"""What outlives a gateway, in a file: each order and execution by itself, and all else as one.

So a change costs what it changes, however much a gateway had before. What was kept survives the
death of the process, not of the machine.
"""

import sqlite3
from collections.abc import Collection
from contextlib import closing

from msgspec import Struct, json
from msgspec.structs import replace

from tests.fakes.gateway.book import Execution, Order, State

PATIENCE_S = 30
"""A reader never waits, nor is waited for: two writers would."""
TABLE = "CREATE TABLE IF NOT EXISTS kept (kind TEXT, number INTEGER, value BLOB, "
TABLE += "PRIMARY KEY (kind, number))"
SETUP = "PRAGMA journal_mode = WAL; PRAGMA synchronous = OFF; " + TABLE


class BookFile:
    """A gateway's file; without a path nothing is kept."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._executions = 0
        """So many are there."""

    def read(self) -> State:
        """What was kept, or nothing. Others may read it, too."""
        if not self._path:
            return State()
        with closing(self._open()) as disk:
            rows = disk.execute("SELECT kind, value FROM kept ORDER BY number").fetchall()
        found: dict[str, list[bytes]] = {"order": [], "execution": [], "rest": []}
        for kind, value in rows:
            found[kind].append(value)
        self._executions = len(found["execution"])
        rest = [json.decode(value, type=State) for value in found["rest"]] or [State()]
        return replace(
            rest[0],
            orders=[json.decode(value, type=Order) for value in found["order"]],
            executions=[json.decode(value, type=Execution) for value in found["execution"]],
        )

    def keep(self, state: State, touched: Collection[int]) -> None:
        """Keep the orders with these permIds as they are, new executions, and all else."""
        if not self._path:
            return
        new = state.executions[self._executions :]
        rows: list[tuple[str, int, Struct]]
        rows = [("order", each.perm_id, each) for each in state.orders if each.perm_id in touched]
        rows += [("execution", number, each) for number, each in enumerate(new, self._executions)]
        rows += [("rest", 0, replace(state, orders=[], executions=[]))]
        encoded = [(kind, number, json.encode(each)) for kind, number, each in rows]
        with closing(self._open()) as disk, disk:
            disk.executemany("INSERT OR REPLACE INTO kept VALUES (?, ?, ?)", encoded)
        self._executions = len(state.executions)

    def _open(self) -> sqlite3.Connection:
        disk = sqlite3.connect(self._path, timeout=PATIENCE_S)
        disk.executescript(SETUP)
        return disk
