import gzip
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from math import isnan

import pytest
from hypothesis import given
from hypothesis import strategies as st

from piker.brokers.replay.library import SHIPPED
from piker.brokers.replay.wire import BadRecording, Recording, instant, parse, parse_header
from piker.markets import Session
from tests.brokers.samples import HEAD, LUNCH, SECOND


def parsed(text: str) -> Recording:
    return parse(text.splitlines(keepends=True))


def test_a_recording_is_parsed_column_by_column() -> None:
    recording = parsed(LUNCH)
    ten = instant("2020-01-01T10:00:00Z")
    assert [time_ns - ten for time_ns in recording.times[:3]] == [SECOND, SECOND, 3.5 * SECOND]
    assert list(recording.columns["last"]) == [100, 100.5, 101, 99.5]
    assert list(recording.columns["volume"]) == [1, 2, 0, 3]
    assert recording.header.price_tick == Decimal("0.5")
    assert recording.sessions[0] == Session(open_ns=ten, close_ns=ten + 10 * SECOND)
    assert recording.start_ns == ten


def test_an_empty_field_is_not_known() -> None:
    recording = parsed(HEAD + "time_utc,bid,ask\n2020-01-01T10:00:00Z,1,\n")
    assert recording.columns["bid"][0] == 1
    assert isnan(recording.columns["ask"][0])


def test_without_sessions_there_is_one_from_the_first_row_to_the_last() -> None:
    recording = parsed(HEAD + "time_utc,bid\n2020-01-01T10:00:00Z,1\n2020-01-01T10:00:05Z,1\n")
    first, last = recording.times
    assert recording.sessions == (Session(open_ns=first, close_ns=last + 1),)


def test_a_last_line_without_an_end_is_taken_if_it_is_whole() -> None:
    assert len(parsed(LUNCH.rstrip("\n")).times) == 4


def test_a_market_may_go_below_zero_if_its_header_says_so() -> None:
    text = f"# negative_prices: yes\n{HEAD}time_utc,last\n2020-04-20T18:30:00Z,-37.5\n"
    assert parsed(text).columns["last"][0] == -37.5


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        ("2020-01-01T10:00:04Z,100\n", "expected time_utc,last,volume, was '2020-01-01T10:00:04Z"),
        ("2020-01-01T10:0", "the last line is torn: it has no end, and expected time_utc,last"),
        ("2020-01-01T11:00:03Z,", "the last line is torn"),
        ("\n", "expected time_utc,last,volume, was ''"),
        ("tomorrow,100,1\n", "expected a time such as 2016-06-14T13:00:00.5Z, was 'tomorrow'"),
        ("2020-01-01T11:00:03,100,1\n", "expected a time such as"),
        ("2020-01-01T10:00:04Z,100,1\n", "expected a time not before the line above's, was 2020"),
        ("2020-01-01T11:00:10Z,100,1\n", "expected a time in a session, was 2020-01-01T11:00:10Z"),
        ("2020-01-01T11:00:03Z,nan,1\n", "expected a finite number as last, was nan"),
        ("2020-01-01T11:00:03Z,inf,1\n", "expected a finite number as last, was inf"),
        ("2020-01-01T11:00:03Z,-1,1\n", "expected last not below 0 unless the header says"),
        ("2020-01-01T11:00:03Z,100.3,1\n", "expected last in steps of 0.5, was 100.3"),
        ("2020-01-01T11:00:03Z,abc,1\n", "expected a number as last, was 'abc'"),
        ("2020-01-01T11:00:03Z,100,-1\n", "expected volume not below 0, was -1"),
        ("2020-01-01T11:00:03Z,100,nan\n", "expected a finite number as volume, was nan"),
    ],
)
def test_a_bad_row_is_refused_with_its_line_and_what_was_expected(row: str, problem: str) -> None:
    with pytest.raises(BadRecording) as refused:
        parsed(LUNCH + row)
    assert refused.value.line == LUNCH.count("\n") + 1
    assert refused.value.problem.startswith(problem)


def test_a_torn_line_in_the_middle_is_refused() -> None:
    with pytest.raises(BadRecording, match=r"^line 8: expected time_utc,last,volume, was '100"):
        parsed(LUNCH.replace("2020-01-01T10:00:01Z,100.5", "100.5"))


