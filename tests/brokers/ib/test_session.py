"""A connection to a gateway: who is let in, whose answer is whose, and how it ends.

Times are trio's, and jump to the next that anybody waits for: the gateway is in this process.
"""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from decimal import Decimal
from math import inf
from pathlib import Path

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from piker import clock, paths
from piker.brokers.ib import session as sessions
from piker.brokers.ib.frames import frame
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
    Bars,
    CancelOrder,
    Contract,
    Fits,
    HeadIs,
    Notice,
    OrderIs,
    PlaceOrder,
    Price,
    Rule,
    Said,
    Samples,
    TimeIs,
    WatchQuotes,
)
from piker.brokers.ib.questions import Asked
from piker.brokers.ib.session import (
    Declined,
    GatewayLost,
    NoAnswer,
    NotSent,
    Session,
    open_session,
)
from tests.fakes.gateway import actions, faults
from tests.fakes.gateway.server import Served, a_gateway

pytestmark = pytest.mark.usefixtures("virtual_time")

AAPL = Contract(symbol="AAPL", sec_type="STK", exchange="SMART", currency="USD")
EURUSD = Contract(symbol="EUR", sec_type="CASH", exchange="IDEALPRO", currency="USD")
CLIENT = 101


def bars(contract: Contract = AAPL, what: str = "TRADES") -> AskBars:
    """A day of minutes."""
    return AskBars(contract=contract, end="", duration="1 D", bar_size="1 min", what=what)


def order(ref: str = "a") -> PlaceOrder:
    """One that rests."""
    return PlaceOrder(
        contract=AAPL,
        ref=ref,
        account="DU1234567",
        side="BUY",
        size=Decimal(1),
        limit=Decimal(1),
        tif="GTC",
    )


@pytest.fixture
async def gateway(tmp_path: Path) -> AsyncIterator[Served]:
    """A gateway of this test's, at a Unix socket."""
    async with a_gateway(path=str(tmp_path / "gateway.sock")) as served:
        yield served


@asynccontextmanager
async def let_in(
    gateway: Served, hear: Callable[[Said], None] = lambda said: None
) -> AsyncIterator[Session]:
    """A session of ours."""
    async with open_session(gateway.address, CLIENT, hear) as session:
        yield session


async def lost(gateway: Served, use: Callable[[Session], Awaitable[object]]) -> GatewayLost:
    """What a session is lost by that is used so."""
    with pytest.raises(GatewayLost) as raised:
        await use_at(gateway.address, use)
    return raised.value


async def use_at(address: str, use: Callable[[Session], Awaitable[object]]) -> None:
    """Do something with a session."""
    async with open_session(address, CLIENT, lambda said: None) as session:
        await use(session)


async def nothing(session: Session) -> None:
    """Wait for the session to end."""
    await trio.sleep(inf)


def heard(gateway: Served, name: str) -> int:
    """How often the gateway was asked something."""
    return gateway.show().heard.get(name, 0)


# --- the handshake


async def test_who_is_let_in_knows_version_accounts_and_the_next_id(gateway: Served) -> None:
    async with let_in(gateway) as session:
        assert session.version == 178
        assert session.accounts == ("DU1234567",)
        assert session.next_order_id >= 1
    assert heard(gateway, "StartApi") == 1


async def test_nothing_but_the_login_is_sent_unasked(gateway: Served) -> None:
    async with let_in(gateway):
        await wait_all_tasks_blocked()
    assert gateway.show().heard == {"StartApi": 1}


@pytest.mark.parametrize(
    ("fault", "reason", "waits"),
    [
        (faults.CloseInHandshake(), "has closed the connection at once: it doesn't run", False),
        (faults.ClientIdInUse(), "client id is already in use", False),
        (faults.SpeakHttp(), "that is no gateway", False),
        (faults.OtherVersion(version=150), "speaks version 150, expected 176 to 178", False),
        (faults.OtherVersion(version=201), "speaks version 201, expected 176 to 178", False),
        (faults.SilentLogin(), "wait for a login or a second factor", True),
        (faults.Mute(), "wait for a login or a second factor", True),
    ],
)
async def test_who_is_not_let_in_learns_why(
    gateway: Served, fault: faults.AnyFault, reason: str, waits: bool
) -> None:
    gateway.faults.set(fault)
    problem = await lost(gateway, nothing)
    assert reason in str(problem)
    assert problem.waits == waits


