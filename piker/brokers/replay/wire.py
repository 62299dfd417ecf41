"""What stands in a recording, parsed and checked. No file is opened here.

A recording is UTF-8 text: lines `# key: value` that describe the market (`Header` has the keys),
a line that names the columns, then a line for each message of the venue, in its order:

    # description: EURUSD, spot
    # asset_class: forex
    # currency: USD
    # price_tick: 0.00001
    # session: 2016-06-14T12:00:00Z 2016-06-14T22:00:00Z
    # start: 2016-06-14T13:00:00Z
    time_utc,bid
    2016-06-14T12:00:00.098Z,1.12063

`time_utc` comes first: ISO 8601 with Z or an offset, to the microsecond, never before the line
above. Then any of:

    bid, ask            prices of the sides
    bid_size, ask_size  their sizes
    last                price of a trade
    volume              its size; 0: no trade, the venue only showed that it is there

Decimal numbers, nothing quoted. An empty field: the venue did not say. A line without any price is
a sign of life.
"""

from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import pairwise
from math import isfinite, nan, remainder
from typing import Literal

from msgspec import Struct, ValidationError, convert

from piker.markets import AssetClass, Session
from piker.quotes import Kind

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)

SIDES: tuple[tuple[Kind, str, str], ...] = (
    ("bid", "bid", "bid_size"),
    ("ask", "ask", "ask_size"),
    ("trade", "last", "volume"),
)
"""Kind of tick, column of its price, column of its size, in the order in which a line says them."""

NEAR = 1e-4
"""Part of a tick that a price may be off its grid: floats round decimals."""

PRICES = {price: size for _, price, size in SIDES}
COLUMNS = (*PRICES, *PRICES.values())


class BadRecording(Exception):
    """A recording that can't be played: in which line, or row, and what was expected."""

    def __init__(self, line: int, problem: str, unit: str = "line") -> None:
        self.where = f"{unit} {line}"
        super().__init__(f"{self.where}: {problem}")
        self.line = line
        self.problem = problem


