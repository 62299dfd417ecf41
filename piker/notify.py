"""Talking to the manager that started us: states, the watchdog, inherited descriptors, the store.

Sources: sd_notify(3), sd_listen_fds(3), sd_watchdog_enabled(3). Without a manager all of it does
nothing.
"""

import os
import socket
import stat
from contextlib import suppress

import sdnotify

FIRST_FD = 3


class Manager:
    """What the manager gave this process, and the way back to it."""

    def __init__(self) -> None:
        self.listeners: dict[str, list[socket.socket]] = {}
        self.stored: dict[str, list[int]] = {}
        self._address = os.environ.get("NOTIFY_SOCKET", "")
        self._notifier = sdnotify.SystemdNotifier() if self._address else None
        self._inherit()

    @property
    def watchdog_s(self) -> float | None:
        """How long the manager waits for a sign of life, if it does."""
        usec = os.environ.get("WATCHDOG_USEC", "")
        return int(usec) / 1e6 if usec.isdigit() and _for_us("WATCHDOG_PID") else None

    def notify(self, state: str) -> None:
        """Tell the manager a state, as READY=1."""
        if self._notifier:
            self._notifier.notify(state)

    def say(self, status: str) -> None:
        """Tell the manager the line that it shows. sdnotify sends Latin-1, so this goes past it."""
        self._send(f"STATUS={status}")

    def store(self, name: str, fd: int) -> None:
        """Have the manager keep a descriptor over a crash or restart."""
        self._send(f"FDSTORE=1\nFDNAME={name}", fd)

    def forget(self, name: str) -> None:
        """Have the manager close what it keeps under this name."""
        self._send(f"FDSTOREREMOVE=1\nFDNAME={name}")

    def close(self) -> None:
        """Let go of the way back."""
        if self._notifier and self._notifier.socket:
            self._notifier.socket.close()

    def _inherit(self) -> None:
        """Sort what we were started with: listening sockets, and descriptors from the store."""
        for fd, name in _inherited():
            os.set_inheritable(fd, False)
            if stat.S_ISSOCK(os.fstat(fd).st_mode):
                self.listeners.setdefault(name, []).append(socket.socket(fileno=fd))
            else:
                self.stored.setdefault(name, []).append(fd)

    def _send(self, text: str, *fds: int) -> None:
        if not self._address:
            return
        address = "\0" + self._address[1:] if self._address[0] == "@" else self._address
        # A manager that has died is no reason to: the next one asks again, or nobody does.
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock, suppress(OSError):
            sock.connect(address)
            socket.send_fds(sock, [text.encode()], list(fds))


def _inherited() -> list[tuple[int, str]]:
    count = os.environ.pop("LISTEN_FDS", "")
    names = os.environ.pop("LISTEN_FDNAMES", "").split(":")
    if not count.isdigit() or "LISTEN_PID" not in os.environ or not _for_us("LISTEN_PID"):
        return []
    names += ["unknown"] * (int(count) - len(names))
    return [(FIRST_FD + i, names[i]) for i in range(int(count))]


def _for_us(variable: str) -> bool:
    """Whether a variable that names a process means this one.

    In a pid namespace of our own the manager's number for us is another: SYSTEMD_EXEC_PID has it.
    """
    named = os.environ.get(variable)
    return named is None or named in (str(os.getpid()), os.environ.get("SYSTEMD_EXEC_PID"))
