"""The fake gateway: what can go wrong with it, and that it notices what clients do wrong."""

import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import trio

from tests.fakes.gateway import (
    Away,
    Served,
    Settings,
    a_gateway,
    a_gateway_process,
    a_remote_gateway,
)
from tests.fakes.gateway.actions import (
    Advance,
    ClearFaults,
    Compete,
    Connectivity,
    Cut,
    Farm,
    Notice,
    SetFault,
    Start,
    Stop,
    Unsubscribe,
)
from tests.fakes.gateway.client import CONTRACT, Client, a_client, contract, greet
from tests.fakes.gateway.faults import (
    Advise,
    ClientIdInUse,
    CloseInHandshake,
    DeafAfterLogin,
    Drop,
    Fault,
    Garble,
    Mute,
    OtherVersion,
    ReadOnly,
    Refuse,
    SilentLogin,
    SpeakHttp,
)
from tests.fakes.gateway.gateway import Gateway
from tests.fakes.gateway.rules import MessageRate

ROOT = Path(__file__).parents[3]


async def test_a_client_id_that_is_taken_is_told_so_and_hung_up_on() -> None:
    async with a_gateway() as gateway, a_client(gateway, 7), a_client(gateway, None) as second:
        await second.send(71, 2, 7, "")
        assert (await second.until("error 326"))[-1][2] == "-1"
        assert await second.read() == ()


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        (CloseInHandshake(), b""),
        (SpeakHttp(), b"HTTP/1.1 400 Bad Request"),
        (OtherVersion(version=38), b"\0\0\0\x2938\0"),
    ],
)
async def test_a_handshake_can_fail_in_each_way(fault: Fault, said: bytes) -> None:
    async with a_gateway() as gateway:
        gateway.faults.set(fault)
        stream, _ = await greet(gateway)
        async with stream:
            assert (await stream.receive_some())[: len(said) or 1] == said


async def test_a_login_can_be_taken_without_a_word() -> None:
    async with a_gateway() as gateway, a_client(gateway, None) as client:
        gateway.faults.set(SilentLogin(times=1))
        assert {each[0] for each in await client.log_in()} == {"4"}


@pytest.mark.parametrize("fault", [DeafAfterLogin(), Mute()])
async def test_a_gateway_can_be_silent_while_it_is_connected(fault: Fault) -> None:
    async with a_gateway() as gateway, a_client(gateway, None) as client:
        gateway.faults.set(fault)
        await client.send(71, 2, 1, "")
        await client.send(49, 1)
        await client.until(9) if isinstance(fault, DeafAfterLogin) else None
        await gateway.do(Notice(code=2104, text="unheard"))
        await gateway.do(Cut())
        assert await client.read() == ()
    assert len(gateway.heard) == 2


async def test_a_request_can_be_refused_by_kind_and_symbol() -> None:
    async with a_gateway() as gateway, a_client(gateway) as client:
        gateway.faults.set(Refuse(request="ReqMktData", symbol="SPY", code=10089, text="no"))
        await client.send(1, 11, 1, *contract("SPY"), 0, "", 1, 0, "")
        await client.send(1, 11, 2, *CONTRACT, 0, "", 1, 0, "")
        said = await client.until(57)
    assert said[0] == ("4", "2", "1", "10089", "no", "")
    assert said[-1] == ("57", "1", "2")


async def test_an_advisory_does_not_end_what_was_asked() -> None:
    async with a_gateway() as gateway, a_client(gateway) as client:
        gateway.faults.set(Advise(request="PlaceOrder", code=10349, text="preset", times=1))
        await client.place(1)
        said = await client.until("5")
    assert [each[0] for each in said] == ["4", "5"]


