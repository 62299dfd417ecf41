"""The suite under a real pikerd, on a venue of a kind: what runs, and ways to hurt it.

Task tree: `a_house` has one task, pikerd's `supervise`; the daemons and the venue are children of
this process.
"""

import os
import signal
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager, suppress
from decimal import Decimal

import trio

from piker import clock, paths
from piker.client import open_daemon, trading, viewing
from piker.core.uuid7 import RANDOM_BYTES, uuid7
from piker.errors import Unreachable
from piker.interfaces.orders import (
    Accounts,
    AccountsReply,
    Amend,
    Cancel,
    Done,
    OrderReply,
    Resolve,
    Submit,
    SubmitReply,
    SyncLedger,
    Timeline,
    TimelineReply,
)
from piker.interfaces.service import SERVICE, Health, HealthReply
from piker.orders import Life, Order, Outcome
from piker.pikerd import supervise
from piker.supervision.supervisor import Supervisor
from tests.torture.books import VenueBook, paper_book
from tests.torture.sim import SIM
from tests.torture.venues import Kind, Venue

PATIENCE_S = 60.0
"""Nothing that is waited for takes longer."""
LOOK_S = 0.05
"""Between looks at what nobody tells."""
LOG_LINES = 20_000
"""Of what the daemons said, so many lines are kept for a report."""

VENUE = "the venue"
"""The name of the one process that is no unit."""

LIMITS = (
    "order_size",
    "order_notional",
    "position",
    "position_notional",
    "open_orders",
    "orders_per_s",
    "daily_loss",
    "distance_pct",
)


class Log:
    """What pikerd and the daemons say."""

    def __init__(self) -> None:
        self.lines: deque[str] = deque(maxlen=LOG_LINES)
        self.crashes: list[str] = []
        """What ended by itself, though nobody killed it."""

    def take(self, unit: str, line: str) -> None:
        """Take a line of a unit's output, or of what pikerd says of one."""
        self.lines.append(f"{unit}: {line}")
        if unit == "pikerd" and "; restarting in" in line and "killed by SIGKILL" not in line:
            self.crashes.append(line)


class House:
    """What runs, by name: a unit without its ending, or VENUE."""

    def __init__(self, kind: Kind, supervisor: Supervisor, venue: Venue, log: Log) -> None:
        self.kind = kind
        self.venue = venue
        self.lines = log.lines
        self.crashes = log.crashes
        self._supervisor = supervisor

    def pid(self, name: str) -> int | None:
        """Its process, if it runs."""
        if name == VENUE:
            return self.venue.pid
        units = {unit.unit: unit.pid for unit in self._supervisor.units()}
        return units.get(f"{name}.service")

    async def kill(self, name: str) -> bool:
        """Kill it as by the worst of accidents; the venue comes back, as servers do.

        Whether there was anything to kill.
        """
        pid = self.pid(name)
        if pid is None:
            return False
        await killed(pid)
        if name == VENUE:
            await self.venue.come_back()
        return True

    @contextmanager
    def frozen(self, name: str) -> Iterator[int]:
        """It gets no time to run while the context is open, unless it is killed. Gives its pid."""
        pid = self.pid(name)
        assert pid is not None, f"expected {name} to run"
        os.kill(pid, signal.SIGSTOP)
        try:
            yield pid
        finally:
            if self.pid(name) == pid:
                with suppress(ProcessLookupError):  # it was killed a moment ago
                    os.kill(pid, signal.SIGCONT)

    def books(self) -> tuple[VenueBook, VenueBook]:
        """What paperboi and the venue have now."""
        with self.frozen(self.kind.broker(self.kind.paper)):
            return paper_book(self.kind.provider), self.kind.book()

    def order(self, account: str, /, **changed: object) -> Order:
        """An order in this house: see `an_order`."""
        return an_order(account, self.kind, **changed)

    async def health(self, daemon: str, instance: str | None = None) -> HealthReply:
        """How a daemon says that it is."""
        async with open_daemon(daemon, instance, SERVICE) as client:
            return await client.call(Health(), HealthReply)

    async def until_said(self, unit: str, words: str, after: int = 0) -> None:
        """Wait for a line of a unit's log."""
        await until(
            lambda: any(
                line.startswith(f"{unit}.service: ") and words in line
                for line in list(self.lines)[after:]
            ),
            f"{unit} to say {words!r}",
        )

    async def until_runs(self, name: str) -> None:
        """Wait until it does."""
        await until(lambda: self.pid(name) is not None, f"{name} to run")

    async def until_another(self, name: str, pid: int) -> None:
        """Wait until a process took another's place."""
        await until(lambda: self.pid(name) not in (None, pid), f"another {name} than {pid}")


async def killed(pid: int) -> None:
    """Kill a process and wait until it has ended, whoever's child it is."""
    fd = os.pidfd_open(pid)
    try:
        os.kill(pid, signal.SIGKILL)
        with trio.fail_after(PATIENCE_S):
            await trio.lowlevel.wait_readable(fd)
    finally:
        os.close(fd)


async def until(condition: Callable[[], bool], what: str) -> None:
    """Look until something is so. Fails if it doesn't come to be."""
    with trio.move_on_after(PATIENCE_S):
        async for _ in Looks():
            if condition():
                return
    raise AssertionError(f"expected {what} within {PATIENCE_S:g} s")


