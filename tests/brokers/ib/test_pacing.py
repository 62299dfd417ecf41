"""No rule of the gateway's is broken, nothing is lost, and a cancel never waits for history."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from itertools import count

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from piker.brokers.ib.pacing import (
    KEPT_FREE,
    OPEN,
    PATIENCE_NS,
    RATE,
    SECOND_NS,
    WAITING,
    Needs,
    Pacer,
    Past,
    Symbols,
    Ticks,
    TooManyWaiting,
    Urgency,
    Window,
)

CANCEL, ORDER, CONTROL, QUOTES, SEARCH, HISTORY = Urgency
START = 1_000 * SECOND_NS


def s(seconds: float) -> int:
    """An instant, so many seconds after the start."""
    return START + round(seconds * SECOND_NS)


def past(number: int, *, series: int | None = None, cost: int = 1) -> Past:
    """A request for history; each of another series, if not said."""
    return Past(identical=number, series=number if series is None else series, cost=cost)


def offer_all(pacer: Pacer[int], items: Iterable[int], urgency: Urgency, now_ns: int) -> None:
    """Offer plain messages."""
    for item in items:
        pacer.offer(item, urgency, now_ns)


def offer_past(pacer: Pacer[int], count: int, now_ns: int = START) -> None:
    """Offer so much history, each of another series, numbered from 0."""
    for item in range(count):
        pacer.offer(item, HISTORY, now_ns, past(item))


def due(pacer: Pacer[int], now_ns: int) -> list[int]:
    """What leaves at once."""
    left = []
    while (item := pacer.take(now_ns)) is not None:
        pacer.left(now_ns)
        left.append(item)
    return left


def all_leave(pacer: Pacer[int], now_ns: int) -> list[tuple[int, int]]:
    """Until nothing can leave: what left when, in tenths of a second since the start."""
    left = []
    when: int | None = now_ns
    while when is not None:
        left += [(item, round((when - START) / SECOND_NS * 10)) for item in due(pacer, when)]
        when = pacer.next_at(when)
    return left


def test_the_most_urgent_leaves_first_and_in_turn() -> None:
    pacer: Pacer[int] = Pacer()
    for item, urgency in enumerate([HISTORY, SEARCH, CANCEL, QUOTES, ORDER, CONTROL, CANCEL]):
        pacer.offer(item, urgency, START)
    assert due(pacer, START) == [2, 6, 4, 5, 3, 1, 0]


def test_what_has_left_is_not_due_again() -> None:
    pacer: Pacer[int] = Pacer()
    pacer.offer(1, ORDER, START)
    assert (due(pacer, START), due(pacer, START), pacer.next_at(START)) == ([1], [], None)


def test_no_second_has_more_than_45_messages() -> None:
    pacer: Pacer[int] = Pacer()
    offer_all(pacer, range(100), ORDER, START)
    assert due(pacer, START) == list(range(45))
    assert pacer.next_at(START) == s(1)
    assert due(pacer, s(1) - 1) == []
    assert due(pacer, s(1)) == list(range(45, 90))


def test_messages_that_the_gateway_took_late_count_from_then() -> None:
    pacer: Pacer[int] = Pacer()
    offer_all(pacer, range(90), ORDER, START)
    for item in range(45):
        assert pacer.take(START) == item
        pacer.left(s(0.4))
    assert pacer.next_at(s(1)) == s(1.4)
    assert due(pacer, s(1.4) - 1) == []
    assert due(pacer, s(1.4)) == list(range(45, 90))


def test_messages_that_left_at_several_times_make_room_at_several() -> None:
    pacer: Pacer[int] = Pacer()
    offer_all(pacer, range(40), ORDER, START)
    due(pacer, START)
    offer_all(pacer, range(40, 90), ORDER, s(0.5))
    assert due(pacer, s(0.5)) == list(range(40, 45))
    assert due(pacer, s(1)) == list(range(45, 85))
    assert due(pacer, s(1.5)) == list(range(85, 90))


def test_some_room_is_kept_for_cancels_and_orders() -> None:
    pacer: Pacer[int] = Pacer()
    offer_all(pacer, range(100), QUOTES, START)
    assert len(due(pacer, START)) == RATE - KEPT_FREE
    offer_all(pacer, range(1000, 1010), CANCEL, s(0.1))
    assert due(pacer, s(0.1)) == list(range(1000, 1000 + KEPT_FREE))


def test_a_cancel_behind_200_requests_for_history_leaves_at_once() -> None:
    pacer: Pacer[int] = Pacer()
    offer_past(pacer, 200)
    assert len(due(pacer, START)) == RATE - KEPT_FREE
    pacer.offer(999, CANCEL, s(0.001))
    assert due(pacer, s(0.001)) == [999]


def test_at_most_60_requests_for_history_leave_in_ten_minutes() -> None:
    pacer: Pacer[int] = Pacer()
    offer_past(pacer, 61)
    for seconds in (0, 1, 2, 3):
        for item in due(pacer, s(seconds)):
            pacer.ended(item)
    assert pacer.next_at(s(3)) == s(600)
    assert (due(pacer, s(600) - 1), due(pacer, s(600))) == ([], [60])


def test_bids_and_asks_count_twice() -> None:
    pacer: Pacer[int] = Pacer()
    for item in range(31):
        pacer.offer(item, HISTORY, START, past(item, cost=2))
    assert due(pacer, START) == list(range(30))
    assert pacer.next_at(START) == s(600)


def test_a_dear_request_is_not_passed_by_cheap_ones_for_ever() -> None:
    pacer: Pacer[int] = Pacer()
    for item in range(32):
        pacer.offer(item, HISTORY, START, past(item, cost=1 if item in (29, 31) else 2))
    assert due(pacer, START) == list(range(30))
    assert due(pacer, s(600)) == [30, 31]


def test_identical_requests_leave_15_seconds_apart_and_others_pass() -> None:
    pacer: Pacer[int] = Pacer()
    for item, identical in enumerate("aab"):
        pacer.offer(item, HISTORY, START, Past(identical=identical, series=item))
    assert all_leave(pacer, START) == [(0, 0), (2, 0), (1, 150)]


def test_five_requests_of_a_series_leave_in_two_seconds_and_others_pass() -> None:
    pacer: Pacer[int] = Pacer()
    for item in range(7):
        pacer.offer(item, HISTORY, START, past(item, series=1))
    pacer.offer(7, HISTORY, START, past(7))
    assert all_leave(pacer, START) == [*((n, 0) for n in (0, 1, 2, 3, 4, 7)), (5, 20), (6, 20)]


def test_a_series_is_not_held_back_by_another() -> None:
    pacer: Pacer[int] = Pacer()
    for item in range(10):
        pacer.offer(item, HISTORY, START, past(item, series=item % 2))
    assert due(pacer, START) == list(range(10))


def test_at_most_50_requests_for_history_are_open() -> None:
    pacer: Pacer[int] = Pacer()
    offer_past(pacer, 52)
    assert len(all_leave(pacer, START)) == OPEN
    assert pacer.next_at(s(2)) is None
    pacer.ended(0)
    assert pacer.next_at(s(2)) == s(2)
    assert due(pacer, s(2)) == [50]


def test_searches_leave_a_second_apart_and_contracts_pass() -> None:
    pacer: Pacer[int] = Pacer()
    for item, needs in enumerate([Symbols(), Symbols(), None]):
        pacer.offer(item, SEARCH, START, needs)
    assert all_leave(pacer, START) == [(0, 0), (2, 0), (1, 10)]


def test_ticks_of_an_instrument_are_asked_for_15_seconds_apart() -> None:
    pacer: Pacer[int] = Pacer()
    for item, instrument in enumerate("xxy"):
        pacer.offer(item, QUOTES, START, Ticks(instrument=instrument))
    assert all_leave(pacer, START) == [(0, 0), (2, 0), (1, 150)]


def test_what_was_withdrawn_does_not_leave_and_makes_no_others_wait() -> None:
    pacer: Pacer[int] = Pacer()
    for item in range(3):
        pacer.offer(item, SEARCH, START, Symbols())
    assert pacer.withdraw(0)
    assert due(pacer, START) == [1]
    assert pacer.withdraw(2)
    assert pacer.next_at(START) is None


def test_what_does_not_wait_cannot_be_withdrawn() -> None:
    pacer: Pacer[int] = Pacer()
    pacer.offer(1, ORDER, START)
    due(pacer, START)
    assert (pacer.withdraw(1), pacer.withdraw(2)) == (False, False)


def test_offering_and_withdrawing_for_ever_keeps_nothing() -> None:
    pacer: Pacer[int] = Pacer()
    for item in range(10_000):
        pacer.offer(item, SEARCH, START, Symbols())
        pacer.withdraw(item)
    line = pacer._lines[SEARCH]
    assert len(line.turns) + len(line.held) < 200


def test_what_left_long_ago_is_forgotten() -> None:
    pacer: Pacer[int] = Pacer()
    for item in range(100):
        pacer.offer(item, QUOTES, s(item), Ticks(instrument=item))
        due(pacer, s(item))
    assert len(pacer._ticks._times) <= 16
    assert [len(times) for times in pacer._all._times.values()] == [1]


def test_a_key_that_comes_again_and_again_keeps_no_others() -> None:
    window = Window(5, 2 * SECOND_NS)
    for number in range(100):
        window.note(s(number), "again")
        window.note(s(number), number)
    assert list(window._times) == [98, "again", 99]


def test_too_much_that_waits_is_refused_but_not_what_is_more_urgent() -> None:
    pacer: Pacer[int] = Pacer()
    offer_past(pacer, WAITING)
    with pytest.raises(TooManyWaiting, match="history: expected at most 1000"):
        pacer.offer(WAITING, HISTORY, START, past(WAITING))
    pacer.offer(WAITING, CANCEL, START)
    assert due(pacer, START)[0] == WAITING


def test_what_waits_or_is_open_cannot_be_offered_again() -> None:
    pacer: Pacer[int] = Pacer()
    pacer.offer(1, HISTORY, START, past(1))
    with pytest.raises(ValueError, match="neither waits nor is open, was 1"):
        pacer.offer(1, ORDER, START)
    due(pacer, START)
    with pytest.raises(ValueError, match="neither waits nor is open, was 1"):
        pacer.offer(1, ORDER, START)
    pacer.ended(1)
    pacer.offer(1, ORDER, START)


def test_history_is_never_more_urgent_than_history() -> None:
    with pytest.raises(ValueError, match="expected Past with HISTORY only, was ORDER"):
        Pacer[int]().offer(1, ORDER, START, past(1))


def test_after_a_connection_is_lost_nothing_waits_but_what_left_still_counts() -> None:
    pacer: Pacer[int] = Pacer()
    pacer.offer(0, HISTORY, START, past(7))
    due(pacer, START)
    pacer.offer(1, HISTORY, START, past(7))
    pacer.offer(2, ORDER, START)
    assert pacer.lost() == [1, 2]
    assert (pacer.next_at(START), pacer.waits(1, START)) == (None, None)
    pacer.offer(0, HISTORY, START, past(7))
    assert all_leave(pacer, START) == [(0, 150)]


def test_what_has_waited_for_long_goes_before_newer_but_not_before_orders() -> None:
    pacer: Pacer[int] = Pacer()
    pacer.offer(0, HISTORY, START, past(0))
    now_ns = START + PATIENCE_NS
    offer_all(pacer, range(100, 110), QUOTES, now_ns)
    pacer.offer(1, ORDER, now_ns)
    assert due(pacer, now_ns)[:3] == [1, 0, 100]


def test_endless_quotes_do_not_keep_history_waiting_for_ever() -> None:
    pacer: Pacer[int] = Pacer()
    numbers = count(1)
    pacer.offer(0, HISTORY, START, past(0))
    left: dict[int, int] = {}
    for second in range(40):
        offer_all(pacer, (next(numbers) for _ in range(41)), QUOTES, s(second))
        left |= dict.fromkeys(due(pacer, s(second)), second)
    assert left[0] == 30


# --- waiting, as it is shown


def test_what_waits_says_for_how_long_and_at_which_place() -> None:
    pacer: Pacer[int] = Pacer()
    offer_all(pacer, range(100), ORDER, START)
    due(pacer, START)
    waits = pacer.waits(46, s(0.25))
    assert waits is not None
    assert (waits.seconds, waits.position) == (0.75, 2)
    last = pacer.waits(99, s(0.25))
    assert last is not None
    assert (last.seconds, last.position) == (1.75, 55)


def test_what_does_not_wait_has_no_wait() -> None:
    pacer: Pacer[int] = Pacer()
    pacer.offer(1, ORDER, START)
    due(pacer, START)
    assert (pacer.waits(1, START), pacer.waits(2, START)) == (None, None)


def test_history_says_how_long_ten_minutes_keep_it_waiting() -> None:
    pacer: Pacer[int] = Pacer()
    offer_past(pacer, 200)
    waits = [pacer.waits(item, START) for item in (0, 39, 40, 59, 60, 119, 120, 199)]
    assert [each and each.position for each in waits] == [1, 40, 41, 60, 61, 120, 121, 200]
    assert [each and each.seconds for each in waits] == [0, 0, 1, 1, 600, 600, 1200, 1800]


def test_a_rule_of_its_own_is_part_of_how_long_it_waits() -> None:
    pacer: Pacer[int] = Pacer()
    pacer.offer(0, HISTORY, START, past(7))
    due(pacer, START)
    pacer.offer(1, HISTORY, START, past(7))
    waits = pacer.waits(1, s(5))
    assert waits is not None
    assert (waits.seconds, waits.position) == (10, 1)


def test_more_urgent_messages_are_ahead() -> None:
    pacer: Pacer[int] = Pacer()
    pacer.offer(0, QUOTES, START)
    pacer.offer(1, CANCEL, START)
    pacer.offer(2, HISTORY, START, past(2))
    waits = pacer.waits(0, START)
    assert waits is not None
    assert waits.position == 2


# --- whatever is offered, whenever

NEEDS: dict[Urgency, st.SearchStrategy[Needs]] = {
    CANCEL: st.none(),
    ORDER: st.none(),
    CONTROL: st.none(),
    QUOTES: st.none() | st.builds(Ticks, instrument=st.integers(0, 3)),
    SEARCH: st.none() | st.builds(Symbols),
    HISTORY: st.builds(
        Past,
        identical=st.integers(0, 40),
        series=st.integers(0, 2) | st.integers(0, 1000),
        cost=st.sampled_from([1, 1, 2]),
    ),
}
BURST = st.sampled_from(list(Urgency)).flatmap(
    lambda urgency: st.tuples(
        st.just(urgency), st.lists(NEEDS[urgency], min_size=1, max_size=12), st.integers(1, 6)
    )
)
PAUSE = st.sampled_from([0, 1, 10**6, 10**8, 10**9, 3 * 10**9, 16 * 10**9, 601 * 10**9])
SOME = st.sets(st.integers(0, 200), max_size=5)
STEPS = st.lists(st.tuples(PAUSE, BURST, SOME), max_size=25)
PLAIN = st.tuples(
    st.sampled_from([CANCEL, ORDER, CONTROL, QUOTES, SEARCH]),
    st.lists(st.none(), min_size=1, max_size=12),
    st.integers(1, 6),
)
QUICK = st.lists(st.tuples(st.sampled_from([0, 1, 10**6, 10**8]), PLAIN, SOME), max_size=15)
Step = tuple[int, tuple[Urgency, list[Needs], int], set[int]]


class Played:
    """A pacer that is offered what it says, and a log of all that left."""

    def __init__(self) -> None:
        self.pacer: Pacer[int] = Pacer()
        self.now_ns = START
        self.offered: dict[int, tuple[Urgency, Needs]] = {}
        self.withdrawn: set[int] = set()
        self.ended: set[int] = set()
        self.left: list[tuple[int, int]] = []
        """When, what."""
        self.most_open = 0

    def step(self, pause_ns: int, burst: tuple[Urgency, list[Needs], int], some: set[int]) -> None:
        """Time passes, much is offered, some of it is withdrawn or has ended."""
        self.now_ns += pause_ns
        urgency, needs, times = burst
        for each in needs * times:
            item = len(self.offered)
            self.offered[item] = urgency, each
            self.pacer.offer(item, urgency, self.now_ns, each)
        self.withdrawn |= {item for item in some if self.pacer.withdraw(item)}
        self.leave()
        self.end(some)

    def leave(self) -> None:
        """Whatever is due leaves."""
        self.left += [(self.now_ns, item) for item in due(self.pacer, self.now_ns)]
        self.most_open = max(self.most_open, len(self.open_ones()))

    def open_ones(self) -> set[int]:
        """History that left and hasn't ended."""
        return {n for _, n in self.left if self.offered[n][0] is HISTORY} - self.ended

    def end(self, items: set[int]) -> None:
        """Some of the history that is open has ended."""
        for item in items & self.open_ones():
            self.ended.add(item)
            self.pacer.ended(item)

    def drain(self) -> None:
        """Everything ends and time passes, until nothing is left to wait for."""
        self.end(self.open_ones())
        while (at_ns := self.pacer.next_at(self.now_ns)) is not None:
            self.now_ns = max(at_ns, self.now_ns)
            self.leave()
            self.end(self.open_ones())

    def times(self, urgency: Urgency | None = None) -> list[int]:
        """When messages left, as often as they count."""
        return [
            time_ns
            for time_ns, item in self.left
            if urgency in (None, self.offered[item][0])
            for _ in range(getattr(self.offered[item][1], "cost", 1) if urgency else 1)
        ]

    def by(self, name: str) -> list[list[int]]:
        """When messages with equal values of this need left, a list for each value."""
        found: dict[object, list[int]] = defaultdict(list)
        for time_ns, item in self.left:
            needs = self.offered[item][1]
            if hasattr(needs, name):
                found[getattr(needs, name)].append(time_ns)
        return list(found.values())

    def searches(self) -> list[int]:
        """When searches left."""
        return [time_ns for time_ns, n in self.left if isinstance(self.offered[n][1], Symbols)]


