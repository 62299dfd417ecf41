"""pikerd: real units, sockets and processes, as a systemd user manager would run them."""

import json
import os
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import aclosing
from pathlib import Path

import pytest
import trio
import trio.testing
from msgspec import structs

from piker.client import open_daemon
from piker.errors import Refused
from piker.interfaces import service as answers
from piker.interfaces.service import Health, HealthReply
from piker.interfaces.supervisor import (
    SUPERVISOR,
    Done,
    NoSuchUnit,
    Start,
    Stop,
    Unit,
    UnitFailed,
    Units,
    UnitsReply,
)
from piker.pikerd import CantSupervise, news, supervise, tree
from piker.store import halt, marks
from piker.supervision.supervisor import Supervisor, open_supervisor
from piker.varlink import open_client

# A service that does what it is told, a connection at a time.
ECHO = r"""
import json, os, signal, socket, subprocess, sys, time

def notify(text, *fds):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.connect(os.environ["NOTIFY_SOCKET"])
        socket.send_fds(sock, [text.encode()], fds)

def store(name):
    fd = os.memfd_create(name)
    os.write(fd, name.encode())
    notify(f"FDSTORE=1\nFDNAME={name}", fd)

def stored():
    names = os.environ["LISTEN_FDNAMES"].split(":")
    return [[name, os.pread(3 + i, 99, 0).decode()] for i, name in enumerate(names) if i]

def keep_alive(*_):
    print("a reason to live", flush=True)
    os._exit(75)

def child():
    return subprocess.Popen(["sleep", "1000"]).pid

if "KEEP" in os.environ:
    signal.signal(signal.SIGTERM, keep_alive)
if "DEAF" in os.environ:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
names = os.environ["LISTEN_FDNAMES"].split(":")
listener = socket.socket(fileno=3 + (names.index("view") if "view" in names else 0))
notify("READY=1\nSTATUS=on " + str(os.getpid()))
while True:
    connection, _ = listener.accept()
    with connection:
        for asked in iter(lambda: connection.recv(4096).decode(), ""):
            verb, _, rest = asked.partition(" ")
            answer = {
                "env": lambda: dict(os.environ),
                "argv": lambda: sys.argv[1:],
                "pid": os.getpid,
                "read": lambda: open(rest).read(),
                "mode": lambda: oct(os.stat(rest).st_mode),
                "say": lambda: print(rest, flush=True),
                "store": lambda: store(rest),
                "forget": lambda: notify(f"FDSTOREREMOVE=1\nFDNAME={rest}"),
                "stored": stored,
                "child": child,
                "exit": lambda: os._exit(int(rest)),
            }[verb]()
            connection.sendall(json.dumps(answer).encode())
"""

SOCKET = """
[Unit]
PartOf=piker.target
After=piker.target
[Socket]
ExecStartPre=/bin/mkdir -p -m 0700 %t/a
ListenStream=%t/a/%i.sock
FileDescriptorName=echo
SocketMode=0600
DirectoryMode=0700
RemoveOnStop=yes
"""

SERVICE = """
[Unit]
Requires=a@%i.socket
PartOf=piker.target
After=piker.target
[Service]
Type=notify
ExecStart={command}
Restart=on-failure
RestartSec=10ms
SuccessExitStatus=75
RestartForceExitStatus=75
FileDescriptorStoreMax=3
TimeoutStopSec=10s
"""

NEVER_READY = SERVICE.format(command="/bin/sleep 1000")


class Suite:
    """Units in a directory of their own, and a supervisor that runs them."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.runtime = root / "run"
        self.units = root / "units"
        self.lines: list[str] = []
        self.supervisor: Supervisor
        (root / "echo.py").write_text(ECHO)
        self.service = SERVICE.format(command=f"/usr/lib/piker/bin/python -I {root}/echo.py %i 5%%")
        self.write("piker.target", "[Unit]\nDescription=all of it\n")
        self.write("a@.socket", SOCKET)
        self.write("a@.service", self.service)

    def write(self, name: str, text: str) -> None:
        """Write a unit or a drop-in."""
        path = self.units / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def log(self, unit: str, line: str) -> None:
        """Take a line of a unit's output."""
        self.lines.append(f"{unit}: {line}")

    def path(self, instance: str = "x") -> Path:
        """Where an instance listens."""
        return self.runtime / "a" / f"{instance}.sock"

    def unit(self, name: str) -> Unit:
        """A unit as it is."""
        return next(unit for unit in self.supervisor.units() if unit.unit == name)

    async def until(self, name: str, condition: Callable[[Unit], bool]) -> Unit:
        """A unit, when it has come to be such."""
        with trio.fail_after(20):
            while not condition(unit := self.unit(name)):
                await self.supervisor.changes.after(self.supervisor.changes.number)
        return unit

    async def ask(self, question: str, instance: str = "x") -> object:
        """What the service answers; None if it hangs up."""
        with trio.fail_after(20):
            async with await trio.open_unix_socket(str(self.path(instance))) as stream:
                return await ask(stream, question)


async def ask(stream: trio.abc.Stream, question: str) -> object:
    """Ask over an open connection."""
    with trio.fail_after(20):
        await stream.send_all(question.encode())
        try:
            answer = await stream.receive_some(1 << 20)
        except trio.BrokenResourceError:
            answer = b""
        return json.loads(answer) if answer else None


async def ended(pid: int) -> None:
    """Wait until a process, whoever's child it is, has ended."""
    try:
        fd = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        with trio.fail_after(20):
            await trio.lowlevel.wait_readable(fd)
    finally:
        os.close(fd)


def open_descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


