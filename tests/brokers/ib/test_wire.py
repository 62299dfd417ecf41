"""The list of what may pass from a reader of market data to a gateway."""

from decimal import Decimal
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from piker.brokers.ib import codec, pastbars, wire
from piker.brokers.ib.messages import (
    AskAccount,
    AskBars,
    AskCompletedOrders,
    AskContracts,
    AskExecutions,
    AskHead,
    AskIds,
    AskOpenOrders,
    AskPositions,
    AskRule,
    AskSymbols,
    AskTime,
    CancelEverything,
    CancelOrder,
    ChooseData,
    Contract,
    PlaceOrder,
    Request,
    Stoppable,
    WatchQuotes,
    WatchTicks,
)
from piker.brokers.ib.wire import LEAST, LIST, MAX_FRAME, MOST, OTHERS, Lane, verdict
from tests.fakes.venue import EURUSD

NS = 10**9
ES = Contract(symbol="ES", sec_type="FUT", exchange="CME", currency="USD", expiry="202612")
BY_NUMBER = Contract(con_id=265598, exchange="SMART")
STOCK = structs.replace(EURUSD, asset_class="stock")
ORDER = PlaceOrder(
    contract=ES, ref="x", account="DU1", side="BUY", size=Decimal(1), limit=None, tif="DAY"
)
FOR_DATA: list[Request] = [
    *(
        AskTime(),
        AskIds(),
        AskRule(rule_id=26),
        AskSymbols(pattern="apple"),
        ChooseData(data_type=3),
    ),
    *(AskContracts(contract=ES), AskContracts(contract=BY_NUMBER, expired=True)),
    *(WatchQuotes(contract=BY_NUMBER), WatchQuotes(contract=ES, generic_ticks="233")),
    *(WatchTicks(contract=ES, kind="BidAsk"), AskHead(contract=ES, what="TRADES")),
    AskBars(contract=ES, end="", duration="1 D", bar_size="1 min", what="TRADES"),
    pastbars.question(STOCK, BY_NUMBER, 1, 1_800_000_000 * NS, 1_800_001_800 * NS),
    pastbars.question(STOCK, BY_NUMBER, 60, 1_800_000_000 * NS, 1_800_086_400 * NS),
    AskHead(contract=BY_NUMBER, what=pastbars.kind(STOCK)),
]
STOPPED: list[Stoppable] = [each for each in FOR_DATA if isinstance(each, Stoppable)]
FOR_TRADING: list[Request] = [
    *(ORDER, CancelOrder(), CancelEverything(), AskOpenOrders(), AskCompletedOrders()),
    *(AskExecutions(), AskPositions(), AskAccount(account="DU1")),
]


def frame(payload: bytes) -> bytes:
    return len(payload).to_bytes(4) + payload


def message(*fields: object) -> bytes:
    return b"".join(str(field).encode() + b"\0" for field in fields)


HELLO = b"API\0" + frame(b"v176..178")
START = frame(message(71, 2, 100, ""))
TIME, ORDERED = message(49, 1), message(3, 17, 0, "ES", "FUT")


def passed(lane: Lane, *pieces: bytes) -> bytes:
    return b"".join(lane.feed(piece) for piece in pieces)


def refused(payload: bytes) -> str:
    no = verdict(payload)
    return f"{no.what}: {no.why}" if no else ""


# --- the list


@pytest.mark.parametrize("version", range(LEAST, MOST + 1))
@pytest.mark.parametrize("request_", FOR_DATA, ids=lambda each: type(each).__name__)
def test_what_a_data_daemon_asks_passes_at_each_version(request_: Request, version: int) -> None:
    assert refused(codec.Encoder(version).request(request_, 7)) == ""


@pytest.mark.parametrize("request_", STOPPED, ids=lambda each: type(each).__name__)
def test_what_was_asked_may_be_stopped(request_: Stoppable) -> None:
    assert refused(codec.Encoder(MOST).stop(request_, 7)) == ""


def test_real_time_bars_pass_and_may_be_stopped() -> None:
    contract = (0, "ES", "FUT", 202612, 0.0, "", "", "CME", "", "USD", "", "")
    assert refused(message(50, 3, 7, *contract, 5, "TRADES", 0, "")) == ""
    assert refused(message(51, 1, 7)) == ""


@pytest.mark.parametrize("request_", FOR_TRADING, ids=lambda each: type(each).__name__)
def test_nothing_of_orders_accounts_or_positions_passes(request_: Request) -> None:
    assert "it is no request for market data" in refused(codec.Encoder(MOST).request(request_, 7))


