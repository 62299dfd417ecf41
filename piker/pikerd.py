"""The embedded supervisor, where no systemd manager is: it runs the very units in `units/`.

It is not a second systemd. `piker.core.unitfile.TABLE` says which directives it honours and which
it ignores, sandboxing above all; it refuses the rest. A daemon comes up with the first connection
to its socket, and everything ends with pikerd. Where a unit runs /usr/lib/piker/bin/python, the
Python that pikerd itself runs under is taken.

Task tree: `supervise` has one task that serves piker.Supervisor, and a nursery, shielded so that
units are stopped in order, with a task for each socket that listens and each service that lives
(`piker.supervision.service` has a service's own). `run`, for a person at a terminal, has one more
that shows changes, and one that starts piker-notify.
"""

import argparse
import fcntl
import os
import resource
import shutil
import signal
import socket
import sys
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import trio

from piker.errors import Refused
from piker.interfaces.supervisor import (
    SUPERVISOR,
    Done,
    Restart,
    Start,
    Stop,
    Unit,
    Units,
    UnitsReply,
)
from piker.paths import ANSWERING, OF_A_PROVIDER, fitting, socket_path, units_directory
from piker.supervision.socket import remove_left
from piker.supervision.states import OnLog
from piker.supervision.supervisor import Supervisor, open_supervisor
from piker.transport import listen
from piker.varlink import Server, Stream

DESCRIPTORS = 65536
"""Descriptors that pikerd and its daemons may have, if the hard limit lets them."""


class CantSupervise(Exception):
    """pikerd can't run; the text says why, for a person."""


class Answers:
    """Answers piker.Supervisor."""

    def __init__(self, supervisor: Supervisor) -> None:
        self._supervisor = supervisor

    async def units(self, call: Units, stream: Stream | None) -> UnitsReply | None:
        """piker.Supervisor.Units."""
        if stream is None:
            return UnitsReply(units=self._supervisor.units())
        while True:
            number = self._supervisor.changes.number
            await stream.send(UnitsReply(units=self._supervisor.units()))
            await self._supervisor.changes.after(number)

    async def start(self, call: Start) -> Done:
        """piker.Supervisor.Start."""
        await self._supervisor.start(call.unit)
        return Done()

    async def stop(self, call: Stop) -> Done:
        """piker.Supervisor.Stop."""
        await self._supervisor.stop(call.unit)
        return Done()

    async def restart(self, call: Restart) -> Done:
        """piker.Supervisor.Restart."""
        await self._supervisor.restart(call.unit)
        return Done()


def write_log(unit: str, line: str) -> None:
    """The default for what daemons write: stderr, each line with its unit."""
    sys.stderr.write(f"{unit}: {line}\n")


