"""systemd-nspawn, started so that nothing of a container stays on the host or disturbs another.

Each has control groups of its own, and its mounts are in a mount namespace that ends with it.
"""

import os
import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

# Registered nowhere, without network, with nothing of the host's settings.
OPTIONS = (
    *("--quiet", "--register=no", "--keep-unit", "--private-network", "--settings=no"),
    *("--resolv-conf=off", "--timezone=off", "--link-journal=no"),
)


@contextmanager
def control_groups(name: str) -> Iterator[list[Path]]:
    """A new group in every hierarchy of systemd's; removing them fails if a process is left."""
    groups = [hierarchy / name for hierarchy in _hierarchies()]
    for group in groups:
        group.mkdir()
    try:
        yield groups
    finally:
        for group in groups:
            _remove(group)


def command(groups: list[Path], mounts: list[list[str]], options: list[str]) -> list[str]:
    """What runs systemd-nspawn in these groups, after these mount commands."""
    steps = [
        *(f"echo $$ >{shlex.quote(str(group / 'cgroup.procs'))}" for group in groups),
        "mkdir -p /run/systemd/nspawn",
        "mount -t tmpfs tmpfs /run/systemd/nspawn",
        *(shlex.join(mount) for mount in mounts),
        f"exec setpriv --pdeathsig=TERM {shlex.join(['systemd-nspawn', *OPTIONS, *options])}",
    ]
    return ["unshare", "--mount", "--propagation=private", "sh", "-ec", "\n".join(steps)]


def _hierarchies() -> list[Path]:
    """Where cgroup v2 is mounted and, on a hybrid host, systemd's named v1 hierarchy."""
    found = []
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        mount, _, filesystem = line.partition(" - ")
        kind, _, options = filesystem.split(" ", 2)
        if kind == "cgroup2" or (kind == "cgroup" and "name=systemd" in options.split(",")):
            found.append(Path(mount.split()[4]))
    return found


def _remove(group: Path) -> None:
    for directory, _, _ in os.walk(group, topdown=False):
        Path(directory).rmdir()
