"""Interactive Brokers on a real systemd: the real units before a gateway that plays theirs."""

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from deb import Package, next_version
from machine import USER, Machine, wait_until

from piker import log
from tests.fakes.gateway.actions import Move
from tests.system import clients
from tests.system.attacking import OF_A_USER, OF_THE_SYSTEM, Manager, install
from tests.system.conftest import prepared
from tests.system.gateways import HOSTILE_REF, MARKET, SYMBOL, Gateway, House
from tests.system.trading import life_of

pytestmark = pytest.mark.system

DAEMONS = ("emsd", "brokerd@ib", "datad@ib", "iblane@live", "ibgw@live")
USUAL = Decimal(190)


def an_order(number: int, side: str = "buy", limit: str = "100") -> dict[str, Any]:
    """One for 5 shares; at 100 it rests."""
    return {
        "oid": f"01900000-0000-7000-8000-{number:012x}",
        "account": "ib.main",
        "market": MARKET,
        "side": side,
        "size": "5",
        "kind": "limit",
        "limit": limit,
    }


def a_dark_order(number: int, trigger: str) -> dict[str, Any]:
    """One that sells when the market is above that."""
    dark = {"kind": "dark", "limit": None, "trigger": trigger, "when": "above"}
    return {**an_order(number, "sell"), **dark}


RESTING, FILLED, DARK = an_order(1), an_order(2, limit="200"), a_dark_order(3, "250")


def at_work(machine: Machine, manager: Manager) -> House:
    """The suite with a gateway, and an order that rests, one that is filled and a dark one."""
    house = House.on(machine, manager)
    house.systemctl("start", "datad@ib")
    house.submit(RESTING, "open")
    house.submit(FILLED, "filled")
    house.submit(DARK, "held")
    return house


@pytest.fixture(scope="module", params=[OF_A_USER, OF_THE_SYSTEM], ids=["user", "system"])
def house(request: pytest.FixtureRequest) -> Iterator[House]:
    """One at work, for all tests that leave it so."""
    package = prepared("bookworm")
    with Machine([package.layer, package.image.root]) as machine:
        yield at_work(machine, request.param)


def standing(house: House) -> Any:
    """How the orders stand, as emsd has them, and all that the gateway has in its book."""
    lives = [life_of(house.machine, each["oid"], house.sockets) for each in (RESTING, FILLED, DARK)]
    book = house.gateway.show()
    return {
        "emsd": [{name: life[name] for name in ("order", "state", "filled")} for life in lives],
        "gateway": (book.orders, book.executions, book.positions),
    }


def test_piker_watch_shows_live_quotes(house: House) -> None:
    lines = house.piker("watch", MARKET, "--json", "--for", "2s").splitlines()
    told = [json.loads(line) for line in lines]
    assert {each["market"] for each in told} == {MARKET}
    assert any(each["ticks"] for each in told)


def test_ledger_and_positions_have_what_was_filled(house: House) -> None:
    assert FILLED["oid"] in house.piker("ledger", "show", "--json")
    assert house.piker("positions").count(MARKET) == 1


def test_piker_status_asks_nothing_of_what_leads_to_the_gateway(house: House) -> None:
    house.systemctl("start", *DAEMONS)
    told = house.piker("status")
    assert "lane to ibgw@live: 1 connection" in told
    house.machine.run(["journalctl", "--sync"])
    refused = ["journalctl", "--quiet", f"MESSAGE_ID={log.LANE_REFUSED}"]
    assert house.machine.run(refused, check=False).stdout == ""
    assert house.gateway.show().breaches == ()


@pytest.mark.parametrize(("number", "unit"), list(enumerate(DAEMONS, 10)))
def test_a_daemon_that_is_killed_loses_and_doubles_no_order(
    house: House, number: int, unit: str
) -> None:
    before = standing(house)
    house.kill(unit)
    house.await_price(USUAL + number)
    house.submit(an_order(number), "open")
    after = standing(house)
    assert after["emsd"] == before["emsd"]
    assert_one_more(house, before, after, number)


