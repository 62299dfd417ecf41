"""The scene of the attacks: a desk that trades with a token, and a hostile datad beside it.

What an attack got counts only where it is proven: by a text that is nowhere but where it says to
have it from, or by what others see outside the attacker's unit afterwards (tests/system/proofs.py).
"""

import json
import os
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import msgspec
from machine import RUNTIME_DIRECTORY, UID, USER, Machine, wait_until

from tests.fakes import simvenue
from tests.system.dialogue import Dialogue
from tests.system.hostile.prey import Outcome, Prey, Victim

PYTHON = "/usr/lib/piker/bin/python"
HOME = f"/home/{USER}"
TOKEN = "correct-horse-battery-staple"
PRIVATE = "nobody else's business"
PORT = 7497
PATIENCE_S = 3
"""For an attack, on a processor that isn't emulated."""
MARKED = "INVOCATION_ID"
"""How systemd marks each process that it starts: its value is that one's alone."""
ENVIRONMENT_AT = 47
"""Of the fields of /proc/PID/stat after the name: where the environment begins. See proc(5)."""
PROVIDER = sorted((Path(__file__).parent / "hostile").glob("*.py"))
ABOUT = {
    "METADATA": "Metadata-Version: 2.1\nName: hostile\nVersion: 1\n",
    "entry_points.txt": "[piker.brokers]\nhostile = hostile\n",
}
"""What makes the provider one of piker's, as another package would do it."""


@dataclass(frozen=True, kw_only=True)
class Manager:
    """Whose daemons they are, and where they have things. `victims`: whose memory is attacked."""

    name: str
    service: str
    runtime: str
    configuration: str
    units: str
    victims: tuple[str, ...]


OF_A_USER = Manager(
    name="user",
    service=f"user@{UID}.service",
    runtime=RUNTIME_DIRECTORY,
    configuration=f"{HOME}/.config",
    units=f"{HOME}/.config/systemd/user",
    victims=("emsd", "brokerd", "datad", "manager"),
)
OF_THE_SYSTEM = Manager(
    name="system",
    service="init.scope",
    runtime="/run",
    configuration="/etc",
    units="/etc/systemd/system",
    victims=("emsd", "brokerd", "datad"),
)


def an_order(number: int, account: str) -> Mapping[str, str]:
    """One that rests."""
    return {
        "oid": f"01900000-0000-7000-8000-{number:012x}",
        "account": account,
        "market": simvenue.MARKET,
        "side": "buy",
        "size": "1",
        "kind": "limit",
        "limit": str(simvenue.FAR),
    }


LIVE, PAPER, HOSTILE = (an_order(0, "sim.main"), an_order(1, "paper.sim"), an_order(2, "sim.main"))


