"""What a client may not do, judged by times that are given: pure.

Sources: facts of the protocol's reference and of IB's pages on pacing. Times are seconds of a clock
that only goes forward. A request that is found now may have come at any time `since` the last look,
which is long ago when the gateway had no processor: only what breaks a rule whenever it came is
a breach.
"""

from collections import deque

from msgspec import Struct

from tests.fakes.gateway.past import BAR_SIZES, read_duration
from tests.fakes.gateway.requests import Query, ReqHistoricalData

MESSAGES_A_SECOND = 50
FORGIVEN = 2
"""After so many warnings the gateway hangs up."""
IDENTICAL_S = 15.0
BURST, BURST_S = 6, 2.0
PAGE_LIMIT, PAGE_S = 60, 600.0
OPEN_HISTORY = 50
TICKS_S = 15.0
TICKS_AT_ONCE = 3
MINUTE_S = 60
LONGEST_OF_SECONDS_S = 1800


class Breach(Struct, frozen=True, kw_only=True):
    """A rule that a client broke, and how."""

    client_id: int
    rule: str
    what: str


class MessageRate:
    """Fifty messages in a second, and no more."""

    def __init__(self) -> None:
        self._times: deque[float] = deque(maxlen=MESSAGES_A_SECOND)

    def exceeds(self, since: float, now: float) -> bool:
        """Whether a message now is one too many."""
        full = len(self._times) == MESSAGES_A_SECOND and now - self._times[0] < 1
        self._times.append(since)
        return full


class HistoryPace:
    """The rules for bars under a minute, and for real-time bars."""

    def __init__(self) -> None:
        self._asked: deque[tuple[float, object, object]] = deque()

    def judge(self, request: ReqHistoricalData, since: float, now: float) -> str | None:
        """Which rule a request breaks now. Bars of a minute or more are free."""
        if BAR_SIZES[request.bar_size] >= MINUTE_S:
            return None
        key = (request.contract, request.end, request.bar_size, request.duration, request.what)
        kind = (_who(request.contract), request.what)
        count = 2 if request.what == "BID_ASK" else 1
        return self._judged(since, now, key, kind, count)

    def judge_real_time(self, contract: Query, what: str, since: float, now: float) -> str | None:
        """The same for real-time bars."""
        return self._judged(since, now, object(), (_who(contract), f"real time {what}"), 1)

    def _judged(
        self, since: float, now: float, key: object, kind: object, count: int
    ) -> str | None:
        while self._asked and now - self._asked[0][0] >= PAGE_S:
            self._asked.popleft()
        before = list(self._asked)
        self._asked.extend([(since, key, kind)] * count)
        if any(each == key and now - time < IDENTICAL_S for time, each, _ in before):
            return f"identical request within {IDENTICAL_S:.0f} s"
        if sum(each == kind and now - time < BURST_S for time, _, each in before) >= BURST - 1:
            return f"{BURST} requests of one contract within {BURST_S:.0f} s"
        if len(before) + count > PAGE_LIMIT:
            return f"more than {PAGE_LIMIT} requests within {PAGE_S / 60:.0f} minutes"
        return None


class TickPace:
    """Ticks of one contract are asked for once in fifteen seconds, and of three at once."""

    def __init__(self) -> None:
        self._asked: dict[tuple[int, str], float] = {}

    def judge(self, con_id: int, kind: str, running: int, since: float, now: float) -> str | None:
        """Which rule a request breaks now."""
        last = self._asked.get((con_id, kind))
        self._asked[con_id, kind] = since
        if last is not None and now - last < TICKS_S:
            return f"ticks of one contract asked for again within {TICKS_S:.0f} s"
        if running >= TICKS_AT_ONCE:
            return f"more than {TICKS_AT_ONCE} requests for every tick at once"
        return None


def too_long(request: ReqHistoricalData) -> bool:
    """Whether bars of seconds are asked for over more than half an hour."""
    count, unit = read_duration(request.duration)
    seconds = BAR_SIZES[request.bar_size] < MINUTE_S
    return seconds and (unit != "S" or count > LONGEST_OF_SECONDS_S)


def _who(contract: Query) -> tuple[object, ...]:
    return contract.con_id, contract.symbol, contract.local_symbol, contract.exchange