async def test_data_that_is_not_subscribed_is_refused_or_delayed() -> None:
    async with a_gateway() as gateway, a_client(gateway) as client:
        await gateway.do(Unsubscribe(symbols=("AAPL",)))
        await client.send(1, 11, 1, *CONTRACT, 0, "", 0, 0, "")
        assert (await client.until("error 354"))[-1][2] == "1"
        await client.send(59, 1, 3)
        await client.send(1, 11, 1, *CONTRACT, 0, "", 1, 0, "")
        said = await client.until(57)
    assert said[0][3] == "10167"
    assert ("58", "1", "1", "3") in said
    assert {each[3] for each in said if each[0] == "1"} >= {"66", "67", "68"}


async def test_a_competing_session_ends_market_data() -> None:
    async with a_gateway() as gateway, a_client(gateway) as client:
        await client.send(1, 11, 1, *CONTRACT, 0, "", 0, 0, "")
        await client.until(46)
        await gateway.do(Compete())
        await gateway.do(Advance(market="AAPL"))
        await gateway.do(Compete(active=False))
        await client.send(49, 1)
        said = [each for each in await client.until(49) if each[0] != "1" or each[3] in "124"]
    assert [each[0] for each in said] == ["4", "49"]
    assert said[0][2:4] == ("1", "10197")


@pytest.mark.usefixtures("virtual_time")
async def test_lost_servers_are_told_again_and_again_until_they_are_back() -> None:
    async with a_gateway() as gateway, a_client(gateway) as client:
        await gateway.do(Connectivity(code=1100))
        for _ in range(3):
            await client.until("error 1100")
        began = trio.current_time()
        await gateway.do(Connectivity(code=1102))
        await client.until("error 1102")
    assert began >= 8


@pytest.mark.parametrize(("code", "kept"), [(1101, False), (1102, True)])
async def test_subscriptions_are_forgotten_or_kept_as_the_code_says(code: int, kept: bool) -> None:
    async with a_gateway() as gateway, a_client(gateway) as client:
        await client.send(1, 11, 1, *CONTRACT, 0, "", 0, 0, "")
        await client.until(46)
        await gateway.do(Connectivity(code=1100))
        await gateway.do(Connectivity(code=code))
        assert bool(gateway.sessions[0].streams) is kept
        await client.send(2, 2, 1)
        await client.send(49, 1)
        await client.until(49)


async def test_what_is_dropped_or_waits_can_be_cancelled_without_a_breach() -> None:
    async with a_gateway() as gateway, a_client(gateway) as client:
        gateway.faults.set(Drop(request="ReqHistoricalData", times=1))
        await client.send(20, 1, *_page(0))
        await client.send(25, 1, 1)
        await client.until("error 162")
        await gateway.do(Connectivity(code=1100))
        await client.send(1, 11, 2, *CONTRACT, 0, "", 0, 0, "")
        await client.send(2, 2, 2)
        await client.send(49, 1)
        await client.until(49)
        await gateway.do(Connectivity(code=1102))
        assert gateway.sessions[0].streams == {}


async def test_an_order_that_is_dropped_takes_no_ticker_id() -> None:
    async with a_gateway() as gateway, a_client(gateway) as client:
        gateway.faults.set(Drop(request="PlaceOrder", times=1))
        await client.place(1)
        await client.send(1, 11, 1, *CONTRACT, 0, "", 1, 0, "")
        await client.until(57)


async def test_a_farm_may_forget_its_subscriptions() -> None:
    async with a_gateway() as gateway, a_client(gateway) as client:
        for req_id, what in enumerate((contract("AAPL"), contract("EUR", "CASH", "IDEALPRO"))):
            await client.send(1, 11, req_id, *what, 0, "", 0, 0, "")
        await client.until(46)
        await gateway.do(Farm(name="usfarm", code=2103, lose=True))
        await client.until("error 2103")
        assert list(gateway.sessions[0].streams) == [1]


@pytest.mark.parametrize("reset", [False, True])
async def test_a_connection_can_be_cut(reset: bool) -> None:
    async with a_gateway() as gateway, a_client(gateway) as client:
        await gateway.do(Cut(client_id=1, reset=reset))
        assert await _end(client) == ("reset" if reset else "closed")


