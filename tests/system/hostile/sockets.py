"""Attacks by sockets."""

import json
import os
import socket
from pathlib import Path

from .prey import Prey
from .reasons import Stopped

PATIENCE_S = 2
TEXT = "written by hostile"


def connect(path: str) -> str:
    """Whether something listens there."""
    with connected(path):
        return path


def banner(path: str) -> str:
    """What something says that listens there."""
    with connected(path) as connection:
        return connection.recv(64).decode()


def tcp(port: int) -> str:
    """What something says that listens at this machine's own address."""
    with socket.create_connection(("127.0.0.1", port), PATIENCE_S) as connection:
        return connection.recv(64).decode()


def udp(port: int) -> str:
    """What something answers there."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as connection:
        connection.settimeout(PATIENCE_S)
        connection.sendto(b"?", ("127.0.0.1", port))
        return connection.recv(64).decode()


def make(family: str) -> str:
    """A socket of a kind that leads out of every namespace, or into the kernel."""
    with socket.socket(getattr(socket, family), socket.SOCK_DGRAM) as made:
        return str(made.getsockname())


def read_order(prey: Prey) -> str:
    """What emsd tells of an order."""
    return _ask(prey, "emsd/view", "piker.Orders.Timeline", {"oid": prey.oid})


def order(prey: Prey) -> str:
    """An order of the attacker's, with somebody else's money."""
    return _ask(prey, "emsd/trade", "piker.Orders.Submit", json.loads(prey.order))


def health(prey: Prey, door: str) -> str:
    """What a daemon says that it is."""
    return _ask(prey, door, "piker.Service.Health", {})


def _ask(prey: Prey, door: str, method: str, parameters: object) -> str:
    """A reply. Raises Stopped if it is an error."""
    call = json.dumps({"method": method, "parameters": parameters}).encode()
    with connected(f"{prey.runtime}/piker/{door}.sock") as connection:
        connection.sendall(call + b"\0")
        reply = b""
        while not reply.endswith(b"\0"):
            reply += connection.recv(65536) or b"\0"
    if "error" in json.loads(reply[:-1]):
        raise Stopped(reply[:-1].decode())
    return reply[:-1].decode()


def take(path: str) -> str:
    """The place of another's socket, for a moment: what was there comes back."""
    aside = Path(f"{path}.aside")
    os.rename(path, aside)
    try:
        with socket.socket(socket.AF_UNIX) as ours:
            ours.bind(path)
        with socket.socket(socket.AF_UNIX) as ours:
            ours.bind(f"{path}.hostile")
    finally:
        os.rename(aside, path)
    return path


def notify(prey: Prey) -> str:
    """A word to the manager; it heeds those of a unit's main process."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.sendto(f"STATUS={TEXT}".encode(), os.environ["NOTIFY_SOCKET"])
    return "sent"


def write_journal(prey: Prey) -> str:
    """An entry that calls itself another daemon's."""
    entry = f"MESSAGE={TEXT}\nSYSLOG_IDENTIFIER=emsd\n"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.sendto(entry.encode(), "/run/systemd/journal/socket")
    return "sent"


def connected(path: str) -> socket.socket:
    """A connection to what listens there."""
    connection = socket.socket(socket.AF_UNIX)
    connection.settimeout(PATIENCE_S)
    try:
        connection.connect(path)
    except OSError:
        connection.close()
        raise
    return connection
