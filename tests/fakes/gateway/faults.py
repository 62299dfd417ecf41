"""What a test can make the gateway do wrong, each a small struct; and a place that holds them.

A fault with `times` is used up by so many uses; else it lasts until `clear`.
"""

from typing import TypeVar

from msgspec import Struct

ANY = "*"


class Fault(Struct, kw_only=True, tag=True):
    """Something that goes wrong."""

    times: int | None = None


class Asked(Fault, kw_only=True):
    """A fault of requests of one kind, named as in requests.py: "ReqHistoricalData", or "*"."""

    request: str = ANY
    symbol: str = ""
    """Only requests about this symbol; of any, if empty."""


class Delay(Asked, kw_only=True):
    """The answer comes later."""

    seconds: float


class Drop(Asked, kw_only=True):
    """No answer comes, and nothing is done. Of PlaceOrder: the placement is lost on its way."""


class Swallow(Fault, kw_only=True):
    """An order is placed and lives, yet nothing is ever said of its placement."""


class Refuse(Asked, kw_only=True):
    """An error is the only answer."""

    code: int
    text: str


class Advise(Asked, kw_only=True):
    """An error is followed by what is usually answered, as with 10090, 10167 or 10349."""

    code: int
    text: str


class HangUp(Asked, kw_only=True):
    """The connection ends when this is asked; `done`: only after it was done, unanswered."""

    done: bool = False
    reset: bool = False


class Mute(Fault, kw_only=True):
    """Connections stay, nothing more is said; what would have been said is lost."""


class CloseInHandshake(Fault, kw_only=True):
    """Hangs up as soon as a client greets."""


class ClientIdInUse(Fault, kw_only=True):
    """Tells a client that its id is taken, which otherwise is said only when it is."""


class OtherVersion(Fault, kw_only=True):
    """Answers with a version that the client didn't offer."""

    version: int


class SpeakHttp(Fault, kw_only=True):
    """Answers what a web server would."""


class SilentLogin(Fault, kw_only=True):
    """Takes the login and never says the accounts and the next order id."""


class DeafAfterLogin(Fault, kw_only=True):
    """Says accounts and next order id, and nothing after that: no answer, tick or notice."""


class Garble(Fault, kw_only=True):
    """The next message is malformed.

    `how`: "length" says a length that no message has, "short" leaves out the last fields, "words"
    has a word for each field, "unknown" is a message that nobody knows, "half" ends within the
    message, and the connection with it.
    """

    how: str


class Repeat(Fault, kw_only=True):
    """Every message about an order is said twice."""


class Reorder(Fault, kw_only=True):
    """Messages about one event of an order come in the reverse order."""


class LateCommission(Fault, kw_only=True):
    """Commissions come this much later."""

    seconds: float


class NoCommission(Fault, kw_only=True):
    """Commissions never come."""


class ReadOnly(Fault, kw_only=True):
    """The gateway's API is read-only: 321 is the answer to orders, and to questions about them."""


AnyFault = (
    Delay
    | Drop
    | Swallow
    | Refuse
    | Advise
    | HangUp
    | Mute
    | CloseInHandshake
    | ClientIdInUse
    | OtherVersion
    | SpeakHttp
    | SilentLogin
    | DeafAfterLogin
    | Garble
    | Repeat
    | Reorder
    | LateCommission
    | NoCommission
    | ReadOnly
)

FaultT = TypeVar("FaultT", bound=Fault)
AskedT = TypeVar("AskedT", bound=Asked)


class Faults:
    """The faults that are set."""

    def __init__(self) -> None:
        self._set: list[Fault] = []

    def set(self, *faults: Fault) -> None:
        """From now on."""
        self._set += faults

    def clear(self, *kinds: type[Fault]) -> None:
        """No longer; of these kinds only, if any are named."""
        self._set = [each for each in self._set if kinds and not isinstance(each, kinds)]

    def use(self, kind: type[FaultT]) -> FaultT | None:
        """A fault of this kind, one use of it being used up; None if there is none."""
        return self._used(next((each for each in self._set if isinstance(each, kind)), None))

    def use_for(self, kind: type[AskedT], request: str, symbol: str) -> AskedT | None:
        """The same, of a request and the symbol that it is about."""
        found = (each for each in self._set if isinstance(each, kind))
        return self._used(next((each for each in found if _concerns(each, request, symbol)), None))

    def _used(self, fault: FaultT | None) -> FaultT | None:
        if fault is not None and fault.times is not None:
            fault.times -= 1
            if fault.times <= 0:
                self._set.remove(fault)
        return fault


def _concerns(fault: Asked, request: str, symbol: str) -> bool:
    return fault.request in (ANY, request) and fault.symbol in ("", symbol)


PACING = "Historical Market Data Service error message:Historical data request pacing violation"
COMPETING = "No market data during competing live session"
NOT_SUBSCRIBED = "Requested market data is not subscribed.Displaying delayed market data..."
READ_ONLY = (
    "Error validating request.-'bW' : cause - The API interface is currently in Read-Only mode."
)
PRESET_TIF = "Order TIF was set to DAY based on order preset."
CANNOT_CANCEL = "OrderId {} that needs to be cancelled cannot be cancelled, state: {}."