def children() -> set[str]:
    tasks = Path("/proc/self/task").iterdir()
    return {pid for task in tasks for pid in (task / "children").read_text().split()}


def exists(path: str) -> bool:
    return os.path.exists(path)


@pytest.fixture
def root(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A short path: a socket's may have 107 bytes. No process is left when it goes."""
    before = children()
    made = Path(tempfile.mkdtemp(prefix="pikerd-"))
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(made / "run"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(made / "config"))
    monkeypatch.setenv("XDG_STATE_HOME", str(made / "state"))
    monkeypatch.setenv("PIKER_UNITS", str(made / "units"))
    monkeypatch.setenv("NOTIFY_SOCKET", "/not/for/children")
    yield made
    shutil.rmtree(made)
    assert children() <= before


@pytest.fixture
async def suite(root: Path) -> AsyncIterator[Suite]:
    """A supervisor under which nothing runs yet; nothing is left when it ends."""
    made = Suite(root)
    async with open_supervisor(root / "private", made.log) as made.supervisor:
        yield made
    assert [unit.unit for unit in made.supervisor.units() if unit.pid] == []
    assert list((root / "private").glob("*")) == []
    assert list((root / "run").rglob("*.sock")) == []


async def test_a_service_starts_with_the_first_connection_and_not_before(suite: Suite) -> None:
    await suite.supervisor.start("a@x.socket")
    assert suite.unit("a@x.socket").sub == "listening"
    assert suite.unit("a@x.service").sub == "dead"
    pid = await suite.ask("pid")
    service = await suite.until("a@x.service", lambda unit: unit.active == "active")
    assert (service.pid, service.sub, service.status) == (pid, "running", f"on {pid}")
    assert service.memory_bytes is not None
    assert service.memory_bytes > 1_000_000


async def test_a_unit_has_begun_with_its_first_start_by_whomever(suite: Suite) -> None:
    await suite.supervisor.start("a@x.socket")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(suite.ask, "pid")
        with trio.fail_after(20):
            await suite.supervisor.begun("a@x.service")
        assert suite.unit("a@x.service").active == "activating"


def write_two_doors(suite: Suite, view: str, trade: str) -> None:
    """A service, named as the first of its sockets, with two of them."""
    two = f"Requires={view}.socket {trade}.socket"
    service = suite.service.replace("Requires=a@%i.socket", two)
    service = service.replace("[Service]", f"[Service]\nSockets={trade}.socket")
    suite.write(f"{view}.service", service)
    for door, fd_name in ((view, "view"), (trade, "trade")):
        socket_unit = SOCKET.replace("%i", door).replace("=echo", f"={fd_name}")
        suite.write(f"{door}.socket", f"{socket_unit}Service={view}.service\n")


@pytest.mark.parametrize("door", ["b", "b-trade"])
async def test_a_connection_to_either_socket_starts_a_service_which_is_handed_both(
    suite: Suite, door: str
) -> None:
    write_two_doors(suite, "b", "b-trade")
    await suite.supervisor.start("b.socket")
    await suite.supervisor.start("b-trade.socket")
    async with trio.open_nursery() as nursery:
        # the echo service answers at "view" only: a connection to the other starts it
        nursery.start_soon(connect, suite.path(door))
        service = await suite.until("b.service", lambda unit: unit.active == "active")
    env = await suite.ask("env", "b")
    assert isinstance(env, dict)
    assert (env["LISTEN_FDS"], sorted(env["LISTEN_FDNAMES"].split(":"))) == ("2", ["trade", "view"])
    assert env["LISTEN_PID"] == str(service.pid)


async def connect(path: Path) -> None:
    await (await trio.open_unix_socket(str(path))).aclose()


async def test_a_service_with_two_sockets_that_is_started_by_hand_has_both(suite: Suite) -> None:
    write_two_doors(suite, "b", "b-trade")
    await suite.supervisor.start("b.service")
    assert {suite.unit(name).sub for name in ("b.socket", "b-trade.socket")} == {"listening"}
    env = await suite.ask("env", "b")
    assert isinstance(env, dict)
    assert env["LISTEN_FDS"] == "2"


async def test_a_service_ends_with_either_of_its_sockets(suite: Suite) -> None:
    write_two_doors(suite, "b", "b-trade")
    await suite.supervisor.start("b.service")
    await suite.supervisor.stop("b-trade.socket")
    assert suite.unit("b.service").active == "inactive"
    assert not exists(str(suite.path("b-trade")))


def once(command: str) -> str:
    return f"[Service]\nType=oneshot\nExecStart={command}\n"


async def test_what_is_done_once_is_started_when_it_has_ended_well(suite: Suite) -> None:
    suite.write("once.service", once(f"/bin/sh -c 'sleep 0.1; touch {suite.root}/done'"))
    await suite.supervisor.start("once.service")
    assert exists(f"{suite.root}/done")
    unit = suite.unit("once.service")
    assert (unit.active, unit.sub, unit.pid) == ("inactive", "dead", None)


async def test_what_is_done_once_can_be_done_again(suite: Suite) -> None:
    suite.write("once.service", once(f"/bin/mkdir {suite.root}/done"))
    await suite.supervisor.start("once.service")
    os.rmdir(f"{suite.root}/done")
    await suite.supervisor.start("once.service")
    assert exists(f"{suite.root}/done")


async def test_what_is_done_once_and_fails_says_why(suite: Suite) -> None:
    suite.write("once.service", once("/bin/sh -c 'echo 3 are open; exit 1'"))
    with pytest.raises(Refused) as refused:
        await suite.supervisor.start("once.service")
    reason = "exit code 1: 3 are open"
    assert refused.value.fault == UnitFailed(unit="once.service", reason=reason)
    assert suite.unit("once.service").active == "failed"


async def test_what_is_done_once_and_is_stopped_was_not_done(suite: Suite) -> None:
    suite.write("once.service", once("/bin/sleep 1000"))
    refused: list[str] = []

    async def start() -> None:
        try:
            await suite.supervisor.start("once.service")
        except Refused as no:
            refused.append(str(no))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(start)
        await trio.testing.wait_all_tasks_blocked()
        await suite.supervisor.stop("once.service")
    assert refused == ["The unit did not come up (unit: once.service, reason: killed by SIGTERM)"]
    assert suite.unit("once.service").active == "inactive"
    assert suite.lines == []


async def test_a_service_finds_what_systemd_would_give_it(suite: Suite) -> None:
    directories = "StateDirectory=piker-a\nStateDirectoryMode=0700\nRuntimeDirectory=ra rb\n"
    suite.write("a@.service.d/more.conf", f'[Service]\nEnvironment=A=1 "B=b b"\n{directories}')
    await suite.supervisor.start("a@x.socket")
    env = await suite.ask("env")
    assert isinstance(env, dict)
    assert await suite.ask("argv") == ["x", "5%"]
    assert env["LISTEN_PID"] == env["SYSTEMD_EXEC_PID"] == str(await suite.ask("pid"))
    assert (env["LISTEN_FDS"], env["LISTEN_FDNAMES"]) == ("1", "echo")
    assert (env["A"], env["B"]) == ("1", "b b")
    assert env["NOTIFY_SOCKET"] == f"{suite.root}/private/a@x.service/notify"
    assert env["STATE_DIRECTORY"] == f"{suite.root}/state/piker-a"
    assert env["RUNTIME_DIRECTORY"] == f"{suite.runtime}/ra:{suite.runtime}/rb"
    assert await suite.ask(f"mode {env['STATE_DIRECTORY']}") == "0o40700"


async def test_what_a_unit_says_of_its_environment_counts_before_what_systemd_says(
    suite: Suite,
) -> None:
    said = "StateDirectory=piker-a/parts/%i\nEnvironment=STATE_DIRECTORY=%S/piker-a\n"
    suite.write("a@.service.d/more.conf", f"[Service]\n{said}")
    await suite.supervisor.start("a@x.socket")
    env = await suite.ask("env")
    assert isinstance(env, dict)
    assert env["STATE_DIRECTORY"] == f"{suite.root}/state/piker-a"
    assert (suite.root / "state/piker-a/parts/x").is_dir()


async def test_a_credential_is_loaded_and_one_that_is_absent_has_its_default(suite: Suite) -> None:
    (suite.root / "token").write_text("secret")
    suite.write(
        "a@.service.d/credentials.conf",
        f"[Service]\nLoadCredential=there:{suite.root}/token\nSetCredential=there:unused\n"
        f"LoadCredential=absent:{suite.root}/none\nSetCredential=absent:none\n",
    )
    await suite.supervisor.start("a@x.socket")
    env = await suite.ask("env")
    assert isinstance(env, dict)
    directory = env["CREDENTIALS_DIRECTORY"]
    assert await suite.ask(f"read {directory}/there") == "secret"
    assert await suite.ask(f"read {directory}/absent") == "none"
    assert await suite.ask(f"mode {directory}/there") == "0o100400"
    assert await suite.ask(f"mode {directory}") == "0o40700"
    await suite.supervisor.stop("a@x.service")
    assert not exists(directory)


async def test_a_credential_without_a_default_must_be_there(suite: Suite) -> None:
    suite.write("a@.service.d/c.conf", "[Service]\nLoadCredential=ib:/none/ib\nRestart=no\n")
    with pytest.raises(Refused, match="/none/ib"):
        await suite.supervisor.start("a@x.service")


async def test_variables_come_from_a_file_and_one_that_may_be_absent(suite: Suite) -> None:
    (suite.root / "env").write_text("FROM_FILE='f f'\n")
    files = f"EnvironmentFile={suite.root}/env -{suite.root}/none\n"
    suite.write("a@.service.d/e.conf", f"[Service]\nEnvironment=FROM_FILE=unit\n{files}")
    await suite.supervisor.start("a@x.socket")
    env = await suite.ask("env")
    assert isinstance(env, dict)
    assert env["FROM_FILE"] == "f f"


async def test_drop_ins_go_by_name_and_those_of_an_instance_count_for_it_alone(
    suite: Suite,
) -> None:
    suite.write("a@.service.d/10-all.conf", "[Service]\nEnvironment=A=all B=all\n")
    suite.write("a@.service.d/20-all.conf", "[Service]\nEnvironment=C=all\n")
    suite.write("a@x.service.d/15-x.conf", "[Service]\nEnvironment=B=x\n")
    suite.write("a@x.service.d/20-all.conf", "[Service]\nEnvironment=C=x\n")
    await suite.supervisor.start("a@x.socket")
    await suite.supervisor.start("a@y.socket")
    x, y = await suite.ask("env"), await suite.ask("env", "y")
    assert isinstance(x, dict)
    assert isinstance(y, dict)
    assert [x[name] for name in "ABC"] == ["all", "x", "x"]
    assert [y[name] for name in "ABC"] == ["all", "all", "all"]


async def test_connections_in_the_queue_survive_a_crash(suite: Suite) -> None:
    await suite.supervisor.start("a@x.socket")
    async with await trio.open_unix_socket(str(suite.path())) as holding:
        before = await ask(holding, "pid")  # it answers one at a time, and has this one now
        answers = []

        async def queue() -> None:
            answers.append(await suite.ask("pid"))

        async with trio.open_nursery() as nursery:
            for _ in range(5):
                nursery.start_soon(queue)
            await trio.testing.wait_all_tasks_blocked()
            assert isinstance(before, int)
            os.kill(before, signal.SIGKILL)
    after = suite.unit("a@x.service")
    assert answers == [after.pid] * 5
    assert after.pid != before
    assert after.restarts == 1
    assert "pikerd: a@x.service: killed by SIGKILL; restarting in 0.01 s" in suite.lines


async def test_a_service_that_idles_out_is_started_again_by_the_next_connection(
    suite: Suite,
) -> None:
    await suite.supervisor.start("a@x.socket")
    first = await suite.ask("pid")
    assert await suite.ask("exit 0") is None
    await suite.until("a@x.service", lambda unit: unit.sub == "dead")
    assert await suite.ask("pid") != first
    assert suite.unit("a@x.service").restarts == 0


async def test_a_service_killed_while_it_has_a_reason_to_live_is_restarted(suite: Suite) -> None:
    suite.write("a@.service.d/keep.conf", "[Service]\nEnvironment=KEEP=1\n")
    await suite.supervisor.start("a@x.service")
    before = suite.unit("a@x.service")
    assert before.pid is not None
    os.kill(before.pid, signal.SIGTERM)
    after = await suite.until("a@x.service", lambda unit: unit.pid not in (before.pid, None))
    assert after.restarts == 1


async def test_a_service_that_is_stopped_stays_down_whatever_its_reason_to_live(
    suite: Suite,
) -> None:
    suite.write("a@.service.d/keep.conf", "[Service]\nEnvironment=KEEP=1\n")
    await suite.supervisor.start("a@x.service")
    await suite.supervisor.stop("a@x.service")
    assert "a@x.service: a reason to live" in suite.lines
    stopped = suite.unit("a@x.service")
    assert (stopped.active, stopped.pid, stopped.restarts) == ("inactive", None, 0)


async def test_what_a_service_stored_comes_back_after_a_crash(suite: Suite) -> None:
    await suite.supervisor.start("a@x.socket")
    for name in ("one", "two", "three"):
        await suite.ask(f"store {name}")
    await suite.ask("forget two")
    pid = await suite.ask("pid")
    assert isinstance(pid, int)
    os.kill(pid, signal.SIGKILL)
    await ended(pid)
    assert await suite.ask("stored") == [["one", "one"], ["three", "three"]]


async def test_what_is_stored_last_before_a_crash_is_kept(suite: Suite) -> None:
    await suite.supervisor.start("a@x.socket")
    async with await trio.open_unix_socket(str(suite.path())) as stream:
        await ask(stream, "store last")
        await ask(stream, "exit 1")
    assert await suite.ask("stored") == [["last", "last"]]


async def test_what_is_stored_is_kept_over_a_restart_and_lost_with_a_stop(suite: Suite) -> None:
    await suite.supervisor.start("a@x.socket")
    await suite.ask("store it")
    await suite.supervisor.restart("a@x.service")
    assert await suite.ask("stored") == [["it", "it"]]
    await suite.supervisor.stop("a@x.service")
    assert await suite.ask("stored") == []


async def test_what_is_stored_is_lost_when_a_service_idles_out(suite: Suite) -> None:
    await suite.supervisor.start("a@x.socket")
    await suite.ask("store it")
    await suite.ask("exit 0")
    await suite.until("a@x.service", lambda unit: unit.sub == "dead")
    assert await suite.ask("stored") == []


async def test_no_more_is_stored_than_the_unit_allows(suite: Suite) -> None:
    await suite.supervisor.start("a@x.socket")
    for name in ("one", "two", "three", "four"):
        await suite.ask(f"store {name}")
    await suite.supervisor.restart("a@x.service")
    assert await suite.ask("stored") == [["one", "one"], ["two", "two"], ["three", "three"]]
    refused = "pikerd: a@x.service: 1 descriptors not kept: there are 3 already"
    assert refused in suite.lines


async def test_pauses_grow_while_a_service_keeps_failing(suite: Suite) -> None:
    failing = SERVICE.format(command="/bin/sh -c 'echo no luck; exit 3'")
    suite.write("a@.service", f"{failing}Type=simple\n")
    await suite.supervisor.start("a@x.service")
    await suite.until("a@x.service", lambda unit: unit.restarts == 4)
    told = [line.partition("; ")[2] for line in suite.lines if "restarting" in line]
    assert told[:4] == [f"restarting in {pause} s" for pause in (0.01, 0.02, 0.04, 0.08)]
    assert "pikerd: a@x.service: exit code 3: no luck; restarting in 0.01 s" in suite.lines


async def test_a_service_that_fails_its_start_is_why_the_start_is_refused(suite: Suite) -> None:
    suite.write("a@.service", SERVICE.format(command="/bin/sh -c 'exit 3'"))
    with pytest.raises(Refused) as refused:
        await suite.supervisor.start("a@x.service")
    assert refused.value.fault == UnitFailed(unit="a@x.service", reason="exit code 3")


async def test_a_service_that_is_not_ready_in_time_is_killed(suite: Suite) -> None:
    suite.write("a@.service", f"{NEVER_READY}TimeoutStartSec=100ms\n")
    with pytest.raises(Refused, match="killed by SIGKILL"):
        await suite.supervisor.start("a@x.service")


async def test_a_service_that_will_not_end_is_killed_in_time(suite: Suite) -> None:
    suite.write("a@.service.d/d.conf", "[Service]\nEnvironment=DEAF=1\nTimeoutStopSec=100ms\n")
    await suite.supervisor.start("a@x.service")
    await suite.supervisor.stop("a@x.service")
    assert suite.unit("a@x.service").active == "failed"
    assert "pikerd: a@x.service: did not end within 0.1 s; killing it" in suite.lines


async def test_what_a_service_has_started_ends_with_it(suite: Suite) -> None:
    await suite.supervisor.start("a@x.socket")
    child = await suite.ask("child")
    assert isinstance(child, int)
    await suite.ask("exit 0")
    await ended(child)


async def test_a_start_that_is_stopped_is_refused(suite: Suite) -> None:
    suite.write("a@.service", NEVER_READY)

    async def start() -> None:
        with pytest.raises(Refused, match="killed by SIGTERM"):
            await suite.supervisor.start("a@x.service")

    async with trio.open_nursery() as nursery:
        nursery.start_soon(start)
        await trio.testing.wait_all_tasks_blocked()
        await suite.until("a@x.service", lambda unit: unit.pid is not None)
        await suite.supervisor.stop("a@x.service")


async def test_a_socket_whose_service_fails_again_and_again_gives_up(suite: Suite) -> None:
    suite.write("a@.service", SERVICE.format(command="/bin/false") + "Restart=no\n")
    suite.write("a@.socket", f"{SOCKET}TriggerLimitIntervalSec=1h\nTriggerLimitBurst=3\n")
    await suite.supervisor.start("a@x.socket")
    assert await suite.ask("pid") is None
    failed = await suite.until("a@x.socket", lambda unit: unit.active == "failed")
    assert failed.sub == "trigger-limit-hit"
    assert suite.lines.count("pikerd: a@x.service: exit code 1") == 3
    assert not suite.path().exists()
    await suite.supervisor.start("a@x.socket")


async def test_what_a_unit_says_that_pikerd_does_not_know_is_refused_with_file_and_line(
    suite: Suite,
) -> None:
    suite.write("a@.service.d/bad.conf", "[Service]\nEnvironment=A=1\nSuddenly=yes\n")
    with pytest.raises(Refused) as refused:
        await suite.supervisor.start("a@x.socket")
    reason = f"{suite.units}/a@.service.d/bad.conf:3: Suddenly= in [Service] is not known to pikerd"
    assert refused.value.fault == UnitFailed(unit="a@x.socket", reason=reason)


@pytest.mark.parametrize(
    ("target", "drop_in"), [("After=a@x.service", ""), ("", "Before=piker.target")]
)
async def test_units_that_wait_for_each_other_are_refused(
    suite: Suite, target: str, drop_in: str
) -> None:
    suite.write("piker.target", f"[Unit]\n{target}\n")
    suite.write("a@.service.d/before.conf", f"[Unit]\n{drop_in}\n")
    await suite.supervisor.start("piker.target")
    with pytest.raises(Refused, match=r"After= and Before= go in a circle: .*a@x\.service"):
        await suite.supervisor.start("a@x.service")


async def test_what_is_before_another_is_up_before_it_and_ends_after_it(suite: Suite) -> None:
    suite.write("b@.socket", SOCKET.replace("%i", "b"))
    suite.write("b@.service", suite.service.replace("a@%i", "b@%i"))
    suite.write("b@.service.d/before.conf", "[Unit]\nWants=a@x.service\nBefore=a@x.service\n")
    suite.write("a@.service.d/end.conf", "[Service]\nEnvironment=KEEP=1\n")
    suite.write("b@.service.d/end.conf", "[Service]\nEnvironment=KEEP=1\n")
    await suite.supervisor.start("b@x.service")
    await suite.supervisor.stop("piker.target")
    ends = [line.partition(":")[0] for line in suite.lines if line.endswith("a reason to live")]
    assert ends == ["a@x.service", "b@x.service"]


@pytest.mark.parametrize("name", ["b@x.service", "a@x", "../a@x.socket", "a@.service", ""])
async def test_a_unit_that_is_not_there_is_refused(suite: Suite, name: str) -> None:
    with pytest.raises(Refused) as refused:
        await suite.supervisor.start(name)
    assert refused.value.fault == NoSuchUnit(unit=name)


async def test_a_wanted_unit_is_started_too_and_may_be_absent_or_fail(suite: Suite) -> None:
    wants = "[Unit]\nWants=a@w.socket none.socket bad.socket\n"
    suite.write("a@x.service.d/wants.conf", wants)
    suite.write("bad.socket", "[Socket]\nListenStream=/proc/none/a.sock\n")
    suite.write("bad.service", "[Service]\nExecStart=/bin/true\n")
    await suite.supervisor.start("a@x.service")
    assert suite.unit("a@w.socket").sub == "listening"
    assert suite.unit("bad.socket").active == "failed"


async def test_a_unit_that_requires_one_that_fails_is_refused(suite: Suite) -> None:
    suite.write("a@.socket", SOCKET.replace("/bin/mkdir -p", "/bin/mkdir --nonsense"))
    with pytest.raises(Refused, match=r"/bin/mkdir gave 1: .*nonsense"):
        await suite.supervisor.start("a@x.service")
    assert suite.unit("a@x.service").sub == "dead"


async def test_stopping_a_target_stops_all_that_is_part_of_it(suite: Suite) -> None:
    await suite.supervisor.start("a@x.socket")
    await suite.supervisor.start("a@y.service")
    await suite.ask("pid")
    await suite.supervisor.start("piker.target")
    await suite.supervisor.stop("piker.target")
    assert {unit.active for unit in suite.supervisor.units()} == {"inactive"}
    assert list(suite.runtime.rglob("*.sock")) == []


async def test_stopping_a_socket_stops_its_service_and_a_restart_brings_both_back(
    suite: Suite,
) -> None:
    await suite.supervisor.start("a@x.service")
    before = await suite.ask("pid")
    await suite.supervisor.restart("a@x.socket")
    assert await suite.ask("pid") not in (before, None)
    await suite.supervisor.stop("a@x.socket")
    assert suite.unit("a@x.service").active == "inactive"


async def test_a_socket_is_its_user_s_alone(suite: Suite) -> None:
    await suite.supervisor.start("a@x.socket")
    assert stat.S_IMODE(suite.path().stat().st_mode) == 0o600
    assert stat.S_IMODE(suite.path().parent.stat().st_mode) == 0o700


async def test_a_path_on_which_somebody_listens_is_refused(suite: Suite) -> None:
    suite.path().parent.mkdir(parents=True)
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(suite.path()))
        other.listen()
        with pytest.raises(Refused, match=r"can't listen at .*/a/x\.sock: Address"):
            await suite.supervisor.start("a@x.socket")
    suite.path().unlink()