def test_a_message_that_is_not_on_the_list_does_not_pass_however_it_goes_on() -> None:
    others = [str(number) for number in range(256) if str(number).encode() not in LIST]
    fields = ["1"] * 23
    for number in others:
        assert all(refused(message(number, *fields[:count])) for count in range(24)), number


def test_who_was_refused_is_told_by_name_and_number() -> None:
    assert refused(ORDERED) == "placeOrder (3): it is no request for market data"
    strange = "expected the number of a request for market data"
    assert refused(message(203, 1)) == f"a message '203': {strange}"


def test_every_number_has_one_name() -> None:
    names = [form.name for form in LIST.values()] + list(OTHERS.values())
    assert len(names) == len(set(names)) == len(LIST.keys() | OTHERS.keys())


@pytest.mark.parametrize(
    "number",
    [
        *(
            b"049",
            b" 49",
            b"49 ",
            b"+49",
            b"-49",
            b"49.0",
            b"4_9",
            b"0x31",
            b"49\n",
            b"\xef\xbb\xbf49",
        ),
        *(
            "\u0664\u0669".encode(),
            "\uff14\uff19".encode(),
            b"",
            b"49\x01",
            b"49;3",
            b"\xff",
            b"x" * 1000,
        ),
        *(b"\x00\x00\x00\x31", b"\x00\x00\x00\xcb"),
    ],
)
def test_a_number_that_is_written_in_another_way_does_not_pass(number: bytes) -> None:
    assert refused(number + b"\x001\x00")


@pytest.mark.parametrize(
    "payload", [b"\0", b"\0\0", b"49", b"49\x001", b"49\x00", b"\x0049\x001\x00"]
)
def test_a_message_with_a_field_too_few_or_unended_does_not_pass(payload: bytes) -> None:
    assert refused(payload)


@pytest.mark.parametrize("request_", FOR_DATA, ids=lambda each: type(each).__name__)
def test_a_message_within_a_message_does_not_pass(request_: Request) -> None:
    """A gateway that reads field by field would take what is left for the next message."""
    payload = codec.Encoder(MOST).request(request_, 7)
    assert "fields, were" in refused(payload + ORDERED)
    assert "end with a NUL" in refused(payload + ORDERED[:-1])


def quotes(
    *, kind: str = "STK", other: str = "0", regulatory: str = "0", options: str = ""
) -> bytes:
    contract = (0, "X", kind, "", "0.0", "", "", "SMART", "", "USD", "", "")
    return message(1, 11, 7, *contract, other, "", 0, regulatory, options)


def test_what_costs_money_or_has_fields_of_its_own_does_not_pass() -> None:
    assert refused(quotes()) == ""
    assert refused(quotes(regulatory="1")) == "reqMktData (1): field 18: expected '0', was '1'"
    assert refused(quotes(kind="BAG")).startswith("reqMktData (1): field 5: expected ''")
    assert "field 5" in refused(quotes(kind="bag"))
    assert "field 15" in refused(quotes(other="1"))
    assert "field 19" in refused(quotes(options="x=1;"))


@pytest.mark.parametrize("client", ["0", "1", "99", "132", "", "-100", "0100", " 100", "1\u06600"])
def test_a_client_id_of_somebody_elses_does_not_pass(client: str) -> None:
    assert "a client id of datad's, 100 to 131" in refused(message(71, 2, client, ""))


def test_a_client_id_of_datads_passes() -> None:
    assert refused(codec.Encoder(MOST).start(100)) == ""
    assert refused(codec.Encoder(MOST).start(131)) == ""


# --- the conversation


def test_a_conversation_passes_byte_for_byte() -> None:
    said = HELLO + START + frame(TIME) * 3
    assert passed(Lane(), said) == said


@pytest.mark.parametrize("offer", ["v176..176", "v176..178", "v178..178"])
def test_an_offer_of_these_versions_passes(offer: str) -> None:
    said = b"API\0" + frame(offer.encode())
    assert passed(Lane(), said) == said


@pytest.mark.parametrize(
    "offer",
    [
        *(
            "v176..179",
            "v100..200",
            "v201..201",
            "v176..99999999",
            "v157..176",
            "v178..176",
            "v178",
        ),
        *(
            "v176..178 ",
            "v176..178 +PACEAPI",
            "v176..178\0",
            "v0176..178",
            "v176..0178",
            "V176..178",
        ),
        *(
            "v+176..178",
            "v176...178",
            "v176.178",
            "v176..178\n",
            "v\u0661\u0667\u0666..178",
            " ",
            "71",
        ),
    ],
)
def test_no_other_offer_passes(offer: str) -> None:
    """Above 200 a message begins with a number in binary, which this list can't judge."""
    lane = Lane()
    assert passed(lane, b"API\0" + frame(offer.encode()), START, frame(TIME)) == b"API\0"
    assert lane.refusal is not None
    assert "expected versions within v176..178" in lane.refusal.why


