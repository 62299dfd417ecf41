"""Whatever a venue answers, repeats, keeps to itself or loses: in the end both sides agree."""

from collections import Counter
from collections.abc import Sequence
from decimal import Decimal
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
import trio
import trio.testing
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import structs
from trio.testing import MockClock

from piker import clock
from piker.core.lifecycle import why_not
from piker.errors import Refused
from piker.interfaces.broker import Amend, EndedOrder, InvalidOrder, Link, OpenOrder, Place
from piker.orders import (
    NOTHING,
    Acked,
    AmendAcked,
    AmendAsked,
    AmendRefused,
    BrokerEvent,
    CancelAsked,
    Cancelled,
    CancelRefused,
    Filled,
)
from piker.orders import Refused as OrderRefused
from tests.conftest import BOOT_NS, WALL_NS
from tests.fakes.broker import (
    Broker,
    Command,
    House,
    a_fill,
    a_holding,
    a_house,
    an_open_order,
    serving,
)

MOST = 4
SIZE = 3
LONG_S = 200
"""Virtual: within it all must be known."""

PROOF_S = 10
"""Virtual: after it a session's lists prove absence."""

ANSWERS = ("accept", "fill", "fill first", "refuse", "no", "swallow", "die")
STEPS = ("fill", "amend", "cancel", "end", "repeat", "reverse", "hang up", "bounce", "look", "wait")

submits = st.tuples(st.sampled_from(ANSWERS), st.just(0), st.booleans())
others = st.tuples(
    st.sampled_from((*STEPS, "restart")), st.integers(0, MOST - 1), st.sampled_from((True, False))
)
Step = tuple[str, int, bool]
"""What happens, to which order, and whether emsd hears of it."""


class Venue(Broker):
    """Keeps its own book, and tells of it as it likes."""

    def __init__(self, *, says_what_ended: bool) -> None:
        super().__init__()
        self.answer = "accept"
        self.deaf = False
        """What it says now is lost."""
        self.refused_oids: set[str] = set()
        self.there: dict[str, OpenOrder] = {}
        """Live orders."""
        self._says_what_ended = says_what_ended
        self._said: list[tuple[str, BrokerEvent]] = []

    def take(self, command: Command) -> None:
        """As it was told to answer."""
        if isinstance(command, Place):
            self._place(command.oid)
        elif isinstance(command, Amend):
            self._amend(command)
        else:
            self._cancel(command.oid)

    def fill(self, oid: str, size: int = 1) -> None:
        """Some of a live order is done."""
        order = self.there.get(oid)
        if order:
            execution = a_fill(f"{oid}.{order.filled}", oid, size)
            self.executions = (*self.executions, execution)
            self.there[oid] = structs.replace(order, filled=order.filled + size)
            if self.there[oid].filled == order.size:
                del self.there[oid]
            self._list()
            self.word(oid, Filled(execution=execution))

    def end(self, oid: str) -> None:
        """It cancels a live order by itself."""
        order = self.there.pop(oid, None)
        if order:
            ended = EndedOrder(oid=oid, venue_id=order.venue_id, outcome="cancelled")
            self.ended = (*self.ended, ended) if self._says_what_ended else ()
            self._list()
            self.word(oid, Cancelled(venue_id=order.venue_id))

    def word(self, oid: str, event: BrokerEvent) -> None:
        """It says something, which may be lost."""
        self._said.append((oid, event))
        if not self.deaf:
            self.tell(oid, event)

    def repeat(self, order: int) -> None:
        """It says again all that it ever said, forwards or backwards."""
        for oid, event in self._said[::order]:
            self.tell(oid, event)

    def filled(self, oid: str) -> Decimal:
        """How much of an order is done."""
        return sum((each.size for each in self.executions if each.oid == oid), NOTHING)

    def _place(self, oid: str) -> None:
        if self.answer == "no":
            self.refused_oids.add(oid)
            raise Refused(InvalidOrder(field="size", value="3", allowed="1"))
        if self.answer == "refuse":
            self.refused_oids.add(oid)
            self.word(oid, OrderRefused(reason="no"))
        elif self.answer != "swallow":
            self._accept(oid)
        if self.answer == "die":
            self.hang_up()

    def _accept(self, oid: str) -> None:
        self.there[oid] = an_open_order(oid)
        self._list()
        if self.answer == "fill first":
            self.fill(oid)
        self.word(oid, Acked(venue_id=f"v{oid}"))
        if self.answer == "fill":
            self.fill(oid, SIZE)

    def _amend(self, amend: Amend) -> None:
        order = self.there.get(amend.oid)
        if order and order.filled < amend.size:
            self.there[amend.oid] = structs.replace(order, size=amend.size)
            self._list()
            word = AmendAcked(n=amend.n, size=amend.size, limit=amend.limit)
            self.word(amend.oid, word)
        else:
            self.word(amend.oid, AmendRefused(n=amend.n, reason="it can't be"))

    def _cancel(self, oid: str) -> None:
        if oid in self.there:
            self.end(oid)
        else:
            self.word(oid, CancelRefused(reason="there is none"))

    def _list(self) -> None:
        self.orders = tuple(self.there.values())
        total = sum((each.size for each in self.executions), NOTHING)
        self.holdings = (a_holding(int(total)),) if total else ()


