"""What a test can make happen at the gateway, each a small struct.

Markets are named by local symbol ("ESZ6", "EUR.USD"), symbol (of a future: the nearest) or con id;
orders by their orderRef, or by "CLIENT:ORDERID".
"""

from decimal import Decimal

from msgspec import Struct

from tests.fakes.gateway.faults import AnyFault


class Action(Struct, frozen=True, kw_only=True, tag=True):
    """Something that happens."""


class Move(Action, frozen=True, kw_only=True):
    """A market trades at a price; orders that it crosses are filled."""

    market: str
    price: Decimal


class Advance(Action, frozen=True, kw_only=True):
    """Markets walk so many steps: this one, or all that somebody follows or has orders in."""

    market: str = ""
    steps: int = 1


class Hold(Action, frozen=True, kw_only=True):
    """Orders in a market rest whatever its price, until `fills` again."""

    market: str
    fills: bool = False


class SetHours(Action, frozen=True, kw_only=True):
    """A market is closed or open from now on; None: as its hours say."""

    market: str
    closed: bool | None


class SetVolume(Action, frozen=True, kw_only=True):
    """So much was traded today."""

    market: str
    volume: int


class Fill(Action, frozen=True, kw_only=True):
    """An order is filled now: whole and at its limit or the market, if nothing else is said."""

    order: str
    size: Decimal | None = None
    price: Decimal | None = None


class Kill(Action, frozen=True, kw_only=True):
    """The venue ends an order: cancels it, or rejects it late with code 201 and "Inactive"."""

    order: str
    reason: str = ""
    code: int = 202
    status: str = "Cancelled"


class Correct(Action, frozen=True, kw_only=True):
    """The newest execution of an order is replaced by one at another price."""

    order: str
    price: Decimal


class RepeatExecutions(Action, frozen=True, kw_only=True):
    """Tells all executions of an order once more, unasked."""

    order: str


class PlaceByHand(Action, frozen=True, kw_only=True):
    """Somebody else places an order: by hand (client 0), or as another client."""

    market: str
    action: str
    size: Decimal
    limit: Decimal | None = None
    client_id: int = 0
    order_id: int = 0
    ref: str = ""
    account: str = ""


class SetPosition(Action, frozen=True, kw_only=True):
    """An account held this before today."""

    market: str
    size: Decimal
    cost: Decimal
    account: str = ""


class Notice(Action, frozen=True, kw_only=True):
    """Clients are told a code out of the blue: all or one, about nothing or about a request."""

    code: int
    text: str
    req_id: int = -1
    client_id: int | None = None


class Forget(Action, frozen=True, kw_only=True):
    """Subscriptions to a market fall silent, and nobody is told: new ones are served."""

    market: str


class Flood(Action, frozen=True, kw_only=True):
    """So many trades in each of some markets, to all who stream their quotes, as fast as they read.

    Prices alternate between two, sizes count from 1.
    """

    markets: tuple[str, ...]
    trades: int


class Farm(Action, frozen=True, kw_only=True):
    """Says a code of a farm: 2103, 2105, 2157 take it down, 2104, 2106, 2158 bring it back.

    While it is down its markets are silent, or its history unanswered. With `lose` subscriptions
    to its markets are forgotten.
    """

    name: str
    code: int
    lose: bool = False


class Connectivity(Action, frozen=True, kw_only=True):
    """1100: servers are lost, said again every four seconds; 1101: back, subscriptions forgotten;
    1102: back. What needs a server is held back in between."""

    code: int


class Compete(Action, frozen=True, kw_only=True):
    """The user logs in elsewhere, and market data ends with 10197; or no longer."""

    active: bool = True


class Unsubscribe(Action, frozen=True, kw_only=True):
    """The user has no live data of these symbols: 354, or delayed ticks if those were chosen."""

    symbols: tuple[str, ...]


class Cut(Action, frozen=True, kw_only=True):
    """Connections end at once: of one client, or of all."""

    client_id: int | None = None
    reset: bool = False


class Stop(Action, frozen=True, kw_only=True):
    """The gateway ends: connections are cut, new ones refused. Its book stays."""

    roll_back_ids: bool = False
    """Next valid order ids begin at 1 again."""


class Start(Action, frozen=True, kw_only=True):
    """The gateway is there again, at the same address."""


class SetFault(Action, frozen=True, kw_only=True):
    """From now on something goes wrong: see faults.py."""

    fault: AnyFault


class ClearFaults(Action, frozen=True, kw_only=True):
    """No fault is set any more."""


class Show(Action, frozen=True, kw_only=True):
    """Only asks how things are."""


AnyAction = (
    Move
    | Advance
    | Hold
    | SetHours
    | SetVolume
    | Fill
    | Kill
    | Correct
    | RepeatExecutions
    | PlaceByHand
    | SetPosition
    | Notice
    | Forget
    | Flood
    | Farm
    | Connectivity
    | Compete
    | Unsubscribe
    | Cut
    | Stop
    | Start
    | SetFault
    | ClearFaults
    | Show
)
