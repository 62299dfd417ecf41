"""A gateway of Interactive Brokers on a machine: the fake one as a service, at a TCP port.

Nothing of piker's runs it: it is its owner's, like a real one, and keeps its book over a restart.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any, Self

from machine import USER, Entry, Machine, wait_until
from msgspec import json

from tests.fakes.gateway import Settings
from tests.fakes.gateway.actions import Action, Move, Show
from tests.fakes.gateway.client import CONTRACT, USUAL
from tests.fakes.gateway.orderlayout import CONTRACT as CONTRACT_NAMES
from tests.fakes.gateway.orderlayout import PLACE, write_order
from tests.fakes.gateway.server import Shown
from tests.fakes.gateway.wire import GREETING, frame
from tests.system.attacking import OF_THE_SYSTEM, PYTHON, Desk, Manager, environment, install
from tests.system.hostile.prey import Outcome
from tests.system.trading import await_state, submit

FAKES = Path(__file__).parents[1] / "fakes" / "gateway"
DIRECTORY = "/opt/gateway"
"""Where the fake's sources are; no sandbox hides it, and nobody there imports it."""
ORDERS_CLIENT, DATA_CLIENT, HOSTILE_CLIENTS = 1, 100, (131, 132, 133)
HOSTILE_REF = "an order of a hostile datad"
PORTS = {"live": 4001, "paper": 4002}
ACCOUNT = "DU1234567"
SYMBOL = "AAPL"
MARKET = "aapl.nasdaq.ib"
"""It trades at 190.00."""
TRADES = '[accounts."ib.main"]\nlive = true\n'
WAYS = ("iblane@{}.socket", "ibgw@{}.socket")

UNIT = """
[Service]
User={user}
WorkingDirectory={place}
StateDirectory=gateway-{name}
ExecStartPre=/bin/rm -f {control}
ExecStart={python} -m tests.fakes.gateway --listen tcp:127.0.0.1:{port} --control {control} \\
    --settings {settings}
Restart=always
RestartSec=250ms
"""


@dataclass(frozen=True)
class Gateway:
    """A gateway that runs on a machine."""

    machine: Machine
    name: str = "live"
    accounts: tuple[str, ...] = (ACCOUNT,)

    @property
    def unit(self) -> str:
        """Its service, of the system's manager."""
        return f"gateway-{self.name}.service"

    @property
    def address(self) -> str:
        """Where it listens."""
        return f"127.0.0.1:{PORTS[self.name]}"

    def install(self) -> None:
        """Have it run from now on."""
        if not self.machine.exists(DIRECTORY):
            self.machine.run(["mkdir", "-p", f"{DIRECTORY}/tests/fakes"])
            self.machine.copy(FAKES, f"{DIRECTORY}/tests/fakes/gateway")
        self.machine.run(["tee", f"/etc/systemd/system/{self.unit}"], text=self._described())
        self.machine.systemctl("daemon-reload")
        self.start()

    def start(self) -> None:
        """Start it, after a boot perhaps, and wait until it can be scripted."""
        self.machine.systemctl("start", self.unit)
        wait_until(lambda: self.machine.exists(self._control), "a gateway that can be scripted")

    def do(self, action: Action) -> None:
        """Make something happen there."""
        self._ask(action)

    def show(self) -> Shown:
        """How things are there."""
        return json.decode(self._ask(Show()), type=Shown)

    def _ask(self, action: Action) -> bytes:
        (connection,) = self.machine.connect(self._control)
        with connection, connection.makefile("rwb") as lines:
            lines.write(json.encode(action) + b"\n")
            lines.flush()
            return lines.readline()

    def kill(self) -> None:
        """Kill it, and wait until it is there again."""
        self.machine.run(["rm", self._control])
        self.machine.systemctl("kill", "--signal=KILL", self.unit)
        wait_until(lambda: self.machine.exists(self._control), "the gateway, once more")

    @property
    def _control(self) -> str:
        return f"/var/lib/gateway-{self.name}/control.sock"

    def _described(self) -> str:
        settings = Settings(
            accounts=self.accounts,
            walk_s=0.2,
            our_clients=frozenset({ORDERS_CLIENT}),
            data_clients=frozenset({DATA_CLIENT}),
            state=f"/var/lib/gateway-{self.name}/book.json",
        )
        said = json.encode(settings).decode()
        return UNIT.format(
            user=USER,
            place=DIRECTORY,
            name=self.name,
            python=PYTHON,
            port=PORTS[self.name],
            control=self._control,
            settings=f"'{said}'",
        )


