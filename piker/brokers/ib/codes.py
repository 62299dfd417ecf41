"""What the gateway's codes mean for what they are about: data, history, an order, the connection.

A code alone says little: 200 ends a stream and refuses an order, and 321 is said of a price that
can't be and of a gateway that takes no orders at all. What a code that isn't known means:

- for a stream of data: nothing. Most are advice, and a stream that is dead shows by its silence.
- for history, or anything else that is asked once: it has failed. The code has the request's
  number, and to wait for more would end in the same failure, later and without its reason.
- for an order: no verdict. The order may be at the exchange; the lists of orders say.
- for the connection: nothing. One that doesn't answer is noticed without a code.

Where a verdict on an order stands here, it is on what the gateway was asked to do, and only the
codes that end orders by themselves say anything of one that was acknowledged.
"""

from typing import Literal

from msgspec import Struct

DataVerdict = Literal["goes on", "delayed", "reset", "again", "later", "no line", "refused"]
"""goes on: advice. delayed: it goes on, with late prices. reset: it goes on, what it showed before
is void. The others have ended it: ask again now, later, when a line is free, or not at all."""

HistoryVerdict = Literal[
    "goes on", "no data", "pacing", "later", "again", "cancelled", "refused", "failed"
]
"""no data: there is none, for sure. pacing: asked too often, it can be asked again. cancelled: as
was asked for. refused: asking again is of no use. failed: not known why, so perhaps it is."""

OrderVerdict = Literal[
    "stays", "cancelled", "rejected", "amendment refused", "cancel refused", "no verdict"
]
"""stays: as it is. rejected: it never was at the exchange. no verdict: ask for the orders."""

LinkVerdict = Literal["lost", "data lost", "kept", "over", "in use", "read only", "too fast"]
"""lost: the gateway has lost IB, and stays connected with us. data lost, kept: it has IB again,
without our subscriptions or with them. over: our connection has no future. in use: neither has it,
by our client id. read only: no order is taken. too fast: it will be over, if that goes on."""

FarmKind = Literal["market", "history", "definitions"]
FarmState = Literal["ok", "broken", "inactive", "connecting"]
"""inactive: it is as it should be, and connects when it is needed."""


class Farm(Struct, frozen=True, kw_only=True):
    """How a data farm of IB's is."""

    name: str
    """`usfarm`, `ushmds`, `secdefil`, …; nothing, if it wasn't said."""
    kind: FarmKind
    state: FarmState


FARMS: dict[int, tuple[FarmKind, FarmState]] = {
    2103: ("market", "broken"),
    2104: ("market", "ok"),
    2105: ("history", "broken"),
    2106: ("history", "ok"),
    2107: ("history", "inactive"),
    2108: ("market", "inactive"),
    2119: ("market", "connecting"),
    2157: ("definitions", "broken"),
    2158: ("definitions", "ok"),
}

LINKS: dict[int, LinkVerdict] = {
    1100: "lost",
    2110: "lost",
    1101: "data lost",
    1102: "kept",
    100: "too fast",
    326: "in use",
    **dict.fromkeys((501, 502, 503, 504, 505, 506, 507, 1300), "over"),
}

DATA: dict[int, DataVerdict] = {
    **dict.fromkeys((165, 399, 10090, 10091), "goes on"),
    10167: "delayed",
    317: "reset",
    **dict.fromkeys((10182, 10225), "again"),
    **dict.fromkeys((100, 300, 10189, 10197), "later"),
    **dict.fromkeys((101, 309, 10190), "no line"),
    **dict.fromkeys((102, 200, 203, 310, 320, 321, 322, 354), "refused"),
    **dict.fromkeys((420, 10089, 10168, 10186), "refused"),
}

HISTORY: dict[int, HistoryVerdict] = {
    165: "goes on",
    **dict.fromkeys((10182, 10225), "again"),
    **dict.fromkeys((100, 10197), "later"),
    366: "cancelled",
    **dict.fromkeys((102, 166, 200, 203, 320, 321, 322, 354), "refused"),
    **dict.fromkeys((10089, 10168, 10186, 10299), "refused"),
    10187: "failed",
}

KINDS_OF_162: tuple[tuple[str, HistoryVerdict], ...] = (
    ("pacing violation", "pacing"),
    ("query returned no data", "no data"),
    ("query cancelled", "cancelled"),
    ("permission", "refused"),
    ("different ip address", "later"),
)
"""What its text has in it, and what it means then. 420 is told apart by the first alone."""

STAYS = {165, 399, 404, 434, 492, 10349}
"""What gets one is what it was: an order that waits for the opening, or for shares to borrow, …"""

CANCEL_REFUSED = {136, 161, 10147, 10148, 10149}

REJECTS = {103, 105, 106, 109, 110, 111, 116, 133, 200, 201, 203, 320, 321, 322, 329}
REJECTS |= {387, 388, 392, 10243, 10318}
"""The gateway, or IB, didn't take what it was asked for, a new order or an amendment."""

AMENDMENT_REFUSED = {104, 134, 135, *REJECTS}