async def test_a_path_left_by_one_who_died_is_taken_over(suite: Suite) -> None:
    suite.path().parent.mkdir(parents=True)
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(suite.path()))
    await suite.supervisor.start("a@x.socket")
    assert await suite.ask("pid")


async def test_a_path_that_is_too_long_is_refused_with_its_length(suite: Suite) -> None:
    long = "x" * 100
    with pytest.raises(Refused) as refused:
        await suite.supervisor.start(f"a@{long}.socket")
    length = len(str(suite.path(long)))
    expected = f"socket path is {length} bytes, expected at most 107: {suite.path(long)}"
    assert refused.value.fault == UnitFailed(unit=f"a@{long}.socket", reason=expected)


async def test_what_a_service_writes_comes_line_by_line_with_its_name(suite: Suite) -> None:
    await suite.supervisor.start("a@x.socket")
    await suite.ask(f"say {'x' * 1000}\nsecond")
    await suite.supervisor.stop("a@x.service")
    assert suite.lines == [f"a@x.service: {'x' * 1000}", "a@x.service: second"]


async def test_nothing_is_left_open_however_often_a_service_comes_and_goes(suite: Suite) -> None:
    await suite.supervisor.start("a@x.socket")
    await suite.supervisor.start("a@x.service")
    await suite.supervisor.stop("a@x.service")
    before = open_descriptors()
    for _ in range(3):
        await suite.ask("store it")
        await suite.supervisor.restart("a@x.service")
        await suite.ask("exit 1")
        await suite.until("a@x.service", lambda unit: unit.active == "active")
        await suite.supervisor.stop("a@x.service")
    assert open_descriptors() == before


