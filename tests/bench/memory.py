"""Private memory of an idle daemon: its proportional set size, against what is to be reached."""

import json
import socket
from collections.abc import Iterator
from pathlib import Path
from statistics import median

from tests.bench.result import ROUNDS, Result
from tests.bench.rig import Rig, rig

MOST_MB = {"datad": 45.0, "samplerd": 25.0, "emsd": 40.0}
COMMANDS = {
    "datad": ("piker.datad", "replay"),
    "samplerd": ("piker.samplerd",),
    "emsd": ("piker.emsd",),
}
SOCKETS = {"datad": "replay", "samplerd": "samplerd", "emsd": "view"}


def run() -> Iterator[Result]:
    """One row a daemon."""
    with rig() as made:
        for daemon, most in MOST_MB.items():
            value = median(_pss_mb(made, daemon) for _ in range(ROUNDS))
            yield Result(
                bench="memory",
                case=f"{daemon}, idle, PSS",
                value=round(value, 1),
                unit="MB",
                peer="at most",
                peer_value=most,
                ratio=round(most / value, 2),
            )


def _pss_mb(made: Rig, daemon: str) -> float:
    process = made.start_daemon(*COMMANDS[daemon])
    _ask(made.socket(daemon, SOCKETS[daemon]))
    value = pss_mb(process.pid)
    made.end(process)
    return value


def pss_mb(pid: int, *kinds: str) -> float:
    """The proportional set size of a process, MB; only of these kinds, if some are named."""
    rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
    sizes = dict(line.split(":") for line in rollup.splitlines()[1:])
    return sum(int(sizes[kind].split()[0]) for kind in kinds or ("Pss",)) * 1024 / 1e6


def _ask(path: str) -> None:
    """Have it answer once, so that all it needs is loaded."""
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(path)
        client.sendall(b'{"method":"piker.Service.Health"}\0')
        assert json.loads(client.recv(65536).rstrip(b"\0"))["parameters"]
