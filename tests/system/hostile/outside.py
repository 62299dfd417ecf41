"""What lies open for everybody on a machine, in no sandbox, as a person's programs leave it.

    python -m hostile.outside RUNTIME_DIRECTORY PORT

Writes its process id to standard output when all is there, and ends with its standard input.
"""

import ctypes
import os
import socket
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from .kernel import IPC_CREAT, IPC_KEY, LIBC, USER_KEYRING, call, numbered

BANNER = "as others left it"


def main() -> None:
    """Serve until there is no input any more."""
    runtime, port = sys.argv[1], int(sys.argv[2])
    Path("/dev/shm/prey").write_text(BANNER)
    _share_memory()
    _keep_key()
    keyboard, _terminal = os.openpty()
    os.write(keyboard, f"{BANNER}\n".encode())
    Path("/tmp/.X11-unix").mkdir(exist_ok=True)
    here = ("127.0.0.1", port)
    for address in (f"{runtime}/prey.sock", "/tmp/.X11-unix/X9", "\0prey", here):
        _serve(_bound(socket.SOCK_STREAM, address))
    _start(_answer, _bound(socket.SOCK_DGRAM, here))
    print(os.getpid(), flush=True)
    sys.stdin.read()


def _share_memory() -> None:
    segment = call(LIBC.shmget, IPC_KEY, 4096, IPC_CREAT | 0o600)
    place = call(LIBC.shmat, segment, None, 0)
    ctypes.memmove(place, BANNER.encode(), len(BANNER))


def _keep_key() -> None:
    """A container may be denied keys."""
    with suppress(OSError):
        secret = BANNER.encode()
        numbered("add_key", b"user", b"prey", secret, len(secret), USER_KEYRING)


def _serve(listener: socket.socket) -> None:
    listener.listen()
    _start(_greet, listener)


def _greet(listener: socket.socket) -> None:
    while True:
        connection, _ = listener.accept()
        with connection:
            connection.sendall(BANNER.encode())


def _answer(datagrams: socket.socket) -> None:
    while True:
        _, sender = datagrams.recvfrom(64)
        datagrams.sendto(BANNER.encode(), sender)


def _bound(kind: socket.SocketKind, address: str | tuple[str, int]) -> socket.socket:
    family = socket.AF_UNIX if isinstance(address, str) else socket.AF_INET
    bound = socket.socket(family, kind)
    bound.bind(address)
    return bound


def _start(serve: Callable[[socket.socket], None], given: socket.socket) -> None:
    threading.Thread(target=serve, args=(given,), daemon=True).start()


if __name__ == "__main__":
    main()
