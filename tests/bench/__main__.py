"""Runs the benchmarks named on the command line, or all of them."""

import sys
from pathlib import Path

import msgspec

from tests.bench import (
    bars,
    calls,
    fanout,
    gaps,
    historyimport,
    historyload,
    historystart,
    ibfeed,
    journal,
    latency,
    memory,
    orders,
    start,
    triggers,
)
from tests.bench.result import Result, table

CASES = {
    "fanout": fanout.run,
    "latency": latency.run,
    "calls": calls.run,
    "start": start.run,
    "memory": memory.run,
    "bars": bars.run,
    "dark_trigger": triggers.run,
    "orders": orders.run,
    "journal_start": journal.run_start,
    "journal_append": journal.run_append,
    "ib_feed": ibfeed.run,
    "gaps": gaps.run,
    "history_import": historyimport.run,
    "history_load": historyload.run,
    "history_start": historystart.run,
}
TABLE = Path(__file__).parents[2] / "docs" / "benchmarks.md"


def main(names: list[str]) -> int:
    """Run them; a run of all of them writes the table in docs/."""
    unknown = [name for name in names if name not in CASES]
    if unknown:
        print(f"expected some of {', '.join(CASES)}, was {', '.join(unknown)}", file=sys.stderr)
        return 2
    results: list[Result] = []
    for name in names or CASES:
        print(f"bench: {name} …", file=sys.stderr)
        for result in CASES[name]():
            results.append(result)
            print(msgspec.json.encode(result).decode(), flush=True)
    print(table(results), file=sys.stderr)
    if not names:
        TABLE.write_text(table(results))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
