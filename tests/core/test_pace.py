"""The pace of questions about the past: no declared limit is broken, and nobody waits for ever."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from piker.core.pace import (
    SHARE,
    WAITING,
    Pace,
    Pacer,
    Rate,
    TooManyWaiting,
    Urgency,
    at_least_s,
)
from piker.core.periods import NS

IB = Pace(rates=(Rate(questions=60, per_s=600), Rate(questions=5, per_s=2)), at_once=50)
ONE = Pace(rates=(Rate(questions=1, per_s=1),), at_once=50)

PACES = st.builds(
    Pace,
    rates=st.lists(
        st.builds(Rate, questions=st.integers(1, 9), per_s=st.sampled_from([0.5, 1.0, 7.0])),
        max_size=3,
    ).map(tuple),
    at_once=st.integers(1, 5),
)
STEPS = st.lists(
    st.one_of(
        st.sampled_from(Urgency),
        st.floats(0, 3, allow_nan=False).map(lambda pause_s: round(pause_s * NS)),
        st.sampled_from(["end", "withdraw"]),
    ),
    max_size=120,
)


class Asked:
    """Questions at a pace, numbered as they came, and what became of them."""

    def __init__(self, pace: Pace) -> None:
        self.pacer = Pacer[int](pace)
        self.now_ns = 0
        self.urgencies: list[Urgency] = []
        self.left: list[tuple[int, int]] = []
        """Which, and when."""
        self.open: list[int] = []
        self.most_open = 0

    def offer(self, *urgencies: Urgency) -> None:
        for urgency in urgencies:
            self.pacer.offer(len(self.urgencies), urgency)
            self.urgencies.append(urgency)
        self.look()

    def look(self) -> None:
        due = self.pacer.due(self.now_ns)
        self.left += [(each, self.now_ns) for each in due]
        self.open += due
        self.most_open = max(self.most_open, len(self.open))

    def wait(self, time_ns: int) -> None:
        self.now_ns += time_ns
        self.look()

    def end(self) -> None:
        if self.open:
            self.pacer.ended(self.open.pop(0))
        self.look()

    def go_on(self) -> bool:
        """Until the next one leaves, if any ever does."""
        self.end()
        at_ns = self.pacer.next_at(self.now_ns)
        if at_ns is not None:
            self.wait(at_ns - self.now_ns)
        return at_ns is not None or bool(self.open)

    def step(self, step: Urgency | int | str) -> None:
        match step:
            case Urgency():
                self.offer(step)
            case int():
                self.wait(step)
            case "end":
                self.end()
            case _:
                self.pacer.withdraw(len(self.urgencies) // 2)
                self.look()


@given(PACES, STEPS)
def test_no_declared_limit_is_ever_broken(pace: Pace, steps: list[Urgency | int | str]) -> None:
    asked = Asked(pace)
    for step in steps:
        asked.step(step)
    times = [time_ns for _, time_ns in asked.left]
    for rate in pace.rates:
        spans = zip(times, times[rate.questions :], strict=False)
        assert all(late - early >= rate.per_s * NS for early, late in spans)
    assert asked.most_open <= pace.at_once


@given(PACES, STEPS)
def test_what_waits_leaves_within_its_share(pace: Pace, steps: list[Urgency | int | str]) -> None:
    asked = Asked(pace)
    for step in steps:
        asked.step(step)
    order = [each for each, _ in asked.left]
    for place, number in enumerate(order):
        overtook = sum(each > number for each in order[:place])
        assert overtook <= (SHARE - 1) * (number + 1)


@given(PACES, st.lists(st.sampled_from(Urgency), min_size=1, max_size=50))
def test_everything_leaves_once_in_the_end(pace: Pace, urgencies: list[Urgency]) -> None:
    asked = Asked(pace)
    asked.offer(*urgencies)
    while asked.go_on():
        pass
    assert sorted(each for each, _ in asked.left) == list(range(len(urgencies)))


def test_the_most_urgent_leaves_first_and_of_the_same_the_oldest() -> None:
    asked = Asked(Pace(at_once=1))
    asked.offer(Urgency.LATEST, Urgency.PERSON, Urgency.LATEST, Urgency.PERSON)
    while asked.go_on():
        pass
    assert [each for each, _ in asked.left] == [1, 3, 0, 2]


def test_many_holes_leave_room_for_what_a_person_asks() -> None:
    asked = Asked(IB)
    asked.offer(*[Urgency.HOLE] * 100)
    for _ in range(100):
        asked.end()
        asked.wait(2 * NS)
    assert len(asked.left) == 48
    asked.offer(Urgency.PERSON)
    assert asked.left[-1] == (100, asked.now_ns)


def test_questions_that_hang_leave_room_for_what_a_person_asks() -> None:
    asked = Asked(Pace(at_once=4))
    asked.offer(*[Urgency.OLDER] * 10)
    asked.offer(Urgency.HOLE, Urgency.LATEST)
    assert [each for each, _ in asked.left] == [0, 1, 11]
    asked.offer(Urgency.PERSON)
    assert asked.left[-1] == (12, 0)


def test_one_of_four_is_the_oldest_however_much_is_asked_that_is_more_urgent() -> None:
    asked = Asked(ONE)
    asked.offer(*[Urgency.PERSON] * 2, *[Urgency.OLDER] * 2, *[Urgency.PERSON] * 8)
    while asked.go_on():
        pass
    assert [each for each, _ in asked.left] == [0, 1, 4, 5, 6, 2, 7, 8, 9, 3, 10, 11]


def test_what_waits_for_nothing_but_time_says_when_to_look_again() -> None:
    asked = Asked(ONE)
    asked.offer(Urgency.PERSON, Urgency.PERSON)
    assert asked.pacer.next_at(asked.now_ns) == NS


def test_what_waits_for_another_to_end_says_no_time() -> None:
    asked = Asked(Pace(at_once=1))
    asked.offer(Urgency.PERSON, Urgency.PERSON)
    assert asked.pacer.next_at(asked.now_ns) is None


def test_what_left_counts_when_the_pace_changes() -> None:
    asked = Asked(Pace(rates=(Rate(questions=3, per_s=10),)))
    asked.offer(Urgency.PERSON)
    asked.end()
    asked.pacer.change(ONE)
    asked.offer(Urgency.PERSON)
    assert len(asked.left) == 1
    assert asked.pacer.pace == ONE


def test_no_more_wait_than_there_may() -> None:
    asked = Asked(Pace(at_once=1))
    asked.offer(Urgency.PERSON)
    asked.offer(*[Urgency.OLDER] * WAITING)
    with pytest.raises(TooManyWaiting, match="1000 such questions about the past wait already"):
        asked.offer(Urgency.OLDER)
    asked.offer(Urgency.PERSON)


def test_what_waits_already_cannot_wait_twice() -> None:
    asked = Asked(Pace(at_once=1))
    asked.offer(Urgency.PERSON)
    with pytest.raises(ValueError, match="expected what neither waits nor is open, was 0"):
        asked.pacer.offer(0, Urgency.PERSON)


@pytest.mark.parametrize(("questions", "seconds"), [(0, 0), (60, 22), (61, 600), (180, 1200)])
def test_how_long_questions_take_at_least_is_known(questions: int, seconds: float) -> None:
    assert at_least_s(IB, questions) == seconds


def test_what_a_process_before_asked_counts_and_none_of_it_is_asked_again_too_soon() -> None:
    pacer = Pacer[str](structs.replace(IB, same_s=15.0))
    pacer.remember([9 * NS, 10 * NS, 99 * NS], 12 * NS)
    assert pacer.left_ns == [9 * NS, 10 * NS]
    pacer.offer("same", Urgency.PERSON)
    assert (pacer.due(12 * NS), pacer.next_at(12 * NS)) == ([], 25 * NS)
    assert pacer.due(25 * NS) == ["same"]


def test_a_full_stretch_of_a_process_before_is_waited_for() -> None:
    pacer = Pacer[str](IB)
    pacer.remember([each * NS for each in range(60)], 60 * NS)
    pacer.offer("next", Urgency.PERSON)
    assert pacer.next_at(60 * NS) == 600 * NS
