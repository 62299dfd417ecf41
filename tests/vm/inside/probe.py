"""Stands in for a daemon, in its unit and its sandbox: looks around, and at its first peer.

Prints one line. It has nothing but the standard library.
"""

import ctypes
import json
import os
import select
import socket
import struct
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

LIBC = ctypes.CDLL(None, use_errno=True)
SYSLOG_ACTION_READ_ALL = 3
PTRACE_TRACEME = 0


def main() -> None:
    """Wait for a peer, and say what was seen."""
    listeners = [socket.socket(fileno=3 + each) for each in range(int(os.environ["LISTEN_FDS"]))]
    asked = select.select(listeners, [], [])[0][0]
    with closing(asked.accept()[0]) as peer:
        credentials = peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
    seen = {
        "peer_uid": struct.unpack("3i", credentials)[1],
        "kernel_log": {name: tried(way) for name, way in KERNEL_LOG.items()},
        "ptrace": tried(lambda: call(LIBC.ptrace, PTRACE_TRACEME, 0, None, None)),
        "internet": tried(lambda: socket.socket(socket.AF_INET).close()),
        "interfaces": interfaces(),
        "status": status("NoNewPrivs", "Seccomp", "CapEff", "CapBnd"),
    }
    print(json.dumps(seen), flush=True)


def call(function: Callable[..., int], *arguments: object) -> None:
    """Raises OSError."""
    if function(*arguments) == -1:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def tried(way: Callable[[], object]) -> str:
    """The name of the error, or nothing."""
    try:
        way()
    except OSError as error:
        return type(error).__name__
    return ""


def interfaces() -> list[str]:
    """Of the network that it is in."""
    lines = Path("/proc/self/net/dev").read_text().splitlines()[2:]
    return [line.partition(":")[0].strip() for line in lines]


def status(*names: str) -> dict[str, str]:
    """What the kernel says of this process."""
    lines = Path("/proc/self/status").read_text().splitlines()
    pairs = (line.partition(":") for line in lines)
    return {name: value.strip() for name, _, value in pairs if name in names}


def _read(path: str) -> None:
    os.close(os.open(path, os.O_RDONLY | os.O_NONBLOCK))


KERNEL_LOG: dict[str, Callable[[], None]] = {
    "kmsg": lambda: _read("/dev/kmsg"),
    "proc": lambda: _read("/proc/kmsg"),
    "call": lambda: call(LIBC.klogctl, SYSLOG_ACTION_READ_ALL, ctypes.create_string_buffer(16), 16),
}

if __name__ == "__main__":
    main()
