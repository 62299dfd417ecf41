"""A gateway for a daemon's life: connected whenever it lets us in, with back-off between."""

import re
from collections.abc import Callable

import trio

from piker import paths
from piker.brokers.ib.messages import Said
from piker.brokers.ib.pacing import Pacer
from piker.brokers.ib.session import GatewayLost, Outgoing, Session, open_session
from piker.core.backoff import Backoff

PAUSES_S = (0.5, 8.0)
"""First and longest pause between attempts: everything is live again within 10 s of its return."""
ADDRESS = re.compile(r"[A-Za-z0-9_-]+|unix:/.+|tcp:[^:\s]+:[0-9]{1,5}")
STEADY_S = 30.0
"""A session that has held for so long was a good one; another that fails at once is no reason to
log in twice a second."""


class Gateway:
    """One gateway, by one client id. `run` it; `hear` gets what answers no question.

    `entered` and `left` are called, never awaited, when there is a session, and when it is lost:
    before `entered` nothing is heard of that session but what came with the handshake.
    """

    def __init__(
        self,
        address: str,
        client_id: int,
        *,
        hear: Callable[[Said], None],
        entered: Callable[[Session], None] = lambda session: None,
        left: Callable[[GatewayLost], None] = lambda problem: None,
        zone: str = "UTC",
    ) -> None:
        self.session: Session | None = None
        self.problem = GatewayLost("not connected yet")
        """Why there is no session."""
        self._address = address
        self._client_id = client_id
        self._hear = hear
        self._entered = entered
        self._left = left
        self._zone = zone
        self._pacer: Pacer[Outgoing] = Pacer()
        self._backoff = Backoff(*PAUSES_S)
        self._changed = trio.Event()
        self._since = 0.0

    async def run(self) -> None:
        """Stay connected until cancelled."""
        while True:
            await self._hold_session()
            self._tell_change()
            self._left(self.problem)
            await trio.sleep(self._backoff.pause())

    async def within(self, seconds: float) -> Session:
        """The session, as soon as there is one. Raises GatewayLost if there is none so long."""
        with trio.move_on_after(seconds):
            while not self.session or self.session.lost:
                await self._changed.wait()
        if not self.session or self.session.lost:
            raise GatewayLost(str(self.problem), waits=self.problem.waits)
        return self.session

    async def _hold_session(self) -> None:
        try:
            async with open_session(
                self._address, self._client_id, self._hear, pacer=self._pacer, zone=self._zone
            ) as session:
                self.session = session
                self._since = trio.current_time()
                self._entered(session)
                self._tell_change()
                await trio.sleep_forever()
        except GatewayLost as problem:
            self.problem = problem
            if problem.waits:
                self._backoff.reset()  # it took its time already
        finally:
            if self.session and trio.current_time() - self._since > STEADY_S:
                self._backoff.reset()
            self.session = None

    def _tell_change(self) -> None:
        self._changed.set()
        self._changed = trio.Event()


def is_address(configured: str) -> bool:
    """Whether a gateway can be called so: NAME, tcp:HOST:PORT or unix:/PATH."""
    return ADDRESS.fullmatch(configured) is not None


def address_of(configured: str, units: str) -> str:
    """Where a gateway is that is called so: by its name it is the socket of its unit.

    `units` is iblane or ibgw.
    """
    if configured.startswith(("unix:", "tcp:")):
        return configured
    return f"unix:{paths.socket_path(units, configured)}"
