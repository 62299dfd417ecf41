"""brokerd@ib keeps every promise of piker.Broker, at a gateway that plays IB's."""

from pathlib import Path

import pytest

from piker.brokers.ib import Settings
from piker.brokers.orderconformance import check_broker
from tests.brokers.ib.housed import a_house, ground_of
from tests.fakes.gateway import faults
from tests.fakes.gateway.gateway import Settings as GatewaySettings
from tests.fakes.gateway.server import a_gateway

pytestmark = pytest.mark.usefixtures("virtual_time")


@pytest.mark.parametrize(
    "said", [(), (faults.Repeat(),), (faults.Reorder(),), (faults.LateCommission(seconds=0.2),)]
)
@pytest.mark.parametrize(
    ("market", "size", "resting", "crossing"),
    [
        ("aapl.nasdaq.ib", "3", "100", "190.01"),
        ("eurusd.idealpro.ib", "20000", "1.05", "1.10005"),
    ],
)
async def test_brokerd_keeps_every_promise_at_a_gateway(
    tmp_path: Path,
    said: tuple[faults.AnyFault, ...],
    market: str,
    size: str,
    resting: str,
    crossing: str,
) -> None:
    playing = GatewaySettings(our_clients=frozenset({1}))
    async with a_gateway(playing, path=str(tmp_path / "gateway.sock")) as gateway:
        settings = Settings(orders=gateway.address, accounts={"main": "DU1234567"})
        async with a_house(gateway, settings) as house:
            gateway.faults.set(*said)
            ground = ground_of(house, market=market, size=size, resting=resting, crossing=crossing)
            report = await check_broker(ground, seconds=60.0)
    assert report.broken == ()
    assert {each.outcome for each in report.results} == {"ok"}
