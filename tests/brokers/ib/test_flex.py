"""Flex reports: what is sure is read, the rest is named; the report is one made by hand."""

from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from piker.brokers.ib.flex import FIELDS, ZONE, Report, Trade, read
from piker.brokers.ib.flexxml import MAX_BYTES, BadReport

REPORT = Path(__file__).with_name("flex.xml").read_bytes()
NEW_YORK = ZoneInfo(ZONE)
FAILED = b"""<FlexStatementResponse timestamp='20 November, 2026 12:44 AM EST'>
<Status>Fail</Status><ErrorCode>1020</ErrorCode>
<ErrorMessage>Invalid request or unable to validate request.</ErrorMessage>
</FlexStatementResponse>"""
PROMISED = b"""<FlexStatementResponse timestamp='20 November, 2026 12:44 AM EST'>
<Status>Success</Status><ReferenceCode>7</ReferenceCode></FlexStatementResponse>"""


def read_with(*changes: tuple[str, str], zone: ZoneInfo = NEW_YORK) -> Report:
    """The report by hand, with changes."""
    text = REPORT.decode()
    for old, new in changes:
        assert old in text, old
        text = text.replace(old, new)
    return read([text.encode()], zone)


def trade(report: Report, exec_id: str) -> Trade:
    """The one whose execution has this id, in short."""
    (found,) = (
        each for each in report.trades if each.execution.exec_id == f"0000e0d5.6a{exec_id}.01"
    )
    return found


def time_of(value: str, zone: ZoneInfo = NEW_YORK) -> datetime:
    """When the first execution was, if the report says so."""
    report = read_with(('dateTime="20261116;093000"', f'dateTime="{value}"'), zone=zone)
    return datetime.fromtimestamp(trade(report, "690001").execution.time_ns / 1e9, UTC)


def refused(*changes: tuple[str, str]) -> str:
    with pytest.raises(BadReport) as caught:
        read_with(*changes)
    return str(caught.value)


# --- what is read


def test_every_execution_is_read_once_and_by_its_fqme() -> None:
    told = [(each.market.fqme, each.execution.side) for each in read_with().trades]
    assert told == [
        ("aapl.nasdaq.ib", "buy"),
        ("aapl.nasdaq.ib", "buy"),
        ("aapl.nasdaq.ib", "sell"),
        ("spy.smart.20261218.c600_5.ib", "buy"),
        ("mnq.cme.20261218.ib", "sell"),
        ("si.comex.20260928.sil.ib", "buy"),
        ("si.comex.20260928.sil.ib", "sell"),
        ("vod.lse.ib", "buy"),
        ("eurusd.idealpro.ib", "sell"),
        ("aapl.nasdaq.ib", "buy"),
    ]


def test_an_execution_has_what_the_api_would_say_of_it() -> None:
    sold = trade(read_with(), "690004").execution
    assert (sold.revision, sold.size, sold.price) == (0, Decimal(30), Decimal(195))
    assert (sold.fee, sold.fee_currency) == (Decimal("1.02"), "USD")
    assert sold.oid == "01990000-0000-7000-8000-000000000001"
    assert sold.venue_id == "700100002"


def test_a_fee_may_be_in_another_currency() -> None:
    changed = trade(read_with(), "690011")
    assert changed.market.currency == "USD"
    assert (changed.execution.fee, changed.execution.fee_currency) == (Decimal("1.84"), "EUR")


def test_a_correction_replaces_and_costs_what_all_its_rows_cost() -> None:
    corrected = trade(read_with(), "6a0003").execution
    assert (corrected.revision, corrected.size) == (3, Decimal(1))
    assert corrected.fee == Decimal("1.0333")


def test_what_was_taken_back_and_not_done_anew_was_nothing() -> None:
    gone = 'ibExecID="0000e0d5.6a6a0003.01.02"'
    report = read_with((gone, 'ibExecID=""'))
    busted = trade(report, "6a0003").execution
    assert busted.size == 0
    assert 0 < busted.revision < 3


def test_what_was_taken_back_and_is_not_there_is_left() -> None:
    left = read_with(('origTradeID="8003"', 'origTradeID="7000"')).left[0]
    assert "takes back trade 7000, which isn't in the report" in left.why


def test_what_ib_booked_is_left_to_the_venue() -> None:
    report = read_with()
    assert report.left == ()
    assert report.passed_over["BookTrade"] == 1


def test_sums_and_lots_are_counted_and_passed_over() -> None:
    passed = {"ASSET_SUMMARY": 1, "SYMBOL_SUMMARY": 1, "ORDER": 1, "CLOSED_LOT": 1}
    assert read_with().passed_over == passed | {"BookTrade": 1}


def test_a_row_that_is_there_twice_is_one() -> None:
    row = next(line for line in REPORT.decode().splitlines() if "6a6a0003.01.01" in line)
    twice = read_with((row, f"{row}\n{row}"))
    assert trade(twice, "6a0003").execution.fee == Decimal("1.0333")


def test_prices_in_pence_are_told_by_what_was_paid() -> None:
    assert trade(read_with(), "690010").market.multiplier == Decimal("0.01")


def test_what_was_paid_has_to_fit() -> None:
    report = read_with(('tradeMoney="713"', 'tradeMoney="7"'))
    assert "expected tradeMoney of quantity times" in report.left[0].why