class Looks:
    """Now, and every LOOK_S again: for what nobody tells."""

    def __init__(self) -> None:
        self._first = True

    def __aiter__(self) -> "Looks":
        return self

    async def __anext__(self) -> None:
        await trio.sleep(0 if self._first else LOOK_S)
        self._first = False


# --- orders


def new_oid() -> str:
    """An order's id."""
    return uuid7(clock.wall_ns() // 10**6, os.urandom(RANDOM_BYTES))


def an_order(account: str, kind: Kind = SIM, /, **changed: object) -> Order:
    """A limit order that rests far from the price, but for what is changed."""
    asked: dict[str, object] = {
        "oid": new_oid(),
        "account": account,
        "market": kind.market,
        "side": "buy",
        "size": Decimal(3),
        "kind": "limit",
        "limit": kind.price - 50,
    }
    return Order(**(asked | changed))  # type: ignore[arg-type]


async def submit(order: Order) -> SubmitReply:
    """Submit it once. Raises Refused or Unreachable."""
    async with trading() as emsd:
        return await emsd.call(Submit(order=order), SubmitReply, PATIENCE_S)


async def cancel(oid: str) -> Life:
    """Ask emsd to cancel an order. Raises Refused or Unreachable."""
    async with trading() as emsd:
        return (await emsd.call(Cancel(oid=oid), OrderReply)).life


async def amend(oid: str, *, limit: Decimal | None = None, size: Decimal | None = None) -> Life:
    """Ask emsd for another limit or total. Raises Refused or Unreachable."""
    async with trading() as emsd:
        return (await emsd.call(Amend(oid=oid, limit=limit, size=size), OrderReply)).life


async def resolve(oid: str, outcome: Outcome, note: str) -> Life:
    """Say as its owner what became of an order. Raises Refused or Unreachable."""
    async with trading() as emsd:
        call = Resolve(oid=oid, outcome=outcome, note=note)
        return (await emsd.call(call, OrderReply)).life


async def sync(account: str) -> None:
    """Have emsd ask an account's venue what it has. Raises Refused or Unreachable."""
    async with trading() as emsd:
        await emsd.call(SyncLedger(account=account), Done, PATIENCE_S)


async def timeline(oid: str) -> TimelineReply:
    """What emsd says became of an order, also while it comes back."""
    with trio.move_on_after(PATIENCE_S):
        async for _ in Looks():
            with suppress(Unreachable):
                async with viewing() as emsd:
                    return await emsd.call(Timeline(oid=oid), TimelineReply)
    raise AssertionError(f"expected emsd to answer within {PATIENCE_S:g} s")


async def until_life(oid: str, condition: Callable[[Life], bool], what: str) -> Life:
    """Wait until an order has come to be such; gives its life. Fails with its timeline."""
    reply = await timeline(oid)
    with trio.move_on_after(PATIENCE_S):
        async for _ in Looks():
            reply = await timeline(oid)
            if condition(reply.life):
                return reply.life
    told = "\n".join(f"  {news.seq} {news.event}" for news in reply.events)
    raise AssertionError(f"expected {oid} to be {what}, was {reply.life.state}:\n{told}")


async def until_ready(*accounts: str) -> None:
    """Wait until orders of these accounts can leave."""
    with trio.move_on_after(PATIENCE_S):
        async for _ in Looks():
            if set(accounts) <= await _ready():
                return
    raise AssertionError(f"expected {accounts} to be ready within {PATIENCE_S:g} s")


async def _ready() -> set[str]:
    try:
        async with viewing() as emsd:
            reply = await emsd.call(Accounts(), AccountsReply)
    except Unreachable:
        return set()
    return {each.account for each in reply.accounts if each.state == "ready"}


# --- the place


def configure(kind: Kind = SIM, rate_hz: float = 5.0, **emsd: object) -> None:
    """Write piker.toml: no limits but the venue's, and an account that may trade."""
    directory = paths.config_directory()
    settings = {"reconcile_every_s": 5, **emsd}
    (directory / "piker").mkdir(parents=True, exist_ok=True)
    lines = [
        "[risk]",
        *[f"{limit} = false" for limit in LIMITS],
        f'[accounts."{kind.main}"]\nlive = true',
        kind.settings(rate_hz),
        "[emsd]",
        *[f"{name} = {value}" for name, value in settings.items()],
    ]
    (directory / "piker" / "piker.toml").write_text("\n".join(lines))


@asynccontextmanager
async def a_house(kind: Kind = SIM) -> AsyncIterator[House]:
    """Everything listens, and the venue runs; nothing of it is left when the context ends."""
    log = Log()
    async with kind.opened() as venue, trio.open_nursery() as nursery:
        supervisor: Supervisor = await nursery.start(_supervise, kind.provider, log.take)
        yield House(kind, supervisor, venue, log)
        nursery.cancel_scope.cancel()


async def _supervise(
    provider: str,
    on_log: Callable[[str, str], None],
    *,
    task_status: trio.TaskStatus[Supervisor],
) -> None:
    await supervise([provider], on_log=on_log, task_status=task_status)


def own_places(directory: str) -> Mapping[str, str]:
    """The environment by which daemons find nothing but what is in a directory."""
    names = ("XDG_RUNTIME_DIR", "XDG_CONFIG_HOME", "XDG_STATE_HOME", "PIKER_ETC")
    return {name: os.path.join(directory, name.lower()) for name in names}