@pytest.mark.parametrize("address", ["unix:/nowhere/gateway.sock", "tcp:127.0.0.1:1"])
async def test_a_gateway_that_is_not_there_is_named(address: str) -> None:
    with pytest.raises(GatewayLost, match=f"no gateway at {address}"):
        async with open_session(address, CLIENT, lambda said: None):
            pytest.fail("nobody is there")


@pytest.mark.parametrize(("units", "key"), [("iblane", "data"), ("ibgw", "orders")])
async def test_where_the_socket_of_a_unit_is_missing_it_says_how_to_have_it(
    home: Path, units: str, key: str
) -> None:
    address = f"unix:{paths.socket_path(units, 'paper')}"
    with pytest.raises(GatewayLost) as lost:
        async with open_session(address, CLIENT, lambda said: None):
            pytest.fail("nobody is there")
    assert f"systemctl --user enable --now {units}@paper.socket" in str(lost.value)
    assert f'under pikerd, providers.ib.{key} = "tcp:HOST:PORT"' in str(lost.value)


# --- answers

ANSWERS: dict[str, tuple[Asked, type]] = {
    "ReqCurrentTime": (AskTime(), TimeIs),
    "ReqMarketRule": (AskRule(rule_id=26), Rule),
    "ReqContractDetails": (AskContracts(contract=AAPL), Fits),
    "ReqMatchingSymbols": (AskSymbols(pattern="aapl"), Samples),
    "ReqHistoricalData": (bars(), Bars),
    "ReqHeadTimeStamp": (AskHead(contract=AAPL, what="TRADES"), HeadIs),
}
OTHERS: dict[str, Asked] = {
    "ReqIds": AskIds(),
    "ReqAllOpenOrders": AskOpenOrders(),
    "ReqCompletedOrders": AskCompletedOrders(),
    "ReqExecutions": AskExecutions(),
    "ReqPositions": AskPositions(),
    "ReqAccountUpdatesMulti": AskAccount(account="DU1234567"),
}
ALL = {**{name: asked for name, (asked, _) in ANSWERS.items()}, **OTHERS}
in_line = pytest.mark.parametrize(
    "name",
    [
        *("ReqCurrentTime", "ReqMarketRule", "ReqIds"),
        *("ReqAllOpenOrders", "ReqCompletedOrders", "ReqPositions"),
    ],
)


@pytest.mark.parametrize("name", ALL)
async def test_a_question_is_answered(gateway: Served, name: str) -> None:
    async with let_in(gateway) as session:
        answer = await session.ask(ALL[name])
    expected = ANSWERS[name][1] if name in ANSWERS else object
    assert all(isinstance(said, expected) for said in answer)
    assert answer or name in OTHERS


@in_line
async def test_what_has_no_number_is_asked_again_when_it_was_answered(
    gateway: Served, name: str
) -> None:
    gateway.faults.set(faults.Delay(request=name, seconds=3, times=1))
    async with let_in(gateway) as session:
        with trio.move_on_after(1):
            await session.ask(ALL[name])
        await session.ask(ALL[name])
    first, second = (each.time_s for each in gateway.heard if type(each.request).__name__ == name)
    assert second - first >= 2.9


EUROS: dict[str, Asked] = {
    "ReqContractDetails": AskContracts(contract=EURUSD),
    "ReqMatchingSymbols": AskSymbols(pattern="eur"),
    "ReqHistoricalData": bars(EURUSD, "MIDPOINT"),
    "ReqHeadTimeStamp": AskHead(contract=EURUSD, what="MIDPOINT"),
    "ReqExecutions": AskExecutions(),
    "ReqAccountUpdatesMulti": AskAccount(account="DU1234567"),
}