@settings(max_examples=60)
@given(st.lists(st.one_of(submits, others, others), min_size=2, max_size=14), st.booleans())
def test_whatever_is_lost_or_repeated_both_sides_agree_in_the_end(
    steps: list[Step], says_what_ended: bool
) -> None:
    with (
        TemporaryDirectory(prefix="pk-", dir="/tmp") as home,
        pytest.MonkeyPatch.context() as patch,
    ):
        for variable, below in (("XDG_STATE_HOME", "state"), ("XDG_RUNTIME_DIR", "run")):
            Path(home, below).mkdir()
            patch.setenv(variable, str(Path(home, below)))
        patch.setattr(clock, "wall_ns", partial(_virtual_ns, WALL_NS))
        patch.setattr(clock, "boot_ns", partial(_virtual_ns, BOOT_NS))
        trio.run(play, Venue(says_what_ended=says_what_ended), steps, clock=MockClock())


def _virtual_ns(start_ns: int) -> int:
    return start_ns + round(trio.current_time() * 1e9)


async def play(venue: Venue, steps: Sequence[Step]) -> None:
    """Each stretch up to a restart is a process's life of its own."""
    lives: list[list[Step]] = [[("accept", 0, True)]]
    for step in steps:
        lives[-1].append(step)
        lives += [[]] if step[0] == "restart" else []
    async with serving(venue):
        for life in lives[:-1]:
            async with a_house() as house:
                await live(house, venue, life)
        async with a_house() as house:
            await live(house, venue, lives[-1])
            await settle(house, venue)
            agree(house, venue)
        async with a_house() as house:
            assert house.held() == sum((each.size for each in venue.executions), NOTHING)


async def live(house: House, venue: Venue, steps: Sequence[Step]) -> None:
    await house.until_ready()
    for name, number, heard in steps:
        venue.deaf = not heard
        oid = str(number % max(1, len(house.book.lives)))
        await (submit(house, venue, name) if name in ANSWERS else take(house, venue, name, oid))
        venue.deaf = False


async def take(house: House, venue: Venue, name: str, oid: str) -> None:
    match name:
        case "cancel" if _is_open(house, oid):
            house.book.record(oid, CancelAsked())
            await _until_it_is_out(house, oid)
        case "amend" if why_not(house.book.lives[oid], an_amendment(house, oid)) is None:
            house.book.record(oid, an_amendment(house, oid))
            await _until_it_is_out(house, oid)
        case "fill":
            venue.fill(oid)
        case "end":
            venue.end(oid)
        case "repeat" | "reverse":
            venue.repeat(1 if name == "repeat" else -1)
        case "hang up":
            venue.hang_up()
        case "bounce":
            venue.say_link(Link(up=False, reason="it resets"))
            venue.say_link(Link(up=True))
        case "look":
            await house.route.reconcile()
        case "wait":
            await trio.sleep(4)


async def submit(house: House, venue: Venue, answer: str) -> None:
    """The next order; what is sent while nobody listens is refused, and that is right, too."""
    oid = str(len(house.book.lives))
    if int(oid) < MOST:
        venue.answer = answer
        house.submit(oid)
        await _until_it_is_out(house, oid)


def an_amendment(house: House, oid: str) -> AmendAsked:
    """To one less, then one more, and so on."""
    life = house.book.lives[oid]
    return AmendAsked(
        n=life.amends + 1,
        size=Decimal(SIZE + (1 if life.amends % 2 else -1)),
        limit=life.limit,
        not_after_ns=clock.wall_ns() + 5 * 10**9,
    )


async def _until_it_is_out(house: House, oid: str) -> None:
    await house.book.until_published(house.book.seqs[oid])
    await trio.testing.wait_all_tasks_blocked()


def _is_open(house: House, oid: str) -> bool:
    life = house.book.lives.get(oid)
    return bool(life and not life.closed)


async def settle(house: House, venue: Venue) -> None:
    """A last session, in which the venue keeps nothing to itself."""
    with trio.fail_after(LONG_S):
        await house.until_ready()
        await trio.sleep(PROOF_S)
        await house.until(lambda: not _in_doubt(house))
    await house.look()


def _in_doubt(house: House) -> bool:
    lives = house.book.lives.values()
    return any(life.state in ("unknown", "sending") or life.cancel or life.amend for life in lives)


def agree(house: House, venue: Venue) -> None:
    lives = house.book.lives
    assert max(Counter(venue.placed).values(), default=1) == 1
    assert {oid: life.filled for oid, life in lives.items()} == {
        oid: venue.filled(oid) for oid in lives
    }
    assert {oid: life.size for oid, life in lives.items() if life.state == "open"} == {
        oid: order.size for oid, order in venue.there.items()
    }
    assert all(lives[oid].state == "rejected" for oid in venue.refused_oids)
    assert all(oid in venue.placed for oid, life in lives.items() if life.state != "rejected")
    assert house.held() == sum((each.size for each in venue.executions), NOTHING)
