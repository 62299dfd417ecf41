"""The units on a real systemd, run by an ordinary user who is lingering."""

import json
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import pytest
from machine import USER, Machine, wait_until

from piker import log
from piker.sharedbars import BarReader
from tests.system.asking import SOCKETS, configure, files, is_active, start_and_enter
from tests.system.dialogue import Dialogue

pytestmark = pytest.mark.system

MARKET = "eurusd.spot.replay"
DAEMONS = {
    "datad@replay.service": ["piker-datad"],
    "samplerd.service": [],
    "emsd.service": ["piker-emsd"],
    "paperboi@replay.service": ["piker-paperboi"],
    "brokerd@sim.service": [],
    "iblane@live.service": [],
    "ibgw@live.service": [],
}
"""Each daemon, and its state, which on systemd 252 lies in the configuration directory."""
SERVICES = list(DAEMONS)
EXPOSED = {"ibgw@live.service": 21}
"""Tenths: those that have a network."""
LISTENING = {
    *("datad@replay.socket", "paperboi@replay.socket", "brokerd@replay.socket"),
    *("samplerd.socket", "emsd.socket", "emsd-trade.socket"),
}
SEARCH = {"pattern": "eurusd"}
UNITS = Path(__file__).parents[2] / "units"
# more bars than a test waits for
MANY = 1000

# Asks again and again, pausing about as long as an idle daemon waits before it ends, and longer and
# longer until there were so many runs of it.
HAMMER = """
import json, socket, subprocess, sys, time
path, count, idle_exit_s, runs = sys.argv[1], int(sys.argv[2]), float(sys.argv[3]), int(sys.argv[4])
call = json.dumps({"method": "piker.Data.Search", "parameters": {"pattern": "eur"}})
show = ["systemctl", "--user", "show", "--value", "--property=InvocationID", "datad@replay"]
i, seen = 0, set()
while i < count or len(seen) < runs:
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(30)
        connection.connect(path)
        connection.sendall(call.encode() + b"\\0")
        reply = b""
        while not reply.endswith(b"\\0"):
            chunk = connection.recv(65536)
            assert chunk, f"call {i} was lost"
            reply += chunk
        assert "error" not in json.loads(reply[:-1]), reply
        seen.add(subprocess.check_output(show))
    time.sleep(idle_exit_s * (0.8 + 0.4 * i / count))
    i += 1
print("all answered")
"""
HAMMER_TIMEOUT_S = 300
"""It starts datad some twenty times."""

CONNECT = "import socket, sys; socket.socket(socket.AF_UNIX).connect(sys.argv[1]); print('yes')"
CONNECTING = ["python3", "-c", CONNECT]


def dialogues(machine: Machine, count: int, provider: str = "replay") -> list[Dialogue]:
    """Conversations with a datad, each over a connection of its own."""
    path = f"{SOCKETS}/datad/{provider}.sock"
    return [Dialogue(connection) for connection in machine.connect(path, count)]


def dialogue(machine: Machine, provider: str = "replay") -> Dialogue:
    """A conversation with a datad."""
    return dialogues(machine, 1, provider)[0]


def restarts(machine: Machine, unit: str) -> int:
    """How often systemd has restarted a service by itself."""
    return int(machine.show(unit, "NRestarts"))


def open_bars(talk: Dialogue) -> BarReader:
    """One-second bars of the market, as long as the conversation lasts."""
    talk.say("piker.Data.Bars", {"market": MARKET, "period_s": 1}, more=True)
    reply = talk.hear()
    return BarReader(talk.fds[reply["parameters"]["fd"]])


def test_starting_a_service_gives_an_active_unit_and_its_socket(machine: Machine) -> None:
    machine.systemctl_user("start", "datad@replay")
    assert is_active(machine, "datad@replay.service")
    assert is_active(machine, "datad@replay.socket")
    assert machine.exists(f"{SOCKETS}/datad/replay.sock")


def test_starting_a_datad_has_all_listened_for_that_trades_on_its_prices(machine: Machine) -> None:
    machine.systemctl_user("start", "datad@replay")
    wait_until(lambda: listening(machine) == LISTENING, "all sockets")
    assert len(daemons(machine)) == 1


