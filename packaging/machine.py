"""A machine under test: a real systemd booted in half a second, and gone without a trace.

    with Machine([piker, libraries, root]) as machine:
        machine.systemctl_user("start", "datad@replay")

Its root filesystem is an overlay: layers that stay as they are, below a tmpfs.
"""

import itertools
import json
import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

import nspawn

# Longer than any step takes on a loaded build machine; nothing sleeps for it.
TIMEOUT_S = 30
POLL_S = 0.05

USER = "trader"
UID = 1000
RUNTIME_DIRECTORY = f"/run/user/{UID}"
USER_ENVIRONMENT = {
    "HOME": f"/home/{USER}",
    "USER": USER,
    "LANG": "C.UTF-8",
    "PATH": "/usr/lib/piker/bin:/usr/bin:/bin",
    "XDG_RUNTIME_DIR": RUNTIME_DIRECTORY,
    "DBUS_SESSION_BUS_ADDRESS": f"unix:path={RUNTIME_DIRECTORY}/bus",
}
ROOT_ENVIRONMENT = {"HOME": "/root", "LANG": "C.UTF-8", "PATH": "/usr/sbin:/usr/bin"}

# Connects and hands the sockets over its standard input, which is a socket, too.
CONNECT = """
import socket, sys
path, count = sys.argv[1], int(sys.argv[2])
sockets = [socket.socket(socket.AF_UNIX) for _ in range(count)]
for each in sockets:
    each.connect(path)
socket.send_fds(socket.socket(fileno=0), [b"."], [each.fileno() for each in sockets])
"""

Entry = Mapping[str, object]

_numbers = itertools.count(1)


