"""Whatever is appended, archived, summed and restarted in between: the same book and positions."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from tempfile import TemporaryDirectory

import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from piker.accounts import Entry, Position
from piker.core.positions import position_of
from piker.interfaces.orders import LedgerLine, OrderNews
from piker.orders import Execution
from piker.store.journal import Journal, open_journal
from piker.store.reading import Reader
from piker.store.records import Archived, Base
from tests.store.samples import ACCOUNT, MARKET, acked, fill, submitted

FLAT = Position(account=ACCOUNT, market=MARKET, currency="USD", multiplier=Decimal(2))
OIDS = ("a", "b", "c")

steps = st.one_of(
    st.tuples(st.just("event"), st.sampled_from(OIDS)),
    st.tuples(st.just("archive"), st.sampled_from(OIDS)),
    st.tuples(st.just("fill"), st.integers(0, 4)),
    st.tuples(st.sampled_from(["sum", "wait"]), st.just(0)),
)


@dataclass
class Model:
    """What the journal should be, by hand."""

    events: list[OrderNews] = field(default_factory=list)
    book: set[str] = field(default_factory=set)
    fills: dict[int, Execution] = field(default_factory=dict)

    def fill(self, number: int) -> Execution:
        """Each id is one fill; later ones are told later."""
        made = fill(str(number), size=str(number + 1), price=str(7 - number))
        return self.fills.setdefault(number, replace(made, time_ns=len(self.fills)))


@settings(max_examples=60)
@given(st.lists(st.lists(steps, max_size=12), min_size=1, max_size=4))
def test_any_order_of_steps_gives_the_same_lives_and_positions(
    runs: list[list[tuple[str, str | int]]],
) -> None:
    with TemporaryDirectory(prefix="pk-", dir="/tmp") as directory:
        trio.run(play, Path(directory, "journal"), runs)


async def play(path: Path, runs: Iterable[list[tuple[str, str | int]]]) -> None:
    """Each run in a process's life of its own, and what the next one would find."""
    model = Model()
    for run in runs:
        async with open_journal(path) as journal:
            for name, argument in run:
                await take(journal, model, name, argument)
        async with open_journal(path) as journal:
            await check(journal, model)


async def take(journal: Journal, model: Model, name: str, argument: str | int) -> None:
    match name, argument:
        case "event", str(oid):
            record = acked(oid) if oid in {news.oid for news in model.events} else submitted(oid)
            model.events += journal.append(record).news
            model.book.add(oid)
        case "archive", str(oid):
            journal.append(Archived(oid=oid))
            model.book.discard(oid)
        case "fill", int(number):
            journal.append(model.fill(number))
        case "sum", _:
            await journal.append().wait()
            journal.append(*await journal.read(summed))
        case _:
            await journal.append().wait()


def summed(reader: Reader) -> tuple[Base, ...]:
    """Every base, with all its market's entries inside."""
    newest = {line.number for line in reader.ledger_lines()}
    return tuple(
        replace(base, number=max(newest), position=position(reader)) for base in reader.bases()
    )


def position(reader: Reader) -> Position:
    """What a start adds up."""
    before = [base.position for base in reader.bases() if base.position]
    return position_of(before[0] if before else FLAT, entries(reader.lines_after_bases()))


def entries(lines: Iterable[LedgerLine]) -> list[Entry]:
    return [line.execution for line in lines if line.execution]


async def check(journal: Journal, model: Model) -> None:
    kept = await journal.read(Reader.book)
    assert {order.oid: list(order.events) for order in kept} == {
        oid: [news for news in model.events if news.oid == oid] for oid in model.book
    }
    assert await journal.read(lambda r: r.events_since(0, 999)) == tuple(model.events)
    assert await journal.read(position) == position_of(FLAT, model.fills.values())
    assert entries(await journal.read(Reader.ledger_lines)) == list(model.fills.values())
