"""A gateway of Interactive Brokers, with brokerd@ib for orders and datad@ib for prices on it."""

import json
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from decimal import Decimal
from pathlib import Path
from random import Random

from piker import clock, paths
from tests.fakes import gateway
from tests.fakes.gateway import actions, faults, schedule
from tests.fakes.gateway.actions import (
    Action,
    ClearFaults,
    Connectivity,
    Cut,
    Farm,
    SetFault,
    Start,
    Stop,
)
from tests.fakes.gateway.catalog import Instrument, catalog
from tests.fakes.gateway.faults import (
    ClientIdInUse,
    CloseInHandshake,
    DeafAfterLogin,
    Delay,
    Drop,
    Garble,
    HangUp,
    LateCommission,
    Mute,
    NoCommission,
    Refuse,
    Reorder,
    Repeat,
    SilentLogin,
    Swallow,
)
from tests.torture.books import gateway_book, gateway_file
from tests.torture.venues import TICK, Away, Kind, Venue

ACCOUNT, CLIENT, DATA_CLIENT = "DU1234567", 1, 100
WALK = 40
"""Steps from its first price that a market goes, at most."""
LISTED = 500
"""Ended orders that the gateway lists: of a day of torture it would have thousands."""


def _traded() -> dict[str, Instrument]:
    """Contracts with a grid of TICK, by name: three futures, one of a later month, and a pair."""
    known = catalog(schedule.at(clock.wall_ns()).date(), always_open=True)
    es, mnq = ([each for each in known if each.symbol == root][1:] for root in ("ES", "MNQ"))
    futures = {
        f"{each.symbol}.CME.{each.expiry}.ib".lower(): each for each in (es[0], mnq[0], es[1])
    }
    bitcoin = next(each for each in known if each.symbol == "BTC")
    return {**futures, "btcusd.paxos.ib": bitcoin}


CONTRACTS = _traded()
NAMES = {each.con_id: name for name, each in CONTRACTS.items()}


class GatewayOfIb(Venue):
    """It makes the prices that datad tells, too: they walk by the dice of this."""

    def __init__(self, remote: gateway.Remote) -> None:
        super().__init__(remote)
        self._remote = remote
        self._random = Random(CLIENT)
        self._steps = dict.fromkeys(CONTRACTS, 0)

    async def move(self, price: Decimal, market: str = "") -> None:
        """A market trades at a price."""
        contract = CONTRACTS[market or IB.market]
        await self._do(actions.Move(market=str(contract.con_id), price=price))

    async def step(self, prices: Mapping[str, Decimal]) -> None:
        """Each market goes up, down, or trades where it did."""
        for market, contract in CONTRACTS.items():
            steps = self._steps[market] + self._random.choice((-1, 0, 1))
            self._steps[market] = min(WALK, max(-WALK, steps))
            await self.move(contract.price + steps * TICK, market)

    async def get_wrong(self, what: Sequence[Action]) -> None:
        """These things happen at it, one after the other."""
        for each in what:
            await self._do(each)

    async def calm(self) -> None:
        """No fault, and all servers are there."""
        await self.get_wrong(CALM)

    def complaints(self) -> Sequence[str]:
        """What it wrote down, over its restarts."""
        return _breaches().read_text().splitlines() if _breaches().exists() else ()

    async def _do(self, action: Action) -> None:
        try:
            await self._remote.do(action)
        except gateway.Away as error:
            raise Away(str(error)) from error


def _breaches() -> Path:
    return paths.state_directory() / "gateway-breaches"


@asynccontextmanager
async def _opened() -> AsyncIterator[Venue]:
    settings = gateway.Settings(
        accounts=(ACCOUNT,),
        our_clients=frozenset({CLIENT}),
        data_clients=frozenset({DATA_CLIENT}),
        state=str(gateway_file()),
        breaches=str(_breaches()),
        ended=LISTED,
        days_told=2,  # a kill at midnight, too, leaves evidence
    )
    async with gateway.a_remote_gateway(paths.runtime_directory(), settings) as remote:
        yield GatewayOfIb(remote)


def _settings(rate_hz: float) -> str:
    """How often prices move is not the provider's to set."""
    address = json.dumps(f"unix:{paths.runtime_directory() / 'gateway.sock'}")
    accounts = f'accounts = {{ main = "{ACCOUNT}" }}'
    return f"[providers.ib]\ndata = {address}\norders = {address}\n{accounts}"


def a_fault(random: Random) -> Sequence[Action]:
    """Something that a gateway gets wrong: what it is asked, what it says, or who may come in."""
    wrong = random.choice(WRONGS)
    return wrong(random) if callable(wrong) else wrong


def _set(fault: faults.AnyFault) -> Sequence[Action]:
    return (SetFault(fault=fault),)


def _few(random: Random) -> int:
    return random.randint(1, 3)


def _seconds(random: Random) -> float:
    return random.uniform(0.1, 2.0)


ORDERS = ("PlaceOrder", "CancelOrder")
REFUSAL = "Order rejected - reason:No trading permissions."
WRONGS: tuple[Sequence[Action] | Callable[[Random], Sequence[Action]], ...] = (
    lambda random: _set(Drop(request=random.choice(ORDERS), times=_few(random))),
    lambda random: _set(Swallow(times=_few(random))),
    lambda random: _set(Delay(request="*", seconds=_seconds(random), times=_few(random))),
    lambda random: _set(Refuse(request="PlaceOrder", code=201, text=REFUSAL, times=_few(random))),
    lambda random: _set(HangUp(request=random.choice(ORDERS), times=1)),
    lambda random: _set(HangUp(request=random.choice(ORDERS), done=True, times=1)),
    lambda random: _set(Mute(times=random.randint(1, 20))),
    lambda random: _set(Repeat(times=_few(random))),
    lambda random: _set(Reorder(times=_few(random))),
    lambda random: _set(LateCommission(seconds=_seconds(random), times=_few(random))),
    lambda random: _set(NoCommission(times=_few(random))),
    lambda random: _set(Garble(how=random.choice(("short", "words", "unknown", "half")), times=1)),
    (Cut(), *_set(CloseInHandshake(times=2))),
    (Cut(), *_set(ClientIdInUse(times=2))),
    (Cut(), *_set(SilentLogin(times=1))),
    (Cut(), *_set(DeafAfterLogin(times=1))),
    (Connectivity(code=1100),),
    (Connectivity(code=1101),),
    (Connectivity(code=1102),),
    (Connectivity(code=1100), Connectivity(code=1102)),
    (Farm(name="usfuture", code=2103, lose=True),),
    (Farm(name="usfuture", code=2104),),
    (Stop(roll_back_ids=True), Start()),
)
"""All that it can get wrong and be connected to again, and its servers with it."""
CALM = (ClearFaults(), Connectivity(code=1102), Farm(name="usfuture", code=2104))


IB = Kind(
    provider="ib",
    markets=tuple(CONTRACTS),
    price=next(iter(CONTRACTS.values())).price,
    settings=_settings,
    opened=_opened,
    book=lambda: gateway_book(CLIENT, NAMES.__getitem__),
    a_fault=a_fault,
    absence_proves=False,
)
