"""What is written to a gateway, and what is read of one: frames as real gateways sent them."""

from decimal import Decimal

import pytest
from msgspec import json

from piker.brokers.ib.codec import Encoder, NotWritable, Reader, Undecodable
from piker.brokers.ib.messages import (
    Accounts,
    AskBars,
    AskContracts,
    AskOpenOrders,
    AskPositions,
    AskSymbols,
    AskTime,
    Bars,
    CancelOrder,
    Commission,
    Contract,
    Done,
    End,
    Fits,
    Holds,
    Notice,
    OrderIs,
    PlaceOrder,
    Price,
    Request,
    Said,
    StatusIs,
    Stoppable,
    WatchQuotes,
    WatchTicks,
)

UNSET = "1.7976931348623157E308"
AAPL = Contract(con_id=265598, symbol="AAPL", sec_type="STK", exchange="SMART", currency="USD")
BUY = PlaceOrder(
    contract=AAPL,
    ref="01900000-0000-7000-8000-000000000000",
    account="DU1234567",
    side="BUY",
    size=Decimal(100),
    limit=Decimal("180.50"),
    tif="GTC",
)

# An order of 1 RZ3 at ICEEU, as a gateway of version 176 sent it.
OPEN_ORDER = (
    "5|29|623496135|R|FUT|20231227|0|?|1000|ICEEU|GBP|RZ3|R|BUY|1|LMT|87.16|0.0|GTC||"
    "DU1234567||0|29|1|2138440195|0|0|0||2138440195.0/DU1234567/100||||||||||0||-1|0|||||"
    "|2147483647|0|0|0||3|0|0||0|0||0|None||0||||?|0|0||0|0||||||0|0|0|2147483647|"
    f"2147483647|||0||IB|0|0||0|0|Submitted|{UNSET}|{UNSET}|{UNSET}|{UNSET}|{UNSET}|"
    f"{UNSET}|{UNSET}|{UNSET}|{UNSET}||||||0|0|0|None|{UNSET}|88.16|{UNSET}|{UNSET}|"
    f"{UNSET}|{UNSET}|0||||0|1|0|0|0|||0|||||"
)
FILL = (
    "11|-1|29|623496135|R|FUT|20231227|0.0||1000|ICEEU|GBP|RZ3|R|0000e0d5.69e042cf.01.01|{time}"
    "|DU1234567|ICEEU|BOT|1|87.16|2138440195|1|0|1|87.16|29||||2"
)


def frame(text: str) -> bytes:
    """A message, its fields written with bars between."""
    return text.replace("|", "\0").encode() + b"\0"


def read(text: str, *, version: int = 176) -> Said:
    """The one word of a message."""
    (said,) = Reader(version).read(frame(text))
    return said


def fields(payload: bytes) -> list[str]:
    """What a message is made of."""
    *found, last = payload.decode().split("\0")
    assert last == ""
    return found


def written(request: Request, number: int = 7) -> list[str]:
    """The fields of a request."""
    return fields(Encoder(176).request(request, number))


def test_an_open_order_is_read_as_a_real_gateway_wrote_it() -> None:
    assert len(frame(OPEN_ORDER).split(b"\0")) == 136 + 1
    said = read(OPEN_ORDER)
    assert isinstance(said, OrderIs)
    assert (said.order_id, said.client_id, said.perm_id, said.ref) == (29, 1, 2138440195, "29")
    assert (said.side, said.size, said.limit) == ("BUY", Decimal(1), Decimal("87.16"))
    assert (said.order_type, said.tif, said.status) == ("LMT", "GTC", "Submitted")
    assert said.contract.local_symbol == "RZ3"
    assert said.contract.right == ""


def test_an_order_at_the_market_has_no_limit() -> None:
    said = read(OPEN_ORDER.replace("|LMT|87.16|", "|MKT|0.0|"))
    assert isinstance(said, OrderIs)
    assert said.limit is None


@pytest.mark.parametrize(
    ("time", "utc_s"),
    [
        ("20240328-14:47:22", 1711637242),
        ("20260413 15:27:04 US/Eastern", 1776108424),
        ("20260413 15:27:04 JST (Japan Standard Time)", 1776061624),
        ("20260413 15:27:04 EST", 1776108424),
        ("20231116  12:15:35", 1700136935),
    ],
)
def test_an_execution_has_its_time_whatever_the_gateway_is_set_to(time: str, utc_s: int) -> None:
    said = read(FILL.format(time=time))
    assert isinstance(said, Done)
    assert said.time_ns == utc_s * 10**9
    assert (said.exec_id, said.size, said.price) == (
        "0000e0d5.69e042cf.01.01",
        Decimal(1),
        Decimal("87.16"),
    )


def test_a_local_time_without_a_zone_is_of_where_the_gateway_is() -> None:
    (said,) = Reader(176, "Asia/Tokyo").read(frame(FILL.format(time="20231116 12:15:35")))
    assert isinstance(said, Done)
    assert said.time_ns == (1700136935 - 9 * 3600) * 10**9


