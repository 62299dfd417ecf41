"""What gateways say of the connection, as it was seen and in any order: what it comes to.

emsd, brokerd@ib and datad@ib run at their sockets, at the fake gateway.
"""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from piker import clock
from tests.brokers.ib.trading import AAPL, EURUSD, House, a_house, an_order
from tests.conftest import OURS
from tests.fakes.gateway import faults
from tests.fakes.gateway.actions import (
    Action,
    Connectivity,
    Cut,
    Farm,
    Notice,
    SetFault,
    Start,
    Stop,
)
from tests.fakes.tradinghouse import BOOT_NS, WALL_NS, FlowingTime, flowing_time

__all__ = ["flowing_time"]

BACK_S = 90.0
"""What was lost without a word is asked for again after a minute of silence."""
BOTH = (AAPL, EURUSD)
BROKEN = "Connectivity between TWS and server is broken. It will be restored automatically."
IN_USE = SetFault(fault=faults.ClientIdInUse(times=2))
NOT_CONNECTED = Notice(code=504, text="Not connected")
ON_DEMAND = "Market data farm connection is inactive but should be available upon demand."
STEPS: dict[str, Action] = {
    "1100": Connectivity(code=1100),
    "1101": Connectivity(code=1101),
    "1102": Connectivity(code=1102),
    "2103": Farm(name="usfarm", code=2103, lose=True),
    "2104": Farm(name="usfarm", code=2104),
    "2103 of another": Farm(name="cashfarm", code=2103),
    "2104 of another": Farm(name="cashfarm", code=2104),
    "2108": Notice(code=2108, text=f"{ON_DEMAND}usfarm"),
    "2110": Notice(code=2110, text=BROKEN),
    "326": IN_USE,
    "504": NOT_CONNECTED,
    "cut": Cut(),
    "stop": Stop(roll_back_ids=True),
    "start": Start(),
}
SEEN: dict[str, list[tuple[str, bool, str]]] = {
    "servers lost, and back with what was subscribed": [
        ("1100", False, "disconnected"),
        ("1102", True, "live"),
    ],
    "servers lost, and back without what was subscribed": [
        ("1100", False, "disconnected"),
        ("1101", True, "live"),
    ],
    "servers lost twice before they are back": [
        ("1100", False, "disconnected"),
        ("2110", False, "disconnected"),
        ("1100", False, "disconnected"),
        ("1101", True, "live"),
    ],
    "TWS's own words for it, while quotes go on": [
        ("2110", False, "live"),
        ("1102", True, "live"),
    ],
    "a farm breaks and is back": [
        ("2103", True, "stale"),
        ("2104", True, "live"),
    ],
    "another farm breaks and is back": [
        ("2103 of another", True, "live"),
        ("2104 of another", True, "live"),
    ],
    "a farm is inactive": [("2108", True, "live")],
    "farms break while the servers are lost": [
        ("1100", False, "disconnected"),
        ("2103", False, "disconnected"),
        ("1101", True, "stale"),
        ("2104", True, "live"),
    ],
    "not connected": [("504", True, "live")],
    "the client id is in use after a crash": [
        ("326", True, "live"),
        ("cut", True, "live"),
    ],
    "a restart within the loss of the servers": [
        ("1100", False, "disconnected"),
        ("stop", False, "disconnected"),
        ("start", True, "live"),
    ],
}
SETTLED_S = 30.0
"""Reconnecting with an id in use takes the longest of it."""


@pytest.mark.usefixtures("flowing_time")
@pytest.mark.parametrize("name", SEEN)
async def test_what_was_seen_of_gateways_comes_to_this(home: Path, name: str) -> None:
    async with a_house(home) as house:
        await house.pass_by(120)
        await house.opens(an_order())
        for step, ready, state in SEEN[name]:
            await house.gateway.do(STEPS[step])
            await house.pass_by(SETTLED_S)
            assert (step, house.is_ready(), house.state_of(AAPL)) == (step, ready, state)
        assert (await house.life("o-1")).state == "open"


async def play(home: Path, steps: Sequence[tuple[str, float]]) -> None:
    """Have it happen, and then mend what is broken: all is as it was."""
    async with a_house(home, keep=BOTH) as house:
        await house.opens(an_order())
        for step, pause_s in steps:
            await do(house, step)
            await house.pass_by(pause_s)
        await mend(house)
        await house.pass_by(1)
        await house.until_so(partial(is_well, house), BACK_S)
        assert (await house.life("o-1")).state == "open"
    assert house.gateway.show().placed == ("o-1",)


def is_well(house: House) -> bool:
    """Whether orders can leave and both markets show their prices, and each daemon says so."""
    states = {house.link().state, house.data().state, house.daemon.report().state}
    return house.is_ready() and states == {"running"}


async def do(house: House, step: str) -> None:
    """One thing happens, if it can."""
    stopped = house.gateway._serving.cancel_called
    if stopped == (step == "start"):
        await house.gateway.do(STEPS[step])


async def mend(house: House) -> None:
    """The gateway is there, has IB, and its farms."""
    await do(house, "start")
    house.gateway.faults.clear()
    for step in ("1102", "2104", "2104 of another"):
        await do(house, step)


@settings(max_examples=12)
@given(st.lists(st.tuples(st.sampled_from(list(STEPS)), st.sampled_from([0, 1, 12])), max_size=8))
def test_whatever_order_it_comes_in_all_is_live_again_once_it_is_mended(
    steps: list[tuple[str, float]],
) -> None:
    time = FlowingTime()
    with (
        TemporaryDirectory(prefix="pk-", dir="/tmp") as home,
        pytest.MonkeyPatch.context() as patch,
    ):
        for variable, below in OURS.items():
            patch.setenv(variable, str(Path(home, below)))
        patch.setattr(clock, "wall_ns", partial(time.ns, WALL_NS))
        patch.setattr(clock, "boot_ns", partial(time.ns, BOOT_NS))
        time.run(partial(play, Path(home), steps))
