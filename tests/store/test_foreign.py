"""Somebody else's files: what is read of them, and what is refused of them with its place."""

import gzip
from datetime import date, datetime, time, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from piker.core.bars import DERIVED, NS
from piker.core.rowfaults import Fault, Rules, faults
from piker.store import foreign, foreignwords
from piker.store.foreignwords import Asked, Bad, BadFile

NOW_NS = 1_790_000_000 * NS
"""September 2026."""
HOUR = Asked(period_s=3600)
HEAD = "time,open,high,low,close,volume\n"
FIRST = "2017-01-01T22:00:00Z,1.2,1.4,1.1,1.3,5\n"
LAST = "2017-01-02T22:00:00Z,1.2,1.4,1.1,1.3,5\n"
FIRST_NS, LAST_NS = 1_483_308_000 * NS, 1_483_394_400 * NS


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "bars.csv"


def of(file: Path, text: str, asked: Asked = HOUR) -> foreign.Foreign:
    file.write_text(text)
    return foreign.read(file, asked, NOW_NS)


def of_frame(file: Path, frame: pl.DataFrame, asked: Asked = HOUR) -> foreign.Foreign:
    frame.write_parquet(file)
    return foreign.read(file, asked, NOW_NS)


def frame(time: pl.Series) -> pl.DataFrame:
    """Bars of these times."""
    return pl.select(time, open=1.2, high=1.4, low=1.1, close=1.3)


# --- what is read


def test_rows_are_read_as_they_are(file: Path) -> None:
    found = of(file, HEAD + FIRST + LAST)
    assert (found.read, found.bad, found.counts) == (2, (), {})
    assert found.rows.copied().rows().tolist() == [
        (FIRST_NS, 1.2, 1.4, 1.1, 1.3, 5.0, 0, 0),
        (LAST_NS, 1.2, 1.4, 1.1, 1.3, 5.0, 0, 0),
    ]
    assert found.guessed == (
        "columns: time=time, open=open, high=high, low=low, close=close, volume=volume",
    )


@pytest.mark.parametrize(
    ("stamp", "asked"),
    [
        ("2017-01-01T22:00:00Z", HOUR),
        ("2017-01-01T22:00:00.000000+00:00", HOUR),
        ("2017-01-01T22:00:00.000000000+0000", HOUR),
        ("2017-01-01 17:00:00-0500", HOUR),
        ("2017-01-01 17:00:00.000-05:00", HOUR),
        ("2017-01-01 22:00:00.000", HOUR),
        ("2017-01-01 22:00", HOUR),
        ("2017/01/01 22:00:00", HOUR),
        ("20170101 220000", HOUR),
        ("2017-01-02 06:00:00", Asked(period_s=3600, zone=ZoneInfo("Asia/Shanghai"))),
        ("2017-01-01T23:00:00Z", Asked(period_s=3600, stamps="end")),
        ("1483308000", HOUR),
        ("1483308000.0", HOUR),
        ("1483308000000", HOUR),
        ("1483308000000000", HOUR),
        ("1483308000000000000", HOUR),
        ("1483308000", Asked(period_s=3600, unit="s")),
    ],
)
def test_a_time_is_read_as_it_is_written(file: Path, stamp: str, asked: Asked) -> None:
    found = of(file, f"{HEAD}{stamp},1.2,1.4,1.1,1.3,5\n", asked)
    assert found.rows.copied()["time_ns"].tolist() == [FIRST_NS]


@pytest.mark.parametrize(
    ("head", "stamp"),
    [
        ("<DATE>\t<TIME>", "2017.01.01\t22:00:00"),
        ("Date,Time", "2017-01-01,22:00"),
        ("date,time", "20170101,220000"),
        ("date,time", "20170101,2200"),
        ("date,time", "2017-01-01,22:00:00Z"),
    ],
)
def test_a_date_and_a_time_beside_each_other_are_a_time(file: Path, head: str, stamp: str) -> None:
    text = f"{HEAD}{stamp},1.2,1.4,1.1,1.3,5\n".replace("time,", f"{head},")
    found = of(file, text.replace(",", "\t") if "\t" in head else text)
    assert found.rows.copied()["time_ns"].tolist() == [FIRST_NS]
    date, time = head.replace("\t", ",").split(",")
    assert found.guessed[0].startswith(f"columns: date={date}, time={time}, ")


