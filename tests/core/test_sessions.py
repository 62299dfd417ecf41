"""Whether a market is open. Instants here are small numbers; sessions are oldest first."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from piker.core.sessions import Sessions, is_open, opening, session_at, why_closed
from piker.markets import Session

MORNING, AFTERNOON = Session(open_ns=100, close_ns=200), Session(open_ns=300, close_ns=400)
DAY: Sessions = (MORNING, AFTERNOON)


@pytest.mark.parametrize(
    ("time_ns", "session"),
    [
        (0, None),
        (99, None),
        (100, MORNING),
        (150, MORNING),
        (199, MORNING),
        (200, None),
        (250, None),
        (299, None),
        (300, AFTERNOON),
        (399, AFTERNOON),
        (400, None),
        (1000, None),
    ],
)
def test_a_session_begins_with_its_first_instant_and_ends_before_the_first_after_it(
    time_ns: int, session: Session | None
) -> None:
    assert session_at(DAY, time_ns) == session
    assert is_open(DAY, time_ns) == (session is not None)


def test_a_session_that_follows_at_once_leaves_no_instant_between() -> None:
    after = Session(open_ns=200, close_ns=250)
    assert [session_at((MORNING, after), at) for at in (199, 200)] == [MORNING, after]


@given(st.integers(0, 2**62))
def test_a_market_without_known_sessions_is_always_open(time_ns: int) -> None:
    assert is_open(None, time_ns)
    assert session_at(None, time_ns) is None
    assert opening(None, time_ns) == 0


def test_a_market_with_no_session_at_all_is_never_open() -> None:
    assert not is_open((), 100)
    assert why_closed((), 100) == "out of session"


@given(
    edges=st.lists(st.integers(0, 1000), unique=True, max_size=20).map(sorted),
    time_ns=st.integers(-1, 1001),
)
def test_open_is_what_a_look_at_every_session_says(edges: list[int], time_ns: int) -> None:
    pairs = list(zip(edges[::2], edges[1::2], strict=False))
    sessions = tuple(Session(open_ns=a, close_ns=b) for a, b in pairs)
    assert is_open(sessions, time_ns) == any(a <= time_ns < b for a, b in pairs)


def test_an_opening_is_when_the_session_of_this_instant_began() -> None:
    assert [opening(DAY, at) for at in (150, 250, 350)] == [100, 0, 300]


def test_a_closed_market_says_when_it_opens() -> None:
    night = (Session(open_ns=0, close_ns=10), Session(open_ns=90_000_000_000, close_ns=10**12))
    assert why_closed(night, 30_000_000_000) == "opens in 60 s"
    assert why_closed(night, 10**12) == "out of session"