@dataclass(frozen=True)
class House(Desk):
    """The suite on a machine, set up for a gateway as its manual says."""

    gateway: Gateway

    @classmethod
    def on(cls, machine: Machine, manager: Manager) -> Self:
        """Set one up; what a person does with `systemctl` and an editor, and no more."""
        house = cls(machine, manager, Gateway(machine))
        if manager is OF_THE_SYSTEM:
            machine.run(["usermod", "--append", "--groups=piker-view,piker-trade", USER])
            house.systemctl("enable", "--now", "emsd.socket", "emsd-trade.socket")
        house.configure()
        house.reach(house.gateway)
        return house

    def reach(self, gateway: Gateway) -> None:
        """Have a gateway run, and piker led to it."""
        gateway.install()
        self.lead(gateway.name, gateway.address)
        self.enable(gateway.name)

    def enable(self, name: str) -> None:
        """Have what leads to a gateway listen."""
        self.systemctl("enable", "--now", *(way.format(name) for way in WAYS))

    @property
    def sockets(self) -> str:
        """Where the daemons listen."""
        return f"{self.manager.runtime}/piker"

    def configure(self, also: str = "") -> None:
        """Write piker.toml: one account, which may trade."""
        settings = f'[providers.ib]\naccounts = {{ main = "{ACCOUNT}" }}\n{also}{TRADES}'
        self.keep(f"{self.manager.configuration}/piker/piker.toml", settings, mode="644")

    def lead(self, name: str, address: str) -> None:
        """Say where a gateway is."""
        path = f"{self.manager.configuration}/piker/ibgw/{name}.env"
        self.keep(path, f"GATEWAY={address}\n", mode="644")

    def piker(self, *arguments: str) -> str:
        """What a person reads who is at this machine."""
        command = ["piker", f"--{self.manager.name}", *arguments]
        done = self.machine.run(command, user=USER, check=False)
        return done.stdout + done.stderr

    def submit(self, order: Mapping[str, object], state: str) -> None:
        """Hand an order over, and wait until it stands so."""
        answer = submit(self.machine, dict(order), self.sockets)
        assert "error" not in answer, answer
        self.await_state(order, state)

    def await_state(self, order: Mapping[str, object], state: str) -> None:
        """Wait until an order stands so."""
        await_state(self.machine, str(order["oid"]), state, self.sockets)

    def await_price(self, price: Decimal) -> None:
        """Have the market trade there, and wait until one who watches from now on is told so."""
        self.gateway.do(Move(market=SYMBOL, price=price))
        with self.asking("datad", "ib") as talk:
            talk.say("piker.Data.Watch", {"markets": [MARKET]}, more=True)
            while not any(abs(Decimal(each) - price) < 1 for each in _prices(talk.hear())):
                pass

    def pids(self, *units: str) -> dict[str, str]:
        """The processes of services."""
        return {unit: self.show(unit, "MainPID") for unit in units}

    def kill(self, unit: str) -> None:
        """Kill a service, and wait until it is there again."""
        before = self.show(unit, "MainPID")
        self.systemctl("kill", "--signal=KILL", unit)
        wait_until(lambda: self.show(unit, "MainPID") not in ("0", before), f"{unit}, once more")

    def credentials(self, unit: str) -> Mapping[str, str]:
        """What a service is given, by name."""
        pid = self.show(unit, "MainPID")
        place = environment(self.machine, pid)["CREDENTIALS_DIRECTORY"]
        read = ["nsenter", "--mount", f"--target={pid}", "grep", "--recursive", "", place]
        lines = self.machine.run(read).stdout.splitlines()
        found = (line.removeprefix(f"{place}/").partition(":") for line in lines)
        return {name: text for name, _, text in found}

    @contextmanager
    def turned(self) -> Iterator[Sequence[Outcome]]:
        """datad@ib attacks, in its own unit with all that this has; gives what came of it."""
        path = f"{self.manager.units}/datad@ib.service.d/90-hostile.conf"
        install(self.machine)
        self.keep(path, f"[Service]\nExecStart=\nExecStart={' '.join(self.attack)}\n", mode="644")
        self.systemctl("daemon-reload")
        self.systemctl("restart", "datad@ib")
        yield self._outcomes()
        self.machine.run(["rm", path])
        self.systemctl("daemon-reload")
        self.systemctl("restart", "datad@ib")

    @property
    def attack(self) -> Sequence[str]:
        """What tries to have an order reach the gateway, by each way that there is."""
        port = str(PORTS[self.gateway.name])
        return [PYTHON, "-I", "-m", "hostile.lane", self.manager.runtime, port, *_words()]

    def journal(self, unit: str) -> Sequence[Entry]:
        """What a unit has written."""
        of = self.manager.name
        read = {"user": self.machine.journal_user, "system": self.machine.journal_system}[of]
        return read(unit)

    def _outcomes(self) -> Sequence[Outcome]:
        said = [str(each["MESSAGE"]) for each in self.journal("datad@ib")]
        (line,) = [each for each in said if each.startswith("[{")]
        return json.decode(line, type=list[Outcome])


def _words() -> Sequence[str]:
    """A handshake, and logins as one who reads data, each with an order that rests, in hex."""
    offer = b"v176..178"
    usual = dict(zip(CONTRACT_NAMES.split(), CONTRACT, strict=True)) | USUAL
    placed = write_order(PLACE, {**usual, "orderRef": HOSTILE_REF}, 178)
    said = [GREETING + len(offer).to_bytes(4, "big") + offer]
    for number, client in enumerate(HOSTILE_CLIENTS, 1):
        said += [frame(71, 2, client, ""), frame(3, number, *placed)]
    return [each.hex() for each in said]


def _prices(reply: Any) -> list[float]:
    """Those of trades that a watcher is told."""
    said = reply["parameters"]
    ticks = [each["last"] for each in said.get("markets", [])]
    ticks += [each["ticks"] for each in said.get("quotes", [])]
    return [tick["price"] for some in ticks for tick in some if tick["kind"] == "trade"]