def test_a_date_and_a_time_of_a_parquet_file_are_a_time(file: Path) -> None:
    day, clock = date(2017, 1, 1), time(22, 0, 0, 5)
    found = of_frame(file, pl.select(date=day, time=clock, open=1.2, high=1.4, low=1.1, close=1.3))
    assert found.counts == {"not on the period's grid": 1}


def test_a_day_and_a_time_are_in_the_columns_that_are_said(file: Path) -> None:
    asked = Asked(period_s=3600, columns={"date": "day", "time": "clock"})
    text = HEAD.replace("time", "time,day,clock") + "x,2017-01-01,22:00,1.2,1.4,1.1,1.3,5\n"
    assert of(file, text, asked).rows.copied()["time_ns"].tolist() == [FIRST_NS]


def test_a_time_that_is_said_has_no_date(file: Path) -> None:
    asked = Asked(period_s=3600, columns={"time": "time"})
    text = HEAD.replace("time", "date,time") + "nonsense," + FIRST
    assert of(file, text, asked).rows.copied()["time_ns"].tolist() == [FIRST_NS]


@pytest.mark.parametrize("stamp", [",22:00", "2017-01-01,", "2017-01-01,22:00 h", "nonsense,22:00"])
def test_half_a_time_is_none(file: Path, stamp: str) -> None:
    text = f"{HEAD}2017-01-01,21:00,1,1,1,1,5\n{stamp},1.2,1.4,1.1,1.3,5\n"
    found = of(file, text.replace("time,", "date,time,"))
    written = stamp.replace(",", " ")
    assert found.bad == (Bad("line 3", f"time: expected a time, was {written!r}"),)


@pytest.mark.parametrize(
    ("stamp", "written"),
    [
        ("01/02/2017 22:00", "%d/%m/%Y %H:%M"),
        ("02/01/2017 22:00", "%m/%d/%Y %H:%M"),
        ("02/01/17 10:00 PM", "%m/%d/%y %I:%M %p"),
        ("02/01/2017 17:00 -0500", "%m/%d/%Y %H:%M %z"),
        ("20170201", "%Y%m%d"),
    ],
)
def test_a_time_is_read_as_a_person_says_that_it_is_written(
    file: Path, stamp: str, written: str
) -> None:
    asked = Asked(period_s=3600, written=written)
    found = of(file, f"{HEAD}{stamp},1.2,1.4,1.1,1.3,5\n", asked)
    day_ns = 1_485_907_200 * NS
    hour = 0 if written == "%Y%m%d" else 22
    assert found.rows.copied()["time_ns"].tolist() == [day_ns + hour * 3600 * NS]


def test_that_no_time_can_be_read_is_said(file: Path) -> None:
    found = of(file, f"{HEAD}01/13/2017 22:00,1.2,1.4,1.1,1.3,5\n")
    guess = "none of its times can be read: --time-format says how they are written"
    assert found.guessed[1:] == (guess,)


def test_a_time_that_is_not_written_as_a_person_says_is_bad(file: Path) -> None:
    found = of(file, HEAD + FIRST, Asked(period_s=3600, written="%d/%m/%Y %H:%M"))
    expected = "expected a time written as %d/%m/%Y %H:%M"
    assert found.bad == (Bad("line 2", f"time: {expected}, was '2017-01-01T22:00:00Z'"),)


def test_times_that_are_not_text_are_not_written_in_any_way(file: Path) -> None:
    asked = Asked(period_s=3600, written="%d/%m/%Y %H:%M")
    with pytest.raises(BadFile, match=r"expected times written as %d/%m/%Y %H:%M, was Datetime"):
        of_frame(file, frame(pl.Series("time", [datetime(2017, 1, 1)])), asked)


