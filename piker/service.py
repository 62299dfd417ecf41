"""What every daemon of the suite is: activated by a connection, watched, idle by exiting.

    sys.exit(service.main(daemon, instance, open_daemon, interfaces))

Task tree of a daemon's process:

    run
    ├─ daemon.run          the daemon's own tree
    ├─ server.serve        one task a listening socket, one a conversation (piker.varlink)
    ├─ reporter            STATUS and Health*, when something has changed
    ├─ watchdog            feeds the manager's, if every part of the tree is alive
    └─ until_the_end       a signal, or nobody to talk to for idle_exit
"""

import errno
import logging
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, ExitStack, closing, suppress
from dataclasses import dataclass
from itertools import chain
from typing import Literal, Protocol

import trio

from piker import clock, config, log, paths
from piker.errors import Fault, Refused, say
from piker.interfaces import Interface
from piker.interfaces.introspection import INTROSPECTION, GetInfo, Info
from piker.interfaces.service import (
    SERVICE,
    Component,
    Counter,
    Health,
    HealthReply,
    WrongClock,
)
from piker.notify import Manager
from piker.privacy import keep_to_itself
from piker.transport import Connection, listen
from piker.varlink import Client, Door, Server, Stream

EXIT_KEEP = 75
"""Told to end with a reason to live: the unit has RestartForceExitStatus=75."""
CLOCK_CHECK_S = 1.0
"""How often a clock that isn't set is looked at: the kernel tells of a step by no event that Python
can wait for before 3.13."""
REPORT_PAUSE_S = 0.2
"""STATUS is told at most five times a second."""

logger = logging.getLogger(__name__)


class Part:
    """A part of the task tree that the watchdog waits for.

    It calls `beat` whenever it has done work. `probe` puts something into the queue of its work
    that makes it beat: a part without work is asked, not suspected.
    """

    def __init__(self, name: str, probe: Callable[[], None]) -> None:
        self.name = name
        self.probe = probe
        self.alive = False

    def beat(self) -> None:
        """Say that it has done work."""
        self.alive = True


@dataclass(frozen=True)
class Report:
    """How a daemon is, as it says itself."""

    status: str
    state: Literal["running", "degraded", "failed", "stopping"] = "running"
    components: tuple[Component, ...] = ()
    counters: tuple[Counter, ...] = ()


class Daemon(Protocol):
    """What a daemon brings; `Service` does the rest."""

    @property
    def handlers(self) -> Mapping[Interface, object]:
        """What answers each interface, of all its doors (piker.varlink.Server)."""

    def report(self) -> Report:
        """How it is."""

    def reason_to_live(self) -> str:
        """Why it must not end, or an empty text."""

    async def run(self) -> None:
        """Its own task tree, until cancelled."""


OpenDaemon = Callable[["Service"], AbstractAsyncContextManager[Daemon]]
Interfaces = tuple[Interface, ...]
Doors = Mapping[str, Interfaces]
"""What a daemon serves on each of its sockets, by the socket's name."""


class Service:
    """The process around a daemon, for the daemon to talk to."""

    def __init__(self, name: str, instance: str | None, manager: Manager) -> None:
        self.name = name
        self.instance = instance
        self.manager = manager
        self.parts: list[Part] = []
        self.idle_exit_s = 300.0
        self._changed = trio.Event()

    @property
    def unit(self) -> str:
        """The unit's name, without its kind."""
        return paths.unit_name(self.name, self.instance)

    def part(self, name: str, probe: Callable[[], None]) -> Part:
        """Have the watchdog wait for a part of the tree."""
        part = Part(name, probe)
        self.parts.append(part)
        return part

    def changed(self) -> None:
        """Say that `Daemon.report` would now give something else."""
        self._changed.set()

    async def change(self) -> None:
        """Wait until something has changed; for one task."""
        await self._changed.wait()
        self._changed = trio.Event()


class CantWork:
    """Stands in for a daemon that can't do its work: answers each call with the reason."""

    def __init__(self, fault: Fault, doors: Doors) -> None:
        self.fault = fault
        self.handlers: Mapping[Interface, object] = {
            interface: self for interfaces in doors.values() for interface in interfaces
        }

    def __getattr__(self, method: str) -> Callable[..., Awaitable[None]]:
        async def refuse(*_: object) -> None:
            raise Refused(self.fault)

        return refuse

    def report(self) -> Report:
        """Failed, and why."""
        return Report(say(self.fault), "failed")

    def reason_to_live(self) -> str:
        """None."""
        return ""

    async def run(self) -> None:
        """Nothing to do."""
        logger.error(
            "can't work: %s; every call is answered so",
            say(self.fault),
            extra=log.fields(message_id=log.CANT_WORK),
        )


