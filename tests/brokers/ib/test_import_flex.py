"""A Flex report, from its file to emsd's ledger: the real daemons, at a gateway that plays IB's."""

import json
from collections.abc import AsyncIterator
from decimal import Decimal
from functools import partial
from pathlib import Path

import pytest
import trio

from piker.pikerd import supervise
from tests.cli.command import piker
from tests.cli.conftest import configure, no_process_is_left_behind, unheard
from tests.fakes.gateway import actions
from tests.fakes.gateway.gateway import Settings as GatewaySettings
from tests.fakes.gateway.server import Served, a_gateway

__all__ = ["no_process_is_left_behind"]

REPORT = Path(__file__).with_name("flex.xml")
SETTINGS = """
[accounts."ib.main"]
live = true
[providers.ib]
data = "{address}"
orders = "{address}"
accounts = {{ main = "U0000001" }}
"""


@pytest.fixture
async def gateway(home: Path) -> AsyncIterator[Served]:
    """A gateway whose account holds what the report adds up to, and the daemons that ask it."""
    playing = GatewaySettings(accounts=("U0000001",), our_clients=frozenset({1}))
    async with a_gateway(playing, path=str(home / "gateway.sock")) as served:
        configure(SETTINGS.format(address=served.address))
        await served.do(actions.SetPosition(market="AAPL", size=Decimal(70), cost=Decimal("187.5")))
        async with trio.open_nursery() as nursery:
            await nursery.start(partial(supervise, ["ib"], on_log=unheard))
            yield served
            nursery.cancel_scope.cancel()


async def test_a_report_explains_what_the_gateway_holds(gateway: Served) -> None:
    status, out, err = await piker("ledger", "import-flex", str(REPORT), "--json")
    assert (status, "left out: 1 execution of U00…02" in err) == (1, True), err
    (line,) = map(json.loads, out.splitlines())
    assert line["new"] == 8, line
    (refused,) = line["refused"]
    assert "as the venue's id of mnq.cme.20261218.ib, was 700000001" in refused["reason"]
    changes = {each["after"]["market"]: each for each in line["changes"]}
    apple = changes["aapl.nasdaq.ib"]
    assert Decimal(apple["before"]["average_price"]) == Decimal("187.5")
    assert Decimal(apple["after"]["average_price"]) == Decimal("190.2")
    assert Decimal(apple["after"]["realised"]) == Decimal(144)
    assert Decimal(changes["si.comex.20260928.sil.ib"]["after"]["realised"]) == Decimal(1375)
    assert {each["before"]["size"] == each["after"]["size"] for each in changes.values()} == {True}


async def test_the_same_report_again_is_known(gateway: Served) -> None:
    await piker("ledger", "import-flex", str(REPORT), "--json")
    _, out, _ = await piker("ledger", "import-flex", str(REPORT), "--json")
    (line,) = map(json.loads, out.splitlines())
    assert (line["new"], line["known"], line["changes"]) == (0, 8, [])
    status, out, err = await piker("ledger", "sync", "ib.main")
    assert (status, err) == (0, "")