@dataclass(frozen=True)
class Desk:
    """The suite on a machine, run by one manager."""

    machine: Machine
    manager: Manager

    @property
    def token_file(self) -> str:
        """Where the token is kept."""
        return f"{self.manager.configuration}/piker-credentials/sim/token"

    def systemctl(self, *arguments: str) -> str:
        """What systemctl prints."""
        if self.manager is OF_A_USER:
            return self.machine.systemctl_user(*arguments)
        return self.machine.run(["systemctl", *arguments]).stdout

    def show(self, unit: str, name: str) -> str:
        """One property of a unit."""
        return self.systemctl("show", "--value", f"--property={name}", unit).strip()

    @contextmanager
    def asking(self, daemon: str, door: str) -> Iterator[Dialogue]:
        """A conversation with a daemon, as its owner has it."""
        path = f"{self.manager.runtime}/piker/{daemon}/{door}.sock"
        with Dialogue(*self.machine.connect(path)) as talk:
            yield talk

    def timeline(self, order: Mapping[str, str]) -> Mapping[str, object]:
        """What emsd has of an order."""
        with self.asking("emsd", "view") as talk:
            reply: Mapping[str, object] = talk.ask("piker.Orders.Timeline", {"oid": order["oid"]})
            return reply

    def trade(self) -> None:
        """Give brokerd@sim a token, have an order rest at its venue, and another on paper."""
        configuration = f"{self.manager.configuration}/piker/piker.toml"
        self.keep(configuration, '[accounts."sim.main"]\nlive = true\n', mode="644")
        self._set_token()
        self.systemctl("start", "datad@sim")
        self._run_venue()
        for order in (LIVE, PAPER):
            with self.asking("emsd", "trade") as talk:
                answer = talk.ask("piker.Orders.Submit", {"order": order})
            assert "error" not in answer, answer
            wait_until(partial(self.is_open, order), f"open: {order}")

    def is_open(self, order: Mapping[str, str]) -> bool:
        """Whether an order rests where it was sent."""
        return '"state": "open"' in json.dumps(self.timeline(order))

    def keep(self, path: str, text: str, *, mode: str = "600", owner: str = USER) -> None:
        """Write a file; below the home it is the person who does."""
        if path.startswith(HOME):
            self.machine.push(path, text)
            return
        install = ["install", "-D", "-m", mode, "-o", owner, "/dev/stdin", path]
        self.machine.run(install, text=text)

    def _set_token(self) -> None:
        if self.manager is OF_A_USER:
            self.machine.run(["piker", "creds", "set", "sim"], user=USER, text=f"{TOKEN}\n")
            return
        directory = self.token_file.rpartition("/")[0]
        self.machine.run(["install", "-d", "-m", "700", directory.rpartition("/")[0], directory])
        encrypt = ["systemd-creds", "encrypt", "--name=token", "-", self.token_file]
        self.machine.run(encrypt, text=TOKEN)

    def _run_venue(self) -> None:
        """The venue is somebody else's, but for the socket; it is told the token apart."""
        owner = USER if self.manager is OF_A_USER else "piker-brokerd"
        self.keep("/opt/venue/token", TOKEN, owner=owner)
        directory = f"{self.manager.runtime}/piker/sim-venue"
        self.machine.run(["install", "-d", "-o", owner, "/opt/venue", directory])
        command = [PYTHON, "-I", "-m", "piker.brokers.sim.venue", f"{directory}/venue.sock"]
        command += ["/opt/venue/book", "--token-file=/opt/venue/token"]
        run = ["systemd-run", f"--uid={owner}", "--quiet", "--unit=venue", "--service-type=notify"]
        self.machine.run([*run, *command])


@dataclass(frozen=True)
class Scene:
    """A desk at work, what is told to the attacker, and what lies in each victim's memory."""

    desk: Desk
    prey: Prey
    secrets: Mapping[str, str]

    def attack(self) -> Sequence[Outcome]:
        """What the hostile datad says that it got."""
        pattern = msgspec.json.encode(self.prey).decode()
        with self.desk.asking("datad", "hostile") as talk:
            reply = talk.ask("piker.Data.Search", {"pattern": pattern, "limit": 1000})
        matches = reply["parameters"]["matches"]
        return [msgspec.json.decode(each["description"], type=Outcome) for each in matches]


@contextmanager
def a_scene(machine: Machine, manager: Manager, patience_s: float = PATIENCE_S) -> Iterator[Scene]:
    """All daemons are at work, with two orders and a reader of bars; then comes hostile."""
    desk = Desk(machine, manager)
    install(machine)
    for directory in (HOME, "/media", "/srv"):
        desk.keep(f"{directory}/prey", PRIVATE)
    desk.trade()
    with desk.asking("datad", "sim") as reader, something_outside(desk) as person:
        reader.say("piker.Data.Bars", {"market": simvenue.MARKET, "period_s": 1}, more=True)
        reader.hear()
        for fd in reader.fds:
            os.close(fd)
        desk.systemctl("start", "samplerd", "datad@hostile")
        scene = as_it_is(desk, person, patience_s)
        owner = USER if manager is OF_A_USER else "piker-datad"
        desk.keep(f"{scene.prey.history}/prey", PRIVATE, owner=owner)
        yield scene