def test_of_a_local_time_that_comes_twice_an_execution_has_both() -> None:
    said = read(FILL.format(time="20261101 01:30:00 US/Eastern"))
    assert isinstance(said, Done)
    assert (said.time_ns, said.latest_ns) == (1793511000 * 10**9, 1793514600 * 10**9)


@pytest.mark.parametrize("time", ["", "soon", "20240328 14:47:22 Atlantis/Nowhere"])
def test_an_execution_counts_whose_time_can_not_be_read(time: str) -> None:
    said = read(FILL.format(time=time))
    assert isinstance(said, Done)
    assert (said.time_ns, said.size) == (None, Decimal(1))


def test_version_178_has_a_field_more_in_an_execution() -> None:
    assert isinstance(read(FILL.format(time="20240328-14:47:22") + "|0", version=178), Done)


@pytest.mark.parametrize("unset", ["", UNSET])
def test_a_commission_that_is_not_known_is_none_and_not_0(unset: str) -> None:
    said = read(f"59|1|0000e0d5.69e042cf.01.01|{unset}|GBP|{unset}|{UNSET}|")
    assert isinstance(said, Commission)
    assert (said.amount, said.realised) == (None, None)


def test_a_commission_of_0_is_0() -> None:
    said = read("59|1|0000e0d5.69e042cf.01.01|0|GBP|-1.5||")
    assert isinstance(said, Commission)
    assert (said.amount, said.realised) == (Decimal(0), Decimal("-1.5"))


def test_a_status_without_a_fill_has_no_average() -> None:
    said = read("3|29|PreSubmitted|0|1|0|2138440195|0|0|1||0")
    assert isinstance(said, StatusIs)
    assert (said.filled, said.remaining, said.average) == (Decimal(0), Decimal(1), None)


def test_sizes_are_decimals_as_the_gateway_wrote_them() -> None:
    said = read("61|3|DU1|265598|AAPL|STK||0.0||||USD|AAPL|NMS|0.7143|181.123456")
    assert isinstance(said, Holds)
    assert (said.size, said.average) == (Decimal("0.7143"), Decimal("181.123456"))


def test_a_price_of_a_tick_may_come_without_its_size() -> None:
    assert read("1|6|7|1|180.5||0") == Price(number=7, field=1, price=180.5, size=0)


def test_a_message_of_many_bars_is_one_word() -> None:
    bars = "|1711637242|1|2|0.5|1.5|10|1.2|3" * 2
    said = read(f"17|7|20240328|20240329|2{bars}")
    assert isinstance(said, Bars)
    assert [bar.high for bar in said.bars] == [2, 2]


def test_an_error_is_read_with_its_escapes() -> None:
    text = "Mein Verm\\u00f6gen"
    assert read(f"4|2|-1|2104|{text}|") == Notice(number=-1, code=2104, text="Mein Vermögen")


def test_accounts_are_a_list() -> None:
    assert read("15|1|DU1,DU2,") == Accounts(names=("DU1", "DU2"))


def test_the_end_of_an_answer_is_a_word() -> None:
    assert read("53|1") == End(of="open orders", number=-1)
    assert read("52|1|7") == End(of="contracts", number=7)


def test_what_is_not_known_says_nothing() -> None:
    assert Reader(176).read(frame("14|1|1|1|news|NYSE")) == ()
    assert Reader(176).read(frame("999|1")) == ()


@pytest.mark.parametrize("text", ["", "x", "1|6|7", "17|7|a|b|2|1", "5|29|1", "59|1", "3|x|y"])
def test_what_is_no_message_is_named_and_not_quoted(text: str) -> None:
    with pytest.raises(Undecodable) as raised:
        Reader(176).read(frame(text) if text else b"")
    assert repr(text.partition("|")[0]) in str(raised.value) or "an empty message" in str(
        raised.value
    )
    assert text.partition("|")[2] not in str(raised.value) or "|" not in text


def test_an_order_that_has_what_nobody_can_read_is_one_all_the_same() -> None:
    """Somebody else's, with a fraction where the library expects none."""
    said = read(OPEN_ORDER.replace("|2147483647|0|0|0||3|", "|0.5|true|0|0||3|"))
    assert isinstance(said, OrderIs)
    assert (said.order_id, said.client_id, said.perm_id) == (29, 1, 2138440195)
    assert (said.ref, said.status, said.limit) == ("29", "Submitted", None)


def test_a_long_name_with_a_stray_backslash_is_a_contracts() -> None:
    details = (
        "10|7|AAPL|STK||0||SMART|USD|AAPL|NMS|NMS|265598|0.01||ACTIVETIM|SMART,NYSE,NASDAQ|1|0"
        "|APPLE \\|NASDAQ|||||US/Eastern||||0|0|1|||26,,67||COMMON|0.0001|0.0001|100"
    )
    said = read(details)
    assert isinstance(said, Fits)
    assert said.details.long_name == "APPLE \\"
    assert said.details.rule_ids == (26, 0, 67)


def test_half_a_letter_of_a_text_is_none() -> None:
    said = read("4|2|7|201|a \\ud83d\\ude00 and \\ud83d|")
    assert isinstance(said, Notice)
    assert json.decode(json.encode(said.text)) == "a \U0001f600 and \ufffd"


