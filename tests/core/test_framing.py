"""Framing: bytes to messages."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from piker.core.framing import Splitter

messages = st.lists(st.binary(max_size=30).map(lambda data: data.replace(b"\0", b"")), max_size=8)
cuts = st.lists(st.integers(0, 300), max_size=10)


def pieces(data: bytes, at: list[int]) -> list[bytes]:
    edges = [0, *sorted(at), len(data)]
    return [data[start:end] for start, end in pairwise(edges)]


@given(messages, cuts)
def test_messages_are_the_same_in_whatever_pieces_they_come(
    sent: list[bytes], at: list[int]
) -> None:
    splitter = Splitter()
    stream = b"".join(message + b"\0" for message in sent)
    got = [message for piece in pieces(stream, at) for message in splitter.feed(piece)]
    assert got == sent
    assert not splitter.unfinished


def test_a_message_that_has_begun_is_unfinished() -> None:
    splitter = Splitter()
    assert splitter.feed(b"one\0tw") == [b"one"]
    assert splitter.unfinished
    assert splitter.feed(b"o\0") == [b"two"]
    assert not splitter.unfinished


def test_a_message_of_just_the_limit_is_given() -> None:
    splitter = Splitter(limit=4)
    assert splitter.feed(b"1234\0") == [b"1234"]
    assert not splitter.overlong


def test_what_stands_before_an_overlong_message_is_given_and_nothing_after_it() -> None:
    splitter = Splitter(limit=4)
    assert splitter.feed(b"one\0twotwo\0three\0") == [b"one"]
    assert splitter.overlong
    assert splitter.feed(b"four\0") == []


@given(st.integers(1, 7))
def test_a_message_that_never_ends_is_held_no_further_than_the_limit(step: int) -> None:
    splitter = Splitter(limit=100)
    fed = 0
    while not splitter.overlong:
        assert splitter.feed(b"x" * step) == []
        fed += step
    assert 100 < fed <= 100 + step
    assert not splitter.unfinished


@given(st.lists(st.binary(max_size=12), max_size=20))
def test_no_message_is_longer_than_the_limit(chunks: list[bytes]) -> None:
    splitter = Splitter(limit=5)
    got = [message for chunk in chunks for message in splitter.feed(chunk)]
    assert all(len(message) <= 5 for message in got)
