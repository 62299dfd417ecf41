"""Where a key stands in a TOML text."""

import tomllib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from piker.core.tomllines import line_in, line_of

TEXT = """\
idle_exit_s = 300

[datad]
# keep = ["a"]
keep = [
    "eurusd.spot.replay",
]
[accounts."sim.main"]
live = true
risk.order_size = 5

[accounts."ib.main".risk]
'order_notional' = 20_000
[notify]
command = {a = 1, b = 2}
"""


@pytest.mark.parametrize(
    ("key", "line"),
    [
        ("idle_exit_s", 1),
        ("datad", 3),
        ("datad.keep", 5),
        ('accounts."sim.main".live', 9),
        ('accounts."sim.main".risk.order_size', 10),
        ('accounts."ib.main".risk.order_notional', 13),
        ("notify.command.b", 15),
    ],
)
def test_a_key_stands_where_it_is_set(key: str, line: int) -> None:
    assert line_of(TEXT, key) == line


def test_what_is_not_set_stands_where_its_table_begins() -> None:
    assert line_of(TEXT, "datad.keeps") == 3


@pytest.mark.parametrize("key", ["", "other", "other.keep", "a..b", '"'])
def test_what_is_nowhere_has_no_line(key: str) -> None:
    assert line_of(TEXT, key) == 0


def test_of_two_lines_that_set_it_the_last_counts() -> None:
    assert line_of("[a]\nb.c = 1\n[a.d]\n[x]\n[a.b]\nc = 2\n", "a.b.c") == 6


def test_a_parsers_error_names_its_line() -> None:
    with pytest.raises(tomllib.TOMLDecodeError) as caught:
        tomllib.loads("a = 1\nb = = 2\n")
    assert line_in(str(caught.value)) == 2


def test_what_names_no_line_has_none() -> None:
    assert line_in("expected sense") == 0


@given(st.text(), st.text())
def test_any_text_has_lines_or_none(text: str, key: str) -> None:
    assert 0 <= line_of(text, key) <= len(text.splitlines())