@pytest.mark.parametrize("name", EUROS)
async def test_a_late_answer_is_not_taken_for_the_next_one(gateway: Served, name: str) -> None:
    gateway.faults.set(faults.Delay(request=name, seconds=3, times=1))
    async with let_in(gateway) as session:
        with trio.move_on_after(1):
            await session.ask(ALL[name])
        answer = await session.ask(EUROS[name])
        await trio.sleep(15)
        late = session.counters["late answers"]
        again = await session.ask(EUROS[name])
    assert late >= 1
    assert len(answer) == len(again)
    assert "AAPL" not in str(answer)


@in_line
async def test_several_who_ask_the_same_at_once_are_all_answered(
    gateway: Served, name: str
) -> None:
    gateway.faults.set(faults.Delay(request=name, seconds=1))
    answered = []

    async def ask(session: Session) -> None:
        answered.append(await session.ask(ALL[name]))

    async with let_in(gateway) as session, trio.open_nursery() as nursery:
        for _ in range(5):
            nursery.start_soon(ask, session)
    assert len(answered) == 5
    assert heard(gateway, name) <= 2


async def test_two_rules_are_each_answered_by_their_own(gateway: Served) -> None:
    async with let_in(gateway) as session:
        for rule_id in (26, 67):
            (said,) = await session.ask(AskRule(rule_id=rule_id))
            assert isinstance(said, Rule)
            assert said.rule_id == rule_id


async def test_what_the_gateway_declines_is_said_in_its_words(gateway: Served) -> None:
    async with let_in(gateway) as session:
        with pytest.raises(Declined, match=r"No security definition.* \(200\)"):
            await session.ask(AskContracts(contract=Contract(symbol="NOSUCH", sec_type="STK")))


async def test_a_word_about_a_request_is_heard_and_its_answer_comes(gateway: Served) -> None:
    said: list[Said] = []
    advice = faults.Advise(request="ReqHistoricalData", code=2106, text="HMDS is fine")
    gateway.faults.set(advice)
    async with let_in(gateway, said.append) as session:
        assert await session.ask(bars())
    assert any(isinstance(each, Notice) and each.code == 2106 for each in said)


@pytest.mark.parametrize("name", ["ReqHistoricalData", "ReqContractDetails", "ReqExecutions"])
async def test_an_answer_that_does_not_come_is_given_up_and_nothing_else(
    gateway: Served, name: str
) -> None:
    gateway.faults.set(faults.Drop(request=name, times=1))
    async with let_in(gateway) as session:
        with pytest.raises(NoAnswer, match="no answer within 5 s"):
            await session.ask(ALL[name], 5)
        await session.ask(AskTime())
    assert heard(gateway, "CancelHistoricalData") == (name == "ReqHistoricalData")


@in_line
async def test_without_an_answer_that_has_no_number_the_session_is_over(
    gateway: Served, name: str
) -> None:
    gateway.faults.set(faults.Drop(request=name))
    problem = await lost(gateway, lambda session: session.ask(ALL[name]))
    assert "no answer within" in str(problem)


@in_line
async def test_what_is_declined_without_a_number_is_told_at_once_and_costs_no_session(
    gateway: Served, name: str
) -> None:
    gateway.faults.set(faults.Refuse(request=name, code=322, text="Error processing.", times=1))
    async with let_in(gateway) as session:
        began = trio.current_time()
        with pytest.raises(Declined, match=r"Error processing\. \(322\)"):
            await session.ask(ALL[name])
        assert trio.current_time() - began < 1
        await session.ask(ALL[name])


@in_line
async def test_what_was_declined_and_is_answered_after_all_is_no_answer_to_the_next(
    gateway: Served, name: str
) -> None:
    gateway.faults.set(faults.Delay(request=name, seconds=3, times=1))
    async with let_in(gateway) as session, trio.open_nursery() as nursery:
        nursery.start_soon(say_later, gateway, actions.Notice(code=322, text="Error processing."))
        with pytest.raises(Declined):
            await session.ask(ALL[name])
        await session.ask(ALL[name])
    first, second = (each.time_s for each in gateway.heard if type(each.request).__name__ == name)
    assert second - first >= 2.9


