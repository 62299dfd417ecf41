"""Which market is watched next, within the lines that there are, and what each is told."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from piker.brokers.ib.codes import Farm, FarmState
from piker.brokers.ib.desired import (
    ACCEPTED_NS,
    ANOTHER_NS,
    REFUSED_NS,
    REPEATED_NS,
    SECOND_NS,
    SILENT_NS,
    STRAY_NS,
    Desired,
)
from piker.markets import Market, Session

T = 10**15
WALL = 18 * 10**17


def wanting(*names: str, lines: int = 100) -> Desired:
    """So much is wanted, in this order."""
    desired = Desired(lines)
    for count in range(len(names)):
        desired.want(set(names[: count + 1]))
    return desired


def serve(desired: Desired, now_ns: int = T) -> list[str]:
    """Ask for all that is due, and hear of it; gives what that was."""
    asked = []
    while name := desired.next(now_ns):
        desired.asked(name, now_ns)
        desired.heard(name, now_ns)
        asked.append(name)
    return asked


def served(*names: str, lines: int = 100) -> Desired:
    """So much is wanted and watched, and told so."""
    desired = wanting(*names, lines=lines)
    serve(desired)
    desired.news(T)
    return desired


def farm(state: FarmState, name: str = "usfarm") -> Farm:
    """A farm of market data."""
    return Farm(name=name, kind="market", state=state)


def market(*sessions: tuple[int, int]) -> Market:
    """A market with these sessions, or always open."""
    return Market(
        fqme="a",
        venue_id="1",
        description="",
        asset_class="stock",
        currency="USD",
        price_tick=Decimal(1),
        size_tick=Decimal(1),
        multiplier=Decimal(1),
        sessions=tuple(Session(open_ns=a, close_ns=b) for a, b in sessions) or None,
        has_trades=True,
        has_volume=True,
        has_bid=True,
        has_ask=True,
    )


# --- whose turn it is


def test_who_was_wanted_first_is_asked_for_first_and_what_came_at_once_by_name() -> None:
    desired = wanting("z", "b")
    desired.want({"z", "b", "g", "d", "f", "c", "e"})
    assert serve(desired) == ["z", "b", "c", "d", "e", "f", "g"]


def test_the_order_outlives_the_gateway() -> None:
    desired = served("z", "b", "a")
    desired.lose()
    assert serve(desired) == ["z", "b", "a"]
    assert desired.news(T) == [("z", ""), ("b", ""), ("a", "")]


def test_who_is_no_longer_wanted_is_named_and_forgotten() -> None:
    desired = served("a", "b")
    assert desired.want({"b"}) == ["a"]
    assert "a" not in desired
    assert desired.next(T) is None


# --- lines


def test_who_finds_no_line_is_told_and_gets_the_first_that_is_free() -> None:
    desired = wanting("a", "b", "c", "d", lines=2)
    assert serve(desired) == ["a", "b"]
    told = dict(desired.news(T))
    assert told["c"].startswith("no market data line is free (lines = 2 in piker.toml)")
    desired.want({"b", "c", "d"})
    assert serve(desired) == ["c"]
    assert desired.news(T) == [("c", "")]


def test_who_will_find_no_line_is_told_at_once_and_who_will_is_not() -> None:
    desired = wanting("a", "b", "c", lines=2)
    assert [name for name, _ in desired.news(T)] == ["c"]


def test_what_orders_depend_on_is_asked_for_first() -> None:
    desired = wanting("a", "b")
    desired.want({"a", "b", "c"}, {"c"})
    assert serve(desired) == ["c", "a", "b"]


def test_what_orders_depend_on_gets_the_line_of_who_came_last_of_the_others() -> None:
    desired = served("a", "b", "c", lines=3)
    desired.want({"a", "b", "c", "d"}, {"c", "d"})
    assert desired.yielding(T) == "b"
    assert serve(desired) == ["d"]
    assert desired.yielding(T) is None
    assert [name for name, reason in desired.news(T) if reason] == ["b"]


def test_nobody_gives_a_line_to_who_depends_on_no_more_than_it() -> None:
    assert wanting("a", "b", lines=1).yielding(T) is None
    desired = served("a", lines=1)
    desired.want({"a", "b"}, {"a", "b"})
    assert desired.yielding(T) is None


def test_nobody_gives_a_line_while_one_is_free() -> None:
    desired = served("a", lines=2)
    desired.want({"a", "b"}, {"b"})
    assert desired.yielding(T) is None


def test_a_line_that_the_gateway_has_not_is_not_asked_for_again_at_once() -> None:
    desired = wanting("a", "b", "c")
    for name in "abc":
        desired.asked(name, T)
    desired.ended("c", "no line", "max", T)
    assert desired.next(T + ANOTHER_NS - 1) is None
    assert [name for name, reason in desired.news(T) if reason] == ["c"]
    assert desired.next_at(T + ACCEPTED_NS) == T + ANOTHER_NS
    assert desired.next(T + ANOTHER_NS) == "c"


def test_a_freed_line_goes_to_who_waits_also_after_the_gateway_had_fewer() -> None:
    desired = wanting("a", "b", "c")
    for name in "abc":
        desired.asked(name, T)
    desired.ended("c", "no line", "max", T)
    desired.want({"b", "c"})
    assert desired.next(T + 1) == "c"


def test_without_any_line_one_is_tried_every_minute() -> None:
    desired = wanting("a")
    desired.asked("a", T)
    desired.ended("a", "no line", "max", T)
    assert desired.next(T + 1) is None
    assert desired.next(T + ANOTHER_NS) == "a"


def test_after_the_gateway_was_away_all_lines_are_believed_in() -> None:
    desired = served("a", "b")
    desired.ended("b", "no line", "max", T)
    desired.lose()
    assert serve(desired) == ["a", "b"]


# --- what is told


def test_who_is_asked_for_is_told_when_something_is_heard() -> None:
    desired = wanting("a")
    desired.asked("a", T)
    assert desired.news(T) == []
    assert desired.heard("a", T)
    assert desired.news(T) == [("a", "")]
    assert desired.news(T) == []


def test_a_gateway_that_says_nothing_has_taken_a_request() -> None:
    desired = wanting("a")
    desired.asked("a", T)
    desired.accept(T + ACCEPTED_NS - 1)
    assert desired.news(T) == []
    assert desired.next_at(T) == T + ACCEPTED_NS
    desired.accept(T + ACCEPTED_NS)
    assert desired.news(T) == [("a", "")]


def test_who_is_refused_is_told_why_and_is_asked_for_again_long_after() -> None:
    desired = served("a")
    desired.ended("a", "refused", "no subscription", T)
    assert desired.news(T) == [("a", "no subscription")]
    assert desired.next(T + REFUSED_NS - 1) is None
    assert desired.next_at(T) == T + REFUSED_NS
    assert desired.next(T + REFUSED_NS) == "a"
    desired.asked("a", T + REFUSED_NS)
    assert desired.news(T + REFUSED_NS) == []
    desired.heard("a", T + REFUSED_NS)
    assert desired.news(T + REFUSED_NS) == [("a", "")]


def test_who_was_refused_and_is_wanted_anew_is_asked_for_at_once() -> None:
    desired = served("a")
    desired.ended("a", "refused", "no subscription", T)
    desired.want(set())
    desired.want({"a"})
    assert desired.next(T) == "a"


def test_who_is_to_try_again_later_does_with_longer_pauses_until_it_works() -> None:
    desired = served("a")
    now_ns, pauses, told = T, [], []
    for _ in range(6):
        desired.ended("a", "later", "logged in elsewhere", now_ns)
        told += desired.news(now_ns)
        pauses.append(((desired.next_at(now_ns) or 0) - now_ns) / SECOND_NS)
        now_ns += round(pauses[-1] * SECOND_NS)
        assert desired.next(now_ns - 1) is None
        assert desired.next(now_ns) == "a"
        desired.asked("a", now_ns)
    assert pauses == [5, 10, 20, 40, 60, 60]
    assert told == [("a", "logged in elsewhere")]
    desired.heard("a", now_ns)
    assert desired.news(now_ns) == [("a", "")]
    desired.ended("a", "later", "logged in elsewhere", now_ns)
    assert desired.next_at(now_ns) == now_ns + 5 * SECOND_NS


def test_who_is_to_be_asked_for_again_keeps_its_line_and_is_told_nothing() -> None:
    desired = served("a", "b", lines=2)
    desired.want({"a", "b", "c"})
    desired.news(T)
    desired.again("b")
    assert serve(desired) == ["b"]
    assert desired.news(T) == []


def test_what_ends_again_and_again_is_asked_for_with_pauses() -> None:
    desired = served("a")
    desired.ended("a", "again", "bust", T + SILENT_NS)
    assert desired.next(T + SILENT_NS) == "a"
    desired.asked("a", T + SILENT_NS)
    desired.ended("a", "again", "bust", T + SILENT_NS + 1)
    assert desired.next(T + SILENT_NS + 1) is None


# --- the gateway loses IB


def test_without_ib_nothing_is_served_and_with_it_everything_is_again() -> None:
    desired = served("a", "b")
    assert desired.take_link("lost", "no IB", T) == []
    assert desired.news(T) == [("a", "no IB"), ("b", "no IB")]
    assert not desired.heard("a", T)
    assert desired.take_link("kept", "IB is back", T) == []
    assert desired.news(T) == [("a", ""), ("b", "")]


def test_after_data_was_lost_all_is_asked_for_again_and_served_when_it_is_heard() -> None:
    desired = served("b", "a")
    desired.take_link("lost", "no IB", T)
    desired.news(T)
    assert desired.take_link("data lost", "IB is back", T) == ["b", "a"]
    assert desired.news(T) == []
    assert serve(desired) == ["b", "a"]
    assert desired.news(T) == [("b", ""), ("a", "")]


def test_what_is_heard_long_after_ib_was_lost_shows_that_it_is_back() -> None:
    desired = served("a", "b")
    desired.take_link("lost", "no IB", T)
    desired.news(T)
    desired.take_link("lost", "no IB", T + REPEATED_NS)
    assert not desired.heard("a", T + 2 * REPEATED_NS)
    assert desired.heard("a", T + 2 * REPEATED_NS + 1)
    assert desired.news(T) == [("a", ""), ("b", "")]


def test_without_ib_silence_takes_no_request_for_taken() -> None:
    desired = served("a")
    desired.again("a")
    desired.asked("a", T)
    desired.take_link("lost", "no IB", T)
    desired.accept(T + ACCEPTED_NS)
    assert desired.news(T) == [("a", "no IB")]


def test_without_ib_who_was_never_heard_of_is_not_served_when_it_is_back() -> None:
    desired = wanting("a")
    desired.asked("a", T)
    desired.take_link("lost", "no IB", T)
    desired.accept(T + ACCEPTED_NS)
    desired.take_link("kept", "IB is back", T + ACCEPTED_NS)
    assert desired.news(T + ACCEPTED_NS) == []


# --- farms


def test_a_farm_that_is_back_has_those_asked_for_again_that_were_silent_meanwhile() -> None:
    desired = served("a", "b", "c")
    assert desired.take_farm(farm("broken"), T + SECOND_NS) == []
    desired.heard("b", T + SECOND_NS + STRAY_NS + 1)
    desired.heard("c", T + SECOND_NS + STRAY_NS)
    assert desired.take_farm(farm("connecting"), T + 60 * SECOND_NS) == []
    assert desired.take_farm(farm("ok"), T + 60 * SECOND_NS) == ["a", "c"]
    assert desired.take_farm(farm("ok"), T + 61 * SECOND_NS) == []


@pytest.mark.parametrize(
    "back",
    [
        farm("ok", "eufarm"),
        Farm(name="usfarm", kind="history", state="ok"),
        Farm(name="usfarm", kind="definitions", state="ok"),
    ],
)
def test_another_farm_has_nothing_asked_for_again(back: Farm) -> None:
    desired = served("a")
    desired.take_farm(farm("broken"), T)
    assert desired.take_farm(back, T) == []
    assert list(desired.broken) == ["usfarm"]


def test_a_farm_that_is_said_to_be_broken_again_has_been_since_the_first_time() -> None:
    desired = served("a")
    desired.take_farm(farm("broken"), T)
    desired.heard("a", T + 5 * SECOND_NS)
    desired.take_farm(farm("broken"), T + 9 * SECOND_NS)
    assert desired.take_farm(farm("inactive"), T + 10 * SECOND_NS) == []


# --- silence


@pytest.mark.parametrize(
    ("sessions", "after_ns", "silent"),
    [
        ((), SILENT_NS + 1, True),
        ((), SILENT_NS, False),
        (((WALL - 10**12, WALL - 1),), SILENT_NS + 1, False),
        (((WALL - SILENT_NS, WALL + 10**12),), 10**12, False),
        (((WALL - SILENT_NS - 1, WALL + 10**12),), 10**12, True),
    ],
)
def test_a_market_is_silent_only_in_its_session(
    sessions: tuple[tuple[int, int], ...], after_ns: int, silent: bool
) -> None:
    desired = served("a")
    assert desired.is_silent("a", market(*sessions), WALL, T + after_ns) == silent


def test_who_was_just_asked_for_again_is_not_silent() -> None:
    desired = served("a")
    desired.asked("a", T + 10**12)
    desired.accept(T + 10**12 + ACCEPTED_NS)
    assert not desired.is_silent("a", market(), WALL, T + 10**12 + ACCEPTED_NS)


# --- whatever happens

NAMES = "abcdef"
DEPENDED_ON = set("ef")
STEPS = st.one_of(
    st.tuples(st.just("want"), st.sets(st.sampled_from(NAMES))),
    st.tuples(st.just("ask"), st.none()),
    st.tuples(st.just("hear"), st.sampled_from(NAMES)),
    st.tuples(st.sampled_from(["no line", "later", "again", "refused"]), st.sampled_from(NAMES)),
    st.tuples(st.sampled_from(["lost", "kept", "data lost", "away"]), st.none()),
    st.tuples(st.just("pass"), st.integers(1, 100)),
)


class Play:
    """Plays steps as the feed would."""

    def __init__(self, lines: int) -> None:
        self.desired = Desired(lines)
        self.asked: set[str] = set()
        self.told: dict[str, str] = {}
        self.now_ns = T

    def step(self, what: str, about: object) -> None:
        """One thing that happens, if it can."""
        match what, about:
            case "want", set():
                gone = self.desired.want(about, about & DEPENDED_ON)
                self._over(gone)
                self.told = {n: said for n, said in self.told.items() if n not in gone}
            case "ask", _:
                self.ask()
            case "hear", str() if about in self.asked:
                self.desired.heard(about, self.now_ns)
            case (("no line" | "later" | "again" | "refused"), str()) if about in self.asked:
                self._over([about])
                self.desired.ended(about, what, f"because {what}", self.now_ns)
            case (("lost" | "kept" | "data lost"), _):
                self._over(self.desired.take_link(what, "no IB", self.now_ns))
            case "away", _:
                self._over(list(self.asked))
                self.told.clear()
                self.desired.lose()
            case "pass", int():
                self.now_ns += about * SECOND_NS
                self.desired.accept(self.now_ns)
        self.told.update(self.desired.news(self.now_ns))

    def ask(self) -> bool:
        """For the next one, if there is one."""
        if loser := self.desired.yielding(self.now_ns):
            self._over([loser])
        name = self.desired.next(self.now_ns)
        if name:
            self.desired.asked(name, self.now_ns)
            self.asked.add(name)
        return bool(name)

    def _over(self, names: list[str]) -> None:
        self.asked -= set(names)


@given(st.lists(STEPS), st.integers(1, 4))
def test_lines_are_kept_and_in_the_end_all_are_told_and_as_many_served_as_there_are_lines(
    steps: list[tuple[str, object]], lines: int
) -> None:
    play = Play(lines)
    for step in steps:
        play.step(*step)
        assert len(play.asked) <= lines
    wanted = {name for name in NAMES if name in play.desired}
    play.step("kept", None)
    for _ in range(20):
        play.step("pass", 61)
        for _ in wanted:
            play.step("ask", None)
    play.step("pass", 61)
    assert set(play.told) == wanted
    served = {name for name, said in play.told.items() if said == ""}
    assert len(served) == min(lines, len(wanted))
    depended_on = DEPENDED_ON & wanted
    assert depended_on <= served or served <= depended_on
