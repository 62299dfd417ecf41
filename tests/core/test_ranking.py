from hypothesis import given
from hypothesis import strategies as st

from piker.core.ranking import rank

TEXTS = [
    "usdeur.spot",
    "eurusd.spot euro against dollar",
    "mnq.cme future on eurusd",
    "aapl.nasdaq apple inc",
]


def test_beginnings_come_before_words_and_words_before_what_only_holds_it() -> None:
    assert rank("eur", TEXTS, 10) == [1, 2, 0]


def test_a_misspelt_name_is_found() -> None:
    assert rank("eurosd", TEXTS, 1) == [1]
    assert rank("aple inc", TEXTS, 10)[0] == 3


def test_what_is_like_nothing_finds_nothing() -> None:
    assert rank("zzzzzz", TEXTS, 10) == []
    assert rank("xq", TEXTS, 10) == []


def test_an_empty_pattern_finds_everything_in_order() -> None:
    assert rank(" ", TEXTS, 3) == [0, 1, 2]


def test_case_does_not_matter() -> None:
    assert rank("AAPL", TEXTS, 10)[0] == 3


@given(st.text(max_size=200), st.integers(0, 5))
def test_nothing_is_found_twice_and_never_more_than_asked_for(pattern: str, limit: int) -> None:
    found = rank(pattern, TEXTS, limit)
    assert len(found) == len(set(found)) <= limit
