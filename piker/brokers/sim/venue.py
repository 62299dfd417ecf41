"""The simulated venue, a process of its own: a book on disk, a socket, a token that it demands.

    python -m piker.brokers.sim.venue SOCKET DIRECTORY [--token-file FILE] [--walk SEED --rate HZ]

It stands for a broker's servers: nothing of it runs in a daemon. Each request is on disk before
it is answered, and so is whatever is told of, so that it may be killed at any time. What a test may
have it do comes over SOCKET.control (piker.brokers.sim.venuecontrol).

Task tree:

    run
    ├─ meet_traders    a task a connection that trades, and one more that writes to it
    ├─ meet_testers    a task a connection that controls
    └─ walk            moves prices, if it is to
"""

import argparse
import os
import secrets
import signal
import socket
import sqlite3
import sys
from collections.abc import Awaitable, Callable, Iterable, Iterator
from contextlib import suppress
from decimal import Decimal
from functools import cache
from pathlib import Path

import msgspec
import trio

from piker.brokers.sim.tradewire import (
    AskBook,
    BookIs,
    CancelOpen,
    CancelOrder,
    Ended,
    Event,
    Hello,
    NewOrder,
    NotCancelled,
    OpenCancelled,
    Rejected,
    Replace,
    ReplaceRefused,
    Request,
    Said,
    TurnedAway,
    Welcome,
    read_request,
    write,
)
from piker.brokers.sim.venuebook import Book, Facts, Kept, VenueOrder
from piker.brokers.sim.venuecontrol import (
    ComeBack,
    Command,
    Correct,
    CutAll,
    Did,
    EndDay,
    Fault,
    Faults,
    FillAnyway,
    Foreign,
    GoAway,
    Move,
    RollBack,
    SetAbsence,
    SetDepth,
    SetHolding,
    SetRenames,
    ShowBook,
    read_command,
)
from piker.brokers.sim.wire import LOWEST, PRICE_TICK, STEPS, Walk, mix, name
from piker.clock import wall_ns
from piker.notify import Manager
from piker.transport import Connection, HungUp, Message, listen

ACCOUNTS = ("main",)
UNREAD_BYTES = 64 * 1024 * 1024
"""Bytes that may wait for a trader; one that doesn't read is hung up on."""
FILE = "book.sqlite3"

_FOUNDATION = """
PRAGMA journal_mode = WAL;
PRAGMA synchronous = FULL;
CREATE TABLE IF NOT EXISTS kept (key TEXT PRIMARY KEY, value BLOB NOT NULL) STRICT;
"""
_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Kept).decode


class Store:
    """The book on disk, one row a thing that it keeps."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self._disk = sqlite3.connect(directory / FILE, isolation_level=None)
        self._disk.executescript(_FOUNDATION)

    def load(self) -> Iterator[Kept]:
        """All that was kept, in the order in which it first was."""
        for (value,) in self._disk.execute("SELECT value FROM kept ORDER BY rowid"):
            yield _decode(value)

    def save(self, kept: Iterable[Kept]) -> None:
        """Keep all of these, or none; on disk when this returns."""
        self._disk.execute("BEGIN")
        self._disk.executemany(
            "INSERT INTO kept VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value",
            [(_key(each), _encode(each)) for each in kept],
        )
        self._disk.execute("COMMIT")


class Trader:
    """One connection that trades."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.welcome = False
        self.gone = False
        self._unsent = bytearray()
        self._wake = trio.Event()

    def tell(self, data: bytes) -> None:
        """Write it now, or have it written, in order."""
        if self.gone:
            return
        self._unsent += data
        if len(self._unsent) == len(data):
            self._try()
        self._wake.set()
        if len(self._unsent) > UNREAD_BYTES:
            self.hang_up()

    def hang_up(self) -> None:
        """Neither hear nor tell any more; what was not written is lost."""
        self.gone = True
        self.connection.close()

    async def write(self) -> None:
        """Write what did not fit. Raises HungUp."""
        while True:
            await self._wake.wait()
            self._wake = trio.Event()
            while self._unsent and not self.gone:
                await self.connection.writable()
                self._try()

    def _try(self) -> None:
        with suppress(HungUp):  # who listens to it meets the same
            del self._unsent[: self.connection.try_send(bytes(self._unsent))]


