"""What a test has the simulated venue do: prices, oddities, and faults at given points.

Over SOCKET.control, JSON objects each ended by NUL, each answered by a Did.
"""

from decimal import Decimal
from typing import Literal

import msgspec
from msgspec import Struct

from piker.brokers.sim.tradewire import BookIs
from piker.orders import Side

RequestFault = Literal["swallow", "refuse", "cut_before", "cut_after", "die_before", "die_after"]
MessageFault = Literal["drop", "repeat", "delay", "hold", "cut", "die"]
REQUEST_FAULTS: tuple[RequestFault, ...] = (
    "swallow",
    "refuse",
    "cut_before",
    "cut_after",
    "die_before",
    "die_after",
)


class Fault(Struct, frozen=True, kw_only=True, tag=True):
    """From now on, do this to the n-th message of a kind, and to as many more as `times` says.

    To a request: `swallow` it as if it had never come; `refuse` it; `cut` the connection, or die
    as by kill -9, `before` or `after` what it asks for is on disk. To what the venue says, which
    is on disk by then: `drop` it, `repeat` it, `delay` it, `hold` it until the next one was said;
    `cut` the connection or `die` before it is said.
    """

    does: RequestFault | MessageFault
    on: str
    """Name of the message, as NewOrder or Trade; empty: any."""
    nth: int = 1
    times: int = 1
    seconds: float = 0.0
    """How long it is delayed."""
    reason: str = "refused by the test"


class Move(Struct, frozen=True, kw_only=True, tag=True):
    """A market has a price."""

    market: str
    price: Decimal


class SetDepth(Struct, frozen=True, kw_only=True, tag=True):
    """So much of an order trades at one price; null: all."""

    size: Decimal | None


class SetAbsence(Struct, frozen=True, kw_only=True, tag=True):
    """Whether an order that no list has is not there. Traders are cut, and welcomed by it."""

    proves: bool


class SetRenames(Struct, frozen=True, kw_only=True, tag=True):
    """Whether an order that is replaced gets a new id."""

    renames: bool


class RollBack(Struct, frozen=True, kw_only=True, tag=True):
    """The newest ids are given again."""

    ids: int


class Correct(Struct, frozen=True, kw_only=True, tag=True):
    """Another revision of a trade; what is null stays."""

    exec_id: str
    size: Decimal | None = None
    price: Decimal | None = None


class FillAnyway(Struct, frozen=True, kw_only=True, tag=True):
    """Fill the newest order of a reference, also if it was cancelled."""

    ref: str
    size: Decimal
    price: Decimal


class EndDay(Struct, frozen=True, kw_only=True, tag=True):
    """Day orders expire."""


class SetHolding(Struct, frozen=True, kw_only=True, tag=True):
    """An account holds so much, without a trade."""

    account: str
    market: str
    size: Decimal


class Foreign(Struct, frozen=True, kw_only=True, tag=True):
    """Somebody else orders, without a reference."""

    account: str
    market: str
    side: Side
    size: Decimal
    limit: Decimal | None


class CutAll(Struct, frozen=True, kw_only=True, tag=True):
    """Hang up on all traders."""


class GoAway(Struct, frozen=True, kw_only=True, tag=True):
    """Hang up and listen no more, for so long or until ComeBack."""

    seconds: float | None = None


class ComeBack(Struct, frozen=True, kw_only=True, tag=True):
    """Listen again."""


class ShowBook(Struct, frozen=True, kw_only=True, tag=True):
    """All orders and trades that ever were."""


Command = (
    Fault
    | Move
    | SetDepth
    | SetAbsence
    | SetRenames
    | RollBack
    | Correct
    | FillAnyway
    | EndDay
    | SetHolding
    | Foreign
    | CutAll
    | GoAway
    | ComeBack
    | ShowBook
)


class Did(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What came of a command."""

    problem: str = ""
    book: BookIs | None = None


read_command = msgspec.json.Decoder(Command).decode
read_did = msgspec.json.Decoder(Did).decode


class Faults:
    """The faults that are still to happen."""

    def __init__(self) -> None:
        self._waiting: list[tuple[Fault, int]] = []

    def add(self, fault: Fault) -> None:
        """Have it happen."""
        self._waiting.append((fault, 0))

    def of_request(self, message: Struct) -> Fault | None:
        """What is to be done to a request that has come."""
        return self._next(message, to_requests=True)

    def of_message(self, message: Struct) -> Fault | None:
        """What is to be done to what the venue is about to say."""
        return self._next(message, to_requests=False)

    def _next(self, message: Struct, *, to_requests: bool) -> Fault | None:
        """Counts the message in every fault that is about it; the first whose turn it is."""
        due: Fault | None = None
        counted: list[tuple[Fault, int]] = []
        for fault, seen in self._waiting:
            about = fault.on in ("", type(message).__name__)
            if about and (fault.does in REQUEST_FAULTS) == to_requests:
                seen += 1
                if seen >= fault.nth and due is None:
                    due = fault
            if seen < fault.nth + fault.times - 1:
                counted.append((fault, seen))
        self._waiting = counted
        return due