@pytest.mark.parametrize("zone", [None, ZoneInfo("Asia/Shanghai")])
def test_a_count_of_seconds_that_is_said_to_be_one_is_utc_wherever_the_file_is_from(
    file: Path, zone: ZoneInfo | None
) -> None:
    found = of(file, f"{HEAD}1483308000,1,1,1,1,5\n", Asked(period_s=3600, written="%s", zone=zone))
    assert found.rows.copied()["time_ns"].tolist() == [FIRST_NS]
    assert len(found.guessed) == 1


def test_a_zone_that_is_written_in_letters_is_not_taken_as_utc(file: Path) -> None:
    text, written = f"{HEAD}2017-01-01 17:00 EST,1,1,1,1,5\n", "%Y-%m-%d %H:%M %Z"
    with pytest.raises(BadFile, match=r"what %Z stands for isn't understood: add --zone ZONE$"):
        of(file, text, Asked(period_s=3600, written=written))
    new_york = Asked(period_s=3600, written=written, zone=ZoneInfo("America/New_York"))
    assert of(file, text, new_york).rows.copied()["time_ns"].tolist() == [FIRST_NS]


def test_a_way_to_write_times_that_tells_no_time_is_refused(file: Path) -> None:
    asked = Asked(period_s=3600, written="%Y-%m-%d %H")
    with pytest.raises(BadFile, match=r"times can't be read as %Y-%m-%d %H: .*hour and minute"):
        of(file, f"{HEAD}2017-01-01 22,1,1,1,1,5\n", asked)


@pytest.mark.parametrize("clock", [timedelta(hours=22), b"\xff\xfe"])
def test_what_is_no_half_of_a_time_is_refused(file: Path, clock: timedelta | bytes) -> None:
    of_bars = pl.select(date=date(2017, 1, 1), time=clock, open=1, high=1, low=1, close=1)
    with pytest.raises(BadFile, match=r"expected the halves of a time, was Date and (Dur|Bin)"):
        of_frame(file, of_bars)


NAMELESS = Asked(
    period_s=3600,
    header=False,
    columns={"time": "1", "close": "5", "open": "2", "high": "3", "low": "4"},
)


def test_the_first_line_is_a_row_if_that_is_said(file: Path) -> None:
    found = of(file, FIRST + LAST, NAMELESS)
    assert found.rows.copied().rows().tolist() == [
        (FIRST_NS, 1.2, 1.4, 1.1, 1.3, 0.0, 0, 0),
        (LAST_NS, 1.2, 1.4, 1.1, 1.3, 0.0, 0, 0),
    ]


def test_lines_are_counted_from_the_first_row_where_there_is_no_header(file: Path) -> None:
    ragged = "2017-01-01T23:00:00Z,1.2,1.4,1.1,1.3,5,6\n"
    found = of(file, FIRST + ragged + "xZ,1,1,1,1,1\n" + LAST, NAMELESS)
    assert found.bad == (
        Bad("line 2", "more fields than the first line has"),
        Bad("line 3", "time: expected a time, was 'xZ'"),
    )


def test_a_first_line_that_looks_like_a_row_is_not_taken_for_names(file: Path) -> None:
    with pytest.raises(BadFile, match=r"if that is a row: --no-header --columns time=1,open=2,…$"):
        of(file, FIRST + LAST)


def test_a_parquet_file_has_no_first_line(file: Path) -> None:
    with pytest.raises(BadFile, match="--no-header is for CSV"):
        of_frame(file, frame(pl.Series("time", [FIRST_NS])), NAMELESS)


def test_a_row_with_a_field_too_many_is_bad_though_a_column_is_not_read(file: Path) -> None:
    shifted = "2017-01-01T23:00:00Z,1,200,1.4,1.1,1.3,5,6\n"
    found = of(file, HEAD.replace("\n", ",spread\n") + FIRST.replace("\n", ",0\n") + shifted)
    assert found.bad == (Bad("line 3", "more fields than the first line has"),)


