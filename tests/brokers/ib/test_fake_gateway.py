"""The fake gateway: what it says, and in which order."""

from contextlib import suppress
from datetime import date
from decimal import Decimal

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from tests.fakes.gateway import Settings, a_gateway
from tests.fakes.gateway.actions import (
    Advance,
    Connectivity,
    Farm,
    Flood,
    Forget,
    Move,
    SetHours,
    SetPosition,
    SetVolume,
)
from tests.fakes.gateway.catalog import ASML, EURONEXT, catalog, increment
from tests.fakes.gateway.client import CONTRACT, Client, a_client, contract
from tests.fakes.gateway.orderlayout import COMPLETED_ORDER, OPEN_ORDER, write_order
from tests.fakes.gateway.requests import BY_CODE, ReqCurrentTime, ReqMatchingSymbols, read_request
from tests.fakes.gateway.schedule import hours_text, is_open
from tests.fakes.gateway.wire import GREETING, Frames, NotTheProtocol, frame, text

SUNDAY_NS = 1_795_348_800 * 10**9
"""2026-11-22 12:00 UTC."""
FIELDS = st.sampled_from(["", "0", "1", "7", "AAPL", "1e400", "nan", "-1", "x"])
HOUR_NS = 3600 * 10**9


@given(
    st.lists(st.lists(st.text(st.characters(codec="ascii", exclude_characters="\0"), min_size=1)))
)
def test_messages_are_read_however_they_are_cut(messages: list[list[str]]) -> None:
    frames, sent = Frames(), [tuple(each) for each in messages if each]
    stream = GREETING + b"".join(frame(*each) for each in sent)
    read = [message for byte in stream for message in frames.feed(bytes([byte]))]
    assert read == sent


def test_what_does_not_greet_is_not_a_client() -> None:
    with pytest.raises(NotTheProtocol, match="GET / HTTP"):
        list(Frames().feed(b"GET / HTTP/1.1\r\n"))


@pytest.mark.parametrize(
    ("value", "printed"),
    [
        (Decimal("96.7900"), "96.79"),
        (Decimal("1E+3"), "1000"),
        (Decimal(1), "1"),
        (True, "1"),
        (None, ""),
        (0.00005, "0.00005"),
    ],
)
def test_numbers_have_neither_exponent_nor_idle_zeros(value: object, printed: str) -> None:
    assert text(value) == printed


@pytest.mark.parametrize(("version", "opened", "completed"), [(176, 136, 101), (178, 135, 100)])
def test_orders_have_as_many_fields_as_a_real_gateways(
    version: int, opened: int, completed: int
) -> None:
    assert len(write_order(OPEN_ORDER, {}, version)) == opened
    assert len(write_order(COMPLETED_ORDER, {}, version)) == completed


@pytest.mark.parametrize("fields", [("9", "8", "5"), ("49", "1", "x"), ("49", "2"), ("777",)])
def test_a_request_with_other_fields_is_none(fields: tuple[str, ...]) -> None:
    with pytest.raises(NotTheProtocol, match="expected"):
        read_request(fields, 176)


@given(
    st.sampled_from(sorted(BY_CODE)), st.lists(FIELDS, max_size=140), st.sampled_from([157, 178])
)
def test_a_request_is_read_or_it_is_said_what_was_wrong(
    code: int, fields: list[str], version: int
) -> None:
    with suppress(NotTheProtocol):
        kind = BY_CODE[code]
        head = [str(kind.VERSION)] if kind.VERSION else []
        assert isinstance(read_request((str(code), *head, *fields), version), kind)


@pytest.mark.parametrize(
    "request_fields",
    [
        (97, 1, *CONTRACT, "Every", 0, 0),
        (96, 1, *CONTRACT, 0, "", "tomorrow", 10, "TRADES", 0, 0, ""),
        (96, 1, *CONTRACT, 0, "", "20261199 10:00:00", 10, "TRADES", 0, 0, ""),
        (96, 1, *CONTRACT, 0, "", "", 10, "RUMOURS", 0, 0, ""),
        (20, 1, *CONTRACT, 0, "20261120 10:00:00 Mars/Crater", "1 min", "1 D", 0, "BID", 1, 0, ""),
        (20, 1, *CONTRACT, 0, "", "1 min", "a while", 0, "BID", 1, 0, ""),
    ],
)
async def test_data_is_asked_for_in_known_words(request_fields: tuple[object, ...]) -> None:
    async with a_gateway() as gateway, a_client(gateway) as client:
        await client.send(*request_fields)
        await client.until("error 321")
        assert [each.rule for each in gateway.breaches] == ["data is asked for in known words"]
        gateway.breaches.clear()


