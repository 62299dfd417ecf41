"""UUIDv7: what RFC 9562 says that it is."""

import uuid

import pytest
from hypothesis import given
from hypothesis.strategies import binary, integers

from piker.core.uuid7 import uuid7

TIMES = integers(0, 2**48 - 1)
RANDOM = binary(min_size=10, max_size=10)


def test_it_is_the_example_of_the_standard() -> None:
    # RFC 9562, appendix A.6: rand_a is 0xCC3, rand_b 0x18C4DC0C0C07398F
    random = (0xCC3 << 62 | 0x18C4DC0C0C07398F).to_bytes(10)
    assert uuid7(0x017F22E279B0, random) == "017f22e2-79b0-7cc3-98c4-dc0c0c07398f"


@given(TIMES, RANDOM)
def test_it_says_its_version_its_variant_and_its_time(time_ms: int, random: bytes) -> None:
    made = uuid.UUID(uuid7(time_ms, random))
    assert (made.version, made.variant) == (7, uuid.RFC_4122)
    assert made.int >> 80 == time_ms


@given(TIMES, TIMES, RANDOM, RANDOM)
def test_ids_sort_by_time(one_ms: int, other_ms: int, one: bytes, other: bytes) -> None:
    ids = [uuid7(one_ms, one), uuid7(other_ms, other)]
    assert (ids[0] < ids[1]) == (one_ms < other_ms) or one_ms == other_ms


@given(TIMES, RANDOM, integers(0, 73))
def test_every_random_bit_that_it_takes_counts(time_ms: int, random: bytes, bit: int) -> None:
    other = (int.from_bytes(random) ^ 1 << bit).to_bytes(10)
    assert uuid7(time_ms, random) != uuid7(time_ms, other)


@pytest.mark.parametrize(
    ("time_ms", "random", "problem"),
    [
        (-1, bytes(10), r"expected a time of 0 up to 2\*\*48 ms, was -1"),
        (2**48, bytes(10), r"expected a time of 0 up to 2\*\*48 ms, was 281474976710656"),
        (0, bytes(9), "expected 10 random bytes, was 9"),
    ],
)
def test_what_it_can_not_be_made_of_is_named(time_ms: int, random: bytes, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        uuid7(time_ms, random)