class Venue:
    """The book, those who trade on it, and what a test wants to go wrong."""

    def __init__(
        self, path: str, store: Store, book: Book, token: str | None, nursery: trio.Nursery
    ) -> None:
        self._path = path
        self._listener = listen(path)
        self._store = store
        self._book = book
        self._token = token
        self._nursery = nursery
        self._traders: set[Trader] = set()
        self._faults = Faults()
        self._unsaid: list[tuple[Said, Trader | None]] = []
        """What was done and is to be said when it is on disk; to None: to all."""
        self._held: list[tuple[list[Trader], bytes]] = []
        self._present = trio.CancelScope()
        self._back = trio.Event()
        """Set, but while it is away."""
        self._back.set()

    # --- who trades

    async def meet_traders(self) -> None:
        """Meet them, but for the times when it is away."""
        while True:
            with self._listener, trio.CancelScope() as self._present:
                await _accept(self._listener, self._trade)
            await self._back.wait()

    async def _trade(self, sock: socket.socket) -> None:
        trader = Trader(Connection(sock))
        self._traders.add(trader)
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(trader.write)
                while not trader.gone and (messages := await trader.connection.receive()):
                    self._take_all(trader, messages)
                nursery.cancel_scope.cancel()
        except* (HungUp, msgspec.DecodeError):
            pass
        finally:
            self._traders.discard(trader)
            trader.hang_up()

    def _take_all(self, trader: Trader, messages: list[Message]) -> None:
        """What has come at once is one commit. Raises DecodeError at what makes no sense."""
        try:
            for message in messages:
                self._take(trader, read_request(message.data))
        finally:
            self._commit()

    def _take(self, trader: Trader, request: Request) -> None:
        """Do what a request asks; what is said of it waits for `_commit`."""
        if trader.gone:
            return
        if isinstance(request, Hello) or not trader.welcome:
            self._greet(trader, request)
            return
        fault = self._faults.of_request(request)
        if fault:
            self._commit()
            self._take_wrongly(trader, request, fault)
        else:
            self._carry_out(trader, request)

    def _take_wrongly(self, trader: Trader, request: Request, fault: Fault) -> None:
        """Do with a request what a test wants to be done."""
        match fault.does:
            case "swallow":
                return
            case "refuse":
                self._tell_all(_refusals(request, fault.reason))
                return
            case "cut_before":
                trader.hang_up()
                return
        self._carry_out(trader, request)
        if fault.does == "die_before":
            _die()
        self._save()
        if fault.does == "die_after":
            _die()
        trader.hang_up()
        self._commit()

    def _carry_out(self, trader: Trader, request: Request) -> None:
        events = list(self._events(request))
        self._unsaid += [(event, None) for event in events]
        self._unsaid += [(answer, trader) for answer in self._answers(request, events)]

    def _commit(self) -> None:
        """Have all that was done on disk, then say it."""
        self._save()
        unsaid, self._unsaid = self._unsaid, []
        for message, trader in unsaid:
            self._tell(message, [trader] if trader else self._welcome())

    def _events(self, request: Request) -> Iterator[Event]:
        now_ns = wall_ns()
        match request:
            case NewOrder():
                yield from self._book.take(request, now_ns)
            case Replace():
                yield from self._book.replace(request, now_ns)
            case CancelOrder():
                yield from self._book.cancel(request, now_ns)
            case CancelOpen(scope=scope, account=account):
                found = self._book.to_cancel(ours=scope == "ours", account=account)
                yield from self._book.cancel_these(found, now_ns)

    def _answers(self, request: Request, events: list[Event]) -> Iterator[Said]:
        match request:
            case AskBook():
                yield self._book.show(request.asked, request.since_ns)
            case CancelOpen():
                ids = tuple(event.order_id for event in events if isinstance(event, Ended))
                yield OpenCancelled(asked=request.asked, order_ids=ids)

    def _greet(self, trader: Trader, request: Request) -> None:
        if isinstance(request, Hello) and self._knows(request.token):
            trader.welcome = True
            proves = self._book.facts.absence_proves
            self._commit()
            self._tell(Welcome(accounts=self._book.accounts, absence_proves=proves), [trader])
        else:
            trader.tell(write(TurnedAway(reason="the token is not known here")))
            trader.hang_up()

    def _knows(self, token: str) -> bool:
        if self._token is None:
            return bool(token)
        return secrets.compare_digest(token.encode(), self._token.encode())

    # --- what is said

    def _tell_all(self, events: Iterable[Said]) -> None:
        for event in events:
            self._tell(event, self._welcome())

    def _welcome(self) -> list[Trader]:
        return [trader for trader in self._traders if trader.welcome]

    def _tell(self, message: Said, traders: list[Trader]) -> None:
        """Say it, unless a test wants something else to happen."""
        fault = self._faults.of_message(message)
        data = write(message)
        match fault.does if fault else "":
            case "drop":
                return
            case "cut":
                _hang_up(traders)
                return
            case "die":
                _die()
            case "hold":
                self._held.append((traders, data))
                return
            case "delay" if fault:
                self._nursery.start_soon(_tell_later, traders, data, fault.seconds)
                return
            case "repeat":
                _write_to(traders, data)
        _write_to(traders, data)
        held, self._held = self._held, []
        for those, late in held:
            _write_to(those, late)

    def _save(self) -> None:
        if self._book.unsaved:
            self._store.save(self._book.unsaved)
            self._book.unsaved.clear()

    # --- who tests

    async def meet_testers(self, listener: socket.socket) -> None:
        """Take commands."""
        with listener:
            await _accept(listener, self._control)

    async def _control(self, sock: socket.socket) -> None:
        connection = Connection(sock)
        with suppress(HungUp):
            while messages := await connection.receive():
                for message in messages:
                    await connection.send(write(self._obey(message.data)))
        connection.close()

    def _obey(self, data: bytes) -> Did:
        try:
            return self._do(read_command(data))
        except (msgspec.DecodeError, KeyError, ValueError) as error:
            return Did(problem=f"{type(error).__name__}: {error}")

    def _do(self, command: Command) -> Did:
        events = list(self._happen(command, wall_ns()))
        self._save()
        self._tell_all(events)
        match command:
            case Fault():
                self._faults.add(command)
            case CutAll() | SetAbsence():
                _hang_up(self._traders)
            case GoAway():
                self._go_away(command.seconds)
            case ComeBack():
                self._come_back()
            case ShowBook():
                return Did(book=self.shown())
        return Did()

    def shown(self) -> BookIs:
        """The whole book."""
        return self._book.show(0, 0)

    def _happen(self, command: Command, now_ns: int) -> Iterator[Event]:
        book = self._book
        match command:
            case Move(market=market, price=price):
                yield from book.move(market, price, now_ns)
                book.keep_price(market)
            case Correct(exec_id=exec_id, size=size, price=price):
                yield from book.correct(exec_id, size, price, now_ns)
            case FillAnyway(ref=ref, size=size, price=price):
                yield from book.fill_anyway(ref, size, price, now_ns)
            case EndDay():
                yield from book.end_day(now_ns)
            case Foreign(account=account, market=market, side=side, size=size, limit=limit):
                order = NewOrder(
                    ref="",
                    account=account,
                    market=market,
                    side=side,
                    size=size,
                    limit=limit,
                    tif="gtc",
                )
                yield from book.take(order, now_ns)
            case _:
                _learn(book, command)

    def _go_away(self, seconds: float | None) -> None:
        if self._back.is_set():
            self._back = trio.Event()
            os.unlink(self._path)
            _hang_up(self._traders)
            self._present.cancel()
        if seconds is not None:
            self._nursery.start_soon(self._come_back_after, seconds)

    async def _come_back_after(self, seconds: float) -> None:
        await trio.sleep(seconds)
        self._come_back()

    def _come_back(self) -> None:
        if not self._back.is_set():
            self._listener = listen(self._path)
            self._back.set()

    # --- the market

    async def walk(self, seed: int, rate_hz: float) -> None:
        """Move, by a tick or none, the markets in which orders are open; never below the lowest."""
        start, steps = trio.current_time(), 0
        while True:
            steps += 1
            await trio.sleep_until(start + steps / rate_hz)
            for market in sorted(self._book.wanted):
                move = STEPS[mix(mix(seed) + steps + sum(market.encode())) >> 62]
                price = (self._book.price(market) or Decimal(0)) + move * Decimal(str(PRICE_TICK))
                lowest = LOWEST * Decimal(str(PRICE_TICK))
                events = list(self._book.move(market, max(lowest, price), wall_ns()))
                self._save()
                self._tell_all(events)