UNREAD = {320, 321, 322}
"""The gateway could not read, check or do something. Of what has no number it says it with none."""

READ_ONLY = "read-only"

PLAIN = {
    101: "no market data line is free: watch fewer markets, here and in the gateway's own windows",
    110: "the price isn't on the market's grid of prices",
    200: "IB has no such contract, or more than one: see the name of the market",
    202: "it was cancelled",
    321: "the gateway can't do what it was asked for",
    326: "another program has this client id: end it, or set another one in piker.toml",
    354: "no subscription for this market's data: get one at IB, or set delayed data in piker.toml",
    420: "asked too often, or without the permission for it",
    502: "the gateway can't be reached: see whether it runs and which port it listens on",
    503: "the gateway is too old: update it",
    1100: "the gateway has lost its connection to IB, and tries to get it back",
    1101: "the gateway has IB again, and lost what was subscribed",
    1102: "the gateway has IB again, and what was subscribed goes on",
    1300: "the gateway's port was changed: set the new one",
    2110: "the gateway has lost its connection to IB, and tries to get it back",
    10089: "IB's API needs a subscription of its own for this market's data: get it at IB, or set "
    "delayed data in piker.toml",
    10167: "no subscription for this market's data: prices are delayed",
    10168: "no subscription for this market's data, and delayed data is off: set it in piker.toml",
    10186: "no subscription for this market's data, and IB has no delayed data of it",
    10190: "no more markets can be followed tick by tick: watch fewer",
    10197: "this user is logged in elsewhere too, and the data goes there: log out there and wait "
    "a few minutes",
    10243: "IB's API takes no fraction of this: give a whole size",
    10349: "a preset of the gateway's made it an order for the day",
}
"""What people meet, and what they can do about it."""

NOT_TAKEN = "the gateway takes no orders: turn Read-Only API off in its settings (API, Settings)"


def is_advice(code: int) -> bool:
    """Whether it changes nothing, whatever it is about."""
    return 2000 <= code < 3000 or code in STAYS or code in {10090, 10091, 10167}


def ends_request(code: int) -> bool:
    """Whether what was asked once, and gets this, has no other answer."""
    return not is_advice(code)


def is_read_only(code: int, text: str) -> bool:
    """Whether it says that the gateway takes no orders, by its settings."""
    return code == 321 and READ_ONLY in text.lower()


def data(code: int, text: str) -> tuple[DataVerdict, str]:
    """What it means for a stream, and a line for people."""
    if code == 420 and _kind_of_162(text) == "pacing":
        return "later", reason(code, text)
    return DATA.get(code, "goes on"), reason(code, text)


def history(code: int, text: str) -> tuple[HistoryVerdict, str]:
    """What it means for a request for history, and a line for people."""
    if code in (162, 420):
        kind = _kind_of_162(text)
        return kind if code == 162 or kind == "pacing" else "refused", reason(code, text)
    advice: HistoryVerdict = "goes on" if is_advice(code) else "failed"
    return HISTORY.get(code, advice), reason(code, text)


def order(code: int, text: str, *, acked: bool, amending: bool = False) -> tuple[OrderVerdict, str]:
    """What it means for an order, and a line for people.

    `acked`: the gateway has shown the order as open, filled or held, ever. `amending`: an amendment
    of it is on its way. Of an order that wasn't shown and is being amended, what is refused can't
    be told.
    """
    why = reason(code, text)
    if is_advice(code):
        return "stays", why
    if code == 202:
        return "cancelled", why
    if code in CANCEL_REFUSED or (code == 135 and not amending):
        return "cancel refused", why
    if amending:
        return "amendment refused" if acked and code in AMENDMENT_REFUSED else "no verdict", why
    return "rejected" if code in REJECTS and not acked else "no verdict", why


def link(code: int, text: str) -> tuple[LinkVerdict, str] | None:
    """What it means for the connection, and a line for people; None: nothing."""
    if is_read_only(code, text):
        return "read only", reason(code, text)
    verdict = LINKS.get(code)
    return (verdict, reason(code, text)) if verdict else None


def farm(code: int, text: str) -> Farm | None:
    """Which data farm it is about, and how that is; None: it isn't about one.

    `Market data farm connection is OK:usfarm`, `… should be available upon demand.ushmds`
    """
    if code not in FARMS:
        return None
    kind, state = FARMS[code]
    before, colon, name = text.rpartition(":")
    if not colon:
        before, _, name = text.rpartition(".")
    return Farm(name=name.strip() if before else "", kind=kind, state=state)


def reason(code: int, text: str) -> str:
    """A line for people: what it means and what to do, where that is known, and IB's own words."""
    said = " ".join(text.split())
    plain = NOT_TAKEN if is_read_only(code, text) else PLAIN.get(code)
    if code == 202:
        said = said.rpartition("reason:")[2].strip()
    return f"{plain} ({code}: {said})" if plain and said else f"{plain or said} ({code})"


def _kind_of_162(text: str) -> HistoryVerdict:
    low = text.lower()
    return next((verdict for part, verdict in KINDS_OF_162 if part in low), "failed")
