"""Where things are: runtime, configuration and state directories, sockets, unit files.

All are read from the environment when asked for, so that a test isolates itself by setting it.
"""

import os
import stat
import sys
from pathlib import Path

# sizeof(sockaddr_un.sun_path) less the closing NUL; see unix(7).
MAX_SOCKET_PATH = 107


DOORS = {"emsd": ("view", "trade")}
"""Daemons with more than one socket, and those sockets' names; who only asks how it is takes the
first."""

OF_A_PROVIDER = ("datad", "paperboi", "brokerd")
"""Daemons of which each provider has its own."""


def runtime_directory() -> Path:
    """systemd's `%t`: XDG_RUNTIME_DIR, else /run/user/UID, else a private directory in /tmp.

    Raises PermissionError if that last one is there but isn't ours alone.
    """
    given = _from_environment("XDG_RUNTIME_DIR")
    if given:
        return given
    usual = Path(f"/run/user/{os.getuid()}")
    return usual if usual.is_dir() else _private_directory(Path(f"/tmp/piker-{os.getuid()}"))  # noqa: S108 checked there


def config_directory() -> Path:
    """systemd's `%E`; piker's own files are below `piker/` in it."""
    return _from_environment("XDG_CONFIG_HOME") or Path.home() / ".config"


def state_directory() -> Path:
    """systemd's `%S` (from 254 on; 252 gives the configuration directory)."""
    return _from_environment("XDG_STATE_HOME") or Path.home() / ".local" / "state"


def socket_path(daemon: str, instance: str | None = None) -> Path:
    """The one place where a daemon listens: `%t/piker/DAEMON/INSTANCE.sock`, or `DOOR.sock`."""
    name = instance or DOORS.get(daemon, (daemon,))[0]
    return runtime_directory() / "piker" / daemon / f"{name}.sock"


def unit_name(daemon: str, instance: str | None = None) -> str:
    """The unit of a daemon, without its kind: a door is no instance."""
    plain = instance is None or instance in DOORS.get(daemon, ())
    return daemon if plain else f"{daemon}@{instance}"


def state_of(daemon: str) -> Path:
    """A daemon's own state: STATE_DIRECTORY as its manager gives it, else `%S/piker-DAEMON`.

    systemd 252's `%S` is the configuration directory: what is there already counts.
    """
    given = _from_environment("STATE_DIRECTORY")
    usual, old = (each / f"piker-{daemon}" for each in (state_directory(), config_directory()))
    return given or (old if old.is_dir() and not usual.is_dir() else usual)


def units_directory() -> Path:
    """The unit files: PIKER_UNITS, else beside the package in a checkout, else as installed."""
    given = _from_environment("PIKER_UNITS")
    if given:
        return given
    checkout = Path(__file__).resolve().parent.parent / "units"
    return checkout if checkout.is_dir() else Path(sys.prefix) / "share" / "piker" / "units"


def fitting(path: Path) -> str:
    """The path of a socket, as long as the kernel takes it; else an OSError that names it."""
    length = len(os.fsencode(path))
    if length > MAX_SOCKET_PATH:
        raise OSError(f"socket path is {length} bytes, expected at most {MAX_SOCKET_PATH}: {path}")
    return str(path)


def _from_environment(name: str) -> Path | None:
    """Only an absolute path counts (XDG Base Directory Specification, 0.8)."""
    value = os.environ.get(name, "")
    return Path(value) if value.startswith("/") else None


def _private_directory(path: Path) -> Path:
    """Make it, or see that nobody else did: others may write where it lies."""
    try:
        path.mkdir(mode=0o700)
    except FileExistsError:
        found = path.lstat()
        ours = stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid()
        if not ours or stat.S_IMODE(found.st_mode) & 0o077:
            raise PermissionError(
                f"expected a directory of user {os.getuid()} and of nobody else, "
                f"was {stat.filemode(found.st_mode)} of user {found.st_uid}: {path}"
            ) from None
    return path
