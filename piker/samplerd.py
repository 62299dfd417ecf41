"""samplerd: the one clock. Tells the ends of bar periods, aligned to the wall clock.

    python -m piker.samplerd

Task tree, within piker.service's:

    Samplerd.run     wakes at every second's end and tells those who wait
"""

import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trio

from piker import clock, config, service
from piker.core.periods import LONGEST_S, NS, Ends
from piker.errors import Refused
from piker.interfaces import Interface
from piker.interfaces.clock import CLOCK, Ticks, TicksReply, UnknownPeriod
from piker.interfaces.introspection import InvalidParameter
from piker.interfaces.service import Counter
from piker.service import Report, Service
from piker.varlink import Stream


class Samplerd:
    """The clock, and those who listen to it."""

    def __init__(self, service: Service) -> None:
        self.handlers: dict[Interface, object] = {CLOCK: self}
        self._service = service
        self._listeners = 0
        self._second = trio.Event()
        self._part = service.part("clock", lambda: None)  # it beats every second by itself

    async def ticks(self, call: Ticks, stream: Stream) -> None:
        """piker.Clock.Ticks."""
        if not call.periods_s:
            raise Refused(InvalidParameter(parameter="periods_s: expected at least one"))
        for period_s in call.periods_s:
            if not 1 <= period_s <= LONGEST_S:
                raise Refused(UnknownPeriod(period_s=period_s, allowed=f"1 to {LONGEST_S} s"))
        self._count(1)
        try:
            ends = [Ends(period_s, clock.wall_ns()) for period_s in sorted(set(call.periods_s))]
            while True:
                await self._second.wait()
                for end in ends:
                    if passed := end.passed(clock.wall_ns()):
                        time_ns, missed = passed
                        await stream.send(
                            TicksReply(period_s=end.period_s, time_ns=time_ns, missed=missed)
                        )
        finally:
            self._count(-1)

    def report(self) -> Report:
        """Who listens."""
        return Report(
            status=f"clock: {self._listeners} listener{'' if self._listeners == 1 else 's'}",
            counters=(Counter(name="listeners", value=self._listeners),),
        )

    def reason_to_live(self) -> str:
        """None: who listens has a timer of its own."""
        return ""

    async def run(self) -> None:
        """Wake at the end of every second. The wall clock may be stepped, so each is looked up."""
        while True:
            now_ns = clock.wall_ns()
            await trio.sleep((NS - now_ns % NS) / NS)
            self._second.set()
            self._second = trio.Event()
            self._part.beat()

    def _count(self, change: int) -> None:
        self._listeners += change
        self._service.changed()


@asynccontextmanager
async def open_samplerd(service: Service) -> AsyncIterator[Samplerd]:
    """The clock. Raises Refused if the configuration is broken."""
    service.idle_exit_s = config.load().idle_exit_s
    yield Samplerd(service)


def main() -> int:
    """python -m piker.samplerd."""
    if len(sys.argv) != 1:
        print("usage: python -m piker.samplerd", file=sys.stderr)  # noqa: T201
        return 2
    return service.main("samplerd", None, open_samplerd, (CLOCK,))


if __name__ == "__main__":
    sys.exit(main())