async def test_a_gateway_that_is_stopped_refuses_connections_until_it_is_started() -> None:
    async with a_gateway() as gateway:
        await gateway.do(Stop())
        with pytest.raises(OSError, match="connect"):
            await greet(gateway)
        await gateway.do(Start())
        async with a_client(gateway):
            pass


async def test_a_read_only_gateway_refuses_orders() -> None:
    async with a_gateway() as gateway, a_client(gateway) as client:
        gateway.faults.set(ReadOnly())
        await client.place(1)
        assert "Read-Only" in (await client.until("error 321"))[-1][4]
        await client.send(5, 1)
        assert (await client.until("error 321"))[-1][2] == "-1"


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ("length", b"\xff\xff\xff\xff"),
        ("short", b"\0\0\0\x0349\0"),
        ("words", b"\0\0\0\x0d49\0word\0word\0"),
        ("unknown", b"\0\0\0\x14999\0"),
        ("half", b"\0\0\0\x1049\0"),
    ],
)
async def test_a_message_can_be_malformed(how: str, said: bytes) -> None:
    async with a_gateway() as gateway, a_client(gateway) as client:
        gateway.faults.set(Garble(how=how, times=1))
        await client.send(49, 1)
        assert (await client.stream.receive_some()).startswith(said)


async def test_an_order_that_is_done_can_be_neither_cancelled_nor_modified() -> None:
    async with a_gateway() as gateway, a_client(gateway) as client:
        await client.place(1, orderType="MKT", lmtPrice="")
        await client.until(59)
        await client.send(4, 1, 1, "")
        assert (await client.until("error 10148"))[-1][4].endswith("state: Filled.")
        await client.place(1, orderType="MKT", lmtPrice="", totalQuantity=20)
        await client.until("error 104")
        await client.send(4, 1, 77, "")
        await client.until("error 10147")


@pytest.fixture
async def lenient() -> AsyncIterator[Served]:
    """A gateway for clients that break rules."""
    settings = Settings(our_clients=frozenset({1}), data_clients=frozenset({2}), lines=2)
    async with a_gateway(settings) as gateway:
        yield gateway
        gateway.breaches.clear()


BREACHES: dict[str, tuple[tuple[tuple[object, ...], ...], int | str]] = {
    "a request has its fields": (((49, 2),), "error 320"),
    "a ticker id is used once at a time": (
        ((62, 1, 1, "All", "NetLiquidation"), (62, 1, 1, "All", "NetLiquidation")),
        "error 322",
    ),
    "only what was asked for is cancelled": (((2, 2, 5),), "error 300"),
    "what was cancelled isn't cancelled again": (
        ((62, 1, 1, "All", "x"), (63, 1, 1), (63, 1, 1), (49, 1)),
        49,
    ),
    "at most 2 market data lines": (
        tuple((1, 11, n, *CONTRACT, 0, "", 0, 0, "") for n in range(3)),
        "error 101",
    ),
    "at most 50 messages a second": (((49, 1),) * 60, "error 100"),
    "data is asked for in known words": (
        ((20, 1, *CONTRACT, 0, "", "61 secs", "60 S", 0, "TRADES", 2, 0, ""),),
        "error 321",
    ),
    "only client 0 binds orders by hand": (((15, 1, 1), (49, 1)), 49),
}


@pytest.mark.parametrize("rule", BREACHES)
async def test_a_client_that_breaks_a_rule_is_recorded(lenient: Served, rule: str) -> None:
    requests, answer = BREACHES[rule]
    async with a_client(lenient) as client:
        for request in requests:
            await client.send(*request)
        await client.until(answer)
    assert rule in {each.rule for each in lenient.breaches}


