"""Bars filled back from a provider, on a real systemd: the real units before a fake gateway."""

import time

import pytest
from deb import Package
from machine import Machine
from msgspec import json

from piker.core.bars import NS
from piker.interfaces.data import BackfillReply
from piker.interfaces.store import GapsReply
from tests.system.attacking import OF_A_USER, OF_THE_SYSTEM, Manager
from tests.system.gateways import MARKET, House

pytestmark = pytest.mark.system
both = pytest.mark.parametrize("release", ["bookworm", "trixie"])
managers = pytest.mark.parametrize("manager", [OF_A_USER, OF_THE_SYSTEM], ids=["user", "system"])

UNIT = "datad@ib"
MINUTE_NS = 60 * NS


@pytest.fixture
def house(machine: Machine, manager: Manager, package: Package) -> House:
    """The suite with a gateway, and with piker-history."""
    machine.install(package.history)
    house = House.on(machine, manager)
    house.systemctl("start", UNIT)
    return house


def stop_in_the_middle(house: House, from_ns: int) -> BackfillReply:
    """Have minutes filled back to then, and stop datad when it has some of them; how far it was."""
    with house.asking("datad", "ib") as talk:
        call = {"market": MARKET, "period_s": 60, "from_ns": from_ns}
        talk.say("piker.Data.Backfill", call, more=True)
        while True:
            reply = talk.hear()["parameters"]
            if reply["frames"]:
                house.systemctl("stop", UNIT)
                return json.decode(json.encode(reply), type=BackfillReply)


def ended(house: House, *options: str) -> BackfillReply:
    """What is told last of a backfill that is followed."""
    told = house.piker("history", "backfill", MARKET, *options, "--json")
    return json.decode(told.splitlines()[-1], type=BackfillReply)


def lacking(house: House) -> GapsReply:
    """What is missing of the minutes that are kept."""
    told = house.piker("history", "gaps", MARKET, "--period", "1m", "--json")
    return json.decode(told, type=GapsReply)


@both
@managers
def test_a_backfill_by_hand_is_seen_to_its_end(house: House) -> None:
    reply = ended(house, "--period", "1m", "--from", "2h")
    assert (reply.state, reply.share) == ("done", 1.0)
    assert lacking(house).gaps == ()
    assert house.piker("history", "audit") == "all is well\n"


@managers
def test_a_backfill_goes_on_after_a_stop(house: House) -> None:
    from_ns = (time.time_ns() // MINUTE_NS - 10 * 1440) * MINUTE_NS
    begun = stop_in_the_middle(house, from_ns)
    house.systemctl("start", UNIT)
    reply = ended(house, "--period", "1m")
    assert (begun.state, begun.share < 1, reply.state) == ("running", True, "done")
    kept = lacking(house)
    assert (kept.from_ns, [gap for gap in kept.gaps if gap.from_ns < begun.to_ns]) == (from_ns, [])
    assert house.piker("history", "audit") == "all is well\n"
    assert house.gateway.show().breaches == ()
