"""Starting one process as systemd would, following it to its end, and ending all that it started.

The child is a session of its own, inherits exactly the descriptors it is given, from 3 on, and
gets SIGTERM when its parent dies, however that dies.
"""

import fcntl
import os
import shutil
import signal
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress

import trio

from piker.core.units import Ended

FIRST_FD = 3
MAX_LINE = 64 * 1024
"""Bytes of a line of output; a longer one is handed on in pieces."""
PIPE_BYTES = 64 * 1024
"""What a pipe holds, pipe(7): one read empties it."""

# A process learns its own pid only once it runs; exec keeps it.
_KNOW_PID = 'export LISTEN_PID=$$ SYSTEMD_EXEC_PID=$$; exec "$@"'


class Process:
    """A running child. `close` it, whatever happened: it ends the child if it still runs."""

    def __init__(self, command: Sequence[str], env: Mapping[str, str], fds: Sequence[int]) -> None:
        self._output, child_output = os.pipe2(os.O_CLOEXEC)
        os.set_blocking(self._output, False)
        try:
            self.pid = _spawn(command, env, child_output, fds)
        except BaseException:
            os.close(self._output)
            raise
        finally:
            os.close(child_output)
        self._pidfd = os.pidfd_open(self.pid)
        self._line = b""

    async def wait(self) -> Ended:
        """How it ended. What is left of its session is killed."""
        await trio.lowlevel.wait_readable(self._pidfd)
        return self._reap()

    def signal(self, number: int) -> None:
        """Send a signal to it and all in its process group. Nothing once it has ended."""
        if self._pidfd >= 0:
            with suppress(ProcessLookupError):
                os.killpg(self.pid, number)

    async def forward(self, on_line: Callable[[str], None]) -> None:
        """Hand on each line that it writes, until nobody has the pipe open any more."""
        more = True
        while more:
            await trio.lowlevel.wait_readable(self._output)
            more = self._read(on_line)

    def close(self, on_line: Callable[[str], None]) -> None:
        """End it if it still runs, and hand on what it wrote last."""
        if self._pidfd >= 0:
            self.signal(signal.SIGKILL)
            self._reap()
        self._read(on_line)
        if self._line:
            on_line(self._line.decode(errors="replace"))
        os.close(self._output)

    def _reap(self) -> Ended:
        """The zombie still holds its pid, and so its group's: kill first, then reap."""
        os.waitid(os.P_PIDFD, self._pidfd, os.WEXITED | os.WNOWAIT)
        self.signal(signal.SIGKILL)
        result = os.waitid(os.P_PIDFD, self._pidfd, os.WEXITED)
        os.close(self._pidfd)
        self._pidfd = -1
        assert result is not None  # only with WNOHANG
        if result.si_code == os.CLD_EXITED:
            return Ended(code=result.si_status)
        return Ended(signal=result.si_status)

    def _read(self, on_line: Callable[[str], None]) -> bool:
        """Hand on what the pipe holds now; False at the end of output."""
        try:
            chunk = os.read(self._output, PIPE_BYTES)
        except BlockingIOError:
            return True
        *lines, self._line = (self._line + chunk).split(b"\n")
        if len(self._line) > MAX_LINE:
            lines, self._line = [*lines, self._line], b""
        for line in lines:
            on_line(line.decode(errors="replace"))
        return bool(chunk)


def _spawn(command: Sequence[str], env: Mapping[str, str], output: int, fds: Sequence[int]) -> int:
    argv = [*_die_with_parent(), "/bin/sh", "-c", _KNOW_PID, "sh", *command]
    with _out_of_the_way([output, *fds]) as (out, *sources):
        return os.posix_spawn(
            argv[0],
            argv,
            env,
            file_actions=[
                (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
                (os.POSIX_SPAWN_DUP2, out, 1),
                (os.POSIX_SPAWN_DUP2, out, 2),
                *((os.POSIX_SPAWN_DUP2, fd, FIRST_FD + i) for i, fd in enumerate(sources)),
            ],
            setsid=True,
            setsigmask=[],
            # Python ignores these, and what is ignored stays so over exec
            setsigdef=[signal.SIGPIPE, signal.SIGXFSZ],
        )


def _die_with_parent() -> list[str]:
    """util-linux has it everywhere on Debian; without it a killed pikerd leaves orphans."""
    setpriv = shutil.which("setpriv")
    return [setpriv, "--pdeathsig", "TERM"] if setpriv else []


@contextmanager
def _out_of_the_way(fds: Sequence[int]) -> Iterator[list[int]]:
    """Duplicates that no dup2 to 3, 4, … overwrites before they are duplicated themselves."""
    copies: list[int] = []
    try:
        first = FIRST_FD + len(fds)
        copies.extend(fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, first) for fd in fds)
        yield copies
    finally:
        for fd in copies:
            os.close(fd)