async def say_later(gateway: Served, action: actions.AnyAction) -> None:
    """A second later."""
    await trio.sleep(1)
    await gateway.do(action)


@pytest.mark.parametrize("request_", [bars(), AskHead(contract=AAPL, what="TRADES")])
async def test_who_leaves_has_the_gateway_stop(gateway: Served, request_: Asked) -> None:
    gateway.faults.set(faults.Delay(seconds=3, request="*"))
    async with let_in(gateway) as session:
        with trio.move_on_after(1):
            await session.ask(request_)
        await session.ask(AskTime())
    stops = ("CancelHistoricalData", "CancelHeadTimeStamp")
    assert sum(heard(gateway, name) for name in stops) == 1


async def test_who_leaves_before_it_was_sent_leaves_nothing(gateway: Served) -> None:
    async with let_in(gateway) as session:
        await session.ask(bars())
        with trio.move_on_after(1):
            await session.ask(bars())  # 15 s between identical ones
        await session.ask(AskTime())
    assert heard(gateway, "ReqHistoricalData") == 1
    assert heard(gateway, "CancelHistoricalData") == 0


# --- streams


async def test_quotes_come_until_they_are_stopped(gateway: Served) -> None:
    said: list[Said] = []
    async with let_in(gateway) as session:
        number = await session.watch(WatchQuotes(contract=EURUSD), said.append)
        await gateway.do(actions.Advance(market="EUR", steps=3))
        await session.ask(AskTime())
        before = len(said)
        session.stop(number)
        await gateway.do(actions.Advance(market="EUR", steps=3))
        await session.ask(AskTime())
    assert any(isinstance(each, Price) for each in said)
    assert len(said) == before
    assert heard(gateway, "CancelMktData") == 1


# --- orders


async def test_an_order_is_on_its_way_when_it_is_delivered(gateway: Served) -> None:
    said: list[Said] = []
    async with let_in(gateway, said.append) as session:
        await session.deliver(order("mine"), session.next_order_id)
        await session.ask(AskTime())
    assert gateway.order("mine").status in ("Submitted", "PreSubmitted")
    assert said


async def test_an_order_that_is_too_late_never_leaves(gateway: Served) -> None:
    async with let_in(gateway) as session:
        with pytest.raises(NotSent):
            await session.deliver(order(), session.next_order_id, clock.boot_ns() - 1)
        await session.ask(AskTime())
    assert heard(gateway, "PlaceOrder") == 0


async def test_a_cancel_does_not_wait_behind_200_requests(gateway: Served) -> None:
    async with let_in(gateway) as session, trio.open_nursery() as nursery:
        await session.deliver(order("mine"), session.next_order_id)
        for number in range(200):
            query = AskContracts(contract=Contract(symbol=f"X{number}", sec_type="STK"))
            nursery.start_soon(declined, session, query)
        await wait_all_tasks_blocked()
        began = trio.current_time()
        await session.deliver(CancelOrder(), session.next_order_id)
        assert trio.current_time() - began < 1
        nursery.cancel_scope.cancel()


async def declined(session: Session, query: AskContracts) -> None:
    """Ask for what there is not."""
    with pytest.raises(Declined):
        await session.ask(query)


async def test_a_gateway_that_takes_no_orders_is_known_by_its_word(gateway: Served) -> None:
    gateway.faults.set(faults.ReadOnly())
    async with let_in(gateway) as session:
        await session.deliver(order(), session.next_order_id)
        await session.ask(AskTime())
        assert session.read_only


# --- its end


