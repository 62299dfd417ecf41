"""The contract of providers, at a gateway that is a process of its own: all that datad needs."""

from dataclasses import replace
from pathlib import Path

import pytest

from piker.brokers.conformance import check_provider
from piker.brokers.ib import PROVIDER, Settings
from tests.fakes import gateway as fake
from tests.fakes.gateway import a_gateway_process
from tests.fakes.manager import PATIENCE_S

DATA = replace(PROVIDER, endpoints={"datad": PROVIDER.endpoints["datad"]})
WALKS = fake.Settings(walk_s=0.05, data_clients=frozenset({100}))


@pytest.mark.parametrize(
    "names",
    [
        ["aapl.nasdaq.ib", "eurusd.idealpro.ib", "mnq.cme.ib"],
        ["spx.cboe.ib", "btcusd.paxos.ib", "xauusd.smart.ib", "san.bm.ib"],
    ],
)
async def test_ib_keeps_every_promise_of_a_provider_of_data(home: Path, names: list[str]) -> None:
    async with a_gateway_process(home, WALKS):
        settings = Settings(data=f"unix:{home / 'gateway.sock'}")
        report = await check_provider(DATA, settings, names, PATIENCE_S)
    assert report.broken == ()
    checks = [each.check for each in report.results]
    assert sum(check.startswith("describes") for check in checks) == len(names)
    assert sum(check.startswith("gives bars of ") for check in checks) == 2 * len(names)