async def test_a_supervisor_that_is_cancelled_before_it_starts_ends(root: Path) -> None:
    with trio.CancelScope() as scope:
        scope.cancel()
        async with open_supervisor(root, lambda unit, line: None):
            pass
    assert scope.cancelled_caught


def test_a_tree_shows_each_service_below_its_socket() -> None:
    units = [
        Unit(unit="a@x.service", description="", active="active", sub="running", pid=7, status="s"),
        Unit(unit="a@x.socket", description="", active="active", sub="listening"),
        Unit(unit="piker.target", description="", active="active", sub="active"),
    ]
    assert tree(units).splitlines() == [
        "a@x.socket                   active (listening)",
        "  a@x.service                active (running) pid 7 s",
    ]


def test_a_unit_is_told_of_again_only_when_its_state_or_process_is_another() -> None:
    before = Unit(unit="a", description="", active="active", sub="running", pid=7, status="s")
    other = structs.replace(before, unit="b")
    told = structs.replace(before, status="t", memory_bytes=9)
    again = structs.replace(before, pid=8)
    gone = structs.replace(before, active="inactive", sub="dead", pid=None, status="")
    assert news([before, other], [told, other]) == []
    assert news([before, other], [again, other]) == ["a: active (running) pid 8 s"]
    assert news([before, other], [gone, other]) == ["a: inactive (dead)"]
    assert news([before], [before, other]) == ["b: active (running) pid 7 s"]