@pytest.mark.parametrize("blank", ["\n", "\n\n", "\r\n"])
@pytest.mark.parametrize(("head", "asked"), [(HEAD, HOUR), ("", NAMELESS)])
def test_empty_lines_before_the_first_are_passed_over(
    file: Path, blank: str, head: str, asked: Asked
) -> None:
    ragged = "2017-01-01T23:00:00Z,1.2,1.4,1.1,1.3,5,6\n"
    found = of(file, blank + head + FIRST + ragged + LAST, asked)
    line = blank.count("\n") + bool(head) + 2
    assert found.bad == (Bad(f"line {line}", "more fields than the first line has"),)
    assert found.rows.copied()["time_ns"].tolist() == [FIRST_NS, LAST_NS]


def test_a_last_line_of_too_many_fields_is_bad_though_they_are_empty(file: Path) -> None:
    found = of(file, HEAD + FIRST + ",,,,,,,,\n\n")
    assert found.bad == (Bad("line 3", "more fields than the first line has"),)


@pytest.mark.parametrize("end", ["\n", "\n\n\n", "\r\n", ",,,,,\n"])
def test_empty_lines_at_the_end_are_no_rows(file: Path, end: str) -> None:
    found = of(file, HEAD + FIRST + LAST + end)
    assert (found.read, found.bad) == (2, ())


@pytest.mark.parametrize("line", ["", ",,,,,", ",a,b,c,d,e"])
def test_a_line_that_has_no_row_is_bad_before_others_or_if_something_is_in_it(
    file: Path, line: str
) -> None:
    more = LAST if line != ",a,b,c,d,e" else "\n"
    found = of(file, f"{HEAD}{FIRST}{line}\n{more}")
    assert found.bad == (Bad("line 3", "time: expected a time, was nothing"),)


def test_a_file_of_empty_lines_has_no_row(file: Path) -> None:
    with pytest.raises(BadFile, match="no row is in it"):
        of(file, HEAD + "\n\n")


@pytest.mark.parametrize("stamp", ["2017-01-01 22:00.000", "2017-01-01.000Z", "20170101 220000.0"])
def test_a_fraction_stands_after_seconds_that_are_told_apart(file: Path, stamp: str) -> None:
    found = of(file, f"{HEAD}{stamp},1.2,1.4,1.1,1.3,5\n")
    assert found.counts == {"time can't be read": 1}


def test_a_first_row_without_a_time_says_nothing_of_the_zone(file: Path) -> None:
    found = of(file, f"{HEAD},1.2,1.4,1.1,1.3,5\n{FIRST}{LAST}")
    assert found.counts == {"time can't be read": 1}
    assert found.rows.copied()["time_ns"].tolist() == [FIRST_NS, LAST_NS]


@pytest.mark.parametrize("unit", ["ms", "us", "ns"])
@pytest.mark.parametrize("zone", [None, "UTC", "America/New_York"])
def test_a_time_of_a_parquet_file_is_what_it_counts(file: Path, unit: str, zone: str) -> None:
    time = pl.Series("time", [FIRST_NS], pl.Int64).cast(pl.Datetime("ns", zone))
    found = of_frame(file, frame(time.dt.cast_time_unit(unit)))  # type: ignore[arg-type]
    assert found.rows.copied()["time_ns"].tolist() == [FIRST_NS]