@pytest.mark.parametrize(
    ("client_id", "orders", "rule"),
    [
        (1, [(1, {"tif": ""})], "our orders have a tif and an orderRef"),
        (1, [(1, {"orderRef": ""})], "our orders have a tif and an orderRef"),
        (2, [(1, {})], "a connection for data places no order"),
        (3, [(5, {}), (4, {})], "an order id is new"),
        (3, [(1, {}), (1, {"action": "SELL"})], "a modification has the contract and side of its"),
        (3, [(1, {"transmit": False})], "orders are transmitted at once: this gateway plays no"),
    ],
)
async def test_an_order_against_the_rules_is_recorded(
    lenient: Served, client_id: int, orders: list[tuple[int, dict[str, object]]], rule: str
) -> None:
    async with a_client(lenient, client_id) as client:
        for order_id, values in orders:
            await client.place(order_id, **values)
        await client.send(49, 1)
        await client.until(49)
    assert [each.rule[: len(rule)] for each in lenient.breaches] == [rule]


async def test_an_id_from_before_a_roll_back_is_not_new(lenient: Served) -> None:
    async with a_client(lenient, 3) as client:
        await client.place(1)
        await client.until(3)
        await lenient.do(Stop(roll_back_ids=True))
        await lenient.do(Start())
        lenient.book.state.orders.clear()
    async with a_client(lenient, 3) as client:
        await client.place(1)
        await client.until("error 103")
    assert [each.rule for each in lenient.breaches] == ["an order id is new"]


def _page(end: int, what: str = "TRADES", size: str = "1 secs") -> tuple[object, ...]:
    return (*CONTRACT, 0, f"20261120-15:{end:02d}:00", size, "60 S", 0, what, 2, 0, "")


@pytest.mark.usefixtures("virtual_time")
@pytest.mark.parametrize(
    ("pages", "every_s", "breaches"),
    [
        ([_page(0)] * 2, 14.0, 1),
        ([_page(0)] * 2, 15.0, 0),
        ([_page(0, size="1 min")] * 2, 1.0, 0),
        ([_page(n) for n in range(6)], 0.3, 1),
        ([_page(n) for n in range(6)], 0.5, 0),
        ([_page(n) for n in range(60)], 9.0, 0),
        ([_page(n % 60, "BID" if n == 60 else "TRADES") for n in range(61)], 9.0, 1),
        ([_page(n, "BID_ASK") for n in range(31)], 9.0, 1),
    ],
)
async def test_history_has_its_pace(
    lenient: Served, pages: list[tuple[object, ...]], every_s: float, breaches: int
) -> None:
    async with a_client(lenient, 3) as client:
        for number, page in enumerate(pages):
            await client.send(20, number, *page)
            await client.until(17, "error 162")
            await trio.sleep(every_s)
    assert len(lenient.breaches) == breaches


@pytest.mark.usefixtures("virtual_time")
async def test_every_tick_and_real_time_bars_have_their_pace(lenient: Served) -> None:
    kinds = ["Last", "BidAsk", "MidPoint", "AllLast"]
    async with a_client(lenient, 3) as client:
        for number, kind in enumerate(kinds):
            await client.send(97, number, *CONTRACT, kind, 0, 0)
        await client.until("error 10190")
        await client.send(98, 0)
        await client.send(97, 0, *CONTRACT, "Last", 0, 0)
        await client.until("error 10190")
        for number in range(10, 16):
            await client.send(50, 3, number, *CONTRACT, 5, "TRADES", 0, "")
        await client.until("error 420")
    assert [each.rule[:26] for each in lenient.breaches] == [
        "more than 3 requests for e",
        "ticks of one contract aske",
        "6 requests of one contract",
    ]


@pytest.mark.usefixtures("virtual_time")
async def test_fifty_messages_in_each_second_are_no_breach() -> None:
    async with a_gateway() as gateway, a_client(gateway, None) as client:
        for _ in range(3):
            for _ in range(50):
                await client.send(71, 2, 1, "") if not gateway.heard else await client.send(49, 1)
                await client.until(49, "error 2158")
            await trio.sleep(1)