@pytest.fixture
def daemons(root: Path) -> Suite:
    """Units by the names that pikerd brings up; the provider "x" has the path of an "a"."""
    suite = Suite(root)
    suite.write("datad@.socket", SOCKET)
    suite.write("datad@.service", suite.service.replace("a@%i", "datad@%i"))
    for daemon in ("paperboi", "brokerd"):
        suite.write(f"{daemon}@.socket", SOCKET.replace("%i", f"{daemon}-%i"))
        suite.write(f"{daemon}@.service", suite.service.replace("a@%i", f"{daemon}@%i"))
    suite.write("samplerd.socket", SOCKET.replace("%i", "samplerd"))
    suite.write("samplerd.service", suite.service.replace("a@%i", "samplerd"))
    write_two_doors(suite, "emsd", "emsd-trade")
    suite.write("piker-resume.service", "[Service]\nType=oneshot\nExecStart=/bin/true\n")
    return suite


BROUGHT_UP = {
    *("piker.target", "piker-resume.service", "samplerd.socket", "samplerd.service"),
    *("emsd.socket", "emsd-trade.socket", "emsd.service"),
    *("datad@x.socket", "datad@x.service", "paperboi@x.socket", "paperboi@x.service"),
    *("brokerd@x.socket", "brokerd@x.service"),
}
"""What pikerd knows of when it runs for one provider."""