async def test_a_login_brings_accounts_the_next_id_and_the_farms() -> None:
    async with a_gateway() as gateway, a_client(gateway, None) as client:
        said = await client.log_in(5)
    assert [message[0] for message in said[:2]] == ["15", "9"]
    assert [message[3] for message in said[2:]] == ["2104", "2107", "2158"]


@pytest.mark.parametrize(("highest", "agreed"), [(157, 157), (176, 176), (220, 178)])
async def test_both_speak_the_highest_version_that_both_know(highest: int, agreed: int) -> None:
    async with a_gateway() as gateway, a_client(gateway, highest=highest) as client:
        assert client.version == agreed


async def test_it_listens_at_a_path_too(home: object) -> None:
    async with a_gateway(path=f"{home}/gateway.sock") as gateway, a_client(gateway) as client:
        await client.send(49, 1)
        assert (await client.until(49))[-1][0] == "49"
        assert gateway.heard[-1].request == ReqCurrentTime()


@pytest.mark.usefixtures("virtual_time")
async def test_the_time_is_the_virtual_one() -> None:
    async with a_gateway() as gateway, a_client(gateway) as client:
        await trio.sleep(3600)
        await client.send(49, 1)
        told = (await client.until(49))[-1]
    assert told == ("49", "1", str(1_800_000_000 + 3600))


async def test_an_ambiguous_symbol_has_several_contracts() -> None:
    async with a_gateway() as gateway, a_client(gateway) as client:
        await client.send(9, 8, 1, *contract("SAN"), 0, "", "", "")
        found = await client.until(52)
        await client.send(1, 11, 2, *contract("SAN"), 0, "", 0, 0, "")
        refused = await client.until("error 200")
    assert [message[8] for message in found[:-1]] == ["USD", "EUR"]
    assert "ambiguous" in refused[-1][4]


async def test_futures_have_three_expiries_at_least_and_the_front_month_most_volume() -> None:
    for symbol in ("ES", "MNQ"):
        futures = [
            each
            for each in catalog(date(2026, 11, 22), always_open=True)
            if each.symbol == symbol and each.expiry > "20261122"
        ]
        assert len(futures) >= 3
        assert [each.volume for each in futures] == sorted(
            (each.volume for each in futures), reverse=True
        )
        assert futures[0].expiry == "20261218"


async def test_volume_can_be_put_on_a_later_month() -> None:
    async with a_gateway() as gateway, a_client(gateway) as client:
        later = [e for e in gateway.instruments.values() if e.symbol == "MNQ"][2]
        await gateway.do(SetVolume(market=later.local_symbol, volume=9_999_999))
        await client.send(
            1, 11, 1, later.con_id, *contract("MNQ", "FUT", "CME")[1:], 0, "", 1, 0, ""
        )
        said = await client.until(57)
    assert ("2", "6", "1", "8", "9999999") in said


def test_a_price_step_depends_on_the_price_and_the_exchange() -> None:
    assert increment(ASML, Decimal(620)) == Decimal("0.1")
    assert increment(ASML, Decimal(40)) == Decimal("0.01")


def test_hours_are_told_by_the_day_on_which_they_start() -> None:
    known = catalog(date(2026, 11, 22), always_open=False)
    future = next(each for each in known if each.symbol == "ES")
    told = hours_text(future.hours, SUNDAY_NS - 24 * HOUR_NS).split(";")
    assert told[:2] == ["20261121:CLOSED", "20261122:1700-20261123:1600"]


def test_the_clock_changes_move_a_session_with_its_zone() -> None:
    opening_ns = (
        1_792_998_000 * 10**9
    )  # Mon 2026-10-26 07:00 UTC: Europe left summer time the day before
    assert not is_open(EURONEXT, opening_ns + HOUR_NS - 10**9)
    assert is_open(EURONEXT, opening_ns + HOUR_NS)


async def test_quotes_follow_the_market() -> None:
    async with a_gateway() as gateway, a_client(gateway) as client:
        await _follow(client, 1)
        await gateway.do(Move(market="AAPL", price=Decimal("191.50")))
        said = await client.until(46)
    assert ("2", "6", "1", "8", "41000001") in said
    assert ("1", "6", "1", "1", "191.49", "100", "0") in said
    assert ("1", "6", "1", "2", "191.51", "100", "0") in said
    assert ("1", "6", "1", "4", "191.5", "1", "0") in said


