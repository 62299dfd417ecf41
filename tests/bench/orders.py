"""Orders a second through emsd to paperboi, each committed on both sides before it is acked."""

import time
import uuid
from collections.abc import Iterator
from contextlib import aclosing
from decimal import Decimal
from pathlib import Path

import trio

from piker.interfaces.orders import (
    ORDERS,
    ORDERS_VIEW,
    Orders,
    OrdersReply,
    Submit,
    SubmitReply,
)
from piker.orders import Acked, Order
from piker.varlink import open_client
from tests.bench.journal import ALONE, one_by_one
from tests.bench.result import Result, compare
from tests.bench.rig import Rig, rig
from tests.bench.triggers import SETTINGS

CLIENTS = 100
EACH = 20
FQME = "s0000.xsim.sim"
LIMIT = Decimal(1)


def run() -> Iterator[Result]:
    """Many clients' resting orders; the peer only commits as many rows, one by one."""
    with rig() as made:
        made.configure(SETTINGS + "distance_pct = false\n")
        for arguments in (("piker.datad", "sim"), ("piker.paperboi", "sim")):
            made.start_daemon(*arguments)
        made.start_daemon("piker.emsd", sockets=2)
        yield compare(
            "orders",
            f"{CLIENTS} clients, to paperboi and acked",
            "orders/s",
            lambda: trio.run(_place_all, made),
            "sqlite3: a commit each",
            lambda: one_by_one(Path(made.directory, f"peer-{uuid.uuid4()}"), ALONE),
            more_is_better=True,
        )


async def _place_all(made: Rig) -> float:
    """Orders a second, from the first submit to the last ack that is told."""
    mine: set[str] = set()
    async with trio.open_nursery() as nursery:
        await _place(made, set(), 1)  # the account is opened, the market followed
        await nursery.start(_follow, made, mine)
        began = time.perf_counter()
        for _ in range(CLIENTS):
            nursery.start_soon(_place, made, mine, EACH)
    return CLIENTS * EACH / (time.perf_counter() - began)


async def _place(made: Rig, mine: set[str], count: int) -> None:
    async with open_client(made.socket("emsd", "trade"), ORDERS, "emsd") as client:
        for _ in range(count):
            order = Order(
                oid=str(uuid.uuid4()),
                account="paper",
                market=FQME,
                side="buy",
                size=Decimal(1),
                kind="limit",
                limit=LIMIT,
            )
            mine.add(order.oid)
            await client.call(Submit(order=order), SubmitReply, 60)


async def _follow(
    made: Rig, mine: set[str], *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
) -> None:
    """Until as many as are placed are acked."""
    acked = 0
    async with (
        open_client(made.socket("emsd", "view"), ORDERS_VIEW, "emsd") as client,
        aclosing(client.replies(Orders(), OrdersReply)) as replies,
    ):
        async for reply, _ in replies:
            if reply.complete and not reply.events:
                task_status.started()
            acked += sum(
                isinstance(news.event, Acked) and news.oid in mine for news in reply.events
            )
            if acked == CLIENTS * EACH:
                return
