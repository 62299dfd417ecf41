r"""What may pass from a reader of market data to a gateway: frames, and the list of requests.

Whoever is connected to a gateway can trade there: it asks for no secret. So between it and who
only reads stands a lane (piker.iblane), and this says what may pass it. A client begins with
`API` and a NUL. All that follows is frames, 4 bytes of length, big-endian, and so many bytes; the
first names the versions that the client speaks, the others are fields, each ended by a NUL:

    b"API\0" b"\0\0\0\x09v176..178" b"\0\0\0\x0a71\0" b"2\0" b"100\0" b"\0" b"\0\0\0\x0549\0" b"1\0"

It is a list of what passes, each in the one form that is known here to the last field: what a
gateway might read in another way, as a message within a message, isn't on it. That holds for the
versions LEAST to MOST. From 201 on messages are in another form, which begins with a number in
binary and which nobody here could judge, and the gateway speaks the lower of its own version and
the client's highest: so no other versions pass.
"""

import re
from collections.abc import Mapping
from typing import NamedTuple, get_args

from msgspec import Struct

from piker.brokers.ib.messages import SecType

GREETING = b"API\0"
HEAD_BYTES = 4
MAX_FRAME = 64 * 1024
"""Bytes of a request without its length; a real one has a few hundred. A longer one is refused."""
LEAST, MOST = 176, 178
"""Versions of the protocol that a client may offer."""
DATA_CLIENTS = range(100, 132)
"""Client ids that pass, as many as a gateway takes. No broker daemon may use them: who takes its id
locks it out (error 326). 0 isn't among them: its owner gets the orders entered by hand."""
START_API = b"71"
SHOWN = 24
"""Bytes of a strange message that are shown."""

_VERSIONS = re.compile(rb"v([1-9][0-9]{0,5})\.\.([1-9][0-9]{0,5})")


class Refusal(Struct, frozen=True, kw_only=True):
    """What may not pass, and why."""

    what: str
    """A message by IB's name and number of it, as "placeOrder (3)", or what else came."""
    why: str


class Form(NamedTuple):
    """How a message on the list looks: how many fields, and those that have few values."""

    name: str
    fields: int
    only: Mapping[int, frozenset[bytes]]


def _just(*values: str) -> frozenset[bytes]:
    return frozenset(value.encode() for value in values)


_KIND = _just("", *get_args(SecType))
"""secType. Of a combination (BAG) more fields would follow; without a kind its number says all."""
_NONE, _NO = _just(""), _just("0")
_CLIENT = _just(*map(str, DATA_CLIENTS))

LIST: Mapping[bytes, Form] = {
    # No other contract beside it (15). A regulatory snapshot (18) costs money each time.
    b"1": Form("reqMktData", 20, {1: _just("11"), 5: _KIND, 15: _NO, 18: _NO, 19: _NONE}),
    b"2": Form("cancelMktData", 3, {1: _just("2")}),
    b"8": Form("reqIds", 3, {1: _just("1")}),
    b"9": Form("reqContractDetails", 19, {1: _just("8"), 5: _KIND}),
    b"20": Form("reqHistoricalData", 23, {4: _KIND, 22: _NONE}),
    b"25": Form("cancelHistoricalData", 3, {1: _just("1")}),
    b"49": Form("reqCurrentTime", 2, {1: _just("1")}),
    b"50": Form("reqRealTimeBars", 19, {1: _just("3"), 5: _KIND, 18: _NONE}),
    b"51": Form("cancelRealTimeBars", 3, {1: _just("1")}),
    b"59": Form("reqMarketDataType", 3, {1: _just("1"), 2: _just("1", "2", "3", "4")}),
    b"71": Form("startApi", 4, {1: _just("2"), 2: _CLIENT, 3: _NONE}),
    b"81": Form("reqMatchingSymbols", 3, {}),
    b"87": Form("reqHeadTimeStamp", 18, {4: _KIND}),
    b"90": Form("cancelHeadTimeStamp", 2, {}),
    b"91": Form("reqMarketRule", 2, {}),
    b"97": Form("reqTickByTickData", 17, {4: _KIND}),
    b"98": Form("cancelTickByTickData", 2, {}),
}
"""The requests that pass, by their numbers as they are written."""

_NAMES = """
3=placeOrder 4=cancelOrder 5=reqOpenOrders 6=reqAccountUpdates 7=reqExecutions 10=reqMktDepth
11=cancelMktDepth 12=reqNewsBulletins 13=cancelNewsBulletins 14=setServerLogLevel
15=reqAutoOpenOrders 16=reqAllOpenOrders 17=reqManagedAccts 18=requestFA 19=replaceFA
21=exerciseOptions 22=reqScannerSubscription 23=cancelScannerSubscription
24=reqScannerParameters 52=reqFundamentalData 53=cancelFundamentalData
54=calculateImpliedVolatility 55=calculateOptionPrice 56=cancelCalculateImpliedVolatility
57=cancelCalculateOptionPrice 58=reqGlobalCancel 61=reqPositions 62=reqAccountSummary
63=cancelAccountSummary 64=cancelPositions 65=verifyRequest 66=verifyMessage
67=queryDisplayGroups 68=subscribeToGroupEvents 69=updateDisplayGroup
70=unsubscribeFromGroupEvents 72=verifyAndAuthRequest 73=verifyAndAuthMessage
74=reqPositionsMulti 75=cancelPositionsMulti 76=reqAccountUpdatesMulti
77=cancelAccountUpdatesMulti 78=reqSecDefOptParams 79=reqSoftDollarTiers 80=reqFamilyCodes
82=reqMktDepthExchanges 83=reqSmartComponents 84=reqNewsArticle 85=reqNewsProviders
86=reqHistoricalNews 88=reqHistogramData 89=cancelHistogramData 92=reqPnL 93=cancelPnL
94=reqPnLSingle 95=cancelPnLSingle 96=reqHistoricalTicks 99=reqCompletedOrders
100=reqWshMetaData 101=cancelWshMetaData 102=reqWshEventData 103=cancelWshEventData
104=reqUserInfo
"""
OTHERS: Mapping[bytes, str] = {
    number.encode(): name for number, name in re.findall(r"(\d+)=(\w+)", _NAMES)
}
"""Names of messages that don't pass, to say which one came."""