class Timeless(CantWork):
    """A daemon on a machine whose clock is not set: ends, to be started again, when it is."""

    def reason_to_live(self) -> str:
        """It waits: when it has ended, nobody may ask for it again when the clock is set."""
        return "it waits for the clock" if _clock_fault() else "the clock is set"

    async def run(self) -> None:
        """Wait until the clock is set."""
        await super().run()
        while _clock_fault():  # noqa: ASYNC110 nothing tells of it
            await trio.sleep(CLOCK_CHECK_S)
        signal.raise_signal(signal.SIGTERM)


def _clock_fault() -> WrongClock | None:
    now_ns = clock.wall_ns()
    if now_ns >= clock.EARLIEST_NS:
        return None
    return WrongClock(now_ns=now_ns, earliest_ns=clock.EARLIEST_NS)


def main(
    name: str, instance: str | None, open_daemon: OpenDaemon, interfaces: Interfaces | Doors
) -> int:
    """Run a daemon to its end; gives the exit status.

    A daemon with one door serves its interfaces on every socket that it is given. One with several
    says what each serves by its socket's name, which is the unit's FileDescriptorName=; its
    handlers are those of all doors together:

        service.main("emsd", None, open_emsd, {"view": (ORDERS_VIEW,), "trade": (ORDERS,)})
    """
    keep_to_itself()
    log.set_up(name, instance)
    with closing(Manager()) as manager:
        return trio.run(_run, Service(name, instance, manager), open_daemon, interfaces)


def main_of_provider(name: str, open_daemon: OpenDaemon, interfaces: Interfaces) -> int:
    """What `python -m piker.NAME PROVIDER` does; gives the exit status.

    Who types an option is told the usage. A manager's instance may look like one: it is answered
    by name like any that no provider has.
    """
    instance = sys.argv[1:]
    typed = "LISTEN_FDS" not in os.environ
    if len(instance) != 1 or (typed and instance[0].startswith("-")):
        print(f"usage: python -m piker.{name} PROVIDER", file=sys.stderr)  # noqa: T201
        return 2
    return main(name, instance[0], open_daemon, interfaces)


async def _run(service: Service, open_daemon: OpenDaemon, interfaces: Interfaces | Doors) -> int:
    doors: Doors = (
        {service.instance or service.name: interfaces}
        if isinstance(interfaces, tuple)
        else interfaces
    )
    try:
        listeners, by_hand = _listeners(service, doors)
    except OSError as error:
        taken = error.errno == errno.EADDRINUSE
        why = "is served here already" if taken else "can't listen"
        logger.error("%s %s: %s", service.unit, why, error.strerror or error)
        return 1
    async with AsyncExitStack() as stack:
        for listener in chain(*listeners):
            stack.enter_context(listener)
        stack.callback(_remove, by_hand)
        daemon = await _open(stack, service, open_daemon, doors)
        return await _Process(service, daemon, doors, stays=bool(by_hand)).run(listeners)
    raise AssertionError("an exit stack swallows nothing here")


async def _open(
    stack: AsyncExitStack, service: Service, open_daemon: OpenDaemon, doors: Doors
) -> Daemon:
    """The daemon, or what stands in for it."""
    unset = _clock_fault()
    if unset:
        return Timeless(unset, doors)
    try:
        return await stack.enter_async_context(open_daemon(service))
    except Refused as no:
        return CantWork(config.located(no.fault), doors)


def _listeners(service: Service, doors: Doors) -> tuple[list[list[socket.socket]], list[str]]:
    """The sockets that the manager listens on for each door; by hand, our own and their paths.

    Raises OSError.
    """
    inherited = service.manager.listeners
    if not inherited:
        return _listen(service, doors)
    if len(doors) == 1:
        return [list(chain(*inherited.values()))], []
    if strangers := inherited.keys() - doors.keys():
        expected, were = ", ".join(doors), ", ".join(sorted(strangers))
        raise OSError(f"expected sockets named {expected}, was also given {were}")
    return [inherited.get(door, []) for door in doors], []


def _listen(service: Service, doors: Doors) -> tuple[list[list[socket.socket]], list[str]]:
    files = [paths.fitting(paths.socket_path(service.name, door)) for door in doors]
    listeners = []
    with ExitStack() as undo:
        for file in files:
            listeners.append([undo.enter_context(listen(file))])
            undo.callback(_remove, [file])
            logger.info("%s listens on unix:%s", service.unit, file)
        undo.pop_all()
    return listeners, files


async def _drop(signals: AsyncIterator[int]) -> None:
    """To be told once is enough: one that comes later doesn't change how we end."""
    async for _ in signals:
        pass


def _remove(files: list[str]) -> None:
    for path in files:
        with suppress(FileNotFoundError):
            os.unlink(path)