def install(machine: Machine) -> None:
    """Make the hostile provider one of piker's."""
    purelib = "import sysconfig; print(sysconfig.get_path('purelib'))"
    site = machine.run([PYTHON, "-c", purelib]).stdout.strip()
    files = {f"hostile/{each.name}": each.read_text() for each in PROVIDER}
    files |= {f"hostile-1.dist-info/{name}": text for name, text in ABOUT.items()}
    for name, text in files.items():
        machine.run(["install", "-D", "-m", "644", "/dev/stdin", f"{site}/{name}"], text=text)


@contextmanager
def something_outside(desk: Desk) -> Iterator[int]:
    """What a person's programs leave open to all of that person's; gives its process id."""
    command = [PYTHON, "-I", "-m", "hostile.outside", RUNTIME_DIRECTORY, str(PORT)]
    argv = desk.machine.command(command, user=USER)
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin
        assert process.stdout
        yield int(process.stdout.readline())
        process.stdin.close()


def as_it_is(desk: Desk, person: int, patience_s: float) -> Scene:
    """The processes that are there, and where they have what."""
    units = {each: f"{each}@sim" for each in ("brokerd", "paperboi", "datad")}
    pids = {name: desk.show(unit, "MainPID") for name, unit in {**units, "emsd": "emsd"}.items()}
    show = ["systemctl", "show", "--value", "--property=MainPID", desk.manager.service]
    pids["manager"] = desk.machine.run(show).stdout.strip() or "1"
    variables = {name: environment(desk.machine, pid) for name, pid in pids.items()}
    victims = {name: a_victim(desk.machine, pid, variables[name]) for name, pid in pids.items()}
    prey = Prey(
        **victims,
        person=person,
        victims=desk.manager.victims,
        manager_option=f"--{desk.manager.name}",
        home=HOME,
        token=desk.token_file,
        credential=f"{variables['brokerd']['CREDENTIALS_DIRECTORY']}/token",
        configuration=desk.manager.configuration,
        units=desk.manager.units,
        runtime=desk.manager.runtime,
        session=RUNTIME_DIRECTORY,
        emsd_state=variables["emsd"]["STATE_DIRECTORY"],
        paperboi_state=variables["paperboi"]["STATE_DIRECTORY"],
        history=f"{variables['datad']['STATE_DIRECTORY']}/history/sim",
        oid=LIVE["oid"],
        order=json.dumps({"order": HOSTILE}),
        port=PORT,
        patience_s=patience_s,
    )
    return Scene(desk, prey, {name: each.get(MARKED, "") for name, each in variables.items()})


def environment(machine: Machine, pid: str) -> dict[str, str]:
    """What a process was started with."""
    text = machine.run(["cat", f"/proc/{pid}/environ"]).stdout
    pairs = (each.partition("=") for each in text.split("\0"))
    return {name: value for name, _, value in pairs}


def a_victim(machine: Machine, pid: str, variables: Mapping[str, str]) -> Victim:
    """A process, and where its secret lies: the mark's value, where systemd has put it."""
    stat = machine.run(["cat", f"/proc/{pid}/stat"]).stdout
    begin = int(stat.rpartition(")")[2].split()[ENVIRONMENT_AT])
    before = "\0".join(f"{name}={value}" for name, value in variables.items())
    offset = before.find(variables.get(MARKED, ""))
    return Victim(pid=int(pid), address=begin + offset, length=len(variables.get(MARKED, "")))


def leftovers(manual: Path, mode: str) -> set[str]:
    """What the manual says that a hostile datad gets: the items of a part of LEFTOVERS."""
    section = manual.read_text().partition("\n# LEFTOVERS\n")[2].partition("\n# ")[0]
    part = section.partition(f"\n## {mode}\n")[2].partition("\n## ")[0]
    lines = [line for line in part.splitlines() if line.startswith("- *")]
    return {line.removeprefix("- *").partition("*")[0] for line in lines}