def verdict(payload: bytes) -> Refusal | None:
    """Why a message may not pass, None if it may: one frame after the first, without its length."""
    *fields, rest = payload.split(b"\0")
    number = fields[0] if fields else rest
    form = LIST.get(number)
    if form is None:
        return _unlisted(number)
    why = _misfit(form, fields, rest)
    return Refusal(what=f"{form.name} ({number.decode()})", why=why) if why else None


class Lane:
    """What may pass of all that one client sends, in whatever pieces it comes.

    Holds less than one frame. A frame passes whole, or nothing of it; after the first that may not
    pass `refusal` says why, and nothing passes any more.
    """

    def __init__(self) -> None:
        self.refusal: Refusal | None = None
        self._pending = bytearray()
        self._greeted = False
        self._judges = [_start, _versions]
        """Of the first frames, the next one last."""

    def feed(self, chunk: bytes) -> bytes:
        """The bytes that may pass, now that this has come too."""
        if self.refusal:
            return b""
        self._pending += chunk
        passes = 0
        while end := self._next(passes):
            passes = end
        passed = bytes(self._pending[:passes])
        del self._pending[: len(self._pending) if self.refusal else passes]
        return passed

    def _next(self, begin: int) -> int:
        """Where the part that begins here ends; 0 if it isn't whole yet, or may not pass."""
        head = bytes(self._pending[begin : begin + HEAD_BYTES])
        if not self._greeted:
            return self._greeting(head)
        if len(head) < HEAD_BYTES:
            return 0
        length = int.from_bytes(head)
        if not 0 < length <= MAX_FRAME:
            self.refusal = Refusal(
                what=f"a frame of {length} bytes", why=f"expected 1 to {MAX_FRAME}"
            )
            return 0
        return self._frame(begin + HEAD_BYTES, begin + HEAD_BYTES + length)

    def _greeting(self, head: bytes) -> int:
        """The very first bytes, as far as they have come."""
        if not GREETING.startswith(head):
            self.refusal = Refusal(
                what="another protocol", why="expected API and a NUL byte at the beginning"
            )
            return 0
        self._greeted = head == GREETING
        return HEAD_BYTES if self._greeted else 0

    def _frame(self, begin: int, end: int) -> int:
        if len(self._pending) < end:
            return 0
        judge = self._judges.pop() if self._judges else _later
        self.refusal = judge(bytes(self._pending[begin:end]))
        return 0 if self.refusal else end


def _versions(payload: bytes) -> Refusal | None:
    """Of the first frame: `v176..178`, and no options of a connection after it."""
    match = _VERSIONS.fullmatch(payload)
    if match and LEAST <= int(match[1]) <= int(match[2]) <= MOST:
        return None
    what = f"an offer to speak {_shown(payload)}"
    return Refusal(what=what, why=f"expected versions within v{LEAST}..{MOST}")


def _start(payload: bytes) -> Refusal | None:
    """Of the second frame: who it is."""
    number = payload.partition(b"\0")[0]
    if number == START_API:
        return verdict(payload)
    return Refusal(what=_named(number), why="expected startApi (71) first")


def _later(payload: bytes) -> Refusal | None:
    """Of all other frames."""
    number = payload.partition(b"\0")[0]
    if number == START_API:
        return Refusal(what=_named(number), why="expected it once, as the first message")
    return verdict(payload)


def _unlisted(number: bytes) -> Refusal:
    known = "it is no request for market data"
    strange = "expected the number of a request for market data"
    return Refusal(what=_named(number), why=known if number in OTHERS else strange)


def _misfit(form: Form, fields: list[bytes], rest: bytes) -> str:
    """What about a message isn't as its form has it, or nothing."""
    if rest:
        return f"expected each field to end with a NUL, the last was {_shown(rest)}"
    if len(fields) != form.fields:
        return f"expected {form.fields} fields, were {len(fields)}"
    for place, allowed in form.only.items():
        if fields[place] not in allowed:
            return f"field {place}: expected {_either(allowed)}, was {_shown(fields[place])}"
    return ""


def _either(allowed: frozenset[bytes]) -> str:
    if allowed == _CLIENT:
        return f"a client id of datad's, {DATA_CLIENTS[0]} to {DATA_CLIENTS[-1]}"
    return " or ".join(sorted(_shown(each) for each in allowed))


def _named(number: bytes) -> str:
    """A message by its number as it came, shown so that it can't be taken for another."""
    name = LIST[number].name if number in LIST else OTHERS.get(number)
    return f"{name} ({number.decode()})" if name else f"a message {_shown(number)}"


def _shown(data: bytes) -> str:
    """Bytes for a person's eyes: within quotes, and not too many."""
    more = "…" if len(data) > SHOWN else ""
    return f"{data[:SHOWN].decode('latin-1')!a}{more}"
