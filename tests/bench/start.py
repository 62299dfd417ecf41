"""Connect to first reply, the daemon asleep: a connection starts a process that answers it."""

import os
import socket
import sys
import time
from collections.abc import Iterator
from functools import partial

from tests.bench.result import Result, compare
from tests.bench.rig import Rig, rig

CALL = b'{"method":"org.varlink.service.GetInfo"}\0'

BARE = """
import socket, trio
async def main():
    listener = trio.socket.fromfd(3, socket.AF_UNIX, socket.SOCK_STREAM)
    connection, _ = await listener.accept()
    await connection.recv(65536)
    await connection.send(b'{"parameters":{}}\\0')
trio.run(main)
"""
"""What any daemon on trio costs: the peer."""


def run() -> Iterator[Result]:
    """Daemons against a bare trio process."""
    with rig() as made:
        for daemon in (("piker.datad", "sim"), ("piker.samplerd",), ("piker.emsd",)):
            yield compare(
                "start",
                daemon[0].removeprefix("piker."),
                "ms",
                partial(_first_reply, made, "-m", *daemon),
                "bare trio process",
                lambda: _first_reply(made, "-c", BARE),
                more_is_better=False,
            )


def _first_reply(made: Rig, *arguments: str) -> float:
    """Milliseconds from connect to the reply, with a process started at the connection."""
    path = str(made.directory / "start.sock")
    with socket.socket(socket.AF_UNIX) as listener, socket.socket(socket.AF_UNIX) as client:
        listener.bind(path)
        listener.listen()
        began = time.perf_counter_ns()
        client.connect(path)
        client.sendall(CALL)
        pid = _spawn(made, listener.fileno(), arguments)
        client.recv(65536)
        took = time.perf_counter_ns() - began
    os.kill(pid, 9)
    os.waitpid(pid, 0)
    os.unlink(path)
    return took / 1e6


def _spawn(made: Rig, listener: int, arguments: tuple[str, ...]) -> int:
    """As systemd does it: the socket is descriptor 3."""
    script = 'export LISTEN_PID=$$ LISTEN_FDS=1 LISTEN_FDNAMES=view; exec "$@"'
    command = ["/bin/sh", "-c", script, "sh", sys.executable, *arguments]
    quiet = (os.POSIX_SPAWN_OPEN, 2, os.devnull, os.O_WRONLY, 0)
    actions = [(os.POSIX_SPAWN_DUP2, listener, 3), quiet]
    return os.posix_spawn(command[0], command, made.environment, file_actions=actions)