def assert_one_more(house: House, before: Any, after: Any, number: int) -> None:
    """The gateway has what it had, and an order more; nobody broke a rule of its protocol."""
    orders, *rest = before["gateway"]
    now, *rest_now = after["gateway"]
    assert now[:-1] == orders
    assert now[-1].ref == an_order(number)["oid"]
    assert rest_now == rest
    assert house.gateway.show().breaches == ()


def test_a_gateway_that_is_killed_loses_and_doubles_no_order(house: House) -> None:
    before = standing(house)
    house.gateway.kill()
    house.await_price(USUAL + 20)
    house.submit(an_order(20), "open")
    after = standing(house)
    assert after["emsd"] == before["emsd"]
    assert_one_more(house, before, after, 20)


def test_a_dark_order_fires_after_a_kill_of_emsd(house: House) -> None:
    dark = a_dark_order(30, "220")
    house.submit(dark, "held")
    house.kill("emsd")
    house.gateway.do(Move(market=SYMBOL, price=Decimal(221)))
    house.await_state(dark, "filled")
    house.await_price(USUAL)
    assert [each.ref for each in house.gateway.show().orders].count(dark["oid"]) == 1


def test_nothing_but_what_leads_to_the_gateway_has_a_network_or_a_credential(house: House) -> None:
    house.systemctl("start", *DAEMONS)
    ours = house.machine.run(["readlink", "/proc/1/ns/net"]).stdout
    links = {unit: f"/proc/{pid}/ns/net" for unit, pid in house.pids(*DAEMONS).items()}
    there = {unit: house.machine.run(["readlink", link]).stdout for unit, link in links.items()}
    assert {unit for unit, network in there.items() if network == ours} == {"ibgw@live"}
    families = {unit: house.show(unit, "RestrictAddressFamilies") for unit in DAEMONS}
    assert {unit for unit, told in families.items() if "INET" in told} == {"ibgw@live"}
    assert house.credentials("brokerd@ib") == {"token": "none", "piker-problems": "none"}


@pytest.mark.parametrize("unit", DAEMONS[1:])
def test_systemd_finds_no_service_more_exposed_than_others(house: House, unit: str) -> None:
    """A network is 0.6 or 0.7 of 10."""
    most = {"user": 14, "system": 5}[house.manager.name]
    threshold = f"--threshold={most + {'ibgw@live': 7}.get(unit, 0)}"
    analyze = ["systemd-analyze", f"--{house.manager.name}", "--no-pager", threshold]
    house.machine.run([*analyze, "security", f"{unit}.service"], user=USER)


def test_a_hostile_datad_gets_no_order_to_the_gateway_and_reaches_nobody_but_the_lane(
    house: House,
) -> None:
    with house.turned() as outcomes:
        tried = {each.attack: each.got or each.stopped for each in outcomes}
        assert tried.pop("order-by-lane") == "Stopped: let in, and hung up on at the order"
        assert tried.pop("order-by-tcp").endswith("Address family not supported by protocol")
        assert len(tried) == 5
        assert [each for each in tried.values() if "No such file or directory" not in each] == []
        assert HOSTILE_REF not in house.gateway.show().placed
        alarm = house.journal("iblane@live")[-1]
        assert "placeOrder (3): it is no request for market data" in str(alarm["MESSAGE"])
        assert alarm["MESSAGE_ID"] == log.LANE_REFUSED
    house.await_price(USUAL)


def test_the_same_order_gets_there_from_outside_of_the_sandbox(house: House) -> None:
    """By the port, which the gateway guards, and in user mode by a socket of one's own."""
    install(house.machine)
    tried = json.loads(house.machine.run(house.attack, user=USER).stdout)
    placed = {each["attack"] for each in tried if each["got"] == "placed"}
    ways = {"user": {"order-by-ibgw", "order-by-tcp"}, "system": {"order-by-tcp"}}
    assert placed == ways[house.manager.name]
    assert house.gateway.show().placed.count(HOSTILE_REF) == len(placed)