async def test_what_is_not_followed_any_more_is_not_told() -> None:
    async with a_gateway() as gateway, a_client(gateway) as client:
        await _follow(client, 1)
        await client.send(2, 2, 1)
        await client.send(49, 1)
        await client.until(49)
        await gateway.do(Advance(market="AAPL", steps=3))
        await client.send(49, 1)
        assert len(await client.until(49)) == 1


async def test_an_id_can_be_used_again_once_it_is_free() -> None:
    async with a_gateway() as gateway, a_client(gateway) as client:
        for _ in range(2):
            await _follow(client, 1)
            await client.send(2, 2, 1)
        await client.send(49, 1)
        await client.until(49)


async def test_a_closed_market_has_no_quotes_but_minus_one() -> None:
    async with a_gateway() as gateway, a_client(gateway) as client:
        await gateway.do(SetHours(market="AAPL", closed=True))
        said = await _follow(client, 1)
        await gateway.do(SetHours(market="AAPL", closed=False))
        opened = await client.until(46)
    assert ("1", "6", "1", "1", "-1", "0", "0") in said
    assert opened[0][:5] == ("1", "6", "1", "1", "189.99")


async def test_a_farm_that_is_down_says_so_and_its_markets_are_silent() -> None:
    async with a_gateway() as gateway, a_client(gateway) as client:
        await _follow(client, 1)
        await gateway.do(Farm(name="usfarm", code=2103))
        await gateway.do(Advance(market="AAPL"))
        await gateway.do(Farm(name="usfarm", code=2104))
        said = await client.until("error 2104")
        await gateway.do(Advance(market="AAPL"))
        again = await client.until(46)
    assert [message[4] for message in said] == [
        "Market data farm connection is broken:usfarm",
        "Market data farm connection is OK:usfarm",
    ]
    assert again[0][:3] == ("1", "6", "1")


@pytest.mark.parametrize("code", [2103, 2104, 2105, 2106, 2107, 2108, 2119, 2157, 2158])
async def test_each_code_of_a_farm_names_it(code: int) -> None:
    async with a_gateway() as gateway, a_client(gateway) as client:
        await gateway.do(Farm(name="thisfarm", code=code))
        told = (await client.until(f"error {code}"))[-1]
    assert told[2] == "-1"
    assert told[4].endswith("thisfarm")


async def test_history_of_a_farm_that_is_down_is_not_answered() -> None:
    async with a_gateway() as gateway, a_client(gateway) as client:
        await gateway.do(Farm(name="ushmds", code=2105))
        await client.until("error 2105")
        await client.send(20, 1, *CONTRACT, 0, "", "1 min", "60 S", 0, "TRADES", 2, 0, "")
        await client.send(49, 1)
        assert [each[0] for each in await client.until(49)] == ["49"]


async def test_history_is_the_same_whenever_it_is_asked_for_and_pages_meet() -> None:
    async with a_gateway() as gateway, a_client(gateway) as client:
        whole = await _bars(client, 1, "20261120-15:00:00", "7200 S")
        late = await _bars(client, 2, "20261120-15:00:00", "3600 S")
        early = await _bars(client, 3, "20261120-14:00:00", "3600 S")
    assert len(whole) == 120
    assert [*early, *late] == whole


async def test_history_before_the_first_bar_is_empty_and_that_is_said() -> None:
    async with a_gateway() as gateway, a_client(gateway) as client:
        await client.send(
            20, 1, *CONTRACT, 0, "20190101-15:00:00", "1 min", "3600 S", 0, "TRADES", 2, 0, ""
        )
        said = await client.until("error 162")
    assert said[-1][4].endswith("HMDS query returned no data: AAPL@SMART Trades")


async def test_forex_has_no_trades_and_midpoints_have_no_volume() -> None:
    euro = contract("EUR", "CASH", "IDEALPRO")
    async with a_gateway() as gateway, a_client(gateway) as client:
        await client.send(20, 1, *euro, 0, "", "1 min", "60 S", 0, "TRADES", 2, 0, "")
        await client.until("error 162")
        await client.send(20, 2, *euro, 0, "", "1 min", "120 S", 0, "MIDPOINT", 2, 0, "")
        said = await client.until(17)
    assert said[-1][-3:] == ("-1", "-1", "-1")


async def test_bars_that_are_kept_up_to_date_grow_with_the_market() -> None:
    async with a_gateway() as gateway, a_client(gateway) as client:
        await client.send(20, 1, *CONTRACT, 0, "", "1 min", "600 S", 0, "TRADES", 2, 1, "")
        await client.until(17)
        await gateway.do(Move(market="AAPL", price=Decimal(195)))
        update = (await client.until(90))[-1]
        await client.send(25, 1, 1)
        await client.until("error 162")
    assert update[5:6] == ("195",)


