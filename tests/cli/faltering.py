"""An emsd that goes away in the middle of a conversation, and is back at once."""

from piker.interfaces import Call
from piker.interfaces.orders import Accounts, AccountsReply, Timeline, TimelineReply
from piker.transport import HungUp
from piker.varlink import Stream
from tests.fakes.scripted_emsd import Emsd


class Faltering(Emsd):
    """One that ends the connection in place of an answer, once for each of these calls."""

    def __init__(self, *after: type[Call]) -> None:
        super().__init__()
        self.deaf_to: list[type[Call]] = []
        self._after = after
        """What it is deaf to once something was asked of it."""

    def _note(self, call: Call) -> None:
        super()._note(call)
        self.deaf_to += self._after
        self._after = ()

    async def accounts(self, call: Accounts, stream: Stream | None) -> AccountsReply:
        self._falter(call)
        return await super().accounts(call, stream)

    async def timeline(self, call: Timeline) -> TimelineReply:
        self._falter(call)
        return await super().timeline(call)

    def _falter(self, call: Call) -> None:
        if type(call) in self.deaf_to:
            self.deaf_to.remove(type(call))
            raise HungUp("as a test wants it")