class Machine:
    """A booted container. `layers` are directories, the topmost first."""

    def __init__(self, layers: Sequence[Path]) -> None:
        self.name = f"piker-{os.getpid()}-{next(_numbers)}"
        self._layers = layers
        self._stack = ExitStack()
        self._directory = Path()
        self._groups: list[Path] = []
        self._leader = 0

    def __enter__(self) -> Self:
        """Boot it, and wait until the system and the user's manager are up."""
        with ExitStack() as stack:
            self._directory = Path(tempfile.mkdtemp(prefix=f"{self.name}-"))
            stack.callback(shutil.rmtree, self._directory)
            self._groups = stack.enter_context(nspawn.control_groups(self.name))
            self._boot(stack)
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Cut its power. Control groups can't be removed, and this fails, if a process is left."""
        self._stack.close()
        assert str(self._directory) not in Path("/proc/self/mountinfo").read_text()

    def run(
        self,
        argv: Sequence[str],
        *,
        user: str | None = None,
        text: str = "",
        check: bool = True,
    ) -> subprocess.CompletedProcess[str]:
        """Run a command to its end, as root or as the user; `text` is its input."""
        done = subprocess.run(
            self.command(argv, user=user),
            input=text,
            capture_output=True,
            text=True,
            timeout=TIMEOUT_S,
        )
        if check and done.returncode:
            raise AssertionError(f"{argv} failed, {done.returncode}: {done.stdout}{done.stderr}")
        return done

    def command(self, argv: Sequence[str], *, user: str | None = None) -> list[str]:
        """What runs a command in the machine, for a Popen of one's own."""
        environment = USER_ENVIRONMENT if user else ROOT_ENVIRONMENT
        settings = [f"{name}={value}" for name, value in environment.items()]
        identity = [f"--reuid={user}", f"--regid={user}", "--init-groups"] if user else []
        return [
            *("nsenter", f"--target={self._leader}", "--all", "--root", "--wdns=/"),
            *("setpriv", *identity, "env", "--ignore-environment", *settings, *argv),
        ]

    def systemctl_user(self, *arguments: str, check: bool = True) -> str:
        """What `systemctl --user` prints."""
        return self.run(["systemctl", "--user", *arguments], user=USER, check=check).stdout

    def show(self, unit: str, name: str) -> str:
        """One property of a user unit."""
        return self.systemctl_user("show", "--value", f"--property={name}", unit).strip()

    def journal_user(self, unit: str) -> list[Entry]:
        """What the user's journal holds of a unit, oldest first."""
        self.run(["journalctl", "--sync"])
        read = ["journalctl", "--user", "--unit", unit, "--output=json", "--all"]
        lines = self.run(read, user=USER).stdout.splitlines()
        return [json.loads(line) for line in lines]

    def await_entry(self, unit: str, wanted: Callable[[Entry], bool]) -> Entry:
        """The first entry of a unit that is wanted, now or when it comes."""
        follow = ["timeout", str(TIMEOUT_S), "journalctl", "--user", "--unit", unit]
        follow += ["--output=json", "--all", "--follow", "--lines=all"]
        with subprocess.Popen(self.command(follow, user=USER), stdout=subprocess.PIPE) as reader:
            assert reader.stdout is not None
            try:
                return next(filter(wanted, map(json.loads, reader.stdout)))
            except StopIteration:
                raise AssertionError(f"no such entry of {unit} in {TIMEOUT_S} s") from None
            finally:
                reader.terminate()

    def journal(self) -> str:
        """The whole journal, for a person to read."""
        self.run(["journalctl", "--sync"], check=False)
        return self.run(["journalctl", "--no-pager", "--output=short-precise"], check=False).stdout

    def connect(self, path: str, count: int = 1) -> list[socket.socket]:
        """Connections to a socket in the machine, made there by the user."""
        ours, theirs = socket.socketpair()
        with ours, theirs:
            ours.settimeout(TIMEOUT_S)
            program = ["python3", "-c", CONNECT, path, str(count)]
            connect = self.command(program, user=USER)
            subprocess.run(connect, stdin=theirs.fileno(), check=True, timeout=TIMEOUT_S)
            _, fds, _, _ = socket.recv_fds(ours, 1, count)
        return [_timed(socket.socket(fileno=fd)) for fd in fds]

    def push(self, path: str, text: str) -> None:
        """Write a file of the user's, and make the directories that lead to it."""
        self.run(["mkdir", "-p", str(Path(path).parent)], user=USER)
        self.run(["tee", path], user=USER, text=text)

    def exists(self, path: str) -> bool:
        """Whether there is such a file in the machine."""
        return self.run(["test", "-e", path], check=False).returncode == 0

    def processes(self) -> list[str]:
        """The command line of every process that the machine's systemd started."""
        groups = (self._groups[0] / "payload").rglob("cgroup.procs")
        pids = [pid for group in groups for pid in group.read_text().split()]
        lines = [Path(f"/proc/{pid}/cmdline").read_text() for pid in pids]
        return [line.replace("\0", " ").strip() for line in lines]

    def _boot(self, stack: ExitStack) -> None:
        root = self._directory / "root"
        root.mkdir()
        notify = str(self._directory / "notify")
        notices = stack.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM))
        notices.bind(notify)
        console = stack.enter_context((self._directory / "console").open("w+"))
        options = [f"--directory={root}", f"--machine={self.name}", "--boot"]
        options += ["--notify-ready=yes", "--kill-signal=SIGKILL"]
        process = subprocess.Popen(
            nspawn.command(self._groups, _overlay(root, self._layers), options),
            env={**os.environ, "NOTIFY_SOCKET": notify, "SYSTEMD_NSPAWN_UNIFIED_HIERARCHY": "1"},
            stdin=subprocess.DEVNULL,
            stdout=console,
            stderr=subprocess.STDOUT,
        )
        stack.callback(_end, process)
        try:
            self._await_ready(notices)
        except TimeoutError as error:
            text = (self._directory / "console").read_text()
            raise AssertionError(f"not up within {TIMEOUT_S} s: {text}") from error
        self.run(["systemctl", "start", f"user@{UID}.service"])
        self.run(["systemctl", "is-system-running", "--wait"])

    def _await_ready(self, notices: socket.socket) -> None:
        """nspawn tells first who the machine's PID 1 is, then that it says READY=1."""
        notices.settimeout(TIMEOUT_S)
        notice: dict[str, str] = {}
        while notice.get("READY") != "1":
            lines = notices.recv(4096).decode().splitlines()
            notice |= dict(line.split("=", 1) for line in lines)
        self._leader = int(notice["X_NSPAWN_LEADER_PID"])


def wait_until(condition: Callable[[], bool], what: str) -> None:
    """Poll for a state that systemd has no event for, such as a property of a unit."""
    end = time.monotonic() + TIMEOUT_S
    while not condition():
        assert time.monotonic() < end, f"not within {TIMEOUT_S} s: {what}"
        time.sleep(POLL_S)


def _overlay(root: Path, layers: Sequence[Path]) -> list[list[str]]:
    """How to mount the layers at root, below a tmpfs that takes what is written."""
    lower = ":".join(map(str, layers))
    options = f"lowerdir={lower},upperdir={root}/upper,workdir={root}/work"
    return [
        ["mount", "-t", "tmpfs", "-o", "mode=0755", "tmpfs", str(root)],
        ["mkdir", f"{root}/upper", f"{root}/work"],
        ["mount", "-t", "overlay", "-o", options, "overlay", str(root)],
    ]


def _end(process: subprocess.Popen[bytes]) -> None:
    """At SIGTERM, nspawn kills PID 1 of the machine, and with it all the others."""
    process.terminate()
    process.wait(timeout=TIMEOUT_S)


def _timed(sock: socket.socket) -> socket.socket:
    sock.settimeout(TIMEOUT_S)
    return sock