class _Process:
    """One run of a daemon: its server, its status, its watchdog, its end."""

    def __init__(self, service: Service, daemon: Daemon, doors: Doors, *, stays: bool) -> None:
        self._stays = stays
        """Run by hand: nobody would listen in its place, so it does not end when it is idle."""
        self.service = service
        self.daemon = daemon
        self.server = Server(
            service.unit,
            *(
                {**{each: daemon.handlers[each] for each in interfaces}, SERVICE: self}
                for interfaces in doors.values()
            ),
        )
        self._since_ns = clock.wall_ns()
        self._last = daemon.report()
        self._reported = trio.Event()
        self._stopping = False

    async def run(self, listeners: list[list[socket.socket]]) -> int:
        """Serve until told to end or idle; gives the exit status."""
        with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self.daemon.run)
                nursery.start_soon(self.server.serve, *listeners)
                nursery.start_soon(self._report)
                nursery.start_soon(self._feed_watchdog)
                self.service.manager.say(self._last.status)
                self.service.manager.notify("READY=1")
                status = await self._until_the_end(signals)
                nursery.start_soon(_drop, signals)
                self._stopping = True
                self.service.manager.notify("STOPPING=1")
                await self.server.drain()
                nursery.cancel_scope.cancel()
        return status

    async def health(self, call: Health, stream: Stream | None) -> HealthReply:
        """piker.Service.Health."""
        while stream is not None:
            reported = self._reported
            await stream.send(self._health())
            await reported.wait()
        return self._health()

    def _health(self) -> HealthReply:
        report = self.daemon.report()
        return HealthReply(
            state="stopping" if self._stopping else report.state,
            since_ns=self._since_ns,
            status=report.status,
            components=report.components,
            counters=(
                Counter(name="conversations", value=self.server.engaged),
                Counter(name="calls", value=self.server.served),
                *report.counters,
            ),
        )

    async def _report(self) -> None:
        while True:
            await self.service.change()
            report = self.daemon.report()
            if report.state != self._last.state:
                self._since_ns = clock.wall_ns()
            if report.status != self._last.status:
                self.service.manager.say(report.status)
            self._last = report
            self._reported.set()
            self._reported = trio.Event()
            await trio.sleep(REPORT_PAUSE_S)

    async def _feed_watchdog(self) -> None:
        timeout_s = self.service.manager.watchdog_s
        if timeout_s is None:
            return
        async with trio.open_nursery() as nursery:
            wire = self.service.part("wire", lambda: nursery.start_soon(self._ask_ourselves, wire))
            start, rounds = trio.current_time(), 0
            while True:
                rounds += 1
                await trio.sleep_until(start + rounds * timeout_s / 4)
                self._feed_or_probe()

    def _feed_or_probe(self) -> None:
        silent = [part for part in self.service.parts if not part.alive]
        for part in silent:
            part.probe()
        if not silent:
            self.service.manager.notify("WATCHDOG=1")
            for part in self.service.parts:
                part.alive = False

    async def _ask_ourselves(self, wire: Part) -> None:
        """The serving part's probe: a conversation by each door, over a socket pair."""
        for door in self.server.doors:
            await self._ask(door)
        wire.beat()

    async def _ask(self, door: Door) -> None:
        ours, theirs = socket.socketpair()
        connection = Connection(ours)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.server.converse, theirs, door)
            await Client(connection, INTROSPECTION, self.service.unit).call(GetInfo(), Info)
            connection.close()

    async def _until_the_end(self, signals: AsyncIterator[int]) -> int:
        async with trio.open_nursery() as nursery:
            if not self._stays:
                nursery.start_soon(self._until_idle, nursery.cancel_scope)
            async for number in signals:
                logger.info("told to end by %s", signal.Signals(number).name)
                nursery.cancel_scope.cancel()
                return self._exit_status() if number == signal.SIGTERM else 0
        logger.info("idle for %g s: ends, the socket stays", self.service.idle_exit_s)
        return 0

    def _exit_status(self) -> int:
        reason = self.daemon.reason_to_live()
        if not reason:
            return 0
        logger.info(
            "has a reason to live: %s; exit %d asks to be started again",
            reason,
            EXIT_KEEP,
            extra=log.fields(message_id=log.KEPT_ALIVE),
        )
        return EXIT_KEEP

    async def _until_idle(self, waiting: trio.CancelScope) -> None:
        while True:
            if self.server.engaged or self.daemon.reason_to_live():
                self.server.engaged_until = trio.current_time()
            due = self.server.engaged_until + self.service.idle_exit_s
            if trio.current_time() < due:
                await trio.sleep_until(due)
            elif await self.server.rest():
                waiting.cancel()
                return
            else:
                self.server.engaged_until = trio.current_time()
