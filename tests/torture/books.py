"""What venues have, read from their disks, behind the backs of all daemons."""

import shutil
import sqlite3
from collections import Counter
from collections.abc import Callable, Iterable
from contextlib import closing
from decimal import Decimal
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import msgspec

from piker import paths
from piker.brokers.sim.tradewire import Trade, execution
from piker.brokers.sim.venue import FILE
from piker.brokers.sim.venuebook import Kept, VenueOrder
from piker.core.paper import PaperOrder
from piker.orders import NOTHING, Execution
from tests.fakes.gateway import book as gateway
from tests.fakes.gateway.book import DONE, newest_executions
from tests.fakes.gateway.bookfile import BookFile

NS = 10**9


class Resting(NamedTuple):
    """An order that a venue works on."""

    size: Decimal
    filled: Decimal
    limit: Decimal | None


class VenueBook(NamedTuple):
    """All that a venue ever had of an account."""

    account: str
    open: dict[str, Resting]
    ended: dict[str, str]
    """How each ended that did."""
    booked: Counter[str]
    """How often an order reference came into the book; what was rejected did not."""
    executions: tuple[Execution, ...]
    records: dict[str, list[str]]
    """What stands on disk of each order, for a report."""

    def holdings(self) -> dict[str, Decimal]:
        """What its executions add up to, by market; what is flat is left out."""
        held: dict[str, Decimal] = {}
        for each in self.executions:
            signed = each.size if each.side == "buy" else -each.size
            held[each.market] = held.get(each.market, NOTHING) + signed
        return {market: size for market, size in held.items() if size}


def sim_book() -> VenueBook:
    """The simulated venue's."""
    uri = f"{(paths.state_directory() / 'sim-venue' / FILE).as_uri()}?mode=ro"
    with closing(sqlite3.connect(uri, uri=True)) as disk:
        rows = disk.execute("SELECT value FROM kept ORDER BY rowid").fetchall()
    kept = [_kept(value) for (value,) in rows]
    orders = [each for each in kept if isinstance(each, VenueOrder)]
    trades = [each for each in kept if isinstance(each, Trade)]
    accepted = [each for each in orders if each.outcome != "rejected"]
    return VenueBook(
        account="sim.main",
        open={each.ref: _resting(each) for each in accepted if not each.outcome},
        ended={each.ref: each.outcome for each in accepted if each.outcome},
        booked=Counter(each.ref for each in accepted),
        executions=tuple(map(execution, trades)),
        records=_by_oid([*((each.ref, each) for each in orders), *((t.ref, t) for t in trades)]),
    )


def gateway_file() -> Path:
    """Where the gateway of Interactive Brokers keeps its book."""
    return paths.state_directory() / "gateway.sqlite3"


def gateway_book(client_id: int, market_of: Callable[[int], str]) -> VenueBook:
    """What the gateway has of a client's orders; `market_of` names a contract by its id."""
    state = BookFile(str(gateway_file())).read()
    orders = [each for each in state.orders if each.client_id == client_id]
    done = newest_executions(state.executions)
    trades = [_as_execution(each, market_of) for each in done if each.client_id == client_id]
    ended = {each.ticket.ref: each.status.lower() for each in orders if each.status in DONE}
    working = [each for each in orders if each.status not in DONE]
    told = [
        *((each.ticket.ref, each) for each in orders),
        *((each.ref, each) for each in state.executions),
    ]
    return VenueBook(
        account="ib.main",
        open={
            each.ticket.ref: Resting(each.ticket.size, each.filled, each.ticket.limit)
            for each in working
        },
        ended=ended,
        booked=Counter(each.ticket.ref for each in orders),
        executions=tuple(trades),
        records=_by_oid(told),
    )


def paper_book(provider: str) -> VenueBook:
    """paperboi's. It has its file for itself: a copy is read, made while it stands still."""
    path = paths.state_directory() / "piker-paperboi" / f"{provider}.sqlite"
    with TemporaryDirectory() as name:
        for each in path.parent.glob(f"{path.name}*"):
            shutil.copy(each, name)
        with closing(sqlite3.connect(Path(name, path.name))) as disk:
            orders = [_order(text) for (text,) in disk.execute("SELECT paper_order FROM orders")]
            rows = disk.execute("SELECT execution FROM executions ORDER BY number").fetchall()
    executions = [_execution(text) for (text,) in rows]
    told = [*((each.oid, each) for each in orders), *((each.oid, each) for each in executions)]
    return VenueBook(
        account=f"paper.{provider}",
        open={each.oid: _working(each) for each in orders if not each.outcome},
        ended={each.oid: each.outcome for each in orders if each.outcome},
        booked=Counter(each.oid for each in orders),
        executions=tuple(executions),
        records=_by_oid(told),
    )


_kept = msgspec.json.Decoder(Kept).decode
_order = msgspec.json.Decoder(PaperOrder).decode
_execution = msgspec.json.Decoder(Execution).decode


def _as_execution(done: gateway.Execution, market_of: Callable[[int], str]) -> Execution:
    """A fill of the gateway's as it is to be told: a correction has what its trade has in common,
    and revisions are three a correction, since costs may come later."""
    correction = int(done.exec_id.rpartition(".")[2])
    return Execution(
        exec_id=done.trade,
        revision=3 * (correction - 1),
        oid=done.ref,
        venue_id=str(done.perm_id),
        account="ib.main",
        market=market_of(done.con_id),
        side="buy" if done.side == "BOT" else "sell",
        size=done.shares,
        price=done.price,
        fee=done.commission,
        fee_currency="USD",
        time_ns=done.time_ns // NS * NS,
    )


def _resting(order: VenueOrder) -> Resting:
    return Resting(order.size, order.filled, order.limit)


def _working(order: PaperOrder) -> Resting:
    return Resting(order.working.size, order.working.filled, order.working.limit)


def _by_oid(told: Iterable[tuple[str, object]]) -> dict[str, list[str]]:
    records: dict[str, list[str]] = {}
    for oid, record in told:
        records.setdefault(oid, []).append(str(record))
    return records
