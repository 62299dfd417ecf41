"""Clients that aren't ours go through the fake gateway: what they decode, it said rightly."""

import json
import os
import sys
from pathlib import Path

import pytest
import trio

import tests.fakes.gateway.tours
from tests.fakes.gateway import Settings, a_gateway

ROOT = Path(__file__).parents[3]
TOURS = Path(tests.fakes.gateway.tours.__file__).parent
HERE = Path(sys.executable)
PATIENCE_S = 120

ASYNCIO, OFFICIAL = "asyncio_tour.py", "official_tour.py"
CLIENTS = {
    "ib_insync at 157": (ROOT / ".venv/tours/ib-insync/bin/python", [ASYNCIO, "ib_insync"], 157),
    "ib_insync at 176": (ROOT / ".venv/tours/ib-insync/bin/python", [ASYNCIO, "ib_insync"], 176),
    "ib_async at 176": (HERE, [ASYNCIO, "ib_async"], 176),
    "ib_async at 178": (HERE, [ASYNCIO, "ib_async"], 178),
    "ibapi 9.81 at 157": (ROOT / ".venv/tours/ibapi/bin/python", [OFFICIAL], 157),
    "ibapi 10.46 at 176": (ROOT / ".venv/tours/ibapi-10/bin/python", [OFFICIAL], 176),
}

CALLBACKS = frozenset(
    {
        "accountDownloadEnd",
        "accountSummary",
        "accountSummaryEnd",
        "accountUpdateMulti",
        "accountUpdateMultiEnd",
        "completedOrder",
        "completedOrdersEnd",
        "contractDetails",
        "contractDetailsEnd",
        "currentTime",
        "error",
        "execDetails",
        "execDetailsEnd",
        "headTimestamp",
        "historicalData",
        "historicalDataEnd",
        "historicalDataUpdate",
        "historicalTicks",
        "historicalTicksBidAsk",
        "historicalTicksLast",
        "managedAccounts",
        "marketDataType",
        "marketRule",
        "nextValidId",
        "openOrder",
        "openOrderEnd",
        "orderStatus",
        "position",
        "positionEnd",
        "realtimeBar",
        "securityDefinitionOptionParameter",
        "securityDefinitionOptionParameterEnd",
        "symbolSamples",
        "tickByTickAllLast",
        "tickByTickBidAsk",
        "tickByTickMidPoint",
        "tickOptionComputation",
        "tickReqParams",
        "tickSize",
        "tickSnapshotEnd",
        "tickString",
        "updateAccountTime",
        "updateAccountValue",
        "updatePortfolio",
    }
)
EITHER = ({"commissionReport", "commissionAndFeesReport"}, {"tickPrice", "priceSizeTick"})
"""Callbacks that libraries name differently."""
CODES = [110, 162, 202, 2104, 2107, 2158, 10167]
"""An order off the grid, a cancelled history, a cancelled order, farms, delayed data."""
SEEN = {
    "expiries": 4,
    "ambiguous": 2,
    "symbols": ["AAPL"],
    "bands": 5,
    "strikes": 5,
    "delayed": 3,
    "days": 5,
    "TRADES": 10,
    "BID_ASK": 10,
    "MIDPOINT": 10,
    "fills": [100, 100, 50],
    "open": [101],
    "margin": True,
    "completed": ["Cancelled", "Filled"],
    "executions": 3,
    "positions": [250],
    "summary": True,
}


@pytest.mark.parametrize(("python", "tour", "version"), CLIENTS.values(), ids=CLIENTS)
async def test_a_client_that_is_not_ours_decodes_all_that_the_gateway_says(
    python: Path, tour: list[str], version: int
) -> None:
    assert os.access(python, os.X_OK), f"{python} is missing: run make setup"
    settings = Settings(
        version=version,
        walk_s=0.05,
        no_live=frozenset({"XAUUSD"}),
        our_clients=frozenset({7}),
    )
    async with a_gateway(settings) as gateway:
        command = [str(python), str(TOURS / tour[0]), *tour[1:], str(gateway.port)]
        with trio.fail_after(PATIENCE_S):
            done = await trio.run_process(
                command, capture_stdout=True, capture_stderr=True, check=False
            )
    assert done.returncode == 0, done.stderr.decode()
    told = json.loads(done.stdout)
    assert told["undecoded"] == []
    assert told["codes"] == CODES
    assert set(told["calls"]) >= CALLBACKS
    assert all(set(told["calls"]) & names for names in EITHER)
    assert told["seen"].items() >= SEEN.items()
    assert told["seen"]["version"] == version
