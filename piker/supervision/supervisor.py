"""All units of one supervisor: found and read when first named, started and stopped in order."""

from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from functools import partial
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import trio

from piker.core.unitfile import BadUnit, Specifiers
from piker.core.units import AnyUnit, Name, ServiceUnit, SocketUnit, build
from piker.errors import Refused
from piker.interfaces.supervisor import NoSuchUnit, Unit, UnitFailed
from piker.paths import config_directory, runtime_directory, state_directory, units_directory
from piker.supervision.service import LiveService
from piker.supervision.socket import LiveSocket
from piker.supervision.states import Changes, LiveTarget, OnLog


def read_unit(name: Name) -> AnyUnit | None:
    """The unit of this name from its file and drop-ins; None if there is no file.

    Those of both managers, and the user manager's own. Drop-ins go by their own names, as systemd's
    do; of two with one name the instance's counts. Raises BadUnit.
    """
    directories = (units_directory(), units_directory() / "user")
    file = next((each / name.file for each in directories if (each / name.file).is_file()), None)
    if file is None:
        return None
    drop_ins = {
        drop_in.name: drop_in
        for owner in (name.file, name.full)
        for directory in directories
        for drop_in in (directory / f"{owner}.d").glob("*.conf")
    }
    files = [file, *(drop_ins[each] for each in sorted(drop_ins))]
    specifiers = Specifiers(
        instance=name.instance or "",
        runtime=str(runtime_directory()),
        home=str(Path.home()),
        state=str(state_directory()),
        config=str(config_directory()),
    )
    try:
        return build(name, [(str(each), each.read_text()) for each in files], specifiers)
    except (OSError, UnicodeDecodeError) as error:
        raise BadUnit(f"can't read {name.file}: {error}") from error