def test_a_row_in_the_lunch_break_is_refused() -> None:
    with pytest.raises(BadRecording, match="line 9: expected a time in a session"):
        parsed(LUNCH.replace("10:00:03.5Z", "10:30:00Z"))


ROW = "time_utc,last\n2020-01-01T10:00:00Z,1\n"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "line 1: expected a line that names the columns, was the end"),
        (HEAD, "line 3: expected a line that names the columns, was the end"),
        (ROW, "missing required field `asset_class`"),
        (HEAD + "# color: red\n" + ROW, "unknown field `color`"),
        (HEAD + "# currency: USD\n" + ROW, "line 4: expected '# key: value', each key once"),
        (HEAD + "# hello\n" + ROW, "line 4: expected '# key: value', each key once, was '# hello"),
        (HEAD.replace("0.5", "nan") + ROW, "expected price_tick above 0, was NaN"),
        (HEAD.replace("0.5", "-1") + ROW, "expected price_tick above 0, was -1"),
        (HEAD.replace("future", "tulip") + ROW, "Invalid enum value 'tulip'"),
        (HEAD + "# negative_prices: maybe\n" + ROW, "Invalid enum value 'maybe'"),
        (HEAD + "# session: 2020-01-01\n" + ROW, "expected a time such as"),
        (HEAD + "# start: noon\n" + ROW, "expected a time such as .*, was 'noon'"),
        (
            HEAD + "# session: 2020-01-01T10:00:00Z 2020-01-01T09:00:00Z\n" + ROW,
            "expected a session that ends after it begins",
        ),
        (
            HEAD + "# session: 2020-01-01T10:00:00Z 2020-01-01T12:00:00Z\n" * 2 + ROW,
            "expected sessions in order and apart",
        ),
        (HEAD + "time_utc,last\n", "line 4: expected a row after the columns, was the end"),
        (HEAD + "last\n1\n", "line 4: expected the column time_utc first, was 'last'"),
        (HEAD + "time_utc\n", "line 4: expected a column of bid, ask, last, was none"),
        (HEAD + "time_utc,last,last\n", "each once, was 'last'"),
        (HEAD + "time_utc,bidd\n", "expected columns of bid, ask, last, .*, was 'bidd'"),
        (HEAD + "time_utc,bid,volume\n", "expected a column last beside volume, was none"),
    ],
)
def test_a_bad_head_is_refused_with_what_was_expected(text: str, problem: str) -> None:
    with pytest.raises(BadRecording, match=problem):
        parsed(text)


@given(
    st.lists(
        st.tuples(st.integers(0, 10**10), st.integers(0, 10**7), st.integers(0, 10**6)), min_size=1
    )
)
def test_what_was_written_is_read(rows: list[tuple[int, int, int]]) -> None:
    steps = [(after, price / 2, size) for after, price, size in sorted(rows)]
    epoch = datetime(1970, 1, 1, tzinfo=UTC)
    lines = [
        f"{(epoch + timedelta(microseconds=after)).isoformat()},{price},{size}\n"
        for after, price, size in steps
    ]
    recording = parsed(HEAD + "time_utc,bid,bid_size\n" + "".join(lines))
    assert list(recording.times) == [after * 1000 for after, _, _ in steps]
    assert list(recording.columns["bid"]) == [price for _, price, _ in steps]
    assert list(recording.columns["bid_size"]) == [size for _, _, size in steps]


@given(st.text())
def test_text_that_is_no_row_is_refused(text: str) -> None:
    with pytest.raises(BadRecording):
        parsed(HEAD + "time_utc,bid\n" + text)


@given(st.text())
def test_text_that_is_no_head_is_refused(text: str) -> None:
    with pytest.raises(BadRecording):
        parse_header(["# ", text])


@pytest.mark.parametrize(
    ("name", "rows", "columns"),
    [("eurusd.spot", 36826, {"bid"}), ("if2312.cffex", 24617, {"last", "volume"})],
)
def test_a_shipped_recording_is_sound(name: str, rows: int, columns: set[str]) -> None:
    with gzip.open(SHIPPED / f"{name}.csv.gz", "rt", encoding="utf-8", newline="") as lines:
        recording = parse(lines)
    assert len(recording.times) == rows
    assert set(recording.columns) == columns
    assert recording.header.source