async def supervise(
    providers: Sequence[str],
    *,
    on_log: OnLog = write_log,
    task_status: trio.TaskStatus[Supervisor] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Run the suite for these providers until cancelled; nothing of it is left then.

    Started when every socket listens. `on_log` takes a unit's name and a line of its output.
    Raises CantSupervise.
    """
    problem: Refused | OSError | None = None
    _raise_descriptor_limit()
    with _alone() as directory:
        for daemon in ANSWERING:
            remove_left(socket_path(daemon).parent)
        async with open_supervisor(directory, on_log) as supervisor:
            try:
                await _bring_up(supervisor, providers)
                listener = listen(fitting(socket_path("pikerd")))
            except (Refused, OSError) as error:
                problem = error
            else:
                await _serve(supervisor, listener, task_status)
    if problem is not None:
        raise CantSupervise(str(problem)) from problem


async def _bring_up(supervisor: Supervisor, providers: Sequence[str]) -> None:
    """All sockets: to listen costs nothing, and the daemons come when they are asked for."""
    sockets = [f"{daemon}@{each}.socket" for each in providers for daemon in OF_A_PROVIDER]
    for name in ("piker.target", "samplerd.socket", "emsd.socket", "emsd-trade.socket", *sockets):
        await supervisor.start(name)


async def _resume(supervisor: Supervisor) -> None:
    """What default.target does at a login. Its failure is logged where it is."""
    with suppress(Refused):
        await supervisor.start("piker-resume.service")


async def _serve(
    supervisor: Supervisor, listener: socket.socket, task_status: trio.TaskStatus[Supervisor]
) -> None:
    try:
        server = Server("pikerd", {SUPERVISOR: Answers(supervisor)})
        async with trio.open_nursery() as nursery:
            nursery.start_soon(server.serve, [listener])
            nursery.start_soon(_resume, supervisor)
            task_status.started(supervisor)
            try:
                await trio.sleep_forever()
            finally:
                # before the conversations have ended: one may wait for a unit to come up
                with trio.CancelScope(shield=True):
                    await supervisor.close()
    finally:
        os.unlink(listener.getsockname())
        listener.close()


@contextmanager
def _alone() -> Iterator[Path]:
    """pikerd's directory, emptied, and locked while this process lives. Raises CantSupervise."""
    try:
        if not units_directory().is_dir():
            raise CantSupervise(f"there are no unit files in {units_directory()}")
        directory = socket_path("pikerd").parent
        for each in (directory.parent, directory):
            each.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    except OSError as error:
        raise CantSupervise(f"can't use the runtime directory: {error}") from error
    try:
        _lock(lock, directory)
        for left in directory.iterdir():
            shutil.rmtree(left) if left.is_dir() else left.unlink()
        yield directory
    finally:
        os.close(lock)


def _lock(fd: int, directory: Path) -> None:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise CantSupervise(f"another pikerd runs in {directory}") from error


def _raise_descriptor_limit() -> None:
    """Stored memory of many markets is held here, and daemons inherit the limit."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = DESCRIPTORS if hard == resource.RLIM_INFINITY else min(hard, DESCRIPTORS)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def tree(units: Iterable[Unit]) -> str:
    """Units for a person, a line each: a service below its socket."""
    listed = [unit for unit in units if not unit.unit.endswith(".target")]
    listed.sort(key=lambda unit: (unit.unit.rpartition(".")[0], unit.unit.endswith(".service")))
    return "\n".join(_branch(unit) for unit in listed)


def _branch(unit: Unit) -> str:
    indent = "  " if unit.unit.endswith(".service") else ""
    return f"{indent}{unit.unit:<{28 - len(indent)}} {_state(unit)}"


def _state(unit: Unit) -> str:
    pid = f" pid {unit.pid}" if unit.pid else ""
    return f"{unit.active} ({unit.sub}){pid} {unit.status}".rstrip()


def news(before: Iterable[Unit], now: Iterable[Unit]) -> list[str]:
    """A line for each unit whose state or process is not what it was."""
    known = {_run_of(unit) for unit in before}
    return [f"{unit.unit}: {_state(unit)}" for unit in now if _run_of(unit) not in known]


def _run_of(unit: Unit) -> tuple[str, str, str, int | None]:
    return unit.unit, unit.active, unit.sub, unit.pid


async def _show(supervisor: Supervisor) -> None:
    """Print the tree, then a line for each change of a unit's state or process."""
    number, shown = supervisor.changes.number, supervisor.units()
    sys.stdout.write(f"{tree(shown)}\n")
    while True:
        sys.stdout.flush()
        await supervisor.changes.after(number)
        number, units = supervisor.changes.number, supervisor.units()
        sys.stdout.writelines(f"{line}\n" for line in news(shown, units))
        shown = units


def _ending() -> list[signal.Signals]:
    """Signals that end pikerd: a terminal's hanging up, too, unless nohup(1) had it ignored."""
    ignored = signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
    return [signal.SIGINT, signal.SIGTERM, *(() if ignored else (signal.SIGHUP,))]


async def _tell_of_orders(supervisor: Supervisor) -> None:
    """What graphical-session.target does at a login. Notices are emsd's, and asking for them starts
    it: who only looks at quotes is to have neither, so they begin with its first start."""
    try:
        await supervisor.begun("emsd.service")
        await supervisor.start("piker-notify.service")
    except Refused as no:
        write_log("pikerd", f"nobody is told of fills and alerts: {no}")


async def run(providers: Sequence[str]) -> None:
    """Supervise in the foreground until told to end, and tell whoever is there of their orders.

    Raises CantSupervise in a group.
    """
    with trio.open_signal_receiver(*_ending()) as signals:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_cancel_at, signals, nursery.cancel_scope)
            supervisor: Supervisor = await nursery.start(supervise, providers)
            nursery.start_soon(_tell_of_orders, supervisor)
            sys.stdout.write(f"pikerd: listening in {socket_path('pikerd').parent.parent}\n")
            await _show(supervisor)


async def _cancel_at(signals: AsyncIterator[int], scope: trio.CancelScope) -> None:
    await anext(signals)
    scope.cancel()


def main() -> None:
    """The command `python -m piker.pikerd`."""
    parser = argparse.ArgumentParser(prog="pikerd", description="Runs piker's daemons.")
    parser.add_argument("provider", nargs="*", default=["replay"])
    try:
        trio.run(run, parser.parse_args().provider)
    except* CantSupervise as group:
        for error in group.exceptions:
            sys.stderr.write(f"pikerd: {error}\n")
        sys.exit(1)


if __name__ == "__main__":
    main()