def play(steps: Sequence[Step]) -> Played:
    """Play all steps, then let all that waits leave."""
    played = Played()
    for each in steps:
        played.step(*each)
    played.drain()
    return played


def keeps(times: Sequence[int], most: int, seconds: float) -> bool:
    """Whether no stretch of this length has more than `most` of these instants."""
    return all(
        later - sooner >= seconds * SECOND_NS
        for sooner, later in zip(times, times[most:], strict=False)
    )


@settings(deadline=None)
@given(STEPS)
def test_no_rule_is_ever_broken(steps: list[Step]) -> None:
    played = play(steps)
    assert keeps(played.times(), 45, 1)
    assert keeps(played.times(HISTORY), 60, 600)
    assert keeps(played.searches(), 1, 1)
    assert all(keeps(times, 1, 15) for times in played.by("identical"))
    assert all(keeps(times, 5, 2) for times in played.by("series"))
    assert all(keeps(times, 1, 15) for times in played.by("instrument"))
    assert played.most_open <= 50


@settings(deadline=None)
@given(STEPS)
def test_nothing_is_lost_and_nothing_waits_for_ever(steps: list[Step]) -> None:
    played = play(steps)
    left = [item for _, item in played.left]
    assert len(left) == len(set(left))
    assert set(left) == set(played.offered) - played.withdrawn


