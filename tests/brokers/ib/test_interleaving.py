"""What is asked without a number, by many at once, of whom some leave: no skew, and no hang.

The gateway's book only grows, and its clock goes on, so that an answer shows when it was made: one
that was made before its question was asked belongs to another.
"""

from collections.abc import Callable, Sequence
from decimal import Decimal
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from trio.testing import MockClock

from piker import clock
from piker.brokers.ib.messages import (
    AskOpenOrders,
    AskPositions,
    AskTime,
    Holds,
    OrderIs,
    Said,
    TimeIs,
)
from piker.brokers.ib.questions import Asked
from piker.brokers.ib.session import Session, open_session
from tests.conftest import BOOT_NS, WALL_NS, _virtual_ns
from tests.fakes.gateway import actions, faults
from tests.fakes.gateway.server import Served, a_gateway

CLIENT = 1
LONGEST_S = 100.0
"""Virtual: nobody waits for longer."""
DELAYS_S = {"ReqPositions": 3.0, "ReqCurrentTime": 2.0, "ReqAllOpenOrders": 4.0}


class Step(NamedTuple):
    """Somebody asks, after a pause; and leaves after a while, if it takes so long."""

    asked: str
    pause_s: float
    patience_s: float


def held(said: Sequence[Said]) -> int:
    """The newest size: changes are told between the parts of a list that is late."""
    return int(max((each.size for each in said if isinstance(each, Holds)), default=0))


def orders(said: Sequence[Said]) -> int:
    """How many orders are open."""
    return len({each.perm_id for each in said if isinstance(each, OrderIs)})


def seconds(said: Sequence[Said]) -> int:
    """The gateway's clock since the test began."""
    (time,) = [each for each in said if isinstance(each, TimeIs)]
    return time.epoch_s - WALL_NS // 10**9


class Gateway:
    """What there is at the gateway: more is held, and one order more is open, at each step."""

    def __init__(self, served: Served) -> None:
        self._served = served
        self._steps = 0

    async def grow(self) -> None:
        """A step."""
        self._steps += 1
        more = actions.SetPosition(market="AAPL", size=Decimal(self._steps), cost=Decimal(1))
        await self._served.do(more)
        order = actions.PlaceByHand(
            market="AAPL", action="BUY", size=Decimal(1), limit=Decimal(1), order_id=self._steps
        )
        await self._served.do(order)

    def now(self, asked: str) -> int:
        """What an answer made now would show."""
        return int(trio.current_time()) if asked == "time" else self._steps


ASKED: dict[str, tuple[Asked, Callable[[Sequence[Said]], int]]] = {
    "positions": (AskPositions(), held),
    "time": (AskTime(), seconds),
    "orders": (AskOpenOrders(), orders),
}


async def ask(gateway: Gateway, session: Session, step: Step, left: list[Step]) -> None:
    """Ask once, and judge the answer."""
    request, shows = ASKED[step.asked]
    before = gateway.now(step.asked)
    with trio.move_on_after(step.patience_s):
        answer = shows(await session.ask(request))
        assert before <= answer <= gateway.now(step.asked)
        left.remove(step)
        return
    left.remove(step)


async def play(path: str, steps: Sequence[Step], slow: frozenset[str]) -> None:
    """Have all of it happen; in the end each question is answered at once."""
    async with a_gateway(path=path) as served:
        gateway, left = Gateway(served), list(steps)
        served.faults.set(*(faults.Delay(request=e, seconds=DELAYS_S[e]) for e in sorted(slow)))
        async with open_session(served.address, CLIENT, lambda said: None) as session:
            with trio.fail_after(LONGEST_S):
                async with trio.open_nursery() as nursery:
                    for step in steps:
                        await trio.sleep(step.pause_s)
                        await gateway.grow()
                        nursery.start_soon(ask, gateway, session, step, left)
            served.faults.clear()
            for name in ASKED:
                await ask(gateway, session, last := Step(name, 0, LONGEST_S), left := [last])
            assert left == []


STEPS = st.builds(
    Step,
    st.sampled_from(sorted(ASKED)),
    st.sampled_from([0.0, 0.3, 1.0, 5.0]),
    st.sampled_from([0.0, 0.2, 1.5, LONGEST_S, LONGEST_S]),
)


@settings(max_examples=40)
@given(st.lists(STEPS, max_size=12), st.frozensets(st.sampled_from(sorted(DELAYS_S))))
def test_no_answer_is_older_than_its_question_and_nobody_waits_for_ever(
    steps: list[Step], slow: frozenset[str]
) -> None:
    with (
        TemporaryDirectory(prefix="pk-", dir="/tmp") as home,
        pytest.MonkeyPatch.context() as patch,
    ):
        patch.setattr(clock, "wall_ns", partial(_virtual_ns, WALL_NS))
        patch.setattr(clock, "boot_ns", partial(_virtual_ns, BOOT_NS))
        path = str(Path(home, "gateway.sock"))
        trio.run(play, path, steps, slow, clock=MockClock(autojump_threshold=0))