def _learn(book: Book, command: Command) -> None:
    match command:
        case SetDepth(size=size):
            book.know(depth=size)
        case SetAbsence(proves=proves):
            book.know(absence_proves=proves)
        case SetRenames(renames=renames):
            book.know(renames=renames)
        case RollBack(ids=ids):
            book.know(order_id=book.facts.order_id - ids)
        case SetHolding(account=account, market=market, size=size):
            book.hold(account, market, size)


def _refusals(request: Request, reason: str) -> Iterator[Event]:
    match request:
        case NewOrder(ref=ref):
            yield Rejected(ref=ref, reason=reason)
        case Replace(ref=ref, number=number):
            yield ReplaceRefused(ref=ref, number=number, reason=reason)
        case CancelOrder(ref=ref):
            yield NotCancelled(ref=ref, reason=reason)


async def _accept(
    listener: socket.socket, meet: Callable[[socket.socket], Awaitable[None]]
) -> None:
    listener.setblocking(False)
    async with trio.open_nursery() as nursery:
        while True:
            await trio.lowlevel.wait_readable(listener)
            with suppress(BlockingIOError, ConnectionAbortedError):
                accepted, _ = listener.accept()
                nursery.start_soon(meet, accepted)


async def _tell_later(traders: list[Trader], data: bytes, seconds: float) -> None:
    await trio.sleep(seconds)
    _write_to(traders, data)