@pytest.fixture
def our_units(root: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The units as they are installed; gives the directory where emsd's state will be."""
    monkeypatch.delenv("PIKER_UNITS")
    return root / "state" / "piker-emsd"


def units_that_are(supervisor: Supervisor, sub: str) -> set[str]:
    return {unit.unit for unit in supervisor.units() if unit.sub == sub}


async def health(daemon: str, instance: str | None) -> HealthReply:
    async with open_daemon(daemon, instance, answers.SERVICE) as client:
        return await client.call(Health(), HealthReply)


async def test_each_socket_of_our_own_units_starts_its_daemon(our_units: Path) -> None:
    doors = [("emsd", "view"), ("emsd", "trade"), ("paperboi", "sim"), ("brokerd", "sim")]
    async with trio.open_nursery() as nursery:
        supervisor = await nursery.start(supervise, ["sim"])
        states = {door: (await health(*door)).state for door in doors}
        running = {unit.unit for unit in supervisor.units() if unit.pid}
        nursery.cancel_scope.cancel()
    # brokerd has no credential here: it starts, and says so
    assert [states[door] for door in doors] == ["running", "running", "running", "failed"]
    assert {"emsd.service", "paperboi@sim.service", "brokerd@sim.service"} <= running


async def test_our_panic_halts_and_needs_no_emsd(our_units: Path) -> None:
    async with trio.open_nursery() as nursery:
        supervisor = await nursery.start(supervise, ["replay"])
        with trio.fail_after(60):
            await supervisor.start("piker-panic@replay.service")
        running = units_that_are(supervisor, "running")
        nursery.cancel_scope.cancel()
    latch = halt.read(our_units)
    assert latch is not None
    assert latch.reason == "panic at replay"
    assert "paperboi@replay.service" in running
    assert "emsd.service" not in running


async def test_our_emsd_comes_back_by_itself_when_it_is_needed(our_units: Path) -> None:
    marks.set_busy(our_units, "2 armed", ["replay"])
    async with trio.open_nursery() as nursery:
        supervisor = await nursery.start(supervise, ["sim"])
        with trio.fail_after(20):
            while "emsd.service" not in units_that_are(supervisor, "running"):
                await supervisor.changes.after(supervisor.changes.number)
        listening = units_that_are(supervisor, "listening")
        nursery.cancel_scope.cancel()
    assert {"datad@replay.socket", "paperboi@replay.socket", "datad@sim.socket"} <= listening


async def pikerd(*providers: str, env: Sequence[str] = ()) -> trio.Process:
    """The command, running; `env` are options of env(1), for signals."""
    return await trio.lowlevel.open_process(
        ["env", *env, sys.executable, "-m", "piker.pikerd", *providers],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


async def first_line(process: trio.Process) -> str:
    """What the command says when it is up."""
    assert process.stdout is not None
    with trio.fail_after(20):
        said = b""
        while b"\n" not in said:
            said += await process.stdout.receive_some()
    return said.decode().partition("\n")[0]


async def finished(process: trio.Process) -> tuple[int, str]:
    """The command's exit status and what it said on stderr."""
    assert process.stdout is not None
    assert process.stderr is not None
    with trio.fail_after(20):
        said = b"".join([chunk async for chunk in process.stderr])
        status = await process.wait()
    await process.stdout.aclose()
    await process.stderr.aclose()
    return status, said.decode()


async def test_the_door_answers_for_units_and_moves_them(daemons: Suite) -> None:
    async with trio.open_nursery() as nursery:
        daemons.supervisor = await nursery.start(supervise, ["x"])
        path = daemons.runtime / "piker" / "pikerd" / "pikerd.sock"
        async with open_client(str(path), SUPERVISOR, "pikerd") as client:
            assert await client.call(Start(unit="datad@x.service"), Done) == Done()
            up = await client.call(Units(), UnitsReply)
            await client.call(Stop(unit="datad@x.service"), Done)
            down = await client.call(Units(), UnitsReply)
            with pytest.raises(Refused) as refused:
                await client.call(Start(unit="none.service"), Done)
        nursery.cancel_scope.cancel()
    assert {unit.unit for unit in up.units} == BROUGHT_UP
    sockets = [unit.sub for unit in up.units if unit.unit.endswith(".socket")]
    assert sockets == ["listening"] * 6
    running = [unit.unit for unit in up.units if unit.sub == "running"]
    assert running == ["datad@x.service"]
    assert [unit.sub for unit in down.units if unit.unit == "datad@x.service"] == ["dead"]
    assert refused.value.fault == NoSuchUnit(unit="none.service")


async def test_the_door_tells_every_change_to_who_wants_more(daemons: Suite) -> None:
    seen: list[str] = []
    async with trio.open_nursery() as nursery:
        daemons.supervisor = await nursery.start(supervise, ["x"])
        path = daemons.runtime / "piker" / "pikerd" / "pikerd.sock"
        async with (
            open_client(str(path), SUPERVISOR, "pikerd") as client,
            aclosing(client.replies(Units(), UnitsReply)) as replies,
        ):
            before, _ = await anext(replies)
            nursery.start_soon(daemons.ask, "pid")
            while "running" not in seen:
                reply, _ = await anext(replies)
                seen += [unit.sub for unit in reply.units if unit.unit == "datad@x.service"]
            await daemons.supervisor.stop("datad@x.service")
        nursery.cancel_scope.cancel()
    assert {unit.sub for unit in before.units} >= {"active", "listening", "dead"}
    assert list(dict.fromkeys(seen)) == ["start", "running"]


async def test_pikerd_has_emsd_resume_its_work_when_all_sockets_listen(daemons: Suite) -> None:
    listening = f"test -S {daemons.path('emsd')} -a -S {daemons.path('x')}"
    looks = f"/bin/sh -c '{listening} && touch {daemons.root}/resumed'"
    daemons.write("piker-resume.service", f"[Service]\nType=oneshot\nExecStart={looks}\n")
    async with trio.open_nursery() as nursery:
        daemons.supervisor = await nursery.start(supervise, ["x"])
        await trio.testing.wait_all_tasks_blocked()
        await daemons.until("piker-resume.service", lambda unit: unit.sub != "start")
        nursery.cancel_scope.cancel()
    assert exists(f"{daemons.root}/resumed")


async def test_pikerd_runs_although_resume_fails(daemons: Suite) -> None:
    daemons.write("piker-resume.service", "[Service]\nType=oneshot\nExecStart=/bin/false\n")
    async with trio.open_nursery() as nursery:
        daemons.supervisor = await nursery.start(supervise, ["x"])
        await trio.testing.wait_all_tasks_blocked()
        await daemons.until("piker-resume.service", lambda unit: unit.active == "failed")
        assert await daemons.ask("pid")
        nursery.cancel_scope.cancel()


async def test_a_start_that_hangs_does_not_keep_pikerd_from_ending(daemons: Suite) -> None:
    daemons.write("datad@.service", NEVER_READY.replace("a@%i", "datad@%i"))
    async with trio.open_nursery() as nursery:
        daemons.supervisor = await nursery.start(supervise, ["x"])
        path = daemons.runtime / "piker" / "pikerd" / "pikerd.sock"

        async def start() -> None:
            async with open_client(str(path), SUPERVISOR, "pikerd") as client:
                await client.call(Start(unit="datad@x.service"), Done)

        nursery.start_soon(start)
        await daemons.until("datad@x.service", lambda unit: unit.pid is not None)
        with trio.fail_after(10):
            nursery.cancel_scope.cancel()
            await trio.lowlevel.checkpoint_if_cancelled()


async def test_pikerd_ends_with_everything_it_started(daemons: Suite) -> None:
    process = await pikerd("x", "y")
    assert await first_line(process) == f"pikerd: listening in {daemons.runtime}/piker"
    pids = [await daemons.ask("pid", instance) for instance in ("x", "y", "samplerd")]
    process.send_signal(signal.SIGTERM)
    assert await finished(process) == (0, "")
    assert list(daemons.runtime.rglob("*.sock")) == []
    for pid in pids:
        assert isinstance(pid, int)
        assert not exists(f"/proc/{pid}")


async def test_an_interrupted_pikerd_ends_well_and_can_be_started_again(daemons: Suite) -> None:
    for _ in range(2):
        process = await pikerd("x")
        await first_line(process)
        assert await daemons.ask("pid")
        process.send_signal(signal.SIGINT)
        assert await finished(process) == (0, "")


async def test_a_terminal_that_hangs_up_ends_pikerd_well(daemons: Suite) -> None:
    process = await pikerd("x", env=["--default-signal=HUP"])
    await first_line(process)
    process.send_signal(signal.SIGHUP)
    assert await finished(process) == (0, "")
    assert list(daemons.runtime.rglob("*.sock")) == []


async def test_a_pikerd_under_nohup_outlives_its_terminal(daemons: Suite) -> None:
    process = await pikerd("x", env=["--ignore-signal=HUP"])
    await first_line(process)
    process.send_signal(signal.SIGHUP)
    assert await daemons.ask("pid")
    process.terminate()
    assert await finished(process) == (0, "")


@pytest.mark.parametrize("daemon", ["datad", "paperboi", "brokerd", "emsd", "samplerd"])
async def test_pikerd_removes_sockets_at_which_nobody_listens(daemons: Suite, daemon: str) -> None:
    directory = daemons.runtime / "piker" / daemon
    directory.mkdir(parents=True)
    left, live, other = (directory / f"{name}.sock" for name in ("left", "live", "other"))
    other.write_text("no socket")
    with socket.socket(socket.AF_UNIX) as dead, socket.socket(socket.AF_UNIX) as listener:
        dead.bind(str(left))
        listener.bind(str(live))
        listener.listen()
        dead.close()
        async with trio.open_nursery() as nursery:
            await nursery.start(supervise, ["x"])
            await trio.testing.wait_all_tasks_blocked()
            assert [each.exists() for each in (left, live, other)] == [False, True, True]
            nursery.cancel_scope.cancel()


@pytest.mark.skipif(not shutil.which("setpriv"), reason="setpriv is not here")
async def test_a_killed_pikerd_leaves_no_process_and_the_next_one_works(daemons: Suite) -> None:
    process = await pikerd("x")
    await first_line(process)
    pid = await daemons.ask("pid")
    assert isinstance(pid, int)
    process.kill()
    await finished(process)
    await ended(pid)
    following = await pikerd("x")
    await first_line(following)
    assert await daemons.ask("pid") not in (pid, None)
    following.terminate()
    assert await finished(following) == (0, "")


async def test_a_second_pikerd_is_refused(daemons: Suite) -> None:
    first = await pikerd("x")
    await first_line(first)
    status, said = await finished(await pikerd("x"))
    assert (status, said) == (1, f"pikerd: another pikerd runs in {daemons.runtime}/piker/pikerd\n")
    assert await daemons.ask("pid")
    first.terminate()
    await finished(first)


async def test_pikerd_says_what_it_can_not_bring_up(daemons: Suite) -> None:
    daemons.write("datad@.service", "[Service]\nSuddenly=yes\n")
    status, said = await finished(await pikerd("x"))
    assert status == 1
    assert said.startswith("pikerd: ")
    assert f"{daemons.units}/datad@.service:2: Suddenly= in [Service] is not known" in said


async def test_pikerd_says_where_it_looked_for_units(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIKER_UNITS", f"{root}/none")
    with pytest.raises(CantSupervise, match=f"there are no unit files in {root}/none"):
        await supervise(["x"])