@settings(deadline=None)
@given(STEPS)
def test_what_no_rule_of_its_own_holds_back_leaves_in_turn(steps: list[Step]) -> None:
    played = play(steps)
    for urgency in Urgency:
        plain = [n for _, n in played.left if played.offered[n] == (urgency, None)]
        assert plain == sorted(plain)


@settings(deadline=None)
@given(STEPS)
def test_nothing_is_due_before_it_is_said_to_be(steps: list[Step]) -> None:
    played = Played()
    for each in steps:
        played.step(*each)
        played.leave()
        at_ns = played.pacer.next_at(played.now_ns)
        assert at_ns is None or at_ns > played.now_ns
        before_ns = played.now_ns + 10**9 if at_ns is None else at_ns - 1
        assert due(played.pacer, before_ns) == []
        played.now_ns = before_ns


@settings(deadline=None)
@given(QUICK, st.integers(0, 300))
def test_plain_messages_leave_no_sooner_than_they_say(steps: list[Step], item: int) -> None:
    played = Played()
    for each in steps:
        played.step(*each)
    waits = played.pacer.waits(item, played.now_ns)
    until_ns = played.now_ns + round((waits.seconds if waits else 0) * SECOND_NS)
    played.drain()
    assert all(when >= until_ns - 1 for when, left in played.left if waits and left == item)