def _write_to(traders: Iterable[Trader], data: bytes) -> None:
    for trader in traders:
        trader.tell(data)


def _hang_up(traders: Iterable[Trader]) -> None:
    for trader in traders:
        trader.hang_up()


def _die() -> None:
    """As if by the worst of accidents: nothing more is written or said."""
    os.kill(os.getpid(), signal.SIGKILL)


def _key(kept: Kept) -> str:
    match kept:
        case VenueOrder():
            return f"order {kept.number}"
        case Facts():
            return "facts"
    return f"trade {kept.exec_id}"


def first_prices(markets: int, seed: int) -> Callable[[str], Decimal | None]:
    """Where sim's market data of this seed begins, by market; None where there is no such one."""
    numbers = {name(number): number for number in range(markets)}

    @cache
    def first_price(market: str) -> Decimal | None:
        if market not in numbers:
            return None
        quote = Walk(market, seed, numbers[market]).quote(0, 0)
        return Decimal(str(quote.ticks[0].price))

    return first_price


async def run(options: argparse.Namespace) -> None:
    """Open the book and meet people until killed."""
    store = Store(options.directory)
    book = Book(ACCOUNTS, first_prices(options.markets, options.seed))
    for kept in store.load():
        book.load(kept)
    if options.absence_proves:
        book.know(absence_proves=options.absence_proves == "yes")
    token = options.token_file.read_text().strip() if options.token_file else None
    async with trio.open_nursery() as nursery:
        venue = Venue(options.socket, store, book, token, nursery)
        nursery.start_soon(venue.meet_testers, listen(f"{options.socket}.control"))
        nursery.start_soon(venue.meet_traders)
        if options.walk is not None:
            nursery.start_soon(venue.walk, options.walk, options.rate)
        Manager().notify("READY=1")


def _options(arguments: list[str]) -> argparse.Namespace:
    parse = argparse.ArgumentParser(prog="piker.brokers.sim.venue", description=__doc__)
    parse.formatter_class = argparse.RawDescriptionHelpFormatter
    parse.add_argument("socket", help="path to listen at; SOCKET.control takes a test's commands")
    parse.add_argument("directory", type=Path, help="where the book is kept")
    parse.add_argument("--token-file", type=Path, help="the token to demand; default: any")
    parse.add_argument(
        "--absence-proves", choices=("yes", "no"), help="default: as it was, at first yes"
    )
    parse.add_argument("--markets", type=int, default=10, help="how many there are")
    parse.add_argument("--seed", type=int, default=1, help="of the first prices, as sim's")
    parse.add_argument("--walk", type=int, metavar="SEED", help="prices walk by themselves")
    parse.add_argument("--rate", type=float, default=10.0, metavar="HZ", help="steps a second")
    return parse.parse_args(arguments)


def main() -> int:
    """python -m piker.brokers.sim.venue."""
    options = _options(sys.argv[1:])
    with suppress(KeyboardInterrupt):
        trio.run(run, options)
    return 0


if __name__ == "__main__":
    sys.exit(main())