def listening(machine: Machine) -> set[str]:
    """The suite's sockets that listen."""
    listed = machine.systemctl_user("list-units", "--plain", "--no-legend", "--type=socket")
    return {name for line in listed.splitlines() if (name := line.split()[0]) in LISTENING}


def test_a_connection_alone_starts_a_service(machine: Machine) -> None:
    machine.systemctl_user("start", "datad@replay.socket")
    assert not is_active(machine, "datad@replay")
    with dialogue(machine) as talk:
        matches = talk.ask("piker.Data.Search", SEARCH)["parameters"]["matches"]
    assert MARKET in [match["fqme"] for match in matches]
    assert is_active(machine, "datad@replay")


def test_the_clock_starts_by_a_connection_too(machine: Machine) -> None:
    machine.systemctl_user("start", "samplerd.socket")
    assert not is_active(machine, "samplerd")
    with Dialogue(*machine.connect(f"{SOCKETS}/samplerd/samplerd.sock")) as talk:
        talk.say("piker.Clock.Ticks", {"periods_s": [1]}, more=True)
        assert talk.hear()["parameters"]["period_s"] == 1
    assert is_active(machine, "samplerd")


def test_a_killed_datad_is_restarted_and_its_bars_are_kept(machine: Machine) -> None:
    machine.systemctl_user("start", "datad@replay")
    with dialogue(machine) as talk, closing(open_bars(talk)) as before:
        wait_until(lambda: before.final >= 2, "two final bars")
        machine.systemctl_user("kill", "--signal=KILL", "datad@replay")
        wait_until(lambda: restarts(machine, "datad@replay") == 1, "a restart")
        final = before.final
        kept = before.bars(MANY)[:final]
    with dialogue(machine) as talk, closing(open_bars(talk)) as after:
        assert after.bars(MANY)[: len(kept)] == kept


@pytest.mark.parametrize(
    "restart", [["kill", "--signal=KILL"], ["restart"]], ids=["kill", "restart"]
)
def test_what_is_queued_during_a_restart_is_answered(machine: Machine, restart: list[str]) -> None:
    machine.systemctl_user("start", "datad@replay")
    machine.systemctl_user("kill", "--signal=STOP", "datad@replay")
    with ExitStack() as stack:
        queued = [stack.enter_context(talk) for talk in dialogues(machine, 5)]
        for talk in queued:
            talk.say("piker.Data.Search", SEARCH)
        machine.systemctl_user(*restart, "datad@replay")
        assert ["matches" in talk.hear()["parameters"] for talk in queued] == [True] * 5


def test_idle_exit_and_activation_lose_no_call(machine: Machine) -> None:
    configure(machine, "idle_exit_s = 0.05")
    machine.systemctl_user("start", "datad@replay.socket")
    hammer = ["python3", "-c", HAMMER, f"{SOCKETS}/datad/replay.sock", "30", "0.05", "6"]
    done = machine.run(hammer, user=USER, timeout_s=HAMMER_TIMEOUT_S)
    assert done.stdout == "all answered\n"
    assert restarts(machine, "datad@replay") == 0


def test_a_plain_kill_restarts_what_has_a_reason_to_live(machine: Machine) -> None:
    configure(machine, f'[datad]\nkeep = ["{MARKET}"]')
    machine.systemctl_user("start", "datad@replay")
    machine.systemctl_user("kill", "datad@replay")
    wait_until(lambda: restarts(machine, "datad@replay") == 1, "a restart")
    wait_until(lambda: is_active(machine, "datad@replay"), "up again")
    machine.systemctl_user("stop", "datad@replay")
    assert machine.show("datad@replay", "ActiveState") == "inactive"
    assert machine.show("datad@replay", "Result") == "success"


def test_a_plain_kill_ends_what_has_none(machine: Machine) -> None:
    machine.systemctl_user("start", "datad@replay")
    machine.systemctl_user("kill", "datad@replay")
    wait_until(lambda: machine.show("datad@replay", "ActiveState") == "inactive", "ended")
    assert restarts(machine, "datad@replay") == 0


