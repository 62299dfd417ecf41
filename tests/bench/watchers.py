"""A process of watchers: so many Watch streams of every tick, decoded, counted to the end.

    python -m tests.bench.watchers SOCKET STREAMS QUOTES

Prints "ready" when all are watching; then the CLOCK_BOOTTIME ns at which the last had all quotes,
and the median age of the quotes when they were decoded, ns.
"""

import sys
from statistics import median

import trio

from piker.clock import boot_ns
from piker.interfaces.data import DATA, Watch, WatchReply
from piker.varlink import open_client
from tests.bench.burst import FQME


async def _watch(
    path: str, quotes: int, ages: list[int], *, task_status: trio.TaskStatus[None]
) -> None:
    async with open_client(path, DATA, "datad@burst") as client:
        seen = 0
        async for reply, _ in client.replies(Watch(markets=(FQME,), every=True), WatchReply):
            if reply.markets:
                task_status.started()
            now = boot_ns()
            ages += [now - quote.ticks[0].seen_ns for quote in reply.quotes]
            seen += len(reply.quotes)
            if seen == quotes:
                return


async def _watch_all(path: str, streams: int, quotes: int) -> None:
    ages: list[int] = []
    async with trio.open_nursery() as nursery:
        for _ in range(streams):
            await nursery.start(_watch, path, quotes, ages)
        print("ready", flush=True)
    print(boot_ns(), median(ages), flush=True)


if __name__ == "__main__":
    trio.run(_watch_all, sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
