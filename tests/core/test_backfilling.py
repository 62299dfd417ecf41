"""Filling back: newest first, no more than is missing, and each answer treated as what it is."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from piker.core.backfilling import (
    STREAK,
    TRIES,
    WEEK_NS,
    Filling,
    frames_of,
    not_to_be_had,
    unsettled,
)
from piker.core.pace import Pace, Rate
from piker.core.paging import Stretch
from piker.core.periods import NS
from piker.core.spans import Pair, clipped, joined, without
from piker.coverage import Unavailable

WANTED = (0, 100 * NS)
FRAME_S = 10
SLOW = Pace(rates=(Rate(questions=1, per_s=60),))


def s(*pairs: tuple[float, float]) -> list[Pair]:
    return [(round(a * NS), round(b * NS)) for a, b in pairs]


class Fill:
    """A filling in the test's hands, with times in s."""

    def __init__(self, *left: tuple[float, float], pace: Pace | None = None) -> None:
        self.now_s = 0.0
        self.filling = Filling(
            period_s=1,
            wanted=WANTED,
            left=s(*left or ((0, 100),)),
            longest_ns=FRAME_S * NS,
            pace=pace or Pace(),
        )

    def next(self) -> tuple[int, int] | None:
        asked = self.filling.next(round(self.now_s * NS))
        return asked and (asked.from_ns // NS, asked.to_ns // NS)

    def due(self) -> Stretch:
        self.now_s = max(self.now_s, self.filling.not_before_boot_ns / NS)
        asked = self.filling.next(round(self.now_s * NS))
        assert asked
        return asked

    def take(self, from_s: float | None = None, rows: int = 0) -> None:
        asked = self.due()
        begin_ns = asked.from_ns if from_s is None else round(from_s * NS)
        self.filling.took(asked, (begin_ns, asked.to_ns), rows, round(self.now_s * NS))

    def fail(self, why: str, pause_s: float | None = None) -> Pair | None:
        return self.filling.failed(
            why,  # type: ignore[arg-type]
            f"it was {why}",
            pause_s,
            self.due(),
            round(self.now_s * NS),
        )

    def refuse(self, first_s: float | None = None) -> tuple[float, float]:
        first_ns = None if first_s is None else round(first_s * NS)
        from_ns, to_ns = self.filling.unavailable(self.due(), "no permission", first_ns)
        return from_ns / NS, to_ns / NS


# --- what there is to ask for


def test_what_is_covered_isnt_asked_for_nor_what_is_closed() -> None:
    trading = s((10, 40), (60, 90))
    assert unsettled(WANTED, s((0, 20), (70, 80)), trading, NS) == s((20, 40), (60, 70), (80, 90))


def test_a_market_of_unknown_sessions_counts_as_open() -> None:
    assert unsettled(WANTED, s((20, 30)), None, NS) == s((0, 20), (30, 100))


def test_a_period_that_is_covered_in_part_is_asked_for_whole() -> None:
    assert unsettled(WANTED, s((20.5, 29.5)), None, NS) == s((0, 21), (29, 100))


def test_what_was_refused_is_left_alone_for_a_week() -> None:
    noted = [Unavailable(from_ns=1, to_ns=2, reason="no", asked_ns=7)]
    assert not_to_be_had(noted, 6 + WEEK_NS) == [(1, 2)]
    assert not_to_be_had(noted, 7 + WEEK_NS) == []


@pytest.mark.parametrize(
    ("left", "frames"),
    [
        ((), 0),
        (((0, 10),), 1),
        (((0, 11),), 2),
        (((0, 2), (8, 9)), 1),
        (((0, 2), (9, 11)), 2),
        (((0, 25), (90, 91)), 4),
    ],
    ids=repr,
)
def test_how_many_frames_are_left_is_known(
    left: Sequence[tuple[float, float]], frames: int
) -> None:
    assert frames_of(s(*left), FRAME_S * NS) == frames


# --- what comes next


def test_the_newest_frame_is_asked_for_first_then_ever_older() -> None:
    fill = Fill((0, 25), (30, 32), (36, 38))
    asked = []
    while not fill.filling.over:
        asked.append(fill.next())
        fill.take()
    assert asked == [(30, 38), (15, 25), (5, 15), (0, 5)]


def test_a_narrow_answer_is_gone_on_from() -> None:
    fill = Fill((0, 20))
    fill.take(from_s=15)
    assert fill.next() == (5, 15)


def test_what_was_not_in_the_end_of_an_answer_is_asked_for_again() -> None:
    fill = Fill((0, 20))
    fill.filling.took(fill.due(), (10 * NS, 18 * NS), 8, 0)
    assert fill.next() == (18, 20)


def test_a_throttle_is_waited_out_and_no_longer() -> None:
    fill = Fill()
    fill.fail("throttled", 15.0)
    assert fill.next() is None
    assert fill.filling.progress(5 * NS).wait_s == 10
    assert fill.filling.progress(5 * NS).reason == "it was throttled"
    fill.now_s = 15
    assert fill.next() == (90, 100)


def test_a_lost_venue_is_looked_for_after_pauses_that_have_a_bound() -> None:
    fill = Fill()
    pauses = []
    for _ in range(8):
        began_s = fill.due() and fill.now_s
        fill.fail("lost")
        pauses.append(fill.filling.not_before_boot_ns / NS - began_s)
    assert pauses == [1, 2, 4, 8, 16, 32, 60, 60]
    fill.now_s += 60
    assert fill.next() == (90, 100)


def test_what_is_not_answered_is_asked_for_again_later_and_then_less_of_it() -> None:
    fill = Fill()
    asked = []
    for _ in range(4):
        asked.append(fill.due().to_ns // NS - fill.due().from_ns // NS)
        fill.fail("unanswered")
    assert asked == [10, 10, 5, 2]
    fill.take()
    assert fill.next() == (97, 99)


def test_what_is_never_answered_does_not_hold_up_the_rest() -> None:
    fill = Fill((0, 30))
    while fill.due().to_ns == 30 * NS:
        fill.fail("unanswered")
    assert fill.next() == (19, 29)
    while fill.due().to_ns != 30 * NS:
        fill.take()
    assert fill.next() == (29, 30)
    assert fill.filling.progress(0).frames_left == 1


def test_an_answer_that_cannot_be_is_narrowed_down_to_one_period_which_is_noted() -> None:
    fill = Fill((0, 10))
    noted = []
    while not fill.filling.over:
        asked = fill.due()
        if asked.from_ns <= 7 * NS < asked.to_ns:
            noted.append(fill.fail("unsound"))
        else:
            fill.take()
    assert [each for each in noted if each] == s((7, 8))
    assert noted.count(None) <= 4 + TRIES
    assert fill.filling.progress(0).state == "done"


def test_a_period_is_given_up_for_answers_about_it_alone() -> None:
    fill = Fill((0, 10))
    alone = 0
    while fill.filling.progress(0).left_ns == 10 * NS:
        asked = fill.due()
        alone += asked.to_ns - asked.from_ns == NS
        fill.fail("unsound")
    assert alone == TRIES


def test_before_the_first_data_nothing_is_asked_for() -> None:
    fill = Fill()
    assert fill.refuse(first_s=94.5) == (0, 95)
    assert fill.next() == (95, 100)


def test_what_is_refused_is_noted_and_the_rest_is_asked_for() -> None:
    fill = Fill()
    assert fill.refuse() == (90, 100)
    assert fill.next() == (80, 90)


def test_when_nothing_in_a_row_is_to_be_had_it_has_failed() -> None:
    fill = Fill()
    for _ in range(STREAK):
        fill.refuse()
    progress = fill.filling.progress(0)
    assert (progress.state, progress.eta_s) == ("failed", None)
    assert progress.reason == "of 5 frames in a row none is to be had: no permission"
    assert fill.next() is None


def test_an_answer_without_anything_new_is_none() -> None:
    fill = Fill()
    fill.filling.took(fill.due(), (0, 0), 0, 0)
    assert fill.next() is None
    assert fill.filling.progress(0).state == "waiting"


# --- how far it is


def test_progress_says_what_is_done_and_left_and_when_it_ends() -> None:
    fill = Fill()
    for second in range(5):
        fill.now_s = 3.0 * second
        fill.take(rows=7)
    progress = fill.filling.progress(12 * NS)
    assert (progress.state, progress.rows, progress.frames) == ("running", 35, 5)
    assert (progress.settled_from_ns, progress.left_ns) == (50 * NS, 50 * NS)
    assert (progress.share, progress.frames_left) == (0.5, 5)
    assert (progress.per_minute, progress.eta_s) == (20, 15)


def test_it_ends_no_sooner_than_the_providers_rates_let_it() -> None:
    fill = Fill(pace=SLOW)
    fill.take()
    fill.now_s = 1
    fill.take()
    assert fill.filling.progress(NS).eta_s == 60 * 7


def test_what_has_nothing_to_ask_for_is_done() -> None:
    filling = Filling(period_s=1, wanted=WANTED, left=(), longest_ns=NS, pace=Pace())
    progress = filling.progress(0)
    assert (progress.state, progress.share, progress.eta_s) == ("done", 1.0, 0.0)
    assert progress.settled_from_ns == 0


# --- whatever is answered


ANSWERS = st.lists(
    st.sampled_from(
        ["whole", "narrow", "end", "nothing", "lost", "throttled", "unanswered", "unsound", "no"]
    ),
    max_size=60,
)
STRETCHES = st.lists(st.tuples(st.integers(0, 100), st.integers(0, 100)), max_size=6).map(
    lambda each: joined((min(p) * NS, max(p) * NS) for p in each if p[0] != p[1])
)


@given(STRETCHES, ANSWERS)
def test_all_is_asked_for_in_the_end_and_nothing_else_and_no_frame_is_too_long(
    settled: list[Pair], answers: list[str]
) -> None:
    left = unsettled(WANTED, settled, None, NS)
    filling = Filling(period_s=1, wanted=WANTED, left=left, longest_ns=FRAME_S * NS, pace=Pace())
    script, told, boot_ns = iter(answers), list[Pair](), 0
    while not filling.over:
        boot_ns = max(boot_ns, filling.not_before_boot_ns)
        asked = filling.next(boot_ns)
        assert asked
        assert 0 < asked.to_ns - asked.from_ns <= FRAME_S * NS
        assert clipped(without(left, told), *asked)
        told += answer(filling, asked, next(script, "whole"), boot_ns)
    assert without(left, told) == [] or filling.progress(boot_ns).state == "failed"


def answer(filling: Filling, asked: Stretch, kind: str, boot_ns: int) -> list[Pair]:
    """What is settled by it."""
    middle_ns = (asked.from_ns + asked.to_ns) // 2 // NS * NS
    parts = {
        "whole": (asked.from_ns, asked.to_ns),
        "narrow": (middle_ns, asked.to_ns),
        "end": (asked.from_ns, middle_ns),
        "nothing": (0, 0),
    }
    if kind in parts:
        filling.took(asked, parts[kind], 1, boot_ns)
        return [parts[kind]]
    if kind == "no":
        return [filling.unavailable(asked, "no", None)]
    noted = filling.failed(kind, kind, 5.0, asked, boot_ns)  # type: ignore[arg-type]
    return [noted] if noted else []