def test_an_unknown_provider_is_an_answer_by_name_and_does_not_spin(machine: Machine) -> None:
    machine.systemctl_user("start", "datad@nonsense.socket")
    for _ in range(3):
        with dialogue(machine, "nonsense") as talk:
            answer = talk.ask("piker.Data.Search", SEARCH)
            assert answer["error"] == "piker.Service.UnknownProvider"
            assert answer["parameters"]["provider"] == "nonsense"
    assert is_active(machine, "datad@nonsense")
    assert restarts(machine, "datad@nonsense") == 0
    assert len(machine.journal_user("datad@nonsense")) < 10


def test_broken_configuration_is_an_answer_that_names_the_key(machine: Machine) -> None:
    configure(machine, "idle_exit = 5")
    machine.systemctl_user("start", "datad@replay.socket")
    with dialogue(machine) as talk:
        answer = talk.ask("piker.Data.Search", SEARCH)
    assert answer["error"] == "piker.Service.BrokenConfiguration"
    assert answer["parameters"]["key"] == "idle_exit"


def test_the_journal_says_which_provider_an_entry_is_about(machine: Machine) -> None:
    machine.systemctl_user("start", "datad@nonsense")
    entry = machine.await_entry("datad@nonsense", lambda entry: "PIKER_PROVIDER" in entry)
    assert entry["PIKER_PROVIDER"] == "nonsense"
    assert entry["SYSLOG_IDENTIFIER"] == "datad"
    assert entry["MESSAGE_ID"] == log.CANT_WORK
    assert entry["PRIORITY"] == "3"


def test_the_journal_says_which_market_an_entry_is_about(machine: Machine) -> None:
    machine.systemctl_user("start", "datad@replay")
    with dialogue(machine) as talk:
        talk.say("piker.Data.Watch", {"markets": [MARKET]}, more=True)
        entry = machine.await_entry("datad@replay", lambda entry: "PIKER_MARKET" in entry)
    assert entry["PIKER_MARKET"] == MARKET
    assert entry["PIKER_PROVIDER"] == "replay"
    assert entry["MESSAGE_ID"] == log.MARKET_LIVE


def test_stopping_the_target_leaves_nothing(machine: Machine) -> None:
    machine.systemctl_user("start", "samplerd", "datad@replay", "datad@nonsense")
    assert len(daemons(machine)) == 3
    machine.systemctl_user("stop", "piker.target")
    assert daemons(machine) == []
    states = ["--state=active,activating,deactivating,failed"]
    states += ["datad@*", "samplerd*", "emsd*", "paperboi@*", "brokerd@*"]
    assert machine.systemctl_user("list-units", "--plain", "--no-legend", *states) == ""
    assert machine.run(["find", SOCKETS, "-type", "s"]).stdout == ""


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("datad@replay", "samplerd"),
        ("paperboi@replay", "datad@replay"),
        ("emsd", "paperboi@replay"),
        ("emsd", "brokerd@replay"),
    ],
)
def test_each_daemon_ends_before_those_it_asks_when_all_are_stopped(
    machine: Machine, first: str, second: str
) -> None:
    machine.systemctl_user("start", first, second)
    machine.systemctl_user("stop", "piker.target")
    assert moment(machine, first, "Stopped") <= moment(machine, second, "Stopping")


def moment(machine: Machine, unit: str, verb: str) -> int:
    """When systemd said so of a unit, µs."""
    said = [each for each in machine.journal_user(unit) if str(each["MESSAGE"]).startswith(verb)]
    return int(str(said[0]["__MONOTONIC_TIMESTAMP"]))


def daemons(machine: Machine) -> list[str]:
    """Command lines of piker's processes."""
    return [line for line in machine.processes() if "/usr/lib/piker" in line]