@pytest.mark.parametrize("reset", [False, True])
async def test_who_waits_learns_that_the_gateway_is_lost(gateway: Served, reset: bool) -> None:
    gateway.faults.set(faults.Drop(request="ReqHistoricalData"))
    outside: list[Exception] = []

    async def ask(session: Session) -> None:
        try:
            await session.ask(bars())
        except GatewayLost as problem:
            outside.append(problem)

    async with trio.open_nursery() as nursery:

        async def use(session: Session) -> None:
            nursery.start_soon(ask, session)
            await wait_all_tasks_blocked()
            await gateway.do(actions.Cut(reset=reset))
            await trio.sleep(inf)

        problem = await lost(gateway, use)
    assert "has closed the connection" in str(problem)
    assert outside == [problem]


async def test_after_its_end_nothing_is_asked(gateway: Served) -> None:
    async with let_in(gateway) as session:
        pass
    with pytest.raises(GatewayLost):
        await session.ask(AskTime())
    with pytest.raises(GatewayLost):
        await session.deliver(order(), 1)


async def test_a_gateway_that_falls_silent_is_lost(gateway: Served) -> None:
    async def mute(session: Session) -> None:
        gateway.faults.set(faults.Mute())
        await trio.sleep(inf)

    problem = await lost(gateway, mute)
    assert "no answer within" in str(problem)


async def test_a_gateway_that_has_nothing_to_say_is_not_lost(gateway: Served) -> None:
    async with let_in(gateway):
        await trio.sleep(10 * sessions.QUIET_S)
    assert heard(gateway, "ReqCurrentTime") >= 5


async def test_a_message_that_is_none_ends_the_session(gateway: Served) -> None:
    async def garble(session: Session) -> None:
        gateway.faults.set(faults.Garble(how="length"))
        await session.ask(AskTime())

    assert "that is no gateway" in str(await lost(gateway, garble))


@pytest.mark.parametrize("how", ["short", "words"])
async def test_an_answer_that_can_not_be_read_fails_its_question_alone(
    gateway: Served, how: str
) -> None:
    async with let_in(gateway) as session:
        gateway.faults.set(faults.Garble(how=how, times=1))
        with pytest.raises((NoAnswer, Declined)):
            await session.ask(bars(), 5)
        await session.ask(AskTime())
        assert session.counters["garbled messages"] == 1


async def test_what_can_not_be_read_of_an_order_ends_the_session(gateway: Served) -> None:
    async def garble(session: Session) -> None:
        gateway.faults.set(faults.Garble(how="words", times=1))
        await session.deliver(order(), session.next_order_id)
        await trio.sleep(inf)

    assert "said what can't be read" in str(await lost(gateway, garble))


async def test_a_garbled_refusal_of_an_order_ends_the_session(gateway: Served) -> None:
    async def garble(session: Session) -> None:
        gateway.faults.set(faults.Refuse(request="PlaceOrder", code=201, text="no"))
        gateway.faults.set(faults.Garble(how="short", times=1))
        await session.deliver(order(), session.next_order_id)
        await trio.sleep(inf)

    assert "said what can't be read" in str(await lost(gateway, garble))


async def test_an_order_of_which_only_the_beginning_can_be_read_is_heard(gateway: Served) -> None:
    said: list[Said] = []
    async with let_in(gateway, said.append) as session:
        gateway.faults.set(faults.Garble(how="short", times=1))
        await session.deliver(order("mine"), session.next_order_id)
        await session.ask(AskTime())
    assert {each.ref for each in said if isinstance(each, OrderIs)} == {"mine"}


async def test_a_position_that_can_not_be_read_is_not_left_out(gateway: Served) -> None:
    await gateway.do(actions.SetPosition(market="AAPL", size=Decimal(5), cost=Decimal(1)))
    async with let_in(gateway) as session:
        gateway.faults.set(faults.Garble(how="short", times=1))
        with pytest.raises(NoAnswer, match="can't be read"):
            await session.ask(AskPositions())
        assert await session.ask(AskTime())


async def test_a_gateway_of_which_nothing_can_be_read_is_lost(gateway: Served) -> None:
    async def garble(session: Session) -> None:
        gateway.faults.set(faults.Garble(how="words", times=1000))
        await session.watch(WatchQuotes(contract=EURUSD), lambda said: None)
        await gateway.do(actions.Advance(market="EUR", steps=30))
        await trio.sleep(inf)

    assert "said what can't be read" in str(await lost(gateway, garble))


