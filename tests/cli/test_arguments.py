"""Arguments of orders: numbers taken as they are written, instants as people say them."""

import time
from argparse import ArgumentTypeError
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from decimal import Decimal

import pytest

from piker.cli.arguments import count, instant, moment, per_cent, price, size

NOT_NUMBERS = (
    *("nan", "inf", "-inf", "1e3", "1E-3", "1_000", "1,5", "+1", "", " 1", ".5", "1.", "0x1"),
    *("\u0661", "--1", "1.0000000000001", "1234567890123456789"),
)
NOW = datetime(2026, 11, 27, 15, 0, tzinfo=UTC)


def ns(when: datetime) -> int:
    """UTC ns."""
    return round(when.timestamp()) * 1_000_000_000


@pytest.fixture
def in_zurich(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Where clocks are an hour ahead of UTC, in summer two."""
    with monkeypatch.context() as patch:
        patch.setenv("TZ", "Europe/Zurich")
        time.tzset()
        yield
    time.tzset()


@pytest.mark.parametrize("text", ["1.20", "1000", "0.00001", "999999999999999999"])
def test_a_number_is_exactly_what_was_written(text: str) -> None:
    assert str(price(text)) == text
    assert size(text) == Decimal(text)


@pytest.mark.parametrize("text", NOT_NUMBERS)
@pytest.mark.parametrize("kind", [price, size, per_cent])
def test_what_is_no_plain_number_is_refused_by_its_value(
    kind: Callable[[str], Decimal], text: str
) -> None:
    with pytest.raises(ArgumentTypeError) as refused:
        kind(text)
    assert str(refused.value).endswith(f", was {text!r}")


def test_a_price_may_be_negative_or_zero_and_a_size_may_not() -> None:
    assert (price("-37.63"), price("0")) == (Decimal("-37.63"), Decimal(0))
    for text in ("0", "0.00", "-1"):
        with pytest.raises(ArgumentTypeError, match="expected a size above 0"):
            size(text)


def test_per_cent_and_counts_have_bounds() -> None:
    assert (per_cent("0"), per_cent("100"), count("0")) == (Decimal(0), Decimal(100), 0)
    for refuse in (lambda: per_cent("100.1"), lambda: per_cent("-1"), lambda: count("-1")):
        with pytest.raises(ArgumentTypeError):
            refuse()


@pytest.mark.usefixtures("in_zurich")
@pytest.mark.parametrize(
    ("text", "when"),
    [
        ("2h", datetime(2026, 11, 27, 17, 0, tzinfo=UTC)),
        ("90s", datetime(2026, 11, 27, 15, 1, 30, tzinfo=UTC)),
        ("17:30", datetime(2026, 11, 27, 16, 30, tzinfo=UTC)),
        ("16:00:01", datetime(2026, 11, 27, 15, 0, 1, tzinfo=UTC)),
        ("16:00", datetime(2026, 11, 28, 15, 0, tzinfo=UTC)),
        ("9:15", datetime(2026, 11, 28, 8, 15, tzinfo=UTC)),
        ("2026-12-01T17:30", datetime(2026, 12, 1, 16, 30, tzinfo=UTC)),
        ("2026-12-01T17:30Z", datetime(2026, 12, 1, 17, 30, tzinfo=UTC)),
        ("2026-12-01T17:30-05:00", datetime(2026, 12, 1, 22, 30, tzinfo=UTC)),
        ("2027-07-01", datetime(2027, 6, 30, 22, 0, tzinfo=UTC)),
    ],
)
def test_an_instant_is_a_span_a_time_of_day_or_a_date(text: str, when: datetime) -> None:
    assert instant(text, ns(NOW)) == ns(when)


@pytest.mark.usefixtures("in_zurich")
def test_a_time_of_day_tomorrow_is_so_by_the_calendar() -> None:
    saturday = datetime(2026, 10, 24, 15, 0, tzinfo=UTC)  # clocks are put back in the night
    assert instant("16:00", ns(saturday)) == ns(datetime(2026, 10, 25, 15, 0, tzinfo=UTC))


@pytest.mark.parametrize("text", ["soon", "25:00", "17:60", "2026-13-01", "0s", "", "-1h", "1e9"])
def test_what_is_no_instant_is_refused(text: str) -> None:
    with pytest.raises(ArgumentTypeError, match="expected "):
        instant(text, ns(NOW))


@pytest.mark.parametrize("text", ["2026-11-27T14:59Z", "2020-01-01", "2026-11-27T15:00Z"])
def test_what_is_past_is_refused(text: str) -> None:
    with pytest.raises(ArgumentTypeError, match=f"expected an instant to come, was '{text}'"):
        instant(text, ns(NOW))


@pytest.mark.usefixtures("in_zurich")
@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("2h", datetime(2026, 11, 27, 13, 0, tzinfo=UTC)),
        ("90s", datetime(2026, 11, 27, 14, 58, 30, tzinfo=UTC)),
        ("30d", datetime(2026, 10, 28, 15, 0, tzinfo=UTC)),
        ("15:30", datetime(2026, 11, 27, 14, 30, tzinfo=UTC)),
        ("16:00", datetime(2026, 11, 27, 15, 0, tzinfo=UTC)),
        ("16:30", datetime(2026, 11, 26, 15, 30, tzinfo=UTC)),
        ("2026-11-02", datetime(2026, 11, 1, 23, 0, tzinfo=UTC)),
        ("2026-07-02T15:30", datetime(2026, 7, 2, 13, 30, tzinfo=UTC)),
        ("2026-11-02T15:30+00:00", datetime(2026, 11, 2, 15, 30, tzinfo=UTC)),
    ],
)
def test_a_moment_is_one_that_was(text: str, meant: datetime) -> None:
    assert moment(text, ns(NOW)) == ns(meant)


@pytest.mark.parametrize("text", ["", "soon", "25:00", "2026-13-01", "1969-12-31T00:00+00:00"])
def test_what_is_no_moment_is_refused_by_its_value(text: str) -> None:
    with pytest.raises(ArgumentTypeError, match=r"expected 2h, 30d, 15:30 or 2026-11-02T15:30"):
        moment(text, ns(NOW))
