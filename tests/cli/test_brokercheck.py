"""piker brokercheck: what a provider supports, and what is broken."""

import json

from tests.cli.command import piker
from tests.cli.conftest import configure


async def test_a_provider_that_keeps_the_contract_is_ok() -> None:
    configure("[providers.replay]\nspeed = 50\n")
    status, out, err = await piker("brokercheck", "replay", "eurusd.spot.replay")
    assert (status, err) == (0, "")
    *checks, last = out.splitlines()
    assert last == "replay: ok"
    assert {line.split()[0] for line in checks} == {"ok", "--"}


async def test_json_is_an_object_a_check() -> None:
    configure("[providers.replay]\nspeed = 50\n")
    status, out, _ = await piker("brokercheck", "replay", "if2312.cffex.replay", "--json")
    told = [json.loads(line) for line in out.splitlines()]
    assert status == 0
    assert {each["outcome"] for each in told} == {"ok", "unsupported"}
    assert {"endpoint", "check", "outcome"} <= set(told[0])


async def test_an_unknown_provider_is_refused_with_those_there_are() -> None:
    said = "piker: No such provider is installed (provider: nonsense, known: ib, replay, sim)\n"
    assert await piker("brokercheck", "nonsense") == (1, "", said)
