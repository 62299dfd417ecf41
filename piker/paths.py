"""Where things are: runtime, configuration and state directories, sockets, unit files.

PIKER_MANAGER says whose daemons are meant: the user manager's, or, where it is "system", those of
the machine. All are read from the environment when asked for, so that a test isolates itself by
setting it; PIKER_ROOT is what it sets for the machine's own directories.
"""

import os
import stat
import sys
from pathlib import Path
from typing import Literal, get_args

# sizeof(sockaddr_un.sun_path) less the closing NUL; see unix(7).
MAX_SOCKET_PATH = 107


Manager = Literal["user", "system"]
MANAGERS: tuple[Manager, ...] = get_args(Manager)

DOORS = {"emsd": ("view", "trade")}
"""Daemons with more than one socket, and those sockets' names; who only asks how it is takes the
first."""

OF_A_PROVIDER = ("datad", "paperboi", "brokerd")
"""Daemons of which each provider has its own."""

ANSWERING = (*OF_A_PROVIDER, "emsd", "samplerd")
"""Daemons that answer calls. What leads to a gateway, iblane and ibgw, speaks the gateway's own
protocol: a call there would be taken for an attack, or reach the gateway."""


class WrongManager(ValueError):
    """PIKER_MANAGER names none; the text says what it may be."""


def manager() -> Manager:
    """Whose daemons are meant, by PIKER_MANAGER. Raises WrongManager."""
    given = os.environ.get("PIKER_MANAGER") or "user"
    for known in MANAGERS:
        if given == known:
            return known
    raise WrongManager(f"PIKER_MANAGER: expected user or system, was {given!r}")


def other_manager() -> Manager:
    """The one whose daemons are not meant."""
    return "user" if manager() == "system" else "system"


def runtime_directory(of: Manager | None = None) -> Path:
    """systemd's `%t`, of this manager or another one.

    The user's: XDG_RUNTIME_DIR, else /run/user/UID, else a private directory in /tmp. Raises
    PermissionError if that last one is there but isn't ours alone.
    """
    if (of or manager()) == "system":
        return of_the_machine("run")
    given = _from_environment("XDG_RUNTIME_DIR")
    if given:
        return given
    usual = Path(f"/run/user/{os.getuid()}")
    return usual if usual.is_dir() else _private_directory(Path(f"/tmp/piker-{os.getuid()}"))  # noqa: S108 checked there


def config_directory() -> Path:
    """systemd's `%E`; piker's own files are below `piker/` in it."""
    if manager() == "system":
        return of_the_machine("etc")
    return _from_environment("XDG_CONFIG_HOME") or Path.home() / ".config"


def state_directory() -> Path:
    """systemd's `%S` (the user's from 254 on; 252 gives the configuration directory)."""
    if manager() == "system":
        return of_the_machine("var/lib")
    return _from_environment("XDG_STATE_HOME") or Path.home() / ".local" / "state"


def of_the_machine(below: str) -> Path:
    """A directory of the machine's own, by its path below the root: PIKER_ROOT, else /."""
    return (_from_environment("PIKER_ROOT") or Path("/")) / below


def socket_path(daemon: str, instance: str | None = None, *, of: Manager | None = None) -> Path:
    """The one place where a daemon listens: `%t/piker/DAEMON/INSTANCE.sock`, or `DOOR.sock`."""
    name = instance or DOORS.get(daemon, (daemon,))[0]
    return runtime_directory(of) / "piker" / daemon / f"{name}.sock"


def unit_name(daemon: str, instance: str | None = None) -> str:
    """The unit of a daemon, without its kind: a door is no instance."""
    plain = instance is None or instance in DOORS.get(daemon, ())
    return daemon if plain else f"{daemon}@{instance}"


def state_of(daemon: str) -> Path:
    """A daemon's own state: STATE_DIRECTORY as its manager gives it, else where the unit has it.

    That is `%S/piker/DAEMON` in the system, where nothing else is in `%S/piker`, and
    `%S/piker-DAEMON` for a user. There systemd 252's `%S` is the configuration directory: what is
    there already counts.
    """
    given = _from_environment("STATE_DIRECTORY")
    if given:
        return given
    if manager() == "system":
        return state_directory() / "piker" / daemon
    usual, old = (each / f"piker-{daemon}" for each in (state_directory(), config_directory()))
    return old if old.is_dir() and not usual.is_dir() else usual


def history() -> Path:
    """Where bars and ticks are kept, in a directory a provider."""
    return state_of("datad") / "history"


def units_directory() -> Path:
    """The unit files: PIKER_UNITS, else beside the package in a checkout, else as installed."""
    given = _from_environment("PIKER_UNITS")
    if given:
        return given
    checkout = Path(__file__).resolve().parent.parent / "units"
    return checkout if checkout.is_dir() else Path(sys.prefix) / "share" / "piker" / "units"


def systemctl() -> str:
    """The command, up to its verb, by which a person starts and stops units."""
    return "sudo systemctl" if manager() == "system" else "systemctl --user"


def journalctl(unit: str) -> str:
    """The command that shows a unit's log."""
    return f"journalctl {'' if manager() == 'system' else '--user '}-u {unit}"


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
