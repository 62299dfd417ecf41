"""What each of the gateway's codes means, by what is known of them, not by what the code says."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from piker.brokers.ib.codes import (
    Farm,
    data,
    ends_request,
    farm,
    history,
    is_advice,
    is_read_only,
    link,
    order,
    reason,
)

READ_ONLY = (
    "Error validating request.-'bQ' : cause - The API interface is currently in Read-Only mode."
)
VALIDATING = "Error validating request.-'bQ' : cause - Invalid account"
PREFIX = "Historical Market Data Service error message:"


@pytest.mark.parametrize(
    ("code", "text", "verdict"),
    [
        (165, "Historical Market Data Service query message:HMDS server connection", "goes on"),
        (10090, "Part of requested market data is not subscribed.", "goes on"),
        (10091, "Part of requested market data requires additional subscription", "goes on"),
        (2104, "Market data farm connection is OK:usfarm", "goes on"),
        (2152, "Exchanges - Depth: IEX; Top: BYX; ", "goes on"),
        (399, "Order Message", "goes on"),
        (10167, "Requested market data is not subscribed. Displaying delayed", "delayed"),
        (317, "Market depth data has been RESET.", "reset"),
        (10182, "Failed to request live updates (disconnected).", "again"),
        (10225, "Bust event occurred, current subscription is deactivated.", "again"),
        (100, "Max rate of messages per second has been exceeded", "later"),
        (300, "Can't find EId with tickerId:1", "later"),
        (10189, "Failed to request tick-by-tick data.", "later"),
        (10197, "No market data during competing live session", "later"),
        (420, "Invalid Real-time Query:pacing violation", "later"),
        (101, "Max number of tickers has been reached", "no line"),
        (309, "Max number (3) of market depth requests has been reached", "no line"),
        (10190, "Max number of tick-by-tick requests has been reached.", "no line"),
        (102, "Duplicate ticker ID", "refused"),
        (200, "No security definition has been found for the request", "refused"),
        (200, "The contract description specified for X is ambiguous", "refused"),
        (310, "Can't find the subscribed market depth with tickerId:1", "refused"),
        (320, "Error reading request", "refused"),
        (321, VALIDATING, "refused"),
        (322, "Error processing request.-'bW' : cause - Duplicate ticker id", "refused"),
        (354, "Requested market data is not subscribed.", "refused"),
        (420, "Invalid Real-time Query:No market data permissions", "refused"),
        (10089, "Requested market data requires additional subscription for API.", "refused"),
        (10168, "Requested market data is not subscribed. Delayed is not enabled", "refused"),
        (10186, "Requested market data is not subscribed. Delayed is not available", "refused"),
    ],
)
def test_a_code_about_a_stream_of_data(code: int, text: str, verdict: str) -> None:
    assert data(code, text)[0] == verdict


@pytest.mark.parametrize(
    ("code", "text", "verdict"),
    [
        (162, PREFIX + "HMDS query returned no data: AAPL@SMART Trades", "no data"),
        (162, PREFIX + "Historical data request pacing violation", "pacing"),
        (162, PREFIX + "API historical data query cancelled: 12", "cancelled"),
        (162, PREFIX + "No market data permissions for NYSE STK", "refused"),
        (162, PREFIX + "Trading TWS session is connected from a different IP address", "later"),
        (162, PREFIX + "something nobody has seen", "failed"),
        (162, "", "failed"),
        (420, "Invalid Real-time Query:Historical data request pacing violation", "pacing"),
        (420, "Invalid Real-time Query:No market data permissions for NYSE STK", "refused"),
        (420, "Invalid Real-time Query", "refused"),
        (165, "Historical Market Data Service query message", "goes on"),
        (2106, "HMDS data farm connection is OK:ushmds", "goes on"),
        (10090, "Part of requested market data is not subscribed.", "goes on"),
        (10182, "Failed to request live updates (disconnected).", "again"),
        (10225, "Bust event occurred, current subscription is deactivated.", "again"),
        (100, "Max rate of messages per second has been exceeded", "later"),
        (10197, "No market data during competing live session", "later"),
        (366, "No historical data query found for ticker id:12", "cancelled"),
        (166, "HMDS Expired Contract Violation", "refused"),
        (200, "No security definition has been found for the request", "refused"),
        (320, "Error reading request", "refused"),
        (321, VALIDATING, "refused"),
        (322, "Error processing request", "refused"),
        (354, "Requested market data is not subscribed.", "refused"),
        (10187, "Failed to request historical ticks", "failed"),
        (
            10299,
            "Expected what to show is AGGTRADES, please use that instead of TRADES.",
            "refused",
        ),
    ],
)
def test_a_code_about_history(code: int, text: str, verdict: str) -> None:
    assert history(code, text)[0] == verdict


@pytest.mark.parametrize("acked", [False, True])
@pytest.mark.parametrize("amending", [False, True])
@pytest.mark.parametrize("code", [165, 399, 404, 434, 492, 2100, 2109, 2161, 10349])
def test_an_order_stays_as_it_is(code: int, acked: bool, amending: bool) -> None:
    assert order(code, "", acked=acked, amending=amending)[0] == "stays"


@pytest.mark.parametrize("acked", [False, True])
@pytest.mark.parametrize("amending", [False, True])
def test_a_cancelled_order_is_cancelled(acked: bool, amending: bool) -> None:
    text = "Order Canceled - reason:"
    assert order(202, text, acked=acked, amending=amending)[0] == "cancelled"


REFUSED = [103, 105, 106, 109, 110, 111, 116, 133, 200, 201, 203, 320, 321, 322, 329, 388]
REFUSED += [10243, 10318]


@pytest.mark.parametrize("code", REFUSED)
def test_an_order_that_was_never_shown_is_rejected(code: int) -> None:
    assert order(code, "", acked=False)[0] == "rejected"


@pytest.mark.parametrize("code", REFUSED)
def test_an_order_that_was_shown_is_never_rejected_by_a_code(code: int) -> None:
    assert order(code, "", acked=True)[0] == "no verdict"


@pytest.mark.parametrize("code", [104, 134, 135, *REFUSED])
def test_an_amendment_is_refused_and_the_order_stays(code: int) -> None:
    assert order(code, "", acked=True, amending=True)[0] == "amendment refused"


@pytest.mark.parametrize("code", [104, 134, 135, *REFUSED])
def test_an_amendment_of_an_order_that_was_never_shown_has_no_verdict(code: int) -> None:
    assert order(code, "", acked=False, amending=True)[0] == "no verdict"


@pytest.mark.parametrize("acked", [False, True])
@pytest.mark.parametrize("code", [135, 136, 161, 10147, 10148, 10149])
def test_a_cancel_is_refused_and_the_order_has_no_verdict(code: int, acked: bool) -> None:
    assert order(code, "", acked=acked)[0] == "cancel refused"


@pytest.mark.parametrize("code", [136, 161, 10147, 10148, 10149])
def test_a_cancel_is_refused_also_while_an_amendment_is_on_its_way(code: int) -> None:
    assert order(code, "", acked=True, amending=True)[0] == "cancel refused"


@pytest.mark.parametrize("code", [100, 104, 134, 354, 504, 1100, 10197])
def test_a_code_that_says_nothing_of_an_order_is_no_verdict(code: int) -> None:
    assert order(code, "", acked=False)[0] == "no verdict"


@pytest.mark.parametrize(
    ("code", "text", "verdict"),
    [
        (1100, "Connectivity between IB and Trader Workstation has been lost.", "lost"),
        (2110, "Connectivity between TWS and server is broken.", "lost"),
        (1101, "Connectivity has been restored - data lost.", "data lost"),
        (1102, "Connectivity has been restored - data maintained.", "kept"),
        (1300, "TWS socket port has been reset", "over"),
        (501, "Already connected.", "over"),
        (502, "Couldn't connect to TWS.", "over"),
        (503, "The TWS is out of date and must be upgraded.", "over"),
        (504, "Not connected", "over"),
        (505, "Fatal Error: Unknown message id.", "over"),
        (506, "Unsupported version", "over"),
        (507, "Bad Message Length", "over"),
        (326, "Unable to connect as the client id is already in use.", "in use"),
        (321, READ_ONLY, "read only"),
        (100, "Max rate of messages per second has been exceeded", "too fast"),
    ],
)
def test_a_code_about_the_connection(code: int, text: str, verdict: str) -> None:
    told = link(code, text)
    assert told is not None
    assert told[0] == verdict


@pytest.mark.parametrize("code", [321, 354, 2104, 202, 99999])
def test_other_codes_say_nothing_of_the_connection(code: int) -> None:
    assert link(code, "cause - Invalid account") is None


@pytest.mark.parametrize(
    ("code", "text", "expected"),
    [
        (2103, "Market data farm connection is broken:usfarm", ("usfarm", "market", "broken")),
        (2104, "Market data farm connection is OK:usfarm.nj", ("usfarm.nj", "market", "ok")),
        (2105, "HMDS data farm connection is broken:ushmds", ("ushmds", "history", "broken")),
        (2106, "HMDS data farm connection is OK:ushmds", ("ushmds", "history", "ok")),
        (
            2107,
            "HMDS data farm connection is inactive but should be available upon demand.ushmds",
            ("ushmds", "history", "inactive"),
        ),
        (
            2108,
            "Market data farm connection is inactive but should be available upon demand.cashfarm",
            ("cashfarm", "market", "inactive"),
        ),
        (2119, "Market data farm is connecting:usfuture", ("usfuture", "market", "connecting")),
        (2157, "Sec-def data farm connection is broken:secdefil", ("secdefil", None, "broken")),
        (2158, "Sec-def data farm connection is OK:secdefil", ("secdefil", None, "ok")),
        (2104, "Market data farm connection is OK", ("", "market", "ok")),
    ],
)
def test_a_code_about_a_farm_names_it(
    code: int, text: str, expected: tuple[str, str | None, str]
) -> None:
    told = farm(code, text)
    assert isinstance(told, Farm)
    assert (told.name, told.kind, told.state) == (
        expected[0],
        expected[1] or "definitions",
        expected[2],
    )


@pytest.mark.parametrize("code", [1100, 2110, 2100, 354])
def test_other_codes_are_about_no_farm(code: int) -> None:
    assert farm(code, "connection:usfarm") is None


def test_read_only_is_told_apart_from_other_requests_that_cannot_be() -> None:
    assert is_read_only(321, READ_ONLY)
    assert not is_read_only(321, VALIDATING)
    assert not is_read_only(322, READ_ONLY)


@pytest.mark.parametrize("code", [165, 399, 2104, 2150, 10090, 10091, 10167])
def test_advice_does_not_end_a_request(code: int) -> None:
    assert not ends_request(code)


@pytest.mark.parametrize("code", [162, 200, 320, 321, 322, 354, 366, 420, 504, 10187])
def test_an_error_ends_a_request(code: int) -> None:
    assert ends_request(code)


@given(st.integers(3000, 9999) | st.integers(20_000, 10**9), st.text(max_size=20))
def test_what_is_not_known_is_taken_as_the_least_harm(code: int, text: str) -> None:
    assert data(code, text)[0] == "goes on"
    assert history(code, text)[0] == "failed"
    assert order(code, text, acked=False)[0] == "no verdict"
    assert order(code, text, acked=True, amending=True)[0] == "no verdict"
    assert link(code, text) is None
    assert farm(code, text) is None
    assert ends_request(code)


@given(st.integers(0, 11_000), st.text(max_size=20))
def test_a_request_for_history_goes_on_only_where_a_request_does(code: int, text: str) -> None:
    assert (history(code, text)[0] == "goes on") is not ends_request(code)


@given(st.integers(0, 11_000), st.text(max_size=20))
def test_advice_is_advice_about_everything(code: int, text: str) -> None:
    told = data(code, text)[0], order(code, text, acked=False)[0] == "stays"
    assert not is_advice(code) or told[0] in {"goes on", "delayed"}
    assert not is_advice(code) or told[1]


@given(st.integers(0, 11_000), st.booleans())
def test_no_code_but_that_of_a_cancel_ends_an_order_that_was_shown(
    code: int, amending: bool
) -> None:
    ends = order(code, "", acked=True, amending=amending)[0] in {"cancelled", "rejected"}
    assert ends is (code == 202)


@pytest.mark.parametrize(
    ("code", "text", "words"),
    [
        (354, "Requested market data is not subscribed.", "no subscription"),
        (10089, "Requested market data requires", "needs a subscription of its own"),
        (10197, "No market data during competing live session", "log out there"),
        (321, READ_ONLY, "turn Read-Only API off"),
        (326, "Unable to connect as the client id is already in use.", "another program"),
        (101, "Max number of tickers has been reached", "watch fewer markets"),
        (1100, "Connectivity between IB and TWS has been lost.", "tries to get it back"),
        (10349, "Order TIF was set to DAY based on order preset.", "an order for the day"),
    ],
)
def test_what_people_meet_is_said_in_plain_words_with_the_code_and_ibs_own(
    code: int, text: str, words: str
) -> None:
    assert words in reason(code, text)
    assert f"({code}: {text})" in reason(code, text)


def test_what_has_no_plain_words_is_said_in_ibs_own() -> None:
    assert reason(201, "Order rejected - reason:The  account\nhas no margin") == (
        "Order rejected - reason:The account has no margin (201)"
    )


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Order Canceled - reason:", "it was cancelled (202)"),
        ("Order Canceled - reason: margin", "it was cancelled (202: margin)"),
    ],
)
def test_a_cancel_says_its_reason(text: str, expected: str) -> None:
    assert order(202, text, acked=True) == ("cancelled", expected)


def test_every_verdict_comes_with_its_line() -> None:
    assert data(354, "x")[1] == reason(354, "x")
    assert history(162, "x")[1] == reason(162, "x")
    assert order(201, "x", acked=False)[1] == reason(201, "x")
    assert link(1100, "x") == ("lost", reason(1100, "x"))
