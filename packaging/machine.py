"""A machine under test: a real systemd booted in half a second, and gone without a trace.

    with Machine([package, root]) as machine:
        machine.systemctl_user("start", "datad@replay")

Its root filesystem is an overlay: layers that stay as they are, below memory.
"""

import errno
import itertools
import json
import os
import shutil
import signal
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
INSTALL_TIMEOUT_S = 120
POLL_S = 0.05

USER = "trader"
UID = 1000
RUNTIME_DIRECTORY = f"/run/user/{UID}"
ROOT_ENVIRONMENT = {"HOME": "/root", "LANG": "C.UTF-8", "PATH": "/usr/sbin:/usr/bin"}

# What a real machine's root has and nspawn withholds. Without the first, filters of addresses do
# nothing; without the second, networks of a unit's own fail open; the rest is what attacks try.
PRIVILEGES = (
    "--capability=CAP_BPF,CAP_NET_ADMIN,CAP_PERFMON,CAP_SYS_RESOURCE",
    "--system-call-filter=bpf perf_event_open pidfd_getfd",
)
# of PID 1, see systemd(1)
POWEROFF = signal.SIGRTMIN + 4

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
        self._uids = {USER: UID}
        self._stack = ExitStack()
        self._power = ExitStack()
        self._directory = Path()
        self._groups: list[Path] = []
        self._namespace = 0
        self._leader = 0
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        """Boot it, and wait until the system and the user's manager are up."""
        with ExitStack() as stack:
            self._directory = Path(tempfile.mkdtemp(prefix=f"{self.name}-"))
            stack.callback(shutil.rmtree, self._directory)
            mounted = nspawn.mounts(self._directory / "root", self._layers)
            self._namespace = stack.enter_context(mounted)
            stack.callback(self._cut)
            self._boot()
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Cut its power, and see that nothing of it is left."""
        self._stack.close()
        assert str(self._directory) not in Path("/proc/self/mountinfo").read_text()

    def reboot(self, *, clean: bool = True) -> None:
        """Shut it down, or cut its power, and boot it again with what is on its disk."""
        if clean:
            assert self._process is not None
            os.kill(self._leader, POWEROFF)
            self._process.wait(timeout=TIMEOUT_S)
        self._cut()
        self._boot()

    def install(self, *packages: Path) -> str:
        """Install .deb files as they are, without what they depend on; gives what dpkg said."""
        inside = [f"/var/tmp/{package.name}" for package in packages]
        for package, path in zip(packages, inside, strict=True):
            self.copy(package, path)
        done = self.run(["dpkg", "--install", *inside], timeout_s=INSTALL_TIMEOUT_S)
        self.run(["rm", *inside])
        return done.stdout + done.stderr

    def copy(self, source: Path, path: str) -> None:
        """Copy a file or a directory of this host into the machine, as root's."""
        target = f"/proc/{self._leader}/root{path}"
        if source.is_dir():
            shutil.copytree(source, target, symlinks=True)
        else:
            shutil.copy(source, target)

    def add_user(self, name: str, *groups: str) -> None:
        """Make a user who is in these groups, too, and isn't logged in."""
        self.run(["useradd", "--create-home", f"--groups={','.join(groups)}", name])
        self._uids[name] = int(self.run(["id", "--user", name]).stdout)

    def run(
        self,
        argv: Sequence[str],
        *,
        user: str | None = None,
        text: str = "",
        check: bool = True,
        timeout_s: float = TIMEOUT_S,
    ) -> subprocess.CompletedProcess[str]:
        """Run a command to its end, as root or as a user; `text` is its input."""
        done = subprocess.run(
            self.command(argv, user=user),
            input=text,
            capture_output=True,
            text=True,
            timeout=timeout_s,
        )
        if check and done.returncode:
            raise AssertionError(f"{argv} failed, {done.returncode}: {done.stdout}{done.stderr}")
        return done

    def command(self, argv: Sequence[str], *, user: str | None = None) -> list[str]:
        """What runs a command in the machine, for a Popen of one's own."""
        environment = self._environment(user) if user else ROOT_ENVIRONMENT
        settings = [f"{name}={value}" for name, value in environment.items()]
        identity = [f"--reuid={user}", f"--regid={user}", "--init-groups"] if user else []
        return [
            *("nsenter", f"--target={self._leader}", "--all", "--root", "--wdns=/"),
            *("setpriv", *identity, "env", "--ignore-environment", *settings, *argv),
        ]

    def systemctl(self, *arguments: str, check: bool = True) -> str:
        """What `systemctl` prints of the system manager, asked by root."""
        return self.run(["systemctl", *arguments], check=check).stdout

    def show_system(self, unit: str, name: str) -> str:
        """One property of a unit of the system manager."""
        return self.systemctl("show", "--value", f"--property={name}", unit).strip()

    def journal_system(self, unit: str) -> list[Entry]:
        """What the journal holds of a unit of the system manager, oldest first."""
        self.run(["journalctl", "--sync"])
        lines = self.run(["journalctl", "--unit", unit, "--output=json", "--all"]).stdout
        return [json.loads(line) for line in lines.splitlines()]

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

    def journal_of_user(self) -> str:
        """The texts in the journal of all that the user's manager has run, a line each."""
        self.run(["journalctl", "--sync"])
        return self.run(["journalctl", "--user", "--output=cat", "--no-pager"], user=USER).stdout

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
        # os.walk passes over a group that goes meanwhile, as Path.rglob doesn't
        groups = [Path(each) for each, _, _ in os.walk(self._groups[0] / "payload")]
        pids = [pid for group in groups for pid in _read(group / "cgroup.procs").split()]
        lines = [_read(Path(f"/proc/{pid}/cmdline")) for pid in pids]
        return [line.replace("\0", " ").strip() for line in lines if line]

    def _boot(self) -> None:
        with ExitStack() as stack:
            self._groups = stack.enter_context(nspawn.control_groups(self.name))
            notices = stack.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM))
            notify = self._directory / "notify"
            notices.bind(str(notify))
            stack.callback(notify.unlink)
            self._process = self._spawn(notify)
            stack.callback(_end, self._process)
            try:
                self._await_ready(notices)
            except TimeoutError as error:
                text = (self._directory / "console").read_text()
                raise AssertionError(f"not up within {TIMEOUT_S} s: {text}") from error
            # nspawn would wait for us to read what else it says, also when it is told to end
            notices.close()
            self._power = stack.pop_all()
        self.run(["systemctl", "start", f"user@{UID}.service"])
        self.run(["systemctl", "is-system-running", "--wait"])
        # until what a login starts has ended, piker-resume among it; it may have failed
        self.systemctl_user("is-system-running", "--wait", check=False)

    def _spawn(self, notify: Path) -> subprocess.Popen[bytes]:
        options = [f"--directory={self._directory}/root", f"--machine={self.name}", "--boot"]
        options += ["--notify-ready=yes", "--kill-signal=SIGKILL", *nspawn.OFFLINE, *PRIVILEGES]
        with (self._directory / "console").open("a") as console:
            return subprocess.Popen(
                nspawn.command(self._groups, self._namespace, options),
                env=nspawn.environment({"NOTIFY_SOCKET": str(notify)}),
                stdin=subprocess.DEVNULL,
                stdout=console,
                stderr=subprocess.STDOUT,
            )

    def _cut(self) -> None:
        """Cut its power. Control groups can't be removed, and this fails, if a process is left."""
        self._power.close()

    def _environment(self, user: str) -> dict[str, str]:
        runtime = f"/run/user/{self._uids[user]}"
        return {
            "HOME": f"/home/{user}",
            "USER": user,
            "LANG": "C.UTF-8",
            "PATH": "/usr/lib/piker/bin:/usr/bin:/bin",
            "XDG_RUNTIME_DIR": runtime,
            "DBUS_SESSION_BUS_ADDRESS": f"unix:path={runtime}/bus",
        }

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


def _read(path: Path) -> str:
    """What the kernel tells of a group or a process: nothing, when it has gone meanwhile."""
    try:
        return path.read_text()
    except OSError as error:
        if error.errno not in (errno.ENOENT, errno.ENODEV, errno.ESRCH):
            raise
        return ""


def _end(process: subprocess.Popen[bytes]) -> None:
    """At SIGTERM, nspawn kills PID 1 of the machine, and with it all the others."""
    process.terminate()
    process.wait(timeout=TIMEOUT_S)


def _timed(sock: socket.socket) -> socket.socket:
    sock.settimeout(TIMEOUT_S)
    return sock