def test_who_forgot_something_is_told_what(machine: Machine) -> None:
    house = House(machine, OF_A_USER, Gateway(machine))
    house.configure()
    house.systemctl("start", "datad@ib")
    await_word(house, "datad@ib", "systemctl --user enable --now iblane@live.socket")
    house.enable("live")
    await_word(house, "datad@ib", "at once: it doesn't run, ibgw has another address")
    assert "/no-GATEWAY-is-set" in house.systemctl("status", "ibgw@live")
    house.lead("live", "localhost:4001")
    house.systemctl("restart", "ibgw@live")
    await_word(house, "ibgw@live", "Failed to resolve host")
    house.lead("live", house.gateway.address)
    house.systemctl("restart", "ibgw@live")
    await_word(house, "ibgw@live", "Connection refused")
    house.gateway.install()
    house.await_price(USUAL)


def await_word(house: House, unit: str, word: str) -> None:
    """Wait until a unit of the user's has said so."""
    house.machine.await_entry(unit, lambda each: word in str(each["MESSAGE"]))


def test_market_data_may_come_from_another_gateway_than_orders_go_to(machine: Machine) -> None:
    house, paper = House.on(machine, OF_A_USER), Gateway(machine, "paper", ("DU7654321",))
    house.reach(paper)
    house.configure('data = "paper"\n')
    house.systemctl("start", "datad@ib")
    replace(house, gateway=paper).await_price(Decimal(300))
    house.submit(RESTING, "open")
    assert [each.ref for each in house.gateway.show().orders] == [RESTING["oid"]]
    assert (house.gateway.show().clients, paper.show().clients) == ((1,), (100,))


def test_an_upgrade_loses_no_order_and_no_call(
    machine: Machine, package: Package, tmp_path: Path
) -> None:
    house = at_work(machine, OF_A_USER)
    before, pids = standing(house), house.pids(*DAEMONS)
    asked = [f"{house.sockets}/{each}.sock" for each in ("emsd/view", "emsd/trade", "datad/ib")]
    clients.start_asker(machine, asked)
    machine.install(next_version(package.fast, tmp_path))
    wait_until(lambda: not {*house.pids(*DAEMONS).values()} & {"0", *pids.values()}, "all, anew")
    house.await_price(USUAL + 1)
    house.submit(an_order(4), "open")
    after = standing(house)
    assert after["emsd"] == before["emsd"]
    assert_one_more(house, before, after, 4)
    assert steps(house, "Stopping")[-3:] == ["emsd", "brokerd@ib", "ibgw@live"]
    assert steps(house, "Starting")[-3:] == ["ibgw@live", "brokerd@ib", "emsd"]
    assert steps(house, "Starting")[-5:-3] == ["iblane@live", "datad@ib"]
    assert clients.failures(machine) == []


def steps(house: House, verb: str) -> list[str]:
    """Of which of the daemons a user's manager said so, in order."""
    told = house.machine.journal_of_user()
    return re.findall(rf"^{verb} ({'|'.join(DAEMONS)})\.service", told, re.MULTILINE)


def test_a_power_cut_loses_and_doubles_no_order(machine: Machine) -> None:
    house = at_work(machine, OF_A_USER)
    before = standing(house)
    machine.reboot(clean=False)
    wait_until(lambda: house.show("emsd", "ActiveState") == "active", "emsd, by resume")
    house.gateway.start()
    house.await_price(USUAL + 1)
    house.submit(an_order(4), "open")
    after = standing(house)
    assert after["emsd"] == before["emsd"]
    assert_one_more(house, before, after, 4)


def test_a_purge_leaves_nothing_that_leads_to_a_gateway(machine: Machine) -> None:
    at_work(machine, OF_THE_SYSTEM)
    machine.run(["dpkg", "--purge", "piker"])
    assert [each for each in machine.processes() if "piker." in each or "proxyd" in each] == []
    assert machine.run(["find", "/run/piker", "-type", "s"]).stdout == ""
    assert machine.run(["find", "/etc/systemd/system", "-name", "ib*@*"]).stdout == ""
    assert not machine.exists("/etc/piker")