def test_trade_confirmations_are_read_by_their_own_names() -> None:
    report = read_with(
        ("<Trades>", "<TradeConfirms>"),
        ("</Trades>", "</TradeConfirms>"),
        ("<Trade ", "<TradeConfirm "),
        ("ibExecID=", "execID="),
        ("ibOrderID=", "orderID="),
        ("tradePrice=", "price="),
        ("tradeMoney=", "amount="),
        ("ibCommission=", "commission="),
        ("ibCommissionCurrency=", "commissionCurrency="),
    )
    assert report.trades == read_with().trades


@pytest.mark.parametrize(
    ("old", "new", "why"),
    [
        ('quantity="-3"', 'quantity="3"', "SELL of one below, was 'SELL' of 3"),
        ('quantity="-3"', 'quantity="three"', "a number as quantity, was 'three'"),
        ('buySell="SELL" ibOrderID="700100007"', 'buySell="" ibOrderID="700100007"', "was ''"),
        ('conid="700000001"', 'conid=""', "as conid, was ''"),
        ('symbol="MNQZ6"', 'symbol="MNQ DEC 26"', "doesn't say enough to name FUT MNQ DEC 26"),
    ],
)
def test_what_is_wrong_in_a_row_leaves_out_its_execution(old: str, new: str, why: str) -> None:
    report = read_with((old, new))
    assert why in report.left[0].why
    assert len(report.trades) == 9


def test_what_can_not_be_named_from_a_row_is_left() -> None:
    report = read_with(('assetCategory="CASH"', 'assetCategory="BOND"'))
    assert "as assetCategory, was 'BOND'" in report.left[0].why


# --- times


@pytest.mark.parametrize(
    "value",
    [
        "20261116;093000",
        "2026-11-16;09:30:00",
        "2026-11-16, 09:30:00",
        "2026-11-16,093000",
        "20261116 093000",
        "2026-11-16T09:30:00",
        "20261116093000",
        "2026-11-16;09:30:00 EST",
        "2026-11-16;14:30:00 UTC",
    ],
)
def test_a_time_is_read_in_each_format_that_says_it_surely(value: str) -> None:
    assert time_of(value) == datetime(2026, 11, 16, 14, 30, tzinfo=UTC)


def test_times_are_those_of_the_zone_that_is_given() -> None:
    assert time_of("20261116;093000", ZoneInfo("Europe/Paris")).hour == 8


@pytest.mark.parametrize(
    "value",
    [
        "11/16/2026;093000",
        "16/11/26 09:30:00",
        "20261116",
        "20261316;093000",
        "",
        "16-NOV-26;093000",
    ],
)
def test_another_time_is_refused_by_what_to_choose(value: str) -> None:
    said = refused(('dateTime="20261116;093000"', f'dateTime="{value}"'))
    assert f"was {value!r} (row 3)" in said or f"was {value!r} (row 4)" in said
    assert "choose yyyyMMdd or yyyy-MM-dd as the date format" in said


@pytest.mark.parametrize("value", ["20261101;013000", "20260308;023000"])
def test_a_time_that_clocks_showed_twice_or_never_is_left(value: str) -> None:
    report = read_with(('dateTime="20261116;093001"', f'dateTime="{value}"'))
    assert "showed dateTime" in report.left[0].why


# --- what is no report


@pytest.mark.parametrize("field", FIELDS)
def test_a_missing_field_is_named_as_a_flex_query_calls_it(field: str) -> None:
    said = refused((f" {field}=", f" x{field}="))
    assert f"lack {FIELDS[field]} (row 4): add these fields" in said


def test_a_report_without_executions_says_what_to_tick() -> None:
    said = refused(('levelOfDetail="EXECUTION"', 'levelOfDetail="ORDER"'))
    assert "tick Executions" in said
    assert "14 ORDER" in said


@pytest.mark.parametrize(
    ("file", "why"),
    [
        (b"", "it is empty"),
        (b"Symbol,Quantity\nAAPL,3\n", "expected XML, was"),
        (b"<html><body>log in</body></html>", "was another XML (html)"),
        (REPORT[: len(REPORT) // 2], "in the middle: download the report again"),
        (b"<FlexQueryResponse/>", "it has no trades"),
        (FAILED.replace(b"Invalid", b"U1234567"), "IB made no report: U12…67 request"),
        (FAILED, "Invalid request or unable to validate request. (error 1020)"),
        (PROMISED, "download the report itself"),
        (b"<FlexQueryResponse>" + b"<a>" * 100, "one element in 16 others"),
    ],
)
def test_what_is_no_report_is_named(file: bytes, why: str) -> None:
    with pytest.raises(BadReport) as caught:
        read([file], NEW_YORK)
    assert why in str(caught.value)


@pytest.mark.parametrize(
    "declaration",
    [
        b'<!DOCTYPE x [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;&a;">]>',
        b'<!DOCTYPE x SYSTEM "file:///etc/passwd">',
    ],
)
def test_declarations_are_refused_before_anything_is_expanded(declaration: bytes) -> None:
    with pytest.raises(BadReport, match="document type of its own"):
        read([declaration, REPORT], NEW_YORK)


def test_a_report_that_does_not_end_is_read_up_to_a_bound() -> None:
    def endless() -> object:
        yield b"<FlexQueryResponse>"
        while True:
            yield b" " * 2**20

    with pytest.raises(BadReport, match=f"at most {MAX_BYTES // 2**20} MiB"):
        read(endless(), NEW_YORK)  # type: ignore[arg-type]


@given(st.binary(max_size=200), st.integers(0, len(REPORT)))
def test_no_file_is_more_than_refused(garbage: bytes, at: int) -> None:
    try:
        report = read([REPORT[:at], garbage, REPORT[at:]], NEW_YORK)
    except BadReport:
        return
    assert len(report.trades) + len(report.left) <= 12