def test_a_datad_sees_no_home_no_bus_and_no_network(machine: Machine) -> None:
    inside = start_and_enter(machine, "datad@replay")
    pid = machine.show("datad@replay", "MainPID")
    assert files(machine, inside, f"/home/{USER}") == [".config"]
    assert files(machine, inside, f"/home/{USER}/.config") == [
        "piker",
        "piker-credentials",
        "piker-datad",
    ]
    assert files(machine, inside, f"/home/{USER}/.config/piker-credentials") == []
    assert files(machine, inside, "/run") == ["systemd", "user"]
    assert files(machine, inside, "/run/systemd") == ["journal"]
    assert files(machine, inside, "/run/systemd/journal") == ["socket"]
    assert files(machine, inside, "/run/user/1000") == ["piker", "systemd"]
    assert files(machine, inside, "/var") == ["tmp"]
    assert files(machine, inside, "/run/user/1000/systemd") == ["notify"]
    assert files(machine, inside, SOCKETS) == ["samplerd"]
    assert network(machine, pid) != network(machine, "1")


def test_a_datad_sees_its_own_history_and_no_other_daemon_sees_any(machine: Machine) -> None:
    for unit in ("datad@sim", "emsd", "paperboi@replay"):
        inside = start_and_enter(machine, unit)
        seen = machine.run([*inside, "find", f"/home/{USER}", "-path", "*/history/*"]).stdout
        own = f"/home/{USER}/.config/piker-datad/history/sim\n"
        assert seen == (own if unit == "datad@sim" else "")
        machine.systemctl_user("start", "datad@replay")


def network(machine: Machine, pid: str) -> str:
    """Which network namespace a process is in."""
    return machine.run(["readlink", f"/proc/{pid}/ns/net"]).stdout


@pytest.mark.parametrize("unit", SERVICES)
def test_a_home_that_is_elsewhere_is_hidden_too(machine: Machine, unit: str) -> None:
    home = f"/srv/home/{USER}"
    move_home(machine, home)
    machine.push(f"{home}/.config/piker-credentials/ib", "secret")
    inside = start_and_enter(machine, unit)
    assert files(machine, inside, home) == [".config"]
    there = ["piker", "piker-credentials", *DAEMONS[unit]]
    assert files(machine, inside, f"{home}/.config") == there
    assert files(machine, inside, f"{home}/.config/piker-credentials") == []


def move_home(machine: Machine, home: str) -> None:
    """Give the user another home, with what is in the old one."""
    machine.run(["systemctl", "stop", "user@1000"])
    machine.run(["mkdir", "-p", home.rpartition("/")[0]])
    machine.run(["usermod", "--home", home, "--move-home", USER])
    machine.run(["systemctl", "start", "user@1000"])


@pytest.mark.parametrize("unit", SERVICES)
def test_secrets_outside_the_home_are_hidden_too(machine: Machine, unit: str) -> None:
    machine.run(["install", "-d", "-o", USER, "/srv/config", "/etc/systemd/system/user@.service.d"])
    drop_in = "[Service]\nEnvironment=XDG_CONFIG_HOME=/srv/config\n"
    machine.run(["tee", "/etc/systemd/system/user@.service.d/config.conf"], text=drop_in)
    machine.push("/srv/config/piker-credentials/ib", "secret")
    machine.run(["systemctl", "daemon-reload"])
    machine.run(["systemctl", "restart", "user@1000"])
    inside = start_and_enter(machine, unit)
    # piker-resume, at the login, has looked for emsd's
    seen = {"piker", "piker-credentials", "piker-emsd", *DAEMONS[unit]}
    assert set(files(machine, inside, "/srv/config")) == seen
    assert files(machine, inside, "/srv/config/piker-credentials") == []


@pytest.mark.parametrize("unit", SERVICES)
def test_a_socket_in_run_that_is_open_to_all_can_not_be_reached(
    machine: Machine, unit: str
) -> None:
    listen = "--socket-property=ListenStream=/run/open.sock"
    machine.run(["systemd-run", "--unit=open", listen, "cat"])
    inside = start_and_enter(machine, unit)
    assert machine.run([*CONNECTING, "/run/open.sock"], user=USER, check=False).stdout == "yes\n"
    refused = machine.run([*inside, *CONNECTING, "/run/open.sock"], check=False)
    assert "FileNotFoundError" in refused.stderr


