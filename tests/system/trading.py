"""What tests trade with on a real systemd: orders, and the simulated venue."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from machine import USER, Machine, wait_until

from tests.fakes import simvenue
from tests.system.asking import SOCKETS, configure
from tests.system.dialogue import Dialogue

STATE = f"/home/{USER}/.config"
"""Where systemd 252 has the state of a user's services."""
OIDS = [f"01900000-0000-7000-8000-{number:012x}" for number in range(9)]
MARKET = "eurusd.spot.replay"
BUY = {
    "oid": OIDS[0],
    "account": "paper.replay",
    "market": MARKET,
    "side": "buy",
    "size": "1000",
    "kind": "limit",
    "limit": "1.20000",
}
RESTING = {**BUY, "oid": OIDS[1], "limit": "1.00000"}
DARK = {**BUY, "oid": OIDS[2], "kind": "dark", "limit": None, "trigger": "1.00000", "when": "below"}
LIVE = {
    **RESTING,
    "oid": OIDS[4],
    "account": "sim.main",
    "market": simvenue.MARKET,
    "size": "1",
    "limit": str(simvenue.FAR),
}

TOKEN = f"{STATE}/piker-credentials/sim/token"
# A unit of its user's, since it isn't piker's; there again after a boot.
VENUE = f"""
[Service]
Type=notify
ExecStartPre=/bin/mkdir -p -m 0700 %t/piker %t/piker/sim-venue
ExecStart=/usr/lib/piker/bin/python -m piker.brokers.sim.venue \\
    %t/piker/sim-venue/venue.sock %h/venue --token-file={TOKEN}
[Install]
WantedBy=default.target
"""

OF_SYSTEM = "/run/piker"
"""Where the system's daemons listen."""
SECRET = "a-secret-of-the-venue"
# The same for the system's manager: brokerd's Linux user has it, as nobody else may look there.
SYSTEM_VENUE = f"""
[Service]
Type=notify
User=piker-brokerd
StateDirectory=venue
ExecStartPre=+/usr/bin/install -d -o piker-brokerd {OF_SYSTEM}/sim-venue
ExecStart=/usr/lib/piker/bin/python -m piker.brokers.sim.venue \\
    {OF_SYSTEM}/sim-venue/venue.sock /var/lib/venue/book --token-file=/etc/venue-token
[Install]
WantedBy=multi-user.target
"""


def open_venue(machine: Machine, also: str = "") -> None:
    """Have the simulated venue run, and a live account at it configured, with its secret."""
    configure(machine, f'{also}[accounts."sim.main"]\nlive = true\n')
    machine.push(TOKEN, "a secret")
    machine.push(f"/home/{USER}/.config/systemd/user/venue.service", VENUE)
    machine.systemctl_user("daemon-reload")
    machine.systemctl_user("enable", "--now", "venue")
    machine.systemctl_user("start", "datad@sim")


def open_system_venue(machine: Machine, also: str = "") -> None:
    """The same for the system's manager: the secret lies encrypted, emsd's sockets are enabled."""
    text = f'{also}[accounts."sim.main"]\nlive = true\n'
    machine.run(["tee", "/etc/piker/piker.toml"], text=text)
    machine.run(["piker", "--system", "creds", "set", "sim"], text=f"{SECRET}\n")
    token = ["install", "-m", "600", "-o", "piker-brokerd", "/dev/stdin", "/etc/venue-token"]
    machine.run(token, text=SECRET)
    machine.run(["tee", "/etc/systemd/system/venue.service"], text=SYSTEM_VENUE)
    machine.systemctl("daemon-reload")
    machine.systemctl("enable", "--now", "venue", "emsd.socket", "emsd-trade.socket")
    machine.systemctl("start", "datad@sim")


@contextmanager
def asking(machine: Machine, daemon: str, door: str, at: str = SOCKETS) -> Iterator[Dialogue]:
    """A conversation with a daemon, by one of its sockets; `at` is where the daemons listen."""
    with Dialogue(*machine.connect(f"{at}/{daemon}/{door}.sock")) as talk:
        yield talk


def submit(machine: Machine, order: dict[str, Any], at: str = SOCKETS) -> Any:
    """What emsd answers to an order."""
    with asking(machine, "emsd", "trade", at) as talk:
        return talk.ask("piker.Orders.Submit", {"order": order})


def life_of(machine: Machine, oid: str, at: str = SOCKETS) -> Any:
    """How an order stands, and how it came to that."""
    with asking(machine, "emsd", "view", at) as talk:
        return talk.ask("piker.Orders.Timeline", {"oid": oid})["parameters"]["life"]


def await_state(machine: Machine, oid: str, state: str, at: str = SOCKETS) -> None:
    """Wait until an order stands so."""
    lives: list[Any] = []

    def stands_so() -> bool:
        lives.append(life_of(machine, oid, at))
        return bool(lives[-1]["state"] == state)

    try:
        wait_until(stands_so, state)
    except AssertionError as error:
        raise AssertionError(f"expected {state}, was {lives[-1]}") from error