@pytest.mark.parametrize(
    ("time", "guess"),
    [
        (pl.Series("time", [FIRST_NS // NS]), "times are seconds since 1970, UTC: --unit s"),
        (
            pl.Series("time", ["2017-01-01 22:00:00"]),
            "times name no zone: they are taken as UTC; else --zone ZONE",
        ),
    ],
)
def test_what_was_guessed_is_said(file: Path, time: pl.Series, guess: str) -> None:
    assert of_frame(file, frame(time)).guessed[1:] == (guess,)


@pytest.mark.parametrize(
    "head", ["Date,O,H,L,C,Vol", "open_time;Open;High;Low;Close;Volume", "ts\to\th\tl\tc\tv"]
)
def test_columns_are_known_by_their_usual_names(file: Path, head: str) -> None:
    separator = next(each for each in ",;\t" if each in head)
    found = of(file, f"{head}\n{FIRST.replace(',', separator)}")
    assert found.rows.copied().rows().tolist() == [(FIRST_NS, 1.2, 1.4, 1.1, 1.3, 5.0, 0, 0)]


def test_columns_may_be_named(file: Path) -> None:
    columns = foreignwords.columns("time=when, close=ask")
    text = f"when,open,high,low,close,ask\n{FIRST.replace('1.3,5', '9,1.3')}"
    found = of(file, text, Asked(period_s=3600, columns=columns))
    assert found.rows.copied()["close"].tolist() == [1.3]


def test_trades_and_what_is_made_of_mids_are_read_where_they_are(file: Path) -> None:
    text = "time,open,high,low,close,volume,trades,derived\n2017-01-01T22:00:00Z,1,1,1,1,0,0,true\n"
    assert of(file, text).rows.copied()["flags"].tolist() == [DERIVED]
    text = "time,open,high,low,close,volume,trades\n2017-01-01T22:00:00Z,1,1,1,1,5,3\n"
    assert of(file, text).rows.copied()["trades"].tolist() == [3]


def test_a_gzipped_file_is_read_as_it_is(file: Path) -> None:
    file.write_bytes(gzip.compress((HEAD + FIRST).encode()))
    assert len(foreign.read(file, HOUR, NOW_NS).rows) == 1


@pytest.mark.parametrize(
    ("name", "problem"),
    [("open", "numbers"), ("volume", "numbers"), ("partial", "true or false")],
)
@pytest.mark.parametrize("nested", [pl.struct("low", "high"), pl.concat_list("low", "high")])
def test_a_column_of_columns_or_lists_is_refused(
    file: Path, nested: pl.Expr, name: str, problem: str
) -> None:
    frame = pl.DataFrame({"time": [FIRST_NS], "open": 1.0, "high": 1.0, "low": 1.0, "close": 1.0})
    with pytest.raises(BadFile, match=f"^{name}: expected {problem}, was (Struct|List)"):
        of_frame(file, frame.with_columns(nested.alias(name)))


@pytest.mark.parametrize("number", ["x", 2**62])
def test_a_number_of_trades_that_is_none_is_named_where_there_is_no_volume(
    file: Path, number: object
) -> None:
    text = f"time,open,high,low,close,trades\n2017-01-01T22:00:00Z,1,1,1,1,{number}\n"
    assert [each.why for each in of(file, text).bad] == [
        f"trades: expected a number, was '{number}'"
    ]


@given(st.lists(st.integers(1, 9), min_size=1, max_size=12))
def test_order_is_that_of_the_whole_file(
    tmp_path_factory: pytest.TempPathFactory, hours: list[int]
) -> None:
    file = tmp_path_factory.mktemp("order") / "bars.csv"
    rows = [f"2017-01-01T0{hour}:00:00Z,1,1,1,1,0\n" for hour in hours]
    newest, bad = 0, []
    for number, hour in enumerate(hours):
        bad += [f"line {number + 2}"] if hour <= newest else []
        newest = max(newest, hour)
    assert [each.where for each in of(file, HEAD + "".join(rows)).bad] == bad


# --- rows that are refused

ROWS = {
    "2017-01-01T23:00:00Z,nan,1.4,1.1,1.3,5": "open: expected a number, was 'nan'",
    "2017-01-01T23:00:00Z,inf,inf,1.1,1.3,5": "open: expected a number, was 'inf'",
    "2017-01-01T23:00:00Z,1.2,1.4,1.1,,5": "close: expected a number, was nothing",
    "2017-01-01T23:00:00Z,1.2,1.4,1.1,abc,5": "close: expected a number, was 'abc'",
    "2017-01-01T23:00:00Z,1.2,1.4,1.1,1.3,x": "volume: expected a number, was 'x'",
    "2017-01-01T23:00:00Z,-1.2,1.4,-1.2,1.3,5": "open: expected 0 or more, was -1.2",
    "2017-01-01T23:00:00Z,1.2,1.4,1.1,1.3,-5": "volume: expected 0 or more, was -5",
    "2017-01-01T23:00:00Z,1.2,1.1,1.4,1.3,5": "high 1.1 is below low 1.4",
    "2017-01-01T23:00:00Z,1.2,1.4,1.1,1.5,5": (
        "close: expected within low and high, 1.1 to 1.4, was 1.5"
    ),
    "2017-01-01T22:00:00Z,1.2,1.4,1.1,1.3,5": "time 2017-01-01T22:00:00Z is there twice",
    "2017-01-01T21:00:00Z,1.2,1.4,1.1,1.3,5": "time 2017-01-01T21:00:00Z comes after a later one",
    "2017-01-01T22:30:00Z,1.2,1.4,1.1,1.3,5": (
        "time 2017-01-01T22:30:00Z: expected the beginning of a period of 3600 s"
    ),
    "2036-01-01T22:00:00Z,1.2,1.4,1.1,1.3,5": "time 2036-01-01T22:00:00Z is in the future",
    "2026-09-21T14:00:00Z,1.2,1.4,1.1,1.3,5": (
        "time 2026-09-21T14:00:00Z: its period of 3600 s isn't over yet"
    ),
    "1969-01-01T22:00:00Z,1.2,1.4,1.1,1.3,5": "time 1969-01-01T22:00:00Z: expected 1970 or later",
    "2017-01-01T23:00:00,1.2,1.4,1.1,1.3,5": (
        "time: zone given, or not given, unlike in the first row, was '2017-01-01T23:00:00'"
    ),
    "sunday,1.2,1.4,1.1,1.3,5": (
        "time: zone given, or not given, unlike in the first row, was 'sunday'"
    ),
    "2017-13-01T23:00:00Z,1.2,1.4,1.1,1.3,5": "time: expected a time, was '2017-13-01T23:00:00Z'",
    "2017-01-01T23:00:00Z,1.2,1.4,1.1,1.3,5,6": "more fields than the first line has",
    "2017-01-01T23:00:00Z,1.2": "high: expected a number, was nothing",
    "": "time: expected a time, was nothing",
}


@pytest.mark.parametrize(("row", "why"), ROWS.items(), ids=ROWS.values())
def test_a_row_that_cannot_be_true_is_told_with_its_line(file: Path, row: str, why: str) -> None:
    found = of(file, f"{HEAD}{FIRST}{row}\n{LAST}")
    assert found.bad == (Bad("line 3", why),)
    assert (found.read, sum(found.counts.values())) == (3, 1)
    assert found.rows.copied()["time_ns"].tolist() == [FIRST_NS, LAST_NS]


def test_a_row_in_seconds_among_nanoseconds_is_told_as_such(file: Path) -> None:
    rest = ",1.2,1.4,1.1,1.3,5\n"
    found = of(file, f"{HEAD}{FIRST_NS}{rest}1483311600{rest}{LAST_NS}{rest}")
    why = "time 1483311600: expected nanoseconds, as in other rows; it looks like seconds"
    assert found.bad == (Bad("line 3", why),)


def test_a_time_that_a_zone_shows_twice_or_never_is_told(file: Path) -> None:
    rest = ",1.2,1.4,1.1,1.3,5\n"
    asked = Asked(period_s=3600, zone=ZoneInfo("Europe/Berlin"))
    found = of(file, f"{HEAD}2017-03-26 02:00{rest}2017-10-29 02:00{rest}", asked)
    assert [each.where for each in found.bad] == ["line 2", "line 3"]
    assert found.bad[0].why == "time: never or twice on the zone's clocks, was '2017-03-26 02:00'"


def test_a_row_of_a_parquet_file_is_told_with_its_number(file: Path) -> None:
    times = pl.Series("time", [FIRST_NS, FIRST_NS]).cast(pl.Datetime("ns", "UTC"))
    found = of_frame(file, frame(times))
    assert found.bad == (Bad("row 2", "time 2017-01-01T22:00:00Z is there twice"),)


def test_of_many_bad_rows_the_first_are_told_and_the_others_counted(file: Path) -> None:
    found = of(file, HEAD + FIRST * 102)
    assert (len(found.bad), found.counts) == (foreign.TOLD, {"time repeated": 101})
    assert len(found.rows) == 1


def test_a_bad_row_of_a_late_time_makes_none_after_it_bad(file: Path) -> None:
    found = of(file, f"{HEAD}2025-01-01T22:00:00Z,1.2,1.0,1.1,1.3,5\n{FIRST}{LAST}")
    assert [each.where for each in found.bad] == ["line 2"]


# --- files that are refused

FILES = {
    b"": "it is empty",
    HEAD.encode(): "no row is in it",
    b"\0\1\2" * 100: "expected CSV, gzipped CSV or Parquet, was something else",
    b"PAR1" + b"x" * 100: "parquet",
    b"a,b\n1,2\n": "expected columns for time, open, high, low, close, has a, b; say which",
    (HEAD.replace("time", "ts,time") + FIRST).encode(): "time may be 'ts' or 'time'",
    gzip.compress((HEAD + FIRST * 1000).encode())[:-20]: "it is torn or damaged",
    b"\xff\xfe,o,h,l,c\n": "utf-8",
    (HEAD + "42,1.2,1.4,1.1,1.3,5\n").encode(): "was such as 42; --unit says which",
}


@pytest.mark.parametrize(("content", "why"), FILES.items(), ids=FILES.values())
def test_a_file_that_is_something_else_is_refused(file: Path, content: bytes, why: str) -> None:
    file.write_bytes(content)
    with pytest.raises(BadFile, match=r"(?i)" + why.replace("(", r"\(")):
        foreign.read(file, HOUR, NOW_NS)


def test_times_in_another_unit_than_said_are_refused_with_what_they_look_like(file: Path) -> None:
    text = HEAD + FIRST.replace("2017-01-01T22:00:00Z", "1483308000")
    said = "1483308000 in nanoseconds is 1970-01-01T00:00:01.483308000Z; they look like seconds"
    with pytest.raises(BadFile, match=said):
        of(file, text, Asked(period_s=3600, unit="ns"))


def test_datetimes_that_count_another_unit_are_refused_and_read_when_it_is_said(
    file: Path,
) -> None:
    seconds = frame(pl.Series("time", [FIRST_NS // NS]).cast(pl.Datetime("ns")))
    with pytest.raises(BadFile, match="they look like seconds: --unit s"):
        of_frame(file, seconds)
    found = of_frame(file, seconds, Asked(period_s=3600, unit="s"))
    assert found.rows.copied()["time_ns"].tolist() == [FIRST_NS]


def test_a_column_of_something_else_than_numbers_is_refused(file: Path) -> None:
    times = pl.Series("time", [FIRST_NS])
    with pytest.raises(BadFile, match="open: expected numbers, was List"):
        of_frame(file, frame(times).with_columns(open=pl.Series([[1.0]])))


@pytest.mark.parametrize("text", ["time", "time=", "when=x", "time=a,time=b", "date=a,time=a"])
def test_what_names_no_column_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="expected"):
        foreignwords.columns(text)


def test_a_column_that_is_not_there_is_refused(file: Path) -> None:
    asked = Asked(period_s=3600, columns={"open": "ask"})
    with pytest.raises(BadFile, match=r"open: expected one of its columns, time, open, .* 'ask'"):
        of(file, HEAD + FIRST, asked)


# --- rows as numbers


def test_rows_are_judged_alike_wherever_they_stand(file: Path) -> None:
    times = np.arange(40_000) * 3600 * NS
    rows = of(file, HEAD + FIRST).rows.copied().rows().repeat(len(times))
    rows["time_ns"] = times
    rows["time_ns"][[16_384, 32_768]] = times[16_383], 0
    marks = faults(rows, Rules(3600 * NS, NOW_NS, foreign=True))
    assert dict(zip(*np.unique(marks, return_counts=True), strict=True)) == {
        Fault.NONE: len(times) - 2,
        Fault.REPEATED: 1,
        Fault.OUT_OF_ORDER: 1,
    }


@pytest.mark.parametrize("zone", [None, ZoneInfo("Asia/Shanghai")])
def test_what_is_asked_is_understood_by_another_process(zone: ZoneInfo | None) -> None:
    asked = Asked(period_s=60, columns={"time": "when"}, zone=zone, unit="ms", stamps="end")
    assert Asked.decoded(asked.encoded()) == asked