def test_a_datad_reaches_the_clock_from_its_sandbox(machine: Machine) -> None:
    machine.systemctl_user("start", "datad@replay.socket")
    with dialogue(machine) as talk:
        talk.say("piker.Data.Watch", {"markets": [MARKET]}, more=True)
        wait_until(lambda: is_active(machine, "samplerd"), "the clock, started by datad")
        with Dialogue(*machine.connect(f"{SOCKETS}/samplerd/samplerd.sock")) as clock:
            wait_until(lambda: listeners(clock) == 1, "datad listening to the clock")


def listeners(clock: Dialogue) -> int:
    """How many follow samplerd's clock."""
    counters = clock.ask("piker.Service.Health", {})["parameters"]["counters"]
    return next(int(each["value"]) for each in counters if each["name"] == "listeners")


def test_piker_status_asks_systemd(machine: Machine) -> None:
    machine.systemctl_user("start", "datad@replay")
    (datad,) = [row for row in status(machine) if row["unit"] == "datad@replay.service"]
    assert (datad["active"], datad["sub"]) == ("active", "running")
    assert datad["pid"] == int(machine.show("datad@replay", "MainPID"))
    assert datad["memory_bytes"] is None or datad["memory_bytes"] > 1_000_000
    assert datad["status"].startswith("replay: ")


def status(machine: Machine) -> Any:
    """What `piker status --json` gives."""
    return json.loads(machine.run(["piker", "status", "--json"], user=USER).stdout)


def test_piker_watch_shows_live_quotes(machine: Machine) -> None:
    machine.systemctl_user("start", "datad@replay.socket")
    watch = ["piker", "watch", MARKET, "--json", "--for", "3s"]
    lines = [json.loads(line) for line in machine.run(watch, user=USER).stdout.splitlines()]
    assert {line["market"] for line in lines} == {MARKET}
    assert any(line["ticks"] for line in lines)


def test_systemd_has_nothing_to_say_about_the_installed_units(machine: Machine) -> None:
    files = [*UNITS.glob("*.*"), *(UNITS / "user").glob("*.*")]
    ours = [each.name for each in files if each.is_file()]
    assert {"emsd.service", "emsd-trade.socket", "piker-panic@.service"} <= set(ours)
    paths = [f"/usr/lib/systemd/user/{unit}" for unit in ours]
    verify = ["systemd-analyze", "--user", "--man=no", "verify", *paths]
    assert machine.run(verify, user=USER).stderr == ""


@pytest.mark.parametrize("unit", SERVICES)
def test_systemd_finds_a_service_little_exposed(machine: Machine, unit: str) -> None:
    """1.4 of 10: what is left can't be taken away in a user manager, or has no effect there."""
    machine.systemctl_user("start", unit)
    threshold = f"--threshold={EXPOSED.get(unit, 14)}"
    security = ["systemd-analyze", "--user", "--no-pager", threshold, "security", unit]
    machine.run(security, user=USER)


@pytest.mark.parametrize("unit", SERVICES)
def test_a_service_without_its_user_namespace_does_not_start(machine: Machine, unit: str) -> None:
    """systemd 252 ignores most of the sandbox without it: better none than one that runs open."""
    name, _, rest = unit.partition("@")
    template = f"{name}@.service" if rest else unit
    drop_in = f"/home/{USER}/.config/systemd/user/{template}.d/90-open.conf"
    machine.push(drop_in, "[Service]\nPrivateUsers=no\nRestart=no\n")
    machine.systemctl_user("daemon-reload")
    machine.systemctl_user("start", unit, check=False)
    assert machine.show(unit, "ExecMainStatus") == "226"


def test_a_service_that_lost_its_drop_ins_does_not_come_up(machine: Machine) -> None:
    drop_ins = machine.show("samplerd", "DropInPaths").split()
    assert len(drop_ins) >= 3
    machine.run(["rm", *drop_ins])
    machine.systemctl_user("daemon-reload")
    machine.systemctl_user("start", "--no-block", "samplerd")
    wait_until(lambda: machine.show("samplerd", "ExecMainStatus") != "0", "it failed")
    assert not is_active(machine, "samplerd")
