"""Orders in the sandboxes of a real systemd: who is handed what, panic, and resume."""

import json

import pytest
from machine import Machine, wait_until

from piker.core.description import describe
from piker.interfaces.orders import ORDERS, ORDERS_VIEW
from tests.system.asking import SOCKETS, configure, files, is_active, start_and_enter
from tests.system.dialogue import Dialogue
from tests.system.trading import (
    BUY,
    DARK,
    LIVE,
    OIDS,
    RESTING,
    STATE,
    asking,
    await_state,
    life_of,
    open_venue,
    submit,
)

pytestmark = pytest.mark.system


def description(talk: Dialogue) -> str:
    """What a socket says that it serves."""
    call = "org.varlink.service.GetInterfaceDescription"
    reply = talk.ask(call, {"interface": "piker.Orders"})
    return str(reply["parameters"]["description"])


@pytest.mark.parametrize("first", ["view", "trade"])
def test_a_connection_to_either_socket_of_emsd_starts_it(machine: Machine, first: str) -> None:
    machine.systemctl_user("start", "emsd.socket", "emsd-trade.socket")
    assert not is_active(machine, "emsd")
    with asking(machine, "emsd", first) as talk:
        assert talk.ask("piker.Service.Health", {})["parameters"]["state"] == "running"
    with asking(machine, "emsd", "view") as view, asking(machine, "emsd", "trade") as trade:
        assert description(view) == describe(ORDERS_VIEW)
        assert description(trade) == describe(ORDERS)
        refused = view.ask("piker.Orders.Halt", {"reason": "may I?"})
    assert refused["error"] == "org.varlink.service.MethodNotFound"


def test_emsd_sees_its_state_and_whom_it_may_connect_to_and_no_network(machine: Machine) -> None:
    inside = start_and_enter(machine, "emsd")
    assert files(machine, inside, SOCKETS) == ["brokerd", "datad", "paperboi"]
    assert files(machine, inside, STATE) == ["piker", "piker-credentials", "piker-emsd"]
    assert machine.run([*inside, "touch", f"{STATE}/piker-emsd/x"], check=False).returncode == 0
    assert machine.run([*inside, "touch", f"{STATE}/piker/x"], check=False).returncode != 0
    assert machine.run(["stat", "-c", "%a", f"{STATE}/piker-emsd"]).stdout == "700\n"


def test_paperboi_sees_its_state_and_the_prices(machine: Machine) -> None:
    inside = start_and_enter(machine, "paperboi@replay")
    assert files(machine, inside, SOCKETS) == ["datad"]
    assert files(machine, inside, STATE) == ["piker", "piker-credentials", "piker-paperboi"]


def credential(machine: Machine, inside: list[str]) -> str:
    """What brokerd@sim is given; found by its environment, since the manager chooses the place."""
    pid = machine.show("brokerd@sim", "MainPID")
    environment = machine.run(["cat", f"/proc/{pid}/environ"]).stdout.split("\0")
    (place,) = [each for each in environment if each.startswith("CREDENTIALS_DIRECTORY=")]
    return machine.run([*inside, "cat", f"{place.partition('=')[2]}/token"]).stdout


def test_brokerd_alone_is_given_the_secret_and_sees_not_where_it_lies(machine: Machine) -> None:
    machine.push(f"{STATE}/piker-credentials/sim/token", "a secret")
    inside = start_and_enter(machine, "brokerd@sim")
    assert credential(machine, inside) == "a secret"
    assert files(machine, inside, SOCKETS) == ["sim-venue"]
    assert files(machine, inside, STATE) == ["piker", "piker-credentials"]
    assert files(machine, inside, f"{STATE}/piker-credentials") == []
    assert files(machine, inside, "/run/user/1000/credentials") == ["brokerd@sim.service"]
    emsd = start_and_enter(machine, "emsd")
    assert files(machine, emsd, "/run/user/1000") == ["piker", "systemd"]


def test_without_a_secret_brokerd_says_so_and_does_not_spin(machine: Machine) -> None:
    machine.systemctl_user("start", "brokerd@sim.socket")
    for _ in range(3):
        with asking(machine, "brokerd", "sim") as talk:
            answer = talk.ask("piker.Broker.CancelAll", {"scope": "all"})
        assert answer["error"] == "piker.Broker.CredentialRefused"
    assert machine.show("brokerd@sim", "NRestarts") == "0"


def test_a_paper_order_is_filled(machine: Machine) -> None:
    machine.systemctl_user("start", "datad@replay")
    answer = submit(machine, BUY)
    assert "error" not in answer, answer
    await_state(machine, OIDS[0], "filled")
    assert is_active(machine, "paperboi@replay")
    assert not is_active(machine, "brokerd@replay")