@pytest.mark.parametrize("unset", [UNSET, "2147483647", "9223372036854775807", ""])
def test_an_order_by_money_has_no_size(unset: str) -> None:
    said = read(OPEN_ORDER.replace("|BUY|1|LMT|", f"|BUY|{unset}|LMT|"))
    assert isinstance(said, OrderIs)
    assert said.size == 0


@pytest.mark.parametrize("shares", [UNSET, "inf", "nan"])
def test_an_execution_without_a_size_is_none(shares: str) -> None:
    text = FILL.format(time="20240328-14:47:22").replace("|BOT|1|", f"|BOT|{shares}|")
    with pytest.raises(Undecodable):
        Reader(176).read(frame(text))


def test_a_message_that_is_too_long_is_none() -> None:
    with pytest.raises(Undecodable, match="expected at most"):
        Reader(176).read(frame("10|7" + "|x" * 200_000))


@pytest.mark.parametrize(
    "text", ["21|7|13|1|0.5|0.5|1|0|0|0|0|100", "99|7|4|1711637242|1.5", "90|7|1"]
)
def test_what_nobody_asks_for_says_nothing(text: str) -> None:
    assert Reader(176).read(frame(text)) == ()


def test_after_what_is_no_message_the_next_is_read_as_it_is() -> None:
    reader = Reader(176)
    with pytest.raises(Undecodable):
        reader.read(frame("17|7|a|b|2|1711637242|1|2|0.5|1.5|10|1.2|3|x"))
    (said,) = reader.read(frame("17|8|a|b|1|1711637242|1|2|0.5|1.5|10|1.2|3"))
    assert isinstance(said, Bars)
    assert (said.number, len(said.bars)) == (8, 1)


def test_an_order_names_our_reference_its_account_and_how_long_it_lasts() -> None:
    text = written(BUY, 29)
    assert text[:2] == ["3", "29"]
    assert text[2:14] == ["265598", "AAPL", "STK", "", "0", "", "", "SMART", "", "USD", "", ""]
    assert text[16:22] == ["BUY", "100", "LMT", "180.50", "", "GTC"]
    assert text[23] == "DU1234567"
    assert text[26:28] == [BUY.ref, "1"]


@pytest.mark.parametrize(
    ("size", "shown"), [("1E+2", "100"), ("0.0001", "0.0001"), ("1E-8", "0.00000001")]
)
def test_a_size_is_written_digit_by_digit(size: str, shown: str) -> None:
    order = PlaceOrder(
        contract=AAPL,
        ref="a",
        account="DU1",
        side="SELL",
        size=Decimal(size),
        limit=None,
        tif="DAY",
    )
    assert written(order)[17:20] == [shown, "MKT", ""]


@pytest.mark.parametrize("version", [176, 177, 178])
def test_an_order_is_written_at_each_version(version: int) -> None:
    written_ = fields(Encoder(version).request(BUY, 29))
    profile_gone = version >= 177
    assert len(written_) == len(written(BUY, 29)) - profile_gone


def test_bars_are_asked_for_with_times_that_no_setting_changes() -> None:
    asked = AskBars(contract=AAPL, end="", duration="1 D", bar_size="1 min", what="TRADES")
    text = written(asked)
    assert text[:2] == ["20", "7"]
    assert text[-8:] == ["", "1 min", "1 D", "0", "TRADES", "2", "0", ""]


@pytest.mark.parametrize(
    ("request_", "expected"),
    [
        (AskTime(), ["49", "1"]),
        (AskOpenOrders(), ["16", "1"]),
        (AskPositions(), ["61", "1"]),
        (AskSymbols(pattern="apple"), ["81", "7", "apple"]),
        (CancelOrder(), ["4", "1", "7", ""]),
    ],
)
def test_a_request_is_these_fields(request_: Request, expected: list[str]) -> None:
    assert written(request_) == expected


@pytest.mark.parametrize(
    ("request_", "expected"),
    [
        (WatchQuotes(contract=AAPL), ["2", "2", "7"]),
        (WatchTicks(contract=AAPL, kind="Last"), ["98", "7"]),
        (
            AskBars(contract=AAPL, end="", duration="1 D", bar_size="1 min", what="TRADES"),
            ["25", "1", "7"],
        ),
        (AskPositions(), ["64", "1"]),
    ],
)
def test_what_goes_on_is_ended_by_these_fields(request_: Stoppable, expected: list[str]) -> None:
    assert fields(Encoder(176).stop(request_, 7)) == expected


def test_who_we_are_is_said_first() -> None:
    assert fields(Encoder(176).start(101)) == ["71", "2", "101", ""]


@pytest.mark.parametrize("symbol", ["A\0B", "Ä"])
def test_a_text_that_would_be_two_fields_or_is_not_ascii_is_not_sent(symbol: str) -> None:
    with pytest.raises(NotWritable, match="expected ASCII"):
        written(AskSymbols(pattern=symbol))
    with pytest.raises(NotWritable, match="expected ASCII"):
        written(AskContracts(contract=Contract(symbol=symbol)))
