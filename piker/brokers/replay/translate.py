"""From a recording's words to ours: its market, and the quotes of its rows."""

from collections.abc import Iterator, Sequence

from msgspec import structs

from piker.brokers.replay.ticks import TickRecording
from piker.brokers.replay.wire import SIDES, Recording
from piker.markets import Market, Session
from piker.quotes import Kind, Quote, Tick

Side = tuple[Kind, Sequence[float], Sequence[float] | None]
AnyRecording = Recording | TickRecording


def describe(fqme: str, recording: AnyRecording, sessions: tuple[Session, ...]) -> Market:
    """The market of a recording, with the sessions that it has now."""
    if isinstance(recording, TickRecording):
        return structs.replace(recording.market, fqme=fqme, sessions=sessions)
    header, columns = recording.header, recording.columns
    return Market(
        fqme=fqme,
        venue_id=fqme.rpartition(".")[0],
        description=header.description,
        asset_class=header.asset_class,
        currency=header.currency,
        price_tick=header.price_tick,
        size_tick=header.size_tick,
        multiplier=header.multiplier,
        sessions=sessions,
        has_trades="last" in columns,
        has_volume="volume" in columns,
        has_bid="bid" in columns,
        has_ask="ask" in columns,
    )


def quotes(
    fqme: str, recording: AnyRecording, rows: range, shift_ns: int, seen_ns: int
) -> list[Quote]:
    """The quotes of these rows, or messages, shifted in time."""
    if isinstance(recording, TickRecording):
        each = (recording.ticks.ticks(recording.rows(row), shift_ns, seen_ns) for row in rows)
        return [Quote(market=fqme, ticks=tuple(ticks)) for ticks in each]
    columns, times = recording.columns, recording.times
    sides: list[Side] = [
        (kind, columns[price], columns.get(size)) for kind, price, size in SIDES if price in columns
    ]
    return [
        Quote(market=fqme, ticks=tuple(_ticks(sides, row, times[row] + shift_ns, seen_ns)))
        for row in rows
    ]


def _ticks(sides: list[Side], row: int, time_ns: int, seen_ns: int) -> Iterator[Tick]:
    for kind, prices, sizes in sides:
        price = prices[row]
        size = None if sizes is None or sizes[row] != sizes[row] else sizes[row]
        if price == price and not (kind == "trade" and size == 0):  # NaN is not itself
            yield Tick(kind=kind, price=price, size=size, time_ns=time_ns, seen_ns=seen_ns)
