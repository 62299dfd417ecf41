"""What a service finds around it: its environment, credentials and directories.

Source: systemd.exec(5), "Environment Variables Set or Propagated by the Service Manager".
"""

import os
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from piker.core.units import ServiceUnit, parse_environment
from piker.paths import runtime_directory, state_directory

# What a manager says to one process alone; pikerd may have been told by its own.
_PERSONAL = {
    *("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", "SYSTEMD_EXEC_PID", "INVOCATION_ID"),
    *("LISTEN_FDS", "LISTEN_FDNAMES", "LISTEN_PID", "JOURNAL_STREAM"),
    *("CREDENTIALS_DIRECTORY", "STATE_DIRECTORY", "RUNTIME_DIRECTORY"),
}


@contextmanager
def temporary(directory: Path) -> Iterator[Path]:
    """A directory for us alone, empty at the start and gone at the end."""
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(mode=0o700, parents=True)
    try:
        yield directory
    finally:
        shutil.rmtree(directory)


@contextmanager
def surroundings(unit: ServiceUnit, private: Path) -> Iterator[dict[str, str]]:
    """The environment of one run of a service; what was made for it alone goes away after.

    Raises OSError or BadUnit if something that the unit names can't be read.
    """
    env = {name: value for name, value in os.environ.items() if name not in _PERSONAL}
    with ExitStack() as stack:
        if unit.load_credentials or unit.set_credentials:
            credentials = stack.enter_context(temporary(private / "credentials"))
            _write_credentials(unit, credentials)
            env["CREDENTIALS_DIRECTORY"] = str(credentials)
        if unit.state_directories:
            states = [state_directory() / name for name in unit.state_directories]
            for state in states:
                state.mkdir(mode=unit.state_mode, parents=True, exist_ok=True)
            env["STATE_DIRECTORY"] = ":".join(map(str, states))
        if unit.runtime_directories:
            runtimes = [runtime_directory() / name for name in unit.runtime_directories]
            env["RUNTIME_DIRECTORY"] = ":".join(
                str(stack.enter_context(temporary(runtime))) for runtime in runtimes
            )
        # last, as systemd has it: these may replace what it says itself
        env |= unit.environment
        for file in unit.environment_files:
            env |= _read_environment(file)
        yield env


def _read_environment(file: str) -> dict[str, str]:
    """A leading "-" lets it be absent."""
    path = Path(file.removeprefix("-"))
    if path != Path(file) and not path.exists():
        return {}
    return dict(parse_environment(path.read_text(), str(path)))


def _write_credentials(unit: ServiceUnit, directory: Path) -> None:
    """Each is a file; one that can't be loaded has the value that was set, if one was."""
    values = {name: value.encode() for name, value in unit.set_credentials}
    for name, path in unit.load_credentials:
        try:
            values[name] = Path(path).read_bytes()
        except FileNotFoundError:
            if name not in values:
                raise
    for name, content in values.items():
        fd = os.open(directory / name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o400)
        with os.fdopen(fd, "wb") as file:
            file.write(content)
