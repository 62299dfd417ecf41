"""Turns to ask a venue about its past, by the pace that its provider declares (core/pace.py).

When questions were asked stands in a file, too: a venue's limits hold over a crash.
"""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from math import inf
from pathlib import Path

import msgspec
import trio

from piker import clock
from piker.core.pace import Pace, Pacer, Urgency
from piker.core.periods import NS


class Turns:
    """Whoever asks takes a turn, for as long as the question is under way.

    `file` remembers for the next process, as far as it can be written.
    """

    def __init__(self, file: Path | None = None) -> None:
        self._file = file
        self._remembers = False
        self._pacer = Pacer[int](Pace())
        self._last = 0
        self._due: set[int] = set()
        self._changed = trio.Event()

    @asynccontextmanager
    async def turn(self, pace: Pace, urgency: Urgency) -> AsyncIterator[None]:
        """Waits until a question may be asked; it is under way until this ends.

        Raises TooManyWaiting.
        """
        self._pacer.change(pace)
        self._remember()
        self._last += 1
        number = self._last
        self._pacer.offer(number, urgency)
        try:
            await self._wait_for(number)
            yield
        finally:
            self._due.discard(number)
            self._pacer.withdraw(number)
            self._pacer.ended(number)
            self._look()

    async def _wait_for(self, number: int) -> None:
        await trio.lowlevel.checkpoint()
        self._look()
        while number not in self._due:
            now_ns, changed = clock.boot_ns(), self._changed
            at_ns = self._pacer.next_at(now_ns)
            with trio.move_on_after(inf if at_ns is None else (at_ns - now_ns) / NS):
                await changed.wait()
            self._look()

    def _look(self) -> None:
        """Who is due may go; the others look again when to wait until."""
        due = self._pacer.due(clock.boot_ns())
        if due:
            self._write()
        self._due.update(due)
        self._changed.set()
        self._changed = trio.Event()

    def _remember(self) -> None:
        """What was asked before us, once. What can't be read says nothing."""
        if self._file and not self._remembers:
            self._remembers = True
            with suppress(OSError, msgspec.DecodeError):
                left_ns = msgspec.json.decode(self._file.read_bytes(), type=list[int])
                self._pacer.remember(left_ns, clock.boot_ns())

    def _write(self) -> None:
        """Not synced: after a crash of the machine nobody has been asked for a while."""
        if self._file:
            with suppress(OSError):
                fresh = self._file.with_name(f".{self._file.name}")
                fresh.write_bytes(msgspec.json.encode(self._pacer.left_ns))
                os.replace(fresh, self._file)
