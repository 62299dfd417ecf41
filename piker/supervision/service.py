"""A service that lives: its process, its restarts, and what it leaves with us meanwhile."""

import resource
import signal
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import chain
from pathlib import Path

import trio
from msgspec import structs

from piker.core.unitfile import BadUnit
from piker.core.units import STEADY_S, Ended, ServiceUnit, Verdict, backoff_s, judge
from piker.interfaces.supervisor import Unit
from piker.supervision.notices import Notice, Store, hear, hear_rest, notify_socket
from piker.supervision.spawn import Process
from piker.supervision.states import Changes, LiveTarget, OnLog
from piker.supervision.surroundings import surroundings, temporary

INSTALLED_PYTHON = "/usr/lib/piker/bin/python"


class LiveService(LiveTarget):
    """A service: its process, and again after a failure, until it ends for good.

    A oneshot is never active: it is up when it has ended well.

    Task tree: one task from the first start to that end; in it, while a process runs, one each for
    its output, its notifications, the time it takes to start, and the wish to stop it.
    """

    def __init__(
        self,
        unit: ServiceUnit,
        changes: Changes,
        on_log: OnLog,
        nursery: trio.Nursery,
        directory: Path,
    ) -> None:
        super().__init__(unit, changes, on_log)
        self.unit = unit
        self.sources: list[Callable[[], list[tuple[str, int]]]] = []
        """Each gives names and descriptors that a process is handed: its sockets add themselves."""
        self.pid: int | None = None
        self.status = ""
        self.restarts = 0
        self._nursery = nursery
        self._directory = directory
        self._store = Store(unit.fd_store_max)
        self._last_line = ""
        self._up_since_s: float | None = None
        # How often it came up, and how often it didn't or ended: what a start waits for.
        self._ups = self._downs = 0
        self._begin_anew()

    def _begin_anew(self) -> None:
        self._stop_wanted = trio.Event()
        self._hurry = trio.Event()
        self._keep_store = False
        self._reason = "it was stopped"

    async def start(self) -> None:
        """Have it up, ready if it says so. Raises Refused with UnitFailed."""
        await self.until(lambda: self.active != "deactivating")
        if self.active == "active":
            return
        ups, downs = self._ups, self._downs
        if self.idle:
            self._begin_anew()
            self.become("activating", "start")
            self._nursery.start_soon(self._live)
        elif self.sub == "auto-restart":
            self._hurry.set()
        await self.until(lambda: (self._ups, self._downs) != (ups, downs))
        if self._ups == ups:
            raise self.failed(self._reason)

    async def stop(self, *, to_restart: bool = False) -> None:
        """Have it ended. What it stored is kept for a restart only."""
        if not self.idle:
            self._keep_store = to_restart
            self._stop_wanted.set()
            self._hurry.set()
            self.become("deactivating", "stop-sigterm")
            await self.until(lambda: self.idle)

    def describe(self) -> Unit:
        """How it is, and its process."""
        return structs.replace(
            super().describe(),
            pid=self.pid,
            memory_bytes=None if self.pid is None else memory(self.pid),
            status=self.status,
            restarts=self.restarts,
        )

    async def _live(self) -> None:
        verdict: Verdict = "failed"
        try:
            verdict = await self._run_and_restart()
        finally:
            if not self._keep_store:
                self._store.clear()
            self._downs += 1
            self.become(verdict, "failed" if verdict == "failed" else "dead")

    async def _run_and_restart(self) -> Verdict:
        failures = 0
        while not self._stop_wanted.is_set():
            ended = await self._run()
            verdict = judge(self.unit, ended, stopping=self._stop_wanted.is_set())
            if verdict == "failed":
                self.log(self._reason)
            if self.unit.type == "oneshot" and verdict == "inactive" and ended.signal is None:
                self._ups += 1  # it did what it was started for
            if verdict != "restart":
                return verdict
            if self._up_for_s() >= STEADY_S or ended.code in self.unit.force_restart:
                failures = 0
            await self._back_off(backoff_s(self.unit.restart_s, failures))
            failures += 1
        return "inactive"

    async def _back_off(self, pause_s: float) -> None:
        self.log(f"{self._reason}; restarting in {pause_s:g} s")
        self.restarts += 1
        self._downs += 1
        self.become("activating", "auto-restart")
        with trio.move_on_after(pause_s):
            await self._hurry.wait()
        if not self._stop_wanted.is_set():
            self._hurry = trio.Event()

    async def _run(self) -> Ended:
        self._up_since_s = None
        self._last_line = self.status = ""
        try:
            with self._process() as (process, notifications):
                ended = await self._follow(process, notifications)
        except (OSError, BadUnit) as error:
            ended = Ended(reason=str(error))
        finally:
            self.pid = None
        self._reason = f"{ended}: {self._last_line}".rstrip(": ") if ended.code else str(ended)
        return ended

    @contextmanager
    def _process(self) -> Iterator[tuple[Process, socket.socket]]:
        """A fresh process, and the socket that it notifies us by. Raises OSError or BadUnit."""
        with (
            temporary(self._directory) as private,
            notify_socket(private / "notify") as notifications,
            surroundings(self.unit, private) as env,
        ):
            inherited = [*chain(*(give() for give in self.sources)), *self._store.kept]
            env["NOTIFY_SOCKET"] = str(private / "notify")
            if inherited:
                env["LISTEN_FDS"] = str(len(inherited))
                env["LISTEN_FDNAMES"] = ":".join(name for name, _ in inherited)
            process = Process(_command(self.unit), env, [fd for _, fd in inherited])
            try:
                yield process, notifications
            finally:
                process.close(self._on_line)
                hear_rest(notifications, self._on_notice)

    async def _follow(self, process: Process, notifications: socket.socket) -> Ended:
        self.pid = process.pid
        self.become("activating", "start")
        if self.unit.type == "simple":
            self._come_up()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(process.forward, self._on_line)
            nursery.start_soon(hear, notifications, self._on_notice)
            nursery.start_soon(self._start_in_time, process)
            nursery.start_soon(self._stop_when_wanted, process)
            ended = await process.wait()
            nursery.cancel_scope.cancel()
        return ended

    async def _start_in_time(self, process: Process) -> None:
        await trio.sleep(self.unit.start_timeout_s)
        if self.active == "activating":
            self.log(f"not ready within {self.unit.start_timeout_s:g} s; killing it")
            process.signal(signal.SIGKILL)

    async def _stop_when_wanted(self, process: Process) -> None:
        await self._stop_wanted.wait()
        process.signal(signal.SIGTERM)
        await trio.sleep(self.unit.stop_timeout_s)
        self.log(f"did not end within {self.unit.stop_timeout_s:g} s; killing it")
        self.become("deactivating", "stop-sigkill")
        process.signal(signal.SIGKILL)

    def _on_line(self, line: str) -> None:
        self._last_line = line.strip() or self._last_line
        self._on_log(self.head.name, line)

    def _on_notice(self, notice: Notice) -> None:
        """NotifyAccess=main: others of this user may write to the socket, but are not heard."""
        if notice.pid != self.pid:
            return
        if refused := self._store.take(notice):
            self.log(f"{refused} descriptors not kept: there are {self._store.limit} already")
        if "STATUS" in notice.lines:
            self.status = notice.lines["STATUS"]
            self._changes.tell()
        if "READY" in notice.lines and self.active == "activating":
            self._come_up()

    def _come_up(self) -> None:
        self._ups += 1
        self._up_since_s = trio.current_time()
        self.become("active", "running")

    def _up_for_s(self) -> float:
        return 0.0 if self._up_since_s is None else trio.current_time() - self._up_since_s


def _command(unit: ServiceUnit) -> list[str]:
    """What to run: this Python stands in for the one that a package installs."""
    program, *arguments = unit.command
    return [sys.executable if program == INSTALLED_PYTHON else program, *arguments]


def memory(pid: int) -> int | None:
    """Bytes that a process uses: its share of what it shares, where its user may ask for that.

    proc(5): smaps_rollup, Pss; of one that keeps to itself only root is told, others its statm.
    """
    try:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    except PermissionError:
        return _resident(pid)
    except OSError:
        return None
    lines = (line.split() for line in text.splitlines())
    return next((int(words[1]) * 1024 for words in lines if words[0] == "Pss:"), None)


def _resident(pid: int) -> int | None:
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    except OSError:
        return None
    return pages * resource.getpagesize()
