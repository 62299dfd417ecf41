"""Programs of the user that run beside a test in the machine and write down what they see."""

import json
from collections.abc import Sequence
from typing import Any

from machine import RUNTIME_DIRECTORY, USER, Machine, wait_until

HOME = f"/home/{USER}"

# Asks again and again, over a new connection each time, and writes down what became of it.
ASKER = """
import json, socket, sys, time
call = b'{"method": "piker.Service.Health", "parameters": {}}\\0'
while True:
    for path in sys.argv[1:]:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(60)
            reply = b""
            try:
                connection.connect(path)
                connection.sendall(call)
                while not reply.endswith(b"\\0"):
                    reply += connection.recv(65536) or sys.exit(f"{path} hung up")
                problem = json.loads(reply[:-1]).get("error", "")
            except OSError as error:
                problem = str(error)
        print(json.dumps([path, time.monotonic(), problem]), flush=True)
    time.sleep(0.02)
"""


def start(machine: Machine, name: str, *command: str) -> None:
    """Start a program of the user; what it prints is there to read from now on."""
    run = ["systemd-run", "--quiet", f"--unit={name}", f"--uid={USER}", "--service-type=exec"]
    run += [f"--property=StandardOutput=truncate:{HOME}/{name}", "--property=StandardError=journal"]
    run += [f"--setenv=XDG_RUNTIME_DIR={RUNTIME_DIRECTORY}"]
    machine.run([*run, *command])


def start_asker(machine: Machine, paths: Sequence[str]) -> None:
    """Have a client ask the daemons at these sockets; gives back when each has answered."""
    start(machine, "asker", "python3", "-c", ASKER, *paths)
    wait_until(lambda: len(written(machine, "asker")) > len(paths), "a client that asks")


def written(machine: Machine, name: str) -> list[Any]:
    """The lines that a program has written to their end."""
    text = machine.run(["cat", f"{HOME}/{name}"]).stdout
    return [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("\n")]


def failures(machine: Machine) -> list[Any]:
    """The calls of the asker that were not answered."""
    return [each for each in written(machine, "asker") if each[2]]