@pytest.mark.usefixtures("virtual_time")
async def test_real_time_bars_come_every_five_seconds() -> None:
    async with a_gateway() as gateway, a_client(gateway) as client:
        await client.send(50, 3, 1, *CONTRACT, 5, "TRADES", 0, "")
        bars = [(await client.until(50))[-1] for _ in range(3)]
    assert [int(bar[3]) - 1_800_000_000 for bar in bars] == [0, 5, 10]


async def test_positions_are_told_when_they_change() -> None:
    async with a_gateway() as gateway, a_client(gateway) as client:
        await client.send(61, 1)
        assert (await client.until(62))[-1] == ("62", "1")
        await gateway.do(SetPosition(market="AAPL", size=Decimal(5), cost=Decimal(180)))
        held = (await client.until(61))[-1]
    assert held[-2:] == ("5", "180")


async def test_what_was_asked_is_remembered() -> None:
    async with a_gateway() as gateway, a_client(gateway, 9) as client:
        await client.send(81, 4, "santander")
        found = (await client.until(79))[-1]
    assert found[2] == "3"
    assert gateway.heard[-1].client_id == 9
    assert gateway.heard[-1].request == ReqMatchingSymbols(req_id=4, pattern="santander")


async def test_a_market_walks_by_itself_and_differently_for_each_contract() -> None:
    async with a_gateway(Settings(walk_s=0.001)) as gateway, a_client(gateway) as client:
        await _follow(client, 1)
        prices = {(await client.until(46))[0][4] for _ in range(40)}
    assert len(prices) > 3


async def _follow(client: Client, req_id: int) -> list[tuple[str, ...]]:
    """Subscribe to AAPL, and read what is told at once."""
    await client.send(1, 11, req_id, *CONTRACT, 0, "", 0, 0, "")
    said = await client.until(58)
    while said[-1][:1] + said[-1][3:4] != ("1", "14"):
        said.append(await client.read())
    return said


async def _bars(client: Client, req_id: int, end: str, duration: str) -> list[tuple[str, ...]]:
    await client.send(20, req_id, *CONTRACT, 0, end, "1 min", duration, 0, "TRADES", 2, 0, "")
    fields = (await client.until(17))[-1][5:]
    return [fields[at : at + 8] for at in range(0, len(fields), 8)]


@pytest.mark.usefixtures("virtual_time")
async def test_what_is_silently_forgotten_is_served_again_when_asked_for_again() -> None:
    async with a_gateway(Settings(walk_s=1)) as gateway, a_client(gateway) as client:
        await _follow(client, 1)
        await gateway.do(Forget(market="AAPL"))
        await trio.sleep(30)
        await client.send(2, 2, 1)
        await client.send(49, 1)
        assert len(await client.until(49)) == 1
        assert await _follow(client, 2)


async def test_as_many_stocks_as_a_test_needs_can_be_made() -> None:
    async with a_gateway(Settings(stocks=120)) as gateway, a_client(gateway) as client:
        await client.send(9, 8, 1, *contract("T120"), 0, "", "", "")
        assert (await client.until(52))[0][2] == "T120"


async def test_a_flood_brings_every_trade_once() -> None:
    async with a_gateway() as gateway, a_client(gateway) as client:
        await _follow(client, 1)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(gateway.do, Flood(markets=("AAPL", "SPY"), trades=1000))
            trades = [await client.read() for _ in range(1000)]
    assert [int(each[5]) for each in trades] == list(range(1, 1001))
    assert len({each[4] for each in trades}) == 2


async def test_bars_that_are_kept_up_to_date_end_with_the_servers() -> None:
    async with a_gateway() as gateway, a_client(gateway) as client:
        await client.send(20, 1, *CONTRACT, 0, "", "1 min", "600 S", 0, "TRADES", 2, 1, "")
        await client.until(17)
        await gateway.do(Connectivity(code=1100))
        assert (await client.until("error 10182"))[-1][2] == "1"
        await client.send(25, 1, 1)
        await client.until("error 366")


async def test_an_expired_future_has_its_past_if_that_is_asked_for() -> None:
    async with a_gateway() as gateway, a_client(gateway) as client:
        old = next(each for each in gateway.instruments.values() if each.symbol == "ES")
        page = ("", "1 min", "60 S", 0, "TRADES", 2, 0, "")
        about = (old.con_id, *contract("ES", "FUT", "CME")[1:])
        await client.send(20, 1, *about, 0, *page)
        await client.until("error 200")
        await client.send(20, 2, *about, 1, *page)
        await client.until(17)
