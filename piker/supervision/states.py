"""A unit's state, in systemd's words, and waiting for it to change.

A state changes at once and is waited for after; so nothing in this package needs a lock.
"""

from collections.abc import Callable

import trio

from piker.core.units import AnyUnit
from piker.errors import Refused
from piker.interfaces.supervisor import Unit, UnitFailed

OnLog = Callable[[str, str], None]
"""Takes whose line it is, a unit's name or "pikerd", and the line."""


class Changes:
    """Something has changed: a number that counts up, and waiting for it."""

    def __init__(self) -> None:
        self.number = 0
        self._event = trio.Event()

    def tell(self) -> None:
        """Wake all who wait."""
        self.number += 1
        self._event.set()
        self._event = trio.Event()

    async def after(self, number: int) -> None:
        """Wait until there was a change after this one."""
        while self.number == number:
            await self._event.wait()


class LiveTarget:
    """A unit and its state; for a target that is all there is."""

    def __init__(self, unit: AnyUnit, changes: Changes, on_log: OnLog) -> None:
        self.head = unit.head
        self.active = "inactive"
        self.sub = "dead"
        self._changes = changes
        self._on_log = on_log

    async def start(self) -> None:
        """Have it active. Raises Refused with UnitFailed."""
        self.become("active", "active")

    async def stop(self, *, to_restart: bool = False) -> None:
        """Have it ended."""
        self.become("inactive", "dead")

    @property
    def idle(self) -> bool:
        """Whether it has ended, or has not begun."""
        return self.active in ("inactive", "failed")

    def become(self, active: str, sub: str) -> None:
        """Change its state."""
        self.active, self.sub = active, sub
        self._changes.tell()

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait until its state is such."""
        while not condition():
            await self._changes.after(self._changes.number)

    def log(self, line: str) -> None:
        """Say what happens to it."""
        self._on_log("pikerd", f"{self.head.name}: {line}")

    def failed(self, reason: str) -> Refused:
        """The answer to whoever wanted it."""
        return Refused(UnitFailed(unit=self.head.name, reason=reason))

    def describe(self) -> Unit:
        """How it is."""
        return Unit(
            unit=self.head.name,
            description=self.head.description,
            active=self.active,
            sub=self.sub,
        )