@pytest.mark.parametrize("begin", [b"GET / HTTP", b"API ", b"api\0", b"\0", START, b"A\0"])
def test_who_begins_otherwise_is_refused_at_once(begin: bytes) -> None:
    lane = Lane()
    assert passed(lane, begin) == b""
    assert lane.refusal is not None
    assert lane.refusal.what == "another protocol"


def test_the_first_message_says_who_it_is() -> None:
    lane = Lane()
    assert passed(lane, HELLO, frame(TIME), START) == HELLO
    assert lane.refusal == wire.Refusal(
        what="reqCurrentTime (49)", why="expected startApi (71) first"
    )


def test_who_it_is_is_said_once() -> None:
    lane = Lane()
    assert passed(lane, HELLO, START, frame(TIME), START, frame(TIME)) == HELLO + START + frame(
        TIME
    )
    assert lane.refusal == wire.Refusal(
        what="startApi (71)", why="expected it once, as the first message"
    )


@pytest.mark.parametrize(
    "length", [0, MAX_FRAME + 1, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 0x41504900]
)
def test_a_length_that_is_absurd_is_refused_before_what_would_follow(length: int) -> None:
    """The last one is API and a NUL, where a frame is due."""
    lane = Lane()
    assert passed(lane, HELLO, START, length.to_bytes(4)) == HELLO + START
    assert lane.refusal == wire.Refusal(
        what=f"a frame of {length} bytes", why=f"expected 1 to {MAX_FRAME}"
    )


def test_a_frame_as_long_as_may_be_is_judged_and_not_only_measured() -> None:
    symbols = b"81\x007\x00" + b"x" * (MAX_FRAME - 6) + b"\x00"
    said = HELLO + START + frame(symbols)
    assert len(symbols) == MAX_FRAME
    assert passed(Lane(), said) == said
    assert passed(Lane(), HELLO + START + frame(ORDERED[:5] + symbols[5:])) == HELLO + START


def test_a_frame_passes_when_it_is_whole_and_not_before() -> None:
    lane = Lane()
    asked = frame(TIME)
    assert passed(lane, HELLO, START, asked[:-1]) == HELLO + START
    assert passed(lane, asked[-1:]) == asked


# --- whatever comes, in whatever pieces

good = st.sampled_from([codec.Encoder(MOST).request(each, 7) for each in FOR_DATA])
bad = st.sampled_from([codec.Encoder(MOST).request(each, 7) for each in FOR_TRADING])
payloads = st.lists(good | bad | st.binary(min_size=1, max_size=40), max_size=12)
cuts = st.lists(st.integers(min_value=0, max_value=2000), max_size=40)


def cut(data: bytes, places: list[int]) -> list[bytes]:
    ends = [0, *sorted(min(place, len(data)) for place in places), len(data)]
    return [data[begin:end] for begin, end in pairwise(ends)]


@given(payloads, cuts, st.binary(max_size=8))
def test_what_passes_does_not_depend_on_how_the_bytes_are_cut(
    sent: list[bytes], places: list[int], rest: bytes
) -> None:
    data = HELLO + START + b"".join(map(frame, sent)) + rest
    at_once, in_pieces, by_bytes = Lane(), Lane(), Lane()
    through = passed(at_once, data)
    assert passed(in_pieces, *cut(data, places)) == through
    assert passed(by_bytes, *(bytes([each]) for each in data)) == through
    assert at_once.refusal == in_pieces.refusal == by_bytes.refusal


@given(payloads, cuts)
def test_what_passes_is_all_before_the_first_that_may_not_and_nothing_of_it(
    sent: list[bytes], places: list[int]
) -> None:
    may_pass = [not verdict(each) and not each.startswith(b"71\0") for each in sent]
    first_bad = [*may_pass, False].index(False)
    expected = HELLO + START + b"".join(map(frame, sent[:first_bad]))
    lane = Lane()
    assert passed(lane, *cut(HELLO + START + b"".join(map(frame, sent)), places)) == expected
    assert (lane.refusal is not None) == (first_bad < len(sent))


@given(st.binary(max_size=200), cuts)
def test_of_what_is_no_conversation_nothing_passes_but_the_greeting(
    noise: bytes, places: list[int]
) -> None:
    """No noise of 200 bytes is an offer of versions."""
    assert passed(Lane(), *cut(noise, places)) in (b"", b"API\0")
    assert passed(Lane(), *cut(b"API\0" + noise, places)) == b"API\0"