# --- a gateway that reads no more


@asynccontextmanager
async def a_stub(
    path: Path, attend: Callable[[trio.SocketStream], Awaitable[None]]
) -> AsyncIterator[str]:
    """Lets in, and then does as it is told: gives its address."""

    async def let_in_first(stream: trio.SocketStream) -> None:
        await stream.receive_some()
        await stream.send_all(frame(b"178\x0020260101 00:00:00 UTC\0"))
        await stream.receive_some()
        await stream.send_all(frame(b"15\x001\0DU1\0") + frame(b"9\x001\x0010\0"))
        await attend(stream)

    bound = trio.socket.socket(trio.socket.AF_UNIX)
    await bound.bind(str(path))
    bound.listen()
    async with trio.open_nursery() as nursery:
        listeners = [trio.SocketListener(bound)]
        nursery.start_soon(trio.serve_listeners, let_in_first, listeners)
        yield f"unix:{path}"
        nursery.cancel_scope.cancel()


@asynccontextmanager
async def deaf(path: Path) -> AsyncIterator[str]:
    """Lets in, and reads nothing after that: gives its address."""

    async def nothing_more(stream: trio.SocketStream) -> None:
        await trio.sleep(inf)

    async with a_stub(path, nothing_more) as address:
        yield address


async def fill_up(session: Session) -> None:
    """Ask for more than there is room for, and wait for the end."""
    query = AskContracts(contract=Contract(symbol="X" * 60_000, sec_type="STK"))
    async with trio.open_nursery() as nursery:
        for _ in range(20):
            nursery.start_soon(session.ask, query)


async def test_a_gateway_that_reads_no_more_is_lost(tmp_path: Path) -> None:
    async with deaf(tmp_path / "deaf.sock") as address:
        with pytest.raises(GatewayLost, match="took nothing for"):
            await use_at(address, fill_up)


async def test_an_order_for_which_there_is_no_room_never_leaves_late(tmp_path: Path) -> None:
    outcomes: list[Exception] = []

    async def place(session: Session) -> None:
        await wait_all_tasks_blocked()
        try:
            await session.deliver(order(), 10, clock.boot_ns() + 3 * 10**9)
        except NotSent as problem:
            outcomes.append(problem)

    async def use(session: Session) -> None:
        outside.start_soon(place, session)
        await fill_up(session)

    async with deaf(tmp_path / "deaf.sock") as address, trio.open_nursery() as outside:
        with pytest.raises(GatewayLost):
            await use_at(address, use)
    assert [str(each) for each in outcomes] == ["the gateway took nothing in time"]


async def test_a_loss_while_questions_wait_for_their_turn_ends_nothing_else(
    gateway: Served,
) -> None:
    problems: list[Exception] = []

    async def ask(session: Session) -> None:
        try:
            await session.ask(AskPositions())
        except GatewayLost as problem:
            problems.append(problem)

    async def use(session: Session) -> None:
        for _ in range(3):
            outside.start_soon(ask, session)
            await trio.lowlevel.checkpoint()
        session.lose(GatewayLost("for this test"))
        await trio.sleep(inf)

    async with trio.open_nursery() as outside:
        assert str(await lost(gateway, use)) == "for this test"
    assert len(problems) == 3


async def test_a_list_may_take_its_time_as_long_as_it_goes_on(tmp_path: Path) -> None:
    async def list_slowly(stream: trio.SocketStream) -> None:
        await stream.receive_some()
        for number in range(5):
            await trio.sleep(15)
            held = f"61|3|DU1|{number}|A|STK||0||||USD|A|A|1|1|".replace("|", "\0")
            await stream.send_all(frame(held.encode()))
        await stream.send_all(frame(b"62\x001\0"))
        await trio.sleep(inf)

    async def use(session: Session) -> None:
        assert len(await session.ask(AskPositions())) == 5

    async with a_stub(tmp_path / "slow.sock", list_slowly) as address:
        await use_at(address, use)
