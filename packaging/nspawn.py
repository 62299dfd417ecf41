"""systemd-nspawn, started so that nothing of a container stays on the host or disturbs another.

Each has control groups of its own, and its mounts are in a mount namespace that ends with it. Its
root filesystem is an overlay: layers that stay as they are, below what takes what is written.
"""

import os
import shlex
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

# Registered nowhere, with nothing of the host's settings.
OPTIONS = (
    *("--quiet", "--register=no", "--keep-unit", "--settings=no"),
    *("--timezone=off", "--link-journal=no"),
)
OFFLINE = ("--private-network", "--resolv-conf=off")
ONLINE = ("--resolv-conf=bind-host",)

# systemd 257 wants it, 252 doesn't mind.
ENVIRONMENT = {"SYSTEMD_NSPAWN_UNIFIED_HIERARCHY": "1"}


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


@contextmanager
def mounts(root: Path, layers: Sequence[Path], disk: Path | None = None) -> Iterator[int]:
    """Mount layers at root, the topmost first, in a mount namespace of its own; gives its number.

    What is written goes to `disk`/upper, or without one to memory, and is gone at the end.
    """
    steps = ["mkdir -p /run/systemd/nspawn", "mount -t tmpfs tmpfs /run/systemd/nspawn"]
    steps += [shlex.join(step) for step in _overlay(root, layers, disk)]
    # it reads until its input is closed, which it also is when this process dies
    script = "\n".join([*steps, "echo mounted", "read -r never || true"])
    keep = ["unshare", "--mount", "--propagation=private", "sh", "-ec", script]
    with subprocess.Popen(keep, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as keeper:
        assert keeper.stdin is not None
        assert keeper.stdout is not None
        if keeper.stdout.readline() != b"mounted\n":
            raise OSError(f"expected the layers to be mounted at {root}, see above")
        yield keeper.pid
        keeper.stdin.close()


def command(groups: Sequence[Path], namespace: int, options: Sequence[str]) -> list[str]:
    """What runs systemd-nspawn in these groups and in that mount namespace."""
    steps = [
        *(f"echo $$ >{shlex.quote(str(group / 'cgroup.procs'))}" for group in groups),
        f"exec setpriv --pdeathsig=TERM {shlex.join(['systemd-nspawn', *OPTIONS, *options])}",
    ]
    enter = ["nsenter", f"--target={namespace}", "--mount", "--wdns=/"]
    return [*enter, "sh", "-ec", "\n".join(steps)]


def environment(own: Mapping[str, str]) -> dict[str, str]:
    """The environment of that command: the host's, the container sees none of it."""
    return {**os.environ, **ENVIRONMENT, **own}


def _overlay(root: Path, layers: Sequence[Path], disk: Path | None) -> list[list[str]]:
    kept = disk or root.with_name(f"{root.name}-disk")
    lower = ":".join(map(str, layers))
    options = f"lowerdir={lower},upperdir={kept}/upper,workdir={kept}/work"
    memory = [] if disk else [["mount", "-t", "tmpfs", "-o", "mode=0755", "tmpfs", str(kept)]]
    return [
        ["mkdir", "-p", str(root), str(kept)],
        *memory,
        ["mkdir", "-p", f"{kept}/upper", f"{kept}/work"],
        ["mount", "-t", "overlay", "-o", options, "overlay", str(root)],
    ]


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
