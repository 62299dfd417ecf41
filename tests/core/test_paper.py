"""A paper venue goes on from what was written down, whenever it is cut off, and tells no more."""

from collections import defaultdict
from decimal import Decimal
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from piker.accounts import Position
from piker.core.fees import FeeSchedule, fee
from piker.core.lifecycle import replay
from piker.core.paper import Change, PaperOrder, PaperVenue, Saved
from piker.interfaces.broker import Amend, Cancel, Place, Told
from piker.interfaces.data import Watched
from piker.markets import Market, MarketState, State
from piker.orders import (
    AmendAcked,
    Cancelled,
    Execution,
    Order,
    OrderEvent,
    Sending,
    Submitted,
    VenueExpired,
)
from piker.quotes import Quote, Tick

D = Decimal
SCHEDULE = FeeSchedule(per_unit=D("0.1"), minimum=D(1))

MARKET = Market(
    fqme="mnq.cme.sim",
    venue_id="MNQ",
    description="A future",
    asset_class="future",
    currency="USD",
    price_tick=D("0.25"),
    size_tick=D(1),
    multiplier=D(2),
    has_trades=True,
    has_volume=True,
    has_bid=True,
    has_ask=True,
)
DAY_NS = 30
"""When orders for the day end."""


class Disk:
    """What was written down, and what was told after it."""

    def __init__(self) -> None:
        self.orders: dict[int, PaperOrder] = {}
        self.executions: list[Execution] = []
        self.positions: dict[str, Position] = {}
        self.told: list[Told] = []

    def record(self, change: Change | None) -> None:
        """Write a change down, then tell it."""
        if change is None:
            return
        self.orders |= {each.number: each for each in change.orders}
        self.executions += change.executions
        self.positions |= {each.market: each for each in change.positions}
        self.told += change.told

    def venue(self) -> PaperVenue:
        """One that goes on from here."""
        still_open = tuple(each for each in self.orders.values() if not each.outcome)
        priorities = [each.working.priority for each in still_open]
        saved = Saved(
            tag="t",
            orders=still_open,
            markets=(MARKET,),
            positions=tuple(self.positions.values()),
            last_order=max([0, *self.orders, *priorities]),
            last_execution=len(self.executions),
        )
        return PaperVenue("sim", saved, SCHEDULE)


class Story:
    """A venue, its disk, and what happens to it, an instant each."""

    def __init__(self) -> None:
        self.disk = Disk()
        self.now_ns = 0
        self.placed: dict[str, Place] = {}
        self.amendments = 0
        self._begin()

    def play(self, steps: list[Any]) -> "Story":
        """Let it all happen. Of a step whose writing is cut off, nothing is left but a restart."""
        for cut_off, (what, *facts) in steps:
            self.now_ns += 1
            getattr(self, what)(*facts)
            if cut_off:
                self._begin()
            else:
                self.disk.record(self.venue.drain(self.now_ns))
        return self

    def order(self, side: Any, size: int, limit: Decimal | None, tif: Any) -> None:
        """Somebody places an order."""
        call = Place(
            session="",
            not_after_boot_ns=0,
            oid=f"o{self.now_ns}",
            account="paper.sim",
            market=MARKET.fqme,
            side=side,
            size=D(size),
            limit=limit,
            tif=tif,
        )
        self.placed[call.oid] = call
        self.venue.place(call, self.now_ns, self.now_ns, DAY_NS)

    def cancel(self, instant: int) -> None:
        """Somebody cancels what was placed then, if anything was."""
        self.venue.cancel(Cancel(oid=f"o{instant}", venue_ids=()))

    def amend(self, instant: int, size: int, limit: Decimal | None) -> None:
        """Somebody amends what was placed then, if anything was."""
        self.amendments += 1
        call = Amend(
            session="",
            not_after_boot_ns=0,
            oid=f"o{instant}",
            n=self.amendments,
            size=D(size),
            limit=limit,
        )
        self.venue.amend(call, self.now_ns, self.now_ns)

    def tick(self, kind: Any, steps: int, size: int | None) -> None:
        """The market shows something."""
        shown = Tick(
            kind=kind,
            price=steps / 4,
            size=None if size is None else float(size),
            time_ns=self.now_ns,
            seen_ns=self.now_ns,
        )
        self.venue.take(Quote(market=MARKET.fqme, ticks=(shown,)), self.now_ns)

    def state(self, name: State) -> None:
        """The market's data become so."""
        state = MarketState(market=MARKET.fqme, state=name, since_ns=self.now_ns)
        self.venue.take_state(state, self.now_ns)

    def pass_by(self) -> None:
        """Time goes by."""
        self.venue.expire(self.now_ns)

    def _begin(self) -> None:
        self.venue = self.disk.venue()
        state = MarketState(market=MARKET.fqme, state="live", since_ns=0)
        watched = Watched(asked=MARKET.fqme, market=MARKET, state=state, last=())
        self.venue.join(watched, self.now_ns, self.now_ns)
        self.disk.record(self.venue.drain(self.now_ns))