@pytest.mark.usefixtures("virtual_time")
async def test_who_goes_on_too_fast_is_hung_up_on(lenient: Served) -> None:
    async with a_client(lenient, 3) as client:
        for _ in range(60):
            await client.send(49, 1)
        said = await client.until("error 100") + await client.until("error 100")
        await client.until("error 100")
        assert await client.read() == ()
    assert len(said) >= 48


@pytest.mark.parametrize(("since", "breaches"), [(0.0, 0), (0.9, 40)])
def test_what_a_late_gateway_finds_may_have_come_before(since: float, breaches: int) -> None:
    rate = MessageRate()
    found = [rate.exceeds(since, 0.9) for _ in range(45)]
    found += [rate.exceeds(1.0, 1.0) for _ in range(45)]
    assert sum(found) == breaches


async def test_a_gateway_is_a_process_too(tmp_path: Path) -> None:
    async with a_gateway_process(tmp_path, Settings(walk_s=0.01)) as gateway:
        assert (await gateway.show()).address == f"unix:{tmp_path / 'gateway.sock'}"
        await gateway.do(SetFault(fault=ClientIdInUse(times=1)))
        await gateway.do(SetFault(fault=Mute()))
        await gateway.do(ClearFaults())
        async with await trio.open_unix_socket(str(tmp_path / "gateway.sock")) as stream:
            client = await _greeted(stream)
            await client.place(1, orderType="MKT", lmtPrice="")
            await client.until(59)
            shown = await gateway.show()
    assert shown.clients == (4,)
    assert shown.heard == {"PlaceOrder": 1, "StartApi": 1}
    assert [(each.ref, each.status) for each in shown.orders] == [("mine", "Filled")]
    assert shown.positions == {"AAPL": 10}


async def test_a_process_that_was_killed_comes_back_with_its_book(tmp_path: Path) -> None:
    settings, path = Settings(state=str(tmp_path / "book")), str(tmp_path / "gateway.sock")
    async with a_gateway_process(tmp_path, settings) as gateway:
        async with await trio.open_unix_socket(path) as stream:
            client = await _greeted(stream)
            await client.place(1)
            await client.until("3")
            await gateway.kill()
        with pytest.raises(Away):
            await gateway.show()
        await gateway.start()
        shown = await gateway.show()
    assert [(each.ref, each.status) for each in shown.orders] == [("mine", "Submitted")]


async def test_a_process_writes_breaches_down_for_who_kills_it(tmp_path: Path) -> None:
    settings = Settings(breaches=str(tmp_path / "breaches"))
    path = str(tmp_path / "gateway.sock")
    async with a_remote_gateway(tmp_path, settings), await trio.open_unix_socket(path) as stream:
        await stream.send_all(b"GET / HTTP/1.1\r\n\r\n")
        assert await stream.receive_some() == b""
    assert "what comes is the protocol" in (tmp_path / "breaches").read_text()


async def test_a_process_reports_breaches_at_the_end(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="what comes is the protocol"):
        await _speak_http_to_a_process(tmp_path)


def test_it_says_how_to_be_run() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.fakes.gateway", "--help"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert "--control" in done.stdout


def test_gateways_share_nothing() -> None:
    assert Gateway(Settings()).faults is not Gateway(Settings()).faults


async def _end(client: Client) -> str:
    try:
        return "closed" if await client.read() == () else "said something"
    except trio.BrokenResourceError:
        return "reset"


async def _greeted(stream: trio.SocketStream) -> Client:
    """Client 4, logged in."""
    await stream.send_all(b"API\0\0\0\0\x09v100..176")
    client = Client(stream, 176)
    await client.read()
    await client.log_in(4)
    return client


async def _speak_http_to_a_process(directory: Path) -> None:
    path = str(directory / "gateway.sock")
    async with a_gateway_process(directory), await trio.open_unix_socket(path) as stream:
        await stream.send_all(b"GET / HTTP/1.1\r\n\r\n")
        assert await stream.receive_some() == b""