class Supervisor:
    """Starts and stops units by name. Its tasks are in the nursery it is given."""

    def __init__(self, nursery: trio.Nursery, directory: Path, on_log: OnLog) -> None:
        self.changes = Changes()
        self.closing = False
        self._nursery = nursery
        self._directory = directory
        self._on_log = on_log
        self._live: dict[str, LiveTarget] = {}

    def units(self) -> tuple[Unit, ...]:
        """All units that were named so far, by name."""
        return tuple(self._live[name].describe() for name in sorted(self._live))

    async def start(self, name: str) -> None:
        """Start a unit and what it needs. Raises Refused: NoSuchUnit, UnitFailed."""
        with _refusing(name):
            self._find(name)
            required = self._reach({name}, lambda live: live.head.requires)
            wanted = self._reach(required, lambda live: (*live.head.requires, *live.head.wants))
        for each in self._in_order(wanted):
            if self.closing:
                raise Refused(UnitFailed(unit=name, reason="pikerd is ending"))
            try:
                await self._live[each].start()
            except Refused:
                if each in required:
                    raise

    async def begun(self, name: str) -> None:
        """Wait until a unit was started, by whomever. Raises Refused: NoSuchUnit, UnitFailed."""
        with _refusing(name):
            live = self._find(name)
        await live.until(lambda: not live.idle)

    async def stop(self, name: str) -> None:
        """Stop a unit and what can't be without it. Raises Refused with NoSuchUnit."""
        with _refusing(name):
            self._find(name)
        await self._stop(self._dependents(name), to_restart=False)

    async def restart(self, name: str) -> None:
        """Stop what runs of a unit and its dependents, and start that again.

        Services find what they had stored. Raises Refused: NoSuchUnit, UnitFailed.
        """
        with _refusing(name):
            self._find(name)
        running = {each for each in self._dependents(name) if not self._live[each].idle}
        await self._stop(running, to_restart=True)
        for each in self._in_order(running | {name}):
            await self.start(each)

    async def close(self) -> None:
        """Stop everything."""
        self.closing = True
        await self._stop(self._live, to_restart=False)

    async def _stop(self, names: Iterable[str], *, to_restart: bool) -> None:
        """Sockets first: who connects meanwhile finds nobody, and starts nothing again. Then what
        came up last."""
        order = [self._live[name] for name in reversed(self._in_order(names))]
        for live in sorted(order, key=lambda live: not isinstance(live, LiveSocket)):
            await live.stop(to_restart=to_restart)

    def _find(self, name: str) -> LiveTarget:
        """The unit, read if it wasn't yet. Raises Refused or BadUnit."""
        live = self._load(name)
        if live is None:
            raise Refused(NoSuchUnit(unit=name))
        return live

    def _load(self, text: str) -> LiveTarget | None:
        if text in self._live:
            return self._live[text]
        name = Name.of(text)
        unit = read_unit(name) if name else None
        if unit is None:
            return None
        self._live[text] = live = self._make(unit)
        try:
            self._in_order(self._live)
        except CycleError as error:
            del self._live[text]
            raise BadUnit(
                f"After= and Before= go in a circle: {' '.join(error.args[1])}"
            ) from error
        self.changes.tell()
        return live

    def _make(self, unit: AnyUnit) -> LiveTarget:
        name = unit.head.name
        if isinstance(unit, ServiceUnit):
            directory = self._directory / name
            return LiveService(unit, self.changes, self._on_log, self._nursery, directory)
        if isinstance(unit, SocketUnit):
            service = self._find(unit.service)
            assert isinstance(service, LiveService)  # by the ending of its name
            trigger = partial(self._trigger, unit.service)
            return LiveSocket(unit, self.changes, self._on_log, self._nursery, service, trigger)
        return LiveTarget(unit, self.changes, self._on_log)

    async def _trigger(self, service: str) -> None:
        """Start a service for somebody who has connected. Its failure is logged where it is."""
        with suppress(Refused):
            await self.start(service)

    def _reach(self, names: Iterable[str], step: Callable[[LiveTarget], Iterable[str]]) -> set[str]:
        """These and all that the step leads to; a unit that is wanted may not exist."""
        reached: set[str] = set()
        ahead = list(names)
        while ahead:
            name = ahead.pop()
            if name in reached:
                continue
            live = self._load(name)
            if live is not None:
                reached.add(name)
                ahead += step(live)
        return reached

    def _dependents(self, name: str) -> set[str]:
        """A unit and those that require it or are part of it."""

        def step(live: LiveTarget) -> list[str]:
            return [
                each
                for each, other in self._live.items()
                if live.head.name in (*other.head.requires, *other.head.part_of)
            ]

        return self._reach({name}, step)

    def _in_order(self, names: Iterable[str]) -> list[str]:
        """By After= and Before=; a service is also after its sockets, as systemd has it.

        Raises CycleError.
        """
        chosen = sorted(names)
        after: dict[str, list[str]] = {name: [] for name in chosen}
        for name in chosen:
            live = self._live[name]
            sockets = live.unit.sockets if isinstance(live, LiveService) else ()
            after[name] += [each for each in (*live.head.after, *sockets) if each in after]
            for each in live.head.before:
                if each in after:
                    after[each].append(name)
        return list(TopologicalSorter(after).static_order())


@contextmanager
def _refusing(name: str) -> Iterator[None]:
    """A unit file that can't be used is why its unit fails, not we."""
    try:
        yield
    except BadUnit as error:
        raise Refused(UnitFailed(unit=name, reason=str(error))) from error


@asynccontextmanager
async def open_supervisor(directory: Path, on_log: OnLog) -> AsyncIterator[Supervisor]:
    """A supervisor; at the end everything is stopped in order, also when cancelled.

    `directory` is for it alone.
    """
    async with trio.open_nursery() as nursery:
        supervisor, finished = await nursery.start(_hold, directory, on_log)
        try:
            yield supervisor
        finally:
            with trio.CancelScope(shield=True):
                await supervisor.close()
            finished.set()


async def _hold(
    directory: Path,
    on_log: OnLog,
    task_status: trio.TaskStatus[tuple[Supervisor, trio.Event]],
) -> None:
    """The tasks of units see no cancellation from outside: they are stopped, in order."""
    # cancelled already, started() is not heard, and nobody would ever set `finished`
    await trio.lowlevel.checkpoint_if_cancelled()
    finished = trio.Event()
    with trio.CancelScope(shield=True):
        async with trio.open_nursery() as nursery:
            task_status.started((Supervisor(nursery, directory, on_log), finished))
            await finished.wait()