LIMITS = st.sampled_from([None, *(D(steps) / 4 for steps in range(-2, 3))])
INSTANTS = st.integers(1, 30)
ORDERS = st.tuples(
    st.just("order"),
    st.sampled_from(["buy", "sell"]),
    st.integers(1, 9),
    LIMITS,
    st.sampled_from(["gtc", "gtc", "day", "ioc"]),
)
TICKS = st.tuples(
    st.just("tick"),
    st.sampled_from(["bid", "ask", "trade"]),
    st.integers(-3, 3),
    st.sampled_from([None, 0, 1, 2, 3, 4]),
)
AMENDS = st.tuples(st.just("amend"), INSTANTS, st.integers(1, 9), LIMITS)
CANCELS = st.tuples(st.just("cancel"), INSTANTS)
STATES = st.tuples(st.just("state"), st.sampled_from(["live", "live", "live", "stale"]))
PASSING = st.tuples(st.just("pass_by"))
STEPS = st.one_of(
    ORDERS, ORDERS, ORDERS, TICKS, TICKS, TICKS, TICKS, AMENDS, CANCELS, STATES, PASSING
)
STORIES = st.lists(
    st.tuples(st.sampled_from([False] * 7 + [True]), STEPS), min_size=20, max_size=50
)
ENDS = (Cancelled, VenueExpired)


def fills_of(disk: Disk) -> dict[str, list[Execution]]:
    found = defaultdict(list)
    for each in disk.executions:
        found[each.oid].append(each)
    return found


@given(STORIES)
def test_no_execution_is_made_twice_and_no_order_filled_beyond_its_size(steps: list[Any]) -> None:
    disk = Story().play(steps).disk
    ids = [each.exec_id for each in disk.executions]
    assert len(set(ids)) == len(ids)
    for order in disk.orders.values():
        filled = sum((each.size for each in fills_of(disk)[order.oid]), D(0))
        assert filled == order.working.filled <= order.working.size


@given(STORIES)
def test_what_is_held_is_what_was_executed(steps: list[Any]) -> None:
    story = Story().play(steps)
    signed = [each.size if each.side == "buy" else -each.size for each in story.disk.executions]
    holdings = story.disk.venue().holdings()
    assert sum((each.size for each in holdings), D(0)) == sum(signed)
    assert holdings == story.venue.holdings()


@given(STORIES)
def test_the_fees_of_an_order_are_those_of_all_that_was_filled_of_it(steps: list[Any]) -> None:
    disk = Story().play(steps).disk
    for order in disk.orders.values():
        paid = sum((each.fee for each in fills_of(disk)[order.oid]), D(0))
        assert paid == fee(SCHEDULE, order.working.filled, order.notional)


@given(STORIES)
def test_a_restart_has_the_same_orders_open(steps: list[Any]) -> None:
    story = Story().play(steps)
    assert story.disk.venue().open_orders() == story.venue.open_orders()
    assert {o.oid for o in story.venue.open_orders()} == set(story.venue.orders)


@given(STORIES)
def test_an_order_is_told_to_end_once_and_then_no_more(steps: list[Any]) -> None:
    disk = Story().play(steps).disk
    for order in disk.orders.values():
        events = [told.event for told in disk.told if told.oid == order.oid]
        told = [event for event in events if not is_refusal(event)]
        ends = [event for event in told if isinstance(event, ENDS)]
        assert len(ends) == (order.outcome in ("cancelled", "expired"))
        assert ends == [event for event in told[-1:] if isinstance(event, ENDS)]


def is_refusal(event: object) -> bool:
    return type(event).__name__.endswith("Refused")


@given(STORIES)
def test_what_was_told_adds_up_to_the_life_that_it_has_here(steps: list[Any]) -> None:
    story = Story().play(steps)
    for order in story.disk.orders.values():
        events = [told.event for told in story.disk.told if told.oid == order.oid]
        life = replay([*sent(story.placed[order.oid]), *events])
        assert (life.filled, life.state) == (order.working.filled, order.outcome or "open")
        assert (life.size, life.limit) == (order.working.size, order.working.limit)
        assert life.venue_ids == (order.venue_id,)


def sent(call: Place) -> list[OrderEvent]:
    order = Order(
        oid=call.oid,
        account=call.account,
        market=call.market,
        side=call.side,
        size=call.size,
        kind="limit",
        limit=call.limit,
    )
    return [Submitted(order=order), Sending(size=call.size, limit=call.limit, not_after_ns=0)]


@given(STORIES)
def test_an_amendment_that_was_taken_was_possible(steps: list[Any]) -> None:
    story = Story().play(steps)
    for told in story.disk.told:
        if isinstance(told.event, AmendAcked):
            placed = story.placed[told.oid]
            assert (told.event.limit is None) == (placed.limit is None)


def test_a_market_that_runs_ahead_has_the_time_of_its_newest_tick() -> None:
    venue = PaperVenue("sim", Saved(tag="t", markets=(MARKET,)), runs_ahead=True)
    tick = Tick(kind="bid", price=1.0, time_ns=500, seen_ns=1)
    venue.take(Quote(market=MARKET.fqme, ticks=(tick,)), 100)
    assert venue.now_ns(MARKET.fqme, 100) == 500
    assert venue.now_ns(MARKET.fqme, 600) == 600


def test_time_that_is_recorded_never_goes_back() -> None:
    story = Story().play([(False, ("order", "buy", 1, D(1), "gtc"))])
    late = story.venue.drain(0)
    assert late is None
    story.venue.cancel(Cancel(oid="o1", venue_ids=()))
    change = story.venue.drain(-5)
    assert change is not None
    assert change.time_ns == 1