class Header(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a recording says about its market, a line `# key: value` each."""

    asset_class: AssetClass
    currency: str
    price_tick: Decimal
    size_tick: Decimal = Decimal(1)
    multiplier: Decimal = Decimal(1)
    description: str = ""
    source: str = ""
    """Where it comes from, and its licence."""
    session: tuple[str, ...] = ()
    """First and end instant, a line for each session; none: one from the first row to the last."""
    start: str = ""
    """The instant from which to play; none: the first session's."""
    negative_prices: Literal["yes", "no"] = "no"


@dataclass(frozen=True)
class Recording:
    """A recording, one array a column. Where the venue said nothing there is NaN."""

    header: Header
    sessions: tuple[Session, ...]
    start_ns: int
    times: Sequence[int]
    columns: Mapping[str, Sequence[float]]

    @property
    def begin_ns(self) -> int:
        """Its first instant."""
        return self.sessions[0].open_ns

    @property
    def end_ns(self) -> int:
        """The first instant after it."""
        return self.sessions[-1].close_ns


def parse(lines: Iterable[str]) -> Recording:
    """A whole recording. The lines come with their ends. Raises BadRecording."""
    numbered = enumerate(lines, 1)
    header, columns, line = _head(numbered)
    try:
        sessions = _sessions(header)
        rows = _Rows(columns, header, sessions)
        for line, text in numbered:  # noqa: B007 - an error below is in this line
            _add(rows, text)
        span = rows.span()
        sessions = sessions or span
        start_ns = instant(header.start) if header.start else sessions[0].open_ns
    except ValueError as error:
        raise BadRecording(line, str(error)) from error
    return Recording(header, sessions, start_ns, rows.times, rows.columns)


def parse_header(lines: Iterable[str]) -> Header:
    """What the head of a recording says; its rows are not looked at. Raises BadRecording."""
    return _head(enumerate(lines, 1))[0]


def instant(text: str) -> int:
    """An instant in ns since the epoch. Raises ValueError."""
    try:
        when = datetime.fromisoformat(text)
        return (when - EPOCH) // MICROSECOND * 1000
    except (ValueError, TypeError, OverflowError):  # TypeError: it has no time zone
        raise ValueError(f"expected a time such as 2016-06-14T13:00:00.5Z, was {text!r}") from None


def _head(numbered: Iterator[tuple[int, str]]) -> tuple[Header, tuple[str, ...], int]:
    """The header, the columns after the time, and the number of the line that names them."""
    said: dict[str, object] = {}
    sessions: list[str] = []
    line = 1
    for line, text in numbered:
        if not text.startswith("#"):
            return _header(said, sessions, line), _columns(text, line), line
        key, colon, value = (part.strip() for part in text[1:].partition(":"))
        if not colon or key in said:
            raise BadRecording(line, f"expected '# key: value', each key once, was {text[:80]!r}")
        if key == "session":
            sessions.append(value)
        else:
            said[key] = value
    raise BadRecording(line, "expected a line that names the columns, was the end")


def _header(said: dict[str, object], sessions: list[str], line: int) -> Header:
    try:
        header = convert({**said, "session": sessions}, Header, strict=False)
    except ValidationError as error:
        raise BadRecording(line, f"in the header above: {error}") from error
    for key in ("price_tick", "size_tick", "multiplier"):
        value = getattr(header, key)
        if not value.is_finite() or value <= 0:
            raise BadRecording(line, f"in the header above: expected {key} above 0, was {value}")
    return header


def _columns(text: str, line: int) -> tuple[str, ...]:
    first, *columns = text.rstrip("\r\n").split(",")
    if first != "time_utc":
        raise BadRecording(line, f"expected the column time_utc first, was {first[:80]!r}")
    for column in columns:
        if column not in COLUMNS or columns.count(column) > 1:
            allowed = ", ".join(COLUMNS)
            raise BadRecording(line, f"expected columns of {allowed}, each once, was {column!r}")
    _need_prices(columns, line)
    return tuple(columns)


def _need_prices(columns: list[str], line: int) -> None:
    for price, size in PRICES.items():
        if size in columns and price not in columns:
            raise BadRecording(line, f"expected a column {price} beside {size}, was none")
    if not set(columns) & set(PRICES):
        raise BadRecording(line, f"expected a column of {', '.join(PRICES)}, was none")


def _sessions(header: Header) -> tuple[Session, ...]:
    sessions = tuple(_session(text) for text in header.session)
    for before, after in pairwise(sessions):
        if after.open_ns < before.close_ns:
            raise ValueError("expected sessions in order and apart, was one that overlaps")
    return sessions


def _session(text: str) -> Session:
    begin, _, end = text.partition(" ")
    session = Session(open_ns=instant(begin), close_ns=instant(end.strip()))
    if session.open_ns >= session.close_ns:
        raise ValueError(f"expected a session that ends after it begins, was {text!r}")
    return session


def _add(rows: "_Rows", text: str) -> None:
    try:
        rows.add(text.rstrip("\r\n"))
    except ValueError as error:
        if text.endswith("\n"):
            raise
        raise ValueError(f"the last line is torn: it has no end, and {error}") from error


class _Rows:
    """Rows as they are read. Its methods raise ValueError with what was expected."""

    def __init__(
        self, columns: tuple[str, ...], header: Header, sessions: tuple[Session, ...]
    ) -> None:
        self.times = array("q")
        self.columns = {column: array("d") for column in columns}
        self._names = ",".join(("time_utc", *columns))
        self._price_tick = float(header.price_tick)
        self._negative = header.negative_prices == "yes"
        self._sessions = iter(sessions)
        self._session = next(self._sessions, None)

    def add(self, text: str) -> None:
        """Take one more row."""
        when, *fields = text.split(",")
        if len(fields) != len(self.columns):
            raise ValueError(f"expected {self._names}, was {text[:80]!r}")
        time_ns = self._time(when)
        values = [self._value(*pair) for pair in zip(self.columns, fields, strict=True)]
        self.times.append(time_ns)
        for column, value in zip(self.columns.values(), values, strict=True):
            column.append(value)

    def span(self) -> tuple[Session]:
        """One session from the first row to the last."""
        if not self.times:
            raise ValueError("expected a row after the columns, was the end")
        return (Session(open_ns=self.times[0], close_ns=self.times[-1] + 1),)

    def _time(self, text: str) -> int:
        time_ns = instant(text)
        if self.times and time_ns < self.times[-1]:
            raise ValueError(f"expected a time not before the line above's, was {text}")
        while self._session and time_ns >= self._session.close_ns:
            self._session = next(self._sessions, None)
            if self._session is None:
                raise ValueError(f"expected a time in a session, was {text}")
        if self._session and time_ns < self._session.open_ns:
            raise ValueError(f"expected a time in a session, was {text}")
        return time_ns

    def _value(self, column: str, text: str) -> float:
        if not text:
            return nan
        value = _number(column, text)
        if column in PRICES:
            self._check_price(column, value, text)
        elif value < 0:
            raise ValueError(f"expected {column} not below 0, was {text}")
        return value

    def _check_price(self, column: str, value: float, text: str) -> None:
        if value < 0 and not self._negative:
            allow = "unless the header says 'negative_prices: yes'"
            raise ValueError(f"expected {column} not below 0 {allow}, was {text}")
        if abs(remainder(value, self._price_tick)) > NEAR * self._price_tick:
            raise ValueError(f"expected {column} in steps of {self._price_tick:g}, was {text}")


def _number(column: str, text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        raise ValueError(f"expected a number as {column}, was {text[:80]!r}") from None
    if not isfinite(value):
        raise ValueError(f"expected a finite number as {column}, was {text}")
    return value
