"""The gateway's reset of every night, played in full: nothing ends, is lost, or done twice.

As it is seen: IB's servers go away (1100, said again and again), the farms break, the connection is
closed, nothing listens for minutes, then it listens and waits for a login, has the client id still
in use, and at last lets in: order ids begin anew, farms come up one after another.
"""

from decimal import Decimal
from pathlib import Path

import pytest

from piker.interfaces.orders import AccountUnreachable, Cancel, OrderReply
from piker.orders import Order
from tests.brokers.ib.trading import AAPL, EURUSD, House, a_house, an_order
from tests.fakes.gateway import actions, faults
from tests.fakes.tradinghouse import flowing_time

__all__ = ["flowing_time"]
pytestmark = pytest.mark.usefixtures("flowing_time")

BACK_S = 10.0
"""Everything is live again so soon after the gateway is logged in."""
CROSSED, BELOW = Decimal(188), Decimal(170)
"""AAPL stands at 190 in the evening, and comes back from 181 in the morning."""
KEEP = (AAPL, EURUSD)


def a_dark_order(oid: str, trigger: Decimal = CROSSED, **changed: object) -> Order:
    """A buy that waits here until AAPL comes down to its trigger."""
    return an_order(oid, kind="dark", limit=None, trigger=trigger, **changed)


async def servers_go_away(house: House) -> None:
    """1100, said again every few seconds."""
    await house.gateway.do(actions.Connectivity(code=1100))
    await house.pass_by(30)


async def farms_break(house: House) -> None:
    """Of market data and of history."""
    for name, code in (("usfarm", 2103), ("cashfarm", 2103), ("ushmds", 2105)):
        await house.gateway.do(actions.Farm(name=name, code=code, lose=True))
    await house.gateway.do(actions.Move(market="AAPL", price=Decimal(181)))
    await house.pass_by(30)


async def nothing_listens(house: House) -> None:
    """The connection is closed, another one is refused for minutes, and ids begin anew."""
    await house.gateway.do(actions.Stop(roll_back_ids=True))
    await house.gateway.do(actions.Fill(order="filled"))
    await house.pass_by(240)


async def waits_for_a_login(house: House) -> None:
    """It listens, accepts, and says nothing."""
    house.gateway.faults.set(faults.SilentLogin())
    await house.gateway.do(actions.Start())
    await house.pass_by(120)


STAGES = (servers_go_away, farms_break, nothing_listens, waits_for_a_login)


async def logs_in(house: House) -> None:
    """Whoever asks is let in, all but the first, whose id is still in use; the farms come up."""
    house.gateway.faults.clear()
    house.gateway.faults.set(faults.ClientIdInUse(times=1))
    for name, code in (("usfarm", 2104), ("cashfarm", 2104), ("ushmds", 2106)):
        await house.gateway.do(actions.Farm(name=name, code=code))


def is_live(house: House) -> bool:
    """Whether orders can leave and every market that is kept shows its prices."""
    return house.is_ready() and {house.state_of(each) for each in KEEP} == {"live"}


async def states(house: House, *oids: str) -> list[str]:
    """How orders stand."""
    return [(await house.life(oid)).state for oid in oids]


async def evening(house: House) -> None:
    """Orders at the gateway, and dark ones here."""
    await house.pass_by(10)
    await house.opens(*(an_order(oid) for oid in ("rests", "filled", "unwanted")))
    for order in (
        a_dark_order("gap"),
        a_dark_order("fires", on_gap="fire"),
        a_dark_order("waits", BELOW),
    ):
        assert (await house.submit(order)).life.armed


async def test_the_reset_of_the_night_loses_and_doubles_no_order_and_fires_no_trigger_unwatched(
    home: Path,
) -> None:
    async with a_house(home, keep=KEEP) as house:
        await evening(house)
        for stage in STAGES:
            await stage(house)
            assert {house.link().state, house.daemon.report().state} == {"degraded"}
            assert await states(house, "gap", "fires", "waits") == ["held"] * 3
            assert await states(house, "rests", "filled", "unwanted") == ["open"] * 3
            no = await house.meanwhile(house.refusal(an_order("late")))
            assert isinstance(no, AccountUnreachable)
        await house.ask(Cancel(oid="unwanted"), OrderReply)
        await logs_in(house)
        await house.until_so(lambda: is_live(house), BACK_S)
        await house.until("filled", "filled")
        await house.until("unwanted", "cancelled")
        await house.meanwhile(house.until("fires", "open", "filled"))
        assert house.link().state == house.data().state == "running"
        gap, waits = await house.life("gap"), await house.life("waits")
        assert (gap.state, gap.armed, waits.armed) == ("held", False, True)
        await house.gateway.do(actions.Move(market="AAPL", price=BELOW - 1))
        await house.until("waits", "filled", "open")
        await house.until("rests", "filled")
    shown = house.gateway.show()
    assert sorted(shown.placed) == ["filled", "fires", "rests", "unwanted", "waits"]
    assert len({each.order_id for each in shown.orders}) == len(shown.orders) == 5