@pytest.fixture
def venue(machine: Machine) -> Machine:
    """A machine on which the simulated venue runs."""
    open_venue(machine)
    return machine


def test_a_live_order_reaches_the_venue_with_the_secret(venue: Machine) -> None:
    assert "error" not in submit(venue, LIVE)
    await_state(venue, OIDS[4], "open")
    assert is_active(venue, "brokerd@sim")


def test_panic_cancels_at_the_venue_with_emsd_dead_and_brokerd_killed(venue: Machine) -> None:
    assert "error" not in submit(venue, LIVE)
    await_state(venue, OIDS[4], "open")
    venue.systemctl_user("stop", "emsd", "emsd.socket", "emsd-trade.socket")
    venue.systemctl_user("kill", "--signal=KILL", "brokerd@sim")
    venue.systemctl_user("start", "piker-panic@sim")
    with asking(venue, "brokerd", "sim") as talk:
        assert talk.ask("piker.Broker.Snapshot", {"since_ns": 0})["parameters"]["orders"] == []


def test_a_killed_emsd_has_its_orders_again(machine: Machine) -> None:
    machine.systemctl_user("start", "datad@replay")
    assert "error" not in submit(machine, RESTING)
    await_state(machine, OIDS[1], "open")
    machine.systemctl_user("kill", "--signal=KILL", "emsd")
    await_state(machine, OIDS[1], "open")
    assert machine.show("emsd", "NRestarts") == "1"


def test_a_plain_kill_restarts_emsd_while_something_is_open(machine: Machine) -> None:
    machine.systemctl_user("start", "datad@replay")
    assert "error" not in submit(machine, DARK)
    await_state(machine, OIDS[2], "held")
    machine.systemctl_user("kill", "emsd")
    wait_until(lambda: machine.show("emsd", "NRestarts") == "1", "a restart")
    await_state(machine, OIDS[2], "held")


@pytest.mark.parametrize("emsd", ["alive", "dead"])
def test_panic_halts_and_cancels_everything(machine: Machine, emsd: str) -> None:
    machine.systemctl_user("start", "datad@replay")
    assert "error" not in submit(machine, RESTING)
    await_state(machine, OIDS[1], "open")
    machine.systemctl_user(*{"alive": ["start", "emsd"], "dead": ["stop", "emsd"]}[emsd])
    machine.systemctl_user("start", "piker-panic@replay")
    latch = json.loads(machine.run(["cat", f"{STATE}/piker-emsd/halt"]).stdout)
    assert latch["reason"] == "panic at replay"
    with asking(machine, "paperboi", "replay") as talk:
        assert talk.ask("piker.Broker.Snapshot", {"since_ns": 0})["parameters"]["orders"] == []
    await_state(machine, OIDS[1], "cancelled")
    answer = submit(machine, {**BUY, "oid": OIDS[3]})
    assert answer["error"] == "piker.Orders.Halted"


def test_panic_halts_all_the_same_and_says_where_it_can_not_tell_what_is_open(
    machine: Machine,
) -> None:
    configure(machine, "idle_exit = 5")
    machine.systemctl_user("start", "--no-block", "piker-panic@sim")
    said = "brokerd@sim: what is open is not known: "
    machine.await_entry("piker-panic@sim", lambda each: said in str(each["MESSAGE"]))
    assert machine.exists(f"{STATE}/piker-emsd/halt")


def test_after_a_boot_emsd_is_there_again_for_what_is_armed(machine: Machine) -> None:
    machine.systemctl_user("enable", "piker-resume.service", "emsd.socket", "samplerd.socket")
    machine.systemctl_user("start", "datad@replay")
    assert "error" not in submit(machine, DARK)
    await_state(machine, OIDS[2], "held")
    machine.run(["systemctl", "restart", "user@1000"])
    wait_until(lambda: is_active(machine, "emsd"), "emsd, started by piker-resume")
    wait_until(lambda: is_active(machine, "datad@replay"), "datad, started by emsd")
    assert life_of(machine, OIDS[2])["state"] == "held"


def test_after_a_boot_nothing_runs_where_nothing_is_armed(machine: Machine) -> None:
    machine.systemctl_user("enable", "piker-resume.service", "emsd.socket", "samplerd.socket")
    machine.run(["systemctl", "restart", "user@1000"])
    done = ["show", "--value", "--property=ExecMainStatus", "piker-resume"]
    machine.systemctl_user("start", "piker-resume")
    assert machine.systemctl_user(*done) == "0\n"
    assert not is_active(machine, "emsd")
